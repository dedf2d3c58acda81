// Also makes the golden ring: `ring_scan_test --write` puts it beside the other vectors.
#include "ring_scan.h"

#include <cstdlib>
#include <fstream>
#include <random>
#include <sstream>

#include "check.h"
#include "ring_append.h"
#include "test_ring.h"
#include "vectors.h"

namespace mapisync {
namespace {

constexpr std::uint32_t kGoldenDataBytes = 4096;
constexpr std::uint32_t kRowBytes = 32;

const char* const kKindNames[] = {"",      "hello",  "slot",    "open",      "progress", "error",
                                  "done",  "inner",  "blocked", "unblocked", "returned", "note",
                                  "close", "merged", "lost",    "hole",      "clock"};

struct Golden {
  Golden() : t(kGoldenDataBytes) {
    Ring& ring = t.ring;
    const Open tee = {Attach::kTee,     true, 0x21, {"Contoso", 7}, {"Mailbox", 7},
                      1750000000500000, true};
    const Open sink = {Attach::kSink, false, 0, {}, {}, 1750000000600000, false};
    first = OpenSession({0, 5500000, 100, 0}, tee);
    second = OpenSession({0, 5600000, 101, 0}, sink);
    // Once round, so that a pad ends the data and the oldest record stands in the middle of it.
    for (std::uint64_t call = 1; ring.tail().seq() < 50; call++) Progress(first, call, "Inbox");
    ring.FreeTo(40);
    for (std::uint64_t call = 49; ring.tail().unit() > 64; call++) Progress(first, call, "Sent");
    ring.FreeTo(44);
    AppendError(first, 1, 0x8004010f, "Cannot find the folder");
    // The worker came as far as here.
    Place at = ring.head();
    for (Ring::Record record = ring.Peek(&at); record.state == Ring::Record::State::kCommitted;
         record = ring.Peek(&at)) {
      ring.StampCrc(at, record);
      at = ring.Next(at, record);
    }
    Ring::Attempt stopped;
    ring.Prepare(60, false, Room::kMust, &stopped);
    ring.Claim(stopped);
    AppendError(second, 1, 0x80040119, nullptr);
    Progress(second, 1, "語");
    // Calls that found no room of their own, one while somebody wrote the newest down.
    slot_of(second).Count(SessionSlot::kProgress, 2);
    slot_of(second).TryLock();
    slot_of(second).Merge({2, 5800000, 20, 300, 0, {}});
    slot_of(second).Unlock();
    slot_of(second).Merge({3, 5900000, 30, 300, kMarkReplaced, {"merged \xef\xbf\xbd", 10}});
    slot_of(second).Count(SessionSlot::kLost, 2);
    slot_of(first).CountInner(Method::kProgress, 70);
    slot_of(first).CountInner(Method::kProgress, 100001);
    slot_of(first).CountInner(Method::kError, 300);
    ring.CountLost(Loss::kOpen);
    ring.CountLost(Loss::kDone, 2);
    ring.Enter(100, Method::kError, 5950000, first, 1);
    ring.SetCachedNowUs(5960000);
    // It lags behind as it happens.
    ring.header().tail = ring.tail().value;
  }

  std::uint64_t OpenSession(const Stamp& stamp, const Open& open) {
    SessionSlot* slot = t.ring.ClaimSession();
    const std::uint64_t session = t.ring.AppendOpen(stamp, open, slot);
    slot->SetState(SessionSlot::kOpen);
    return session;
  }
  SessionSlot& slot_of(std::uint64_t session) { return t.ring.session(session == first ? 0 : 1); }

