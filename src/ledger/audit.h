/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The auditor: replays a ledger from its genesis and checks all of it: ids, signatures, values,
 * results, roots, history, handovers, checkpoints. The first thing that does not hold is an error
 * that says slot and what.
 */
#ifndef MB_LEDGER_AUDIT_H
#define MB_LEDGER_AUDIT_H

#include "ledger/ledger.h"

struct mb_audit;
/* Over an empty backend; genesis must hash to org. */
int mb_audit_new(struct mb_audit **out, struct mb_backend backend,
                 const struct mb_logic *const *modules, size_t module_count,
                 const struct mb_hash *org, struct mb_bytes genesis, struct mb_error *error);
void mb_audit_free(struct mb_audit *a);
/* The next line of GET /v1/blocks (slot 0 first). MB_EPROOF: audit.* codes with slot and reason. */
int mb_audit_block(struct mb_audit *a, const json_t *line, struct mb_error *error);
/* A checkpoint (of a slot that has been replayed, in any order): signed by a majority of the
 * replicas in force for its slot, its header the one that the replay gave. */
int mb_audit_checkpoint(struct mb_audit *a, const json_t *checkpoint, struct mb_error *error);
/* A header that was pinned: it must be the replayed one. */
int mb_audit_pin(struct mb_audit *a, uint64_t slot, const struct mb_hash *header_hash,
                 struct mb_error *error);
/* All handovers seen so far, in order: slots whose config_hash differs from the header before. */
const uint64_t *mb_audit_handovers(const struct mb_audit *a, size_t *count);
struct mb_ledger *mb_audit_ledger(struct mb_audit *a);

struct mb_audit_stats {
    uint64_t blocks, envelopes, admissible, internal, checkpoints, checkpoint_slots;
};
struct mb_audit_stats mb_audit_stats(const struct mb_audit *a);

#endif
