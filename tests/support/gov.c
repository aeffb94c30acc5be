/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "gov.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- Just enough of books: balances, members, and a weight. --- */

static void move(struct mb_tx *tx, const char *asset, const char *account, int64_t by)
{
    char *key = mb_asprintf("books/balance/%s/%s", asset, account);
    json_t *old = mb_tx_get(tx, key), *now = json_integer(json_integer_value(old) + by);
    if (json_integer_value(now) != 0)
        mb_tx_put(tx, key, now);
    else
        mb_tx_delete(tx, key);
    json_decref(old);
    json_decref(now);
    free(key);
}

static int64_t held(struct mb_tx *tx, const char *asset, const char *account)
{
    char *key = mb_asprintf("books/balance/%s/%s", asset, account);
    json_t *value = mb_tx_get(tx, key);
    int64_t amount = json_integer_value(value);
    json_decref(value);
    free(key);
    return amount;
}

static int post(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error)
{
    const json_t *entry;
    size_t i;
    (void)ctx;
    (void)result;
    json_array_foreach(json_object_get(body, "entries"), i, entry)
    {
        const char *asset = mb_json_get_text(entry, "asset", "");
        const char *account = mb_json_get_text(entry, "account", "");
        move(tx, asset, account, mb_json_get_int(entry, "amount", 0));
        if (held(tx, asset, account) < 0 && strncmp(account, "issue/", 6) != 0)
            return mb_refuse(error, "books.balance", "s", account);
    }
    return 0;
}

static void create_asset(struct mb_tx *tx, const char *asset, int transferable, int delegable)
{
    char *key = mb_asprintf("books/asset/%s", asset);
    json_t *value = json_pack("{s:i, s:i}", "delegable", delegable, "transferable", transferable);
    mb_tx_put(tx, key, value);
    json_decref(value);
    free(key);
}

static int asset_create(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                        json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)result;
    (void)error;
    create_asset(tx, mb_json_get_text(body, "asset", ""),
                 mb_json_get_flag(body, "transferable", false),
                 mb_json_get_flag(body, "delegable", false));
    return 0;
}

static int books_genesis(struct mb_tx *tx, const struct mb_context *ctx, const json_t *genesis,
                         struct mb_error *error)
{
    json_t *founders = mb_tx_get(tx, "org/founders");
    const json_t *one;
    size_t i;
    (void)ctx;
    (void)genesis;
    (void)error;
    create_asset(tx, "member", 0, 1);
    json_array_foreach(json_object_get(founders, "keys"), i, one)
    {
        struct mb_public_key key;
        char fingerprint[MB_FINGERPRINT_SIZE];
        assert_int_equal(mb_public_key_parse(&key, json_string_value(one), NULL), 0);
        mb_public_key_fingerprint(&key, fingerprint);
        char *account = mb_asprintf("key/%s", fingerprint);
        move(tx, "member", account, 1);
        move(tx, "member", "issue/member", -1);
        free(account);
    }
    json_decref(founders);
    return 0;
}

static bool is_member(struct mb_tx *tx, const char *identity)
{
    char *account = mb_asprintf("key/%s", identity);
    bool is = held(tx, "member", account) > 0;
    free(account);
    return is;
}

/* One, and what they hold of "rep"; nothing for those who hold "ban"; all there is for "vast".
 * Counts books/slow as its work. */
static int64_t weight(struct mb_tx *tx, const struct mb_context *ctx, const char *member,
                      const char *procedure)
{
    char *account = mb_asprintf("key/%s", member);
    int64_t w = held(tx, "vast", account) > 0  ? INT64_MAX
                : held(tx, "ban", account) > 0 ? 0
                                               : 1 + held(tx, "rep", account);
    json_t *slow = mb_tx_get(tx, "books/slow");
    (void)mb_tx_work(tx, json_integer_value(slow));
    (void)ctx;
    (void)procedure;
    json_decref(slow);
    free(account);
    return w;
}

static const struct mb_json_field post_fields[] = {
    {"entries", MB_JSON_ARRAY, false, 1, 100}, {"memo", MB_JSON_STRING, true, 0, 0}, {0}};
static const struct mb_json_field asset_fields[] = {{"asset", MB_JSON_STRING, false, 0, 0},
                                                    {"delegable", MB_JSON_INT, true, 0, 1},
                                                    {"transferable", MB_JSON_INT, true, 0, 1},
                                                    {0}};
static const struct mb_verb verbs[] = {
    {.name = "books.post", .access = MB_ANYONE, .body = post_fields, .apply = post},
    {.name = "books.asset.create", .access = MB_ORG, .body = asset_fields, .apply = asset_create},
    {0}};
static const struct mb_logic books_logic = {.name = "books",
                                            .version = 1,
                                            .verbs = verbs,
                                            .genesis = books_genesis,
                                            .is_member = is_member,
                                            .weight = weight};
static const struct mb_logic *const modules[] = {&books_logic, &gov_logic};

/* --- The organisation --- */

static json_t *params(const char *more)
{
    static const char *const names[] = {"routine", "treasury", "constitution"};
    static const struct {
        const char *name;
        int value;
    } periods[] = {{"support_s", 1000}, {"review_s", 100}, {"voting_s", 1000}, {"grace_s", 100}};
    json_t *json = json_object(), *extra = json_loads(more, 0, NULL);
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 4; j++) {
            char *key = mb_asprintf("gov.%s.%s", names[i], periods[j].name);
            json_object_set_new(json, key, json_integer(periods[j].value));
            free(key);
        }
    assert_non_null(extra);
    json_object_update(json, extra);
    json_decref(extra);
    return json;
}

