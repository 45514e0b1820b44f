/*
 * The target that the app sees: the client's own bytes where Apache decided by exactly them, and the escaped result
 * where something rewrote the path. Called by request_head.c.
 */
#include "mod_passenger.h"

/* Path and query of the request line without scheme and host. */
static const char *original_target(request_rec *r)
{
    const char *target = r->unparsed_uri == NULL ? "/" : r->unparsed_uri;
    const char *rest;

    if (target[0] == '/' || target[0] == '*') {
        return target;
    }
    rest = strstr(target, "://");
    rest = rest == NULL ? NULL : rest + 3 + strcspn(rest + 3, "/?#");
    if (rest == NULL || *rest == '\0' || *rest == '#') {
        return "/";
    }
    return *rest == '/' ? rest : apr_pstrcat(r->pool, "/", rest, NULL);
}

/* Length of a character that means '.' to Apache, 0 for any other. */
static apr_size_t dot_length(const char *at, apr_size_t left)
{
    if (left > 0 && at[0] == '.') {
        return 1;
    }
    return left > 2 && at[0] == '%' && at[1] == '2' && (at[2] | 0x20) == 'e' ? 3 : 0;
}

/*
 * "/admin/../open": Apache has decided by "/open", but routers of apps do not resolve dots and would take it for
 * something below "/admin". Browsers never send this.
 */
static int has_dot_segment(const char *raw, apr_size_t length)
{
    apr_size_t at = 0;

    while (at < length) {
        apr_size_t dots = 0, step;

        if (raw[at++] != '/') {
            continue;
        }
        while (dots < 3 && (step = dot_length(raw + at, length - at)) > 0) {
            at += step;
            dots++;
        }
        if (dots > 0 && dots < 3 && (at == length || raw[at] == '/')) {
            return 1;
        }
    }
    return 0;
}

/* Those of the server: AllowEncodedSlashes counts before any <Directory>, and the merge with one loses it. */
static const core_dir_config *rules_of_decoding(const request_rec *r)
{
    return ap_get_core_module_config(r->server->lookup_defaults);
}

/* AllowEncodedSlashes NoDecode: "%2F" in the path stands for itself. */
static int keeps_slashes(const request_rec *r)
{
    const core_dir_config *dir = rules_of_decoding(r);

    return dir->allow_encoded_slashes && !dir->decode_encoded_slashes;
}

/* Does Apache's own reading of these bytes give the path that it decided by? */
static int means(request_rec *r, const char *raw, apr_size_t length)
{
    const core_server_config *server = ap_get_core_module_config(r->server->module_config);
    const core_dir_config *dir = rules_of_decoding(r);
    unsigned int flags = AP_NORMALIZE_DECODE_UNRESERVED | (server->merge_slashes ? AP_NORMALIZE_MERGE_SLASHES : 0);
    unsigned int unescape = AP_UNESCAPE_URL_KEEP_UNRESERVED;
    char *path;

    if (strncmp(raw, r->uri, length) == 0 && r->uri[length] == '\0' && memchr(raw, '%', length) == NULL) {
        return 1;
    }
    if (keeps_slashes(r)) {
        unescape |= AP_UNESCAPE_URL_KEEP_SLASHES;
    }
    if (has_dot_segment(raw, length)) {
        return 0;
    }
    path = apr_pstrmemdup(r->pool, raw, length);
    if (!ap_normalize_path(path, flags) || ap_unescape_url_ex(path, unescape) != OK) {
        return 0;
    }
    if (dir->allow_encoded_slashes && dir->decode_encoded_slashes && !ap_normalize_path(path, flags)) {
        return 0;
    }
    return strcmp(path, r->uri) == 0;
}

/* Anything that could end the request line or mean something else to a parser of URLs. */
static int needs_escape(unsigned char c)
{
    return c <= 0x20 || c >= 0x7f || c == '#' || c == '%' || c == '?' || c == '"' || c == '<' || c == '>' || c == '\\'
           || c == '^' || c == '`' || c == '{' || c == '|' || c == '}';
}

static char *escape(apr_pool_t *pool, const char *path, int slashes_are_escaped)
{
    static const char digits[] = "0123456789abcdef";
    char *start = apr_palloc(pool, 3 * strlen(path) + 1);
    char *to = start;

    for (; *path != '\0'; path++) {
        unsigned char c = (unsigned char)*path;

        if (needs_escape(c) && !(slashes_are_escaped && strncasecmp(path, "%2f", 3) == 0)) {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        }
        else {
            *to++ = *path;
        }
    }
    *to = '\0';
    return start;
}

/* Query strings come from the request line or a rewrite rule: bytes that would break the line are escaped. */
static const char *safe_query(apr_pool_t *pool, const char *query)
{
    const unsigned char *at;

    for (at = (const unsigned char *)query; *at > 0x20 && *at != 0x7f && *at != '#'; at++) {
    }
    if (*at == '\0') {
        return query;
    }
    {
        char *copy = apr_palloc(pool, 3 * strlen(query) + 1), *to = copy;

        for (at = (const unsigned char *)query; *at != '\0'; at++) {
            if (*at > 0x20 && *at != 0x7f && *at != '#') {
                *to++ = (char)*at;
            }
            else {
                to += apr_snprintf(to, 4, "%%%02x", *at);
            }
        }
        *to = '\0';
        return copy;
    }
}

static int same_query(const char *raw, const char *args)
{
    apr_size_t length;

    if (*raw != '?') {
        return args == NULL || *args == '\0';
    }
    length = strcspn(raw + 1, "#");
    return args != NULL ? strncmp(raw + 1, args, length) == 0 && args[length] == '\0' : length == 0;
}

const char *psg_request_target(request_rec *r, int keep_original)
{
    const char *raw = original_target(r);
    apr_size_t path_length = strcspn(raw, "?#");
    const char *query = r->args;
    char *path;

    if (keep_original ? !has_dot_segment(raw, path_length)
                      : means(r, raw, path_length) && same_query(raw + path_length, query)) {
        const char *fragment = strchr(raw, '#');
        return safe_query(r->pool, fragment == NULL ? raw : apr_pstrmemdup(r->pool, raw, (apr_size_t)(fragment - raw)));
    }
    if (means(r, raw, path_length)) {
        path = (char *)safe_query(r->pool, apr_pstrmemdup(r->pool, raw, path_length));
    }
    else {
        path = escape(r->pool, r->uri, keeps_slashes(r));
    }
    return query == NULL ? path : apr_pstrcat(r->pool, path, "?", safe_query(r->pool, query), NULL);
}
