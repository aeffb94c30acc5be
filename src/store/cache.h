/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What was written since the last flush, so that SQLite gets each row once however many blocks
 * changed it, and what was read or written of late, so that it is not asked again.
 */
#ifndef MB_STORE_CACHE_H
#define MB_STORE_CACHE_H

#include "store/sql.h"

/* Inside mb_store_begin and commit: write to SQLite whatever was not yet. */
int mb_cache_flush(struct mb_store *s);
struct mb_cache *mb_cache_new(void);
/* Forget it all. */
void mb_cache_drop(struct mb_store *s);
void mb_cache_free(struct mb_store *s);

/* The state: 1 and appended (value may be NULL), 0 if there is none, or an error. */
int mb_cache_get(struct mb_store *s, const char *key, struct mb_buf *value);
int mb_cache_put(struct mb_store *s, uint64_t slot, const char *key, struct mb_bytes text);
/* The first key >= from that was written since the last flush and starts with prefix and is not
 * removed, or NULL; *text is borrowed. */
const char *mb_cache_seek(struct mb_store *s, const char *prefix, const char *from,
                          struct mb_bytes *text);
/* True if key was written, or removed, since the last flush. */
bool mb_cache_covers(const struct mb_store *s, const char *key);

int mb_cache_page_load(struct mb_store *s, const char *tree, struct mb_bytes id,
                       struct mb_buf *page);
int mb_cache_page_save(struct mb_store *s, const char *tree, struct mb_bytes id,
                       struct mb_bytes page);

#endif
