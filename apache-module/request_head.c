/*
 * The header block of a REQUEST: request line and fields as the app shall get them, written from Apache's parsed tables.
 * Hop-by-hop fields go, forwarding fields are ours, nothing that a client sends can pass for them. Called by handler.c.
 */
#include "mod_passenger.h"

#include "apr_lib.h"
#include "http_ssl.h"
#include "http_vhost.h"

/* What becomes of a field by its name; names that are not here are passed on. */
enum fate {
    PASS,
    DROP,           /* hop-by-hop, or written by the core */
    REPLACED,       /* ours takes its place */
    ADDRESS,        /* the client's address, however it was filled in */
    IF_TRUSTED,     /* ours, unless mod_remoteip trusts the peer that set it */
    PROTECTED       /* passed on even when Connection names it */
};

static const struct {
    unsigned char length;
    const char *name;
    enum fate fate;
} fates[] = {
    {2, "te", DROP},
    {4, "host", REPLACED},
    {5, "proxy", DROP},
    {6, "expect", DROP},
    {6, "cookie", PROTECTED},
    {7, "upgrade", DROP},
    {7, "trailer", DROP},
    {9, "forwarded", DROP},
    {9, "x-real-ip", ADDRESS},
    {10, "connection", DROP},
    {10, "keep-alive", DROP},
    {11, "remote-user", DROP},
    {12, "content-type", PROTECTED},
    {13, "authorization", PROTECTED},
    {14, "content-length", DROP},
    {15, "x-forwarded-for", REPLACED},
    {16, "x-forwarded-host", IF_TRUSTED},
    {16, "x-forwarded-port", IF_TRUSTED},
    {16, "x-forwarded-user", DROP},
    {16, "content-encoding", PROTECTED},
    {16, "proxy-connection", DROP},
    {17, "x-forwarded-proto", IF_TRUSTED},
    {17, "transfer-encoding", DROP},
    {18, "proxy-authenticate", DROP},
    {19, "proxy-authorization", DROP},
};

static enum fate fate_of(const char *name, apr_size_t length)
{
    apr_size_t i;

    for (i = 0; i < sizeof fates / sizeof fates[0] && fates[i].length <= length; i++) {
        if (fates[i].length == length && (fates[i].name[0] ^ name[0]) % 32 == 0 && strcasecmp(fates[i].name, name) == 0) {
            return fates[i].fate;
        }
    }
    return length > 6 && strncasecmp(name, "proxy-", 6) == 0 ? DROP : PASS;
}

/* Letters, digits and '-': an underscore or a dot makes a twin of another name somewhere behind us. */
static int is_plain_name(const char *name, apr_size_t *length)
{
    const char *at;

    for (at = name; *at != '\0'; at++) {
        if (!apr_isalnum(*at) && *at != '-') {
            return 0;
        }
    }
    *length = (apr_size_t)(at - name);
    return *length > 0;
}

/*
 * Nothing that ends a line. Apache refuses such values from clients in its strict mode; in the unsafe one, and from
 * other modules (RequestHeader with unescape), they come here.
 */
static int is_field_value(const char *text)
{
    const unsigned char *at;

    for (at = (const unsigned char *)text; *at != '\0'; at++) {
        if ((*at < 0x20 && *at != '\t') || *at == 0x7f) {
            return 0;
        }
    }
    return 1;
}

/* ---- facts of the request ---- */

static int is_tls(request_rec *r, int trusted)
{
    const char *variable = apr_table_get(r->subprocess_env, "HTTPS");
    const char *forwarded = trusted ? apr_table_get(r->headers_in, "X-Forwarded-Proto") : NULL;

    return (forwarded != NULL && strcasecmp(forwarded, "https") == 0) || (variable != NULL && strcasecmp(variable, "on") == 0) || ap_ssl_conn_is_ssl(r->connection);
}

/*
 * mod_remoteip has taken the client's address from a field of a proxy that it trusts: then it knows no port. From the PROXY
 * protocol it knows one, and that speaks for the address alone: the fields are the client's own.
 */
static int peer_is_trusted(request_rec *r)
{
    return r->useragent_addr != r->connection->client_addr && r->useragent_ip != NULL && r->useragent_addr->port == 0
           && strcmp(r->useragent_ip, r->connection->client_ip) != 0;
}

/* Upgrades that are between the client and Apache. */
static int is_ours(const char *protocol, apr_size_t length)
{
    return (length == 3 && strncasecmp(protocol, "h2c", 3) == 0) || (length == 2 && strncasecmp(protocol, "h2", 2) == 0)
           || (length >= 4 && strncasecmp(protocol, "TLS/", 4) == 0);
}

