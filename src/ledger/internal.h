/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of this folder share, and nobody else includes. */
#ifndef MB_LEDGER_INTERNAL_H
#define MB_LEDGER_INTERNAL_H

#include "base/map.h"
#include "ledger/ledger.h"
#include "ledger/membership.h"
#include "merkle/tree.h"

#define MB_MODULE_NAME_MAX 32
#define MB_GENESIS_MAX     1048576 /* bytes */
#define MB_INTERNAL_MAX    4096    /* commands of the organisation in a block that stop due ones */
#define MB_EPOCHS_MAX      16      /* epochs in a block */

/* --- tx.c: the state as a block under way sees it. --- */

/* What a key of the overlay was before the command at hand wrote it. */
struct mb_undo {
    char *key;
    struct mb_buf text;
    enum { MB_WAS_BELOW, MB_WAS_TEXT, MB_WAS_DELETED } was;
};

/*
 * An overlay of all writes since the last flush over the backend. Between open and close a log
 * remembers what to put back if the command is refused. An error of the backend sticks in err.
 */
struct mb_tx {
    struct mb_backend backend;
    struct mb_ledger *ledger; /* whose facts it answers from */
    struct mb_map *overlay;
    bool writable;      /* a block or a try is under way */
    bool logging;       /* between open and close */
    bool holding;       /* between hold and release: what is closed may still be undone */
    const char *module; /* may write below this name only; NULL: core and org */
    const char *fault;  /* code that makes the command at hand fail */
    struct mb_batch {   /* what the command at hand wants to run after it */
        char *id;       /* NULL: nothing */
        const char *module;
        json_t *commands;
    } batch;
    int64_t work; /* that the block at hand has come to: mb_tx_work() */
    bool touched; /* a key that struct mb_facts is made of was written since the flush */
    bool stale;   /* struct mb_facts has to be read again */
    struct mb_undo *undo;
    size_t undo_count, undo_cap;
    size_t undo_from; /* where the command at hand began */
    int err;
    struct mb_error error;
};
void mb_tx_init(struct mb_tx *tx, struct mb_backend backend);
void mb_tx_clear(struct mb_tx *tx);
void mb_tx_open(struct mb_tx *tx, const char *module);
/* Keep what was written since open if rc is 0 and nothing forbidden was tried; else undo it.
 * Returns 0, MB_EREFUSED with error filled, or the sticky error. */
int mb_tx_close(struct mb_tx *tx, int rc, struct mb_error *error);
/* Hold together what is opened and closed until release, which keeps all of it or undoes it. */
void mb_tx_hold(struct mb_tx *tx);
void mb_tx_release(struct mb_tx *tx, bool keep);
void mb_batch_clear(struct mb_batch *batch);
/* Make an error stick that the replica has to stop for; the first one stays. */
void mb_tx_stop(struct mb_tx *tx, int err, const char *what);
/* 1 (text appended), 0, or the sticky error. */
int mb_tx_text(struct mb_tx *tx, const char *key, struct mb_buf *text);
int64_t mb_tx_int(struct mb_tx *tx, const char *key);
/* As mb_tx_put(), unchecked, for core and org. Takes the value. */
void mb_tx_set(struct mb_tx *tx, const char *key, json_t *value_take);
void mb_tx_set_text(struct mb_tx *tx, const char *key, struct mb_bytes text);
void mb_tx_remove(struct mb_tx *tx, const char *key);
/* Write the overlay to the backend and its trees, as slot; it is empty then. */
int mb_tx_flush(struct mb_tx *tx, uint64_t slot, struct mb_hash *state_root,
                struct mb_error *error);
void mb_tx_drop(struct mb_tx *tx); /* forget the overlay */
struct mb_tree_io mb_backend_trees(const struct mb_backend *backend);

/* A walk over keys that start with prefix and are greater than after, in the order of their bytes;
 * texts as they stand. The transaction may be changed between steps. */
