/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "tor/internal.h"

/* Replies as text: "STATUS{line|line}" one after the other. */
static void note(void *arg, const struct mb_control_reply *r)
{
    struct mb_buf *out = arg;
    mb_buf_addf(out, "%d{", r->status);
    for (size_t i = 0; i < r->count; i++)
        mb_buf_addf(out, "%s%s", i > 0 ? "|" : "", r->lines[i]);
    mb_buf_add_text(out, "}");
}

static int feed(const char *text, size_t len, size_t piece, struct mb_buf *out,
                struct mb_error *error)
{
    struct mb_control_parser *p = mb_control_parser_new();
    int rc = 0;
    for (size_t at = 0; at < len && rc == 0; at += piece)
        rc = mb_control_feed(p, mb_bytes(text + at, len - at < piece ? len - at : piece), note, out,
                             error);
    if (rc != 0) /* and it stays so */
        assert_int_equal(mb_control_feed(p, mb_bytes_of("250 OK\r\n"), note, out, NULL), MB_EINVAL);
    mb_control_parser_free(p);
    return rc;
}

static const struct {
    const char *text;
    int rc;
    const char *replies;
} replies[] = {
    {"250 OK\r\n", 0, "250{OK}"},
    {"250 \r\n", 0, "250{}"},
    {"250 OK\r\n515 no\r\n", 0, "250{OK}515{no}"},
    {"250-a=1\r\n250-b=2\r\n250 OK\r\n", 0, "250{a=1|b=2|OK}"},
    {"250+onions/current=\r\nabc\r\ndef\r\n.\r\n250 OK\r\n", 0,
     "250{onions/current=\nabc\ndef|OK}"},
    {"250+x=\r\n..\r\n..a\r\n\r\n250 OK\r\n.\r\n250 OK\r\n", 0, "250{x=\n.\n.a\n\n250 OK|OK}"},
    {"250+x=\r\n.\r\n250 OK\r\n", 0, "250{x=|OK}"},
    {"650 HS_DESC UPLOADED x\r\n250 OK\r\n", 0, "650{HS_DESC UPLOADED x}250{OK}"},
    {"650-a\r\n650-b\r\n650 c\r\n", 0, "650{a|b|c}"},
    {"250-unfinished\r\n", 0, ""},
    {"250 unfinished", 0, ""},
    {"", 0, ""},
    /* malformed */
    {"250 OK\n", MB_EINVAL, ""},
    {"\r\n", MB_EINVAL, ""},
    {"250\r\n", MB_EINVAL, ""},
    {"25 OK\r\n", MB_EINVAL, ""},
    {"250*OK\r\n", MB_EINVAL, ""},
    {"099 OK\r\n", MB_EINVAL, ""},
    {"-50 OK\r\n", MB_EINVAL, ""},
    {"HTTP/1.1 400 Bad Request\r\n", MB_EINVAL, ""},
    {"250-a\r\n251 OK\r\n", MB_EINVAL, ""},
    {"250-a\r\n650 HS_DESC\r\n250 OK\r\n", MB_EINVAL, ""},
    {"250 good\r\nbad\r\n", MB_EINVAL, "250{good}"},
};

static void replies_are_parsed_in_pieces_of_any_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        size_t len = strlen(replies[i].text);
        for (size_t piece = 1; piece <= len + 1; piece++) {
            struct mb_buf out = {0};
            struct mb_error error = {0};
            assert_int_equal(feed(replies[i].text, len, piece, &out, &error), replies[i].rc);
            assert_string_equal(mb_buf_text(&out), replies[i].replies);
            assert_string_equal(error.code, replies[i].rc != 0 ? "tor.protocol" : "");
            mb_buf_clear(&out);
        }
    }
}

static void a_zero_byte_is_refused(void **state)
{
    (void)state;
    struct mb_buf out = {0};
    assert_int_equal(feed("250 a\0b\r\n", 9, 9, &out, NULL), MB_EINVAL);
    mb_buf_clear(&out);
}

static void add_times(struct mb_buf *b, const char *text, size_t times)
{
    for (size_t i = 0; i < times; i++)
        mb_buf_add_text(b, text);
}

static int feed_buf(struct mb_buf *text)
{
    struct mb_buf out = {0};
    int rc = feed(mb_buf_text(text), text->len, 4096, &out, NULL);
    mb_buf_clear(&out);
    mb_buf_clear(text);
    return rc;
}

