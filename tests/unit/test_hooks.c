/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Modules that have a say in what others do: members, weights, authorize, batches, epochs,
 * versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/org.h"

#define T0 ORG_CREATED

/* --- The module "sway": does as its keys say. --- */

static json_t *setting(struct mb_tx *tx, const char *name)
{
    char *key = mb_asprintf("sway/%s", name);
    json_t *value = mb_tx_get(tx, key);
    free(key);
    return value;
}

static bool names(struct mb_tx *tx, const char *name, const char *text)
{
    json_t *value = setting(tx, name);
    bool does = value && strcmp(json_string_value(value), text) == 0;
    json_decref(value);
    return does;
}

/* {"name","value"} */
static int sway_set(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                    json_t **result, struct mb_error *error)
{
    char *key = mb_asprintf("sway/%s", mb_json_get_text(body, "name", ""));
    (void)ctx;
    (void)result;
    mb_tx_put(tx, key, json_object_get(body, "value"));
    free(key);
    return names(tx, "no", mb_json_get_text(body, "name", ""))
               ? mb_refuse(error, "sway.no", "s", mb_json_get_text(body, "name", ""))
               : 0;
}

/* {"commands","id"} */
static int sway_batch(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                      json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)result;
    mb_tx_batch(tx, mb_json_get_text(body, "id", ""), json_object_get(body, "commands"));
    return names(tx, "no", "batch") ? mb_refuse(error, "sway.no", "s", "batch") : 0;
}

/* The weight of the signer, and what it runs as. */
static int sway_who(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                    json_t **result, struct mb_error *error)
{
    (void)body;
    (void)error;
    *result = json_pack("{s:b,s:i,s:I}", "as_org", 0, "org", ctx->as_org ? 1 : 0, "weight",
                        (json_int_t)mb_tx_weight(tx, ctx, ctx->signer, "any"));
    json_object_del(*result, "as_org");
    return 0;
}

static bool sway_is_member(struct mb_tx *tx, const char *identity)
{
    return names(tx, "member", identity);
}

static int64_t sway_weight(struct mb_tx *tx, const struct mb_context *ctx, const char *member,
                           const char *procedure)
{
    (void)ctx;
    return names(tx, "member", member) && strcmp(procedure, "any") == 0 ? 7 : 0;
}

static int sway_authorize(struct mb_tx *tx, const struct mb_context *ctx, const char *type,
                          const json_t *body, struct mb_error *error)
{
    (void)body;
    if (names(tx, "forbidden", type))
        return mb_refuse(error, "sway.forbidden", "ss", type, ctx->signer);
    return names(tx, "allowed", type);
}

static int sway_hook(struct mb_tx *tx, const char *name, json_t **commands, struct mb_error *error)
{
    if (names(tx, "no", name)) {
        json_t *undone = json_string("undone");
        mb_tx_put(tx, "sway/undone", undone);
        json_decref(undone);
        return mb_refuse(error, "sway.no", "s", name);
    }
    *commands = setting(tx, name);
    return 0;
}

static int sway_epoch(struct mb_tx *tx, const struct mb_context *ctx, int64_t n, json_t **commands,
                      struct mb_error *error)
{
    json_t *seen = json_integer(n);
    (void)ctx;
    mb_tx_put(tx, "sway/seen", seen);
    json_decref(seen);
    return sway_hook(tx, "epoch", commands, error);
}

static int sway_applied(struct mb_tx *tx, const struct mb_context *ctx, const char *type,
                        const json_t *body, bool ok, const json_t *outcome, json_t **commands,
                        struct mb_error *error)
{
    (void)body;
    (void)outcome;
    (void)ctx;
    return names(tx, "after", type) == ok ? sway_hook(tx, "applied", commands, error) : 0;
}

