#include "quick_clock.h"

namespace mapisync {
namespace {

constexpr std::uint32_t kCompareEveryUs = 20000;
// The rate is measured over so long, the first time and later.
constexpr std::uint64_t kFirstSpanUs = 50000;
constexpr std::uint64_t kSpanUs = 1000000;
constexpr std::uint64_t kMaxSpanUs = 10 * kSpanUs;
// If more ticks lie around a reading of the system's clock, the thread was interrupted there. Some
// microseconds, where a reading takes a fraction of one.
constexpr std::uint64_t kMostTicks = 8192;
// A rate that is further from the one before, by such a share, belongs to another machine, or was
// measured while this one slept.
constexpr std::uint32_t kDriftShare = 1024;

}  // namespace

void QuickClock::Observe(std::uint64_t now_us) noexcept {
  if (now_us < next_us_) return;
  next_us_ = now_us + kCompareEveryUs;
  const std::uint64_t before = Ticks();
  const std::uint64_t precise_us = mapisync::NowUs();
  const std::uint64_t passed = Ticks() - before;
  if (passed <= kMostTicks) Compare(before + passed / 2, precise_us);
}

void QuickClock::Compare(std::uint64_t ticks, std::uint64_t now_us) noexcept {
  const std::uint64_t span_us = now_us - base_us_;
  if (base_us_ == 0 || span_us > kMaxSpanUs || ticks <= base_ticks_) {
    Stop();
    base_ticks_ = ticks;
    base_us_ = now_us;
    return;
  }
  if (span_us >= (rate_ == 0 ? kFirstSpanUs : kSpanUs)) {
    const std::uint64_t rate = (span_us << 32) / (ticks - base_ticks_);
    const std::uint64_t apart = rate > rate_ ? rate - rate_ : rate_ - rate;
    if (rate >> 32 != 0 || (rate_ != 0 && apart > rate_ / kDriftShare)) {
      Stop();
      return;
    }
    rate_ = static_cast<std::uint32_t>(rate);
    base_ticks_ = ticks;
    base_us_ = now_us;
  }
  if (rate_ == 0) return;
  const std::uint32_t offset = static_cast<std::uint32_t>(now_us) - LowUs(ticks, rate_);
  published_.store(std::uint64_t{rate_} << 32 | offset, std::memory_order_relaxed);
}

void QuickClock::Stop() noexcept {
  published_.store(0, std::memory_order_relaxed);
  base_us_ = 0;
  rate_ = 0;
}

}  // namespace mapisync
