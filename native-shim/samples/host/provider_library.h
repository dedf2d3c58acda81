// Loads a provider, and says clearly why it cannot.
#ifndef MAPISYNC_SAMPLES_HOST_PROVIDER_LIBRARY_H_
#define MAPISYNC_SAMPLES_HOST_PROVIDER_LIBRARY_H_

#include <filesystem>
#include <string>

#include "../shared/sample.h"

namespace sample {

struct ProviderLibrary {
  mapisync_test_entry create = nullptr;
  MapisyncSampleErrorFunction error = nullptr;  // NULL: the provider does not explain
};

// It stays loaded: MAPI decides for itself when to unload a provider. Returns what is wrong, or "".
std::string LoadProvider(const std::filesystem::path& path, const std::string& entry,
                         ProviderLibrary* library);

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_HOST_PROVIDER_LIBRARY_H_
