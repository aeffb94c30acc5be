/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "ledger/internal.h"

#define ID_LEN    44   /* id:32 || slot:8 || index:4 */
#define BATCH_MAX 4096 /* keys that go into a tree at once */

static int invalid(struct mb_error *error, const char *why)
{
    return mb_fail(error, MB_EINVAL, "snapshot.invalid", "not a snapshot: %s", why);
}

static int is_false(struct mb_error *error, const char *why)
{
    return mb_fail(
        error, MB_EPROOF, "snapshot.false",
        "the snapshot is not what its checkpoint says: %s; fetch it from another replica", why);
}

void mb_snapshot_clear(struct mb_snapshot *s)
{
    mb_checkpoint_clear(&s->checkpoint);
    free(s->chunks);
    memset(s, 0, sizeof *s);
}

/* --- The list of chunks. --- */

static json_t *hashes_json(const struct mb_hash *hashes, size_t count)
{
    char hex[MB_HASH_HEX_SIZE];
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        mb_hash_hex(&hashes[i], hex);
        json_array_append_new(list, json_string(hex));
    }
    return list;
}

json_t *mb_snapshot_to_json(const struct mb_snapshot *s)
{
    json_t *json = json_object();
    json_object_set_new(json, "slot", json_integer((json_int_t)s->frontier.size));
    json_object_set_new(json, "checkpoint", mb_checkpoint_to_json(&s->checkpoint));
    json_object_set_new(json, "frontier", hashes_json(s->frontier.peaks, s->frontier.count));
    json_object_set_new(json, "chunks", hashes_json(s->chunks, s->chunk_count));
    return json;
}

static bool hashes_from_json(struct mb_hash *out, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *hex = json_string_value(json_array_get(list, i));
        if (!hex || mb_hash_from_hex(&out[i], hex) != 0)
            return false;
    }
    return true;
}

static int snapshot_from_json(struct mb_snapshot *s, const json_t *json,
                              const struct mb_public_key *keys, size_t key_count,
                              struct mb_error *error)
{
    static const struct mb_json_field fields[] = {{.name = "slot", .kind = MB_JSON_INT},
                                                  {.name = "checkpoint", .kind = MB_JSON_OBJECT},
                                                  {.name = "frontier", .kind = MB_JSON_ARRAY},
                                                  {.name = "chunks", .kind = MB_JSON_ARRAY},
                                                  {0}};
    const json_t *frontier = json_object_get(json, "frontier");
    const json_t *chunks = json_object_get(json, "chunks");
    const json_t *checkpoint = json_object_get(json, "checkpoint");
    int64_t slot = mb_json_get_int(json, "slot", -1);
    if (mb_json_check(json, fields, NULL) != 0 || slot < 0 ||
        slot != mb_json_get_int(checkpoint, "slot", -1))
        return invalid(error, "it has the fields slot, checkpoint, frontier and chunks");
    int rc = mb_checkpoint_from_json(&s->checkpoint, checkpoint, keys, key_count, error);
    if (rc != 0)
        return rc;
    s->frontier.size = (uint64_t)slot;
    for (uint64_t bits = s->frontier.size; bits > 0; bits &= bits - 1)
        s->frontier.count++;
    if (json_array_size(frontier) != s->frontier.count ||
        !hashes_from_json(s->frontier.peaks, frontier))
        return invalid(error, "its frontier does not fit its slot");
    s->chunk_count = json_array_size(chunks);
    s->chunks = mb_calloc(s->chunk_count + 1, sizeof *s->chunks);
    return hashes_from_json(s->chunks, chunks) ? 0 : invalid(error, "a chunk's name is no hash");
}

int mb_snapshot_from_json(struct mb_snapshot *s, const json_t *json,
                          const struct mb_public_key *keys, size_t key_count,
                          struct mb_error *error)
{
    memset(s, 0, sizeof *s);
    int rc = snapshot_from_json(s, json, keys, key_count, error);
    if (rc != 0)
        mb_snapshot_clear(s);
    return rc;
}

