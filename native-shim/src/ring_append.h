// Ring::Append() as a part of its caller, and the steps that it takes: in functions of their own
// they would cost a tenth of a `progress`. What is rare stands apart, in ring.cc.
#ifndef MAPISYNC_SRC_RING_APPEND_H_
#define MAPISYNC_SRC_RING_APPEND_H_

#include <cstring>

#include "big_endian.h"
#include "inlining.h"
#include "processor.h"
#include "ring.h"

// This one takes a store of two words for something else than two stores.
#if defined(__SANITIZE_THREAD__)
#define MAPISYNC_THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MAPISYNC_THREAD_SANITIZER 1
#endif
#endif

namespace mapisync {

// So many records lie at most between the tail in the header and the true one, but for those of
// threads that were stopped just there.
inline constexpr std::uint64_t kTailKeptEvery = 64;

// Where a record further on will stand: the cache lines there were the worker's last. Half a dozen
// records ahead they come in time. The place may lie behind the ring; nothing is read.
inline constexpr std::uint32_t kUnitsAhead = 64;
inline void PrefetchRecord(const std::atomic<std::uint64_t>* at) noexcept {
  for (std::uint32_t unit = 0; unit < 16; unit += 8) {
#if defined(__GNUC__) && defined(__x86_64__)
    // Compilers make a prefetch for reading of it, and a store would have to ask once more. Older
    // processors do nothing.
    asm volatile("prefetchw %0" : : "m"(at[unit]));
#elif defined(__GNUC__)
    __builtin_prefetch(at + unit, 1);
#else
    static_cast<void>(at);
#endif
  }
}

// Into the ring, where an overtaken thread may try its luck on any word.
inline void CopyWord(std::atomic<std::uint64_t>* to, const unsigned char* from) noexcept {
  std::uint64_t word;
  std::memcpy(&word, from, 8);
  to->store(word, std::memory_order_relaxed);
}

// The same for two, each of which is stored in one piece: the language has no word for that, but
// no processor tears a word at an aligned address.
inline void CopyTwoWords(std::atomic<std::uint64_t>* to, const unsigned char* from) noexcept {
#if defined(MAPISYNC_SSE2) && !defined(MAPISYNC_THREAD_SANITIZER)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
#else
  CopyWord(to, from);
  CopyWord(to + 1, from + 8);
#endif
}

MAPISYNC_INLINE bool Ring::AppendInline(unsigned char* body, std::size_t size_bytes,
                                        std::size_t seq_at, Room room,
                                        std::uint32_t thread) noexcept {
  std::memset(body + size_bytes, 0, kFillBehindBytes);
  Attempt attempt;
  attempt.thread = thread;
  const Look look = PrepareHere(size_bytes, room, &attempt);
  if (!MAPISYNC_LIKELY(look == Look::kReady)) {
    return look != Look::kNoRoom && Append(body, size_bytes, room, thread) != 0;
  }
  // Not behind Win(): what was stored just now would keep Fill() waiting.
  StoreBigEndian64(body + seq_at, attempt.at.seq());
  PrefetchRecord(attempt.record + kUnitsAhead);
  if (!MAPISYNC_LIKELY(Win(attempt))) return Append(body, size_bytes, room, thread) != 0;
  MoveTail(attempt);
  Fill(attempt, body, size_bytes);
  Commit(attempt);
  return true;
}

// What Prepare() finds for nearly all records: no other thread appended meanwhile, and the end of
// the data is not in the way.
MAPISYNC_INLINE Ring::Look Ring::PrepareHere(std::size_t size_bytes, Room room,
                                             Attempt* attempt) const noexcept {
  const Place at = {lately_[LatelyOf(attempt->thread)].place.load(std::memory_order_acquire)};
  std::atomic<std::uint64_t>* const record = &word_at(at.unit());
  const Place head = {header_->head.load(std::memory_order_acquire)};
  const std::uint32_t end = at.unit() + RecordUnits(static_cast<std::uint32_t>(size_bytes));
  const std::uint32_t limit = room == Room::kProgress ? watermark_units_ : units_ - 1;
  std::uint32_t after = end - head.unit();
  if (at.unit() < head.unit()) after += units_;
  const bool is_free = record->load(std::memory_order_acquire) == 0;
  // Behind a pad both may have one number, and Prepare() looks more closely.
  if (!MAPISYNC_LIKELY(is_free && head.value <= at.value)) return Look::kElsewhere;
  if (!MAPISYNC_LIKELY(after <= limit)) return Look::kNoRoom;
  if (!MAPISYNC_LIKELY(end < units_)) return Look::kElsewhere;
  attempt->at = at;
  attempt->record = record;
  attempt->word = Word::Of(at.seq(), size_bytes, Word::kReserved);
  attempt->next = Place::Of(at.seq() + 1, end);
  return Look::kReady;
}

MAPISYNC_INLINE bool Ring::Win(const Attempt& attempt) noexcept {
  const Place at = attempt.at;
  const Word ours = attempt.word;
  std::uint64_t found = 0;
  const bool won = attempt.record->compare_exchange_strong(
      found, ours.value, std::memory_order_acq_rel, std::memory_order_acquire);
  if (!MAPISYNC_LIKELY(won) && !ReplaceLeftover(at, ours, {found})) return false;
  if (MAPISYNC_LIKELY(!IsRetired(at))) return true;
  GiveBack(at, ours);
  return false;
}

inline bool Ring::IsRetired(Place at) const noexcept {
  return Place{header_->retired.load(std::memory_order_acquire)}.seq() > at.seq();
}

MAPISYNC_INLINE void Ring::MoveTail(const Attempt& attempt) noexcept {
  lately_[LatelyOf(attempt.thread)].place.store(attempt.next.value, std::memory_order_release);
  if (!MAPISYNC_LIKELY(attempt.at.seq() % kTailKeptEvery != 0)) KeepTail(attempt.next);
}

MAPISYNC_INLINE void Ring::Fill(const Attempt& attempt, const unsigned char* body,
                                std::size_t size_bytes) noexcept {
  std::atomic<std::uint64_t>* const to = attempt.record + 1;
  const std::size_t last = (size_bytes + 3) / 8;
  std::uint32_t first;
  std::memcpy(&first, body, 4);
  to[0].store(std::uint64_t{first} << 32, std::memory_order_relaxed);  // No checksum yet.
  if (!MAPISYNC_LIKELY(last >= 4)) {
    for (std::size_t word = 1; word <= last; word++) CopyWord(to + word, body - 4 + 8 * word);
    return;
  }
  // Four words at a time; the last four may be among those before.
  CopyTwoWords(to + 1, body + 4);
  CopyTwoWords(to + 3, body + 20);
  for (std::size_t word = 5; word + 3 < last; word += 4) {
    CopyTwoWords(to + word, body - 4 + 8 * word);
    CopyTwoWords(to + word + 2, body + 12 + 8 * word);
  }
  CopyTwoWords(to + last - 3, body - 28 + 8 * last);
  CopyTwoWords(to + last - 1, body - 12 + 8 * last);
}

MAPISYNC_INLINE void Ring::Commit(const Attempt& attempt) noexcept {
  const std::uint64_t committed = attempt.word.value + (Word::kCommitted - Word::kReserved);
  attempt.record->store(committed, std::memory_order_release);
}

}  // namespace mapisync

#endif  // MAPISYNC_SRC_RING_APPEND_H_
