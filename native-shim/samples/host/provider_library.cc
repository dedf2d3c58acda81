#include "provider_library.h"

#include <cstdio>
#include <cstring>

#include "../shared/os.h"

namespace sample {
namespace {

constexpr int kOwnBits = sizeof(void*) * 8;

struct Binary {
  enum Format { kUnknown, kElf, kPe } format = kUnknown;
  int bits = 0;  // 0: not told
};

// Reads just enough of ELF and PE headers to tell why a loader will refuse the file.
Binary ReadBinary(std::FILE* file) {
  unsigned char start[64] = {};
  if (std::fread(start, 1, sizeof start, file) != sizeof start) return {};
  if (std::memcmp(start,
                  "\x7F"
                  "ELF",
                  4) == 0) {
    return {Binary::kElf, start[4] == 1 ? 32 : start[4] == 2 ? 64 : 0};
  }
  if (std::memcmp(start, "MZ", 2) != 0) return {};
  const long offset = start[0x3C] | start[0x3D] << 8 | start[0x3E] << 16;
  unsigned char header[6] = {};
  if (std::fseek(file, offset, SEEK_SET) != 0 || std::fread(header, 1, 6, file) != 6 ||
      std::memcmp(header, "PE\0", 4) != 0) {
    return {};
  }
  switch (header[4] | header[5] << 8) {
    case 0x014C:
      return {Binary::kPe, 32};
    case 0x8664:
    case 0xAA64:
      return {Binary::kPe, 64};
    default:
      return {Binary::kPe, 0};
  }
}

// Why this file cannot be a provider for this host; "" if it can.
std::string Unfit(const Binary& binary) {
  if (binary.format == Binary::kElf && os::kWindows) {
    return "it is a Linux library and this host runs on Windows; name the provider's .dll";
  }
  if (binary.format == Binary::kPe && !os::kWindows) {
    return "it is a Windows DLL and this host does not run on Windows; name a library of this "
           "system";
  }
  if (binary.bits != 0 && binary.bits != kOwnBits) {
    return "it is " + std::to_string(binary.bits) + "-bit and this host is " +
           std::to_string(kOwnBits) + "-bit; build both for the same bitness";
  }
  return "";
}

}  // namespace

std::string LoadProvider(const std::filesystem::path& path, const std::string& entry,
                         ProviderLibrary* library) {
  const std::string what = "Cannot load provider " + os::Utf8Of(path) + ": ";
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return what + "it is a folder; name a file";
  std::FILE* file = os::Open(path, "rb");
  if (!file) return what + std::strerror(errno) + "; check --provider";
  const Binary binary = ReadBinary(file);
  std::fclose(file);
  const std::string unfit = Unfit(binary);
  if (!unfit.empty()) return what + unfit;

  std::string why;
  void* module = os::LoadModule(path, &why);
  if (!module) return what + why + "; is it a library with all that it depends on?";
  library->create = reinterpret_cast<mapisync_test_entry>(os::Symbol(module, entry.c_str()));
  if (!library->create) return what + "it does not export " + entry + "; check --entry";
  library->error =
      reinterpret_cast<MapisyncSampleErrorFunction>(os::Symbol(module, "MapisyncSampleError"));
  return "";
}

}  // namespace sample
