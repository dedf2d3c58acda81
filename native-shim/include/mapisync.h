/*
 * mapisync: makes a MAPI store provider's background sync visible.
 *
 * Needs no MAPI or Windows headers; text is char16_t, handles and COM objects are opaque pointers.
 * No function here blocks, throws, shows UI or fails because of mapisync, but for
 * mapisync_flush(), which waits as long as it is told. Every function may be called on any thread.
 *
 * The COM types are declared here in our own words, since no public header has them. They are
 * binary compatible with IUnknown, IMAPISync, IMAPISyncProgressCallback and MAPISIB; where a
 * provider has its own declarations, cast.
 */
#ifndef MAPISYNC_H_
#define MAPISYNC_H_

#define MAPISYNC_VERSION "0.1.0"
#define MAPISYNC_VERSION_NUMBERS 0, 1, 0, 0 /* the same for a version resource */

/*
 * Version of the binary interface: the exported functions, the structs and the COM tables of this
 * header. It goes up with every change of them. Within one number nothing changes; a higher number
 * adds functions, or fields at the end of a struct that says its own size.
 */
#define MAPISYNC_ABI 1

#ifndef RC_INVOKED /* A resource compiler needs no more than that. */

#include <stddef.h>
#include <stdint.h>
#if !defined(__cplusplus)
#if defined(_MSC_VER)
typedef uint16_t char16_t; /* Its C has no uchar.h in older versions. */
#else
#include <uchar.h>
#endif
#endif

/*
 * MAPISYNC_SHARED: define it to link to the import library of the DLL. Not needed where the source
 * is compiled in, or the DLL is loaded by LoadLibrary.
 */
