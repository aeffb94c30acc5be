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
#include "ledger/collect.h"

#define T0 ORG_CREATED

struct fixture {
    struct org o;
    struct mb_memory *memory;
    int64_t time;
};

static struct fixture *start(int founders, int threshold)
{
    struct fixture *f = mb_calloc(1, sizeof *f);
    f->memory = mb_memory_new();
    f->time = T0;
    org_found(&f->o, mb_memory_backend(f->memory), founders, threshold, "{}");
    return f;
}

static void stop(struct fixture *f)
{
    org_clear(&f->o);
    mb_memory_free(f->memory);
    free(f);
}

static uint64_t slot_of(struct fixture *f)
{
    return mb_ledger_tip(f->o.ledger)->header.slot;
}

/* A block of this command. What it came to: canonical {"args","code"}, or its result (owned). */
static char *outcome_of(struct fixture *f, const struct mb_secret_key *key, const char *type,
                        const json_t *body)
{
    char *text = mb_json_text(body);
    char *result = org_do(&f->o, f->time++, key, type, text);
    json_t *json = json_loads(result, 0, NULL);
    const json_t *error = json_object_get(json, "error");
    free(text);
    free(result);
    text = mb_json_text(error ? error : json_object_get(json, "result"));
    json_decref(json);
    return text;
}

/* The same, as it must be. The door says the same. */
static void expect_by(struct fixture *f, const struct mb_secret_key *key, const char *type,
                      json_t *body_take, const char *outcome)
{
    struct mb_error error = {0};
    char *text = mb_json_text(body_take);
    struct mb_checked *c = org_command(&f->o, key, type, text, f->time + 60);
    bool refused = mb_ledger_try(f->o.ledger, c, f->time, &error) != 0;
    char *door = mb_asprintf("{\"args\":%s,\"code\":\"%s\"}", error.args, error.code);
    char *came = outcome_of(f, key, type, body_take);
    assert_string_equal(came, outcome);
    if (refused)
        assert_string_equal(door, outcome);
    assert_int_equal(refused, strstr(outcome, "\"code\"") != NULL);
    assert_true(!refused || strncmp(error.text, error.code, strlen(error.code)) != 0);
    mb_checked_free(c);
    json_decref(body_take);
    free(text);
    free(door);
    free(came);
}

static void expect(struct fixture *f, const char *type, json_t *body_take, const char *outcome)
{
    expect_by(f, &f->o.founders[0], type, body_take, outcome);
}

static char *error_text(const char *code, const char *arg)
{
    return *arg ? mb_asprintf("{\"args\":[\"%s\"],\"code\":\"%s\"}", arg, code)
                : mb_asprintf("{\"args\":[],\"code\":\"%s\"}", code);
}

static json_t *state_of(struct fixture *f, const char *key)
{
    char *text = org_state(&f->o, key);
    json_t *json = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    free(text);
    return json;
}

static json_t *number_body(int64_t number)
{
    return json_pack("{s:I}", "number", (json_int_t)number);
}

/* Add a replica and bring it into force. */
static void add(struct fixture *f, const struct mb_secret_key *key, uint8_t onion_seed)
{
    json_t *body = org_add_body(&f->o, key, onion_seed);
    char *came = outcome_of(f, &f->o.founders[0], "org.replica.add", body);
    assert_non_null(strstr(came, "\"number\""));
    free(came);
    json_decref(body);
    f->time = org_fill(&f->o, f->time, slot_of(f) + 63) + 1;
}

static void remove_replica(struct fixture *f, int64_t number)
{
    json_t *body = number_body(number);
    char *came = outcome_of(f, &f->o.founders[0], "org.replica.remove", body);
    assert_non_null(strstr(came, "\"number\""));
    free(came);
    json_decref(body);
    f->time = org_fill(&f->o, f->time, slot_of(f) + 63) + 1;
}

static void expect_config(struct fixture *f, uint64_t slot, int64_t version, const char *numbers)
{
    struct mb_membership m;
    struct mb_buf text = {0};
    int rc = mb_ledger_config_at(f->o.ledger, slot, &m);
    assert_int_equal(rc, version > 0);
    if (rc == 1) {
        assert_int_equal(m.version, version);
        assert_int_equal(mb_membership_majority(&m), m.count / 2 + 1);
        for (size_t i = 0; i < m.count; i++)
            mb_buf_addf(&text, "%lld ", (long long)m.replicas[i].number);
        assert_string_equal(mb_buf_text(&text), numbers);
    }
    mb_buf_clear(&text);
}

