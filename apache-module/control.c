/*
 * What Apache's parent knows about its instance, and its end of the control socket: the CONFIG record out (config_record.c), STARTED and
 * FAILED in (records: core/supervisor/messages.ts). The state lives in retained data, so that it survives
 * reloads and the unloading of this module. Runs in Apache's parent alone.
 */
#include "mod_passenger.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define RETAINED_KEY "passenger-ts"
#define SEND_LIMIT_MS 5000
#define SMALL_RECORD 4096

enum { KIND_STARTED = 16, KIND_FAILED = 17 };

static psg_runtime *runtime;

psg_runtime *psg_the_runtime(void)
{
    return runtime;
}

static int cannot_send(server_rec *s, const char *why)
{
    PSG_LOG_SERVER(APLOG_ERR, 0, s, "PSG1005", "cannot send the configuration to the supervisor why=\"%s\"", why);
    return 0;
}

/* ---- what is known about the instance ---- */

static void replace_text(char **place, const char *text)
{
    free(*place);
    *place = strdup(text);
}

static void parse_hash(unsigned char to[8])
{
    int i;

    for (i = 0; i < 8; i++) {
        const char digits[3] = {PSG_TABLE_HASH[2 * i], PSG_TABLE_HASH[2 * i + 1], '\0'};
        to[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
}

static int has_supervisor(const char *root, apr_pool_t *pool)
{
    return root != NULL && access(apr_pstrcat(pool, root, "/dist/core/supervisor.js", NULL), F_OK) == 0;
}

/* An existing configuration names Phusion Passenger's files here; then our own place is right. */
static void choose_root(apr_pool_t *ptemp, server_rec *s)
{
    const psg_conf *conf = psg_server_settings(s);
    const char *root = conf->value[PSG_ID_ROOT];

    if (!has_supervisor(PSG_DEFAULT_ROOT, ptemp) && !has_supervisor(root, ptemp)) {
        PSG_LOG_SERVER(APLOG_ERR, 0, s, "PSG1021", "installation is incomplete, apps answer 503 missing=%s/dist/core/supervisor.js", root == NULL ? PSG_DEFAULT_ROOT : root);
    } else if (root != NULL && !has_supervisor(root, ptemp)) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "PassengerRoot %s holds no Passenger TS, using %s", root, PSG_DEFAULT_ROOT);
        root = NULL;
    }
    replace_text(&runtime->passenger_root, root == NULL ? PSG_DEFAULT_ROOT : root);
    replace_text(&runtime->core_nodejs, conf->value[PSG_ID_CORE_NODEJS] == NULL ? PSG_DEFAULT_NODE : conf->value[PSG_ID_CORE_NODEJS]);
}

static int choose_instance_dir(server_rec *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    const char *registry = psg_server_settings(s)->value[PSG_ID_INSTANCE_REGISTRY_DIR];
    unsigned char random[7];
    char name[8];
    int i;

    if (registry == NULL) {
        registry = geteuid() == 0 ? "/run/passenger" : getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    }
    if (apr_generate_random_bytes(random, sizeof random) != APR_SUCCESS
        || apr_generate_random_bytes(runtime->secret, sizeof runtime->secret) != APR_SUCCESS) {
        return 0;
    }
    for (i = 0; i < 7; i++) {
        name[i] = letters[random[i] % (sizeof letters - 1)];
    }
    name[7] = '\0';
    if (snprintf(runtime->instance_dir, PSG_PATH_SIZE, "%s/passenger.%s", registry, name) >= PSG_PATH_SIZE
        || snprintf(runtime->socket_path, PSG_PATH_SIZE, "%s/core.d/core.sock", runtime->instance_dir) >= PSG_PATH_SIZE) {
        PSG_LOG_SERVER(APLOG_ERR, 0, s, "PSG1018", "path of the runtime directory is too long for a socket path=%s", registry);
        runtime->socket_path[0] = '\0';
        return 0;
    }
    return 1;
}

