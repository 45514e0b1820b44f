// Opens files that an app's user can touch: as that user, or where nobody but root can lead us elsewhere. No Node-API
// here. May block on a dead mount: called on a thread of its own.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace passenger {

struct OpenOrder {
  std::string root;  // where a relative `file` begins; may be reached through symlinks
  std::string file;
  bool append = false;  // for appending, made if missing; otherwise for reading
  // Whose rights count; without it our own.
  bool has_identity = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
  // With our own rights, but only below directories that root alone can change. A new file belongs to the identity.
  bool guarded = false;
  // Members of these groups count as anybody when a directory is writable for its group.
  std::vector<gid_t> distrusted;
};

struct Opening {
  int fd = -1;
  int error = 0;
  const char* why = "";  // plain words
};

// For a thread that ends afterwards: with an identity (and not `guarded`) it keeps that identity for files.
Opening open_for(const OpenOrder& order);

}  // namespace passenger
