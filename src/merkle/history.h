/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The append-only tree of RFC 6962, section 2.1 (SHA-256, leaf prefix 0x00, node prefix 0x01).
 */
#ifndef MB_MERKLE_HISTORY_H
#define MB_MERKLE_HISTORY_H

#include "base/error.h"
#include "base/hash.h"

#define MB_HISTORY_PATH_MAX 64

struct mb_hash mb_history_leaf(struct mb_bytes input); /* H(0x00 || input) */
struct mb_hash mb_history_node(const struct mb_hash *l, const struct mb_hash *r);
/* MTH over count leaf hashes (already leaf-hashed); of none: H(""). */
struct mb_hash mb_history_root_of(const struct mb_hash *leaves, size_t count);
/* PATH(m, D[n]) over leaf hashes in memory; path has room for MB_HISTORY_PATH_MAX; returns its
 * length. */
size_t mb_history_path_of(const struct mb_hash *leaves, size_t count, size_t m,
                          struct mb_hash *path);

/* The right edge of a growing tree: the roots of its complete subtrees, largest first. */
struct mb_frontier {
    uint64_t size;  /* leaves */
    unsigned count; /* = number of one bits in size */
    struct mb_hash peaks[64];
};
/* Add a leaf. node, unless NULL, is told each complete subtree that came to be: level 0 is a leaf,
 * subtree (level, index) covers leaves index·2^level … (index+1)·2^level − 1. */
typedef void mb_history_node_fn(void *arg, unsigned level, uint64_t index,
                                const struct mb_hash *hash);
void mb_frontier_add(struct mb_frontier *f, const struct mb_hash *leaf, mb_history_node_fn *node,
                     void *arg);
struct mb_hash mb_frontier_root(const struct mb_frontier *f);

/* Proofs from stored complete subtrees. get returns 0 or an error, which is passed on. */
struct mb_history_source {
    void *self;
    int (*get)(void *self, unsigned level, uint64_t index, struct mb_hash *hash);
};
int mb_history_root(const struct mb_history_source *src, uint64_t n, struct mb_hash *root);
int mb_history_prove_inclusion(const struct mb_history_source *src, uint64_t m, uint64_t n,
                               struct mb_hash path[MB_HISTORY_PATH_MAX], size_t *path_len);
int mb_history_prove_consistency(const struct mb_history_source *src, uint64_t m, uint64_t n,
                                 struct mb_hash path[MB_HISTORY_PATH_MAX], size_t *path_len);

/* RFC 9162 sections 2.1.3.2 and 2.1.4.2 (the same proofs, verified iteratively). */
bool mb_history_verify_inclusion(const struct mb_hash *leaf, uint64_t m, uint64_t n,
                                 const struct mb_hash *path, size_t path_len,
                                 const struct mb_hash *root);
bool mb_history_verify_consistency(uint64_t m, const struct mb_hash *root_m, uint64_t n,
                                   const struct mb_hash *root_n, const struct mb_hash *path,
                                   size_t path_len);

#endif
