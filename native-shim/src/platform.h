// What the shim asks of the system: clocks, threads, the state directory, the ring's file, the
// pipe. One implementation for each system: *_posix.cc, *_win32.cc. Nothing here
// throws, and nothing waits but where it says so. But for the clocks, ThreadId() and
// CloseHandleValue(), none of it is called from Progress, Error or Done.
#ifndef MAPISYNC_SRC_PLATFORM_H_
#define MAPISYNC_SRC_PLATFORM_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "inlining.h"

namespace mapisync {

// --- Clocks ---

// The machine's monotonic clock, precise, in microseconds.
std::uint64_t NowUs() noexcept;
// Whether it is made of the processor's counter: then that is the same on all processors.
bool NowIsTicks() noexcept;
// Microseconds since 1970 UTC. May step backwards.
std::uint64_t WallUs() noexcept;

// --- Threads and the process ---

#ifdef _WIN32
// The system's number of the calling thread, as debuggers show it.
std::uint32_t ThreadId() noexcept;
#else
std::uint32_t AskThreadId() noexcept;
// Initial-exec: the general model may allocate at a thread's first access. `__thread`, not
// `thread_local`: no wrapper is called, since there is nothing to construct.
extern __thread std::uint32_t cached_thread_id __attribute__((tls_model("initial-exec")));
inline std::uint32_t ThreadId() noexcept {
  const std::uint32_t id = cached_thread_id;
  return MAPISYNC_LIKELY(id != 0) ? id : AskThreadId();
}
#endif

// Whether no thread of this process has that number any more. False where that cannot be proven.
bool IsThreadDead(std::uint32_t thread) noexcept;

// Has ended() called at the end of each thread that called WatchThreadEnd(), in that thread; on
// Windows, in a DLL of ours, of all others too. Where the system tells nothing of it, never. Once,
// before the first WatchThreadEnd().
void OnThreadEnd(void (*ended)()) noexcept;
void WatchThreadEnd() noexcept;

// Has every thread of this process pass a memory barrier before it returns, where
// CanBarrierAllThreads(), to be asked first, said that it can. Some microseconds.
void BarrierAllThreads() noexcept;
bool CanBarrierAllThreads() noexcept;

std::uint32_t ProcessId() noexcept;
// File name of the process's executable, UTF-8, no path, zero-terminated, cut at a character.
void ExecutableName(char* out, std::size_t capacity) noexcept;
// Changes with each start of the machine; all zero where the system tells none.
void BootId(unsigned char out[16]) noexcept;
// From the system's generator. False: there is none, and out is of no use.
[[nodiscard]] bool RandomBytes(void* out, std::size_t size_bytes) noexcept;

// Closes a HANDLE of the host's. Off Windows there is nothing to close.
void CloseHandleValue(void* handle) noexcept;

// Starts the one thread of ours, at most once in a process: detached, to the end of the process, on
// a stack of kThreadStackBytes. It takes no signals of the host's, and allocates nothing by itself.
inline constexpr std::size_t kThreadStackBytes = 262144;
[[nodiscard]] bool StartThread(void (*run)(void*), void* argument) noexcept;
// Keeps the module that holds this code loaded for the life of the process, since a thread runs in
// it. On POSIX the linker's `-z nodelete` does that.
void PinModule() noexcept;
// Calls `child` in every forked child of this process, before fork() returns there. False: cannot.
[[nodiscard]] bool OnForkInChild(void (*child)()) noexcept;
void SleepMs(std::uint32_t ms) noexcept;

// What is no open file or pipe. 0 on Windows, since what is all zero takes no room in a binary.
#ifdef _WIN32
inline constexpr std::intptr_t kNoHandle = 0;
#else
inline constexpr std::intptr_t kNoHandle = -1;
#endif

// Wakes one waiting thread. Set() may make a system call.
class Event {
 public:
  static constexpr std::uint32_t kForever = 0xffffffff;
  [[nodiscard]] bool Init() noexcept;
  void Set() noexcept;
  // Returns after Set(), after so many milliseconds, or once a Pipe::unsent() is worth a
  // Continue(), whatever comes first. Waits of a millisecond take about a millisecond, on Windows
  // too where it has timers for that.
  void Wait(std::uint32_t ms, std::intptr_t unsent = kNoHandle) noexcept;

