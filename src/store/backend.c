/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The newest state, as the ledger sees it. */
#include <string.h>

#include "store/internal.h"

/* Outside of a transaction nothing is written. */
static bool may_write(struct mb_store *s)
{
    if (!s->writing)
        (void)mb_store_fail(&s->reader, SQLITE_READONLY);
    return s->writing;
}

static int state_get(void *self, const char *key, struct mb_buf *value)
{
    return mb_cache_get(self, key, value);
}

/* The least key >= from in any layer, if it is less than `than`; of several layers the newest. */
static const struct mb_map_item *least(const struct mb_store *s, const char *from, const char *than)
{
    const struct mb_map_item *found = NULL;
    for (size_t i = s->count; i-- > 0;) {
        const struct mb_map_item *item = mb_map_seek(s->layers[i]->state, from);
        if (item && (found ? strcmp(item->key, found->key) < 0
                           : than == NULL || strcmp(item->key, than) <= 0))
            found = item;
    }
    return found;
}

static bool is_within(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

/* The lesser of what the layers and the table have; a layer hides a row of the table. */
static int state_seek(void *self, const char *prefix, const char *from, struct mb_buf *key,
                      struct mb_buf *value)
{
    struct mb_store *s = self;
    struct mb_connection *c = mb_store_reads(s);
    struct mb_buf next = {0};
    const struct mb_map_item *item = NULL;
    int rc;
    mb_buf_add_text(&next, mb_store_scan_from(prefix, from));
    for (;;) {
        rc = mb_store_step(c, SQL_STATE_SEEK, "s", mb_buf_text(&next));
        if (rc < 0)
            break;
        const char *row =
            rc == 1 ? (const char *)sqlite3_column_text(c->stmt[SQL_STATE_SEEK], 0) : NULL;
        item = least(s, mb_buf_text(&next), row);
        if (!item || mb_state_present(item))
            break;
        mb_store_done(c, SQL_STATE_SEEK);
        if (!is_within(item->key, prefix)) {
            rc = 0;
            item = NULL;
            break;
        }
        mb_buf_reset(&next); /* it was removed: the least text that is greater */
        mb_buf_addf(&next, "%s\x01", item->key);
    }
    if (rc >= 0 && item) {
        rc = is_within(item->key, prefix);
        if (rc) {
            mb_buf_add_text(key, item->key);
            mb_buf_add_bytes(value, mb_state_text(item));
        }
    } else if (rc == 1) {
        rc = is_within((const char *)sqlite3_column_text(c->stmt[SQL_STATE_SEEK], 0), prefix);
        if (rc) {
            mb_store_column(c, SQL_STATE_SEEK, 0, key);
            mb_store_column(c, SQL_STATE_SEEK, 1, value);
        }
    }
    mb_store_done(c, SQL_STATE_SEEK);
    mb_buf_clear(&next);
    return rc;
}

static int state_put(void *self, uint64_t slot, const char *key, struct mb_bytes text)
{
    struct mb_store *s = self;
    if (!may_write(s))
        return MB_EIO;
    mb_layer_put(mb_store_open_layer(s), slot, key, text);
    return mb_store_wrote(s);
}

static int page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    return mb_cache_page_load(self, tree, id, page);
}

static int page_save(void *self, const char *tree, struct mb_bytes id, struct mb_bytes page)
{
    struct mb_store *s = self;
    if (!may_write(s))
        return MB_EIO;
    mb_cache_page_save(s, tree, id, page);
    return mb_store_wrote(s);
}

/* What the newest layer has of a row that is in one. */
static const struct mb_map_item *row_in_layers(const struct mb_store *s, const char *key)
{
    for (size_t i = s->count; i-- > 0;) {
        const struct mb_map_item *item = mb_map_get(s->layers[i]->rows, key);
        if (item)
            return item;
    }
    return NULL;
}

static int put_row(struct mb_store *s, const char *key, struct mb_bytes value)
{
    if (!may_write(s))
        return MB_EIO;
    mb_layer_row(mb_store_open_layer(s), key, value);
    return mb_store_wrote(s);
}

