// O_PATH descriptors only: nothing is opened for reading, so FIFOs and devices do no harm. May block on a dead
// mount: called on a thread of its own.
#include "files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <optional>

namespace passenger {
namespace {

// Nobody's, in every distribution.
constexpr uid_t kNobody = 65534;

int open_path(int root, const std::string& relative, uint64_t flags, uint64_t resolve) {
  struct open_how how = {};
  how.flags = O_PATH | O_CLOEXEC | flags;
  how.resolve = RESOLVE_NO_MAGICLINKS | resolve;
  return static_cast<int>(syscall(SYS_openat2, root, relative.c_str(), &how, sizeof how));
}

int open_beneath(int root, const std::string& relative) {
  return open_path(root, relative, O_NOFOLLOW, RESOLVE_BENEATH);
}

std::string path_of(int fd) {
  char target[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), target, sizeof target);
  return length > 0 && target[0] == '/' ? std::string(target, static_cast<size_t>(length)) : std::string();
}

// Gives up everything that the thread may do with other people's files, for good. Passes for whoever may not do more.
bool look_as(uid_t user) {
  if (geteuid() != 0) return true;
  // The system calls of libc change all threads; these change the one that makes them.
  if (syscall(SYS_setgroups, 0, nullptr) != 0) return false;
  setfsgid(kNobody);
  setfsuid(user);
  const bool changed = setfsgid(static_cast<gid_t>(-1)) == kNobody && setfsuid(static_cast<uid_t>(-1)) == static_cast<int>(user);
  return changed;
}

// Who made the first symlink on the way that leads out of the root. Root's symlinks may lead by way of others', so
// they are followed as the owner of the root, who could have made them, or as nobody.
std::optional<uid_t> guide(int root, uid_t owner, const std::string& relative) {
  for (size_t end = 0; end != std::string::npos;) {
    end = relative.find('/', end + 1);
    const std::string part = relative.substr(0, end);
    const int inside = open_path(root, part, 0, RESOLVE_BENEATH);
    if (inside >= 0) {
      close(inside);
      continue;
    }
    if (errno != EXDEV) return {};
    const int link = open_beneath(root, part);
    struct stat facts;
    const bool known = link >= 0 && fstat(link, &facts) == 0 && S_ISLNK(facts.st_mode);
    if (link >= 0) close(link);
    if (!known) return {};
    if (facts.st_uid != 0) return facts.st_uid;
    return owner == 0 ? kNobody : owner;
  }
  return {};
}

void stat_at(int fd, StatFacts* facts) {
  facts->error = fd < 0 || fstat(fd, &facts->file) != 0 ? errno : 0;
  if (fd >= 0) close(fd);
}

}  // namespace

StatFacts stat_beneath(const std::string& root, const std::string& relative, WayOut way_out) {
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
    const bool follows = way_out == WayOut::kAsItsMaker;
    stat_at(open_path(directory, relative, follows ? 0 : O_NOFOLLOW, RESOLVE_BENEATH), &facts);
    const bool leads_out = follows && facts.error == EXDEV;
    const auto maker = leads_out ? guide(directory, facts.root.st_uid, relative) : std::nullopt;
    if (maker.has_value()) {
      if (look_as(*maker)) stat_at(open_path(directory, relative, 0, 0), &facts);
      else facts.error = EPERM;
    }
  }
  close(directory);
  return facts;
}

}  // namespace passenger
