#include "session.h"

#include <cstring>

#include "big_endian.h"
#include "msgpack_writer.h"
#include "platform.h"
#include "recorder.h"
#include "utf8.h"

namespace mapisync {
namespace {

// Offsets in the header of a `progress`, after PROTOCOL.md.
constexpr std::uint32_t kTimeAt = 12;
constexpr std::uint32_t kThreadAt = 21;
constexpr std::uint32_t kSessionAt = 25;

// Texts up to this take the short way, with a small stack.
constexpr std::uint32_t kShortUnits = 256;
constexpr std::size_t kNumbersBytes = 9 + 5 + 5 + 1;

inline unsigned char* PutUint(unsigned char* out, std::uint64_t value) noexcept {
  if (value < 0x80) {
    *out = static_cast<unsigned char>(value);
    return out + 1;
  }
  if (value <= 0xffff) {
    // Shifted so that its highest byte comes first, whether it has one or two.
    const bool one = value <= 0xff;
    out[0] = one ? 0xcc : 0xcd;
    StoreBigEndian32(out + 1, static_cast<std::uint32_t>(value << (one ? 24 : 16)));
    return out + (one ? 2 : 3);
  }
  if (value <= 0xffffffff) {
    out[0] = 0xce;
    StoreBigEndian32(out + 1, static_cast<std::uint32_t>(value));
    return out + 5;
  }
  out[0] = 0xcf;
  StoreBigEndian64(out + 1, value);
  return out + 9;
}

}  // namespace

bool Session::Usable() const noexcept { return recorder_ == nullptr || recorder_->Usable(); }

Stamp Session::StampAt(std::uint64_t time_us, std::uint32_t thread) const noexcept {
  return {0, time_us, thread, id_};
}

bool Session::Open(Ring* ring, const Recorder* recorder, const mapisync::Open& open) noexcept {
  ring_ = ring;
  recorder_ = recorder;
  if (!Usable()) return false;
  slot_ = ring->ClaimSession();
  const std::uint64_t now_us = NowUs();
  if (slot_ != nullptr) {
    id_ = ring->AppendOpen({0, now_us, ThreadId(), 0}, open, slot_);
    if (id_ == 0) slot_->SetState(SessionSlot::kFree);
  }
  if (id_ == 0) {
    ring->CountLost(Loss::kOpen);
    return false;
  }
  slot_->SetState(SessionSlot::kOpen);
  // The worker may have slept: the first calls must not seem older than their session.
  if (ring->CachedNowUs() < now_us) ring->SetCachedNowUs(now_us);

  unsigned char body[kSmallBodyBytes];
  EncodeProgress({0, 0, 0, id_}, {}, {body, sizeof body});
  template_used_ = kSessionAt + UintBytes(id_);
  std::memcpy(template_, body, template_used_);
  return true;
}

void Session::Close() noexcept {
  if (Usable()) ring_->CloseSession(slot_, NowUs(), ThreadId());
  slot_ = nullptr;
}

std::uint64_t Session::Progress(std::uint32_t thread, const char16_t* text, std::uint32_t index,
                                std::uint32_t max) noexcept {
  if (!Usable()) return 0;
  const std::uint64_t call = slot_->Count(SessionSlot::kProgress);
  const std::uint64_t time_us = ring_->CachedNowUs();

  // The text is converted to where it will stand if its size takes one byte; longer ones are moved.
  unsigned char body[kTemplateBytes + kNumbersBytes + 3 + 3 * kShortUnits + kUtf8SlackBytes];
  std::memcpy(body, template_, kTemplateBytes);
  StoreBigEndian64(body + kTimeAt, time_us);
  StoreBigEndian32(body + kThreadAt, thread);
  unsigned char* at = body + template_used_;
  at = PutUint(at, call);
  at = PutUint(at, index);
  at = PutUint(at, max);
  unsigned char* const marks = at++;
  *marks = 0;
  std::uint32_t text_bytes = 0;
  if (text == nullptr) {
    *at++ = 0xc0;
  } else {
    const Utf8Result utf8 = Utf8FromUtf16(text, kShortUnits, reinterpret_cast<char*>(at + 1));
    if (utf8.marks & kMarkCut) return RecordLongProgress(thread, call, text, index, max);
    *marks = static_cast<unsigned char>(utf8.marks);
    text_bytes = utf8.size_bytes;
    if (text_bytes < 32) {
      *at++ = static_cast<unsigned char>(0xa0 | text_bytes);
    } else if (text_bytes < 0x100) {
      std::memmove(at + 2, at + 1, text_bytes);
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
  if (ring_->Append(body, size_bytes, Room::kProgress) == 0) {
    ProgressCall merged = {call, time_us, index, max, *marks, {}};
    if (text != nullptr) merged.text = {reinterpret_cast<char*>(at - text_bytes), text_bytes};
    slot_->Merge(merged);
  }
  return call;
}

// Apart, since the room that it needs on the stack is better not touched by the calls above.
#if defined(__GNUC__)
__attribute__((noinline))
#endif
std::uint64_t
Session::RecordLongProgress(std::uint32_t thread, std::uint64_t call, const char16_t* text,
                            std::uint32_t index, std::uint32_t max) noexcept {
  char utf8[kMaxTextBytes + kUtf8SlackBytes];
  unsigned char body[kTextBodyBytes + kFillBehindBytes];
  const Utf8Result result = Utf8FromUtf16(text, kMaxTextUnits, utf8);
  const ProgressCall progress = {call, ring_->CachedNowUs(), index,
                                 max,  result.marks,         {utf8, result.size_bytes}};
  const std::size_t size = EncodeProgress(StampAt(0, thread), progress, {body, kTextBodyBytes});
  if (ring_->Append(body, size, Room::kProgress) == 0) slot_->Merge(progress);
  return call;
}

std::uint64_t Session::Error(std::uint32_t thread, std::uint32_t hresult,
                             const char16_t* text) noexcept {
  if (!Usable()) return 0;
  const std::uint64_t call = slot_->Count(SessionSlot::kErrors);
  const std::uint64_t now_us = NowUs();
  char utf8[kMaxTextBytes + kUtf8SlackBytes];
  unsigned char body[kTextBodyBytes + kFillBehindBytes];
  Utf8Result result = {0, 0};
  Text converted;
  if (text != nullptr) {
    result = Utf8FromUtf16(text, kMaxTextUnits, utf8);
    converted = {utf8, result.size_bytes};
  }
  const std::size_t size = EncodeError(StampAt(now_us, thread), call, hresult, result.marks,
                                       converted, {body, kTextBodyBytes});
  Must(body, size, Loss::kError);
  return call;
}

std::uint64_t Session::Done(std::uint32_t thread, std::uint32_t hresult,
                            HandleMatch handle) noexcept {
  if (!Usable()) return 0;
  const std::uint64_t call = slot_->Count(SessionSlot::kDones);
  unsigned char body[kSmallBodyBytes];
  const std::size_t size = EncodeDone(StampAt(NowUs(), thread), call, hresult, handle,
                                      {body, sizeof body - kFillBehindBytes});
  Must(body, size, Loss::kDone);
  return call;
}

void Session::Returned(std::uint32_t hresult, std::uint64_t duration_us, bool event_set) noexcept {
  if (!Usable()) return;
  unsigned char body[kSmallBodyBytes];
  const std::size_t size = EncodeReturned(StampAt(NowUs(), ThreadId()), hresult, duration_us,
                                          event_set, {body, sizeof body - kFillBehindBytes});
  Must(body, size, Loss::kOther);
}

void Session::Note(Text key, Text value) noexcept {
  if (key.data == nullptr || value.data == nullptr || !Usable()) return;
  unsigned char body[kSmallBodyBytes];
  const std::size_t size =
      EncodeNote(StampAt(NowUs(), ThreadId()), key, value, {body, sizeof body - kFillBehindBytes});
  Must(body, size, Loss::kOther);
}

Session::Inside Session::Enter(std::uint32_t thread, Method method, std::uint64_t call) noexcept {
  const std::uint64_t now_us = NowUs();
  InCallSlot* slot = nullptr;
  if (Usable()) slot = ring_->Enter(thread, method, now_us, id_, call);
  return {slot, method, call, now_us};
}

void Session::Leave(std::uint32_t thread, const Inside& inside, std::uint32_t hresult) noexcept {
  const bool blocked = inside.slot != nullptr && inside.slot->Leave();
  if (!Usable()) return;
  const std::uint64_t now_us = NowUs();
  const std::uint64_t duration_us = now_us - inside.since_us;
  slot_->CountInner(inside.method, duration_us);
  if (!blocked && hresult == 0 && duration_us < kInnerSlowUs) return;

  unsigned char body[kSmallBodyBytes];
  const Buffer scratch = {body, sizeof body - kFillBehindBytes};
  if (blocked) {
    const std::size_t size = EncodeUnblocked(StampAt(now_us, thread), inside.method, inside.call,
                                             inside.since_us, duration_us, scratch);
    Must(body, size, Loss::kOther);
  }
  if (hresult != 0 || duration_us >= kInnerSlowUs) {
    const std::size_t size = EncodeInner(StampAt(now_us, thread), inside.method, inside.call,
                                         hresult, duration_us, scratch);
    Must(body, size, Loss::kOther);
  }
}

bool Session::Must(unsigned char* body, std::size_t size_bytes, Loss loss) noexcept {
  if (ring_->Append(body, size_bytes, Room::kMust) != 0) return true;
  if (slot_ != nullptr) slot_->Count(SessionSlot::kLost);
  ring_->CountLost(loss);
  return false;
}

}  // namespace mapisync
