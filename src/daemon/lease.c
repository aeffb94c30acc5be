/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The organisation's onion. Whoever leads publishes it while it is sure of its lease, so that a
 * leader cut off from the others does not answer in the organisation's name. Its key belongs to the
 * replicas in force, and is handed over on their streams only; after one of them was removed, the
 * others agree on a new key.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "daemon/consensus.h"
#include "daemon/onion_keys.h"
#include "daemon/plan.h"

#define TICK_MS  1000
#define AGAIN_MS 5000 /* between two rounds of asking */
#define ASK_MS   20000

/* A new key is durable at whoever signed for it: a majority has it before the state names it. */
struct rotation {
    uint64_t round; /* answers to earlier ones are not counted */
    uint64_t version;
    char onion[MB_ONION_SIZE]; /* "": none is under way */
    struct {
        bool asked;
        struct mb_buf signature;
    } of[MB_REPLICAS_MAX]; /* as the configuration has its replicas */
    bool submitted;
};
struct lease {
    struct node *node;
    struct mb_timer *timer;
    char current[MB_ONION_SIZE]; /* the state's */
    bool rotation_due;
    struct onion_keys keys;
    char published[MB_ONION_SIZE]; /* by us; or "" */
    size_t asking;
    int64_t ask_at_ms, rotate_at_ms;
    struct rotation rotation;
};
struct vote { /* asked of a replica */
    struct lease *lease;
    uint64_t round;
    size_t index;
};

static void warn(const char *event, const struct mb_error *error)
{
    mb_log(MB_LOG_WARN, "lease", event, "code=%s text=%s", error->code, error->text);
}

/* --- What the state says. --- */

static json_t *state_json(const struct lease *l, const char *key)
{
    return mb_tx_get(mb_ledger_reader(l->node->ledger), key);
}

/* Each removal is followed by one rotation, so there are as many revoked onions as removed
 * replicas, or one is due. */
static void read_state(struct lease *l)
{
    json_t *onion = state_json(l, "org/onion"), *config = state_json(l, "core/config");
    mb_snprintf(l->current, sizeof l->current, "%s", mb_json_get_text(onion, "current", ""));
    l->rotation_due = json_array_size(json_object_get(config, "removed")) >
                      json_array_size(json_object_get(onion, "revoked"));
    json_decref(onion);
    json_decref(config);
}

static bool in_force(const struct mb_membership *m, uint32_t number)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->replicas[i].number == (int64_t)number)
            return true;
    return false;
}

static bool members_in_force(const struct lease *l, struct mb_membership *out)
{
    struct mb_membership members[2];
    if (node_configs(l->node, members, NULL) == 0)
        return false;
    *out = members[0];
    return true;
}

/* --- Asking for the key. --- */

/* The key of the organisation's onion is this one now. */
static void take_up(struct lease *l, const struct onion_key *key)
{
    struct mb_error error = {0};
    if (onion_keys_take_up(&l->keys, key, &error) != 0)
        warn("not_saved", &error);
    else
        mb_log(MB_LOG_INFO, "lease", "key", "");
}

static void on_key(void *arg, struct mb_bytes answer, int body_fd, uint64_t body_len,
                   enum mb_err err, const struct mb_error *error)
{
    struct lease *l = arg;
    struct onion_key key;
    (void)body_len, (void)error; /* the next one may have it */
    if (body_fd >= 0)
        close(body_fd);
    l->asking--;
    if (err == MB_OK && answer.len == ONION_KEY_LEN && onion_key_set(&key, answer.data) == 0 &&
        strcmp(key.onion, l->current) == 0 && strcmp(l->keys.own.onion, l->current) != 0)
        take_up(l, &key);
    sodium_memzero(&key, sizeof key);
}

