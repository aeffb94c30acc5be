/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/json.h"

/* Texts, and their canonical form; NULL: not strict JSON; "": strict, but without canonical form.
 */
static const struct {
    const char *text, *canonical;
} rows[] = {
    /* values of every kind, and white space around them */
    {"{}", "{}"},
    {"[]", "[]"},
    {"\"\"", "\"\""},
    {"true", "true"},
    {"false", "false"},
    {"null", ""},
    {"[1,null]", ""},
    {" \t\r\n[ 1 , 2 ] \n", "[1,2]"},
    {"", NULL},
    {" ", NULL},
    {"\f1", NULL},
    {"\v1", NULL},
    {"\xc2\xa0"
     "1",
     NULL},
    {"1 2", NULL},
    {"{} {}", NULL},
    {"[1],", NULL},
    {"[1", NULL},
    {"{\"a\":1", NULL},
    {"[1,]", NULL},
    {"[,1]", NULL},
    {"{\"a\":1,}", NULL},
    {"{\"a\"}", NULL},
    {"{a:1}", NULL},
    {"{1:1}", NULL},
    {"['a']", NULL},
    {"// c\n1", NULL},
    {"/* c */1", NULL},
    {"tru", NULL},
    {"True", NULL},
    {"truer", NULL},
    {"NaN", NULL},
    {"Infinity", NULL},
    {"\xef\xbb\xbf{}", NULL},
    {"\xef\xbb\xbf", NULL},
    /* numbers */
    {"0", "0"},
    {"7", "7"},
    {"-1", "-1"},
    {"10", "10"},
    {"9223372036854775807", "9223372036854775807"},
    {"-9223372036854775808", "-9223372036854775808"},
    {"9223372036854775808", NULL},
    {"-9223372036854775809", NULL},
    {"18446744073709551616", NULL},
    {"99999999999999999999999999999999", NULL},
    {"-0", NULL},
    {"[-0]", NULL},
    {"00", NULL},
    {"01", NULL},
    {"-01", NULL},
    {"+1", NULL},
    {"--1", NULL},
    {"-", NULL},
    {"1-", NULL},
    {"1.0", NULL},
    {"1.", NULL},
    {".1", NULL},
    {"1e0", NULL},
    {"1E2", NULL},
    {"0e0", NULL},
    {"0.0", NULL},
    {"0x1", NULL},
    {"1_000", NULL},
    {"[1 2]", NULL},
    /* strings */
    {"\"1.5 -0 [[ \\\" {\"", "\"1.5 -0 [[ \\\" {\""},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
    {"\"\\u0041\\u001F\\u001f\\u007f\\u00E9\"", "\"A\\u001f\\u001f\x7f\u00e9\""},
    {"\"\\u0001\\u000a\\u000B\"", "\"\\u0001\\n\\u000b\""},
    {"\"\\ud83d\\ude00\\uD83D\\uDE00\"", "\"\U0001f600\U0001f600\""},
    {"\"\\ufffe\\uFFFF\"", "\"\uFFFE\uFFFF\""},
    {"\"\\u2028\"", "\"\u2028\""},
    {"\"\\u0000\"", NULL},
    {"{\"\\u0000\":1}", NULL},
    {"\"\\ud800\"", NULL},
    {"\"\\udc00\"", NULL},
    {"\"\\ude00\\ud83d\"", NULL},
    {"\"\\ud83d\\ud83d\"", NULL},
    {"\"\\ud83dx\"", NULL},
    {"\"\\ud83d\\n\"", NULL},
    {"\"\\u12\"", NULL},
    {"\"\\u12g4\"", NULL},
    {"\"\\U0041\"", NULL},
    {"\"\\x41\"", NULL},
    {"\"\\'\"", NULL},
    {"\"\\", NULL},
    {"\"", NULL},
    {"\"a", NULL},
    {"\"\n\"", NULL},
    {"\"\t\"", NULL},
    {"\"\x01\"", NULL},
    {"\"\x1f\"", NULL},
    {"\"\x7f\"", "\"\x7f\""},
    {"\"\x80\"", NULL},
    {"\"\xc0\x80\"", NULL},
    {"\"\xed\xa0\x80\"", NULL},
    {"\"\xf4\x90\x80\x80\"", NULL},
    {"\"\xc3\"", NULL},
    /* objects */
    {"{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}"},
    {"{\"a\":1,\"a\":1}", NULL},
    {"{\"a\":1,\"\\u0061\":2}", NULL},
    {"{\"x\":{\"a\":1,\"a\":1}}", NULL},
    {"{\"\":1}", "{\"\":1}"},
    {"{\"aa\":1,\"a\":2,\"B\":3,\"\":4}", "{\"\":4,\"B\":3,\"a\":2,\"aa\":1}"},
    /* by bytes, not by UTF-16: U+FF5E before U+1F600 */
    {"{\"\U0001f600\":1,\"\uff5e\":2,\"\u00e9\":3,\"z\":4}",
     "{\"z\":4,\"\u00e9\":3,\"\uff5e\":2,\"\U0001f600\":1}"},
    {"{\"z\":[{\"b\":[],\"a\":{}}],\"\\\"\":true}", "{\"\\\"\":true,\"z\":[{\"a\":{},\"b\":[]}]}"},
};

