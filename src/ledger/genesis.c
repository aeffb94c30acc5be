/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "ledger/internal.h"

#define FOUNDERS_MAX 64
#define EPOCH_S_MAX  31622400 /* 366 days */

static int invalid(struct mb_error *error, const char *field, const char *why)
{
    return mb_fail(error, MB_EINVAL, "genesis.invalid", "genesis: \"%s\" %s", field, why);
}

/* Lower-case letters and digits, at most max of them. */
static bool is_name(const char *text, size_t max)
{
    size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789");
    return len >= 1 && len <= max && text[len] == '\0';
}

bool mb_is_module_name(const char *text)
{
    return is_name(text, MB_MODULE_NAME_MAX) && strcmp(text, "org") != 0 &&
           strcmp(text, "core") != 0 && strcmp(text, "lua") != 0;
}

static int check_form(const json_t *json, struct mb_error *error)
{
    static const struct mb_json_field fields[] = {
        {"format", MB_JSON_INT, false, 1, 1},
        {"name", MB_JSON_STRING, false, 1, 32},
        {"created", MB_JSON_INT, false, 1, MB_TIME_MAX},
        {"epoch_s", MB_JSON_INT, false, 1, EPOCH_S_MAX},
        {"founders", MB_JSON_ARRAY, false, 1, FOUNDERS_MAX},
        {"founder_threshold", MB_JSON_INT, false, 1, FOUNDERS_MAX},
        {"founders_retired", MB_JSON_INT, true, 1, 1},
        {"replicas", MB_JSON_ARRAY, false, 1, MB_REPLICAS_MAX},
        {"onion", MB_JSON_STRING, false, 0, 0},
        {"versions", MB_JSON_OBJECT, false, 0, 0},
        {"rulebook", MB_JSON_STRING, false, 0, 0},
        {"params", MB_JSON_OBJECT, false, 0, 0},
        {0}};
    struct mb_error why = {0};
    if (mb_json_check(json, fields, &why) != 0)
        return mb_fail(error, MB_EINVAL, "genesis.invalid",
                       "genesis: a field is missing, unknown, or of the wrong kind or size: %s",
                       why.args);
    if (!is_name(mb_json_get_text(json, "name", ""), 32))
        return invalid(error, "name", "is not 1 to 32 lower-case letters and digits");
    if (!mb_onion_decode(NULL, mb_json_get_text(json, "onion", "")))
        return invalid(error, "onion", "is not a version 3 onion address");
    if (*mb_json_get_text(json, "rulebook", "") &&
        !json_object_get(json_object_get(json, "versions"), "rules"))
        return invalid(error, "rulebook", "is not empty, and versions has no module rules");
    return 0;
}

/* True if text stands in list before position i. */
static bool stands_before(const json_t *list, size_t i, const char *text)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(json_string_value(json_array_get(list, j)), text) == 0)
            return true;
    return false;
}

static int check_founders(const json_t *json, struct mb_error *error)
{
    const json_t *founders = json_object_get(json, "founders");
    struct mb_public_key key;
    for (size_t i = 0; i < json_array_size(founders); i++) {
        const char *text = json_string_value(json_array_get(founders, i));
        if (!text || mb_public_key_parse(&key, text, NULL) != 0)
            return invalid(error, "founders", "holds something that is no ssh-ed25519 public key");
        if (stands_before(founders, i, text))
            return invalid(error, "founders", "names a key twice");
    }
    if (mb_json_get_int(json, "founder_threshold", 0) > (int64_t)json_array_size(founders))
        return invalid(error, "founder_threshold", "is greater than the number of founders");
    return 0;
}

static int check_replica(const json_t *replica, int64_t number, struct mb_error *error)
{
    static const struct mb_json_field fields[] = {
        {"number", MB_JSON_INT, false, 1, 9},        {"public_key", MB_JSON_STRING, false, 0, 0},
        {"peer_onion", MB_JSON_STRING, false, 0, 0}, {"onion", MB_JSON_STRING, false, 0, 0},
        {"tor_auth", MB_JSON_STRING, false, 52, 52}, {0}};
    struct mb_error why = {0};
    struct mb_public_key key;
    uint8_t auth[32];
    if (mb_json_check(replica, fields, &why) != 0)
        return mb_fail(error, MB_EINVAL, "genesis.invalid",
                       "genesis: replica %lld: a field is missing, unknown, or of the wrong kind "
                       "or size: %s",
                       (long long)number, why.args);
    if (mb_json_get_int(replica, "number", 0) != number)
        return invalid(error, "replicas", "are not numbered 1, 2, 3 and so on in that order");
    if (mb_public_key_parse(&key, mb_json_get_text(replica, "public_key", ""), NULL) != 0)
        return invalid(error, "public_key", "of a replica is no ssh-ed25519 public key");
    if (!mb_onion_decode(NULL, mb_json_get_text(replica, "onion", "")))
        return invalid(error, "onion", "of a replica is not a version 3 onion address");
    if (!mb_onion_decode(NULL, mb_json_get_text(replica, "peer_onion", "")))
        return invalid(error, "peer_onion", "of a replica is not a version 3 onion address");
    if (mb_base32_decode(auth, sizeof auth, mb_json_get_text(replica, "tor_auth", ""), 52) != 0)
        return invalid(error, "tor_auth", "of a replica is not the base32 of 32 bytes");
    return 0;
}

