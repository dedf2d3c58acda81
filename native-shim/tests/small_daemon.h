// A daemon in a few lines, with faults on order: it listens on a real socket or pipe, shakes hands,
// and notes what it gets. It never waits; the test calls Pump() in turn with the worker.
#ifndef MAPISYNC_TESTS_SMALL_DAEMON_H_
#define MAPISYNC_TESTS_SMALL_DAEMON_H_

#ifdef _WIN32
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
// After it, since it needs its types.
#include <sddl.h>
#else
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#endif

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "bytes.h"
#include "limits.h"
#include "scratch_dir.h"
#include "sha256.h"

struct GotFrame {
  unsigned kind;
  std::uint64_t seq;  // 0 for control kinds.
  std::string body;
};

// A listener and one peer, without waiting.
class TestPipe {
 public:
  static constexpr std::intptr_t kNone = -1;

#ifdef _WIN32
  static std::string NameFor(const std::string&, unsigned number) {
    char name[80];
    std::snprintf(name, sizeof name, "\\\\.\\pipe\\mapisync.%08lx%08x0000000000000000",
                  GetCurrentProcessId(), number);
    return name;
  }
  void Listen(const std::string& name) {
    constexpr DWORD kBufferBytes = 65536;
    SECURITY_ATTRIBUTES attributes = {sizeof attributes, nullptr, FALSE};
    const std::string sddl = "O:" + User() + "G:" + User() + "D:P(A;;GA;;;" + User() + ")";
    ConvertStringSecurityDescriptorToSecurityDescriptorA(sddl.c_str(), SDDL_REVISION_1,
                                                         &attributes.lpSecurityDescriptor, nullptr);
    const HANDLE pipe =
        CreateNamedPipeA(name.c_str(), PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE | PIPE_NOWAIT, 1,
                         kBufferBytes, kBufferBytes, 0, &attributes);
    LocalFree(attributes.lpSecurityDescriptor);
    if (pipe != INVALID_HANDLE_VALUE) listener_ = reinterpret_cast<std::intptr_t>(pipe);
  }
  bool Accept() {
    if (listener_ == kNone) return false;
    if (!ConnectNamedPipe(Handle(), nullptr) && GetLastError() != ERROR_PIPE_CONNECTED) {
      // A peer that came and went leaves the pipe closing.
      if (GetLastError() == ERROR_NO_DATA) DisconnectNamedPipe(Handle());
      return false;
    }
    has_peer_ = true;
    return true;
  }
  int Read(char* out, std::size_t capacity) {
    DWORD got = 0;
    if (ReadFile(Handle(), out, static_cast<DWORD>(capacity), &got, nullptr)) {
      return static_cast<int>(got);
    }
    return GetLastError() == ERROR_NO_DATA ? 0 : -1;
  }
  int Write(const char* bytes, std::size_t size_bytes) {
    DWORD wrote = 0;
    if (!WriteFile(Handle(), bytes, static_cast<DWORD>(size_bytes), &wrote, nullptr)) return -1;
    return static_cast<int>(wrote);
  }
  void HangUp() {
    if (has_peer_) DisconnectNamedPipe(Handle());
    has_peer_ = false;
  }
  void StopListening() {
    if (listener_ != kNone) CloseHandle(Handle());
    listener_ = kNone;
  }
#else
  static std::string NameFor(const std::string& dir, unsigned number) {
    return dir + "/" + std::to_string(number) + ".sock";
  }
  void Listen(const std::string& name) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, name.c_str());
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
        listen(fd, 4) == 0) {
      listener_ = fd;
    }
  }
  bool Accept() {
    const int fd = listener_ == kNone ? -1 : accept(static_cast<int>(listener_), nullptr, nullptr);
    if (fd == -1) return false;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    peer_ = fd;
    has_peer_ = true;
    return true;
  }
  int Read(char* out, std::size_t capacity) {
    const ssize_t got = recv(static_cast<int>(peer_), out, capacity, 0);
    if (got > 0) return static_cast<int>(got);
    return got == -1 && errno == EAGAIN ? 0 : -1;
  }
  int Write(const char* bytes, std::size_t size_bytes) {
    const ssize_t wrote = send(static_cast<int>(peer_), bytes, size_bytes, MSG_NOSIGNAL);
    if (wrote >= 0) return static_cast<int>(wrote);
    return errno == EAGAIN ? 0 : -1;
  }
  void HangUp() {
    if (has_peer_) close(static_cast<int>(peer_));
    has_peer_ = false;
  }
  void StopListening() {
    if (listener_ != kNone) close(static_cast<int>(listener_));
    listener_ = kNone;
  }