/* One protocol: a token, perhaps with a version behind a slash. */
static int is_protocol(const char *text, apr_size_t length)
{
    const char *slash = memchr(text, '/', length);
    apr_size_t name = slash == NULL ? length : (apr_size_t)(slash - text);

    return psg_is_token(text, name) && (slash == NULL || psg_is_token(slash + 1, length - name - 1));
}

/* The protocols of the field that an app may be asked for, never longer than the field; NULL: none, or it is no list. */
static const char *asked_protocols(apr_pool_t *pool, const char *field)
{
    char *protocols = apr_palloc(pool, strlen(field) + 1), *end = protocols;

    for (field += strspn(field, " \t,"); *field != '\0'; field += strspn(field, " \t,")) {
        apr_size_t length = strcspn(field, " \t,");

        if (!is_protocol(field, length)) {
            return NULL;
        }
        if (!is_ours(field, length)) {
            if (end > protocols) {
                *end++ = ',';
            }
            memcpy(end, field, length);
            end += length;
        }
        field += length;
    }
    *end = '\0';
    return end > protocols ? protocols : NULL;
}

/* Only where HTTP/1.1 knows upgrades, never with a body. NULL: an ordinary request. */
static const char *upgrade_of(request_rec *r, const char *connection, int has_body)
{
    const char *field = apr_table_get(r->headers_in, "Upgrade");

    if (connection == NULL || field == NULL || has_body || r->method_number != M_GET || r->header_only
        || r->proto_num != HTTP_VERSION(1, 1) || r->connection->master != NULL || r->main != NULL
        || !ap_find_token(r->pool, connection, "upgrade")) {
        return NULL;
    }
    return asked_protocols(r->pool, field);
}

/* The host that Apache routed by: of an absolute URI before the field. */
static const char *host_of(request_rec *r)
{
    const char *field = apr_table_get(r->headers_in, "Host");

    if (r->parsed_uri.hostname != NULL && r->parsed_uri.hostinfo != NULL && r->main == NULL && r->prev == NULL) {
        const char *host = strchr(r->parsed_uri.hostinfo, '@');
        return host == NULL ? r->parsed_uri.hostinfo : host + 1;
    }
    return field != NULL && field[0] != '\0' && is_field_value(field) ? field : ap_get_server_name_for_url(r);
}

/* A sub-request has no body, nor has the request for an ErrorDocument; a rewritten request has its original's. */
static int may_have_body(request_rec *r)
{
    request_rec *earlier;

    for (earlier = r->prev; earlier != NULL; earlier = earlier->prev) {
        if (earlier->status != HTTP_OK) {
            return 0;
        }
    }
    return r->main == NULL;
}

int psg_request_has_body(request_rec *r)
{
    return may_have_body(r) && ap_request_has_body(r);
}

static void body_facts(request_rec *r, psg_request_head *head)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    const char *coding = apr_table_get(r->headers_in, "Transfer-Encoding");
    apr_off_t number;

    if (!head->has_body) {
        head->flags |= PSG_REQUEST_NO_BODY;
    }
    /* A filter of the administrator (inflate) may change the length. */
    if (length != NULL && coding == NULL && ap_parse_strict_length(&number, length) && number >= 0
        && (head->has_body ? r->input_filters == r->proto_input_filters : number == 0)) {
        head->flags |= PSG_REQUEST_LENGTH_KNOWN;
        head->content_length = (apr_uint64_t)number;
    }
}

/* ---- writing ---- */

typedef struct {
    request_rec *r;
    char *at;
    const char *connection;    /* the client's Connection field */
    int trusted;
    int has_proto, has_host, has_port, has_address;
} writer;

static void put(writer *to, const char *text, apr_size_t length)
{
    memcpy(to->at, text, length);
    to->at += length;
}

static void put_field(writer *to, const char *name, const char *value)
{
    put(to, name, strlen(name));
    put(to, ": ", 2);
    put(to, value, strlen(value));
    put(to, "\r\n", 2);
}

static void note_trusted(writer *to, const char *name)
{
    to->has_proto |= strcasecmp(name, "X-Forwarded-Proto") == 0;
    to->has_host |= strcasecmp(name, "X-Forwarded-Host") == 0;
    to->has_port |= strcasecmp(name, "X-Forwarded-Port") == 0;
}

