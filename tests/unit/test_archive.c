/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/tools.h"
#include "loop/log.h"
#include "wal/archive.h"
#include "wal/archive_file.h"

static char dir[64];

static void path_of(char path[128], const char *name)
{
    mb_snprintf(path, 128, "%s/%s", dir, name);
}

static void data_path(char path[128], uint64_t first)
{
    char name[64];
    mb_snprintf(name, sizeof name, "archive-%020llu", (unsigned long long)first);
    path_of(path, name);
}

static void index_path(char path[128], uint64_t first)
{
    char name[64];
    mb_snprintf(name, sizeof name, "archive-%020llu.index", (unsigned long long)first);
    path_of(path, name);
}

static int setup(void **state)
{
    (void)state;
    mb_snprintf(dir, sizeof dir, "/tmp/mb-test-archive-XXXXXX");
    mb_log_file("/dev/null"); /* damage is logged; here it is what is tested */
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(dir) == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    mb_log_file(NULL);
    tools_empty(dir);
    return rmdir(dir);
}

static struct mb_archive *open_archive(void)
{
    struct mb_archive *a;
    struct mb_error e;
    if (mb_archive_open(&a, dir, &e) != 0)
        fail_msg("%s: %s", e.code, e.text);
    return a;
}

/* Lengths around what one read takes, and now and then a long one. */
static struct mb_bytes payload_of(enum mb_archive_kind kind, uint64_t slot)
{
    static uint8_t bytes[70000];
    size_t len = slot % 11 == 0 ? 4060 + slot % 40 : slot % 13 == 0 ? 60000 : slot % 200;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(slot * 17 + i * 5 + (size_t)kind);
    return mb_bytes(bytes, len);
}

static void append(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot)
{
    struct mb_error e;
    if (mb_archive_append(a, kind, slot, payload_of(kind, slot), &e) != 0)
        fail_msg("%s: %s", e.code, e.text);
}

static void append_blocks(struct mb_archive *a, uint64_t from, uint64_t to)
{
    for (uint64_t s = from; s <= to; s++) {
        append(a, MB_ARCHIVE_BLOCK, s);
        if (s % 10 == 0) /* signatures come a little later */
            append(a, MB_ARCHIVE_CHECKPOINT, s - 3);
    }
}

static void assert_has(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot)
{
    struct mb_buf b = {0};
    struct mb_error e;
    int rc = mb_archive_read(a, kind, slot, &b, &e);
    if (rc != 1)
        fail_msg("slot %llu: %d %s", (unsigned long long)slot, rc, rc < 0 ? e.text : "");
    assert_true(mb_bytes_equal(mb_buf_bytes(&b), payload_of(kind, slot)));
    mb_buf_clear(&b);
}

static void assert_has_not(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot)
{
    struct mb_buf b = {0};
    assert_int_equal(mb_archive_read(a, kind, slot, &b, NULL), 0);
    assert_int_equal(b.len, 0);
}

static void assert_checkpoint(struct mb_archive *a, uint64_t slot, uint64_t expected)
{
    uint64_t found = 0;
    assert_int_equal(mb_archive_checkpoint_before(a, slot, &found), expected > 0 ? 1 : 0);
    if (expected > 0)
        assert_int_equal(found, expected);
}

static void test_empty(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct mb_archive *a = open_archive();
        assert_int_equal(mb_archive_tip(a), 0);
        assert_int_equal(mb_archive_durable(a), 0);
        assert_has_not(a, MB_ARCHIVE_BLOCK, 1);
        assert_has_not(a, MB_ARCHIVE_GENESIS, 0);
        assert_checkpoint(a, 100, 0);
        mb_archive_close(a);
    }
    mb_archive_close(NULL);
}

static void test_append_read_open_again(void **state)
{
    (void)state;
    struct mb_archive *a = open_archive();
    append(a, MB_ARCHIVE_GENESIS, 0);
    append_blocks(a, 1, 1000);
    assert_int_equal(mb_archive_tip(a), 1000);
    assert_int_equal(mb_archive_durable(a), 0);
    assert_has(a, MB_ARCHIVE_BLOCK, 1000); /* read before it is durable */
    assert_int_equal(mb_archive_sync(a, NULL), 0);
    assert_int_equal(mb_archive_durable(a), 1000);
    for (int i = 0; i < 2; i++) {
        assert_has(a, MB_ARCHIVE_GENESIS, 0);
        for (uint64_t s = 1; s <= 1000; s++) {
            assert_has(a, MB_ARCHIVE_BLOCK, s);
            if (s % 10 == 7)
                assert_has(a, MB_ARCHIVE_CHECKPOINT, s);
            else
                assert_has_not(a, MB_ARCHIVE_CHECKPOINT, s);
        }
        assert_has_not(a, MB_ARCHIVE_BLOCK, 0);
        assert_has_not(a, MB_ARCHIVE_BLOCK, 1001);
        assert_has_not(a, MB_ARCHIVE_GENESIS, 1);
        assert_checkpoint(a, 2000, 997);
        assert_checkpoint(a, 997, 997);
        assert_checkpoint(a, 996, 987);
        assert_checkpoint(a, 6, 0);
        mb_archive_close(a);
        a = open_archive();
        assert_int_equal(mb_archive_tip(a), 1000);
        assert_int_equal(mb_archive_durable(a), 1000);
    }
    mb_archive_close(a);
}

