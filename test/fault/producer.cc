// A provider for the fault harness: threads that call the shim and note, in a mapped side file that
// outlives any kill, which calls began and which returned. The side file never goes through the
// shim, so it is what the journal is held to.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#ifdef _WIN32
#include <windows.h>
#else
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include "mapisync.h"

namespace {

constexpr std::uint32_t kMagic = 0x31544146;
constexpr std::uint32_t kMaxThreads = 8;
constexpr std::size_t kEntries = 65535;
constexpr mapisync::Hresult kFail = static_cast<mapisync::Hresult>(0x80004005u);
constexpr mapisync::Hresult kBusy = static_cast<mapisync::Hresult>(0x8004010Bu);

// The first 256 bytes of the side file. Little-endian, read by side-file.mjs.
struct Header {
  std::uint32_t magic;
  std::atomic<std::uint32_t> stop;  // Set by the harness.
  std::atomic<std::uint32_t> used;  // Entries.
  std::atomic<std::uint32_t> finished;
  std::uint32_t recording, in_file, flushed, unused;
  std::uint64_t recorded, merged, lost;
  unsigned char rest[200];
};
static_assert(sizeof(Header) == 256, "side-file.mjs");

// What one thread called in one session.
struct Calls {
  std::atomic<std::uint32_t> errors_begun, errors, notes_begun, notes, progress_begun, progress;
};

// One session, 256 bytes.
struct Entry {
  enum State { kFree, kAttaching, kAttached, kReleasing, kReleased, kWithout };
  std::atomic<std::uint32_t> state;
  std::atomic<std::uint32_t> dones_begun, dones;
  std::atomic<std::uint32_t> inners_begun, inners;  // Calls that the inner callback failed.
  char id[20];
  unsigned char rest[24];
  Calls calls[kMaxThreads];
};
static_assert(sizeof(Entry) == 256, "side-file.mjs");

struct SideFile {
  Header header;
  Entry entries[kEntries];
};

struct Options {
  std::uint32_t threads = 4;
  std::uint32_t sessions = 0;   // A thread ends after so many; 0: when told to.
  std::uint32_t calls = 40;     // Must-calls of a session and thread, at most.
  std::uint32_t pace_us = 500;  // Between two must-calls of a thread.
  std::uint32_t busy_us = 0;    // Calls Progress that often meanwhile, spinning; 0: sleeps.
  bool shared = false;          // All threads in one session.
  std::uint32_t rate = 0;       // One session with so many calls a second, until told to end.
  bool tee = false;
  std::uint32_t flush_ms = 20000;
  std::uint32_t ahead = 0;  // Waits when so many must-frames may be unacknowledged; 0: never.
  std::uint64_t seed = 1;
};

Options options;
SideFile* side;

std::uint64_t NowUs() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

SideFile* MapSideFile(const char* path) {
#ifdef _WIN32
  const HANDLE file =
      CreateFileA(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
                  OPEN_EXISTING, 0, nullptr);
  if (file == INVALID_HANDLE_VALUE) return nullptr;
  const HANDLE mapping =
      CreateFileMappingA(file, nullptr, PAGE_READWRITE, 0, sizeof(SideFile), nullptr);
  if (mapping == nullptr) return nullptr;
  return static_cast<SideFile*>(MapViewOfFile(mapping, FILE_MAP_ALL_ACCESS, 0, 0, 0));
#else
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0 || ftruncate(fd, sizeof(SideFile)) != 0) return nullptr;
  void* const at = mmap(nullptr, sizeof(SideFile), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  return at == MAP_FAILED ? nullptr : static_cast<SideFile*>(at);
#endif
}

// Plays Outlook, and refuses each eighth Error, so that `inner` frames come about.
class Outlook final : public mapisync::ProgressCallback {
 public:
  explicit Outlook(Entry* entry) : entry_(entry) {}
  mapisync::Hresult MAPISYNC_CALL QueryInterface(const mapisync::Guid&,
                                                 void** object) noexcept override {
    *object = static_cast<mapisync::ProgressCallback*>(this);
    AddRef();
    return 0;
  }
  std::uint32_t MAPISYNC_CALL AddRef() noexcept override { return ++references_; }
  std::uint32_t MAPISYNC_CALL Release() noexcept override {
    const std::uint32_t left = --references_;
    if (left == 0) delete this;
    return left;
  }
  mapisync::Hresult MAPISYNC_CALL Progress(const char16_t*, std::uint32_t,
                                           std::uint32_t) noexcept override {
    return 0;
  }
  mapisync::Hresult MAPISYNC_CALL Error(mapisync::Hresult, const char16_t*) noexcept override {
    if (++errors_ % 8 != 0) return 0;
    entry_->inners_begun++;
    return kFail;
  }
  mapisync::Hresult MAPISYNC_CALL Done(void*, mapisync::Hresult) noexcept override { return 0; }