/* --- Writing. --- */

struct writer {
    struct mb_backend backend;
    struct mb_buf out;
    int (*emit)(void *arg, struct mb_bytes chunk, const struct mb_hash *name);
    void *arg;
    struct mb_buf ids; /* of the bucket at hand */
    uint32_t buckets;
};

static int emit(struct writer *w, size_t len)
{
    struct mb_hash name = mb_sha256(w->out.data, len);
    int rc = w->emit(w->arg, mb_bytes(w->out.data, len), &name);
    mb_buf_consume(&w->out, len);
    return rc;
}

static int emit_full(struct writer *w)
{
    int rc = 0;
    while (rc == 0 && w->out.len >= MB_CHUNK_BYTES)
        rc = emit(w, MB_CHUNK_BYTES);
    return rc;
}

static int count_bucket(void *arg, uint64_t hour)
{
    (void)hour;
    ((struct writer *)arg)->buckets++;
    return 0;
}

static int add_id(void *arg, const struct mb_seen *seen)
{
    struct writer *w = arg;
    mb_buf_add(&w->ids, seen->id.b, 32);
    mb_buf_add_u64(&w->ids, seen->slot);
    mb_buf_add_u32(&w->ids, seen->index);
    return 0;
}

static int add_bucket(void *arg, uint64_t hour)
{
    struct writer *w = arg;
    mb_buf_reset(&w->ids);
    int rc = w->backend.ops->seen_list(w->backend.self, hour, add_id, w);
    if (rc < 0)
        return rc;
    mb_buf_add_u64(&w->out, hour);
    mb_buf_add_u32(&w->out, (uint32_t)(w->ids.len / ID_LEN));
    mb_buf_add_bytes(&w->out, mb_buf_bytes(&w->ids));
    return emit_full(w);
}

static int write_pairs(struct writer *w)
{
    struct mb_buf key = {0}, value = {0}, from = {0};
    int rc;
    while ((rc = w->backend.ops->seek(w->backend.self, "", mb_buf_text(&from), &key, &value)) ==
           1) {
        mb_buf_add_string(&w->out, mb_buf_bytes(&key));
        mb_buf_add_string(&w->out, mb_buf_bytes(&value));
        mb_buf_reset(&from);
        mb_buf_add_bytes(&from, mb_buf_bytes(&key));
        mb_buf_add_u8(&from, 1); /* the least text that is greater */
        mb_buf_reset(&key);
        mb_buf_reset(&value);
        if ((rc = emit_full(w)) != 0)
            break;
    }
    mb_buf_clear(&key);
    mb_buf_clear(&value);
    mb_buf_clear(&from);
    return rc;
}

int mb_snapshot_write(struct mb_backend backend,
                      int (*emit_chunk)(void *arg, struct mb_bytes chunk,
                                        const struct mb_hash *name),
                      void *arg, struct mb_error *error)
{
    struct writer w = {.backend = backend, .emit = emit_chunk, .arg = arg};
    int rc = backend.ops->seen_hours(backend.self, count_bucket, &w);
    mb_buf_add_u32(&w.out, w.buckets);
    if (rc == 0)
        rc = backend.ops->seen_hours(backend.self, add_bucket, &w);
    if (rc == 0)
        rc = write_pairs(&w);
    if (rc == 0 && w.out.len > 0)
        rc = emit(&w, w.out.len);
    mb_buf_clear(&w.out);
    mb_buf_clear(&w.ids);
    return rc == 0 ? 0
                   : mb_fail(error, rc, "snapshot.write",
                             "the state could not be read, or a chunk could not be written");
}

/* --- Reading. --- */