static void texts_parse_strictly_and_print_canonically(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        json_t *value = json_null();
        struct mb_error e = {0};
        struct mb_buf out = {0};
        int err = mb_json_parse(&value, rows[i].text, strlen(rows[i].text), &e);
        if ((err == 0) != (rows[i].canonical != NULL))
            fail_msg("%s: %d %s", rows[i].text, err, e.text);
        if (err != 0) {
            assert_int_equal(err, MB_EINVAL);
            assert_string_equal(e.code, "json.invalid");
            assert_true(mb_utf8_valid(e.text, strlen(e.text)));
            assert_null(value);
            continue;
        }
        mb_buf_add_text(&out, "x");
        err = mb_json_canonical(&out, value, &e);
        assert_int_equal(err, *rows[i].canonical == '\0' ? MB_EINVAL : 0);
        if (err != 0)
            assert_string_equal(e.code, "json.not_canonical");
        assert_string_equal(mb_buf_text(&out) + 1, rows[i].canonical);
        mb_buf_clear(&out);
        json_decref(value);
    }
}

static void a_nul_is_refused_wherever_it_stands(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": [1, \"b\"]}";
    for (size_t at = 0; at <= sizeof text - 1; at++) {
        struct mb_buf b = {0};
        json_t *value;
        mb_buf_add(&b, text, at);
        mb_buf_add_u8(&b, 0);
        mb_buf_add_text(&b, text + at);
        assert_int_equal(mb_json_parse(&value, b.data, b.len, NULL), MB_EINVAL);
        mb_buf_clear(&b);
    }
    json_t *value;
    assert_int_equal(mb_json_parse(&value, NULL, 0, NULL), MB_EINVAL);
}

/* depth times open, then inner, then depth times close */
static int parse_nested(json_t **value, size_t depth, const char *open, const char *inner,
                        const char *close)
{
    struct mb_buf b = {0};
    for (size_t i = 0; i < depth; i++)
        mb_buf_add_text(&b, open);
    mb_buf_add_text(&b, inner);
    for (size_t i = 0; i < depth; i++)
        mb_buf_add_text(&b, close);
    int err = mb_json_parse(value, b.data, b.len, NULL);
    mb_buf_clear(&b);
    return err;
}

static void the_depth_is_bounded(void **state)
{
    (void)state;
    json_t *value;
    static const size_t too_deep[] = {33, 34, 2047, 2048, 2049, 1000000};
    for (size_t depth = 1; depth <= 32; depth++) {
        assert_int_equal(parse_nested(&value, depth, "[", "", "]"), 0);
        json_decref(value);
        assert_int_equal(parse_nested(&value, depth, "{\"a\":", "1", "}"), 0);
        char *text = mb_json_text(value);
        assert_int_equal(strlen(text), depth * 6 + 1);
        free(text);
        json_decref(value);
    }
    for (size_t i = 0; i < sizeof too_deep / sizeof *too_deep; i++) {
        assert_int_equal(parse_nested(&value, too_deep[i], "[", "", "]"), MB_EINVAL);
        assert_int_equal(parse_nested(&value, too_deep[i], "{\"a\":", "1", "}"), MB_EINVAL);
        assert_int_equal(parse_nested(&value, too_deep[i], "[", "", ""), MB_EINVAL);
    }
    /* many neighbours are no depth, and brackets in strings are none either */
    assert_int_equal(parse_nested(&value, 1, "[",
                                  "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
                                  "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]",
                                  "]"),
                     0);
    json_decref(value);
    assert_int_equal(parse_nested(&value, 1, "[", "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"", "]"),
                     0);
    json_decref(value);
}

