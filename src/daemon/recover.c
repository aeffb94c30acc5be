/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Starting: the archive and the log decide, the store follows. A store that is missing or whose
 * root is wrong is built again from the newest snapshot and the archive; a log or an archive that
 * is missing or damaged is a reason not to start, with what to do in the message.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/consensus.h"
#include "daemon/fetch.h"

struct recovery {
    struct node *node;
    struct mb_buf genesis;
    struct mb_paxos_item *accepted; /* in the log, and not in the archive; values owned */
    size_t accepted_count, accepted_cap;
};

static bool exists(const struct node *n, const char *name)
{
    struct stat st;
    char *path = node_path(n, name);
    bool there = stat(path, &st) == 0;
    free(path);
    return there;
}

static int replay(void *arg, const struct mb_wal_record *record)
{
    struct recovery *r = ((struct node *)arg)->recovery;
    struct mb_paxos_item item;
    if (record->kind != MB_WAL_ACCEPTED || record->slot <= mb_archive_tip(r->node->archive))
        return 0;
    if (!consensus_unlog(record->payload, &item))
        return mb_fail(NULL, MB_ECORRUPT, "wal.corrupt", "an acceptance is malformed");
    if (r->accepted_count == r->accepted_cap) {
        r->accepted_cap = r->accepted_cap * 2 + 64;
        r->accepted = mb_realloc(r->accepted, r->accepted_cap * sizeof *r->accepted);
    }
    uint8_t *copy = mb_alloc(item.value.len + 1);
    memcpy(copy, item.value.data, item.value.len);
    item.slot = record->slot;
    item.value.data = copy;
    r->accepted[r->accepted_count++] = item;
    return 0;
}

static void log_failed(void *arg, const struct mb_error *error)
{
    node_fail(arg, error);
}

static int open_archive(struct recovery *r, struct mb_error *error)
{
    struct node *n = r->node;
    if (!exists(n, "archive"))
        return mb_fail(error, MB_ECORRUPT, "archive.lost",
                       "%s/archive is missing: put it back from a copy; without it this replica "
                       "cannot show the organisation's history",
                       n->data);
    char *archive = node_path(n, "archive");
    struct mb_buf base = {0};
    int rc = mb_archive_open(&n->archive, archive, error);
    if (rc == 0)
        rc = mb_archive_read(n->archive, MB_ARCHIVE_BASE, mb_archive_first(n->archive), &base,
                             error);
    if (rc == 1 && (rc = mb_base_decode(&n->base, mb_buf_bytes(&base), error)) == 0)
        mb_buf_add_bytes(&r->genesis, mb_buf_bytes(&n->base.genesis));
    else if (rc == 0) {
        rc = mb_archive_read(n->archive, MB_ARCHIVE_GENESIS, 0, &r->genesis, error);
        rc = rc == 1   ? 0
             : rc == 0 ? mb_fail(error, MB_ECORRUPT, "archive.lost",
                                 "%s holds no genesis: put the archive back from a copy", archive)
                       : rc;
    }
    mb_buf_clear(&base);
    free(archive);
    return rc;
}

static bool is_alone(struct node *n)
{
    struct mb_membership members[2];
    return node_configs(n, members, NULL) == 1 && members[0].count == 1;
}

/* Where there are others, what is damaged can be learnt from them, and is no reason to stop. */
static int open_log(struct recovery *r, struct mb_error *error)
{
    struct node *n = r->node;
    char *log = node_path(n, "log");
    struct mb_wal_options options = {
        .tolerate = !is_alone(n), .replay = replay, .failed = log_failed, .arg = n};
    int rc = mb_wal_open(&n->wal, n->loop, log, &options, error);
    if (rc == 0 && mb_wal_damage(n->wal)->found)
        mb_log(MB_LOG_ERROR, "wal", "damaged", "faulty_to=%" PRIu64 " text=%s",
               mb_wal_damage(n->wal)->faulty_to, mb_wal_damage(n->wal)->text);
    free(log);
    return rc;
}