#if defined(_WIN32)
#define MAPISYNC_CALL __stdcall
#if defined(MAPISYNC_SHARED)
#define MAPISYNC_API __declspec(dllimport)
#else
#define MAPISYNC_API
#endif
#else
#define MAPISYNC_CALL
#define MAPISYNC_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
#define MAPISYNC_NOEXCEPT noexcept
extern "C" {
#else
#define MAPISYNC_NOEXCEPT
#endif

typedef int32_t mapisync_hresult;

typedef struct mapisync_guid {
  uint32_t data1;
  uint16_t data2, data3;
  uint8_t data4[8];
} mapisync_guid;

/* {00000000-0000-0000-C000-000000000046}, {5024A385-...}, {5024A386-2D44-486A-81A8-8F0ECB6071DD} */
#define MAPISYNC_IID_IUNKNOWN                                    \
  {                                                              \
    0x00000000, 0x0000, 0x0000, { 0xC0, 0, 0, 0, 0, 0, 0, 0x46 } \
  }
#define MAPISYNC_IID_IMAPISYNC                                                     \
  {                                                                                \
    0x5024A385, 0x2D44, 0x486A, { 0x81, 0xA8, 0x8F, 0x0E, 0xCB, 0x60, 0x71, 0xDD } \
  }
#define MAPISYNC_IID_IMAPISYNCPROGRESSCALLBACK                                     \
  {                                                                                \
    0x5024A386, 0x2D44, 0x486A, { 0x81, 0xA8, 0x8F, 0x0E, 0xCB, 0x60, 0x71, 0xDD } \
  }

/* MAPISIB: what Outlook hands to IMAPISync::SynchronizeInBackground. */
typedef struct mapisync_mapisib {
  uint32_t ulSize;
  uint32_t ulFlags;
  void* psesSync;         /* LPMAPISESSION */
  void* punkCallBack;     /* LPUNKNOWN: Outlook's callback */
  void** phSyncDoneEvent; /* out: HANDLE that is signalled when the sync's thread is complete */
} mapisync_mapisib;

typedef struct mapisync_options {
  uint32_t size;            /* sizeof(mapisync_options); newer fields come behind the older ones */
  uint32_t flags;           /* MAPISYNC_... below */
  uint32_t sync_flags;      /* MAPISIB.ulFlags, if MAPISYNC_HAS_SYNC_FLAGS */
  uint32_t reserved;        /* 0 */
  const char16_t* provider; /* name of the provider, zero-terminated; may be NULL; copied */
  const char16_t* store;    /* label of the store, zero-terminated; may be NULL; copied */
  void* const*
      sync_done_event; /* MAPISIB.phSyncDoneEvent, to compare Done's handle with; may be NULL.
                          Must stay readable until the last Release of what is returned.
                          Not for a wrap, which sees MAPISIB itself; nor is sync_flags. */
} mapisync_options;

/* mapisync_options.flags */
#define MAPISYNC_HAS_SYNC_FLAGS 0x1u   /* sync_flags is known */
#define MAPISYNC_FORCE 0x2u            /* record even where no state directory exists: make it */
#define MAPISYNC_CLOSE_DONE_EVENT 0x4u /* sink only: close Done's handle, once, after recording */

/*
 * Tee: wraps Outlook's callback. Every call is recorded, then forwarded on the caller's thread, and
 * Outlook's result comes back unchanged.
 *
 * callback: MAPISIB.punkCallBack (an IUnknown). Borrowed for the call.
 * options: may be NULL.
 * Returns what the provider uses in its place, with one reference that the provider releases: an
 * object that answers to IUnknown and IMAPISyncProgressCallback and may be cast to the latter.
 * Where mapisync is off or dormant, or has no free slot, or callback refuses the interface:
 * callback itself, with one reference more. NULL for NULL.
 */
MAPISYNC_API void* mapisync_tee(void* callback, const mapisync_options* options) MAPISYNC_NOEXCEPT;

/*
 * Wrap: wraps the provider's own IMAPISync. One line in its QueryInterface for IID_IMAPISync, and
 * the callback is seen without another, in C++ `*ppv = mapisync_wrap(static_cast<IMAPISync*>(this),
 * &options);` and in C `*ppv = mapisync_wrap(&self->sync, &options);`. Each
 * SynchronizeInBackground is a session: its flags, its result, and a tee around the callback in the
 * MAPISIB that the provider gets to see. That is a copy, which lives until the last Release of the
 * callback; Outlook's own is left alone. A provider that keeps the callback without a reference of
 * its own may use it up to its first Done.
 *
 * sync: the provider's IMAPISync. Borrowed for the call; what is returned has a reference of its
 * own. options: may be NULL. The names are copied. Returns an IMAPISync with one reference. It
 * answers to IID_IMAPISync; every other interface, IUnknown too, is the provider's. Where mapisync
 * is off or dormant: sync itself, with one reference more. NULL for NULL. A MAPISIB with no
 * callback, with one that refuses its interface, or of a size that cannot be (above 256 bytes, or
 * too small for a callback) is passed on as it is; then only the call itself is recorded. Do not
 * tee the callback of a wrapped sync once more: it would be recorded twice.
 */
MAPISYNC_API void* mapisync_wrap(void* sync, const mapisync_options* options) MAPISYNC_NOEXCEPT;

/*
 * Sink: a stand-alone IMAPISyncProgressCallback for a test host with no Outlook behind it. Every
 * method returns S_OK. Never NULL but when memory is short. Where mapisync is off it records
 * nothing.
 */
MAPISYNC_API void* mapisync_sink(const mapisync_options* options) MAPISYNC_NOEXCEPT;

/*
 * The public id of an object's session, for the provider's own log: 16 hex digits and a zero.
 * object: what mapisync_tee() or mapisync_sink() returned, or behind a wrap MAPISIB.punkCallBack.
 * Returns 0, and "", if it has no session.
 */
#define MAPISYNC_SESSION_ID_CHARS 17
MAPISYNC_API int mapisync_session_id(void* object,
                                     char id[MAPISYNC_SESSION_ID_CHARS]) MAPISYNC_NOEXCEPT;

/* Adds a note to an object's session. Both are copied and cut at 1,024 bytes of UTF-8. */
MAPISYNC_API void mapisync_note(void* object, const char16_t* key,
                                const char16_t* value) MAPISYNC_NOEXCEPT;

typedef struct mapisync_status {
  uint32_t size;         /* in: sizeof(mapisync_status) */
  uint32_t recording;    /* 1: a ring exists and calls go into it */
  uint32_t in_file;      /* 1: the ring is a file and outlives the process */
  uint32_t connected;    /* 1: a daemon is connected */
  uint64_t recorded;     /* frames so far */
  uint64_t acknowledged; /* frames that stand in the daemon's journal */
  uint64_t merged;       /* Progress calls that only updated a slot */
  uint64_t lost;         /* frames that found no room */
} mapisync_status;

MAPISYNC_API void mapisync_get_status(mapisync_status* status) MAPISYNC_NOEXCEPT;

/*
 * Waits until every call that has returned is acknowledged by a daemon, at most timeout_ms
 * milliseconds (0: do not wait). For IMAPIProviderShutdown and for tests. Returns 1 if so.
 */
MAPISYNC_API int mapisync_flush(uint32_t timeout_ms) MAPISYNC_NOEXCEPT;

/*
 * What a provider may export, under any name, so that a test host can run its sync without Outlook
 * (docs/provider-guide.md has how). cdecl on x86.
 *
 * config: UTF-8 text that the host passes on from its user; what it says is the provider's affair.
 * sync: receives an IMAPISync with one reference, which the caller releases; NULL on failure.
 * Returns an HRESULT. May be called several times, for several objects at once.
 */
typedef mapisync_hresult (*mapisync_test_entry)(const char* config, void** sync);

/* The layout is what MAPISYNC_ABI stands for: with 8-byte and with 4-byte pointers. */
#define MAPISYNC_CHECK_SIZE(type, size64, size32) \
  typedef char type##_size[sizeof(type) == (sizeof(void*) == 8 ? (size64) : (size32)) ? 1 : -1]
MAPISYNC_CHECK_SIZE(mapisync_guid, 16, 16);
MAPISYNC_CHECK_SIZE(mapisync_mapisib, 32, 20);
MAPISYNC_CHECK_SIZE(mapisync_options, 40, 28);
MAPISYNC_CHECK_SIZE(mapisync_status, 48, 48);
#undef MAPISYNC_CHECK_SIZE

#ifdef __cplusplus
} /* extern "C" */

