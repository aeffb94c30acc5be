/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/command.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "merkle/history.h"

void mb_envelope_clear(struct mb_envelope *e)
{
    mb_buf_clear(&e->text);
    mb_buf_clear(&e->signature);
}

static int envelope_from_json(struct mb_envelope *e, const json_t *json, struct mb_error *error)
{
    const json_t *command = json_object_get(json, "command");
    const json_t *signature = json_object_get(json, "signature");
    if (!json_is_object(json) || json_object_size(json) != 2 || !json_is_string(command) ||
        !json_is_string(signature))
        return mb_fail(error, MB_EINVAL, "envelope.invalid",
                       "an envelope has the two texts \"command\" and \"signature\"");
    size_t len = json_string_length(command);
    if (len > MB_COMMAND_MAX)
        return mb_fail(error, MB_ELIMIT, "command.too_large",
                       "the command has %zu bytes; at most %d are allowed", len, MB_COMMAND_MAX);
    if (mb_base64_decode(&e->signature, json_string_value(signature),
                         json_string_length(signature)) != 0 ||
        e->signature.len > MB_SSHSIG_MAX)
        return mb_fail(error, MB_EINVAL, "envelope.invalid",
                       "\"signature\" is not the padded base64 of a binary SSHSIG");
    mb_buf_add(&e->text, json_string_value(command), len);
    return 0;
}

int mb_envelope_parse(struct mb_envelope *e, struct mb_bytes text, struct mb_error *error)
{
    json_t *json = NULL;
    memset(e, 0, sizeof *e);
    if (mb_json_parse(&json, text.data, text.len, error) != 0)
        return mb_fail(error, MB_EINVAL, "envelope.invalid", "an envelope is strict JSON");
    int rc = envelope_from_json(e, json, error);
    json_decref(json);
    if (rc != 0)
        mb_envelope_clear(e);
    return rc;
}

json_t *mb_envelope_json(const struct mb_envelope *e)
{
    struct mb_buf signature = {0};
    mb_base64_encode(&signature, e->signature.data, e->signature.len);
    json_t *json = json_object();
    json_object_set_new(json, "command", json_stringn((const char *)e->text.data, e->text.len));
    json_object_set_new(json, "signature", json_string(mb_buf_text(&signature)));
    mb_buf_clear(&signature);
    return json;
}

static int parse_fields(struct mb_checked *c, struct mb_error *error)
{
    json_t *json = NULL;
    int rc = mb_json_parse(&json, c->envelope.text.data, c->envelope.text.len, error);
    if (rc != 0)
        return mb_fail(error, MB_EINVAL, "command.invalid", "a command is strict JSON");
    c->json = json;
    c->org = mb_json_get_text(json, "org", NULL);
    c->key = mb_json_get_text(json, "key", NULL);
    c->type = mb_json_get_text(json, "type", NULL);
    c->nonce = mb_json_get_text(json, "nonce", NULL);
    c->body = json_object_get(json, "body");
    const json_t *expires = json_object_get(json, "expires");
    if (json_is_object(json) && json_object_size(json) == 6 && c->org && c->key && c->type &&
        c->nonce && mb_is_hex(c->nonce, 32) && json_is_integer(expires) &&
        json_is_object(c->body)) {
        c->expires = json_integer_value(expires);
        return 0;
    }
    c->json = NULL;
    c->org = c->key = c->type = c->nonce = NULL;
    c->body = NULL;
    json_decref(json);
    return mb_fail(error, MB_EINVAL, "command.invalid",
                   "a command has the fields org, key, type, nonce (32 hex digits), expires and "
                   "body, and no others");
}

static int check(struct mb_checked *c, struct mb_error *error)
{
    struct mb_bytes text = mb_buf_bytes(&c->envelope.text);
    struct mb_bytes signature = mb_buf_bytes(&c->envelope.signature);
    int rc = MB_EINVAL;
    if (text.len > MB_COMMAND_MAX)
        return mb_fail(error, MB_ELIMIT, "command.too_large",
                       "the command has %zu bytes; at most %d are allowed", text.len,
                       MB_COMMAND_MAX);
    if ((rc = parse_fields(c, error)) != 0)
        return rc;
    if ((rc = mb_sshsig_verify(signature, MB_NAMESPACE_COMMAND, text, &c->signer, error)) != 0)
        return rc;
    char fingerprint[MB_FINGERPRINT_SIZE];
    mb_public_key_fingerprint(&c->signer, fingerprint);
    if (strcmp(fingerprint, c->key) != 0)
        return mb_fail(error, MB_EPROOF, "signature.key",
                       "the signature is by %s, not by the command's key", fingerprint);
    return 0;
}

