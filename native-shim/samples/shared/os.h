// The seam to the system: all that differs between Windows and POSIX, and nothing else.
#ifndef MAPISYNC_SAMPLES_SHARED_OS_H_
#define MAPISYNC_SAMPLES_SHARED_OS_H_

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>

namespace sample::os {

inline constexpr bool kWindows =
#if defined(_WIN32)
    true;
#else
    false;
#endif

// Names are UTF-8 in the samples, and what the system wants in a path.
std::filesystem::path PathOf(const std::string& utf8);
std::string Utf8Of(const std::filesystem::path& path);

// fopen() for any path. On failure NULL, and errno says why.
std::FILE* Open(const std::filesystem::path& path, const char* mode);

// The folder of the program or library that this is compiled into.
std::filesystem::path ModuleFolder();

// Loads a library by its full path, for the rest of the process. NULL, and *why, on failure.
void* LoadModule(const std::filesystem::path& path, std::string* why);
void* Symbol(void* module, const char* name);

// Starts a thread that nobody joins. On Windows it keeps the module that this is compiled into
// loaded until it has left it, since MAPI may unload a provider between syncs. False: no thread.
bool StartThread(void (*body)(void*), void* argument);
uint64_t ThreadId();
void SleepMs(uint32_t duration_ms);

// The event that says that a sync's thread is complete. Two handles: `host`, which goes to Outlook,
// is Outlook's to close, at a time that we do not learn; so we set it through `own`, and close
// that. Off Windows there are no events: `host` is a value that only compares, and `own` is NULL.
struct CompletionEvent {
  void* host;
  void* own;
};
bool CreateCompletionEvent(CompletionEvent* event);
void SetAndCloseOwn(CompletionEvent* event);

// For a host: waits for a completion event; returns at once off Windows. CloseHandle() closes one.
void WaitFor(void* handle);
void CloseHandle(void* handle);

bool IsTerminal(std::FILE* file);

// Makes a console show UTF-8. Returns what RestoreConsole() needs to leave it as it was.
unsigned UseUtf8Console();
void RestoreConsole(unsigned before);

// Ends the process by a bad memory access, without a dialog.
[[noreturn]] void Crash();

}  // namespace sample::os

#endif  // MAPISYNC_SAMPLES_SHARED_OS_H_
