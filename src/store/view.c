/* SPDX-License-Identifier: GPL-3.0-or-later */
/* State and pages as of a checkpoint that is kept. */
#include <stdlib.h>
#include <string.h>

#include "store/internal.h"

#define CHANGED_BATCH 1000 /* keys */

struct mb_store_view {
    struct mb_store *store;
    int64_t slot;
    /* What mb_store_view_changed() read ahead: keys, each with its NUL, and how far it is. */
    struct mb_buf keys;
    size_t next;
    bool more; /* there may be others behind */
    char *module, *last;
    uint64_t since;
};

static bool is_kept(const struct mb_store *s, int64_t slot)
{
    return slot >= 0 && (slot == s->newest || slot == s->previous);
}

int mb_store_view_new(struct mb_store_view **out, struct mb_store *s, uint64_t slot,
                      struct mb_error *error)
{
    if (!is_kept(s, (int64_t)slot))
        return mb_fail(error, MB_ENOENT, "state.pruned",
                       "the state at slot %llu is not kept: only the last two checkpoints are",
                       (unsigned long long)slot);
    int rc = mb_store_show_mark(s, (int64_t)slot, error);
    if (rc)
        return rc;
    struct mb_store_view *v = mb_calloc(1, sizeof *v);
    v->store = s;
    v->slot = (int64_t)slot;
    *out = v;
    return 0;
}

void mb_store_view_free(struct mb_store_view *v)
{
    if (!v)
        return;
    mb_buf_clear(&v->keys);
    free(v->module);
    free(v->last);
    free(v);
}

/* What a step of SQL_…_ROW found (mark, undo, data), as it was at the view's checkpoint: 1 and
 * appended, or 0 if it was not there. */
static int row_found(struct mb_store_view *v, enum mb_sql which, int rc, struct mb_buf *out)
{
    struct mb_connection *s = mb_store_reads(v->store);
    while (rc == 1 && sqlite3_column_int64(s->stmt[which], 0) >= v->slot) {
        int64_t undo = sqlite3_column_int64(s->stmt[which], 1);
        mb_store_done(s, which);
        if (undo == 0)
            return 0;
        which = SQL_OLD_ROW;
        rc = mb_store_step(s, which, "i", undo);
        if (rc == 0)
            return mb_store_fail(s, SQLITE_CORRUPT);
    }
    if (rc != 1)
        return rc;
    bool there = sqlite3_column_type(s->stmt[which], 2) != SQLITE_NULL;
    if (there)
        mb_store_column(s, which, 2, out);
    mb_store_done(s, which);
    return there;
}

static int view_get(void *self, const char *key, struct mb_buf *value)
{
    struct mb_store_view *v = self;
    if (!is_kept(v->store, v->slot))
        return MB_ENOENT;
    int rc = mb_store_step(mb_store_reads(v->store), SQL_STATE_ROW, "s", key);
    return row_found(v, SQL_STATE_ROW, rc, value);
}

static int view_page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    struct mb_store_view *v = self;
    if (!is_kept(v->store, v->slot))
        return MB_ENOENT;
    int rc = mb_store_step(mb_store_reads(v->store), SQL_PAGE_ROW, "sb", tree, id);
    return row_found(v, SQL_PAGE_ROW, rc, page);
}

/* Make text the least one that is greater: there are no NULs in keys. */
static void successor(struct mb_buf *text)
{
    mb_buf_add_u8(text, 1);
}