static void test_newest_checkpoint_wins(void **state)
{
    (void)state;
    struct mb_archive *a = open_archive();
    append(a, MB_ARCHIVE_GENESIS, 0);
    append(a, MB_ARCHIVE_CHECKPOINT, 0);
    append_blocks(a, 1, 5);
    assert_int_equal(mb_archive_append(a, MB_ARCHIVE_CHECKPOINT, 3, mb_bytes_of("first"), NULL), 0);
    append(a, MB_ARCHIVE_CHECKPOINT, 3);
    for (int i = 0; i < 2; i++) {
        uint64_t found = 99;
        assert_has(a, MB_ARCHIVE_CHECKPOINT, 3);
        assert_has(a, MB_ARCHIVE_CHECKPOINT, 0);
        assert_int_equal(mb_archive_checkpoint_before(a, 2, &found), 1);
        assert_int_equal(found, 0);
        mb_archive_close(a);
        a = open_archive();
    }
    mb_archive_close(a);
}

static void test_order(void **state)
{
    (void)state;
    static const struct {
        enum mb_archive_kind kind;
        uint64_t slot;
    } wrong[] = {{MB_ARCHIVE_BLOCK, 0},      {MB_ARCHIVE_BLOCK, 10},
                 {MB_ARCHIVE_BLOCK, 12},     {MB_ARCHIVE_GENESIS, 0},
                 {MB_ARCHIVE_GENESIS, 11},   {MB_ARCHIVE_CHECKPOINT, 11},
                 {MB_ARCHIVE_CHECKPOINT, 4}, {(enum mb_archive_kind)9, 11}};
    struct mb_archive *a = open_archive();
    struct mb_error e;
    assert_int_equal(mb_archive_append(a, MB_ARCHIVE_CHECKPOINT, 0, mb_bytes("", 0), &e),
                     MB_EINVAL);
    append_blocks(a, 5, 10); /* any block may be the first: a replica that began with a snapshot */
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(mb_archive_append(a, wrong[i].kind, wrong[i].slot, mb_bytes("x", 1), &e),
                         MB_EINVAL);
        assert_string_equal(e.code, "archive.order");
    }
    static uint8_t big[MB_ARCHIVE_RECORD_MAX + 1];
    assert_int_equal(mb_archive_append(a, MB_ARCHIVE_BLOCK, 11, mb_bytes(big, sizeof big), &e),
                     MB_ELIMIT);
    assert_has_not(a, MB_ARCHIVE_BLOCK, 4);
    mb_archive_close(a);
    a = open_archive();
    assert_has(a, MB_ARCHIVE_BLOCK, 5);
    append_blocks(a, 11, 11);
    mb_archive_close(a);
}

/* Several files: 5 MiB a block. */
#define BIG_BLOCKS 40u
#define BIG_BYTES  (5u << 20)

static void test_base_before_a_later_block(void **state)
{
    (void)state;
    struct mb_archive *a = open_archive();
    assert_int_equal(mb_archive_first(a), 1);
    append(a, MB_ARCHIVE_BASE, 7);
    append_blocks(a, 7, 9);
    append(a, MB_ARCHIVE_CHECKPOINT, 8);
    assert_int_equal(mb_archive_append(a, MB_ARCHIVE_BASE, 10, mb_bytes_of("x"), NULL), MB_EINVAL);
    assert_int_equal(mb_archive_append(a, MB_ARCHIVE_CHECKPOINT, 6, mb_bytes_of("x"), NULL),
                     MB_EINVAL);
    for (int round = 0; round < 3; round++) {
        char path[128];
        assert_has(a, MB_ARCHIVE_BASE, 7);
        assert_has_not(a, MB_ARCHIVE_BASE, 8);
        assert_has(a, MB_ARCHIVE_BLOCK, 7);
        assert_has_not(a, MB_ARCHIVE_BLOCK, 6);
        assert_has_not(a, MB_ARCHIVE_GENESIS, 0);
        assert_checkpoint(a, 9, 8);
        assert_checkpoint(a, 7, 0);
        assert_int_equal(mb_archive_first(a), 7);
        assert_int_equal(mb_archive_tip(a), 9);
        mb_archive_close(a);
        index_path(path, 7);
        if (round == 1)
            assert_int_equal(unlink(path), 0);
        a = open_archive();
    }
    mb_archive_close(a);
}

