#include "reporter.h"

#include <thread>

#include "../shared/text.h"

namespace sample {

void Reporter::Pace(uint64_t weight) {
  if (calls_per_second_ <= 0) return;
  std::chrono::steady_clock::time_point due;
  {
    const std::lock_guard<std::mutex> guard(lock_);
    if (paced_ == 0) first_ = std::chrono::steady_clock::now();
    const std::chrono::duration<double> since_first(static_cast<double>(paced_) /
                                                    calls_per_second_);
    paced_ += weight;
    due = first_ + std::chrono::duration_cast<std::chrono::steady_clock::duration>(since_first);
  }
  std::this_thread::sleep_until(due);
}

void Reporter::AskForUnknown() {
  // Nobody's.
  constexpr mapisync::Guid kUnknown = {
      0x7d1f0c52, 0x3c0e, 0x4b55, {0x9a, 0x5e, 0x10, 0x6c, 0x4f, 0x21, 0x8b, 0x93}};
  void* object = nullptr;
  if (callback_ && !Failed(callback_->QueryInterface(kUnknown, &object)) && object) {
    static_cast<mapisync::Unknown*>(object)->Release();
  }
}

void Reporter::Progress(const char16_t* text, uint32_t index, uint32_t index_max) {
  if (!callback_) return;
  callback_->Progress(text, index, index_max);
  const std::lock_guard<std::mutex> guard(lock_);
  calls_.progress++;
}

void Reporter::Error(Hresult code, const char16_t* text) {
  if (!callback_) return;
  callback_->Error(code, text);
  const std::lock_guard<std::mutex> guard(lock_);
  calls_.errors++;
  constexpr uint32_t kRoom = sizeof calls_.by_code / sizeof calls_.by_code[0];
  uint32_t at = 0;
  while (at < calls_.error_codes && calls_.by_code[at].code != code) at++;
  if (at == kRoom) return;
  if (at == calls_.error_codes) calls_.by_code[calls_.error_codes++].code = code;
  calls_.by_code[at].count++;
}

void Reporter::Error(Hresult code, const std::string& utf8) { Error(code, ToUtf16(utf8).c_str()); }

void Reporter::Done(void* event, Hresult result) {
  if (!callback_) return;
  callback_->Done(event, result);
  const std::lock_guard<std::mutex> guard(lock_);
  calls_.dones++;
}

void Reporter::CountInto(Counts* counts) {
  const std::lock_guard<std::mutex> guard(lock_);
  counts->progress = calls_.progress;
  counts->errors = calls_.errors;
  counts->dones = calls_.dones;
  counts->error_codes = calls_.error_codes;
  for (uint32_t i = 0; i < calls_.error_codes; i++) counts->by_code[i] = calls_.by_code[i];
}

}  // namespace sample
