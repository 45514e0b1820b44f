/*
 * The start of an exchange: a connection that may carry it, and REQUEST in one write. Called by handler.c.
 */
#include "mod_passenger.h"

#include <errno.h>
#include <unistd.h>

#include "apr_atomic.h"

#define WRITE_LIMIT apr_time_from_sec(5)
#define TRIES 3

static volatile apr_uint32_t exchange_counter;
static apr_uint64_t exchange_id_base;

/* getpid is a system call, and the child stays the same. */
void psg_request_child_init(void)
{
    exchange_id_base = (apr_uint64_t)getpid() << 32;
}

/* A connection that knows the settings block, or may still learn it. */
static psg_connection *take_connection(psg_exchange *exchange, int only_fresh)
{
    for (;;) {
        psg_connection *core = psg_connection_take(only_fresh);

        if (core == NULL || psg_connection_knows(core, exchange->settings.hash)
            || core->known_count < PSG_MAX_SETTINGS_PER_CONNECTION) {
            return core;
        }
        psg_connection_close(core);
    }
}

static int write_request(psg_exchange *exchange, psg_connection *core)
{
    const psg_runtime *runtime = psg_the_runtime();
    unsigned char hello[PSG_HELLO_SIZE], prefix[PSG_REQUEST_PREFIX_SIZE];
    int cached = psg_connection_knows(core, exchange->settings.hash);
    psg_request_facts facts = {
        .exchange_id = exchange_id_base | apr_atomic_inc32(&exchange_counter),
        .settings_hash = exchange->settings.hash,
        .content_length = exchange->head.content_length,
        .silence_timeout_ms = (uint32_t)apr_time_as_msec(exchange->r->server->timeout),
        .settings_length = cached ? 0 : (uint32_t)exchange->settings.length,
        .header_length = (uint32_t)exchange->head.length,
    };
    struct iovec vectors[4];
    int count = 0;

    if (core->fresh) {
        psg_hello_encode(hello, runtime->generation, runtime->table_hash, runtime->secret);
        vectors[count++] = (struct iovec){hello, sizeof hello};
    }
    psg_request_encode(prefix, exchange->head.flags | (cached ? PSG_REQUEST_SETTINGS_CACHED : 0), &facts);
    vectors[count++] = (struct iovec){prefix, sizeof prefix};
    if (!cached) {
        vectors[count++] = (struct iovec){(void *)exchange->settings.bytes, exchange->settings.length};
    }
    vectors[count++] = (struct iovec){(void *)exchange->head.bytes, exchange->head.length};
    if (!psg_write_all(core->fd, vectors, count, psg_now() + WRITE_LIMIT)) {
        return 0;
    }
    core->fresh = 0;
    return cached || psg_connection_learn(core, exchange->settings.hash);
}

/*
 * A pooled connection may have been closed by the core meanwhile: then nothing of the request was taken, and
 * another connection is tried. 0: there is no core.
 */
int psg_request_send(psg_exchange *exchange, int only_fresh)
{
    int tries;

    for (tries = 0; tries < TRIES; tries++) {
        psg_connection *core = take_connection(exchange, only_fresh || tries > 0);

        if (core == NULL) {
            break;
        }
        if (write_request(exchange, core)) {
            exchange->core = core;
            exchange->last_activity = psg_now();
            return 1;
        }
        psg_connection_close(core);
    }
    PSG_LOG_LIMITED(APLOG_ERR, errno, exchange->r, "PSG1006", "cannot reach the core path=%s uid=%d",
                    psg_the_runtime() == NULL ? "-" : psg_the_runtime()->socket_path, (int)geteuid());
    return 0;
}
