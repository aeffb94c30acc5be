/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of books's deterministic half share: its keys in the state. */
#ifndef MB_BOOKS_STATE_H
#define MB_BOOKS_STATE_H

#include <string.h>

#include "books.h"

#define BOOKS_UNIT (UINT64_C(1) << 62) /* what fractions are counted in */
typedef unsigned __int128 books_wide;

struct books_asset {
    int64_t cap, half_life; /* 0: none */
    bool transferable;
    char issuer[MB_FINGERPRINT_SIZE]; /* as a controller */
};

/* False if there is no such asset. */
bool books_asset(struct mb_tx *tx, const char *name, struct books_asset *out);
/* The asset that an account issues, "" for other accounts. */
const char *books_issues(const char *account);
/*
 * Who controls an account: a first fingerprint, "org", or a module's name; for issue/ASSET the
 * asset's issuer. False if there is no such account.
 */
bool books_controller(struct mb_tx *tx, const char *account, char controller[MB_FINGERPRINT_SIZE]);
/* The same, were the account there already. */
void books_controller_above(struct mb_tx *tx, const char *account,
                            char controller[MB_FINGERPRINT_SIZE]);
/* The fingerprint in key/FINGERPRINT[/…]; false for other accounts. */
bool books_owner(const char *account, char owner[MB_FINGERPRINT_SIZE]);

void books_account_key(char key[MB_STATE_KEY_MAX + 1], const char *account);
void books_balance_key(char key[MB_STATE_KEY_MAX + 1], const char *asset, const char *account);
int64_t books_balance(struct mb_tx *tx, const char *key);
void books_set_balance(struct mb_tx *tx, const char *key, int64_t balance); /* 0 removes it */
void books_put_take(struct mb_tx *tx, const char *key, json_t *value_take);

/* --- books.post --- */

extern const struct mb_json_field books_post_fields[];
bool books_post_may(struct mb_tx *tx, const char *identity, const json_t *body);
int books_post(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
               struct mb_error *error);

/* --- Half-lives --- */

/* An asset that decays was created. */
void books_decay_begin(struct mb_tx *tx, const char *asset);
/* An epoch's decay of this asset has begun and has not come to its end. */
bool books_decaying(struct mb_tx *tx, const char *asset);
int books_on_epoch(struct mb_tx *tx, const struct mb_context *ctx, int64_t n, json_t **commands,
                   struct mb_error *error);
/* The verb books.decay: the ledger's own, goes on where the block before stopped. */
int books_decay(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error);

#endif
