/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/internal.h"

void mb_facts_clear(struct mb_facts *f)
{
    free(f->founders);
    free(f->name);
    free(f->logics);
    memset(f, 0, sizeof *f);
}

/* False if the state does not hold what genesis and core themselves write. */
static bool read_config(struct mb_facts *f, struct mb_tx *tx)
{
    json_t *config = mb_tx_get(tx, "core/config"), *next = mb_tx_get(tx, "core/config/next");
    bool good = mb_membership_read(&f->config, config, NULL) == 0 &&
                (!next || mb_membership_read(&f->next, next, NULL) == 0);
    json_decref(config);
    json_decref(next);
    return good;
}

static bool read_founders(struct mb_facts *f, struct mb_tx *tx)
{
    json_t *founders = mb_tx_get(tx, "org/founders");
    const json_t *keys = json_object_get(founders, "keys");
    bool good = json_is_array(keys);
    f->founders = mb_calloc(json_array_size(keys) + 1, sizeof *f->founders);
    for (size_t i = 0; i < json_array_size(keys) && good; i++) {
        struct mb_public_key key;
        const char *text = json_string_value(json_array_get(keys, i));
        good = text && mb_public_key_parse(&key, text, NULL) == 0;
        if (good)
            mb_public_key_fingerprint(&key, f->founders[f->founder_count++]);
    }
    f->threshold = (size_t)mb_json_get_int(founders, "threshold", 1);
    f->retired = mb_json_get_int(founders, "retired", 0) != 0;
    json_decref(founders);
    return good;
}

static bool read_org(struct mb_facts *f, struct mb_tx *tx)
{
    json_t *name = mb_tx_get(tx, "org/name"), *onion = mb_tx_get(tx, "org/onion");
    const char *current = mb_json_get_text(onion, "current", "");
    bool good = json_is_string(name) && mb_snprintf(f->onion, sizeof f->onion, "%s", current) == 0;
    f->name = mb_strdup(good ? json_string_value(name) : "");
    f->epoch_s = mb_tx_int(tx, "org/epoch_s");
    f->work_bits = (unsigned)mb_tx_int(tx, "org/params/work_bits");
    json_decref(name);
    json_decref(onion);

    struct mb_walk w;
    mb_walk_init(&w, tx, "org/key/", "");
    f->keys_replaced = mb_walk_next(&w);
    mb_walk_clear(&w);
    return good && f->epoch_s > 0;
}

/* The newest of that name that this program has. */
static const struct mb_logic *find_logic(const struct mb_ledger *l, const char *name)
{
    for (size_t i = 0; i < l->module_count; i++)
        if (strcmp(l->modules[i]->name, name) == 0)
            return l->modules[i];
    return NULL;
}

static const struct mb_logic *of_version(const struct mb_logic *newest, int64_t version)
{
    while (newest && newest->version != version)
        newest = newest->older;
    return newest;
}

static void read_upgrades(struct mb_facts *f, struct mb_tx *tx)
{
    json_t *upgrades = mb_tx_get(tx, "core/upgrade");
    const char *name;
    json_t *value;
    f->upgrade_at = UINT64_MAX;
    json_object_foreach(upgrades, name, value)
    {
        uint64_t at = (uint64_t)mb_json_get_int(value, "at_slot", 0);
        if (at < f->upgrade_at)
            f->upgrade_at = at;
    }
    json_decref(upgrades);
}

/* core/versions is canonical: its fields come in the order of their names. */
static bool read_modules(struct mb_facts *f, struct mb_ledger *l)
{
    json_t *versions = mb_tx_get(&l->tx, "core/versions");
    const char *name;
    json_t *value;
    bool good = json_is_object(versions);
    f->logics = mb_calloc(json_object_size(versions) + 1, sizeof *f->logics);
    json_object_foreach(versions, name, value)
    {
        const struct mb_logic *logic = of_version(find_logic(l, name), json_integer_value(value));
        if (logic)
            f->logics[f->logic_count++] = logic;
    }
    json_decref(versions);
    return good;
}

bool mb_is_governed(const struct mb_facts *f)
{
    bool decisions = false, members = false;
    for (size_t i = 0; i < f->logic_count; i++) {
        decisions |= f->logics[i]->batch_done != NULL;
        members |= f->logics[i]->is_member != NULL; /* otherwise the founders are */
    }
    return decisions && members;
}

const struct mb_facts *mb_facts(struct mb_ledger *l)
{
    struct mb_facts *f = &l->facts;
    if (l->tx.err != 0)
        return NULL;
    if (f->loaded && !l->tx.stale)
        return f;
    mb_facts_clear(f);
    if (!read_config(f, &l->tx) || !read_founders(f, &l->tx) || !read_org(f, &l->tx) ||
        !read_modules(f, l))
        mb_tx_stop(&l->tx, MB_ECORRUPT, "keys that genesis wrote are missing or malformed");
    read_upgrades(f, &l->tx);
    f->loaded = l->tx.err == 0;
    l->tx.stale = false;
    return f->loaded ? f : NULL;
}

static int lacks(struct mb_error *error, const char *name, const char *version, const char *has)
{
    return mb_fail(error, MB_EREFUSED, "ledger.versions",
                   "the organisation runs %s version %s, and this program has %s: install that "
                   "version, or add the module to the configuration",
                   name, version, has);
}

int mb_versions_check(struct mb_ledger *l, struct mb_error *error)
{
    json_t *versions = mb_tx_get(&l->tx, "core/versions");
    const char *name;
    json_t *value;
    int rc = 0;
    json_object_foreach(versions, name, value)
    {
        char wanted[24] = "", has[24] = "none";
        const struct mb_logic *logic = find_logic(l, name);
        if (rc != 0)
            break;
        if (strcmp(name, "lua") == 0) {
            const char *release = json_string_value(value);
            if (strcmp(release ? release : "", MB_LUA_RELEASE) != 0)
                rc = lacks(error, name, release ? release : "?", MB_LUA_RELEASE);
            continue;
        }
        long long version = json_integer_value(value);
        long long own = strcmp(name, "core") == 0 ? MB_CORE_VERSION : logic ? logic->version : 0;
        if (of_version(logic, version))
            continue;
        mb_snprintf(wanted, sizeof wanted, "%lld", version);
        if (own > 0)
            mb_snprintf(has, sizeof has, "version %lld", own);
        if (version != own)
            rc = lacks(error, name, wanted, has);
    }
    json_decref(versions);
    return rc;
}
