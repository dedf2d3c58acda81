// Which object each thread is inside: hazard pointers. They keep an object as it is while a call
// runs in it, as a reference of the call's own would, but cost the call two plain stores where a
// reference costs two locked operations: with one thread, a quarter of a `progress`. The thread
// that lets go of the last reference pays instead, with a barrier in all threads of the process.
#ifndef MAPISYNC_SRC_HAZARDS_H_
#define MAPISYNC_SRC_HAZARDS_H_

#include <atomic>
#include <cstdint>

#include "inlining.h"

namespace mapisync {

class alignas(4 * sizeof(void*)) Hazard {
 public:
  // How many threads may have one at a time.
  static constexpr std::uint32_t kMaxThreads = 256;

  // Before the first Enter(), any thread. May take some milliseconds.
  static void Begin() noexcept;

  // Before a call of the object. Returns the thread's own, null if it has none, is inside another
  // object already, or the system has no such barrier: then the call must hold a reference.
  static Hazard* Enter(std::uint32_t thread, const void* object) noexcept {
    Hazard& first = At(thread, 0);
    Hazard* own = &first;
    if (!MAPISYNC_LIKELY(first.thread_.load(std::memory_order_relaxed) == thread)) {
      own = Find(thread);
      if (own == nullptr) return nullptr;
    }
    if (!MAPISYNC_LIKELY(own->object_.load(std::memory_order_relaxed) == nullptr)) return nullptr;
    own->object_.store(object, std::memory_order_relaxed);
    // The processor may do it later; HandOver() makes up for that. The compiler may not.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return own;
  }
  // Behind the call. Returns the object that HandOver() left here, null in nearly all cases.
  void* Leave() noexcept {
    object_.store(nullptr, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (MAPISYNC_LIKELY(left_.load(std::memory_order_relaxed) == nullptr)) return nullptr;
    return TakeLeft();
  }
  // Whether a call runs in the object. Then one of them gets it from Leave(), and has to ask anew.
  static bool HandOver(void* object) noexcept;

 private:
  static constexpr unsigned kHashBits = 8;
  static_assert(1u << kHashBits == kMaxThreads, "A thread's number chooses where it begins");
  // Of one cache line.
  static constexpr std::uint32_t kPlacesOfAThread = sizeof(void*) == 8 ? 2 : 4;

  static Hazard& At(std::uint32_t thread, std::uint32_t place) noexcept {
    return table_[(thread * 2654435761u >> (32 - kHashBits)) ^ place];
  }
  static Hazard* Find(std::uint32_t thread) noexcept;
  void* TakeLeft() noexcept;
  static void Forget() noexcept;

  static Hazard table_[kMaxThreads];

  std::atomic<std::uint32_t> thread_;  // Whose it is; 0: nobody's yet.
  std::atomic<const void*> object_;
  std::atomic<void*> left_;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_HAZARDS_H_