struct mb_checked *mb_checked_new(struct mb_envelope *envelope_take)
{
    struct mb_checked *c = mb_calloc(1, sizeof *c);
    struct mb_error error = {0};
    c->envelope = *envelope_take;
    memset(envelope_take, 0, sizeof *envelope_take);
    c->id = mb_sha256(c->envelope.text.data, c->envelope.text.len);
    struct mb_hash input[2] = {c->id,
                               mb_sha256(c->envelope.signature.data, c->envelope.signature.len)};
    c->leaf = mb_history_leaf(mb_bytes(input, sizeof input));
    c->verdict = check(c, &error);
    if (c->verdict != 0) {
        c->error = mb_alloc(sizeof error);
        *c->error = error;
    }
    return c;
}

void mb_checked_free(struct mb_checked *c)
{
    if (!c)
        return;
    mb_envelope_clear(&c->envelope);
    json_decref(c->json);
    free(c->error);
    free(c);
}

/* The text around the nonce, so that a search for work writes it once. */
static size_t text_with_nonce(struct mb_buf *out, const char *org, const char *fingerprint,
                              const char *type, const char *nonce, int64_t expires,
                              const json_t *body)
{
    json_t *name = json_string(type);
    char *type_text = mb_json_text(name), *body_text = mb_json_text(body);
    mb_buf_addf(out, "{\"org\":\"%s\",\"key\":\"%s\",\"type\":%s,\"nonce\":\"", org, fingerprint,
                type_text);
    size_t at = out->len;
    mb_buf_addf(out, "%s\",\"expires\":%lld,\"body\":", nonce, (long long)expires);
    mb_buf_add_text(out, body_text);
    mb_buf_add_text(out, "}");
    free(type_text);
    free(body_text);
    json_decref(name);
    return at;
}

void mb_command_text(struct mb_buf *out, const char *org, const char *fingerprint, const char *type,
                     const char *nonce, int64_t expires, const json_t *body)
{
    text_with_nonce(out, org, fingerprint, type, nonce, expires, body);
}

static void increment(uint8_t number[16])
{
    for (size_t i = 16; i-- > 0;)
        if (++number[i] != 0)
            return;
}

void mb_command_text_with_work(struct mb_buf *out, const char *org, const char *fingerprint,
                               const char *type, const uint8_t nonce_seed[16], int64_t expires,
                               const json_t *body, unsigned work_bits)
{
    uint8_t number[16];
    struct mb_buf nonce = {0};
    size_t start = out->len;
    memcpy(number, nonce_seed, sizeof number);
    mb_hex_encode(&nonce, number, sizeof number);
    size_t at = text_with_nonce(out, org, fingerprint, type, mb_buf_text(&nonce), expires, body);
    for (;;) {
        struct mb_hash id = mb_sha256(out->data + start, out->len - start);
        if (mb_hash_has_work(&id, work_bits))
            break;
        increment(number);
        mb_buf_reset(&nonce);
        mb_hex_encode(&nonce, number, sizeof number);
        memcpy(out->data + at, nonce.data, 32);
    }
    mb_buf_clear(&nonce);
}

void mb_command_make(struct mb_envelope *out, const struct mb_secret_key *key, const char *org,
                     const char *type, const uint8_t nonce_seed[16], int64_t expires,
                     const json_t *body, unsigned work_bits)
{
    char fingerprint[MB_FINGERPRINT_SIZE];
    mb_public_key_fingerprint(&key->public_key, fingerprint);
    memset(out, 0, sizeof *out);
    mb_command_text_with_work(&out->text, org, fingerprint, type, nonce_seed, expires, body,
                              work_bits);
    mb_sshsig_sign(key, MB_NAMESPACE_COMMAND, mb_buf_bytes(&out->text), &out->signature);
}

int64_t mb_command_expiry(int64_t ledger_time)
{
    return (ledger_time + 86400 + 3599) / 3600 * 3600;
}
