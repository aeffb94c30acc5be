/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/membership.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "ledger/internal.h"

static int invalid(struct mb_error *error, const char *why)
{
    return mb_fail(error, MB_EINVAL, "config.invalid", "not a configuration: %s", why);
}

static bool read_replica(struct mb_replica *r, const json_t *json)
{
    static const struct mb_json_field fields[] = {
        {"number", MB_JSON_INT, false, 1, INT64_MAX}, {"public_key", MB_JSON_STRING, false, 0, 0},
        {"onion", MB_JSON_STRING, false, 0, 0},       {"peer_onion", MB_JSON_STRING, false, 0, 0},
        {"tor_auth", MB_JSON_STRING, false, 52, 52},  {0}};
    uint8_t auth[32];
    if (mb_json_check(json, fields, NULL) != 0)
        return false;
    const char *onion = mb_json_get_text(json, "onion", "");
    const char *peer = mb_json_get_text(json, "peer_onion", "");
    const char *tor_auth = mb_json_get_text(json, "tor_auth", "");
    if (mb_public_key_parse(&r->key, mb_json_get_text(json, "public_key", ""), NULL) != 0 ||
        !mb_onion_decode(NULL, onion) || !mb_onion_decode(NULL, peer) ||
        mb_base32_decode(auth, sizeof auth, tor_auth, 52) != 0)
        return false;
    r->number = mb_json_get_int(json, "number", 0);
    mb_public_key_fingerprint(&r->key, r->fingerprint);
    mb_snprintf(r->onion, sizeof r->onion, "%s", onion);
    mb_snprintf(r->peer_onion, sizeof r->peer_onion, "%s", peer);
    mb_snprintf(r->tor_auth, sizeof r->tor_auth, "%s", tor_auth);
    return true;
}

static bool read_replicas(struct mb_membership *m, const json_t *config)
{
    const json_t *replicas = json_object_get(config, "replicas");
    int64_t last = 0, next = mb_json_get_int(config, "next_number", 0);
    for (size_t i = 0; i < json_array_size(replicas); i++) {
        struct mb_replica *r = &m->replicas[i];
        if (!read_replica(r, json_array_get(replicas, i)) || r->number <= last ||
            r->number >= next || mb_membership_find(m, &r->key))
            return false;
        last = r->number;
        m->count++;
    }
    return true;
}

int mb_membership_read(struct mb_membership *m, const json_t *config, struct mb_error *error)
{
    static const struct mb_json_field fields[] = {
        {"from", MB_JSON_INT, false, 1, MB_SLOT_MAX},
        {"next_number", MB_JSON_INT, false, 2, INT64_MAX},
        {"removed", MB_JSON_ARRAY, false, 0, 0},
        {"replicas", MB_JSON_ARRAY, false, 1, MB_REPLICAS_MAX},
        {"version", MB_JSON_INT, false, 1, INT64_MAX},
        {0}};
    struct mb_buf text = {0};
    memset(m, 0, sizeof *m);
    if (mb_json_check(config, fields, NULL) != 0)
        return invalid(error, "a field is missing, unknown, or of the wrong kind or size");
    const json_t *removed = json_object_get(config, "removed");
    for (size_t i = 0; i < json_array_size(removed); i++) {
        const char *fingerprint = json_string_value(json_array_get(removed, i));
        if (!fingerprint || !mb_is_fingerprint(fingerprint))
            return invalid(error, "\"removed\" holds something that is no fingerprint");
    }
    if (!read_replicas(m, config))
        return invalid(error, "its replicas are malformed, out of order, or not distinct");
    if (mb_json_canonical(&text, config, NULL) != 0)
        return invalid(error, "it has no canonical form");
    m->hash = mb_sha256(text.data, text.len);
    m->from = (uint64_t)mb_json_get_int(config, "from", 0);
    m->version = (uint64_t)mb_json_get_int(config, "version", 0);
    mb_buf_clear(&text);
    return 0;
}

void mb_membership_first(struct mb_membership *m, const struct mb_genesis *genesis)
{
    json_t *config = mb_genesis_config(genesis->json);
    if (mb_membership_read(m, config, NULL) != 0)
        abort(); /* mb_genesis_parse() checked more than this */
    json_decref(config);
}

size_t mb_membership_keys(const struct mb_membership *m, struct mb_public_key keys[MB_REPLICAS_MAX])
{
    for (size_t i = 0; i < m->count; i++)
        keys[i] = m->replicas[i].key;
    return m->count;
}

const struct mb_replica *mb_membership_find(const struct mb_membership *m,
                                            const struct mb_public_key *key)
{
    for (size_t i = 0; i < m->count; i++)
        if (mb_public_key_equal(&m->replicas[i].key, key))
            return &m->replicas[i];
    return NULL;
}