static void fill_big(uint8_t *big, uint64_t slot)
{
    memset(big, (int)(slot + 1), BIG_BYTES);
}

static void make_big(void)
{
    uint8_t *big = mb_alloc(BIG_BYTES);
    struct mb_archive *a = open_archive();
    append(a, MB_ARCHIVE_GENESIS, 0);
    for (uint64_t s = 1; s <= BIG_BLOCKS; s++) {
        fill_big(big, s);
        assert_int_equal(mb_archive_append(a, MB_ARCHIVE_BLOCK, s, mb_bytes(big, BIG_BYTES), NULL),
                         0);
    }
    append(a, MB_ARCHIVE_CHECKPOINT, 2); /* files later than its block */
    mb_archive_close(a);
    free(big);
}

static void assert_big(struct mb_archive *a, uint64_t from, uint64_t to)
{
    uint8_t *big = mb_alloc(BIG_BYTES);
    struct mb_buf b = {0};
    for (uint64_t s = from; s <= to; s++) {
        mb_buf_reset(&b);
        fill_big(big, s);
        assert_int_equal(mb_archive_read(a, MB_ARCHIVE_BLOCK, s, &b, NULL), 1);
        assert_true(mb_bytes_equal(mb_buf_bytes(&b), mb_bytes(big, BIG_BYTES)));
    }
    mb_buf_clear(&b);
    free(big);
}

/* The first slots of its files: 12 blocks in each. */
static const uint64_t big_files[] = {0, 13, 25, 37};
#define BIG_FILES 4

static void flip(const char *path, off_t offset)
{
    uint8_t b;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &b, 1, offset), 1);
    b ^= 0x10;
    assert_int_equal(pwrite(fd, &b, 1, offset), 1);
    close(fd);
}

static void assert_not_opened(const char *path)
{
    struct mb_archive *a;
    struct mb_error e;
    assert_int_equal(mb_archive_open(&a, dir, &e), MB_ECORRUPT);
    assert_string_equal(e.code, "archive.corrupt");
    assert_memory_equal(e.text, path, strlen(path));
}

static void test_several_files(void **state)
{
    (void)state;
    make_big();
    char path[128], moved[128];
    path_of(moved, "moved");
    struct mb_archive *a = open_archive();
    assert_int_equal(mb_archive_tip(a), BIG_BLOCKS);
    assert_big(a, 1, BIG_BLOCKS);
    assert_has(a, MB_ARCHIVE_CHECKPOINT, 2);
    assert_checkpoint(a, BIG_BLOCKS, 2);
    mb_archive_close(a);
    for (int i = 0; i < BIG_FILES; i++) { /* a missing index is made anew */
        index_path(path, big_files[i]);
        assert_int_equal(unlink(path), 0);
    }
    a = open_archive();
    assert_has(a, MB_ARCHIVE_CHECKPOINT, 2);
    assert_big(a, 12, 14);
    mb_archive_close(a);

    for (int i = 0; i < BIG_FILES; i++) { /* a missing file is seen */
        data_path(path, big_files[i]);
        assert_int_equal(rename(path, moved), 0);
        struct mb_error e;
        assert_int_equal(mb_archive_open(&a, dir, &e), MB_ECORRUPT);
        assert_string_equal(e.code, "archive.corrupt");
        assert_int_equal(rename(moved, path), 0);
    }
    for (int i = 0; i < BIG_FILES; i++) { /* so is one that was cut, by a byte or by a record */
        struct stat st;
        struct mb_error e;
        data_path(path, big_files[i]);
        assert_int_equal(stat(path, &st), 0);
        int fd = open(path, O_RDWR | O_CLOEXEC);
        uint8_t last;
        assert_int_equal(pread(fd, &last, 1, st.st_size - 1), 1);
        assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
        assert_int_equal(mb_archive_open(&a, dir, &e), MB_ECORRUPT);
        assert_int_equal(pwrite(fd, &last, 1, st.st_size - 1), 1);
        close(fd);
    }
    for (int i = 0; i < BIG_FILES; i++) { /* headers are checked on opening */
        data_path(path, big_files[i]);
        for (off_t at = 0; at < (off_t)ARCHIVE_HEADER; at += 5) {
            flip(path, at);
            assert_not_opened(path);
            flip(path, at);
        }
    }
    a = open_archive();
    assert_big(a, 1, BIG_BLOCKS);
    mb_archive_close(a);
}

