/* SPDX-License-Identifier: GPL-3.0-or-later */
/* books.post: every figure is worked out and checked before the first is written. */
#include <inttypes.h>
#include <stdlib.h>

#include "books_state.h"

static const struct mb_json_field entry_fields[] = {
    {.name = "account", .kind = MB_JSON_STRING, .min = 1, .max = BOOKS_ACCOUNT_MAX},
    {.name = "asset", .kind = MB_JSON_STRING, .min = 1, .max = BOOKS_ASSET_MAX},
    {.name = "amount", .kind = MB_JSON_INT, .min = -INT64_MAX, .max = INT64_MAX},
    {.name = NULL},
};
static const struct mb_json_field assert_fields[] = {
    {.name = "account", .kind = MB_JSON_STRING, .min = 1, .max = BOOKS_ACCOUNT_MAX},
    {.name = "asset", .kind = MB_JSON_STRING, .min = 1, .max = BOOKS_ASSET_MAX},
    {.name = "min", .kind = MB_JSON_INT, .optional = true},
    {.name = "max", .kind = MB_JSON_INT, .optional = true},
    {.name = NULL},
};
const struct mb_json_field books_post_fields[] = {
    {.name = "entries", .kind = MB_JSON_ARRAY, .min = 2, .max = BOOKS_ENTRIES_MAX},
    {.name = "memo", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 200},
    {.name = "assert", .kind = MB_JSON_ARRAY, .optional = true, .min = 0, .max = BOOKS_ENTRIES_MAX},
    {.name = NULL},
};

/* One asset of a posting. */
struct side {
    const char *name;
    struct books_asset asset;
    books_wide credits, debits; /* of all entries */
    int64_t issued;             /* what the entry on issue/NAME takes; below 0: burnt */
};
struct posting {
    struct mb_tx *tx;
    const struct mb_context *ctx;
    struct side sides[BOOKS_ENTRIES_MAX];
    size_t side_count;
    struct entry {
        const char *account;
        int64_t amount, balance; /* after */
        struct side *side;
        char key[MB_STATE_KEY_MAX + 1];
    } entries[BOOKS_ENTRIES_MAX];
    size_t count;
};

/* --- Reading --- */

static int side_of(struct posting *p, const char *name, struct side **out, struct mb_error *error)
{
    for (size_t i = 0; i < p->side_count; i++)
        if (strcmp(p->sides[i].name, name) == 0) {
            *out = &p->sides[i];
            return 0;
        }
    struct side *s = *out = &p->sides[p->side_count++];
    memset(s, 0, sizeof *s);
    s->name = name;
    if (!books_asset(p->tx, name, &s->asset))
        return mb_refuse(error, "books.asset_unknown", "s", name);
    if (s->asset.half_life > 0 && books_decaying(p->tx, name))
        return mb_refuse(error, "books.decaying", "s", name);
    return 0;
}

static int read_entry(struct posting *p, const json_t *json, struct mb_error *error)
{
    struct entry *e = &p->entries[p->count++];
    int rc = mb_json_check(json, entry_fields, error);
    if (rc != 0)
        return rc;
    e->account = mb_json_get_text(json, "account", "");
    e->amount = mb_json_get_int(json, "amount", 0);
    if (e->amount == 0)
        return mb_refuse(error, "books.amount", "ss", e->account,
                         mb_json_get_text(json, "asset", ""));
    if (!books_account_valid(e->account))
        return mb_refuse(error, "books.account_unknown", "s", e->account);
    if ((rc = side_of(p, mb_json_get_text(json, "asset", ""), &e->side, error)) != 0)
        return rc;
    const char *issues = books_issues(e->account);
    if (*issues != '\0' && strcmp(issues, e->side->name) != 0)
        return mb_refuse(error, "books.issue", "ss", e->account, e->side->name);
    for (const struct entry *other = p->entries; other < e; other++)
        if (other->side == e->side && strcmp(other->account, e->account) == 0)
            return mb_refuse(error, "books.twice", "ss", e->account, e->side->name);
    if (e->amount > 0)
        e->side->credits += (books_wide)(uint64_t)e->amount;
    else
        e->side->debits += (books_wide)(uint64_t)-e->amount;
    if (*issues != '\0')
        e->side->issued = -e->amount;
    books_balance_key(e->key, e->side->name, e->account);
    return 0;
}

/* --- Checking --- */

