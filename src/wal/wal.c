/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Appending. The loop's thread adds records to the pending batch; the writing thread takes it as
 * soon as the batch before it is durable (group commit), and posts the calls that are due. Where
 * nobody else waits and the disk is quick, the loop's thread writes it itself.
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "loop/fault.h"
#include "loop/log.h"
#include "wal/folder.h"
#include "wal/internal.h"

#define IDLE_MARK_MS 100
/* Two thread switches cost 60 us and more: so long the loop may as well wait for the disk. */
#define QUICK_US   250
#define KEEP_BYTES (1u << 20) /* of memory for a batch, between batches */

void wal_live_add(struct mb_wal *w, uint64_t sequence, uint64_t slot)
{
    pthread_mutex_lock(&w->lock);
    w->live = mb_realloc(w->live, (w->stats.segments + 1) * sizeof *w->live);
    w->live[w->stats.segments++] = (struct wal_live){.sequence = sequence, .slot = slot};
    pthread_mutex_unlock(&w->lock);
}

static void pending_reset(struct wal_pending *p)
{
    if (p->area.cap > KEEP_BYTES)
        wal_area_clear(&p->area);
    p->area.len = 0;
    wal_area_reserve(&p->area, WAL_BLOCK);
    p->area.len = WAL_BATCH_HEADER;
    p->body = p->count = 0;
    p->slot = 0;
    p->calls.count = 0;
}

static void calls_add(struct wal_calls *c, const struct wal_call *calls, size_t count)
{
    if (c->cap - c->count < count) {
        c->cap = 2 * (c->count + count);
        c->of = mb_realloc(c->of, c->cap * sizeof *c->of);
    }
    if (count > 0)
        memcpy(c->of + c->count, calls, count * sizeof *calls);
    c->count += count;
}

/* The oldest segment that is needed, if the next one is made now. The lock is held, or this thread
 * is the one that changes live. */
static uint64_t oldest_needed(const struct mb_wal *w)
{
    unsigned i = 0;
    while (i + 1 < w->stats.segments && w->live[i].slot <= w->released)
        i++;
    return w->live[i].sequence;
}

/* Write one batch; area begins with room for its header, and is padded here. */
static int put_batch(struct mb_wal *w, struct wal_area *area, struct wal_batch *b,
                     struct mb_error *error)
{
    uint64_t space = wal_batch_space((uint32_t)(area->len - WAL_BATCH_HEADER));
    size_t pad = (size_t)space - area->len;
    wal_area_reserve(area, pad);
    memset(area->data + area->len, 0, pad);
    b->salt = w->segment.salt;
    b->sequence = w->sequence;
    b->previous = w->previous;
    b->bytes = (uint32_t)(area->len - WAL_BATCH_HEADER);
    b->durable = w->durable_slot;
    if (b->slot < b->durable)
        b->slot = b->durable;
    wal_batch_write(area->data, b);
    int rc = wal_write_durable(w, w->fd, area->data, (size_t)space, w->offset, w->meanwhile,
                               w->meanwhile_arg, error);
    MB_FAULT("wal.durable");
    if (rc != 0)
        return rc;
    w->offset += space;
    w->sequence++;
    w->previous = b->crc;
    w->durable_slot = b->slot;
    memcpy(w->durable_stamp.bytes, b->stamp, WAL_STAMP);
    return 0;
}

/* The last batch is durable: so does the file tail say before anybody is told. */
static int tell_tail(struct mb_wal *w, struct mb_error *error)
{
    w->tail = (struct wal_tail){
        .sequence = w->sequence - 1, .segment = w->segment.sequence, .slot = w->durable_slot};
    memcpy(w->tail.stamp, w->durable_stamp.bytes, WAL_STAMP);
    return wal_tail_put(w, error);
}