static void limits_hold_to_the_byte(void **state)
{
    (void)state;
    struct mb_buf b = {0};
    for (size_t over = 0; over < 2; over++) {
        int expected = over ? MB_ELIMIT : 0;
        mb_buf_add_text(&b, "250 ");
        add_times(&b, "x", MB_CONTROL_LINE_MAX - 6 + over);
        mb_buf_add_text(&b, "\r\n");
        assert_int_equal(feed_buf(&b), expected);

        add_times(&b, "250-x\r\n", MB_CONTROL_LINES_MAX - 1 + over);
        mb_buf_add_text(&b, "250 x\r\n");
        assert_int_equal(feed_buf(&b), expected);

        mb_buf_add_text(&b, "250+\r\n"); /* 4 bytes, and blocks of 1,024; then ".", "250 " */
        for (size_t i = 0; i < MB_CONTROL_REPLY_MAX / 1024 - 1; i++) {
            add_times(&b, "0123456789abcdef", 64);
            mb_buf_add_text(&b, "\r\n");
        }
        add_times(&b, "x", 1024 - 9 + over);
        mb_buf_add_text(&b, "\r\n.\r\n250 \r\n");
        assert_int_equal(feed_buf(&b), expected);
    }
    /* a line that never ends is not kept */
    add_times(&b, "x", MB_CONTROL_LINE_MAX + 1);
    assert_int_equal(feed_buf(&b), MB_ELIMIT);
}

