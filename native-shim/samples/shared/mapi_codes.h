// The few result codes that the samples use, with MAPI's names.
#ifndef MAPISYNC_SAMPLES_SHARED_MAPI_CODES_H_
#define MAPISYNC_SAMPLES_SHARED_MAPI_CODES_H_

#include "mapisync.h"

namespace sample {

using mapisync::Hresult;

constexpr Hresult CodeOf(uint32_t bits) noexcept { return static_cast<Hresult>(bits); }
constexpr uint32_t BitsOf(Hresult code) noexcept { return static_cast<uint32_t>(code); }

inline constexpr Hresult kOk = 0;
inline constexpr Hresult kNoInterface = CodeOf(0x80004002);
inline constexpr Hresult kNoAccess = CodeOf(0x80070005);
inline constexpr Hresult kNotEnoughMemory = CodeOf(0x8007000E);
inline constexpr Hresult kInvalidParameter = CodeOf(0x80070057);
inline constexpr Hresult kBusy = CodeOf(0x8004010B);
inline constexpr Hresult kNotEnoughDisk = CodeOf(0x8004010D);
inline constexpr Hresult kNotFound = CodeOf(0x8004010F);
inline constexpr Hresult kUserCancel = CodeOf(0x80040113);
inline constexpr Hresult kNetworkError = CodeOf(0x80040115);
inline constexpr Hresult kDiskError = CodeOf(0x80040116);
inline constexpr Hresult kCorruptData = CodeOf(0x8004011B);
inline constexpr Hresult kErrorsReturned = CodeOf(0x00040380);  // A warning: bit 31 is clear.

constexpr bool Failed(Hresult code) noexcept { return code < 0; }

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_SHARED_MAPI_CODES_H_
