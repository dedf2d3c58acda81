// Writes each call to the callback as a line of JSON, so that two runs can be compared.
#ifndef MAPISYNC_SAMPLES_HOST_TRACE_H_
#define MAPISYNC_SAMPLES_HOST_TRACE_H_

#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "../shared/mapi_codes.h"

namespace sample {

// Any thread may call. A line has reached the system when the method returns, so it outlives a
// crash. Threads are numbered from 1 as they appear; calls of all stores share one count.
class Trace {
 public:
  ~Trace();
  bool Open(const std::string& path);  // False: see errno.

  // handle: how Done's handle relates to *phSyncDoneEvent: null, same or other.
  void Progress(uint32_t store, const char16_t* text, uint32_t index, uint32_t index_max,
                Hresult returned);
  void Error(uint32_t store, Hresult result, const char16_t* text, Hresult returned);
  void Done(uint32_t store, const char* handle, Hresult result, Hresult returned);

 private:
  void Write(uint32_t store, const char* method, const std::string& arguments, Hresult returned);

  std::mutex lock_;  // Guards all below.
  std::FILE* file_ = nullptr;
  uint64_t calls_ = 0;
  std::vector<uint64_t> threads_;
};

// As in a JSON string: "0x8004010F".
std::string HexOf(Hresult code);

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_HOST_TRACE_H_
