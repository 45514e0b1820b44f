/*
 * What the files of the shim share: the state that outlives reloads, the configuration of a place, and the functions
 * that one file offers to the others. Lifetimes: psg_runtime lives as long as Apache's parent (retained data, inherited
 * by the children at fork); psg_conf as long as a generation (or the request, where .htaccess merges);
 * psg_app and psg_exchange as long as the request; psg_connection as long as the child wants to keep it.
 */
#ifndef MOD_PASSENGER_H
#define MOD_PASSENGER_H

#include "httpd.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"
#include "apr_buckets.h"
#include "apr_strings.h"

#include <sys/uio.h>

#include "clock.h"
#include "directives.gen.h"
#include "wire.h"

#define PSG_VERSION "0.1.0"
#define PSG_HANDLER "passenger-ts-app"

extern module AP_MODULE_DECLARE_DATA passenger_module __attribute__((visibility("default")));
#ifndef PSG_DECLARES_MODULE
APLOG_USE_MODULE(passenger);
#endif

/* A line of the log: number, constant sentence, fields. The number is greppable and stands in core/base/error-codes/shim.ts. */
#define PSG_LOG_SERVER(level, rv, s, code, ...) ap_log_error(APLOG_MARK, level, rv, s, code " " __VA_ARGS__)
/* Also keeps the number for the page that the client gets (error_text.c). */
#define PSG_LOG(level, rv, r, code, ...) \
    do { \
        apr_table_setn((r)->notes, PSG_ERROR_NOTE, code); \
        ap_log_rerror(APLOG_MARK, level, rv, r, code " " __VA_ARGS__); \
    } while (0)

/* The same for conditions that every request of a busy site may meet: one line a second for each place. */
#define PSG_LOG_LIMITED(level, rv, r, code, ...) \
    do { \
        static volatile apr_uint32_t last_second; \
        apr_table_setn((r)->notes, PSG_ERROR_NOTE, code); \
        if (psg_first_in_second(&last_second)) { \
            ap_log_rerror(APLOG_MARK, level, rv, r, code " " __VA_ARGS__); \
        } \
    } while (0)

/* Note of a request: number of what went wrong with it. */
#define PSG_ERROR_NOTE "passenger-error"
/* Returns `status`; gives the client a page that names the number. */
int psg_explain(request_rec *r, int status);

/* ---- config.c ---- */

enum psg_scope { PSG_SCOPE_SERVER, PSG_SCOPE_APP, PSG_SCOPE_REQUEST };
enum psg_kind {
    PSG_KIND_FLAG,
    PSG_KIND_INT,
    PSG_KIND_STRING,
    PSG_KIND_PATH,
    PSG_KIND_TOKEN,
    PSG_KIND_ATTRIBUTES,
    PSG_KIND_ENUM,
    PSG_KIND_SET,
    PSG_KIND_PAIR
};
enum psg_override { PSG_OVERRIDE_NONE, PSG_OVERRIDE_ANY, PSG_OVERRIDE_OPTIONS };
enum psg_status { PSG_STATUS_SUPPORTED, PSG_STATUS_PLANNED, PSG_STATUS_ALIAS, PSG_STATUS_IGNORED, PSG_STATUS_REFUSED };

typedef struct {
    int id;
    const char *name;
    enum psg_scope scope;
    enum psg_kind kind;
    long min;
    long max;
    int has_min;
    int has_max;
    const char *values;
    enum psg_override override;
    enum psg_status status;
    int alias_of;
    int privileged;
    const char *text;
} psg_directive;

extern const psg_directive psg_directives[PSG_DIRECTIVE_COUNT];
extern const command_rec psg_commands[];

/* Canonical texts of the explicitly set directives by row number; NULL: not set. A set holds one value a line. */
typedef struct {
    int count;
    const char *value[PSG_DIRECTIVE_COUNT];
} psg_conf;

/* `Name NUL value` of a privileged directive, for the supervisor. */
typedef struct {
    const char *name;
    const char *value;
} psg_privileged_value;

void *psg_create_dir_config(apr_pool_t *pool, char *dir);
void *psg_merge_dir_config(apr_pool_t *pool, void *base, void *add);
void *psg_create_server_config(apr_pool_t *pool, server_rec *s);
void psg_reset_config_notes(apr_pool_t *pconf);
void psg_log_config_notices(server_rec *s);
const apr_array_header_t *psg_privileged_values(void);
const psg_conf *psg_server_settings(server_rec *main_server);
int psg_is_on(const psg_conf *conf, int id, int fallback);
long psg_number(const psg_conf *conf, int id, long fallback);

