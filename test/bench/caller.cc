// What a call costs the provider's thread: mapisync's Progress beside spdlog and three floors.
//
// Every contender runs in this one process, in turns, in an order that changes, block by block
// where that can be, so what the machine does to one of them it does to all: compare within a run,
// never between runs. A sample is the mean of a burst of calls, timed as a whole, less the cost of
// the timer. Between blocks of bursts everybody sleeps, so that the worker behind a contender keeps
// up: a full queue would be measured otherwise. What was merged or lost is printed, since a call
// that does nothing is fast.
//
// caller SHIM FOLDER ROUNDS BURSTS absent|present|stopped     prints one JSON object
//
// `stopped`: says "ready" once all is acknowledged, and goes on with a line on stdin: until then
// somebody has stopped the daemon.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "module.h"

#if defined(_WIN32)
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>
#endif

#if defined(WITH_SPDLOG)
#include <spdlog/async.h>
#include <spdlog/sinks/basic_file_sink.h>
#endif
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace {

using std::chrono::steady_clock;

constexpr int kCallsPerBurst = 20;
constexpr int kBurstsPerBlock = 10;  // of each thread: long enough that threads do meet
constexpr int kThreads = 4;
constexpr auto kIdlePause = std::chrono::milliseconds(2);
constexpr int kIdleShare = 8;  // one idle call for so many bursts: each takes its pause
constexpr auto kBlockPause = std::chrono::milliseconds(2);
constexpr int kLapCalls = 100000;  // more frames than the ring holds
constexpr uint32_t kIndexMax = 1000000;

#define TEXT_24 "Inbox: message 000123456"
#define TEXT_40 "Synchronizing folder Inbox, item 0123456"
constexpr char16_t kText24[] = u"" TEXT_24;
constexpr char16_t kText40[] = u"" TEXT_40;
static_assert(sizeof TEXT_24 == 25 && sizeof TEXT_40 == 41, "the names say their lengths");

// Ticks of the cheapest clock there is. The fences keep the burst between its two readings.
uint64_t Ticks() {
#if defined(__x86_64__)
  _mm_lfence();
  const uint64_t ticks = __rdtsc();
  _mm_lfence();
  return ticks;
#else
  return static_cast<uint64_t>(steady_clock::now().time_since_epoch().count());
#endif
}

double NsPerTick() {
  const auto start = steady_clock::now();
  const uint64_t ticks = Ticks();
  while (steady_clock::now() - start < std::chrono::milliseconds(50)) {
  }
  const uint64_t passed = Ticks() - ticks;
  return std::chrono::duration<double, std::nano>(steady_clock::now() - start).count() /
         static_cast<double>(passed);
}

double At(std::vector<double> sorted, double share) {
  return sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1))];
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void PrintList(const std::vector<double>& values) {
  for (size_t i = 0; i < values.size(); i++) std::printf("%s%.2f", i ? "," : "", values[i]);
}

struct EmptyCallback final : mapisync::ProgressCallback {
  mapisync::Hresult QueryInterface(const mapisync::Guid&, void** object) noexcept override {
    *object = this;
    return 0;
  }
  uint32_t AddRef() noexcept override { return 1; }
  uint32_t Release() noexcept override { return 1; }
  mapisync::Hresult Progress(const char16_t*, uint32_t, uint32_t) noexcept override { return 0; }
  mapisync::Hresult Error(mapisync::Hresult, const char16_t*) noexcept override { return 0; }
  mapisync::Hresult Done(void*, mapisync::Hresult) noexcept override { return 0; }
};

// What the contenders work on. Read through volatile pointers, so that no call is known beforehand.
mapisync::ProgressCallback* volatile the_sink;
mapisync::ProgressCallback* volatile the_tee;
mapisync::ProgressCallback* volatile the_empty;
std::atomic<uint64_t> the_counter;
char* volatile the_copy_target;
constexpr size_t kCopyTargetBytes = 4 << 20;

void Call(mapisync::ProgressCallback* callback, const char16_t* text) {
  for (uint32_t i = 0; i < kCallsPerBurst; i++) callback->Progress(text, i, kIndexMax);
}

void Sink24() { Call(the_sink, kText24); }
void Sink40() { Call(the_sink, kText40); }
void Tee24() { Call(the_tee, kText24); }
void Empty() { Call(the_empty, kText24); }
void SinkOnce() { the_sink->Progress(kText24, 1, kIndexMax); }
void EmptyOnce() { the_empty->Progress(kText24, 1, kIndexMax); }

void Error40() {
  for (int i = 0; i < kCallsPerBurst; i++) the_sink->Error(-2147467259, kText40);
}