 private:
#ifdef _WIN32
  void* event_ = nullptr;
  void* timer_ = nullptr;
#else
  int fds_[2] = {-1, -1};
#endif
};

// --- Where things lie ---

#ifdef _WIN32
using PathChar = wchar_t;
#else
using PathChar = char;
#endif
struct Path {
  static constexpr std::size_t kMaxChars = 1024;  // With the zero.
  PathChar text[kMaxChars];
};

// MAPISYNC_DISABLE=1, or the administrator's or the user's policy.
bool IsSwitchedOff() noexcept;

enum class StateDir { kUsable, kMissing, kRefused };
// Finds the state directory, and makes it and `rings` in it if `make` is set. kMissing: it is not
// there, and was not to be made. kRefused: not a directory, not this user's alone, or cannot be
// made.
StateDir FindStateDir(bool make, Path* state_dir) noexcept;

// Reads the file `endpoint`. Returns its size, 0 if there is none, it is not this user's alone, or
// it is larger than capacity.
std::size_t ReadEndpointFile(const Path& state_dir, char* out, std::size_t capacity) noexcept;

// --- The ring's memory ---

struct RingFile {
  void* memory = nullptr;  // Zeroed and faulted in; stays mapped to the end of the process.
  std::size_t size_bytes = 0;
  bool in_file = false;  // False: plain memory, dies with the process.
  std::intptr_t file = kNoHandle;
  Path path;  // Its present name.
};

// Makes `rings/<name>.ring`, of real blocks, locked as PROTOCOL.md says and mapped. On POSIX under
// a temporary name until PublishRingFile(). False: cannot (read-only, full, a network disk), and
// nothing is left behind.
[[nodiscard]] bool CreateRingFile(const Path& state_dir, const char* name, std::size_t size_bytes,
                                  RingFile* ring) noexcept;
// Gives the file its final name.
[[nodiscard]] bool PublishRingFile(const Path& state_dir, const char* name,
                                   RingFile* ring) noexcept;
// Unmaps, closes and deletes what CreateRingFile() made.
void DiscardRingFile(RingFile* ring) noexcept;
// The same in plain memory.
[[nodiscard]] bool AllocateRing(std::size_t size_bytes, RingFile* ring) noexcept;
// In a forked child: puts private memory in the place of the mapping, so that a write by the
// thread that came along goes nowhere.
void DetachRing(RingFile* ring) noexcept;

// Deletes the oldest rings whose owners are dead until at most `keep` such rings are left. Returns
// how many frames stood in those that it deleted.
std::uint64_t DeleteDeadRings(const Path& state_dir, unsigned keep) noexcept;

// --- The pipe ---

// A connection to the daemon, from one thread. No call waits.
class Pipe {
 public:
  enum class State {
    kReady,    // Done; the next may be asked for.
    kPending,  // Not yet; ask again.
    kBroken,   // Over, and how much of the last Send() arrived is unknown: Close().
  };
  // What one Send() may carry.
  static constexpr std::size_t kOutBytes = 65536;

  // name: as in the endpoint file, zero-terminated UTF-8. kPending: the daemon is there but busy.
  // kBroken: nobody listens, or not a process of this user. After kReady it is open.
  State Connect(const char* name) noexcept;
  bool is_open() const noexcept { return handle_.load(std::memory_order_relaxed) != kNoHandle; }

  // What to send next. Borrowed; leave it alone while a Send() is pending.
  unsigned char* out() noexcept { return out_; }
  // Begins to send the first bytes of out().
  State Send(std::size_t size_bytes) noexcept;
  // Goes on with it.
  State Continue() noexcept;
  // While a Send() is pending, what Event::Wait() can wait for; else kNoHandle.
  std::intptr_t unsent() const noexcept;
  // Takes what is there. Returns the number of bytes, 0 if there is nothing now, -1 if broken.
  int Receive(void* buffer, std::size_t capacity) noexcept;
  void Close() noexcept;
  // In a forked child: gives up its copy of the descriptor.
  void CloseInChild() noexcept;

 private:
  std::atomic<std::intptr_t> handle_{kNoHandle};
  std::size_t begin_ = 0;  // Of what is still to be sent.
  std::size_t end_ = 0;
#ifdef _WIN32
  struct Overlapped {
    alignas(8) unsigned char bytes[32];  // An OVERLAPPED.
  };
  Overlapped write_ = {};
  Overlapped read_ = {};
#endif
  unsigned char out_[kOutBytes] = {};
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_PLATFORM_H_