static int history_get(void *self, unsigned level, uint64_t index, struct mb_hash *hash)
{
    struct mb_store *s = self;
    char key[MB_ROW_KEY];
    mb_row_history(key, level, index);
    const struct mb_map_item *item = row_in_layers(s, key);
    if (item) {
        memcpy(hash->b, item->value.data, sizeof hash->b);
        return 0;
    }
    struct mb_connection *c = mb_store_reads(s);
    int rc = mb_store_step(c, SQL_HISTORY_GET, "ii", (int64_t)level, (int64_t)index);
    if (rc != 1)
        return rc ? rc : MB_ENOENT;
    sqlite3_stmt *stmt = c->stmt[SQL_HISTORY_GET];
    rc = sqlite3_column_bytes(stmt, 0) == sizeof hash->b ? 0 : mb_store_fail(c, SQLITE_CORRUPT);
    if (rc == 0)
        memcpy(hash->b, sqlite3_column_blob(stmt, 0), sizeof hash->b);
    mb_store_done(c, SQL_HISTORY_GET);
    return rc;
}

static int history_put(void *self, unsigned level, uint64_t index, const struct mb_hash *hash)
{
    char key[MB_ROW_KEY];
    mb_row_history(key, level, index);
    return put_row(self, key, mb_bytes(hash->b, sizeof hash->b));
}

static int seen_row(struct mb_connection *c, enum mb_sql which, struct mb_seen *seen)
{
    sqlite3_stmt *stmt = c->stmt[which];
    if (sqlite3_column_bytes(stmt, 0) != sizeof seen->id.b)
        return mb_store_fail(c, SQLITE_CORRUPT);
    memcpy(seen->id.b, sqlite3_column_blob(stmt, 0), sizeof seen->id.b);
    seen->slot = (uint64_t)sqlite3_column_int64(stmt, 1);
    seen->index = (uint32_t)sqlite3_column_int64(stmt, 2);
    seen->hour = (uint64_t)sqlite3_column_int64(stmt, 3);
    return 0;
}

static int seen_find(void *self, const struct mb_hash *id, struct mb_seen *seen)
{
    struct mb_store *s = self;
    char key[MB_ROW_KEY];
    mb_row_id(key, 's', id);
    const struct mb_map_item *item = row_in_layers(s, key);
    if (item) {
        memcpy(seen, item->value.data, sizeof *seen);
        return 1;
    }
    struct mb_connection *c = mb_store_reads(s);
    int rc = mb_store_step(c, SQL_SEEN_FIND, "b", mb_bytes(id->b, sizeof id->b));
    if (rc != 1)
        return rc;
    rc = seen_row(c, SQL_SEEN_FIND, seen);
    mb_store_done(c, SQL_SEEN_FIND);
    return rc ? rc : 1;
}

static int seen_add(void *self, const struct mb_seen *seen)
{
    struct mb_store *s = self;
    char key[MB_ROW_KEY];
    if (!may_write(s))
        return MB_EIO;
    mb_row_id(key, 's', &seen->id);
    if (row_in_layers(s, key))
        return mb_store_fail(&s->reader, SQLITE_CONSTRAINT);
    mb_layer_seen_add(mb_store_open_layer(s), key, seen);
    return mb_store_wrote(s);
}

static int seen_drop(void *self, uint64_t hour)
{
    struct mb_store *s = self;
    int rc = may_write(s) ? mb_store_flush(s) : MB_EIO;
    return rc ? rc : mb_store_step(&s->writer, SQL_SEEN_DROP, "i", (int64_t)hour);
}

