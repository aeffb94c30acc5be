/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Promises and acceptances: P1, P2 and P6 of paxos.h. */
#include "config.h"

#include "paxos/internal.h"

#define PROMISE_BYTES (2u << 20) /* of values in one message, after the first */

bool sticky(const struct mb_paxos *p, uint32_t from)
{
    if (p->stage == LEADING)
        return true;
    return p->stage == FOLLOWING && p->now >= p->suspect_until && p->leader != 0 &&
           p->leader != from && p->leader_heard_ms != NEVER &&
           p->now - p->leader_heard_ms < election_timeout(p);
}

static void refuse(struct mb_paxos *p, uint32_t to)
{
    tell(p, MB_PAXOS_REFUSAL, to, p->promise_ticket)->ballot = p->promised;
}

/* What was accepted, or is known to be chosen, in slots from `from` on: as much as fits. */
static void promise(struct mb_paxos *p, uint32_t to, uint64_t from)
{
    struct mb_paxos_item *items = mb_calloc(MB_PAXOS_AHEAD_MAX, sizeof *items);
    size_t count = 0, bytes = 0;
    uint64_t slot = from > p->applied ? from : p->applied + 1, upto = UINT64_MAX;
    bury(p, items);
    for (; slot <= p->applied + MB_PAXOS_AHEAD_MAX; slot++) {
        const struct entry *e = entry_at(p, slot, false);
        if (e == NULL || (!e->chosen && e->accepted.data == NULL))
            continue;
        const struct held *h = e->chosen ? &e->other : &e->accepted;
        if (count > 0 && bytes + h->len > PROMISE_BYTES) {
            upto = slot - 1;
            break;
        }
        items[count++] =
            (struct mb_paxos_item){.slot = slot,
                                   .ballot = e->chosen ? (struct mb_ballot){0} : h->ballot,
                                   .value = held_bytes(h)};
        bytes += h->len;
    }
    /* Earlier acceptances that are still on their way to the disk are told too: wait for all. */
    struct mb_paxos_message *m = tell(p, MB_PAXOS_PROMISE, to, p->ticket);
    m->ballot = p->promised;
    m->slot = from;
    m->upto = upto;
    m->items = items;
    m->count = count;
}

void on_prepare(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m)
{
    int order = mb_ballot_compare(&m->ballot, &p->promised);
    if (m->ballot.replica != from || !member(p))
        return;
    if (order < 0) {
        refuse(p, from);
        return;
    }
    if (p->abstains || m->slot <= p->faulty_to || (order > 0 && !m->forced && sticky(p, from)))
        return;
    if (order > 0) {
        if (p->stage != FOLLOWING || p->leader != from)
            follow(p, 0);
        p->promised = m->ballot;
        p->promise_ticket = persist(p, NULL);
    }
    promise(p, from, m->slot);
}

/* Accept in the ballot that is promised, and tell everyone once it is durable. */
void accept_value(struct mb_paxos *p, struct entry *e, struct mb_bytes value)
{
    hold(p, &e->accepted, &p->kept, &p->promised, value);
    e->ticket = persist(p, e);
#if MB_PAXOS_BUG == 1
    e->ticket = 0;
    vote(e, p->options.self, &e->accepted.ballot, &e->accepted.hash);
#endif
    struct mb_paxos_message *m = tell(p, MB_PAXOS_ACCEPTED, 0, e->ticket);
    m->ballot = e->accepted.ballot;
    m->slot = e->slot;
    m->hash = e->accepted.hash;
}

void on_accept(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m)
{
    int order = mb_ballot_compare(&m->ballot, &p->promised);
    if (m->ballot.replica != from || m->count != 1 || m->items[0].slot != m->slot)
        return;
    if (order < 0) {
        refuse(p, from);
        return;
    }
    heard_leader(p, from);
    struct entry *e = entry_at(p, m->slot, true);
    if (e == NULL || !member(p) || p->abstains)
        return;
    if (e->accepted.data == NULL || mb_ballot_compare(&e->accepted.ballot, &m->ballot) != 0) {
        if (!room_for(p, m->slot, p->kept, e->accepted.len, m->items[0].value.len))
            return;
        p->promised = m->ballot;
        accept_value(p, e, m->items[0].value);
        return;
    }
    /* Once more: whoever asked has not heard the answer. */
    struct mb_paxos_message *again = tell(p, MB_PAXOS_ACCEPTED, from, e->ticket);
    again->ballot = e->accepted.ballot;
    again->slot = e->slot;
    again->hash = e->accepted.hash;
}

void on_persisted(struct mb_paxos *p, uint64_t ticket)
{
    if (p->promise_ticket != 0 && p->promise_ticket <= ticket) {
        p->promise_ticket = 0;
        if (p->stage == PREPARING && mb_ballot_compare(&p->own, &p->promised) == 0)
            promised_self(p);
    }
    if (p->proposed_ticket <= ticket)
        p->proposed_ticket = 0;
    for (uint64_t slot = p->applied + 1; slot <= p->applied + MB_PAXOS_AHEAD_MAX; slot++) {
        struct entry *e = entry_at(p, slot, false);
        if (e == NULL || e->ticket == 0 || e->ticket > ticket)
            continue;
        e->ticket = 0;
        vote(e, p->options.self, &e->accepted.ballot, &e->accepted.hash);
    }
}
