/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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
#include "wal/crc32c.h"
#include "wal/segment.h"
#include "wal/wal.h"

#define SEGMENT 32768u

static struct mb_loop *loop;
static char dir[64];

/* Files */

static void path_of(char path[128], const char *name)
{
    mb_snprintf(path, 128, "%s/%s", dir, name);
}

static void segment_path(char path[128], unsigned sequence)
{
    char name[40];
    mb_snprintf(name, sizeof name, "log-%020u", sequence);
    path_of(path, name);
}

static struct mb_buf read_file(const char *path)
{
    struct mb_buf b = {0};
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    mb_buf_reserve(&b, 8u << 20);
    b.len = fread(b.data, 1, 8u << 20, f);
    fclose(f);
    return b;
}

static void write_file(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

static int setup(void **state)
{
    (void)state;
    mb_snprintf(dir, sizeof dir, "/tmp/mb-test-wal-XXXXXX");
    if (mkdtemp(dir) == NULL)
        return -1;
    mb_log_file("/dev/null"); /* damage is logged; here it is what is tested */
    loop = mb_loop_new();
    return mb_wal_create(dir, SEGMENT, NULL);
}

static int teardown(void **state)
{
    (void)state;
    mb_loop_free(loop);
    mb_log_file(NULL);
    tools_empty(dir);
    return rmdir(dir);
}

/* A log, and what became of it */

static struct {
    unsigned replayed, durable, failed, stop_at;
    uint64_t first, last; /* slots replayed */
    bool in_order;
    uint64_t meanwhile; /* slot */
    unsigned meanwhiles;
    struct mb_error failure;
} seen;

/* The payload of slot: its length and bytes follow from the slot. */
static struct mb_bytes payload_of(uint64_t slot)
{
    static uint8_t bytes[MB_WAL_RECORD_MAX];
    size_t len = slot % 7 == 0 ? 0 : slot % 5 == 0 ? 9000 : 40 + slot % 400;
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)(slot * 31 + i * 7);
    return mb_bytes(bytes, len);
}

static int on_replay(void *arg, const struct mb_wal_record *r)
{
    (void)arg;
    if (seen.replayed++ == 0)
        seen.first = r->slot;
    else if (r->slot != seen.last + 1)
        seen.in_order = false;
    seen.last = r->slot;
    assert_int_equal(r->kind, 1 + r->slot % 3); /* kinds are the caller's */
    assert_true(mb_bytes_equal(r->payload, payload_of(r->slot)));
    return seen.stop_at != 0 && r->slot == seen.stop_at ? MB_EREFUSED : 0;
}

static void on_failed(void *arg, const struct mb_error *error)
{
    (void)arg;
    seen.failed++;
    seen.failure = *error;
}

static int reopen(struct mb_wal **w, struct mb_error *error)
{
    struct mb_wal_options o = {.segment_bytes = SEGMENT, .replay = on_replay, .failed = on_failed};
    seen.replayed = seen.durable = seen.failed = seen.meanwhiles = 0;
    seen.first = seen.last = seen.meanwhile = 0;
    seen.in_order = true;
    return mb_wal_open(w, loop, dir, &o, error);
}

static struct mb_wal *open_log(void)
{
    struct mb_wal *w;
    struct mb_error e;
    if (reopen(&w, &e) != 0)
        fail_msg("%s: %s", e.code, e.text);
    assert_true(seen.in_order);
    return w;
}

static void on_durable(void *arg)
{
    uint64_t slot = (uint64_t)(uintptr_t)arg;
    assert_int_equal(slot, seen.durable + 1); /* in the order of appends */
    seen.durable = (unsigned)slot;
}

/* Before it is durable, and at most once. */
static void on_meanwhile(void *arg)
{
    uint64_t slot = (uint64_t)(uintptr_t)arg;
    assert_true(slot == 0 || slot > seen.durable);
    assert_int_not_equal(slot == 0 ? 1 : slot, seen.meanwhile);
    seen.meanwhile = slot;
    seen.meanwhiles++;
}

