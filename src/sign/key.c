/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Nothing here calls sodium_init(), which draws randomness from the system: libsodium's Ed25519 and
 * SHA-512 have one implementation each, no state, and need none of what it sets up.
 */
#include "config.h"

#include "sign/key.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

#define KEY_TYPE           "ssh-ed25519"
#define FINGERPRINT_PREFIX "SHA256:"

/* What every blob begins with: string "ssh-ed25519", then the length of the key. */
static const uint8_t blob_head[19] = {0,   0,   0,   11,  's', 's', 'h', '-', 'e', 'd',
                                      '2', '5', '5', '1', '9', 0,   0,   0,   32};

_Static_assert(sizeof blob_head + sizeof(struct mb_public_key) == MB_KEY_BLOB_LEN,
               "a blob is its head and the key");
_Static_assert(sizeof((struct mb_secret_key){0}.secret) == crypto_sign_SECRETKEYBYTES,
               "libsodium's form");

int mb_public_key_from_blob(struct mb_public_key *key, struct mb_bytes blob)
{
    if (blob.len != MB_KEY_BLOB_LEN || memcmp(blob.data, blob_head, sizeof blob_head) != 0)
        return MB_EINVAL;
    memcpy(key->b, blob.data + sizeof blob_head, sizeof key->b);
    return 0;
}

void mb_public_key_blob(const struct mb_public_key *key, uint8_t out[MB_KEY_BLOB_LEN])
{
    memcpy(out, blob_head, sizeof blob_head);
    memcpy(out + sizeof blob_head, key->b, sizeof key->b);
}

/* The key of the 80 characters of text, which may be followed by more. */
static int parse_fields(struct mb_public_key *key, const char *text)
{
    static const char head[] = KEY_TYPE " ";
    const size_t len = MB_PUBLIC_TEXT_SIZE - 1, head_len = sizeof head - 1;
    if (strnlen(text, len) != len || memcmp(text, head, head_len) != 0)
        return MB_EINVAL;
    struct mb_buf blob = {0};
    int err = mb_base64_decode(&blob, text + head_len, len - head_len);
    if (err == 0)
        err = mb_public_key_from_blob(key, mb_buf_bytes(&blob));
    mb_buf_clear(&blob);
    return err;
}

static int key_invalid(struct mb_error *error)
{
    return mb_fail(error, MB_EINVAL, "key.invalid",
                   "not an Ed25519 public key in OpenSSH's form, \"ssh-ed25519 AAAA…\": make one "
                   "with ssh-keygen -t ed25519");
}

int mb_public_key_parse(struct mb_public_key *key, const char *text, struct mb_error *error)
{
    if (parse_fields(key, text) != 0 || text[MB_PUBLIC_TEXT_SIZE - 1] != '\0')
        return key_invalid(error);
    return 0;
}

int mb_public_key_parse_line(struct mb_public_key *key, const char *text, struct mb_error *error)
{
    if (parse_fields(key, text) != 0)
        return key_invalid(error);
    const char *rest = text + MB_PUBLIC_TEXT_SIZE - 1;
    if (*rest == ' ')
        rest += strcspn(rest, "\n");
    if (*rest == '\n')
        rest++;
    return *rest == '\0' ? 0 : key_invalid(error);
}

void mb_public_key_text(const struct mb_public_key *key, char out[MB_PUBLIC_TEXT_SIZE])
{
    uint8_t blob[MB_KEY_BLOB_LEN];
    struct mb_buf text = {0};
    mb_public_key_blob(key, blob);
    mb_buf_add_text(&text, KEY_TYPE " ");
    mb_base64_encode(&text, blob, sizeof blob);
    memcpy(out, text.data, MB_PUBLIC_TEXT_SIZE);
    mb_buf_clear(&text);
}

struct mb_hash mb_public_key_hash(const struct mb_public_key *key)
{
    uint8_t blob[MB_KEY_BLOB_LEN];
    mb_public_key_blob(key, blob);
    return mb_sha256(blob, sizeof blob);
}

void mb_public_key_fingerprint(const struct mb_public_key *key, char out[MB_FINGERPRINT_SIZE])
{
    struct mb_hash hash = mb_public_key_hash(key);
    struct mb_buf text = {0};
    mb_buf_add_text(&text, FINGERPRINT_PREFIX);
    mb_base64_encode_nopad(&text, hash.b, sizeof hash.b);
    memcpy(out, text.data, MB_FINGERPRINT_SIZE);
    mb_buf_clear(&text);
}

bool mb_public_key_equal(const struct mb_public_key *a, const struct mb_public_key *b)
{
    return memcmp(a->b, b->b, sizeof a->b) == 0;
}

bool mb_is_fingerprint(const char *text)
{
    const size_t prefix_len = strlen(FINGERPRINT_PREFIX);
    char padded[MB_FINGERPRINT_SIZE - sizeof FINGERPRINT_PREFIX + 2];
    if (strnlen(text, MB_FINGERPRINT_SIZE) != MB_FINGERPRINT_SIZE - 1 ||
        memcmp(text, FINGERPRINT_PREFIX, prefix_len) != 0 ||
        mb_snprintf(padded, sizeof padded, "%s=", text + prefix_len) != 0)
        return false;
    struct mb_buf hash = {0};
    bool is =
        mb_base64_decode(&hash, padded, strlen(padded)) == 0 && hash.len == sizeof(struct mb_hash);
    mb_buf_clear(&hash);
    return is;
}

void mb_secret_key_from_seed(struct mb_secret_key *key, const uint8_t seed[32])
{
    if (crypto_sign_seed_keypair(key->public_key.b, key->secret, seed) != 0)
        abort();
}

void mb_secret_key_clear(struct mb_secret_key *key)
{
    sodium_memzero(key, sizeof *key);
}

void mb_ed25519_sign(const struct mb_secret_key *key, struct mb_bytes message, uint8_t sig[64])
{
    if (crypto_sign_detached(sig, NULL, message.data, message.len, key->secret) != 0)
        abort();
}

bool mb_ed25519_verify(const struct mb_public_key *key, struct mb_bytes message,
                       const uint8_t sig[64])
{
    return crypto_sign_verify_detached(sig, message.data, message.len, key->b) == 0;
}

bool mb_is_pseudonym(const char *email, size_t len, const char *org_name)
{
    char tail[64], fingerprint[MB_FINGERPRINT_SIZE];
    mb_snprintf(tail, sizeof tail, "@%s.invalid", org_name);
    size_t n = strlen(tail);
    if (len > n && memcmp(email + len - n, tail, n) == 0)
        return true;
    if (len != sizeof fingerprint - 1)
        return false;
    memcpy(fingerprint, email, len);
    fingerprint[len] = 0;
    return mb_is_fingerprint(fingerprint);
}
