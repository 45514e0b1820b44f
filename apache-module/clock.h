/*
 * The shim's one clock: monotonic, so that no limit moves when somebody sets the time. Not the time of day, which
 * Apache knows. Called by every file that measures a wait, and by PSG_LOG_LIMITED.
 */
#ifndef PSG_CLOCK_H
#define PSG_CLOCK_H

#include "apr_time.h"

/* Microseconds since some moment that is the same for all processes of the machine. */
apr_time_t psg_now(void);
/* 1 for the first caller in each second of this clock, 0 for the others; `last_second` is theirs in common, at first 0. */
int psg_first_in_second(volatile apr_uint32_t *last_second);

#endif