  void Progress(std::uint64_t session, std::uint64_t call, const char* text) {
    unsigned char body[200];
    const std::size_t size = EncodeProgress({0, 0, 100, session},
                                            {call,
                                             5700000 + call * 1000,
                                             static_cast<std::uint32_t>(call),
                                             300,
                                             0,
                                             {text, static_cast<std::uint32_t>(std::strlen(text))}},
                                            {body, sizeof body - 7});
    slot_of(session).Count(SessionSlot::kProgress);
    t.ring.Append(body, size, Room::kMust);
  }
  void AppendError(std::uint64_t session, std::uint64_t call, std::uint32_t hresult,
                   const char* text) {
    unsigned char body[200];
    const Text borrowed = {text,
                           static_cast<std::uint32_t>(text == nullptr ? 0 : std::strlen(text))};
    const std::size_t size = EncodeError({0, 5940000, 100, session}, call, hresult, 0, borrowed,
                                         {body, sizeof body - 7});
    slot_of(session).Count(SessionSlot::kErrors);
    t.ring.Append(body, size, Room::kMust);
  }

  // `size N`, then rows that are not all zero.
  std::string Dump() {
    std::ostringstream out;
    out << "size " << t.size_bytes << "\n";
    for (std::size_t at = 0; at < t.size_bytes; at += kRowBytes) {
      std::string hex;
      bool zero = true;
      for (std::size_t i = at; i < at + kRowBytes && i < t.size_bytes; i++) {
        const unsigned char byte = t.memory.get()[i];
        zero = zero && byte == 0;
        hex += "0123456789abcdef"[byte >> 4];
        hex += "0123456789abcdef"[byte & 0xf];
      }
      if (!zero) out << std::hex << at << " " << hex << "\n";
    }
    return out.str();
  }

