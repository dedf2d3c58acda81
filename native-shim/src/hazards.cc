#include "hazards.h"

#include "platform.h"

namespace mapisync {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;

std::atomic<bool> begun;
std::atomic<bool> has_barrier;

// How often HandOver() looks anew where another object is being handed to the same thread, which
// takes some microseconds.
constexpr int kRounds = 64;

}  // namespace

Hazard Hazard::table_[kMaxThreads];

void Hazard::Begin() noexcept {
  if (begun.load(kRelaxed) || begun.exchange(true, kRelaxed) || !CanBarrierAllThreads()) return;
  OnThreadEnd(Forget);
  has_barrier.store(true, kRelease);
}

Hazard* Hazard::Find(std::uint32_t thread) noexcept {
  if (!has_barrier.load(kAcquire)) return nullptr;
  for (std::uint32_t place = 0; place < kPlacesOfAThread; place++) {
    Hazard& hazard = At(thread, place);
    std::uint32_t owner = hazard.thread_.load(kRelaxed);
    if (owner == thread) return &hazard;
    if (owner != 0 || !hazard.thread_.compare_exchange_strong(owner, thread, kAcquire, kRelaxed)) {
      continue;
    }
    WatchThreadEnd();
    return &hazard;
  }
  return nullptr;
}

MAPISYNC_RARE void* Hazard::TakeLeft() noexcept {
  return left_.exchange(nullptr, std::memory_order_acquire);
}

// The calling thread ends. One that ends inside of a call keeps its place, and the object open.
void Hazard::Forget() noexcept {
  const std::uint32_t thread = ThreadId();
  for (std::uint32_t place = 0; place < kPlacesOfAThread; place++) {
    Hazard& hazard = At(thread, place);
    const bool own = hazard.thread_.load(kRelaxed) == thread;
    if (own && hazard.object_.load(kRelaxed) == nullptr) hazard.thread_.store(0, kRelease);
  }
}

bool Hazard::HandOver(void* object) noexcept {
  if (!has_barrier.load(kRelaxed)) return false;
  for (int round = 0; round < kRounds; round++) {
    bool again = false;
    // From here on, a call that is not seen inside sees what the caller did before.
    BarrierAllThreads();
    for (Hazard& hazard : table_) {
      if (hazard.object_.load(kAcquire) != object) continue;
      void* left = nullptr;
      if (!hazard.left_.compare_exchange_strong(left, object, kRelease, kRelaxed)) {
        if (left == object) return true;
        again = true;
        continue;
      }
      BarrierAllThreads();
      if (hazard.object_.load(kAcquire) == object) return true;
      // It came out meanwhile, with the object or without.
      left = object;
      if (!hazard.left_.compare_exchange_strong(left, nullptr, kAcquire, kRelaxed)) return true;
    }
    if (!again) return false;
  }
  return true;  // Rather never closed than closed under a call.
}

}  // namespace mapisync
