/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What damage may do to a log, and may not: no opening says that nothing was lost when something
 * was. Each case is opened without and with tolerance, written to, opened again, released, and
 * opened once more. MB_SEED and MB_RUNS choose the random cases.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/tools.h"
#include "loop/log.h"
#include "wal/segment.h"
#include "wal/wal.h"

#define SEGMENT   32768u
#define SLOTS     1000u
#define FILES_MAX 64u

static struct mb_loop *loop;
static char dir[64];

/* A disk that cannot read one block: pread is the program's own here. */
static off_t unreadable = -1;
static ino_t unreadable_file;
ssize_t pread(int fd, void *to, size_t n, off_t at)
{
    struct stat st;
    if (unreadable >= at && unreadable < at + (off_t)n && fstat(fd, &st) == 0 &&
        st.st_ino == unreadable_file) {
        errno = EIO;
        return -1;
    }
    return (ssize_t)syscall(SYS_pread64, fd, to, n, at);
}

/* --- The folder, in memory. --- */

struct file {
    char name[40];
    struct mb_buf bytes;
};
struct image {
    struct file of[FILES_MAX];
    unsigned count;
};

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static void image_clear(struct image *image)
{
    for (unsigned i = 0; i < image->count; i++)
        mb_buf_clear(&image->of[i].bytes);
    image->count = 0;
}

/* The segments by their numbers, then tail. */
static void image_read(struct image *image)
{
    image_clear(image);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strncmp(e->d_name, "log-", 4) != 0 && strcmp(e->d_name, "tail") != 0)
            continue;
        assert_true(image->count < FILES_MAX);
        struct file *f = &image->of[image->count++];
        *f = (struct file){0};
        mb_snprintf(f->name, sizeof f->name, "%s", e->d_name);
        tools_read(dir, f->name, &f->bytes);
    }
    closedir(d);
    qsort(image->of, image->count, sizeof *image->of, compare_files);
    assert_string_equal(image->of[image->count - 1].name, "tail");
}

static void image_write(const struct image *image)
{
    tools_empty(dir);
    for (unsigned i = 0; i < image->count; i++)
        tools_write(dir, image->of[i].name, mb_buf_bytes(&image->of[i].bytes), 0600);
}

static void image_copy(struct image *to, const struct image *from)
{
    image_clear(to);
    for (unsigned i = 0; i < from->count; i++) {
        struct file *f = &to->of[to->count++];
        *f = (struct file){0};
        memcpy(f->name, from->of[i].name, sizeof f->name);
        mb_buf_add_bytes(&f->bytes, mb_buf_bytes(&from->of[i].bytes));
    }
}

static bool image_equal(const struct image *a, const struct image *b)
{
    bool same = a->count == b->count;
    for (unsigned i = 0; same && i < a->count; i++)
        same = strcmp(a->of[i].name, b->of[i].name) == 0 &&
               mb_bytes_equal(mb_buf_bytes(&a->of[i].bytes), mb_buf_bytes(&b->of[i].bytes));
    return same;
}

static void image_remove(struct image *image, unsigned file)
{
    mb_buf_clear(&image->of[file].bytes);
    memmove(image->of + file, image->of + file + 1, (--image->count - file) * sizeof *image->of);
}

/* The batches of an image. */
struct place {
    unsigned file;
    size_t offset, bytes; /* without the padding */
    bool mark;
};
static struct place places[500];
static unsigned place_count;

static void find_places(const struct image *image)
{
    place_count = 0;
    for (unsigned i = 0; i + 1 < image->count; i++) {
        struct mb_bytes b = mb_buf_bytes(&image->of[i].bytes);
        struct wal_segment s;
        struct wal_batch batch;
        assert_true(wal_segment_read(&s, b));
        for (size_t at = WAL_BLOCK; at < b.len; at += (size_t)wal_batch_space(batch.bytes)) {
            if (!wal_batch_read(&batch, s.salt, mb_bytes(b.data + at, b.len - at)))
                break;
            assert_true(place_count < sizeof places / sizeof *places);
            places[place_count++] = (struct place){.file = i,
                                                   .offset = at,
                                                   .bytes = WAL_BATCH_HEADER + batch.bytes,
                                                   .mark = batch.count == 0};
        }
    }
}

