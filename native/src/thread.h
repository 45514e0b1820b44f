// Work on a thread of its own, and how failures of the system reach JavaScript.
#pragma once

#include <napi.h>

#include <memory>

namespace passenger {

// Throws an Error with `errno` and `syscall`.
[[noreturn]] void throw_errno(Napi::Env env, int error, const char* syscall);

class Task {
 public:
  virtual ~Task() = default;
  // On the thread: no JavaScript, may block.
  virtual void work() = 0;
  // On the main thread: the argument of the callback.
  virtual Napi::Value result(Napi::Env env) = 0;
};

// Runs the task and calls `done` once. Keeps the event loop alive until then.
void run_task(Napi::Env env, Napi::Function done, std::unique_ptr<Task> task);

void bind_files(Napi::Env env, Napi::Object exports);
void bind_log(Napi::Env env, Napi::Object exports);
void bind_openings(Napi::Env env, Napi::Object exports);
void bind_processes(Napi::Env env, Napi::Object exports);
void bind_sockets(Napi::Env env, Napi::Object exports);
void bind_receiver(Napi::Env env, Napi::Object exports);

}  // namespace passenger
