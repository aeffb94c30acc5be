/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/access.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "merkle/tree.h"

static int invalid(struct mb_error *error)
{
    return mb_fail(error, MB_EINVAL, "access.extract",
                   "this is no extract, or a damaged one: magicbiz access extract makes one");
}

/* --- Checkpoints --- */

/* The configurations since genesis, by slot. */
struct configs {
    struct mb_membership *all;
    size_t count;
};

static const struct mb_membership *config_for(const struct configs *c, uint64_t slot)
{
    size_t i = c->count - 1;
    while (i > 0 && c->all[i].from > slot)
        i--;
    return &c->all[i];
}

static int read_handovers(struct configs *c, const struct mb_genesis *genesis, const json_t *list,
                          const struct mb_hash *org, struct mb_error *error)
{
    const json_t *item;
    size_t i;
    int rc = 0;
    c->all = mb_calloc(json_array_size(list) + 1, sizeof *c->all);
    mb_membership_first(&c->all[0], genesis);
    c->count = 1;
    json_array_foreach(list, i, item)
    {
        rc = mb_handover_verify(&c->all[i], item, org, &c->all[i + 1], error);
        if (rc != 0)
            break;
        c->count++;
    }
    return rc;
}

/* As cli_verify_checkpoint() does where there is a network. */
static int read_checkpoint(const struct configs *configs, const json_t *json,
                           const struct mb_hash *org, struct mb_header *header,
                           struct mb_error *error)
{
    struct mb_checkpoint c = {0};
    struct mb_public_key keys[MB_REPLICAS_MAX];
    int rc = mb_checkpoint_from_json(&c, json, NULL, 0, error);
    if (rc == 0)
        rc = mb_header_decode(header, mb_buf_bytes(&c.header), error);
    mb_checkpoint_clear(&c);
    if (rc != 0)
        return rc;
    if (!mb_hash_equal(&header->org, org))
        return mb_fail(error, MB_EPROOF, "checkpoint.other",
                       "a checkpoint of another organisation");
    if (!mb_hash_equal(&config_for(configs, header->slot + 1)->hash, &header->config_hash))
        return mb_fail(error, MB_EPROOF, "handover.missing",
                       "the extract does not show who the replicas were at slot %" PRIu64,
                       header->slot);
    size_t count = mb_membership_keys(config_for(configs, header->slot), keys);
    rc = mb_checkpoint_from_json(&c, json, keys, count, error);
    if (rc == 0)
        rc = mb_checkpoint_verify(&c, keys, count, error);
    mb_checkpoint_clear(&c);
    return rc;
}

static int read_checkpoints(struct access_extract *e, const struct mb_genesis *genesis,
                            const struct mb_hash *org, struct mb_error *error)
{
    struct configs configs = {0};
    const json_t *list = json_object_get(e->json, "checkpoints"), *item;
    size_t i;
    int rc = read_handovers(&configs, genesis, json_object_get(e->json, "handovers"), org, error);
    if (rc == 0 && (json_array_size(list) == 0 || json_array_size(list) > ACCESS_CHECKPOINTS_MAX))
        rc = invalid(error);
    if (rc == 0)
        json_array_foreach(list, i, item)
        {
            rc = read_checkpoint(&configs, item, org, &e->headers[i], error);
            if (rc != 0)
                break;
            int64_t time = e->headers[i].slot == 0 ? genesis->created : e->headers[i].time;
            e->oldest = i == 0 || time < e->oldest ? time : e->oldest;
            e->newest = i == 0 || time > e->newest ? time : e->newest;
            e->count++;
        }
    free(configs.all);
    return rc;
}

/* --- The extract --- */

static const struct mb_json_field extract_fields[] = {
    {"checkpoints", MB_JSON_ARRAY, false, 1, ACCESS_CHECKPOINTS_MAX},
    {"genesis", MB_JSON_STRING, false, 1, 1 << 20},
    {"handovers", MB_JSON_ARRAY, false, 0, 10000},
    {"items", MB_JSON_ARRAY, false, 0, 100000},
    {"type", MB_JSON_STRING, false, 1, 40},
    {0}};

