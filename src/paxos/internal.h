/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the consensus core share. Each file is one part that a replica plays. */
#ifndef MB_PAXOS_INTERNAL_H
#define MB_PAXOS_INTERNAL_H

#include "paxos/paxos.h"

#define CONFIGS_MAX 3
#define PEERS_MAX   (2 * MB_PAXOS_REPLICAS_MAX)
#define VOTES_MAX   (PEERS_MAX + 1)
#define READS_MAX   4096
#define NEVER       INT64_MAX

struct held {
    struct mb_ballot ballot; /* in which it was accepted */
    struct mb_hash hash;
    uint8_t *data; /* NULL: there is none */
    size_t len;
};
struct vote {
    uint32_t number;
    struct mb_ballot ballot;
    struct mb_hash hash;
};
/* What is known of one slot that has not been applied. */
struct entry {
    uint64_t slot;
    struct held accepted; /* by this replica; durable unless ticket waits */
    uint64_t ticket;
    struct held other; /* from a promise; or chosen, when that is set */
    bool chosen;
    bool promised;                /* other counts among what promises brought */
    struct vote votes[VOTES_MAX]; /* each replica's newest */
    size_t vote_count;
    int64_t sent_ms; /* leader: when it was last proposed */
};
struct peer {
    uint32_t number;
    uint64_t tip;
    int64_t heard_ms;             /* -1: never */
    int64_t round_trip, variance; /* ms; round_trip -1: not measured */
    int64_t measured_ms;          /* when last */
    int64_t their_ms, their_at;   /* the newest sent_ms from there, and when it came */
    int64_t acked_ms;             /* when the newest heartbeat that was answered had been sent */
    bool granted, promised;       /* in this candidacy */
    uint64_t promise_next;        /* the slot from which its promise still has to come */
    uint64_t read_round;          /* the newest it has confirmed */
    uint64_t asked_to;            /* the last slot it was asked for: it is believed up to there */
};
struct read {
    uint64_t id;
    uint32_t from;  /* who asked; 0: our host */
    uint64_t round; /* leader: confirmed when a majority has acknowledged it; 0: asked elsewhere */
    uint64_t slot;  /* to be applied first */
    bool confirmed;
    int64_t until_ms;
};
enum stage { FOLLOWING, PREVOTING, PREPARING, LEADING };

struct mb_paxos {
    struct mb_paxos_options options;
    uint64_t incarnation;
    int64_t now;
    uint64_t random;
    struct mb_effects *out; /* during a step */
    void **buried;          /* memory that effects of the last step may borrow */
    size_t buried_count, buried_cap;

    struct mb_paxos_config configs[CONFIGS_MAX]; /* ascending; [0] governs applied + 1 */
    size_t config_count;
    struct peer peers[PEERS_MAX]; /* the other members of any of them */
    size_t peer_count;

    /* Acceptor. */
    struct mb_ballot promised;
    uint64_t promise_ticket; /* until it is durable, else 0 */
    uint64_t ticket;         /* the last one given out */
    uint64_t faulty_to;

    bool abstains;

    /* Learner. */
    uint64_t applied, delivered;
    size_t kept, kept_promised; /* bytes of values in entries */
    uint64_t crowded;
    struct entry *entries[MB_PAXOS_AHEAD_MAX]; /* by slot modulo */
    int64_t learn_at;
    uint64_t learn_mark; /* delivered when learn_at was set */
    bool learning;       /* an answer is awaited */

    /* Elections. */
    enum stage stage;
    bool stopping;
    uint32_t leader;
    int64_t leader_heard_ms; /* NEVER: not */
    int64_t election_at;
    uint64_t seen_round;
    uint64_t elections;
    bool forced; /* the leader asked us to stand */
    uint32_t suspect;
    int64_t suspect_until; /* whom we follow does not do its work: others may try */

    /* Candidate and leader. */
    struct mb_ballot own;
    int64_t ask_at;    /* those that have not granted or promised: again */
    uint64_t prepared; /* version of the newest configuration that phase 1 was done with */
    uint64_t learn_to, found_to, next_slot;
    int64_t led_ms, heartbeat_at, proposed_ms;
    int64_t moved_ms; /* something was chosen, or nothing waited to be */
    uint64_t proposed_ticket;

    /* Reads. */
    struct read *reads;
    size_t read_count;
    uint64_t read_round; /* the newest begun */
};

/* paxos.c */
void bury(struct mb_paxos *p, void *memory);
struct mb_effect *effect(struct mb_paxos *p, enum mb_effect_kind kind);
/* A message from us, to one or (0) to all, after ticket. */
struct mb_paxos_message *tell(struct mb_paxos *p, enum mb_paxos_kind kind, uint32_t to,
                              uint64_t ticket);
