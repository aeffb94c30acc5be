/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "loop/log.h"

static char dir[] = "/tmp/mb-test-log-XXXXXX";
static char path[64], moved[64];

static int setup(void **state)
{
    (void)state;
    if (mkdtemp(dir) == NULL)
        return -1;
    mb_snprintf(path, sizeof path, "%s/log", dir);
    mb_snprintf(moved, sizeof moved, "%s/log.1", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mb_log_file(NULL);
    unlink(path);
    unlink(moved);
    return rmdir(dir);
}

static void start(const char *levels)
{
    unlink(path);
    assert_true(mb_log_configure(levels));
    assert_true(mb_log_file(path));
}

static void assert_file(const char *name, const char *expected)
{
    static char text[8192];
    FILE *f = fopen(name, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    assert_string_equal(text, expected);
}

static void test_line(void **state)
{
    (void)state;
    start("info");
    mb_log(MB_LOG_INFO, "wal", "opened", "slot=%d bytes=%u", 7, 12u);
    mb_log(MB_LOG_DEBUG, "wal", "batch", "n=%d", 1);
    mb_log(MB_LOG_WARN, "wal", "empty", "%s", "");
    assert_file(path, "info wal opened slot=7 bytes=12\nwarn wal empty\n");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_escapes(void **state)
{
    (void)state;
    start("info");
    mb_log(MB_LOG_INFO, "x", "e", "a=%s", "1\ninfo x forged\r\t\x1b[31m\x7f\xc2\x9b\\");
    assert_file(path, "info x e a=1\\x0ainfo x forged\\x0d\\x09\\x1b[31m\\x7f\\xc2\\x9b\\\\\n");
}

static void test_long_line_says_that_it_was_cut(void **state)
{
    (void)state;
    start("info");
    char big[4000];
    memset(big, 'a', sizeof big);
    big[sizeof big - 1] = '\0';
    mb_log(MB_LOG_INFO, "x", "e", "%s", big);
    char expected[4100];
    big[2047] = '\0';
    mb_snprintf(expected, sizeof expected, "info x e %s cut=1\n", big);
    assert_file(path, expected);
}

static void test_levels(void **state)
{
    (void)state;
    static const struct {
        const char *levels;
        bool valid, tor_debug, http_info, http_error;
    } cases[] = {
        {"info", true, false, true, true},
        {"debug", true, true, true, true},
        {"error", true, false, false, true},
        {"info,tor=debug,http=warn", true, true, false, true},
        {"tor=debug", true, true, true, true},
        {"", false, false, false, false},
        {"loud", false, false, false, false},
        {"info,", false, false, false, false},
        {"info,=debug", false, false, false, false},
        {"info,tor=", false, false, false, false},
        {"info,tor=debug2", false, false, false, false},
        {"info,a_name_that_is_far_too_long_for_us=info", false, false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(mb_log_configure("error"));
        assert_int_equal(mb_log_configure(cases[i].levels), cases[i].valid);
        if (!cases[i].valid) {
            assert_false(mb_log_wants(MB_LOG_WARN, "http")); /* nothing was changed */
            continue;
        }
        assert_int_equal(mb_log_wants(MB_LOG_DEBUG, "tor"), cases[i].tor_debug);
        assert_int_equal(mb_log_wants(MB_LOG_INFO, "http"), cases[i].http_info);
        assert_int_equal(mb_log_wants(MB_LOG_ERROR, "http"), cases[i].http_error);
    }
}

static void test_rotation(void **state)
{
    (void)state;
    start("info");
    mb_log(MB_LOG_INFO, "x", "one", "%s", "");
    assert_int_equal(rename(path, moved), 0);
    mb_log(MB_LOG_INFO, "x", "two", "%s", "");
    mb_log_reopen();
    mb_log(MB_LOG_INFO, "x", "three", "%s", "");
    assert_file(moved, "info x one\ninfo x two\n");
    assert_file(path, "info x three\n");
    assert_false(mb_log_file("/nonexistent/log"));
    mb_log(MB_LOG_INFO, "x", "four", "%s", ""); /* still the old file */
    assert_file(path, "info x three\ninfo x four\n");
}

static void test_device(void **state)
{
    (void)state;
    struct stat before, after;
    assert_int_equal(stat("/dev/null", &before), 0);
    assert_true(mb_log_file("/dev/null"));
    assert_int_equal(stat("/dev/null", &after), 0);
    if (before.st_mode != after.st_mode)
        chmod("/dev/null", before.st_mode & 07777);
    assert_int_equal(after.st_mode, before.st_mode);
    mb_log_file(NULL);
}

static void test_count(void **state)
{
    (void)state;
    start("error");
    unsigned long warns = mb_log_count(MB_LOG_WARN), errors = mb_log_count(MB_LOG_ERROR);
    mb_log(MB_LOG_WARN, "x", "hidden", "%s", "");
    mb_log(MB_LOG_WARN, "x", "hidden", "%s", "");
    mb_log(MB_LOG_ERROR, "x", "shown", "%s", "");
    assert_int_equal(mb_log_count(MB_LOG_WARN), warns + 2);
    assert_int_equal(mb_log_count(MB_LOG_ERROR), errors + 1);
    assert_file(path, "error x shown\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),     cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_levels),   cmocka_unit_test(test_long_line_says_that_it_was_cut),
        cmocka_unit_test(test_rotation), cmocka_unit_test(test_device),
        cmocka_unit_test(test_count),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
