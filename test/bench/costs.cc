// Counts what calls of the shim do in the calling thread that they must not: allocations and locks
// by standing in front of the C library, system calls by seccomp. Linux x64 and arm64. Prints one
// JSON object; what the counters themselves see of a call that does such things comes first.
//
// costs SHIM
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstddef>

#include "module.h"

namespace {

thread_local bool counting;
int allocations, locks;
volatile sig_atomic_t system_calls;

template <typename Function>
Function Next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

// The dynamic linker finds these before those of the C library.
extern "C" {

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void __libc_free(void*);

void* malloc(size_t bytes) {
  allocations += counting;
  return __libc_malloc(bytes);
}
void* calloc(size_t count, size_t bytes) {
  allocations += counting;
  return __libc_calloc(count, bytes);
}
void* realloc(void* memory, size_t bytes) {
  allocations += counting;
  return __libc_realloc(memory, bytes);
}
void free(void* memory) {
  allocations += counting;
  __libc_free(memory);
}
int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  static const auto next = Next<int (*)(pthread_mutex_t*)>("pthread_mutex_lock");
  locks += counting;
  return next(mutex);
}
int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  static const auto next = Next<int (*)(pthread_mutex_t*)>("pthread_mutex_trylock");
  locks += counting;
  return next(mutex);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* lock) noexcept {
  static const auto next = Next<int (*)(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  locks += counting;
  return next(lock);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* lock) noexcept {
  static const auto next = Next<int (*)(pthread_rwlock_t*)>("pthread_rwlock_wrlock");
  locks += counting;
  return next(lock);
}

}  // extern "C"

namespace {

// Every system call of this thread but the few that end it becomes a signal, and is not made.
void CountSystemCalls() {
  struct sigaction action = {};
  action.sa_handler = [](int) { system_calls = system_calls + 1; };
  action.sa_flags = SA_NODEFER;
  sigaction(SIGSYS, &action, nullptr);
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigreturn, 3, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {sizeof program / sizeof *program, program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    Fail("Cannot count system calls: seccomp is not allowed here");
  }
}

void Calls(mapisync::ProgressCallback* callback) {
  const char16_t* const text = u"Synchronizing folder Inbox, item 0123456";
  for (uint32_t i = 0; i < 1000; i++) {
    callback->Progress(text, i, 1000);
    callback->Error(-2147467259, text);
    if (i % 100 == 0) callback->Done(nullptr, 0);
  }
}

struct Bare final : mapisync::ProgressCallback {
  mapisync::Hresult QueryInterface(const mapisync::Guid&, void** object) noexcept override {
    *object = this;
    return 0;
  }
  uint32_t AddRef() noexcept override { return 1; }
  uint32_t Release() noexcept override { return 1; }
  mapisync::Hresult Progress(const char16_t*, uint32_t, uint32_t) noexcept override { return 0; }
  mapisync::Hresult Error(mapisync::Hresult, const char16_t*) noexcept override { return 0; }
  mapisync::Hresult Done(void*, mapisync::Hresult) noexcept override { return 0; }
};

void Print(const char* name, bool last) {
  char line[128];
  const int size =
      std::snprintf(line, sizeof line, "\"%s\":{\"allocs\":%d,\"locks\":%d,\"syscalls\":%d}%s",
                    name, allocations, locks, static_cast<int>(system_calls), last ? "}\n" : ",");
  if (write(1, line, static_cast<size_t>(size)) != size) _exit(1);
  allocations = locks = 0;
  system_calls = 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) Fail("usage: costs SHIM");
  const Module module(argv[1]);
  Bare bare;
  auto* sink = static_cast<mapisync::ProgressCallback*>(module.sink(nullptr));
  auto* tee = static_cast<mapisync::ProgressCallback*>(module.tee(&bare, nullptr));
  if (tee == &bare) Fail("The shim does not record");
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  Calls(sink);
  Calls(tee);
  CountSystemCalls();

  if (write(1, "{", 1) != 1) _exit(1);
  counting = true;
  void* volatile memory = malloc(1);
  pthread_mutex_lock(&mutex);
  syscall(SYS_getppid);
  counting = false;
  Print("control", false);

  counting = true;
  Calls(sink);
  Calls(tee);
  counting = false;
  Print("calls", true);
  (void)memory;
  _exit(0);
}
