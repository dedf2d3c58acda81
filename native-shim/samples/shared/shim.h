// The mapisync library, loaded at run time by its full path: a provider must work where it is
// absent.
#ifndef MAPISYNC_SAMPLES_SHARED_SHIM_H_
#define MAPISYNC_SAMPLES_SHARED_SHIM_H_

#include <filesystem>
#include <string>

#include "mapisync.h"

namespace sample {

// Functions are NULL where there is no library. Once loaded it stays, as its worker thread does.
struct Shim {
  decltype(&mapisync_tee) tee = nullptr;
  decltype(&mapisync_wrap) wrap = nullptr;
  decltype(&mapisync_sink) sink = nullptr;
  decltype(&mapisync_session_id) session_id = nullptr;
  decltype(&mapisync_get_status) get_status = nullptr;
  decltype(&mapisync_flush) flush = nullptr;

  // False, and *why, if the library cannot be loaded or lacks a function; all stay NULL then.
  bool Load(const std::filesystem::path& path, std::string* why);
};

// Where the library is looked for unless told otherwise.
std::filesystem::path ShimBeside(const std::filesystem::path& folder);

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_SHARED_SHIM_H_
