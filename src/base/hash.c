/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * OpenSSL's SHA256_* calls, though it would rather see EVP: the state tree hashes millions of
 * short strings, and these need no context on the heap and no state per thread. 65 bytes took 92 ns
 * with them and 126 ns with EVP, its digest fetched once and its context reused (OpenSSL 3.0.22,
 * x86-64 with SHA extensions).
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "config.h"

#include "base/hash.h"

#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

struct mb_sha256 {
    SHA256_CTX ctx;
};

const struct mb_hash mb_hash_zero = {{0}};

static void check(int ok)
{
    if (ok != 1)
        abort();
}

struct mb_hash mb_sha256(const void *data, size_t len)
{
    struct mb_bytes part = mb_bytes(data, len);
    return mb_sha256_parts(&part, 1);
}

struct mb_hash mb_sha256_parts(const struct mb_bytes *parts, size_t count)
{
    SHA256_CTX ctx;
    struct mb_hash h;
    check(SHA256_Init(&ctx));
    for (size_t i = 0; i < count; i++)
        check(SHA256_Update(&ctx, parts[i].data, parts[i].len));
    check(SHA256_Final(h.b, &ctx));
    return h;
}

struct mb_sha256 *mb_sha256_new(void)
{
    struct mb_sha256 *s = mb_alloc(sizeof *s);
    check(SHA256_Init(&s->ctx));
    return s;
}

void mb_sha256_update(struct mb_sha256 *s, const void *data, size_t len)
{
    check(SHA256_Update(&s->ctx, data, len));
}

struct mb_hash mb_sha256_final_free(struct mb_sha256 *s)
{
    struct mb_hash h;
    check(SHA256_Final(h.b, &s->ctx));
    mb_sha256_free(s);
    return h;
}

void mb_sha256_free(struct mb_sha256 *s)
{
    free(s);
}

bool mb_hash_equal(const struct mb_hash *a, const struct mb_hash *b)
{
    return mb_hash_compare(a, b) == 0;
}

int mb_hash_compare(const struct mb_hash *a, const struct mb_hash *b)
{
    return memcmp(a->b, b->b, sizeof a->b);
}

bool mb_hash_is_zero(const struct mb_hash *h)
{
    return mb_hash_equal(h, &mb_hash_zero);
}

void mb_hash_hex(const struct mb_hash *h, char out[MB_HASH_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof h->b; i++) {
        out[2 * i] = digits[h->b[i] >> 4];
        out[2 * i + 1] = digits[h->b[i] & 15];
    }
    out[MB_HASH_HEX_SIZE - 1] = '\0';
}

int mb_hash_from_hex(struct mb_hash *h, const char *hex)
{
    return mb_hex_decode(h->b, sizeof h->b, hex, strnlen(hex, MB_HASH_HEX_SIZE));
}

bool mb_hash_has_work(const struct mb_hash *h, unsigned bits)
{
    if (bits > 8 * sizeof h->b)
        return false;
    for (unsigned i = 0; i < bits / 8; i++)
        if (h->b[i] != 0)
            return false;
    return bits % 8 == 0 || h->b[bits / 8] >> (8 - bits % 8) == 0;
}
