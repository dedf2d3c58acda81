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
  MsgpackReader(const unsigned char* data, std::size_t size) noexcept : at_(data), left_(size) {}

  bool ok() const noexcept { return ok_; }
  bool at_end() const noexcept { return ok_ && left_ == 0; }

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

  std::uint64_t Uint() noexcept { return UintOf(Byte()); }

  // The same in a form that the table calls fixed.
  std::uint64_t Fixed(unsigned wanted) noexcept {
    const unsigned tag = Byte();
    if (tag != wanted) Fail();
    return UintOf(tag);
  }

  // A text, or nil where `nullable`.
  Text Str(bool nullable) noexcept {
    const unsigned tag = Byte();
    if (ok_ && nullable && tag == 0xc0) return {};
    return StrOf(tag);
  }

  // Goes over one element of a flat frame, whatever it is.
  void Skip() noexcept {
    const unsigned tag = Byte();
    if (tag == 0xc0) return;
    if (tag >= 0xc4 && tag <= 0xc6) {
      Take(BigEndian(1u << (tag - 0xc4)));
    } else if ((tag & 0xe0) == 0xa0 || (tag >= 0xd9 && tag <= 0xdb)) {
      StrOf(tag);
    } else {
      UintOf(tag);
    }
  }

 private:
  static constexpr std::uint64_t kLimit = std::uint64_t{1} << 53;  // Of integers.

  void Fail() noexcept { ok_ = false; }

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
  std::uint64_t UintOf(unsigned tag) noexcept {
    if (tag < 0x80) return ok_ ? tag : 0;
    if (tag < 0xcc || tag > 0xcf) {
      Fail();
      return 0;
    }
    const std::uint64_t value = BigEndian(1u << (tag - 0xcc));
    if (value >= kLimit) Fail();
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
