/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One replica as its daemon runs it: it carries out the core's effects in their order, with a disk
 * that makes writes durable later and may lose the others, and looks at each of them.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define BATCH 8  /* commands in a value */
#define SERVE 64 /* slots in one message */

struct replica *replica_at(struct world *w, uint32_t number)
{
    return &w->replicas[number];
}

static int64_t clock_of(const struct world *w, const struct replica *r)
{
    return w->now * r->rate / 1000 + r->offset_ms;
}

/* --- What must hold (P1, P2, P4, P5 of paxos.h; and answers after what they say is durable). ---
 */

static bool is_durable(const struct replica *r, uint64_t slot, const struct mb_ballot *ballot,
                       const struct mb_hash *hash)
{
    if (slot <= r->durable_applied)
        return true;
    for (size_t i = r->durable_count; i-- > 0;) {
        const struct record *d = &r->log[i];
        if (d->slot != slot || mb_ballot_compare(&d->promised, ballot) != 0)
            continue;
        if (mb_hash_equal(&d->hash, hash))
            return true;
    }
    return false;
}

static void check_answer(struct world *w, struct replica *r, const struct mb_paxos_message *m)
{
    if (m->kind == MB_PAXOS_PROMISE) {
        if (mb_ballot_compare(&r->disk_promised, &m->ballot) < 0)
            fail(w, "%u promises what it has not persisted", r->number);
        if (mb_ballot_compare(&m->ballot, &r->answered) < 0)
            fail(w, "%u goes back on a promise", r->number);
        if (r->faulty_to > r->state.applied && m->slot <= r->faulty_to)
            fail(w, "%u promises slots whose acceptances it lost", r->number);
        r->answered = m->ballot;
    }
    if (m->kind == MB_PAXOS_ACCEPTED) {
        if (!is_durable(r, m->slot, &m->ballot, &m->hash))
            fail(w, "%u says it accepted slot %lu before that is durable", r->number,
                 (unsigned long)m->slot);
        if (mb_ballot_compare(&m->ballot, &r->answered) > 0)
            r->answered = m->ballot;
    }
}

/* A ballot is of one life. */
static void check_prepare(struct world *w, struct replica *r, const struct mb_paxos_message *m)
{
    if (r->asked_life != r->life && mb_ballot_compare(&m->ballot, &r->asked) == 0)
        fail(w, "%u uses a ballot of its former life", r->number);
    r->asked = m->ballot;
    r->asked_life = r->life;
}

/* At most one value in one ballot and slot, whoever and whenever. */
static void check_proposal(struct world *w, struct replica *r, const struct mb_paxos_message *m)
{
    struct proposal mine = {m->ballot, m->slot,
                            mb_sha256(m->items[0].value.data, m->items[0].value.len)};
    if (m->slot > r->state.applied + MB_PAXOS_WINDOW)
        fail(w, "%u proposes slot %lu beyond the window", r->number, (unsigned long)m->slot);
    for (size_t i = w->proposal_count; i-- > 0 && w->proposal_count - i < 4096;) {
        const struct proposal *p = &w->proposals[i];
        if (p->slot != mine.slot || mb_ballot_compare(&p->ballot, &mine.ballot) != 0)
            continue;
        if (!mb_hash_equal(&p->hash, &mine.hash))
            fail(w, "two values for slot %lu in one ballot of %u", (unsigned long)m->slot,
                 r->number);
        return;
    }
    if (w->proposal_count == w->proposal_cap) {
        w->proposal_cap = 2 * w->proposal_cap + 64;
        w->proposals = mb_realloc(w->proposals, w->proposal_cap * sizeof *w->proposals);
    }
    w->proposals[w->proposal_count++] = mine;
}

/* What is first learned was durably accepted by a majority of the slot's own configuration. */
static void check_majority(struct world *w, uint64_t slot, const struct chosen *c,
                           struct mb_bytes value)
{
    const struct mb_paxos_config *config = config_of(w, slot);
    struct mb_hash hash = mb_sha256(value.data, value.len);
    for (size_t i = 0; config != NULL && i < c->vote_count; i++) {
        size_t count = 0;
        for (size_t k = 0; k < config->count; k++)
            for (size_t j = 0; j < c->vote_count; j++)
                if (c->votes[j].replica == config->members[k] &&
                    mb_hash_equal(&c->votes[j].hash, &hash) &&
                    mb_ballot_compare(&c->votes[j].ballot, &c->votes[i].ballot) == 0) {
                    count++;
                    break;
                }
        if (2 * count > config->count)
            return;
    }
    fail(w, "slot %lu was learned without a majority of its configuration", (unsigned long)slot);
}

