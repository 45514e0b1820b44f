/*
 * One exchange from its start to its end: connection, REQUEST, both legs pumped at once, release. The legs themselves
 * are in upload.c and response.c. REQUEST is written by request_send.c. Every wait has an end. Called by Apache as a handler.
 */
#include "mod_passenger.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define ACCEPT_LIMIT apr_time_from_sec(2)
#define SILENCE_MARGIN apr_time_from_sec(5)
#define DEFAULT_START_TIMEOUT 90
/* An HTTP/2 stream cannot be polled: how often we look at it, without and with a body that is still coming. */
#define SLICE_MS 500
#define BODY_SLICE_MS 10
/* mod_reqtimeout counts only when it is called, and a stopping child closes the client's socket behind our back. */
#define LONGEST_SLICE_MS 1000
/* Most answers come before anybody has to know whether the client still waits. */
#define FIRST_WAIT_MS 250
#define TRIES 3
/* Of a REQUEST frame, for the fields of a client that is no attacker. */
#define ROOM_FOR_FIELDS 131072u

static int unavailable(request_rec *r)
{
    apr_table_setn(r->err_headers_out, "Retry-After", "2");
    return HTTP_SERVICE_UNAVAILABLE;
}

/* ---- both legs ---- */

static apr_time_t silence_limit(const psg_exchange *exchange)
{
    apr_time_t limit = exchange->r->server->timeout + SILENCE_MARGIN;

    /* Before the head the app may still have to be started. */
    if (!exchange->head_passed) {
        limit += apr_time_from_sec(psg_number(exchange->app->conf, PSG_ID_START_TIMEOUT, DEFAULT_START_TIMEOUT));
    }
    return limit;
}

static enum psg_outcome gave_up(psg_exchange *exchange)
{
    request_rec *r = exchange->r;

    if (!exchange->seen_frame) {
        PSG_LOG_LIMITED(APLOG_ERR, 0, r, "PSG1007", "core did not acknowledge the request within 2 s");
        exchange->status = unavailable(r);
        return PSG_STATUS;
    }
    PSG_LOG_LIMITED(APLOG_ERR, 0, r, "PSG1012", "core was silent beyond every limit");
    exchange->status = HTTP_GATEWAY_TIME_OUT;
    return exchange->head_passed ? PSG_BROKEN : PSG_STATUS;
}

/* A client that stops sending in the middle of its body. */
static enum psg_outcome body_timed_out(psg_exchange *exchange)
{
    exchange->r->connection->keepalive = AP_CONN_CLOSE;
    exchange->status = HTTP_REQUEST_TIME_OUT;
    return exchange->head_passed ? PSG_BROKEN : PSG_STATUS;
}

static int wants_body(const psg_exchange *exchange)
{
    return !exchange->body_ended && !psg_upload_pending(exchange);
}

/* Milliseconds to wait at most; -1: the limit is over. */
static int wait_slice(const psg_exchange *exchange)
{
    apr_time_t limit = exchange->seen_frame ? silence_limit(exchange) : ACCEPT_LIMIT;
    apr_time_t left = exchange->last_activity + limit - psg_now();
    int slice;

    if (left <= 0) {
        return -1;
    }
    slice = left > apr_time_from_msec(LONGEST_SLICE_MS) ? LONGEST_SLICE_MS : (int)(left / 1000) + 1;
    if (exchange->body_ready) {
        return 0;
    }
    if (exchange->client_fd < 0) {
        int most = wants_body(exchange) ? BODY_SLICE_MS : SLICE_MS;
        return slice < most ? slice : most;
    }
    return slice;
}

static void poll_set(const psg_exchange *exchange, struct pollfd set[2])
{
    set[0].fd = exchange->core->fd;
    set[0].events = POLLIN | (psg_upload_pending(exchange) ? POLLOUT : 0);
    set[0].revents = 0;
    set[1].fd = exchange->client_fd;
    set[1].events = 0;
    set[1].revents = 0;
    if (!exchange->body_ended) {
        set[1].events = psg_upload_pending(exchange) ? POLLRDHUP : POLLIN;
    }
    else {
        set[1].events = exchange->client_pipelined ? POLLRDHUP : POLLIN | POLLRDHUP;
    }
}

