/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who the replicas are at a slot, and how one configuration hands over to the next
 * (magicbiz-protocol(7), "Membership"). */
#ifndef MB_LEDGER_MEMBERSHIP_H
#define MB_LEDGER_MEMBERSHIP_H

#include <magicbiz/tx.h>

#include "ledger/ledger.h"

#define MB_REPLICAS_MAX      9
#define MB_NAMESPACE_REPLICA "magicbiz-replica"
#define MB_NAMESPACE_ONION   "magicbiz-onion"

/* A configuration: the value of core/config. */
struct mb_membership {
    uint64_t version;    /* the epoch that frames between replicas carry: 1, 2, 3 … */
    uint64_t from;       /* the first slot that it is in force for */
    struct mb_hash hash; /* H(canonical text): the config_hash of the header of slot from-1 */
    struct mb_replica replicas[MB_REPLICAS_MAX]; /* by number */
    size_t count;
};
/* Check a configuration wholly and read it; it may come from anybody. MB_EINVAL, config.invalid. */
int mb_membership_read(struct mb_membership *m, const json_t *config, struct mb_error *error);
/* The one that genesis brings into force. */
void mb_membership_first(struct mb_membership *m, const struct mb_genesis *genesis);
/* The keys, as mb_checkpoint_verify() and mb_value_verify() take them; returns how many. */
size_t mb_membership_keys(const struct mb_membership *m,
                          struct mb_public_key keys[MB_REPLICAS_MAX]);
/* The replica with this key, or NULL. Borrowed. */
const struct mb_replica *mb_membership_find(const struct mb_membership *m,
                                            const struct mb_public_key *key);
/* How many replicas are more than half of them. */
size_t mb_membership_majority(const struct mb_membership *m);

/*
 * The configuration in force for a slot: any slot up to tip + MB_WINDOW, past ones too (slot 0 has
 * that of slot 1). 1; 0 if the slot is beyond; or the ledger's sticky error.
 */
int mb_ledger_config_at(struct mb_ledger *l, uint64_t slot, struct mb_membership *out);
/* The value of a configuration by its version, if it is or was in force (owned), or NULL. */
json_t *mb_ledger_config(struct mb_ledger *l, uint64_t version);

/* What a new replica's key signs in org.replica.add: canonical
 * {"header","onion","org","peer_onion","slot","tor_auth"}. replica has the onions and tor_auth,
 * header is the hex hash of slot's header. */
void mb_ready_text(struct mb_buf *out, const char *org, const json_t *replica, uint64_t slot,
                   const char *header);
/* What the replicas sign for org.onion.rotate: canonical {"current","org","revoked"}. */
void mb_onion_text(struct mb_buf *out, const char *org, const char *current, const char *revoked);

/*
 * One item of GET /v1/handovers, {"checkpoint":{…},"config":{…}}: the checkpoint of the last slot
 * of `before`, signed by a majority of it, whose header has the hash of config; config is the next
 * version, in force from the slot after. Fills *after. MB_EPROOF, handover.*; what is malformed is
 * MB_EINVAL.
 */
int mb_handover_verify(const struct mb_membership *before, const json_t *handover,
                       const struct mb_hash *org, struct mb_membership *after,
                       struct mb_error *error);

#endif