static void sway_done(struct mb_tx *tx, const struct mb_context *ctx, const char *id, bool ok,
                      size_t failing, const struct mb_error *error)
{
    json_t *done = json_pack("{s:s,s:s,s:I,s:i}", "code", ok ? "" : error->code, "id", id,
                             "failing", (json_int_t)failing, "ok", ok ? 1 : 0);
    (void)ctx;
    mb_tx_put(tx, "sway/done", done);
    json_decref(done);
}

static int sway_upgrade(struct mb_tx *tx, const struct mb_context *ctx, uint32_t from,
                        struct mb_error *error)
{
    json_t *value = json_integer(from);
    (void)ctx;
    mb_tx_put(tx, "sway/from", value);
    json_decref(value);
    return names(tx, "no", "upgrade") ? mb_refuse(error, "sway.no", "s", "upgrade") : 0;
}

static const struct mb_json_field set_body[] = {
    {"name", MB_JSON_STRING, false, 0, 0}, {"value", MB_JSON_ANY, false, 0, 0}, {0}};
static const struct mb_json_field batch_body[] = {
    {"commands", MB_JSON_ARRAY, false, 0, 0}, {"id", MB_JSON_STRING, false, 0, 0}, {0}};
static const struct mb_json_field nothing[] = {{0}};
static const struct mb_verb verbs[] = {
    {.name = "sway.set", .body = set_body, .apply = sway_set},
    {.name = "sway.batch", .body = batch_body, .apply = sway_batch},
    {.name = "sway.who", .access = MB_MEMBER, .body = nothing, .apply = sway_who},
    {.name = "sway.org", .access = MB_ORG, .body = nothing, .apply = sway_who},
    {0}};
static const struct mb_verb newer_verbs[] = {
    {.name = "sway.set", .body = set_body, .apply = sway_set}, {0}};
static const struct mb_logic first = {.name = "sway",
                                      .version = 1,
                                      .verbs = verbs,
                                      .is_member = sway_is_member,
                                      .weight = sway_weight,
                                      .authorize = sway_authorize,
                                      .on_epoch = sway_epoch,
                                      .on_applied = sway_applied,
                                      .batch_done = sway_done};
static const struct mb_logic second = {
    .name = "sway", .version = 2, .older = &first, .verbs = newer_verbs, .upgrade = sway_upgrade};
static const struct mb_logic *const both[] = {&second, &toy_logic}, *const one[] = {&first,
                                                                                    &toy_logic};

/* --- An organisation that uses it. --- */

struct set {
    struct org o;
    struct mb_memory *memory;
    int64_t time;
};

static void found(struct set *s, const struct mb_logic *const *modules, const char *versions)
{
    memset(s, 0, sizeof *s);
    s->memory = mb_memory_new();
    s->time = T0;
    json_t *json = org_genesis_json(&s->o, 2, 1);
    json_object_update_new(json_object_get(json, "versions"), json_loads(versions, 0, NULL));
    assert_int_equal(mb_json_canonical(&s->o.genesis, json, NULL), 0);
    json_decref(json);
    assert_int_equal(mb_ledger_found(&s->o.ledger, mb_memory_backend(s->memory), modules, 2,
                                     mb_buf_bytes(&s->o.genesis), NULL),
                     0);
}

static int set_up(void **state)
{
    struct set *s = *state = mb_calloc(1, sizeof *s);
    found(s, both, "{\"sway\":1}");
    return 0;
}

static void clear(struct set *s)
{
    org_clear(&s->o);
    mb_memory_free(s->memory);
}

static int tear_down(void **state)
{
    clear(*state);
    free(*state);
    return 0;
}

