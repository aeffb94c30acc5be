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

#define T0 ORG_CREATED

/* --- An independent recomputation of the roots of a header. --- */

struct leaf {
    struct mb_hash key, value;
};

static struct mb_hash hash3(uint8_t prefix, const struct mb_hash *a, const struct mb_hash *b)
{
    uint8_t bytes[65] = {prefix};
    memcpy(bytes + 1, a->b, 32);
    memcpy(bytes + 33, b->b, 32);
    return mb_sha256(bytes, sizeof bytes);
}

/* node(S, d), as the specification has it. */
static struct mb_hash node(const struct leaf *s, size_t count, unsigned depth)
{
    if (count == 0)
        return mb_hash_zero;
    if (count == 1)
        return hash3(0, &s[0].key, &s[0].value);
    struct leaf *half[2] = {mb_calloc(count, sizeof *s), mb_calloc(count, sizeof *s)};
    size_t n[2] = {0, 0};
    for (size_t i = 0; i < count; i++) {
        int bit = s[i].key.b[depth / 8] >> (7 - depth % 8) & 1;
        half[bit][n[bit]++] = s[i];
    }
    struct mb_hash left = node(half[0], n[0], depth + 1), right = node(half[1], n[1], depth + 1);
    free(half[0]);
    free(half[1]);
    return hash3(1, &left, &right);
}

static struct mb_hash state_root(struct mb_backend backend)
{
    struct leaf *keys = NULL, modules[16];
    size_t count = 0, module_count = 0;
    char module[64] = "";
    struct mb_buf key = {0}, value = {0}, from = {0};
    for (bool more = true; more;) {
        mb_buf_reset(&key);
        mb_buf_reset(&value);
        more = backend.ops->seek(backend.self, "", mb_buf_text(&from), &key, &value) == 1;
        size_t len = strcspn(mb_buf_text(&key), "/");
        if (count > 0 && (!more || strlen(module) != len || memcmp(module, key.data, len) != 0)) {
            modules[module_count].key = mb_sha256(module, strlen(module));
            modules[module_count++].value = node(keys, count, 0);
            count = 0;
        }
        if (!more)
            break;
        mb_snprintf(module, sizeof module, "%.*s", (int)len, mb_buf_text(&key));
        keys = mb_realloc(keys, (count + 1) * sizeof *keys);
        keys[count].key = mb_sha256(key.data, key.len);
        keys[count++].value = mb_sha256(value.data, value.len);
        mb_buf_reset(&from);
        mb_buf_add_bytes(&from, mb_buf_bytes(&key));
        mb_buf_add_u8(&from, 1);
    }
    free(keys);
    mb_buf_clear(&key);
    mb_buf_clear(&value);
    mb_buf_clear(&from);
    return node(modules, module_count, 0);
}

/* MTH of RFC 6962, section 2.1, word by word. */
static struct mb_hash mth(const struct mb_buf *d, size_t n)
{
    if (n == 0)
        return mb_sha256("", 0);
    if (n == 1) {
        struct mb_buf b = {0};
        mb_buf_add_u8(&b, 0);
        mb_buf_add_bytes(&b, mb_buf_bytes(&d[0]));
        struct mb_hash h = mb_sha256(b.data, b.len);
        mb_buf_clear(&b);
        return h;
    }
    size_t k = 1;
    while (k * 2 < n)
        k *= 2;
    struct mb_hash left = mth(d, k), right = mth(d + k, n - k);
    return hash3(1, &left, &right);
}

/* --- An organisation whose every header is checked. --- */

#define HEADERS_MAX 64
struct watched {
    struct org o;
    struct mb_memory *memory;
    struct mb_backend backend;
    struct mb_buf headers[HEADERS_MAX];
};