static void test_damage_in_old_file_is_found_when_read(void **state)
{
    (void)state;
    make_big();
    char path[128], offset[64];
    struct mb_buf b = {0};
    struct mb_error e;
    data_path(path, 13);
    off_t record = (off_t)(ARCHIVE_HEADER + 3 * (WAL_RECORD_HEADER + BIG_BYTES)); /* slot 16 */
    flip(path, record + 1000);
    struct mb_archive *a = open_archive();
    assert_int_equal(mb_archive_read(a, MB_ARCHIVE_BLOCK, 16, &b, &e), MB_ECORRUPT);
    assert_string_equal(e.code, "archive.corrupt");
    assert_memory_equal(e.text, path, strlen(path));
    mb_snprintf(offset, sizeof offset, ", offset %lld:", (long long)record);
    assert_non_null(strstr(e.text, offset));
    assert_int_equal(b.len, 0);
    assert_big(a, 13, 15); /* the others are still there */
    assert_big(a, 17, 26);
    mb_archive_close(a);
}

static void test_damaged_index_is_made_anew(void **state)
{
    (void)state;
    struct mb_archive *a = open_archive();
    append(a, MB_ARCHIVE_GENESIS, 0);
    append_blocks(a, 1, 300);
    char path[128];
    index_path(path, 0);
    for (off_t at = 0; at < (off_t)ARCHIVE_ENTRY; at++) {
        flip(path, 40 * (off_t)ARCHIVE_ENTRY + at); /* behind the back of the open archive */
        assert_has(a, MB_ARCHIVE_BLOCK, 40);
        flip(path, 37 * (off_t)ARCHIVE_ENTRY + at);
        assert_has(a, MB_ARCHIVE_CHECKPOINT, 37);
        flip(path, 39 * (off_t)ARCHIVE_ENTRY + at);
        assert_checkpoint(a, 46, 37);
    }
    assert_int_equal(truncate(path, 100), 0);
    assert_has(a, MB_ARCHIVE_BLOCK, 299);
    mb_archive_close(a);
}

/* Every byte of what is durable, one by one. */
static void test_every_damaged_byte_of_newest_file(void **state)
{
    (void)state;
    struct mb_archive *a = open_archive();
    append(a, MB_ARCHIVE_GENESIS, 0);
    append_blocks(a, 1, 30);
    mb_archive_close(a);
    char path[128];
    struct stat st;
    data_path(path, 0);
    assert_int_equal(stat(path, &st), 0);
    for (off_t at = 0; at < st.st_size; at += at < 3000 ? 1 : 501) {
        flip(path, at);
        assert_not_opened(path);
        flip(path, at);
    }
    for (off_t len = 0; len < st.st_size; len += 977) {
        int fd = open(path, O_RDWR | O_CLOEXEC);
        uint8_t *saved = mb_alloc((size_t)st.st_size);
        assert_int_equal(pread(fd, saved, (size_t)st.st_size, 0), st.st_size);
        assert_int_equal(ftruncate(fd, len), 0);
        assert_not_opened(path);
        assert_int_equal(pwrite(fd, saved, (size_t)st.st_size, 0), st.st_size);
        free(saved);
        close(fd);
    }
    char mark[128];
    path_of(mark, "archive-durable");
    for (off_t at = 0; at < (off_t)ARCHIVE_MARK; at++) {
        flip(mark, at);
        assert_not_opened(mark);
        flip(mark, at);
    }
    a = open_archive();
    assert_int_equal(mb_archive_tip(a), 30);
    mb_archive_close(a);
    assert_int_equal(unlink(mark), 0);
    assert_not_opened(mark);
}

/* A process that appends to slot 12, syncs, appends to slot 25, and is killed. How many bytes were
 * synced. */
