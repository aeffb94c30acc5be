/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The state tree (magicbiz-protocol(7), "State"): for each module a binary tree over H(key), and
 * over those the tree of modules, whose leaves stand module_root in place of H(value).
 * Trees are kept as pages (several levels of nodes in one row), loaded and saved through
 * struct mb_tree_io, so that a change of one key touches a handful of rows.
 */
#ifndef MB_MERKLE_TREE_H
#define MB_MERKLE_TREE_H

#include "base/error.h"
#include "base/hash.h"

#define MB_PROOF_MAX 17000 /* bytes: two parts of 256 levels are never longer */

/*
 * Where pages live. tree is a module's name, or "" for the tree of modules. id names the page
 * within its tree (opaque, at most 40 bytes). load returns 1 and appends to page, or 0 if there
 * is none; save with len 0 removes. Errors are negative and passed on.
 */
struct mb_tree_io {
    void *self;
    int (*load)(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page);
    int (*save)(void *self, const char *tree, struct mb_bytes id, struct mb_bytes page);
};

struct mb_tree_change {
    struct mb_hash key_hash;   /* H(key) */
    struct mb_hash value_hash; /* H(text), or a module's root in the tree "" */
    bool present;              /* false: the key is deleted (absent keys may be deleted) */
};

/* Apply changes (any order; a key at most once; the array is sorted in place); fills *root, the
 * tree's new root, all zero if it is empty. MB_ECORRUPT (state.corrupt) if a page makes no sense.
 */
int mb_tree_update(const struct mb_tree_io *io, const char *tree, struct mb_tree_change *changes,
                   size_t count, struct mb_hash *root, struct mb_error *error);
int mb_tree_root(const struct mb_tree_io *io, const char *tree, struct mb_hash *root,
                 struct mb_error *error);
/* Append the proof's part for key_hash in tree: depth:2 || bitmap || siblings || kind:1 [|| …]. */
int mb_tree_prove(const struct mb_tree_io *io, const char *tree, const struct mb_hash *key_hash,
                  struct mb_buf *part, struct mb_error *error);

/* Recompute tree from the leaves in its pages and compare every node that the pages hold: fills
 * *root, and visits the leaves in the order of their key_hash until visit returns other than 0,
 * which is returned. MB_ECORRUPT (state.corrupt) if a page does not match. */
typedef int mb_tree_visit(void *arg, const struct mb_hash *key_hash,
                          const struct mb_hash *value_hash);
int mb_tree_walk(const struct mb_tree_io *io, const char *tree, mb_tree_visit *visit, void *arg,
                 struct mb_hash *root, struct mb_error *error);

/* node(S, 0) of leaves (key_hash, value_hash) in memory, sorted by key_hash: for whole-module
 * downloads, full checks and tests. */
struct mb_hash mb_tree_root_of(const struct mb_tree_change *sorted, size_t count);
struct mb_hash mb_tree_leaf(const struct mb_hash *key_hash, const struct mb_hash *value_hash);

/*
 * The whole proof for a state key "module/rest" (two parts), and its check.
 * verify: text is the canonical value, or NULL data for a proof that the key is absent (then a
 * module part of kind other than 0 ends the proof). MB_EPROOF (proof.false) or MB_EINVAL
 * (proof.invalid).
 */
int mb_state_prove(const struct mb_tree_io *io, const char *key, struct mb_buf *proof,
                   struct mb_error *error);
int mb_state_verify(struct mb_bytes proof, const struct mb_hash *state_root, const char *key,
                    struct mb_bytes text, struct mb_error *error);
/* Only the first part of such a proof: module_root (all zero: no keys) is that of module. */
int mb_state_verify_module(struct mb_bytes proof, const struct mb_hash *state_root,
                           const char *module, const struct mb_hash *module_root,
                           struct mb_error *error);

#endif
