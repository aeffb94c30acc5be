/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/consensus_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SERVE_BYTES    (512u << 10) /* of values in one answer: heartbeats wait behind it */
#define AHEAD_BYTES    (32u << 20)  /* of values for slots that are not applied */
#define HELD_BYTES_MAX (64u << 20)

struct held { /* a message that waits for the disk */
    uint64_t ticket;
    uint32_t to;
    struct mb_buf frame;
    struct held *next;
};
struct written { /* a ticket that is on its way to the disk */
    struct consensus *consensus;
    uint64_t ticket, slot;
    struct mb_bytes value; /* borrowed, until do_persist is over */
};
struct carried { /* a block that was applied, and whose effects are due */
    struct mb_outcome *outcome;
    struct batch *batch;
    struct carried *next;
};
struct asking {
    uint64_t id;
    void (*done)(void *arg, bool ok);
    void *arg;
    struct asking *next;
};
static void on_timer(void *arg)
{
    struct consensus *c = arg;
    struct happening *h = mb_calloc(1, sizeof *h);
    h->event.kind = MB_EVENT_TICK;
    *c->tail = h;
    c->tail = &h->next;
    consensus_run(c);
}

struct consensus *consensus_new(struct node *n)
{
    struct consensus *c = mb_calloc(1, sizeof *c);
    struct mb_paxos_options options = {
        .self = n->number,
        .election_floor_ms = mb_config_int(n->config, "consensus", "election_ms"),
        .rebuild_ms = mb_config_int(n->config, "consensus", "rebuild_ms"),
        .heartbeat_min_ms = mb_config_int(n->config, "consensus", "heartbeat_ms"),
        .round_trip_ms = mb_config_int(n->config, "consensus", "round_trip_ms"),
        .flight_bytes = MB_VALUE_BODIES_MAX,
        .ahead_bytes = AHEAD_BYTES,
    };
    c->node = n;
    c->core = mb_paxos_new(&options);
    c->timer = mb_timer_new(n->loop, on_timer, c);
    c->began_ms =
        mb_now_ms() - 1; /* what others see of it does not tell how long the machine runs */
    c->tail = &c->head;
    c->held_tail = &c->held;
    c->carried_tail = &c->carried;
    return c;
}

void batch_free(struct batch *b)
{
    if (b == NULL)
        return;
    for (size_t i = 0; i < b->count; i++)
        mb_checked_free(b->checked[i]);
    free(b->checked);
    free(b);
}

static void happening_free(struct happening *h)
{
    mb_paxos_message_clear(&h->message);
    mb_buf_clear(&h->bytes);
    free(h);
}

void consensus_close(struct consensus *c)
{
    if (c != NULL)
        c->closed = true;
}

void consensus_free(struct consensus *c)
{
    if (c == NULL)
        return;
    while (c->head != NULL) {
        struct happening *h = c->head;
        c->head = h->next;
        happening_free(h);
    }
    while (c->held != NULL) {
        struct held *h = c->held;
        c->held = h->next;
        mb_buf_clear(&h->frame);
        free(h);
    }
    while (c->asking != NULL) {
        struct asking *a = c->asking;
        c->asking = a->next;
        free(a);
    }
    while (c->carried != NULL) {
        struct carried *k = c->carried;
        c->carried = k->next;
        mb_outcome_free(k->outcome);
        batch_free(k->batch);
        free(k);
    }
    for (size_t i = 0; i < MB_PAXOS_AHEAD_MAX; i++)
        batch_free(c->batches[i]);
    mb_timer_free(c->timer);
    mb_effects_clear(&c->effects);
    mb_paxos_free(c->core);
    free(c);
}

int64_t consensus_now(const struct consensus *c)
{
    return mb_now_ms() - c->began_ms;
}

/* --- What the log keeps. --- */

struct mb_wal_stamp consensus_stamp(const struct mb_ballot *promised, uint64_t incarnation)
{
    struct mb_wal_stamp stamp = {{0}};
    struct mb_buf b = {0};
    mb_buf_add_u64(&b, promised->round);
    mb_buf_add_u32(&b, promised->replica);
    mb_buf_add_u64(&b, promised->incarnation);
    mb_buf_add_u64(&b, incarnation);
    memcpy(stamp.bytes, b.data, b.len);
    mb_buf_clear(&b);
    return stamp;
}

void consensus_unstamp(const struct mb_wal_stamp *stamp, struct mb_ballot *promised,
                       uint64_t *incarnation)
{
    struct mb_cursor c = mb_cursor(mb_bytes(stamp->bytes, sizeof stamp->bytes));
    promised->round = mb_cursor_u64(&c);
    promised->replica = mb_cursor_u32(&c);
    promised->incarnation = mb_cursor_u64(&c);
    *incarnation = mb_cursor_u64(&c);
}

