// One sync of one store, from the provider's factory to the last Release.
#ifndef MAPISYNC_SAMPLES_HOST_STORE_SYNC_H_
#define MAPISYNC_SAMPLES_HOST_STORE_SYNC_H_

#include <memory>
#include <string>

#include "../shared/shim.h"
#include "options.h"
#include "provider_library.h"

namespace sample {

class StoreSync {
 public:
  // number: from 1. Everything is borrowed and outlives it; trace may be NULL. shim is for a sink.
  StoreSync(const Options& options, const Shim& shim, uint32_t number, Dialog* dialog, Trace* trace)
      : options_(options), shim_(shim), number_(number), dialog_(dialog), trace_(trace) {}
  StoreSync(const StoreSync&) = delete;
  StoreSync& operator=(const StoreSync&) = delete;

  // Makes the provider's object. Returns what is wrong, or "".
  std::string Create(const ProviderLibrary& library);
  // Starts the sync. Waits for nothing but a provider that makes it wait.
  void Start();
  // Waits for the end of the sync, for as long as it takes, then lets go of everything.
  void Finish();

  // For after Finish():
  const std::string& failure() const {
    return failure_;
  }  // "": the sync came to Done and succeeded
  const Counts& counts() const { return counts_; }
  bool counted_by_provider() const { return counted_by_provider_; }
  const OutlookCallback::Heard& heard() const { return heard_; }
  Hresult result() const { return result_; }
  // References that the provider did not give back.
  int32_t callback_references() const { return callback_references_; }
  uint32_t provider_references() const { return provider_references_; }

 private:
  // Returns what is wrong, or "".
  std::string Configuration(std::string* text) const;
  std::string Label() const;
  bool ProviderLetGo() const;
  void WaitForEnd();
  void TakeCounts();
  void CloseHandles();
  void Judge();

  const Options& options_;
  const Shim& shim_;
  const uint32_t number_;
  Dialog* const dialog_;  // weak
  Trace* const trace_;    // weak
  mapisync::Sync* sync_ = nullptr;
  mapisync::ProgressCallback* sink_ = nullptr;
  std::unique_ptr<OutlookCallback> callback_;
  // Lives for as long as the sync: a provider may read it from its thread.
  mapisync_mapisib sib_ = {};
  void* event_ = nullptr;  // *phSyncDoneEvent
  Hresult started_ = kOk;  // result of SynchronizeInBackground

  std::string failure_;
  Counts counts_ = {};
  bool counted_by_provider_ = false;
  OutlookCallback::Heard heard_ = {};
  Hresult result_ = kOk;
  int32_t callback_references_ = 0;
  uint32_t provider_references_ = 0;
};

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_HOST_STORE_SYNC_H_
