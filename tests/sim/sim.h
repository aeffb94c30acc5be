/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A deterministic simulation of replicas: everything that happens follows from one seed, time is
 * virtual, and after every step what must hold of consensus is checked.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "base/json.h"
#include "paxos/paxos.h"

#define REPLICAS 8    /* numbers 1 … REPLICAS */
#define COMMANDS 1024 /* in one run */

/* What may go wrong. A seed chooses among them; --without leaves some out. */
enum fault {
    FAULT_LOSS,      /* messages are lost */
    FAULT_DOUBLE,    /* come twice */
    FAULT_REPLAY,    /* come again, up to minutes later */
    FAULT_REORDER,   /* overtake each other */
    FAULT_DELAY,     /* take seconds longer in one direction */
    FAULT_BURST,     /* streams die: all that is under way is lost */
    FAULT_FAR,       /* round trips beyond the election timeout */
    FAULT_PARTITION, /* whole, one-way and partial */
    FAULT_CRASH,     /* at any point; unsynced writes are lost */
    FAULT_TORN,      /* or some of them are not */
    FAULT_RECORD,    /* acceptances cannot be read back: never on a majority */
    FAULT_CLOCK,     /* clocks jump, and run at different rates */
    FAULT_DISK,      /* syncs take seconds */
    FAULT_PAUSE,     /* a process stands still */
    FAULT_MEMBERS,   /* replicas come and go */
    FAULT_SNAPSHOT,  /* archives reach back a few slots only */
    FAULT_STOP,      /* orderly stops, with handover */
    FAULT_SUSPECT,   /* followers lose patience with their leader */
    FAULTS
};
extern const char *const fault_names[FAULTS];

struct command {
    enum { COMMAND_PLAIN, COMMAND_ADD, COMMAND_REMOVE } kind;
    uint32_t replica;            /* to add or remove */
    uint64_t ready;              /* to add: the slot that it stood at then */
    uint64_t slot;               /* in which it took effect; 0: not yet */
    uint64_t acked;              /* the slot at which a client was told; 0: not yet */
    struct mb_checked *envelope; /* of the real ledger */
    char *key; /* there, it does well, and makes this key of the state; NULL: it may be refused */
};

/* --- State machines (state.c). --- */

struct world;
/* What one replica has applied. */
struct state {
    uint64_t applied;
    struct mb_hash digest;             /* of all that was applied: of the header, with the ledger */
    uint8_t seen[COMMANDS];            /* took effect */
    struct mb_paxos_config configs[2]; /* in force for applied + 1, and the next one */
    size_t config_count;
    struct ledger *ledger; /* NULL: the small state machine */
};
void state_open(struct world *w, struct state *s); /* as founded */
void state_clear(struct state *s);
/* Apply the value chosen for applied + 1. The configuration it decided, or NULL. */
const struct mb_paxos_config *state_apply(struct world *w, struct state *s, struct mb_bytes value);
/* A value with these commands; replica proposes it. */
void value_make(struct world *w, struct mb_buf *out, uint32_t replica, uint64_t slot,
                const uint32_t *commands, size_t count);
/* Whether a command that was acknowledged is there. */
bool state_has(struct world *w, struct state *s, uint32_t id);

/* --- Commands to the real ledger (commands.c). --- */

void commands_genesis(json_t *genesis); /* what they need of it */
void command_make(struct world *w, uint32_t id);

/* --- Replicas (host.c). --- */

struct record {
    uint64_t ticket;
    struct mb_ballot promised;
    uint64_t slot; /* 0: the promise alone */
    struct mb_buf value;
    struct mb_hash hash;
};
struct outgoing {
    uint64_t ticket;
    uint32_t to;
    struct mb_buf bytes;
};
struct replica {
    uint32_t number;
    bool exists, up, stopping;
    uint64_t life; /* counts starts: the incarnation */
    struct mb_paxos *core;
    struct mb_effects effects;
    int64_t paused_until;

    /* The disk. */
    struct mb_ballot disk_promised;
    struct record *log; /* the first durable_count are durable */
    size_t log_count, durable_count;
    uint64_t durable_ticket, syncing;
    uint64_t durable_applied, archive_from;
    uint64_t faulty_to;
    int64_t sync_ms;

    /* Memory. */
    struct state state;
    struct mb_buf *waiting; /* chosen for state.applied + 1 … */
    size_t waiting_count;
    bool applying;
    struct outgoing *held;
    size_t held_count;
    bool pending[COMMANDS];
    uint64_t proposed[COMMANDS]; /* in this slot; 0: not in this reign */
    int64_t forwarded_ms;
    uint32_t forwarded_to;

    /* The clock. */
    int64_t offset_ms, rate; /* thousandths */
    int64_t timer_ms;        /* virtual time of the tick that is queued */

