// The addon's entry: collects the functions of the bind_* files. core/native.ts describes them and is their only user.
#include "thread.h"

namespace {

Napi::Object initialise(Napi::Env env, Napi::Object exports) {
  passenger::bind_files(env, exports);
  passenger::bind_log(env, exports);
  passenger::bind_openings(env, exports);
  passenger::bind_processes(env, exports);
  passenger::bind_sockets(env, exports);
  passenger::bind_receiver(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(passenger_native, initialise)
