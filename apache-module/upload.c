/*
 * The request body's way to the core: from Apache's input filters into BODY frames, never waiting for either end.
 * Called by handler.c whenever client or core may have moved. Bytes are not copied: a frame points into its bucket.
 */
#include "mod_passenger.h"

#include <errno.h>
#include <sys/socket.h>

#define READ_SIZE 65536
/* After so many frames the response gets its turn. */
#define FRAMES_PER_TURN 16

static void drop_first_bucket(psg_exchange *exchange)
{
    apr_bucket_delete(APR_BRIGADE_FIRST(exchange->body));
}

/* 1: nothing pending any more; 0: the core does not take more now; -1: it is gone. */
static int write_pending(psg_exchange *exchange)
{
    struct iovec *at = exchange->pending + 3 - exchange->pending_count;

    while (exchange->pending_count > 0) {
        struct msghdr message = {.msg_iov = at, .msg_iovlen = (size_t)exchange->pending_count};
        ssize_t written = sendmsg(exchange->core->fd, &message, MSG_NOSIGNAL);

        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno == EAGAIN ? 0 : -1;
        }
        while (exchange->pending_count > 0 && (size_t)written >= at->iov_len) {
            written -= (ssize_t)at->iov_len;
            at++;
            exchange->pending_count--;
        }
        if (exchange->pending_count > 0) {
            at->iov_base = (char *)at->iov_base + written;
            at->iov_len -= (size_t)written;
        }
        exchange->last_activity = psg_now();
    }
    if (exchange->bucket_in_use) {
        drop_first_bucket(exchange);
        exchange->bucket_in_use = 0;
    }
    return 1;
}

static void add_pending(psg_exchange *exchange, int slot, const void *bytes, apr_size_t length)
{
    exchange->pending[slot].iov_base = (void *)bytes;
    exchange->pending[slot].iov_len = length;
}

/* Who has sent the whole body does not wait for a 100 any more; with that still due, the answer would have no chunks. */
static void body_is_whole(psg_exchange *exchange)
{
    exchange->body_ended = 1;
    exchange->r->expecting_100 = 0;
}

/* pending[] is used from its end, so that what is left is always its tail. */
static void frame_bytes(psg_exchange *exchange, const char *bytes, apr_size_t length, int last)
{
    static const unsigned char body_end[PSG_FRAME_HEADER_SIZE] = {PSG_BODY_END};
    int first = last ? 0 : 1;

    psg_frame_encode(exchange->frame, PSG_BODY, 0, (uint32_t)length);
    add_pending(exchange, first, exchange->frame, sizeof exchange->frame);
    add_pending(exchange, first + 1, bytes, length);
    if (last) {
        add_pending(exchange, 2, body_end, sizeof body_end);
        body_is_whole(exchange);
    }
    exchange->pending_count = 3 - first;
    exchange->bucket_in_use = 1;
}

static void frame_end(psg_exchange *exchange)
{
    psg_frame_encode(exchange->frame, PSG_BODY_END, 0, 0);
    add_pending(exchange, 2, exchange->frame, sizeof exchange->frame);
    exchange->pending_count = 1;
    body_is_whole(exchange);
}

/* Makes a frame of what the brigade holds; 0 when it holds nothing of use. */
static int frame_from_brigade(psg_exchange *exchange)
{
    while (!APR_BRIGADE_EMPTY(exchange->body)) {
        apr_bucket *bucket = APR_BRIGADE_FIRST(exchange->body);
        const char *bytes;
        apr_size_t length;

        if (APR_BUCKET_IS_EOS(bucket)) {
            frame_end(exchange);
            return 1;
        }
        if (APR_BUCKET_IS_METADATA(bucket)
            || apr_bucket_read(bucket, &bytes, &length, APR_BLOCK_READ) != APR_SUCCESS || length == 0) {
            drop_first_bucket(exchange);
            continue;
        }
        if (length > PSG_MAX_BODY) {
            apr_bucket_split(bucket, PSG_MAX_BODY);
            length = PSG_MAX_BODY;
        }
        frame_bytes(exchange, bytes, length, APR_BUCKET_IS_EOS(APR_BUCKET_NEXT(bucket)));
        return 1;
    }
    return 0;
}

/* A filter that has already answered must not get a second error page behind its own. */
static enum psg_outcome body_failed(psg_exchange *exchange, apr_status_t status)
{
    request_rec *r = exchange->r;

    exchange->body_status = status == AP_FILTER_ERROR ? AP_FILTER_ERROR : ap_map_http_request_error(status, HTTP_BAD_REQUEST);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, status, r, "request body was broken off");
    if (r->connection->aborted) {
        return PSG_CLIENT_GONE;
    }
    r->connection->keepalive = AP_CONN_CLOSE;
    exchange->status = exchange->body_status;
    return exchange->head_passed ? PSG_BROKEN : PSG_STATUS;
}

/*
 * Filters of the content change fields when they see the first bytes: mod_deflate takes Content-Encoding off. So with one of
 * them the head waits for its first bytes, as long as Apache waits for a client.
 */
enum psg_outcome psg_upload_begin(psg_exchange *exchange)
{
    request_rec *r = exchange->r;
    apr_status_t status;

    exchange->body_activity = psg_now();
    exchange->body = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    if (r->input_filters == r->proto_input_filters) {
        return PSG_GOING_ON;
    }
    status = ap_get_brigade(r->input_filters, exchange->body, AP_MODE_READBYTES, APR_BLOCK_READ, READ_SIZE);
    exchange->body_activity = psg_now();
    return status == APR_SUCCESS ? PSG_GOING_ON : body_failed(exchange, status);
}

/* httpd sends it by itself only before a read that waits; ours never do. */
static void send_continue(psg_exchange *exchange)
{
    request_rec *r = exchange->r;
    int status = r->status;

    if (r->expecting_100 && !exchange->head_passed && r->proto_num >= HTTP_VERSION(1, 1)) {
        r->status = HTTP_CONTINUE;
        r->status_line = NULL;
        ap_send_interim_response(r, 0);
        r->status = status;
    }
}

enum psg_outcome psg_upload_pump(psg_exchange *exchange)
{
    request_rec *r = exchange->r;
    int frames;

    exchange->body_ready = 0;
    for (frames = 0; frames < FRAMES_PER_TURN; frames++) {
        apr_status_t status;
        int written = write_pending(exchange);

        /* A core that is gone shows itself on the reading side, with what it still had to say. */
        if (written <= 0 || exchange->body_ended) {
            return PSG_GOING_ON;
        }
        if (frame_from_brigade(exchange)) {
            continue;
        }
        apr_brigade_cleanup(exchange->body);
        status = ap_get_brigade(r->input_filters, exchange->body, AP_MODE_READBYTES, APR_NONBLOCK_READ, READ_SIZE);
        if (APR_STATUS_IS_EAGAIN(status) || (status == APR_SUCCESS && APR_BRIGADE_EMPTY(exchange->body))) {
            send_continue(exchange);
            return PSG_GOING_ON;
        }
        if (status != APR_SUCCESS) {
            return body_failed(exchange, status);
        }
        exchange->body_activity = psg_now();
    }
    exchange->body_ready = 1;
    return PSG_GOING_ON;
}

int psg_upload_pending(const psg_exchange *exchange)
{
    return exchange->pending_count > 0;
}
