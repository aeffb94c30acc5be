/* SPDX-License-Identifier: GPL-3.0-or-later */
/* books assets, accounts, balance, post, pay, export: see magicbiz-books(7). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/amount.h"
#include "cli/cli.h"

/* --- Reading --- */

static const char *name_of(const json_t *item, const char *prefix)
{
    return mb_json_get_text(item, "key", "") + strlen(prefix);
}

/* A person may write SHA256:… for key/SHA256:… (owned). */
static char *account_of(const char *given)
{
    return mb_asprintf("%s%s", strncmp(given, "SHA256:", 7) == 0 ? "key/" : "", given);
}

static int asset_scale(struct cli_org *o, const char *asset, int64_t *scale, struct mb_error *error)
{
    char *key = mb_asprintf("books/asset/%s", asset);
    json_t *value = NULL;
    int rc = cli_state(o, key, &value, error);
    *scale = mb_json_get_int(value, "scale", 0);
    json_decref(value);
    free(key);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return mb_fail(error, MB_ENOENT, "books.asset_unknown",
                   "there is no asset %s: magicbiz books assets lists those there are", asset);
}

static void print_word(const char *text, int width)
{
    cli_print_text(text);
    printf("%*s", width > (int)strlen(text) ? width - (int)strlen(text) : 0, "");
}

/* [{"key","value"}…] below prefix, as JSON or a line each. */
static int list(struct cli *c, const char *prefix, void (*line)(const char *, const json_t *),
                struct mb_error *error)
{
    struct cli_org *o;
    json_t *items = NULL, *item;
    size_t i;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = cli_list_proven(o, prefix, &items, error);
    if (rc == 0 && c->json) {
        cli_print_json(json_pack("{s:O, s:b}", "items", items, "proven", 1));
    } else if (rc == 0) {
        cli_page(c);
        json_array_foreach(items, i, item)
            line(mb_json_get_text(item, "key", ""), json_object_get(item, "value"));
    }
    json_decref(items);
    return rc;
}

/* --- books assets, books accounts --- */

static void asset_line(const char *key, const json_t *asset)
{
    int64_t cap = mb_json_get_int(asset, "cap", 0);
    int64_t half_life = mb_json_get_int(asset, "half_life_epochs", 0);
    print_word(key + strlen("books/asset/"), 20);
    printf("  scale %" PRId64 ", issuer %s%s", mb_json_get_int(asset, "scale", 0),
           mb_json_get_text(asset, "issuer", ""),
           mb_json_get_int(asset, "transferable", 0) == 1 ? "" : ", not transferable");
    if (cap > 0)
        printf(", cap %" PRId64, cap);
    if (half_life > 0)
        printf(", half-life %" PRId64 " epochs", half_life);
    printf("  ");
    cli_print_text(mb_json_get_text(asset, "title", ""));
    putchar('\n');
}

static int books_assets(struct cli *c, struct mb_error *error)
{
    return list(c, "books/asset/", asset_line, error);
}

const struct cli_command cmd_books_assets = {
    .name = "books assets",
    .args = "",
    .summary = "list the assets, proven complete",
    .help = "    magicbiz books assets",
    .run = books_assets,
};

static void account_line(const char *key, const json_t *account)
{
    print_word(key + strlen("books/account/"), 30);
    printf("  controller %s  ", mb_json_get_text(account, "controller", ""));
    cli_print_text(mb_json_get_text(account, "title", ""));
    putchar('\n');
}

static int books_accounts(struct cli *c, struct mb_error *error)
{
    return list(c, "books/account/", account_line, error);
}

const struct cli_command cmd_books_accounts = {
    .name = "books accounts",
    .args = "",
    .summary = "list the accounts that were opened, proven complete",
    .help = "org, issue/ASSET and each key's own account exist without being opened.\n\n"
            "    magicbiz books accounts",
    .run = books_accounts,
};

/* --- All balances, with the scale of each asset --- */

/* [{"account","amount","asset","scale"}…], proven complete (owned, whatever is returned). */
static int balances(struct cli_org *o, json_t **out, struct mb_error *error)
{
    json_t *items = NULL, *item, *scales = json_object();
    size_t i;
    *out = json_array();
    int rc = cli_list_proven(o, "books/", &items, error);
    json_array_foreach(items, i, item)
    {
        const json_t *value = json_object_get(item, "value");
        const char *key = mb_json_get_text(item, "key", "");
        if (strncmp(key, "books/asset/", 12) == 0)
            json_object_set_new(scales, key + 12, json_integer(mb_json_get_int(value, "scale", 0)));
    }
    json_array_foreach(items, i, item)
    {
        if (rc != 0 || strncmp(mb_json_get_text(item, "key", ""), "books/balance/", 14) != 0)
            continue;
        const char *rest = name_of(item, "books/balance/");
        size_t len = strcspn(rest, "/");
        char *asset = mb_strndup(rest, len);
        json_array_append_new(*out,
                              json_pack("{s:s, s:O, s:s, s:I}", "account", rest + len + 1, "amount",
                                        json_object_get(item, "value"), "asset", asset, "scale",
                                        (json_int_t)mb_json_get_int(scales, asset, 0)));
        free(asset);
    }
    json_decref(scales);
    json_decref(items);
    return rc;
}

