/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tor/tor.h"

static void unhex(uint8_t *out, size_t n, const char *hex)
{
    assert_int_equal(mb_hex_decode(out, n, hex, strlen(hex)), 0);
}

/* hs_ed25519_secret_key (behind its 32 bytes of header) and hostname, made by tor 0.4.9.11 */
static void an_address_is_the_one_tor_makes(void **state)
{
    (void)state;
    uint8_t key[64];
    char onion[MB_ONION_SIZE];
    unhex(key, sizeof key,
          "68d1d249f7089609358ced2f9f87e740174f8b6c065f918351e1056fb39ffd73"
          "1fc3354361913dfa79e21f4145a7155b5f591b8585e8828c0ffb8362b686cd88");
    assert_int_equal(mb_onion_address(onion, key), 0);
    assert_string_equal(onion, "cmdrvas2fvx3vaku5otjoo4oa3ypomeflhjbmdub75hkbjeci66bfkyd.onion");
}

/* RFC 8032, 7.1, TEST 1 and TEST 2: seeds and their public keys */
static void a_seed_makes_the_key_of_rfc_8032(void **state)
{
    (void)state;
    static const struct {
        const char *seed, *public_key;
    } cases[] = {
        {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"},
        {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t seed[32], public_key[32], key[64];
        char onion[MB_ONION_SIZE], expected[MB_ONION_SIZE];
        unhex(seed, sizeof seed, cases[i].seed);
        unhex(public_key, sizeof public_key, cases[i].public_key);
        mb_onion_key_from_seed(key, seed);
        mb_onion_encode(expected, public_key);
        assert_int_equal(mb_onion_address(onion, key), 0);
        assert_string_equal(onion, expected);
    }
}

static void what_is_no_expanded_key_is_refused(void **state)
{
    (void)state;
    static const struct {
        size_t byte;
        uint8_t flip;
    } cases[] = {{0, 1}, {0, 4}, {31, 64}, {31, 128}};
    uint8_t seed[32] = {7}, key[64];
    char onion[MB_ONION_SIZE];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mb_onion_key_from_seed(key, seed);
        assert_int_equal(mb_onion_address(onion, key), 0);
        key[cases[i].byte] ^= cases[i].flip;
        assert_int_equal(mb_onion_address(onion, key), MB_EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_the_one_tor_makes),
        cmocka_unit_test(a_seed_makes_the_key_of_rfc_8032),
        cmocka_unit_test(what_is_no_expanded_key_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
