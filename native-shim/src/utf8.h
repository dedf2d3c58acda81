// UTF-16 from the host to UTF-8 for the wire, in one pass.
#ifndef MAPISYNC_SRC_UTF8_H_
#define MAPISYNC_SRC_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "frames.h"
#include "inlining.h"
#include "limits.h"
#include "processor.h"

// A block load may read behind the terminator, inside the same page: harmless to the machine, not
// to the sanitizers, which know the size of each allocation.
#if defined(__clang__) || defined(__GNUC__)
#define MAPISYNC_READS_BEHIND __attribute__((no_sanitize_address, no_sanitize_thread))
#else
#define MAPISYNC_READS_BEHIND
#endif

namespace mapisync {

struct Utf8Result {
  std::uint32_t size_bytes;
  std::uint32_t marks;  // kMarkCut, kMarkReplaced.
};

// Bytes behind the text that Utf8FromUtf16() may scribble on.
inline constexpr std::size_t kUtf8SlackBytes = 16;

// Converts zero-terminated UTF-16 of any length, at most max_units of it; a surrogate pair is not
// split, a lone surrogate becomes U+FFFD. `out` has room for 3 * max_units + kUtf8SlackBytes. Reads
// no memory page that the text does not reach into.
Utf8Result Utf8FromUtf16(const char16_t* text, std::uint32_t max_units, char* out) noexcept;

// The same as a part of its caller, for where it is one of a few things that are done: most texts
// are short, ASCII and within a page.
MAPISYNC_INLINE Utf8Result Utf8FromUtf16Inline(const char16_t* text, std::uint32_t max_units,
                                               char* out) noexcept;

// The longest start of a text of whole characters that fits into max_bytes.
Text CutUtf8(Text text, std::uint32_t max_bytes) noexcept;

// A name in UTF-8: at most kMaxNameBytes, cut at a character. NULL stays NULL.
class Utf8Name {
 public:
  explicit Utf8Name(const char16_t* name) noexcept;
  Text text() const noexcept { return text_; }

 private:
  char bytes_[3 * kMaxNameBytes + kUtf8SlackBytes];
  Text text_;
};

// --- How Utf8FromUtf16Inline() does it ---

// Goes on at any unit, with what stands between `start` and `out` already converted.
Utf8Result ConvertRest(const char* at, const char* end, char* start, char* out) noexcept;

// The host's pointer may be odd, so no unit is read through it.
inline unsigned UnitAt(const char* at) noexcept {
  char16_t unit;
  std::memcpy(&unit, at, sizeof unit);
  return unit;
}

#if defined(MAPISYNC_SSE2)

inline unsigned TrailingZeros(unsigned mask) noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
  unsigned long index;
  _BitScanForward(&index, mask);
  return static_cast<unsigned>(index);
#else
  return static_cast<unsigned>(__builtin_ctz(mask));
#endif
}

// One load, aligned where the text is: memory checkers object to others that reach behind it.
inline constexpr unsigned kTextBlockUnits = 8;
inline constexpr std::size_t kTextBlockBytes = 2 * kTextBlockUnits;

inline constexpr std::uintptr_t kPageBytes = 4096;

inline bool AreInOnePage(const char* at, std::size_t bytes) noexcept {
  return (reinterpret_cast<std::uintptr_t>(at) & (kPageBytes - 1)) <= kPageBytes - bytes;
}

// The last place for a block, which ends with the text and in the page of `at`.
inline const char* LastBlock(const char* at, const char* end) noexcept {
  const std::uintptr_t page_end = (reinterpret_cast<std::uintptr_t>(at) | (kPageBytes - 1)) + 1;
  const char* const stop = reinterpret_cast<std::uintptr_t>(end) < page_end
                               ? end
                               : reinterpret_cast<const char*>(page_end);
  return stop - kTextBlockBytes;
}

// Narrows 8 units into 8 bytes, and returns a bit for each that is ASCII and not the terminator.
inline constexpr unsigned kAllAscii = 0xff;
MAPISYNC_READS_BEHIND inline unsigned NarrowAscii(const char* at, char* out) noexcept {
  const __m128i units = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  // What does not fit into a byte becomes 0xff, or 0 if it is negative as a signed number. So are
  // the upper 8.
  const __m128i zero = _mm_setzero_si128();
  const __m128i bytes = _mm_packus_epi16(units, zero);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpgt_epi8(bytes, zero)));
}

// The same for the n-th block from here. False at the first unit that is no ASCII: *at and *out are
// there then.
inline bool NarrowBlock(const char** at, char** out, unsigned n) noexcept {
  const unsigned ascii = NarrowAscii(*at + n * kTextBlockBytes, *out + n * kTextBlockUnits);
  if (MAPISYNC_LIKELY(ascii == kAllAscii)) return true;
  const unsigned count = n * kTextBlockUnits + TrailingZeros(~ascii);
  *at += 2 * count;
  *out += count;
  return false;
}

// Goes on to the first unit that is no ASCII, or behind which no block fits. What was narrowed
// behind it means nothing.
inline void NarrowBlocks(const char** at, const char* end, char** out) noexcept {
  for (;;) {
    const char* const last = LastBlock(*at, end);
    if (*at > last) return;
    do {
      if (!NarrowBlock(at, out, 0)) return;
      *at += kTextBlockBytes;
      *out += kTextBlockUnits;
    } while (*at <= last);
  }
}

// Goes over the first blocks, where all of them are in a page and before the end.
inline void NarrowStart(const char** at, const char* end, char** out) noexcept {
  constexpr unsigned kBlocks = 6;
  constexpr std::size_t kBytes = kBlocks * kTextBlockBytes;
  const bool fits = end - *at >= static_cast<std::ptrdiff_t>(kBytes);
  if (!MAPISYNC_LIKELY(AreInOnePage(*at, kBytes) && fits)) return;
  if (!NarrowBlock(at, out, 0) || !NarrowBlock(at, out, 1) || !NarrowBlock(at, out, 2) ||
      !NarrowBlock(at, out, 3) || !NarrowBlock(at, out, 4) || !NarrowBlock(at, out, 5)) {
    return;
  }
  *at += kBytes;
  *out += kBlocks * kTextBlockUnits;
}

#endif

MAPISYNC_INLINE Utf8Result Utf8FromUtf16Inline(const char16_t* text, std::uint32_t max_units,
                                               char* out) noexcept {
  const char* at = reinterpret_cast<const char*>(text);
  const char* const end = at + std::size_t{2} * max_units;
  char* const start = out;
#if defined(MAPISYNC_SSE2)
  NarrowStart(&at, end, &out);
  if (MAPISYNC_LIKELY(UnitAt(at) == 0)) return {static_cast<std::uint32_t>(out - start), 0};
#endif
  return ConvertRest(at, end, start, out);
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_UTF8_H_
