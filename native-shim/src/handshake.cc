#include "handshake.h"

#include <cstring>

#include "limits.h"

namespace mapisync {
namespace {

constexpr char kMagic[] = "MAPISYNC";
constexpr std::size_t kMagicBytes = 8;
constexpr unsigned char kRoleShim = 1;
// Where the nonce stands in a greeting and in a challenge, and the proof in a challenge.
constexpr std::size_t kNonceOffset = 16;
constexpr std::size_t kProofOffset = 48;
static_assert(kMagicBytes + 1 + 1 + 2 + 4 == kNonceOffset, "PROTOCOL.md, handshake");

}  // namespace

void Handshake::Begin(const Endpoint& endpoint, const unsigned char nonce[kNonceBytes]) noexcept {
  endpoint_ = &endpoint;
  taken_bytes_ = 0;
  std::memset(greeting_, 0, sizeof greeting_);
  std::memcpy(greeting_, kMagic, kMagicBytes);
  greeting_[8] = kHandshakeVersion;
  greeting_[9] = kRoleShim;
  greeting_[10] = static_cast<unsigned char>(kProtocolVersion >> 8);
  greeting_[11] = static_cast<unsigned char>(kProtocolVersion & 0xff);
  std::memcpy(greeting_ + kNonceOffset, nonce, kNonceBytes);
}

Handshake::Result Handshake::Take(const unsigned char* bytes, std::size_t size_bytes) noexcept {
  if (size_bytes > kChallengeBytes - taken_bytes_) return Result::kBroken;
  std::memcpy(challenge_ + taken_bytes_, bytes, size_bytes);
  taken_bytes_ += size_bytes;
  if (taken_bytes_ < kChallengeBytes) return Result::kMore;

  unsigned char proof[kSha256Bytes];
  Prove("mapisync/1 daemon\n", proof);
  // First of all the proof: nothing else in there is to be believed without it.
  if (!IsEqualInConstantTime(proof, challenge_ + kProofOffset, sizeof proof)) {
    return Result::kBroken;
  }
  constexpr unsigned char kZeros[4] = {};
  if (std::memcmp(challenge_, kMagic, kMagicBytes) != 0 || challenge_[8] != kHandshakeVersion ||
      std::memcmp(challenge_ + 12, kZeros, sizeof kZeros) != 0) {
    return Result::kBroken;
  }
  if (status() != kGoOn) return Result::kRefused;
  const unsigned protocol = static_cast<unsigned>(challenge_[10]) << 8 | challenge_[11];
  if (protocol != kProtocolVersion) return Result::kBroken;
  Prove("mapisync/1 peer\n", answer_);
  return Result::kProven;
}

void Handshake::Prove(const char* label, unsigned char out[kSha256Bytes]) const noexcept {
  HmacSha256 hmac(endpoint_->secret, sizeof endpoint_->secret);
  hmac.Update(label, std::strlen(label));
  hmac.Update(greeting_, sizeof greeting_);
  hmac.Update(challenge_, kProofOffset);
  hmac.Update(endpoint_->pipe, std::strlen(endpoint_->pipe));
  hmac.Finish(out);
}

}  // namespace mapisync
