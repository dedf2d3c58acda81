// The shim's connection with the bytes of the input in the place of a daemon: a Pipe without a
// system behind it.
#ifndef MAPISYNC_TESTS_FUZZ_DAEMON_STREAM_H_
#define MAPISYNC_TESTS_FUZZ_DAEMON_STREAM_H_

#include <cstddef>
#include <string>

#include "endpoint.h"

namespace fuzz {

// Writes the proof behind the 48 bytes of a challenge, as a daemon that knows the secret does.
void ProveChallenge(const mapisync::Endpoint& endpoint, const unsigned char* greeting,
                    unsigned char* challenge);

// The input: how many bytes come at a time (0: all), then what the daemon sends after the
// handshake.
std::string TakeStream(const unsigned char* data, std::size_t size_bytes);

}  // namespace fuzz

#endif  // MAPISYNC_TESTS_FUZZ_DAEMON_STREAM_H_
