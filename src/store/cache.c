/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"

#define DIRTY_BYTES 4194304 /* then a block is written in parts */
#define CLEAN_BYTES 3145728 /* pages: those above the leaves of 1,000,000 keys fit */
#define CLEAN_KEYS  1024
#define BUCKETS     8192
#define ID_MAX      40
#define OVERHEAD    160 /* of an entry, beside its text */

/* A page, and what the table has of it. */
struct page {
    struct page *next; /* in its bucket */
    bool dirty;
    bool used;  /* since the last tidying */
    bool known; /* row, mark and undo are the table's (row 0: it has none); never if removed, for
                   the table forgets such rows by itself */
    int64_t row, mark, undo;
    uint8_t id[ID_MAX], id_len;
    struct mb_buf bytes; /* empty: it is removed */
    char tree[];
};

struct mb_cache {
    /* key → slot:8 || present:1 || text. What was flushed last is clean; clean and SQLite agree. */
    struct mb_map *dirty, *clean;
    struct mb_buf scratch;
    struct page *buckets[BUCKETS];
    struct page **dirty_pages;
    size_t dirty_page_count, dirty_page_cap;
    size_t dirty_bytes, page_bytes;
};

struct mb_cache *mb_cache_new(void)
{
    struct mb_cache *c = mb_calloc(1, sizeof *c);
    c->dirty = mb_map_new();
    c->clean = mb_map_new();
    return c;
}

static void page_free(struct mb_cache *c, struct page *p)
{
    c->page_bytes -= p->bytes.len + OVERHEAD;
    mb_buf_clear(&p->bytes);
    free(p);
}

/* Remove the pages that are not dirty; with spare, only those not used since the last time. */
static void tidy(struct mb_cache *c, bool spare)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct page **place = &c->buckets[i]; *place;) {
            struct page *p = *place;
            if (p->dirty || (spare && p->used && p->bytes.len > 0)) {
                p->used = false;
                place = &p->next;
            } else {
                *place = p->next;
                page_free(c, p);
            }
        }
}

void mb_cache_drop(struct mb_store *s)
{
    struct mb_cache *c = s->cache;
    mb_map_reset(c->dirty);
    mb_map_reset(c->clean);
    for (size_t i = 0; i < c->dirty_page_count; i++)
        c->dirty_pages[i]->dirty = false;
    c->dirty_page_count = c->dirty_bytes = 0;
    tidy(c, false);
}

void mb_cache_free(struct mb_store *s)
{
    struct mb_cache *c = s->cache;
    if (!c)
        return;
    mb_cache_drop(s);
    mb_map_free(c->dirty);
    mb_map_free(c->clean);
    mb_buf_clear(&c->scratch);
    free(c->dirty_pages);
    free(c);
    s->cache = NULL;
}

/* --- The state. --- */

static const struct mb_map_item *cached(const struct mb_cache *c, const char *key)
{
    const struct mb_map_item *item = mb_map_get(c->dirty, key);
    return item ? item : mb_map_get(c->clean, key);
}

static bool is_present(const struct mb_map_item *item)
{
    return item->value.data[8] != 0;
}

static struct mb_bytes text_of(const struct mb_map_item *item)
{
    return mb_bytes(item->value.data + 9, item->value.len - 9);
}

static void remember(struct mb_cache *c, struct mb_map *in, uint64_t slot, const char *key,
                     struct mb_bytes text)
{
    mb_buf_reset(&c->scratch);
    mb_buf_add_u64(&c->scratch, slot);
    mb_buf_add_u8(&c->scratch, text.data != NULL);
    mb_buf_add_bytes(&c->scratch, text);
    mb_map_put(in, key, c->scratch.data, c->scratch.len);
}

int mb_cache_get(struct mb_store *s, const char *key, struct mb_buf *value)
{
    struct mb_cache *c = s->cache;
    const struct mb_map_item *item = cached(c, key);
    if (item) {
        if (is_present(item))
            mb_buf_add_bytes(value, text_of(item));
        return is_present(item);
    }
    size_t at = value->len;
    int rc = mb_store_get(s, SQL_STATE_GET, value, "s", key);
    if (rc < 0)
        return rc;
    if (mb_map_count(c->clean) >= CLEAN_KEYS)
        mb_map_reset(c->clean);
    remember(c, c->clean, 0, key,
             rc ? mb_bytes(value->data + at, value->len - at) : mb_bytes(NULL, 0));
    return rc;
}

