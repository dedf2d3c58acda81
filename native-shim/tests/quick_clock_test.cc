// The clock that calls read, with times that are made up, but where it says so.
#include "quick_clock.h"

#include <chrono>
#include <cstdio>
#include <thread>

#include "check.h"

namespace mapisync {
namespace {

// A counter of 2.5 GHz.
constexpr std::uint64_t kTicksPerUs = 2500;
constexpr std::uint64_t kDay = 86400000000;

struct Machine {
  void Pass(std::uint64_t us) {
    now_us += us;
    ticks += us * ticks_per_us;
  }
  void Compare(QuickClock& clock) const { clock.Compare(ticks, now_us); }
  // What it says this much later, as it is or as the system's clock.
  std::uint64_t ReadUs(const QuickClock& clock, std::uint64_t later_us) const {
    return clock.At(ticks + later_us * ticks_per_us, now_us, kAsked);
  }

  // Answers for the system, which has no part in this.
  static std::uint64_t kAsked() noexcept { return 42; }

  std::uint64_t now_us = kDay;
  std::uint64_t ticks = 1000000007;
  std::uint64_t ticks_per_us = kTicksPerUs;
};

void AsksUntilTheRateIsKnown() {
  QuickClock clock;
  Machine machine;
  CHECK_EQ(machine.ReadUs(clock, 5), 42u);
  CHECK_EQ(clock.At(0, (std::uint64_t{1} << 32) - 5, Machine::kAsked), 42u);
  machine.Compare(clock);
  machine.Pass(49999);
  machine.Compare(clock);
  CHECK_EQ(machine.ReadUs(clock, 5), 42u);
  machine.Pass(1);
  machine.Compare(clock);
  CHECK_EQ(machine.ReadUs(clock, 5), machine.now_us + 5);
}

// A machine whose rate is known.
struct Known {
  explicit Known(std::uint64_t start_us = kDay) {
    machine.now_us = start_us;
    for (int i = 0; i < 4; i++) {
      machine.Compare(clock);
      machine.Pass(20000);
    }
    machine.Compare(clock);
  }
  std::uint64_t ReadUs(std::uint64_t later_us) const { return machine.ReadUs(clock, later_us); }

