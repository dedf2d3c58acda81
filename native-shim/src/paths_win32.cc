// The Windows edge: the state directory, the endpoint file, the off switches.
#ifdef _WIN32

#include "platform.h"
#include "win32_calls.h"

namespace mapisync {

namespace {

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

}  // namespace mapisync

#endif  // _WIN32
