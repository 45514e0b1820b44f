/*
 * How many of Apache's workers one app may hold: counters in memory that all children of a generation share. A child
 * that is killed leaves its counts behind until the next reload. Called by handler.c.
 */
#include "mod_passenger.h"

#include "ap_mpm.h"
#include "apr_atomic.h"
#include "apr_shm.h"

#define SLOTS 1024
#define DEFAULT_SHARE 75

typedef struct {
    volatile apr_uint64_t app;       /* hash of the app root; 0: free */
    volatile apr_uint32_t held;
} slot;

static slot *table;
static apr_uint32_t limit;

void psg_share_init(apr_pool_t *pconf, server_rec *s)
{
    apr_shm_t *memory = NULL;
    apr_status_t status;
    int children = 0, threads = 0;

    table = NULL;
    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &children);
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    limit = (apr_uint32_t)children * (apr_uint32_t)(threads > 0 ? threads : 1);
    limit = limit * (apr_uint32_t)psg_number(psg_server_settings(s), PSG_ID_MAX_WORKER_SHARE, DEFAULT_SHARE) / 100;
    limit = limit > 0 ? limit : 1;
    status = apr_shm_create(&memory, SLOTS * sizeof(slot), NULL, pconf);
    if (status != APR_SUCCESS) {
        PSG_LOG_SERVER(APLOG_WARNING, status, s, "PSG1017", "cannot create shared memory, apps may hold all workers");
        return;
    }
    table = apr_shm_baseaddr_get(memory);
    memset(table, 0, SLOTS * sizeof(slot));
}

/* Slots are never freed within a generation; NULL when there are more apps than slots. */
static slot *slot_of(const char *app_root)
{
    apr_uint64_t app = psg_fnv1a(app_root, strlen(app_root)) | 1;
    apr_size_t tries;

    for (tries = 0; tries < SLOTS; tries++) {
        slot *at = &table[(app + tries) % SLOTS];

        if (at->app == app || (at->app == 0 && __sync_bool_compare_and_swap(&at->app, 0, app)) || at->app == app) {
            return at;
        }
    }
    return NULL;
}

static apr_status_t give_back(void *held)
{
    apr_atomic_dec32(held);
    return APR_SUCCESS;
}

int psg_share_take(request_rec *r, const char *app_root)
{
    slot *at = table == NULL ? NULL : slot_of(app_root);

    if (at == NULL) {
        return 1;
    }
    if (apr_atomic_inc32(&at->held) >= limit) {
        apr_atomic_dec32(&at->held);
        PSG_LOG_LIMITED(APLOG_WARNING, 0, r, "PSG1011", "app holds its share of Apache's workers limit=%u path=%s", limit, app_root);
        return 0;
    }
    apr_pool_cleanup_register(r->pool, (void *)&at->held, give_back, apr_pool_cleanup_null);
    return 1;
}

/* Sub-requests share their main request's pool only in part; a held slot is always the one of this request. */
void psg_share_give(request_rec *r)
{
    const psg_app *app;
    slot *at;

    if (psg_map_app(r, &app) != OK || table == NULL || (at = slot_of(app->root)) == NULL) {
        return;
    }
    apr_pool_cleanup_run(r->pool, (void *)&at->held, give_back);
}
