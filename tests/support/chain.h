/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A ledger of several replicas for tests: replica 1 founds, 2 and 3 join, 1 leaves, 4 and 5 join, 3
 * leaves. Each change takes 64 slots; the newest slot, 384, hands over to 2, 4 and 5.
 */
#ifndef TESTS_SUPPORT_CHAIN_H
#define TESTS_SUPPORT_CHAIN_H

#include "ledger/membership.h"
#include "org.h"

#define CHAIN_CHANGES 6

struct chain {
    struct org o;
    struct mb_memory *memory;
    struct mb_secret_key keys[CHAIN_CHANGES]; /* key i is that of replica i+1 */
    struct mb_hash org;
    json_t *lines, *handovers; /* of GET /v1/blocks and GET /v1/handovers */
    int64_t time;              /* of the next block */
};
/* The blocks are a second apart, from time on. */
void chain_found(struct chain *l, int64_t time);
void chain_clear(struct chain *l);
/* The next block, with these commands (freed). */
void chain_block(struct chain *l, struct mb_checked **c, size_t count);
/* A checkpoint of the newest slot by the replicas whose bits are set: bit i is replica i+1. */
json_t *chain_checkpoint(struct chain *l, unsigned who);

#endif
