/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "merkle/page.h"

struct job {
    const struct mb_tree_io *io;
    const char *tree;
    struct mb_error *error;
};

static int corrupt(const struct job *j, unsigned depth)
{
    return mb_fail(j->error, MB_ECORRUPT, "state.corrupt",
                   "a page of the state tree \"%s\" at depth %u makes no sense", j->tree, depth);
}

/* 1 and the page at depth on path, taken apart; 0 if there is none. */
static int load(const struct job *j, unsigned depth, const struct mb_hash *path, struct mb_page *p)
{
    uint8_t id[MB_PAGE_ID_MAX];
    mb_buf_reset(&p->bytes);
    int rc = j->io->load(j->io->self, j->tree, mb_page_id(id, depth, path), &p->bytes);
    if (rc < 0)
        return mb_fail(j->error, (enum mb_err)rc, "state.io",
                       "a page of the state tree \"%s\" cannot be read", j->tree);
    if (rc == 0)
        return 0;
    return mb_page_parse(p, depth, path) ? 1 : corrupt(j, depth);
}

static int save(const struct job *j, unsigned depth, const struct mb_hash *path,
                struct mb_bytes page)
{
    uint8_t id[MB_PAGE_ID_MAX];
    int rc = j->io->save(j->io->self, j->tree, mb_page_id(id, depth, path), page);
    if (rc < 0)
        return mb_fail(j->error, (enum mb_err)rc, "state.io",
                       "a page of the state tree \"%s\" cannot be written", j->tree);
    return 0;
}

/* Write the pages for leaves, all of them new; their top goes to *top. count >= 1. */
static int build(const struct job *j, unsigned depth, const struct mb_leaf *leaves, size_t count,
                 struct mb_node *top)
{
    struct mb_page p = {0};
    int rc = 0;
    if (count <= MB_PAGE_BUCKET_MAX) {
        mb_page_write_bucket(&p.bytes, leaves, count);
        p.leaves = leaves;
        p.count = count;
    } else {
        for (size_t i = 0, n; i < count && rc == 0; i += n) {
            unsigned slot = mb_page_slot(&leaves[i].key_hash, depth);
            for (n = 1; i + n < count && mb_page_slot(&leaves[i + n].key_hash, depth) == slot;)
                n++;
            rc = build(j, depth + MB_PAGE_LEVELS, leaves + i, n, &p.nodes[MB_PAGE_SLOTS + slot]);
        }
        mb_page_write_inner(&p.bytes, p.nodes);
    }
    if (rc == 0)
        rc = save(j, depth, &leaves[0].key_hash, mb_buf_bytes(&p.bytes));
    *top = mb_page_top(&p, depth);
    mb_buf_clear(&p.bytes);
    return rc;
}

/* old with changes, both ascending, into out (room for both). Returns how many; *changed is set if
 * they are not the old ones. */
static size_t merge(const struct mb_leaf *old, size_t old_count, const struct mb_tree_change *ch,
                    size_t ch_count, struct mb_leaf *out, bool *changed)
{
    size_t n = 0, i = 0;
    for (size_t k = 0; k < ch_count; k++) {
        int order = -1;
        while (i < old_count && (order = mb_hash_compare(&old[i].key_hash, &ch[k].key_hash)) < 0)
            out[n++] = old[i++];
        bool was = i < old_count && order == 0;
        if (was != ch[k].present || (was && !mb_hash_equal(&old[i].value_hash, &ch[k].value_hash)))
            *changed = true;
        if (was)
            i++;
        if (ch[k].present)
            out[n++] = (struct mb_leaf){ch[k].key_hash, ch[k].value_hash};
    }
    while (i < old_count)
        out[n++] = old[i++];
    return n;
}

static int update_bucket(const struct job *j, unsigned depth, struct mb_page *p,
                         const struct mb_tree_change *ch, size_t count, struct mb_node *top)
{
    struct mb_leaf *leaves = mb_alloc((p->count + count) * sizeof *leaves);
    bool changed = false;
    size_t n = merge(p->leaves, p->count, ch, count, leaves, &changed);
    int rc = 0;
    if (!changed)
        *top = mb_node_of(leaves, sizeof *leaves, n, depth);
    else if (n > 0)
        rc = build(j, depth, leaves, n, top);
    else {
        *top = (struct mb_node){mb_hash_zero, MB_NODE_EMPTY};
        rc = save(j, depth, &ch[0].key_hash, mb_bytes(NULL, 0));
    }
    free(leaves);
    return rc;
}

static int update(const struct job *j, unsigned depth, bool exists, const struct mb_tree_change *ch,
                  size_t count, struct mb_node *top);

