// Four producers take the steps of Append() in any order, in a ring that holds two or three
// records, so that whoever pauses is overtaken by whole laps; some are killed between two steps.
// Whatever the order, the worker gets each finished record once, whole, and in order.
#include <random>
#include <string>
#include <vector>

#include "check.h"
#include "ring_append.h"
#include "test_ring.h"

namespace mapisync {
namespace {

constexpr int kProducers = 4;
constexpr unsigned kSeed = 20240613;
constexpr std::uint32_t kDataBytes = 176;

struct Producer {
  enum Stage { kIdle, kPrepared, kWon, kMoved, kFilled } stage = kIdle;
  bool dead = false;
  Ring::Attempt attempt = {};
  std::size_t size = 0;
};

struct World {
  explicit World(std::mt19937* engine) : t(kDataBytes), random(engine) { at = t.ring.head(); }

  std::uint32_t Random(std::uint32_t below) {
    return static_cast<std::uint32_t>((*random)()) % below;
  }

  void Step(Producer* p) {
    Ring& ring = t.ring;
    switch (p->stage) {
      case Producer::kIdle:
        p->size = 29 + Random(40);
        p->attempt.thread = Random(3);  // What one of them knows of the tail may be old.
        if (ring.Prepare(p->size, false, Room::kMust, &p->attempt)) p->stage = Producer::kPrepared;
        return;
      case Producer::kPrepared:
        p->stage = ring.Win(p->attempt) ? Producer::kWon : Producer::kIdle;
        return;
      case Producer::kWon: {
        ring.MoveTail(p->attempt);
        const bool pad = p->attempt.word.state() == Word::kPad;
        p->stage = pad ? Producer::kIdle : Producer::kMoved;
        return;
      }
      case Producer::kMoved: {
        Body body(p->size);
        PatchSeq(body.bytes.data(), p->attempt.at.seq());
        ring.Fill(p->attempt, body.bytes.data(), p->size);
        p->stage = Producer::kFilled;
        return;
      }
      case Producer::kFilled:
        ring.Commit(p->attempt);
        finished.push_back(p->attempt.at.seq());
        p->stage = Producer::kIdle;
        return;
    }
  }

  bool OwnerIsDead(std::uint64_t seq) const {
    for (const Producer& p : producers) {
      const bool owns = p.stage >= Producer::kWon && p.attempt.word.state() != Word::kPad &&
                        p.attempt.at.seq() == seq;
      if (owns) return p.dead;
    }
    return false;
  }

  // Takes one record out. False if there is none to take.
  bool Work() {
    const Ring::Record record = t.ring.Peek(&at);
    if (record.state == Ring::Record::State::kEmpty) return false;
    CHECK_EQ(record.seq, next_seq);
    if (record.state == Ring::Record::State::kReserved) {
      if (!OwnerIsDead(record.seq)) return false;
    } else {
      Body body(record.size_bytes);
      PatchSeq(body.bytes.data(), record.seq);
      CHECK(std::memcmp(body.bytes.data(), record.body, record.size_bytes) == 0);
      taken.push_back(record.seq);
    }
    next_seq++;
    at = t.ring.Next(at, record);
    t.ring.FreeTo(record.seq);
    return true;
  }

  TestRing t;
  std::mt19937* random;
  Producer producers[kProducers];
  Place at;
  std::uint64_t next_seq = 1;
  std::vector<std::uint64_t> finished;
  std::vector<std::uint64_t> taken;
};

void AnyOrderIsFine() {
  std::mt19937 engine(kSeed);
  unsigned laps_slept = 0;
  unsigned killed = 0;
  for (int round = 0; round < 20000; round++) {
    World world(&engine);
    const std::uint32_t sleeper = world.Random(kProducers);
    for (int step = 0; step < 200; step++) {
      const std::uint32_t who = world.Random(kProducers + 1);
      if (who == kProducers) {
        world.Work();
        continue;
      }
      Producer& p = world.producers[who];
      // One sleeps for long once it has looked for its place.
      if (who == sleeper && p.stage == Producer::kPrepared && world.Random(30) != 0) continue;
      const Place before = p.attempt.at;
      const Producer::Stage stage = p.stage;
      if (!p.dead) world.Step(&p);
      if (stage == Producer::kPrepared && world.t.ring.head().seq() > before.seq()) laps_slept++;
      if (p.stage != Producer::kIdle && world.Random(400) == 0 && !p.dead) {
        p.dead = true;
        killed++;
      }
    }
    // What a reader of the dead ring would find is what the worker is about to.
    RingScan scan(world.t.memory.get(), world.t.size_bytes, true);
    ScannedRecord record;
    std::vector<std::uint64_t> scanned = world.taken;
    while (scan.Next(&record)) {
      if (!record.is_hole) scanned.push_back(record.seq);
    }
    for (const std::uint64_t seq : world.finished) {
      bool found = false;
      for (const std::uint64_t each : scanned) found = found || each == seq;
      CHECK(found);
    }
    // The living come to an end, and everything comes out.
    for (Producer& p : world.producers) {
      while (!p.dead && p.stage != Producer::kIdle) world.Step(&p);
    }
    while (world.Work()) {
    }
    CHECK_EQ(world.taken.size(), world.finished.size());
    // A pad stays until the record behind it goes.
    if (world.t.ring.used_bytes() != 0) {
      CHECK(Append(world.t.ring, 29) != 0);
      CHECK(world.Work());
    }
    CHECK_EQ(world.t.ring.used_bytes(), 0u);
    CHECK(world.t.AllFreeIsZero());
    if (check::failures > 0) {
      std::printf("seed %u, round %d\n", kSeed, round);
      return;
    }
  }
  // Else the orders were too tame to be a test.
  CHECK(laps_slept > 1000);
  CHECK(killed > 1000);
  std::printf("%u steps of overtaken producers, %u killed\n", laps_slept, killed);
}

}  // namespace
}  // namespace mapisync

int main() { return check::Run({{"any order of steps is fine", mapisync::AnyOrderIsFine}}); }
