/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The log and the archive beside the disk below them: bench_wal [FOLDER]. Every figure is a line
 * "name value unit". FOLDER (.) should be on the disk that is meant: /tmp may be in memory.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../support/tools.h"
#include "wal/archive.h"
#include "wal/wal.h"

#define SECONDS     2.0
#define FILE_BYTES  (64u << 20)
#define BLOCK       4096u
#define RECORD      400u
#define BLOCKS      1000000u
#define BLOCK_BYTES 400u
#define READS       20000u

static char dir[256];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench_wal: %s failed\n", what);
    exit(1);
}

static void figure(const char *name, double value, const char *unit)
{
    printf("%s %.1f %s\n", name, value, unit);
    fflush(stdout);
}

static void path_of(char path[512], const char *name)
{
    must(mb_snprintf(path, 512, "%s/%s", dir, name) == 0, "path");
}

/* The disk alone: write 4 KiB behind the last, fdatasync. How far the file is prepared matters. */
enum prepared {
    NOTHING,
    ALLOCATED,
    ZEROED,
};
static void bench_disk(const char *name, enum prepared prepared, int flags)
{
    char path[512];
    path_of(path, "disk");
    unlink(path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0600);
    uint8_t *block = aligned_alloc(BLOCK, BLOCK);
    must(fd >= 0 && block != NULL, "open");
    memset(block, 0, BLOCK);
    if (prepared != NOTHING)
        must(fallocate(fd, 0, 0, FILE_BYTES) == 0, "fallocate");
    for (off_t at = 0; prepared == ZEROED && at < FILE_BYTES; at += BLOCK)
        must(pwrite(fd, block, BLOCK, at) == BLOCK, "pwrite");
    must(fsync(fd) == 0, "fsync");
    memset(block, 0xa5, BLOCK);
    unsigned n = 0;
    double start = now(), took = 0;
    for (off_t at = 0; took < SECONDS / 2 && at < FILE_BYTES; at += BLOCK, n++) {
        must(pwrite(fd, block, BLOCK, at) == BLOCK && fdatasync(fd) == 0, "fdatasync");
        took = now() - start;
    }
    figure(name, n / took, "/s");
    free(block);
    close(fd);
    unlink(path);
}

static struct {
    struct mb_loop *loop;
    struct mb_wal *wal;
    uint64_t slot, durable;
    unsigned outstanding;
    double until;
} run;

static void append_one(void);

static void on_durable(void *arg)
{
    (void)arg;
    run.durable++;
    run.outstanding--;
    if (run.durable % 1000 == 0)
        mb_wal_release(run.wal, run.durable);
    if (now() < run.until)
        append_one();
    else if (run.outstanding == 0)
        mb_loop_stop(run.loop);
}

static void append_one(void)
{
    static const uint8_t payload[RECORD];
    struct mb_wal_record r = {
        .kind = MB_WAL_ACCEPTED, .slot = ++run.slot, .payload = mb_bytes(payload, RECORD)};
    run.outstanding++;
    mb_wal_append(run.wal, NULL, &r, 1, NULL, on_durable, NULL);
}

static void on_failed(void *arg, const struct mb_error *error)
{
    (void)arg;
    fprintf(stderr, "bench_wal: %s\n", error->text);
    exit(1);
}

static void bench_log(unsigned outstanding)
{
    char name[64];
    struct mb_wal_options o = {.failed = on_failed};
    run.loop = mb_loop_new();
    run.slot = run.durable = 0;
    must(mb_wal_create(dir, 0, NULL) == 0, "mb_wal_create");
    must(mb_wal_open(&run.wal, run.loop, dir, &o, NULL) == 0, "mb_wal_open");
    run.until = now() + SECONDS;
    double start = now();
    for (unsigned i = 0; i < outstanding; i++)
        append_one();
    mb_loop_run(run.loop);
    double took = now() - start;
    struct mb_wal_stats s = mb_wal_stats(run.wal);
    must(mb_snprintf(name, sizeof name, "wal_records_%u_outstanding", outstanding) == 0, "name");
    figure(name, (double)s.records / took, "/s");
    must(mb_snprintf(name, sizeof name, "wal_batches_%u_outstanding", outstanding) == 0, "name");
    figure(name, (double)s.batches / took, "/s");
    must(mb_snprintf(name, sizeof name, "wal_fdatasync_%u_outstanding", outstanding) == 0, "name");
    figure(name, (double)s.fsync_us_total / (double)s.fsyncs, "us");
    mb_wal_close(run.wal);
    mb_loop_free(run.loop);
    tools_empty(dir);
}

static void bench_archive(void)
{
    static const uint8_t payload[BLOCK_BYTES];
    struct mb_archive *a;
    struct mb_buf b = {0};
    must(mb_archive_open(&a, dir, NULL) == 0, "mb_archive_open");
    must(mb_archive_append(a, MB_ARCHIVE_GENESIS, 0, mb_bytes_of("x"), NULL) == 0, "append");
    double start = now();
    for (uint64_t s = 1; s <= BLOCKS; s++) {
        must(mb_archive_append(a, MB_ARCHIVE_BLOCK, s, mb_bytes(payload, BLOCK_BYTES), NULL) == 0,
             "append");
        if (s % 64 == 0)
            must(mb_archive_append(a, MB_ARCHIVE_CHECKPOINT, s, mb_bytes(payload, 200), NULL) == 0,
                 "append");
    }
    figure("archive_append", BLOCKS / (now() - start), "/s");
    start = now();
    must(mb_archive_sync(a, NULL) == 0, "sync");
    figure("archive_sync_of_all", (now() - start) * 1e3, "ms");
    mb_archive_close(a);

    start = now();
    must(mb_archive_open(&a, dir, NULL) == 0, "mb_archive_open");
    figure("archive_open_1000000_blocks", (now() - start) * 1e3, "ms");
    must(mb_archive_tip(a) == BLOCKS, "tip");
    start = now();
    for (uint64_t i = 0; i < READS; i++) {
        mb_buf_reset(&b);
        uint64_t slot = 1 + i * 2654435761u % BLOCKS;
        must(mb_archive_read(a, MB_ARCHIVE_BLOCK, slot, &b, NULL) == 1, "read");
    }
    figure("archive_read", (now() - start) * 1e6 / READS, "us");
    mb_archive_close(a);
    mb_buf_clear(&b);
    tools_empty(dir);
}

int main(int argc, char **argv)
{
    must(mb_snprintf(dir, sizeof dir, "%s/bench-wal-XXXXXX", argc > 1 ? argv[1] : ".") == 0 &&
             mkdtemp(dir) != NULL,
         "mkdtemp");
    bench_disk("disk_fdatasync_4k_appending", NOTHING, 0);
    bench_disk("disk_fdatasync_4k_allocated", ALLOCATED, 0);
    bench_disk("disk_fdatasync_4k_zeroed", ZEROED, 0);
    bench_disk("disk_fdatasync_4k_zeroed_direct", ZEROED, O_DIRECT);
    static const unsigned outstanding[] = {1, 16, 64, 256};
    for (size_t i = 0; i < sizeof outstanding / sizeof *outstanding; i++)
        bench_log(outstanding[i]);
    bench_archive();
    rmdir(dir);
    return 0;
}
