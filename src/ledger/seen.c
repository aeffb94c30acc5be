/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <string.h>

#include "ledger/internal.h"

void mb_seen_hash_add(struct mb_seen_hash *s, const struct mb_seen *seen)
{
    struct mb_buf input = {0};
    mb_buf_add(&input, s->hash.b, 32);
    mb_buf_add(&input, seen->id.b, 32);
    mb_buf_add_u64(&input, seen->slot);
    mb_buf_add_u32(&input, seen->index);
    s->hash = mb_sha256(input.data, input.len);
    s->count++;
    mb_buf_clear(&input);
}

void mb_seen_hash_read(struct mb_seen_hash *s, struct mb_tx *tx, uint64_t hour)
{
    char key[48];
    memset(s, 0, sizeof *s);
    mb_snprintf(key, sizeof key, "core/seen/%llu", (unsigned long long)hour);
    json_t *value = mb_tx_get(tx, key);
    if (value && mb_hash_from_hex(&s->hash, mb_json_get_text(value, "hash", "")) != 0)
        mb_tx_stop(tx, MB_ECORRUPT, key);
    s->count = (uint64_t)mb_json_get_int(value, "count", 0);
    json_decref(value);
}

void mb_seen_hash_write(const struct mb_seen_hash *s, struct mb_tx *tx, uint64_t hour)
{
    char key[48], text[128], hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(&s->hash, hex);
    mb_snprintf(key, sizeof key, "core/seen/%llu", (unsigned long long)hour);
    mb_snprintf(text, sizeof text, "{\"count\":%llu,\"hash\":\"%s\"}", (unsigned long long)s->count,
                hex);
    mb_tx_set_text(tx, key, mb_bytes_of(text));
}