  Machine machine;
  QuickClock clock;
};

void GoesWithTheSystem() {
  // Where the low half of the time is about to begin anew, too.
  for (const std::uint64_t start_us :
       {kDay, (std::uint64_t{1} << 32) - 100000, (std::uint64_t{1} << 33) - 80001}) {
    Known known(start_us);
    for (int i = 0; i < 500; i++) {
      for (const std::uint64_t later_us : {0u, 1u, 999u, 20000u, 999990u}) {
        const std::uint64_t expected_us = known.machine.now_us + later_us;
        const std::uint64_t found_us = known.ReadUs(later_us);
        CHECK(found_us >= known.machine.now_us && found_us <= expected_us + 1);
        CHECK(found_us + 2 >= expected_us);
      }
      known.machine.Pass(20011);
      known.machine.Compare(known.clock);
    }
  }
}

// A clock that the system corrects by half a thousandth is followed.
void FollowsSmallCorrections() {
  Known known;
  for (int second = 0; second < 5; second++) {
    for (int i = 0; i < 50; i++) {
      known.machine.now_us += 20010;
      known.machine.ticks += 20000 * kTicksPerUs;
      known.machine.Compare(known.clock);
      CHECK_EQ(known.ReadUs(0), known.machine.now_us);
    }
  }
  const std::uint64_t later_us = known.ReadUs(20000) - known.machine.now_us;
  CHECK(later_us >= 20009 && later_us <= 20011);
}

void AsksWhereTheTwoPart() {
  // The last look is a second ago.
  Known known;
  CHECK_EQ(known.ReadUs(999000), known.machine.now_us + 999000);
  CHECK_EQ(known.ReadUs(1000001), 42u);
  CHECK_EQ(known.ReadUs(3600000000), 42u);
  // The counter began anew, as after a long sleep.
  CHECK_EQ(known.clock.At(17, known.machine.now_us, Machine::kAsked), 42u);
  // Never behind the time that was told already.
  CHECK_EQ(known.clock.At(known.machine.ticks, known.machine.now_us + 10, Machine::kAsked), 42u);
}

void ForgetsTheRateOfAnotherMachine() {
  Known known;
  known.machine.ticks_per_us = kTicksPerUs + 100;
  // The rate was measured 20 ms ago, and is measured anew when a second is over.
  for (int i = 0; i < 48; i++) {
    known.machine.Pass(20000);
    known.machine.Compare(known.clock);
  }
  CHECK_EQ(known.ReadUs(0), known.machine.now_us);
  known.machine.Pass(20000);
  known.machine.Compare(known.clock);
  CHECK_EQ(known.ReadUs(0), 42u);
  for (int i = 0; i < 4; i++) {
    known.machine.Compare(known.clock);
    known.machine.Pass(20000);
  }
  known.machine.Compare(known.clock);
  CHECK_EQ(known.ReadUs(1000), known.machine.now_us + 1000);
}

void BeginsAnew() {
  // After a pause in which nobody compared.
  Known paused;
  paused.machine.Pass(10000001);
  paused.machine.Compare(paused.clock);
  CHECK_EQ(paused.ReadUs(0), 42u);
  // With a counter that went back.
  Known reset;
  reset.machine.ticks = 1;
  reset.machine.now_us += 20000;
  reset.machine.Compare(reset.clock);
  CHECK_EQ(reset.ReadUs(0), 42u);
  // Before a sleep.
  Known stopped;
  stopped.clock.Stop();
  CHECK_EQ(stopped.ReadUs(0), 42u);
  for (Known* known : {&paused, &reset, &stopped}) {
    known->machine.Compare(known->clock);
    known->machine.Pass(50000);
    known->machine.Compare(known->clock);
    CHECK_EQ(known->ReadUs(7), known->machine.now_us + 7);
  }
}

// A counter that stands still, or is slower than a million a second, is of no use.
void DoesWithoutAUselessCounter() {
  for (const std::uint64_t ticks_per_ms : {0u, 1u, 999u, 1000u}) {
    QuickClock clock;
    Machine machine;
    for (int i = 0; i < 20; i++) {
      machine.now_us += 20000;
      machine.ticks += 20 * ticks_per_ms;
      machine.Compare(clock);
    }
    CHECK_EQ(clock.At(machine.ticks, machine.now_us, Machine::kAsked), 42u);
  }
}

// The machine's own clocks.
void AgreesWithThisMachine() {
  if (!HasSteadyTicks()) {
    std::printf("SKIPPED: this processor has no counter that goes on at one speed\n");
    return;
  }
  QuickClock clock;
  const std::uint64_t end_us = NowUs() + 1500000;
  std::uint64_t answers = 0;
  std::uint64_t asked = 0;
  std::uint64_t last_us = 0;
  while (NowUs() < end_us) {
    const std::uint64_t cached_us = NowUs();
    clock.Observe(cached_us);
    for (int i = 0; i < 100; i++) {
      const std::uint64_t before_us = NowUs();
      const std::uint64_t found_us = clock.At(Ticks(), cached_us, Machine::kAsked);
      const std::uint64_t after_us = NowUs();
      answers++;
      if (found_us == 42) {
        asked++;
        continue;
      }
      // Two clocks that are read one after the other: some microseconds apart.
      CHECK(found_us + 100 >= before_us && found_us <= after_us + 100);
      CHECK(found_us + 100 >= last_us);
      last_us = found_us;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  CHECK(asked < answers / 2);
}

}  // namespace
}  // namespace mapisync

int main() {
  using namespace mapisync;
  return check::Run({
      {"asks the system until the rate is known", AsksUntilTheRateIsKnown},
      {"goes with the system's clock", GoesWithTheSystem},
      {"follows small corrections", FollowsSmallCorrections},
      {"asks the system where the two part", AsksWhereTheTwoPart},
      {"forgets the rate of another machine", ForgetsTheRateOfAnotherMachine},
      {"begins anew", BeginsAnew},
      {"does without a useless counter", DoesWithoutAUselessCounter},
      {"agrees with this machine", AgreesWithThisMachine},
  });
}
