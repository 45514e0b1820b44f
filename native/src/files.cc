// O_PATH descriptors only: nothing is opened for reading, so FIFOs and devices do no harm. May block on a dead
// mount: called on a thread of its own.
#include "files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>

namespace passenger {
namespace {

int open_beneath(int root, const char* relative) {
  struct open_how how = {};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(syscall(SYS_openat2, root, relative, &how, sizeof how));
}

std::string path_of(int fd) {
  char target[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), target, sizeof target);
  return length > 0 && target[0] == '/' ? std::string(target, static_cast<size_t>(length)) : std::string();
}

}  // namespace

StatFacts stat_beneath(const std::string& root, const std::string& relative) {
  StatFacts facts;
  const int directory = open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0 || fstat(directory, &facts.root) != 0) {
    facts.error = facts.root_error = errno;
    if (directory >= 0) close(directory);
    return facts;
  }
  facts.root_path = path_of(directory);
  if (relative.empty()) {
    facts.file = facts.root;
  } else {
    const int file = open_beneath(directory, relative.c_str());
    if (file < 0 || fstat(file, &facts.file) != 0) facts.error = errno;
    if (file >= 0) close(file);
  }
  close(directory);
  return facts;
}

}  // namespace passenger
