/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "org.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "ledger/membership.h"

static void demand(bool true_here, const char *what)
{
    if (true_here)
        return;
    fprintf(stderr, "test organisation: %s\n", what);
    abort();
}

/* --- The module "toy". --- */

static char *toy_key(const json_t *body)
{
    return mb_asprintf("toy/%s", mb_json_get_text(body, "key", ""));
}

/* {"key","value"}: sets toy/KEY. */
static int toy_put(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    char *key = toy_key(body);
    (void)ctx;
    (void)result;
    (void)error;
    mb_tx_put(tx, key, json_object_get(body, "value"));
    free(key);
    return 0;
}

static int toy_del(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    char *key = toy_key(body);
    bool had = mb_tx_has(tx, key);
    (void)ctx;
    mb_tx_delete(tx, key);
    *result = json_object();
    json_object_set_new(*result, "had", json_integer(had));
    free(key);
    return had ? 0 : mb_refuse(error, "toy.absent", "s", mb_json_get_text(body, "key", ""));
}

/* Writes, deletes, and refuses after all. */
static int toy_refuse(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                      json_t **result, struct mb_error *error)
{
    json_t *value = json_string("half done");
    (void)toy_put(tx, ctx, body, result, error);
    mb_tx_put(tx, "toy/refused", value);
    mb_tx_put(tx, "toy/refused", value);
    mb_tx_delete(tx, "toy/keep");
    mb_tx_due(tx, ctx->time, "toy.put", body);
    json_decref(value);
    return mb_refuse(error, "toy.refused", "sd", mb_json_get_text(body, "key", ""),
                     (int64_t)ctx->index);
}

/* {"at","type","body"} */
static int toy_due(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)result;
    (void)error;
    for (int64_t i = mb_json_get_int(body, "times", 1); i > 0; i--)
        mb_tx_due(tx, mb_json_get_int(body, "at", 0), mb_json_get_text(body, "type", ""),
                  json_object_get(body, "body"));
    return 0;
}

/* {"key"}: as the key stands, anywhere. */
static int toy_raw(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)result;
    (void)error;
    mb_tx_put(tx, mb_json_get_text(body, "key", ""), json_object_get(body, "key"));
    return 0;
}

/* {"bytes"}: sets toy/big to a text of so many. */
static int toy_big(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    struct mb_buf text = {0};
    (void)ctx;
    (void)result;
    (void)error;
    for (int64_t n = mb_json_get_int(body, "bytes", 0); n > 0; n--)
        mb_buf_add_u8(&text, 'x');
    json_t *value = json_string(mb_buf_text(&text));
    mb_tx_put(tx, "toy/big", value);
    json_decref(value);
    mb_buf_clear(&text);
    return 0;
}

/* Writes, and answers with what has no canonical form. */
static int toy_bad(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)error;
    mb_tx_put(tx, "toy/bad", body);
    *result = json_real(0.5);
    return 0;
}

/* Answers with what it was told. */
static int toy_who(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    (void)tx;
    (void)body;
    (void)error;
    *result = json_object();
    json_object_set_new(*result, "as_org", json_integer(ctx->as_org));
    json_object_set_new(*result, "id", json_string(ctx->id));
    json_object_set_new(*result, "index", json_integer(ctx->index));
    json_object_set_new(*result, "name", json_string(ctx->name));
    json_object_set_new(*result, "signer", json_string(ctx->signer));
    json_object_set_new(*result, "slot", json_integer((json_int_t)ctx->slot));
    json_object_set_new(*result, "time", json_integer(ctx->time));
    return 0;
}

static int list_key(void *arg, const char *key, const json_t *value)
{
    (void)value;
    json_array_append_new(arg, json_string(key));
    return 0;
}

/* Answers with the keys below toy/ after {"key"}. */
static int toy_list(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                    json_t **result, struct mb_error *error)
{
    char *after = toy_key(body);
    (void)ctx;
    (void)error;
    *result = json_array();
    mb_tx_scan(tx, "toy/", after, list_key, *result);
    free(after);
    return 0;
}

static int toy_genesis(struct mb_tx *tx, const struct mb_context *ctx, const json_t *genesis,
                       struct mb_error *error)
{
    (void)error;
    (void)genesis;
    json_t *org = json_string(ctx->org);
    mb_tx_put(tx, "toy/org", org);
    json_decref(org);
    return 0;
}

