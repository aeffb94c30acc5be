/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who leads: pre-vote, phase 1, stepping aside. Safety needs none of it but prepare() and
 * on_promise() (P2, P3 of paxos.h); the rest keeps one leader where one is enough.
 */
#include "config.h"

#include "paxos/internal.h"

static void ask_again_later(struct mb_paxos *p)
{
    p->ask_at = p->now + 2 * round_trip(p) + p->options.heartbeat_min_ms;
}

static void arm(struct mb_paxos *p)
{
    int64_t timeout = election_timeout(p);
    p->election_at = p->stopping || !member(p)
                         ? NEVER
                         : p->now + timeout + (int64_t)(p->random % (uint64_t)timeout);
}

/* The leader was heard: which does not put off that a suspect is stood against. */
static void rearm(struct mb_paxos *p)
{
    int64_t due = p->election_at;
    arm(p);
    if (p->now < p->suspect_until && due < p->election_at && p->election_at != NEVER)
        p->election_at = due;
}

void follow(struct mb_paxos *p, uint32_t leader)
{
    bool changed = p->stage == LEADING || p->leader != leader;
    p->stage = FOLLOWING;
    p->leader = leader;
    p->leader_heard_ms = leader == 0 ? NEVER : p->now;
    p->forced = false;
    if (leader != 0 && leader != p->suspect)
        p->suspect_until = p->now;
    rearm(p);
    if (changed) {
        reads_fail(p);
        role_changed(p);
    }
}

void heard_leader(struct mb_paxos *p, uint32_t leader)
{
    if (p->stage != FOLLOWING || p->leader != leader) {
        follow(p, leader);
        return;
    }
    p->leader_heard_ms = p->now;
    rearm(p);
}

/* --- Pre-vote (Ongaro 2014, 9.6): a replica that cannot win disturbs nobody. --- */

static bool granted(const struct mb_paxos *p, const struct peer *q)
{
    (void)p;
    return q->granted;
}

static uint64_t next_round(const struct mb_paxos *p)
{
    return (p->seen_round > p->promised.round ? p->seen_round : p->promised.round) + 1;
}

/* One that votes only later could not propose yet: it would be a leader that stands still. */
static bool eligible(const struct mb_paxos *p)
{
    return !p->stopping && !p->abstains && p->faulty_to == 0 &&
           config_has(&p->configs[0], p->options.self);
}

/* Those that have not granted it: one that still hears the leader will not for long, and others may
 * never have heard the question. */
static void ask_grants(struct mb_paxos *p)
{
    for (size_t i = 0; i < p->peer_count; i++) {
        if (p->peers[i].granted)
            continue;
        struct mb_paxos_message *m = tell(p, MB_PAXOS_PREVOTE, p->peers[i].number, 0);
        m->ballot.round = p->own.round;
        m->ballot.replica = p->options.self;
        m->sent_ms = p->now; /* so that timeouts fit the round trip before anybody has led */
    }
    ask_again_later(p);
}

void stand(struct mb_paxos *p, bool forced)
{
    if (!eligible(p))
        return;
    p->forced = forced;
    for (size_t i = 0; i < p->peer_count; i++)
        p->peers[i].granted = false;
    if (forced || majority(p, &p->configs[0], true, granted)) {
        prepare(p);
        return;
    }
    bool led = p->stage == LEADING;
    if (p->stage != PREVOTING || p->own.round <= p->promised.round)
        p->own.round = next_round(p); /* else grants that are on their way still count */
    p->stage = PREVOTING;
    arm(p);
    ask_grants(p);
    if (led)
        role_changed(p);
}

void on_prevote(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m)
{
    bool unwilling = !member(p) || p->abstains || sticky(p, from);
    if (unwilling && m->tip >= p->applied)
        return;
    /* So that it knows what to ask for; or that it is behind, and may not know our leader yet, or
     * that it votes alone by now. */
    if (unwilling || m->ballot.round <= p->promised.round) {
        tell(p, MB_PAXOS_REFUSAL, from, p->promise_ticket)->ballot = p->promised;
        return;
    }
    struct mb_paxos_message *grant = tell(p, MB_PAXOS_PREVOTE_GRANT, from, 0);
    grant->ballot = m->ballot;
    grant->echo_ms = m->sent_ms;
}

void on_grant(struct mb_paxos *p, struct peer *from, const struct mb_paxos_message *m)
{
    if (p->stage != PREVOTING || m->ballot.replica != p->options.self ||
        m->ballot.round != p->own.round)
        return;
    from->granted = true;
    if (majority(p, &p->configs[0], true, granted))
        prepare(p);
}

/* --- Phase 1. --- */

static bool has_promised(const struct mb_paxos *p, const struct peer *q)
{
    (void)p;
    return q->promised;
}

static void expect_promises(struct mb_paxos *p)
{
    for (size_t i = 0; i < p->peer_count; i++) {
        p->peers[i].promised = false;
        p->peers[i].promise_next = p->applied + 1;
    }
}

/* To those that have not answered, from where their answer ended. */
void ask_promises(struct mb_paxos *p, uint64_t ticket)
{
    for (size_t i = 0; i < p->peer_count; i++) {
        if (p->peers[i].promised)
            continue;
        struct mb_paxos_message *m = tell(p, MB_PAXOS_PREPARE, p->peers[i].number, ticket);
        m->ballot = p->own;
        m->slot = p->peers[i].promise_next;
        m->forced = p->forced;
    }
    ask_again_later(p);
}