int access_extract_read(struct access_extract *e, struct mb_bytes text, const struct mb_hash *org,
                        struct mb_error *error)
{
    struct mb_genesis genesis = {0};
    *e = (struct access_extract){0};
    if (text.len > ACCESS_EXTRACT_MAX || mb_json_parse(&e->json, text.data, text.len, NULL) != 0 ||
        mb_json_check(e->json, extract_fields, NULL) != 0 ||
        strcmp(mb_json_get_text(e->json, "type", ""), "magicbiz-extract-1") != 0)
        return invalid(error);
    struct mb_bytes bytes = mb_bytes_of(mb_json_get_text(e->json, "genesis", ""));
    struct mb_hash hash = mb_sha256(bytes.data, bytes.len);
    if (!mb_hash_equal(&hash, org))
        return mb_fail(error, MB_EPROOF, "checkpoint.other", "an extract of another organisation");
    int rc = mb_genesis_parse(&genesis, bytes, error);
    if (rc == 0) {
        rc = read_checkpoints(e, &genesis, org, error);
        mb_genesis_clear(&genesis);
    }
    return rc;
}

void access_extract_clear(struct access_extract *e)
{
    json_decref(e->json);
    *e = (struct access_extract){0};
}

int access_extract_fresh(const struct access_extract *e, int64_t now, int64_t max_age,
                         struct mb_error *error)
{
    if (now - e->oldest > max_age)
        return mb_fail(error, MB_EPROOF, "access.stale",
                       "the extract is %" PRId64 " s old, %" PRId64
                       " are the most: fetch a new one "
                       "with magicbiz access extract",
                       now - e->oldest, max_age);
    if (e->newest - now > ACCESS_EARLY_S)
        return mb_fail(error, MB_EPROOF, "access.stale",
                       "the extract is %" PRId64 " s ahead of this clock, which must be wrong",
                       e->newest - now);
    return 0;
}

static int verify_item(const struct access_extract *e, const json_t *item, const char *key,
                       int64_t *value, struct mb_error *error)
{
    const char *text = mb_json_get_text(item, "text", NULL);
    const char *base64 = mb_json_get_text(item, "proof", "");
    int64_t at = mb_json_get_int(item, "checkpoint", -1);
    struct mb_buf proof = {0};
    json_t *json = NULL;
    int rc = text == NULL || at < 0 || at >= (int64_t)e->count ? invalid(error) : 0;
    if (rc == 0 && mb_base64_decode(&proof, base64, strlen(base64)) != 0)
        rc = invalid(error);
    if (rc == 0)
        rc = mb_state_verify(mb_buf_bytes(&proof), &e->headers[at].state_root, key,
                             mb_bytes_of(text), error);
    if (rc == 0)
        rc = mb_json_parse(&json, text, strlen(text), error);
    if (rc == 0 && !json_is_integer(json))
        rc = invalid(error);
    *value = json_integer_value(json);
    json_decref(json);
    mb_buf_clear(&proof);
    return rc == 0 ? 1 : rc;
}

int access_extract_get(const struct access_extract *e, const char *key, int64_t *value,
                       struct mb_error *error)
{
    const json_t *item;
    size_t i;
    *value = 0;
    json_array_foreach(json_object_get(e->json, "items"), i, item)
    {
        if (strcmp(mb_json_get_text(item, "key", ""), key) == 0)
            return verify_item(e, item, key, value, error);
    }
    return 0;
}

/* --- The queue --- */

int access_queue_next(struct mb_bytes *rest, struct mb_bytes *line, struct mb_envelope *envelope,
                      struct mb_error *error)
{
    struct mb_envelope e = {0};
    if (rest->len == 0)
        return 0;
    const uint8_t *end = memchr(rest->data, '\n', rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->data) : 0;
    if (end == NULL || mb_envelope_parse(&e, mb_bytes(rest->data, len), NULL) != 0)
        return mb_fail(error, MB_EINVAL, "access.queue",
                       "the queue is damaged: a line of it is no signed command");
    *line = mb_bytes(rest->data, len + 1);
    *rest = mb_bytes(end + 1, rest->len - len - 1);
    if (envelope != NULL)
        *envelope = e;
    else
        mb_envelope_clear(&e);
    return 1;
}
