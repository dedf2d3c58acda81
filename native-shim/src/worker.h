// The one thread of the shim. It polls, so that no call of the host has to wake it: stamps
// checksums, keeps the cached clock fresh, records what the slots have to say, and moves Delivery
// on. It touches nothing of the host's.
#ifndef MAPISYNC_SRC_WORKER_H_
#define MAPISYNC_SRC_WORKER_H_

#include <cstdint>

#include "delivery.h"
#include "frames.h"
#include "platform.h"
#include "ring.h"

namespace mapisync {

class Worker {
 public:
  static constexpr std::uint32_t kPollMinMs = 1;
  static constexpr std::uint32_t kPollMaxMs = 25;

  // Everything is borrowed for good. Call Run() or Poll() after it.
  void Begin(Ring* ring, const Path* state_dir, const Hello& hello) noexcept;
  // Starts the thread. False: cannot.
  [[nodiscard]] bool Start() noexcept;
  // Any thread; makes a system call.
  void Wake() noexcept;

  // One round of the thread's work at this time. Returns how many milliseconds the next may wait;
  // Event::kForever: until Wake(). For the thread, and for tests that drive the time.
  std::uint32_t Poll(std::uint64_t now_us, std::uint64_t wall_us) noexcept;

  bool is_connected() const noexcept { return delivery_.is_connected(); }
  // In a forked child, where the thread does not exist.
  void CloseInChild() noexcept { delivery_.CloseInChild(); }

 private:
  static void Run(void* self) noexcept;
  bool StampRecords(std::uint64_t now_us) noexcept;
  bool Sweep(std::uint64_t now_us, std::uint64_t wall_us) noexcept;
  bool HasOpenSession() noexcept;

  Ring* ring_ = nullptr;  // weak
  Delivery delivery_ = {};
  Event event_ = {};

  Place stamped_ = {};  // Behind the last record that has its checksum.
  std::uint64_t stuck_since_us_ =
      0;  // Since when the record at stamped_ is reserved; 0: it is not.
  std::uint64_t next_sweep_us_ = 0;
  std::uint64_t next_clock_us_ = 0;
  std::uint64_t seq_at_clock_ = 0;  // Behind the last `clock`.
  LostCounts told_lost_ = {};
  std::uint32_t idle_polls_ = 0;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_WORKER_H_
