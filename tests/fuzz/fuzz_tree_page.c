/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pages of the state tree, as a damaged store would hand them out: the input is a row of
 * len:2 || page, and each load is given the next; when they are used up there are no more.
 */
#include "merkle/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    struct mb_cursor *c = self;
    (void)tree;
    (void)id;
    if (mb_cursor_left(c) == 0)
        return 0;
    struct mb_bytes bytes = mb_cursor_take(c, mb_cursor_u16(c));
    if (c->failed)
        return MB_EIO;
    mb_buf_add_bytes(page, bytes);
    return 1;
}

static int page_save(void *self, const char *tree, struct mb_bytes id, struct mb_bytes page)
{
    (void)self;
    (void)tree;
    (void)id;
    (void)page;
    return 0;
}

static int visit(void *arg, const struct mb_hash *key_hash, const struct mb_hash *value_hash)
{
    (void)arg;
    (void)key_hash;
    (void)value_hash;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_cursor c;
    const struct mb_tree_io io = {&c, page_load, page_save};
    struct mb_hash root, key = mb_hash_zero;
    struct mb_buf part = {0};
    if (size >= 35)
        key = *(const struct mb_hash *)(const void *)(data + 3);

    c = mb_cursor(mb_bytes(data, size));
    (void)mb_tree_root(&io, "t", &root, NULL);
    c = mb_cursor(mb_bytes(data, size));
    (void)mb_tree_walk(&io, "t", visit, NULL, &root, NULL);
    for (unsigned i = 0; i < 3; i++) {
        mb_buf_reset(&part);
        c = mb_cursor(mb_bytes(data, size));
        if (mb_tree_prove(&io, "t", &key, &part, NULL) == 0 && part.len > MB_PROOF_MAX / 2)
            __builtin_trap();
        struct mb_tree_change ch[2] = {{key, key, i != 1}, {mb_hash_zero, key, i != 2}};
        c = mb_cursor(mb_bytes(data, size));
        (void)mb_tree_update(&io, "t", ch, mb_hash_is_zero(&key) ? 1 : 2, &root, NULL);
        key.b[31] ^= (uint8_t)(1u << i);
    }
    mb_buf_clear(&part);
    return 0;
}