struct bucket {
    uint64_t hour;
    struct mb_seen_hash running;
};
struct mb_snapshot_reader {
    struct mb_backend backend;
    struct mb_buf in; /* bytes that are no whole item yet */
    enum { AT_START, AT_BUCKET, AT_IDS, AT_PAIRS } at;
    uint32_t buckets_left, ids_left;
    struct bucket *buckets;
    size_t bucket_count;
    struct mb_hash *chunks; /* names of those fed */
    size_t chunk_count;
    struct mb_buf last_key;
    char *module; /* of the batch */
    struct mb_tree_change batch[BATCH_MAX];
    size_t batch_count;
    struct mb_tree_change *modules; /* leaves of the tree of modules */
    size_t module_count;
};

struct mb_snapshot_reader *mb_snapshot_reader_new(struct mb_backend backend)
{
    struct mb_snapshot_reader *r = mb_calloc(1, sizeof *r);
    r->backend = backend;
    return r;
}

void mb_snapshot_reader_free(struct mb_snapshot_reader *r)
{
    if (!r)
        return;
    mb_buf_clear(&r->in);
    mb_buf_clear(&r->last_key);
    free(r->buckets);
    free(r->chunks);
    free(r->module);
    free(r->modules);
    free(r);
}

/* Put the batch into its module's tree. */
static int flush_batch(struct mb_snapshot_reader *r, struct mb_error *error)
{
    struct mb_tree_io io = mb_backend_trees(&r->backend);
    struct mb_hash root;
    if (r->batch_count == 0)
        return 0;
    int rc = mb_tree_update(&io, r->module, r->batch, r->batch_count, &root, error);
    r->modules[r->module_count - 1].value_hash = root;
    r->batch_count = 0;
    return rc;
}

static int begin_module(struct mb_snapshot_reader *r, const char *key, size_t len,
                        struct mb_error *error)
{
    int rc = flush_batch(r, error);
    free(r->module);
    r->module = mb_strndup(key, len);
    r->modules = mb_realloc(r->modules, (r->module_count + 1) * sizeof *r->modules);
    r->modules[r->module_count++] =
        (struct mb_tree_change){.key_hash = mb_sha256(r->module, len), .present = true};
    return rc;
}

static int take_pair(struct mb_snapshot_reader *r, struct mb_bytes key, struct mb_bytes value,
                     struct mb_error *error)
{
    if (key.len == 0 || memchr(key.data, 0, key.len) || !mb_utf8_valid(key.data, key.len))
        return invalid(error, "a key is no text");
    if (mb_bytes_compare(mb_buf_bytes(&r->last_key), key) >= 0)
        return is_false(error, "its keys are out of order");
    mb_buf_reset(&r->last_key);
    mb_buf_add_bytes(&r->last_key, key);
    const char *text = mb_buf_text(&r->last_key);
    size_t len = strcspn(text, "/");
    int rc = 0;
    if (len == 0 || len == key.len)
        return invalid(error, "a key names no module");
    if (!r->module || strlen(r->module) != len || strncmp(r->module, text, len) != 0)
        rc = begin_module(r, text, len, error);
    else if (r->batch_count == BATCH_MAX)
        rc = flush_batch(r, error);
    if (rc != 0)
        return rc;
    r->batch[r->batch_count++] =
        (struct mb_tree_change){.key_hash = mb_sha256(key.data, key.len),
                                .value_hash = mb_sha256(value.data, value.len),
                                .present = true};
    rc = r->backend.ops->put(r->backend.self, 0, text, value);
    return rc < 0 ? mb_fail(error, rc, "ledger.backend", "the state cannot be stored") : 0;
}

static int take_bucket(struct mb_snapshot_reader *r, uint64_t hour, uint32_t count,
                       struct mb_error *error)
{
    if (r->bucket_count > 0 && r->buckets[r->bucket_count - 1].hour >= hour)
        return is_false(error, "its hours are out of order");
    r->buckets = mb_realloc(r->buckets, (r->bucket_count + 1) * sizeof *r->buckets);
    r->buckets[r->bucket_count++] = (struct bucket){.hour = hour};
    r->buckets_left--;
    r->ids_left = count;
    return 0;
}

