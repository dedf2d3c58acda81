// Endpoint file and handshake, against proofs that node:crypto made.
#include "handshake.h"

#include <cstring>
#include <string>

#include "bytes.h"
#include "check.h"
#include "endpoint.h"

using mapisync::Endpoint;
using mapisync::Handshake;
using Result = mapisync::Handshake::Result;

namespace {

constexpr char kPipe[] = "/run/user/1000/mapisync/daemon.sock";
const char* const kNonce = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const char* const kDaemonNonce = "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0";
const char* const kGoOnProof = "a40c505aac5990744d0ca76e724969a36cf7d7fa4e97d073fd7ad2ec37345ce2";
const char* const kAnswer = "d46fc41b4bfd85406e64e90e30c0f191812898557be70d1866cb3b76cf0d5bfe";

Endpoint MakeEndpoint() {
  Endpoint endpoint;
  endpoint.protocol = 1;
  std::strcpy(endpoint.pipe, kPipe);
  for (unsigned i = 0; i < sizeof endpoint.secret; i++) {
    endpoint.secret[i] = static_cast<unsigned char>(i * 7 + 1);
  }
  return endpoint;
}

// What follows the magic is given, so that a row can spoil it.
std::string Challenge(const char* after_magic, const char* proof) {
  return "MAPISYNC" + BytesOf(std::string(after_magic) + kDaemonNonce + proof);
}

const char* const kGoOn = "0100000100000000";

// Keeps the endpoint that the handshake borrows.
struct Shaking {
  Shaking() { handshake.Begin(endpoint, nonce()); }
  static const unsigned char* nonce() {
    static unsigned char bytes[Handshake::kNonceBytes];
    std::memcpy(bytes, BytesOf(kNonce).data(), sizeof bytes);
    return bytes;
  }
  Result Take(const std::string& bytes) {
    return handshake.Take(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size());
  }
  Endpoint endpoint = MakeEndpoint();
  Handshake handshake;
};

void GreetsAsTheProtocolSays() {
  Shaking it;
  CHECK_EQ(HexOf(it.handshake.greeting(), Handshake::kGreetingBytes),
           std::string("4d41504953594e43") + "0101000100000000" + kNonce);
}

void ProvesItself() {
  Shaking it;
  CHECK(it.Take(Challenge(kGoOn, kGoOnProof)) == Result::kProven);
  CHECK_EQ(HexOf(it.handshake.answer(), Handshake::kAnswerBytes), kAnswer);
}

void TakesTheChallengeCutAnywhere() {
  const std::string challenge = Challenge(kGoOn, kGoOnProof);
  for (std::size_t cut = 1; cut < challenge.size(); cut++) {
    Shaking it;
    CHECK(it.Take(challenge.substr(0, cut)) == Result::kMore);
    CHECK(it.Take(challenge.substr(cut)) == Result::kProven);
    CHECK_EQ(HexOf(it.handshake.answer(), Handshake::kAnswerBytes), kAnswer);
  }
}

void BelievesNothingAfterAFlippedBit() {
  const std::string challenge = Challenge(kGoOn, kGoOnProof);
  for (std::size_t bit = 0; bit < challenge.size() * 8; bit++) {
    std::string flipped = challenge;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    Shaking it;
    CHECK(it.Take(flipped) == Result::kBroken);
  }
}

void ReadsAStatusOnlyWithItsProof() {
  const struct {
    const char* after_magic;
    const char* proof;
    Result want;
    unsigned status;
  } rows[] = {
      {"0101000200000000", "bcb0024d766d9a379f266420b4bf6f0b3bc58d23833443a0cabd57a800544aae",
       Result::kRefused, Handshake::kProtocolNotSpoken},
      {"0102000100000000", "d88268aea67009b380c99ba147f30b407c839f029e398013b03a1bd6abd2a092",
       Result::kRefused, Handshake::kTooManyPeers},
      {"0103000100000000", "a9bef382119ec1692280a5ac2205dc14df6dae4eefa961930c4e68711a898577",
       Result::kRefused, Handshake::kStopping},
      {"0103000100000000", "a40c505aac5990744d0ca76e724969a36cf7d7fa4e97d073fd7ad2ec37345ce2",
       Result::kBroken, Handshake::kStopping},
      // Goes on in a protocol that we did not offer.
      {"0100000200000000", "36b45e4f70d86d5eebe6f4de4573f893dcf29bb3b2548f3ccfa23eabd9d87be2",
       Result::kBroken, Handshake::kGoOn},
  };
  for (const auto& row : rows) {
    Shaking it;
    CHECK(it.Take(Challenge(row.after_magic, row.proof)) == row.want);
    CHECK_EQ(it.handshake.status(), row.status);
  }
}

void RefusesMoreThanTheChallenge() {
  Shaking it;
  CHECK(it.Take(Challenge(kGoOn, kGoOnProof) + "x") == Result::kBroken);
  Shaking whole;
  CHECK(whole.Take(Challenge(kGoOn, kGoOnProof)) == Result::kProven);
  CHECK(whole.Take("x") == Result::kBroken);
}

void DependsOnSecretPipeAndNonce() {
  const std::string challenge = Challenge(kGoOn, kGoOnProof);
  Shaking secret;
  secret.endpoint.secret[31] ^= 1;
  CHECK(secret.Take(challenge) == Result::kBroken);
  Shaking pipe;
  pipe.endpoint.pipe[1] = 'R';
  CHECK(pipe.Take(challenge) == Result::kBroken);
  Shaking nonce;
  unsigned char other[Handshake::kNonceBytes] = {};
  nonce.handshake.Begin(nonce.endpoint, other);
  CHECK(nonce.Take(challenge) == Result::kBroken);
}

#ifdef _WIN32
#define GOOD_PIPE "\\\\.\\pipe\\mapisync.00112233445566778899aabbccddeeff"
#else
#define GOOD_PIPE "/tmp/mapisync/daemon.sock"
#endif
#define GOOD_SECRET "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

void ParsesTheEndpointFile() {
  const std::string text = "protocol=12\npipe=" GOOD_PIPE
                           "\npid=7\nstarted=2026-01-02T03:04:05Z\nsecret=" GOOD_SECRET "\n";
  Endpoint endpoint;
  CHECK(mapisync::ParseEndpoint(text.data(), text.size(), &endpoint));
  CHECK_EQ(endpoint.protocol, 12u);
  CHECK_EQ(std::string(endpoint.pipe), GOOD_PIPE);
  CHECK_EQ(HexOf(endpoint.secret, sizeof endpoint.secret), GOOD_SECRET);
}

void JudgesEndpointFiles() {
  const std::string at_most(100, 'p');
  const struct {
    const char* name;
    std::string text;
    bool want;
  } rows[] = {
      {"empty", "", false},
      {"no last line end", "protocol=1\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET, true},
      {"any order, unknown keys, CRLF",
       "secret=" GOOD_SECRET "\r\nx=y\r\n\r\n=\r\npipe=" GOOD_PIPE "\r\nprotocol=1\r\n", true},
      {"no secret", "protocol=1\npipe=" GOOD_PIPE "\n", false},
      {"no pipe", "protocol=1\nsecret=" GOOD_SECRET "\n", false},
      {"no protocol", "pipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET "\n", false},
      {"key with more behind it", "protocols=1\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET, false},
      {"twice", "protocol=1\nprotocol=1\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET, false},
      {"protocol 0", "protocol=0\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET, false},
      {"protocol of 6 digits", "protocol=100000\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET, false},
      {"protocol of 5 digits", "protocol=99999\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET, true},
      {"protocol not a number", "protocol=1x\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET, false},
      {"short secret", "protocol=1\npipe=" GOOD_PIPE "\nsecret=0011\n", false},
      {"long secret", "protocol=1\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET "00\n", false},
      {"secret not hex",
       std::string("protocol=1\npipe=" GOOD_PIPE "\nsecret=") + std::string(63, '0') + "g\n",
       false},
      {"empty pipe", "protocol=1\npipe=\nsecret=" GOOD_SECRET, false},
#ifdef _WIN32
      {"another service's pipe", "protocol=1\npipe=\\\\.\\pipe\\lsass\nsecret=" GOOD_SECRET, false},
      {"another machine's pipe",
       "protocol=1\npipe=\\\\h\\pipe\\mapisync.00112233445566778899aabbccddeeff\n"
       "secret=" GOOD_SECRET,
       false},
      {"a file", "protocol=1\npipe=C:\\x\nsecret=" GOOD_SECRET, false},
      {"too many digits", "protocol=1\npipe=" GOOD_PIPE "0\nsecret=" GOOD_SECRET, false},
#else
      {"relative path", "protocol=1\npipe=x/y\nsecret=" GOOD_SECRET, false},
      {"path of 100", "protocol=1\npipe=/" + at_most.substr(1) + "\nsecret=" GOOD_SECRET, true},
      {"path of 101", "protocol=1\npipe=/" + at_most + "\nsecret=" GOOD_SECRET, false},
      {"path with a zero", std::string("protocol=1\npipe=/a\0b\nsecret=" GOOD_SECRET, 92), false},
#endif
  };
  for (const auto& row : rows) {
    // From memory of its exact size, so that a sanitizer sees a step too far.
    char* const exact = new char[row.text.size() + 1];
    std::memcpy(exact, row.text.data(), row.text.size());
    Endpoint endpoint;
    if (mapisync::ParseEndpoint(exact, row.text.size(), &endpoint) != row.want) {
      check::Fail(__FILE__, __LINE__, row.name);
    }
    delete[] exact;
  }
}

void EndsOnAnyBytes() {
  const std::string good = "protocol=1\npipe=" GOOD_PIPE "\nsecret=" GOOD_SECRET "\n";
  unsigned seed = 20260101;
  for (int i = 0; i < 20000; i++) {
    std::string text = good;
    for (int change = 0; change < 3; change++) {
      seed = seed * 1103515245 + 12345;
      text[seed / 65536 % text.size()] = static_cast<char>(seed >> 8);
    }
    Endpoint endpoint;
    if (mapisync::ParseEndpoint(text.data(), text.size(), &endpoint)) {
      CHECK(std::strlen(endpoint.pipe) < Endpoint::kMaxPipeChars);
    }
  }
}

}  // namespace

int main() {
  return check::Run({
      {"Handshake greets as PROTOCOL.md says", GreetsAsTheProtocolSays},
      {"Handshake proves itself to a daemon that did", ProvesItself},
      {"Handshake takes the challenge cut anywhere", TakesTheChallengeCutAnywhere},
      {"Handshake believes nothing after a flipped bit", BelievesNothingAfterAFlippedBit},
      {"Handshake reads a status only with its proof", ReadsAStatusOnlyWithItsProof},
      {"Handshake refuses more than the challenge", RefusesMoreThanTheChallenge},
      {"Handshake depends on secret, pipe and nonce", DependsOnSecretPipeAndNonce},
      {"ParseEndpoint() reads what the daemon writes", ParsesTheEndpointFile},
      {"ParseEndpoint() judges each line", JudgesEndpointFiles},
      {"ParseEndpoint() ends on any bytes", EndsOnAnyBytes},
  });
}
