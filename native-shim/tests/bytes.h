// Hex in tests.
#ifndef MAPISYNC_TESTS_BYTES_H_
#define MAPISYNC_TESTS_BYTES_H_

#include <cstddef>
#include <string>

inline std::string HexOf(const void* data, std::size_t size_bytes) {
  std::string hex;
  for (std::size_t i = 0; i < size_bytes; i++) {
    const unsigned char byte = static_cast<const unsigned char*>(data)[i];
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

inline std::string BytesOf(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

#endif  // MAPISYNC_TESTS_BYTES_H_
