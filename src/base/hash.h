/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SHA-256 (FIPS 180-4), through OpenSSL. */
#ifndef MB_BASE_HASH_H
#define MB_BASE_HASH_H

#include "base/bytes.h"

struct mb_hash {
    uint8_t b[32];
};

#define MB_HASH_HEX_SIZE 65 /* 64 digits and the NUL */

extern const struct mb_hash mb_hash_zero;

struct mb_hash mb_sha256(const void *data, size_t len);
struct mb_hash mb_sha256_parts(const struct mb_bytes *parts, size_t count); /* H(p0 || p1 || …) */

/* The same in pieces: new, any number of updates, then final, which frees. */
struct mb_sha256;
struct mb_sha256 *mb_sha256_new(void);
void mb_sha256_update(struct mb_sha256 *s, const void *data, size_t len);
struct mb_hash mb_sha256_final_free(struct mb_sha256 *s);
void mb_sha256_free(struct mb_sha256 *s);

bool mb_hash_equal(const struct mb_hash *a, const struct mb_hash *b);
int mb_hash_compare(const struct mb_hash *a, const struct mb_hash *b);
bool mb_hash_is_zero(const struct mb_hash *h);
void mb_hash_hex(const struct mb_hash *h, char out[MB_HASH_HEX_SIZE]);
/* Exactly 64 lower-case hex digits, or MB_EINVAL. */
int mb_hash_from_hex(struct mb_hash *h, const char *hex);

/* True if the first bits of h are zero: proof of work. */
bool mb_hash_has_work(const struct mb_hash *h, unsigned bits);

#endif
