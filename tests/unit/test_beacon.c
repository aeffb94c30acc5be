/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Randomness of an epoch: committed to before it, revealed in it, closed after it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/org.h"
#include "base/encode.h"

#define EPOCH 3600

/* --- An organisation of up to nine replicas, and a module that looks at the beacon. --- */

static int seen_epoch(struct mb_tx *tx, const struct mb_context *ctx, int64_t n, json_t **commands,
                      struct mb_error *error)
{
    char *key = mb_asprintf("org/beacon/%lld", (long long)(n - 1));
    json_t *beacon = mb_tx_get(tx, key);
    (void)ctx;
    (void)commands;
    (void)error;
    if (beacon)
        mb_tx_put(tx, "toy/seen", json_object_get(beacon, "value"));
    json_decref(beacon);
    free(key);
    return 0;
}

struct fixture {
    struct org o;
    struct mb_memory *memory;
    int64_t time;
    struct mb_logic logic;
    const struct mb_logic *logics[1];
};

/* Replica 1 is the organisation's own. */
static struct mb_secret_key replica_key(const struct fixture *f, int number)
{
    return number == 1 ? f->o.replica : org_key((uint8_t)(100 + number));
}

static json_t *replica_json(const struct fixture *f, int number, const json_t *like)
{
    struct mb_secret_key key = replica_key(f, number);
    char text[MB_PUBLIC_TEXT_SIZE];
    json_t *json = json_deep_copy(like);
    mb_public_key_text(&key.public_key, text);
    json_object_set_new(json, "number", json_integer(number));
    json_object_set_new(json, "public_key", json_string(text));
    for (int i = 0; i < 2; i++) {
        char onion[MB_ONION_SIZE];
        struct mb_secret_key k = org_key((uint8_t)(120 + 2 * number + i));
        mb_onion_encode(onion, k.public_key.b);
        json_object_set_new(json, i == 0 ? "onion" : "peer_onion", json_string(onion));
    }
    return json;
}

static struct fixture *start(int replicas)
{
    struct fixture *f = mb_calloc(1, sizeof *f);
    f->memory = mb_memory_new();
    f->time = ORG_CREATED;
    f->logic = toy_logic;
    f->logic.on_epoch = seen_epoch;
    f->logics[0] = &f->logic;
    json_t *json = org_genesis_json(&f->o, 1, 1);
    json_t *list = json_object_get(json, "replicas");
    for (int number = 2; number <= replicas; number++)
        json_array_append_new(list, replica_json(f, number, json_array_get(list, 0)));
    assert_int_equal(mb_json_canonical(&f->o.genesis, json, NULL), 0);
    json_decref(json);
    assert_int_equal(mb_ledger_found(&f->o.ledger, mb_memory_backend(f->memory), f->logics, 1,
                                     mb_buf_bytes(&f->o.genesis), NULL),
                     0);
    return f;
}

static void stop(struct fixture *f)
{
    org_clear(&f->o);
    mb_memory_free(f->memory);
    free(f);
}

/* What the command came to: "" or its error, canonical {"args","code"}. The door says the same. */
static void expect(struct fixture *f, const struct mb_secret_key *key, const char *type,
                   const char *body, const char *wanted)
{
    struct mb_error error = {0};
    struct mb_checked *c = org_command(&f->o, key, type, body, f->time + 60);
    int door = mb_ledger_try(f->o.ledger, c, f->time, &error);
    char *text = org_do(&f->o, f->time++, key, type, body);
    json_t *json = json_loads(text, 0, NULL);
    const json_t *refusal = json_object_get(json, "error");
    char *came = refusal ? mb_json_text(refusal) : mb_strdup("");
    assert_string_equal(came, wanted);
    assert_int_equal(door != 0, *wanted != 0);
    /* There is a text for people, with nothing left open. */
    assert_true(door == 0 || (strchr(error.text, ' ') && !strchr(error.text, '{')));
    mb_checked_free(c);
    json_decref(json);
    free(came);
    free(text);
}

static void expect_state(struct fixture *f, const char *key, const char *wanted)
{
    char *text = org_state(&f->o, key);
    assert_string_equal(text ? text : "(none)", wanted);
    free(text);
}

/* The value of a replica in an epoch, and what it commits to. */
static void value_of(int number, int epoch, uint8_t value[32], char *hex, char *commitment)
{
    memset(value, number, 32);
    value[31] = (uint8_t)epoch;
    struct mb_hash h;
    memcpy(h.b, value, sizeof h.b);
    mb_hash_hex(&h, hex);
    h = mb_sha256(value, 32);
    mb_hash_hex(&h, commitment);
}

