// The worker against a small daemon over a real socket or pipe, with the time in the test's hand.
#include "worker.h"

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "hole.h"
#include "ring.h"
#include "ring_append.h"
#include "scratch_dir.h"
#include "small_daemon.h"

using mapisync::Event;
using mapisync::Kind;
using mapisync::Loss;
using mapisync::Place;
using mapisync::Ring;
using mapisync::Room;
using mapisync::SessionSlot;
using mapisync::Worker;

namespace {

constexpr std::uint64_t kSecondUs = 1000000;
// A new pipe costs far more under Windows than a socket elsewhere, and the code above it is the
// same.
#ifdef _WIN32
constexpr unsigned kThinning = 11;
#else
constexpr unsigned kThinning = 1;
#endif
constexpr std::size_t kSmallRingBytes = mapisync::kRingDataOffset + 65536;

// A ring, its worker, and a daemon that is not started yet.
struct Scene {
  explicit Scene(std::size_t ring_bytes = kSmallRingBytes)
      : memory(ring_bytes / 8), daemon(dir.path()), path(dir.AsPath()), worker(new Worker) {
    mapisync::RingIdentity identity = {};
    std::memset(identity.ring_id, 7, sizeof identity.ring_id);
    identity.executable = "test";
    identity.version = "1";
    identity.time_us = now_us;
    ring.Format(memory.data(), ring_bytes, identity);
    ring.Publish();
    mapisync::Hello hello = {};
    hello.ring_id = ring.header().ring_id;
    hello.executable = {"test", 4};
    hello.version = {"1", 1};
    worker->Begin(&ring, &path, hello);
  }

  // The worker of a process never ends; here there are many in one.
  ~Scene() { worker->CloseInChild(); }

  // Some of the test's time.
  void Tick(std::uint32_t ms = 1) {
    now_us += std::uint64_t{ms} * 1000;
    wait_ms = worker->Poll(now_us, now_us);
    daemon.Pump();
  }
  template <typename Condition>
  bool Until(Condition condition, unsigned limit_ms = 20000) {
    for (unsigned i = 0; i < limit_ms; i++) {
      if (condition()) return true;
      Tick();
    }
    return condition();
  }
  void For(unsigned ms) {
    Until([] { return false; }, ms);
  }
  // The same in longer steps, as the worker takes them when little goes on.
  void ForSeconds(unsigned seconds) {
    for (unsigned i = 0; i < seconds * 40; i++) Tick(Worker::kPollMaxMs);
  }
  bool UntilAllFreed() {
    return Until([this] { return ring.freed() == ring.recorded(); });
  }

  std::uint64_t Open() {
    slot = ring.ClaimSession();
    const mapisync::Open open = {mapisync::Attach::kSink, false, 0, {}, {}, 1, false};
    session = ring.AppendOpen({0, now_us, 1, 0}, open, slot);
    slot->SetState(SessionSlot::kOpen);
    return session;
  }
  std::uint64_t Progress(std::uint32_t text_bytes = 5) {
    const std::string text(text_bytes, 't');
    mapisync::ProgressCall call;
    call.call = slot->Count(SessionSlot::kProgress);
    call.time_us = now_us;
    call.index = static_cast<std::uint32_t>(call.call);
    call.text = {text.data(), text_bytes};
    unsigned char body[mapisync::kTextBodyBytes + 8];
    const std::size_t size =
        EncodeProgress({0, 0, 1, session}, call, {body, mapisync::kTextBodyBytes});
    const std::uint64_t seq = ring.Append(body, size, Room::kProgress);
    if (seq == 0) slot->Merge(call);
    return seq;
  }
  void Progresses(int count) {
    for (int i = 0; i < count; i++) Progress();
  }
  void Close() { ring.CloseSession(slot, now_us, 1); }

