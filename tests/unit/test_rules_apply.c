/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The module rules over a ledger in memory: adoption, and what the rulebook decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../modules/rules/rules.h"
#include "../support/org.h"

#define T0 ORG_CREATED

/* --- A module gov with proposals in its state, and verbs that say who ran them. --- */

static int gov_note(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                    json_t **result, struct mb_error *error)
{
    char *key = mb_asprintf("gov/proposal/%s", mb_json_get_text(body, "proposal", "p"));
    json_t *weighs = json_integer(
        mb_tx_weight(tx, ctx, ctx->signer, mb_json_get_text(body, "procedure", "routine")));
    (void)error;
    if (json_object_get(body, "procedure") != NULL)
        mb_tx_put(tx, key, body);
    free(key);
    *result = json_pack("{s:o, s:i}", "weight", weighs, "org", ctx->as_org);
    return 0;
}
static const struct mb_json_field note_fields[] = {
    {"proposal", MB_JSON_STRING, true, 0, 0},
    {"procedure", MB_JSON_STRING, true, 0, 0},
    {"commands", MB_JSON_ARRAY, true, 0, 0},
    {0},
};
static int gov_run(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)result;
    (void)error;
    mb_tx_batch(tx, "1", json_object_get(body, "commands"));
    return 0;
}
static const struct mb_verb gov_verbs[] = {
    {.name = "gov.propose", .access = MB_ANYONE, .body = note_fields, .apply = gov_note},
    {.name = "gov.vote", .access = MB_ANYONE, .body = note_fields, .apply = gov_note},
    {.name = "gov.pass", .access = MB_ANYONE, .body = note_fields, .apply = gov_run},
    {.name = "gov.org", .access = MB_ORG, .body = note_fields, .apply = gov_note},
    {0},
};
static const struct mb_logic fake_gov = {.name = "gov", .version = 1, .verbs = gov_verbs};
static const struct mb_logic *const modules[] = {&fake_gov, &rules_logic, &toy_logic};

struct fixture {
    struct org o;
    struct mb_memory *memory;
    int64_t time;
};

static struct fixture *start(const char *rulebook)
{
    struct fixture *f = mb_calloc(1, sizeof *f);
    f->memory = mb_memory_new();
    f->time = T0;
    json_t *json = org_genesis_json(&f->o, 1, 1);
    json_t *versions = json_object_get(json, "versions");
    json_object_set_new(versions, "gov", json_integer(1));
    json_object_set_new(versions, "rules", json_integer(1));
    json_object_set_new(json, "rulebook", json_string(rulebook));
    json_object_set_new(json, "params", json_pack("{s:i, s:i}", "rules.fee", 3, "other", 4));
    mb_buf_reset(&f->o.genesis);
    assert_int_equal(mb_json_canonical(&f->o.genesis, json, NULL), 0);
    json_decref(json);
    if (mb_ledger_found(&f->o.ledger, mb_memory_backend(f->memory), modules, 3,
                        mb_buf_bytes(&f->o.genesis), &f->o.error) != 0) {
        org_clear(&f->o);
        mb_memory_free(f->memory);
        free(f);
        return NULL;
    }
    return f;
}

static void stop(struct fixture *f)
{
    org_clear(&f->o);
    mb_memory_free(f->memory);
    free(f);
}

/* Do it; the result's text has this in it. */
static void expect_by(struct fixture *f, const struct mb_secret_key *key, const char *type,
                      const char *body, const char *has)
{
    char *result = org_do(&f->o, f->time, key, type, body);
    if (strstr(result, has) == NULL)
        fail_msg("%s %s\n gives %s\n without %s", type, body, result, has);
    free(result);
}

static void expect(struct fixture *f, const char *type, const char *body, const char *has)
{
    expect_by(f, &f->o.founders[0], type, body, has);
}

static void adopt(struct fixture *f, const char *source, const char *has)
{
    json_t *body = json_pack("{s:s}", "source", source);
    char *text = mb_json_text(body);
    expect(f, "rules.adopt", text, has);
    free(text);
    json_decref(body);
}