static void commit(struct fixture *f, int number, int epoch, const char *wanted)
{
    struct mb_secret_key key = replica_key(f, number);
    char hex[MB_HASH_HEX_SIZE], hash[MB_HASH_HEX_SIZE];
    uint8_t value[32];
    value_of(number, epoch, value, hex, hash);
    char *body = mb_asprintf("{\"epoch\":%d,\"hash\":\"%s\"}", epoch, hash);
    expect(f, &key, "org.beacon.commit", body, wanted);
    free(body);
}

/* Reveal the value that `owner` has in epoch. */
static void reveal_of(struct fixture *f, int number, int owner, int epoch, const char *wanted)
{
    struct mb_secret_key key = replica_key(f, number);
    char hex[MB_HASH_HEX_SIZE], hash[MB_HASH_HEX_SIZE];
    uint8_t value[32];
    value_of(owner, epoch, value, hex, hash);
    char *body = mb_asprintf("{\"epoch\":%d,\"value\":\"%s\"}", epoch, hex);
    expect(f, &key, "org.beacon.reveal", body, wanted);
    free(body);
}

static void reveal(struct fixture *f, int number, int epoch, const char *wanted)
{
    reveal_of(f, number, number, epoch, wanted);
}

/* Epoch n begins. */
static void begin(struct fixture *f, int n)
{
    f->time = ORG_CREATED + (int64_t)n * EPOCH;
    mb_outcome_free(org_block(&f->o, f->time++, NULL, 0));
}

/* The value as the manual has it, of reveals by these replicas (ended by 0). */
static char *recompute(struct fixture *f, int epoch, const int *numbers)
{
    uint8_t bytes[4 + 32 + 8 + 9 * 40] = "MBR1";
    size_t len = 4 + 32 + 8;
    char hex[MB_HASH_HEX_SIZE], commitment[MB_HASH_HEX_SIZE];
    assert_int_equal(mb_hex_decode(bytes + 4, 32, mb_ledger_org(f->o.ledger), 64), 0);
    bytes[43] = (uint8_t)epoch;
    for (; *numbers != 0; numbers++) {
        bytes[len + 7] = (uint8_t)*numbers;
        value_of(*numbers, epoch, bytes + len + 8, hex, commitment);
        len += 40;
    }
    struct mb_hash h = mb_sha256(bytes, len);
    mb_hash_hex(&h, hex);
    return mb_strdup(hex);
}

static void expect_closed(struct fixture *f, int epoch, const char *missing, const int *revealed)
{
    char *key = mb_asprintf("org/beacon/%d", epoch);
    char *value = *revealed != 0 ? recompute(f, epoch, revealed) : mb_strdup("");
    char *text = mb_asprintf("{\"missing\":%s,\"value\":\"%s\"}", missing, value);
    expect_state(f, key, text);
    free(text);
    free(value);
    free(key);
}

/* --- Tests. --- */

static void committed_then_revealed_then_closed(void **state)
{
    struct fixture *f = start(3);
    char hex[3][MB_HASH_HEX_SIZE], hash[3][MB_HASH_HEX_SIZE];
    uint8_t value[32];
    (void)state;
    for (int i = 0; i < 3; i++)
        value_of(i + 1, 1, value, hex[i], hash[i]);
    commit(f, 2, 1, "");
    commit(f, 1, 1, "");
    commit(f, 3, 1, "");
    char *commits =
        mb_asprintf("{\"commits\":{\"1\":\"%s\",\"2\":\"%s\",\"3\":\"%s\"},\"reveals\":", hash[0],
                    hash[1], hash[2]);
    char *text = mb_asprintf("%s{}}", commits);
    expect_state(f, "org/beacon/1", text);
    free(text);
    begin(f, 1);
    reveal(f, 3, 1, "");
    reveal(f, 1, 1, "");
    text = mb_asprintf("%s{\"1\":\"%s\",\"3\":\"%s\"}}", commits, hex[0], hex[2]);
    expect_state(f, "org/beacon/1", text);
    free(text);
    free(commits);
    expect_state(f, "toy/seen", "(none)");
    begin(f, 2);
    expect_closed(f, 1, "[2]", (const int[]){1, 3, 0});
    /* Modules have it when the next epoch begins. */
    char *drawn = recompute(f, 1, (const int[]){1, 3, 0});
    text = mb_asprintf("\"%s\"", drawn);
    expect_state(f, "toy/seen", text);
    free(text);
    free(drawn);
    reveal(f, 2, 1, "{\"args\":[1,2],\"code\":\"org.beacon_epoch\"}");
    stop(f);
}

