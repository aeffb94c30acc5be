/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/error.h"

static void memory_of_no_bytes_is_still_memory(void **state)
{
    (void)state;
    void *p[] = {mb_alloc(0), mb_calloc(0, 0), mb_calloc(4, 0), mb_realloc(NULL, 0),
                 mb_memdup(NULL, 0)};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        assert_non_null(p[i]);
        free(p[i]);
    }
}

static void texts_are_copied(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t n;
        const char *copy;
    } rows[] = {{"", 0, ""}, {"", 5, ""}, {"abc", 0, ""}, {"abc", 2, "ab"}, {"abc", 9, "abc"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *copy = mb_strndup(rows[i].text, rows[i].n);
        assert_string_equal(copy, rows[i].copy);
        free(copy);
    }
    char *whole = mb_strdup("abc"), *made = mb_asprintf("%s-%d", "x", -7),
         *none = mb_asprintf("%s", "");
    assert_string_equal(whole, "abc");
    assert_string_equal(made, "x--7");
    assert_string_equal(none, "");
    free(whole);
    free(made);
    free(none);
}

static void snprintf_says_when_it_cuts(void **state)
{
    (void)state;
    char out[4];
    assert_int_equal(mb_snprintf(out, sizeof out, "%s", "abc"), 0);
    assert_string_equal(out, "abc");
    assert_int_equal(mb_snprintf(out, sizeof out, "%s", "abcd"), MB_ELIMIT);
    assert_string_equal(out, "abc");
    assert_int_equal(mb_snprintf(out, 1, "%s", ""), 0);
    assert_int_equal(mb_snprintf(out, 1, "x"), MB_ELIMIT);
    assert_string_equal(out, "");
}

static void bytes_compare_like_memcmp_then_by_length(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int order;
    } rows[] = {{"", "", 0},    {"", "a", -1},   {"a", "", 1},        {"a", "ab", -1},
                {"b", "ab", 1}, {"ab", "ab", 0}, {"\x7f", "\x80", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mb_bytes a = mb_bytes_of(rows[i].a), b = mb_bytes_of(rows[i].b);
        int order = mb_bytes_compare(a, b);
        assert_int_equal((order > 0) - (order < 0), rows[i].order);
        assert_int_equal(mb_bytes_equal(a, b), rows[i].order == 0);
    }
    assert_true(mb_bytes_equal(mb_bytes(NULL, 0), mb_bytes_of("")));
    assert_int_equal(mb_bytes_compare(mb_bytes(NULL, 0), mb_bytes_of("")), 0);
    assert_false(mb_bytes_equal(mb_bytes("a\0b", 3), mb_bytes("a\0c", 3)));
}

static void a_buffer_grows_and_stays_terminated(void **state)
{
    (void)state;
    struct mb_buf b = {0};
    assert_string_equal(mb_buf_text(&b), "");
    for (size_t i = 0; i < 10000; i++) {
        mb_buf_add_u8(&b, (uint8_t)i);
        assert_int_equal(b.data[b.len], 0);
        assert_true(b.cap > b.len);
    }
    assert_int_equal(b.len, 10000);
    for (size_t i = 0; i < b.len; i++)
        assert_int_equal(b.data[i], (uint8_t)i);
    mb_buf_consume(&b, 9998);
    assert_memory_equal(b.data, "\x0e\x0f", 3);
    mb_buf_consume(&b, 0);
    mb_buf_consume(&b, 2);
    assert_int_equal(b.len, 0);
    mb_buf_add(&b, NULL, 0);
    mb_buf_addf(&b, "%05d", 42);
    mb_buf_add_text(&b, "!");
    mb_buf_add_bytes(&b, mb_bytes("a\0b", 3));
    assert_memory_equal(b.data, "00042!a\0b", 10);
    uint8_t *kept = b.data;
    mb_buf_reset(&b);
    assert_ptr_equal(mb_buf_text(&b), kept);
    assert_string_equal(mb_buf_text(&b), "");
    mb_buf_clear(&b);
    assert_null(b.data);
    assert_int_equal(b.cap, 0);
}

static void text_that_is_taken_leaves_an_empty_buffer(void **state)
{
    (void)state;
    struct mb_buf b = {0};
    char *empty = mb_buf_take_text(&b);
    assert_string_equal(empty, "");
    mb_buf_add_text(&b, "abc");
    char *text = mb_buf_take_text(&b);
    assert_string_equal(text, "abc");
    assert_null(b.data);
    assert_int_equal(mb_buf_bytes(&b).len, 0);
    free(empty);
    free(text);
}