static int put_mark(struct mb_wal *w, uint64_t next, struct mb_error *error)
{
    struct wal_area area = {0};
    wal_area_reserve(&area, WAL_BLOCK);
    area.len = WAL_BATCH_HEADER;
    struct wal_batch b = {.next = next};
    memcpy(b.stamp, w->durable_stamp.bytes, WAL_STAMP);
    int rc = put_batch(w, &area, &b, error);
    w->marked = rc == 0;
    wal_area_clear(&area);
    return rc;
}

/* The crc that the mark which ends this segment is going to have. */
static uint32_t crc_of_end(const struct mb_wal *w)
{
    uint8_t block[WAL_BATCH_HEADER];
    struct wal_batch b = {.salt = w->segment.salt,
                          .sequence = w->sequence,
                          .previous = w->previous,
                          .durable = w->durable_slot,
                          .slot = w->durable_slot,
                          .next = w->segment.sequence + 1};
    memcpy(b.stamp, w->durable_stamp.bytes, WAL_STAMP);
    wal_batch_write(block, &b);
    return b.crc;
}

/* Go on in a new segment with room for a batch of space bytes. It is made durable first, and only
 * then the old one says that it goes on there: nothing that can be missed is ever missing. */
static int next_segment(struct mb_wal *w, uint64_t space, struct mb_error *error)
{
    pthread_mutex_lock(&w->lock);
    struct wal_segment s = {.sequence = w->segment.sequence + 1,
                            .oldest = oldest_needed(w),
                            .first = w->sequence + 1,
                            .bytes = w->options.segment_bytes,
                            .slot = w->durable_slot};
    uint64_t damaged = w->damaged;
    pthread_mutex_unlock(&w->lock);
    memcpy(s.stamp, w->durable_stamp.bytes, WAL_STAMP);
    uint64_t least = space + 2 * WAL_BLOCK; /* its header, and its own end */
    if (s.bytes < least)
        s.bytes = least;
    s.previous = crc_of_end(w);
    int fd = wal_segment_make(w, &s, error);
    if (fd < 0)
        return fd;
    int rc = put_mark(w, s.sequence, error);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    close(w->fd);
    w->fd = fd;
    w->segment = s;
    w->offset = WAL_BLOCK;

    wal_live_add(w, s.sequence, 0);
    unsigned old = 0;
    for (; w->live[old].sequence < s.oldest; old++) /* this thread alone changes live */
        wal_segment_retire(w, w->live[old].sequence, w->live[old].sequence <= damaged);
    pthread_mutex_lock(&w->lock);
    if (s.oldest > damaged)
        w->damaged = 0;
    w->stats.segments -= old;
    memmove(w->live, w->live + old, w->stats.segments * sizeof *w->live);
    pthread_mutex_unlock(&w->lock);
    return 0;
}

/* The segments that are damaged are not needed any more: a new segment makes that known. The lock
 * is held. */
static bool may_forget(const struct mb_wal *w)
{
    return w->damaged != 0 && oldest_needed(w) > w->damaged;
}

/* Room for space bytes, and behind them for the mark that ends the segment. */
static int make_room(struct mb_wal *w, uint64_t space, struct mb_error *error)
{
    pthread_mutex_lock(&w->lock);
    bool enough = w->offset + space + WAL_BLOCK <= w->segment.bytes && !may_forget(w);
    pthread_mutex_unlock(&w->lock);
    return enough ? 0 : next_segment(w, space, error);
}

static int put_pending(struct mb_wal *w, struct wal_pending *p, struct mb_error *error)
{
    uint64_t space = wal_batch_space((uint32_t)(p->area.len - WAL_BATCH_HEADER));
    struct wal_batch b = {.body = p->body, .count = p->count, .slot = p->slot};
    memcpy(b.stamp, p->stamp.bytes, WAL_STAMP);
    int rc = make_room(w, space, error);
    if (rc == 0)
        rc = put_batch(w, &p->area, &b, error);
    w->marked = false;
    return rc == 0 ? tell_tail(w, error) : rc;
}

/* A batch that nothing follows could be taken for a torn one if it is damaged. */
static int put_idle_mark(struct mb_wal *w, struct mb_error *error)
{
    int rc = make_room(w, WAL_BLOCK, error);
    if (rc == 0 && !w->marked)
        rc = put_mark(w, 0, error);
    return rc == 0 ? wal_tail_settle(w, error) : rc;
}

