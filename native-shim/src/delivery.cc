#include "delivery.h"

#include <cstring>

#include "limits.h"

namespace mapisync {
namespace {

constexpr std::size_t kPrefixBytes = 4;
constexpr std::uint64_t kNever = UINT64_MAX;

std::uint64_t AfterMs(std::uint64_t now_us, std::uint32_t ms) noexcept {
  return now_us + std::uint64_t{ms} * 1000;
}

void PutPrefix(unsigned char* out, std::size_t size_bytes) noexcept {
  for (std::size_t i = 0; i < kPrefixBytes; i++) {
    out[i] = static_cast<unsigned char>(size_bytes >> (8 * (kPrefixBytes - 1 - i)));
  }
}

std::uint32_t GetPrefix(const unsigned char* from) noexcept {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < kPrefixBytes; i++) value = value << 8 | from[i];
  return value;
}

}  // namespace

void Delivery::Begin(Ring* ring, const Path* state_dir, const Hello& hello) noexcept {
  ring_ = ring;
  state_dir_ = state_dir;
  hello_ = hello;
  std::memcpy(&jitter_, hello.ring_id, sizeof jitter_);
}

bool Delivery::Step(std::uint64_t now_us, Place ready) noexcept {
  if (phase_ == Phase::kWaiting || phase_ == Phase::kConnecting) return Attempt(now_us);
  bool moved = Receive(now_us);
  if (!pipe_.is_open()) return true;
  if (phase_ != Phase::kLive && now_us >= deadline_us_) {
    Retry(now_us, 0);
    return true;
  }
  moved |= SendMore(now_us, ready);
  return moved;
}

std::uint64_t Delivery::NextUs() const noexcept {
  if (phase_ == Phase::kLive) return sending_ ? send_deadline_us_ : kNever;
  if (phase_ == Phase::kWaiting && look_us_ < deadline_us_) return look_us_;
  return deadline_us_;
}

// --- Finding the daemon ---

bool Delivery::Attempt(std::uint64_t now_us) noexcept {
  if (phase_ == Phase::kWaiting) {
    const bool due = now_us >= deadline_us_;
    if (!due && now_us < look_us_) return false;
    look_us_ = AfterMs(now_us, kLookMs);
    // Read anew each time: a daemon that was started again has another pipe and another secret, and
    // need not wait until our back-off from the one before is over.
    char text[kMaxEndpointBytes];
    const std::size_t size = ReadEndpointFile(*state_dir_, text, sizeof text);
    Endpoint found;
    const bool usable = size != 0 && ParseEndpoint(text, size, &found);
    const bool is_new =
        usable && (std::memcmp(found.secret, endpoint_.secret, sizeof found.secret) != 0 ||
                   std::strcmp(found.pipe, endpoint_.pipe) != 0);
    if (!due && !is_new) return false;
    if (!usable) {
      Retry(now_us, 0);
      return false;
    }
    endpoint_ = found;
    phase_ = Phase::kConnecting;
    deadline_us_ = AfterMs(now_us, kConnectTimeoutMs);
  }
  return Connect(now_us);
}

bool Delivery::Connect(std::uint64_t now_us) noexcept {
  const Pipe::State state = pipe_.Connect(endpoint_.pipe);
  if (state == Pipe::State::kPending && now_us < deadline_us_) return false;
  unsigned char nonce[Handshake::kNonceBytes];
  if (state != Pipe::State::kReady || !RandomBytes(nonce, sizeof nonce)) {
    Retry(now_us, 0);
    return false;
  }
  phase_ = Phase::kShaking;
  deadline_us_ = AfterMs(now_us, kHandshakeTimeoutMs);
  in_bytes_ = 0;
  skip_bytes_ = 0;
  sending_ = false;
  handshake_.Begin(endpoint_, nonce);
  std::memcpy(pipe_.out(), handshake_.greeting(), Handshake::kGreetingBytes);
  return Send(now_us, Handshake::kGreetingBytes);
}

void Delivery::Retry(std::uint64_t now_us, std::uint32_t at_least_ms) noexcept {
  pipe_.Close();
  connected_.store(false, std::memory_order_relaxed);
  phase_ = Phase::kWaiting;
  sending_ = false;
  std::uint32_t delay_ms = kRetryMaxMs;
  if (failures_ < 7) delay_ms = kRetryMinMs << failures_;
  if (delay_ms > kRetryMaxMs) delay_ms = kRetryMaxMs;
  failures_++;
  if (delay_ms < at_least_ms) delay_ms = at_least_ms;
  // Up to a quarter less, so that the hosts of one daemon do not come all at once.
  jitter_ = jitter_ * 6364136223846793005u + 1442695040888963407u;
  const std::uint64_t delay_us = std::uint64_t{delay_ms} * 1000;
  deadline_us_ = now_us + delay_us - (jitter_ >> 33) % (delay_us / 4);
  look_us_ = AfterMs(now_us, kLookMs);
}