/* ---- control.c, config_record.c, core_process.c ---- */

#define PSG_PATH_SIZE 104

typedef struct {
    pid_t apache_pid;
    pid_t supervisor_pid;   /* 0: none */
    int control_fd;         /* -1: none */
    apr_uint32_t generation;
    char instance_dir[PSG_PATH_SIZE];
    char socket_path[PSG_PATH_SIZE];
    unsigned char table_hash[8];
    unsigned char secret[32];
    unsigned char *config_record;  /* malloc'ed: sent again to each new supervisor of this generation */
    size_t config_length;
    int error_log_fd;       /* of this generation; -1 with syslog */
    char *passenger_root;   /* malloc'ed */
    char *core_nodejs;      /* malloc'ed */
    apr_time_t recent_starts[5];
    unsigned starts;
    int waits_for_retry;
    int refused;            /* the supervisor ended because it cannot work with this configuration */
} psg_runtime;

/* NULL until post_config has run. */
psg_runtime *psg_the_runtime(void);
int psg_runtime_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s);
/* 0: too large. */
int psg_config_record_build(psg_runtime *runtime, apr_pool_t *ptemp, server_rec *s);
int psg_control_send(server_rec *s);
void psg_control_await_start(server_rec *s, int seconds);
void psg_control_read(server_rec *s);
int psg_supervisor_ensure(psg_runtime *runtime, server_rec *s, apr_pool_t *pconf);
int psg_supervisor_monitor(apr_pool_t *pool, server_rec *s);

/* ---- share.c ---- */

void psg_share_init(apr_pool_t *pconf, server_rec *s);
/* 0: the app holds its share already. Given back by psg_share_give, at the latest with the request's pool. */
int psg_share_take(request_rec *r, const char *app_root);
void psg_share_give(request_rec *r);

/* ---- detect.c, map.c ---- */

typedef struct {
    const char *found;         /* kind of app; "" when only the configuration names it */
    const char *startup_file;
} psg_detection;

typedef struct {
    const psg_conf *conf;
    const char *root;
    const char *base_uri;
    const char *document_root;
    psg_detection detection;
} psg_app;

enum psg_probe { PSG_PROBE_FOUND, PSG_PROBE_NOTHING, PSG_PROBE_FOREIGN, PSG_PROBE_DENIED, PSG_PROBE_MISSING };

enum psg_probe psg_detect(const char *root, apr_time_t now, long throttle_seconds, psg_detection *detection);
/* Parent of `public_dir` after one level of symlink; NULL when there is no such directory. Cached like detection. */
const char *psg_root_of(apr_pool_t *pool, const char *public_dir, apr_time_t now, long throttle_seconds);

/* OK and *app filled: the request is for an app; DECLINED: it is Apache's; otherwise the status of an error. */
int psg_map_app(request_rec *r, const psg_app **app);
int psg_map_high_performance(request_rec *r);
int psg_map_fixups(request_rec *r);
int psg_hide_directory(request_rec *r);
int psg_show_directory(request_rec *r);

/* ---- settings.c, request_head.c ---- */

typedef struct {
    const unsigned char *bytes;
    apr_size_t length;
    apr_uint64_t hash;
} psg_block;

typedef struct {
    const char *bytes;
    apr_size_t length;
    apr_uint64_t content_length;
    unsigned char flags;       /* PSG_REQUEST_*, without SETTINGS_CACHED */
    int has_body;              /* set before the head is built: filters take away the fields that say so */
} psg_request_head;

void psg_settings_child_init(void);
void psg_settings_block(request_rec *r, const psg_app *app, psg_block *block);
void psg_request_head_build(request_rec *r, const psg_app *app, psg_request_head *head);
int psg_request_has_body(request_rec *r);
const char *psg_request_target(request_rec *r, int keep_original);

/* ---- connect.c ---- */

/* A whole frame of the largest DATA, and the head of an answer before it: a few bytes less would cost each frame a second read. */
#define PSG_READ_BUFFER (PSG_FRAME_HEADER_SIZE + PSG_MAX_BODY + 4096u)

typedef struct psg_connection {
    int fd;
    int fresh;                 /* HELLO has not been sent yet */
    int reused;
    unsigned known_count;
    apr_uint64_t known[PSG_MAX_SETTINGS_PER_CONNECTION];
    struct psg_connection *next;
    apr_time_t idle_since;     /* psg_now() when it was given back */
    apr_size_t start, end;     /* unread bytes in buffer */
    apr_size_t capacity;
    unsigned char *buffer;
} psg_connection;

