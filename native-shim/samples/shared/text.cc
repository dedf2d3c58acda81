#include "text.h"

#include <cstdio>

namespace sample {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

bool IsHigh(char32_t unit) { return unit >= 0xD800 && unit <= 0xDBFF; }
bool IsLow(char32_t unit) { return unit >= 0xDC00 && unit <= 0xDFFF; }

// Takes one character off the front of text. Malformed bytes are taken one at a time.
bool TakeUtf8(std::string_view* text, char32_t* character) {
  auto byte = [&](size_t at) { return static_cast<unsigned char>((*text)[at]); };
  const unsigned char first = byte(0);
  const size_t size = first < 0x80           ? 1
                      : (first >> 5) == 0x06 ? 2
                      : (first >> 4) == 0x0E ? 3
                      : (first >> 3) == 0x1E ? 4
                                             : 0;
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  char32_t value = size < 2 ? first : first & (0x7Fu >> size);
  bool good = size > 0 && size <= text->size();
  for (size_t at = 1; good && at < size; at++) {
    good = (byte(at) & 0xC0) == 0x80;
    value = value << 6 | (byte(at) & 0x3Fu);
  }
  good = good && value >= kSmallest[size] && value <= 0x10FFFF && !IsHigh(value) && !IsLow(value);
  text->remove_prefix(good ? size : 1);
  *character = good ? value : kReplacement;
  return good;
}

char32_t TakeUtf16(std::u16string_view* text) {
  char32_t value = (*text)[0];
  size_t size = 1;
  if (IsHigh(value) && text->size() > 1 && IsLow((*text)[1])) {
    value = 0x10000 + ((value - 0xD800) << 10) + ((*text)[1] - 0xDC00u);
    size = 2;
  } else if (IsHigh(value) || IsLow(value)) {
    value = kReplacement;
  }
  text->remove_prefix(size);
  return value;
}

void Append(std::string* out, char32_t value) {
  auto put = [&](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (value < 0x80) return put(value);
  if (value < 0x800) {
    put(0xC0 | value >> 6);
  } else {
    if (value < 0x10000) {
      put(0xE0 | value >> 12);
    } else {
      put(0xF0 | value >> 18);
      put(0x80 | (value >> 12 & 0x3F));
    }
    put(0x80 | (value >> 6 & 0x3F));
  }
  put(0x80 | (value & 0x3F));
}

void AppendJson(std::string* out, char16_t unit) {
  if (unit == u'"' || unit == u'\\') out->push_back('\\');
  if (unit >= 0x20 && unit < 0x7F) return out->push_back(static_cast<char>(unit));
  char escaped[8];
  std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(unit));
  *out += escaped;
}

bool MovesTheCursor(char32_t value) {
  return value < 0x20 || (value >= 0x7F && value < 0xA0) || value == 0x61C ||
         (value >= 0x200E && value <= 0x200F) || (value >= 0x2028 && value <= 0x202E) ||
         (value >= 0x2066 && value <= 0x2069);
}

}  // namespace

std::u16string ToUtf16(std::string_view utf8) {
  std::u16string out;
  out.reserve(utf8.size());
  while (!utf8.empty()) {
    char32_t value;
    TakeUtf8(&utf8, &value);
    if (value >= 0x10000) {
      out.push_back(static_cast<char16_t>(0xD800 + ((value - 0x10000) >> 10)));
      value = 0xDC00 + ((value - 0x10000) & 0x3FF);
    }
    out.push_back(static_cast<char16_t>(value));
  }
  return out;
}

std::string ToUtf8(std::u16string_view utf16) {
  std::string out;
  out.reserve(utf16.size());
  while (!utf16.empty()) Append(&out, TakeUtf16(&utf16));
  return out;
}

bool IsUtf8(std::string_view bytes) {
  char32_t value;
  while (!bytes.empty()) {
    if (!TakeUtf8(&bytes, &value)) return false;
  }
  return true;
}

std::string JsonOf(std::string_view utf8) { return JsonOf(ToUtf16(utf8).c_str()); }

std::string JsonOf(const char16_t* text) {
  if (!text) return "null";
  std::string out = "\"";
  for (; *text; text++) AppendJson(&out, *text);
  return out + '"';
}

std::string Printable(const char16_t* text) {
  std::string out;
  for (std::u16string_view rest = text; !rest.empty();) {
    const char32_t value = TakeUtf16(&rest);
    if (MovesTheCursor(value)) {
      char escaped[16];
      std::snprintf(escaped, sizeof escaped, "\\u{%x}", static_cast<unsigned>(value));
      out += escaped;
    } else {
      Append(&out, value);
    }
  }
  return out;
}

}  // namespace sample
