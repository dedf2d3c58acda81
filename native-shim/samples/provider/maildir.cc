#include "maildir.h"

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "../shared/os.h"
#include "message.h"

namespace fs = std::filesystem;

namespace sample {
namespace {

constexpr std::string_view kFlagsMark = os::kWindows ? ";2," : ":2,";
constexpr int kMaxDepth = 32;

std::error_code LastError() { return {errno, std::generic_category()}; }

Hresult CodeFor(const std::error_code& error) {
  if (error == std::errc::no_such_file_or_directory) return kNotFound;
  if (error == std::errc::permission_denied || error == std::errc::operation_not_permitted ||
      error == std::errc::read_only_file_system) {
    return kNoAccess;
  }
  if (error == std::errc::no_space_on_device) return kNotEnoughDisk;
  return kDiskError;
}

Problem ProblemOf(const std::error_code& error, const std::string& what, const char* mend) {
  return {CodeFor(error), what + ": " + error.message() + "; " + mend};
}

// Calls visit(entry) for each entry of a folder. Returns what stopped it.
template <typename Visit>
std::error_code ForEach(const fs::path& folder, Visit visit) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    visit(entry->path());
  }
  return error;
}

bool IsFolder(const fs::path& path) {
  std::error_code ignored;
  return fs::symlink_status(path, ignored).type() == fs::file_type::directory;
}

void AddFolder(const fs::path& path, const std::string& name, std::vector<Folder>* folders) {
  Folder folder;
  folder.name = name;
  for (const char* part : {"cur", "new"}) {
    if (!IsFolder(path / part)) continue;
    const std::error_code error = ForEach(path / part, [&](const fs::path& message) {
      // Maildir reserves names that begin with a dot.
      if (os::Utf8Of(message.filename())[0] != '.') folder.messages.push_back(message);
    });
    if (error) {
      folder.problem = ProblemOf(error, "Cannot list " + os::Utf8Of(path / part),
                                 "give this user the right to read it");
    }
  }
  std::sort(folder.messages.begin(), folder.messages.end());
  folders->push_back(std::move(folder));
}

std::string ChildName(const std::string& parent, const std::string& file) {
  std::string name = file;
  if (name[0] == '.') {
    name.erase(0, 1);
    std::replace(name.begin(), name.end(), '.', '/');
  }
  return parent.empty() ? name : parent + "/" + name;
}

// parent: name of the folder at path, "" for the root.
std::error_code AddFolders(const fs::path& path, const std::string& parent, int depth,
                           std::vector<Folder>* folders) {
  if (IsFolder(path / "cur") || IsFolder(path / "new")) {
    AddFolder(path, parent.empty() ? "INBOX" : parent, folders);
  }
  std::vector<fs::path> children;
  const std::error_code error = ForEach(path, [&](const fs::path& child) {
    const std::string name = os::Utf8Of(child.filename());
    if (name != "cur" && name != "new" && name != "tmp" && IsFolder(child)) {
      children.push_back(child);
    }
  });
  std::sort(children.begin(), children.end());
  for (const fs::path& child : children) {
    if (depth == kMaxDepth) break;
    const std::string name = ChildName(parent, os::Utf8Of(child.filename()));
    const std::error_code inner = AddFolders(child, name, depth + 1, folders);
    if (inner) {
      Folder unreadable;
      unreadable.name = name;
      unreadable.problem = ProblemOf(inner, "Cannot list " + os::Utf8Of(child),
                                     "give this user the right to read it");
      folders->push_back(std::move(unreadable));
    }
  }
  return error;
}

// What keeps a file from being a message, before it is opened: opening a pipe would wait for ever.
Problem CheckFile(const fs::path& message) {
  std::error_code error;
  switch (fs::status(message, error).type()) {
    case fs::file_type::regular:
      return {};
    case fs::file_type::not_found:
      return {kNotFound, "the link leads nowhere; restore its target or remove the link"};
    case fs::file_type::none:
      return ProblemOf(error, "cannot look at it", "check the rights of the folders above it");
    default:
      return {kNoAccess, "it is a folder or a device; move it out of the Maildir"};
  }
}

