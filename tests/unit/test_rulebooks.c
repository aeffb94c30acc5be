/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The rulebooks of conf/rulebooks, on a ledger with a stand-in for the module books that keeps
 * balances. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../modules/rules/rules.h"
#include "../support/org.h"
#include "host/config.h"

/* --- books, as far as a rulebook sees it --- */

static void balance_key(char key[MB_STATE_KEY_MAX + 1], const char *asset, const char *account)
{
    mb_snprintf(key, MB_STATE_KEY_MAX + 1, "books/balance/%s/%s", asset, account);
}

static int post(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error)
{
    const json_t *entry;
    char key[MB_STATE_KEY_MAX + 1];
    int64_t total = 0;
    size_t i;
    (void)result;
    json_array_foreach(json_object_get(body, "entries"), i, entry)
    {
        const char *account = mb_json_get_text(entry, "account", "");
        balance_key(key, mb_json_get_text(entry, "asset", ""), account);
        json_t *old = mb_tx_get(tx, key);
        int64_t amount = mb_json_get_int(entry, "amount", 0);
        int64_t sum = json_integer_value(old) + amount;
        json_t *new = json_integer(sum);
        total += amount;
        for (size_t k = 0; k < i; k++) {
            const json_t *other = json_array_get(json_object_get(body, "entries"), k);
            if (strcmp(mb_json_get_text(other, "account", ""), account) == 0 &&
                json_equal(json_object_get(other, "asset"), json_object_get(entry, "asset")))
                return mb_refuse(error, "books.twice", "s", account);
        }
        if (amount < 0 && ctx->as_org && strncmp(account, "key/", 4) == 0 &&
            strcmp(mb_json_get_text(entry, "asset", ""), "coin") == 0)
            return mb_refuse(error, "books.controller", "s", account);
        if (sum < 0 && strncmp(account, "issue/", 6) != 0)
            return mb_refuse(error, "books.balance", "s", account);
        if (sum == 0)
            mb_tx_delete(tx, key);
        else
            mb_tx_put(tx, key, new);
        json_decref(old);
        json_decref(new);
    }
    return total == 0 ? 0 : mb_refuse(error, "books.unbalanced", "d", total);
}
static int asset(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                 json_t **result, struct mb_error *error)
{
    char *key = mb_asprintf("books/asset/%s", mb_json_get_text(body, "asset", ""));
    (void)ctx;
    (void)result;
    (void)error;
    mb_tx_put(tx, key, body);
    free(key);
    return 0;
}
static const struct mb_json_field post_fields[] = {
    {"entries", MB_JSON_ARRAY, false, 1, 1000}, {"memo", MB_JSON_STRING, true, 0, 0}, {0}};
static const struct mb_json_field asset_fields[] = {{"asset", MB_JSON_STRING, false, 1, 40}, {0}};
static int propose(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    (void)body;
    (void)error;
    *result = json_pack("{s:I}", "weight", (json_int_t)mb_tx_weight(tx, ctx, ctx->signer, "any"));
    return 0;
}
static const struct mb_json_field propose_fields[] = {
    {"procedure", MB_JSON_STRING, false, 0, 0}, {"commands", MB_JSON_ARRAY, false, 0, 0}, {0}};
static const struct mb_verb books_verbs[] = {
    {.name = "books.post", .access = MB_ANYONE, .body = post_fields, .apply = post},
    {.name = "books.asset.create", .access = MB_ANYONE, .body = asset_fields, .apply = asset},
    {0}};
static const struct mb_verb gov_verbs[] = {
    {.name = "gov.propose", .access = MB_ANYONE, .body = propose_fields, .apply = propose}, {0}};
static const struct mb_logic books = {.name = "books", .version = 1, .verbs = books_verbs};
static const struct mb_logic gov = {.name = "gov", .version = 1, .verbs = gov_verbs};
static const struct mb_logic *const modules[] = {&books, &gov, &rules_logic};

struct fixture {
    struct org o;
    struct mb_memory *memory;
    int64_t time;
};

static struct fixture *start(const char *rulebook, json_t *params_take)
{
    struct fixture *f = mb_calloc(1, sizeof *f);
    const char *srcdir = getenv("srcdir");
    char *path = mb_asprintf("%s/conf/rulebooks/%s", srcdir != NULL ? srcdir : "..", rulebook);
    struct mb_buf source = {0};
    assert_int_equal(mb_read_file(path, MB_RULES_SOURCE_MAX, &source, NULL), 0);
    f->memory = mb_memory_new();
    f->time = ORG_CREATED;
    json_t *json = org_genesis_json(&f->o, 1, 1), *versions = json_object_get(json, "versions");
    json_object_del(versions, "toy");
    for (size_t i = 0; i < 3; i++)
        json_object_set_new(versions, modules[i]->name, json_integer(1));
    json_object_set_new(json, "rulebook", json_string(mb_buf_text(&source)));
    json_object_set_new(json, "params", params_take);
    mb_buf_reset(&f->o.genesis);
    assert_int_equal(mb_json_canonical(&f->o.genesis, json, NULL), 0);
    json_decref(json);
    if (mb_ledger_found(&f->o.ledger, mb_memory_backend(f->memory), modules, 3,
                        mb_buf_bytes(&f->o.genesis), &f->o.error) != 0)
        fail_msg("%s %s", f->o.error.code, f->o.error.args);
    mb_buf_clear(&source);
    free(path);
    return f;
}

