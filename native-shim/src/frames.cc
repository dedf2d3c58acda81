#include "frames.h"

#include <cstring>
#include <initializer_list>

#include "msgpack_writer.h"

namespace mapisync {
namespace {

constexpr std::uint32_t kHeaderElements = 5;
constexpr std::uint32_t kCountersElements = 7;
constexpr std::uint32_t kNewestElements = 6;
constexpr std::uint32_t kInnerTimesElements = 2 * kMethodCount;

template <typename E>
constexpr std::uint64_t Number(E value) noexcept {
  return static_cast<std::uint64_t>(value);
}

MsgpackWriter Control(Kind kind, std::uint32_t elements, Buffer out) noexcept {
  MsgpackWriter w(out);
  w.Array(1 + elements);
  w.Uint(Number(kind));
  return w;
}

MsgpackWriter Sequenced(Kind kind, std::uint32_t elements, const Stamp& stamp,
                        Buffer out) noexcept {
  MsgpackWriter w(out);
  w.Array(kHeaderElements + elements);
  w.Uint(Number(kind));
  w.FixedU64(stamp.seq);
  w.FixedU64(stamp.time_us);
  w.FixedU32(stamp.thread);
  w.Uint(stamp.session);
  return w;
}

void Put(MsgpackWriter& w, const Counters& c) noexcept {
  for (const std::uint64_t value :
       {c.progress, c.errors, c.dones, c.merged, c.lost, c.inner_us, c.inner_max_us}) {
    w.Uint(value);
  }
}

void PutInnerTimes(MsgpackWriter& w, const Counters& c) noexcept {
  for (const InnerTime& method : c.methods) {
    w.Uint(method.us);
    w.Uint(method.max_us);
  }
}

void Put(MsgpackWriter& w, const ProgressCall& newest) noexcept {
  w.Uint(newest.call);
  w.Uint(newest.time_us);
  w.Uint(newest.index);
  w.Uint(newest.max);
  w.Uint(newest.marks);
  w.Str(newest.text);
}

}  // namespace

std::size_t EncodeHello(const Hello& hello, Buffer out) noexcept {
  MsgpackWriter w = Control(Kind::kHello, 11, out);
  w.Uint(kProtocolVersion);
  w.Bin(hello.ring_id, 16);
  w.Uint(hello.freed);
  w.Uint(hello.pid);
  w.Uint(hello.bits);
  w.Str(hello.executable);
  w.Str(hello.version);
  w.Uint(hello.time_us);
  w.Uint(hello.wall_us);
  w.Uint(hello.clock_resolution_us);
  w.Uint(hello.in_memory ? 1 : 0);
  return w.size_bytes();
}

std::size_t EncodeSlot(std::uint64_t session, std::uint64_t open_time_us, const Counters& counters,
                       const ProgressCall& newest, Buffer out) noexcept {
  MsgpackWriter w =
      Control(Kind::kSlot, 2 + kCountersElements + kNewestElements + kInnerTimesElements, out);
  w.Uint(session);
  w.Uint(open_time_us);
  Put(w, counters);
  Put(w, newest);
  PutInnerTimes(w, counters);
  return w.size_bytes();
}

std::size_t EncodeBye(ByeReason reason, Buffer out) noexcept {
  MsgpackWriter w = Control(Kind::kBye, 1, out);
  w.Uint(Number(reason));
  return w.size_bytes();
}

std::size_t EncodeOpen(const Stamp& stamp, const Open& open, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kOpen, 6, stamp, out);
  w.Uint(Number(open.attach));
  if (open.has_flags) {
    w.Uint(open.flags);
  } else {
    w.Nil();
  }
  w.Str(open.provider);
  w.Str(open.store);
  w.Uint(open.wall_us);
  w.Uint(open.has_callback ? 1 : 0);
  return w.size_bytes();
}