    struct mb_ballot answered; /* the highest it was seen to promise or accept */
    struct mb_ballot asked;    /* the newest it asked promises for, and in which life */
    uint64_t asked_life;
};
struct replica *replica_at(struct world *w, uint32_t number);
void replica_boot(struct world *w, struct replica *r);
/* crash: unsynced writes may be lost. */
void replica_end(struct world *w, struct replica *r, bool crash);
void replica_add(struct world *w, uint32_t number);
void replica_step(struct world *w, struct replica *r, struct mb_event event);
/* The timer that was set for this time is due. */
void replica_tick(struct world *w, struct replica *r, uint64_t when);
void replica_synced(struct world *w, struct replica *r);
void replica_apply(struct world *w, struct replica *r);
/* A client asks for this command. */
void replica_ask(struct world *w, struct replica *r, uint32_t id);
void replica_forwarded(struct world *w, struct replica *r, struct mb_bytes bytes);
void replica_snapshot(struct world *w, struct replica *r, uint64_t slot);
void replica_free(struct replica *r);

/* --- The world (world.c). --- */

enum what { ARRIVE, TIMER, SYNCED, APPLY, BOOT, CRASH, CLIENT, TROUBLE };
enum parcel { PARCEL_PEER, PARCEL_FORWARD, PARCEL_SNAPSHOT };
struct happening {
    int64_t at;
    uint64_t number; /* in order of making: equal times keep it */
    enum what what;
    uint32_t to, from;
    uint64_t life; /* 0: of any */
    enum parcel parcel;
    uint64_t slot;
    struct mb_buf bytes;
};
struct durable_vote {
    uint32_t replica;
    struct mb_ballot ballot;
    struct mb_hash hash;
};
struct chosen {
    struct mb_buf value;
    struct mb_hash digest; /* of the state after it */
    bool known, applied;
    struct durable_vote *votes; /* every acceptance that was ever durable */
    size_t vote_count;
};
struct proposal {
    struct mb_ballot ballot;
    uint64_t slot;
    struct mb_hash hash;
};
struct counts {
    uint64_t seeds, events, slots, acked, elections, crashes, snapshots, changes, reads, faulty;
    uint64_t done, refused, internal; /* results of the real ledger */
};
struct world {
    uint64_t seed, random;
    uint64_t events, most; /* so far; until everything is healed */
    uint32_t without;      /* faults, as bits */
    uint32_t faults;       /* of this seed */
    bool trace, real, healed;
    int64_t now;
    char *failed; /* why, or NULL */

    struct mb_paxos_options options;
    uint32_t founders;
    int64_t trip_ms; /* one way */
    size_t value_bytes;
    struct replica replicas[REPLICAS + 1];
    struct chosen *chosen; /* by slot */
    uint64_t chosen_cap, applied_max;
    struct mb_paxos_config configs[64]; /* ascending */
    size_t config_count;
    struct proposal *proposals;
    size_t proposal_count, proposal_cap;
    struct command commands[COMMANDS];
    uint32_t command_count;
    struct counts counts;
    uint64_t reads[1024]; /* by id: the newest slot applied anywhere when it was asked */
    uint64_t read_count;

    struct happening *queue; /* a heap */
    size_t queue_count, queue_cap;
    uint64_t happenings;
    /* Of each link, from and to: */
    int64_t last_ms[REPLICAS + 1][REPLICAS + 1];   /* when the newest message arrives */
    int64_t cut_until[REPLICAS + 1][REPLICAS + 1]; /* a partition, or a stream that is dead */
    int64_t slow_until[REPLICAS + 1][REPLICAS + 1], slow_ms;
    int64_t next_trouble_ms, interval_ms; /* between clients' commands */
    void *genesis;                        /* of the real ledger */
};
/* A number below n, for n > 0; true once in n. */
uint64_t chance(struct world *w, uint64_t n);
bool once_in(struct world *w, uint64_t n);
bool faulty(const struct world *w, enum fault f);
void fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void queue(struct world *w, struct happening h); /* takes its bytes */
void post(struct world *w, uint32_t from, uint32_t to, enum parcel kind, uint64_t slot,
          struct mb_bytes bytes);
struct chosen *chosen_at(struct world *w, uint64_t slot);
void vote_at(struct world *w, uint32_t replica, const struct record *d);
/* The configurations that were decided, by who applied it first. */
void config_decided(struct world *w, const struct mb_paxos_config *config);
const struct mb_paxos_config *config_of(struct world *w, uint64_t slot);
const struct mb_paxos_config *newest_config(struct world *w);

/* Run one seed. 0, or -1 with why in *failed (owned) and after how many events. */
struct run {
    uint64_t seed, events;
    uint32_t without;
    bool trace;
    char *failed;
    uint64_t failed_at;
    uint32_t faults; /* that the seed has */
    struct counts counts;
};
int simulate(struct run *run);

#endif
