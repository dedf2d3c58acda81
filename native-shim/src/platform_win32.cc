// The Windows edge.
#ifdef _WIN32

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
// After it, since they need its types.
#include <aclapi.h>
#include <bcrypt.h>

#include <cstring>
#include <cwchar>

#include "platform.h"

#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 0x2  // Windows 10 1803.
#endif

namespace mapisync {
namespace {

HANDLE AsHandle(std::intptr_t value) noexcept { return reinterpret_cast<HANDLE>(value); }
std::intptr_t AsValue(HANDLE handle) noexcept { return reinterpret_cast<std::intptr_t>(handle); }

}  // namespace

// --- Clocks, threads and the process ---

std::uint64_t NowUs() noexcept {
  LARGE_INTEGER frequency, now;
  QueryPerformanceFrequency(&frequency);  // Read from a page that all processes share.
  QueryPerformanceCounter(&now);
  const auto per_second = static_cast<std::uint64_t>(frequency.QuadPart);
  const auto ticks = static_cast<std::uint64_t>(now.QuadPart);
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
};

DWORD WINAPI RunThread(void* start) noexcept {
  const ThreadStart it = *static_cast<ThreadStart*>(start);
  HeapFree(GetProcessHeap(), 0, start);
  it.run(it.argument);
  return 0;
}

}  // namespace

