// Drives the wrap through its vtable, between a host and a provider of the test's, with the real
// recorder behind it and no daemon.
#include "wrap.h"

#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "recorder.h"
#include "scratch_dir.h"

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if !defined(__has_feature)
#define FAILS_MALLOC 1
#elif !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define FAILS_MALLOC 1
#endif
#endif
#if defined(FAILS_MALLOC)
namespace {
thread_local int mallocs_left = -1;  // Before one fails; -1: none does.
}
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* malloc(std::size_t size) {
  if (mallocs_left == 0) return nullptr;
  if (mallocs_left > 0) mallocs_left--;
  return __libc_malloc(size);
}
#endif

namespace mapisync {
namespace {

constexpr Hresult kFail = static_cast<Hresult>(0x80004005);
constexpr std::uint32_t kFlags = 0x200000c3;

// What the ring holds since it was made.
class Records {
 public:
  Records() : from_(Recorder::Current()->ring().tail()) {}

  // Kinds of the records of sessions, in order. Waits until there are as many as that: where a
  // session's slot is busy, the worker records its `close`.
  std::string Kinds(std::size_t wanted) {
    for (int ms = 0; ms < 2000; ms++) {
      Read();
      if (bodies_.size() >= wanted) break;
      SleepMs(1);
    }
    std::string kinds;
    for (const std::string& body : bodies_) {
      static const std::map<unsigned, const char*> kNames = {
          {3, "open"},    {4, "progress"},  {5, "error"},     {6, "done"},  {7, "inner"},
          {8, "blocked"}, {9, "unblocked"}, {10, "returned"}, {11, "note"}, {12, "close"}};
      const auto name = kNames.find(KindOfBody(body));
      kinds += (kinds.empty() ? "" : " ") + std::string(name == kNames.end() ? "?" : name->second);
    }
    return kinds;
  }

  // The elements behind the header of the n-th record of a kind.
  std::string Elements(Kind kind, int n = 0) {
    Read();
    for (const std::string& body : bodies_) {
      if (KindOfBody(body) != static_cast<unsigned>(kind) || n-- > 0) continue;
      const std::size_t at = SessionAt(body);
      const auto session = static_cast<unsigned char>(body[at]);
      const std::size_t bytes = session < 0x80 ? 1 : session == 0xcc ? 2 : session == 0xcd ? 3 : 5;
      return body.substr(at + bytes);
    }
    return "none";
  }

 private:
  static unsigned KindOfBody(const std::string& body) {
    return KindOf(reinterpret_cast<const unsigned char*>(body.data()), body.size());
  }
  // Behind kind, seq, time and thread. An array of more than 15 elements has a longer marker.
  static std::size_t SessionAt(const std::string& body) { return body[0] == '\xdc' ? 27 : 25; }
  void Read() {
    bodies_.clear();
    Ring& ring = Recorder::Current()->ring();
    for (Place at = from_;;) {
      const Ring::Record record = ring.Peek(&at);
      if (record.state != Ring::Record::State::kCommitted) return;
      const std::string body(reinterpret_cast<const char*>(record.body), record.size_bytes);
      // Not `clock`, nor what else belongs to no session.
      if (body[SessionAt(body)] != 0) bodies_.push_back(body);
      at = ring.Next(at, record);
    }
  }

  Place from_;
  std::vector<std::string> bodies_;
};

// Outlook's callback: writes down every call, with its thread.
class Inner final : public ProgressCallback {
 public:
  explicit Inner(bool willing = true) : willing_(willing) {}
  Hresult MAPISYNC_CALL QueryInterface(const Guid& iid, void** object) noexcept override {
    const bool known = iid == kIidUnknown || (willing_ && iid == kIidProgressCallback);
    *object = known ? this : nullptr;
    if (known) refs++;
    return known ? kOk : kNoInterface;
  }
  std::uint32_t MAPISYNC_CALL AddRef() noexcept override { return ++refs; }
  std::uint32_t MAPISYNC_CALL Release() noexcept override { return --refs; }
  Hresult MAPISYNC_CALL Progress(const char16_t* text, std::uint32_t index,
                                 std::uint32_t max) noexcept override {
    return Write("progress", text, index, max);
  }
  Hresult MAPISYNC_CALL Error(Hresult error, const char16_t* text) noexcept override {
    return Write("error", text, static_cast<std::uint32_t>(error), 0);
  }
  Hresult MAPISYNC_CALL Done(void* event, Hresult done) noexcept override {
    return Write("done", static_cast<const char16_t*>(event), static_cast<std::uint32_t>(done), 0);
  }

