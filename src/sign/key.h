/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Ed25519 keys in OpenSSH's formats (OpenSSH PROTOCOL, PROTOCOL.key; RFC 8709).
 * One verification rule everywhere: libsodium's crypto_sign_verify_detached (S < L; A and R
 * canonical and not of small order; no cofactor; no batches). Nothing here needs sodium_init().
 */
#ifndef MB_SIGN_KEY_H
#define MB_SIGN_KEY_H

#include "base/bytes.h"
#include "base/error.h"
#include "base/hash.h"

struct mb_public_key {
    uint8_t b[32];
};
struct mb_secret_key {
    struct mb_public_key public_key;
    uint8_t secret[64]; /* libsodium's form: seed || public key */
};

#define MB_FINGERPRINT_SIZE 51 /* "SHA256:", 43 base64 characters, NUL */
#define MB_PUBLIC_TEXT_SIZE 81 /* "ssh-ed25519 ", 68 base64 characters, NUL */
#define MB_KEY_BLOB_LEN     51 /* string "ssh-ed25519" || string key */

/* "ssh-ed25519 BASE64": two fields, one space, no comment. MB_EINVAL, code key.invalid. */
int mb_public_key_parse(struct mb_public_key *key, const char *text, struct mb_error *error);
/* The same, from a line of a .pub file: a comment and a final newline are dropped. */
int mb_public_key_parse_line(struct mb_public_key *key, const char *text, struct mb_error *error);
int mb_public_key_from_blob(struct mb_public_key *key, struct mb_bytes blob);
void mb_public_key_text(const struct mb_public_key *key, char out[MB_PUBLIC_TEXT_SIZE]);
void mb_public_key_blob(const struct mb_public_key *key, uint8_t out[MB_KEY_BLOB_LEN]);
struct mb_hash mb_public_key_hash(const struct mb_public_key *key); /* H(blob) */
void mb_public_key_fingerprint(const struct mb_public_key *key, char out[MB_FINGERPRINT_SIZE]);
bool mb_public_key_equal(const struct mb_public_key *a, const struct mb_public_key *b);
/* True for "SHA256:" and 43 base64 characters that stand for exactly 32 bytes. */
bool mb_is_fingerprint(const char *text);

/* True for an e-mail address that tells nothing: …@NAME.invalid, NAME being the organisation's
 * name, or a key's fingerprint. */
bool mb_is_pseudonym(const char *email, size_t len, const char *org_name);

/* From 32 bytes of randomness that the caller brings. */
void mb_secret_key_from_seed(struct mb_secret_key *key, const uint8_t seed[32]);
/* An OpenSSH private key file without passphrase (PROTOCOL.key), at most 16 KiB of it, with LF line
 * ends. MB_EINVAL: key.invalid, or key.encrypted if it has a passphrase; key is then wiped. */
int mb_secret_key_parse(struct mb_secret_key *key, struct mb_bytes pem, struct mb_error *error);
/* Append such a file; check is 32 random bits (PROTOCOL.key's "checkint"). */
void mb_secret_key_write(const struct mb_secret_key *key, const char *comment, uint32_t check,
                         struct mb_buf *out);
void mb_secret_key_clear(struct mb_secret_key *key); /* wipes */

/* Raw Ed25519 over message. verify: true if it holds under the one rule. */
void mb_ed25519_sign(const struct mb_secret_key *key, struct mb_bytes message, uint8_t sig[64]);
bool mb_ed25519_verify(const struct mb_public_key *key, struct mb_bytes message,
                       const uint8_t sig[64]);

#endif