static void append(struct mb_wal *w, uint64_t slot, void (*durable)(void *), void *arg)
{
    struct mb_wal_record r = {
        .kind = (uint8_t)(1 + slot % 3), .slot = slot, .payload = payload_of(slot)};
    mb_wal_append(w, NULL, &r, 1, slot % 4 == 1 ? on_meanwhile : NULL, durable, arg);
}

static void wait_durable(unsigned slot)
{
    int64_t end = mb_now_ms() + 10000;
    while (seen.durable < slot && seen.failed == 0 && mb_now_ms() < end)
        mb_loop_once(loop, 100);
}

/* Append slots from..to, each in a batch of its own. */
static void append_each(struct mb_wal *w, unsigned from, unsigned to)
{
    seen.durable = from - 1;
    for (unsigned s = from; s <= to; s++) {
        append(w, s, on_durable, (void *)(uintptr_t)s);
        wait_durable(s);
        assert_int_equal(seen.durable, s);
    }
}

static void assert_holds(unsigned first, unsigned last)
{
    struct mb_wal *w = open_log();
    assert_int_equal(seen.replayed, last == 0 ? 0 : last - first + 1);
    assert_int_equal(seen.first, last == 0 ? 0 : first);
    assert_int_equal(seen.last, last);
    mb_wal_close(w);
}

/* Tests */

static void test_crc32c(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, bytes[100];
    assert_int_equal(wal_crc32c(0, "123456789", 9), 0xe3069283); /* RFC 3720, B.4, and Castagnoli */
    assert_int_equal(wal_crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(wal_crc32c_plain(0, zeros, 32), 0x8a9136aa);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 89 + 3);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        uint32_t whole = wal_crc32c(0, bytes, n);
        assert_int_equal(whole, wal_crc32c_plain(0, bytes, n));
        assert_int_equal(whole, wal_crc32c(wal_crc32c(0, bytes, n / 3), bytes + n / 3, n - n / 3));
    }
}

static void test_what_is_appended_is_replayed(void **state)
{
    (void)state;
    assert_holds(0, 0);
    struct mb_wal *w = open_log();
    append_each(w, 1, 100);
    struct mb_wal_stats s = mb_wal_stats(w);
    assert_int_equal(s.batches, 100);
    assert_int_equal(s.records, 100);
    assert_true(s.segments > 3);
    assert_true(s.fsyncs >= 100 && s.fsync_us_max <= s.fsync_us_total);
    assert_true(seen.meanwhiles <= 25); /* one append of four may be alone, if the disk is quick */
    assert_true(seen.meanwhiles > 0 || s.fsync_us_max > 500);
    mb_wal_close(w);
    assert_holds(1, 100);
    w = open_log();
    append_each(w, 101, 120); /* goes on where it ended */
    mb_wal_close(w);
    assert_holds(1, 120);
}

static void test_group_commit(void **state)
{
    (void)state;
    struct mb_wal *w = open_log();
    for (uintptr_t s = 1; s <= 500; s++)
        append(w, s, on_durable, (void *)s);
    wait_durable(500);
    assert_int_equal(seen.durable, 500);
    struct mb_wal_stats s = mb_wal_stats(w);
    assert_int_equal(s.records, 500);
    assert_true(s.batches < 250); /* many shared an fdatasync */
    mb_wal_close(w);
    assert_holds(1, 500);
}

static void test_several_records_in_one_append(void **state)
{
    (void)state;
    static uint8_t copies[20][16384];
    struct mb_wal_record r[20];
    for (unsigned i = 0; i < 20; i++) {
        struct mb_bytes p = payload_of(i + 1);
        if (p.len > 0)
            memcpy(copies[i], p.data, p.len);
        r[i] = (struct mb_wal_record){.kind = (uint8_t)(1 + (i + 1) % 3),
                                      .slot = i + 1,
                                      .payload = mb_bytes(copies[i], p.len)};
    }
    struct mb_wal *w = open_log();
    mb_wal_append(w, NULL, r, 20, NULL, NULL, NULL); /* more than a usual segment holds */
    mb_wal_append(w, NULL, NULL, 0, NULL, NULL, NULL);
    mb_wal_close(w);
    assert_holds(1, 20);
}

