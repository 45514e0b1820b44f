/*
 * The shim's one clock, see clock.h. Includes no httpd header and keeps no state.
 */
#include "clock.h"

#include <time.h>

apr_time_t psg_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (apr_time_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int psg_first_in_second(volatile apr_uint32_t *last_second)
{
    apr_uint32_t second = (apr_uint32_t)(psg_now() / 1000000);
    apr_uint32_t last = *last_second;

    return second != last && __sync_bool_compare_and_swap(last_second, last, second);
}