size_t mb_membership_majority(const struct mb_membership *m)
{
    return m->count / 2 + 1;
}

/* --- By slot and by version. --- */

/* The newest past configuration whose first slot is not after slot. */
static int past_config(struct mb_ledger *l, uint64_t slot, struct mb_membership *out)
{
    json_t *best = NULL;
    struct mb_walk w;
    mb_walk_init(&w, &l->tx, "core/config/past/", "");
    while (mb_walk_next(&w)) {
        json_t *config = mb_tx_get(&l->tx, mb_buf_text(&w.key));
        bool earlier = mb_json_get_int(config, "from", 0) <= (int64_t)slot;
        if (earlier) {
            json_decref(best);
            best = json_incref(config);
        }
        json_decref(config);
        if (!earlier)
            break;
    }
    mb_walk_clear(&w);
    if (l->tx.err == 0 && (!best || mb_membership_read(out, best, NULL) != 0))
        mb_tx_stop(&l->tx, MB_ECORRUPT, "core/config/past");
    json_decref(best);
    return l->tx.err == 0 ? 1 : l->tx.err;
}

int mb_ledger_config_at(struct mb_ledger *l, uint64_t slot, struct mb_membership *out)
{
    const struct mb_facts *f = mb_facts(l);
    if (!f)
        return l->tx.err;
    if (slot > l->tip.header.slot + MB_WINDOW)
        return 0;
    if (slot == 0)
        slot = 1;
    if (f->next.count > 0 && slot >= f->next.from)
        *out = f->next;
    else if (slot >= f->config.from)
        *out = f->config;
    else
        return past_config(l, slot, out);
    return 1;
}

json_t *mb_ledger_config(struct mb_ledger *l, uint64_t version)
{
    const struct mb_facts *f = mb_facts(l);
    char key[MB_PAST_KEY_SIZE] = "core/config";
    if (!f || version > f->config.version)
        return NULL;
    if (version < f->config.version)
        mb_past_key(key, version);
    return mb_tx_get(&l->tx, key);
}

void mb_past_key(char key[MB_PAST_KEY_SIZE], uint64_t version)
{
    mb_snprintf(key, MB_PAST_KEY_SIZE, "core/config/past/%010llu", (unsigned long long)version);
}

/* --- Handovers. --- */

static int check_handover(const struct mb_membership *before, const struct mb_checkpoint *c,
                          const struct mb_hash *org, const struct mb_membership *after,
                          struct mb_error *error)
{
    struct mb_public_key keys[MB_REPLICAS_MAX];
    struct mb_header h;
    int rc = mb_header_decode(&h, mb_buf_bytes(&c->header), error);
    if (rc != 0)
        return rc;
    if (!mb_hash_equal(&h.org, org))
        return mb_fail(error, MB_EPROOF, "handover.other", "a handover of another organisation");
    if (after->version != before->version + 1 || after->from != h.slot + 1 ||
        after->from <= before->from)
        return mb_fail(error, MB_EPROOF, "handover.order",
                       "the configuration %llu (from slot %llu) does not follow configuration %llu "
                       "at slot %llu",
                       (unsigned long long)after->version, (unsigned long long)after->from,
                       (unsigned long long)before->version, (unsigned long long)h.slot);
    if (!mb_hash_equal(&h.config_hash, &after->hash))
        return mb_fail(error, MB_EPROOF, "handover.config",
                       "slot %llu hands over to another configuration than the one shown",
                       (unsigned long long)h.slot);
    return mb_checkpoint_verify(c, keys, mb_membership_keys(before, keys), error);
}

int mb_handover_verify(const struct mb_membership *before, const json_t *handover,
                       const struct mb_hash *org, struct mb_membership *after,
                       struct mb_error *error)
{
    static const struct mb_json_field fields[] = {
        {"checkpoint", MB_JSON_OBJECT, false, 0, 0}, {"config", MB_JSON_OBJECT, false, 0, 0}, {0}};
    struct mb_public_key keys[MB_REPLICAS_MAX];
    struct mb_checkpoint c;
    if (mb_json_check(handover, fields, NULL) != 0)
        return mb_fail(error, MB_EINVAL, "handover.invalid",
                       "a handover has the fields checkpoint and config");
    int rc = mb_membership_read(after, json_object_get(handover, "config"), error);
    if (rc == 0)
        rc = mb_checkpoint_from_json(&c, json_object_get(handover, "checkpoint"), keys,
                                     mb_membership_keys(before, keys), error);
    if (rc != 0)
        return rc;
    rc = check_handover(before, &c, org, after, error);
    mb_checkpoint_clear(&c);
    return rc;
}
