/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A worker's part of following: blocks from a replica's public onion, proven and with every
 * signature checked before any is applied. The newest checkpoint is signed by a majority of the
 * replicas to whom the handovers lead, and the headers of the blocks are its history. So no single
 * replica can show a follower blocks that were not chosen. Commands are verified all the same, and
 * so is each block's proposer: a majority vouches for the order of the commands, their authors for
 * the commands.
 */
#ifndef MB_DAEMON_PULL_H
#define MB_DAEMON_PULL_H

#include "daemon/fetch.h"
#include "host/pin.h"

struct pulled {
    struct mb_buf line; /* as it came, until it is checked */
    struct mb_block block;
    struct mb_checked **checked;
    size_t count;
    int64_t time, header_time;
};
/* One batch of blocks. Filled in by the caller: */
struct pull {
    void *owner;
    struct mb_http_client *client;
    struct fetch *fetch;      /* NULL: no snapshots */
    const struct mb_pin *pin; /* the invite; without onions: none */
    const atomic_bool *stop;
    struct mb_hash org;
    uint64_t tip; /* before its first block: slot, ledger time and history */
    int64_t time;
    struct mb_frontier history;
    uint64_t batch;  /* blocks to ask for, at most */
    uint64_t behind; /* this many blocks are too many to fetch; 0: never */
    bool member;     /* the replicas send it blocks: only a snapshot is asked for */
    bool gone;       /* the blocks that it needs are not there any more */
    /* Found by pull_run(), and by pull_next() handed on: */
    struct mb_membership *configs; /* known ones, by slot; the caller adds the one in force */
    size_t config_count;
    struct mb_checkpoint *signed_; /* that were verified, by slot */
    size_t signed_count;
    bool proven, further; /* checkpoint is; this goes on from another pull */
    struct mb_header checkpoint;
    /* The batch. */
    struct pulled *blocks;
    size_t block_count;
    size_t bytes; /* of their lines */
    int64_t time_after;
    struct mb_frontier history_after;
    bool ready; /* a snapshot is here instead */
    int rc;
    struct mb_error error;
};

void pull_add_config(struct pull *p, const struct mb_membership *config);
const struct mb_membership *pull_config(const struct pull *p, uint64_t slot);
/* On a worker. rc and error say how it went. */
void pull_run(struct pull *p);
/* What to run next, once p's blocks are here: the batch after them, below the same checkpoint.
 * NULL: it has been reached. */
struct pull *pull_next(struct pull *p, uint64_t batch);
void pull_free(struct pull *p); /* NULL is fine */

/* pull_check.c: lines become checked blocks on threads of their own while more are on their way. */
struct checkers *checkers_start(struct pull *p);
/* One more line is in p->blocks; its failure, or an earlier one's if that is known by now. */
int checkers_give(struct checkers *c, struct mb_error *error);
/* No more come: wait for all, and free c. The failure of the first slot that has one. */
int checkers_end(struct checkers *c, struct mb_error *error);

#endif
