// The COM edge: the object that a provider calls in the place of Outlook's callback (tee), or where
// there is no Outlook (sink: no inner callback). Order in each call: count and record, then call
// the inner object on the same thread, outside any lock, and give back its result bit for bit.
//
// After its last Release the object is a husk for a while: it keeps its memory, calls nobody, and
// answers S_OK. A provider that gives one reference too many back may have got away with it as long
// as Outlook held one of its own; it must not crash because of us. The first such call is noted.
//
// A provider behind a wrap may also borrow: keep the pointer out of MAPISIB without a reference of
// its own, as Outlook holds one. Then ours stands in for Outlook's until Done has come back.
#ifndef MAPISYNC_SRC_CALLBACK_H_
#define MAPISYNC_SRC_CALLBACK_H_

#include <atomic>
#include <cstdint>
#include <cstring>

#include "mapisync.h"
#include "session.h"

namespace mapisync {

class Hazard;

inline constexpr Guid kIidUnknown = MAPISYNC_IID_IUNKNOWN;
inline constexpr Guid kIidProgressCallback = MAPISYNC_IID_IMAPISYNCPROGRESSCALLBACK;

inline constexpr Hresult kOk = 0;
inline constexpr Hresult kNoInterface = static_cast<Hresult>(0x80004002);
inline constexpr Hresult kInvalidArgument = static_cast<Hresult>(0x80070057);

inline bool operator==(const Guid& a, const Guid& b) noexcept {
  return std::memcmp(&a, &b, sizeof a) == 0;
}

class Callback final : public ProgressCallback {
 public:
  struct Settings {
    ProgressCallback* inner = nullptr;       // Null: a sink. Its reference goes to the object.
    void* const* sync_done_event = nullptr;  // weak: what to compare Done's handle with.
    bool close_done_event = false;           // Sink: close Done's handle.
  };
  // How many objects stay husks at a time; with one more the oldest is freed.
  static constexpr std::uint32_t kMaxHusks = 64;
  // How many may be borrowed at a time; with one more the oldest is let go.
  static constexpr std::uint32_t kMaxBorrowed = 64;

  // Memory for one, with one reference. Null if there is none. The session is opened by the caller.
  // sib: if not null, its first ulSize bytes are copied, with the object as their punkCallBack;
  // that is at least as far as punkCallBack.
  static Callback* Create(const Settings& settings, const mapisync_mapisib* sib = nullptr) noexcept;
  // Takes back what Create() gave, as if it had never been; `inner` stays the caller's.
  void Abandon() noexcept;
  // Opens its session. False: it records nothing. Before anybody else knows the object.
  bool Record(Ring* ring, const Recorder* recorder, const Open& open) noexcept;

  // The object that the host knows by this pointer, if it is one of ours with a session, else null.
  // The caller has a reference to whatever it is; the pointer is only compared.
  static Callback* Find(const void* object) noexcept;
  Session& session() noexcept { return session_; }
  bool is_tee() const noexcept { return settings_.inner != nullptr; }
  // The copy that Create() made; lives as long as the object.
  mapisync_mapisib* sib() noexcept { return reinterpret_cast<mapisync_mapisib*>(this + 1); }
  // SynchronizeInBackground returned. event: *phSyncDoneEvent, to compare Done's handle with from
  // now on.
  void Returned(Hresult result, std::uint64_t duration_us, const void* event) noexcept;
  // Once, after Returned(): gives back the reference that Create() gave, at the latest when Done
  // has come back if the provider goes on without a reference of its own.
  void LetGo(Hresult result) noexcept;

  Hresult MAPISYNC_CALL QueryInterface(const Guid& iid, void** object) noexcept override;
  std::uint32_t MAPISYNC_CALL AddRef() noexcept override;
  std::uint32_t MAPISYNC_CALL Release() noexcept override;
  Hresult MAPISYNC_CALL Progress(const char16_t* text, std::uint32_t index,
                                 std::uint32_t index_max) noexcept override;
  Hresult MAPISYNC_CALL Error(Hresult result, const char16_t* text) noexcept override;
  Hresult MAPISYNC_CALL Done(void* thread_done_event, Hresult result) noexcept override;

 private:
  explicit Callback(const Settings& settings) noexcept : settings_(settings) {}
  ~Callback() = default;  // Release() and Abandon() only.

  // In state_: nearly all calls find kRecording alone.
  static constexpr unsigned char kRecording = 1;  // It has a session, which is open.
  static constexpr unsigned char kBorrowed = 2;   // Until that was noted.

  Hazard* GoInside(std::uint32_t thread) noexcept;
  void ComeOut(Hazard* hazard) noexcept;
  void Hold() noexcept;
  std::uint32_t Drop() noexcept;
  void Retire() noexcept;
  void TakeBack() noexcept;
  void NoteBorrowed(const char* method) noexcept;
  void NoteOnce(std::atomic<bool>* noted, Text key, Text value) noexcept;
  void BecomeHusk() noexcept;
  bool MayRecord(const char* method) noexcept;
  bool LookCloser(const char* method) noexcept;
  HandleMatch Match(const void* handle) const noexcept;
  template <typename Call>
  Hresult Forward(std::uint32_t thread, Method method, std::uint64_t call, Call&& inner) noexcept;

  std::atomic<std::uint32_t> refs_{1};   // With those that calls hold for want of a hazard.
  std::atomic<std::uint32_t> owned_{1};  // Without.
  std::atomic<bool> done_{false};        // A Done has come back.
  std::atomic<bool> iid_noted_{false};
  std::atomic<bool> late_noted_{false};
  std::atomic<bool> event_closed_{false};
  std::atomic<bool> husk_{false};
  bool has_session_ = false;
  std::atomic<unsigned char> state_{0};
  std::atomic<const void*> returned_event_{nullptr};
  Settings settings_;
  Session session_;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_CALLBACK_H_