static int check_big(void *arg, const struct mb_wal_record *r)
{
    ++*(int *)arg;
    assert_int_equal(r->payload.len, MB_WAL_RECORD_MAX);
    assert_int_equal(r->payload.data[MB_WAL_RECORD_MAX - 1], 0xab);
    return 0;
}

static void test_the_largest_record(void **state)
{
    (void)state;
    uint8_t *big = mb_alloc(MB_WAL_RECORD_MAX);
    memset(big, 0xab, MB_WAL_RECORD_MAX);
    struct mb_wal_record r = {.kind = 1, .slot = 1, .payload = mb_bytes(big, MB_WAL_RECORD_MAX)};
    struct mb_wal *w = open_log();
    mb_wal_append(w, NULL, &r, 1, NULL, NULL, NULL);
    mb_wal_close(w);
    free(big);
    int count = 0;
    struct mb_wal_options o = {.replay = check_big, .arg = &count};
    assert_int_equal(mb_wal_open(&w, loop, dir, &o, NULL), 0);
    assert_int_equal(count, 1);
    mb_wal_close(w);
}

static void test_released_segments_are_used_again(void **state)
{
    (void)state;
    struct mb_wal *w = open_log();
    for (unsigned s = 1; s <= 600; s += 20) {
        append_each(w, s, s + 19);
        mb_wal_release(w, s + 9);
        assert_true(mb_wal_stats(w).segments <= 12);
    }
    mb_wal_close(w);
    w = open_log();
    assert_int_equal(seen.last, 600);
    assert_true(seen.first > 400 && seen.first <= 591); /* what is needed, and not much more */
    mb_wal_close(w);

    unsigned files = 0;
    DIR *d = opendir(dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        files += e->d_name[0] != '.';
    closedir(d);
    assert_true(files <= 14); /* the live ones, a spare, and tail */
}

static void test_replay_may_stop(void **state)
{
    (void)state;
    struct mb_wal *w = open_log();
    append_each(w, 1, 5);
    mb_wal_close(w);
    seen.stop_at = 3;
    assert_int_equal(reopen(&w, NULL), MB_EREFUSED);
    seen.stop_at = 0;
    assert_int_equal(seen.replayed, 3);
}

static void test_one_process_at_a_time(void **state)
{
    (void)state;
    struct mb_wal *w = open_log(), *second;
    struct mb_error e;
    assert_int_equal(reopen(&second, &e), MB_EIO);
    assert_string_equal(e.code, "wal.locked");
    mb_wal_close(w);
    assert_holds(0, 0);
}

static struct mb_wal *to_close;
static void close_in_callback(void *arg)
{
    on_durable(arg);
    mb_wal_close(to_close);
}

static void test_close_calls_what_is_due(void **state)
{
    (void)state;
    struct mb_wal *w = open_log();
    for (uintptr_t s = 1; s <= 30; s++)
        append(w, s, on_durable, (void *)s);
    mb_wal_close(w);
    assert_int_equal(seen.durable, 30);

    w = to_close = open_log();
    seen.durable = 30;
    for (uintptr_t s = 31; s <= 60; s++) {
        struct mb_wal_record r = {
            .kind = (uint8_t)(1 + s % 3), .slot = s, .payload = payload_of(s)};
        /* never alone: it must not be closed while more is appended */
        mb_wal_append(w, NULL, &r, 1, NULL, s == 40 ? close_in_callback : on_durable, (void *)s);
    }
    wait_durable(60);
    assert_int_equal(seen.durable, 60);
    mb_loop_once(loop, 0);
    assert_holds(1, 60);
    mb_wal_close(NULL);
}

/* Damage */

/* A log of some segments; each batch's place. */
#define BATCHES_MAX 200
static struct {
    unsigned segments, last_slot, batches;
    struct place {
        unsigned segment;
        size_t offset, bytes; /* header and records, without the padding */
        uint64_t slot;        /* its one record's; 0 for a mark */
        bool ends_segment;
    } of[BATCHES_MAX];
    struct mb_buf saved[20];
} map;

static void map_segment(unsigned sequence)
{
    char path[128];
    segment_path(path, sequence);
    struct mb_buf b = map.saved[sequence] = read_file(path);
    struct wal_segment s;
    assert_true(wal_segment_read(&s, mb_buf_bytes(&b)));
    struct wal_batch batch;
    for (size_t at = WAL_BLOCK; at < b.len; at += wal_batch_space(batch.bytes)) {
        if (!wal_batch_read(&batch, s.salt, mb_bytes(b.data + at, b.len - at)))
            break;
        struct mb_cursor c = mb_cursor(mb_bytes(b.data + at + WAL_BATCH_HEADER, batch.bytes));
        struct wal_record r = {0};
        if (batch.count > 0)
            assert_true(wal_record_read(&r, &c));
        map.of[map.batches++] = (struct place){.segment = sequence,
                                               .offset = at,
                                               .bytes = WAL_BATCH_HEADER + batch.bytes,
                                               .slot = r.slot,
                                               .ends_segment = batch.next != 0};
    }
}

static void clear_map(void)
{
    for (unsigned i = 1; i <= map.segments; i++)
        mb_buf_clear(&map.saved[i]);
}

/* Slots 1..55 in batches of their own, and the mark of a clean end. */
static void make_log_again(unsigned again)
{
    struct mb_wal *w = open_log();
    append_each(w, 1, 55);
    map.segments = mb_wal_stats(w).segments;
    map.last_slot = 55;
    map.batches = 0;
    mb_wal_close(w);
    assert_true(map.segments >= 3 && map.segments < 20);
    for (unsigned i = 1; i <= map.segments; i++)
        map_segment(i);
    if (map.batches != 55 + map.segments) { /* each segment ends with a mark */
        /* The machine was busy, and so the log idle, for longer than until a mark: once more. */
        assert_true(again > 0);
        clear_map();
        tools_empty(dir);
        assert_int_equal(mb_wal_create(dir, SEGMENT, NULL), 0);
        make_log_again(again - 1);
        return;
    }
    assert_false(map.of[map.batches - 1].ends_segment);
}

static void make_log(void)
{
    make_log_again(20);
}

static void put_back(unsigned segment)
{
    char path[128];
    segment_path(path, segment);
    write_file(path, map.saved[segment].data, map.saved[segment].len);
}

static void poke(unsigned segment, size_t offset, const void *data, size_t len)
{
    char path[128];
    segment_path(path, segment);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, len, (off_t)offset), len);
    close(fd);
}

