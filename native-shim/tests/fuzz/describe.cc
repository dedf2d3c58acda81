// Answers on stdout what a target makes of each input on stdin: `describe NAME`. Both carry blocks,
// each with its size in bytes (u32, little-endian) before it.
#include <cstdio>
#include <cstring>
#include <memory>

#include "targets.h"

int main(int argc, char** argv) {
  const fuzz::Target* const target = argc == 2 ? fuzz::FindTarget(argv[1]) : nullptr;
  if (target == nullptr) {
    std::fprintf(stderr, "Cannot run: expected the name of a target\n");
    return 2;
  }
  std::uint32_t size;
  while (std::fread(&size, sizeof size, 1, stdin) == 1) {
    const std::unique_ptr<unsigned char[]> input(new unsigned char[size]);
    if (std::fread(input.get(), 1, size, stdin) != size) return 1;
    const std::string text = target->describe(input.get(), size);
    const auto text_bytes = static_cast<std::uint32_t>(text.size());
    std::fwrite(&text_bytes, sizeof text_bytes, 1, stdout);
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }
  return 0;
}
