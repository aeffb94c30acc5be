/* SPDX-License-Identifier: GPL-3.0-or-later */
/* books's verbs over a ledger in memory. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../modules/books/books.h"
#include "../support/org.h"
#include "base/encode.h"

#define EPOCH_S 3600
#define MANY    5000 /* holders: more than a block's share */

static const struct mb_logic *const modules[] = {&books_logic};

struct fixture {
    struct org o;
    struct mb_memory *memory;
    struct mb_backend backend;
    struct mb_secret_key *boss, *ann;
    char *boss_account, *ann_account, *nobody; /* key/… */
    int64_t time;
};

static char *account_of(const struct mb_secret_key *key)
{
    char *fingerprint = org_fingerprint(key), *account = mb_asprintf("key/%s", fingerprint);
    free(fingerprint);
    return account;
}

static int set_up(void **state)
{
    struct fixture *f = *state = mb_calloc(1, sizeof *f);
    struct org *o = &f->o;
    f->memory = mb_memory_new();
    f->backend = mb_memory_backend(f->memory);
    json_t *json = org_genesis_json(o, 2, 1);
    json_t *versions = json_object_get(json, "versions");
    json_object_del(versions, "toy");
    json_object_set_new(versions, "books", json_integer(1));
    assert_int_equal(mb_json_canonical(&o->genesis, json, NULL), 0);
    json_decref(json);
    assert_int_equal(
        mb_ledger_found(&o->ledger, f->backend, modules, 1, mb_buf_bytes(&o->genesis), &o->error),
        0);
    struct mb_secret_key nobody = org_key(99);
    f->boss = &o->founders[0];
    f->ann = &o->other;
    f->boss_account = account_of(f->boss);
    f->ann_account = account_of(f->ann);
    f->nobody = account_of(&nobody);
    f->time = ORG_CREATED + 1;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    org_clear(&f->o);
    mb_memory_free(f->memory);
    free(f->boss_account);
    free(f->ann_account);
    free(f->nobody);
    free(f);
    return 0;
}

/* --- The books --- */

struct totals {
    __int128 sum;
    int64_t supply;
    size_t holders;
};

/* Of an asset: what all accounts hold sums to zero, and no holder holds less than nothing. */
static struct totals totals(struct fixture *f, const char *asset)
{
    struct totals t = {0};
    struct mb_buf key = {0}, value = {0}, from = {0};
    char *prefix = mb_asprintf("books/balance/%s/", asset);
    while (f->backend.ops->seek(f->backend.self, prefix, mb_buf_text(&from), &key, &value) == 1) {
        int64_t balance = strtoll(mb_buf_text(&value), NULL, 10);
        t.sum += balance;
        if (strncmp(mb_buf_text(&key) + strlen(prefix), "issue/", 6) == 0) {
            t.supply = -balance;
        } else {
            assert_true(balance > 0);
            t.holders++;
        }
        mb_buf_reset(&from);
        mb_buf_add_bytes(&from, mb_buf_bytes(&key));
        mb_buf_add_u8(&from, 1);
        mb_buf_reset(&key);
        mb_buf_reset(&value);
    }
    assert_true(t.sum == 0);
    mb_buf_clear(&key);
    mb_buf_clear(&value);
    mb_buf_clear(&from);
    free(prefix);
    return t;
}

static int64_t balance(struct fixture *f, const char *asset, const char *account)
{
    char *key = mb_asprintf("books/balance/%s/%s", asset, account), *text = org_state(&f->o, key);
    int64_t n = text != NULL ? strtoll(text, NULL, 10) : 0;
    free(key);
    free(text);
    return n;
}

/* --- Commands --- */

/* The code that it is refused with, "" for none; error.args is left in last. */
static char *last;
static const char *code_of(struct fixture *f, const struct mb_secret_key *key, const char *type,
                           const char *body)
{
    static char code[MB_ERROR_CODE_MAX];
    free(last);
    last = org_do(&f->o, f->time, key, type, body);
    json_t *json = json_loads(last, 0, NULL);
    mb_snprintf(code, sizeof code, "%s",
                mb_json_get_text(json_object_get(json, "error"), "code", ""));
    json_decref(json);
    return code;
}