static int take_id(struct mb_snapshot_reader *r, struct mb_cursor *c, struct mb_error *error)
{
    struct bucket *b = &r->buckets[r->bucket_count - 1];
    struct mb_seen seen = {.hour = b->hour};
    memcpy(seen.id.b, mb_cursor_take(c, 32).data, 32);
    seen.slot = mb_cursor_u64(c);
    seen.index = mb_cursor_u32(c);
    mb_seen_hash_add(&b->running, &seen);
    r->ids_left--;
    int rc = r->backend.ops->seen_add(r->backend.self, &seen);
    return rc < 0 ? mb_fail(error, rc, "ledger.backend", "the state cannot be stored") : 0;
}

/* One item off the cursor: 1, or 0 if it is not whole yet. */
static int take_item(struct mb_snapshot_reader *r, struct mb_cursor *c, struct mb_error *error)
{
    struct mb_cursor look = *c;
    int rc = 0;
    switch (r->at) {
    case AT_START:
        r->buckets_left = mb_cursor_u32(&look);
        break;
    case AT_BUCKET: {
        uint64_t hour = mb_cursor_u64(&look);
        uint32_t count = mb_cursor_u32(&look);
        if (!look.failed)
            rc = take_bucket(r, hour, count, error);
        break;
    }
    case AT_IDS:
        if (mb_cursor_left(&look) < ID_LEN)
            return 0;
        rc = take_id(r, &look, error);
        break;
    case AT_PAIRS: {
        uint32_t key_len = mb_cursor_u32(&look);
        if (key_len > MB_STATE_KEY_MAX)
            return invalid(error, "a key is too long");
        struct mb_bytes key = mb_cursor_take(&look, key_len);
        uint32_t value_len = mb_cursor_u32(&look);
        if (value_len > MB_STATE_VALUE_MAX)
            return invalid(error, "a value is too long");
        struct mb_bytes value = mb_cursor_take(&look, value_len);
        if (!look.failed)
            rc = take_pair(r, key, value, error);
        break;
    }
    }
    if (rc != 0 || look.failed)
        return rc;
    *c = look;
    r->at = r->ids_left > 0 ? AT_IDS : r->buckets_left > 0 ? AT_BUCKET : AT_PAIRS;
    return 1;
}

int mb_snapshot_feed(struct mb_snapshot_reader *r, struct mb_bytes chunk, struct mb_error *error)
{
    int rc;
    r->chunks = mb_realloc(r->chunks, (r->chunk_count + 1) * sizeof *r->chunks);
    r->chunks[r->chunk_count++] = mb_sha256(chunk.data, chunk.len);
    mb_buf_add_bytes(&r->in, chunk);
    struct mb_cursor c = mb_cursor(mb_buf_bytes(&r->in));
    while ((rc = take_item(r, &c, error)) == 1)
        ;
    mb_buf_consume(&r->in, r->in.len - mb_cursor_left(&c));
    return rc;
}

static bool chunks_fit(const struct mb_snapshot_reader *r, const struct mb_snapshot *s)
{
    if (r->chunk_count != s->chunk_count)
        return false;
    for (size_t i = 0; i < r->chunk_count; i++)
        if (!mb_hash_equal(&r->chunks[i], &s->chunks[i]))
            return false;
    return true;
}

/* The ids are those whose running hashes are in the state. */
static int check_ids(struct mb_snapshot_reader *r, struct mb_error *error)
{
    struct mb_tx tx;
    struct mb_walk w;
    size_t hours = 0;
    bool same = true;
    mb_tx_init(&tx, r->backend);
    for (size_t i = 0; i < r->bucket_count; i++) {
        struct mb_seen_hash expected;
        mb_seen_hash_read(&expected, &tx, r->buckets[i].hour);
        same = same && expected.count == r->buckets[i].running.count && expected.count > 0 &&
               mb_hash_equal(&expected.hash, &r->buckets[i].running.hash);
    }
    mb_walk_init(&w, &tx, "core/seen/", "");
    while (mb_walk_next(&w))
        hours++;
    mb_walk_clear(&w);
    int err = tx.err;
    mb_tx_clear(&tx);
    if (err != 0)
        return mb_fail(error, err, "ledger.backend", "the state cannot be read");
    return same && hours == r->bucket_count ? 0 : is_false(error, "its ids are others");
}

