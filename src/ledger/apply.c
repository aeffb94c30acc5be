/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The order of work in a block (magicbiz-protocol(7), "Value and block"). */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/internal.h"

/* --- What a block does before its envelopes. --- */

/* Forget what has expired: ids, and commands that waited for founders. Finds the next time. */
static void sweep_core(struct mb_run *run)
{
    struct mb_tx *tx = &run->l->tx;
    struct mb_walk w;
    int64_t next = INT64_MAX;
    if (run->time < run->l->sweep_at)
        return;
    mb_walk_init(&w, tx, "core/seen/", "");
    while (mb_walk_next(&w)) {
        uint64_t hour = (uint64_t)strtoull(mb_buf_text(&w.key) + strlen("core/seen/"), NULL, 10);
        int64_t end = (int64_t)(hour + 1) * 3600;
        if (end > run->time) {
            next = end < next ? end : next;
            continue;
        }
        int rc = tx->backend.ops->seen_drop(tx->backend.self, hour);
        if (rc < 0)
            mb_tx_stop(tx, rc, "ids taken in");
        mb_tx_remove(tx, mb_buf_text(&w.key));
    }
    mb_walk_clear(&w);
    mb_walk_init(&w, tx, "core/pending/", "");
    while (mb_walk_next(&w)) {
        json_t *pending = mb_tx_get(tx, mb_buf_text(&w.key));
        int64_t end = mb_json_get_int(pending, "expires", 0) + 1;
        if (end <= run->time)
            mb_tx_remove(tx, mb_buf_text(&w.key));
        else
            next = end < next ? end : next;
        json_decref(pending);
    }
    mb_walk_clear(&w);
    run->l->sweep_at = next;
}

static void sweep_modules(struct mb_run *run)
{
    const struct mb_facts *f = mb_facts(run->l);
    struct mb_tx *tx = &run->l->tx;
    struct mb_error ignored;
    for (size_t i = 0; f && i < f->logic_count; i++) {
        struct mb_context ctx = mb_context_of(run->l, f, run->slot, run->time);
        if (!f->logics[i]->sweep)
            continue;
        mb_tx_open(tx, f->logics[i]->name);
        f->logics[i]->sweep(tx, &ctx);
        mb_tx_close(tx, 0, &ignored);
    }
}

/* Due keys that are there now and whose time has come, at most a block's share. */
static char **list_due(struct mb_run *run, size_t *count)
{
    char **keys = mb_calloc(MB_INTERNAL_MAX, sizeof *keys);
    char last[32];
    struct mb_walk w;
    mb_snprintf(last, sizeof last, "core/due/%020lld", (long long)run->time);
    mb_walk_init(&w, &run->l->tx, "core/due/", "");
    while (*count < MB_INTERNAL_MAX && mb_walk_next(&w) &&
           strncmp(mb_buf_text(&w.key), last, strlen(last)) <= 0)
        keys[(*count)++] = mb_strdup(mb_buf_text(&w.key));
    mb_walk_clear(&w);
    return keys;
}

static void run_due(struct mb_run *run)
{
    struct mb_tx *tx = &run->l->tx;
    struct mb_error ignored;
    size_t count = 0;
    if (run->l->tip.next_due > run->time)
        return;
    char **keys = list_due(run, &count);
    for (size_t i = 0; i < count; i++) {
        json_t *due = run->internal < MB_INTERNAL_MAX ? mb_tx_get(tx, keys[i]) : NULL;
        char *cause = mb_asprintf("due:%s", keys[i]);
        if (due) {
            mb_tx_remove(tx, keys[i]);
            (void)mb_run_internal(run, mb_json_get_text(due, "type", ""),
                                  json_object_get(due, "body"), cause, due, &ignored);
        }
        json_decref(due);
        free(cause);
        free(keys[i]);
    }
    free(keys);
}

static void run_epochs(struct mb_run *run)
{
    struct mb_ledger *l = run->l;
    const struct mb_facts *f = mb_facts(l);
    int64_t epoch = mb_tx_int(&l->tx, "core/epoch"), first = epoch;
    if (!f)
        return;
    int64_t passed = (run->time - l->genesis.created) / f->epoch_s;
    while (epoch < passed && epoch - first < MB_EPOCHS_MAX) {
        mb_beacon_close(l, epoch);
        mb_tx_set(&l->tx, "core/epoch", json_integer(++epoch));
        mb_run_epoch(run, epoch);
    }
}

/* A configuration that waits comes into force for the next slot; the one before it is kept. */
static void change_config(struct mb_run *run)
{
    struct mb_tx *tx = &run->l->tx;
    const struct mb_facts *f = mb_facts(run->l);
    char past[MB_PAST_KEY_SIZE];
    if (!f || f->next.count == 0 || f->next.from != run->slot + 1)
        return;
    mb_past_key(past, f->config.version);
    mb_tx_set(tx, past, mb_tx_get(tx, "core/config"));
    mb_tx_set(tx, "core/config", mb_tx_get(tx, "core/config/next"));
    mb_tx_remove(tx, "core/config/next");
}

