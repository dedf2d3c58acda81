// A tee or a sink on a ring in memory, with an inner callback of the test's behind it, and what its
// calls left in that ring.
#ifndef MAPISYNC_TESTS_CALLBACK_FIXTURE_H_
#define MAPISYNC_TESTS_CALLBACK_FIXTURE_H_

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>

#include "callback.h"
#include "check.h"
#include "test_ring.h"

namespace mapisync {

inline constexpr Hresult kFail = static_cast<Hresult>(0x80004005);

// Kinds of all records, by name, in order.
inline std::string Kinds(const TestRing& t) {
  static const char* const kNames[] = {
      "?",         "hello",    "slot", "open",  "progress", "error", "done", "inner", "blocked",
      "unblocked", "returned", "note", "close", "merged",   "lost",  "hole", "clock"};
  RingScan scan(t.memory.get(), t.size_bytes, true);
  ScannedRecord record;
  std::string kinds;
  while (scan.Next(&record)) {
    if (!kinds.empty()) kinds += ' ';
    kinds += record.is_hole ? "hole" : kNames[KindOf(record.body, record.size_bytes)];
  }
  return kinds;
}

// The body of the n-th record of a kind, from 0.
inline std::string BodyOf(const TestRing& t, Kind kind, int n = 0) {
  RingScan scan(t.memory.get(), t.size_bytes, true);
  ScannedRecord record;
  while (scan.Next(&record)) {
    if (KindOf(record.body, record.size_bytes) != static_cast<unsigned>(kind) || n-- > 0) continue;
    return std::string(reinterpret_cast<const char*>(record.body), record.size_bytes);
  }
  return "none";
}

// The elements behind seq, time, thread and session, as encoded; all sessions here have one byte.
inline std::string Elements(const TestRing& t, Kind kind, int n = 0) {
  const std::string body = BodyOf(t, kind, n);
  const std::size_t header = !body.empty() && body[0] == '\xdc' ? 28 : 26;
  return body.size() > header ? body.substr(header) : body;
}

// A number in the header of a body, by its offset behind an array of less than 16.
inline std::uint64_t HeaderNumber(const std::string& body, std::size_t at, int bytes) {
  if (body[0] == '\xdc') at += 2;
  std::uint64_t value = 0;
  while (bytes-- > 0) value = value << 8 | static_cast<unsigned char>(body[at++]);
  return value;
}

// Outlook's callback. Counts, and does what a test wants in the middle of a call.
class Inner final : public ProgressCallback {
 public:
  Hresult MAPISYNC_CALL QueryInterface(const Guid&, void** object) noexcept override {
    queries++;
    *object = nullptr;
    return kNoInterface;
  }
  std::uint32_t MAPISYNC_CALL AddRef() noexcept override { return ++refs; }
  std::uint32_t MAPISYNC_CALL Release() noexcept override { return --refs; }
  Hresult MAPISYNC_CALL Progress(const char16_t* text, std::uint32_t index,
                                 std::uint32_t max) noexcept override {
    return Called("progress " + std::to_string(index) + "/" + std::to_string(max), text, nullptr);
  }
  Hresult MAPISYNC_CALL Error(Hresult error, const char16_t* text) noexcept override {
    return Called("error " + std::to_string(error), text, nullptr);
  }
  Hresult MAPISYNC_CALL Done(void* event, Hresult done) noexcept override {
    return Called("done " + std::to_string(done), nullptr, event);
  }
  Hresult Called(const std::string& what, const char16_t* text, void* event) {
    mutex.lock();
    last = what;
    last_text = text;
    last_event = event;
    thread = std::this_thread::get_id();
    mutex.unlock();
    if (during != nullptr) during(context);
    return result;
  }

  std::atomic<std::uint32_t> refs{1};
  int queries = 0;
  std::mutex mutex;  // Guards the next four.
  std::string last;
  const char16_t* last_text = nullptr;
  void* last_event = nullptr;
  std::thread::id thread;
  Hresult result = kOk;
  void (*during)(void*) = nullptr;
  void* context = nullptr;
};

struct Fixture {
  explicit Fixture(bool tee = true, void* const* event = nullptr, bool close = false,
                   std::uint32_t data_bytes = 65536)
      : t(data_bytes) {
    Callback::Settings settings;
    if (tee) settings.inner = &inner;
    settings.sync_done_event = event;
    settings.close_done_event = close;
    callback = Callback::Create(settings);
    const Open open = {tee ? Attach::kTee : Attach::kSink, false, 0, {}, {}, 0, tee};
    CHECK(callback->Record(&t.ring, nullptr, open));
    object = callback;
  }

  TestRing t;
  Inner inner;
  Callback* callback;
  ProgressCallback* object;  // What a provider has.
};

}  // namespace mapisync

#endif  // MAPISYNC_TESTS_CALLBACK_FIXTURE_H_