 private:
  ~Outlook() = default;
  std::atomic<std::uint32_t> references_{1};
  std::atomic<std::uint32_t> errors_{0};
  Entry* entry_;
};

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u | 1) {}
  std::uint32_t Below(std::uint32_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>((state_ >> 11) % limit);
  }

 private:
  std::uint64_t state_;
};

// Keeps must-frames within the reserve of the ring where no daemon gets round to taking them, as on
// a machine with much else to do: a full ring loses frames, and rightly, but that is another
// schedule.
class Allowance {
 public:
  // Whether a thread may make calls that cause so many must-frames.
  bool Take(std::uint32_t frames) {
    if (options.ahead == 0) return true;
    const std::lock_guard<std::mutex> lock(mutex_);
    if (taken_ >= options.ahead / 2) {
      mapisync_status status = {};
      status.size = sizeof status;
      mapisync_get_status(&status);
      // Half of them are the ones since the mark, half those before it.
      if (status.acknowledged < mark_) return false;
      mark_ = status.recorded;
      taken_ = 0;
    }
    taken_ += frames;
    return true;
  }

 private:
  std::mutex mutex_;
  std::uint32_t taken_ = 0;  // Since the mark.
  std::uint64_t mark_ = 0;   // Frames that were recorded by then.
};

Allowance allowance;

bool Stopped() { return side->header.stop.load(std::memory_order_relaxed) != 0; }

// `<thread>:<number>` and some padding of any length, so that records are of all sizes.
void Label(char16_t* out, std::uint32_t thread, std::uint32_t number, std::uint32_t padding) {
  char text[32];
  std::snprintf(text, sizeof text, "%u:%u ", thread, number);
  for (const char* at = text; *at != '\0'; at++) *out++ = static_cast<unsigned char>(*at);
  for (std::uint32_t i = 0; i < padding; i++) *out++ = u"abcdefg\u00e4\u4e2d "[i % 10];
  *out = 0;
}

void Call(mapisync::ProgressCallback* callback, Entry* entry, std::uint32_t thread,
          Random* random) {
  Calls& calls = entry->calls[thread];
  char16_t text[512];
  std::uint64_t due_us = 0;
  std::uint64_t progress_due_us = 0;
  const std::uint32_t count = 1 + random->Below(options.calls);
  for (std::uint32_t i = 0; i < count && !Stopped();) {
    const std::uint64_t now_us = NowUs();
    if (now_us < due_us && options.busy_us == 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(due_us - now_us));
      continue;
    }
    const bool must = now_us >= due_us;
    if (!must && now_us < progress_due_us) continue;
    progress_due_us = now_us + options.busy_us;
    const std::uint32_t kind = must ? random->Below(4) : 3;
    // With what an inner callback that fails adds.
    if (kind != 3 && !allowance.Take(2)) {
      due_us = now_us + 1000;
      continue;
    }
    if (kind == 3) {
      const std::uint32_t number = ++calls.progress_begun;
      Label(text, thread, number, number % 40);
      callback->Progress(text, number % 1000, 1000);
      calls.progress++;
      if (must) due_us = now_us + options.pace_us / 2;
      continue;
    }
    i++;
    due_us = now_us + options.pace_us / 2 + random->Below(options.pace_us + 1);
    const std::uint32_t padding = random->Below(40) == 0 ? 400 : random->Below(60);
    if (kind == 2) {
      const std::uint32_t number = ++calls.notes_begun;
      Label(text, thread, number, padding);
      mapisync_note(callback, u"n", text);
      calls.notes++;
    } else {
      const std::uint32_t number = ++calls.errors_begun;
      Label(text, thread, number, padding);
      if (callback->Error(random->Below(3) == 0 ? kBusy : kFail, text) != 0) entry->inners++;
      calls.errors++;
    }
  }
}

