/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pages of a state tree. A page stands at a depth that is a multiple of MB_PAGE_LEVELS and holds
 * the part of the tree below one prefix of H(key): either as a bucket, which lists its leaves
 *     0x01 || count × (key_hash || value_hash)           strictly ascending, count >= 1
 * or, when those would be too many, as an inner page, which holds the nodes MB_PAGE_LEVELS deeper,
 * each with a page of its own:
 *     0x02 || present:2 || single:2 || hash of each present node
 * (bit i, from the least significant: slot i; single: the node is a leaf). All nodes between are
 * computed when they are needed. The id of a page is depth:1 || the bits of its prefix, padded.
 */
#ifndef MB_MERKLE_PAGE_H
#define MB_MERKLE_PAGE_H

#include "merkle/tree.h"

#define MB_PAGE_LEVELS     4
#define MB_PAGE_SLOTS      (1u << MB_PAGE_LEVELS)
#define MB_PAGE_BUCKET_MAX 32 /* leaves; at least MB_PAGE_SLOTS, see mb_page_can_split */
#define MB_PAGE_ID_MAX     33

/* node(S, d), and how many members S has: that decides what its parent is. */
enum mb_node_kind { MB_NODE_EMPTY, MB_NODE_LEAF, MB_NODE_INNER };
struct mb_node {
    struct mb_hash hash; /* all zero if empty */
    enum mb_node_kind kind;
};
struct mb_node mb_node_join(const struct mb_node *l, const struct mb_node *r);

struct mb_leaf {
    struct mb_hash key_hash, value_hash;
};
/* node(S, depth) of count leaves in ascending order; the next leaf is stride bytes on. */
struct mb_node mb_node_of(const void *leaves, size_t stride, size_t count, unsigned depth);
/* How many of them have bit `depth` = 0. */
size_t mb_leaves_split(const void *leaves, size_t stride, size_t count, unsigned depth);

unsigned mb_hash_bit(const struct mb_hash *h, unsigned depth);
/* True if the first depth bits are the same. */
bool mb_hash_same_prefix(const struct mb_hash *a, const struct mb_hash *b, unsigned depth);
/* The MB_PAGE_LEVELS bits of h at depth: the slot that it falls into; and how to set them. */
unsigned mb_page_slot(const struct mb_hash *h, unsigned depth);
void mb_page_set_slot(struct mb_hash *h, unsigned depth, unsigned slot);
/* Below the last depth where a page may split there are at most MB_PAGE_SLOTS leaves. */
bool mb_page_can_split(unsigned depth);
struct mb_bytes mb_page_id(uint8_t id[MB_PAGE_ID_MAX], unsigned depth, const struct mb_hash *path);

struct mb_page {
    struct mb_buf bytes;
    const struct mb_leaf *leaves; /* a bucket's, inside bytes; NULL for an inner page */
    size_t count;
    struct mb_node nodes[2 * MB_PAGE_SLOTS]; /* inner: a heap, root 1, slot i at SLOTS + i */
};
/* Take apart p->bytes, the page at depth on path: an inner page's slots are filled, the nodes above
 * them not yet. False if it makes no sense. */
bool mb_page_parse(struct mb_page *p, unsigned depth, const struct mb_hash *path);
/* Compute the node at the page's top; of an inner page, nodes 1 … SLOTS − 1 too. */
struct mb_node mb_page_top(struct mb_page *p, unsigned depth);
void mb_page_write_bucket(struct mb_buf *out, const struct mb_leaf *leaves, size_t count);
void mb_page_write_inner(struct mb_buf *out, const struct mb_node nodes[2 * MB_PAGE_SLOTS]);

#endif
