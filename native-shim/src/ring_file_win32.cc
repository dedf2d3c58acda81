// The Windows edge: the ring's memory, its file and its lock, and the rings of the dead.
#ifdef _WIN32

#include "platform.h"
#include "ring_scan.h"
#include "win32_calls.h"

namespace mapisync {

namespace {

// `rings\<name>.ring`, from an ASCII name.
bool RingPath(const Path& state_dir, const char* name, Path* out) noexcept {
  wchar_t wide[64];
  std::size_t i = 0;
  for (; name[i] != '\0' && i < 63; i++) wide[i] = static_cast<wchar_t>(name[i]);
  wide[i] = L'\0';
  return Join(state_dir, L"rings\\", out) && Append(out, wide) && Append(out, L".ring");
}

// Pages of a network disk may fail long after they were written, and that ends the host.
bool IsLocalDisk(const Path& path) noexcept {
  Path root;
  if (!GetVolumePathNameW(path.text, root.text, Path::kMaxChars)) return false;
  return GetDriveTypeW(root.text) != DRIVE_REMOTE;
}

// Real writes: a place that is only set aside may turn out to be missing when it is touched.
bool WriteZeros(HANDLE file, std::size_t size_bytes) noexcept {
  constexpr std::size_t kChunkBytes = 65536;
  static char zeros[kChunkBytes];  // Not const, so that it takes no room in a binary.
  for (std::size_t done = 0; done < size_bytes;) {
    const std::size_t left = size_bytes - done;
    DWORD wrote = 0;
    if (!WriteFile(file, zeros, static_cast<DWORD>(left < kChunkBytes ? left : kChunkBytes), &wrote,
                   nullptr) ||
        wrote == 0) {
      return false;
    }
    done += wrote;
  }
  return true;
}

void FaultIn(void* memory, std::size_t size_bytes) noexcept {
  constexpr std::size_t kStepBytes = 4096;
  auto* const bytes = static_cast<volatile char*>(memory);
  for (std::size_t at = 0; at < size_bytes; at += kStepBytes) bytes[at] = 0;
}

void* Map(HANDLE file, std::size_t size_bytes) noexcept {
  const HANDLE section =
      CreateFileMappingW(file, nullptr, PAGE_READWRITE, 0, static_cast<DWORD>(size_bytes), nullptr);
  if (section == nullptr) return nullptr;
  void* const memory = MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, 0, 0, size_bytes);
  CloseHandle(section);  // The view keeps it.
  if (memory != nullptr) FaultIn(memory, size_bytes);
  return memory;
}

}  // namespace

bool CreateRingFile(const Path& state_dir, const char* name, std::size_t size_bytes,
                    RingFile* ring) noexcept {
  *ring = RingFile();
  if (!RingPath(state_dir, name, &ring->path) || !IsLocalDisk(state_dir)) return false;
  // Not to share writing is the lock: it ends with the process.
  const HANDLE file =
      CreateFileW(ring->path.text, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ, nullptr,
                  CREATE_NEW, FILE_ATTRIBUTE_NORMAL | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED, nullptr);
  if (file == INVALID_HANDLE_VALUE) return false;
  ring->file = AsValue(file);
  ring->size_bytes = size_bytes;
  ring->in_file = true;
  if (WriteZeros(file, size_bytes)) ring->memory = Map(file, size_bytes);
  if (ring->memory != nullptr) return true;
  DiscardRingFile(ring);
  return false;
}

// It has its name from the start, since an open file without shared deletion cannot be renamed. The
// magic is what makes it a ring.
bool PublishRingFile(const Path&, const char*, RingFile*) noexcept { return true; }

void DiscardRingFile(RingFile* ring) noexcept {
  if (ring->memory != nullptr && ring->in_file) UnmapViewOfFile(ring->memory);
  if (ring->memory != nullptr && !ring->in_file) VirtualFree(ring->memory, 0, MEM_RELEASE);
  if (ring->file != kNoHandle) {
    CloseHandle(AsHandle(ring->file));
    DeleteFileW(ring->path.text);
  }
  *ring = RingFile();
}

bool AllocateRing(std::size_t size_bytes, RingFile* ring) noexcept {
  *ring = RingFile();
  ring->memory = VirtualAlloc(nullptr, size_bytes, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
  ring->size_bytes = size_bytes;
  if (ring->memory != nullptr) FaultIn(ring->memory, size_bytes);
  return ring->memory != nullptr;
}

void DetachRing(RingFile*) noexcept {}

namespace {

struct DeadRing {
  wchar_t name[48];
  std::uint64_t age;  // FILETIME of its last change.
};

// Opens a ring's file if its owner is dead, whoever asks: then nobody else has it open.
HANDLE OpenDead(const Path& rings, const wchar_t* name) noexcept {
  Path path;
  if (!Join(rings, name, &path)) return INVALID_HANDLE_VALUE;
  return CreateFileW(path.text, GENERIC_READ | GENERIC_WRITE | DELETE, 0, nullptr, OPEN_EXISTING,
                     FILE_FLAG_OPEN_REPARSE_POINT, nullptr);
}

bool ReadAt(HANDLE file, std::size_t offset, void* out, std::size_t size_bytes) noexcept {
  OVERLAPPED at = {};
  at.Offset = static_cast<DWORD>(offset);
  DWORD got = 0;
  return ReadFile(file, out, static_cast<DWORD>(size_bytes), &got, &at) && got == size_bytes;
}

}  // namespace

std::uint64_t DeleteDeadRings(const Path& state_dir, unsigned keep) noexcept {
  Path rings, pattern;
  if (!Join(state_dir, L"rings", &rings) || !Join(rings, L"*.ring", &pattern)) return 0;
  WIN32_FIND_DATAW entry;
  const HANDLE search = FindFirstFileW(pattern.text, &entry);
  if (search == INVALID_HANDLE_VALUE) return 0;
  constexpr unsigned kMostRings = 256;  // Looked at in one go; the next process goes on.
  DeadRing dead[kMostRings];
  unsigned count = 0;
  do {
    if (std::wcslen(entry.cFileName) >= sizeof dead->name / sizeof(wchar_t)) continue;
    const HANDLE file = OpenDead(rings, entry.cFileName);
    if (file == INVALID_HANDLE_VALUE) continue;
    CloseHandle(file);
    std::wmemcpy(dead[count].name, entry.cFileName, std::wcslen(entry.cFileName) + 1);
    dead[count++].age = static_cast<std::uint64_t>(entry.ftLastWriteTime.dwHighDateTime) << 32 |
                        entry.ftLastWriteTime.dwLowDateTime;
  } while (count < kMostRings && FindNextFileW(search, &entry));
  FindClose(search);
  std::uint64_t frames = 0;
  for (; count > keep; count--) {
    unsigned oldest = 0;
    for (unsigned i = 1; i < count; i++) {
      if (dead[i].age < dead[oldest].age) oldest = i;
    }
    const HANDLE file = OpenDead(rings, dead[oldest].name);
    if (file != INVALID_HANDLE_VALUE) {
      frames += CountFrames([file](std::size_t offset, void* out, std::size_t size_bytes) noexcept {
        return ReadAt(file, offset, out, size_bytes);
      });
      FILE_DISPOSITION_INFO disposition = {TRUE};
      SetFileInformationByHandle(file, FileDispositionInfo, &disposition, sizeof disposition);
      CloseHandle(file);
    }
    dead[oldest] = dead[count - 1];
  }
  return frames;
}

}  // namespace mapisync

#endif  // _WIN32
