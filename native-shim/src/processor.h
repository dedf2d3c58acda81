// What the shim asks of the processor itself, where it is of a kind that we know.
#ifndef MAPISYNC_SRC_PROCESSOR_H_
#define MAPISYNC_SRC_PROCESSOR_H_

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__) || defined(_M_X64) || defined(_M_IX86)
#define MAPISYNC_X86 1
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#endif

#if defined(__SSE2__) || defined(_M_X64) || (defined(_M_IX86_FP) && _M_IX86_FP >= 2)
#define MAPISYNC_SSE2 1
#include <emmintrin.h>
#endif

namespace mapisync {

// Its counter; 0 where it has none.
inline std::uint64_t Ticks() noexcept {
#if defined(MAPISYNC_X86) && defined(_MSC_VER)
  return __rdtsc();
#elif defined(MAPISYNC_X86)
  return __builtin_ia32_rdtsc();
#else
  return 0;
#endif
}

// Whether that goes on at one speed, whatever is done to save power.
inline bool IsCounterSteady() noexcept {
#if defined(MAPISYNC_X86)
  constexpr unsigned kPowerManagement = 0x80000007;
  constexpr unsigned kInvariantCounter = 1 << 8;  // Of the fourth register.
#if defined(_MSC_VER)
  int found[4];
  __cpuid(found, static_cast<int>(0x80000000));
  if (static_cast<unsigned>(found[0]) < kPowerManagement) return false;
  __cpuid(found, static_cast<int>(kPowerManagement));
  return (static_cast<unsigned>(found[3]) & kInvariantCounter) != 0;
#else
  unsigned a, b, c, d;
  return __get_cpuid(kPowerManagement, &a, &b, &c, &d) != 0 && (d & kInvariantCounter) != 0;
#endif
#else
  return false;
#endif
}

// Does nothing for a while, some 10 to 150 cycles on x86, and none elsewhere.
inline void Pause() noexcept {
#if defined(MAPISYNC_X86) && defined(_MSC_VER)
  _mm_pause();
#elif defined(MAPISYNC_X86)
  __builtin_ia32_pause();
#endif
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_PROCESSOR_H_