static int seen_list(void *self, uint64_t hour, int (*visit)(void *arg, const struct mb_seen *),
                     void *arg)
{
    struct mb_store *s = self;
    struct mb_seen seen;
    int rc = mb_store_flush(s);
    struct mb_connection *c = mb_store_reads(s);
    rc = rc ? rc : mb_store_step(c, SQL_SEEN_LIST, "i", (int64_t)hour);
    while (rc == 1) {
        int stop = seen_row(c, SQL_SEEN_LIST, &seen);
        if (stop == 0)
            stop = visit(arg, &seen);
        if (stop) {
            mb_store_done(c, SQL_SEEN_LIST);
            return stop;
        }
        rc = mb_store_next(c, SQL_SEEN_LIST);
    }
    return rc;
}

static int seen_hours(void *self, int (*visit)(void *arg, uint64_t hour), void *arg)
{
    struct mb_store *s = self;
    int64_t from = 0;
    int rc = mb_store_flush(s);
    struct mb_connection *c = mb_store_reads(s);
    if (rc)
        return rc;
    while ((rc = mb_store_step(c, SQL_SEEN_HOUR, "i", from)) == 1) {
        int64_t hour = sqlite3_column_int64(c->stmt[SQL_SEEN_HOUR], 0);
        mb_store_done(c, SQL_SEEN_HOUR);
        int stop = visit(arg, (uint64_t)hour);
        if (stop)
            return stop;
        from = hour + 1;
    }
    return rc;
}

static int meta_get(void *self, const char *name, struct mb_buf *value)
{
    struct mb_store *s = self;
    char key[MB_ROW_KEY];
    mb_row_meta(key, name);
    const struct mb_map_item *item = row_in_layers(s, key);
    if (!item)
        return mb_store_get(mb_store_reads(s), SQL_META_GET, value, "s", name);
    if (item->present)
        mb_buf_add_bytes(value, item->value);
    return item->present;
}

static int meta_put(void *self, const char *name, struct mb_bytes value)
{
    char key[MB_ROW_KEY];
    mb_row_meta(key, name);
    return put_row(self, key, value);
}

struct mb_backend mb_store_backend(struct mb_store *s)
{
    static const struct mb_backend_ops ops = {
        .get = state_get,
        .seek = state_seek,
        .put = state_put,
        .page_load = page_load,
        .page_save = page_save,
        .history_get = history_get,
        .history_put = history_put,
        .seen_find = seen_find,
        .seen_add = seen_add,
        .seen_drop = seen_drop,
        .seen_list = seen_list,
        .seen_hours = seen_hours,
        .meta_get = meta_get,
        .meta_put = meta_put,
    };
    return (struct mb_backend){&ops, s};
}

int mb_store_command_add(struct mb_store *s, const struct mb_hash *id, uint64_t slot,
                         uint32_t index)
{
    char key[MB_ROW_KEY];
    struct mb_buf value = {0};
    mb_row_id(key, 'c', id);
    if (row_in_layers(s, key)) /* and what the file has stays too */
        return 0;
    mb_buf_add_u64(&value, slot);
    mb_buf_add_u32(&value, index);
    int rc = put_row(s, key, mb_buf_bytes(&value));
    mb_buf_clear(&value);
    return rc;
}

int mb_store_command_find(struct mb_store *s, const struct mb_hash *id, uint64_t *slot,
                          uint32_t *index)
{
    struct mb_connection *c = mb_store_reads(s);
    int rc = mb_store_step(c, SQL_COMMAND_FIND, "b", mb_bytes(id->b, sizeof id->b));
    if (rc == 1) {
        *slot = (uint64_t)sqlite3_column_int64(c->stmt[SQL_COMMAND_FIND], 0);
        *index = (uint32_t)sqlite3_column_int64(c->stmt[SQL_COMMAND_FIND], 1);
        mb_store_done(c, SQL_COMMAND_FIND);
    }
    if (rc != 0)
        return rc;
    char key[MB_ROW_KEY];
    mb_row_id(key, 'c', id);
    const struct mb_map_item *item = row_in_layers(s, key);
    if (!item)
        return 0;
    struct mb_cursor value = mb_cursor(item->value);
    *slot = mb_cursor_u64(&value);
    *index = mb_cursor_u32(&value);
    return 1;
}
