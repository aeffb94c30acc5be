/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The deterministic half of books: assets and accounts, genesis, its tables. See magicbiz-books(7).
 */
#include <stdlib.h>

#include "books_state.h"

/* --- Controllers --- */

/* A first fingerprint, "org", or a module in use. */
static bool controller_valid(struct mb_tx *tx, const char *controller)
{
    char identity[MB_FINGERPRINT_SIZE];
    if (mb_is_fingerprint(controller)) {
        (void)mb_tx_identity(tx, controller, identity);
        return strcmp(identity, controller) == 0;
    }
    if (strcmp(controller, "org") == 0)
        return true;
    json_t *versions = mb_tx_get(tx, "core/versions");
    bool module =
        strcmp(controller, "core") != 0 && json_is_integer(json_object_get(versions, controller));
    json_decref(versions);
    return module;
}

/* --- books.asset.create --- */

/* Names that a reader takes for one another have the same: dashes are left out, 0 is o, 1 and i are
 * l, rn is m, vv is w, cl is d. */
static void likeness(char out[MB_STATE_KEY_MAX + 1], const char *name)
{
    static const char pairs[][3] = {"rnm", "vvw", "cld"};
    const size_t from = strlen("books/like/");
    size_t len = from;
    mb_snprintf(out, MB_STATE_KEY_MAX + 1, "books/like/");
    for (; *name != '\0'; name++) {
        if (*name == '-')
            continue;
        out[len++] = *name == '0' ? 'o' : *name == '1' || *name == 'i' ? 'l' : *name;
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs && len >= from + 2; i++)
            if (memcmp(out + len - 2, pairs[i], 2) == 0)
                out[--len - 1] = pairs[i][2];
    }
    out[len] = '\0';
}

static int create(struct mb_tx *tx, const json_t *body, struct mb_error *error)
{
    static const char *const ints[] = {"cap", "half_life_epochs", "scale"};
    static const char *const flags[] = {"delegable", "transferable"};
    const char *name = mb_json_get_text(body, "asset", "");
    const char *issuer = mb_json_get_text(body, "issuer", "org");
    char key[MB_STATE_KEY_MAX + 1], like[MB_STATE_KEY_MAX + 1];
    if (!books_asset_name_valid(name))
        return mb_refuse(error, "books.asset_name", "s", name);
    likeness(like, name);
    json_t *twin = mb_tx_get(tx, like);
    int rc = twin != NULL
                 ? mb_refuse(error, "books.asset_twin", "ss", name, json_string_value(twin))
                 : 0;
    json_decref(twin);
    if (rc == 0 && !controller_valid(tx, issuer))
        rc = mb_refuse(error, "books.controller_unknown", "s", issuer);
    if (rc != 0)
        return rc;
    json_t *asset = json_object();
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++)
        json_object_set_new(asset, ints[i], json_integer(mb_json_get_int(body, ints[i], 0)));
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        json_object_set_new(asset, flags[i], json_integer(mb_json_get_flag(body, flags[i], false)));
    json_object_set_new(asset, "issuer", json_string(issuer));
    json_object_set_new(asset, "title", json_string(mb_json_get_text(body, "title", "")));
    mb_snprintf(key, sizeof key, "books/asset/%s", name);
    books_put_take(tx, key, asset);
    books_put_take(tx, like, json_string(name));
    if (mb_json_get_int(body, "half_life_epochs", 0) > 0)
        books_decay_begin(tx, name);
    return 0;
}

static int asset_create(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                        json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)result;
    return create(tx, body, error);
}

/* --- books.account.open, books.account.set --- */

/* Who controls the account above may open accounts below it and say who controls them. */
static bool account_may(struct mb_tx *tx, const char *identity, const json_t *body)
{
    const char *account = mb_json_get_text(body, "account", "");
    char controller[MB_FINGERPRINT_SIZE];
    if (!books_account_valid(account))
        return false;
    books_controller_above(tx, account, controller);
    return strcmp(controller, identity) == 0;
}