static void expect_state(struct fixture *f, const char *key, const char *text)
{
    char *found = org_state(&f->o, key);
    assert_string_equal(found != NULL ? found : "(none)", text);
    free(found);
}

/* --- Adoption --- */

static void genesis_adopts(void **state)
{
    struct fixture *f = start("function selftest() return mb.params.fee == 3 end");
    (void)state;
    assert_non_null(f);
    expect_state(f, "rules/version", "1");
    expect_state(f, "rules/params", "{\"fee\":3}");
    stop(f);
    assert_null(start("function selftest() return false end"));
    assert_null(start("x ="));
    f = start("");
    expect_state(f, "rules/source", "(none)");
    expect(f, "toy.put", "{\"key\":\"a\",\"value\":1}", "\"ok\":true");
    stop(f);
}

static void a_bad_rulebook_leaves_the_old_one(void **state)
{
    struct fixture *f = start("function authorize(c) return c.body.key ~= 'no', 'old' end");
    char *before = org_state(&f->o, "rules/source");
    (void)state;
    adopt(f, "function (", "rules.compile");
    adopt(f, "return 1.5", "rules.source");
    adopt(f, "while true do end", "\"args\":[\"instructions\",1000000],\"code\":\"rules.budget\"");
    adopt(f, "error('at the top')", "rules.error");
    adopt(f, "function selftest() return false, 'not today' end",
          "{\"args\":[\"not today\"],\"code\":\"rules.selftest\"}");
    adopt(f, "function selftest() return 1 end", "rules.selftest");
    adopt(f, "function selftest() end", "rules.selftest");
    adopt(f, "function selftest() local t = {} for i = 1, 9999999 do t[i] = {} end end",
          "rules.budget");
    expect_state(f, "rules/source", before);
    expect_state(f, "rules/version", "1");
    expect(f, "toy.put", "{\"key\":\"no\",\"value\":1}",
           "{\"args\":[\"toy.put\",\"old\"],\"code\":\"rules.denied\"}");
    free(before);
    adopt(f, "function authorize(c) return c.body.key ~= 'no', 'new' end", "\"version\":2");
    expect(f, "toy.put", "{\"key\":\"no\",\"value\":1}", "[\"toy.put\",\"new\"]");
    adopt(f, "", "\"version\":3");
    expect_state(f, "rules/source", "(none)");
    expect(f, "toy.put", "{\"key\":\"no\",\"value\":1}", "\"ok\":true");
    expect_by(f, &f->o.other, "rules.adopt", "{\"source\":\"\"}", "command.access");
    stop(f);
}

static void parameters(void **state)
{
    struct fixture *f = start("function selftest() return mb.params.fee < 10, 'dear' end");
    (void)state;
    expect(f, "rules.params.set", "{\"params\":{\"fee\":12}}",
           "{\"args\":[\"dear\"],\"code\":\"rules.selftest\"}");
    expect(f, "rules.params.set", "{\"params\":{\"x\":[]}}",
           "{\"args\":[\"x\",\"[]\",\"an integer or a text\"],\"code\":\"rules.param\"}");
    expect(f, "rules.params.set",
           "{\"params\":{\"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklm\":1}}",
           "\"a name of 65 bytes\",\"64 at most\"],\"code\":\"rules.param\"}");
    expect(f, "rules.params.set", "{\"params\":{\"fee\":9,\"name\":\"n\"}}", "\"version\":2");
    expect_state(f, "rules/params", "{\"fee\":9,\"name\":\"n\"}");
    struct mb_buf many = {0};
    mb_buf_add_text(&many, "{\"params\":{");
    for (int i = 0; i < 255; i++)
        mb_buf_addf(&many, "%s\"p%d\":1", i > 0 ? "," : "", i);
    mb_buf_add_text(&many, "}}");
    expect(f, "rules.params.set", mb_buf_text(&many),
           "{\"args\":[257,256],\"code\":\"rules.params\"}");
    mb_buf_clear(&many);
    stop(f);
}

/* --- What it is asked --- */