/* Whether the store holds the state of a slot that archive and log know, byte for byte. */
static bool store_is_right(struct recovery *r)
{
    struct node *n = r->node;
    struct mb_error error = {0};
    const struct mb_tip *tip = mb_ledger_tip(n->ledger);
    uint64_t slot = tip->header.slot;
    if (slot > mb_archive_tip(n->archive)) {
        mb_log(MB_LOG_WARN, "store", "ahead", "slot=%" PRIu64 " archive=%" PRIu64, slot,
               mb_archive_tip(n->archive));
        return false;
    }
    if (slot > 0) {
        struct mb_block block;
        uint8_t header[MB_HEADER_MAX];
        size_t len = mb_header_encode(&tip->header, header);
        bool same = node_read_block(n, slot, &block, &error) == 0 &&
                    mb_bytes_equal(mb_bytes(header, len), mb_buf_bytes(&block.header));
        mb_block_clear(&block);
        if (!same) {
            mb_log(MB_LOG_WARN, "store", "other_header", "slot=%" PRIu64, slot);
            return false;
        }
    }
    if (mb_store_verify(n->store, &tip->header.state_root, &error) != 0) {
        mb_log(MB_LOG_WARN, "store", "wrong_root", "slot=%" PRIu64 " code=%s", slot, error.code);
        return false;
    }
    return true;
}

int node_index_block(struct mb_store *store, uint64_t slot, const struct mb_block *block,
                     struct mb_error *error)
{
    for (size_t i = 0; i < block->result_count; i++) {
        json_t *result;
        struct mb_hash id;
        int rc = mb_json_parse(&result, block->results[i].data, block->results[i].len, error);
        if (rc != 0)
            return rc;
        if (mb_hash_from_hex(&id, mb_json_get_text(result, "id", "")) == 0)
            rc = mb_store_command_add(store, &id, slot, (uint32_t)i);
        json_decref(result);
        if (rc != 0)
            return mb_fail(error, rc, "store.io", "the store's index cannot be written");
    }
    return 0;
}

struct history_copy {
    struct mb_backend backend;
    int rc;
};

static void copy_node(void *arg, unsigned level, uint64_t index, const struct mb_hash *hash)
{
    struct history_copy *h = arg;
    if (h->rc == 0)
        h->rc = h->backend.ops->history_put(h->backend.self, level, index, hash);
}

/* The complete subtrees that a frontier is made of. */
static void copy_peaks(struct history_copy *h, const struct mb_frontier *f)
{
    uint64_t covered = 0;
    unsigned peak = 0;
    for (unsigned level = 64; level-- > 0;) {
        if ((f->size >> level & 1) == 0)
            continue;
        copy_node(h, level, covered >> level, &f->peaks[peak++]);
        covered += UINT64_C(1) << level;
    }
}