static void check_chosen(struct world *w, struct replica *r, uint64_t slot, struct mb_bytes value)
{
    struct chosen *c = chosen_at(w, slot);
    if (slot != r->state.applied + r->waiting_count + 1)
        fail(w, "%u learns slot %lu out of order", r->number, (unsigned long)slot);
    if (c->known && !mb_bytes_equal(mb_buf_bytes(&c->value), value))
        fail(w, "two values for slot %lu, the second at %u", (unsigned long)slot, r->number);
    if (c->known)
        return;
    check_majority(w, slot, c, value);
    c->known = true;
    mb_buf_add_bytes(&c->value, value);
    w->counts.slots++;
}

/* --- Effects. --- */

static void send(struct world *w, struct replica *r, uint32_t to, struct mb_bytes bytes)
{
    struct mb_paxos_message m;
    if (mb_paxos_decode(&m, bytes, NULL) != 0) {
        fail(w, "%u sends what cannot be read", r->number);
        return;
    }
    check_answer(w, r, &m);
    if (m.kind == MB_PAXOS_PREPARE)
        check_prepare(w, r, &m);
    if (m.kind == MB_PAXOS_ACCEPT)
        check_proposal(w, r, &m);
    mb_paxos_message_clear(&m);
    if (to != 0) {
        post(w, r->number, to, PARCEL_PEER, 0, bytes);
        return;
    }
    struct mb_paxos_status s = mb_paxos_status(r->core);
    for (size_t i = 0; i < s.peer_count; i++)
        post(w, r->number, s.peers[i].number, PARCEL_PEER, 0, bytes);
}

static void on_send(struct world *w, struct replica *r, const struct mb_effect *e)
{
    struct outgoing o = {.ticket = e->ticket, .to = e->to};
    mb_paxos_encode(&e->message, &o.bytes);
    if (e->ticket <= r->durable_ticket) {
        send(w, r, e->to, mb_buf_bytes(&o.bytes));
        mb_buf_clear(&o.bytes);
        return;
    }
    r->held = mb_realloc(r->held, (r->held_count + 1) * sizeof *r->held);
    r->held[r->held_count++] = o;
}

static void sync_begin(struct world *w, struct replica *r)
{
    if (r->syncing != 0 || r->log_count == r->durable_count)
        return;
    int64_t ms = r->sync_ms + (int64_t)chance(w, 3);
    if (faulty(w, FAULT_DISK) && once_in(w, 50))
        ms += (int64_t)chance(w, 5000);
    r->syncing = r->log[r->log_count - 1].ticket;
    queue(w,
          (struct happening){.at = w->now + ms, .what = SYNCED, .to = r->number, .life = r->life});
}

static void on_persist(struct world *w, struct replica *r, const struct mb_effect *e)
{
    r->log = mb_realloc(r->log, (r->log_count + 1) * sizeof *r->log);
    struct record *d = &r->log[r->log_count++];
    *d = (struct record){.ticket = e->ticket, .promised = e->promised, .slot = e->slot};
    mb_buf_add_bytes(&d->value, e->value);
    if (d->slot != 0)
        d->hash = mb_sha256(e->value.data, e->value.len);
    sync_begin(w, r);
}

static void on_serve(struct world *w, struct replica *r, const struct mb_effect *e)
{
    if (e->slot < r->archive_from) {
        post(w, r->number, e->to, PARCEL_SNAPSHOT, r->durable_applied, mb_bytes(NULL, 0));
        return;
    }
    struct mb_paxos_item items[SERVE];
    for (uint64_t slot = e->slot; slot <= e->upto;) {
        struct mb_paxos_message m = {
            .kind = MB_PAXOS_CHOSEN, .items = items, .tip = r->state.applied};
        struct mb_buf bytes = {0};
        for (; slot <= e->upto && m.count < SERVE; slot++)
            items[m.count++] = (struct mb_paxos_item){
                .slot = slot, .value = mb_buf_bytes(&chosen_at(w, slot)->value)};
        mb_paxos_encode(&m, &bytes);
        post(w, r->number, e->to, PARCEL_PEER, 0, mb_buf_bytes(&bytes));
        mb_buf_clear(&bytes);
    }
}