static void what_a_program_made_may_have_no_canonical_form(void **state)
{
    (void)state;
    json_t *deep = json_integer(1);
    for (int i = 0; i < 32; i++)
        deep = json_pack("[o]", deep);
    json_t *bad[] = {json_real(1.0),
                     json_null(),
                     json_stringn("a\0b", 3),
                     json_pack("{s:[n]}", "a"),
                     json_pack("[o]", json_incref(deep)),
                     json_pack("{s:{s:o}}", "a", "b", json_real(0.5))};
    struct mb_buf out = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(mb_json_canonical(&out, bad[i], NULL), MB_EINVAL);
        assert_int_equal(out.len, 0);
        assert_string_equal(mb_buf_text(&out), "");
        json_decref(bad[i]);
    }
    assert_int_equal(mb_json_canonical(&out, deep, NULL), 0);
    json_decref(deep);
    assert_int_equal(mb_json_canonical(&out, NULL, NULL), MB_EINVAL);
    json_t *key = json_object();
    assert_int_equal(json_object_setn_new(key, "a\0b", 3, json_integer(1)), 0);
    assert_int_equal(mb_json_canonical(&out, key, NULL), MB_EINVAL);
    json_decref(key);
    mb_buf_clear(&out);
}

static void the_order_of_insertion_does_not_show(void **state)
{
    (void)state;
    json_t *up = json_object(), *down = json_object();
    char key[8];
    for (int i = 0; i < 500; i++) {
        mb_snprintf(key, sizeof key, "k%d", i);
        json_object_set_new(up, key, json_integer(i));
        mb_snprintf(key, sizeof key, "k%d", 499 - i);
        json_object_set_new(down, key, json_integer(499 - i));
    }
    char *a = mb_json_text(up), *b = mb_json_text(down);
    assert_string_equal(a, b);
    free(a);
    free(b);
    json_decref(up);
    json_decref(down);
}

static const struct mb_json_field fields[] = {
    {"name", MB_JSON_STRING, false, 1, 4}, {"count", MB_JSON_INT, false, -2, 9},
    {"any", MB_JSON_ANY, true, 0, 0},      {"flag", MB_JSON_FLAG, true, 0, 0},
    {"free", MB_JSON_STRING, true, 0, 0},  {"list", MB_JSON_ARRAY, true, 1, 2},
    {"map", MB_JSON_OBJECT, true, 0, 1},   {NULL, MB_JSON_ANY, false, 0, 0},
};

