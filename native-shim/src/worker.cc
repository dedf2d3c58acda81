#include "worker.h"

#include "hole.h"
#include "limits.h"

namespace mapisync {
namespace {

// How often the slots are looked at: a call counts as blocked after a hundred times that.
constexpr std::uint32_t kSweepMs = 20;
constexpr std::uint32_t kClockMs = 60000;
// A record that stays reserved for so long is looked into.
constexpr std::uint32_t kStuckMs = 1000;
// Checksums in one round, so that a long back-log does not make the cached clock stale.
constexpr std::uint32_t kMostStampedBytes = 262144;
// After so many rounds without anything to do the polls become rarer.
constexpr std::uint32_t kIdlePolls = 32;

constexpr std::uint64_t Us(std::uint32_t ms) noexcept { return std::uint64_t{ms} * 1000; }

}  // namespace

void Worker::Begin(Ring* ring, const Path* state_dir, const Hello& hello) noexcept {
  ring_ = ring;
  stamped_ = ring->head();
  seq_at_clock_ = stamped_.seq();
  delivery_.Begin(ring, state_dir, hello);
}

bool Worker::Start() noexcept { return event_.Init() && StartThread(Run, this); }

void Worker::Wake() noexcept { event_.Set(); }

void Worker::Run(void* self) noexcept {
  auto* const worker = static_cast<Worker*>(self);
  QuickClock& clock = worker->ring_->clock();
  const bool steady = HasSteadyTicks();
  for (;;) {
    const std::uint64_t now_us = NowUs();
    if (steady) clock.Observe(now_us);
    const std::uint32_t ms = worker->Poll(now_us, WallUs());
    if (ms == Event::kForever) clock.Stop();
    worker->event_.Wait(ms, worker->delivery_.unsent());
  }
}

std::uint32_t Worker::Poll(std::uint64_t now_us, std::uint64_t wall_us) noexcept {
  // An attach sets it too; it must not step back behind the time of that `open`.
  if (ring_->CachedNowUs() < now_us) ring_->SetCachedNowUs(now_us);

  bool moved = StampRecords(now_us);
  const bool sweep = now_us >= next_sweep_us_;
  if (sweep) moved |= Sweep(now_us, wall_us);
  moved |= delivery_.Step(now_us, stamped_);
  idle_polls_ = moved ? 0 : idle_polls_ + 1;

  const bool open_session = HasOpenSession();
  const bool unacknowledged = ring_->head().seq() != ring_->tail().seq();
  if (!open_session && !unacknowledged) {
    // Only after a last look at what was merged or lost, which is no record yet.
    return sweep && !moved ? Event::kForever : kPollMaxMs;
  }
  if (!open_session && delivery_.is_waiting() && stamped_.seq() == ring_->tail().seq()) {
    // All there is to do is to try again.
    const std::uint64_t next_us = delivery_.NextUs();
    return next_us <= now_us ? kPollMinMs
                             : static_cast<std::uint32_t>((next_us - now_us) / 1000 + 1);
  }
  if (idle_polls_ < kIdlePolls) return kPollMinMs;
  const std::uint32_t slower = kPollMinMs + (idle_polls_ - kIdlePolls) / 4;
  return slower < kPollMaxMs ? slower : kPollMaxMs;
}

// Moves on over all that is committed. Returns whether there was anything.
bool Worker::StampRecords(std::uint64_t now_us) noexcept {
  bool moved = false;
  std::uint32_t stamped_bytes = 0;
  while (stamped_bytes < kMostStampedBytes) {
    Place at = stamped_;
    const Ring::Record record = ring_->Peek(&at);
    if (record.state == Ring::Record::State::kEmpty) {
      stuck_since_us_ = 0;
      break;
    }
    if (record.state == Ring::Record::State::kReserved) {
      // Its thread is between two instructions, and may be kept from running for long.
      if (stuck_since_us_ == 0) stuck_since_us_ = now_us;
      if (now_us - stuck_since_us_ < Us(kStuckMs)) break;
      const std::uint32_t thread = ReservedBy(ring_, at);
      stuck_since_us_ = now_us;
      if (thread == 0 || !IsThreadDead(thread)) break;
      // It may have come to its end between the two looks, with the record committed.
      if (ring_->Peek(&at).state == Ring::Record::State::kReserved) {
        FillHole(ring_, at, record, now_us);
      }
      continue;
    }
    ring_->StampCrc(at, record);
    stamped_ = ring_->Next(at, record);
    stamped_bytes += record.size_bytes;
    stuck_since_us_ = 0;
    moved = true;
  }
  return moved;
}

// Records what the slots and counters have to say. Returns whether there was anything.
bool Worker::Sweep(std::uint64_t now_us, std::uint64_t wall_us) noexcept {
  next_sweep_us_ = now_us + Us(kSweepMs);
  if (next_clock_us_ == 0) next_clock_us_ = now_us + Us(kClockMs);
  const std::uint32_t thread = ThreadId();
  unsigned recorded = ring_->RecordBlocked(now_us);
  recorded += ring_->RecordSlots(now_us, thread);
  recorded += ring_->RecordLost(now_us, thread, &told_lost_);
  const std::uint64_t seq = ring_->tail().seq();
  if (now_us >= next_clock_us_ && seq != seq_at_clock_) {
    next_clock_us_ = now_us + Us(kClockMs);
    unsigned char body[kSmallBodyBytes];
    const std::size_t size = EncodeClock({0, now_us, thread, 0}, wall_us, {body, sizeof body - 8});
    ring_->Append(body, size, Room::kProgress);
    seq_at_clock_ = ring_->tail().seq();
  }
  return recorded != 0;
}

bool Worker::HasOpenSession() noexcept {
  const std::uint32_t used = ring_->sessions_used();
  for (std::uint32_t i = 0; i < used; i++) {
    if (ring_->session(i).state() != SessionSlot::kFree) return true;
  }
  return false;
}

}  // namespace mapisync
