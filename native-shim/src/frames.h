// The frames of PROTOCOL.md: an encoder for each that a shim sends, a decoder for each that it
// gets.
//
// Encoders write a body (no prefix) into a buffer of the caller's and return its size, or 0 if it
// does not fit: a frame is whole or absent. They allocate nothing and know no system.
#ifndef MAPISYNC_SRC_FRAMES_H_
#define MAPISYNC_SRC_FRAMES_H_

#include <cstddef>
#include <cstdint>

#include "big_endian.h"
#include "limits.h"

namespace mapisync {

// Memory of the caller's that an encoder may fill.
struct Buffer {
  unsigned char* data;
  std::size_t size_bytes;
};

// Borrowed UTF-8. data is null for NULL, which is not the same as empty.
struct Text {
  const char* data = nullptr;
  std::uint32_t size_bytes = 0;
};

// Header of a sequenced frame. seq may be 0 and set by PatchSeq() once it is known.
struct Stamp {
  std::uint64_t seq;
  std::uint64_t time_us;
  std::uint32_t thread;
  std::uint64_t session;
};

inline constexpr std::uint32_t kMethodCount = 3;

// Time spent in one method of the inner callback: of all calls, and of the longest.
struct InnerTime {
  std::uint64_t us = 0;
  std::uint64_t max_us = 0;
};

// What was counted in a session since its `open`.
struct Counters {
  std::uint64_t progress = 0;
  std::uint64_t errors = 0;
  std::uint64_t dones = 0;
  std::uint64_t merged = 0;
  std::uint64_t lost = 0;
  std::uint64_t inner_us = 0;
  std::uint64_t inner_max_us = 0;
  InnerTime methods[kMethodCount];  // Of Progress, Error, Done.
};

// One call of Progress. call 0: there was none, and all else is 0 and NULL.
struct ProgressCall {
  std::uint64_t call = 0;
  std::uint64_t time_us = 0;
  std::uint32_t index = 0;
  std::uint32_t max = 0;
  std::uint32_t marks = 0;
  Text text;
};

// Frames and calls that found no room, since the ring began.
struct LostCounts {
  std::uint64_t opens = 0;
  std::uint64_t progress = 0;
  std::uint64_t errors = 0;
  std::uint64_t dones = 0;
  std::uint64_t others = 0;
};

struct Hello {
  const unsigned char* ring_id;  // 16 bytes
  std::uint64_t freed;
  std::uint32_t pid;
  std::uint32_t bits;
  Text executable;
  Text version;
  std::uint64_t time_us;
  std::uint64_t wall_us;
  std::uint32_t clock_resolution_us;
  bool in_memory;  // The ring dies with the process.
};

struct Open {
  Attach attach;
  bool has_flags;
  std::uint32_t flags;
  Text provider;
  Text store;
  std::uint64_t wall_us;
  bool has_callback;
};

// Room for every body but those of `error` and `progress`, which may carry MAX_TEXT_BYTES more.
inline constexpr std::size_t kSmallBodyBytes = 2 * kMaxNameBytes + 128;
inline constexpr std::size_t kTextBodyBytes = kMaxTextBytes + 128;

// Control frames.
std::size_t EncodeHello(const Hello& hello, Buffer out) noexcept;
std::size_t EncodeSlot(std::uint64_t session, std::uint64_t open_time_us, const Counters& counters,
                       const ProgressCall& newest, Buffer out) noexcept;
std::size_t EncodeBye(ByeReason reason, Buffer out) noexcept;

// Sequenced frames. EncodeProgress() takes the time from `call`, not from the stamp.
std::size_t EncodeOpen(const Stamp& stamp, const Open& open, Buffer out) noexcept;
std::size_t EncodeProgress(const Stamp& stamp, const ProgressCall& call, Buffer out) noexcept;
std::size_t EncodeError(const Stamp& stamp, std::uint64_t call, std::uint32_t hresult,
                        std::uint32_t marks, Text text, Buffer out) noexcept;
std::size_t EncodeDone(const Stamp& stamp, std::uint64_t call, std::uint32_t hresult,
                       HandleMatch handle, Buffer out) noexcept;
std::size_t EncodeInner(const Stamp& stamp, Method method, std::uint64_t call,
                        std::uint32_t hresult, std::uint64_t duration_us, Buffer out) noexcept;
std::size_t EncodeBlocked(const Stamp& stamp, Method method, std::uint64_t call,
                          std::uint64_t since_us, Buffer out) noexcept;
std::size_t EncodeUnblocked(const Stamp& stamp, Method method, std::uint64_t call,
                            std::uint64_t since_us, std::uint64_t duration_us, Buffer out) noexcept;
std::size_t EncodeReturned(const Stamp& stamp, std::uint32_t hresult, std::uint64_t duration_us,
                           bool event_set, Buffer out) noexcept;
std::size_t EncodeNote(const Stamp& stamp, Text key, Text value, Buffer out) noexcept;
std::size_t EncodeClose(const Stamp& stamp, const Counters& counters, Buffer out) noexcept;
std::size_t EncodeMerged(const Stamp& stamp, const Counters& counters, const ProgressCall& newest,
                         Buffer out) noexcept;
std::size_t EncodeLost(const Stamp& stamp, const LostCounts& lost, Buffer out) noexcept;
std::size_t EncodeHole(const Stamp& stamp, HoleReason reason, Buffer out) noexcept;
std::size_t EncodeClock(const Stamp& stamp, std::uint64_t wall_us, Buffer out) noexcept;

// Sets the seq in the body of a sequenced frame that an encoder above made.
inline void PatchSeq(unsigned char* body, std::uint64_t seq) noexcept {
  // Behind the array's head (one byte, or three from 16 elements on), the kind and the tag.
  StoreBigEndian64(body + (body[0] == 0xdc ? 5 : 3), seq);
}

// The kind of a body, 0 if it does not begin like a frame.
unsigned KindOf(const unsigned char* body, std::size_t size_bytes) noexcept;

// Reads back a `progress`. False if the body is anything else. call->text borrows from the body.
bool DecodeProgress(const unsigned char* body, std::size_t size_bytes, std::uint64_t* session,
                    ProgressCall* call) noexcept;

// Whose call a `progress` is and which, without a look at the rest of it. False if the body is
// anything else.
bool PeekProgress(const unsigned char* body, std::size_t size_bytes, std::uint64_t* session,
                  std::uint64_t* call) noexcept;

// What stands behind the header of a sequenced kind: a letter an element, as in frames_decode.cc;
// behind a `?` those that an older peer leaves out, all or none. Empty for a kind that is not
// known, null for a control kind.
const char* ElementsOf(std::uint64_t kind) noexcept;

// Whether a body is a sequenced frame with this seq: flat, whole, no bytes behind it, each element
// of its type and in its range. Kinds and elements of a newer version pass.
bool IsSequenced(const unsigned char* body, std::size_t size_bytes, std::uint64_t seq) noexcept;

// A frame from the daemon. reason is only of kRefused, text (borrowed from the body) too.
struct DaemonFrame {
  enum class Type { kWelcome, kAck, kRefused, kBye, kUnknown, kMalformed };
  Type type = Type::kMalformed;
  std::uint64_t durable = 0;
  std::uint32_t protocol = 0;
  std::uint32_t reason = 0;
  Text text;
};

// Safe for any bytes. Elements behind those it knows are not looked at.
DaemonFrame DecodeDaemonFrame(const unsigned char* body, std::size_t size_bytes) noexcept;

}  // namespace mapisync

#endif  // MAPISYNC_SRC_FRAMES_H_