static int note_dirty(struct mb_store *s, size_t bytes)
{
    s->cache->dirty_bytes += bytes + OVERHEAD;
    return s->cache->dirty_bytes > DIRTY_BYTES ? mb_cache_flush(s) : 0;
}

int mb_cache_put(struct mb_store *s, uint64_t slot, const char *key, struct mb_bytes text)
{
    struct mb_cache *c = s->cache;
    if (!s->writing)
        return mb_store_fail(s, SQLITE_READONLY);
    remember(c, c->dirty, slot, key, text);
    return note_dirty(s, strlen(key) + text.len);
}

const char *mb_cache_seek(struct mb_store *s, const char *prefix, const char *from,
                          struct mb_bytes *text)
{
    struct mb_cache *c = s->cache;
    const struct mb_map_item *item = mb_map_seek(c->dirty, from);
    while (item && strncmp(item->key, prefix, strlen(prefix)) == 0) {
        if (is_present(item)) {
            *text = text_of(item);
            return item->key;
        }
        item = mb_map_next(c->dirty, item->key);
    }
    return NULL;
}

bool mb_cache_covers(const struct mb_store *s, const char *key)
{
    return mb_map_get(s->cache->dirty, key) != NULL;
}

/* What a row was is kept if a checkpoint may still ask for it. */
static int write_state(struct mb_store *s, const struct mb_map_item *item)
{
    struct mb_cursor c = mb_cursor(item->value);
    struct mb_bytes key = mb_bytes_of(item->key);
    struct mb_bytes text = is_present(item) ? text_of(item) : mb_bytes(NULL, 0);
    int64_t mark = -1, undo = 0;
    int rc = mb_store_step(s, SQL_CHANGED_ADD, "is", (int64_t)mb_cursor_u64(&c), item->key);
    int there = rc ? rc : mb_store_step(s, SQL_STATE_ROW, "t", key);
    if (there < 0)
        return there;
    if (there) {
        mark = sqlite3_column_int64(s->stmt[SQL_STATE_ROW], 0);
        undo = sqlite3_column_int64(s->stmt[SQL_STATE_ROW], 1);
        mb_store_done(s, SQL_STATE_ROW);
    }
    if (there && mark < s->newest) {
        undo = s->next++;
        rc = mb_store_step(s, SQL_STATE_KEEP, "ti", key, undo);
    }
    if (rc)
        return rc;
    if (!text.data && undo == 0)
        return mb_store_step(s, SQL_STATE_DROP, "t", key);
    return mb_store_step(s, there ? SQL_STATE_UPDATE : SQL_STATE_INSERT, "tiit", key, s->newest,
                         undo, text);
}

/* --- Pages. --- */

static struct page **bucket_of(struct mb_cache *c, const char *tree, struct mb_bytes id)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *tree; tree++)
        hash = (hash ^ (uint8_t)*tree) * 16777619u;
    for (size_t i = 0; i < id.len; i++)
        hash = (hash ^ id.data[i]) * 16777619u;
    return &c->buckets[(hash ^ hash >> 16) % BUCKETS];
}

static struct page *find_page(struct mb_cache *c, const char *tree, struct mb_bytes id)
{
    struct page *p = *bucket_of(c, tree, id);
    while (p && !(p->id_len == id.len && memcmp(p->id, id.data, id.len) == 0 &&
                  strcmp(p->tree, tree) == 0))
        p = p->next;
    if (p)
        p->used = true;
    return p;
}

static struct page *add_page(struct mb_cache *c, const char *tree, struct mb_bytes id)
{
    for (bool spare = true; c->page_bytes > CLEAN_BYTES + c->dirty_bytes; spare = false) {
        tidy(c, spare);
        if (!spare)
            break;
    }
    size_t len = strlen(tree) + 1;
    struct page *p = mb_calloc(1, sizeof *p + len);
    struct page **bucket = bucket_of(c, tree, id);
    memcpy(p->tree, tree, len);
    memcpy(p->id, id.data, id.len);
    p->id_len = (uint8_t)id.len;
    p->used = true;
    p->next = *bucket;
    *bucket = p;
    c->page_bytes += OVERHEAD;
    return p;
}

