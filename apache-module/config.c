/*
 * Directives: one generic create, merge and assign over the generated table (directives.gen.h). Knows nothing about
 * what a directive means; the core checks values against the same rows again.
 */
#include "mod_passenger.h"

#include <stdlib.h>

#define PSG_ROW(id, name, scope, kind, min, max, has_min, has_max, values, override, status, alias_of, privileged, text) \
    {id, name, scope, kind, min, max, has_min, has_max, values, override, status, alias_of, privileged, text},

const psg_directive psg_directives[PSG_DIRECTIVE_COUNT] = {PSG_DIRECTIVES(PSG_ROW)};

/* Facts of the configuration that is being read; reset in pre_config. */
static apr_array_header_t *privileged_values;
static char noticed[PSG_DIRECTIVE_COUNT];

static const char *check_context(cmd_parms *cmd, const psg_directive *row)
{
    if (row->scope == PSG_SCOPE_SERVER) {
        return ap_check_cmd_context(cmd, GLOBAL_ONLY);
    }
    if (row->scope == PSG_SCOPE_APP) {
        return ap_check_cmd_context(cmd, NOT_IN_FILES | NOT_IN_HTACCESS);
    }
    return NULL;
}

static const char *wrong(cmd_parms *cmd, const psg_directive *row, const char *value, const char *expected)
{
    return apr_psprintf(cmd->pool, "%s: '%s' is not %s", row->name, value, expected);
}

static const char *parse_flag(cmd_parms *cmd, const psg_directive *row, const char **value)
{
    if (strcasecmp(*value, "on") == 0) {
        *value = "on";
    }
    else if (strcasecmp(*value, "off") == 0) {
        *value = "off";
    }
    else {
        return wrong(cmd, row, *value, "On or Off");
    }
    return NULL;
}

static const char *parse_int(cmd_parms *cmd, const psg_directive *row, const char **value)
{
    const char *digits = **value == '-' ? *value + 1 : *value;
    long number;

    if (*digits == '\0' || strlen(digits) > 10 || digits[strspn(digits, "0123456789")] != '\0') {
        return wrong(cmd, row, *value, "a whole number");
    }
    number = strtol(*value, NULL, 10);
    if (row->has_min && number < row->min) {
        return apr_psprintf(cmd->pool, "%s: '%s' must be at least %ld", row->name, *value, row->min);
    }
    if (row->has_max && number > row->max) {
        return apr_psprintf(cmd->pool, "%s: '%s' must be at most %ld", row->name, *value, row->max);
    }
    *value = apr_ltoa(cmd->pool, number);
    return NULL;
}

static const char *parse_enum(cmd_parms *cmd, const psg_directive *row, const char **value)
{
    const char *at = row->values;
    apr_size_t length = strlen(*value);

    while (at != NULL) {
        if (strncmp(at, *value, length) == 0 && (at[length] == '|' || at[length] == '\0') && length > 0) {
            return NULL;
        }
        at = strchr(at, '|');
        at = at == NULL ? NULL : at + 1;
    }
    return wrong(cmd, row, *value, apr_pstrcat(cmd->pool, "one of ", row->values, ". ", row->text, NULL));
}

/* Line ends separate the values of a set; NUL and other controls have no place in any value. */
static const char *parse_text(cmd_parms *cmd, const psg_directive *row, const char **value)
{
    const unsigned char *at;

    for (at = (const unsigned char *)*value; *at != '\0'; at++) {
        if ((*at < 0x20 && *at != '\t') || *at == 0x7f) {
            return apr_pstrcat(cmd->pool, row->name, ": the value holds a control character", NULL);
        }
    }
    if (row->kind == PSG_KIND_PATH && **value != '/') {
        return wrong(cmd, row, *value, "an absolute path");
    }
    if (row->id == PSG_ID_BASE_URI && (**value != '/' || ((*value)[1] != '\0' && (*value)[strlen(*value) - 1] == '/'))) {
        return wrong(cmd, row, *value, "a path that starts with / and does not end with one");
    }
    return NULL;
}

/* RFC 9110's token: what names of fields and cookies are made of. */
#define TOKEN_CHARS "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
#define MAX_TOKEN 64
#define MAX_ATTRIBUTES 1024

