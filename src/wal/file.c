/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The files of the log. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "loop/fault.h"
#include "wal/internal.h"

#define SPARE       "spare"
#define TAIL        "tail"
#define ZEROS_BYTES (1u << 20)

void wal_area_reserve(struct wal_area *a, size_t more)
{
    if (a->cap - a->len >= more)
        return;
    size_t cap = a->cap == 0 ? 16 * WAL_BLOCK : a->cap;
    while (cap - a->len < more)
        cap *= 2;
    uint8_t *data = aligned_alloc(WAL_BLOCK, cap);
    if (data == NULL)
        abort();
    if (a->len > 0)
        memcpy(data, a->data, a->len);
    free(a->data);
    a->data = data;
    a->cap = cap;
}

void wal_area_clear(struct wal_area *a)
{
    free(a->data);
    *a = (struct wal_area){0};
}

void wal_name(char name[WAL_NAME_SIZE], uint64_t sequence)
{
    mb_snprintf(name, WAL_NAME_SIZE, "log-%020llu", (unsigned long long)sequence);
}

static int fail(const struct mb_wal *w, struct mb_error *error, const char *what)
{
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return mb_fail(error, MB_EIO, "wal.full",
                       "no room for the log in %s: %s; make room there and start again", w->dir,
                       strerror(errno));
    return mb_fail(error, MB_EIO, "wal.io", "the log in %s cannot be %s: %s", w->dir, what,
                   strerror(errno));
}

int wal_write(struct mb_wal *w, int fd, const uint8_t *data, size_t len, uint64_t offset,
              struct mb_error *error)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return fail(w, error, "written");
        data += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int wal_sync(struct mb_wal *w, int fd, struct mb_error *error)
{
    uint64_t start = now_us();
    if (fdatasync(fd) != 0)
        return fail(w, error, "synced");
    uint64_t took = now_us() - start;
    pthread_mutex_lock(&w->lock);
    w->stats.fsyncs++;
    w->stats.fsync_us_total += took;
    if (took > w->stats.fsync_us_max)
        w->stats.fsync_us_max = took;
    w->sync_us = (7 * w->sync_us + took) / 8;
    pthread_mutex_unlock(&w->lock);
    return 0;
}

/* glibc has no names for these; see io_submit(2). Without RWF_DSYNC, for the kernel syncs such a
 * write on a thread of its own, which waits for a processor where others are busy. */
static bool submit(struct mb_wal *w, int fd, const uint8_t *data, size_t len, uint64_t offset)
{
    struct iocb write = {.aio_lio_opcode = IOCB_CMD_PWRITE,
                         .aio_fildes = (uint32_t)fd,
                         .aio_buf = (uint64_t)(uintptr_t)data,
                         .aio_nbytes = len,
                         .aio_offset = (int64_t)offset};
    struct iocb *list[1] = {&write};
    if (w->no_aio || (w->aio == 0 && syscall(SYS_io_setup, 1L, &w->aio) != 0))
        w->no_aio = true;
    return !w->no_aio && syscall(SYS_io_submit, w->aio, 1L, list) == 1;
}

/* Bytes written, or negative with errno set. */
static int64_t reap(struct mb_wal *w)
{
    struct io_event done;
    long n;
    do
        n = syscall(SYS_io_getevents, w->aio, 1L, 1L, &done, NULL);
    while (n == 0 || (n < 0 && errno == EINTR));
    if (n != 1)
        return -1;
    if (done.res < 0)
        errno = (int)-done.res;
    return done.res;
}

