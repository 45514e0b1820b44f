/*
 * The response leg: frames of the core into Apache's tables and output filters. Each batch of frames that one read
 * brought becomes one brigade. Whatever ends without END is passed on as broken, never as complete.
 * Called by handler.c; owns nothing but the brigade `out`, whose buckets point into the connection's buffer and
 * are passed on before that buffer is used again.
 */
#include "mod_passenger.h"

#include <sys/socket.h>

static enum psg_outcome violation(psg_exchange *exchange, const char *what)
{
    PSG_LOG_LIMITED(APLOG_ERR, 0, exchange->r, "PSG1008", "core violated the wire protocol what=%s", what);
    exchange->status = HTTP_BAD_GATEWAY;
    return exchange->head_passed ? PSG_BROKEN : PSG_STATUS;
}

/* Fields that Apache makes itself, or that only speak about the hop behind us. */
static int is_apaches(const char *name, apr_size_t length)
{
    return (length == 6 && strcasecmp(name, "Status") == 0) || (length == 10 && strcasecmp(name, "Connection") == 0)
           || (length == 17 && strcasecmp(name, "Transfer-Encoding") == 0)
           || (length == 10 && strcasecmp(name, "Keep-Alive") == 0);
}

/* Name and value become C strings in one allocation: each field's lengths left four bytes for two NULs. */
static char *copy_text(char **to, const char *from, apr_size_t length)
{
    char *text = *to;

    memcpy(text, from, length);
    text[length] = '\0';
    *to = text + length + 1;
    return text;
}

static void set_field(request_rec *r, const char *name, apr_size_t name_length, const char *value)
{
    char *end;
    apr_off_t length;

    if (name_length == 12 && strcasecmp(name, "Content-Type") == 0) {
        ap_set_content_type(r, value);
    }
    else if (name_length == 14 && strcasecmp(name, "Content-Length") == 0) {
        if (apr_strtoff(&length, value, &end, 10) == APR_SUCCESS && *end == '\0' && length >= 0) {
            ap_set_content_length(r, length);
        }
    }
    else if (!is_apaches(name, name_length)) {
        apr_table_addn(r->headers_out, name, value);
    }
}

static void set_fields(request_rec *r, psg_head *head)
{
    char *text = apr_palloc(r->pool, (apr_size_t)(head->end - head->next) + 1);
    psg_field field;

    while (psg_head_next(head, &field)) {
        const char *name = copy_text(&text, field.name, field.name_length);
        const char *value = copy_text(&text, field.value, field.value_length);
        set_field(r, name, field.name_length, value);
    }
}

static void set_status(request_rec *r, const psg_head *head)
{
    const char *standard = ap_get_status_line((int)head->status);

    r->status = (int)head->status;
    if (strlen(standard) == head->reason_length + 4 && memcmp(standard + 4, head->reason, head->reason_length) == 0
        && atoi(standard) == r->status) {
        r->status_line = standard;
    }
    else {
        r->status_line = apr_psprintf(r->pool, "%03u %.*s", head->status, (int)head->reason_length, head->reason);
    }
    apr_table_setn(r->headers_out, "Status", r->status_line);
}

/* The app's error is shown by Apache's ErrorDocument; of the head only the challenge of a 401 stays. */
static enum psg_outcome override_error(psg_exchange *exchange, const psg_head *head)
{
    request_rec *r = exchange->r;
    const char *challenge = apr_table_get(r->headers_out, "WWW-Authenticate");

    if (challenge != NULL) {
        apr_table_setn(r->err_headers_out, "WWW-Authenticate", challenge);
    }
    apr_table_clear(r->headers_out);
    r->status = HTTP_OK;
    r->status_line = NULL;
    exchange->status = (int)head->status;
    return PSG_STATUS;
}

static enum psg_outcome take_head(psg_exchange *exchange, const unsigned char *payload, apr_size_t length)
{
    request_rec *r = exchange->r;
    psg_head head;

    if (exchange->head_passed || psg_head_parse(payload, length, 0, &head) != PSG_WIRE_OK) {
        return violation(exchange, "HEAD");
    }
    if (head.status == HTTP_SWITCHING_PROTOCOLS) {
        if (!(exchange->head.flags & PSG_REQUEST_UPGRADE)) {
            return violation(exchange, "101 unasked");
        }
        exchange->head_passed = 1;
        return psg_tunnel_open(exchange, &head) ? PSG_TUNNEL : PSG_CLIENT_GONE;
    }
    set_fields(r, &head);
    if (head.status >= 400 && psg_is_on(exchange->app->conf, PSG_ID_ERROR_OVERRIDE, 0)) {
        return override_error(exchange, &head);
    }
    set_status(r, &head);
    exchange->head_passed = 1;
    return PSG_GOING_ON;
}