// For a session: its `open`, `done` and `close`, and what the inner callback adds. Waits for its
// turn.
bool MayBegin() {
  while (!Stopped()) {
    if (allowance.Take(4)) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

Entry* NewEntry() {
  const std::uint32_t at = side->header.used.fetch_add(1);
  if (at < kEntries) return &side->entries[at];
  side->header.used.store(kEntries);
  return nullptr;
}

mapisync::ProgressCallback* Attach(Entry* entry) {
  mapisync_options how = {};
  how.size = sizeof how;
  how.provider = u"fault harness";
  how.store = u"side file";
  entry->state = Entry::kAttaching;
  void* object;
  if (options.tee) {
    auto* const outlook = new Outlook(entry);
    object = mapisync_tee(outlook, &how);
    outlook->Release();
  } else {
    object = mapisync_sink(&how);
  }
  char id[MAPISYNC_SESSION_ID_CHARS];
  const bool has = mapisync_session_id(object, id) != 0;
  std::memcpy(entry->id, id, sizeof id);
  entry->state = has ? Entry::kAttached : Entry::kWithout;
  return static_cast<mapisync::ProgressCallback*>(object);
}

void Detach(mapisync::ProgressCallback* callback, Entry* entry, Random* random) {
  if (random->Below(8) != 0) {
    entry->dones_begun++;
    callback->Done(nullptr, 0);
    entry->dones++;
  }
  const bool has = entry->state == Entry::kAttached;
  if (has) entry->state = Entry::kReleasing;
  callback->Release();
  if (has) entry->state = Entry::kReleased;
}

void RunAlone(std::uint32_t thread) {
  Random random(options.seed * 100 + thread);
  for (std::uint32_t n = 0; MayBegin() && (options.sessions == 0 || n < options.sessions); n++) {
    Entry* const entry = NewEntry();
    if (entry == nullptr) return;
    mapisync::ProgressCallback* const callback = Attach(entry);
    Call(callback, entry, thread, &random);
    Detach(callback, entry, &random);
  }
}

void RunShared() {
  Random random(options.seed * 100 + 99);
  for (std::uint32_t n = 0; MayBegin() && (options.sessions == 0 || n < options.sessions); n++) {
    Entry* const entry = NewEntry();
    if (entry == nullptr) return;
    mapisync::ProgressCallback* const callback = Attach(entry);
    std::vector<std::thread> threads;
    for (std::uint32_t thread = 0; thread < options.threads; thread++) {
      threads.emplace_back([=] {
        Random own(options.seed * 1000 + n * kMaxThreads + thread);
        Call(callback, entry, thread, &own);
      });
    }
    for (std::thread& thread : threads) thread.join();
    Detach(callback, entry, &random);
  }
}

// Each millisecond it makes the calls that are due.
void RunSteadily() {
  Random random(options.seed);
  Entry* const entry = NewEntry();
  if (entry == nullptr) return;
  mapisync::ProgressCallback* const callback = Attach(entry);
  Calls& calls = entry->calls[0];
  char16_t text[512];
  const std::uint64_t start_us = NowUs();
  for (std::uint64_t made = 0; !Stopped();) {
    if (made * 1000000 > (NowUs() - start_us) * options.rate) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      continue;
    }
    made++;
    if (made % 100 == 0) {
      Label(text, 0, ++calls.errors_begun, 20);
      if (callback->Error(kFail, text) != 0) entry->inners++;
      calls.errors++;
    } else {
      const std::uint32_t number = ++calls.progress_begun;
      Label(text, 0, number, 20);
      callback->Progress(text, number % 1000, 1000);
      calls.progress++;
    }
  }
  Detach(callback, entry, &random);
}

bool Parse(int count, char** args) {
  for (int i = 2; i + 1 < count; i += 2) {
    const char* const name = args[i];
    const std::uint64_t value = std::strtoull(args[i + 1], nullptr, 10);
    const auto small = static_cast<std::uint32_t>(value);
    if (!std::strcmp(name, "--threads")) {
      options.threads = small < 1 ? 1 : small > kMaxThreads ? kMaxThreads : small;
    } else if (!std::strcmp(name, "--sessions")) {
      options.sessions = small;
    } else if (!std::strcmp(name, "--calls")) {
      options.calls = small < 1 ? 1 : small;
    } else if (!std::strcmp(name, "--pace-us")) {
      options.pace_us = small;
    } else if (!std::strcmp(name, "--busy-us")) {
      options.busy_us = small;
    } else if (!std::strcmp(name, "--shared")) {
      options.shared = value != 0;
    } else if (!std::strcmp(name, "--tee")) {
      options.tee = value != 0;
    } else if (!std::strcmp(name, "--rate")) {
      options.rate = small;
    } else if (!std::strcmp(name, "--ahead")) {
      options.ahead = small;
    } else if (!std::strcmp(name, "--flush-ms")) {
      options.flush_ms = small;
    } else if (!std::strcmp(name, "--seed")) {
      options.seed = value;
    } else {
      std::fprintf(stderr, "Cannot run: unknown option %s\n", name);
      return false;
    }
  }
  return true;
}

}  // namespace

int main(int count, char** args) {
  if (count < 2 || !Parse(count, args)) return 2;
  side = MapSideFile(args[1]);
  if (side == nullptr) {
    std::fprintf(stderr, "Cannot map side file %s: it must exist\n", args[1]);
    return 2;
  }
  side->header.magic = kMagic;
  if (options.rate > 0) {
    RunSteadily();
  } else if (options.shared) {
    RunShared();
  } else {
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < options.threads; i++) threads.emplace_back(RunAlone, i);
    for (std::thread& thread : threads) thread.join();
  }
  side->header.flushed =
      options.flush_ms > 0 ? static_cast<std::uint32_t>(mapisync_flush(options.flush_ms)) : 0;
  mapisync_status status = {};
  status.size = sizeof status;
  mapisync_get_status(&status);
  side->header.recording = status.recording;
  side->header.in_file = status.in_file;
  side->header.recorded = status.recorded;
  side->header.merged = status.merged;
  side->header.lost = status.lost;
  side->header.finished = 1;
  return 0;
}