/* One more is opened by this identity: it may have so many, wherever they are. */
static int count_opened(struct mb_tx *tx, const char *identity, struct mb_error *error)
{
    char key[MB_STATE_KEY_MAX + 1];
    json_t *param = mb_tx_get(tx, "org/params/books.accounts_max");
    int64_t most = json_is_integer(param) ? json_integer_value(param) : BOOKS_ACCOUNTS_MAX;
    json_decref(param);
    mb_snprintf(key, sizeof key, "books/opened/%s", identity);
    int64_t opened = books_balance(tx, key);
    if (opened >= most)
        return mb_refuse(error, "books.accounts", "dd", opened, most);
    books_put_take(tx, key, json_integer(opened + 1));
    return 0;
}

static int put_account(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, bool new,
                       struct mb_error *error)
{
    const char *account = mb_json_get_text(body, "account", "");
    char key[MB_STATE_KEY_MAX + 1], old[MB_FINGERPRINT_SIZE], above[MB_FINGERPRINT_SIZE];
    if (!books_account_valid(account) || *books_issues(account) != '\0')
        return mb_refuse(error, "books.account", "s", account);
    books_account_key(key, account);
    bool there = books_controller(tx, account, old);
    json_t *record = mb_tx_get(tx, key);
    books_controller_above(tx, account, above);
    int rc = 0;
    if (new &&there)
        rc = mb_refuse(error, "books.account_exists", "ss", account, old);
    else if (!new &&record == NULL)
        rc = mb_refuse(error, "books.account_unknown", "s", account);
    else if (ctx->as_org && mb_is_fingerprint(above)) /* a key's own are its own affair */
        rc = mb_refuse(error, "books.controller", "ss", account, above);
    if (record == NULL)
        record = json_object();
    const char *fallback = mb_json_get_text(record, "controller", above);
    const char *controller = mb_json_get_text(body, "controller", fallback);
    if (rc == 0 && !controller_valid(tx, controller))
        rc = mb_refuse(error, "books.controller_unknown", "s", controller);
    if (rc == 0 && new && !ctx->as_org)
        rc = count_opened(tx, ctx->signer, error);
    if (rc == 0) {
        json_t *copy = json_object();
        json_object_set_new(copy, "controller", json_string(controller));
        json_object_set_new(
            copy, "title",
            json_string(mb_json_get_text(body, "title", mb_json_get_text(record, "title", ""))));
        books_put_take(tx, key, copy);
    }
    json_decref(record);
    return rc;
}

static int account_open(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                        json_t **result, struct mb_error *error)
{
    (void)result;
    return put_account(tx, ctx, body, true, error);
}

static int account_set(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                       json_t **result, struct mb_error *error)
{
    (void)result;
    return put_account(tx, ctx, body, false, error);
}

/* --- Members --- */

static bool is_member(struct mb_tx *tx, const char *identity)
{
    char key[MB_STATE_KEY_MAX + 1];
    mb_snprintf(key, sizeof key, "books/balance/" BOOKS_MEMBER "/key/%s", identity);
    return mb_tx_has(tx, key);
}

/* The asset member, and one for each founder. */
static int genesis(struct mb_tx *tx, const struct mb_context *ctx, const json_t *genesis_json,
                   struct mb_error *error)
{
    const json_t *founders = json_object_get(genesis_json, "founders"), *text;
    char account[BOOKS_ACCOUNT_MAX], key[MB_STATE_KEY_MAX + 1];
    size_t i;
    (void)ctx;
    json_t *body =
        json_pack("{s:s, s:s, s:i}", "asset", BOOKS_MEMBER, "title", "Members", "cap", 1);
    int rc = create(tx, body, error);
    json_decref(body);
    json_array_foreach(founders, i, text)
    {
        char fingerprint[MB_FINGERPRINT_SIZE];
        struct mb_public_key founder;
        if (rc == 0)
            rc = mb_public_key_parse(&founder, json_string_value(text), error);
        if (rc != 0)
            return rc;
        mb_public_key_fingerprint(&founder, fingerprint);
        mb_snprintf(account, sizeof account, "key/%s", fingerprint);
        books_balance_key(key, BOOKS_MEMBER, account);
        books_set_balance(tx, key, 1);
    }
    books_balance_key(key, BOOKS_MEMBER, "issue/" BOOKS_MEMBER);
    books_set_balance(tx, key, -(int64_t)json_array_size(founders));
    return rc;
}

