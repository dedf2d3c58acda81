// The shim as a loaded library, on either system.
#ifndef MAPISYNC_TEST_BENCH_MODULE_H_
#define MAPISYNC_TEST_BENCH_MODULE_H_

#include <cstdio>
#include <cstdlib>
#include <string>

#include "mapisync.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <dlfcn.h>
#endif

[[noreturn]] inline void Fail(const std::string& why) {
  std::fprintf(stderr, "bench: %s\n", why.c_str());
  std::exit(1);
}

struct Module {
  explicit Module(const char* path) {
#if defined(_WIN32)
    handle = LoadLibraryA(path);
#else
    handle = dlopen(path, RTLD_NOW);
#endif
    if (!handle) Fail(std::string("Cannot load ") + path);
    Find("mapisync_sink", &sink);
    Find("mapisync_tee", &tee);
    Find("mapisync_get_status", &get_status);
    Find("mapisync_flush", &flush);
  }

  decltype(&mapisync_sink) sink;
  decltype(&mapisync_tee) tee;
  decltype(&mapisync_get_status) get_status;
  decltype(&mapisync_flush) flush;

 private:
  template <typename Function>
  void Find(const char* name, Function* function) {
#if defined(_WIN32)
    void* const symbol = reinterpret_cast<void*>(GetProcAddress(handle, name));
#else
    void* const symbol = dlsym(handle, name);
#endif
    if (!symbol) Fail(std::string("The shim does not export ") + name);
    *function = reinterpret_cast<Function>(symbol);
  }

#if defined(_WIN32)
  HMODULE handle;
#else
  void* handle;
#endif
};

#endif  // MAPISYNC_TEST_BENCH_MODULE_H_
