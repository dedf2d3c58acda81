// Reads a ring whose owner is dead, from an image of its memory, as PROTOCOL.md says. Safe for any
// bytes: reads nothing outside the image and takes a time that the size of the image bounds.
#ifndef MAPISYNC_SRC_RING_SCAN_H_
#define MAPISYNC_SRC_RING_SCAN_H_

#include <cstddef>
#include <cstdint>

#include "ring.h"

namespace mapisync {

struct ScannedRecord {
  std::uint64_t seq;
  bool is_hole;
  const unsigned char* body;  // In the image; null for a hole.
  std::uint32_t size_bytes;
};

// Goes over the records of an image in order.
class RingScan {
 public:
  // image: borrowed, aligned like a ring. this_boot: the machine did not start since the ring was
  // written; if it did, only what has a checksum counts.
  RingScan(const void* image, std::size_t size_bytes, bool this_boot) noexcept;

  // False if the header is not that of a ring; then there is no record either.
  bool is_ring() const noexcept { return words_ != nullptr; }
  // The next record or hole. False at the end.
  bool Next(ScannedRecord* record) noexcept;

 private:
  enum class Found { kRecord, kTorn, kEnd };
  // What stands at a place, and the place behind it. Goes over a pad. Takes from *left_units what
  // it went over.
  Found Look(Place at, std::uint32_t* left_units, ScannedRecord* record,
             Place* next) const noexcept;

  const std::uint64_t* words_ = nullptr;  // weak; the data
  std::uint32_t units_ = 0;
  bool this_boot_;
  Place at_;
  std::uint32_t left_units_ = 0;    // Never goes round more than once.
  std::uint64_t holes_before_ = 0;  // Torn ones up to this seq are known to be holes.
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_RING_SCAN_H_
