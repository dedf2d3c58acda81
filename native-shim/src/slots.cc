#include "slots.h"

#include <cstring>
#include <initializer_list>

#include "utf8.h"

namespace mapisync {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;

constexpr std::uint32_t kNullText = 0xffffffff;

// How often a thread of the host looks whether another is done with writing a copy, which takes
// some 20 ns. Then it goes on without: a bound, not a wait.
constexpr int kLockTries = 64;
constexpr int kReadTries = 8;

}  // namespace

bool SessionSlot::Claim() noexcept {
  std::uint32_t expected = kFree;
  if (!state_.compare_exchange_strong(expected, kClaimed, kAcquire, kRelaxed)) return false;
  // The worker may still be writing for the session before.
  if (!TryLock()) {
    SetState(kFree);
    return false;
  }
  session_.store(0, kRelaxed);
  open_time_us_.store(0, kRelaxed);
  for (std::atomic<std::uint64_t>& counter : counters_) counter.store(0, kRelaxed);
  for (Inner& method : inner_) {
    method.us.store(0, kRelaxed);
    method.max_us.store(0, kRelaxed);
  }
  whole_.store(0, kRelaxed);
  merged_without_flag_.store(0, kRelaxed);
  merged_.store(0, kRelaxed);
  for (Copy* copy : {&copy1_, &copy2_}) {
    for (std::atomic<std::uint64_t>& word : copy->words) word.store(0, kRelaxed);
  }
  Unlock();
  return true;
}

void SessionSlot::SetSession(std::uint64_t session, std::uint64_t open_time_us) noexcept {
  open_time_us_.store(open_time_us, kRelaxed);
  session_.store(session, kRelease);
}

void SessionSlot::AddInner(Method method, std::uint64_t duration_us) noexcept {
  Inner& inner = inner_[static_cast<std::uint32_t>(method) - 1];
  inner.us.fetch_add(duration_us, kRelaxed);
  std::uint64_t before = inner.max_us.load(kRelaxed);
  while (before < duration_us &&
         !inner.max_us.compare_exchange_weak(before, duration_us, kRelaxed, kRelaxed)) {
  }
}

Counters SessionSlot::counters() const noexcept {
  const auto get = [this](Counter counter) { return counters_[counter].load(kRelaxed); };
  Counters now;
  now.progress = get(kProgress);
  now.errors = get(kErrors);
  now.dones = get(kDones);
  now.merged = get(kMerged) + merged_without_flag_.load(kRelaxed);
  now.lost = get(kLost);
  for (std::uint32_t i = 0; i < kMethodCount; i++) {
    InnerTime& method = now.methods[i];
    method = {inner_[i].us.load(kRelaxed), inner_[i].max_us.load(kRelaxed)};
    now.inner_us += method.us;
    if (now.inner_max_us < method.max_us) now.inner_max_us = method.max_us;
  }
  return now;
}

void SessionSlot::Merge(const ProgressCall& call) noexcept {
  bool has_flag = false;
  for (int i = 0; i < kLockTries && !has_flag; i++) has_flag = TryLock();
  if (has_flag) {
    WriteNewest(call);
    // Not Count(): one more lock would be a sixth of this call.
    std::atomic<std::uint64_t>& merged = counters_[kMerged];
    merged.store(merged.load(kRelaxed) + 1, kRelaxed);
    Unlock();
  } else {
    merged_without_flag_.fetch_add(1, kRelaxed);
  }
  merged_.store(1, kRelease);
}

void SessionSlot::Keep(std::uint64_t session, const ProgressCall& call) noexcept {
  // Whoever holds the flag writes a call that was merged, so a newer one.
  if (!TryLock()) return;
  if (state() >= kOpen && this->session() == session) WriteNewest(call);
  Unlock();
}