/* All results of a block of one command, one after the other (owned). */
static char *results(struct set *s, const struct mb_secret_key *key, const char *type,
                     const char *body)
{
    struct mb_buf all = {0};
    struct mb_checked *c = org_command(&s->o, key, type, body, s->time + 60);
    struct mb_outcome *outcome = org_block(&s->o, s->time, &c, 1);
    assert_non_null(outcome);
    for (size_t i = 0; i < outcome->block.result_count; i++) {
        mb_buf_add_bytes(&all, mb_buf_bytes(&outcome->block.results[i]));
        mb_buf_add_u8(&all, '\n');
    }
    assert_int_equal(outcome->applied.count, outcome->block.result_count);
    mb_outcome_free(outcome);
    return mb_buf_take_text(&all);
}

/* What the results of a command by this key must hold, and must not. */
static void expect(struct set *s, const struct mb_secret_key *key, const char *type,
                   const char *body, const char *holds, const char *lacks)
{
    char *all = results(s, key, type, body);
    if (!strstr(all, holds) || (lacks && strstr(all, lacks)))
        fail_msg("%s %s: %s", type, body, all);
    free(all);
}

static void put(struct set *s, const char *name, const char *value)
{
    char *body = mb_asprintf("{\"name\":\"%s\",\"value\":%s}", name, value);
    expect(s, &s->o.other, "sway.set", body, "\"ok\":true", NULL);
    free(body);
}

static void expect_state(struct set *s, const char *key, const char *text)
{
    char *found = org_state(&s->o, key);
    assert_string_equal(found ? found : "(none)", text);
    free(found);
}

static void a_module_says_who_is_a_member(void **state)
{
    struct set *s = *state;
    char *other = org_fingerprint(&s->o.other), *quoted = mb_asprintf("\"%s\"", other);
    expect(s, &s->o.other, "sway.who", "{}", "[\"sway.who\",\"member\"]", NULL);
    expect(s, &s->o.founders[0], "toy.member", "{}", "[\"toy.member\",\"member\"]", NULL);
    put(s, "member", quoted);
    expect(s, &s->o.other, "sway.who", "{}", "{\"org\":0,\"weight\":7}", NULL);
    expect(s, &s->o.other, "org.approve",
           "{\"id\":\"0000000000000000000000000000000000000000000000000000000000000000\"}",
           "[\"org.approve\",\"founder\"]", NULL);
    assert_true(mb_ledger_has_role(s->o.ledger, other));
    free(quoted);
    free(other);
}

static void authorize_denies_and_allows(void **state)
{
    struct set *s = *state;
    expect(s, &s->o.other, "sway.org", "{}", "[\"sway.org\",\"org\"]", NULL);
    put(s, "allowed", "\"sway.org\"");
    expect(s, &s->o.other, "sway.org", "{}", "{\"org\":1,\"weight\":0}", NULL);
    expect(s, &s->o.other, "toy.org", "{}", "[\"toy.org\",\"org\"]", NULL);
    put(s, "forbidden", "\"sway.org\"");
    expect(s, &s->o.founders[0], "sway.org", "{}", "\"code\":\"sway.forbidden\"", NULL);
}

#define PUT(K, V)           "{\"body\":{\"key\":\"" K "\",\"value\":" V "},\"type\":\"toy.put\"}"
#define BATCH(ID, COMMANDS) "{\"commands\":[" COMMANDS "],\"id\":\"" ID "\"}"

static void a_batch_runs_as_a_whole(void **state)
{
    struct set *s = *state;
    char *all =
        results(s, &s->o.other, "sway.batch",
                BATCH("p1", PUT("a", "1") "," PUT("b", "2") ",{\"body\":{},\"type\":\"toy.org\"}"));
    assert_non_null(
        strstr(all, "{\"cause\":\"proposal:p1\",\"ok\":true,\"result\":{},\"type\":\"toy.put\"}"));
    assert_non_null(strstr(all, "\"as_org\":1"));
    free(all);
    expect_state(s, "toy/b", "2");
    expect_state(s, "sway/done", "{\"code\":\"\",\"failing\":2,\"id\":\"p1\",\"ok\":1}");
}

