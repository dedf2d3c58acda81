// The recording side of one session: turns calls of the host into frames in the ring. Knows no COM.
//
// Every method but Open() may run on any thread, on several at once, and never waits, locks,
// allocates or fails: what finds no room is counted.
#ifndef MAPISYNC_SRC_SESSION_H_
#define MAPISYNC_SRC_SESSION_H_

#include <cstdint>

#include "frames.h"
#include "limits.h"
#include "ring.h"

namespace mapisync {

class Recorder;

class Session {
 public:
  // Records `open`. False if there is no slot or no room, which is counted, or in a forked child;
  // then nothing else may be called. recorder: whose ring it is; null in tests, where nobody forks.
  bool Open(Ring* ring, const Recorder* recorder, const mapisync::Open& open) noexcept;
  // Records `close`. Nothing may run beside it, and only Note() be called after it.
  void Close() noexcept;

  // The seq of `open`.
  std::uint64_t id() const noexcept { return id_; }
  const SessionSlot* slot() const noexcept { return slot_; }

  // Each returns the number of that call in the session, from 1. thread: the calling one.
  inline std::uint64_t Progress(std::uint32_t thread, const char16_t* text, std::uint32_t index,
                                std::uint32_t max) noexcept;
  std::uint64_t Error(std::uint32_t thread, std::uint32_t hresult, const char16_t* text) noexcept;
  std::uint64_t Done(std::uint32_t thread, std::uint32_t hresult, HandleMatch handle) noexcept;
  // SynchronizeInBackground returned. event_set: *phSyncDoneEvent is not NULL.
  void Returned(std::uint32_t hresult, std::uint64_t duration_us, bool event_set) noexcept;
  // NULL key or value: nothing is recorded.
  void Note(Text key, Text value) noexcept;

  // Around each call of the inner callback, on the thread that makes it.
  struct Inside {
    InCallSlot* slot;
    Method method;
    std::uint64_t call;
    std::uint64_t since_us;
  };
  Inside Enter(std::uint32_t thread, Method method, std::uint64_t call) noexcept;
  void Leave(std::uint32_t thread, const Inside& inside, std::uint32_t hresult) noexcept;

 private:
  // What does not change in a `progress`: array and header, up to and with the session. seq, time
  // and thread in it are filled in on each call.
  static constexpr std::uint32_t kTemplateBytes = 40;

  bool Usable() const noexcept { return usable_->load(std::memory_order_relaxed); }
  std::uint64_t RecordAnyProgress(std::uint32_t thread, std::uint64_t call, const char16_t* text,
                                  std::uint32_t index, std::uint32_t max) noexcept;
  std::uint64_t MergeProgress(std::uint64_t call, std::uint32_t index, std::uint32_t max,
                              Text text) noexcept;
  void RecordInner(const Stamp& stamp, const Inside& inside, bool blocked, std::uint32_t hresult,
                   std::uint64_t duration_us) noexcept;
  bool Must(unsigned char* body, std::size_t size_bytes, Loss loss,
            std::uint32_t thread = 0) noexcept;
  Stamp StampAt(std::uint64_t time_us, std::uint32_t thread) const noexcept;

  Ring* ring_ = nullptr;                       // weak
  SessionSlot* slot_ = nullptr;                // weak; null after Close()
  const std::atomic<bool>* usable_ = nullptr;  // weak; false in a forked child
  std::uint64_t id_ = 0;
  std::uint32_t template_used_ = 0;
  unsigned char template_[kTemplateBytes] = {};
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_SESSION_H_
