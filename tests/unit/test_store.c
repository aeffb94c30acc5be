/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "base/map.h"
#include "merkle/tree.h"
#include "store/store.h"

struct place {
    char folder[32], *path;
    struct mb_store *store;
    struct mb_hash root;
};

static int set_up(void **state)
{
    struct place *p = mb_calloc(1, sizeof *p);
    memcpy(p->folder, "/tmp/mb_store.XXXXXX", 21);
    assert_non_null(mkdtemp(p->folder));
    p->path = mb_asprintf("%s/store.db", p->folder);
    assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    struct place *p = *state;
    mb_store_close(p->store);
    for (size_t i = 0; i < 3; i++) {
        char *path = mb_asprintf("%s%s", p->path, ends[i]);
        unlink(path);
        free(path);
    }
    assert_int_equal(rmdir(p->folder), 0);
    free(p->path);
    free(p);
    return 0;
}

static struct mb_tree_io io_of(struct mb_backend b)
{
    return (struct mb_tree_io){b.self, b.ops->page_load, b.ops->page_save};
}

/* One change of one key, its trees with it. */
static void write_key(struct place *p, uint64_t slot, const char *key, const char *text)
{
    struct mb_backend b = mb_store_backend(p->store);
    struct mb_tree_io io = io_of(b);
    size_t module_len = strcspn(key, "/");
    char *module = mb_strndup(key, module_len);
    struct mb_bytes bytes = text ? mb_bytes_of(text) : mb_bytes(NULL, 0);
    struct mb_tree_change ch = {mb_sha256(key, strlen(key)), mb_sha256(bytes.data, bytes.len),
                                text != NULL};
    struct mb_tree_change top = {mb_sha256(key, module_len), mb_hash_zero, false};
    assert_int_equal(b.ops->put(b.self, slot, key, bytes), 0);
    assert_int_equal(mb_tree_update(&io, module, &ch, 1, &top.value_hash, NULL), 0);
    top.present = !mb_hash_is_zero(&top.value_hash);
    assert_int_equal(mb_tree_update(&io, "", &top, 1, &p->root, NULL), 0);
    free(module);
}

static uint64_t rng = 7;

static uint64_t next(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng;
}

static void write_some(struct place *p, uint64_t slot, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char key[32], text[32];
        assert_int_equal(mb_snprintf(key, sizeof key, "%s/%u", next() % 4 ? "vcs" : "core",
                                     (unsigned)(next() % 300)),
                         0);
        assert_int_equal(mb_snprintf(text, sizeof text, "%u", (unsigned)(next() % 1000)), 0);
        write_key(p, slot, key, next() % 3 ? text : NULL);
    }
}

/* All that a backend shows, as "key=text\n…", by seek, each found by get too. */
static void dump(struct mb_backend b, struct mb_buf *out)
{
    struct mb_buf key = {0}, value = {0}, again = {0}, from = {0};
    while (b.ops->seek(b.self, "", mb_buf_text(&from), &key, &value) == 1) {
        mb_buf_reset(&again);
        assert_int_equal(b.ops->get(b.self, mb_buf_text(&key), &again), 1);
        assert_true(mb_bytes_equal(mb_buf_bytes(&value), mb_buf_bytes(&again)));
        mb_buf_addf(out, "%s=%s\n", mb_buf_text(&key), mb_buf_text(&value));
        mb_buf_reset(&from);
        mb_buf_addf(&from, "%s\x01", mb_buf_text(&key));
        mb_buf_reset(&key);
        mb_buf_reset(&value);
    }
    mb_buf_clear(&key);
    mb_buf_clear(&value);
    mb_buf_clear(&again);
    mb_buf_clear(&from);
}

/* What the state was at a checkpoint. */
struct copy {
    uint64_t slot;
    struct mb_buf text;
    struct mb_hash root;
};

