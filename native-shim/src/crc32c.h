// CRC-32C (Castagnoli), by the processor's own instruction where it has one. The worker's: no call
// of the host computes it.
#ifndef MAPISYNC_SRC_CRC32C_H_
#define MAPISYNC_SRC_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace mapisync {

// Goes on from `crc`, the result for the bytes before; 0 at the start.
std::uint32_t Crc32c(std::uint32_t crc, const void* data, std::size_t size_bytes) noexcept;
// The same without that instruction.
std::uint32_t Crc32cByTables(std::uint32_t crc, const void* data, std::size_t size_bytes) noexcept;

}  // namespace mapisync

#endif  // MAPISYNC_SRC_CRC32C_H_