static void at_its_time_and_once(void **state)
{
    struct fixture *f = start(2);
    (void)state;
    commit(f, 1, 0, "{\"args\":[0,1],\"code\":\"org.beacon_epoch\"}");
    commit(f, 1, 2, "{\"args\":[2,1],\"code\":\"org.beacon_epoch\"}");
    reveal(f, 1, 0, "{\"args\":[0,1],\"code\":\"org.beacon_commit\"}");
    commit(f, 1, 1, "");
    commit(f, 1, 1, "{\"args\":[1,1],\"code\":\"org.beacon_twice\"}");
    reveal(f, 1, 1, "{\"args\":[1,0],\"code\":\"org.beacon_epoch\"}");
    begin(f, 1);
    commit(f, 2, 1, "{\"args\":[1,2],\"code\":\"org.beacon_epoch\"}");
    reveal(f, 2, 1, "{\"args\":[1,2],\"code\":\"org.beacon_commit\"}");
    reveal_of(f, 1, 2, 1, "{\"args\":[1,1],\"code\":\"org.beacon_value\"}");
    reveal(f, 1, 1, "");
    reveal(f, 1, 1, "{\"args\":[1,1],\"code\":\"org.beacon_twice\"}");
    begin(f, 2);
    expect_closed(f, 1, "[]", (const int[]){1, 0});
    stop(f);
}

static void by_replicas_in_the_right_form(void **state)
{
#define HASH "00000000000000000000000000000000000000000000000000000000000000ab"
    static const struct {
        const char *type, *body, *outcome;
    } cases[] = {
        {"commit", "{\"epoch\":1,\"hash\":\"ab\"}",
         "{\"args\":[\"hash\",\"size\"],\"code\":\"body.invalid\"}"},
        {"commit", "{\"epoch\":-1,\"hash\":\"" HASH "\"}",
         "{\"args\":[\"epoch\",\"size\"],\"code\":\"body.invalid\"}"},
        {"commit", "{\"hash\":\"" HASH "\"}",
         "{\"args\":[\"epoch\",\"missing\"],\"code\":\"body.invalid\"}"},
        {"commit",
         "{\"epoch\":1,"
         "\"hash\":\"00000000000000000000000000000000000000000000000000000000000000AB\"}",
         "{\"args\":[1,1],\"code\":\"org.beacon_value\"}"},
        {"commit", "{\"epoch\":1,\"hash\":\"" HASH "\"}", ""},
        {"reveal", "{\"epoch\":0,\"value\":7}",
         "{\"args\":[\"value\",\"kind\"],\"code\":\"body.invalid\"}"},
        {"reveal", "{\"epoch\":9223372036854775807,\"value\":\"" HASH "\"}",
         "{\"args\":[9223372036854775807,0],\"code\":\"org.beacon_epoch\"}"},
    };
    struct fixture *f = start(1);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *type = mb_asprintf("org.beacon.%s", cases[i].type);
        char *denied =
            mb_asprintf("{\"args\":[\"%s\",\"replica\"],\"code\":\"command.access\"}", type);
        expect(f, &f->o.founders[0], type, cases[i].body, denied);
        expect(f, &f->o.other, type, cases[i].body, denied);
        expect(f, &f->o.replica, type, cases[i].body, cases[i].outcome);
        free(denied);
        free(type);
    }
    begin(f, 1);
    expect(f, &f->o.replica, "org.beacon.reveal",
           "{\"epoch\":1,"
           "\"value\":\"zz000000000000000000000000000000000000000000000000000000000000ab\"}",
           "{\"args\":[1,1],\"code\":\"org.beacon_value\"}");
    stop(f);
}

/* Neither the organisation nor a rule of it can commit in a replica's place. */
static void nobody_else_may(void **state)
{
    struct fixture *f = start(1);
    char *body = mb_asprintf("{\"at\":%lld,\"body\":{\"epoch\":1,\"hash\":\"" HASH
                             "\"},\"type\":\"org.beacon.commit\"}",
                             (long long)f->time);
    (void)state;
    expect(f, &f->o.other, "toy.due", body, "");
    struct mb_outcome *outcome = org_block(&f->o, f->time++, NULL, 0);
    assert_int_equal(outcome->block.result_count, 1);
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[0]),
                           "{\"args\":[\"org.beacon.commit\",\"replica\"],\"code\":\"command."
                           "access\"}"));
    mb_outcome_free(outcome);
    expect_state(f, "org/beacon/1", "(none)");
    free(body);
    stop(f);
}

