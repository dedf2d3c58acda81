// The shim's side of the handshake of PROTOCOL.md. Bytes in, bytes out, no I/O.
//
//   greeting() is sent; what comes back goes into Take(); once that says kProven, answer() is sent,
//   and frames may follow it.
#ifndef MAPISYNC_SRC_HANDSHAKE_H_
#define MAPISYNC_SRC_HANDSHAKE_H_

#include <cstddef>
#include <cstdint>

#include "endpoint.h"
#include "sha256.h"

namespace mapisync {

class Handshake {
 public:
  static constexpr std::size_t kNonceBytes = 32;
  static constexpr std::size_t kGreetingBytes = 48;
  static constexpr std::size_t kChallengeBytes = 80;
  static constexpr std::size_t kAnswerBytes = kSha256Bytes;

  enum class Result {
    kMore,     // The challenge is not whole yet.
    kProven,   // The daemon knows the secret and goes on.
    kRefused,  // The daemon knows the secret and declines: status().
    kBroken,   // Not our daemon, or not its protocol.
  };
  // Values of status().
  enum Status : unsigned { kGoOn = 0, kProtocolNotSpoken = 1, kTooManyPeers = 2, kStopping = 3 };

  // endpoint: borrowed until the end. nonce: fresh random bytes, copied.
  void Begin(const Endpoint& endpoint, const unsigned char nonce[kNonceBytes]) noexcept;
  const unsigned char* greeting() const noexcept { return greeting_; }
  // Bytes from the daemon, in any pieces. More than the challenge is kBroken: the daemon has
  // nothing to say before the answer.
  Result Take(const unsigned char* bytes, std::size_t size_bytes) noexcept;
  // After kProven.
  const unsigned char* answer() const noexcept { return answer_; }
  // After kProven or kRefused.
  unsigned status() const noexcept { return challenge_[9]; }

 private:
  void Prove(const char* label, unsigned char out[kSha256Bytes]) const noexcept;

  const Endpoint* endpoint_ = nullptr;  // weak
  unsigned char greeting_[kGreetingBytes] = {};
  unsigned char challenge_[kChallengeBytes] = {};
  unsigned char answer_[kAnswerBytes] = {};
  std::size_t taken_bytes_ = 0;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_HANDSHAKE_H_
