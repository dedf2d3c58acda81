#include "crc32c.h"

#include <atomic>
#include <cstring>

namespace mapisync {
namespace {

// Eight tables, so that eight bytes take one step. Filled at the first use, since they would be a
// tenth of the library. Threads that come at once all fill in the same values.
std::atomic<std::uint32_t> tables[8][256];
std::atomic<bool> is_filled;

inline std::uint32_t At(int table, std::uint32_t index) noexcept {
  return tables[table][index & 0xff].load(std::memory_order_relaxed);
}

void FillTables() noexcept {
  for (std::uint32_t byte = 0; byte < 256; byte++) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0u);
    tables[0][byte].store(crc, std::memory_order_relaxed);
  }
  for (int table = 1; table < 8; table++) {
    for (std::uint32_t byte = 0; byte < 256; byte++) {
      const std::uint32_t before = At(table - 1, byte);
      tables[table][byte].store(before >> 8 ^ At(0, before), std::memory_order_relaxed);
    }
  }
  is_filled.store(true, std::memory_order_release);
}

}  // namespace

std::uint32_t Crc32c(std::uint32_t crc, const void* data, std::size_t size_bytes) noexcept {
  const unsigned char* at = static_cast<const unsigned char*>(data);
  if (!is_filled.load(std::memory_order_acquire)) FillTables();
  crc = ~crc;
  for (; size_bytes >= 8; size_bytes -= 8, at += 8) {
    std::uint32_t low;
    std::uint32_t high;
    std::memcpy(&low, at, 4);
    std::memcpy(&high, at + 4, 4);
    low ^= crc;
    crc = At(7, low) ^ At(6, low >> 8) ^ At(5, low >> 16) ^ At(4, low >> 24) ^ At(3, high) ^
          At(2, high >> 8) ^ At(1, high >> 16) ^ At(0, high >> 24);
  }
  for (; size_bytes > 0; size_bytes--) crc = crc >> 8 ^ At(0, crc ^ *at++);
  return ~crc;
}

}  // namespace mapisync
