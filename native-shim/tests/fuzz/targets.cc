#include "targets.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "../test_ring.h"
#include "daemon_stream.h"
#include "endpoint.h"
#include "handshake.h"
#include "msgpack_reader.h"
#include "utf8.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#if defined(HAS_ASAN)
#include <sanitizer/asan_interface.h>
#define FENCE(from, size) ASAN_POISON_MEMORY_REGION(from, size)
#define UNFENCE(from, size) ASAN_UNPOISON_MEMORY_REGION(from, size)
#else
#define FENCE(from, size) (void)(from)
#define UNFENCE(from, size) (void)(from)
#endif

#define MUST(condition)                                                    \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                        \
    }                                                                      \
  } while (false)

namespace fuzz {
namespace {

using namespace mapisync;

void Add(std::string* out, std::uint64_t value) { *out += " " + std::to_string(value); }

void AddBytes(std::string* out, const void* data, std::size_t size_bytes) {
  *out += " x";
  for (std::size_t i = 0; i < size_bytes; i++) {
    const unsigned char byte = static_cast<const unsigned char*>(data)[i];
    *out += "0123456789abcdef"[byte >> 4];
    *out += "0123456789abcdef"[byte & 15];
  }
}

void Add(std::string* out, Text text) {
  if (text.data == nullptr) {
    *out += " nil";
  } else {
    AddBytes(out, text.data, text.size_bytes);
  }
}

// All elements of a sequenced frame that was found good.
void AddElements(std::string* out, const unsigned char* body, std::size_t size_bytes) {
  MsgpackReader r(body, size_bytes);
  std::uint32_t left = r.Array() - 5;
  const std::uint64_t kind = r.Uint();
  Add(out, kind);
  Add(out, r.Fixed(0xcf));
  if (*ElementsOf(kind) == '\0') return;
  Add(out, r.Fixed(0xcf));
  Add(out, r.Fixed(0xce));
  Add(out, r.Uint());
  for (const char* type = ElementsOf(kind); *type != '\0'; type++) {
    if (*type == '?') {
      if (left < std::strlen(type + 1)) break;
      continue;
    }
    left--;
    if (std::strchr("nNts", *type) != nullptr) {
      Add(out, r.Str(true, kMaxTextBytes));
      continue;
    }
    MsgpackReader peek = r;
    if (*type == 'W' && peek.Str(true, 0).data == nullptr && peek.ok()) {
      r = peek;
      *out += " nil";
    } else {
      Add(out, r.Uint());
    }
  }
  MUST(r.ok());
}

std::string Frame(const unsigned char* data, std::size_t size_bytes) {
  std::string out = "shim";
  MsgpackReader r(data, size_bytes);
  r.Array();
  r.Uint();
  const std::uint64_t seq = r.Fixed(0xcf);
  const bool sequenced = r.ok() && IsSequenced(data, size_bytes, seq);
  if (sequenced) {
    MUST(KindOf(data, size_bytes) != 0 || *ElementsOf(0) == '\0');
    MUST(!IsSequenced(data, size_bytes, seq + 1));
    AddElements(&out, data, size_bytes);
  }
  std::uint64_t session = 0;
  ProgressCall call;
  const bool progress = DecodeProgress(data, size_bytes, &session, &call);
  MUST(progress == (sequenced && KindOf(data, size_bytes) == 4));
  if (progress) {
    out += " progress";
    for (const std::uint64_t value : {call.time_us, session, call.call, std::uint64_t{call.index},
                                      std::uint64_t{call.max}, std::uint64_t{call.marks}}) {
      Add(&out, value);
    }
    Add(&out, call.text);
  }
  const DaemonFrame frame = DecodeDaemonFrame(data, size_bytes);
  using Type = DaemonFrame::Type;
  out += " daemon";
  switch (frame.type) {
    case Type::kWelcome:
      out += " welcome";
      Add(&out, frame.protocol);
      Add(&out, frame.durable);
      break;
    case Type::kAck:
      out += " ack";
      Add(&out, frame.durable);
      break;
    case Type::kRefused:
      out += " refused";
      Add(&out, frame.reason);
      Add(&out, frame.text);
      break;
    case Type::kBye:
      out += " bye";
      break;
    case Type::kUnknown:
      out += " unknown";
      break;
    case Type::kMalformed:
      out += " malformed";
      break;
  }
  return out;
}

// --- Ring ---

// A ring without records; its data and 8 bytes of its header are set for each input.
struct Image {
  Image() : ring(kRingMaxDataBytes), size_bytes(ring.size_bytes) {}
  TestRing ring;
  std::size_t size_bytes;
};

template <typename T>
T Load(const unsigned char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::string ScanRing(const unsigned char* data, std::size_t size_bytes) {
  if (size_bytes < kRingInputBytes) return "short";
  static Image* const image = new Image;
  unsigned char* const memory = image->ring.memory.get();
  const bool this_boot = (data[0] & 1) != 0;
  const std::size_t patch = Load<std::uint16_t>(data + 9) % 1017;
  const std::size_t rest = size_bytes - kRingInputBytes;
  const std::size_t data_bytes = (rest < kRingMaxDataBytes ? rest : kRingMaxDataBytes) / 8 * 8;
  unsigned char before[1024];
  std::memcpy(before, memory, sizeof before);
  std::memcpy(memory + 32, &data_bytes, 8);
  std::memcpy(memory + 584, data + 1, 8);
  // Offset 0 leaves the header as it is.
  if (patch != 0) std::memcpy(memory + patch, data + 11, 8);
  unsigned char* const records = memory + kRingDataOffset;
  std::memcpy(records, data + kRingInputBytes, data_bytes);
  FENCE(records + data_bytes, kRingMaxDataBytes - data_bytes);

  const std::size_t scanned = kRingDataOffset + data_bytes;
  RingScan scan(memory, scanned, this_boot);
  std::string out = scan.is_ring() ? "ring" : "none";
  ScannedRecord record;
  std::uint64_t seq = 0;
  std::size_t taken = 0;
  while (scan.Next(&record)) {
    MUST(seq == 0 || record.seq == seq + 1);
    seq = record.seq;
    taken += RecordUnits(record.size_bytes) * 8;
    MUST(taken <= data_bytes);
    out += "\n";
    if (record.is_hole) {
      out += "hole";
      Add(&out, record.seq);
      continue;
    }
    MUST(record.body >= records && record.body + record.size_bytes <= memory + scanned);
    out += "frame";
    AddElements(&out, record.body, record.size_bytes);
  }
  UNFENCE(records + data_bytes, kRingMaxDataBytes - data_bytes);
  std::memcpy(memory, before, sizeof before);
  return out;
}

// --- Endpoint, handshake, text, stream ---

std::string ReadEndpoint(const unsigned char* data, std::size_t size_bytes) {
  Endpoint endpoint;
  if (!ParseEndpoint(reinterpret_cast<const char*>(data), size_bytes, &endpoint)) return "refused";
  MUST(std::memchr(endpoint.pipe, 0, sizeof endpoint.pipe) != nullptr);
  std::string out = "endpoint";
  Add(&out, endpoint.protocol);
  AddBytes(&out, endpoint.pipe, std::strlen(endpoint.pipe));
  AddBytes(&out, endpoint.secret, sizeof endpoint.secret);
  return out;
}

Endpoint KnownEndpoint() {
  Endpoint endpoint;
  endpoint.protocol = 1;
  std::strcpy(endpoint.pipe, "/fuzz");
  for (std::size_t i = 0; i < sizeof endpoint.secret; i++) {
    endpoint.secret[i] = static_cast<unsigned char>(i);
  }
  return endpoint;
}

// The input: how to cut the challenge, its 48 first bytes, what is wrong with its proof, and what
// comes behind it.
std::string ShakeHands(const unsigned char* data, std::size_t size_bytes) {
  constexpr std::size_t kStated = 48;
  if (size_bytes < 1 + kStated + kSha256Bytes) return "short";
  const Endpoint endpoint = KnownEndpoint();
  const unsigned char nonce[Handshake::kNonceBytes] = {7};
  Handshake handshake;
  handshake.Begin(endpoint, nonce);
  const unsigned char* const wrong = data + 1 + kStated;
  std::vector<unsigned char> sent(data + 1, data + size_bytes);
  ProveChallenge(endpoint, handshake.greeting(), sent.data());
  bool honest = true;
  for (std::size_t i = 0; i < kSha256Bytes; i++) {
    sent[kStated + i] ^= wrong[i];
    honest = honest && wrong[i] == 0;
  }
  const std::size_t step = data[0] == 0 ? sent.size() : data[0];
  Handshake::Result result = Handshake::Result::kMore;
  std::size_t at = 0;
  while (at < sent.size() && result == Handshake::Result::kMore) {
    const std::size_t size = step < sent.size() - at ? step : sent.size() - at;
    // A copy of just that size, so that a read behind it is seen.
    const std::unique_ptr<unsigned char[]> piece(new unsigned char[size]);
    std::memcpy(piece.get(), sent.data() + at, size);
    result = handshake.Take(piece.get(), size);
    at += size;
  }
  MUST(result != Handshake::Result::kMore);
  const bool too_much = at > Handshake::kChallengeBytes;
  MUST(!too_much || result == Handshake::Result::kBroken);
  if (result == Handshake::Result::kBroken) return "broken";
  MUST(honest);
  const bool proven = result == Handshake::Result::kProven;
  MUST(proven == (handshake.status() == 0));
  std::string out = proven ? "proven" : "refused " + std::to_string(handshake.status());
  if (proven) AddBytes(&out, handshake.answer(), Handshake::kAnswerBytes);
  return out;
}

// The input: how many units to take at most, the first address's lowest bit, UTF-16.
std::string Convert(const unsigned char* data, std::size_t size_bytes) {
  if (size_bytes < 2) return "short";
  const std::uint32_t max_units = data[0];
  const std::size_t odd = data[1] & 1u;
  const std::size_t text_bytes = (size_bytes - 2) / 2 * 2;
  const std::unique_ptr<char[]> memory(new char[odd + text_bytes + 2]);
  char* const text = memory.get() + odd;
  std::memcpy(text, data + 2, text_bytes);
  std::memset(text + text_bytes, 0, 2);
  const std::unique_ptr<char[]> result(new char[3 * max_units + kUtf8SlackBytes]);
  const Utf8Result got =
      Utf8FromUtf16(reinterpret_cast<const char16_t*>(text), max_units, result.get());
  MUST(got.size_bytes <= 3 * max_units);
  const std::unique_ptr<char[]> again(new char[3 * max_units + kUtf8SlackBytes]);
  const Utf8Result same =
      Utf8FromUtf16Inline(reinterpret_cast<const char16_t*>(text), max_units, again.get());
  MUST(same.size_bytes == got.size_bytes && same.marks == got.marks);
  MUST(std::memcmp(again.get(), result.get(), got.size_bytes) == 0);
  const Text cut = CutUtf8({result.get(), got.size_bytes}, max_units);
  MUST(cut.size_bytes <= max_units && got.size_bytes - cut.size_bytes <= 3 * max_units);
  std::string out = "text";
  Add(&out, got.marks);
  Add(&out, Text{result.get(), got.size_bytes});
  Add(&out, cut);
  return out;
}

constexpr Target kTargets[] = {
    {"frame", Frame},          {"ring", ScanRing}, {"endpoint", ReadEndpoint},
    {"handshake", ShakeHands}, {"utf8", Convert},  {"stream", TakeStream},
};

}  // namespace

const Target* FindTarget(const std::string& name) {
  for (const Target& target : kTargets) {
    if (name == target.name) return &target;
  }
  return nullptr;
}

void SealRing(unsigned char* data, std::size_t size_bytes) {
  if (size_bytes < kRingInputBytes) return;
  Place at = {Load<std::uint64_t>(data + 1)};
  unsigned char* const records = data + kRingInputBytes;
  const std::size_t rest = size_bytes - kRingInputBytes;
  const auto units =
      static_cast<std::uint32_t>((rest < kRingMaxDataBytes ? rest : kRingMaxDataBytes) / 8);
  for (std::uint32_t walked = 0; at.unit() < units;) {
    unsigned char* const record = records + std::size_t{8} * at.unit();
    Word word = {Load<std::uint64_t>(record)};
    if (word.state() == Word::kFree) return;
    const bool pad = word.state() == Word::kPad;
    const std::uint32_t taken = pad ? units - at.unit() : RecordUnits(word.size_bytes());
    walked += taken;
    if (walked > units || taken > units - at.unit()) return;
    word = Word::Of(at.seq(), pad ? 0 : word.size_bytes(), word.state());
    std::memcpy(record, &word.value, 8);
    const std::uint32_t next = at.unit() + taken == units ? 0 : at.unit() + taken;
    if (!pad && word.state() == Word::kCommitted && word.size_bytes() > 0) {
      unsigned char* const body = record + kRecordHeaderBytes;
      // Where the header of a frame with a short or a long array has its seq.
      const std::uint32_t tag = body[0] == 0xdc ? 4 : 2;
      if (word.size_bytes() > tag + 9) {
        body[tag] = 0xcf;
        for (std::uint32_t i = 0; i < 8; i++) {
          body[tag + 1 + i] = static_cast<unsigned char>(at.seq() >> (8 * (7 - i)));
        }
      }
      const std::uint32_t crc = RecordCrc(word.value, body, word.size_bytes());
      std::memcpy(record + 8, &crc, 4);
    }
    at = Place::Of(at.seq() + (pad ? 0 : 1), next);
  }
}

}  // namespace fuzz