  std::atomic<std::uint32_t> refs{1};
  std::mutex mutex;  // Guards calls.
  std::function<void()> during;
  std::map<std::thread::id, std::string> calls;

 private:
  Hresult Write(const char* method, const void* pointer, std::uint32_t a, std::uint32_t b) {
    char line[96];
    std::snprintf(line, sizeof line, "%s %p %u %u\n", method, pointer, a, b);
    const std::lock_guard<std::mutex> guard(mutex);
    calls[std::this_thread::get_id()] += line;
    if (during) during();
    // A result of its own for each call, so that mixed up ones are seen.
    return static_cast<Hresult>(a * 31 + b);
  }
  const bool willing_;
};

// The provider's IMAPISync, which does in each call what the test wants.
class Provider final : public Sync {
 public:
  Hresult MAPISYNC_CALL QueryInterface(const Guid& iid, void** object) noexcept override {
    if (object == nullptr) return kInvalidArgument;
    asked++;
    *object = iid == kIidUnknown ? this : nullptr;
    if (*object == nullptr) return kNoInterface;
    refs++;
    return kOk;
  }
  std::uint32_t MAPISYNC_CALL AddRef() noexcept override { return ++refs; }
  std::uint32_t MAPISYNC_CALL Release() noexcept override { return --refs; }
  Hresult MAPISYNC_CALL SynchronizeInBackground(mapisync_mapisib* sib) noexcept override {
    seen = sib;
    return run ? run(sib) : kOk;
  }

  std::atomic<std::uint32_t> refs{1};
  int asked = 0;
  std::atomic<mapisync_mapisib*> seen{nullptr};
  std::function<Hresult(mapisync_mapisib*)> run;
};

ProgressCallback* CallbackIn(const mapisync_mapisib* sib) {
  void* object = nullptr;
  CHECK_EQ(static_cast<Unknown*>(sib->punkCallBack)->QueryInterface(kIidProgressCallback, &object),
           kOk);
  return static_cast<ProgressCallback*>(object);
}

// A host with a wrapped provider.
struct Fixture {
  Fixture() {
    mapisync_options options = {};
    options.size = sizeof options;
    options.flags = MAPISYNC_FORCE;
    options.provider = u"Contoso";
    options.store = u"Größe";
    sync = static_cast<Sync*>(mapisync_wrap(static_cast<Sync*>(&provider), &options));
    CHECK(sync != &provider);
    sib.ulSize = sizeof sib;
    sib.ulFlags = kFlags;
    sib.psesSync = this;
    sib.punkCallBack = &inner;
    sib.phSyncDoneEvent = &event;
  }
  ~Fixture() {
    if (sync != nullptr) CHECK_EQ(sync->Release(), 0u);
    CHECK_EQ(provider.refs.load(), 1u);
    CHECK_EQ(inner.refs.load(), 1u);
  }

