/*
 * The thread that carries all tunnels of a child of the event MPM, so that none holds a worker: one epoll over both
 * ends of each. It starts with the first tunnel and ends with the child. Connections come to it through the
 * hook suspend_connection; it destroys their pools, as Apache has no way to take a suspended one back.
 */
#include "tunnel.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "http_connection.h"
#include "mpm_common.h"

#define EVENTS 128
#define CHECK_MS 1000
#define CHECK_TIME apr_time_from_msec(CHECK_MS)
/* How long a client may take to answer our FIN, as in Apache's own short lingering close. */
#define LINGER_LIMIT apr_time_from_sec(2)
/* After the hand-over the worker thread still writes twice to the connection's state. */
#define SETTLE_TIME apr_time_from_sec(1)
#define DEFAULT_WORKER_FACTOR 2
/* Registered with epoll, although nothing is wanted. */
#define ONLY_FAILURES (1u << 27)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static psg_tunnel *inbox;             /* under the lock: handed over, not yet taken by the thread */
static int state;                     /* under the lock: 0 not started, 1 runs, -1 cannot start */
static volatile int stopping;
static pthread_t thread;
static server_rec *child_server;
static int wake_fd = -1, poll_fd = -1;
static double worker_factor = DEFAULT_WORKER_FACTOR;

/* The thread's own. */
static psg_tunnel *tunnels;
static unsigned tunnel_count, tunnel_limit;
static int limit_said;
static unsigned char scratch[PSG_TUNNEL_PIECE];

apr_time_t psg_tunnel_draining_since(void)
{
    static volatile apr_time_t since;
    int mpm_state = 0;

    if (since == 0 && ap_mpm_query(AP_MPMQ_MPM_STATE, &mpm_state) == APR_SUCCESS && mpm_state == AP_MPMQ_STOPPING) {
        since = psg_now();
    }
    return since;
}

/* ---- epoll ---- */

/* Which end an event is for stands in the lowest bit: tunnels are aligned. */
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

/* ---- the end of a tunnel ---- */

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
    tunnel_count--;
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

static void destroy(psg_tunnel *tunnel)
{
    if (tunnel->previous != NULL) {
        tunnel->previous->next = tunnel->next;
    }
    else {
        tunnels = tunnel->next;
    }
    if (tunnel->next != NULL) {
        tunnel->next->previous = tunnel->previous;
    }
    apr_pool_destroy(tunnel->c->pool);
}

/* ---- the thread ---- */

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

static void on_event(psg_tunnel *tunnel, int is_client, unsigned events)
{
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

static void say_when_limited(void)
{
    if (!limit_said && tunnel_limit > 0 && tunnel_count >= tunnel_limit - tunnel_limit / 10) {
        limit_said = 1;
        PSG_LOG_SERVER(APLOG_NOTICE, 0, child_server, "PSG1019",
                       "open tunnels come near Apache's limit of connections, raise AsyncRequestWorkerFactor tunnels=%u limit=%u",
                       tunnel_count, tunnel_limit);
    }
    else if (limit_said && tunnel_count < tunnel_limit / 2) {
        limit_said = 0;
    }
}

static void take_inbox(void)
{
    psg_tunnel *first;
    eventfd_t count;

    eventfd_read(wake_fd, &count);
    pthread_mutex_lock(&lock);
    first = inbox;
    inbox = NULL;
    pthread_mutex_unlock(&lock);
    while (first != NULL) {
        psg_tunnel *tunnel = first;

        first = tunnel->next;
        tunnel->next = tunnels;
        if (tunnels != NULL) {
            tunnels->previous = tunnel;
        }
        tunnels = tunnel;
        tunnel_count++;
        enter(tunnel, PSG_STAGE_RELAYING);
        relay(tunnel, 1, 1);
    }
    say_when_limited();
}

static void check(psg_tunnel *tunnel, apr_time_t now, apr_time_t draining_since)
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
        if (tunnel->c->sbh == NULL && now - tunnel->stage_since > SETTLE_TIME) {
            destroy(tunnel);
        }
    }
}