static int check_replicas(const json_t *json, struct mb_error *error)
{
    const json_t *replicas = json_object_get(json, "replicas");
    json_t *keys = json_array(), *onions = json_array();
    int rc = 0;
    for (size_t i = 0; i < json_array_size(replicas) && rc == 0; i++) {
        const json_t *r = json_array_get(replicas, i);
        if ((rc = check_replica(r, (int64_t)i + 1, error)) != 0)
            break;
        json_array_append(keys, json_object_get(r, "public_key"));
        json_array_append(onions, json_object_get(r, "onion"));
        json_array_append(onions, json_object_get(r, "peer_onion"));
        if (stands_before(keys, i, mb_json_get_text(r, "public_key", "")))
            rc = invalid(error, "replicas", "name a key twice");
        else if (stands_before(onions, 2 * i, mb_json_get_text(r, "onion", "")) ||
                 stands_before(onions, 2 * i + 1, mb_json_get_text(r, "peer_onion", "")))
            rc = invalid(error, "replicas", "name an onion twice");
    }
    json_decref(keys);
    json_decref(onions);
    return rc;
}

static int check_versions(json_t *json, struct mb_error *error)
{
    json_t *versions = json_object_get(json, "versions");
    const char *name;
    json_t *value;
    if (mb_json_get_int(versions, "core", 0) != MB_CORE_VERSION)
        return invalid(error, "versions", "needs \"core\":1 for this program");
    if (!*mb_json_get_text(versions, "lua", ""))
        return invalid(error, "versions", "needs \"lua\", a release as text");
    json_object_foreach(versions, name, value)
    {
        if (strcmp(name, "lua") == 0)
            continue;
        if (!mb_is_module_name(name) && strcmp(name, "core") != 0)
            return invalid(error, "versions", "names something that cannot be a module");
        if (!json_is_integer(value) || json_integer_value(value) < 1 ||
            json_integer_value(value) > UINT32_MAX)
            return invalid(error, "versions", "holds a version that is not an integer from 1");
    }
    return 0;
}

static int check_params(json_t *json, struct mb_error *error)
{
    struct mb_error why = {0};
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(json, "params"), name, value)
    {
        if (mb_param_check(name, value, &why) != 0)
            return mb_fail(error, MB_EINVAL, "genesis.invalid", "genesis: \"params\": %s %s",
                           why.code, why.args);
    }
    return 0;
}

int mb_genesis_parse(struct mb_genesis *g, struct mb_bytes text, struct mb_error *error)
{
    memset(g, 0, sizeof *g);
    int rc = MB_EINVAL;
    if (text.len > MB_GENESIS_MAX)
        return mb_fail(error, MB_EINVAL, "genesis.invalid", "genesis has more than %d bytes",
                       MB_GENESIS_MAX);
    if (mb_json_parse(&g->json, text.data, text.len, error) != 0)
        return mb_fail(error, MB_EINVAL, "genesis.invalid", "genesis is not strict JSON");
    if ((rc = check_form(g->json, error)) != 0 || (rc = check_founders(g->json, error)) != 0 ||
        (rc = check_replicas(g->json, error)) != 0 || (rc = check_versions(g->json, error)) != 0 ||
        (rc = check_params(g->json, error)) != 0) {
        mb_genesis_clear(g);
        return rc;
    }
    g->org = mb_sha256(text.data, text.len);
    g->name = mb_json_get_text(g->json, "name", "");
    g->created = mb_json_get_int(g->json, "created", 0);
    g->epoch_s = mb_json_get_int(g->json, "epoch_s", 0);
    return 0;
}

void mb_genesis_clear(struct mb_genesis *g)
{
    json_decref(g->json);
    memset(g, 0, sizeof *g);
}

static void put_take(struct mb_tx *tx, const char *key, json_t *value_take)
{
    mb_tx_put(tx, key, value_take);
    json_decref(value_take);
}

json_t *mb_genesis_config(const json_t *genesis)
{
    const json_t *replicas = json_object_get(genesis, "replicas");
    json_t *config = json_object();
    json_object_set_new(config, "from", json_integer(1));
    json_object_set_new(config, "next_number",
                        json_integer((json_int_t)json_array_size(replicas) + 1));
    json_object_set_new(config, "removed", json_array());
    json_object_set_new(config, "replicas", json_deep_copy(replicas));
    json_object_set_new(config, "version", json_integer(1));
    return config;
}

static json_t *first_founders(const json_t *genesis)
{
    json_t *founders = json_object();
    json_object_set(founders, "keys", json_object_get(genesis, "founders"));
    json_object_set_new(founders, "retired",
                        json_integer(mb_json_get_int(genesis, "founders_retired", 0)));
    json_object_set(founders, "threshold", json_object_get(genesis, "founder_threshold"));
    return founders;
}

static json_t *first_onion(const json_t *genesis)
{
    json_t *onion = json_object();
    json_object_set(onion, "current", json_object_get(genesis, "onion"));
    json_object_set_new(onion, "revoked", json_array());
    return onion;
}

void mb_genesis_write(struct mb_tx *tx, const struct mb_genesis *g)
{
    const char *name;
    json_t *value;
    mb_tx_put(tx, "core/versions", json_object_get(g->json, "versions"));
    mb_tx_put(tx, "core/time", json_object_get(g->json, "created"));
    put_take(tx, "core/epoch", json_integer(0));
    put_take(tx, "core/config", mb_genesis_config(g->json));
    mb_tx_put(tx, "org/name", json_object_get(g->json, "name"));
    mb_tx_put(tx, "org/epoch_s", json_object_get(g->json, "epoch_s"));
    put_take(tx, "org/founders", first_founders(g->json));
    put_take(tx, "org/onion", first_onion(g->json));
    json_object_foreach(json_object_get(g->json, "params"), name, value)
    {
        char *key = mb_asprintf("org/params/%s", name);
        mb_tx_put(tx, key, value);
        free(key);
    }
}
