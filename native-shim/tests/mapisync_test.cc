// The public functions, with the real recorder behind them and no daemon.
#include "mapisync.h"

#include <atomic>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "callback.h"
#include "check.h"
#include "recorder.h"
#include "scratch_dir.h"
#include "sha256.h"

#if defined(__linux__)
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if !defined(SANITIZED) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define WATCHED 1  // Allocations and system calls can be watched.
#endif
#endif

#if defined(WATCHED)
namespace {
thread_local unsigned long allocations = 0;
}
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* malloc(std::size_t size) {
  allocations++;
  return __libc_malloc(size);
}
#endif

namespace mapisync {
namespace {

std::string program;  // The path of this one.

void SetEnvironment(const char* name, const std::string& value) {
#ifdef _WIN32
  _putenv_s(name, value.c_str());
#else
  setenv(name, value.c_str(), 1);
#endif
}

class Inner final : public ProgressCallback {
 public:
  explicit Inner(bool willing = true) : willing_(willing) {}
  Hresult MAPISYNC_CALL QueryInterface(const Guid& iid, void** object) noexcept override {
    const bool known = willing_ && (iid == kIidUnknown || iid == kIidProgressCallback);
    *object = known ? this : nullptr;
    if (known) refs++;
    return known ? kOk : kNoInterface;
  }
  std::uint32_t MAPISYNC_CALL AddRef() noexcept override { return ++refs; }
  std::uint32_t MAPISYNC_CALL Release() noexcept override { return --refs; }
  Hresult MAPISYNC_CALL Progress(const char16_t*, std::uint32_t, std::uint32_t) noexcept override {
    calls++;
    return 3;
  }
  Hresult MAPISYNC_CALL Error(Hresult, const char16_t*) noexcept override { return 4; }
  Hresult MAPISYNC_CALL Done(void*, Hresult) noexcept override { return 5; }

  std::atomic<std::uint32_t> refs{1};
  std::atomic<std::uint32_t> calls{0};