  std::uint64_t now_us = kSecondUs;
  std::uint32_t wait_ms = 0;
  std::vector<std::uint64_t> memory;
  Ring ring;
  ScratchDir dir;
  SmallDaemon daemon;
  mapisync::Path path;
  std::unique_ptr<Worker> worker;
  SessionSlot* slot = nullptr;
  std::uint64_t session = 0;
};

void DeliversInOrder() {
  Scene it;
  it.daemon.Start();
  it.Open();
  it.Progresses(3);
  it.Close();
  CHECK(it.UntilAllFreed());
  const unsigned want[] = {1, 3, 4, 4, 4, 12};
  CHECK_EQ(it.daemon.frames.size(), std::size(want));
  for (std::size_t i = 0; i < std::size(want) && i < it.daemon.frames.size(); i++) {
    CHECK_EQ(it.daemon.frames[i].kind, want[i]);
    CHECK_EQ(it.daemon.frames[i].seq, static_cast<std::uint64_t>(i));
  }
  CHECK_EQ(it.daemon.connections, 1u);
  CHECK(it.worker->is_connected());
}

void SleepsOnlyWithNothingToDo() {
  Scene it;
  // Once a last look at the slots found nothing.
  CHECK(it.Until([&] { return it.wait_ms == Event::kForever; }, 30));
  it.daemon.Start();
  it.Open();
  it.Tick();
  CHECK_EQ(it.wait_ms, Worker::kPollMinMs);
  CHECK(it.UntilAllFreed());
  // The session is still open.
  std::uint32_t longest = 0;
  for (int i = 0; i < 1000; i++) {
    it.Tick();
    longest = it.wait_ms > longest ? it.wait_ms : longest;
  }
  CHECK_EQ(longest, Worker::kPollMaxMs);
  it.Progress();
  it.Tick();
  CHECK_EQ(it.wait_ms, Worker::kPollMinMs);
  it.Close();
  CHECK(it.UntilAllFreed());
  CHECK(it.Until([&] { return it.wait_ms == Event::kForever; }, 60));
}

void KeepsTheCachedClockFresh() {
  Scene it;
  it.Open();
  for (int i = 0; i < 100; i++) {
    it.Tick();
    CHECK_EQ(it.ring.CachedNowUs(), it.now_us);
  }
  // An attach was later than the time that this round began with.
  it.ring.SetCachedNowUs(it.now_us + 5000);
  it.Tick();
  CHECK_EQ(it.ring.CachedNowUs(), it.now_us + 4000);
}

void StampsChecksumsWithoutADaemon() {
  Scene it;
  it.Open();
  it.Progresses(100);
  it.For(5);
  Place at = it.ring.head();
  unsigned stamped = 0;
  for (;;) {
    const Ring::Record record = it.ring.Peek(&at);
    if (record.state != Ring::Record::State::kCommitted) break;
    std::uint32_t crc;
    std::memcpy(&crc, record.body - 4, 4);
    const mapisync::Word word =
        mapisync::Word::Of(record.seq, record.size_bytes, mapisync::Word::kCommitted);
    CHECK_EQ(crc, mapisync::RecordCrc(word.value, record.body, record.size_bytes));
    stamped++;
    at = it.ring.Next(at, record);
  }
  CHECK_EQ(stamped, 101u);
}

void FindsADaemonThatComesLate() {
  Scene it;
  it.Open();
  it.Progresses(10);
  it.Close();
  it.ForSeconds(60);
  // Retries wait for their time, no poll in between.
  CHECK(it.wait_ms != Event::kForever && it.wait_ms <= 5001);
  it.daemon.Start();
  CHECK(it.Until([&] { return it.ring.freed() == it.ring.recorded(); }, 5100));
  CHECK_EQ(it.daemon.gaps, 0u);
}

// Every byte that a shim sends is a stage at which the daemon may die.
void ResumesAfterACutAtAnyByte() {
  std::size_t whole_bytes = 2;
  for (std::size_t cut = 0; cut < whole_bytes; cut += cut == 0 ? 1 : kThinning) {
    Scene it;
    it.daemon.Start();
    if (cut > 0) it.daemon.faults.cut_after_bytes = cut;
    it.Open();
    it.Progresses(5);
    it.Close();
    CHECK(it.UntilAllFreed());
    if (cut == 0) {
      whole_bytes = it.daemon.bytes_from_peer;
      continue;
    }
    CHECK_EQ(it.daemon.durable, it.ring.recorded());
    CHECK_EQ(it.daemon.gaps, 0u);
    CHECK_EQ(it.daemon.connections, 2u);
  }
}

void FollowsARestartedDaemon() {
  Scene it;
  it.daemon.Start();
  it.Open();
  for (int i = 0; i < 10; i++) {
    it.Progresses(20);
    it.For(3);
    it.daemon.Stop();
    it.Progresses(20);
    it.For(10);
    it.daemon.Start();
    CHECK(it.UntilAllFreed());
  }
  CHECK_EQ(it.daemon.durable, 401u);
  CHECK_EQ(it.daemon.gaps, 0u);
  CHECK_EQ(it.daemon.wrong_answers, 0u);
}

void SaysNothingToAnImpostor() {
  const std::string garbage(80, '\xff');
  const struct {
    const char* name;
    bool wrong_secret;
    std::string instead;
    bool silent;
    unsigned status;
  } rows[] = {
      {"wrong secret", true, "", false, 0},
      {"garbage", false, garbage, false, 0},
      {"more than a challenge", false, std::string(100, 'x'), false, 0},
      {"half a challenge", false, "MAPISYNC\x01", false, 0},
      {"nothing at all", false, "", true, 0},
      {"too many peers", false, "", false, 2},
      {"stopping", false, "", false, 3},
  };
  for (const auto& row : rows) {
    Scene it;
    it.daemon.Start();
    it.daemon.faults.wrong_secret = row.wrong_secret;
    it.daemon.faults.instead_of_challenge = row.instead;
    it.daemon.faults.silent = row.silent;
    it.daemon.faults.status = row.status;
    it.Open();
    it.Progresses(5);
    for (int i = 0; i < 10000; i++) {
      it.Tick();
      // The greeting, and not a byte more.
      if (it.daemon.bytes_from_peer > 48) check::Fail(__FILE__, __LINE__, row.name);
    }
    CHECK(it.daemon.connections >= 2);
    CHECK_EQ(it.daemon.frames.size(), std::size_t{0});
    CHECK(!it.worker->is_connected());
    // And then the real one.
    it.daemon.faults = SmallDaemon::Faults();
    CHECK(it.UntilAllFreed());
  }
}

void BacksOff() {
  Scene it;
  it.daemon.Start();
  it.daemon.faults.wrong_secret = true;
  it.Open();
  std::vector<std::uint64_t> times;
  for (unsigned seen = 0; times.size() < 14;) {
    it.Tick();
    if (it.daemon.connections != seen) times.push_back(it.now_us);
    seen = it.daemon.connections;
  }
  std::uint64_t want_us = 50000;
  for (std::size_t i = 1; i < times.size(); i++) {
    const std::uint64_t pause_us = times[i] - times[i - 1];
    CHECK(pause_us >= want_us * 3 / 4 && pause_us <= want_us + 10000);
    want_us = want_us * 2 > 5 * kSecondUs ? 5 * kSecondUs : want_us * 2;
  }
}

void WaitsLongWhenTheProtocolIsRefused() {
  for (const bool in_handshake : {true, false}) {
    Scene it;
    it.daemon.Start();
    it.Open();
    if (in_handshake) {
      it.daemon.faults.status = 1;
    } else {
      it.daemon.faults.acks = false;
      CHECK(it.Until([&] { return it.worker->is_connected(); }));
      it.daemon.SendRefused(1);
    }
    CHECK(it.Until([&] { return it.daemon.connections == 1 && !it.daemon.has_peer(); }));
    it.For(3700);
    CHECK_EQ(it.daemon.connections, 1u);
    it.daemon.faults = SmallDaemon::Faults();
    it.For(1400);
    CHECK_EQ(it.daemon.connections, 2u);
    CHECK(it.UntilAllFreed());
  }
}

void TakesRefusalsAndByesAndComesBack() {
  for (unsigned reason = 2; reason <= 9; reason++) {
    Scene it;
    it.daemon.Start();
    it.daemon.faults.acks = false;
    it.Open();
    CHECK(it.Until([&] { return it.worker->is_connected(); }));
    if (reason == 9) {
      it.daemon.SendFrame("\x91\x23");
    } else {
      it.daemon.SendRefused(reason);
    }
    it.daemon.faults.acks = true;
    CHECK(it.UntilAllFreed());
    CHECK_EQ(it.daemon.connections, 2u);
  }
}

// A daemon that says that it has what it never got, or has lost what it had: nothing is freed for
// it.
void BelievesNoImpossibleDurable() {
  const struct {
    std::int64_t welcome_lie;
    std::int64_t ack_lie;
  } rows[] = {{1, 0}, {1000, 0}, {INT64_MAX, 0}, {0, 1}, {0, 1000}, {0, INT64_MAX}};
  for (const auto& row : rows) {
    Scene it;
    it.daemon.Start();
    it.daemon.faults.welcome_lie = row.welcome_lie;
    it.daemon.faults.ack_lie = row.ack_lie;
    it.Open();
    it.For(3000);
    CHECK(it.ring.freed() <= it.daemon.durable);
    CHECK(it.daemon.connections > 1);
    it.daemon.faults = SmallDaemon::Faults();
    CHECK(it.UntilAllFreed());
  }
  Scene it;
  it.daemon.Start();
  it.Open();
  it.Progresses(3);
  CHECK(it.UntilAllFreed());
  it.daemon.HangUp();
  it.daemon.durable = 2;
  it.For(3000);
  CHECK_EQ(it.ring.freed(), 4u);
  CHECK(!it.worker->is_connected());
}

// Old acknowledgements of a former connection name records that were not sent on this one yet.
void RefusesAnAckAheadOfTheConnection() {
  Scene it;
  it.daemon.Start();
  it.daemon.faults.acks = false;
  it.Open();
  it.Progresses(50);
  CHECK(it.Until([&] { return it.daemon.received == 51; }));
  it.daemon.HangUp();
  it.daemon.faults.welcomes = false;
  CHECK(it.Until([&] { return it.daemon.connections == 2 && it.daemon.is_proven(); }));
  it.daemon.SendAck(51);
  CHECK(it.Until([&] { return !it.daemon.has_peer(); }));
  CHECK_EQ(it.ring.freed(), 0u);
}

void HangsUpOnGarbage() {
  const std::string garbage[] = {
      std::string(4, '\0'),                    // A frame of no bytes.
      std::string("\x00\x01\x00\x01", 4),      // One more than the limit.
      std::string("\xff\xff\xff\xff", 4),      //
      std::string("\x00\x00\x00\x01\xc1", 5),  // Not an array.
      std::string("\x00\x00\x00\x02\x92\x21", 6),
      std::string("\x00\x00\x00\x03\x92\x21\xc0", 7),
      std::string("\x00\x00\x00\x03\x93\x20\x01", 7),
  };
  for (const std::string& bytes : garbage) {
    Scene it;
    it.daemon.Start();
    it.Open();
    CHECK(it.UntilAllFreed());
    it.daemon.SendBytes(bytes);
    CHECK(it.Until([&] { return !it.daemon.has_peer(); }, 100));
    it.Progress();
    CHECK(it.UntilAllFreed());
    CHECK_EQ(it.daemon.connections, 2u);
  }
}

void SurvivesRandomBytes() {
  unsigned seed = 4711;
  Scene it;
  it.daemon.Start();
  it.Open();
  for (unsigned i = 0; i < 300 / kThinning; i++) {
    CHECK(it.Until([&] { return it.worker->is_connected(); }));
    std::string bytes;
    for (int n = 0; n < 40; n++) {
      seed = seed * 1103515245 + 12345;
      bytes += static_cast<char>(seed >> 16 & (n < 3 ? 0 : 0xff));
    }
    it.daemon.SendBytes(bytes);
    it.For(3);
    it.daemon.HangUp();
    it.Tick();
  }
  it.Progress();
  CHECK(it.UntilAllFreed());
}

void SkipsWhatItDoesNotKnow() {
  Scene it;
  it.daemon.Start();
  it.daemon.faults.acks = false;
  it.Open();
  CHECK(it.Until([&] { return it.daemon.received == 1; }));
  it.daemon.SendFrame("\x92\x7f\x01");
  // Larger than what the shim keeps, cut wherever the socket cuts it.
  it.daemon.SendFrame("\x92\x7f\xda\xea\x60" + std::string(60000, 'z'));
  it.daemon.SendFrame("\x91\x7e");
  // An element behind those that this version knows.
  it.daemon.SendFrame("\x93\x21\x01\x05");
  CHECK(it.Until([&] { return it.ring.freed() == 1; }, 200));
  CHECK_EQ(it.daemon.connections, 1u);
}

void TakesFramesCutAnywhere() {
  Scene it;
  it.daemon.Start();
  it.daemon.faults.acks = false;
  it.Open();
  it.Progresses(2);
  CHECK(it.Until([&] { return it.daemon.received == 3; }));
  const std::string bytes("\x00\x00\x00\x03\x92\x21\x01\x00\x00\x00\x03\x92\x21\x03", 14);
  for (const char byte : bytes) {
    it.daemon.SendBytes(std::string(1, byte));
    it.Tick();
  }
  it.Tick();
  CHECK_EQ(it.ring.freed(), 3u);
}

// SIGSTOP, or a daemon that is busy for long: the pipe fills up.
void GivesUpOnAStoppedReader() {
  Scene it(mapisync::kRingFileBytes);
  it.daemon.Start();
  it.Open();
  CHECK(it.UntilAllFreed());
  it.daemon.faults.reads = false;
  std::uint64_t appended = it.ring.recorded();
  for (int i = 0; i < 200; i++) {
    if (it.Progress(4000) != 0) appended++;
    it.Tick();
  }
  // Recording goes on as if nothing was.
  CHECK_EQ(it.ring.recorded(), appended);
  CHECK(it.worker->is_connected());
  it.For(4500);
  CHECK(it.worker->is_connected());
  it.For(700);
  CHECK(!it.worker->is_connected());
  it.daemon.faults.reads = true;
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.gaps, 0u);
}

