// Reads protocol/vectors/*.txt: lines of `case`, `json`, `hex`, blanks and comments.
#ifndef MAPISYNC_TESTS_VECTORS_H_
#define MAPISYNC_TESTS_VECTORS_H_

#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace vectors {

using Bytes = std::vector<unsigned char>;

// The folder of the golden files: beside this source file's project, or $MAPISYNC_VECTORS.
inline std::string Folder() {
  if (const char* folder = std::getenv("MAPISYNC_VECTORS")) return std::string(folder) + "/";
  const std::string here = __FILE__;
  return here.substr(0, here.find_last_of("/\\")) + "/../../protocol/vectors/";
}

inline unsigned Digit(char digit) {
  return static_cast<unsigned>(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
}

inline Bytes FromHex(const std::string& hex) {
  Bytes bytes;
  int have = 0;
  unsigned value = 0;
  for (const char c : hex) {
    if (c == ' ' || c == '\r') continue;
    value = value << 4 | Digit(c);
    if (++have % 2 == 0) bytes.push_back(static_cast<unsigned char>(value));
  }
  return bytes;
}

struct Case {
  std::string json;
  Bytes bytes;
};

inline std::map<std::string, Case> Read(const std::string& name) {
  std::map<std::string, Case> cases;
  std::ifstream in(Folder() + name, std::ios::binary);
  std::string line;
  std::string current;
  while (std::getline(in, line)) {
    const std::string keyword = line.substr(0, line.find(' '));
    const std::size_t at = line.find_first_not_of(' ', keyword.size());
    std::string rest = at == std::string::npos ? "" : line.substr(at);
    if (!rest.empty() && rest.back() == '\r') rest.pop_back();
    if (keyword == "case") current = rest;
    if (keyword == "json") cases[current].json = rest;
    if (keyword == "hex") cases[current].bytes = FromHex(rest);
  }
  return cases;
}

}  // namespace vectors

#endif  // MAPISYNC_TESTS_VECTORS_H_
