// One background sync: lives on its own thread from SynchronizeInBackground to the last Release of
// the callback, then deletes itself.
#ifndef MAPISYNC_SAMPLES_PROVIDER_SYNC_RUN_H_
#define MAPISYNC_SAMPLES_PROVIDER_SYNC_RUN_H_

#include <atomic>
#include <string>

#include "../shared/os.h"
#include "../shared/sample.h"
#include "../shared/shim.h"
#include "config.h"
#include "maildir.h"
#include "reporter.h"

namespace sample {

// Who started a run, and is told how it ended. Stays alive for as long as the run.
class RunOwner {
 public:
  // On the run's thread, once, after its last call to the callback.
  virtual void RunEnded(const Counts& counts) = 0;

 protected:
  ~RunOwner() = default;
};

class SyncRun {
 public:
  // Starts a sync. config, shim and owner outlive it; sib may go when this returns.
  // Returns S_OK, or why there is no sync; then RunEnded is not called.
  static Hresult Start(const Config& config, const Shim& shim, const mapisync_mapisib& sib,
                       RunOwner* owner);

 private:
  SyncRun(const Config& config, const Shim& shim, RunOwner* owner)
      : config_(config), shim_(shim), owner_(owner), reporter_(config.calls_per_second) {}

  void TakeCallback(const mapisync_mapisib& sib);
  void ReleaseCallback();
  void Body();
  Problem Copy();
  Problem CopyFolder(const Folder& folder, uint32_t done_before, uint32_t total);
  uint64_t WeightOf(const std::filesystem::path& message) const;
  void End(Hresult result);
  void EndBesideProgress(Hresult result);

  const Config& config_;
  const Shim& shim_;
  RunOwner* const owner_;  // weak
  os::CompletionEvent event_ = {};
  using ProgressCallback = mapisync::ProgressCallback;

  // The callback as we call it: Outlook's own, or mapisync's tee around it. NULL if Outlook gave
  // none.
  ProgressCallback* callback_ = nullptr;
  bool borrowed_ = false;  // callback_ is held by Outlook alone
  Reporter reporter_;
  Counts counts_ = {};
  ProgressCallback* callback_beside_ = nullptr;  // Ending::kBeside: its second thread's reference
  std::atomic<bool> beside_ended_{false};
};

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_PROVIDER_SYNC_RUN_H_
