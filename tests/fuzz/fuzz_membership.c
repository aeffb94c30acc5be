/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What anybody may send about replicas. A line "H{…}": a handover from a fixed configuration, or
 * the configuration in it; "S" header_len:2 header signature: a checkpoint's signature for the
 * collector.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/collect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void first(struct mb_membership *m)
{
    memset(m, 0, sizeof *m);
    m->version = m->from = m->count = 1;
    m->replicas[0].number = 1;
}

static void handover(struct mb_bytes text)
{
    struct mb_membership before, after;
    struct mb_hash org = {{0}};
    struct mb_error error = {0};
    json_t *json;
    first(&before);
    if (mb_json_parse(&json, text.data, text.len, NULL) != 0)
        return;
    if (mb_handover_verify(&before, json, &org, &after, &error) == 0)
        abort(); /* nobody has that key */
    if (error.code[0] == '\0')
        abort();
    if (mb_membership_read(&after, json_object_get(json, "config"), &error) == 0) {
        struct mb_public_key keys[MB_REPLICAS_MAX];
        size_t count = mb_membership_keys(&after, keys);
        if (count < 1 || mb_membership_majority(&after) > count)
            abort();
        for (size_t i = 0; i < count; i++)
            if (mb_membership_find(&after, &keys[i]) != &after.replicas[i])
                abort();
    }
    json_decref(json);
}

static void signature(struct mb_bytes bytes)
{
    struct mb_cursor in = mb_cursor(bytes);
    struct mb_bytes header = mb_cursor_take(&in, mb_cursor_u16(&in));
    struct mb_bytes sig = mb_cursor_take(&in, mb_cursor_left(&in));
    struct mb_hash org = {{0}};
    struct mb_collector *c = mb_collector_new(&org);
    struct mb_membership config;
    first(&config);
    enum mb_collected came = mb_collector_add(c, &config, header, sig, NULL);
    if (came != MB_COLLECTED_FALSE && came != MB_COLLECTED_STRANGER)
        abort();
    mb_collector_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 'H')
        handover(mb_bytes(data + 1, size - 1));
    else if (size > 0)
        signature(mb_bytes(data + 1, size - 1));
    return 0;
}
