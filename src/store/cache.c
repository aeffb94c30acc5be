/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "store/internal.h"

#define CLEAN_BYTES 3145728 /* pages: those above the leaves of 1,000,000 keys fit */
#define CLEAN_KEYS  1024
#define BUCKETS     8192
#define OVERHEAD    160 /* of an entry, beside its text */

struct mb_cache {
    struct mb_map *clean; /* what the file has, or has not: as items of layers */
    struct mb_buf scratch;
    struct mb_page_entry *buckets[BUCKETS];
    struct mb_page_entry **dirty;
    size_t dirty_count, dirty_cap;
    size_t bytes, kept_bytes; /* all pages, those dirty or pinned */
};

struct mb_cache *mb_cache_new(void)
{
    struct mb_cache *c = mb_calloc(1, sizeof *c);
    c->clean = mb_map_new();
    return c;
}

static bool is_kept(const struct mb_page_entry *p)
{
    return p->dirty || p->pins > 0;
}

static void resize(struct mb_cache *c, struct mb_page_entry *p, struct mb_bytes bytes)
{
    c->bytes += bytes.len - p->bytes.len;
    if (is_kept(p))
        c->kept_bytes += bytes.len - p->bytes.len;
    mb_buf_reset(&p->bytes);
    mb_buf_add_bytes(&p->bytes, bytes);
}

static void page_free(struct mb_cache *c, struct mb_page_entry *p)
{
    c->bytes -= p->bytes.len + OVERHEAD;
    mb_buf_clear(&p->bytes);
    free(p);
}

/* Remove the pages that no layer needs; with spare, only those not used since the last time. */
static void tidy(struct mb_cache *c, bool spare)
{
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct mb_page_entry **place = &c->buckets[i]; *place;) {
            struct mb_page_entry *p = *place;
            if (is_kept(p) || (spare && p->used && p->bytes.len > 0)) {
                p->used = false;
                place = &p->next;
            } else {
                *place = p->next;
                page_free(c, p);
            }
        }
}

void mb_cache_drop(struct mb_cache *c)
{
    mb_map_reset(c->clean);
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct mb_page_entry *p = c->buckets[i]; p; p = p->next) {
            p->dirty = false;
            p->pins = 0;
        }
    c->dirty_count = c->kept_bytes = 0;
    tidy(c, false);
}

void mb_cache_free(struct mb_cache *c)
{
    mb_cache_drop(c);
    mb_map_free(c->clean);
    mb_buf_clear(&c->scratch);
    free(c->dirty);
    free(c);
}

/* --- The state. --- */

static const struct mb_map_item *cached(const struct mb_store *s, const char *key)
{
    for (size_t i = s->count; i-- > 0;) {
        const struct mb_map_item *item = mb_map_get(s->layers[i]->state, key);
        if (item)
            return item;
    }
    return mb_map_get(s->cache->clean, key);
}

int mb_cache_get(struct mb_store *s, const char *key, struct mb_buf *value)
{
    struct mb_cache *c = s->cache;
    const struct mb_map_item *item = cached(s, key);
    if (item) {
        if (mb_state_present(item))
            mb_buf_add_bytes(value, mb_state_text(item));
        return mb_state_present(item);
    }
    size_t at = value->len;
    int rc = mb_store_get(mb_store_reads(s), SQL_STATE_GET, value, "s", key);
    if (rc < 0)
        return rc;
    if (mb_map_count(c->clean) >= CLEAN_KEYS)
        mb_map_reset(c->clean);
    mb_state_put(c->clean, &c->scratch, 0, key,
                 rc ? mb_bytes(value->data + at, value->len - at) : mb_bytes(NULL, 0));
    return rc;
}

/* --- Pages. --- */

static struct mb_page_entry **bucket_of(struct mb_cache *c, const char *tree, struct mb_bytes id)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *tree; tree++)
        hash = (hash ^ (uint8_t)*tree) * 16777619u;
    for (size_t i = 0; i < id.len; i++)
        hash = (hash ^ id.data[i]) * 16777619u;
    return &c->buckets[(hash ^ hash >> 16) % BUCKETS];
}

