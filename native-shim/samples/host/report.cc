#include "report.h"

#include <map>

namespace sample {
namespace {

std::string Field(const char* name, const std::string& json) {
  return std::string(",\"") + name + "\":" + json;
}

std::string Field(const char* name, uint64_t value) { return Field(name, std::to_string(value)); }

std::string Calls(uint64_t progress, uint64_t errors, uint64_t dones) {
  return "{\"progress\":" + std::to_string(progress) + Field("errors", errors) +
         Field("dones", dones) + "}";
}

std::string ShimStatus(const Shim& shim) {
  if (!shim.get_status) return "null";
  mapisync_status status = {};
  status.size = sizeof status;
  shim.get_status(&status);
  return "{\"recording\":" + std::to_string(status.recording) + Field("in_file", status.in_file) +
         Field("connected", status.connected) + Field("recorded", status.recorded) +
         Field("acknowledged", status.acknowledged) + Field("merged", status.merged) +
         Field("lost", status.lost) + "}";
}

}  // namespace

std::string Report(const std::vector<std::unique_ptr<StoreSync>>& stores, const Shim& shim,
                   int flushed) {
  Counts sum = {};
  OutlookCallback::Heard heard = {};
  std::map<std::string, uint64_t> by_code;
  std::string sessions;
  int64_t callback_references = 0;
  uint64_t provider_references = 0;
  Hresult result = kOk;
  bool counted_by_provider = true;
  for (const auto& store : stores) {
    const Counts& counts = store->counts();
    sum.messages += counts.messages;
    sum.copied += counts.copied;
    sum.skipped += counts.skipped;
    sum.progress += counts.progress;
    sum.errors += counts.errors;
    sum.dones += counts.dones;
    heard.progress += store->heard().progress;
    heard.errors += store->heard().errors;
    heard.dones += store->heard().dones;
    for (uint32_t i = 0; i < counts.error_codes; i++) {
      by_code[HexOf(counts.by_code[i].code)] += counts.by_code[i].count;
    }
    if (counts.session[0]) {
      sessions += std::string(sessions.empty() ? "\"" : ",\"") + counts.session + "\"";
    }
    callback_references += store->callback_references();
    provider_references += store->provider_references();
    if (!Failed(result)) result = store->result();
    counted_by_provider = counted_by_provider && store->counted_by_provider();
  }
  std::string errors;
  for (const auto& [code, count] : by_code) {
    errors += (errors.empty() ? "\"" : ",\"") + code + "\":" + std::to_string(count);
  }
  return "{\"result\":\"" + HexOf(result) + "\"" + Field("sessions", "[" + sessions + "]") +
         Field("messages", sum.messages) + Field("copied", sum.copied) +
         Field("skipped", sum.skipped) +
         Field("calls", Calls(sum.progress, sum.errors, sum.dones)) +
         Field("errors", "{" + errors + "}") +
         Field("counted_by", counted_by_provider ? "\"provider\"" : "\"host\"") +
         Field("heard", Calls(heard.progress, heard.errors, heard.dones)) +
         Field("references", "{\"callback\":" + std::to_string(callback_references) +
                                 Field("provider", provider_references) + "}") +
         Field("flushed", flushed < 0 ? "null"
                          : flushed   ? "true"
                                      : "false") +
         Field("shim", ShimStatus(shim)) + "}";
}

}  // namespace sample