static void assert_view(struct place *p, struct copy *c)
{
    struct mb_store_view *v;
    struct mb_buf text = {0}, proof = {0};
    struct mb_hash root;
    assert_int_equal(mb_store_view_new(&v, p->store, c->slot, NULL), 0);
    struct mb_backend b = mb_store_view_backend(v);
    struct mb_tree_io io = io_of(b);
    dump(b, &text);
    assert_string_equal(mb_buf_text(&text), mb_buf_text(&c->text));
    assert_int_equal(mb_tree_root(&io, "", &root, NULL), 0);
    assert_memory_equal(&root, &c->root, 32);
    for (unsigned i = 0; i < 300; i += 7) {
        char key[32];
        struct mb_buf value = {0};
        assert_int_equal(mb_snprintf(key, sizeof key, "vcs/%u", i), 0);
        int there = b.ops->get(b.self, key, &value);
        mb_buf_reset(&proof);
        assert_int_equal(mb_state_prove(&io, key, &proof, NULL), 0);
        assert_int_equal(mb_state_verify(mb_buf_bytes(&proof), &c->root, key,
                                         there ? mb_buf_bytes(&value) : mb_bytes(NULL, 0), NULL),
                         0);
        mb_buf_clear(&value);
    }
    mb_store_view_free(v);
    mb_buf_clear(&text);
    mb_buf_clear(&proof);
}

static void test_views(void **state)
{
    struct place *p = *state;
    struct copy copies[12] = {0};
    struct mb_store_view *v, *late = NULL;
    struct mb_error error;
    for (uint64_t slot = 0, n = 0; slot < 36; slot++) {
        assert_int_equal(mb_store_begin(p->store, NULL), 0);
        write_some(p, slot, 25);
        if (slot % 3 == 0) {
            assert_int_equal(mb_store_mark_checkpoint(p->store, slot, NULL), 0);
            copies[n].slot = slot;
            copies[n].root = p->root;
            dump(mb_store_backend(p->store), &copies[n++].text);
        }
        assert_int_equal(mb_store_commit(p->store, NULL), 0);
        assert_view(p, &copies[n - 1]);
        if (n >= 2)
            assert_view(p, &copies[n - 2]);
        if (n >= 3) {
            assert_int_equal(mb_store_view_new(&v, p->store, copies[n - 3].slot, &error),
                             MB_ENOENT);
            assert_string_equal(error.code, "state.pruned");
        }
        if (slot == 10)
            assert_int_equal(mb_store_view_new(&late, p->store, 9, NULL), 0);
        if (slot % 5 == 0) { /* checkpoints outlive the daemon */
            if (late && slot > 10) {
                struct mb_buf value = {0};
                struct mb_backend b = mb_store_view_backend(late);
                int rc = b.ops->get(b.self, "vcs/1", &value);
                assert_true(slot >= 15 ? rc == MB_ENOENT : rc >= 0);
                mb_buf_clear(&value);
                mb_store_view_free(late);
                late = NULL;
            }
            if (!late) {
                mb_store_close(p->store);
                assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
            }
        }
    }
    mb_store_view_free(late);
    assert_int_equal(mb_store_view_new(&v, p->store, 35, NULL), MB_ENOENT);
    assert_int_equal(mb_store_mark_checkpoint(p->store, 1, NULL), MB_EINVAL);
    assert_int_equal(mb_store_verify(p->store, &p->root, NULL), 0);
    for (size_t i = 0; i < 12; i++)
        mb_buf_clear(&copies[i].text);
}

static void at_slot(struct place *p, uint64_t slot, const char *key, const char *text)
{
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    write_key(p, slot, key, text);
    assert_int_equal(mb_store_commit(p->store, NULL), 0);
}

static void checkpoint(struct place *p, uint64_t slot)
{
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(mb_store_mark_checkpoint(p->store, slot, NULL), 0);
    assert_int_equal(mb_store_commit(p->store, NULL), 0);
}

