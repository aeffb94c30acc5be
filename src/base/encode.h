/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Hex, base64 and base32 (RFC 4648), and onion addresses. Decoders are strict: one text, one value.
 */
#ifndef MB_BASE_ENCODE_H
#define MB_BASE_ENCODE_H

#include "base/bytes.h"

/* Append lower-case hex. */
void mb_hex_encode(struct mb_buf *out, const void *data, size_t len);
/* Lower-case hex of exactly n bytes (text of 2n digits); MB_EINVAL otherwise. */
int mb_hex_decode(uint8_t *out, size_t n, const char *text, size_t text_len);
bool mb_is_hex(const char *text, size_t digits); /* exactly digits lower-case digits, then NUL */

/* Append base64 with padding, on one line. */
void mb_base64_encode(struct mb_buf *out, const void *data, size_t len);
void mb_base64_encode_nopad(struct mb_buf *out, const void *data, size_t len);
/* Append what padded base64 text stands for; white space, missing padding and non-zero spare bits
 * are MB_EINVAL, and leave out as it was. */
int mb_base64_decode(struct mb_buf *out, const char *text, size_t text_len);

/* Append lower-case base32 without padding. */
void mb_base32_encode(struct mb_buf *out, const void *data, size_t len);
/* Lower-case base32 without padding of exactly n bytes; MB_EINVAL otherwise. */
int mb_base32_decode(uint8_t *out, size_t n, const char *text, size_t text_len);

/*
 * Version 3 onion addresses (tor rend-spec-v3, "Encoding onion addresses"): 56 base32 characters
 * and ".onion", holding an Ed25519 public key, a SHA3-256 checksum and the version.
 */
#define MB_ONION_LEN  62
#define MB_ONION_SIZE 63
void mb_onion_encode(char out[MB_ONION_SIZE], const uint8_t public_key[32]);
/* True if text is such an address in lower case and its checksum holds; fills public_key unless
 * NULL. */
bool mb_onion_decode(uint8_t public_key[32], const char *text);

/* RFC 3629: shortest forms only, no surrogates, at most U+10FFFF. */
bool mb_utf8_valid(const void *text, size_t len);

/* Append what stands between the quotes of a canonical JSON string (see mb_json_canonical()). */
void mb_json_escape(struct mb_buf *out, const char *text, size_t len);

#endif
