#include "session.h"

#include <cstring>

#include "msgpack_writer.h"
#include "platform.h"
#include "recorder.h"
#include "session_progress.h"

namespace mapisync {
namespace {

std::atomic<bool> nobody_forks{true};

}  // namespace

Stamp Session::StampAt(std::uint64_t time_us, std::uint32_t thread) const noexcept {
  return {0, time_us, thread, id_};
}

bool Session::Open(Ring* ring, const Recorder* recorder, const mapisync::Open& open) noexcept {
  ring_ = ring;
  usable_ = recorder != nullptr ? &recorder->usable() : &nobody_forks;
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
  template_used_ = kTemplateSessionAt + UintBytes(id_);
  std::memcpy(template_, body, template_used_);
  return true;
}

void Session::Close() noexcept {
  if (Usable()) ring_->CloseSession(slot_, NowUs(), ThreadId());
  slot_ = nullptr;
}

// Where the ring has no room for it.
MAPISYNC_NOINLINE std::uint64_t Session::MergeProgress(std::uint64_t call, std::uint32_t index,
                                                       std::uint32_t max, Text text) noexcept {
  slot_->Merge({call, ring_->CachedNowUs(), index, max, 0, text});
  return call;
}

// What Progress() leaves: long texts, those with lone surrogates, and numbers from 2^32 on.
// Apart, since the room that it needs on the stack is better not touched by others.
MAPISYNC_RARE std::uint64_t Session::RecordAnyProgress(std::uint32_t thread, std::uint64_t call,
                                                       const char16_t* text, std::uint32_t index,
                                                       std::uint32_t max) noexcept {
  char utf8[kMaxTextBytes + kUtf8SlackBytes];
  unsigned char body[kTextBodyBytes + kFillBehindBytes];
  ProgressCall progress = {call, ring_->CachedNowUs(), index, max, 0, {}};
  if (text != nullptr) {
    const Utf8Result result = Utf8FromUtf16(text, kMaxTextUnits, utf8);
    progress.marks = result.marks;
    progress.text = {utf8, result.size_bytes};
  }
  const std::size_t size = EncodeProgress(StampAt(0, thread), progress, {body, kTextBodyBytes});
  if (ring_->Append(body, size, Room::kProgress, thread) == 0) slot_->Merge(progress);
  return call;
}

std::uint64_t Session::Error(std::uint32_t thread, std::uint32_t hresult,
                             const char16_t* text) noexcept {
  if (!Usable()) return 0;
  const std::uint64_t call = slot_->Count(SessionSlot::kErrors);
  const std::uint64_t now_us = ring_->NowUs();
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
  Must(body, size, Loss::kError, thread);
  return call;
}

std::uint64_t Session::Done(std::uint32_t thread, std::uint32_t hresult,
                            HandleMatch handle) noexcept {
  if (!Usable()) return 0;
  const std::uint64_t call = slot_->Count(SessionSlot::kDones);
  unsigned char body[kSmallBodyBytes];
  const std::size_t size = EncodeDone(StampAt(ring_->NowUs(), thread), call, hresult, handle,
                                      {body, sizeof body - kFillBehindBytes});
  Must(body, size, Loss::kDone, thread);
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
  const std::uint64_t now_us = ring_->NowUs();
  InCallSlot* slot = nullptr;
  if (Usable()) slot = ring_->Enter(thread, method, now_us, id_, call);
  return {slot, method, call, now_us};
}

void Session::Leave(std::uint32_t thread, const Inside& inside, std::uint32_t hresult) noexcept {
  const bool blocked = inside.slot != nullptr && inside.slot->Leave();
  if (!Usable()) return;
  // The clock may step back by what it was corrected for.
  const std::uint64_t now_us = ring_->NowUs();
  const std::uint64_t duration_us = now_us > inside.since_us ? now_us - inside.since_us : 0;
  slot_->CountInner(inside.method, duration_us);
  if (blocked || hresult != 0 || duration_us >= kInnerSlowUs) {
    RecordInner(StampAt(now_us, thread), inside, blocked, hresult, duration_us);
  }
}

MAPISYNC_RARE void Session::RecordInner(const Stamp& stamp, const Inside& inside, bool blocked,
                                        std::uint32_t hresult, std::uint64_t duration_us) noexcept {
  unsigned char body[kSmallBodyBytes];
  const Buffer scratch = {body, sizeof body - kFillBehindBytes};
  if (blocked) {
    const std::size_t size =
        EncodeUnblocked(stamp, inside.method, inside.call, inside.since_us, duration_us, scratch);
    Must(body, size, Loss::kOther, stamp.thread);
  }
  if (hresult != 0 || duration_us >= kInnerSlowUs) {
    const std::size_t size =
        EncodeInner(stamp, inside.method, inside.call, hresult, duration_us, scratch);
    Must(body, size, Loss::kOther, stamp.thread);
  }
}

bool Session::Must(unsigned char* body, std::size_t size_bytes, Loss loss,
                   std::uint32_t thread) noexcept {
  if (ring_->Append(body, size_bytes, Room::kMust, thread) != 0) return true;
  if (slot_ != nullptr) slot_->Count(SessionSlot::kLost);
  ring_->CountLost(loss);
  return false;
}

}  // namespace mapisync