static void a_formatted_text_may_be_longer_than_the_buffer(void **state)
{
    (void)state;
    struct mb_buf b = {0};
    for (int width = 1; width < 200; width++) {
        size_t before = b.len;
        mb_buf_addf(&b, "%*d", width, 1);
        assert_int_equal(b.len - before, width);
        assert_int_equal(b.data[b.len - 1], '1');
        assert_int_equal(b.data[b.len], 0);
    }
    mb_buf_clear(&b);
}

static void integers_are_big_endian(void **state)
{
    (void)state;
    static const uint8_t expected[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09,
                                       0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0xff, 0,    0,    0,
                                       2,    'h',  'i',  0,    0,    0,    0};
    struct mb_buf b = {0};
    mb_buf_add_u16(&b, 0x0102);
    mb_buf_add_u32(&b, 0x03040506);
    mb_buf_add_u64(&b, 0x0708090a0b0c0d0e);
    mb_buf_add_u8(&b, 0xff);
    mb_buf_add_string(&b, mb_bytes_of("hi"));
    mb_buf_add_string(&b, mb_bytes(NULL, 0));
    assert_int_equal(b.len, sizeof expected);
    assert_memory_equal(b.data, expected, sizeof expected);

    struct mb_cursor c = mb_cursor(mb_buf_bytes(&b));
    assert_int_equal(mb_cursor_u16(&c), 0x0102);
    assert_int_equal(mb_cursor_u32(&c), 0x03040506);
    assert_true(mb_cursor_u64(&c) == 0x0708090a0b0c0d0e);
    assert_int_equal(mb_cursor_u8(&c), 0xff);
    assert_int_equal(mb_cursor_left(&c), 10);
    assert_true(mb_bytes_equal(mb_cursor_string(&c), mb_bytes_of("hi")));
    assert_false(mb_cursor_done(&c));
    assert_int_equal(mb_cursor_string(&c).len, 0);
    assert_true(mb_cursor_done(&c));
    mb_buf_clear(&b);
}

static void a_short_read_sticks(void **state)
{
    (void)state;
    struct mb_cursor c = mb_cursor(mb_bytes("\1\2\3", 3));
    assert_int_equal(mb_cursor_u32(&c), 0);
    assert_true(c.failed);
    assert_int_equal(mb_cursor_u8(&c), 0);
    assert_int_equal(mb_cursor_u16(&c), 0);
    assert_true(mb_cursor_u64(&c) == 0);
    assert_int_equal(mb_cursor_take(&c, 0).len, 0);
    assert_int_equal(mb_cursor_string(&c).len, 0);
    assert_false(mb_cursor_done(&c));
}

static void a_string_does_not_reach_past_the_end(void **state)
{
    (void)state;
    static const struct {
        const char *input;
        size_t size;
        bool fits;
    } rows[] = {{"\0\0\0\0", 4, true},           {"\0\0\0\1x", 5, true}, {"\0\0\0\2x", 5, false},
                {"\xff\xff\xff\xffx", 5, false}, {"\0\0\0", 3, false},   {NULL, 0, false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mb_cursor c = mb_cursor(mb_bytes(rows[i].input, rows[i].size));
        mb_cursor_string(&c);
        assert_int_equal(mb_cursor_done(&c), rows[i].fits);
    }
    struct mb_cursor none = mb_cursor(mb_bytes(NULL, 0));
    assert_true(mb_cursor_done(&none));
    assert_int_equal(mb_cursor_take(&none, SIZE_MAX).len, 0);
    assert_true(none.failed);
}

static void secrets_are_compared_whole(void **state)
{
    (void)state;
    assert_true(mb_equal_secret("abc", "abd", 2));
    assert_false(mb_equal_secret("abc", "abd", 3));
    assert_false(mb_equal_secret("bbc", "abc", 3));
    assert_true(mb_equal_secret("", "", 0));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_of_no_bytes_is_still_memory),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(snprintf_says_when_it_cuts),
        cmocka_unit_test(bytes_compare_like_memcmp_then_by_length),
        cmocka_unit_test(a_buffer_grows_and_stays_terminated),
        cmocka_unit_test(text_that_is_taken_leaves_an_empty_buffer),
        cmocka_unit_test(a_formatted_text_may_be_longer_than_the_buffer),
        cmocka_unit_test(integers_are_big_endian),
        cmocka_unit_test(a_short_read_sticks),
        cmocka_unit_test(a_string_does_not_reach_past_the_end),
        cmocka_unit_test(secrets_are_compared_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