static void check_header(struct watched *w, const struct mb_outcome *outcome)
{
    uint8_t bytes[MB_HEADER_MAX];
    const struct mb_header *h = &mb_ledger_tip(w->o.ledger)->header;
    struct mb_hash state = state_root(w->backend);
    assert_true(mb_hash_equal(&state, &h->state_root));
    if (outcome) {
        struct mb_hash results = mth(outcome->block.results, outcome->block.result_count);
        struct mb_hash history = mth(w->headers, h->slot);
        char *config = org_state(&w->o, "core/config");
        struct mb_hash config_hash = mb_sha256(config, strlen(config));
        assert_true(mb_hash_equal(&results, &h->results_root));
        assert_true(mb_hash_equal(&history, &h->history_root));
        assert_true(mb_hash_equal(&config_hash, &h->config_hash));
        free(config);
    }
    assert_true(h->slot < HEADERS_MAX);
    mb_buf_add(&w->headers[h->slot], bytes, mb_header_encode(h, bytes));
    if (outcome)
        assert_true(mb_bytes_equal(mb_buf_bytes(&w->headers[h->slot]),
                                   mb_buf_bytes(&outcome->block.header)));
}

static int set_up(void **state)
{
    struct watched *w = mb_calloc(1, sizeof *w);
    w->memory = mb_memory_new();
    w->backend = mb_memory_backend(w->memory);
    org_found(&w->o, w->backend, 1, 1, "{}");
    check_header(w, NULL);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct watched *w = *state;
    for (size_t i = 0; i < HEADERS_MAX; i++)
        mb_buf_clear(&w->headers[i]);
    org_clear(&w->o);
    mb_memory_free(w->memory);
    free(w);
    return 0;
}

static struct mb_outcome *block(struct watched *w, int64_t time, struct mb_checked **c, size_t n)
{
    struct mb_outcome *outcome = org_block(&w->o, time, c, n);
    assert_non_null(outcome);
    check_header(w, outcome);
    return outcome;
}

static void empty_block(struct watched *w, int64_t time)
{
    mb_outcome_free(block(w, time, NULL, 0));
}

/* Send one command from a key without a role; its result begins after the id. */
static void expect(struct watched *w, int64_t time, const char *type, const char *body,
                   const char *result)
{
    char id[MB_HASH_HEX_SIZE];
    struct mb_checked *c = org_command(&w->o, &w->o.other, type, body, time + 3600);
    mb_hash_hex(&c->id, id);
    bool ok = strncmp(result, "{\"args\"", 7) != 0;
    char *expected = ok ? mb_asprintf("{\"id\":\"%s\",\"ok\":true,\"result\":%s}", id, result)
                        : mb_asprintf("{\"error\":%s,\"id\":\"%s\",\"ok\":false}", result, id);
    struct mb_outcome *outcome = block(w, time, &c, 1);
    uint32_t index = mb_outcome_index(outcome, 0);
    assert_string_equal(mb_buf_text(&outcome->block.results[index]), expected);
    free(expected);
    mb_outcome_free(outcome);
}

static void expect_state(struct watched *w, const char *key, const char *text)
{
    char *found = org_state(&w->o, key);
    if (text)
        assert_string_equal(found ? found : "(none)", text);
    else
        assert_null(found);
    free(found);
}

/* --- Verbs and results. --- */

static void put_and_delete(void **state)
{
    struct watched *w = *state;
    expect(w, T0 + 1, "toy.put", "{\"key\":\"a\",\"value\":[1,\"x\"]}", "{}");
    expect_state(w, "toy/a", "[1,\"x\"]");
    expect_state(w, "core/time", "1795226401");
    expect(w, T0 + 2, "toy.del", "{\"key\":\"a\"}", "{\"had\":1}");
    expect_state(w, "toy/a", NULL);
    expect(w, T0 + 3, "toy.del", "{\"key\":\"a\"}", "{\"args\":[\"a\"],\"code\":\"toy.absent\"}");
    expect(w, T0 + 3, "toy.nothing", "{}",
           "{\"args\":[\"toy.nothing\"],\"code\":\"command.type\"}");
    expect(w, T0 + 3, "cloud.x", "{}", "{\"args\":[\"cloud.x\"],\"code\":\"command.type\"}");
    expect(w, T0 + 3, "toy.put", "{\"key\":\"a\"}",
           "{\"args\":[\"value\",\"missing\"],\"code\":\"body.invalid\"}");
}

