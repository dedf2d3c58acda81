#include "shim.h"

#include "os.h"

namespace sample {
namespace {

template <typename Function>
bool Find(void* module, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(os::Symbol(module, name));
  return *function != nullptr;
}

}  // namespace

bool Shim::Load(const std::filesystem::path& path, std::string* why) {
  void* module = os::LoadModule(path, why);
  if (!module) return false;
  Shim found;
  if (Find(module, "mapisync_tee", &found.tee) && Find(module, "mapisync_wrap", &found.wrap) &&
      Find(module, "mapisync_sink", &found.sink) &&
      Find(module, "mapisync_session_id", &found.session_id) &&
      Find(module, "mapisync_get_status", &found.get_status) &&
      Find(module, "mapisync_flush", &found.flush)) {
    *this = found;
    return true;
  }
  *why = "it is not a mapisync library, or of another version";
  return false;
}

std::filesystem::path ShimBeside(const std::filesystem::path& folder) {
  return folder / (os::kWindows ? "mapisync.dll" : "libmapisync.so");
}

}  // namespace sample
