// Reads a ring whose owner is dead, from an image of its memory, as PROTOCOL.md says. Safe for any
// bytes: reads nothing outside the image and takes a time that the size of the image bounds.
#ifndef MAPISYNC_SRC_RING_SCAN_H_
#define MAPISYNC_SRC_RING_SCAN_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

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

// How many frames stand in the file of a dead ring, holes and all: of one that is deleted unread.
// read(offset, out, size_bytes): false if the file does not reach so far. Safe for any bytes.
template <typename Read>
std::uint64_t CountFrames(Read&& read) noexcept {
  constexpr std::uint64_t kMostFrames = kRingFileBytes / 16;  // More do not fit.
  char magic[8];
  std::uint64_t data_bytes;
  Place head, tail;
  if (!read(0, magic, sizeof magic) || std::memcmp(magic, "MAPIRING", sizeof magic) != 0 ||
      !read(offsetof(RingHeader, data_bytes), &data_bytes, sizeof data_bytes) ||
      !read(offsetof(RingHeader, head), &head, sizeof head) ||
      !read(offsetof(RingHeader, tail), &tail, sizeof tail) || tail.seq() < head.seq()) {
    return 0;
  }
  // The tail may lag behind: words lead on.
  while (tail.seq() - head.seq() <= kMostFrames && tail.unit() < data_bytes / 8) {
    Word word;
    const std::size_t offset = kRingDataOffset + std::size_t{8} * tail.unit();
    if (!read(offset, &word, sizeof word) || word.seq() != tail.seq()) break;
    if (word.state() == Word::kFree) break;
    if (word.state() == Word::kPad) {
      if (tail.unit() == 0) break;
      tail = Place::Of(tail.seq(), 0);
      continue;
    }
    const std::uint32_t unit = tail.unit() + RecordUnits(word.size_bytes());
    tail = Place::Of(tail.seq() + 1, unit >= data_bytes / 8 ? 0 : unit);
  }
  const std::uint64_t frames = tail.seq() - head.seq();
  return frames > kMostFrames ? 0 : frames;
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_RING_SCAN_H_