void prepare(struct mb_paxos *p)
{
    p->stage = PREPARING;
    p->leader = 0;
    p->elections++;
    p->own = (struct mb_ballot){
        .round = next_round(p), .replica = p->options.self, .incarnation = p->incarnation};
#if MB_PAXOS_BUG == 4
    p->own.incarnation = 0;
#endif
    p->promised = p->own;
    p->seen_round = p->own.round;
    p->learn_to = 0;
    p->prepared = 0;
    p->found_to = p->delivered;
    for (uint64_t slot = p->applied + 1; slot <= p->applied + MB_PAXOS_AHEAD_MAX; slot++) {
        const struct entry *e = entry_at(p, slot, false);
        if (e != NULL && (e->chosen || e->accepted.data != NULL))
            p->found_to = slot;
    }
    expect_promises(p);
    arm(p);
    p->promise_ticket = persist(p, NULL);
#if MB_PAXOS_BUG == 4
    p->promise_ticket = 0;
#endif
    ask_promises(p, p->promise_ticket);
}

static void count_promises(struct mb_paxos *p)
{
    bool self = p->promise_ticket == 0;
    for (size_t i = 0; i < p->config_count; i++) {
        if (!majority(p, &p->configs[i], self, has_promised))
            return;
        if (p->stage == PREPARING)
            begin_to_lead(p);
        p->prepared = p->configs[i].version;
    }
}

void promised_self(struct mb_paxos *p)
{
    count_promises(p);
}

bool preparing_again(const struct mb_paxos *p)
{
    return p->stage == LEADING && p->prepared < p->configs[p->config_count - 1].version;
}

void prepare_again(struct mb_paxos *p)
{
    expect_promises(p);
    ask_promises(p, 0);
    count_promises(p);
}

/* What another accepted: the highest ballot's value is the one to propose (P3). False: it is of a
 * slot too far ahead to be kept, or there is no room for it. */
static bool find(struct mb_paxos *p, const struct mb_paxos_item *item)
{
    static const struct mb_ballot none = {0};
    if (item->slot <= p->applied)
        return true;
    struct entry *e = entry_at(p, item->slot, true);
    if (e == NULL)
        return false;
    bool is_chosen = mb_ballot_compare(&item->ballot, &none) == 0;
    bool better = !e->chosen && (is_chosen || e->other.data == NULL ||
                                 mb_ballot_compare(&item->ballot, &e->other.ballot) > 0);
    if (better &&
        !room_for(p, e->slot, p->kept_promised, e->promised ? e->other.len : 0, item->value.len))
        return false;
    if (item->slot > p->found_to)
        p->found_to = item->slot;
    if (!better)
        return true;
    hold_other(p, e, true, &item->ballot, item->value);
    e->chosen = is_chosen;
    return true;
}

void on_promise(struct mb_paxos *p, struct peer *from, const struct mb_paxos_message *m)
{
    if ((p->stage != PREPARING && !preparing_again(p)) ||
        mb_ballot_compare(&m->ballot, &p->own) != 0 || from->promised ||
        m->slot != from->promise_next)
        return;
    bool kept = true;
    for (size_t i = 0; i < m->count; i++)
        kept = find(p, &m->items[i]) && kept;
    if (m->tip > p->applied + MB_PAXOS_AHEAD_MAX / 2) {
        follow(p, 0); /* too far behind to lead: learn first */
        return;
    }
    if (!kept)
        return; /* without it: others may promise what can be kept */
    if (m->tip > p->learn_to)
        p->learn_to = m->tip;
    if (m->upto != UINT64_MAX) {
        from->promise_next = m->upto + 1;
        struct mb_paxos_message *more = tell(p, MB_PAXOS_PREPARE, from->number, 0);
        more->ballot = p->own;
        more->slot = from->promise_next;
        more->forced = p->forced;
        return;
    }
    from->promised = true;
    count_promises(p);
}

void on_refusal(struct mb_paxos *p, const struct mb_paxos_message *m)
{
    if (p->stage == PREVOTING && m->ballot.round >= p->own.round) {
        p->own.round = 0;
        stand(p, false); /* in a round that may be granted */
        return;
    }
    if ((p->stage != PREPARING && p->stage != LEADING) ||
        mb_ballot_compare(&m->ballot, &p->own) <= 0)
        return;
    if (p->stage == LEADING)
        stand(p, false); /* those who follow us grant it, unless they follow another by now */
    else
        follow(p, 0);
}

void on_handover(struct mb_paxos *p, uint32_t from)
{
    if (p->stage == FOLLOWING && p->leader == from)
        stand(p, true);
}

void elect(struct mb_paxos *p)
{
    if (p->stage == LEADING)
        return;
    if (p->stage == PREVOTING && p->now >= p->ask_at)
        ask_grants(p);
    if (p->stage == PREPARING && p->now >= p->ask_at)
        ask_promises(p, p->promise_ticket);
    if (p->election_at == NEVER && !p->stopping && member(p))
        arm(p);
    if (p->now < p->election_at)
        return;
    if (eligible(p))
        stand(p, false);
    else
        arm(p);
}
