// The host's result as one JSON object.
#ifndef MAPISYNC_SAMPLES_HOST_REPORT_H_
#define MAPISYNC_SAMPLES_HOST_REPORT_H_

#include <memory>
#include <string>
#include <vector>

#include "store_sync.h"

namespace sample {

// Sums over all stores. flushed: -1 if nobody asked. shim: to ask for its status; may be without
// library.
std::string Report(const std::vector<std::unique_ptr<StoreSync>>& stores, const Shim& shim,
                   int flushed);

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_HOST_REPORT_H_