void KeepsWithinTheWindow() {
  Scene it(mapisync::kRingFileBytes);
  it.daemon.Start();
  it.daemon.faults.acks = false;
  it.Open();
  for (int i = 0; i < 300; i++) it.Progress(4000);
  it.For(500);
  std::size_t sent = 0;
  for (const GotFrame& frame : it.daemon.frames) sent += frame.seq != 0 ? frame.body.size() + 4 : 0;
  CHECK(sent <= mapisync::kWindowBytes);
  CHECK(sent > mapisync::kWindowBytes - 5000);
  it.daemon.faults.acks = true;
  it.daemon.durable = it.daemon.received;
  it.daemon.SendAck(it.daemon.received);
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.gaps, 0u);
}

void DeliversManyLaps() {
  Scene it;
  it.daemon.Start();
  it.Open();
  for (int i = 0; i < 3000; i++) {
    it.Progress(static_cast<std::uint32_t>(i * 37 % 900));
    if (i % 5 == 0) it.Tick();
  }
  it.Close();
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.durable, it.ring.recorded());
  CHECK_EQ(it.daemon.gaps, 0u);
}

void SendsSlotsBeforeRecords() {
  Scene it;
  it.daemon.Start();
  it.Open();
  it.Progresses(4);
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.Count(Kind::kSlot), 0u);
  it.daemon.HangUp();
  it.daemon.frames.clear();
  it.Progress();
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.frames.size(), std::size_t{3});
  if (it.daemon.frames.size() < 3) return;
  CHECK_EQ(it.daemon.frames[1].kind, static_cast<unsigned>(Kind::kSlot));
  CHECK_EQ(it.daemon.frames[2].kind, static_cast<unsigned>(Kind::kProgress));
  // Kind, session, time of `open`, then the calls so far, then the newest call that was freed.
  mapisync::NewestCall newest;
  it.slot->ReadNewest(&newest);
  CHECK_EQ(newest.call.call, 5u);
}