static void authorize_decides(void **state)
{
    struct fixture *f = start("function authorize(c, signer)\n"
                              "  assert(c.signer == signer and #c.id == 64)\n"
                              "  if c.body.key == 'grant' then return 'grant' end\n"
                              "  if c.body.key == 'loop' then while true do end end\n"
                              "  if c.body.key == 'odd' then return 17 end\n"
                              "  if c.body.key == 'state' then return mb.get('toy/a') == 1 end\n"
                              "  if c.body.key == 'nothing' then return end\n"
                              "  return c.type ~= 'gov.org' or 'grant'\n"
                              "end");
    (void)state;
    expect(f, "toy.put", "{\"key\":\"state\",\"value\":1}", "rules.denied");
    expect(f, "toy.put", "{\"key\":\"a\",\"value\":1}", "\"ok\":true");
    expect(f, "toy.put", "{\"key\":\"state\",\"value\":1}", "\"ok\":true");
    expect(f, "toy.put", "{\"key\":\"nothing\",\"value\":1}", "\"ok\":true");
    expect(f, "toy.put", "{\"key\":\"odd\",\"value\":1}", "rules.denied");
    expect(f, "toy.put", "{\"key\":\"loop\",\"value\":1}", "rules.budget");
    /* What could lock out a repair cannot be granted. */
    expect_by(f, &f->o.other, "gov.org", "{}", "command.access");
    expect_by(f, &f->o.other, "org.param.set", "{\"name\":\"x\",\"value\":1}", "command.access");
    stop(f);
}

static void weights(void **state)
{
    struct fixture *f = start("function weight(member, procedure)\n"
                              "  if procedure == 'loop' then while true do end end\n"
                              "  if procedure == 'minus' then return -5 end\n"
                              "  if procedure == 'text' then return '7' end\n"
                              "  return 9 end");
    (void)state;
    expect(f, "gov.propose", "{\"procedure\":\"routine\"}", "\"weight\":9");
    expect(f, "gov.propose", "{\"procedure\":\"loop\"}", "\"weight\":0");
    expect(f, "gov.propose", "{\"procedure\":\"minus\"}", "\"weight\":0");
    expect(f, "gov.propose", "{\"procedure\":\"text\"}", "\"weight\":0");
    expect(f, "gov.propose", "{\"procedure\":\"constitution\"}", "\"weight\":1");
    adopt(f, "x = 1", "\"ok\":true");
    expect(f, "gov.propose", "{\"procedure\":\"routine\"}", "\"weight\":1");
    stop(f);
}

static void epochs_and_commands(void **state)
{
    struct fixture *f = start(
        "function on_epoch(n)\n"
        "  return {{type = 'toy.put', body = {key = 'epoch', value = n}}}\n"
        "end\n"
        "function on_applied(c, result)\n"
        "  if c.body.key == 'bad' then return {{type = 'toy.put'}} end\n"
        "  if c.body.key == 'many' then local t = {} for i = 1, 17 do\n"
        "    t[i] = {type = 'toy.put', body = {key = 'm', value = i}} end return t end\n"
        "  if c.body.key == 'loop' then while true do end end\n"
        "  if c.body.key == 'org' then\n"
        "    return {{type = 'toy.put', body = {key = 'never', value = 1}},\n"
        "      {type = 'org.param.set', body = {name = 'x', value = 1}}} end\n"
        "  if c.body.key == 'expel' then return {{type = 'books.post', body = {entries = {\n"
        "    {account = 'key/a', asset = 'member', amount = -1},\n"
        "    {account = 'issue/member', asset = 'member', amount = 1}}}}} end\n"
        "  if result.ok and c.body.key == 'a' then\n"
        "    return {{type = 'toy.put', body = {key = 'after', value = c.body.value + 1}}} end\n"
        "  if not result.ok then\n"
        "    return {{type = 'toy.put', body = {key = 'refused', value = result.error.code}}} end\n"
        "  return {}\n"
        "end");
    (void)state;
    expect(f, "toy.put", "{\"key\":\"a\",\"value\":1}", "\"ok\":true");
    expect_state(f, "toy/after", "2");
    expect(f, "toy.del", "{\"key\":\"none\"}", "toy.absent");
    expect_state(f, "toy/refused", "\"toy.absent\"");
    static const char *const keys[] = {"bad", "many", "loop", "org", "expel"};
    static const char *const codes[] = {"rules.value", "rules.value", "rules.budget",
                                        "rules.reserved", "rules.reserved"};
    for (size_t i = 0; i < 5; i++) {
        char *body = mb_asprintf("{\"key\":\"%s\",\"value\":1}", keys[i]);
        struct mb_checked *c =
            org_command(&f->o, &f->o.founders[0], "toy.put", body, f->time + 3600);
        struct mb_outcome *o = org_block(&f->o, f->time, &c, 1);
        assert_int_equal(o->block.result_count, 2);
        assert_non_null(strstr(mb_buf_text(&o->block.results[1]), codes[i]));
        assert_non_null(strstr(mb_buf_text(&o->block.results[1]), "rules.on_applied"));
        mb_outcome_free(o);
        free(body);
    }
    expect_state(f, "toy/never", "(none)");
    f->time += 3600;
    mb_outcome_free(org_block(&f->o, f->time, NULL, 0));
    expect_state(f, "toy/epoch", "1");
    stop(f);
}