static void a_refusal_undoes_its_own_writes_only(void **state)
{
    struct watched *w = *state;
    struct mb_checked *c[4];
    expect(w, T0, "toy.put", "{\"key\":\"keep\",\"value\":1}", "{}");
    c[0] = org_command(&w->o, &w->o.other, "toy.put", "{\"key\":\"b\",\"value\":1}", T0 + 60);
    c[1] = org_command(&w->o, &w->o.other, "toy.del", "{\"key\":\"keep\"}", T0 + 60);
    c[2] = org_command(&w->o, &w->o.other, "toy.refuse", "{\"key\":\"b\",\"value\":2}", T0 + 60);
    c[3] = org_command(&w->o, &w->o.other, "toy.list", "{\"key\":\"\"}", T0 + 60);
    struct mb_outcome *outcome = block(w, T0 + 1, c, 4);
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[2]),
                           "{\"error\":{\"args\":[\"b\",2],\"code\":\"toy.refused\"}"));
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[3]), "[\"toy/b\",\"toy/org\"]"));
    assert_int_equal(outcome->applied.count, 4);
    assert_string_equal(outcome->applied.commands[2].type, "toy.refuse");
    assert_false(outcome->applied.commands[2].ok);
    assert_string_equal(mb_json_get_text(outcome->applied.commands[2].outcome, "code", ""),
                        "toy.refused");
    mb_outcome_free(outcome);
    expect_state(w, "toy/b", "1");
    expect_state(w, "toy/refused", NULL);
    expect_state(w, "toy/keep", NULL);
    assert_int_equal(mb_ledger_tip(w->o.ledger)->next_due, T0 + 3600);
}

static void limits_of_keys_and_values(void **state)
{
    struct watched *w = *state;
    struct mb_buf body = {0};
    expect(w, T0, "toy.raw", "{\"key\":\"org/name\"}", "{\"args\":[],\"code\":\"state.foreign\"}");
    expect(w, T0, "toy.raw", "{\"key\":\"toys/x\"}", "{\"args\":[],\"code\":\"state.foreign\"}");
    expect(w, T0, "toy.raw", "{\"key\":\"to/x\"}", "{\"args\":[],\"code\":\"state.foreign\"}");
    expect(w, T0, "toy.raw", "{\"key\":\"toy\"}", "{\"args\":[],\"code\":\"state.limit\"}");
    expect(w, T0, "toy.raw", "{\"key\":\"\"}", "{\"args\":[],\"code\":\"state.limit\"}");
    for (size_t len = MB_STATE_KEY_MAX - 4; len <= MB_STATE_KEY_MAX - 3; len++) {
        mb_buf_reset(&body);
        mb_buf_add_text(&body, "{\"value\":1,\"key\":\"");
        for (size_t i = 0; i < len; i++)
            mb_buf_add_u8(&body, 'k');
        mb_buf_add_text(&body, "\"}");
        expect(w, T0, "toy.put", mb_buf_text(&body),
               len + 4 <= MB_STATE_KEY_MAX ? "{}" : "{\"args\":[],\"code\":\"state.limit\"}");
    }
    expect(w, T0, "toy.big", "{\"bytes\":524286}", "{}");
    expect(w, T0, "toy.big", "{\"bytes\":524287}", "{\"args\":[],\"code\":\"state.limit\"}");
    expect(w, T0, "toy.bad", "{}", "{\"args\":[],\"code\":\"state.limit\"}");
    mb_buf_clear(&body);
}