  Provider provider;
  Inner inner;
  Sync* sync = nullptr;
  void* event = nullptr;
  mapisync_mapisib sib = {};
};

// The callback as a provider uses it that takes no reference.
ProgressCallback* Borrow(mapisync_mapisib* sib) {
  return static_cast<ProgressCallback*>(sib->punkCallBack);
}
void Done(mapisync_mapisib* sib) { Borrow(sib)->Done(nullptr, kOk); }

void KeepsTheProvidersIdentity() {
  Fixture f;
  CHECK_EQ(f.provider.refs.load(), 2u);
  void* object = nullptr;
  CHECK_EQ(f.sync->QueryInterface(kIidSync, &object), kOk);
  CHECK(object == f.sync);
  CHECK_EQ(f.provider.asked, 0);
  CHECK_EQ(f.sync->Release(), 1u);
  CHECK_EQ(f.sync->QueryInterface(kIidUnknown, &object), kOk);
  CHECK(object == &f.provider);
  f.provider.Release();
  CHECK_EQ(f.sync->QueryInterface(kIidProgressCallback, &object), kNoInterface);
  CHECK(object == nullptr);
  CHECK_EQ(f.provider.asked, 2);
  CHECK_EQ(f.sync->QueryInterface(kIidSync, nullptr), kInvalidArgument);
  CHECK_EQ(f.sync->QueryInterface(kIidUnknown, nullptr), kInvalidArgument);
}

void ReturnsWhatTheProviderReturns() {
  for (const Hresult result : {kOk, Hresult{1}, kFail, static_cast<Hresult>(0x80000000), -1}) {
    Fixture f;
    Records records;
    f.provider.run = [&](mapisync_mapisib*) { return result; };
    CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), result);
    // One that has not failed may go on.
    if (result >= 0) Done(f.provider.seen);
    CHECK_EQ(records.Kinds(3),
             std::string(result >= 0 ? "open returned note done close" : "open returned close"));
  }
}

void TeesTheCallback() {
  Fixture f;
  Records records;
  const mapisync_mapisib before = f.sib;
  f.provider.run = [&](mapisync_mapisib* sib) {
    CHECK(sib != &f.sib && sib->punkCallBack != &f.inner);
    CHECK(sib->ulSize == sizeof f.sib && sib->ulFlags == kFlags);
    CHECK(sib->psesSync == &f && sib->phSyncDoneEvent == &f.event);
    *sib->phSyncDoneEvent = &f.sib;
    char id[MAPISYNC_SESSION_ID_CHARS];
    CHECK_EQ(mapisync_session_id(sib->punkCallBack, id), 1);
    ProgressCallback* const callback = CallbackIn(sib);
    CHECK_EQ(callback->Progress(u"Inbox", 0, 0), kOk);
    CHECK_EQ(callback->Done(sib, kOk), kOk);
    callback->Release();
    return kOk;
  };
  CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kOk);
  CHECK(std::memcmp(&before, &f.sib, sizeof before) == 0);
  CHECK(f.event == &f.sib);
  CHECK_EQ(records.Kinds(5), std::string("open progress done returned close"));
  CHECK_EQ(records.Elements(Kind::kOpen).substr(0, 22), "\x02\xce" +
                                                            std::string("\x20\x00\x00\xc3", 4) +
                                                            "\xa7"
                                                            "Contoso\xa7"
                                                            "Gr\xc3\xb6\xc3\x9f"
                                                            "e");
  // Before the provider returned there is nothing that is sure to be readable.
  CHECK_EQ(records.Elements(Kind::kDone), std::string("\x01\x00\x01", 3));
  const std::string returned = records.Elements(Kind::kReturned);
  CHECK_EQ(returned[0], '\0');
  CHECK_EQ(returned.back(), '\1');
}

// The usual way: the provider goes on by itself, and reads its MAPISIB until it lets go.
void LivesOnWithTheProvidersThread() {
  for (const bool equal : {true, false}) {
    Fixture f;
    Records records;
    std::atomic<bool> returned{false};
    std::thread thread;
    f.provider.run = [&](mapisync_mapisib* sib) {
      *sib->phSyncDoneEvent = &f;
      ProgressCallback* const callback = CallbackIn(sib);
      thread = std::thread([&, callback, sib] {
        while (!returned) std::this_thread::yield();
        callback->Progress(nullptr, 1, 1);
        CHECK_EQ(sib->ulFlags, kFlags);
        callback->Done(equal ? static_cast<void*>(&f) : sib, kOk);
        CHECK(sib->psesSync == &f);
        callback->Release();
      });
      return kOk;
    };
    CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kOk);
    f.event = nullptr;  // Outlook's variable is Outlook's: not read any more.
    returned = true;
    thread.join();
    CHECK_EQ(records.Kinds(6), std::string("open returned progress inner done close"));
    CHECK_EQ(records.Elements(Kind::kDone)[2], equal ? '\2' : '\3');
  }
}

