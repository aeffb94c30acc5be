/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/block.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

static int invalid(struct mb_error *error, const char *why)
{
    return mb_fail(error, MB_EINVAL, "checkpoint.invalid", "not a checkpoint: %s", why);
}

void mb_checkpoint_clear(struct mb_checkpoint *c)
{
    mb_buf_clear(&c->header);
    for (size_t i = 0; i < c->count; i++)
        mb_buf_clear(&c->signatures[i].signature);
    free(c->signatures);
    memset(c, 0, sizeof *c);
}

/* header_len:2 || header || count:2 || count × (key:32 || len:2 || signature) */
void mb_checkpoint_encode(const struct mb_checkpoint *c, struct mb_buf *out)
{
    mb_buf_add_u16(out, (uint16_t)c->header.len);
    mb_buf_add_bytes(out, mb_buf_bytes(&c->header));
    mb_buf_add_u16(out, (uint16_t)c->count);
    for (size_t i = 0; i < c->count; i++) {
        const struct mb_signature *s = &c->signatures[i];
        mb_buf_add(out, s->key.b, 32);
        mb_buf_add_u16(out, (uint16_t)s->signature.len);
        mb_buf_add_bytes(out, mb_buf_bytes(&s->signature));
    }
}

int mb_checkpoint_decode(struct mb_checkpoint *c, struct mb_bytes bytes, struct mb_error *error)
{
    struct mb_cursor in = mb_cursor(bytes);
    memset(c, 0, sizeof *c);
    struct mb_bytes header = mb_cursor_take(&in, mb_cursor_u16(&in));
    size_t count = mb_cursor_u16(&in);
    if (in.failed || count > mb_cursor_left(&in) / 34)
        return invalid(error, "it is cut off");
    mb_buf_add_bytes(&c->header, header);
    c->signatures = mb_calloc(count + 1, sizeof *c->signatures);
    for (; c->count < count && !in.failed; c->count++) {
        struct mb_signature *s = &c->signatures[c->count];
        struct mb_bytes key = mb_cursor_take(&in, 32);
        if (key.len == 32)
            memcpy(s->key.b, key.data, 32);
        mb_buf_add_bytes(&s->signature, mb_cursor_take(&in, mb_cursor_u16(&in)));
    }
    if (mb_cursor_done(&in))
        return 0;
    mb_checkpoint_clear(c);
    return invalid(error, "its lengths do not fit");
}

json_t *mb_checkpoint_to_json(const struct mb_checkpoint *c)
{
    struct mb_header h = {0};
    struct mb_buf text = {0};
    json_t *json = json_object(), *signatures = json_array();
    (void)mb_header_decode(&h, mb_buf_bytes(&c->header), NULL);
    mb_hex_encode(&text, c->header.data, c->header.len);
    json_object_set_new(json, "slot", json_integer((json_int_t)h.slot));
    json_object_set_new(json, "header", json_string(mb_buf_text(&text)));
    for (size_t i = 0; i < c->count; i++) {
        const struct mb_signature *s = &c->signatures[i];
        char fingerprint[MB_FINGERPRINT_SIZE];
        json_t *one = json_object();
        mb_public_key_fingerprint(&s->key, fingerprint);
        mb_buf_reset(&text);
        mb_base64_encode(&text, s->signature.data, s->signature.len);
        json_object_set_new(one, "key", json_string(fingerprint));
        json_object_set_new(one, "signature", json_string(mb_buf_text(&text)));
        json_array_append_new(signatures, one);
    }
    json_object_set_new(json, "signatures", signatures);
    mb_buf_clear(&text);
    return json;
}

static const struct mb_public_key *find_key(const char *fingerprint,
                                            const struct mb_public_key *keys, size_t key_count)
{
    char known[MB_FINGERPRINT_SIZE];
    for (size_t i = 0; i < key_count; i++) {
        mb_public_key_fingerprint(&keys[i], known);
        if (strcmp(known, fingerprint) == 0)
            return &keys[i];
    }
    return NULL;
}

