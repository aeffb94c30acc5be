/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "merkle/page.h"

#include <assert.h>
#include <string.h>

#include "merkle/history.h"

enum { BUCKET = 1, INNER = 2 };

static_assert(sizeof(struct mb_leaf) == 64, "leaves are used where they lie in a page");
static_assert(offsetof(struct mb_tree_change, value_hash) == 32, "changes begin as leaves do");
static_assert(256 % MB_PAGE_LEVELS == 0 && MB_PAGE_SLOTS <= 16, "the masks have 16 bits");
static_assert(MB_PAGE_BUCKET_MAX >= MB_PAGE_SLOTS, "a page at the last depth is a bucket");

struct mb_hash mb_tree_leaf(const struct mb_hash *key_hash, const struct mb_hash *value_hash)
{
    uint8_t text[65];
    text[0] = 0x00;
    memcpy(text + 1, key_hash->b, 32);
    memcpy(text + 33, value_hash->b, 32);
    return mb_sha256(text, sizeof text);
}

struct mb_node mb_node_join(const struct mb_node *l, const struct mb_node *r)
{
    if (l->kind == MB_NODE_EMPTY && r->kind != MB_NODE_INNER)
        return *r;
    if (r->kind == MB_NODE_EMPTY && l->kind != MB_NODE_INNER)
        return *l;
    return (struct mb_node){mb_history_node(&l->hash, &r->hash), MB_NODE_INNER};
}

unsigned mb_hash_bit(const struct mb_hash *h, unsigned depth)
{
    return (unsigned)h->b[depth / 8] >> (7 - depth % 8) & 1u;
}

static const struct mb_leaf *leaf_at(const void *leaves, size_t stride, size_t i)
{
    return (const struct mb_leaf *)((const uint8_t *)leaves + i * stride);
}

size_t mb_leaves_split(const void *leaves, size_t stride, size_t count, unsigned depth)
{
    size_t lo = 0, hi = count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (mb_hash_bit(&leaf_at(leaves, stride, mid)->key_hash, depth))
            hi = mid;
        else
            lo = mid + 1;
    }
    return lo;
}

struct mb_node mb_node_of(const void *leaves, size_t stride, size_t count, unsigned depth)
{
    if (count == 0)
        return (struct mb_node){mb_hash_zero, MB_NODE_EMPTY};
    if (count == 1) {
        const struct mb_leaf *leaf = leaves;
        return (struct mb_node){mb_tree_leaf(&leaf->key_hash, &leaf->value_hash), MB_NODE_LEAF};
    }
    size_t k = mb_leaves_split(leaves, stride, count, depth);
    struct mb_node l = mb_node_of(leaves, stride, k, depth + 1);
    struct mb_node r = mb_node_of(leaf_at(leaves, stride, k), stride, count - k, depth + 1);
    return (struct mb_node){mb_history_node(&l.hash, &r.hash), MB_NODE_INNER};
}

struct mb_hash mb_tree_root_of(const struct mb_tree_change *sorted, size_t count)
{
    return mb_node_of(sorted, sizeof *sorted, count, 0).hash;
}

unsigned mb_page_slot(const struct mb_hash *h, unsigned depth)
{
    unsigned slot = 0;
    for (unsigned i = 0; i < MB_PAGE_LEVELS; i++)
        slot = slot << 1 | mb_hash_bit(h, depth + i);
    return slot;
}

void mb_page_set_slot(struct mb_hash *h, unsigned depth, unsigned slot)
{
    for (unsigned i = 0; i < MB_PAGE_LEVELS; i++) {
        unsigned d = depth + i, bit = slot >> (MB_PAGE_LEVELS - 1 - i) & 1u;
        uint8_t mask = (uint8_t)(0x80u >> d % 8);
        h->b[d / 8] = (uint8_t)(bit ? h->b[d / 8] | mask : h->b[d / 8] & ~mask);
    }
}

bool mb_page_can_split(unsigned depth)
{
    return depth + MB_PAGE_LEVELS < 256;
}

struct mb_bytes mb_page_id(uint8_t id[MB_PAGE_ID_MAX], unsigned depth, const struct mb_hash *path)
{
    size_t n = (depth + 7) / 8;
    id[0] = (uint8_t)depth;
    memcpy(id + 1, path->b, n);
    if (depth % 8)
        id[n] = (uint8_t)(id[n] & ~(0xffu >> depth % 8));
    return mb_bytes(id, n + 1);
}