struct gov_test *gov_start(int members, const char *more_params)
{
    struct gov_test *t = mb_calloc(1, sizeof *t);
    struct org *o = &t->o;
    t->memory = mb_memory_new();
    t->backend = mb_memory_backend(t->memory);
    t->now = ORG_CREATED + 10;
    json_t *json = org_genesis_json(o, 1, 1), *founders = json_array();
    json_t *versions = json_object_get(json, "versions");
    for (int i = 0; i < GOV_PEOPLE; i++) {
        char text[MB_PUBLIC_TEXT_SIZE];
        t->who[i] = org_key((uint8_t)(100 + i));
        t->name[i] = org_fingerprint(&t->who[i]);
        mb_public_key_text(&t->who[i].public_key, text);
        if (i < members)
            json_array_append_new(founders, json_string(text));
    }
    json_object_set_new(json, "founders", founders);
    json_object_del(versions, "toy");
    json_object_set_new(versions, "books", json_integer(1));
    json_object_set_new(versions, "gov", json_integer(1));
    json_object_set_new(json, "params", params(more_params));
    assert_int_equal(mb_json_canonical(&o->genesis, json, NULL), 0);
    json_decref(json);
    if (mb_ledger_found(&o->ledger, t->backend, modules, 2, mb_buf_bytes(&o->genesis), &o->error) !=
        0)
        fail_msg("%s %s", o->error.code, o->error.text);
    return t;
}

void gov_stop(struct gov_test *t)
{
    org_clear(&t->o);
    mb_memory_free(t->memory);
    for (int i = 0; i < GOV_PEOPLE; i++)
        free(t->name[i]);
    free(t);
}

void gov_do(struct gov_test *t, int person, const char *code, const char *type, const char *body,
            ...)
{
    char text[65536];
    va_list args;
    va_start(args, body);
    assert_in_range(vsnprintf(text, sizeof text, body, args), 1, sizeof text - 1);
    va_end(args);
    struct mb_hash before = org_state_hash(t->backend, "gov/");
    char *result = org_do(&t->o, t->now, &t->who[person], type, text);
    json_t *json = json_loads(result, 0, NULL);
    const char *found = mb_json_get_text(json_object_get(json, "error"), "code", "");
    if (strcmp(found, code) != 0)
        fail_msg("%s instead of \"%s\" for %s %s", result, code, type, text);
    struct mb_hash after = org_state_hash(t->backend, "gov/");
    if (*code != 0)
        assert_true(mb_hash_equal(&before, &after));
    json_decref(json);
    free(result);
}

void gov_block(struct gov_test *t, struct mb_checked **commands, size_t count)
{
    struct mb_outcome *outcome = org_block(&t->o, t->now, commands, count);
    assert_non_null(outcome);
    mb_outcome_free(outcome);
}

void gov_pass(struct gov_test *t, int64_t seconds)
{
    t->now += seconds;
    for (int i = 0; i < 4; i++)
        gov_block(t, NULL, 0);
}

void gov_is(struct gov_test *t, const char *key, const char *path, const char *value)
{
    char *text = org_state(&t->o, key), *names = mb_strdup(path), digits[32] = "";
    json_t *root = text != NULL ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    const json_t *at = root;
    for (char *name = names; at != NULL && *name != 0;) {
        size_t len = strcspn(name, ".");
        bool last = name[len] == 0;
        name[len] = 0;
        at = json_is_array(at) ? json_array_get(at, (size_t)strtoul(name, NULL, 10))
                               : json_object_get(at, name);
        name += last ? len : len + 1;
    }
    if (json_is_integer(at))
        mb_snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(at));
    const char *found = json_is_string(at)    ? json_string_value(at)
                        : json_is_integer(at) ? digits
                                              : NULL;
    if ((found == NULL) != (value == NULL) || (found != NULL && strcmp(found, value) != 0))
        fail_msg("%s of %s is %s, not %s: %s", path, key, found != NULL ? found : "nothing",
                 value != NULL ? value : "nothing", text != NULL ? text : "absent");
    json_decref(root);
    free(text);
    free(names);
}

void gov_state_is(struct gov_test *t, const char *id, const char *state)
{
    char *key = mb_asprintf("gov/proposal/%s", id);
    gov_is(t, key, "state", state);
    free(key);
}

static bool in_support(struct gov_test *t, const char *id)
{
    char *key = mb_asprintf("gov/proposal/%s", id), *text = org_state(&t->o, key);
    bool is = text != NULL && strstr(text, "\"state\":\"support\"") != NULL;
    free(key);
    free(text);
    return is;
}

void gov_make(struct gov_test *t, int person, const char *id, const char *procedure,
              const char *commands)
{
    gov_do(t, person, "", "gov.propose",
           "{\"procedure\":\"%s\",\"title\":\"T\",\"text\":\"why\",\"commands\":%s}", procedure,
           commands);
    for (int i = person + 1; i < GOV_PEOPLE && in_support(t, id); i++)
        gov_do(t, i, "", "gov.sponsor", "{\"proposal\":\"%s\"}", id);
    gov_state_is(t, id, "review");
}

void gov_votes(struct gov_test *t, int first, int last, const char *id, const char *choice)
{
    for (int i = first; i <= last; i++)
        gov_do(t, i, "", "gov.vote", "{\"choice\":\"%s\",\"proposal\":\"%s\"}", choice, id);
}
