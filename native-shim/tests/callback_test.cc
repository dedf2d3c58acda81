// Drives tee and sink through their vtables, with an inner callback of the test's behind them.
#include "callback.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "hazards.h"
#include "platform.h"
#include "test_ring.h"
#include "utf8.h"

#ifdef _WIN32
#include <windows.h>
#endif

namespace mapisync {
namespace {

constexpr Hresult kFail = static_cast<Hresult>(0x80004005);

// Kinds of all records, by name, in order.
std::string Kinds(const TestRing& t) {
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
std::string BodyOf(const TestRing& t, Kind kind, int n = 0) {
  RingScan scan(t.memory.get(), t.size_bytes, true);
  ScannedRecord record;
  while (scan.Next(&record)) {
    if (KindOf(record.body, record.size_bytes) != static_cast<unsigned>(kind) || n-- > 0) continue;
    return std::string(reinterpret_cast<const char*>(record.body), record.size_bytes);
  }
  return "none";
}

// The elements behind seq, time, thread and session, as encoded; all sessions here have one byte.
std::string Elements(const TestRing& t, Kind kind, int n = 0) {
  const std::string body = BodyOf(t, kind, n);
  const std::size_t header = !body.empty() && body[0] == '\xdc' ? 28 : 26;
  return body.size() > header ? body.substr(header) : body;
}

// A number in the header of a body, by its offset behind an array of less than 16.
std::uint64_t HeaderNumber(const std::string& body, std::size_t at, int bytes) {
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

void AnswersTwoInterfaces() {
  Fixture f;
  const Guid iid_sync = MAPISYNC_IID_IMAPISYNC;
  void* as_unknown = nullptr;
  void* as_callback = nullptr;
  CHECK_EQ(f.object->QueryInterface(kIidUnknown, &as_unknown), kOk);
  CHECK_EQ(f.object->QueryInterface(kIidProgressCallback, &as_callback), kOk);
  CHECK(as_unknown == f.object && as_callback == f.object);
  CHECK_EQ(f.object->Release(), 2u);
  CHECK_EQ(f.object->Release(), 1u);
  CHECK_EQ(f.object->QueryInterface(kIidUnknown, nullptr), kInvalidArgument);
  void* other = &other;
  CHECK_EQ(f.object->QueryInterface(iid_sync, &other), kNoInterface);
  CHECK(other == nullptr);
  CHECK_EQ(f.object->QueryInterface(iid_sync, &other), kNoInterface);
  // Never asked further, noted once.
  CHECK_EQ(f.inner.queries, 0);
  CHECK_EQ(Kinds(f.t), std::string("open note"));
  CHECK_EQ(Elements(f.t, Kind::kNote),
           "\xab"
           "unknown_iid\xd9\x26{5024A385-2D44-486A-81A8-8F0ECB6071DD}");
  f.object->Release();
}

void PassesCallsOn() {
  Fixture f;
  const char16_t* text = u"Größe";
  void* event = &f;
  for (const Hresult result : {kOk, Hresult{1}, kFail, static_cast<Hresult>(0xffffffff),
                               static_cast<Hresult>(0x80000000)}) {
    f.inner.result = result;
    CHECK_EQ(f.object->Progress(text, 0xffffffff, 0), result);
    CHECK_EQ(f.inner.last, std::string("progress 4294967295/0"));
    CHECK(f.inner.last_text == text);
    CHECK_EQ(f.object->Progress(nullptr, 1, 2), result);
    CHECK(f.inner.last_text == nullptr);
    CHECK_EQ(f.object->Error(kFail, text), result);
    CHECK_EQ(f.inner.last, "error " + std::to_string(kFail));
    CHECK(f.inner.last_text == text);
    CHECK_EQ(f.object->Done(event, Hresult{1}), result);
    CHECK_EQ(f.inner.last, std::string("done 1"));
    CHECK(f.inner.last_event == event);
    CHECK(f.inner.thread == std::this_thread::get_id());
  }
  f.object->Release();
}

void RecordsCalls() {
  Fixture f;
  f.object->Progress(u"Inbox", 5, 300);
  f.object->Progress(nullptr, 0xffffffff, 0);
  f.object->Progress(u"", 0, 0);
  f.object->Error(kFail, nullptr);
  f.object->Error(kOk, u"語");
  f.object->Done(nullptr, Hresult{0});
  f.object->Done(nullptr, kFail);
  f.object->Progress(u"after", 1, 2);
  f.object->Release();
  CHECK_EQ(Kinds(f.t),
           std::string("open progress progress progress error error done done progress close"));
  CHECK_EQ(Elements(f.t, Kind::kProgress, 0), std::string("\x01\x05\xcd\x01\x2c\x00\xa5Inbox", 12));
  CHECK_EQ(Elements(f.t, Kind::kProgress, 1),
           std::string("\x02\xce\xff\xff\xff\xff\x00\x00\xc0", 9));
  CHECK_EQ(Elements(f.t, Kind::kProgress, 2), std::string("\x03\x00\x00\x00\xa0", 5));
  CHECK_EQ(Elements(f.t, Kind::kProgress, 3), std::string("\x04\x01\x02\x00\xa5"
                                                          "after",
                                                          10));
  CHECK_EQ(Elements(f.t, Kind::kError, 0), std::string("\x01\xce\x80\x00\x40\x05\x00\xc0", 8));
  CHECK_EQ(Elements(f.t, Kind::kError, 1), std::string("\x02\x00\x00\xa3\xe8\xaa\x9e", 7));
  CHECK_EQ(Elements(f.t, Kind::kDone, 0), std::string("\x01\x00\x00", 3));
  CHECK_EQ(Elements(f.t, Kind::kDone, 1), std::string("\x02\xce\x80\x00\x40\x05\x00", 7));
  const std::string close = Elements(f.t, Kind::kClose);
  CHECK_EQ(close.substr(0, 5), std::string("\x04\x02\x02\x00\x00", 5));
}

// A text of so many units and how it comes out: with a character of two bytes in it, and a lone
// surrogate, which becomes one of three, if asked for.
std::u16string TextOf(std::uint32_t units, bool with_lone, std::string* utf8) {
  std::u16string text;
  utf8->clear();
  for (std::uint32_t i = 0; i < units; i++) {
    if (with_lone && i == units / 3) {
      text += char16_t{0xd800};
      *utf8 += "\xef\xbf\xbd";
    } else if (units % 5 == 0 && i == units / 2) {
      text += u'é';
      *utf8 += "\xc3\xa9";
    } else {
      text += static_cast<char16_t>(u'a' + i % 26);
      *utf8 += static_cast<char>('a' + i % 26);
    }
  }
  return text;
}

// What the quick way makes must be what the plain encoder makes.
void EncodesEveryLengthAlike() {
  for (std::uint32_t n = 0; n < 1200; n++) {
    const std::uint32_t length = n / 2;
    const bool with_lone = n % 2 == 1 && length > 8;
    Fixture f(false);
    std::string wanted;
    std::u16string text = TextOf(length, with_lone, &wanted);
    text += char16_t{0} + std::u16string(16, u'Z');
    f.object->Progress(u"A thread's first call looks for the tail.", 1, 2);
    f.object->Progress(text.c_str(), length, 70000);
    const std::string body = BodyOf(f.t, Kind::kProgress, 1);
    const auto* bytes = reinterpret_cast<const unsigned char*>(body.data());
    CHECK(IsSequenced(bytes, body.size(), 3));
    std::uint64_t session;
    ProgressCall call;
    CHECK(DecodeProgress(bytes, body.size(), &session, &call));
    CHECK_EQ(call.index, length);
    CHECK_EQ(call.max, 70000u);
    CHECK_EQ(call.marks, with_lone ? kMarkReplaced : 0u);
    CHECK_EQ(std::string(call.text.data, call.text.size_bytes), wanted);
    std::vector<unsigned char> again(body.size());
    CHECK_EQ(EncodeProgress({3, 0, ThreadId(), session}, call, {again.data(), again.size()}),
             body.size());
    CHECK(std::memcmp(again.data(), bytes, body.size()) == 0);
    // Nothing of what stood behind the text, here or on the stack.
    const unsigned char* const start = f.t.memory.get();
    const unsigned char* const end = start + f.t.size_bytes;
    const auto* behind = std::search(start, end, bytes, bytes + body.size());
    behind += body.size();
    CHECK(std::all_of(behind, end, [](unsigned char byte) { return byte == 0; }));
    f.object->Release();
    if (check::failures > 0) return;
  }
}

// Where the number of a call takes more bytes than the one before, and behind that.
void EncodesEveryNumberAlike() {
  constexpr std::uint64_t kStarts[] = {0, 125, 253, 65533, 4294967293};
  for (const std::uint64_t start : kStarts) {
    Fixture f(false);
    f.t.ring.session(0).Count(SessionSlot::kProgress, start);
    for (int n = 0; n < 6; n++) {
      f.object->Progress(n % 3 == 2 ? nullptr : u"x", 1000, 200);
      const std::string body = BodyOf(f.t, Kind::kProgress, n);
      const auto* bytes = reinterpret_cast<const unsigned char*>(body.data());
      std::uint64_t session;
      ProgressCall call;
      CHECK(DecodeProgress(bytes, body.size(), &session, &call));
      CHECK_EQ(call.call, start + static_cast<std::uint64_t>(n) + 1);
      CHECK_EQ(call.index, 1000u);
      CHECK_EQ(call.max, 200u);
      CHECK_EQ(call.text.data == nullptr, n % 3 == 2);
      std::vector<unsigned char> again(body.size());
      const Stamp stamp = {static_cast<std::uint64_t>(n) + 2, 0, ThreadId(), session};
      CHECK_EQ(EncodeProgress(stamp, call, {again.data(), again.size()}), body.size());
      CHECK(std::memcmp(again.data(), bytes, body.size()) == 0);
    }
    f.object->Release();
  }
}

void CutsLongTexts() {
  Fixture f(false);
  const std::u16string longest(kMaxTextUnits, u'語');
  f.object->Progress(longest.c_str(), 1, 2);
  f.object->Progress((longest + u"!").c_str(), 1, 2);
  f.object->Error(kFail, (longest + u"!").c_str());
  for (int n = 0; n < 2; n++) {
    const std::string body = BodyOf(f.t, Kind::kProgress, n);
    std::uint64_t session;
    ProgressCall call;
    CHECK(DecodeProgress(reinterpret_cast<const unsigned char*>(body.data()), body.size(), &session,
                         &call));
    CHECK_EQ(call.marks, n == 0 ? 0u : kMarkCut);
    CHECK_EQ(call.text.size_bytes, kMaxTextBytes);
  }
  CHECK_EQ(Elements(f.t, Kind::kError)[6], static_cast<char>(kMarkCut));
  f.object->Release();
}

void ReportsFailedInnerCalls() {
  Fixture f;
  f.inner.result = kFail;
  f.object->Progress(nullptr, 1, 2);
  CHECK_EQ(Kinds(f.t), std::string("open progress inner"));
  const std::string inner = Elements(f.t, Kind::kInner);
  CHECK_EQ(inner.substr(0, 7), std::string("\x01\x01\xce\x80\x00\x40\x05", 7));
  f.inner.result = kOk;
  f.object->Done(nullptr, kOk);
  CHECK_EQ(Kinds(f.t), std::string("open progress inner done"));
  f.object->Release();
}

void ReportsSlowInnerCalls() {
  Fixture f;
  f.inner.during = [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(101)); };
  f.object->Error(kOk, nullptr);
  CHECK_EQ(Kinds(f.t), std::string("open error inner"));
  const Counters counters = f.callback->session().slot()->counters();
  CHECK(counters.inner_max_us >= kInnerSlowUs && counters.inner_us >= counters.inner_max_us);
  const InnerTime& error = counters.methods[1];
  CHECK(error.us == counters.inner_us && error.max_us == counters.inner_max_us);
  f.object->Release();
}

void TimesInnerCallsByTheQuickClock() {
  Fixture f;
  const std::uint64_t known_us = NowUs() + 200000;
  while (NowUs() < known_us) {
    f.t.ring.SetCachedNowUs(NowUs());
    f.t.ring.clock().Observe(NowUs());
  }
  f.inner.during = [](void*) { std::this_thread::sleep_for(std::chrono::milliseconds(5)); };
  const std::uint64_t before_us = NowUs();
  for (int i = 0; i < 4; i++) f.object->Progress(u"x", 1, 2);
  const std::uint64_t passed_us = NowUs() - before_us;
  const Counters counters = f.callback->session().slot()->counters();
  CHECK(counters.inner_us + 100 >= 20000 && counters.inner_us <= passed_us + 100);
  CHECK(counters.inner_max_us + 100 >= 5000 && counters.inner_max_us <= passed_us);
  f.object->Release();
}

void RecordsCarryTimeAndThread() {
  Fixture f;
  f.inner.result = kFail;
  const std::uint64_t cached_us = f.t.ring.CachedNowUs();
  const std::uint64_t before_us = NowUs();
  f.object->Progress(u"x", 1, 2);
  f.object->Error(kFail, u"x");
  f.object->Done(nullptr, kOk);
  const std::uint64_t after_us = NowUs();
  for (const Kind kind : {Kind::kProgress, Kind::kError, Kind::kDone, Kind::kInner}) {
    const std::string body = BodyOf(f.t, kind);
    const std::uint64_t time_us = HeaderNumber(body, 12, 8);
    CHECK(kind == Kind::kProgress ? time_us == cached_us
                                  : time_us >= before_us && time_us <= after_us);
    CHECK_EQ(HeaderNumber(body, 21, 4), std::uint64_t{ThreadId()});
  }
  f.object->Release();
}

void TakesNoTimeWhereTheClockStepsBack() {
  if (Ticks() == 0) return;
  Fixture f;
  f.inner.context = &f;
  f.inner.during = [](void* context) {
    Ring& ring = static_cast<Fixture*>(context)->t.ring;
    ring.clock().Compare(Ticks(), ring.CachedNowUs() + 100000);
  };
  // A clock that goes 300 ms before the one that is told there.
  Ring& ring = f.t.ring;
  const std::uint64_t now_us = NowUs();
  const std::uint64_t ticks = Ticks();
  ring.SetCachedNowUs(now_us);
  ring.clock().Compare(ticks - 1000000000, now_us - 500000);
  ring.clock().Compare(ticks, now_us + 400000);
  CHECK(ring.NowUs() >= now_us + 400000);
  f.object->Progress(u"x", 1, 2);
  CHECK(ring.NowUs() < now_us + 400000);
  CHECK_EQ(f.callback->session().slot()->counters().inner_us, std::uint64_t{0});
  CHECK_EQ(Kinds(f.t), std::string("open progress"));
  f.object->Release();
}

void RecordsBeforeItCalls() {
  Fixture f;
  // What the ring holds at the time that Outlook is called: the call itself, and who is inside.
  struct Seen {
    Fixture* f;
    std::string kinds;
    InsideCall inside;
    int count;
  } seen = {&f, "", {}, 0};
  f.inner.context = &seen;
  f.inner.during = [](void* context) {
    Seen* const at = static_cast<Seen*>(context);
    at->kinds = Kinds(at->f->t);
    for (std::uint32_t i = 0; i < kMaxCallsInside; i++) {
      if (at->f->t.ring.inside(i).Read(&at->inside)) at->count++;
    }
  };
  f.object->Error(kFail, nullptr);
  CHECK_EQ(seen.kinds, std::string("open error"));
  CHECK_EQ(seen.count, 1);
  CHECK_EQ(seen.inside.method, Method::kError);
  CHECK_EQ(seen.inside.thread, ThreadId());
  CHECK_EQ(seen.inside.session, std::uint64_t{1});
  CHECK_EQ(seen.inside.call, std::uint64_t{1});
  InsideCall none;
  for (std::uint32_t i = 0; i < kMaxCallsInside; i++) CHECK(!f.t.ring.inside(i).Read(&none));
  f.object->Release();
}

void SaysWhenABlockedCallComesOut() {
  Fixture f;
  f.inner.context = &f;
  f.inner.during = [](void* context) {
    Fixture* const at = static_cast<Fixture*>(context);
    // The worker, long after.
    CHECK_EQ(at->t.ring.RecordBlocked(NowUs() + std::uint64_t{kBlockedAfterMs} * 1000), 1u);
  };
  f.object->Progress(u"x", 1, 2);
  CHECK_EQ(Kinds(f.t), std::string("open progress blocked unblocked"));
  f.object->Release();
}

void SurvivesReleaseInsideACall() {
  static const char* const kRecords[] = {"open progress inner close", "open error inner close",
                                         "open done inner close"};
  for (int method = 0; method < 3; method++) {
    Fixture f;
    f.inner.context = &f;
    f.inner.during = [](void* context) { static_cast<Fixture*>(context)->object->Release(); };
    f.inner.result = kFail;
    const Hresult result = method == 0   ? f.object->Progress(u"x", 1, 2)
                           : method == 1 ? f.object->Error(kFail, u"x")
                                         : f.object->Done(nullptr, kOk);
    CHECK_EQ(result, kFail);
    CHECK_EQ(Kinds(f.t), std::string(kRecords[method]));
    CHECK_EQ(f.inner.refs.load(), 0u);
    CHECK_EQ(f.t.ring.session(0).state(), SessionSlot::kFree);
  }
}

void SurvivesReleaseBesideCalls() {
  for (int round = 0; round < 200; round++) {
    Fixture f;
    std::vector<std::thread> threads;
    for (int id = 0; id < 3; id++) {
      f.object->AddRef();
      threads.emplace_back([&f] {
        ProgressCallback* const mine = f.object;
        for (std::uint32_t i = 0; i < 20; i++) mine->Progress(u"x", i, 20);
        mine->Release();
      });
    }
    f.object->Release();
    for (std::thread& thread : threads) thread.join();
    const std::string kinds = Kinds(f.t);
    CHECK(kinds.size() > 5 && kinds.substr(kinds.size() - 5) == "close");
    CHECK_EQ(static_cast<int>(Elements(f.t, Kind::kClose)[0]), 60);
    CHECK_EQ(f.inner.refs.load(), 0u);
    if (check::failures > 0) return;
  }
}

// Threads that call on a pointer of which somebody else has the reference.
void ClosesBehindTheLastCallInside() {
  constexpr int kCalls = 3;
  struct Gate {
    std::atomic<int> inside{0};
    std::atomic<int> out{0};
  } gate;
  Fixture f;
  f.inner.context = &gate;
  f.inner.during = [](void* context) {
    Gate* const at = static_cast<Gate*>(context);
    const int mine = ++at->inside;
    while (at->out.load() < mine) std::this_thread::yield();
  };
  std::vector<std::thread> threads;
  for (int id = 0; id < kCalls; id++) {
    threads.emplace_back([&f] { f.object->Progress(u"x", 1, 2); });
    while (gate.inside.load() <= id) std::this_thread::yield();
  }
  f.object->Release();
  for (int id = 0; id < kCalls; id++) {
    CHECK_EQ(Kinds(f.t), std::string("open progress progress progress"));
    CHECK_EQ(f.inner.refs.load(), 1u);
    gate.out++;
    threads[static_cast<std::size_t>(id)].join();
  }
  CHECK_EQ(Kinds(f.t), std::string("open progress progress progress close"));
  CHECK_EQ(static_cast<int>(Elements(f.t, Kind::kClose)[0]), kCalls);
  CHECK_EQ(f.inner.refs.load(), 0u);
}

void SurvivesAReferenceTakenInsideACall() {
  Fixture f;
  f.inner.context = &f;
  f.inner.during = [](void* context) {
    ProgressCallback* const object = static_cast<Fixture*>(context)->object;
    object->Release();
    object->AddRef();
  };
  f.object->Progress(u"x", 1, 2);
  CHECK_EQ(Kinds(f.t), std::string("open progress"));
  f.inner.during = nullptr;
  f.object->Release();
  CHECK_EQ(Kinds(f.t), std::string("open progress close"));
}

void IsAHuskAfterItsLastRelease() {
  Fixture f;
  f.inner.result = kFail;
  f.object->Release();
  CHECK_EQ(f.inner.refs.load(), 0u);
  CHECK_EQ(f.object->Error(kFail, u"late"), kOk);
  CHECK_EQ(f.object->Progress(u"late", 1, 2), kOk);
  CHECK_EQ(f.object->Done(&f, kOk), kOk);
  f.object->AddRef();
  CHECK_EQ(f.object->Release(), 0u);
  CHECK_EQ(f.inner.last, std::string());
  CHECK_EQ(f.inner.refs.load(), 0u);
  CHECK_EQ(Kinds(f.t), std::string("open close note"));
  CHECK_EQ(Elements(f.t, Kind::kNote),
           "\xb2"
           "used_after_release\xa5"
           "Error");
  // So many later ones make room for the next; the sanitizers see to the rest.
  for (std::uint32_t i = 1; i < Callback::kMaxHusks; i++) Callback::Create({})->Release();
  CHECK_EQ(f.object->Done(nullptr, kOk), kOk);
}

// As in a call that is made from inside another object's, and in threads without one.
void HoldsReferencesWithoutAHazard() {
  int outer;
  Hazard* const hazard = Hazard::Enter(ThreadId(), &outer);
  CHECK_EQ(hazard != nullptr, CanBarrierAllThreads());
  SurvivesReleaseInsideACall();
  SurvivesAReferenceTakenInsideACall();
  IsAHuskAfterItsLastRelease();
  if (hazard != nullptr) hazard->Leave();
}

void ComparesHandles() {
  int events[2];
  void* sync_event = nullptr;
  const struct {
    bool has_event;
    void* event;
    void* handle;
    HandleMatch match;
  } rows[] = {
      {false, nullptr, nullptr, HandleMatch::kNull},
      {false, nullptr, &events[0], HandleMatch::kNothingToCompare},
      {true, nullptr, nullptr, HandleMatch::kNull},
      {true, nullptr, &events[0], HandleMatch::kNothingToCompare},
      {true, &events[0], &events[0], HandleMatch::kEqual},
      {true, &events[0], &events[1], HandleMatch::kDiffers},
      {true, &events[0], nullptr, HandleMatch::kNull},
  };
  for (const auto& row : rows) {
    Fixture f(true, row.has_event ? &sync_event : nullptr);
    // Set by the provider after it got the callback.
    sync_event = row.event;
    f.object->Done(row.handle, kOk);
    CHECK_EQ(Elements(f.t, Kind::kDone)[2], static_cast<char>(row.match));
    CHECK(f.inner.last_event == row.handle);
    f.object->Release();
  }
}

void ClosesAHandleOnlyIfAsked() {
#ifdef _WIN32
  for (const bool tee : {true, false}) {
    for (const bool close : {true, false}) {
      if (tee && close) continue;  // mapisync_tee() cannot ask for that.
      Fixture f(tee, nullptr, close);
      HANDLE event = CreateEventW(nullptr, TRUE, FALSE, nullptr);
      HANDLE second = CreateEventW(nullptr, TRUE, FALSE, nullptr);
      DWORD flags;
      f.object->Done(event, kOk);
      CHECK_EQ(GetHandleInformation(event, &flags) != 0, !close);
      f.object->Done(second, kOk);
      CHECK(GetHandleInformation(second, &flags) != 0);
      f.object->Release();
      CHECK(CloseHandle(second) != 0);
      if (!close) CHECK(CloseHandle(event) != 0);
    }
  }
#else
  // Nothing can be closed here, and a value that is no handle must do no harm.
  Fixture f(false, nullptr, true);
  CHECK_EQ(f.object->Done(reinterpret_cast<void*>(0x1234), kFail), kOk);
  CHECK_EQ(f.object->Done(reinterpret_cast<void*>(0x1234), kFail), kOk);
  CHECK_EQ(Kinds(f.t), std::string("open done done"));
  f.object->Release();
#endif
}

void ASinkAlwaysSaysOk() {
  Fixture f(false);
  CHECK_EQ(f.object->Progress(u"x", 1, 2), kOk);
  CHECK_EQ(f.object->Error(kFail, u"x"), kOk);
  CHECK_EQ(f.object->Done(nullptr, kFail), kOk);
  CHECK_EQ(Kinds(f.t), std::string("open progress error done"));
  f.object->Release();
}

void AFullRingChangesNothing() {
  Fixture f(true, nullptr, false, 4096);
  f.inner.result = kFail;
  while (Append(f.t.ring, 200) != 0) {
  }
  while (Append(f.t.ring, 30) != 0) {
  }
  CHECK_EQ(f.object->Progress(u"merged", 7, 9), kFail);
  CHECK_EQ(f.object->Progress(std::u16string(900, u'm').c_str(), 8, 9), kFail);
  CHECK_EQ(f.object->Error(kOk, u"lost"), kFail);
  CHECK_EQ(f.object->Done(nullptr, kOk), kFail);
  const LostCounts lost = f.t.ring.lost();
  CHECK_EQ(lost.progress, std::uint64_t{0});
  CHECK_EQ(lost.errors, std::uint64_t{1});
  CHECK_EQ(lost.dones, std::uint64_t{1});
  CHECK_EQ(lost.others, std::uint64_t{4});  // Four `inner`s.
  const Counters counters = f.callback->session().slot()->counters();
  CHECK_EQ(counters.progress, std::uint64_t{2});
  CHECK_EQ(counters.merged, std::uint64_t{2});
  CHECK_EQ(counters.lost, std::uint64_t{6});
  NewestCall newest;
  f.callback->session().slot()->ReadNewest(&newest);
  CHECK_EQ(newest.call.call, std::uint64_t{2});
  CHECK_EQ(newest.call.index, 8u);
  CHECK_EQ(newest.call.text.size_bytes, kMaxSlotTextBytes);
  f.object->Release();
  CHECK_EQ(f.t.ring.session(0).state(), SessionSlot::kClosing);
}

void WhatIsMergedIsKeptAsTheNewest() {
  Fixture f(false, nullptr, false, 4096);
  while (Append(f.t.ring, 30) != 0) {
  }
  f.t.ring.SetCachedNowUs(7000000);
  const SessionSlot& slot = *f.callback->session().slot();
  NewestCall newest;
  for (std::uint32_t n = 0; n < 1200; n++) {
    const std::uint32_t length = n / 2;
    const bool with_lone = n % 2 == 1 && length > 8;
    std::string wanted;
    f.object->Progress(TextOf(length, with_lone, &wanted).c_str(), n, 70000);
    slot.ReadNewest(&newest);
    CHECK_EQ(newest.call.call, std::uint64_t{n} + 1);
    CHECK_EQ(newest.call.time_us, std::uint64_t{7000000});
    CHECK_EQ(newest.call.index, n);
    CHECK_EQ(newest.call.max, 70000u);
    CHECK_EQ(newest.call.marks, with_lone ? kMarkReplaced : 0u);
    const auto bytes = static_cast<std::uint32_t>(wanted.size());
    const Text cut = CutUtf8({wanted.data(), bytes}, kMaxSlotTextBytes);
    CHECK_EQ(std::string(newest.call.text.data, newest.call.text.size_bytes),
             std::string(cut.data, cut.size_bytes));
    if (check::failures > 0) break;
  }
  f.object->Progress(nullptr, 1, 2);
  slot.ReadNewest(&newest);
  CHECK_EQ(newest.call.index, 1u);
  CHECK(newest.call.text.data == nullptr);
  f.object->Release();
}

// Threads that take each other's places lose no call, and record none twice.
void SeveralThreadsRecordEachCallOnce() {
  constexpr std::uint32_t kThreads = 4;
  constexpr std::uint32_t kCalls = 5000;
  Fixture f(false, nullptr, false, kThreads * kCalls * 64);
  std::atomic<std::uint32_t> ready{0};
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < kThreads; id++) {
    threads.emplace_back([&f, &ready, id] {
      ready++;
      while (ready < kThreads) {
      }
      for (std::uint32_t i = 0; i < kCalls; i++) f.object->Progress(u"x", i, id);
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<std::uint32_t> next(kThreads);
  std::vector<bool> seen(kThreads * kCalls + 1);
  RingScan scan(f.t.memory.get(), f.t.size_bytes, true);
  ScannedRecord record;
  CHECK(scan.Next(&record));  // `open`
  while (scan.Next(&record)) {
    std::uint64_t session;
    ProgressCall call;
    CHECK(!record.is_hole && DecodeProgress(record.body, record.size_bytes, &session, &call));
    const auto number = static_cast<std::size_t>(call.call);
    CHECK(number < seen.size() && !seen[number]);
    CHECK(call.max < kThreads && call.index == next[call.max]);
    if (check::failures > 0) return;
    seen[number] = true;
    next[call.max]++;
  }
  for (const std::uint32_t calls : next) CHECK_EQ(calls, kCalls);
  f.object->Release();
}

void AboveTheWatermarkProgressIsMerged() {
  Fixture f(false, nullptr, false, 4096);
  while (Append(f.t.ring, 200, Room::kProgress) != 0) {
  }
  while (Append(f.t.ring, 30, Room::kProgress) != 0) {
  }
  const std::uint64_t before = f.t.ring.recorded();
  f.object->Progress(u"merged", 7, 9);
  CHECK_EQ(f.t.ring.recorded(), before);
  f.object->Error(kFail, u"not merged");
  CHECK_EQ(f.t.ring.recorded(), before + 1);
  f.object->Release();
  CHECK_EQ(f.t.ring.recorded(), before + 3);  // `merged` and `close`.
}

void WithoutASlotNothingIsRecorded() {
  TestRing t(65536);
  for (std::uint32_t i = 0; i < kMaxSessionsPerRing; i++) t.ring.ClaimSession();
  Inner inner;
  Callback::Settings settings;
  settings.inner = &inner;
  Callback* const callback = Callback::Create(settings);
  const Open open = {Attach::kTee, false, 0, {}, {}, 0, true};
  CHECK(!callback->Record(&t.ring, nullptr, open));
  CHECK_EQ(t.ring.lost().opens, std::uint64_t{1});
  // Still whole as an object.
  inner.result = kFail;
  CHECK_EQ(callback->Progress(u"x", 1, 2), kFail);
  CHECK_EQ(Kinds(t), std::string());
  CHECK_EQ(callback->Release(), 0u);
  CHECK_EQ(inner.refs.load(), 0u);
}

void FindsItsObjects() {
  Fixture f;
  Callback* const second = Callback::Create({});
  CHECK(second->Record(&f.t.ring, nullptr, {Attach::kSink, false, 0, {}, {}, 0, false}));
  int other = 0;
  CHECK(Callback::Find(f.object) == f.callback);
  CHECK(Callback::Find(static_cast<ProgressCallback*>(second)) == second);
  CHECK(Callback::Find(&other) == nullptr);
  CHECK(Callback::Find(nullptr) == nullptr);
  void* const gone = f.object;
  f.object->Release();
  CHECK(Callback::Find(gone) == nullptr);
  second->Release();
}

}  // namespace
}  // namespace mapisync

int main() {
  return check::Run({
      {"QueryInterface() answers two interfaces and notes one other",
       mapisync::AnswersTwoInterfaces},
      {"calls are passed on, and results come back, bit for bit", mapisync::PassesCallsOn},
      {"each call is a record", mapisync::RecordsCalls},
      {"texts of every length are encoded alike", mapisync::EncodesEveryLengthAlike},
      {"numbers of every size are encoded alike", mapisync::EncodesEveryNumberAlike},
      {"long texts are cut and marked", mapisync::CutsLongTexts},
      {"an inner call that fails is reported", mapisync::ReportsFailedInnerCalls},
      {"an inner call that is slow is reported", mapisync::ReportsSlowInnerCalls},
      {"times inner calls by the quick clock", mapisync::TimesInnerCallsByTheQuickClock},
      {"records carry time and thread", mapisync::RecordsCarryTimeAndThread},
      {"takes no time where the clock steps back", mapisync::TakesNoTimeWhereTheClockStepsBack},
      {"a call is recorded before the inner one", mapisync::RecordsBeforeItCalls},
      {"a blocked call says when it comes out", mapisync::SaysWhenABlockedCallComesOut},
      {"Release() inside a call is survived", mapisync::SurvivesReleaseInsideACall},
      {"Release() beside calls closes once, with exact counts",
       mapisync::SurvivesReleaseBesideCalls},
      {"the last Release() with calls inside closes behind the last of them",
       mapisync::ClosesBehindTheLastCallInside},
      {"a reference taken inside a call, after the last was given back, keeps it",
       mapisync::SurvivesAReferenceTakenInsideACall},
      {"after its last Release() it is a husk", mapisync::IsAHuskAfterItsLastRelease},
      {"Done compares its handle", mapisync::ComparesHandles},
      {"Done closes its handle only for a sink that was asked to",
       mapisync::ClosesAHandleOnlyIfAsked},
      {"a sink always returns S_OK", mapisync::ASinkAlwaysSaysOk},
      {"a full ring changes no result, and all is counted", mapisync::AFullRingChangesNothing},
      {"above the watermark Progress is merged", mapisync::AboveTheWatermarkProgressIsMerged},
      {"what is merged is kept as the newest", mapisync::WhatIsMergedIsKeptAsTheNewest},
      {"several threads record each call once", mapisync::SeveralThreadsRecordEachCallOnce},
      {"without a slot nothing is recorded", mapisync::WithoutASlotNothingIsRecorded},
      {"Find() knows only live objects", mapisync::FindsItsObjects},
      {"without a hazard a call holds a reference", mapisync::HoldsReferencesWithoutAHazard},
  });
}
