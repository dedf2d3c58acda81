#include "trace.h"

#include <algorithm>
#include <cinttypes>

#include "../shared/os.h"
#include "../shared/text.h"

namespace sample {

Trace::~Trace() {
  if (file_) std::fclose(file_);
}

bool Trace::Open(const std::string& path) {
  file_ = os::Open(os::PathOf(path), "wb");
  return file_ != nullptr;
}

void Trace::Progress(uint32_t store, const char16_t* text, uint32_t index, uint32_t index_max,
                     Hresult returned) {
  Write(store, "Progress",
        "\"text\":" + JsonOf(text) + ",\"index\":" + std::to_string(index) +
            ",\"max\":" + std::to_string(index_max),
        returned);
}

void Trace::Error(uint32_t store, Hresult result, const char16_t* text, Hresult returned) {
  Write(store, "Error", "\"hresult\":\"" + HexOf(result) + "\",\"text\":" + JsonOf(text), returned);
}

void Trace::Done(uint32_t store, const char* handle, Hresult result, Hresult returned) {
  Write(store, "Done",
        std::string("\"handle\":\"") + handle + "\",\"hresult\":\"" + HexOf(result) + "\"",
        returned);
}

void Trace::Write(uint32_t store, const char* method, const std::string& arguments,
                  Hresult returned) {
  const uint64_t thread = os::ThreadId();
  const std::lock_guard<std::mutex> guard(lock_);
  auto known = std::find(threads_.begin(), threads_.end(), thread);
  if (known == threads_.end()) known = threads_.insert(threads_.end(), thread);
  std::fprintf(file_,
               "{\"call\":%" PRIu64
               ",\"store\":%u,\"thread\":%d,\"method\":\"%s\",%s,\"returned\":\"%s\"}\n",
               ++calls_, store, static_cast<int>(known - threads_.begin()) + 1, method,
               arguments.c_str(), HexOf(returned).c_str());
  std::fflush(file_);
}

std::string HexOf(Hresult code) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08X", static_cast<unsigned>(BitsOf(code)));
  return text;
}

}  // namespace sample
