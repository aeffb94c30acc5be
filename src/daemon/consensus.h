/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The consensus core's host: carries its effects out (log, then send; apply in the order of slots),
 * and brings it what happens. Values that come from others are checked on workers before the core
 * sees them: it counts only what is well formed, and apply finds the commands already verified.
 */
#ifndef MB_DAEMON_CONSENSUS_H
#define MB_DAEMON_CONSENSUS_H

#include "daemon/node.h"
#include "paxos/paxos.h"

/* What the log says at start, besides what is applied already. */
struct consensus_start {
    struct mb_ballot promised;
    uint64_t incarnation; /* of this life */
    uint64_t faulty_to;
    struct mb_paxos_item *accepted; /* borrowed */
    size_t accepted_count;
};

struct consensus *consensus_new(struct node *n);
void consensus_start(struct consensus *c, const struct consensus_start *start);
/* No step is taken any more, whatever still becomes durable: what they work with may go. NULL is
 * fine.
 */
void consensus_close(struct consensus *c);
void consensus_free(struct consensus *c);

/* Something waits to be proposed. */
void consensus_kick(struct consensus *c);
/* A frame of another replica's core, of which a copy is made. */
void consensus_receive(struct consensus *c, uint32_t from, struct mb_bytes frame);
/* Confirm that the present state, once done is called with ok, is none that is out of date. */
void consensus_read(struct consensus *c, void (*done)(void *arg, bool ok), void *arg);
/* The leader does not do its work: it is followed no longer, unless others see nothing wrong. */
enum consensus_doubt { CONSENSUS_CENSORS, CONSENSUS_FREEZES, CONSENSUS_HURRIES };
void consensus_suspect(struct consensus *c, enum consensus_doubt doubt);
/* A replica whose clock is half an hour off tor's consensus abstains until it is not. */
void consensus_check_clock(struct consensus *c);
/* Orderly: another may lead at once. */
void consensus_stop(struct consensus *c);
struct mb_paxos_status consensus_status(const struct consensus *c);
/* The core's clock, in which the status' times are. */
int64_t consensus_now(const struct consensus *c);
/* The ballot and the incarnation as the log keeps them, and back. */
struct mb_wal_stamp consensus_stamp(const struct mb_ballot *promised, uint64_t incarnation);
void consensus_unstamp(const struct mb_wal_stamp *stamp, struct mb_ballot *promised,
                       uint64_t *incarnation);
/* An acceptance's payload in the log: ballot || value. */
bool consensus_unlog(struct mb_bytes payload, struct mb_paxos_item *item);

#endif