static void a_batch_that_fails_changes_nothing(void **state)
{
    struct set *s = *state;
    char *all = results(
        s, &s->o.other, "sway.batch",
        BATCH("p2",
              PUT("a", "1") ",{\"body\":{\"key\":\"none\"},\"type\":\"toy.del\"}," PUT("b", "2")));
    assert_null(strstr(all, "toy.put"));
    assert_non_null(strstr(all, "{\"cause\":\"proposal:p2\",\"error\":{\"args\":[\"none\"],"
                                "\"code\":\"toy.absent\"},\"ok\":false,\"type\":\"toy.del\"}"));
    free(all);
    expect_state(s, "toy/a", "(none)");
    expect_state(s, "toy/b", "(none)");
    expect_state(s, "sway/done", "{\"code\":\"toy.absent\",\"failing\":1,\"id\":\"p2\",\"ok\":0}");
    /* Facts that a batch changed and did not keep are as before. */
    expect(s, &s->o.other, "sway.batch",
           BATCH("p3",
                 "{\"body\":{},\"type\":\"org.founders.retire\"},{\"body\":{},\"type\":\"x.y\"}"),
           "command.type", "retire");
    expect(s, &s->o.founders[0], "toy.org", "{}", "\"ok\":true", NULL);
}

static void a_batch_is_one_and_flat(void **state)
{
    struct set *s = *state;
    put(s, "no", "\"batch\"");
    expect(s, &s->o.other, "sway.batch", BATCH("p4", PUT("a", "1")), "sway.no", "proposal");
    put(s, "no", "\"\"");
    expect(s, &s->o.other, "sway.batch",
           BATCH("p5", "{\"body\":" BATCH("p6", "") ",\"type\":\"sway.batch\"}"), "command.batch",
           "proposal:p6");
    struct mb_buf many = {0};
    for (int i = 0; i <= MB_BATCH_MAX; i++)
        mb_buf_add_text(&many, i == 0 ? PUT("a", "1") : "," PUT("a", "1"));
    char *body = mb_asprintf("{\"commands\":[%s],\"id\":\"p7\"}", mb_buf_text(&many));
    expect(s, &s->o.other, "sway.batch", body, "command.batch", "proposal");
    expect(s, &s->o.other, "sway.batch", "{\"commands\":[1,{\"type\":1}],\"id\":\"p8\"}",
           "\"cause\":\"proposal:p8\",\"error\"", NULL);
    free(body);
    mb_buf_clear(&many);
    expect_state(s, "toy/a", "(none)");
}

static void epochs_and_commands_are_followed_by_what_modules_want(void **state)
{
    struct set *s = *state;
    put(s, "after", "\"toy.put\"");
    put(s, "epoch",
        "[" PUT("a", "1") ",{\"body\":{\"key\":\"none\"},\"type\":\"toy.del\"}," PUT("b", "2") "]");
    s->time = T0 + 2 * 3600;
    char *all = results(s, &s->o.other, "toy.who", "{}");
    assert_non_null(strstr(all, "{\"cause\":\"epoch:1\",\"ok\":true"));
    assert_non_null(strstr(all, "{\"cause\":\"epoch:2\",\"error\":{\"args\":[\"none\"]"));
    free(all);
    expect_state(s, "toy/b", "2");
    expect_state(s, "sway/seen", "2");
    put(s, "no", "\"epoch\"");
    s->time += 3600;
    expect(s, &s->o.other, "toy.who", "{}",
           "{\"cause\":\"epoch:3\",\"error\":{\"args\":[\"epoch\"],\"code\":\"sway.no\"},"
           "\"ok\":false,\"type\":\"sway.on_epoch\"}",
           "toy.put");
    expect_state(s, "sway/undone", "(none)");
    expect_state(s, "sway/seen", "2");

    put(s, "applied", "[" PUT("c", "3") "]");
    char *after = results(s, &s->o.other, "toy.put", "{\"key\":\"x\",\"value\":1}");
    assert_non_null(strstr(after, "\n{\"cause\":\"applied:"));
    free(after);
    expect_state(s, "toy/c", "3");
    put(s, "no", "\"applied\"");
    expect(s, &s->o.other, "toy.put", "{\"key\":\"x\",\"value\":1}", "\"type\":\"sway.on_applied\"",
           NULL);
}

