/*
 * Is this request for an app, and for which: base URI, app root, detection, files that stay with Apache, page cache.
 * Decides once for each request, in fixups (in map_to_storage with PassengerHighPerformance), and marks the request by
 * its handler name, so that any other module that sets a handler later wins. Opens no connection.
 */
#include "mod_passenger.h"

#include <sys/stat.h>

static volatile apr_uint32_t foreign_noticed;

/* ---- which app ---- */

/* The longest base URI that the path begins with, on whole segments; "/" when there is none. */
static const char *base_uri_of(request_rec *r, const psg_conf *conf)
{
    const char *line = conf->value[PSG_ID_BASE_URI];
    const char *best = "/";
    apr_size_t best_length = 0;

    while (line != NULL) {
        const char *end = strchr(line, '\n');
        apr_size_t length = end == NULL ? strlen(line) : (apr_size_t)(end - line);

        if (length > 1 && length > best_length && strncmp(r->uri, line, length) == 0
            && (r->uri[length] == '/' || r->uri[length] == '\0')) {
            best = apr_pstrmemdup(r->pool, line, length);
            best_length = length;
        }
        line = end == NULL ? NULL : end + 1;
    }
    return best;
}

static const char *parent_of(apr_pool_t *pool, const char *path)
{
    apr_size_t length = strlen(path);

    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    while (length > 1 && path[length - 1] != '/') {
        length--;
    }
    while (length > 1 && path[length - 1] == '/') {
        length--;
    }
    return apr_pstrmemdup(pool, path, length);
}

static const char *root_of(request_rec *r, const psg_conf *conf, const char *base_uri, long throttle)
{
    if (conf->value[PSG_ID_APP_ROOT] != NULL) {
        return conf->value[PSG_ID_APP_ROOT];
    }
    if (base_uri[1] == '\0') {
        return parent_of(r->pool, ap_document_root(r));
    }
    return psg_root_of(r->pool, apr_pstrcat(r->pool, ap_document_root(r), base_uri, NULL), r->request_time, throttle);
}