/* The worst rulebook is repaired by those whom it shuts out. */
static void a_rulebook_that_locks_everyone_out(void **state)
{
    struct fixture *f = start("function authorize() return false, 'mine' end\n"
                              "function weight() return 0 end\n"
                              "function on_applied() while true do end end");
    (void)state;
    expect(f, "toy.put", "{\"key\":\"a\",\"value\":1}", "rules.denied");
    expect(f, "gov.propose", "{\"proposal\":\"r\",\"procedure\":\"routine\"}", "rules.denied");
    expect(f, "gov.vote", "{\"proposal\":\"c\"}", "rules.denied");
    expect(f, "gov.propose", "{\"proposal\":\"c\",\"procedure\":\"constitution\"}", "\"weight\":1");
    expect(f, "gov.vote", "{\"proposal\":\"c\"}", "\"ok\":true");
    expect(f, "gov.vote", "{\"proposal\":\"../c\"}", "rules.denied");
    expect(f, "org.founders.retire", "{}", "rules.denied");
    /* gov runs what was passed as the organisation. */
    expect(
        f, "gov.pass",
        "{\"proposal\":\"c\",\"commands\":[{\"body\":{\"source\":\"\"},\"type\":\"rules.adopt\"}]}",
        "\"ok\":true");
    expect(f, "toy.put", "{\"key\":\"a\",\"value\":1}", "\"ok\":true");
    /* Founders who have not retired can do it too. */
    adopt(f, "function authorize() return false end", "\"ok\":true");
    expect(f, "toy.put", "{\"key\":\"a\",\"value\":1}", "rules.denied");
    adopt(f, "", "\"ok\":true");
    expect(f, "toy.put", "{\"key\":\"a\",\"value\":1}", "\"ok\":true");
    stop(f);
}

/* Each burns all but the whole budget of its calls, and is counted by what it runs afterwards. */
static const char burning[] = "local function burn(k)\n"
                              "  if k == 'burn' then for i = 1, 990000 do end end\n"
                              "end\n"
                              "function authorize(c) burn(c.body.key) return true end\n"
                              "function on_applied(c, result)\n"
                              "  if not result.ok then return end\n"
                              "  burn(c.body.key)\n"
                              "  local n = (mb.get('toy/burnt') or 0) + 1\n"
                              "  return {{type = 'toy.put', body = {key = 'burnt', value = n}}}\n"
                              "end\n";

static int count_results(const struct mb_outcome *o, const char *with)
{
    int count = 0;
    for (size_t i = 0; i < o->block.result_count; i++)
        count += strstr(mb_buf_text(&o->block.results[i]), with) != NULL;
    return count;
}