static bool is_below(const char *account, const char *given)
{
    size_t len = strlen(given);
    return strncmp(account, given, len) == 0 && (account[len] == '\0' || account[len] == '/');
}

static int own_account(const struct cli *c, char **account, struct mb_error *error)
{
    struct cli_identity id = {0};
    int rc = cli_identity(c, &id, error);
    *account = rc == 0 ? mb_asprintf("key/%s", id.fingerprint) : NULL;
    cli_identity_clear(&id);
    return rc;
}

/* --- books balance --- */

static void balance_line(const json_t *b)
{
    struct mb_buf amount = {0};
    cli_amount_print(&amount, mb_json_get_int(b, "amount", 0), mb_json_get_int(b, "scale", 0));
    printf("%24s %-20s ", mb_buf_text(&amount), mb_json_get_text(b, "asset", ""));
    cli_print_text(mb_json_get_text(b, "account", ""));
    putchar('\n');
    mb_buf_clear(&amount);
}

static int books_balance(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *all = NULL, *mine = json_array(), *b;
    char *account = NULL;
    size_t i;
    bool every = cli_option(c, "all") != NULL;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0 && c->arg_count > 0)
        account = account_of(c->args[0]);
    else if (rc == 0 && !every)
        rc = own_account(c, &account, error);
    if (rc == 0)
        rc = balances(o, &all, error);
    json_array_foreach(all, i, b)
    {
        if (account == NULL || is_below(mb_json_get_text(b, "account", ""), account))
            json_array_append(mine, b);
    }
    if (rc == 0 && c->json) {
        cli_print_json(json_pack("{s:O, s:b}", "balances", mine, "proven", 1));
    } else if (rc == 0) {
        cli_page(c);
        json_array_foreach(mine, i, b) balance_line(b);
    }
    json_decref(all);
    json_decref(mine);
    free(account);
    return rc;
}

const struct cli_command cmd_books_balance = {
    .name = "books balance",
    .alias = "balance",
    .args = "[ACCOUNT]",
    .max_args = 1,
    .summary = "what an account and those below it hold, proven complete",
    .help = "Without ACCOUNT: the identity's own.\n\n"
            "    magicbiz books balance org",
    .options = (const struct cli_option[]){{"all", NULL, "every account's"}, {NULL, NULL, NULL}},
    .run = books_balance,
};

/* --- books post, books pay --- */

static void add_entry(json_t *entries, const char *account, int64_t amount, const char *asset)
{
    json_array_append_new(entries, json_pack("{s:s, s:I, s:s}", "account", account, "amount",
                                             (json_int_t)amount, "asset", asset));
}

static int amount_of(struct cli_org *o, const char *text, const char *asset, int64_t *amount,
                     struct mb_error *error)
{
    int64_t scale;
    int rc = asset_scale(o, asset, &scale, error);
    if (rc == 0 && !cli_amount_parse(text, scale, amount))
        rc = mb_fail(error, MB_EINVAL, "books.amount",
                     "%s is no amount of %s: a number with at most %" PRId64
                     " decimals, below 2^63 of the smallest unit",
                     text, asset, scale);
    return rc;
}

/* entries is taken. */
static int submit(struct cli *c, json_t *entries_take, struct mb_error *error)
{
    json_t *body = json_pack("{s:o}", "entries", entries_take);
    const char *memo = cli_option(c, "memo");
    if (memo != NULL)
        json_object_set_new(body, "memo", json_string(memo));
    return cli_act(c, "books.post", body, error);
}

static int books_post(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    if (c->arg_count % 3 != 0) {
        mb_fail(error, MB_EINVAL, "usage", "each entry is ACCOUNT AMOUNT ASSET");
        return CLI_USAGE;
    }
    int rc = cli_open_org(c, &o, error);
    json_t *entries = json_array();
    for (size_t i = 0; i < c->arg_count && rc == 0; i += 3) {
        char *account = account_of(c->args[i]);
        int64_t amount = 0;
        rc = amount_of(o, c->args[i + 1], c->args[i + 2], &amount, error);
        add_entry(entries, account, amount, c->args[i + 2]);
        free(account);
    }
    if (rc == 0)
        return submit(c, entries, error);
    json_decref(entries);
    return rc;
}