static void founders_retire_where_somebody_governs(void **state)
{
    struct set *s = *state;
    struct set alone;
    found(&alone, both, "{}");
    expect(&alone, &alone.o.founders[0], "org.founders.retire", "{}", "org.founders_needed", NULL);
    expect(&alone, &alone.o.founders[0], "toy.member", "{}", "\"ok\":true", NULL);
    clear(&alone);
    /* Decisions, but no members other than the founders. */
    struct mb_logic memberless = first;
    const struct mb_logic *const modules[] = {&memberless, &toy_logic};
    memberless.is_member = NULL;
    found(&alone, modules, "{\"sway\":1}");
    expect(&alone, &alone.o.founders[0], "org.founders.retire", "{}", "org.founders_needed", NULL);
    clear(&alone);
    expect(s, &s->o.other, "org.founders.retire", "{}", "command.access", NULL);
    expect(s, &s->o.founders[1], "org.founders.retire", "{}", "\"ok\":true", NULL);
    expect(s, &s->o.founders[0], "toy.org", "{}", "command.access", NULL);
    expect(s, &s->o.other, "sway.batch", BATCH("p", "{\"body\":{},\"type\":\"toy.org\"}"),
           "\"cause\":\"proposal:p\",\"ok\":true", NULL);
}

static void retired_founders_need_somebody_who_governs(void **state)
{
    static const char *const versions[] = {"{}", "{\"sway\":1}"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct org o = {0};
        struct mb_memory *memory = mb_memory_new();
        struct mb_error error = {0};
        json_t *json = org_genesis_json(&o, 2, 1);
        json_object_update_new(json_object_get(json, "versions"), json_loads(versions[i], 0, NULL));
        json_object_set_new(json, "founders_retired", json_integer(1));
        assert_int_equal(mb_json_canonical(&o.genesis, json, NULL), 0);
        int rc = mb_ledger_found(&o.ledger, mb_memory_backend(memory), both, 2,
                                 mb_buf_bytes(&o.genesis), &error);
        assert_int_equal(rc, i == 0 ? MB_EINVAL : 0);
        assert_string_equal(error.code, i == 0 ? "genesis.invalid" : "");
        json_decref(json);
        org_clear(&o);
        mb_memory_free(memory);
    }
}

static void upgrade(struct set *s, const char *module, int version, uint64_t at, const char *holds)
{
    char *body = mb_asprintf("{\"at_slot\":%llu,\"module\":\"%s\",\"version\":%d}",
                             (unsigned long long)at, module, version);
    expect(s, &s->o.founders[0], "org.upgrade", body, holds, NULL);
    free(body);
}

static uint64_t slot(struct set *s)
{
    return mb_ledger_tip(s->o.ledger)->header.slot;
}

static void a_new_version_comes_into_force_at_its_slot(void **state)
{
    struct set *s = *state;
    upgrade(s, "sway", 2, slot(s) + 64, "org.upgrade_slot");
    upgrade(s, "sway", 0, slot(s) + 65, "body.invalid");
    upgrade(s, "lua", 2, slot(s) + 65, "org.upgrade_module");
    uint64_t at = slot(s) + 1 + MB_WINDOW;
    upgrade(s, "sway", 2, at, "\"ok\":true");
    s->time = org_fill(&s->o, s->time, at - 2);
    expect_state(s, "core/versions", "{\"core\":1,\"lua\":\"5.4.4\",\"sway\":1,\"toy\":1}");
    expect(s, &s->o.other, "sway.batch", BATCH("p", ""),
           "{\"cause\":\"upgrade:sway\",\"ok\":true,\"result\":{\"version\":2},\"type\":\"org."
           "upgrade\"}",
           NULL);
    expect_state(s, "core/versions", "{\"core\":1,\"lua\":\"5.4.4\",\"sway\":2,\"toy\":1}");
    expect_state(s, "core/upgrade", "(none)");
    expect_state(s, "sway/from", "1");
    expect(s, &s->o.other, "sway.batch", BATCH("p", ""), "command.type", NULL);
    upgrade(s, "sway", 1, slot(s) + 65, "org.upgrade_version");
    /* A decision that is taken back. */
    upgrade(s, "toy", 2, slot(s) + 65, "\"ok\":true");
    upgrade(s, "toy", 1, slot(s) + 65, "\"ok\":true");
    expect_state(s, "core/upgrade", "(none)");
}

