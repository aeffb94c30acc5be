/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Randomness of an epoch, committed to before it and revealed in it by the replicas
 * (magicbiz-protocol(7), "Beacon"). */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "ledger/internal.h"

#define BEACONS_KEPT 1024 /* closed ones */
#define KEY_SIZE     32
#define NUMBER_SIZE  24

static void beacon_key(char key[KEY_SIZE], int64_t epoch)
{
    mb_snprintf(key, KEY_SIZE, "org/beacon/%lld", (long long)epoch);
}

/* The replica that signed, or NULL: a rule of the organisation may let others in here, and the
 * organisation itself may run the verb. */
static const struct mb_replica *signer_of(const struct mb_context *ctx)
{
    for (size_t i = 0; ctx->signer_key && i < ctx->replica_count; i++)
        if (mb_public_key_equal(&ctx->replicas[i].key, ctx->signer_key))
            return &ctx->replicas[i];
    return NULL;
}

/* What a commit and a reveal have in common: a replica's text in a list of the beacon of `wanted`.
 */
struct entry {
    int64_t epoch, number;
    char key[KEY_SIZE], name[NUMBER_SIZE];
    const char *text;
};

static int read_entry(struct entry *e, const struct mb_context *ctx, const json_t *body,
                      const char *verb, const char *field, int64_t wanted, struct mb_error *error)
{
    const struct mb_replica *replica = signer_of(ctx);
    if (!replica)
        return mb_refuse(error, "command.access", "ss", verb, "replica");
    *e = (struct entry){.epoch = mb_json_get_int(body, "epoch", 0),
                        .number = replica->number,
                        .text = mb_json_get_text(body, field, "")};
    mb_snprintf(e->name, sizeof e->name, "%lld", (long long)e->number);
    beacon_key(e->key, e->epoch);
    if (e->epoch != wanted)
        return mb_refuse(error, "org.beacon_epoch", "dd", e->epoch, wanted);
    return 0;
}

/* Add the entry to a list of the beacon (borrowed), once. */
static int add_entry(struct mb_tx *tx, const struct entry *e, json_t *beacon, const char *list,
                     struct mb_error *error)
{
    json_t *entries = json_object_get(beacon, list);
    if (json_object_get(entries, e->name))
        return mb_refuse(error, "org.beacon_twice", "dd", e->epoch, e->number);
    json_object_set_new(entries, e->name, json_string(e->text));
    mb_tx_put(tx, e->key, beacon);
    return 0;
}

static int commit(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                  json_t **result, struct mb_error *error)
{
    struct entry e;
    (void)result;
    int rc = read_entry(&e, ctx, body, "org.beacon.commit", "hash", mb_tx_int(tx, "core/epoch") + 1,
                        error);
    if (rc != 0)
        return rc;
    if (!mb_is_hex(e.text, 64))
        return mb_refuse(error, "org.beacon_value", "dd", e.epoch, e.number);
    json_t *beacon = mb_tx_get(tx, e.key);
    if (!beacon)
        beacon = json_pack("{s:{},s:{}}", "commits", "reveals");
    rc = add_entry(tx, &e, beacon, "commits", error);
    json_decref(beacon);
    return rc;
}

static bool is_value_of(const char *value, const char *commitment)
{
    struct mb_hash bytes;
    char hex[MB_HASH_HEX_SIZE];
    if (mb_hash_from_hex(&bytes, value) != 0)
        return false;
    bytes = mb_sha256(bytes.b, sizeof bytes.b);
    mb_hash_hex(&bytes, hex);
    return strcmp(hex, commitment) == 0;
}

static int reveal(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                  json_t **result, struct mb_error *error)
{
    struct entry e;
    (void)result;
    int rc =
        read_entry(&e, ctx, body, "org.beacon.reveal", "value", mb_tx_int(tx, "core/epoch"), error);
    if (rc != 0)
        return rc;
    json_t *beacon = mb_tx_get(tx, e.key);
    const char *commitment = mb_json_get_text(json_object_get(beacon, "commits"), e.name, NULL);
    if (!commitment)
        rc = mb_refuse(error, "org.beacon_commit", "dd", e.epoch, e.number);
    else if (!is_value_of(e.text, commitment))
        rc = mb_refuse(error, "org.beacon_value", "dd", e.epoch, e.number);
    else
        rc = add_entry(tx, &e, beacon, "reveals", error);
    json_decref(beacon);
    return rc;
}

static int by_number(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The numbers of those who committed, ascending; owned. */
static int64_t *committed(json_t *commits, size_t *count)
{
    int64_t *numbers = mb_calloc(json_object_size(commits) + 1, sizeof *numbers);
    const char *name;
    json_t *hash;
    *count = 0;
    json_object_foreach(commits, name, hash) numbers[(*count)++] = strtoll(name, NULL, 10);
    qsort(numbers, *count, sizeof *numbers, by_number);
    return numbers;
}

/* The value of a beacon that is over; owned. */
static json_t *closed(const struct mb_hash *org, int64_t epoch, const json_t *beacon)
{
    const json_t *reveals = json_object_get(beacon, "reveals");
    json_t *missing = json_array();
    char hex[MB_HASH_HEX_SIZE] = "", name[NUMBER_SIZE];
    struct mb_buf input = {0};
    struct mb_hash hash;
    size_t count;
    int64_t *numbers = committed(json_object_get(beacon, "commits"), &count);
    mb_buf_add_text(&input, "MBR1");
    mb_buf_add(&input, org->b, sizeof org->b);
    mb_buf_add_u64(&input, (uint64_t)epoch);
    for (size_t i = 0; i < count; i++) {
        mb_snprintf(name, sizeof name, "%lld", (long long)numbers[i]);
        if (mb_hash_from_hex(&hash, mb_json_get_text(reveals, name, "")) != 0) {
            json_array_append_new(missing, json_integer(numbers[i]));
            continue;
        }
        mb_buf_add_u64(&input, (uint64_t)numbers[i]);
        mb_buf_add(&input, hash.b, sizeof hash.b);
    }
    if (json_object_size(reveals) > 0) {
        hash = mb_sha256(input.data, input.len);
        mb_hash_hex(&hash, hex);
    }
    mb_buf_clear(&input);
    free(numbers);
    return json_pack("{s:o,s:s}", "missing", missing, "value", hex);
}

void mb_beacon_close(struct mb_ledger *l, int64_t epoch)
{
    char key[KEY_SIZE];
    beacon_key(key, epoch);
    json_t *beacon = mb_tx_get(&l->tx, key);
    if (beacon)
        mb_tx_set(&l->tx, key, closed(&l->genesis.org, epoch, beacon));
    json_decref(beacon);
    beacon_key(key, epoch - BEACONS_KEPT);
    if (mb_tx_has(&l->tx, key))
        mb_tx_remove(&l->tx, key);
}

static const struct mb_json_field commit_body[] = {
    {"epoch", MB_JSON_INT, false, 0, INT64_MAX}, {"hash", MB_JSON_STRING, false, 64, 64}, {0}};
static const struct mb_json_field reveal_body[] = {
    {"epoch", MB_JSON_INT, false, 0, INT64_MAX}, {"value", MB_JSON_STRING, false, 64, 64}, {0}};

const struct mb_verb mb_beacon_verbs[] = {
    {.name = "org.beacon.commit", .access = MB_REPLICA, .body = commit_body, .apply = commit},
    {.name = "org.beacon.reveal", .access = MB_REPLICA, .body = reveal_body, .apply = reveal},
    {0},
};
