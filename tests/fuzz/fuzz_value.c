/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Values, headers, archived blocks and checkpoints: what decodes encodes to the same bytes. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/block.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct mb_buf *again, struct mb_bytes in)
{
    if (!mb_bytes_equal(mb_buf_bytes(again), in))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_bytes in = mb_bytes(data, size);
    struct mb_hash org = {{0}};
    struct mb_public_key key = {{0}};
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_buf again = {0};
    struct mb_value v;
    struct mb_header h;
    struct mb_block b;
    struct mb_checkpoint c;
    if (mb_value_decode(&v, in, NULL) == 0)
        (void)mb_value_verify(&v, &org, v.slot, &key, 1, NULL);
    mb_value_clear(&v);
    if (mb_header_decode(&h, in, NULL) == 0) {
        mb_buf_add(&again, bytes, mb_header_encode(&h, bytes));
        same(&again, in);
        mb_buf_reset(&again);
    }
    if (mb_block_decode(&b, in, NULL) == 0) {
        mb_block_encode(&b, &again);
        same(&again, in);
        mb_buf_reset(&again);
        json_decref(mb_block_to_json(&b, &key));
    }
    mb_block_clear(&b);
    if (mb_checkpoint_decode(&c, in, NULL) == 0) {
        mb_checkpoint_encode(&c, &again);
        same(&again, in);
        (void)mb_checkpoint_verify(&c, &key, 1, NULL);
        json_decref(mb_checkpoint_to_json(&c));
    }
    mb_checkpoint_clear(&c);
    mb_buf_clear(&again);
    return 0;
}