/* Removes toy/swept. */
static void toy_sweep(struct mb_tx *tx, const struct mb_context *ctx)
{
    (void)ctx;
    if (mb_tx_has(tx, "toy/swept"))
        mb_tx_delete(tx, "toy/swept");
}

/* Whoever stands in toy/role. */
static bool toy_role(struct mb_tx *tx, const char *identity, const char *type, const json_t *body)
{
    json_t *role = mb_tx_get(tx, "toy/role");
    bool has = role && strcmp(json_string_value(role), identity) == 0;
    (void)type;
    (void)body;
    json_decref(role);
    return has;
}

static bool toy_may(struct mb_tx *tx, const char *identity, const json_t *body)
{
    return toy_role(tx, identity, "", body);
}

static const struct mb_json_field key_value[] = {
    {"key", MB_JSON_STRING, false, 0, 0}, {"value", MB_JSON_ANY, false, 0, 0}, {0}};
static const struct mb_json_field key_only[] = {{"key", MB_JSON_STRING, false, 0, 0}, {0}};
static const struct mb_json_field bytes_only[] = {{"bytes", MB_JSON_INT, false, 0, 0}, {0}};
static const struct mb_json_field nothing[] = {{0}};
static const struct mb_json_field due_body[] = {{"at", MB_JSON_INT, false, 0, 0},
                                                {"type", MB_JSON_STRING, false, 0, 0},
                                                {"body", MB_JSON_OBJECT, false, 0, 0},
                                                {"times", MB_JSON_INT, true, 0, 0},
                                                {0}};
static const struct mb_verb verbs[] = {
    {.name = "toy.put", .body = key_value, .apply = toy_put},
    {.name = "toy.del", .body = key_only, .apply = toy_del},
    {.name = "toy.refuse", .body = key_value, .apply = toy_refuse},
    {.name = "toy.due", .body = due_body, .apply = toy_due},
    {.name = "toy.raw", .body = key_only, .apply = toy_raw},
    {.name = "toy.big", .body = bytes_only, .apply = toy_big},
    {.name = "toy.bad", .body = nothing, .apply = toy_bad},
    {.name = "toy.who", .body = nothing, .apply = toy_who},
    {.name = "toy.list", .body = key_only, .apply = toy_list},
    {.name = "toy.member", .access = MB_MEMBER, .body = nothing, .apply = toy_who},
    {.name = "toy.replica", .access = MB_REPLICA, .body = nothing, .apply = toy_who},
    {.name = "toy.org", .access = MB_ORG, .body = nothing, .apply = toy_who},
    {.name = "toy.keeper", .access = MB_ORG, .body = nothing, .may = toy_may, .apply = toy_who},
    {0}};
static const struct mb_message messages[] = {{"toy.absent", "there is no {0}: list the keys first"},
                                             {0}};

const struct mb_logic toy_logic = {.name = "toy",
                                   .version = 1,
                                   .verbs = verbs,
                                   .messages = messages,
                                   .genesis = toy_genesis,
                                   .sweep = toy_sweep,
                                   .has_role = toy_role};
const struct mb_logic *const toy_modules[1] = {&toy_logic};

/* --- The organisation. --- */

struct mb_secret_key org_key(uint8_t seed)
{
    struct mb_secret_key key;
    uint8_t bytes[32];
    memset(bytes, seed, sizeof bytes);
    mb_secret_key_from_seed(&key, bytes);
    return key;
}

char *org_fingerprint(const struct mb_secret_key *key)
{
    char text[MB_FINGERPRINT_SIZE];
    mb_public_key_fingerprint(&key->public_key, text);
    return mb_strdup(text);
}

static json_t *public_text(const struct mb_secret_key *key)
{
    char text[MB_PUBLIC_TEXT_SIZE];
    mb_public_key_text(&key->public_key, text);
    return json_string(text);
}

static json_t *onion(uint8_t seed)
{
    char text[MB_ONION_SIZE];
    struct mb_secret_key key = org_key(seed);
    mb_onion_encode(text, key.public_key.b);
    return json_string(text);
}

