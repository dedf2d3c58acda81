// A ring in memory of the test's, and bodies to put into it.
#ifndef MAPISYNC_TESTS_TEST_RING_H_
#define MAPISYNC_TESTS_TEST_RING_H_

#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "frames.h"
#include "ring.h"
#include "ring_scan.h"

namespace mapisync {

struct FreeAligned {
  void operator()(unsigned char* memory) const { ::operator delete (memory, std::align_val_t{64}); }
};
using Memory = std::unique_ptr<unsigned char, FreeAligned>;

inline Memory ZeroedMemory(std::size_t bytes) {
  Memory memory(static_cast<unsigned char*>(::operator new (bytes, std::align_val_t{64})));
  std::memset(memory.get(), 0, bytes);
  return memory;
}

inline RingIdentity TestIdentity() {
  RingIdentity identity = {};
  for (unsigned char i = 0; i < 16; i++) {
    identity.ring_id[i] = static_cast<unsigned char>(i * 0x11);
    identity.boot_id[i] = static_cast<unsigned char>(0xf0 | i);
  }
  identity.pid = 4242;
  identity.bits = 64;
  identity.wall_us = 1750000000000000;
  identity.time_us = 5000000;
  identity.clock_resolution_us = 1000;
  identity.executable = "host.exe";
  identity.version = "0.1.0";
  return identity;
}

struct TestRing {
  explicit TestRing(std::uint32_t data_bytes)
      : size_bytes(kRingDataOffset + data_bytes), memory(ZeroedMemory(size_bytes)) {
    ring.Format(memory.get(), size_bytes, TestIdentity());
    ring.Publish();
  }
  // As if it had been in use for long: the next record is `seq`, at this unit.
  void StartAt(std::uint64_t seq, std::uint32_t unit = 0) {
    const std::uint64_t place = Place::Of(seq, unit).value;
    ring.header().tail = place;
    ring.header().head = place;
    ring.header().retired = place;
  }
  std::uint64_t* words() {
    return reinterpret_cast<std::uint64_t*>(memory.get() + kRingDataOffset);
  }
  bool AllFreeIsZero() {
    for (std::uint32_t i = 0; i < ring.data_bytes() / 8; i++) {
      if (words()[i] != 0) return false;
    }
    return true;
  }
  // What a reader of a dead ring finds: "5 6 hole 8 ".
  std::string Scan(bool this_boot = true) {
    RingScan scan(memory.get(), size_bytes, this_boot);
    ScannedRecord record;
    std::string found;
    while (scan.Next(&record))
      found += (record.is_hole ? "hole" : std::to_string(record.seq)) + " ";
    return found;
  }

  std::size_t size_bytes;
  Memory memory;
  Ring ring;
};

// A body that takes exactly that many bytes, with what Ring::Append() may read behind it. It is
// like a `note`, but of a kind that nobody knows: no known one may be that long.
struct Body {
  explicit Body(std::size_t size_bytes, std::uint32_t thread = 1, std::uint64_t session = 1)
      : bytes(size_bytes + 8, 0xee) {
    const std::string text(size_bytes, static_cast<char>('a' + size_bytes % 26));
    // The head of a text grows with it, so that one text alone does not meet every size.
    for (std::uint32_t key = 1; key < 4; key++) {
      for (std::uint32_t head = 1; head < 4; head++) {
        const std::size_t value = size_bytes - 27 - key - head;
        if (value > size_bytes || size == size_bytes) continue;
        size = EncodeNote({0, 77, thread, session}, {"key", key},
                          {text.data(), static_cast<std::uint32_t>(value)},
                          {bytes.data(), size_bytes});
      }
    }
    bytes[1] = kNovelKind;
  }
  static constexpr unsigned char kNovelKind = 100;
  std::vector<unsigned char> bytes;
  std::size_t size = 0;
};

inline std::uint64_t Append(Ring& ring, std::size_t body_bytes, Room room = Room::kMust) {
  Body body(body_bytes);
  return ring.Append(body.bytes.data(), body.size, room);
}

}  // namespace mapisync

#endif  // MAPISYNC_TESTS_TEST_RING_H_
