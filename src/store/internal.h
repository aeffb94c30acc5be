/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The store's inside. What blocks write goes into layers (layer.h) and from there into the file:
 * by a thread of the store's own, or, when somebody waits for it or a transaction is large, by the
 * caller's. Of the two connections, one writes, and belongs to whoever does; the other shows the
 * caller what is committed.
 */
#ifndef MB_STORE_INTERNAL_H
#define MB_STORE_INTERNAL_H

#include <pthread.h>

#include "store/store.h"

#include "store/layer.h"

#define LAYERS_MAX 16

struct mb_cache;
struct mb_store {
    char *path;
    struct mb_connection writer, reader;
    struct mb_marks marks; /* the writer's */
    bool writing;          /* between begin and commit */
    bool through;          /* the caller has the writer, with its transaction: reads go there */
    struct mb_layer *layers[LAYERS_MAX]; /* oldest first; the last one is open */
    size_t count;
    int64_t newest, previous, forgotten; /* as the marks will be once all layers are written */
    struct mb_cache *cache;

    /* The thread has the writer and the layers from `written` to `handed` while there are any:
     * layers are counted from the first one ever, and layers[0] is `first`. The caller changes
     * layers, first and handed, and the thread written and failed, with the lock held. */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool started, quit;
    uint64_t first, written, handed;
    struct mb_error failed; /* code "" if it has not; nothing is written any more after that */
};

/* The connection that shows what is below the layers. */
struct mb_connection *mb_store_reads(struct mb_store *s);
/* Within a transaction: bring all that was written into the writer's, so that statements see it.
 * Otherwise: wait for the thread. For what is rare. */
int mb_store_flush(struct mb_store *s);
/* Have the layer that ends with checkpoint slot, if there is one, written before it is asked what
 * was there. */
int mb_store_show_mark(struct mb_store *s, int64_t slot, struct mb_error *error);
/* Something was written to the open layer, inside begin and commit. */
int mb_store_wrote(struct mb_store *s);
static inline struct mb_layer *mb_store_open_layer(const struct mb_store *s)
{
    return s->layers[s->count - 1];
}

/* --- cache.c: pages, and texts of the state read or written of late. --- */

struct mb_cache *mb_cache_new(void);
void mb_cache_free(struct mb_cache *c);
/* Forget it all; no layer has a page any more. */
void mb_cache_drop(struct mb_cache *c);
/* The open layer gets the pages that changed. */
void mb_cache_seal(struct mb_cache *c, struct mb_layer *l);
/* A sealed layer has been written: take what is worth keeping from it. */
void mb_cache_written(struct mb_cache *c, struct mb_layer *l);

/* The state: 1 and appended (value may be NULL), 0 if there is none, or an error. */
int mb_cache_get(struct mb_store *s, const char *key, struct mb_buf *value);
int mb_cache_page_load(struct mb_store *s, const char *tree, struct mb_bytes id,
                       struct mb_buf *page);
void mb_cache_page_save(struct mb_store *s, const char *tree, struct mb_bytes id,
                        struct mb_bytes page);

#endif
