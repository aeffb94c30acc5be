/* SPDX-License-Identifier: GPL-3.0-or-later */
/* "I" and a JSON text {"index","handovers"}: what a stranger says its snapshot is; or the base of
 * an archive. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "../support/org.h"
#include "ledger/base.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct mb_genesis genesis; /* of the tests' organisation */

static void make_genesis(void)
{
    struct org o;
    struct mb_memory *m = mb_memory_new();
    org_found(&o, mb_memory_backend(m), 1, 1, "{}");
    if (mb_genesis_parse(&genesis, mb_buf_bytes(&o.genesis), NULL) != 0)
        abort();
    org_clear(&o);
    mb_memory_free(m);
}

static void take_index(struct mb_bytes text)
{
    struct mb_snapshot s;
    struct mb_header h;
    struct mb_membership config;
    struct mb_error error = {0};
    struct mb_public_key keys[MB_REPLICAS_MAX];
    size_t used;
    json_t *json;
    if (mb_json_parse(&json, text.data, text.len, NULL) != 0)
        return;
    int rc =
        mb_snapshot_accept(&s, json_object_get(json, "index"), json_object_get(json, "handovers"),
                           &genesis, &h, &config, &used, &error);
    if ((rc == 0) != (error.code[0] == '\0'))
        abort();
    if (rc == 0 &&
        (s.frontier.size != h.slot ||
         mb_checkpoint_verify(&s.checkpoint, keys, mb_membership_keys(&config, keys), NULL) != 0))
        abort();
    mb_snapshot_clear(&s);
    json_decref(json);
}

static void take_base(struct mb_bytes bytes)
{
    struct mb_base b;
    struct mb_buf again = {0};
    if (mb_base_decode(&b, bytes, NULL) != 0)
        return;
    mb_base_encode(&b, &again);
    if (b.slot == 0 || again.len == 0)
        abort();
    mb_buf_clear(&again);
    mb_base_clear(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (genesis.json == NULL)
        make_genesis();
    if (size > 0 && data[0] == 'I')
        take_index(mb_bytes(data + 1, size - 1));
    else
        take_base(mb_bytes(data, size));
    return 0;
}
