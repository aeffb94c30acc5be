/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The verbs that say who the replicas are (magicbiz-protocol(7), "Membership"). */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "ledger/internal.h"

/* --- What is known already. --- */

/* The i-th replica of those in force and then of those that wait to be, or NULL. */
static const struct mb_replica *any_replica(struct mb_tx *tx, size_t i)
{
    const struct mb_facts *f = mb_facts(tx->ledger);
    if (!f || i >= f->config.count + f->next.count)
        return NULL;
    return i < f->config.count ? &f->config.replicas[i] : &f->next.replicas[i - f->config.count];
}

bool mb_is_replica_key(struct mb_tx *tx, const char *fingerprint)
{
    const struct mb_replica *r;
    for (size_t i = 0; (r = any_replica(tx, i)); i++)
        if (strcmp(r->fingerprint, fingerprint) == 0)
            return true;
    return false;
}

/* Removed, or about to be. */
static bool was_removed(struct mb_tx *tx, const char *fingerprint)
{
    json_t *next = mb_tx_get(tx, "core/config/next");
    json_t *config = next ? next : mb_tx_get(tx, "core/config");
    bool was = mb_json_has_text(json_object_get(config, "removed"), fingerprint);
    json_decref(config);
    return was;
}

bool mb_org_has(struct mb_tx *tx, const char *folder, const char *fingerprint)
{
    char key[MB_STATE_KEY_MAX + 1];
    mb_snprintf(key, sizeof key, "org/%s/%s", folder, fingerprint);
    return mb_tx_has(tx, key);
}

bool mb_key_is_known(struct mb_tx *tx, const char *fingerprint)
{
    const struct mb_facts *f = mb_facts(tx->ledger);
    bool known = mb_org_has(tx, "first", fingerprint) || mb_org_has(tx, "key", fingerprint) ||
                 mb_is_replica_key(tx, fingerprint) || was_removed(tx, fingerprint);
    for (size_t i = 0; f && i < f->founder_count; i++)
        known |= strcmp(f->founders[i], fingerprint) == 0;
    return known;
}

/* The organisation's, a revoked one, or a replica's, be it of its peers or its public. */
static bool onion_is_known(struct mb_tx *tx, const char *onion)
{
    json_t *json = mb_tx_get(tx, "org/onion");
    const struct mb_replica *r;
    bool known = strcmp(mb_json_get_text(json, "current", ""), onion) == 0 ||
                 mb_json_has_text(json_object_get(json, "revoked"), onion);
    for (size_t i = 0; (r = any_replica(tx, i)); i++)
        known |= strcmp(r->onion, onion) == 0 || strcmp(r->peer_onion, onion) == 0;
    json_decref(json);
    return known;
}

/* --- A change of the configuration. --- */

/* The configuration that will follow, as a copy to be changed; NULL and error while one waits. */
static json_t *begin_change(struct mb_tx *tx, const struct mb_context *ctx, struct mb_error *error)
{
    json_t *waits = mb_tx_get(tx, "core/config/next");
    if (waits) {
        mb_refuse(error, "org.config_waits", "d", mb_json_get_int(waits, "from", 0));
        json_decref(waits);
        return NULL;
    }
    json_t *config = mb_tx_get(tx, "core/config");
    json_object_set_new(config, "from", json_integer((json_int_t)(ctx->slot + MB_WINDOW)));
    json_object_set_new(config, "version", json_integer(mb_json_get_int(config, "version", 0) + 1));
    return config;
}

static json_t *end_change(struct mb_tx *tx, json_t *config_take, int64_t number)
{
    json_t *result = json_object();
    mb_tx_put(tx, "core/config/next", config_take);
    json_object_set(result, "from", json_object_get(config_take, "from"));
    json_object_set_new(result, "number", json_integer(number));
    json_object_set(result, "version", json_object_get(config_take, "version"));
    json_decref(config_take);
    return result;
}

