// The `key=value` lines that MapisyncSampleCreate takes.
#ifndef MAPISYNC_SAMPLES_PROVIDER_CONFIG_H_
#define MAPISYNC_SAMPLES_PROVIDER_CONFIG_H_

#include <string>

#include "scenarios.h"

namespace sample {

struct Config {
  std::string maildir;
  std::string store;
  std::string label;
  bool wrap = false;  // record by mapisync_wrap(), not by mapisync_tee()
  std::string shim;   // path, "none", or "" for the default
  const Scenario* scenario = nullptr;
  double calls_per_second = 0;  // 0: as fast as possible
};

// Returns what is wrong, or "".
std::string ParseConfig(const char* text, Config* config);

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_PROVIDER_CONFIG_H_
