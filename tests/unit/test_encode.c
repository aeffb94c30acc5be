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

/* RFC 4648, section 10; base32 in lower case and without padding, as here. */
static const struct {
    const char *plain, *hex, *base32, *base64, *nopad;
} rfc[] = {
    {"", "", "", "", ""},
    {"f", "66", "my", "Zg==", "Zg"},
    {"fo", "666f", "mzxq", "Zm8=", "Zm8"},
    {"foo", "666f6f", "mzxw6", "Zm9v", "Zm9v"},
    {"foob", "666f6f62", "mzxw6yq", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "666f6f6261", "mzxw6ytb", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "666f6f626172", "mzxw6ytboi", "Zm9vYmFy", "Zm9vYmFy"},
};

static void expect_text(struct mb_buf *b, const char *text)
{
    assert_string_equal(mb_buf_text(b), text);
    mb_buf_reset(b);
}

static void the_vectors_of_rfc_4648_hold(void **state)
{
    (void)state;
    struct mb_buf b = {0};
    uint8_t out[8];
    for (size_t i = 0; i < sizeof rfc / sizeof *rfc; i++) {
        size_t n = strlen(rfc[i].plain);
        mb_hex_encode(&b, rfc[i].plain, n);
        expect_text(&b, rfc[i].hex);
        mb_base32_encode(&b, rfc[i].plain, n);
        expect_text(&b, rfc[i].base32);
        mb_base64_encode(&b, rfc[i].plain, n);
        expect_text(&b, rfc[i].base64);
        mb_base64_encode_nopad(&b, rfc[i].plain, n);
        expect_text(&b, rfc[i].nopad);
        assert_int_equal(mb_hex_decode(out, n, rfc[i].hex, strlen(rfc[i].hex)), 0);
        assert_memory_equal(out, rfc[i].plain, n);
        assert_int_equal(mb_base32_decode(out, n, rfc[i].base32, strlen(rfc[i].base32)), 0);
        assert_memory_equal(out, rfc[i].plain, n);
        assert_int_equal(mb_base64_decode(&b, rfc[i].base64, strlen(rfc[i].base64)), 0);
        expect_text(&b, rfc[i].plain);
    }
    mb_buf_clear(&b);
}

static void every_byte_at_every_length_comes_back(void **state)
{
    (void)state;
    uint8_t data[300], back[300];
    struct mb_buf text = {0}, bytes = {0};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 167 + 13);
    for (size_t n = 0; n <= sizeof data; n++) {
        mb_buf_reset(&text);
        mb_hex_encode(&text, data, n);
        assert_int_equal(mb_hex_decode(back, n, (char *)text.data, text.len), 0);
        assert_memory_equal(back, data, n);
        mb_buf_reset(&text);
        mb_base32_encode(&text, data, n);
        assert_int_equal(mb_base32_decode(back, n, (char *)text.data, text.len), 0);
        assert_memory_equal(back, data, n);
        mb_buf_reset(&text);
        mb_base64_encode(&text, data, n);
        mb_buf_reset(&bytes);
        assert_int_equal(mb_base64_decode(&bytes, (char *)text.data, text.len), 0);
        assert_true(mb_bytes_equal(mb_buf_bytes(&bytes), mb_bytes(data, n)));
    }
    mb_buf_clear(&text);
    mb_buf_clear(&bytes);
}

static void hex_that_is_not_exact_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",   "0",  "000", "0000", "0g", "A0",
                                      "0A", " 0", "0 ",  "+1",   "0x"};
    uint8_t out[4];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mb_hex_decode(out, 1, bad[i], strlen(bad[i])), MB_EINVAL);
    assert_int_equal(mb_hex_decode(out, SIZE_MAX / 2 + 1, "00", 2), MB_EINVAL);
    assert_true(mb_is_hex("09af", 4));
    assert_true(mb_is_hex("", 0));
    assert_false(mb_is_hex("09af", 3));
    assert_false(mb_is_hex("09af", 5));
    assert_false(mb_is_hex("09aF", 4));
}

