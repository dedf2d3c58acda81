// Four busy threads are killed at any instant. Whatever Append() had returned must be found.
#include "check.h"

#ifdef _WIN32

int main() {
  std::printf("Skipped: killing a process with a ring in shared memory needs fork()\n");
  return check::Run({});
}

#else

#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <random>
#include <thread>

#include "test_ring.h"

namespace mapisync {
namespace {

constexpr int kThreads = 4;
constexpr std::uint64_t kMaxSeq = 1 << 22;

// What parent and child share.
struct Shared {
  std::atomic<std::uint32_t> running;
  // 1 once Append() returned that seq.
  std::atomic<unsigned char> returned[kMaxSeq];
};

[[noreturn]] void BeBusy(Ring* ring, Shared* shared, bool with_worker) {
  for (std::uint32_t id = 0; id < kThreads; id++) {
    std::thread([=] {
      std::mt19937 random(id);
      unsigned char body[300];
      shared->running++;
      for (;;) {
        const std::string text(random() % 150, 'x');
        const std::size_t size = EncodeError({0, 1, id, 1}, 1, 2, 0,
                                             {text.data(), static_cast<std::uint32_t>(text.size())},
                                             {body, sizeof body - 7});
        const std::uint64_t seq = ring->Append(body, size, Room::kMust, id);
        if (seq >= kMaxSeq) pause();
        if (seq != 0) shared->returned[seq].store(1, std::memory_order_release);
      }
    }).detach();
  }
  Place at = ring->head();
  for (;;) {
    if (!with_worker) pause();
    const Ring::Record record = ring->Peek(&at);
    if (record.state != Ring::Record::State::kCommitted) continue;
    at = ring->Next(at, record);
    if (record.seq % 8 == 0) ring->FreeTo(record.seq);
  }
}

void KillsBusyThreads(std::uint32_t data_bytes, bool with_worker) {
  const std::size_t ring_bytes = kRingDataOffset + data_bytes;
  const int flags = MAP_SHARED | MAP_ANONYMOUS;
  std::mt19937 random(42);
  unsigned records = 0;
  unsigned holes = 0;
  for (int round = 0; round < 60; round++) {
    void* memory = mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    void* more = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, flags, -1, 0);
    CHECK(memory != MAP_FAILED && more != MAP_FAILED);
    Shared* const shared = static_cast<Shared*>(more);
    Ring ring;
    ring.Format(memory, ring_bytes, TestIdentity());
    ring.Publish();
    const pid_t child = fork();
    if (child == 0) BeBusy(&ring, shared, with_worker);
    while (shared->running < kThreads) usleep(100);
    const timespec delay = {0, static_cast<long>(random() % 3000000)};
    nanosleep(&delay, nullptr);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);

    RingScan scan(memory, ring_bytes, true);
    ScannedRecord record;
    const std::uint64_t first = Place{ring.header().retired}.seq();
    std::uint64_t next = first;
    unsigned holes_here = 0;
    while (scan.Next(&record)) {
      CHECK_EQ(record.seq, next++);
      records++;
      if (!record.is_hole) continue;
      holes_here++;
      CHECK(record.seq >= kMaxSeq || shared->returned[record.seq] == 0);
    }
    CHECK(holes_here <= kThreads);
    holes += holes_here;
    for (std::uint64_t seq = next; seq < kMaxSeq && seq < next + 100000; seq++) {
      CHECK(shared->returned[seq] == 0);
    }
    munmap(memory, ring_bytes);
    munmap(more, sizeof(Shared));
    if (check::failures > 0) return;
  }
  CHECK(records > 0);
  std::printf("%u records, %u holes\n", records, holes);
}

void WhileItFills() { KillsBusyThreads(kRingFileBytes - kRingDataOffset, false); }
void WhileItGoesRound() { KillsBusyThreads(16384, true); }

}  // namespace
}  // namespace mapisync

int main() {
  return check::Run({
      {"a kill hides no returned record while the ring fills", mapisync::WhileItFills},
      {"a kill hides no returned record while the ring goes round", mapisync::WhileItGoesRound},
  });
}

#endif