/* --- What was made durable, and what was found. --- */

struct model {
    uint32_t version[SLOTS]; /* of the newest record for that slot; 0: none */
    uint32_t stamp;
    uint64_t released, slot; /* the greatest so far */
};
static struct model durable; /* of which durable() was called */
static struct model found;
static bool was_durable;

static uint64_t random_state;
static uint32_t below(uint32_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % n;
}

static size_t payload_len(uint64_t slot, uint32_t version)
{
    return (slot * 7 + version) % 9 == 0 ? 9000 : 4 + (slot * 131 + version * 17) % 700;
}

static int on_replay(void *arg, const struct mb_wal_record *r)
{
    (void)arg;
    assert_int_equal(r->kind, MB_WAL_ACCEPTED);
    assert_in_range(r->slot, 1, SLOTS - 1);
    struct mb_cursor c = mb_cursor(r->payload);
    uint32_t version = mb_cursor_u32(&c);
    assert_int_equal(r->payload.len, payload_len(r->slot, version));
    assert_true(version >= found.version[r->slot]); /* oldest first */
    found.version[r->slot] = version;
    return 0;
}

static int log_open(struct mb_wal **w, bool tolerate, struct mb_error *error)
{
    struct mb_wal_options o = {.segment_bytes = SEGMENT, .tolerate = tolerate, .replay = on_replay};
    found = (struct model){0};
    int rc = mb_wal_open(w, loop, dir, &o, error);
    if (rc == 0) {
        struct mb_wal_stamp s = mb_wal_newest_stamp(*w);
        memcpy(&found.stamp, s.bytes, sizeof found.stamp);
    }
    return rc;
}

static void on_durable(void *arg)
{
    (void)arg;
    was_durable = true;
}

/* One append of count records, and a stamp if there is none or stamped; durable when it returns. */
static void put(struct mb_wal *w, const uint64_t *slots, unsigned count, bool stamped)
{
    static uint8_t payloads[8][16384];
    struct mb_wal_record r[8];
    struct mb_wal_stamp stamp = {{0}};
    uint32_t number = durable.stamp + 1;
    memcpy(stamp.bytes, &number, sizeof number);
    for (unsigned i = 0; i < count; i++) {
        uint64_t slot = slots[i];
        uint32_t v = ++durable.version[slot];
        memset(payloads[i], (int)slot, sizeof payloads[i]);
        for (unsigned b = 0; b < 4; b++)
            payloads[i][b] = (uint8_t)(v >> (24 - 8 * b));
        r[i] = (struct mb_wal_record){.kind = MB_WAL_ACCEPTED,
                                      .slot = slot,
                                      .payload = mb_bytes(payloads[i], payload_len(slot, v))};
        if (slot > durable.slot)
            durable.slot = slot;
    }
    was_durable = false;
    mb_wal_append(w, stamped ? &stamp : NULL, r, count, NULL, on_durable, NULL);
    int64_t end = mb_now_ms() + 10000;
    while (!was_durable && mb_now_ms() < end)
        mb_loop_once(loop, 100);
    assert_true(was_durable);
    durable.stamp = stamped ? number : durable.stamp;
}

/* Slots of which something durable was not found, the greatest; 0: nothing was lost. */
static uint64_t lost(void)
{
    for (uint64_t s = SLOTS - 1; s > durable.released; s--)
        if (found.version[s] < durable.version[s])
            return s;
    return 0;
}

/* --- One case. --- */

static struct image whole, hurt, now;
static unsigned refused, tolerated, harmless;

/* Open what is there without tolerance: refused with nothing changed, or nothing was lost. */
static bool open_strictly(void)
{
    struct mb_wal *w;
    struct mb_error e;
    int rc = log_open(&w, false, &e);
    if (rc == 0) {
        assert_int_equal(lost(), 0);
        assert_true(found.stamp >= durable.stamp);
        assert_false(mb_wal_damage(w)->found);
        mb_wal_close(w);
        return true;
    }
    assert_true((rc == MB_ECORRUPT && strcmp(e.code, "wal.corrupt") == 0) ||
                (rc == MB_ENOENT && strcmp(e.code, "wal.lost") == 0));
    assert_non_null(strstr(e.text, "copy of the disk")); /* the way back */
    image_read(&now);
    assert_true(image_equal(&hurt, &now));
    return false;
}

