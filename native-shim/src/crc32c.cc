#include "crc32c.h"

#include <atomic>
#include <cstring>

#if defined(__x86_64__) || defined(_M_X64)
#define MAPISYNC_SSE42 1
#include <nmmintrin.h>
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define MAPISYNC_WITH_SSE42
#else
#include <cpuid.h>
#define MAPISYNC_WITH_SSE42 __attribute__((target("sse4.2")))
#endif
#endif

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

#if defined(MAPISYNC_SSE42)

bool HasSse42() noexcept {
  constexpr unsigned kBit = 1u << 20;  // Of leaf 1, ecx.
#if defined(_MSC_VER) && !defined(__clang__)
  int registers[4];
  __cpuid(registers, 1);
  return (static_cast<unsigned>(registers[2]) & kBit) != 0;
#else
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & kBit) != 0;
#endif
}

// 0: not asked yet; 1: no; 2: yes.
std::atomic<int> sse42;

MAPISYNC_WITH_SSE42 std::uint32_t ByInstruction(std::uint32_t crc, const unsigned char* at,
                                                std::size_t size_bytes) noexcept {
  std::uint64_t wide = static_cast<std::uint32_t>(~crc);
  for (; size_bytes >= 8; size_bytes -= 8, at += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, at, 8);
    wide = _mm_crc32_u64(wide, eight);
  }
  crc = static_cast<std::uint32_t>(wide);
  for (; size_bytes > 0; size_bytes--) crc = _mm_crc32_u8(crc, *at++);
  return ~crc;
}

#endif

}  // namespace

std::uint32_t Crc32c(std::uint32_t crc, const void* data, std::size_t size_bytes) noexcept {
#if defined(MAPISYNC_SSE42)
  int found = sse42.load(std::memory_order_relaxed);
  if (found == 0) sse42.store(found = HasSse42() ? 2 : 1, std::memory_order_relaxed);
  if (found == 2) {
    return ByInstruction(crc, static_cast<const unsigned char*>(data), size_bytes);
  }
#endif
  return Crc32cByTables(crc, data, size_bytes);
}

std::uint32_t Crc32cByTables(std::uint32_t crc, const void* data, std::size_t size_bytes) noexcept {
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