  TestRing t;
  std::uint64_t first = 0;
  std::uint64_t second = 0;
};

std::string Expected(const void* image, std::size_t size_bytes, bool this_boot) {
  RingScan scan(image, size_bytes, this_boot);
  ScannedRecord record;
  std::string out;
  while (scan.Next(&record)) {
    const unsigned kind = record.is_hole ? 15 : KindOf(record.body, record.size_bytes);
    out += std::to_string(record.seq) + " " + (kind <= 16 ? kKindNames[kind] : "?") + "\n";
  }
  return out;
}

std::string ReadFile(const std::string& name) {
  std::ifstream in(vectors::Folder() + name, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void WriteGolden() {
  Golden golden;
  std::ofstream(vectors::Folder() + "ring-v1.txt", std::ios::binary) << golden.Dump();
  std::ofstream(vectors::Folder() + "ring-v1.expected.txt", std::ios::binary)
      << Expected(golden.t.memory.get(), golden.t.size_bytes, true);
}

// The memory that ring-v1.txt spells.
Memory Load(std::size_t* size_bytes) {
  std::istringstream in(ReadFile("ring-v1.txt"));
  std::string word;
  in >> word >> *size_bytes;
  Memory memory = ZeroedMemory(*size_bytes);
  std::size_t at;
  while (in >> std::hex >> at >> word) {
    const vectors::Bytes bytes = vectors::FromHex(word);
    if (at + bytes.size() <= *size_bytes) {
      std::memcpy(memory.get() + at, bytes.data(), bytes.size());
    }
  }
  return memory;
}

void IsTheSameAsEver() {
  Golden golden;
  CHECK(golden.Dump() == ReadFile("ring-v1.txt"));
  // It holds what it is there to show: the data goes on at its beginning, behind a pad.
  CHECK(golden.t.ring.head().unit() > golden.t.ring.tail().unit());
  int pads = 0;
  for (Place at = golden.t.ring.head(); at.unit() != 0;) {
    const Word word = {golden.t.words()[at.unit()]};
    pads += word.state() == Word::kPad ? 1 : 0;
    at = word.state() == Word::kPad
             ? Place::Of(at.seq(), 0)
             : Place::Of(at.seq() + 1, (at.unit() + RecordUnits(word.size_bytes())) % 512);
  }
  CHECK_EQ(pads, 1);
}

void FindsWhatIsExpected() {
  std::size_t size_bytes;
  const Memory memory = Load(&size_bytes);
  const std::string found = Expected(memory.get(), size_bytes, true);
  CHECK_EQ(found, ReadFile("ring-v1.expected.txt"));
  CHECK(found.find(" hole\n") != std::string::npos);
  CHECK(found.rfind(" hole\n") + 6 < found.size());
}

void TakesOnlyChecksumsOfAnEarlierBoot() {
  std::size_t size_bytes;
  const Memory memory = Load(&size_bytes);
  const std::string all = Expected(memory.get(), size_bytes, true);
  const std::string some = Expected(memory.get(), size_bytes, false);
  CHECK_EQ(some, all.substr(0, all.find(" error\n") + 7));
  // A bit of a body flips: with nothing good behind it that is the end, and the hole too.
  Golden golden;
  Ring& ring = golden.t.ring;
  const std::uint64_t wrong = ring.head().seq() + 1;
  Place at = ring.head();
  Ring::Record record = ring.Peek(&at);
  at = ring.Next(at, record);
  record = ring.Peek(&at);
  const_cast<unsigned char*>(record.body)[record.size_bytes - 1] ^= 1;
  const std::string torn = Expected(golden.t.memory.get(), size_bytes, false);
  CHECK(torn.find(std::to_string(wrong) + " hole\n") != std::string::npos);
}

void TellsHolesFromTheEnd() {
  // What each of six records is: c committed, r reserved, t committed with a broken body.
  const struct {
    const char* records;
    const char* found;
  } rows[] = {
      {"cccccc", "1 2 3 4 5 6 "},
      {"crcccc", "1 hole 3 4 5 6 "},
      {"crrrcc", "1 hole hole hole 5 6 "},
      {"rcccrc", "hole 2 3 4 hole 6 "},
      {"cctccc", "1 2 hole 4 5 6 "},
      {"ctrtcr", "1 hole hole hole 5 "},
      {"cccrrr", "1 2 3 "},
      {"cccttt", "1 2 3 "},
      {"rrrrrr", ""},
  };
  for (const auto& row : rows) {
    // Close to the end of the data, so that a pad lies among them.
    for (const std::uint32_t from : {0u, 512u - 30, 512u - 22, 512u - 7}) {
      TestRing t(4096);
      t.StartAt(1, from);
      for (const char* kind = row.records; *kind != '\0'; kind++) {
        Ring::Attempt attempt;
        Body body(40);
        do {
          CHECK(t.ring.Prepare(body.size, false, Room::kMust, &attempt));
        } while (!t.ring.Claim(attempt));
        PatchSeq(body.bytes.data(), attempt.at.seq());
        if (*kind == 't') body.bytes[0] = 0xc1;
        if (*kind != 'r') t.ring.Fill(attempt, body.bytes.data(), attempt.word.size_bytes());
        if (*kind != 'r') t.ring.Commit(attempt);
      }
      CHECK_EQ(t.Scan(), std::string(row.found));
    }
  }
}

void EndsBehindTheLastSeq() {
  // Numbers that go round would make an old record the next one.
  TestRing t(4096);
  t.StartAt((std::uint64_t{1} << 45) - 1);
  Append(t.ring, 40);
  t.words()[RecordUnits(40)] = Word::Of(0, 40, Word::kReserved).value;
  CHECK_EQ(t.Scan(), std::string("35184372088831 "));
}

void BeginsAtRetired() {
  // The worker died while it zeroed: head stands still, and half of what it freed is gone.
  TestRing t(4096);
  for (int i = 0; i < 6; i++) Append(t.ring, 40);
  t.ring.header().retired = Place::Of(4, 3 * RecordUnits(40)).value;
  for (std::uint32_t unit = 0; unit < 10; unit++) t.words()[unit] = 0;
  CHECK_EQ(t.Scan(), std::string("4 5 6 "));
}

void RefusesWhatIsNoRing() {
  const struct {
    const char* what;
    std::size_t offset;
    std::uint64_t value;
  } rows[] = {
      {"no magic", 0, 0},
      {"another layout", 8, 1 | std::uint64_t{kRingDataOffset} << 32},
      {"data elsewhere", 8, 1 | std::uint64_t{kRingDataOffset - 8} << 32},
      {"no data", 32, 0},
      {"data of no whole units", 32, 4095},
      {"data behind the end", 32, 4104},
      {"a size that overflows", 32, 0xfffffffffffffff8},
      {"a wall clock of 2^53", 48, std::uint64_t{1} << 53},
      {"a count of 2^53", 672, std::uint64_t{1} << 53},
      {"an oldest record behind the end", 584, Place::Of(1, 512).value},
      {"an oldest record without seq", 584, 0},
  };
  for (const auto& row : rows) {
    TestRing t(4096);
    Append(t.ring, 40);
    std::memcpy(t.memory.get() + row.offset, &row.value, 8);
    RingScan scan(t.memory.get(), t.size_bytes, true);
    ScannedRecord record;
    if (scan.is_ring() || scan.Next(&record)) check::Fail(__FILE__, __LINE__, row.what);
  }
  TestRing t(4096);
  CHECK(!RingScan(t.memory.get(), kRingDataOffset, true).is_ring());
  CHECK(!RingScan(t.memory.get(), 0, true).is_ring());
  const Memory large = ZeroedMemory(kRingFileBytes + 8);
  Ring ring;
  ring.Format(large.get(), kRingFileBytes, TestIdentity());
  ring.Publish();
  CHECK(RingScan(large.get(), kRingFileBytes, true).is_ring());
  CHECK(!RingScan(large.get(), kRingFileBytes + 8, true).is_ring());
  CHECK(RingScan(t.memory.get(), t.size_bytes, true).is_ring());
}

void SurvivesAnyBytes() {
  constexpr unsigned kSeed = 20240612;
  std::mt19937 random(kSeed);
  std::size_t size_bytes;
  const Memory golden = Load(&size_bytes);
  Memory image = ZeroedMemory(size_bytes);
  for (int round = 0; round < 20000; round++) {
    // Only what a scan looks at, so that most rounds hit something.
    std::memcpy(image.get(), golden.get(), 1024);
    std::memcpy(image.get() + kRingDataOffset, golden.get() + kRingDataOffset, kGoldenDataBytes);
    for (unsigned flips = static_cast<unsigned>(random()) % 8 + 1; flips > 0; flips--) {
      const std::size_t at =
          random() % 8 == 0 ? random() % 1024 : kRingDataOffset + random() % kGoldenDataBytes;
      image.get()[at] = static_cast<unsigned char>(
          random() % 2 == 0 ? image.get()[at] ^ 1u << random() % 8 : random());
    }
    for (const bool this_boot : {true, false}) {
      RingScan scan(image.get(), size_bytes, this_boot);
      ScannedRecord record;
      std::uint64_t before = 0;
      unsigned count = 0;
      while (scan.Next(&record)) {
        const bool inside =
            record.is_hole || (record.body >= image.get() + kRingDataOffset &&
                               record.body + record.size_bytes <= image.get() + size_bytes);
        CHECK(inside);
        CHECK(count == 0 || record.seq == before + 1);
        before = record.seq;
        CHECK(++count <= kGoldenDataBytes / 16);
        if (check::failures > 0) {
          std::printf("seed %u, round %d\n", kSeed, round);
          return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mapisync

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--write") == 0) {
    mapisync::WriteGolden();
    return 0;
  }
  return check::Run({
      {"the golden ring is the same as ever", mapisync::IsTheSameAsEver},
      {"RingScan finds in it what is expected", mapisync::FindsWhatIsExpected},
      {"RingScan takes only what has a checksum of an earlier boot",
       mapisync::TakesOnlyChecksumsOfAnEarlierBoot},
      {"RingScan tells holes from the end", mapisync::TellsHolesFromTheEnd},
      {"RingScan begins at retired", mapisync::BeginsAtRetired},
      {"RingScan ends behind the last seq", mapisync::EndsBehindTheLastSeq},
      {"RingScan refuses what is no ring", mapisync::RefusesWhatIsNoRing},
      {"RingScan survives any bytes", mapisync::SurvivesAnyBytes},
  });
}