/* A new record must be found next to what was found before, and the damage again. */
static void go_on(struct mb_wal *w)
{
    struct mb_wal_damage before = *mb_wal_damage(w);
    uint64_t lost_before = lost();
    uint64_t slot = durable.slot + 1;
    put(w, &slot, 1, true);
    mb_wal_close(w);

    struct mb_error e;
    if (log_open(&w, true, &e) != 0)
        fail_msg("again: %s", e.text);
    assert_int_equal(found.version[slot], durable.version[slot]);
    assert_true(found.stamp == durable.stamp);
    assert_int_equal(mb_wal_damage(w)->found, before.found);
    assert_true(lost() <= mb_wal_damage(w)->faulty_to);
    assert_true(lost() == 0 || lost() == lost_before);
    durable.released = durable.slot;
    mb_wal_release(w, durable.released);
    slot = durable.slot + 1;
    put(w, &slot, 1, true);
    mb_wal_close(w);

    if (log_open(&w, false, &e) != 0)
        fail_msg("released: %s", e.text);
    assert_int_equal(lost(), 0);
    assert_true(found.stamp == durable.stamp);
    mb_wal_close(w);
}

/* whole with what was done to it in hurt; true if it was found to be damage. */
static bool check(void)
{
    struct model saved = durable;
    image_write(&hurt);
    bool fine = open_strictly();
    image_write(&hurt);
    struct mb_wal *w;
    struct mb_error e;
    int rc = log_open(&w, true, &e);
    if (rc != 0) {
        assert_false(fine);
        assert_true(strcmp(e.code, "wal.lost") == 0 || strstr(e.text, "/tail is") != NULL);
        refused++;
        return true;
    }
    const struct mb_wal_damage *d = mb_wal_damage(w);
    assert_int_equal(d->found, !fine);
    if (d->found)
        assert_int_equal(strncmp(d->text, dir, strlen(dir)), 0);
    assert_true(lost() <= d->faulty_to); /* which is 0 if nothing was found */
    assert_true(d->found || d->faulty_to == 0);
    assert_true(found.stamp >= durable.stamp);
    tolerated += d->found;
    harmless += !d->found;
    go_on(w);
    durable = saved;
    return !fine;
}

/* Make hurt what whole is. */
static void restart(void)
{
    image_copy(&hurt, &whole);
}

static void write_at(unsigned file, size_t at, const void *data, size_t len)
{
    struct mb_buf *b = &hurt.of[file].bytes;
    if (at < b->len)
        memcpy(b->data + at, data, len < b->len - at ? len : b->len - at);
}

static void zero_at(unsigned file, size_t at, size_t len)
{
    struct mb_buf *b = &hurt.of[file].bytes;
    if (at < b->len)
        memset(b->data + at, 0, len < b->len - at ? len : b->len - at);
}

static void swap_files(unsigned a, unsigned b)
{
    struct mb_buf t = hurt.of[a].bytes;
    hurt.of[a].bytes = hurt.of[b].bytes;
    hurt.of[b].bytes = t;
}

static void swap_places(const struct place *a, const struct place *b)
{
    for (unsigned i = 0; i < 2; i++) {
        const struct place *to = i == 0 ? a : b, *from = i == 0 ? b : a;
        size_t len = (size_t)wal_batch_space((uint32_t)(from->bytes - WAL_BATCH_HEADER));
        write_at(to->file, to->offset, whole.of[from->file].bytes.data + from->offset, len);
    }
}

/* --- A log to hurt. --- */