json_t *org_genesis_json(struct org *o, int founders, int threshold)
{
    struct mb_buf auth = {0};
    o->replica = org_key(10);
    o->other = org_key(20);
    for (uint8_t i = 0; i < ORG_FOUNDERS; i++)
        o->founders[i] = org_key(i + 1);
    mb_base32_encode(&auth, o->other.public_key.b, 32);

    json_t *replica = json_object();
    json_object_set_new(replica, "number", json_integer(1));
    json_object_set_new(replica, "public_key", public_text(&o->replica));
    json_object_set_new(replica, "peer_onion", onion(30));
    json_object_set_new(replica, "onion", onion(31));
    json_object_set_new(replica, "tor_auth", json_string(mb_buf_text(&auth)));
    mb_buf_clear(&auth);

    json_t *keys = json_array(), *replicas = json_array(), *json = json_object();
    for (int i = 0; i < founders; i++)
        json_array_append_new(keys, public_text(&o->founders[i]));
    json_array_append_new(replicas, replica);
    json_object_set_new(json, "format", json_integer(1));
    json_object_set_new(json, "name", json_string("acme"));
    json_object_set_new(json, "created", json_integer(ORG_CREATED));
    json_object_set_new(json, "epoch_s", json_integer(3600));
    json_object_set_new(json, "founders", keys);
    json_object_set_new(json, "founder_threshold", json_integer(threshold));
    json_object_set_new(json, "replicas", replicas);
    json_object_set_new(json, "onion", onion(32));
    json_object_set_new(
        json, "versions",
        json_loads("{\"core\":1,\"lua\":\"" MB_LUA_RELEASE "\",\"toy\":1}", 0, NULL));
    json_object_set_new(json, "rulebook", json_string(""));
    json_object_set_new(json, "params", json_object());
    return json;
}

void org_found(struct org *o, struct mb_backend backend, int founders, int threshold,
               const char *params)
{
    memset(o, 0, sizeof *o);
    json_t *json = org_genesis_json(o, founders, threshold);
    json_object_set_new(json, "params", json_loads(params, 0, NULL));
    demand(mb_json_canonical(&o->genesis, json, NULL) == 0, "genesis");
    json_decref(json);
    int rc =
        mb_ledger_found(&o->ledger, backend, toy_modules, 1, mb_buf_bytes(&o->genesis), &o->error);
    demand(rc == 0, o->error.text);
}

void org_clear(struct org *o)
{
    mb_ledger_free(o->ledger);
    mb_buf_clear(&o->genesis);
    memset(o, 0, sizeof *o);
}

struct mb_checked *org_command(struct org *o, const struct mb_secret_key *key, const char *type,
                               const char *body, int64_t expires)
{
    struct mb_envelope e;
    uint8_t nonce[16] = {0};
    o->nonce++;
    for (int i = 0; i < 8; i++)
        nonce[7 - i] = (uint8_t)(o->nonce >> (8 * i));
    json_t *json = json_loads(body, 0, NULL);
    demand(json != NULL, body);
    mb_command_make(&e, key, mb_ledger_org(o->ledger), type, nonce, expires, json, 0);
    json_decref(json);
    return mb_checked_new(&e);
}

struct mb_checked *org_envelope(const struct mb_secret_key *key, const char *text)
{
    struct mb_envelope e = {0};
    mb_buf_add_text(&e.text, text);
    mb_sshsig_sign(key, MB_NAMESPACE_COMMAND, mb_buf_bytes(&e.text), &e.signature);
    return mb_checked_new(&e);
}

struct mb_outcome *org_block(struct org *o, int64_t time, struct mb_checked **checked, size_t count)
{
    const struct mb_tip *tip = mb_ledger_tip(o->ledger);
    uint64_t slot = tip->header.slot + 1;
    struct mb_outcome *outcome = NULL;
    struct mb_buf bytes = {0};
    struct mb_value v;
    mb_value_encode(&bytes, &o->replica, &tip->header.org, slot, time, checked, count);
    demand(mb_value_decode(&v, mb_buf_bytes(&bytes), &o->error) == 0, o->error.text);
    demand(mb_value_verify(&v, &tip->header.org, slot, &o->replica.public_key, 1, &o->error) == 0,
           o->error.text);
    int rc = mb_ledger_apply(o->ledger, mb_buf_bytes(&bytes), &v, checked, &outcome, &o->error);
    mb_value_clear(&v);
    mb_buf_clear(&bytes);
    for (size_t i = 0; i < count; i++)
        mb_checked_free(checked[i]);
    demand((rc == 0) == (outcome != NULL), "apply gives an outcome or an error");
    return outcome;
}

char *org_do(struct org *o, int64_t time, const struct mb_secret_key *key, const char *type,
             const char *body)
{
    struct mb_checked *c = org_command(o, key, type, body, time + 3600);
    struct mb_outcome *outcome = org_block(o, time, &c, 1);
    demand(outcome != NULL, o->error.text);
    char *text = mb_strdup(mb_buf_text(&outcome->block.results[mb_outcome_index(outcome, 0)]));
    mb_outcome_free(outcome);
    return text;
}

