/*
 * Starts the supervisor, notices its death and starts it again: at most five times in ten seconds, then at each turn of
 * Apache's monitor (about ten seconds). Runs in Apache's parent alone.
 */
#include "mod_passenger.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "supervisor_flags.h"

#define START_BURST 5
/* Exit code of a supervisor that has sent FAILED (core/supervisor/README.md). */
#define EXIT_REFUSED 78
#define BURST_TIME apr_time_from_sec(10)
/* One text for both sides of the fork. */
#define CANNOT_START "PSG1001 cannot start the supervisor step=%s errno=%d program=%s"
#define CONTROL_FD 3
#define FIRST_START_SECONDS 15

static server_rec *main_server;
static apr_pool_t *generation_pool;

static int stopping(void)
{
    int state;

    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING;
}

/* ---- the child between fork and exec: async-signal-safe calls only ---- */

static void die_in_child(const char *step, const char *program)
{
    char text[PATH_MAX + 128];
    int length = snprintf(text, sizeof text - 1, CANNOT_START, step, errno, program);

    length = length < (int)sizeof text - 1 ? length : (int)sizeof text - 2;
    text[length++] = '\n';
    if (write(STDERR_FILENO, text, (size_t)length) < 0) {
        _exit(126);
    }
    _exit(127);
}

static void close_from(int first)
{
    int fd;

#ifdef SYS_close_range
    if (syscall(SYS_close_range, (unsigned)first, ~0u, 0u) == 0) {
        return;
    }
#endif
    for (fd = first; fd < 65536; fd++) {
        close(fd);
    }
}

/* Apache's handlers and its mask are not the supervisor's. */
static void reset_signals(void)
{
    sigset_t none;
    int number;

    for (number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become_supervisor(int control, pid_t apache, char *const *arguments, char *const *environment)
{
    int null = open("/dev/null", O_RDONLY);

    reset_signals();
    if (setsid() < 0) {
        die_in_child("setsid", arguments[0]);
    }
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
        die_in_child("descriptors", arguments[0]);
    }
    if (control == CONTROL_FD ? fcntl(control, F_SETFD, 0) < 0 : dup2(control, CONTROL_FD) < 0) {
        die_in_child("control socket", arguments[0]);
    }
    close_from(CONTROL_FD + 1);
    if (chdir("/") < 0) {
        die_in_child("chdir", arguments[0]);
    }
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || getppid() != apache) {
        die_in_child("parent", arguments[0]);
    }
    execve(arguments[0], arguments, environment);
    die_in_child("exec", arguments[0]);
}

/* ---- the parent ---- */

static char *with_name(apr_pool_t *pool, const char *name, const char *fallback)
{
    const char *value = getenv(name);

    value = value == NULL || value[0] == '\0' ? fallback : value;
    return value == NULL ? NULL : apr_pstrcat(pool, name, "=", value, NULL);
}

static char **environment_of(apr_pool_t *pool, const psg_runtime *runtime)
{
    char **environment = apr_pcalloc(pool, 6 * sizeof(char *));
    char *zone = with_name(pool, "TZ", NULL), *language = with_name(pool, "LANG", NULL);
    int count = 0;

    environment[count++] = with_name(pool, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    environment[count++] = apr_pstrcat(pool, "PASSENGER_ROOT=", runtime->passenger_root, NULL);
    environment[count++] = apr_pstrdup(pool, "UV_THREADPOOL_SIZE=1");
    if (zone != NULL) {
        environment[count++] = zone;
    }
    if (language != NULL) {
        environment[count++] = language;
    }
    return environment;
}

static char **arguments_of(apr_pool_t *pool, const psg_runtime *runtime)
{
    static const char *const flags[] = {PSG_SUPERVISOR_FLAGS NULL};
    apr_array_header_t *arguments = apr_array_make(pool, 8, sizeof(char *));
    int i;

    *(char **)apr_array_push(arguments) = runtime->core_nodejs;
    for (i = 0; flags[i] != NULL; i++) {
        *(const char **)apr_array_push(arguments) = flags[i];
    }
    *(char **)apr_array_push(arguments) = apr_pstrcat(pool, runtime->passenger_root, "/dist/core/supervisor.js", NULL);
    *(char **)apr_array_push(arguments) = NULL;
    return (char **)arguments->elts;
}

static void forget(psg_runtime *runtime)
{
    if (runtime->control_fd >= 0) {
        close(runtime->control_fd);
    }
    runtime->control_fd = -1;
    runtime->supervisor_pid = 0;
}

static void watch(psg_runtime *runtime);

static int start(psg_runtime *runtime, server_rec *s)
{
    apr_pool_t *pool;
    char **arguments, **environment;
    int pair[2];
    pid_t pid, apache = getpid();

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, CANNOT_START, "socketpair", errno, runtime->core_nodejs);
        return 0;
    }
    apr_pool_create(&pool, generation_pool);
    arguments = arguments_of(pool, runtime);
    environment = environment_of(pool, runtime);
    pid = fork();
    if (pid == 0) {
        become_supervisor(pair[1], apache, arguments, environment);
    }
    apr_pool_destroy(pool);
    close(pair[1]);
    if (pid < 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s, CANNOT_START, "fork", errno, runtime->core_nodejs);
        close(pair[0]);
        return 0;
    }
    runtime->supervisor_pid = pid;
    runtime->control_fd = pair[0];
    watch(runtime);
    return psg_control_send(s);
}

