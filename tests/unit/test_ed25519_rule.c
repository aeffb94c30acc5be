/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../m4/ed25519-vectors.h"
#include "base/encode.h"

static void every_vector_is_judged_by_the_one_rule(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ed25519_vectors / sizeof *ed25519_vectors; i++) {
        const struct ed25519_vector *v = &ed25519_vectors[i];
        uint8_t message[64], key[32], sig[64];
        size_t len = strlen(v->message) / 2;
        assert_true(len <= sizeof message);
        assert_int_equal(mb_hex_decode(message, len, v->message, strlen(v->message)), 0);
        assert_int_equal(mb_hex_decode(key, sizeof key, v->public_key, strlen(v->public_key)), 0);
        assert_int_equal(mb_hex_decode(sig, sizeof sig, v->signature, strlen(v->signature)), 0);
        if ((crypto_sign_verify_detached(sig, message, len, key) == 0) != (v->holds == 1))
            fail_msg("wrong about this case: %s", v->what);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_is_judged_by_the_one_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
