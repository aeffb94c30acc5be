/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/error.h"
#include "base/json.h"

static void a_failure_has_code_and_text(void **state)
{
    (void)state;
    struct mb_error e;
    memset(&e, 'x', sizeof e);
    assert_int_equal(mb_fail(&e, MB_EIO, "disk.full", "%s: %d left", "a", 3), MB_EIO);
    assert_string_equal(e.code, "disk.full");
    assert_string_equal(e.args, "[]");
    assert_string_equal(e.text, "a: 3 left");
    assert_int_equal(mb_fail(NULL, MB_ENOENT, "x", "y"), MB_ENOENT);
}

static void a_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"a", "\u00e9", "\u20ac", "\U0001f600"};
    for (size_t c = 0; c < 4; c++) {
        for (size_t pad = 0; pad < 8; pad++) {
            struct mb_buf text = {0};
            struct mb_error e;
            mb_buf_add(&text, "........", pad);
            while (text.len < 2 * MB_ERROR_TEXT_MAX)
                mb_buf_add_text(&text, characters[c]);
            mb_fail(&e, MB_EINVAL, "long", "%s", mb_buf_text(&text));
            size_t len = strlen(e.text);
            assert_true(len < MB_ERROR_TEXT_MAX && len > MB_ERROR_TEXT_MAX - 1 - 4);
            assert_true(mb_utf8_valid(e.text, len));
            assert_memory_equal(e.text, text.data, len);
            mb_buf_clear(&text);
        }
    }
}

static void a_refusal_has_canonical_args(void **state)
{
    (void)state;
    struct mb_error e = {.text = "old"};
    assert_int_equal(mb_refuse(&e, "names.taken", ""), MB_EREFUSED);
    assert_string_equal(e.code, "names.taken");
    assert_string_equal(e.args, "[]");
    assert_string_equal(e.text, "");
    mb_refuse(&e, "a", "sdds", "al\"ice\\\n\x1f\u00e9", INT64_MIN, INT64_MAX, "");
    assert_string_equal(
        e.args,
        "[\"al\\\"ice\\\\\\n\\u001f\u00e9\",-9223372036854775808,9223372036854775807,\"\"]");
    assert_int_equal(mb_refuse(NULL, "a", "s", "b"), MB_EREFUSED);
}

/* The one text arg that comes of count times unit. Owned by the caller. */
static char *arg_of(const char *unit, size_t count)
{
    struct mb_buf text = {0};
    struct mb_error e;
    json_t *args;
    for (size_t i = 0; i < count; i++)
        mb_buf_add_text(&text, unit);
    mb_refuse(&e, "x", "s", mb_buf_text(&text));
    mb_buf_clear(&text);
    assert_int_equal(mb_json_parse(&args, e.args, strlen(e.args), NULL), 0);
    char *arg = mb_strdup(json_string_value(json_array_get(args, 0)));
    json_decref(args);
    return arg;
}

static void a_long_arg_is_cut_between_characters(void **state)
{
    (void)state;
    static const struct {
        const char *unit;
        size_t count, left; /* characters */
    } rows[] = {
        {"a", 199, 199},      {"a", 200, 200},    {"a", 201, 200},        {"\u00e9", 100, 100},
        {"\u00e9", 101, 100}, {"\u20ac", 67, 66}, {"\U0001f600", 51, 50}, {"\"", 125, 125},
        {"\"", 126, 125},     {"\x01", 41, 41},   {"\x01", 42, 41},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *arg = arg_of(rows[i].unit, rows[i].count);
        assert_int_equal(strlen(arg), rows[i].left * strlen(rows[i].unit));
        free(arg);
    }
}

static void an_arg_ends_before_what_is_not_utf8(void **state)
{
    (void)state;
    struct mb_error e;
    mb_refuse(&e, "x", "ssss", "ab\xff", "\xc3", "\xed\xa0\x80z", "a\x80\x80\x80\x80");
    assert_string_equal(e.args, "[\"ab\",\"\",\"\",\"\"]");
}

static void four_of_the_longest_args_fit(void **state)
{
    (void)state;
    static const char *const units[] = {"a", "\"", "\x01", "\U0001f600"};
    for (size_t u = 0; u < 4; u++) {
        struct mb_buf text = {0};
        struct mb_error e;
        json_t *args;
        while (text.len < 300)
            mb_buf_add_text(&text, units[u]);
        const char *t = mb_buf_text(&text);
        mb_refuse(&e, "x", "ssss", t, t, t, t);
        assert_int_equal(mb_json_parse(&args, e.args, strlen(e.args), NULL), 0);
        assert_int_equal(json_array_size(args), 4);
        char *canonical = mb_json_text(args);
        assert_string_equal(canonical, e.args);
        free(canonical);
        json_decref(args);
        mb_buf_clear(&text);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_has_code_and_text),
        cmocka_unit_test(a_long_text_is_cut_between_characters),
        cmocka_unit_test(a_refusal_has_canonical_args),
        cmocka_unit_test(a_long_arg_is_cut_between_characters),
        cmocka_unit_test(an_arg_ends_before_what_is_not_utf8),
        cmocka_unit_test(four_of_the_longest_args_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
