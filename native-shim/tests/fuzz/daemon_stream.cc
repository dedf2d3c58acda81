#include "daemon_stream.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "../test_ring.h"
#include "delivery.h"

namespace {

constexpr char kEndpointFile[] =
    "protocol=1\npipe=/fuzz\n"
    "secret=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";

// What the other end has sent, and how much of it comes at a time.
struct Peer {
  std::vector<unsigned char> bytes;
  std::size_t at = 0;
  std::size_t step = 0;
  const unsigned char* input = nullptr;
  std::size_t input_bytes = 0;
  unsigned sends = 0;
} peer;

void Must(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "daemon_stream: %s\n", what);
  std::abort();
}

// One ring for all inputs, cleared where the input before may have written: a new one for each
// would cost more than all else.
mapisync::TestRing& FreshRing() {
  constexpr std::uint32_t kDataBytes = 4096;
  static mapisync::TestRing* const ring = new mapisync::TestRing(kDataBytes);
  unsigned char* const memory = ring->memory.get();
  std::memset(memory, 0, offsetof(mapisync::RingHeader, sessions));
  std::memset(memory + mapisync::kRingDataOffset, 0, kDataBytes);
  ring->ring.Format(memory, ring->size_bytes, mapisync::TestIdentity());
  ring->ring.Publish();
  return *ring;
}

}  // namespace

namespace mapisync {

std::size_t ReadEndpointFile(const Path&, char* out, std::size_t capacity) noexcept {
  Must(capacity >= sizeof kEndpointFile, "no room for the endpoint file");
  std::memcpy(out, kEndpointFile, sizeof kEndpointFile - 1);
  return sizeof kEndpointFile - 1;
}

Pipe::State Pipe::Connect(const char*) noexcept {
  handle_.store(1);
  return State::kReady;
}

Pipe::State Pipe::Send(std::size_t size_bytes) noexcept {
  Must(is_open() && size_bytes > 0 && size_bytes <= kOutBytes, "Send() out of its bounds");
  // The greeting, then the answer with `hello`.
  if (++peer.sends == 1) {
    Endpoint endpoint;
    Must(ParseEndpoint(kEndpointFile, sizeof kEndpointFile - 1, &endpoint), "endpoint");
    unsigned char challenge[Handshake::kChallengeBytes] = {'M', 'A', 'P', 'I', 'S', 'Y',
                                                           'N', 'C', 1,   0,   0,   1};
    fuzz::ProveChallenge(endpoint, out_, challenge);
    peer.bytes.assign(challenge, challenge + sizeof challenge);
  } else if (peer.sends == 2) {
    peer.bytes.insert(peer.bytes.end(), peer.input, peer.input + peer.input_bytes);
  }
  begin_ = end_ = size_bytes;  // Taken at once.
  return State::kReady;
}

Pipe::State Pipe::Continue() noexcept { return begin_ == end_ ? State::kReady : State::kBroken; }

int Pipe::Receive(void* buffer, std::size_t capacity) noexcept {
  Must(capacity > 0, "Receive() into nothing");
  std::size_t size = peer.bytes.size() - peer.at;
  if (size > capacity) size = capacity;
  if (peer.step != 0 && size > peer.step) size = peer.step;
  std::memcpy(buffer, peer.bytes.data() + peer.at, size);
  peer.at += size;
  return static_cast<int>(size);
}

void Pipe::Close() noexcept { handle_.store(-1); }
void Pipe::CloseInChild() noexcept { Close(); }

}  // namespace mapisync

namespace fuzz {

using namespace mapisync;

void ProveChallenge(const Endpoint& endpoint, const unsigned char* greeting,
                    unsigned char* challenge) {
  constexpr char kLabel[] = "mapisync/1 daemon\n";
  constexpr std::size_t kStated = Handshake::kChallengeBytes - kSha256Bytes;
  HmacSha256 hmac(endpoint.secret, sizeof endpoint.secret);
  hmac.Update(kLabel, sizeof kLabel - 1);
  hmac.Update(greeting, Handshake::kGreetingBytes);
  hmac.Update(challenge, kStated);
  hmac.Update(endpoint.pipe, std::strlen(endpoint.pipe));
  hmac.Finish(challenge + kStated);
}

std::string TakeStream(const unsigned char* data, std::size_t size_bytes) {
  if (size_bytes < 1) return "short";
  peer = Peer();
  peer.step = data[0];
  peer.input = data + 1;
  peer.input_bytes = size_bytes - 1;
  TestRing& t = FreshRing();
  for (int i = 0; i < 6; i++) Append(t.ring, 100);
  const Path dir = {};
  Hello hello = {};
  hello.ring_id = t.ring.header().ring_id;
  const std::unique_ptr<Delivery> delivery(new Delivery());
  delivery->Begin(&t.ring, &dir, hello);
  std::uint64_t freed = 0;
  bool was_connected = false;
  // Each step takes some bytes or comes to rest.
  for (std::size_t steps = 0; steps < size_bytes + 8; steps++) {
    if (!delivery->Step(1000, t.ring.tail())) break;
    was_connected = was_connected || delivery->is_connected();
    Must(t.ring.freed() >= freed && t.ring.freed() <= delivery->sent_seq(), "freed too much");
    freed = t.ring.freed();
    if (delivery->is_waiting()) break;
  }
  return std::string(delivery->is_waiting() ? "closed" : "open") +
         (was_connected ? " live " : " greeting ") + std::to_string(freed);
}

}  // namespace fuzz
