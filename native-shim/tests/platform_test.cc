// The system's edge, for real: state directory, endpoint file, ring files, clocks, forks, and the
// recorder on top of them.
#include "platform.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "check.h"
#include "mapisync.h"
#include "recorder.h"
#include "ring.h"
#include "scratch_dir.h"
#include "small_daemon.h"

#ifndef _WIN32
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#endif

namespace fs = std::filesystem;
using mapisync::Path;
using mapisync::Recorder;
using mapisync::RingFile;
using mapisync::StateDir;

namespace {

constexpr char kName[] = "00112233445566778899aabbccddeeff";
constexpr std::size_t kBytes = mapisync::kRingDataOffset + 4096;

void SetEnvironment(const char* name, const std::string& value) {
#ifdef _WIN32
  SetEnvironmentVariableA(name, value.empty() ? nullptr : value.c_str());
#else
  if (value.empty()) {
    unsetenv(name);
  } else {
    setenv(name, value.c_str(), 1);
  }
#endif
}

void WriteFile(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

unsigned CountFiles(const fs::path& dir) {
  unsigned count = 0;
  for (const auto& entry : fs::directory_iterator(dir)) {
    (void)entry;
    count++;
  }
  return count;
}

void TellsTimeAndThreads() {
  const std::uint64_t before = mapisync::NowUs();
  mapisync::SleepMs(20);
  const std::uint64_t passed = mapisync::NowUs() - before;
  CHECK(passed >= 19000 && passed < 5000000);
  CHECK(mapisync::WallUs() > 1700000000000000);
  CHECK(mapisync::WallUs() < 4000000000000000);
  std::uint32_t other = 0;
  std::thread([&] {
    other = mapisync::ThreadId();
    CHECK(!mapisync::IsThreadDead(other));
  }).join();
  CHECK(other != 0 && other != mapisync::ThreadId());
  CHECK(!mapisync::IsThreadDead(mapisync::ThreadId()));
  CHECK(mapisync::IsThreadDead(other));
  char name[255];
  mapisync::ExecutableName(name, sizeof name);
  CHECK(std::strstr(name, "platform_test") == name);
  char cut[5];
  mapisync::ExecutableName(cut, sizeof cut);
  CHECK_EQ(std::string(cut), "plat");
}

void WaitsForEventOrTime() {
  mapisync::Event event;
  CHECK(event.Init());
  event.Set();
  event.Set();
  event.Wait(mapisync::Event::kForever);  // Set before the wait: not lost.
  const std::uint64_t before = mapisync::NowUs();
  for (int i = 0; i < 20; i++) event.Wait(1);
  CHECK(mapisync::NowUs() - before >= 15000);
  std::thread setter([&] { event.Set(); });
  event.Wait(mapisync::Event::kForever);
  setter.join();
}

void WaitsForAPipeToTakeMore() {
  ScratchDir scratch;
  const std::string name = TestPipe::NameFor(scratch.path(), 7);
  TestPipe daemon;
  daemon.Listen(name);
  mapisync::Pipe pipe;
  CHECK(pipe.Connect(name.c_str()) == mapisync::Pipe::State::kReady);
  while (!daemon.Accept()) mapisync::SleepMs(1);
  CHECK_EQ(pipe.unsent(), mapisync::kNoHandle);
  mapisync::Pipe::State state = mapisync::Pipe::State::kReady;
  while (state == mapisync::Pipe::State::kReady) state = pipe.Send(mapisync::Pipe::kOutBytes);
  CHECK(state == mapisync::Pipe::State::kPending);

  // Nobody reads: time alone ends the wait.
  mapisync::Event event;
  CHECK(event.Init());
  std::uint64_t before = mapisync::NowUs();
  event.Wait(50, pipe.unsent());
  CHECK(mapisync::NowUs() - before >= 40000);
  CHECK(pipe.Continue() == mapisync::Pipe::State::kPending);

  // Somebody reads: no wait takes its time, and all of it gets through.
  std::vector<char> bytes(2 * mapisync::Pipe::kOutBytes);
  std::thread reader([&] {
    mapisync::SleepMs(20);
    for (int idle = 0; idle < 200; mapisync::SleepMs(1)) {
      const int got = daemon.Read(bytes.data(), bytes.size());
      idle = got > 0 ? 0 : idle + 1;
    }
  });
  before = mapisync::NowUs();
  while (state == mapisync::Pipe::State::kPending) {
    event.Wait(10000, pipe.unsent());
    state = pipe.Continue();
  }
  CHECK(state == mapisync::Pipe::State::kReady);
  CHECK(mapisync::NowUs() - before < 5000000);
  CHECK_EQ(pipe.unsent(), mapisync::kNoHandle);
  reader.join();
  pipe.Close();
  daemon.HangUp();
  daemon.StopListening();
}

void JudgesTheStateDirectory() {
  ScratchDir scratch;
  const fs::path root = scratch.path();
  Path found;
  const auto find = [&](const fs::path& path, bool make) {
    SetEnvironment("MAPISYNC_STATE_DIR", path.string());
    return mapisync::FindStateDir(make, &found);
  };
  CHECK(find(root / "none", false) == StateDir::kMissing);
  CHECK(!fs::exists(root / "none"));
  CHECK(find(root / "a" / "b" / "made", true) == StateDir::kUsable);
  CHECK(fs::is_directory(root / "a" / "b" / "made" / "rings"));
  CHECK(find(root / "a" / "b" / "made", false) == StateDir::kUsable);
  WriteFile(root / "file", "x");
  CHECK(find(root / "file", true) == StateDir::kRefused);
  CHECK(find(root / std::string(2000, 'l'), true) == StateDir::kRefused);
#ifndef _WIN32
  CHECK((fs::status(root / "a" / "b" / "made").permissions() & fs::perms::mask) ==
        fs::perms::owner_all);
  fs::create_directory_symlink(root / "a" / "b" / "made", root / "link");
  CHECK(find(root / "link", true) == StateDir::kRefused);
  for (const fs::perms open :
       {fs::perms::group_read, fs::perms::group_write, fs::perms::others_exec}) {
    fs::permissions(root / "a" / "b" / "made", fs::perms::owner_all | open);
    CHECK(find(root / "a" / "b" / "made", false) == StateDir::kRefused);
  }
  fs::permissions(root / "a" / "b" / "made", fs::perms::owner_all);
  fs::permissions(root / "a" / "b" / "made" / "rings", fs::perms::all);
  CHECK(find(root / "a" / "b" / "made", false) == StateDir::kRefused);
  // A relative one stays where it was meant when the host changes its directory.
  const fs::path before = fs::current_path();
  fs::current_path(root);
  CHECK(find("relative", true) == StateDir::kUsable);
  fs::current_path(before);
  CHECK(found.text[0] == '/' && fs::exists(found.text));
  // The system's place.
  SetEnvironment("MAPISYNC_STATE_DIR", "");
  SetEnvironment("XDG_STATE_HOME", (root / "xdg").string());
  CHECK(mapisync::FindStateDir(true, &found) == StateDir::kUsable);
  CHECK(fs::is_directory(root / "xdg" / "mapisync" / "rings"));
  SetEnvironment("XDG_STATE_HOME", "not/absolute");
  SetEnvironment("HOME", root.string());
  CHECK(mapisync::FindStateDir(true, &found) == StateDir::kUsable);
  CHECK(fs::is_directory(root / ".local" / "state" / "mapisync" / "rings"));
#else
  SetEnvironment("MAPISYNC_STATE_DIR", "");
  SetEnvironment("LOCALAPPDATA", root.string());
  CHECK(mapisync::FindStateDir(true, &found) == StateDir::kUsable);
  CHECK(fs::is_directory(root / "mapisync" / "rings"));
#endif
}

void ReadsOnlyAPrivateEndpointFile() {
  ScratchDir scratch;
  const Path dir = scratch.AsPath();
  const fs::path file = fs::path(scratch.path()) / "endpoint";
  char text[16];
  CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{0});
  WritePrivateFile(scratch.path(), "endpoint", "hello");
  CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{5});
  CHECK_EQ(std::string(text, 5), "hello");
  WritePrivateFile(scratch.path(), "endpoint", std::string(16, 'x'));
  CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{16});
  WritePrivateFile(scratch.path(), "endpoint", std::string(17, 'x'));
  CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{0});
  fs::remove(file);
  fs::create_directory(file);
  CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{0});
  fs::remove(file);