/* A block full of commands of `type`, the last of which is the same by the constitution's hand. */
static struct mb_outcome *full_block(struct fixture *f, const char *type, const char *body)
{
    struct mb_checked *many[100];
    for (size_t i = 0; i < 100; i++)
        many[i] = org_command(&f->o, &f->o.founders[0], i < 99 ? type : "gov.vote",
                              i < 99 ? body : "{\"proposal\":\"c\"}", f->time + 3600);
    return org_block(&f->o, f->time, many, 100);
}

static void attack_a_block_of_commands_that_burn_the_whole_budget(void **state)
{
    struct fixture *f = start(burning);
    (void)state;
    expect(f, "gov.propose", "{\"proposal\":\"c\",\"procedure\":\"constitution\"}", "\"ok\":true");
    expect_state(f, "toy/burnt", "1");
    struct mb_outcome *o = full_block(f, "toy.put", "{\"key\":\"burn\",\"value\":1}");
    /* Ten had room for both calls, and both were made; the others changed nothing. */
    expect_state(f, "toy/burnt", "11");
    assert_int_equal(count_results(o, ",20000000],\"code\":\"rules.block\""), 90);
    /* But the repair runs, and that on_applied was not asked about it is on record. */
    const char *last = mb_buf_text(&o->block.results[o->block.result_count - 1]);
    assert_non_null(strstr(last, "\"code\":\"rules.block\""));
    assert_non_null(strstr(last, "\"type\":\"rules.on_applied\""));
    last = mb_buf_text(&o->block.results[o->block.result_count - 2]);
    assert_non_null(strstr(last, "\"ok\":true"));
    mb_outcome_free(o);
    /* The next block has a budget of its own; and the door judges each command alone. */
    for (size_t i = 0; i < 12; i++)
        expect(f, "toy.put", "{\"key\":\"burn\",\"value\":1}", "\"ok\":true");
    expect_state(f, "toy/burnt", "23");
    stop(f);
}

/* A block of commands that ask little is never short, whatever few of them ask. */
static void a_full_block_of_common_commands_has_room(void **state)
{
    struct fixture *f = start(burning);
    (void)state;
    expect(f, "gov.propose", "{\"proposal\":\"c\",\"procedure\":\"constitution\"}", "\"ok\":true");
    struct mb_outcome *o = full_block(f, "toy.put", "{\"key\":\"a\",\"value\":1}");
    assert_int_equal(count_results(o, "rules.block"), 0);
    expect_state(f, "toy/burnt", "101");
    mb_outcome_free(o);
    stop(f);
}

/* Failing calls count, too: a loop that is cut off, and commands that access refuses later. */
static void attack_calls_that_fail_count_as_well(void **state)
{
    struct fixture *f = start("function authorize(c) if c.body.key then while true do end end end\n"
                              "function on_applied(c, r) if c.type == 'no.such' then\n"
                              "  while true do end end end");
    (void)state;
    expect(f, "gov.propose", "{\"proposal\":\"c\",\"procedure\":\"constitution\"}", "\"ok\":true");
    struct mb_outcome *o = full_block(f, "toy.put", "{\"key\":\"a\",\"value\":1}");
    assert_int_equal(count_results(o, "rules.budget"), 18);
    mb_outcome_free(o);
    o = full_block(f, "no.such", "{}");
    assert_int_equal(count_results(o, "rules.budget"), 20);
    assert_int_equal(count_results(o, "rules.block"), 80);
    mb_outcome_free(o);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(genesis_adopts),
        cmocka_unit_test(a_bad_rulebook_leaves_the_old_one),
        cmocka_unit_test(parameters),
        cmocka_unit_test(authorize_decides),
        cmocka_unit_test(weights),
        cmocka_unit_test(epochs_and_commands),
        cmocka_unit_test(a_rulebook_that_locks_everyone_out),
        cmocka_unit_test(attack_a_block_of_commands_that_burn_the_whole_budget),
        cmocka_unit_test(a_full_block_of_common_commands_has_room),
        cmocka_unit_test(attack_calls_that_fail_count_as_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
