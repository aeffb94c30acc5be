/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/org.h"
#include "base/encode.h"

/* A value of two envelopes, which need not be commands. */
static void make_value(struct mb_buf *bytes, struct mb_checked *c[2])
{
    struct mb_secret_key key = org_key(1), replica = org_key(10);
    struct mb_hash org = mb_sha256("org", 3);
    c[0] = org_envelope(&key, "first");
    c[1] = org_envelope(&key, "zw\xc3\xb6lf");
    mb_value_encode(bytes, &replica, &org, 5, 1795226400, c, 2);
}

static void free_two(struct mb_checked *c[2])
{
    mb_checked_free(c[0]);
    mb_checked_free(c[1]);
}

static void value_round_trip(void **state)
{
    struct mb_buf bytes = {0};
    struct mb_checked *c[2];
    struct mb_secret_key replica = org_key(10), other = org_key(11);
    struct mb_public_key keys[2] = {other.public_key, replica.public_key};
    struct mb_hash org = mb_sha256("org", 3), foreign = mb_sha256("foreign", 7);
    struct mb_value v;
    struct mb_error error;
    (void)state;
    make_value(&bytes, c);
    assert_int_equal(mb_value_decode(&v, mb_buf_bytes(&bytes), &error), 0);
    assert_int_equal(v.slot, 5);
    assert_int_equal(v.time, 1795226400);
    assert_int_equal(v.count, 2);
    assert_true(mb_bytes_equal(v.texts[1], mb_bytes_of("zw\xc3\xb6lf")));
    assert_true(mb_bytes_equal(v.signatures[0], mb_buf_bytes(&c[0]->envelope.signature)));
    struct mb_hash leaves[2] = {c[0]->leaf, c[1]->leaf};
    struct mb_hash root = mb_history_root_of(leaves, 2);
    assert_true(mb_hash_equal(&root, &v.commands_root));

    assert_int_equal(mb_value_verify(&v, &org, 5, keys, 2, &error), 0);
    assert_int_equal(mb_value_verify(&v, &org, 6, keys, 2, &error), MB_EINVAL);
    assert_int_equal(mb_value_verify(&v, &foreign, 5, keys, 2, &error), MB_EINVAL);
    assert_int_equal(mb_value_verify(&v, &org, 5, keys, 1, &error), MB_EINVAL);
    assert_string_equal(error.code, "value.invalid");
    mb_value_clear(&v);
    mb_buf_clear(&bytes);
    free_two(c);
}

static void value_cut_or_changed(void **state)
{
    struct mb_buf bytes = {0};
    struct mb_checked *c[2];
    struct mb_public_key key = org_key(10).public_key;
    struct mb_hash org = mb_sha256("org", 3);
    struct mb_value v;
    (void)state;
    make_value(&bytes, c);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(mb_value_decode(&v, mb_bytes(bytes.data, len), NULL), MB_EINVAL);
    for (size_t i = 0; i < bytes.len; i++) {
        bytes.data[i] ^= 1;
        bool good = mb_value_decode(&v, mb_buf_bytes(&bytes), NULL) == 0 &&
                    mb_value_verify(&v, &org, 5, &key, 1, NULL) == 0;
        assert_false(good);
        mb_value_clear(&v);
        bytes.data[i] ^= 1;
    }
    mb_buf_add_u8(&bytes, 0);
    assert_int_equal(mb_value_decode(&v, mb_buf_bytes(&bytes), NULL), MB_EINVAL);
    mb_buf_clear(&bytes);
    free_two(c);
}

/* Encode one command of len bytes, or count empty ones. */
static int decode_of(const char *text, size_t len, size_t count, int64_t time)
{
    struct mb_secret_key replica = org_key(10);
    struct mb_hash org = mb_sha256("org", 3);
    struct mb_checked **all = mb_calloc(count, sizeof *all);
    struct mb_buf bytes = {0};
    struct mb_value v;
    for (size_t i = 0; i < count; i++) {
        struct mb_envelope e = {0};
        mb_buf_add(&e.text, text, len);
        all[i] = mb_checked_new(&e);
    }
    mb_value_encode(&bytes, &replica, &org, 1, time, all, count);
    int rc = mb_value_decode(&v, mb_buf_bytes(&bytes), NULL);
    mb_value_clear(&v);
    for (size_t i = 0; i < count; i++)
        mb_checked_free(all[i]);
    free(all);
    mb_buf_clear(&bytes);
    return rc;
}

