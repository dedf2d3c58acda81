// Each golden case is rebuilt here by name. A name without a builder fails, and so does a builder
// without a name. Every case is then tried in every smaller buffer, where it must refuse rather
// than overrun. What the daemon sends is decoded instead, whole and cut short anywhere.
#include "vectors.h"

#include <functional>
#include <memory>

#include "check.h"
#include "frames.h"
#include "msgpack_writer.h"

namespace mapisync {
namespace {

constexpr std::uint64_t kMax53 = (std::uint64_t{1} << 53) - 1;
constexpr std::uint32_t kMax32 = 0xffffffff;
constexpr std::uint64_t kMaxSeq = (std::uint64_t{1} << 45) - 1;
constexpr Counters Counted(std::uint64_t progress, std::uint64_t errors, std::uint64_t dones,
                           std::uint64_t merged, std::uint64_t lost, std::uint64_t inner_us,
                           std::uint64_t inner_max_us, InnerTime in_progress = {},
                           InnerTime in_error = {}, InnerTime in_done = {}) {
  return {progress, errors,   dones,        merged,
          lost,     inner_us, inner_max_us, {in_progress, in_error, in_done}};
}

constexpr Counters kTimed =
    Counted(1000, 3, 1, 250, 0, 104321, 100001, {4000, 65536}, {320, 256}, {100001, 100001});

constexpr Counters Full(InnerTime time) {
  return Counted(kMax53, kMax53, kMax53, kMax53, kMax53, kMax53, kMax53, time, time, time);
}

// Texts that outlive the call that encodes them.
Text T(std::string text) {
  static std::vector<std::unique_ptr<std::string>> kept;
  kept.push_back(std::make_unique<std::string>(std::move(text)));
  return {kept.back()->data(), static_cast<std::uint32_t>(kept.back()->size())};
}

std::string Times(int count, const std::string& text) {
  std::string all;
  for (int i = 0; i < count; i++) all += text;
  return all;
}

const unsigned char kRingId[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
                                   0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
const unsigned char kZeros[16] = {};
const unsigned char kOnes[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

using Builder = std::function<std::size_t(Buffer)>;

// As a shim makes it that does not count time by method. What is built has none, so that its last
// elements are zeros of a byte each.
Builder WithoutTimes(Builder builder) {
  return [=](Buffer out) {
    constexpr std::size_t kTimes = 2 * kMethodCount;
    unsigned char body[kSmallBodyBytes];
    const std::size_t rest = builder({body, sizeof body}) - 3 - kTimes;
    MsgpackWriter w(out);
    w.Array(static_cast<std::uint32_t>(body[2] - kTimes));
    if (!w.ok() || out.size_bytes < w.size_bytes() + rest) return std::size_t{0};
    std::memcpy(out.data + w.size_bytes(), body + 3, rest);
    return w.size_bytes() + rest;
  };
}

Builder Progress(Stamp stamp, std::uint64_t call, std::uint32_t index, std::uint32_t max,
                 std::uint32_t marks, Text text) {
  return [=](Buffer out) {
    return EncodeProgress(stamp, {call, stamp.time_us, index, max, marks, text}, out);
  };
}

std::map<std::string, Builder> Builders() {
  return {
      {"hello",
       [](Buffer out) {
         return EncodeHello({kRingId, 0, 4242, 64, T("OUTLOOK.EXE"), T("0.1.0"), 123456789,
                             1750000000000000, 1000, false},
                            out);
       }},
      {"hello-max",
       [](Buffer out) {
         // An encoder speaks its own version only: another one is patched in, as long as ours.
         const Hello hello = {kOnes,  kMaxSeq, kMax32, 32,  T(Times(127, "é")), T(Times(30, "9")),
                              kMax53, kMax53,  kMax32, true};
         unsigned char body[512];
         const std::size_t size = EncodeHello(hello, {body, sizeof body});
         if (out.size_bytes < size + 2) return std::size_t{0};
         std::memcpy(out.data, body, 2);
         std::memcpy(out.data + 2, "\xcd\xff\xff", 3);
         std::memcpy(out.data + 5, body + 3, size - 3);
         return size + 2;
       }},
      {"hello-empty",
       [](Buffer out) {
         return EncodeHello({kZeros, 127, 128, 32, T(""), T(""), 255, 256, 0, false}, out);
       }},
      {"slot-none", WithoutTimes([](Buffer out) { return EncodeSlot(1, 1000, {}, {}, out); })},
      {"slot", WithoutTimes([](Buffer out) {
         return EncodeSlot(4294967297, 5000000, Counted(300, 2, 1, 40, 0, 70000, 65536),
                           {300, 5900000, 299, 300, 0, T("Inbox")}, out);
       })},
      {"slot-null-text", WithoutTimes([](Buffer out) {
         return EncodeSlot(70000, 1, Counted(1, 0, 0, 1, 0, 0, 0), {1, 2, 3, 4, 1, {}}, out);
       })},
      {"slot-longest-text", WithoutTimes([](Buffer out) {
         return EncodeSlot(kMaxSeq, kMax53, Full({}),
                           {kMax53, kMax53, kMax32, kMax32, 3, T(Times(256, "z"))}, out);
       })},
      {"slot-times",
       [](Buffer out) {
         return EncodeSlot(1, 1000, kTimed, {300, 5900000, 299, 300, 0, T("Inbox")}, out);
       }},
      {"slot-times-max",
       [](Buffer out) {
         return EncodeSlot(kMaxSeq, kMax53, Full({kMax53, kMax53}),
                           {kMax53, kMax53, kMax32, kMax32, 3, {}}, out);
       }},
      {"bye-off", [](Buffer out) { return EncodeBye(ByeReason::kOff, out); }},
      {"bye-flushed", [](Buffer out) { return EncodeBye(ByeReason::kFlushed, out); }},
      {"open-tee",
       [](Buffer out) {
         return EncodeOpen({1, 123456789, 4711, 1},
                           {Attach::kTee, true, 0x21, T("Contoso Mail"), T("Mailbox - Zoë"),
                            1750000000000000, true},
                           out);
       }},
      {"open-nulls",
       [](Buffer out) {
         return EncodeOpen({128, 0, 0, 128}, {Attach::kWrap, false, 7, {}, {}, 0, false}, out);
       }},
      {"open-empty",
       [](Buffer out) {
         return EncodeOpen({65536, 1, 1, 65536}, {Attach::kSink, true, 0, T(""), T(""), 1, false},
                           out);
       }},
      {"open-max",
       [](Buffer out) {
         return EncodeOpen(
             {kMaxSeq, kMax53, kMax32, kMaxSeq},
             {Attach::kSink, true, kMax32, T(Times(1024, "p")), T(Times(1024, "s")), kMax53, true},
             out);
       }},
      {"progress", Progress({2, 123457000, 4711, 1}, 1, 0, 100, 0, T("Synchronizing Inbox"))},
      {"progress-null-text", Progress({3, 123458000, 4711, 1}, 2, 127, 128, 0, {})},
      {"progress-empty-text", Progress({4, 123459000, 4711, 1}, 3, 255, 256, 0, T(""))},
      {"progress-31-bytes", Progress({5, 1, 1, 1}, 4, 1, 2, 0, T(Times(31, "x")))},
      {"progress-32-bytes", Progress({6, 1, 1, 1}, 5, 1, 2, 0, T(Times(32, "x")))},
      {"progress-255-bytes", Progress({7, 1, 1, 1}, 6, 1, 2, 0, T(Times(255, "x")))},
      {"progress-256-bytes", Progress({8, 1, 1, 1}, 7, 1, 2, 0, T(Times(256, "x")))},
      {"progress-longest-text",
       Progress({9, 1, 1, 1}, 8, 1, 2, kMarkCut, T(Times(kMaxTextUnits, "語")))},
      {"progress-replaced", Progress({10, 1, 1, 1}, 9, 1, 2, kMarkReplaced, T("a\uFFFDb"))},
      {"progress-emoji-rtl", Progress({11, 1, 1, 1}, 10, 1, 2, 0, T("\U0001F600 שלום\u2028\x07"))},
      {"progress-session-0", Progress({12, 1, 1, 0}, 1, 0, 0, 0, T("x"))},
      {"progress-max", Progress({kMaxSeq, kMax53, kMax32, kMaxSeq}, kMax53, kMax32, kMax32,
                                kMarkCut | kMarkReplaced, T("é"))},
      {"error",
       [](Buffer out) {
         return EncodeError({13, 200000, 7, 1}, 1, 0x8004010F, 0, T("Cannot find the folder"), out);
       }},
      {"error-null-text",
       [](Buffer out) {
         return EncodeError({14, 200001, 7, 1}, 2, 0, 0, {}, out);
       }},
      {"error-empty-text",
       [](Buffer out) {
         return EncodeError({15, 200002, 7, 1}, 3, 0x00040380, 0, T(""), out);
       }},
      {"error-longest-text",
       [](Buffer out) {
         return EncodeError({4294967296, 200003, 7, 1}, 300, kMax32, 3,
                            T(Times(kMaxTextUnits, "é")), out);
       }},
      {"done",
       [](Buffer out) {
         return EncodeDone({16, 300000, 8, 1}, 1, 0, HandleMatch::kEqual, out);
       }},
      {"done-failed",
       [](Buffer out) {
         return EncodeDone({4294967297, 300001, 8, 65535}, 65536, 0x80040119, HandleMatch::kDiffers,
                           out);
       }},
      {"done-null-handle",
       [](Buffer out) {
         return EncodeDone({18, 300002, 8, 1}, 2, 1, HandleMatch::kNull, out);
       }},
      {"done-nothing-to-compare",
       [](Buffer out) {
         return EncodeDone({19, 300003, 8, 1}, 3, 0x8004011A, HandleMatch::kNothingToCompare, out);
       }},
      {"inner",
       [](Buffer out) {
         return EncodeInner({20, 400000, 8, 1}, Method::kProgress, 5, 0x80004005, kInnerSlowUs,
                            out);
       }},
      {"inner-max",
       [](Buffer out) {
         return EncodeInner({kMaxSeq, kMax53, kMax32, kMaxSeq}, Method::kDone, kMax53, kMax32,
                            kMax53, out);
       }},
      {"blocked",
       [](Buffer out) {
         return EncodeBlocked({21, 2500000, 9, 1}, Method::kError, 6, 499999, out);
       }},
      {"unblocked",
       [](Buffer out) {
         return EncodeUnblocked({22, 9500000, 9, 1}, Method::kError, 6, 499999, 9000001, out);
       }},
      {"returned",
       [](Buffer out) {
         return EncodeReturned({23, 500000, 10, 1}, 0, 1234, true, out);
       }},
      {"returned-failed",
       [](Buffer out) {
         return EncodeReturned({24, 500001, 10, 1}, 0x80040102, 0, false, out);
       }},
      {"note",
       [](Buffer out) {
         return EncodeNote({25, 600000, 11, 1}, T("unknown_iid"),
                           T("{00000003-0000-0000-C000-000000000046}"), out);
       }},
      {"note-empty",
       [](Buffer out) {
         return EncodeNote({26, 600001, 11, 1}, T(""), T(""), out);
       }},
      {"note-max",
       [](Buffer out) {
         return EncodeNote({27, 600002, 11, 1}, T(Times(1024, "k")), T(Times(512, "é")), out);
       }},
      {"close", WithoutTimes([](Buffer out) {
         return EncodeClose({28, 700000, 12, 1}, Counted(1000, 3, 1, 250, 0, 4321, 100001), out);
       })},
      {"close-zeros", WithoutTimes([](Buffer out) {
         return EncodeClose({29, 700001, 12, 28}, {}, out);
       })},
      {"close-max", WithoutTimes([](Buffer out) {
         return EncodeClose({kMaxSeq, kMax53, kMax32, kMaxSeq}, Full({}), out);
       })},
      {"close-times",
       [](Buffer out) {
         return EncodeClose({34, 700000, 12, 1}, kTimed, out);
       }},
      {"close-times-max",
       [](Buffer out) {
         return EncodeClose({kMaxSeq, kMax53, kMax32, kMaxSeq}, Full({kMax53, kMax53}), out);
       }},
      {"merged", WithoutTimes([](Buffer out) {
         return EncodeMerged({30, 800000, 13, 1}, Counted(1000, 0, 0, 900, 0, 0, 0),
                             {1000, 799999, 1000, 2000, 0, T("Sent Items")}, out);
       })},
      {"merged-max", WithoutTimes([](Buffer out) {
         return EncodeMerged({kMaxSeq, kMax53, kMax32, kMaxSeq}, Full({}),
                             {kMax53, kMax53, kMax32, kMax32, 3, T(Times(128, "é"))}, out);
       })},
      {"merged-times",
       [](Buffer out) {
         return EncodeMerged({35, 800000, 13, 1}, kTimed,
                             {1000, 799999, 1000, 2000, 0, T("Sent Items")}, out);
       }},
      {"merged-times-max",
       [](Buffer out) {
         return EncodeMerged({kMaxSeq, kMax53, kMax32, kMaxSeq}, Full({kMax53, kMax53}),
                             {kMax53, kMax53, kMax32, kMax32, 3, {}}, out);
       }},
      {"lost",
       [](Buffer out) {
         return EncodeLost({31, 900000, 14, 0}, {1, 0, 300, 2, 70000}, out);
       }},
      {"lost-max",
       [](Buffer out) {
         return EncodeLost({kMaxSeq, kMax53, kMax32, 0}, {kMax53, kMax53, kMax53, kMax53, kMax53},
                           out);
       }},
      {"hole",
       [](Buffer out) {
         return EncodeHole({32, 0, 0, 0}, HoleReason::kThreadDead, out);
       }},
      {"hole-adopted",
       [](Buffer out) {
         return EncodeHole({4294967298, 1000000, 0, 0}, HoleReason::kAdopted, out);
       }},
      {"clock",
       [](Buffer out) {
         return EncodeClock({33, 60000000, 15, 0}, 1750000060000000, out);
       }},
  };
}

struct Wanted {
  DaemonFrame::Type type;
  std::uint64_t durable;
  std::uint32_t protocol;
  std::uint32_t reason;
  const char* text;
};

std::map<std::string, Wanted> FromDaemon() {
  using Type = DaemonFrame::Type;
  return {
      {"welcome", {Type::kWelcome, 0, 1, 0, ""}},
      {"welcome-max", {Type::kWelcome, kMaxSeq, 65535, 0, ""}},
      {"ack", {Type::kAck, 127, 0, 0, ""}},
      {"ack-large", {Type::kAck, 4294967296, 0, 0, ""}},
      {"refused", {Type::kRefused, 0, 0, 5, "replaced by a newer connection"}},
      {"refused-empty", {Type::kRefused, 0, 0, 8, ""}},
      {"daemon-bye", {Type::kBye, 0, 0, 0, ""}},
  };
}

std::string Hex(const unsigned char* data, std::size_t size) {
  std::string hex;
  for (std::size_t i = 0; i < size; i++) {
    hex += "0123456789abcdef"[data[i] >> 4];
    hex += "0123456789abcdef"[data[i] & 0xf];
  }
  return hex;
}

void SameBytes(const std::string& name, const vectors::Bytes& got, const vectors::Bytes& want) {
  if (got == want) return;
  std::size_t at = 0;
  while (at < got.size() && at < want.size() && got[at] == want[at]) at++;
  const auto around = [at](const vectors::Bytes& bytes) {
    const std::size_t end = at + 16 < bytes.size() ? at + 16 : bytes.size();
    return at < end ? Hex(bytes.data() + at, end - at) : "the end";
  };
  check::Fail(__FILE__, __LINE__,
              name + ", from byte " + std::to_string(at) + ": expected " + around(want) + ", got " +
                  around(got));
}

void RebuildsEachCase() {
  const std::map<std::string, vectors::Case> cases = vectors::Read("v1.txt");
  const std::map<std::string, Builder> builders = Builders();
  CHECK(!cases.empty());
  for (const auto& [name, golden] : cases) {
    if (FromDaemon().count(name) != 0) continue;
    const auto builder = builders.find(name);
    if (builder == builders.end()) {
      check::Fail(__FILE__, __LINE__, "case \"" + name + "\" has no builder");
      continue;
    }
    vectors::Bytes out(4 + kTextBodyBytes);
    const std::size_t size = builder->second({out.data() + 4, kTextBodyBytes});
    out.resize(4 + size);
    for (int i = 0; i < 4; i++)
      out[static_cast<std::size_t>(i)] = static_cast<unsigned char>(size >> (3 - i) * 8);
    SameBytes(name, out, golden.bytes);
  }
  for (const auto& [name, builder] : builders) {
    if (cases.count(name) == 0) check::Fail(__FILE__, __LINE__, "no case \"" + name + "\"");
  }
}

void RefusesEverySmallerBuffer() {
  for (const auto& [name, builder] : Builders()) {
    vectors::Bytes whole(kTextBodyBytes);
    const std::size_t size = builder({whole.data(), whole.size()});
    for (std::size_t room = 0; room < size; room++) {
      // On the heap in exactly that size, so that the address sanitizer sees one byte too many.
      const std::unique_ptr<unsigned char[]> out(new unsigned char[room]);
      if (builder({out.get(), room}) != 0) {
        check::Fail(__FILE__, __LINE__, name + " fits into " + std::to_string(room) + " bytes");
      }
    }
  }
}

void DecodesWhatTheDaemonSends() {
  const std::map<std::string, vectors::Case> cases = vectors::Read("v1.txt");
  for (const auto& [name, wanted] : FromDaemon()) {
    const auto golden = cases.find(name);
    if (golden == cases.end()) {
      check::Fail(__FILE__, __LINE__, "no case \"" + name + "\"");
      continue;
    }
    const unsigned char* body = golden->second.bytes.data() + 4;
    const std::size_t size = golden->second.bytes.size() - 4;
    const DaemonFrame frame = DecodeDaemonFrame(body, size);
    CHECK_EQ(frame.type, wanted.type);
    CHECK_EQ(frame.durable, wanted.durable);
    CHECK_EQ(frame.protocol, wanted.protocol);
    CHECK_EQ(frame.reason, wanted.reason);
    CHECK_EQ(std::string(frame.text.data == nullptr ? "" : frame.text.data, frame.text.size_bytes),
             std::string(wanted.text));
    for (std::size_t cut = 0; cut < size; cut++) {
      const vectors::Bytes part(body, body + cut);
      CHECK_EQ(DecodeDaemonFrame(part.data(), part.size()).type, DaemonFrame::Type::kMalformed);
    }
  }
}

void ReadsBackProgress() {
  for (const auto& [name, golden] : vectors::Read("v1.txt")) {
    const bool wanted = name.rfind("progress", 0) == 0;
    std::uint64_t session;
    ProgressCall call;
    const unsigned char* body = golden.bytes.data() + 4;
    const std::size_t size = golden.bytes.size() - 4;
    CHECK_EQ(DecodeProgress(body, size, &session, &call), wanted);
    std::uint64_t whose;
    std::uint64_t which;
    CHECK_EQ(PeekProgress(body, size, &whose, &which), wanted);
    if (!wanted) continue;
    CHECK_EQ(whose, session);
    CHECK_EQ(which, call.call);
    vectors::Bytes out(size);
    CHECK_EQ(EncodeProgress({0, 0, 0, session}, call, {out.data(), out.size()}), size);
    // All but seq and thread, which it does not read.
    CHECK_EQ(Hex(out.data() + 11, 9), Hex(body + 11, 9));
    CHECK_EQ(Hex(out.data() + 25, size - 25), Hex(body + 25, size - 25));
  }
}

void KnowsSequencedFrames() {
  for (const auto& [name, golden] : vectors::Read("v1.txt")) {
    const unsigned char* body = golden.bytes.data() + 4;
    const std::size_t size = golden.bytes.size() - 4;
    const unsigned kind = KindOf(body, size);
    const bool sequenced = kind >= 3 && kind <= 16;
    std::uint64_t seq = 0;
    const std::size_t at = golden.bytes[4] == 0xdc ? 5 : 3;
    for (std::size_t i = 0; i < 8 && at + i < size; i++) seq = seq << 8 | body[at + i];
    if (IsSequenced(body, size, seq) != sequenced) {
      check::Fail(__FILE__, __LINE__, "IsSequenced() errs on " + name);
    }
    if (!sequenced) continue;
    CHECK(!IsSequenced(body, size, seq + 1));
    CHECK(!IsSequenced(body, size - 1, seq));
    vectors::Bytes more(body, body + size);
    PatchSeq(more.data(), seq ^ 0x123456789);
    CHECK(IsSequenced(more.data(), more.size(), seq ^ 0x123456789));
    more.push_back(0);
    CHECK(!IsSequenced(more.data(), more.size(), seq ^ 0x123456789));
  }
}

void HoldsElementsToTheirTypes() {
  const std::string seq_and_time = "cf0000000000000001cf0000000000000000ce00000000";
  const std::string header = seq_and_time + "00";
  const struct {
    const char* name;
    std::string hex;
    bool want;
  } rows[] = {
      {"a clock", "9610" + header + "05", true},
      {"a clock with more elements", "9810" + header + "05a141c0", true},
      {"a clock with a nested element", "9710" + header + "0590", false},
      {"a clock without its time", "9510" + header, false},
      {"a clock of nil", "9610" + header + "c0", false},
      {"a hole", "960f" + header + "ceffffffff", true},
      {"a hole whose reason takes more than 32 bits", "960f" + header + "cf0000000100000000",
       false},
      {"the largest attach", "9b03" + header + "03c0c0c00000", true},
      {"an attach too large", "9b03" + header + "04c0c0c00000", false},
      {"an attach of 0", "9b03" + header + "00c0c0c00000", false},
      {"a note", "970b" + header + "a0a0", true},
      {"a note without value", "970b" + header + "a0c0", false},
      {"a close with times", "dc00120c" + header + Times(13, "00"), true},
      {"a close with half of its times", "9f0c" + header + Times(10, "00"), true},
      {"a close with a time of nil", "dc00120c" + header + Times(12, "00") + "c0", false},
      {"a close with too large a time",
       "dc00120c" + header + Times(12, "00") + "cf0020000000000000", false},
      {"a close with nil for half of its times", "9f0c" + header + Times(9, "00") + "c0", true},
      {"a close without a counter", "9b0c" + header + Times(6, "00"), false},
      {"an unknown kind", "9563" + header, true},
      {"an unknown kind without session", "9563" + seq_and_time + "a0", false},
      {"a session too large", "9563" + seq_and_time + "cf0000200000000000", false},
      {"a control kind", "9511" + header, false},
  };
  for (const auto& row : rows) {
    const vectors::Bytes body = vectors::FromHex(row.hex);
    if (IsSequenced(body.data(), body.size(), 1) != row.want) {
      check::Fail(__FILE__, __LINE__, row.name);
    }
  }
}

void JudgesDaemonFrames() {
  using Type = DaemonFrame::Type;
  const auto hex = [](std::size_t size_bytes) { return std::string(2 * size_bytes, '6'); };
  const struct {
    const char* name;
    std::string hex;
    Type type;
  } rows[] = {
      {"nothing", "", Type::kMalformed},
      {"an empty array", "90", Type::kMalformed},
      {"no array", "20", Type::kMalformed},
      {"a map", "81200a", Type::kMalformed},
      {"a kind that is no number", "91a120", Type::kMalformed},
      {"a kind of the future", "9228c0", Type::kUnknown},
      {"a kind of the future with a nested element", "922891910a", Type::kUnknown},
      {"an ack with more elements", "9321079191c0", Type::kAck},
      {"an ack without its number", "9121", Type::kMalformed},
      {"an ack whose number is not of its array", "912107", Type::kMalformed},
      {"an ack of nil", "9221c0", Type::kMalformed},
      {"an ack at 2^45 - 1", "9221cf00001fffffffffff", Type::kAck},
      {"an ack at 2^45", "9221cf0000200000000000", Type::kMalformed},
      {"a protocol above 32 bits", "9320cf000000010000000107", Type::kMalformed},
      {"a negative ack", "9221ff", Type::kMalformed},
      {"a refusal with a text that is too long", "932201a5616263", Type::kMalformed},
      {"a refusal with nil", "932201c0", Type::kMalformed},
      {"a refusal with str32", "932201db0000000161", Type::kRefused},
      {"the longest refusal", "932201da0400" + hex(kMaxNameBytes), Type::kRefused},
      {"a refusal that is too long", "932201da0401" + hex(kMaxNameBytes + 1), Type::kMalformed},
      {"array32 with one element", "dd0000000123", Type::kBye},
      {"more elements than there may be", "dc002123", Type::kMalformed},
      {"as many elements as there may be", "dc002023", Type::kBye},
      {"the largest array32", "ddffffffff23", Type::kMalformed},
  };
  for (const auto& row : rows) {
    const vectors::Bytes body = vectors::FromHex(row.hex);
    const DaemonFrame frame = DecodeDaemonFrame(body.data(), body.size());
    if (frame.type != row.type) check::Fail(__FILE__, __LINE__, row.name);
  }
}

void WritesShortestForms() {
  const struct {
    std::uint64_t value;
    const char* hex;
  } rows[] = {
      {0, "00"},
      {0x7f, "7f"},
      {0x80, "cc80"},
      {0xff, "ccff"},
      {0x100, "cd0100"},
      {0xffff, "cdffff"},
      {0x10000, "ce00010000"},
      {0xffffffff, "ceffffffff"},
      {0x100000000, "cf0000000100000000"},
  };
  for (const auto& row : rows) {
    unsigned char out[9];
    MsgpackWriter w({out, sizeof out});
    w.Uint(row.value);
    CHECK(w.ok());
    CHECK_EQ(Hex(out, w.size_bytes()), std::string(row.hex));
    CHECK_EQ(UintBytes(row.value), w.size_bytes());
  }
  unsigned char out[2];
  MsgpackWriter w({out, sizeof out});
  w.Uint(0x100);
  w.Uint(1);  // Would fit; the error before it is sticky.
  CHECK(!w.ok());
  CHECK_EQ(w.size_bytes(), std::size_t{0});
}

}  // namespace
}  // namespace mapisync

int main() {
  return check::Run({
      {"encoders rebuild each golden case", mapisync::RebuildsEachCase},
      {"encoders refuse every smaller buffer", mapisync::RefusesEverySmallerBuffer},
      {"DecodeDaemonFrame() reads golden cases, and no part of one",
       mapisync::DecodesWhatTheDaemonSends},
      {"DecodeProgress() reads back what was encoded, and nothing else",
       mapisync::ReadsBackProgress},
      {"IsSequenced() knows the sequenced frames", mapisync::KnowsSequencedFrames},
      {"IsSequenced() holds elements to their types", mapisync::HoldsElementsToTheirTypes},
      {"DecodeDaemonFrame() judges odd bytes", mapisync::JudgesDaemonFrames},
      {"MsgpackWriter takes the shortest form", mapisync::WritesShortestForms},
  });
}
