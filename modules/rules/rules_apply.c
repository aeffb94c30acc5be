/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The deterministic half of rules: the rulebook in force, its adoption, and what it is asked. See
 * magicbiz-rules(7). */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "rules.h"

#define KEY_SOURCE  "rules/source"
#define KEY_HASH    "rules/hash"
#define KEY_VERSION "rules/version"
#define KEY_PARAMS  "rules/params"

/* --- The rulebook in force --- */

/* Compiled rulebooks by the hash of their source: the one in force, and another that was tried at
 * the door or in a simulation. What is in here never shows, but for the time that it saves. */
static struct {
    char hash[MB_HASH_HEX_SIZE];
    struct mb_cage *cage;
} cache[2];

static void hash_of(const char *source, size_t len, char hex[MB_HASH_HEX_SIZE])
{
    struct mb_hash hash = mb_sha256(source, len);
    mb_hash_hex(&hash, hex);
}

/* The cage for a source, borrowed until the next but one is asked for. */
static int compile(const char *source, size_t len, struct mb_cage **out, struct mb_error *error)
{
    char hash[MB_HASH_HEX_SIZE];
    struct mb_cage *made;
    hash_of(source, len, hash);
    int rc = mb_cage_new(&made, mb_bytes(source, len), error);
    if (rc != 0)
        return rc;
    mb_cage_free(cache[1].cage);
    cache[1] = cache[0];
    mb_snprintf(cache[0].hash, sizeof cache[0].hash, "%s", hash);
    *out = cache[0].cage = made;
    return 0;
}

/* NULL: there is no rulebook. What was adopted compiles: where it does not, this replica lacks
 * something that the others have, and may not go on. */
static struct mb_cage *in_force(struct mb_tx *tx)
{
    json_t *hash = mb_tx_get(tx, KEY_HASH), *source;
    struct mb_cage *found = NULL;
    if (hash == NULL)
        return NULL;
    for (size_t i = 0; i < 2 && found == NULL; i++)
        if (strcmp(cache[i].hash, json_string_value(hash)) == 0)
            found = cache[i].cage;
    json_decref(hash);
    if (found != NULL)
        return found;
    source = mb_tx_get(tx, KEY_SOURCE);
    if (compile(json_string_value(source), json_string_length(source), &found, NULL) != 0)
        abort();
    json_decref(source);
    return found;
}

/* --- What a block has room for --- */

/* A call counts what it took: no more than its budget, which its last step may have gone over.
 * Those of on_epoch do not: there are at most 16 in a block, and they refuse nobody's command. */
static void count(struct mb_tx *tx, const struct mb_cage *cage, const char *function)
{
    int64_t took = mb_cage_cost(cage).instructions;
    took = took < MB_RULES_LEAST ? MB_RULES_LEAST : took;
    if (strcmp(function, "on_epoch") != 0)
        (void)mb_tx_work(tx, took < MB_RULES_INSTRUCTIONS ? took : MB_RULES_INSTRUCTIONS);
}

/* Room for calls that each may use up their budget? Without a rulebook there is always. */
static int has_room(struct mb_tx *tx, int calls, struct mb_error *error)
{
    int64_t taken = mb_tx_work(tx, 0);
    return taken + calls * (int64_t)MB_RULES_INSTRUCTIONS <= MB_RULES_BLOCK
               ? 0
               : mb_refuse(error, "rules.block", "dd", taken, (int64_t)MB_RULES_BLOCK);
}

/* --- Calls --- */

/* Call a function of the rulebook; args are taken. MB_ENOENT: there is no rulebook, or it has no
 * such function. */
static int call(struct mb_tx *tx, const struct mb_context *ctx, const char *function,
                json_t *args_take, json_t **results, struct mb_error *error)
{
    struct mb_cage *cage = in_force(tx);
    int rc = MB_ENOENT;
    *results = NULL;
    if (cage != NULL) {
        json_t *params = mb_tx_get(tx, KEY_PARAMS);
        struct mb_cage_view view = {tx, ctx->time, (int64_t)ctx->slot, params};
        rc = mb_cage_call(cage, &view, function, args_take, results, error);
        count(tx, cage, function);
        json_decref(params);
    }
    json_decref(args_take);
    return rc;
}