/* Hints stay in the interim head: a type or length among them must not become that of the final answer. */
static void set_hints(request_rec *r, psg_head *head)
{
    char *text = apr_palloc(r->pool, (apr_size_t)(head->end - head->next) + 1);
    psg_field field;

    while (psg_head_next(head, &field)) {
        const char *name = copy_text(&text, field.name, field.name_length);
        const char *value = copy_text(&text, field.value, field.value_length);
        if (!is_apaches(name, field.name_length)) {
            apr_table_addn(r->headers_out, name, value);
        }
    }
}

/* A 103 has fields of its own; those of the final answer must not be among them. */
static enum psg_outcome take_interim(psg_exchange *exchange, const unsigned char *payload, apr_size_t length)
{
    request_rec *r = exchange->r;
    apr_table_t *kept = r->headers_out;
    psg_head head;

    if (exchange->head_passed || psg_head_parse(payload, length, 1, &head) != PSG_WIRE_OK) {
        return violation(exchange, "INTERIM");
    }
    if (head.status == HTTP_CONTINUE) {
        return PSG_GOING_ON;  /* Apache has sent its own when it began to read the body */
    }
    r->headers_out = apr_table_make(r->pool, 4);
    set_hints(r, &head);
    r->status = (int)head.status;
    r->status_line = apr_psprintf(r->pool, "%03u %.*s", head.status, (int)head.reason_length, head.reason);
    ap_send_interim_response(r, 1);
    r->headers_out = kept;
    r->status = HTTP_OK;
    r->status_line = NULL;
    return PSG_GOING_ON;
}

static enum psg_outcome take_end(psg_exchange *exchange)
{
    if (!exchange->head_passed) {
        return violation(exchange, "END without HEAD");
    }
    exchange->ended = 1;
    APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_eos_create(exchange->out->bucket_alloc));
    return PSG_COMPLETE;
}

static enum psg_outcome take_abort(psg_exchange *exchange, const unsigned char *payload, apr_size_t length, int rejected)
{
    psg_abort abort;

    if (psg_abort_parse(payload, length, &abort) != PSG_WIRE_OK) {
        return violation(exchange, "ABORT");
    }
    if (rejected) {
        PSG_LOG_LIMITED(APLOG_ERR, 0, exchange->r, "PSG1013", "core refused the connection code=%s", abort.code);
    }
    else {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, exchange->r, "core aborted the exchange code=%s status=%u", abort.code,
                      abort.status);
        exchange->ended = 1;
    }
    exchange->status = (int)abort.status;
    return exchange->head_passed ? PSG_BROKEN : PSG_STATUS;
}

static enum psg_outcome take_frame(psg_exchange *exchange, const psg_frame *frame, const unsigned char *payload)
{
    switch (frame->type) {
    case PSG_ACCEPTED:
        return exchange->head_passed ? violation(exchange, "ACCEPTED") : PSG_GOING_ON;
    case PSG_HEAD:
        return take_head(exchange, payload, frame->length);
    case PSG_INTERIM:
        return take_interim(exchange, payload, frame->length);
    case PSG_END:
        return take_end(exchange);
    default:
        return take_abort(exchange, payload, frame->length, frame->type == PSG_REJECT);
    }
}

/* DATA is passed on as it comes: a frame need not be in the buffer as a whole. */
static void take_data(psg_exchange *exchange)
{
    psg_connection *core = exchange->core;
    apr_size_t length = core->end - core->start;

    if (length > exchange->data_left) {
        length = exchange->data_left;
    }
    APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_transient_create((char *)core->buffer + core->start, length,
                                                                       exchange->out->bucket_alloc));
    core->start += length;
    exchange->data_left -= length;
}

/* One frame or one piece of DATA. `more` is set when the buffer holds no complete frame. */
static enum psg_outcome take_next(psg_exchange *exchange, int *more)
{
    psg_connection *core = exchange->core;
    const unsigned char *at = core->buffer + core->start;
    psg_frame frame;