// Without us such a provider works for as long as Outlook holds a reference.
void LendsTheCallback() {
  for (const bool asks : {false, true}) {
    Fixture f;
    Records records;
    f.provider.run = [&](mapisync_mapisib* sib) {
      if (asks) CallbackIn(sib)->Release();
      return kOk;
    };
    CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kOk);
    CHECK_EQ(f.inner.refs.load(), 2u);
    ProgressCallback* const callback = Borrow(f.provider.seen);
    std::thread([&] {
      CHECK_EQ(callback->Progress(u"x", 1, 2), 31 + 2);
      CHECK_EQ(callback->Error(3, nullptr), 3 * 31);
      CHECK_EQ(f.provider.seen.load()->ulFlags, kFlags);
      CHECK_EQ(callback->Done(nullptr, 4), 4 * 31);
      // Outlook has let go of it, so that nobody may hand this on.
      CHECK_EQ(callback->Done(nullptr, 5), kOk);
    }).join();
    CHECK_EQ(f.inner.refs.load(), 1u);
    CHECK_EQ(f.inner.calls.size(), std::size_t{1});
    CHECK_EQ(records.Kinds(10), std::string("open returned note progress inner error inner done "
                                            "inner close note"));
    CHECK_EQ(records.Elements(Kind::kNote).substr(0, 9),
             "\xa8"
             "borrowed");
    CHECK_EQ(records.Elements(Kind::kNote, 1).substr(0, 19),
             "\xb2"
             "used_after_release");
  }
}

// Calls that run while the provider returns hold references too; those are not the provider's.
void LendsItToACallThatIsUnderWay() {
  Fixture f;
  std::atomic<bool> inside{false};
  std::atomic<bool> returned{false};
  f.inner.during = [&] {
    inside = true;
    while (!returned) std::this_thread::yield();
  };
  std::thread thread;
  f.provider.run = [&](mapisync_mapisib* sib) {
    ProgressCallback* const callback = Borrow(sib);
    thread = std::thread([callback] {
      callback->Progress(nullptr, 1, 2);
      CHECK_EQ(callback->Progress(nullptr, 3, 4), 3 * 31 + 4);
      callback->Done(nullptr, kOk);
    });
    while (!inside) std::this_thread::yield();
    return kOk;
  };
  CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kOk);
  returned = true;
  thread.join();
}

// Whichever comes first, the reference is given back once; the fixture and the sanitizers look.
void LetsGoOnceWhenDoneComesWithTheReturn() {
  for (int round = 0; round < 100; round++) {
    Fixture f;
    Records records;
    std::atomic<bool> go{false};
    std::thread thread;
    f.provider.run = [&](mapisync_mapisib* sib) {
      ProgressCallback* const callback = Borrow(sib);
      thread = std::thread([&go, callback] {
        while (!go) std::this_thread::yield();
        callback->Done(nullptr, kOk);
      });
      go = true;
      for (int i = 0; i < round % 50; i++) std::this_thread::yield();
      return kOk;
    };
    f.sync->SynchronizeInBackground(&f.sib);
    thread.join();
    CHECK_EQ(f.inner.refs.load(), 1u);
    if (check::failures > 0) return;
  }
}

void LendsSoManyAndNotMore() {
  constexpr std::size_t kMany = Callback::kMaxBorrowed + 1;
  std::vector<std::unique_ptr<Fixture>> all;
  for (std::size_t i = 0; i < kMany; i++) {
    all.push_back(std::make_unique<Fixture>());
    CHECK_EQ(all[i]->sync->SynchronizeInBackground(&all[i]->sib), kOk);
  }
  for (std::size_t i = 0; i < kMany; i++) {
    CHECK_EQ(all[i]->inner.refs.load(), i == 0 ? 1u : 2u);
    Done(all[i]->provider.seen);
    CHECK_EQ(all[i]->inner.calls.size(), std::size_t{i == 0 ? 0u : 1u});
  }
}

void DoneMayComeFirst() {
  Fixture f;
  Records records;
  f.provider.run = [&](mapisync_mapisib* sib) {
    ProgressCallback* const callback = CallbackIn(sib);
    std::thread([callback] {
      callback->Done(nullptr, kOk);
      callback->Release();
    }).join();
    return kOk;
  };
  CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kOk);
  CHECK_EQ(records.Kinds(4), std::string("open done returned close"));
}