/* --- What no rulebook decides: with these it could lock out its own repair. --- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool touches_membership(const json_t *body)
{
    const json_t *entry;
    size_t i;
    json_array_foreach(json_object_get(body, "entries"), i,
                       entry) if (strcmp(mb_json_get_text(entry, "asset", ""), "member") ==
                                  0) return true;
    return strcmp(mb_json_get_text(body, "asset", ""), "member") == 0;
}

static bool is_reserved(const char *type, const json_t *body)
{
    return begins(type, "org.") || begins(type, "gov.") || begins(type, "rules.") ||
           touches_membership(body);
}

/* The commands that a repair needs: the rulebook is not asked about them. */
static bool is_repair(struct mb_tx *tx, const char *type, const json_t *body)
{
    char key[MB_STATE_KEY_MAX + 1];
    if (strcmp(type, "rules.adopt") == 0 || strcmp(type, "org.approve") == 0)
        return true; /* their own access holds: founders, until they retire */
    if (!begins(type, "gov."))
        return false;
    if (strcmp(type, "gov.propose") == 0)
        return strcmp(mb_json_get_text(body, "procedure", ""), "constitution") == 0;
    if (mb_snprintf(key, sizeof key, "gov/proposal/%s", mb_json_get_text(body, "proposal", "")) !=
        0)
        return false;
    json_t *proposal = mb_tx_get(tx, key);
    bool is = strcmp(mb_json_get_text(proposal, "procedure", ""), "constitution") == 0;
    json_decref(proposal);
    return is;
}

/* --- What it is asked --- */

static json_t *command_json(const struct mb_context *ctx, const char *type, const json_t *body)
{
    return json_pack("{s:s, s:s, s:s, s:O}", "type", type, "id", ctx->id, "signer", ctx->signer,
                     "body", body);
}

/* true or nothing: the default access decides; "grant": allowed whatever that is; false and a
 * reason: denied. */
static int authorize(struct mb_tx *tx, const struct mb_context *ctx, const char *type,
                     const json_t *body, struct mb_error *error)
{
    json_t *results;
    if (is_repair(tx, type, body))
        return 0;
    int rc = has_room(tx, 2, error); /* for on_applied, too */
    if (rc != 0)
        return rc;
    rc = call(tx, ctx, "authorize", json_pack("[o, s]", command_json(ctx, type, body), ctx->signer),
              &results, error);
    if (rc == MB_ENOENT)
        return 0;
    if (rc != 0)
        return rc;
    const json_t *said = json_array_get(results, 0);
    const char *reason = json_string_value(json_array_get(results, 1));
    const char *word = json_string_value(said);
    if (said == NULL || json_is_true(said))
        rc = 0;
    else if (word != NULL && strcmp(word, "grant") == 0)
        rc = is_reserved(type, body) ? 0 : 1;
    else
        rc = mb_refuse(error, "rules.denied", "ss", type, reason != NULL ? reason : "");
    json_decref(results);
    return rc;
}

static int64_t weight(struct mb_tx *tx, const struct mb_context *ctx, const char *member,
                      const char *procedure)
{
    json_t *results;
    if (strcmp(procedure, "constitution") == 0)
        return 1;
    int rc = call(tx, ctx, "weight", json_pack("[s, s]", member, procedure), &results, NULL);
    int64_t value = rc == MB_ENOENT ? 1 : json_integer_value(json_array_get(results, 0));
    json_decref(results);
    return value > 0 ? value : 0;
}

static int check_commands(const json_t *list, struct mb_error *error)
{
    const json_t *command;
    size_t i;
    if (json_array_size(list) > MB_BATCH_MAX)
        return mb_refuse(error, "rules.value", "s", "more than 16 commands");
    json_array_foreach(list, i, command)
    {
        const char *type = mb_json_get_text(command, "type", NULL);
        const json_t *body = json_object_get(command, "body");
        if (type == NULL || !json_is_object(body) || json_object_size(command) != 2)
            return mb_refuse(error, "rules.value", "s", "a command has the fields type and body");
        if (is_reserved(type, body))
            return mb_refuse(error, "rules.reserved", "s", type);
    }
    return 0;
}