static void a_scan_sees_all_layers(void **state)
{
    struct watched *w = *state;
    struct mb_checked *c[5];
    expect(w, T0, "toy.put", "{\"key\":\"b\",\"value\":1}", "{}");
    expect(w, T0, "toy.put", "{\"key\":\"d\",\"value\":1}", "{}");
    c[0] = org_command(&w->o, &w->o.other, "toy.put", "{\"key\":\"a\",\"value\":1}", T0 + 9);
    c[1] = org_command(&w->o, &w->o.other, "toy.put", "{\"key\":\"c\",\"value\":1}", T0 + 9);
    c[2] = org_command(&w->o, &w->o.other, "toy.del", "{\"key\":\"b\"}", T0 + 9);
    c[3] = org_command(&w->o, &w->o.other, "toy.list", "{\"key\":\"\"}", T0 + 9);
    c[4] = org_command(&w->o, &w->o.other, "toy.list", "{\"key\":\"c\"}", T0 + 9);
    struct mb_outcome *outcome = block(w, T0, c, 5);
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[3]),
                           "[\"toy/a\",\"toy/c\",\"toy/d\",\"toy/org\"]"));
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[4]), "[\"toy/d\",\"toy/org\"]"));
    mb_outcome_free(outcome);
}

/* --- Time, due commands, epochs. --- */

static void time_never_goes_back(void **state)
{
    struct watched *w = *state;
    empty_block(w, T0 + 50);
    empty_block(w, T0 + 20);
    assert_int_equal(mb_ledger_tip(w->o.ledger)->time, T0 + 50);
    assert_int_equal(mb_ledger_tip(w->o.ledger)->header.time, T0 + 50);
    empty_block(w, T0 - 1000);
    expect_state(w, "core/time", "1795226450");
}

static void headers_are_noted(void **state)
{
    struct watched *w = *state;
    char hex[MB_HASH_HEX_SIZE];
    mb_hash_hex(&mb_ledger_tip(w->o.ledger)->header_hash, hex);
    char *expected = mb_asprintf("{\"hash\":\"%s\",\"slot\":0}", hex);
    empty_block(w, T0);
    expect_state(w, "core/header/000", expected);
    expect_state(w, "core/header/001", NULL);
    free(expected);
}

static void due_commands_run_in_order(void **state)
{
    struct watched *w = *state;
    char body[256];
    const char *keys[] = {"core/due/00000000001795226410/toy/0000000000",
                          "core/due/00000000001795226410/toy/0000000001",
                          "core/due/00000000001795226405/toy/0000000000"};
    mb_snprintf(body, sizeof body,
                "{\"at\":%d,\"type\":\"toy.del\",\"body\":{\"key\":\"x\"},\"times\":2}", T0 + 10);
    expect(w, T0, "toy.due", body, "{}");
    mb_snprintf(body, sizeof body, "{\"at\":%d,\"type\":\"toy.who\",\"body\":{}}", T0 + 5);
    expect(w, T0, "toy.due", body, "{}");
    assert_int_equal(mb_ledger_tip(w->o.ledger)->next_due, T0 + 5);
    for (size_t i = 0; i < 3; i++) {
        char *text = org_state(&w->o, keys[i]);
        assert_non_null(text);
        free(text);
    }
    expect_state(w, keys[2], "{\"body\":{},\"type\":\"toy.who\"}");

    empty_block(w, T0 + 4);
    assert_int_equal(mb_ledger_tip(w->o.ledger)->next_due, T0 + 5);
    struct mb_checked *c =
        org_command(&w->o, &w->o.other, "toy.put", "{\"key\":\"x\",\"value\":1}", T0 + 60);
    struct mb_outcome *outcome = block(w, T0 + 10, &c, 1);
    assert_int_equal(outcome->block.result_count, 4);
    assert_int_equal(mb_outcome_index(outcome, 0), 3);
    assert_string_equal(mb_buf_text(&outcome->block.results[0]),
                        "{\"cause\":\"due:core/due/00000000001795226405/toy/0000000000\","
                        "\"ok\":true,\"result\":{\"as_org\":1,\"id\":\"\",\"index\":0,"
                        "\"name\":\"acme\",\"signer\":\"\",\"slot\":4,\"time\":1795226410},"
                        "\"type\":\"toy.who\"}");
    assert_string_equal(mb_buf_text(&outcome->block.results[2]),
                        "{\"cause\":\"due:core/due/00000000001795226410/toy/0000000001\","
                        "\"error\":{\"args\":[\"x\"],\"code\":\"toy.absent\"},\"ok\":false,"
                        "\"type\":\"toy.del\"}");
    assert_string_equal(outcome->applied.commands[0].cause,
                        "due:core/due/00000000001795226405/toy/0000000000");
    mb_outcome_free(outcome);
    for (size_t i = 0; i < 3; i++)
        expect_state(w, keys[i], NULL);
    expect_state(w, "toy/x", "1");
}

