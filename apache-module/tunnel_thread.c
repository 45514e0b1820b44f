/*
 * The thread that carries all tunnels of a child of the event MPM, so that none holds a worker: one epoll over both
 * ends of each. It starts with the first tunnel and ends with the child. Connections come to it through the
 * hook suspend_connection; it destroys their pools, as Apache has no way to take a suspended one back. What happens to
 * one tunnel in between is in tunnel_life.c. Called by tunnel.c and the hooks.
 */
#include "tunnel.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "mpm_common.h"

#define EVENTS 128
#define CHECK_MS 1000
#define CHECK_TIME apr_time_from_msec(CHECK_MS)
#define DEFAULT_WORKER_FACTOR 2

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
static unsigned tunnel_limit;
static int limit_said;

apr_time_t psg_tunnel_draining_since(void)
{
    static volatile apr_time_t since;
    int mpm_state = 0;

    if (since == 0 && ap_mpm_query(AP_MPMQ_MPM_STATE, &mpm_state) == APR_SUCCESS && mpm_state == AP_MPMQ_STOPPING) {
        since = psg_now();
    }
    return since;
}

/* ---- the thread ---- */

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

static void say_when_limited(void)
{
    unsigned open = psg_life_open_count();

    if (!limit_said && tunnel_limit > 0 && open >= tunnel_limit - tunnel_limit / 10) {
        limit_said = 1;
        PSG_LOG_SERVER(APLOG_NOTICE, 0, child_server, "PSG1019",
                       "open tunnels come near Apache's limit of connections, raise AsyncRequestWorkerFactor tunnels=%u limit=%u",
                       open, tunnel_limit);
    }
    else if (limit_said && open < tunnel_limit / 2) {
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
        psg_life_begin(tunnel);
    }
    say_when_limited();
}

static void check_all(void)
{
    apr_time_t now = psg_now(), draining_since = psg_tunnel_draining_since();
    psg_tunnel *tunnel, *next;

    for (tunnel = tunnels; tunnel != NULL; tunnel = next) {
        next = tunnel->next;
        if (psg_life_check(tunnel, now, draining_since)) {
            destroy(tunnel);
        }
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
            if (events[i].data.ptr == NULL) {
                take_inbox();
            }
            else {
                psg_life_on_event(events[i].data.ptr, events[i].events);
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
    psg_life_prepare(poll_fd);
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
