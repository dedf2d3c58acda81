#include "scenarios.h"

#include "../shared/mapi_codes.h"

namespace sample {
namespace {

constexpr size_t kLongTextUnits = 5000;  // more than mapisync keeps of a text
constexpr uint32_t kSameErrors = 10;

void OddTexts(Reporter* reporter) {
  const std::u16string long_text(kLongTextUnits, u'x');
  const std::u16string long_emoji = std::u16string(kLongTextUnits - 1, u'y') + u"\xD83D\xDE00";
  const std::u16string high = u"lone high \xD83D.";
  const std::u16string low = u"lone low \xDE00.";
  const char16_t* const texts[] = {
      long_text.c_str(),
      long_emoji.c_str(),
      high.c_str(),
      low.c_str(),
      u"\u05D3\u05D5\u05D0\u05E8 \u202Ereversed\u202C \u0627\u0644\u0628\u0631\u064A\u062F",
      u"\U0001F4E5 \U0001F468\u200D\U0001F469\u200D\U0001F467 \u53D7\u4FE1\u30C8\u30EC\u30A4",
      u"bell \a escape \u001B[31m line\r\nend \u0085 \u2028 \u2029 \u007F",
      u"",
  };
  uint32_t index = 0;
  for (const char16_t* text : texts) reporter->Progress(text, ++index, 8);
  for (const char16_t* text : texts) reporter->Error(kErrorsReturned, text);
}

void OddCounts(Reporter* reporter) {
  constexpr uint32_t kMost = 0xFFFFFFFF;
  constexpr uint32_t kPairs[][2] = {{5, 3},         {3, 10},    {2, 10},    {4, 20},
                                    {kMost, kMost}, {0, kMost}, {kMost, 1}, {7, 0}};
  for (const auto& [index, index_max] : kPairs) reporter->Progress(nullptr, index, index_max);
}

void OddErrors(Reporter* reporter) {
  reporter->Error(kErrorsReturned, u"Some items were left out");
  reporter->Error(kNotFound, static_cast<const char16_t*>(nullptr));
  for (uint32_t i = 0; i < kSameErrors; i++) {
    reporter->Error(kNetworkError, u"The server does not answer");
  }
}

void OddQuestions(Reporter* reporter) {
  reporter->AskForUnknown();
  reporter->Error(kOk, u"The operation completed successfully");
}

constexpr Scenario kScenarios[] = {
    {"1", "one text, then NULL texts with a growing index", kOneCount},
    {"2", "a text and a restart of the count per folder"},
    {"3", "like 2, with an empty text and (0, 0) between folders", kPhaseMarks},
    {"4", "bursts: 2,000 calls for each message", 0, 2000},
    {"5", "like 2, then odd texts: long, lone surrogates, right-to-left, emoji, controls", 0, 1,
     OddTexts},
    {"6", "like 2, then odd counts: beyond the end, going back, largest values", 0, 1, OddCounts},
    {"7", "like 2, then odd errors: a warning, NULL text, the same one ten times", 0, 1, OddErrors},
    {"8", "like 2, but SynchronizeInBackground returns after Done", kReturnsLast},
    {"9", "like 2, then Done, Progress and Done again", 0, 1, nullptr, Ending::kDoneThenMore},
    {"9-no-done", "like 2, but no Done", 0, 1, nullptr, Ending::kNoDone},
    {"10", "like 2; the host runs two stores at once"},
    {"11", "like 2, then Release beside another thread's Progress", 0, 1, nullptr, Ending::kBeside},
    {"12", "like 2; the host's callback is slow, fails, crashes or hangs"},
    {"13", "like 1; the daemon comes and goes", kOneCount},
    {"14", "like 2, each message paced by its size, as over a slow line", kPaceBySize},
    {"14-one-count", "like 14, with one text and one count", kOneCount | kPaceBySize},
    {"15", "like 2, then Done as if the user had cancelled", 0, 1, nullptr, Ending::kCancelled},
    {"16", "like 8, but Done, with another handle, and then the result are a failure",
     kReturnsLast | kReturnsResult, 1, nullptr, Ending::kSilentFailure},
    {"17", "like 2, then an unknown interface is asked for, and an Error is S_OK", 0, 1,
     OddQuestions},
    {"18", "like 2, without a reference to the callback of its own", kBorrows},
};

}  // namespace

const Scenario* FindScenario(const std::string& name) {
  for (const Scenario& scenario : kScenarios) {
    if (name == scenario.name) return &scenario;
  }
  return nullptr;
}

std::string ScenarioList() {
  std::string list;
  for (const Scenario& scenario : kScenarios) {
    list += std::string("  ") + scenario.name + ": " + scenario.what + "\n";
  }
  return list;
}

}  // namespace sample
