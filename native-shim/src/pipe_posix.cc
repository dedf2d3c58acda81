// The POSIX edge: the connection to the daemon, a Unix socket.
#ifndef _WIN32

#include <sys/socket.h>
#include <sys/un.h>

#include "platform.h"
#include "posix_calls.h"

namespace mapisync {
namespace {

int MakeSocket() noexcept {
#ifdef __linux__
  return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const int on = 1;
  if (fd == -1) return -1;
  if (SetFlags(fd) && setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof on) == 0) return fd;
  close(fd);
  return -1;
#endif
}

bool IsSameUser(int fd) noexcept {
#ifdef __linux__
  struct ucred peer;
  socklen_t size = sizeof peer;
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
#else
  uid_t user;
  gid_t group;
  return getpeereid(fd, &user, &group) == 0 && user == geteuid();
#endif
}

#ifdef MSG_NOSIGNAL
constexpr int kNoSignal = MSG_NOSIGNAL;
#else
constexpr int kNoSignal = 0;  // SO_NOSIGPIPE does it.
#endif

}  // namespace

Pipe::State Pipe::Connect(const char* name) noexcept {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (strlen(name) >= sizeof address.sun_path) return State::kBroken;
  strcpy(address.sun_path, name);
  const int fd = MakeSocket();
  if (fd == -1) return State::kBroken;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const bool busy = errno == EAGAIN || errno == EINTR;  // Its queue is full.
    close(fd);
    return busy ? State::kPending : State::kBroken;
  }
  if (!IsSameUser(fd)) {
    close(fd);
    return State::kBroken;
  }
  begin_ = end_ = 0;
  handle_.store(fd, std::memory_order_relaxed);
  return State::kReady;
}

Pipe::State Pipe::Send(std::size_t size_bytes) noexcept {
  begin_ = 0;
  end_ = size_bytes;
  return Continue();
}

Pipe::State Pipe::Continue() noexcept {
  const int fd = static_cast<int>(handle_.load(std::memory_order_relaxed));
  while (begin_ < end_) {
    const ssize_t sent = Retry([&] { return send(fd, out_ + begin_, end_ - begin_, kNoSignal); });
    if (sent < 0) {
      return errno == EAGAIN || errno == EWOULDBLOCK ? State::kPending : State::kBroken;
    }
    begin_ += static_cast<std::size_t>(sent);
  }
  return State::kReady;
}

std::intptr_t Pipe::unsent() const noexcept {
  return begin_ < end_ ? handle_.load(std::memory_order_relaxed) : kNoHandle;
}

int Pipe::Receive(void* buffer, std::size_t capacity) noexcept {
  const int fd = static_cast<int>(handle_.load(std::memory_order_relaxed));
  const ssize_t got = Retry([&] { return recv(fd, buffer, capacity, 0); });
  if (got > 0) return static_cast<int>(got);
  return got == -1 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
}

void Pipe::Close() noexcept {
  const std::intptr_t fd = handle_.exchange(kNoHandle, std::memory_order_relaxed);
  if (fd != kNoHandle) close(static_cast<int>(fd));
}

void Pipe::CloseInChild() noexcept { Close(); }

}  // namespace mapisync

#endif  // _WIN32