#if !defined(_WIN32)
int the_socket;

// Who reports each call with a system call of its own. Somebody reads at the other end.
void Write() {
  char frame[64] = TEXT_24;
  for (int i = 0; i < kCallsPerBurst; i++) {
    if (write(the_socket, frame, sizeof frame) < 0) std::abort();
  }
}

void OpenSocket() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
  the_socket = ends[0];
  std::thread([from = ends[1]] {
    std::vector<char> bytes(65536);
    while (read(from, bytes.data(), bytes.size()) > 0) {
    }
  }).detach();
}
#endif

void Xadd() {
  for (int i = 0; i < kCallsPerBurst; i++) the_counter.fetch_add(1);
}

void Copy64() {
  static thread_local size_t at = 0;
  alignas(64) static const char source[64] = "the bytes of a record";
  char* target = the_copy_target;
  for (int i = 0; i < kCallsPerBurst; i++) {
    std::memcpy(target + at, source, sizeof source);
    asm volatile("" ::: "memory");
    at = (at + sizeof source) % kCopyTargetBytes;
  }
}

// Arithmetic only: shows how the machine's own speed changes during the run.
void Calibration() {
  uint64_t value = 1;
  for (int i = 0; i < kCallsPerBurst * 16; i++) {
    value = value * 6364136223846793005u + 1442695040888963407u;
    asm volatile("" : "+r"(value));
  }
}

#if defined(WITH_SPDLOG)
std::shared_ptr<spdlog::details::thread_pool> spdlog_pool;
std::shared_ptr<spdlog::async_logger> spdlog_logger;

// The queue size is the library's default. Of its policies the one that never makes the caller
// wait.
void OpenSpdlog(const std::string& folder) {
  spdlog_pool = std::make_shared<spdlog::details::thread_pool>(8192, 1);
  auto file = std::make_shared<spdlog::sinks::basic_file_sink_mt>(folder + "/spdlog.log");
  spdlog_logger = std::make_shared<spdlog::async_logger>(
      "bench", file, spdlog_pool, spdlog::async_overflow_policy::overrun_oldest);
}

void Spdlog() {
  spdlog::async_logger* logger = spdlog_logger.get();
  for (uint32_t i = 0; i < kCallsPerBurst; i++) logger->info("{} {} {}", TEXT_24, i, kIndexMax);
}
#endif

enum class How { kBursts, kTogether, kSingle, kIdle, kPassed };

struct Contender {
  const char* name;
  void (*burst)();
  How how = How::kBursts;
  std::vector<double> all = {};         // ns per call
  std::vector<double> round_p50s = {};  // one per round
  std::vector<double> round_means = {};
};

double ns_per_tick;
double timer_ns;

double Timed(void (*work)()) {
  const uint64_t start = Ticks();
  work();
  const uint64_t end = Ticks();
  return std::max(0.0, static_cast<double>(end - start) * ns_per_tick - timer_ns);
}

double TimedBurst(void (*burst)()) { return Timed(burst) / kCallsPerBurst; }

// A block: one burst to warm up, then timed ones.
void Block(void (*burst)(), int bursts, std::vector<double>* samples) {
  burst();
  for (int i = 0; i < bursts; i++) samples->push_back(TimedBurst(burst));
}

// Each call timed by itself, as the tail of the distribution needs it.
void RunSingle(void (*call)(), int bursts, std::vector<double>* samples) {
  for (int done = 0; done < bursts; done += kBurstsPerBlock) {
    call();
    for (int i = 0; i < kBurstsPerBlock * kCallsPerBurst; i++) samples->push_back(Timed(call));
    std::this_thread::sleep_for(kBlockPause);
  }
}

// A provider that has something to report now and then: the caches are somebody else's by then.
void RunIdle(void (*call)(), int calls, std::vector<double>* samples) {
  for (int i = 0; i < calls; i++) {
    std::this_thread::sleep_for(kIdlePause);
    samples->push_back(Timed(call));
  }
}

// Spreads the threads over the processors: the system may leave threads that sleep a lot on one.
void StayOnProcessor([[maybe_unused]] size_t number) {
#if defined(__linux__)
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  CPU_SET(number % std::max(1u, std::thread::hardware_concurrency()), &allowed);
  pthread_setaffinity_np(pthread_self(), sizeof allowed, &allowed);
#endif
}