void LetsTheHostReleaseInside() {
  Fixture f;
  Records records;
  f.provider.run = [&](mapisync_mapisib*) {
    f.sync->Release();
    f.sync = nullptr;
    return kFail;
  };
  CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kFail);
  CHECK_EQ(records.Kinds(3), std::string("open returned close"));
}

void PassesOnWhatItCannotTee() {
  Inner unwilling(false);
  struct Newer {
    mapisync_mapisib known;
    unsigned char more[300];
  };
  const std::uint32_t whole = sizeof(mapisync_mapisib);
  const auto no_event = static_cast<std::uint32_t>(offsetof(mapisync_mapisib, phSyncDoneEvent));
  const auto no_session = static_cast<std::uint32_t>(offsetof(mapisync_mapisib, psesSync));
  struct Row {
    const char* name;
    std::uint32_t size;
    enum { kOwn, kNone, kUnwilling } callback;
    bool teed;
    const char* kinds;
  };
  const Row rows[] = {
      {"a NULL callback", whole, Row::kNone, false, "open returned close"},
      {"a callback that refuses", whole, Row::kUnwilling, false, "open returned close"},
      {"size 0", 0, Row::kOwn, false, "open note returned close"},
      {"flags only just not", no_session - 1, Row::kOwn, false, "open note returned close"},
      {"flags only", no_session, Row::kOwn, false, "open note returned close"},
      {"all but the callback", no_event - 1, Row::kOwn, false, "open note returned close"},
      {"no event", no_event, Row::kOwn, true, "open done returned close"},
      {"a newer one", whole + 40, Row::kOwn, true, "open done returned close"},
      {"the largest", Wrap::kMaxSibBytes, Row::kOwn, true, "open done returned close"},
      {"one byte more", Wrap::kMaxSibBytes + 1, Row::kOwn, false, "open note returned close"},
      {"nonsense", 0xffffffff, Row::kOwn, false, "open note returned close"},
  };
  for (const auto& row : rows) {
    Fixture f;
    Records records;
    Newer newer;
    std::memset(&newer, 0x5a, sizeof newer);
    newer.known = f.sib;
    newer.known.ulSize = row.size;
    if (row.callback != Row::kOwn) {
      newer.known.punkCallBack = row.callback == Row::kNone ? nullptr : &unwilling;
    }
    const Newer before = newer;
    f.provider.run = [&](mapisync_mapisib* sib) {
      CHECK_EQ(sib != &newer.known, row.teed);
      if (!row.teed) return kOk;
      CHECK(sib->punkCallBack != before.known.punkCallBack);
      Done(sib);
      sib->punkCallBack = before.known.punkCallBack;
      CHECK(std::memcmp(sib, &before, row.size) == 0);
      return kOk;
    };
    CHECK_EQ(f.sync->SynchronizeInBackground(&newer.known), kOk);
    CHECK(std::memcmp(&newer, &before, sizeof newer) == 0);
    CHECK_EQ(records.Kinds(row.teed ? 4 : 3), std::string(row.kinds));
    const std::string open = records.Elements(Kind::kOpen);
    CHECK_EQ(open[1] == '\xc0', row.size < no_session);
    CHECK_EQ(open.back(), row.teed ? '\1' : '\0');
    if (!row.teed && row.callback == Row::kOwn) {
      CHECK_EQ(records.Elements(Kind::kNote),
               "\xacmapisib_size" +
                   std::string(1, static_cast<char>(0xa0 + std::to_string(row.size).size())) +
                   std::to_string(row.size));
    }
    if (check::failures > 0) {
      std::printf("with %s\n", row.name);
      return;
    }
  }
  CHECK_EQ(unwilling.refs.load(), 1u);
  Fixture f;
  Records records;
  f.provider.run = [](mapisync_mapisib* sib) { return sib == nullptr ? kInvalidArgument : kOk; };
  CHECK_EQ(f.sync->SynchronizeInBackground(nullptr), kInvalidArgument);
  CHECK_EQ(records.Kinds(0), std::string());
}

