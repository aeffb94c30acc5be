/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/pull.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/plan.h"

#define BATCH_BYTES (64u << 20)
#define LINE_MAX    (8u << 20)

static void add_signed(struct pull *p, const struct mb_checkpoint *c_take)
{
    p->signed_ = mb_realloc(p->signed_, (p->signed_count + 1) * sizeof *p->signed_);
    p->signed_[p->signed_count++] = *c_take;
}

/* A checkpoint that was verified, with those signatures that are of replicas. */
static int keep_signed(struct pull *p, const json_t *json, const struct mb_membership *config)
{
    struct mb_public_key keys[MB_REPLICAS_MAX];
    struct mb_checkpoint c = {0};
    size_t count = mb_membership_keys(config, keys);
    int rc = mb_checkpoint_from_json(&c, json, keys, count, &p->error);
    if (rc == 0)
        rc = mb_checkpoint_verify(&c, keys, count, &p->error);
    if (rc != 0) {
        mb_checkpoint_clear(&c);
        return rc;
    }
    add_signed(p, &c);
    return 0;
}

static int walk_page(struct pull *p, bool *more)
{
    struct mb_membership before = p->configs[p->config_count - 1], after;
    char *path = mb_asprintf("/v1/handovers?from=%" PRIu64, before.version + 1);
    json_t *answer = NULL, *item;
    size_t i;
    int rc = fetch_json(p->client, path, &answer, &p->error);
    const json_t *list = json_object_get(answer, "handovers");
    *more = json_array_size(list) > 0;
    json_array_foreach(list, i, item)
    {
        if (rc == 0)
            rc = mb_handover_verify(&before, item, &p->org, &after, &p->error);
        if (rc == 0 && after.from > p->tip + 1)
            rc = keep_signed(p, json_object_get(item, "checkpoint"), &before);
        if (rc != 0)
            break;
        pull_add_config(p, &after);
        before = after;
    }
    json_decref(answer);
    free(path);
    return rc;
}

static bool knows(const struct pull *p, const struct mb_header *h)
{
    return mb_hash_equal(&pull_config(p, h->slot + 1)->hash, &h->config_hash);
}

/* The newest checkpoint, signed by a majority of the replicas for its slot. */
static int prove_checkpoint(struct pull *p, struct mb_header *header)
{
    struct mb_checkpoint c = {0};
    json_t *json;
    bool more = true;
    int rc = fetch_json(p->client, "/v1/checkpoint", &json, &p->error);
    if (rc == 0)
        rc = mb_checkpoint_from_json(&c, json, NULL, 0, &p->error);
    if (rc == 0)
        rc = mb_header_decode(header, mb_buf_bytes(&c.header), &p->error);
    mb_checkpoint_clear(&c);
    if (rc == 0 && !mb_hash_equal(&header->org, &p->org))
        rc = mb_fail(&p->error, MB_EPROOF, "checkpoint.other", "this is another organisation");
    if (rc == 0 && header->slot > p->tip) {
        while (rc == 0 && more && !knows(p, header))
            rc = walk_page(p, &more);
        if (rc == 0 && !knows(p, header))
            rc = mb_fail(&p->error, MB_EPROOF, "handover.missing",
                         "no handover to the replicas of slot %" PRIu64 " is shown",
                         header->slot + 1);
        if (rc == 0)
            rc = keep_signed(p, json, pull_config(p, header->slot));
    }
    json_decref(json);
    return rc;
}

/* The header of a slot below the checkpoint. */
static int prove_header(struct pull *p, uint64_t slot, const struct mb_hash *hash,
                        const struct mb_header *to, struct mb_header *out)
{
    char *path = mb_asprintf("/v1/consistency?from=%" PRIu64 "&to=%" PRIu64, slot, to->slot);
    json_t *answer = NULL;
    int rc = fetch_json(p->client, path, &answer, &p->error);
    if (rc == 0 && !mb_history_holds(answer, slot, hash, to, out))
        rc = mb_fail(&p->error, MB_EPROOF, "checkpoint.fork",
                     "the history does not hold the header of slot %" PRIu64, slot);
    json_decref(answer);
    free(path);
    return rc;
}