 private:
  bool willing_;
};

mapisync_options Options(std::uint32_t flags) {
  mapisync_options options = {};
  options.size = sizeof options;
  options.flags = flags;
  return options;
}

mapisync_status Status() {
  mapisync_status status = {};
  status.size = sizeof status;
  mapisync_get_status(&status);
  return status;
}

// Where nothing is recorded: a tee is the callback itself, a sink a callback that does nothing.
void ChecksThatNothingIsRecorded() {
  Inner inner;
  CHECK(mapisync_tee(nullptr, nullptr) == nullptr);
  CHECK(mapisync_tee(&inner, nullptr) == &inner);
  CHECK_EQ(inner.refs.load(), 2u);
  // Any object will do where no method but AddRef() is called.
  CHECK(mapisync_wrap(nullptr, nullptr) == nullptr);
  CHECK(mapisync_wrap(&inner, nullptr) == &inner);
  CHECK_EQ(inner.refs.load(), 3u);
  char id[MAPISYNC_SESSION_ID_CHARS] = "unchanged";
  CHECK_EQ(mapisync_session_id(&inner, id), 0);
  CHECK_EQ(std::string(id), std::string());
  mapisync_note(&inner, u"key", u"value");
  auto* const sink = static_cast<ProgressCallback*>(mapisync_sink(nullptr));
  CHECK(sink != nullptr);
  CHECK_EQ(sink->Progress(u"x", 1, 2), kOk);
  CHECK_EQ(sink->Error(7, u"x"), kOk);
  CHECK_EQ(sink->Done(nullptr, 7), kOk);
  CHECK_EQ(mapisync_session_id(sink, id), 0);
  void* same = nullptr;
  CHECK_EQ(sink->QueryInterface(kIidProgressCallback, &same), kOk);
  CHECK(same == sink);
  CHECK_EQ(sink->Release(), 1u);
  CHECK_EQ(sink->Release(), 0u);
  CHECK_EQ(mapisync_flush(0), 0);
  CHECK_EQ(Status().recording, 0u);
  CHECK_EQ(Status().size, static_cast<std::uint32_t>(sizeof(mapisync_status)));
}

void IsDormantWithoutAStateDirectory() { ChecksThatNothingIsRecorded(); }

// Off is for good, so that has a process of its own.
void IsOffWhereItIsSwitchedOff() {
  CHECK_EQ(std::system(("\"" + program + "\" --off").c_str()), 0);
}

int BeOff() {
  SetEnvironment("MAPISYNC_DISABLE", "1");
  const mapisync_options options = Options(MAPISYNC_FORCE);
  Inner inner;
  CHECK(mapisync_tee(&inner, &options) == &inner);
  ChecksThatNothingIsRecorded();
  return check::failures;
}

void WakesUpByForce() {
  Inner inner;
  const mapisync_options options = Options(MAPISYNC_FORCE);
  auto* const tee = static_cast<ProgressCallback*>(mapisync_tee(&inner, &options));
  CHECK(tee != &inner);
  CHECK_EQ(inner.refs.load(), 2u);
  mapisync_status before = Status();
  CHECK_EQ(before.recording, 1u);
  CHECK_EQ(before.in_file, 1u);
  CHECK_EQ(before.connected, 0u);
  CHECK(before.recorded >= 1);
  CHECK_EQ(tee->Progress(u"Inbox", 1, 2), 3);
  CHECK_EQ(tee->Error(7, nullptr), 4);
  CHECK_EQ(tee->Done(nullptr, 0), 5);
  // Each with an `inner`, since the fake's results are not S_OK.
  CHECK_EQ(Status().recorded, before.recorded + 6);
  CHECK_EQ(mapisync_flush(0), 0);
  CHECK_EQ(tee->Release(), 0u);
  CHECK_EQ(inner.refs.load(), 1u);
  CHECK_EQ(Status().recorded, before.recorded + 7);
}

void NamesItsSession() {
  auto* const sink = static_cast<ProgressCallback*>(mapisync_sink(nullptr));
  char id[MAPISYNC_SESSION_ID_CHARS];
  CHECK_EQ(mapisync_session_id(sink, id), 1);
  unsigned char named[24] = {};
  std::memcpy(named, Recorder::Current()->ring_id(), 16);
  const std::uint64_t session = Callback::Find(sink)->session().id();
  for (int i = 0; i < 8; i++) {
    named[23 - i] = static_cast<unsigned char>(session >> 8 * i);
  }
  unsigned char hash[32];
  Sha256(named, sizeof named, hash);
  char wanted[MAPISYNC_SESSION_ID_CHARS];
  for (int i = 0; i < 8; i++) std::snprintf(wanted + 2 * i, 3, "%02x", hash[i]);
  CHECK_EQ(std::string(id), std::string(wanted));
  const std::uint64_t before = Status().recorded;
  mapisync_note(sink, u"phase", u"upload");
  CHECK_EQ(Status().recorded, before + 1);
  mapisync_note(sink, nullptr, u"upload");
  mapisync_note(sink, u"phase", nullptr);
  CHECK_EQ(Status().recorded, before + 1);
  sink->Release();
  CHECK_EQ(mapisync_session_id(sink, id), 0);
}

void PassesAnUnwillingCallbackOn() {
  Inner inner(false);
  const std::uint64_t before = Status().recorded;
  CHECK(mapisync_tee(&inner, nullptr) == &inner);
  CHECK_EQ(inner.refs.load(), 2u);
  CHECK_EQ(Status().recorded, before + 2);  // `open` and `close`.
}

void ReadsOptionsOfAnySize() {
  mapisync_options options = Options(0);
  options.provider = u"Contoso";
  // An older caller: what lies behind its size is not looked at.
  options.store = reinterpret_cast<const char16_t*>(std::uintptr_t{8});
  options.sync_done_event = reinterpret_cast<void* const*>(std::uintptr_t{8});
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{4}, offsetof(mapisync_options, provider),
        offsetof(mapisync_options, store)}) {
    options.size = static_cast<std::uint32_t>(size);
    auto* const sink = static_cast<ProgressCallback*>(mapisync_sink(&options));
    CHECK_EQ(sink->Done(&options, 0), kOk);
    sink->Release();
  }
  struct {
    mapisync_options known;
    unsigned char more[64];
  } newer = {};
  newer.known.size = sizeof newer;
  auto* const sink = static_cast<ProgressCallback*>(mapisync_sink(&newer.known));
  char id[MAPISYNC_SESSION_ID_CHARS];
  CHECK_EQ(mapisync_session_id(sink, id), 1);
  sink->Release();
}

