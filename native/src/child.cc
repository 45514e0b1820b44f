// Forks and, in the child, gives up everything that the target user must not have, in this order: signals, session,
// limits, descriptors, OOM score, bounding set (needs root), groups, gid, uid, reading back, capabilities,
// no-new-privileges, death signal (the kernel clears it when the uid changes), umask, chdir with the user's own rights,
// closing everything else, exec. Between fork and exec only async-signal-safe calls are made: other threads of
// the parent may have held any lock. Identity calls are raw system calls, because glibc's would signal other threads.
#include "child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace passenger {
namespace {

const char* const kStepNames[] = {"none", "setsid", "setrlimit", "descriptors", "oom_score_adj", "bounding set",
                                  "setgroups", "setgid", "setuid", "verify identity", "capabilities", "no_new_privs",
                                  "death signal", "chdir", "close_range", "read", "exec"};
static_assert(sizeof(kStepNames) / sizeof(*kStepNames) == static_cast<size_t>(Step::count), "a name for each step");

#ifdef SYS_setresuid32
constexpr long kSetresuid = SYS_setresuid32, kSetresgid = SYS_setresgid32, kSetgroups = SYS_setgroups32;
#else
constexpr long kSetresuid = SYS_setresuid, kSetresgid = SYS_setresgid, kSetgroups = SYS_setgroups;
#endif

struct Reporter {
  int fd;

  [[noreturn]] void fail(Step step, int error, const Failure& where = {}) const {
    Failure failure = where;
    failure.step = static_cast<uint32_t>(step);
    failure.error = error;
    send(fd, &failure, sizeof failure, MSG_NOSIGNAL);
    _exit(126);
  }

