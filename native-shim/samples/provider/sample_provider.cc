// A MAPI store provider's background sync, without the rest of the provider: IMAPISync over a
// Maildir.
//
// A provider adopts mapisync by mapisync_tee(), in TakeCallback() in sync_run.cc, or by
// mapisync_wrap(), in QueryInterface() here; the sample can do either.
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include "../shared/text.h"
#include "config.h"
#include "sync_run.h"

namespace sample {
namespace {

// Free-threaded, as MAPI objects are. A run holds a reference.
class SampleSync final : public mapisync::Sync, public CountsSource, private RunOwner {
 public:
  SampleSync(Config config, const Shim& shim)
      : config_(std::move(config)), shim_(shim), label_(ToUtf16(config_.label)) {
    wrap_options_.size = sizeof wrap_options_;
    wrap_options_.provider = u"mapisync sample";
    wrap_options_.store = label_.c_str();
  }

  Hresult MAPISYNC_CALL QueryInterface(const mapisync::Guid& iid, void** object) noexcept override {
    if (!object) return kInvalidParameter;
    *object = nullptr;
    if (SameGuid(iid, kIidSync) && config_.wrap && shim_.wrap) {
      *object = shim_.wrap(static_cast<mapisync::Sync*>(this), &wrap_options_);
      return kOk;
    }
    if (SameGuid(iid, kIidUnknown) || SameGuid(iid, kIidSync)) {
      *object = static_cast<mapisync::Sync*>(this);
    } else if (SameGuid(iid, kIidCounts)) {
      *object = static_cast<CountsSource*>(this);
    } else {
      return kNoInterface;
    }
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
    if (!sib || sib->ulSize < offsetof(mapisync_mapisib, psesSync)) return kInvalidParameter;
    // By its own size: fields that an older caller does not have read as zero, and those of a newer
    // one are not ours to know.
    mapisync_mapisib known = {};
    std::memcpy(&known, sib, sib->ulSize < sizeof known ? sib->ulSize : sizeof known);
    if (busy_.exchange(true)) return kBusy;
    AddRef();
    const Hresult result = SyncRun::Start(config_, shim_, known, this);
    if (result != kOk) {
      busy_ = false;
      Release();
      return result;
    }
    if (config_.scenario->how & kReturnsLast) {
      while (busy_) os::SleepMs(1);
    }
    if (config_.scenario->how & kReturnsResult) {
      const std::lock_guard<std::mutex> guard(lock_);
      return newest_.result;
    }
    return kOk;
  }

  Hresult MAPISYNC_CALL GetCounts(Counts* counts) noexcept override {
    if (!counts) return kInvalidParameter;
    const std::lock_guard<std::mutex> guard(lock_);
    *counts = newest_;
    return kOk;
  }

 private:
  ~SampleSync() = default;  // Release() only.

  void RunEnded(const Counts& counts) override {
    {
      const std::lock_guard<std::mutex> guard(lock_);
      newest_ = counts;
    }
    busy_ = false;
    Release();
  }

  const Config config_;
  const Shim shim_;
  const std::u16string label_;
  mapisync_options wrap_options_ = {};
  std::atomic<uint32_t> references_{1};
  std::atomic<bool> busy_{false};
  std::mutex lock_;  // Guards newest_.
  Counts newest_ = {};
};

thread_local char last_error[2048];

int32_t Refuse(const std::string& why) {
  std::snprintf(last_error, sizeof last_error, "%s", why.c_str());
  return kInvalidParameter;
}

}  // namespace
}  // namespace sample

int32_t MapisyncSampleCreate(const char* config_text, void** sync) noexcept {
  using namespace sample;
  if (!sync) return Refuse("no place for the object");
  *sync = nullptr;
  Config config;
  const std::string wrong = ParseConfig(config_text, &config);
  if (!wrong.empty()) return Refuse(wrong);

  Shim shim;
  std::string why;  // A provider works without mapisync, so nobody is told.
  if (config.shim.empty()) {
    shim.Load(ShimBeside(os::ModuleFolder()), &why);
  } else if (config.shim != "none") {
    shim.Load(os::PathOf(config.shim), &why);
  }
  auto* object = new (std::nothrow) SampleSync(std::move(config), shim);
  if (!object) return kNotEnoughMemory;
  *sync = static_cast<mapisync::Sync*>(object);
  return kOk;
}

const char* MapisyncSampleError() noexcept { return sample::last_error; }