const struct cli_command cmd_books_post = {
    .name = "books post",
    .args = "ACCOUNT AMOUNT ASSET ...",
    .min_args = 6,
    .max_args = 768,
    .summary = "post entries that sum to zero for each asset",
    .help =
        "An amount below zero debits its account. It is a decimal number of the asset's scale.\n"
        "Assertions need the whole body: magicbiz send books.post.\n\n"
        "    magicbiz books post issue/eur -100 eur org 100 eur",
    .options = (const struct cli_option[]){{"memo", "TEXT", "what it is for"}, {NULL, NULL, NULL}},
    .run = books_post,
};

static int books_pay(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    const char *given = cli_option(c, "from"), *asset = c->args[1];
    char *from = given != NULL ? account_of(given) : NULL, *to = account_of(c->args[2]);
    int64_t amount = 0;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0 && from == NULL)
        rc = own_account(c, &from, error);
    if (rc == 0)
        rc = amount_of(o, c->args[0], asset, &amount, error);
    if (rc == 0 && amount <= 0)
        rc = mb_fail(error, MB_EINVAL, "books.amount", "%s: pay more than nothing", c->args[0]);
    if (rc == 0) {
        json_t *entries = json_array();
        add_entry(entries, from, -amount, asset);
        add_entry(entries, to, amount, asset);
        rc = submit(c, entries, error);
    }
    free(from);
    free(to);
    return rc;
}

const struct cli_command cmd_books_pay = {
    .name = "books pay",
    .alias = "pay",
    .args = "AMOUNT ASSET TO",
    .min_args = 3,
    .max_args = 3,
    .summary = "pay from the identity's own account, or another that it controls",
    .help = "TO is an account, or a key's fingerprint.\n\n"
            "    magicbiz books pay 12.50 eur org --memo dues",
    .options = (const struct cli_option[]){{"from", "ACCOUNT", "the account to debit"},
                                           {"memo", "TEXT", "what it is for"},
                                           {NULL, NULL, NULL}},
    .run = books_pay,
};

/* --- books export --- */

/* Account names there have ':' between segments; a fingerprint may hold '/' itself, and stays. */
static void journal_account(struct mb_buf *out, const char *account)
{
    size_t keep = strncmp(account, "key/SHA256:", 11) == 0 ? 3 + MB_FINGERPRINT_SIZE : 0;
    for (size_t i = 0; account[i] != '\0'; i++)
        mb_buf_add_u8(out, account[i] == '/' && (i == 3 || i >= keep) ? ':' : (uint8_t)account[i]);
}

static void journal_entry(struct mb_buf *out, const json_t *b)
{
    mb_buf_add_text(out, "    ");
    journal_account(out, mb_json_get_text(b, "account", ""));
    mb_buf_add_text(out, "  ");
    cli_amount_print(out, mb_json_get_int(b, "amount", 0), mb_json_get_int(b, "scale", 0));
    mb_buf_addf(out, " \"%s\"\n", mb_json_get_text(b, "asset", ""));
}

static int books_export(struct cli *c, struct mb_error *error)
{
    const char *format = cli_option(c, "format"), *asset = "";
    struct cli_org *o;
    struct mb_buf out = {0};
    json_t *all = NULL, *b;
    size_t i;
    if (format != NULL && strcmp(format, "ledger") != 0) {
        mb_fail(error, MB_EINVAL, "usage", "--format %s: ledger", format);
        return CLI_USAGE;
    }
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = balances(o, &all, error);
    if (rc == 0) {
        time_t t = (time_t)(o->newest.slot == 0 ? o->genesis.created : o->newest.time);
        char date[16];
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(date, sizeof date, "%Y-%m-%d", &tm);
        mb_buf_addf(&out, "; %s, balances proven at slot %" PRIu64 "\n", o->genesis.name,
                    o->newest.slot);
        json_array_foreach(all, i, b)
        {
            const char *name = mb_json_get_text(b, "asset", "");
            if (strcmp(name, asset) != 0)
                mb_buf_addf(&out, "\n%s balances of %s\n", date, name);
            asset = name;
            journal_entry(&out, b);
        }
    }
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:s, s:b}", "journal", mb_buf_text(&out), "proven", 1));
    else if (rc == 0)
        fputs(mb_buf_text(&out), stdout);
    mb_buf_clear(&out);
    json_decref(all);
    return rc;
}

const struct cli_command cmd_books_export = {
    .name = "books export",
    .args = "",
    .summary = "print all balances as a journal that hledger and ledger read, proven complete",
    .help = "One transaction for each asset brings every account to its balance at the newest\n"
            "checkpoint. The postings that led there are in the ledger: magicbiz log.\n\n"
            "    magicbiz books export --format ledger | hledger -f - balance",
    .options = (const struct cli_option[]){{"format", "ledger", "the only one, and the default"},
                                           {NULL, NULL, NULL}},
    .run = books_export,
};
