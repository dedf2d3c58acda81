// What the sample provider offers to a host beside IMAPISync: a factory, and counts to check
// against.
//
// Outlook would find a provider through MAPISVC.INF and MSProviderInit; a test host needs neither a
// MAPI session nor a profile, so one exported function makes the object that implements IMAPISync.
#ifndef MAPISYNC_SAMPLES_SHARED_SAMPLE_H_
#define MAPISYNC_SAMPLES_SHARED_SAMPLE_H_

#include <stdint.h>

#include "mapisync.h"

#if defined(_WIN32)
#define MAPISYNC_SAMPLE_API extern "C" __declspec(dllexport)
#else
#define MAPISYNC_SAMPLE_API extern "C" __attribute__((visibility("default")))
#endif

// Makes a provider's sync object: an IMAPISync with one reference, which the caller releases.
//
// config: UTF-8 lines `key=value`:
//   maildir           folder to read, required
//   store             folder to write, required; made if absent
//   label             name of the store; default: the last part of maildir
//   shim              path of the mapisync library, or `none`; default: beside the provider
//   attach            how to use it: `tee`, the default, or `wrap`
//   scenario          how to behave, one of provider/scenarios.cc; default 2
//   calls_per_second  pace of Progress; 0, the default, is as fast as possible
// sync: receives the object, or NULL on failure.
// Returns an HRESULT. A mapisync_test_entry, as the host loads it from any provider.
MAPISYNC_SAMPLE_API int32_t MapisyncSampleCreate(const char* config, void** sync) noexcept;

// Why the last MapisyncSampleCreate on this thread failed, UTF-8; valid until its next call.
using MapisyncSampleErrorFunction = const char* (*)();
MAPISYNC_SAMPLE_API const char* MapisyncSampleError() noexcept;

namespace sample {

// {8A4B5D1E-6C0F-4E7B-9E57-3B1D5C2A9F40}
inline constexpr mapisync::Guid kIidCounts = {
    0x8A4B5D1E, 0x6C0F, 0x4E7B, {0x9E, 0x57, 0x3B, 0x1D, 0x5C, 0x2A, 0x9F, 0x40}};

struct ErrorCount {
  mapisync::Hresult code;
  uint32_t count;
};

// What one sync did, as the provider itself saw it. Counts of calls are of calls that returned.
struct Counts {
  uint64_t messages;  // found in the Maildir, broken ones included
  uint64_t copied;
  uint64_t skipped;  // were in the store already
  uint64_t progress;
  uint64_t errors;
  uint64_t dones;
  mapisync::Hresult result;  // of the sync, whether or not Done was called
  uint32_t error_codes;      // how many of by_code are used; further codes are not told apart
  ErrorCount by_code[16];    // in order of first use
  char session[MAPISYNC_SESSION_ID_CHARS];  // "" where nothing is recorded
};

// Answered by the sample's sync object to kIidCounts.
struct CountsSource : mapisync::Unknown {
  // Counts of the newest sync that has ended; all zero before the first.
  virtual mapisync::Hresult MAPISYNC_CALL GetCounts(Counts* counts) noexcept = 0;
};

inline bool SameGuid(const mapisync::Guid& a, const mapisync::Guid& b) noexcept {
  if (a.data1 != b.data1 || a.data2 != b.data2 || a.data3 != b.data3) return false;
  for (int i = 0; i < 8; i++) {
    if (a.data4[i] != b.data4[i]) return false;
  }
  return true;
}

inline constexpr mapisync::Guid kIidUnknown = MAPISYNC_IID_IUNKNOWN;
inline constexpr mapisync::Guid kIidSync = MAPISYNC_IID_IMAPISYNC;
inline constexpr mapisync::Guid kIidCallback = MAPISYNC_IID_IMAPISYNCPROGRESSCALLBACK;

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_SHARED_SAMPLE_H_
