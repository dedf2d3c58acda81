#include "sha256.h"

#include <cstring>

namespace mapisync {
namespace {

constexpr std::uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr std::size_t kBlockBytes = 64;

std::uint32_t RotateRight(std::uint32_t value, int by) noexcept {
  return value >> by | value << (32 - by);
}

std::uint32_t LoadBigEndian(const unsigned char* from) noexcept {
  return static_cast<std::uint32_t>(from[0]) << 24 | static_cast<std::uint32_t>(from[1]) << 16 |
         static_cast<std::uint32_t>(from[2]) << 8 | from[3];
}

void StoreBigEndian(std::uint64_t value, int bytes, unsigned char* to) noexcept {
  for (int i = bytes - 1; i >= 0; i--, value >>= 8) to[i] = static_cast<unsigned char>(value);
}

}  // namespace

void Sha256(const void* data, std::size_t size_bytes, unsigned char out[kSha256Bytes]) noexcept {
  Sha256Stream stream;
  stream.Update(data, size_bytes);
  stream.Finish(out);
}

void Sha256Stream::Update(const void* data, std::size_t size_bytes) noexcept {
  auto from = static_cast<const unsigned char*>(data);
  while (size_bytes > 0) {
    const std::size_t filled = size_bytes_ % kBlockBytes;
    const std::size_t room = kBlockBytes - filled;
    const std::size_t take = size_bytes < room ? size_bytes : room;
    std::memcpy(block_ + filled, from, take);
    from += take;
    size_bytes -= take;
    size_bytes_ += take;
    if (size_bytes_ % kBlockBytes == 0) Compress(block_);
  }
}

void Sha256Stream::Finish(unsigned char out[kSha256Bytes]) noexcept {
  const std::uint64_t bits = size_bytes_ * 8;
  const unsigned char one = 0x80;
  const unsigned char zero = 0;
  Update(&one, 1);
  while (size_bytes_ % kBlockBytes != kBlockBytes - 8) Update(&zero, 1);
  unsigned char tail[8];
  StoreBigEndian(bits, 8, tail);
  Update(tail, sizeof tail);
  for (int i = 0; i < 8; i++) StoreBigEndian(state_[i], 4, out + 4 * i);
}

void Sha256Stream::Compress(const unsigned char* block) noexcept {
  std::uint32_t w[64];
  for (int i = 0; i < 16; i++) w[i] = LoadBigEndian(block + 4 * i);
  for (int i = 16; i < 64; i++) {
    const std::uint32_t a = w[i - 15];
    const std::uint32_t b = w[i - 2];
    w[i] = w[i - 16] + (RotateRight(a, 7) ^ RotateRight(a, 18) ^ a >> 3) + w[i - 7] +
           (RotateRight(b, 17) ^ RotateRight(b, 19) ^ b >> 10);
  }
  std::uint32_t s[8];
  std::memcpy(s, state_, sizeof s);
  for (int i = 0; i < 64; i++) {
    const std::uint32_t sum1 = RotateRight(s[4], 6) ^ RotateRight(s[4], 11) ^ RotateRight(s[4], 25);
    const std::uint32_t choice = (s[4] & s[5]) ^ (~s[4] & s[6]);
    const std::uint32_t t1 = s[7] + sum1 + choice + kRounds[i] + w[i];
    const std::uint32_t sum0 = RotateRight(s[0], 2) ^ RotateRight(s[0], 13) ^ RotateRight(s[0], 22);
    const std::uint32_t majority = (s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]);
    std::memmove(s + 1, s, 7 * sizeof s[0]);
    s[4] += t1;
    s[0] = t1 + sum0 + majority;
  }
  for (int i = 0; i < 8; i++) state_[i] += s[i];
}

HmacSha256::HmacSha256(const void* key, std::size_t key_bytes) noexcept {
  unsigned char block[kBlockBytes] = {};
  if (key_bytes > kBlockBytes) {
    Sha256(key, key_bytes, block);
  } else if (key_bytes > 0) {
    std::memcpy(block, key, key_bytes);
  }
  for (unsigned char& byte : block) byte ^= 0x36;
  inner_.Update(block, sizeof block);
  for (unsigned char& byte : block) byte ^= 0x36 ^ 0x5c;
  outer_.Update(block, sizeof block);
}

void HmacSha256::Finish(unsigned char out[kSha256Bytes]) noexcept {
  inner_.Finish(out);
  outer_.Update(out, kSha256Bytes);
  outer_.Finish(out);
}

bool IsEqualInConstantTime(const unsigned char* a, const unsigned char* b,
                           std::size_t size_bytes) noexcept {
  unsigned difference = 0;
  for (std::size_t i = 0; i < size_bytes; i++) {
    difference |= static_cast<unsigned>(a[i] ^ b[i]);
  }
  return difference == 0;
}

}  // namespace mapisync
