// Accounts and groups of the system, through its name services. No Node-API here; any of these may be slow.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

namespace passenger {

struct User {
  std::string name;
  uid_t uid;
  gid_t gid;
  std::string home;
  std::string shell;
};

struct Group {
  std::string name;
  gid_t gid;
};

std::optional<User> user_by_name(const std::string& name);
std::optional<User> user_by_uid(uid_t uid);
std::optional<Group> group_by_name(const std::string& name);
std::optional<Group> group_by_gid(gid_t gid);

// As at a login; sorted, without duplicates.
std::vector<gid_t> groups_of(const std::string& user, gid_t gid);

}  // namespace passenger
