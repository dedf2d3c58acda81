// What the files of the Windows edge share.
#ifndef MAPISYNC_SRC_WIN32_CALLS_H_
#define MAPISYNC_SRC_WIN32_CALLS_H_

#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>

#include <cstdint>
#include <cstring>
#include <cwchar>

#include "platform.h"

namespace mapisync {

inline HANDLE AsHandle(std::intptr_t value) noexcept { return reinterpret_cast<HANDLE>(value); }
inline std::intptr_t AsValue(HANDLE handle) noexcept {
  return reinterpret_cast<std::intptr_t>(handle);
}

// Appends to a path. False if it would not fit.
inline bool Append(Path* path, const wchar_t* text) noexcept {
  const std::size_t at = std::wcslen(path->text);
  const std::size_t size = std::wcslen(text);
  if (at + size >= Path::kMaxChars) return false;
  std::memcpy(path->text + at, text, (size + 1) * sizeof(wchar_t));
  return true;
}

inline bool Join(const Path& base, const wchar_t* name, Path* out) noexcept {
  *out = base;
  return Append(out, L"\\") && Append(out, name);
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_WIN32_CALLS_H_