static void on_posted(void *arg);

/* The lock is held. */
static void post(struct mb_wal *w)
{
    if (w->posted)
        return;
    w->posted = true;
    mb_loop_post(w->loop, on_posted, w);
}

/* The lock is held. */
static void fail(struct mb_wal *w, const struct mb_error *error)
{
    mb_log(MB_LOG_ERROR, "wal", "failed", "code=%s", error->code);
    w->failed = true;
    w->error = *error;
    post(w);
}

/* The lock is held. */
static void finish_batch(struct mb_wal *w, const struct wal_pending *p)
{
    w->stats.batches++;
    w->stats.records += p->count;
    w->stats.bytes += p->area.len;
    struct wal_live *now = &w->live[w->stats.segments - 1];
    if (p->slot > now->slot)
        now->slot = p->slot;
    calls_add(&w->due, p->calls.of, p->calls.count);
    if (p->calls.count > 0)
        post(w);
}

static bool has_work(const struct mb_wal *w)
{
    return w->pending.area.len > WAL_BATCH_HEADER || w->pending.calls.count > 0 || may_forget(w);
}

/* Wait for something to write, or until nothing has been written for IDLE_MARK_MS. The lock is
 * held. */
static void wait_some_time(struct mb_wal *w)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += IDLE_MARK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    for (int rc = 0; rc == 0 && !w->writing && !has_work(w) && !w->closing;)
        rc = w->marked ? pthread_cond_wait(&w->wake, &w->lock)
                       : pthread_cond_timedwait(&w->wake, &w->lock, &until);
}

/* Wait for something to write; false if it is time for a mark. The lock is held. */
static bool wait_for_work(struct mb_wal *w)
{
    uint64_t batches;
    do {
        batches = w->stats.batches;
        wait_some_time(w);
        while (w->writing)
            pthread_cond_wait(&w->free, &w->lock);
    } while (!has_work(w) && !w->closing && batches != w->stats.batches);
    return has_work(w);
}

/* Write the batch in *mine, which becomes an empty one, or without one a mark. The lock is held,
 * and is released meanwhile. */
static void write_one(struct mb_wal *w, struct wal_pending *mine)
{
    struct mb_error error;
    w->writing = true;
    pthread_mutex_unlock(&w->lock);
    int rc = mine ? put_pending(w, mine, &error) : put_idle_mark(w, &error);
    pthread_mutex_lock(&w->lock);
    w->writing = false;
    pthread_cond_signal(&w->free);
    if (rc != 0)
        fail(w, &error);
    else if (mine)
        finish_batch(w, mine);
    if (mine)
        pending_reset(mine);
}

/* The lock is held. */
static void write_pending(struct mb_wal *w)
{
    struct wal_pending taken = w->pending;
    taken.stamp = w->stamp;
    w->pending = w->spare;
    w->spare = (struct wal_pending){0};
    write_one(w, &taken);
    w->spare = taken;
}

