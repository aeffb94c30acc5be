/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Memory for one Lua state: blocks one behind the other, at addresses that differ between machines
 * in multiples of 4 GiB alone. */
#ifndef MB_RULES_ARENA_H
#define MB_RULES_ARENA_H

#include "base/bytes.h"

struct mb_arena {
    uint8_t *base;
    size_t size;  /* of the mapping */
    size_t used;  /* bytes from base; what lies behind is free */
    size_t fixed; /* bytes at the end that were taken for good */
    size_t limit; /* used and fixed together may not pass it */
    size_t last;  /* offset of the newest block: it alone can grow in place, or be given back */
};

/* Map size bytes (untouched pages cost nothing). False if no such place is left. */
bool mb_arena_init(struct mb_arena *a, size_t size);
void mb_arena_clear(struct mb_arena *a);

/* realloc() in the arena; bytes 0 frees. NULL if the limit is in the way. */
void *mb_arena_resize(struct mb_arena *a, void *block, size_t old_bytes, size_t bytes);

/* A block at the other end, one before the other: for what is not written again. */
void *mb_arena_fix(struct mb_arena *a, size_t bytes);

#endif