static void apply_later(struct world *w, struct replica *r)
{
    if (r->applying || r->waiting_count == 0)
        return;
    r->applying = true;
    queue(w, (struct happening){.at = w->now + (int64_t)chance(w, 3),
                                .what = APPLY,
                                .to = r->number,
                                .life = r->life});
}

static void on_chosen(struct world *w, struct replica *r, const struct mb_effect *e)
{
    check_chosen(w, r, e->slot, e->value);
    r->waiting = mb_realloc(r->waiting, (r->waiting_count + 1) * sizeof *r->waiting);
    r->waiting[r->waiting_count] = (struct mb_buf){0};
    mb_buf_add_bytes(&r->waiting[r->waiting_count++], e->value);
    apply_later(w, r);
}

static void on_read(struct world *w, struct replica *r, const struct mb_effect *e)
{
    w->counts.reads++;
    if (r->state.applied < w->reads[e->id])
        fail(w, "a read at %u misses slot %lu", r->number, (unsigned long)w->reads[e->id]);
}

static void carry_out(struct world *w, struct replica *r, const struct mb_effect *e)
{
    switch (e->kind) {
    case MB_EFFECT_PERSIST:
        on_persist(w, r, e);
        break;
    case MB_EFFECT_SEND:
        on_send(w, r, e);
        break;
    case MB_EFFECT_CHOSEN:
        on_chosen(w, r, e);
        break;
    case MB_EFFECT_SERVE:
        on_serve(w, r, e);
        break;
    case MB_EFFECT_ROLE:
        memset(r->proposed, 0, sizeof r->proposed);
        r->forwarded_to = 0;
        break;
    case MB_EFFECT_READ:
        on_read(w, r, e);
        break;
    case MB_EFFECT_NO_READ:
        break;
    }
}

/* --- Steps. --- */

static void timer(struct world *w, struct replica *r)
{
    int64_t at = r->effects.timer_at_ms;
    if (at == INT64_MAX)
        return;
    int64_t when = (at - r->offset_ms) * 1000 / r->rate + 1;
    when = when < w->now + 1 ? w->now + 1 : when;
    if (r->timer_ms > w->now && r->timer_ms <= when)
        return;
    r->timer_ms = when;
    queue(w,
          (struct happening){
              .at = when, .what = TIMER, .to = r->number, .life = r->life, .slot = (uint64_t)when});
}

static const char *const event_names[] = {"start",   "receive", "persisted", "tick", "submit",
                                          "applied", "read",    "suspect",   "stop"};
static const char *const effect_names[] = {"persist", "send", "chosen", "serve",
                                           "role",    "read", "no read"};
static const char *const kind_names[] = {
    "",          "prevote", "grant", "prepare", "promise", "refusal",     "accept",  "accepted",
    "heartbeat", "ack",     "learn", "chosen",  "read",    "read answer", "handover"};

static void trace_step(struct world *w, const struct replica *r, const struct mb_event *event)
{
    const struct mb_paxos_message *m = event->message;
    if (m != NULL)
        trace(w, "%u receives %s of %u: ballot %lu.%u.%lu slot %lu", r->number, kind_names[m->kind],
              event->from, (unsigned long)m->ballot.round, m->ballot.replica,
              (unsigned long)m->ballot.incarnation, (unsigned long)m->slot);
    else
        trace(w, "%u %s ticket %lu slot %lu", r->number, event_names[event->kind],
              (unsigned long)event->ticket, (unsigned long)event->slot);
    for (size_t i = 0; i < r->effects.count; i++) {
        const struct mb_effect *e = &r->effects.of[i];
        trace(w, "    %s %s to %u ticket %lu slot %lu", effect_names[e->kind],
              e->kind == MB_EFFECT_SEND ? kind_names[e->message.kind] : "", e->to,
              (unsigned long)e->ticket,
              (unsigned long)(e->kind == MB_EFFECT_SEND ? e->message.slot : e->slot));
    }
}

static void one_step(struct world *w, struct replica *r, struct mb_event event)
{
    event.now_ms = clock_of(w, r);
    event.random = chance(w, UINT64_C(1) << 32);
    mb_paxos_step(r->core, &event, &r->effects);
    w->events++;
    if (w->trace)
        trace_step(w, r, &event);
    for (size_t i = 0; i < r->effects.count && w->failed == NULL; i++)
        carry_out(w, r, &r->effects.of[i]);
}

