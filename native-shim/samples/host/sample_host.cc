// A stand-in for Outlook: loads a store provider, starts its background sync, listens, cleans up.
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "../shared/os.h"
#include "../shared/text.h"
#include "options.h"
#include "report.h"

namespace sample {
namespace {

constexpr int kExitOk = 0;
constexpr int kExitProviderFailed = 1;
constexpr int kExitUsage = 2;

int Fail(int code, const std::string& why) {
  std::fprintf(stderr, "sample-host: %s\n", why.c_str());
  return code;
}

// For session ids, flush and status: the same file as the provider loads, so the same library.
std::string LoadShim(const Options& options, const std::filesystem::path& provider, Shim* shim) {
  if (options.shim == "none") return "";
  const bool given = !options.shim.empty();
  const std::filesystem::path path =
      given ? os::PathOf(options.shim) : ShimBeside(provider.parent_path());
  std::error_code error;
  if (!given && options.attach != "sink" && !std::filesystem::exists(path, error)) return "";
  std::string why;
  if (shim->Load(path, &why)) return "";
  return "Cannot load the mapisync library " + os::Utf8Of(path) + ": " + why +
         "; check --shim, or use --shim none";
}

int Run(const Options& options) {
  const std::filesystem::path provider =
      options.provider.empty()
          ? os::ModuleFolder() / (os::kWindows ? "sample-provider.dll" : "sample-provider.so")
          : os::PathOf(options.provider);
  ProviderLibrary library;
  std::string wrong = LoadProvider(provider, options.entry, &library);
  if (!wrong.empty()) return Fail(kExitProviderFailed, wrong);
  Shim shim;
  wrong = LoadShim(options, provider, &shim);
  if (!wrong.empty()) return Fail(kExitUsage, wrong);

  Trace trace;
  if (!options.trace.empty() && !trace.Open(options.trace)) {
    return Fail(kExitUsage, "Cannot write the trace " + options.trace + ": " +
                                std::strerror(errno) +
                                "; name a file in a folder that you may write to");
  }
  Dialog dialog(options.quiet ? nullptr : options.json ? stderr : stdout);

  std::vector<std::unique_ptr<StoreSync>> stores;
  for (uint32_t number = 1; number <= options.stores; number++) {
    stores.push_back(std::make_unique<StoreSync>(options, shim, number, &dialog,
                                                 options.trace.empty() ? nullptr : &trace));
    wrong = stores.back()->Create(library);
    if (!wrong.empty()) return Fail(kExitUsage, wrong);
  }
  for (const auto& store : stores) store->Start();
  for (const auto& store : stores) store->Finish();

  if (options.hold_ms > 0) os::SleepMs(options.hold_ms);
  int flushed = -1;
  if (options.flush) flushed = shim.flush ? shim.flush(options.flush_ms) : 0;
  if (options.json) std::printf("%s\n", Report(stores, shim, flushed).c_str());
  int exit_code = kExitOk;
  for (const auto& store : stores) {
    if (!store->failure().empty()) exit_code = Fail(kExitProviderFailed, store->failure());
  }
  return exit_code;
}

int Main(const std::vector<std::string>& arguments) {
  Options options;
  const std::string wrong = ParseOptions(arguments, &options);
  if (!wrong.empty()) return Fail(kExitUsage, wrong + "; see sample-host --help");
  if (options.help) {
    std::fputs(kHelp, stdout);
    return kExitOk;
  }
  const unsigned console = os::UseUtf8Console();
  const int code = Run(options);
  std::fflush(stdout);
  os::RestoreConsole(console);
  return code;
}

}  // namespace
}  // namespace sample

#if defined(_WIN32)
int wmain(int argc, wchar_t** argv) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; i++) {
    const std::wstring wide = argv[i];
    arguments.push_back(sample::ToUtf8(std::u16string(wide.begin(), wide.end())));
  }
  return sample::Main(arguments);
}
#else
int main(int argc, char** argv) { return sample::Main({argv + 1, argv + argc}); }
#endif
