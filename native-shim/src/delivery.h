// Carries the ring's records to the daemon: finds it, proves both ends to each other, sends in
// order, and frees what the daemon has made durable. A state machine that never waits: the worker
// calls Step() again and again, and passes the time in.
//
//   waiting -> connecting -> shaking -> greeting -> live
//      ^-----------'------------'-----------'--------'   anything that goes wrong, with a back-off
#ifndef MAPISYNC_SRC_DELIVERY_H_
#define MAPISYNC_SRC_DELIVERY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "endpoint.h"
#include "frames.h"
#include "handshake.h"
#include "platform.h"
#include "ring.h"

namespace mapisync {

class Delivery {
 public:
  static constexpr std::uint32_t kConnectTimeoutMs = 250;
  static constexpr std::uint32_t kRetryMinMs = 50;
  static constexpr std::uint32_t kRetryMaxMs = 5000;
  // How often a back-off looks whether another daemon has announced itself.
  static constexpr std::uint32_t kLookMs = 500;

  // Before the first Step(). All are borrowed for good. hello: what to say of this ring; `freed`
  // and the times are filled in at each connection.
  void Begin(Ring* ring, const Path* state_dir, const Hello& hello) noexcept;

  // Does all that can be done now. ready: the place behind the last record that may be sent.
  // Returns whether anything moved.
  bool Step(std::uint64_t now_us, Place ready) noexcept;

  // When Step() has something to do even if nothing comes in, in the same clock. UINT64_MAX: never.
  std::uint64_t NextUs() const noexcept;
  // A back-off is running: nothing can be sent before NextUs().
  bool is_waiting() const noexcept { return phase_ == Phase::kWaiting; }
  // While the pipe takes no more, what Event::Wait() can wait for.
  std::intptr_t unsent() const noexcept { return pipe_.unsent(); }
  // Any thread. The daemon has proven itself and answered `hello`.
  bool is_connected() const noexcept { return connected_.load(std::memory_order_relaxed); }
  // The highest seq that was ever sent.
  std::uint64_t sent_seq() const noexcept { return max_sent_seq_; }
  // In a forked child.
  void CloseInChild() noexcept { pipe_.CloseInChild(); }

 private:
  enum class Phase { kWaiting, kConnecting, kShaking, kGreeting, kLive };

  bool Attempt(std::uint64_t now_us) noexcept;
  bool Connect(std::uint64_t now_us) noexcept;
  bool Receive(std::uint64_t now_us) noexcept;
  bool Shake(std::uint64_t now_us, const unsigned char* bytes, std::size_t size_bytes) noexcept;
  bool TakeFrames(std::uint64_t now_us) noexcept;
  bool TakeFrame(std::uint64_t now_us, const DaemonFrame& frame) noexcept;
  bool SetDurable(std::uint64_t seq) noexcept;
  bool SendMore(std::uint64_t now_us, Place ready) noexcept;
  std::size_t FillSlots() noexcept;
  std::size_t FillRecords(std::size_t filled, Place ready) noexcept;
  bool Send(std::uint64_t now_us, std::size_t size_bytes) noexcept;
  // Hangs up, and tries again after a back-off of at least so long.
  void Retry(std::uint64_t now_us, std::uint32_t at_least_ms) noexcept;

  Ring* ring_ = nullptr;             // weak
  const Path* state_dir_ = nullptr;  // weak
  Hello hello_ = {};

  Phase phase_ = Phase::kWaiting;
  std::atomic<bool> connected_{false};
  std::uint64_t deadline_us_ = 0;  // Of the phase; kWaiting: when to try. 0: none.
  std::uint64_t look_us_ = 0;      // kWaiting: when to look at the endpoint file again.
  std::uint32_t failures_ = 0;     // In a row.
  std::uint64_t jitter_ = 0;       // State of a small generator; its quality does not matter.

  Endpoint endpoint_ = {};
  Handshake handshake_ = {};
  Pipe pipe_ = {};
  bool sending_ = false;                // A Send() is pending ...
  std::uint64_t send_deadline_us_ = 0;  // ... and must be done by then.

  Place sent_ = {};                 // Behind the last record that was sent on this connection.
  std::uint64_t max_sent_seq_ = 0;  // On any connection.
  std::uint64_t slots_up_to_ = 0;   // Sessions whose `open` was durable at `welcome`.
  std::uint32_t next_slot_ = 0;     // The next session slot to send after `welcome`.

  // What came in and is not a whole frame yet. A body that does not fit is of a kind that this
  // version does not know: it is skipped.
  static constexpr std::size_t kInBytes = 4096;
  unsigned char in_[kInBytes] = {};
  std::size_t in_bytes_ = 0;
  std::size_t skip_bytes_ = 0;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_DELIVERY_H_
