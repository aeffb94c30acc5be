/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the two files of vcs's deterministic half share: its keys in the state. */
#ifndef MB_VCS_STATE_H
#define MB_VCS_STATE_H

#include "vcs.h"

#define VCS_NONCE_LIFE_S 3600

/* "vcs/KIND/REPO/REST", without "/REST" if rest is empty. */
void vcs_key(char out[MB_STATE_KEY_MAX + 1], const char *kind, const char *repo, const char *rest);
/* Names that differ only in the case of ASCII letters are one name: on some clients' file systems
 * they are one file. */
void vcs_fold_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *ref);
void vcs_proposal_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, int64_t id);
/* How many proposals of an author are open. */
void vcs_count_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *author);
void vcs_add_count(struct mb_tx *tx, const char *key, int64_t by);
bool vcs_is_zero_id(const char *id);
void vcs_put_ref(struct mb_tx *tx, const char *repo, const char *ref, const char *id);
void vcs_remove_ref(struct mb_tx *tx, const char *repo, const char *ref);

/* The verb vcs.push. */
int vcs_push(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
             struct mb_error *error);

#endif
