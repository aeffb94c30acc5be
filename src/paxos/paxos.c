/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The step itself, and what its parts share: effects, configurations, slots. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "paxos/internal.h"

#define ROUND_TRIP_MAX 60000 /* ms: what seems longer is none */

struct mb_paxos *mb_paxos_new(const struct mb_paxos_options *options)
{
    struct mb_paxos *p = mb_calloc(1, sizeof *p);
    p->options = *options;
    p->leader_heard_ms = NEVER;
    p->election_at = NEVER;
    p->learn_at = NEVER;
    return p;
}

static void unbury(struct mb_paxos *p)
{
    for (size_t i = 0; i < p->buried_count; i++)
        free(p->buried[i]);
    p->buried_count = 0;
}

static void entry_free(struct entry *e)
{
    if (e == NULL)
        return;
    free(e->accepted.data);
    free(e->other.data);
    free(e);
}

void mb_paxos_free(struct mb_paxos *p)
{
    if (p == NULL)
        return;
    unbury(p);
    free(p->buried);
    for (size_t i = 0; i < MB_PAXOS_AHEAD_MAX; i++)
        entry_free(p->entries[i]);
    free(p->reads);
    free(p);
}

void mb_effects_clear(struct mb_effects *e)
{
    free(e->of);
    *e = (struct mb_effects){0};
}

void bury(struct mb_paxos *p, void *memory)
{
    if (memory == NULL)
        return;
    if (p->buried_count == p->buried_cap) {
        p->buried_cap = p->buried_cap * 2 + 16;
        p->buried = mb_realloc(p->buried, p->buried_cap * sizeof *p->buried);
    }
    p->buried[p->buried_count++] = memory;
}

struct mb_effect *effect(struct mb_paxos *p, enum mb_effect_kind kind)
{
    struct mb_effects *out = p->out;
    if (out->count == out->cap) {
        out->cap = out->cap * 2 + 16;
        out->of = mb_realloc(out->of, out->cap * sizeof *out->of);
    }
    struct mb_effect *e = &out->of[out->count++];
    *e = (struct mb_effect){.kind = kind};
    return e;
}

struct mb_paxos_message *tell(struct mb_paxos *p, enum mb_paxos_kind kind, uint32_t to,
                              uint64_t ticket)
{
    struct mb_effect *e = effect(p, MB_EFFECT_SEND);
    e->to = to;
    e->ticket = ticket;
    e->message.kind = kind;
    e->message.tip = p->applied;
    return &e->message;
}

struct mb_paxos_item *one_item(struct mb_paxos *p, struct mb_paxos_message *m)
{
    m->items = mb_calloc(1, sizeof *m->items);
    m->count = 1;
    bury(p, m->items);
    return m->items;
}

uint64_t persist(struct mb_paxos *p, const struct entry *e)
{
    struct mb_effect *out = effect(p, MB_EFFECT_PERSIST);
    out->ticket = ++p->ticket;
    out->promised = p->promised;
    if (e != NULL) {
        out->slot = e->slot;
        out->value = held_bytes(&e->accepted);
    }
    return out->ticket;
}

void role_changed(struct mb_paxos *p)
{
    effect(p, MB_EFFECT_ROLE);
}

/* --- Configurations and peers. --- */

struct peer *peer_find(struct mb_paxos *p, uint32_t number)
{
    for (size_t i = 0; i < p->peer_count; i++)
        if (p->peers[i].number == number)
            return &p->peers[i];
    return NULL;
}

const struct mb_paxos_config *config_for(const struct mb_paxos *p, uint64_t slot)
{
    const struct mb_paxos_config *found = NULL;
    for (size_t i = 0; i < p->config_count; i++)
        if (p->configs[i].from <= slot)
            found = &p->configs[i];
    return found;
}

bool config_has(const struct mb_paxos_config *c, uint32_t number)
{
    for (size_t i = 0; c != NULL && i < c->count; i++)
        if (c->members[i] == number)
            return true;
    return false;
}

bool member(const struct mb_paxos *p)
{
    for (size_t i = 0; i < p->config_count; i++)
        if (config_has(&p->configs[i], p->options.self))
            return true;
    return false;
}

bool majority(const struct mb_paxos *p, const struct mb_paxos_config *config, bool self,
              bool (*holds)(const struct mb_paxos *, const struct peer *))
{
    size_t count = self && config_has(config, p->options.self);
    for (size_t i = 0; i < p->peer_count; i++)
        count += config_has(config, p->peers[i].number) && holds(p, &p->peers[i]);
    return count >= quorum(config);
}

size_t quorum(const struct mb_paxos_config *config)
{
#if MB_PAXOS_BUG == 3
    return config->count / 2;
#endif
    return config->count / 2 + 1;
}