struct mb_walk {
    struct mb_tx *tx;
    const char *prefix;
    struct mb_buf key, text;         /* where it stands */
    struct mb_buf below, below_text; /* the backend's next, if below_known */
    bool below_known, below_end;
};
void mb_walk_init(struct mb_walk *w, struct mb_tx *tx, const char *prefix, const char *after);
bool mb_walk_next(struct mb_walk *w); /* false at the end, and after an error (in tx) */
void mb_walk_clear(struct mb_walk *w);

/* --- facts.c: what every command needs, parsed once. --- */

struct mb_facts {
    bool loaded;
    struct mb_membership config, next;     /* next has no replicas if none waits */
    char (*founders)[MB_FINGERPRINT_SIZE]; /* first fingerprints */
    size_t founder_count, threshold;
    bool retired;       /* the founders have no say any more */
    bool keys_replaced; /* there is something below org/key/ */
    unsigned work_bits;
    int64_t epoch_s;
    char *name, onion[MB_ONION_SIZE];
    const struct mb_logic **logics; /* modules in use, by name */
    size_t logic_count;
    uint64_t upgrade_at; /* the first slot of core/upgrade, or UINT64_MAX */
};
void mb_facts_clear(struct mb_facts *f);
/* Read again what has changed. NULL: the transaction's error says why. */
const struct mb_facts *mb_facts(struct mb_ledger *l);
/* Whether modules in use take decisions and say who the members are: without either, only founders
 * can act. */
bool mb_is_governed(const struct mb_facts *f);
/* Whether this program has all modules that core/versions names, in these versions. */
int mb_versions_check(struct mb_ledger *l, struct mb_error *error);

/* --- ledger.c --- */

struct mb_ledger {
    struct mb_backend backend;
    const struct mb_logic *const *modules;
    size_t module_count;
    struct mb_genesis genesis;
    char *genesis_text;
    char org[MB_HASH_HEX_SIZE];
    struct mb_tip tip;
    struct mb_tx tx;
    struct mb_facts facts;
    int64_t sweep_at; /* nothing of core/seen and core/pending is swept before */
};
/* Append header to the history and make it the tip; saves both. envelopes: for checkpoint slots. */
void mb_tip_advance(struct mb_ledger *l, const struct mb_header *header, size_t envelopes);
/* The ledger's own values that are not in the state. */
void mb_meta_tip(struct mb_buf *out, const struct mb_tip *tip);
#define MB_META_TIP     "ledger/tip"
#define MB_META_GENESIS "ledger/genesis"
/* Context of an internal command; more is filled in for others. */
struct mb_context mb_context_of(struct mb_ledger *l, const struct mb_facts *f, uint64_t slot,
                                int64_t time);

/* --- seen.c: the running hash of core/seen/<hour>. --- */

struct mb_seen_hash {
    uint64_t count;
    struct mb_hash hash;
};
void mb_seen_hash_add(struct mb_seen_hash *s, const struct mb_seen *seen);
void mb_seen_hash_read(struct mb_seen_hash *s, struct mb_tx *tx, uint64_t hour);
void mb_seen_hash_write(const struct mb_seen_hash *s, struct mb_tx *tx, uint64_t hour);

/* --- genesis.c, org.c --- */

bool mb_is_module_name(const char *text);
void mb_genesis_write(struct mb_tx *tx, const struct mb_genesis *g);
/* A parameter's name and value: org.param_name [name], org.param_value [name]. */
int mb_param_check(const char *name, const json_t *value, struct mb_error *error);
extern const struct mb_verb mb_org_verbs[];

/* --- org_beacon.c --- */

extern const struct mb_verb mb_beacon_verbs[];
/* An epoch is over: its beacon, if there is one, gets its value, and one that is too old goes. */
void mb_beacon_close(struct mb_ledger *l, int64_t epoch);

/* --- org_replica.c, membership.c --- */

