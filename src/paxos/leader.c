/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Phase 2, heartbeats, and knowing when to stop leading. */
#include "config.h"

#include "paxos/internal.h"

#define RESEND_SLOTS 8 /* at once */
#define STALLED      3 /* election timeouts */
#define SPACING_MS   5 /* between proposals, unless nothing flies or the round trip is shorter */

int64_t heartbeat_interval(const struct mb_paxos *p)
{
    int64_t most = election_timeout(p) / 4, t = round_trip(p) / 2;
    t = t < p->options.heartbeat_min_ms ? p->options.heartbeat_min_ms : t;
    return t < most ? t : most;
}

void heartbeat(struct mb_paxos *p)
{
    for (size_t i = 0; i < p->peer_count; i++) {
        struct peer *q = &p->peers[i];
        struct mb_paxos_message *m = tell(p, MB_PAXOS_HEARTBEAT, q->number, 0);
        m->ballot = p->own;
        m->id = p->read_round;
        m->sent_ms = p->now;
        m->echo_ms = q->their_ms;
        m->held_ms = q->their_ms > 0 ? (uint32_t)(p->now - q->their_at) : 0;
        q->their_ms = 0;
    }
    p->heartbeat_at = p->now + heartbeat_interval(p);
}

void on_heartbeat(struct mb_paxos *p, struct peer *from, const struct mb_paxos_message *m)
{
    if (m->ballot.replica != from->number)
        return;
    if (mb_ballot_compare(&m->ballot, &p->promised) < 0) {
        tell(p, MB_PAXOS_REFUSAL, from->number, p->promise_ticket)->ballot = p->promised;
        return;
    }
    heard_leader(p, from->number);
    struct mb_paxos_message *ack = tell(p, MB_PAXOS_HEARTBEAT_ACK, from->number, 0);
    ack->ballot = m->ballot;
    ack->id = m->id;
    ack->sent_ms = p->now;
    ack->echo_ms = m->sent_ms;
    from->their_ms = 0;
}

void on_heartbeat_ack(struct mb_paxos *p, struct peer *from, const struct mb_paxos_message *m)
{
    if (p->stage != LEADING || mb_ballot_compare(&m->ballot, &p->own) != 0)
        return;
    if (m->echo_ms > from->acked_ms)
        from->acked_ms = m->echo_ms;
    if (m->id > from->read_round)
        from->read_round = m->id;
}

void begin_to_lead(struct mb_paxos *p)
{
    p->stage = LEADING;
    p->leader = p->options.self;
    p->led_ms = p->moved_ms = p->now;
    p->election_at = NEVER;
    p->forced = false;
    p->next_slot = (p->learn_to > p->delivered ? p->learn_to : p->delivered) + 1;
    p->proposed_ms = p->now - round_trip(p);
    p->proposed_ticket = 0;
    p->learn_at = p->now;
    p->learn_mark = UINT64_MAX;
    for (size_t i = 0; i < p->peer_count; i++) {
        p->peers[i].acked_ms = p->now - election_timeout(p) / 2;
        p->peers[i].read_round = 0;
    }
    reads_fail(p);
    role_changed(p);
    heartbeat(p);
}

/* --- Phase 2. --- */

static void ask_to_accept(struct mb_paxos *p, struct entry *e, uint32_t to)
{
    struct mb_paxos_message *m = tell(p, MB_PAXOS_ACCEPT, to, 0);
    struct mb_paxos_item *item = one_item(p, m);
    m->ballot = item->ballot = p->own;
    m->slot = item->slot = e->slot;
    item->value = held_bytes(&e->accepted);
}

void propose(struct mb_paxos *p, uint64_t slot, struct mb_bytes value)
{
    struct entry *e = entry_at(p, slot, true);
    if (slot == p->delivered + 1)
        p->moved_ms = p->now;
    accept_value(p, e, value);
    ask_to_accept(p, e, 0);
    e->sent_ms = p->proposed_ms = p->now;
    p->proposed_ticket = e->ticket;
    p->next_slot = slot + 1;
}

/* Whether a slot may be proposed at all (P3, P5). */
static bool may_propose(const struct mb_paxos *p, uint64_t slot)
{
    const struct mb_paxos_config *c = config_for(p, slot);
    return p->stage == LEADING && p->applied >= p->learn_to &&
#if MB_PAXOS_BUG != 5
           slot <= p->applied + MB_PAXOS_WINDOW && c != NULL && c->version <= p->prepared &&
#endif
           config_has(c, p->options.self);
}

/* While others fly. One window a round trip, and never a full stop; but where round trips are
 * short, what each slot costs everybody is more than the wait: batches grow instead. */
int64_t proposal_at(const struct mb_paxos *p)
{
    int64_t trip = round_trip(p), least = trip < SPACING_MS ? trip + 1 : SPACING_MS;
    return p->proposed_ms + (trip / MB_PAXOS_WINDOW > least ? trip / MB_PAXOS_WINDOW : least);
}

