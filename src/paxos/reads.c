/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Linearizable reads without a slot of their own (Ongaro 2014, 6.4): the leader notes what may have
 * been chosen when the read came, and a majority confirms afterwards that it still leads. Many
 * reads share one confirmation.
 */
#include "config.h"

#include "paxos/internal.h"

static void answer(struct mb_paxos *p, const struct read *r)
{
    if (r->from == 0) {
        effect(p, MB_EFFECT_READ)->id = r->id;
        return;
    }
    struct mb_paxos_message *m = tell(p, MB_PAXOS_READ_ANSWER, r->from, 0);
    m->id = r->id;
    m->slot = r->slot;
}

void read_begin(struct mb_paxos *p, uint32_t from, uint64_t id)
{
    bool leads = p->stage == LEADING;
    if ((!leads && (from != 0 || p->leader == 0)) || p->read_count == READS_MAX) {
        if (from == 0)
            effect(p, MB_EFFECT_NO_READ)->id = id;
        return;
    }
    if (p->reads == NULL)
        p->reads = mb_calloc(READS_MAX, sizeof *p->reads);
    struct read *r = &p->reads[p->read_count++];
    *r = (struct read){.id = id, .from = from, .until_ms = p->now + election_timeout(p)};
    if (!leads) {
        struct mb_paxos_message *m = tell(p, MB_PAXOS_READ, p->leader, 0);
        m->id = id;
        return;
    }
    /* What has been chosen was found in phase 1, or proposed since: followers may know before us.
     */
    r->slot = p->next_slot - 1 > p->found_to ? p->next_slot - 1 : p->found_to;
    r->slot = p->learn_to > r->slot ? p->learn_to : r->slot;
    r->round = p->read_round + 1;
}

void read_answered(struct mb_paxos *p, const struct mb_paxos_message *m)
{
    for (size_t i = 0; i < p->read_count; i++)
        if (p->reads[i].from == 0 && p->reads[i].round == 0 && p->reads[i].id == m->id) {
            p->reads[i].confirmed = true;
            p->reads[i].slot = m->slot;
        }
}

static bool confirms(const struct mb_paxos *p, const struct peer *q)
{
    return q->read_round >= p->read_round;
}

static void drop(struct mb_paxos *p, size_t i)
{
    p->reads[i] = p->reads[--p->read_count];
}

void reads_settle(struct mb_paxos *p)
{
    bool whole = p->stage == LEADING && majority(p, &p->configs[0], true, confirms), waits = false;
    for (size_t i = 0; i < p->read_count;) {
        struct read *r = &p->reads[i];
        r->confirmed |= r->round != 0 && r->round <= p->read_round && whole;
        waits |= r->round > p->read_round;
        if (r->confirmed && (p->applied >= r->slot || r->from != 0)) {
            answer(p, r);
            drop(p, i);
        } else if (p->now >= r->until_ms) {
            if (r->from == 0)
                effect(p, MB_EFFECT_NO_READ)->id = r->id;
            drop(p, i);
        } else {
            i++;
        }
    }
    if (!waits || !whole)
        return; /* a round is under way: they share the next one */
    p->read_round++;
    heartbeat(p);
    if (p->peer_count == 0)
        reads_settle(p);
}

void reads_fail(struct mb_paxos *p)
{
    for (size_t i = 0; i < p->read_count; i++)
        if (p->reads[i].from == 0)
            effect(p, MB_EFFECT_NO_READ)->id = p->reads[i].id;
    p->read_count = 0;
}

int64_t reads_until(const struct mb_paxos *p)
{
    int64_t at = NEVER;
    for (size_t i = 0; i < p->read_count; i++)
        if (p->reads[i].until_ms < at)
            at = p->reads[i].until_ms;
    return at;
}
