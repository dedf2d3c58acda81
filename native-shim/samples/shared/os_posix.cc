#if !defined(_WIN32)

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "os.h"

namespace fs = std::filesystem;

namespace sample::os {
namespace {

struct Start {
  void (*body)(void*);
  void* argument;
};

void* Trampoline(void* argument) {
  const Start start = *static_cast<Start*>(argument);
  delete static_cast<Start*>(argument);
  start.body(start.argument);
  return nullptr;
}

}  // namespace

fs::path PathOf(const std::string& utf8) { return fs::path(utf8); }
std::string Utf8Of(const fs::path& path) { return path.string(); }

std::FILE* Open(const fs::path& path, const char* mode) { return std::fopen(path.c_str(), mode); }

fs::path ModuleFolder() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&ModuleFolder), &info) == 0) return {};
  std::error_code error;
  return fs::absolute(info.dli_fname, error).lexically_normal().parent_path();
}

void* LoadModule(const fs::path& path, std::string* why) {
  std::error_code error;
  void* module = dlopen(fs::absolute(path, error).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module) *why = dlerror();
  return module;
}

void* Symbol(void* module, const char* name) { return dlsym(module, name); }

bool StartThread(void (*body)(void*), void* argument) {
  auto* start = new Start{body, argument};
  pthread_t thread;
  if (pthread_create(&thread, nullptr, Trampoline, start) != 0) {
    delete start;
    return false;
  }
  pthread_detach(thread);
  return true;
}

uint64_t ThreadId() { return reinterpret_cast<uintptr_t>(pthread_self()); }

void SleepMs(uint32_t duration_ms) {
  timespec left = {duration_ms / 1000, static_cast<long>(duration_ms % 1000) * 1000000};
  while (nanosleep(&left, &left) != 0) {
  }
}

bool CreateCompletionEvent(CompletionEvent* event) {
  static std::atomic<uintptr_t> next{1};
  *event = {reinterpret_cast<void*>(next.fetch_add(1)), nullptr};
  return true;
}

void SetAndCloseOwn(CompletionEvent*) {}
void WaitFor(void*) {}
void CloseHandle(void*) {}

bool IsTerminal(std::FILE* file) { return isatty(fileno(file)) != 0; }

unsigned UseUtf8Console() { return 0; }
void RestoreConsole(unsigned) {}

void Crash() {
  raise(SIGSEGV);
  _exit(1);
}

}  // namespace sample::os

#endif