static void assert_changed(struct place *p, uint64_t at, uint64_t since, const char *want)
{
    struct mb_store_view *v;
    struct mb_buf key = {0}, value = {0}, all = {0}, after = {0};
    bool present;
    int rc;
    assert_int_equal(mb_store_view_new(&v, p->store, at, NULL), 0);
    while ((rc = mb_store_view_changed(v, "m", since, mb_buf_text(&after), &key, &value,
                                       &present)) == 1) {
        mb_buf_addf(&all, "%s=%s ", mb_buf_text(&key), present ? mb_buf_text(&value) : "-");
        mb_buf_reset(&after);
        mb_buf_add_bytes(&after, mb_buf_bytes(&key));
        mb_buf_reset(&key);
        mb_buf_reset(&value);
    }
    assert_int_equal(rc, 0);
    assert_string_equal(mb_buf_text(&all), want);
    mb_store_view_free(v);
    mb_buf_clear(&key);
    mb_buf_clear(&value);
    mb_buf_clear(&all);
    mb_buf_clear(&after);
}

static void test_changed(void **state)
{
    struct place *p = *state;
    at_slot(p, 1, "m/a", "1");
    at_slot(p, 1, "m/b", "1");
    at_slot(p, 1, "m0/x", "1");
    at_slot(p, 1, "m-/x", "1");
    checkpoint(p, 1);
    at_slot(p, 2, "m/b", "2");
    at_slot(p, 3, "m/c", "3");
    at_slot(p, 3, "m/a", NULL);
    checkpoint(p, 3);
    at_slot(p, 4, "m/a", "4");
    at_slot(p, 4, "m/b", NULL);
    at_slot(p, 4, "m/d", "4");
    assert_changed(p, 1, 0, "m/a=1 m/b=1 ");
    assert_changed(p, 3, 0, "m/b=2 m/c=3 ");
    assert_changed(p, 3, 1, "m/a=- m/b=2 m/c=3 ");
    assert_changed(p, 3, 2, "m/a=- m/c=3 ");
    assert_changed(p, 3, 3, "");
    checkpoint(p, 4);
    assert_changed(p, 4, 0, "m/a=4 m/c=3 m/d=4 ");
    assert_changed(p, 4, 1, "m/a=4 m/b=- m/c=3 m/d=4 ");
    assert_changed(p, 4, 3, "m/a=4 m/b=- m/d=4 ");
    assert_changed(p, 3, 1, "m/a=- m/b=2 m/c=3 ");

    assert_int_equal(mb_store_forgotten(p->store), 0);
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(mb_store_forget_deletions(p->store, 3, NULL), 0);
    assert_int_equal(mb_store_commit(p->store, NULL), 0);
    assert_int_equal(mb_store_forgotten(p->store), 3);
    assert_changed(p, 4, 3, "m/a=4 m/b=- m/d=4 ");
    assert_changed(p, 4, 0, "m/a=4 m/c=3 m/d=4 ");
}

/* More changes than are read ahead at once, the same key more than once among them. */
static void test_changed_many(void **state)
{
    struct place *p = *state;
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    struct mb_backend b = mb_store_backend(p->store);
    for (uint64_t slot = 1; slot <= 3; slot++)
        for (unsigned i = 0; i < 1200; i++) {
            char key[32];
            assert_int_equal(mb_snprintf(key, sizeof key, "m/%04u", i), 0);
            assert_int_equal(b.ops->put(b.self, slot, key, mb_bytes_of("1")), 0);
        }
    assert_int_equal(mb_store_mark_checkpoint(p->store, 3, NULL), 0);
    assert_int_equal(mb_store_commit(p->store, NULL), 0);
    struct mb_buf want = {0};
    for (unsigned i = 0; i < 1200; i++)
        mb_buf_addf(&want, "m/%04u=1 ", i);
    assert_changed(p, 3, 1, mb_buf_text(&want));
    assert_changed(p, 3, 0, mb_buf_text(&want));
    mb_buf_clear(&want);
}