/* 1 when the limit of starts is not reached yet; counts this one. */
static int may_start(psg_runtime *runtime, server_rec *s)
{
    apr_time_t now = psg_now();
    apr_time_t *oldest = &runtime->recent_starts[runtime->starts % START_BURST];

    if (runtime->starts >= START_BURST && now - *oldest < BURST_TIME) {
        if (!runtime->waits_for_retry) {
            PSG_LOG_SERVER(APLOG_ERR, 0, s, "PSG1016", "supervisor ends again and again, next try in about ten seconds");
        }
        runtime->waits_for_retry = 1;
        return 0;
    }
    runtime->waits_for_retry = 0;
    *oldest = now;
    runtime->starts++;
    return 1;
}

static void on_death(int reason, void *data, int status)
{
    psg_runtime *runtime = data;

    if (reason != APR_OC_REASON_DEATH && reason != APR_OC_REASON_LOST) {
        return;
    }
    apr_proc_other_child_unregister(data);
    if (stopping()) {
        forget(runtime);
        return;
    }
    psg_control_read(main_server);
    forget(runtime);
    runtime->refused = status == EXIT_REFUSED;
    if (runtime->refused) {
        return;  /* it has said why; another try would say the same until the next reload */
    }
    PSG_LOG_SERVER(APLOG_WARNING, 0, main_server, "PSG1002", "supervisor ended, starting it again status=%d", status);
    if (may_start(runtime, main_server)) {
        start(runtime, main_server);
    }
}

static void watch(psg_runtime *runtime)
{
    apr_proc_t *process = apr_pcalloc(generation_pool, sizeof *process);

    process->pid = runtime->supervisor_pid;
    apr_proc_other_child_register(process, on_death, runtime, NULL, generation_pool);
}

/* A death between two generations is reaped by Apache without a word to us. */
static int is_alive(const psg_runtime *runtime)
{
    int status;

    return runtime->supervisor_pid > 0 && runtime->control_fd >= 0 && waitpid(runtime->supervisor_pid, &status, WNOHANG) == 0;
}

int psg_supervisor_ensure(psg_runtime *runtime, server_rec *s, apr_pool_t *pconf)
{
    main_server = s;
    generation_pool = pconf;
    if (is_alive(runtime)) {
        psg_control_read(s);
        if (psg_control_send(s)) {
            watch(runtime);
            return 1;
        }
        kill(runtime->supervisor_pid, SIGTERM);  /* our own child, not reaped yet */
    }
    forget(runtime);
    if (may_start(runtime, s) && start(runtime, s)) {
        psg_control_await_start(s, FIRST_START_SECONDS);
        return 1;
    }
    return 0;
}

/* Apache's parent calls this about every ten seconds. */
int psg_supervisor_monitor(apr_pool_t *pool, server_rec *s)
{
    psg_runtime *runtime = psg_the_runtime();

    if (runtime == NULL || runtime->apache_pid != getpid() || stopping()) {
        return DECLINED;
    }
    if (runtime->supervisor_pid > 0) {
        psg_control_read(s);
    }
    else if (main_server != NULL && !runtime->refused && may_start(runtime, s)) {
        start(runtime, s);
    }
    return DECLINED;
}