struct mb_paxos_item *one_item(struct mb_paxos *p, struct mb_paxos_message *m);
/* Persist the promise, and the entry's acceptance if there is one: its ticket. */
uint64_t persist(struct mb_paxos *p, const struct entry *e);
struct peer *peer_find(struct mb_paxos *p, uint32_t number);
const struct mb_paxos_config *config_for(const struct mb_paxos *p, uint64_t slot);
bool config_has(const struct mb_paxos_config *c, uint32_t number);
bool member(const struct mb_paxos *p);
size_t quorum(const struct mb_paxos_config *config);
/* Whether those of whom holds() is true, with ourselves if self, are a majority of config. */
bool majority(const struct mb_paxos *p, const struct mb_paxos_config *config, bool self,
              bool (*holds)(const struct mb_paxos *, const struct peer *));
/* The entry of a slot in (applied, applied + MB_PAXOS_AHEAD_MAX]; made if make. */
struct entry *entry_at(struct mb_paxos *p, uint64_t slot, bool make);
/* Keep a value in the place of what h has; kept counts its bytes. */
void hold(struct mb_paxos *p, struct held *h, size_t *kept, const struct mb_ballot *ballot,
          struct mb_bytes value);
/* The same in e->other. */
void hold_other(struct mb_paxos *p, struct entry *e, bool promised, const struct mb_ballot *ballot,
                struct mb_bytes value);
/* Whether there is room for a value of len bytes that somebody else made, in the place of one of
 * old bytes. */
bool room_for(struct mb_paxos *p, uint64_t slot, size_t kept, size_t old, size_t len);
struct mb_bytes held_bytes(const struct held *h);
void role_changed(struct mb_paxos *p);
int64_t round_trip(const struct mb_paxos *p);
int64_t election_timeout(const struct mb_paxos *p);

/* acceptor.c */
void on_prepare(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m);
void on_accept(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m);
void on_persisted(struct mb_paxos *p, uint64_t ticket);
void accept_value(struct mb_paxos *p, struct entry *e, struct mb_bytes value);
/* A live leader is followed, and it is not this one. */
bool sticky(const struct mb_paxos *p, uint32_t from);

/* learner.c */
void vote(struct entry *e, uint32_t number, const struct mb_ballot *ballot,
          const struct mb_hash *hash);
void on_accepted(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m);
void on_chosen(struct mb_paxos *p, const struct peer *from, const struct mb_paxos_message *m);
void on_learn(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m);
void on_applied(struct mb_paxos *p, uint64_t slot, const struct mb_paxos_config *config);
void deliver(struct mb_paxos *p);
void learn(struct mb_paxos *p); /* ask for what is missing, when it is time */

/* election.c */
void follow(struct mb_paxos *p, uint32_t leader); /* 0: nobody */
void heard_leader(struct mb_paxos *p, uint32_t leader);
void elect(struct mb_paxos *p); /* timers of followers and candidates */
void stand(struct mb_paxos *p, bool forced);
void prepare(struct mb_paxos *p);
void ask_promises(struct mb_paxos *p, uint64_t ticket);
void promised_self(struct mb_paxos *p);
/* A leader does phase 1 again for a configuration that it learnt of while it led. */
void prepare_again(struct mb_paxos *p);
bool preparing_again(const struct mb_paxos *p);
void on_prevote(struct mb_paxos *p, uint32_t from, const struct mb_paxos_message *m);
void on_grant(struct mb_paxos *p, struct peer *from, const struct mb_paxos_message *m);
void on_promise(struct mb_paxos *p, struct peer *from, const struct mb_paxos_message *m);
void on_refusal(struct mb_paxos *p, const struct mb_paxos_message *m);
void on_handover(struct mb_paxos *p, uint32_t from);

/* leader.c */
void begin_to_lead(struct mb_paxos *p);
void lead(struct mb_paxos *p); /* what a leader does whenever something has happened */
void heartbeat(struct mb_paxos *p);
int64_t heartbeat_interval(const struct mb_paxos *p);
void propose(struct mb_paxos *p, uint64_t slot, struct mb_bytes value);
int64_t proposal_at(const struct mb_paxos *p); /* the next one, while others fly */
void hand_over(struct mb_paxos *p);
void on_heartbeat(struct mb_paxos *p, struct peer *from, const struct mb_paxos_message *m);
void on_heartbeat_ack(struct mb_paxos *p, struct peer *from, const struct mb_paxos_message *m);

/* reads.c */
void read_begin(struct mb_paxos *p, uint32_t from, uint64_t id);
void read_answered(struct mb_paxos *p, const struct mb_paxos_message *m);
void reads_settle(struct mb_paxos *p);
void reads_fail(struct mb_paxos *p); /* we lead or follow somebody else now */
int64_t reads_until(const struct mb_paxos *p);

#endif
