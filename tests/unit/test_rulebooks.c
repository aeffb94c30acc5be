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
static int open_account(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                        json_t **result, struct mb_error *error)
{
    char *key = mb_asprintf("books/account/%s", mb_json_get_text(body, "account", ""));
    (void)ctx;
    (void)result;
    (void)error;
    mb_tx_put(tx, key, body);
    free(key);
    return 0;
}
static const struct mb_json_field post_fields[] = {
    {"entries", MB_JSON_ARRAY, false, 1, 1000}, {"memo", MB_JSON_STRING, true, 0, 0}, {0}};
static const struct mb_json_field asset_fields[] = {
    {"asset", MB_JSON_STRING, false, 1, 40},       {"cap", MB_JSON_INT, true, 0, INT64_MAX},
    {"half_life_epochs", MB_JSON_INT, true, 0, 9}, {"issuer", MB_JSON_STRING, true, 1, 40},
    {"transferable", MB_JSON_INT, true, 0, 1},     {0}};
static const struct mb_json_field account_fields[] = {{"account", MB_JSON_STRING, false, 1, 128},
                                                      {0}};
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
static int vote(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error)
{
    (void)tx;
    (void)ctx;
    (void)body;
    (void)result;
    (void)error;
    return 0;
}
/* For whomever: `who`. */
static int delegate(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                    json_t **result, struct mb_error *error)
{
    const char *who = mb_json_get_text(body, "who", ""), *to = mb_json_get_text(body, "to", "");
    char *key = mb_asprintf("gov/delegation/%s/*", who);
    json_t *until = json_integer(mb_json_get_int(body, "until", 0));
    json_t *value = json_pack("{s:s, s:O}", "to", to, "until", until);
    (void)ctx;
    (void)result;
    (void)error;
    mb_tx_put(tx, key, value);
    free(key);
    key = mb_asprintf("gov/delegator/%s/*/%s", to, who);
    mb_tx_put(tx, key, until);
    free(key);
    json_decref(until);
    json_decref(value);
    return 0;
}
static const struct mb_json_field vote_fields[] = {{0}};
static const struct mb_json_field delegate_fields[] = {{"who", MB_JSON_STRING, false, 1, 128},
                                                       {"to", MB_JSON_STRING, false, 1, 128},
                                                       {"until", MB_JSON_INT, false, 0, INT64_MAX},
                                                       {0}};
static const struct mb_verb books_verbs[] = {
    {.name = "books.post", .access = MB_ANYONE, .body = post_fields, .apply = post},
    {.name = "books.asset.create", .access = MB_ANYONE, .body = asset_fields, .apply = asset},
    {.name = "books.account.open",
     .access = MB_ANYONE,
     .body = account_fields,
     .apply = open_account},
    {0}};
static const struct mb_verb gov_verbs[] = {
    {.name = "gov.propose", .access = MB_ANYONE, .body = propose_fields, .apply = propose},
    {.name = "gov.vote", .access = MB_ANYONE, .body = vote_fields, .apply = vote},
    {.name = "gov.delegate", .access = MB_ANYONE, .body = delegate_fields, .apply = delegate},
    {0}};
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

/* With an asset of this name, whose cap is `cap`. */
static void create(struct fixture *f, const char *what, int cap)
{
    char *body = mb_asprintf("{\"asset\":\"%s\",\"cap\":%d}", what, cap);
    run(f, "books.asset.create", body, "\"ok\":true");
    free(body);
}

