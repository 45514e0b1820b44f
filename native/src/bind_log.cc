// JavaScript's view of log_writer.h: an object with four functions.
#include "log_writer.h"

#include <system_error>

#include "thread.h"

namespace passenger {
namespace {

LogLine line_of(const Napi::CallbackInfo& info) {
  return {info[0].As<Napi::Number>().Int32Value(), info[1].As<Napi::String>().Utf8Value()};
}

Napi::Value line_value(Napi::Env env, const LogLine& line) {
  auto result = Napi::Object::New(env);
  result.Set("priority", Napi::Number::New(env, line.priority));
  result.Set("text", Napi::String::New(env, line.text));
  return result;
}

Napi::Value start_log_writer(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  std::shared_ptr<LogWriter> writer;
  try {
    writer = LogWriter::start(info[0].As<Napi::Number>().Int32Value());
  } catch (const std::system_error& failure) {
    throw_errno(env, failure.code().value(), "log writer");
  }
  auto result = Napi::Object::New(env);
  const auto set = [&](const char* name, auto call) { result.Set(name, Napi::Function::New(env, call, name)); };
  set("push", [writer](const Napi::CallbackInfo& call) { writer->push(line_of(call)); });
  set("waiting", [writer](const Napi::CallbackInfo& call) -> Napi::Value {
    return Napi::Number::New(call.Env(), static_cast<double>(writer->waiting()));
  });
  set("flush", [writer](const Napi::CallbackInfo& call) -> Napi::Value {
    const std::chrono::milliseconds limit(call[0].As<Napi::Number>().Uint32Value());
    return Napi::Boolean::New(call.Env(), writer->flush(limit));
  });
  set("stop", [writer](const Napi::CallbackInfo& call) -> Napi::Value {
    const auto rest = writer->stop();
    auto list = Napi::Array::New(call.Env(), rest.size());
    for (uint32_t i = 0; i < rest.size(); i++) list.Set(i, line_value(call.Env(), rest[i]));
    return list;
  });
  return result;
}

}  // namespace

void bind_log(Napi::Env env, Napi::Object exports) {
  exports.Set("startLogWriter", Napi::Function::New(env, start_log_writer));
}

}  // namespace passenger
