// Reads a Maildir tree, and copies its messages into a store: one folder per Maildir folder, one
// file per message, named by the part of its name that never changes.
#ifndef MAPISYNC_SAMPLES_PROVIDER_MAILDIR_H_
#define MAPISYNC_SAMPLES_PROVIDER_MAILDIR_H_

#include <filesystem>
#include <string>
#include <vector>

#include "../shared/mapi_codes.h"

namespace sample {

// Something went wrong: MAPI's code, and for people what happened and how to mend it. kOk: nothing
// did.
struct Problem {
  Hresult code = kOk;
  std::string text;
};

struct Folder {
  std::string name;                             // "INBOX", "Lists/Announce"; UTF-8
  std::vector<std::filesystem::path> messages;  // sorted, so that every run goes the same way
  Problem problem;                              // it, or a part of it, cannot be listed
};

// Finds the folders of a Maildir: its root, which is INBOX, then `.Sub.Folder` and `Sub/Folder`
// alike. Follows no link to a folder, so it ends.
std::vector<Folder> ListFolders(const std::filesystem::path& maildir, Problem* problem);

// The part of a message's file name before its flags.
std::string IdentityOf(const std::filesystem::path& message);

enum class Copied { kNew, kAlreadyThere, kBadMessage, kBadStore };

// Copies one message, unless it is there: under a temporary name, then renamed, so a message in the
// store is whole. One sync at a time may write to a store. *problem says why it is bad.
Copied CopyMessage(const std::filesystem::path& message, const std::filesystem::path& folder,
                   Problem* problem);

// Makes the store's folder for a Maildir folder, and says where it is.
Problem MakeFolder(const std::filesystem::path& store, const std::string& name,
                   std::filesystem::path* folder);

}  // namespace sample

#endif  // MAPISYNC_SAMPLES_PROVIDER_MAILDIR_H_
