// JavaScript's view of files.h and users.h: at once, or with a callback from a thread.
#include "files.h"
#include "thread.h"
#include "users.h"

namespace passenger {
namespace {

// A lookup as a task: `find` on the thread, `convert` on the main thread.
template <typename Found>
class Lookup : public Task {
 public:
  using Find = std::function<Found()>;
  using Convert = Napi::Value (*)(Napi::Env, const Found&);
  Lookup(Find find, Convert convert) : find_(std::move(find)), convert_(convert) {}
  void work() override { found_ = find_(); }
  Napi::Value result(Napi::Env env) override { return convert_(env, found_); }

 private:
  Find find_;
  Convert convert_;
  Found found_;
};

template <typename Found>
Napi::Value now_or_later(const Napi::CallbackInfo& info, size_t callback, std::function<Found()> find,
                         Napi::Value (*convert)(Napi::Env, const Found&)) {
  if (info.Length() <= callback || !info[callback].IsFunction()) return convert(info.Env(), find());
  run_task(info.Env(), info[callback].As<Napi::Function>(),
           std::make_unique<Lookup<Found>>(std::move(find), convert));
  return info.Env().Undefined();
}

Napi::Value user_value(Napi::Env env, const std::optional<User>& user) {
  if (!user.has_value()) return env.Undefined();
  auto result = Napi::Object::New(env);
  result.Set("name", user->name);
  result.Set("uid", Napi::Number::New(env, user->uid));
  result.Set("gid", Napi::Number::New(env, user->gid));
  result.Set("home", user->home);
  result.Set("shell", user->shell);
  return result;
}

Napi::Value group_value(Napi::Env env, const std::optional<Group>& group) {
  if (!group.has_value()) return env.Undefined();
  auto result = Napi::Object::New(env);
  result.Set("name", group->name);
  result.Set("gid", Napi::Number::New(env, group->gid));
  return result;
}

Napi::Value groups_value(Napi::Env env, const std::vector<gid_t>& groups) {
  auto result = Napi::Array::New(env, groups.size());
  for (uint32_t i = 0; i < groups.size(); i++) result.Set(i, Napi::Number::New(env, groups[i]));
  return result;
}

Napi::Value facts_value(Napi::Env env, const StatFacts& facts) {
  auto result = Napi::Object::New(env);
  const auto set = [&](const char* name, uint32_t value) { result.Set(name, Napi::Number::New(env, value)); };
  set("errno", static_cast<uint32_t>(facts.error));
  set("mode", facts.file.st_mode);
  set("uid", facts.file.st_uid);
  set("gid", facts.file.st_gid);
  set("rootErrno", static_cast<uint32_t>(facts.root_error));
  set("rootMode", facts.root.st_mode);
  set("rootUid", facts.root.st_uid);
  set("rootGid", facts.root.st_gid);
  const int64_t time = static_cast<int64_t>(facts.file.st_mtim.tv_sec) * 1000000000 + facts.file.st_mtim.tv_nsec;
  // Times before 1970 do not fit the protocol's unsigned field.
  result.Set("mtimeNs", Napi::BigInt::New(env, static_cast<uint64_t>(time < 0 ? 0 : time)));
  result.Set("inode", Napi::BigInt::New(env, static_cast<uint64_t>(facts.file.st_ino)));
  result.Set("rootPath", facts.root_path);
  return result;
}

Napi::Value lookup_user(const Napi::CallbackInfo& info) {
  using Found = std::optional<User>;
  if (info[0].IsNumber()) {
    const uid_t uid = info[0].As<Napi::Number>().Uint32Value();
    return now_or_later<Found>(info, 1, [uid] { return user_by_uid(uid); }, user_value);
  }
  const std::string name = info[0].As<Napi::String>();
  return now_or_later<Found>(info, 1, [name] { return user_by_name(name); }, user_value);
}

Napi::Value lookup_group(const Napi::CallbackInfo& info) {
  using Found = std::optional<Group>;
  if (info[0].IsNumber()) {
    const gid_t gid = info[0].As<Napi::Number>().Uint32Value();
    return now_or_later<Found>(info, 1, [gid] { return group_by_gid(gid); }, group_value);
  }
  const std::string name = info[0].As<Napi::String>();
  return now_or_later<Found>(info, 1, [name] { return group_by_name(name); }, group_value);
}

Napi::Value group_list(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>();
  const gid_t gid = info[1].As<Napi::Number>().Uint32Value();
  return now_or_later<std::vector<gid_t>>(info, 2, [name, gid] { return groups_of(name, gid); }, groups_value);
}

Napi::Value stat_file(const Napi::CallbackInfo& info) {
  const std::string root = info[0].As<Napi::String>();
  const std::string relative = info[1].As<Napi::String>();
  // Only on a thread of its own: it gives up rights.
  const bool may_follow = info[2].IsFunction() && info[3].ToBoolean();
  const WayOut way_out = may_follow ? WayOut::kAsItsMaker : WayOut::kRefused;
  const auto look = [root, relative, way_out] { return stat_beneath(root, relative, way_out); };
  return now_or_later<StatFacts>(info, 2, look, facts_value);
}

}  // namespace

void bind_files(Napi::Env env, Napi::Object exports) {
  exports.Set("lookupUser", Napi::Function::New(env, lookup_user));
  exports.Set("lookupGroup", Napi::Function::New(env, lookup_group));
  exports.Set("groupList", Napi::Function::New(env, group_list));
  exports.Set("statBeneath", Napi::Function::New(env, stat_file));
}

}  // namespace passenger