char *org_state(struct org *o, const char *key)
{
    struct mb_buf text = {0};
    int rc = mb_ledger_get(o->ledger, key, &text);
    demand(rc >= 0, "state");
    if (rc == 1)
        return mb_buf_take_text(&text);
    mb_buf_clear(&text);
    return NULL;
}

struct mb_hash org_state_hash(struct mb_backend backend, const char *prefix)
{
    struct mb_buf key = {0}, value = {0}, from = {0}, all = {0};
    while (backend.ops->seek(backend.self, prefix, mb_buf_text(&from), &key, &value) == 1) {
        mb_buf_add_string(&all, mb_buf_bytes(&key));
        mb_buf_add_string(&all, mb_buf_bytes(&value));
        mb_buf_reset(&from);
        mb_buf_add_bytes(&from, mb_buf_bytes(&key));
        mb_buf_add_u8(&from, 1);
        mb_buf_reset(&key);
        mb_buf_reset(&value);
    }
    struct mb_hash h = mb_sha256(all.data, all.len);
    mb_buf_clear(&key);
    mb_buf_clear(&value);
    mb_buf_clear(&from);
    mb_buf_clear(&all);
    return h;
}

void org_checkpoint_by(struct org *o, const struct mb_secret_key *keys, size_t count,
                       struct mb_checkpoint *c)
{
    uint8_t bytes[MB_HEADER_MAX];
    size_t len = mb_header_encode(&mb_ledger_tip(o->ledger)->header, bytes);
    memset(c, 0, sizeof *c);
    mb_buf_add(&c->header, bytes, len);
    c->signatures = mb_calloc(count + 1, sizeof *c->signatures);
    for (; c->count < count; c->count++) {
        struct mb_signature *s = &c->signatures[c->count];
        s->key = keys[c->count].public_key;
        mb_sshsig_sign(&keys[c->count], MB_NAMESPACE_CHECKPOINT, mb_bytes(bytes, len),
                       &s->signature);
    }
}

void org_checkpoint(struct org *o, struct mb_checkpoint *c)
{
    org_checkpoint_by(o, &o->replica, 1, c);
}

static json_t *signature_json(const struct mb_secret_key *key, const char *name_space,
                              struct mb_bytes message)
{
    struct mb_buf binary = {0}, text = {0};
    mb_sshsig_sign(key, name_space, message, &binary);
    mb_base64_encode(&text, binary.data, binary.len);
    json_t *json = json_string(mb_buf_text(&text));
    mb_buf_clear(&binary);
    mb_buf_clear(&text);
    return json;
}

json_t *org_add_body(struct org *o, const struct mb_secret_key *key, uint8_t onion_seed)
{
    const struct mb_tip *tip = mb_ledger_tip(o->ledger);
    char hash[MB_HASH_HEX_SIZE];
    struct mb_buf auth = {0}, text = {0};
    json_t *body = json_object(), *ready = json_object();
    mb_base32_encode(&auth, key->public_key.b, 32);
    json_object_set_new(body, "public_key", public_text(key));
    json_object_set_new(body, "onion", onion(onion_seed));
    json_object_set_new(body, "peer_onion", onion((uint8_t)(onion_seed + 1)));
    json_object_set_new(body, "tor_auth", json_string(mb_buf_text(&auth)));
    mb_hash_hex(&tip->header_hash, hash);
    mb_ready_text(&text, mb_ledger_org(o->ledger), body, tip->header.slot, hash);
    json_object_set_new(ready, "header", json_string(hash));
    json_object_set_new(ready, "slot", json_integer((json_int_t)tip->header.slot));
    json_object_set_new(ready, "signature",
                        signature_json(key, MB_NAMESPACE_REPLICA, mb_buf_bytes(&text)));
    json_object_set_new(body, "ready", ready);
    mb_buf_clear(&auth);
    mb_buf_clear(&text);
    return body;
}

int64_t org_fill(struct org *o, int64_t time, uint64_t slot)
{
    while (mb_ledger_tip(o->ledger)->header.slot < slot) {
        struct mb_outcome *outcome = org_block(o, time++, NULL, 0);
        demand(outcome != NULL, o->error.text);
        mb_outcome_free(outcome);
    }
    return time - 1;
}