/* The commands that a function returns: a list, or nothing. */
static int wanted(struct mb_tx *tx, const struct mb_context *ctx, const char *function,
                  json_t *args_take, json_t **commands, struct mb_error *error)
{
    json_t *results;
    int rc = call(tx, ctx, function, args_take, &results, error);
    if (rc != 0)
        return rc == MB_ENOENT ? 0 : rc;
    json_t *list = json_array_get(results, 0);
    bool none = list == NULL || (json_is_object(list) && json_object_size(list) == 0);
    if (!none && !json_is_array(list))
        rc = mb_refuse(error, "rules.value", "s", "commands are a list");
    else if (!none)
        rc = check_commands(list, error);
    if (rc == 0 && !none)
        *commands = json_incref(list);
    json_decref(results);
    return rc;
}

static int on_epoch(struct mb_tx *tx, const struct mb_context *ctx, int64_t n, json_t **commands,
                    struct mb_error *error)
{
    return wanted(tx, ctx, "on_epoch", json_pack("[I]", (json_int_t)n), commands, error);
}

static int on_applied(struct mb_tx *tx, const struct mb_context *ctx, const char *type,
                      const json_t *body, bool ok, const json_t *outcome, json_t **commands,
                      struct mb_error *error)
{
    /* What was allowed has its room. Of others only those that nobody asked the rulebook about come
     * here without it: that they have no say of its then is on record. */
    if (strcmp(mb_json_get_text(outcome, "code", ""), "rules.block") == 0 && !ok)
        return 0;
    int rc = has_room(tx, 1, error);
    if (rc != 0)
        return rc;
    json_t *result = json_pack("{s:b, s:O}", "ok", ok, ok ? "result" : "error", outcome);
    return wanted(tx, ctx, "on_applied", json_pack("[o, o]", command_json(ctx, type, body), result),
                  commands, error);
}

/* --- Adoption --- */

static int check_params(const json_t *params, struct mb_error *error)
{
    const char *name;
    json_t *value;
    if (json_object_size(params) > RULES_PARAMS_MAX)
        return mb_refuse(error, "rules.params", "dd", (int64_t)json_object_size(params),
                         (int64_t)RULES_PARAMS_MAX);
    json_object_foreach((json_t *)params, name, value)
    {
        if (strlen(name) > 64) {
            char figure[64];
            mb_snprintf(figure, sizeof figure, "a name of %zu bytes", strlen(name));
            return mb_refuse(error, "rules.param", "sss", name, figure, "64 at most");
        }
        if (!json_is_integer(value) && !json_is_string(value)) {
            char *figure = mb_json_figure(value);
            int rc = mb_refuse(error, "rules.param", "sss", name, figure, "an integer or a text");
            free(figure);
            return rc;
        }
    }
    return 0;
}

/* The rulebook's own test, with the parameters that it would have. */
static int self_test(struct mb_tx *tx, const struct mb_context *ctx, struct mb_cage *cage,
                     const json_t *params, struct mb_error *error)
{
    struct mb_cage_view view = {tx, ctx->time, (int64_t)ctx->slot, params};
    json_t *args = json_array(), *results = NULL;
    int rc = 0;
    if (cage != NULL)
        rc = mb_cage_call(cage, &view, "selftest", args, &results, error);
    rc = rc == MB_ENOENT ? 0 : rc;
    if (rc == 0 && results != NULL && !json_is_true(json_array_get(results, 0))) {
        const char *reason = json_string_value(json_array_get(results, 1));
        rc = mb_refuse(error, "rules.selftest", "s", reason != NULL ? reason : "");
    }
    json_decref(args);
    json_decref(results);
    return rc;
}

static void put_take(struct mb_tx *tx, const char *key, json_t *value_take)
{
    mb_tx_put(tx, key, value_take);
    json_decref(value_take);
}