static void set_peers(struct mb_paxos *p)
{
    struct peer old[PEERS_MAX];
    size_t old_count = p->peer_count;
    memcpy(old, p->peers, sizeof old);
    p->peer_count = 0;
    for (size_t c = 0; c < p->config_count; c++)
        for (size_t i = 0; i < p->configs[c].count; i++) {
            uint32_t number = p->configs[c].members[i];
            if (number == p->options.self || peer_find(p, number) != NULL ||
                p->peer_count == PEERS_MAX)
                continue;
            struct peer *q = &p->peers[p->peer_count++];
            *q = (struct peer){.number = number, .heard_ms = -1, .round_trip = -1};
            for (size_t k = 0; k < old_count; k++)
                if (old[k].number == number)
                    *q = old[k];
        }
}

/* Forget configurations that govern nothing any more. */
static void settle_configs(struct mb_paxos *p)
{
    while (p->config_count > 1 && p->configs[1].from <= p->applied + 1) {
        memmove(p->configs, p->configs + 1, --p->config_count * sizeof *p->configs);
        set_peers(p);
    }
}

void on_applied(struct mb_paxos *p, uint64_t slot, const struct mb_paxos_config *config)
{
    if (slot != p->applied + 1 || slot > p->delivered)
        return;
    struct entry **e = &p->entries[slot % MB_PAXOS_AHEAD_MAX];
    if (*e != NULL && (*e)->slot == slot) {
        p->kept -= (*e)->accepted.len;
        *((*e)->promised ? &p->kept_promised : &p->kept) -= (*e)->other.len;
        bury(p, (*e)->accepted.data);
        bury(p, (*e)->other.data);
        bury(p, *e);
        *e = NULL;
    }
    p->applied = slot;
    if (p->faulty_to != 0 && p->applied >= p->faulty_to)
        p->faulty_to = 0;
    if (config != NULL && p->config_count < CONFIGS_MAX &&
        config->version > p->configs[p->config_count - 1].version) {
        p->configs[p->config_count++] = *config;
        set_peers(p);
    }
    settle_configs(p);
    if (config != NULL && p->stage == LEADING)
        prepare_again(p);
}

/* --- Slots. --- */

struct entry *entry_at(struct mb_paxos *p, uint64_t slot, bool make)
{
    if (slot <= p->applied || slot > p->applied + MB_PAXOS_AHEAD_MAX)
        return NULL;
    struct entry **e = &p->entries[slot % MB_PAXOS_AHEAD_MAX];
    if (*e == NULL && make) {
        *e = mb_calloc(1, sizeof **e);
        (*e)->slot = slot;
    }
    return *e;
}

bool room_for(struct mb_paxos *p, uint64_t slot, size_t kept, size_t old, size_t len)
{
    bool room = p->options.ahead_bytes == 0 || slot == p->delivered + 1 || len <= old ||
                kept - old + len <= p->options.ahead_bytes;
    p->crowded += !room;
    return room;
}

void hold_other(struct mb_paxos *p, struct entry *e, bool promised, const struct mb_ballot *ballot,
                struct mb_bytes value)
{
    *(e->promised ? &p->kept_promised : &p->kept) -= e->other.len;
    e->other.len = 0;
    e->promised = promised;
    hold(p, &e->other, promised ? &p->kept_promised : &p->kept, ballot, value);
}

void hold(struct mb_paxos *p, struct held *h, size_t *kept, const struct mb_ballot *ballot,
          struct mb_bytes value)
{
    *kept += value.len - h->len;
    uint8_t *data = mb_alloc(value.len + 1); /* never NULL: an empty value is a value */
    memcpy(data, value.data, value.len);
    bury(p, h->data);
    *h = (struct held){.ballot = *ballot,
                       .hash = mb_sha256(value.data, value.len),
                       .data = data,
                       .len = value.len};
}

struct mb_bytes held_bytes(const struct held *h)
{
    return mb_bytes(h->data, h->len);
}

/* --- Times. --- */

/* Heartbeats measure the way between a leader and each follower. What followers know of each other
 * is as old as the last election: it counts only where there is no leader. */
static bool counts(const struct mb_paxos *p, const struct peer *q)
{
    return q->round_trip >= 0 &&
           (p->stage != FOLLOWING || p->leader == 0 || p->leader == q->number);
}

int64_t round_trip(const struct mb_paxos *p)
{
    int64_t most = -1;
    for (size_t i = 0; i < p->peer_count; i++)
        if (counts(p, &p->peers[i]) && p->peers[i].round_trip > most)
            most = p->peers[i].round_trip;
    return most >= 0 ? most : p->options.round_trip_ms;
}

