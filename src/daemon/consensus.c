/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/consensus.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define SERVE_BYTES       (512u << 10) /* of values in one answer: heartbeats wait behind it */
#define AHEAD_S           120 /* a value further ahead of our clock waits; learning does not */
#define AHEAD_PATIENCE_MS 60000
#define CHECKING_MAX      256 /* frames that are being checked; more are dropped, and come again */
#define CHECKING_BYTES    (64u << 20) /* of them */
#define AHEAD_BYTES       (32u << 20) /* of values for slots that are not applied */
#define HELD_BYTES_MAX    (64u << 20)
#define ALONE_BYTES       2048 /* a value of hardly more than one command */
#define CLOCK_OFF_S       1800 /* from tor's consensus: this replica does not vote */
#define SUSPECT_ALARM_MS  3600000

struct happening { /* an event, and what it borrows */
    struct mb_event event;
    struct mb_buf bytes;
    struct mb_paxos_message message;
    struct mb_paxos_config config;
    struct happening *next;
};
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
struct consensus {
    struct node *node;
    struct mb_paxos *core;
    struct mb_effects effects;
    struct mb_timer *timer;
    int64_t began_ms;
    uint64_t incarnation;
    struct happening *head, **tail;
    bool running, closed;
    uint64_t in_force, newest; /* versions of configurations */
    uint64_t durable;          /* the newest ticket that is */
    /* Since when nothing was chosen while values were ahead (0: not), and when the last came. */
    int64_t barred_ms, barred_last_ms;
    struct {
        uint32_t number;
        enum consensus_doubt doubt;
        int64_t at_ms;
        uint64_t count;
    } suspected;       /* the last one */
    int64_t clock_off; /* s; 0: it may vote */
    struct held *held, **held_tail;
    size_t held_bytes, checking, checking_bytes;
    struct mb_outcome *early; /* of the next slot, applied before its value is chosen; or NULL */
    struct carried *carried, **carried_tail;
    struct batch *batches[MB_PAXOS_AHEAD_MAX];
    struct asking *asking;
    uint64_t asked;
    uint64_t sent_bytes, sent_frames, dropped, malformed, ahead;
};

static void run(struct consensus *c);

static void on_timer(void *arg)
{
    struct consensus *c = arg;
    struct happening *h = mb_calloc(1, sizeof *h);
    h->event.kind = MB_EVENT_TICK;
    *c->tail = h;
    c->tail = &h->next;
    run(c);
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

static struct happening *happen(struct consensus *c, enum mb_event_kind kind)
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
    happen(c, MB_EVENT_PERSISTED)->event.ticket = c->durable;
    run(c);
}

static void do_nothing(void *arg)
{
    (void)arg;
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
    void (*meanwhile)(void *arg) = may_be_early ? apply_early : do_nothing;
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

static void keep_batch(struct consensus *c, struct batch *b)
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
    struct happening *h = happen(c, MB_EVENT_APPLIED);
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
    keep_batch(c, b);
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
static void run(struct consensus *c)
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
    struct happening *h = happen(c, MB_EVENT_START);
    h->event.start = &s;
    run(c);
}

void consensus_kick(struct consensus *c)
{
    run(c);
}

static const char *const doubts[] = {
    [CONSENSUS_CENSORS] = "let a command lie",
    [CONSENSUS_FREEZES] = "let ledger time stand still",
    [CONSENSUS_HURRIES] = "proposed times over two minutes ahead of this machine's clock",
};

void consensus_suspect(struct consensus *c, enum consensus_doubt doubt)
{
    struct mb_paxos_status s = mb_paxos_status(c->core);
    int64_t now = mb_now_ms();
    bool again = c->suspected.count > 0 && s.leader == c->suspected.number &&
                 now < c->suspected.at_ms + 2 * s.election_ms;
    if (s.role == MB_PAXOS_LEADER || s.leader == 0 || again)
        return;
    c->suspected.number = s.leader;
    c->suspected.doubt = doubt;
    c->suspected.at_ms = now;
    c->suspected.count++;
    mb_log(MB_LOG_WARN, "consensus", "suspected", "replica=%u why=%s", s.leader, doubts[doubt]);
    happen(c, MB_EVENT_SUSPECT);
    run(c);
}

void consensus_check_clock(struct consensus *c)
{
    int64_t skew = MB_LIE("clock.off") ? 2 * CLOCK_OFF_S : onions_status(c->node).clock_skew_s;
    int64_t off = skew >= CLOCK_OFF_S || skew <= -CLOCK_OFF_S ? skew : 0;
    bool changed = (off == 0) != (c->clock_off == 0);
    c->clock_off = off;
    if (!changed)
        return;
    mb_log(MB_LOG_WARN, "consensus", off != 0 ? "abstains" : "votes_again", "clock_off_s=%" PRId64,
           off);
    happen(c, MB_EVENT_ABSTAIN)->event.abstain = off != 0;
    run(c);
}

