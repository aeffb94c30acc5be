/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A backend in memory: ordered maps, whose keys are made so that their order is the one needed. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/map.h"
#include "ledger/backend.h"

struct mb_memory {
    struct mb_map *state, *meta;
    struct mb_map *pages;   /* "tree/hex of id" */
    struct mb_map *history; /* "level/index" */
    struct mb_map *seen;    /* hex of the id → struct mb_seen */
    struct mb_map *by_hour; /* "hour/count", padded → struct mb_seen */
    uint64_t seen_count;
};

struct mb_memory *mb_memory_new(void)
{
    struct mb_memory *m = mb_calloc(1, sizeof *m);
    m->state = mb_map_new();
    m->meta = mb_map_new();
    m->pages = mb_map_new();
    m->history = mb_map_new();
    m->seen = mb_map_new();
    m->by_hour = mb_map_new();
    return m;
}

void mb_memory_free(struct mb_memory *m)
{
    if (!m)
        return;
    mb_map_free(m->state);
    mb_map_free(m->meta);
    mb_map_free(m->pages);
    mb_map_free(m->history);
    mb_map_free(m->seen);
    mb_map_free(m->by_hour);
    free(m);
}

static int find(const struct mb_map *map, const char *key, struct mb_buf *value)
{
    const struct mb_map_item *item = mb_map_get(map, key);
    if (!item)
        return 0;
    mb_buf_add_bytes(value, item->value);
    return 1;
}

static int set(struct mb_map *map, const char *key, struct mb_bytes value)
{
    if (value.data)
        mb_map_put(map, key, value.data, value.len);
    else
        mb_map_remove(map, key);
    return 0;
}

static int state_get(void *self, const char *key, struct mb_buf *value)
{
    struct mb_memory *m = self;
    return find(m->state, key, value);
}

static int state_seek(void *self, const char *prefix, const char *from, struct mb_buf *key,
                      struct mb_buf *value)
{
    struct mb_memory *m = self;
    const struct mb_map_item *item =
        mb_map_seek(m->state, strcmp(from, prefix) > 0 ? from : prefix);
    if (!item || strncmp(item->key, prefix, strlen(prefix)) != 0)
        return 0;
    mb_buf_add_text(key, item->key);
    mb_buf_add_bytes(value, item->value);
    return 1;
}

static int state_put(void *self, uint64_t slot, const char *key, struct mb_bytes text)
{
    struct mb_memory *m = self;
    (void)slot;
    return set(m->state, key, text);
}

static char *page_name(const char *tree, struct mb_bytes id)
{
    struct mb_buf name = {0};
    mb_buf_addf(&name, "%s/", tree);
    mb_hex_encode(&name, id.data, id.len);
    return mb_buf_take_text(&name);
}

static int page_load(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page)
{
    struct mb_memory *m = self;
    char *name = page_name(tree, id);
    int rc = find(m->pages, name, page);
    free(name);
    return rc;
}

static int page_save(void *self, const char *tree, struct mb_bytes id, struct mb_bytes page)
{
    struct mb_memory *m = self;
    char *name = page_name(tree, id);
    set(m->pages, name, page.len ? page : mb_bytes(NULL, 0));
    free(name);
    return 0;
}

#define NODE_NAME_SIZE 24

static int node_name(char name[NODE_NAME_SIZE], unsigned level, uint64_t index)
{
    return mb_snprintf(name, NODE_NAME_SIZE, "%u/%" PRIx64, level, index);
}

static int history_get(void *self, unsigned level, uint64_t index, struct mb_hash *hash)
{
    struct mb_memory *m = self;
    char name[NODE_NAME_SIZE];
    int rc = node_name(name, level, index);
    const struct mb_map_item *item = rc ? NULL : mb_map_get(m->history, name);
    if (!item)
        return MB_ENOENT;
    memcpy(hash->b, item->value.data, sizeof hash->b);
    return 0;
}

