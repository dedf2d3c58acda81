// The endpoint file of PROTOCOL.md: where the daemon listens, and the secret that both ends share.
#ifndef MAPISYNC_SRC_ENDPOINT_H_
#define MAPISYNC_SRC_ENDPOINT_H_

#include <cstddef>
#include <cstdint>

namespace mapisync {

struct Endpoint {
  static constexpr std::size_t kMaxPipeChars = 101;  // With the zero; a Unix socket takes no more.
  static constexpr std::size_t kSecretBytes = 32;

  std::uint32_t protocol = 0;     // The highest that the daemon speaks.
  char pipe[kMaxPipeChars] = {};  // As the proofs cover it; zero-terminated.
  unsigned char secret[kSecretBytes] = {};
};

// Safe for any bytes. False, and *endpoint is of no use, if a value is missing, twice there or
// makes no sense on this system.
[[nodiscard]] bool ParseEndpoint(const char* text, std::size_t size_bytes,
                                 Endpoint* endpoint) noexcept;

}  // namespace mapisync

#endif  // MAPISYNC_SRC_ENDPOINT_H_
