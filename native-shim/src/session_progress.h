// Session::Progress(), which is a part of the call that it records: in a function of its
// own a warm one would take a fifteenth longer.
#ifndef MAPISYNC_SRC_SESSION_PROGRESS_H_
#define MAPISYNC_SRC_SESSION_PROGRESS_H_

#include <cstdint>
#include <cstring>

#include "big_endian.h"
#include "ring_append.h"
#include "session.h"
#include "utf8.h"

namespace mapisync {

// Offsets in the header of a `progress`, after PROTOCOL.md.
inline constexpr std::uint32_t kTemplateSeqAt = 3;
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

MAPISYNC_INLINE std::uint64_t Session::Progress(std::uint32_t thread, const char16_t* text,
                                                std::uint32_t index, std::uint32_t max) noexcept {
  if (!MAPISYNC_LIKELY(Usable())) return 0;

  // The text is converted to where it will stand if its size takes one byte; longer ones are moved.
  unsigned char body[kTemplateBytes + kNumbersBytes + 3 + 3 * kShortUnits + kUtf8SlackBytes];
  std::memcpy(body, template_, kTemplateBytes);
  StoreBigEndian64(body + kTemplateTimeAt, ring_->CachedNowUs());
  StoreBigEndian32(body + kTemplateThreadAt, thread);
  // Not as the first thing: its lock waits for all that the call before stored.
  const std::uint64_t call = slot_->Count(SessionSlot::kProgress);
  unsigned char* at = body + template_used_;
  // Five bytes from the 65,536th on.
  if (MAPISYNC_LIKELY(call - 0x10000 <= 0xffffffff - 0x10000)) {
    *at++ = 0xce;
    StoreBigEndian32(at, static_cast<std::uint32_t>(call));
    at += 4;
  } else if (call < 0x10000) {
    at = PutUint(at, static_cast<std::uint32_t>(call));
  } else {
    return RecordAnyProgress(thread, call, text, index, max);
  }
  at = PutUint(at, index);
  at = PutUint(at, max);
  std::uint32_t text_bytes = 0;
  if (!MAPISYNC_LIKELY(text != nullptr)) {
    at[0] = 0;
    at[1] = 0xc0;
    at += 2;
  } else {
    const Utf8Result utf8 = Utf8FromUtf16Inline(text, kShortUnits, reinterpret_cast<char*>(at + 2));
    if (!MAPISYNC_LIKELY(utf8.marks == 0)) {
      return RecordAnyProgress(thread, call, text, index, max);
    }
    text_bytes = utf8.size_bytes;
    *at++ = 0;
    if (MAPISYNC_LIKELY(text_bytes < 32)) {
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
  const auto size_bytes = static_cast<std::size_t>(at - body);
  if (MAPISYNC_LIKELY(
          ring_->AppendInline(body, size_bytes, kTemplateSeqAt, Room::kProgress, thread))) {
    return call;
  }
  const char* const start = text == nullptr ? nullptr : reinterpret_cast<char*>(at - text_bytes);
  return MergeProgress(call, index, max, {start, text_bytes});
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_SESSION_PROGRESS_H_