bool StartThread(void (*run)(void*), void* argument) noexcept {
  constexpr SIZE_T kStackBytes = 262144;
  auto* const start =
      static_cast<ThreadStart*>(HeapAlloc(GetProcessHeap(), 0, sizeof(ThreadStart)));
  if (start == nullptr) return false;
  *start = {run, argument};
  const HANDLE thread = CreateThread(nullptr, kStackBytes, RunThread, start,
                                     STACK_SIZE_PARAM_IS_A_RESERVATION, nullptr);
  if (thread == nullptr) {
    HeapFree(GetProcessHeap(), 0, start);
    return false;
  }
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

void Event::Wait(std::uint32_t ms) noexcept {
  static_assert(kForever == INFINITE, "Passed on as it is");
  LARGE_INTEGER due;
  due.QuadPart = -static_cast<LONGLONG>(ms) * 10000;  // Relative, in units of 100 ns.
  if (ms == kForever || timer_ == nullptr ||
      !SetWaitableTimer(timer_, &due, 0, nullptr, nullptr, FALSE)) {
    WaitForSingleObject(event_, ms);
    return;
  }
  const HANDLE handles[] = {event_, timer_};
  WaitForMultipleObjects(2, handles, FALSE, INFINITE);
}

// --- Where things lie ---

namespace {

bool Append(Path* path, const wchar_t* text) noexcept {
  const std::size_t at = std::wcslen(path->text);
  const std::size_t size = std::wcslen(text);
  if (at + size >= Path::kMaxChars) return false;
  std::memcpy(path->text + at, text, (size + 1) * sizeof(wchar_t));
  return true;
}

bool Join(const Path& base, const wchar_t* name, Path* out) noexcept {
  *out = base;
  return Append(out, L"\\") && Append(out, name);
}

// `rings\<name>.ring`, from an ASCII name.
bool RingPath(const Path& state_dir, const char* name, Path* out) noexcept {
  wchar_t wide[64];
  std::size_t i = 0;
  for (; name[i] != '\0' && i < 63; i++) wide[i] = static_cast<wchar_t>(name[i]);
  wide[i] = L'\0';
  return Join(state_dir, L"rings\\", out) && Append(out, wide) && Append(out, L".ring");
}

enum class Variable { kMissing, kRead, kTooLong };

Variable Environment(const wchar_t* name, Path* out) noexcept {
  const DWORD size = GetEnvironmentVariableW(name, out->text, Path::kMaxChars);
  if (size == 0) return Variable::kMissing;
  return size < Path::kMaxChars ? Variable::kRead : Variable::kTooLong;
}

bool SystemPlace(Path* out) noexcept {
  Path named;
  const Variable is_named = Environment(L"MAPISYNC_STATE_DIR", &named);
  if (is_named == Variable::kTooLong) return false;
  if (is_named == Variable::kRead) {
    // Absolute, since the host may change its directory.
    const DWORD size = GetFullPathNameW(named.text, Path::kMaxChars, out->text, nullptr);
    return size > 0 && size < Path::kMaxChars;
  }
  return Environment(L"LOCALAPPDATA", out) == Variable::kRead && Append(out, L"\\mapisync");
}

void MakeParents(const Path& path) noexcept {
  Path part = path;
  for (wchar_t* at = part.text + 1; *at != L'\0'; at++) {
    if (*at != L'\\' || at[-1] == L':' || at[-1] == L'\\') continue;
    *at = L'\0';
    CreateDirectoryW(part.text, nullptr);
    *at = L'\\';
  }
}

// That it is private is seen to by the access rules of the user's profile.
StateDir CheckDir(const Path& path) noexcept {
  const DWORD attributes = GetFileAttributesW(path.text);
  if (attributes == INVALID_FILE_ATTRIBUTES) {
    const DWORD error = GetLastError();
    const bool missing = error == ERROR_FILE_NOT_FOUND || error == ERROR_PATH_NOT_FOUND;
    return missing ? StateDir::kMissing : StateDir::kRefused;
  }
  constexpr DWORD kKind = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT;
  return (attributes & kKind) == FILE_ATTRIBUTE_DIRECTORY ? StateDir::kUsable : StateDir::kRefused;
}

bool PolicyDisables(HKEY root) noexcept {
  DWORD value = 0;
  DWORD size = sizeof value;
  return RegGetValueW(root, L"Software\\Policies\\mapisync", L"Disable", RRF_RT_REG_DWORD, nullptr,
                      &value, &size) == ERROR_SUCCESS &&
         value != 0;
}

}  // namespace

bool IsSwitchedOff() noexcept {
  Path value;
  if (Environment(L"MAPISYNC_DISABLE", &value) == Variable::kRead &&
      std::wcscmp(value.text, L"1") == 0) {
    return true;
  }
  return PolicyDisables(HKEY_LOCAL_MACHINE) || PolicyDisables(HKEY_CURRENT_USER);
}

StateDir FindStateDir(bool make, Path* state_dir) noexcept {
  if (!SystemPlace(state_dir)) return StateDir::kRefused;
  StateDir found = CheckDir(*state_dir);
  if (found == StateDir::kMissing && make) {
    MakeParents(*state_dir);
    CreateDirectoryW(state_dir->text, nullptr);
    found = CheckDir(*state_dir);
    if (found == StateDir::kMissing) found = StateDir::kRefused;
  }
  if (found != StateDir::kUsable) return found;
  Path rings;
  if (!Join(*state_dir, L"rings", &rings)) return StateDir::kRefused;
  CreateDirectoryW(rings.text, nullptr);
  return CheckDir(rings) == StateDir::kUsable ? StateDir::kUsable : StateDir::kRefused;
}

std::size_t ReadEndpointFile(const Path& state_dir, char* out, std::size_t capacity) noexcept {
  Path path;
  if (!Join(state_dir, L"endpoint", &path)) return 0;
  // Shared in every way: the daemon must be able to put a new one in its place.
  const HANDLE file =
      CreateFileW(path.text, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                  nullptr, OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT, nullptr);
  if (file == INVALID_HANDLE_VALUE) return 0;
  BY_HANDLE_FILE_INFORMATION info;
  constexpr DWORD kNoFile = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT;
  DWORD got = 0;
  if (GetFileType(file) != FILE_TYPE_DISK || !GetFileInformationByHandle(file, &info) ||
      (info.dwFileAttributes & kNoFile) != 0 || info.nFileSizeHigh != 0 ||
      info.nFileSizeLow > capacity ||
      !ReadFile(file, out, static_cast<DWORD>(capacity), &got, nullptr)) {
    got = 0;
  }
  CloseHandle(file);
  return got;
}

// --- The ring's memory ---

namespace {

// Pages of a network disk may fail long after they were written, and that ends the host.
bool IsLocalDisk(const Path& path) noexcept {
  Path root;
  if (!GetVolumePathNameW(path.text, root.text, Path::kMaxChars)) return false;
  return GetDriveTypeW(root.text) != DRIVE_REMOTE;
}

// Real writes: a place that is only set aside may turn out to be missing when it is touched.
bool WriteZeros(HANDLE file, std::size_t size_bytes) noexcept {
  constexpr std::size_t kChunkBytes = 65536;
  static constexpr char kZeros[kChunkBytes] = {};
  for (std::size_t done = 0; done < size_bytes;) {
    const std::size_t left = size_bytes - done;
    DWORD wrote = 0;
    if (!WriteFile(file, kZeros, static_cast<DWORD>(left < kChunkBytes ? left : kChunkBytes),
                   &wrote, nullptr) ||
        wrote == 0) {
      return false;
    }
    done += wrote;
  }
  return true;
}

void FaultIn(void* memory, std::size_t size_bytes) noexcept {
  constexpr std::size_t kPageBytes = 4096;
  auto* const bytes = static_cast<volatile char*>(memory);
  for (std::size_t at = 0; at < size_bytes; at += kPageBytes) bytes[at] = 0;
}

void* Map(HANDLE file, std::size_t size_bytes) noexcept {
  const HANDLE section =
      CreateFileMappingW(file, nullptr, PAGE_READWRITE, 0, static_cast<DWORD>(size_bytes), nullptr);
  if (section == nullptr) return nullptr;
  void* const memory = MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, size_bytes);
  CloseHandle(section);  // The view keeps it.
  if (memory != nullptr) FaultIn(memory, size_bytes);
  return memory;
}

}  // namespace

