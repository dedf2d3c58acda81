// The ring of PROTOCOL.md: many threads append frames, one worker takes them out.
//
// It is a view over memory that somebody else mapped, a file in most cases, so that what stands in
// it outlives the process. Appending never waits, locks or allocates: a compare-and-swap and a
// copy. A thread that is killed anywhere in it leaves at most its own record unfinished (a hole)
// and hides nothing that others wrote.
#ifndef MAPISYNC_SRC_RING_H_
#define MAPISYNC_SRC_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "frames.h"
#include "limits.h"
#include "quick_clock.h"
#include "slots.h"

namespace mapisync {

// A position: the number of the record that stands there, and the offset into the data in 8-byte
// units.
struct Place {
  std::uint64_t value = 0;

  std::uint64_t seq() const noexcept { return value >> kUnitBits; }
  std::uint32_t unit() const noexcept {
    return static_cast<std::uint32_t>(value & ((1u << kUnitBits) - 1));
  }
  static Place Of(std::uint64_t seq, std::uint32_t unit) noexcept {
    return {seq << kUnitBits | unit};
  }
  static constexpr unsigned kUnitBits = 19;
};
inline bool operator==(Place a, Place b) noexcept { return a.value == b.value; }
inline bool operator!=(Place a, Place b) noexcept { return a.value != b.value; }

// The first 8 bytes of a record.
struct Word {
  enum State : std::uint32_t { kFree = 0, kReserved = 1, kCommitted = 2, kPad = 3 };

  std::uint64_t value = 0;

  State state() const noexcept { return static_cast<State>(value & 3); }
  std::uint32_t size_bytes() const noexcept {
    return static_cast<std::uint32_t>(value >> 2 & kMaxSizeBytes);
  }
  std::uint64_t seq() const noexcept { return value >> 16; }
  static Word Of(std::uint64_t seq, std::uint64_t size_bytes, State state) noexcept {
    return {seq << 16 | size_bytes << 2 | state};
  }
  static constexpr std::uint32_t kMaxSizeBytes = (1u << 14) - 1;
};

// Layout version of the file.
inline constexpr std::uint32_t kRingLayout = 2;

// Word and CRC before each body.
inline constexpr std::uint32_t kRecordHeaderBytes = 12;

// Room behind a body for what is copied along with its end.
inline constexpr std::size_t kFillBehindBytes = 8;

// Units that a record takes.
constexpr std::uint32_t RecordUnits(std::uint32_t body_bytes) noexcept {
  return (kRecordHeaderBytes + body_bytes + 7) / 8;
}

// CRC-32C of a record, as PROTOCOL.md says: over the committed word and the body, never 0.
std::uint32_t RecordCrc(std::uint64_t committed_word, const unsigned char* body,
                        std::size_t size_bytes) noexcept;

// Who owns a ring; written once.
struct RingIdentity {
  unsigned char ring_id[16];
  unsigned char boot_id[16];  // Zero where the system tells none.
  std::uint32_t pid;
  std::uint32_t bits;
  std::uint64_t wall_us;
  std::uint64_t time_us;
  std::uint32_t clock_resolution_us;
  const char* executable;  // Zero-terminated UTF-8, no path; cut at 254 bytes.
  const char* version;     // Zero-terminated; cut at 30 bytes.
};

// The first kRingDataOffset bytes. Offsets are checked in ring.cc.
struct RingHeader {
  std::atomic<std::uint64_t> magic;
  std::uint32_t layout;
  std::uint32_t data_offset;
  unsigned char ring_id[16];
  std::uint64_t data_bytes;
  std::uint32_t pid;
  std::uint32_t bits;
  std::uint64_t wall_us;
  std::uint64_t time_us;
  unsigned char boot_id[16];
  std::uint32_t clock_resolution_us;
  unsigned char unused1[12];
  unsigned char executable[256];
  unsigned char version[32];
  unsigned char unused2[128];
  std::atomic<std::uint64_t> tail;
  unsigned char unused3[56];
  std::atomic<std::uint64_t> head;
  std::atomic<std::uint64_t> retired;
  unsigned char unused4[48];
  std::atomic<std::uint64_t> lost[5];
  unsigned char unused5[24];
  std::atomic<std::uint64_t> cached_now_us;
  unsigned char unused6[312];
  InCallSlot inside[kMaxCallsInside];
  unsigned char unused7[1024];
  SessionSlot sessions[kMaxSessionsPerRing];
};
static_assert(sizeof(RingHeader) == kRingDataOffset, "PROTOCOL.md, ring file");

// Which frames a record may push out of the way.
enum class Room {
  kProgress,  // Only below the watermark: can be merged instead.
  kMust,      // As long as there is any room.
};

enum class Loss { kOpen, kProgress, kError, kDone, kOther };

class Ring {
 public:
  // Makes memory (zeroed, 64-byte aligned, borrowed for good) a ring: all but the magic, which says
  // that it is one. bytes: of the memory, above kRingDataOffset; at most kRingFileBytes.
  void Format(void* memory, std::size_t bytes, const RingIdentity& identity) noexcept;
  // Writes the magic. Once the file stands under a name that readers look at.
  void Publish() noexcept;
  // A view of a ring that was formatted before, as its owner. For tests.
  void View(void* memory, std::size_t bytes) noexcept;

