// Hazards with threads whose numbers are made up, but where it says so.
#include "hazards.h"

#include <atomic>
#include <thread>

#include "check.h"
#include "platform.h"

namespace mapisync {
namespace {

// Bytes to have addresses of objects.
char objects[2];
void* const kOne = &objects[0];
void* const kOther = &objects[1];

void EachThreadHasOne() {
  Hazard* const first = Hazard::Enter(1, kOne);
  Hazard* const second = Hazard::Enter(2, kOne);
  CHECK(first != nullptr && second != nullptr && first != second);
  // A thread that is inside holds references to what it calls from there.
  CHECK(Hazard::Enter(1, kOther) == nullptr);
  CHECK(first->Leave() == nullptr);
  CHECK(Hazard::Enter(1, kOther) == first);
  CHECK(first->Leave() == nullptr);
  CHECK(second->Leave() == nullptr);
}

void HandsOverWhileACallRuns() {
  CHECK(!Hazard::HandOver(kOne));
  Hazard* const first = Hazard::Enter(1, kOne);
  Hazard* const second = Hazard::Enter(2, kOther);
  CHECK(Hazard::HandOver(kOne));
  CHECK(Hazard::HandOver(kOne));  // Once more changes nothing.
  CHECK(Hazard::HandOver(kOther));
  CHECK(first->Leave() == kOne);
  CHECK(second->Leave() == kOther);
  CHECK(!Hazard::HandOver(kOne));
  // Nothing is left behind for the next call.
  CHECK(Hazard::Enter(1, kOne) == first);
  CHECK(first->Leave() == nullptr);
}

void OneOfTwoCallsGetsIt() {
  Hazard* const first = Hazard::Enter(1, kOne);
  Hazard* const second = Hazard::Enter(2, kOne);
  CHECK(Hazard::HandOver(kOne));
  int times = 0;
  for (Hazard* const hazard : {first, second}) {
    if (hazard->Leave() != kOne) continue;
    times++;
    // As its thread asks anew: the other one has it then, if it is still inside.
    CHECK_EQ(Hazard::HandOver(kOne), hazard == first);
  }
  CHECK(times > 0);
  CHECK(!Hazard::HandOver(kOne));
}

// A real thread comes out while this one hands over: one of the two has to retire the object, never
// both, never neither.
void ExactlyOneRetires() {
  constexpr int kRounds = 20000;
  std::atomic<int> inside{0};
  std::atomic<int> out{0};
  std::atomic<int> retired{0};
  const auto wait = [](int turns) {
    for (std::atomic<int> turn{0}; turn.load() < turns; turn++) {
    }
  };
  std::thread thread([&] {
    for (int round = 1; round <= kRounds; round++) {
      while (out.load() != -round) std::this_thread::yield();
      Hazard* const hazard = Hazard::Enter(3, kOne);
      inside.store(round);
      wait(round % 3989);  // Some 20 us, as a barrier may take.
      void* const left = hazard->Leave();
      if (left != nullptr && !Hazard::HandOver(left)) retired++;
      out.store(round);
    }
  });
  int wrong = 0;
  for (int round = 1; round <= kRounds; round++) {
    const int before = retired.load();
    out.store(-round);
    while (inside.load() != round) std::this_thread::yield();
    wait(round % 89);
    const int own = Hazard::HandOver(kOne) ? 0 : 1;
    while (out.load() != round) std::this_thread::yield();
    if (retired.load() - before + own != 1) wrong++;
  }
  thread.join();
  CHECK_EQ(wrong, 0);
}

#ifndef _WIN32
// On Windows the DLL is told, and this program has none.
void AThreadThatEndedGivesItsPlaceBack() {
  for (std::uint32_t i = 0; i < 3 * Hazard::kMaxThreads; i++) {
    bool had = false;
    std::thread([&had] {
      for (int call = 0; call < 2; call++) {
        Hazard* const hazard = Hazard::Enter(ThreadId(), kOne);
        had = hazard != nullptr;
        if (had) hazard->Leave();
      }
    }).join();
    CHECK(had);
  }
}

// Ended by force, as far as the table knows.
void AThreadThatEndedInsideKeepsItsPlace() {
  Hazard* left = nullptr;
  std::thread([&left] { left = Hazard::Enter(ThreadId(), kOther); }).join();
  CHECK(left != nullptr);
  CHECK(Hazard::HandOver(kOther));
  CHECK(left->Leave() == kOther);
}
#endif

void WithoutOneNothingIsSaid() {
  std::uint32_t without = 0;
  for (std::uint32_t thread = 100; thread < 100 + 4 * Hazard::kMaxThreads; thread++) {
    Hazard* const hazard = Hazard::Enter(thread, kOne);
    if (hazard == nullptr) {
      without++;
    } else {
      CHECK(hazard->Leave() == nullptr);
    }
  }
  CHECK(without >= 3 * Hazard::kMaxThreads);
  CHECK(!Hazard::HandOver(kOne));
}

}  // namespace
}  // namespace mapisync

int main() {
  if (!mapisync::CanBarrierAllThreads()) {
    std::printf(
        "Skipped: hazards, since this system cannot make all threads pass a barrier\n"
        "0 passed, 0 failed\n");
    return 0;
  }
  mapisync::Hazard::Begin();
  return check::Run({
      {"each thread has one hazard, for one object at a time", mapisync::EachThreadHasOne},
      {"an object is handed over to a call that runs in it", mapisync::HandsOverWhileACallRuns},
      {"of two calls one gets it, and the last has it", mapisync::OneOfTwoCallsGetsIt},
      {"with threads, exactly one retires it", mapisync::ExactlyOneRetires},
#ifndef _WIN32
      {"a thread that ended gives its place back", mapisync::AThreadThatEndedGivesItsPlaceBack},
      {"one that ended inside keeps it", mapisync::AThreadThatEndedInsideKeepsItsPlace},
#endif
      {"further threads have none", mapisync::WithoutOneNothingIsSaid},
  });
}