static void test_transactions(void **state)
{
    struct place *p = *state;
    struct mb_backend b = mb_store_backend(p->store);
    struct mb_buf value = {0};
    uint64_t slot = 0;
    uint32_t index = 0;
    struct mb_hash id = mb_sha256("id", 2);
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(b.ops->put(b.self, 1, "a/b", mb_bytes_of("1")), 0);
    assert_int_equal(mb_store_mark_checkpoint(p->store, 1, NULL), 0);
    mb_store_rollback(p->store);
    assert_int_equal(b.ops->get(b.self, "a/b", &value), 0);
    struct mb_store_view *v;
    assert_int_equal(mb_store_view_new(&v, p->store, 1, NULL), MB_ENOENT);

    /* Nothing is written outside of a transaction. */
    assert_int_equal(b.ops->put(b.self, 1, "a/b", mb_bytes_of("1")), MB_EIO);
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(b.ops->get(b.self, "a/b", &value), 0);

    assert_int_equal(mb_store_command_find(p->store, &id, &slot, &index), 0);
    assert_int_equal(mb_store_command_add(p->store, &id, 5, 6), 0);
    assert_int_equal(mb_store_command_add(p->store, &id, 7, 8), 0);
    assert_int_equal(mb_store_command_find(p->store, &id, &slot, &index), 1);
    assert_int_equal(slot, 5);
    assert_int_equal(index, 6);
    assert_int_equal(b.ops->put(b.self, 1, "a/b", mb_bytes_of("1")), 0);
    assert_int_equal(mb_store_commit(p->store, NULL), 0);

    /* A reader goes on showing what it began with. */
    struct mb_store_reader *r;
    assert_int_equal(mb_store_reader_open(&r, p->path, NULL), 0);
    struct mb_backend rb = mb_store_reader_backend(r);
    at_slot(p, 2, "a/b", "2");
    assert_int_equal(mb_store_settle(p->path, NULL), 0);
    assert_int_equal(rb.ops->get(rb.self, "a/b", &value), 1);
    assert_string_equal(mb_buf_text(&value), "1");
    assert_int_equal(rb.ops->put(rb.self, 2, "a/b", mb_bytes_of("3")), MB_EIO);
    mb_store_reader_close(r);
    mb_store_reader_close(NULL);
    mb_buf_reset(&value);

    /* Closing in the middle leaves what was committed. */
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(b.ops->put(b.self, 3, "a/b", mb_bytes_of("3")), 0);
    mb_store_close(p->store);
    assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
    b = mb_store_backend(p->store);
    assert_int_equal(b.ops->get(b.self, "a/b", &value), 1);
    assert_string_equal(mb_buf_text(&value), "2");
    mb_buf_clear(&value);
}

/* What a transaction shows before SQLite has it is what is there afterwards; more than is kept in
 * memory at once, and keys that came and went, among it. */
static void test_uncommitted(void **state)
{
    struct place *p = *state;
    struct mb_backend b = mb_store_backend(p->store);
    struct mb_hash root;
    char *big = mb_calloc(1, 60001);
    memset(big, '1', 60000);
    for (uint64_t slot = 1; slot < 20; slot++) {
        struct mb_buf before = {0}, after = {0};
        assert_int_equal(mb_store_begin(p->store, NULL), 0);
        write_some(p, slot, 60);
        for (unsigned i = 0; slot % 7 == 0 && i < 100; i++) {
            char key[32];
            assert_int_equal(mb_snprintf(key, sizeof key, "vcs/%u", 250 + i), 0);
            write_key(p, slot, key, i % 3 ? big : NULL);
        }
        dump(b, &before);
        assert_int_equal(mb_store_commit(p->store, NULL), 0);
        if (slot % 3 == 0) {
            mb_store_close(p->store);
            assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
            b = mb_store_backend(p->store);
        }
        dump(b, &after);
        assert_string_equal(mb_buf_text(&before), mb_buf_text(&after));
        struct mb_tree_io io = io_of(b);
        assert_int_equal(mb_tree_root(&io, "", &root, NULL), 0);
        assert_memory_equal(&root, &p->root, sizeof root);
        assert_int_equal(mb_store_verify(p->store, &p->root, NULL), 0);
        mb_buf_clear(&before);
        mb_buf_clear(&after);
    }
    free(big);
}

/* What was written is seen whether the store's thread has written it or not; so is what was there
 * at a checkpoint; and all of it is in the file in the end. */
