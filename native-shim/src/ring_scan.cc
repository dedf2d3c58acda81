#include "ring_scan.h"

#include <cstring>

#include "msgpack_reader.h"

namespace mapisync {
namespace {

template <typename T>
T At(const void* image, std::size_t offset) noexcept {
  T value;
  std::memcpy(&value, static_cast<const unsigned char*>(image) + offset, sizeof value);
  return value;
}

// What a reader takes out of the header as numbers; lost has several.
constexpr std::size_t kLost = offsetof(RingHeader, lost);
constexpr std::size_t kIntegers[] = {offsetof(RingHeader, wall_us),
                                     offsetof(RingHeader, time_us),
                                     kLost,
                                     kLost + 8,
                                     kLost + 16,
                                     kLost + 24,
                                     kLost + 32,
                                     offsetof(RingHeader, cached_now_us)};

}  // namespace

RingScan::RingScan(const void* image, std::size_t size_bytes, bool this_boot) noexcept
    : this_boot_(this_boot) {
  if (size_bytes <= kRingDataOffset || size_bytes > kRingFileBytes) return;
  if (std::memcmp(image, "MAPIRING", 8) != 0) return;
  if (At<std::uint32_t>(image, offsetof(RingHeader, layout)) != kRingLayout) return;
  if (At<std::uint32_t>(image, offsetof(RingHeader, data_offset)) != kRingDataOffset) return;
  const std::uint64_t data = At<std::uint64_t>(image, offsetof(RingHeader, data_bytes));
  if (data == 0 || data % 8 != 0 || data > size_bytes - kRingDataOffset) return;
  for (const std::size_t offset : kIntegers) {
    if (At<std::uint64_t>(image, offset) >= MsgpackReader::kUintLimit) return;
  }
  // What lies between head and there may be zeroed in part.
  at_.value = At<std::uint64_t>(image, offsetof(RingHeader, retired));
  units_ = static_cast<std::uint32_t>(data / 8);
  if (at_.unit() >= units_ || at_.seq() == 0) return;
  left_units_ = units_;
  words_ = reinterpret_cast<const std::uint64_t*>(static_cast<const unsigned char*>(image) +
                                                  kRingDataOffset);
}

bool RingScan::Next(ScannedRecord* record) noexcept {
  if (words_ == nullptr) return false;
  Place next;
  const Found found = Look(at_, &left_units_, record, &next);
  if (found == Found::kTorn && record->seq > holes_before_) {
    // A hole only if the words lead on, over other torn ones, to a record that is whole.
    std::uint32_t left = left_units_;
    ScannedRecord later;
    Place behind = next;
    Found ahead = Found::kTorn;
    while (ahead == Found::kTorn) ahead = Look(behind, &left, &later, &behind);
    if (ahead == Found::kEnd) return false;
    holes_before_ = later.seq;
  }
  at_ = next;
  return found != Found::kEnd;
}

RingScan::Found RingScan::Look(Place at, std::uint32_t* left_units, ScannedRecord* record,
                               Place* next) const noexcept {
  if (at.seq() == 0) return Found::kEnd;  // Behind the last number that there is.
  Word word = {words_[at.unit()]};
  if (word.state() == Word::kPad && word.seq() == at.seq() && word.size_bytes() == 0 &&
      at.unit() != 0) {
    const std::uint32_t pad_units = units_ - at.unit();
    if (pad_units > *left_units) return Found::kEnd;
    *left_units -= pad_units;
    at = Place::Of(at.seq(), 0);
    word.value = words_[0];
  }
  const std::uint32_t units = RecordUnits(word.size_bytes());
  if (word.state() == Word::kFree || word.state() == Word::kPad || word.seq() != at.seq() ||
      units > units_ - at.unit() || units > *left_units) {
    return Found::kEnd;
  }
  *left_units -= units;
  const std::uint32_t unit = at.unit() + units;
  *next = Place::Of(at.seq() + 1, unit == units_ ? 0 : unit);
  const unsigned char* body =
      reinterpret_cast<const unsigned char*>(words_ + at.unit()) + kRecordHeaderBytes;
  *record = {word.seq(), true, nullptr, word.size_bytes()};
  if (word.state() != Word::kCommitted || !IsSequenced(body, word.size_bytes(), word.seq())) {
    return Found::kTorn;
  }
  if (!this_boot_) {
    const std::uint32_t crc = static_cast<std::uint32_t>(words_[at.unit() + 1]);
    if (crc == 0 || crc != RecordCrc(word.value, body, word.size_bytes())) return Found::kTorn;
  }
  record->is_hole = false;
  record->body = body;
  return Found::kRecord;
}

}  // namespace mapisync