#endif
  bool has_peer() const { return has_peer_; }

 private:
#ifdef _WIN32
  static std::string User() {
    HANDLE token = nullptr;
    OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token);
    alignas(TOKEN_USER) unsigned char user[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    DWORD size = 0;
    GetTokenInformation(token, TokenUser, user, sizeof user, &size);
    CloseHandle(token);
    char* text = nullptr;
    ConvertSidToStringSidA(reinterpret_cast<TOKEN_USER*>(user)->User.Sid, &text);
    const std::string sid = text;
    LocalFree(text);
    return sid;
  }
  HANDLE Handle() const { return reinterpret_cast<HANDLE>(listener_); }
#else
  std::intptr_t peer_ = kNone;
#endif
  std::intptr_t listener_ = kNone;
  bool has_peer_ = false;
};

class SmallDaemon {
 public:
  // What to do. All may be changed at any time.
  struct Faults {
    bool wrong_secret = false;
    unsigned status = 0;               // Of the challenge.
    std::string instead_of_challenge;  // These bytes, if not empty.
    bool silent = false;               // Accepts and says nothing.
    bool reads = true;
    bool acks = true;
    bool welcomes = true;
    std::int64_t welcome_lie = 0;  // Added to `durable`.
    std::int64_t ack_lie = 0;
    std::size_t cut_after_bytes = SIZE_MAX;  // Hangs up once it got so many, and never again.
  };
  Faults faults;

  explicit SmallDaemon(const std::string& state_dir) : dir_(state_dir) {}
  ~SmallDaemon() { Stop(); }

  // A new pipe and a new secret, and the endpoint file that says so.
  void Start() {
    pipe_name_ = TestPipe::NameFor(dir_, ++starts_);
    secret_ = std::string(31, 's') + static_cast<char>(starts_);
    pipe_.Listen(pipe_name_);
    WritePrivateFile(dir_, "endpoint",
                     "protocol=1\npipe=" + pipe_name_ + "\npid=1\nstarted=x\nsecret=" +
                         HexOf(secret_.data(), secret_.size()) + "\n");
  }
  // As when it dies. What it made durable is kept.
  void Stop() {
    HangUp();
    pipe_.StopListening();
  }
  void HangUp() { pipe_.HangUp(); }

  void Pump() {
    if (!pipe_.has_peer()) {
      if (!pipe_.Accept()) return;
      connections++;
      bytes_from_peer = 0;
      stage_ = Stage::kGreeting;
      in_.clear();
      out_.clear();
    }
    char bytes[65536];
    while (faults.reads && pipe_.has_peer()) {
      const std::size_t left = faults.cut_after_bytes - bytes_from_peer;
      const int got = pipe_.Read(bytes, left < sizeof bytes ? left : sizeof bytes);
      if (got < 0) HangUp();
      if (got <= 0) break;
      bytes_from_peer += static_cast<std::size_t>(got);
      in_.append(bytes, static_cast<std::size_t>(got));
      Take();
      if (bytes_from_peer == faults.cut_after_bytes) {
        faults.cut_after_bytes = SIZE_MAX;
        HangUp();
      }
    }
    if (pipe_.has_peer() && !out_.empty()) {
      const int wrote = pipe_.Write(out_.data(), out_.size());
      if (wrote > 0) out_.erase(0, static_cast<std::size_t>(wrote));
      if (wrote < 0) HangUp();
    }
  }

  void SendBytes(const std::string& bytes) { out_ += bytes; }
  void SendFrame(const std::string& body) {
    for (int shift = 24; shift >= 0; shift -= 8) out_ += static_cast<char>(body.size() >> shift);
    out_ += body;
  }
  void SendAck(std::uint64_t seq) { SendFrame("\x92\x21" + Uint(seq)); }
  void SendRefused(unsigned reason) {
    SendFrame(std::string("\x93\x22") + static_cast<char>(reason) +
              "\xa3"
              "why");
  }