void FillsAStatusOfAnySize() {
  mapisync_status status;
  std::memset(&status, 0xee, sizeof status);
  status.size = 8;
  mapisync_get_status(&status);
  CHECK_EQ(status.size, 8u);
  CHECK_EQ(status.recording, 1u);
  CHECK_EQ(status.in_file, 0xeeeeeeeeu);
  mapisync_get_status(nullptr);
}

void GivesTheCallbackBackWhereSlotsEnd() {
  std::vector<ProgressCallback*> sinks;
  char id[MAPISYNC_SESSION_ID_CHARS];
  for (std::uint32_t i = 0; i < kMaxSessionsPerRing; i++) {
    sinks.push_back(static_cast<ProgressCallback*>(mapisync_sink(nullptr)));
    CHECK_EQ(mapisync_session_id(sinks.back(), id), 1);
  }
  Inner inner;
  const std::uint64_t before = Status().lost;
  CHECK(mapisync_tee(&inner, nullptr) == &inner);
  CHECK_EQ(inner.refs.load(), 2u);
  CHECK_EQ(Status().lost, before + 1);
  auto* const sink = static_cast<ProgressCallback*>(mapisync_sink(nullptr));
  CHECK_EQ(sink->Progress(u"x", 1, 2), kOk);
  sink->Release();
  for (ProgressCallback* each : sinks) each->Release();
  CHECK(mapisync_tee(&inner, nullptr) != &inner);
}

#if defined(WATCHED)

// Every kind of call, in all its ways: short, long, NULL and odd texts, failing inner calls.
void CallAll(ProgressCallback* callback, const char16_t* long_text) {
  for (std::uint32_t i = 0; i < 200; i++) {
    callback->Progress(u"Synchronizing Inbox", i, 200);
    callback->Progress(nullptr, i, 200);
    callback->Progress(u"Größe \U0001F600", i, 200);
    callback->Progress(long_text, i, 200);
    callback->Error(static_cast<Hresult>(0x8004010f), long_text);
    callback->Done(callback, 0);
  }
}

void CallsAllocateNothing() {
  const std::u16string long_text(5000, u'l');
  Inner inner;
  auto* const tee = static_cast<ProgressCallback*>(mapisync_tee(&inner, nullptr));
  auto* const sink = static_cast<ProgressCallback*>(mapisync_sink(nullptr));
  CHECK(tee != &inner);
  CHECK(allocations > 0);  // The watch works.
  const unsigned long before = allocations;
  CallAll(tee, long_text.c_str());
  CallAll(sink, long_text.c_str());
  CHECK_EQ(allocations, before);
  tee->Release();
  sink->Release();
}

