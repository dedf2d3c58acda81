// Numbers that both languages share. protocol/PROTOCOL.md says what they mean; a test compares
// them.
#ifndef MAPISYNC_SRC_LIMITS_H_
#define MAPISYNC_SRC_LIMITS_H_

#include <cstdint>

namespace mapisync {

inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::uint32_t kHandshakeVersion = 1;
inline constexpr std::uint32_t kMaxFrameBytes = 65536;
inline constexpr std::uint32_t kMaxFrameElements = 32;
inline constexpr std::uint32_t kMaxTextUnits = 4096;
inline constexpr std::uint32_t kMaxTextBytes = 12288;
inline constexpr std::uint32_t kMaxNameBytes = 1024;
inline constexpr std::uint32_t kMaxSlotTextBytes = 256;
inline constexpr std::uint32_t kMaxEndpointBytes = 4096;
inline constexpr std::uint32_t kMaxHandshakeBytes = 512;
inline constexpr std::uint32_t kHandshakeTimeoutMs = 2000;
inline constexpr std::uint32_t kFrameTimeoutMs = 5000;
inline constexpr std::uint32_t kWindowBytes = 1048576;
inline constexpr std::uint32_t kRingFileBytes = 4194304;
inline constexpr std::uint32_t kRingDataOffset = 200704;
inline constexpr std::uint32_t kMaxSessionsPerRing = 256;
inline constexpr std::uint32_t kMaxCallsInside = 64;
inline constexpr std::uint32_t kProgressWatermarkPercent = 86;
inline constexpr std::uint32_t kInnerSlowUs = 100000;
inline constexpr std::uint32_t kBlockedAfterMs = 2000;

// Kind numbers as they appear on the wire. Never renumbered, never reused.
enum class Kind : std::uint8_t {
  kHello = 1,
  kSlot = 2,
  kOpen = 3,
  kProgress = 4,
  kError = 5,
  kDone = 6,
  kInner = 7,
  kBlocked = 8,
  kUnblocked = 9,
  kReturned = 10,
  kNote = 11,
  kClose = 12,
  kMerged = 13,
  kLost = 14,
  kHole = 15,
  kClock = 16,
  kBye = 17,
  kDaemonWelcome = 32,
  kDaemonAck = 33,
  kDaemonRefused = 34,
  kDaemonBye = 35,
};

enum class Attach : std::uint8_t { kTee = 1, kWrap = 2, kSink = 3 };

enum class Method : std::uint8_t { kProgress = 1, kError = 2, kDone = 3 };

// `done`: what Done's handle is, compared with *phSyncDoneEvent.
enum class HandleMatch : std::uint8_t {
  kNull = 0,
  kNothingToCompare = 1,
  kEqual = 2,
  kDiffers = 3
};

enum class HoleReason : std::uint8_t { kThreadDead = 1, kAdopted = 2 };

enum class ByeReason : std::uint8_t { kOff = 0, kFlushed = 1 };

// Bits of `marks`.
inline constexpr std::uint32_t kMarkCut = 1;
inline constexpr std::uint32_t kMarkReplaced = 2;

}  // namespace mapisync

#endif  // MAPISYNC_SRC_LIMITS_H_