static int update_inner(const struct job *j, unsigned depth, struct mb_page *p,
                        const struct mb_tree_change *ch, size_t count, struct mb_node *top)
{
    bool changed = false;
    for (size_t i = 0, n; i < count; i += n) {
        unsigned slot = mb_page_slot(&ch[i].key_hash, depth);
        for (n = 1; i + n < count && mb_page_slot(&ch[i + n].key_hash, depth) == slot;)
            n++;
        struct mb_node *node = &p->nodes[MB_PAGE_SLOTS + slot], old = *node;
        int rc = update(j, depth + MB_PAGE_LEVELS, old.kind != MB_NODE_EMPTY, ch + i, n, node);
        if (rc)
            return rc;
        changed |= node->kind != old.kind || !mb_hash_equal(&node->hash, &old.hash);
    }
    *top = mb_page_top(p, depth);
    if (!changed)
        return 0;
    mb_buf_reset(&p->bytes);
    if (top->kind != MB_NODE_EMPTY)
        mb_page_write_inner(&p->bytes, p->nodes);
    return save(j, depth, &ch[0].key_hash, mb_buf_bytes(&p->bytes));
}

/* Apply changes that share the page at depth; exists: there must be one already. */
static int update(const struct job *j, unsigned depth, bool exists, const struct mb_tree_change *ch,
                  size_t count, struct mb_node *top)
{
    struct mb_page p = {0};
    int rc = exists ? load(j, depth, &ch[0].key_hash, &p) : 0;
    if (rc == 0 && exists && depth > 0)
        rc = corrupt(j, depth);
    else if (rc >= 0 && (rc == 0 || p.leaves))
        rc = update_bucket(j, depth, &p, ch, count, top);
    else if (rc > 0)
        rc = update_inner(j, depth, &p, ch, count, top);
    mb_buf_clear(&p.bytes);
    return rc;
}

static int by_key_hash(const void *a, const void *b)
{
    const struct mb_tree_change *x = a, *y = b;
    return mb_hash_compare(&x->key_hash, &y->key_hash);
}

int mb_tree_update(const struct mb_tree_io *io, const char *tree, struct mb_tree_change *changes,
                   size_t count, struct mb_hash *root, struct mb_error *error)
{
    if (count == 0)
        return mb_tree_root(io, tree, root, error);
    const struct job j = {io, tree, error};
    struct mb_node top;
    qsort(changes, count, sizeof *changes, by_key_hash);
    int rc = update(&j, 0, true, changes, count, &top);
    if (rc == 0)
        *root = top.hash;
    return rc;
}

int mb_tree_root(const struct mb_tree_io *io, const char *tree, struct mb_hash *root,
                 struct mb_error *error)
{
    const struct job j = {io, tree, error};
    struct mb_page p = {0};
    int rc = load(&j, 0, &mb_hash_zero, &p);
    if (rc >= 0)
        *root = rc ? mb_page_top(&p, 0).hash : mb_hash_zero;
    mb_buf_clear(&p.bytes);
    return rc < 0 ? rc : 0;
}

struct walk {
    struct job job;
    mb_tree_visit *visit;
    void *arg;
};

static int walk_page(const struct walk *w, unsigned depth, const struct mb_hash *path,
                     struct mb_node *top)
{
    struct mb_page p = {0};
    int rc = load(&w->job, depth, path, &p);
    if (rc == 0 && depth > 0)
        rc = corrupt(&w->job, depth);
    else if (rc == 0)
        *top = (struct mb_node){mb_hash_zero, MB_NODE_EMPTY};
    else if (rc == 1)
        *top = mb_page_top(&p, depth);
    rc = rc < 0 ? rc : 0;
    for (size_t i = 0; i < p.count && rc == 0; i++)
        rc = w->visit(w->arg, &p.leaves[i].key_hash, &p.leaves[i].value_hash);
    for (unsigned slot = 0; !p.leaves && slot < MB_PAGE_SLOTS && rc == 0; slot++) {
        const struct mb_node *said = &p.nodes[MB_PAGE_SLOTS + slot];
        if (said->kind == MB_NODE_EMPTY)
            continue;
        struct mb_node is;
        struct mb_hash child = *path;
        mb_page_set_slot(&child, depth, slot);
        rc = walk_page(w, depth + MB_PAGE_LEVELS, &child, &is);
        if (rc == 0 && (is.kind != said->kind || !mb_hash_equal(&is.hash, &said->hash)))
            rc = corrupt(&w->job, depth + MB_PAGE_LEVELS);
    }
    mb_buf_clear(&p.bytes);
    return rc;
}

int mb_tree_walk(const struct mb_tree_io *io, const char *tree, mb_tree_visit *visit, void *arg,
                 struct mb_hash *root, struct mb_error *error)
{
    const struct walk w = {{io, tree, error}, visit, arg};
    struct mb_node top;
    int rc = walk_page(&w, 0, &mb_hash_zero, &top);
    if (rc == 0)
        *root = top.hash;
    return rc;
}

/* A proof's part while it is made. */
struct part {
    unsigned depth;
    uint8_t bitmap[32];
    struct mb_buf siblings;
};

static void add_sibling(struct part *part, const struct mb_node *node)
{
    if (node->kind != MB_NODE_EMPTY) {
        part->bitmap[part->depth / 8] |= (uint8_t)(0x80u >> part->depth % 8);
        mb_buf_add(&part->siblings, node->hash.b, 32);
    }
    part->depth++;
}

