/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * This replica's part in the beacon, where the parameter `beacon` is 1: commit for the next epoch,
 * reveal for the present one. The value is made anew of the key and the epoch's number whenever it
 * is needed, so that a daemon that was stopped in between reveals what it committed to; Ed25519
 * gives the same signature each time (RFC 8032, 5.1.6).
 */
#include <inttypes.h>
#include <stdlib.h>

#include <sodium.h>

#include "daemon/node.h"

#define NAMESPACE "magicbiz-beacon"
#define TICK_MS   1000
#define AGAIN_MS  5000

/* A commit or a reveal. */
struct act {
    struct beacon *beacon;
    int64_t at_ms; /* not before */
    bool under_way;
};
struct beacon {
    struct node *node;
    struct mb_timer *timer;
    int64_t epoch; /* that the acts belong to; -1: none yet */
    struct act commit, reveal;
};

static json_t *state_json(const struct beacon *b, const char *key)
{
    return mb_tx_get(mb_ledger_reader(b->node->ledger), key);
}

static int64_t state_int(const struct beacon *b, const char *key)
{
    json_t *value = state_json(b, key);
    int64_t n = json_integer_value(value);
    json_decref(value);
    return n;
}

/* H(our SSHSIG over "ORGID:EPOCH"): nobody else can make it, and we can make no other. */
static struct mb_hash own_value(const struct beacon *b, int64_t epoch)
{
    struct node *n = b->node;
    struct mb_buf signature = {0};
    char *text = mb_asprintf("%s:%" PRId64, mb_ledger_org(n->ledger), epoch);
    mb_sshsig_sign(&n->key, NAMESPACE, mb_bytes_of(text), &signature);
    struct mb_hash value = mb_sha256(signature.data, signature.len);
    mb_buf_clear(&signature);
    free(text);
    return value;
}

/* What the beacon of epoch has of us in a list: 64 hex digits, or "". */
static void read_own(const struct beacon *b, int64_t epoch, const char *list,
                     char out[MB_HASH_HEX_SIZE])
{
    char *key = mb_asprintf("org/beacon/%" PRId64, epoch);
    char *number = mb_asprintf("%u", b->node->number);
    json_t *beacon = state_json(b, key);
    mb_snprintf(out, MB_HASH_HEX_SIZE, "%s",
                mb_json_get_text(json_object_get(beacon, list), number, ""));
    json_decref(beacon);
    free(number);
    free(key);
}

static void on_submitted(void *arg, const struct mb_submitted *result)
{
    struct act *act = arg;
    act->under_way = false;
    act->at_ms = mb_now_ms() + AGAIN_MS;
    if (!result->ok)
        mb_log(MB_LOG_INFO, "beacon", "refused", "code=%s", result->error->code);
}

static void submit(struct act *act, const char *type, int64_t epoch, const char *field,
                   const char *hex)
{
    struct node *n = act->beacon->node;
    struct mb_envelope e = {0};
    uint8_t nonce[16];
    json_t *body = json_pack("{s:I, s:s}", "epoch", (json_int_t)epoch, field, hex);
    mb_random(nonce, sizeof nonce);
    mb_command_make(&e, &n->key, mb_ledger_org(n->ledger), type, nonce,
                    mb_command_expiry(mb_ledger_tip(n->ledger)->time), body, 0);
    json_decref(body);
    act->under_way = true;
    sequence_submit_envelope(n->sequence, &e, on_submitted, act);
}

static bool is_time(const struct act *act)
{
    return !act->under_way && mb_now_ms() >= act->at_ms;
}

static void commit_once(struct beacon *b)
{
    char hex[MB_HASH_HEX_SIZE];
    int64_t epoch = b->epoch + 1;
    if (!is_time(&b->commit))
        return;
    read_own(b, epoch, "commits", hex);
    if (hex[0] != 0)
        return;
    struct mb_hash value = own_value(b, epoch), hash = mb_sha256(value.b, sizeof value.b);
    mb_hash_hex(&hash, hex);
    submit(&b->commit, "org.beacon.commit", epoch, "hash", hex);
}

static void reveal_once(struct beacon *b)
{
    char commitment[MB_HASH_HEX_SIZE], hex[MB_HASH_HEX_SIZE];
    if (!is_time(&b->reveal))
        return;
    read_own(b, b->epoch, "commits", commitment);
    read_own(b, b->epoch, "reveals", hex);
    if (commitment[0] == 0 || hex[0] != 0)
        return;
    struct mb_hash value = own_value(b, b->epoch);
    mb_hash_hex(&value, hex);
    submit(&b->reveal, "org.beacon.reveal", b->epoch, "value", hex);
}

/* When we do something says when the block that began the epoch came to us, and so how far away
 * we are: a random time hides that, as it does when onions are published. */
static int64_t some_time(const struct beacon *b)
{
    int64_t most = mb_config_int(b->node->config, "tor", "publish_jitter") * 1000;
    int64_t quarter = state_int(b, "org/epoch_s") * 1000 / 4;
    return mb_now_ms() + randombytes_uniform((uint32_t)(most < quarter ? most : quarter) + 1);
}

static bool in_force(const struct node *n)
{
    size_t count;
    const struct mb_replica *replicas = mb_ledger_replicas(n->ledger, &count);
    for (size_t i = 0; i < count; i++)
        if (replicas[i].number == (int64_t)n->number)
            return true;
    return false;
}

/* The epoch of ledger time has begun: no others have to pass first, as after a long stop of the
 * whole organisation, when a commit would be over before it can be revealed. */
static bool is_present(const struct beacon *b, int64_t epoch)
{
    const struct mb_ledger *l = b->node->ledger;
    int64_t age_s = mb_ledger_tip(l)->time - mb_ledger_genesis(l)->created;
    return age_s / state_int(b, "org/epoch_s") == epoch;
}

static void on_timer(void *arg)
{
    struct beacon *b = arg;
    mb_timer_set(b->timer, TICK_MS);
    if (b->node->stopping || state_int(b, "org/params/beacon") != 1 || !in_force(b->node))
        return;
    int64_t epoch = state_int(b, "core/epoch");
    if (!is_present(b, epoch))
        return;
    if (epoch != b->epoch) {
        b->epoch = epoch;
        b->commit.at_ms = some_time(b);
        b->reveal.at_ms = some_time(b);
    }
    reveal_once(b);
    commit_once(b);
}

struct beacon *beacon_new(struct node *n)
{
    struct beacon *b = mb_calloc(1, sizeof *b);
    *b = (struct beacon){.node = n, .epoch = -1, .commit.beacon = b, .reveal.beacon = b};
    b->timer = mb_timer_new(n->loop, on_timer, b);
    mb_timer_set(b->timer, TICK_MS);
    return b;
}

void beacon_free(struct beacon *b)
{
    if (b == NULL)
        return;
    mb_timer_free(b->timer);
    free(b);
}