/* --- One change. --- */

static void a_change_waits_for_its_window(void **state)
{
    struct fixture *f = start(1, 1);
    struct mb_secret_key key = org_key(40);
    (void)state;
    f->time = org_fill(&f->o, f->time, 9) + 1;
    char *first = org_state(&f->o, "core/config");
    expect(f, "org.replica.add", org_add_body(&f->o, &key, 60),
           "{\"from\":74,\"number\":2,\"version\":2}");
    assert_int_equal(slot_of(f), 10);
    char *next = org_state(&f->o, "core/config/next");
    assert_non_null(next);

    /* Everyone knows who decides the slots of the window; nobody those beyond. */
    expect_config(f, 0, 1, "1 ");
    expect_config(f, 11, 1, "1 ");
    expect_config(f, 73, 1, "1 ");
    expect_config(f, 74, 2, "1 2 ");
    expect_config(f, 75, 0, "");

    /* One at a time. */
    struct mb_secret_key other = org_key(41);
    expect(f, "org.replica.add", org_add_body(&f->o, &other, 62),
           "{\"args\":[74],\"code\":\"org.config_waits\"}");
    expect(f, "org.replica.remove", number_body(1), "{\"args\":[1],\"code\":\"org.replica_last\"}");
    expect(f, "org.replica.remove", number_body(2),
           "{\"args\":[2],\"code\":\"org.replica_unknown\"}");

    f->time = org_fill(&f->o, f->time, 72) + 1;
    struct mb_hash before = mb_ledger_tip(f->o.ledger)->header.config_hash;
    char *still = org_state(&f->o, "core/config");
    assert_string_equal(still, first);
    free(still);
    /* The last block of the old configuration hands over: a checkpoint slot. */
    struct mb_outcome *outcome = org_block(&f->o, f->time++, NULL, 0);
    assert_int_equal(outcome->applied.slot, 73);
    assert_true(outcome->applied.checkpoint);
    mb_outcome_free(outcome);
    const struct mb_tip *tip = mb_ledger_tip(f->o.ledger);
    struct mb_hash hash = mb_sha256(next, strlen(next));
    assert_memory_equal(&tip->header.config_hash, &hash, 32);
    assert_memory_not_equal(&before, &hash, 32);
    char *now = org_state(&f->o, "core/config"),
         *past = org_state(&f->o, "core/config/past/0000000001");
    assert_string_equal(now, next);
    assert_string_equal(past, first);
    assert_null(org_state(&f->o, "core/config/next"));
    expect_config(f, 73, 1, "1 ");
    expect_config(f, 74, 2, "1 2 ");
    expect_config(f, 137, 2, "1 2 ");
    expect_config(f, 138, 0, "");
    size_t count;
    const struct mb_replica *replicas = mb_ledger_replicas(f->o.ledger, &count);
    assert_int_equal(count, 2);
    assert_int_equal(replicas[1].number, 2);
    assert_true(mb_public_key_equal(&replicas[1].key, &key.public_key));
    assert_int_equal(strlen(replicas[1].tor_auth), 52);

    json_t *config = mb_ledger_config(f->o.ledger, 1);
    char *text = mb_json_text(config);
    assert_string_equal(text, first);
    json_decref(config);
    free(text);
    config = mb_ledger_config(f->o.ledger, 2);
    assert_int_equal(mb_json_get_int(config, "from", 0), 74);
    json_decref(config);
    assert_null(mb_ledger_config(f->o.ledger, 3));
    assert_null(mb_ledger_config(f->o.ledger, 0));

    /* The new one has a replica's role. */
    json_t *nothing = json_object();
    text = outcome_of(f, &key, "toy.replica", nothing);
    assert_non_null(strstr(text, "\"signer\""));
    json_decref(nothing);
    free(text);
    free(first);
    free(next);
    free(now);
    free(past);
    stop(f);
}

/* --- Who may join. --- */

static json_t *onion_json(uint8_t seed)
{
    char text[MB_ONION_SIZE];
    struct mb_secret_key key = org_key(seed);
    mb_onion_encode(text, key.public_key.b);
    return json_string(text);
}

