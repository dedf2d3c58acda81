#include "store_sync.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "../shared/os.h"
#include "../shared/text.h"

namespace sample {
namespace {

// SYNC_UPLOAD_HIERARCHY, SYNC_DOWNLOAD_HIERARCHY, SYNC_UPLOAD_CONTENTS, SYNC_DOWNLOAD_CONTENTS and
// SYNC_ON_DEMAND: what Send/Receive asks for.
constexpr uint32_t kSendReceive = 0x200000C3;

constexpr uint32_t kPollMs = 2;
constexpr uint32_t kSettleMs = 5000;  // for the provider's last Release, once its sync has ended

std::string LastPart(const std::string& path) {
  const std::filesystem::path parsed = os::PathOf(path);
  return os::Utf8Of(parsed.has_filename() ? parsed.filename() : parsed.parent_path().filename());
}

std::string ReadText(const std::filesystem::path& path, std::string* text) {
  std::FILE* const file = os::Open(path, "rb");
  if (!file) return "Cannot read --config " + os::Utf8Of(path) + ": " + std::strerror(errno);
  char part[4096];
  for (size_t size; (size = std::fread(part, 1, sizeof part, file)) > 0;) text->append(part, size);
  std::fclose(file);
  return "";
}

}  // namespace

std::string StoreSync::Configuration(std::string* text) const {
  if (!options_.config.empty()) {
    const std::string wrong = ReadText(os::PathOf(options_.config), text);
    for (size_t at = 0; (at = text->find("{n}", at)) != text->npos;) {
      text->replace(at, 3, std::to_string(number_));
    }
    return wrong;
  }
  const bool several = options_.stores > 1;
  const std::string number = std::to_string(number_);
  *text = "maildir=" + options_.maildir + "\nstore=" + options_.store +
          (several ? "/" + number : "") + "\nscenario=" + options_.scenario +
          "\ncalls_per_second=" + options_.calls_per_second + "\n";
  if (several) *text += "label=" + Label() + "\n";
  // With a sink the provider must not record the same calls once more.
  if (options_.attach == "sink") {
    *text += "shim=none\n";
    return "";
  }
  *text += "attach=" + options_.attach + "\n";
  if (!options_.shim.empty()) *text += "shim=" + options_.shim + "\n";
  return "";
}

std::string StoreSync::Create(const ProviderLibrary& library) {
  std::string text;
  const std::string wrong = Configuration(&text);
  if (!wrong.empty()) return wrong;
  void* object = nullptr;
  const Hresult result = library.create(text.c_str(), &object);
  if (!Failed(result) && object) {
    sync_ = static_cast<mapisync::Sync*>(object);
    return "";
  }
  return "The provider refused its configuration (" + HexOf(result) + ")" +
         (library.error ? std::string(": ") + library.error() : "");
}

// Stores that sync at once have names of their own.
std::string StoreSync::Label() const {
  const std::string number = std::to_string(number_);
  if (!options_.config.empty()) return "test " + number;
  return LastPart(options_.maildir) + (options_.stores > 1 ? " " + number : "");
}

void StoreSync::Start() {
  if (options_.attach == "sink") {
    const std::u16string store = ToUtf16(Label());
    const std::u16string provider =
        options_.config.empty() ? u"mapisync sample" : ToUtf16(LastPart(options_.provider));
    mapisync_options how = {};
    how.size = sizeof how;
    how.flags = MAPISYNC_HAS_SYNC_FLAGS;
    how.sync_flags = kSendReceive;
    how.provider = provider.c_str();
    how.store = store.c_str();
    how.sync_done_event = &event_;
    sink_ = static_cast<mapisync::ProgressCallback*>(shim_.sink(&how));
  }
  callback_ = std::make_unique<OutlookCallback>(options_.callback, number_, dialog_, trace_, sink_,
                                                &event_);
  sib_.ulSize = sizeof sib_;
  sib_.ulFlags = kSendReceive;
  if (options_.callback.kind != Behaviour::kAbsent) {
    sib_.punkCallBack = static_cast<mapisync::Unknown*>(callback_.get());
  }
  sib_.phSyncDoneEvent = &event_;
  // As Outlook does: it has the store object, and asks for the interface.
  void* asked = nullptr;
  if (Failed(sync_->QueryInterface(kIidSync, &asked)) || !asked) {
    started_ = kNoInterface;
    return;
  }
  auto* const sync = static_cast<mapisync::Sync*>(asked);
  started_ = sync->SynchronizeInBackground(&sib_);
  sync->Release();
}

void StoreSync::Finish() {
  if (!Failed(started_)) WaitForEnd();
  TakeCounts();
  CloseHandles();
  callback_references_ = callback_->references();
  provider_references_ = sync_->Release();
  if (sink_) {
    // Before its last Release, which ends the session.
    if (counts_.session[0] == '\0') shim_.session_id(sink_, counts_.session);
    sink_->Release();
  }
  Judge();
}

// A real host would not look at reference counts; here they show that nothing was forgotten.
bool StoreSync::ProviderLetGo() const {
  sync_->AddRef();
  return sync_->Release() == 1 && callback_->references() <= 0;
}

void StoreSync::WaitForEnd() {
  if (os::kWindows && event_) {
    os::WaitFor(event_);
  } else {
    while (callback_->heard().dones == 0 && !ProviderLetGo()) os::SleepMs(kPollMs);
  }
  for (uint32_t waited_ms = 0; waited_ms < kSettleMs && !ProviderLetGo(); waited_ms += kPollMs) {
    os::SleepMs(kPollMs);
  }
}

void StoreSync::TakeCounts() {
  heard_ = callback_->heard();
  void* object = nullptr;
  if (!Failed(sync_->QueryInterface(kIidCounts, &object)) && object) {
    auto* source = static_cast<CountsSource*>(object);
    counted_by_provider_ = !Failed(source->GetCounts(&counts_));
    source->Release();
    return;
  }
  counts_.progress = heard_.progress;
  counts_.errors = heard_.errors;
  counts_.dones = heard_.dones;
}

// Outlook's duty, as documented: the provider passes its handle to Done so that the host closes it.
void StoreSync::CloseHandles() {
  if (event_) os::CloseHandle(event_);
  if (heard_.other_handle) os::CloseHandle(heard_.other_handle);
}

void StoreSync::Judge() {
  const bool absent = options_.callback.kind == Behaviour::kAbsent;
  result_ = Failed(started_) ? started_ : absent ? counts_.result : heard_.result;
  if (Failed(started_)) {
    failure_ = "SynchronizeInBackground failed with " + HexOf(started_);
  } else if (!absent && heard_.dones == 0) {
    failure_ = "The provider let go of the callback without Done";
  } else if (Failed(result_)) {
    failure_ = "The sync failed with " + HexOf(result_);
  } else if (callback_references_ != 0 || provider_references_ != 0) {
    failure_ = "The provider miscounts references: " + std::to_string(callback_references_) +
               " of the callback and " + std::to_string(provider_references_) +
               " of its own object are left";
  }
}

}  // namespace sample
