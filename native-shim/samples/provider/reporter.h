// The provider's side of IMAPISyncProgressCallback: paces the calls, makes them, counts them.
#ifndef MAPISYNC_SAMPLES_PROVIDER_REPORTER_H_
#define MAPISYNC_SAMPLES_PROVIDER_REPORTER_H_

#include <chrono>
#include <mutex>
#include <string>

#include "../shared/mapi_codes.h"
#include "../shared/sample.h"

namespace sample {

// Any thread may call. Results of the callback are ignored: it offers no way to cancel, and a sync
// must not fail because its progress could not be shown. Without a callback nothing is called or
// counted.
class Reporter {
 public:
  explicit Reporter(double calls_per_second) : calls_per_second_(calls_per_second) {}

  void set_callback(mapisync::ProgressCallback* callback) { callback_ = callback; }

  // Waits until the next call is due. Due times are counted from the first, so a late call is made
  // good by the ones that follow. The next but one is due after as many calls' time as `weight`.
  void Pace(uint64_t weight = 1);

  // Asks the callback for an interface that it does not have.
  void AskForUnknown();

  void Progress(const char16_t* text, uint32_t index, uint32_t index_max);
  void Error(Hresult code, const char16_t* text);
  void Error(Hresult code, const std::string& utf8);
  void Done(void* event, Hresult result);

  // Adds the counts of calls so far.
  void CountInto(Counts* counts);

 private:
  mapisync::ProgressCallback* callback_ = nullptr;  // weak
  const double calls_per_second_;
  std::mutex lock_;  // Guards all below. Never held while calling out or sleeping.
  std::chrono::steady_clock::time_point first_;
  uint64_t paced_ = 0;
  Counts calls_ = {};
};

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_PROVIDER_REPORTER_H_
