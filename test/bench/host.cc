// A host for what is measured from outside. Prints one line, "ready" or a JSON object, and ends
// with its stdin.
//
// host SHIM errors PER_SECOND COUNT   calls of Error at a steady pace
// host SHIM flood SECONDS             calls of Progress as fast as the ring takes them
// host SHIM idle                      a session that has ended, everything acknowledged
// host SHIM silent                    a session that is open and has nothing to say
// host SHIM mapped                    memory that the shim maps, after a lap of the ring (Linux)
#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include "module.h"

namespace {

using std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr uint32_t kMax = 1000000;
constexpr char16_t kText[] = u"Inbox: message 000123456";
constexpr int kCallsPerLap = 100000;
constexpr uint32_t kFlushMs = 30000;

long long MappedBytes() {
  std::ifstream statm("/proc/self/statm");
  long long pages = 0;
  statm >> pages;
  return pages * 4096;
}

uint64_t Recorded(const Module& module) {
  mapisync_status status = {};
  status.size = sizeof status;
  module.get_status(&status);
  return status.recorded;
}

// Keeps the ring between empty and the mark from which on calls are merged.
uint64_t Flood(const Module& module, mapisync::ProgressCallback* sink, double seconds) {
  const auto begin = steady_clock::now();
  const uint64_t before = Recorded(module);
  mapisync_status status = {};
  status.size = sizeof status;
  uint32_t index = 0;
  while (Seconds(steady_clock::now() - begin).count() < seconds) {
    module.get_status(&status);
    if (status.recorded - status.acknowledged > 20000) {
      // Where shorter pauses are none, as under Wine, this thread would take a processor from the
      // others.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    for (int i = 0; i < 2000; i++) sink->Progress(kText, index++ % kMax, kMax);
  }
  if (!module.flush(kFlushMs)) Fail("The daemon did not acknowledge everything");
  const double passed = Seconds(steady_clock::now() - begin).count();
  return static_cast<uint64_t>(static_cast<double>(Recorded(module) - before) / passed);
}

void Errors(mapisync::ProgressCallback* sink, int per_second, int count) {
  const auto begin = steady_clock::now();
  for (int i = 0; i < count; i++) {
    std::this_thread::sleep_until(begin + std::chrono::microseconds(1000000LL * i / per_second));
    sink->Error(-2147467259, kText);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) Fail("usage: host SHIM errors|flood|idle|silent|mapped ...");
  const std::string mode = argv[2];
  const long long mapped_before = MappedBytes();
  const Module module(argv[1]);
  mapisync_options options = {};
  options.size = sizeof options;
  options.provider = u"bench";
  options.store = u"Mailbox";
  auto* sink = static_cast<mapisync::ProgressCallback*>(module.sink(&options));
  if (!module.flush(kFlushMs)) Fail("The daemon did not acknowledge everything");

  if (mode == "errors") {
    Errors(sink, std::atoi(argv[3]), std::atoi(argv[4]));
  } else if (mode == "flood") {
    Flood(module, sink, 1);
    const uint64_t per_second = Flood(module, sink, std::atof(argv[3]));
    std::printf("{\"frames_per_s\":%llu}\n", static_cast<unsigned long long>(per_second));
  } else if (mode == "mapped") {
    for (int i = 0; i < kCallsPerLap; i++) sink->Progress(kText, 1, kMax);
    std::printf("{\"mapped_bytes\":%lld}\n", MappedBytes() - mapped_before);
  }
  const bool ends = mode != "silent";
  if (ends) {
    sink->Done(nullptr, 0);
    sink->Release();
  }
  if (!module.flush(kFlushMs)) Fail("The daemon did not acknowledge everything");
  if (mode == "idle" || mode == "silent" || mode == "errors") std::printf("ready\n");
  std::fflush(stdout);
  if (mode == "idle" || mode == "silent") std::getchar();
  if (!ends) sink->Release();
  return 0;
}
