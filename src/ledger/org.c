/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs of the organisation itself (magicbiz-protocol(7), "Core state"). */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/internal.h"

#define PARAM_TEXT_MAX 1024
#define WORK_BITS_MAX  32

int mb_param_check(const char *name, const json_t *value, struct mb_error *error)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.");
    if (len < 1 || len > 64 || name[len] != '\0')
        return mb_refuse(error, "org.param_name", "s", name);
    bool good = json_is_integer(value) ||
                (json_is_string(value) && json_string_length(value) <= PARAM_TEXT_MAX);
    if (strcmp(name, "work_bits") == 0)
        good = json_is_integer(value) && json_integer_value(value) >= 0 &&
               json_integer_value(value) <= WORK_BITS_MAX;
    else if (strcmp(name, "beacon") == 0)
        good = json_is_integer(value) && json_integer_value(value) >= 0 &&
               json_integer_value(value) <= 1;
    return good ? 0 : mb_refuse(error, "org.param_value", "s", name);
}

static int param_set(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                     json_t **result, struct mb_error *error)
{
    const char *name = mb_json_get_text(body, "name", "");
    const json_t *value = json_object_get(body, "value");
    (void)ctx;
    (void)result;
    int rc = mb_param_check(name, value, error);
    if (rc != 0)
        return rc;
    char *key = mb_asprintf("org/params/%s", name);
    mb_tx_put(tx, key, value);
    free(key);
    return 0;
}

/* One more founder agrees to a pending command. The one that completes the threshold gets
 * {"pending":0}, and apply runs the command after that. */
static int approve(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    const char *id = mb_json_get_text(body, "id", "");
    if (ctx->as_org)
        return mb_refuse(error, "command.access", "ss", "org.approve", "founder");
    char *key = mb_asprintf("core/pending/%s", id);
    json_t *pending = mb_tx_get(tx, key), *founders = mb_tx_get(tx, "org/founders");
    json_t *approvals = json_object_get(pending, "approvals");
    int rc = 0;
    if (!pending || mb_json_get_int(pending, "expires", 0) < ctx->time)
        rc = mb_refuse(error, "org.no_pending", "s", id);
    if (rc == 0 && mb_json_has_text(approvals, ctx->signer))
        rc = mb_refuse(error, "org.approved", "s", id);
    if (rc == 0) {
        json_array_append_new(approvals, json_string(ctx->signer));
        int64_t missing =
            mb_json_get_int(founders, "threshold", 1) - (int64_t)json_array_size(approvals);
        mb_tx_put(tx, key, pending);
        *result = json_object();
        json_object_set_new(*result, "pending", json_integer(missing > 0 ? missing : 0));
    }
    json_decref(pending);
    json_decref(founders);
    free(key);
    return rc;
}

/* The new key signs canonical {"new","old","org"}: it agrees to speak for old's identity. */
static bool proof_holds(const struct mb_context *ctx, const char *new_text, const char *old,
                        const struct mb_public_key *new_key, const char *proof)
{
    struct mb_buf message = {0};
    struct mb_public_key signer;
    json_t *json = json_object();
    json_object_set_new(json, "new", json_string(new_text));
    json_object_set_new(json, "old", json_string(old));
    json_object_set_new(json, "org", json_string(ctx->org));
    bool holds = mb_json_canonical(&message, json, NULL) == 0 &&
                 mb_sshsig_verify_base64(proof, "magicbiz-key", mb_buf_bytes(&message), &signer,
                                         NULL) == 0 &&
                 mb_public_key_equal(&signer, new_key);
    json_decref(json);
    mb_buf_clear(&message);
    return holds;
}

static int key_replace(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                       json_t **result, struct mb_error *error)
{
    const char *new_text = mb_json_get_text(body, "new", "");
    const char *first = mb_json_get_text(body, "old", ctx->signer);
    char fingerprint[MB_FINGERPRINT_SIZE];
    struct mb_public_key key;
    (void)result;
    if (mb_public_key_parse(&key, new_text, NULL) != 0)
        return mb_refuse(error, "org.key_invalid", "");
    mb_public_key_fingerprint(&key, fingerprint);
    if (!mb_is_fingerprint(first) || mb_org_has(tx, "first", first))
        return mb_refuse(error, "org.key_old", "s", first);
    if (mb_is_replica_key(tx, first))
        return mb_refuse(error, "org.key_replica", "s", first);
    if (strcmp(fingerprint, first) == 0 || mb_key_is_known(tx, fingerprint))
        return mb_refuse(error, "org.key_used", "s", fingerprint);
    if (!proof_holds(ctx, new_text, first, &key, mb_json_get_text(body, "proof", "")))
        return mb_refuse(error, "org.key_proof", "");

    char *current = mb_asprintf("org/key/%s", first);
    char *back = mb_asprintf("org/first/%s", fingerprint);
    json_t *identity = json_string(first);
    mb_tx_put(tx, current, json_object_get(body, "new"));
    mb_tx_put(tx, back, identity);
    json_decref(identity);
    free(current);
    free(back);
    return 0;
}

