/*
 * Whether the client still waits: so that a thread, and the app's work, are not held for somebody who has gone. A FIN
 * while we wait counts as gone, as in nginx. Called by handler.c and tunnel.c.
 */
#include "mod_passenger.h"

#include "apr_portable.h"
#include "http_connection.h"

/* An HTTP/2 stream has no socket of its own: its connection is looked at in slices of time (handler.c). */
int psg_client_descriptor(request_rec *r)
{
    apr_socket_t *socket;
    int fd = -1;

    if (r->connection->master != NULL) {
        return -1;
    }
    socket = ap_get_conn_socket(r->connection);
    if (socket == NULL || apr_os_sock_get(&fd, socket) != APR_SUCCESS) {
        return -1;
    }
    return fd;
}

/* Looks through the connection's filters (TLS) at what made the socket readable, without taking it away. */
int psg_client_is_gone(psg_exchange *exchange)
{
    conn_rec *c = exchange->r->connection;
    apr_bucket_brigade *seen = apr_brigade_create(exchange->r->pool, c->bucket_alloc);
    apr_status_t status = ap_get_brigade(c->input_filters, seen, AP_MODE_SPECULATIVE, APR_NONBLOCK_READ, 1);
    int has_bytes = status == APR_SUCCESS && !APR_BRIGADE_EMPTY(seen) && !APR_BUCKET_IS_EOS(APR_BRIGADE_FIRST(seen));
    int nothing = APR_STATUS_IS_EAGAIN(status) || (status == APR_SUCCESS && APR_BRIGADE_EMPTY(seen));

    apr_brigade_destroy(seen);
    if (has_bytes) {
        exchange->client_pipelined = 1;
        return 0;
    }
    return !nothing || c->aborted;
}
