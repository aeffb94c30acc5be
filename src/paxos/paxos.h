/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Multi-Paxos as one pure step: an event goes in, effects come out; time, randomness and what is
 * durable arrive inside events (Lamport, "Paxos Made Simple", 2001; van Renesse and Altinbuken,
 * "Paxos Made Moderately Complex", 2015; pre-vote and check-quorum: Ongaro, "Consensus", 2014, 9.6;
 * what a replica that lost part of its log may do: Alagappan et al., "Protocol-Aware Recovery for
 * Consensus-Based Storage", FAST '18).
 *
 * What holds at all times, and why (the simulator checks each after every step):
 * P1  A replica answers no ballot below one it has promised, across restarts: a promise is in a
 *     PERSIST, and what answers it names that PERSIST's ticket.
 * P2  A ballot belongs to one replica and one of its lives, and is persisted before it is used:
 *     so at most one value is ever proposed in one ballot and slot.
 * P3  A value is proposed in a ballot only after a majority has promised that ballot, in every
 *     configuration that may govern the slot; and it is the one accepted in the highest ballot that
 *     this majority knows for the slot, if there is any.
 * P4  A value is chosen for a slot when a majority of the configuration that governs the slot has
 *     durably accepted it in one ballot. Learners count equal hashes, so that a leader which tells
 *     replicas different things gets nothing chosen. What one replica says was chosen is believed
 *     where it was asked, and never against such a count.
 * P5  A slot is proposed only when the slot one window before it has been applied, and a
 *     configuration decided in slot s governs slots from s + window on: whoever proposes or counts
 *     votes for a slot knows its configuration. Configurations change by one replica at a time: any
 *     majority of one meets any majority of the next; for the next one phase 1 is done again all
 *     the same, before anything is proposed under it.
 * P6  A replica that may have lost acceptances up to slot f makes no promise that covers slots up
 *     to f, until it has applied f. It may accept: an acceptance says nothing about older ones.
 */
#ifndef MB_PAXOS_PAXOS_H
#define MB_PAXOS_PAXOS_H

#include "base/error.h"
#include "base/hash.h"

#define MB_PAXOS_REPLICAS_MAX 9
#define MB_PAXOS_WINDOW       64  /* slots */
#define MB_PAXOS_AHEAD_MAX    512 /* slots beyond the applied one of which anything is kept */
#define MB_PAXOS_VALUE_MAX    (2u << 20) /* bytes */

/* Ordered by round, then replica, then incarnation. All zero: none. */
struct mb_ballot {
    uint64_t round;
    uint32_t replica;
    uint64_t incarnation; /* counts the lives of the replica's process */
};
int mb_ballot_compare(const struct mb_ballot *a, const struct mb_ballot *b);

/* Who votes on slots >= from, until the next configuration's from. */
struct mb_paxos_config {
    uint64_t from, version;
    uint32_t members[MB_PAXOS_REPLICAS_MAX]; /* replicas' numbers, from 1, ascending */
    size_t count;
};

/* --- Messages (message.c has their bytes). --- */

enum mb_paxos_kind {
    MB_PAXOS_PREVOTE = 1,   /* would you promise ballot? Binds nobody */
    MB_PAXOS_PREVOTE_GRANT, /* I would */
    MB_PAXOS_PREPARE,       /* promise ballot for all slots >= slot; forced: the leader agrees */
    MB_PAXOS_PROMISE,       /* what I accepted in slots slot … upto */
    MB_PAXOS_REFUSAL,       /* I have promised ballot, which is higher */
    MB_PAXOS_ACCEPT,        /* items[0]: accept this value in ballot */
    MB_PAXOS_ACCEPTED,      /* I have accepted hash in ballot for slot; told to everyone */
    MB_PAXOS_HEARTBEAT,     /* from the leader of ballot */
    MB_PAXOS_HEARTBEAT_ACK,
    MB_PAXOS_LEARN,       /* tell me what was chosen for slots slot … upto */
    MB_PAXOS_CHOSEN,      /* items: values that were chosen */
    MB_PAXOS_READ,        /* what slot must I have applied for a linearizable read? */
    MB_PAXOS_READ_ANSWER, /* slot; id as it was asked */
    MB_PAXOS_HANDOVER,    /* the leader stops: stand for election now */
    MB_PAXOS_KINDS
};
struct mb_paxos_item {
    uint64_t slot;
    struct mb_ballot ballot; /* in which it was accepted; zero where it is known to be chosen */
    struct mb_bytes value;   /* borrowed */
};
struct mb_paxos_message {
    enum mb_paxos_kind kind;
    bool forced;
    struct mb_ballot ballot;
    uint64_t slot, upto;
    uint64_t tip;             /* the newest slot the sender has applied */
    uint64_t id;              /* of a read, or of the newest round of reads */
    int64_t sent_ms, echo_ms; /* by the sender's clock; by the receiver's: what it last sent */
    uint32_t held_ms;         /* how long the sender kept that before it sent it back */
    struct mb_hash hash;
    struct mb_paxos_item *items;
    size_t count;
};
/* Append a message's bytes. */
void mb_paxos_encode(const struct mb_paxos_message *m, struct mb_buf *out);
/* Values are borrowed from bytes; items are owned: mb_paxos_message_clear. MB_EINVAL, peer.message.
 */
int mb_paxos_decode(struct mb_paxos_message *m, struct mb_bytes bytes, struct mb_error *error);
void mb_paxos_message_clear(struct mb_paxos_message *m);

/* --- Events. --- */

enum mb_event_kind {
    MB_EVENT_START,     /* start: once, first */
    MB_EVENT_RECEIVE,   /* from, message (borrowed). Values in it have been found well formed */
    MB_EVENT_PERSISTED, /* ticket, and all before it, are durable */
    MB_EVENT_TICK,      /* time has passed */
    MB_EVENT_SUBMIT,    /* value for the slot that mb_paxos_wants() named; else it is left alone */
    MB_EVENT_APPLIED,   /* slot was applied; config: a configuration it decided, or NULL */
    MB_EVENT_READ,      /* id (the host's, not 0): confirm a read */
    MB_EVENT_SUSPECT,   /* the leader does not do its work: follow it no longer */
    MB_EVENT_ABSTAIN,   /* abstain: neither vote nor lead from now on; or, once it is not set, again
                         */
    MB_EVENT_STOP,      /* orderly: hand over, and stand for election no more */
};
struct mb_paxos_start {
    struct mb_ballot promised; /* the newest promise in the log */
    uint64_t incarnation;      /* greater than in any earlier life */
    uint64_t applied;
    uint64_t faulty_to;                    /* acceptances up to this slot may be lost; 0: none */
    const struct mb_paxos_config *configs; /* in force for applied + 1, and the next one if any */
    size_t config_count;
    const struct mb_paxos_item *accepted; /* from the log, oldest first; later ones replace */
    size_t accepted_count;
};
struct mb_event {
    enum mb_event_kind kind;
    int64_t now_ms;  /* a clock that does not jump */
    uint64_t random; /* for timeouts */
    const struct mb_paxos_start *start;
    uint32_t from;
    const struct mb_paxos_message *message;
    uint64_t ticket, slot, id;
    struct mb_bytes value;
    const struct mb_paxos_config *config;
    bool abstain;
};

/* --- Effects. --- */

enum mb_effect_kind {
    MB_EFFECT_PERSIST, /* make durable: the promise; and value accepted for slot in it, if slot > 0
                        */
    MB_EFFECT_SEND,    /* message, once ticket is durable (0: at once), to one, or to all others */
    MB_EFFECT_CHOSEN,  /* value (of message.hash) is chosen for slot: apply it, then say APPLIED.
                          In order of slots */
    MB_EFFECT_SERVE, /* send replica `to` CHOSEN messages for slots slot … upto, from the archive */
    MB_EFFECT_ROLE,    /* the role or the leader has changed: see mb_paxos_status() */
    MB_EFFECT_READ,    /* read id may be answered from the present state */
    MB_EFFECT_NO_READ, /* nobody confirmed read id: it may be tried again */
};
struct mb_effect {
    enum mb_effect_kind kind;
    uint64_t ticket, slot, upto, id;
    uint32_t to; /* 0: every other member */
    struct mb_ballot promised;
    struct mb_bytes value;
    struct mb_paxos_message message;
};
/* In the order they are to be carried out. Borrows from the core: valid until its next step. */
struct mb_effects {
    struct mb_effect *of;
    size_t count, cap;
    int64_t timer_at_ms; /* when the next TICK is due at the latest */
};
void mb_effects_clear(struct mb_effects *e); /* frees; the empty value is all zeros */

/* --- The core. --- */

struct mb_paxos_options {
    uint32_t self;             /* this replica's number */
    int64_t election_floor_ms; /* the election timeout is at least this */
    int64_t rebuild_ms;        /* time to rebuild a circuit: added to it */
    int64_t heartbeat_min_ms;
    int64_t round_trip_ms; /* assumed until one was measured */
    size_t flight_bytes;   /* values proposed and not chosen; one may always be */
    /* Values of others that are kept for slots not applied: those accepted or said to be chosen,
     * and as much again of promises. What is more is left alone, and comes again; the next slot's
     * is always kept. 0: no bound. */
    size_t ahead_bytes;
};
struct mb_paxos;
struct mb_paxos *mb_paxos_new(const struct mb_paxos_options *options);
void mb_paxos_free(struct mb_paxos *p);

/* One step. effects (reset first) gets what is to be done. Never fails: what makes no sense is
 * ignored. */
void mb_paxos_step(struct mb_paxos *p, const struct mb_event *event, struct mb_effects *effects);

/* The slot that this leader wants a value for now, or 0. must: at once, and a no-op if there is
 * nothing else (a gap, or a configuration that waits for its slot). */
uint64_t mb_paxos_wants(const struct mb_paxos *p, bool *must);

enum mb_paxos_role { MB_PAXOS_OUTSIDE, MB_PAXOS_FOLLOWER, MB_PAXOS_CANDIDATE, MB_PAXOS_LEADER };
struct mb_paxos_peer {
    uint32_t number;
    uint64_t tip;          /* what it had applied when we last heard of it */
    int64_t round_trip_ms; /* smoothed; -1: not measured */
    int64_t heard_ms;      /* when; -1: never */
};
struct mb_paxos_status {
    enum mb_paxos_role role;
    uint32_t leader; /* 0: not known */
    struct mb_ballot promised;
    uint64_t applied, faulty_to, incarnation;
    int64_t election_ms;    /* the present election timeout, before it is randomised */
    int64_t lease_until_ms; /* leader: until then no other can have been elected, if clocks run
                               alike; for the public onion only, never for correctness */
    uint64_t elections;     /* times we stood for election */
    uint64_t crowded;       /* values left alone because of ahead_bytes */
    size_t kept_bytes;      /* of values for slots that are not applied */
    struct mb_paxos_peer peers[2 * MB_PAXOS_REPLICAS_MAX];
    size_t peer_count;
};
struct mb_paxos_status mb_paxos_status(const struct mb_paxos *p);

#endif
