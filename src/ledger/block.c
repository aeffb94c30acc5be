/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/block.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

static int invalid(struct mb_error *error, const char *why)
{
    return mb_fail(error, MB_EINVAL, "block.invalid", "not a block: %s", why);
}

void mb_block_clear(struct mb_block *b)
{
    mb_buf_clear(&b->value);
    mb_buf_clear(&b->header);
    for (size_t i = 0; i < b->result_count; i++)
        mb_buf_clear(&b->results[i]);
    free(b->results);
    memset(b, 0, sizeof *b);
}

void mb_block_encode(const struct mb_block *b, struct mb_buf *out)
{
    mb_buf_add_string(out, mb_buf_bytes(&b->value));
    mb_buf_add_u16(out, (uint16_t)b->header.len);
    mb_buf_add_bytes(out, mb_buf_bytes(&b->header));
    mb_buf_add_u32(out, (uint32_t)b->result_count);
    for (size_t i = 0; i < b->result_count; i++)
        mb_buf_add_string(out, mb_buf_bytes(&b->results[i]));
}

int mb_block_decode(struct mb_block *b, struct mb_bytes bytes, struct mb_error *error)
{
    struct mb_cursor c = mb_cursor(bytes);
    memset(b, 0, sizeof *b);
    struct mb_bytes value = mb_cursor_string(&c);
    struct mb_bytes header = mb_cursor_take(&c, mb_cursor_u16(&c));
    size_t count = mb_cursor_u32(&c);
    if (c.failed || count > mb_cursor_left(&c) / 4)
        return invalid(error, "it is cut off");
    mb_buf_add_bytes(&b->value, value);
    mb_buf_add_bytes(&b->header, header);
    b->results = mb_calloc(count + 1, sizeof *b->results);
    for (; b->result_count < count; b->result_count++)
        mb_buf_add_bytes(&b->results[b->result_count], mb_cursor_string(&c));
    if (mb_cursor_done(&c))
        return 0;
    mb_block_clear(b);
    return invalid(error, "its lengths do not fit");
}

static json_t *hex_json(struct mb_bytes bytes)
{
    struct mb_buf hex = {0};
    mb_hex_encode(&hex, bytes.data, bytes.len);
    json_t *json = json_string(mb_buf_text(&hex));
    mb_buf_clear(&hex);
    return json;
}

static json_t *base64_json(struct mb_bytes bytes)
{
    struct mb_buf text = {0};
    mb_base64_encode(&text, bytes.data, bytes.len);
    json_t *json = json_string(mb_buf_text(&text));
    mb_buf_clear(&text);
    return json;
}

static json_t *envelope_json(struct mb_bytes text, struct mb_bytes signature)
{
    json_t *json = json_object();
    json_object_set_new(json, "command", json_stringn((const char *)text.data, text.len));
    json_object_set_new(json, "signature", base64_json(signature));
    return json;
}

json_t *mb_block_to_json(const struct mb_block *b, const struct mb_public_key *proposer)
{
    struct mb_value v;
    char key[MB_PUBLIC_TEXT_SIZE];
    json_t *json = json_object();
    json_object_set_new(json, "slot", json_integer(0));
    json_object_set_new(json, "header", hex_json(mb_buf_bytes(&b->header)));
    if (b->value.len == 0 || mb_value_decode(&v, mb_buf_bytes(&b->value), NULL) != 0)
        return json;
    json_t *envelopes = json_array(), *results = json_array();
    for (size_t i = 0; i < v.count; i++)
        json_array_append_new(envelopes, envelope_json(v.texts[i], v.signatures[i]));
    for (size_t i = 0; i < b->result_count; i++)
        json_array_append_new(results,
                              json_stringn((const char *)b->results[i].data, b->results[i].len));
    mb_public_key_text(proposer, key);
    json_object_set_new(json, "slot", json_integer((json_int_t)v.slot));
    json_object_set_new(json, "head", hex_json(v.head));
    json_object_set_new(json, "signature", base64_json(v.signature));
    json_object_set_new(json, "proposer", json_string(key));
    json_object_set_new(json, "envelopes", envelopes);
    json_object_set_new(json, "results", results);
    mb_value_clear(&v);
    return json;
}