  void check(Step step, bool ok) const {
    if (!ok) fail(step, errno);
  }
};

// Finds the first directory on the way to `path` that we cannot pass, or `path` itself when `wanted` is not granted.
// Runs as the target user. Restores `path`.
Failure find_obstacle(uint32_t which, char* path, int wanted) {
  Failure found = {};
  const size_t length = strlen(path);
  for (size_t at = 1; at <= length && found.which == 0; at++) {
    if (at != length && path[at] != '/') continue;
    const char kept = path[at];
    path[at] = '\0';
    if (access(path, at == length ? wanted : X_OK) != 0) {
      found.which = which;
      found.length = static_cast<uint32_t>(at);
      struct stat facts;
      if (stat(path, &facts) == 0) {
        found.mode = facts.st_mode;
        found.uid = facts.st_uid;
        found.gid = facts.st_gid;
      }
    }
    path[at] = kept;
  }
  return found;
}

// Our handlers are of no use in the child, and what Node ignores (SIGPIPE) must not stay ignored.
void reset_signals() {
  struct sigaction action = {};
  action.sa_handler = SIG_DFL;
  for (int number = 1; number < NSIG; number++) sigaction(number, &action, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
}

// First all sources move out of the way of the targets: the numbers may overlap in any order.
int place_descriptors(const ChildPlan& plan, const Reporter& reporter) {
  const int count = static_cast<int>(plan.fd_count);
  const int status = fcntl(reporter.fd, F_DUPFD_CLOEXEC, count);
  reporter.check(Step::descriptors, status >= 0);
  for (int i = 0; i < count; i++) {
    plan.moved[i] = fcntl(plan.fds[i], F_DUPFD_CLOEXEC, count);
    reporter.check(Step::descriptors, plan.moved[i] >= 0);
  }
  for (int i = 0; i < count; i++) reporter.check(Step::descriptors, dup2(plan.moved[i], i) == i);
  return status;
}

// A memory image holds secrets; who wants one raises the limit in the app.
void limit_core_dumps(const Reporter& reporter) {
  struct rlimit limit;
  reporter.check(Step::limits, getrlimit(RLIMIT_CORE, &limit) == 0);
  limit.rlim_cur = 0;
  reporter.check(Step::limits, setrlimit(RLIMIT_CORE, &limit) == 0);
}

// As far as we may: above the hard limit needs CAP_SYS_RESOURCE, and nobody may go above fs.nr_open. Less is no failure.
void raise_open_files(rlim_t wanted) {
  struct rlimit had;
  if (getrlimit(RLIMIT_NOFILE, &had) != 0) return;
  for (rlim_t count = wanted; count > had.rlim_max; count /= 2) {
    const struct rlimit more = {count, count};
    if (setrlimit(RLIMIT_NOFILE, &more) == 0) return;
  }
  const struct rlimit all = {had.rlim_max, had.rlim_max};
  setrlimit(RLIMIT_NOFILE, &all);
}

void write_oom_score(const char* digits, const Reporter& reporter) {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  reporter.check(Step::oom_score, fd >= 0);
  const ssize_t length = static_cast<ssize_t>(strlen(digits));
  reporter.check(Step::oom_score, write(fd, digits, static_cast<size_t>(length)) == length);
  close(fd);
}

void drop_bounding_set(const Reporter& reporter) {
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++) {
    if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
    // EPERM: a container's root without CAP_SETPCAP. no_new_privs already makes the set unreachable.
    if (errno != EPERM) reporter.fail(Step::bounding_set, errno);
  }
}

bool identity_holds(const ChildPlan& plan) {
  uid_t real_uid, effective_uid, saved_uid;
  gid_t real_gid, effective_gid, saved_gid;
  if (getresuid(&real_uid, &effective_uid, &saved_uid) != 0) return false;
  if (getresgid(&real_gid, &effective_gid, &saved_gid) != 0) return false;
  if (real_uid != plan.uid || effective_uid != plan.uid || saved_uid != plan.uid) return false;
  if (real_gid != plan.gid || effective_gid != plan.gid || saved_gid != plan.gid) return false;
  const int count = getgroups(static_cast<int>(plan.group_count) + 1, plan.group_room);
  if (count != static_cast<int>(plan.group_count)) return false;
  return memcmp(plan.group_room, plan.groups, plan.group_count * sizeof(gid_t)) == 0;
}

void switch_identity(const ChildPlan& plan, const Reporter& reporter) {
  // Nobody may get here by a mistake of the caller.
  if (plan.uid == 0 || plan.gid == 0) reporter.fail(Step::verify, EPERM);
  if (!plan.may_gain_privileges) drop_bounding_set(reporter);
  reporter.check(Step::setgroups, syscall(kSetgroups, plan.group_count, plan.groups) == 0);
  reporter.check(Step::setgid, syscall(kSetresgid, plan.gid, plan.gid, plan.gid) == 0);
  reporter.check(Step::setuid, syscall(kSetresuid, plan.uid, plan.uid, plan.uid) == 0);
  if (!identity_holds(plan)) reporter.fail(Step::verify, EPERM);
  // The way back must be closed.
  if (syscall(kSetresuid, -1, 0, -1) == 0) reporter.fail(Step::verify, EPERM);
}

// The inheritable set survives setuid; without it a file's capabilities have nothing to meet.
void drop_capabilities(const Reporter& reporter) {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  reporter.check(Step::capabilities, syscall(SYS_capset, &header, none) == 0);
}

void tie_to_parent(const ChildPlan& plan, pid_t parent, const Reporter& reporter) {
  if (plan.death_signal == 0) return;
  reporter.check(Step::death_signal, prctl(PR_SET_PDEATHSIG, plan.death_signal, 0, 0, 0) == 0);
  // It may have died before the call.
  if (getppid() != parent) _exit(126);
}

void close_others(const ChildPlan& plan, int status, const Reporter& reporter) {
  const unsigned first = static_cast<unsigned>(plan.fd_count);
  const unsigned kept = static_cast<unsigned>(status);
  if (kept > first) reporter.check(Step::close, syscall(SYS_close_range, first, kept - 1, 0) == 0);
  reporter.check(Step::close, syscall(SYS_close_range, kept + 1, ~0U, 0) == 0);
}

void write_digits(char* target, pid_t number) {
  char digits[12];
  size_t count = 0;
  for (; number > 0; number /= 10) digits[count++] = static_cast<char>('0' + number % 10);
  while (count > 0) *target++ = digits[--count];
  *target = '\0';
}

[[noreturn]] void run_child(const ChildPlan& plan, pid_t parent, int status) {
  Reporter reporter = {status};
  reset_signals();
  reporter.check(Step::session, setsid() >= 0);
  limit_core_dumps(reporter);
  if (plan.open_files > 0) raise_open_files(plan.open_files);
  reporter.fd = place_descriptors(plan, reporter);
  if (plan.oom_score_adj != nullptr) write_oom_score(plan.oom_score_adj, reporter);
  if (plan.switch_identity) switch_identity(plan, reporter);
  drop_capabilities(reporter);
  if (!plan.may_gain_privileges) {
    reporter.check(Step::no_new_privs, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  }
  tie_to_parent(plan, parent, reporter);
  umask(plan.mask);
  if (chdir(plan.cwd) != 0) {
    const int error = errno;
    reporter.fail(Step::chdir, error, find_obstacle(1, plan.cwd, X_OK));
  }
  close_others(plan, reporter.fd, reporter);
  if (plan.must_read != nullptr && access(plan.must_read, R_OK) != 0) {
    const int error = errno;
    reporter.fail(Step::read, error, find_obstacle(2, plan.must_read, R_OK));
  }
  if (plan.listen_pid != nullptr) write_digits(plan.listen_pid, getpid());
  execve(plan.file, plan.argv, plan.env);
  const int error = errno;
  reporter.fail(Step::exec, error, find_obstacle(3, plan.file, X_OK));
}

}  // namespace

const char* step_name(uint32_t step) {
  return step < static_cast<uint32_t>(Step::count) ? kStepNames[step] : "unknown";
}

int start_child(const ChildPlan& plan, Child& child) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return errno;
  const pid_t parent = getpid();
  // Blocked until the child has its own dispositions: a signal for us must not run our handlers in the child.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  child.pid = fork();
  if (child.pid == 0) run_child(plan, parent, pair[1]);
  int error = child.pid < 0 ? errno : 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  close(pair[1]);
  if (error == 0) {
    child.status = pair[0];
    child.pidfd = static_cast<int>(syscall(SYS_pidfd_open, child.pid, 0));
    if (child.pidfd >= 0) return 0;
    error = errno;
    // Unreaped and ours: the number is safe.
    kill(child.pid, SIGKILL);
  }
  close(pair[0]);
  return error;
}

}  // namespace passenger
