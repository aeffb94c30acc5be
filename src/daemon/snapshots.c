/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Snapshots, made by a worker from a frozen view of the store, so that no commit waits for one.
 * DATA/snapshot holds the chunks by name, index.json last: a snapshot is there whole or not at all.
 * Its slot's checkpoint may get its majority only after it was written: till then it is not shown.
 * The chunks of the one before stay until the next, for those who are downloading it.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/node.h"

#define INDEX_MAX (4u << 20)

struct making {
    struct snapshots *snapshots;
    struct mb_store_reader *reader;
    struct mb_snapshot snapshot;
    uint64_t slot;
    char *data;
    struct mb_error error;
    int rc;
};
struct snapshots {
    struct node *node;
    struct making *making; /* being written, or signed */
    bool writing;
    uint64_t newest_slot;
};

char *snapshots_chunk_path(const char *data, const char *hex)
{
    return mb_asprintf("%s/snapshot/%s", data, hex);
}

static char *index_path(const char *data, const char *name)
{
    return mb_asprintf("%s/snapshot/%s.json", data, name);
}

static int load_index(const char *data, const char *name, json_t **index, struct mb_error *error)
{
    char *path = index_path(data, name);
    struct mb_buf text = {0};
    int rc = 0;
    *index = NULL;
    if (access(path, F_OK) == 0) {
        rc = mb_read_file(path, INDEX_MAX, &text, error);
        if (rc == 0)
            rc = mb_json_parse(index, text.data, text.len, error);
        rc = rc == 0 ? 1 : rc;
    }
    mb_buf_clear(&text);
    free(path);
    return rc;
}

int snapshots_load(const char *data, json_t **index, struct mb_error *error)
{
    return load_index(data, "index", index, error);
}

struct snapshots *snapshots_new(struct node *n)
{
    struct snapshots *s = mb_calloc(1, sizeof *s);
    struct mb_error error;
    json_t *index;
    s->node = n;
    if (snapshots_load(n->data, &index, &error) == 1) {
        s->newest_slot = (uint64_t)mb_json_get_int(index, "slot", 0);
        json_decref(index);
    }
    return s;
}

static int emit(void *arg, struct mb_bytes chunk, const struct mb_hash *name)
{
    struct making *m = arg;
    struct mb_snapshot *s = &m->snapshot;
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(name, hex);
    char *path = snapshots_chunk_path(m->data, hex);
    int rc = access(path, F_OK) == 0 ? 0 : mb_write_file(path, chunk, 0600, &m->error);
    s->chunks = mb_realloc(s->chunks, (s->chunk_count + 1) * sizeof *s->chunks);
    s->chunks[s->chunk_count++] = *name;
    free(path);
    return rc;
}

/* The peaks over the first size headers, from the history's complete subtrees. */
static int read_frontier(struct mb_backend b, uint64_t size, struct mb_frontier *f)
{
    uint64_t done = 0;
    *f = (struct mb_frontier){.size = size};
    for (unsigned level = 64; level-- > 0;) {
        if ((size >> level & 1) == 0)
            continue;
        int rc = b.ops->history_get(b.self, level, done >> level, &f->peaks[f->count++]);
        if (rc != 0)
            return rc;
        done += (uint64_t)1 << level;
    }
    return 0;
}

static bool is_listed(const json_t *index, const char *hex)
{
    return mb_json_has_text(json_object_get(index, "chunks"), hex);
}

static void remove_unlisted(const char *data, const json_t *a, const json_t *b)
{
    char *folder = mb_asprintf("%s/snapshot", data);
    DIR *dir = opendir(folder);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;)
        if (mb_is_hex(e->d_name, 64) && !is_listed(a, e->d_name) && !is_listed(b, e->d_name))
            unlinkat(dirfd(dir), e->d_name, 0);
    if (dir != NULL)
        closedir(dir);
    free(folder);
}

static int write_index(struct making *m, json_t *index)
{
    char *path = index_path(m->data, "index"), *before = index_path(m->data, "before");
    char *text = mb_json_text(index);
    int rc = 0;
    if (rename(path, before) != 0 && errno != ENOENT)
        rc = mb_fail(&m->error, MB_EIO, "file.unreadable", "%s: %s", before, strerror(errno));
    if (rc == 0)
        rc = mb_write_file(path, mb_bytes_of(text), 0600, &m->error);
    free(text);
    free(path);
    free(before);
    return rc;
}