static void put_client_field(writer *to, const char *name, const char *value)
{
    apr_size_t length;
    enum fate fate;

    if (!is_plain_name(name, &length) || !is_field_value(value)) {
        return;
    }
    fate = fate_of(name, length);
    if (fate == ADDRESS) {
        to->has_address = 1;
        return;
    }
    if (fate == DROP || fate == REPLACED || (fate == IF_TRUSTED && !to->trusted)) {
        return;
    }
    if (fate == PASS && to->connection != NULL && ap_find_token(to->r->pool, to->connection, name)) {
        return;
    }
    if (fate == IF_TRUSTED) {
        note_trusted(to, name);
    }
    put(to, name, length);
    put(to, ": ", 2);
    put(to, value, strlen(value));
    put(to, "\r\n", 2);
}

static void put_forwarded_for(writer *to)
{
    const char *earlier = apr_table_get(to->r->headers_in, "X-Forwarded-For");

    put(to, "X-Forwarded-For: ", 17);
    if (earlier != NULL && earlier[0] != '\0' && is_field_value(earlier)) {
        put(to, earlier, strlen(earlier));
        put(to, ", ", 2);
    }
    put(to, to->r->useragent_ip, strlen(to->r->useragent_ip));
    put(to, "\r\n", 2);
}

static void put_port(writer *to)
{
    to->at += apr_snprintf(to->at, 32, "X-Forwarded-Port: %u\r\n", (unsigned)ap_get_server_port(to->r));
}

static apr_size_t room_for(const apr_array_header_t *fields, const char *target, const char *host, request_rec *r)
{
    const apr_table_entry_t *entries = (const apr_table_entry_t *)fields->elts;
    apr_size_t room = 512 + strlen(r->method) + strlen(target) + 2 * strlen(host) + 2 * strlen(r->useragent_ip);
    int i;

    for (i = 0; i < fields->nelts; i++) {
        room += strlen(entries[i].key) + strlen(entries[i].val) + 4;
    }
    return room + (r->user == NULL ? 0 : strlen(r->user));
}

static void put_request_line(writer *to, const char *target)
{
    put(to, to->r->method, strlen(to->r->method));
    put(to, " ", 1);
    put(to, target, strlen(target));
    put(to, " HTTP/1.1\r\n", 11);
}

void psg_request_head_build(request_rec *r, const psg_app *app, psg_request_head *head)
{
    const apr_array_header_t *fields = apr_table_elts(r->headers_in);
    const apr_table_entry_t *entries = (const apr_table_entry_t *)fields->elts;
    const char *target = psg_request_target(r, psg_is_on(app->conf, PSG_ID_ALLOW_ENCODED_SLASHES, 0));
    const char *host = host_of(r);
    writer to = {.r = r, .connection = apr_table_get(r->headers_in, "Connection"), .trusted = peer_is_trusted(r)};
    const char *start = to.at = apr_palloc(r->pool, room_for(fields, target, host, r));
    int tls = is_tls(r, to.trusted), i;
    const char *upgrade;

    body_facts(r, head);
    upgrade = upgrade_of(r, to.connection, head->has_body);
    if (upgrade != NULL) {
        head->flags &= (unsigned char)~PSG_REQUEST_NO_BODY;  /* the tunnel's bytes are our side's body */
    }
    put_request_line(&to, target);
    put_field(&to, "Host", host);
    for (i = 0; i < fields->nelts; i++) {
        put_client_field(&to, entries[i].key, entries[i].val);
    }
    put_forwarded_for(&to);
    if (to.has_address) {
        put_field(&to, "X-Real-IP", r->useragent_ip);
    }
    if (!to.has_proto) {
        put_field(&to, "X-Forwarded-Proto", tls ? "https" : "http");
    }
    if (!to.has_host) {
        put_field(&to, "X-Forwarded-Host", host);
    }
    if (!to.has_port) {
        put_port(&to);
    }
    if (r->user != NULL && is_field_value(r->user)) {
        put_field(&to, "X-Forwarded-User", r->user);
    }
    if (upgrade != NULL) {
        put_field(&to, "Connection", "Upgrade");
        put_field(&to, "Upgrade", upgrade);
    }
    head->bytes = start;
    head->length = (apr_size_t)(to.at - start);
    head->flags |= (tls ? PSG_REQUEST_TLS : 0) | (upgrade != NULL ? PSG_REQUEST_UPGRADE : 0)
                   | (r->header_only ? PSG_REQUEST_HEAD_METHOD : 0);
    if (r->method_number == M_GET || r->method_number == M_OPTIONS || r->method_number == M_TRACE) {
        head->flags |= PSG_REQUEST_REPLAYABLE;
    }
}