// More slots than one write can carry.
void SendsAllSlots() {
  Scene it(mapisync::kRingFileBytes);
  it.daemon.Start();
  for (unsigned i = 0; i < mapisync::kMaxSessionsPerRing; i++) {
    it.Open();
    it.Progress(300);
  }
  CHECK(it.UntilAllFreed());
  it.daemon.HangUp();
  it.Progress();
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.Count(Kind::kSlot), mapisync::kMaxSessionsPerRing);
}

void TellsWhatWasMergedAndLost() {
  Scene it;
  it.Open();
  while (it.Progress(100) != 0) it.Tick();
  it.Progresses(10);
  it.ring.CountLost(Loss::kError, 3);
  it.For(100);
  it.daemon.Start();
  CHECK(it.UntilAllFreed());
  it.For(50);
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.Count(Kind::kMerged), 1u);
  CHECK_EQ(it.daemon.Count(Kind::kLost), 1u);
  CHECK_EQ(it.ring.merged(), 11u);
  CHECK(!it.slot->has_merged());
  it.Close();
  it.For(50);
  CHECK_EQ(it.ring.merged(), 11u);
}

void RecordsTheCloseThatFoundNoRoom() {
  Scene it;
  it.Open();
  // All of the reserve, too.
  unsigned char body[256];
  const mapisync::Text text = {"vvvvvvvvvvvvvvvv", 16};
  while (it.ring.Append(body, EncodeNote({0, 1, 1, it.session}, {"k", 1}, text, {body, 248}),
                        Room::kMust) != 0) {
  }
  it.Close();
  CHECK(it.slot->state() == SessionSlot::kClosing);
  it.For(100);
  CHECK(it.wait_ms != Event::kForever);
  it.daemon.Start();
  CHECK(it.Until([&] { return it.slot->state() == SessionSlot::kFree; }));
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.Count(Kind::kClose), 1u);
}

