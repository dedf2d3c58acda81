// What is in the ring after calls of a tee or a sink: their texts and numbers byte for byte, and
// what was merged.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "callback_fixture.h"
#include "platform.h"
#include "utf8.h"

namespace mapisync {
namespace {

void RecordsCalls() {
  Fixture f;
  f.object->Progress(u"Inbox", 5, 300);
  f.object->Progress(nullptr, 0xffffffff, 0);
  f.object->Progress(u"", 0, 0);
  f.object->Error(kFail, nullptr);
  f.object->Error(kOk, u"語");
  f.object->Done(nullptr, Hresult{0});
  f.object->Done(nullptr, kFail);
  f.object->Progress(u"after", 1, 2);
  f.object->Release();
  CHECK_EQ(Kinds(f.t),
           std::string("open progress progress progress error error done done progress close"));
  CHECK_EQ(Elements(f.t, Kind::kProgress, 0), std::string("\x01\x05\xcd\x01\x2c\x00\xa5Inbox", 12));
  CHECK_EQ(Elements(f.t, Kind::kProgress, 1),
           std::string("\x02\xce\xff\xff\xff\xff\x00\x00\xc0", 9));
  CHECK_EQ(Elements(f.t, Kind::kProgress, 2), std::string("\x03\x00\x00\x00\xa0", 5));
  CHECK_EQ(Elements(f.t, Kind::kProgress, 3), std::string("\x04\x01\x02\x00\xa5"
                                                          "after",
                                                          10));
  CHECK_EQ(Elements(f.t, Kind::kError, 0), std::string("\x01\xce\x80\x00\x40\x05\x00\xc0", 8));
  CHECK_EQ(Elements(f.t, Kind::kError, 1), std::string("\x02\x00\x00\xa3\xe8\xaa\x9e", 7));
  CHECK_EQ(Elements(f.t, Kind::kDone, 0), std::string("\x01\x00\x00", 3));
  CHECK_EQ(Elements(f.t, Kind::kDone, 1), std::string("\x02\xce\x80\x00\x40\x05\x00", 7));
  const std::string close = Elements(f.t, Kind::kClose);
  CHECK_EQ(close.substr(0, 5), std::string("\x04\x02\x02\x00\x00", 5));
}

// A text of so many units and how it comes out: with a character of two bytes in it, and a lone
// surrogate, which becomes one of three, if asked for.
std::u16string TextOf(std::uint32_t units, bool with_lone, std::string* utf8) {
  std::u16string text;
  utf8->clear();
  for (std::uint32_t i = 0; i < units; i++) {
    if (with_lone && i == units / 3) {
      text += char16_t{0xd800};
      *utf8 += "\xef\xbf\xbd";
    } else if (units % 5 == 0 && i == units / 2) {
      text += u'é';
      *utf8 += "\xc3\xa9";
    } else {
      text += static_cast<char16_t>(u'a' + i % 26);
      *utf8 += static_cast<char>('a' + i % 26);
    }
  }
  return text;
}

// What the quick way makes must be what the plain encoder makes.
void EncodesEveryLengthAlike() {
  for (std::uint32_t n = 0; n < 1200; n++) {
    const std::uint32_t length = n / 2;
    const bool with_lone = n % 2 == 1 && length > 8;
    Fixture f(false);
    std::string wanted;
    std::u16string text = TextOf(length, with_lone, &wanted);
    text += char16_t{0} + std::u16string(16, u'Z');
    f.object->Progress(u"A thread's first call looks for the tail.", 1, 2);
    f.object->Progress(text.c_str(), length, 70000);
    const std::string body = BodyOf(f.t, Kind::kProgress, 1);
    const auto* bytes = reinterpret_cast<const unsigned char*>(body.data());
    CHECK(IsSequenced(bytes, body.size(), 3));
    std::uint64_t session;
    ProgressCall call;
    CHECK(DecodeProgress(bytes, body.size(), &session, &call));
    CHECK_EQ(call.index, length);
    CHECK_EQ(call.max, 70000u);
    CHECK_EQ(call.marks, with_lone ? kMarkReplaced : 0u);
    CHECK_EQ(std::string(call.text.data, call.text.size_bytes), wanted);
    std::vector<unsigned char> again(body.size());
    CHECK_EQ(EncodeProgress({3, 0, ThreadId(), session}, call, {again.data(), again.size()}),
             body.size());
    CHECK(std::memcmp(again.data(), bytes, body.size()) == 0);
    // Nothing of what stood behind the text, here or on the stack.
    const unsigned char* const start = f.t.memory.get();
    const unsigned char* const end = start + f.t.size_bytes;
    const auto* behind = std::search(start, end, bytes, bytes + body.size());
    behind += body.size();
    CHECK(std::all_of(behind, end, [](unsigned char byte) { return byte == 0; }));
    f.object->Release();
    if (check::failures > 0) return;
  }
}

// Where the number of a call takes more bytes than the one before, and behind that.
void EncodesEveryNumberAlike() {
  constexpr std::uint64_t kStarts[] = {0, 125, 253, 65533, 4294967293};
  for (const std::uint64_t start : kStarts) {
    Fixture f(false);
    f.t.ring.session(0).Count(SessionSlot::kProgress, start);
    for (int n = 0; n < 6; n++) {
      f.object->Progress(n % 3 == 2 ? nullptr : u"x", 1000, 200);
      const std::string body = BodyOf(f.t, Kind::kProgress, n);
      const auto* bytes = reinterpret_cast<const unsigned char*>(body.data());
      std::uint64_t session;
      ProgressCall call;
      CHECK(DecodeProgress(bytes, body.size(), &session, &call));
      CHECK_EQ(call.call, start + static_cast<std::uint64_t>(n) + 1);
      CHECK_EQ(call.index, 1000u);
      CHECK_EQ(call.max, 200u);
      CHECK_EQ(call.text.data == nullptr, n % 3 == 2);
      std::vector<unsigned char> again(body.size());
      const Stamp stamp = {static_cast<std::uint64_t>(n) + 2, 0, ThreadId(), session};
      CHECK_EQ(EncodeProgress(stamp, call, {again.data(), again.size()}), body.size());
      CHECK(std::memcmp(again.data(), bytes, body.size()) == 0);
    }
    f.object->Release();
  }
}

void CutsLongTexts() {
  Fixture f(false);
  const std::u16string longest(kMaxTextUnits, u'語');
  f.object->Progress(longest.c_str(), 1, 2);
  f.object->Progress((longest + u"!").c_str(), 1, 2);
  f.object->Error(kFail, (longest + u"!").c_str());
  for (int n = 0; n < 2; n++) {
    const std::string body = BodyOf(f.t, Kind::kProgress, n);
    std::uint64_t session;
    ProgressCall call;
    CHECK(DecodeProgress(reinterpret_cast<const unsigned char*>(body.data()), body.size(), &session,
                         &call));
    CHECK_EQ(call.marks, n == 0 ? 0u : kMarkCut);
    CHECK_EQ(call.text.size_bytes, kMaxTextBytes);
  }
  CHECK_EQ(Elements(f.t, Kind::kError)[6], static_cast<char>(kMarkCut));
  f.object->Release();
}

void RecordsCarryTimeAndThread() {
  Fixture f;
  f.inner.result = kFail;
  const std::uint64_t cached_us = f.t.ring.CachedNowUs();
  const std::uint64_t before_us = NowUs();
  f.object->Progress(u"x", 1, 2);
  f.object->Error(kFail, u"x");
  f.object->Done(nullptr, kOk);
  const std::uint64_t after_us = NowUs();
  for (const Kind kind : {Kind::kProgress, Kind::kError, Kind::kDone, Kind::kInner}) {
    const std::string body = BodyOf(f.t, kind);
    const std::uint64_t time_us = HeaderNumber(body, 12, 8);
    CHECK(kind == Kind::kProgress ? time_us == cached_us
                                  : time_us >= before_us && time_us <= after_us);
    CHECK_EQ(HeaderNumber(body, 21, 4), std::uint64_t{ThreadId()});
  }
  f.object->Release();
}

void WhatIsMergedIsKeptAsTheNewest() {
  Fixture f(false, nullptr, false, 4096);
  while (Append(f.t.ring, 30) != 0) {
  }
  f.t.ring.SetCachedNowUs(7000000);
  const SessionSlot& slot = *f.callback->session().slot();
  NewestCall newest;
  for (std::uint32_t n = 0; n < 1200; n++) {
    const std::uint32_t length = n / 2;
    const bool with_lone = n % 2 == 1 && length > 8;
    std::string wanted;
    f.object->Progress(TextOf(length, with_lone, &wanted).c_str(), n, 70000);
    slot.ReadNewest(&newest);
    CHECK_EQ(newest.call.call, std::uint64_t{n} + 1);
    CHECK_EQ(newest.call.time_us, std::uint64_t{7000000});
    CHECK_EQ(newest.call.index, n);
    CHECK_EQ(newest.call.max, 70000u);
    CHECK_EQ(newest.call.marks, with_lone ? kMarkReplaced : 0u);
    const auto bytes = static_cast<std::uint32_t>(wanted.size());
    const Text cut = CutUtf8({wanted.data(), bytes}, kMaxSlotTextBytes);
    CHECK_EQ(std::string(newest.call.text.data, newest.call.text.size_bytes),
             std::string(cut.data, cut.size_bytes));
    if (check::failures > 0) break;
  }
  f.object->Progress(nullptr, 1, 2);
  slot.ReadNewest(&newest);
  CHECK_EQ(newest.call.index, 1u);
  CHECK(newest.call.text.data == nullptr);
  f.object->Release();
}

// Threads that take each other's places lose no call, and record none twice.
void SeveralThreadsRecordEachCallOnce() {
  constexpr std::uint32_t kThreads = 4;
  constexpr std::uint32_t kCalls = 5000;
  Fixture f(false, nullptr, false, kThreads * kCalls * 64);
  std::atomic<std::uint32_t> ready{0};
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < kThreads; id++) {
    threads.emplace_back([&f, &ready, id] {
      ready++;
      while (ready < kThreads) {
      }
      for (std::uint32_t i = 0; i < kCalls; i++) f.object->Progress(u"x", i, id);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<std::uint32_t> next(kThreads);
  std::vector<bool> seen(kThreads * kCalls + 1);
  RingScan scan(f.t.memory.get(), f.t.size_bytes, true);
  ScannedRecord record;
  CHECK(scan.Next(&record));  // `open`
  while (scan.Next(&record)) {
    std::uint64_t session;
    ProgressCall call;
    CHECK(!record.is_hole && DecodeProgress(record.body, record.size_bytes, &session, &call));
    const auto number = static_cast<std::size_t>(call.call);
    CHECK(number < seen.size() && !seen[number]);
    CHECK(call.max < kThreads && call.index == next[call.max]);
    if (check::failures > 0) return;
    seen[number] = true;
    next[call.max]++;
  }
  for (const std::uint32_t calls : next) CHECK_EQ(calls, kCalls);
  f.object->Release();
}

void AboveTheWatermarkProgressIsMerged() {
  Fixture f(false, nullptr, false, 4096);
  while (Append(f.t.ring, 200, Room::kProgress) != 0) {
  }
  while (Append(f.t.ring, 30, Room::kProgress) != 0) {
  }
  const std::uint64_t before = f.t.ring.recorded();
  f.object->Progress(u"merged", 7, 9);
  CHECK_EQ(f.t.ring.recorded(), before);
  f.object->Error(kFail, u"not merged");
  CHECK_EQ(f.t.ring.recorded(), before + 1);
  f.object->Release();
  CHECK_EQ(f.t.ring.recorded(), before + 3);  // `merged` and `close`.
}

}  // namespace
}  // namespace mapisync

int main() {
  return check::Run({
      {"each call is a record", mapisync::RecordsCalls},
      {"texts of every length are encoded alike", mapisync::EncodesEveryLengthAlike},
      {"numbers of every size are encoded alike", mapisync::EncodesEveryNumberAlike},
      {"long texts are cut and marked", mapisync::CutsLongTexts},
      {"records carry time and thread", mapisync::RecordsCarryTimeAndThread},
      {"above the watermark Progress is merged", mapisync::AboveTheWatermarkProgressIsMerged},
      {"what is merged is kept as the newest", mapisync::WhatIsMergedIsKeptAsTheNewest},
      {"several threads record each call once", mapisync::SeveralThreadsRecordEachCallOnce},
  });
}
