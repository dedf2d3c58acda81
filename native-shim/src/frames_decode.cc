#include <cstring>

#include "frames.h"
#include "msgpack_reader.h"

namespace mapisync {
namespace {

constexpr std::uint32_t kHeaderElements = 5;
// Sequence numbers, and so sessions, stay below this.
constexpr std::uint64_t kSeqLimit = std::uint64_t{1} << 45;

constexpr std::uint64_t Number(Kind kind) noexcept { return static_cast<std::uint64_t>(kind); }

// Goes over one element as PROTOCOL.md has it. u: an integer; w: one of 32 bits, W: or nil; a:
// attach; m: method; n: a name, N: or nil; t: a text or nil; s: the text of a slot or nil.
void ReadElement(MsgpackReader* r, char type) noexcept {
  constexpr std::uint64_t kLargestChoice = 3;  // Of attach and of method.
  switch (type) {
    case 'u':
      r->Uint();
      break;
    case 'w':
      r->U32();
      break;
    case 'W':
      r->U32OrNil();
      break;
    case 'a':
    case 'm':
      r->Choice(kLargestChoice);
      break;
    case 'n':
    case 'N':
      r->Str(type == 'N', kMaxNameBytes);
      break;
    case 't':
      r->Str(true, kMaxTextBytes);
      break;
    case 's':
      r->Str(true, kMaxSlotTextBytes);
      break;
  }
}

}  // namespace

const char* ElementsOf(std::uint64_t kind) noexcept {
  switch (kind) {
    case Number(Kind::kHello):
    case Number(Kind::kSlot):
    case Number(Kind::kBye):
      return nullptr;
    case Number(Kind::kOpen):
      return "aWNNuw";
    case Number(Kind::kProgress):
      return "uwwwt";
    case Number(Kind::kError):
      return "uwwt";
    case Number(Kind::kDone):
      return "uww";
    case Number(Kind::kInner):
      return "muwu";
    case Number(Kind::kBlocked):
      return "muu";
    case Number(Kind::kUnblocked):
      return "muuu";
    case Number(Kind::kReturned):
      return "wuw";
    case Number(Kind::kNote):
      return "nn";
    case Number(Kind::kClose):
      return "uuuuuuu?uuuuuu";
    case Number(Kind::kMerged):
      return "uuuuuuuuuwwws?uuuuuu";
    case Number(Kind::kLost):
      return "uuuuu";
    case Number(Kind::kHole):
      return "w";
    case Number(Kind::kClock):
      return "u";
    default:
      return "";
  }
}

unsigned KindOf(const unsigned char* body, std::size_t size_bytes) noexcept {
  MsgpackReader r(body, size_bytes);
  r.Array();
  const std::uint64_t kind = r.Uint();
  return r.ok() && kind <= 0xffff ? static_cast<unsigned>(kind) : 0;
}

bool DecodeProgress(const unsigned char* body, std::size_t size_bytes, std::uint64_t* session,
                    ProgressCall* call) noexcept {
  constexpr std::uint32_t kElements = kHeaderElements + 5;
  MsgpackReader r(body, size_bytes);
  const std::uint32_t count = r.Array();
  if (count < kElements || r.Uint() != Number(Kind::kProgress)) return false;
  const std::uint64_t seq = r.Fixed(0xcf, kSeqLimit);
  call->time_us = r.Fixed(0xcf);
  r.Fixed(0xce);  // thread
  *session = r.Uint(kSeqLimit);
  call->call = r.Uint();
  call->index = r.U32();
  call->max = r.U32();
  call->marks = r.U32();
  call->text = r.Str(true, kMaxTextBytes);
  return r.End(count - kElements) && seq != 0;
}

bool PeekProgress(const unsigned char* body, std::size_t size_bytes, std::uint64_t* session,
                  std::uint64_t* call) noexcept {
  // A head of one byte, the kind, and behind them all that is fixed.
  constexpr std::size_t kSessionAt = 25;
  if (size_bytes <= kSessionAt || (body[0] & 0xf0) != 0x90) return false;
  if (body[1] != static_cast<unsigned>(Kind::kProgress)) return false;
  MsgpackReader r(body + kSessionAt, size_bytes - kSessionAt);
  *session = r.Uint(kSeqLimit);
  *call = r.Uint();
  return r.ok();
}

bool IsSequenced(const unsigned char* body, std::size_t size_bytes, std::uint64_t seq) noexcept {
  MsgpackReader r(body, size_bytes);
  const std::uint32_t count = r.Array();
  const char* type = ElementsOf(r.Uint());
  if (type == nullptr || seq == 0) return false;
  const std::uint32_t needed =
      kHeaderElements + static_cast<std::uint32_t>(std::strcspn(type, "?"));
  if (count < needed) return false;
  const bool same = r.Fixed(0xcf, kSeqLimit) == seq;
  r.Fixed(0xcf);      // time
  r.Fixed(0xce);      // thread
  r.Uint(kSeqLimit);  // session
  std::uint32_t left = count - kHeaderElements;
  for (; *type != '\0'; type++) {
    if (*type == '?') {
      if (left < std::strlen(type + 1)) break;
      continue;
    }
    ReadElement(&r, *type);
    left--;
  }
  return r.End(left) && same;
}

DaemonFrame DecodeDaemonFrame(const unsigned char* body, std::size_t size_bytes) noexcept {
  using Type = DaemonFrame::Type;
  DaemonFrame frame;
  MsgpackReader r(body, size_bytes);
  const std::uint32_t elements = r.Array();
  const std::uint64_t kind = r.Uint();
  if (!r.ok()) return frame;
  Type type = Type::kUnknown;
  std::uint32_t wanted = 1;
  if (kind == Number(Kind::kDaemonWelcome)) {
    type = Type::kWelcome;
    wanted = 3;
    frame.protocol = r.U32();
    frame.durable = r.Uint(kSeqLimit);
  } else if (kind == Number(Kind::kDaemonAck)) {
    type = Type::kAck;
    wanted = 2;
    frame.durable = r.Uint(kSeqLimit);
  } else if (kind == Number(Kind::kDaemonRefused)) {
    type = Type::kRefused;
    wanted = 3;
    frame.reason = r.U32();
    frame.text = r.Str(false, kMaxNameBytes);
  } else if (kind == Number(Kind::kDaemonBye)) {
    type = Type::kBye;
  }
  if (elements < wanted || !r.ok()) return DaemonFrame();
  frame.type = type;
  return frame;
}

}  // namespace mapisync