bool consensus_unlog(struct mb_bytes payload, struct mb_paxos_item *item)
{
    struct mb_cursor c = mb_cursor(payload);
    item->ballot.round = mb_cursor_u64(&c);
    item->ballot.replica = mb_cursor_u32(&c);
    item->ballot.incarnation = mb_cursor_u64(&c);
    item->value = mb_cursor_take(&c, mb_cursor_left(&c));
    return mb_cursor_done(&c);
}

/* --- Effects. --- */

struct happening *consensus_happen(struct consensus *c, enum mb_event_kind kind)
{
    struct happening *h = mb_calloc(1, sizeof *h);
    h->event.kind = kind;
    *c->tail = h;
    c->tail = &h->next;
    return h;
}

static void transmit(struct consensus *c, uint32_t to, struct mb_bytes frame)
{
    c->sent_frames++;
    c->sent_bytes += frame.len;
    links_send(c->node->links, to, &(struct mb_relay){.kind = MB_RELAY_PAXOS, .part = {frame}});
}

static void on_durable(void *arg)
{
    struct written *w = arg;
    struct consensus *c = w->consensus;
    c->durable = w->ticket;
    free(w);
    if (c->closed)
        return;
    while (c->held != NULL && c->held->ticket <= c->durable) {
        struct held *h = c->held;
        c->held = h->next;
        if (c->held == NULL)
            c->held_tail = &c->held;
        c->held_bytes -= h->frame.len;
        transmit(c, h->to, mb_buf_bytes(&h->frame));
        mb_buf_clear(&h->frame);
        free(h);
    }
    consensus_happen(c, MB_EVENT_PERSISTED)->event.ticket = c->durable;
    consensus_run(c);
}

/*
 * While the disk writes the value of a leader that has no others to ask, it is applied: it will be
 * chosen as soon as it is there, and until then this thread does nothing else, so that nobody is
 * shown the state. See run().
 */
static void apply_early(void *arg)
{
    const struct written *w = arg;
    struct consensus *c = w->consensus;
    const struct batch *b = c->batches[w->slot % MB_PAXOS_AHEAD_MAX];
    struct mb_error error = {0};
    if (w->slot != mb_ledger_tip(c->node->ledger)->header.slot + 1 || c->node->exit_status != 0 ||
        b == NULL || b->slot != w->slot || !b->own)
        return;
    struct mb_hash hash = mb_sha256(w->value.data, w->value.len);
    if (mb_hash_equal(&hash, &b->hash) &&
        node_apply_begin(c->node, w->value, b->checked, &c->early, &error) != 0)
        node_fail(c->node, &error);
}

static void do_persist(struct consensus *c, const struct mb_effect *e)
{
    bool may_be_early = e->slot != 0 && c->head == NULL && links_count(c->node->links) == 0;
    struct written *w = mb_calloc(1, sizeof *w);
    struct mb_wal_stamp stamp = consensus_stamp(&e->promised, c->incarnation);
    struct mb_wal_record record = {.kind = MB_WAL_ACCEPTED, .slot = e->slot};
    struct mb_buf payload = {0};
    *w = (struct written){.consensus = c, .ticket = e->ticket, .slot = e->slot, .value = e->value};
    if (e->slot != 0) {
        mb_buf_add(&payload, stamp.bytes, 20); /* the ballot is what was promised */
        mb_buf_add_bytes(&payload, e->value);
        record.payload = mb_buf_bytes(&payload);
        MB_FAULT("ledger.proposed");
    }
    /* A proposal of ours is on its way to the others while the log's thread writes it; and behind a
     * value of many commands there are others to check and to apply. */
    bool proposed = e->promised.replica == c->node->number && links_count(c->node->links) > 0;
    bool alone = !proposed && e->value.len <= ALONE_BYTES && sequence_alone(c->node->sequence);
    void (*meanwhile)(void *arg) = may_be_early ? apply_early : mb_wal_wait;
    mb_wal_append(c->node->wal, &stamp, &record, e->slot != 0, alone ? meanwhile : NULL, on_durable,
                  w);
    mb_buf_clear(&payload);
}

static void do_send(struct consensus *c, const struct mb_effect *e)
{
    struct mb_buf frame = {0};
    if (links_count(c->node->links) == 0)
        return;
    mb_paxos_encode(&e->message, &frame);
    if (e->ticket <= c->durable) {
        transmit(c, e->to, mb_buf_bytes(&frame));
        mb_buf_clear(&frame);
    } else if (c->held_bytes + frame.len > HELD_BYTES_MAX) {
        c->dropped++;
        mb_buf_clear(&frame);
    } else {
        struct held *h = mb_calloc(1, sizeof *h);
        *h = (struct held){.ticket = e->ticket, .to = e->to, .frame = frame};
        c->held_bytes += frame.len;
        *c->held_tail = h;
        c->held_tail = &h->next;
    }
}

