/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * An ordered map from keys (texts, in strcmp's order) to byte strings. Its shape depends on its
 * keys alone, so walks and timings are the same on every machine. Each call takes O(log n)
 * expected.
 */
#ifndef MB_BASE_MAP_H
#define MB_BASE_MAP_H

#include "base/bytes.h"

struct mb_map;
struct mb_map_item {
    const char *key;       /* borrowed until the item is removed */
    struct mb_bytes value; /* borrowed until the item is changed */
    bool present;          /* false: a tombstone made by mb_map_mark_deleted() */
};

struct mb_map *mb_map_new(void);
void mb_map_free(struct mb_map *m);
void mb_map_reset(struct mb_map *m);         /* remove all */
size_t mb_map_count(const struct mb_map *m); /* tombstones included */

void mb_map_put(struct mb_map *m, const char *key, const void *value, size_t len); /* copies both */
/* Keep the key with a tombstone in place of a value: an overlay hides what lies below. */
void mb_map_mark_deleted(struct mb_map *m, const char *key);
bool mb_map_remove(struct mb_map *m, const char *key);

/* NULL if there is none. Items are borrowed until the map is changed. */
const struct mb_map_item *mb_map_get(const struct mb_map *m, const char *key);
/* The first item whose key is > after ("" finds the first of all); NULL at the end. */
const struct mb_map_item *mb_map_next(const struct mb_map *m, const char *after);
/* The first item whose key is >= from. */
const struct mb_map_item *mb_map_seek(const struct mb_map *m, const char *from);

#endif