static int view_seek(void *self, const char *prefix, const char *from, struct mb_buf *key,
                     struct mb_buf *value)
{
    struct mb_store_view *v = self;
    if (!is_kept(v->store, v->slot))
        return MB_ENOENT;
    struct mb_buf next = {0};
    int rc;
    mb_buf_add_text(&next, mb_store_scan_from(prefix, from));
    for (;;) {
        rc = mb_store_step(mb_store_reads(v->store), SQL_STATE_SEEK_ROW, "s", mb_buf_text(&next));
        if (rc != 1)
            break;
        mb_buf_reset(&next);
        mb_store_column(mb_store_reads(v->store), SQL_STATE_SEEK_ROW, 3, &next);
        if (strncmp(mb_buf_text(&next), prefix, strlen(prefix)) != 0) {
            mb_store_done(mb_store_reads(v->store), SQL_STATE_SEEK_ROW);
            rc = 0;
            break;
        }
        rc = row_found(v, SQL_STATE_SEEK_ROW, rc, value);
        if (rc == 1)
            mb_buf_add_bytes(key, mb_buf_bytes(&next));
        if (rc != 0)
            break;
        successor(&next);
    }
    mb_buf_clear(&next);
    return rc;
}

struct mb_backend mb_store_view_backend(struct mb_store_view *v)
{
    static const struct mb_backend_ops ops = {
        .get = view_get,
        .seek = view_seek,
        .page_load = view_page_load,
    };
    return (struct mb_backend){&ops, v};
}

/* Read the next keys behind after that changed since; the same key may come more than once. */
static int read_ahead(struct mb_store_view *v, const char *module, uint64_t since,
                      const char *after)
{
    struct mb_connection *s = mb_store_reads(v->store);
    char *low = mb_asprintf("%s/", module), *high = mb_asprintf("%s%c", module, '/' + 1);
    size_t count = 0;
    int rc = mb_store_step(s, SQL_CHANGED_LIST, "iissi", (int64_t)since, v->slot,
                           mb_store_scan_from(low, after), high, (int64_t)CHANGED_BATCH);
    mb_buf_reset(&v->keys);
    for (; rc == 1; rc = mb_store_next(s, SQL_CHANGED_LIST), count++) {
        mb_store_column(s, SQL_CHANGED_LIST, 0, &v->keys);
        mb_buf_add_u8(&v->keys, 0);
    }
    free(low);
    free(high);
    v->next = 0;
    v->more = count == CHANGED_BATCH;
    return rc;
}

/* The next key that changed, from what was read ahead if the caller goes on where it was: 1, 0. */
static int next_changed(struct mb_store_view *v, const char *module, uint64_t since,
                        const char *after, const char **key)
{
    bool goes_on = v->module && since == v->since && strcmp(module, v->module) == 0 &&
                   strcmp(after, v->last) == 0;
    for (;;) {
        while (goes_on && v->next < v->keys.len) {
            *key = (const char *)v->keys.data + v->next;
            v->next += strlen(*key) + 1;
            if (strcmp(*key, after) != 0)
                return 1;
        }
        if (goes_on && !v->more)
            return 0;
        int rc = read_ahead(v, module, since, after);
        if (rc)
            return rc;
        goes_on = true;
    }
}

static void remember(struct mb_store_view *v, const char *module, uint64_t since, const char *key)
{
    char *m = mb_strdup(module), *last = mb_strdup(key);
    free(v->module);
    free(v->last);
    v->module = m;
    v->last = last;
    v->since = since;
}

int mb_store_view_changed(struct mb_store_view *v, const char *module, uint64_t since,
                          const char *after, struct mb_buf *key, struct mb_buf *value,
                          bool *present)
{
    int rc;
    if (!is_kept(v->store, v->slot))
        return MB_ENOENT;
    if (since > 0) {
        const char *found = NULL;
        rc = next_changed(v, module, since, after, &found);
        if (rc != 1)
            return rc;
        remember(v, module, since, found);
        rc = view_get(v, found, value);
        *present = rc == 1;
        if (rc < 0)
            return rc;
        mb_buf_add_text(key, found);
        return 1;
    }
    struct mb_buf prefix = {0}, from = {0};
    mb_buf_addf(&prefix, "%s/", module);
    mb_buf_add_text(&from, after);
    successor(&from);
    rc = view_seek(v, mb_buf_text(&prefix), mb_buf_text(&from), key, value);
    *present = rc == 1;
    mb_buf_clear(&prefix);
    mb_buf_clear(&from);
    return rc;
}