/* wanted: "", or a code, or a code and its args as in the result: books.balance["org","eur",1,2].
 */
static void expect(struct fixture *f, const struct mb_secret_key *key, const char *type,
                   const char *body, const char *wanted)
{
    size_t len = strcspn(wanted, "[");
    const char *code = code_of(f, key, type, body);
    if (strlen(code) != len || strncmp(code, wanted, len) != 0 ||
        (wanted[len] != '\0' && strstr(last, wanted + len) == NULL))
        fail_msg("%s instead of \"%s\" for %s %s", last, wanted, type, body);
}

static void asset(struct fixture *f, const char *fields, const char *wanted)
{
    char *body = mb_asprintf("{\"asset\":%s}", fields);
    expect(f, f->boss, "books.asset.create", body, wanted);
    free(body);
}

/* account, amount, … of one asset, ended by NULL. */
static char *entries(const char *name, va_list ap)
{
    struct mb_buf b = {0};
    const char *account;
    mb_buf_add_text(&b, "{\"entries\":[");
    for (size_t i = 0; (account = va_arg(ap, const char *)) != NULL; i++)
        mb_buf_addf(&b, "%s{\"account\":\"%s\",\"amount\":%" PRId64 ",\"asset\":\"%s\"}",
                    i > 0 ? "," : "", account, va_arg(ap, int64_t), name);
    mb_buf_add_text(&b, "]}");
    return mb_buf_take_text(&b);
}

static void post(struct fixture *f, const struct mb_secret_key *key, const char *wanted,
                 const char *name, ...)
{
    va_list ap;
    va_start(ap, name);
    char *body = entries(name, ap);
    va_end(ap);
    expect(f, key, "books.post", body, wanted);
    free(body);
}
#define N(n) ((int64_t)(n))

static void issue(struct fixture *f, const char *name, const char *account, int64_t amount)
{
    char *from = mb_asprintf("issue/%s", name);
    post(f, f->boss, "", name, from, -amount, account, amount, NULL);
    free(from);
}

static void empty_block(struct fixture *f)
{
    struct mb_outcome *outcome = org_block(&f->o, f->time, NULL, 0);
    assert_non_null(outcome);
    mb_outcome_free(outcome);
}

/* --- Names --- */