/* What the table has of p, if it has it: 1, 0 or an error. Its bytes are column 3 then. */
static int find_row(struct mb_store *s, struct page *p)
{
    int rc = mb_store_step(s, SQL_PAGE_FIND, "sb", p->tree, mb_bytes(p->id, p->id_len));
    p->row = 0;
    if (rc == 1) {
        p->row = sqlite3_column_int64(s->stmt[SQL_PAGE_FIND], 0);
        p->mark = sqlite3_column_int64(s->stmt[SQL_PAGE_FIND], 1);
        p->undo = sqlite3_column_int64(s->stmt[SQL_PAGE_FIND], 2);
    }
    return rc;
}

int mb_cache_page_load(struct mb_store *s, const char *tree, struct mb_bytes id,
                       struct mb_buf *page)
{
    struct mb_cache *c = s->cache;
    struct page *p = find_page(c, tree, id);
    if (!p) {
        p = add_page(c, tree, id);
        int rc = find_row(s, p);
        if (rc < 0) {
            *bucket_of(c, tree, id) = p->next;
            page_free(c, p);
            return rc;
        }
        if (rc == 1) {
            mb_store_column(s, SQL_PAGE_FIND, 3, &p->bytes);
            c->page_bytes += p->bytes.len;
            mb_store_done(s, SQL_PAGE_FIND);
        }
        p->known = p->bytes.len > 0;
    }
    mb_buf_add_bytes(page, mb_buf_bytes(&p->bytes));
    return p->bytes.len > 0;
}

int mb_cache_page_save(struct mb_store *s, const char *tree, struct mb_bytes id,
                       struct mb_bytes page)
{
    struct mb_cache *c = s->cache;
    if (!s->writing)
        return mb_store_fail(s, SQLITE_READONLY);
    struct page *p = find_page(c, tree, id);
    if (!p)
        p = add_page(c, tree, id);
    c->page_bytes += page.len - p->bytes.len;
    mb_buf_reset(&p->bytes);
    mb_buf_add_bytes(&p->bytes, page);
    if (p->dirty)
        return 0;
    if (c->dirty_page_count == c->dirty_page_cap) {
        c->dirty_page_cap = c->dirty_page_cap * 2 + 64;
        c->dirty_pages = mb_realloc(c->dirty_pages, c->dirty_page_cap * sizeof *c->dirty_pages);
    }
    c->dirty_pages[c->dirty_page_count++] = p;
    p->dirty = true;
    return note_dirty(s, page.len);
}

static int write_page(struct mb_store *s, struct page *p)
{
    struct mb_bytes bytes = p->bytes.len ? mb_buf_bytes(&p->bytes) : mb_bytes(NULL, 0);
    int rc = p->known ? 0 : find_row(s, p);
    if (rc == 1)
        mb_store_done(s, SQL_PAGE_FIND);
    if (rc < 0)
        return rc;
    if (!p->row)
        p->undo = 0;
    rc = 0;
    if (p->row && p->mark < s->newest) {
        p->undo = s->next++;
        rc = mb_store_step(s, SQL_PAGE_KEEP, "ii", p->row, p->undo);
    }
    p->mark = s->newest;
    p->known = bytes.data != NULL;
    if (rc)
        return rc;
    if (!bytes.data && p->undo == 0)
        return p->row ? mb_store_step(s, SQL_PAGE_DROP, "i", p->row) : 0;
    if (p->row)
        return mb_store_step(s, SQL_PAGE_UPDATE, "iiib", p->row, p->mark, p->undo, bytes);
    rc = mb_store_step(s, SQL_PAGE_INSERT, "sbiib", p->tree, mb_bytes(p->id, p->id_len), p->mark,
                       p->undo, bytes);
    p->row = sqlite3_last_insert_rowid(s->db);
    return rc;
}

/* --- Flushing. --- */

int mb_cache_flush(struct mb_store *s)
{
    struct mb_cache *c = s->cache;
    int rc = 0;
    for (const struct mb_map_item *item = mb_map_next(c->dirty, ""); item && rc == 0;
         item = mb_map_next(c->dirty, item->key))
        rc = write_state(s, item);
    struct mb_map *clean = c->dirty;
    mb_map_reset(c->clean);
    c->dirty = c->clean;
    c->clean = clean;
    for (size_t i = 0; i < c->dirty_page_count; i++) {
        struct page *p = c->dirty_pages[i];
        if (rc == 0)
            rc = write_page(s, p);
        p->dirty = false;
    }
    c->dirty_page_count = c->dirty_bytes = 0;
    return rc;
}