void SessionSlot::ReadNewest(NewestCall* newest) const noexcept {
  newest->call = ProgressCall();
  for (int i = 0; i < kReadTries; i++) {
    const std::uint32_t whole = whole_.load(kAcquire);
    if (whole == 0) return;
    const Copy& copy = whole == 1 ? copy1_ : copy2_;
    const std::uint64_t call = copy.words[0].load(kAcquire);
    const std::uint64_t time_us = copy.words[1].load(kAcquire);
    const std::uint64_t position = copy.words[2].load(kAcquire);
    const std::uint64_t rest = copy.words[3].load(kAcquire);
    const std::uint32_t size = static_cast<std::uint32_t>(rest >> 32);
    const std::uint32_t text_bytes = size > kMaxSlotTextBytes ? 0 : size;
    for (std::uint32_t at = 0; at < text_bytes; at += 8) {
      const std::uint64_t word = copy.words[4 + at / 8].load(kAcquire);
      std::memcpy(newest->text + at, &word, 8);
    }
    // A writer begins by taking the call's number away, so the same number means the same call.
    if (call == 0 || copy.words[0].load(kRelaxed) != call) continue;
    newest->call = {call,
                    time_us,
                    static_cast<std::uint32_t>(position),
                    static_cast<std::uint32_t>(position >> 32),
                    static_cast<std::uint32_t>(rest),
                    {size == kNullText ? nullptr : newest->text, text_bytes}};
    return;
  }
}

bool SessionSlot::TryLock() noexcept {
  return writer_.load(kRelaxed) == 0 && writer_.exchange(1, kAcquire) == 0;
}

void SessionSlot::WriteNewest(const ProgressCall& call) noexcept {
  const std::uint32_t whole = whole_.load(kRelaxed);
  const Copy& before = whole == 1 ? copy1_ : copy2_;
  if (whole != 0 && before.words[0].load(kRelaxed) >= call.call) return;
  Copy& copy = whole == 1 ? copy2_ : copy1_;
  const Text text = CutUtf8(call.text, kMaxSlotTextBytes);
  const std::uint32_t size = text.data == nullptr ? kNullText : text.size_bytes;
  // Each store is a release, so that a reader that sees any of them sees that the number is gone.
  copy.words[0].store(0, kRelaxed);
  copy.words[1].store(call.time_us, kRelease);
  copy.words[2].store(std::uint64_t{call.max} << 32 | call.index, kRelease);
  copy.words[3].store(std::uint64_t{size} << 32 | call.marks, kRelease);
  std::uint32_t at = 0;
  for (; at + 8 <= text.size_bytes; at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data + at, 8);
    copy.words[4 + at / 8].store(word, kRelease);
  }
  if (at < text.size_bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data + at, text.size_bytes - at);
    copy.words[4 + at / 8].store(word, kRelease);
  }
  copy.words[0].store(call.call, kRelease);
  whole_.store(whole == 1 ? 2 : 1, kRelease);
}

bool InCallSlot::Read(InsideCall* inside) const noexcept {
  const std::uint64_t word = word_.load(kAcquire);
  if ((word & kStateMask) < kInside) return false;
  inside->word = word;
  inside->since_us = since_us_.load(kAcquire);
  inside->session = session_.load(kAcquire);
  inside->call = call_.load(kAcquire);
  inside->thread = static_cast<std::uint32_t>(word >> 32);
  inside->method = static_cast<Method>(word >> 8 & 0xff);
  inside->blocked_recorded = (word & kStateMask) == kBlocked;
  // The same thread may have come out and gone in again: then the word is the same, the time is
  // not.
  return since_us_.load(kAcquire) == inside->since_us && word_.load(kAcquire) == word;
}

bool InCallSlot::MarkBlocked(const InsideCall& inside) noexcept {
  const std::uint64_t marked = (inside.word & ~kStateMask) | kBlocked;
  std::uint64_t expected = inside.word;
  if (!word_.compare_exchange_strong(expected, marked, std::memory_order_acq_rel, kRelaxed)) {
    return false;
  }
  if (since_us_.load(kRelaxed) == inside.since_us && call_.load(kRelaxed) == inside.call) {
    return true;
  }
  // A later call of the same method by the same thread: it is not blocked.
  expected = marked;
  word_.compare_exchange_strong(expected, inside.word, kRelease, kRelaxed);
  return false;
}

}  // namespace mapisync
