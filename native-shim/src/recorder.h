// The one recorder of this copy of the shim: its ring, its worker, and whether it records at all.
// Constant-initialised and never destroyed, since a host may end at any instant.
#ifndef MAPISYNC_SRC_RECORDER_H_
#define MAPISYNC_SRC_RECORDER_H_

#include <atomic>
#include <cstdint>

#include "mapisync.h"
#include "platform.h"
#include "ring.h"
#include "worker.h"

namespace mapisync {

class Recorder {
 public:
  // Any thread, at each attach. The first call makes the ring and starts the worker, which may take
  // some milliseconds; a second thread that comes meanwhile waits for it. Later calls cost a load.
  // Returns nullptr where nothing is to be recorded: switched off, forked child, out of memory, or
  // dormant (no state directory, and `force` is not set; asked anew at each attach).
  static Recorder* Start(bool force) noexcept;
  // Any thread. nullptr if none was started, and in a forked child.
  static Recorder* Current() noexcept;

  Ring& ring() noexcept { return ring_; }
  // False in a forked child of the process that started it: forward, and record nothing. One
  // relaxed load.
  bool Usable() const noexcept { return usable_.load(std::memory_order_relaxed); }
  // The same, to be asked without the recorder.
  const std::atomic<bool>& usable() const noexcept { return usable_; }
  const unsigned char* ring_id() const noexcept { return ring_id_; }

  // After an attach, never from Progress, Error or Done: the worker may be asleep for good, and the
  // cached clock with it.
  void Wake() noexcept;
  // Waits until all that was recorded or merged before the call is durable, at most so long (0:
  // only looks). Returns whether it is.
  bool Flush(std::uint32_t timeout_ms) noexcept;
  // Fills *status, all zero where nothing was started. status->size is the caller's: it says how
  // much of it there is, and is kept.
  static void GetStatus(mapisync_status* status) noexcept;

 private:
  constexpr Recorder() noexcept = default;  // There is one, in recorder.cc.

  enum class Outcome { kStarted, kDormant, kOff };
  Outcome Begin(bool force) noexcept;
  bool MakeRing() noexcept;
  bool HasUnrecorded() noexcept;
  static void AfterForkInChild() noexcept;

  enum Phase : std::uint32_t { kIdle, kStarting, kOn, kOff };
  std::atomic<std::uint32_t> phase_{kIdle};
  std::atomic<bool> usable_{false};
  bool watches_forks_ = false;
  unsigned char ring_id_[16] = {};
  char executable_[255] = {};
  Path state_dir_ = {};
  std::uint64_t overwritten_ = 0;  // Frames in the dead rings that this one took the place of.
  RingFile file_ = {};
  Ring ring_;
  Worker worker_;

  static Recorder the_;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_RECORDER_H_
