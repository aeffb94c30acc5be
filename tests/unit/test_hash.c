/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/hash.h"

static void expect_hex(struct mb_hash h, const char *hex)
{
    char text[MB_HASH_HEX_SIZE];
    mb_hash_hex(&h, text);
    assert_string_equal(text, hex);
}

/* NIST's examples for FIPS 180, and the long message of RFC 6234. */
static void sha256_gives_the_published_hashes(void **state)
{
    (void)state;
    expect_hex(mb_sha256("", 0),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hex(mb_sha256(NULL, 0),
               "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_hex(mb_sha256("abc", 3),
               "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    expect_hex(mb_sha256(two_blocks, sizeof two_blocks - 1),
               "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = mb_alloc(1000000);
    memset(million, 'a', 1000000);
    expect_hex(mb_sha256(million, 1000000),
               "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void pieces_hash_as_the_whole(void **state)
{
    (void)state;
    uint8_t data[200];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 7);
    for (size_t len = 0; len <= sizeof data; len++) {
        struct mb_hash whole = mb_sha256(data, len);
        size_t a = len / 3, b = len / 2;
        struct mb_bytes parts[] = {mb_bytes(data, a), mb_bytes(NULL, 0), mb_bytes(data + a, b - a),
                                   mb_bytes(data + b, len - b)};
        struct mb_hash joined = mb_sha256_parts(parts, 4);
        assert_true(mb_hash_equal(&whole, &joined));
        struct mb_sha256 *s = mb_sha256_new();
        for (size_t i = 0; i < len; i++)
            mb_sha256_update(s, data + i, 1);
        struct mb_hash fed = mb_sha256_final_free(s);
        assert_true(mb_hash_equal(&whole, &fed));
    }
    struct mb_hash none = mb_sha256_parts(NULL, 0), empty = mb_sha256("", 0);
    assert_true(mb_hash_equal(&none, &empty));
    mb_sha256_free(mb_sha256_new());
    mb_sha256_free(NULL);
}

static void hex_is_read_strictly(void **state)
{
    (void)state;
    static const char good[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    struct mb_hash h;
    assert_int_equal(mb_hash_from_hex(&h, good), 0);
    expect_hex(h, good);
    char bad[80];
    for (size_t len = 0; len < 64; len++) {
        mb_snprintf(bad, sizeof bad, "%.*s", (int)len, good);
        assert_int_equal(mb_hash_from_hex(&h, bad), MB_EINVAL);
    }
    static const char wrong[] = "gGA/:@`\x80 ";
    for (size_t i = 0; i < sizeof wrong - 1; i++) {
        memcpy(bad, good, sizeof good);
        bad[i * 7] = wrong[i];
        assert_int_equal(mb_hash_from_hex(&h, bad), MB_EINVAL);
    }
    mb_snprintf(bad, sizeof bad, "%s0", good);
    assert_int_equal(mb_hash_from_hex(&h, bad), MB_EINVAL);
}

static void hashes_compare_by_their_bytes(void **state)
{
    (void)state;
    struct mb_hash low = {{0, 0x7f}}, high = {{0, 0x80}};
    assert_true(mb_hash_compare(&low, &high) < 0);
    assert_true(mb_hash_compare(&high, &low) > 0);
    assert_int_equal(mb_hash_compare(&low, &low), 0);
    assert_false(mb_hash_equal(&low, &high));
    assert_true(mb_hash_is_zero(&mb_hash_zero));
    struct mb_hash last = {{[31] = 1}};
    assert_false(mb_hash_is_zero(&last));
}

static void work_counts_leading_zero_bits(void **state)
{
    (void)state;
    for (unsigned zeros = 0; zeros < 256; zeros++) {
        struct mb_hash h = {{0}};
        h.b[zeros / 8] = (uint8_t)(0x80 >> zeros % 8);
        memset(h.b + zeros / 8 + 1, 0xff, 31 - zeros / 8);
        for (unsigned bits = 0; bits <= 300; bits++)
            assert_int_equal(mb_hash_has_work(&h, bits), bits <= zeros);
    }
    assert_true(mb_hash_has_work(&mb_hash_zero, 256));
    assert_false(mb_hash_has_work(&mb_hash_zero, 257));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_published_hashes),
        cmocka_unit_test(pieces_hash_as_the_whole),
        cmocka_unit_test(hex_is_read_strictly),
        cmocka_unit_test(hashes_compare_by_their_bytes),
        cmocka_unit_test(work_counts_leading_zero_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