bool mb_hash_same_prefix(const struct mb_hash *a, const struct mb_hash *b, unsigned depth)
{
    if (memcmp(a->b, b->b, depth / 8) != 0)
        return false;
    return depth % 8 == 0 || (a->b[depth / 8] ^ b->b[depth / 8]) >> (8 - depth % 8) == 0;
}

static bool parse_bucket(struct mb_page *p, unsigned depth, const struct mb_hash *path)
{
    size_t size = p->bytes.len - 1;
    if (size == 0 || size % sizeof(struct mb_leaf) != 0)
        return false;
    p->leaves = (const struct mb_leaf *)(const void *)(p->bytes.data + 1);
    p->count = size / sizeof(struct mb_leaf);
    if (p->count > MB_PAGE_BUCKET_MAX)
        return false;
    for (size_t i = 0; i < p->count; i++) {
        if (!mb_hash_same_prefix(&p->leaves[i].key_hash, path, depth))
            return false;
        if (i > 0 && mb_hash_compare(&p->leaves[i - 1].key_hash, &p->leaves[i].key_hash) >= 0)
            return false;
    }
    return true;
}

static bool parse_inner(struct mb_page *p, unsigned depth)
{
    struct mb_cursor c = mb_cursor(mb_bytes(p->bytes.data + 1, p->bytes.len - 1));
    unsigned present = mb_cursor_u16(&c), single = mb_cursor_u16(&c);
    if (present == 0 || (single & ~present) != 0 || !mb_page_can_split(depth))
        return false;
    for (unsigned i = 0; i < MB_PAGE_SLOTS; i++) {
        struct mb_node *n = &p->nodes[MB_PAGE_SLOTS + i];
        *n = (struct mb_node){mb_hash_zero, MB_NODE_EMPTY};
        if (!(present >> i & 1u))
            continue;
        n->kind = single >> i & 1u ? MB_NODE_LEAF : MB_NODE_INNER;
        struct mb_bytes hash = mb_cursor_take(&c, 32);
        if (c.failed)
            return false;
        memcpy(n->hash.b, hash.data, 32);
    }
    if (MB_PAGE_SLOTS < 16 && present >> MB_PAGE_SLOTS != 0)
        return false;
    return mb_cursor_done(&c);
}

bool mb_page_parse(struct mb_page *p, unsigned depth, const struct mb_hash *path)
{
    p->leaves = NULL;
    p->count = 0;
    if (p->bytes.len == 0)
        return false;
    if (p->bytes.data[0] == BUCKET)
        return parse_bucket(p, depth, path);
    return p->bytes.data[0] == INNER && parse_inner(p, depth);
}

struct mb_node mb_page_top(struct mb_page *p, unsigned depth)
{
    if (p->leaves)
        return mb_node_of(p->leaves, sizeof *p->leaves, p->count, depth);
    for (unsigned i = MB_PAGE_SLOTS - 1; i > 0; i--)
        p->nodes[i] = mb_node_join(&p->nodes[2 * i], &p->nodes[2 * i + 1]);
    return p->nodes[1];
}

void mb_page_write_bucket(struct mb_buf *out, const struct mb_leaf *leaves, size_t count)
{
    mb_buf_add_u8(out, BUCKET);
    mb_buf_add(out, leaves, count * sizeof *leaves);
}

void mb_page_write_inner(struct mb_buf *out, const struct mb_node nodes[2 * MB_PAGE_SLOTS])
{
    unsigned present = 0, single = 0;
    for (unsigned i = 0; i < MB_PAGE_SLOTS; i++) {
        enum mb_node_kind kind = nodes[MB_PAGE_SLOTS + i].kind;
        present |= (unsigned)(kind != MB_NODE_EMPTY) << i;
        single |= (unsigned)(kind == MB_NODE_LEAF) << i;
    }
    mb_buf_add_u8(out, INNER);
    mb_buf_add_u16(out, (uint16_t)present);
    mb_buf_add_u16(out, (uint16_t)single);
    for (unsigned i = 0; i < MB_PAGE_SLOTS; i++)
        if (present >> i & 1u)
            mb_buf_add(out, nodes[MB_PAGE_SLOTS + i].hash.b, 32);
}