/* The fields of a new replica that are texts, checked by themselves. */
static int check_fields(struct mb_tx *tx, const json_t *body, struct mb_public_key *key,
                        struct mb_error *error)
{
    const char *onion = mb_json_get_text(body, "onion", "");
    const char *peer = mb_json_get_text(body, "peer_onion", "");
    char fingerprint[MB_FINGERPRINT_SIZE];
    uint8_t auth[32];
    if (mb_public_key_parse(key, mb_json_get_text(body, "public_key", ""), NULL) != 0)
        return mb_refuse(error, "org.replica_invalid", "s", "public_key");
    if (!mb_onion_decode(NULL, onion))
        return mb_refuse(error, "org.replica_invalid", "s", "onion");
    if (!mb_onion_decode(NULL, peer))
        return mb_refuse(error, "org.replica_invalid", "s", "peer_onion");
    if (mb_base32_decode(auth, sizeof auth, mb_json_get_text(body, "tor_auth", ""), 52) != 0)
        return mb_refuse(error, "org.replica_invalid", "s", "tor_auth");
    mb_public_key_fingerprint(key, fingerprint);
    if (mb_key_is_known(tx, fingerprint))
        return mb_refuse(error, "org.replica_known", "s", fingerprint);
    if (onion_is_known(tx, onion))
        return mb_refuse(error, "org.replica_known", "s", onion);
    if (onion_is_known(tx, peer) || strcmp(peer, onion) == 0)
        return mb_refuse(error, "org.replica_known", "s", peer);
    return 0;
}

/* The hash that the state has of slot's header, while it still has it. The block under way has
 * written the newest one; at the door there is no block yet, and the tip says the same. */
static bool known_header(struct mb_tx *tx, uint64_t slot, char hash[MB_HASH_HEX_SIZE])
{
    const struct mb_tip *tip = &tx->ledger->tip;
    char key[MB_HEADER_KEY_SIZE];
    if (slot > tip->header.slot || tip->header.slot - slot >= MB_HEADERS_KEPT)
        return false;
    if (slot == tip->header.slot) {
        mb_hash_hex(&tip->header_hash, hash);
        return true;
    }
    mb_header_key(key, slot);
    json_t *known = mb_tx_get(tx, key);
    bool has = mb_json_get_int(known, "slot", -1) == (int64_t)slot;
    mb_snprintf(hash, MB_HASH_HEX_SIZE, "%s", has ? mb_json_get_text(known, "hash", "") : "");
    json_decref(known);
    return has;
}

static const struct mb_json_field ready_fields[] = {{"header", MB_JSON_STRING, false, 64, 64},
                                                    {"slot", MB_JSON_INT, false, 0, MB_SLOT_MAX},
                                                    {"signature", MB_JSON_STRING, false, 0, 0},
                                                    {0}};

void mb_ready_text(struct mb_buf *out, const char *org, const json_t *replica, uint64_t slot,
                   const char *header)
{
    json_t *json = json_object();
    json_object_set_new(json, "header", json_string(header));
    json_object_set(json, "onion", json_object_get(replica, "onion"));
    json_object_set_new(json, "org", json_string(org));
    json_object_set(json, "peer_onion", json_object_get(replica, "peer_onion"));
    json_object_set_new(json, "slot", json_integer((json_int_t)slot));
    json_object_set(json, "tor_auth", json_object_get(replica, "tor_auth"));
    char *text = mb_json_text(json);
    mb_buf_add_text(out, text);
    free(text);
    json_decref(json);
}

/* The new key lives, follows this ledger, and says itself where it is reached. */
static int check_ready(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                       const struct mb_public_key *key, struct mb_error *error)
{
    const json_t *ready = json_object_get(body, "ready");
    int rc = mb_json_check(ready, ready_fields, error);
    if (rc != 0)
        return rc;
    const char *header = mb_json_get_text(ready, "header", "");
    uint64_t slot = (uint64_t)mb_json_get_int(ready, "slot", 0);
    char known[MB_HASH_HEX_SIZE];
    if (!known_header(tx, slot, known) || strcmp(known, header) != 0)
        return mb_refuse(error, "org.ready_header", "d", (int64_t)slot);
    struct mb_buf text = {0};
    struct mb_public_key signer;
    mb_ready_text(&text, ctx->org, body, slot, header);
    bool holds =
        mb_sshsig_verify_base64(mb_json_get_text(ready, "signature", ""), MB_NAMESPACE_REPLICA,
                                mb_buf_bytes(&text), &signer, NULL) == 0 &&
        mb_public_key_equal(&signer, key);
    mb_buf_clear(&text);
    return holds ? 0 : mb_refuse(error, "org.ready_proof", "");
}

static int check_new(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                     struct mb_error *error)
{
    struct mb_public_key key;
    int rc = check_fields(tx, body, &key, error);
    return rc == 0 ? check_ready(tx, ctx, body, &key, error) : rc;
}

