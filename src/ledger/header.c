/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/block.h"

#include <string.h>

static void put_u64(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t)v;
}

size_t mb_header_encode(const struct mb_header *h, uint8_t out[MB_HEADER_MAX])
{
    uint8_t *p = out;
    memcpy(p, h->slot == 0 ? "MBH0" : "MBH1", 4);
    memcpy(p + 4, h->org.b, 32);
    p += 36;
    if (h->slot == 0) {
        memcpy(p, h->state_root.b, 32);
        memcpy(p + 32, h->config_hash.b, 32);
        return MB_HEADER0_LEN;
    }
    put_u64(p, h->slot);
    put_u64(p + 8, (uint64_t)h->time);
    p += 16;
    const struct mb_hash *const hashes[] = {&h->proposer,   &h->commands_root, &h->results_root,
                                            &h->state_root, &h->history_root,  &h->config_hash};
    for (size_t i = 0; i < 6; i++, p += 32)
        memcpy(p, hashes[i]->b, 32);
    return MB_HEADER_LEN;
}

static void take_hash(struct mb_cursor *c, struct mb_hash *h)
{
    struct mb_bytes b = mb_cursor_take(c, 32);
    if (b.len == 32)
        memcpy(h->b, b.data, 32);
}

int mb_header_decode(struct mb_header *h, struct mb_bytes bytes, struct mb_error *error)
{
    struct mb_cursor c = mb_cursor(bytes);
    memset(h, 0, sizeof *h);
    struct mb_bytes magic = mb_cursor_take(&c, 4);
    bool first = mb_bytes_equal(magic, mb_bytes_of("MBH0"));
    uint64_t time = 0;
    take_hash(&c, &h->org);
    if (!first) {
        h->slot = mb_cursor_u64(&c);
        time = mb_cursor_u64(&c);
        take_hash(&c, &h->proposer);
        take_hash(&c, &h->commands_root);
        take_hash(&c, &h->results_root);
    }
    take_hash(&c, &h->state_root);
    if (!first)
        take_hash(&c, &h->history_root);
    take_hash(&c, &h->config_hash);
    if (!mb_cursor_done(&c) ||
        (!first && (!mb_bytes_equal(magic, mb_bytes_of("MBH1")) || h->slot == 0 ||
                    h->slot > MB_SLOT_MAX || time > MB_TIME_MAX)))
        return mb_fail(error, MB_EINVAL, "header.invalid",
                       "a header has %d bytes (slot 0: %d), and begins with MBH1 (MBH0)",
                       MB_HEADER_LEN, MB_HEADER0_LEN);
    h->time = (int64_t)time;
    return 0;
}

struct mb_hash mb_header_hash(const struct mb_header *h)
{
    uint8_t bytes[MB_HEADER_MAX];
    size_t len = mb_header_encode(h, bytes);
    return mb_sha256(bytes, len);
}

bool mb_is_checkpoint_slot(const struct mb_header *h, size_t envelopes,
                           const struct mb_hash *config_hash_before, int64_t last_time)
{
    return h->slot % 64 == 0 || h->time - last_time >= 60 ||
           !mb_hash_equal(&h->config_hash, config_hash_before) ||
           (envelopes == 0 && h->time - last_time >= 5);
}