static void join_is_refused_for_what_is_wrong(void **state)
{
    static const struct {
        const char *field, *value, *outcome;
    } cases[] = {
        {"public_key", "ssh-ed25519 AAAA",
         "{\"args\":[\"public_key\"],\"code\":\"org.replica_invalid\"}"},
        {"onion", "x.onion", "{\"args\":[\"onion\"],\"code\":\"org.replica_invalid\"}"},
        {"peer_onion", "", "{\"args\":[\"peer_onion\"],\"code\":\"org.replica_invalid\"}"},
        {"tor_auth", "a", "{\"args\":[\"tor_auth\"],\"code\":\"org.replica_invalid\"}"},
        {"tor_auth", "1111111111111111111111111111111111111111111111111111",
         "{\"args\":[\"tor_auth\"],\"code\":\"org.replica_invalid\"}"},
        {"tor_auth", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
         "{\"args\":[],\"code\":\"org.ready_proof\"}"},
        {"more", "", "{\"args\":[\"more\",\"unknown\"],\"code\":\"body.invalid\"}"},
    };
    struct fixture *f = start(2, 1);
    struct mb_secret_key key = org_key(40), taken;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *body = org_add_body(&f->o, &key, 60);
        json_object_set_new(body, cases[i].field, json_string(cases[i].value));
        expect(f, "org.replica.add", body, cases[i].outcome);
    }
    /* Onions: the organisation's is made of 32, replica 1's of 31 and 30. */
    for (uint8_t seed = 30; seed <= 33; seed++)
        for (int peer = 0; peer < 2; peer++) {
            json_t *body = org_add_body(&f->o, &key, 60), *onion = onion_json(seed);
            char *outcome = error_text("org.replica_known", json_string_value(onion));
            json_object_set_new(body, peer ? "peer_onion" : "onion", onion);
            expect(f, "org.replica.add", body,
                   seed < 33 ? outcome : "{\"args\":[],\"code\":\"org.ready_proof\"}");
            free(outcome);
        }
    json_t *body = org_add_body(&f->o, &key, 60), *onion = onion_json(60);
    char *outcome = error_text("org.replica_known", json_string_value(onion));
    json_object_set_new(body, "peer_onion", onion);
    expect(f, "org.replica.add", body, outcome);
    free(outcome);

    /* Keys: a replica's, a founder's, one that was replaced, one that replaced it. */
    struct mb_secret_key new_key = org_key(50);
    char *old = org_fingerprint(&f->o.other), text[MB_PUBLIC_TEXT_SIZE];
    mb_public_key_text(&new_key.public_key, text);
    json_t *proof =
        json_pack("{s:s, s:s, s:s}", "new", text, "old", old, "org", mb_ledger_org(f->o.ledger));
    char *message = mb_json_text(proof);
    struct mb_buf signature = {0}, base64 = {0};
    mb_sshsig_sign(&new_key, "magicbiz-key", mb_bytes_of(message), &signature);
    mb_base64_encode(&base64, signature.data, signature.len);
    expect_by(f, &f->o.other, "org.key.replace",
              json_pack("{s:s, s:s}", "new", text, "proof", mb_buf_text(&base64)), "{}");
    json_decref(proof);
    mb_buf_clear(&signature);
    mb_buf_clear(&base64);
    free(message);
    free(old);
    for (int i = 0; i < 5; i++) {
        taken = i == 0   ? f->o.replica
                : i == 1 ? f->o.founders[0]
                : i == 2 ? f->o.founders[1]
                : i == 3 ? f->o.other
                         : new_key;
        char *fingerprint = org_fingerprint(&taken);
        outcome = error_text("org.replica_known", fingerprint);
        expect(f, "org.replica.add", org_add_body(&f->o, &taken, 60), outcome);
        free(fingerprint);
        free(outcome);
    }

    /* Only the organisation; a replica cannot bring in another. */
    expect_by(f, &f->o.replica, "org.replica.add", org_add_body(&f->o, &key, 60),
              "{\"args\":[\"org.replica.add\",\"org\"],\"code\":\"command.access\"}");
    expect_by(f, &f->o.replica, "org.replica.remove", number_body(1),
              "{\"args\":[\"org.replica.remove\",\"org\"],\"code\":\"command.access\"}");
    stop(f);
}

