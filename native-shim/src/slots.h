// The slots in the ring's header: what a reader of a dead ring needs to know of open sessions and
// of calls that were inside the host's callback. They are laid over mapped memory: no constructors.
#ifndef MAPISYNC_SRC_SLOTS_H_
#define MAPISYNC_SRC_SLOTS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "frames.h"
#include "limits.h"

namespace mapisync {

static_assert(sizeof(std::atomic<std::uint64_t>) == 8 && alignof(std::atomic<std::uint64_t>) == 8,
              "The ring's layout is the same for every build");
static_assert(std::atomic<std::uint64_t>::is_always_lock_free,
              "Calls must not lock: build for a processor with 64-bit atomics (i586 or later)");

// The newest call of a session, copied out of its slot.
struct NewestCall {
  ProgressCall call;  // call.text borrows from text.
  char text[kMaxSlotTextBytes];
};

// One session. The counters are added to by the threads of the host; state changes are the object's
// (claim, open, close) and the worker's (after kClosing).
class SessionSlot {
 public:
  enum State : std::uint32_t { kFree = 0, kClaimed = 1, kOpen = 2, kClosing = 3 };
  enum Counter { kProgress, kErrors, kDones, kMerged, kLost, kCounterCount };

  // Any thread. False if it is in use. On success everything in it is zero and state is kClaimed.
  bool Claim() noexcept;
  // The session's `open` got its seq. Call before that record is committed.
  void SetSession(std::uint64_t session, std::uint64_t open_time_us) noexcept;
  void SetState(State state) noexcept { state_.store(state, std::memory_order_release); }
  State state() const noexcept {
    return static_cast<State>(state_.load(std::memory_order_acquire));
  }
  std::uint64_t session() const noexcept { return session_.load(std::memory_order_relaxed); }
  std::uint64_t open_time_us() const noexcept {
    return open_time_us_.load(std::memory_order_relaxed);
  }

  // Host threads, and not for kMerged, which is Merge()'s. Returns the counter after the addition.
  std::uint64_t Count(Counter counter, std::uint64_t by = 1) noexcept {
    return counters_[counter].fetch_add(by, std::memory_order_relaxed) + by;
  }
  // Adds to the time spent in a method of the inner callback, and keeps the longest.
  void CountInner(Method method, std::uint64_t duration_us) noexcept {
    if (duration_us != 0) AddInner(method, duration_us);
  }
  Counters counters() const noexcept;

  // A call that became no record of its own: writes it down as the newest, counts it as merged and
  // marks the slot for the worker. Never waits: where two threads write at once, one of the two
  // texts may not be kept.
  void Merge(const ProgressCall& call) noexcept;
  // Worker. The same without counting, if the slot is that session's and the call is newer than
  // what it has: for a `progress` that leaves the ring.
  void Keep(std::uint64_t session, const ProgressCall& call) noexcept;

  // The writer flag, for a few hundred instructions at most. Nobody waits for it.
  bool TryLock() noexcept;
  void Unlock() noexcept { writer_.store(0, std::memory_order_release); }

  // Calls were merged since the last TakeMerged(). Worker.
  bool has_merged() const noexcept { return merged_.load(std::memory_order_acquire) != 0; }
  bool TakeMerged() noexcept { return merged_.exchange(0, std::memory_order_acq_rel) != 0; }
  void PutBackMerged() noexcept { merged_.store(1, std::memory_order_release); }

  // Copies the newest call. Call 0 where there is none, or where writers kept getting in between.
  void ReadNewest(NewestCall* newest) const noexcept;

 private:
  struct Copy {
    // call, timeUs, index | max << 32, marks | text size << 32, text.
    std::atomic<std::uint64_t> words[4 + kMaxSlotTextBytes / 8];
  };
  struct Inner {
    std::atomic<std::uint64_t> us;
    std::atomic<std::uint64_t> max_us;
  };

  void AddInner(Method method, std::uint64_t duration_us) noexcept;
  void WriteNewest(const ProgressCall& call) noexcept;  // Under the writer flag.

  std::atomic<std::uint32_t> state_;
  std::atomic<std::uint32_t> merged_;
  std::atomic<std::uint64_t> session_;
  std::atomic<std::uint64_t> open_time_us_;
  std::atomic<std::uint64_t> counters_[kCounterCount];
  Inner inner_[kMethodCount];
  std::atomic<std::uint32_t> writer_;  // 1 while somebody writes a copy.
  std::atomic<std::uint32_t> whole_;   // The copy to read: 0 none, 1, 2.
  // Merged calls of threads that did not get the writer flag. Who has it adds to kMerged, alone.
  std::atomic<std::uint64_t> merged_without_flag_;
  alignas(64) Copy copy1_;
  alignas(64) Copy copy2_;
};
static_assert(sizeof(SessionSlot) == 768, "PROTOCOL.md, session slot");

// A call that is inside the host's callback.
struct InsideCall {
  std::uint64_t word;  // As in the slot; only to be handed back.
  std::uint64_t since_us;
  std::uint64_t session;
  std::uint64_t call;
  std::uint32_t thread;
  Method method;
  bool blocked_recorded;
};

class InCallSlot {
 public:
  // The calling thread. False if the slot is in use.
  bool TryEnter(std::uint32_t thread, Method method, std::uint64_t since_us, std::uint64_t session,
                std::uint64_t call) noexcept {
    std::uint64_t expected = word_.load(std::memory_order_relaxed);
    if (expected != 0) return false;
    const std::uint64_t who = std::uint64_t{thread} << 32 | static_cast<std::uint64_t>(method) << 8;
    if (!word_.compare_exchange_strong(expected, who | kFilling, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
      return false;
    }
    since_us_.store(since_us, std::memory_order_release);
    session_.store(session, std::memory_order_release);
    call_.store(call, std::memory_order_release);
    word_.store(who | kInside, std::memory_order_release);
    return true;
  }
  // The same thread. True if `blocked` was recorded meanwhile: then record `unblocked`.
  bool Leave() noexcept {
    return (word_.exchange(0, std::memory_order_acq_rel) & kStateMask) == kBlocked;
  }

  // Worker. False if nobody is in it, or it changed while it was read.
  bool Read(InsideCall* inside) const noexcept;
  // Worker, after it recorded `blocked` for what Read() gave. False if that call came out in the
  // meantime: then the worker records the `unblocked` itself.
  bool MarkBlocked(const InsideCall& inside) noexcept;

 private:
  static constexpr std::uint64_t kFilling = 1;
  static constexpr std::uint64_t kInside = 2;
  static constexpr std::uint64_t kBlocked = 3;
  static constexpr std::uint64_t kStateMask = 0xff;

  std::atomic<std::uint64_t> word_;
  std::atomic<std::uint64_t> since_us_;
  std::atomic<std::uint64_t> session_;
  std::atomic<std::uint64_t> call_;
};
static_assert(sizeof(InCallSlot) == 32, "PROTOCOL.md, in-call slot");

}  // namespace mapisync

#endif  // MAPISYNC_SRC_SLOTS_H_
