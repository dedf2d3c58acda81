#include "utf8.h"

#include <cstring>

namespace mapisync {
namespace {

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

}  // namespace

Utf8Result ConvertRest(const char* at, const char* end, char* const start, char* out) noexcept {
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

Utf8Result Utf8FromUtf16(const char16_t* text, std::uint32_t max_units, char* out) noexcept {
  const char* const at = reinterpret_cast<const char*>(text);
  return ConvertRest(at, at + std::size_t{2} * max_units, out, out);
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
