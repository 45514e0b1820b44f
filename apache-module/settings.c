/*
 * The settings block of a REQUEST: everything that is the same for all requests of one place of the configuration.
 * Built for each request (about a microsecond) and sent once for each connection; its hash is its name. Called by handler.c.
 */
#include "mod_passenger.h"

/* The private per-directory record of mod_env, unchanged in all of httpd 2.4. */
typedef struct {
    apr_table_t *vars;
    apr_table_t *unset;
} env_dir_config;

/* Larger blocks are hashed each time. */
#define LAST_BLOCK_SIZE 1024

static module *env_module;

void psg_settings_child_init(void)
{
    env_module = ap_find_linked_module("mod_env.c");
}

static const apr_table_t *env_of(const ap_conf_vector_t *vector)
{
    const env_dir_config *config = env_module == NULL ? NULL : ap_get_module_config(vector, env_module);

    return config == NULL ? NULL : config->vars;
}

/* The core takes text only; a value that is none would make it refuse every request. */
static int is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at != '\0') {
        int more = *at < 0x80 ? 0 : *at >= 0xc2 && *at <= 0xdf ? 1 : (*at & 0xf0) == 0xe0 ? 2
                   : *at >= 0xf0 && *at <= 0xf4 ? 3 : -1;
        unsigned char first = *at++;

        if (more < 0 || (first == 0xe0 && *at < 0xa0) || (first == 0xed && *at > 0x9f)
            || (first == 0xf0 && *at < 0x90) || (first == 0xf4 && *at > 0x8f)) {
            return 0;
        }
        for (; more > 0; more--, at++) {
            if ((*at & 0xc0) != 0x80) {
                return 0;
            }
        }
    }
    return 1;
}

static int env_is_sent(const apr_table_entry_t *entry)
{
    return entry->key[0] != '\0' && entry->key[0] != '=' && is_utf8(entry->key) && is_utf8(entry->val);
}

static unsigned char *put_entry(unsigned char *at, uint8_t tag, uint8_t flags, uint16_t id, const char *text, apr_size_t length)
{
    psg_setting_encode(at, tag, flags, id, (uint32_t)length);
    memcpy(at + PSG_SETTING_HEADER_SIZE, text, length);
    return at + PSG_SETTING_HEADER_SIZE + length;
}

static unsigned char *put_text(unsigned char *at, uint8_t tag, const char *text)
{
    return text == NULL ? at : put_entry(at, tag, 0, 0, text, strlen(text));
}

/* A set has one entry for each of its lines. */
static unsigned char *put_directive(unsigned char *at, int id, const char *value)
{
    while (value != NULL) {
        const char *end = psg_directives[id].kind == PSG_KIND_SET ? strchr(value, '\n') : NULL;

        at = put_entry(at, PSG_SETTING_DIRECTIVE, 0, (uint16_t)id, value, end == NULL ? strlen(value) : (apr_size_t)(end - value));
        value = end == NULL ? NULL : end + 1;
    }
    return at;
}

static unsigned char *put_env(unsigned char *at, const apr_table_entry_t *entry, const apr_table_t *vhost)
{
    apr_size_t name = strlen(entry->key), value = strlen(entry->val);
    const char *outer = vhost == NULL ? NULL : apr_table_get(vhost, entry->key);
    uint8_t flags = outer != NULL && strcmp(outer, entry->val) == 0 ? PSG_SETTING_VHOST_LEVEL : 0;

    psg_setting_encode(at, PSG_SETTING_ENV, flags, 0, (uint32_t)(name + 1 + value));
    at += PSG_SETTING_HEADER_SIZE;
    memcpy(at, entry->key, name);
    at[name] = '=';
    memcpy(at + name + 1, entry->val, value);
    return at + name + 1 + value;
}

static apr_size_t room_for_text(const char *text)
{
    return text == NULL ? 0 : PSG_SETTING_HEADER_SIZE + strlen(text);
}

/* At least what the block needs. A line of a set brings its separator, which is less than an entry's header. */
static apr_size_t room_for(request_rec *r, const psg_app *app, const apr_array_header_t *env)
{
    apr_size_t room = room_for_text(app->root) + room_for_text(app->base_uri) + room_for_text(app->document_root)
                      + room_for_text(app->detection.found) + room_for_text(app->detection.startup_file)
                      + room_for_text(r->server->server_hostname);
    int i;

    for (i = 0; i < PSG_DIRECTIVE_COUNT && app->conf->count > 0; i++) {
        const char *line = app->conf->value[i];

        room += room_for_text(line);
        while (line != NULL && psg_directives[i].kind == PSG_KIND_SET && (line = strchr(line, '\n')) != NULL) {
            room += PSG_SETTING_HEADER_SIZE;
            line++;
        }
    }
    for (i = 0; env != NULL && i < env->nelts; i++) {
        const apr_table_entry_t *entry = &((const apr_table_entry_t *)env->elts)[i];
        room += PSG_SETTING_HEADER_SIZE + strlen(entry->key) + 1 + strlen(entry->val);
    }
    return room;
}

/* A thread mostly serves one site: to compare with the block before is ten times faster than to hash. */
static apr_uint64_t hash_of(const unsigned char *bytes, apr_size_t length)
{
    static __thread struct {
        apr_size_t length;
        apr_uint64_t hash;
        unsigned char bytes[LAST_BLOCK_SIZE];
    } last;

    if (length > sizeof last.bytes) {
        return psg_fnv1a(bytes, length);
    }
    if (length != last.length || memcmp(bytes, last.bytes, length) != 0) {
        last.length = length;
        last.hash = psg_fnv1a(bytes, length);
        memcpy(last.bytes, bytes, length);
    }
    return last.hash;
}

void psg_settings_block(request_rec *r, const psg_app *app, psg_block *block)
{
    const apr_table_t *vars = env_of(r->per_dir_config);
    const apr_table_t *vhost = env_of(r->server->lookup_defaults);
    const apr_array_header_t *env = vars == NULL ? NULL : apr_table_elts(vars);
    unsigned char *start = apr_palloc(r->pool, room_for(r, app, env));
    unsigned char *at = start;
    int i;

    for (i = 0; i < PSG_DIRECTIVE_COUNT && app->conf->count > 0; i++) {
        at = put_directive(at, i, app->conf->value[i]);
    }
    for (i = 0; env != NULL && i < env->nelts; i++) {
        const apr_table_entry_t *entry = &((const apr_table_entry_t *)env->elts)[i];
        if (env_is_sent(entry)) {
            at = put_env(at, entry, vhost);
        }
    }
    at = put_text(at, PSG_SETTING_APP_ROOT, app->root);
    at = put_text(at, PSG_SETTING_BASE_URI, app->base_uri);
    at = put_text(at, PSG_SETTING_DOCUMENT_ROOT, app->document_root);
    at = put_text(at, PSG_SETTING_FOUND, app->detection.found);
    at = put_text(at, PSG_SETTING_STARTUP_FILE, app->detection.startup_file);
    at = put_text(at, PSG_SETTING_SERVER_NAME, r->server->server_hostname);
    block->bytes = start;
    block->length = (apr_size_t)(at - start);
    block->hash = hash_of(start, block->length);
}