/* The values that the leader wants now. */
static void supply(struct world *w, struct replica *r)
{
    bool must;
    uint64_t slot;
    while (w->failed == NULL && (slot = mb_paxos_wants(r->core, &must)) != 0) {
        uint32_t commands[BATCH];
        size_t count = 0;
        for (uint32_t id = 0; id < w->command_count && count < BATCH; id++)
            if (r->pending[id] && r->proposed[id] == 0) {
                commands[count++] = id;
                r->proposed[id] = slot;
            }
        if (count == 0 && !must)
            return;
        struct mb_buf value = {0};
        value_make(w, &value, r->number, slot, commands, count);
        one_step(w, r,
                 (struct mb_event){
                     .kind = MB_EVENT_SUBMIT, .slot = slot, .value = mb_buf_bytes(&value)});
        mb_buf_clear(&value);
    }
}

/* What the leader has not made of our clients' commands goes to it, once more after a while. */
static void forward(struct world *w, struct replica *r)
{
    struct mb_paxos_status s = mb_paxos_status(r->core);
    if (s.leader == 0 || s.leader == r->number ||
        (r->forwarded_to == s.leader && w->now < r->forwarded_ms))
        return;
    struct mb_buf bytes = {0};
    for (uint32_t id = 0; id < w->command_count; id++)
        if (r->pending[id])
            mb_buf_add_u32(&bytes, id);
    if (bytes.len > 0) {
        post(w, r->number, s.leader, PARCEL_FORWARD, 0, mb_buf_bytes(&bytes));
        r->forwarded_to = s.leader;
        r->forwarded_ms = w->now + 10 * w->trip_ms;
    }
    mb_buf_clear(&bytes);
}

void replica_step(struct world *w, struct replica *r, struct mb_event event)
{
    one_step(w, r, event);
    supply(w, r);
    if (w->failed != NULL)
        return;
    forward(w, r);
    timer(w, r);
    /* The worst moments are those with something on its way to the disk. */
    if (faulty(w, FAULT_CRASH) && r->log_count > r->durable_count && once_in(w, 300))
        queue(w, (struct happening){.at = w->now + (int64_t)chance(w, 2 * (uint64_t)w->trip_ms),
                                    .what = CRASH,
                                    .to = r->number,
                                    .life = r->life});
}

void replica_tick(struct world *w, struct replica *r, uint64_t when)
{
    if (r->timer_ms != (int64_t)when)
        return; /* an earlier one was set since */
    r->timer_ms = 0;
    if (clock_of(w, r) >= r->effects.timer_at_ms)
        replica_step(w, r, (struct mb_event){.kind = MB_EVENT_TICK});
    else
        timer(w, r);
}

void replica_forwarded(struct world *w, struct replica *r, struct mb_bytes bytes)
{
    struct mb_cursor c = mb_cursor(bytes);
    while (mb_cursor_left(&c) >= 4) {
        uint32_t id = mb_cursor_u32(&c);
        if (!r->state.seen[id])
            r->pending[id] = true;
    }
    replica_step(w, r, (struct mb_event){.kind = MB_EVENT_TICK});
}

static void now_durable(struct world *w, struct replica *r)
{
    while (r->durable_count < r->log_count && r->log[r->durable_count].ticket <= r->syncing) {
        const struct record *d = &r->log[r->durable_count++];
        if (mb_ballot_compare(&d->promised, &r->disk_promised) > 0)
            r->disk_promised = d->promised;
        if (d->slot != 0)
            vote_at(w, r->number, d);
    }
    r->durable_ticket = r->syncing;
    r->syncing = 0;
}

/* Records of slots that are applied for good are not needed any more. */
static void trim(struct world *w, struct replica *r)
{
    size_t kept = 0, durable = r->durable_count;
    if (!once_in(w, 4))
        return;
    r->durable_applied = r->state.applied;
    for (size_t i = 0; i < r->log_count; i++)
        if (i < durable && r->log[i].slot <= r->durable_applied) {
            mb_buf_clear(&r->log[i].value);
            r->durable_count--;
        } else {
            r->log[kept++] = r->log[i];
        }
    r->log_count = kept;
    if (faulty(w, FAULT_SNAPSHOT) && r->durable_applied > 20)
        r->archive_from = r->durable_applied - 20;
}

