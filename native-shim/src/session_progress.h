// Session::Progress(), which is a part of the call that it records: in a function of its
// own a warm one would take a fifteenth longer.
#ifndef MAPISYNC_SRC_SESSION_PROGRESS_H_
#define MAPISYNC_SRC_SESSION_PROGRESS_H_

#include <cstdint>
#include <cstring>

#include "big_endian.h"
#include "msgpack_writer.h"
#include "recorder.h"
#include "session.h"
#include "utf8.h"

namespace mapisync {

// Offsets in the header of a `progress`, after PROTOCOL.md.
inline constexpr std::uint32_t kTemplateTimeAt = 12;
inline constexpr std::uint32_t kTemplateThreadAt = 21;
inline constexpr std::uint32_t kTemplateSessionAt = 25;

// Texts up to this take the short way, with a small stack.
inline constexpr std::uint32_t kShortUnits = 256;
inline constexpr std::size_t kNumbersBytes = 9 + 5 + 5 + 1;

inline unsigned char* PutUint(unsigned char* out, std::uint32_t value) noexcept {
  if (value < 0x80) {
    *out = static_cast<unsigned char>(value);
    return out + 1;
  }
  if (value <= 0xffff) {
    // Shifted so that its highest byte comes first, whether it has one or two.
    const bool one = value <= 0xff;
    out[0] = one ? 0xcc : 0xcd;
    StoreBigEndian32(out + 1, value << (one ? 24 : 16));
    return out + (one ? 2 : 3);
  }
  out[0] = 0xce;
  StoreBigEndian32(out + 1, value);
  return out + 5;
}

// Writes a number where so many bytes were left for it, and none behind it. False: it takes others.
inline bool PutUintInto(unsigned char* out, std::uint32_t size_bytes,
                        std::uint64_t value) noexcept {
  if (UintBytes(value) != size_bytes) return false;
  if (size_bytes == 1) {
    out[0] = static_cast<unsigned char>(value);
  } else if (size_bytes == 2) {
    out[0] = 0xcc;
    out[1] = static_cast<unsigned char>(value);
  } else if (size_bytes == 3) {
    out[0] = 0xcd;
    out[1] = static_cast<unsigned char>(value >> 8);
    out[2] = static_cast<unsigned char>(value);
  } else if (size_bytes == 5) {
    out[0] = 0xce;
    StoreBigEndian32(out + 1, static_cast<std::uint32_t>(value));
  } else {
    out[0] = 0xcf;
    StoreBigEndian64(out + 1, value);
  }
  return true;
}

// Moves a text one byte up, most of them at once and in registers. What comes behind it means
// nothing.
inline void MoveUp(unsigned char* text, std::size_t size_bytes) noexcept {
  unsigned char moved[48];
  if (size_bytes > sizeof moved) {
    std::memmove(text + 1, text, size_bytes);
    return;
  }
  std::memcpy(moved, text, sizeof moved);
  std::memcpy(text + 1, moved, sizeof moved);
}

inline bool Session::Usable() const noexcept { return recorder_ == nullptr || recorder_->Usable(); }

MAPISYNC_INLINE std::uint64_t Session::Progress(std::uint32_t thread, const char16_t* text,
                                                std::uint32_t index, std::uint32_t max) noexcept {
  if (!Usable()) return 0;
  const std::uint64_t time_us = ring_->CachedNowUs();

  // The text is converted to where it will stand if its size takes one byte; longer ones are moved.
  unsigned char body[kTemplateBytes + kNumbersBytes + 3 + 3 * kShortUnits + kUtf8SlackBytes];
  std::memcpy(body, template_, kTemplateBytes);
  StoreBigEndian64(body + kTemplateTimeAt, time_us);
  StoreBigEndian32(body + kTemplateThreadAt, thread);
  unsigned char* at = body + template_used_;
  // Its place is left for the number, as long as the last one.
  unsigned char* const number = at;
  const std::uint32_t number_bytes = number_bytes_.load(std::memory_order_relaxed);
  at += number_bytes;
  at = PutUint(at, index);
  at = PutUint(at, max);
  unsigned char* const marks = at++;
  *marks = 0;
  std::uint32_t text_bytes = 0;
  if (text == nullptr) {
    *at++ = 0xc0;
  } else {
    const Utf8Result utf8 = Utf8FromUtf16Inline(text, kShortUnits, reinterpret_cast<char*>(at + 1));
    if (utf8.marks & kMarkCut) return RecordAnyProgress(thread, NextNumber(), text, index, max);
    *marks = static_cast<unsigned char>(utf8.marks);
    text_bytes = utf8.size_bytes;
    if (text_bytes < 32) {
      *at++ = static_cast<unsigned char>(0xa0 | text_bytes);
    } else if (text_bytes < 0x100) {
      MoveUp(at + 1, text_bytes);
      *at++ = 0xd9;
      *at++ = static_cast<unsigned char>(text_bytes);
    } else {
      std::memmove(at + 3, at + 1, text_bytes);
      *at++ = 0xda;
      *at++ = static_cast<unsigned char>(text_bytes >> 8);
      *at++ = static_cast<unsigned char>(text_bytes);
    }
    at += text_bytes;
  }
  const std::size_t size_bytes = static_cast<std::size_t>(at - body);
  // As the first thing, this would wait for all that the call before stored.
  const std::uint64_t call = NextNumber();
  if (!PutUintInto(number, number_bytes, call)) {
    return RecordAnyProgress(thread, call, text, index, max);
  }
  if (ring_->Append(body, size_bytes, Room::kProgress, thread) == 0) {
    ProgressCall merged = {call, time_us, index, max, *marks, {}};
    if (text != nullptr) merged.text = {reinterpret_cast<char*>(at - text_bytes), text_bytes};
    slot_->Merge(merged);
  }
  return call;
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_SESSION_PROGRESS_H_
