/*
 * What kind of app a directory holds, by the names of files in it. Answers are kept in a small cache of the child for
 * PassengerStatThrottleRate seconds. Opens nothing: files of an app's user are only looked at by name. Called by map.c.
 */
#include "mod_passenger.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Slots, not entries: two directories that fall into one slot replace each other, which costs stats and nothing else. */
#define SLOTS 1024
#define PATH_SIZE 4096

typedef struct {
    char *key;             /* malloc'ed */
    char *root;            /* malloc'ed; of psg_root_of */
    apr_time_t checked;
    enum psg_probe result;
    psg_detection detection;
} slot;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static slot slots[SLOTS];

/* Passenger's own order first, then what it does not know. `second` must be there too. */
static const struct {
    const char *file;
    const char *second;
    enum psg_probe result;
    psg_detection detection;
} signs[] = {
    {"passenger_wsgi.py", NULL, PSG_PROBE_FOREIGN, {"", ""}},
    {"config.ru", NULL, PSG_PROBE_FOREIGN, {"", ""}},
    {"app.js", NULL, PSG_PROBE_FOUND, {"node", "app.js"}},
    {"star.json", "main.js", PSG_PROBE_FOUND, {"meteor-bundle", "main.js"}},
    {".meteor", NULL, PSG_PROBE_FOUND, {"meteor", ""}},
    {"package.json", NULL, PSG_PROBE_FOUND, {"package", ""}},
    {"server.js", NULL, PSG_PROBE_FOUND, {"node", "server.js"}},
    {"index.js", NULL, PSG_PROBE_FOUND, {"node", "index.js"}},
};

/* 1 there, 0 not there, -1 we may not look. */
static int exists(const char *root, const char *file)
{
    char path[PATH_SIZE];
    struct stat info;

    if (snprintf(path, sizeof path, "%s/%s", root, file) >= (int)sizeof path) {
        return 0;
    }
    if (stat(path, &info) == 0) {
        return 1;
    }
    return errno == EACCES ? -1 : 0;
}

static enum psg_probe probe(const char *root, psg_detection *detection)
{
    struct stat info;
    apr_size_t i;

    *detection = (psg_detection){"", ""};
    if (stat(root, &info) != 0) {
        return errno == EACCES ? PSG_PROBE_DENIED : PSG_PROBE_MISSING;
    }
    if (!S_ISDIR(info.st_mode)) {
        return PSG_PROBE_MISSING;
    }
    for (i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        int there = exists(root, signs[i].file);

        if (there < 0) {
            return PSG_PROBE_DENIED;
        }
        if (there > 0 && (signs[i].second == NULL || exists(root, signs[i].second) > 0)) {
            *detection = signs[i].detection;
            return signs[i].result;
        }
    }
    return PSG_PROBE_NOTHING;
}

static slot *slot_of(char kind, const char *path)
{
    return &slots[(psg_fnv1a(path, strlen(path)) ^ (apr_uint64_t)kind) % SLOTS];
}

static int is_current(const slot *at, char kind, const char *path, apr_time_t now, long throttle_seconds)
{
    return at->key != NULL && at->key[0] == kind && strcmp(at->key + 1, path) == 0 && now >= at->checked
           && now - at->checked < apr_time_from_sec(throttle_seconds);
}

/* Under the lock. The texts of a detection are constants; only key and root are owned. */
static void fill(slot *at, char kind, const char *path, apr_time_t now)
{
    apr_size_t length = strlen(path);

    free(at->key);
    free(at->root);
    at->root = NULL;
    at->checked = now;
    at->key = malloc(length + 2);
    if (at->key != NULL) {
        at->key[0] = kind;
        memcpy(at->key + 1, path, length + 1);
    }
}

enum psg_probe psg_detect(const char *root, apr_time_t now, long throttle_seconds, psg_detection *detection)
{
    slot *at = slot_of('d', root);
    enum psg_probe result;

    pthread_mutex_lock(&lock);
    if (is_current(at, 'd', root, now, throttle_seconds)) {
        *detection = at->detection;
        result = at->result;
        pthread_mutex_unlock(&lock);
        return result;
    }
    pthread_mutex_unlock(&lock);
    /* Not under the lock: a dead mount must hold this request alone. */
    result = probe(root, detection);
    pthread_mutex_lock(&lock);
    fill(at, 'd', root, now);
    at->detection = *detection;
    at->result = result;
    pthread_mutex_unlock(&lock);
    return result;
}

/* One level: a link to a link leads to the directory that holds the second link. */
static const char *resolve(apr_pool_t *pool, const char *public_dir)
{
    char target[PATH_SIZE];
    struct stat info;
    ssize_t length;

    if (stat(public_dir, &info) != 0) {
        return NULL;
    }
    length = readlink(public_dir, target, sizeof target - 1);
    if (length <= 0) {
        return ap_make_dirstr_parent(pool, public_dir);
    }
    target[length] = '\0';
    while (length > 1 && target[length - 1] == '/') {
        target[--length] = '\0';
    }
    if (target[0] == '/') {
        return ap_make_dirstr_parent(pool, target);
    }
    return ap_make_dirstr_parent(pool, apr_pstrcat(pool, ap_make_dirstr_parent(pool, public_dir), target, NULL));
}

static const char *without_slash(apr_pool_t *pool, const char *path)
{
    apr_size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    return apr_pstrmemdup(pool, path, length);
}

const char *psg_root_of(apr_pool_t *pool, const char *public_dir, apr_time_t now, long throttle_seconds)
{
    slot *at = slot_of('l', public_dir);
    const char *root;

    pthread_mutex_lock(&lock);
    if (is_current(at, 'l', public_dir, now, throttle_seconds)) {
        root = at->root == NULL ? NULL : apr_pstrdup(pool, at->root);
        pthread_mutex_unlock(&lock);
        return root;
    }
    pthread_mutex_unlock(&lock);
    root = resolve(pool, public_dir);
    root = root == NULL ? NULL : without_slash(pool, root);
    pthread_mutex_lock(&lock);
    fill(at, 'l', public_dir, now);
    at->root = root == NULL ? NULL : strdup(root);
    pthread_mutex_unlock(&lock);
    return root;
}