static void value_limits(void **state)
{
    char *large = mb_calloc(1, MB_COMMAND_MAX + 1);
    memset(large, 'x', MB_COMMAND_MAX + 1);
    (void)state;
    assert_int_equal(decode_of("", 0, 0, 1), 0);
    assert_int_equal(decode_of("", 0, MB_VALUE_ENVELOPES_MAX, 1), 0);
    assert_int_equal(decode_of("", 0, MB_VALUE_ENVELOPES_MAX + 1, 1), MB_EINVAL);
    assert_int_equal(decode_of(large, MB_COMMAND_MAX, 1, 1), 0);
    assert_int_equal(decode_of(large, MB_COMMAND_MAX + 1, 1, 1), MB_EINVAL);
    assert_int_equal(decode_of(large, MB_VALUE_BODIES_MAX / 4 - 6, 4, 1), 0);
    assert_int_equal(decode_of(large, MB_VALUE_BODIES_MAX / 4 - 5, 4, 1), MB_EINVAL);
    assert_int_equal(decode_of("a\0b", 3, 1, 1), MB_EINVAL);
    assert_int_equal(decode_of("\xff", 1, 1, 1), MB_EINVAL);
    assert_int_equal(decode_of("", 0, 0, MB_TIME_MAX), 0);
    assert_int_equal(decode_of("", 0, 0, MB_TIME_MAX + 1), MB_EINVAL);
    free(large);
}

static struct mb_header some_header(uint64_t slot)
{
    struct mb_header h = {.slot = slot, .time = slot ? 1795226400 : 0};
    h.org = mb_sha256("a", 1);
    h.state_root = mb_sha256("b", 1);
    h.config_hash = mb_sha256("c", 1);
    if (slot) {
        h.proposer = mb_sha256("d", 1);
        h.commands_root = mb_sha256("e", 1);
        h.results_root = mb_sha256("f", 1);
        h.history_root = mb_sha256("g", 1);
    }
    return h;
}

static void header_round_trip(void **state)
{
    uint8_t bytes[MB_HEADER_MAX], again[MB_HEADER_MAX];
    (void)state;
    for (uint64_t slot = 0; slot < 3; slot++) {
        struct mb_header h = some_header(slot), back;
        size_t len = mb_header_encode(&h, bytes);
        assert_int_equal(len, slot ? 244 : 100);
        assert_int_equal(mb_header_decode(&back, mb_bytes(bytes, len), NULL), 0);
        assert_int_equal(mb_header_encode(&back, again), len);
        assert_memory_equal(bytes, again, len);
        for (size_t cut = 0; cut < len; cut++)
            assert_int_equal(mb_header_decode(&back, mb_bytes(bytes, cut), NULL), MB_EINVAL);
        struct mb_hash hash = mb_header_hash(&h), expected = mb_sha256(bytes, len);
        assert_true(mb_hash_equal(&hash, &expected));
    }
    struct mb_header h = some_header(1), back;
    mb_header_encode(&h, bytes);
    memset(bytes + 36, 0, 8);
    assert_int_equal(mb_header_decode(&back, mb_bytes(bytes, 244), NULL), MB_EINVAL);
    bytes[36] = 0x80;
    assert_int_equal(mb_header_decode(&back, mb_bytes(bytes, 244), NULL), MB_EINVAL);
}

static void make_block(struct mb_block *b)
{
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_checked *c[2];
    struct mb_header h = some_header(5);
    memset(b, 0, sizeof *b);
    make_value(&b->value, c);
    mb_buf_add(&b->header, bytes, mb_header_encode(&h, bytes));
    b->results = mb_calloc(2, sizeof *b->results);
    b->result_count = 2;
    mb_buf_add_text(&b->results[0], "{\"ok\":true}");
    mb_buf_add_text(&b->results[1], "{}");
    free_two(c);
}