/* Before this daemon has come to the invite's slot itself. */
static int check_invite(struct pull *p, const struct mb_header *header)
{
    const struct mb_pin *pin = p->pin;
    struct mb_hash hash = mb_header_hash(header);
    if (pin->onions == NULL || p->tip >= pin->slot || pin->slot == 0)
        return 0;
    if (header->slot < pin->slot)
        return mb_fail(&p->error, MB_EPROOF, "checkpoint.older",
                       "its newest checkpoint is older than the invite");
    if (header->slot > pin->slot)
        return prove_header(p, pin->slot, &pin->header_hash, header, NULL);
    return mb_hash_equal(&hash, &pin->header_hash)
               ? 0
               : mb_fail(&p->error, MB_EPROOF, "checkpoint.fork",
                         "slot %" PRIu64 " has another header than the invite says", pin->slot);
}

struct lines {
    struct pull *pull;
    struct checkers *checkers;
};
static int on_line(void *arg, struct mb_bytes bytes, struct mb_error *error)
{
    struct lines *l = arg;
    struct pull *p = l->pull;
    p->bytes += bytes.len;
    if (p->block_count == p->batch || p->bytes > BATCH_BYTES)
        return mb_fail(error, MB_ELIMIT, "limit.answer", "more blocks than were asked for");
    mb_buf_add_bytes(&p->blocks[p->block_count++].line, bytes);
    return checkers_give(l->checkers, error);
}

/* Headers are one history up to last, which is proven. */
static int check_headers(struct pull *p, const struct mb_header *last)
{
    struct mb_frontier history = p->history;
    uint8_t bytes[MB_HEADER_MAX];
    size_t len = mb_header_encode(last, bytes);
    for (size_t i = 0; i + 1 < p->block_count; i++) {
        struct mb_hash leaf = mb_history_leaf(mb_buf_bytes(&p->blocks[i].block.header));
        mb_frontier_add(&history, &leaf, NULL, NULL);
    }
    struct mb_hash root = mb_frontier_root(&history), leaf = mb_history_leaf(mb_bytes(bytes, len));
    mb_frontier_add(&history, &leaf, NULL, NULL);
    p->history_after = history;
    if (mb_hash_equal(&root, &last->history_root) &&
        mb_bytes_equal(mb_bytes(bytes, len),
                       mb_buf_bytes(&p->blocks[p->block_count - 1].block.header)))
        return 0;
    return mb_fail(&p->error, MB_EPROOF, "blocks.false",
                   "the blocks up to slot %" PRIu64 " are not those of the checkpoint", last->slot);
}

/* A block's time is that of the one before it, or its value's if that is later. */
static int check_times(struct pull *p)
{
    int64_t time = p->time;
    for (size_t i = 0; i < p->block_count; i++) {
        const struct pulled *b = &p->blocks[i];
        time = b->time > time ? b->time : time;
        if (b->header_time != time)
            return mb_fail(&p->error, MB_EPROOF, "blocks.false",
                           "slot %" PRIu64 " does not have its header's time", p->tip + 1 + i);
    }
    p->time_after = time;
    return 0;
}

/* The lines of `want` blocks, checked one by one. */
static int get_blocks(struct pull *p, uint64_t want)
{
    struct lines lines = {.pull = p, .checkers = checkers_start(p)};
    char *path = mb_asprintf("/v1/blocks?from=%" PRIu64 "&limit=%" PRIu64, p->tip + 1, want);
    struct mb_error error = {0};
    unsigned status = 0;
    int rc = mb_http_get_lines(p->client, path, LINE_MAX, on_line, &lines, &status, &p->error);
    int checked = checkers_end(lines.checkers, &error);
    free(path);
    if (status == 410)
        return mb_fail(&p->error, MB_ENOENT, "blocks.since",
                       "the blocks from slot %" PRIu64 " on are not there any more", p->tip + 1);
    if (rc == 0 && status != 200)
        return mb_fail(&p->error, MB_EREACH, "blocks.cut", "the blocks are answered with status %u",
                       status);
    if (checked != 0)
        p->error = error;
    if (rc != 0 || checked != 0)
        return checked != 0 ? checked : rc;
    return p->block_count == want ? 0
                                  : mb_fail(&p->error, MB_EREACH, "blocks.cut",
                                            "%zu of %" PRIu64 " blocks came", p->block_count, want);
}

