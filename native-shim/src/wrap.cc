#include "wrap.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

#include "platform.h"
#include "recorder.h"

namespace mapisync {
namespace {

constexpr std::uint32_t kFlagsEnd = offsetof(mapisync_mapisib, psesSync);
constexpr std::uint32_t kCallbackEnd = offsetof(mapisync_mapisib, phSyncDoneEvent);
constexpr std::uint32_t kEventEnd = sizeof(mapisync_mapisib);

bool IsCopied(std::uint32_t sib_bytes) noexcept {
  return sib_bytes >= kCallbackEnd && sib_bytes <= Wrap::kMaxSibBytes;
}

// Outlook's variable, while Outlook is still in the call and the variable is sure to be there.
const void* EventOf(const mapisync_mapisib* sib, std::uint32_t sib_bytes) noexcept {
  if (sib_bytes < kEventEnd || sib_bytes > Wrap::kMaxSibBytes || sib->phSyncDoneEvent == nullptr) {
    return nullptr;
  }
  return *static_cast<void* const volatile*>(sib->phSyncDoneEvent);
}

Text Put(char** at, Text text) noexcept {
  if (text.data == nullptr) return {};
  std::memcpy(*at, text.data, text.size_bytes);
  const Text copy = {*at, text.size_bytes};
  *at += text.size_bytes;
  return copy;
}

Text FormatUint(std::uint32_t value, char out[10]) noexcept {
  char* at = out + 10;
  do {
    *--at = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  return {at, static_cast<std::uint32_t>(out + 10 - at)};
}

}  // namespace

Wrap* Wrap::Create(Sync* inner, bool force, Text provider, Text store) noexcept {
  void* const memory = std::malloc(sizeof(Wrap) + provider.size_bytes + store.size_bytes);
  if (memory == nullptr) return nullptr;
  auto* const wrap = new (memory) Wrap(inner, force);
  char* at = reinterpret_cast<char*>(wrap + 1);
  wrap->provider_ = Put(&at, provider);
  wrap->store_ = Put(&at, store);
  inner->AddRef();
  return wrap;
}

Hresult Wrap::QueryInterface(const Guid& iid, void** object) noexcept {
  if (!(iid == kIidSync)) return inner_->QueryInterface(iid, object);
  if (object == nullptr) return kInvalidArgument;
  *object = static_cast<Sync*>(this);
  AddRef();
  return kOk;
}

std::uint32_t Wrap::AddRef() noexcept { return refs_.fetch_add(1, std::memory_order_relaxed) + 1; }

std::uint32_t Wrap::Release() noexcept {
  const std::uint32_t left = refs_.fetch_sub(1, std::memory_order_acq_rel) - 1;
  if (left != 0) return left;
  Sync* const inner = inner_;
  this->~Wrap();
  std::free(this);
  inner->Release();
  return 0;
}

// The object holds a reference to itself meanwhile, and one to the tee, so that `close` comes after
// `returned`.
Hresult Wrap::SynchronizeInBackground(mapisync_mapisib* sib) noexcept {
  AddRef();
  const std::uint32_t sib_bytes = sib == nullptr ? 0 : sib->ulSize;
  Callback* const run = sib == nullptr ? nullptr : Begin(*sib);
  const bool teed = run != nullptr && run->is_tee();
  const std::uint64_t since_us = NowUs();
  const Hresult result = inner_->SynchronizeInBackground(teed ? run->sib() : sib);
  if (run != nullptr) {
    run->Returned(result, NowUs() - since_us, EventOf(sib, sib_bytes));
    run->LetGo(result);
  }
  Release();
  return result;
}

// The session of one call, and the tee in it if there is something to tee. Null where nothing is
// recorded.
Callback* Wrap::Begin(const mapisync_mapisib& sib) const noexcept {
  Recorder* const recorder = Recorder::Start(force_);
  if (recorder == nullptr) return nullptr;
  const std::uint32_t sib_bytes = sib.ulSize;
  const bool copied = IsCopied(sib_bytes);
  void* queried = nullptr;
  if (copied && sib.punkCallBack != nullptr &&
      static_cast<Unknown*>(sib.punkCallBack)->QueryInterface(kIidProgressCallback, &queried) < 0) {
    queried = nullptr;
  }
  Callback::Settings settings;
  settings.inner = static_cast<ProgressCallback*>(queried);
  Callback* const run = Callback::Create(settings, queried == nullptr ? nullptr : &sib);
  const bool has_flags = sib_bytes >= kFlagsEnd;
  const Open open = {Attach::kWrap, has_flags, has_flags ? sib.ulFlags : 0, provider_,
                     store_,        WallUs(),  queried != nullptr};
  if (run == nullptr || !run->Record(&recorder->ring(), recorder, open)) {
    if (run != nullptr) run->Abandon();
    if (settings.inner != nullptr) settings.inner->Release();
    return nullptr;
  }
  if (!copied) {
    char digits[10];
    run->session().Note({"mapisib_size", 12}, FormatUint(sib_bytes, digits));
  }
  recorder->Wake();
  return run;
}

}  // namespace mapisync
