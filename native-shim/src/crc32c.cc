#include "crc32c.h"

#include <cstring>

namespace mapisync {
namespace {

// Eight tables, so that eight bytes take one step. Computed by the compiler.
struct Tables {
  std::uint32_t of[8][256] = {};

  constexpr Tables() noexcept {
    for (std::uint32_t byte = 0; byte < 256; byte++) {
      std::uint32_t crc = byte;
      for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0u);
      of[0][byte] = crc;
    }
    for (int table = 1; table < 8; table++) {
      for (std::uint32_t byte = 0; byte < 256; byte++) {
        const std::uint32_t before = of[table - 1][byte];
        of[table][byte] = before >> 8 ^ of[0][before & 0xff];
      }
    }
  }
};

constexpr Tables kTables;

}  // namespace

std::uint32_t Crc32c(std::uint32_t crc, const void* data, std::size_t size_bytes) noexcept {
  const unsigned char* at = static_cast<const unsigned char*>(data);
  crc = ~crc;
  for (; size_bytes >= 8; size_bytes -= 8, at += 8) {
    std::uint32_t low;
    std::uint32_t high;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + 4, 4);
    low ^= crc;
    crc = kTables.of[7][low & 0xff] ^ kTables.of[6][low >> 8 & 0xff] ^
          kTables.of[5][low >> 16 & 0xff] ^ kTables.of[4][low >> 24] ^ kTables.of[3][high & 0xff] ^
          kTables.of[2][high >> 8 & 0xff] ^ kTables.of[1][high >> 16 & 0xff] ^
          kTables.of[0][high >> 24];
  }
  for (; size_bytes > 0; size_bytes--) crc = crc >> 8 ^ kTables.of[0][(crc ^ *at++) & 0xff];
  return ~crc;
}

}  // namespace mapisync
