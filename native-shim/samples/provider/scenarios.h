// How the sample behaves towards the callback: what providers in the field do, well or badly.
#ifndef MAPISYNC_SAMPLES_PROVIDER_SCENARIOS_H_
#define MAPISYNC_SAMPLES_PROVIDER_SCENARIOS_H_

#include <string>

#include "reporter.h"

namespace sample {

enum class Ending {
  kDone,           // Done, then Release
  kDoneThenMore,   // Done, Progress, Done again, Release
  kNoDone,         // Release alone
  kCancelled,      // Done with MAPI_E_USER_CANCEL
  kSilentFailure,  // Done with a failure that no Error told, and with another handle
  kBeside,  // Done and Release while another thread, with a reference of its own, still reports
};

// Scenario::how
inline constexpr unsigned kOneCount = 1;       // one text and one count for all folders
inline constexpr unsigned kPhaseMarks = 2;     // ("", 0, 0) between folders
inline constexpr unsigned kReturnsLast = 4;    // SynchronizeInBackground returns after Done
inline constexpr unsigned kReturnsResult = 8;  // and with what Done brought
inline constexpr unsigned kPaceBySize = 16;    // a call's time for each 256 bytes of a message
inline constexpr unsigned kBorrows = 32;       // holds no reference to the callback

struct Scenario {
  const char* name;
  const char* what;  // for people, one line
  unsigned how = 0;
  uint32_t calls_per_message = 1;      // the first one is paced, the rest follow at once
  void (*extra)(Reporter*) = nullptr;  // more calls, between the last message and the end
  Ending ending = Ending::kDone;
};

const Scenario* FindScenario(const std::string& name);  // NULL: there is none
std::string ScenarioList();

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_PROVIDER_SCENARIOS_H_
