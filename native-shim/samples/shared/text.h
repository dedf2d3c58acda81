// UTF-8 and UTF-16. MAPI speaks UTF-16, files and consoles UTF-8. What is malformed becomes U+FFFD.
#ifndef MAPISYNC_SAMPLES_SHARED_TEXT_H_
#define MAPISYNC_SAMPLES_SHARED_TEXT_H_

#include <string>
#include <string_view>

namespace sample {

std::u16string ToUtf16(std::string_view utf8);
std::string ToUtf8(std::u16string_view utf16);
bool IsUtf8(std::string_view bytes);

// A JSON string, quotes included, in ASCII. The second one keeps lone surrogates as \uD800 and so
// on, so nothing of a text is lost. NULL is `null`.
std::string JsonOf(std::string_view utf8);
std::string JsonOf(const char16_t* text);

// For a terminal: control and bidirectional characters become \u{..}, so no text moves the cursor.
std::string Printable(const char16_t* text);

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_SHARED_TEXT_H_