void ReportsABlockedCall() {
  Scene it;
  it.daemon.Start();
  it.Open();
  mapisync::InCallSlot* const inside =
      it.ring.Enter(99, mapisync::Method::kError, it.now_us, it.session, 1);
  it.For(1900);
  CHECK_EQ(it.daemon.Count(Kind::kBlocked), 0u);
  it.For(200);
  CHECK_EQ(it.daemon.Count(Kind::kBlocked), 1u);
  it.For(5000);
  CHECK_EQ(it.daemon.Count(Kind::kBlocked), 1u);
  CHECK(inside->Leave());
}

void GivesTheClockEachMinuteWithTraffic() {
  Scene it;
  it.daemon.Start();
  it.Open();
  for (int second = 0; second < 185; second++) {
    it.Progress();
    it.ForSeconds(1);
  }
  CHECK_EQ(it.daemon.Count(Kind::kClock), 3u);
  it.ForSeconds(61);  // One more for the calls since the last.
  CHECK_EQ(it.daemon.Count(Kind::kClock), 4u);
  it.ForSeconds(180);
  CHECK_EQ(it.daemon.Count(Kind::kClock), 4u);
}

// Appends up to the step before the commit.
Ring::Attempt Reserve(Ring* ring, std::uint64_t session, std::uint32_t text_bytes, bool fill) {
  const std::string text(text_bytes, 'h');
  unsigned char body[mapisync::kTextBodyBytes + 8];
  const std::size_t size =
      mapisync::EncodeError({0, 1, mapisync::ThreadId(), session}, 1, 0x80004005, 0,
                            {text.data(), text_bytes}, {body, mapisync::kTextBodyBytes});
  Ring::Attempt attempt;
  do {
    if (!ring->Prepare(size, false, Room::kMust, &attempt)) return attempt;
  } while (!ring->Claim(attempt));
  mapisync::PatchSeq(body, attempt.at.seq());
  if (fill) ring->Fill(attempt, body, attempt.word.size_bytes());
  return attempt;
}

