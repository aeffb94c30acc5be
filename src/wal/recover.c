/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What opening the log does. The newest segment's header names the oldest one that is needed; from
 * there each must be there, whole, and go on where the one before it ended. Only the last may end
 * without saying so, and not before the batch that the file tail names. Anything else is damage:
 * then opening is refused, or what is whole is replayed, and batches go on in a new segment.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/log.h"
#include "wal/internal.h"

/* Sequences that are left out where damage was found: batches of what could not be read have some.
 */
#define GAP (1u << 20)

struct names {
    uint64_t *of;
    size_t count;
};

/* One segment in memory. */
struct loaded {
    int fd;
    struct wal_area bytes;
    struct wal_segment header;
    bool header_ok;
    bool unreadable; /* in part */
};

static int io_failed(const struct mb_wal *w, struct mb_error *error)
{
    return mb_fail(error, MB_EIO, "wal.io", "the log in %s cannot be read: %s", w->dir,
                   strerror(errno));
}

/* What is known while the segments are walked. */
struct walk {
    struct mb_wal *w;
    struct names names;
    struct wal_tail tail;
    uint64_t oldest, newest;
    uint64_t damaged; /* the last segment that is */
    struct wal_scan scan;
    bool anchored; /* scan says how the next segment has to begin */
    /* The last segment whose batches were read: how they ended. */
    struct wal_segment last;
    enum wal_end end;
};

