#include "utf8.h"

#include <cstring>

#if defined(__SSE2__) || defined(_M_X64) || (defined(_M_IX86_FP) && _M_IX86_FP >= 2)
#define MAPISYNC_SSE2 1
#include <emmintrin.h>
#if defined(_MSC_VER)
#include <intrin.h>
#endif
#endif

// A block load may read behind the terminator, inside the same page: harmless to the machine, not
// to the sanitizers, which know the size of each allocation.
#if defined(__clang__) || defined(__GNUC__)
#define MAPISYNC_READS_BEHIND __attribute__((no_sanitize_address, no_sanitize_thread))
#else
#define MAPISYNC_READS_BEHIND
#endif

namespace mapisync {
namespace {

[[maybe_unused]] constexpr std::size_t kPageBytes = 4096;

// The host's pointer may be odd, so no unit is read through it.
inline unsigned UnitAt(const char* at) noexcept {
  char16_t unit;
  std::memcpy(&unit, at, sizeof unit);
  return unit;
}

inline bool IsHigh(unsigned unit) noexcept { return (unit & 0xfc00) == 0xd800; }
inline bool IsLow(unsigned unit) noexcept { return (unit & 0xfc00) == 0xdc00; }

inline char* Put3(char* out, unsigned unit) noexcept {
  out[0] = static_cast<char>(0xe0 | unit >> 12);
  out[1] = static_cast<char>(0x80 | (unit >> 6 & 0x3f));
  out[2] = static_cast<char>(0x80 | (unit & 0x3f));
  return out + 3;
}

inline char* Put4(char* out, unsigned high, unsigned low) noexcept {
  const unsigned code = 0x10000 + ((high & 0x3ff) << 10 | (low & 0x3ff));
  out[0] = static_cast<char>(0xf0 | code >> 18);
  out[1] = static_cast<char>(0x80 | (code >> 12 & 0x3f));
  out[2] = static_cast<char>(0x80 | (code >> 6 & 0x3f));
  out[3] = static_cast<char>(0x80 | (code & 0x3f));
  return out + 4;
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
constexpr unsigned kBlockUnits = 8;
constexpr std::size_t kBlockBytes = 2 * kBlockUnits;

// The last place for a block, which ends with the text and in the page of `at`.
inline const char* LastBlock(const char* at, const char* end) noexcept {
  const std::uintptr_t page_end = (reinterpret_cast<std::uintptr_t>(at) | (kPageBytes - 1)) + 1;
  const char* const stop = reinterpret_cast<std::uintptr_t>(end) < page_end
                               ? end
                               : reinterpret_cast<const char*>(page_end);
  return stop - kBlockBytes;
}

// Narrows 8 units into 8 bytes, and returns a bit for each that is ASCII and not the terminator.
constexpr unsigned kAllAscii = 0xff;
MAPISYNC_READS_BEHIND inline unsigned NarrowAscii(const char* at, char* out) noexcept {
  const __m128i units = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  // What does not fit into a byte becomes 0xff, or 0 if it is negative as a signed number. So are
  // the upper 8.
  const __m128i zero = _mm_setzero_si128();
  const __m128i bytes = _mm_packus_epi16(units, zero);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), bytes);
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpgt_epi8(bytes, zero)));
}

// Goes on to the first unit that is no ASCII, or behind which no block fits. What was narrowed
// behind it means nothing.
inline void NarrowBlocks(const char** at, const char* end, char** out) noexcept {
  const char* const last = LastBlock(*at, end);
  while (*at <= last) {
    const unsigned ascii = NarrowAscii(*at, *out);
    if (ascii != kAllAscii) {
      const unsigned count = TrailingZeros(~ascii);
      *at += 2 * count;
      *out += count;
      return;
    }
    *at += kBlockBytes;
    *out += kBlockUnits;
  }
}

#endif

// Goes on at any unit, with what stands before it already converted.
Utf8Result Convert(const char* at, const char* end, char* const start, char* out) noexcept {
  std::uint32_t marks = 0;
  for (;;) {
#if defined(MAPISYNC_SSE2)
    NarrowBlocks(&at, end, &out);
#endif
    if (at == end) {
      if (UnitAt(at) != 0) marks |= kMarkCut;
      break;
    }
    // One ASCII unit, or a run of others: a block would find nothing in it.
    unsigned unit = UnitAt(at);
    if (unit == 0) break;
    if (unit < 0x80) {
      *out++ = static_cast<char>(unit);
      at += 2;
      continue;
    }
    do {
      if (unit < 0x800) {
        *out++ = static_cast<char>(0xc0 | unit >> 6);
        *out++ = static_cast<char>(0x80 | (unit & 0x3f));
      } else if ((unit & 0xf800) != 0xd800) {
        out = Put3(out, unit);
      } else {
        // Whatever follows is readable: this unit is not the terminator.
        const unsigned next = UnitAt(at + 2);
        if (IsHigh(unit) && IsLow(next)) {
          if (end - at < 4) return {static_cast<std::uint32_t>(out - start), marks | kMarkCut};
          out = Put4(out, unit, next);
          at += 2;
        } else {
          out = Put3(out, 0xfffd);
          marks |= kMarkReplaced;
        }
      }
      at += 2;
      if (at == end) break;
      unit = UnitAt(at);
    } while (unit >= 0x80);
  }
  return {static_cast<std::uint32_t>(out - start), marks};
}

}  // namespace

Utf8Result Utf8FromUtf16(const char16_t* text, std::uint32_t max_units, char* out) noexcept {
  const char* at = reinterpret_cast<const char*>(text);
  const char* const end = at + std::size_t{2} * max_units;
  char* const start = out;
#if defined(MAPISYNC_SSE2)
  // Most texts are short, ASCII and within a page.
  NarrowBlocks(&at, end, &out);
  if (UnitAt(at) == 0) return {static_cast<std::uint32_t>(out - start), 0};
#endif
  return Convert(at, end, start, out);
}

Text CutUtf8(Text text, std::uint32_t max_bytes) noexcept {
  if (text.data == nullptr || text.size_bytes <= max_bytes) return text;
  std::uint32_t size = max_bytes;
  while (size > 0 && (text.data[size] & 0xc0) == 0x80) size--;
  return {text.data, size};
}

Utf8Name::Utf8Name(const char16_t* name) noexcept {
  if (name == nullptr) return;
  const Utf8Result result = Utf8FromUtf16(name, kMaxNameBytes, bytes_);
  text_ = CutUtf8({bytes_, result.size_bytes}, kMaxNameBytes);
}

}  // namespace mapisync