int wal_write_durable(struct mb_wal *w, int fd, const uint8_t *data, size_t len, uint64_t offset,
                      void (*meanwhile)(void *arg), void *arg, struct mb_error *error)
{
    if (meanwhile != NULL && submit(w, fd, data, len, offset)) {
        meanwhile(arg);
        meanwhile = NULL;
        int64_t n = reap(w);
        if (n < 0)
            return fail(w, error, "written");
        data += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    int rc = wal_write(w, fd, data, len, offset, error);
    MB_FAULT("wal.written");
    if (rc == 0)
        rc = wal_sync(w, fd, error);
    if (rc == 0 && meanwhile != NULL)
        meanwhile(arg);
    return rc;
}

void wal_aio_end(struct mb_wal *w)
{
    if (w->aio != 0)
        syscall(SYS_io_destroy, w->aio);
}

/* Past the page cache where the file system can: a quarter more fdatasyncs a second (bench_wal),
 * and what is read back is what the disk holds. */
int wal_open_file(struct mb_wal *w, const char *name, int flags)
{
    int fd = openat(w->dir_fd, name, flags | O_DIRECT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && errno == EINVAL)
        fd = openat(w->dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd;
}

/* Allocated blocks are written with zeros once, so that an fdatasync later on has no metadata to
 * write: 9.5k instead of 6.1k a second where this was measured. */
static int fill_up(struct mb_wal *w, int fd, uint64_t from, uint64_t to, struct mb_error *error)
{
    if (from >= to)
        return 0;
    if (fallocate(fd, 0, 0, (off_t)to) != 0 && errno != EOPNOTSUPP)
        return fail(w, error, "extended");
    uint8_t *zeros = aligned_alloc(WAL_BLOCK, ZEROS_BYTES);
    if (zeros == NULL)
        abort();
    memset(zeros, 0, ZEROS_BYTES);
    int rc = 0;
    for (; rc == 0 && from < to; from += ZEROS_BYTES) {
        uint64_t n = to - from < ZEROS_BYTES ? to - from : ZEROS_BYTES;
        rc = wal_write(w, fd, zeros, n, from, error);
    }
    free(zeros);
    return rc;
}

static int write_header(struct mb_wal *w, int fd, const struct wal_segment *s,
                        struct mb_error *error)
{
    struct wal_area a = {0};
    wal_area_reserve(&a, WAL_BLOCK);
    wal_segment_write(a.data, s);
    int rc = wal_write(w, fd, a.data, WAL_BLOCK, 0, error);
    wal_area_clear(&a);
    return rc;
}

int wal_segment_make(struct mb_wal *w, struct wal_segment *s, struct mb_error *error)
{
    struct stat st;
    char name[WAL_NAME_SIZE];
    wal_name(name, s->sequence);
    int fd = wal_open_file(w, SPARE, O_RDWR | O_CREAT);
    if (fd < 0 || fstat(fd, &st) != 0 || getrandom(&s->salt, sizeof s->salt, 0) < 0) {
        int rc = fail(w, error, "extended");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    uint64_t have = (uint64_t)st.st_size / WAL_BLOCK * WAL_BLOCK;
    if (s->bytes < have)
        s->bytes = have;
    int rc = fill_up(w, fd, have, s->bytes, error);
    if (rc == 0)
        rc = write_header(w, fd, s, error);
    if (rc == 0)
        rc = wal_sync(w, fd, error);
    if (rc == 0 && (renameat(w->dir_fd, SPARE, w->dir_fd, name) != 0 || fsync(w->dir_fd) != 0))
        rc = fail(w, error, "extended");
    if (rc == 0)
        return fd;
    close(fd);
    unlinkat(w->dir_fd, SPARE, 0);
    return rc;
}

void wal_segment_retire(struct mb_wal *w, uint64_t sequence, bool damaged)
{
    char name[WAL_NAME_SIZE];
    wal_name(name, sequence);
    if (damaged || faccessat(w->dir_fd, SPARE, F_OK, 0) == 0)
        unlinkat(w->dir_fd, name, 0);
    else
        renameat(w->dir_fd, name, w->dir_fd, SPARE);
}

int wal_tail_make(struct mb_wal *w, struct mb_error *error)
{
    w->tail_fd = openat(w->dir_fd, TAIL, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (w->tail_fd < 0)
        return fail(w, error, "begun");
    /* Whole blocks, so that what is written later on changes no metadata. */
    static const uint8_t zeros[2 * WAL_BLOCK];
    int rc = wal_write(w, w->tail_fd, zeros, sizeof zeros, 0, error);
    return rc == 0 ? wal_tail_settle(w, error) : rc;
}

int wal_tail_open(struct mb_wal *w, struct wal_tail *t, struct mb_error *error)
{
    *t = (struct wal_tail){0};
    w->tail_fd = openat(w->dir_fd, TAIL, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (w->tail_fd < 0)
        return errno == ENOENT ? 0 : fail(w, error, "read");
    int hold = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint8_t bytes[WAL_TAIL];
        struct wal_tail one;
        ssize_t n = pread(w->tail_fd, bytes, sizeof bytes, (off_t)(i * WAL_BLOCK));
        if (n < 0 || !wal_tail_read(&one, mb_bytes(bytes, (size_t)n)))
            continue;
        if (hold++ == 0 || one.sequence >= t->sequence) {
            *t = one;
            w->tail_turn = 1 - i;
        }
    }
    return hold;
}

int wal_tail_put(struct mb_wal *w, struct mb_error *error)
{
    uint8_t bytes[WAL_TAIL];
    wal_tail_write(bytes, &w->tail);
    uint64_t offset = w->tail_turn * (uint64_t)WAL_BLOCK;
    w->tail_turn = 1 - w->tail_turn;
    return wal_write(w, w->tail_fd, bytes, sizeof bytes, offset, error);
}

int wal_tail_settle(struct mb_wal *w, struct mb_error *error)
{
    int rc = wal_tail_put(w, error);
    if (rc == 0)
        rc = wal_tail_put(w, error);
    return rc == 0 && fdatasync(w->tail_fd) != 0 ? fail(w, error, "synced") : rc;
}
