// The machine's monotonic clock as calls read it: from the processor's counter, since asking the
// system twice takes as long as everything else that a tee does. The worker compares the two all
// the time; wherever they could part, the system is asked.
#ifndef MAPISYNC_SRC_QUICK_CLOCK_H_
#define MAPISYNC_SRC_QUICK_CLOCK_H_

#include <atomic>
#include <cstdint>

#include "platform.h"
#include "processor.h"

namespace mapisync {

// Whether the processor's counter does for it: it is steady, and the system goes by it too. May
// read a file.
inline bool HasSteadyTicks() noexcept { return IsCounterSteady() && NowIsTicks(); }

class QuickClock {
 public:
  // --- The worker's thread alone ---

  // At each poll, where HasSteadyTicks(). now_us: the system's clock just now.
  void Observe(std::uint64_t now_us) noexcept;
  // Both clocks at one time. For Observe(), and for tests.
  void Compare(std::uint64_t ticks, std::uint64_t now_us) noexcept;
  // Before it sleeps for long: nobody compares them then.
  void Stop() noexcept;

  // --- Any thread ---

  // Whether the two are known well enough to do without the system.
  bool is_running() const noexcept { return published_.load(std::memory_order_relaxed) != 0; }
  // The monotonic clock, in microseconds. cached_us: a time that it showed lately, which it does
  // not go behind. If that is a second ago or more, the machine slept, or the worker was kept from
  // running, and the system is asked.
  std::uint64_t NowUs(std::uint64_t cached_us) const noexcept {
    return At(Ticks(), cached_us, mapisync::NowUs);
  }
  // The same with a counter of the caller's.
  template <typename Ask>
  std::uint64_t At(std::uint64_t ticks, std::uint64_t cached_us, Ask&& ask) const noexcept {
    const std::uint64_t clock = published_.load(std::memory_order_relaxed);
    const std::uint32_t now_us =
        LowUs(ticks, static_cast<std::uint32_t>(clock >> 32)) + static_cast<std::uint32_t>(clock);
    const std::uint32_t past_us = now_us - static_cast<std::uint32_t>(cached_us);
    return clock == 0 || past_us >= kTrustUs ? ask() : cached_us + past_us;
  }

 private:
  static constexpr std::uint32_t kTrustUs = 1000000;

  // The low 32 bits of the counter in microseconds, from any time on. Differences are right even
  // though the product has lost its upper bits.
  static std::uint32_t LowUs(std::uint64_t ticks, std::uint32_t rate) noexcept {
    return static_cast<std::uint32_t>(ticks * rate >> 32);
  }

  // Microseconds a tick in 1 / 2^32, above what is to be added to LowUs(). 0: ask the system.
  std::atomic<std::uint64_t> published_{0};

  std::uint64_t next_us_ = 0;
  std::uint64_t base_ticks_ = 0;  // Where the present measurement of the rate began.
  std::uint64_t base_us_ = 0;     // 0: none did.
  std::uint32_t rate_ = 0;        // 0: not known.
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_QUICK_CLOCK_H_