/* The history's nodes and the index of commands up to a snapshot come from the archive. */
static int copy_history(struct node *n, const struct mb_snapshot *snapshot, uint64_t slot,
                        struct mb_error *error)
{
    struct history_copy copy = {.backend = mb_store_backend(n->store)};
    struct mb_frontier frontier = {0};
    struct mb_checkpoint zero = {0};
    int rc = node_checkpoint(n, 0, &zero, error);
    rc = rc == 1 ? 0 : rc == 0 ? mb_fail(error, MB_ECORRUPT, "archive.corrupt", "no header 0") : rc;
    uint64_t first = n->base.slot; /* before it there is only the history's frontier */
    frontier = n->base.history;
    copy_peaks(&copy, &frontier);
    for (uint64_t s = first; s < slot && rc == 0; s++) {
        struct mb_block block = {0};
        struct mb_hash leaf;
        if (s > 0)
            rc = node_read_block(n, s, &block, error);
        if (rc == 0 && s > 0)
            rc = node_index_block(n->store, s, &block, error);
        leaf = mb_history_leaf(mb_buf_bytes(s == 0 ? &zero.header : &block.header));
        mb_frontier_add(&frontier, &leaf, copy_node, &copy);
        mb_block_clear(&block);
    }
    if (rc == 0 && copy.rc != 0)
        rc = mb_fail(error, copy.rc, "store.io", "the store's history cannot be written");
    if (rc == 0) {
        struct mb_hash want = mb_frontier_root(&snapshot->frontier);
        struct mb_hash have = mb_frontier_root(&frontier);
        if (frontier.size != snapshot->frontier.size || !mb_hash_equal(&want, &have))
            rc = mb_fail(error, MB_EPROOF, "snapshot.false", "its history is not the archive's");
    }
    if (rc == 0) {
        struct mb_block block = {0};
        rc = node_read_block(n, slot, &block, error);
        if (rc == 0)
            rc = node_index_block(n->store, slot, &block, error);
        mb_block_clear(&block);
    }
    mb_checkpoint_clear(&zero);
    return rc;
}

static int load_chunks(struct recovery *r, const struct mb_snapshot *snapshot,
                       struct mb_error *error)
{
    struct node *n = r->node;
    struct mb_snapshot_reader *reader = mb_snapshot_reader_new(mb_store_backend(n->store));
    int rc = 0;
    for (size_t i = 0; i < snapshot->chunk_count && rc == 0; i++) {
        char hex[MB_HASH_HEX_SIZE];
        struct mb_buf chunk = {0};
        mb_hash_hex(&snapshot->chunks[i], hex);
        char *path = snapshots_chunk_path(n->data, hex);
        rc = mb_read_file(path, MB_CHUNK_BYTES, &chunk, error);
        struct mb_hash is = mb_sha256(chunk.data, chunk.len);
        if (rc == 0 && !mb_hash_equal(&is, &snapshot->chunks[i]))
            rc = mb_fail(error, MB_ECORRUPT, "snapshot.false", "chunk %zu is damaged", i);
        if (rc == 0)
            rc = mb_snapshot_feed(reader, mb_buf_bytes(&chunk), error);
        mb_buf_clear(&chunk);
        free(path);
    }
    if (rc == 0)
        rc = mb_snapshot_finish(reader, snapshot, mb_buf_bytes(&r->genesis), error);
    mb_snapshot_reader_free(reader);
    return rc;
}

/* Try to start from the newest snapshot: 1, or 0 if there is none that fits. */
static int load_snapshot(struct recovery *r, struct mb_error *error)
{
    struct node *n = r->node;
    struct mb_snapshot snapshot = {0};
    struct mb_header header = {0};
    json_t *index = NULL;
    int rc = snapshots_load(n->data, &index, error);
    if (rc == 1)
        rc = mb_snapshot_from_json(&snapshot, index, &n->key.public_key, 1, error) == 0 &&
                     mb_header_decode(&header, mb_buf_bytes(&snapshot.checkpoint.header), error) ==
                         0 &&
                     header.slot > 0 && header.slot >= n->base.slot &&
                     header.slot <= mb_archive_tip(n->archive)
                 ? 1
                 : 0;
    if (rc == 1) {
        rc = copy_history(n, &snapshot, header.slot, error);
        if (rc == 0)
            rc = load_chunks(r, &snapshot, error);
        mb_log(rc == 0 ? MB_LOG_INFO : MB_LOG_WARN, "store", "snapshot",
               "slot=%" PRIu64 " ok=%d code=%s", header.slot, rc == 0, rc == 0 ? "" : error->code);
        rc = rc == 0 ? 1 : rc;
    }
    mb_snapshot_clear(&snapshot);
    json_decref(index);
    return rc;
}