static const char *parse_token(cmd_parms *cmd, const psg_directive *row, const char **value)
{
    apr_size_t length = strlen(*value);

    if (length == 0 || length > MAX_TOKEN || strspn(*value, TOKEN_CHARS) != length) {
        return wrong(cmd, row, *value, "a token of at most 64 characters");
    }
    return NULL;
}

/* NAME or NAME=VALUE, separated by semicolons: it becomes a part of Set-Cookie as it is. */
static const char *parse_attributes(cmd_parms *cmd, const psg_directive *row, const char **value)
{
    const char *at = *value;
    int good = strlen(at) <= MAX_ATTRIBUTES;

    while (good) {
        at += strspn(at, "; ");
        if (*at == '\0') {
            return NULL;
        }
        good = strspn(at, TOKEN_CHARS) > 0;
        at += strspn(at, TOKEN_CHARS);
        if (*at == '=') {
            while (*at >= ' ' && *at < 0x7f && *at != ';') {
                at++;
            }
        }
        at += strspn(at, " ");
        good = good && (*at == ';' || *at == '\0');
    }
    return wrong(cmd, row, *value, "attributes of a cookie, separated by semicolons");
}

static const char *parse_value(cmd_parms *cmd, const psg_directive *row, const char **value)
{
    switch (row->kind) {
    case PSG_KIND_FLAG:
        return parse_flag(cmd, row, value);
    case PSG_KIND_INT:
        return parse_int(cmd, row, value);
    case PSG_KIND_TOKEN:
        return parse_token(cmd, row, value);
    case PSG_KIND_ATTRIBUTES:
        return parse_attributes(cmd, row, value);
    case PSG_KIND_ENUM:
        return parse_enum(cmd, row, value);
    default:
        return parse_text(cmd, row, value);
    }
}

static void remember(cmd_parms *cmd, const psg_directive *row, psg_conf *conf, const char *value)
{
    if (row->kind == PSG_KIND_SET && conf->value[row->id] != NULL) {
        value = apr_pstrcat(cmd->pool, conf->value[row->id], "\n", value, NULL);
    }
    if (conf->value[row->id] == NULL) {
        conf->count++;
    }
    conf->value[row->id] = value;
    if (row->privileged && privileged_values != NULL) {
        psg_privileged_value *entry = apr_array_push(privileged_values);
        entry->name = row->name;
        entry->value = value;
    }
}

static const char *assign(cmd_parms *cmd, void *dir_conf, const char *value, const char *second)
{
    const psg_directive *named = cmd->info;
    const psg_directive *row = named->status == PSG_STATUS_ALIAS ? &psg_directives[named->alias_of] : named;
    const char *error = check_context(cmd, row);
    psg_conf *conf = dir_conf;

    if (error != NULL) {
        return apr_psprintf(cmd->pool, "%s (value '%s')", error, value);
    }
    if (named->status == PSG_STATUS_REFUSED) {
        return apr_pstrcat(cmd->pool, named->name, " ", value, ": refused: ", named->text, NULL);
    }
    if (row->status == PSG_STATUS_REFUSED) {
        return apr_pstrcat(cmd->pool, named->name, " ", value, ": refused: ", row->text, NULL);
    }
    if (row->status == PSG_STATUS_IGNORED || row->status == PSG_STATUS_PLANNED) {
        noticed[row->id] = 1;
    }
    if (row->status == PSG_STATUS_IGNORED || row->kind == PSG_KIND_PAIR) {
        return NULL;
    }
    error = parse_value(cmd, row, &value);
    if (error != NULL) {
        return error;
    }
    if (row->scope == PSG_SCOPE_SERVER) {
        conf = ap_get_module_config(cmd->server->module_config, &passenger_module);
    }
    remember(cmd, row, conf, value);
    return NULL;
}

static const char *assign_one(cmd_parms *cmd, void *conf, const char *value)
{
    return assign(cmd, conf, value, NULL);
}

static const char *assign_pair(cmd_parms *cmd, void *conf, const char *first, const char *second)
{
    return assign(cmd, conf, first, second);
}

