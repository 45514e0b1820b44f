// JavaScript's view of child.h, of signals and of the process itself.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "child.h"
#include "thread.h"

namespace passenger {
namespace {

constexpr char kListenPid[] = "LISTEN_PID=";

std::vector<std::string> texts(const Napi::Value& value) {
  const auto list = value.As<Napi::Array>();
  std::vector<std::string> result;
  for (uint32_t i = 0; i < list.Length(); i++) result.push_back(list.Get(i).As<Napi::String>());
  return result;
}

std::vector<char*> pointers(std::vector<std::string>& list) {
  std::vector<char*> result;
  for (auto& text : list) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

// Owns the memory that a ChildPlan points to; its paths are kept to name an obstacle later.
struct Plan {
  std::string file, cwd, must_read, oom;
  std::vector<std::string> argv, env;
  std::vector<char*> argv_pointers, env_pointers;
  std::vector<gid_t> groups, group_room;
  std::vector<int> fds, moved;
  ChildPlan plain = {};

  explicit Plan(const Napi::Object& given) {
    const auto uint = [](const Napi::Value& value) { return value.As<Napi::Number>().Uint32Value(); };
    file = given.Get("file").As<Napi::String>();
    cwd = given.Get("cwd").As<Napi::String>();
    must_read = given.Get("mustRead").As<Napi::String>();
    argv = texts(given.Get("argv"));
    env = texts(given.Get("env"));
    if (given.Get("listenPid").As<Napi::Boolean>().Value()) env.push_back(kListenPid + std::string(12, '\0'));
    const auto list = given.Get("fds").As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++) fds.push_back(list.Get(i).As<Napi::Number>().Int32Value());
    moved.resize(fds.size());
    if (given.Get("oomScoreAdj").IsNumber()) {
      oom = std::to_string(given.Get("oomScoreAdj").As<Napi::Number>().Int32Value());
    }
    if (given.Get("identity").IsObject()) take_identity(given.Get("identity").As<Napi::Object>());
    plain.mask = uint(given.Get("umask"));
    plain.death_signal = static_cast<int>(uint(given.Get("deathSignal")));
    if (given.Get("openFiles").IsNumber()) plain.open_files = uint(given.Get("openFiles"));
    plain.may_gain_privileges = given.Get("mayGainPrivileges").ToBoolean().Value();
    point();
    if (given.Get("listenPid").As<Napi::Boolean>().Value()) plain.listen_pid = env.back().data() + strlen(kListenPid);
  }
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  const std::string& path(uint32_t which) const { return which == 1 ? cwd : which == 2 ? must_read : file; }

 private:
  void take_identity(const Napi::Object& identity) {
    plain.switch_identity = true;
    plain.uid = identity.Get("uid").As<Napi::Number>().Uint32Value();
    plain.gid = identity.Get("gid").As<Napi::Number>().Uint32Value();
    const auto list = identity.Get("groups").As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++) groups.push_back(list.Get(i).As<Napi::Number>().Uint32Value());
    std::sort(groups.begin(), groups.end());
    groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
    group_room.resize(groups.size() + 1);
  }

  void point() {
    argv_pointers = pointers(argv);
    env_pointers = pointers(env);
    plain.file = file.data();
    plain.argv = argv_pointers.data();
    plain.env = env_pointers.data();
    plain.cwd = cwd.data();
    plain.must_read = must_read.empty() ? nullptr : must_read.data();
    plain.groups = groups.data();
    plain.group_count = groups.size();
    plain.group_room = group_room.data();
    plain.fds = fds.data();
    plain.moved = moved.data();
    plain.fd_count = fds.size();
    plain.oom_score_adj = oom.empty() ? nullptr : oom.c_str();
  }
};

// Waits for the child's word: chdir or exec may hang on a dead mount.
class SpawnWait : public Task {
 public:
  SpawnWait(std::unique_ptr<Plan> plan, int status) : plan_(std::move(plan)), status_(status) {}
  ~SpawnWait() override { close(status_); }

  void work() override {
    ssize_t length;
    do {
      length = read(status_, &failure_, sizeof failure_);
    } while (length < 0 && errno == EINTR);
    failed_ = length == static_cast<ssize_t>(sizeof failure_);
  }

