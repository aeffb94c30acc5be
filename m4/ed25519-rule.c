/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Run by configure: 0 if libsodium verifies Ed25519 by the one rule, else the case that it fails.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "ed25519-vectors.h"

/* Exactly size bytes of hex. */
static int unhex(unsigned char *out, size_t size, const char *hex)
{
    return strlen(hex) == 2 * size &&
           sodium_hex2bin(out, size, hex, 2 * size, NULL, NULL, NULL) == 0;
}

int main(void)
{
    if (sodium_init() < 0)
        return 1;
    for (size_t i = 0; i < sizeof ed25519_vectors / sizeof *ed25519_vectors; i++) {
        const struct ed25519_vector *v = &ed25519_vectors[i];
        unsigned char message[64], key[32], sig[64];
        size_t len = strlen(v->message) / 2;
        if (len > sizeof message || !unhex(message, len, v->message) ||
            !unhex(key, sizeof key, v->public_key) || !unhex(sig, sizeof sig, v->signature))
            return 1;
        if ((crypto_sign_verify_detached(sig, message, len, key) == 0) != v->holds) {
            fprintf(stderr, "wrong about this case: %s\n", v->what);
            return 2;
        }
    }
    return 0;
}
