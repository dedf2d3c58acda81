// The POSIX edge: Linux first of all, and macOS as far as both agree. Here: clocks, threads, the
// process.
#ifndef _WIN32

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#ifdef __linux__
#include <sys/random.h>
#include <sys/syscall.h>
#endif

#include <cstdio>

#include "platform.h"
#include "posix_calls.h"

namespace mapisync {
namespace {

std::uint64_t ReadClock(clockid_t clock) noexcept {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000000u +
         static_cast<std::uint64_t>(now.tv_nsec) / 1000u;
}

bool MakePipe(int fds[2]) noexcept {
#ifdef __linux__
  return pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0;
#else
  return pipe(fds) == 0 && SetFlags(fds[0]) && SetFlags(fds[1]);
#endif
}

}  // namespace

std::uint64_t NowUs() noexcept { return ReadClock(CLOCK_MONOTONIC); }
std::uint64_t WallUs() noexcept { return ReadClock(CLOCK_REALTIME); }

bool NowIsTicks() noexcept {
#ifdef __linux__
  char name[40] = {};
  const int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource",
                      O_RDONLY | O_CLOEXEC);
  if (fd == -1) return false;
  const ssize_t size = Retry([&] { return read(fd, name, sizeof name - 1); });
  close(fd);
  if (size <= 0) return false;
  return strcmp(name, "tsc\n") == 0 || strcmp(name, "kvm-clock\n") == 0 ||
         strcmp(name, "hyperv_clocksource_tsc_page\n") == 0;
#else
  return false;
#endif
}

__thread std::uint32_t cached_thread_id = 0;

std::uint32_t AskThreadId() noexcept {
#ifdef __linux__
  cached_thread_id = static_cast<std::uint32_t>(syscall(SYS_gettid));
#else
  std::uint64_t id = 0;
  pthread_threadid_np(nullptr, &id);
  cached_thread_id = static_cast<std::uint32_t>(id);
#endif
  return cached_thread_id;
}

bool IsThreadDead(std::uint32_t thread) noexcept {
#ifdef __linux__
  return syscall(SYS_tgkill, getpid(), static_cast<pid_t>(thread), 0) == -1 && errno == ESRCH;
#else
  (void)thread;
  return false;
#endif
}

namespace {

// glibc keeps the values of so many keys in the thread itself, and sets those of others on the
// heap.
constexpr pthread_key_t kKeysInThread = 32;

pthread_key_t thread_end_key;
void (*thread_ended)() = nullptr;  // Set before any thread is watched.

void EndThread(void*) noexcept { thread_ended(); }

}  // namespace

void OnThreadEnd(void (*ended)()) noexcept {
  if (pthread_key_create(&thread_end_key, EndThread) != 0) return;
  if (thread_end_key < kKeysInThread) thread_ended = ended;
}

void WatchThreadEnd() noexcept {
  if (thread_ended != nullptr) pthread_setspecific(thread_end_key, &thread_end_key);
}

#ifdef __linux__
namespace {
// linux/membarrier.h came with 4.3, these two with 4.14.
constexpr int kPrivateExpedited = 1 << 3;
constexpr int kRegisterPrivateExpedited = 1 << 4;
}  // namespace

void BarrierAllThreads() noexcept {
  // A forked child may have to register anew.
  if (syscall(SYS_membarrier, kPrivateExpedited, 0, 0) == -1 && CanBarrierAllThreads()) {
    syscall(SYS_membarrier, kPrivateExpedited, 0, 0);
  }
}
bool CanBarrierAllThreads() noexcept {
  return syscall(SYS_membarrier, kRegisterPrivateExpedited, 0, 0) == 0;
}
#else
void BarrierAllThreads() noexcept {}
bool CanBarrierAllThreads() noexcept { return false; }
#endif

std::uint32_t ProcessId() noexcept { return static_cast<std::uint32_t>(getpid()); }

void ExecutableName(char* out, std::size_t capacity) noexcept {
  char path[4096];
#ifdef __linux__
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
  path[size > 0 ? size : 0] = '\0';
#else
  snprintf(path, sizeof path, "%s", getprogname());
#endif
  const char* const slash = strrchr(path, '/');
  const char* const name = slash != nullptr ? slash + 1 : path;
  std::size_t size_bytes = strlen(name);
  if (size_bytes >= capacity) size_bytes = capacity - 1;
  // Back to the first byte of the character that does not fit.
  while (size_bytes > 0 && (name[size_bytes] & 0xc0) == 0x80) size_bytes--;
  memcpy(out, name, size_bytes);
  out[size_bytes] = '\0';
}

void BootId(unsigned char out[16]) noexcept {
  memset(out, 0, 16);
#ifdef __linux__
  char text[40] = {};
  const int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd == -1) return;
  const ssize_t size = Retry([&] { return read(fd, text, sizeof text - 1); });
  close(fd);
  unsigned digits = 0;
  for (ssize_t i = 0; i < size && digits < 32; i++) {
    const char c = text[i];
    if (c == '-') continue;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) break;
    out[digits / 2] = static_cast<unsigned char>(out[digits / 2] << 4 | digit);
    digits++;
  }
  if (digits != 32) memset(out, 0, 16);
#endif
}

bool RandomBytes(void* out, std::size_t size_bytes) noexcept {
#ifdef __linux__
  // Up to 256 bytes come whole, and only a machine that is just starting makes it wait.
  return Retry([&] { return getrandom(out, size_bytes, 0); }) == static_cast<ssize_t>(size_bytes);
#else
  return getentropy(out, size_bytes) == 0;
#endif
}

void CloseHandleValue(void*) noexcept {}

namespace {

// Not on the heap: glibc sets 64 MiB of addresses aside for a thread that as much as frees
// something.
struct ThreadStart {
  void (*run)(void*);
  void* argument;
} thread_start;

void* RunThread(void*) noexcept {
#ifdef __linux__
  pthread_setname_np(pthread_self(), "mapisync");
#else
  pthread_setname_np("mapisync");
#endif
  thread_start.run(thread_start.argument);
  return nullptr;
}

}  // namespace

bool StartThread(void (*run)(void*), void* argument) noexcept {
  thread_start = {run, argument};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kThreadStackBytes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // A thread inherits its mask: the host's handlers must not run on ours.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, RunThread, nullptr);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  return error == 0;
}

void PinModule() noexcept {}

bool OnForkInChild(void (*child)()) noexcept {
  return pthread_atfork(nullptr, nullptr, child) == 0;
}

void SleepMs(std::uint32_t ms) noexcept { poll(nullptr, 0, static_cast<int>(ms)); }

bool Event::Init() noexcept { return MakePipe(fds_); }

void Event::Set() noexcept {
  const char byte = 1;
  // A full pipe is as good as one byte in it.
  const ssize_t ignored = Retry([&] { return write(fds_[1], &byte, 1); });
  (void)ignored;
}

void Event::Wait(std::uint32_t ms, std::intptr_t unsent) noexcept {
  // One that is negative is not looked at.
  pollfd waited[] = {{fds_[0], POLLIN, 0}, {static_cast<int>(unsent), POLLOUT, 0}};
  if (poll(waited, 2, ms == kForever ? -1 : static_cast<int>(ms)) <= 0) return;
  if (waited[0].revents == 0) return;
  char bytes[64];
  while (read(fds_[0], bytes, sizeof bytes) == sizeof bytes) {
  }
}

}  // namespace mapisync

#endif  // _WIN32