bool CreateRingFile(const Path& state_dir, const char* name, std::size_t size_bytes,
                    RingFile* ring) noexcept {
  *ring = RingFile();
  if (!RingPath(state_dir, name, &ring->path) || !IsLocalDisk(state_dir)) return false;
  // Not to share writing is the lock: it ends with the process.
  const HANDLE file =
      CreateFileW(ring->path.text, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ, nullptr,
                  CREATE_NEW, FILE_ATTRIBUTE_NORMAL | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED, nullptr);
  if (file == INVALID_HANDLE_VALUE) return false;
  ring->file = AsValue(file);
  ring->size_bytes = size_bytes;
  ring->in_file = true;
  if (WriteZeros(file, size_bytes)) ring->memory = Map(file, size_bytes);
  if (ring->memory != nullptr) return true;
  DiscardRingFile(ring);
  return false;
}

// It has its name from the start, since an open file without shared deletion cannot be renamed. The
// magic is what makes it a ring.
bool PublishRingFile(const Path&, const char*, RingFile*) noexcept { return true; }

void DiscardRingFile(RingFile* ring) noexcept {
  if (ring->memory != nullptr && ring->in_file) UnmapViewOfFile(ring->memory);
  if (ring->memory != nullptr && !ring->in_file) VirtualFree(ring->memory, 0, MEM_RELEASE);
  if (ring->file != -1) {
    CloseHandle(AsHandle(ring->file));
    DeleteFileW(ring->path.text);
  }
  *ring = RingFile();
}

