#include "ring.h"

#include <cstring>

#include "crc32c.h"
#include "inlining.h"
#include "msgpack_writer.h"
#include "processor.h"
#include "ring_append.h"

namespace mapisync {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;
constexpr auto kAcqRel = std::memory_order_acq_rel;

static_assert(offsetof(RingHeader, clock_resolution_us) == 80, "PROTOCOL.md, header");
static_assert(offsetof(RingHeader, executable) == 96, "PROTOCOL.md, header");
static_assert(offsetof(RingHeader, version) == 352, "PROTOCOL.md, header");
static_assert(offsetof(RingHeader, tail) == 512, "PROTOCOL.md, header");
static_assert(offsetof(RingHeader, head) == 576, "PROTOCOL.md, header");
static_assert(offsetof(RingHeader, lost) == 640, "PROTOCOL.md, header");
static_assert(offsetof(RingHeader, cached_now_us) == 704, "PROTOCOL.md, header");
static_assert(offsetof(RingHeader, inside) == 1024, "PROTOCOL.md, header");
static_assert(offsetof(RingHeader, sessions) == 4096, "PROTOCOL.md, header");

constexpr char kMagic[] = "MAPIRING";
constexpr std::uint64_t kFirstSeq = 1;

// A body shorter than the fixed part of its header is none.
constexpr std::size_t kMinBodyBytes = 26;

// So long a thread that was a moment too late leaves the cache lines to the others, about a
// microsecond: a bound, not a wait. With several busy threads all are through sooner for it.
constexpr int kPausesAfterLoss = 32;

// u16 size, then the bytes.
void PutString(unsigned char* out, std::size_t room, const char* text) noexcept {
  const std::size_t whole = std::strlen(text);
  const std::uint16_t size = static_cast<std::uint16_t>(whole < room - 2 ? whole : room - 2);
  std::memcpy(out, &size, 2);
  std::memcpy(out + 2, text, size);
}

}  // namespace

std::uint32_t RecordCrc(std::uint64_t committed_word, const unsigned char* body,
                        std::size_t size_bytes) noexcept {
  const std::uint32_t crc = Crc32c(Crc32c(0, &committed_word, 8), body, size_bytes);
  return crc == 0 ? 0xffffffff : crc;
}

void Ring::Format(void* memory, std::size_t bytes, const RingIdentity& identity) noexcept {
  View(memory, bytes);
  RingHeader& h = *header_;
  h.layout = kRingLayout;
  h.data_offset = kRingDataOffset;
  std::memcpy(h.ring_id, identity.ring_id, sizeof h.ring_id);
  h.data_bytes = data_bytes();
  h.pid = identity.pid;
  h.bits = identity.bits;
  h.wall_us = identity.wall_us;
  h.time_us = identity.time_us;
  std::memcpy(h.boot_id, identity.boot_id, sizeof h.boot_id);
  h.clock_resolution_us = identity.clock_resolution_us;
  PutString(h.executable, sizeof h.executable, identity.executable);
  PutString(h.version, sizeof h.version, identity.version);
  const std::uint64_t first = Place::Of(kFirstSeq, 0).value;
  h.tail.store(first, kRelaxed);
  h.head.store(first, kRelaxed);
  h.retired.store(first, kRelaxed);
  h.cached_now_us.store(identity.time_us, kRelaxed);
  sessions_used_.store(0, kRelaxed);
}

void Ring::Publish() noexcept {
  std::uint64_t magic;
  std::memcpy(&magic, kMagic, 8);
  header_->magic.store(magic, kRelease);
}

void Ring::View(void* memory, std::size_t bytes) noexcept {
  header_ = static_cast<RingHeader*>(memory);
  data_ =
      reinterpret_cast<std::atomic<std::uint64_t>*>(static_cast<char*>(memory) + kRingDataOffset);
  units_ = static_cast<std::uint32_t>((bytes - kRingDataOffset) / 8);
  watermark_units_ = units_ / 100 * kProgressWatermarkPercent;
  sessions_used_.store(kMaxSessionsPerRing, kRelaxed);
  for (Lately& lately : lately_) lately.place.store(0, kRelaxed);
}

