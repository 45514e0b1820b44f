// Unix sockets with descriptors, owners and modes. No Node-API here. All return -1 with errno, as the system does.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace passenger {

constexpr size_t kMaxDescriptors = 8;

// A listening socket whose file is created by `uid` and `gid` themselves: no chown that could hit something else.
int listen_unix(const std::string& path, int backlog, uid_t uid, gid_t gid, mode_t mode);

// 1 sent, 0 the socket is full, -1 error. All or nothing.
int send_record(int fd, const void* bytes, size_t length, const std::vector<int>& fds);

// As much as the socket takes now: the count, or -errno (EAGAIN: nothing). Never blocks, never raises SIGPIPE.
// Lets a socket hold twice of what the system gives by default, as far as that allows it (net.core.wmem_max).
void widen_send_buffer(int fd);

ssize_t send_now(int fd, const void* bytes, size_t length);

// Waits for the next record (or piece of a stream); fills `fds` with descriptors that the caller then owns.
// Returns the length, 0 at the end, -1 with errno (EMSGSIZE: longer than `room`; EPROTO: too many descriptors).
ssize_t receive_record(int fd, void* bytes, size_t room, std::vector<int>& fds);

}  // namespace passenger
