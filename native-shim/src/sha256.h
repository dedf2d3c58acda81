// SHA-256 and HMAC-SHA-256 (FIPS 180-4, RFC 2104), for the handshake and the ids of sessions.
#ifndef MAPISYNC_SRC_SHA256_H_
#define MAPISYNC_SRC_SHA256_H_

#include <cstddef>
#include <cstdint>

namespace mapisync {

inline constexpr std::size_t kSha256Bytes = 32;

void Sha256(const void* data, std::size_t size_bytes, unsigned char out[kSha256Bytes]) noexcept;

// Takes its input in pieces.
class Sha256Stream {
 public:
  void Update(const void* data, std::size_t size_bytes) noexcept;
  // Once, at the end.
  void Finish(unsigned char out[kSha256Bytes]) noexcept;

 private:
  void Compress(const unsigned char* block) noexcept;

  std::uint32_t state_[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::uint64_t size_bytes_ = 0;
  unsigned char block_[64] = {};
};

// The same for a message authenticated with a key.
class HmacSha256 {
 public:
  HmacSha256(const void* key, std::size_t key_bytes) noexcept;
  void Update(const void* data, std::size_t size_bytes) noexcept {
    inner_.Update(data, size_bytes);
  }
  void Finish(unsigned char out[kSha256Bytes]) noexcept;

 private:
  Sha256Stream inner_;
  Sha256Stream outer_;
};

// Takes the same time wherever the two differ.
bool IsEqualInConstantTime(const unsigned char* a, const unsigned char* b,
                           std::size_t size_bytes) noexcept;

}  // namespace mapisync

#endif  // MAPISYNC_SRC_SHA256_H_
