/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The shape is a promise of map.h that only its insides show. */
#include "base/map.c"

#define KEYS 512

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    struct mb_map *m = mb_map_new();
    assert_int_equal(mb_map_count(m), 0);
    assert_null(mb_map_get(m, ""));
    assert_null(mb_map_next(m, ""));
    assert_null(mb_map_seek(m, ""));
    assert_false(mb_map_remove(m, "a"));
    mb_map_reset(m);
    mb_map_free(m);
    mb_map_free(NULL);
}

static void values_are_copied_and_replaced(void **state)
{
    (void)state;
    struct mb_map *m = mb_map_new();
    char key[] = "key", value[] = "a\0b";
    mb_map_put(m, key, value, 3);
    key[0] = value[0] = 'x';
    const struct mb_map_item *item = mb_map_get(m, "key");
    assert_string_equal(item->key, "key");
    assert_true(item->present);
    assert_true(mb_bytes_equal(item->value, mb_bytes("a\0b", 3)));
    mb_map_put(m, "key", item->value.data + 1, 2); /* its own bytes */
    assert_true(mb_bytes_equal(mb_map_get(m, "key")->value, mb_bytes("\0b", 2)));
    mb_map_put(m, "key", NULL, 0);
    assert_int_equal(mb_map_get(m, "key")->value.len, 0);
    assert_true(mb_map_get(m, "key")->present);
    assert_int_equal(mb_map_count(m), 1);
    mb_map_free(m);
}

static void a_tombstone_is_there_without_a_value(void **state)
{
    (void)state;
    struct mb_map *m = mb_map_new();
    mb_map_put(m, "a", "1", 1);
    mb_map_mark_deleted(m, "a");
    mb_map_mark_deleted(m, "b");
    assert_int_equal(mb_map_count(m), 2);
    assert_false(mb_map_get(m, "a")->present);
    assert_int_equal(mb_map_get(m, "a")->value.len, 0);
    assert_string_equal(mb_map_next(m, "a")->key, "b");
    mb_map_put(m, "b", "2", 1);
    assert_true(mb_map_get(m, "b")->present);
    assert_true(mb_map_remove(m, mb_map_get(m, "a")->key)); /* its own key */
    assert_null(mb_map_get(m, "a"));
    mb_map_free(m);
}

static void keys_are_in_the_order_of_their_bytes(void **state)
{
    (void)state;
    static const char *const sorted[] = {"",    "\x01", "A",  "a",    "a/",
                                         "a/b", "a0",   "aa", "\x7f", "\u00e9"};
    size_t count = sizeof sorted / sizeof *sorted;
    struct mb_map *m = mb_map_new();
    for (size_t i = 0; i < count; i++)
        mb_map_put(m, sorted[i * 3 % count], "", 0);
    assert_int_equal(mb_map_count(m), count);
    const struct mb_map_item *item = mb_map_seek(m, "");
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(item->key, sorted[i]);
        assert_ptr_equal(item, mb_map_seek(m, sorted[i]));
        item = mb_map_next(m, item->key);
    }
    assert_null(item);
    assert_string_equal(mb_map_next(m, "")->key, "\x01");
    assert_string_equal(mb_map_seek(m, "a/a")->key, "a/b");
    assert_null(mb_map_seek(m, "\xff"));
    mb_map_free(m);
}

