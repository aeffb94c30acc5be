/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What anybody may read: the organisation, its state with proofs, its checkpoints and snapshot. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/api.h"
#include "daemon/consensus.h"
#include "ledger/membership.h"
#include "merkle/tree.h"

#define LIST_MAX       1000
#define LIST_BYTES_MAX (4u << 20)
#define HANDOVERS_MAX  100

bool api_number(struct node *n, struct mb_request *r, const char *name, uint64_t fallback,
                uint64_t *out)
{
    const char *text = mb_request_query(r, name);
    char *end;
    *out = fallback;
    if (text == NULL)
        return true;
    errno = 0;
    *out = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == 0 && errno == 0 && *out <= INT64_MAX)
        return true;
    struct mb_error error = {0};
    mb_fail(&error, MB_EINVAL, "query.invalid", "%s is not a number", name);
    api_fail(n, r, MB_EINVAL, &error);
    return false;
}

static json_t *state_json(struct node *n, const char *key)
{
    struct mb_buf text = {0};
    json_t *json = NULL;
    if (mb_ledger_get(n->ledger, key, &text) == 1)
        mb_json_parse(&json, text.data, text.len, NULL);
    mb_buf_clear(&text);
    return json;
}

/* The newest signed checkpoint and its decoded header; otherwise the request has been answered. */
static bool newest_checkpoint(struct node *n, struct mb_request *r, struct mb_checkpoint *c,
                              struct mb_header *h)
{
    struct mb_error error = {0};
    *c = (struct mb_checkpoint){0};
    if (node_checkpoint(n, UINT64_MAX, c, &error) == 1 &&
        mb_header_decode(h, mb_buf_bytes(&c->header), &error) == 0)
        return true;
    mb_checkpoint_clear(c);
    api_refuse(n, r, MB_EIO, "checkpoint.none", "no checkpoint can be read");
    return false;
}

static void get_org(void *self, struct mb_request *r)
{
    struct node *n = self;
    struct mb_checkpoint c;
    struct mb_header h;
    if (!newest_checkpoint(n, r, &c, &h))
        return;
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o}", "org", mb_ledger_org(n->ledger), "name",
        mb_ledger_genesis(n->ledger)->name, "genesis", mb_ledger_genesis_text(n->ledger), "slot",
        (json_int_t)mb_ledger_tip(n->ledger)->header.slot, "blocks_from",
        (json_int_t)mb_archive_first(n->archive), "checkpoint", mb_checkpoint_to_json(&c), "config",
        state_json(n, "core/config"), "onion", state_json(n, "org/onion"), "versions",
        state_json(n, "core/versions"));
    mb_checkpoint_clear(&c);
    mb_reply_json(r, 200, json);
}

static bool is_state_key(const char *key)
{
    size_t len = strlen(key);
    return len >= 1 && len <= MB_STATE_KEY_MAX && mb_utf8_valid(key, len);
}

static void get_newest(struct node *n, struct mb_request *r, const char *key)
{
    json_t *value = state_json(n, key);
    json_t *json = json_pack("{s:s, s:I}", "key", key, "slot",
                             (json_int_t)mb_ledger_tip(n->ledger)->header.slot);
    if (value == NULL) {
        json_decref(json);
        api_refuse(n, r, MB_ENOENT, "state.unknown", "there is no such key in the state");
        return;
    }
    json_object_set_new(json, "value", value);
    mb_reply_json(r, 200, json);
}

static json_t *proven_json(struct mb_backend view, const char *key, const struct mb_checkpoint *c,
                           const struct mb_header *h)
{
    struct mb_tree_io io = {
        .self = view.self, .load = view.ops->page_load, .save = view.ops->page_save};
    struct mb_buf text = {0}, proof = {0}, base64 = {0};
    json_t *json = NULL;
    int found = view.ops->get(view.self, key, &text);
    if (found >= 0 && mb_state_prove(&io, key, &proof, NULL) == 0) {
        mb_base64_encode(&base64, proof.data, proof.len);
        json = json_pack("{s:s, s:I, s:s, s:o}", "key", key, "slot", (json_int_t)h->slot, "proof",
                         mb_buf_text(&base64), "checkpoint", mb_checkpoint_to_json(c));
        json_t *value = NULL;
        if (found == 1 && mb_json_parse(&value, text.data, text.len, NULL) == 0) {
            json_object_set_new(json, "value", value);
            json_object_set_new(json, "text", json_stringn((char *)text.data, text.len));
        }
    }
    mb_buf_clear(&text);
    mb_buf_clear(&proof);
    mb_buf_clear(&base64);
    return json;
}

static void get_proven(struct node *n, struct mb_request *r, const char *key)
{
    struct mb_checkpoint c;
    struct mb_header h;
    struct mb_store_view *view = NULL;
    if (!newest_checkpoint(n, r, &c, &h))
        return;
    json_t *json = NULL;
    if (mb_store_view_new(&view, n->store, h.slot, NULL) == 0)
        json = proven_json(mb_store_view_backend(view), key, &c, &h);
    mb_store_view_free(view);
    mb_checkpoint_clear(&c);
    if (json != NULL)
        mb_reply_json(r, 200, json);
    else
        api_refuse(n, r, MB_EIO, "state.unproven",
                   "the newest checkpoint's state cannot be read: ask again in 10 seconds");
}