static void an_upgrade_that_its_module_refuses_is_none(void **state)
{
    struct set *s = *state;
    uint64_t at = slot(s) + 2 + MB_WINDOW;
    put(s, "no", "\"upgrade\"");
    upgrade(s, "sway", 2, at, "\"ok\":true");
    s->time = org_fill(&s->o, s->time, at - 2);
    expect(s, &s->o.other, "toy.who", "{}",
           "\"code\":\"sway.no\"},\"ok\":false,\"type\":\"org.upgrade\"", NULL);
    expect_state(s, "core/versions", "{\"core\":1,\"lua\":\"5.4.4\",\"sway\":1,\"toy\":1}");
    expect_state(s, "sway/from", "(none)");
    expect_state(s, "core/upgrade", "(none)");
}

static void a_replica_without_the_version_stops_before_it(void **state)
{
    struct set with, without;
    (void)state;
    found(&without, one, "{\"sway\":1}");
    uint64_t at = 1 + MB_WINDOW;
    upgrade(&without, "sway", 2, at, "\"ok\":true");
    without.time = org_fill(&without.o, without.time, at - 2);
    assert_null(org_block(&without.o, without.time + 1, NULL, 0));
    assert_string_equal(without.o.error.code, "ledger.versions");
    assert_non_null(strstr(without.o.error.text, "sway"));
    clear(&without);

    /* A module that was not in use before begins with its genesis. */
    found(&with, both, "{}");
    upgrade(&with, "sway", 2, at, "\"ok\":true");
    expect(&with, &with.o.other, "sway.set", "{\"name\":\"a\",\"value\":1}", "command.type", NULL);
    with.time = org_fill(&with.o, with.time, at - 1);
    expect(&with, &with.o.other, "sway.set", "{\"name\":\"a\",\"value\":1}", "\"ok\":true", NULL);
    expect_state(&with, "sway/from", "(none)");
    clear(&with);
}

static void the_door_leaves_nothing_behind(void **state)
{
    struct set *s = *state;
    struct mb_checked *c =
        org_command(&s->o, &s->o.other, "sway.batch", BATCH("p1", PUT("a", "1")), s->time + 60);
    assert_int_equal(mb_ledger_try(s->o.ledger, c, s->time, NULL), 0);
    mb_checked_free(c);
    expect(s, &s->o.other, "toy.who", "{}", "\"ok\":true", "proposal");
}

int main(void)
{
#define T(F) cmocka_unit_test_setup_teardown(F, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_module_says_who_is_a_member),
        T(authorize_denies_and_allows),
        T(a_batch_runs_as_a_whole),
        T(a_batch_that_fails_changes_nothing),
        T(a_batch_is_one_and_flat),
        T(epochs_and_commands_are_followed_by_what_modules_want),
        T(founders_retire_where_somebody_governs),
        T(retired_founders_need_somebody_who_governs),
        T(a_new_version_comes_into_force_at_its_slot),
        T(an_upgrade_that_its_module_refuses_is_none),
        T(a_replica_without_the_version_stops_before_it),
        T(the_door_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