// Has the kernel end this process at the next system call of this thread that is not write().
bool ForbidSystemCalls() {
  sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_write, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  const sock_fprog filter = {sizeof rules / sizeof rules[0], rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

void CallsMakeNoSystemCalls() {
  int out[2];
  CHECK(pipe(out) == 0);
  const pid_t child = fork();
  if (child == 0) {
    // A forked child records nothing, so it becomes a program of its own.
    const std::string fd = std::to_string(out[1]);
    execl("/proc/self/exe", "mapisync_test", "--strict", fd.c_str(), static_cast<char*>(nullptr));
    _exit(9);
  }
  close(out[1]);
  char said[8] = {};
  CHECK_EQ(read(out[0], said, 4), ssize_t{4});
  CHECK_EQ(std::string(said), std::string("done"));
  close(out[0]);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int BeStrict(int fd) {
  const mapisync_options options = Options(MAPISYNC_FORCE);
  static const std::u16string long_text(5000, u'l');
  static Inner inner;
  static ProgressCallback* const tee =
      static_cast<ProgressCallback*>(mapisync_tee(&inner, &options));
  static ProgressCallback* const sink = static_cast<ProgressCallback*>(mapisync_sink(&options));
  if (tee == &inner || Status().recording == 0) return 1;
  static std::atomic<int> ready{0};
  std::thread([fd] {
    tee->Progress(nullptr, 0, 0);  // The first call of a thread asks for its number.
    if (!ForbidSystemCalls()) _exit(2);
    // More than the ring holds: merging and losing make none either.
    for (int i = 0; i < 30; i++) {
      CallAll(tee, long_text.c_str());
      CallAll(sink, long_text.c_str());
    }
    if (write(fd, "done", 4) != 4) ready = 2;
    ready = 1;
    for (;;) {
    }
  }).detach();
  for (int ms = 0; ready == 0 && ms < 20000; ms++) usleep(1000);
  const bool merged = Status().merged > 0 && Status().lost > 0;
  _exit(ready == 1 && merged ? 0 : 3);
}

#endif

#if defined(__linux__)

void AForkedChildForwardsOnly() {
  Inner inner;
  auto* const tee = static_cast<ProgressCallback*>(mapisync_tee(&inner, nullptr));
  CHECK(tee != &inner);
  tee->Progress(u"parent", 1, 2);
  const pid_t child = fork();
  if (child == 0) {
    const bool forwards = tee->Progress(u"child", 1, 2) == 3 && inner.calls == 2 &&
                          tee->Error(1, u"child") == 4 && tee->Done(nullptr, 1) == 5;
    Inner other;
    const bool off = mapisync_tee(&other, nullptr) == &other;
    _exit(forwards && off && tee->Release() == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  const SessionSlot* const slot = Callback::Find(tee)->session().slot();
  CHECK_EQ(slot->state(), SessionSlot::kOpen);
  CHECK_EQ(slot->counters().progress, std::uint64_t{1});
  CHECK_EQ(slot->counters().errors, std::uint64_t{0});
  tee->Release();
  CHECK_EQ(slot->state(), SessionSlot::kFree);
}

#endif

}  // namespace
}  // namespace mapisync

int main(int argc, char** argv) {
  const ScratchDir scratch;
  mapisync::program = argv[0];
  mapisync::SetEnvironment("MAPISYNC_STATE_DIR", scratch.path() + "/state");  // Not there yet.
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode == "--off") return mapisync::BeOff();
#if defined(WATCHED)
  if (mode == "--strict") return mapisync::BeStrict(std::atoi(argv[2]));
#endif
  return check::Run({
    {"it is off where it is switched off", mapisync::IsOffWhereItIsSwitchedOff},
        {"it is dormant without a state directory", mapisync::IsDormantWithoutAStateDirectory},
        {"it wakes up by force, and records", mapisync::WakesUpByForce},
        {"mapisync_session_id() and mapisync_note() know the session", mapisync::NamesItsSession},
        {"a callback that refuses the interface is passed on",
         mapisync::PassesAnUnwillingCallbackOn},
        {"options of any size are read", mapisync::ReadsOptionsOfAnySize},
        {"a status of any size is filled", mapisync::FillsAStatusOfAnySize},
        {"where slots end the callback is given back", mapisync::GivesTheCallbackBackWhereSlotsEnd},
#if defined(WATCHED)
        {"calls allocate nothing", mapisync::CallsAllocateNothing},
        {"calls make no system calls", mapisync::CallsMakeNoSystemCalls},
#endif
#if defined(__linux__)
        {"a forked child forwards, and records nothing", mapisync::AForkedChildForwardsOnly},
#endif
  });
}
