#include "callback.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "hazards.h"
#include "platform.h"
#include "session_progress.h"

namespace mapisync {
namespace {

// The objects with a session, by the slot that they hold. Zero-initialised, never destroyed.
std::atomic<Callback*> live[kMaxSessionsPerRing];

// Those after their last Release, and where the next one goes.
std::atomic<Callback*> husks[Callback::kMaxHusks];
std::atomic<std::uint32_t> next_husk;

// Those that their provider borrows. Whoever takes one out gives its reference back.
std::atomic<Callback*> borrowed[Callback::kMaxBorrowed];
std::atomic<std::uint32_t> next_borrowed;

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

Text Literal(const char* text) noexcept {
  return {text, static_cast<std::uint32_t>(std::strlen(text))};
}

}  // namespace

// malloc() and not new: the latter brings in the C++ runtime, which on Windows may bring a
// process-wide exception handler along.
Callback* Callback::Create(const Settings& settings, const mapisync_mapisib* sib) noexcept {
  static_assert(sizeof(Callback) % alignof(mapisync_mapisib) == 0, "The copy stands behind it");
  const std::size_t sib_bytes = sib == nullptr ? 0 : sib->ulSize;
  void* const memory = std::malloc(sizeof(Callback) + sib_bytes);
  if (memory == nullptr) return nullptr;
  Hazard::Begin();
  auto* const callback = new (memory) Callback(settings);
  if (sib != nullptr) {
    std::memcpy(static_cast<void*>(callback->sib()), sib, sib_bytes);
    callback->sib()->punkCallBack = static_cast<ProgressCallback*>(callback);
  }
  return callback;
}

void Callback::Abandon() noexcept {
  this->~Callback();
  std::free(this);
}

bool Callback::Record(Ring* ring, const Recorder* recorder, const Open& open) noexcept {
  has_session_ = session_.Open(ring, recorder, open);
  if (!has_session_) return false;
  state_.fetch_or(kRecording, std::memory_order_relaxed);
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
  char text[kGuidChars];
  FormatGuid(iid, text);
  NoteOnce(&iid_noted_, Literal("unknown_iid"), {text, kGuidChars});
  return kNoInterface;
}

void Callback::NoteOnce(std::atomic<bool>* noted, Text key, Text value) noexcept {
  if (has_session_ && !noted->exchange(true, std::memory_order_relaxed)) session_.Note(key, value);
}

std::uint32_t Callback::AddRef() noexcept {
  owned_.fetch_add(1, std::memory_order_relaxed);
  return refs_.fetch_add(1, std::memory_order_relaxed) + 1;
}

std::uint32_t Callback::Release() noexcept {
  owned_.fetch_sub(1, std::memory_order_relaxed);
  return Drop();
}

void Callback::Hold() noexcept { refs_.fetch_add(1, std::memory_order_relaxed); }

std::uint32_t Callback::Drop() noexcept {
  const std::uint32_t left = refs_.fetch_sub(1, std::memory_order_acq_rel) - 1;
  if (left == 0) Retire();
  return left;
}

// Nobody has a reference. A call may still run, and may have taken one. A husk's own calls count
// references too.
void Callback::Retire() noexcept {
  if (husk_.load(std::memory_order_relaxed) || Hazard::HandOver(this)) return;
  if (refs_.load(std::memory_order_relaxed) != 0) return;
  if (!husk_.exchange(true, std::memory_order_relaxed)) BecomeHusk();
}

void Callback::LetGo(Hresult result) noexcept {
  // One that failed has begun nothing, and one that holds a reference says itself when it is done.
  const bool may_borrow = result >= 0 && is_tee() && owned_.load(std::memory_order_acquire) == 1;
  if (!may_borrow || done_.load()) {
    Release();
    return;
  }
  Hold();
  state_.fetch_or(kBorrowed, std::memory_order_relaxed);
  const std::uint32_t at = next_borrowed.fetch_add(1, std::memory_order_relaxed) % kMaxBorrowed;
  Callback* const oldest = borrowed[at].exchange(this);
  if (oldest != nullptr) oldest->Release();
  // A Done that came back meanwhile may not have found it there.
  if (done_.load()) TakeBack();
  Drop();
}

void Callback::TakeBack() noexcept {
  for (std::atomic<Callback*>& entry : borrowed) {
    Callback* self = this;
    if (entry.load() == this && entry.compare_exchange_strong(self, nullptr)) Release();
  }
}

void Callback::NoteBorrowed(const char* method) noexcept {
  const unsigned char before =
      state_.fetch_and(static_cast<unsigned char>(~kBorrowed), std::memory_order_relaxed);
  if ((before & kBorrowed) == 0 || owned_.load(std::memory_order_relaxed) != 1) return;
  if (has_session_) session_.Note(Literal("borrowed"), Literal(method));
}

void Callback::BecomeHusk() noexcept {
  if (has_session_) {
    for (std::atomic<Callback*>& entry : live) {
      Callback* self = this;
      if (entry.compare_exchange_strong(self, nullptr, std::memory_order_release,
                                        std::memory_order_relaxed)) {
        break;
      }
    }
    state_.fetch_and(static_cast<unsigned char>(~kRecording), std::memory_order_relaxed);
    session_.Close();
  }
  ProgressCallback* const inner = settings_.inner;
  settings_.inner = nullptr;
  settings_.sync_done_event = nullptr;
  settings_.close_done_event = false;
  if (inner != nullptr) inner->Release();
  const std::uint32_t at = next_husk.fetch_add(1, std::memory_order_relaxed) % kMaxHusks;
  Callback* const oldest = husks[at].exchange(this, std::memory_order_acq_rel);
  if (oldest != nullptr) oldest->Abandon();
}

// Whether there is an open session, for a call of that method.
MAPISYNC_INLINE bool Callback::MayRecord(const char* method) noexcept {
  return MAPISYNC_LIKELY(state_.load(std::memory_order_relaxed) == kRecording) ||
         LookCloser(method);
}

MAPISYNC_RARE bool Callback::LookCloser(const char* method) noexcept {
  const unsigned char state = state_.load(std::memory_order_relaxed);
  if (state & kBorrowed) NoteBorrowed(method);
  if (state & kRecording) return true;
  if (husk_.load(std::memory_order_relaxed)) {
    NoteOnce(&late_noted_, Literal("used_after_release"), Literal(method));
  }
  return false;
}

void Callback::Returned(Hresult result, std::uint64_t duration_us, const void* event) noexcept {
  returned_event_.store(event, std::memory_order_relaxed);
  session_.Returned(static_cast<std::uint32_t>(result), duration_us, event != nullptr);
}

// Around each call: the provider may release its own reference in the middle of it, from inside or
// beside. Without a hazard the object holds a reference to itself.
MAPISYNC_INLINE Hazard* Callback::GoInside(std::uint32_t thread) noexcept {
  Hazard* const hazard = Hazard::Enter(thread, this);
  if (!MAPISYNC_LIKELY(hazard != nullptr)) Hold();
  return hazard;
}

MAPISYNC_INLINE void Callback::ComeOut(Hazard* hazard) noexcept {
  if (!MAPISYNC_LIKELY(hazard != nullptr)) {
    Drop();
    return;
  }
  void* const left = hazard->Leave();
  if (!MAPISYNC_LIKELY(left == nullptr)) static_cast<Callback*>(left)->Retire();
}

Hresult Callback::Progress(const char16_t* text, std::uint32_t index,
                           std::uint32_t index_max) noexcept {
  const std::uint32_t thread = ThreadId();
  Hazard* const hazard = GoInside(thread);
  std::uint64_t call = 0;
  if (MayRecord("Progress")) {
    call = session_.Progress(thread, text, index, index_max);
  }
  const Hresult result = Forward(thread, Method::kProgress, call, [&]() noexcept {
    return settings_.inner->Progress(text, index, index_max);
  });
  ComeOut(hazard);
  return result;
}

Hresult Callback::Error(Hresult error, const char16_t* text) noexcept {
  const std::uint32_t thread = ThreadId();
  Hazard* const hazard = GoInside(thread);
  std::uint64_t call = 0;
  if (MayRecord("Error")) {
    call = session_.Error(thread, static_cast<std::uint32_t>(error), text);
  }
  const Hresult result = Forward(thread, Method::kError, call,
                                 [&]() noexcept { return settings_.inner->Error(error, text); });
  ComeOut(hazard);
  return result;
}

Hresult Callback::Done(void* thread_done_event, Hresult done) noexcept {
  const std::uint32_t thread = ThreadId();
  Hazard* const hazard = GoInside(thread);
  std::uint64_t call = 0;
  if (MayRecord("Done")) {
    call = session_.Done(thread, static_cast<std::uint32_t>(done), Match(thread_done_event));
  }
  const Hresult result = Forward(thread, Method::kDone, call, [&]() noexcept {
    return settings_.inner->Done(thread_done_event, done);
  });
  if (settings_.close_done_event && thread_done_event != nullptr &&
      !event_closed_.exchange(true, std::memory_order_relaxed)) {
    CloseHandleValue(thread_done_event);
  }
  done_.store(true);
  TakeBack();
  ComeOut(hazard);
  return result;
}

HandleMatch Callback::Match(const void* handle) const noexcept {
  if (handle == nullptr) return HandleMatch::kNull;
  // The provider's threads write it whenever they like; a pointer is read in one piece.
  const void* const event = settings_.sync_done_event != nullptr
                                ? *static_cast<void* const volatile*>(settings_.sync_done_event)
                                : returned_event_.load(std::memory_order_relaxed);
  if (event == nullptr) return HandleMatch::kNothingToCompare;
  return event == handle ? HandleMatch::kEqual : HandleMatch::kDiffers;
}

template <typename Call>
Hresult Callback::Forward(std::uint32_t thread, Method method, std::uint64_t call,
                          Call&& inner) noexcept {
  if (settings_.inner == nullptr) return kOk;
  if ((state_.load(std::memory_order_relaxed) & kRecording) == 0) return inner();
  const Session::Inside inside = session_.Enter(thread, method, call);
  const Hresult result = inner();
  session_.Leave(thread, inside, static_cast<std::uint32_t>(result));
  return result;
}

}  // namespace mapisync
