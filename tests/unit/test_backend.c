/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One set of cases for every backend: memory, and the store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ledger/backend.h"
#include "store/store.h"

struct place {
    struct mb_memory *memory;
    struct mb_store *store;
    struct mb_backend b;
    char folder[32], *path;
};

static int open_memory(void **state)
{
    struct place *p = mb_calloc(1, sizeof *p);
    p->memory = mb_memory_new();
    p->b = mb_memory_backend(p->memory);
    *state = p;
    return 0;
}

static int open_store(void **state)
{
    struct place *p = mb_calloc(1, sizeof *p);
    memcpy(p->folder, "/tmp/mb_backend.XXXXXX", 23);
    assert_non_null(mkdtemp(p->folder));
    p->path = mb_asprintf("%s/store.db", p->folder);
    assert_int_equal(mb_store_open(&p->store, p->path, NULL), 0);
    assert_int_equal(mb_store_begin(p->store, NULL), 0);
    assert_int_equal(mb_store_mark_checkpoint(p->store, 0, NULL), 0);
    p->b = mb_store_backend(p->store);
    *state = p;
    return 0;
}

static int close_place(void **state)
{
    struct place *p = *state;
    mb_memory_free(p->memory);
    if (p->store) {
        assert_int_equal(mb_store_commit(p->store, NULL), 0);
        mb_store_close(p->store);
        assert_int_equal(unlink(p->path), 0);
        assert_int_equal(rmdir(p->folder), 0);
    }
    free(p->path);
    free(p);
    return 0;
}

static void put(struct place *p, const char *key, const char *text)
{
    struct mb_bytes bytes = text ? mb_bytes_of(text) : mb_bytes(NULL, 0);
    assert_int_equal(p->b.ops->put(p->b.self, 1, key, bytes), 0);
}

static void assert_get(struct place *p, const char *key, const char *text)
{
    struct mb_buf value = {0};
    mb_buf_add_text(&value, "<");
    assert_int_equal(p->b.ops->get(p->b.self, key, &value), text != NULL);
    assert_string_equal(mb_buf_text(&value) + 1, text ? text : "");
    mb_buf_clear(&value);
}

static void test_state(void **state)
{
    struct place *p = *state;
    assert_get(p, "a/1", NULL);
    put(p, "a/1", "1");
    put(p, "a/2", "\"\xc3\xa4\"");
    assert_get(p, "a/1", "1");
    assert_get(p, "a/2", "\"\xc3\xa4\"");
    put(p, "a/1", "22");
    assert_get(p, "a/1", "22");
    put(p, "a/1", NULL);
    assert_get(p, "a/1", NULL);
    put(p, "a/1", NULL);
    put(p, "a/1", "3");
    assert_get(p, "a/1", "3");
    assert_get(p, "a/", NULL);
}

static void test_large(void **state)
{
    struct place *p = *state;
    char *text = mb_calloc(1, 524289);
    memset(text, '7', 524288);
    put(p, "a/large", text);
    assert_get(p, "a/large", text);
    free(text);
}

static const struct {
    const char *prefix, *from, *key;
} seeks[] = {
    {"", "", "a"},
    {"a/", "", "a/1"},
    {"a/", "a", "a/1"},
    {"a/", "a/1", "a/1"},
    {"a/", "a/1\x01", "a/10"},
    {"a/", "a/11", "a/2"},
    {"a/", "a/3", NULL},
    {"b", "", "b"},
    {"b/", "", NULL},
    {"", "b\x01", "c/\xc3\xa4"},
    {"c/\xc3\xa4", "", "c/\xc3\xa4"},
    {"d", "", NULL},
    {"", "z", NULL},
    {"a/", "0", "a/1"},
    {"a0", "", "a0"},
};

