#include "dialog.h"

#include <algorithm>

#include "../shared/os.h"
#include "../shared/text.h"
#include "trace.h"

namespace sample {
namespace {

constexpr int kBarColumns = 30;
constexpr size_t kMaxTextBytes = 200;

int PercentOf(uint32_t index, uint32_t index_max) {
  if (index_max == 0) return -1;
  return static_cast<int>(std::min<uint64_t>(100, uint64_t{index} * 100 / index_max));
}

std::string Shown(const char16_t* text) {
  std::string shown = Printable(text);
  if (shown.size() <= kMaxTextBytes) return shown;
  size_t end = kMaxTextBytes;
  while ((shown[end] & 0xC0) == 0x80) end--;  // Not in the middle of a character.
  return shown.substr(0, end) + "...";
}

}  // namespace

Dialog::Dialog(std::FILE* out) : out_(out), terminal_(out && os::IsTerminal(out)) {}

void Dialog::Progress(uint32_t store, const char16_t* text, uint32_t index, uint32_t index_max) {
  if (!out_) return;
  const std::lock_guard<std::mutex> guard(lock_);
  Row& row = rows_[store];
  const int percent = PercentOf(index, index_max);
  const bool changed = percent != row.percent;
  row.percent = percent;
  if (text) {  // NULL keeps the last text and moves the bar.
    row.text = Shown(text);
    Line(store, row.text + ": " + std::to_string(index) + " of " + std::to_string(index_max));
  }
  if (!terminal_ || !changed || percent < 0) return;
  const auto filled = static_cast<size_t>(percent * kBarColumns / 100);
  std::fprintf(out_, "\r\033[K[%u] [%-*s] %3d%%", store, kBarColumns,
               std::string(filled, '#').c_str(), percent);
  std::fflush(out_);
  bar_open_ = true;
}

void Dialog::Error(uint32_t store, Hresult result, const char16_t* text) {
  if (!out_) return;
  const std::lock_guard<std::mutex> guard(lock_);
  Line(store, std::string(Failed(result) ? "error " : "warning ") + HexOf(result) +
                  (text ? ": " + Shown(text) : ""));
}

void Dialog::Done(uint32_t store, Hresult result) {
  if (!out_) return;
  const std::lock_guard<std::mutex> guard(lock_);
  Line(store, "done " + HexOf(result));
}

void Dialog::Line(uint32_t store, const std::string& text) {
  std::fprintf(out_, "%s[%u] %s\n", bar_open_ ? "\r\033[K" : "", store, text.c_str());
  bar_open_ = false;
}

}  // namespace sample