  // --- Any thread ---

  // Appends a frame and sets the seq in `body`, which the caller must be able to spare, with
  // kFillBehindBytes behind it. thread: the calling one, which finds the tail sooner then. Returns
  // its seq, 0 if there is no room.
  std::uint64_t Append(unsigned char* body, std::size_t size_bytes, Room room,
                       std::uint32_t thread = 0) noexcept;
  // The same where the caller knows that size_bytes is in range, and where the seq stands in the
  // body. A part of the caller, in ring_append.h. False if there is no room.
  inline bool AppendInline(unsigned char* body, std::size_t size_bytes, std::size_t seq_at,
                           Room room, std::uint32_t thread) noexcept;
  // Appends an `open`, whose session is its own seq. `slot`, if not null, gets that before the
  // record is committed. Returns the seq, 0 if there is no room.
  std::uint64_t AppendOpen(const Stamp& stamp, const Open& open, SessionSlot* slot) noexcept;

  // Time of the last poll of the worker; free of charge, and about as old as the poll interval.
  std::uint64_t CachedNowUs() const noexcept {
    return header_->cached_now_us.load(std::memory_order_relaxed);
  }
  void SetCachedNowUs(std::uint64_t now_us) noexcept {
    header_->cached_now_us.store(now_us, std::memory_order_relaxed);
  }

  // The time now, mostly without asking the system.
  std::uint64_t NowUs() const noexcept { return clock_.NowUs(CachedNowUs()); }
  QuickClock& clock() noexcept { return clock_; }

  void CountLost(Loss loss, std::uint64_t by = 1) noexcept {
    header_->lost[static_cast<int>(loss)].fetch_add(by, std::memory_order_relaxed);
  }
  LostCounts lost() const noexcept;
  // Calls of all sessions so far that only updated a slot.
  std::uint64_t merged() const noexcept;

  // A free session slot, now claimed; nullptr if there is none.
  SessionSlot* ClaimSession() noexcept;
  SessionSlot& session(std::uint32_t at) noexcept { return header_->sessions[at]; }
  // Slots behind this many were never claimed.
  std::uint32_t sessions_used() const noexcept {
    return sessions_used_.load(std::memory_order_acquire);
  }
  // The last Release: records what is left to say of a session, and `close`, and frees its slot.
  // What finds no room, or the worker at the slot, is left to RecordSlots().
  void CloseSession(SessionSlot* slot, std::uint64_t time_us, std::uint32_t thread) noexcept;
  // A free in-call slot, now entered; nullptr if there is none: then nothing watches over that
  // call.
  InCallSlot* Enter(std::uint32_t thread, Method method, std::uint64_t since_us,
                    std::uint64_t session, std::uint64_t call) noexcept {
    // Threads begin at different slots, so that each mostly has a cache line of its own.
    const std::uint32_t start = thread * 2654435761u >> 26;
    for (std::uint32_t i = 0; i < kMaxCallsInside; i++) {
      InCallSlot& slot = header_->inside[(start + i) % kMaxCallsInside];
      if (slot.TryEnter(thread, method, since_us, session, call)) return &slot;
    }
    return nullptr;
  }
  InCallSlot& inside(std::uint32_t at) noexcept { return header_->inside[at]; }

  // What stands first at a place.
  std::atomic<std::uint64_t>& word_at(std::uint32_t unit) const noexcept { return data_[unit]; }
  // Where the next record will stand.
  Place tail() const noexcept;
  Place head() const noexcept { return {header_->head.load(std::memory_order_acquire)}; }
  // Frames that got a seq so far, and those that are freed.
  std::uint64_t recorded() const noexcept { return tail().seq() - 1; }
  std::uint64_t freed() const noexcept { return head().seq() - 1; }
  std::uint32_t data_bytes() const noexcept { return units_ * 8; }
  std::uint32_t used_bytes() const noexcept;
  RingHeader& header() noexcept { return *header_; }

  // --- The worker's thread alone ---

