#include "endpoint.h"

#include <cstring>

namespace mapisync {
namespace {

struct Slice {
  const char* data;
  std::size_t size;
};

bool IsKey(Slice line, const char* key, Slice* value) noexcept {
  const std::size_t size = std::strlen(key);
  if (line.size <= size || std::memcmp(line.data, key, size) != 0 || line.data[size] != '=') {
    return false;
  }
  *value = {line.data + size + 1, line.size - size - 1};
  return true;
}

int HexDigit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool ParseProtocol(Slice value, std::uint32_t* protocol) noexcept {
  if (value.size == 0 || value.size > 5 || value.data[0] == '0') return false;
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < value.size; i++) {
    if (value.data[i] < '0' || value.data[i] > '9') return false;
    number = number * 10 + static_cast<std::uint32_t>(value.data[i] - '0');
  }
  *protocol = number;
  return true;
}

// A host opens what stands here, so nothing but a pipe of ours will do: a file name or the pipe of
// another service must not be opened in the user's name.
bool IsPipeName(Slice value) noexcept {
#ifdef _WIN32
  constexpr char kPrefix[] = "\\\\.\\pipe\\mapisync.";
  constexpr std::size_t kPrefixChars = sizeof kPrefix - 1;
  if (value.size != kPrefixChars + 32 || std::memcmp(value.data, kPrefix, kPrefixChars) != 0) {
    return false;
  }
  for (std::size_t i = kPrefixChars; i < value.size; i++) {
    if (HexDigit(value.data[i]) < 0) return false;
  }
  return true;
#else
  return value.size > 1 && value.data[0] == '/' &&
         std::memchr(value.data, 0, value.size) == nullptr;
#endif
}

bool ParsePipe(Slice value, char out[Endpoint::kMaxPipeChars]) noexcept {
  if (value.size >= Endpoint::kMaxPipeChars || !IsPipeName(value)) return false;
  std::memcpy(out, value.data, value.size);
  out[value.size] = '\0';
  return true;
}

bool ParseSecret(Slice value, unsigned char out[Endpoint::kSecretBytes]) noexcept {
  if (value.size != 2 * Endpoint::kSecretBytes) return false;
  for (std::size_t i = 0; i < Endpoint::kSecretBytes; i++) {
    const int high = HexDigit(value.data[2 * i]);
    const int low = HexDigit(value.data[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    out[i] = static_cast<unsigned char>(high << 4 | low);
  }
  return true;
}

}  // namespace

bool ParseEndpoint(const char* text, std::size_t size_bytes, Endpoint* endpoint) noexcept {
  bool has_protocol = false;
  bool has_pipe = false;
  bool has_secret = false;
  const char* const end = text + size_bytes;
  while (text < end) {
    const auto rest = static_cast<std::size_t>(end - text);
    const auto found = static_cast<const char*>(std::memchr(text, '\n', rest));
    const char* const stop = found != nullptr ? found : end;
    Slice line = {text, static_cast<std::size_t>(stop - text)};
    text = found != nullptr ? found + 1 : end;
    if (line.size > 0 && line.data[line.size - 1] == '\r') line.size--;

    Slice value;
    if (IsKey(line, "protocol", &value)) {
      if (has_protocol || !ParseProtocol(value, &endpoint->protocol)) return false;
      has_protocol = true;
    } else if (IsKey(line, "pipe", &value)) {
      if (has_pipe || !ParsePipe(value, endpoint->pipe)) return false;
      has_pipe = true;
    } else if (IsKey(line, "secret", &value)) {
      if (has_secret || !ParseSecret(value, endpoint->secret)) return false;
      has_secret = true;
    }
  }
  return has_protocol && has_pipe && has_secret;
}

}  // namespace mapisync