/* The lone leaf below a node that is one, from the page at depth on path; hash: what it must be. */
static int lone_leaf(const struct job *j, unsigned depth, struct mb_hash path,
                     const struct mb_hash *hash, struct mb_leaf *leaf)
{
    struct mb_page p = {0};
    int rc;
    while ((rc = load(j, depth, &path, &p)) == 1 && !p.leaves) {
        unsigned slot = 0;
        while (slot < MB_PAGE_SLOTS - 1 && p.nodes[MB_PAGE_SLOTS + slot].kind == MB_NODE_EMPTY)
            slot++;
        mb_page_set_slot(&path, depth, slot);
        depth += MB_PAGE_LEVELS;
    }
    if (rc == 1 && mb_page_top(&p, depth).kind == MB_NODE_LEAF) {
        *leaf = p.leaves[0];
        struct mb_hash is = mb_tree_leaf(&leaf->key_hash, &leaf->value_hash);
        rc = mb_hash_equal(&is, hash) ? 0 : corrupt(j, depth);
    } else if (rc >= 0) {
        rc = corrupt(j, depth);
    }
    mb_buf_clear(&p.bytes);
    return rc;
}

/* Go down inside a bucket to where key_hash ends: 1 and *leaf, or 0 if nothing is there. */
static int prove_bucket(const struct mb_page *p, const struct mb_hash *key_hash, struct part *part,
                        struct mb_leaf *leaf)
{
    const struct mb_leaf *leaves = p->leaves;
    size_t count = p->count;
    while (count > 1) {
        size_t k = mb_leaves_split(leaves, sizeof *leaves, count, part->depth), other = count - k;
        bool right = mb_hash_bit(key_hash, part->depth);
        struct mb_node sibling = mb_node_of(right ? leaves : leaves + k, sizeof *leaves,
                                            right ? k : other, part->depth + 1);
        add_sibling(part, &sibling);
        leaves = right ? leaves + k : leaves;
        count = right ? other : k;
    }
    if (count == 1)
        *leaf = leaves[0];
    return (int)count;
}

/* Go down inside an inner page whose top is computed. 1 and *leaf, or 0 if nothing is there, or 2
 * and *next, the node that the page below must have. */
static int prove_inner(const struct job *j, const struct mb_page *p, const struct mb_hash *key_hash,
                       struct part *part, struct mb_leaf *leaf, struct mb_node *next)
{
    unsigned top = part->depth, i = 1;
    while (i < MB_PAGE_SLOTS && p->nodes[i].kind == MB_NODE_INNER) {
        unsigned bit = mb_hash_bit(key_hash, part->depth);
        add_sibling(part, &p->nodes[2 * i + !bit]);
        i = 2 * i + bit;
    }
    *next = p->nodes[i];
    if (next->kind != MB_NODE_LEAF)
        return next->kind == MB_NODE_EMPTY ? 0 : 2;
    while (i < MB_PAGE_SLOTS)
        i = 2 * i + (p->nodes[2 * i].kind == MB_NODE_EMPTY);
    struct mb_hash path = *key_hash;
    mb_page_set_slot(&path, top, i - MB_PAGE_SLOTS);
    int rc = lone_leaf(j, top + MB_PAGE_LEVELS, path, &next->hash, leaf);
    return rc < 0 ? rc : 1;
}

/* Fill part; 1 and *leaf if one is at its end, or 0. */
static int prove(const struct job *j, const struct mb_hash *key_hash, struct part *part,
                 struct mb_leaf *leaf)
{
    struct mb_page p = {0};
    struct mb_node expect = {mb_hash_zero, MB_NODE_EMPTY};
    int rc;
    do {
        unsigned depth = part->depth;
        rc = load(j, depth, key_hash, &p);
        if (rc == 0 && depth > 0)
            rc = corrupt(j, depth);
        if (rc <= 0)
            break;
        struct mb_node top = mb_page_top(&p, depth);
        if (depth > 0 && !mb_hash_equal(&top.hash, &expect.hash))
            rc = corrupt(j, depth);
        else if (p.leaves)
            rc = prove_bucket(&p, key_hash, part, leaf);
        else
            rc = prove_inner(j, &p, key_hash, part, leaf, &expect);
    } while (rc == 2);
    mb_buf_clear(&p.bytes);
    return rc;
}

int mb_tree_prove(const struct mb_tree_io *io, const char *tree, const struct mb_hash *key_hash,
                  struct mb_buf *out, struct mb_error *error)
{
    const struct job j = {io, tree, error};
    struct part part = {0};
    struct mb_leaf leaf;
    int rc = prove(&j, key_hash, &part, &leaf);
    if (rc >= 0) {
        mb_buf_add_u16(out, (uint16_t)part.depth);
        mb_buf_add(out, part.bitmap, (part.depth + 7) / 8);
        mb_buf_add_bytes(out, mb_buf_bytes(&part.siblings));
        bool other = rc == 1 && !mb_hash_equal(&leaf.key_hash, key_hash);
        mb_buf_add_u8(out, rc == 0 ? 2 : other ? 1 : 0);
        if (other)
            mb_buf_add(out, &leaf, sizeof leaf);
    }
    mb_buf_clear(&part.siblings);
    return rc < 0 ? rc : 0;
}