static void stop(struct fixture *f)
{
    org_clear(&f->o);
    mb_memory_free(f->memory);
    free(f);
}

static void run(struct fixture *f, const char *type, const char *body, const char *has)
{
    char *result = org_do(&f->o, f->time, &f->o.founders[0], type, body);
    if (strstr(result, has) == NULL)
        fail_msg("%s %s\n gives %s\n without %s", type, body, result, has);
    free(result);
}

static void issue(struct fixture *f, const char *what, const char *account, int64_t amount)
{
    char *body = mb_asprintf("{\"entries\":[{\"account\":\"issue/%s\",\"amount\":%" PRId64
                             ",\"asset\":\"%s\"},{\"account\":\"%s\",\"amount\":%" PRId64
                             ",\"asset\":\"%s\"}]}",
                             what, -amount, what, account, amount, what);
    run(f, "books.post", body, "\"ok\":true");
    free(body);
}

static void next_epoch(struct fixture *f)
{
    f->time += 3600;
    mb_outcome_free(org_block(&f->o, f->time, NULL, 0));
}

static void expect(struct fixture *f, const char *what, const char *account, int64_t amount)
{
    char key[MB_STATE_KEY_MAX + 1];
    balance_key(key, what, account);
    char *text = org_state(&f->o, key);
    int64_t found = text != NULL ? strtoll(text, NULL, 10) : 0;
    if (found != amount)
        fail_msg("%s has %" PRId64 " %s, not %" PRId64, account, found, what, amount);
    free(text);
}

/* --- cooperative --- */

static char *pay_body(const char *from, int amount)
{
    return mb_asprintf("{\"entries\":[{\"account\":\"%s\",\"amount\":-%d,\"asset\":\"coin\"},"
                       "{\"account\":\"org/treasury\",\"amount\":%d,\"asset\":\"coin\"}]}",
                       from, amount, amount);
}

static void cooperative_pays_and_is_paid(void **state)
{
    struct fixture *f = start("cooperative.lua", json_pack("{s:i, s:i}", "rules.contribution", 10,
                                                           "rules.salary_epochs", 2));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    (void)state;
    issue(f, "member", ann, 1);
    issue(f, "member", "key/bob", 1);
    issue(f, "coin", ann, 100);
    issue(f, "coin", "org/treasury", 50);
    issue(f, "coin", "key/rich", 1000); /* no member */
    issue(f, "salary", "key/bob", 40);
    issue(f, "salary", "key/dan", 20);
    next_epoch(f); /* 1: without the asset dues nothing is owed */
    expect(f, "dues", "key/bob", 0);
    run(f, "books.asset.create", "{\"asset\":\"dues\"}", "\"ok\":true");
    next_epoch(f); /* 2: contributions are due; salaries, of which the treasury has 50 of 60 */
    expect(f, "dues", ann, 10);
    expect(f, "dues", "key/bob", 10);
    expect(f, "dues", "key/rich", 0);
    expect(f, "coin", "key/bob", 33);
    expect(f, "coin", "key/dan", 16);
    expect(f, "coin", "org/treasury", 1);
    next_epoch(f); /* 3 */
    expect(f, "dues", ann, 20);
    char *some = pay_body(ann, 15), *more = pay_body(ann, 80);
    run(f, "books.post", some, "\"ok\":true");
    expect(f, "dues", ann, 5);
    run(f, "books.post", more, "\"ok\":true");
    expect(f, "dues", ann, 0);
    expect(f, "dues", "key/bob", 20);
    expect(f, "coin", "org/treasury", 96);
    next_epoch(f); /* 4: salaries in full */
    expect(f, "coin", "key/bob", 73);
    expect(f, "coin", "key/dan", 36);
    expect(f, "coin", "org/treasury", 36);
    free(some);
    free(more);
    free(ann);
    free(who);
    stop(f);
}

