// From fork to exec: the identity switch. No Node-API here; see child.cc for the order of the steps and its reasons.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>

namespace passenger {

enum class Step : uint32_t {
  none, session, limits, descriptors, oom_score, bounding_set, setgroups, setgid, setuid, verify, capabilities,
  no_new_privs, death_signal, chdir, close, read, exec, count
};

const char* step_name(uint32_t step);

// Everything that the child needs, laid out before the fork: the child allocates nothing.
struct ChildPlan {
  char* file;
  char* const* argv;
  char* const* env;
  char* listen_pid;  // where the digits of LISTEN_PID go (room for 12 bytes), or null
  char* cwd;
  char* must_read;  // or null
  bool switch_identity;
  uid_t uid;
  gid_t gid;
  const gid_t* groups;  // sorted, without duplicates
  size_t group_count;
  gid_t* group_room;  // for reading back: group_count + 1 entries
  mode_t mask;
  const int* fds;
  int* moved;  // scratch, fd_count entries
  size_t fd_count;
  int death_signal;
  rlim_t open_files;  // descriptors that the child should be able to have at least; 0 leaves its limits alone
  bool may_gain_privileges;  // leaves set-uid and set-gid programs (sendmail, sudo) their effect
  const char* oom_score_adj;  // digits, or null
};

// What the child says when a step fails. `which`: 0 no path, 1 cwd, 2 must_read, 3 file; `length`: how many bytes of
// that path lead to the obstacle.
struct Failure {
  uint32_t step;
  int32_t error;
  uint32_t which;
  uint32_t length;
  uint32_t mode;
  uint32_t uid;
  uint32_t gid;
};

struct Child {
  pid_t pid;
  int pidfd;
  int status;  // a Failure, or end of file after a successful exec
};

// Returns 0 or an errno (of fork and what is around it). The calling thread becomes the one of the death signal.
int start_child(const ChildPlan& plan, Child& child);

}  // namespace passenger