/* Values from the archive, as many as one frame should hold. */
static void do_serve(struct consensus *c, const struct mb_effect *e)
{
    struct mb_paxos_item *items = mb_calloc(MB_PAXOS_AHEAD_MAX, sizeof *items);
    struct mb_block *blocks = mb_calloc(MB_PAXOS_AHEAD_MAX, sizeof *blocks);
    struct mb_paxos_message m = {.kind = MB_PAXOS_CHOSEN,
                                 .items = items,
                                 .tip = mb_ledger_tip(c->node->ledger)->header.slot};
    struct mb_buf frame = {0};
    struct mb_error error = {0};
    size_t bytes = 0;
    for (uint64_t s = e->slot; s <= e->upto && m.count < MB_PAXOS_AHEAD_MAX && bytes < SERVE_BYTES;
         s++) {
        if (node_read_block(c->node, s, &blocks[m.count], &error) != 0) {
            mb_log(MB_LOG_WARN, "consensus", "not_served", "slot=%" PRIu64 " code=%s", s,
                   error.code);
            break;
        }
        items[m.count].slot = s;
        items[m.count].value = mb_buf_bytes(&blocks[m.count].value);
        bytes += items[m.count++].value.len;
    }
    if (m.count > 0) {
        mb_paxos_encode(&m, &frame);
        transmit(c, e->to, mb_buf_bytes(&frame));
    }
    for (size_t i = 0; i < m.count; i++)
        mb_block_clear(&blocks[i]);
    mb_buf_clear(&frame);
    free(blocks);
    free(items);
}

static struct batch *take_batch(struct consensus *c, uint64_t slot)
{
    struct batch **at = &c->batches[slot % MB_PAXOS_AHEAD_MAX], *b = *at;
    if (b == NULL || b->slot != slot)
        return NULL;
    *at = NULL;
    return b;
}

void consensus_keep(struct consensus *c, struct batch *b)
{
    struct batch **at = &c->batches[b->slot % MB_PAXOS_AHEAD_MAX];
    if (*at != NULL && (*at)->own) { /* our submissions stay until the slot is decided */
        batch_free(b);
        return;
    }
    batch_free(*at);
    *at = b;
}

/* Whom we speak to follows the state at once; true if a configuration was decided, which is *out.
 */
static bool members_changed(struct consensus *c, struct mb_paxos_config *out)
{
    struct mb_membership members[2];
    struct mb_paxos_config configs[2];
    size_t count = node_configs(c->node, members, configs);
    uint64_t in_force = configs[0].version, newest = configs[count - 1].version;
    bool decided = newest > c->newest;
    if (in_force != c->in_force || decided)
        links_update(c->node->links, members, count);
    c->in_force = in_force;
    c->newest = newest;
    *out = configs[count - 1];
    return decided;
}

static void do_chosen(struct consensus *c, const struct mb_effect *e)
{
    struct node *n = c->node;
    struct mb_error error = {0};
    struct mb_outcome *o = NULL;
    struct batch *b = take_batch(c, e->slot);
    MB_FAULT("ledger.chosen");
    c->barred_ms = 0;
    if (b != NULL && !mb_hash_equal(&b->hash, &e->message.hash)) {
        sequence_lost(n->sequence, b); /* another value was chosen for our slot */
        b = NULL;
    }
    int rc = n->exit_status != 0 ? MB_EIO : 0;
    if (rc == 0 && c->early != NULL) { /* its slot is the next, and its value the only one */
        o = c->early;
        c->early = NULL;
        rc = node_apply_end(n, &o, NULL, &error);
    } else if (rc == 0) {
        rc = node_apply(n, e->value, b == NULL ? NULL : b->checked, NULL, &o, &error);
    }
    if (rc != 0) {
        if (n->exit_status == 0)
            node_fail(n, &error);
        batch_free(b);
        return;
    }
    struct carried *k = mb_calloc(1, sizeof *k);
    *k = (struct carried){.outcome = o, .batch = b};
    *c->carried_tail = k;
    c->carried_tail = &k->next;
    struct happening *h = consensus_happen(c, MB_EVENT_APPLIED);
    h->event.slot = e->slot;
    if (members_changed(c, &h->config))
        h->event.config = &h->config;
}

static void do_read(struct consensus *c, uint64_t id, bool ok)
{
    for (struct asking **at = &c->asking; *at != NULL; at = &(*at)->next) {
        struct asking *a = *at;
        if (a->id != id)
            continue;
        *at = a->next;
        a->done(a->arg, ok);
        free(a);
        return;
    }
}