namespace mapisync {

using Hresult = mapisync_hresult;
using Guid = mapisync_guid;

struct Unknown {
  virtual Hresult MAPISYNC_CALL QueryInterface(const Guid& iid, void** object) noexcept = 0;
  virtual uint32_t MAPISYNC_CALL AddRef() noexcept = 0;
  virtual uint32_t MAPISYNC_CALL Release() noexcept = 0;
};

/* IMAPISyncProgressCallback: Outlook implements it, the provider calls it. */
struct ProgressCallback : Unknown {
  virtual Hresult MAPISYNC_CALL Progress(const char16_t* text, uint32_t index,
                                         uint32_t index_max) noexcept = 0;
  virtual Hresult MAPISYNC_CALL Error(Hresult result, const char16_t* text) noexcept = 0;
  virtual Hresult MAPISYNC_CALL Done(void* thread_done_event, Hresult result) noexcept = 0;
};

/* IMAPISync: the provider implements it, Outlook calls it. */
struct Sync : Unknown {
  virtual Hresult MAPISYNC_CALL SynchronizeInBackground(mapisync_mapisib* sib) noexcept = 0;
};

} /* namespace mapisync */

#else /* C */

typedef struct mapisync_callback mapisync_callback;
typedef struct mapisync_callback_vtbl {
  mapisync_hresult(MAPISYNC_CALL* QueryInterface)(mapisync_callback*, const mapisync_guid*, void**);
  uint32_t(MAPISYNC_CALL* AddRef)(mapisync_callback*);
  uint32_t(MAPISYNC_CALL* Release)(mapisync_callback*);
  mapisync_hresult(MAPISYNC_CALL* Progress)(mapisync_callback*, const char16_t*, uint32_t,
                                            uint32_t);
  mapisync_hresult(MAPISYNC_CALL* Error)(mapisync_callback*, mapisync_hresult, const char16_t*);
  mapisync_hresult(MAPISYNC_CALL* Done)(mapisync_callback*, void*, mapisync_hresult);
} mapisync_callback_vtbl;
struct mapisync_callback {
  const mapisync_callback_vtbl* vtbl;
};

typedef struct mapisync_sync mapisync_sync;
typedef struct mapisync_sync_vtbl {
  mapisync_hresult(MAPISYNC_CALL* QueryInterface)(mapisync_sync*, const mapisync_guid*, void**);
  uint32_t(MAPISYNC_CALL* AddRef)(mapisync_sync*);
  uint32_t(MAPISYNC_CALL* Release)(mapisync_sync*);
  mapisync_hresult(MAPISYNC_CALL* SynchronizeInBackground)(mapisync_sync*, mapisync_mapisib*);
} mapisync_sync_vtbl;
struct mapisync_sync {
  const mapisync_sync_vtbl* vtbl;
};

#endif

#endif /* RC_INVOKED */

#endif /* MAPISYNC_H_ */