#ifndef _WIN32
  WritePrivateFile(scratch.path(), "endpoint", "hello");
  const auto owner = fs::perms::owner_read | fs::perms::owner_write;
  for (const fs::perms open : {fs::perms::group_read, fs::perms::others_read}) {
    fs::permissions(file, owner | open);
    CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{0});
  }
  fs::permissions(file, owner);
  fs::rename(file, fs::path(scratch.path()) / "real");
  fs::create_symlink("real", file);
  CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{0});
  fs::remove(file);
  CHECK_EQ(mkfifo(file.c_str(), 0600), 0);
  CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{0});
  fs::remove(file);
  if (geteuid() == 0) {
    WritePrivateFile(scratch.path(), "endpoint", "hello");
    CHECK_EQ(chown(file.c_str(), 65534, 65534), 0);
    CHECK_EQ(mapisync::ReadEndpointFile(dir, text, sizeof text), std::size_t{0});
  } else {
    std::printf("skipped: an endpoint file of another user, which takes root to make\n");
  }
#endif
}

// A ring with some frames in it, published.
RingFile MakeRing(const ScratchDir& scratch, const char* name, unsigned frames = 0) {
  RingFile file;
  const Path dir = scratch.AsPath();
  fs::create_directory(fs::path(scratch.path()) / "rings");
  CHECK(mapisync::CreateRingFile(dir, name, kBytes, &file));
  if (file.memory == nullptr) return file;
  mapisync::Ring ring;
  mapisync::RingIdentity identity = {};
  identity.executable = "x";
  identity.version = "1";
  ring.Format(file.memory, kBytes, identity);
  unsigned char body[64];
  for (unsigned i = 0; i < frames; i++) {
    const std::size_t size = mapisync::EncodeClock({0, 1, 1, 0}, 1, {body, 56});
    CHECK(ring.Append(body, size, mapisync::Room::kMust) != 0);
  }
  ring.Publish();
  CHECK(mapisync::PublishRingFile(dir, name, &file));
  return file;
}

