/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The deterministic half of a module: what its verbs may see and touch.
 *
 * Everything here is called while a block is applied, on every replica alike. A verb is handed the
 * state (struct mb_tx), what the ledger knows (struct mb_context) and the command's body; it has no
 * clock, no file, no socket, no randomness. It refuses with mb_refuse(): a refusal undoes all that
 * the command wrote.
 */
#ifndef MAGICBIZ_TX_H
#define MAGICBIZ_TX_H

#include <magicbiz/base.h>
#include <magicbiz/sign.h>

struct mb_tx;

#define MB_STATE_KEY_MAX   255
#define MB_STATE_VALUE_MAX 524288

/* The value of key as a new reference, or NULL if there is none. */
json_t *mb_tx_get(struct mb_tx *tx, const char *key);
bool mb_tx_has(struct mb_tx *tx, const char *key);
/*
 * Set key to value (borrowed), or remove it. A key or text over the limits, or outside the
 * command's module, makes the whole command fail with state.limit or state.foreign; the caller
 * need not check. Modules other than core and org may write below their own name only.
 */
void mb_tx_put(struct mb_tx *tx, const char *key, const json_t *value);
void mb_tx_delete(struct mb_tx *tx, const char *key);
/*
 * Visit keys that start with prefix and are greater than after ("" for all), in the order of their
 * bytes, until visit returns other than 0, which is returned. value is borrowed for the call. The
 * transaction may be changed from inside visit; keys already passed are not visited again.
 */
typedef int mb_tx_visit(void *arg, const char *key, const json_t *value);
int mb_tx_scan(struct mb_tx *tx, const char *prefix, const char *after, mb_tx_visit *visit,
               void *arg);

/* Run type with body as the organisation at time (ledger seconds) or at the first block after. */
void mb_tx_due(struct mb_tx *tx, int64_t time, const char *type, const json_t *body);

/*
 * Have commands ([{"body":{…},"type":"…"}, …], at most MB_BATCH_MAX) run with the organisation's
 * authority right after the command at hand, if that does well: all of them or none. Their results
 * have the cause "proposal:<id>"; of a batch that fails there is only the failing one's. Then the
 * module's batch_done hears of it. Once in a command, and not within a batch: command.batch.
 */
#define MB_BATCH_MAX 16
void mb_tx_batch(struct mb_tx *tx, const char *id, const json_t *commands);

/* Count work on the block at hand, in units that its modules agree on, and say how much it has come
 * to: 0 at the beginning of each block, and at the door. A refusal takes none of it back. */
int64_t mb_tx_work(struct mb_tx *tx, int64_t more);

/* Whether an identity is a member: a module in use says so (is_member); where none does, the
 * founders are, until they retire. */
bool mb_tx_is_member(struct mb_tx *tx, const char *identity);

/* The identity that a key speaks for: its own fingerprint, or the first one where the key came by
 * org.key.replace. False if the key was itself replaced, and speaks for nobody any more. */
bool mb_tx_identity(struct mb_tx *tx, const char *fingerprint, char identity[MB_FINGERPRINT_SIZE]);
/* True if the key speaks for a founder or a member, or is a replica: such keys bring no work. */
bool mb_tx_has_role(struct mb_tx *tx, const char *fingerprint);

#define MB_TOR_AUTH_SIZE 53 /* 52 base32 characters, NUL */
struct mb_replica {
    int64_t number;
    struct mb_public_key key;
    char fingerprint[MB_FINGERPRINT_SIZE];
    char onion[MB_ONION_SIZE], peer_onion[MB_ONION_SIZE];
    char tor_auth[MB_TOR_AUTH_SIZE]; /* X25519: whom the other replicas' peer onions let in */
};

struct mb_context {
    const char *org;  /* the org id, 64 hex digits */
    const char *name; /* the organisation's name */
    uint64_t slot;
    int64_t time;   /* ledger time of this block, seconds */
    uint32_t index; /* this command's position among the block's results */
    const char *id; /* the command's id, or "" for internal ones */
    /* Runs with the organisation's authority: internal, or a verb of access ORG that enough
     * founders agreed to (one, if their threshold is 1). */
    bool as_org;
    /* Who signed: the identity's first fingerprint, and the key used; "" and NULL if as_org. */
    const char *signer;
    const struct mb_public_key *signer_key;
    /* The replicas in the configuration for this slot, by number. */
    const struct mb_replica *replicas;
    size_t replica_count;
    const char *onion; /* org/onion's current address */
};

