/*
 * An upgrade: the 101, and whose thread carries the tunnel. In the event MPM the child's tunnel thread does and the
 * handler returns SUSPENDED; elsewhere the handler's own thread. Called by response.c (the 101) and handler.c.
 */
#include "tunnel.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "ap_mpm.h"

#define DEFAULT_DRAIN_TIMEOUT 60
#define CHECK_MS 1000

static void add_field(apr_bucket_brigade *to, const psg_field *field)
{
    apr_brigade_write(to, NULL, NULL, field->name, field->name_length);
    apr_brigade_puts(to, NULL, NULL, ": ");
    apr_brigade_write(to, NULL, NULL, field->value, field->value_length);
    apr_brigade_puts(to, NULL, NULL, "\r\n");
}

static int named(const psg_field *field, const char *name)
{
    return field->name_length == strlen(name) && strncasecmp(field->name, name, field->name_length) == 0;
}

/* No HTTP between us and the connection any more: nor may the request before an internal redirect be answered at its end. */
static void leave_http(request_rec *r)
{
    conn_rec *c = r->connection;

    for (; r != NULL; r = r->prev) {
        r->output_filters = r->proto_output_filters = c->output_filters;
        r->input_filters = r->proto_input_filters = c->input_filters;
        r->eos_sent = 1;
    }
}

/* The head of a 101 is written by us: httpd's own header filter would add what belongs to a body. */
int psg_tunnel_open(psg_exchange *exchange, psg_head *head)
{
    request_rec *r = exchange->r;
    conn_rec *c = r->connection;
    int has_upgrade = 0;
    psg_field field;

    apr_brigade_puts(exchange->out, NULL, NULL, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n");
    while (psg_head_next(head, &field)) {
        if (named(&field, "Connection") || named(&field, "Status") || named(&field, "Transfer-Encoding")
            || named(&field, "Content-Length")) {
            continue;
        }
        has_upgrade |= named(&field, "Upgrade");
        add_field(exchange->out, &field);
    }
    if (!has_upgrade) {
        apr_brigade_puts(exchange->out, NULL, NULL, "Upgrade: websocket\r\n");
    }
    apr_brigade_puts(exchange->out, NULL, NULL, "\r\n");
    APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_flush_create(c->bucket_alloc));
    r->status = HTTP_SWITCHING_PROTOCOLS;
    r->status_line = NULL;
    c->keepalive = AP_CONN_CLOSE;
    leave_http(r);
    if (ap_pass_brigade(c->output_filters, exchange->out) != APR_SUCCESS || c->aborted) {
        return 0;
    }
    apr_brigade_cleanup(exchange->out);
    return 1;
}

static psg_tunnel *make_tunnel(psg_exchange *exchange)
{
    request_rec *r = exchange->r;
    psg_tunnel *tunnel = apr_pcalloc(r->connection->pool, sizeof *tunnel);

    tunnel->r = r;
    tunnel->c = r->connection;
    tunnel->core = exchange->core;
    tunnel->client_fd = exchange->client_fd;
    tunnel->timeout = r->server->timeout;
    tunnel->drain_limit =
        apr_time_from_sec(psg_number(exchange->app->conf, PSG_ID_DRAIN_TIMEOUT, DEFAULT_DRAIN_TIMEOUT));
    tunnel->last_activity = psg_now();
    /* Its limits are for requests; nothing is due on an idle tunnel. */
    ap_remove_input_filter_byhandle(r->connection->input_filters, "reqtimeout");
    psg_relay_prepare(tunnel);
    exchange->core = NULL;
    return tunnel;
}

/* ---- in the handler's own thread ---- */

static short events_for(int reading, int writing)
{
    return (short)((reading ? POLLIN : 0) | (writing ? POLLOUT : 0));
}

static void turn(psg_tunnel *tunnel, unsigned char *scratch)
{
    struct pollfd set[2] = {
        {.fd = tunnel->core->fd,
         .events = events_for(psg_relay_wants_core(tunnel), psg_relay_core_is_behind(tunnel))},
        {.fd = tunnel->client_fd,
         .events = events_for(psg_relay_wants_client(tunnel), psg_relay_client_is_behind(tunnel))}};

    /* Where nothing is wanted, a hang-up that is no failure would be reported again and again. */
    if (set[0].events == 0) {
        set[0].fd = -1;
    }
    if (set[1].events == 0 && tunnel->end_passed) {
        set[1].fd = -1;
    }
    if (poll(set, 2, tunnel->more && psg_relay_wants_client(tunnel) ? 0 : CHECK_MS) < 0 && errno != EINTR) {
        tunnel->end = PSG_TUNNEL_BREAK;
        return;
    }
    if (set[1].events == 0 && set[1].revents != 0) {
        tunnel->end = PSG_TUNNEL_BREAK;
        return;
    }
    psg_relay_pump(tunnel, set[0].revents != 0, set[1].revents != 0, scratch);
    psg_relay_check(tunnel, psg_now(), psg_tunnel_draining_since());
}

static int carry(psg_tunnel *tunnel)
{
    apr_socket_t *socket = ap_get_conn_socket(tunnel->c);
    unsigned char *scratch = malloc(PSG_TUNNEL_PIECE);
    struct linger now = {1, 0};

    if (scratch == NULL) {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
    else {
        psg_relay_pump(tunnel, 1, 1, scratch);
    }
    while (tunnel->end == PSG_TUNNEL_OPEN) {
        turn(tunnel, scratch);
    }
    free(scratch);
    psg_relay_release(tunnel);
    tunnel->relays = 0;
    apr_socket_timeout_set(socket, tunnel->timeout);
    if (tunnel->end == PSG_TUNNEL_BREAK) {
        setsockopt(tunnel->client_fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        tunnel->c->aborted = 1;
    }
    return OK;
}

/* ---- by the tunnel thread ---- */

/* After an internal redirect Apache does not understand SUSPENDED. */
static int may_suspend(const request_rec *r)
{
    int is_async = 0;

    return r->connection->cs != NULL && r->main == NULL && r->prev == NULL
           && ap_mpm_query(AP_MPMQ_IS_ASYNC, &is_async) == APR_SUCCESS && is_async;
}

int psg_tunnel_run(psg_exchange *exchange)
{
    request_rec *r = exchange->r;
    psg_tunnel *tunnel = make_tunnel(exchange);

    r->connection->keepalive = AP_CONN_CLOSE;
    if (!may_suspend(r) || !psg_tunnel_thread_start(r)) {
        return carry(tunnel);
    }
    psg_tunnel_hand_over_later(tunnel);
    return SUSPENDED;
}
