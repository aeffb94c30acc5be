/* SPDX-License-Identifier: GPL-3.0-or-later */
/* State and pages as of a checkpoint that is kept. */
#include <stdlib.h>
#include <string.h>

#include "store/sql.h"

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

/* The checkpoints whose copies count for a view: its own, and the one after it. Returns how many.
 */
static size_t copies(const struct mb_store_view *v, int64_t checkpoints[2])
{
    checkpoints[0] = v->slot;
    checkpoints[1] = v->store->newest;
    return v->slot == v->store->newest ? 1 : 2;
}

enum { FROM_ROW = 2 };

/* What a step of SQL_OLD_… found: 1 and the copy appended, 0 if it says that nothing was there, or
 * FROM_ROW if there is no copy. */
static int copy_found(struct mb_store *s, enum mb_sql which, int rc, struct mb_buf *out)
{
    if (rc != 1)
        return rc ? rc : FROM_ROW;
    bool there = sqlite3_column_type(s->stmt[which], 0) != SQLITE_NULL;
    if (there)
        mb_store_column(s, which, 0, out);
    mb_store_done(s, which);
    return there;
}

static int view_get(void *self, const char *key, struct mb_buf *value)
{
    struct mb_store_view *v = self;
    int64_t at[2];
    if (!is_kept(v->store, v->slot))
        return MB_ENOENT;
    for (size_t i = 0, n = copies(v, at); i < n; i++) {
        int rc = mb_store_step(v->store, SQL_OLD_STATE_GET, "is", at[i], key);
        rc = copy_found(v->store, SQL_OLD_STATE_GET, rc, value);
        if (rc != FROM_ROW)
            return rc;
    }
    return mb_store_get(v->store, SQL_STATE_GET, value, "s", key);
}

static int view_page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    struct mb_store_view *v = self;
    int64_t at[2];
    if (!is_kept(v->store, v->slot))
        return MB_ENOENT;
    for (size_t i = 0, n = copies(v, at); i < n; i++) {
        int rc = mb_store_step(v->store, SQL_OLD_PAGE_GET, "isb", at[i], tree, id);
        rc = copy_found(v->store, SQL_OLD_PAGE_GET, rc, page);
        if (rc != FROM_ROW)
            return rc;
    }
    return mb_store_get(v->store, SQL_PAGE_GET, page, "sb", tree, id);
}

/* The first key >= from among rows and copies, whether it was there or not: 1, or 0. */
static int first_key(struct mb_store_view *v, const char *from, struct mb_buf *key)
{
    struct mb_buf other = {0};
    int64_t at[2];
    size_t n = copies(v, at);
    int found = mb_store_get(v->store, SQL_STATE_SEEK, key, "s", from);
    for (size_t i = 0; i < n && found >= 0; i++) {
        mb_buf_reset(&other);
        int rc = mb_store_get(v->store, SQL_OLD_STATE_SEEK, &other, "is", at[i], from);
        if (rc < 0) {
            found = rc;
        } else if (rc && (!found || strcmp(mb_buf_text(&other), mb_buf_text(key)) < 0)) {
            mb_buf_reset(key);
            mb_buf_add_bytes(key, mb_buf_bytes(&other));
            found = 1;
        }
    }
    mb_buf_clear(&other);
    return found;
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
    struct mb_buf start = {0}, found = {0};
    int rc;
    mb_buf_add_text(&start, mb_store_scan_from(prefix, from));
    while ((rc = first_key(v, mb_buf_text(&start), &found)) == 1) {
        rc = 0;
        if (strncmp(mb_buf_text(&found), prefix, strlen(prefix)) != 0)
            break;
        rc = view_get(v, mb_buf_text(&found), value);
        if (rc)
            break;
        mb_buf_reset(&start);
        mb_buf_add_bytes(&start, mb_buf_bytes(&found));
        successor(&start);
        mb_buf_reset(&found);
    }
    if (rc == 1)
        mb_buf_add_bytes(key, mb_buf_bytes(&found));
    mb_buf_clear(&start);
    mb_buf_clear(&found);
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
    struct mb_store *s = v->store;
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
        const char *found;
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
