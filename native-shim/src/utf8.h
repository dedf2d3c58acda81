// UTF-16 from the host to UTF-8 for the wire, in one pass.
#ifndef MAPISYNC_SRC_UTF8_H_
#define MAPISYNC_SRC_UTF8_H_

#include <cstddef>
#include <cstdint>

#include "frames.h"
#include "limits.h"

namespace mapisync {

struct Utf8Result {
  std::uint32_t size_bytes;
  std::uint32_t marks;  // kMarkCut, kMarkReplaced.
};

// Bytes behind the text that Utf8FromUtf16() may scribble on.
inline constexpr std::size_t kUtf8SlackBytes = 16;

// Converts zero-terminated UTF-16 of any length, at most max_units of it; a surrogate pair is not
// split, a lone surrogate becomes U+FFFD. `out` has room for 3 * max_units + kUtf8SlackBytes. Reads
// no memory page that the text does not reach into.
Utf8Result Utf8FromUtf16(const char16_t* text, std::uint32_t max_units, char* out) noexcept;

// The longest start of a text of whole characters that fits into max_bytes.
Text CutUtf8(Text text, std::uint32_t max_bytes) noexcept;

// A name in UTF-8: at most kMaxNameBytes, cut at a character. NULL stays NULL.
class Utf8Name {
 public:
  explicit Utf8Name(const char16_t* name) noexcept;
  Text text() const noexcept { return text_; }

 private:
  char bytes_[3 * kMaxNameBytes + kUtf8SlackBytes];
  Text text_;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_UTF8_H_