static void names(void **state)
{
    static const struct {
        const char *name;
        bool asset, account;
    } cases[] = {
        {"a", true, true},
        {"eur", true, true},
        {"share-class-b2", true, true},
        {"", false, false},
        {"-a", false, false},
        {"a-", false, false},
        {"a--b", false, false},
        {"2a", false, true},
        {"EUR", false, false},
        {"e_r", false, false},
        {"eu\xd1\x80", false, false},
        {"a b", false, false},
        {"abcdefghijklmnopqrstuvwxyzabcdef", true, true},
        {"abcdefghijklmnopqrstuvwxyzabcdefg", false, true},
        {"org/treasury", false, true},
        {"org//treasury", false, false},
        {"org/", false, false},
        {"/org", false, false},
        {"a/b/c/d/e/f/g/h", false, true},
        {"a/b/c/d/e/f/g/h/i", false, false},
        {"key", true, false},
        {"key/x", false, false},
        {"issue", true, false},
        {"issue/eur", false, true},
        {"issue/eur/x", false, false},
        {"key/SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", false, true},
        {"key/SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/", false, false},
        {"key/SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA/savings", false, true},
        {"key/SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAsavings", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (books_asset_name_valid(cases[i].name) != cases[i].asset ||
            books_account_valid(cases[i].name) != cases[i].account)
            fail_msg("%s", cases[i].name);
    }
}

static void asset_names_that_look_alike(void **state)
{
    struct fixture *f = *state;
    asset(f, "\"coin-10\"", "");
    asset(f, "\"coin-10\"", "books.asset_twin[\"coin-10\",\"coin-10\"]");
    asset(f, "\"coin10\"", "books.asset_twin[\"coin10\",\"coin-10\"]");
    asset(f, "\"co1n-lo\"", "books.asset_twin[\"co1n-lo\",\"coin-10\"]");
    asset(f, "\"rnember\"", "books.asset_twin[\"rnember\",\"member\"]");
    asset(f, "\"mer-nber\"", "books.asset_twin[\"mer-nber\",\"member\"]");
    asset(f, "\"dvves\"", "");
    asset(f, "\"c-lwes\"", "books.asset_twin[\"c-lwes\",\"dvves\"]");
    asset(f, "\"r\"", "");
    asset(f, "\"rm\"", "");
    asset(f, "\"Member\"", "books.asset_name");
    asset(f, "\"m\\u0435mber\"", "books.asset_name"); /* a Cyrillic letter */
    asset(f, "\"mem-ber\"", "books.asset_twin");
}

/* --- Assets and accounts --- */

static void genesis_makes_the_founders_members(void **state)
{
    struct fixture *f = *state;
    char *text = org_state(&f->o, "books/asset/member");
    assert_string_equal(text,
                        "{\"cap\":1,\"delegable\":0,\"half_life_epochs\":0,\"issuer\":\"org\","
                        "\"scale\":0,\"title\":\"Members\",\"transferable\":0}");
    free(text);
    assert_int_equal(totals(f, "member").supply, 2);
    assert_int_equal(balance(f, "member", f->boss_account), 1);
    assert_int_equal(balance(f, "member", f->ann_account), 0);
    issue(f, "member", f->ann_account, 1);
    assert_int_equal(balance(f, "member", f->ann_account), 1);
    post(f, f->boss, "books.cap[", "member", "issue/member", N(-1), f->ann_account, N(1), NULL);
}

static void assets_are_checked(void **state)
{
    struct fixture *f = *state;
    asset(f, "\"eur\",\"scale\":2,\"transferable\":1,\"title\":\"Euro\",\"cap\":0", "");
    asset(f, "\"a\",\"scale\":19", "body.invalid");
    asset(f, "\"a\",\"scale\":-1", "body.invalid");
    asset(f, "\"a\",\"cap\":-1", "body.invalid");
    asset(f, "\"a\",\"half_life_epochs\":1000001", "body.invalid");
    asset(f, "\"a\",\"transferable\":2", "body.invalid");
    asset(f, "\"a\",\"more\":2", "body.invalid");
    asset(f, "\"a\",\"issuer\":\"gov\"", "books.controller_unknown[\"gov\"]");
    asset(f, "\"a\",\"issuer\":\"core\"", "books.controller_unknown");
    asset(f, "\"a\",\"issuer\":\"books\"", "");
    expect(f, f->ann, "books.asset.create", "{\"asset\":\"b\"}", "command.access");
}

static void open_account(struct fixture *f, const struct mb_secret_key *key, const char *account,
                         const char *more, const char *wanted)
{
    char *body = mb_asprintf("{\"account\":\"%s\"%s}", account, more);
    expect(f, key, "books.account.open", body, wanted);
    free(body);
}

static void accounts_and_who_controls_them(void **state)
{
    struct fixture *f = *state;
    char *savings = mb_asprintf("%s/savings", f->ann_account), *ann = f->ann_account + 4;
    char *by_ann = mb_asprintf(",\"controller\":\"%s\"", ann);
    char *set = mb_asprintf("{\"account\":\"%s\",\"controller\":\"org\"}", savings);
    asset(f, "\"eur\",\"transferable\":1", "");
    open_account(f, f->boss, "org/treasury", "", "");
    open_account(f, f->boss, "org/treasury", "", "books.account_exists[\"org/treasury\",\"org\"]");
    open_account(f, f->boss, "org", "", "books.account_exists");
    open_account(f, f->boss, f->boss_account, "", "books.account_exists");
    open_account(f, f->boss, "issue/eur", "", "books.account[");
    open_account(f, f->boss, "a//b", "", "books.account[");
    open_account(f, f->boss, "org/x", ",\"controller\":\"nobody\"", "books.controller_unknown");
    open_account(f, f->ann, "org/x", "", "command.access");
    open_account(f, f->boss, "org/eng", by_ann, "");
    open_account(f, f->ann, "org/eng/infra", "", "");
    open_account(f, f->boss, savings, "", "books.controller");
    open_account(f, f->ann, savings, "", "");
    issue(f, "eur", "org/eng/infra", 10);
    issue(f, "eur", savings, 10);
    post(f, f->ann, "", "eur", "org/eng/infra", N(-4), "org/treasury", N(4), NULL);
    post(f, f->boss, "books.controller", "eur", savings, N(-1), "org", N(1), NULL);
    /* She lets the organisation collect from it, and takes that back. */
    expect(f, f->boss, "books.account.set", set, "books.controller");
    expect(f, f->ann, "books.account.set", set, "");
    post(f, f->boss, "", "eur", savings, N(-1), "org", N(1), NULL);
    free(set);
    set = mb_asprintf("{\"account\":\"%s\",\"controller\":\"%s\"}", savings, ann);
    expect(f, f->ann, "books.account.set", set, "");
    post(f, f->boss, "books.controller", "eur", savings, N(-1), "org", N(1), NULL);
    expect(f, f->boss, "books.account.set", "{\"account\":\"org/y\"}", "books.account_unknown");
    /* A module's accounts move by what the ledger runs itself, not by a founder's signature. */
    open_account(f, f->boss, "escrow", ",\"controller\":\"books\"", "");
    issue(f, "eur", "escrow", 5);
    post(f, f->boss, "books.controller[\"escrow\",\"books\"]", "eur", "escrow", N(-1), "org", N(1),
         NULL);
    assert_int_equal(totals(f, "eur").supply, 25);
    free(set);
    free(by_ann);
    free(savings);
}

static void accounts_that_one_opens_are_bounded(void **state)
{
    struct fixture *f = *state;
    char account[BOOKS_ACCOUNT_MAX];
    for (int i = 0; i < BOOKS_ACCOUNTS_MAX; i++) {
        mb_snprintf(account, sizeof account, "%s/a%d", f->ann_account, i);
        open_account(f, f->ann, account, "", "");
    }
    mb_snprintf(account, sizeof account, "%s/a0/deeper", f->ann_account);
    open_account(f, f->ann, account, "", "books.accounts[100,100]");
    expect(f, f->boss, "org.param.set", "{\"name\":\"books.accounts_max\",\"value\":101}", "");
    open_account(f, f->ann, account, "", "");
    open_account(f, f->ann, account, "", "books.account_exists"); /* counts nothing */
    mb_snprintf(account, sizeof account, "%s/b", f->ann_account);
    open_account(f, f->ann, account, "", "books.accounts[101,101]");
    /* What she controls of the organisation's is no way round it; the organisation has no limit. */
    char *by_ann = mb_asprintf(",\"controller\":\"%s\"", f->ann_account + 4);
    open_account(f, f->boss, "org/eng", by_ann, "");
    open_account(f, f->ann, "org/eng/infra", "", "books.accounts[101,101]");
    expect(f, f->boss, "org.param.set", "{\"name\":\"books.accounts_max\",\"value\":0}", "");
    open_account(f, f->boss, "org/more", "", "");
    free(by_ann);
}

/* --- Postings --- */

static void postings_are_checked(void **state)
{
    struct fixture *f = *state;
    const char *ann = f->ann_account, *boss = f->boss_account;
    asset(f, "\"eur\",\"transferable\":1", "");
    asset(f, "\"usd\",\"transferable\":1,\"cap\":50", "");
    issue(f, "eur", ann, 100);
    post(f, f->ann, "", "eur", ann, N(-40), boss, N(40), NULL);
    post(f, f->ann, "books.balance[", "eur", ann, N(-61), boss, N(61), NULL);
    assert_non_null(strstr(last, ",\"eur\",60,61]"));
    post(f, f->ann, "books.unbalanced[\"eur\",39,40]", "eur", ann, N(-40), boss, N(39), NULL);
    post(f, f->ann, "body.invalid", "eur", NULL); /* empty */
    post(f, f->ann, "body.invalid", "eur", ann, N(-1), NULL);
    post(f, f->ann, "books.amount", "eur", ann, N(0), boss, N(0), NULL);
    post(f, f->ann, "books.twice", "eur", ann, N(-1), ann, N(1), NULL);
    post(f, f->ann, "books.asset_unknown[\"gold\"]", "gold", ann, N(-1), boss, N(1), NULL);
    post(f, f->ann, "books.account_unknown", "eur", ann, N(-1), "org/typo", N(1), NULL);
    post(f, f->ann, "books.account_unknown", "eur", ann, N(-1), "ORG", N(1), NULL);
    post(f, f->ann, "books.issue[\"issue/usd\",\"eur\"]", "eur", ann, N(-1), "issue/usd", N(1),
         NULL);
    post(f, f->boss, "books.cap", "usd", "issue/usd", N(-51), "org", N(51), NULL);
    post(f, f->boss, "", "usd", "issue/usd", N(-50), "org", N(50), NULL);
    post(f, f->ann, "command.access", "eur", boss, N(-1), ann, N(1), NULL);
    post(f, f->ann, "command.access", "eur", "issue/eur", N(-1), ann, N(1), NULL);
    post(f, f->ann, "", "eur", ann, N(-10), "issue/eur", N(10), NULL); /* burnt */
    assert_int_equal(totals(f, "eur").supply, 90);
    /* Two assets change hands in one posting, each balanced by itself. */
    char *swap = mb_asprintf("{\"entries\":[{\"account\":\"org\",\"amount\":-5,\"asset\":\"usd\"},"
                             "{\"account\":\"%s\",\"amount\":5,\"asset\":\"eur\"}]}",
                             boss);
    expect(f, f->boss, "books.post", swap, "books.unbalanced[\"usd\",0,5]");
    free(swap);
}

static void negative_amounts(void **state)
{
    struct fixture *f = *state;
    asset(f, "\"eur\",\"transferable\":1", "");
    issue(f, "eur", f->boss_account, 5);
    /* To "pay" minus five is to take: it needs the other's signature. */
    post(f, f->ann, "command.access", "eur", f->boss_account, N(-5), f->ann_account, N(5), NULL);
    post(f, f->boss, "books.balance", "eur", "org", N(-1), f->ann_account, N(1), NULL);
    expect(f, f->boss, "books.post",
           "{\"entries\":[{\"account\":\"org\",\"amount\":-9223372036854775808,\"asset\":\"eur\"},"
           "{\"account\":\"org\",\"amount\":1,\"asset\":\"eur\"}]}",
           "body.invalid");
}

static void amounts_stay_within_64_bits(void **state)
{
    struct fixture *f = *state;
    asset(f, "\"big\",\"transferable\":1", "");
    open_account(f, f->boss, "org/x", "", "");
    issue(f, "big", "org", INT64_MAX);
    post(f, f->boss, "books.overflow[\"issue/big\",\"big\"]", "big", "issue/big", N(-1),
         f->boss_account, N(1), NULL);
    post(f, f->boss, "books.overflow", "big", "issue/big", -INT64_MAX, f->boss_account, INT64_MAX,
         NULL);
    post(f, f->boss, "books.unbalanced[\"big\",9223372036854775807,9223372036854775807]", "big",
         "issue/big", -INT64_MAX, "org", INT64_MAX, f->boss_account, INT64_MAX, f->ann_account,
         -INT64_MAX, f->nobody, N(1), NULL);
    post(f, f->boss, "books.balance", "big", "org", -INT64_MAX, "org/x", N(-1), "issue/big",
         INT64_MAX, f->nobody, N(1), NULL);
    assert_int_equal(totals(f, "big").supply, INT64_MAX);
}

static void what_is_not_transferable(void **state)
{
    struct fixture *f = *state;
    const char *ann = f->ann_account, *boss = f->boss_account;
    char *below = mb_asprintf("%s/x", ann),
         *issuer = mb_asprintf("\"cert\",\"issuer\":\"%s\"", ann + 4);
    issue(f, "member", ann, 1);
    post(f, f->ann, "command.access", "member", ann, N(-1), boss, N(1), NULL);
    post(f, f->ann, "command.access", "member", ann, N(-1), "issue/member", N(1), NULL);
    post(f, f->boss, "books.transfer", "member", ann, N(-1), "org", N(1), NULL);
    post(f, f->boss, "books.transfer", "member", ann, N(-1), "org", N(2), "issue/member", N(-1),
         NULL);
    open_account(f, f->ann, below, "", "");
    post(f, f->boss, "books.transfer", "member", "issue/member", N(-1), below, N(1), NULL);
    post(f, f->boss, "", "member", ann, N(-1), "issue/member", N(1), NULL);
    asset(f, issuer, "");
    post(f, f->boss, "books.issuer", "cert", "issue/cert", N(-1), boss, N(1), NULL);
    post(f, f->ann, "", "cert", "issue/cert", N(-1), boss, N(1), NULL);
    post(f, f->ann, "", "cert", "issue/cert", N(1), boss, N(-1), NULL);
    free(below);
    free(issuer);
}

/* Reputation comes from its issuer, as much as its cap at most: neither by oneself, nor around a
 * ring. */
static void self_vouching_and_reputation_rings(void **state)
{
    struct fixture *f = *state;
    const char *ann = f->ann_account, *boss = f->boss_account, *nobody = f->nobody;
    issue(f, "member", ann, 1);
    asset(f, "\"standing\",\"cap\":100,\"half_life_epochs\":4", "");
    post(f, f->ann, "command.access", "standing", "issue/standing", N(-1), ann, N(1), NULL);
    post(f, f->ann, "command.access", "standing", "issue/standing", N(-1), boss, N(1), NULL);
    issue(f, "standing", ann, 60);
    post(f, f->ann, "command.access", "standing", ann, N(-60), boss, N(60), NULL);
    post(f, f->ann, "command.access", "standing", ann, N(-60), "issue/standing", N(60), NULL);
    post(f, f->boss, "books.transfer", "standing", ann, N(-60), nobody, N(60), NULL);
    post(f, f->boss, "books.transfer", "standing", ann, N(-60), boss, N(30), nobody, N(30), NULL);
    post(f, f->boss, "books.cap", "standing", "issue/standing", N(-41), ann, N(41), NULL);
    assert_int_equal(balance(f, "standing", ann), 60);
    assert_int_equal(totals(f, "standing").holders, 1);
}

static void assertions_hold_or_nothing_is_posted(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *assertion, *wanted;
    } cases[] = {
        {"{\"account\":\"org\",\"asset\":\"eur\",\"min\":91}",
         "books.assert_min[\"org\",\"eur\",90,91]"},
        {"{\"account\":\"org\",\"asset\":\"eur\",\"max\":89}",
         "books.assert_max[\"org\",\"eur\",90,89]"},
        {"{\"account\":\"org\",\"asset\":\"gold\",\"max\":89}", "books.asset_unknown"},
        {"{\"account\":\"void\",\"asset\":\"eur\",\"max\":89}", "books.account_unknown"},
        {"{\"asset\":\"eur\",\"max\":89}", "body.invalid"},
        {"{\"account\":\"org\",\"asset\":\"eur\",\"min\":90,\"max\":90}", ""},
    };
    asset(f, "\"eur\",\"transferable\":1", "");
    issue(f, "eur", "org", 100);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *body =
            mb_asprintf("{\"assert\":[%s],\"entries\":[{\"account\":\"org\",\"amount\":-10,"
                        "\"asset\":\"eur\"},{\"account\":\"%s\",\"amount\":10,\"asset\":"
                        "\"eur\"}],\"memo\":\"m\"}",
                        cases[i].assertion, f->ann_account);
        expect(f, f->boss, "books.post", body, cases[i].wanted);
        assert_int_equal(balance(f, "eur", "org"), *cases[i].wanted != '\0' ? 100 : 90);
        free(body);
    }
}