Place Ring::tail() const noexcept { return TailFrom({}); }

Place Ring::TailFrom(Place at) const noexcept {
  const Place kept = {header_->tail.load(kAcquire)};
  if (at.value < kept.value) at = kept;
  for (;;) {
    const Word word = {word_at(at.unit()).load(kAcquire)};
    if (word.state() == Word::kFree || word.seq() != at.seq()) return at;
    at = NextOf(at, word);
  }
}

std::uint64_t Ring::Append(unsigned char* body, std::size_t size_bytes, Room room,
                           std::uint32_t thread) noexcept {
  if (size_bytes - kMinBodyBytes > Word::kMaxSizeBytes - kMinBodyBytes) return 0;
  std::memset(body + size_bytes, 0, kFillBehindBytes);
  Attempt attempt;
  attempt.thread = thread;
  do {
    if (!Prepare(size_bytes, false, room, &attempt)) return 0;
    PatchSeq(body, attempt.at.seq());
  } while (!Claim(attempt));
  FillAndCommit(attempt, body, size_bytes);
  return attempt.at.seq();
}

// Once for all, but for AppendInline().
MAPISYNC_NOINLINE void Ring::FillAndCommit(const Attempt& attempt, const unsigned char* body,
                                           std::size_t size_bytes) noexcept {
  Fill(attempt, body, size_bytes);
  Commit(attempt);
}

MAPISYNC_RARE std::uint64_t Ring::AppendOpen(const Stamp& stamp, const Open& open,
                                             SessionSlot* slot) noexcept {
  unsigned char body[kSmallBodyBytes];
  const Buffer scratch = {body, sizeof body - kFillBehindBytes};
  // Without its session, whose size is known together with the seq.
  Stamp header = stamp;
  header.session = 0;
  const std::size_t size = EncodeOpen(header, open, scratch);
  if (size == 0) return 0;
  Attempt attempt;
  do {
    if (!Prepare(size - 1, true, Room::kMust, &attempt)) return 0;
  } while (!Claim(attempt));
  const std::uint64_t seq = attempt.at.seq();
  header.seq = seq;
  header.session = seq;
  EncodeOpen(header, open, scratch);
  std::memset(body + attempt.word.size_bytes(), 0, kFillBehindBytes);
  if (slot != nullptr) slot->SetSession(seq, stamp.time_us);
  FillAndCommit(attempt, body, attempt.word.size_bytes());
  return seq;
}

MAPISYNC_RARE bool Ring::Prepare(std::size_t body_bytes, bool own_seq, Room room,
                                 Attempt* attempt) const noexcept {
  if (!own_seq) {
    const Look look = PrepareHere(body_bytes, room, attempt);
    if (look != Look::kElsewhere) return look == Look::kReady;
  }
  for (;;) {
    const Place tail = TailFrom({lately_[LatelyOf(attempt->thread)].place.load(kAcquire)});
    const Place head = {header_->head.load(kAcquire)};
    if (head.seq() > tail.seq()) continue;  // The tail moved on a whole lap ago.
    const std::size_t size = body_bytes + (own_seq ? UintBytes(tail.seq()) : 0);
    if (size > Word::kMaxSizeBytes) return false;
    const std::uint32_t units = RecordUnits(static_cast<std::uint32_t>(size));
    const std::uint32_t limit = room == Room::kProgress ? watermark_units_ : units_ - 1;
    const std::uint32_t unit = tail.unit();
    std::uint32_t after = unit - head.unit() + units;
    if (unit < head.unit()) after += units_;
    attempt->at = tail;
    attempt->record = &word_at(unit);
    if (unit + units <= units_) {
      if (after > limit) return false;
      attempt->word = Word::Of(tail.seq(), static_cast<std::uint32_t>(size), Word::kReserved);
      attempt->next = Behind(tail, units);
    } else {
      if (after + (units_ - unit) > limit) return false;
      attempt->word = Word::Of(tail.seq(), 0, Word::kPad);
      attempt->next = NextOf(tail, attempt->word);
    }
    return true;
  }
}

