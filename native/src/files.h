// Facts about files that another user can change, without being led elsewhere. No Node-API here.
#pragma once

#include <sys/stat.h>

#include <string>

namespace passenger {

struct StatFacts {
  int error = 0;  // of the file
  struct stat file = {};
  int root_error = 0;
  struct stat root = {};
  std::string root_path;  // without symlinks
};

// What to do with a symlink below the root that leads out of it.
enum class WayOut {
  kRefused,     // EXDEV; the last component is not followed at all
  kAsItsMaker,  // follow it with the rights of its owner, never root's, and keep only those in this thread
};

// The root may be reached through symlinks.
StatFacts stat_beneath(const std::string& root, const std::string& relative, WayOut way_out);

}  // namespace passenger
