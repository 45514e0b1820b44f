/*
 * The life of one tunnel on the tunnel thread, stage by stage: bytes are relayed, what waits for the client goes out, its
 * connection lingers, and is dead until nobody else touches it. An event, or a look each second, moves it on. Here
 * stands what epoll watches for it. Not the thread and its list of tunnels: tunnel_thread.c, which calls all of this.
 */
#include "tunnel.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "http_connection.h"

/* How long a client may take to answer our FIN, as in Apache's own short lingering close. */
#define LINGER_LIMIT apr_time_from_sec(2)
/* After the hand-over the worker thread still writes twice to the connection's state. */
#define SETTLE_TIME apr_time_from_sec(1)
/* Registered with epoll, although nothing is wanted. */
#define ONLY_FAILURES (1u << 27)

static int poll_fd = -1;
static unsigned open_count;
static unsigned char scratch[PSG_TUNNEL_PIECE];

void psg_life_prepare(int fd)
{
    poll_fd = fd;
}

unsigned psg_life_open_count(void)
{
    return open_count;
}

/* ---- what is watched ---- */

/* `who` comes back with an event: which end it is for stands in the lowest bit, as tunnels are aligned. */
static void watch(int fd, void *who, unsigned *now, unsigned wanted)
{
    struct epoll_event event = {.events = wanted & ~ONLY_FAILURES, .data = {.ptr = who}};

    if (*now != wanted) {
        epoll_ctl(poll_fd, wanted == 0 ? EPOLL_CTL_DEL : *now == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
        *now = wanted;
    }
}

static void watch_core(psg_tunnel *tunnel)
{
    watch(tunnel->core->fd, tunnel, &tunnel->core_events,
          (psg_relay_wants_core(tunnel) ? EPOLLIN : 0) | (psg_relay_core_is_behind(tunnel) ? EPOLLOUT : 0));
}

static void watch_client(psg_tunnel *tunnel, unsigned wanted)
{
    watch(tunnel->client_fd, (char *)tunnel + 1, &tunnel->client_events, wanted);
}

static void watch_both(psg_tunnel *tunnel)
{
    int reads = psg_relay_wants_client(tunnel);
    /* Bytes inside the filters make no event; that the client takes bytes mostly is one at once. */
    int writes = psg_relay_client_is_behind(tunnel) || (reads && tunnel->more);
    unsigned wanted = (reads ? EPOLLIN : 0) | (writes ? EPOLLOUT : 0);

    /* When both directions are shut down the system reports this for ever. */
    if (wanted == 0 && !tunnel->end_passed) {
        wanted = ONLY_FAILURES;
    }
    watch_core(tunnel);
    watch_client(tunnel, wanted);
}

/* ---- its end ---- */

static void enter(psg_tunnel *tunnel, enum psg_tunnel_stage stage)
{
    tunnel->stage = stage;
    tunnel->stage_since = psg_now();
}

static void close_client(psg_tunnel *tunnel)
{
    watch_client(tunnel, 0);
    apr_socket_close(ap_get_conn_socket(tunnel->c));
    enter(tunnel, PSG_STAGE_DEAD);
}

static void reset_client(psg_tunnel *tunnel)
{
    struct linger now = {1, 0};

    setsockopt(tunnel->client_fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    tunnel->c->aborted = 1;
    close_client(tunnel);
}

/* TLS says goodbye, FIN goes out; what the client still sends is thrown away for a while, so that nothing resets it. */
static void linger(psg_tunnel *tunnel)
{
    tunnel->relays = 0;
    if (ap_start_lingering_close(tunnel->c)) {
        close_client(tunnel);
        return;
    }
    enter(tunnel, PSG_STAGE_LINGERING);
    watch_client(tunnel, EPOLLIN);
}

static void flush(psg_tunnel *tunnel)
{
    if (psg_relay_client_is_behind(tunnel)) {
        tunnel->end = PSG_TUNNEL_OPEN;
        psg_relay_push(tunnel);
    }
    if (tunnel->end == PSG_TUNNEL_BREAK) {
        reset_client(tunnel);
    }
    else if (!psg_relay_client_is_behind(tunnel)) {
        linger(tunnel);
    }
    else {
        watch_client(tunnel, EPOLLOUT);
    }
}

static void begin_end(psg_tunnel *tunnel)
{
    int broken = tunnel->end == PSG_TUNNEL_BREAK;

    watch(tunnel->core->fd, NULL, &tunnel->core_events, 0);
    psg_relay_release(tunnel);
    open_count--;
    ap_run_log_transaction(tunnel->r);
    enter(tunnel, PSG_STAGE_FLUSHING);
    if (broken) {
        reset_client(tunnel);
    }
    else {
        flush(tunnel);
    }
}

static void drain_client(psg_tunnel *tunnel)
{
    ssize_t length = recv(tunnel->client_fd, scratch, sizeof scratch, MSG_DONTWAIT);

    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR)) {
        close_client(tunnel);
    }
}

/* ---- what moves it on ---- */

static void relay(psg_tunnel *tunnel, int core_ready, int client_ready)
{
    psg_relay_pump(tunnel, core_ready, client_ready, scratch);
    if (tunnel->end == PSG_TUNNEL_OPEN) {
        watch_both(tunnel);
    }
    else {
        begin_end(tunnel);
    }
}

void psg_life_begin(psg_tunnel *tunnel)
{
    open_count++;
    enter(tunnel, PSG_STAGE_RELAYING);
    relay(tunnel, 1, 1);
}

void psg_life_on_event(void *who, unsigned events)
{
    psg_tunnel *tunnel = (psg_tunnel *)((apr_uintptr_t)who & ~(apr_uintptr_t)1);
    int is_client = (int)((apr_uintptr_t)who & 1);

    switch (tunnel->stage) {
    case PSG_STAGE_RELAYING:
        /* Other events may be older than this wish. */
        if (is_client && tunnel->client_events == ONLY_FAILURES && (events & (EPOLLERR | EPOLLHUP)) != 0) {
            tunnel->end = PSG_TUNNEL_BREAK;
            begin_end(tunnel);
        }
        else {
            relay(tunnel, !is_client, is_client && (events & ~(unsigned)EPOLLOUT) != 0);
        }
        break;
    case PSG_STAGE_FLUSHING:
        if (is_client) {
            flush(tunnel);
        }
        break;
    case PSG_STAGE_LINGERING:
        drain_client(tunnel);
        break;
    default:
        break;
    }
}

int psg_life_check(psg_tunnel *tunnel, apr_time_t now, apr_time_t draining_since)
{
    switch (tunnel->stage) {
    case PSG_STAGE_RELAYING:
        psg_relay_check(tunnel, now, draining_since);
        if (tunnel->end != PSG_TUNNEL_OPEN) {
            begin_end(tunnel);
        }
        else if (tunnel->more || tunnel->core->buffer != NULL) {
            relay(tunnel, 0, 1);
        }
        break;
    case PSG_STAGE_FLUSHING:
        if (now - tunnel->stage_since > tunnel->timeout) {
            reset_client(tunnel);
        }
        break;
    case PSG_STAGE_LINGERING:
        if (now - tunnel->stage_since > LINGER_LIMIT) {
            close_client(tunnel);
        }
        break;
    default:
        /* Apache takes the scoreboard handle away with the first of its two writes. */
        return tunnel->c->sbh == NULL && now - tunnel->stage_since > SETTLE_TIME;
    }
    return 0;
}