void replica_synced(struct world *w, struct replica *r)
{
    now_durable(w, r);
    size_t count = 0;
    for (size_t i = 0; i < r->held_count; i++) {
        struct outgoing o = r->held[i];
        if (o.ticket > r->durable_ticket) {
            r->held[count++] = o;
            continue;
        }
        if (w->failed == NULL)
            send(w, r, o.to, mb_buf_bytes(&o.bytes));
        mb_buf_clear(&o.bytes);
    }
    r->held_count = count;
    uint64_t ticket = r->durable_ticket;
    trim(w, r);
    sync_begin(w, r);
    if (w->failed == NULL)
        replica_step(w, r, (struct mb_event){.kind = MB_EVENT_PERSISTED, .ticket = ticket});
}

/* A client is told: from now on it is in every history. */
static void acknowledge(struct world *w, struct replica *r, uint32_t id)
{
    if (!r->pending[id] || !r->state.seen[id])
        return;
    r->pending[id] = false;
    if (w->commands[id].acked == 0) {
        w->commands[id].acked = r->state.applied;
        w->counts.acked++;
    }
}

void replica_ask(struct world *w, struct replica *r, uint32_t id)
{
    r->pending[id] = true;
    acknowledge(w, r, id);
}

static const struct mb_paxos_config *apply_one(struct world *w, struct state *s,
                                               struct mb_bytes value, uint32_t at)
{
    const struct mb_paxos_config *config = state_apply(w, s, value);
    struct chosen *c = chosen_at(w, s->applied);
    if (c->applied && !mb_hash_equal(&c->digest, &s->digest))
        fail(w, "%u has another state at slot %lu", at, (unsigned long)s->applied);
    if (!c->applied && config != NULL)
        config_decided(w, config);
    c->applied = true;
    c->digest = s->digest;
    if (s->applied > w->applied_max)
        w->applied_max = s->applied;
    return config;
}

void replica_apply(struct world *w, struct replica *r)
{
    struct mb_buf value = r->waiting[0];
    r->applying = false;
    memmove(r->waiting, r->waiting + 1, --r->waiting_count * sizeof *r->waiting);
    const struct mb_paxos_config *config = apply_one(w, &r->state, mb_buf_bytes(&value), r->number);
    mb_buf_clear(&value);
    if (r->state.applied >= r->faulty_to)
        r->faulty_to = 0;
    if (w->failed != NULL)
        return;
    for (uint32_t id = 0; id < w->command_count; id++)
        acknowledge(w, r, id);
    replica_step(
        w, r,
        (struct mb_event){.kind = MB_EVENT_APPLIED, .slot = r->state.applied, .config = config});
    apply_later(w, r);
}

/* --- Lives. --- */

/* The state at a slot, as the archive has it. */
static void restore(struct world *w, struct replica *r, uint64_t slot)
{
    state_clear(&r->state);
    state_open(w, &r->state);
    while (r->state.applied < slot && w->failed == NULL)
        apply_one(w, &r->state, mb_buf_bytes(&chosen_at(w, r->state.applied + 1)->value),
                  r->number);
}

/* At most a minority of any configuration has lost anything at one time. */
static bool may_lose(struct world *w, const struct replica *r)
{
    const struct mb_paxos_config *newest = newest_config(w);
    size_t losers = 1, least = newest->count;
    for (uint32_t n = 1; n <= REPLICAS; n++)
        losers += w->replicas[n].faulty_to != 0 && n != r->number;
    for (uint32_t n = 1; n <= REPLICAS; n++)
        for (size_t i = 0; w->replicas[n].exists && i < w->replicas[n].state.config_count; i++)
            if (w->replicas[n].state.configs[i].count < least)
                least = w->replicas[n].state.configs[i].count;
    return 2 * losers < least;
}

static void lose_records(struct world *w, struct replica *r)
{
    size_t kept = 0;
    if (!faulty(w, FAULT_RECORD) || !once_in(w, 2) || !may_lose(w, r))
        return;
    for (size_t i = 0; i < r->log_count; i++) {
        struct record d = r->log[i];
        if (d.slot <= r->durable_applied || !once_in(w, 3)) {
            r->log[kept++] = d;
            continue;
        }
        if (d.slot > r->faulty_to)
            r->faulty_to = d.slot;
        w->counts.faulty++;
        mb_buf_clear(&d.value);
    }
    r->log_count = r->durable_count = kept;
}