static struct mb_page_entry *find_page(struct mb_cache *c, const char *tree, struct mb_bytes id)
{
    struct mb_page_entry *p = *bucket_of(c, tree, id);
    while (p && !(p->id_len == id.len && memcmp(p->id, id.data, id.len) == 0 &&
                  strcmp(p->tree, tree) == 0))
        p = p->next;
    if (p)
        p->used = true;
    return p;
}

static struct mb_page_entry *add_page(struct mb_cache *c, const char *tree, struct mb_bytes id)
{
    for (bool spare = true; c->bytes > CLEAN_BYTES + c->kept_bytes; spare = false) {
        tidy(c, spare);
        if (!spare)
            break;
    }
    size_t len = strlen(tree) + 1;
    struct mb_page_entry *p = mb_calloc(1, sizeof *p + len);
    struct mb_page_entry **bucket = bucket_of(c, tree, id);
    memcpy(p->tree, tree, len);
    memcpy(p->id, id.data, id.len);
    p->id_len = (uint8_t)id.len;
    p->used = true;
    p->next = *bucket;
    *bucket = p;
    c->bytes += OVERHEAD;
    return p;
}

int mb_cache_page_load(struct mb_store *s, const char *tree, struct mb_bytes id,
                       struct mb_buf *page)
{
    struct mb_cache *c = s->cache;
    struct mb_connection *from;
    struct mb_page_entry *p = find_page(c, tree, id);
    if (!p) {
        from = mb_store_reads(s);
        p = add_page(c, tree, id);
        int rc = mb_page_find(from, p);
        if (rc < 0) {
            *bucket_of(c, tree, id) = p->next;
            page_free(c, p);
            return rc;
        }
        if (rc == 1) {
            mb_store_column(from, SQL_PAGE_FIND, 3, &p->bytes);
            c->bytes += p->bytes.len;
            mb_store_done(from, SQL_PAGE_FIND);
        }
        p->known = p->bytes.len > 0;
    }
    mb_buf_add_bytes(page, mb_buf_bytes(&p->bytes));
    return p->bytes.len > 0;
}

void mb_cache_page_save(struct mb_store *s, const char *tree, struct mb_bytes id,
                        struct mb_bytes page)
{
    struct mb_cache *c = s->cache;
    struct mb_page_entry *p = find_page(c, tree, id);
    if (!p)
        p = add_page(c, tree, id);
    resize(c, p, page);
    if (p->dirty)
        return;
    if (p->pins == 0)
        c->kept_bytes += p->bytes.len + OVERHEAD;
    if (c->dirty_count == c->dirty_cap) {
        c->dirty_cap = c->dirty_cap * 2 + 64;
        c->dirty = mb_realloc(c->dirty, c->dirty_cap * sizeof *c->dirty);
    }
    c->dirty[c->dirty_count++] = p;
    p->dirty = true;
    mb_store_open_layer(s)->bytes += page.len + OVERHEAD;
}

void mb_cache_seal(struct mb_cache *c, struct mb_layer *l)
{
    l->pages = mb_calloc(c->dirty_count + 1, sizeof *l->pages);
    l->page_count = c->dirty_count;
    for (size_t i = 0; i < c->dirty_count; i++) {
        struct mb_page_entry *p = c->dirty[i];
        l->pages[i].entry = p;
        mb_buf_add_bytes(&l->pages[i].bytes, mb_buf_bytes(&p->bytes));
        p->dirty = false;
        p->pins++;
    }
    c->dirty_count = 0;
}

void mb_cache_written(struct mb_cache *c, struct mb_layer *l)
{
    struct mb_map *clean = l->state;
    l->state = c->clean;
    c->clean = clean;
    for (size_t i = 0; i < l->page_count; i++) {
        struct mb_page_entry *p = l->pages[i].entry;
        p->pins--;
        if (!is_kept(p))
            c->kept_bytes -= p->bytes.len + OVERHEAD;
    }
}