/* --- Tables --- */

static const struct mb_json_field asset_fields[] = {
    {.name = "asset", .kind = MB_JSON_STRING, .min = 1, .max = 200},
    {.name = "title", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 200},
    {.name = "scale", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = BOOKS_SCALE_MAX},
    {.name = "transferable", .kind = MB_JSON_FLAG, .optional = true},
    {.name = "delegable", .kind = MB_JSON_FLAG, .optional = true},
    {.name = "cap", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = INT64_MAX},
    {.name = "half_life_epochs",
     .kind = MB_JSON_INT,
     .optional = true,
     .min = 0,
     .max = BOOKS_HALF_LIFE_MAX},
    {.name = "issuer", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 50},
    {.name = NULL},
};
static const struct mb_json_field account_fields[] = {
    {.name = "account", .kind = MB_JSON_STRING, .min = 1, .max = 200},
    {.name = "controller", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 50},
    {.name = "title", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 200},
    {.name = NULL},
};
static const struct mb_json_field no_fields[] = {{.name = NULL}};

static const struct mb_verb verbs[] = {
    {.name = "books.asset.create", .access = MB_ORG, .body = asset_fields, .apply = asset_create},
    {.name = "books.account.open",
     .access = MB_ORG,
     .body = account_fields,
     .may = account_may,
     .apply = account_open},
    {.name = "books.account.set",
     .access = MB_ORG,
     .body = account_fields,
     .may = account_may,
     .apply = account_set},
    {.name = "books.post",
     .access = MB_ORG,
     .body = books_post_fields,
     .may = books_post_may,
     .apply = books_post},
    {.name = "books.decay", .access = MB_ORG, .body = no_fields, .apply = books_decay},
    {.name = NULL},
};

static const struct mb_message messages[] = {
    {"books.asset_name", "{0} is no name for an asset: 1 to 32 of a-z 0-9 -, beginning with a "
                         "letter, without two dashes in a row or one at the end"},
    {"books.asset_twin", "{0} looks like the asset {1}: choose another name"},
    {"books.asset_unknown", "there is no asset {0}: magicbiz books assets lists those there are"},
    {"books.account", "{0} cannot be opened: an account is segments of a-z 0-9 - joined by /, such "
                      "as org/treasury or key/SHA256:.../savings"},
    {"books.accounts", "this key has opened {0} accounts, of {1} that each may"},
    {"books.account_exists", "there is an account {0} already, controlled by {1}"},
    {"books.account_unknown", "there is no account {0}: open it first (books.account.open)"},
    {"books.controller", "{0} is controlled by {1}: only it can have this done"},
    {"books.controller_unknown",
     "{0} cannot control anything: name a key that is in use (SHA256:...), org, or a module"},
    {"books.issuer", "{0} is not transferable: only its issuer {1} gives and takes it"},
    {"books.transfer", "{0} is not transferable: it is issued to and burnt from {1} by itself, and "
                       "not held below a key's own account"},
    {"books.issue", "{0} issues its own asset, not {1}"},
    {"books.amount", "the amount of {1} for {0} is zero: leave the entry out"},
    {"books.twice", "{0} has two entries of {1}: make them one"},
    {"books.unbalanced", "{0}: {1} credited and {2} debited: the amounts must sum to zero"},
    {"books.balance", "{0}: {2} {1} of {3} needed"},
    {"books.cap", "{0} would hold {2} {1}: {3} is the most"},
    {"books.overflow", "the balance of {0} in {1} would leave 64 bits"},
    {"books.assert_min", "{0} would hold {2} {1}: at least {3} was asserted"},
    {"books.assert_max", "{0} would hold {2} {1}: at most {3} was asserted"},
    {"books.decaying", "an epoch's decay of {0} is under way: try again in a minute"},
    {"books.internal", "{0} is run by the ledger itself"},
    {.code = NULL},
};

const struct mb_logic books_logic = {
    .name = "books",
    .version = 1,
    .verbs = verbs,
    .messages = messages,
    .genesis = genesis,
    .is_member = is_member,
    .on_epoch = books_on_epoch,
};
