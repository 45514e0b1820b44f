/*
 * The bytes of a tunnel, without ever waiting: from the core through the connection's output filters (so that TLS
 * works) or, where these would add nothing, to its socket; the other way is in tunnel_upward.c. Each direction ends for itself. At most one piece waits for either
 * end; whoever is behind stops the other's reading. Called by tunnel.c and tunnel_life.c.
 */
#include "tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "http_connection.h"
#include "http_ssl.h"

#define FILTER "PASSENGER_TUNNEL"
/* What TLS adds to a piece at most, and some. */
#define OVERHEAD 2048

static ap_filter_rec_t *filter;
static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_out) *count_bytes_out;

/* Directly before the network: a flush, ours or TLS's own, would make the network filter wait for the client. */
static apr_status_t hold_flushes(ap_filter_t *f, apr_bucket_brigade *brigade)
{
    const psg_tunnel *tunnel = f->ctx;
    apr_bucket *bucket, *next;

    if (tunnel->relays) {
        for (bucket = APR_BRIGADE_FIRST(brigade); bucket != APR_BRIGADE_SENTINEL(brigade); bucket = next) {
            next = APR_BUCKET_NEXT(bucket);
            if (APR_BUCKET_IS_FLUSH(bucket)) {
                apr_bucket_delete(bucket);
            }
        }
        if (APR_BRIGADE_EMPTY(brigade)) {
            return APR_SUCCESS;
        }
    }
    return ap_pass_brigade(f->next, brigade);
}

void psg_relay_register_filter(void)
{
    filter = ap_register_output_filter(FILTER, hold_flushes, NULL, AP_FTYPE_NETWORK - 1);
}

void psg_relay_configure(void)
{
    count_bytes_out = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_out);
    psg_upward_configure();
}

void psg_relay_prepare(psg_tunnel *tunnel)
{
    conn_rec *c = tunnel->c;
    const core_server_config *server = ap_get_core_module_config(c->base_server->module_config);

    ap_add_output_filter_handle(filter, tunnel, NULL, c);
    tunnel->r->output_filters = tunnel->r->proto_output_filters = c->output_filters;
    tunnel->network = c->output_filters;
    while (tunnel->network->next != NULL) {
        tunnel->network = tunnel->network->next;
    }
    /* Beyond this threshold the network filter waits for the client although nobody asked for a flush. */
    tunnel->piece = PSG_TUNNEL_PIECE;
    if (server->flush_max_threshold < tunnel->piece + OVERHEAD) {
        tunnel->piece = server->flush_max_threshold > 2 * OVERHEAD ? server->flush_max_threshold - OVERHEAD : OVERHEAD;
    }
    tunnel->in = apr_brigade_create(tunnel->r->pool, c->bucket_alloc);
    tunnel->out = apr_brigade_create(tunnel->r->pool, c->bucket_alloc);
    apr_socket_timeout_set(ap_get_conn_socket(c), 0);
    tunnel->relays = 1;
}

int psg_relay_client_is_behind(const psg_tunnel *tunnel)
{
    return tunnel->c->data_in_output_filters != 0;
}

int psg_relay_core_is_behind(const psg_tunnel *tunnel)
{
    return tunnel->pending_start < tunnel->pending_end;
}

int psg_relay_wants_core(const psg_tunnel *tunnel)
{
    return !psg_relay_client_is_behind(tunnel);
}

int psg_relay_wants_client(const psg_tunnel *tunnel)
{
    return !tunnel->client_ended && !psg_relay_core_is_behind(tunnel);
}

/* ---- core to client ---- */