// Threads start each block together, by spinning. All together make as many calls a second as one
// does alone.
void RunTogether(void (*burst)(), int threads, int bursts, std::vector<double>* samples) {
  const int blocks = std::max(1, bursts / (kBurstsPerBlock * threads));
  std::atomic<int> arrived{0};
  std::vector<std::vector<double>> own(static_cast<size_t>(threads));
  std::vector<std::thread> running;
  for (auto& mine : own) {
    running.emplace_back([&, threads, number = running.size()] {
      StayOnProcessor(number);
      for (int block = 1; block <= blocks; block++) {
        arrived.fetch_add(1);
        while (arrived.load() < block * threads) std::this_thread::yield();
        Block(burst, kBurstsPerBlock, &mine);
        std::this_thread::sleep_for(kBlockPause * threads);
      }
    });
  }
  for (auto& thread : running) thread.join();
  for (const auto& mine : own) samples->insert(samples->end(), mine.begin(), mine.end());
}

// How long a cache line takes from one processor to another, by two threads that pass it to and
// fro. A system above this one may run both processors on one core or far apart, and change that.
void RunPassed(int passes, std::vector<double>* samples) {
  static std::atomic<int> line;
  line = 0;
  std::thread other([passes] {
    StayOnProcessor(1);
    for (int i = 1; i < 2 * passes; i += 2) {
      while (line.load() != i) {
      }
      line.store(i + 1, std::memory_order_release);
    }
  });
  std::thread([passes, samples] {
    StayOnProcessor(0);
    for (int i = 1; i < 2 * passes; i += 2) {
      const uint64_t start = Ticks();
      line.store(i, std::memory_order_release);
      while (line.load() != i + 1) {
      }
      samples->push_back((static_cast<double>(Ticks() - start) * ns_per_tick - timer_ns) / 2);
    }
  }).join();
  other.join();
}

void Keep(std::vector<double> samples, Contender* contender) {
  std::sort(samples.begin(), samples.end());
  contender->round_p50s.push_back(At(samples, 0.5));
  contender->round_means.push_back(Mean(samples));
  contender->all.insert(contender->all.end(), samples.begin(), samples.end());
}

// Those that work in bursts take turns block by block: the machine may change within a second.
void RunInTurns(std::vector<Contender>* contenders, int bursts) {
  std::vector<std::vector<double>> samples(contenders->size());
  for (int done = 0; done < bursts; done += kBurstsPerBlock) {
    for (size_t i = 0; i < contenders->size(); i++) {
      const Contender& contender = (*contenders)[i];
      if (contender.how != How::kBursts) continue;
      Block(contender.burst, kBurstsPerBlock, &samples[i]);
      std::this_thread::sleep_for(kBlockPause);
    }
  }
  for (size_t i = 0; i < contenders->size(); i++) {
    Contender& contender = (*contenders)[i];
    if (contender.how == How::kBursts) Keep(std::move(samples[i]), &contender);
  }
}

void Round(std::vector<Contender>* contenders, int bursts) {
  RunInTurns(contenders, bursts);
  for (Contender& contender : *contenders) {
    std::vector<double> samples;
    switch (contender.how) {
      case How::kBursts:
        continue;
      case How::kTogether:
        RunTogether(contender.burst, kThreads, bursts, &samples);
        break;
      case How::kSingle:
        RunSingle(contender.burst, bursts, &samples);
        break;
      case How::kIdle:
        RunIdle(contender.burst, std::max(10, bursts / kIdleShare), &samples);
        break;
      case How::kPassed:
        RunPassed(bursts, &samples);
        break;
    }
    Keep(std::move(samples), &contender);
  }
}

void Print(Contender* contender) {
  std::sort(contender->all.begin(), contender->all.end());
  std::printf("\"%s\":{\"p50\":%.2f,\"mean\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"bursts\":%zu,",
              contender->name, At(contender->all, 0.5), Mean(contender->all),
              At(contender->all, 0.99), At(contender->all, 0.999), contender->all.size());
  std::printf("\"round_p50\":[");
  PrintList(contender->round_p50s);
  std::printf("],\"round_mean\":[");
  PrintList(contender->round_means);
  std::printf("]},");
}

