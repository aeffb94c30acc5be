/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a client checks before it believes: magicbiz-protocol(7), "Checkpoint". */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "loop/loop.h"
#include "merkle/tree.h"

#define CHECKPOINT_AGE_S (48 * 3600)

/* "SLOT HASH\n" in STATE/ORGID. */
static char *seen_path(const struct cli_org *o)
{
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(&o->pin.org, hex);
    return mb_asprintf("%s/%s", o->cli->state_dir, hex);
}

void cli_load_seen(const struct cli_org *o, struct cli_seen *s)
{
    struct mb_buf text = {0};
    char *path = seen_path(o), *end;
    *s = (struct cli_seen){.slot = o->pin.slot, .hash = o->pin.header_hash};
    if (access(path, F_OK) == 0 && mb_read_file(path, 256, &text, NULL) == 0) {
        struct cli_seen read = {.slot = strtoull(mb_buf_text(&text), &end, 10)};
        end[strcspn(end, "\n")] = 0;
        if (*end == ' ' && mb_hash_from_hex(&read.hash, end + 1) == 0 && read.slot >= s->slot)
            *s = read;
    }
    mb_buf_clear(&text);
    free(path);
}

static int save_seen(const struct cli_org *o, const struct cli_seen *s, struct mb_error *error)
{
    char hex[MB_HASH_HEX_SIZE], *path = seen_path(o);
    struct cli_seen kept; /* another process may have seen more meanwhile */
    cli_load_seen(o, &kept);
    if (kept.slot >= s->slot) {
        free(path);
        return 0;
    }
    mb_hash_hex(&s->hash, hex);
    char *text = mb_asprintf("%" PRIu64 " %s\n", s->slot, hex);
    int rc = mb_make_dir(o->cli->state_dir, 0700, error);
    if (rc == 0)
        rc = mb_write_file(path, mb_bytes_of(text), 0600, error);
    free(text);
    free(path);
    return rc;
}

/* The checkpoint's history holds the header that was trusted before. */
static int check_consistency(struct cli_org *o, const struct cli_seen *from,
                             const struct mb_header *to, struct mb_error *error)
{
    struct mb_hash hash = mb_header_hash(to);
    if (to->slot < from->slot)
        return mb_fail(error, MB_EPROOF, "checkpoint.older",
                       "the answer's checkpoint (slot %" PRIu64
                       ") is older than one seen before (slot %" PRIu64
                       "): somebody hides what is newer; try again, or another onion",
                       to->slot, from->slot);
    if (to->slot == from->slot)
        return mb_hash_equal(&hash, &from->hash)
                   ? 0
                   : mb_fail(error, MB_EPROOF, "checkpoint.fork",
                             "slot %" PRIu64 " has another header than was trusted: the "
                             "organisation's history was forked; ask its members",
                             to->slot);
    char *path = mb_asprintf("/v1/consistency?from=%" PRIu64 "&to=%" PRIu64, from->slot, to->slot);
    json_t *answer = NULL;
    int rc = cli_get(o, path, &answer, error);
    if (rc == 0 && !mb_history_holds(answer, from->slot, &from->hash, to, NULL))
        rc = mb_fail(error, MB_EPROOF, "checkpoint.fork",
                     "the history at slot %" PRIu64 " does not contain the header trusted at slot "
                     "%" PRIu64 ": it was forked; ask the organisation's members",
                     to->slot, from->slot);
    json_decref(answer);
    free(path);
    return rc;
}

/* The configurations before and after a slot are known: the header names the one after it. */
static bool knows_replicas(const struct cli_org *o, const struct mb_header *h)
{
    return mb_hash_equal(&cli_config_for(o, h->slot + 1)->hash, &h->config_hash);
}

static int read_header(const struct cli_org *o, const json_t *json, struct mb_header *header,
                       struct mb_error *error)
{
    struct mb_checkpoint c = {0};
    int rc = mb_checkpoint_from_json(&c, json, NULL, 0, error);
    if (rc == 0)
        rc = mb_header_decode(header, mb_buf_bytes(&c.header), error);
    if (rc == 0 && !mb_hash_equal(&header->org, &o->pin.org))
        rc = mb_fail(error, MB_EPROOF, "checkpoint.other", "a checkpoint of another organisation");
    mb_checkpoint_clear(&c);
    return rc;
}

static int check_signed(struct cli_org *o, const json_t *json, struct mb_header *header,
                        struct mb_error *error)
{
    struct mb_checkpoint c = {0};
    struct mb_public_key keys[MB_REPLICAS_MAX];
    int rc = read_header(o, json, header, error);
    if (rc == 0 && !knows_replicas(o, header))
        rc = cli_walk_handovers(o, error);
    if (rc != 0)
        return rc;
    if (!knows_replicas(o, header))
        return mb_fail(error, MB_EPROOF, "handover.missing",
                       "the replicas changed before slot %" PRIu64 ", and no handover to the "
                       "present ones is shown: try again, or another onion",
                       header->slot + 1);
    size_t count = mb_membership_keys(cli_config_for(o, header->slot), keys);
    rc = mb_checkpoint_from_json(&c, json, keys, count, error);
    if (rc == 0)
        rc = mb_checkpoint_verify(&c, keys, count, error);
    mb_checkpoint_clear(&c);
    return rc;
}