/* Lets the network take what it takes now. */
void psg_relay_push(psg_tunnel *tunnel)
{
    conn_rec *c = tunnel->c;
    apr_status_t status = tunnel->network->frec->filter_func.out_func(tunnel->network, NULL);

    if (status != APR_SUCCESS || c->aborted) {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
    else if (!psg_relay_client_is_behind(tunnel)) {
        tunnel->stalled_at = 0;
    }
    else if (tunnel->stalled_at == 0) {
        tunnel->stalled_at = psg_now();
    }
}

static void pass_on(psg_tunnel *tunnel)
{
    if (APR_BRIGADE_EMPTY(tunnel->out)) {
        return;
    }
    /* For the filters before ours: TLS keeps small pieces back until it sees one. */
    APR_BRIGADE_INSERT_TAIL(tunnel->out, apr_bucket_flush_create(tunnel->c->bucket_alloc));
    if (ap_pass_brigade(tunnel->c->output_filters, tunnel->out) != APR_SUCCESS || tunnel->c->aborted) {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
    apr_brigade_cleanup(tunnel->out);
    if (tunnel->end == PSG_TUNNEL_OPEN) {
        psg_relay_push(tunnel);
    }
}

static void take_frame(psg_tunnel *tunnel)
{
    psg_frame frame;

    if (psg_frame_decode(tunnel->header, PSG_FRAME_HEADER_SIZE, &frame) != PSG_WIRE_OK) {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
    else if (frame.type == PSG_DATA) {
        tunnel->data_left = frame.length;
        tunnel->header_length = 0;
    }
    else if (frame.type == PSG_END) {
        tunnel->app_ended = 1;
    }
    else if (frame.type == PSG_ABORT && tunnel->header_length == sizeof tunnel->header) {
        /* 503: the app is being replaced; anything else was not meant to happen. */
        int expected = psg_get_u16(tunnel->header + PSG_FRAME_HEADER_SIZE) == HTTP_SERVICE_UNAVAILABLE;

        tunnel->end = expected ? PSG_TUNNEL_CLOSE : PSG_TUNNEL_BREAK;
    }
    else if (frame.type != PSG_ABORT) {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
}

/* Only our filter and Apache's core are there, and nothing waits in the core: the bytes may go to the socket themselves. */
static int may_send(const psg_tunnel *tunnel)
{
    const ap_filter_t *first = tunnel->c->output_filters;

    return first->frec == filter && first->next == tunnel->network && tunnel->network->frec == ap_core_output_filter_handle
           && !psg_relay_client_is_behind(tunnel) && APR_BRIGADE_EMPTY(tunnel->out);
}

/* How much of a message the client's socket takes at once; the rest goes through the filters. */
static apr_size_t send_straight(psg_tunnel *tunnel, const unsigned char *bytes, apr_size_t length)
{
    ssize_t sent = send(tunnel->client_fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            tunnel->end = PSG_TUNNEL_BREAK;
        }
        return 0;
    }
    if (count_bytes_out != NULL) {
        count_bytes_out(tunnel->c, sent);
    }
    return (apr_size_t)sent;
}

/* `last`: nothing follows in this read. What comes in one read goes out in one write. */
static void pass_data(psg_tunnel *tunnel, const unsigned char *bytes, apr_size_t length, int last)
{
    apr_size_t sent = last && may_send(tunnel) ? send_straight(tunnel, bytes, length) : 0;

    tunnel->r->bytes_sent += (apr_off_t)length;
    if (sent < length) {
        APR_BRIGADE_INSERT_TAIL(tunnel->out, apr_bucket_transient_create((const char *)bytes + sent, length - sent,
                                                                         tunnel->c->bucket_alloc));
    }
}

/* Consumes `length` bytes of frames, or all up to the end of the app's direction. Payload stays where it is. */
static void take_bytes(psg_tunnel *tunnel, const unsigned char *bytes, apr_size_t length)
{
    while (length > 0 && !tunnel->app_ended && tunnel->end == PSG_TUNNEL_OPEN) {
        apr_size_t count = 1;

        if (tunnel->data_left > 0) {
            count = length < tunnel->data_left ? length : tunnel->data_left;
            tunnel->data_left -= count;
            pass_data(tunnel, bytes, count, count == length);
        }
        else {
            tunnel->header[tunnel->header_length++] = *bytes;
            if (tunnel->header_length >= PSG_FRAME_HEADER_SIZE) {
                take_frame(tunnel);
            }
        }
        bytes += count;
        length -= count;
    }
}

/* The frames that came in one read with the 101. Their buffer goes as soon as it is empty. */
static void take_early(psg_tunnel *tunnel)
{
    psg_connection *core = tunnel->core;
    apr_size_t length = core->end - core->start;

    length = length < tunnel->piece ? length : tunnel->piece;
    take_bytes(tunnel, core->buffer + core->start, length);
    core->start += length;
    pass_on(tunnel);
}

static void drop_buffer(psg_connection *core)
{
    free(core->buffer);
    core->buffer = NULL;
    core->start = core->end = core->capacity = 0;
}

/* 0: nothing more at the moment. */
static int read_core(psg_tunnel *tunnel, unsigned char *scratch)
{
    ssize_t length;

    if (tunnel->core->buffer != NULL) {
        if (tunnel->core->start < tunnel->core->end) {
            take_early(tunnel);
            return 1;
        }
        drop_buffer(tunnel->core);
    }
    length = recv(tunnel->core->fd, scratch, tunnel->piece, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (length <= 0) {
        /* Behind END: the app has gone for good, nobody is left to hear the client. */
        tunnel->end = tunnel->app_ended && length == 0 ? PSG_TUNNEL_CLOSE : PSG_TUNNEL_BREAK;
        return 0;
    }
    tunnel->last_activity = psg_now();
    take_bytes(tunnel, scratch, (apr_size_t)length);
    pass_on(tunnel);
    return (apr_size_t)length == tunnel->piece;
}

/* The app has ended its direction and the client has all of it. mod_ssl cannot close one direction alone. */
static void pass_end(psg_tunnel *tunnel)
{
    tunnel->end_passed = 1;
    if (ap_ssl_conn_is_ssl(tunnel->c)) {
        tunnel->end = PSG_TUNNEL_CLOSE;
    }
    else if (shutdown(tunnel->client_fd, SHUT_WR) != 0) {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
}

static void pump_to_client(psg_tunnel *tunnel, int core_ready, unsigned char *scratch)
{
    int pieces;

    if (psg_relay_client_is_behind(tunnel)) {
        psg_relay_push(tunnel);
    }
    core_ready |= tunnel->core->buffer != NULL;
    for (pieces = 0; core_ready && pieces < PSG_TUNNEL_PIECES_PER_TURN; pieces++) {
        if (tunnel->end != PSG_TUNNEL_OPEN || !psg_relay_wants_core(tunnel) || !read_core(tunnel, scratch)) {
            break;
        }
    }
    if (tunnel->end == PSG_TUNNEL_OPEN && tunnel->app_ended && !tunnel->end_passed && !psg_relay_client_is_behind(tunnel)) {
        pass_end(tunnel);
    }
}

void psg_relay_pump(psg_tunnel *tunnel, int core_ready, int client_ready, unsigned char *scratch)
{
    pump_to_client(tunnel, core_ready, scratch);
    if (tunnel->end == PSG_TUNNEL_OPEN) {
        psg_relay_pump_to_core(tunnel, client_ready, scratch);
    }
    if (tunnel->end == PSG_TUNNEL_OPEN && tunnel->client_ended && tunnel->end_passed && !psg_relay_core_is_behind(tunnel)) {
        tunnel->end = PSG_TUNNEL_CLOSE;
    }
}

void psg_relay_check(psg_tunnel *tunnel, apr_time_t now, apr_time_t draining_since)
{
    if (tunnel->end != PSG_TUNNEL_OPEN) {
        return;
    }
    if (tunnel->stalled_at != 0 && now - tunnel->stalled_at > tunnel->timeout) {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
    else if ((tunnel->client_ended || tunnel->app_ended) && now - tunnel->last_activity > tunnel->timeout) {
        tunnel->end = PSG_TUNNEL_CLOSE;
    }
    else if (draining_since != 0 && now - draining_since > tunnel->drain_limit) {
        tunnel->end = PSG_TUNNEL_CLOSE;
    }
}

void psg_relay_release(psg_tunnel *tunnel)
{
    psg_connection *core = tunnel->core;

    if (core == NULL) {
        return;
    }
    tunnel->core = NULL;
    free(tunnel->pending);
    tunnel->pending = NULL;
    tunnel->pending_start = tunnel->pending_end = 0;
    /* The core takes the end of the connection for CANCEL where the exchange is not over. */
    psg_connection_close(core);
}
