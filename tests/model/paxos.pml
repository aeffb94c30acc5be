/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Multi-Paxos as src/paxos runs it, for spin to search exhaustively: ballots of (round, replica, incarnation),
 * promises and acceptances persisted before they are answered, restarts that lose what was not persisted, learning
 * by a majority of equal (ballot, value), and one change of members effective WINDOW slots later.
 * tests/model/check runs it and says what it covered.
 *
 * What keeps the search small, and why nothing is lost by it:
 * - Messages are never taken from the network: what was sent can arrive late, twice, in any order, or never.
 * - What can have no effect any more is forgotten (tidy): promises for a ballot that its owner has left, accepts below
 *   everybody's promises. So are prepares of ballots left: to promise one could only forbid.
 * - A proposer uses the smallest quorums only: the highest vote in a larger one is the highest in one of these, too.
 *   And further votes for what has been chosen.
 * - Once something is persisted, it is answered at once: an answer that is lost is one that nobody uses.
 * - When no restart is left, persisting happens at once: what is not yet answered is as if it had not yet arrived.
 * - What has been chosen is known to whoever uses it: who has not heard of it yet waits, and may do so anyhow.
 * - Members change completely, not by one: all of OLD answer for the first WINDOW slots, NEW for those after, and with
 *   the defaults some of their majorities are disjoint. Changes one at a time are a gentler case.
 */
#define N 3
#ifndef ROUNDS
#define ROUNDS 2
#endif
#ifndef RESTARTS
#define RESTARTS 1
#endif
#ifndef SLOTS
#define SLOTS 2
#endif
#ifndef WINDOW
#define WINDOW 1
#endif
#ifndef STANDING
#define STANDING 7 /* who may become a candidate, a bit for each replica; all answer */
#endif
#ifndef OLD
#define OLD 7
#endif
#ifndef NEW
#define NEW 4
#endif
#define PLAIN 1 /* the two values; the second one, when slot 0 takes it, changes the members */
#define CHANGE 2

#define LIVES (RESTARTS + 1)
#define BALLOTS (ROUNDS * N * LIVES)
#ifdef BUG_REUSE
#define BALLOT(round, r, life) (((round) * N + (r)) * LIVES + 1)
#else
#define BALLOT(round, r, life) (((round) * N + (r)) * LIVES + (life) + 1) /* 0 is none */
#endif
#define SUM(mask) (((mask) & 1) + (((mask) >> 1) & 1) + (((mask) >> 2) & 1))
#ifdef BUG_QUORUM
#define MAJORITY(members) ((SUM(members) + 1) / 2 - (SUM(members) == 3))
#else
#define MAJORITY(members) (SUM(members) / 2 + 1)
#endif
#define ENOUGH(who, members) (SUM((who) & (members)) >= MAJORITY(members))
#define AT(r, s) ((r) * SLOTS + (s))
#define KEY(b, s, v) (((b) * SLOTS + (s)) * 2 + (v) - 1)

/* The acceptor: in memory, and on disk. */
byte promised[N], disk_promised[N];
byte voted[N * SLOTS], disk_voted[N * SLOTS]; /* ballot */
byte value[N * SLOTS], disk_value[N * SLOTS];
/* The proposer, in memory but for its incarnation. */
byte life[N], ballot[N], promises[N];
byte told_ballot[N * N * SLOTS], told_value[N * N * SLOTS]; /* what the promises said */
bit proposed[N * SLOTS];
/* The network: accepts sent, and who answered Accepted to everyone. */
bit accept[(BALLOTS + 1) * SLOTS * 2];
byte accepted[(BALLOTS + 1) * SLOTS * 2];
/* What was ever learned by anyone, and the restarts there were. */
byte chosen[SLOTS];
byte restarts;
hidden byte i, j, k, best, pick; /* of use within one step alone */

/* The members that govern slot s, and whether that is known. */
#define KNOWN(s) ((s) < WINDOW || chosen[0] != 0)
#define MEMBERS(s) (((s) >= WINDOW && chosen[0] == CHANGE) -> NEW : OLD)
/* A leader's phase 1 counts for a slot by the members of that slot. */
#ifdef BUG_PHASE1
#define ELECTORS(s) OLD
#else
#define ELECTORS(s) MEMBERS(s)
#endif
#define LAST_LIFE (restarts == RESTARTS)

