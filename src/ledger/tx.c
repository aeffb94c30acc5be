/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "ledger/internal.h"
#include "merkle/tree.h"

void mb_tx_init(struct mb_tx *tx, struct mb_backend backend)
{
    memset(tx, 0, sizeof *tx);
    tx->backend = backend;
    tx->overlay = mb_map_new();
    tx->stale = true;
}

void mb_tx_clear(struct mb_tx *tx)
{
    mb_map_free(tx->overlay);
    mb_batch_clear(&tx->batch);
    free(tx->undo);
    memset(tx, 0, sizeof *tx);
}

void mb_tx_stop(struct mb_tx *tx, int err, const char *what)
{
    if (tx->err != 0)
        return;
    tx->err = err;
    mb_fail(&tx->error, err, err == MB_ECORRUPT ? "ledger.corrupt" : "ledger.backend",
            "the stored state cannot be used: %s", what);
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool is_fact(const char *key)
{
    return starts_with(key, "org/") || starts_with(key, "core/config") ||
           strcmp(key, "core/versions") == 0 || strcmp(key, "core/upgrade") == 0;
}

/* --- Savepoint of a command. --- */

static void remember(struct mb_tx *tx, const char *key)
{
    const struct mb_map_item *item = mb_map_get(tx->overlay, key);
    if (tx->undo_count == tx->undo_cap) {
        tx->undo_cap = tx->undo_cap * 2 + 16;
        tx->undo = mb_realloc(tx->undo, tx->undo_cap * sizeof *tx->undo);
    }
    struct mb_undo *u = &tx->undo[tx->undo_count++];
    memset(u, 0, sizeof *u);
    u->key = mb_strdup(key);
    u->was = !item ? MB_WAS_BELOW : item->present ? MB_WAS_TEXT : MB_WAS_DELETED;
    if (u->was == MB_WAS_TEXT)
        mb_buf_add_bytes(&u->text, item->value);
}

static void put_back(struct mb_tx *tx, const struct mb_undo *u)
{
    if (u->was == MB_WAS_BELOW)
        mb_map_remove(tx->overlay, u->key);
    else if (u->was == MB_WAS_DELETED)
        mb_map_mark_deleted(tx->overlay, u->key);
    else
        mb_map_put(tx->overlay, u->key, u->text.data, u->text.len);
}

void mb_tx_open(struct mb_tx *tx, const char *module)
{
    tx->module = module;
    tx->fault = NULL;
    tx->logging = true;
    tx->undo_from = tx->undo_count;
}

/* Undo or forget what the log holds from number from on. */
static void rewind_to(struct mb_tx *tx, size_t from, bool keep)
{
    while (tx->undo_count > from) {
        struct mb_undo *u = &tx->undo[--tx->undo_count];
        if (!keep)
            put_back(tx, u);
        free(u->key);
        mb_buf_clear(&u->text);
    }
    if (!keep && tx->touched)
        tx->stale = true;
}

void mb_tx_hold(struct mb_tx *tx)
{
    tx->holding = true;
}

void mb_tx_release(struct mb_tx *tx, bool keep)
{
    tx->holding = false;
    rewind_to(tx, 0, keep);
}

void mb_batch_clear(struct mb_batch *batch)
{
    free(batch->id);
    json_decref(batch->commands);
    memset(batch, 0, sizeof *batch);
}

void mb_tx_batch(struct mb_tx *tx, const char *id, const json_t *commands)
{
    if (tx->holding || tx->batch.id || json_array_size(commands) > MB_BATCH_MAX) {
        tx->fault = "command.batch";
        return;
    }
    tx->batch = (struct mb_batch){mb_strdup(id), tx->module, json_incref((json_t *)commands)};
}

int64_t mb_tx_work(struct mb_tx *tx, int64_t more)
{
    return tx->work += more;
}

int mb_tx_close(struct mb_tx *tx, int rc, struct mb_error *error)
{
    if (rc == MB_EIO || rc == MB_ECORRUPT)
        mb_tx_stop(tx, rc, "a module could not go on");
    if (rc == 0 && tx->fault)
        rc = mb_refuse(error, tx->fault, "");
    if (tx->err != 0)
        rc = tx->err;
    if (rc != 0 || !tx->holding)
        rewind_to(tx, tx->undo_from, rc == 0);
    if (rc != 0)
        mb_batch_clear(&tx->batch);
    tx->logging = false;
    tx->module = NULL;
    tx->fault = NULL;
    return rc == 0 || rc == tx->err ? rc : MB_EREFUSED;
}

/* --- Reading. --- */

int mb_tx_text(struct mb_tx *tx, const char *key, struct mb_buf *text)
{
    const struct mb_map_item *item = mb_map_get(tx->overlay, key);
    if (item) {
        if (item->present)
            mb_buf_add_bytes(text, item->value);
        return item->present;
    }
    if (tx->err != 0)
        return tx->err;
    int rc = tx->backend.ops->get(tx->backend.self, key, text);
    if (rc < 0)
        mb_tx_stop(tx, rc, key);
    return rc;
}

static json_t *parse(struct mb_tx *tx, const char *key, struct mb_bytes text)
{
    json_t *value;
    if (mb_json_parse(&value, text.data, text.len, NULL) != 0)
        mb_tx_stop(tx, MB_ECORRUPT, key);
    return value;
}

json_t *mb_tx_get(struct mb_tx *tx, const char *key)
{
    struct mb_buf text = {0};
    json_t *value = NULL;
    if (mb_tx_text(tx, key, &text) == 1)
        value = parse(tx, key, mb_buf_bytes(&text));
    mb_buf_clear(&text);
    return value;
}

bool mb_tx_has(struct mb_tx *tx, const char *key)
{
    struct mb_buf text = {0};
    int rc = mb_tx_text(tx, key, &text);
    mb_buf_clear(&text);
    return rc == 1;
}

int64_t mb_tx_int(struct mb_tx *tx, const char *key)
{
    json_t *value = mb_tx_get(tx, key);
    int64_t n = json_integer_value(value);
    json_decref(value);
    return n;
}

/* --- Writing. --- */

static void before_write(struct mb_tx *tx, const char *key)
{
    if (!tx->writable)
        abort(); /* a reader's transaction: only apply may write */
    if (tx->logging)
        remember(tx, key);
    if (is_fact(key))
        tx->touched = tx->stale = true;
}

void mb_tx_set_text(struct mb_tx *tx, const char *key, struct mb_bytes text)
{
    before_write(tx, key);
    mb_map_put(tx->overlay, key, text.data, text.len);
}

void mb_tx_remove(struct mb_tx *tx, const char *key)
{
    before_write(tx, key);
    mb_map_mark_deleted(tx->overlay, key);
}

static bool may_write(struct mb_tx *tx, const char *key)
{
    size_t len = strlen(key), module = strcspn(key, "/");
    if (module == 0 || module == len || len > MB_STATE_KEY_MAX || !mb_utf8_valid(key, len)) {
        tx->fault = "state.limit";
        return false;
    }
    if (tx->module && (strlen(tx->module) != module || strncmp(key, tx->module, module) != 0)) {
        tx->fault = "state.foreign";
        return false;
    }
    return true;
}

static void put(struct mb_tx *tx, const char *key, const json_t *value)
{
    struct mb_buf text = {0};
    if (mb_json_canonical(&text, value, NULL) == 0 && text.len <= MB_STATE_VALUE_MAX)
        mb_tx_set_text(tx, key, mb_buf_bytes(&text));
    else
        tx->fault = "state.limit";
    mb_buf_clear(&text);
}

void mb_tx_put(struct mb_tx *tx, const char *key, const json_t *value)
{
    if (may_write(tx, key))
        put(tx, key, value);
}

void mb_tx_delete(struct mb_tx *tx, const char *key)
{
    if (may_write(tx, key))
        mb_tx_remove(tx, key);
}

void mb_tx_set(struct mb_tx *tx, const char *key, json_t *value_take)
{
    put(tx, key, value_take);
    json_decref(value_take);
}

/* --- Walking. --- */

void mb_walk_init(struct mb_walk *w, struct mb_tx *tx, const char *prefix, const char *after)
{
    memset(w, 0, sizeof *w);
    w->tx = tx;
    w->prefix = prefix;
    mb_buf_add_text(&w->key, after);
}

void mb_walk_clear(struct mb_walk *w)
{
    mb_buf_clear(&w->key);
    mb_buf_clear(&w->text);
    mb_buf_clear(&w->below);
    mb_buf_clear(&w->below_text);
}

/* The backend's first key after where the walk stands that the overlay does not cover. */
static void find_below(struct mb_walk *w)
{
    struct mb_tx *tx = w->tx;
    struct mb_buf from = {0};
    if (!w->below_known)
        mb_buf_add_bytes(&w->below, mb_buf_bytes(&w->key));
    while (!w->below_end && tx->err == 0 &&
           (!w->below_known || mb_map_get(tx->overlay, mb_buf_text(&w->below)))) {
        mb_buf_reset(&from);
        mb_buf_add_bytes(&from, mb_buf_bytes(&w->below));
        if (from.len > 0)
            mb_buf_add_u8(&from, 1); /* the least text that is greater */
        mb_buf_reset(&w->below);
        mb_buf_reset(&w->below_text);
        const char *start = mb_buf_text(&from);
        if (strcmp(start, w->prefix) < 0)
            start = w->prefix;
        int rc =
            tx->backend.ops->seek(tx->backend.self, w->prefix, start, &w->below, &w->below_text);
        if (rc < 0)
            mb_tx_stop(tx, rc, w->prefix);
        w->below_known = true;
        w->below_end = rc != 1;
    }
    mb_buf_clear(&from);
}

static const struct mb_map_item *find_above(struct mb_walk *w)
{
    const struct mb_map *overlay = w->tx->overlay;
    const char *at = mb_buf_text(&w->key);
    const struct mb_map_item *item =
        strcmp(at, w->prefix) < 0 ? mb_map_seek(overlay, w->prefix) : mb_map_next(overlay, at);
    while (item && starts_with(item->key, w->prefix) && !item->present)
        item = mb_map_next(overlay, item->key);
    return item && starts_with(item->key, w->prefix) ? item : NULL;
}

bool mb_walk_next(struct mb_walk *w)
{
    find_below(w);
    if (w->tx->err != 0)
        return false;
    const struct mb_map_item *above = find_above(w);
    if (!above && w->below_end)
        return false;
    mb_buf_reset(&w->text);
    if (above && (w->below_end || strcmp(above->key, mb_buf_text(&w->below)) < 0)) {
        mb_buf_reset(&w->key);
        mb_buf_add_text(&w->key, above->key);
        mb_buf_add_bytes(&w->text, above->value);
        return true;
    }
    mb_buf_reset(&w->key);
    mb_buf_add_bytes(&w->key, mb_buf_bytes(&w->below));
    mb_buf_add_bytes(&w->text, mb_buf_bytes(&w->below_text));
    w->below_known = false;
    mb_buf_reset(&w->below);
    return true;
}

int mb_tx_scan(struct mb_tx *tx, const char *prefix, const char *after, mb_tx_visit *visit,
               void *arg)
{
    struct mb_walk w;
    int rc = 0;
    mb_walk_init(&w, tx, prefix, after);
    while (rc == 0 && mb_walk_next(&w)) {
        json_t *value = parse(tx, mb_buf_text(&w.key), mb_buf_bytes(&w.text));
        if (!value)
            break;
        rc = visit(arg, mb_buf_text(&w.key), value);
        json_decref(value);
    }
    mb_walk_clear(&w);
    return rc;
}

/* --- Due commands. --- */

static bool due_at(struct mb_tx *tx, const char *folder, int64_t n)
{
    char *key = mb_asprintf("%s%010lld", folder, (long long)n);
    bool has = mb_tx_has(tx, key);
    free(key);
    return has;
}

/*
 * One more than the greatest number in use below folder, or 0. Numbers there have no gaps, for
 * they are handed out upwards and run from the lowest: so the end can be found by doubling.
 */
static int64_t next_due_number(struct mb_tx *tx, const char *folder)
{
    struct mb_walk w;
    mb_walk_init(&w, tx, folder, "");
    if (!mb_walk_next(&w)) {
        mb_walk_clear(&w);
        return 0;
    }
    int64_t low = strtoll(mb_buf_text(&w.key) + strlen(folder), NULL, 10), step = 1;
    mb_walk_clear(&w);
    for (; due_at(tx, folder, low + step); step *= 2)
        low += step;
    for (; step > 0; step /= 2)
        if (due_at(tx, folder, low + step))
            low += step;
    return low + 1;
}

void mb_tx_due(struct mb_tx *tx, int64_t time, const char *type, const json_t *body)
{
    if (time > MB_TIME_MAX) {
        tx->fault = "state.limit";
        return;
    }
    char *folder = mb_asprintf("core/due/%020lld/%s/", (long long)(time > 0 ? time : 0),
                               tx->module ? tx->module : "org");
    char *key = mb_asprintf("%s%010lld", folder, (long long)next_due_number(tx, folder));
    json_t *value = json_object();
    json_object_set(value, "body", (json_t *)body);
    json_object_set_new(value, "type", json_string(type));
    mb_tx_set(tx, key, value);
    free(folder);
    free(key);
}

/* --- Flushing. --- */

struct mb_tree_io mb_backend_trees(const struct mb_backend *backend)
{
    return (struct mb_tree_io){backend->self, backend->ops->page_load, backend->ops->page_save};
}

void mb_tx_drop(struct mb_tx *tx)
{
    mb_map_reset(tx->overlay);
    if (tx->touched)
        tx->stale = true;
    tx->touched = false;
}

/* Write the keys of one module from item on; *changed is its leaf in the tree of modules. Returns
 * the first item of the next module. */
static const struct mb_map_item *flush_module(struct mb_tx *tx, uint64_t slot,
                                              const struct mb_map_item *item,
                                              struct mb_tree_change *changed)
{
    struct mb_tree_io io = mb_backend_trees(&tx->backend);
    struct mb_tree_change *leaves = NULL;
    size_t count = 0, cap = 0, len = strcspn(item->key, "/") + 1;
    char *folder = mb_strndup(item->key, len), *module = mb_strndup(item->key, len - 1);
    for (; item && starts_with(item->key, folder) && tx->err == 0;
         item = mb_map_next(tx->overlay, item->key)) {
        if (count == cap)
            leaves = mb_realloc(leaves, (cap = cap * 2 + 16) * sizeof *leaves);
        struct mb_tree_change *leaf = &leaves[count++];
        *leaf = (struct mb_tree_change){.present = item->present};
        leaf->key_hash = mb_sha256(item->key, strlen(item->key));
        if (item->present)
            leaf->value_hash = mb_sha256(item->value.data, item->value.len);
        int rc = tx->backend.ops->put(tx->backend.self, slot, item->key,
                                      item->present ? item->value : mb_bytes(NULL, 0));
        if (rc < 0)
            mb_tx_stop(tx, rc, item->key);
    }
    *changed = (struct mb_tree_change){.key_hash = mb_sha256(module, len - 1)};
    if (tx->err == 0)
        tx->err = mb_tree_update(&io, module, leaves, count, &changed->value_hash, &tx->error);
    changed->present = !mb_hash_is_zero(&changed->value_hash);
    free(leaves);
    free(folder);
    free(module);
    return item;
}

int mb_tx_flush(struct mb_tx *tx, uint64_t slot, struct mb_hash *state_root, struct mb_error *error)
{
    struct mb_tree_io io = mb_backend_trees(&tx->backend);
    struct mb_tree_change *modules = NULL;
    size_t count = 0;
    const struct mb_map_item *item = mb_map_next(tx->overlay, "");
    while (item && tx->err == 0) {
        modules = mb_realloc(modules, (count + 1) * sizeof *modules);
        item = flush_module(tx, slot, item, &modules[count++]);
    }
    if (tx->err == 0)
        tx->err = mb_tree_update(&io, "", modules, count, state_root, &tx->error);
    free(modules);
    mb_map_reset(tx->overlay);
    tx->touched = false;
    if (tx->err != 0 && error)
        *error = tx->error;
    return tx->err;
}
