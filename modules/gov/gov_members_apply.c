/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who the members are; applications and resignations. */
#include <stdlib.h>
#include <string.h>

#include "gov_state.h"

#define APPLICATION_S 2592000 /* 30 days */

bool gov_has_books(struct mb_tx *tx)
{
    return mb_tx_has(tx, "books/asset/member");
}

static bool founders_hold(struct mb_tx *tx, const char *asset)
{
    return strcmp(asset, "member") == 0 && !gov_has_books(tx);
}

int64_t gov_balance(struct mb_tx *tx, const char *asset, const char *identity)
{
    if (founders_hold(tx, asset))
        return mb_tx_is_member(tx, identity);
    char *key = mb_asprintf("books/balance/%s/key/%s", asset, identity);
    json_t *value = mb_tx_get(tx, key);
    int64_t amount = json_integer_value(value);
    json_decref(value);
    free(key);
    return amount > 0 ? amount : 0;
}

struct holders {
    size_t skip;
    gov_visit *visit;
    void *arg;
};

static int on_balance(void *arg, const char *key, const json_t *value)
{
    struct holders *h = arg;
    int64_t amount = json_integer_value(value);
    bool person = mb_is_fingerprint(key + h->skip); /* not an account below theirs */
    return amount > 0 && person ? h->visit(h->arg, key + h->skip, amount) : 0;
}

/* The first founder's fingerprint after `after`. */
static bool next_founder(const json_t *keys, const char *after, char next[MB_FINGERPRINT_SIZE])
{
    char one[MB_FINGERPRINT_SIZE];
    struct mb_public_key key;
    const json_t *text;
    size_t i;
    next[0] = 0;
    json_array_foreach(keys, i, text)
    {
        if (mb_public_key_parse(&key, json_string_value(text), NULL) != 0)
            continue;
        mb_public_key_fingerprint(&key, one);
        if (strcmp(one, after) > 0 && (next[0] == 0 || strcmp(one, next) < 0))
            mb_snprintf(next, MB_FINGERPRINT_SIZE, "%s", one);
    }
    return next[0] != 0;
}

static int visit_founders(struct mb_tx *tx, const char *after, gov_visit *visit, void *arg)
{
    json_t *founders = mb_tx_get(tx, "org/founders");
    bool retired = mb_json_get_flag(founders, "retired", false);
    char last[MB_FINGERPRINT_SIZE], next[MB_FINGERPRINT_SIZE];
    int rc = 0;
    mb_snprintf(last, sizeof last, "%s", after);
    while (rc == 0 && !retired && next_founder(json_object_get(founders, "keys"), last, next)) {
        mb_snprintf(last, sizeof last, "%s", next);
        rc = visit(arg, next, 1);
    }
    json_decref(founders);
    return rc;
}

int gov_holders(struct mb_tx *tx, const char *electorate, const char *after, gov_visit *visit,
                void *arg)
{
    if (founders_hold(tx, electorate))
        return visit_founders(tx, after, visit, arg);
    char *prefix = mb_asprintf("books/balance/%s/key/", electorate);
    char *from = *after != 0 ? mb_asprintf("%s%s", prefix, after) : mb_strdup("");
    struct holders h = {strlen(prefix), visit, arg};
    int rc = mb_tx_scan(tx, prefix, from, on_balance, &h);
    free(prefix);
    free(from);
    return rc;
}

struct counting {
    int64_t count, most;
};

static int count_one(void *arg, const char *identity, int64_t amount)
{
    struct counting *c = arg;
    (void)identity;
    (void)amount;
    return ++c->count >= c->most;
}

int64_t gov_members(struct mb_tx *tx, int64_t most)
{
    struct counting c = {0, most};
    if (most > 0)
        (void)gov_holders(tx, "member", "", count_one, &c);
    return c.count;
}

/* --- Applications --- */

int gov_apply_verb(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    int rc = gov_person(ctx, "gov.apply", error);
    (void)result;
    if (rc != 0)
        return rc;
    if (mb_tx_is_member(tx, ctx->signer))
        return mb_refuse(error, "gov.member", "s", ctx->signer);
    if (gov_has(tx, "application", ctx->signer, NULL))
        return mb_refuse(error, "gov.applied", "s", ctx->signer);
    int64_t most = gov_param(tx, "applications_max", 1000, 0, 1000000);
    int64_t open = gov_bump(tx, "applications", NULL, 1);
    if (open > most)
        return mb_refuse(error, "gov.applications", "dd", open - 1, most);
    gov_store(tx, "application", ctx->signer, NULL,
              json_pack("{s:s, s:I}", "text", mb_json_get_text(body, "text", ""), "time",
                        (json_int_t)ctx->time));
    json_t *lapse = json_pack("{s:s}", "key", ctx->signer);
    mb_tx_due(tx, ctx->time + APPLICATION_S, "gov.lapse", lapse);
    json_decref(lapse);
    return 0;
}

static void forget_application(struct mb_tx *tx, const char *identity)
{
    if (!gov_has(tx, "application", identity, NULL))
        return;
    gov_drop(tx, "application", identity, NULL);
    (void)gov_bump(tx, "applications", NULL, -1);
}

int gov_lapse(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
              struct mb_error *error)
{
    const char *identity = mb_json_get_text(body, "key", "");
    json_t *application = gov_load(tx, "application", identity, NULL);
    (void)result;
    if (*ctx->id != 0 || !ctx->as_org) {
        json_decref(application);
        return mb_refuse(error, "gov.internal", "s", "gov.lapse");
    }
    /* One who applied again since has a later lapse of their own. */
    if (application != NULL && mb_json_get_int(application, "time", 0) + APPLICATION_S <= ctx->time)
        forget_application(tx, identity);
    json_decref(application);
    return 0;
}

void gov_admitted(struct mb_tx *tx, const json_t *commands)
{
    const json_t *command, *entry;
    size_t i, j;
    json_array_foreach(commands, i, command)
    {
        if (strcmp(mb_json_get_text(command, "type", ""), "books.post") != 0)
            continue;
        json_array_foreach(json_object_get(json_object_get(command, "body"), "entries"), j, entry)
        {
            const char *account = mb_json_get_text(entry, "account", "");
            if (strcmp(mb_json_get_text(entry, "asset", ""), "member") == 0 &&
                strncmp(account, "key/", 4) == 0)
                forget_application(tx, account + 4);
        }
    }
}

/* --- Resignation --- */

int gov_resign(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
               struct mb_error *error)
{
    int rc = gov_person(ctx, "gov.resign", error);
    (void)body;
    (void)result;
    if (rc != 0)
        return rc;
    int64_t amount = gov_has_books(tx) ? gov_balance(tx, "member", ctx->signer) : 0;
    if (amount == 0)
        return mb_refuse(error, "gov.no_member", "s", ctx->signer);
    char *account = mb_asprintf("key/%s", ctx->signer), *id = mb_asprintf("resign/%s", ctx->id);
    json_t *commands = json_pack(
        "[{s:{s:[{s:s, s:I, s:s}, {s:s, s:I, s:s}], s:s}, s:s}]", "body", "entries", "account",
        account, "amount", (json_int_t)-amount, "asset", "member", "account", "issue/member",
        "amount", (json_int_t)amount, "asset", "member", "memo", "resigned", "type", "books.post");
    mb_tx_batch(tx, id, commands);
    json_decref(commands);
    free(account);
    free(id);
    return 0;
}
