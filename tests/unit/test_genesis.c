/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/org.h"
#include "merkle/tree.h"

static void writes_exactly_these_keys(void **state)
{
    static const char *const keys[] = {
        "core/config",         "core/epoch",           "core/time", "core/versions",
        "org/epoch_s",         "org/founders",         "org/name",  "org/onion",
        "org/params/push_max", "org/params/work_bits", "toy/org"};
    struct mb_memory *m = mb_memory_new();
    struct mb_backend backend = mb_memory_backend(m);
    struct mb_buf key = {0}, value = {0}, from = {0};
    struct org o;
    size_t n = 0;
    (void)state;
    org_found(&o, backend, 2, 1, "{\"work_bits\":3,\"push_max\":\"9M\"}");
    while (backend.ops->seek(backend.self, "", mb_buf_text(&from), &key, &value) == 1) {
        assert_true(n < sizeof keys / sizeof *keys);
        assert_string_equal(mb_buf_text(&key), keys[n++]);
        mb_buf_reset(&from);
        mb_buf_add_bytes(&from, mb_buf_bytes(&key));
        mb_buf_add_u8(&from, 1);
        mb_buf_reset(&key);
        mb_buf_reset(&value);
    }
    assert_int_equal(n, sizeof keys / sizeof *keys);
    mb_buf_clear(&key);
    mb_buf_clear(&value);
    mb_buf_clear(&from);

    static const char *const texts[][2] = {
        {"core/epoch", "0"},
        {"core/time", "1795226400"},
        {"core/versions", "{\"core\":1,\"lua\":\"5.4.4\",\"toy\":1}"},
        {"org/epoch_s", "3600"},
        {"org/name", "\"acme\""},
        {"org/params/push_max", "\"9M\""},
        {"org/params/work_bits", "3"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *text = org_state(&o, texts[i][0]);
        assert_string_equal(text, texts[i][1]);
        free(text);
    }
    char *config = org_state(&o, "core/config"), *onion = org_state(&o, "org/onion");
    char *founders = org_state(&o, "org/founders");
    assert_non_null(strstr(config, "{\"from\":1,\"next_number\":2,\"removed\":[],\"replicas\":[{"
                                   "\"number\":1,\"onion\":\""));
    assert_non_null(strstr(config, "\"}],\"version\":1}"));
    assert_non_null(strstr(config, "\"tor_auth\":\""));
    assert_non_null(strstr(onion, ".onion\",\"revoked\":[]}"));
    assert_non_null(strstr(founders, "{\"keys\":[\"ssh-ed25519 "));
    assert_non_null(strstr(founders, "\"],\"retired\":0,\"threshold\":1}"));
    free(config);
    free(onion);
    free(founders);

    const struct mb_tip *tip = mb_ledger_tip(o.ledger);
    assert_int_equal(tip->header.slot, 0);
    assert_int_equal(tip->header.time, 0);
    assert_int_equal(tip->time, ORG_CREATED);
    assert_int_equal(tip->next_due, ORG_CREATED + 3600);
    assert_int_equal(tip->checkpoint_slot, 0);
    assert_int_equal(tip->checkpoint_time, ORG_CREATED);
    assert_int_equal(tip->history.size, 1);
    struct mb_hash org = mb_sha256(o.genesis.data, o.genesis.len);
    assert_true(mb_hash_equal(&org, &tip->header.org));
    assert_string_equal(mb_ledger_genesis_text(o.ledger), mb_buf_text(&o.genesis));
    org_clear(&o);
    mb_memory_free(m);
}

/* Each: a field (or a field of the first replica), and a JSON text to put there; "" removes it. */
static const struct {
    const char *field, *value;
    bool of_replica;
} bad[] = {
    {"format", "2", false},
    {"format", "", false},
    {"name", "\"\"", false},
    {"name", "\"Acme\"", false},
    {"name", "\"a-b\"", false},
    {"name", "\"abcdefghijklmnopqrstuvwxyz0123456\"", false},
    {"created", "0", false},
    {"created", "\"1795226400\"", false},
    {"created", "253402300800", false},
    {"epoch_s", "0", false},
    {"epoch_s", "31622401", false},
    {"founders", "[]", false},
    {"founders", "[7]", false},
    {"founders", "[\"ssh-rsa AAAA\"]", false},
    {"founder_threshold", "0", false},
    {"founder_threshold", "3", false},
    {"founders_retired", "0", false},
    {"replicas", "[]", false},
    {"replicas", "{}", false},
    {"onion", "\"acme.onion\"", false},
    {"onion", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion\"", false},
    {"versions", "{\"lua\":\"5.4.4\"}", false},
    {"versions", "{\"core\":2,\"lua\":\"5.4.4\"}", false},
    {"versions", "{\"core\":1}", false},
    {"versions", "{\"core\":1,\"lua\":\"5.4.4\",\"org\":1}", false},
    {"versions", "{\"core\":1,\"lua\":\"5.4.4\",\"toy\":0}", false},
    {"versions", "{\"core\":1,\"lua\":\"5.4.4\",\"toy\":\"1\"}", false},
    {"versions", "{\"core\":1,\"lua\":\"5.4.4\",\"Toy\":1}", false},
    {"rulebook", "\"return 1\"", false},
    {"params", "[]", false},
    {"params", "{\"work_bits\":33}", false},
    {"params", "{\"work_bits\":\"3\"}", false},
    {"params", "{\"a/b\":1}", false},
    {"params", "{\"a\":{}}", false},
    {"parent", "{}", false},
    {"number", "2", true},
    {"public_key", "\"x\"", true},
    {"peer_onion", "\"x\"", true},
    {"onion", "\"x\"", true},
    {"tor_auth", "", true},
    {"tor_auth", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab\"", true},
    {"more", "1", true},
};

static void refuse(const json_t *json)
{
    struct mb_buf text = {0};
    struct mb_genesis g;
    struct mb_error error;
    assert_int_equal(mb_json_canonical(&text, json, NULL), 0);
    assert_int_equal(mb_genesis_parse(&g, mb_buf_bytes(&text), &error), MB_EINVAL);
    assert_string_equal(error.code, "genesis.invalid");
    mb_buf_clear(&text);
}

static void refuses_what_is_malformed(void **state)
{
    struct org o = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        json_t *json = org_genesis_json(&o, 2, 1);
        json_t *object =
            bad[i].of_replica ? json_array_get(json_object_get(json, "replicas"), 0) : json;
        if (*bad[i].value)
            json_object_set_new(object, bad[i].field,
                                json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
        else
            json_object_del(object, bad[i].field);
        refuse(json);
        json_decref(json);
    }
}

static void refuses_doubles(void **state)
{
    struct org o = {0};
    json_t *json = org_genesis_json(&o, 2, 1);
    json_t *founders = json_object_get(json, "founders");
    (void)state;
    json_array_append(founders, json_array_get(founders, 0));
    refuse(json);
    json_decref(json);

    json = org_genesis_json(&o, 2, 1);
    json_t *replicas = json_object_get(json, "replicas");
    json_t *second = json_deep_copy(json_array_get(replicas, 0));
    json_object_set_new(second, "number", json_integer(2));
    json_array_append_new(replicas, second);
    refuse(json);
    json_decref(json);
}

static void unknown_versions(void **state)
{
    static const struct {
        const char *versions, *named;
    } cases[] = {
        {"{\"core\":1,\"lua\":\"5.4.4\",\"toy\":2}", "toy version 2"},
        {"{\"core\":1,\"lua\":\"5.4.4\",\"cloud\":1}", "cloud version 1"},
        {"{\"core\":1,\"lua\":\"5.3\",\"toy\":1}", "lua version 5.3"},
    };
    struct org o = {0};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct mb_memory *m = mb_memory_new();
        struct mb_ledger *l;
        struct mb_error error;
        struct mb_buf text = {0};
        json_t *json = org_genesis_json(&o, 2, 1);
        json_object_set_new(json, "versions", json_loads(cases[i].versions, 0, NULL));
        mb_json_canonical(&text, json, NULL);
        int rc =
            mb_ledger_found(&l, mb_memory_backend(m), toy_modules, 1, mb_buf_bytes(&text), &error);
        assert_int_equal(rc, MB_EREFUSED);
        assert_string_equal(error.code, "ledger.versions");
        assert_non_null(strstr(error.text, cases[i].named));
        assert_null(l);
        json_decref(json);
        mb_buf_clear(&text);
        mb_memory_free(m);
    }
}