void MakesARingFile() {
  ScratchDir scratch;
  RingFile file = MakeRing(scratch, kName, 3);
  const fs::path path = fs::path(scratch.path()) / "rings" / (std::string(kName) + ".ring");
  CHECK(fs::exists(path));
  CHECK_EQ(fs::file_size(path), std::uintmax_t{kBytes});
  CHECK_EQ(CountFiles(fs::path(scratch.path()) / "rings"), 1u);
  CHECK_EQ(std::string(static_cast<char*>(file.memory), 8), "MAPIRING");
#ifndef _WIN32
  CHECK((fs::status(path).permissions() & fs::perms::mask) ==
        (fs::perms::owner_read | fs::perms::owner_write));
#endif
  RingFile again;
  CHECK(!mapisync::CreateRingFile(scratch.AsPath(), "no/such/place", kBytes, &again));
  CHECK(again.memory == nullptr);
  mapisync::DiscardRingFile(&file);
  CHECK(!fs::exists(path));
  RingFile plain;
  CHECK(mapisync::AllocateRing(kBytes, &plain));
  CHECK(!plain.in_file);
  static_cast<char*>(plain.memory)[kBytes - 1] = 1;
}

#ifndef _WIN32

bool IsLocked(const fs::path& path) {
  // Asked by a child: a lock is never in its own process's way.
  const pid_t child = fork();
  if (child == 0) {
    const int fd = open(path.c_str(), O_RDWR);
    struct flock lock = {};
    lock.l_type = F_WRLCK;
    _exit(fcntl(fd, F_SETLK, &lock) == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status) == 1;
}

// Runs in a child until it is killed; returns once it is ready.
template <typename Work>
pid_t StartChild(Work work) {
  int ready[2];
  CHECK_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    work();
    if (write(ready[1], "x", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char byte;
  CHECK_EQ(read(ready[0], &byte, 1), ssize_t{1});
  close(ready[0]);
  close(ready[1]);
  return child;
}

void Kill(pid_t child) {
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

void LocksTheRingUntilItsProcessDies() {
  ScratchDir scratch;
  const fs::path path = fs::path(scratch.path()) / "rings" / (std::string(kName) + ".ring");
  const pid_t child = StartChild([&] { MakeRing(scratch, kName, 5); });
  CHECK(IsLocked(path));
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 0), std::uint64_t{0});
  CHECK(fs::exists(path));
  Kill(child);
  CHECK(!IsLocked(path));
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 0), std::uint64_t{5});
  CHECK(!fs::exists(path));
}

