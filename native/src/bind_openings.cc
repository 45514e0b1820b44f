// JavaScript's view of openings.h, and reading and appending without waiting: a file system of a user (FUSE) may never
// answer, and must hold nobody but the thread that asked.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "openings.h"
#include "thread.h"

namespace passenger {
namespace {

int number(const Napi::Value& value) { return value.As<Napi::Number>().Int32Value(); }

std::vector<gid_t> numbers(const Napi::Value& value) {
  const auto list = value.As<Napi::Array>();
  std::vector<gid_t> result;
  for (uint32_t i = 0; i < list.Length(); i++) result.push_back(list.Get(i).As<Napi::Number>().Uint32Value());
  return result;
}

class OpenTask : public Task {
 public:
  explicit OpenTask(OpenOrder order) : order_(std::move(order)) {}
  ~OpenTask() override {
    if (opening_.fd >= 0) close(opening_.fd);
  }
  void work() override { opening_ = open_for(order_); }
  Napi::Value result(Napi::Env env) override {
    auto result = Napi::Object::New(env);
    result.Set("fd", Napi::Number::New(env, opening_.fd));
    result.Set("errno", Napi::Number::New(env, opening_.error));
    result.Set("why", opening_.why);
    opening_.fd = -1;
    return result;
  }

 private:
  OpenOrder order_;
  Opening opening_;
};

void open_file(const Napi::CallbackInfo& info) {
  const auto given = info[0].As<Napi::Object>();
  OpenOrder order;
  order.root = given.Get("root").As<Napi::String>();
  order.file = given.Get("file").As<Napi::String>();
  order.append = given.Get("append").As<Napi::Boolean>();
  order.guarded = given.Get("guarded").As<Napi::Boolean>();
  order.distrusted = numbers(given.Get("distrusted"));
  if (given.Get("identity").IsObject()) {
    const auto identity = given.Get("identity").As<Napi::Object>();
    order.has_identity = true;
    order.uid = identity.Get("uid").As<Napi::Number>().Uint32Value();
    order.gid = identity.Get("gid").As<Napi::Number>().Uint32Value();
    order.groups = numbers(identity.Get("groups"));
  }
  run_task(info.Env(), info[1].As<Napi::Function>(), std::make_unique<OpenTask>(std::move(order)));
}

class AppendTask : public Task {
 public:
  AppendTask(int fd, std::string bytes) : fd_(fd), bytes_(std::move(bytes)) {}
  void work() override {
    while (written_ < bytes_.size()) {
      const ssize_t part = write(fd_, bytes_.data() + written_, bytes_.size() - written_);
      if (part < 0 && errno == EINTR) continue;
      if (part <= 0) {
        error_ = part == 0 ? ENOSPC : errno;
        return;
      }
      written_ += static_cast<size_t>(part);
    }
  }
  Napi::Value result(Napi::Env env) override {
    auto result = Napi::Object::New(env);
    result.Set("errno", Napi::Number::New(env, error_));
    result.Set("written", Napi::Number::New(env, static_cast<double>(written_)));
    return result;
  }

 private:
  int fd_;
  std::string bytes_;
  size_t written_ = 0;
  int error_ = 0;
};

void append_bytes(const Napi::CallbackInfo& info) {
  const auto bytes = info[1].As<Napi::Buffer<char>>();
  run_task(info.Env(), info[2].As<Napi::Function>(),
           std::make_unique<AppendTask>(number(info[0]), std::string(bytes.Data(), bytes.Length())));
}

class ReadTask : public Task {
 public:
  ReadTask(int fd, size_t limit) : fd_(fd), limit_(limit) {}
  void work() override {
    bytes_.resize(limit_ + 1);
    size_t length = 0;
    while (length < bytes_.size()) {
      const ssize_t part = read(fd_, bytes_.data() + length, bytes_.size() - length);
      if (part < 0 && errno == EINTR) continue;
      if (part < 0) error_ = errno;
      if (part <= 0) break;
      length += static_cast<size_t>(part);
    }
    if (length > limit_) error_ = EFBIG;
    bytes_.resize(error_ == 0 ? length : 0);
  }
  Napi::Value result(Napi::Env env) override {
    auto result = Napi::Object::New(env);
    result.Set("errno", Napi::Number::New(env, error_));
    result.Set("bytes", Napi::Buffer<char>::Copy(env, bytes_.data(), bytes_.size()));
    return result;
  }

 private:
  int fd_;
  size_t limit_;
  std::string bytes_;
  int error_ = 0;
};

void read_bytes(const Napi::CallbackInfo& info) {
  run_task(info.Env(), info[2].As<Napi::Function>(),
           std::make_unique<ReadTask>(number(info[0]), info[1].As<Napi::Number>().Uint32Value()));
}

}  // namespace

void bind_openings(Napi::Env env, Napi::Object exports) {
  exports.Set("openFile", Napi::Function::New(env, open_file));
  exports.Set("appendBytes", Napi::Function::New(env, append_bytes));
  exports.Set("readBytes", Napi::Function::New(env, read_bytes));
}

}  // namespace passenger
