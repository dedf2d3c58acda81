// The POSIX edge: the state directory, the endpoint file, the off switch.
#ifndef _WIN32

#include <stdlib.h>
#include <sys/stat.h>

#include "platform.h"
#include "posix_calls.h"

namespace mapisync {
namespace {

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

}  // namespace mapisync

#endif  // _WIN32
