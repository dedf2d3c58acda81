#include "hole.h"

#include <cstring>

#include "limits.h"

namespace mapisync {
namespace {

// Where PROTOCOL.md's header of a sequenced frame has its thread, if its array is a short one.
constexpr std::uint32_t kThreadTagOffset = 20;
constexpr unsigned char kU32Tag = 0xce;

// A `hole` without padding, an array of 6.
constexpr std::uint32_t kHoleBytes = 27;
constexpr unsigned char kSevenElements = 0x97;

}  // namespace

std::uint32_t ReservedBy(Ring* ring, Place at) noexcept {
  const auto* words = reinterpret_cast<const std::atomic<std::uint64_t>*>(
      reinterpret_cast<const unsigned char*>(&ring->header()) + kRingDataOffset);
  // The tag and the four bytes behind it lie in two words of the record.
  constexpr std::uint32_t kOffset = kRecordHeaderBytes + kThreadTagOffset;
  static_assert(kOffset % 8 == 0, "The tag begins a word");
  const std::uint64_t word = words[at.unit() + kOffset / 8].load(std::memory_order_acquire);
  unsigned char bytes[8];
  std::memcpy(bytes, &word, sizeof bytes);
  if (bytes[0] != kU32Tag) return 0;
  return static_cast<std::uint32_t>(bytes[1]) << 24 | static_cast<std::uint32_t>(bytes[2]) << 16 |
         static_cast<std::uint32_t>(bytes[3]) << 8 | bytes[4];
}

void FillHole(Ring* ring, Place at, const Ring::Record& record, std::uint64_t time_us) noexcept {
  unsigned char body[Word::kMaxSizeBytes + 8] = {};
  const std::size_t size =
      EncodeHole({record.seq, time_us, 0, 0}, HoleReason::kThreadDead, {body, sizeof body});
  if (size != kHoleBytes || record.size_bytes < kHoleBytes) return;
  // One element that readers do not know takes up the rest: nil, or a bin of zeros.
  const std::uint32_t rest = record.size_bytes - kHoleBytes;
  if (rest > 0) body[0] = kSevenElements;
  unsigned char* const pad = body + kHoleBytes;
  if (rest == 1) {
    pad[0] = 0xc0;
  } else if (rest >= 2 && rest < 2 + 256) {
    pad[0] = 0xc4;
    pad[1] = static_cast<unsigned char>(rest - 2);
  } else if (rest >= 2) {
    pad[0] = 0xc5;
    pad[1] = static_cast<unsigned char>((rest - 3) >> 8);
    pad[2] = static_cast<unsigned char>(rest - 3);
  }
  const Ring::Attempt attempt = {at, Word::Of(record.seq, record.size_bytes, Word::kReserved),
                                 ring->Next(at, record), &ring->word_at(at.unit())};
  ring->CountLost(Loss::kOther);
  ring->FillAndCommit(attempt, body, record.size_bytes);
}

}  // namespace mapisync
