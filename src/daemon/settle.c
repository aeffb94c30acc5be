/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What need not be done while somebody waits: commit the store, make archive and store durable so
 * that the log may reuse its segments, forget what nobody can ask for any more. */
#include <stdlib.h>

#include "daemon/node.h"

#define SETTLE_MS      5000
#define COMMIT_MS      200
#define CHANGES_KEPT_S 604800 /* GET /v1/module?since= reaches back so far (Clarification 16) */
#define FORGET_MOST    1000   /* slots looked at in one turn */

struct settling {
    struct settle *settle;
    uint64_t slot;
    char *store_path;
    struct mb_error error;
    int rc;
};
struct settle {
    struct node *node;
    struct mb_timer *timer, *commit;
    bool armed; /* commit */
    struct settling *under_way;
    uint64_t settled_slot;
};

/* False if the node had to stop. */
static bool commit(struct settle *s)
{
    struct mb_error error = {0};
    if (node_commit_later(s->node, &error) == 0)
        return true;
    node_fail(s->node, &error);
    return false;
}

static void on_commit(void *arg)
{
    struct settle *s = arg;
    s->armed = false;
    (void)commit(s);
}

/* Forget which keys changed in blocks older than a week. */
static void forget_changes(struct settle *s)
{
    struct node *n = s->node;
    struct mb_error error = {0};
    int64_t before = mb_ledger_tip(n->ledger)->time - CHANGES_KEPT_S;
    uint64_t slot = mb_store_forgotten(n->store), from = slot;
    while (slot - from < FORGET_MOST && slot < mb_ledger_tip(n->ledger)->header.slot) {
        struct mb_block block = {0};
        struct mb_buf record = {0};
        struct mb_header header = {0};
        bool old = mb_archive_read(n->archive, MB_ARCHIVE_BLOCK, slot + 1, &record, &error) == 1 &&
                   mb_block_decode(&block, mb_buf_bytes(&record), &error) == 0 &&
                   mb_header_decode(&header, mb_buf_bytes(&block.header), &error) == 0 &&
                   header.time < before;
        mb_block_clear(&block);
        mb_buf_clear(&record);
        if (!old)
            break;
        slot++;
    }
    if (slot == from || !commit(s))
        return;
    int rc = mb_store_begin(n->store, &error);
    if (rc == 0 && (rc = mb_store_forget_deletions(n->store, slot, &error)) == 0)
        rc = mb_store_commit_later(n->store, &error);
    if (rc != 0)
        node_fail(n, &error);
}

static void settle_work(void *arg)
{
    struct settling *w = arg;
    w->rc = mb_store_wait(w->settle->node->store, &w->error);
    if (w->rc == 0)
        w->rc = mb_archive_sync(w->settle->node->archive, &w->error);
    if (w->rc == 0)
        w->rc = mb_store_settle(w->store_path, &w->error);
}

static void settle_done(void *arg)
{
    struct settling *w = arg;
    struct settle *s = w->settle;
    s->under_way = NULL;
    if (w->rc != 0) {
        node_fail(s->node, &w->error);
    } else {
        s->settled_slot = w->slot;
        mb_wal_release(s->node->wal, w->slot);
        forget_changes(s);
    }
    free(w->store_path);
    free(w);
    if (!s->node->stopping)
        mb_timer_set(s->timer, SETTLE_MS);
}

/* Make archive and store durable, off the commit path; then the log may reuse its segments. */
static void on_settle(void *arg)
{
    struct settle *s = arg;
    uint64_t slot = mb_ledger_tip(s->node->ledger)->header.slot;
    if (slot == s->settled_slot || s->under_way != NULL || s->node->stopping) {
        mb_timer_set(s->timer, SETTLE_MS);
        return;
    }
    if (!commit(s))
        return;
    struct settling *w = mb_calloc(1, sizeof *w);
    *w = (struct settling){.settle = s, .slot = slot, .store_path = node_path(s->node, "store.db")};
    s->under_way = w;
    mb_work(s->node->loop, settle_work, settle_done, w);
}

struct settle *settle_new(struct node *n)
{
    struct settle *s = mb_calloc(1, sizeof *s);
    s->node = n;
    s->timer = mb_timer_new(n->loop, on_settle, s);
    s->commit = mb_timer_new(n->loop, on_commit, s);
    mb_timer_set(s->timer, SETTLE_MS);
    return s;
}

void settle_free(struct settle *s)
{
    if (s == NULL)
        return;
    mb_timer_free(s->timer);
    mb_timer_free(s->commit);
    free(s);
}

void settle_soon(struct settle *s)
{
    if (!s->armed)
        mb_timer_set(s->commit, COMMIT_MS);
    s->armed = true;
}
