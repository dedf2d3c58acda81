#include "frames.h"
#include "msgpack_reader.h"

namespace mapisync {
namespace {

constexpr std::uint32_t kHeaderElements = 5;

constexpr std::uint64_t Number(Kind kind) noexcept { return static_cast<std::uint64_t>(kind); }

}  // namespace

unsigned KindOf(const unsigned char* body, std::size_t size_bytes) noexcept {
  MsgpackReader r(body, size_bytes);
  r.Array();
  const std::uint64_t kind = r.Uint();
  return r.ok() && kind <= 0xffff ? static_cast<unsigned>(kind) : 0;
}

bool DecodeProgress(const unsigned char* body, std::size_t size_bytes, std::uint64_t* session,
                    ProgressCall* call) noexcept {
  MsgpackReader r(body, size_bytes);
  if (r.Array() < kHeaderElements + 5 || r.Uint() != Number(Kind::kProgress)) return false;
  r.Uint();  // seq
  call->time_us = r.Uint();
  r.Uint();  // thread
  *session = r.Uint();
  call->call = r.Uint();
  call->index = static_cast<std::uint32_t>(r.Uint());
  call->max = static_cast<std::uint32_t>(r.Uint());
  call->marks = static_cast<std::uint32_t>(r.Uint());
  call->text = r.Str(true);
  return r.ok();
}

bool IsSequenced(const unsigned char* body, std::size_t size_bytes, std::uint64_t seq) noexcept {
  MsgpackReader r(body, size_bytes);
  const std::uint32_t count = r.Array();
  if (count < kHeaderElements) return false;
  r.Uint();  // kind
  const bool same = r.Fixed(0xcf) == seq;
  r.Fixed(0xcf);  // time
  r.Fixed(0xce);  // thread
  r.Uint();       // session
  for (std::uint32_t i = kHeaderElements; i < count; i++) r.Skip();
  return same && r.at_end();
}

DaemonFrame DecodeDaemonFrame(const unsigned char* body, std::size_t size_bytes) noexcept {
  using Type = DaemonFrame::Type;
  DaemonFrame frame;
  MsgpackReader r(body, size_bytes);
  const std::uint32_t elements = r.Array() - 1;
  const std::uint64_t kind = r.Uint();
  if (!r.ok()) return frame;
  Type type = Type::kUnknown;
  std::uint32_t wanted = 0;
  if (kind == Number(Kind::kDaemonWelcome)) {
    type = Type::kWelcome;
    wanted = 2;
    frame.protocol = static_cast<std::uint32_t>(r.Uint());
    frame.durable = r.Uint();
  } else if (kind == Number(Kind::kDaemonAck)) {
    type = Type::kAck;
    wanted = 1;
    frame.durable = r.Uint();
  } else if (kind == Number(Kind::kDaemonRefused)) {
    type = Type::kRefused;
    wanted = 2;
    frame.reason = static_cast<std::uint32_t>(r.Uint());
    frame.text = r.Str(false);
  } else if (kind == Number(Kind::kDaemonBye)) {
    type = Type::kBye;
  }
  if (!r.ok() || elements < wanted) return DaemonFrame();
  frame.type = type;
  return frame;
}

}  // namespace mapisync
