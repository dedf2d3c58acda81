// Runs one target under libFuzzer: `fuzz --target=NAME [options of libFuzzer] [corpus]`.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "targets.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max);
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max, unsigned seed);

namespace {
const fuzz::Target* target = nullptr;
bool is_ring = false;
}  // namespace

int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr char kOption[] = "--target=";
  for (int i = 1; i < *argc; i++) {
    if (std::strncmp((*argv)[i], kOption, sizeof kOption - 1) == 0) {
      target = fuzz::FindTarget((*argv)[i] + sizeof kOption - 1);
    }
  }
  if (target == nullptr) {
    std::fprintf(stderr, "Cannot run: expected --target=NAME\n");
    std::exit(2);
  }
  is_ring = std::strcmp(target->name, "ring") == 0;
  return 0;
}

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  target->describe(data, size);
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max,
                                    unsigned seed) {
  const std::size_t mutated = LLVMFuzzerMutate(data, size, max);
  if (is_ring && seed % 4 != 0) fuzz::SealRing(data, mutated);
  return mutated;
}
