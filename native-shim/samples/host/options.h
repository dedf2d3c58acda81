// The command line of the sample host.
#ifndef MAPISYNC_SAMPLES_HOST_OPTIONS_H_
#define MAPISYNC_SAMPLES_HOST_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "outlook_callback.h"

namespace sample {

struct Options {
  std::string provider;  // "": beside the host
  std::string entry = "MapisyncSampleCreate";
  std::string config;  // "": made for the sample provider from the options below
  std::string maildir;
  std::string store;
  std::string shim;  // "": beside the provider, if there; "none": without
  std::string scenario = "2";
  std::string calls_per_second = "0";
  std::string trace;  // "": none
  Behaviour callback;
  uint32_t stores = 1;
  uint32_t hold_ms = 0;
  uint32_t flush_ms = 0;
  bool flush = false;
  std::string attach = "tee";  // tee, wrap, sink
  bool json = false;
  bool quiet = false;
  bool help = false;
};

extern const char kHelp[];

// Returns what is wrong, or "".
std::string ParseOptions(const std::vector<std::string>& arguments, Options* options);

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_HOST_OPTIONS_H_