static void too_many_entries(void **state)
{
    struct fixture *f = *state;
    for (int count = BOOKS_ENTRIES_MAX; count <= BOOKS_ENTRIES_MAX + 1; count++) {
        json_t *list = json_array(), *body = json_pack("{s:o}", "entries", list);
        char *name = mb_asprintf("c%d", count), *from = mb_asprintf("issue/%s", name);
        char *fields = mb_asprintf("\"%s\"", name);
        asset(f, fields, "");
        json_array_append_new(list, json_pack("{s:s, s:i, s:s}", "account", from, "amount",
                                              1 - count, "asset", name));
        for (uint8_t i = 0; json_array_size(list) < (size_t)count; i++) {
            char bytes[44], *account;
            mb_snprintf(bytes, sizeof bytes, "%042dA", (int)json_array_size(list));
            account = mb_asprintf("key/SHA256:%s", bytes);
            json_array_append_new(
                list, json_pack("{s:s, s:i, s:s}", "account", account, "amount", 1, "asset", name));
            free(account);
        }
        char *text = mb_json_text(body);
        expect(f, f->boss, "books.post", text, count > BOOKS_ENTRIES_MAX ? "body.invalid" : "");
        free(text);
        free(name);
        free(from);
        free(fields);
        json_decref(body);
    }
}