void LeavesRingsOfItsOwnProcessAlone() {
  ScratchDir scratch;
  const fs::path path = fs::path(scratch.path()) / "rings" / (std::string(kName) + ".ring");
  RingFile file = MakeRing(scratch, kName, 5);
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 0), std::uint64_t{0});
  CHECK(fs::exists(path));
  // Nor was the lock dropped by a look at the file.
  CHECK(IsLocked(path));
  mapisync::DiscardRingFile(&file);
}

std::string NameOf(unsigned number) {
  char name[40];
  std::snprintf(name, sizeof name, "%032x", number);
  return name;
}

void KeepsSoManyDeadRings() {
  ScratchDir scratch;
  const fs::path rings = fs::path(scratch.path()) / "rings";
  for (unsigned i = 0; i < 10; i++) {
    Kill(StartChild([&] { MakeRing(scratch, NameOf(i).c_str(), i + 1); }));
    fs::last_write_time(rings / (NameOf(i) + ".ring"),
                        fs::file_time_type::clock::now() - std::chrono::hours(100 - i));
  }
  WriteFile(rings / "readme.txt", "not ours");
  WriteFile(rings / (NameOf(90) + ".tmp"), "just being made");
  WriteFile(rings / (NameOf(91) + ".tmp"), "left behind");
  fs::last_write_time(rings / (NameOf(91) + ".tmp"),
                      fs::file_time_type::clock::now() - std::chrono::hours(1));
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 10), std::uint64_t{0});
  CHECK_EQ(CountFiles(rings), 12u);
  // The three oldest, with 1, 2 and 3 frames.
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 7), std::uint64_t{6});
  CHECK_EQ(CountFiles(rings), 9u);
  CHECK(!fs::exists(rings / (NameOf(2) + ".ring")));
  CHECK(fs::exists(rings / (NameOf(3) + ".ring")));
}

void CountsNothingInABrokenRing() {
  ScratchDir scratch;
  const fs::path rings = fs::path(scratch.path()) / "rings";
  fs::create_directory(rings);
  WriteFile(rings / (NameOf(1) + ".ring"), "");
  WriteFile(rings / (NameOf(2) + ".ring"), "MAPIRING");
  WriteFile(rings / (NameOf(3) + ".ring"), "MAPIRING" + std::string(4096, '\xff'));
  std::string huge = "MAPIRING" + std::string(4096, '\0');
  huge.replace(512, 8, std::string(8, '\x7f'));
  WriteFile(rings / (NameOf(4) + ".ring"), huge);
  fs::create_symlink("/etc/passwd", rings / (NameOf(5) + ".ring"));
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 0), std::uint64_t{0});
  CHECK_EQ(CountFiles(rings), 1u);  // The link, which is not followed.
}

