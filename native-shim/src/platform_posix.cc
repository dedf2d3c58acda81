// The POSIX edge: Linux first of all, and macOS as far as both agree.
#ifndef _WIN32

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#endif

#include <cstdio>

#include "platform.h"

namespace mapisync {
namespace {

std::uint64_t ReadClock(clockid_t clock) noexcept {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000000u +
         static_cast<std::uint64_t>(now.tv_nsec) / 1000u;
}

// Restarts what a signal of the host's interrupted.
template <typename Call>
auto Retry(Call call) noexcept -> decltype(call()) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

// Where the system can, descriptors are made close-on-exec at once: the host may fork and exec at
// any instant.
#ifndef __linux__
bool SetFlags(int fd) noexcept {
  return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
         fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}
#endif

bool MakePipe(int fds[2]) noexcept {
#ifdef __linux__
  return pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0;
#else
  return pipe(fds) == 0 && SetFlags(fds[0]) && SetFlags(fds[1]);
#endif
}

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

}  // namespace

// --- Clocks, threads and the process ---

std::uint64_t NowUs() noexcept { return ReadClock(CLOCK_MONOTONIC); }
std::uint64_t WallUs() noexcept { return ReadClock(CLOCK_REALTIME); }

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

struct ThreadStart {
  void (*run)(void*);
  void* argument;
};

void* RunThread(void* start) noexcept {
  const ThreadStart it = *static_cast<ThreadStart*>(start);
  free(start);
#ifdef __linux__
  pthread_setname_np(pthread_self(), "mapisync");
#else
  pthread_setname_np("mapisync");
#endif
  it.run(it.argument);
  return nullptr;
}

}  // namespace

bool StartThread(void (*run)(void*), void* argument) noexcept {
  auto* const start = static_cast<ThreadStart*>(malloc(sizeof(ThreadStart)));
  if (start == nullptr) return false;
  *start = {run, argument};
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // A thread inherits its mask: the host's handlers must not run on ours.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, RunThread, start);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
  if (error != 0) free(start);
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

void Event::Wait(std::uint32_t ms) noexcept {
  pollfd waited = {fds_[0], POLLIN, 0};
  if (poll(&waited, 1, ms == kForever ? -1 : static_cast<int>(ms)) <= 0) return;
  char bytes[64];
  while (read(fds_[0], bytes, sizeof bytes) == sizeof bytes) {
  }
}

// --- Where things lie ---

namespace {

// Appends to a path. False if it would not fit.
bool Append(Path* path, const char* text) noexcept {
  const std::size_t at = strlen(path->text);
  const std::size_t size = strlen(text);
  if (at + size >= Path::kMaxChars) return false;
  memcpy(path->text + at, text, size + 1);
  return true;
}

bool Join(const Path& base, const char* name, Path* out) noexcept {
  *out = base;
  return Append(out, "/") && Append(out, name);
}

bool SystemPlace(Path* out) noexcept {
  out->text[0] = '\0';
  const char* const named = getenv("MAPISYNC_STATE_DIR");
  if (named != nullptr && named[0] != '\0') {
    // Absolute, since the host may change its directory.
    if (named[0] != '/' && (getcwd(out->text, Path::kMaxChars) == nullptr || !Append(out, "/"))) {
      return false;
    }
    return Append(out, named);
  }
  const char* const state = getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return Append(out, state) && Append(out, "/mapisync");
  const char* const home = getenv("HOME");
  if (home == nullptr || home[0] != '/') return false;
  return Append(out, home) && Append(out, "/.local/state/mapisync");
}

// Like `mkdir -p` for all but the last part.
void MakeParents(const Path& path) noexcept {
  Path part = path;
  for (char* at = part.text + 1; *at != '\0'; at++) {
    if (*at != '/') continue;
    *at = '\0';
    mkdir(part.text, 0777);
    *at = '/';
  }
}

StateDir CheckPrivateDir(const Path& path) noexcept {
  struct stat info;
  if (lstat(path.text, &info) != 0)
    return errno == ENOENT ? StateDir::kMissing : StateDir::kRefused;
  const bool is_private =
      S_ISDIR(info.st_mode) && info.st_uid == geteuid() && (info.st_mode & 077) == 0;
  return is_private ? StateDir::kUsable : StateDir::kRefused;
}

}  // namespace

bool IsSwitchedOff() noexcept {
  const char* const value = getenv("MAPISYNC_DISABLE");
  return value != nullptr && strcmp(value, "1") == 0;
}

StateDir FindStateDir(bool make, Path* state_dir) noexcept {
  if (!SystemPlace(state_dir)) return StateDir::kRefused;
  StateDir found = CheckPrivateDir(*state_dir);
  if (found == StateDir::kMissing && make) {
    MakeParents(*state_dir);
    mkdir(state_dir->text, 0700);
    found = CheckPrivateDir(*state_dir);
    if (found == StateDir::kMissing) found = StateDir::kRefused;
  }
  if (found != StateDir::kUsable) return found;
  Path rings;
  if (!Join(*state_dir, "rings", &rings)) return StateDir::kRefused;
  mkdir(rings.text, 0700);
  return CheckPrivateDir(rings) == StateDir::kUsable ? StateDir::kUsable : StateDir::kRefused;
}

std::size_t ReadEndpointFile(const Path& state_dir, char* out, std::size_t capacity) noexcept {
  Path path;
  if (!Join(state_dir, "endpoint", &path)) return 0;
  // Without O_NONBLOCK a fifo in its place would hold us for ever.
  const int fd = open(path.text, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd == -1) return 0;
  struct stat info;
  std::size_t size_bytes = 0;
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
      (info.st_mode & 077) == 0 && info.st_size <= static_cast<off_t>(capacity)) {
    const ssize_t got = Retry([&] { return read(fd, out, capacity); });
    if (got > 0) size_bytes = static_cast<std::size_t>(got);
  }
  close(fd);
  return size_bytes;
}

