// The POSIX edge: the ring's memory, its file and its lock, and the rings of the dead.
#ifndef _WIN32

#include <dirent.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#ifdef __linux__
#include <sys/vfs.h>
#else
#include <sys/mount.h>
#include <sys/param.h>
#endif

#include <cstdio>

#include "platform.h"
#include "posix_calls.h"
#include "ring_scan.h"

namespace mapisync {
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
  if (memory == MAP_FAILED) return nullptr;
  // Populating maps the pages for reading: the first write to each would still fault, in a call.
  constexpr std::size_t kStepBytes = 4096;  // The smallest there is; a larger one costs nothing.
  for (std::size_t at = 0; at < size_bytes; at += kStepBytes) {
    static_cast<volatile unsigned char*>(memory)[at] = 0;
  }
  return memory;
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
  if (ring->file != kNoHandle) {
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
      frames += CountFrames([fd](std::size_t offset, void* out, std::size_t size_bytes) noexcept {
        return pread(fd, out, size_bytes, static_cast<off_t>(offset)) ==
               static_cast<ssize_t>(size_bytes);
      });
      unlinkat(dir, dead[oldest].name, 0);
      close(fd);
    }
    dead[oldest] = dead[count - 1];
  }
  closedir(rings);
  return frames;
}

}  // namespace mapisync

#endif  // _WIN32
