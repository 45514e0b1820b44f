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

// The root may be reached through symlinks; below it none may lead out, and the last component is not followed.
StatFacts stat_beneath(const std::string& root, const std::string& relative);

}  // namespace passenger
