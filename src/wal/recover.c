/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What opening the log does. The newest segment's header names the oldest one that is needed; from
 * there each must be there, whole, and go on where the one before it ended. Only the last may end
 * without saying so.
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
};

static int io_failed(const struct mb_wal *w, struct mb_error *error)
{
    return mb_fail(error, MB_EIO, "wal.io", "the log in %s cannot be read: %s", w->dir,
                   strerror(errno));
}

static int corrupt(const struct mb_wal *w, uint64_t sequence, uint64_t offset, uint64_t slot,
                   const char *what, struct mb_error *error)
{
    char name[WAL_NAME_SIZE];
    wal_name(name, sequence);
    mb_log(MB_LOG_ERROR, "wal", "corrupt", "file=%s offset=%llu after_slot=%llu", name,
           (unsigned long long)offset, (unsigned long long)slot);
    return mb_fail(error, MB_ECORRUPT, "wal.corrupt",
                   "%s/%s, offset %llu, after slot %llu: %s. Nothing was changed. Put the file "
                   "back from a copy of the disk; without one this replica must not vote again "
                   "under its key: found it anew and let it rejoin",
                   w->dir, name, (unsigned long long)offset, (unsigned long long)slot, what);
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

/* Read the first bytes of segment, or all of it (most 0). MB_ENOENT if there is no such file. */
static int load(struct mb_wal *w, uint64_t sequence, size_t most, struct loaded *l,
                struct mb_error *error)
{
    char name[WAL_NAME_SIZE];
    struct stat st;
    *l = (struct loaded){0};
    wal_name(name, sequence);
    l->fd = wal_open_file(w, name, O_RDWR);
    if (l->fd < 0 && errno == ENOENT)
        return MB_ENOENT;
    if (l->fd < 0 || fstat(l->fd, &st) != 0)
        goto failed;
    size_t want = most > 0 ? most : (size_t)st.st_size;
    want = (want + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK; /* what O_DIRECT asks for */
    wal_area_reserve(&l->bytes, want + WAL_BLOCK);
    for (ssize_t n; l->bytes.len < want; l->bytes.len += (size_t)n) {
        n = pread(l->fd, l->bytes.data + l->bytes.len, want - l->bytes.len, (off_t)l->bytes.len);
        if (n < 0)
            goto failed;
        if (n == 0 || n % WAL_BLOCK != 0) {
            l->bytes.len += (size_t)n;
            break; /* the end of a file that was cut */
        }
    }
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

/* Does the newest segment hold nothing yet? Then a crash came between making it and ending the one
 * before it, whose end (sequence: the mark that would have been written) it names. */
static bool is_unused(struct mb_wal *w, uint64_t newest, uint64_t sequence)
{
    struct loaded l;
    if (load(w, newest, 0, &l, NULL) != 0)
        return false;
    struct wal_scan scan = {.sequence = sequence + 1, .previous = l.header.previous};
    bool unused = l.header_ok && l.header.bytes == l.bytes.len && l.header.first == sequence + 1 &&
                  wal_segment_scan(&scan, &l.header, mb_bytes(l.bytes.data, l.bytes.len), NULL,
                                   NULL) == WAL_END_CLEAN &&
                  scan.offset == WAL_BLOCK;
    unload(&l);
    return unused;
}

/* Check a loaded segment's header against where the one before it ended. */
static int check_header(const struct mb_wal *w, uint64_t sequence, bool first,
                        const struct loaded *l, const struct wal_scan *scan, struct mb_error *error)
{
    if (!l->header_ok)
        return corrupt(w, sequence, 0, scan->slot, "the header of the file is damaged", error);
    if (l->bytes.len != l->header.bytes)
        return corrupt(w, sequence, l->bytes.len, scan->slot, "the file is cut short", error);
    if (!first && (l->header.first != scan->sequence || l->header.previous != scan->previous))
        return corrupt(w, sequence, 0, scan->slot,
                       "the file does not go on where the one before "
                       "it ended",
                       error);
    return 0;
}

/* Stand behind the last batch of l; its descriptor moves to w. */
static int stand_at(struct mb_wal *w, struct loaded *l, const struct wal_scan *scan,
                    struct mb_error *error)
{
    w->fd = l->fd;
    l->fd = -1;
    w->segment = l->header;
    w->offset = scan->offset;
    w->sequence = scan->sequence;
    w->previous = scan->previous;
    w->durable_slot = scan->slot;
    w->marked = scan->marked;
    memcpy(w->durable_stamp.bytes, scan->stamp, WAL_STAMP);
    w->stamp = w->durable_stamp;
    if (scan->torn > 0)
        mb_log(MB_LOG_WARN, "wal", "torn_tail",
               "segment=%llu offset=%llu bytes_dropped=%llu after_slot=%llu",
               (unsigned long long)l->header.sequence, (unsigned long long)scan->offset,
               (unsigned long long)scan->torn, (unsigned long long)scan->slot);
    /* What was read may have been written, but never synced, by a process that was killed. */
    return wal_sync(w, w->fd, error);
}

/* One segment. 1: there is a next; 0: this was the last. */
static int recover_one(struct mb_wal *w, uint64_t sequence, bool first, uint64_t *newest,
                       struct wal_scan *scan, struct mb_error *error)
{
    struct loaded l;
    struct replay p = {.w = w};
    int rc = load(w, sequence, 0, &l, error);
    if (rc == MB_ENOENT)
        return corrupt(w, sequence, 0, scan->slot, "the file is missing", error);
    if (rc != 0)
        return rc;
    rc = check_header(w, sequence, first, &l, scan, error);
    if (rc != 0)
        goto out;
    if (first) {
        scan->sequence = l.header.first;
        scan->previous = l.header.previous;
    }
    enum wal_end end =
        wal_segment_scan(scan, &l.header, mb_bytes(l.bytes.data, l.bytes.len), replay, &p);
    wal_live_add(w, sequence, p.slot);
    if (end == WAL_END_STOPPED) {
        rc = scan->stopped;
    } else if (end == WAL_END_DAMAGED) {
        rc = corrupt(w, sequence, scan->offset, scan->slot, scan->what, error);
    } else if (end == WAL_END_NEXT) {
        rc = 1;
    } else if (sequence == *newest || (end == WAL_END_CLEAN && sequence + 1 == *newest &&
                                       is_unused(w, *newest, scan->sequence))) {
        *newest = sequence;
        rc = stand_at(w, &l, scan, error);
    } else {
        rc = corrupt(w, sequence, scan->offset, scan->slot,
                     "the last batch of the file is damaged, and other files follow it", error);
    }
out:
    unload(&l);
    return rc;
}

static int recover_from(struct mb_wal *w, uint64_t oldest, uint64_t *newest, struct mb_error *error)
{
    struct wal_scan scan = {0};
    int rc = 1;
    for (uint64_t s = oldest; rc == 1; s++)
        rc = recover_one(w, s, s == oldest, newest, &scan, error);
    return rc;
}

static int begin(struct mb_wal *w, struct mb_error *error)
{
    /* Room for its header and its end at least. */
    uint64_t bytes =
        w->options.segment_bytes > 2 * WAL_BLOCK ? w->options.segment_bytes : 2 * WAL_BLOCK;
    w->segment = (struct wal_segment){.sequence = 1, .oldest = 1, .first = 1, .bytes = bytes};
    w->fd = wal_segment_make(w, &w->segment, error);
    if (w->fd < 0)
        return w->fd;
    w->offset = WAL_BLOCK;
    w->sequence = 1;
    w->marked = true;
    wal_live_add(w, 1, 0);
    return 0;
}

/* An unused segment has to be gone for good before the one before it is written to again. */
static int retire_others(struct mb_wal *w, const struct names *n, struct mb_error *error)
{
    bool any = false;
    for (size_t i = 0; i < n->count; i++)
        if (n->of[i] < w->segment.oldest || n->of[i] > w->segment.sequence) {
            wal_segment_retire(w, n->of[i]);
            any = true;
        }
    return any && fsync(w->dir_fd) != 0 ? io_failed(w, error) : 0;
}

int wal_recover(struct mb_wal *w, struct mb_error *error)
{
    struct names names = {0};
    int rc = list(w, &names, error);
    if (rc == 0 && names.count == 0)
        rc = begin(w, error);
    if (rc != 0 || names.count == 0)
        goto out;

    uint64_t newest = names.of[names.count - 1], oldest = names.of[0];
    struct loaded l;
    rc = load(w, newest, WAL_BLOCK, &l, error);
    if (rc != 0)
        goto out;
    if (l.header_ok) /* else the walk will come upon it, and say after which slot */
        oldest = l.header.oldest;
    unload(&l);
    rc = recover_from(w, oldest, &newest, error);
    if (rc == 0)
        rc = retire_others(w, &names, error);
out:
    free(names.of);
    return rc;
}
