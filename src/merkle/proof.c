/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "merkle/history.h"
#include "merkle/page.h"

enum part_kind { PART_THIS, PART_OTHER, PART_NOTHING };

/* depth:2 || bitmap || siblings || kind:1 [|| key_hash:32 || value_hash:32], taken apart. */
struct part {
    unsigned depth;
    struct mb_bytes bitmap, siblings;
    enum part_kind kind;
    struct mb_leaf other;
};

static bool has_sibling(const struct part *p, unsigned depth)
{
    return (unsigned)p->bitmap.data[depth / 8] >> (7 - depth % 8) & 1u;
}

static bool part_read(struct mb_cursor *c, struct part *p)
{
    p->depth = mb_cursor_u16(c);
    if (p->depth > 256)
        return false;
    p->bitmap = mb_cursor_take(c, (p->depth + 7) / 8);
    if (c->failed)
        return false;
    if (p->depth % 8 && p->bitmap.data[p->depth / 8] & (0xffu >> p->depth % 8))
        return false;
    size_t siblings = 0;
    for (unsigned d = 0; d < p->depth; d++)
        siblings += has_sibling(p, d);
    p->siblings = mb_cursor_take(c, 32 * siblings);
    unsigned kind = mb_cursor_u8(c);
    if (c->failed || kind > PART_NOTHING)
        return false;
    for (size_t i = 0; i < siblings; i++)
        if (memcmp(p->siblings.data + 32 * i, mb_hash_zero.b, 32) == 0)
            return false;
    p->kind = (enum part_kind)kind;
    if (p->kind == PART_OTHER) {
        struct mb_bytes other = mb_cursor_take(c, sizeof p->other);
        if (c->failed)
            return false;
        memcpy(&p->other, other.data, sizeof p->other);
    }
    return true;
}

/* The root that the part leads to, given what stands at its end (value_hash counts for PART_THIS
 * alone). False if another leaf's hash does not lie on the way to key_hash, or is its own. */
static bool part_root(const struct part *p, const struct mb_hash *key_hash,
                      const struct mb_hash *value_hash, struct mb_hash *root)
{
    *root = mb_hash_zero;
    if (p->kind == PART_THIS)
        *root = mb_tree_leaf(key_hash, value_hash);
    if (p->kind == PART_OTHER) {
        if (!mb_hash_same_prefix(&p->other.key_hash, key_hash, p->depth) ||
            mb_hash_equal(&p->other.key_hash, key_hash))
            return false;
        *root = mb_tree_leaf(&p->other.key_hash, &p->other.value_hash);
    }
    const uint8_t *next = p->siblings.data + p->siblings.len;
    for (unsigned d = p->depth; d-- > 0;) {
        struct mb_hash sibling = mb_hash_zero;
        if (has_sibling(p, d)) {
            next -= 32;
            memcpy(sibling.b, next, 32);
        }
        *root = mb_hash_bit(key_hash, d) ? mb_history_node(&sibling, root)
                                         : mb_history_node(root, &sibling);
    }
    return true;
}

/* The first segment of key is its module, H(module) its place in the tree of modules. */
static size_t module_len(const char *key)
{
    return strcspn(key, "/");
}

int mb_state_prove(const struct mb_tree_io *io, const char *key, struct mb_buf *proof,
                   struct mb_error *error)
{
    size_t start = proof->len;
    struct mb_hash hash = mb_sha256(key, module_len(key));
    int rc = mb_tree_prove(io, "", &hash, proof, error);
    if (rc)
        return rc;
    struct part part;
    struct mb_cursor c = mb_cursor(mb_bytes(proof->data + start, proof->len - start));
    if (!part_read(&c, &part) || part.kind != PART_THIS)
        return 0;
    char *module = mb_strndup(key, module_len(key));
    hash = mb_sha256(key, strlen(key));
    rc = mb_tree_prove(io, module, &hash, proof, error);
    free(module);
    return rc;
}

static int invalid(struct mb_error *error)
{
    return mb_fail(error, MB_EINVAL, "proof.invalid", "the proof is malformed");
}

static int not_true(struct mb_error *error)
{
    return mb_fail(error, MB_EPROOF, "proof.false", "the proof does not hold for this state");
}

static bool parts_read(struct mb_bytes proof, struct part *module, struct part *leaf)
{
    struct mb_cursor c = mb_cursor(proof);
    *leaf = (struct part){.kind = PART_NOTHING};
    return part_read(&c, module) && (module->kind != PART_THIS || part_read(&c, leaf)) &&
           mb_cursor_done(&c);
}

int mb_state_verify_module(struct mb_bytes proof, const struct mb_hash *state_root,
                           const char *module, const struct mb_hash *module_root,
                           struct mb_error *error)
{
    struct part part, leaf;
    struct mb_hash root, module_hash = mb_sha256(module, strlen(module));
    if (!parts_read(proof, &part, &leaf))
        return invalid(error);
    if ((part.kind == PART_THIS) == mb_hash_is_zero(module_root) ||
        !part_root(&part, &module_hash, module_root, &root) || !mb_hash_equal(&root, state_root))
        return not_true(error);
    return 0;
}

int mb_state_verify(struct mb_bytes proof, const struct mb_hash *state_root, const char *key,
                    struct mb_bytes text, struct mb_error *error)
{
    struct part module, leaf;
    if (!parts_read(proof, &module, &leaf))
        return invalid(error);
    if ((leaf.kind == PART_THIS) != (text.data != NULL))
        return not_true(error);

    struct mb_hash root = mb_hash_zero;
    if (module.kind == PART_THIS) {
        struct mb_hash key_hash = mb_sha256(key, strlen(key));
        struct mb_hash value_hash = text.data ? mb_sha256(text.data, text.len) : mb_hash_zero;
        if (!part_root(&leaf, &key_hash, &value_hash, &root))
            return not_true(error);
    }
    struct mb_hash module_hash = mb_sha256(key, module_len(key)), module_root = root;
    if (!part_root(&module, &module_hash, &module_root, &root) || !mb_hash_equal(&root, state_root))
        return not_true(error);
    return 0;
}