struct listing {
    json_t *items;
    size_t bytes, limit;
    bool more;
};

static int list_item(void *arg, const char *key, const json_t *value)
{
    struct listing *l = arg;
    if (json_array_size(l->items) >= l->limit || l->bytes > LIST_BYTES_MAX) {
        l->more = true;
        return 1;
    }
    json_t *copy = json_deep_copy(value);
    char *text = mb_json_text(copy);
    l->bytes += strlen(key) + strlen(text);
    free(text);
    json_array_append_new(l->items, json_pack("{s:s, s:o}", "key", key, "value", copy));
    return 0;
}

static void get_prefix(struct node *n, struct mb_request *r, const char *prefix)
{
    const char *after = mb_request_query(r, "after");
    uint64_t limit;
    if (!api_number(n, r, "limit", 100, &limit))
        return;
    if (limit < 1 || limit > LIST_MAX || (after != NULL && !is_state_key(after))) {
        api_refuse(n, r, MB_EINVAL, "query.invalid", "limit is 1 to 1000, after is a key");
        return;
    }
    struct listing l = {.items = json_array(), .limit = limit};
    mb_tx_scan(mb_ledger_reader(n->ledger), prefix, after != NULL ? after : "", list_item, &l);
    mb_reply_json(r, 200,
                  json_pack("{s:I, s:o, s:b}", "slot",
                            (json_int_t)mb_ledger_tip(n->ledger)->header.slot, "items", l.items,
                            "more", l.more));
}

static void answer_state(struct node *n, struct mb_request *r)
{
    const char *key = mb_request_query(r, "key"), *prefix = mb_request_query(r, "prefix");
    const char *proof = mb_request_query(r, "proof");
    if ((key == NULL) == (prefix == NULL) || !is_state_key(key != NULL ? key : prefix))
        api_refuse(n, r, MB_EINVAL, "query.invalid",
                   "give either key or prefix, 1 to 255 bytes of UTF-8");
    else if (prefix != NULL)
        get_prefix(n, r, prefix);
    else if (proof != NULL && strcmp(proof, "1") == 0)
        get_proven(n, r, key);
    else
        get_newest(n, r, key);
}

/* A read that has to see every command that anybody was told of before it was asked. */
struct fresh {
    struct node *node;
    struct mb_request *request; /* NULL once the client has gone */
    bool asking;
};

static void fresh_gone(struct mb_request *r, void *user)
{
    struct fresh *f = user;
    (void)r;
    f->request = NULL;
    if (!f->asking)
        free(f);
}

static void fresh_known(void *arg, bool ok)
{
    struct fresh *f = arg;
    f->asking = false;
    if (f->request == NULL)
        free(f);
    else if (ok)
        answer_state(f->node, f->request);
    else
        api_refuse(f->node, f->request, MB_EREACH, "state.stale",
                   "no majority of replicas confirmed that this is the newest state: ask again, or "
                   "without fresh=1");
}

static void get_state(void *self, struct mb_request *r)
{
    struct node *n = self;
    const char *fresh = mb_request_query(r, "fresh");
    if (fresh == NULL || strcmp(fresh, "1") != 0) {
        answer_state(n, r);
        return;
    }
    struct fresh *f = mb_calloc(1, sizeof *f);
    *f = (struct fresh){.node = n, .request = r, .asking = true};
    mb_request_set_user(r, f, fresh_gone);
    consensus_read(n->consensus, fresh_known, f);
}

static void get_checkpoint(void *self, struct mb_request *r)
{
    struct node *n = self;
    struct mb_checkpoint c;
    struct mb_header h;
    if (!newest_checkpoint(n, r, &c, &h))
        return;
    mb_reply_json(r, 200, mb_checkpoint_to_json(&c));
    mb_checkpoint_clear(&c);
}

/* The header of any slot, slot 0 included. */
static bool header_of(struct node *n, uint64_t slot, struct mb_buf *header)
{
    struct mb_block block = {0};
    struct mb_checkpoint zero = {0};
    bool found = false;
    if (slot == 0)
        found = node_checkpoint(n, 0, &zero, NULL) == 1;
    else
        found = api_read_block(n, slot, &block, NULL) == 1;
    if (found)
        mb_buf_add_bytes(header, mb_buf_bytes(slot == 0 ? &zero.header : &block.header));
    mb_block_clear(&block);
    mb_checkpoint_clear(&zero);
    return found;
}

