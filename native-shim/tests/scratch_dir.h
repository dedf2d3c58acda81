// A directory for one test, removed with all that is in it.
#ifndef MAPISYNC_TESTS_SCRATCH_DIR_H_
#define MAPISYNC_TESTS_SCRATCH_DIR_H_

#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "platform.h"

class ScratchDir {
 public:
  ScratchDir() {
    unsigned long long random = 0;
    if (!mapisync::RandomBytes(&random, sizeof random)) std::abort();
    char name[40];
    std::snprintf(name, sizeof name, "mapisync-test-%016llx", random);
    const std::filesystem::path path = std::filesystem::temp_directory_path() / name;
    std::filesystem::create_directory(path);
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    path_ = path.string();
  }
  ~ScratchDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;

  const std::string& path() const { return path_; }
  // As the shim's platform edge wants it.
  mapisync::Path AsPath() const {
    mapisync::Path out = {};
    const std::filesystem::path::string_type native = std::filesystem::path(path_).native();
    native.copy(out.text, mapisync::Path::kMaxChars - 1);
    return out;
  }

 private:
  std::string path_;
};

// Puts a file into a directory, whole at once, that only the user may read.
inline void WritePrivateFile(const std::string& dir, const std::string& name,
                             const std::string& text) {
  const std::filesystem::path temporary = std::filesystem::path(dir) / (name + ".new");
  std::FILE* const file = std::fopen(temporary.string().c_str(), "wb");
  if (file == nullptr) std::abort();
  std::fwrite(text.data(), 1, text.size(), file);
  std::fclose(file);
  std::filesystem::permissions(
      temporary, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  std::filesystem::rename(temporary, std::filesystem::path(dir) / name);
}

#endif  // MAPISYNC_TESTS_SCRATCH_DIR_H_