static int check_root(struct mb_snapshot_reader *r, const struct mb_hash *expected,
                      struct mb_error *error)
{
    struct mb_tree_io io = mb_backend_trees(&r->backend);
    struct mb_hash root;
    int rc = flush_batch(r, error);
    if (rc == 0)
        rc = mb_tree_update(&io, "", r->modules, r->module_count, &root, error);
    if (rc != 0)
        return rc;
    return mb_hash_equal(&root, expected) ? 0 : is_false(error, "its state has another root");
}

/* The history's complete subtrees that the frontier is made of. */
static int put_peaks(struct mb_backend backend, const struct mb_frontier *f)
{
    uint64_t covered = 0;
    unsigned peak = 0;
    for (unsigned level = 64; level-- > 0;) {
        if (!(f->size >> level & 1))
            continue;
        int rc = backend.ops->history_put(backend.self, level, covered >> level, &f->peaks[peak++]);
        if (rc < 0)
            return rc;
        covered += UINT64_C(1) << level;
    }
    return 0;
}

/* Make the ledger stand at the snapshot's slot. */
static int put_tip(struct mb_snapshot_reader *r, const struct mb_snapshot *s,
                   const struct mb_header *h, struct mb_bytes genesis, struct mb_error *error)
{
    struct mb_ledger l = {.backend = r->backend};
    int rc = mb_genesis_parse(&l.genesis, genesis, error);
    if (rc != 0)
        return rc;
    if (!mb_hash_equal(&l.genesis.org, &h->org)) {
        mb_genesis_clear(&l.genesis);
        return is_false(error, "it belongs to another organisation");
    }
    mb_tx_init(&l.tx, r->backend);
    l.tip.history = s->frontier;
    /* Its slot is a checkpoint slot: with no checkpoint before, its time alone makes it one. */
    l.tip.header.config_hash = h->config_hash;
    rc = put_peaks(r->backend, &s->frontier);
    if (rc == 0)
        rc = r->backend.ops->meta_put(r->backend.self, MB_META_GENESIS, genesis);
    if (rc < 0)
        mb_tx_stop(&l.tx, rc, MB_META_GENESIS);
    mb_tip_advance(&l, h, 0);
    rc = l.tx.err;
    if (rc != 0 && error)
        *error = l.tx.error;
    mb_tx_clear(&l.tx);
    mb_facts_clear(&l.facts);
    mb_genesis_clear(&l.genesis);
    return rc;
}

int mb_snapshot_finish(struct mb_snapshot_reader *r, const struct mb_snapshot *s,
                       struct mb_bytes genesis, struct mb_error *error)
{
    struct mb_header h;
    int rc = mb_header_decode(&h, mb_buf_bytes(&s->checkpoint.header), error);
    if (rc != 0)
        return rc;
    if (r->at != AT_PAIRS || r->in.len > 0)
        return invalid(error, "it is cut off");
    if (!chunks_fit(r, s))
        return is_false(error, "its chunks have other names");
    struct mb_hash history = mb_frontier_root(&s->frontier);
    if (s->frontier.size != h.slot || (h.slot > 0 && !mb_hash_equal(&history, &h.history_root)))
        return is_false(error, "its frontier has another root");
    if ((rc = check_root(r, &h.state_root, error)) != 0 || (rc = check_ids(r, error)) != 0)
        return rc;
    return put_tip(r, s, &h, genesis, error);
}
