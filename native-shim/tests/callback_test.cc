// Drives tee and sink through their vtables: what they answer, pass on and close, and when.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "callback_fixture.h"
#include "hazards.h"
#include "platform.h"
#include "processor.h"

#ifdef _WIN32
#include <windows.h>
#endif

namespace mapisync {
namespace {

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
      {"an inner call that fails is reported", mapisync::ReportsFailedInnerCalls},
      {"an inner call that is slow is reported", mapisync::ReportsSlowInnerCalls},
      {"times inner calls by the quick clock", mapisync::TimesInnerCallsByTheQuickClock},
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
      {"without a slot nothing is recorded", mapisync::WithoutASlotNothingIsRecorded},
      {"Find() knows only live objects", mapisync::FindsItsObjects},
      {"without a hazard a call holds a reference", mapisync::HoldsReferencesWithoutAHazard},
  });
}