static void test_commit_later(void **state)
{
    struct place *p = *state;
    struct mb_backend b = mb_store_backend(p->store);
    struct mb_buf seen[64] = {{0}}, again = {0}, value = {0};
    struct mb_store_view *v;
    struct mb_hash root, id;
    struct mb_seen of;
    uint64_t slot = 0, at;
    uint32_t index;
    while (slot < 400) {
        assert_int_equal(mb_store_begin(p->store, NULL), 0);
        for (unsigned i = 0; i < 5; i++) {
            write_some(p, ++slot, 10);
            id = mb_sha256(&slot, sizeof slot);
            of = (struct mb_seen){id, slot, 1, 2};
            assert_int_equal(b.ops->seen_find(b.self, &id, &of), 0);
            assert_int_equal(b.ops->seen_add(b.self, &of), 0);
            assert_int_equal(b.ops->history_put(b.self, 3, slot, &id), 0);
            assert_int_equal(b.ops->meta_put(b.self, "tip", mb_bytes(&slot, sizeof slot)), 0);
            assert_int_equal(mb_store_command_add(p->store, &id, slot, 7), 0);
            (void)mb_store_block_done(p->store);
        }
        if (slot % 20 == 0) {
            assert_int_equal(mb_store_mark_checkpoint(p->store, slot, NULL), 0);
            dump(b, &seen[slot / 20]);
        }
        assert_int_equal(mb_store_commit_later(p->store, NULL), 0);

        uint64_t past = next() % slot + 1;
        id = mb_sha256(&past, sizeof past);
        assert_int_equal(b.ops->seen_find(b.self, &id, &of), 1);
        assert_int_equal(of.slot, past);
        assert_int_equal(b.ops->history_get(b.self, 3, past, &root), 0);
        assert_memory_equal(&root, &id, sizeof id);
        assert_int_equal(mb_store_command_find(p->store, &id, &at, &index), 1);
        assert_int_equal(at, past);
        mb_buf_reset(&value);
        assert_int_equal(b.ops->meta_get(b.self, "tip", &value), 1);
        assert_memory_equal(value.data, &slot, sizeof slot);
        struct mb_tree_io io = io_of(b);
        assert_int_equal(mb_tree_root(&io, "", &root, NULL), 0);
        assert_memory_equal(&root, &p->root, sizeof root);
        for (uint64_t mark = slot / 20; slot >= 40 && mark >= slot / 20 - 1; mark--) {
            assert_int_equal(mb_store_view_new(&v, p->store, mark * 20, NULL), 0);
            mb_buf_reset(&again);
            dump(mb_store_view_backend(v), &again);
            assert_string_equal(mb_buf_text(&again), mb_buf_text(&seen[mark]));
            mb_store_view_free(v);
        }
    }
    dump(b, &seen[0]);
    assert_int_equal(mb_store_wait(p->store, NULL), 0);
    mb_store_close(p->store);
    assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
    mb_buf_reset(&again);
    dump(mb_store_backend(p->store), &again);
    assert_string_equal(mb_buf_text(&again), mb_buf_text(&seen[0]));
    assert_int_equal(mb_store_verify(p->store, &p->root, NULL), 0);
    for (size_t i = 0; i < 64; i++)
        mb_buf_clear(&seen[i]);
    mb_buf_clear(&again);
    mb_buf_clear(&value);
}

/* More than fits in memory, and it waits; SQLite's log does not grow for ever meanwhile. */
static void test_much_later(void **state)
{
    struct place *p = *state;
    struct mb_backend b = mb_store_backend(p->store);
    char *big = mb_calloc(1, 20001), key[32], *wal = mb_asprintf("%s-wal", p->path);
    memset(big, '1', 20000);
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    for (uint64_t slot = 1; slot <= 8000; slot++) {
        struct mb_buf value = {0};
        assert_int_equal(mb_snprintf(key, sizeof key, "m/%u", (unsigned)(next() % 100)), 0);
        assert_true(b.ops->get(b.self, key, &value) >= 0);
        assert_int_equal(b.ops->put(b.self, slot, key, mb_bytes(big, 20000)), 0);
        mb_buf_clear(&value);
        if (mb_store_block_done(p->store)) {
            assert_int_equal(mb_store_commit_later(p->store, NULL), 0);
            assert_int_equal(mb_store_begin(p->store, NULL), 0);
        }
    }
    assert_int_equal(mb_store_commit(p->store, NULL), 0);
    struct stat st;
    assert_int_equal(stat(wal, &st), 0);
    assert_true(st.st_size < 100 << 20);
    free(wal);
    free(big);
}

