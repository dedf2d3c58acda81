// What the files of the POSIX edge share.
#ifndef MAPISYNC_SRC_POSIX_CALLS_H_
#define MAPISYNC_SRC_POSIX_CALLS_H_

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "platform.h"

namespace mapisync {

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
inline bool SetFlags(int fd) noexcept {
  return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
         fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}
#endif

// Appends to a path. False if it would not fit.
inline bool Append(Path* path, const char* text) noexcept {
  const std::size_t at = strlen(path->text);
  const std::size_t size = strlen(text);
  if (at + size >= Path::kMaxChars) return false;
  memcpy(path->text + at, text, size + 1);
  return true;
}

inline bool Join(const Path& base, const char* name, Path* out) noexcept {
  *out = base;
  return Append(out, "/") && Append(out, name);
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_POSIX_CALLS_H_