static void carry_out(struct consensus *c)
{
    for (size_t i = 0; i < c->effects.count; i++) {
        const struct mb_effect *e = &c->effects.of[i];
        switch (e->kind) {
        case MB_EFFECT_PERSIST:
            do_persist(c, e);
            break;
        case MB_EFFECT_SEND:
            do_send(c, e);
            break;
        case MB_EFFECT_CHOSEN:
            do_chosen(c, e);
            break;
        case MB_EFFECT_SERVE:
            do_serve(c, e);
            break;
        case MB_EFFECT_ROLE:
            sequence_role(c->node->sequence);
            lease_check(c->node->lease);
            break;
        case MB_EFFECT_READ:
            do_read(c, e->id, true);
            break;
        case MB_EFFECT_NO_READ:
            do_read(c, e->id, false);
            break;
        }
    }
}

/* --- Events. --- */

static bool propose(struct consensus *c)
{
    bool must;
    uint64_t slot = mb_paxos_wants(c->core, &must);
    struct batch *b = NULL;
    if (slot == 0 || c->node->exit_status != 0)
        return false;
    struct happening *h = mb_calloc(1, sizeof *h);
    if (!sequence_fill(c->node->sequence, slot, must, &h->bytes, &b)) {
        free(h);
        return false;
    }
    b->hash = mb_sha256(h->bytes.data, h->bytes.len);
    consensus_keep(c, b);
    h->event.kind = MB_EVENT_SUBMIT;
    h->event.slot = slot;
    h->event.value = mb_buf_bytes(&h->bytes);
    *c->tail = h;
    c->tail = &h->next;
    return true;
}

/* What was applied early has not become durable: the log has failed, and says so itself. */
static void early_in_vain(struct consensus *c)
{
    struct mb_error error = {0};
    node_apply_undo(c->node, &c->early);
    mb_fail(&error, MB_EIO, "log.failed", "a value could not be written to the log");
    node_fail(c->node, &error);
}

/* One event after another, and what follows from each, until nothing is left: what the core is
 * told while its effects are carried out waits its turn. The disk gets the next batch before the
 * effects of the last blocks are carried out. */
void consensus_run(struct consensus *c)
{
    if (c->running || c->closed)
        return;
    c->running = true;
    for (;;) {
        if (c->head == NULL && !propose(c)) {
            struct carried *k = c->carried;
            if (k == NULL)
                break;
            c->carried = k->next;
            if (c->carried == NULL)
                c->carried_tail = &c->carried;
            sequence_applied(c->node->sequence, k->outcome);
            mb_outcome_free(k->outcome);
            batch_free(k->batch);
            free(k);
            continue;
        }
        struct happening *h = c->head;
        c->head = h->next;
        if (c->head == NULL)
            c->tail = &c->head;
        h->event.now_ms = consensus_now(c);
        mb_random(&h->event.random, sizeof h->event.random);
        mb_paxos_step(c->core, &h->event, &c->effects);
        carry_out(c);
        happening_free(h);
        if (c->early != NULL && c->head == NULL)
            early_in_vain(c);
    }
    c->running = false;
    int64_t at = c->effects.timer_at_ms, now = consensus_now(c);
    if (at != INT64_MAX)
        mb_timer_set(c->timer, at > now ? at - now : 0);
    else
        mb_timer_cancel(c->timer);
    sequence_idle(c->node->sequence);
}

void consensus_start(struct consensus *c, const struct consensus_start *start)
{
    struct mb_membership members[2];
    struct mb_paxos_config configs[2];
    size_t count = node_configs(c->node, members, configs);
    struct mb_paxos_start s = {
        .promised = start->promised,
        .incarnation = start->incarnation,
        .applied = mb_ledger_tip(c->node->ledger)->header.slot,
        .faulty_to = start->faulty_to,
        .configs = configs,
        .config_count = count,
        .accepted = start->accepted,
        .accepted_count = start->accepted_count,
    };
    c->incarnation = start->incarnation;
    c->in_force = configs[0].version;
    c->newest = configs[count - 1].version;
    links_update(c->node->links, members, count);
    struct happening *h = consensus_happen(c, MB_EVENT_START);
    h->event.start = &s;
    consensus_run(c);
}

void consensus_kick(struct consensus *c)
{
    consensus_run(c);
}

void consensus_stop(struct consensus *c)
{
    consensus_happen(c, MB_EVENT_STOP);
    consensus_run(c);
}

void consensus_read(struct consensus *c, void (*done)(void *arg, bool ok), void *arg)
{
    struct asking *a = mb_calloc(1, sizeof *a);
    *a = (struct asking){.id = ++c->asked, .done = done, .arg = arg, .next = c->asking};
    c->asking = a;
    consensus_happen(c, MB_EVENT_READ)->event.id = a->id;
    consensus_run(c);
}

struct mb_paxos_status consensus_status(const struct consensus *c)
{
    return mb_paxos_status(c->core);
}
