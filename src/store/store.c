/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#include "loop/fault.h"
#include "loop/loop.h"
#include "store/internal.h"

/* The caches were chosen by tests/bench/bench_state. */
#define WRITER_KIB    8192
#define READER_KIB    4096
#define FULL_BYTES    1048576
#define OPEN_BYTES    4194304 /* then a transaction is written in parts */
#define SEALED_BYTES  8388608 /* then who writes waits for the thread */
#define WAL_PAGES_MAX 8192    /* 32 MiB: then they are moved into the file, if nobody settled */

struct mb_connection *mb_store_reads(struct mb_store *s)
{
    return s->through ? &s->writer : &s->reader;
}

static int passed_on(const struct mb_error *from, struct mb_error *error)
{
    if (error)
        *error = *from;
    return strcmp(from->code, "store.corrupt") == 0 ? MB_ECORRUPT : MB_EIO;
}

static void add_layer(struct mb_store *s)
{
    s->layers[s->count++] = mb_layer_new();
}

/* --- The thread. --- */

static int write_layers(struct mb_store *s, struct mb_layer *const *layers, size_t count)
{
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++)
        rc = mb_layer_write(&s->writer, &s->marks, layers[i]);
    return rc;
}

static int begin_writing(struct mb_store *s)
{
    s->writer.error = (struct mb_error){0};
    int rc = mb_connection_end(&s->writer);
    return rc ? rc : mb_store_step(&s->writer, SQL_BEGIN, "");
}