static off_t die_unsynced(const char *path)
{
    int fds[2];
    struct stat st = {0};
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct mb_archive *a = open_archive();
        append(a, MB_ARCHIVE_GENESIS, 0);
        append_blocks(a, 1, 12);
        if (mb_archive_sync(a, NULL) != 0 || stat(path, &st) != 0)
            _exit(1);
        append_blocks(a, 13, 25);
        if (write(fds[1], &st, sizeof st) != sizeof st)
            _exit(1);
        raise(SIGKILL);
    }
    close(fds[1]);
    assert_int_equal(read(fds[0], &st, sizeof st), sizeof st);
    close(fds[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return st.st_size;
}

/* What was appended and never synced, and came to the disk in part. */
static void test_torn_tail_is_cut(void **state)
{
    (void)state;
    char path[128];
    data_path(path, 0);
    for (int part = 0; part < 12; part++) {
        tools_empty(dir);
        struct stat st;
        off_t synced = die_unsynced(path);
        assert_int_equal(stat(path, &st), 0);
        assert_true(st.st_size > synced + 5000);
        off_t at = synced + part * ((st.st_size - synced) / 12);
        if (part % 2 == 0)
            flip(path, at);
        else
            assert_int_equal(truncate(path, at), 0);
        struct mb_archive *a = open_archive();
        uint64_t tip = mb_archive_tip(a);
        assert_in_range(tip, 12, 24);
        assert_int_equal(mb_archive_durable(a), tip);
        for (uint64_t s = 1; s <= tip; s++)
            assert_has(a, MB_ARCHIVE_BLOCK, s);
        append_blocks(a, tip + 1, 40);
        mb_archive_close(a);
        a = open_archive();
        assert_int_equal(mb_archive_tip(a), 40);
        assert_has(a, MB_ARCHIVE_BLOCK, 40);
        mb_archive_close(a);
    }
}

static void test_killed_process_loses_nothing(void **state)
{
    (void)state;
    char path[128];
    data_path(path, 0);
    die_unsynced(path);
    struct mb_archive *a = open_archive();
    assert_int_equal(mb_archive_tip(a), 25);
    assert_int_equal(mb_archive_durable(a), 25);
    assert_has(a, MB_ARCHIVE_BLOCK, 25);
    mb_archive_close(a);
}

static void test_disk_full(void **state)
{
    (void)state;
    struct mb_archive *a = open_archive();
    append(a, MB_ARCHIVE_GENESIS, 0);
    append_blocks(a, 1, 12);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 32768;
    setrlimit(RLIMIT_FSIZE, &small);
    struct mb_error e;
    int rc = mb_archive_append(a, MB_ARCHIVE_BLOCK, 13, payload_of(MB_ARCHIVE_BLOCK, 13), &e);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(rc, MB_EIO);
    assert_string_equal(e.code, "archive.full");
    assert_int_equal(mb_archive_tip(a), 12);
    append(a, MB_ARCHIVE_BLOCK, 13); /* nothing of the failed one is left */
    assert_has(a, MB_ARCHIVE_BLOCK, 13);
    mb_archive_close(a);
    a = open_archive();
    assert_has(a, MB_ARCHIVE_BLOCK, 13);
    mb_archive_close(a);
}

static void *sync_often(void *arg)
{
    uint64_t last = 0;
    for (int i = 0; i < 50; i++) {
        if (mb_archive_sync(arg, NULL) != 0)
            return arg;
        uint64_t now = mb_archive_durable(arg);
        if (now < last)
            return arg;
        last = now;
    }
    return NULL;
}

static void test_sync_beside_appends_and_reads(void **state)
{
    (void)state;
    struct mb_archive *a = open_archive();
    pthread_t threads[2];
    append(a, MB_ARCHIVE_GENESIS, 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sync_often, a), 0);
    for (uint64_t s = 1; s <= 2000; s++) {
        append(a, MB_ARCHIVE_BLOCK, s);
        assert_has(a, MB_ARCHIVE_BLOCK, 1 + s / 2);
    }
    for (int i = 0; i < 2; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    mb_archive_close(a);
    a = open_archive();
    assert_int_equal(mb_archive_durable(a), 2000);
    mb_archive_close(a);
}

static void test_one_process_at_a_time(void **state)
{
    (void)state;
    struct mb_archive *a = open_archive(), *second;
    struct mb_error e;
    assert_int_equal(mb_archive_open(&second, dir, &e), MB_EIO);
    assert_string_equal(e.code, "archive.locked");
    mb_archive_close(a);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_empty),
        TEST(test_append_read_open_again),
        TEST(test_newest_checkpoint_wins),
        TEST(test_order),
        TEST(test_base_before_a_later_block),
        TEST(test_several_files),
        TEST(test_damage_in_old_file_is_found_when_read),
        TEST(test_damaged_index_is_made_anew),
        TEST(test_every_damaged_byte_of_newest_file),
        TEST(test_torn_tail_is_cut),
        TEST(test_killed_process_loses_nothing),
        TEST(test_disk_full),
        TEST(test_sync_beside_appends_and_reads),
        TEST(test_one_process_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
