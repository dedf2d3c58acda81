#include "ring_scan.h"

#include <cstring>

namespace mapisync {
namespace {

template <typename T>
T At(const void* image, std::size_t offset) noexcept {
  T value;
  std::memcpy(&value, static_cast<const unsigned char*>(image) + offset, sizeof value);
  return value;
}

}  // namespace

RingScan::RingScan(const void* image, std::size_t size_bytes, bool this_boot) noexcept
    : this_boot_(this_boot) {
  if (size_bytes <= kRingDataOffset || std::memcmp(image, "MAPIRING", 8) != 0) return;
  if (At<std::uint32_t>(image, offsetof(RingHeader, layout)) != 1) return;
  if (At<std::uint32_t>(image, offsetof(RingHeader, data_offset)) != kRingDataOffset) return;
  const std::uint64_t data = At<std::uint64_t>(image, offsetof(RingHeader, data_bytes));
  if (data == 0 || data % 8 != 0 || data > kRingFileBytes - kRingDataOffset) return;
  if (data > size_bytes - kRingDataOffset) return;
  // What lies between head and there may be zeroed in part.
  at_.value = At<std::uint64_t>(image, offsetof(RingHeader, retired));
  units_ = static_cast<std::uint32_t>(data / 8);
  if (at_.unit() >= units_ || at_.seq() == 0) return;
  left_units_ = units_;
  words_ = reinterpret_cast<const std::uint64_t*>(static_cast<const unsigned char*>(image) +
                                                  kRingDataOffset);
}

bool RingScan::Next(ScannedRecord* record) noexcept {
  if (words_ == nullptr || left_units_ == 0) return false;
  Place next;
  const Found found = Look(&at_, record, &next);
  if (found == Found::kEnd) return false;
  if (found == Found::kTorn && record->seq > holes_before_) {
    // A hole only if the words lead on, over other torn ones, to a record that is whole.
    Place at = next;
    Place behind;
    ScannedRecord later;
    Found ahead = Found::kTorn;
    for (std::uint32_t left = left_units_; ahead == Found::kTorn; at = behind) {
      ahead = Look(&at, &later, &behind);
      const std::uint32_t units = ahead == Found::kEnd ? 0 : RecordUnits(later.size_bytes);
      if (ahead == Found::kEnd || units > left) return false;
      left -= units;
    }
    holes_before_ = later.seq;
  }
  const std::uint32_t units = RecordUnits(record->size_bytes);
  if (units > left_units_) return false;
  left_units_ -= units;
  at_ = next;
  return true;
}

RingScan::Found RingScan::Look(Place* at, ScannedRecord* record, Place* next) const noexcept {
  Word word = {words_[at->unit()]};
  if (word.state() == Word::kPad && word.seq() == at->seq() && word.size_bytes() == 0 &&
      at->unit() != 0) {
    *at = Place::Of(at->seq(), 0);
    word.value = words_[0];
  }
  const std::uint32_t units = RecordUnits(word.size_bytes());
  if (word.state() == Word::kFree || word.state() == Word::kPad || word.seq() != at->seq() ||
      units > units_ - at->unit()) {
    return Found::kEnd;
  }
  const std::uint32_t unit = at->unit() + units;
  *next = Place::Of(at->seq() + 1, unit == units_ ? 0 : unit);
  const unsigned char* body =
      reinterpret_cast<const unsigned char*>(words_ + at->unit()) + kRecordHeaderBytes;
  *record = {word.seq(), true, nullptr, word.size_bytes()};
  if (word.state() != Word::kCommitted || !IsSequenced(body, word.size_bytes(), word.seq())) {
    return Found::kTorn;
  }
  if (!this_boot_) {
    const std::uint32_t crc = static_cast<std::uint32_t>(words_[at->unit() + 1]);
    if (crc == 0 || crc != RecordCrc(word.value, body, word.size_bytes())) return Found::kTorn;
  }
  record->is_hole = false;
  record->body = body;
  return Found::kRecord;
}

}  // namespace mapisync