void consensus_stop(struct consensus *c)
{
    happen(c, MB_EVENT_STOP);
    run(c);
}

void consensus_read(struct consensus *c, void (*done)(void *arg, bool ok), void *arg)
{
    struct asking *a = mb_calloc(1, sizeof *a);
    *a = (struct asking){.id = ++c->asked, .done = done, .arg = arg, .next = c->asking};
    c->asking = a;
    happen(c, MB_EVENT_READ)->event.id = a->id;
    run(c);
}

struct mb_paxos_status consensus_status(const struct consensus *c)
{
    return mb_paxos_status(c->core);
}

/* --- What others send. --- */

static void pass_on(struct consensus *c, struct mb_buf *frame, struct mb_paxos_message *m,
                    uint32_t from)
{
    struct happening *h = happen(c, MB_EVENT_RECEIVE);
    h->bytes = *frame;
    h->message = *m;
    h->event.from = from;
    h->event.message = &h->message;
    *frame = (struct mb_buf){0};
    *m = (struct mb_paxos_message){0};
    run(c);
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
                                .checked = node_check_all(&v),
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
            keep_batch(c, b);
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

void consensus_report(struct consensus *c, struct mb_report *r)
{
    struct mb_paxos_status s = mb_paxos_status(c->core);
    int64_t now = consensus_now(c);
    r->subsystem = "consensus";
    mb_report_gauge(r, "leader", "Number of the replica that leads; 0: not known.", s.leader);
    mb_report_gauge(r, "ballot_round", "Round of the newest ballot promised.",
                    (int64_t)s.promised.round);
    mb_report_gauge(r, "election_milliseconds", "The present election timeout.", s.election_ms);
    mb_report_counter(r, "elections_total", "Times this replica stood for election.", s.elections);
    mb_report_counter(r, "frames_sent_total", "Messages sent to other replicas.", c->sent_frames);
    mb_report_counter(r, "bytes_sent_total", "Bytes of them.", c->sent_bytes);
    mb_report_counter(r, "dropped_total", "Messages dropped because too much waited.", c->dropped);
    mb_report_counter(r, "malformed_total", "Messages of other replicas that did not hold.",
                      c->malformed);
    mb_report_counter(r, "ahead_total",
                      "Values not accepted yet because their time is over two minutes ahead.",
                      c->ahead);
    mb_report_counter(r, "crowded_total",
                      "Values left alone because those of slots not applied take too much memory.",
                      s.crowded);
    mb_report_gauge(r, "kept_bytes", "Values kept for slots that are not applied.",
                    (int64_t)s.kept_bytes);
    mb_report_counter(r, "suspected_total", "Times a leader was suspected of not doing its work.",
                      c->suspected.count);
    mb_report_gauge(r, "abstains", "1 if this replica does not vote because its clock is wrong.",
                    c->clock_off != 0);
    if (c->clock_off != 0)
        mb_report_alarm(r, "clock.off",
                        "this replica does not vote: its clock is %" PRId64 " s %s of tor's "
                        "consensus: set it",
                        c->clock_off < 0 ? -c->clock_off : c->clock_off,
                        c->clock_off < 0 ? "behind" : "ahead");
    if (c->suspected.count > 0 && mb_now_ms() < c->suspected.at_ms + SUSPECT_ALARM_MS)
        mb_report_alarm(r, "replica.suspected",
                        "replica %u led and %s, %" PRId64 " s ago: if it does so again, look at "
                        "its clock, or remove it (magicbiz replica remove)",
                        c->suspected.number, doubts[c->suspected.doubt],
                        (mb_now_ms() - c->suspected.at_ms) / 1000);
    if (s.faulty_to != 0)
        mb_report_alarm(r, "log.faulty",
                        "the log was damaged: this replica promises nothing until it has learnt "
                        "slot %" PRIu64 " from the others",
                        s.faulty_to);
    if (s.role != MB_PAXOS_OUTSIDE && s.leader == 0)
        mb_report_alarm(r, "consensus.no_leader",
                        "no replica leads: fewer than a majority can reach each other");
    for (size_t i = 0; i < s.peer_count; i++)
        if (s.peers[i].heard_ms < 0 || now - s.peers[i].heard_ms > 3 * s.election_ms)
            mb_report_alarm(r, "consensus.silent",
                            "replica %u has not been heard for long: is its machine on?",
                            s.peers[i].number);
}