/* Test source (NULL: the one in force) with params, and put both in force. */
static int adopt(struct mb_tx *tx, const struct mb_context *ctx, const json_t *source,
                 const json_t *params, json_t **result, struct mb_error *error)
{
    size_t len = json_string_length(source);
    struct mb_cage *cage = NULL;
    char hash[MB_HASH_HEX_SIZE];
    int rc = check_params(params, error);
    if (rc == 0 && source == NULL)
        cage = in_force(tx);
    else if (rc == 0 && len > 0)
        rc = compile(json_string_value(source), len, &cage, error);
    if (rc == 0)
        rc = self_test(tx, ctx, cage, params, error);
    if (rc != 0)
        return rc;
    json_t *version = mb_tx_get(tx, KEY_VERSION);
    int64_t next = json_integer_value(version) + 1;
    json_decref(version);
    put_take(tx, KEY_VERSION, json_integer(next));
    mb_tx_put(tx, KEY_PARAMS, params);
    if (source != NULL && len == 0) {
        mb_tx_delete(tx, KEY_SOURCE);
        mb_tx_delete(tx, KEY_HASH);
    } else if (source != NULL) {
        hash_of(json_string_value(source), len, hash);
        mb_tx_put(tx, KEY_SOURCE, source);
        put_take(tx, KEY_HASH, json_string(hash));
    }
    if (result != NULL)
        *result = json_pack("{s:I}", "version", (json_int_t)next);
    return 0;
}

static int rules_adopt(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                       json_t **result, struct mb_error *error)
{
    const json_t *given = json_object_get(body, "params");
    json_t *params = given != NULL ? json_incref((json_t *)given) : mb_tx_get(tx, KEY_PARAMS);
    int rc = adopt(tx, ctx, json_object_get(body, "source"), params, result, error);
    json_decref(params);
    return rc;
}

static int params_set(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                      json_t **result, struct mb_error *error)
{
    json_t *params = mb_tx_get(tx, KEY_PARAMS);
    json_object_update(params, json_object_get(body, "params"));
    int rc = adopt(tx, ctx, NULL, params, result, error);
    json_decref(params);
    return rc;
}

/* The genesis' parameters that begin with "rules." are the rulebook's. */
static int genesis(struct mb_tx *tx, const struct mb_context *ctx, const json_t *json,
                   struct mb_error *error)
{
    json_t *params = json_object(), *value;
    const char *name;
    json_object_foreach(json_object_get(json, "params"), name, value) if (begins(name, "rules."))
        json_object_set(params, name + strlen("rules."), value);
    const json_t *source = json_object_get(json, "rulebook");
    int rc = adopt(tx, ctx, source, params, NULL, error);
    json_decref(params);
    return rc;
}

/* --- Tables --- */

static const struct mb_json_field adopt_fields[] = {
    {.name = "source", .kind = MB_JSON_STRING},
    {.name = "params", .kind = MB_JSON_OBJECT, .optional = true},
    {.name = NULL},
};
static const struct mb_json_field params_fields[] = {
    {.name = "params", .kind = MB_JSON_OBJECT, .min = 1, .max = RULES_PARAMS_MAX},
    {.name = NULL},
};
static const struct mb_verb verbs[] = {
    {.name = "rules.adopt", .access = MB_ORG, .body = adopt_fields, .apply = rules_adopt},
    {.name = "rules.params.set", .access = MB_ORG, .body = params_fields, .apply = params_set},
    {.name = NULL},
};

static const struct mb_message messages[] = {
    {"rules.block",
     "the rulebook has taken {0} of this block's {1} instructions, and the rest may not "
     "be enough for one more command: send it again"},
    {"rules.budget", "the rulebook went over its budget of {0}: at most {1}"},
    {"rules.source", "line {0} of the rulebook: {1}"},
    {"rules.compile", "the rulebook is not Lua: {0}"},
    {"rules.error", "the rulebook failed: {0}"},
    {"rules.value", "the rulebook returned what cannot be used: {0}"},
    {"rules.selftest", "the rulebook's own test says no: {0}"},
    {"rules.denied", "the rulebook does not allow {0}: {1}"},
    {"rules.reserved", "{0} is not the rulebook's to run: a proposal can"},
    {"rules.params", "{0} parameters: a rulebook has at most {1}"},
    {"rules.param", "parameter {0} has {1}, not {2}"},
    {.code = NULL},
};

const struct mb_logic rules_logic = {
    .name = "rules",
    .version = RULES_VERSION,
    .verbs = verbs,
    .messages = messages,
    .genesis = genesis,
    .weight = weight,
    .authorize = authorize,
    .on_epoch = on_epoch,
    .on_applied = on_applied,
};