void FallsBackWhereNoFileCanBe() {
  ScratchDir scratch;
  RingFile file;
  // `rings` is missing.
  CHECK(!mapisync::CreateRingFile(scratch.AsPath(), kName, kBytes, &file));
  CHECK(file.memory == nullptr && file.file == -1);
  fs::create_directory(fs::path(scratch.path()) / "rings");
  // A file size limit stands for a full disk.
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit = {65536, 65536};
    setrlimit(RLIMIT_FSIZE, &limit);
    const bool made = mapisync::CreateRingFile(scratch.AsPath(), kName, kBytes, &file);
    _exit(made || CountFiles(fs::path(scratch.path()) / "rings") != 0 ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK_EQ(status, 0);
}

#else

// This program once more, which makes a ring in `root` and holds it until it is ended.
HANDLE StartHolder(const std::string& root) {
  char self[MAX_PATH];
  GetModuleFileNameA(nullptr, self, MAX_PATH);
  std::string line = std::string("\"") + self + "\" --hold \"" + root + "\"";
  STARTUPINFOA startup = {};
  startup.cb = sizeof startup;
  PROCESS_INFORMATION started = {};
  CHECK(CreateProcessA(nullptr, line.data(), nullptr, nullptr, FALSE, 0, nullptr, nullptr, &startup,
                       &started));
  CloseHandle(started.hThread);
  return started.hProcess;
}

int Hold(const char* root) {
  Path dir = {};
  const fs::path::string_type native = fs::path(root).native();
  native.copy(dir.text, Path::kMaxChars - 1);
  RingFile file;
  fs::create_directory(fs::path(root) / "rings");
  if (!mapisync::CreateRingFile(dir, kName, kBytes, &file)) return 1;
  mapisync::Ring ring;
  mapisync::RingIdentity identity = {};
  identity.executable = "x";
  identity.version = "1";
  ring.Format(file.memory, kBytes, identity);
  unsigned char body[64];
  for (int i = 0; i < 5; i++) {
    const std::size_t size = mapisync::EncodeClock({0, 1, 1, 0}, 1, {body, 56});
    ring.Append(body, size, mapisync::Room::kMust);
  }
  ring.Publish();
  if (!mapisync::PublishRingFile(dir, kName, &file)) return 1;
  std::ofstream(fs::path(root) / "ready").put('x');
  Sleep(INFINITE);
  return 0;
}

void LocksTheRingUntilItsProcessDies() {
  ScratchDir scratch;
  const fs::path root = scratch.path();
  const fs::path path = root / "rings" / (std::string(kName) + ".ring");
  const HANDLE child = StartHolder(scratch.path());
  for (int i = 0; i < 2000 && !fs::exists(root / "ready"); i++) mapisync::SleepMs(10);
  // As the daemon asks.
  const auto opens = [&] {
    const HANDLE file = CreateFileW(path.c_str(), GENERIC_READ | GENERIC_WRITE, 0, nullptr,
                                    OPEN_EXISTING, 0, nullptr);
    if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
    return file != INVALID_HANDLE_VALUE;
  };
  CHECK(!opens());
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 0), std::uint64_t{0});
  CHECK(fs::exists(path));
  TerminateProcess(child, 9);
  WaitForSingleObject(child, INFINITE);
  CloseHandle(child);
  CHECK(opens());
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 1), std::uint64_t{0});
  CHECK(fs::exists(path));
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 0), std::uint64_t{5});
  CHECK(!fs::exists(path));
}

void LeavesRingsOfItsOwnProcessAlone() {
  ScratchDir scratch;
  RingFile file = MakeRing(scratch, kName, 5);
  CHECK_EQ(mapisync::DeleteDeadRings(scratch.AsPath(), 0), std::uint64_t{0});
  CHECK(fs::exists(fs::path(scratch.path()) / "rings" / (std::string(kName) + ".ring")));
  mapisync::DiscardRingFile(&file);
}

void RefusesAPipeOfAnotherOwner() {
  // Everyone as the owner stands for another user: this process may set it only where the system
  // does not mind, as Wine does not.
  const char name[] = "\\\\.\\pipe\\mapisync.ffffffffffffffffffffffffffffffff";
  SECURITY_ATTRIBUTES attributes = {sizeof attributes, nullptr, FALSE};
  ConvertStringSecurityDescriptorToSecurityDescriptorA("O:WDG:WDD:(A;;GA;;;WD)", SDDL_REVISION_1,
                                                       &attributes.lpSecurityDescriptor, nullptr);
  const HANDLE server = CreateNamedPipeA(name, PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE | PIPE_NOWAIT, 1,
                                         4096, 4096, 0, &attributes);
  LocalFree(attributes.lpSecurityDescriptor);
  if (server == INVALID_HANDLE_VALUE) {
    std::printf("skipped: a pipe of another owner, which this system lets nobody make\n");
    return;
  }
  static mapisync::Pipe pipe;
  CHECK(pipe.Connect(name) == mapisync::Pipe::State::kBroken);
  CHECK(!pipe.is_open());
  CloseHandle(server);
}

#endif  // _WIN32