  struct Record {
    enum class State { kEmpty, kReserved, kCommitted };
    State state;
    std::uint64_t seq;
    const unsigned char* body;  // Only of a committed one; stays until FreeTo() passes it.
    std::uint32_t size_bytes;
  };
  // What stands at a place between head and tail. Moves *at over a pad. kEmpty: nobody was here
  // yet.
  Record Peek(Place* at) noexcept;
  // The place behind a record that Peek() found at `at`.
  Place Next(Place at, const Record& record) const noexcept;
  // Writes the checksum of a committed record, if it is not there yet.
  void StampCrc(Place at, const Record& record) noexcept;
  // Gives back the space of all records up to this seq, which must have been sent: it does not look
  // whether they are committed. The newest `progress` of each session goes into its slot.
  void FreeTo(std::uint64_t seq) noexcept;

  // Records `merged` for sessions with merged calls, and `close` for those that wait for room.
  // `time_us` and `thread` are the worker's. Returns how many frames it recorded.
  unsigned RecordSlots(std::uint64_t time_us, std::uint32_t thread) noexcept;
  // Records `blocked` for calls that have been inside for kBlockedAfterMs. Returns the same.
  unsigned RecordBlocked(std::uint64_t time_us) noexcept;
  // Records `lost` if the counts are not *told, and sets it. Returns the same.
  unsigned RecordLost(std::uint64_t time_us, std::uint32_t thread, LostCounts* told) noexcept;

  // --- The steps of Append(), apart, so that a test can stop a thread between them ---

  // A place, the word to put there, and the tail behind it. thread: who tries.
  struct Attempt {
    Place at;
    Word word;
    Place next;
    std::atomic<std::uint64_t>* record;  // weak; the word at the place
    std::uint32_t thread = 0;
  };
  // Looks where the next record goes. own_seq: the body holds its own seq once more, in shortest
  // form, on top of body_bytes. False if there is no room.
  bool Prepare(std::size_t body_bytes, bool own_seq, Room room, Attempt* attempt) const noexcept;
  // Tries to get it. False: prepare again. After a pad too.
  bool Claim(const Attempt& attempt) noexcept;
  // Claim() without the last step, saying where others may go on.
  inline bool Win(const Attempt& attempt) noexcept;
  inline void MoveTail(const Attempt& attempt) noexcept;
  // Behind the body, as far as its last unit reaches, must be zeros.
  inline void Fill(const Attempt& attempt, const unsigned char* body,
                   std::size_t size_bytes) noexcept;
  inline void Commit(const Attempt& attempt) noexcept;
  // Both, for whoever needs no step between.
  void FillAndCommit(const Attempt& attempt, const unsigned char* body,
                     std::size_t size_bytes) noexcept;

 private:
  Place NextOf(Place at, Word word) const noexcept;
  Place Behind(Place at, std::uint32_t units) const noexcept;
  inline bool IsRetired(Place at) const noexcept;
  void KeepTail(Place to) noexcept;
  Place TailFrom(Place at) const noexcept;
  enum class Look { kReady, kNoRoom, kElsewhere };
  inline Look PrepareHere(std::size_t size_bytes, Room room, Attempt* attempt) const noexcept;
  bool ReplaceLeftover(Place at, Word ours, Word found) noexcept;
  void GiveBack(Place at, Word ours) noexcept;
  unsigned RecordSlot(SessionSlot* slot, std::uint64_t time_us, std::uint32_t thread) noexcept;
  void KeepNewest(std::uint64_t session, const ProgressCall& call) noexcept;

  RingHeader* header_ = nullptr;                // weak
  std::atomic<std::uint64_t>* data_ = nullptr;  // weak
  std::uint32_t units_ = 0;                     // In the data.
  std::uint32_t watermark_units_ = 0;

  // Where the tail was when a thread last appended: the cache line of one for all would be passed
  // from thread to thread. Plain stores, of several threads where two share one, so it may step
  // back; whoever looks goes on from there, or from the header's tail if that is later.
  static constexpr unsigned kLatelyBits = 5;
  struct alignas(64) Lately {
    std::atomic<std::uint64_t> place{0};
  };
  Lately lately_[1 << kLatelyBits];
  static std::uint32_t LatelyOf(std::uint32_t thread) noexcept {
    return thread * 2654435761u >> (32 - kLatelyBits);
  }

  alignas(64) std::atomic<std::uint32_t> sessions_used_{0};
  std::atomic<std::uint64_t> merged_before_{0};  // In sessions that are closed.
  QuickClock clock_;

  // Worker: where the slot of a session was last seen, by the low bits of its number.
  static constexpr std::uint32_t kHints = 16;
  struct Hint {
    std::uint64_t session = 0;
    SessionSlot* slot = nullptr;
  } hints_[kHints];
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_RING_H_