static void write_chunks(void *arg)
{
    struct making *m = arg;
    struct mb_backend backend = mb_store_reader_backend(m->reader);
    char *folder = mb_asprintf("%s/snapshot", m->data);
    m->rc = mb_make_dir(folder, 0700, &m->error);
    if (m->rc == 0)
        m->rc = read_frontier(backend, m->slot, &m->snapshot.frontier);
    if (m->rc == 0)
        m->rc = mb_snapshot_write(backend, emit, m, &m->error);
    mb_store_reader_close(m->reader);
    m->reader = NULL;
    free(folder);
}

static void publish(void *arg)
{
    struct making *m = arg;
    json_t *index = mb_snapshot_to_json(&m->snapshot), *before = NULL;
    m->rc = write_index(m, index);
    if (m->rc == 0 && load_index(m->data, "before", &before, NULL) >= 0)
        remove_unlisted(m->data, index, before);
    json_decref(index);
    json_decref(before);
}

static void making_free(struct making *m)
{
    if (m == NULL)
        return;
    mb_store_reader_close(m->reader);
    mb_snapshot_clear(&m->snapshot);
    free(m->data);
    free(m);
}

static void end(struct making *m)
{
    struct snapshots *s = m->snapshots;
    mb_log(m->rc == 0 ? MB_LOG_INFO : MB_LOG_WARN, "snapshot", m->rc == 0 ? "made" : "failed",
           "slot=%" PRIu64 " chunks=%zu code=%s", m->slot, m->snapshot.chunk_count,
           m->rc == 0 ? "" : m->error.code);
    s->making = NULL;
    s->writing = false;
    making_free(m);
}

static void published(void *arg)
{
    end(arg);
}

/* Its checkpoint has a majority: 1, 0 or an error. */
static int is_signed(struct making *m)
{
    struct node *n = m->snapshots->node;
    struct mb_buf record = {0};
    int rc = mb_archive_read(n->archive, MB_ARCHIVE_CHECKPOINT, m->slot, &record, &m->error);
    if (rc == 1) {
        mb_checkpoint_clear(&m->snapshot.checkpoint);
        rc = mb_checkpoint_decode(&m->snapshot.checkpoint, mb_buf_bytes(&record), &m->error);
        rc = rc == 0 ? 1 : rc;
    }
    mb_buf_clear(&record);
    return rc;
}

void snapshots_signed(struct snapshots *s)
{
    struct making *m = s->making;
    if (m == NULL || s->writing || s->node->stopping)
        return;
    int rc = is_signed(m);
    if (rc == 0)
        return;
    s->writing = true;
    m->rc = rc < 0 ? rc : 0;
    if (rc == 1)
        mb_work(s->node->loop, publish, published, m);
    else
        end(m);
}

static void written(void *arg)
{
    struct making *m = arg;
    if (m->rc != 0) {
        end(m);
        return;
    }
    m->snapshots->writing = false;
    snapshots_signed(m->snapshots);
}

void snapshots_free(struct snapshots *s)
{
    if (s != NULL)
        making_free(s->making);
    free(s);
}

/* Replicas make theirs at the same slots, so that a transfer can go on with any of them. */
static bool is_due(const struct snapshots *s, uint64_t slot)
{
    uint64_t every = (uint64_t)mb_config_int(s->node->config, "daemon", "snapshot_blocks");
    return slot / every > s->newest_slot / every;
}

void snapshots_consider(struct snapshots *s)
{
    struct node *n = s->node;
    uint64_t slot = mb_ledger_tip(n->ledger)->header.slot;
    struct mb_error error = {0};
    snapshots_signed(s);
    if (s->writing || n->stopping || !is_due(s, slot))
        return;
    struct making *m = mb_calloc(1, sizeof *m);
    *m = (struct making){.snapshots = s, .slot = slot, .data = mb_strdup(n->data)};
    /* A daemon that only follows gets no signatures later than the block. */
    if (n->number == 0 && is_signed(m) != 1) {
        making_free(m);
        return;
    }
    char *store = node_path(n, "store.db");
    making_free(s->making); /* it never got its majority */
    s->making = NULL;
    s->newest_slot = slot;
    if (node_commit(n, &error) == 0 && mb_store_reader_open(&m->reader, store, &error) == 0) {
        s->making = m;
        s->writing = true;
        mb_work(n->loop, write_chunks, written, m);
    } else {
        mb_log(MB_LOG_WARN, "snapshot", "failed", "slot=%" PRIu64 " code=%s", slot, error.code);
        making_free(m);
    }
    free(store);
}