static int history_put(void *self, unsigned level, uint64_t index, const struct mb_hash *hash)
{
    struct mb_memory *m = self;
    char name[NODE_NAME_SIZE];
    int rc = node_name(name, level, index);
    return rc ? rc : set(m->history, name, mb_bytes(hash->b, sizeof hash->b));
}

static int seen_find(void *self, const struct mb_hash *id, struct mb_seen *seen)
{
    struct mb_memory *m = self;
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(id, hex);
    const struct mb_map_item *item = mb_map_get(m->seen, hex);
    if (!item)
        return 0;
    memcpy(seen, item->value.data, sizeof *seen);
    return 1;
}

#define HOUR_NAME_SIZE 48

static int hour_name(char name[HOUR_NAME_SIZE], uint64_t hour, uint64_t count)
{
    return mb_snprintf(name, HOUR_NAME_SIZE, "%020" PRIu64 "/%020" PRIu64, hour, count);
}

static int seen_add(void *self, const struct mb_seen *seen)
{
    struct mb_memory *m = self;
    char hex[MB_HASH_HEX_SIZE], name[HOUR_NAME_SIZE];
    int rc = hour_name(name, seen->hour, m->seen_count++);
    mb_hash_hex(&seen->id, hex);
    mb_map_put(m->seen, hex, seen, sizeof *seen);
    return rc ? rc : set(m->by_hour, name, mb_bytes(seen, sizeof *seen));
}

/* The first id of hour or of one after it: 1, or 0 at the end. */
static int first_seen(struct mb_memory *m, uint64_t hour, uint64_t count, struct mb_seen *seen)
{
    char name[HOUR_NAME_SIZE];
    int rc = hour_name(name, hour, count);
    const struct mb_map_item *item = rc ? NULL : mb_map_seek(m->by_hour, name);
    if (!item)
        return rc;
    memcpy(seen, item->value.data, sizeof *seen);
    return 1;
}

static int seen_drop(void *self, uint64_t hour)
{
    struct mb_memory *m = self;
    const struct mb_map_item *item;
    struct mb_seen seen;
    char hex[MB_HASH_HEX_SIZE];
    while ((item = mb_map_next(m->by_hour, "")) != NULL) {
        memcpy(&seen, item->value.data, sizeof seen);
        if (seen.hour > hour)
            break;
        mb_hash_hex(&seen.id, hex);
        mb_map_remove(m->seen, hex);
        mb_map_remove(m->by_hour, item->key);
    }
    return 0;
}

static int seen_list(void *self, uint64_t hour, int (*visit)(void *arg, const struct mb_seen *),
                     void *arg)
{
    struct mb_memory *m = self;
    struct mb_seen seen;
    char name[HOUR_NAME_SIZE];
    int rc = hour_name(name, hour, 0);
    const struct mb_map_item *item = rc ? NULL : mb_map_seek(m->by_hour, name);
    for (; item && rc == 0; item = mb_map_next(m->by_hour, item->key)) {
        memcpy(&seen, item->value.data, sizeof seen);
        if (seen.hour != hour)
            break;
        rc = visit(arg, &seen);
    }
    return rc;
}

static int seen_hours(void *self, int (*visit)(void *arg, uint64_t hour), void *arg)
{
    struct mb_seen seen = {.hour = 0};
    int rc = first_seen(self, 0, 0, &seen);
    while (rc == 1) {
        int stop = visit(arg, seen.hour);
        if (stop)
            return stop;
        rc = first_seen(self, seen.hour + 1, 0, &seen);
    }
    return rc;
}

static int meta_get(void *self, const char *name, struct mb_buf *value)
{
    struct mb_memory *m = self;
    return find(m->meta, name, value);
}

static int meta_put(void *self, const char *name, struct mb_bytes value)
{
    struct mb_memory *m = self;
    return set(m->meta, name, value);
}

struct mb_backend mb_memory_backend(struct mb_memory *m)
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
    return (struct mb_backend){&ops, m};
}