static void *write_batches(void *arg)
{
    struct mb_wal *w = arg;
    pthread_mutex_lock(&w->lock);
    while (!w->failed) {
        if (wait_for_work(w))
            write_pending(w);
        else if (!w->marked)
            write_one(w, NULL);
        else
            break; /* closing */
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

static void call_due(struct mb_wal *w)
{
    while (w->next_call < w->calling.count) {
        struct wal_call c = w->calling.of[w->next_call++];
        if (c.durable != NULL)
            c.durable(c.arg); /* may close w, which then calls the rest */
    }
}

/* Call what is due; true if the log has failed behind that. */
static bool call_all(struct mb_wal *w)
{
    call_due(w);
    pthread_mutex_lock(&w->lock);
    struct wal_calls empty = w->calling;
    w->calling = w->due;
    w->next_call = 0;
    empty.count = 0;
    w->due = empty;
    bool failed = w->failed;
    pthread_mutex_unlock(&w->lock);
    call_due(w);
    return failed;
}

static void close_files(const struct mb_wal *w)
{
    if (w->fd >= 0)
        close(w->fd);
    if (w->tail_fd >= 0)
        close(w->tail_fd);
    if (w->dir_fd >= 0)
        close(w->dir_fd);
}

static void release(struct mb_wal *w)
{
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->wake);
    pthread_cond_destroy(&w->free);
    wal_area_clear(&w->pending.area);
    wal_area_clear(&w->spare.area);
    free(w->pending.calls.of);
    free(w->spare.calls.of);
    free(w->calling.of);
    free(w->due.of);
    free(w->live);
    free(w->dir);
    free(w);
}

static void on_posted(void *arg)
{
    struct mb_wal *w = arg;
    pthread_mutex_lock(&w->lock);
    w->posted = false;
    pthread_mutex_unlock(&w->lock);
    w->in_callback = true;
    bool failed = !w->closed && call_all(w);
    if (failed && !w->closed && !w->told_failure) {
        w->told_failure = true;
        if (w->options.failed != NULL)
            w->options.failed(w->options.arg, &w->error);
    }
    w->in_callback = false;
    if (w->closed && !w->posted)
        release(w);
}

static void init_locks(struct mb_wal *w)
{
    pthread_condattr_t monotonic;
    if (pthread_condattr_init(&monotonic) != 0 ||
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) != 0 ||
        pthread_cond_init(&w->wake, &monotonic) != 0 || pthread_cond_init(&w->free, NULL) != 0 ||
        pthread_mutex_init(&w->lock, NULL) != 0)
        abort();
    pthread_condattr_destroy(&monotonic);
}

static int start_thread(struct mb_wal *w, struct mb_error *error)
{
    int err = mb_thread_start(&w->thread, write_batches, w);
    if (err == 0)
        return 0;
    return mb_fail(error, MB_EIO, "wal.io", "no thread for the log: %s", strerror(err));
}

