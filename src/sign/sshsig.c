/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "sign/sshsig.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "sign/armor.h"

#define LABEL    "SSH SIGNATURE"
#define MAGIC    "SSHSIG" /* without a NUL */
#define FORMAT   1
#define HASH     "sha512"
#define KEY_TYPE "ssh-ed25519"

#define BASE64_MAX ((MB_SSHSIG_MAX + 2) / 3 * 4)

static bool is_text(struct mb_bytes bytes, const char *text)
{
    return mb_bytes_equal(bytes, mb_bytes_of(text));
}

/* string "ssh-ed25519" || string of 64 bytes */
static bool parse_inner(uint8_t sig[64], struct mb_bytes blob)
{
    struct mb_cursor c = mb_cursor(blob);
    struct mb_bytes type = mb_cursor_string(&c), bytes = mb_cursor_string(&c);
    if (!mb_cursor_done(&c) || !is_text(type, KEY_TYPE) || bytes.len != 64)
        return false;
    memcpy(sig, bytes.data, 64);
    return true;
}

/* NULL, or what is wrong. */
static const char *parse(struct mb_sshsig *s, struct mb_bytes binary)
{
    struct mb_cursor c = mb_cursor(binary);
    struct mb_bytes magic = mb_cursor_take(&c, strlen(MAGIC));
    uint32_t version = mb_cursor_u32(&c);
    struct mb_bytes key = mb_cursor_string(&c), name_space = mb_cursor_string(&c);
    struct mb_bytes reserved = mb_cursor_string(&c), hash = mb_cursor_string(&c);
    struct mb_bytes sig = mb_cursor_string(&c);
    if (!mb_cursor_done(&c) || !is_text(magic, MAGIC))
        return "it is no SSHSIG, or cut short, or has more behind it";
    if (version != FORMAT || reserved.len != 0)
        return "it is of another version";
    if (!is_text(hash, HASH))
        return "its hash is not " HASH;
    if (mb_public_key_from_blob(&s->key, key) != 0 || !parse_inner(s->sig, sig))
        return "its key is not of type " KEY_TYPE;
    if (name_space.len == 0 || name_space.len > MB_SSHSIG_NAMESPACE_MAX ||
        memchr(name_space.data, '\0', name_space.len) != NULL)
        return "its namespace is empty or too long";
    memcpy(s->name_space, name_space.data, name_space.len);
    s->name_space[name_space.len] = '\0';
    return NULL;
}

int mb_sshsig_parse(struct mb_sshsig *s, struct mb_bytes binary, struct mb_error *error)
{
    const char *wrong = parse(s, binary);
    if (wrong == NULL)
        return 0;
    return mb_fail(error, MB_EINVAL, "signature.invalid", "malformed signature: %s", wrong);
}

/* What the key signs: the namespace and the message's hash, in a frame. */
static void add_signed_data(struct mb_buf *out, const char *name_space, struct mb_bytes message)
{
    uint8_t hash[crypto_hash_sha512_BYTES];
    if (crypto_hash_sha512(hash, message.data, message.len) != 0)
        abort();
    mb_buf_add_text(out, MAGIC);
    mb_buf_add_string(out, mb_bytes_of(name_space));
    mb_buf_add_string(out, mb_bytes(NULL, 0));
    mb_buf_add_string(out, mb_bytes_of(HASH));
    mb_buf_add_string(out, mb_bytes(hash, sizeof hash));
}

int mb_sshsig_verify(struct mb_bytes binary, const char *name_space, struct mb_bytes message,
                     struct mb_public_key *signer, struct mb_error *error)
{
    struct mb_sshsig s;
    int err = mb_sshsig_parse(&s, binary, error);
    if (err != 0)
        return err;
    if (strcmp(s.name_space, name_space) != 0)
        return mb_fail(error, MB_EPROOF, "signature.namespace",
                       "the signature is for the namespace %s, not for %s", s.name_space,
                       name_space);
    struct mb_buf data = {0};
    add_signed_data(&data, name_space, message);
    bool holds = mb_ed25519_verify(&s.key, mb_buf_bytes(&data), s.sig);
    mb_buf_clear(&data);
    if (!holds)
        return mb_fail(error, MB_EPROOF, "signature.false",
                       "the signature is not its key's over this message");
    if (signer != NULL)
        *signer = s.key;
    return 0;
}

void mb_sshsig_sign(const struct mb_secret_key *key, const char *name_space,
                    struct mb_bytes message, struct mb_buf *binary)
{
    size_t len = strlen(name_space);
    if (len == 0 || len > MB_SSHSIG_NAMESPACE_MAX)
        abort();
    struct mb_buf data = {0}, inner = {0};
    uint8_t blob[MB_KEY_BLOB_LEN], sig[64];
    add_signed_data(&data, name_space, message);
    mb_ed25519_sign(key, mb_buf_bytes(&data), sig);
    mb_buf_add_string(&inner, mb_bytes_of(KEY_TYPE));
    mb_buf_add_string(&inner, mb_bytes(sig, sizeof sig));

    mb_public_key_blob(&key->public_key, blob);
    mb_buf_add_text(binary, MAGIC);
    mb_buf_add_u32(binary, FORMAT);
    mb_buf_add_string(binary, mb_bytes(blob, sizeof blob));
    mb_buf_add_string(binary, mb_bytes_of(name_space));
    mb_buf_add_string(binary, mb_bytes(NULL, 0));
    mb_buf_add_string(binary, mb_bytes_of(HASH));
    mb_buf_add_string(binary, mb_buf_bytes(&inner));
    mb_buf_clear(&data);
    mb_buf_clear(&inner);
}

int mb_sshsig_verify_base64(const char *text, const char *name_space, struct mb_bytes message,
                            struct mb_public_key *signer, struct mb_error *error)
{
    struct mb_buf binary = {0};
    size_t len = strnlen(text, BASE64_MAX + 1);
    int err = len <= BASE64_MAX ? mb_base64_decode(&binary, text, len) : MB_EINVAL;
    if (err != 0)
        err = mb_fail(error, MB_EINVAL, "signature.invalid",
                      "malformed signature: it is not padded base64 on one line, or too long");
    else
        err = mb_sshsig_verify(mb_buf_bytes(&binary), name_space, message, signer, error);
    mb_buf_clear(&binary);
    return err;
}

int mb_sshsig_dearmor(struct mb_buf *binary, struct mb_bytes text, struct mb_error *error)
{
    if (mb_armor_read(binary, text, LABEL, MB_SSHSIG_MAX) == 0)
        return 0;
    return mb_fail(error, MB_EINVAL, "signature.invalid",
                   "not one block -----BEGIN " LABEL "-----: sign with ssh-keygen -Y sign, or in "
                   "git with gpg.format=ssh");
}

void mb_sshsig_armor(struct mb_buf *text, struct mb_bytes binary)
{
    mb_armor_write(text, binary, LABEL);
}
