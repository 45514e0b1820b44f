/*
 * Node's flags for the supervisor, word for word those of core/supervisor/README.md, which gives the reasons. Used by
 * core_process.c; a test compares the two.
 */
#ifndef PSG_SUPERVISOR_FLAGS_H
#define PSG_SUPERVISOR_FLAGS_H

#define PSG_SUPERVISOR_FLAGS \
    "--max-semi-space-size=1", "--v8-pool-size=0", "--disallow-code-generation-from-strings", "--no-deprecation",

#endif