/* More checkpoints in one transaction than there are layers, in one that is written in parts too.
 */
static void test_many_marks(void **state)
{
    struct place *p = *state;
    char *big = mb_calloc(1, 5000001);
    memset(big, '1', 5000000);
    for (uint64_t slot = 0; slot < 120;) {
        assert_int_equal(mb_store_begin(p->store, NULL), 0);
        if (slot == 40)
            write_key(p, slot, "big/1", big);
        for (unsigned i = 0; i < 40; i++) {
            write_some(p, ++slot, 5);
            assert_int_equal(mb_store_mark_checkpoint(p->store, slot, NULL), 0);
        }
        assert_int_equal(slot == 80 ? mb_store_commit(p->store, NULL)
                                    : mb_store_commit_later(p->store, NULL),
                         0);
        assert_int_equal(mb_store_verify(p->store, &p->root, NULL), 0);
    }
    free(big);
}

/* A limit on the size of files stands for a full disk; what it was is returned. */
static struct rlimit fill_disk(void)
{
    struct rlimit old, small = {65536, RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    small.rlim_max = old.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    return old;
}

/* What fails on the thread is said by whatever comes next, and nothing is written any more. */
static void test_later_fails(void **state)
{
    struct place *p = *state;
    struct mb_backend b = mb_store_backend(p->store);
    struct mb_error error;
    at_slot(p, 1, "a/b", "1");
    struct rlimit old = fill_disk();
    char *big = mb_calloc(1, 500001);
    memset(big, '1', 500000);
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(b.ops->put(b.self, 2, "a/big", mb_bytes(big, 500000)), 0);
    assert_int_equal(mb_store_commit_later(p->store, NULL), 0);
    assert_int_equal(mb_store_wait(p->store, &error), MB_EIO);
    assert_string_equal(error.code, "store.io");
    assert_int_equal(mb_store_begin(p->store, &error), MB_EIO);
    assert_string_equal(error.code, "store.io");
    mb_store_close(p->store);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    free(big);

    struct mb_buf text = {0};
    assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
    dump(mb_store_backend(p->store), &text);
    assert_string_equal(mb_buf_text(&text), "a/b=1\n");
    mb_buf_clear(&text);
}

static void test_wipe(void **state)
{
    struct place *p = *state;
    struct mb_store_view *v;
    struct mb_buf text = {0};
    uint64_t slot;
    uint32_t index;
    struct mb_backend b = mb_store_backend(p->store);
    struct mb_seen seen = {mb_sha256("x", 1), 1, 2, 3};
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    write_some(p, 1, 50);
    assert_int_equal(mb_store_mark_checkpoint(p->store, 1, NULL), 0);
    write_some(p, 2, 50);
    assert_int_equal(mb_store_command_add(p->store, &p->root, 1, 1), 0);
    assert_int_equal(b.ops->seen_add(b.self, &seen), 0);
    assert_int_equal(b.ops->meta_put(b.self, "tip", mb_bytes_of("t")), 0);
    assert_int_equal(b.ops->history_put(b.self, 0, 0, &p->root), 0);
    assert_int_equal(mb_store_commit(p->store, NULL), 0);

    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(mb_store_wipe(p->store, NULL), 0);
    assert_int_equal(mb_store_commit(p->store, NULL), 0);
    dump(b, &text);
    assert_int_equal(text.len, 0);
    assert_int_equal(mb_store_view_new(&v, p->store, 1, NULL), MB_ENOENT);
    assert_int_equal(mb_store_command_find(p->store, &p->root, &slot, &index), 0);
    assert_int_equal(b.ops->seen_find(b.self, &seen.id, &seen), 0);
    assert_int_equal(b.ops->meta_get(b.self, "tip", &text), 0);
    assert_int_equal(b.ops->history_get(b.self, 0, 0, &p->root), MB_ENOENT);
    assert_int_equal(mb_store_verify(p->store, &mb_hash_zero, NULL), 0);
    mb_buf_clear(&text);
}

static void alter(struct place *p, const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_changes(db), 1);
    sqlite3_close(db);
}

