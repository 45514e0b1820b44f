// A pipe with room for PIPE_BUF bytes takes a write of that size without waiting, unless somebody else fills it in
// between; then the thread waits in the write, and nobody waits for the thread.
#include "log_writer.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>

namespace passenger {
namespace {

// Of lines that go out together, where the size of a write does not matter.
constexpr size_t kBatch = 64 * 1024;
// What a line costs in memory beside its text.
constexpr size_t kLineCost = 96;
constexpr std::chrono::seconds kRetry(1);
// A write that does not end in this time may never end; its lines are given up.
constexpr std::chrono::milliseconds kStop(20);
constexpr int kBreathMs = 10;

size_t cost(const LogLine& line) { return line.text.size() + kLineCost; }

}  // namespace

LogWriter::LogWriter(int fd) : batch_limit_(fd < 0 ? 1 : kBatch), system_log_(fd < 0) {
  const auto check = [](int result, const char* step) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), step);
    return result;
  };
  wake_ = check(eventfd(0, EFD_CLOEXEC), "eventfd");
  if (system_log_) return;
  fd_ = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (fd_ < 0) {
    const int error = errno;
    close(wake_);
    throw std::system_error(error, std::generic_category(), "dup");
  }
  struct stat facts;
  pollable_ = fstat(fd_, &facts) != 0 || !S_ISREG(facts.st_mode);
  if (pollable_) batch_limit_ = piece_ = PIPE_BUF;
  pipe_size_ = std::max(fcntl(fd_, F_GETPIPE_SZ), 0);
}

LogWriter::~LogWriter() {
  if (fd_ >= 0) close(fd_);
  close(wake_);
}

std::shared_ptr<LogWriter> LogWriter::start(int fd) {
  const std::shared_ptr<LogWriter> writer(new LogWriter(fd));
  std::thread([writer] { writer->run(); }).detach();
  return writer;
}

void LogWriter::push(LogLine line) {
  const std::lock_guard<std::mutex> lock(mutex_);
  waiting_ += cost(line);
  queue_.push_back(std::move(line));
  // A thread that is at work looks again by itself.
  if (queue_.size() == 1) changed_.notify_one();
}

size_t LogWriter::waiting() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return waiting_;
}

bool LogWriter::flush(std::chrono::milliseconds limit) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto empty = [this] { return queue_.empty() && !writing_; };
  const size_t failures = failures_;
  hurried_ = flushing_ = true;
  changed_.notify_one();
  progress_.wait_for(lock, limit, [&] { return empty() || failures_ != failures; });
  hurried_ = flushing_ = false;
  return empty();
}

std::vector<LogLine> LogWriter::stop() {
  std::unique_lock<std::mutex> lock(mutex_);
  progress_.wait_for(lock, kStop, [this] { return !writing_; });
  std::vector<LogLine> rest(std::make_move_iterator(queue_.begin()), std::make_move_iterator(queue_.end()));
  queue_.clear();
  waiting_ = 0;
  stopped_ = true;
  changed_.notify_one();
  const uint64_t one = 1;
  if (write(wake_, &one, sizeof one) < 0) hurried_ = true;  // cannot fail: the counter has room
  return rest;
}

// The lines stay in the queue until the log can take bytes, so that `stop` finds them there.
void LogWriter::run() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!stopped_) {
    changed_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
    lock.unlock();
    const bool ready = wait_ready();
    lock.lock();
    if (stopped_ || !ready) continue;
    take();
    lock.unlock();
    const int error = deliver();
    lock.lock();
    settle(error);
    progress_.notify_all();
    if (error == 0) continue;
    changed_.wait_for(lock, kRetry, [this] { return stopped_ || hurried_; });
    hurried_ = false;
  }
  // At once: a logger waits for the last descriptor to be closed, a rotated file for its space.
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

// False: we were stopped.
bool LogWriter::wait_ready() {
  if (!pollable_) return true;
  pollfd both[] = {{fd_, POLLOUT, 0}, {wake_, POLLIN, 0}};
  for (;;) {
    while (poll(both, 2, -1) < 0 && errno == EINTR) continue;
    if (both[1].revents != 0) return false;
    if (!crowded()) return true;
    poll(&both[1], 1, kBreathMs);
  }
}

// Half of a pipe is left to Apache, whose own lines wait for room, and its requests with them.
bool LogWriter::crowded() const {
  int waiting = 0;
  return pipe_size_ > 0 && !flushing_ && ioctl(fd_, FIONREAD, &waiting) == 0 && waiting > pipe_size_ / 2;
}

void LogWriter::take() {
  size_t bytes = 0;
  while (!queue_.empty() && (batch_.empty() || bytes + queue_.front().text.size() <= batch_limit_)) {
    bytes += queue_.front().text.size();
    batch_.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  writing_ = true;
}

int LogWriter::deliver() {
  done_ = 0;
  if (system_log_) {
    for (; done_ < batch_.size(); done_++) syslog(batch_[done_].priority, "%s", batch_[done_].text.c_str());
    return 0;
  }
  std::string bytes = torn_ ? "\n" : "";
  size_t end = bytes.size();
  for (const auto& line : batch_) bytes += line.text;
  size_t written = 0;
  const int error = write_all(bytes, &written);
  while (done_ < batch_.size() && end + batch_[done_].text.size() <= written) end += batch_[done_++].text.size();
  if (written > 0) torn_ = bytes[written - 1] != '\n';
  return error;
}

int LogWriter::write_all(const std::string& bytes, size_t* written) {
  while (*written < bytes.size()) {
    if (*written > 0 && !wait_ready()) return ECANCELED;
    const ssize_t part = write(fd_, bytes.data() + *written, std::min(piece_, bytes.size() - *written));
    if (part > 0) {
      *written += static_cast<size_t>(part);
    } else if (part < 0 && errno == EAGAIN) {
      // Somebody else has made it non-blocking, and took the room that was there.
      poll(nullptr, 0, kBreathMs);
      if (!wait_ready()) return ECANCELED;
    } else if (part == 0 || errno != EINTR) {
      return part == 0 ? ENOSPC : errno;
    }
  }
  return 0;
}

// What is not whole in the log comes first next time, unless somebody else has taken over meanwhile.
void LogWriter::settle(int error) {
  writing_ = false;
  if (error != 0) failures_++;
  const auto rest = batch_.begin() + static_cast<std::ptrdiff_t>(done_);
  if (!stopped_) {
    for (auto line = batch_.begin(); line != rest; ++line) waiting_ -= cost(*line);
    queue_.insert(queue_.begin(), std::make_move_iterator(rest), std::make_move_iterator(batch_.end()));
  }
  batch_.clear();
}

}  // namespace passenger
