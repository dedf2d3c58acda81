#include "options.h"

#include <cerrno>
#include <cstdlib>

namespace sample {
namespace {

constexpr uint32_t kMaxStores = 64;
constexpr uint32_t kMaxMs = 86400000;

// Decimal, or hexadecimal with 0x. False: not a number, or above max.
bool ParseNumber(const std::string& text, uint32_t max, uint32_t* value) {
  const bool hex = text.size() > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  const std::string digits = hex ? text.substr(2) : text;
  if (digits.empty() || digits.find_first_not_of(hex ? "0123456789abcdefABCDEF" : "0123456789") !=
                            std::string::npos) {
    return false;
  }
  errno = 0;
  const unsigned long long number = std::strtoull(digits.c_str(), nullptr, hex ? 16 : 10);
  *value = static_cast<uint32_t>(number);
  return errno == 0 && number <= max;
}

bool ParseBehaviour(const std::string& text, Behaviour* behaviour) {
  const size_t equals = text.find('=');
  const std::string value = equals == text.npos ? "" : text.substr(equals + 1);
  const std::string name = text.substr(0, equals);
  if (name == "slow") {
    behaviour->kind = Behaviour::kSlow;
    return ParseNumber(value, kMaxMs, &behaviour->slow_ms);
  }
  if (name == "fail") {
    uint32_t bits = 0;
    behaviour->kind = Behaviour::kFail;
    const bool good = ParseNumber(value, 0xFFFFFFFF, &bits);
    behaviour->result = CodeOf(bits);
    return good;
  }
  if (equals != text.npos) return false;
  behaviour->kind = name == "absent"  ? Behaviour::kAbsent
                    : name == "crash" ? Behaviour::kCrash
                    : name == "hang"  ? Behaviour::kHang
                                      : Behaviour::kPlain;
  return name == "plain" || behaviour->kind != Behaviour::kPlain;
}

struct TextOption {
  const char* name;
  std::string Options::*target;
};
constexpr TextOption kTexts[] = {
    {"--provider", &Options::provider}, {"--entry", &Options::entry},
    {"--config", &Options::config},     {"--maildir", &Options::maildir},
    {"--store", &Options::store},       {"--shim", &Options::shim},
    {"--scenario", &Options::scenario}, {"--calls-per-second", &Options::calls_per_second},
    {"--trace", &Options::trace},
};

struct SwitchOption {
  const char* name;
  bool Options::*target;
};
constexpr SwitchOption kSwitches[] = {
    {"--json", &Options::json},
    {"--quiet", &Options::quiet},
    {"--help", &Options::help},
};

// Returns what is wrong with the value, or "".
std::string Apply(const std::string& name, const std::string& value, Options* options) {
  for (const TextOption& option : kTexts) {
    if (name != option.name) continue;
    // Each becomes a line of the provider's configuration.
    if (value.empty() || value.find('\n') != value.npos) {
      return name + " must be one line that is not empty";
    }
    options->*option.target = value;
    return "";
  }
  if (name == "--attach") {
    options->attach = value;
    if (value == "tee" || value == "wrap" || value == "sink") return "";
    return "--attach must be tee, wrap or sink, not \"" + value + "\"";
  }
  if (name == "--callback") {
    if (ParseBehaviour(value, &options->callback)) return "";
    return "--callback must be plain, absent, slow=MS, fail=HRESULT, crash or hang, not \"" +
           value + "\"";
  }
  const bool is_stores = name == "--stores";
  const bool is_flush = name == "--flush";
  uint32_t number = 0;
  const uint32_t max = is_stores ? kMaxStores : kMaxMs;
  if (!is_stores && !is_flush && name != "--hold") return "Unknown option " + name;
  if (!ParseNumber(value, max, &number) || (is_stores && number == 0)) {
    return name + " must be a whole number from " + (is_stores ? "1" : "0") + " to " +
           std::to_string(max) + ", not \"" + value + "\"";
  }
  if (is_stores) {
    options->stores = number;
  } else if (is_flush) {
    options->flush = true;
    options->flush_ms = number;
  } else {
    options->hold_ms = number;
  }
  return "";
}

}  // namespace

const char kHelp[] =
    "Plays Outlook for a store provider: starts a background sync and listens to it.\n"
    "\n"
    "Usage: sample-host --maildir DIR --store DIR [options]\n"
    "       sample-host --provider PATH --entry NAME --config FILE [options]\n"
    "\n"
    "  --provider PATH       provider to load (default: sample-provider beside this program)\n"
    "  --entry NAME          its exported factory (default: MapisyncSampleCreate)\n"
    "  --config FILE         text for the factory of a provider that is not the sample; {n} in it\n"
    "                        becomes the number of the store\n"
    "  --maildir DIR         Maildir to read\n"
    "  --store DIR           store to write\n"
    "  --shim PATH|none      mapisync library (default: beside the provider, if there)\n"
    "  --scenario N          how the provider behaves (default: 2; an unknown one lists them)\n"
    "  --calls-per-second N  pace of Progress (default: 0, as fast as possible)\n"
    "  --callback KIND       plain (default), absent, slow=MS, fail=HRESULT, crash, hang\n"
    "  --stores N            several syncs at once, into DIR/1, DIR/2, ... (scenario 10: 2)\n"
    "  --attach WAY          tee (default) and wrap: the provider records; sink: this program "
    "does\n"
    "  --hold MS             stay alive after the sync\n"
    "  --flush MS            before the end wait until a daemon has everything, at most so long\n"
    "  --trace FILE          write each call to the callback as a line of JSON\n"
    "  --json                print what happened as one JSON object at the end\n"
    "  --quiet               do not show the progress\n"
    "  --help                print this\n"
    "\n"
    "Exit codes: 0 the sync came to Done and succeeded, 1 the provider failed, 2 wrong usage.\n";

std::string ParseOptions(const std::vector<std::string>& arguments, Options* options) {
  bool stores_given = false;
  for (size_t i = 0; i < arguments.size(); i++) {
    const std::string& name = arguments[i];
    bool found = false;
    for (const SwitchOption& option : kSwitches) {
      if (name != option.name) continue;
      options->*option.target = true;
      found = true;
    }
    if (found) continue;
    if (name.substr(0, 2) != "--") return "Unexpected argument \"" + name + "\"";
    if (i + 1 == arguments.size()) return name + " is unknown or lacks its value";
    const std::string wrong = Apply(name, arguments[++i], options);
    if (!wrong.empty()) return wrong;
    stores_given = stores_given || name == "--stores";
  }
  if (options->help) return "";
  if (options->config.empty()) {
    if (options->maildir.empty()) return "--maildir is missing: name the Maildir to read";
    if (options->store.empty()) return "--store is missing: name the folder to write";
  } else if (!options->maildir.empty() || !options->store.empty()) {
    return "--config takes the place of --maildir and --store: leave these out";
  }
  const bool sink = options->attach == "sink";
  if (sink && options->shim == "none") return "--attach sink needs the mapisync library";
  if (sink && options->callback.kind == Behaviour::kAbsent) {
    return "--attach sink is a callback, so it does not go with --callback absent";
  }
  if (options->scenario == "10" && !stores_given) options->stores = 2;
  return "";
}

}  // namespace sample
