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

static const char org_id[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
static const char nonce[] = "000102030405060708090a0b0c0d0e0f";

/* A command's text with one piece replaced. */
static char *text_with(const char *from, const char *to)
{
    struct mb_secret_key key = org_key(1);
    struct mb_buf text = {0}, out = {0};
    char *fingerprint = org_fingerprint(&key);
    json_t *body = json_object();
    mb_command_text(&text, org_id, fingerprint, "toy.put", nonce, 1795300000, body);
    const char *at = strstr(mb_buf_text(&text), from);
    assert_non_null(at);
    mb_buf_add(&out, text.data, (size_t)(at - (char *)text.data));
    mb_buf_add_text(&out, to);
    mb_buf_add_text(&out, at + strlen(from));
    json_decref(body);
    free(fingerprint);
    mb_buf_clear(&text);
    return mb_buf_take_text(&out);
}

static void text_is_as_specified(void **state)
{
    struct mb_secret_key key = org_key(1);
    struct mb_buf text = {0};
    char *fingerprint = org_fingerprint(&key);
    json_t *body = json_loads("{\"b\":1,\"a\":\"x\"}", 0, NULL);
    char *expected = mb_asprintf("{\"org\":\"%s\",\"key\":\"%s\",\"type\":\"toy.put\",\"nonce\":"
                                 "\"%s\",\"expires\":7,\"body\":{\"a\":\"x\",\"b\":1}}",
                                 org_id, fingerprint, nonce);
    (void)state;
    mb_command_text(&text, org_id, fingerprint, "toy.put", nonce, 7, body);
    assert_string_equal(mb_buf_text(&text), expected);
    free(expected);
    free(fingerprint);
    json_decref(body);
    mb_buf_clear(&text);
}

static void make_then_check(void **state)
{
    struct mb_secret_key key = org_key(1);
    struct mb_envelope e;
    uint8_t seed[16] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    json_t *body = json_object();
    (void)state;
    mb_command_make(&e, &key, org_id, "toy.put", seed, 1795300000, body, 9);
    struct mb_checked *c = mb_checked_new(&e);
    char *fingerprint = org_fingerprint(&key);
    assert_int_equal(c->verdict, 0);
    assert_true(mb_hash_has_work(&c->id, 9));
    assert_string_equal(c->org, org_id);
    assert_string_equal(c->key, fingerprint);
    assert_string_equal(c->type, "toy.put");
    assert_int_equal(c->expires, 1795300000);
    assert_int_equal(json_object_size(c->body), 0);
    struct mb_hash id = mb_sha256(c->envelope.text.data, c->envelope.text.len);
    assert_true(mb_hash_equal(&id, &c->id));
    free(fingerprint);
    json_decref(body);
    mb_checked_free(c);
}

static void envelope_round_trip(void **state)
{
    struct mb_secret_key key = org_key(1);
    struct mb_checked *c = org_envelope(&key, "any text, \"quoted\" too");
    struct mb_envelope e;
    struct mb_error error;
    json_t *json = mb_envelope_json(&c->envelope);
    char *text = json_dumps(json, 0);
    (void)state;
    assert_int_equal(mb_envelope_parse(&e, mb_bytes_of(text), &error), 0);
    assert_true(mb_bytes_equal(mb_buf_bytes(&e.text), mb_buf_bytes(&c->envelope.text)));
    assert_true(mb_bytes_equal(mb_buf_bytes(&e.signature), mb_buf_bytes(&c->envelope.signature)));
    mb_envelope_clear(&e);
    for (size_t len = 0; len < strlen(text); len++)
        assert_int_equal(mb_envelope_parse(&e, mb_bytes(text, len), &error), MB_EINVAL);
    free(text);
    json_decref(json);
    mb_checked_free(c);
}

static void bad_envelopes(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"command\":\"x\"}",
        "{\"command\":1,\"signature\":\"\"}",
        "{\"command\":\"x\",\"signature\":\"====\"}",
        "{\"command\":\"x\",\"signature\":\"QQ\"}",
        "{\"command\":\"x\",\"signature\":\"QQ==\",\"more\":1}",
        "{\"command\":\"x\",\"command\":\"y\",\"signature\":\"QQ==\"}",
    };
    struct mb_envelope e;
    struct mb_error error;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(mb_envelope_parse(&e, mb_bytes_of(texts[i]), &error), MB_EINVAL);
        assert_string_equal(error.code, "envelope.invalid");
    }
    struct mb_buf large = {0};
    mb_buf_add_text(&large, "{\"command\":\"");
    for (size_t i = 0; i <= MB_COMMAND_MAX; i++)
        mb_buf_add_u8(&large, 'x');
    mb_buf_add_text(&large, "\",\"signature\":\"QQ==\"}");
    assert_int_equal(mb_envelope_parse(&e, mb_buf_bytes(&large), &error), MB_ELIMIT);
    assert_string_equal(error.code, "command.too_large");
    mb_buf_clear(&large);
}