static void next_epoch(struct fixture *f)
{
    f->time += 3600;
    struct mb_outcome *o = org_block(&f->o, f->time, NULL, 0);
    for (size_t i = 0; i < o->block.result_count; i++)
        if (strstr(mb_buf_text(&o->block.results[i]), "\"ok\":true") == NULL)
            fail_msg("%s", mb_buf_text(&o->block.results[i]));
    mb_outcome_free(o);
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

/* --- federation --- */

static const char *const federal[] = {
    "coin",         "average",          "reputation",    "voted",          "delegate",
    "allowance",    "figure",           "ticket-a",      "ticket-b",       "nation",
    "organisation", "individual",       "seat-assembly", "seat-executive", "seat-judiciary",
    "seat-finance", "seat-coordination"};

static struct fixture *federation(json_t *params_take)
{
    struct fixture *f = start("federation.lua", params_take);
    for (size_t i = 0; i < sizeof federal / sizeof *federal; i++)
        create(f, federal[i], strcmp(federal[i], "reputation") == 0 ? 100 : 0);
    run(f, "books.account.open", "{\"account\":\"org/executive\"}", "\"ok\":true");
    return f;
}

static void federation_weights(void **state)
{
    static const struct {
        const char *kind;
        int reputation, average;
        const char *weight;
    } rows[] = {/* what each adds to what was there before */
                {NULL, 7, 40, "\"weight\":0"},
                {"individual", 0, 0, "\"weight\":110"},    /* 7 * 10 + 40 * 1 */
                {NULL, 1, 59, "\"weight\":179"},           /* 8 * 10 + 99 */
                {NULL, 0, 100000, "\"weight\":180"},       /* savings count to their limit */
                {NULL, 90, 0, "\"weight\":400"},           /* 1080, over the cap */
                {"organisation", 0, 0, "\"weight\":1000"}, /* the first kind's */
                {"nation", 0, 0, "\"weight\":1080"}};
    struct fixture *f = federation(
        json_pack("{s:i, s:i, s:i, s:i}", "rules.weight_limit", 100, "rules.weight_cap_individual",
                  400, "rules.weight_cap_organisation", 1000, "rules.weight_cap_nation", 5000));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (rows[i].kind != NULL)
            issue(f, rows[i].kind, ann, 1);
        issue(f, "reputation", ann, rows[i].reputation);
        issue(f, "average", ann, rows[i].average);
        run(f, "gov.propose", "{\"procedure\":\"routine\",\"commands\":[]}", rows[i].weight);
    }
    run(f, "rules.params.set", "{\"params\":{\"weight_cap_nation\":1000000001}}",
        "weight_cap_nation is at least 0, at most 1000000000");
    free(ann);
    free(who);
    stop(f);
}

static void federation_money(void **state)
{
    struct fixture *f = federation(
        json_pack("{s:i, s:i, s:i, s:i, s:i, s:i}", "rules.inflation_ppm", 10000,
                  "rules.inflation_step_ppm", 5000, "rules.inflation_epochs", 3, "rules.yield_ppm",
                  100000, "rules.average_epochs", 2, "rules.voted_epochs", 2));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    (void)state;
    issue(f, "member", ann, 1);
    issue(f, "member", "key/bob", 1);
    issue(f, "member", "key/eve", 1);
    issue(f, "coin", ann, 4000);
    issue(f, "coin", "key/bob", 2000);
    issue(f, "coin", "key/eve", 4000);
    next_epoch(f); /* 1: 1 % of 10,000; nobody has taken part */
    expect(f, "coin", "org/treasury", 100);
    expect(f, "average", ann, 2000);
    expect(f, "average", "key/eve", 2000);
    char *body =
        mb_asprintf("{\"to\":\"%s\",\"until\":%d,\"who\":\"bob\"}", who, ORG_CREATED + 72000);
    run(f, "gov.delegate", body, "rules.denied");
    issue(f, "delegate", ann, 20);
    run(f, "gov.delegate", body, "\"ok\":true");
    next_epoch(f); /* 2: ann did not vote, so bob did not take part either */
    expect(f, "coin", "key/bob", 2000);
    expect(f, "coin", "org/treasury", 201);
    run(f, "gov.vote", "{}", "\"ok\":true");
    expect(f, "voted", ann, 4);
    next_epoch(f); /* 3: 0.5 % of 10,201 is 51, shared 300 to 150 */
    expect(f, "coin", ann, 4034);
    expect(f, "coin", "key/bob", 2017);
    expect(f, "coin", "key/eve", 4000);
    expect(f, "coin", "org/treasury", 201);
    expect(f, "average", ann, 3500);
    next_epoch(f); /* 4: 51 again, shared 350 to 175 */
    expect(f, "coin", ann, 4068);
    expect(f, "coin", "key/bob", 2034);
    next_epoch(f); /* 5: the vote does not count any more */
    expect(f, "coin", ann, 4068);
    free(body);
    free(ann);
    free(who);
    stop(f);
}