static void values_are_found_and_unquoted(void **state)
{
    (void)state;
    static const struct {
        const char *line, *key, *value;
    } cases[] = {
        {"AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE=\"/run/tor/c\"", "METHODS",
         "COOKIE,SAFECOOKIE"},
        {"AUTH METHODS=COOKIE,SAFECOOKIE COOKIEFILE=\"/run/tor/c\"", "COOKIEFILE", "/run/tor/c"},
        {"VERSION Tor=\"0.4.9.11\"", "Tor", "0.4.9.11"},
        {"a=\"x B=1\" B=2", "B", "2"}, /* not within a quoted string */
        {"a=\"x \\\" B=1\" B=2", "B", "2"},
        {"a=\"1 \\\\\\\"\\n\\t\\101\\7b\"", "a", "1 \\\"\n\tA\7b"},
        {"a=", "a", ""},
        {"a=\"\"", "a", ""},
        {"xa=1 a=2", "a", "2"},
        {"a=1=2 b", "a", "1=2"},
        {"NOTICE BOOTSTRAP PROGRESS=85 TAG=x SUMMARY=\"PROGRESS=1\"", "PROGRESS", "85"},
        {"a=\"open", "a", NULL},
        {"a=\"open\\", "a", NULL},
        {"a=\"zero\\0\"", "a", NULL},
        {"a=\"\\777\"", "a", NULL},
        {"x=\"open a=1", "a", NULL},
        {"b=1", "a", NULL},
        {"a", "a", NULL},
        {"", "a", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *value = mb_control_value(cases[i].line, cases[i].key);
        if (cases[i].value == NULL)
            assert_null(value);
        else
            assert_string_equal(value, cases[i].value);
        free(value);
    }
}

static void a_quoted_string_comes_back(void **state)
{
    (void)state;
    struct mb_buf line = {0};
    char all[256];
    for (size_t i = 0; i < 255; i++)
        all[i] = (char)(i + 1);
    all[255] = '\0';
    mb_buf_add_text(&line, "k=");
    mb_control_quote(&line, mb_bytes_of(all));
    for (size_t i = 0; i < line.len; i++) /* on one line, in ASCII */
        assert_true(line.data[i] >= 0x20 && line.data[i] < 0x7f);
    char *value = mb_control_value(mb_buf_text(&line), "k");
    assert_string_equal(value, all);
    free(value);
    mb_buf_clear(&line);
}

static void versions_are_parsed(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int rc;
        unsigned v[4];
    } cases[] = {
        {"0.4.9.11", 0, {0, 4, 9, 11}},     {"0.4.9.11 (git-0123456789abcdef)", 0, {0, 4, 9, 11}},
        {"Tor 0.4.8.16", 0, {0, 4, 8, 16}}, {"0.4.9.1-alpha-dev", 0, {0, 4, 9, 1}},
        {"0.4.9", MB_EINVAL, {0}},          {"0.4.9.", MB_EINVAL, {0}},
        {"0.4.9.1.2", MB_EINVAL, {0}},      {"0.4.9.1x", MB_EINVAL, {0}},
        {"0.4.-9.1", MB_EINVAL, {0}},       {"0.4.9.9999999", MB_EINVAL, {0}},
        {"tor 0.4.9.11", MB_EINVAL, {0}},   {"", MB_EINVAL, {0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        unsigned v[4];
        assert_int_equal(mb_tor_version_parse(v, cases[i].text), cases[i].rc);
        if (cases[i].rc == 0)
            assert_memory_equal(v, cases[i].v, sizeof v);
    }
}

static void releases_are_judged(void **state)
{
    (void)state;
    static const struct {
        unsigned v[4];
        bool old;
        const char *fixed;
    } cases[] = {
        {{0, 4, 7, 16}, true, "0.4.8.9"},   {{0, 4, 8, 0}, false, "0.4.8.9"},
        {{0, 4, 8, 8}, false, "0.4.8.9"},   {{0, 4, 8, 24}, false, "0.4.9.9"},
        {{0, 4, 9, 9}, false, "0.4.9.11"},  {{0, 4, 9, 11}, false, "0.4.9.13"},
        {{0, 4, 9, 13}, false, "0.4.9.14"}, {{0, 4, 9, 14}, false, NULL},
        {{0, 5, 0, 1}, false, NULL},        {{1, 0, 0, 0}, false, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char fixed[32];
        assert_int_equal(tor_version_too_old(cases[i].v), cases[i].old);
        const char *trouble = tor_version_trouble(cases[i].v, fixed);
        assert_int_equal(trouble == NULL, cases[i].fixed == NULL);
        if (trouble != NULL)
            assert_string_equal(fixed, cases[i].fixed);
    }
}

/* Computed with Python's hmac module. */
static void safecookie_hashes_are_right(void **state)
{
    (void)state;
    uint8_t cookie[32], client[32], server[32], server_hash[32], client_hash[32];
    for (uint8_t i = 0; i < 32; i++) {
        cookie[i] = i;
        client[i] = (uint8_t)(32 + i);
        server[i] = (uint8_t)(64 + i);
    }
    struct mb_buf hex = {0};
    mb_safecookie_hashes(cookie, client, server, server_hash, client_hash);
    mb_hex_encode(&hex, server_hash, 32);
    mb_hex_encode(&hex, client_hash, 32);
    assert_string_equal(mb_buf_text(&hex),
                        "3c8780ab52365c0d080750447e5f64dabc00428c6c434579c2043e18c1f85389"
                        "b47642df2d5abb84f69e6d02d41bed6b44aee33e69562528a82166fc98bc0b1e");
    mb_buf_clear(&hex);
}

static void options_that_could_leak_are_refused(void **state)
{
    (void)state;
    static const struct {
        struct mb_tor_options o;
        int rc;
    } cases[] = {
        {{.mode = MB_TOR_NONE}, 0},
        {{.mode = MB_TOR_RUNNING}, MB_EINVAL},
        {{.mode = MB_TOR_RUNNING, .control = "/run/tor/control"}, 0},
        {{.mode = MB_TOR_RUNNING, .control = "run/tor/control"}, MB_EINVAL},
        {{.mode = MB_TOR_RUNNING, .control = "127.0.0.1:9051"}, MB_EINVAL},
        {{.mode = MB_TOR_RUNNING, .control = "127.0.0.1:9051", .allow_tcp_control = true}, 0},
        {{.mode = MB_TOR_RUNNING, .control = "127.0.0.1:", .allow_tcp_control = true}, MB_EINVAL},
        {{.mode = MB_TOR_RUNNING, .control = "127.0.0.1:0", .allow_tcp_control = true}, MB_EINVAL},
        {{.mode = MB_TOR_RUNNING, .control = "127.0.0.1:65536", .allow_tcp_control = true},
         MB_EINVAL},
        {{.mode = MB_TOR_RUNNING, .control = "192.0.2.1:9051", .allow_tcp_control = true},
         MB_EINVAL},
        {{.mode = MB_TOR_RUNNING, .control = "localhost:9051", .allow_tcp_control = true},
         MB_EINVAL},
        {{.mode = MB_TOR_CHILD, .binary = "/usr/sbin/tor"}, MB_EINVAL},
        {{.mode = MB_TOR_CHILD, .binary = "/usr/sbin/tor", .dir = "relative"}, MB_EINVAL},
        {{.mode = MB_TOR_CHILD, .binary = "/usr/sbin/tor", .dir = "/a\nb"}, MB_EINVAL},
        {{.mode = MB_TOR_CHILD, .binary = "tor", .dir = "/nowhere"}, MB_EINVAL},
        {{.mode = MB_TOR_CHILD,
          .binary = "/usr/sbin/tor",
          .dir = "/nowhere",
          .include = "/nowhere/torrc"},
         MB_EINVAL},
    };
    struct mb_loop *loop = mb_loop_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_tor *t = NULL;
        struct mb_error error = {0};
        assert_int_equal(mb_tor_start(&t, loop, &cases[i].o, &error), cases[i].rc);
        assert_string_equal(error.code, cases[i].rc != 0 ? "tor.options" : "");
        mb_tor_stop(t);
    }
    mb_loop_free(loop);
}

static void only_unix_sockets_are_targets(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        int rc;
    } cases[] = {
        {"/run/magicbiz/web", 0},
        {"127.0.0.1:80", MB_EINVAL},
        {"example.com:80", MB_EINVAL},
        {"unix:/run/web", MB_EINVAL},
        {"run/web", MB_EINVAL},
        {"/", MB_EINVAL},
        {"", MB_EINVAL},
        {NULL, MB_EINVAL},
        {"/run/a b", MB_EINVAL},
        {"/run/a\r\nQUIT", MB_EINVAL},
        {"/run/\"a", MB_EINVAL},
        {"/run/a,b", MB_EINVAL},
    };
    struct mb_loop *loop = mb_loop_new();
    struct mb_tor *t;
    assert_int_equal(mb_tor_start(&t, loop, &(struct mb_tor_options){.mode = MB_TOR_NONE}, NULL),
                     0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_onion_service s = {.name = "public", .port = 80, .target = cases[i].target};
        mb_onion_key_from_seed(s.key, (const uint8_t[32]){1});
        assert_int_equal(mb_tor_publish(t, &s, NULL), cases[i].rc);
    }
    assert_int_equal(mb_tor_status(t).onion_count, 1);
    mb_tor_stop(t);
    mb_loop_free(loop);
}

static void services_are_replaced_by_name_and_bounded(void **state)
{
    (void)state;
    struct mb_loop *loop = mb_loop_new();
    struct mb_tor *t;
    char name[8];
    struct mb_onion_service s = {.name = name, .port = 80, .target = "/run/web"};
    assert_int_equal(mb_tor_start(&t, loop, &(struct mb_tor_options){.mode = MB_TOR_NONE}, NULL),
                     0);
    for (uint8_t i = 0; i < 17; i++) {
        mb_snprintf(name, sizeof name, "s%u", i);
        mb_onion_key_from_seed(s.key, (const uint8_t[32]){i});
        assert_int_equal(mb_tor_publish(t, &s, NULL), i < 16 ? 0 : MB_ELIMIT);
    }
    mb_snprintf(name, sizeof name, "s3");
    assert_int_equal(mb_tor_publish(t, &s, NULL), 0);
    struct mb_tor_status status = mb_tor_status(t);
    char expected[MB_ONION_SIZE];
    assert_int_equal(mb_onion_address(expected, s.key), 0);
    assert_int_equal(status.onion_count, 16);
    assert_string_equal(status.onions[15].name, "s3");
    assert_string_equal(status.onions[15].onion, expected);
    mb_tor_withdraw(t, "s0");
    mb_tor_withdraw(t, "nobody");
    assert_int_equal(mb_tor_status(t).onion_count, 15);
    mb_tor_stop(t);
    mb_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_parsed_in_pieces_of_any_size),
        cmocka_unit_test(a_zero_byte_is_refused),
        cmocka_unit_test(limits_hold_to_the_byte),
        cmocka_unit_test(values_are_found_and_unquoted),
        cmocka_unit_test(a_quoted_string_comes_back),
        cmocka_unit_test(versions_are_parsed),
        cmocka_unit_test(releases_are_judged),
        cmocka_unit_test(safecookie_hashes_are_right),
        cmocka_unit_test(options_that_could_leak_are_refused),
        cmocka_unit_test(only_unix_sockets_are_targets),
        cmocka_unit_test(services_are_replaced_by_name_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
