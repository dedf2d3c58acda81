#include "config.h"

#include <cstdlib>
#include <string_view>

#include "../shared/os.h"
#include "../shared/text.h"

namespace sample {
namespace {

bool ParseRate(const std::string& text, double* rate) {
  char* end = nullptr;
  *rate = std::strtod(text.c_str(), &end);
  return !text.empty() && *end == '\0' && *rate >= 0 && *rate <= 1e6;
}

std::string Apply(const std::string& key, const std::string& value, Config* config) {
  if (key == "maildir") {
    config->maildir = value;
  } else if (key == "store") {
    config->store = value;
  } else if (key == "label") {
    config->label = value;
  } else if (key == "shim") {
    config->shim = value;
  } else if (key == "attach") {
    config->wrap = value == "wrap";
    if (!config->wrap && value != "tee") return "attach must be tee or wrap, not \"" + value + "\"";
  } else if (key == "scenario") {
    config->scenario = FindScenario(value);
    if (!config->scenario) return "no scenario \"" + value + "\"; there are:\n" + ScenarioList();
  } else if (key == "calls_per_second") {
    if (!ParseRate(value, &config->calls_per_second)) {
      return "calls_per_second must be a number from 0 to 1000000, not \"" + value + "\"";
    }
  } else {
    return "unknown key \"" + key + "\"";
  }
  return "";
}

}  // namespace

std::string ParseConfig(const char* text, Config* config) {
  config->scenario = FindScenario("2");
  for (std::string_view rest = text ? text : ""; !rest.empty();) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(line.size() < rest.size() ? line.size() + 1 : line.size());
    if (line.empty()) continue;
    const size_t equals = line.find('=');
    if (equals == line.npos) return "\"" + std::string(line) + "\" is not key=value";
    std::string wrong =
        Apply(std::string(line.substr(0, equals)), std::string(line.substr(equals + 1)), config);
    if (!wrong.empty()) return wrong;
  }
  if (config->maildir.empty()) return "maildir is missing: name the folder to read";
  if (config->store.empty()) return "store is missing: name the folder to write";
  if (config->label.empty()) {
    // A path that ends in a separator has an empty last part.
    const std::filesystem::path path = os::PathOf(config->maildir);
    config->label =
        os::Utf8Of(path.has_filename() ? path.filename() : path.parent_path().filename());
  }
  return "";
}

}  // namespace sample