static int cannot_examine(request_rec *r, const char *root)
{
    PSG_LOG_LIMITED(APLOG_ERR, APR_EACCES, r, "PSG1010", "the app directory cannot be examined path=%s", root);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int is_missing(request_rec *r, const char *root)
{
    PSG_LOG_LIMITED(APLOG_ERR, 0, r, "PSG1015", "the configured app root is not a directory path=%s", root);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static int is_foreign(request_rec *r, const char *root)
{
    if (__sync_bool_compare_and_swap(&foreign_noticed, 0, 1)) {
        ap_log_rerror(APLOG_MARK, APLOG_NOTICE, 0, r, "Ruby and Python apps are not supported; left to Apache: path=%s", root);
    }
    return DECLINED;
}

/* OK, DECLINED, or the status of an error. */
static int find_app(request_rec *r, const psg_conf *conf, psg_app *app)
{
    long throttle = psg_number(psg_server_settings(ap_server_conf), PSG_ID_STAT_THROTTLE_RATE, 10);
    int named = conf->value[PSG_ID_APP_TYPE] != NULL || conf->value[PSG_ID_APP_START_COMMAND] != NULL;
    enum psg_probe found;

    app->conf = conf;
    app->document_root = ap_document_root(r);
    app->base_uri = base_uri_of(r, conf);
    app->root = root_of(r, conf, app->base_uri, throttle);
    if (app->root == NULL || app->root[0] != '/') {
        return DECLINED;
    }
    found = psg_detect(app->root, r->request_time, throttle, &app->detection);
    if (named || found == PSG_PROBE_FOUND) {
        if (found != PSG_PROBE_FOUND) {
            app->detection = (psg_detection){"", ""};
        }
        return OK;
    }
    switch (found) {
    case PSG_PROBE_DENIED:
        return cannot_examine(r, app->root);
    case PSG_PROBE_MISSING:
        return conf->value[PSG_ID_APP_ROOT] != NULL ? is_missing(r, app->root) : DECLINED;
    case PSG_PROBE_FOREIGN:
        return is_foreign(r, app->root);
    default:
        return DECLINED;
    }
}

/* ---- files that stay with Apache ---- */

static int is_file(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* What has to be put behind path and URI to get a page-cache file; NULL when there is none. */
static const char *page_cache_suffix(request_rec *r, apr_filetype_e type)
{
    apr_size_t length = strlen(r->filename);
    const char *suffix;

    if (r->method_number != M_GET || (r->path_info != NULL && r->path_info[0] != '\0') || length == 0) {
        return NULL;
    }
    if (r->uri[strlen(r->uri) - 1] == '/') {
        suffix = "index.html";
        if (type != APR_DIR) {
            return NULL;
        }
    }
    else {
        suffix = ".html";
    }
    while (suffix[0] == '.' && length > 1 && r->filename[length - 1] == '/') {
        length--;
    }
    if (suffix[0] != '.' && r->filename[length - 1] != '/') {
        return is_file(apr_pstrcat(r->pool, r->filename, "/", suffix, NULL)) ? suffix : NULL;
    }
    return is_file(apr_pstrcat(r->pool, apr_pstrmemdup(r->pool, r->filename, length), suffix, NULL)) ? suffix : NULL;
}

/* Serves the file as if it had been asked for, with its own access rules. OK: done; DECLINED: not possible. */
static int serve_page_cache(request_rec *r, const char *suffix)
{
    const char *uri = ap_os_escape_path(r->pool, apr_pstrcat(r->pool, r->uri, suffix, NULL), 1);
    request_rec *file = ap_sub_req_lookup_uri(uri, r, r->output_filters);

    if (file->status == HTTP_OK && file->finfo.filetype == APR_REG) {
        ap_internal_fast_redirect(file, r);
        return OK;
    }
    if (file->status == HTTP_UNAUTHORIZED || file->status == HTTP_FORBIDDEN) {
        return file->status;
    }
    ap_destroy_sub_req(file);
    return DECLINED;
}

/* ---- the decision ---- */

static int may_be_ours(request_rec *r, const psg_conf *conf)
{
    return psg_is_on(conf, PSG_ID_ENABLED, 1) && r->uri != NULL && r->uri[0] == '/' && r->filename != NULL
           && r->method_number != M_CONNECT && r->proxyreq == PROXYREQ_NONE && strncmp(r->filename, "proxy:", 6) != 0;
}

/* What other modules derived from a name that is no file must not become part of the app's answer. */
static void claim(request_rec *r, psg_app *app)
{
    ap_set_module_config(r->request_config, &passenger_module, app);
    r->handler = PSG_HANDLER;
    r->content_encoding = NULL;
    r->content_languages = NULL;
    if (r->content_type != NULL) {
        ap_set_content_type(r, NULL);
    }
}

int psg_map_app(request_rec *r, const psg_app **app)
{
    *app = ap_get_module_config(r->request_config, &passenger_module);
    return *app == NULL ? DECLINED : OK;
}

/* DECLINED lets Apache walk the directories, which is always right; only a sure app request is claimed here. */
int psg_map_high_performance(request_rec *r)
{
    const psg_conf *conf = ap_get_module_config(r->per_dir_config, &passenger_module);
    psg_app app, *kept;
    struct stat info;
    int there;

    if (!psg_is_on(conf, PSG_ID_HIGH_PERFORMANCE, 0) || r->handler != NULL || !may_be_ours(r, conf)) {
        return DECLINED;
    }
    there = stat(r->filename, &info) == 0;
    if ((there && !S_ISDIR(info.st_mode)) || find_app(r, conf, &app) != OK
        || page_cache_suffix(r, there ? APR_DIR : APR_NOFILE) != NULL) {
        return DECLINED;
    }
    kept = apr_pmemdup(r->pool, &app, sizeof app);
    claim(r, kept);
    return OK;
}

int psg_map_fixups(request_rec *r)
{
    const psg_conf *conf = ap_get_module_config(r->per_dir_config, &passenger_module);
    const char *suffix;
    psg_app *app;
    int status;

    if (r->handler != NULL && strcmp(r->handler, DIR_MAGIC_TYPE) != 0) {
        return DECLINED;
    }
    if ((r->finfo.filetype != APR_NOFILE && r->finfo.filetype != APR_DIR) || !may_be_ours(r, conf)) {
        return DECLINED;
    }
    app = apr_palloc(r->pool, sizeof *app);
    status = find_app(r, conf, app);
    if (status != OK) {
        return psg_explain(r, status);
    }
    suffix = page_cache_suffix(r, r->finfo.filetype);
    if (suffix != NULL) {
        status = serve_page_cache(r, suffix);
        if (status != DECLINED) {
            return status;
        }
    }
    claim(r, app);
    return OK;
}

static int is_ours(request_rec *r)
{
    return r->handler != NULL && strcmp(r->handler, PSG_HANDLER) == 0;
}

/* Around mod_dir: a directory of an app gets neither a redirect to its slash nor an index. */
int psg_hide_directory(request_rec *r)
{
    if (r->finfo.filetype == APR_DIR && is_ours(r)) {
        r->finfo.filetype = APR_NOFILE;
        apr_table_setn(r->notes, "passenger-directory", "1");
    }
    return DECLINED;
}

int psg_show_directory(request_rec *r)
{
    if (is_ours(r) && apr_table_get(r->notes, "passenger-directory") != NULL) {
        r->finfo.filetype = APR_DIR;
    }
    return DECLINED;
}