/* A vote counts for whoever learns by the members of the slot, and by equal (ballot, value). */
inline count(s, b, v)
{
    if
    :: KNOWN(s) && ENOUGH(accepted[KEY(b, s, v)], MEMBERS(s)) ->
        assert(chosen[s] == 0 || chosen[s] == v);
        chosen[s] = v
    :: else
    fi
#ifdef BUG_WINDOW /* who has not heard of the change counts by the old members */
    if
    :: ENOUGH(accepted[KEY(b, s, v)], OLD) ->
        assert(chosen[s] == 0 || chosen[s] == v);
        chosen[s] = v
    :: else
    fi
#endif
}

#ifdef BUG_REUSE
#define ASKED(o) (ballot[o] != 0)
#else
#define ASKED(o) (ballot[o] != 0 && disk_promised[o] >= ballot[o])
#endif

/* Answer whoever asked for what r has promised, and tell everyone what it has accepted. */
inline answer(r)
{
    for (j : 0 .. N - 1) {
        if
        :: ASKED(j) && promised[r] == ballot[j] && !((promises[j] >> r) & 1) ->
            promises[j] = promises[j] | (1 << r);
            for (i : 0 .. SLOTS - 1) {
                told_ballot[AT(j * N + r, i)] = voted[AT(r, i)];
                told_value[AT(j * N + r, i)] = value[AT(r, i)]
            }
        :: else
        fi
    }
    for (i : 0 .. SLOTS - 1) {
        if
        :: voted[AT(r, i)] != 0 && value[AT(r, i)] != chosen[i] ->
            k = KEY(voted[AT(r, i)], i, value[AT(r, i)]);
            accepted[k] = accepted[k] | (1 << r);
            count(i, voted[AT(r, i)], value[AT(r, i)])
        :: else
        fi
    }
}

inline persist(r)
{
    disk_promised[r] = promised[r];
    for (i : 0 .. SLOTS - 1) {
        disk_voted[AT(r, i)] = voted[AT(r, i)];
        disk_value[AT(r, i)] = value[AT(r, i)]
    }
    answer(r);
    tidy()
}

inline settle(r)
{
    if
    :: LAST_LIFE -> persist(r)
    :: else ->
#ifdef BUG_PERSIST
        answer(r)
#else
        skip
#endif
    fi
}

inline forget_answers(o, s)
{
    for (j : 0 .. N - 1) {
        told_ballot[AT(o * N + j, s)] = 0;
        told_value[AT(o * N + j, s)] = 0
    }
}

/* Forget what can have no effect any more. */
inline tidy()
{
    best = disk_promised[0];
    for (j : 1 .. N - 1) {
        if
        :: disk_promised[j] < best -> best = disk_promised[j]
        :: else
        fi
    }
    for (k : 0 .. (BALLOTS + 1) * SLOTS * 2 - 1) {
        if
        :: k < best * SLOTS * 2 || accepted[k] == 7 -> accept[k] = 0; accepted[k] = 0
        :: else
        fi
    }
    for (i : 0 .. SLOTS - 1) {
        for (j : 1 .. BALLOTS) {
            if
            :: chosen[i] != 0 -> accepted[KEY(j, i, chosen[i])] = 0
            :: else
            fi
        }
    }
}

inline leave(r)
{
    ballot[r] = 0;
    promises[r] = 0;
    for (i : 0 .. SLOTS - 1) {
        proposed[AT(r, i)] = 0;
        forget_answers(r, i)
    }
}

inline stand(r)
{
    best = 0;
    for (i : 0 .. ROUNDS - 1) {
        if
        :: best == 0 && BALLOT(i, r, life[r]) > promised[r] -> best = BALLOT(i, r, life[r])
        :: else
        fi
    }
    leave(r);
    ballot[r] = best;
    promised[r] = best;
    settle(r)
}

/*
 * The value of the highest vote that the quorum told of for slot s; if there is none, its own, which differs from that
 * of its neighbour, and from that of its former life.
 */
inline propose(r, s, quorum)
{
    best = 0;
    pick = ((r + s + life[r]) % 2 -> PLAIN : CHANGE);
    for (i : 0 .. N - 1) {
        if
        :: ((quorum >> i) & 1) && told_ballot[AT(r * N + i, s)] > best ->
            best = told_ballot[AT(r * N + i, s)];
            pick = told_value[AT(r * N + i, s)]
        :: else
        fi
    }
    accept[KEY(ballot[r], s, pick)] = 1;
    proposed[AT(r, s)] = 1;
    forget_answers(r, s)
}