bool Ring::Claim(const Attempt& attempt) noexcept {
  if (!Win(attempt)) return false;
  MoveTail(attempt);
  return attempt.word.state() != Word::kPad;
}

// An overtaken thread's leftover gives way. Anything else means that somebody was first, or that we
// are overtaken, and that what we look at is another record's: then the thread pauses.
MAPISYNC_RARE bool Ring::ReplaceLeftover(Place at, Word ours, Word found) noexcept {
  if (found.seq() >= at.seq() || IsRetired(at)) {
    for (int i = 0; i < kPausesAfterLoss; i++) Pause();
    return false;
  }
  return word_at(at.unit()).compare_exchange_strong(found.value, ours.value, kAcqRel, kRelaxed);
}

// The tail went round the whole ring since Prepare(): this is not the place of our record.
MAPISYNC_RARE void Ring::GiveBack(Place at, Word ours) noexcept {
  word_at(at.unit()).compare_exchange_strong(ours.value, 0, kAcqRel, kRelaxed);
}

MAPISYNC_NOINLINE void Ring::KeepTail(Place to) noexcept {
  std::uint64_t kept = header_->tail.load(kRelaxed);
  while (Place{kept}.seq() < to.seq() &&
         !header_->tail.compare_exchange_weak(kept, to.value, kAcqRel, kRelaxed)) {
  }
}

LostCounts Ring::lost() const noexcept {
  const auto get = [this](Loss loss) {
    return header_->lost[static_cast<int>(loss)].load(kRelaxed);
  };
  return {get(Loss::kOpen), get(Loss::kProgress), get(Loss::kError), get(Loss::kDone),
          get(Loss::kOther)};
}

std::uint64_t Ring::merged() const noexcept {
  std::uint64_t sum = merged_before_.load(kRelaxed);
  const std::uint32_t used = sessions_used();
  for (std::uint32_t i = 0; i < used; i++) {
    const SessionSlot& slot = header_->sessions[i];
    if (slot.state() >= SessionSlot::kOpen) sum += slot.counters().merged;
  }
  return sum;
}

SessionSlot* Ring::ClaimSession() noexcept {
  for (std::uint32_t i = 0; i < kMaxSessionsPerRing; i++) {
    if (!header_->sessions[i].Claim()) continue;
    std::uint32_t used = sessions_used_.load(kRelaxed);
    while (used <= i && !sessions_used_.compare_exchange_weak(used, i + 1, kRelease, kRelaxed)) {
    }
    return &header_->sessions[i];
  }
  return nullptr;
}

std::uint32_t Ring::used_bytes() const noexcept {
  const std::uint32_t from = head().unit();
  const std::uint32_t to = tail().unit();
  return (to >= from ? to - from : to + units_ - from) * 8;
}

void Ring::CloseSession(SessionSlot* slot, std::uint64_t time_us, std::uint32_t thread) noexcept {
  slot->SetState(SessionSlot::kClosing);
  if (!slot->TryLock()) return;
  RecordSlot(slot, time_us, thread);
  slot->Unlock();
}

Place Ring::NextOf(Place at, Word word) const noexcept {
  if (word.state() == Word::kPad) return Place::Of(at.seq(), 0);
  return Behind(at, RecordUnits(word.size_bytes()));
}

Place Ring::Behind(Place at, std::uint32_t units) const noexcept {
  const std::uint32_t unit = at.unit() + units;
  return Place::Of(at.seq() + 1, unit >= units_ ? 0 : unit);
}

}  // namespace mapisync