static int pull_blocks(struct pull *p)
{
    struct mb_header last = p->checkpoint;
    uint64_t want = plan_range(p->tip, last.slot, p->batch);
    int rc = 0;
    if (p->tip + want < last.slot)
        rc = prove_header(p, p->tip + want, NULL, &p->checkpoint, &last);
    if (rc != 0)
        return rc;
    p->blocks = mb_calloc(want, sizeof *p->blocks);
    p->batch = want;
    rc = get_blocks(p, want);
    if (rc == 0)
        rc = check_headers(p, &last);
    return rc == 0 ? check_times(p) : rc;
}

/* A header below the invite's slot is checked when the blocks come to that. */
static int agrees(void *arg, const struct mb_header *header, struct mb_error *error)
{
    struct pull *p = arg;
    int rc = p->pin->onions != NULL && header->slot < p->pin->slot ? 0 : check_invite(p, header);
    if (rc != 0)
        *error = p->error;
    return rc;
}

/* 1: a snapshot is here; 0: go on by blocks. */
static int pull_snapshot(struct pull *p)
{
    struct fetch_check check = {.agrees = agrees, .arg = p};
    if (p->fetch == NULL || !plan_snapshot(p->tip, p->checkpoint.slot, p->behind, p->gone))
        return 0;
    int rc = fetch_run(p->fetch, p->client, p->tip, &check, p->stop, &p->error);
    return rc == MB_ENOENT && strcmp(p->error.code, "snapshot.none") == 0 ? 0 : rc;
}

/* Whether a replica that learns nothing from the others could be helped by this one. */
static void ask_whether_gone(struct pull *p)
{
    char *path = mb_asprintf("/v1/blocks?from=%" PRIu64 "&limit=1", p->tip + 1);
    struct mb_error error = {0};
    json_t *json = NULL;
    p->gone = fetch_json(p->client, path, &json, &error) == MB_ENOENT &&
              strcmp(error.code, "blocks.since") == 0;
    json_decref(json);
    free(path);
}

/* Up to which slot the blocks are proven; 1: a snapshot is here, or nothing is missing. */
static int prove(struct pull *p)
{
    int rc = prove_checkpoint(p, &p->checkpoint);
    if (rc != 0 || p->checkpoint.slot <= p->tip)
        return rc == 0 ? 1 : rc;
    if (p->member && p->checkpoint.slot - p->tip < p->behind)
        ask_whether_gone(p);
    rc = pull_snapshot(p);
    p->ready = rc == 1;
    if (rc != 0 || p->member)
        return rc == 0 ? 1 : rc;
    rc = check_invite(p, &p->checkpoint);
    p->proven = rc == 0;
    return rc;
}

void pull_run(struct pull *p)
{
    p->rc = p->proven ? 0 : prove(p);
    if (p->rc == 0)
        p->rc = pull_blocks(p);
    else if (p->rc == 1)
        p->rc = 0;
}

struct pull *pull_next(struct pull *p, uint64_t batch)
{
    uint64_t tip = p->tip + p->block_count;
    if (!p->proven || plan_range(tip, p->checkpoint.slot, batch) == 0)
        return NULL;
    struct pull *next = mb_calloc(1, sizeof *next);
    *next = (struct pull){.owner = p->owner,
                          .client = p->client,
                          .pin = p->pin,
                          .stop = p->stop,
                          .org = p->org,
                          .tip = tip,
                          .time = p->time_after,
                          .history = p->history_after,
                          .batch = batch,
                          .proven = true,
                          .further = true,
                          .checkpoint = p->checkpoint};
    for (size_t i = 0; i < p->config_count; i++)
        pull_add_config(next, &p->configs[i]);
    size_t mine = 0;
    for (size_t i = 0; i < p->signed_count; i++) {
        struct mb_header h;
        (void)mb_header_decode(&h, mb_buf_bytes(&p->signed_[i].header), NULL);
        if (h.slot <= tip)
            p->signed_[mine++] = p->signed_[i];
        else
            add_signed(next, &p->signed_[i]);
    }
    p->signed_count = mine;
    return next;
}

void pull_free(struct pull *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; p->blocks != NULL && i < p->batch; i++) {
        for (size_t k = 0; k < p->blocks[i].count; k++)
            mb_checked_free(p->blocks[i].checked[k]);
        free(p->blocks[i].checked);
        mb_buf_clear(&p->blocks[i].line);
        mb_block_clear(&p->blocks[i].block);
    }
    for (size_t i = 0; i < p->signed_count; i++)
        mb_checkpoint_clear(&p->signed_[i]);
    free(p->signed_);
    free(p->blocks);
    free(p->configs);
    free(p);
}
