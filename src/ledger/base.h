/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A ledger that begins with a snapshot (magicbiz-protocol(7), "Snapshot"): when the index of one is
 * believed, and what is kept of the slots before it. Pure: bytes and texts come from elsewhere.
 */
#ifndef MB_LEDGER_BASE_H
#define MB_LEDGER_BASE_H

#include "ledger/membership.h"
#include "ledger/snapshot.h"

#define MB_HANDOVERS_MAX   10000
#define MB_SNAPSHOT_CHUNKS 65536 /* 64 GiB of state */

/*
 * The index that somebody answers to GET /v1/snapshot. handovers: a list of the items of GET
 * /v1/handovers from version 2 on; *used is how many of them lead to the slot after the snapshot's.
 * *config is the configuration whose majority signed the checkpoint. Checked: the handovers from
 * genesis on, the checkpoint's signatures, the frontier against its header. The chunks are not:
 * mb_snapshot_finish() compares what they hold with the header's state_root. Malformed: MB_EINVAL;
 * too long: MB_ELIMIT (snapshot.limit); not so: MB_EPROOF, snapshot.*, handover.*,
 * checkpoint.unsigned.
 */
int mb_snapshot_accept(struct mb_snapshot *s, const json_t *index, const json_t *handovers,
                       const struct mb_genesis *genesis, struct mb_header *header,
                       struct mb_membership *config, size_t *used, struct mb_error *error);

/* Whether a block is the one of this header: value, proposer, results. MB_EPROOF, blocks.false. */
int mb_block_check(const struct mb_block *b, const struct mb_header *header,
                   const struct mb_membership *config, struct mb_error *error);

/* What an archive that begins with the block of a snapshot keeps of what was before. */
struct mb_base {
    uint64_t slot;              /* of the snapshot */
    struct mb_buf genesis;      /* its text */
    struct mb_checkpoint zero;  /* header 0 */
    struct mb_frontier history; /* over headers 0 … slot − 1 */
    json_t *handovers;          /* items of GET /v1/handovers, from version 2 on */
};
void mb_base_clear(struct mb_base *b);
void mb_base_encode(const struct mb_base *b, struct mb_buf *out);
/* MB_EINVAL, base.invalid. */
int mb_base_decode(struct mb_base *b, struct mb_bytes bytes, struct mb_error *error);
/* The handover to a version, or NULL. Borrowed. */
json_t *mb_base_handover(const struct mb_base *b, uint64_t version);

#endif