void mb_header_key(char key[MB_HEADER_KEY_SIZE], uint64_t slot)
{
    mb_snprintf(key, MB_HEADER_KEY_SIZE, "core/header/%03u", (unsigned)(slot % MB_HEADERS_KEPT));
}

static void note_header(struct mb_run *run)
{
    const struct mb_tip *tip = &run->l->tip;
    char key[MB_HEADER_KEY_SIZE], hash[MB_HASH_HEX_SIZE];
    json_t *value = json_object();
    mb_header_key(key, tip->header.slot);
    mb_hash_hex(&tip->header_hash, hash);
    json_object_set_new(value, "hash", json_string(hash));
    json_object_set_new(value, "slot", json_integer((json_int_t)tip->header.slot));
    mb_tx_set(&run->l->tx, key, value);
}

/* --- The block. --- */

struct outcome {
    struct mb_outcome seen; /* first: what the caller sees */
    struct mb_run run;
    uint32_t *index; /* by envelope */
};

static struct mb_hash results_root(const struct mb_run *run)
{
    struct mb_hash *leaves = mb_calloc(run->count + 1, sizeof *leaves);
    for (size_t i = 0; i < run->count; i++)
        leaves[i] = mb_history_leaf(mb_buf_bytes(&run->results[i]));
    struct mb_hash root = mb_history_root_of(leaves, run->count);
    free(leaves);
    return root;
}

static void run_block(struct mb_run *run, struct mb_checked *const *checked, size_t count,
                      uint32_t *index)
{
    struct mb_tx *tx = &run->l->tx;
    note_header(run);
    mb_tx_set(tx, "core/time", json_integer(run->time));
    sweep_core(run);
    sweep_modules(run);
    run_due(run);
    run_epochs(run);
    for (size_t i = 0; i < count && tx->err == 0; i++) {
        struct mb_error error = {0};
        index[i] = (uint32_t)run->count;
        (void)mb_run_envelope(run, checked[i], &error);
    }
    change_config(run);
    mb_run_upgrades(run);
}

static int seal(struct mb_run *run, const struct mb_value *value, struct mb_header *h,
                struct mb_error *error)
{
    struct mb_ledger *l = run->l;
    const struct mb_facts *f = mb_facts(l);
    h->slot = run->slot;
    h->time = run->time;
    h->org = l->genesis.org;
    h->proposer = value->proposer;
    h->commands_root = value->commands_root;
    h->results_root = results_root(run);
    h->history_root = mb_frontier_root(&l->tip.history);
    if (f) {
        h->config_hash = f->config.hash;
        (void)mb_tx_flush(&l->tx, run->slot, &h->state_root, error);
    }
    if (l->tx.err == 0)
        mb_tip_advance(l, h, value->count);
    if (l->tx.err != 0 && error)
        *error = l->tx.error;
    return l->tx.err;
}

static void fill_outcome(struct outcome *o, struct mb_bytes value_bytes, const struct mb_header *h)
{
    uint8_t header[MB_HEADER_MAX];
    struct mb_block *b = &o->seen.block;
    mb_buf_add_bytes(&b->value, value_bytes);
    mb_buf_add(&b->header, header, mb_header_encode(h, header));
    b->results = o->run.results;
    b->result_count = o->run.count;
    o->seen.applied = (struct mb_applied){
        .slot = h->slot,
        .time = h->time,
        .commands = o->run.executed,
        .count = o->run.count,
        .checkpoint = o->run.l->tip.checkpoint_slot == h->slot,
    };
}

int mb_ledger_apply(struct mb_ledger *l, struct mb_bytes value_bytes, const struct mb_value *value,
                    struct mb_checked *const *checked, struct mb_outcome **out,
                    struct mb_error *error)
{
    struct mb_header header = {0};
    *out = NULL;
    if (value->slot != l->tip.header.slot + 1)
        return mb_fail(error, MB_ECORRUPT, "ledger.slot", "slot %llu cannot follow slot %llu",
                       (unsigned long long)value->slot, (unsigned long long)l->tip.header.slot);
    struct outcome *o = mb_calloc(1, sizeof *o);
    o->index = mb_calloc(value->count + 1, sizeof *o->index);
    o->run = (struct mb_run){
        .l = l, .slot = value->slot, .time = value->time > l->tip.time ? value->time : l->tip.time};
    l->tx.writable = true;
    l->tx.work = 0;
    run_block(&o->run, checked, value->count, o->index);
    int rc = seal(&o->run, value, &header, error);
    l->tx.writable = false;
    if (rc != 0) {
        mb_outcome_free(&o->seen);
        return rc;
    }
    fill_outcome(o, value_bytes, &header);
    *out = &o->seen;
    return 0;
}

void mb_outcome_free(struct mb_outcome *seen)
{
    struct outcome *o = (struct outcome *)seen;
    if (!o)
        return;
    mb_buf_clear(&o->seen.block.value);
    mb_buf_clear(&o->seen.block.header);
    mb_run_clear(&o->run);
    free(o->index);
    free(o);
}

uint32_t mb_outcome_index(const struct mb_outcome *seen, size_t envelope)
{
    return ((const struct outcome *)seen)->index[envelope];
}
