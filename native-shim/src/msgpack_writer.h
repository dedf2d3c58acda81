// Writes msgpack into a Buffer. Allocates nothing, throws nothing, needs no system.
//
// Errors are sticky: the first write that does not fit is dropped, so is every later one, and ok()
// stays false. Check once, at the end.
//
// Every value takes its shortest form, but for the Fixed ones: both languages make the same bytes.
#ifndef MAPISYNC_SRC_MSGPACK_WRITER_H_
#define MAPISYNC_SRC_MSGPACK_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "frames.h"
#include "inlining.h"

namespace mapisync {

// Bytes that Uint() needs.
constexpr std::uint32_t UintBytes(std::uint64_t value) noexcept {
  return value < 0x80 ? 1 : value <= 0xff ? 2 : value <= 0xffff ? 3 : value <= 0xffffffff ? 5 : 9;
}

class MsgpackWriter {
 public:
  explicit MsgpackWriter(Buffer out) noexcept
      : start_(out.data), at_(out.data), end_(out.data + out.size_bytes) {}

  bool ok() const noexcept { return at_ != nullptr; }
  // What was written so far, 0 after an error.
  std::size_t size_bytes() const noexcept {
    return at_ == nullptr ? 0 : static_cast<std::size_t>(at_ - start_);
  }

  void Array(std::uint32_t count) noexcept {
    if (count < 16) return BigEndian(0x90 | count, 1);
    Tagged(0xdc, count, 2);
  }
  void Nil() noexcept { BigEndian(0xc0, 1); }
  // Once for all encoders: in each of its places it would be a third of them, and no faster.
  MAPISYNC_NOINLINE void Uint(std::uint64_t value) noexcept {
    if (value < 0x80) return BigEndian(value, 1);
    if (value <= 0xff) return Tagged(0xcc, value, 1);
    if (value <= 0xffff) return Tagged(0xcd, value, 2);
    if (value <= 0xffffffff) return Tagged(0xce, value, 4);
    Tagged(0xcf, value, 8);
  }
  void FixedU64(std::uint64_t value) noexcept { Tagged(0xcf, value, 8); }
  void FixedU32(std::uint32_t value) noexcept { Tagged(0xce, value, 4); }
  // nil for a null pointer. Once, as Uint().
  MAPISYNC_NOINLINE void Str(Text text) noexcept {
    if (text.data == nullptr) return Nil();
    const std::uint32_t size = text.size_bytes;
    if (size < 32) {
      BigEndian(0xa0 | size, 1);
    } else if (size <= 0xff) {
      Tagged(0xd9, size, 1);
    } else if (size <= 0xffff) {
      Tagged(0xda, size, 2);
    } else {
      Tagged(0xdb, size, 4);
    }
    Bytes(text.data, size);
  }
  void Bin(const void* data, std::uint8_t size) noexcept {
    Tagged(0xc4, size, 1);
    Bytes(data, size);
  }

 private:
  // A null at_ is the sticky error. True if there is room for `count` bytes.
  bool Need(std::size_t count) noexcept {
    if (at_ != nullptr && static_cast<std::size_t>(end_ - at_) >= count) return true;
    at_ = nullptr;
    return false;
  }
  MAPISYNC_NOINLINE void Tagged(unsigned tag, std::uint64_t value, unsigned count) noexcept {
    if (!Need(1 + count)) return;
    *at_++ = static_cast<unsigned char>(tag);
    BigEndian(value, count);
  }
  void BigEndian(std::uint64_t value, unsigned count) noexcept {
    if (!Need(count)) return;
    for (unsigned shift = count * 8; shift > 0;) {
      shift -= 8;
      *at_++ = static_cast<unsigned char>(value >> shift);
    }
  }
  void Bytes(const void* data, std::size_t size) noexcept {
    if (!Need(size)) return;
    if (size > 0) std::memcpy(at_, data, size);
    at_ += size;
  }

  unsigned char* start_;
  unsigned char* at_;
  unsigned char* end_;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_MSGPACK_WRITER_H_
