/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Private key files (OpenSSH PROTOCOL.key). */
#include "config.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "sign/armor.h"
#include "sign/key.h"

#define LABEL      "OPENSSH PRIVATE KEY"
#define MAGIC      "openssh-key-v1" /* with its NUL */
#define KEY_TYPE   "ssh-ed25519"
#define NO_CIPHER  "none"
#define BLOCK      8     /* of the cipher "none" */
#define BINARY_MAX 16384 /* a comment may be long, but not longer than any use */

/* What ssh-keygen writes in clear, before the part that a passphrase would encrypt. */
struct outer {
    struct mb_bytes cipher, kdf, kdf_options, public_blob, secret_part;
    uint32_t keys;
};

static bool is_text(struct mb_bytes bytes, const char *text)
{
    return mb_bytes_equal(bytes, mb_bytes_of(text));
}

static bool parse_outer(struct outer *o, struct mb_bytes binary)
{
    struct mb_cursor c = mb_cursor(binary);
    struct mb_bytes magic = mb_cursor_take(&c, sizeof MAGIC);
    o->cipher = mb_cursor_string(&c);
    o->kdf = mb_cursor_string(&c);
    o->kdf_options = mb_cursor_string(&c);
    o->keys = mb_cursor_u32(&c);
    o->public_blob = mb_cursor_string(&c);
    o->secret_part = mb_cursor_string(&c);
    return mb_cursor_done(&c) && mb_bytes_equal(magic, mb_bytes(MAGIC, sizeof MAGIC));
}

/* 1, 2, 3, … and less than a block. */
static bool is_padding(struct mb_bytes bytes)
{
    if (bytes.len >= BLOCK)
        return false;
    for (size_t i = 0; i < bytes.len; i++)
        if (bytes.data[i] != i + 1)
            return false;
    return true;
}

/* The secret key says its public key three times; all must be what its seed makes. */
static bool parse_secret(struct mb_secret_key *key, const struct outer *o)
{
    struct mb_cursor c = mb_cursor(o->secret_part);
    uint32_t check1 = mb_cursor_u32(&c), check2 = mb_cursor_u32(&c);
    struct mb_bytes type = mb_cursor_string(&c), public_key = mb_cursor_string(&c);
    struct mb_bytes secret = mb_cursor_string(&c);
    mb_cursor_string(&c); /* the comment */
    struct mb_bytes padding = mb_cursor_take(&c, mb_cursor_left(&c));
    if (c.failed || check1 != check2 || !is_text(type, KEY_TYPE) ||
        o->secret_part.len % BLOCK != 0 || !is_padding(padding) || secret.len != sizeof key->secret)
        return false;
    struct mb_public_key outside;
    mb_secret_key_from_seed(key, secret.data);
    return mb_public_key_from_blob(&outside, o->public_blob) == 0 &&
           mb_public_key_equal(&outside, &key->public_key) &&
           mb_bytes_equal(public_key, mb_bytes(key->public_key.b, sizeof key->public_key.b)) &&
           mb_equal_secret(secret.data, key->secret, sizeof key->secret);
}

static int parse_binary(struct mb_secret_key *key, struct mb_bytes binary, struct mb_error *error)
{
    struct outer o;
    if (!parse_outer(&o, binary))
        return mb_fail(error, MB_EINVAL, "key.invalid", "the private key file is damaged");
    if (!is_text(o.cipher, NO_CIPHER))
        return mb_fail(error, MB_EINVAL, "key.encrypted",
                       "the private key file has a passphrase: take it away with ssh-keygen -p, or "
                       "sign with ssh-keygen -Y sign and an ssh-agent");
    if (!is_text(o.kdf, NO_CIPHER) || o.kdf_options.len != 0 || o.keys != 1 ||
        !parse_secret(key, &o))
        return mb_fail(error, MB_EINVAL, "key.invalid",
                       "the private key file is damaged, or holds no Ed25519 key: make one with "
                       "ssh-keygen -t ed25519");
    return 0;
}

int mb_secret_key_parse(struct mb_secret_key *key, struct mb_bytes pem, struct mb_error *error)
{
    struct mb_buf binary = {0};
    mb_buf_reserve(&binary, BINARY_MAX);
    int err;
    if (mb_armor_read(&binary, pem, LABEL, BINARY_MAX) != 0)
        err =
            mb_fail(error, MB_EINVAL, "key.invalid",
                    "not a private key file of OpenSSH (-----BEGIN " LABEL "-----): make one with "
                    "ssh-keygen -t ed25519");
    else
        err = parse_binary(key, mb_buf_bytes(&binary), error);
    mb_buf_wipe(&binary);
    if (err != 0)
        mb_secret_key_clear(key);
    return err;
}

static void add_secret_part(struct mb_buf *out, const struct mb_secret_key *key,
                            const char *comment, uint32_t check)
{
    size_t start = out->len;
    mb_buf_add_u32(out, check);
    mb_buf_add_u32(out, check);
    mb_buf_add_string(out, mb_bytes_of(KEY_TYPE));
    mb_buf_add_string(out, mb_bytes(key->public_key.b, sizeof key->public_key.b));
    mb_buf_add_string(out, mb_bytes(key->secret, sizeof key->secret));
    mb_buf_add_string(out, mb_bytes_of(comment));
    for (uint8_t i = 1; (out->len - start) % BLOCK != 0; i++)
        mb_buf_add_u8(out, i);
}

void mb_secret_key_write(const struct mb_secret_key *key, const char *comment, uint32_t check,
                         struct mb_buf *out)
{
    uint8_t blob[MB_KEY_BLOB_LEN];
    struct mb_buf binary = {0}, secret = {0};
    size_t most = strlen(comment) + 512; /* of either: neither grows, nor leaves a copy behind */
    mb_buf_reserve(&binary, most);
    mb_buf_reserve(&secret, most);
    add_secret_part(&secret, key, comment, check);

    mb_public_key_blob(&key->public_key, blob);
    mb_buf_add(&binary, MAGIC, sizeof MAGIC);
    mb_buf_add_string(&binary, mb_bytes_of(NO_CIPHER));
    mb_buf_add_string(&binary, mb_bytes_of(NO_CIPHER));
    mb_buf_add_string(&binary, mb_bytes(NULL, 0));
    mb_buf_add_u32(&binary, 1);
    mb_buf_add_string(&binary, mb_bytes(blob, sizeof blob));
    mb_buf_add_string(&binary, mb_buf_bytes(&secret));
    mb_armor_write(out, mb_buf_bytes(&binary), LABEL);
    mb_buf_wipe(&binary);
    mb_buf_wipe(&secret);
}