static int rebuild(struct recovery *r, struct mb_error *error)
{
    struct node *n = r->node;
    struct mb_backend backend = mb_store_backend(n->store);
    mb_ledger_free(n->ledger);
    n->ledger = NULL;
    mb_log(MB_LOG_INFO, "store", "rebuild", "archive=%" PRIu64, mb_archive_tip(n->archive));
    int rc = mb_store_begin(n->store, error);
    if (rc == 0)
        rc = mb_store_wipe(n->store, error);
    if (rc != 0)
        return rc;
    int loaded = load_snapshot(r, error);
    if (loaded < 0) { /* a snapshot that does not hold is no reason to stop: the archive has all */
        mb_store_rollback(n->store);
        if ((rc = mb_store_begin(n->store, error)) != 0 ||
            (rc = mb_store_wipe(n->store, error)) != 0)
            return rc;
    }
    if (loaded != 1 && n->base.slot > 0)
        rc = mb_fail(error, MB_ECORRUPT, "store.lost",
                     "%s/store.db is lost or wrong, the archive begins at slot %" PRIu64
                     ", and %s/snapshot holds no snapshot to begin with: put one of them back from "
                     "a copy, or join anew in another folder",
                     n->data, n->base.slot, n->data);
    else if (loaded == 1)
        rc = mb_ledger_open(&n->ledger, backend, n->modules.logics, n->modules.count, error);
    else
        rc = mb_ledger_found(&n->ledger, backend, n->modules.logics, n->modules.count,
                             mb_buf_bytes(&r->genesis), error);
    uint64_t tip = rc == 0 ? mb_ledger_tip(n->ledger)->header.slot : 0;
    if (rc == 0)
        rc = mb_store_mark_checkpoint(n->store, tip, error);
    if (rc == 0 && tip > 0)
        rc = mb_store_forget_deletions(n->store, tip, error);
    if (rc == 0)
        rc = mb_store_commit(n->store, error);
    else
        mb_store_rollback(n->store);
    return rc;
}

static int open_ledger(struct recovery *r, struct mb_error *error)
{
    struct node *n = r->node;
    char *path = node_path(n, "store.db");
    int rc = mb_store_open(&n->store, path, error);
    free(path);
    if (rc != 0)
        return rc;
    rc = mb_ledger_open(&n->ledger, mb_store_backend(n->store), n->modules.logics, n->modules.count,
                        error);
    if (rc == MB_ENOENT || rc == MB_ECORRUPT)
        return rebuild(r, error);
    if (rc != 0)
        return rc;
    const char *text = mb_ledger_genesis_text(n->ledger);
    if (!mb_bytes_equal(mb_bytes_of(text), mb_buf_bytes(&r->genesis)) || !store_is_right(r))
        return rebuild(r, error);
    return 0;
}

static int apply_one(struct node *n, struct mb_bytes value, const struct mb_block *archived,
                     struct mb_error *error)
{
    struct mb_outcome *o = NULL;
    int rc = node_apply(n, value, NULL, archived, &o, error);
    mb_outcome_free(o);
    return rc;
}

static int catch_up(struct recovery *r, struct mb_error *error)
{
    struct node *n = r->node;
    uint64_t from = mb_ledger_tip(n->ledger)->header.slot;
    int rc = 0;
    for (uint64_t slot = from + 1; slot <= mb_archive_tip(n->archive) && rc == 0; slot++) {
        struct mb_block block;
        rc = node_read_block(n, slot, &block, error);
        if (rc == 0)
            rc = apply_one(n, mb_buf_bytes(&block.value), &block, error);
        mb_block_clear(&block);
        if (rc == 0 && slot % 10000 == 0)
            mb_log(MB_LOG_INFO, "store", "replayed", "slot=%" PRIu64, slot);
    }
    if (rc == 0)
        rc = node_commit(n, error);
    if (rc == 0)
        mb_log(MB_LOG_INFO, "ledger", "ready", "slot=%" PRIu64 " replayed=%" PRIu64,
               mb_ledger_tip(n->ledger)->header.slot, mb_ledger_tip(n->ledger)->header.slot - from);
    return rc;
}