/* The only replica's part in the beacon of epoch: committed to in the epoch before. */
static void beacon(struct fixture *f, const char *verb, int epoch)
{
    uint8_t value[32] = {7};
    struct mb_hash hash = mb_sha256(value, sizeof value);
    char hex[MB_HASH_HEX_SIZE];
    bool reveals = strcmp(verb, "org.beacon.reveal") == 0;
    memcpy(reveals ? hash.b : value, value, sizeof value);
    mb_hash_hex(&hash, hex);
    char *body =
        mb_asprintf("{\"epoch\":%d,\"%s\":\"%s\"}", epoch, reveals ? "value" : "hash", hex);
    char *result = org_do(&f->o, f->time, &f->o.replica, verb, body);
    assert_non_null(strstr(result, "\"ok\":true"));
    free(result);
    free(body);
}

static void federation_raffle(void **state)
{
    struct fixture *f = federation(json_pack("{s:i, s:i, s:i}", "rules.raffle_prize", 101,
                                             "rules.raffle_winners", 2, "rules.inflation_ppm", 0));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    (void)state;
    issue(f, "coin", "org/treasury", 1000);
    next_epoch(f); /* 1 */
    run(f, "gov.vote", "{}", "\"ok\":true");
    run(f, "gov.vote", "{}", "\"ok\":true");
    expect(f, "ticket-b", ann, 1); /* however often one votes */
    next_epoch(f);                 /* 2: the list is final; what others do is of the next list */
    run(f, "gov.vote", "{}", "\"ok\":true");
    expect(f, "ticket-a", ann, 1);
    next_epoch(f); /* 3: nobody committed, so it is put off, and who votes now joins */
    expect(f, "coin", ann, 0);
    expect(f, "ticket-b", ann, 1);
    issue(f, "ticket-b", "key/bob", 1);
    beacon(f, "org.beacon.commit", 4);
    next_epoch(f); /* 4: nor for epoch 3 */
    beacon(f, "org.beacon.reveal", 4);
    beacon(f, "org.beacon.commit", 5);
    expect(f, "coin", "org/treasury", 1000);
    next_epoch(f); /* 5: beacon 4 draws two of two; 1 of 101 stays */
    expect(f, "coin", ann, 50);
    expect(f, "coin", "key/bob", 50);
    expect(f, "ticket-b", ann, 0);
    expect(f, "ticket-b", "key/bob", 0);
    expect(f, "ticket-a", ann, 1);
    next_epoch(f); /* 6: beacon 5 is "", for nobody revealed */
    expect(f, "ticket-a", ann, 1);
    expect(f, "coin", "org/treasury", 900);
    beacon(f, "org.beacon.commit", 7);
    next_epoch(f); /* 7 */
    beacon(f, "org.beacon.reveal", 7);
    next_epoch(f); /* 8: one alone gets all of it */
    expect(f, "ticket-a", ann, 0);
    expect(f, "coin", ann, 151);
    free(ann);
    free(who);
    stop(f);
}

static void federation_branches(void **state)
{
    struct fixture *f = federation(json_pack("{s:i, s:i, s:i, s:i}", "rules.spend_executive", 30,
                                             "rules.target_executive", 10, "rules.figure_epochs", 2,
                                             "rules.inflation_ppm", 0));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    static const char pay[] =
        "{\"entries\":[{\"account\":\"org/executive\",\"amount\":-%d,\"asset\":\"coin\"},"
        "{\"account\":\"key/bob\",\"amount\":%d,\"asset\":\"coin\"}]}";
    (void)state;
    issue(f, "coin", "org/executive", 1000);
    issue(f, "seat-executive", ann, 3);
    issue(f, "seat-executive", "key/bob", 10);
    issue(f, "seat-finance", "key/bob", 10);
    issue(f, "reputation", ann, 98);
    issue(f, "reputation", "key/bob", 2);
    next_epoch(f); /* 1 */
    expect(f, "allowance", "org/executive", 30);
    expect(f, "seat-executive", ann, 2);
    char *some = mb_asprintf(pay, 20, 20), *more = mb_asprintf(pay, 11, 11);
    run(f, "books.post", some, "\"ok\":true");
    expect(f, "allowance", "org/executive", 10);
    run(f, "books.post", more, "may spend 10 more in this epoch, not 11");
    issue(f, "figure", "org/executive", 10);
    next_epoch(f); /* 2: a new allowance; the figure is at its target, and reputation at its cap */
    expect(f, "allowance", "org/executive", 30);
    expect(f, "reputation", ann, 100);
    expect(f, "reputation", "key/bob", 7);
    expect(f, "figure", "org/executive", 0);
    run(f, "books.post", more, "\"ok\":true");
    next_epoch(f); /* 3: the mandate ends */
    expect(f, "seat-executive", ann, 0);
    issue(f, "figure", "org/executive", 9);
    next_epoch(f); /* 4: under the target */
    expect(f, "reputation", ann, 100);
    expect(f, "reputation", "key/bob", 2);
    next_epoch(f);
    next_epoch(f); /* 6: and not under 0 */
    expect(f, "reputation", "key/bob", 0);
    free(some);
    free(more);
    free(ann);
    free(who);
    stop(f);
}