static struct mb_wal *wal_new(struct mb_loop *loop, const char *dir,
                              const struct mb_wal_options *options)
{
    struct mb_wal *w = mb_calloc(1, sizeof *w);
    w->loop = loop;
    w->dir = mb_strdup(dir);
    w->options = *options;
    if (w->options.segment_bytes == 0)
        w->options.segment_bytes = WAL_SEGMENT_DEFAULT;
    w->options.segment_bytes = (w->options.segment_bytes + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
    w->fd = w->dir_fd = w->tail_fd = -1;
    init_locks(w);
    pending_reset(&w->pending);
    pending_reset(&w->spare);
    return w;
}

int mb_wal_create(const char *dir, size_t segment_bytes, struct mb_error *error)
{
    struct mb_wal_options options = {.segment_bytes = segment_bytes};
    struct mb_wal *w = wal_new(NULL, dir, &options);
    w->dir_fd = wal_folder_open(dir, "wal", error);
    int rc = w->dir_fd < 0 ? w->dir_fd : wal_begin(w, error);
    close_files(w);
    release(w);
    return rc;
}

static int lost(const char *dir, struct mb_error *error)
{
    return mb_fail(
        error, MB_ENOENT, "wal.lost",
        "the log in %s is missing: what this replica promised and accepted is not known, "
        "so it must never vote again under its key. Put the folder back from a copy of "
        "the disk, as new as the rest. Without one: remove this replica from the "
        "organisation, and let it join as a new one, with a new key; if it was the only "
        "one, commands that it acknowledged may be gone: found the organisation anew",
        dir);
}

int mb_wal_open(struct mb_wal **out, struct mb_loop *loop, const char *dir,
                const struct mb_wal_options *options, struct mb_error *error)
{
    if (access(dir, F_OK) != 0 && errno == ENOENT)
        return lost(dir, error);
    struct mb_wal *w = wal_new(loop, dir, options);
    w->dir_fd = wal_folder_open(dir, "wal", error);
    int rc = w->dir_fd < 0 ? w->dir_fd : wal_recover(w, error);
    if (rc == 1)
        rc = lost(dir, error);
    if (rc == 0)
        rc = start_thread(w, error);
    if (rc != 0) {
        close_files(w);
        release(w);
        return rc;
    }
    *out = w;
    return 0;
}

const struct mb_wal_damage *mb_wal_damage(const struct mb_wal *w)
{
    return &w->damage;
}

static void add_record(struct wal_pending *p, const struct mb_wal_record *r)
{
    if (r->payload.len > MB_WAL_RECORD_MAX)
        abort(); /* the caller's mistake: values are bounded long before */
    struct wal_area *a = &p->area;
    wal_area_reserve(a, WAL_RECORD_HEADER + r->payload.len);
    uint32_t crc = wal_record_write(a->data + a->len, r->kind, r->slot, r->payload);
    a->len += WAL_RECORD_HEADER;
    if (r->payload.len > 0)
        memcpy(a->data + a->len, r->payload.data, r->payload.len);
    a->len += r->payload.len;
    p->body = wal_body_add(p->body, crc);
    p->count++;
    if (r->slot > p->slot)
        p->slot = r->slot;
}

/* What is pending needs no new segment, which takes long to make. */
static bool fits(const struct mb_wal *w)
{
    uint32_t bytes = (uint32_t)(w->pending.area.len - WAL_BATCH_HEADER);
    return w->offset + wal_batch_space(bytes) + WAL_BLOCK <= w->segment.bytes && !may_forget(w);
}

struct mb_wal_stamp mb_wal_newest_stamp(const struct mb_wal *w)
{
    return w->stamp; /* the loop's thread alone changes it */
}

void mb_wal_wait(void *arg)
{
    (void)arg;
}

void mb_wal_append(struct mb_wal *w, const struct mb_wal_stamp *stamp,
                   const struct mb_wal_record *records, size_t count, void (*meanwhile)(void *arg),
                   void (*durable)(void *arg), void *arg)
{
    struct wal_call call = {.durable = durable, .arg = arg};
    bool wake = true, written = false;
    pthread_mutex_lock(&w->lock);
    if (!w->failed) {
        for (size_t i = 0; i < count; i++)
            add_record(&w->pending, &records[i]);
        if (stamp != NULL)
            w->stamp = *stamp;
        calls_add(&w->pending.calls, &call, 1);
        /* From within a callback they would nest without end. */
        if (meanwhile != NULL && !w->in_callback && !w->writing && w->sync_us <= QUICK_US &&
            fits(w)) {
            wake = w->marked; /* it will be time for a mark */
            w->meanwhile = meanwhile == mb_wal_wait ? NULL : meanwhile;
            w->meanwhile_arg = arg;
            write_pending(w);
            w->meanwhile = NULL;
            written = !w->failed;
        }
    }
    pthread_mutex_unlock(&w->lock);
    if (wake)
        pthread_cond_signal(&w->wake); /* the thread that wakes up needs the lock */
    if (written) {
        w->in_callback = true;
        (void)call_all(w);
        w->in_callback = false;
        if (w->closed && !w->posted)
            release(w);
    }
}

void mb_wal_release(struct mb_wal *w, uint64_t slot)
{
    pthread_mutex_lock(&w->lock);
    if (slot > w->released)
        w->released = slot;
    bool wake = may_forget(w);
    pthread_mutex_unlock(&w->lock);
    if (wake)
        pthread_cond_signal(&w->wake);
}

void mb_wal_close(struct mb_wal *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    wal_aio_end(w);
    close_files(w);
    call_all(w);
    w->closed = true;
    if (!w->posted && !w->in_callback) /* else on_posted does it */
        release(w);
}

struct mb_wal_stats mb_wal_stats(const struct mb_wal *w)
{
    struct mb_wal *m = (struct mb_wal *)w; /* to take the lock */
    pthread_mutex_lock(&m->lock);
    struct mb_wal_stats s = m->stats;
    pthread_mutex_unlock(&m->lock);
    return s;
}