// --- The ring's memory ---

namespace {

struct flock WholeFile() noexcept {
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

// Pages of a network disk may fail long after they were written, and then the host gets a signal.
bool IsLocalDisk(int fd) noexcept {
#ifdef __linux__
  constexpr unsigned long kNetwork[] = {0x6969 /* NFS */,       0x517b /* SMB */,
                                        0xfe534d42 /* SMB 2 */, 0xff534d42 /* CIFS */,
                                        0x01021997 /* 9P */,    0x5346414f /* AFS */};
  struct statfs info;
  if (fstatfs(fd, &info) != 0) return false;
  const unsigned long type = static_cast<unsigned long>(info.f_type) & 0xffffffff;
  for (const unsigned long network : kNetwork) {
    if (type == network) return false;
  }
  return true;
#else
  struct statfs info;
  return fstatfs(fd, &info) == 0 && (info.f_flags & MNT_LOCAL) != 0;
#endif
}

// Real writes: on some file systems a hole is found to have no room only when it is touched, which
// ends the host.
bool WriteZeros(int fd, std::size_t size_bytes) noexcept {
  constexpr std::size_t kChunkBytes = 65536;
  static constexpr char kZeros[kChunkBytes] = {};
  for (std::size_t done = 0; done < size_bytes;) {
    const std::size_t left = size_bytes - done;
    const ssize_t wrote =
        Retry([&] { return write(fd, kZeros, left < kChunkBytes ? left : kChunkBytes); });
    if (wrote <= 0) return false;
    done += static_cast<std::size_t>(wrote);
  }
  return true;
}

void* Map(int fd, std::size_t size_bytes, int flags) noexcept {
#ifdef MAP_POPULATE
  flags |= MAP_POPULATE;
#endif
  void* const memory = mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

bool CreateRingFile(const Path& state_dir, const char* name, std::size_t size_bytes,
                    RingFile* ring) noexcept {
  *ring = RingFile();
  char file_name[64];
  snprintf(file_name, sizeof file_name, "rings/%s.tmp", name);
  if (!Join(state_dir, file_name, &ring->path)) return false;
  const int fd = open(ring->path.text, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd == -1) return false;
  ring->file = fd;
  ring->size_bytes = size_bytes;
  ring->in_file = true;
  struct flock lock = WholeFile();
  if (IsLocalDisk(fd) && fcntl(fd, F_SETLK, &lock) == 0 && WriteZeros(fd, size_bytes)) {
    ring->memory = Map(fd, size_bytes, MAP_SHARED);
  }
  if (ring->memory != nullptr) return true;
  DiscardRingFile(ring);
  return false;
}

bool PublishRingFile(const Path& state_dir, const char* name, RingFile* ring) noexcept {
  char file_name[64];
  snprintf(file_name, sizeof file_name, "rings/%s.ring", name);
  Path final_path;
  if (!Join(state_dir, file_name, &final_path)) return false;
  if (rename(ring->path.text, final_path.text) != 0) return false;
  ring->path = final_path;
  return true;
}

void DiscardRingFile(RingFile* ring) noexcept {
  if (ring->memory != nullptr) munmap(ring->memory, ring->size_bytes);
  if (ring->file != -1) {
    unlink(ring->path.text);
    close(static_cast<int>(ring->file));
  }
  *ring = RingFile();
}

bool AllocateRing(std::size_t size_bytes, RingFile* ring) noexcept {
  *ring = RingFile();
  ring->memory = Map(-1, size_bytes, MAP_PRIVATE | MAP_ANONYMOUS);
  ring->size_bytes = size_bytes;
  return ring->memory != nullptr;
}

void DetachRing(RingFile* ring) noexcept {
  if (!ring->in_file) return;  // Private memory is the child's own already.
  mmap(ring->memory, ring->size_bytes, PROT_READ | PROT_WRITE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  // The lock is the parent's, and stays.
  close(static_cast<int>(ring->file));
}

namespace {

struct DeadRing {
  char name[48];
  std::int64_t age;  // Seconds since 1970 of its last change.
};

// Whether this process has the file open: another copy of the shim's ring. To open it once more and
// close it would drop that copy's lock.
bool IsOurOwn(const struct stat& file) noexcept {
  DIR* const fds = opendir("/dev/fd");
  if (fds == nullptr) return true;  // Cannot tell.
  bool found = false;
  while (const dirent* entry = found ? nullptr : readdir(fds)) {
    struct stat info;
    const int fd = atoi(entry->d_name);
    found = entry->d_name[0] != '.' && fstat(fd, &info) == 0 && info.st_dev == file.st_dev &&
            info.st_ino == file.st_ino;
  }
  closedir(fds);
  return found;
}

// Opens a ring's file if its owner is dead. `take`: and holds the lock. -1 if not.
int OpenDead(int dir, const char* name, bool take, struct stat* info) noexcept {
  if (fstatat(dir, name, info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info->st_mode)) return -1;
  if (IsOurOwn(*info)) return -1;
  const int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (fd == -1) return -1;
  struct flock lock = WholeFile();
  const bool dead = take ? fcntl(fd, F_SETLK, &lock) == 0
                         : fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
  // Whoever had the lock may just have deleted it.
  if (dead && fstat(fd, info) == 0 && info->st_nlink > 0) return fd;
  close(fd);
  return -1;
}

// The frames that stand in a ring, by the places of PROTOCOL.md: tail at 512, head at 576.
std::uint64_t CountFrames(int fd) noexcept {
  char magic[8];
  std::uint64_t places[9];
  if (pread(fd, magic, sizeof magic, 0) != sizeof magic || memcmp(magic, "MAPIRING", 8) != 0) {
    return 0;
  }
  if (pread(fd, places, sizeof places, 512) != sizeof places) return 0;
  const std::uint64_t tail = places[0] >> 19;
  const std::uint64_t head = places[8] >> 19;
  constexpr std::uint64_t kMostFrames = 262144;  // More do not fit into a file.
  return tail < head || tail - head > kMostFrames ? 0 : tail - head;
}

bool HasEnding(const char* name, const char* ending) noexcept {
  const std::size_t size = strlen(name);
  const std::size_t ending_size = strlen(ending);
  return size > ending_size && strcmp(name + size - ending_size, ending) == 0;
}

}  // namespace

std::uint64_t DeleteDeadRings(const Path& state_dir, unsigned keep) noexcept {
  Path path;
  if (!Join(state_dir, "rings", &path)) return 0;
  DIR* const rings = opendir(path.text);
  if (rings == nullptr) return 0;
  const int dir = dirfd(rings);
  // A shim that was killed while it made its ring leaves such a file. Younger ones may be at it.
  constexpr std::int64_t kTemporarySeconds = 60;
  const std::int64_t now = time(nullptr);
  constexpr unsigned kMostRings = 256;  // Looked at in one go; the next process goes on.
  DeadRing dead[kMostRings];
  unsigned count = 0;
  while (const dirent* entry = count < kMostRings ? readdir(rings) : nullptr) {
    const bool temporary = HasEnding(entry->d_name, ".tmp");
    if (strlen(entry->d_name) >= sizeof dead->name) continue;
    if (!temporary && !HasEnding(entry->d_name, ".ring")) continue;
    struct stat info;
    const int fd = OpenDead(dir, entry->d_name, false, &info);
    if (fd == -1) continue;
    if (temporary) {
      if (now - info.st_mtime > kTemporarySeconds) unlinkat(dir, entry->d_name, 0);
    } else {
      strcpy(dead[count].name, entry->d_name);
      dead[count++].age = info.st_mtime;
    }
    close(fd);
  }
  std::uint64_t frames = 0;
  for (; count > keep; count--) {
    unsigned oldest = 0;
    for (unsigned i = 1; i < count; i++) {
      if (dead[i].age < dead[oldest].age) oldest = i;
    }
    struct stat info;
    const int fd = OpenDead(dir, dead[oldest].name, true, &info);
    if (fd != -1) {
      frames += CountFrames(fd);
      unlinkat(dir, dead[oldest].name, 0);
      close(fd);
    }
    dead[oldest] = dead[count - 1];
  }
  closedir(rings);
  return frames;
}

// --- The pipe ---

namespace {

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

int Pipe::Receive(void* buffer, std::size_t capacity) noexcept {
  const int fd = static_cast<int>(handle_.load(std::memory_order_relaxed));
  const ssize_t got = Retry([&] { return recv(fd, buffer, capacity, 0); });
  if (got > 0) return static_cast<int>(got);
  return got == -1 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : -1;
}

void Pipe::Close() noexcept {
  const std::intptr_t fd = handle_.exchange(-1, std::memory_order_relaxed);
  if (fd != -1) close(static_cast<int>(fd));
}

void Pipe::CloseInChild() noexcept { Close(); }

}  // namespace mapisync

#endif  // _WIN32
