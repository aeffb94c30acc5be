/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the cores of other replicas send: checked on workers, and then brought to ours. */
#include <stdlib.h>
#include <string.h>

#include "daemon/consensus_internal.h"

#define AHEAD_S           120 /* a value further ahead of our clock waits; learning does not */
#define AHEAD_PATIENCE_MS 60000
#define CHECKING_MAX      256 /* frames that are being checked; more are dropped, and come again */
#define CHECKING_BYTES    (64u << 20) /* of them */

/* A frame with values, while a worker looks at them. */
struct check {
    struct consensus *consensus;
    uint32_t from;
    struct mb_buf frame;
    struct mb_paxos_message message;
    struct mb_hash org;
    struct mb_public_key keys[2 * MB_PAXOS_REPLICAS_MAX];
    size_t key_count;
    struct mb_hash sender;  /* of its key; zero where it is none of them */
    struct batch **batches; /* one for each of its items */
    int64_t newest;         /* time of any of its values that may not have been chosen */
    bool own;               /* that is to be accepted, and the sender made it */
    struct mb_error error;
    int rc;
};
static void pass_on(struct consensus *c, struct mb_buf *frame, struct mb_paxos_message *m,
                    uint32_t from)
{
    struct happening *h = consensus_happen(c, MB_EVENT_RECEIVE);
    h->bytes = *frame;
    h->message = *m;
    h->event.from = from;
    h->event.message = &h->message;
    *frame = (struct mb_buf){0};
    *m = (struct mb_paxos_message){0};
    consensus_run(c);
}

static void check_free(struct check *k)
{
    for (size_t i = 0; k->batches != NULL && i < k->message.count; i++)
        batch_free(k->batches[i]);
    free(k->batches);
    mb_paxos_message_clear(&k->message);
    mb_buf_clear(&k->frame);
    free(k);
}

static void check_work(void *arg)
{
    struct check *k = arg;
    for (size_t i = 0; i < k->message.count && k->rc == 0; i++) {
        const struct mb_paxos_item *item = &k->message.items[i];
        struct mb_value v;
        k->rc = mb_value_decode(&v, item->value, &k->error);
        if (k->rc != 0)
            return;
        k->rc = mb_value_verify(&v, &k->org, item->slot, k->keys, k->key_count, &k->error);
        if (k->rc != 0 && i > 0 && k->message.kind == MB_PAXOS_CHOSEN) {
            /* Perhaps by a replica that joined in the slots before it: they come first. */
            k->message.count = i;
            k->rc = 0;
            mb_value_clear(&v);
            return;
        }
        if (k->rc == 0) {
            struct batch *b = mb_calloc(1, sizeof *b);
            *b = (struct batch){.slot = item->slot,
                                .hash = mb_sha256(item->value.data, item->value.len),
                                .checked = mb_value_check(&v),
                                .count = v.count};
            k->batches[i] = b;
            if (item->ballot.round != 0 && v.time > k->newest)
                k->newest = v.time;
            k->own = k->message.kind == MB_PAXOS_ACCEPT && mb_hash_equal(&v.proposer, &k->sender);
        }
        mb_value_clear(&v);
    }
}

static void check_pass(void *arg)
{
    struct check *k = arg;
    struct consensus *c = k->consensus;
    uint64_t applied = mb_ledger_tip(c->node->ledger)->header.slot;
    c->checking--;
    c->checking_bytes -= k->frame.len;
    for (size_t i = 0; i < k->message.count; i++) {
        struct batch *b = k->batches[i];
        k->batches[i] = NULL;
        if (b->slot > applied && b->slot <= applied + MB_PAXOS_AHEAD_MAX)
            consensus_keep(c, b);
        else
            batch_free(b);
    }
    pass_on(c, &k->frame, &k->message, k->from);
    check_free(k);
}

/*
 * A clock that is ahead, or one that lies, cannot hurry ledger time: what a leader itself proposes
 * is not accepted before its time, and another is to lead. Nor is such a value taken over from a
 * promise, or accepted from a leader that took it over, as long as a majority without it is to be
 * had: but it may bar the way for those that are left, so that this ends after AHEAD_PATIENCE_MS.
 */
static bool is_ahead(struct consensus *c, const struct check *k)
{
    int64_t now = mb_now_ms();
    if (k->newest <= mb_clock_s() + AHEAD_S)
        return false;
    if (k->own) {
        if (mb_paxos_status(c->core).leader == k->from)
            consensus_suspect(c, CONSENSUS_HURRIES);
        return true;
    }
    if (c->barred_ms == 0 || now > c->barred_last_ms + AHEAD_PATIENCE_MS / 2)
        c->barred_ms = now;
    c->barred_last_ms = now;
    return now < c->barred_ms + AHEAD_PATIENCE_MS;
}

static void check_done(void *arg)
{
    struct check *k = arg;
    struct consensus *c = k->consensus;
    if (k->rc == 0 && !is_ahead(c, k)) {
        check_pass(k);
        return;
    }
    c->checking--;
    c->checking_bytes -= k->frame.len;
    if (k->rc != 0) {
        c->malformed++;
        mb_log(MB_LOG_WARN, "consensus", "malformed", "replica=%u code=%s", k->from, k->error.code);
    } else {
        c->ahead++; /* it comes again */
    }
    check_free(k);
}

/* Whoever may have proposed a value for a slot that is not applied; and who sent this. */
static void find_keys(const struct consensus *c, struct check *k)
{
    struct mb_membership members[2];
    size_t configs = node_configs(c->node, members, NULL);
    for (size_t i = 0; i < configs; i++) {
        k->key_count += mb_membership_keys(&members[i], k->keys + k->key_count);
        for (size_t r = 0; r < members[i].count; r++)
            if (members[i].replicas[r].number == (int64_t)k->from)
                k->sender = mb_public_key_hash(&members[i].replicas[r].key);
    }
}

void consensus_receive(struct consensus *c, uint32_t from, struct mb_bytes frame)
{
    struct mb_paxos_message m;
    struct mb_buf copy = {0};
    struct mb_error error = {0};
    mb_buf_add_bytes(&copy, frame);
    if (mb_paxos_decode(&m, mb_buf_bytes(&copy), &error) != 0) {
        c->malformed++;
        mb_log(MB_LOG_WARN, "consensus", "malformed", "replica=%u code=%s", from, error.code);
        mb_buf_clear(&copy);
        return;
    }
    if (m.count == 0) {
        pass_on(c, &copy, &m, from);
        return;
    }
    if (c->checking > 0 &&
        (c->checking >= CHECKING_MAX || c->checking_bytes + copy.len > CHECKING_BYTES)) {
        c->dropped++;
        mb_paxos_message_clear(&m);
        mb_buf_clear(&copy);
        return;
    }
    struct check *k = mb_calloc(1, sizeof *k);
    *k = (struct check){.consensus = c,
                        .from = from,
                        .frame = copy,
                        .message = m,
                        .org = mb_ledger_genesis(c->node->ledger)->org};
    k->batches = mb_calloc(m.count + 1, sizeof *k->batches);
    find_keys(c, k);
    c->checking++;
    c->checking_bytes += copy.len;
    if (c->checking == 1 && copy.len <= ALONE_BYTES) { /* two thread switches cost more */
        check_work(k);
        check_done(k);
    } else {
        mb_work(c->node->loop, check_work, check_done, k);
    }
}