/* --- Random postings --- */

static uint64_t drawn(uint64_t *seed, uint64_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*seed >> 33) % below;
}

static void books_sum_to_zero_after_every_posting(void **state)
{
    struct fixture *f = *state;
    static const char *const assets[] = {"eur", "usd", "rep"};
    uint64_t seed = 20261121;
    size_t posted = 0, refused = 0;
    asset(f, "\"eur\",\"transferable\":1", "");
    asset(f, "\"usd\",\"transferable\":1,\"cap\":3000", "");
    asset(f, "\"rep\",\"half_life_epochs\":3", "");
    open_account(f, f->boss, "org/a", "", "");
    for (size_t i = 0; i < 4000; i++) {
        const char *name = assets[drawn(&seed, 3)];
        char *from = mb_asprintf("issue/%s", name);
        const char *accounts[] = {from, "org", "org/a", f->boss_account, f->ann_account, f->nobody};
        int64_t some = (int64_t)drawn(&seed, 1000) - 300, more = (int64_t)drawn(&seed, 500);
        const struct mb_secret_key *key = drawn(&seed, 4) > 0 ? f->boss : f->ann;
        size_t a = drawn(&seed, 6), b = drawn(&seed, 6), c = drawn(&seed, 6);
        char *body = mb_asprintf("{\"entries\":[{\"account\":\"%s\",\"amount\":%" PRId64
                                 ",\"asset\":\"%s\"},"
                                 "{\"account\":\"%s\",\"amount\":%" PRId64 ",\"asset\":\"%s\"},"
                                 "{\"account\":\"%s\",\"amount\":%" PRId64 ",\"asset\":\"%s\"}]}",
                                 accounts[a], -some - more, name, accounts[b], some, name,
                                 accounts[c], more + (drawn(&seed, 50) == 0), name);
        f->time += (int64_t)drawn(&seed, 200);
        *code_of(f, key, "books.post", body) == '\0' ? posted++ : refused++;
        for (size_t k = 0; k < 3; k++)
            (void)totals(f, assets[k]);
        free(body);
        free(from);
    }
    assert_true(posted > 300 && refused > 300);
}

