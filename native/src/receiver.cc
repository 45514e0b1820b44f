// A thread that waits in poll for records of a Unix socket and hands them to JavaScript, in order. It reads from a
// duplicate of the descriptor, so that the owner may close its own at any time. Its queue is short: a main
// thread that is behind stops the reading, and with it the sender.
#include <poll.h>
#include <sys/eventfd.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <thread>
#include <vector>

#include "sockets.h"
#include "thread.h"

namespace passenger {
namespace {

constexpr size_t kQueue = 32;
constexpr size_t kMaxRoom = 1024 * 1024;

struct Piece {
  std::vector<char> bytes;
  std::vector<int> fds;
  bool end = false;
  int error = 0;

  ~Piece() {
    for (const int fd : fds) close(fd);
  }
};

// Shared by the thread and the JavaScript object. `fd` is the thread's: it closes it at its end, so that the peer does
// not have to wait for a garbage collection.
struct State {
  int fd = -1;
  int wake = -1;
  size_t room = 0;
  bool closed = false;  // main thread only
  Napi::FunctionReference on_record;
  Napi::FunctionReference on_end;

  ~State() {
    if (wake >= 0) close(wake);
  }
};
using Shared = std::shared_ptr<State>;

void deliver(Napi::Env env, Napi::Function, Shared* state, Piece* piece);
using Calls = Napi::TypedThreadSafeFunction<Shared, Piece, deliver>;

void deliver(Napi::Env env, Napi::Function, Shared* state, Piece* raw) {
  const std::unique_ptr<Piece> piece(raw);
  if (env == nullptr || (*state)->closed) return;
  if (piece->end) {
    (*state)->closed = true;
    (*state)->on_end.Call({Napi::Number::New(env, piece->error)});
    return;
  }
  auto bytes = Napi::Buffer<char>::Copy(env, piece->bytes.data(), piece->bytes.size());
  auto fds = Napi::Array::New(env, piece->fds.size());
  for (uint32_t i = 0; i < piece->fds.size(); i++) fds.Set(i, Napi::Number::New(env, piece->fds[i]));
  piece->fds.clear();
  (*state)->on_record.Call({bytes, fds});
}

// False when `wake` asks for the end.
bool wait_for_input(const State& state) {
  pollfd watched[2] = {{state.fd, POLLIN, 0}, {state.wake, POLLIN, 0}};
  while (poll(watched, 2, -1) < 0 && errno == EINTR) {
  }
  return watched[1].revents == 0;
}

void read_all(const State& state, Calls& calls) {
  std::vector<char> room(state.room);
  for (;;) {
    if (!wait_for_input(state)) return;
    auto piece = std::make_unique<Piece>();
    const ssize_t length = receive_record(state.fd, room.data(), room.size(), piece->fds);
    if (length < 0 && errno == EAGAIN) continue;
    piece->end = length <= 0;
    // A peer that ended with unread data of ours resets the connection: an end like any other.
    piece->error = length < 0 && errno != ECONNRESET ? errno : 0;
    if (length > 0) piece->bytes.assign(room.data(), room.data() + length);
    const bool end = piece->end;
    Piece* raw = piece.release();
    if (calls.BlockingCall(raw) != napi_ok) {
      delete raw;
      return;
    }
    if (end) return;
  }
}

Napi::Value receive_records(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto state = std::make_shared<State>();
  state->wake = eventfd(0, EFD_CLOEXEC);
  if (state->wake < 0) throw_errno(env, errno, "eventfd");
  state->fd = fcntl(info[0].As<Napi::Number>().Int32Value(), F_DUPFD_CLOEXEC, 3);
  if (state->fd < 0) throw_errno(env, errno, "dup");
  state->room = std::min<size_t>(info[1].As<Napi::Number>().Uint32Value(), kMaxRoom);
  state->on_record = Napi::Persistent(info[2].As<Napi::Function>());
  state->on_end = Napi::Persistent(info[3].As<Napi::Function>());

  // The context holds the last reference to the JavaScript functions, so that they die on the main thread.
  auto* context = new Shared(state);
  auto calls = Calls::New(env, "passenger receiver", kQueue, 1, context,
                          [](Napi::Env, void*, Shared* owned) { delete owned; }, static_cast<void*>(nullptr));
  try {
    std::thread([view = state.get(), calls]() mutable {
      read_all(*view, calls);
      close(view->fd);
      calls.Release();
    }).detach();
  } catch (const std::system_error&) {
    close(state->fd);
    calls.Release();
    throw_errno(env, EAGAIN, "pthread_create");
  }

  auto receiver = Napi::Object::New(env);
  receiver.Set("close", Napi::Function::New(env, [state](const Napi::CallbackInfo&) {
                 if (state->closed) return;
                 state->closed = true;
                 const uint64_t one = 1;
                 if (write(state->wake, &one, sizeof one) < 0) state->closed = true;
               }));
  return receiver;
}

}  // namespace

void bind_receiver(Napi::Env env, Napi::Object exports) {
  exports.Set("receiveRecords", Napi::Function::New(env, receive_records));
}

}  // namespace passenger
