/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Layers: what was written to the store and is not in its file yet. The newest is open; a layer is
 * sealed when its turn comes to be written, and does not change any more. Reads go from the newest
 * layer down to the file. A layer has each row once, however many blocks changed it.
 */
#ifndef MB_STORE_LAYER_H
#define MB_STORE_LAYER_H

#include "base/map.h"
#include "store/sql.h"

#define MB_STORE_PAGE_ID_MAX 40

/* A page in the cache, and what the table has of it. */
struct mb_page_entry {
    struct mb_page_entry *next; /* in its bucket */
    bool dirty;                 /* changed in the open layer */
    bool used;                  /* since the last tidying */
    unsigned pins;              /* sealed layers that have it */
    /* Who writes owns these while there are pins. row, mark and undo are the table's (row 0: it has
     * none) if known; never if removed, for the table forgets such rows by itself. */
    bool known;
    int64_t row, mark, undo;
    uint8_t id[MB_STORE_PAGE_ID_MAX], id_len;
    struct mb_buf bytes; /* empty: it is removed */
    char tree[];
};
/* Fill row, mark and undo: 1, and the page is column 3 of SQL_PAGE_FIND, 0 or an error. */
int mb_page_find(struct mb_connection *c, struct mb_page_entry *p);

struct mb_layer_page {
    struct mb_page_entry *entry;
    struct mb_buf bytes; /* empty: the page is removed */
};
struct mb_layer {
    struct mb_map *state;        /* see mb_state_put() */
    struct mb_map *rows;         /* see mb_layer_row() */
    struct mb_seen *seen;        /* ids taken in, in order */
    struct mb_layer_page *pages; /* once it is sealed */
    size_t seen_count, page_count;
    int64_t mark;   /* the checkpoint that it ends with, or -1 */
    int64_t forget; /* what changed in blocks up to this one is forgotten; or -1 */
    struct mb_buf scratch;
    size_t bytes; /* about as much as it takes */
};

struct mb_layer *mb_layer_new(void);
void mb_layer_free(struct mb_layer *l); /* NULL is fine */
bool mb_layer_empty(const struct mb_layer *l);

/* Items of state: slot:8 || present:1 || text (data NULL: the key is removed). */
void mb_state_put(struct mb_map *in, struct mb_buf *scratch, uint64_t slot, const char *key,
                  struct mb_bytes text);
void mb_layer_put(struct mb_layer *l, uint64_t slot, const char *key, struct mb_bytes text);
bool mb_state_present(const struct mb_map_item *item);
struct mb_bytes mb_state_text(const struct mb_map_item *item);

/* Rows of the other tables, by a letter for the table and the row's key as text: c(ommand) slot:8
 * || index:4, h(istory) the hash, m(eta) the value, s(een) struct mb_seen. */
#define MB_ROW_KEY 80
void mb_row_history(char key[MB_ROW_KEY], unsigned level, uint64_t index);
void mb_row_id(char key[MB_ROW_KEY], char table, const struct mb_hash *id);
void mb_row_meta(char key[MB_ROW_KEY], const char *name);
void mb_layer_row(struct mb_layer *l, const char *key, struct mb_bytes value); /* NULL: removed */
void mb_layer_seen_add(struct mb_layer *l, const char *key, const struct mb_seen *seen);

/* Write a sealed layer, inside a transaction of the caller's. Rows keep what they were as sql.h
 * says; then come the marks. */
int mb_layer_write(struct mb_connection *c, struct mb_marks *m, const struct mb_layer *l);

#endif
