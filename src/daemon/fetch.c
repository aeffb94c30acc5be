/* SPDX-License-Identifier: GPL-3.0-or-later */
#define _XOPEN_SOURCE 700
#include "daemon/fetch.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledger/base.h"

#define ANSWER_MAX (8u << 20)
#define LINE_MAX   (8u << 20)

struct fetch {
    char *data;
    struct mb_genesis genesis;
    struct mb_base base; /* slot, history and handovers are filled in as they come */
    atomic_ulong fetched, bytes, refused;
    atomic_ulong have, want; /* chunks of the present snapshot */
};
/* One run. */
struct run {
    struct fetch *f;
    struct mb_http_client *client;
    json_t *index;
    struct mb_snapshot snapshot;
    struct mb_header header;
    struct mb_membership config;
    struct mb_block block;
    struct mb_error *error;
};

static char *in_data(const struct fetch *f, const char *name)
{
    return mb_asprintf("%s/incoming%s", f->data, name);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

void fetch_remove(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

int fetch_json(struct mb_http_client *client, const char *path, json_t **out,
               struct mb_error *error)
{
    struct mb_buf body = {0};
    unsigned status = 0;
    *out = NULL;
    int rc = mb_http_get(client, path, ANSWER_MAX, &status, &body, error);
    if (rc == 0)
        rc = mb_json_parse(out, body.data, body.len, error);
    if (rc == 0 && status != 200) {
        const json_t *e = json_object_get(*out, "error");
        rc = mb_fail(error, status == 404 || status == 410 ? MB_ENOENT : MB_EREACH,
                     mb_json_get_text(e, "code", "http.status"),
                     "%.20s is answered with status %u: %.200s", path, status,
                     mb_json_get_text(e, "message", ""));
        json_decref(*out);
        *out = NULL;
    }
    mb_buf_clear(&body);
    return rc;
}

struct fetch *fetch_new(struct node *n)
{
    struct fetch *f = mb_calloc(1, sizeof *f);
    struct mb_bytes genesis = mb_bytes_of(mb_ledger_genesis_text(n->ledger));
    f->data = mb_strdup(n->data);
    mb_buf_add_bytes(&f->base.genesis, genesis);
    if (mb_genesis_parse(&f->genesis, genesis, NULL) != 0 ||
        node_checkpoint(n, 0, &f->base.zero, NULL) != 1) {
        fetch_free(f); /* the archive cannot be read: others say so */
        return NULL;
    }
    return f;
}

void fetch_free(struct fetch *f)
{
    if (f == NULL)
        return;
    mb_genesis_clear(&f->genesis);
    mb_base_clear(&f->base);
    free(f->data);
    free(f);
}

/* --- What is fetched. --- */

static int get_handovers(struct run *r, json_t *list)
{
    bool more = true;
    int rc = 0;
    while (rc == 0 && more && json_array_size(list) <= MB_HANDOVERS_MAX) {
        char *path = mb_asprintf("/v1/handovers?from=%zu", json_array_size(list) + 2);
        json_t *answer = NULL;
        rc = fetch_json(r->client, path, &answer, r->error);
        const json_t *page = json_object_get(answer, "handovers");
        more = json_array_size(page) > 0;
        if (more)
            json_array_extend(list, (json_t *)(uintptr_t)page);
        json_decref(answer);
        free(path);
    }
    return rc;
}

/* The index that a transfer was begun with, or the replica's newest; believed, or an error. */
static int get_index(struct run *r)
{
    struct fetch *f = r->f;
    char *path = in_data(f, "/index.json");
    struct mb_buf text = {0};
    json_t *list = json_array();
    size_t used;
    bool begun = access(path, F_OK) == 0 && mb_read_file(path, ANSWER_MAX, &text, NULL) == 0 &&
                 mb_json_parse(&r->index, text.data, text.len, NULL) == 0;
    int rc = begun ? 0 : fetch_json(r->client, "/v1/snapshot", &r->index, r->error);
    if (rc == 0)
        rc = get_handovers(r, list);
    if (rc == 0)
        rc = mb_snapshot_accept(&r->snapshot, r->index, list, &f->genesis, &r->header, &r->config,
                                &used, r->error);
    if (rc == 0) {
        json_decref(f->base.handovers);
        f->base.handovers = json_array();
        for (size_t i = 0; i < used; i++)
            json_array_append(f->base.handovers, json_array_get(list, i));
        f->base.slot = r->header.slot;
        f->base.history = r->snapshot.frontier;
    }
    if (rc == 0 && !begun) {
        char *json = mb_json_text(r->index);
        rc = mb_write_file(path, mb_bytes_of(json), 0600, r->error);
        free(json);
        mb_log(MB_LOG_INFO, "fetch", "begun", "slot=%" PRIu64 " chunks=%zu", r->header.slot,
               r->snapshot.chunk_count);
    }
    json_decref(list);
    mb_buf_clear(&text);
    free(path);
    return rc;
}

static char *chunk_path(const struct fetch *f, const struct mb_hash *hash)
{
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(hash, hex);
    return mb_asprintf("%s/incoming/snapshot/%s", f->data, hex);
}

static int get_chunk(struct run *r, size_t i, const char *to)
{
    const struct mb_hash *want = &r->snapshot.chunks[i];
    char hex[MB_HASH_HEX_SIZE];
    struct mb_buf chunk = {0};
    unsigned status = 0;
    mb_hash_hex(want, hex);
    char *path = mb_asprintf("/v1/snapshot/%s", hex);
    int rc = mb_http_get(r->client, path, MB_CHUNK_BYTES, &status, &chunk, r->error);
    struct mb_hash is = mb_sha256(chunk.data, chunk.len);
    if (rc == 0 && status != 200)
        rc = mb_fail(r->error, status == 404 ? MB_ENOENT : MB_EREACH, "snapshot.gone",
                     "chunk %zu of %zu (%s) is not there any more", i + 1, r->snapshot.chunk_count,
                     hex);
    else if (rc == 0 && !mb_hash_equal(&is, want)) {
        atomic_fetch_add(&r->f->refused, 1);
        rc = mb_fail(r->error, MB_EPROOF, "snapshot.chunk",
                     "chunk %zu of %zu (%s) came with other bytes: it is refused", i + 1,
                     r->snapshot.chunk_count, hex);
    }
    if (rc == 0)
        rc = mb_write_file(to, mb_buf_bytes(&chunk), 0600, r->error);
    if (rc == 0) {
        atomic_fetch_add(&r->f->fetched, 1);
        atomic_fetch_add(&r->f->bytes, chunk.len);
    }
    mb_buf_clear(&chunk);
    free(path);
    return rc;
}

static int get_chunks(struct run *r, const atomic_bool *stop)
{
    struct fetch *f = r->f;
    int rc = 0;
    atomic_store(&f->want, r->snapshot.chunk_count);
    atomic_store(&f->have, 0);
    for (size_t i = 0; i < r->snapshot.chunk_count && rc == 0; i++) {
        char *to = chunk_path(f, &r->snapshot.chunks[i]);
        if (atomic_load(stop))
            rc = mb_fail(r->error, MB_EREACH, "http.stopped", "broken off");
        else if (access(to, F_OK) != 0)
            rc = get_chunk(r, i, to);
        if (rc == 0)
            atomic_fetch_add(&f->have, 1);
        free(to);
    }
    return rc;
}

static int take_block(void *arg, struct mb_bytes line, struct mb_error *error)
{
    struct run *r = arg;
    struct mb_public_key proposer;
    json_t *json;
    int rc = mb_json_parse(&json, line.data, line.len, error);
    if (rc != 0)
        return rc;
    mb_block_clear(&r->block);
    rc = mb_block_from_json(&r->block, &proposer, json, error);
    json_decref(json);
    return rc;
}

static int get_block(struct run *r)
{
    char *path = mb_asprintf("/v1/blocks?from=%" PRIu64 "&limit=1", r->header.slot);
    unsigned status = 0;
    int rc = mb_http_get_lines(r->client, path, LINE_MAX, take_block, r, &status, r->error);
    if (rc == 0 && (status != 200 || r->block.header.len == 0))
        rc = mb_fail(r->error, MB_EREACH, "blocks.cut", "the snapshot's block does not come");
    if (rc == 0)
        rc = mb_block_check(&r->block, &r->header, &r->config, r->error);
    free(path);
    return rc;
}

/* --- What is made of it. --- */

static int append(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                  struct mb_buf *record, struct mb_error *error)
{
    int rc = mb_archive_append(a, kind, slot, mb_buf_bytes(record), error);
    mb_buf_reset(record);
    return rc;
}

/* An archive that begins with the snapshot's block, and what was before it. */
static int make_archive(struct run *r)
{
    char *dir = in_data(r->f, "/archive");
    struct mb_archive *a = NULL;
    struct mb_buf record = {0};
    uint64_t slot = r->header.slot;
    fetch_remove(dir);
    int rc = mb_archive_open(&a, dir, r->error);
    mb_base_encode(&r->f->base, &record);
    if (rc == 0)
        rc = append(a, MB_ARCHIVE_BASE, slot, &record, r->error);
    mb_block_encode(&r->block, &record);
    if (rc == 0)
        rc = append(a, MB_ARCHIVE_BLOCK, slot, &record, r->error);
    mb_checkpoint_encode(&r->snapshot.checkpoint, &record);
    if (rc == 0)
        rc = append(a, MB_ARCHIVE_CHECKPOINT, slot, &record, r->error);
    if (rc == 0)
        rc = mb_archive_sync(a, r->error);
    mb_archive_close(a);
    mb_buf_clear(&record);
    free(dir);
    return rc;
}

/* A chunk that was damaged on our own disk is fetched again. */
static int feed(struct run *r, struct mb_snapshot_reader *reader, size_t i)
{
    char *path = chunk_path(r->f, &r->snapshot.chunks[i]);
    struct mb_buf chunk = {0};
    int rc = mb_read_file(path, MB_CHUNK_BYTES, &chunk, r->error);
    struct mb_hash is = mb_sha256(chunk.data, chunk.len);
    if (rc == 0 && !mb_hash_equal(&is, &r->snapshot.chunks[i])) {
        unlink(path);
        rc = mb_fail(r->error, MB_EPROOF, "snapshot.chunk",
                     "chunk %zu was damaged here: it is fetched again", i + 1);
    }
    if (rc == 0)
        rc = mb_snapshot_feed(reader, mb_buf_bytes(&chunk), r->error);
    mb_buf_clear(&chunk);
    free(path);
    return rc;
}

static int make_store(struct run *r, const atomic_bool *stop)
{
    char *path = in_data(r->f, "/store.db");
    struct mb_store *store = NULL;
    struct mb_snapshot_reader *reader = NULL;
    static const char *const tails[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < 3; i++) {
        char *old = mb_asprintf("%s%s", path, tails[i]);
        unlink(old);
        free(old);
    }
    int rc = mb_store_open(&store, path, r->error);
    if (rc == 0)
        rc = mb_store_begin(store, r->error);
    if (rc == 0)
        reader = mb_snapshot_reader_new(mb_store_backend(store));
    for (size_t i = 0; i < r->snapshot.chunk_count && rc == 0; i++)
        rc = atomic_load(stop) ? mb_fail(r->error, MB_EREACH, "http.stopped", "broken off")
                               : feed(r, reader, i);
    if (rc == 0)
        rc = mb_snapshot_finish(reader, &r->snapshot, mb_buf_bytes(&r->f->base.genesis), r->error);
    if (rc == 0)
        rc = node_index_block(store, r->header.slot, &r->block, r->error);
    if (rc == 0)
        rc = mb_store_mark_checkpoint(store, r->header.slot, r->error);
    if (rc == 0)
        rc = mb_store_forget_deletions(store, r->header.slot, r->error);
    if (rc == 0)
        rc = mb_store_commit(store, r->error);
    mb_snapshot_reader_free(reader);
    mb_store_close(store);
    if (rc == 0)
        rc = mb_store_settle(path, r->error);
    free(path);
    return rc;
}

/* The index goes beside its chunks; the note that all is there comes last. */
static int make_ready(struct run *r)
{
    char *index = in_data(r->f, "/snapshot/index.json"), *ready = in_data(r->f, "/ready");
    char *text = mb_json_text(r->index), slot[24];
    mb_snprintf(slot, sizeof slot, "%" PRIu64, r->header.slot);
    int rc = mb_write_file(index, mb_bytes_of(text), 0600, r->error);
    if (rc == 0)
        rc = mb_write_file(ready, mb_bytes_of(slot), 0600, r->error);
    free(text);
    free(index);
    free(ready);
    return rc;
}

/* A snapshot that this replica has not (any more), or that is not what its checkpoint says, is
 * given up; its chunks stay, for the next has most of them too. */
static void give_up(const struct fetch *f)
{
    char *path = in_data(f, "/index.json");
    unlink(path);
    free(path);
}

static bool is_listed(const struct mb_snapshot *s, const char *name)
{
    struct mb_hash hash;
    bool found = false;
    if (mb_hash_from_hex(&hash, name) != 0)
        return false;
    for (size_t i = 0; i < s->chunk_count && !found; i++)
        found = mb_hash_equal(&hash, &s->chunks[i]);
    return found;
}

static void remove_unlisted(const struct run *r)
{
    char *folder = in_data(r->f, "/snapshot");
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && !is_listed(&r->snapshot, e->d_name))
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    free(folder);
}

static int run(struct run *r, uint64_t tip, const struct fetch_check *check,
               const atomic_bool *stop)
{
    char *folder = in_data(r->f, "/snapshot");
    int rc = mb_make_dir(folder, 0700, r->error);
    free(folder);
    if (rc == 0)
        rc = get_index(r);
    if (rc == 0 && r->header.slot <= tip) {
        give_up(r->f);
        return 0;
    }
    if (rc == 0)
        rc = check->agrees(check->arg, &r->header, r->error);
    if (rc == 0)
        rc = get_chunks(r, stop);
    if (rc == 0)
        rc = get_block(r);
    if (rc == 0)
        rc = make_archive(r);
    if (rc == 0)
        rc = make_store(r, stop);
    if (rc == 0) {
        remove_unlisted(r);
        rc = make_ready(r);
    }
    bool hopeless = rc == MB_ENOENT || rc == MB_EINVAL ||
                    (rc == MB_EPROOF && strcmp(r->error->code, "snapshot.chunk") != 0);
    if (hopeless)
        give_up(r->f);
    if (rc == 0)
        mb_log(MB_LOG_INFO, "fetch", "ready", "slot=%" PRIu64 " chunks=%zu fetched=%lu",
               r->header.slot, r->snapshot.chunk_count, atomic_load(&r->f->fetched));
    return rc == 0 ? 1 : rc;
}

int fetch_run(struct fetch *f, struct mb_http_client *client, uint64_t tip,
              const struct fetch_check *check, const atomic_bool *stop, struct mb_error *error)
{
    struct run r = {.f = f, .client = client, .error = error};
    int rc = run(&r, tip, check, stop);
    mb_snapshot_clear(&r.snapshot);
    mb_block_clear(&r.block);
    json_decref(r.index);
    return rc;
}

uint64_t fetch_slot(const struct fetch *f)
{
    return f->base.slot;
}

void fetch_report(struct fetch *f, struct mb_report *r)
{
    if (f == NULL)
        return;
    r->subsystem = "fetch";
    mb_report_counter(r, "chunks_total", "Chunks of snapshots fetched.", atomic_load(&f->fetched));
    mb_report_counter(r, "bytes_total", "Bytes of them.", atomic_load(&f->bytes));
    mb_report_counter(r, "refused_total", "Chunks that came with other bytes.",
                      atomic_load(&f->refused));
    mb_report_gauge(r, "chunks_here", "Chunks of the present snapshot that are here.",
                    (int64_t)atomic_load(&f->have));
    mb_report_gauge(r, "chunks_wanted", "Chunks that it has.", (int64_t)atomic_load(&f->want));
}
