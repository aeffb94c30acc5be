/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Endpoints of src/peer in one process, on Unix sockets, each pair's streams through a relay that
 * cuts, records, delays or is shut. Frames are counters: struct end says what came.
 */
#ifndef TESTS_PEERS_H
#define TESTS_PEERS_H

#include "peer/peer.h"

#define ENDS 4 /* their numbers are 1 to ENDS */

struct relay;
struct relay_side {
    struct relay *relay;
    struct relay_side *other;
    struct mb_watch *watch;
    struct mb_buf pending; /* to be written to fd */
    int fd;                /* -1: not connected */
};
struct relay {
    struct world *w;
    unsigned to;
    char path[108];
    int listen_fd;
    struct mb_watch *accept;
    struct relay_side side[2]; /* dialler, listener */
    bool shut;                 /* connections end at once */
    bool frozen;               /* nothing is passed on */
    size_t left;               /* bytes until the next cut; SIZE_MAX: never */
    size_t cut_min, cut_max;   /* where the next one comes, if cut_max is not 0 */
    unsigned cuts;
    bool recording;
    struct mb_buf record; /* what the dialler sent */
};

struct end {
    struct world *w;
    uint32_t number;
    struct mb_secret_key key;
    char path[108];
    struct mb_peers *peers;
    uint64_t last[ENDS + 1], count[ENDS + 1]; /* of frames, by sender */
    uint64_t wrong;                           /* frames that were not the next one */
    uint64_t epoch;
    size_t bytes;
    unsigned changes;
    void (*on_frame)(struct end *e, uint32_t from, struct mb_bytes bytes); /* instead of counting */
    void (*on_ask)(void *arg, uint32_t from, uint32_t kind, struct mb_bytes request, int body_fd,
                   uint64_t body_len, struct mb_peer_reply *reply);
};
struct world {
    char dir[64];
    struct mb_loop *loop;
    struct mb_hash org;
    struct end ends[ENDS + 1];
    struct relay relays[ENDS + 1][MB_PEER_CHANNELS]; /* by the number that is dialled */
    bool relayed; /* diallers go through the relays; each carries one connection at a time */
    struct mb_peer_member members[ENDS];
    int64_t heartbeat_ms;
    size_t queue_bytes;
    uint64_t body_bytes;
};

void world_init(struct world *w);
void world_clear(struct world *w);
/* Start endpoint n in its incarnation-th life, with members[0 … count). */
void world_start(struct world *w, unsigned n, uint64_t incarnation, size_t count);
void world_stop(struct world *w, unsigned n);
/* Run the loop until done(w) or timeout_ms have passed; what done says last. */
bool world_until(struct world *w, bool (*done)(struct world *w), int64_t timeout_ms);
void world_run(struct world *w, int64_t for_ms);
void relay_cut(struct relay *r);
void relay_freeze(struct relay *r, bool frozen);
bool world_up(struct world *w, unsigned a, unsigned b); /* both channels, seen from both */

/* Send a frame of len >= 8 bytes that holds the counter. */
void end_send(struct end *e, uint32_t to, uint64_t counter, size_t len);

#endif
