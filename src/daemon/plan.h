/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a daemon that catches up, or leads, decides from what it knows: pure functions. */
#ifndef MB_DAEMON_PLAN_H
#define MB_DAEMON_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLAN_BLOCKS_MAX 4096       /* asked for at once */
#define PLAN_BYTES      (4u << 20) /* that an answer should have: it stays in memory meanwhile */
#define PLAN_STALLED_MS 60000      /* a replica that learns nothing while others are ahead */

/* Blocks to ask for at once from now on, `count` (> 0) of at most `batch` having come in `bytes`.
 */
uint64_t plan_batch(uint64_t batch, uint64_t count, uint64_t bytes);
/* The same after an answer that was larger than is taken. */
uint64_t plan_smaller(uint64_t batch);
/* How many of the blocks after tip, up to checkpoint, to ask for; 0: none are missing. */
uint64_t plan_range(uint64_t tip, uint64_t checkpoint, uint64_t batch);

/* Whether a snapshot is looked for before blocks are: its slots are `behind` (0: never) or more
 * ahead, or the blocks that are needed are gone from all that were asked. */
bool plan_snapshot(uint64_t tip, uint64_t newest, uint64_t behind, bool gone);

/* A replica gets its blocks from the others. Since when it has learned nothing, though another is
 * more than `window` slots ahead. */
struct plan_stall {
    uint64_t at; /* slot */
    int64_t since_ms;
};
/* Whether such a replica looks for a snapshot: it is too far behind, or learns nothing. */
bool plan_member_needs(struct plan_stall *stall, uint64_t applied, uint64_t newest, uint64_t window,
                       uint64_t behind, int64_t now_ms);

/* Whom to ask next of `count` sources (> 0): index is the turn, self the one that is ourselves or
 * SIZE_MAX. *turn is moved on where it would be ourselves. */
size_t plan_source(size_t *turn, size_t count, size_t self);

/* Milliseconds that we are sure to be the only leader, and may answer in the organisation's name;
 * 0: not at all. until_ms: of the lease, on the clock of now_ms; INT64_MAX: there are no others. */
int64_t plan_lease_left(bool leads, int64_t until_ms, int64_t now_ms);
/* When to look again, so that nothing is published beyond the lease. */
int64_t plan_lease_wait(int64_t left_ms, int64_t tick_ms);

#endif