  bool has_peer() const { return pipe_.has_peer(); }
  bool is_proven() const { return pipe_.has_peer() && stage_ == Stage::kFrames; }

  // Frames of this kind that came, repeats too.
  unsigned Count(mapisync::Kind kind) const {
    unsigned count = 0;
    for (const GotFrame& frame : frames) count += frame.kind == static_cast<unsigned>(kind);
    return count;
  }

  std::vector<GotFrame> frames;  // All that came, repeats too.
  std::uint64_t received = 0;
  std::uint64_t durable = 0;
  unsigned connections = 0;
  unsigned wrong_answers = 0;
  unsigned gaps = 0;
  std::size_t bytes_from_peer = 0;  // On this connection.

 private:
  enum class Stage { kGreeting, kAnswer, kFrames };

  static std::string Uint(std::uint64_t value) {
    std::string bytes = "\xcf";
    for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
    return bytes;
  }

  void Take() {
    if (stage_ == Stage::kGreeting && in_.size() >= 48 && !faults.silent) {
      greeting_ = in_.substr(0, 48);
      in_.erase(0, 48);
      stage_ = Stage::kAnswer;
      challenge_ = std::string("MAPISYNC\x01") + static_cast<char>(faults.status) +
                   std::string("\0\1\0\0\0\0", 6) + std::string(32, 'n');
      if (faults.instead_of_challenge.empty()) {
        out_ += challenge_ + Proof("mapisync/1 daemon\n");
      } else {
        out_ += faults.instead_of_challenge;
      }
    }
    if (stage_ == Stage::kAnswer && in_.size() >= 32) {
      if (in_.substr(0, 32) != Proof("mapisync/1 peer\n")) {
        wrong_answers++;
        HangUp();
        return;
      }
      in_.erase(0, 32);
      stage_ = Stage::kFrames;
    }
    while (stage_ == Stage::kFrames && in_.size() >= 4) {
      std::size_t size = 0;
      for (std::size_t i = 0; i < 4; i++) size = size << 8 | static_cast<unsigned char>(in_[i]);
      if (in_.size() < 4 + size) return;
      const std::string body = in_.substr(4, size);
      in_.erase(0, 4 + size);
      TakeFrame(body);
    }
  }

  void TakeFrame(const std::string& body) {
    // Arrays of more than 15 elements have a longer head.
    const std::size_t at = static_cast<unsigned char>(body[0]) == 0xdc ? 3 : 1;
    GotFrame frame = {static_cast<unsigned char>(body[at]), 0, body};
    const bool control = frame.kind == 1 || frame.kind == 2 || frame.kind == 17;
    for (std::size_t i = 0; !control && i < 8; i++) {
      frame.seq = frame.seq << 8 | static_cast<unsigned char>(body[at + 2 + i]);
    }
    frames.push_back(frame);
    if (frame.kind == 1) {
      received = durable;
      const std::uint64_t told = durable + static_cast<std::uint64_t>(faults.welcome_lie);
      if (faults.welcomes) SendFrame("\x93\x20\x01" + Uint(told));
      return;
    }
    if (control || frame.seq <= received) return;
    if (frame.seq != received + 1) {
      gaps++;
      HangUp();
      return;
    }
    received = frame.seq;
    if (!faults.acks) return;
    durable = received;
    SendAck(durable + static_cast<std::uint64_t>(faults.ack_lie));
  }

  std::string Proof(const char* label) const {
    const std::string secret = faults.wrong_secret ? std::string(32, 'x') : secret_;
    mapisync::HmacSha256 hmac(secret.data(), secret.size());
    for (const std::string& part : {std::string(label), greeting_, challenge_, pipe_name_}) {
      hmac.Update(part.data(), part.size());
    }
    unsigned char out[mapisync::kSha256Bytes];
    hmac.Finish(out);
    return std::string(reinterpret_cast<char*>(out), sizeof out);
  }

  std::string dir_;
  std::string pipe_name_;
  std::string secret_;
  TestPipe pipe_;
  unsigned starts_ = 0;
  Stage stage_ = Stage::kGreeting;
  std::string in_;
  std::string out_;
  std::string greeting_;
  std::string challenge_;
};

#endif  // MAPISYNC_TESTS_SMALL_DAEMON_H_