/* Each alteration, and what verify says about it. */
static const struct {
    const char *sql, *says;
} alterations[] = {
    {"UPDATE state SET text = text || '0' WHERE key = (SELECT max(key) FROM state)", "\"vcs\""},
    {"UPDATE state SET text = '1' WHERE key = (SELECT min(key) FROM state)", "\"core\""},
    {"DELETE FROM state WHERE key = (SELECT min(key) FROM state)", "\"core\""},
    {"INSERT INTO state VALUES ('core/new', 0, 0, '1')", "\"core\""},
    {"INSERT INTO state VALUES ('other/new', 0, 0, '1')", "\"other\""},
    {"UPDATE state SET key = 'vcs/x' WHERE key = (SELECT max(key) FROM state)", "\"vcs\""},
    {"UPDATE page SET page = zeroblob(40) WHERE tree = 'vcs' AND id = x'00'", "\"vcs\""},
    {"DELETE FROM page WHERE tree = 'vcs' AND id = x'00'", "\"vcs\""},
    {"DELETE FROM page WHERE tree = 'vcs' AND id = (SELECT max(id) FROM page WHERE tree = 'vcs')",
     "\"vcs\""},
    {"UPDATE page SET page = CAST(substr(page, 1, length(page) - 2) || x'1234' AS BLOB)"
     " WHERE tree = 'vcs' AND"
     " id = (SELECT max(id) FROM page WHERE tree = 'vcs')",
     "\"vcs\""},
    {"UPDATE page SET page = CAST(substr(page, 1, length(page) - 2) || x'1234' AS BLOB)"
     " WHERE tree = 'vcs' AND"
     " id = x'00'",
     "\"vcs\""},
    {"DELETE FROM page WHERE tree = ''", "\"core\""},
};

static void test_verify(void **state)
{
    struct place *p = *state;
    struct mb_error error;
    assert_int_equal(mb_store_verify(p->store, &mb_hash_zero, NULL), 0);
    for (size_t i = 0; i < sizeof alterations / sizeof *alterations; i++) {
        assert_int_equal(mb_store_begin(p->store, NULL), 0);
        assert_int_equal(mb_store_wipe(p->store, NULL), 0);
        write_some(p, 1, 600);
        assert_int_equal(mb_store_commit(p->store, NULL), 0);
        assert_int_equal(mb_store_verify(p->store, &p->root, &error), 0);
        assert_int_equal(mb_store_verify(p->store, &mb_hash_zero, &error), MB_ECORRUPT);
        assert_string_equal(error.code, "store.root");
        mb_store_close(p->store);
        p->store = NULL;
        alter(p, alterations[i].sql);
        assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
        assert_int_equal(mb_store_verify(p->store, &p->root, &error), MB_ECORRUPT);
        assert_string_equal(error.code, "store.root");
        assert_non_null(strstr(error.text, alterations[i].says));
    }
}