/* Where there is nobody to ask, what the log has must go on where the archive ends. */
static int check_gap(const struct recovery *r, struct mb_error *error)
{
    struct node *n = r->node;
    uint64_t tip = mb_ledger_tip(n->ledger)->header.slot, next = tip + 1;
    if (!is_alone(n))
        return 0;
    for (size_t i = 0; i < r->accepted_count; i++) {
        uint64_t slot = r->accepted[i].slot;
        if (slot > next)
            return mb_fail(error, MB_ECORRUPT, "log.gap",
                           "%s/log goes on at slot %" PRIu64 ", but slot %" PRIu64
                           " is nowhere: put archive and log back from one copy",
                           n->data, slot, next);
        next = slot == next ? next + 1 : next;
    }
    return 0;
}

int node_recover(struct node *n, struct mb_error *error)
{
    struct recovery *r = n->recovery = mb_calloc(1, sizeof *r);
    r->node = n;
    int rc = fetch_install(n, error);
    if (rc == 0)
        rc = open_archive(r, error);
    if (rc == 0)
        rc = open_ledger(r, error);
    if (rc == 0)
        rc = catch_up(r, error);
    if (rc == 0)
        rc = open_log(r, error);
    if (rc == 0)
        rc = check_gap(r, error);
    return rc;
}

/* With one replica all that the log has was chosen: nobody may see the state before it is applied.
 */
static int wait_alone(struct node *n, uint64_t last, struct mb_error *error)
{
    int64_t until = mb_now_ms() + 60000;
    while (n->exit_status == 0 && (consensus_status(n->consensus).role != MB_PAXOS_LEADER ||
                                   mb_ledger_tip(n->ledger)->header.slot < last)) {
        if (mb_now_ms() > until)
            return mb_fail(error, MB_EIO, "log.slow",
                           "the log cannot be carried out: is the disk "
                           "of %s slow or full?",
                           n->data);
        mb_loop_once(n->loop, 10);
    }
    return n->exit_status == 0 ? 0 : mb_fail(error, MB_EIO, "log.failed", "see the log of events");
}

int node_start_consensus(struct node *n, struct mb_error *error)
{
    struct recovery *r = n->recovery;
    struct mb_wal_stamp stamp = mb_wal_newest_stamp(n->wal);
    const struct mb_wal_damage *damage = mb_wal_damage(n->wal);
    struct consensus_start start = {.accepted = r->accepted,
                                    .accepted_count = r->accepted_count,
                                    .faulty_to = damage->found ? damage->faulty_to : 0};
    uint64_t last = 0;
    consensus_unstamp(&stamp, &start.promised, &start.incarnation);
    n->incarnation = ++start.incarnation;
    for (size_t i = 0; i < r->accepted_count; i++)
        last = r->accepted[i].slot > last ? r->accepted[i].slot : last;
    /* This life is on the disk before others hear of it. */
    stamp = consensus_stamp(&start.promised, start.incarnation);
    mb_wal_append(n->wal, &stamp, NULL, 0, NULL, NULL, NULL);
    consensus_start(n->consensus, &start);
    node_recovered(n);
    return is_alone(n) && n->number != 0 ? wait_alone(n, last, error) : 0;
}

void node_recovered(struct node *n)
{
    struct recovery *r = n->recovery;
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->accepted_count; i++)
        free((uint8_t *)(uintptr_t)r->accepted[i].value.data);
    free(r->accepted);
    mb_buf_clear(&r->genesis);
    free(r);
    n->recovery = NULL;
}

void node_close_storage(struct node *n)
{
    (void)node_commit(n, NULL); /* else it is applied again on the next start */
    mb_ledger_free(n->ledger);
    n->ledger = NULL;
    mb_store_close(n->store);
    n->store = NULL;
    mb_archive_close(n->archive);
    n->archive = NULL;
    mb_base_clear(&n->base);
}