/* As the file tail was when that batch had been written. */
static void put_tail(unsigned batch)
{
    uint8_t blocks[2 * WAL_BLOCK] = {0};
    struct wal_tail t = {
        .sequence = batch + 1, .segment = map.of[batch].segment, .slot = map.of[batch].slot};
    wal_tail_write(blocks, &t);
    wal_tail_write(blocks + WAL_BLOCK, &t);
    char path[128];
    path_of(path, "tail");
    write_file(path, blocks, sizeof blocks);
}

static void flip(unsigned segment, size_t offset, unsigned bit)
{
    uint8_t b = (uint8_t)(map.saved[segment].data[offset] ^ (1u << bit));
    poke(segment, offset, &b, 1);
}

/* Opening finds damage in that file, from..to, after that slot, and says so. */
static void assert_found(unsigned segment, size_t from, size_t to, uint64_t after_slot)
{
    struct mb_wal *w;
    struct mb_error e;
    char path[128];
    segment_path(path, segment);
    assert_int_equal(reopen(&w, &e), MB_ECORRUPT);
    assert_string_equal(e.code, "wal.corrupt");
    assert_memory_equal(e.text, path, strlen(path));
    const char *offset = strstr(e.text, ", offset "), *slot = strstr(e.text, ", after slot ");
    assert_non_null(offset);
    assert_non_null(slot);
    assert_in_range(strtoull(offset + 9, NULL, 10), from, to);
    assert_int_equal(strtoull(slot + 13, NULL, 10), after_slot);
}

static uint64_t slot_before(unsigned batch)
{
    uint64_t slot = 0;
    for (unsigned i = 0; i < batch; i++)
        if (map.of[i].slot > slot)
            slot = map.of[i].slot;
    return slot;
}

