#include "ring.h"

#include <atomic>
#include <cstring>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "ring_append.h"
#include "test_ring.h"

namespace mapisync {
namespace {

using State = Ring::Record::State;

// Takes all committed records out, as the worker does. Returns their seqs and sizes: "1:40 2:33 ".
std::string Drain(Ring& ring, Place* at) {
  std::string found;
  for (;;) {
    const Ring::Record record = ring.Peek(at);
    if (record.state != State::kCommitted) return found;
    if (!IsSequenced(record.body, record.size_bytes, record.seq)) found += "broken ";
    found += std::to_string(record.seq) + ":" + std::to_string(record.size_bytes) + " ";
    *at = ring.Next(*at, record);
    ring.FreeTo(record.seq);
  }
}

void WritesTheHeader() {
  TestRing t(4096);
  const unsigned char* m = t.memory.get();
  CHECK(std::memcmp(m, "MAPIRING", 8) == 0);
  CHECK_EQ(m[8], kRingLayout);
  CHECK_EQ(m[96], 8);
  CHECK(std::memcmp(m + 98, "host.exe", 8) == 0);
  CHECK(std::memcmp(m + 354, "0.1.0", 5) == 0);
  CHECK_EQ(t.ring.data_bytes(), 4096u);
  CHECK_EQ(t.ring.freed(), std::uint64_t{0});
  CHECK_EQ(t.ring.recorded(), std::uint64_t{0});
  CHECK_EQ(t.ring.CachedNowUs(), std::uint64_t{5000000});
  const std::string name(300, 'n');
  RingIdentity identity = TestIdentity();
  identity.executable = name.c_str();
  identity.version = name.c_str();
  TestRing long_named(4096);
  long_named.ring.Format(long_named.memory.get(), long_named.size_bytes, identity);
  CHECK_EQ(long_named.memory.get()[96], 254);
  CHECK_EQ(long_named.memory.get()[352], 30);
  CHECK_EQ(long_named.memory.get()[384], 0);
}

void HandsOutInOrder() {
  TestRing t(4096);
  Place at = t.ring.head();
  CHECK_EQ(t.ring.Peek(&at).state, State::kEmpty);
  CHECK_EQ(Append(t.ring, 40), std::uint64_t{1});
  CHECK_EQ(Append(t.ring, 41), std::uint64_t{2});
  CHECK_EQ(Drain(t.ring, &at), std::string("1:40 2:41 "));
  CHECK_EQ(t.ring.used_bytes(), 0u);
  CHECK(t.AllFreeIsZero());
}

void GoesRoundAndRound() {
  TestRing t(4096);
  std::mt19937 random(7);
  Place at = t.ring.head();
  std::uint64_t next = 1;
  std::vector<std::uint32_t> waiting;
  for (int i = 0; i < 20000; i++) {
    const std::uint32_t size = 34 + static_cast<std::uint32_t>(random() % 300);
    const std::uint64_t seq = Append(t.ring, size);
    if (seq != 0) {
      CHECK_EQ(seq, next++);
      waiting.push_back(size);
    }
    if (seq != 0 && random() % 4 != 0) continue;
    std::string wanted;
    const std::uint64_t first = next - waiting.size();
    for (std::size_t k = 0; k < waiting.size(); k++) {
      wanted += std::to_string(first + k) + ":" + std::to_string(waiting[k]) + " ";
    }
    CHECK_EQ(t.Scan().empty(), waiting.empty());
    CHECK_EQ(Drain(t.ring, &at), wanted);
    waiting.clear();
    if (check::failures > 0) return;
  }
  CHECK(next > 10000);
  Drain(t.ring, &at);
  CHECK(t.AllFreeIsZero());
}

void HoldsTheBodyAndZerosBehindIt() {
  for (std::uint32_t size = 26; size < 400; size++) {
    TestRing t(4096);
    std::vector<unsigned char> body;
    while (body.size() < size + kFillBehindBytes) {
      body.push_back(static_cast<unsigned char>(0x90 + body.size() % 7));
    }
    CHECK_EQ(t.ring.Append(body.data(), size, Room::kMust), std::uint64_t{1});
    body.resize(size);
    body.resize(RecordUnits(size) * 8 - kRecordHeaderBytes + 64);
    const auto* const found = reinterpret_cast<const unsigned char*>(t.words());
    CHECK(std::memcmp(found + kRecordHeaderBytes, body.data(), body.size()) == 0);
  }
  TestRing t(4096);
  for (std::uint32_t store = 1; store < 40; store++) {
    const std::string name(store, 'x');
    const std::uint32_t at = t.ring.tail().unit();
    CHECK(t.ring.AppendOpen({}, {Attach::kSink, false, 0, {}, {name.data(), store}, 7, false},
                            nullptr) != 0);
    const std::uint32_t behind = kRecordHeaderBytes + Word{t.words()[at]}.size_bytes();
    for (std::uint32_t i = behind; i < RecordUnits(behind - kRecordHeaderBytes) * 8; i++) {
      CHECK_EQ(+reinterpret_cast<const unsigned char*>(t.words() + at)[i], 0);
    }
  }
}

void StopsWhereItsRoomEnds() {
  // One record of 64 bytes after another: all of it but a unit at the end, 86 %
  // for progress.
  const std::uint32_t body = 64 - kRecordHeaderBytes;
  TestRing t(6400);
  int count = 0;
  while (Append(t.ring, body, Room::kProgress) != 0) count++;
  CHECK_EQ(count, 86);
  while (Append(t.ring, body, Room::kMust) != 0) count++;
  CHECK_EQ(count, 99);
  // A smaller one still fits, up to the last unit but one.
  CHECK(Append(t.ring, 56 - kRecordHeaderBytes) != 0);
  CHECK_EQ(t.ring.used_bytes(), 6400u - 8);
  CHECK_EQ(Append(t.ring, 34), std::uint64_t{0});
  // A record freed is room for one more.
  t.ring.FreeTo(2);
  CHECK(Append(t.ring, body) != 0);
  CHECK_EQ(Append(t.ring, body, Room::kProgress), std::uint64_t{0});
}

void LimitsTheSize() {
  TestRing t(65536);
  CHECK(Append(t.ring, Word::kMaxSizeBytes) != 0);
  CHECK_EQ(Append(t.ring, Word::kMaxSizeBytes + 1), std::uint64_t{0});
  Place at = t.ring.head();
  CHECK_EQ(Drain(t.ring, &at), "1:" + std::to_string(Word::kMaxSizeBytes) + " ");
  unsigned char none[40] = {};
  CHECK_EQ(t.ring.Append(none, 0, Room::kMust), std::uint64_t{0});
  CHECK_EQ(t.ring.Append(none, 25, Room::kMust), std::uint64_t{0});
  CHECK(t.AllFreeIsZero());
}

void PadsTheEnd() {
  // Free units before the end, against a record that does not fit there.
  for (std::uint32_t left = 1; left < RecordUnits(100); left++) {
    TestRing t(4096);
    t.StartAt(9, 512 - left);
    CHECK_EQ(Append(t.ring, 100), std::uint64_t{9});
    CHECK_EQ(Word{t.words()[512 - left]}.state(), Word::kPad);
    CHECK_EQ(t.ring.tail().unit(), RecordUnits(100));
    CHECK_EQ(t.Scan(), std::string("9 "));
    Place at = t.ring.head();
    CHECK_EQ(Drain(t.ring, &at), std::string("9:100 "));
    CHECK(t.AllFreeIsZero());
  }
  // One that fits exactly needs no pad, and leaves the tail at the beginning.
  TestRing t(4096);
  t.StartAt(9, 512 - RecordUnits(100));
  CHECK_EQ(Append(t.ring, 100), std::uint64_t{9});
  CHECK_EQ(t.ring.tail().unit(), 0u);
}

void FreesAPadWithItsRecord() {
  TestRing t(4096);
  t.StartAt(9, 510 - RecordUnits(50));
  CHECK_EQ(Append(t.ring, 50), std::uint64_t{9});
  CHECK_EQ(Append(t.ring, 50), std::uint64_t{10});
  t.ring.FreeTo(9);
  // The place with seq 10 is the pad's, or a thread could win a word there that was freed before
  // its seq.
  CHECK_EQ(t.ring.head().unit(), 510u);
  CHECK_EQ(t.ring.head().seq(), std::uint64_t{10});
  CHECK_EQ(t.Scan(), std::string("10 "));
  t.ring.FreeTo(10);
  CHECK_EQ(t.ring.head().unit(), RecordUnits(50));
  CHECK(t.AllFreeIsZero());
  // Not even where nothing stands behind it yet.
  t.StartAt(20, 510);
  Ring::Attempt attempt;
  CHECK(t.ring.Prepare(50, false, Room::kMust, &attempt));
  CHECK(!t.ring.Claim(attempt));
  t.ring.FreeTo(20);
  CHECK_EQ(t.ring.head().unit(), 510u);
}

// The stages of Append(), with a thread stopped for good between two of them.

void AStopBeforeTheTailHidesNothing() {
  TestRing t(4096);
  CHECK_EQ(Append(t.ring, 40), std::uint64_t{1});
  Ring::Attempt stopped;
  CHECK(t.ring.Prepare(48, false, Room::kMust, &stopped));
  CHECK(t.ring.Win(stopped));
  CHECK_EQ(Append(t.ring, 56), std::uint64_t{3});
  CHECK_EQ(Append(t.ring, 57), std::uint64_t{4});
  CHECK_EQ(t.Scan(), std::string("1 hole 3 4 "));
  Place at = t.ring.head();
  Ring::Record record = t.ring.Peek(&at);
  at = t.ring.Next(at, record);
  record = t.ring.Peek(&at);
  CHECK_EQ(record.state, State::kReserved);
  CHECK_EQ(record.seq, std::uint64_t{2});
  CHECK_EQ(record.size_bytes, 48u);
  // It goes on after all.
  t.ring.MoveTail(stopped);
  Body body(48);
  PatchSeq(body.bytes.data(), 2);
  t.ring.Fill(stopped, body.bytes.data(), stopped.word.size_bytes());
  t.ring.Commit(stopped);
  CHECK_EQ(Drain(t.ring, &at), std::string("2:48 3:56 4:57 "));
  CHECK(t.AllFreeIsZero());
}

void TheTailDoesNotWaitForWhoMovesIt() {
  TestRing t(4096);
  t.StartAt(64);  // One that has to write it into the header.
  Ring::Attempt stopped;
  CHECK(t.ring.Prepare(48, false, Room::kMust, &stopped));
  CHECK(t.ring.Win(stopped));
  CHECK_EQ(t.ring.recorded(), std::uint64_t{64});
  Place at = t.ring.head();
  CHECK_EQ(t.ring.Peek(&at).state, State::kReserved);
  // The thread is proven dead, and its place told as a hole: then it is freed like a record.
  t.ring.FreeTo(64);
  CHECK(t.AllFreeIsZero());
  // One that slept moves it back, by more than a lap: nobody is led astray.
  at = t.ring.head();
  for (int i = 0; i < 150; i++) {
    Append(t.ring, 40);
    Drain(t.ring, &at);
  }
  for (std::uint64_t seq = 215; seq < 300; seq++) {
    t.ring.MoveTail(stopped);
    CHECK_EQ(t.ring.recorded(), seq - 1);
    if (check::failures > 0) return;
    CHECK_EQ(Append(t.ring, 40, Room::kProgress), seq);
    CHECK_EQ(Drain(t.ring, &at), std::to_string(seq) + ":40 ");
  }
}

void TheHeaderKnowsTheTailWithinBounds() {
  TestRing t(65536);
  for (std::uint64_t seq = 1; seq < 800; seq++) {
    CHECK_EQ(Append(t.ring, 40), seq);
    CHECK(seq + 1 - Place{t.ring.header().tail}.seq() <= 64);
  }
}

// A process that died between two of the times that its header says where the tail is.
void CountsFramesBehindTheTail() {
  const auto count = [](TestRing& t) {
    return CountFrames([&t](std::size_t offset, void* out, std::size_t size_bytes) noexcept {
      if (offset > t.size_bytes - size_bytes) return false;
      std::memcpy(out, t.memory.get() + offset, size_bytes);
      return true;
    });
  };
  for (std::uint32_t unit = 0; unit < 512; unit += 3) {
    TestRing t(4096);
    t.StartAt(500, unit);
    Place at = t.ring.head();
    for (std::uint64_t frames = 0; frames < 50; frames++) {
      CHECK_EQ(count(t), frames);
      CHECK(Append(t.ring, 60) != 0);
    }
    CHECK(t.ring.header().tail < t.ring.tail().value);
    Drain(t.ring, &at);
    CHECK_EQ(count(t), std::uint64_t{0});
  }
  // Words that lead round in a circle, or out of the file.
  TestRing t(4096);
  t.words()[0] = Word::Of(1, 0, Word::kPad).value;
  CHECK_EQ(count(t), std::uint64_t{0});
  t.words()[0] = Word::Of(1, Word::kMaxSizeBytes, Word::kCommitted).value;
  CHECK_EQ(count(t), std::uint64_t{1});
}

void AStopInAPadHidesNothing() {
  TestRing t(4096);
  t.StartAt(5, 510);
  Ring::Attempt stopped;
  CHECK(t.ring.Prepare(48, false, Room::kMust, &stopped));
  CHECK_EQ(stopped.word.state(), Word::kPad);
  CHECK(t.ring.Win(stopped));
  CHECK_EQ(Append(t.ring, 40), std::uint64_t{5});
  CHECK_EQ(t.Scan(), std::string("5 "));
}

void AnOvertakenThreadStartsAgain() {
  TestRing t(4096);
  Ring::Attempt stale;
  CHECK(t.ring.Prepare(40, false, Room::kMust, &stale));
  // Meanwhile a lap and a bit of others.
  Place at = t.ring.head();
  std::uint64_t last = 0;
  for (int i = 0; i < 150; i++) {
    last = Append(t.ring, 34 + static_cast<unsigned>(i) % 5);
    Drain(t.ring, &at);
  }
  CHECK(last == 150);
  CHECK(t.AllFreeIsZero());
  CHECK(!t.ring.Claim(stale));
  CHECK(t.AllFreeIsZero());
  CHECK_EQ(Append(t.ring, 40), last + 1);
  CHECK_EQ(Drain(t.ring, &at), "151:40 ");
}

void AnOvertakenThreadLeavesOthersAlone() {
  // Stale at each word of what now stands there: other records' text, or what looks like a leftover
  // of long ago.
  for (const std::uint64_t seq : {std::uint64_t{1}, std::uint64_t{500}}) {
    for (std::uint32_t unit = 0; unit < RecordUnits(200); unit++) {
      TestRing t(4096);
      t.StartAt(seq, unit);
      Ring::Attempt stale;
      CHECK(t.ring.Prepare(40, false, Room::kMust, &stale));
      t.StartAt(1000, 0);
      Body text(200);
      unsigned char words[200 + kFillBehindBytes] = {};
      for (std::size_t i = 4; i < 200; i += 8) words[i] = 1;
      unsigned char* const body = seq == 1 ? text.bytes.data() : words;
      CHECK_EQ(t.ring.Append(body, 200, Room::kMust), std::uint64_t{1000});
      const std::vector<unsigned char> before(t.memory.get(), t.memory.get() + t.size_bytes);
      CHECK(!t.ring.Claim(stale));
      CHECK(std::memcmp(before.data(), t.memory.get(), t.size_bytes) == 0);
    }
  }
}

void ALeftoverGivesWay() {
  // An overtaken thread died between winning a word and giving it back.
  const std::uint64_t leftover = Word::Of(3, 40, Word::kReserved).value;
  for (std::uint32_t unit = 0; unit < 12; unit++) {
    TestRing t(4096);
    t.StartAt(1000, 0);
    t.words()[unit] = leftover;
    Place at = t.ring.head();
    CHECK_EQ(t.ring.Peek(&at).state, State::kEmpty);
    CHECK_EQ(t.Scan(), std::string());
    CHECK_EQ(Append(t.ring, 34), std::uint64_t{1000});
    CHECK_EQ(Append(t.ring, 35), std::uint64_t{1001});
    CHECK_EQ(t.Scan(), std::string("1000 1001 "));
    CHECK_EQ(Drain(t.ring, &at), std::string("1000:34 1001:35 "));
    CHECK(t.AllFreeIsZero());
  }
}

void OpensNameThemselves() {
  for (const std::uint64_t seq :
       {std::uint64_t{1}, std::uint64_t{127}, std::uint64_t{128}, std::uint64_t{255},
        std::uint64_t{256}, std::uint64_t{65535}, std::uint64_t{65536}, std::uint64_t{0xffffffff},
        std::uint64_t{0x100000000}}) {
    TestRing t(4096);
    t.StartAt(seq);
    SessionSlot* slot = t.ring.ClaimSession();
    const Open open = {Attach::kTee, true, 5, {"p", 1}, {}, 99, true};
    CHECK_EQ(t.ring.AppendOpen({0, 123, 7, 0}, open, slot), seq);
    CHECK_EQ(slot->session(), seq);
    CHECK_EQ(slot->open_time_us(), std::uint64_t{123});
    unsigned char wanted[128];
    const std::size_t size = EncodeOpen({seq, 123, 7, seq}, open, {wanted, sizeof wanted});
    Place at = t.ring.head();
    const Ring::Record record = t.ring.Peek(&at);
    CHECK_EQ(record.size_bytes, size);
    CHECK(std::memcmp(record.body, wanted, size) == 0);
  }
}

void StampsChecksums() {
  TestRing t(4096);
  Append(t.ring, 40);
  Append(t.ring, 41);
  CHECK_EQ(t.Scan(false), std::string());
  Place at = t.ring.head();
  Ring::Record record = t.ring.Peek(&at);
  t.ring.StampCrc(at, record);
  CHECK_EQ(t.Scan(false), std::string("1 "));
  const Place second = t.ring.Next(at, record);
  at = second;
  record = t.ring.Peek(&at);
  t.ring.StampCrc(at, record);
  const std::uint64_t crc = t.words()[at.unit() + 1] & 0xffffffff;
  CHECK_EQ(crc, RecordCrc(t.words()[at.unit()], record.body, record.size_bytes));
  t.ring.StampCrc(at, record);
  CHECK_EQ(t.Scan(false), std::string("1 2 "));
}

void KeepsTheNewestCallOfEachSession() {
  TestRing t(65536);
  SessionSlot* slots[2];
  std::uint64_t ids[2];
  for (int i = 0; i < 2; i++) {
    slots[i] = t.ring.ClaimSession();
    ids[i] = t.ring.AppendOpen({0, 1, 1, 0}, {Attach::kTee, false, 0, {}, {}, 0, true}, slots[i]);
    slots[i]->SetState(SessionSlot::kOpen);
  }
  // Interleaved, three calls each, and calls of a session that is closed long since.
  std::uint64_t last = 0;
  for (std::uint64_t call = 1; call <= 3; call++) {
    for (const std::uint64_t session : {ids[0], ids[1], std::uint64_t{17}}) {
      unsigned char body[200];
      const std::string text = std::to_string(session) + "#" + std::to_string(call);
      const std::size_t size = EncodeProgress(
          {0, 0, 1, session},
          {call, 100 + call, 7, 8, 2, {text.data(), static_cast<std::uint32_t>(text.size())}},
          {body, sizeof body - 7});
      last = t.ring.Append(body, size, Room::kProgress);
    }
  }
  t.ring.FreeTo(last - 3);  // Up to their second calls.
  for (int i = 0; i < 2; i++) {
    NewestCall newest;
    slots[i]->ReadNewest(&newest);
    CHECK_EQ(newest.call.call, std::uint64_t{2});
    CHECK_EQ(newest.call.time_us, std::uint64_t{102});
    CHECK_EQ(newest.call.index, 7u);
    CHECK_EQ(newest.call.max, 8u);
    CHECK_EQ(newest.call.marks, 2u);
    CHECK_EQ(std::string(newest.call.text.data, newest.call.text.size_bytes),
             std::to_string(ids[i]) + "#2");
  }
  // A call that was merged is newer than what leaves the ring after it.
  slots[0]->Merge({9, 200, 1, 2, 0, {}});
  t.ring.FreeTo(last);
  NewestCall newest;
  slots[0]->ReadNewest(&newest);
  CHECK_EQ(newest.call.call, std::uint64_t{9});
  slots[1]->ReadNewest(&newest);
  CHECK_EQ(newest.call.call, std::uint64_t{3});
  // Of two threads that reserved in the other order, one behind the other.
  for (const std::uint64_t call : {std::uint64_t{5}, std::uint64_t{4}}) {
    unsigned char body[200];
    const std::size_t size =
        EncodeProgress({0, 0, 1, ids[1]}, {call, 0, 0, 0, 0, {}}, {body, sizeof body - 7});
    last = t.ring.Append(body, size, Room::kProgress);
  }
  t.ring.FreeTo(last);
  slots[1]->ReadNewest(&newest);
  CHECK_EQ(newest.call.call, std::uint64_t{5});
}

void TellsWhatWasLost() {
  TestRing t(4096);
  LostCounts told;
  CHECK_EQ(t.ring.RecordLost(1, 2, &told), 0u);
  t.ring.CountLost(Loss::kOpen);
  t.ring.CountLost(Loss::kError, 3);
  t.ring.CountLost(Loss::kOther, 5);
  CHECK_EQ(t.ring.RecordLost(1, 2, &told), 1u);
  CHECK_EQ(t.ring.RecordLost(1, 2, &told), 0u);
  unsigned char wanted[64];
  const std::size_t size = EncodeLost({1, 1, 2, 0}, {1, 0, 3, 0, 5}, {wanted, sizeof wanted});
  Place at = t.ring.head();
  const Ring::Record record = t.ring.Peek(&at);
  CHECK_EQ(record.size_bytes, size);
  CHECK(std::memcmp(record.body, wanted, size) == 0);
  // No room: told when there is.
  while (Append(t.ring, 34) != 0) {
  }
  t.ring.CountLost(Loss::kDone);
  CHECK_EQ(t.ring.RecordLost(1, 2, &told), 0u);
  t.ring.FreeTo(5);
  CHECK_EQ(t.ring.RecordLost(1, 2, &told), 1u);
}

// Two threads by turns, of which one knows what is more and more out of date, over several laps.
void FindsTheTailFromAnOldPlace() {
  for (unsigned pause = 0; pause < 300; pause++) {
    TestRing t(4096);
    Place at = t.ring.head();
    std::uint64_t last = 0;
    const auto append = [&](std::uint32_t thread, std::size_t bytes) {
      const Body body(bytes, thread);
      std::vector<unsigned char> copy = body.bytes;
      CHECK_EQ(t.ring.Append(copy.data(), body.size, Room::kMust, thread), last + 1);
      last++;
    };
    for (int turn = 0; turn < 3; turn++) {
      append(1, 40);
      for (unsigned i = 0; i < pause; i++) {
        append(2, 34 + (i + pause) % 23);
        if (i % 20 == 19) Drain(t.ring, &at);
      }
    }
    CHECK_EQ(t.ring.tail().seq(), last + 1);
    Drain(t.ring, &at);
    CHECK_EQ(t.ring.head().seq(), last + 1);
    CHECK(t.AllFreeIsZero());
    if (check::failures > 0) return;
  }
}

// Threads append while a worker takes out; each record must come out once, whole, in its thread's
// order.
void ThreadsShareARing() {
  constexpr int kThreads = 4;
  constexpr std::uint32_t kEach = 20000;
  TestRing t(16384);
  std::atomic<std::uint64_t> full{0};
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < kThreads; id++) {
    threads.emplace_back([&t, &full, id] {
      std::mt19937 random(id);
      for (std::uint32_t i = 1; i <= kEach;) {
        unsigned char body[300];
        const std::string text(random() % 120, static_cast<char>('a' + i % 26));
        const std::size_t size = EncodeError({0, i, id, 1}, i, i * 2654435761u, 0,
                                             {text.data(), static_cast<std::uint32_t>(text.size())},
                                             {body, sizeof body - 7});
        if (t.ring.Append(body, size, i % 3 == 0 ? Room::kProgress : Room::kMust, id) != 0) {
          i++;
        } else {
          full++;
          std::this_thread::yield();
        }
      }
    });
  }
  std::uint32_t next[kThreads] = {1, 1, 1, 1};
  Place at = t.ring.head();
  std::uint64_t seq = 0;
  for (int taken = 0; taken < kThreads * static_cast<int>(kEach);) {
    const Ring::Record record = t.ring.Peek(&at);
    if (record.state != State::kCommitted) {
      std::this_thread::yield();
      continue;
    }
    CHECK_EQ(record.seq, ++seq);
    const std::uint32_t id = record.body[24];
    CHECK(id < kThreads && IsSequenced(record.body, record.size_bytes, seq));
    if (check::failures > 0) std::abort();
    // Rebuilt from what the thread would have written.
    const std::uint32_t i = next[id]++;
    const std::size_t text_bytes = record.size_bytes;
    unsigned char wanted[300];
    std::size_t size = 0;
    for (std::uint32_t n = 0; n < 120 && size != text_bytes; n++) {
      const std::string text(n, static_cast<char>('a' + i % 26));
      size = EncodeError({seq, i, id, 1}, i, i * 2654435761u, 0, {text.data(), n},
                         {wanted, sizeof wanted});
    }
    CHECK_EQ(size, text_bytes);
    CHECK(std::memcmp(wanted, record.body, size) == 0);
    at = t.ring.Next(at, record);
    taken++;
    if (taken % 16 == 0 || t.ring.Peek(&at).state == State::kEmpty) t.ring.FreeTo(seq);
  }
  for (std::thread& thread : threads) thread.join();
  t.ring.FreeTo(seq);
  CHECK(t.AllFreeIsZero());
  CHECK(full > 0);  // Else the ring was too large to be a test.
}

}  // namespace
}  // namespace mapisync