int64_t election_timeout(const struct mb_paxos *p)
{
    int64_t longest = -1;
    for (size_t i = 0; i < p->peer_count; i++) {
        const struct peer *q = &p->peers[i];
        int64_t t = 4 * (q->round_trip + 4 * q->variance) + p->options.rebuild_ms;
        if (counts(p, q) && t > longest)
            longest = t;
    }
    if (longest < 0)
        longest = 8 * p->options.round_trip_ms + p->options.rebuild_ms;
    return longest > p->options.election_floor_ms ? longest : p->options.election_floor_ms;
}

static void measure(struct mb_paxos *p, struct peer *q, const struct mb_paxos_message *m)
{
    if (m->sent_ms > 0) {
        q->their_ms = m->sent_ms;
        q->their_at = p->now;
    }
    int64_t sample = p->now - m->echo_ms - (int64_t)m->held_ms;
    /* A process that stood still, or a clock that jumped, is no round trip; and of what waited
     * together the first alone makes the estimate longer. */
    bool late = sample > q->round_trip && m->echo_ms <= q->measured_ms;
    if (m->echo_ms <= 0 || sample < 0 || sample > ROUND_TRIP_MAX || late)
        return;
    if (sample > election_timeout(p))
        sample = election_timeout(p);
    /* Jacobson, "Congestion Avoidance and Control", 1988, but that what comes sooner than it was
     * expected makes no timeout longer; anew where the last ones are long ago, and were longer. */
    bool old = p->now > q->measured_ms + p->options.election_floor_ms && sample < q->round_trip;
    q->measured_ms = p->now;
    if (q->round_trip < 0 || old) {
        q->round_trip = sample;
        q->variance = sample / 2;
        return;
    }
    int64_t off = sample - q->round_trip, deviation = off < -q->variance ? q->variance : off;
    q->round_trip += off / 8;
    q->variance += ((deviation < 0 ? -deviation : deviation) - q->variance) / 4;
}

static int64_t timer_at(const struct mb_paxos *p)
{
    int64_t at = p->delivered > p->applied ? NEVER : p->learn_at, reads = reads_until(p);
    if (p->election_at < at)
        at = p->election_at;
    if ((p->stage == PREVOTING || p->stage == PREPARING || preparing_again(p)) && p->ask_at < at)
        at = p->ask_at;
    if (p->stage == LEADING && p->heartbeat_at < at)
        at = p->heartbeat_at;
    if (p->stage == LEADING && proposal_at(p) > p->now && proposal_at(p) < at)
        at = proposal_at(p);
    return reads < at ? reads : at;
}

/* --- The step. --- */

static void start(struct mb_paxos *p, const struct mb_paxos_start *s)
{
#if MB_PAXOS_BUG != 2
    p->promised = s->promised;
#endif
    p->incarnation = s->incarnation;
    p->applied = p->delivered = s->applied;
    p->faulty_to = s->faulty_to > s->applied ? s->faulty_to : 0;
    p->config_count = s->config_count < CONFIGS_MAX ? s->config_count : CONFIGS_MAX;
    memcpy(p->configs, s->configs, p->config_count * sizeof *p->configs);
    settle_configs(p);
    set_peers(p);
    for (size_t i = 0; i < s->accepted_count; i++) {
        struct entry *e = entry_at(p, s->accepted[i].slot, true);
        if (e != NULL)
            hold(p, &e->accepted, &p->kept, &s->accepted[i].ballot, s->accepted[i].value);
        if (mb_ballot_compare(&s->accepted[i].ballot, &p->promised) > 0)
            p->promised = s->accepted[i].ballot;
    }
    p->seen_round = p->promised.round;
    follow(p, 0);
    if (p->peer_count == 0)
        p->election_at = p->now;
}

static void receive(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m)
{
    struct peer *q = peer_find(p, from);
    if (q == NULL)
        return;
    q->heard_ms = p->now;
    if (m->tip > q->tip)
        q->tip = m->tip;
    if (m->ballot.round > p->seen_round)
        p->seen_round = m->ballot.round;
    measure(p, q, m);
    switch (m->kind) {
    case MB_PAXOS_PREVOTE:
        on_prevote(p, from, m);
        break;
    case MB_PAXOS_PREVOTE_GRANT:
        on_grant(p, q, m);
        break;
    case MB_PAXOS_PREPARE:
        on_prepare(p, from, m);
        break;
    case MB_PAXOS_PROMISE:
        on_promise(p, q, m);
        break;
    case MB_PAXOS_REFUSAL:
        on_refusal(p, m);
        break;
    case MB_PAXOS_ACCEPT:
        on_accept(p, from, m);
        break;
    case MB_PAXOS_ACCEPTED:
        on_accepted(p, from, m);
        break;
    case MB_PAXOS_HEARTBEAT:
        on_heartbeat(p, q, m);
        break;
    case MB_PAXOS_HEARTBEAT_ACK:
        on_heartbeat_ack(p, q, m);
        break;
    case MB_PAXOS_LEARN:
        on_learn(p, from, m);
        break;
    case MB_PAXOS_CHOSEN:
        on_chosen(p, q, m);
        break;
    case MB_PAXOS_READ:
        read_begin(p, from, m->id);
        break;
    case MB_PAXOS_READ_ANSWER:
        read_answered(p, m);
        break;
    case MB_PAXOS_HANDOVER:
        on_handover(p, from);
        break;
    case MB_PAXOS_KINDS:
        break;
    }
}

