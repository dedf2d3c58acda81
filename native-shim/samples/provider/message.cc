#include "message.h"

#include "../shared/text.h"

namespace sample {
namespace {

constexpr size_t kMaxHeaderBytes = 1 << 20;

// A field name, a colon: RFC 5322 allows printable ASCII for the name.
bool IsField(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == line.npos || colon == 0) return false;
  for (const char c : line.substr(0, colon)) {
    if (c <= ' ' || c > '~') return false;
  }
  return true;
}

const char* Judge(std::string_view header) {
  if (header.find('\0') != header.npos) return "its header has a NUL byte";
  if (!IsUtf8(header)) return "its header is not UTF-8";
  for (bool first = true; !header.empty(); first = false) {
    const std::string_view line = header.substr(0, header.find('\n'));
    header.remove_prefix(line.size() < header.size() ? line.size() + 1 : line.size());
    const bool continues = !first && (line[0] == ' ' || line[0] == '\t');
    if (!continues && !IsField(line)) return "it has no header";
    first = false;
  }
  return nullptr;
}

// Where the header ends, npos if it is not whole: at the first empty line.
size_t EndOf(std::string_view text) {
  if (text[0] == '\n' || text.substr(0, 2) == "\r\n") return 0;
  return std::min(text.find("\n\n"), text.find("\n\r\n"));
}

}  // namespace

bool HeaderCheck::Feed(std::string_view piece) {
  if (judged_) return !wrong_;
  header_ += piece;
  const size_t end = EndOf(header_);
  if (end == std::string::npos && header_.size() <= kMaxHeaderBytes) return true;
  judged_ = true;
  wrong_ = end == 0                   ? "it has no header"
           : end == std::string::npos ? "its header does not end"
                                      : Judge(std::string_view(header_).substr(0, end));
  return !wrong_;
}

const char* HeaderCheck::Finish() {
  if (judged_) return wrong_;
  return header_.empty() ? "it is empty" : Judge(header_);
}

}  // namespace sample