static void open_finds_what_was_founded(void **state)
{
    struct mb_memory *m = mb_memory_new();
    struct mb_backend backend = mb_memory_backend(m);
    struct mb_ledger *l;
    struct mb_error error;
    struct org o;
    (void)state;
    assert_int_equal(mb_ledger_open(&l, backend, toy_modules, 1, &error), MB_ENOENT);
    assert_string_equal(error.code, "ledger.empty");
    org_found(&o, backend, 2, 1, "{}");
    assert_int_equal(mb_ledger_found(&l, backend, toy_modules, 1, mb_buf_bytes(&o.genesis), &error),
                     MB_EINVAL);
    assert_string_equal(error.code, "ledger.not_empty");
    assert_int_equal(mb_ledger_open(&l, backend, NULL, 0, &error), MB_EREFUSED);

    assert_int_equal(mb_ledger_open(&l, backend, toy_modules, 1, &error), 0);
    assert_memory_equal(&mb_ledger_tip(l)->header_hash, &mb_ledger_tip(o.ledger)->header_hash, 32);
    assert_int_equal(mb_ledger_tip(l)->next_due, ORG_CREATED + 3600);
    mb_ledger_free(l);

    struct mb_hash root;
    struct mb_tree_change change = {.key_hash = mb_sha256("x", 1), .present = true};
    struct mb_tree_io io = {backend.self, backend.ops->page_load, backend.ops->page_save};
    assert_int_equal(mb_tree_update(&io, "", &change, 1, &root, NULL), 0);
    assert_int_equal(mb_ledger_open(&l, backend, toy_modules, 1, &error), MB_ECORRUPT);
    assert_string_equal(error.code, "ledger.corrupt");
    org_clear(&o);
    mb_memory_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_exactly_these_keys),
        cmocka_unit_test(refuses_what_is_malformed),
        cmocka_unit_test(refuses_doubles),
        cmocka_unit_test(unknown_versions),
        cmocka_unit_test(open_finds_what_was_founded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
