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

/* The identity that a key speaks for: its own fingerprint, or the first one where the key came by
 * org.key.replace. False if the key was itself replaced, and speaks for nobody any more. */
bool mb_tx_identity(struct mb_tx *tx, const char *fingerprint, char identity[MB_FINGERPRINT_SIZE]);
/* True if the key speaks for a founder or is a replica: such keys bring no work. */
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
    int64_t time;     /* ledger time of this block, seconds */
    uint32_t index;   /* this command's position among the block's results */
    const char *id;   /* the command's id, or "" for internal ones */
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

/* Who may call a verb unless the organisation's rules say otherwise. Until the organisation has
 * books and votes, ORG is the founders together (their threshold), MEMBER any founder. */
enum mb_access {
    MB_ANYONE,
    MB_MEMBER,
    MB_REPLICA,
    MB_ORG,
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
    const char *name; /* also the first segment of its keys */
    uint32_t version; /* of its formats */
    const struct mb_verb *verbs;        /* ends with a NULL name */
    const struct mb_message *messages;  /* ends with a NULL code; may be NULL */
    /* Write what genesis gives this module; may be NULL. */
    int (*genesis)(struct mb_tx *tx, const struct mb_context *ctx, const json_t *genesis,
                   struct mb_error *error);
    /* Housekeeping at the start of each block, without a result; may be NULL. */
    void (*sweep)(struct mb_tx *tx, const struct mb_context *ctx);
    /* True if the identity has a role for this command, so that it need not bring work; body is not
     * checked yet. NULL: no. */
    bool (*has_role)(struct mb_tx *tx, const char *identity, const char *type, const json_t *body);
};

#endif