// --- What comes in ---

bool Delivery::Receive(std::uint64_t now_us) noexcept {
  bool moved = false;
  // Bounded by the buffer, not by what the peer likes to send: the clock must be kept fresh.
  constexpr int kMostReads = 16;
  for (int i = 0; i < kMostReads; i++) {
    const int got = pipe_.Receive(in_ + in_bytes_, kInBytes - in_bytes_);
    if (got == 0) break;
    moved = true;
    if (got < 0) {
      Retry(now_us, 0);
      break;
    }
    const auto size_bytes = static_cast<std::size_t>(got);
    if (phase_ == Phase::kShaking) {
      if (!Shake(now_us, in_, size_bytes)) break;
      continue;
    }
    in_bytes_ += size_bytes;
    if (!TakeFrames(now_us)) break;
  }
  return moved;
}

// Returns whether the connection still stands.
bool Delivery::Shake(std::uint64_t now_us, const unsigned char* bytes,
                     std::size_t size_bytes) noexcept {
  const Handshake::Result result = handshake_.Take(bytes, size_bytes);
  if (result == Handshake::Result::kMore) return true;
  if (result == Handshake::Result::kRefused) {
    const bool other_protocol = handshake_.status() == Handshake::kProtocolNotSpoken;
    Retry(now_us, other_protocol ? kRetryMaxMs : 0);
    return false;
  }
  // A challenge that comes before the greeting has left cannot be an answer to it.
  if (result != Handshake::Result::kProven || sending_) {
    Retry(now_us, 0);
    return false;
  }
  unsigned char* const out = pipe_.out();
  std::memcpy(out, handshake_.answer(), Handshake::kAnswerBytes);
  hello_.freed = ring_->freed();
  hello_.time_us = NowUs();
  hello_.wall_us = WallUs();
  constexpr std::size_t kBefore = Handshake::kAnswerBytes + kPrefixBytes;
  const std::size_t size = EncodeHello(hello_, {out + kBefore, Pipe::kOutBytes - kBefore});
  PutPrefix(out + Handshake::kAnswerBytes, size);
  phase_ = Phase::kGreeting;
  deadline_us_ = AfterMs(now_us, kFrameTimeoutMs);
  return Send(now_us, kBefore + size);
}

// Returns whether the connection still stands.
bool Delivery::TakeFrames(std::uint64_t now_us) noexcept {
  std::size_t at = 0;
  for (;;) {
    const std::size_t left = in_bytes_ - at;
    if (skip_bytes_ > 0) {
      const std::size_t skipped = skip_bytes_ < left ? skip_bytes_ : left;
      skip_bytes_ -= skipped;
      at += skipped;
      if (skip_bytes_ > 0) break;
      continue;
    }
    if (left < kPrefixBytes) break;
    const std::uint32_t size = GetPrefix(in_ + at);
    if (size == 0 || size > kMaxFrameBytes) {
      Retry(now_us, 0);
      return false;
    }
    if (size > kInBytes - kPrefixBytes) {
      at += kPrefixBytes;
      skip_bytes_ = size;
      continue;
    }
    if (left - kPrefixBytes < size) break;
    if (!TakeFrame(now_us, DecodeDaemonFrame(in_ + at + kPrefixBytes, size))) return false;
    at += kPrefixBytes + size;
  }
  in_bytes_ -= at;
  std::memmove(in_, in_ + at, in_bytes_);
  return true;
}

// Returns whether the connection still stands.
bool Delivery::TakeFrame(std::uint64_t now_us, const DaemonFrame& frame) noexcept {
  constexpr std::uint32_t kReasonProtocol = 1;
  const bool is_live = phase_ == Phase::kLive;
  switch (frame.type) {
    case DaemonFrame::Type::kUnknown:
      return true;
    case DaemonFrame::Type::kWelcome:
      if (is_live || frame.protocol != kProtocolVersion || !SetDurable(frame.durable)) break;
      phase_ = Phase::kLive;
      sent_ = ring_->head();
      slots_up_to_ = frame.durable;
      next_slot_ = 0;
      connected_.store(true, std::memory_order_relaxed);
      return true;
    case DaemonFrame::Type::kAck:
      if (!is_live || frame.durable >= sent_.seq() || !SetDurable(frame.durable)) break;
      return true;
    case DaemonFrame::Type::kRefused:
      Retry(now_us, frame.reason == kReasonProtocol ? kRetryMaxMs : 0);
      return false;
    case DaemonFrame::Type::kBye:
    case DaemonFrame::Type::kMalformed:
      break;
  }
  Retry(now_us, 0);
  return false;
}