static void federation_delegates(void **state)
{
    struct fixture *f =
        federation(json_pack("{s:i, s:i, s:i, s:i}", "rules.delegate_fee", 50, "rules.delegate_cap",
                             2, "rules.delegate_epochs", 3, "rules.inflation_ppm", 0));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    static const char pay[] =
        "{\"entries\":[{\"account\":\"%s\",\"amount\":-%d,\"asset\":\"coin\"},"
        "{\"account\":\"org/delegates\",\"amount\":%d,\"asset\":\"coin\"}]}";
    char *little = mb_asprintf(pay, ann, 49, 49), *fee = mb_asprintf(pay, ann, 50, 50);
    static const struct {
        const char *who;
        int64_t after;
        const char *has;
    } rows[] = {{"a", 4 * 3600 + 1, "is one until"}, /* epochs 1 to 3: it ends as 4 begins */
                {"a", 4 * 3600, "\"ok\":true"},
                {"b", 2 * 3600, "\"ok\":true"},
                {"c", 4 * 3600, "has 2 delegations, and 2 is the most"}};
    (void)state;
    issue(f, "coin", ann, 1000);
    next_epoch(f);
    run(f, "books.post", fee, "delegates are members");
    issue(f, "member", ann, 1);
    run(f, "books.post", little, "a delegate pays 50, not 49");
    run(f, "books.post", fee, "a reputation of 20, not 0");
    issue(f, "reputation", ann, 20);
    run(f, "books.post", fee, "\"ok\":true");
    expect(f, "delegate", ann, 3);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *body = mb_asprintf("{\"to\":\"%s\",\"until\":%" PRId64 ",\"who\":\"%s\"}", who,
                                 ORG_CREATED + rows[i].after, rows[i].who);
        run(f, "gov.delegate", body, rows[i].has);
        free(body);
    }
    next_epoch(f); /* 2: b's has ended */
    char *body =
        mb_asprintf("{\"to\":\"%s\",\"until\":%d,\"who\":\"c\"}", who, ORG_CREATED + 4 * 3600);
    run(f, "gov.delegate", body, "\"ok\":true");
    next_epoch(f);
    next_epoch(f); /* 4: the year is over */
    run(f, "gov.delegate", body, "no delegate");
    run(f, "books.post", fee, "\"ok\":true");
    expect(f, "delegate", ann, 6);
    free(body);
    free(little);
    free(fee);
    free(ann);
    free(who);
    stop(f);
}

static void issue_many(struct fixture *f, const char *what, int count, int amount)
{
    struct mb_buf body = {0};
    mb_buf_addf(&body, "{\"entries\":[{\"account\":\"issue/%s\",\"amount\":%d,\"asset\":\"%s\"}",
                what, -amount * count, what);
    for (int i = 0; i < count; i++)
        mb_buf_addf(&body,
                    ",{\"account\":\"key/SHA256:0123456789abcdefghijklmnopqrstuvwxyzABC%04d\","
                    "\"amount\":%d,\"asset\":\"%s\"}",
                    i, amount, what);
    mb_buf_addf(&body, "]}");
    run(f, "books.post", mb_buf_text(&body), "\"ok\":true");
    mb_buf_clear(&body);
}

#define MEMBERS 400