static int commit_writing(struct mb_store *s)
{
    int rc = mb_store_step(&s->writer, SQL_COMMIT, "");
    if (rc)
        return rc;
    MB_FAULT("store.committed");
    /* What is committed stays so if this fails; the next commit tries again. */
    if (s->writer.wal_pages > WAL_PAGES_MAX)
        (void)sqlite3_wal_checkpoint_v2(s->writer.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return 0;
}

static void *write_behind(void *arg)
{
    struct mb_store *s = arg;
    struct mb_layer *layers[LAYERS_MAX];
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (s->written == s->handed && !s->quit)
            pthread_cond_wait(&s->changed, &s->lock);
        if (s->written == s->handed || s->failed.code[0])
            break;
        size_t from = (size_t)(s->written - s->first), count = (size_t)(s->handed - s->written);
        memcpy(layers, s->layers + from, count * sizeof *layers);
        pthread_mutex_unlock(&s->lock);
        int rc = begin_writing(s);
        rc = rc ? rc : write_layers(s, layers, count);
        rc = rc ? rc : commit_writing(s);
        if (rc)
            (void)mb_connection_end(&s->writer);
        pthread_mutex_lock(&s->lock);
        if (rc)
            s->failed = s->writer.error;
        else
            s->written += count;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int start_thread(struct mb_store *s)
{
    int err = s->started ? 0 : mb_thread_start(&s->thread, write_behind, s);
    if (err)
        return mb_fail(&s->failed, MB_EIO, "store.io", "no thread for %s: %s", s->path,
                       strerror(err));
    s->started = true;
    return 0;
}

/* Until the layers before `upto` are written, or cannot be. The lock is held. */
static int wait_for(struct mb_store *s, uint64_t upto, struct mb_error *error)
{
    while (s->written < upto && !s->failed.code[0])
        pthread_cond_wait(&s->changed, &s->lock);
    return s->failed.code[0] ? passed_on(&s->failed, error) : 0;
}

int mb_store_wait(struct mb_store *s, struct mb_error *error)
{
    pthread_mutex_lock(&s->lock);
    int rc = wait_for(s, s->handed, error);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* Forget the oldest layers, which are in the file: who reads sees them there from now on. */
static void drop_layers(struct mb_store *s, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        mb_cache_written(s->cache, s->layers[i]);
        mb_layer_free(s->layers[i]);
    }
    s->count -= count;
    memmove(s->layers, s->layers + count, s->count * sizeof *s->layers);
    s->first += count;
}

static size_t bytes_of(const struct mb_store *s, size_t from, size_t to)
{
    size_t bytes = 0;
    for (size_t i = from; i < to; i++)
        bytes += s->layers[i]->bytes;
    return bytes;
}

/* What the thread has written is read from the file from now on. With `wait`, or if much is not
 * written: wait until it has written all that it was handed. */
static int collect(struct mb_store *s, bool wait, struct mb_error *error)
{
    pthread_mutex_lock(&s->lock);
    wait |= bytes_of(s, (size_t)(s->written - s->first), s->count - 1) > SEALED_BYTES;
    int rc = wait_for(s, wait ? s->handed : 0, error);
    size_t count = (size_t)(s->written - s->first);
    if (count > 0 && !s->through)
        (void)mb_connection_end(&s->reader);
    drop_layers(s, count);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* The thread gets all but the open layer. */
static int hand_over(struct mb_store *s, struct mb_error *error)
{
    int rc = start_thread(s);
    if (rc)
        return passed_on(&s->failed, error);
    pthread_mutex_lock(&s->lock);
    s->handed = s->first + s->count - 1;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return collect(s, false, error);
}

/* Write all but the open layer in the caller's transaction; the thread has nothing to do. */
static int write_sealed(struct mb_store *s)
{
    int rc = write_layers(s, s->layers, s->count - 1);
    if (rc)
        return rc;
    pthread_mutex_lock(&s->lock);
    drop_layers(s, s->count - 1);
    s->handed = s->written = s->first;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int make_room(struct mb_store *s, struct mb_error *error)
{
    int rc = s->through ? write_sealed(s) : hand_over(s, error);
    if (s->through && rc)
        return passed_on(&s->writer.error, error);
    return rc == 0 && s->count == LAYERS_MAX ? collect(s, true, error) : rc;
}

/* A new open layer; the one before does not change any more. */
static int seal(struct mb_store *s, struct mb_error *error)
{
    int rc = s->count < LAYERS_MAX ? 0 : make_room(s, error);
    if (rc)
        return rc;
    mb_cache_seal(s->cache, mb_store_open_layer(s));
    add_layer(s);
    return 0;
}

/* --- Transactions. --- */

int mb_store_flush(struct mb_store *s)
{
    int rc = collect(s, true, &s->reader.error);
    if (rc || !s->writing)
        return rc;
    if (!s->through && (rc = begin_writing(s)) != 0)
        return rc;
    s->through = true;
    if (s->writer.error.code[0]) /* of a flush before */
        return MB_EIO;
    if (!mb_layer_empty(mb_store_open_layer(s)))
        rc = seal(s, &s->reader.error);
    return rc ? rc : write_sealed(s);
}

static bool has_mark(const struct mb_store *s, int64_t slot)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->layers[i]->mark == slot)
            return true;
    return false;
}

int mb_store_show_mark(struct mb_store *s, int64_t slot, struct mb_error *error)
{
    int rc = has_mark(s, slot) ? collect(s, true, error) : 0;
    if (rc == 0 && has_mark(s, slot) && (rc = mb_store_flush(s)) != 0)
        rc = passed_on(&s->writer.error, error);
    return rc;
}

int mb_store_wrote(struct mb_store *s)
{
    return mb_store_open_layer(s)->bytes > OPEN_BYTES ? mb_store_flush(s) : 0;
}

int mb_store_begin(struct mb_store *s, struct mb_error *error)
{
    s->reader.error = (struct mb_error){0};
    pthread_mutex_lock(&s->lock);
    int rc = wait_for(s, 0, error);
    pthread_mutex_unlock(&s->lock);
    s->writing = rc == 0;
    return rc;
}

int mb_store_commit(struct mb_store *s, struct mb_error *error)
{
    /* Something failed since begin, and what is written may be half of it. */
    int rc = s->reader.error.code[0] ? MB_EIO : mb_store_flush(s);
    rc = rc ? rc : commit_writing(s);
    if (rc)
        return passed_on(s->reader.error.code[0] ? &s->reader.error : &s->writer.error, error);
    s->writing = s->through = false;
    return mb_connection_end(&s->reader);
}

int mb_store_commit_later(struct mb_store *s, struct mb_error *error)
{
    if (s->through || s->reader.error.code[0])
        return mb_store_commit(s, error);
    s->writing = false;
    int rc = mb_layer_empty(mb_store_open_layer(s)) ? 0 : seal(s, error);
    return rc ? rc : hand_over(s, error);
}

bool mb_store_block_done(struct mb_store *s)
{
    if (!s->through)
        (void)mb_connection_end(&s->reader);
    return mb_store_open_layer(s)->bytes > FULL_BYTES;
}

/* What the marks will be once all is written. */
static void take_marks(struct mb_store *s)
{
    s->newest = s->marks.newest;
    s->previous = s->marks.previous;
    s->forgotten = s->marks.forgotten;
}

static void forget_layers(struct mb_store *s)
{
    for (size_t i = 0; i < s->count; i++)
        mb_layer_free(s->layers[i]);
    s->count = 0;
    mb_cache_drop(s->cache);
    add_layer(s);
    s->handed = s->written = s->first;
}

void mb_store_rollback(struct mb_store *s)
{
    (void)collect(s, true, NULL);
    pthread_mutex_lock(&s->lock);
    forget_layers(s);
    pthread_mutex_unlock(&s->lock);
    (void)mb_connection_end(&s->writer);
    (void)mb_connection_end(&s->reader);
    s->writing = s->through = false;
    s->reader.error = s->writer.error = (struct mb_error){0};
    (void)mb_connection_marks(&s->writer, &s->marks);
    (void)mb_connection_end(&s->writer);
    take_marks(s);
}

int mb_store_wipe(struct mb_store *s, struct mb_error *error)
{
    int rc = mb_store_flush(s);
    for (const char *const *table = mb_store_tables; *table && rc == 0; table++) {
        char *sql = mb_asprintf("DELETE FROM %s", *table);
        int said = sqlite3_exec(s->writer.db, sql, NULL, NULL, NULL);
        rc = said == SQLITE_OK ? 0 : mb_store_fail(&s->writer, said);
        free(sql);
    }
    if (rc)
        return passed_on(s->writer.error.code[0] ? &s->writer.error : &s->reader.error, error);
    mb_cache_drop(s->cache);
    s->marks =
        (struct mb_marks){.newest = -1, .previous = -1, .forgotten = -1, .cut = 1, .next = 1};
    take_marks(s);
    return 0;
}

int mb_store_mark_checkpoint(struct mb_store *s, uint64_t slot, struct mb_error *error)
{
    if ((int64_t)slot == s->newest)
        return 0;
    if ((int64_t)slot < s->newest)
        return mb_fail(error, MB_EINVAL, "store.order", "checkpoint %lld comes after %llu",
                       (long long)s->newest, (unsigned long long)slot);
    mb_store_open_layer(s)->mark = (int64_t)slot;
    int rc = seal(s, error); /* as of now, not of the checkpoint to come */
    if (rc)
        return rc;
    s->previous = s->newest;
    s->newest = (int64_t)slot;
    return 0;
}

int mb_store_forget_deletions(struct mb_store *s, uint64_t slot, struct mb_error *error)
{
    (void)error;
    if ((int64_t)slot > s->forgotten)
        s->forgotten = mb_store_open_layer(s)->forget = (int64_t)slot;
    return 0;
}

uint64_t mb_store_forgotten(struct mb_store *s)
{
    return s->forgotten < 0 ? 0 : (uint64_t)s->forgotten;
}

/* --- Opening and closing. --- */

int mb_store_open(struct mb_store **out, const char *path, struct mb_error *error)
{
    struct mb_store *s = mb_calloc(1, sizeof *s);
    s->path = mb_strdup(path);
    s->cache = mb_cache_new();
    add_layer(s);
    if (pthread_mutex_init(&s->lock, NULL) != 0 || pthread_cond_init(&s->changed, NULL) != 0)
        abort();
    struct mb_connection *c = &s->writer;
    int rc = mb_connection_open(c, s->path, WRITER_KIB), err = 0;
    if (rc == SQLITE_OK)
        err = mb_connection_marks(c, &s->marks);
    if (rc == SQLITE_OK && err == 0) {
        (void)mb_connection_end(c);
        c = &s->reader;
        rc = mb_connection_open(c, s->path, READER_KIB);
    }
    if (rc != SQLITE_OK)
        err = mb_store_fail(c, rc);
    if (err) {
        passed_on(&c->error, error);
        mb_store_close(s);
        return err;
    }
    take_marks(s);
    *out = s;
    return 0;
}

void mb_store_close(struct mb_store *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->quit = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->started)
        pthread_join(s->thread, NULL);
    for (size_t i = 0; i < s->count; i++)
        mb_layer_free(s->layers[i]);
    mb_cache_free(s->cache);
    mb_connection_close(&s->writer);
    mb_connection_close(&s->reader);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s->path);
    free(s);
}