static int64_t clamped(books_wide n)
{
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

static int check_balanced(const struct posting *p, struct mb_error *error)
{
    for (size_t i = 0; i < p->side_count; i++)
        if (p->sides[i].credits != p->sides[i].debits)
            return mb_refuse(error, "books.unbalanced", "sdd", p->sides[i].name,
                             clamped(p->sides[i].credits), clamped(p->sides[i].debits));
    return 0;
}

/* The organisation controls its own accounts and, where no founder signed, those of modules. */
static bool controls(const struct mb_context *ctx, const char *controller)
{
    if (!ctx->as_org)
        return strcmp(controller, ctx->signer) == 0;
    return strcmp(controller, "org") == 0 || (*ctx->id == '\0' && !mb_is_fingerprint(controller));
}

/* A key that was replaced speaks for nobody: its account would be out of reach. */
static bool reachable(struct mb_tx *tx, const char *account)
{
    char owner[MB_FINGERPRINT_SIZE], identity[MB_FINGERPRINT_SIZE];
    if (!books_owner(account, owner))
        return true;
    (void)mb_tx_identity(tx, owner, identity);
    return strcmp(identity, owner) == 0;
}

static int check_control(const struct posting *p, const struct entry *e, struct mb_error *error)
{
    const struct books_asset *asset = &e->side->asset;
    char controller[MB_FINGERPRINT_SIZE], owner[MB_FINGERPRINT_SIZE];
    bool issue = *books_issues(e->account) != '\0';
    if (!books_controller(p->tx, e->account, controller))
        return mb_refuse(error, "books.account_unknown", "s", e->account);
    if (e->amount < 0 && asset->transferable && !controls(p->ctx, controller))
        return mb_refuse(error, "books.controller", "ss", e->account, controller);
    if (e->amount > 0 && e->balance == e->amount && !reachable(p->tx, e->account))
        return mb_refuse(error, "books.account_unknown", "s", e->account);
    if (asset->transferable)
        return 0;
    if (!controls(p->ctx, asset->issuer))
        return mb_refuse(error, "books.issuer", "ss", e->side->name, asset->issuer);
    bool moves = e->side->issued == 0 || (e->side->issued > 0) != (e->amount > 0);
    bool below = books_owner(e->account, owner) && strlen(e->account) > 4 + strlen(owner);
    if (!issue && (moves || (below && e->amount > 0)))
        return mb_refuse(error, "books.transfer", "ss", e->side->name, e->account);
    return 0;
}

static int check_balance(const struct entry *e, int64_t before, struct mb_error *error)
{
    const struct side *s = e->side;
    bool issue = *books_issues(e->account) != '\0';
    if (issue && e->balance == INT64_MIN)
        return mb_refuse(error, "books.overflow", "ss", e->account, s->name);
    if (!issue && e->balance < 0)
        return mb_refuse(error, "books.balance", "ssdd", e->account, s->name, before, -e->amount);
    if (issue && e->balance > 0)
        return mb_refuse(error, "books.balance", "ssdd", e->account, s->name, -before, e->amount);
    if (!issue && e->amount > 0 && s->asset.cap > 0 && e->balance > s->asset.cap)
        return mb_refuse(error, "books.cap", "ssdd", e->account, s->name, e->balance, s->asset.cap);
    return 0;
}

static int check_entry(struct posting *p, struct entry *e, struct mb_error *error)
{
    int64_t before = books_balance(p->tx, e->key);
    if (__builtin_add_overflow(before, e->amount, &e->balance))
        return mb_refuse(error, "books.overflow", "ss", e->account, e->side->name);
    int rc = check_control(p, e, error);
    return rc != 0 ? rc : check_balance(e, before, error);
}

/* --- Assertions, on what is written --- */

static int check_assert(struct posting *p, const json_t *json, struct mb_error *error)
{
    char key[MB_STATE_KEY_MAX + 1], controller[MB_FINGERPRINT_SIZE];
    struct books_asset asset;
    int rc = mb_json_check(json, assert_fields, error);
    if (rc != 0)
        return rc;
    const char *account = mb_json_get_text(json, "account", "");
    const char *name = mb_json_get_text(json, "asset", "");
    if (!books_asset(p->tx, name, &asset))
        return mb_refuse(error, "books.asset_unknown", "s", name);
    if (!books_controller(p->tx, account, controller))
        return mb_refuse(error, "books.account_unknown", "s", account);
    books_balance_key(key, name, account);
    int64_t balance = books_balance(p->tx, key);
    int64_t min = mb_json_get_int(json, "min", INT64_MIN);
    int64_t max = mb_json_get_int(json, "max", INT64_MAX);
    if (balance < min)
        return mb_refuse(error, "books.assert_min", "ssdd", account, name, balance, min);
    if (balance > max)
        return mb_refuse(error, "books.assert_max", "ssdd", account, name, balance, max);
    return 0;
}

/* --- The verb --- */

/*
 * Whether the signer can post this as such. The organisation is needed only for accounts that
 * somebody else controls: all other faults are named to the signer by books_post().
 */
bool books_post_may(struct mb_tx *tx, const char *identity, const json_t *body)
{
    const json_t *list = json_object_get(body, "entries"), *json;
    char controller[MB_FINGERPRINT_SIZE];
    size_t i;
    if (json_array_size(list) > BOOKS_ENTRIES_MAX)
        return true;
    json_array_foreach(list, i, json)
    {
        const char *account = mb_json_get_text(json, "account", "");
        struct books_asset asset = {.transferable = true};
        (void)books_asset(tx, mb_json_get_text(json, "asset", ""), &asset);
        if (!asset.transferable && strcmp(asset.issuer, identity) != 0)
            return false;
        if (asset.transferable && mb_json_get_int(json, "amount", 0) < 0 &&
            books_controller(tx, account, controller) && strcmp(controller, identity) != 0)
            return false;
    }
    return true;
}

static int post(struct posting *p, const json_t *body, struct mb_error *error)
{
    const json_t *json;
    size_t i;
    int rc = 0;
    json_array_foreach(json_object_get(body, "entries"), i, json)
    {
        if ((rc = read_entry(p, json, error)) != 0)
            return rc;
    }
    if ((rc = check_balanced(p, error)) != 0)
        return rc;
    for (i = 0; i < p->count; i++)
        if ((rc = check_entry(p, &p->entries[i], error)) != 0)
            return rc;
    for (i = 0; i < p->count; i++)
        books_set_balance(p->tx, p->entries[i].key, p->entries[i].balance);
    json_array_foreach(json_object_get(body, "assert"), i, json)
    {
        if ((rc = check_assert(p, json, error)) != 0)
            return rc;
    }
    return 0;
}

int books_post(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
               struct mb_error *error)
{
    struct posting *p = mb_alloc(sizeof *p); /* its tables are filled as far as they are counted */
    (void)result;
    p->tx = tx;
    p->ctx = ctx;
    p->side_count = p->count = 0;
    int rc = post(p, body, error);
    free(p);
    return rc;
}
