/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is chosen, in the order of slots (P4, P5 of paxos.h), and asking for what was missed. */
#include "config.h"

#include "paxos/internal.h"

#define LEARN_SLOTS 256 /* asked for at once */

void vote(struct entry *e, uint32_t number, const struct mb_ballot *ballot,
          const struct mb_hash *hash)
{
    struct vote *v = NULL;
    for (size_t i = 0; i < e->vote_count; i++)
        if (e->votes[i].number == number)
            v = &e->votes[i];
    if (v == NULL && e->vote_count < VOTES_MAX) {
        v = &e->votes[e->vote_count++];
        *v = (struct vote){.number = number};
    }
    if (v != NULL && mb_ballot_compare(ballot, &v->ballot) >= 0) {
        v->ballot = *ballot;
        v->hash = *hash;
    }
}

void on_accepted(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m)
{
    struct entry *e = entry_at(p, m->slot, true);
    if (e != NULL)
        vote(e, from, &m->ballot, &m->hash);
}

/* The hash that a majority of the slot's configuration has accepted in one ballot, or NULL. */
static const struct mb_hash *agreed(const struct mb_paxos *p, const struct entry *e)
{
    const struct mb_paxos_config *c = config_for(p, e->slot);
    for (size_t i = 0; c != NULL && i < e->vote_count; i++) {
        const struct vote *v = &e->votes[i];
        size_t count = 0;
        for (size_t k = 0; k < e->vote_count; k++)
            count += config_has(c, e->votes[k].number) &&
                     mb_ballot_compare(&e->votes[k].ballot, &v->ballot) == 0 &&
                     mb_hash_equal(&e->votes[k].hash, &v->hash);
        if (count >= quorum(c))
            return &v->hash;
    }
    return NULL;
}

/* What was chosen for the slot, if it is known and here: what we have counted ourselves is believed
 * before what somebody says. */
static const struct held *chosen(const struct mb_paxos *p, const struct entry *e)
{
    const struct mb_hash *hash = agreed(p, e);
    if (hash == NULL)
        return e->chosen ? &e->other : NULL;
    if (e->accepted.data != NULL && mb_hash_equal(hash, &e->accepted.hash))
        return &e->accepted;
    if (e->other.data != NULL && mb_hash_equal(hash, &e->other.hash))
        return &e->other;
    return NULL;
}

void deliver(struct mb_paxos *p)
{
    while (p->delivered < p->applied + MB_PAXOS_WINDOW) {
        const struct entry *e = entry_at(p, p->delivered + 1, false);
        const struct held *h = e == NULL ? NULL : chosen(p, e);
        if (h == NULL)
            return;
        struct mb_effect *out = effect(p, MB_EFFECT_CHOSEN);
        out->slot = ++p->delivered;
        p->moved_ms = p->now;
        out->value = held_bytes(h);
        out->message.hash = h->hash;
    }
}

/* Whether it is known already, or is not what a majority has accepted. */
static bool needless(const struct mb_paxos *p, const struct entry *e, struct mb_bytes value)
{
    const struct mb_hash *hash = agreed(p, e);
    if (hash == NULL || (e->chosen && mb_hash_equal(hash, &e->other.hash)))
        return e->chosen;
    struct mb_hash said = mb_sha256(value.data, value.len);
    return !mb_hash_equal(hash, &said);
}

void on_chosen(struct mb_paxos *p, const struct peer *from, const struct mb_paxos_message *m)
{
    static const struct mb_ballot none = {0};
    for (size_t i = 0; i < m->count; i++) {
        const struct mb_paxos_item *item = &m->items[i];
        struct entry *e = item->slot > from->asked_to ? NULL : entry_at(p, item->slot, true);
        if (e == NULL || needless(p, e, item->value) ||
            !room_for(p, e->slot, p->kept, e->promised ? 0 : e->other.len, item->value.len))
            continue;
        hold_other(p, e, false, &none, item->value);
        e->chosen = true;
    }
    if (p->learning) {
        p->learning = false;
        p->learn_at = p->now; /* more at once, if there is more */
        p->learn_mark = UINT64_MAX;
    }
}

void on_learn(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m)
{
    if (m->slot == 0 || m->slot > p->applied || m->upto < m->slot)
        return;
    struct mb_effect *e = effect(p, MB_EFFECT_SERVE);
    e->to = from;
    e->slot = m->slot;
    e->upto = m->upto < p->applied ? m->upto : p->applied;
}

/* A replica that is ahead, and one that was heard of late if there is any; of several, chance
 * decides. */
static struct peer *ahead(struct mb_paxos *p)
{
    struct peer *found = NULL;
    bool found_alive = false;
    uint64_t seen = 0;
    for (size_t i = 0; i < p->peer_count; i++) {
        struct peer *q = &p->peers[i];
        bool is_alive = q->heard_ms >= 0 && p->now - q->heard_ms < election_timeout(p);
        if (q->tip <= p->delivered || (found_alive && !is_alive))
            continue;
        seen = is_alive && !found_alive ? 1 : seen + 1;
        found_alive = is_alive;
        if (p->random % seen == 0)
            found = q;
    }
    return found;
}

/*
 * What others have applied comes to us as acceptances, normally: only if nothing has come for a
 * round trip is it asked for.
 */
void learn(struct mb_paxos *p)
{
    struct peer *q = ahead(p);
    int64_t patience = round_trip(p) + p->options.heartbeat_min_ms;
    if (q == NULL) {
        p->learn_at = NEVER;
        p->learning = false;
        return;
    }
    if (p->learn_at == NEVER) {
        p->learn_at = p->now + patience;
        p->learn_mark = p->delivered;
    }
    if (p->learn_at > p->now + 2 * patience)
        p->learn_at = p->now + 2 * patience; /* it was set when round trips seemed longer */
    if (p->now < p->learn_at || p->delivered > p->applied)
        return;
    if (p->delivered > p->learn_mark && p->learn_mark != UINT64_MAX) {
        /* it comes by itself */
        p->learn_at = p->now + patience;
        p->learn_mark = p->delivered;
        return;
    }
    struct mb_paxos_message *m = tell(p, MB_PAXOS_LEARN, q->number, 0);
    m->slot = p->delivered + 1;
    m->upto = q->tip < p->delivered + LEARN_SLOTS ? q->tip : p->delivered + LEARN_SLOTS;
    q->asked_to = m->upto;
    p->learning = true;
    p->learn_mark = p->delivered;
    p->learn_at = p->now + 2 * patience;
}
