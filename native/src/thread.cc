#include "thread.h"

#include <cerrno>
#include <cstring>
#include <system_error>
#include <thread>

namespace passenger {

void throw_errno(Napi::Env env, int error, const char* syscall) {
  Napi::Error thrown = Napi::Error::New(env, std::string(syscall) + ": " + strerror(error));
  thrown.Set("errno", Napi::Number::New(env, error));
  thrown.Set("syscall", Napi::String::New(env, syscall));
  throw thrown;
}

void run_task(Napi::Env env, Napi::Function done, std::unique_ptr<Task> task) {
  auto calls = Napi::ThreadSafeFunction::New(env, done, "passenger task", 0, 1);
  Task* work = task.release();
  const auto deliver = [](Napi::Env inner, Napi::Function callback, Task* finished) {
    const std::unique_ptr<Task> owned(finished);
    callback.Call({owned->result(inner)});
  };
  try {
    std::thread([calls, work, deliver]() mutable {
      work->work();
      if (calls.BlockingCall(work, deliver) != napi_ok) delete work;
      calls.Release();
    }).detach();
  } catch (const std::system_error&) {
    delete work;
    calls.Release();
    throw_errno(env, EAGAIN, "pthread_create");
  }
}

}  // namespace passenger
