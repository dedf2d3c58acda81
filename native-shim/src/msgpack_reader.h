#ifndef MAPISYNC_SRC_MSGPACK_READER_H_
#define MAPISYNC_SRC_MSGPACK_READER_H_

#include <cstddef>
#include <cstdint>

#include "frames.h"
#include "limits.h"

namespace mapisync {

// Reads one flat msgpack array. Errors are sticky: after the first, everything is 0 and ok() is
// false.
class MsgpackReader {
 public:
  static constexpr std::uint64_t kUintLimit = std::uint64_t{1} << 53;
  static constexpr std::uint64_t kU32Limit = std::uint64_t{1} << 32;

  MsgpackReader(const unsigned char* data, std::size_t size) noexcept : at_(data), left_(size) {}

  bool ok() const noexcept { return ok_; }

  std::uint32_t Array() noexcept {
    const unsigned tag = Byte();
    std::uint64_t count = tag & 0x0f;
    if (tag == 0xdc) {
      count = BigEndian(2);
    } else if (tag == 0xdd) {
      count = BigEndian(4);
    } else if ((tag & 0xf0) != 0x90) {
      Fail();
    }
    if (count == 0 || count > kMaxFrameElements) Fail();
    return ok_ ? static_cast<std::uint32_t>(count) : 0;
  }

  // Below `limit`, which is at most kUintLimit.
  std::uint64_t Uint(std::uint64_t limit = kUintLimit) noexcept { return UintOf(Byte(), limit); }
  std::uint32_t U32() noexcept { return static_cast<std::uint32_t>(Uint(kU32Limit)); }

  void U32OrNil() noexcept {
    const unsigned tag = Byte();
    if (tag != 0xc0) UintOf(tag, kU32Limit);
  }
  // From 1 to `largest`.
  void Choice(std::uint64_t largest) noexcept {
    if (Uint(largest + 1) == 0) Fail();
  }

  // The same in a form that the table calls fixed.
  std::uint64_t Fixed(unsigned wanted, std::uint64_t limit = kUintLimit) noexcept {
    const unsigned tag = Byte();
    if (tag != wanted) Fail();
    return UintOf(tag, limit);
  }

  // A text of at most max_bytes, or nil where `nullable`.
  Text Str(bool nullable, std::uint32_t max_bytes) noexcept {
    const unsigned tag = Byte();
    if (ok_ && nullable && tag == 0xc0) return {};
    const Text text = StrOf(tag);
    if (text.size_bytes > max_bytes) Fail();
    return ok_ ? text : Text();
  }

  // Goes over the last elements, which a newer peer added. Returns whether all was well, and
  // nothing stands behind them.
  bool End(std::uint32_t elements) noexcept {
    for (; ok_ && elements > 0; elements--) Skip();
    return ok_ && left_ == 0;
  }

 private:
  void Fail() noexcept { ok_ = false; }

  // Goes over one element of a flat frame, whatever it is.
  void Skip() noexcept {
    const unsigned tag = Byte();
    if (tag == 0xc0) return;
    if (tag >= 0xc4 && tag <= 0xc6) {
      Take(BigEndian(1u << (tag - 0xc4)));
    } else if ((tag & 0xe0) == 0xa0 || (tag >= 0xd9 && tag <= 0xdb)) {
      StrOf(tag);
    } else {
      UintOf(tag, kUintLimit);
    }
  }

  const unsigned char* Take(std::uint64_t count) noexcept {
    if (!ok_ || count > left_) {
      Fail();
      return nullptr;
    }
    const unsigned char* start = at_;
    at_ += count;
    left_ -= static_cast<std::size_t>(count);
    return start;
  }
  unsigned Byte() noexcept {
    const unsigned char* byte = Take(1);
    return byte == nullptr ? 0u : *byte;
  }
  std::uint64_t BigEndian(unsigned count) noexcept {
    const unsigned char* bytes = Take(count);
    std::uint64_t value = 0;
    for (unsigned i = 0; bytes != nullptr && i < count; i++) value = value << 8 | bytes[i];
    return value;
  }
  std::uint64_t UintOf(unsigned tag, std::uint64_t limit) noexcept {
    if (tag < 0x80 && tag < limit) return ok_ ? tag : 0;
    if (tag < 0xcc || tag > 0xcf) {
      Fail();
      return 0;
    }
    const std::uint64_t value = BigEndian(1u << (tag - 0xcc));
    if (value >= limit) Fail();
    return ok_ ? value : 0;
  }
  Text StrOf(unsigned tag) noexcept {
    std::uint64_t size = tag & 0x1f;
    if (tag >= 0xd9 && tag <= 0xdb) {
      size = BigEndian(1u << (tag - 0xd9));
    } else if ((tag & 0xe0) != 0xa0) {
      Fail();
    }
    const unsigned char* bytes = Take(size);
    if (bytes == nullptr) return {};
    return {reinterpret_cast<const char*>(bytes), static_cast<std::uint32_t>(size)};
  }

  const unsigned char* at_;
  std::size_t left_;
  bool ok_ = true;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_MSGPACK_READER_H_
