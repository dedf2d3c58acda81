// The public functions: options in, objects out.
#include "mapisync.h"

#include <cstring>

#include "callback.h"
#include "recorder.h"
#include "sha256.h"
#include "utf8.h"
#include "wrap.h"

namespace mapisync {
namespace {

// What the caller filled in, by the size that it says; the rest is zero.
mapisync_options ReadOptions(const mapisync_options* options) noexcept {
  mapisync_options known = {};
  if (options == nullptr) return known;
  const std::size_t size = options->size < sizeof known ? options->size : sizeof known;
  std::memcpy(&known, options, size);
  return known;
}

Callback::Settings SettingsOf(const mapisync_options& options) noexcept {
  Callback::Settings settings;
  settings.sync_done_event = options.sync_done_event;
  return settings;
}

bool Record(Callback* callback, Recorder* recorder, Attach attach, const mapisync_options& options,
            bool has_callback) noexcept {
  const Utf8Name provider(options.provider);
  const Utf8Name store(options.store);
  const Open open = {attach,
                     (options.flags & MAPISYNC_HAS_SYNC_FLAGS) != 0,
                     options.sync_flags,
                     provider.text(),
                     store.text(),
                     WallUs(),
                     has_callback};
  if (!callback->Record(&recorder->ring(), recorder, open)) return false;
  recorder->Wake();
  return true;
}

// The object in the place of `callback`, or null where there is to be none.
Callback* Tee(Unknown* callback, const mapisync_options& options) noexcept {
  Recorder* const recorder = Recorder::Start((options.flags & MAPISYNC_FORCE) != 0);
  if (recorder == nullptr) return nullptr;

  void* queried = nullptr;
  if (callback->QueryInterface(kIidProgressCallback, &queried) < 0) queried = nullptr;
  Callback::Settings settings = SettingsOf(options);
  settings.inner = static_cast<ProgressCallback*>(queried);
  Callback* const tee = Callback::Create(settings);
  if (tee == nullptr || !Record(tee, recorder, Attach::kTee, options, queried != nullptr)) {
    if (tee != nullptr) tee->Abandon();
    if (settings.inner != nullptr) settings.inner->Release();
    return nullptr;
  }
  if (queried != nullptr) return tee;
  // What cannot be called cannot be watched: the session says so and is over.
  tee->Release();
  return nullptr;
}

// The object in the place of `sync`, or null where there is to be none.
Wrap* WrapSync(Sync* sync, const mapisync_options& options) noexcept {
  const bool force = (options.flags & MAPISYNC_FORCE) != 0;
  if (Recorder::Start(force) == nullptr) return nullptr;
  const Utf8Name provider(options.provider);
  const Utf8Name store(options.store);
  return Wrap::Create(sync, force, provider.text(), store.text());
}

}  // namespace
}  // namespace mapisync

using mapisync::Attach;
using mapisync::Callback;
using mapisync::Recorder;
using mapisync::Unknown;
using mapisync::Utf8Name;

void* mapisync_tee(void* callback, const mapisync_options* options) noexcept {
  if (callback == nullptr) return nullptr;
  Unknown* const unknown = static_cast<Unknown*>(callback);
  if (Callback* tee = mapisync::Tee(unknown, mapisync::ReadOptions(options))) return tee;
  unknown->AddRef();
  return callback;
}

void* mapisync_wrap(void* sync, const mapisync_options* options) noexcept {
  if (sync == nullptr) return nullptr;
  auto* const provider = static_cast<mapisync::Sync*>(sync);
  if (mapisync::Sync* wrap = mapisync::WrapSync(provider, mapisync::ReadOptions(options))) {
    return wrap;
  }
  provider->AddRef();
  return sync;
}

void* mapisync_sink(const mapisync_options* options) noexcept {
  const mapisync_options known = mapisync::ReadOptions(options);
  Callback::Settings settings = mapisync::SettingsOf(known);
  settings.close_done_event = (known.flags & MAPISYNC_CLOSE_DONE_EVENT) != 0;
  Callback* const sink = Callback::Create(settings);
  if (sink == nullptr) return nullptr;
  Recorder* const recorder = Recorder::Start((known.flags & MAPISYNC_FORCE) != 0);
  // A sink that cannot record still is the host's callback.
  if (recorder != nullptr) mapisync::Record(sink, recorder, Attach::kSink, known, false);
  return sink;
}

int mapisync_session_id(void* object, char id[MAPISYNC_SESSION_ID_CHARS]) noexcept {
  id[0] = '\0';
  Callback* const callback = Callback::Find(object);
  const Recorder* const recorder = Recorder::Current();
  if (callback == nullptr || recorder == nullptr) return 0;
  unsigned char named[24];
  std::memcpy(named, recorder->ring_id(), 16);
  for (int i = 0; i < 8; i++) {
    named[16 + i] = static_cast<unsigned char>(callback->session().id() >> (7 - i) * 8);
  }
  unsigned char hash[32];
  mapisync::Sha256(named, sizeof named, hash);
  for (int i = 0; i < 8; i++) {
    id[2 * i] = "0123456789abcdef"[hash[i] >> 4];
    id[2 * i + 1] = "0123456789abcdef"[hash[i] & 0xf];
  }
  id[16] = '\0';
  return 1;
}

void mapisync_note(void* object, const char16_t* key, const char16_t* value) noexcept {
  Callback* const callback = Callback::Find(object);
  if (callback == nullptr) return;
  const Utf8Name key_utf8(key);
  const Utf8Name value_utf8(value);
  callback->session().Note(key_utf8.text(), value_utf8.text());
}

void mapisync_get_status(mapisync_status* status) noexcept {
  if (status == nullptr) return;
  mapisync_status now = {};
  now.size = status->size;
  Recorder::GetStatus(&now);
  std::memcpy(status, &now, now.size < sizeof now ? now.size : sizeof now);
}

int mapisync_flush(std::uint32_t timeout_ms) noexcept {
  Recorder* const recorder = Recorder::Current();
  return recorder != nullptr && recorder->Flush(timeout_ms) ? 1 : 0;
}