bool AllocateRing(std::size_t size_bytes, RingFile* ring) noexcept {
  *ring = RingFile();
  ring->memory = VirtualAlloc(nullptr, size_bytes, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
  ring->size_bytes = size_bytes;
  if (ring->memory != nullptr) FaultIn(ring->memory, size_bytes);
  return ring->memory != nullptr;
}

void DetachRing(RingFile*) noexcept {}

namespace {

struct DeadRing {
  wchar_t name[48];
  std::uint64_t age;  // FILETIME of its last change.
};

// Opens a ring's file if its owner is dead, whoever asks: then nobody else has it open.
HANDLE OpenDead(const Path& rings, const wchar_t* name) noexcept {
  Path path;
  if (!Join(rings, name, &path)) return INVALID_HANDLE_VALUE;
  return CreateFileW(path.text, GENERIC_READ | GENERIC_WRITE | DELETE, 0, nullptr, OPEN_EXISTING,
                     FILE_FLAG_OPEN_REPARSE_POINT, nullptr);
}

bool ReadAt(HANDLE file, DWORD offset, void* out, DWORD size_bytes) noexcept {
  OVERLAPPED at = {};
  at.Offset = offset;
  DWORD got = 0;
  return ReadFile(file, out, size_bytes, &got, &at) && got == size_bytes;
}

// The frames that stand in a ring, by the places of PROTOCOL.md: tail at 512, head at 576.
std::uint64_t CountFrames(HANDLE file) noexcept {
  char magic[8];
  std::uint64_t places[9];
  if (!ReadAt(file, 0, magic, sizeof magic) || std::memcmp(magic, "MAPIRING", 8) != 0) return 0;
  if (!ReadAt(file, 512, places, sizeof places)) return 0;
  const std::uint64_t tail = places[0] >> 19;
  const std::uint64_t head = places[8] >> 19;
  constexpr std::uint64_t kMostFrames = 262144;  // More do not fit into a file.
  return tail < head || tail - head > kMostFrames ? 0 : tail - head;
}

}  // namespace

std::uint64_t DeleteDeadRings(const Path& state_dir, unsigned keep) noexcept {
  Path rings, pattern;
  if (!Join(state_dir, L"rings", &rings) || !Join(rings, L"*.ring", &pattern)) return 0;
  WIN32_FIND_DATAW entry;
  const HANDLE search = FindFirstFileW(pattern.text, &entry);
  if (search == INVALID_HANDLE_VALUE) return 0;
  constexpr unsigned kMostRings = 256;  // Looked at in one go; the next process goes on.
  DeadRing dead[kMostRings];
  unsigned count = 0;
  do {
    if (std::wcslen(entry.cFileName) >= sizeof dead->name / sizeof(wchar_t)) continue;
    const HANDLE file = OpenDead(rings, entry.cFileName);
    if (file == INVALID_HANDLE_VALUE) continue;
    CloseHandle(file);
    std::wmemcpy(dead[count].name, entry.cFileName, std::wcslen(entry.cFileName) + 1);
    dead[count++].age = static_cast<std::uint64_t>(entry.ftLastWriteTime.dwHighDateTime) << 32 |
                        entry.ftLastWriteTime.dwLowDateTime;
  } while (count < kMostRings && FindNextFileW(search, &entry));
  FindClose(search);
  std::uint64_t frames = 0;
  for (; count > keep; count--) {
    unsigned oldest = 0;
    for (unsigned i = 1; i < count; i++) {
      if (dead[i].age < dead[oldest].age) oldest = i;
    }
    const HANDLE file = OpenDead(rings, dead[oldest].name);
    if (file != INVALID_HANDLE_VALUE) {
      frames += CountFrames(file);
      FILE_DISPOSITION_INFO disposition = {TRUE};
      SetFileInformationByHandle(file, FileDispositionInfo, &disposition, sizeof disposition);
      CloseHandle(file);
    }
    dead[oldest] = dead[count - 1];
  }
  return frames;
}

// --- The pipe ---

namespace {

// Whether the pipe's owner is this process's user. The name is in a file that only the user can
// write, but who got there first to listen on it is another question.
bool IsSameUser(HANDLE pipe) noexcept {
  HANDLE token;
  if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) return false;
  alignas(TOKEN_USER) unsigned char user[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
  DWORD size = 0;
  const BOOL known = GetTokenInformation(token, TokenUser, user, sizeof user, &size);
  CloseHandle(token);
  if (!known) return false;
  PSID owner = nullptr;
  PSECURITY_DESCRIPTOR descriptor = nullptr;
  if (GetSecurityInfo(pipe, SE_KERNEL_OBJECT, OWNER_SECURITY_INFORMATION, &owner, nullptr, nullptr,
                      nullptr, &descriptor) != ERROR_SUCCESS) {
    return false;
  }
  const bool same = owner != nullptr &&
                    EqualSid(owner, reinterpret_cast<const TOKEN_USER*>(user)->User.Sid) != FALSE;
  LocalFree(descriptor);
  return same;
}

template <typename Bytes>
OVERLAPPED* AsOverlapped(Bytes* bytes) noexcept {
  static_assert(sizeof(Bytes) >= sizeof(OVERLAPPED) && alignof(Bytes) >= alignof(OVERLAPPED),
                "Room for what <windows.h> declares");
  return reinterpret_cast<OVERLAPPED*>(bytes);
}

}  // namespace

Pipe::State Pipe::Connect(const char* name) noexcept {
  wchar_t wide[256];
  if (MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, name, -1, wide, 256) == 0) {
    return State::kBroken;
  }
  // Whoever answers may learn who we are, and no more: it must not act in our name.
  const HANDLE pipe =
      CreateFileW(wide, GENERIC_READ | GENERIC_WRITE, 0, nullptr, OPEN_EXISTING,
                  FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, nullptr);
  if (pipe == INVALID_HANDLE_VALUE) {
    return GetLastError() == ERROR_PIPE_BUSY ? State::kPending : State::kBroken;
  }
  std::memset(&write_, 0, sizeof write_);
  std::memset(&read_, 0, sizeof read_);
  AsOverlapped(&write_)->hEvent = CreateEventW(nullptr, TRUE, FALSE, nullptr);
  AsOverlapped(&read_)->hEvent = CreateEventW(nullptr, TRUE, FALSE, nullptr);
  begin_ = end_ = 0;
  handle_.store(AsValue(pipe), std::memory_order_relaxed);
  if (AsOverlapped(&write_)->hEvent != nullptr && AsOverlapped(&read_)->hEvent != nullptr &&
      IsSameUser(pipe)) {
    return State::kReady;
  }
  Close();
  return State::kBroken;
}