// Copies in to out, and checks the header on the way. The first failure decides.
Copied CopyBytes(std::FILE* in, std::FILE* out, Problem* problem) {
  HeaderCheck header;
  char buffer[65536];
  while (const size_t size = std::fread(buffer, 1, sizeof buffer, in)) {
    if (!header.Feed({buffer, size})) break;
    if (std::fwrite(buffer, 1, size, out) != size) {
      *problem = ProblemOf(LastError(), "cannot write it", "check the disk of the store");
      return Copied::kBadStore;
    }
  }
  if (std::ferror(in)) {
    *problem = ProblemOf(LastError(), "cannot read it", "check the disk of the Maildir");
    return Copied::kBadMessage;
  }
  if (const char* wrong = header.Finish()) {
    *problem = {kCorruptData, std::string(wrong) + "; repair or remove the file"};
    return Copied::kBadMessage;
  }
  return Copied::kNew;
}

}  // namespace

std::vector<Folder> ListFolders(const fs::path& maildir, Problem* problem) {
  std::vector<Folder> folders;
  const std::string what = "Cannot read Maildir " + os::Utf8Of(maildir);
  if (const std::error_code error = AddFolders(maildir, "", 0, &folders)) {
    *problem = ProblemOf(error, what, "check the path and that this user may read it");
  } else if (folders.empty()) {
    *problem = {kNotFound, what +
                               ": neither it nor a folder in it has cur or new; "
                               "name a folder in Maildir format"};
  }
  return folders;
}

std::string IdentityOf(const fs::path& message) {
  const std::string name = os::Utf8Of(message.filename());
  return name.substr(0, name.rfind(kFlagsMark));
}

Copied CopyMessage(const fs::path& message, const fs::path& folder, Problem* problem) {
  const fs::path final = folder / os::PathOf(IdentityOf(message));
  const fs::path temporary = folder / ".incoming";
  std::error_code error;
  if (fs::exists(final, error)) return Copied::kAlreadyThere;
  *problem = CheckFile(message);
  if (problem->code != kOk) return Copied::kBadMessage;

  std::FILE* in = os::Open(message, "rb");
  if (!in) {
    *problem = ProblemOf(LastError(), "cannot open it", "give this user the right to read it");
    return Copied::kBadMessage;
  }
  Copied result = Copied::kBadStore;
  if (std::FILE* out = os::Open(temporary, "wb")) {
    result = CopyBytes(in, out, problem);
    // A disk may report that it is full only here.
    if (std::fclose(out) != 0 && result == Copied::kNew) {
      *problem = ProblemOf(LastError(), "cannot write it", "check the disk of the store");
      result = Copied::kBadStore;
    }
    if (result == Copied::kNew) {
      fs::rename(temporary, final, error);
      if (error) {
        *problem = ProblemOf(error, "cannot rename it", "check the folder of the store");
        result = Copied::kBadStore;
      }
    }
    if (result != Copied::kNew) fs::remove(temporary, error);
  } else {
    *problem = ProblemOf(LastError(), "cannot write into " + os::Utf8Of(folder),
                         "give this user the right to write there");
  }
  std::fclose(in);
  return result;
}

Problem MakeFolder(const fs::path& store, const std::string& name, fs::path* folder) {
  std::string flat = name;
  std::replace(flat.begin(), flat.end(), '/', '.');
  *folder = store / os::PathOf(flat);
  std::error_code error;
  fs::create_directories(*folder, error);
  if (!error) return {};
  return ProblemOf(error, "Cannot make folder " + os::Utf8Of(*folder),
                   "check the path of the store and that this user may write there");
}

}  // namespace sample