static void only_due_keys_of_the_start_run(void **state)
{
    struct watched *w = *state;
    expect(w, T0, "toy.due",
           "{\"at\":0,\"type\":\"toy.due\",\"body\":{\"at\":0,\"type\":\"toy.who\",\"body\":{}}}",
           "{}");
    struct mb_outcome *outcome = block(w, T0, NULL, 0);
    assert_int_equal(outcome->block.result_count, 1);
    mb_outcome_free(outcome);
    outcome = block(w, T0, NULL, 0);
    assert_int_equal(outcome->block.result_count, 1);
    assert_non_null(strstr(mb_buf_text(&outcome->block.results[0]), "\"type\":\"toy.who\""));
    mb_outcome_free(outcome);
    outcome = block(w, T0, NULL, 0);
    assert_int_equal(outcome->block.result_count, 0);
    mb_outcome_free(outcome);
}

static void due_of_unknown_type(void **state)
{
    struct watched *w = *state;
    expect(w, T0, "toy.due", "{\"at\":0,\"type\":\"no.\\\"such\",\"body\":{}}", "{}");
    struct mb_outcome *outcome = block(w, T0, NULL, 0);
    assert_string_equal(mb_buf_text(&outcome->block.results[0]),
                        "{\"cause\":\"due:core/due/00000000000000000000/toy/0000000000\","
                        "\"error\":{\"args\":[\"no.\\\"such\"],\"code\":\"command.type\"},"
                        "\"ok\":false,\"type\":\"no.\\\"such\"}");
    mb_outcome_free(outcome);
}

static void at_most_4096_due_in_a_block(void **state)
{
    struct watched *w = *state;
    expect(w, T0, "toy.due", "{\"at\":0,\"type\":\"toy.who\",\"body\":{},\"times\":5000}", "{}");
    struct mb_outcome *outcome = block(w, T0, NULL, 0);
    assert_int_equal(outcome->block.result_count, 4096);
    mb_outcome_free(outcome);
    assert_int_equal(mb_ledger_tip(w->o.ledger)->next_due, 0);
    /* Numbers go on where they were, so that a later one never runs before an earlier one. */
    struct mb_checked *c = org_command(&w->o, &w->o.other, "toy.due",
                                       "{\"at\":-5,\"type\":\"toy.member\",\"body\":{}}", T0 + 60);
    outcome = block(w, T0, &c, 1);
    assert_int_equal(outcome->block.result_count, 905);
    mb_outcome_free(outcome);
    expect_state(w, "core/due/00000000000000000000/toy/0000000000",
                 "{\"body\":{},\"type\":\"toy.member\"}");
}

static void due_after_the_end_of_time(void **state)
{
    expect(*state, T0, "toy.due", "{\"at\":253402300800,\"type\":\"toy.who\",\"body\":{}}",
           "{\"args\":[],\"code\":\"state.limit\"}");
}

static void epochs_pass_sixteen_a_block(void **state)
{
    struct watched *w = *state;
    empty_block(w, T0 + 3599);
    expect_state(w, "core/epoch", "0");
    empty_block(w, T0 + 3600);
    expect_state(w, "core/epoch", "1");
    assert_int_equal(mb_ledger_tip(w->o.ledger)->next_due, T0 + 7200);
    empty_block(w, T0 + 20 * 3600);
    expect_state(w, "core/epoch", "17");
    assert_int_equal(mb_ledger_tip(w->o.ledger)->next_due, T0 + 18 * 3600);
    empty_block(w, T0 + 20 * 3600);
    expect_state(w, "core/epoch", "20");
}

static void modules_sweep_without_a_result(void **state)
{
    struct watched *w = *state;
    expect(w, T0, "toy.put", "{\"key\":\"swept\",\"value\":1}", "{}");
    expect_state(w, "toy/swept", "1");
    struct mb_outcome *outcome = block(w, T0, NULL, 0);
    assert_int_equal(outcome->block.result_count, 0);
    mb_outcome_free(outcome);
    expect_state(w, "toy/swept", NULL);
}

