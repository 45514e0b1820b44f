// The identity for files is the thread's own (setfsuid): the user can neither signal nor trace such a thread, as it
// could one with its uid. Symlinks on the way of the user are followed with the user's rights; the last component never
// is. Only regular files are opened, and /dev/null. Raw system calls: glibc's would change all threads.
#include "openings.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace passenger {
namespace {

constexpr mode_t kLogMode = 0640;
constexpr int kHarmless = O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

#ifdef SYS_setgroups32
constexpr long kSetgroups = SYS_setgroups32;
#else
constexpr long kSetgroups = SYS_setgroups;
#endif

Opening refused(const char* why, int error) {
  Opening result;
  result.error = error == 0 ? EPERM : error;
  result.why = why;
  return result;
}

bool become(const OpenOrder& order) {
  if (order.uid == 0 || order.gid == 0) return false;
  if (syscall(kSetgroups, order.groups.size(), order.groups.data()) != 0) return false;
  setfsgid(order.gid);
  setfsuid(order.uid);
  // An impossible id changes nothing and tells the present one.
  if (setfsgid(static_cast<gid_t>(-1)) != static_cast<int>(order.gid)) return false;
  if (setfsuid(static_cast<uid_t>(-1)) != static_cast<int>(order.uid)) return false;
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  return syscall(SYS_capset, &header, none) == 0;
}

bool is_plain(const struct stat& facts) {
  return S_ISREG(facts.st_mode) || (S_ISCHR(facts.st_mode) && facts.st_rdev == makedev(1, 3));
}

const char* kind_problem(const struct stat& facts) {
  return S_ISLNK(facts.st_mode) ? "a symbolic link" : "not a regular file";
}

// Looks before it opens: opening a FIFO or a device may already have an effect.
Opening open_plain(int directory, const std::string& name, int flags) {
  struct stat facts;
  if (fstatat(directory, name.c_str(), &facts, AT_SYMLINK_NOFOLLOW) == 0 && !is_plain(facts)) {
    return refused(kind_problem(facts), EINVAL);
  }
  Opening result;
  result.fd = openat(directory, name.c_str(), flags | kHarmless, kLogMode);
  if (result.fd < 0) return refused("open", errno);
  if (fstat(result.fd, &facts) == 0 && is_plain(facts)) return result;
  close(result.fd);
  return refused(kind_problem(facts), EINVAL);
}

Opening open_direct(const OpenOrder& order) {
  const int flags = order.append ? O_WRONLY | O_APPEND | O_CREAT : O_RDONLY;
  if (!order.file.empty() && order.file.front() == '/') return open_plain(AT_FDCWD, order.file, flags);
  const int root = open(order.root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root < 0) return refused("app root", errno);
  const Opening result = open_plain(root, order.file, flags);
  close(root);
  return result;
}

// Walks from / to the file's directory. Every directory must be root's; where others may write, too, they must not be
// able to replace what is in it (sticky), and the next thing must be root's or the owner's.
class Walk {
 public:
  explicit Walk(const OpenOrder& order) : order_(order) { directory_ = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC); }
  ~Walk() { leave(); }
  Walk(const Walk&) = delete;
  Walk& operator=(const Walk&) = delete;

  Opening run() {
    if (order_.file.empty() || order_.file.front() != '/') return refused("not an absolute path", EINVAL);
    size_t start = 1;
    for (size_t end = order_.file.find('/', 1); end != std::string::npos; end = order_.file.find('/', start)) {
      if (end > start && !enter(order_.file.substr(start, end - start))) return failed_;
      start = end + 1;
    }
    return check_directory() ? open_last(order_.file.substr(start)) : failed_;
  }

 private:
  bool fail(const char* why, int error) {
    failed_ = refused(why, error);
    return false;
  }

  void leave() {
    if (directory_ >= 0) close(directory_);
    directory_ = -1;
  }

  bool check_directory() {
    struct stat facts;
    if (directory_ < 0 || fstat(directory_, &facts) != 0) return fail("directory", errno);
    if (facts.st_uid != 0) return fail("a directory on the way does not belong to root", EPERM);
    const bool by_group = (facts.st_mode & S_IWGRP) != 0 && facts.st_gid != 0;
    const bool by_all = (facts.st_mode & S_IWOTH) != 0;
    const auto& groups = order_.distrusted;
    const bool open = by_all || (by_group && std::find(groups.begin(), groups.end(), facts.st_gid) != groups.end());
    if (open && (facts.st_mode & S_ISVTX) == 0) return fail("a directory on the way can be changed by others", EPERM);
    shared_ = by_all || by_group;
    return true;
  }

  bool enter(const std::string& name) {
    if (!check_directory()) return false;
    const int next = openat(directory_, name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (next < 0) return fail(errno == ENOTDIR || errno == ELOOP ? "a symbolic link on the way" : "directory", errno);
    leave();
    directory_ = next;
    return true;
  }

  Opening open_last(const std::string& name) {
    if (name.empty() || name == "." || name == "..") return refused("not a regular file", EISDIR);
    Opening found = open_plain(directory_, name, O_WRONLY | O_APPEND);
    if (found.fd >= 0) return checked(found);
    if (found.error != ENOENT) return found;
    found = open_plain(directory_, name, O_WRONLY | O_APPEND | O_CREAT | O_EXCL);
    if (found.fd < 0 || !order_.has_identity || fchown(found.fd, order_.uid, order_.gid) == 0) return found;
    const int error = errno;
    close(found.fd);
    return refused("owner", error);
  }

  Opening checked(const Opening& found) const {
    struct stat facts;
    if (!shared_) return found;
    const bool known = fstat(found.fd, &facts) == 0 &&
                       (facts.st_uid == 0 || (order_.has_identity && facts.st_uid == order_.uid)) &&
                       facts.st_nlink == 1;
    if (known) return found;
    close(found.fd);
    return refused("somebody else's file in a directory that others can change", EPERM);
  }

  const OpenOrder& order_;
  int directory_ = -1;
  bool shared_ = false;
  Opening failed_;
};

}  // namespace

Opening open_for(const OpenOrder& order) {
  if (order.guarded) return Walk(order).run();
  if (order.has_identity && !become(order)) return refused("identity", errno);
  return open_direct(order);
}

}  // namespace passenger