// False: the daemon claims to have what it never got, or has forgotten what it had.
bool Delivery::SetDurable(std::uint64_t seq) noexcept {
  if (seq > max_sent_seq_ || seq < ring_->freed()) return false;
  if (seq == ring_->freed()) return true;
  ring_->FreeTo(seq);
  // Only what gets on ends the back-off: a daemon that hangs up at a certain frame would otherwise
  // see it again and again without a pause.
  failures_ = 0;
  return true;
}

// --- What goes out ---

bool Delivery::SendMore(std::uint64_t now_us, Place ready) noexcept {
  bool moved = false;
  for (;;) {
    if (sending_) {
      const Pipe::State state = pipe_.Continue();
      const bool late = state == Pipe::State::kPending && now_us >= send_deadline_us_;
      if (state == Pipe::State::kBroken || late) {
        Retry(now_us, 0);
        return true;
      }
      if (state == Pipe::State::kPending) return moved;
      sending_ = false;
      moved = true;
    }
    if (phase_ != Phase::kLive) return moved;
    std::size_t filled = FillSlots();
    if (next_slot_ == kMaxSessionsPerRing) filled = FillRecords(filled, ready);
    if (filled == 0) return moved;
    moved = true;
    if (!Send(now_us, filled)) return true;
  }
}

// Returns whether the connection still stands.
bool Delivery::Send(std::uint64_t now_us, std::size_t size_bytes) noexcept {
  const Pipe::State state = pipe_.Send(size_bytes);
  sending_ = state == Pipe::State::kPending;
  send_deadline_us_ = AfterMs(now_us, kFrameTimeoutMs);
  if (state != Pipe::State::kBroken) return true;
  Retry(now_us, 0);
  return false;
}

// One `slot` for each session whose `open` is durable. Returns the bytes in out().
std::size_t Delivery::FillSlots() noexcept {
  // Counters and newest call at their largest.
  constexpr std::size_t kMostBytes = kPrefixBytes + kSmallBodyBytes;
  std::size_t filled = 0;
  for (; next_slot_ < kMaxSessionsPerRing; next_slot_++) {
    if (Pipe::kOutBytes - filled < kMostBytes) break;
    const SessionSlot& slot = ring_->session(next_slot_);
    const std::uint64_t session = slot.session();
    if (slot.state() < SessionSlot::kOpen || session == 0 || session > slots_up_to_) continue;
    unsigned char* const out = pipe_.out() + filled;
    NewestCall newest;
    slot.ReadNewest(&newest);
    const std::size_t size =
        EncodeSlot(session, slot.open_time_us(), slot.counters(), newest.call,
                   {out + kPrefixBytes, Pipe::kOutBytes - filled - kPrefixBytes});
    if (size == 0) continue;
    PutPrefix(out, size);
    filled += kPrefixBytes + size;
  }
  return filled;
}

// Records from sent_ on, as far as they are ready, the window allows and out() has room behind the
// first `filled` bytes. Returns the bytes in out().
std::size_t Delivery::FillRecords(std::size_t filled, Place ready) noexcept {
  while (sent_.seq() < ready.seq()) {
    Place at = sent_;
    const Ring::Record record = ring_->Peek(&at);
    if (record.state != Ring::Record::State::kCommitted) break;
    const std::size_t need = kPrefixBytes + record.size_bytes;
    if (Pipe::kOutBytes - filled < need) break;
    // Measured in the ring, where a frame takes no less than on the pipe.
    const std::uint32_t from = ring_->head().unit() * 8;
    const std::uint32_t to = at.unit() * 8;
    const std::uint32_t unacknowledged = to >= from ? to - from : to + ring_->data_bytes() - from;
    if (unacknowledged + need > kWindowBytes) break;
    PutPrefix(pipe_.out() + filled, record.size_bytes);
    std::memcpy(pipe_.out() + filled + kPrefixBytes, record.body, record.size_bytes);
    filled += need;
    sent_ = ring_->Next(at, record);
    if (record.seq > max_sent_seq_) max_sent_seq_ = record.seq;
  }
  return filled;
}

}  // namespace mapisync
