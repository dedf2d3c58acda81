// The Windows edge: the connection to the daemon, a named pipe.
#ifdef _WIN32

#include "win32_calls.h"
// After it, since it needs its types.
#include <aclapi.h>

#include "platform.h"

namespace mapisync {

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

std::intptr_t Pipe::unsent() const noexcept {
  if (begin_ == end_) return kNoHandle;
  return AsValue(reinterpret_cast<const OVERLAPPED*>(&write_)->hEvent);
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
  const std::intptr_t value = handle_.exchange(kNoHandle, std::memory_order_relaxed);
  if (value == kNoHandle) return;
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

#endif  // _WIN32