static void test_every_flipped_bit_is_found(void **state)
{
    (void)state;
    make_log();
    for (unsigned i = 0; i + 1 < map.batches; i++) { /* all but the mark at the end */
        const struct place *p = &map.of[i];
        /* Every byte of the header and of the record's, then some of the payload. */
        size_t step = 1;
        for (size_t at = 0; at < p->bytes; at += step) {
            if (at >= WAL_BATCH_HEADER + WAL_RECORD_HEADER)
                step = 61 + p->bytes / 7;
            else if (i > 3 && i % 9 != 0)
                step = 11;
            flip(p->segment, p->offset + at, (unsigned)(at + i) % 8);
            assert_found(p->segment, p->offset, p->offset + at, slot_before(i));
            poke(p->segment, p->offset + at, map.saved[p->segment].data + p->offset + at, 1);
        }
    }
    for (unsigned s = 1; s <= map.segments; s++) {
        unsigned first = 0;
        while (map.of[first].segment != s)
            first++;
        for (unsigned at = 0; at < 96; at++) {
            flip(s, at, at % 8);
            assert_found(s, 0, 0, slot_before(first));
            put_back(s);
        }
    }
    assert_holds(1, map.last_slot);
    clear_map();
}

static void test_damage_in_an_unmarked_place_costs_nothing(void **state)
{
    (void)state;
    make_log();
    const struct place *mark = &map.of[map.batches - 1];
    for (size_t at = 0; at < WAL_BATCH_HEADER; at++) {
        flip(mark->segment, mark->offset + at, 3);
        assert_int_equal(mark->slot, 0);
        struct mb_wal *w = open_log();
        assert_int_equal(seen.last, map.last_slot);
        mb_wal_close(w);
        put_back(mark->segment);
    }
    flip(1, map.of[0].offset + map.of[0].bytes, 0); /* padding */
    assert_holds(1, map.last_slot);
    clear_map();
}

static void test_zeroed_record_and_batch(void **state)
{
    (void)state;
    static const uint8_t zeros[65536];
    make_log();
    for (unsigned i = 0; i + 1 < map.batches; i++) {
        const struct place *p = &map.of[i];
        if (p->slot != 0) {
            poke(p->segment, p->offset + WAL_BATCH_HEADER, zeros, p->bytes - WAL_BATCH_HEADER);
            assert_found(p->segment, p->offset, p->offset + WAL_BATCH_HEADER, slot_before(i));
            put_back(p->segment);
        }
        poke(p->segment, p->offset, zeros, p->bytes);
        assert_found(p->segment, p->offset, p->offset, slot_before(i));
        put_back(p->segment);
    }
    clear_map();
}

static void test_swapped_batches(void **state)
{
    (void)state;
    make_log();
    for (unsigned i = 0; i + 2 < map.batches; i++) {
        const struct place *a = &map.of[i], *b = &map.of[i + 1];
        if (a->segment != b->segment || a->bytes > WAL_BLOCK || b->bytes > WAL_BLOCK)
            continue;
        poke(a->segment, a->offset, map.saved[b->segment].data + b->offset, WAL_BLOCK);
        poke(b->segment, b->offset, map.saved[a->segment].data + a->offset, WAL_BLOCK);
        assert_found(a->segment, a->offset, a->offset, slot_before(i));
        put_back(a->segment);
    }
    clear_map();
}

/* Two records of equal length in one batch: each is right by itself. */
static void test_swapped_records(void **state)
{
    (void)state;
    struct mb_wal *w = open_log();
    struct mb_wal_record r[2] = {{.kind = 1, .slot = 1, .payload = mb_bytes_of("aaaa")},
                                 {.kind = 1, .slot = 2, .payload = mb_bytes_of("bbbb")}};
    mb_wal_append(w, NULL, r, 2, NULL, NULL, NULL);
    mb_wal_close(w);
    char path[128];
    segment_path(path, 1);
    map.saved[1] = read_file(path);
    size_t at = WAL_BLOCK + WAL_BATCH_HEADER, len = WAL_RECORD_HEADER + 4;
    poke(1, at, map.saved[1].data + at + len, len);
    poke(1, at + len, map.saved[1].data + at, len);
    assert_found(1, WAL_BLOCK, WAL_BLOCK, 0);
    mb_buf_clear(&map.saved[1]);
}