void psg_connect_child_init(apr_pool_t *pchild);
/* NULL: no core within 5 s, errno says why. */
psg_connection *psg_connection_take(int only_fresh);
int psg_connection_knows(const psg_connection *connection, apr_uint64_t hash);
int psg_connection_learn(psg_connection *connection, apr_uint64_t hash);
/* Gives a connection back whose exchange has ended on both sides. */
void psg_connection_give(psg_connection *connection);
void psg_connection_close(psg_connection *connection);
/* Room for `length` more bytes behind `start`; 0 when there is no memory. */
int psg_connection_reserve(psg_connection *connection, apr_size_t length);

/* ---- handler.c, request_send.c, upload.c, client_watch.c, response.c, tunnel.c ---- */

enum psg_outcome {
    PSG_GOING_ON,
    PSG_COMPLETE,              /* END was passed to the client */
    PSG_STATUS,                /* nothing went to the client: answer with `status` */
    PSG_BROKEN,                /* the head went out, the rest will not come */
    PSG_CLIENT_GONE,
    PSG_TUNNEL,
    PSG_RETRY                  /* nothing was seen: may be sent again */
};

typedef struct {
    request_rec *r;
    const psg_app *app;
    psg_request_head head;
    psg_block settings;
    psg_connection *core;

    int client_fd;             /* -1: cannot be polled (HTTP/2) */
    int watch_client;          /* poll client_fd for its end */
    int client_pipelined;      /* bytes of a next request wait: only a FIN is worth waking up for */

    apr_bucket_brigade *body;  /* of the request, NULL without one */
    unsigned char frame[PSG_FRAME_HEADER_SIZE];
    struct iovec pending[3];   /* frame header, data of the first bucket of `body`, BODY_END: what is still to be written */
    int pending_count;
    int bucket_in_use;         /* the first bucket of `body` belongs to `pending` */
    int body_ended;            /* no more of the body will come: there is none, or BODY_END is written or pending */
    int side_open;             /* an upgrade was asked for: our side stays open for the tunnel */
    int body_ready;            /* the pump stopped for fairness, not for want of bytes */
    int body_status;           /* what to answer after an input filter failed, or 0 */
    apr_time_t body_activity;

    apr_size_t frame_needs;    /* bytes that the frame at the head of the buffer needs */
    int seen_frame;
    int head_passed;
    int core_is_slow;          /* the last wait brought nothing */
    int ended;                 /* END was seen */
    int status;
    apr_bucket_brigade *out;
    apr_size_t data_left;      /* rest of a DATA frame that is being passed on */
    apr_time_t last_activity;
} psg_exchange;

int psg_handler(request_rec *r);
int psg_handler_first(request_rec *r);

void psg_request_child_init(void);
/* request_send.c: takes a connection and writes REQUEST; 0: there is no core (logged). */
int psg_request_send(psg_exchange *exchange, int only_fresh);
/* Writes all of it, waiting at most until `deadline` (psg_now); 0 when that failed, with errno. Changes `vectors`. */
int psg_write_all(int fd, struct iovec *vectors, int count, apr_time_t deadline);
void psg_cancel(psg_exchange *exchange, enum psg_cancel_reason reason);

/* upload.c: makes exchange->body; before the head is built, which filters may still change. */
enum psg_outcome psg_upload_begin(psg_exchange *exchange);
/* Moves as much of the body as both ends take without waiting. */
enum psg_outcome psg_upload_pump(psg_exchange *exchange);
int psg_upload_pending(const psg_exchange *exchange);

/* client_watch.c */
int psg_client_descriptor(request_rec *r);
int psg_client_is_gone(psg_exchange *exchange);

/* response.c: passes on what the buffer holds. */
enum psg_outcome psg_response_take(psg_exchange *exchange);
void psg_response_break(psg_exchange *exchange);

/* tunnel.c: takes exchange->core over; SUSPENDED when the child's tunnel thread carries the tunnel. */
int psg_tunnel_run(psg_exchange *exchange);
int psg_tunnel_open(psg_exchange *exchange, psg_head *head);

/* tunnel_relay.c, tunnel_thread.c */
void psg_relay_register_filter(void);
void psg_tunnel_configure(void);
void psg_tunnel_child_init(apr_pool_t *pchild, server_rec *s);
void psg_tunnel_suspended(conn_rec *c, request_rec *r);

#endif