/* A restart: what was not persisted is lost, and so is all that only memory held. */
inline restart(r)
{
    restarts++;
#ifdef BUG_FORGET
    disk_promised[r] = 0;
#endif
    promised[r] = disk_promised[r];
    for (i : 0 .. SLOTS - 1) {
        voted[AT(r, i)] = disk_voted[AT(r, i)];
        value[AT(r, i)] = disk_value[AT(r, i)]
    }
    leave(r);
    life[r]++;
    if /* the others persist at once from now on */
    :: LAST_LIFE -> persist(0); persist(1); persist(2)
    :: else
    fi
}

#define PREPARE(r, o)                                                                                                  \
    :: d_step { ASKED(o) && ballot[o] >= promised[r] && !((promises[o] >> r) & 1) ->                                   \
        promised[r] = ballot[o]; settle(r); i = 0 }

#define MAY_PROPOSE(r, s, quorum)                                                                                      \
    (ballot[r] != 0 && !proposed[AT(r, s)] && KNOWN(s) && (promises[r] & ELECTORS(s) & quorum) == quorum &&            \
     SUM(quorum) == MAJORITY(ELECTORS(s)))
#define PROPOSE(r, s, quorum)                                                                                          \
    :: d_step {                                                                                                        \
        MAY_PROPOSE(r, s, quorum) ->                                                                                   \
        propose(r, s, quorum); i = 0                                                                                   \
    }
#define PROPOSES(r, s)                                                                                                 \
    PROPOSE(r, s, 1)                                                                                                   \
    PROPOSE(r, s, 2)                                                                                                   \
    PROPOSE(r, s, 3)                                                                                                   \
    PROPOSE(r, s, 4)                                                                                                   \
    PROPOSE(r, s, 5)                                                                                                   \
    PROPOSE(r, s, 6)

#define ACCEPT(r, s, b, v)                                                                                             \
    :: d_step { accept[KEY(b, s, v)] && b >= promised[r] && !(voted[AT(r, s)] == b && value[AT(r, s)] == v) ->         \
        promised[r] = b; voted[AT(r, s)] = b; value[AT(r, s)] = v; settle(r); i = 0 }
#define ACCEPTS(r, s, b)                                                                                               \
    ACCEPT(r, s, b, PLAIN)                                                                                             \
    ACCEPT(r, s, b, CHANGE)
#define UNSAVED_AT(r, s) (voted[AT(r, s)] != disk_voted[AT(r, s)] || value[AT(r, s)] != disk_value[AT(r, s)])
#if SLOTS > 2
#define ANY_SLOT(b) ACCEPTS(_pid, 0, b) ACCEPTS(_pid, 1, b) ACCEPTS(_pid, 2, b)
#define UNSAVED(r) (UNSAVED_AT(r, 0) || UNSAVED_AT(r, 1) || UNSAVED_AT(r, 2))
#elif SLOTS > 1
#define ANY_SLOT(b) ACCEPTS(_pid, 0, b) ACCEPTS(_pid, 1, b)
#define UNSAVED(r) (UNSAVED_AT(r, 0) || UNSAVED_AT(r, 1))
#else
#define ANY_SLOT(b) ACCEPTS(_pid, 0, b)
#define UNSAVED(r) UNSAVED_AT(r, 0)
#endif

active [N] proctype replica()
{
end:
    do
    :: d_step { ((STANDING >> _pid) & 1) && BALLOT(ROUNDS - 1, _pid, life[_pid]) > promised[_pid] ->
        stand(_pid); i = 0 }
    PREPARE(_pid, 0)
    PREPARE(_pid, 1)
    PREPARE(_pid, 2)
    PROPOSES(_pid, 0)
#if SLOTS > 1
    PROPOSES(_pid, 1)
#endif
#if SLOTS > 2
    PROPOSES(_pid, 2)
#endif
    ANY_SLOT(1) ANY_SLOT(2) ANY_SLOT(3)
#if BALLOTS > 3
    ANY_SLOT(4) ANY_SLOT(5) ANY_SLOT(6)
#endif
#if BALLOTS > 6
    ANY_SLOT(7) ANY_SLOT(8) ANY_SLOT(9) ANY_SLOT(10) ANY_SLOT(11) ANY_SLOT(12)
#endif
#if BALLOTS > 12
    ANY_SLOT(13) ANY_SLOT(14) ANY_SLOT(15) ANY_SLOT(16) ANY_SLOT(17) ANY_SLOT(18)
#endif
    :: d_step { promised[_pid] != disk_promised[_pid] || UNSAVED(_pid) -> persist(_pid); i = 0 }
    :: d_step { !LAST_LIFE -> restart(_pid); i = 0 }
    od
}