/* --- Half-lives --- */

static void half_is_left_after_a_half_life(void **state)
{
    (void)state;
    static const int64_t lives[] = {1, 2, 3, 7, 24, 365, 8766, 1000000};
    assert_true(books_keep(1) == UINT64_C(1) << 61);
    for (size_t i = 0; i < sizeof lives / sizeof *lives; i++) {
        uint64_t left = UINT64_C(1) << 62, keep = books_keep(lives[i]);
        for (int64_t n = 0; n < lives[i]; n++)
            left = (uint64_t)((unsigned __int128)left * keep >> 62);
        uint64_t half = UINT64_C(1) << 61;
        uint64_t off = left > half ? left - half : half - left;
        assert_true(off <= UINT64_C(4) * (uint64_t)lives[i]); /* of 2^62 */
    }
}

static void dust_decays_as_much_as_a_whole(void **state)
{
    struct fixture *f = *state;
    const char *ann = f->ann_account, *boss = f->boss_account;
    asset(f, "\"rep\",\"half_life_epochs\":4", "");
    asset(f, "\"dust\",\"half_life_epochs\":4", "");
    issue(f, "rep", ann, 1000000);
    issue(f, "rep", boss, 1);
    for (int i = 0; i < 64; i++) {
        char *account = mb_asprintf("key/SHA256:%042dA", i);
        issue(f, "dust", account, 1);
        free(account);
    }
    for (int64_t n = 1; n <= 4; n++) {
        f->time = ORG_CREATED + n * EPOCH_S;
        empty_block(f);
    }
    assert_in_range(balance(f, "rep", ann), 499998, 500002);
    assert_in_range(totals(f, "rep").supply, 500000, 500001);
    assert_in_range(totals(f, "dust").supply, 31, 33);
    assert_int_equal(totals(f, "member").supply, 2); /* does not decay */
}