static void test_truncated_and_missing_files(void **state)
{
    (void)state;
    make_log();
    for (unsigned s = 1; s <= map.segments; s++) {
        char path[128];
        segment_path(path, s);
        unsigned first = 0;
        while (map.of[first].segment != s)
            first++;
        static const size_t lengths[] = {0, 100, 4096, 8192, 9000, SEGMENT - 1};
        for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
            assert_int_equal(truncate(path, (off_t)lengths[i]), 0);
            assert_found(s, 0, lengths[i], slot_before(first));
            put_back(s);
        }
        unlink(path);
        /* Without the first, nobody knows which slot came before: the second says it. */
        assert_found(s, 0, 0, slot_before(first));
        put_back(s);
    }
    assert_holds(1, map.last_slot);
    clear_map();
}

static void test_files_of_another_place(void **state)
{
    (void)state;
    make_log();
    char path[128];
    segment_path(path, 2); /* a copy of the first in place of the second */
    write_file(path, map.saved[1].data, map.saved[1].len);
    unsigned first = 0;
    while (map.of[first].segment != 2)
        first++;
    assert_found(2, 0, 0, slot_before(first));
    clear_map();
}

/* A crash while the last batch was written: it alone is dropped, and the log goes on. */
static void test_torn_tail(void **state)
{
    (void)state;
    static const uint8_t zeros[65536];
    make_log();
    const struct place *mark = &map.of[map.batches - 1], *last = &map.of[map.batches - 2];
    assert_int_equal(last->slot, map.last_slot);
    assert_int_equal(last->segment, mark->segment);
    assert_true(last->bytes > 2 * WAL_BLOCK); /* slot 55 has 9000 bytes */
    for (size_t keep = 0; keep < last->bytes; keep += 512) {
        poke(mark->segment, mark->offset, zeros, WAL_BLOCK);
        poke(last->segment, last->offset + keep, zeros, last->bytes - keep);
        put_tail(map.batches - 3); /* it was never durable */
        struct mb_wal *w = open_log();
        assert_int_equal(seen.last, map.last_slot - 1);
        assert_int_equal(seen.replayed, map.last_slot - 1);
        append_each(w, map.last_slot, map.last_slot + 1);
        mb_wal_close(w);
        assert_holds(1, map.last_slot + 1);
        char path[128];
        segment_path(path, last->segment + 1); /* it may have gone on there */
        unlink(path);
        put_back(last->segment);
    }
    clear_map();
}

static void test_idle_mark_protects_the_last_batch(void **state)
{
    (void)state;
    struct mb_wal *w = open_log();
    append_each(w, 1, 3);
    uint64_t syncs = mb_wal_stats(w).fsyncs;
    int64_t end = mb_now_ms() + 5000;
    while (mb_wal_stats(w).fsyncs == syncs && mb_now_ms() < end)
        mb_loop_once(loop, 20);
    assert_int_equal(mb_wal_stats(w).fsyncs, syncs + 1);
    for (int i = 0; i < 15; i++)
        mb_loop_once(loop, 20);
    assert_int_equal(mb_wal_stats(w).fsyncs, syncs + 1); /* one, not one each time */
    char path[128];
    segment_path(path, 1);
    struct mb_buf now = read_file(path); /* as a kill would leave it */
    mb_wal_close(w);
    now.data[3 * WAL_BLOCK + WAL_BATCH_HEADER] ^= 1;
    write_file(path, now.data, now.len);
    assert_found(1, 3 * WAL_BLOCK, 3 * WAL_BLOCK + WAL_BATCH_HEADER, 2);
    mb_buf_clear(&now);
}

/* A crash after the next segment was made, before the old one said that it goes on there. */
static void test_crash_between_segments(void **state)
{
    (void)state;
    static const uint8_t zeros[SEGMENT];
    make_log();
    unsigned i = 0;
    while (!map.of[i].ends_segment || map.of[i].segment + 1 != map.segments)
        i++;
    uint64_t before = slot_before(i);
    put_tail(i - 1);
    poke(map.segments, WAL_BLOCK, zeros, SEGMENT - WAL_BLOCK);
    poke(map.of[i].segment, map.of[i].offset, zeros, WAL_BLOCK);
    struct mb_wal *w = open_log();
    assert_int_equal(seen.last, before);
    append_each(w, (unsigned)before + 1, (unsigned)before + 20);
    mb_wal_close(w);
    assert_holds(1, (unsigned)before + 20);
    clear_map();
}

