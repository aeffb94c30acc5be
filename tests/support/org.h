/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An organisation for tests: fixed keys, a genesis, a ledger over some backend, and a way to say
 * "this key sends this command, in a block of this time" in one line.
 */
#ifndef TESTS_SUPPORT_ORG_H
#define TESTS_SUPPORT_ORG_H

#include "ledger/audit.h"
#include "ledger/snapshot.h"

#define ORG_CREATED  1795226400 /* a multiple of 3,600 */
#define ORG_FOUNDERS 3

struct org {
    struct mb_secret_key founders[ORG_FOUNDERS], replica, other; /* other holds no role */
    struct mb_buf genesis;
    struct mb_ledger *ledger;
    uint64_t nonce;
    struct mb_error error; /* of the last door or apply */
};
/* A module whose verbs show each thing that a verb can do; see org.c. */
extern const struct mb_logic toy_logic;
extern const struct mb_logic *const toy_modules[1];

struct mb_secret_key org_key(uint8_t seed);
char *org_fingerprint(const struct mb_secret_key *key); /* owned */
/* The genesis of an organisation with the first founders of o->founders, as JSON to be varied. */
json_t *org_genesis_json(struct org *o, int founders, int threshold);
/* Found it over backend; params is a JSON text. */
void org_found(struct org *o, struct mb_backend backend, int founders, int threshold,
               const char *params);
void org_clear(struct org *o);

/* body: a JSON text. expires: absolute. The nonce counts up. */
struct mb_checked *org_command(struct org *o, const struct mb_secret_key *key, const char *type,
                               const char *body, int64_t expires);
/* Sign this text, whatever it is. */
struct mb_checked *org_envelope(const struct mb_secret_key *key, const char *text);
/* Apply the next block: encoded, decoded, verified like one that was chosen. Frees the commands. */
struct mb_outcome *org_block(struct org *o, int64_t time, struct mb_checked **checked,
                             size_t count);
/* A block of one command, expiring an hour after time; returns its result's text (owned). */
char *org_do(struct org *o, int64_t time, const struct mb_secret_key *key, const char *type,
             const char *body);
/* The text of a key of the state (owned), or NULL. */
char *org_state(struct org *o, const char *key);
/* The hash of all keys below prefix, with their values. */
struct mb_hash org_state_hash(struct mb_backend backend, const char *prefix);
/* A checkpoint of the newest slot, signed by the replica; by these keys. */
void org_checkpoint(struct org *o, struct mb_checkpoint *c);
void org_checkpoint_by(struct org *o, const struct mb_secret_key *keys, size_t count,
                       struct mb_checkpoint *c);
/* The body of org.replica.add for this key, ready at the newest header, with two onions made of
 * onion_seed and the number after it. Owned. */
json_t *org_add_body(struct org *o, const struct mb_secret_key *key, uint8_t onion_seed);
/* Empty blocks, one a second from time on, up to slot. The last one's time. */
int64_t org_fill(struct org *o, int64_t time, uint64_t slot);

#endif