static void assert_same_block(const struct mb_block *a, const struct mb_block *b)
{
    struct mb_buf x = {0}, y = {0};
    mb_block_encode(a, &x);
    mb_block_encode(b, &y);
    assert_true(mb_bytes_equal(mb_buf_bytes(&x), mb_buf_bytes(&y)));
    mb_buf_clear(&x);
    mb_buf_clear(&y);
}

static void block_round_trip(void **state)
{
    struct mb_block b, back;
    struct mb_buf bytes = {0};
    (void)state;
    make_block(&b);
    mb_block_encode(&b, &bytes);
    assert_int_equal(mb_block_decode(&back, mb_buf_bytes(&bytes), NULL), 0);
    assert_same_block(&b, &back);
    mb_block_clear(&back);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(mb_block_decode(&back, mb_bytes(bytes.data, len), NULL), MB_EINVAL);
    mb_buf_add_u8(&bytes, 0);
    assert_int_equal(mb_block_decode(&back, mb_buf_bytes(&bytes), NULL), MB_EINVAL);
    mb_buf_clear(&bytes);
    mb_block_clear(&b);
}

static void block_json_round_trip(void **state)
{
    struct mb_public_key proposer = org_key(10).public_key, named;
    struct mb_block b, back;
    (void)state;
    make_block(&b);
    json_t *json = mb_block_to_json(&b, &proposer);
    assert_int_equal(json_object_size(json), 7);
    assert_int_equal(mb_block_from_json(&back, &named, json, NULL), 0);
    assert_same_block(&b, &back);
    assert_true(mb_public_key_equal(&named, &proposer));
    mb_block_clear(&back);

    const char *name;
    json_t *value;
    json_object_foreach(json, name, value)
    {
        json_t *less = json_copy(json), *other = json_copy(json);
        json_object_del(less, name);
        json_object_set_new(other, name, json_string("?"));
        assert_int_equal(mb_block_from_json(&back, &named, less, NULL), MB_EINVAL);
        assert_int_equal(mb_block_from_json(&back, &named, other, NULL), MB_EINVAL);
        json_decref(less);
        json_decref(other);
    }
    json_decref(json);
    mb_block_clear(&b);
}

static void slot0_json(void **state)
{
    struct mb_public_key named;
    struct mb_block b = {0}, back;
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_header h = some_header(0);
    (void)state;
    mb_buf_add(&b.header, bytes, mb_header_encode(&h, bytes));
    json_t *json = mb_block_to_json(&b, NULL);
    assert_int_equal(json_object_size(json), 2);
    assert_int_equal(mb_block_from_json(&back, &named, json, NULL), 0);
    assert_same_block(&b, &back);
    mb_block_clear(&back);
    json_decref(json);
    mb_block_clear(&b);
}

static void sign_checkpoint(struct mb_checkpoint *c, const uint8_t *seeds, size_t count)
{
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_header h = some_header(64);
    memset(c, 0, sizeof *c);
    mb_buf_add(&c->header, bytes, mb_header_encode(&h, bytes));
    c->signatures = mb_calloc(count + 1, sizeof *c->signatures);
    for (; c->count < count; c->count++) {
        struct mb_secret_key key = org_key(seeds[c->count]);
        c->signatures[c->count].key = key.public_key;
        mb_sshsig_sign(&key, MB_NAMESPACE_CHECKPOINT, mb_buf_bytes(&c->header),
                       &c->signatures[c->count].signature);
    }
}