void RunsNestedAndAtOnce() {
  Fixture f;
  Records nested;
  int depth = 0;
  f.provider.run = [&](mapisync_mapisib* sib) {
    const Hresult result = ++depth < 3 ? f.sync->SynchronizeInBackground(&f.sib) + 1 : Hresult{0};
    Done(sib);
    return result;
  };
  CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), 2);
  CHECK_EQ(nested.Kinds(12), std::string("open open open done returned close done returned close "
                                         "done returned close"));
  Records beside;
  f.provider.run = [](mapisync_mapisib* sib) {
    ProgressCallback* const callback = CallbackIn(sib);
    for (std::uint32_t i = 0; i < 20; i++) callback->Progress(u"x", 0, 0);
    callback->Done(nullptr, kOk);
    callback->Release();
    return kOk;
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; i++) {
    threads.emplace_back([&] { CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kOk); });
  }
  for (std::thread& thread : threads) thread.join();
  const std::string kinds = beside.Kinds(4 * 24);
  const auto count = [&](const std::string& kind) {
    int n = 0;
    for (std::size_t at = 0; (at = kinds.find(kind, at)) != kinds.npos; at++) n++;
    return n;
  };
  CHECK_EQ(count("open"), 4);
  CHECK_EQ(count("progress"), 80);
  CHECK_EQ(count("done"), 4);
  CHECK_EQ(count("returned"), 4);
  CHECK_EQ(count("close"), 4);
}

#if defined(FAILS_MALLOC)
void WithoutMemoryItIsNotThere() {
  for (int left = 0; left < 3; left++) {
    Fixture f;
    bool teed = false;
    f.provider.run = [&](mapisync_mapisib* sib) {
      teed = sib != &f.sib;
      return Hresult{7};
    };
    mallocs_left = left;
    auto* const sync = static_cast<Sync*>(mapisync_wrap(static_cast<Sync*>(&f.provider), nullptr));
    const Hresult result = sync->SynchronizeInBackground(&f.sib);
    mallocs_left = -1;
    if (teed) Done(f.provider.seen);
    CHECK_EQ(result, 7);
    CHECK_EQ(sync == &f.provider, left == 0);
    CHECK_EQ(teed, left == 2);
    sync->Release();
  }
}
#endif

void WithoutASlotItPassesOn() {
  Fixture f;
  std::vector<ProgressCallback*> sinks;
  while (Recorder::Current()->ring().lost().opens == 0) {
    sinks.push_back(static_cast<ProgressCallback*>(mapisync_sink(nullptr)));
  }
  CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kOk);
  CHECK(f.provider.seen == &f.sib);
  for (ProgressCallback* sink : sinks) sink->Release();
  CHECK_EQ(f.sync->SynchronizeInBackground(&f.sib), kOk);
  CHECK(f.provider.seen != &f.sib);
  Done(f.provider.seen);
}

// Random calls of several threads, few enough for all to fit into the ring, each with a seed of its
// own, and what came back.
std::string CallAtRandom(ProgressCallback* callback, unsigned seed) {
  static const std::u16string kLong(5000, u'l');
  const char16_t* const texts[] = {nullptr,        u"",          u"Inbox", u"Größe \U0001F600",
                                   u"\xd83d lone", kLong.c_str()};
  std::mt19937 random(seed);
  std::string results;
  for (int i = 0; i < 100; i++) {
    const char16_t* const text = texts[random() % 6];
    const auto a = static_cast<std::uint32_t>(random());
    const auto b = static_cast<std::uint32_t>(random());
    void* const handle = reinterpret_cast<void*>(static_cast<std::uintptr_t>(random() % 4));
    Hresult result = 0;
    switch (random() % 8) {
      case 0:
        result = callback->Error(static_cast<Hresult>(a), text);
        break;
      case 1:
        result = callback->Done(handle, static_cast<Hresult>(a));
        break;
      case 2:
        callback->AddRef();
        callback->Release();
        break;
      default:
        result = callback->Progress(text, random() % 2 ? a : a % 10, random() % 2 ? b : b % 10);
    }
    results += std::to_string(result) + " ";
  }
  return results;
}

