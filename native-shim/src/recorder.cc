#include "recorder.h"

#include <cstring>

#include "limits.h"

namespace mapisync {
namespace {

// Dead rings that may lie about, so that ours can become one more.
constexpr unsigned kMostDeadRings = 8;
// How old the cached time may be at worst while a session is open.
constexpr std::uint32_t kClockResolutionUs = Worker::kPollMaxMs * 1000;
constexpr std::uint32_t kRingBytes = 3670016;
constexpr std::uint32_t kCodeBytes = 262144;
static_assert(kRingBytes + kThreadStackBytes + kCodeBytes <= 4194304, "All in all 4 MiB");
static_assert(kRingBytes <= kRingFileBytes, "What readers take");
constexpr std::uint32_t kBits = sizeof(void*) * 8;

void PutHex(const unsigned char* bytes, std::size_t size_bytes, char* out) noexcept {
  for (std::size_t i = 0; i < size_bytes; i++) {
    *out++ = "0123456789abcdef"[bytes[i] >> 4];
    *out++ = "0123456789abcdef"[bytes[i] & 15];
  }
  *out = '\0';
}

Text AsText(const char* text) noexcept {
  return {text, static_cast<std::uint32_t>(std::strlen(text))};
}

}  // namespace

#if defined(__clang__)
[[clang::require_constant_initialization]]
#endif
Recorder Recorder::the_;

Recorder* Recorder::Start(bool force) noexcept {
  for (;;) {
    std::uint32_t phase = the_.phase_.load(std::memory_order_acquire);
    if (phase == kOn) return &the_;
    if (phase == kOff) return nullptr;
    if (phase == kStarting) {
      SleepMs(1);
      continue;
    }
    if (!the_.phase_.compare_exchange_strong(phase, kStarting, std::memory_order_acquire)) continue;
    const Outcome outcome = the_.Begin(force);
    const Phase next = outcome == Outcome::kStarted   ? kOn
                       : outcome == Outcome::kDormant ? kIdle
                                                      : kOff;
    the_.phase_.store(next, std::memory_order_release);
    return outcome == Outcome::kStarted ? &the_ : nullptr;
  }
}

Recorder* Recorder::Current() noexcept {
  return the_.phase_.load(std::memory_order_acquire) == kOn ? &the_ : nullptr;
}

Recorder::Outcome Recorder::Begin(bool force) noexcept {
  if (IsSwitchedOff()) return Outcome::kOff;
  // Others may see to it that the directory is there, or private, before the next attach.
  if (FindStateDir(force, &state_dir_) != StateDir::kUsable) return Outcome::kDormant;
  if (!watches_forks_ && !OnForkInChild(AfterForkInChild)) return Outcome::kOff;
  watches_forks_ = true;
  PinModule();
  if (!MakeRing()) return Outcome::kOff;

  Hello hello = {};
  hello.ring_id = ring_id_;
  hello.pid = ProcessId();
  hello.bits = kBits;
  hello.executable = AsText(executable_);
  hello.version = AsText(MAPISYNC_VERSION);
  hello.clock_resolution_us = kClockResolutionUs;
  hello.in_memory = !file_.in_file;
  worker_.Begin(&ring_, &state_dir_, hello);
  usable_.store(true, std::memory_order_relaxed);
  if (worker_.Start()) return Outcome::kStarted;
  usable_.store(false, std::memory_order_relaxed);
  DiscardRingFile(&file_);
  return Outcome::kOff;
}

bool Recorder::MakeRing() noexcept {
  if (!RandomBytes(ring_id_, sizeof ring_id_)) return false;
  char name[2 * sizeof ring_id_ + 1];
  PutHex(ring_id_, sizeof ring_id_, name);
  ExecutableName(executable_, sizeof executable_);

  RingIdentity identity = {};
  std::memcpy(identity.ring_id, ring_id_, sizeof ring_id_);
  BootId(identity.boot_id);
  identity.pid = ProcessId();
  identity.bits = kBits;
  identity.wall_us = WallUs();
  identity.time_us = NowUs();
  identity.clock_resolution_us = kClockResolutionUs;
  identity.executable = executable_;
  identity.version = MAPISYNC_VERSION;

  overwritten_ = DeleteDeadRings(state_dir_, kMostDeadRings - 1);
  if (CreateRingFile(state_dir_, name, kRingBytes, &file_)) {
    ring_.Format(file_.memory, kRingBytes, identity);
    ring_.CountLost(Loss::kOther, overwritten_);
    ring_.Publish();
    if (PublishRingFile(state_dir_, name, &file_)) return true;
    DiscardRingFile(&file_);
  }
  if (!AllocateRing(kRingBytes, &file_)) return false;
  ring_.Format(file_.memory, kRingBytes, identity);
  ring_.CountLost(Loss::kOther, overwritten_);
  ring_.Publish();
  return true;
}

void Recorder::Wake() noexcept {
  // The first Progress of this session may come before the worker has woken up.
  ring_.SetCachedNowUs(NowUs());
  worker_.Wake();
}

bool Recorder::Flush(std::uint32_t timeout_ms) noexcept {
  if (!Usable()) return false;
  const std::uint64_t deadline_us = NowUs() + std::uint64_t{timeout_ms} * 1000;
  if (timeout_ms > 0) worker_.Wake();
  // First what stands in slots alone has to become a record.
  std::uint64_t target = UINT64_MAX;
  for (;;) {
    if (target == UINT64_MAX && !HasUnrecorded()) target = ring_.recorded();
    if (target != UINT64_MAX && ring_.freed() >= target) return true;
    if (NowUs() >= deadline_us) return false;
    SleepMs(1);
  }
}

bool Recorder::HasUnrecorded() noexcept {
  const std::uint32_t used = ring_.sessions_used();
  for (std::uint32_t i = 0; i < used; i++) {
    const SessionSlot& slot = ring_.session(i);
    const SessionSlot::State state = slot.state();
    if (state == SessionSlot::kClosing) return true;
    if (state == SessionSlot::kOpen && slot.has_merged()) return true;
  }
  return false;
}

void Recorder::GetStatus(mapisync_status* status) noexcept {
  mapisync_status now = {};
  Recorder* const recorder = Current();
  if (recorder != nullptr && recorder->Usable()) {
    Ring& ring = recorder->ring_;
    const LostCounts lost = ring.lost();
    now.recording = 1;
    now.in_file = recorder->file_.in_file ? 1 : 0;
    now.connected = recorder->worker_.is_connected() ? 1 : 0;
    now.recorded = ring.recorded();
    now.acknowledged = ring.freed();
    now.merged = ring.merged();
    // Without what a process before us lost.
    now.lost = lost.opens + lost.progress + lost.errors + lost.dones + lost.others -
               recorder->overwritten_;
  }
  const std::uint32_t size = status->size;
  now.size = size;
  std::memcpy(status, &now, size < sizeof now ? size : sizeof now);
}

void Recorder::AfterForkInChild() noexcept {
  const bool was_on = the_.phase_.exchange(kOff, std::memory_order_relaxed) == kOn;
  the_.usable_.store(false, std::memory_order_relaxed);
  if (!was_on) return;
  the_.worker_.CloseInChild();
  DetachRing(&the_.file_);
}

}  // namespace mapisync
