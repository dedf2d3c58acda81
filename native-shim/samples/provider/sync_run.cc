#include "sync_run.h"

#include <new>

#include "../shared/text.h"

namespace sample {

using mapisync::ProgressCallback;

constexpr uintmax_t kBytesOfACall = 256;  // of kPaceBySize
constexpr uint32_t kCallsBeside = 200;    // of the second thread of Ending::kBeside

Hresult SyncRun::Start(const Config& config, const Shim& shim, const mapisync_mapisib& sib,
                       RunOwner* owner) {
  auto* run = new (std::nothrow) SyncRun(config, shim, owner);
  if (!run) return kNotEnoughMemory;
  if (!os::CreateCompletionEvent(&run->event_)) {
    delete run;
    return kNotEnoughMemory;
  }
  const os::CompletionEvent event = run->event_;
  // Before the thread starts: it may be through before StartThread() returns.
  if (sib.phSyncDoneEvent) *sib.phSyncDoneEvent = event.host;
  run->TakeCallback(sib);
  if (os::StartThread([](void* self) { static_cast<SyncRun*>(self)->Body(); }, run)) return kOk;

  if (sib.phSyncDoneEvent) *sib.phSyncDoneEvent = nullptr;
  os::CloseHandle(event.host);
  if (event.own) os::CloseHandle(event.own);
  run->ReleaseCallback();
  delete run;
  return kNotEnoughMemory;
}

// All that it takes to make a sync visible: hand Outlook's callback to mapisync_tee(), and use what
// comes back in its place.
void SyncRun::TakeCallback(const mapisync_mapisib& sib) {
  auto* given = static_cast<mapisync::Unknown*>(sib.punkCallBack);
  if (!given) return;
  const bool teed = shim_.tee && !config_.wrap;
  if (teed) {
    const std::u16string store = ToUtf16(config_.label);
    mapisync_options options = {};
    options.size = sizeof options;
    options.flags = MAPISYNC_HAS_SYNC_FLAGS;
    options.sync_flags = sib.ulFlags;
    options.provider = u"mapisync sample";
    options.store = store.c_str();
    // Ours and not Outlook's variable: it must stay readable for as long as the tee lives.
    options.sync_done_event = &event_.host;
    given = static_cast<mapisync::Unknown*>(shim_.tee(given, &options));
  } else {
    given->AddRef();
  }
  if (!given) return;
  // punkCallBack is an IUnknown: ask, do not cast.
  void* callback = nullptr;
  if (!Failed(given->QueryInterface(kIidCallback, &callback))) {
    callback_ = static_cast<ProgressCallback*>(callback);
    if (shim_.session_id) shim_.session_id(callback_, counts_.session);
  }
  given->Release();
  // Of a tee this is the only reference: that one is always kept.
  borrowed_ = callback_ && !teed && (config_.scenario->how & kBorrows);
  if (borrowed_) callback_->Release();
  reporter_.set_callback(callback_);
}

void SyncRun::ReleaseCallback() {
  if (callback_ && !borrowed_) callback_->Release();
  callback_ = nullptr;
}

void SyncRun::Body() {
  const Problem problem = Copy();
  if (problem.code != kOk) {
    reporter_.Error(problem.code, problem.text);
  } else if (config_.scenario->extra) {
    config_.scenario->extra(&reporter_);
  }
  counts_.result = problem.code;
  End(problem.code);
  reporter_.CountInto(&counts_);
  RunOwner* owner = owner_;
  const Counts counts = counts_;
  os::CompletionEvent event = event_;
  delete this;
  owner->RunEnded(counts);
  os::SetAndCloseOwn(&event);
}

// Errors of a message or a folder are reported, and the sync goes on: it still succeeds. What is
// returned ended it.
Problem SyncRun::Copy() {
  Problem problem;
  const std::vector<Folder> folders = ListFolders(os::PathOf(config_.maildir), &problem);
  if (problem.code != kOk) return problem;
  const Scenario& scenario = *config_.scenario;
  const bool one_count = (scenario.how & kOneCount) != 0;
  for (const Folder& folder : folders) counts_.messages += folder.messages.size();
  const auto all = static_cast<uint32_t>(counts_.messages) * scenario.calls_per_message;
  if (one_count) reporter_.Progress(ToUtf16(config_.label).c_str(), 0, all);

  uint32_t done = 0;
  for (const Folder& folder : folders) {
    const auto calls = static_cast<uint32_t>(folder.messages.size()) * scenario.calls_per_message;
    if ((scenario.how & kPhaseMarks) && &folder != &folders.front()) reporter_.Progress(u"", 0, 0);
    if (!one_count) reporter_.Progress(ToUtf16(folder.name).c_str(), 0, calls);
    if (folder.problem.code != kOk) reporter_.Error(folder.problem.code, folder.problem.text);
    problem = CopyFolder(folder, one_count ? done : 0, one_count ? all : calls);
    if (problem.code != kOk) return problem;
    done += calls;
  }
  return {};
}

Problem SyncRun::CopyFolder(const Folder& folder, uint32_t done_before, uint32_t total) {
  std::filesystem::path target;
  const Problem cannot = MakeFolder(os::PathOf(config_.store), folder.name, &target);
  if (cannot.code != kOk) return cannot;
  uint32_t index = done_before;
  for (const std::filesystem::path& message : folder.messages) {
    Problem problem;
    const Copied copied = CopyMessage(message, target, &problem);
    if (copied == Copied::kNew) counts_.copied++;
    if (copied == Copied::kAlreadyThere) counts_.skipped++;
    if (copied == Copied::kBadMessage || copied == Copied::kBadStore) {
      problem.text = "Cannot copy message " + IdentityOf(message) + " of folder " + folder.name +
                     ": " + problem.text;
    }
    if (copied == Copied::kBadStore) return problem;
    if (copied == Copied::kBadMessage) reporter_.Error(problem.code, problem.text);
    reporter_.Pace(WeightOf(message));
    for (uint32_t call = 0; call < config_.scenario->calls_per_message; call++) {
      reporter_.Progress(nullptr, ++index, total);
    }
  }
  return {};
}

uint64_t SyncRun::WeightOf(const std::filesystem::path& message) const {
  if (!(config_.scenario->how & kPaceBySize)) return 1;
  std::error_code ignored;
  const uintmax_t size = std::filesystem::file_size(message, ignored);
  return ignored ? 1 : 1 + size / kBytesOfACall;
}

void SyncRun::End(Hresult result) {
  switch (config_.scenario->ending) {
    case Ending::kDone:
      reporter_.Done(event_.host, result);
      break;
    case Ending::kDoneThenMore:
      reporter_.Done(event_.host, result);
      reporter_.Progress(u"After Done", 1, 1);
      // The handle was given away with the first one.
      reporter_.Done(nullptr, result);
      break;
    case Ending::kNoDone:
      break;
    case Ending::kCancelled:
      counts_.result = kUserCancel;
      reporter_.Done(event_.host, kUserCancel);
      break;
    case Ending::kSilentFailure: {
      counts_.result = kNetworkError;
      os::CompletionEvent other = {};
      os::CreateCompletionEvent(&other);
      reporter_.Done(other.host, kNetworkError);
      os::SetAndCloseOwn(&other);
      break;
    }
    case Ending::kBeside:
      return EndBesideProgress(result);
  }
  ReleaseCallback();
}

void SyncRun::EndBesideProgress(Hresult result) {
  auto beside = [](void* argument) {
    auto* self = static_cast<SyncRun*>(argument);
    for (uint32_t call = 1; call <= kCallsBeside; call++) {
      self->reporter_.Progress(nullptr, call, kCallsBeside);
    }
    if (self->callback_beside_) self->callback_beside_->Release();
    self->beside_ended_ = true;
  };
  callback_beside_ = callback_;
  if (callback_beside_) callback_beside_->AddRef();
  if (!os::StartThread(beside, this)) beside(this);
  reporter_.Done(event_.host, result);
  ReleaseCallback();
  while (!beside_ended_) os::SleepMs(1);
}

}  // namespace sample
