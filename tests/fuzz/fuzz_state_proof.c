/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Binary state proofs. The first byte chooses one of the claims below, the rest is its proof. The
 * states are too small for chance to help: what verifies must be the bytes that mb_state_prove
 * makes, for a proof has one encoding.
 */
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/map.h"
#include "merkle/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    struct mb_buf name = {0};
    mb_buf_addf(&name, "%s/", tree);
    mb_hex_encode(&name, id.data, id.len);
    const struct mb_map_item *item = mb_map_get(self, mb_buf_text(&name));
    mb_buf_clear(&name);
    if (!item)
        return 0;
    mb_buf_add_bytes(page, item->value);
    return 1;
}

static int page_save(void *self, const char *tree, struct mb_bytes id, struct mb_bytes page)
{
    struct mb_buf name = {0};
    mb_buf_addf(&name, "%s/", tree);
    mb_hex_encode(&name, id.data, id.len);
    mb_map_put(self, mb_buf_text(&name), page.data, page.len);
    mb_buf_clear(&name);
    return 0;
}

#define KEYS 40
static struct mb_map *pages;
static struct mb_hash root;
static const char *const claims[] = {"core/0", "vcs/7", "core/none", "vcs/none", "org/x", "z"};
static struct mb_buf proofs[6];

static void make_state(void)
{
    static const char *const names[2] = {"core", "vcs"};
    struct mb_tree_change ch[KEYS], modules[2];
    pages = mb_map_new();
    struct mb_tree_io io = {pages, page_load, page_save};
    for (unsigned m = 0; m < 2; m++) {
        for (unsigned i = 0; i < KEYS; i++) {
            struct mb_buf key = {0};
            mb_buf_addf(&key, "%s/%u", names[m], i);
            ch[i] = (struct mb_tree_change){mb_sha256(key.data, key.len), mb_sha256("1", 1), true};
            mb_buf_clear(&key);
        }
        modules[m] = (struct mb_tree_change){mb_sha256(names[m], strlen(names[m])), {{0}}, true};
        if (mb_tree_update(&io, names[m], ch, KEYS, &modules[m].value_hash, NULL) != 0)
            abort();
    }
    if (mb_tree_update(&io, "", modules, 2, &root, NULL) != 0)
        abort();
    for (size_t i = 0; i < 6; i++)
        if (mb_state_prove(&io, claims[i], &proofs[i], NULL) != 0)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!pages)
        make_state();
    if (size == 0)
        return 0;
    unsigned i = data[0] % 6;
    struct mb_bytes proof = mb_bytes(data + 1, size - 1);
    struct mb_bytes text = i < 2 ? mb_bytes_of("1") : mb_bytes(NULL, 0);
    if (mb_state_verify(proof, &root, claims[i], text, NULL) == 0 &&
        !mb_bytes_equal(proof, mb_buf_bytes(&proofs[i])))
        abort();
    return 0;
}