static int setup(void **state)
{
    (void)state;
    /* In memory if that can be: this is about what is found, and thousands of syncs take minutes.
     */
    mb_snprintf(dir, sizeof dir, "%s/mb-test-wal-damage-XXXXXX",
                access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (mkdtemp(dir) == NULL)
        return -1;
    mb_log_file("/dev/null");
    loop = mb_loop_new();
    durable = (struct model){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    image_clear(&whole);
    image_clear(&hurt);
    image_clear(&now);
    mb_loop_free(loop);
    mb_log_file(NULL);
    tools_empty(dir);
    return rmdir(dir);
}

static struct mb_wal *make_log(unsigned appends, bool releases)
{
    struct mb_wal *w;
    tools_empty(dir);
    durable = (struct model){0};
    assert_int_equal(mb_wal_create(dir, SEGMENT, NULL), 0);
    assert_int_equal(log_open(&w, false, NULL), 0);
    for (unsigned i = 0; i < appends; i++) {
        uint64_t slots[4];
        unsigned count = below(6) == 0 ? 0 : 1 + below(4);
        for (unsigned k = 0; k < count; k++) {
            slots[k] = durable.slot + 1 + k; /* some again, in another ballot */
            if (below(4) == 0 && durable.slot > durable.released + 1)
                slots[k] -= 1 + below((uint32_t)(durable.slot - durable.released - 1));
            for (unsigned j = 0; j < k; j++)
                if (slots[j] == slots[k])
                    count = k;
        }
        put(w, slots, count, count == 0 || below(5) == 0);
        if (releases && below(8) == 0 && durable.slot > 12) {
            durable.released = durable.slot - 12;
            mb_wal_release(w, durable.released);
        }
        if (below(40) == 0) {
            mb_wal_close(w);
            assert_int_equal(log_open(&w, false, NULL), 0);
        }
    }
    return w;
}

/* As it is when killed, and when closed. */
static void make_whole(unsigned appends, bool releases, bool closed)
{
    struct mb_wal *w = make_log(appends, releases);
    if (!closed)
        image_read(&whole);
    mb_wal_close(w);
    if (closed)
        image_read(&whole);
    find_places(&whole);
}

/* --- Tests. --- */

enum how { FLIP, ZERO, ZERO_BLOCK, ZERO_REST, GARBAGE, CUT, HOWS };

static void hurt_at(unsigned file, size_t at, enum how how)
{
    struct mb_buf *b = &hurt.of[file].bytes;
    uint8_t garbage[512];
    memset(garbage, 0xc3, sizeof garbage);
    restart();
    switch (how) {
    case FLIP:
        b->data[at] ^= 0x10;
        break;
    case ZERO:
        zero_at(file, at, 40);
        break;
    case ZERO_BLOCK:
        zero_at(file, at / WAL_BLOCK * WAL_BLOCK, WAL_BLOCK);
        break;
    case ZERO_REST:
        zero_at(file, at, b->len);
        break;
    case GARBAGE:
        write_at(file, at, garbage, sizeof garbage);
        break;
    default:
        b->len = at;
        break;
    }
}

/* Every class of place, in the first, a middle and the last batch of the first, a middle and the
 * last segment, in every way. */
static void test_every_class_of_place(void **state)
{
    (void)state;
    random_state = 7;
    for (unsigned closed = 0; closed < 2; closed++) {
        make_whole(40, false, closed == 1);
        unsigned files = whole.count - 1, chosen[3] = {0, files / 2, files - 1};
        assert_true(files >= 5);
        for (unsigned f = 0; f < 3; f++) {
            for (unsigned how = 0; how < HOWS; how++) {
                hurt_at(chosen[f], 20, how);
                assert_true(check());
            }
            unsigned first = 0, last = place_count - 1;
            while (places[first].file != chosen[f])
                first++;
            while (places[last].file != chosen[f])
                last--;
            unsigned batches[4] = {first, (first + last) / 2, last > first ? last - 1 : last, last};
            for (unsigned b = 0; b < 4; b++) {
                const struct place p = places[batches[b]];
                bool end = closed == 1 && batches[b] == place_count - 1; /* means nothing */
                size_t at[] = {20, 70, WAL_BATCH_HEADER + 2, WAL_BATCH_HEADER + 40};
                for (unsigned i = 0; i < sizeof at / sizeof *at; i++)
                    for (unsigned how = 0; how < HOWS && at[i] < p.bytes; how++) {
                        hurt_at(p.file, p.offset + at[i], how);
                        bool same = image_equal(&hurt, &whole);
                        assert_int_equal(check(), !same && (!end || how == CUT));
                    }
            }
        }
    }
    assert_true(tolerated > 300 && refused == 0);
}

static void test_padding_means_nothing(void **state)
{
    (void)state;
    random_state = 8;
    make_whole(12, false, true);
    for (unsigned i = 0; i < place_count; i++) {
        restart();
        if (places[i].bytes % WAL_BLOCK == 0)
            continue;
        hurt.of[places[i].file].bytes.data[places[i].offset + places[i].bytes] ^= 1;
        assert_false(check());
    }
}

static void test_exchanged(void **state)
{
    (void)state;
    random_state = 9;
    make_whole(30, false, true);
    for (unsigned i = 0; i + 1 < place_count; i += 2) {
        restart();
        swap_places(&places[i], &places[i + 1]);
        assert_true(check());
        restart();
        swap_places(&places[i], &places[below(place_count - 1)]);
        if (!image_equal(&hurt, &whole))
            assert_true(check());
    }
    for (unsigned i = 0; i + 2 < whole.count; i++) {
        restart();
        swap_files(i, i + 1);
        assert_true(check());
        restart();
        image_remove(&hurt, i);
        assert_true(check());
    }
}

static void test_tail_file(void **state)
{
    (void)state;
    random_state = 10;
    for (unsigned closed = 0; closed < 2; closed++) {
        make_whole(20, false, closed == 1);
        unsigned tail = whole.count - 1;
        for (size_t at = 0; at<2 * WAL_BLOCK; at += at % WAL_BLOCK> 80 ? 1000 : 5)
            for (unsigned how = FLIP; how <= ZERO_BLOCK; how++) {
                hurt_at(tail, at, how); /* one of the two: nothing of the log was lost */
                assert_false(check());
            }
        restart(); /* exchanged */
        write_at(tail, 0, whole.of[tail].bytes.data + WAL_BLOCK, WAL_BLOCK);
        write_at(tail, WAL_BLOCK, whole.of[tail].bytes.data, WAL_BLOCK);
        assert_false(check());
        unsigned before = refused;
        static const size_t lengths[] = {0, 30};
        for (unsigned i = 0; i < 2; i++) {
            hurt_at(tail, lengths[i], CUT);
            assert_true(check());
        }
        hurt_at(tail, 0, ZERO_REST);
        assert_true(check());
        restart();
        image_remove(&hurt, tail);
        image_write(&hurt);
        struct mb_wal *w;
        struct mb_error e;
        assert_int_equal(log_open(&w, true, &e), MB_ECORRUPT);
        assert_non_null(strstr(e.text, "/tail is missing"));
        assert_int_equal(refused - before, 3);
    }
}

/* The machine lost power: the tail is old, and the last batch, of which nobody was told, is torn.
 */
static void test_power_cut(void **state)
{
    (void)state;
    random_state = 11;
    struct mb_wal *w = make_log(25, false);
    image_read(&whole);
    struct model before = durable;
    uint64_t slot = 7 * 9 - durable.version[0]; /* 9,000 bytes */
    while (payload_len(slot, durable.version[slot] + 1) != 9000)
        slot++;
    put(w, &slot, 1, true);
    image_read(&now);
    struct model after = durable;
    mb_wal_close(w);
    find_places(&now);
    const struct place p = places[place_count - 1];
    assert_true(p.bytes > 2 * WAL_BLOCK);
    struct image with = {0};
    image_copy(&with, &now);
    for (size_t lost_from = 0; lost_from < p.bytes; lost_from += 1024) {
        image_copy(&hurt, &with);
        zero_at(p.file, p.offset + lost_from, p.bytes - lost_from);
        durable = after;
        assert_true(check()); /* it had been made durable: the tail says so */
        struct mb_buf *tail = &hurt.of[hurt.count - 1].bytes;
        struct mb_buf *old = &whole.of[whole.count - 1].bytes;
        memcpy(tail->data, old->data, old->len);
        durable = before;
        assert_false(check()); /* it had not */
    }
    image_clear(&with);
}

/* A folder put back from an older copy lacks what the newer tail names. */
static void test_older_copy(void **state)
{
    (void)state;
    random_state = 12;
    struct mb_wal *w = make_log(10, false);
    image_read(&whole);
    uint64_t slot = durable.slot + 1;
    put(w, &slot, 1, false);
    image_read(&now);
    mb_wal_close(w);
    image_copy(&hurt, &whole);
    write_at(hurt.count - 1, 0, now.of[now.count - 1].bytes.data, 2 * WAL_BLOCK);
    assert_true(check());
}

static void test_lost(void **state)
{
    (void)state;
    struct mb_wal *w;
    struct mb_error e;
    for (unsigned i = 0; i < 2; i++) { /* an empty folder, with and without tolerance */
        assert_int_equal(log_open(&w, i == 1, &e), MB_ENOENT);
        assert_string_equal(e.code, "wal.lost");
        assert_non_null(strstr(e.text, "join as a new one"));
    }
    assert_int_equal(mb_wal_create(dir, SEGMENT, &e), 0);
    assert_int_equal(mb_wal_create(dir, SEGMENT, &e), MB_EREFUSED);
    assert_string_equal(e.code, "wal.exists");
    tools_empty(dir);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(log_open(&w, true, &e), MB_ENOENT);
    assert_int_not_equal(access(dir, F_OK), 0); /* and is not made */
    assert_int_equal(mb_wal_create(dir, SEGMENT, &e), 0);
}

/* What damage is about ends with what the next whole batch says was durable before it. */
static void test_faulty_to_is_not_too_much(void **state)
{
    (void)state;
    struct mb_wal *w;
    assert_int_equal(mb_wal_create(dir, SEGMENT, NULL), 0);
    assert_int_equal(log_open(&w, false, NULL), 0);
    for (uint64_t slot = 1; slot <= 30; slot++)
        put(w, &slot, 1, false);
    mb_wal_close(w);
    image_read(&whole);
    find_places(&whole);
    uint64_t slot = 0;
    for (unsigned i = 0; i < place_count; i++) {
        slot += !places[i].mark;
        if (places[i].mark)
            continue;
        restart();
        zero_at(places[i].file, places[i].offset, WAL_BLOCK);
        image_write(&hurt);
        assert_int_equal(log_open(&w, true, NULL), 0);
        assert_int_equal(lost(), slot);
        assert_int_equal(mb_wal_damage(w)->faulty_to, slot);
        mb_wal_close(w);
    }
    assert_int_equal(slot, 30);
}

static void test_unreadable_block(void **state)
{
    (void)state;
    random_state = 13;
    make_whole(30, false, true);
    struct mb_wal *w;
    struct mb_error e;
    for (unsigned i = 0; i < place_count; i += 3) {
        char path[128];
        struct stat st;
        image_write(&whole);
        mb_snprintf(path, sizeof path, "%s/%s", dir, whole.of[places[i].file].name);
        assert_int_equal(stat(path, &st), 0);
        unreadable_file = st.st_ino;
        unreadable = (off_t)places[i].offset;
        assert_int_equal(log_open(&w, false, &e), MB_EIO);
        assert_string_equal(e.code, "wal.io");
        if (log_open(&w, true, &e) != 0)
            fail_msg("%s", e.text);
        assert_true(mb_wal_damage(w)->found);
        assert_true(lost() <= mb_wal_damage(w)->faulty_to && found.stamp == durable.stamp);
        mb_wal_close(w);
        unreadable = -1;
        assert_int_equal(log_open(&w, true, &e), 0); /* it was a passing trouble */
        assert_int_equal(lost(), 0);
        mb_wal_close(w);
    }
}

/* The last batch cannot be read for a while, and the tail is older: nothing else speaks of it. What
 * is written meanwhile comes after it. */
static void test_unreadable_end(void **state)
{
    (void)state;
    random_state = 14;
    struct mb_wal *w = make_log(10, false);
    struct mb_error e;
    struct stat st;
    char path[128];
    image_read(&whole);
    uint64_t slot = durable.slot + 1;
    put(w, &slot, 1, true);
    image_read(&now);
    mb_wal_close(w);
    find_places(&now);
    const struct place p = places[place_count - 1];
    image_copy(&hurt, &now);
    write_at(hurt.count - 1, 0, whole.of[whole.count - 1].bytes.data, 2 * WAL_BLOCK);
    image_write(&hurt);
    mb_snprintf(path, sizeof path, "%s/%s", dir, hurt.of[p.file].name);
    assert_int_equal(stat(path, &st), 0);
    unreadable_file = st.st_ino;
    unreadable = (off_t)p.offset;
    if (log_open(&w, true, &e) != 0)
        fail_msg("%s", e.text);
    assert_true(mb_wal_damage(w)->found);
    slot++;
    put(w, &slot, 1, true);
    mb_wal_close(w);
    unreadable = -1;
    if (log_open(&w, true, &e) != 0)
        fail_msg("%s", e.text);
    assert_int_equal(lost(), 0);
    assert_true(found.stamp == durable.stamp);
    mb_wal_close(w);
}

/* The tail is old, and the last two batches are damaged: the headers still say how far they went.
 */
static void test_headers_say_how_far(void **state)
{
    (void)state;
    random_state = 15;
    struct mb_wal *w = make_log(10, false);
    image_read(&whole);
    uint64_t slot[2] = {durable.slot + 1, durable.slot + 2};
    put(w, &slot[0], 1, true);
    put(w, &slot[1], 1, true);
    image_read(&now);
    mb_wal_close(w);
    find_places(&now);
    image_copy(&hurt, &now);
    write_at(hurt.count - 1, 0, whole.of[whole.count - 1].bytes.data, 2 * WAL_BLOCK);
    for (unsigned i = place_count - 2; i < place_count; i++)
        zero_at(places[i].file, places[i].offset + WAL_BATCH_HEADER, 8);
    assert_true(check());
}

static void random_damage(void)
{
    const struct place *p = &places[below(place_count)], *q = &places[below(place_count)];
    struct mb_buf *b = &hurt.of[p->file].bytes;
    size_t in = p->offset + below((uint32_t)p->bytes);
    switch (below(9)) {
    case 0:
        b->data[below((uint32_t)b->len)] ^= (uint8_t)(1u << below(8));
        break;
    case 1:
        b->data[in] ^= (uint8_t)(1u << below(8));
        break;
    case 2:
        zero_at(p->file, in, below(3 * WAL_BLOCK));
        break;
    case 3:
        zero_at(p->file, p->offset, (1 + below(4)) * (size_t)WAL_BLOCK);
        break;
    case 4:
        zero_at(p->file, in, b->len);
        break;
    case 5:
        b->len = below((uint32_t)b->len);
        break;
    case 6:
        swap_places(p, q);
        break;
    case 7:
        swap_files(p->file, q->file);
        break;
    default:
        write_at(p->file, p->offset, whole.of[q->file].bytes.data + q->offset, WAL_BLOCK);
        break;
    }
}

static void test_random_damage(void **state)
{
    (void)state;
    const char *seed = getenv("MB_SEED"), *runs = getenv("MB_RUNS");
    uint64_t from = seed != NULL ? strtoull(seed, NULL, 10) : 1;
    uint64_t count = runs != NULL ? strtoull(runs, NULL, 10) : 25;
    for (uint64_t s = from; s < from + count; s++) {
        random_state = s * 0x9e3779b97f4a7c15u;
        print_message("seed %llu\n", (unsigned long long)s);
        make_whole(10 + below(50), below(2) == 0, below(2) == 0);
        for (unsigned i = 0; i < 8; i++) {
            restart();
            for (unsigned n = 1 + below(3); n > 0; n--)
                random_damage();
            check();
        }
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_every_class_of_place),
        TEST(test_padding_means_nothing),
        TEST(test_exchanged),
        TEST(test_tail_file),
        TEST(test_power_cut),
        TEST(test_older_copy),
        TEST(test_lost),
        TEST(test_faulty_to_is_not_too_much),
        TEST(test_unreadable_block),
        TEST(test_unreadable_end),
        TEST(test_headers_say_how_far),
        TEST(test_random_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