static void ready_names_a_header_of_the_newest_128(void **state)
{
    struct fixture *f = start(1, 1);
    struct mb_secret_key key = org_key(40), other = org_key(41);
    (void)state;
    json_t *early = org_add_body(&f->o, &key, 60); /* slot 0 */
    json_t *wrong = json_deep_copy(early);
    json_t *ready = json_object_get(wrong, "ready");

    json_object_set_new(ready, "signature", json_string("AAAA"));
    expect(f, "org.replica.add", json_deep_copy(wrong),
           "{\"args\":[],\"code\":\"org.ready_proof\"}");
    json_object_set_new(ready, "slot", json_integer(1));
    expect(f, "org.replica.add", json_deep_copy(wrong),
           "{\"args\":[1],\"code\":\"org.ready_header\"}");
    json_object_set_new(ready, "slot", json_integer((json_int_t)slot_of(f) + 1));
    expect(f, "org.replica.add", wrong, "{\"args\":[3],\"code\":\"org.ready_header\"}");

    /* Another key's signature; another's fields. */
    json_t *mixed = org_add_body(&f->o, &other, 60);
    json_object_set(mixed, "public_key", json_object_get(early, "public_key"));
    json_object_set(mixed, "tor_auth", json_object_get(early, "tor_auth"));
    expect(f, "org.replica.add", mixed, "{\"args\":[],\"code\":\"org.ready_proof\"}");
    mixed = org_add_body(&f->o, &key, 60);
    json_object_del(json_object_get(mixed, "ready"), "slot");
    expect(f, "org.replica.add", mixed,
           "{\"args\":[\"slot\",\"missing\"],\"code\":\"body.invalid\"}");

    /* Slot 0 is good in block 128, and in no later one. */
    f->time = org_fill(&f->o, f->time, 127) + 1;
    json_t *first = json_deep_copy(early);
    struct mb_checked *c;
    struct mb_error error;
    char *text = mb_json_text(first);
    c = org_command(&f->o, &f->o.founders[0], "org.replica.add", text, f->time + 60);
    assert_int_equal(mb_ledger_try(f->o.ledger, c, f->time, &error), 0);
    mb_checked_free(c);
    free(text);
    json_decref(first);
    f->time = org_fill(&f->o, f->time, 128) + 1;
    expect(f, "org.replica.add", early, "{\"args\":[0],\"code\":\"org.ready_header\"}");
    stop(f);
}

static void numbers_and_keys_are_never_used_again(void **state)
{
    struct fixture *f = start(1, 1);
    struct mb_secret_key keys[10];
    (void)state;
    for (uint8_t i = 0; i < 10; i++)
        keys[i] = org_key((uint8_t)(40 + i));
    for (uint8_t i = 2; i <= 9; i++)
        add(f, &keys[i - 2], (uint8_t)(60 + 2 * i));
    expect_config(f, slot_of(f) + 1, 9, "1 2 3 4 5 6 7 8 9 ");
    expect(f, "org.replica.add", org_add_body(&f->o, &keys[8], 80),
           "{\"args\":[9],\"code\":\"org.replica_full\"}");
    remove_replica(f, 9);
    remove_replica(f, 3);
    expect_config(f, slot_of(f) + 1, 11, "1 2 4 5 6 7 8 ");
    char *fingerprint = org_fingerprint(&keys[7]); /* number 9's */
    char *outcome = error_text("org.replica_known", fingerprint);
    expect(f, "org.replica.add", org_add_body(&f->o, &keys[7], 82), outcome);
    add(f, &keys[8], 84);
    expect_config(f, slot_of(f) + 1, 12, "1 2 4 5 6 7 8 10 ");
    expect(f, "org.replica.remove", number_body(9),
           "{\"args\":[9],\"code\":\"org.replica_unknown\"}");
    expect(f, "org.replica.add", org_add_body(&f->o, &keys[7], 82), outcome);
    free(fingerprint);
    free(outcome);

    /* What was is found again: by slot, by version, and after the ledger was opened anew. */
    mb_ledger_free(f->o.ledger);
    assert_int_equal(
        mb_ledger_open(&f->o.ledger, mb_memory_backend(f->memory), toy_modules, 1, &f->o.error), 0);
    struct mb_membership m, by_slot;
    for (uint64_t version = 1; version <= 12; version++) {
        json_t *config = mb_ledger_config(f->o.ledger, version);
        assert_int_equal(mb_membership_read(&m, config, &f->o.error), 0);
        assert_int_equal(m.version, version);
        assert_int_equal(mb_ledger_config_at(f->o.ledger, m.from, &by_slot), 1);
        assert_int_equal(by_slot.version, version);
        if (version > 1) {
            assert_int_equal(mb_ledger_config_at(f->o.ledger, m.from - 1, &by_slot), 1);
            assert_int_equal(by_slot.version, version - 1);
        }
        json_decref(config);
    }
    stop(f);
}

