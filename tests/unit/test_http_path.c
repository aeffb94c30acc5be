/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "http/path.h"

static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *text, *path; /* NULL: refused */
    } cases[] = {
        {"/", "/"},
        {"/a/b", "/a/b"},
        {"/a/", "/a/"},
        {"/a%20b", "/a b"},
        {"/%41", "/A"},
        {"/%2541", "/%41"},
        {"/%c3%A4", "/\xc3\xa4"},
        {"/a+b", "/a+b"},
        {"/...", "/..."},
        {"/.git", "/.git"},
        {"", NULL},
        {"a", NULL},
        {"*", NULL},
        {"//", NULL},
        {"/a//b", NULL},
        {"/a//", NULL},
        {"/.", NULL},
        {"/..", NULL},
        {"/a/./b", NULL},
        {"/a/../b", NULL},
        {"/%2e%2E/b", NULL},
        {"/a%2fb", NULL},
        {"/a%5cb", NULL},
        {"/a\\b", NULL},
        {"/a%00", NULL},
        {"/a%0a", NULL},
        {"/a%7f", NULL},
        {"/%", NULL},
        {"/%4", NULL},
        {"/%4g", NULL},
        {"/%ff", NULL},
        {"/%c0%af", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf out = {0};
        assert_int_equal(mb_path_decode(&out, cases[i].text, strlen(cases[i].text)),
                         cases[i].path != NULL);
        assert_string_equal(mb_buf_text(&out), cases[i].path == NULL ? "" : cases[i].path);
        mb_buf_clear(&out);
    }
}

static void test_queries(void **state)
{
    (void)state;
    static const struct {
        const char *text, *a, *b; /* values of a and b */
        bool sound;
    } cases[] = {
        {"", NULL, NULL, true},
        {"a=1", "1", NULL, true},
        {"a=1&b=2&a=3", "1", "2", true},
        {"a&b=", "", "", true},
        {"&&a=x%26y&&", "x&y", NULL, true},
        {"a=b=c", "b=c", NULL, true},
        {"a=1+2%2B", "1 2+", NULL, true},
        {"%61=/..", "/..", NULL, true},
        {"a=%", NULL, NULL, false},
        {"a=%zz", NULL, NULL, false},
        {"a=%00", NULL, NULL, false},
        {"a=%0a", NULL, NULL, false},
        {"%ff=1", NULL, NULL, false},
        {"a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a", "", NULL, true},
        {"a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a&a", NULL, NULL, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_query q;
        bool sound = mb_query_decode(&q, cases[i].text, strlen(cases[i].text));
        assert_int_equal(sound, cases[i].sound);
        const char *want[] = {cases[i].a, cases[i].b};
        for (int k = 0; sound && k < 2; k++) {
            const char *got = mb_query_get(&q, k == 0 ? "a" : "b");
            assert_int_equal(got == NULL, want[k] == NULL);
            if (got != NULL)
                assert_string_equal(got, want[k]);
        }
        mb_query_clear(&q);
    }
}

static void test_routes(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path, *values; /* values end with ';'; NULL: no match */
    } cases[] = {
        {"/", "/", ""},
        {"/v1/org", "/v1/org", ""},
        {"/v1/org", "/v1/org/", NULL},
        {"/v1/org", "/v1/or", NULL},
        {"/v1/org", "/v1/orgs", NULL},
        {"/v1/org", "/v1", NULL},
        {"/c/{id}/proof", "/c/12/proof", "id=12;"},
        {"/c/{id}/proof", "/c//proof", NULL},
        {"/c/{id}", "/c/1/proof", NULL},
        {"/{repo}.git/{rest...}", "/a.b.git/info/refs", "repo=a.b;rest=info/refs;"},
        {"/{repo}.git/{rest...}", "/a.git/", "repo=a;rest=;"},
        {"/{repo}.git/{rest...}", "/a.git", NULL},
        {"/{repo}.git/{rest...}", "/.git/x", NULL},
        {"/x-{a}-y/{b}", "/x-1-y/2", "a=1;b=2;"},
        {"/x-{a}-y/{b}", "/x--y/2", NULL},
        {"/{rest...}", "/", "rest=;"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_param params[MB_PARAMS_MAX];
        struct mb_buf got = {0};
        size_t count;
        bool fits = mb_path_match(cases[i].pattern, cases[i].path, params, &count);
        assert_int_equal(fits, cases[i].values != NULL);
        for (size_t k = 0; fits && k < count; k++) {
            mb_buf_add_bytes(&got, params[k].name);
            mb_buf_add_u8(&got, '=');
            mb_buf_add_bytes(&got, params[k].value);
            mb_buf_add_u8(&got, ';');
        }
        assert_string_equal(mb_buf_text(&got), fits ? cases[i].values : "");
        mb_buf_clear(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_routes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