static void without_reveals_there_is_no_value(void **state)
{
    struct fixture *f = start(2);
    (void)state;
    begin(f, 1);
    begin(f, 2);
    expect_state(f, "org/beacon/1", "(none)"); /* nobody committed: no beacon */
    commit(f, 2, 3, "");
    begin(f, 3);
    begin(f, 4);
    expect_closed(f, 3, "[2]", (const int[]){0});
    expect_state(f, "toy/seen", "\"\"");
    stop(f);
}

static void several_epochs_pass_in_one_block(void **state)
{
    struct fixture *f = start(2);
    (void)state;
    commit(f, 1, 1, "");
    begin(f, 1);
    reveal(f, 1, 1, "");
    commit(f, 1, 2, "");
    commit(f, 2, 2, "");
    begin(f, 9);
    expect_closed(f, 1, "[]", (const int[]){1, 0});
    expect_closed(f, 2, "[1,2]", (const int[]){0});
    expect_state(f, "org/beacon/3", "(none)");
    commit(f, 1, 10, "");
    /* More than a block takes: 16. */
    begin(f, 40);
    expect_closed(f, 10, "[1]", (const int[]){0});
    expect_state(f, "core/epoch", "25");
    begin(f, 40);
    expect_state(f, "core/epoch", "40");
    stop(f);
}

/* Numbers are ordered as numbers, and a replica that left in between is missing. */
static void nine_comes_before_ten(void **state)
{
    struct fixture *f = start(9);
    struct mb_secret_key tenth = replica_key(f, 10);
    (void)state;
    expect(f, &f->o.founders[0], "org.replica.remove", "{\"number\":4}", "");
    f->time = org_fill(&f->o, f->time, 65) + 1;
    json_t *json = org_add_body(&f->o, &tenth, 60);
    char *body = mb_json_text(json);
    expect(f, &f->o.founders[0], "org.replica.add", body, "");
    json_decref(json);
    free(body);
    commit(f, 10, 1, "{\"args\":[\"org.beacon.commit\",\"replica\"],\"code\":\"command.access\"}");
    f->time = org_fill(&f->o, f->time, 66 + MB_WINDOW) + 1;
    commit(f, 10, 1, "");
    commit(f, 9, 1, "");
    commit(f, 2, 1, "");
    commit(f, 3, 1, "");
    commit(f, 4, 1, "{\"args\":[\"org.beacon.commit\",\"replica\"],\"code\":\"command.access\"}");
    expect(f, &f->o.founders[0], "org.replica.remove", "{\"number\":3}", "");
    f->time = org_fill(&f->o, f->time, 72 + 2 * MB_WINDOW) + 1;
    begin(f, 1);
    reveal(f, 3, 1, "{\"args\":[\"org.beacon.reveal\",\"replica\"],\"code\":\"command.access\"}");
    reveal(f, 10, 1, "");
    reveal(f, 2, 1, "");
    reveal(f, 9, 1, "");
    begin(f, 2);
    expect_closed(f, 1, "[3]", (const int[]){2, 9, 10, 0});
    stop(f);
}

static void old_ones_go(void **state)
{
    struct fixture *f = start(1);
    (void)state;
    commit(f, 1, 1, "");
    begin(f, 1);
    commit(f, 1, 2, "");
    for (int n = 2; n <= 1025; n++)
        begin(f, n);
    expect_closed(f, 1, "[1]", (const int[]){0});
    begin(f, 1026);
    expect_state(f, "org/beacon/1", "(none)");
    expect_closed(f, 2, "[1]", (const int[]){0});
    begin(f, 1027);
    expect_state(f, "org/beacon/2", "(none)");
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(committed_then_revealed_then_closed),
        cmocka_unit_test(at_its_time_and_once),
        cmocka_unit_test(by_replicas_in_the_right_form),
        cmocka_unit_test(nobody_else_may),
        cmocka_unit_test(without_reveals_there_is_no_value),
        cmocka_unit_test(several_epochs_pass_in_one_block),
        cmocka_unit_test(nine_comes_before_ten),
        cmocka_unit_test(old_ones_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
