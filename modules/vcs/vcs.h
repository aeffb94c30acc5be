/* SPDX-License-Identifier: GPL-3.0-or-later */
/* vcs: what its deterministic half (vcs_apply.c) and its world half share. */
#ifndef MB_VCS_H
#define MB_VCS_H

#include <magicbiz/tx.h>

#define VCS_REPO_MAX          40
#define VCS_BYTES_MAX         (INT64_C(1) << 40)
#define VCS_PACK_BYTES        (INT64_C(512) << 20) /* default limits of a repository */
#define VCS_PROPOSAL_BYTES    (INT64_C(32) << 20)  /* packs of those who are no maintainers */
#define VCS_OBJECT_BYTES      (INT64_C(128) << 20)
#define VCS_ANONYMOUS         "anonymous"
#define VCS_NAMESPACE_RECEIPT "magicbiz-pack"

extern const struct mb_logic vcs_logic;

/* 1 to 40 of a-z 0-9 - . _; begins and ends with a letter or digit; no "..", no .git or .lock at
 * the end. */
bool vcs_repo_name_valid(const char *name);
/* The state's vcs/repo/<repo> as a new reference, or NULL. */
json_t *vcs_repo(struct mb_tx *tx, const char *repo);
bool vcs_is_maintainer(const json_t *repo, const char *identity);
void vcs_ref_key(char out[MB_STATE_KEY_MAX + 1], const char *repo, const char *ref);

/* [{"new","old","ref"}…] in the order pushed. */
json_t *vcs_updates_json(const struct mb_ref_update *updates, size_t count);
/* Append what a receipt signs: canonical {"org","pack","repo","until","updates"}; pack may be NULL.
 */
void vcs_receipt_text(struct mb_buf *out, const char *org, const char *repo, const char *pack,
                      int64_t until, const struct mb_ref_update *updates, size_t count);
/* The value of push option name=value, or "". */
const char *vcs_push_option(char *const *options, size_t count, const char *name);
/*
 * What apply would refuse of a push whose pack has not come yet: certificate (NULL: unsigned, with
 * work), nonce, who may push, each ref against the state. Writes nothing. Fills author.
 */
int vcs_check_head(struct mb_tx *tx, const struct mb_context *ctx, const char *name,
                   const struct mb_pushcert *cert, const struct mb_ref_update *updates,
                   size_t count, const char *work, char author[MB_FINGERPRINT_SIZE],
                   struct mb_error *error);
bool vcs_pushee_is_ours(const struct mb_context *ctx, const char *repo, const char *pushee);

#endif