/* Note damage; an error unless it is tolerated. */
static int damaged(struct walk *k, uint64_t sequence, uint64_t offset, uint64_t slot,
                   const char *what, struct mb_error *error)
{
    struct mb_wal *w = k->w;
    struct mb_error e;
    char name[WAL_NAME_SIZE];
    wal_name(name, sequence);
    mb_log(w->options.tolerate ? MB_LOG_WARN : MB_LOG_ERROR, "wal", "damaged",
           "file=%s offset=%llu after_slot=%llu", name, (unsigned long long)offset,
           (unsigned long long)slot);
    if (sequence > k->damaged)
        k->damaged = sequence;
    mb_fail(&e, MB_ECORRUPT, "wal.corrupt", "%s/%s, offset %llu, after slot %llu: %s", w->dir, name,
            (unsigned long long)offset, (unsigned long long)slot, what);
    if (!w->damage.found)
        memcpy(w->damage.text, e.text, sizeof e.text);
    w->damage.found = true;
    if (w->options.tolerate)
        return 0;
    return mb_fail(error, MB_ECORRUPT, "wal.corrupt",
                   "%s. Nothing was changed. Put the file back from a copy of the disk, as new as "
                   "the rest of the folder; without one this replica must not vote again under its "
                   "key",
                   w->damage.text);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void add_name(struct names *n, const char *name)
{
    char expected[WAL_NAME_SIZE];
    if (strncmp(name, "log-", 4) != 0)
        return;
    uint64_t sequence = strtoull(name + 4, NULL, 10);
    wal_name(expected, sequence);
    if (strcmp(name, expected) != 0)
        return;
    n->of = mb_realloc(n->of, (n->count + 1) * sizeof *n->of);
    n->of[n->count++] = sequence;
}

static int list(struct mb_wal *w, struct names *n, struct mb_error *error)
{
    int fd = openat(w->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL) {
        int rc = io_failed(w, error);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        add_name(n, e->d_name);
    closedir(d);
    if (n->count > 0)
        qsort(n->of, n->count, sizeof *n->of, compare);
    return 0;
}

static void unload(struct loaded *l)
{
    if (l->fd >= 0)
        close(l->fd);
    wal_area_clear(&l->bytes);
    l->fd = -1;
}

/* Read as much as can be read from where l->bytes ends, at most to want. A bad place on the disk is
 * zeros where damage is tolerated. */
static bool read_some(const struct mb_wal *w, struct loaded *l, size_t want, bool *end)
{
    uint8_t *to = l->bytes.data + l->bytes.len;
    ssize_t n = pread(l->fd, to, want - l->bytes.len, (off_t)l->bytes.len);
    if (n < 0 && errno == EIO && w->options.tolerate) {
        n = pread(l->fd, to, WAL_BLOCK, (off_t)l->bytes.len);
        if (n < 0 && errno == EIO) {
            mb_log(MB_LOG_WARN, "wal", "unreadable", "offset=%zu", l->bytes.len);
            memset(to, 0, WAL_BLOCK);
            l->unreadable = true;
            n = WAL_BLOCK;
        }
    }
    if (n < 0)
        return false;
    l->bytes.len += (size_t)n;
    *end = n == 0 || n % WAL_BLOCK != 0; /* of a file that was cut */
    return true;
}

/* Read the first bytes of segment, or all of it (most 0). MB_ENOENT if there is no such file. */
static int load(struct mb_wal *w, uint64_t sequence, size_t most, struct loaded *l,
                struct mb_error *error)
{
    char name[WAL_NAME_SIZE];
    struct stat st;
    *l = (struct loaded){0};
    wal_name(name, sequence);
    l->fd = wal_open_file(w, name, O_RDONLY);
    if (l->fd < 0 && errno == ENOENT)
        return MB_ENOENT;
    if (l->fd < 0 || fstat(l->fd, &st) != 0)
        goto failed;
    size_t want = most > 0 ? most : (size_t)st.st_size;
    want = (want + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK; /* what O_DIRECT asks for */
    wal_area_reserve(&l->bytes, want + WAL_BLOCK);
    for (bool end = false; l->bytes.len < want && !end;)
        if (!read_some(w, l, want, &end))
            goto failed;
    l->header_ok = wal_segment_read(&l->header, mb_bytes(l->bytes.data, l->bytes.len)) &&
                   l->header.sequence == sequence;
    return 0;
failed:
    io_failed(w, error);
    unload(l);
    return MB_EIO;
}

struct replay {
    struct mb_wal *w;
    uint64_t slot; /* the greatest in this segment */
};

static int replay(void *arg, const struct wal_record *r)
{
    struct replay *p = arg;
    struct mb_wal_record record = {.kind = r->kind, .slot = r->slot, .payload = r->payload};
    if (r->slot > p->slot)
        p->slot = r->slot;
    return p->w->options.replay != NULL ? p->w->options.replay(p->w->options.arg, &record) : 0;
}

/* Does the newest segment hold nothing yet, and does the one before it lack nothing but the mark
 * that ends it? Then a crash came between making the one and ending the other. */
static bool is_unused(const struct walk *k, const struct loaded *l)
{
    if (k->end != WAL_END_CLEAN || k->damaged == k->last.sequence ||
        l->header.sequence != k->last.sequence + 1 || l->header.sequence != k->newest)
        return false;
    uint8_t block[WAL_BATCH_HEADER];
    struct wal_batch mark = {.salt = k->last.salt,
                             .sequence = k->scan.sequence,
                             .previous = k->scan.previous,
                             .durable = k->scan.slot,
                             .slot = k->scan.slot,
                             .next = l->header.sequence};
    memcpy(mark.stamp, k->scan.stamp, WAL_STAMP);
    wal_batch_write(block, &mark);
    struct wal_scan scan = {.sequence = k->scan.sequence + 1, .previous = mark.crc};
    return l->header.bytes == l->bytes.len && l->header.first == scan.sequence &&
           l->header.previous == mark.crc &&
           wal_segment_scan(&scan, &l->header, mb_bytes(l->bytes.data, l->bytes.len), NULL, NULL) ==
               WAL_END_CLEAN &&
           scan.offset == WAL_BLOCK;
}

/* Damage that nothing is known about yet. */
static int gap(struct walk *k, uint64_t sequence, uint64_t offset, const char *what,
               struct mb_error *error)
{
    k->scan.open = true;
    return damaged(k, sequence, offset, k->scan.slot, what, error);
}

/* Check a loaded segment's header against where the one before it ended. 1: it is unused. */
static int check_header(struct walk *k, const struct loaded *l, struct mb_error *error)
{
    const struct wal_segment *h = &l->header;
    struct wal_scan *scan = &k->scan;
    int rc = 0;
    if (l->bytes.len != h->bytes)
        rc = gap(k, h->sequence, l->bytes.len, "the file is cut short", error);
    if (rc == 0 && k->anchored && k->end != WAL_END_NEXT) {
        if (is_unused(k, l))
            return 1;
        if (scan->torn > 0 && scan->torn_slot > scan->faulty_to)
            scan->faulty_to = scan->torn_slot;
        rc = gap(k, k->last.sequence, scan->offset,
                 "the last batch of the file is damaged, and other files follow it", error);
    } else if (rc == 0 && k->anchored && k->last.sequence + 1 == h->sequence &&
               (h->first != scan->sequence || h->previous != scan->previous)) {
        rc = gap(k, h->sequence, 0, "the file does not go on where the one before it ended", error);
    }
    if (rc != 0)
        return rc;
    wal_scan_bound(scan, h->slot);
    wal_scan_stamp(scan, h->first - 1, h->stamp);
    if (h->first >= scan->sequence) {
        scan->sequence = h->first;
        scan->previous = h->previous;
    }
    if (l->bytes.len != h->bytes)
        scan->open = true;
    k->anchored = true;
    return 0;
}

static int walk_loaded(struct walk *k, uint64_t sequence, const struct loaded *l,
                       struct mb_error *error)
{
    struct replay p = {.w = k->w};
    if (!l->header_ok) {
        wal_live_add(k->w, sequence, 0);
        return gap(k, sequence, 0, "the header of the file is damaged", error);
    }
    int rc = check_header(k, l, error);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    k->last = l->header;
    k->end =
        wal_segment_scan(&k->scan, &l->header, mb_bytes(l->bytes.data, l->bytes.len), replay, &p);
    wal_live_add(k->w, sequence, p.slot);
    if (k->end == WAL_END_STOPPED)
        return k->scan.stopped;
    if (k->scan.what != NULL)
        return damaged(k, sequence, k->scan.bad_offset, k->scan.bad_slot, k->scan.what, error);
    if (l->unreadable) /* there may have been more */
        return gap(k, sequence, k->scan.offset, "a part of the file cannot be read", error);
    return 0;
}

/* It counts as one that is needed, so that it is missed until its slots are released. */
static int missing(struct walk *k, uint64_t sequence, struct mb_error *error)
{
    wal_live_add(k->w, sequence, 0);
    return gap(k, sequence, 0, "the file is missing", error);
}

static int walk_one(struct walk *k, uint64_t sequence, struct mb_error *error)
{
    struct loaded l;
    int rc = load(k->w, sequence, 0, &l, error);
    if (rc == MB_ENOENT)
        return missing(k, sequence, error);
    if (rc != 0)
        return rc;
    rc = walk_loaded(k, sequence, &l, error);
    unload(&l);
    return rc;
}

/* The newest of the headers that hold names the oldest segment that is needed. */
static int find_oldest(struct walk *k, struct mb_error *error)
{
    k->oldest = 0;
    for (size_t i = 0; i < k->names.count; i++) {
        struct loaded l;
        int rc = load(k->w, k->names.of[i], WAL_BLOCK, &l, error);
        if (rc != 0)
            return rc;
        if (l.header_ok && l.header.oldest > k->oldest)
            k->oldest = l.header.oldest;
        unload(&l);
    }
    if (k->oldest == 0) /* none holds: the walk will say so */
        k->oldest = k->names.of[0];
    return 0;
}

static int walk(struct walk *k, struct mb_error *error)
{
    int rc = find_oldest(k, error);
    k->newest = k->names.of[k->names.count - 1];
    if (k->tail.segment > k->newest)
        k->newest = k->tail.segment;
    for (uint64_t s = k->oldest; s <= k->newest && rc == 0; s++)
        rc = walk_one(k, s, error);
    if (rc == 0 && k->anchored && k->end == WAL_END_NEXT && k->last.sequence == k->newest)
        rc = missing(k, ++k->newest, error);
    if (rc == 0 && k->tail.sequence >= k->scan.sequence)
        rc = gap(k, k->newest, k->scan.offset, "batches that were durable are gone", error);
    if (rc != 0)
        return rc;
    wal_scan_stamp(&k->scan, k->tail.sequence, k->tail.stamp);
    if (k->scan.torn > 0 && k->scan.open && k->scan.torn_slot > k->scan.slot)
        k->scan.slot = k->scan.torn_slot;
    wal_scan_bound(&k->scan, k->scan.slot > k->tail.slot ? k->scan.slot : k->tail.slot);
    return 0;
}

/* Stand behind the last batch of the last segment. */
static int stand(struct walk *k, struct mb_error *error)
{
    struct mb_wal *w = k->w;
    const struct wal_scan *scan = &k->scan;
    char name[WAL_NAME_SIZE];
    wal_name(name, k->last.sequence);
    w->fd = wal_open_file(w, name, O_RDWR);
    if (w->fd < 0)
        return io_failed(w, error);
    w->segment = k->last;
    w->offset = scan->offset;
    w->sequence = scan->sequence;
    w->previous = scan->previous;
    w->marked = scan->marked;
    w->tail = (struct wal_tail){
        .sequence = scan->sequence - 1, .segment = k->last.sequence, .slot = w->durable_slot};
    memcpy(w->tail.stamp, scan->stamp, WAL_STAMP);
    if (scan->torn > 0)
        mb_log(MB_LOG_WARN, "wal", "torn_tail",
               "segment=%llu offset=%llu bytes_dropped=%llu after_slot=%llu",
               (unsigned long long)k->last.sequence, (unsigned long long)scan->offset,
               (unsigned long long)scan->torn, (unsigned long long)scan->slot);
    /* What was read may have been written, but never synced, by a process that was killed. */
    return wal_sync(w, w->fd, error);
}

/* Begin segment s, whose sequence, oldest, first, slot and stamp are set. */
static int begin(struct mb_wal *w, const struct wal_segment *s, struct mb_error *error)
{
    w->segment = *s;
    /* Room for its header and its end at least. */
    w->segment.bytes =
        w->options.segment_bytes > 2 * WAL_BLOCK ? w->options.segment_bytes : 2 * WAL_BLOCK;
    w->fd = wal_segment_make(w, &w->segment, error);
    if (w->fd < 0)
        return w->fd;
    w->offset = WAL_BLOCK;
    w->sequence = s->first;
    w->previous = s->previous;
    w->marked = true;
    wal_live_add(w, s->sequence, 0);
    return 0;
}

/* Go on in a new segment, which leaves a gap: so the damage is found again, until it is forgotten.
 */
static int begin_behind(struct walk *k, struct mb_error *error)
{
    struct wal_segment s = {
        .sequence = k->newest + 1, .oldest = k->oldest, .slot = k->w->durable_slot};
    memcpy(s.stamp, k->scan.stamp, WAL_STAMP);
    s.first = k->scan.sequence > k->scan.stamped ? k->scan.sequence : k->scan.stamped + 1;
    s.first += GAP;
    return begin(k->w, &s, error);
}

/* An unused segment has to be gone for good before the one before it is written to again. */
static int retire_others(struct mb_wal *w, const struct names *n, struct mb_error *error)
{
    bool any = false;
    for (size_t i = 0; i < n->count; i++)
        if (n->of[i] < w->segment.oldest || n->of[i] > w->segment.sequence) {
            wal_segment_retire(w, n->of[i], false);
            any = true;
        }
    return any && fsync(w->dir_fd) != 0 ? io_failed(w, error) : 0;
}

static int go_on(struct walk *k, struct mb_error *error)
{
    struct mb_wal *w = k->w;
    uint64_t faulty_to = k->scan.faulty_to;
    w->damage.faulty_to = w->damage.found ? faulty_to : 0;
    w->damaged = k->damaged;
    w->durable_slot = k->scan.slot > faulty_to ? k->scan.slot : faulty_to;
    memcpy(w->stamp.bytes, k->scan.stamp, WAL_STAMP);
    w->durable_stamp = w->stamp;
    for (unsigned i = 0; i < w->stats.segments && w->live[i].sequence <= k->damaged; i++)
        if (w->live[i].slot < faulty_to)
            w->live[i].slot = faulty_to;
    int rc = w->damage.found && k->damaged >= k->last.sequence ? begin_behind(k, error)
                                                               : stand(k, error);
    return rc == 0 ? retire_others(w, &k->names, error) : rc;
}

static int read_tail(struct walk *k, struct mb_error *error)
{
    int hold = wal_tail_open(k->w, &k->tail, error);
    k->w->tail = k->tail;
    if (hold == 1)
        mb_log(MB_LOG_WARN, "wal", "tail_damaged", "batch=%llu",
               (unsigned long long)k->tail.sequence);
    if (hold != 0)
        return hold < 0 ? hold : 0;
    return mb_fail(error, MB_ECORRUPT, "wal.corrupt",
                   "%s/tail is missing or damaged: whether the log is whole cannot be known. "
                   "Nothing was changed. Put the file back from a copy of the disk, as new as the "
                   "rest of the folder; without one this replica must not vote again under its key",
                   k->w->dir);
}

int wal_recover(struct mb_wal *w, struct mb_error *error)
{
    struct walk k = {.w = w, .scan.tolerate = w->options.tolerate};
    int rc = list(w, &k.names, error);
    if (rc == 0 && k.names.count == 0)
        rc = 1;
    if (rc == 0)
        rc = read_tail(&k, error);
    if (rc == 0)
        rc = walk(&k, error);
    if (rc == 0)
        rc = go_on(&k, error);
    free(k.names.of);
    return rc;
}

int wal_begin(struct mb_wal *w, struct mb_error *error)
{
    struct names names = {0};
    int rc = list(w, &names, error);
    free(names.of);
    if (rc == 0 && (names.count > 0 || faccessat(w->dir_fd, "tail", F_OK, 0) == 0))
        rc = mb_fail(error, MB_EREFUSED, "wal.exists", "there is a log in %s already", w->dir);
    if (rc != 0)
        return rc;
    const struct wal_segment first = {.sequence = 1, .oldest = 1, .first = 1};
    rc = wal_tail_make(w, error);
    if (rc == 0)
        rc = begin(w, &first, error);
    if (rc != 0)
        unlinkat(w->dir_fd, "tail", 0);
    return rc;
}
