#include "callback.h"

#include <cstdint>
#include <cstdlib>
#include <new>

#include "platform.h"
#include "utf8.h"

namespace mapisync {
namespace {

// The objects with a session, by the slot that they hold. Zero-initialised, never destroyed.
std::atomic<Callback*> live[kMaxSessionsPerRing];

// {5024A386-2D44-486A-81A8-8F0ECB6071DD}
constexpr std::uint32_t kGuidChars = 38;
void FormatGuid(const Guid& guid, char out[kGuidChars]) noexcept {
  char* at = out;
  const auto hex = [&at](std::uint32_t value, int digits) {
    while (digits-- > 0) *at++ = "0123456789ABCDEF"[value >> digits * 4 & 0xf];
  };
  *at++ = '{';
  hex(guid.data1, 8);
  *at++ = '-';
  hex(guid.data2, 4);
  *at++ = '-';
  hex(guid.data3, 4);
  for (int i = 0; i < 8; i++) {
    if (i == 0 || i == 2) *at++ = '-';
    hex(guid.data4[i], 2);
  }
  *at++ = '}';
}

constexpr Text Literal(const char* text, std::uint32_t size) noexcept { return {text, size}; }

}  // namespace

// malloc() and not new: the latter brings in the C++ runtime, which on Windows may bring a
// process-wide exception handler along.
Callback* Callback::Create(const Settings& settings) noexcept {
  void* const memory = std::malloc(sizeof(Callback));
  return memory == nullptr ? nullptr : new (memory) Callback(settings);
}

void Callback::Abandon() noexcept {
  this->~Callback();
  std::free(this);
}

bool Callback::Record(Ring* ring, const Recorder* recorder, const Open& open) noexcept {
  recording_ = session_.Open(ring, recorder, open);
  if (!recording_) return false;
  live[session_.slot() - &ring->session(0)].store(this, std::memory_order_release);
  return true;
}

Callback* Callback::Find(const void* object) noexcept {
  for (const std::atomic<Callback*>& entry : live) {
    Callback* const callback = entry.load(std::memory_order_acquire);
    if (callback != nullptr && callback == object) return callback;
  }
  return nullptr;
}

Hresult Callback::QueryInterface(const Guid& iid, void** object) noexcept {
  if (object == nullptr) return kInvalidArgument;
  if (iid == kIidUnknown || iid == kIidProgressCallback) {
    *object = static_cast<ProgressCallback*>(this);
    AddRef();
    return kOk;
  }
  // Never passed on to the inner object: what came back would bypass this one.
  *object = nullptr;
  if (recording_ && !iid_noted_.exchange(true, std::memory_order_relaxed)) {
    char text[kGuidChars];
    FormatGuid(iid, text);
    session_.Note(Literal("unknown_iid", 11), Literal(text, kGuidChars));
  }
  return kNoInterface;
}

std::uint32_t Callback::AddRef() noexcept {
  return refs_.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::uint32_t Callback::Release() noexcept {
  const std::uint32_t left = refs_.fetch_sub(1, std::memory_order_acq_rel) - 1;
  if (left != 0) return left;
  if (recording_) {
    for (std::atomic<Callback*>& entry : live) {
      Callback* self = this;
      if (entry.compare_exchange_strong(self, nullptr, std::memory_order_release,
                                        std::memory_order_relaxed)) {
        break;
      }
    }
    session_.Close();
  }
  if (settings_.inner != nullptr) settings_.inner->Release();
  Abandon();
  return 0;
}

// In each call the object holds a reference to itself: the provider may release its own in the
// middle of it, from inside or beside.
Hresult Callback::Progress(const char16_t* text, std::uint32_t index,
                           std::uint32_t index_max) noexcept {
  AddRef();
  const std::uint64_t call = recording_ ? session_.Progress(text, index, index_max) : 0;
  const Hresult result = Forward(Method::kProgress, call, [&]() noexcept {
    return settings_.inner->Progress(text, index, index_max);
  });
  Release();
  return result;
}

Hresult Callback::Error(Hresult error, const char16_t* text) noexcept {
  AddRef();
  const std::uint64_t call =
      recording_ ? session_.Error(static_cast<std::uint32_t>(error), text) : 0;
  const Hresult result =
      Forward(Method::kError, call, [&]() noexcept { return settings_.inner->Error(error, text); });
  Release();
  return result;
}

Hresult Callback::Done(void* thread_done_event, Hresult done) noexcept {
  AddRef();
  const std::uint64_t call =
      recording_ ? session_.Done(static_cast<std::uint32_t>(done), Match(thread_done_event)) : 0;
  const Hresult result = Forward(Method::kDone, call, [&]() noexcept {
    return settings_.inner->Done(thread_done_event, done);
  });
  if (settings_.close_done_event && thread_done_event != nullptr &&
      !event_closed_.exchange(true, std::memory_order_relaxed)) {
    CloseHandleValue(thread_done_event);
  }
  Release();
  return result;
}

HandleMatch Callback::Match(const void* handle) const noexcept {
  if (handle == nullptr) return HandleMatch::kNull;
  if (settings_.sync_done_event == nullptr) return HandleMatch::kNothingToCompare;
  // The provider's threads write it whenever they like; a pointer is read in one piece.
  const void* const event = *static_cast<void* const volatile*>(settings_.sync_done_event);
  if (event == nullptr) return HandleMatch::kNothingToCompare;
  return event == handle ? HandleMatch::kEqual : HandleMatch::kDiffers;
}

template <typename Call>
Hresult Callback::Forward(Method method, std::uint64_t call, Call&& inner) noexcept {
  if (settings_.inner == nullptr) return kOk;
  if (!recording_) return inner();
  const Session::Inside inside = session_.Enter(method, call);
  const Hresult result = inner();
  session_.Leave(inside, static_cast<std::uint32_t>(result));
  return result;
}

}  // namespace mapisync