static void base64_has_one_text_for_one_value(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",      "Zg===",    "=",      "==",      "===",      "====",
        "Zh==", "Zm9=", "Zm8=Zm8=", "Zg==Zg==", "Zm9v\n", " Zm9v",   "Zm 9v===", "Zm9-",
        "Zm9_", "Z===", "Zg=a",     "Zm9vZ",    "Zm9vZg", "Zm9vZg=", "Zm\n9",    "Zm9v====",
    };
    struct mb_buf b = {0};
    mb_buf_add_text(&b, "kept");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(mb_base64_decode(&b, bad[i], strlen(bad[i])), MB_EINVAL);
        assert_int_equal(b.len, 4);
        assert_string_equal(mb_buf_text(&b), "kept");
    }
    assert_int_equal(mb_base64_decode(&b, "Zm9v\0", 5), MB_EINVAL);
    assert_int_equal(mb_base64_decode(&b, "Zm\0v", 4), MB_EINVAL);
    assert_int_equal(mb_base64_decode(&b, "+/8=", 4), 0);
    assert_true(mb_bytes_equal(mb_buf_bytes(&b), mb_bytes("kept\xfb\xff", 6)));
    mb_buf_clear(&b);
}

static void base32_has_one_text_for_one_value(void **state)
{
    (void)state;
    static const char *const bad[] = {"m",  "MY", "mz",  "my======", "m1",
                                      "m8", "m0", "my ", " my",      "myy"};
    uint8_t out[4];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(mb_base32_decode(out, 1, bad[i], strlen(bad[i])), MB_EINVAL);
}

/* duckduckgo's and the Tor Project's, and what is wrong with their near copies. */
static void onions_carry_their_checksum(void **state)
{
    (void)state;
    static const char *const good[] = {
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion",
        "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion",
    };
    static const char *const bad[] = {
        "",
        ".onion",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion.",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.Onion",
        "Duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion",
        "euckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzdzad.onion",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczae.onion",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzcza1.onion",
        "duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzcza.onion",
        "uckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onionn",
        "a.duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion",
    };
    uint8_t key[32];
    char text[MB_ONION_SIZE];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(mb_onion_decode(NULL, good[i]));
        assert_true(mb_onion_decode(key, good[i]));
        mb_onion_encode(text, key);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(mb_onion_decode(key, bad[i]));
}

static void utf8_is_shortest_and_within_unicode(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"", true},
        {"az\x7f", true},
        {"\xc2\x80", true},
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xed\x9f\xbf", true},
        {"\xee\x80\x80", true},
        {"\xef\xbf\xbf", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},
        {"\xbf", false},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xc2", false},
        {"\xc2"
         "a",
         false},
        {"\xc2\xc2", false},
        {"\xe0\x9f\xbf", false},
        {"\xe0\xa0", false},
        {"\xe2\x82"
         "a",
         false},
        {"\xed\xa0\x80", false},
        {"\xed\xbf\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xf0\x90\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xf8\x88\x80\x80\x80", false},
        {"\xfe", false},
        {"\xff", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = mb_asprintf("a%sb", rows[i].text);
        assert_int_equal(mb_utf8_valid(text, strlen(text)), rows[i].valid);
        assert_int_equal(mb_utf8_valid(rows[i].text, strlen(rows[i].text)), rows[i].valid);
        free(text);
    }
    assert_true(mb_utf8_valid("a\0b", 3));
    assert_true(mb_utf8_valid(NULL, 0));
}

static void json_escapes_are_the_canonical_ones(void **state)
{
    (void)state;
    struct mb_buf b = {0};
    for (int c = 1; c < 0x80; c++) {
        char text = (char)c, expected[8];
        const char *shorts = "\"\"\\\\\bb\ff\nn\rr\tt", *s = strchr(shorts, c);
        bool is_short = c == '"' || c == '\\' || (c < 0x20 && s != NULL);
        if (is_short)
            mb_snprintf(expected, sizeof expected, "\\%c", c < 0x20 ? s[1] : c);
        else
            mb_snprintf(expected, sizeof expected, c < 0x20 ? "\\u%04x" : "%c", c);
        mb_json_escape(&b, &text, 1);
        expect_text(&b, expected);
    }
    mb_json_escape(&b, "a/\"\u00e9\x1f\u20ac\n", 10);
    expect_text(&b, "a/\\\"\u00e9\\u001f\u20ac\\n");
    mb_buf_clear(&b);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_vectors_of_rfc_4648_hold),
        cmocka_unit_test(every_byte_at_every_length_comes_back),
        cmocka_unit_test(hex_that_is_not_exact_is_refused),
        cmocka_unit_test(base64_has_one_text_for_one_value),
        cmocka_unit_test(base32_has_one_text_for_one_value),
        cmocka_unit_test(onions_carry_their_checksum),
        cmocka_unit_test(utf8_is_shortest_and_within_unicode),
        cmocka_unit_test(json_escapes_are_the_canonical_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
