#include "slots.h"

#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "test_ring.h"

namespace mapisync {
namespace {

constexpr std::uint64_t kBlockedUs = std::uint64_t{kBlockedAfterMs} * 1000;

ProgressCall Call(std::uint64_t number, const std::string& text) {
  return {number, number * 10, 1, 2, 0, {text.data(), static_cast<std::uint32_t>(text.size())}};
}

// "7:text", "7:null", or "none".
std::string Newest(const SessionSlot& slot) {
  NewestCall newest;
  slot.ReadNewest(&newest);
  if (newest.call.call == 0) return "none";
  const Text text = newest.call.text;
  return std::to_string(newest.call.call) + ":" +
         (text.data == nullptr ? "null" : std::string(text.data, text.size_bytes));
}

SessionSlot* OpenSession(Ring& ring) {
  SessionSlot* slot = ring.ClaimSession();
  ring.AppendOpen({0, 1, 1, 0}, {Attach::kTee, false, 0, {}, {}, 0, true}, slot);
  slot->SetState(SessionSlot::kOpen);
  return slot;
}

// Kinds of all records, as "open merged ...", by number: "3 13 ".
std::string Kinds(TestRing& t) {
  RingScan scan(t.memory.get(), t.size_bytes, true);
  ScannedRecord record;
  std::string kinds;
  while (scan.Next(&record)) kinds += std::to_string(KindOf(record.body, record.size_bytes)) + " ";
  return kinds;
}

void FillUp(Ring& ring, Room room) {
  while (Append(ring, 200, room) != 0) {
  }
  while (Append(ring, 30, room) != 0) {
  }
}

void ClaimsEachOnce() {
  TestRing t(4096);
  std::vector<SessionSlot*> slots;
  for (std::uint32_t i = 0; i < kMaxSessionsPerRing; i++) {
    slots.push_back(t.ring.ClaimSession());
    CHECK(slots.back() == &t.ring.session(i));
    CHECK_EQ(t.ring.sessions_used(), i + 1);
  }
  CHECK(t.ring.ClaimSession() == nullptr);
  slots[7]->SetSession(70, 71);
  slots[7]->Merge(Call(5, "old"));
  slots[7]->TryLock();
  slots[7]->Merge(Call(6, "beside a writer"));
  slots[7]->Unlock();
  CHECK_EQ(slots[7]->counters().merged, std::uint64_t{2});
  slots[7]->Count(SessionSlot::kErrors, 9);
  slots[7]->SetState(SessionSlot::kFree);
  SessionSlot* const again = t.ring.ClaimSession();
  CHECK(again == slots[7]);
  CHECK_EQ(again->state(), SessionSlot::kClaimed);
  CHECK_EQ(again->session(), std::uint64_t{0});
  CHECK_EQ(again->counters().errors + again->counters().merged, std::uint64_t{0});
  CHECK(!again->has_merged());
  CHECK_EQ(Newest(*again), std::string("none"));
  // Somebody still writes for the session before: that slot is not for now.
  again->SetState(SessionSlot::kFree);
  CHECK(again->TryLock());
  CHECK(t.ring.ClaimSession() == nullptr);
  CHECK_EQ(again->state(), SessionSlot::kFree);
  again->Unlock();
  CHECK(t.ring.ClaimSession() == again);
}

void KeepsTheNewestCall() {
  TestRing t(4096);
  SessionSlot& slot = *OpenSession(t.ring);
  const std::uint64_t session = slot.session();
  CHECK_EQ(Newest(slot), std::string("none"));
  slot.Keep(session, Call(3, "three"));
  CHECK_EQ(Newest(slot), std::string("3:three"));
  slot.Keep(session, Call(2, "two"));
  CHECK_EQ(Newest(slot), std::string("3:three"));
  slot.Keep(session + 1, Call(9, "of another session"));
  CHECK_EQ(Newest(slot), std::string("3:three"));
  slot.Merge({4, 40, 1, 2, 0, {}});
  CHECK_EQ(Newest(slot), std::string("4:null"));
  slot.Merge(Call(5, ""));
  CHECK_EQ(Newest(slot), std::string("5:"));
  CHECK_EQ(slot.counters().merged, std::uint64_t{2});
  slot.SetState(SessionSlot::kFree);
  slot.Keep(session, Call(6, "late"));
  CHECK_EQ(Newest(slot), std::string("5:"));
}

void CutsItsTextAtACharacter() {
  TestRing t(4096);
  SessionSlot& slot = *OpenSession(t.ring);
  for (std::uint32_t length = kMaxSlotTextBytes - 5; length < kMaxSlotTextBytes + 5; length++) {
    // The character at the end takes three bytes.
    const std::string text = std::string(length - 3, 'a') + "語";
    slot.Merge(Call(length, text));
    const std::string kept = length <= kMaxSlotTextBytes      ? text
                             : length - 3 < kMaxSlotTextBytes ? std::string(length - 3, 'a')
                                                              : std::string(kMaxSlotTextBytes, 'a');
    CHECK_EQ(Newest(slot), std::to_string(length) + ":" + kept);
  }
}

void NeverWaitsForAWriter() {
  TestRing t(4096);
  SessionSlot& slot = *OpenSession(t.ring);
  CHECK(slot.TryLock());
  CHECK(!slot.TryLock());
  slot.Merge(Call(1, "lost to the one who writes"));
  slot.Keep(slot.session(), Call(2, "too"));
  CHECK_EQ(slot.counters().merged, std::uint64_t{1});
  CHECK(slot.has_merged());
  CHECK_EQ(Newest(slot), std::string("none"));
  CHECK_EQ(t.ring.RecordSlots(1, 1), 0u);
  slot.Unlock();
  CHECK_EQ(t.ring.RecordSlots(1, 1), 1u);
}

void RecordsMergedCallsBelowTheWatermark() {
  TestRing t(4096);
  SessionSlot& slot = *OpenSession(t.ring);
  CHECK_EQ(t.ring.RecordSlots(5, 6), 0u);
  slot.Count(SessionSlot::kProgress);
  slot.Merge(Call(1, "text"));
  FillUp(t.ring, Room::kProgress);
  CHECK_EQ(t.ring.RecordSlots(5, 6), 0u);
  CHECK(slot.has_merged());
  t.ring.FreeTo(4);
  const std::uint64_t seq = t.ring.recorded() + 1;
  CHECK_EQ(t.ring.RecordSlots(5, 6), 1u);
  CHECK_EQ(t.ring.RecordSlots(5, 6), 0u);
  unsigned char wanted[200];
  Counters counters;
  counters.progress = 1;
  counters.merged = 1;
  const std::size_t size =
      EncodeMerged({seq, 5, 6, slot.session()}, counters, Call(1, "text"), {wanted, sizeof wanted});
  Place at = t.ring.head();
  for (;;) {
    const Ring::Record record = t.ring.Peek(&at);
    if (record.seq == seq) {
      CHECK_EQ(record.size_bytes, size);
      CHECK(std::memcmp(record.body, wanted, size) == 0);
      break;
    }
    at = t.ring.Next(at, record);
  }
}

void ClosesWithWhatWasMerged() {
  TestRing t(4096);
  SessionSlot* slot = OpenSession(t.ring);
  slot->Merge(Call(1, "x"));
  t.ring.CloseSession(slot, 5, 6);
  CHECK_EQ(Kinds(t), std::string("3 13 12 "));
  CHECK_EQ(slot->state(), SessionSlot::kFree);
}

void ClosesLaterWhereThereIsNoRoom() {
  TestRing t(4096);
  SessionSlot* slot = OpenSession(t.ring);
  slot->Merge(Call(1, "x"));
  FillUp(t.ring, Room::kMust);
  t.ring.CloseSession(slot, 5, 6);
  CHECK_EQ(slot->state(), SessionSlot::kClosing);
  CHECK_EQ(t.ring.RecordSlots(5, 6), 0u);
  t.ring.FreeTo(t.ring.recorded());
  CHECK_EQ(t.ring.RecordSlots(5, 6), 2u);
  CHECK_EQ(Kinds(t), std::string("13 12 "));
  CHECK_EQ(slot->state(), SessionSlot::kFree);
  CHECK_EQ(t.ring.RecordSlots(5, 6), 0u);
}

void LeavesTheCloseToAWorkerAtTheSlot() {
  TestRing t(4096);
  SessionSlot* slot = OpenSession(t.ring);
  CHECK(slot->TryLock());
  t.ring.CloseSession(slot, 5, 6);
  CHECK_EQ(slot->state(), SessionSlot::kClosing);
  CHECK_EQ(Kinds(t), std::string("3 "));
  slot->Unlock();
  CHECK_EQ(t.ring.RecordSlots(5, 6), 1u);
  CHECK_EQ(Kinds(t), std::string("3 12 "));
}

void WatchesCallsInside() {
  TestRing t(65536);
  std::vector<InCallSlot*> slots;
  for (std::uint32_t i = 0; i < kMaxCallsInside; i++) {
    slots.push_back(t.ring.Enter(4 * i, Method::kDone, 1000 + i, 3, 4));
  }
  CHECK(t.ring.Enter(1, Method::kDone, 1, 3, 4) == nullptr);
  CHECK_EQ(t.ring.RecordBlocked(1000 + kBlockedUs - 1), 0u);
  CHECK_EQ(t.ring.RecordBlocked(1000 + kBlockedUs), 1u);
  CHECK_EQ(t.ring.RecordBlocked(1000 + kBlockedUs), 0u);
  CHECK_EQ(t.ring.RecordBlocked(1001 + kBlockedUs), 1u);
  unsigned char wanted[100];
  const std::size_t size =
      EncodeBlocked({1, 1000 + kBlockedUs, 0, 3}, Method::kDone, 4, 1000, {wanted, sizeof wanted});
  Place at = t.ring.head();
  const Ring::Record record = t.ring.Peek(&at);
  CHECK_EQ(record.size_bytes, size);
  CHECK(std::memcmp(record.body, wanted, size) == 0);
  CHECK(slots[0]->Leave());
  CHECK(slots[1]->Leave());
  CHECK(!slots[2]->Leave());
  CHECK(t.ring.Enter(1, Method::kDone, 1, 3, 4) != nullptr);
}

void MarksTheRightCall() {
  TestRing t(4096);
  InCallSlot* slot = t.ring.Enter(7, Method::kProgress, 1000, 3, 4);
  InsideCall inside;
  CHECK(slot->Read(&inside));
  CHECK_EQ(inside.thread, 7u);
  CHECK_EQ(inside.method, Method::kProgress);
  CHECK_EQ(inside.since_us, std::uint64_t{1000});
  CHECK_EQ(inside.session, std::uint64_t{3});
  CHECK_EQ(inside.call, std::uint64_t{4});
  // It came out.
  CHECK(!slot->Leave());
  CHECK(!slot->Read(&inside));
  CHECK(!slot->MarkBlocked(inside));
  // It came out, and the same thread went in again: the word is the same.
  CHECK(t.ring.Enter(7, Method::kProgress, 2000, 3, 5) == slot);
  CHECK(!slot->MarkBlocked(inside));
  CHECK(!slot->Leave());
  // It is still inside.
  CHECK(t.ring.Enter(7, Method::kProgress, 3000, 3, 6) == slot);
  CHECK(slot->Read(&inside));
  CHECK(slot->MarkBlocked(inside));
  CHECK(slot->Read(&inside));
  CHECK(inside.blocked_recorded);
  CHECK(slot->Leave());
}

void AddsUpTimeInside() {
  TestRing t(4096);
  SessionSlot& slot = *OpenSession(t.ring);
  for (const std::uint64_t us : {5u, 100u, 7u}) slot.CountInner(Method::kProgress, us);
  slot.CountInner(Method::kError, 3);
  for (const std::uint64_t us : {1u, 2000u}) slot.CountInner(Method::kDone, us);
  const Counters now = slot.counters();
  CHECK_EQ(now.inner_us, std::uint64_t{112 + 3 + 2001});
  CHECK_EQ(now.inner_max_us, std::uint64_t{2000});
  const InnerTime want[kMethodCount] = {{112, 100}, {3, 3}, {2001, 2000}};
  for (std::uint32_t i = 0; i < kMethodCount; i++) {
    CHECK_EQ(now.methods[i].us, want[i].us);
    CHECK_EQ(now.methods[i].max_us, want[i].max_us);
  }
  // Zeroed for the next session.
  t.ring.CloseSession(&slot, 1, 1);
  SessionSlot* const again = t.ring.ClaimSession();
  CHECK(again == &slot);
  CHECK_EQ(again->counters().inner_us + again->counters().inner_max_us, std::uint64_t{0});
}

// However long one writes, and however many others merge.
void CountsEachCallBesideAWriter() {
  constexpr int kThreads = 3;
  constexpr std::uint64_t kEach = 20000;
  TestRing t(4096);
  SessionSlot& slot = *OpenSession(t.ring);
  CHECK(slot.TryLock());
  std::atomic<int> arrived{0};
  std::vector<std::thread> threads;
  for (int id = 0; id < kThreads; id++) {
    threads.emplace_back([&] {
      arrived++;
      while (arrived < kThreads) std::this_thread::yield();
      for (std::uint64_t i = 1; i <= kEach; i++) slot.Merge(Call(i, "x"));
    });
  }
  for (std::thread& thread : threads) thread.join();
  slot.Unlock();
  CHECK_EQ(slot.counters().merged, kThreads * kEach);
}

// Threads merge while a reader reads: it must never see half of one call and half of another.
void ReadersSeeWholeCalls() {
  constexpr int kThreads = 3;
  constexpr std::uint64_t kEach = 20000;
  TestRing t(4096);
  SessionSlot& slot = *OpenSession(t.ring);
  std::atomic<int> running{kThreads};
  std::atomic<std::uint64_t> merged{0};
  std::atomic<bool> seen_one{false};
  std::vector<std::thread> threads;
  for (int id = 0; id < kThreads; id++) {
    threads.emplace_back([&] {
      // A reader that gets no processor meanwhile would have seen nothing.
      for (std::uint64_t i = 0; i < kEach || !seen_one; i++) {
        const std::uint64_t call = slot.Count(SessionSlot::kProgress);
        merged++;
        const std::string text(call % kMaxSlotTextBytes, static_cast<char>('a' + call % 26));
        slot.Merge({call,
                    call * 10,
                    static_cast<std::uint32_t>(call + 1),
                    static_cast<std::uint32_t>(call + 2),
                    0,
                    {text.data(), static_cast<std::uint32_t>(text.size())}});
      }
      running--;
    });
  }
  std::uint64_t last = 0;
  while (running > 0) {
    NewestCall newest;
    slot.ReadNewest(&newest);
    const ProgressCall& seen = newest.call;
    if (seen.call == 0) continue;
    seen_one = true;
    CHECK(seen.call >= last);
    last = seen.call;
    CHECK_EQ(seen.time_us, seen.call * 10);
    CHECK_EQ(seen.index, static_cast<std::uint32_t>(seen.call + 1));
    CHECK_EQ(seen.max, static_cast<std::uint32_t>(seen.call + 2));
    CHECK_EQ(std::string(seen.text.data, seen.text.size_bytes),
             std::string(seen.call % kMaxSlotTextBytes, static_cast<char>('a' + seen.call % 26)));
    if (check::failures > 0) break;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(last > 0);
  CHECK_EQ(slot.counters().merged, merged.load());
  CHECK_EQ(slot.counters().progress, merged.load());
}

}  // namespace
}  // namespace mapisync

int main() {
  return check::Run({
      {"ClaimSession() gives each slot once, zeroed", mapisync::ClaimsEachOnce},
      {"a slot keeps the newest call of its session", mapisync::KeepsTheNewestCall},
      {"a slot cuts its text at a character", mapisync::CutsItsTextAtACharacter},
      {"Merge() never waits for a writer, and counts", mapisync::NeverWaitsForAWriter},
      {"beside a writer each merged call counts", mapisync::CountsEachCallBesideAWriter},
      {"RecordSlots() records merged calls below the watermark",
       mapisync::RecordsMergedCallsBelowTheWatermark},
      {"CloseSession() records merged calls before the close", mapisync::ClosesWithWhatWasMerged},
      {"a close that finds no room is recorded later", mapisync::ClosesLaterWhereThereIsNoRoom},
      {"a close beside the worker is left to it", mapisync::LeavesTheCloseToAWorkerAtTheSlot},
      {"RecordBlocked() tells calls that stay inside, once", mapisync::WatchesCallsInside},
      {"MarkBlocked() marks no other call", mapisync::MarksTheRightCall},
      {"CountInner() adds up, and keeps the longest", mapisync::AddsUpTimeInside},
      {"readers see whole calls while threads merge", mapisync::ReadersSeeWholeCalls},
  });
}