int mb_store_settle(const char *path, struct mb_error *error)
{
    struct mb_connection c = {.path = path};
    int rc = sqlite3_open_v2(path, &c.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(c.db, MB_STORE_BUSY_MS);
        rc = sqlite3_wal_checkpoint_v2(c.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    /* Busy: somebody else is moving it at this moment. */
    rc = rc == SQLITE_BUSY ? SQLITE_OK : rc;
    int err = rc == SQLITE_OK ? 0 : mb_store_fail(&c, rc);
    if (err)
        passed_on(&c.error, error);
    sqlite3_close(c.db);
    return err;
}

/* A reader is a store of its own, which has begun to read when it is open, and must not write. */
struct mb_store_reader {
    struct mb_store *store;
};

int mb_store_reader_open(struct mb_store_reader **out, const char *path, struct mb_error *error)
{
    struct mb_store *s;
    int rc = mb_store_open(&s, path, error);
    if (rc)
        return rc;
    s->through = true;
    int said = sqlite3_exec(s->writer.db, "PRAGMA query_only = ON", NULL, NULL, NULL);
    rc = said == SQLITE_OK ? mb_connection_marks(&s->writer, &s->marks)
                           : mb_store_fail(&s->writer, said);
    if (rc) {
        passed_on(&s->writer.error, error);
        mb_store_close(s);
        return rc;
    }
    *out = mb_calloc(1, sizeof **out);
    (*out)->store = s;
    return 0;
}

struct mb_backend mb_store_reader_backend(struct mb_store_reader *r)
{
    return mb_store_backend(r->store);
}

void mb_store_reader_close(struct mb_store_reader *r)
{
    if (!r)
        return;
    mb_store_close(r->store);
    free(r);
}
