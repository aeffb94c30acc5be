/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Answers of any length, streamed as JSON lines: blocks, and whole modules. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/api.h"

#define BLOCKS_DEFAULT 1000

struct blocks {
    struct node *node;
    uint64_t next, left;
};

static void blocks_gone(struct mb_request *r, void *user)
{
    (void)r;
    free(user);
}

/* The key of the replica that proposed a block: one of the configuration for its slot. */
static const struct mb_replica *proposer_of(struct node *n, uint64_t slot,
                                            const struct mb_block *block,
                                            struct mb_membership *config)
{
    struct mb_value value;
    const struct mb_replica *found = NULL;
    if (mb_value_decode(&value, mb_buf_bytes(&block->value), NULL) == 0 &&
        mb_ledger_config_at(n->ledger, slot, config) == 1)
        for (size_t i = 0; i < config->count && found == NULL; i++) {
            struct mb_hash hash = mb_public_key_hash(&config->replicas[i].key);
            found = mb_hash_equal(&hash, &value.proposer) ? &config->replicas[i] : NULL;
        }
    mb_value_clear(&value);
    return found;
}

static json_t *block_line(struct node *n, uint64_t slot)
{
    struct mb_block block = {0};
    struct mb_checkpoint zero = {0};
    json_t *json = NULL;
    if (slot == 0) {
        if (node_checkpoint(n, 0, &zero, NULL) == 1) {
            json = json_pack("{s:i, s:o}", "slot", 0, "header",
                             api_hex_json(mb_buf_bytes(&zero.header)));
        }
    } else if (api_read_block(n, slot, &block, NULL) == 1) {
        struct mb_membership config;
        const struct mb_replica *proposer = proposer_of(n, slot, &block, &config);
        json = proposer == NULL ? NULL : mb_block_to_json(&block, &proposer->key);
    }
    mb_block_clear(&block);
    mb_checkpoint_clear(&zero);
    return json;
}

static void add_line(struct mb_buf *out, json_t *json_take)
{
    char *text = mb_json_text(json_take);
    mb_buf_add_text(out, text);
    mb_buf_add_u8(out, '\n');
    free(text);
    json_decref(json_take);
}

static enum mb_stream more_blocks(struct mb_request *r, void *user, struct mb_buf *out, size_t max)
{
    struct blocks *b = user;
    (void)r;
    while (b->left > 0 && out->len < max) {
        if (b->next > mb_ledger_tip(b->node->ledger)->header.slot)
            return MB_STREAM_END;
        json_t *json = block_line(b->node, b->next);
        if (json == NULL)
            return MB_STREAM_ABORT;
        add_line(out, json);
        b->next++;
        b->left--;
    }
    return b->left > 0 ? MB_STREAM_MORE : MB_STREAM_END;
}

static void get_blocks(void *self, struct mb_request *r)
{
    struct node *n = self;
    uint64_t from, limit;
    if (!api_number(n, r, "from", 0, &from) || !api_number(n, r, "limit", BLOCKS_DEFAULT, &limit))
        return;
    uint64_t first = mb_archive_first(n->archive);
    if (from < first && (from > 0 || (limit > 1 && first > 1))) {
        struct mb_error error = {0};
        mb_fail(&error, MB_ENOENT, "blocks.since",
                "this replica began with a snapshot, and has the blocks from slot %" PRIu64
                " on: ask another for those before",
                first);
        api_fail(n, r, MB_ENOENT, &error);
        return;
    }
    struct blocks *b = mb_calloc(1, sizeof *b);
    *b = (struct blocks){.node = n, .next = from, .left = limit};
    mb_request_set_user(r, b, blocks_gone);
    mb_reply_stream(r, 200, "application/x-ndjson", NULL, more_blocks);
}

struct download {
    struct mb_store_view *view;
    char *module;
    struct mb_buf after;
    uint64_t slot, since;
    bool begun;
};

static void download_gone(struct mb_request *r, void *user)
{
    struct download *d = user;
    (void)r;
    mb_store_view_free(d->view);
    mb_buf_clear(&d->after);
    free(d->module);
    free(d);
}

static enum mb_stream more_module(struct mb_request *r, void *user, struct mb_buf *out, size_t max)
{
    struct download *d = user;
    (void)r;
    if (!d->begun)
        add_line(out, json_pack("{s:I}", "slot", (json_int_t)d->slot));
    d->begun = true;
    while (out->len < max) {
        struct mb_buf key = {0}, value = {0};
        bool present;
        int rc = mb_store_view_changed(d->view, d->module, d->since, mb_buf_text(&d->after), &key,
                                       &value, &present);
        if (rc == 1) {
            json_t *line = json_pack("{s:s}", "key", mb_buf_text(&key));
            if (present)
                json_object_set_new(line, "text", json_stringn((char *)value.data, value.len));
            add_line(out, line);
            mb_buf_reset(&d->after);
            mb_buf_add_bytes(&d->after, mb_buf_bytes(&key));
        }
        mb_buf_clear(&key);
        mb_buf_clear(&value);
        if (rc < 0)
            return MB_STREAM_ABORT; /* the checkpoint was forgotten meanwhile: begin again */
        if (rc == 0)
            return MB_STREAM_END;
    }
    return MB_STREAM_MORE;
}

static void get_module(void *self, struct mb_request *r)
{
    struct node *n = self;
    uint64_t since, slot = mb_ledger_tip(n->ledger)->checkpoint_slot;
    if (!api_number(n, r, "since", 0, &since))
        return;
    struct mb_error error = {0};
    if (since > slot || (since > 0 && since < mb_store_forgotten(n->store))) {
        api_refuse(n, r, MB_ENOENT, "module.since",
                   "changes since then are not kept: download the whole module");
        return;
    }
    struct download *d = mb_calloc(1, sizeof *d);
    int rc = mb_store_view_new(&d->view, n->store, slot, &error);
    if (rc != 0) {
        free(d);
        api_fail(n, r, (enum mb_err)rc, &error);
        return;
    }
    d->module = mb_strdup(mb_request_param(r, "name"));
    d->slot = slot;
    d->since = since;
    mb_request_set_user(r, d, download_gone);
    mb_reply_stream(r, 200, "application/x-ndjson", NULL, more_module);
}

const struct mb_route *api_stream_routes(void)
{
    static const struct mb_route routes[] = {
        {.method = "GET", .pattern = "/v1/blocks", .begin = get_blocks},
        {.method = "GET", .pattern = "/v1/module/{name}", .begin = get_module},
        {.method = NULL},
    };
    return routes;
}