int psg_runtime_prepare(apr_pool_t *pconf, apr_pool_t *ptemp, server_rec *s)
{
    runtime = ap_retained_data_get(RETAINED_KEY);
    if (runtime == NULL) {
        runtime = ap_retained_data_create(RETAINED_KEY, sizeof *runtime);
        runtime->control_fd = -1;
        runtime->error_log_fd = -1;
    }
    if (runtime->socket_path[0] == '\0' && !choose_instance_dir(s)) {
        return 0;
    }
    runtime->apache_pid = getpid();
    runtime->generation++;
    parse_hash(runtime->table_hash);
    choose_root(ptemp, s);
    return psg_config_record_build(runtime, ptemp, s) || cannot_send(s, "size");
}

/* ---- the socket ---- */

/* The first byte takes the descriptor of the error log with it. */
static ssize_t send_part(size_t sent)
{
    struct iovec rest = {runtime->config_record + sent, runtime->config_length - sent};
    struct msghdr message = {.msg_iov = &rest, .msg_iovlen = 1};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;

    if (sent == 0 && runtime->error_log_fd >= 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &runtime->error_log_fd, sizeof(int));
    }
    return sendmsg(runtime->control_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int psg_control_send(server_rec *s)
{
    size_t sent = 0;

    if (runtime->control_fd < 0 || runtime->config_record == NULL) {
        return 0;
    }
    while (sent < runtime->config_length) {
        struct pollfd wait = {.fd = runtime->control_fd, .events = POLLOUT};
        ssize_t part = send_part(sent);

        if (part > 0) {
            sent += (size_t)part;
        }
        else if (errno != EINTR && (errno != EAGAIN || poll(&wait, 1, SEND_LIMIT_MS) <= 0)) {
            return cannot_send(s, strerror(errno));
        }
    }
    return 1;
}

/* Text of a field, printable on one line. */
static const char *field_text(apr_pool_t *pool, const unsigned char *bytes, size_t length)
{
    return ap_escape_logitem(pool, apr_pstrmemdup(pool, (const char *)bytes, length));
}

static void log_failed(const unsigned char *payload, size_t length, server_rec *s)
{
    const char *code = "", *sentence = "";
    apr_pool_t *pool;

    apr_pool_create(&pool, s->process->pool);
    while (length >= 8) {
        size_t field = psg_get_u32(payload + 4);

        if (field > length - 8) {
            break;
        }
        *(payload[0] == 1 ? &code : &sentence) = field_text(pool, payload + 8, field);
        payload += 8 + field;
        length -= 8 + field;
    }
    PSG_LOG_SERVER(APLOG_ERR, 0, s, "PSG1004", "core cannot start, apps answer 503 code=%s why=\"%s\"", code, sentence);
    apr_pool_destroy(pool);
}

/* One record, or 0: nothing there within the time, or the end. Records of the supervisor are small. */
static int receive(unsigned char *bytes, int wait_ms, server_rec *s)
{
    struct pollfd wait = {.fd = runtime->control_fd, .events = POLLIN};
    size_t length;

    if (runtime->control_fd < 0 || poll(&wait, 1, wait_ms) <= 0
        || recv(runtime->control_fd, bytes, 8, MSG_WAITALL) != 8) {
        return 0;
    }
    length = psg_get_u32(bytes + 4);
    if (length > SMALL_RECORD - 8 || (length > 0 && recv(runtime->control_fd, bytes + 8, length, MSG_WAITALL) != (ssize_t)length)) {
        return 0;
    }
    if (bytes[0] == KIND_FAILED) {
        log_failed(bytes + 8, length, s);
    }
    return bytes[0];
}

void psg_control_read(server_rec *s)
{
    unsigned char bytes[SMALL_RECORD];

    while (receive(bytes, 0, s) != 0) {
    }
}

void psg_control_await_start(server_rec *s, int seconds)
{
    apr_time_t deadline = psg_now() + apr_time_from_sec(seconds);
    unsigned char bytes[SMALL_RECORD];

    while (psg_now() < deadline) {
        int kind = receive(bytes, (int)((deadline - psg_now()) / 1000) + 1, s);

        if (kind == KIND_STARTED || kind == KIND_FAILED) {
            return;
        }
        if (kind == 0) {
            break;
        }
    }
    PSG_LOG_SERVER(APLOG_ERR, 0, s, "PSG1003", "core did not report that it serves, apps answer 503 until it does limit=%ds", seconds);
}
