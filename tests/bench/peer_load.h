/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The load that a leader puts on itself in paxos_peer and raft_peer: so many commands outstanding,
 * one more whenever one is done, for so long; one level after another. */
#ifndef TESTS_BENCH_PEER_LOAD_H
#define TESTS_BENCH_PEER_LOAD_H

#include "daemon.h"

#define PEER_COMMAND 256 /* bytes */
#define PEER_LEVELS  4
#define PEER_END     "end"
extern const unsigned peer_outstanding[PEER_LEVELS];

struct peer_load {
    double seconds;              /* for each level */
    void (*submit)(double sent); /* one command, whose completion is told with the same */
    size_t level, under_way, count, cap;
    double began, *latency; /* of those done in this level */
    bool over;
};
/* We lead: begin. */
void peer_load_begin(struct peer_load *l);
/* One is done. Prints a line `outstanding rate p50 p99` (ms) at the end of each level, and PEER_END
 * after the last. */
void peer_load_done(struct peer_load *l, double sent);

#endif