static void ask_for_key(struct lease *l)
{
    struct node *n = l->node;
    struct mb_membership m;
    if (l->asking > 0 || mb_now_ms() < l->ask_at_ms || !members_in_force(l, &m) ||
        !in_force(&m, n->number))
        return;
    for (size_t i = 0; i < m.count; i++)
        if (m.replicas[i].number != (int64_t)n->number)
            l->asking += links_ask(n->links, (uint32_t)m.replicas[i].number, LINKS_ONION_KEY,
                                   mb_bytes_of(l->current), ASK_MS, on_key, l);
    l->ask_at_ms = mb_now_ms() + AGAIN_MS;
}

/* The key of the state's address: ours already, agreed to, or to be asked for. */
static void look_for_key(struct lease *l)
{
    struct mb_error error = {0};
    const struct onion_key *key = onion_keys_find(&l->keys, l->current);
    if (key == NULL)
        ask_for_key(l);
    else if (key != &l->keys.own)
        take_up(l, key);
    if (!l->rotation_due && strcmp(l->keys.own.onion, l->current) == 0 &&
        onion_keys_drop_next(&l->keys, &error) != 0)
        warn("not_removed", &error);
}

static void refuse(struct mb_peer_reply *reply, const char *code, const char *text)
{
    struct mb_error error = {0};
    mb_fail(&error, MB_EREFUSED, code, "%s", text);
    mb_peer_reply_refuse(reply, MB_EREFUSED, &error);
}

void lease_give_key(struct lease *l, uint32_t from, struct mb_bytes request,
                    struct mb_peer_reply *reply)
{
    struct mb_membership m;
    char onion[MB_ONION_SIZE] = "";
    const struct onion_key *key = NULL;
    if (request.len == MB_ONION_LEN)
        memcpy(onion, request.data, request.len);
    if (onion[0] != 0)
        key = onion_keys_find(&l->keys, onion);
    if (!members_in_force(l, &m) || !in_force(&m, from))
        refuse(reply, "onion.member", "only a replica in force gets the key");
    else if (key == NULL)
        refuse(reply, "onion.key", "this replica does not have it");
    else
        mb_peer_reply_send(reply, mb_bytes(key->secret, ONION_KEY_LEN), -1, 0, 0);
}

/* --- A new key after a removal. --- */

static void rotation_end(struct lease *l)
{
    struct rotation *r = &l->rotation;
    for (size_t i = 0; i < MB_REPLICAS_MAX; i++)
        mb_buf_clear(&r->of[i].signature);
    *r = (struct rotation){.round = r->round + 1};
}

static void sign(const struct lease *l, const char *onion, struct mb_buf *signature)
{
    struct mb_buf text = {0};
    mb_onion_text(&text, mb_ledger_org(l->node->ledger), onion, l->current);
    mb_sshsig_sign(&l->node->key, MB_NAMESPACE_ONION, mb_buf_bytes(&text), signature);
    mb_buf_clear(&text);
}

void lease_agree(struct lease *l, uint32_t from, struct mb_bytes request,
                 struct mb_peer_reply *reply)
{
    struct mb_error error = {0};
    struct mb_membership m;
    struct mb_buf signature = {0};
    struct onion_key key;
    read_state(l);
    if (!members_in_force(l, &m) || !in_force(&m, from) ||
        consensus_status(l->node->consensus).leader != from) {
        refuse(reply, "onion.member", "only the leader proposes a key");
    } else if (!l->rotation_due) {
        refuse(reply, "onion.due", "no replica was removed");
    } else if (request.len != ONION_KEY_LEN || onion_key_set(&key, request.data) != 0) {
        refuse(reply, "onion.key", "this is no key");
    } else if (onion_keys_add_next(&l->keys, &key, &error) != 0) {
        mb_peer_reply_refuse(reply, MB_EIO, &error);
    } else {
        sign(l, key.onion, &signature);
        mb_peer_reply_send(reply, mb_buf_bytes(&signature), -1, 0, 0);
        mb_buf_clear(&signature);
    }
    sodium_memzero(&key, sizeof key);
}