int main() {
  return check::Run({
      {"Format() writes the header", mapisync::WritesTheHeader},
      {"records come out in order", mapisync::HandsOutInOrder},
      {"records of any size go round and round", mapisync::GoesRoundAndRound},
      {"a record holds its body and zeros behind it", mapisync::HoldsTheBodyAndZerosBehindIt},
      {"Append() stops at the watermark and at the end", mapisync::StopsWhereItsRoomEnds},
      {"Append() limits the size", mapisync::LimitsTheSize},
      {"Append() pads the end", mapisync::PadsTheEnd},
      {"FreeTo() frees a pad with the record behind it", mapisync::FreesAPadWithItsRecord},
      {"a thread that stops before it moves the tail hides nothing",
       mapisync::AStopBeforeTheTailHidesNothing},
      {"the tail does not wait for who moves it", mapisync::TheTailDoesNotWaitForWhoMovesIt},
      {"the header knows the tail within bounds", mapisync::TheHeaderKnowsTheTailWithinBounds},
      {"frames of a dead ring are counted, the newest too", mapisync::CountsFramesBehindTheTail},
      {"a thread that stops in a pad hides nothing", mapisync::AStopInAPadHidesNothing},
      {"a thread overtaken by a lap starts again", mapisync::AnOvertakenThreadStartsAgain},
      {"an overtaken thread leaves records of others alone",
       mapisync::AnOvertakenThreadLeavesOthersAlone},
      {"what an overtaken thread left gives way", mapisync::ALeftoverGivesWay},
      {"AppendOpen() names the session by its own seq", mapisync::OpensNameThemselves},
      {"StampCrc() makes records outlive a boot", mapisync::StampsChecksums},
      {"FreeTo() keeps the newest call of each session", mapisync::KeepsTheNewestCallOfEachSession},
      {"RecordLost() tells what was lost, once", mapisync::TellsWhatWasLost},
      {"finds the tail from an old place", mapisync::FindsTheTailFromAnOldPlace},
      {"four threads share a small ring", mapisync::ThreadsShareARing},
  });
}
