// A record whose thread died before it was filled, in a process that lives on. Such a thread was
// ended by force; one that is only slow must never be mistaken for it.
#ifndef MAPISYNC_SRC_HOLE_H_
#define MAPISYNC_SRC_HOLE_H_

#include <cstdint>

#include "ring.h"

namespace mapisync {

// The thread that reserved the record at `at`, which Peek() called reserved. 0: it had not come so
// far as to write that down. Worker, once the record has long been left alone.
std::uint32_t ReservedBy(Ring* ring, Place at) noexcept;

// Fills and commits that record with a `hole`, of exactly its size, and counts it as lost. Only
// once the thread is proven dead. Worker.
void FillHole(Ring* ring, Place at, const Ring::Record& record, std::uint64_t time_us) noexcept;

}  // namespace mapisync

#endif  // MAPISYNC_SRC_HOLE_H_