static void checkpoint_majority(void **state)
{
    struct mb_public_key keys[5];
    static const struct {
        uint8_t seeds[6];
        size_t count, keys;
        bool good;
    } cases[] = {
        {{0}, 0, 0, false},         {{0}, 0, 1, false},      {{10}, 1, 1, true},
        {{10}, 1, 2, false},        {{10, 11}, 2, 2, true},  {{10, 10}, 2, 3, false},
        {{10, 11}, 2, 3, true},     {{10, 11}, 2, 4, false}, {{10, 11, 20, 21}, 4, 5, false},
        {{14, 13, 12}, 3, 5, true}, {{20}, 1, 1, false},
    };
    struct mb_checkpoint c;
    struct mb_error error;
    (void)state;
    for (uint8_t i = 0; i < 5; i++)
        keys[i] = org_key((uint8_t)(10 + i)).public_key;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sign_checkpoint(&c, cases[i].seeds, cases[i].count);
        int rc = mb_checkpoint_verify(&c, keys, cases[i].keys, &error);
        assert_int_equal(rc, cases[i].good ? 0 : MB_EPROOF);
        if (cases[i].count == 1 && cases[i].good) {
            c.header.data[50] ^= 1;
            assert_int_equal(mb_checkpoint_verify(&c, keys, 1, &error), MB_EPROOF);
            assert_string_equal(error.code, "checkpoint.unsigned");
        }
        mb_checkpoint_clear(&c);
    }
}

static void checkpoint_round_trip(void **state)
{
    const uint8_t seeds[] = {10, 11, 12};
    struct mb_public_key keys[2] = {org_key(10).public_key, org_key(12).public_key};
    struct mb_checkpoint c, back;
    struct mb_buf bytes = {0}, again = {0};
    (void)state;
    sign_checkpoint(&c, seeds, 3);
    mb_checkpoint_encode(&c, &bytes);
    assert_int_equal(mb_checkpoint_decode(&back, mb_buf_bytes(&bytes), NULL), 0);
    mb_checkpoint_encode(&back, &again);
    assert_true(mb_bytes_equal(mb_buf_bytes(&bytes), mb_buf_bytes(&again)));
    mb_checkpoint_clear(&back);
    for (size_t len = 0; len < bytes.len; len++)
        assert_int_equal(mb_checkpoint_decode(&back, mb_bytes(bytes.data, len), NULL), MB_EINVAL);

    json_t *json = mb_checkpoint_to_json(&c);
    assert_int_equal(mb_checkpoint_from_json(&back, json, keys, 2, NULL), 0);
    assert_int_equal(back.count, 2); /* the key that is not known is dropped */
    assert_int_equal(mb_checkpoint_verify(&back, keys, 2, NULL), 0);
    mb_checkpoint_clear(&back);
    const char *name;
    json_t *value;
    json_object_foreach(json, name, value)
    {
        json_t *other = json_copy(json);
        json_object_set_new(other, name, json_loads("[{\"key\":\"x\",\"signature\":7}]", 0, NULL));
        assert_int_equal(mb_checkpoint_from_json(&back, other, keys, 2, NULL), MB_EINVAL);
        json_decref(other);
    }
    json_decref(json);
    mb_checkpoint_clear(&c);
    mb_buf_clear(&bytes);
    mb_buf_clear(&again);
}

static void checkpoint_slots(void **state)
{
    struct mb_header h = some_header(65);
    struct mb_hash same = h.config_hash, other = mb_hash_zero;
    (void)state;
    assert_false(mb_is_checkpoint_slot(&h, 1, &same, h.time - 59));
    assert_true(mb_is_checkpoint_slot(&h, 1, &same, h.time - 60));
    assert_true(mb_is_checkpoint_slot(&h, 1, &other, h.time));
    assert_false(mb_is_checkpoint_slot(&h, 0, &same, h.time - 4));
    assert_true(mb_is_checkpoint_slot(&h, 0, &same, h.time - 5));
    h.slot = 128;
    assert_true(mb_is_checkpoint_slot(&h, 1, &same, h.time));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(value_round_trip),
        cmocka_unit_test(value_cut_or_changed),
        cmocka_unit_test(value_limits),
        cmocka_unit_test(header_round_trip),
        cmocka_unit_test(block_round_trip),
        cmocka_unit_test(block_json_round_trip),
        cmocka_unit_test(slot0_json),
        cmocka_unit_test(checkpoint_majority),
        cmocka_unit_test(checkpoint_round_trip),
        cmocka_unit_test(checkpoint_slots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
