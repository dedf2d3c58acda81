// For the few functions where a measurement says better than the compiler whether they become part
// of their callers, and for those that hardly ever run, which are to be small. And for conditions
// of a warm `progress` that nearly always hold: what follows then stands next.
#ifndef MAPISYNC_SRC_INLINING_H_
#define MAPISYNC_SRC_INLINING_H_

#if defined(_MSC_VER) && !defined(__clang__)
#define MAPISYNC_INLINE __forceinline
#define MAPISYNC_NOINLINE __declspec(noinline)
#define MAPISYNC_RARE __declspec(noinline)
#define MAPISYNC_LIKELY(condition) (condition)
#else
#define MAPISYNC_INLINE inline __attribute__((always_inline))
#define MAPISYNC_NOINLINE __attribute__((noinline))
#define MAPISYNC_RARE __attribute__((noinline, cold))
#define MAPISYNC_LIKELY(condition) __builtin_expect(!!(condition), 1)
#endif

#endif  // MAPISYNC_SRC_INLINING_H_