static void check_all(void)
{
    apr_time_t now = psg_now(), draining_since = psg_tunnel_draining_since();
    psg_tunnel *tunnel, *next;

    for (tunnel = tunnels; tunnel != NULL; tunnel = next) {
        next = tunnel->next;
        check(tunnel, now, draining_since);
    }
    say_when_limited();
}

static void *carry_all(void *unused)
{
    struct epoll_event events[EVENTS];
    apr_time_t last_check = psg_now();

    while (!stopping) {
        int count = epoll_wait(poll_fd, events, EVENTS, tunnels == NULL ? -1 : CHECK_MS);
        int i;

        for (i = 0; i < count; i++) {
            apr_uintptr_t who = (apr_uintptr_t)events[i].data.ptr;

            if (who == 0) {
                take_inbox();
            }
            else {
                on_event((psg_tunnel *)(who & ~(apr_uintptr_t)1), (int)(who & 1), events[i].events);
            }
        }
        if (psg_now() - last_check >= CHECK_TIME) {
            last_check = psg_now();
            check_all();
        }
    }
    return NULL;
}

/* ---- for the other threads ---- */

static int start_thread(void)
{
    struct epoll_event event = {.events = EPOLLIN};
    sigset_t all, before;
    int failed;

    wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (wake_fd < 0 || poll_fd < 0 || epoll_ctl(poll_fd, EPOLL_CTL_ADD, wake_fd, &event) != 0) {
        return 0;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&thread, NULL, carry_all, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = failed;
    return failed == 0;
}

int psg_tunnel_thread_start(request_rec *r)
{
    int runs;

    pthread_mutex_lock(&lock);
    if (state == 0) {
        state = start_thread() ? 1 : -1;
        if (state < 0) {
            PSG_LOG(APLOG_WARNING, errno, r, "PSG1020", "cannot start the thread for tunnels, they hold workers");
        }
    }
    runs = state > 0;
    pthread_mutex_unlock(&lock);
    return runs;
}

/* For a connection that Apache closes instead of suspending it. */
static apr_status_t release_late(void *tunnel)
{
    psg_relay_release(tunnel);
    return APR_SUCCESS;
}

void psg_tunnel_hand_over_later(psg_tunnel *tunnel)
{
    apr_pool_cleanup_register(tunnel->r->pool, tunnel, release_late, apr_pool_cleanup_null);
    ap_set_module_config(tunnel->c->conn_config, &passenger_module, tunnel);
}

/* The last that Apache does with a connection whose handler returned SUSPENDED, but for two writes to its state. */
void psg_tunnel_suspended(conn_rec *c, request_rec *r)
{
    psg_tunnel *tunnel = ap_get_module_config(c->conn_config, &passenger_module);

    if (tunnel == NULL || c->cs == NULL || c->cs->state != CONN_STATE_SUSPENDED) {
        return;
    }
    ap_set_module_config(c->conn_config, &passenger_module, NULL);
    pthread_mutex_lock(&lock);
    tunnel->next = inbox;
    inbox = tunnel;
    pthread_mutex_unlock(&lock);
    eventfd_write(wake_fd, 1);
}

/* Before anything of the child is taken down. What is open then ends with the process. */
static apr_status_t stop_thread(void *unused)
{
    if (state > 0) {
        stopping = 1;
        eventfd_write(wake_fd, 1);
        pthread_join(thread, NULL);
        state = -1;
    }
    return APR_SUCCESS;
}

void psg_tunnel_child_init(apr_pool_t *pchild, server_rec *s)
{
    int threads = 0;

    child_server = s;
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    tunnel_limit = (unsigned)((threads > 0 ? threads : 1) * (worker_factor + 1));
    apr_pool_pre_cleanup_register(pchild, NULL, stop_thread);
}

/* AsyncRequestWorkerFactor, which the MPM tells nobody. */
static void find_factor(const ap_directive_t *at)
{
    for (; at != NULL; at = at->next) {
        if (strcasecmp(at->directive, "AsyncRequestWorkerFactor") == 0) {
            worker_factor = atof(at->args);
        }
        else if (at->first_child != NULL) {
            find_factor(at->first_child);
        }
    }
}

void psg_tunnel_configure(void)
{
    psg_relay_configure();
    worker_factor = DEFAULT_WORKER_FACTOR;
    find_factor(ap_conftree);
}
