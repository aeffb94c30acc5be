/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ledger: the pure state machine that turns chosen values into states, results and headers
 * (magicbiz-protocol(7), "Value and block", "State", Clarifications 3-12). The daemon, the
 * simulator and the auditor run this very code over different backends.
 */
/*
 * What the protocol leaves open is decided so:
 * - Sweeps: core/seen, then core/pending, then those of the modules in the order of their names, as
 *   are the modules' parts of genesis. Modules that core/versions does not name are not there:
 *   their verbs are command.type.
 * - An envelope is looked at in this order: admissible, repeated, taken in, command.key,
 *   command.work, command.type, command.access, body.invalid, the founders' threshold, the verb.
 *   index in core/seen is the one its own result gets.
 * - A command parses if it is strict JSON with exactly its six fields, org, key, type and nonce
 *   texts, nonce 32 lower-case hex digits, expires an integer, body an object.
 * - A verb of access ORG runs as the organisation (no signer) even if one founder is enough, so
 *   that the same happens at any threshold. One whom the module lets do it by a role of its own
 *   runs as the signer, and waits for nobody.
 * - core/pending/<id>: approvals are first fingerprints in the order they came, the signer's first;
 *   key is the signer's first fingerprint. The body is checked before it waits. org.approve answers
 *   {"pending":missing}; with {"pending":0} the key is removed and the command runs right after it.
 *   Approved commands do not count among a block's 4,096 internal ones.
 * - org.key.replace {"new","proof"} is for the signer's own identity; with "old" (a first
 *   fingerprint) for another's, and needs ORG. The proof's old is the first fingerprint. A key that
 *   was ever replaced, is a replacement, a founder's or a replica's cannot be new.
 * - core/due/<time>/<module>/<n>: times before 1970 count as 0; n is one more than the greatest
 *   there, or 0. Commands of org itself have the module org.
 * - A refusal by the state's limits (state.limit, state.foreign) has no args. A result that has no
 *   canonical form, or more than 524,288 bytes of it, is state.limit too.
 * - Times go up to 253402300799, in genesis, values and due keys.
 * - Genesis has no field "parent" in this version, and an empty rulebook without the module rules.
 */
#ifndef MB_LEDGER_LEDGER_H
#define MB_LEDGER_LEDGER_H

#include <magicbiz/applied.h>
#include <magicbiz/tx.h>

#include "ledger/backend.h"
#include "ledger/block.h"

#define MB_CORE_VERSION 1
#define MB_LUA_RELEASE  "5.4.4"
#define MB_WINDOW       64  /* slots */
#define MB_HEADERS_KEPT 128 /* headers of the newest slots whose hashes are in the state */

struct mb_ledger;

/* Genesis, parsed and checked (magicbiz-protocol(7), "Genesis"). */
struct mb_genesis {
    struct mb_hash org; /* H(text) */
    json_t *json;
    const char *name; /* borrowed from json */
    int64_t created, epoch_s;
};
/* MB_EINVAL, code genesis.invalid, text says which field. */
int mb_genesis_parse(struct mb_genesis *g, struct mb_bytes text, struct mb_error *error);
void mb_genesis_clear(struct mb_genesis *g);

/*
 * Open a ledger over a backend. modules (borrowed, as is the backend, until free) are all that
 * this program has. MB_ENOENT (ledger.empty) if the backend holds no genesis yet;
 * MB_EREFUSED (ledger.versions) if the organisation uses a module or version that is not among
 * them: the text names it.
 */
int mb_ledger_open(struct mb_ledger **out, struct mb_backend backend,
                   const struct mb_logic *const *modules, size_t module_count,
                   struct mb_error *error);
/* Apply genesis to an empty backend: header 0. */
int mb_ledger_found(struct mb_ledger **out, struct mb_backend backend,
                    const struct mb_logic *const *modules, size_t module_count,
                    struct mb_bytes genesis, struct mb_error *error);
void mb_ledger_free(struct mb_ledger *l);

/* Where the ledger stands. Borrowed until the next apply. */
struct mb_tip {
    struct mb_header header; /* of the newest slot */
    struct mb_hash header_hash;
    int64_t time;               /* ledger time: header.time, or created at slot 0 */
    struct mb_frontier history; /* over headers 0 … slot */
    uint64_t checkpoint_slot;   /* the newest checkpoint slot, and its time */
    int64_t checkpoint_time;
    int64_t next_due; /* time of the first thing due or epoch end */
};
const struct mb_tip *mb_ledger_tip(const struct mb_ledger *l);
const struct mb_genesis *mb_ledger_genesis(
    const struct mb_ledger *l); /* the genesis it was founded by */
const char *mb_ledger_genesis_text(const struct mb_ledger *l);
const char *mb_ledger_org(const struct mb_ledger *l); /* 64 hex digits */
/* The replicas in the configuration in force for slot tip+1, by number. */
const struct mb_replica *mb_ledger_replicas(const struct mb_ledger *l, size_t *count);

/*
 * The door: would this envelope do, if it were in a block of time now at the present state? 0, or
 * what it would be refused with; nothing changes. Besides the replicated codes, an inadmissible one
 * gets its reason: command.org, command.expired, command.expires_late, command.invalid,
 * signature.*. command.repeated has args [slot,index].
 */
int mb_ledger_try(struct mb_ledger *l, const struct mb_checked *envelope, int64_t now,
                  struct mb_error *error);
/* Leading zero bits that a command of this identity (a key's fingerprint) needs. */
unsigned mb_ledger_work(struct mb_ledger *l, const char *fingerprint, const char *type,
                        const json_t *body);
/* True if fingerprint belongs to a founder or a replica. */
bool mb_ledger_has_role(struct mb_ledger *l, const char *fingerprint);

/*
 * Apply the value chosen for slot tip+1. checked has value->count entries in the value's order
 * (borrowed). The value was verified (mb_value_verify). On success *out (owned; free with
 * mb_outcome_free) holds header and results, and the backend's uncommitted writes hold the new
 * state. Any error means that this replica must stop: MB_EIO, MB_ECORRUPT.
 */
struct mb_outcome {
    struct mb_block block; /* value is copied in */
    struct mb_applied applied;
};
int mb_ledger_apply(struct mb_ledger *l, struct mb_bytes value_bytes, const struct mb_value *value,
                    struct mb_checked *const *checked, struct mb_outcome **out,
                    struct mb_error *error);
void mb_outcome_free(struct mb_outcome *o);
/* The position among the block's results of each envelope i: results of internal commands stand
 * between them. */
uint32_t mb_outcome_index(const struct mb_outcome *o, size_t envelope);

/* Read the state as texts, outside any command. get: 1 (value appended) or 0. */
int mb_ledger_get(struct mb_ledger *l, const char *key, struct mb_buf *text);

/* A read-only transaction on the present state, for modules' world halves. */
struct mb_tx *mb_ledger_reader(struct mb_ledger *l);

#endif