mapisync_status Status() {
  mapisync_status status;
  std::memset(&status, 0x55, sizeof status);
  status.size = sizeof status;
  Recorder::GetStatus(&status);
  return status;
}

void CallSink(void* sink, int calls) {
  auto* const callback = static_cast<mapisync::ProgressCallback*>(sink);
  for (int i = 0; i < calls; i++) {
    CHECK_EQ(callback->Progress(u"text", static_cast<std::uint32_t>(i), 100), 0);
  }
}

// The recorder is one for a process, so its whole life is one test, and the last one.
// With nobody to answer, a flush waits as long as it was told and not much longer.
void CheckGivesUp(Recorder& recorder, std::uint32_t timeout_ms) {
  const std::uint64_t before = mapisync::NowUs();
  CHECK(!recorder.Flush(timeout_ms));
  const std::uint64_t passed = mapisync::NowUs() - before;
  CHECK(passed >= std::uint64_t{timeout_ms} * 1000);
  CHECK(passed < 2000000);
}

bool ClockRuns(Recorder& recorder, bool wanted) {
  for (int ms = 0; ms < 10000 && recorder.ring().clock().is_running() != wanted; ms++) {
    mapisync::SleepMs(1);
  }
  return recorder.ring().clock().is_running() == wanted;
}