static void federation_at_its_limits(void **state)
{
    static const char who[] = "SHA256:0123456789abcdefghijklmnopqrstuvwxyzABC";
    char account[64];
    struct fixture *f = federation(json_pack("{s:i, s:i, s:i, s:i}", "rules.raffle_prize", 100,
                                             "rules.raffle_winners", 4, "rules.target_executive", 1,
                                             "rules.figure_epochs", 1));
    (void)state;
    issue(f, "coin", "org/treasury", 1000000);
    next_epoch(f); /* 1 */
    beacon(f, "org.beacon.commit", 2);
    issue_many(f, "coin", MEMBERS, 3000000);
    issue_many(f, "average", MEMBERS, 1000000);
    issue_many(f, "member", MEMBERS, 1);
    issue_many(f, "ticket-b", MEMBERS, 1);
    issue_many(f, "voted", 4, 9); /* the others delegate, which takes longer */
    issue_many(f, "seat-executive", 40, 9);
    issue_many(f, "reputation", 40, 9);
    issue_many(f, "delegate", 4, 9);
    run(f, "rules.params.set", "{\"params\":{\"delegate_cap\":101}}",
        "delegate_cap is at least 0, at most 100");
    for (int i = 4; i < MEMBERS; i++) {
        char *body = mb_asprintf("{\"to\":\"%s%04d\",\"until\":%d,\"who\":\"%s%04d\"}", who, i % 4,
                                 ORG_CREATED + 9 * 3600, who, i);
        run(f, "gov.delegate", body, "\"ok\":true");
        free(body);
    }
    next_epoch(f); /* 2 */
    beacon(f, "org.beacon.reveal", 2);
    next_epoch(f); /* 3 */
    mb_snprintf(account, sizeof account, "key/%s%04d", who, MEMBERS - 1);
    expect(f, "average", account, 1131111);
    expect(f, "ticket-b", account, 0);
    mb_snprintf(account, sizeof account, "key/%s%04d", who, 39);
    expect(f, "seat-executive", account, 7);
    expect(f, "reputation", account, 0);
    stop(f);
}

/* --- makerspace --- */

static void make_asset(struct fixture *f, const char *name)
{
    char *body = mb_asprintf("{\"asset\":\"%s\",\"half_life_epochs\":0,\"issuer\":\"org\","
                             "\"transferable\":0}",
                             name);
    run(f, "books.asset.create", body, "\"ok\":true");
    free(body);
}

/* From the issue account of an asset, by the first founder. */
static void post_issue(struct fixture *f, const char *asset, const char *account, int amount,
                       const char *has)
{
    char *body = mb_asprintf("{\"entries\":[{\"account\":\"%s\",\"amount\":%d,\"asset\":\"%s\"},"
                             "{\"account\":\"issue/%s\",\"amount\":%d,\"asset\":\"%s\"}]}",
                             account, amount, asset, asset, -amount, asset);
    run(f, "books.post", body, has);
    free(body);
}

static void makerspace_certifies_and_takes_back(void **state)
{
    struct fixture *f = start("makerspace.lua", json_pack("{s:i}", "rules.cert_epochs", 3));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    (void)state;
    issue(f, "member", ann, 1);
    issue(f, "member", "key/bob", 1);
    make_asset(f, "cert-laser");
    issue(f, "trainer-laser", ann, 1);
    post_issue(f, "cert-laser", ann, 1, "nobody certifies their own key");
    post_issue(f, "cert-laser", "key/eve", 1, "only members are certified");
    post_issue(f, "cert-laser", "key/bob", 4, "3 epochs ahead at most, and 0 are there");
    post_issue(f, "cert-laser", "key/bob", 2, "\"ok\":true");
    post_issue(f, "cert-laser", "key/bob", 2, "and 2 are there");
    expect(f, "cert-laser", "key/bob", 2);
    next_epoch(f);
    expect(f, "cert-laser", "key/bob", 1);
    next_epoch(f);
    expect(f, "cert-laser", "key/bob", 0);
    next_epoch(f);
    expect(f, "cert-laser", "key/bob", 0);
    post_issue(f, "cert-laser", "key/bob", 3, "\"ok\":true");
    post_issue(f, "cert-laser", "key/bob", -3, "\"ok\":true");
    expect(f, "cert-laser", "key/bob", 0);
    /* Nothing ends of an asset that its holders may sell on. */
    run(f, "books.asset.create",
        "{\"asset\":\"cert-x\",\"half_life_epochs\":0,\"issuer\":\"org\",\"transferable\":1}",
        "\"ok\":true");
    issue(f, "cert-x", "key/bob", 2);
    next_epoch(f);
    expect(f, "cert-x", "key/bob", 2);
    run(f, "rules.params.set", "{\"params\":{\"cert_epochs\":0}}", "cert_epochs is at least 1");
    run(f, "rules.params.set", "{\"params\":{\"pass_price\":-1}}", "pass_price is at least 0");
    free(ann);
    free(who);
    stop(f);
}