static int replica_add(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                       json_t **result, struct mb_error *error)
{
    static const char *const copied[] = {"onion", "peer_onion", "public_key", "tor_auth"};
    json_t *config = begin_change(tx, ctx, error);
    if (!config)
        return MB_EREFUSED;
    int rc = ctx->replica_count < MB_REPLICAS_MAX
                 ? check_new(tx, ctx, body, error)
                 : mb_refuse(error, "org.replica_full", "d", (int64_t)MB_REPLICAS_MAX);
    if (rc != 0) {
        json_decref(config);
        return rc;
    }
    json_t *replica = json_object();
    int64_t number = mb_json_get_int(config, "next_number", 0);
    json_object_set_new(replica, "number", json_integer(number));
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++)
        json_object_set(replica, copied[i], json_object_get(body, copied[i]));
    json_array_append_new(json_object_get(config, "replicas"), replica);
    json_object_set_new(config, "next_number", json_integer(number + 1));
    *result = end_change(tx, config, number);
    return 0;
}

static int replica_remove(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                          json_t **result, struct mb_error *error)
{
    int64_t number = mb_json_get_int(body, "number", 0);
    size_t i = 0;
    while (i < ctx->replica_count && ctx->replicas[i].number != number)
        i++;
    if (i == ctx->replica_count)
        return mb_refuse(error, "org.replica_unknown", "d", number);
    if (ctx->replica_count == 1)
        return mb_refuse(error, "org.replica_last", "d", number);
    json_t *config = begin_change(tx, ctx, error);
    if (!config)
        return MB_EREFUSED;
    json_array_remove(json_object_get(config, "replicas"), i);
    json_array_append_new(json_object_get(config, "removed"),
                          json_string(ctx->replicas[i].fingerprint));
    *result = end_change(tx, config, number);
    return 0;
}

/* --- A replica that diverged. --- */

static json_t *evidence(const struct mb_replica *replica, const struct mb_header *h,
                        const char *ours, const json_t *body)
{
    json_t *json = json_object();
    json_object_set_new(json, "hash", json_string(ours));
    json_object_set(json, "header", json_object_get(body, "header"));
    json_object_set_new(json, "number", json_integer(replica->number));
    json_object_set(json, "signature", json_object_get(body, "signature"));
    json_object_set_new(json, "slot", json_integer((json_int_t)h->slot));
    return json;
}

/* A header that a replica signed and that is not the ledger's own of that slot. One is kept of each
 * replica. */
static int attest(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                  json_t **result, struct mb_error *error)
{
    const char *hex = mb_json_get_text(body, "header", "");
    size_t len = strlen(hex) / 2;
    uint8_t bytes[MB_HEADER_MAX];
    char ours[MB_HASH_HEX_SIZE], theirs[MB_HASH_HEX_SIZE], org[MB_HASH_HEX_SIZE];
    struct mb_membership config;
    struct mb_public_key signer;
    struct mb_header h;
    (void)result;
    if (len > sizeof bytes || mb_hex_decode(bytes, len, hex, strlen(hex)) != 0 ||
        mb_header_decode(&h, mb_bytes(bytes, len), NULL) != 0)
        return mb_refuse(error, "org.attest_header", "");
    mb_hash_hex(&h.org, org);
    if (strcmp(org, ctx->org) != 0)
        return mb_refuse(error, "org.attest_header", "");
    if (!known_header(tx, h.slot, ours))
        return mb_refuse(error, "org.attest_slot", "d", (int64_t)h.slot);
    struct mb_hash hash = mb_sha256(bytes, len);
    mb_hash_hex(&hash, theirs);
    if (strcmp(ours, theirs) == 0)
        return mb_refuse(error, "org.attest_same", "d", (int64_t)h.slot);
    int rc = mb_ledger_config_at(tx->ledger, h.slot, &config);
    if (rc < 0)
        return rc;
    const struct mb_replica *replica = NULL;
    if (mb_sshsig_verify_base64(mb_json_get_text(body, "signature", ""), MB_NAMESPACE_CHECKPOINT,
                                mb_bytes(bytes, len), &signer, NULL) == 0)
        replica = mb_membership_find(&config, &signer);
    if (!replica)
        return mb_refuse(error, "org.attest_proof", "d", (int64_t)h.slot);
    if (mb_org_has(tx, "attest", replica->fingerprint))
        return mb_refuse(error, "org.attested", "d", replica->number);
    char *key = mb_asprintf("org/attest/%s", replica->fingerprint);
    json_t *value = evidence(replica, &h, ours, body);
    mb_tx_put(tx, key, value);
    json_decref(value);
    free(key);
    return 0;
}

