/*
 * The client's bytes of a tunnel on their way to the core, without ever waiting: from the connection's input filters or,
 * where these would add nothing, straight from its socket. What the core does not take waits here, one piece at
 * most. Called by tunnel_relay.c.
 */
#include "tunnel.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static APR_OPTIONAL_FN_TYPE(ap_logio_add_bytes_in) *count_bytes_in;

void psg_upward_configure(void)
{
    count_bytes_in = APR_RETRIEVE_OPTIONAL_FN(ap_logio_add_bytes_in);
}

static void write_pending(psg_tunnel *tunnel)
{
    ssize_t written = send(tunnel->core->fd, tunnel->pending + tunnel->pending_start,
                           tunnel->pending_end - tunnel->pending_start, MSG_NOSIGNAL);

    if (written < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            tunnel->end = PSG_TUNNEL_BREAK;
        }
        return;
    }
    tunnel->last_activity = psg_now();
    tunnel->pending_start += (apr_size_t)written;
    if (tunnel->pending_start == tunnel->pending_end) {
        free(tunnel->pending);
        tunnel->pending = NULL;
        tunnel->pending_start = tunnel->pending_end = 0;
    }
}

static void keep(psg_tunnel *tunnel, const void *bytes, apr_size_t length)
{
    unsigned char *larger;

    if (length == 0) {
        return;
    }
    larger = realloc(tunnel->pending, tunnel->pending_end + length);
    if (larger == NULL) {
        tunnel->end = PSG_TUNNEL_BREAK;
        return;
    }
    memcpy(larger + tunnel->pending_end, bytes, length);
    tunnel->pending = larger;
    tunnel->pending_end += length;
}

/* One frame: now as far as the core takes it, the rest waits. */
static void send_frame(psg_tunnel *tunnel, int type, const char *bytes, apr_size_t length)
{
    unsigned char header[PSG_FRAME_HEADER_SIZE];
    struct iovec vectors[2] = {{header, sizeof header}, {(void *)bytes, length}};
    struct msghdr message = {.msg_iov = vectors, .msg_iovlen = length > 0 ? 2 : 1};
    ssize_t written = 0;

    psg_frame_encode(header, (uint8_t)type, 0, (uint32_t)length);
    if (!psg_relay_core_is_behind(tunnel)) {
        written = sendmsg(tunnel->core->fd, &message, MSG_NOSIGNAL);
        if (written < 0 && errno != EAGAIN && errno != EINTR) {
            tunnel->end = PSG_TUNNEL_BREAK;
            return;
        }
        written = written < 0 ? 0 : written;
    }
    if ((apr_size_t)written < sizeof header) {
        keep(tunnel, header + written, sizeof header - (apr_size_t)written);
        written = sizeof header;
    }
    keep(tunnel, bytes + (written - (ssize_t)sizeof header), length - ((apr_size_t)written - sizeof header));
}

static void client_ended(psg_tunnel *tunnel)
{
    tunnel->client_ended = 1;
    send_frame(tunnel, PSG_BODY_END, NULL, 0);
}

static void send_brigade(psg_tunnel *tunnel)
{
    while (!APR_BRIGADE_EMPTY(tunnel->in) && tunnel->end == PSG_TUNNEL_OPEN) {
        apr_bucket *bucket = APR_BRIGADE_FIRST(tunnel->in);
        const char *bytes;
        apr_size_t length;

        if (APR_BUCKET_IS_EOS(bucket)) {
            client_ended(tunnel);
            break;
        }
        if (!APR_BUCKET_IS_METADATA(bucket) && apr_bucket_read(bucket, &bytes, &length, APR_NONBLOCK_READ) == APR_SUCCESS
            && length > 0) {
            send_frame(tunnel, PSG_BODY, bytes, length);
        }
        apr_bucket_delete(bucket);
    }
    apr_brigade_cleanup(tunnel->in);
}

/*
 * mod_logio, which counts bytes and changes none, and Apache's core, which would only put them into a bucket, after two
 * reads too many: nobody misses anything when we read the socket ourselves.
 */
static int may_read_socket(const conn_rec *c)
{
    const ap_filter_t *first = c->input_filters;

    if (first != NULL && count_bytes_in != NULL && strcmp(first->frec->name, "log_input_output") == 0) {
        first = first->next;
    }
    return first != NULL && first->frec == ap_core_input_filter_handle;
}

/* 0: nothing more at the moment. */
static int read_socket(psg_tunnel *tunnel, unsigned char *scratch)
{
    ssize_t length = recv(tunnel->client_fd, scratch, PSG_TUNNEL_PIECE, MSG_DONTWAIT);

    if (length > 0) {
        tunnel->last_activity = psg_now();
        if (count_bytes_in != NULL) {
            count_bytes_in(tunnel->c, length);
        }
        send_frame(tunnel, PSG_BODY, (const char *)scratch, (apr_size_t)length);
        return length == PSG_TUNNEL_PIECE;
    }
    if (length == 0) {
        client_ended(tunnel);
    }
    else if (errno != EAGAIN && errno != EINTR) {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
    return 0;
}

/* 0: nothing more at the moment. */
static int read_client(psg_tunnel *tunnel, unsigned char *scratch)
{
    conn_rec *c = tunnel->c;
    apr_status_t status;

    if (tunnel->straight) {
        return read_socket(tunnel, scratch);
    }
    status = ap_get_brigade(c->input_filters, tunnel->in, AP_MODE_READBYTES, APR_NONBLOCK_READ, PSG_TUNNEL_PIECE);
    if (APR_STATUS_IS_EAGAIN(status) || (status == APR_SUCCESS && APR_BRIGADE_EMPTY(tunnel->in))) {
        tunnel->straight = may_read_socket(c);
        return 0;
    }
    if (status == APR_SUCCESS && !c->aborted) {
        tunnel->last_activity = psg_now();
        send_brigade(tunnel);
        return 1;
    }
    apr_brigade_cleanup(tunnel->in);
    if (APR_STATUS_IS_EOF(status) && !c->aborted) {
        client_ended(tunnel);
    }
    else {
        tunnel->end = PSG_TUNNEL_BREAK;
    }
    return 0;
}

/* Bytes may wait inside the filters, where no poll sees them: only a read that found nothing ends the turn for good. */
void psg_relay_pump_to_core(psg_tunnel *tunnel, int client_ready, unsigned char *scratch)
{
    int pieces;

    client_ready |= tunnel->more;
    if (psg_relay_core_is_behind(tunnel)) {
        write_pending(tunnel);
    }
    for (pieces = 0; client_ready && pieces < PSG_TUNNEL_PIECES_PER_TURN; pieces++) {
        if (tunnel->end != PSG_TUNNEL_OPEN || !psg_relay_wants_client(tunnel)) {
            break;
        }
        client_ready = read_client(tunnel, scratch);
    }
    tunnel->more = client_ready && !tunnel->client_ended;
}
