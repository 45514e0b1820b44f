/*
 * An upgraded connection: bytes both ways through the connection's filters (so that TLS works) until one end is gone.
 * This first form holds its worker thread. Called by response.c (the 101) and handler.c (the pump).
 */
#include "mod_passenger.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "http_connection.h"

#define READ_SIZE 16384
/* The core must take what the client sends, or the tunnel ends. */
#define WRITE_LIMIT apr_time_from_sec(60)
#define SLICE_MS 1000

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
    apr_brigade_puts(exchange->out, NULL, NULL, has_upgrade ? "\r\n" : "Upgrade: websocket\r\n\r\n");
    APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_flush_create(c->bucket_alloc));
    r->status = HTTP_SWITCHING_PROTOCOLS;
    r->status_line = NULL;
    c->keepalive = AP_CONN_CLOSE;
    /* From here on there is no HTTP between us and the connection. */
    r->output_filters = r->proto_output_filters = c->output_filters;
    r->input_filters = r->proto_input_filters = c->input_filters;
    if (ap_pass_brigade(c->output_filters, exchange->out) != APR_SUCCESS || c->aborted) {
        return 0;
    }
    apr_brigade_cleanup(exchange->out);
    return 1;
}

/* Frames of the core to the client; 0 when the core's direction is over. */
static int to_client(psg_exchange *exchange)
{
    psg_connection *core = exchange->core;
    conn_rec *c = exchange->r->connection;

    while (core->start < core->end) {
        psg_frame frame;
        apr_size_t length;

        if (exchange->data_left == 0) {
            if (psg_frame_decode(core->buffer + core->start, core->end - core->start, &frame) == PSG_WIRE_MORE) {
                break;
            }
            if (frame.type != PSG_DATA) {
                exchange->ended = 1;
                break;
            }
            core->start += PSG_FRAME_HEADER_SIZE;
            exchange->data_left = frame.length;
            continue;
        }
        length = core->end - core->start < exchange->data_left ? core->end - core->start : exchange->data_left;
        APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_transient_create((char *)core->buffer + core->start, length,
                                                                           c->bucket_alloc));
        core->start += length;
        exchange->data_left -= length;
    }
    if (!APR_BRIGADE_EMPTY(exchange->out)) {
        APR_BRIGADE_INSERT_TAIL(exchange->out, apr_bucket_flush_create(c->bucket_alloc));
        if (ap_pass_brigade(c->output_filters, exchange->out) != APR_SUCCESS || c->aborted) {
            return 0;
        }
        apr_brigade_cleanup(exchange->out);
    }
    return !exchange->ended;
}

static int read_core(psg_exchange *exchange)
{
    psg_connection *core = exchange->core;
    ssize_t length;

    if (!psg_connection_reserve(core, PSG_READ_BUFFER)) {
        return 0;
    }
    length = recv(core->fd, core->buffer + core->end, core->capacity - core->end, 0);
    if (length < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    core->end += (apr_size_t)length;
    return length > 0 && to_client(exchange);
}

static int send_bucket(psg_exchange *exchange, apr_bucket *bucket)
{
    unsigned char header[PSG_FRAME_HEADER_SIZE];
    struct iovec vectors[2];
    const char *bytes;
    apr_size_t length;

    if (apr_bucket_read(bucket, &bytes, &length, APR_BLOCK_READ) != APR_SUCCESS) {
        return 0;
    }
    if (length == 0) {
        return 1;
    }
    psg_frame_encode(header, PSG_BODY, 0, (uint32_t)length);
    vectors[0] = (struct iovec){header, sizeof header};
    vectors[1] = (struct iovec){(void *)bytes, length};
    return psg_write_all(exchange->core->fd, vectors, 2, psg_now() + WRITE_LIMIT);
}

/* All that the client has sent so far; 0 when it is gone or has ended. */
static int to_core(psg_exchange *exchange, apr_bucket_brigade *in)
{
    conn_rec *c = exchange->r->connection;

    for (;;) {
        apr_status_t status = ap_get_brigade(c->input_filters, in, AP_MODE_READBYTES, APR_NONBLOCK_READ, READ_SIZE);

        if (APR_STATUS_IS_EAGAIN(status) || (status == APR_SUCCESS && APR_BRIGADE_EMPTY(in))) {
            return 1;
        }
        if (status != APR_SUCCESS || c->aborted) {
            return 0;
        }
        while (!APR_BRIGADE_EMPTY(in)) {
            apr_bucket *bucket = APR_BRIGADE_FIRST(in);

            if (APR_BUCKET_IS_EOS(bucket) || (!APR_BUCKET_IS_METADATA(bucket) && !send_bucket(exchange, bucket))) {
                return 0;
            }
            apr_bucket_delete(bucket);
        }
    }
}

int psg_tunnel_run(psg_exchange *exchange)
{
    request_rec *r = exchange->r;
    apr_bucket_brigade *in = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    int open = to_client(exchange) && to_core(exchange, in);

    while (open) {
        struct pollfd set[2] = {{.fd = exchange->core->fd, .events = POLLIN},
                                {.fd = exchange->client_fd, .events = POLLIN}};

        if (poll(set, 2, SLICE_MS) < 0 && errno != EINTR) {
            break;
        }
        if (set[0].revents != 0) {
            open = read_core(exchange);
        }
        if (open && set[1].revents != 0) {
            open = to_core(exchange, in);
        }
    }
    psg_cancel(exchange, PSG_CANCEL_CLIENT_GONE);
    psg_connection_close(exchange->core);
    exchange->core = NULL;
    r->connection->keepalive = AP_CONN_CLOSE;
    return OK;
}