/* Append the bytes that a field's hex stands for; false if it is no hex. */
static bool add_hex(struct mb_buf *out, const json_t *json, const char *name)
{
    const char *text = mb_json_get_text(json, name, "");
    size_t len = strlen(text), at = out->len;
    mb_buf_reserve(out, len / 2 + 1);
    if (len == 0 || len % 2 != 0 || mb_hex_decode(out->data + at, len / 2, text, len) != 0)
        return false;
    out->len += len / 2;
    out->data[out->len] = 0;
    return true;
}

/* Append len:2 || bytes of a base64 text. */
static bool add_signature(struct mb_buf *out, const json_t *text)
{
    struct mb_buf bytes = {0};
    bool good = json_is_string(text) &&
                mb_base64_decode(&bytes, json_string_value(text), json_string_length(text)) == 0 &&
                bytes.len <= UINT16_MAX;
    if (good) {
        mb_buf_add_u16(out, (uint16_t)bytes.len);
        mb_buf_add_bytes(out, mb_buf_bytes(&bytes));
    }
    mb_buf_clear(&bytes);
    return good;
}

static bool add_envelope(struct mb_buf *out, const json_t *envelope)
{
    const json_t *text = json_object_get(envelope, "command");
    if (!json_is_object(envelope) || json_object_size(envelope) != 2 || !json_is_string(text))
        return false;
    mb_buf_add_string(out, mb_bytes(json_string_value(text), json_string_length(text)));
    return add_signature(out, json_object_get(envelope, "signature"));
}

/* The value's bytes, as they were chosen. */
static int value_from_json(struct mb_block *b, struct mb_public_key *proposer, const json_t *line,
                           struct mb_error *error)
{
    const json_t *envelopes = json_object_get(line, "envelopes");
    struct mb_value v;
    if (mb_public_key_parse(proposer, mb_json_get_text(line, "proposer", ""), NULL) != 0)
        return invalid(error, "\"proposer\" is not a public key");
    if (!add_hex(&b->value, line, "head"))
        return invalid(error, "\"head\" is not hex");
    if (!add_signature(&b->value, json_object_get(line, "signature")))
        return invalid(error, "\"signature\" is not base64");
    if (!json_is_array(envelopes))
        return invalid(error, "\"envelopes\" is not a list");
    for (size_t i = 0; i < json_array_size(envelopes); i++)
        if (!add_envelope(&b->value, json_array_get(envelopes, i)))
            return invalid(error, "an envelope is malformed");
    int rc = mb_value_decode(&v, mb_buf_bytes(&b->value), error);
    if (rc != 0)
        return rc;
    struct mb_hash hash = mb_public_key_hash(proposer);
    bool same = mb_hash_equal(&hash, &v.proposer) &&
                (json_int_t)v.slot == mb_json_get_int(line, "slot", -1);
    mb_value_clear(&v);
    return same ? 0 : invalid(error, "\"slot\" and \"proposer\" do not fit \"head\"");
}

static int results_from_json(struct mb_block *b, const json_t *results, struct mb_error *error)
{
    if (!json_is_array(results))
        return invalid(error, "\"results\" is not a list");
    b->results = mb_calloc(json_array_size(results) + 1, sizeof *b->results);
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *text = json_array_get(results, i);
        if (!json_is_string(text))
            return invalid(error, "a result is not a text");
        mb_buf_add(&b->results[b->result_count++], json_string_value(text),
                   json_string_length(text));
    }
    return 0;
}

static int block_from_json(struct mb_block *b, struct mb_public_key *proposer, const json_t *line,
                           struct mb_error *error)
{
    struct mb_header h;
    int rc;
    if (!json_is_object(line) || !add_hex(&b->header, line, "header") ||
        mb_header_decode(&h, mb_buf_bytes(&b->header), NULL) != 0)
        return invalid(error, "\"header\" is not a header's hex");
    if ((json_int_t)h.slot != mb_json_get_int(line, "slot", -1))
        return invalid(error, "\"slot\" does not fit \"header\"");
    if (json_object_size(line) != (h.slot == 0 ? 2u : 7u))
        return invalid(error, "it has other fields than it should");
    if (h.slot == 0)
        return 0;
    if ((rc = value_from_json(b, proposer, line, error)) != 0)
        return rc;
    return results_from_json(b, json_object_get(line, "results"), error);
}

int mb_block_from_json(struct mb_block *b, struct mb_public_key *proposer, const json_t *line,
                       struct mb_error *error)
{
    memset(b, 0, sizeof *b);
    memset(proposer, 0, sizeof *proposer);
    int rc = block_from_json(b, proposer, line, error);
    if (rc != 0)
        mb_block_clear(b);
    return rc;
}