void NeverSkipsARecordOfALivingThread() {
  Scene it;
  it.daemon.Start();
  it.Open();
  const Ring::Attempt reserved = Reserve(&it.ring, it.session, 10, true);
  it.Progresses(5);
  it.For(10000);
  CHECK_EQ(it.daemon.received, 1u);
  CHECK_EQ(it.daemon.Count(Kind::kHole), 0u);
  it.ring.Commit(reserved);
  CHECK(it.UntilAllFreed());
  CHECK_EQ(it.daemon.received, 7u);
  CHECK_EQ(it.daemon.Count(Kind::kError), 1u);
}

void NeverSkipsARecordOfAnUnknownThread() {
  Scene it;
  it.daemon.Start();
  it.Open();
  std::thread([&] { Reserve(&it.ring, it.session, 10, false); }).join();
  it.For(10000);
  CHECK_EQ(it.daemon.received, 1u);
}

void SendsAHoleForADeadThread() {
  // Sizes at which the padding of the hole takes another form.
  for (const std::uint32_t text_bytes : {0u, 1u, 2u, 100u, 250u, 253u, 254u, 255u, 256u, 4000u}) {
    Scene it;
    it.daemon.Start();
    it.Open();
    std::thread([&] { Reserve(&it.ring, it.session, text_bytes, true); }).join();
    it.Progresses(5);
    it.For(900);
    CHECK_EQ(it.daemon.received, 1u);
    CHECK(it.UntilAllFreed());
    CHECK(it.Until([&] { return it.daemon.Count(Kind::kLost) == 1; }));
    CHECK_EQ(it.daemon.Count(Kind::kHole), 1u);
    CHECK_EQ(it.ring.lost().others, 1u);
    for (const GotFrame& frame : it.daemon.frames) {
      if (frame.kind != static_cast<unsigned>(Kind::kHole)) continue;
      const auto* body = reinterpret_cast<const unsigned char*>(frame.body.data());
      CHECK_EQ(frame.seq, 2u);
      CHECK(mapisync::IsSequenced(body, frame.body.size(), 2));
    }
  }
}

}  // namespace