/* Trouble with the disk */

static void test_disk_full(void **state)
{
    (void)state;
    struct mb_wal *w = open_log();
    append_each(w, 1, 4);
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = SEGMENT;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static uint8_t big[2 * SEGMENT];
    struct mb_wal_record r = {.kind = 1, .slot = 9, .payload = mb_bytes(big, sizeof big)};
    mb_wal_append(w, NULL, &r, 1, NULL, on_durable, NULL);
    append(w, 10, on_durable, NULL);
    for (int i = 0; i < 100 && seen.failed == 0; i++)
        mb_loop_once(loop, 100);
    append(w, 11, on_durable, NULL); /* goes nowhere, harmlessly */
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(seen.failed, 1);
    assert_string_equal(seen.failure.code, "wal.full");
    assert_int_equal(seen.durable, 4);
    mb_wal_close(w);
    assert_int_equal(seen.failed, 1);
    assert_holds(1, 4);

    tools_empty(dir); /* no room even to begin */
    small.rlim_cur = SEGMENT / 2;
    struct mb_error e;
    setrlimit(RLIMIT_FSIZE, &small);
    int rc = mb_wal_create(dir, SEGMENT, &e);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(rc, MB_EIO);
    assert_string_equal(e.code, "wal.full");
    assert_int_equal(mb_wal_create(dir, SEGMENT, &e), 0); /* nothing of it was left behind */
    assert_holds(0, 0);
}

static uint64_t told;
static void tell(void *arg)
{
    uint64_t slot = told = (uint64_t)(uintptr_t)arg;
    if (write(3, &slot, sizeof slot) != sizeof slot)
        _exit(2);
}

static _Noreturn void write_until_killed(uint64_t from)
{
    struct mb_loop *own = mb_loop_new();
    struct mb_wal_options o = {.segment_bytes = SEGMENT};
    struct mb_wal *w;
    struct mb_error e;
    if (mb_wal_open(&w, own, dir, &o, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        _exit(1);
    }
    for (uint64_t s = from;; s++) {
        append(w, s, tell, (void *)(uintptr_t)s);
        if (s % 7 == 0) {
            mb_wal_release(w, told > 60 ? told - 60 : 0);
            mb_loop_once(own, 1);
        }
    }
}

static void test_killed_at_any_time(void **state)
{
    (void)state;
    uint64_t reported = 0, last = 0;
    for (int round = 0; round < 40; round++) {
        int fds[2];
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(fds[1], 3);
            write_until_killed(last + 1);
        }
        close(fds[1]);
        usleep((useconds_t)(1000 + round * 1777 % 20000));
        kill(pid, SIGKILL);
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        for (uint64_t slot; read(fds[0], &slot, sizeof slot) == sizeof slot;)
            reported = slot;
        close(fds[0]);
        struct mb_wal *w = open_log();
        assert_true(seen.last >= reported);
        assert_true(seen.last == 0 || seen.first <= 1 || seen.first + 59 <= seen.last);
        last = seen.last;
        mb_wal_close(w);
    }
    assert_true(reported > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),
        TEST(test_what_is_appended_is_replayed),
        TEST(test_group_commit),
        TEST(test_several_records_in_one_append),
        TEST(test_the_largest_record),
        TEST(test_released_segments_are_used_again),
        TEST(test_replay_may_stop),
        TEST(test_one_process_at_a_time),
        TEST(test_close_calls_what_is_due),
        TEST(test_every_flipped_bit_is_found),
        TEST(test_damage_in_an_unmarked_place_costs_nothing),
        TEST(test_zeroed_record_and_batch),
        TEST(test_swapped_batches),
        TEST(test_swapped_records),
        TEST(test_truncated_and_missing_files),
        TEST(test_files_of_another_place),
        TEST(test_torn_tail),
        TEST(test_idle_mark_protects_the_last_batch),
        TEST(test_crash_between_segments),
        TEST(test_disk_full),
        TEST(test_killed_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
