/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the ledger needs of a place to keep things. SQLite is behind it in the daemon (src/store),
 * memory in the simulator, the auditor and unit tests (mb_memory_new); one set of tests runs
 * against both.
 *
 * Functions return 0 (or 1 where said), or a negative enum mb_err; an error of the backend stops
 * the replica, it never becomes a result. Writes become visible to later reads at once, and
 * durable together, when the owner of the backend commits.
 */
#ifndef MB_LEDGER_BACKEND_H
#define MB_LEDGER_BACKEND_H

#include "base/error.h"
#include "base/hash.h"

/* One command that was taken in (magicbiz-protocol(7), "Command", exactly once). */
struct mb_seen {
    struct mb_hash id;
    uint64_t slot;
    uint32_t index; /* position among the block's results */
    uint64_t hour;  /* floor(expires / 3600) */
};

struct mb_backend_ops {
    /* State. get: 1 and the text appended to value, or 0 if there is none. */
    int (*get)(void *self, const char *key, struct mb_buf *value);
    /* The first key that is >= from and starts with prefix: 1, both appended, or 0 at the end. */
    int (*seek)(void *self, const char *prefix, const char *from, struct mb_buf *key,
                struct mb_buf *value);
    /* text.data NULL: remove. slot: the block that changes it. */
    int (*put)(void *self, uint64_t slot, const char *key, struct mb_bytes text);

    /* Pages of the state trees, as in merkle/tree.h. */
    int (*page_load)(void *self, const char *tree, struct mb_bytes id, struct mb_buf *page);
    int (*page_save)(void *self, const char *tree, struct mb_bytes id, struct mb_bytes page);

    /* Complete subtrees of the history tree, as in merkle/history.h. */
    int (*history_get)(void *self, unsigned level, uint64_t index, struct mb_hash *hash);
    int (*history_put)(void *self, unsigned level, uint64_t index, const struct mb_hash *hash);

    /* Ids taken in, by hour of expiry. find: 1 and *seen filled, or 0. list: those of hour in the
     * order they were added, until visit returns other than 0. hours: visits each hour kept, in
     * ascending order. */
    int (*seen_find)(void *self, const struct mb_hash *id, struct mb_seen *seen);
    int (*seen_add)(void *self, const struct mb_seen *seen);
    int (*seen_drop)(void *self, uint64_t hour); /* forget hour and all before it */
    int (*seen_list)(void *self, uint64_t hour, int (*visit)(void *arg, const struct mb_seen *),
                     void *arg);
    int (*seen_hours)(void *self, int (*visit)(void *arg, uint64_t hour), void *arg);

    /* Small values of the ledger's own that are not in the state (the tip): as get and put. */
    int (*meta_get)(void *self, const char *name, struct mb_buf *value);
    int (*meta_put)(void *self, const char *name, struct mb_bytes value);
};
struct mb_backend {
    const struct mb_backend_ops *ops;
    void *self;
};

/* All of it in memory. */
struct mb_memory;
struct mb_memory *mb_memory_new(void);
void mb_memory_free(struct mb_memory *m);
struct mb_backend mb_memory_backend(struct mb_memory *m);

#endif