static void overwrite(const char *path, off_t at, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static void assert_corrupt(struct place *p)
{
    struct mb_error error;
    assert_int_equal(mb_store_open(&p->store, p->path, &error), MB_ECORRUPT);
    assert_string_equal(error.code, "store.corrupt");
    assert_non_null(strstr(error.text, p->path));
    assert_non_null(strstr(error.text, "move the file away"));
    p->store = NULL;
}

static void test_malformed(void **state)
{
    struct place *p = *state;
    struct mb_error error;
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    write_some(p, 1, 600);
    assert_int_equal(mb_store_commit(p->store, NULL), 0);
    mb_store_close(p->store);
    p->store = NULL;
    struct stat st;
    assert_int_equal(stat(p->path, &st), 0);

    /* A page in the middle: found when it is read. */
    char noise[4096];
    memset(noise, 0x5a, sizeof noise);
    for (off_t at = 16384; at + (off_t)sizeof noise <= st.st_size; at += (off_t)sizeof noise)
        overwrite(p->path, at, noise, sizeof noise);
    assert_int_equal(mb_store_open(&p->store, p->path, NULL) == 0 &&
                         mb_store_verify(p->store, &p->root, &error) == 0,
                     0);
    mb_store_close(p->store);
    p->store = NULL;

    assert_int_equal(truncate(p->path, 8192), 0);
    assert_corrupt(p);
    overwrite(p->path, 0, "This is no database.", 20);
    assert_corrupt(p);
    unlink(p->path);

    /* Somebody else's database, and another format of ours. */
    sqlite3 *db;
    assert_int_equal(sqlite3_open(p->path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_corrupt(p);
    unlink(p->path);
    assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
    mb_store_close(p->store);
    p->store = NULL;
    alter(p, "PRAGMA user_version = 99; CREATE TABLE x AS SELECT 1; DELETE FROM x");
    assert_corrupt(p);

    assert_int_equal(mb_store_open(&p->store, "/nonexistent/store.db", &error), MB_EIO);
    assert_string_equal(error.code, "store.io");
    assert_non_null(strstr(error.text, "/nonexistent/store.db"));
    p->store = NULL;
}

/* Both are errors of a write. */
static void test_write_fails(void **state)
{
    struct place *p = *state;
    struct mb_error error;
    struct mb_buf value = {0};
    at_slot(p, 1, "a/b", "1");
    struct rlimit old = fill_disk();
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    struct mb_backend b = mb_store_backend(p->store);
    char *big = mb_calloc(1, 500001);
    memset(big, '1', 500000);
    int rc = b.ops->put(b.self, 2, "a/big", mb_bytes(big, 500000));
    assert_true(rc == 0 || rc == MB_EIO);
    assert_int_equal(mb_store_commit(p->store, &error), MB_EIO);
    assert_string_equal(error.code, "store.io");
    mb_store_rollback(p->store);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    free(big);

    assert_int_equal(b.ops->get(b.self, "a/big", &value), 0);
    assert_int_equal(b.ops->get(b.self, "a/b", &value), 1);
    at_slot(p, 2, "a/c", "1");
    assert_int_equal(mb_store_verify(p->store, &p->root, NULL), 0);
    mb_buf_clear(&value);
}

/* One failure in a transaction, and nothing of it is committed. */
static void test_failure_sticks(void **state)
{
    struct place *p = *state;
    struct mb_backend b = mb_store_backend(p->store);
    struct mb_error error;
    struct mb_seen seen = {mb_sha256("x", 1), 1, 2, 3};
    struct mb_buf value = {0};
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(b.ops->seen_add(b.self, &seen), 0);
    assert_int_equal(b.ops->seen_add(b.self, &seen), MB_EIO);
    assert_int_equal(b.ops->put(b.self, 1, "a/b", mb_bytes_of("1")), 0);
    assert_int_equal(mb_store_commit(p->store, &error), MB_EIO);
    assert_string_equal(error.code, "store.io");
    mb_store_rollback(p->store);
    assert_int_equal(b.ops->get(b.self, "a/b", &value), 0);
    at_slot(p, 1, "a/b", "1");
    assert_int_equal(b.ops->get(b.self, "a/b", &value), 1);
    mb_buf_clear(&value);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_views),        CASE(test_changed),      CASE(test_changed_many),
        CASE(test_transactions), CASE(test_wipe),         CASE(test_verify),
        CASE(test_malformed),    CASE(test_write_fails),  CASE(test_failure_sticks),
        CASE(test_uncommitted),  CASE(test_commit_later), CASE(test_much_later),
        CASE(test_later_fails),  CASE(test_many_marks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