void mb_paxos_step(struct mb_paxos *p, const struct mb_event *event, struct mb_effects *effects)
{
    unbury(p);
    effects->count = 0;
    p->out = effects;
    p->random = event->random;
    if (event->now_ms > p->now)
        p->now = event->now_ms;
    switch (event->kind) {
    case MB_EVENT_START:
        start(p, event->start);
        break;
    case MB_EVENT_RECEIVE:
        receive(p, event->from, event->message);
        break;
    case MB_EVENT_PERSISTED:
        on_persisted(p, event->ticket);
        break;
    case MB_EVENT_TICK:
        break;
    case MB_EVENT_SUBMIT:
        if (event->slot != 0 && event->slot == mb_paxos_wants(p, NULL))
            propose(p, event->slot, event->value);
        break;
    case MB_EVENT_APPLIED:
        on_applied(p, event->slot, event->config);
        break;
    case MB_EVENT_READ:
        read_begin(p, 0, event->id);
        break;
    case MB_EVENT_SUSPECT:
        if (p->stage == FOLLOWING && p->leader != 0) {
            p->suspect = p->leader;
            follow(p, 0);
            p->suspect_until = p->now + 2 * election_timeout(p);
            p->election_at = p->now + (int64_t)(p->random % ((uint64_t)round_trip(p) + 1));
        }
        break;
    case MB_EVENT_ABSTAIN:
        p->abstains = event->abstain;
        if (p->abstains && p->stage == LEADING)
            hand_over(p);
        break;
    case MB_EVENT_STOP:
        p->stopping = true;
        if (p->stage == LEADING)
            hand_over(p);
        follow(p, p->leader);
        break;
    }
    deliver(p);
    elect(p);
    lead(p);
    learn(p);
    reads_settle(p);
    effects->timer_at_ms = timer_at(p);
    p->out = NULL;
}

struct mb_paxos_status mb_paxos_status(const struct mb_paxos *p)
{
    struct mb_paxos_status s = {
        .role = !member(p)              ? MB_PAXOS_OUTSIDE
                : p->stage == LEADING   ? MB_PAXOS_LEADER
                : p->stage == FOLLOWING ? MB_PAXOS_FOLLOWER
                                        : MB_PAXOS_CANDIDATE,
        .leader = p->stage == LEADING ? p->options.self : p->leader,
        .promised = p->promised,
        .applied = p->applied,
        .faulty_to = p->faulty_to,
        .incarnation = p->incarnation,
        .election_ms = election_timeout(p),
        .elections = p->elections,
        .crowded = p->crowded,
        .kept_bytes = p->kept + p->kept_promised,
        .peer_count = p->peer_count,
    };
    for (size_t i = 0; i < p->peer_count; i++)
        s.peers[i] = (struct mb_paxos_peer){.number = p->peers[i].number,
                                            .tip = p->peers[i].tip,
                                            .round_trip_ms = p->peers[i].round_trip,
                                            .heard_ms = p->peers[i].heard_ms};
    if (p->stage == LEADING) {
        /* A majority answered heartbeats sent at or after this time: none of them lets another be
         * elected within an election timeout of it. */
        int64_t acked[PEERS_MAX + 1];
        size_t count = 0;
        const struct mb_paxos_config *c = &p->configs[0];
        for (size_t i = 0; i < p->peer_count; i++)
            if (config_has(c, p->peers[i].number))
                acked[count++] = p->peers[i].acked_ms;
        for (size_t i = 1; i < count; i++) /* descending; at most eight */
            for (size_t k = i; k > 0 && acked[k] > acked[k - 1]; k--) {
                int64_t t = acked[k];
                acked[k] = acked[k - 1];
                acked[k - 1] = t;
            }
        size_t needed = quorum(c) - config_has(c, p->options.self);
        s.lease_until_ms = needed == 0      ? NEVER
                           : needed > count ? 0
                                            : acked[needed - 1] + s.election_ms;
    }
    return s;
}