static void bodies_are_checked_in_a_fixed_order(void **state)
{
    (void)state;
    static const struct {
        const char *body, *args; /* NULL: fine */
    } cases[] = {
        {"{\"name\":\"a\",\"count\":9}", NULL},
        {"{\"count\":-2,\"name\":\"\u00e9\u00e9\"}", NULL},
        {"{\"name\":\"a\",\"count\":0,\"any\":null,\"flag\":1,\"free\":\"\",\"list\":[1,2],\"map\":"
         "{}}",
         NULL},
        {"{\"name\":\"a\",\"count\":0,\"flag\":true}", NULL},
        {"{\"name\":\"a\",\"count\":0,\"flag\":0,\"any\":[]}", NULL},
        {"[]", "[\"\",\"kind\"]"},
        {"1", "[\"\",\"kind\"]"},
        {"{}", "[\"name\",\"missing\"]"},
        {"{\"z\":1}", "[\"name\",\"missing\"]"},
        {"{\"name\":\"a\"}", "[\"count\",\"missing\"]"},
        {"{\"name\":1,\"count\":\"\"}", "[\"name\",\"kind\"]"},
        {"{\"name\":\"\",\"count\":0}", "[\"name\",\"size\"]"},
        {"{\"name\":\"abcde\",\"count\":0}", "[\"name\",\"size\"]"},
        {"{\"name\":\"\u20ac\u20ac\",\"count\":0}", "[\"name\",\"size\"]"},
        {"{\"name\":null,\"count\":0}", "[\"name\",\"kind\"]"},
        {"{\"name\":\"a\",\"count\":10}", "[\"count\",\"size\"]"},
        {"{\"name\":\"a\",\"count\":-3}", "[\"count\",\"size\"]"},
        {"{\"name\":\"a\",\"count\":true}", "[\"count\",\"kind\"]"},
        {"{\"name\":\"a\",\"count\":0,\"flag\":2}", "[\"flag\",\"kind\"]"},
        {"{\"name\":\"a\",\"count\":0,\"flag\":-1}", "[\"flag\",\"kind\"]"},
        {"{\"name\":\"a\",\"count\":0,\"flag\":\"1\"}", "[\"flag\",\"kind\"]"},
        {"{\"name\":\"a\",\"count\":0,\"free\":[]}", "[\"free\",\"kind\"]"},
        {"{\"name\":\"a\",\"count\":0,\"list\":[]}", "[\"list\",\"size\"]"},
        {"{\"name\":\"a\",\"count\":0,\"list\":[1,2,3]}", "[\"list\",\"size\"]"},
        {"{\"name\":\"a\",\"count\":0,\"list\":{}}", "[\"list\",\"kind\"]"},
        {"{\"name\":\"a\",\"count\":0,\"map\":[]}", "[\"map\",\"kind\"]"},
        {"{\"name\":\"a\",\"count\":0,\"map\":{\"a\":1,\"b\":2}}", "[\"map\",\"size\"]"},
        {"{\"z\":1,\"name\":\"a\",\"y\":1,\"count\":0}", "[\"y\",\"unknown\"]"},
        {"{\"name\":\"a\",\"count\":0,\"nam\":1}", "[\"nam\",\"unknown\"]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *body;
        struct mb_error e = {.args = ""};
        assert_int_equal(mb_json_parse(&body, cases[i].body, strlen(cases[i].body), NULL), 0);
        int err = mb_json_check(body, fields, &e);
        assert_int_equal(err, cases[i].args == NULL ? 0 : MB_EREFUSED);
        assert_string_equal(e.args, cases[i].args == NULL ? "" : cases[i].args);
        assert_string_equal(e.code, cases[i].args == NULL ? "" : "body.invalid");
        json_decref(body);
    }
    assert_int_equal(mb_json_check(NULL, fields, NULL), MB_EREFUSED);
}

static void fields_have_fallbacks(void **state)
{
    (void)state;
    json_t *o = json_pack("{s:s,s:I,s:b,s:i,s:i}", "text", "a", "int", (json_int_t)INT64_MAX,
                          "true", 1, "one", 1, "zero", 0);
    assert_string_equal(mb_json_get_text(o, "text", "b"), "a");
    assert_string_equal(mb_json_get_text(o, "int", "b"), "b");
    assert_null(mb_json_get_text(o, "none", NULL));
    assert_true(mb_json_get_int(o, "int", 3) == INT64_MAX);
    assert_int_equal(mb_json_get_int(o, "text", 3), 3);
    assert_int_equal(mb_json_get_int(o, "none", -3), -3);
    assert_true(mb_json_get_flag(o, "true", false));
    assert_true(mb_json_get_flag(o, "one", false));
    assert_false(mb_json_get_flag(o, "zero", true));
    assert_true(mb_json_get_flag(o, "none", true));
    assert_false(mb_json_get_flag(o, "text", false));
    json_decref(o);
}

static void a_text_is_found_in_a_list(void **state)
{
    json_t *list = json_pack("[s, i, s]", "a", 7, "b");
    (void)state;
    assert_true(mb_json_has_text(list, "a"));
    assert_true(mb_json_has_text(list, "b"));
    assert_false(mb_json_has_text(list, "7"));
    assert_false(mb_json_has_text(list, ""));
    assert_false(mb_json_has_text(NULL, "a"));
    json_decref(list);
}

/* A command may hold null: a refusal that quotes it must not stop the replica. */
static void a_figure_may_hold_null(void **state)
{
    static const char *const figures[][2] = {
        {"{\"b\":[1], \"a\":\"x\"}", "{\"a\":\"x\",\"b\":[1]}"},
        {"[null]", "a value that holds null"},
        {"{\"a\":{\"b\":null}}", "a value that holds null"}};
    (void)state;
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        json_t *value = NULL;
        assert_int_equal(mb_json_parse(&value, figures[i][0], strlen(figures[i][0]), NULL), 0);
        char *text = mb_json_figure(value);
        assert_string_equal(text, figures[i][1]);
        free(text);
        json_decref(value);
    }
    char *text = mb_json_figure(json_null());
    assert_string_equal(text, "null");
    free(text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_figure_may_hold_null),
        cmocka_unit_test(texts_parse_strictly_and_print_canonically),
        cmocka_unit_test(a_nul_is_refused_wherever_it_stands),
        cmocka_unit_test(the_depth_is_bounded),
        cmocka_unit_test(what_a_program_made_may_have_no_canonical_form),
        cmocka_unit_test(the_order_of_insertion_does_not_show),
        cmocka_unit_test(bodies_are_checked_in_a_fixed_order),
        cmocka_unit_test(fields_have_fallbacks),
        cmocka_unit_test(a_text_is_found_in_a_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
