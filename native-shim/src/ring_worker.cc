// The worker's half of the ring: takes records out, gives their space back, and records what only
// it can tell.
#include <cstring>

#include "ring.h"

namespace mapisync {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;

}  // namespace

Ring::Record Ring::Peek(Place* at) noexcept {
  for (;;) {
    const Word word = {word_at(at->unit()).load(kAcquire)};
    if (word.state() == Word::kFree || word.seq() != at->seq()) {
      return {Record::State::kEmpty, at->seq(), nullptr, 0};
    }
    if (word.state() == Word::kPad) {
      *at = NextOf(*at, word);
      continue;
    }
    if (word.state() == Word::kReserved) {
      return {Record::State::kReserved, word.seq(), nullptr, word.size_bytes()};
    }
    const unsigned char* record = reinterpret_cast<const unsigned char*>(&word_at(at->unit()));
    return {Record::State::kCommitted, word.seq(), record + kRecordHeaderBytes, word.size_bytes()};
  }
}

Place Ring::Next(Place at, const Record& record) const noexcept {
  return NextOf(at, Word::Of(record.seq, record.size_bytes, Word::kCommitted));
}

void Ring::StampCrc(Place at, const Record& record) noexcept {
  auto* crc = reinterpret_cast<std::atomic<std::uint32_t>*>(&word_at(at.unit()) + 1);
  if (crc->load(kRelaxed) != 0) return;
  const Word word = Word::Of(record.seq, record.size_bytes, Word::kCommitted);
  crc->store(RecordCrc(word.value, record.body, record.size_bytes), kRelease);
}

void Ring::FreeTo(std::uint64_t seq) noexcept {
  const Place from = head();
  const Place tail = this->tail();
  Place end = from;
  // Calls of one session mostly follow one another, so only the last of each run is kept.
  std::uint64_t session = 0;
  std::uint64_t newest = 0;
  const unsigned char* its_body = nullptr;
  std::uint32_t its_size = 0;
  const auto keep = [&]() noexcept {
    std::uint64_t its_session;
    ProgressCall call;
    if (its_body != nullptr && DecodeProgress(its_body, its_size, &its_session, &call)) {
      KeepNewest(its_session, call);
    }
  };
  for (Place at = from; at != tail && at.seq() <= seq;) {
    const Word word = {word_at(at.unit()).load(kAcquire)};
    const unsigned char* body =
        reinterpret_cast<const unsigned char*>(&word_at(at.unit())) + kRecordHeaderBytes;
    std::uint64_t other;
    std::uint64_t call;
    if (word.state() == Word::kCommitted && PeekProgress(body, word.size_bytes(), &other, &call)) {
      if (other != session) keep();
      if (other != session || call > newest) {
        newest = call;
        its_body = body;
        its_size = word.size_bytes();
      }
      session = other;
    }
    at = NextOf(at, word);
    // A pad goes together with the record behind it, so that `retired` always moves on by a seq.
    if (word.state() != Word::kPad) end = at;
  }
  keep();
  if (end == from) return;

  KeepTail(end);
  header_->retired.store(end.value, kRelease);
  for (std::uint32_t unit = from.unit(); unit != end.unit();) {
    word_at(unit).store(0, kRelease);
    if (++unit == units_) unit = 0;
  }
  header_->head.store(end.value, kRelease);
}

unsigned Ring::RecordSlots(std::uint64_t time_us, std::uint32_t thread) noexcept {
  unsigned recorded = 0;
  const std::uint32_t used = sessions_used();
  for (std::uint32_t i = 0; i < used; i++) {
    SessionSlot& slot = header_->sessions[i];
    const SessionSlot::State state = slot.state();
    const bool due =
        state == SessionSlot::kClosing || (state == SessionSlot::kOpen && slot.has_merged());
    if (!due || !slot.TryLock()) continue;
    recorded += RecordSlot(&slot, time_us, thread);
    slot.Unlock();
  }
  return recorded;
}

// Under the slot's writer flag, which keeps `merged` of one thread from coming behind `close` of
// another.
unsigned Ring::RecordSlot(SessionSlot* slot, std::uint64_t time_us, std::uint32_t thread) noexcept {
  const SessionSlot::State state = slot->state();
  if (state < SessionSlot::kOpen) return 0;
  const bool closing = state == SessionSlot::kClosing;
  const Stamp stamp = {0, time_us, thread, slot->session()};
  unsigned char body[kSmallBodyBytes];
  const Buffer scratch = {body, sizeof body - kFillBehindBytes};
  unsigned recorded = 0;
  if (slot->TakeMerged()) {
    NewestCall newest;
    slot->ReadNewest(&newest);
    const std::size_t size = EncodeMerged(stamp, slot->counters(), newest.call, scratch);
    if (Append(body, size, closing ? Room::kMust : Room::kProgress) == 0) {
      slot->PutBackMerged();
      return 0;
    }
    recorded++;
  }
  if (!closing) return recorded;
  const std::size_t size = EncodeClose(stamp, slot->counters(), scratch);
  if (Append(body, size, Room::kMust) == 0) return recorded;
  merged_before_.fetch_add(slot->counters().merged, kRelaxed);
  slot->SetState(SessionSlot::kFree);
  return recorded + 1;
}

unsigned Ring::RecordBlocked(std::uint64_t time_us) noexcept {
  unsigned recorded = 0;
  for (InCallSlot& slot : header_->inside) {
    InsideCall inside;
    if (!slot.Read(&inside) || inside.blocked_recorded) continue;
    if (time_us < inside.since_us + std::uint64_t{kBlockedAfterMs} * 1000) continue;
    const Stamp stamp = {0, time_us, inside.thread, inside.session};
    unsigned char body[kSmallBodyBytes];
    const Buffer scratch = {body, sizeof body - kFillBehindBytes};
    std::size_t size = EncodeBlocked(stamp, inside.method, inside.call, inside.since_us, scratch);
    if (Append(body, size, Room::kMust) == 0) continue;  // Again at the next look.
    recorded++;
    if (slot.MarkBlocked(inside)) continue;
    size = EncodeUnblocked(stamp, inside.method, inside.call, inside.since_us,
                           time_us - inside.since_us, scratch);
    if (Append(body, size, Room::kMust) != 0) {
      recorded++;
    } else {
      CountLost(Loss::kOther);
    }
  }
  return recorded;
}

unsigned Ring::RecordLost(std::uint64_t time_us, std::uint32_t thread, LostCounts* told) noexcept {
  const LostCounts now = lost();
  if (std::memcmp(&now, told, sizeof now) == 0) return 0;
  unsigned char body[kSmallBodyBytes];
  const std::size_t size =
      EncodeLost({0, time_us, thread, 0}, now, {body, sizeof body - kFillBehindBytes});
  if (Append(body, size, Room::kMust) == 0) return 0;
  *told = now;
  return 1;
}

void Ring::KeepNewest(std::uint64_t session, const ProgressCall& call) noexcept {
  Hint& hint = hints_[session % kHints];
  if (hint.session != session) {
    // A session that is closed has no slot, and never gets one again.
    hint = {session, nullptr};
    const std::uint32_t used = sessions_used();
    for (std::uint32_t i = 0; i < used && hint.slot == nullptr; i++) {
      if (header_->sessions[i].session() == session) hint.slot = &header_->sessions[i];
    }
  }
  if (hint.slot != nullptr) hint.slot->Keep(session, call);
}

}  // namespace mapisync