void PrintStatus(const char* name, const mapisync_status& before, const mapisync_status& after) {
  std::printf("\"%s\":{\"recorded\":%llu,\"merged\":%llu,\"lost\":%llu},", name,
              static_cast<unsigned long long>(after.recorded - before.recorded),
              static_cast<unsigned long long>(after.merged - before.merged),
              static_cast<unsigned long long>(after.lost - before.lost));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) Fail("usage: caller SHIM FOLDER ROUNDS BURSTS absent|present|stopped");
  const std::string folder = argv[2];
  const int rounds = std::atoi(argv[3]);
  const int bursts = std::atoi(argv[4]);
  const bool stopped = std::strcmp(argv[5], "stopped") == 0;
  const bool present = std::strcmp(argv[5], "present") == 0;
  const bool connects = present || stopped;

  const Module module(argv[1]);
  const auto get_status = module.get_status;
  const auto flush = module.flush;
  mapisync_options options = {};
  options.size = sizeof options;
  options.provider = u"caller bench";
  the_sink = static_cast<mapisync::ProgressCallback*>(module.sink(&options));
  auto status = [&] {
    mapisync_status now = {};
    now.size = sizeof now;
    get_status(&now);
    return now;
  };
  if (!status().recording) Fail("The shim does not record: is MAPISYNC_STATE_DIR an empty folder?");
  if (connects && (!flush(5000) || !status().connected))
    Fail("The shim found no daemon within 5 s");

  EmptyCallback empty;
  the_empty = &empty;
  the_tee = static_cast<mapisync::ProgressCallback*>(module.tee(&empty, &options));
  if (the_tee == &empty) Fail("The shim does not record behind a tee");
  the_copy_target = static_cast<char*>(std::calloc(1, kCopyTargetBytes));
  std::memset(the_copy_target, 1, kCopyTargetBytes);

  std::vector<Contender> contenders = {
      {"sink24", Sink24}, {"calibration", Calibration}, {"empty", Empty},
      {"xadd", Xadd},     {"copy64", Copy64},
  };
  if (present) {
    contenders.push_back({"sink40", Sink40});
    contenders.push_back({"sink24_threads4", Sink24, How::kTogether});
    if (std::thread::hardware_concurrency() > 1) {
      contenders.push_back({"line", nullptr, How::kPassed});
    }
    contenders.push_back({"tee24", Tee24});
    contenders.push_back({"error40", Error40});
    contenders.push_back({"sink24_single", SinkOnce, How::kSingle});
    contenders.push_back({"empty_single", EmptyOnce, How::kSingle});
    contenders.push_back({"sink24_idle", SinkOnce, How::kIdle});
    contenders.push_back({"empty_idle", EmptyOnce, How::kIdle});
#if !defined(_WIN32)
    OpenSocket();
    contenders.push_back({"write", Write});
#endif
  }
#if defined(WITH_SPDLOG)
  if (!stopped) {
    OpenSpdlog(folder);
    contenders.push_back({"spdlog", Spdlog});
    if (present) contenders.push_back({"spdlog_threads4", Spdlog, How::kTogether});
  }
#endif

  ns_per_tick = NsPerTick();
  std::vector<double> nothing;
  for (int i = 0; i < 10000; i++) nothing.push_back(TimedBurst([] {}) * kCallsPerBurst);
  std::sort(nothing.begin(), nothing.end());
  timer_ns = At(nothing, 0.5);

  if (connects) {
    // One lap of the ring, so that no page of it is touched for the first time later.
    for (int calls = 0; calls < kLapCalls; calls += kCallsPerBurst * kBurstsPerBlock) {
      for (int burst = 0; burst < kBurstsPerBlock; burst++) Sink24();
      std::this_thread::sleep_for(kBlockPause);
    }
    if (!flush(10000)) Fail("The daemon did not acknowledge a lap of the ring within 10 s");
  }

  if (stopped) {
    std::printf("ready\n");
    std::fflush(stdout);
    std::getchar();
  }

  const mapisync_status before = status();
  for (int round = 0; round < rounds; round++) {
    std::rotate(contenders.begin(), contenders.begin() + 1, contenders.end());
    Round(&contenders, bursts);
  }
  const mapisync_status after = status();

  std::printf("{");
  for (Contender& contender : contenders) Print(&contender);
  PrintStatus("measured", before, after);
  if (!connects) {
    // Fill the ring, then measure calls that find no room for a frame.
    std::vector<Contender> full = {{"full", Sink24}};
    for (int calls = 0; calls < kLapCalls; calls += kCallsPerBurst) Sink24();
    const mapisync_status filled = status();
    for (int round = 0; round < rounds; round++) Round(&full, bursts);
    Print(&full.front());
    PrintStatus("full_measured", filled, status());
  }
#if defined(WITH_SPDLOG)
  if (spdlog_pool) std::printf("\"spdlog_overrun\":%zu,", spdlog_pool->overrun_counter());
#endif
  std::printf("\"timer_ns\":%.2f}\n", timer_ns);
  std::fflush(stdout);
  if (stopped) std::_Exit(0);  // Nobody is there to take the rest.
  for (mapisync::ProgressCallback* callback : {the_sink, the_tee}) {
    callback->Done(nullptr, 0);
    callback->Release();
  }
#if defined(WITH_SPDLOG)
  spdlog_logger.reset();
  spdlog_pool.reset();
#endif
  return 0;
}
