/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names of assets and accounts, their keys in the state, and who controls what. */
#include <stdlib.h>

#include "books_state.h"

/* --- Names --- */

static bool is_word(const char *text, size_t len, size_t max)
{
    static const char fine[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    if (len < 1 || len > max || text[0] == '-' || text[len - 1] == '-')
        return false;
    for (size_t i = 0; i < len; i++)
        if (strchr(fine, text[i]) == NULL || (text[i] == '-' && text[i + 1] == '-'))
            return false;
    return true;
}

bool books_asset_name_valid(const char *name)
{
    return name[0] >= 'a' && name[0] <= 'z' && is_word(name, strlen(name), BOOKS_ASSET_MAX);
}

const char *books_issues(const char *account)
{
    return strncmp(account, "issue/", 6) == 0 ? account + 6 : "";
}

bool books_owner(const char *account, char owner[MB_FINGERPRINT_SIZE])
{
    const size_t len = MB_FINGERPRINT_SIZE - 1;
    if (strncmp(account, "key/", 4) != 0 || strlen(account + 4) < len ||
        (account[4 + len] != '/' && account[4 + len] != '\0'))
        return false;
    mb_snprintf(owner, MB_FINGERPRINT_SIZE, "%.*s", (int)len, account + 4);
    return mb_is_fingerprint(owner);
}

bool books_account_valid(const char *account)
{
    char owner[MB_FINGERPRINT_SIZE];
    const char *at = account;
    size_t depth = 0;
    if (strlen(account) > BOOKS_ACCOUNT_MAX)
        return false;
    if (*books_issues(account) != '\0')
        return books_asset_name_valid(books_issues(account));
    if (strncmp(account, "key/", 4) == 0) {
        if (!books_owner(account, owner))
            return false;
        at += 4 + strlen(owner);
        if (*at++ == '\0')
            return true;
        depth = 2;
    }
    for (;; at++) {
        size_t len = strcspn(at, "/");
        if (!is_word(at, len, BOOKS_SEGMENT_MAX) || ++depth > BOOKS_DEPTH_MAX)
            return false;
        at += len;
        if (*at == '\0')
            break;
    }
    return strcmp(account, "key") != 0 && strcmp(account, "issue") != 0;
}

/* --- Keys --- */

void books_account_key(char key[MB_STATE_KEY_MAX + 1], const char *account)
{
    mb_snprintf(key, MB_STATE_KEY_MAX + 1, "books/account/%s", account);
}

void books_balance_key(char key[MB_STATE_KEY_MAX + 1], const char *asset, const char *account)
{
    mb_snprintf(key, MB_STATE_KEY_MAX + 1, "books/balance/%s/%s", asset, account);
}

void books_put_take(struct mb_tx *tx, const char *key, json_t *value_take)
{
    mb_tx_put(tx, key, value_take);
    json_decref(value_take);
}

int64_t books_balance(struct mb_tx *tx, const char *key)
{
    json_t *value = mb_tx_get(tx, key);
    int64_t balance = json_integer_value(value);
    json_decref(value);
    return balance;
}

void books_set_balance(struct mb_tx *tx, const char *key, int64_t balance)
{
    if (balance == 0)
        mb_tx_delete(tx, key);
    else
        books_put_take(tx, key, json_integer(balance));
}

/* --- Control --- */

bool books_asset(struct mb_tx *tx, const char *name, struct books_asset *out)
{
    char key[MB_STATE_KEY_MAX + 1];
    if (!books_asset_name_valid(name))
        return false;
    mb_snprintf(key, sizeof key, "books/asset/%s", name);
    json_t *asset = mb_tx_get(tx, key);
    if (asset == NULL)
        return false;
    out->cap = mb_json_get_int(asset, "cap", 0);
    out->half_life = mb_json_get_int(asset, "half_life_epochs", 0);
    out->transferable = mb_json_get_int(asset, "transferable", 0) == 1;
    mb_snprintf(out->issuer, sizeof out->issuer, "%s", mb_json_get_text(asset, "issuer", ""));
    json_decref(asset);
    return true;
}

/* What account's own record says. */
static bool recorded(struct mb_tx *tx, const char *account, char controller[MB_FINGERPRINT_SIZE])
{
    char key[MB_STATE_KEY_MAX + 1];
    books_account_key(key, account);
    json_t *record = mb_tx_get(tx, key);
    if (record != NULL)
        mb_snprintf(controller, MB_FINGERPRINT_SIZE, "%s",
                    mb_json_get_text(record, "controller", ""));
    json_decref(record);
    return record != NULL;
}

/* Accounts that exist without being opened. */
static bool by_itself(const char *account, char controller[MB_FINGERPRINT_SIZE])
{
    bool org = strcmp(account, "org") == 0;
    if (org)
        mb_snprintf(controller, MB_FINGERPRINT_SIZE, "org");
    return org ||
           (books_owner(account, controller) && account[4 + MB_FINGERPRINT_SIZE - 1] == '\0');
}

bool books_controller(struct mb_tx *tx, const char *account, char controller[MB_FINGERPRINT_SIZE])
{
    struct books_asset asset;
    if (!books_account_valid(account))
        return false;
    if (*books_issues(account) == '\0')
        return by_itself(account, controller) || recorded(tx, account, controller);
    if (!books_asset(tx, books_issues(account), &asset))
        return false;
    mb_snprintf(controller, MB_FINGERPRINT_SIZE, "%s", asset.issuer);
    return true;
}

void books_controller_above(struct mb_tx *tx, const char *account,
                            char controller[MB_FINGERPRINT_SIZE])
{
    char *path = mb_strdup(account), *slash, owner[MB_FINGERPRINT_SIZE];
    size_t root = books_owner(account, owner) ? 4 + strlen(owner) : 1;
    mb_snprintf(controller, MB_FINGERPRINT_SIZE, "org");
    while ((slash = strrchr(path + root, '/')) != NULL) {
        *slash = '\0';
        if (books_controller(tx, path, controller))
            break;
    }
    free(path);
}