static void on_rotated(void *arg, const struct mb_submitted *result)
{
    struct node *n = arg;
    mb_log(result->ok ? MB_LOG_INFO : MB_LOG_WARN, "lease", "rotated", "ok=%d code=%s", result->ok,
           result->error != NULL ? result->error->code : "");
    if (n->lease == NULL)
        return;
    rotation_end(n->lease);
    n->lease->rotate_at_ms = mb_now_ms() + AGAIN_MS;
    lease_check(n->lease);
}

static void submit(struct lease *l, const struct mb_membership *m)
{
    struct node *n = l->node;
    struct rotation *r = &l->rotation;
    struct mb_envelope e = {0};
    uint8_t nonce[16];
    json_t *signatures = json_array();
    for (size_t i = 0; i < m->count; i++) {
        struct mb_buf text = {0};
        if (r->of[i].signature.len == 0)
            continue;
        mb_base64_encode(&text, r->of[i].signature.data, r->of[i].signature.len);
        json_array_append_new(signatures, json_pack("{s:s, s:s}", "key", m->replicas[i].fingerprint,
                                                    "signature", mb_buf_text(&text)));
        mb_buf_clear(&text);
    }
    json_t *body = json_pack("{s:s, s:s, s:o}", "current", r->onion, "revoked", l->current,
                             "signatures", signatures);
    mb_random(nonce, sizeof nonce);
    mb_command_make(&e, &n->key, mb_ledger_org(n->ledger), "org.onion.rotate", nonce,
                    mb_command_expiry(mb_ledger_tip(n->ledger)->time), body, 0);
    json_decref(body);
    r->submitted = true;
    sequence_submit_envelope(n->sequence, &e, on_rotated, n);
}

static void submit_if_agreed(struct lease *l)
{
    struct rotation *r = &l->rotation;
    struct mb_membership m;
    size_t good = 0;
    if (r->submitted || !members_in_force(l, &m) || m.version != r->version)
        return;
    for (size_t i = 0; i < m.count; i++)
        good += r->of[i].signature.len > 0;
    if (2 * good > m.count)
        submit(l, &m);
}

static void on_vote(void *arg, struct mb_bytes answer, int body_fd, uint64_t body_len,
                    enum mb_err err, const struct mb_error *error)
{
    struct vote *v = arg;
    struct lease *l = v->lease;
    struct rotation *r = &l->rotation;
    (void)body_len;
    if (body_fd >= 0)
        close(body_fd);
    if (v->round == r->round) {
        r->of[v->index].asked = false;
        if (err == MB_OK)
            mb_buf_add_bytes(&r->of[v->index].signature, answer);
        else
            mb_log(MB_LOG_INFO, "lease", "not_agreed", "code=%s", error->code);
        submit_if_agreed(l);
    }
    free(v);
}

static void ask_for_vote(struct lease *l, size_t index, uint32_t number,
                         const struct onion_key *key)
{
    struct vote *v = mb_calloc(1, sizeof *v);
    *v = (struct vote){.lease = l, .round = l->rotation.round, .index = index};
    l->rotation.of[index].asked =
        links_ask(l->node->links, number, LINKS_ONION_AGREE, mb_bytes(key->secret, ONION_KEY_LEN),
                  ASK_MS, on_vote, v);
    if (!l->rotation.of[index].asked)
        free(v);
}

static int make_key(struct lease *l)
{
    struct onion_key key;
    struct mb_error error = {0};
    int rc = onion_key_make(&key);
    if (rc == 0)
        rc = onion_keys_add_next(&l->keys, &key, &error);
    if (rc != 0)
        warn("not_saved", &error);
    sodium_memzero(&key, sizeof key);
    return rc;
}