/* What a member's vote weighs in a procedure: as a module in use says (weight), else 1. */
int64_t mb_tx_weight(struct mb_tx *tx, const struct mb_context *ctx, const char *member,
                     const char *procedure);

/* Who may call a verb unless the organisation's rules say otherwise (authorize). ORG: commands that
 * the ledger runs itself, and until they retire the founders together (their threshold). */
enum mb_access {
    MB_ANYONE,
    MB_MEMBER, /* mb_tx_is_member() */
    MB_REPLICA,
    MB_ORG,
    MB_FOUNDER, /* until they retire */
};

struct mb_verb {
    const char *name; /* "vcs.push" */
    enum mb_access access;
    const struct mb_json_field *body; /* checked before apply is called */
    /* Who else may call it, whatever access says: a repository's maintainers. It runs as the signer
     * then. body is not checked yet. NULL: nobody. */
    bool (*may)(struct mb_tx *tx, const char *identity, const json_t *body);
    /* 0 and *result (owned by the caller; NULL stands for {}), or MB_EREFUSED with error filled. */
    int (*apply)(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                 json_t **result, struct mb_error *error);
};

/* A text for an error code: "{0} is taken"; {N} is replaced by the Nth arg. */
struct mb_message {
    const char *code, *text;
};

/* The deterministic half of a module as one table, linked into daemon, simulator and auditor. */
struct mb_logic {
    const char *name;                  /* also the first segment of its keys */
    uint32_t version;                  /* of its formats */
    const struct mb_logic *older;      /* the version before, kept for replay; NULL: none */
    const struct mb_verb *verbs;       /* ends with a NULL name */
    const struct mb_message *messages; /* ends with a NULL code; may be NULL */
    /* Write what genesis gives this module, when the organisation is founded, or when org.upgrade
     * puts it in use later; may be NULL. */
    int (*genesis)(struct mb_tx *tx, const struct mb_context *ctx, const json_t *genesis,
                   struct mb_error *error);
    /* org.upgrade comes into force, and the state is that of version from; may be NULL. */
    int (*upgrade)(struct mb_tx *tx, const struct mb_context *ctx, uint32_t from,
                   struct mb_error *error);
    /* Housekeeping at the start of each block, without a result; may be NULL. */
    void (*sweep)(struct mb_tx *tx, const struct mb_context *ctx);
    /* True if the identity has a role for this command, so that it need not bring work; body is not
     * checked yet. NULL: no. */
    bool (*has_role)(struct mb_tx *tx, const char *identity, const char *type, const json_t *body);

    /* How modules have a say in what others do; each may be NULL. Modules are asked in the order
     * of their names. */

    bool (*is_member)(struct mb_tx *tx, const char *identity);
    int64_t (*weight)(struct mb_tx *tx, const struct mb_context *ctx, const char *member,
                      const char *procedure); /* at least 0; ctx as the asking verb's */
    /* A signed command is about to run; body is not checked yet, and nothing may be written.
     * MB_EREFUSED (error filled): it does not. 1: its signer may, whatever the verb's access says;
     * a verb of access ORG then runs as the organisation. 0: nothing to say. */
    int (*authorize)(struct mb_tx *tx, const struct mb_context *ctx, const char *type,
                     const json_t *body, struct mb_error *error);
    /*
     * Epoch n has begun; a signed command was applied (admissible, and not seen before; outcome as
     * in struct mb_executed). The module may write, and have *commands (as mb_tx_batch()'s; owned
     * by the caller; NULL: none) run as the organisation, each by itself. MB_EREFUSED, or more than
     * MB_BATCH_MAX commands: a result of type NAME.on_epoch, NAME.on_applied with the error.
     */
    int (*on_epoch)(struct mb_tx *tx, const struct mb_context *ctx, int64_t n, json_t **commands,
                    struct mb_error *error);
    int (*on_applied)(struct mb_tx *tx, const struct mb_context *ctx, const char *type,
                      const json_t *body, bool ok, const json_t *outcome, json_t **commands,
                      struct mb_error *error);
    /* What came of this module's batch: error is what command number failing was refused with. */
    void (*batch_done)(struct mb_tx *tx, const struct mb_context *ctx, const char *id, bool ok,
                       size_t failing, const struct mb_error *error);
};

#endif
