// JavaScript's view of sockets.h, of descriptors, and of the memory that is read into.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "sockets.h"
#include "thread.h"

namespace passenger {
namespace {

int number(const Napi::Value& value) { return value.As<Napi::Number>().Int32Value(); }

Napi::Value both(Napi::Env env, const int (&pair)[2]) {
  auto result = Napi::Array::New(env, 2);
  result.Set(0u, Napi::Number::New(env, pair[0]));
  result.Set(1u, Napi::Number::New(env, pair[1]));
  return result;
}

Napi::Value listen_on(const Napi::CallbackInfo& info) {
  const auto options = info[1].As<Napi::Object>();
  const auto option = [&](const char* name) { return options.Get(name).As<Napi::Number>().Uint32Value(); };
  const int fd = listen_unix(info[0].As<Napi::String>(), static_cast<int>(option("backlog")), option("uid"),
                             option("gid"), option("mode"));
  if (fd < 0) throw_errno(info.Env(), errno, "listen");
  return Napi::Number::New(info.Env(), fd);
}

Napi::Value make_pair(const Napi::CallbackInfo& info) {
  const std::string type = info[0].As<Napi::String>();
  int pair[2];
  const int kind = type == "seqpacket" ? SOCK_SEQPACKET : SOCK_STREAM;
  if (socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, pair) != 0) throw_errno(info.Env(), errno, "socketpair");
  return both(info.Env(), pair);
}

Napi::Value make_pipe(const Napi::CallbackInfo& info) {
  int pair[2];
  if (pipe2(pair, O_CLOEXEC) != 0) throw_errno(info.Env(), errno, "pipe");
  return both(info.Env(), pair);
}

void close_fd(const Napi::CallbackInfo& info) {
  if (close(number(info[0])) != 0 && errno != EINTR) throw_errno(info.Env(), errno, "close");
}

void set_cloexec(const Napi::CallbackInfo& info) {
  const int flag = info[1].As<Napi::Boolean>().Value() ? FD_CLOEXEC : 0;
  if (fcntl(number(info[0]), F_SETFD, flag) != 0) throw_errno(info.Env(), errno, "fcntl");
}

void duplicate_to(const Napi::CallbackInfo& info) {
  if (dup2(number(info[0]), number(info[1])) < 0) throw_errno(info.Env(), errno, "dup2");
}

Napi::Value duplicate(const Napi::CallbackInfo& info) {
  const int fd = fcntl(number(info[0]), F_DUPFD_CLOEXEC, 3);
  if (fd < 0) throw_errno(info.Env(), errno, "fcntl");
  return Napi::Number::New(info.Env(), fd);
}

Napi::Value send_one(const Napi::CallbackInfo& info) {
  const auto bytes = info[1].As<Napi::Buffer<char>>();
  std::vector<int> fds;
  if (info[2].IsArray()) {
    const auto list = info[2].As<Napi::Array>();
    for (uint32_t i = 0; i < list.Length(); i++) fds.push_back(number(list.Get(i)));
  }
  const int sent = send_record(number(info[0]), bytes.Data(), bytes.Length(), fds);
  if (sent < 0) throw_errno(info.Env(), errno, "sendmsg");
  return Napi::Boolean::New(info.Env(), sent == 1);
}

Napi::Value peer_credentials(const Napi::CallbackInfo& info) {
  ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(number(info[0]), SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
    throw_errno(info.Env(), errno, "getsockopt");
  }
  auto result = Napi::Object::New(info.Env());
  result.Set("pid", Napi::Number::New(info.Env(), peer.pid));
  result.Set("uid", Napi::Number::New(info.Env(), peer.uid));
  result.Set("gid", Napi::Number::New(info.Env(), peer.gid));
  return result;
}

// libuv takes one connection in each turn of the loop. No reason is told: where it stays, libuv will meet it.
Napi::Value accept_next(const Napi::CallbackInfo& info) {
  int fd;
  do {
    fd = accept4(number(info[0]), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
  return Napi::Number::New(info.Env(), fd);
}

// Seen without reading: what was sent before the end may still be on its way to us.
Napi::Value peer_left(const Napi::CallbackInfo& info) {
  pollfd socket = {number(info[0]), POLLRDHUP, 0};
  const bool left = poll(&socket, 1, 0) > 0 && (socket.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) != 0;
  return Napi::Boolean::New(info.Env(), left);
}

// Whole pages only; they read as zeros afterwards. What cannot be given back stays: nothing depends on it.
void widen(const Napi::CallbackInfo& info) { widen_send_buffer(number(info[0])); }

void discard_pages(const Napi::CallbackInfo& info) {
  const auto bytes = info[0].As<Napi::Buffer<char>>();
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(bytes.Data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(bytes.Data()) + bytes.Length()) / page * page;
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

// Called for each message: plain Node-API, because the wrappers make objects. Answers the count, or -errno.
napi_value send_bytes(napi_env env, napi_callback_info info) {
  size_t count = 4, length = 0;
  napi_value arguments[4], result;
  int32_t fd = -1;
  uint32_t start = 0, end = 0;
  void* bytes = nullptr;
  ssize_t sent = -EINVAL;
  if (napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr) == napi_ok && count == 4 &&
      napi_get_value_int32(env, arguments[0], &fd) == napi_ok &&
      napi_get_buffer_info(env, arguments[1], &bytes, &length) == napi_ok &&
      napi_get_value_uint32(env, arguments[2], &start) == napi_ok &&
      napi_get_value_uint32(env, arguments[3], &end) == napi_ok && start <= end && end <= length) {
    sent = send_now(fd, static_cast<const char*>(bytes) + start, end - start);
  }
  return napi_create_int32(env, static_cast<int32_t>(sent), &result) == napi_ok ? result : nullptr;
}

void set_plain(napi_env env, napi_value exports, const char* name, napi_callback call) {
  napi_value function;
  if (napi_create_function(env, name, NAPI_AUTO_LENGTH, call, nullptr, &function) == napi_ok) {
    napi_set_named_property(env, exports, name, function);
  }
}

}  // namespace

void bind_sockets(Napi::Env env, Napi::Object exports) {
  exports.Set("listenUnix", Napi::Function::New(env, listen_on));
  exports.Set("socketPair", Napi::Function::New(env, make_pair));
  exports.Set("pipe", Napi::Function::New(env, make_pipe));
  exports.Set("closeFd", Napi::Function::New(env, close_fd));
  exports.Set("setCloexec", Napi::Function::New(env, set_cloexec));
  exports.Set("duplicateTo", Napi::Function::New(env, duplicate_to));
  exports.Set("duplicate", Napi::Function::New(env, duplicate));
  exports.Set("sendRecord", Napi::Function::New(env, send_one));
  exports.Set("acceptNext", Napi::Function::New(env, accept_next));
  exports.Set("peerCredentials", Napi::Function::New(env, peer_credentials));
  exports.Set("peerLeft", Napi::Function::New(env, peer_left));
  exports.Set("widenSendBuffer", Napi::Function::New(env, widen));
  exports.Set("discardPages", Napi::Function::New(env, discard_pages));
  set_plain(env, exports, "sendBytes", send_bytes);
}

}  // namespace passenger
