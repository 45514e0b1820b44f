#include "sockets.h"

#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace passenger {
namespace {

// For this thread and for the file system only; ends with the object.
class FileIdentity {
 public:
  FileIdentity(uid_t uid, gid_t gid) : gid_(static_cast<gid_t>(setfsgid(gid))), uid_(static_cast<uid_t>(setfsuid(uid))) {}
  ~FileIdentity() {
    setfsuid(uid_);
    setfsgid(gid_);
  }
  FileIdentity(const FileIdentity&) = delete;
  FileIdentity& operator=(const FileIdentity&) = delete;
  // The calls themselves report nothing: ask again with an invalid id, which changes nothing.
  static bool is(uid_t uid, gid_t gid) {
    return static_cast<uid_t>(setfsuid(static_cast<uid_t>(-1))) == uid &&
           static_cast<gid_t>(setfsgid(static_cast<gid_t>(-1))) == gid;
  }

 private:
  gid_t gid_;
  uid_t uid_;
};

bool bind_as(int fd, const sockaddr_un& address, uid_t uid, gid_t gid, mode_t mode) {
  // On Linux the file gets the mode of the socket's own inode, so there is no moment with another mode.
  if (fchmod(fd, mode) != 0) return false;
  const FileIdentity identity(uid, gid);
  if (!FileIdentity::is(uid, gid)) {
    errno = EPERM;
    return false;
  }
  const mode_t before = umask(0);
  const int result = bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  umask(before);
  errno = error;
  return result == 0;
}

int fail_closing(int fd) {
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

void take_descriptors(msghdr& message, std::vector<int>& fds) {
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; i++) {
      int fd;
      memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      fds.push_back(fd);
    }
  }
}

}  // namespace

int listen_unix(const std::string& path, int backlog, uid_t uid, gid_t gid, mode_t mode) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    errno = ENAMETOOLONG;
    return -1;
  }
  memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  if (!bind_as(fd, address, uid, gid, mode) || listen(fd, backlog) != 0) return fail_closing(fd);
  return fd;
}

int send_record(int fd, const void* bytes, size_t length, const std::vector<int>& fds) {
  alignas(cmsghdr) char room[CMSG_SPACE(kMaxDescriptors * sizeof(int))] = {};
  if (fds.size() > kMaxDescriptors) {
    errno = E2BIG;
    return -1;
  }
  iovec piece = {const_cast<void*>(bytes), length};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = room;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
  }
  ssize_t sent;
  do {
    sent = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent == static_cast<ssize_t>(length)) return 1;
  if (sent >= 0) {
    // A stream took a part only: the record is torn and the connection of no more use.
    errno = EPIPE;
    return -1;
  }
  // ETOOMANYREFS: the peer has not yet taken the descriptors that are on their way.
  return errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS ? 0 : -1;
}

void widen_send_buffer(int fd) {
  // The system doubles it. A refusal leaves the default, which only costs time.
  const int bytes = 212'992;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

ssize_t send_now(int fd, const void* bytes, size_t length) {
  ssize_t sent;
  do {
    sent = send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

ssize_t receive_record(int fd, void* bytes, size_t room, std::vector<int>& fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxDescriptors * sizeof(int))];
  iovec piece = {bytes, room};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t length;
  do {
    length = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  } while (length < 0 && errno == EINTR);
  if (length < 0) return -1;
  take_descriptors(message, fds);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0) return length;
  for (const int taken : fds) close(taken);
  fds.clear();
  errno = (message.msg_flags & MSG_TRUNC) != 0 ? EMSGSIZE : EPROTO;
  return -1;
}

}  // namespace passenger