static void test_seek(void **state)
{
    struct place *p = *state;
    static const char *const keys[] = {"a", "a/1", "a/10", "a/2", "a0", "b", "c/\xc3\xa4"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        put(p, keys[i], keys[i]);
    for (size_t i = 0; i < sizeof seeks / sizeof *seeks; i++) {
        struct mb_buf key = {0}, value = {0};
        mb_buf_add_text(&key, "<");
        int rc = p->b.ops->seek(p->b.self, seeks[i].prefix, seeks[i].from, &key, &value);
        assert_int_equal(rc, seeks[i].key != NULL);
        assert_string_equal(mb_buf_text(&key) + 1, seeks[i].key ? seeks[i].key : "");
        assert_string_equal(mb_buf_text(&value), seeks[i].key ? seeks[i].key : "");
        mb_buf_clear(&key);
        mb_buf_clear(&value);
    }
}

static void test_pages(void **state)
{
    struct place *p = *state;
    struct mb_buf page = {0};
    const struct mb_bytes id = mb_bytes("\0\1\2", 3), other = mb_bytes("\0\1", 2);
    assert_int_equal(p->b.ops->page_load(p->b.self, "t", id, &page), 0);
    assert_int_equal(p->b.ops->page_save(p->b.self, "t", id, mb_bytes("\0x", 2)), 0);
    assert_int_equal(p->b.ops->page_save(p->b.self, "", id, mb_bytes("top", 3)), 0);
    assert_int_equal(p->b.ops->page_load(p->b.self, "t", other, &page), 0);
    assert_int_equal(p->b.ops->page_load(p->b.self, "u", id, &page), 0);
    assert_int_equal(p->b.ops->page_load(p->b.self, "t", id, &page), 1);
    assert_int_equal(p->b.ops->page_load(p->b.self, "", id, &page), 1);
    assert_int_equal(page.len, 5);
    assert_memory_equal(page.data, "\0xtop", 5);
    assert_int_equal(p->b.ops->page_save(p->b.self, "t", id, mb_bytes(NULL, 0)), 0);
    assert_int_equal(p->b.ops->page_load(p->b.self, "t", id, &page), 0);
    assert_int_equal(p->b.ops->page_load(p->b.self, "", id, &page), 1);
    mb_buf_clear(&page);
}

static void test_history(void **state)
{
    struct place *p = *state;
    struct mb_hash a = mb_sha256("a", 1), b = mb_sha256("b", 1), is;
    const uint64_t far = UINT64_C(1) << 40;
    assert_int_equal(p->b.ops->history_get(p->b.self, 0, 0, &is), MB_ENOENT);
    assert_int_equal(p->b.ops->history_put(p->b.self, 0, 0, &a), 0);
    assert_int_equal(p->b.ops->history_put(p->b.self, 40, far, &b), 0);
    assert_int_equal(p->b.ops->history_get(p->b.self, 0, 0, &is), 0);
    assert_memory_equal(&is, &a, 32);
    assert_int_equal(p->b.ops->history_get(p->b.self, 40, far, &is), 0);
    assert_memory_equal(&is, &b, 32);
    assert_int_equal(p->b.ops->history_get(p->b.self, 0, far, &is), MB_ENOENT);
}

struct listing {
    struct mb_buf text;
    int stop; /* after how many */
};

static int list_id(void *arg, const struct mb_seen *seen)
{
    struct listing *l = arg;
    mb_buf_addf(&l->text, "%u:%u:%u ", (unsigned)seen->slot, seen->index, (unsigned)seen->hour);
    return --l->stop == 0 ? 7 : 0;
}

static int list_hour(void *arg, uint64_t hour)
{
    struct listing *l = arg;
    mb_buf_addf(&l->text, "%u ", (unsigned)hour);
    return --l->stop == 0 ? 7 : 0;
}

static void assert_listed(struct place *p, uint64_t hour, int stop, int want, const char *text)
{
    struct listing l = {.stop = stop};
    int rc = hour ? p->b.ops->seen_list(p->b.self, hour, list_id, &l)
                  : p->b.ops->seen_hours(p->b.self, list_hour, &l);
    assert_int_equal(rc, want);
    assert_string_equal(mb_buf_text(&l.text), text);
    mb_buf_clear(&l.text);
}

static void add(struct place *p, unsigned n, uint64_t hour)
{
    struct mb_seen seen = {mb_sha256(&n, sizeof n), n, n + 1, hour};
    assert_int_equal(p->b.ops->seen_add(p->b.self, &seen), 0);
}

static void test_seen(void **state)
{
    struct place *p = *state;
    assert_listed(p, 0, 0, 0, "");
    add(p, 1, 100);
    add(p, 2, 99);
    add(p, 3, 100);
    add(p, 4, 1000);
    add(p, 5, 100);
    assert_listed(p, 0, 0, 0, "99 100 1000 ");
    assert_listed(p, 0, 2, 7, "99 100 ");
    assert_listed(p, 100, 0, 0, "1:2:100 3:4:100 5:6:100 ");
    assert_listed(p, 100, 1, 7, "1:2:100 ");
    assert_listed(p, 101, 0, 0, "");

    struct mb_seen seen;
    unsigned n = 3;
    struct mb_hash id = mb_sha256(&n, sizeof n), none = mb_sha256("", 0);
    assert_int_equal(p->b.ops->seen_find(p->b.self, &id, &seen), 1);
    assert_memory_equal(&seen.id, &id, 32);
    assert_int_equal(seen.slot, 3);
    assert_int_equal(seen.index, 4);
    assert_int_equal(seen.hour, 100);
    assert_int_equal(p->b.ops->seen_find(p->b.self, &none, &seen), 0);

    assert_int_equal(p->b.ops->seen_drop(p->b.self, 98), 0);
    assert_listed(p, 0, 0, 0, "99 100 1000 ");
    assert_int_equal(p->b.ops->seen_drop(p->b.self, 100), 0);
    assert_listed(p, 0, 0, 0, "1000 ");
    assert_int_equal(p->b.ops->seen_find(p->b.self, &id, &seen), 0);
    add(p, 3, 1000);
    add(p, 1, 1000);
    assert_listed(p, 1000, 0, 0, "4:5:1000 3:4:1000 1:2:1000 ");
}

static void test_meta(void **state)
{
    struct place *p = *state;
    struct mb_buf value = {0};
    assert_int_equal(p->b.ops->meta_get(p->b.self, "tip", &value), 0);
    assert_int_equal(p->b.ops->meta_put(p->b.self, "tip", mb_bytes("\0\1", 2)), 0);
    assert_int_equal(p->b.ops->meta_put(p->b.self, "tip", mb_bytes("\0\2\3", 3)), 0);
    assert_int_equal(p->b.ops->meta_get(p->b.self, "tip", &value), 1);
    assert_int_equal(value.len, 3);
    assert_memory_equal(value.data, "\0\2\3", 3);
    assert_int_equal(p->b.ops->meta_put(p->b.self, "tip", mb_bytes("", 0)), 0);
    assert_int_equal(p->b.ops->meta_get(p->b.self, "tip", &value), 1);
    assert_int_equal(value.len, 3);
    assert_int_equal(p->b.ops->meta_put(p->b.self, "tip", mb_bytes(NULL, 0)), 0);
    assert_int_equal(p->b.ops->meta_get(p->b.self, "tip", &value), 0);
    mb_buf_clear(&value);
}

#define BOTH(f)                                                                                    \
    {#f " in memory", f, open_memory, close_place, NULL},                                          \
    {                                                                                              \
#f " in the store", f, open_store, close_place, NULL                                       \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_state),   BOTH(test_large), BOTH(test_seek), BOTH(test_pages),
        BOTH(test_history), BOTH(test_seen),  BOTH(test_meta),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
