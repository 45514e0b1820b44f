/*
 * Node's flags for the supervisor (core/supervisor/README.md): it allocates little, so its young generation stays small.
 * Used by core_process.c.
 */
#ifndef PSG_SUPERVISOR_FLAGS_H
#define PSG_SUPERVISOR_FLAGS_H

#define PSG_SUPERVISOR_FLAGS "--max-semi-space-size=1",

#endif
