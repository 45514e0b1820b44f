// Writes log lines on a thread of its own, in their order: a log that does not take bytes (a piped logger that has
// stopped reading, a dead mount, a full disk, a hanging syslog) makes the lines wait and nobody else. How many may wait
// is decided by whoever pushes (core/supervisor/log-bound.ts). No Node-API here.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace passenger {

struct LogLine {
  int priority = 0;  // for the system's log: level and facility
  std::string text;  // with its line end, where it goes to a descriptor
};

class LogWriter {
 public:
  // On a duplicate of `fd`, which is never made non-blocking (it is shared with Apache and its loggers); a negative
  // one stands for the system's log. Throws std::system_error.
  static std::shared_ptr<LogWriter> start(int fd);

  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // Never waits.
  void push(LogLine line);
  // Bytes that are not written, and what their lines cost beside them.
  size_t waiting();
  // Waits until everything is written or a write has failed, so long at most. Answers whether everything is.
  bool flush(std::chrono::milliseconds limit);
  // The thread ends as soon as it can. Gives back the lines that are not written; a write that hangs keeps its own.
  std::vector<LogLine> stop();

 private:
  explicit LogWriter(int fd);
  void run();
  bool wait_ready();
  bool crowded() const;
  void take();
  int deliver();
  int write_all(const std::string& bytes, size_t* written);
  void settle(int error);

  std::mutex mutex_;
  std::condition_variable changed_;   // for the thread
  std::condition_variable progress_;  // for whoever flushes
  std::deque<LogLine> queue_;
  size_t waiting_ = 0;
  size_t failures_ = 0;
  bool writing_ = false;
  bool stopped_ = false;
  bool hurried_ = false;
  std::atomic<bool> flushing_{false};

  // The thread's own.
  std::vector<LogLine> batch_;
  size_t done_ = 0;    // lines of the batch that are written
  bool torn_ = false;  // the last write ended within a line
  int fd_ = -1;
  int wake_ = -1;
  size_t batch_limit_;
  size_t piece_ = SIZE_MAX;  // of one write
  bool pollable_ = false;
  int pipe_size_ = 0;  // 0: no pipe
  const bool system_log_;
};

}  // namespace passenger