  Napi::Value result(Napi::Env env) override {
    if (!failed_) return env.Undefined();
    auto result = Napi::Object::New(env);
    result.Set("step", step_name(failure_.step));
    result.Set("errno", Napi::Number::New(env, failure_.error));
    result.Set("obstacle", obstacle(env));
    return result;
  }

 private:
  Napi::Value obstacle(Napi::Env env) const {
    if (failure_.which == 0) return env.Undefined();
    auto result = Napi::Object::New(env);
    result.Set("path", plan_->path(failure_.which).substr(0, failure_.length));
    result.Set("mode", Napi::Number::New(env, failure_.mode));
    result.Set("uid", Napi::Number::New(env, failure_.uid));
    result.Set("gid", Napi::Number::New(env, failure_.gid));
    return result;
  }

  std::unique_ptr<Plan> plan_;
  int status_;
  Failure failure_ = {};
  bool failed_ = false;
};

Napi::Value spawn_process(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto plan = std::make_unique<Plan>(info[0].As<Napi::Object>());
  Child child;
  const int error = start_child(plan->plain, child);
  if (error != 0) throw_errno(env, error, "fork");
  run_task(env, info[1].As<Napi::Function>(), std::make_unique<SpawnWait>(std::move(plan), child.status));
  auto result = Napi::Object::New(env);
  result.Set("pid", Napi::Number::New(env, child.pid));
  result.Set("pidfd", Napi::Number::New(env, child.pidfd));
  return result;
}

int number(const Napi::Value& value) { return value.As<Napi::Number>().Int32Value(); }

void signal_process(const Napi::CallbackInfo& info) {
  if (syscall(SYS_pidfd_send_signal, number(info[0]), number(info[1]), nullptr, 0) != 0) {
    throw_errno(info.Env(), errno, "pidfd_send_signal");
  }
}

void signal_group(const Napi::CallbackInfo& info) {
  const pid_t pid = number(info[0]);
  // 0 and 1 would be our own group and everybody.
  if (pid < 2) throw_errno(info.Env(), EINVAL, "kill");
  if (kill(-pid, number(info[1])) != 0) throw_errno(info.Env(), errno, "kill");
}

// Never any child but the one asked for.
bool wait_child(const Napi::CallbackInfo& info, siginfo_t& facts, int options) {
  const pid_t pid = number(info[0]);
  if (pid < 2) throw_errno(info.Env(), EINVAL, "waitid");
  int result;
  do {
    facts = {};
    result = waitid(P_PID, static_cast<id_t>(pid), &facts, WEXITED | WNOHANG | options);
  } while (result != 0 && errno == EINTR);
  if (result != 0) throw_errno(info.Env(), errno, "waitid");
  return facts.si_pid == pid;
}

Napi::Value peek_exit(const Napi::CallbackInfo& info) {
  siginfo_t facts;
  return Napi::Boolean::New(info.Env(), wait_child(info, facts, WNOWAIT));
}

Napi::Value reap(const Napi::CallbackInfo& info) {
  siginfo_t facts;
  if (!wait_child(info, facts, 0)) return info.Env().Undefined();
  auto result = Napi::Object::New(info.Env());
  result.Set(facts.si_code == CLD_EXITED ? "code" : "signal", Napi::Number::New(info.Env(), facts.si_status));
  return result;
}

void set_dumpable(const Napi::CallbackInfo& info) {
  if (prctl(PR_SET_DUMPABLE, info[0].As<Napi::Boolean>().Value() ? 1 : 0, 0, 0, 0) != 0) {
    throw_errno(info.Env(), errno, "prctl");
  }
}

}  // namespace

void bind_processes(Napi::Env env, Napi::Object exports) {
  exports.Set("spawnProcess", Napi::Function::New(env, spawn_process));
  exports.Set("signalProcess", Napi::Function::New(env, signal_process));
  exports.Set("signalGroup", Napi::Function::New(env, signal_group));
  exports.Set("peekExit", Napi::Function::New(env, peek_exit));
  exports.Set("reap", Napi::Function::New(env, reap));
  exports.Set("setDumpable", Napi::Function::New(env, set_dumpable));
}

}  // namespace passenger