std::size_t EncodeProgress(const Stamp& stamp, const ProgressCall& call, Buffer out) noexcept {
  Stamp header = stamp;
  header.time_us = call.time_us;
  MsgpackWriter w = Sequenced(Kind::kProgress, 5, header, out);
  w.Uint(call.call);
  w.Uint(call.index);
  w.Uint(call.max);
  w.Uint(call.marks);
  w.Str(call.text);
  return w.size_bytes();
}

std::size_t EncodeError(const Stamp& stamp, std::uint64_t call, std::uint32_t hresult,
                        std::uint32_t marks, Text text, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kError, 4, stamp, out);
  w.Uint(call);
  w.Uint(hresult);
  w.Uint(marks);
  w.Str(text);
  return w.size_bytes();
}

std::size_t EncodeDone(const Stamp& stamp, std::uint64_t call, std::uint32_t hresult,
                       HandleMatch handle, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kDone, 3, stamp, out);
  w.Uint(call);
  w.Uint(hresult);
  w.Uint(Number(handle));
  return w.size_bytes();
}

std::size_t EncodeInner(const Stamp& stamp, Method method, std::uint64_t call,
                        std::uint32_t hresult, std::uint64_t duration_us, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kInner, 4, stamp, out);
  w.Uint(Number(method));
  w.Uint(call);
  w.Uint(hresult);
  w.Uint(duration_us);
  return w.size_bytes();
}

std::size_t EncodeBlocked(const Stamp& stamp, Method method, std::uint64_t call,
                          std::uint64_t since_us, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kBlocked, 3, stamp, out);
  w.Uint(Number(method));
  w.Uint(call);
  w.Uint(since_us);
  return w.size_bytes();
}

std::size_t EncodeUnblocked(const Stamp& stamp, Method method, std::uint64_t call,
                            std::uint64_t since_us, std::uint64_t duration_us,
                            Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kUnblocked, 4, stamp, out);
  w.Uint(Number(method));
  w.Uint(call);
  w.Uint(since_us);
  w.Uint(duration_us);
  return w.size_bytes();
}

std::size_t EncodeReturned(const Stamp& stamp, std::uint32_t hresult, std::uint64_t duration_us,
                           bool event_set, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kReturned, 3, stamp, out);
  w.Uint(hresult);
  w.Uint(duration_us);
  w.Uint(event_set ? 1 : 0);
  return w.size_bytes();
}

std::size_t EncodeNote(const Stamp& stamp, Text key, Text value, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kNote, 2, stamp, out);
  w.Str(key);
  w.Str(value);
  return w.size_bytes();
}

std::size_t EncodeClose(const Stamp& stamp, const Counters& counters, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kClose, kCountersElements + kInnerTimesElements, stamp, out);
  Put(w, counters);
  PutInnerTimes(w, counters);
  return w.size_bytes();
}

std::size_t EncodeMerged(const Stamp& stamp, const Counters& counters, const ProgressCall& newest,
                         Buffer out) noexcept {
  MsgpackWriter w = Sequenced(
      Kind::kMerged, kCountersElements + kNewestElements + kInnerTimesElements, stamp, out);
  Put(w, counters);
  Put(w, newest);
  PutInnerTimes(w, counters);
  return w.size_bytes();
}

std::size_t EncodeLost(const Stamp& stamp, const LostCounts& lost, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kLost, 5, stamp, out);
  for (const std::uint64_t value :
       {lost.opens, lost.progress, lost.errors, lost.dones, lost.others}) {
    w.Uint(value);
  }
  return w.size_bytes();
}

std::size_t EncodeHole(const Stamp& stamp, HoleReason reason, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kHole, 1, stamp, out);
  w.Uint(Number(reason));
  return w.size_bytes();
}

std::size_t EncodeClock(const Stamp& stamp, std::uint64_t wall_us, Buffer out) noexcept {
  MsgpackWriter w = Sequenced(Kind::kClock, 1, stamp, out);
  w.Uint(wall_us);
  return w.size_bytes();
}

}  // namespace mapisync