/* --- What ends the founders' say, and what changes the rules of the game. --- */

static int founders_retire(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                           json_t **result, struct mb_error *error)
{
    const struct mb_facts *f = mb_facts(tx->ledger);
    (void)ctx;
    (void)body;
    (void)result;
    if (f && !mb_is_governed(f)) /* nobody could decide anything any more */
        return mb_refuse(error, "org.founders_needed", "");
    json_t *founders = mb_tx_get(tx, "org/founders");
    json_object_set_new(founders, "retired", json_integer(1));
    mb_tx_put(tx, "org/founders", founders);
    json_decref(founders);
    return 0;
}

static int upgrade(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    const char *module = mb_json_get_text(body, "module", "");
    int64_t version = mb_json_get_int(body, "version", 0);
    int64_t at = mb_json_get_int(body, "at_slot", 0), first = (int64_t)ctx->slot + MB_WINDOW;
    (void)result;
    if (!mb_is_module_name(module) && strcmp(module, "core") != 0)
        return mb_refuse(error, "org.upgrade_module", "s", module);
    json_t *versions = mb_tx_get(tx, "core/versions");
    int64_t now = mb_json_get_int(versions, module, 0);
    json_decref(versions);
    if (version < now || version == 0)
        return mb_refuse(error, "org.upgrade_version", "sdd", module, version, now);
    if (at < first)
        return mb_refuse(error, "org.upgrade_slot", "dd", at, first);
    json_t *upgrades = mb_tx_get(tx, "core/upgrade");
    if (!upgrades)
        upgrades = json_object();
    if (version == now) /* what was decided is taken back */
        json_object_del(upgrades, module);
    else
        json_object_set_new(
            upgrades, module,
            json_pack("{s:I,s:I}", "at_slot", (json_int_t)at, "version", (json_int_t)version));
    if (json_object_size(upgrades) > 0)
        mb_tx_put(tx, "core/upgrade", upgrades);
    else
        mb_tx_delete(tx, "core/upgrade");
    json_decref(upgrades);
    return 0;
}

static const struct mb_json_field retire_body[] = {{0}};
static const struct mb_json_field upgrade_body[] = {
    {"module", MB_JSON_STRING, false, 1, MB_MODULE_NAME_MAX},
    {"version", MB_JSON_INT, false, 1, UINT32_MAX},
    {"at_slot", MB_JSON_INT, false, 1, INT64_MAX},
    {0}};
static const struct mb_json_field param_set_body[] = {
    {"name", MB_JSON_STRING, false, 0, 0}, {"value", MB_JSON_ANY, false, 0, 0}, {0}};
static const struct mb_json_field approve_body[] = {{"id", MB_JSON_STRING, false, 64, 64}, {0}};
static const struct mb_json_field key_replace_body[] = {{"new", MB_JSON_STRING, false, 0, 0},
                                                        {"old", MB_JSON_STRING, true, 0, 0},
                                                        {"proof", MB_JSON_STRING, false, 0, 0},
                                                        {0}};

const struct mb_verb mb_org_verbs[] = {
    {.name = "org.approve", .access = MB_FOUNDER, .body = approve_body, .apply = approve},
    {.name = "org.key.replace",
     .access = MB_ANYONE,
     .body = key_replace_body,
     .apply = key_replace},
    {.name = "org.founders.retire",
     .access = MB_ORG,
     .body = retire_body,
     .apply = founders_retire},
    {.name = "org.upgrade", .access = MB_ORG, .body = upgrade_body, .apply = upgrade},
    {.name = "org.param.set", .access = MB_ORG, .body = param_set_body, .apply = param_set},
    {0},
};