void RecordsForAProcess() {
  ScratchDir scratch;
  const fs::path root = fs::path(scratch.path()) / "state";
  SetEnvironment("MAPISYNC_STATE_DIR", root.string());
  CHECK(Recorder::Start(false) == nullptr);  // Dormant.
  CHECK(Recorder::Current() == nullptr);
  CHECK_EQ(Status().recording, 0u);
  CHECK_EQ(Status().size, static_cast<std::uint32_t>(sizeof(mapisync_status)));

  // Several threads at the first attach: one recorder.
  std::vector<std::thread> threads;
  Recorder* started[4] = {};
  for (Recorder*& slot : started) threads.emplace_back([&slot] { slot = Recorder::Start(true); });
  for (std::thread& thread : threads) thread.join();
  for (Recorder* recorder : started) CHECK(recorder != nullptr && recorder == started[0]);
  Recorder* const recorder = started[0];
  if (recorder == nullptr) return;
  CHECK(Recorder::Current() == recorder);
  CHECK(recorder->Usable());
  CHECK_EQ(CountFiles(root / "rings"), 1u);

  void* const sink = mapisync_sink(nullptr);
  CallSink(sink, 10);
  CHECK_EQ(Status().recording, 1u);
  CHECK_EQ(Status().in_file, 1u);
  CHECK_EQ(Status().connected, 0u);
  CHECK_EQ(Status().recorded, std::uint64_t{11});
  CHECK(!recorder->Flush(0));
  CheckGivesUp(*recorder, 20);

#ifndef _WIN32
  // A forked child calls on, and nothing of it reaches the ring, the lock or the parent.
  const pid_t child = fork();
  if (child == 0) {
    CallSink(sink, 50);
    static_cast<mapisync::Unknown*>(sink)->Release();
    const bool off = !recorder->Usable() && Recorder::Current() == nullptr &&
                     Recorder::Start(true) == nullptr && !recorder->Flush(10);
    void* const other = mapisync_sink(nullptr);
    CallSink(other, 5);
    _exit(off && check::failures == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK_EQ(status, 0);
  CHECK_EQ(Status().recorded, std::uint64_t{11});
  for (const auto& entry : fs::directory_iterator(root / "rings")) CHECK(IsLocked(entry.path()));
#endif

  // A daemon comes. It has another thread here, so the wait of the flush is a real one.
  SmallDaemon daemon(root.string());
  daemon.Start();
  std::atomic<bool> over{false};
  std::thread pump([&] {
    while (!over.load()) {
      daemon.Pump();
      mapisync::SleepMs(1);
    }
  });
  CHECK(recorder->Flush(20000));
  CHECK_EQ(Status().connected, 1u);
  CHECK_EQ(Status().acknowledged, Status().recorded);
  CHECK(ClockRuns(*recorder, mapisync::HasSteadyTicks()));
  CallSink(sink, 1000);
  static_cast<mapisync::Unknown*>(sink)->Release();
  CHECK(recorder->Flush(20000));
  CHECK_EQ(Status().acknowledged, std::uint64_t{1012});
  CHECK_EQ(Status().merged, std::uint64_t{0});
  CHECK_EQ(Status().lost, std::uint64_t{0});
  // The worker sleeps for good by now; an attach wakes it.
  mapisync::SleepMs(100);
  CHECK(ClockRuns(*recorder, false));
  void* const second = mapisync_sink(nullptr);
  CallSink(second, 1);
  static_cast<mapisync::Unknown*>(second)->Release();
  CHECK(recorder->Flush(20000));
  over.store(true);
  pump.join();
  CHECK_EQ(daemon.durable, std::uint64_t{1015});
  // Connected, and nobody answers: the wait ends all the same.
  CHECK_EQ(Status().connected, 1u);
  void* const unheard = mapisync_sink(nullptr);
  CallSink(unheard, 1);
  CheckGivesUp(*recorder, 50);
  static_cast<mapisync::Unknown*>(unheard)->Release();
  CHECK_EQ(daemon.gaps, 0u);
}

void StaysOff() {
  // In a process of its own, since it is for good there.
#ifndef _WIN32
  ScratchDir scratch;
  for (const bool disabled : {true, false}) {
    const pid_t child = fork();
    if (child == 0) {
      setenv("MAPISYNC_STATE_DIR", scratch.path().c_str(), 1);
      setenv("MAPISYNC_DISABLE", disabled ? "1" : "0", 1);
      const bool on = Recorder::Start(true) != nullptr;
      _exit(on != disabled ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
  }
#else
  CHECK(!mapisync::IsSwitchedOff());
  SetEnvironment("MAPISYNC_DISABLE", "0");
  CHECK(!mapisync::IsSwitchedOff());
  SetEnvironment("MAPISYNC_DISABLE", "1");
  CHECK(mapisync::IsSwitchedOff());
  SetEnvironment("MAPISYNC_DISABLE", "");
  HKEY key = nullptr;
  constexpr wchar_t kPolicy[] = L"Software\\Policies\\mapisync";
  CHECK_EQ(RegCreateKeyW(HKEY_CURRENT_USER, kPolicy, &key), 0);
  for (const DWORD value : {1ul, 0ul}) {
    RegSetValueExW(key, L"Disable", 0, REG_DWORD, reinterpret_cast<const BYTE*>(&value),
                   sizeof value);
    CHECK_EQ(mapisync::IsSwitchedOff(), value != 0);
  }
  RegCloseKey(key);
  RegDeleteKeyW(HKEY_CURRENT_USER, kPolicy);
#endif
}

}  // namespace

int main(int count, char** arguments) {
#ifdef _WIN32
  if (count == 3 && std::strcmp(arguments[1], "--hold") == 0) return Hold(arguments[2]);
#else
  (void)count;
  (void)arguments;
#endif
  SetEnvironment("MAPISYNC_DISABLE", "");
  return check::Run({
      {"The platform tells time and threads", TellsTimeAndThreads},
      {"Event waits for a set or for time", WaitsForEventOrTime},
      {"Event waits for a pipe to take more", WaitsForAPipeToTakeMore},
      {"FindStateDir() judges the state directory", JudgesTheStateDirectory},
      {"ReadEndpointFile() reads only a private file", ReadsOnlyAPrivateEndpointFile},
      {"CreateRingFile() makes a ring file", MakesARingFile},
      {"A ring is locked until its process dies", LocksTheRingUntilItsProcessDies},
      {"DeleteDeadRings() leaves this process's rings alone", LeavesRingsOfItsOwnProcessAlone},
#ifdef _WIN32
      {"Pipe refuses a pipe of another owner", RefusesAPipeOfAnotherOwner},
#else
      {"DeleteDeadRings() keeps so many", KeepsSoManyDeadRings},
      {"DeleteDeadRings() counts nothing in a broken ring", CountsNothingInABrokenRing},
      {"CreateRingFile() leaves nothing where it fails", FallsBackWhereNoFileCanBe},
#endif
      {"Recorder stays off when switched off", StaysOff},
      {"Recorder records for a process", RecordsForAProcess},
  });
}