int main() {
  return check::Run({
      {"Worker delivers in order", DeliversInOrder},
      {"Worker sleeps only with nothing to do", SleepsOnlyWithNothingToDo},
      {"Worker keeps the cached clock fresh", KeepsTheCachedClockFresh},
      {"Worker stamps checksums without a daemon", StampsChecksumsWithoutADaemon},
      {"Worker finds a daemon that comes late", FindsADaemonThatComesLate},
      {"Worker resumes after a cut at any byte", ResumesAfterACutAtAnyByte},
      {"Worker follows a restarted daemon", FollowsARestartedDaemon},
      {"Worker says nothing to an impostor", SaysNothingToAnImpostor},
      {"Worker backs off", BacksOff},
      {"Worker waits long when its protocol is refused", WaitsLongWhenTheProtocolIsRefused},
      {"Worker takes refusals and byes and comes back", TakesRefusalsAndByesAndComesBack},
      {"Worker believes no impossible durable", BelievesNoImpossibleDurable},
      {"Worker refuses an ack ahead of the connection", RefusesAnAckAheadOfTheConnection},
      {"Worker hangs up on garbage", HangsUpOnGarbage},
      {"Worker survives random bytes", SurvivesRandomBytes},
      {"Worker skips what it does not know", SkipsWhatItDoesNotKnow},
      {"Worker takes frames cut anywhere", TakesFramesCutAnywhere},
      {"Worker gives up on a stopped reader", GivesUpOnAStoppedReader},
      {"Worker keeps within the window", KeepsWithinTheWindow},
      {"Worker delivers many laps of the ring", DeliversManyLaps},
      {"Worker sends slots before records", SendsSlotsBeforeRecords},
      {"Worker sends all slots", SendsAllSlots},
      {"Worker tells what was merged and lost", TellsWhatWasMergedAndLost},
      {"Worker records the close that found no room", RecordsTheCloseThatFoundNoRoom},
      {"Worker reports a blocked call", ReportsABlockedCall},
      {"Worker gives the clock each minute with traffic", GivesTheClockEachMinuteWithTraffic},
      {"Worker never skips a record of a living thread", NeverSkipsARecordOfALivingThread},
      {"Worker never skips a record of an unknown thread", NeverSkipsARecordOfAnUnknownThread},
      {"Worker sends a hole for a dead thread", SendsAHoleForADeadThread},
  });
}