/* --- The organisation's onion. --- */

void mb_onion_text(struct mb_buf *out, const char *org, const char *current, const char *revoked)
{
    json_t *json = json_object();
    json_object_set_new(json, "current", json_string(current));
    json_object_set_new(json, "org", json_string(org));
    json_object_set_new(json, "revoked", json_string(revoked));
    char *text = mb_json_text(json);
    mb_buf_add_text(out, text);
    free(text);
    json_decref(json);
}

/* How many replicas of the configuration signed message, each counted once. */
static size_t count_signers(const struct mb_context *ctx, const json_t *signatures,
                            struct mb_bytes message)
{
    bool counted[MB_REPLICAS_MAX] = {false};
    size_t good = 0;
    for (size_t i = 0; i < json_array_size(signatures); i++) {
        const json_t *one = json_array_get(signatures, i);
        const char *key = mb_json_get_text(one, "key", "");
        struct mb_public_key signer;
        size_t k = 0;
        while (k < ctx->replica_count && strcmp(ctx->replicas[k].fingerprint, key) != 0)
            k++;
        if (k == ctx->replica_count || counted[k])
            continue;
        counted[k] = mb_sshsig_verify_base64(mb_json_get_text(one, "signature", ""),
                                             MB_NAMESPACE_ONION, message, &signer, NULL) == 0 &&
                     mb_public_key_equal(&signer, &ctx->replicas[k].key);
        good += counted[k];
    }
    return good;
}

/* The replicas that are left have made a new key for the organisation's onion. */
static int onion_rotate(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                        json_t **result, struct mb_error *error)
{
    const char *current = mb_json_get_text(body, "current", "");
    const char *revoked = mb_json_get_text(body, "revoked", "");
    struct mb_buf message = {0};
    (void)result;
    if (!mb_onion_decode(NULL, current))
        return mb_refuse(error, "org.onion_invalid", "s", current);
    if (onion_is_known(tx, current))
        return mb_refuse(error, "org.onion_known", "s", current);
    if (strcmp(revoked, ctx->onion) != 0)
        return mb_refuse(error, "org.onion_old", "s", revoked);
    mb_onion_text(&message, ctx->org, current, revoked);
    size_t good = count_signers(ctx, json_object_get(body, "signatures"), mb_buf_bytes(&message));
    mb_buf_clear(&message);
    if (2 * good <= ctx->replica_count)
        return mb_refuse(error, "org.onion_proof", "dd", (int64_t)good,
                         (int64_t)(ctx->replica_count / 2 + 1));
    json_t *onion = mb_tx_get(tx, "org/onion"), *list = json_object_get(onion, "revoked");
    json_array_append_new(list, json_string(revoked));
    json_object_set_new(onion, "current", json_string(current));
    mb_tx_put(tx, "org/onion", onion);
    json_decref(onion);
    return 0;
}

static const struct mb_json_field add_body[] = {
    {"public_key", MB_JSON_STRING, false, 0, 0}, {"onion", MB_JSON_STRING, false, 0, 0},
    {"peer_onion", MB_JSON_STRING, false, 0, 0}, {"tor_auth", MB_JSON_STRING, false, 0, 0},
    {"ready", MB_JSON_OBJECT, false, 0, 0},      {0}};
static const struct mb_json_field remove_body[] = {{"number", MB_JSON_INT, false, 1, INT64_MAX},
                                                   {0}};
static const struct mb_json_field attest_body[] = {
    {"header", MB_JSON_STRING, false, 0, 0}, {"signature", MB_JSON_STRING, false, 0, 0}, {0}};
static const struct mb_json_field rotate_body[] = {
    {"current", MB_JSON_STRING, false, 0, 0},
    {"revoked", MB_JSON_STRING, false, 0, 0},
    {"signatures", MB_JSON_ARRAY, false, 1, MB_REPLICAS_MAX},
    {0}};

const struct mb_verb mb_replica_verbs[] = {
    {.name = "org.attest", .access = MB_REPLICA, .body = attest_body, .apply = attest},
    {.name = "org.onion.rotate", .access = MB_REPLICA, .body = rotate_body, .apply = onion_rotate},
    {.name = "org.replica.add", .access = MB_ORG, .body = add_body, .apply = replica_add},
    {.name = "org.replica.remove", .access = MB_ORG, .body = remove_body, .apply = replica_remove},
    {0},
};
