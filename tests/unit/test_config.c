/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "host/config.h"

static const struct mb_option main_options[] = {
    {.name = "data", .kind = MB_OPTION_PATH, .fallback = NULL, .help = "Folder."},
    {.name = "size",
     .kind = MB_OPTION_SIZE,
     .fallback = "4k",
     .min = 1024,
     .max = 1 << 20,
     .help = "Room."},
    {.name = "wait", .kind = MB_OPTION_DURATION, .fallback = "90s", .help = "Time."},
    {.name = "on", .kind = MB_OPTION_FLAG, .fallback = "no", .reload = true, .help = "Switch."},
    {.name = "list", .kind = MB_OPTION_WORDS, .fallback = "", .help = "Words. \\ and more."},
    {.name = "mode",
     .kind = MB_OPTION_CHOICE,
     .fallback = "a",
     .choices = "a bb c",
     .help = "One."},
    {.name = NULL},
};
static const struct mb_section sections[] = {
    {.name = "main", .help = "Main.", .options = main_options},
    {.name = NULL},
};

static struct mb_config *parse(const char *text, bool allow_unknown, struct mb_error *error)
{
    struct mb_config *c;
    mb_config_parse(&c, "/etc/x/y.conf", mb_bytes_of(text), sections, allow_unknown, error);
    return c;
}

static void test_values(void **state)
{
    (void)state;
    struct mb_error error;
    struct mb_config *c = parse("# comment\n; another\n[main]\n data = here \nsize=1M\nwait = 2h\n"
                                "on = yes\nlist = a, b\nlist = c\nmode=bb",
                                false, &error);
    assert_non_null(c);
    assert_string_equal(mb_config_text(c, "main", "data"), "/etc/x/here");
    assert_int_equal(mb_config_int(c, "main", "size"), 1 << 20);
    assert_int_equal(mb_config_int(c, "main", "wait"), 7200);
    assert_int_equal(mb_config_int(c, "main", "on"), 1);
    assert_string_equal(mb_config_text(c, "main", "mode"), "bb");
    const char *const *words;
    assert_int_equal(mb_config_words(c, "main", "list", &words), 3);
    assert_string_equal(words[2], "c");
    mb_config_free(c);
}

static void test_fallbacks_and_absolute_path(void **state)
{
    (void)state;
    struct mb_error error;
    struct mb_config *c = parse("[main]\ndata = /d\n", false, &error);
    assert_non_null(c);
    assert_string_equal(mb_config_text(c, "main", "data"), "/d");
    assert_int_equal(mb_config_int(c, "main", "size"), 4096);
    assert_int_equal(mb_config_int(c, "main", "wait"), 90);
    const char *const *words;
    assert_int_equal(mb_config_words(c, "main", "list", &words), 0);
    mb_config_free(c);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"[main]\nsize = 4k\n", "[main] data is missing"},
        {"[main]\ndata = /d\nsize = 12\n", "y.conf:3: out of range"},
        {"[main]\ndata = /d\nsize = 9G\n", "y.conf:3: out of range"},
        {"[main]\ndata = /d\nsize = 1x\n", "y.conf:3: not a size"},
        {"[main]\ndata = /d\nsize = 99999999999999999999\n", "y.conf:3: not a size"},
        {"[main]\ndata = /d\nwait = 9223372036854775807d\n", "y.conf:3: not a time"},
        {"[main]\ndata = /d\non = maybe\n", "y.conf:3: neither yes nor no"},
        {"[main]\ndata = /d\nmode = b\n", "y.conf:3: not one of the choices"},
        {"[main]\ndata = /d\ndata = /e\n", "y.conf:3: given twice"},
        {"data = /d\n", "y.conf:1: no [section]"},
        {"[main]\nnothing\n", "y.conf:2: a line is"},
        {"[main]\nnope = 1\n", "y.conf:2: there is no such option"},
        {"[other]\n", "y.conf:1: there is no such section"},
        {"[main\n", "y.conf:1: a section is written"},
        {"[main]\ndata = /d\x01\n", "y.conf:2: control character"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_error error = {0};
        assert_null(parse(cases[i].text, false, &error));
        assert_string_equal(error.code, "config.invalid");
        if (strstr(error.text, cases[i].says) == NULL)
            fail_msg("%s: %s", cases[i].says, error.text);
    }
}

static void test_unknown_sections_can_wait_for_their_module(void **state)
{
    (void)state;
    struct mb_error error;
    struct mb_config *c = parse("[other]\nanything = 1\n[main]\ndata = /d\n", true, &error);
    assert_non_null(c);
    mb_config_free(c);
}

static void test_manual_names_every_option(void **state)
{
    (void)state;
    struct mb_buf out = {0};
    mb_config_manual(&out, sections);
    for (const struct mb_option *o = main_options; o->name != NULL; o++) {
        char item[64];
        mb_snprintf(item, sizeof item, ".It Cm %s ", o->name);
        assert_non_null(strstr(mb_buf_text(&out), item));
    }
    assert_non_null(strstr(mb_buf_text(&out), ".It Cm mode No = Cm a | bb | c\nOne.\n"));
    assert_non_null(strstr(mb_buf_text(&out), "\nWords. \\e and more.\n"));
    mb_buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_fallbacks_and_absolute_path),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_unknown_sections_can_wait_for_their_module),
        cmocka_unit_test(test_manual_names_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
