/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The operator's view of the replicas, and what a newcomer says of itself to become one. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "daemon/api.h"
#include "daemon/consensus.h"

static int own_onion(const struct node *n, const char *name, char address[MB_ONION_SIZE],
                     struct mb_error *error)
{
    uint8_t key[64];
    int rc = node_onion_key(n->data, name, key, error);
    if (rc == 0)
        rc = mb_onion_address(address, key);
    sodium_memzero(key, sizeof key);
    return rc;
}

static int own_tor_auth(const struct node *n, struct mb_buf *text, struct mb_error *error)
{
    char *path = node_path(n, "keys/tor_auth");
    struct mb_buf secret = {0};
    uint8_t public_key[32];
    int rc = mb_read_file(path, 32, &secret, error);
    if (rc == 0 && secret.len != 32)
        rc = mb_fail(error, MB_ECORRUPT, "key.invalid", "%s is not a key: put it back", path);
    if (rc == 0) {
        crypto_scalarmult_base(public_key, secret.data);
        mb_base32_encode(text, public_key, sizeof public_key);
        sodium_memzero(secret.data, secret.len);
    }
    mb_buf_clear(&secret);
    free(path);
    return rc;
}

/* The body of org.replica.add, made fresh: what it signs is good for 128 slots. */
static int make_request(struct node *n, json_t **out, struct mb_error *error)
{
    const struct mb_tip *tip = mb_ledger_tip(n->ledger);
    char onion[MB_ONION_SIZE], peer[MB_ONION_SIZE], header[MB_HASH_HEX_SIZE];
    char key[MB_PUBLIC_TEXT_SIZE];
    struct mb_buf auth = {0}, text = {0}, signature = {0}, base64 = {0};
    int rc = own_onion(n, "replica.onion", onion, error);
    if (rc == 0)
        rc = own_onion(n, "peer.onion", peer, error);
    if (rc == 0)
        rc = own_tor_auth(n, &auth, error);
    if (rc == 0) {
        json_t *json = json_pack("{s:s, s:s, s:s}", "onion", onion, "peer_onion", peer, "tor_auth",
                                 mb_buf_text(&auth));
        mb_hash_hex(&tip->header_hash, header);
        mb_ready_text(&text, mb_ledger_org(n->ledger), json, tip->header.slot, header);
        mb_sshsig_sign(&n->key, MB_NAMESPACE_REPLICA, mb_buf_bytes(&text), &signature);
        mb_base64_encode(&base64, signature.data, signature.len);
        mb_public_key_text(&n->key.public_key, key);
        json_object_set_new(json, "public_key", json_string(key));
        json_object_set_new(json, "ready",
                            json_pack("{s:s, s:I, s:s}", "header", header, "slot",
                                      (json_int_t)tip->header.slot, "signature",
                                      mb_buf_text(&base64)));
        *out = json;
    }
    mb_buf_clear(&auth);
    mb_buf_clear(&text);
    mb_buf_clear(&signature);
    mb_buf_clear(&base64);
    return rc;
}

static void get_request(void *self, struct mb_request *r)
{
    struct node *n = self;
    struct mb_error error = {0};
    json_t *json;
    if (n->number != 0)
        api_refuse(n, r, MB_EREFUSED, "replica.already", "this daemon is a replica already");
    else if (make_request(n, &json, &error) != 0)
        api_fail(n, r, MB_EIO, &error);
    else
        mb_reply_json(r, 200, json);
}

static json_t *replica_json(struct node *n, const struct mb_replica *r,
                            const struct mb_paxos_status *s)
{
    json_t *one =
        json_pack("{s:I, s:s, s:s, s:b}", "number", (json_int_t)r->number, "key", r->fingerprint,
                  "onion", r->onion, "leader", s->leader == (uint32_t)r->number);
    if ((uint32_t)r->number == n->number) {
        json_object_set_new(one, "slot",
                            json_integer((json_int_t)mb_ledger_tip(n->ledger)->header.slot));
        json_object_set_new(one, "self", json_true());
    }
    for (size_t i = 0; i < s->peer_count; i++) {
        const struct mb_paxos_peer *p = &s->peers[i];
        if (p->number != (uint32_t)r->number || p->heard_ms < 0)
            continue;
        json_object_set_new(one, "slot", json_integer((json_int_t)p->tip));
        json_object_set_new(one, "heard_ms",
                            json_integer((json_int_t)(consensus_now(n->consensus) - p->heard_ms)));
        if (p->round_trip_ms >= 0)
            json_object_set_new(one, "round_trip_ms", json_integer((json_int_t)p->round_trip_ms));
    }
    return one;
}

static void get_status(void *self, struct mb_request *r)
{
    static const char *const roles[] = {"follower", "replica", "candidate", "leader"};
    static const char *const states[] = {"down", "connecting", "bootstrap", "up", "refused"};
    struct node *n = self;
    struct mb_paxos_status s = consensus_status(n->consensus);
    const struct mb_tip *tip = mb_ledger_tip(n->ledger);
    struct mb_checkpoint checkpoint = {0};
    struct mb_header header = {0};
    struct mb_report report;
    size_t count;
    const struct mb_replica *replicas = mb_ledger_replicas(n->ledger, &count);
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, replica_json(n, &replicas[i], &s));
    if (node_checkpoint(n, UINT64_MAX, &checkpoint, NULL) == 1)
        (void)mb_header_decode(&header, mb_buf_bytes(&checkpoint.header), NULL);
    mb_checkpoint_clear(&checkpoint);
    mb_report_init(&report);
    node_report(n, &report);
    mb_reply_json(r, 200,
                  json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:s, s:o, s:O}", "org",
                            mb_ledger_org(n->ledger), "name", mb_ledger_genesis(n->ledger)->name,
                            "number", (json_int_t)n->number, "role", roles[s.role], "leader",
                            (json_int_t)s.leader, "slot", (json_int_t)tip->header.slot,
                            "checkpoint", (json_int_t)header.slot, "tor",
                            states[onions_status(n).state], "replicas", list, "alarms",
                            report.alarms));
    mb_report_clear(&report);
}

const struct mb_route *api_replica_routes(void)
{
    static const struct mb_route routes[] = {
        {.method = "GET",
         .pattern = "/v1/replica/request",
         .operator_only = true,
         .begin = get_request},
        {.method = "GET", .pattern = "/v1/status", .operator_only = true, .begin = get_status},
        {.method = NULL},
    };
    return routes;
}
