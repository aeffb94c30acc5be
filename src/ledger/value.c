/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/block.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

#define HEAD_LEN 120

static int invalid(struct mb_error *error, const char *why)
{
    return mb_fail(error, MB_EINVAL, "value.invalid", "not a well-formed value: %s", why);
}

/* Text that every reader can carry in a JSON string: UTF-8 without U+0000. */
static bool is_text(struct mb_bytes b)
{
    return (b.len == 0 || !memchr(b.data, 0, b.len)) && mb_utf8_valid(b.data, b.len);
}

static int decode_head(struct mb_value *v, struct mb_cursor *whole, size_t *count,
                       struct mb_error *error)
{
    v->head = mb_cursor_take(whole, HEAD_LEN);
    v->signature = mb_cursor_take(whole, mb_cursor_u16(whole));
    if (whole->failed)
        return invalid(error, "it is too short");
    struct mb_cursor c = mb_cursor(v->head);
    if (!mb_bytes_equal(mb_cursor_take(&c, 4), mb_bytes_of("MBV1")))
        return invalid(error, "it does not begin with MBV1");
    memcpy(v->org.b, mb_cursor_take(&c, 32).data, 32);
    v->slot = mb_cursor_u64(&c);
    uint64_t time = mb_cursor_u64(&c);
    memcpy(v->proposer.b, mb_cursor_take(&c, 32).data, 32);
    *count = mb_cursor_u32(&c);
    memcpy(v->commands_root.b, mb_cursor_take(&c, 32).data, 32);
    if (v->slot == 0 || v->slot > MB_SLOT_MAX)
        return invalid(error, "no such slot");
    if (time > MB_TIME_MAX)
        return invalid(error, "its time is after the year 9999");
    v->time = (int64_t)time;
    if (*count > MB_VALUE_ENVELOPES_MAX)
        return invalid(error, "too many envelopes");
    if (mb_cursor_left(whole) > MB_VALUE_BODIES_MAX)
        return invalid(error, "too many bytes of envelopes");
    return 0;
}

static int decode_bodies(struct mb_value *v, struct mb_cursor *c, size_t count,
                         struct mb_error *error)
{
    for (; v->count < count; v->count++) {
        struct mb_bytes text = mb_cursor_string(c);
        struct mb_bytes signature = mb_cursor_take(c, mb_cursor_u16(c));
        if (c->failed)
            return invalid(error, "an envelope is cut off");
        if (text.len > MB_COMMAND_MAX)
            return invalid(error, "a command is too large");
        if (!is_text(text))
            return invalid(error, "a command is not UTF-8 without U+0000");
        v->texts[v->count] = text;
        v->signatures[v->count] = signature;
    }
    return mb_cursor_done(c) ? 0 : invalid(error, "bytes are left over");
}

static struct mb_hash commands_root(const struct mb_value *v)
{
    struct mb_hash *leaves = mb_calloc(v->count + 1, sizeof *leaves);
    for (size_t i = 0; i < v->count; i++) {
        struct mb_hash input[2] = {mb_sha256(v->texts[i].data, v->texts[i].len),
                                   mb_sha256(v->signatures[i].data, v->signatures[i].len)};
        leaves[i] = mb_history_leaf(mb_bytes(input, sizeof input));
    }
    struct mb_hash root = mb_history_root_of(leaves, v->count);
    free(leaves);
    return root;
}

int mb_value_decode(struct mb_value *v, struct mb_bytes bytes, struct mb_error *error)
{
    struct mb_cursor c = mb_cursor(bytes);
    size_t count = 0;
    memset(v, 0, sizeof *v);
    int rc = decode_head(v, &c, &count, error);
    if (rc == 0) {
        v->texts = mb_calloc(count + 1, sizeof *v->texts);
        v->signatures = mb_calloc(count + 1, sizeof *v->signatures);
        rc = decode_bodies(v, &c, count, error);
    }
    if (rc == 0) {
        struct mb_hash root = commands_root(v);
        if (!mb_hash_equal(&root, &v->commands_root))
            rc = invalid(error, "commands_root does not fit the envelopes");
    }
    if (rc != 0)
        mb_value_clear(v);
    return rc;
}

void mb_value_clear(struct mb_value *v)
{
    free(v->texts);
    free(v->signatures);
    memset(v, 0, sizeof *v);
}

int mb_value_verify(const struct mb_value *v, const struct mb_hash *org, uint64_t slot,
                    const struct mb_public_key *keys, size_t key_count, struct mb_error *error)
{
    struct mb_public_key signer;
    if (!mb_hash_equal(&v->org, org))
        return invalid(error, "it belongs to another organisation");
    if (v->slot != slot)
        return invalid(error, "it is for another slot");
    for (size_t i = 0; i < key_count; i++) {
        struct mb_hash h = mb_public_key_hash(&keys[i]);
        if (!mb_hash_equal(&h, &v->proposer))
            continue;
        if (mb_sshsig_verify(v->signature, MB_NAMESPACE_BLOCK, v->head, &signer, NULL) != 0 ||
            !mb_public_key_equal(&signer, &keys[i]))
            return invalid(error, "the proposer's signature does not hold");
        return 0;
    }
    return invalid(error, "its proposer is no replica of the configuration");
}

struct mb_checked **mb_value_check(const struct mb_value *v)
{
    struct mb_checked **all = mb_calloc(v->count + 1, sizeof *all);
    for (size_t i = 0; i < v->count; i++) {
        struct mb_envelope e = {0};
        mb_buf_add_bytes(&e.text, v->texts[i]);
        mb_buf_add_bytes(&e.signature, v->signatures[i]);
        all[i] = mb_checked_new(&e);
    }
    return all;
}

void mb_value_encode(struct mb_buf *out, const struct mb_secret_key *proposer,
                     const struct mb_hash *org, uint64_t slot, int64_t time,
                     struct mb_checked *const *envelopes, size_t count)
{
    struct mb_buf signature = {0};
    struct mb_hash *leaves = mb_calloc(count + 1, sizeof *leaves);
    for (size_t i = 0; i < count; i++)
        leaves[i] = envelopes[i]->leaf;
    struct mb_hash root = mb_history_root_of(leaves, count);
    struct mb_hash proposer_hash = mb_public_key_hash(&proposer->public_key);
    size_t start = out->len;
    free(leaves);

    mb_buf_add(out, "MBV1", 4);
    mb_buf_add(out, org->b, 32);
    mb_buf_add_u64(out, slot);
    mb_buf_add_u64(out, (uint64_t)time);
    mb_buf_add(out, proposer_hash.b, 32);
    mb_buf_add_u32(out, (uint32_t)count);
    mb_buf_add(out, root.b, 32);
    mb_sshsig_sign(proposer, MB_NAMESPACE_BLOCK, mb_bytes(out->data + start, HEAD_LEN), &signature);
    mb_buf_add_u16(out, (uint16_t)signature.len);
    mb_buf_add_bytes(out, mb_buf_bytes(&signature));
    for (size_t i = 0; i < count; i++) {
        const struct mb_envelope *e = &envelopes[i]->envelope;
        mb_buf_add_string(out, mb_buf_bytes(&e->text));
        mb_buf_add_u16(out, (uint16_t)e->signature.len);
        mb_buf_add_bytes(out, mb_buf_bytes(&e->signature));
    }
    mb_buf_clear(&signature);
}