static void many_holders_decay_over_several_blocks(void **state)
{
    struct fixture *f = *state;
    asset(f, "\"rep\",\"half_life_epochs\":1,\"transferable\":1", "");
    for (int i = 0; i < MANY;) {
        struct mb_buf b = {0};
        int n = MANY - i < 250 ? MANY - i : 250;
        mb_buf_addf(&b, "{\"entries\":[{\"account\":\"issue/rep\",\"amount\":%d,\"asset\":\"rep\"}",
                    -3 * n);
        for (int k = 0; k < n; k++, i++)
            mb_buf_addf(&b, ",{\"account\":\"key/SHA256:%042dA\",\"amount\":3,\"asset\":\"rep\"}",
                        i);
        mb_buf_add_text(&b, "]}");
        expect(f, f->boss, "books.post", mb_buf_text(&b), "");
        mb_buf_clear(&b);
    }
    f->time = ORG_CREATED + 2 * EPOCH_S; /* two epochs at once */
    empty_block(f);
    char *waiting = org_state(&f->o, "books/waiting");
    assert_string_equal(waiting, "1");
    free(waiting);
    assert_true(totals(f, "rep").supply > 3 * MANY / 4);
    post(f, f->boss, "books.decaying[\"rep\"]", "rep", "issue/rep", N(-3), f->ann_account, N(3),
         NULL);
    for (int i = 0; i < 8; i++) {
        f->time++;
        empty_block(f);
        (void)totals(f, "rep");
    }
    assert_null(org_state(&f->o, "books/waiting"));
    assert_int_equal(totals(f, "rep").supply, 3 * MANY / 4);
    post(f, f->boss, "", "rep", "issue/rep", N(-3), f->ann_account, N(3), NULL);
    expect(f, f->boss, "books.decay", "{}", "books.internal[\"books.decay\"]");
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        T(asset_names_that_look_alike),
        T(genesis_makes_the_founders_members),
        T(assets_are_checked),
        T(accounts_and_who_controls_them),
        T(accounts_that_one_opens_are_bounded),
        T(postings_are_checked),
        T(negative_amounts),
        T(amounts_stay_within_64_bits),
        T(what_is_not_transferable),
        T(self_vouching_and_reputation_rings),
        T(assertions_hold_or_nothing_is_posted),
        T(too_many_entries),
        T(books_sum_to_zero_after_every_posting),
        cmocka_unit_test(half_is_left_after_a_half_life),
        T(dust_decays_as_much_as_a_whole),
        T(many_holders_decay_over_several_blocks),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    free(last);
    return rc;
}
