// The Windows edge. Here: clocks, threads, the process, the module.
#ifdef _WIN32

#include "win32_calls.h"
// After it, since it needs its types.
#include <bcrypt.h>

#include "platform.h"

#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 0x2  // Windows 10 1803.
#endif

namespace mapisync {

namespace {
constexpr std::uint64_t kTicksFrequency = 10000000;
}

bool NowIsTicks() noexcept {
  // Windows 10 1809 and later, and Wine. Other clocks have frequencies of their own.
  LARGE_INTEGER frequency;
  QueryPerformanceFrequency(&frequency);
  return static_cast<std::uint64_t>(frequency.QuadPart) == kTicksFrequency;
}

std::uint64_t NowUs() noexcept {
  LARGE_INTEGER frequency, now;
  QueryPerformanceFrequency(&frequency);  // Read from a page that all processes share.
  QueryPerformanceCounter(&now);
  const auto per_second = static_cast<std::uint64_t>(frequency.QuadPart);
  const auto ticks = static_cast<std::uint64_t>(now.QuadPart);
  // What it mostly is, and no division by a number that is known only now.
  if (per_second == kTicksFrequency) return ticks / 10;
  // In two parts: ticks times a million would overflow within weeks.
  return ticks / per_second * 1000000 + ticks % per_second * 1000000 / per_second;
}

std::uint64_t WallUs() noexcept {
  constexpr std::uint64_t kFrom1601To1970Us = 11644473600000000;
  FILETIME time;
  GetSystemTimeAsFileTime(&time);
  const std::uint64_t ticks =
      static_cast<std::uint64_t>(time.dwHighDateTime) << 32 | time.dwLowDateTime;
  return ticks / 10 - kFrom1601To1970Us;
}

std::uint32_t ThreadId() noexcept { return GetCurrentThreadId(); }

bool IsThreadDead(std::uint32_t thread) noexcept {
  const HANDLE handle = OpenThread(SYNCHRONIZE | THREAD_QUERY_LIMITED_INFORMATION, FALSE, thread);
  if (handle == nullptr) return GetLastError() == ERROR_INVALID_PARAMETER;
  // The number may belong to another process's thread by now.
  const DWORD process = GetProcessIdOfThread(handle);
  const bool dead = (process != 0 && process != GetCurrentProcessId()) ||
                    WaitForSingleObject(handle, 0) == WAIT_OBJECT_0;
  CloseHandle(handle);
  return dead;
}

namespace {
std::atomic<void (*)()> thread_ended{nullptr};
}

void OnThreadEnd(void (*ended)()) noexcept { thread_ended.store(ended, std::memory_order_release); }
void WatchThreadEnd() noexcept {}

void BarrierAllThreads() noexcept { FlushProcessWriteBuffers(); }
bool CanBarrierAllThreads() noexcept {
  // Wine 8 has the function, which does nothing.
  const HMODULE ntdll = GetModuleHandleA("ntdll");
  return ntdll != nullptr && GetProcAddress(ntdll, "wine_get_version") == nullptr;
}

std::uint32_t ProcessId() noexcept { return GetCurrentProcessId(); }

void ExecutableName(char* out, std::size_t capacity) noexcept {
  wchar_t path[Path::kMaxChars];
  const DWORD size = GetModuleFileNameW(nullptr, path, Path::kMaxChars - 1);
  path[size] = L'\0';
  const wchar_t* const slash = std::wcsrchr(path, L'\\');
  char name[4 * Path::kMaxChars] = {};
  WideCharToMultiByte(CP_UTF8, 0, slash != nullptr ? slash + 1 : path, -1, name, sizeof name,
                      nullptr, nullptr);
  std::size_t size_bytes = std::strlen(name);
  if (size_bytes >= capacity) size_bytes = capacity - 1;
  // Back to the first byte of the character that does not fit.
  while (size_bytes > 0 && (name[size_bytes] & 0xc0) == 0x80) size_bytes--;
  std::memcpy(out, name, size_bytes);
  out[size_bytes] = '\0';
}

// Windows tells none that both languages could read.
void BootId(unsigned char out[16]) noexcept { std::memset(out, 0, 16); }

bool RandomBytes(void* out, std::size_t size_bytes) noexcept {
  return BCryptGenRandom(nullptr, static_cast<PUCHAR>(out), static_cast<ULONG>(size_bytes),
                         BCRYPT_USE_SYSTEM_PREFERRED_RNG) >= 0;
}

void CloseHandleValue(void* handle) noexcept { CloseHandle(handle); }

namespace {

struct ThreadStart {
  void (*run)(void*);
  void* argument;
} thread_start;

DWORD WINAPI RunThread(void*) noexcept {
  thread_start.run(thread_start.argument);
  return 0;
}

}  // namespace

bool StartThread(void (*run)(void*), void* argument) noexcept {
  thread_start = {run, argument};
  const HANDLE thread = CreateThread(nullptr, kThreadStackBytes, RunThread, nullptr,
                                     STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
  if (thread == nullptr) return false;
  CloseHandle(thread);
  return true;
}

void PinModule() noexcept {
  HMODULE module;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS,
                     reinterpret_cast<const wchar_t*>(reinterpret_cast<const void*>(&PinModule)),
                     &module);
}

bool OnForkInChild(void (*)()) noexcept { return true; }

void SleepMs(std::uint32_t ms) noexcept { Sleep(ms); }

bool Event::Init() noexcept {
  event_ = CreateEventW(nullptr, FALSE, FALSE, nullptr);
  // A plain wait is rounded up to 15.6 ms.
  timer_ = CreateWaitableTimerExW(nullptr, nullptr, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION,
                                  TIMER_ALL_ACCESS);
  return event_ != nullptr;
}

void Event::Set() noexcept { SetEvent(event_); }

void Event::Wait(std::uint32_t ms, std::intptr_t unsent) noexcept {
  static_assert(kForever == INFINITE, "Passed on as it is");
  HANDLE handles[3] = {event_};
  DWORD count = 1;
  if (unsent != kNoHandle) handles[count++] = reinterpret_cast<HANDLE>(unsent);
  LARGE_INTEGER due;
  due.QuadPart = -static_cast<LONGLONG>(ms) * 10000;  // Relative, in units of 100 ns.
  if (ms != kForever && timer_ != nullptr &&
      SetWaitableTimer(timer_, &due, 0, nullptr, nullptr, FALSE)) {
    handles[count++] = timer_;
    ms = INFINITE;
  }
  WaitForMultipleObjects(count, handles, FALSE, ms);
}

}  // namespace mapisync

#ifdef MAPISYNC_BUILD_SHARED
extern "C" BOOL WINAPI DllMain(HINSTANCE, DWORD reason, void*) {
  if (reason != DLL_THREAD_DETACH) return TRUE;
  void (*const ended)() = mapisync::thread_ended.load(std::memory_order_acquire);
  if (ended != nullptr) ended();
  return TRUE;
}
#endif

#endif  // _WIN32
