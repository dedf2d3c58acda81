#if defined(_WIN32)

#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <io.h>
#include <windows.h>

#include "os.h"
#include "text.h"

namespace fs = std::filesystem;

namespace sample::os {
namespace {

struct Start {
  void (*body)(void*);
  void* argument;
  HMODULE module;
};

// By the address of code in it: a name would find somebody else's module.
HMODULE OwnModule(DWORD flags) {
  HMODULE module = nullptr;
  GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | flags,
                     reinterpret_cast<const wchar_t*>(&OwnModule), &module);
  return module;
}

LONG WINAPI EndQuietly(EXCEPTION_POINTERS*) { return EXCEPTION_EXECUTE_HANDLER; }

DWORD WINAPI Trampoline(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  delete static_cast<Start*>(argument);
  start.body(start.argument);
  FreeLibraryAndExitThread(start.module, 0);
}

}  // namespace

// Not through std::filesystem's own conversions, which throw for a name that is not Unicode.
fs::path PathOf(const std::string& utf8) {
  const std::u16string wide = ToUtf16(utf8);
  return fs::path(std::wstring(wide.begin(), wide.end()));
}

std::string Utf8Of(const fs::path& path) {
  const std::wstring& wide = path.native();
  return ToUtf8(std::u16string(wide.begin(), wide.end()));
}

std::FILE* Open(const fs::path& path, const char* mode) {
  return _wfopen(path.c_str(),
                 std::wstring(mode, mode + std::char_traits<char>::length(mode)).c_str());
}

fs::path ModuleFolder() {
  std::wstring name(32768, L'\0');  // The longest path that Windows has.
  name.resize(GetModuleFileNameW(OwnModule(GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT),
                                 name.data(), static_cast<DWORD>(name.size())));
  return fs::path(name).parent_path();
}

void* LoadModule(const fs::path& path, std::string* why) {
  std::error_code error;
  // This way of loading wants backslashes, and finds what the library depends on beside it.
  const fs::path full = fs::absolute(path, error).make_preferred();
  HMODULE module = LoadLibraryExW(full.c_str(), nullptr, LOAD_WITH_ALTERED_SEARCH_PATH);
  const DWORD code = GetLastError();
  if (!module) *why = "Windows error " + std::to_string(code);
  return reinterpret_cast<void*>(module);
}

void* Symbol(void* module, const char* name) {
  return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(module), name));
}

bool StartThread(void (*body)(void*), void* argument) {
  auto* start = new Start{body, argument, OwnModule(0)};
  HANDLE thread = CreateThread(nullptr, 0, Trampoline, start, 0, nullptr);
  if (!thread) {
    FreeLibrary(start->module);
    delete start;
    return false;
  }
  ::CloseHandle(thread);
  return true;
}

uint64_t ThreadId() { return GetCurrentThreadId(); }

void SleepMs(uint32_t duration_ms) { Sleep(duration_ms); }

bool CreateCompletionEvent(CompletionEvent* event) {
  *event = {CreateEventW(nullptr, TRUE, FALSE, nullptr), nullptr};
  if (!event->host) return false;
  if (DuplicateHandle(GetCurrentProcess(), event->host, GetCurrentProcess(), &event->own, 0, FALSE,
                      DUPLICATE_SAME_ACCESS)) {
    return true;
  }
  ::CloseHandle(event->host);
  return false;
}

void SetAndCloseOwn(CompletionEvent* event) {
  SetEvent(event->own);
  ::CloseHandle(event->own);
}

void WaitFor(void* handle) { WaitForSingleObject(handle, INFINITE); }
void CloseHandle(void* handle) { ::CloseHandle(handle); }

bool IsTerminal(std::FILE* file) { return _isatty(_fileno(file)) != 0; }

unsigned UseUtf8Console() {
  const unsigned before = GetConsoleOutputCP();
  SetConsoleOutputCP(CP_UTF8);
  return before;
}

void RestoreConsole(unsigned before) { SetConsoleOutputCP(before); }

void Crash() {
  // The exception goes all its way and then ends the process, without a dialog or a debugger.
  SetUnhandledExceptionFilter(EndQuietly);
  RaiseException(EXCEPTION_ACCESS_VIOLATION, EXCEPTION_NONCONTINUABLE, 0, nullptr);
  ExitProcess(1);
}

}  // namespace sample::os

#endif
