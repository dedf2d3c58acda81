// What the native readers make of hostile bytes, as text: the same text comes from the TypeScript
// readers, so that the two can be compared. Each target also checks what must hold for any bytes,
// and aborts where it does not.
#ifndef MAPISYNC_TESTS_FUZZ_TARGETS_H_
#define MAPISYNC_TESTS_FUZZ_TARGETS_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace fuzz {

struct Target {
  const char* name;
  std::string (*describe)(const unsigned char* data, std::size_t size_bytes);
};

// Null if there is none of that name.
const Target* FindTarget(const std::string& name);

// The input of the target `ring`: flags (bit 0: written in this boot), `retired`, the offset of 8
// bytes of the header and what stands there instead, then the data.
inline constexpr std::size_t kRingInputBytes = 1 + 8 + 2 + 8;
inline constexpr std::size_t kRingMaxDataBytes = 8192;

// Gives the records of a ring the sequence numbers and checksums that a reader expects, as far as
// they lead: what is behind them is reached only so.
void SealRing(unsigned char* data, std::size_t size_bytes);

}  // namespace fuzz

#endif  // MAPISYNC_TESTS_FUZZ_TARGETS_H_