/* --- Checkpoint slots. --- */

static void checkpoint_slots(void **state)
{
    struct watched *w = *state;
    static const struct {
        int64_t after;
        size_t envelopes;
        bool checkpoint;
    } steps[] = {{1, 1, false},  {4, 0, false}, {5, 0, true},    {6, 0, false},
                 {64, 1, false}, {65, 1, true}, {124, 1, false}, {129, 0, true}};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct mb_checked *c = NULL;
        if (steps[i].envelopes)
            c = org_command(&w->o, &w->o.other, "toy.who", "{}", T0 + 3600);
        struct mb_outcome *outcome = block(w, T0 + steps[i].after, &c, steps[i].envelopes);
        assert_int_equal(outcome->applied.checkpoint, steps[i].checkpoint);
        mb_outcome_free(outcome);
    }
    assert_int_equal(mb_ledger_tip(w->o.ledger)->checkpoint_slot, 8);
    assert_int_equal(mb_ledger_tip(w->o.ledger)->checkpoint_time, T0 + 129);
}

/* --- Formats do not drift. --- */

static void expect_header(struct watched *w, const char *hex)
{
    char found[MB_HASH_HEX_SIZE];
    mb_hash_hex(&mb_ledger_tip(w->o.ledger)->header_hash, found);
    assert_string_equal(found, hex);
}

/* Fixed keys, genesis and commands: these hashes change only with core version 2. */
static void golden_headers(void **state)
{
    struct watched *w = *state;
    struct mb_checked *c[3];
    assert_string_equal(mb_ledger_org(w->o.ledger),
                        "98a52084d08851aed9039e940e7aa2270f9ce894aa4a9c66f89a0396303d70fa");
    expect_header(w, "2278f12a5ab630306b8f2927547da73679f4dda4d251c22e50ed4597f13e642d");
    c[0] = org_command(&w->o, &w->o.other, "toy.put",
                       "{\"key\":\"gr\\u00fc\\u00dfe\",\"value\":{\"b\":-1,\"a\":\"\\u001f\\n\"}}",
                       T0 + 86400);
    c[1] = org_command(&w->o, &w->o.other, "toy.del", "{\"key\":\"x\"}", T0 + 86400);
    c[2] = org_command(&w->o, &w->o.founders[0], "toy.due",
                       "{\"at\":1795230001,\"type\":\"toy.who\",\"body\":{}}", T0 + 86400);
    mb_outcome_free(block(w, T0 + 7, c, 3));
    expect_header(w, "77ca47d4eed641ac908e5696a02c19b49e426546fd2b7011efdca7f30df77c6e");
    c[0] = org_command(&w->o, &w->o.founders[0], "org.param.set",
                       "{\"name\":\"work_bits\",\"value\":4}", T0 + 90000);
    c[1] = org_envelope(&w->o.other, "not a command");
    mb_outcome_free(block(w, T0 + 3601, c, 2));
    expect_header(w, "83e10d8aace42ac5a6246c40ac73fe3f28b6b6c6a4ef5972cc2d05c30e4d444f");
    empty_block(w, T0 + 100000);
    expect_header(w, "fc12882b5ed3aa8646a33f05dccb66d63559bcc87956fbc074e8f32fa9c77e59");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(put_and_delete),
        TEST(a_refusal_undoes_its_own_writes_only),
        TEST(limits_of_keys_and_values),
        TEST(a_scan_sees_all_layers),
        TEST(time_never_goes_back),
        TEST(headers_are_noted),
        TEST(due_commands_run_in_order),
        TEST(only_due_keys_of_the_start_run),
        TEST(due_of_unknown_type),
        TEST(at_most_4096_due_in_a_block),
        TEST(due_after_the_end_of_time),
        TEST(epochs_pass_sixteen_a_block),
        TEST(modules_sweep_without_a_result),
        TEST(checkpoint_slots),
        TEST(golden_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
