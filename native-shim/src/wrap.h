// The COM edge on the provider's side: a tear-off in the place of its IMAPISync. It answers
// IID_IMAPISync itself and hands every other interface, IUnknown included, to the provider's
// object, so that identity stays the provider's.
#ifndef MAPISYNC_SRC_WRAP_H_
#define MAPISYNC_SRC_WRAP_H_

#include <atomic>
#include <cstdint>

#include "callback.h"
#include "frames.h"
#include "mapisync.h"

namespace mapisync {

class Recorder;

inline constexpr Guid kIidSync = MAPISYNC_IID_IMAPISYNC;

class Wrap final : public Sync {
 public:
  // A MAPISIB that claims to be larger is not believed.
  static constexpr std::uint32_t kMaxSibBytes = 256;

  // With one reference, and one to `inner` as long as it lives. The names are copied. Null if there
  // is no memory.
  static Wrap* Create(Sync* inner, bool force, Text provider, Text store) noexcept;

  Hresult MAPISYNC_CALL QueryInterface(const Guid& iid, void** object) noexcept override;
  std::uint32_t MAPISYNC_CALL AddRef() noexcept override;
  std::uint32_t MAPISYNC_CALL Release() noexcept override;
  // Each call is a session of its own.
  Hresult MAPISYNC_CALL SynchronizeInBackground(mapisync_mapisib* sib) noexcept override;

 private:
  Wrap(Sync* inner, bool force) noexcept : inner_(inner), force_(force) {}
  ~Wrap() = default;  // Release() only.

  Callback* Begin(const mapisync_mapisib& sib) const noexcept;

  std::atomic<std::uint32_t> refs_{1};
  Sync* const inner_;
  const bool force_;
  Text provider_;  // In the memory behind the object, as is the next.
  Text store_;
};

}  // namespace mapisync

#endif  // MAPISYNC_SRC_WRAP_H_
