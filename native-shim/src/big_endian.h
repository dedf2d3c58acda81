// Big-endian stores of one instruction or two; `out` may be odd.
#ifndef MAPISYNC_SRC_BIG_ENDIAN_H_
#define MAPISYNC_SRC_BIG_ENDIAN_H_

#include <cstdint>
#include <cstring>
#if defined(_MSC_VER) && !defined(__clang__)
#include <stdlib.h>
#endif

namespace mapisync {

inline void StoreBigEndian64(unsigned char* out, std::uint64_t value) noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
  value = _byteswap_uint64(value);
#else
  value = __builtin_bswap64(value);
#endif
  std::memcpy(out, &value, sizeof value);
}
inline void StoreBigEndian32(unsigned char* out, std::uint32_t value) noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
  value = _byteswap_ulong(value);
#else
  value = __builtin_bswap32(value);
#endif
  std::memcpy(out, &value, sizeof value);
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_BIG_ENDIAN_H_