static void rotate(struct lease *l)
{
    struct rotation *r = &l->rotation;
    struct mb_membership m;
    if (r->submitted || mb_now_ms() < l->rotate_at_ms || !members_in_force(l, &m) ||
        (l->keys.next_count == 0 && make_key(l) != 0))
        return;
    const struct onion_key *key = &l->keys.next[l->keys.next_count - 1];
    if (strcmp(r->onion, key->onion) != 0 || r->version != m.version) {
        rotation_end(l);
        r->version = m.version;
        mb_snprintf(r->onion, sizeof r->onion, "%s", key->onion);
    }
    for (size_t i = 0; i < m.count; i++) {
        if (r->of[i].asked || r->of[i].signature.len > 0)
            continue;
        if (m.replicas[i].number == (int64_t)l->node->number)
            sign(l, key->onion, &r->of[i].signature);
        else
            ask_for_vote(l, i, (uint32_t)m.replicas[i].number, key);
    }
    l->rotate_at_ms = mb_now_ms() + AGAIN_MS;
    submit_if_agreed(l);
}

/* --- Publishing. --- */

static int64_t lease_left(const struct lease *l)
{
    const struct consensus *c = l->node->consensus;
    struct mb_paxos_status s = consensus_status(c);
    return plan_lease_left(s.role == MB_PAXOS_LEADER, s.lease_until_ms, consensus_now(c));
}

static void publish(struct lease *l, bool wanted)
{
    struct mb_error error = {0};
    if (!wanted && l->published[0] != 0) {
        onions_withdraw(l->node, "organisation");
        l->published[0] = 0;
        mb_log(MB_LOG_INFO, "lease", "withdrawn", "");
    }
    if (!wanted || strcmp(l->published, l->current) == 0)
        return;
    if (onions_publish(l->node, "organisation", l->keys.own.secret, &error) != 0) {
        warn("not_published", &error);
        return;
    }
    memcpy(l->published, l->current, sizeof l->published);
    mb_log(MB_LOG_INFO, "lease", "held", "");
}

void lease_check(struct lease *l)
{
    if (l != NULL)
        mb_timer_set(l->timer, 0);
}

static void on_timer(void *arg)
{
    struct lease *l = arg;
    int64_t left = lease_left(l);
    read_state(l);
    look_for_key(l);
    publish(l, left > 0 && strcmp(l->keys.own.onion, l->current) == 0);
    if (left > 0 && l->rotation_due && !l->node->stopping)
        rotate(l);
    else
        rotation_end(l);
    mb_timer_set(l->timer, plan_lease_wait(left, TICK_MS));
}

int lease_start(struct node *n, struct mb_error *error)
{
    struct lease *l = n->lease = mb_calloc(1, sizeof *l);
    l->node = n;
    l->timer = mb_timer_new(n->loop, on_timer, l);
    int rc = onion_keys_load(&l->keys, n->data, error);
    if (rc == 0)
        on_timer(l);
    return rc;
}

void lease_stop(struct node *n)
{
    struct lease *l = n->lease;
    n->lease = NULL;
    if (l == NULL)
        return;
    rotation_end(l);
    mb_timer_free(l->timer);
    sodium_memzero(l, sizeof *l);
    free(l);
}

void lease_report(const struct lease *l, struct mb_report *r)
{
    struct mb_membership m;
    if (l == NULL)
        return;
    mb_report_gauge(r, "organisation", "1 if this replica publishes the organisation's onion.",
                    l->published[0] != 0);
    if (!members_in_force(l, &m) || !in_force(&m, l->node->number))
        return;
    if (strcmp(l->keys.own.onion, l->current) != 0)
        mb_report_alarm(r, "onion.key",
                        "the key of the organisation's onion is missing: the other replicas are "
                        "asked for it; if there are none, put keys/" ONION_OWN_FILE " back");
    if (l->rotation_due)
        mb_report_alarm(r, "onion.rotation",
                        "a replica was removed that knows the key of the organisation's onion: a "
                        "new one waits until more than half of the replicas agree");
}