static void get_consistency(void *self, struct mb_request *r)
{
    struct node *n = self;
    uint64_t from, to, tip = mb_ledger_tip(n->ledger)->header.slot;
    struct mb_hash inclusion[MB_HISTORY_PATH_MAX], path[MB_HISTORY_PATH_MAX];
    size_t inclusion_count = 0, path_count = 0;
    struct mb_buf header = {0};
    if (!api_number(n, r, "from", 0, &from) || !api_number(n, r, "to", tip, &to))
        return;
    struct mb_backend b = mb_store_backend(n->store);
    struct mb_history_source source = {.self = b.self, .get = b.ops->history_get};
    if (from > to || to > tip)
        api_refuse(n, r, MB_EINVAL, "query.invalid", "from ≤ to ≤ the newest slot");
    else if (from > 0 && from < mb_archive_first(n->archive))
        api_refuse(n, r, MB_ENOENT, "blocks.since",
                   "this replica began with a snapshot, and has no history before: ask another");
    else if (!header_of(n, from, &header) ||
             (from < to &&
              mb_history_prove_inclusion(&source, from, to, inclusion, &inclusion_count) != 0) ||
             (from > 0 && from < to &&
              mb_history_prove_consistency(&source, from, to, path, &path_count) != 0))
        api_refuse(n, r, MB_EIO, "archive.corrupt", "the proof cannot be made");
    else
        mb_reply_json(r, 200,
                      json_pack("{s:I, s:I, s:o, s:o, s:o}", "from", (json_int_t)from, "to",
                                (json_int_t)to, "header", api_hex_json(mb_buf_bytes(&header)),
                                "inclusion", api_path_json(inclusion, inclusion_count), "path",
                                api_path_json(path, path_count)));
    mb_buf_clear(&header);
}

/* The handover to a version: 1 and the item, or 0 if it is not there, or not signed by a majority
 * yet. The state knows the slots, the archive has the signatures. */
static int handover_json(struct node *n, uint64_t version, json_t **item, struct mb_error *error)
{
    json_t *config = mb_ledger_config(n->ledger, version);
    struct mb_checkpoint c;
    struct mb_buf record = {0};
    if (config == NULL)
        return 0;
    uint64_t slot = (uint64_t)mb_json_get_int(config, "from", 1) - 1;
    if (slot <= n->base.slot && mb_base_handover(&n->base, version) != NULL) {
        *item = json_incref(mb_base_handover(&n->base, version));
        json_decref(config);
        return 1;
    }
    int rc = mb_archive_read(n->archive, MB_ARCHIVE_CHECKPOINT, slot, &record, error);
    if (rc == 1 && (rc = mb_checkpoint_decode(&c, mb_buf_bytes(&record), error)) == 0) {
        *item = json_pack("{s:o, s:O}", "checkpoint", mb_checkpoint_to_json(&c), "config", config);
        mb_checkpoint_clear(&c);
        rc = 1;
    }
    mb_buf_clear(&record);
    json_decref(config);
    return rc;
}

static void get_handovers(void *self, struct mb_request *r)
{
    struct node *n = self;
    uint64_t version;
    struct mb_error error = {0};
    json_t *list = json_array(), *item = NULL;
    int rc = 1;
    if (!api_number(n, r, "from", 2, &version)) {
        json_decref(list);
        return;
    }
    if (version < 2)
        version = 2; /* genesis needs no handover */
    while (json_array_size(list) < HANDOVERS_MAX &&
           (rc = handover_json(n, version++, &item, &error)) == 1)
        json_array_append_new(list, item);
    if (rc >= 0)
        mb_reply_json(r, 200, json_pack("{s:O}", "handovers", list));
    else
        api_fail(n, r, (enum mb_err)rc, &error);
    json_decref(list);
}

static void get_snapshot(void *self, struct mb_request *r)
{
    struct node *n = self;
    json_t *index;
    struct mb_error error = {0};
    int rc = snapshots_load(n->data, &index, &error);
    if (rc == 1)
        mb_reply_json(r, 200, index);
    else if (rc == 0)
        api_refuse(n, r, MB_ENOENT, "snapshot.none",
                   "no snapshot has been made yet: read the blocks");
    else
        api_fail(n, r, (enum mb_err)rc, &error);
}

static void get_chunk(void *self, struct mb_request *r)
{
    struct node *n = self;
    const char *hex = mb_request_param(r, "hash");
    struct mb_buf chunk = {0};
    if (!mb_is_hex(hex, 64)) {
        mb_reply_unknown(r);
        return;
    }
    char *path = snapshots_chunk_path(n->data, hex);
    if (mb_read_file(path, MB_CHUNK_BYTES, &chunk, NULL) == 0)
        mb_reply_take(r, 200, "application/octet-stream", &chunk);
    else
        api_refuse(n, r, MB_ENOENT, "snapshot.none", "there is no such chunk (any more)");
    free(path);
    mb_buf_clear(&chunk);
}

const struct mb_route *api_read_routes(void)
{
    static const struct mb_route routes[] = {
        {.method = "GET", .pattern = "/v1/org", .begin = get_org},
        {.method = "GET", .pattern = "/v1/state", .begin = get_state},
        {.method = "GET", .pattern = "/v1/checkpoint", .begin = get_checkpoint},
        {.method = "GET", .pattern = "/v1/consistency", .begin = get_consistency},
        {.method = "GET", .pattern = "/v1/handovers", .begin = get_handovers},
        {.method = "GET", .pattern = "/v1/snapshot", .begin = get_snapshot},
        {.method = "GET", .pattern = "/v1/snapshot/{hash}", .begin = get_chunk},
        {.method = NULL},
    };
    return routes;
}