uint64_t mb_paxos_wants(const struct mb_paxos *p, bool *must)
{
    uint64_t slot = p->next_slot, flying = 0;
    size_t bytes = 0;
    if (must != NULL)
        *must = false;
    if (!may_propose(p, slot))
        return 0;
    if (slot <= p->found_to || p->configs[p->config_count - 1].from > slot) {
        if (must != NULL)
            *must = true;
        return slot;
    }
    if (p->proposed_ticket != 0)
        return 0; /* what comes while the disk works makes the next batch */
    for (uint64_t s = p->delivered + 1; s < slot; s++, flying++) {
        const struct entry *e = p->entries[s % MB_PAXOS_AHEAD_MAX];
        bytes += e != NULL && e->slot == s ? e->accepted.len : 0;
    }
    if (flying > 0 && (bytes >= p->options.flight_bytes || p->now < proposal_at(p)))
        return 0;
    return slot;
}

/* The gaps and the values that earlier leaders left, lowest slot first; a gap waits for a no-op. */
static void propose_found(struct mb_paxos *p)
{
    while (p->next_slot <= p->found_to && may_propose(p, p->next_slot)) {
        const struct entry *e = entry_at(p, p->next_slot, false);
        const struct held *best = NULL;
        if (e != NULL && e->accepted.data != NULL)
            best = &e->accepted;
        if (e != NULL && e->other.data != NULL &&
            (e->chosen || best == NULL || mb_ballot_compare(&e->other.ballot, &best->ballot) > 0))
            best = &e->other;
        if (best == NULL)
            return;
        propose(p, p->next_slot, held_bytes(best));
    }
}

static bool voted(const struct entry *e, uint32_t number, const struct mb_ballot *ballot)
{
    for (size_t i = 0; i < e->vote_count; i++)
        if (e->votes[i].number == number)
            return mb_ballot_compare(&e->votes[i].ballot, ballot) == 0;
    return false;
}

/* The oldest proposals, to those that have not answered for long. */
static void resend(struct mb_paxos *p)
{
    int64_t patience = 3 * round_trip(p) + 2 * p->options.heartbeat_min_ms;
    for (uint64_t s = p->delivered + 1; s < p->next_slot && s <= p->delivered + RESEND_SLOTS; s++) {
        struct entry *e = entry_at(p, s, false);
        if (e == NULL || e->accepted.data == NULL || p->now < e->sent_ms + patience ||
            mb_ballot_compare(&e->accepted.ballot, &p->own) != 0)
            continue;
        e->sent_ms = p->now;
        for (size_t i = 0; i < p->peer_count; i++)
            if (!voted(e, p->peers[i].number, &p->own))
                ask_to_accept(p, e, p->peers[i].number);
    }
}

static bool alive(const struct mb_paxos *p, const struct peer *q)
{
    return q->acked_ms > p->now - election_timeout(p);
}

void hand_over(struct mb_paxos *p)
{
    const struct peer *best = NULL;
    const struct mb_paxos_config *c = config_for(p, p->next_slot);
    for (size_t i = 0; i < p->peer_count; i++)
        if (config_has(c, p->peers[i].number) && alive(p, &p->peers[i]) &&
            (best == NULL || p->peers[i].tip > best->tip))
            best = &p->peers[i];
    if (best != NULL)
        tell(p, MB_PAXOS_HANDOVER, best->number, 0)->ballot = p->own;
    follow(p, 0);
}

/* A majority hears us and accepts nothing of ours, our clock being wrong perhaps: another may do
 * better. */
static bool stalled(const struct mb_paxos *p)
{
    return p->peer_count > 0 && p->next_slot > p->delivered + 1 &&
           p->now >= p->moved_ms + STALLED * election_timeout(p);
}

void lead(struct mb_paxos *p)
{
    if (p->stage != LEADING)
        return;
    const struct mb_paxos_config *newest = &p->configs[p->config_count - 1];
    if (!majority(p, &p->configs[0], true, alive)) {
        follow(p, 0); /* check-quorum: somebody may have been elected */
        return;
    }
    if (stalled(p)) {
        hand_over(p);
        return;
    }
    if (newest->from <= p->applied + 1 && !config_has(newest, p->options.self)) {
        hand_over(p);
        return;
    }
    if (preparing_again(p))
        promised_self(p); /* those that have not answered may vote no more */
    if (preparing_again(p) && p->now >= p->ask_at)
        ask_promises(p, 0);
    if (p->next_slot <= p->delivered)
        p->next_slot = p->delivered + 1; /* what an earlier leader proposed was chosen after all */
    propose_found(p);
    if (p->now >= p->heartbeat_at) {
        heartbeat(p);
        resend(p);
    }
}
