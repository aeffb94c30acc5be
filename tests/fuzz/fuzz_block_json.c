/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A line of GET /v1/blocks, a checkpoint and a snapshot's list, as another replica may send them.
 */
#include "config.h"

#include <stdlib.h>

#include "ledger/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_public_key key = {{0}}, proposer;
    struct mb_checkpoint c;
    struct mb_snapshot s;
    struct mb_block b;
    json_t *json;
    if (mb_json_parse(&json, data, size, NULL) != 0)
        return 0;
    if (mb_block_from_json(&b, &proposer, json, NULL) == 0) {
        json_t *again = mb_block_to_json(&b, &proposer);
        if (!json_equal(again, json))
            abort();
        json_decref(again);
    }
    mb_block_clear(&b);
    if (mb_checkpoint_from_json(&c, json, &key, 1, NULL) == 0)
        (void)mb_checkpoint_verify(&c, &key, 1, NULL);
    mb_checkpoint_clear(&c);
    (void)mb_snapshot_from_json(&s, json, &key, 1, NULL);
    mb_snapshot_clear(&s);
    json_decref(json);
    return 0;
}
