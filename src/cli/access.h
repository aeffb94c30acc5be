/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Deciding without a network: an extract of the state that proves itself to whoever has the
 * organisation's pin, and a queue of signed commands. Pure, from bytes that may come from anybody.
 */
#ifndef MB_CLI_ACCESS_H
#define MB_CLI_ACCESS_H

#include "ledger/membership.h"

#define ACCESS_EXTRACT_MAX     (16u << 20) /* bytes of an extract */
#define ACCESS_CHECKPOINTS_MAX 64
#define ACCESS_QUEUE_MAX       (16u << 20) /* bytes of a queue */
#define ACCESS_EARLY_S         3600        /* a checkpoint may be so far ahead of the clock */

/*
 * {"checkpoints":[…],"genesis":TEXT,"handovers":[…],"items":[{"checkpoint":N,"key","proof","text"}…],
 * "type":"magicbiz-extract-1"}: handovers as of GET /v1/handovers, from genesis on; an item's key
 * is of the state, its canonical text and base64 proof those of the N-th checkpoint (from 0).
 */
struct access_extract {
    json_t *json;
    struct mb_header headers[ACCESS_CHECKPOINTS_MAX];
    size_t count;
    int64_t oldest, newest; /* times of checkpoints */
};
/*
 * Check all but the items: genesis is org's, handovers lead from its replicas on, each checkpoint
 * is signed by a majority of those in force for its slot. MB_EINVAL, access.extract; MB_EPROOF,
 * checkpoint.*, handover.*. Clear it in any case.
 */
int access_extract_read(struct access_extract *e, struct mb_bytes text, const struct mb_hash *org,
                        struct mb_error *error);
void access_extract_clear(struct access_extract *e);
/* Its oldest checkpoint is no older than max_age seconds, and none is ahead of the clock by more
 * than ACCESS_EARLY_S. MB_EPROOF, access.stale. */
int access_extract_fresh(const struct access_extract *e, int64_t now, int64_t max_age,
                         struct mb_error *error);
/* 1 and the key's value, an integer that is proven here; 0: the extract does not have it;
 * MB_EPROOF where its proof is false. */
int access_extract_get(const struct access_extract *e, const char *key, int64_t *value,
                       struct mb_error *error);

/*
 * A queue is envelopes, as POST /v1/commands takes them, a line each. Take the first off rest:
 * 1, with *line (borrowed, its line feed included); 0: none is left; MB_EINVAL,
 * access.queue: it is not one, or the line has no end. envelope may be NULL; or else it is owned.
 */
int access_queue_next(struct mb_bytes *rest, struct mb_bytes *line, struct mb_envelope *envelope,
                      struct mb_error *error);

#endif