static void cooperative_at_its_limits(void **state)
{
    static const int rows[][2] = {{1000, 100}, {900, 500}};
    char name[64];
    (void)state;
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        struct fixture *f = start("cooperative.lua", json_pack("{s:i}", "rules.contribution", 1));
        run(f, "books.asset.create", "{\"asset\":\"dues\"}", "\"ok\":true");
        issue(f, "coin", "org/treasury", 5000);
        for (int i = 0; i < rows[row][0]; i++) {
            (void)mb_snprintf(name, sizeof name, "key/SHA256:0123456789abcdefghijklmnopqrstu%04d",
                              i);
            issue(f, "member", name, 1);
            if (i < rows[row][1])
                issue(f, "salary", name, 2);
        }
        next_epoch(f);
        expect(f, "dues", name, 1);
        expect(f, "coin", "org/treasury", 5000 - 2 * rows[row][1]);
        stop(f);
    }
    struct fixture *f = start("cooperative.lua", json_pack("{s:i}", "rules.contribution", 1));
    run(f, "books.asset.create", "{\"asset\":\"dues\"}", "\"ok\":true");
    for (int i = 0; i < 3201; i++) {
        mb_snprintf(name, sizeof name, "key/m%04d", i);
        issue(f, "member", name, 1);
    }
    f->time += 3600;
    struct mb_outcome *o = org_block(&f->o, f->time, NULL, 0);
    assert_int_equal(o->block.result_count, 1);
    assert_non_null(strstr(mb_buf_text(&o->block.results[0]), "rules.on_epoch"));
    mb_outcome_free(o);
    expect(f, "dues", name, 0);
    stop(f);
}

static void cooperative_votes_and_treasury(void **state)
{
    struct fixture *f = start("cooperative.lua", json_object());
    char *who = org_fingerprint(&f->o.founders[0]), *account = mb_asprintf("key/%s", who);
    static const struct {
        const char *procedure;
        int amount;
        const char *has;
    } rows[] = {{"routine", -5, "rules.denied"},
                {"routine", 5, "\"ok\":true"},
                {"treasury", -5, "\"ok\":true"},
                {"constitution", -5, "\"ok\":true"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct mb_buf body = {0};
        mb_buf_addf(&body,
                    "{\"procedure\":\"%s\",\"commands\":[{\"body\":{\"entries\":["
                    "{\"account\":\"org/treasury\",\"amount\":%d,\"asset\":\"coin\"}]},"
                    "\"type\":\"books.post\"}]}",
                    rows[i].procedure, rows[i].amount);
        run(f, "gov.propose", mb_buf_text(&body), rows[i].has);
        mb_buf_clear(&body);
    }
    run(f, "gov.propose", "{\"procedure\":\"routine\",\"commands\":[1,{\"body\":2}]}",
        "\"weight\":0");
    issue(f, "member", account, 1);
    issue(f, "coin", account, 1000);
    run(f, "gov.propose", "{\"procedure\":\"routine\",\"commands\":[]}", "\"weight\":1");
    run(f, "rules.params.set", "{\"params\":{\"salary_epochs\":0}}", "salary_epochs is at least 1");
    free(account);
    free(who);
    stop(f);
}

/* The limit of what other procedures may spend is nothing: there is no slice below it. */
static void cooperative_salami_spending_under_the_limit(void **state)
{
#define SLICE                                                                                      \
    "{\"body\":{\"entries\":[{\"account\":\"key/x\",\"amount\":1,\"asset\":\"coin\"},"             \
    "{\"account\":\"org/treasury\",\"amount\":-1,\"asset\":\"coin\"}]},\"type\":\"books.post\"}"
    static const char *const bodies[] = {
        "{\"procedure\":\"routine\",\"commands\":[" SLICE "]}",
        "{\"procedure\":\"routine\",\"commands\":[{\"body\":{},\"type\":\"x.y\"}," SLICE "]}",
        "{\"procedure\":\"board\",\"draft\":1,\"commands\":[" SLICE "," SLICE "," SLICE "]}",
        "{\"procedure\":\"board\",\"commands\":[],\"options\":[{\"title\":\"a\"},"
        "{\"commands\":[" SLICE "],\"title\":\"b\"}]}",
    };
    struct fixture *f = start("cooperative.lua", json_object());
    (void)state;
    issue(f, "coin", "org/treasury", 50);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        run(f, "gov.propose", bodies[i], "takes the procedure treasury");
    /* The rulebook lets by what gov itself refuses. */
    run(f, "gov.propose", "{\"procedure\":\"board\",\"options\":[1,{\"commands\":2}]}",
        "body.invalid");
    run(f, "gov.propose", "{\"procedure\":\"treasury\",\"commands\":[" SLICE "]}", "\"ok\":true");
    expect(f, "coin", "org/treasury", 50);
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cooperative_pays_and_is_paid),
        cmocka_unit_test(cooperative_at_its_limits),
        cmocka_unit_test(cooperative_votes_and_treasury),
        cmocka_unit_test(cooperative_salami_spending_under_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