static void a_key_that_waits_to_be_a_replica_s_is_taken(void **state)
{
    struct fixture *f = start(1, 1);
    struct mb_secret_key key = org_key(40);
    char text[MB_PUBLIC_TEXT_SIZE], *fingerprint = org_fingerprint(&key);
    (void)state;
    json_t *body = org_add_body(&f->o, &key, 60);
    char *came = outcome_of(f, &f->o.founders[0], "org.replica.add", body);
    json_decref(body);
    free(came);
    /* It cannot be replaced, and nobody's key can become it. */
    char *outcome = error_text("org.key_replica", fingerprint);
    mb_public_key_text(&f->o.other.public_key, text);
    expect_by(f, &key, "org.key.replace", json_pack("{s:s, s:s}", "new", text, "proof", ""),
              outcome);
    free(outcome);
    outcome = error_text("org.key_used", fingerprint);
    mb_public_key_text(&key.public_key, text);
    expect_by(f, &f->o.other, "org.key.replace", json_pack("{s:s, s:s}", "new", text, "proof", ""),
              outcome);
    f->time = org_fill(&f->o, f->time, 64) + 1;
    f->o.replica = key;
    remove_replica(f, 1);
    f->o.replica = key;
    expect_by(f, &f->o.other, "org.key.replace", json_pack("{s:s, s:s}", "new", text, "proof", ""),
              outcome);
    free(outcome);
    free(fingerprint);
    stop(f);
}

static void founders_agree_to_a_change(void **state)
{
    struct fixture *f = start(3, 2);
    struct mb_secret_key key = org_key(40);
    (void)state;
    json_t *json = org_add_body(&f->o, &key, 60);
    char *body = mb_json_text(json);
    json_decref(json);
    struct mb_checked *c =
        org_command(&f->o, &f->o.founders[0], "org.replica.add", body, f->time + 60);
    char id[MB_HASH_HEX_SIZE];
    mb_hash_hex(&c->id, id);
    struct mb_outcome *outcome = org_block(&f->o, f->time++, &c, 1);
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[0]), "{\"pending\":1}"));
    mb_outcome_free(outcome);
    assert_null(state_of(f, "core/config/next"));
    expect_by(f, &f->o.founders[2], "org.approve", json_pack("{s:s}", "id", id), "{\"pending\":0}");
    json_t *next = state_of(f, "core/config/next");
    assert_int_equal(mb_json_get_int(next, "from", 0), 66);
    json_decref(next);
    free(body);
    stop(f);
}

/* --- Evidence. --- */

static json_t *attest_body(const struct mb_header *h, const struct mb_secret_key *key,
                           const char *name_space)
{
    struct mb_diverged d = {.key = key->public_key};
    uint8_t bytes[MB_HEADER_MAX];
    mb_buf_add(&d.header, bytes, mb_header_encode(h, bytes));
    mb_sshsig_sign(key, name_space, mb_buf_bytes(&d.header), &d.signature);
    json_t *body = mb_attest_body(&d);
    mb_buf_clear(&d.header);
    mb_buf_clear(&d.signature);
    return body;
}

