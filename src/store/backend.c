/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The newest state, as the ledger sees it. */
#include <string.h>

#include "store/cache.h"

static int state_get(void *self, const char *key, struct mb_buf *value)
{
    return mb_cache_get(self, key, value);
}

/* The lesser of what the cache and the table have. */
static int state_seek(void *self, const char *prefix, const char *from, struct mb_buf *key,
                      struct mb_buf *value)
{
    struct mb_store *s = self;
    struct mb_bytes text;
    const char *start = mb_store_scan_from(prefix, from);
    const char *written = mb_cache_seek(s, prefix, start, &text);
    struct mb_buf next = {0};
    int rc;
    while ((rc = mb_store_step(s, SQL_STATE_SEEK, "s", start)) == 1) {
        const char *found = (const char *)sqlite3_column_text(s->stmt[SQL_STATE_SEEK], 0);
        if (!found || strncmp(found, prefix, strlen(prefix)) != 0 ||
            (written && strcmp(written, found) <= 0)) {
            rc = 0;
            break;
        }
        if (!mb_cache_covers(s, found)) {
            mb_store_column(s, SQL_STATE_SEEK, 0, key);
            mb_store_column(s, SQL_STATE_SEEK, 1, value);
            break;
        }
        mb_buf_reset(&next); /* removed: the least text that is greater */
        mb_buf_addf(&next, "%s\x01", found);
        mb_store_done(s, SQL_STATE_SEEK);
        start = mb_buf_text(&next);
    }
    mb_store_done(s, SQL_STATE_SEEK);
    mb_buf_clear(&next);
    if (rc != 0 || !written)
        return rc;
    mb_buf_add_text(key, written);
    mb_buf_add_bytes(value, text);
    return 1;
}

static int state_put(void *self, uint64_t slot, const char *key, struct mb_bytes text)
{
    return mb_cache_put(self, slot, key, text);
}

static int page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    return mb_cache_page_load(self, tree, id, page);
}

static int page_save(void *self, const char *tree, struct mb_bytes id, struct mb_bytes page)
{
    return mb_cache_page_save(self, tree, id, page);
}

static int history_get(void *self, unsigned level, uint64_t index, struct mb_hash *hash)
{
    struct mb_store *s = self;
    int rc = mb_store_step(s, SQL_HISTORY_GET, "ii", (int64_t)level, (int64_t)index);
    if (rc != 1)
        return rc ? rc : MB_ENOENT;
    sqlite3_stmt *stmt = s->stmt[SQL_HISTORY_GET];
    rc = sqlite3_column_bytes(stmt, 0) == sizeof hash->b ? 0 : mb_store_fail(s, SQLITE_CORRUPT);
    if (rc == 0)
        memcpy(hash->b, sqlite3_column_blob(stmt, 0), sizeof hash->b);
    mb_store_done(s, SQL_HISTORY_GET);
    return rc;
}

static int history_put(void *self, unsigned level, uint64_t index, const struct mb_hash *hash)
{
    return mb_store_step(self, SQL_HISTORY_PUT, "iib", (int64_t)level, (int64_t)index,
                         mb_bytes(hash->b, sizeof hash->b));
}

static int seen_row(struct mb_store *s, enum mb_sql which, struct mb_seen *seen)
{
    sqlite3_stmt *stmt = s->stmt[which];
    if (sqlite3_column_bytes(stmt, 0) != sizeof seen->id.b)
        return mb_store_fail(s, SQLITE_CORRUPT);
    memcpy(seen->id.b, sqlite3_column_blob(stmt, 0), sizeof seen->id.b);
    seen->slot = (uint64_t)sqlite3_column_int64(stmt, 1);
    seen->index = (uint32_t)sqlite3_column_int64(stmt, 2);
    seen->hour = (uint64_t)sqlite3_column_int64(stmt, 3);
    return 0;
}

static int seen_find(void *self, const struct mb_hash *id, struct mb_seen *seen)
{
    int rc = mb_store_step(self, SQL_SEEN_FIND, "b", mb_bytes(id->b, sizeof id->b));
    if (rc != 1)
        return rc;
    rc = seen_row(self, SQL_SEEN_FIND, seen);
    mb_store_done(self, SQL_SEEN_FIND);
    return rc ? rc : 1;
}

static int seen_add(void *self, const struct mb_seen *seen)
{
    return mb_store_step(self, SQL_SEEN_ADD, "biii", mb_bytes(seen->id.b, sizeof seen->id.b),
                         (int64_t)seen->slot, (int64_t)seen->index, (int64_t)seen->hour);
}

static int seen_drop(void *self, uint64_t hour)
{
    return mb_store_step(self, SQL_SEEN_DROP, "i", (int64_t)hour);
}

static int seen_list(void *self, uint64_t hour, int (*visit)(void *arg, const struct mb_seen *),
                     void *arg)
{
    struct mb_seen seen;
    int rc = mb_store_step(self, SQL_SEEN_LIST, "i", (int64_t)hour);
    while (rc == 1) {
        int stop = seen_row(self, SQL_SEEN_LIST, &seen);
        if (stop == 0)
            stop = visit(arg, &seen);
        if (stop) {
            mb_store_done(self, SQL_SEEN_LIST);
            return stop;
        }
        rc = mb_store_next(self, SQL_SEEN_LIST);
    }
    return rc;
}

static int seen_hours(void *self, int (*visit)(void *arg, uint64_t hour), void *arg)
{
    struct mb_store *s = self;
    int64_t from = 0;
    int rc;
    while ((rc = mb_store_step(s, SQL_SEEN_HOUR, "i", from)) == 1) {
        int64_t hour = sqlite3_column_int64(s->stmt[SQL_SEEN_HOUR], 0);
        mb_store_done(s, SQL_SEEN_HOUR);
        int stop = visit(arg, (uint64_t)hour);
        if (stop)
            return stop;
        from = hour + 1;
    }
    return rc;
}

static int meta_get(void *self, const char *name, struct mb_buf *value)
{
    return mb_store_get(self, SQL_META_GET, value, "s", name);
}

static int meta_put(void *self, const char *name, struct mb_bytes value)
{
    return value.data ? mb_store_step(self, SQL_META_PUT, "sb", name, value)
                      : mb_store_step(self, SQL_META_DELETE, "s", name);
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
    return mb_store_step(s, SQL_COMMAND_ADD, "bii", mb_bytes(id->b, sizeof id->b), (int64_t)slot,
                         (int64_t)index);
}

int mb_store_command_find(struct mb_store *s, const struct mb_hash *id, uint64_t *slot,
                          uint32_t *index)
{
    int rc = mb_store_step(s, SQL_COMMAND_FIND, "b", mb_bytes(id->b, sizeof id->b));
    if (rc != 1)
        return rc;
    *slot = (uint64_t)sqlite3_column_int64(s->stmt[SQL_COMMAND_FIND], 0);
    *index = (uint32_t)sqlite3_column_int64(s->stmt[SQL_COMMAND_FIND], 1);
    mb_store_done(s, SQL_COMMAND_FIND);
    return 1;
}