/* What the poll said about a client that has nothing more to send. */
static int client_left(psg_exchange *exchange, short events)
{
    conn_rec *c = exchange->r->connection;

    if (exchange->client_fd < 0) {
        return c->aborted || (c->master != NULL && c->master->aborted);
    }
    if (events == 0) {
        return 0;
    }
    if ((events & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
        return 1;
    }
    if (!exchange->body_ended) {
        return (events & POLLRDHUP) != 0;
    }
    /* Also when a next request waits: or one byte behind the request would hold a worker without a client. */
    return (events & POLLRDHUP) != 0 || psg_client_is_gone(exchange);
}

static enum psg_outcome core_closed(psg_exchange *exchange)
{
    if (!exchange->seen_frame && !exchange->head.has_body && (exchange->head.flags & PSG_REQUEST_REPLAYABLE) != 0) {
        return PSG_RETRY;
    }
    PSG_LOG_LIMITED(APLOG_ERR, errno, exchange->r, "PSG1009", "core closed the connection in the middle of an exchange");
    exchange->status = HTTP_BAD_GATEWAY;
    return exchange->head_passed ? PSG_BROKEN : PSG_STATUS;
}

static enum psg_outcome read_core(psg_exchange *exchange)
{
    psg_connection *core = exchange->core;
    ssize_t length;

    if (core->start == core->end) {
        core->start = core->end = 0;
    }
    if (core->end == core->capacity || core->capacity - core->start < exchange->frame_needs) {
        if (!psg_connection_reserve(core, exchange->frame_needs)) {
            errno = ENOMEM;
            return core_closed(exchange);
        }
    }
    length = recv(core->fd, core->buffer + core->end, core->capacity - core->end, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return PSG_GOING_ON;
    }
    if (length <= 0) {
        errno = length == 0 ? 0 : errno;
        return core_closed(exchange);
    }
    core->end += (apr_size_t)length;
    exchange->last_activity = psg_now();
    return psg_response_take(exchange);
}

static enum psg_outcome pump_once(psg_exchange *exchange)
{
    struct pollfd set[2];
    int slice, ready, first;

    if (!exchange->body_ended || psg_upload_pending(exchange)) {
        enum psg_outcome outcome = psg_upload_pump(exchange);
        if (outcome != PSG_GOING_ON) {
            return outcome;
        }
    }
    slice = wait_slice(exchange);
    if (slice < 0) {
        return gave_up(exchange);
    }
    poll_set(exchange, set);
    first = exchange->body_ended && !exchange->core_is_slow;
    ready = poll(set, first || exchange->client_fd < 0 ? 1 : 2, first && slice > FIRST_WAIT_MS ? FIRST_WAIT_MS : slice);
    exchange->core_is_slow = ready == 0;
    if (ready < 0 && errno != EINTR) {
        return core_closed(exchange);
    }
    if (set[0].revents & (POLLIN | POLLHUP | POLLERR)) {
        return read_core(exchange);
    }
    if (client_left(exchange, set[1].revents)) {
        return PSG_CLIENT_GONE;
    }
    if (wants_body(exchange) && psg_now() - exchange->body_activity > exchange->r->server->timeout) {
        return body_timed_out(exchange);
    }
    return PSG_GOING_ON;
}

/* ---- the end ---- */

void psg_cancel(psg_exchange *exchange, enum psg_cancel_reason reason)
{
    unsigned char frame[PSG_FRAME_HEADER_SIZE + 1];

    psg_frame_encode(frame, PSG_CANCEL, 0, 1);
    frame[PSG_FRAME_HEADER_SIZE] = (unsigned char)reason;
    if (send(exchange->core->fd, frame, sizeof frame, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof frame) {
        exchange->ended = 0;  /* not in step any more: the connection will be closed */
    }
}

/* The connection goes back only when both sides have ended theirs and nothing is left unread. */
static void release(psg_exchange *exchange, enum psg_cancel_reason reason)
{
    psg_connection *core = exchange->core;
    int torn = psg_upload_pending(exchange);

    if (!torn && (!exchange->body_ended || exchange->side_open || !exchange->ended)) {
        psg_cancel(exchange, reason);
    }
    if (exchange->ended && !torn && core->start == core->end) {
        psg_connection_give(core);
    }
    else {
        psg_connection_close(core);
    }
    exchange->core = NULL;
}

static int finish(psg_exchange *exchange, enum psg_outcome outcome)
{
    request_rec *r = exchange->r;

    switch (outcome) {
    case PSG_COMPLETE:
        if (!exchange->body_ended) {
            r->connection->keepalive = AP_CONN_CLOSE;  /* an early answer stops the upload */
        }
        release(exchange, PSG_CANCEL_UNWANTED);
        return OK;
    case PSG_TUNNEL:
        return psg_tunnel_run(exchange);
    case PSG_BROKEN:
        release(exchange, exchange->body_status != 0 ? PSG_CANCEL_BODY_BROKEN : PSG_CANCEL_TIMEOUT);
        psg_response_break(exchange);
        return OK;
    case PSG_CLIENT_GONE:
        release(exchange, PSG_CANCEL_CLIENT_GONE);
        r->connection->aborted = 1;
        r->connection->keepalive = AP_CONN_CLOSE;
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "client went away before the end of the answer");
        return exchange->head_passed ? OK : HTTP_BAD_REQUEST;
    default:
        release(exchange, exchange->body_status != 0 ? PSG_CANCEL_BODY_BROKEN : PSG_CANCEL_UNWANTED);
        if (exchange->status == HTTP_SERVICE_UNAVAILABLE) {
            return unavailable(r);
        }
        return exchange->status;
    }
}

/* OK, or the status of a request whose body failed at once. */
static int prepare(psg_exchange *exchange, request_rec *r, const psg_app *app)
{
    memset(exchange, 0, sizeof *exchange);
    exchange->r = r;
    exchange->app = app;
    exchange->head.has_body = psg_request_has_body(r);
    if (exchange->head.has_body && psg_upload_begin(exchange) != PSG_GOING_ON) {
        return r->connection->aborted ? HTTP_BAD_REQUEST : exchange->status;
    }
    psg_settings_block(r, app, &exchange->settings);
    psg_request_head_build(r, app, &exchange->head);
    exchange->client_fd = psg_client_descriptor(r);
    exchange->out = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    exchange->body_ended = !exchange->head.has_body;
    exchange->side_open = (exchange->head.flags & PSG_REQUEST_UPGRADE) != 0;
    exchange->frame_needs = PSG_FRAME_HEADER_SIZE;
    return OK;
}

/* OK, or a status: the client's fields are to blame as long as the settings leave usual ones enough room. */
static int check_size(const psg_exchange *exchange)
{
    if (PSG_REQUEST_FACTS_SIZE + exchange->settings.length + exchange->head.length <= PSG_MAX_REQUEST) {
        return OK;
    }
    if (exchange->settings.length + ROOM_FOR_FIELDS <= PSG_MAX_REQUEST) {
        return HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    }
    PSG_LOG_LIMITED(APLOG_ERR, 0, exchange->r, "PSG1014", "settings and header fields are too large for one request settings=%lu fields=%lu",
                    (unsigned long)exchange->settings.length, (unsigned long)exchange->head.length);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int run(psg_exchange *exchange)
{
    enum psg_outcome outcome = PSG_RETRY;
    int tries;

    for (tries = 0; outcome == PSG_RETRY && tries < TRIES; tries++) {
        if (!psg_request_send(exchange, tries > 0)) {
            return unavailable(exchange->r);
        }
        do {
            outcome = pump_once(exchange);
        } while (outcome == PSG_GOING_ON);
        if (outcome == PSG_RETRY) {
            psg_connection_close(exchange->core);
        }
    }
    return outcome == PSG_RETRY ? unavailable(exchange->r) : finish(exchange, outcome);
}

static int serve(request_rec *r, const psg_app *app)
{
    psg_exchange exchange;
    int status;

    if (!psg_share_take(r, app->root)) {
        return psg_explain(r, unavailable(r));
    }
    status = prepare(&exchange, r, app);
    if (status == OK) {
        status = check_size(&exchange);
    }
    if (status == OK) {
        status = run(&exchange);
    }
    psg_share_give(r);
    return psg_explain(r, status);
}

int psg_handler(request_rec *r)
{
    const psg_app *app;
    int status;

    if (r->handler == NULL || strcmp(r->handler, PSG_HANDLER) != 0) {
        return DECLINED;
    }
    status = psg_map_app(r, &app);
    return status == OK ? serve(r, app) : status;
}

/* HighPerformance: before the handlers of other modules. */
int psg_handler_first(request_rec *r)
{
    const psg_conf *conf = ap_get_module_config(r->per_dir_config, &passenger_module);

    return psg_is_on(conf, PSG_ID_HIGH_PERFORMANCE, 0) ? psg_handler(r) : DECLINED;
}