static void a_false_header_is_kept_as_evidence(void **state)
{
    struct fixture *f = start(1, 1);
    struct mb_secret_key second = org_key(40), third = org_key(41);
    const char *space = MB_NAMESPACE_CHECKPOINT;
    (void)state;
    add(f, &second, 60);
    add(f, &third, 62);
    f->time = org_fill(&f->o, f->time, 140) + 1;
    struct mb_header own = mb_ledger_tip(f->o.ledger)->header, lie = own;
    lie.state_root.b[0] ^= 1;
    struct mb_header foreign = lie, old = lie, future = lie;
    foreign.org.b[0] ^= 1;
    old.slot = 5;
    future.slot = 145;
    const struct {
        const struct mb_header *header;
        const struct mb_secret_key *signer;
        const char *space, *outcome;
    } cases[] = {
        {&own, &second, space, "{\"args\":[140],\"code\":\"org.attest_same\"}"},
        {&foreign, &second, space, "{\"args\":[],\"code\":\"org.attest_header\"}"},
        {&old, &second, space, "{\"args\":[5],\"code\":\"org.attest_slot\"}"},
        {&future, &second, space, "{\"args\":[145],\"code\":\"org.attest_slot\"}"},
        {&lie, &f->o.other, space, "{\"args\":[140],\"code\":\"org.attest_proof\"}"},
        {&lie, &second, "magicbiz-block", "{\"args\":[140],\"code\":\"org.attest_proof\"}"},
        {&lie, &second, space, "{}"},
        {&lie, &second, space, "{\"args\":[2],\"code\":\"org.attested\"}"},
        {&lie, &third, space, "{}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_by(f, &f->o.replica, "org.attest",
                  attest_body(cases[i].header, cases[i].signer, cases[i].space), cases[i].outcome);
    json_t *body = attest_body(&lie, &second, space);
    json_object_set_new(body, "header", json_string("00"));
    expect_by(f, &f->o.replica, "org.attest", body, "{\"args\":[],\"code\":\"org.attest_header\"}");
    expect(f, "org.attest", attest_body(&lie, &second, space),
           "{\"args\":[\"org.attest\",\"replica\"],\"code\":\"command.access\"}");

    char *fingerprint = org_fingerprint(&second);
    char *key = mb_asprintf("org/attest/%s", fingerprint), hash[MB_HASH_HEX_SIZE];
    json_t *kept = state_of(f, key);
    struct mb_hash ours = mb_header_hash(&own);
    mb_hash_hex(&ours, hash);
    assert_int_equal(mb_json_get_int(kept, "number", 0), 2);
    assert_int_equal(mb_json_get_int(kept, "slot", 0), 140);
    assert_string_equal(mb_json_get_text(kept, "hash", ""), hash);
    json_decref(kept);
    free(key);
    free(fingerprint);
    stop(f);
}

/* A replica signs for the slots that it is in force for: not before, and not after it was removed.
 */
static void evidence_is_by_a_replica_of_the_slot(void **state)
{
    struct fixture *f = start(1, 1);
    struct mb_secret_key second = org_key(40);
    (void)state;
    add(f, &second, 60);
    uint64_t last_alone = slot_of(f);
    struct mb_header lie = mb_ledger_tip(f->o.ledger)->header;
    lie.state_root.b[0] ^= 1;
    expect_by(f, &f->o.replica, "org.attest", attest_body(&lie, &second, MB_NAMESPACE_CHECKPOINT),
              "{\"args\":[64],\"code\":\"org.attest_proof\"}");
    assert_int_equal(last_alone, 64);
    remove_replica(f, 2);
    lie = mb_ledger_tip(f->o.ledger)->header;
    lie.state_root.b[0] ^= 1;
    f->time = org_fill(&f->o, f->time, slot_of(f) + 20) + 1;
    expect_by(f, &f->o.replica, "org.attest", attest_body(&lie, &second, MB_NAMESPACE_CHECKPOINT),
              "{}");
    stop(f);
}

/* --- The onion. --- */

static void sign_onion(json_t *body, struct fixture *f, const struct mb_secret_key *key)
{
    struct mb_buf text = {0}, signature = {0}, base64 = {0};
    mb_onion_text(&text, mb_ledger_org(f->o.ledger), mb_json_get_text(body, "current", ""),
                  mb_json_get_text(body, "revoked", ""));
    mb_sshsig_sign(key, MB_NAMESPACE_ONION, mb_buf_bytes(&text), &signature);
    mb_base64_encode(&base64, signature.data, signature.len);
    char *fingerprint = org_fingerprint(key);
    json_array_append_new(
        json_object_get(body, "signatures"),
        json_pack("{s:s, s:s}", "key", fingerprint, "signature", mb_buf_text(&base64)));
    free(fingerprint);
    mb_buf_clear(&text);
    mb_buf_clear(&signature);
    mb_buf_clear(&base64);
}

static json_t *onion_body(uint8_t current, uint8_t revoked)
{
    return json_pack("{s:o, s:o, s:[]}", "current", onion_json(current), "revoked",
                     onion_json(revoked), "signatures");
}

static void the_onion_changes_by_a_majority(void **state)
{
    struct fixture *f = start(1, 1);
    struct mb_secret_key second = org_key(40), third = org_key(41);
    const struct mb_secret_key *one = &f->o.replica, *two = &second, *three = &third,
                               *none = &f->o.other;
    const struct {
        uint8_t current, revoked;
        const struct mb_secret_key *by[3];
        const char *outcome; /* "" : org.onion_known with current, "old": org.onion_old */
    } cases[] = {
        {32, 32, {one, two, three}, "known"}, /* the present one */
        {31, 32, {one, two, three}, "known"}, /* a replica's */
        {61, 32, {one, two, three}, "known"}, /* one of its peers' */
        {90, 91, {one, two, three}, "old"},
        {90, 32, {one, NULL, NULL}, "{\"args\":[1,2],\"code\":\"org.onion_proof\"}"},
        {90, 32, {two, two, two}, "{\"args\":[1,2],\"code\":\"org.onion_proof\"}"},
        {90, 32, {two, none, none}, "{\"args\":[1,2],\"code\":\"org.onion_proof\"}"},
        {90, 32, {two, none, three}, "{}"},
        {32, 90, {one, two, three}, "known"}, /* a revoked one */
        {92, 32, {one, two, three}, "old"},
        {92, 90, {one, two, three}, "{}"},
    };
    (void)state;
    add(f, &second, 60);
    add(f, &third, 62);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *body = onion_body(cases[i].current, cases[i].revoked);
        for (size_t k = 0; k < 3 && cases[i].by[k]; k++)
            sign_onion(body, f, cases[i].by[k]);
        bool known = strcmp(cases[i].outcome, "known") == 0;
        bool old = strcmp(cases[i].outcome, "old") == 0;
        char *text = error_text(known ? "org.onion_known" : "org.onion_old",
                                mb_json_get_text(body, known ? "current" : "revoked", ""));
        expect_by(f, one, "org.onion.rotate", body, known || old ? text : cases[i].outcome);
        free(text);
    }
    json_t *onion = state_of(f, "org/onion"), *want = onion_json(92), *before = onion_json(90);
    assert_true(json_equal(json_object_get(onion, "current"), want));
    assert_int_equal(json_array_size(json_object_get(onion, "revoked")), 2);
    assert_true(json_equal(json_array_get(json_object_get(onion, "revoked"), 1), before));

    /* A signature made for another address; one under another's name. */
    json_t *body = onion_body(94, 92), *other = onion_body(93, 92);
    sign_onion(body, f, one);
    sign_onion(other, f, two);
    json_t *stolen = json_array_get(json_object_get(body, "signatures"), 0);
    json_array_append(json_object_get(body, "signatures"),
                      json_array_get(json_object_get(other, "signatures"), 0));
    json_t *renamed = json_deep_copy(stolen);
    char *fingerprint = org_fingerprint(three);
    json_object_set_new(renamed, "key", json_string(fingerprint));
    json_array_append_new(json_object_get(body, "signatures"), renamed);
    expect_by(f, one, "org.onion.rotate", body, "{\"args\":[1,2],\"code\":\"org.onion_proof\"}");
    body = onion_body(94, 92);
    json_object_set_new(body, "current", json_string("no.onion"));
    sign_onion(body, f, one);
    expect_by(f, one, "org.onion.rotate", body,
              "{\"args\":[\"no.onion\"],\"code\":\"org.onion_invalid\"}");
    expect(f, "org.onion.rotate", json_incref(other),
           "{\"args\":[\"org.onion.rotate\",\"replica\"],\"code\":\"command.access\"}");
    json_decref(other);
    json_decref(onion);
    json_decref(want);
    json_decref(before);
    free(fingerprint);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_waits_for_its_window),
        cmocka_unit_test(join_is_refused_for_what_is_wrong),
        cmocka_unit_test(ready_names_a_header_of_the_newest_128),
        cmocka_unit_test(numbers_and_keys_are_never_used_again),
        cmocka_unit_test(a_key_that_waits_to_be_a_replica_s_is_taken),
        cmocka_unit_test(founders_agree_to_a_change),
        cmocka_unit_test(a_false_header_is_kept_as_evidence),
        cmocka_unit_test(evidence_is_by_a_replica_of_the_slot),
        cmocka_unit_test(the_onion_changes_by_a_majority),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
