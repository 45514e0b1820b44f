#include "users.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <cerrno>

namespace passenger {
namespace {

constexpr size_t kMaxRoom = 1024 * 1024;

std::string text(const char* value) { return value == nullptr ? std::string() : std::string(value); }

// Calls one of the …_r functions with growing room.
template <typename Entry, typename Result, typename Call, typename Convert>
std::optional<Result> look_up(Call call, Convert convert) {
  for (size_t room = 4096; room <= kMaxRoom; room *= 4) {
    std::vector<char> buffer(room);
    Entry entry;
    Entry* found = nullptr;
    const int error = call(&entry, buffer.data(), buffer.size(), &found);
    if (error == 0) return found == nullptr ? std::nullopt : std::optional<Result>(convert(*found));
    if (error != ERANGE && error != EINTR) return std::nullopt;
  }
  return std::nullopt;
}

User to_user(const passwd& entry) {
  return {text(entry.pw_name), entry.pw_uid, entry.pw_gid, text(entry.pw_dir), text(entry.pw_shell)};
}

Group to_group(const group& entry) { return {text(entry.gr_name), entry.gr_gid}; }

}  // namespace

std::optional<User> user_by_name(const std::string& name) {
  return look_up<passwd, User>(
      [&](passwd* e, char* b, size_t n, passwd** f) { return getpwnam_r(name.c_str(), e, b, n, f); }, to_user);
}

std::optional<User> user_by_uid(uid_t uid) {
  return look_up<passwd, User>([&](passwd* e, char* b, size_t n, passwd** f) { return getpwuid_r(uid, e, b, n, f); },
                               to_user);
}

std::optional<Group> group_by_name(const std::string& name) {
  return look_up<group, Group>(
      [&](group* e, char* b, size_t n, group** f) { return getgrnam_r(name.c_str(), e, b, n, f); }, to_group);
}

std::optional<Group> group_by_gid(gid_t gid) {
  return look_up<group, Group>([&](group* e, char* b, size_t n, group** f) { return getgrgid_r(gid, e, b, n, f); },
                               to_group);
}

std::vector<gid_t> groups_of(const std::string& user, gid_t gid) {
  std::vector<gid_t> groups(64);
  int count = static_cast<int>(groups.size());
  while (getgrouplist(user.c_str(), gid, groups.data(), &count) < 0 && groups.size() < 65536) {
    groups.resize(std::max(groups.size() * 2, static_cast<size_t>(count)));
    count = static_cast<int>(groups.size());
  }
  groups.resize(static_cast<size_t>(count));
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

}  // namespace passenger