void replica_boot(struct world *w, struct replica *r)
{
    struct mb_paxos_item *accepted = mb_calloc(r->log_count + 1, sizeof *accepted);
    size_t count = 0;
    lose_records(w, r);
    restore(w, r, r->durable_applied);
    if (r->faulty_to <= r->state.applied)
        r->faulty_to = 0;
    for (size_t i = 0; i < r->log_count; i++)
        if (r->log[i].slot > r->durable_applied)
            accepted[count++] = (struct mb_paxos_item){.slot = r->log[i].slot,
                                                       .ballot = r->log[i].promised,
                                                       .value = mb_buf_bytes(&r->log[i].value)};
    r->up = true;
    r->stopping = false;
    r->life++;
    r->timer_ms = 0;
    struct mb_paxos_options options = w->options;
    options.self = r->number;
    r->core = mb_paxos_new(&options);
    struct mb_paxos_start start = {.promised = r->disk_promised,
                                   .incarnation = r->life,
                                   .applied = r->state.applied,
                                   .faulty_to = r->faulty_to,
                                   .configs = r->state.configs,
                                   .config_count = r->state.config_count,
                                   .accepted = accepted,
                                   .accepted_count = count};
    if (w->failed == NULL)
        replica_step(w, r, (struct mb_event){.kind = MB_EVENT_START, .start = &start});
    free(accepted);
    struct mb_paxos_status s = mb_paxos_status(r->core);
    if (mb_ballot_compare(&s.promised, &r->answered) < 0)
        fail(w, "%u forgot a promise", r->number);
}

static void forget(struct replica *r)
{
    for (size_t i = 0; i < r->held_count; i++)
        mb_buf_clear(&r->held[i].bytes);
    for (size_t i = 0; i < r->waiting_count; i++)
        mb_buf_clear(&r->waiting[i]);
    r->held_count = r->waiting_count = 0;
    mb_paxos_free(r->core);
    r->core = NULL;
    mb_effects_clear(&r->effects);
    memset(r->pending, 0, sizeof r->pending);
    memset(r->proposed, 0, sizeof r->proposed);
    r->applying = r->up = false;
    r->forwarded_to = 0;
    r->durable_ticket = 0;
    r->paused_until = 0;
}

void replica_end(struct world *w, struct replica *r, bool crash)
{
    size_t survive = r->log_count - r->durable_count;
    if (crash) /* some may have reached the disk all the same; a torn one counts as lost */
        survive = faulty(w, FAULT_TORN) ? chance(w, survive + 1) : 0;
    r->syncing = survive == 0 ? 0 : r->log[r->durable_count + survive - 1].ticket;
    w->counts.elections += mb_paxos_status(r->core).elections;
    if (r->syncing != 0)
        now_durable(w, r);
    for (size_t i = r->durable_count; i < r->log_count; i++)
        mb_buf_clear(&r->log[i].value);
    r->log_count = r->durable_count;
    r->syncing = 0;
    r->durable_applied =
        crash ? r->durable_applied + chance(w, r->state.applied - r->durable_applied + 1)
              : r->state.applied;
    forget(r);
    w->counts.crashes += crash;
}

void replica_snapshot(struct world *w, struct replica *r, uint64_t slot)
{
    if (slot <= r->state.applied)
        return;
    w->counts.snapshots++;
    replica_end(w, r, false);
    r->durable_applied = slot;
    r->archive_from = slot + 1;
    replica_boot(w, r);
}

void replica_add(struct world *w, uint32_t number)
{
    struct replica *r = &w->replicas[number];
    uint64_t slot = 0;
    for (uint32_t n = 1; n <= REPLICAS; n++)
        if (w->replicas[n].exists && w->replicas[n].durable_applied > slot)
            slot = w->replicas[n].durable_applied;
    r->exists = true;
    r->number = number;
    r->rate = 1000;
    r->offset_ms = 1000000 + (int64_t)chance(w, 1000000);
    r->sync_ms = 1 + (int64_t)chance(w, 20);
    if (faulty(w, FAULT_DISK) && once_in(w, 3))
        r->sync_ms = (int64_t)chance(w, 8 * (uint64_t)w->trip_ms) + 1;
    r->durable_applied = slot;
    r->archive_from = slot + 1;
    replica_boot(w, r);
}

void replica_free(struct replica *r)
{
    forget(r);
    for (size_t i = 0; i < r->log_count; i++)
        mb_buf_clear(&r->log[i].value);
    free(r->log);
    free(r->held);
    free(r->waiting);
    state_clear(&r->state);
}
