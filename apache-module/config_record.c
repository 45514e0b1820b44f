/*
 * The CONFIG record for the supervisor (core/supervisor/messages.ts): everything that the configuration says, in one
 * malloc'ed block that is kept for supervisors to come. Called by control.c in Apache's parent.
 */
#include "mod_passenger.h"

#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "apr_portable.h"
#include "unixd.h"

#define CONFIG_LIMIT (1024 * 1024)
#define KIND_CONFIG 1

enum {
    TAG_GENERATION = 1,
    TAG_SECRET,
    TAG_INSTANCE_DIR,
    TAG_ROOT,
    TAG_CORE_UID,
    TAG_CORE_GID,
    TAG_CORE_USER,
    TAG_SERVER_SOFTWARE,
    TAG_SETTING,
    TAG_PRIVILEGED,
    TAG_ERROR_LOG,
    TAG_TABLE_HASH,
    TAG_MAX_REQUEST_WORKERS
};

typedef struct {
    unsigned char *bytes;
    size_t length;
    size_t room;
    unsigned fields;
    int failed;
} record;

static unsigned char *add_room(record *to, size_t length)
{
    if (to->failed || to->length + length > CONFIG_LIMIT || to->fields == 0xffff) {
        to->failed = 1;
        return NULL;
    }
    if (to->length + length > to->room) {
        size_t room = to->room * 2 > to->length + length ? to->room * 2 : to->length + length;
        unsigned char *larger = realloc(to->bytes, room);

        if (larger == NULL) {
            to->failed = 1;
            return NULL;
        }
        to->bytes = larger;
        to->room = room;
    }
    to->length += length;
    return to->bytes + to->length - length;
}

static void add_field(record *to, unsigned char tag, const void *bytes, size_t length)
{
    unsigned char *at = add_room(to, 8 + length);

    if (at != NULL) {
        memset(at, 0, 8);
        at[0] = tag;
        psg_put_u32(at + 4, (uint32_t)length);
        memcpy(at + 8, bytes, length);
        to->fields++;
    }
}

static void add_number(record *to, unsigned char tag, uint32_t number)
{
    unsigned char bytes[4];

    psg_put_u32(bytes, number);
    add_field(to, tag, bytes, sizeof bytes);
}

static void add_text(record *to, unsigned char tag, const char *text)
{
    add_field(to, tag, text, strlen(text));
}

static void add_pair(record *to, unsigned char tag, const char *name, const char *value, size_t length)
{
    size_t name_length = strlen(name) + 1;
    unsigned char *at = add_room(to, 8 + name_length + length);

    if (at != NULL) {
        memset(at, 0, 8);
        at[0] = tag;
        psg_put_u32(at + 4, (uint32_t)(name_length + length));
        memcpy(at + 8, name, name_length);
        memcpy(at + 8 + name_length, value, length);
        to->fields++;
    }
}

static void add_settings(record *to, server_rec *s)
{
    const psg_conf *conf = psg_server_settings(s);
    const apr_array_header_t *privileged = psg_privileged_values();
    int i;

    for (i = 0; i < PSG_DIRECTIVE_COUNT; i++) {
        const char *value = conf->value[i];

        while (value != NULL) {
            const char *end = psg_directives[i].kind == PSG_KIND_SET ? strchr(value, '\n') : NULL;

            add_pair(to, TAG_SETTING, psg_directives[i].name, value, end == NULL ? strlen(value) : (size_t)(end - value));
            value = end == NULL ? NULL : end + 1;
        }
    }
    for (i = 0; privileged != NULL && i < privileged->nelts; i++) {
        const psg_privileged_value *entry = &((const psg_privileged_value *)privileged->elts)[i];
        add_pair(to, TAG_PRIVILEGED, entry->name, entry->value, strlen(entry->value));
    }
}

/* The core runs as Apache's children do; an Apache without root has one user for everything. */
static void add_identity(record *to)
{
    int root = geteuid() == 0;
    uid_t uid = root ? ap_unixd_config.user_id : geteuid();
    struct passwd *facts = getpwuid(uid);

    add_number(to, TAG_CORE_UID, (uint32_t)uid);
    add_number(to, TAG_CORE_GID, (uint32_t)(root ? ap_unixd_config.group_id : getegid()));
    add_text(to, TAG_CORE_USER, facts == NULL ? "" : facts->pw_name);
}

static const char *error_log_kind(apr_pool_t *pool, server_rec *s)
{
    const char *name = s->error_fname;

    if (name == NULL || strncasecmp(name, "syslog", 6) != 0 || (name[6] != '\0' && name[6] != ':')) {
        return "fd";
    }
    if (name[6] == ':' && name[7] != '\0' && name[7] != ':') {
        return name;
    }
    return apr_pstrcat(pool, "syslog:local7", name[6] == ':' ? name + 7 : "", NULL);
}

static uint32_t max_request_workers(void)
{
    int children = 0, threads = 0;

    ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &children);
    ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads);
    return (uint32_t)children * (uint32_t)(threads > 0 ? threads : 1);
}

int psg_config_record_build(psg_runtime *runtime, apr_pool_t *ptemp, server_rec *s)
{
    const char *kind = error_log_kind(ptemp, s);
    record to = {0};

    add_room(&to, 8);
    add_number(&to, TAG_GENERATION, runtime->generation);
    add_field(&to, TAG_SECRET, runtime->secret, sizeof runtime->secret);
    add_text(&to, TAG_INSTANCE_DIR, runtime->instance_dir);
    add_text(&to, TAG_ROOT, runtime->passenger_root);
    add_identity(&to);
    add_text(&to, TAG_SERVER_SOFTWARE, ap_get_server_description());
    add_settings(&to, s);
    add_text(&to, TAG_ERROR_LOG, kind);
    add_field(&to, TAG_TABLE_HASH, runtime->table_hash, sizeof runtime->table_hash);
    add_number(&to, TAG_MAX_REQUEST_WORKERS, max_request_workers());
    if (to.failed) {
        free(to.bytes);
        return 0;
    }
    to.bytes[0] = KIND_CONFIG;
    to.bytes[1] = 0;
    psg_put_u16(to.bytes + 2, (uint16_t)to.fields);
    psg_put_u32(to.bytes + 4, (uint32_t)(to.length - 8));
    free(runtime->config_record);
    runtime->config_record = to.bytes;
    runtime->config_length = to.length;
    runtime->error_log_fd = -1;
    if (strcmp(kind, "fd") == 0 && (s->error_log == NULL || apr_os_file_get(&runtime->error_log_fd, s->error_log) != APR_SUCCESS)) {
        runtime->error_log_fd = STDERR_FILENO;
    }
    return 1;
}