/* Beside an array that says which keys are there: puts, removals and walks, chosen by a counter. */
static void a_long_run_agrees_with_a_plain_array(void **state)
{
    (void)state;
    struct mb_map *m = mb_map_new();
    uint32_t value[KEYS] = {0}; /* 0: absent */
    size_t count = 0;
    uint64_t x = 88172645463325252; /* Marsaglia's xorshift */
    for (uint32_t step = 1; step <= 60000; step++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        size_t k = x % KEYS;
        char key[8], seen[8];
        mb_snprintf(key, sizeof key, "%04zu", k);
        bool remove = (x >> 20) % 3 == 0;
        count += !remove && value[k] == 0;
        count -= remove && value[k] != 0;
        if (remove)
            assert_int_equal(mb_map_remove(m, key), value[k] != 0);
        else
            mb_map_put(m, key, &step, sizeof step);
        value[k] = remove ? 0 : step;
        assert_int_equal(mb_map_count(m), count);
        size_t next = k + 1;
        while (next < KEYS && value[next] == 0)
            next++;
        const struct mb_map_item *item = mb_map_next(m, key);
        if (next == KEYS) {
            assert_null(item);
        } else {
            mb_snprintf(seen, sizeof seen, "%04zu", next);
            assert_string_equal(item->key, seen);
            assert_memory_equal(item->value.data, &value[next], sizeof value[next]);
        }
        item = mb_map_get(m, key);
        assert_int_equal(item != NULL, value[k] != 0);
    }
    mb_map_reset(m);
    assert_int_equal(mb_map_count(m), 0);
    assert_null(mb_map_seek(m, ""));
    mb_map_put(m, "again", "", 0);
    assert_int_equal(mb_map_count(m), 1);
    mb_map_free(m);
}

/* True if both trees have the same keys at the same places, each parent's priority the highest. */
static bool same_heap(const struct node *a, const struct node *b, uint64_t most)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a->key, b->key) == 0 && a->priority <= most &&
           same_heap(a->left, b->left, a->priority) && same_heap(a->right, b->right, a->priority);
}

static void the_shape_depends_on_the_keys_alone(void **state)
{
    (void)state;
    struct mb_map *up = mb_map_new(), *down = mb_map_new();
    char key[8];
    for (int i = 0; i < 2000; i++) {
        mb_snprintf(key, sizeof key, "%04d", i);
        mb_map_put(up, key, "", 0);
    }
    for (int i = 0; i < 2000; i += 2) {
        mb_snprintf(key, sizeof key, "%04d", i);
        assert_true(mb_map_remove(up, key));
        mb_snprintf(key, sizeof key, "%04d", 1999 - i);
        mb_map_put(down, key, "", 0);
    }
    assert_int_equal(mb_map_count(up), 1000);
    assert_true(same_heap(up->root, down->root, UINT64_MAX));
    mb_map_free(up);
    mb_map_free(down);
}

static void many_keys_put_in_order_come_back_in_order(void **state)
{
    (void)state;
    struct mb_map *m = mb_map_new();
    char key[16];
    for (int i = 0; i < 100000; i++) {
        mb_snprintf(key, sizeof key, "%09d", i);
        mb_map_put(m, key, key, 9);
    }
    const struct mb_map_item *item = mb_map_seek(m, "");
    for (int i = 0; i < 100000; i++) {
        mb_snprintf(key, sizeof key, "%09d", i);
        assert_string_equal(item->key, key);
        item = mb_map_next(m, item->key);
    }
    assert_null(item);
    mb_map_free(m);
}

static void items_stay_where_they_are(void **state)
{
    (void)state;
    struct mb_map *m = mb_map_new();
    mb_map_put(m, "m", "value", 5);
    const struct mb_map_item *item = mb_map_get(m, "m");
    const char *key = item->key;
    char other[8];
    for (int i = 0; i < 1000; i++) {
        mb_snprintf(other, sizeof other, "k%d", i);
        mb_map_put(m, other, "", 0);
    }
    for (int i = 0; i < 1000; i += 2) {
        mb_snprintf(other, sizeof other, "k%d", i);
        mb_map_remove(m, other);
    }
    assert_ptr_equal(mb_map_get(m, "m"), item);
    assert_ptr_equal(item->key, key);
    assert_true(mb_bytes_equal(item->value, mb_bytes_of("value")));
    mb_map_free(m);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(values_are_copied_and_replaced),
        cmocka_unit_test(a_tombstone_is_there_without_a_value),
        cmocka_unit_test(keys_are_in_the_order_of_their_bytes),
        cmocka_unit_test(a_long_run_agrees_with_a_plain_array),
        cmocka_unit_test(the_shape_depends_on_the_keys_alone),
        cmocka_unit_test(many_keys_put_in_order_come_back_in_order),
        cmocka_unit_test(items_stay_where_they_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