static void makerspace_sells_passes(void **state)
{
    struct fixture *f = start(
        "makerspace.lua", json_pack("{s:i, s:i}", "rules.pass_price", 10, "rules.pass_epochs", 4));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    char *some = pay_body(ann, 25), *little = pay_body(ann, 9), *much = pay_body(ann, 90);
    (void)state;
    issue(f, "coin", ann, 1000);
    make_asset(f, "pass");
    run(f, "books.post", some, "\"ok\":true");
    expect(f, "pass", ann, 0); /* no member yet */
    issue(f, "member", ann, 1);
    run(f, "books.post", some, "\"ok\":true");
    expect(f, "pass", ann, 2);
    run(f, "books.post", little, "\"ok\":true");
    expect(f, "pass", ann, 2);
    run(f, "books.post", much, "\"ok\":true");
    expect(f, "pass", ann, 4);
    next_epoch(f);
    expect(f, "pass", ann, 3);
    expect(f, "coin", "org/treasury", 149);
    free(some);
    free(little);
    free(much);
    free(ann);
    free(who);
    stop(f);
}

static void makerspace_at_its_limits(void **state)
{
    static const char *const assets[] = {"cert-a", "cert-b", "cert-c", "cert-d", "pass"};
    struct fixture *f = start("makerspace.lua", json_object());
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    char name[64];
    (void)state;
    for (size_t a = 0; a < 5; a++) {
        make_asset(f, assets[a]);
        for (int i = 0; i < 600; i++) {
            (void)mb_snprintf(name, sizeof name,
                              "key/SHA256:0123456789abcdefghijklmnopqrstuvwxyz%07d", i);
            issue(f, assets[a], name, 2);
        }
    }
    next_epoch(f);
    for (size_t a = 0; a < 5; a++)
        expect(f, assets[a], name, 1);
    /* No trainer begins one more; those that are there may be prolonged. */
    issue(f, "member", ann, 1);
    issue(f, "member", name, 1);
    issue(f, "member", "key/new", 1);
    issue(f, "trainer-a", ann, 1);
    post_issue(f, "cert-a", "key/new", 1, "there is room for 3000 holdings");
    post_issue(f, "cert-a", name, 1, "\"ok\":true");
    /* Where there are too many, nothing is half done, and the ledger says why. */
    issue(f, "pass", "key/new", 2);
    f->time += 3600;
    struct mb_outcome *o = org_block(&f->o, f->time, NULL, 0);
    assert_int_equal(o->block.result_count, 1);
    assert_non_null(strstr(mb_buf_text(&o->block.results[0]), "rules.on_epoch"));
    assert_non_null(strstr(mb_buf_text(&o->block.results[0]), "3001"));
    mb_outcome_free(o);
    expect(f, "pass", "key/new", 2);
    free(ann);
    free(who);
    stop(f);
}

/* --- artists --- */

static void weighs(struct fixture *f, int64_t weight)
{
    char *has = mb_asprintf("\"weight\":%" PRId64 "}", weight);
    run(f, "gov.propose", "{\"procedure\":\"routine\",\"commands\":[]}", has);
    free(has);
}

static void artists_share_votes_and_income(void **state)
{
    struct fixture *f = start("artists.lua", json_pack("{s:i}", "rules.dividend", 40));
    char *who = org_fingerprint(&f->o.founders[0]), *ann = mb_asprintf("key/%s", who);
    (void)state;
    weighs(f, 1); /* each member, until there are votes */
    run(f, "books.asset.create", "{\"asset\":\"vote\"}", "\"ok\":true");
    weighs(f, 0);
    issue(f, "share", ann, 60);
    issue(f, "share", "key/bob", 30);
    issue(f, "share", "org/reserve", 500); /* no owner */
    weighs(f, 0);
    issue(f, "coin", "org/income", 1000);
    next_epoch(f);
    weighs(f, 60);
    expect(f, "vote", ann, 60);
    expect(f, "vote", "key/bob", 30);
    expect(f, "vote", "org/reserve", 0);
    expect(f, "coin", ann, 266);
    expect(f, "coin", "key/bob", 133);
    expect(f, "coin", "org/treasury", 601);
    expect(f, "coin", "org/income", 0);
    /* Sold: they count for nobody until the next epoch. */
    issue(f, "share", ann, -50);
    issue(f, "share", "key/cat", 50);
    weighs(f, 10);
    next_epoch(f);
    weighs(f, 10);
    expect(f, "vote", "key/cat", 50);
    /* Bought: from the next epoch. */
    issue(f, "share", ann, 30);
    issue(f, "share", "key/bob", -30);
    weighs(f, 10);
    next_epoch(f);
    weighs(f, 40);
    expect(f, "vote", "key/bob", 0);
    free(ann);
    free(who);
    stop(f);
}

