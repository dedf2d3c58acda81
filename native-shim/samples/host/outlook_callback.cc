#include "outlook_callback.h"

#include "../shared/os.h"

namespace sample {

constexpr uint64_t kFatalCall = 5;  // kCrash and kHang: which Progress never returns

Hresult OutlookCallback::QueryInterface(const mapisync::Guid& iid, void** object) noexcept {
  if (!object) return kInvalidParameter;
  *object = nullptr;
  if (!SameGuid(iid, kIidUnknown) && !SameGuid(iid, kIidCallback)) return kNoInterface;
  *object = static_cast<mapisync::ProgressCallback*>(this);
  AddRef();
  return kOk;
}

Hresult OutlookCallback::Progress(const char16_t* text, uint32_t index,
                                  uint32_t index_max) noexcept {
  uint64_t call;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    call = ++heard_.progress;
  }
  // The trace comes before the effect, so that a call that never returns is in it.
  if (trace_) trace_->Progress(number_, text, index, index_max, behaviour_.result);
  if (inner_) inner_->Progress(text, index, index_max);
  dialog_->Progress(number_, text, index, index_max);
  return Misbehave(call == kFatalCall);
}

Hresult OutlookCallback::Error(Hresult result, const char16_t* text) noexcept {
  {
    const std::lock_guard<std::mutex> guard(lock_);
    heard_.errors++;
  }
  if (trace_) trace_->Error(number_, result, text, behaviour_.result);
  if (inner_) inner_->Error(result, text);
  dialog_->Error(number_, result, text);
  return Misbehave(false);
}

Hresult OutlookCallback::Done(void* thread_done_event, Hresult result) noexcept {
  const bool same = thread_done_event == *event_;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    heard_.dones++;
    heard_.result = result;
    // We may be waiting on *phSyncDoneEvent, so no handle is closed here but after the sync.
    if (thread_done_event && !same) heard_.other_handle = thread_done_event;
  }
  const char* const handle = !thread_done_event ? "null" : same ? "same" : "other";
  if (trace_) trace_->Done(number_, handle, result, behaviour_.result);
  if (inner_) inner_->Done(thread_done_event, result);
  dialog_->Done(number_, result);
  return Misbehave(false);
}

OutlookCallback::Heard OutlookCallback::heard() {
  const std::lock_guard<std::mutex> guard(lock_);
  return heard_;
}

Hresult OutlookCallback::Misbehave(bool may_be_fatal) {
  if (behaviour_.kind == Behaviour::kSlow) os::SleepMs(behaviour_.slow_ms);
  if (behaviour_.kind == Behaviour::kCrash && may_be_fatal) os::Crash();
  while (behaviour_.kind == Behaviour::kHang && may_be_fatal) os::SleepMs(1000);
  return behaviour_.result;
}

}  // namespace sample