enum class Way { kPlain, kTee, kWrap };

// What Outlook and what the provider saw, thread by thread.
std::string Play(Way way, unsigned seed) {
  constexpr unsigned kThreads = 3;
  Inner inner;
  Provider provider;
  std::string results[kThreads];
  std::thread::id ids[kThreads];
  provider.run = [&](mapisync_mapisib* sib) {
    ProgressCallback* const callback = CallbackIn(sib);
    ProgressCallback* const called =
        way == Way::kTee ? static_cast<ProgressCallback*>(mapisync_tee(callback, nullptr))
                         : callback;
    CHECK_EQ(called == &inner, way == Way::kPlain);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; i++) {
      called->AddRef();
      threads.emplace_back([&, called, i] {
        ids[i] = std::this_thread::get_id();
        results[i] = CallAtRandom(called, seed * kThreads + i);
        called->Release();
      });
    }
    if (called != callback) called->Release();
    callback->Release();
    for (std::thread& thread : threads) thread.join();
    return Hresult{3};
  };
  mapisync_mapisib sib = {sizeof sib, kFlags, nullptr, &inner, nullptr};
  Sync* sync = &provider;
  if (way == Way::kWrap) sync = static_cast<Sync*>(mapisync_wrap(sync, nullptr));
  CHECK_EQ(sync->SynchronizeInBackground(&sib), 3);
  if (sync != &provider) CHECK_EQ(sync->Release(), 0u);
  CHECK_EQ(inner.refs.load(), 1u);
  CHECK_EQ(provider.refs.load(), 1u);
  CHECK_EQ(inner.calls.size(), std::size_t{kThreads});
  std::string all;
  for (unsigned i = 0; i < kThreads; i++) all += inner.calls[ids[i]] + results[i] + "\n";
  return all;
}

void OutlookSeesTheSame() {
  for (unsigned seed = 1; seed <= 4; seed++) {
    const std::string plain = Play(Way::kPlain, seed);
    CHECK(plain.size() > 5000);
    CHECK(Play(Way::kTee, seed) == plain);
    CHECK(Play(Way::kWrap, seed) == plain);
    if (check::failures == 0) continue;
    std::printf("seed %u\n", seed);
    return;
  }
}

}  // namespace
}  // namespace mapisync

int main() {
  const ScratchDir scratch;
#ifdef _WIN32
  _putenv_s("MAPISYNC_STATE_DIR", (scratch.path() + "/state").c_str());
#else
  setenv("MAPISYNC_STATE_DIR", (scratch.path() + "/state").c_str(), 1);
#endif
  if (mapisync::Recorder::Start(true) == nullptr) return 1;
  return check::Run({
    {"identity stays the provider's", mapisync::KeepsTheProvidersIdentity},
        {"results come back bit for bit", mapisync::ReturnsWhatTheProviderReturns},
        {"the callback in a copy of MAPISIB is a tee", mapisync::TeesTheCallback},
        {"tee and copy live on with the provider's thread",
         mapisync::LivesOnWithTheProvidersThread},
        {"a provider may go on without a reference", mapisync::LendsTheCallback},
        {"a call under way is no reference of the provider's",
         mapisync::LendsItToACallThatIsUnderWay},
        {"Done beside the return lets go once", mapisync::LetsGoOnceWhenDoneComesWithTheReturn},
        {"the oldest of too many is let go", mapisync::LendsSoManyAndNotMore},
        {"Done may come before the provider returns", mapisync::DoneMayComeFirst},
        {"Release() inside the call is survived", mapisync::LetsTheHostReleaseInside},
        {"what cannot be teed is passed on", mapisync::PassesOnWhatItCannotTee},
        {"nested runs, and runs at once, are sessions of their own", mapisync::RunsNestedAndAtOnce},
#if defined(FAILS_MALLOC)
        {"without memory it is not there", mapisync::WithoutMemoryItIsNotThere},
#endif
        {"Outlook sees the same calls with tee and wrap as without", mapisync::OutlookSeesTheSame},
        {"without a slot it passes on", mapisync::WithoutASlotItPassesOn},
  });
}