static int signatures_from_json(struct mb_checkpoint *c, const json_t *list,
                                const struct mb_public_key *keys, size_t key_count,
                                struct mb_error *error)
{
    static const struct mb_json_field fields[] = {{.name = "key", .kind = MB_JSON_STRING},
                                                  {.name = "signature", .kind = MB_JSON_STRING},
                                                  {0}};
    if (!json_is_array(list))
        return invalid(error, "\"signatures\" is not a list");
    c->signatures = mb_calloc(json_array_size(list) + 1, sizeof *c->signatures);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (mb_json_check(one, fields, NULL) != 0)
            return invalid(error, "a signature has the texts \"key\" and \"signature\"");
        const char *text = mb_json_get_text(one, "signature", "");
        const struct mb_public_key *key =
            find_key(mb_json_get_text(one, "key", ""), keys, key_count);
        struct mb_signature *s = &c->signatures[c->count];
        if (mb_base64_decode(&s->signature, text, strlen(text)) != 0 ||
            s->signature.len > MB_SSHSIG_MAX)
            return invalid(error, "a signature is not base64 of a binary SSHSIG");
        if (!key) {
            mb_buf_clear(&s->signature);
            continue;
        }
        s->key = *key;
        c->count++;
    }
    return 0;
}

int mb_checkpoint_from_json(struct mb_checkpoint *c, const json_t *json,
                            const struct mb_public_key *keys, size_t key_count,
                            struct mb_error *error)
{
    static const struct mb_json_field fields[] = {
        {.name = "slot", .kind = MB_JSON_INT},
        {.name = "header", .kind = MB_JSON_STRING, .min = 1, .max = 2 * MB_HEADER_MAX},
        {.name = "signatures", .kind = MB_JSON_ARRAY},
        {0}};
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_header h;
    memset(c, 0, sizeof *c);
    if (mb_json_check(json, fields, NULL) != 0)
        return invalid(error, "it has the fields slot, header and signatures");
    const char *hex = mb_json_get_text(json, "header", "");
    size_t len = strlen(hex) / 2;
    if (len > sizeof bytes || mb_hex_decode(bytes, len, hex, strlen(hex)) != 0 ||
        mb_header_decode(&h, mb_bytes(bytes, len), NULL) != 0 ||
        (json_int_t)h.slot != mb_json_get_int(json, "slot", -1))
        return invalid(error, "\"header\" is not the hex of that slot's header");
    mb_buf_add(&c->header, bytes, len);
    int rc = signatures_from_json(c, json_object_get(json, "signatures"), keys, key_count, error);
    if (rc != 0) {
        /* What was decoded of the signature at hand is not counted yet. */
        if (c->signatures)
            mb_buf_clear(&c->signatures[c->count].signature);
        mb_checkpoint_clear(c);
    }
    return rc;
}

bool mb_checkpoint_signed_by(const struct mb_checkpoint *c, const struct mb_public_key *key)
{
    struct mb_public_key signer;
    for (size_t i = 0; i < c->count; i++) {
        const struct mb_signature *s = &c->signatures[i];
        if (mb_public_key_equal(&s->key, key) &&
            mb_sshsig_verify(mb_buf_bytes(&s->signature), MB_NAMESPACE_CHECKPOINT,
                             mb_buf_bytes(&c->header), &signer, NULL) == 0 &&
            mb_public_key_equal(&signer, key))
            return true;
    }
    return false;
}

int mb_checkpoint_verify(const struct mb_checkpoint *c, const struct mb_public_key *keys,
                         size_t key_count, struct mb_error *error)
{
    size_t good = 0;
    for (size_t i = 0; i < key_count; i++)
        good += mb_checkpoint_signed_by(c, &keys[i]);
    if (key_count > 0 && good > key_count / 2)
        return 0;
    return mb_fail(error, MB_EPROOF, "checkpoint.unsigned",
                   "the checkpoint is signed by %zu of %zu replicas; more than half are needed",
                   good, key_count);
}