static void bad_commands(void **state)
{
    static const struct {
        const char *from, *to, *code;
    } cases[] = {
        {"{", "{", ""},
        {"{", " {", ""},
        {"\"org\"", "\"orf\"", "command.invalid"},
        {"\"expires\":1795300000", "\"expires\":\"1795300000\"", "command.invalid"},
        {"\"expires\":1795300000", "\"expires\":1795300000.0", "command.invalid"},
        {"\"expires\":1795300000", "\"expires\":99999999999999999999", "command.invalid"},
        {"\"body\":{}", "\"body\":[]", "command.invalid"},
        {"\"body\":{}", "\"body\":{},\"more\":1", "command.invalid"},
        {"\"body\":{}", "\"body\":{\"a\":1,\"a\":2}", "command.invalid"},
        {"000102", "00010", "command.invalid"},
        {"000102", "00010G", "command.invalid"},
        {"0a0b", "0A0b", "command.invalid"},
        {"\"toy.put\"", "7", "command.invalid"},
        {"}", "", "command.invalid"},
        {"SHA256:", "SHA255:", "signature.key"},
    };
    struct mb_secret_key key = org_key(1);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = text_with(cases[i].from, cases[i].to);
        struct mb_checked *c = org_envelope(&key, text);
        assert_string_equal(c->verdict ? c->error->code : "", cases[i].code);
        assert_true((c->json == NULL) == (strcmp(cases[i].code, "command.invalid") == 0));
        mb_checked_free(c);
        free(text);
    }
}

static void bad_signatures(void **state)
{
    struct mb_secret_key key = org_key(1), other = org_key(2);
    char *text = text_with("{", "{");
    struct mb_envelope e = {0};
    (void)state;

    struct mb_checked *c = org_envelope(&other, text);
    assert_int_equal(c->verdict, MB_EPROOF);
    assert_string_equal(c->error->code, "signature.key");
    mb_checked_free(c);

    mb_buf_add_text(&e.text, text);
    mb_sshsig_sign(&key, MB_NAMESPACE_BLOCK, mb_buf_bytes(&e.text), &e.signature);
    c = mb_checked_new(&e);
    assert_string_equal(c->error->code, "signature.namespace");
    mb_checked_free(c);

    c = org_envelope(&key, text);
    struct mb_buf signature = c->envelope.signature;
    memset(&c->envelope.signature, 0, sizeof signature);
    mb_checked_free(c);
    for (size_t i = 0; i < signature.len; i++) {
        mb_buf_add_text(&e.text, text);
        mb_buf_add_bytes(&e.signature, mb_buf_bytes(&signature));
        e.signature.data[i] ^= 1;
        c = mb_checked_new(&e);
        assert_true(c->verdict != 0);
        mb_checked_free(c);
    }
    mb_buf_clear(&signature);
    free(text);
}

static void expiry_tells_no_clock(void **state)
{
    (void)state;
    assert_int_equal(mb_command_expiry(3600), 90000);
    assert_int_equal(mb_command_expiry(3601), 93600);
    assert_int_equal(mb_command_expiry(7199), 93600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_as_specified),  cmocka_unit_test(make_then_check),
        cmocka_unit_test(envelope_round_trip),   cmocka_unit_test(bad_envelopes),
        cmocka_unit_test(bad_commands),          cmocka_unit_test(bad_signatures),
        cmocka_unit_test(expiry_tells_no_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
