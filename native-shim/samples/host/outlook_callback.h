// Outlook's side of the sync: an IMAPISyncProgressCallback that shows, counts and traces each call,
// and misbehaves when asked to.
#ifndef MAPISYNC_SAMPLES_HOST_OUTLOOK_CALLBACK_H_
#define MAPISYNC_SAMPLES_HOST_OUTLOOK_CALLBACK_H_

#include <atomic>
#include <cstdint>
#include <mutex>

#include "../shared/mapi_codes.h"
#include "../shared/sample.h"
#include "dialog.h"
#include "trace.h"

namespace sample {

struct Behaviour {
  enum Kind { kPlain, kAbsent, kSlow, kFail, kCrash, kHang };
  Kind kind = kPlain;
  uint32_t slow_ms = 0;  // kSlow: how long each call takes
  Hresult result = kOk;  // kFail: what each call returns
};

// The host owns it: a provider that releases once too often is found out, not followed.
class OutlookCallback final : public mapisync::ProgressCallback {
 public:
  // number: which store this is for, from 1. Nothing is owned; trace and inner may be NULL. inner
  // hears each call too. event: where the host keeps *phSyncDoneEvent.
  OutlookCallback(const Behaviour& behaviour, uint32_t number, Dialog* dialog, Trace* trace,
                  mapisync::ProgressCallback* inner, void* const* event)
      : behaviour_(behaviour),
        number_(number),
        dialog_(dialog),
        trace_(trace),
        inner_(inner),
        event_(event) {}

  Hresult MAPISYNC_CALL QueryInterface(const mapisync::Guid& iid, void** object) noexcept override;
  uint32_t MAPISYNC_CALL AddRef() noexcept override { return ++references_; }
  uint32_t MAPISYNC_CALL Release() noexcept override { return --references_; }
  Hresult MAPISYNC_CALL Progress(const char16_t* text, uint32_t index,
                                 uint32_t index_max) noexcept override;
  Hresult MAPISYNC_CALL Error(Hresult result, const char16_t* text) noexcept override;
  Hresult MAPISYNC_CALL Done(void* thread_done_event, Hresult result) noexcept override;

  // References besides the host's own; negative if there were too many releases.
  int32_t references() const { return static_cast<int32_t>(references_.load()) - 1; }

  struct Heard {
    uint64_t progress, errors, dones;
    Hresult result;      // of the newest Done
    void* other_handle;  // a handle that Done passed, other than *phSyncDoneEvent; ours to close
  };
  Heard heard();

 private:
  Hresult Misbehave(bool may_be_fatal);

  const Behaviour behaviour_;
  const uint32_t number_;
  Dialog* const dialog_;                     // weak
  Trace* const trace_;                       // weak
  mapisync::ProgressCallback* const inner_;  // weak
  void* const* const event_;                 // weak
  std::atomic<uint32_t> references_{1};
  std::mutex lock_;  // Guards heard_. Not held while calling out.
  Heard heard_ = {};
};

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_HOST_OUTLOOK_CALLBACK_H_
