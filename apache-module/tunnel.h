/*
 * What the files of the tunnel share: tunnel.c (the 101; whose thread carries it), tunnel_relay.c and tunnel_upward.c (bytes
 * both ways, never waiting), tunnel_thread.c (the thread that carries the tunnels of a child of the event MPM) and
 * tunnel_life.c (what becomes of one of these).
 */
#ifndef PSG_TUNNEL_H
#define PSG_TUNNEL_H

#include "mod_passenger.h"

/* Bytes that are read at once from either end, and so what may wait for each of them. */
#define PSG_TUNNEL_PIECE 32768u
/* Pieces of one direction before others get their turn. */
#define PSG_TUNNEL_PIECES_PER_TURN 4

enum psg_tunnel_end {
    PSG_TUNNEL_OPEN,
    PSG_TUNNEL_CLOSE,          /* what the app has said goes out, then the connection ends in good order */
    PSG_TUNNEL_BREAK           /* the client must see that something was lost */
};

enum psg_tunnel_stage { PSG_STAGE_RELAYING, PSG_STAGE_FLUSHING, PSG_STAGE_LINGERING, PSG_STAGE_DEAD };

/* Lives in the connection's pool, which our filter does too. One thread at a time: the handler's until the hand-over, then the tunnel thread's. */
typedef struct psg_tunnel {
    request_rec *r;
    conn_rec *c;
    psg_connection *core;      /* NULL when our side of the exchange is over */
    int client_fd;
    enum psg_tunnel_end end;
    int app_ended;             /* END was seen */
    int client_ended;          /* the client has shut down its direction; BODY_END is written or pending */
    int end_passed;            /* the client has been told of END */
    int relays;                /* our filter holds flushes back: writes do not wait */
    int more;                  /* the turn ended for fairness, not for want of the client's bytes */
    int straight;              /* no filter has anything of the client's: it is read from its socket */

    apr_bucket_brigade *in, *out;
    ap_filter_t *network;      /* the core's output filter, the last of the connection's */
    apr_size_t piece;
    unsigned char header[PSG_FRAME_HEADER_SIZE + 2];  /* of the next frame, as far as it came; ABORT with its status */
    apr_size_t header_length;
    apr_size_t data_left;      /* of the DATA frame that is being passed on */
    unsigned char *pending;    /* malloc'ed: what the core did not take */
    apr_size_t pending_start, pending_end;

    apr_interval_time_t timeout;      /* Apache's Timeout: for a client that takes nothing, and for half-open tunnels */
    apr_interval_time_t drain_limit;  /* PassengerDrainTimeout */
    apr_time_t last_activity;
    apr_time_t stalled_at;     /* since when the client has taken nothing; 0: nothing waits for it */

    /* tunnel_life.c */
    enum psg_tunnel_stage stage;
    apr_time_t stage_since;
    unsigned core_events, client_events;  /* what epoll watches; 0: nothing, the descriptor is not registered */

    /* tunnel_thread.c */
    struct psg_tunnel *next, *previous;
} psg_tunnel;

/* tunnel_relay.c, tunnel_upward.c */
/* After all modules are loaded. */
void psg_relay_configure(void);
void psg_upward_configure(void);
/* From the client to the core; `client_ready`: its socket has something. */
void psg_relay_pump_to_core(psg_tunnel *tunnel, int client_ready, unsigned char *scratch);
void psg_relay_prepare(psg_tunnel *tunnel);
/* Lets the network take of what waits for the client what it takes now. */
void psg_relay_push(psg_tunnel *tunnel);
/* Moves what both ends have and take. `scratch` holds PSG_TUNNEL_PIECE bytes. Sets tunnel->end when it is over. */
void psg_relay_pump(psg_tunnel *tunnel, int core_ready, int client_ready, unsigned char *scratch);
int psg_relay_client_is_behind(const psg_tunnel *tunnel);
int psg_relay_core_is_behind(const psg_tunnel *tunnel);
int psg_relay_wants_core(const psg_tunnel *tunnel);
int psg_relay_wants_client(const psg_tunnel *tunnel);
/* Looks at the limits; called about every second. */
void psg_relay_check(psg_tunnel *tunnel, apr_time_t now, apr_time_t draining_since);
/* Ends our side of the exchange and gives up what the tunnel holds besides the client's connection. */
void psg_relay_release(psg_tunnel *tunnel);

/* tunnel_life.c: all on the tunnel thread, but prepare before it */
/* Says with which epoll descriptor tunnels are watched. */
void psg_life_prepare(int poll_fd);
/* A tunnel that was handed over: from here on it is watched, and relays. */
void psg_life_begin(psg_tunnel *tunnel);
/* `who`: the data of an event that was not the caller's own, which have NULL. */
void psg_life_on_event(void *who, unsigned events);
/* Looks at the limits; called about every second. 1: nobody needs it any more, the caller destroys it. */
int psg_life_check(psg_tunnel *tunnel, apr_time_t now, apr_time_t draining_since);
/* How many have begun and not ended: those whose clients are only being said goodbye to are not among them. */
unsigned psg_life_open_count(void);

/* tunnel_thread.c */
/* 0: this child has no tunnel thread, the handler has to carry the tunnel itself. */
int psg_tunnel_thread_start(request_rec *r);
/* The tunnel goes to the thread as soon as Apache has suspended the connection. */
void psg_tunnel_hand_over_later(psg_tunnel *tunnel);
/* When this child began to stop (psg_now); 0: it does not. */
apr_time_t psg_tunnel_draining_since(void);

#endif