    switch (psg_frame_decode(at, core->end - core->start, &frame)) {
    case PSG_WIRE_MORE:
        *more = 1;
        return PSG_GOING_ON;
    case PSG_WIRE_BAD:
        return violation(exchange, "frame");
    default:
        exchange->seen_frame = 1;
    }
    if (frame.type == PSG_DATA) {
        if (!exchange->head_passed) {
            return violation(exchange, "DATA without HEAD");
        }
        core->start += PSG_FRAME_HEADER_SIZE;
        exchange->data_left = frame.length;
        return PSG_GOING_ON;
    }
    if (core->end - core->start < PSG_FRAME_HEADER_SIZE + frame.length) {
        *more = 1;
        exchange->frame_needs = PSG_FRAME_HEADER_SIZE + frame.length;
        return PSG_GOING_ON;
    }
    core->start += PSG_FRAME_HEADER_SIZE + frame.length;
    return take_frame(exchange, &frame, at + PSG_FRAME_HEADER_SIZE);
}

/* Blocks while the client is slow: that is the backpressure. */
static enum psg_outcome pass_on(psg_exchange *exchange, enum psg_outcome outcome)
{
    request_rec *r = exchange->r;
    apr_status_t status;

    if (outcome == PSG_GOING_ON && !psg_is_on(exchange->app->conf, PSG_ID_BUFFER_RESPONSE, 0)) {
        APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_flush_create(exchange->out->bucket_alloc));
    }
    status = ap_pass_brigade(r->output_filters, exchange->out);
    apr_brigade_cleanup(exchange->out);
    /* Whoever leaves after the last byte was passed has not missed anything. */
    if (status == APR_SUCCESS && (outcome == PSG_COMPLETE || !r->connection->aborted)) {
        return outcome;
    }
    if (status == AP_FILTER_ERROR && !r->connection->aborted) {
        exchange->status = AP_FILTER_ERROR;
        return PSG_STATUS;
    }
    return PSG_CLIENT_GONE;
}

enum psg_outcome psg_response_take(psg_exchange *exchange)
{
    psg_connection *core = exchange->core;
    int head_was_passed = exchange->head_passed;
    enum psg_outcome outcome = PSG_GOING_ON;
    int more = 0;

    exchange->frame_needs = PSG_FRAME_HEADER_SIZE;
    while (outcome == PSG_GOING_ON && !more && core->start < core->end) {
        if (exchange->data_left > 0) {
            take_data(exchange);
        }
        else {
            outcome = take_next(exchange, &more);
        }
    }
    if (outcome != PSG_GOING_ON && outcome != PSG_COMPLETE && outcome != PSG_BROKEN) {
        return outcome;
    }
    if (!APR_BRIGADE_EMPTY(exchange->out) || (exchange->head_passed && !head_was_passed)) {
        return pass_on(exchange, outcome);
    }
    return outcome;
}

/* What has neither a length nor chunks ends with the connection: only a reset tells a broken answer from a complete one. */
static void reset_at_close(const psg_exchange *exchange, const request_rec *top)
{
    struct linger now = {1, 0};

    if (exchange->client_fd >= 0 && !top->chunked && apr_table_get(top->headers_out, "Content-Length") == NULL) {
        setsockopt(exchange->client_fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        top->connection->aborted = 1;
    }
}

static void forbid_caching(request_rec *r)
{
    request_rec *at;

    for (; r->main != NULL; r = r->main) {
        r->no_cache = 1;
    }
    for (at = r; at != NULL; at = at->prev) {
        at->no_cache = 1;
    }
}

/*
 * Filters of the content give out what they hold, and never see an end: mod_sed swallows the error, and a cache would keep a
 * complete answer. The error goes behind them, straight to those of the protocol; of a sub-request, to its main's. While
 * these have not sent the head, they make a 502 of it. Closing is asked for behind the head: before, there were no chunks.
 */
void psg_response_break(psg_exchange *exchange)
{
    request_rec *r = exchange->r, *top = r;
    apr_bucket_alloc_t *alloc = exchange->out->bucket_alloc;
    int head_is_out;

    while (top->main != NULL) {
        top = top->main;
    }
    head_is_out = top->sent_bodyct || top != r;
    forbid_caching(r);
    if (head_is_out) {
        APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_flush_create(alloc));
        ap_pass_brigade(r->output_filters, exchange->out);
    }
    apr_brigade_cleanup(exchange->out);
    r->connection->keepalive = AP_CONN_CLOSE;
    APR_BRIGADE_INSERT_TAIL(exchange->out, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool, alloc));
    if (top == r) {
        APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_eos_create(alloc));
    }
    ap_pass_brigade(top->proto_output_filters, exchange->out);
    apr_brigade_cleanup(exchange->out);
    if (head_is_out) {
        reset_at_close(exchange, top);
    }
}