int cli_verify_checkpoint(struct cli_org *o, const json_t *json, struct mb_header *header,
                          struct mb_error *error)
{
    int rc = check_signed(o, json, header, error);
    if (rc != 0)
        return rc;
    int64_t time = header->slot == 0 ? o->genesis.created : header->time;
    int64_t age = mb_clock_s() - time;
    if (age > CHECKPOINT_AGE_S)
        return mb_fail(error, MB_EPROOF, "checkpoint.stale",
                       "the newest checkpoint is %" PRId64 " hours old, 48 are the most: somebody "
                       "holds the organisation still, or this clock is wrong",
                       age / 3600);
    rc = check_consistency(o, &o->seen, header, error);
    if (rc == 0)
        rc = cli_keep_configs(o, error);
    if (rc == 0 && header->slot > o->seen.slot) {
        o->seen = (struct cli_seen){.slot = header->slot, .hash = mb_header_hash(header)};
        rc = save_seen(o, &o->seen, error);
    }
    o->verified = rc == 0;
    return rc;
}

json_t *cli_signers(const struct cli_org *o)
{
    const struct mb_membership *config = cli_config_for(o, o->newest.slot);
    struct mb_public_key keys[MB_REPLICAS_MAX];
    size_t count = mb_membership_keys(config, keys);
    struct mb_checkpoint c;
    json_t *list = json_array();
    if (mb_checkpoint_from_json(&c, json_object_get(o->summary, "checkpoint"), keys, count, NULL) !=
        0)
        return list;
    for (size_t i = 0; i < count; i++)
        if (mb_checkpoint_signed_by(&c, &keys[i]))
            json_array_append_new(list, json_integer(config->replicas[i].number));
    mb_checkpoint_clear(&c);
    return list;
}

/* Ask for a key with its proof; the checkpoint that comes with it is checked. */
static int get_proof(struct cli_org *o, const char *key, json_t **answer, struct mb_header *header,
                     struct mb_buf *proof, struct mb_error *error)
{
    struct mb_buf path = {0};
    mb_buf_add_text(&path, "/v1/state?proof=1&key=");
    cli_escape(&path, key);
    int rc = cli_get(o, mb_buf_text(&path), answer, error);
    if (rc == 0)
        rc = cli_verify_checkpoint(o, json_object_get(*answer, "checkpoint"), header, error);
    const char *base64 = mb_json_get_text(*answer, "proof", "");
    if (rc == 0 && mb_base64_decode(proof, base64, strlen(base64)) != 0)
        rc = mb_fail(error, MB_EPROOF, "proof.invalid", "the proof of %s is malformed", key);
    mb_buf_clear(&path);
    return rc;
}

int cli_verify_module(struct cli_org *o, const char *module, uint64_t slot,
                      const struct mb_hash *root, struct mb_error *error)
{
    struct mb_buf proof = {0};
    struct mb_header header;
    json_t *answer = NULL;
    char *key = mb_asprintf("%s/", module);
    int rc = get_proof(o, key, &answer, &header, &proof, error);
    if (rc == 0 && header.slot != slot)
        rc = mb_fail(error, MB_EREACH, "checkpoint.moved",
                     "a new checkpoint came during the download: try again");
    if (rc == 0)
        rc = mb_state_verify_module(mb_buf_bytes(&proof), &header.state_root, module, root, error);
    json_decref(answer);
    mb_buf_clear(&proof);
    free(key);
    return rc;
}

int cli_state(struct cli_org *o, const char *key, json_t **value, struct mb_error *error)
{
    struct mb_buf proof = {0};
    json_t *answer = NULL;
    struct mb_header header;
    if (value != NULL)
        *value = NULL;
    int rc = get_proof(o, key, &answer, &header, &proof, error);
    const char *text = mb_json_get_text(answer, "text", NULL);
    struct mb_bytes bytes = {.data = (const uint8_t *)text, .len = text != NULL ? strlen(text) : 0};
    if (rc == 0)
        rc = mb_state_verify(mb_buf_bytes(&proof), &header.state_root, key, bytes, error);
    if (rc == 0 && text != NULL) {
        rc = value != NULL ? mb_json_parse(value, text, strlen(text), error) : 0;
        rc = rc == 0 ? 1 : rc;
    }
    json_decref(answer);
    mb_buf_clear(&proof);
    return rc;
}