/* All shares change hands from 1,000 owners to 1,000 others, and there is an income. */
static void artists_at_their_limit(void **state)
{
    struct fixture *f = start("artists.lua", json_object());
    char name[2][64];
    (void)state;
    run(f, "books.asset.create", "{\"asset\":\"vote\"}", "\"ok\":true");
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 1000; i++) {
            for (int k = 0; k < 2; k++)
                mb_snprintf(name[k], sizeof name[k],
                            "key/SHA256:%d123456789abcdefghijklmnopqrstu%04d", k, i);
            issue(f, "share", name[turn], 2);
            if (turn == 1)
                issue(f, "share", name[0], -2);
        }
        issue(f, "coin", "org/income", 4000);
        next_epoch(f);
        expect(f, "vote", name[turn], 2);
        expect(f, "vote", name[1 - turn], 0);
        expect(f, "coin", name[turn], 2);
        expect(f, "coin", "org/treasury", 2000 * (turn + 1));
    }
    stop(f);
}

static void artists_decide(void **state)
{
    struct fixture *f = start("artists.lua", json_object());
#define SPEND                                                                                      \
    "{\"type\":\"books.post\",\"body\":{\"entries\":[{\"account\":\"org/treasury\",\"amount\":-5," \
    "\"asset\":\"coin\"},{\"account\":\"key/bob\",\"amount\":5,\"asset\":\"coin\"}]}}"
#define MERGE                                                                                      \
    "{\"type\":\"vcs.merge\",\"body\":{\"repo\":\"r\",\"proposal\":1,\"old\":\"1\",\"new\":\"2\"}" \
    "}"
    static const struct {
        const char *procedure, *commands, *has;
    } rows[] = {
        {"routine", "[" SPEND "]", "procedure treasury"},
        {"treasury", "[" SPEND "]", "\"ok\":true"},
        {"treasury", "[" SPEND "," MERGE "]", "procedure feature"},
        {"feature", "[" SPEND "]", "only what is merged"},
        {"feature", "[" MERGE "," SPEND "]", "no such proposal"},
        {"feature", "[{\"type\":\"names.set\",\"body\":{}}]", "no more"},
        {"constitution", "[" SPEND "," MERGE "]", "\"ok\":true"},
        {"routine", "[1]", "no commands"},
        {"routine", "[{\"type\":\"x\",\"body\":2}]", "no commands"},
        {"routine", "[{\"type\":\"books.post\",\"body\":{\"entries\":[1]}}]", "no commands"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *body = mb_asprintf("{\"procedure\":\"%s\",\"commands\":%s}", rows[i].procedure,
                                 rows[i].commands);
        run(f, "gov.propose", body, rows[i].has);
        free(body);
    }
    run(f, "rules.params.set", "{\"params\":{\"dividend\":101}}", "dividend is 0 to 100");
    stop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cooperative_pays_and_is_paid),
        cmocka_unit_test(cooperative_at_its_limits),
        cmocka_unit_test(cooperative_votes_and_treasury),
        cmocka_unit_test(cooperative_salami_spending_under_the_limit),
        cmocka_unit_test(federation_weights),
        cmocka_unit_test(federation_money),
        cmocka_unit_test(federation_raffle),
        cmocka_unit_test(federation_branches),
        cmocka_unit_test(federation_delegates),
        cmocka_unit_test(federation_at_its_limits),
        cmocka_unit_test(artists_share_votes_and_income),
        cmocka_unit_test(artists_at_their_limit),
        cmocka_unit_test(artists_decide),
        cmocka_unit_test(makerspace_certifies_and_takes_back),
        cmocka_unit_test(makerspace_sells_passes),
        cmocka_unit_test(makerspace_at_its_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