extern const struct mb_verb mb_replica_verbs[];
/* Whether there is a key org/FOLDER/FINGERPRINT. */
bool mb_org_has(struct mb_tx *tx, const char *folder, const char *fingerprint);
/* A replica's, in force or waiting to be. */
bool mb_is_replica_key(struct mb_tx *tx, const char *fingerprint);
/* A founder's, a replica's that is, was or will be, one that was replaced or replaced another. */
bool mb_key_is_known(struct mb_tx *tx, const char *fingerprint);
/* core/config as genesis has it (owned); genesis.c. */
json_t *mb_genesis_config(const json_t *genesis);
#define MB_PAST_KEY_SIZE 40
void mb_past_key(char key[MB_PAST_KEY_SIZE], uint64_t version); /* core/config/past/N */
#define MB_HEADER_KEY_SIZE 16
void mb_header_key(char key[MB_HEADER_KEY_SIZE], uint64_t slot); /* core/header/NNN; apply.c */

/* --- access.c --- */

struct mb_signer {
    char identity[MB_FINGERPRINT_SIZE];
    bool founder, replica; /* founder: not retired */
};
/* Who stands behind a key. False if it was replaced and speaks for nobody any more. */
bool mb_signer_of(struct mb_ledger *l, const struct mb_facts *f, const char *fingerprint,
                  struct mb_signer *out);
/* Bits of work that a command of signer needs: 0 with a role. */
unsigned mb_work_needed(struct mb_ledger *l, const struct mb_facts *f,
                        const struct mb_signer *signer, const char *type, const json_t *body);
/* The verb of a module in use, and that module's name (NULL for org's); or NULL. */
const struct mb_verb *mb_verb_find(const struct mb_facts *f, const char *type, const char **module);
/* What a command needs: the verb's own, but a founder's say to replace somebody else's key. */
enum mb_access mb_access_of(const struct mb_verb *verb, const json_t *body);
/* command.access [type, needed]. */
int mb_access_check(struct mb_ledger *l, enum mb_access needed, const struct mb_signer *signer,
                    const char *type, struct mb_error *error);

/* --- run.c --- */

/* A block under way, or a try at the door. */
struct mb_run {
    struct mb_ledger *l;
    uint64_t slot;
    int64_t time;
    bool door;
    struct mb_buf *results;
    struct mb_executed *executed;
    struct mb_kept *kept; /* what executed points at */
    size_t count, cap;
    size_t internal; /* commands run with the organisation's authority */
    bool entered;    /* an id was taken in: of that hour, whose running hash is this */
    uint64_t hour;
    struct mb_seen_hash seen;
};
/* One envelope: 0, or what it was refused with. The caller looks at the transaction's err. */
int mb_run_envelope(struct mb_run *run, const struct mb_checked *c, struct mb_error *error);
/* One command with the organisation's authority: 0, or what it was refused with. owner: what type
 * and body are borrowed from. */
int mb_run_internal(struct mb_run *run, const char *type, const json_t *body, const char *cause,
                    json_t *owner, struct mb_error *error);
/* A result of no command: what a hook or an upgrade came to. */
void mb_run_note(struct mb_run *run, const char *type, const char *cause, json_t *result_take,
                 const struct mb_error *refusal);
/* Take results back from number from on, but the last if it is to be kept. */
void mb_run_forget(struct mb_run *run, size_t from, bool keep_last);

/* --- hooks.c: where modules have a say. --- */

/* As authorize in struct mb_logic: the first refusal holds, else any 1. */
int mb_run_authorize(struct mb_run *run, const struct mb_checked *c, const char *id,
                     const struct mb_signer *signer, struct mb_error *error);
/* What the command at hand asked for by mb_tx_batch(), if it did. */
void mb_run_batch(struct mb_run *run);
/* After a signed command, whose result is number at. */
void mb_run_applied(struct mb_run *run, const struct mb_checked *c, const char *id,
                    const struct mb_signer *signer, size_t at);
/* Epoch n has begun. */
void mb_run_epoch(struct mb_run *run, int64_t n);
/* Versions that come into force with the next slot (core/upgrade). */
void mb_run_upgrades(struct mb_run *run);
void mb_run_clear(struct mb_run *run);

#endif
