// What Outlook's Send/Receive dialog would show, as text: a bar in a terminal, else a line per new
// text.
#ifndef MAPISYNC_SAMPLES_HOST_DIALOG_H_
#define MAPISYNC_SAMPLES_HOST_DIALOG_H_

#include <cstdint>
#include <cstdio>
#include <map>
#include <mutex>
#include <string>

#include "../shared/mapi_codes.h"

namespace sample {

// Any thread may call. store: number of the store, from 1.
class Dialog {
 public:
  // out: where to show it, borrowed; NULL: nowhere.
  explicit Dialog(std::FILE* out);

  void Progress(uint32_t store, const char16_t* text, uint32_t index, uint32_t index_max);
  void Error(uint32_t store, Hresult result, const char16_t* text);
  void Done(uint32_t store, Hresult result);

 private:
  struct Row {
    std::string text;
    int percent = -1;  // as last drawn; -1: unknown
  };
  void Line(uint32_t store, const std::string& text);

  std::FILE* const out_;
  const bool terminal_;
  std::mutex lock_;  // Guards all below, and the output.
  std::map<uint32_t, Row> rows_;
  bool bar_open_ = false;  // the cursor stands behind a bar
};

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_HOST_DIALOG_H_
