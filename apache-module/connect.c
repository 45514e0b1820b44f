/*
 * Connections to the core: a pool for each Apache child, last in first out, and the patience of a connect. Knows the
 * socket and HELLO's bookkeeping, nothing of requests. A connection belongs to one thread at a time.
 */
#include "mod_passenger.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A core that is being replaced needs about a second; its socket stays, so mostly the backlog does the waiting. */
#define FIRST_PAUSE_MS 50
#define NEXT_PAUSE_MS 100
#define PATIENCE apr_time_from_sec(5)
/* What a burst has left behind costs both ends a descriptor and a buffer; another connect costs 30 us. */
#define MAX_IDLE apr_time_from_sec(10)
/* The system doubles it: twice of its default, for fewer wake-ups in uploads. A limit, no memory. */
#define SEND_ROOM 212992

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static psg_connection *idle;
static volatile apr_uint32_t last_look;

/* The child came from a fork: what its parent pooled (one-process mode aside: nothing) is not its own. */
void psg_connect_child_init(apr_pool_t *pchild)
{
    idle = NULL;
}

/* A failure that goes away by itself when a core starts or catches up. */
static int passes(int error)
{
    return error == EAGAIN || error == ECONNREFUSED || error == ENOENT || error == EINTR;
}

static int connect_once(const char *path)
{
    struct sockaddr_un address;
    int error, room = SEND_ROOM;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    apr_cpystrn(address.sun_path, path, sizeof address.sun_path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static int connect_with_patience(const char *path)
{
    apr_time_t deadline = psg_now() + PATIENCE;
    int pause = FIRST_PAUSE_MS;

    for (;;) {
        int fd = connect_once(path);
        int error = errno;

        if (fd >= 0) {
            return fd;
        }
        if (!passes(error) || psg_now() >= deadline) {
            errno = error;
            return -1;
        }
        poll(NULL, 0, pause);
        pause = NEXT_PAUSE_MS;
    }
}

static psg_connection *pop_idle(void)
{
    psg_connection *connection;

    pthread_mutex_lock(&lock);
    connection = idle;
    if (connection != NULL) {
        idle = connection->next;
    }
    pthread_mutex_unlock(&lock);
    return connection;
}

psg_connection *psg_connection_take(int only_fresh)
{
    psg_runtime *runtime = psg_the_runtime();
    psg_connection *connection = only_fresh ? NULL : pop_idle();
    int fd;

    if (connection != NULL) {
        connection->reused = 1;
        return connection;
    }
    if (runtime == NULL || runtime->socket_path[0] == '\0') {
        errno = ENOENT;
        return NULL;
    }
    fd = connect_with_patience(runtime->socket_path);
    if (fd < 0) {
        return NULL;
    }
    connection = calloc(1, sizeof *connection);
    if (connection != NULL) {
        connection->buffer = malloc(PSG_READ_BUFFER);
    }
    if (connection == NULL || connection->buffer == NULL) {
        free(connection);
        close(fd);
        errno = ENOMEM;
        return NULL;
    }
    connection->fd = fd;
    connection->fresh = 1;
    connection->capacity = PSG_READ_BUFFER;
    return connection;
}

int psg_connection_knows(const psg_connection *connection, apr_uint64_t hash)
{
    unsigned i;

    for (i = 0; i < connection->known_count; i++) {
        if (connection->known[i] == hash) {
            return 1;
        }
    }
    return 0;
}

/* 0 when the connection carries as many blocks as it may: the caller takes another. */
int psg_connection_learn(psg_connection *connection, apr_uint64_t hash)
{
    if (connection->known_count == PSG_MAX_SETTINGS_PER_CONNECTION) {
        return 0;
    }
    connection->known[connection->known_count++] = hash;
    return 1;
}

/* The one used last is the first of the list: all old ones are its end. With the lock held. */
static psg_connection *cut_old(apr_time_t now)
{
    psg_connection **at = &idle;
    psg_connection *old;

    while (*at != NULL && now - (*at)->idle_since <= MAX_IDLE) {
        at = &(*at)->next;
    }
    old = *at;
    *at = NULL;
    return old;
}

void psg_connection_give(psg_connection *connection)
{
    psg_connection *old = NULL;

    connection->start = connection->end = 0;
    if (connection->capacity > PSG_READ_BUFFER) {
        unsigned char *smaller = realloc(connection->buffer, PSG_READ_BUFFER);
        if (smaller != NULL) {
            connection->buffer = smaller;
            connection->capacity = PSG_READ_BUFFER;
        }
    }
    connection->idle_since = psg_now();
    pthread_mutex_lock(&lock);
    connection->next = idle;
    idle = connection;
    if (psg_first_in_second(&last_look)) {
        old = cut_old(connection->idle_since);
    }
    pthread_mutex_unlock(&lock);
    while (old != NULL) {
        psg_connection *next = old->next;
        psg_connection_close(old);
        old = next;
    }
}

void psg_connection_close(psg_connection *connection)
{
    close(connection->fd);
    free(connection->buffer);
    free(connection);
}

int psg_connection_reserve(psg_connection *connection, apr_size_t length)
{
    if (connection->start > 0) {
        connection->end -= connection->start;
        memmove(connection->buffer, connection->buffer + connection->start, connection->end);
        connection->start = 0;
    }
    if (connection->capacity < length) {
        unsigned char *larger = realloc(connection->buffer, length);
        if (larger == NULL) {
            return 0;
        }
        connection->buffer = larger;
        connection->capacity = length;
    }
    return 1;
}

static int skip_written(struct iovec **vectors, int count, size_t written)
{
    while (count > 0 && written >= (*vectors)->iov_len) {
        written -= (*vectors)->iov_len;
        (*vectors)++;
        count--;
    }
    if (count > 0) {
        (*vectors)->iov_base = (char *)(*vectors)->iov_base + written;
        (*vectors)->iov_len -= written;
    }
    return count;
}

int psg_write_all(int fd, struct iovec *vectors, int count, apr_time_t deadline)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = vectors, .msg_iovlen = (size_t)count};
        ssize_t written = sendmsg(fd, &message, MSG_NOSIGNAL);

        if (written >= 0) {
            count = skip_written(&vectors, count, (size_t)written);
        }
        else if (errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            apr_time_t left = deadline - psg_now();

            if (left <= 0) {
                errno = ETIMEDOUT;
                return 0;
            }
            poll(&wait, 1, (int)(left / 1000) + 1);
        }
        else if (errno != EINTR) {
            return 0;
        }
    }
    return 1;
}
