/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <string.h>

#include <sodium.h>

#include "tor/tor.h"

/* RFC 8032, 5.1.5: what tor keeps is the hash of the seed, its lower half made a scalar. */
void mb_onion_key_from_seed(uint8_t key[64], const uint8_t seed[32])
{
    crypto_hash_sha512(key, seed, 32);
    key[0] &= 248;
    key[31] &= 127;
    key[31] |= 64;
}

int mb_onion_address(char out[MB_ONION_SIZE], const uint8_t key[64])
{
    uint8_t public_key[32];
    if ((key[0] & 7) != 0 || (key[31] & 192) != 64 ||
        crypto_scalarmult_ed25519_base_noclamp(public_key, key) != 0)
        return MB_EINVAL;
    mb_onion_encode(out, public_key);
    return 0;
}
