/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Checkpoint signatures as they come in from the replicas, one by one and in any order: whether a
 * majority signed our header, who diverged, and whether it is we who did (magicbiz-protocol(7),
 * "Checkpoint"). Pure: no clock, no I/O.
 */
#ifndef MB_LEDGER_COLLECT_H
#define MB_LEDGER_COLLECT_H

#include "ledger/membership.h"

struct mb_collector;
struct mb_collector *mb_collector_new(const struct mb_hash *org);
void mb_collector_free(struct mb_collector *c);

enum mb_collected {
    MB_COLLECTED_ADDED,    /* new, and of our header; or of any, while ours is not known yet */
    MB_COLLECTED_KNOWN,    /* the same replica signed the same header before */
    MB_COLLECTED_CONFLICT, /* it holds, but its header is not ours, or not the one that this replica
                              signed before; two headers of a replica are kept, no more */
    MB_COLLECTED_IGNORED,  /* by a replica that diverged, or of a slot that was forgotten */
    MB_COLLECTED_STRANGER, /* not by a replica of the configuration */
    MB_COLLECTED_FALSE,    /* malformed, of another organisation, or it does not hold */
};
/*
 * A signature arrived, or we made one: header is the whole header's bytes, signature the binary
 * SSHSIG over them. config is the configuration in force for the header's slot
 * (mb_ledger_config_at()): slots beyond the window have none, which bounds what is kept. *signer
 * (borrowed from config; may be NULL) is whose it is, unless STRANGER or FALSE: then NULL.
 */
enum mb_collected mb_collector_add(struct mb_collector *c, const struct mb_membership *config,
                                   struct mb_bytes header, struct mb_bytes signature,
                                   const struct mb_replica **signer);
/* We applied a checkpoint slot: this is our header. Not before: signatures may come first. */
void mb_collector_open(struct mb_collector *c, const struct mb_membership *config,
                       struct mb_bytes header);

enum mb_verdict {
    MB_VERDICT_OPEN,     /* not known yet */
    MB_VERDICT_AGREED,   /* a majority signed our header: there is a checkpoint */
    MB_VERDICT_OUTVOTED, /* a majority signed another header: this replica must stop */
};
enum mb_verdict mb_collector_verdict(const struct mb_collector *c, uint64_t slot);
/* The checkpoint of a slot that is AGREED, with all signatures that there are (owned). */
void mb_collector_checkpoint(const struct mb_collector *c, uint64_t slot,
                             struct mb_checkpoint *out);

/* Replicas that signed another header where a majority signed ours, and the body of org.attest.
 * Once each, in the order they were found; borrowed until the next call that adds or opens.
 */
struct mb_diverged {
    struct mb_public_key key;
    uint64_t slot;
    struct mb_buf header, signature;
};
const struct mb_diverged *mb_collector_diverged(const struct mb_collector *c, size_t *count);
json_t *mb_attest_body(const struct mb_diverged *d); /* owned */

/* Take nothing more of this key: there is evidence against it on the record. */
void mb_collector_distrust(struct mb_collector *c, const struct mb_public_key *key);

/* Forget slots below slot, and take nothing more for them: but a handover stays until a majority
 * signed it, for clients cannot pass without. */
void mb_collector_forget(struct mb_collector *c, uint64_t slot);

#endif
