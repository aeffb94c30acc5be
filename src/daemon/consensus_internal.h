/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of consensus share, and nobody else includes. */
#ifndef MB_DAEMON_CONSENSUS_INTERNAL_H
#define MB_DAEMON_CONSENSUS_INTERNAL_H

#include "daemon/consensus.h"

#define ALONE_BYTES 2048 /* a value of hardly more than one command */

struct happening { /* an event, and what it borrows */
    struct mb_event event;
    struct mb_buf bytes;
    struct mb_paxos_message message;
    struct mb_paxos_config config;
    struct happening *next;
};
struct consensus {
    struct node *node;
    struct mb_paxos *core;
    struct mb_effects effects;
    struct mb_timer *timer;
    int64_t began_ms;
    uint64_t incarnation;
    struct happening *head, **tail;
    bool running, closed;
    uint64_t in_force, newest; /* versions of configurations */
    uint64_t durable;          /* the newest ticket that is */
    /* Since when nothing was chosen while values were ahead (0: not), and when the last came. */
    int64_t barred_ms, barred_last_ms;
    struct {
        uint32_t number;
        enum consensus_doubt doubt;
        int64_t at_ms;
        uint64_t count;
    } suspected;       /* the last one */
    int64_t clock_off; /* s; 0: it may vote */
    struct held *held, **held_tail;
    size_t held_bytes, checking, checking_bytes;
    struct mb_outcome *early; /* of the next slot, applied before its value is chosen; or NULL */
    struct carried *carried, **carried_tail;
    struct batch *batches[MB_PAXOS_AHEAD_MAX];
    struct asking *asking;
    uint64_t asked;
    uint64_t sent_bytes, sent_frames, dropped, malformed, ahead;
};

/* --- consensus.c --- */

/* An event that the core is told at the next consensus_run(). */
struct happening *consensus_happen(struct consensus *c, enum mb_event_kind kind);
void consensus_run(struct consensus *c);
/* Its value was checked; taken. */
void consensus_keep(struct consensus *c, struct batch *batch_take);

#endif
