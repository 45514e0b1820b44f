/*
 * The module record and the table of hooks; README.md gives the reason for each position. The name of this file is
 * what <IfModule mod_passenger.c> asks for, and passenger_module is what LoadModule names.
 */
#define PSG_DECLARES_MODULE
#include "mod_passenger.h"

#include <unistd.h>

#include "mpm_common.h"

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    psg_reset_config_notes(pconf);
    return OK;
}

/* Apache reads its configuration twice at start, and once more to check it: the supervisor belongs to the real pass. */
static int is_real_pass(void)
{
    return ap_state_query(AP_SQ_MAIN_STATE) != AP_SQ_MS_CREATE_PRE_CONFIG && ap_state_query(AP_SQ_RUN_MODE) == AP_SQ_RM_NORMAL;
}

/* A core that cannot start does not keep Apache from starting: static sites serve, apps answer 503. */
static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    ap_add_version_component(pconf, "Passenger_TS/" PSG_VERSION);
    if (!is_real_pass()) {
        return OK;
    }
    psg_log_config_notices(s);
    psg_share_init(pconf, s);
    psg_tunnel_configure();
    if (psg_runtime_prepare(pconf, ptemp, s)) {
        psg_supervisor_ensure(psg_the_runtime(), s, pconf);
    }
    return OK;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    psg_runtime *runtime = psg_the_runtime();

    psg_connect_child_init(pchild);
    psg_settings_child_init();
    psg_request_child_init();
    psg_tunnel_child_init(pchild, s);
    if (runtime != NULL && runtime->control_fd >= 0 && runtime->apache_pid != getpid()) {
        close(runtime->control_fd);
        runtime->control_fd = -1;
    }
}

static void register_hooks(apr_pool_t *pool)
{
    static const char *const rewrite[] = {"mod_rewrite.c", NULL};
    static const char *const dir[] = {"mod_dir.c", NULL};

    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_monitor(psg_supervisor_monitor, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_suspend_connection(psg_tunnel_suspended, NULL, NULL, APR_HOOK_REALLY_LAST);
    psg_relay_register_filter();
    ap_hook_map_to_storage(psg_map_high_performance, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_fixups(psg_map_fixups, rewrite, dir, APR_HOOK_FIRST);
    ap_hook_fixups(psg_hide_directory, NULL, dir, APR_HOOK_LAST);
    ap_hook_fixups(psg_show_directory, dir, NULL, APR_HOOK_LAST);
    ap_hook_handler(psg_handler_first, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_handler(psg_handler, NULL, NULL, APR_HOOK_LAST);
}

AP_DECLARE_MODULE(passenger) = {
    STANDARD20_MODULE_STUFF,
    psg_create_dir_config,
    psg_merge_dir_config,
    psg_create_server_config,
    NULL,
    psg_commands,
    register_hooks,
};
