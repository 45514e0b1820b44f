// Exercises the addon's parts without Node under ASan and UBSan; built and run by test/unit/native/sanitizers.test.ts.
// Prints each broken expectation and ends with their number. Steps that need root are left out without it.
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "../src/child.h"
#include "../src/files.h"
#include "../src/log_writer.h"
#include "../src/openings.h"
#include "../src/sockets.h"
#include "../src/users.h"

using namespace passenger;

namespace {

int broken = 0;

void expect(bool ok, const char* what) {
  if (ok) return;
  broken++;
  fprintf(stderr, "broken: %s (errno %d)\n", what, errno);
}

struct Run {
  std::string file = "/bin/true", cwd = "/", must_read, oom;
  std::vector<std::string> argv = {"true"}, env = {"A=1"};
  std::vector<int> fds = {0, 1, 2};
  std::vector<gid_t> groups;
  bool switch_identity = false, listen_pid = false;
  uid_t uid = 0;
  gid_t gid = 0;
  Failure failure = {};
  int status = -1;

  void go() {
    if (listen_pid) env.push_back("LISTEN_PID=" + std::string(12, '\0'));
    std::vector<char*> arguments, variables;
    for (auto& text : argv) arguments.push_back(text.data());
    for (auto& text : env) variables.push_back(text.data());
    arguments.push_back(nullptr);
    variables.push_back(nullptr);
    std::vector<int> moved(fds.size());
    std::vector<gid_t> room(groups.size() + 1);
    ChildPlan plan = {};
    plan.file = file.data();
    plan.argv = arguments.data();
    plan.env = variables.data();
    plan.listen_pid = listen_pid ? env.back().data() + strlen("LISTEN_PID=") : nullptr;
    plan.cwd = cwd.data();
    plan.must_read = must_read.empty() ? nullptr : must_read.data();
    plan.switch_identity = switch_identity;
    plan.uid = uid;
    plan.gid = gid;
    plan.groups = groups.data();
    plan.group_count = groups.size();
    plan.group_room = room.data();
    plan.mask = 022;
    plan.fds = fds.data();
    plan.moved = moved.data();
    plan.fd_count = fds.size();
    plan.death_signal = SIGKILL;
    plan.oom_score_adj = oom.empty() ? nullptr : oom.c_str();
    Child child = {};
    expect(start_child(plan, child) == 0, "fork");
    if (read(child.status, &failure, sizeof failure) != static_cast<ssize_t>(sizeof failure)) failure = {};
    close(child.status);
    waitpid(child.pid, &status, 0);
    close(child.pidfd);
  }
  bool failed(Step step, int error) const {
    return failure.step == static_cast<uint32_t>(step) && failure.error == error && WIFEXITED(status) &&
           WEXITSTATUS(status) == 126;
  }
  bool succeeded(int code = 0) const { return failure.step == 0 && WIFEXITED(status) && WEXITSTATUS(status) == code; }
};

void steps() {
  Run plain;
  plain.listen_pid = true;
  plain.oom = "500";
  plain.go();
  expect(plain.succeeded(), "plain run");

  Run nowhere;
  nowhere.cwd = "/nowhere/at/all";
  nowhere.go();
  expect(nowhere.failed(Step::chdir, ENOENT) && nowhere.failure.length == strlen("/nowhere"), "chdir");

  Run program;
  program.file = "/bin/nowhere";
  program.go();
  expect(program.failed(Step::exec, ENOENT), "exec");

  Run descriptor;
  descriptor.fds = {0, 999};
  descriptor.go();
  expect(descriptor.failed(Step::descriptors, EBADF), "descriptors");

  Run unread;
  unread.must_read = "/etc/nowhere";
  unread.go();
  expect(unread.failed(Step::read, ENOENT), "read");

  Run score;
  score.oom = "5000";
  score.go();
  expect(score.failed(Step::oom_score, EINVAL), "oom score");

  Run nobody;
  nobody.switch_identity = true;
  nobody.go();
  expect(nobody.failed(Step::verify, EPERM), "uid 0 is refused");
}

// Each named descriptor must arrive at its place, whatever the numbers were before.
void overlapping_descriptors() {
  int pair[2];
  expect(pipe2(pair, O_CLOEXEC) == 0, "pipe");
  const int write_end = fcntl(pair[1], F_DUPFD_CLOEXEC, 3);
  Run run;
  run.file = "/bin/sh";
  run.argv = {"sh", "-c", "echo 0 >&0; echo 4 >&4; test ! -e /proc/self/fd/5"};
  run.fds = {write_end, 2, 1, 0, pair[1]};
  run.go();
  expect(run.succeeded(), "overlapping descriptors");
  char text[16] = {};
  expect(read(pair[0], text, sizeof text - 1) > 0 && std::string(text) == "0\n4\n", "what arrived");
  close(pair[0]);
  close(pair[1]);
  close(write_end);
}

void as_user() {
  const auto games = user_by_name("games");
  if (geteuid() != 0 || !games.has_value()) return;
  Run run;
  run.switch_identity = true;
  run.uid = games->uid;
  run.gid = games->gid;
  run.groups = groups_of("games", games->gid);
  run.file = "/bin/sh";
  run.argv = {"sh", "-c", "test \"$(id -u):$(id -g)\" = " + std::to_string(run.uid) + ":" + std::to_string(run.gid)};
  run.go();
  expect(run.succeeded(), "switched identity");

  char directory[] = "/tmp/psg-plain-XXXXXX";
  expect(mkdtemp(directory) != nullptr, "mkdtemp");
  const std::string inner = std::string(directory) + "/inner";
  mkdir(inner.c_str(), 0755);
  Run closed = run;
  closed.cwd = inner;
  closed.go();
  expect(closed.failed(Step::chdir, EACCES) && closed.failure.length == strlen(directory), "closed directory");
  expect((closed.failure.mode & 07777) == 0700 && closed.failure.uid == 0, "facts about the closed directory");
  rmdir(inner.c_str());
  rmdir(directory);
}

void records() {
  int pair[2];
  expect(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
  char room[16];
  std::vector<int> fds;
  expect(send_record(pair[0], "hello", 5, {0, 1}) == 1, "send");
  expect(receive_record(pair[1], room, sizeof room, fds) == 5 && fds.size() == 2, "receive");
  for (const int fd : fds) close(fd);
  fds.clear();
  expect(send_record(pair[0], "much too long for that", 22, {2}) == 1, "send long");
  expect(receive_record(pair[1], room, sizeof room, fds) == -1 && errno == EMSGSIZE && fds.empty(), "too long");
  expect(send_record(pair[0], "x", 1, std::vector<int>(9, 0)) == -1 && errno == E2BIG, "too many descriptors");
  int sent = 0;
  while (send_record(pair[0], "fill", 4, {}) == 1) sent++;
  expect(sent > 10 && errno == EAGAIN, "a full socket does not block");
  close(pair[1]);
  expect(send_record(pair[0], "x", 1, {}) == -1 && (errno == EPIPE || errno == ECONNRESET), "peer gone");
  close(pair[0]);
}

// On a thread of its own, since it may give up rights.
int error_as_maker(const std::string& root, const std::string& relative) {
  int error = -1;
  std::thread([&] { error = stat_beneath(root, relative, WayOut::kAsItsMaker).error; }).join();
  return error;
}

void ways_out(const std::string& base) {
  const std::string shared = base + "/shared", app = base + "/app", link = app + "/tmp";
  expect(mkdir(shared.c_str(), 0711) == 0 && mkdir(app.c_str(), 0755) == 0, "mkdir");
  chmod(base.c_str(), 0755);
  expect(symlink("../shared", link.c_str()) == 0, "symlink");
  expect(error_as_maker(app, "tmp/restart.txt") == ENOENT, "looked at");
  expect(mkdir((shared + "/restart.txt").c_str(), 0700) == 0 && error_as_maker(app, "tmp/restart.txt") == 0, "found");
  expect(error_as_maker(app, "../shared/restart.txt") == EXDEV, "only by symlinks");
  if (geteuid() == 0) {
    chmod(shared.c_str(), 0700);
    expect(error_as_maker(app, "tmp/restart.txt") == EACCES, "root's link as nobody");
    expect(chown(shared.c_str(), 4243, 0) == 0 && chown(app.c_str(), 4243, 0) == 0, "chown");
    expect(error_as_maker(app, "tmp/restart.txt") == 0, "or as the root's owner");
    expect(lchown(link.c_str(), 4242, 0) == 0 && error_as_maker(app, "tmp/restart.txt") == EACCES, "not its owner's");
    expect(chown(shared.c_str(), 4242, 0) == 0 && error_as_maker(app, "tmp/restart.txt") == 0, "its owner's");
    expect(stat_beneath(base, "shared/restart.txt", WayOut::kRefused).error == 0, "this thread has its rights");
  }
  rmdir((shared + "/restart.txt").c_str());
  unlink(link.c_str());
  rmdir(app.c_str());
  rmdir(shared.c_str());
}

void files_and_sockets() {
  char directory[] = "/tmp/psg-plain-XXXXXX";
  expect(mkdtemp(directory) != nullptr, "mkdtemp");
  const std::string base = directory;
  const std::string socket_file = base + "/s", link = base + "/out";
  const int fd = listen_unix(socket_file, 8, geteuid(), getegid(), 0600);
  struct stat facts;
  expect(fd >= 0 && stat(socket_file.c_str(), &facts) == 0 && (facts.st_mode & 07777) == 0600, "listen");
  expect(listen_unix(socket_file, 8, geteuid(), getegid(), 0600) == -1 && errno == EADDRINUSE, "taken");
  expect(listen_unix(std::string(200, 'x'), 8, 0, 0, 0600) == -1 && errno == ENAMETOOLONG, "long path");
  close(fd);
  expect(symlink("/etc", link.c_str()) == 0, "symlink");
  expect(stat_beneath(base, "s", WayOut::kRefused).error == 0, "plain file");
  expect(stat_beneath(base, "out/passwd", WayOut::kRefused).error == EXDEV, "way out");
  expect(stat_beneath(base, "../etc", WayOut::kRefused).error == EXDEV, "way up");
  expect(S_ISLNK(stat_beneath(base, "out", WayOut::kRefused).file.st_mode), "the link itself");
  expect(stat_beneath(link, "passwd", WayOut::kRefused).error == 0 && stat_beneath(link, "", WayOut::kRefused).root_path == "/etc", "root by a symlink");
  expect(stat_beneath("/nowhere", "x", WayOut::kRefused).root_error == ENOENT, "no root");
  ways_out(base);
  unlink(socket_file.c_str());
  unlink(link.c_str());
  rmdir(directory);
}

Opening opening(const OpenOrder& order) {
  Opening result;
  std::thread([&] { result = open_for(order); }).join();
  if (result.fd >= 0) close(result.fd);
  return result;
}

void openings() {
  char directory[] = "/tmp/psg-openings-XXXXXX";
  OpenOrder order;
  order.root = mkdtemp(directory);
  order.append = true;
  order.file = "app.log";
  expect(opening(order).error == 0 && opening(order).error == 0, "made, then opened");
  order.append = false;
  expect(opening(order).error == 0, "for reading");
  const std::string base = directory, log = base + "/app.log", pipe = base + "/pipe";
  expect(mkfifo(pipe.c_str(), 0600) == 0, "mkfifo");
  order.file = "pipe";
  expect(opening(order).error == EINVAL, "a FIFO");
  order.file = "";
  expect(opening(order).error != 0, "no name");
  order.root = "/nowhere";
  expect(opening(order).error == ENOENT, "no root");
  order.guarded = true;
  for (const char* file : {"", "x", "/", "//", "/..", "/nowhere/x"}) {
    order.file = file;
    expect(opening(order).error != 0, "no guarded file");
  }
  if (geteuid() == 0) {
    order.file = log;
    expect(opening(order).error == 0, "guarded");
    order.guarded = false;
    order.has_identity = true;
    order.uid = 5;
    order.gid = 60;
    expect(opening(order).error == EACCES && geteuid() == 0, "another user");
    order.uid = 0;
    expect(strcmp(opening(order).why, "identity") == 0, "never root");
  }
  unlink(pipe.c_str());
  unlink(log.c_str());
  rmdir(directory);
}

std::string drain(int fd, size_t bytes) {
  std::string all;
  char part[65536];
  while (all.size() < bytes) {
    const ssize_t got = read(fd, part, sizeof part);
    if (got <= 0) break;
    all.append(part, static_cast<size_t>(got));
  }
  return all;
}

void log_lines() {
  using std::chrono::milliseconds;
  int ends[2];
  expect(pipe(ends) == 0, "pipe");
  auto writer = LogWriter::start(ends[1]);
  std::string all;
  for (int i = 0; i < 3000; i++) {
    const std::string line = std::string(i % 700 == 0 ? 9000 : 40, 'x') + std::to_string(i) + "\n";
    all += line;
    writer->push({0, line});
  }
  expect(!writer->flush(milliseconds(30)) && writer->waiting() > 0, "nobody reads");
  std::thread reader([&] { expect(drain(ends[0], all.size()) == all, "order"); });
  expect(writer->flush(milliseconds(10000)) && writer->waiting() == 0, "all is written");
  reader.join();
  while (writer->waiting() == 0) writer->push({0, std::string(4000, 'y') + "\n"});
  for (int i = 0; i < 100; i++) writer->push({0, std::string(4000, 'y') + "\n"});
  int bytes = 0;
  usleep(50000);
  expect(ioctl(ends[0], FIONREAD, &bytes) == 0 && bytes > 20000 && bytes < 40000, "half of the pipe is left to others");
  writer->flush(milliseconds(100));
  expect(ioctl(ends[0], FIONREAD, &bytes) == 0 && bytes > 50000, "at the end all of it is used");
  const size_t rest = writer->stop().size();
  expect(rest > 50 && rest <= 100, "what is not on its way comes back");
  expect((fcntl(ends[1], F_GETFL) & O_NONBLOCK) == 0, "the descriptor is as it was");
  close(ends[1]);
  // The end of file comes: the writer's duplicate is closed.
  expect(drain(ends[0], 1 << 30).size() > 0, "what was written");
  close(ends[0]);

  const int full = open("/dev/full", O_WRONLY);
  writer = LogWriter::start(full);
  writer->push({0, "lost\n"});
  expect(!writer->flush(milliseconds(5000)), "a full disk");
  expect(writer->stop().size() <= 1, "stopped while it waits");
  close(full);
}

void accounts() {
  const auto root = user_by_uid(0);
  expect(root.has_value() && root->name == "root", "root");
  expect(!user_by_name("no such user here").has_value() && !user_by_uid(4000000000U).has_value(), "nobody");
  const auto group = group_by_gid(0);
  expect(group.has_value() && group_by_name(group->name)->gid == 0, "group");
  expect(!groups_of("root", 0).empty(), "groups");
}

}  // namespace

int main() {
  steps();
  overlapping_descriptors();
  as_user();
  records();
  files_and_sockets();
  openings();
  log_lines();
  accounts();
  expect(std::string(step_name(9999)) == "unknown", "step name");
  fprintf(stderr, "%d broken\n", broken);
  return broken == 0 ? 0 : 1;
}