/* A kind decides how many words a directive takes; a scope where httpd lets it through at all. */
#define PSG_FUNCTION_PSG_KIND_FLAG {.take1 = assign_one}
#define PSG_FUNCTION_PSG_KIND_INT {.take1 = assign_one}
#define PSG_FUNCTION_PSG_KIND_STRING {.take1 = assign_one}
#define PSG_FUNCTION_PSG_KIND_PATH {.take1 = assign_one}
#define PSG_FUNCTION_PSG_KIND_TOKEN {.take1 = assign_one}
#define PSG_FUNCTION_PSG_KIND_ATTRIBUTES {.take1 = assign_one}
#define PSG_FUNCTION_PSG_KIND_ENUM {.take1 = assign_one}
#define PSG_FUNCTION_PSG_KIND_SET {.take1 = assign_one}
#define PSG_FUNCTION_PSG_KIND_PAIR {.take2 = assign_pair}
#define PSG_WORDS(kind) ((kind) == PSG_KIND_PAIR ? TAKE2 : TAKE1)
#define PSG_ALLOWED(scope, override) \
    ((scope) == PSG_SCOPE_SERVER ? RSRC_CONF \
     : (scope) == PSG_SCOPE_APP || (override) == PSG_OVERRIDE_NONE ? RSRC_CONF | ACCESS_CONF \
     : (override) == PSG_OVERRIDE_OPTIONS ? RSRC_CONF | ACCESS_CONF | OR_OPTIONS \
     : RSRC_CONF | ACCESS_CONF | OR_ALL)
#define PSG_COMMAND(id, name, scope, kind, min, max, has_min, has_max, values, override, status, alias_of, privileged, text) \
    {name, PSG_FUNCTION_##kind, (void *)&psg_directives[id], PSG_ALLOWED(scope, override), PSG_WORDS(kind), text},

const command_rec psg_commands[] = {PSG_DIRECTIVES(PSG_COMMAND){NULL}};

void *psg_create_dir_config(apr_pool_t *pool, char *dir)
{
    return apr_pcalloc(pool, sizeof(psg_conf));
}

void *psg_create_server_config(apr_pool_t *pool, server_rec *s)
{
    return apr_pcalloc(pool, sizeof(psg_conf));
}

/* Most sections set nothing of ours: they share the object of the outer one. */
void *psg_merge_dir_config(apr_pool_t *pool, void *base, void *add)
{
    const psg_conf *outer = base, *inner = add;
    psg_conf *merged;
    int id;

    if (inner->count == 0) {
        return base;
    }
    if (outer->count == 0) {
        return add;
    }
    merged = apr_palloc(pool, sizeof *merged);
    merged->count = 0;
    for (id = 0; id < PSG_DIRECTIVE_COUNT; id++) {
        merged->value[id] = inner->value[id] != NULL ? inner->value[id] : outer->value[id];
        merged->count += merged->value[id] != NULL;
    }
    return merged;
}

void psg_reset_config_notes(apr_pool_t *pconf)
{
    privileged_values = apr_array_make(pconf, 8, sizeof(psg_privileged_value));
    memset(noticed, 0, sizeof noticed);
}

const apr_array_header_t *psg_privileged_values(void)
{
    return privileged_values;
}

void psg_log_config_notices(server_rec *s)
{
    int id;

    for (id = 0; id < PSG_DIRECTIVE_COUNT; id++) {
        const psg_directive *row = &psg_directives[id];

        if (noticed[id] && row->status == PSG_STATUS_PLANNED) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "%s is accepted but has no effect yet", row->name);
        }
        else if (noticed[id]) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "%s has no effect: %s", row->name, row->text);
        }
    }
}

const psg_conf *psg_server_settings(server_rec *main_server)
{
    return ap_get_module_config(main_server->module_config, &passenger_module);
}

int psg_is_on(const psg_conf *conf, int id, int fallback)
{
    return conf->value[id] == NULL ? fallback : conf->value[id][1] == 'n';
}

long psg_number(const psg_conf *conf, int id, long fallback)
{
    return conf->value[id] == NULL ? fallback : strtol(conf->value[id], NULL, 10);
}