Pipe::State Pipe::Send(std::size_t size_bytes) noexcept {
  const HANDLE pipe = AsHandle(handle_.load(std::memory_order_relaxed));
  begin_ = 0;
  end_ = size_bytes;
  const BOOL done =
      WriteFile(pipe, out_, static_cast<DWORD>(size_bytes), nullptr, AsOverlapped(&write_));
  if (!done && GetLastError() != ERROR_IO_PENDING) {
    end_ = 0;
    return State::kBroken;
  }
  return Continue();
}

// begin_ < end_: a write is under way, and the system reads from out_.
Pipe::State Pipe::Continue() noexcept {
  if (begin_ == end_) return State::kReady;
  const HANDLE pipe = AsHandle(handle_.load(std::memory_order_relaxed));
  DWORD wrote = 0;
  if (!GetOverlappedResult(pipe, AsOverlapped(&write_), &wrote, FALSE)) {
    if (GetLastError() == ERROR_IO_INCOMPLETE) return State::kPending;
    begin_ = end_;
    return State::kBroken;
  }
  const bool whole = wrote == end_ - begin_;  // A byte pipe takes all or fails.
  begin_ = end_;
  return whole ? State::kReady : State::kBroken;
}

int Pipe::Receive(void* buffer, std::size_t capacity) noexcept {
  const HANDLE pipe = AsHandle(handle_.load(std::memory_order_relaxed));
  DWORD there = 0;
  if (!PeekNamedPipe(pipe, nullptr, 0, nullptr, &there, nullptr)) return -1;
  if (there == 0) return 0;
  const DWORD want = there < capacity ? there : static_cast<DWORD>(capacity);
  OVERLAPPED* const overlapped = AsOverlapped(&read_);
  if (!ReadFile(pipe, buffer, want, nullptr, overlapped) && GetLastError() != ERROR_IO_PENDING) {
    return -1;
  }
  // What is there is read at once; the wait is for form's sake.
  DWORD got = 0;
  if (!GetOverlappedResult(pipe, overlapped, &got, TRUE) || got == 0) return -1;
  return static_cast<int>(got);
}

void Pipe::Close() noexcept {
  const std::intptr_t value = handle_.exchange(-1, std::memory_order_relaxed);
  if (value == -1) return;
  const HANDLE pipe = AsHandle(value);
  if (begin_ < end_) {
    // Until it is cancelled the system may read from out_.
    DWORD wrote = 0;
    CancelIoEx(pipe, AsOverlapped(&write_));
    GetOverlappedResult(pipe, AsOverlapped(&write_), &wrote, TRUE);
  }
  begin_ = end_ = 0;
  CloseHandle(pipe);
  if (AsOverlapped(&write_)->hEvent != nullptr) CloseHandle(AsOverlapped(&write_)->hEvent);
  if (AsOverlapped(&read_)->hEvent != nullptr) CloseHandle(AsOverlapped(&read_)->hEvent);
}

void Pipe::CloseInChild() noexcept {}

}  // namespace mapisync

#ifdef MAPISYNC_BUILD_SHARED
extern "C" BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, void*) {
  if (reason == DLL_PROCESS_ATTACH) DisableThreadLibraryCalls(module);
  return TRUE;
}
#endif

#endif  // _WIN32
