// The smallest provider that shows its sync: IMAPISync over nothing but a count, on a thread of its
// own. What mapisync needs of a provider is marked; the rest is what every IMAPISync has to do.
#include <atomic>
#include <cstddef>
#include <cstring>
#include <new>
#include <thread>

#include "mapisync.h"

#if defined(_WIN32)
#include <windows.h>
#define EXPORT extern "C" __declspec(dllexport)
#else
#define EXPORT extern "C" __attribute__((visibility("default")))
#endif

namespace {

using mapisync::Hresult;

constexpr Hresult kOk = 0;
constexpr Hresult kNoInterface = static_cast<Hresult>(0x80004002);
constexpr Hresult kInvalidArgument = static_cast<Hresult>(0x80070057);
constexpr Hresult kOutOfMemory = static_cast<Hresult>(0x8007000E);
constexpr Hresult kPartial = static_cast<Hresult>(0x00040680);  // MAPI_W_PARTIAL_COMPLETION

constexpr mapisync::Guid kIidUnknown = MAPISYNC_IID_IUNKNOWN;
constexpr mapisync::Guid kIidSync = MAPISYNC_IID_IMAPISYNC;
constexpr mapisync::Guid kIidCallback = MAPISYNC_IID_IMAPISYNCPROGRESSCALLBACK;

bool Same(const mapisync::Guid& a, const mapisync::Guid& b) {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

// What a run owns: the callback to report to, and the event that says that it is over.
struct Run {
  mapisync::ProgressCallback* callback;  // NULL: nobody listens.
  void* done_event;                      // Goes to Outlook, which closes it.
  void* own_event;                       // Ours: Outlook may have closed the other by then.
};

void MakeEvents(Run* run) {
#if defined(_WIN32)
  run->done_event = CreateEventW(nullptr, TRUE, FALSE, nullptr);
  const HANDLE self = GetCurrentProcess();
  HANDLE own = nullptr;
  DuplicateHandle(self, run->done_event, self, &own, 0, FALSE, DUPLICATE_SAME_ACCESS);
  run->own_event = own;
#else
  (void)run;  // There are no events there.
#endif
}

void SetAndClose(void* event) {
#if defined(_WIN32)
  SetEvent(event);
  CloseHandle(event);
#else
  (void)event;
#endif
}

void Synchronize(Run run) {
  constexpr uint32_t kMessages = 20;
  if (run.callback != nullptr) {
    run.callback->Progress(u"Inbox", 0, kMessages);
    for (uint32_t i = 1; i <= kMessages; i++) run.callback->Progress(nullptr, i, kMessages);
    run.callback->Error(kPartial, u"Message 7 has no date; its arrival is shown instead");
    run.callback->Done(run.done_event, kOk);
    run.callback->Release();
  }
  SetAndClose(run.own_event);
}

class Provider final : public mapisync::Sync {
 public:
  Hresult MAPISYNC_CALL QueryInterface(const mapisync::Guid& iid, void** object) noexcept override {
    if (object == nullptr) return kInvalidArgument;
    *object = nullptr;
    if (!Same(iid, kIidUnknown) && !Same(iid, kIidSync)) return kNoInterface;
    *object = this;
    AddRef();
    return kOk;
  }
  uint32_t MAPISYNC_CALL AddRef() noexcept override { return ++references_; }
  uint32_t MAPISYNC_CALL Release() noexcept override {
    const uint32_t left = --references_;
    if (left == 0) delete this;
    return left;
  }

  Hresult MAPISYNC_CALL SynchronizeInBackground(mapisync_mapisib* sib) noexcept override {
    if (sib == nullptr || sib->ulSize < sizeof *sib) return kInvalidArgument;
    Run run = {};
    MakeEvents(&run);
    if (sib->phSyncDoneEvent != nullptr) *sib->phSyncDoneEvent = run.done_event;
    run.callback = TakeCallback(*sib);
    std::thread([run] { Synchronize(run); }).detach();
    return kOk;
  }

 private:
  ~Provider() = default;  // Release() only.

  // mapisync: what comes back is used in the place of Outlook's callback. That is all.
  static mapisync::ProgressCallback* TakeCallback(const mapisync_mapisib& sib) {
    mapisync_options options = {};
    options.size = sizeof options;
    options.flags = MAPISYNC_HAS_SYNC_FLAGS;
    options.sync_flags = sib.ulFlags;
    options.provider = u"Minimal";
    options.store = u"Twenty messages";
    void* const tee = mapisync_tee(sib.punkCallBack, &options);
    if (tee == nullptr) return nullptr;
    // punkCallBack is an IUnknown, and so is what came back: ask, do not cast.
    auto* const unknown = static_cast<mapisync::Unknown*>(tee);
    void* callback = nullptr;
    if (unknown->QueryInterface(kIidCallback, &callback) < 0) callback = nullptr;
    unknown->Release();
    return static_cast<mapisync::ProgressCallback*>(callback);
  }

  std::atomic<uint32_t> references_{1};
};

}  // namespace

// For `mapisync test-provider`: a sync object without Outlook. See mapisync_test_entry in
// mapisync.h.
EXPORT int32_t MinimalCreate(const char* /*config*/, void** sync) {
  if (sync == nullptr) return kInvalidArgument;
  *sync = static_cast<mapisync::Sync*>(new (std::nothrow) Provider);
  return *sync != nullptr ? kOk : kOutOfMemory;
}
