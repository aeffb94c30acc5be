/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Scenarios of the consensus core on a network that does as it is told; tests/sim has the rest. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "paxos/paxos.h"

#define REPLICAS 5

struct parcel {
    uint32_t from, to;
    int64_t due;
    struct mb_buf bytes;
    struct parcel *next;
};
struct replica {
    struct mb_paxos *core;
    struct mb_effects effects;
    uint64_t applied;
    struct mb_buf waiting; /* chosen, and not applied */
    bool applying;
    struct mb_buf history; /* value, one byte a slot */
    uint64_t reads, failed_reads;
};
struct net {
    struct replica replicas[REPLICAS + 1];
    struct parcel *head, **tail;
    bool cut[REPLICAS + 1]; /* nothing comes or goes */
    uint32_t deaf_to;       /* nobody gets a value of this one to accept */
    int64_t now;
    int64_t delay; /* of what is sent from now on */
    uint64_t random;
    uint64_t slots_from; /* of the configuration that 'c' decides */
    struct mb_paxos_config next;
};

static void step(struct net *n, uint32_t at, struct mb_event event);

static void post(struct net *n, uint32_t from, uint32_t to, const struct mb_paxos_message *m)
{
    for (uint32_t i = 1; i <= REPLICAS; i++) {
        if (i == from || (to != 0 && to != i) || n->replicas[i].core == NULL || n->cut[i] ||
            n->cut[from] || (n->deaf_to == from && m->kind == MB_PAXOS_ACCEPT))
            continue;
        struct parcel *parcel = mb_calloc(1, sizeof *parcel);
        parcel->from = from;
        parcel->to = i;
        parcel->due = n->now + n->delay;
        mb_paxos_encode(m, &parcel->bytes);
        *n->tail = parcel;
        n->tail = &parcel->next;
    }
}

static void apply(struct net *n, uint32_t at, uint64_t slot, struct mb_bytes value)
{
    struct replica *r = &n->replicas[at];
    assert_int_equal(slot, r->applied + 1);
    r->applied = slot;
    mb_buf_add_bytes(&r->history, value);
    struct mb_event e = {.kind = MB_EVENT_APPLIED, .slot = slot};
    if (value.len == 1 && value.data[0] == 'c') {
        n->next.from = slot + MB_PAXOS_WINDOW;
        e.config = &n->next;
    }
    step(n, at, e);
}

static void serve(struct net *n, uint32_t at, uint32_t to, uint64_t slot, uint64_t upto)
{
    struct mb_paxos_item items[MB_PAXOS_AHEAD_MAX] = {{0}};
    struct mb_paxos_message m = {
        .kind = MB_PAXOS_CHOSEN, .items = items, .tip = n->replicas[at].applied};
    for (; slot <= upto; slot++)
        items[m.count++] = (struct mb_paxos_item){
            .slot = slot, .value = mb_bytes(n->replicas[at].history.data + slot - 1, 1)};
    post(n, at, to, &m);
}

static void step(struct net *n, uint32_t at, struct mb_event event)
{
    struct replica *r = &n->replicas[at];
    struct mb_effects mine = {0};
    event.now_ms = n->now;
    event.random = n->random = n->random * 6364136223846793005u + 1442695040888963407u;
    event.random >>= 33;
    mb_paxos_step(r->core, &event, &mine);
    r->effects.timer_at_ms = mine.timer_at_ms;
    uint64_t ticket = 0;
    for (size_t i = 0; i < mine.count; i++) {
        struct mb_effect *e = &mine.of[i];
        if (e->kind == MB_EFFECT_PERSIST)
            ticket = e->ticket;
        if (e->kind == MB_EFFECT_SEND) /* the disk is at once */
            post(n, at, e->to, &e->message);
        if (e->kind == MB_EFFECT_SERVE)
            serve(n, at, e->to, e->slot, e->upto);
        r->reads += e->kind == MB_EFFECT_READ;
        r->failed_reads += e->kind == MB_EFFECT_NO_READ;
        if (e->kind == MB_EFFECT_CHOSEN) {
            assert_int_equal(e->value.len, 1);
            mb_buf_add_bytes(&r->waiting, e->value);
        }
    }
    mb_effects_clear(&mine);
    if (ticket != 0)
        step(n, at, (struct mb_event){.kind = MB_EVENT_PERSISTED, .ticket = ticket});
    if (r->applying)
        return;
    r->applying = true;
    for (size_t i = 0; i < r->waiting.len; i++)
        apply(n, at, r->applied + 1, mb_bytes(r->waiting.data + i, 1));
    mb_buf_reset(&r->waiting);
    r->applying = false;
}

static void deliver_all(struct net *n)
{
    while (n->head != NULL && n->head->due <= n->now) {
        struct parcel *parcel = n->head;
        struct mb_paxos_message m;
        n->head = parcel->next;
        if (n->head == NULL)
            n->tail = &n->head;
        assert_int_equal(mb_paxos_decode(&m, mb_buf_bytes(&parcel->bytes), NULL), 0);
        if (!n->cut[parcel->to] && !n->cut[parcel->from])
            step(n, parcel->to,
                 (struct mb_event){.kind = MB_EVENT_RECEIVE, .from = parcel->from, .message = &m});
        mb_paxos_message_clear(&m);
        mb_buf_clear(&parcel->bytes);
        free(parcel);
    }
}

/* Let time pass; leaders fill what must be filled. */
static void run(struct net *n, int64_t ms)
{
    for (int64_t end = n->now + ms; n->now < end; n->now += 10) {
        for (uint32_t i = 1; i <= REPLICAS; i++) {
            if (n->replicas[i].core == NULL)
                continue;
            if (n->replicas[i].effects.timer_at_ms <= n->now)
                step(n, i, (struct mb_event){.kind = MB_EVENT_TICK});
            bool must;
            uint64_t slot;
            while ((slot = mb_paxos_wants(n->replicas[i].core, &must)) != 0 && must)
                step(n, i,
                     (struct mb_event){
                         .kind = MB_EVENT_SUBMIT, .slot = slot, .value = mb_bytes_of("-")});
            deliver_all(n);
        }
    }
}

static void begin(struct net *n, uint32_t at, const struct mb_paxos_config *config)
{
    struct mb_paxos_options options = {.self = at,
                                       .election_floor_ms = 300,
                                       .heartbeat_min_ms = 20,
                                       .round_trip_ms = 20,
                                       .flight_bytes = 1 << 20};
    struct mb_paxos_start s = {.incarnation = 1, .configs = config, .config_count = 1};
    n->replicas[at].core = mb_paxos_new(&options);
    step(n, at, (struct mb_event){.kind = MB_EVENT_START, .start = &s});
}

static struct net *net_new(uint32_t replicas)
{
    struct net *n = mb_calloc(1, sizeof *n);
    struct mb_paxos_config c = {.from = 1, .version = 1, .count = replicas};
    n->tail = &n->head;
    n->now = 1000;
    n->random = 7;
    for (uint32_t i = 0; i < replicas; i++)
        c.members[i] = i + 1;
    for (uint32_t i = 1; i <= replicas; i++)
        begin(n, i, &c);
    run(n, 2000);
    return n;
}

static void net_free(struct net *n)
{
    for (n->delay = 0; n->head != NULL; n->now += 1000)
        deliver_all(n);
    for (uint32_t i = 1; i <= REPLICAS; i++) {
        mb_paxos_free(n->replicas[i].core);
        mb_buf_clear(&n->replicas[i].history);
        mb_buf_clear(&n->replicas[i].waiting);
    }
    free(n);
}

static uint32_t leader_of(const struct net *n)
{
    uint32_t found = 0;
    for (uint32_t i = 1; i <= REPLICAS; i++)
        if (n->replicas[i].core != NULL && !n->cut[i] &&
            mb_paxos_status(n->replicas[i].core).role == MB_PAXOS_LEADER) {
            assert_int_equal(found, 0);
            found = i;
        }
    return found;
}

static void submit(struct net *n, const char *value)
{
    uint32_t at = leader_of(n);
    assert_int_not_equal(at, 0);
    uint64_t slot = mb_paxos_wants(n->replicas[at].core, NULL);
    assert_int_not_equal(slot, 0);
    step(n, at,
         (struct mb_event){.kind = MB_EVENT_SUBMIT, .slot = slot, .value = mb_bytes_of(value)});
    deliver_all(n);
}

static void assert_history(const struct net *n, uint32_t at, const char *history)
{
    assert_string_equal(
        n->replicas[at].history.len ? mb_buf_text(&((struct net *)n)->replicas[at].history) : "",
        history);
}

static void alone(void **state)
{
    struct net *n = net_new(1);
    (void)state;
    assert_int_equal(leader_of(n), 1);
    submit(n, "a");
    submit(n, "b");
    assert_history(n, 1, "ab");
    step(n, 1, (struct mb_event){.kind = MB_EVENT_READ, .id = 1});
    assert_int_equal(n->replicas[1].reads, 1);
    net_free(n);
}

static void failover(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    uint32_t first = leader_of(n);
    assert_int_not_equal(first, 0);
    submit(n, "a");
    n->cut[first] = true;
    run(n, 3000);
    uint32_t second = leader_of(n);
    assert_int_not_equal(second, 0);
    assert_int_not_equal(second, first);
    submit(n, "b");
    run(n, 100);
    assert_history(n, second, "ab");
    assert_history(n, first, "a");
    n->cut[first] = false; /* learns, and disturbs nobody */
    uint64_t elections = mb_paxos_status(n->replicas[second].core).elections;
    run(n, 3000);
    assert_int_equal(leader_of(n), second);
    assert_int_equal(mb_paxos_status(n->replicas[second].core).elections, elections);
    assert_history(n, first, "ab");
    net_free(n);
}

static void handover(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    uint32_t first = leader_of(n);
    submit(n, "a");
    step(n, first, (struct mb_event){.kind = MB_EVENT_STOP});
    deliver_all(n);
    run(n, 100); /* far below an election timeout */
    assert_int_not_equal(leader_of(n), 0);
    assert_int_not_equal(leader_of(n), first);
    submit(n, "b");
    run(n, 100);
    assert_history(n, first, "ab");
    net_free(n);
}

/* Round trips grow and shrink again, and the election timeout of everybody with them, also between
 * those that follow: they have measured each other in an election, and nothing since. */
static void timeouts_come_down(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    n->delay = 300;
    run(n, 20000);
    uint32_t first = leader_of(n);
    assert_int_not_equal(first, 0);
    n->cut[first] = true;
    run(n, 30000);
    assert_int_not_equal(leader_of(n), 0);
    n->cut[first] = false;
    run(n, 20000);
    for (uint32_t i = 1; i <= 3; i++)
        assert_true(mb_paxos_status(n->replicas[i].core).election_ms >= 4 * 2 * n->delay);
    n->delay = 0;
    run(n, 8000);
    for (uint32_t i = 1; i <= 3; i++)
        assert_true(mb_paxos_status(n->replicas[i].core).election_ms <= 400);
    n->cut[leader_of(n)] = true;
    run(n, 3 * 400);
    assert_int_not_equal(leader_of(n), 0);
    net_free(n);
}

/* Who still sticks to a leader that is gone is asked again as soon as it no longer does, and not
 * after another election timeout. */
static void asked_again(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    for (int i = 0; i < 20; i++) {
        uint32_t first = leader_of(n);
        assert_int_not_equal(first, 0);
        n->cut[first % 3 + 1] = true;
        run(n, 270);
        n->cut[first % 3 + 1] = false;
        n->cut[first] = true;
        run(n, 300 + 100); /* it stands after 30 to 330, the third grants it from 300 on */
        assert_int_not_equal(leader_of(n), 0);
        n->cut[first] = false;
        run(n, 2000);
    }
    net_free(n);
}

/* Others have promised rounds that a candidate has not heard of: it asks anew once they say so. */
static void refused_round(void **state)
{
    struct mb_paxos_config c = {.from = 1, .version = 1, .members = {1, 2, 3}, .count = 3};
    struct mb_paxos_options options = {.self = 1,
                                       .election_floor_ms = 300,
                                       .heartbeat_min_ms = 20,
                                       .round_trip_ms = 20,
                                       .flight_bytes = 1 << 20};
    struct mb_paxos_start s = {.incarnation = 1, .configs = &c, .config_count = 1};
    struct mb_paxos *core = mb_paxos_new(&options);
    struct mb_effects effects = {0};
    (void)state;
    mb_paxos_step(core, &(struct mb_event){.kind = MB_EVENT_START, .start = &s}, &effects);
    mb_paxos_step(core, &(struct mb_event){.kind = MB_EVENT_TICK, .now_ms = 1000}, &effects);
    assert_int_equal(effects.of[0].message.kind, MB_PAXOS_PREVOTE);
    assert_int_equal(effects.of[0].message.ballot.round, 1);
    struct mb_paxos_message refusal = {.kind = MB_PAXOS_REFUSAL, .ballot = {.round = 7}};
    struct mb_event e = {.kind = MB_EVENT_RECEIVE, .now_ms = 1010, .from = 2, .message = &refusal};
    mb_paxos_step(core, &e, &effects);
    assert_int_equal(effects.of[0].message.kind, MB_PAXOS_PREVOTE);
    assert_int_equal(effects.of[0].message.ballot.round, 8);
    mb_paxos_step(core, &e, &effects); /* an old one changes nothing */
    assert_int_equal(effects.count, 0);
    /* And nobody having answered, again soon, in the same round: an answer may be on its way. */
    mb_paxos_step(core, &(struct mb_event){.kind = MB_EVENT_TICK, .now_ms = 1200}, &effects);
    assert_int_equal(effects.of[0].message.kind, MB_PAXOS_PREVOTE);
    assert_int_equal(effects.of[0].message.ballot.round, 8);
    mb_effects_clear(&effects);
    mb_paxos_free(core);
}

/* A leader that everybody hears, and whose values nobody accepts. */
static void stalled(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    uint32_t first = leader_of(n);
    n->deaf_to = first;
    submit(n, "a");
    run(n, 600); /* two election timeouts */
    assert_int_equal(leader_of(n), first);
    run(n, 600);
    assert_int_not_equal(leader_of(n), 0);
    assert_int_not_equal(leader_of(n), first);
    run(n, 200);
    assert_history(n, first, "a");
    net_free(n);
}

/* A majority suspects the leader, at different times: another is elected, though it is heard. */
static void suspected(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    uint32_t first = leader_of(n);
    step(n, first % 3 + 1, (struct mb_event){.kind = MB_EVENT_SUSPECT});
    run(n, 200);
    assert_int_equal(leader_of(n), first);
    step(n, (first + 1) % 3 + 1, (struct mb_event){.kind = MB_EVENT_SUSPECT});
    run(n, 200);
    assert_int_not_equal(leader_of(n), 0);
    assert_int_not_equal(leader_of(n), first);
    net_free(n);
}

/* Whose clock is wrong leads no longer, and makes no majority. */
static void abstains(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    uint32_t first = leader_of(n);
    step(n, first, (struct mb_event){.kind = MB_EVENT_ABSTAIN, .abstain = true});
    run(n, 1000);
    uint32_t second = leader_of(n), third = 6 - first - second;
    assert_int_not_equal(second, 0);
    assert_int_not_equal(second, first);
    submit(n, "a");
    run(n, 200);
    assert_history(n, first, "a"); /* it learns */
    n->cut[third] = true;
    run(n, 200);
    submit(n, "b");
    run(n, 200);
    assert_history(n, second, "a");
    run(n, 5000);
    assert_int_not_equal(leader_of(n), first);
    step(n, first, (struct mb_event){.kind = MB_EVENT_ABSTAIN});
    run(n, 5000);
    assert_int_not_equal(leader_of(n), 0);
    assert_history(n, first, "ab");
    n->cut[third] = false;
    run(n, 3000);
    assert_history(n, third, "ab");
    net_free(n);
}

/* Have a core ask replica 2 what was chosen for the slots up to this one. */
static void ask(struct mb_paxos *core, uint64_t tip)
{
    struct mb_effects effects = {0};
    struct mb_paxos_message m = {.kind = MB_PAXOS_REFUSAL, .tip = tip};
    struct mb_event e = {.kind = MB_EVENT_RECEIVE, .from = 2, .message = &m};
    bool asked = false;
    for (; !asked; e.now_ms += 40) {
        assert_true(e.now_ms < 2000);
        mb_paxos_step(core, &e, &effects);
        for (size_t i = 0; i < effects.count; i++)
            asked |= effects.of[i].to == 2 && effects.of[i].message.kind == MB_PAXOS_LEARN;
    }
    mb_effects_clear(&effects);
}

/* What core takes to be chosen for slot 1 in this step; 0: nothing. */
static char taken(struct mb_paxos *core, uint32_t from, const struct mb_paxos_message *m)
{
    struct mb_effects effects = {0};
    struct mb_event e = {.kind = MB_EVENT_RECEIVE, .from = from, .message = m};
    char found = 0;
    mb_paxos_step(core, &e, &effects);
    for (size_t i = 0; i < effects.count; i++)
        if (effects.of[i].kind == MB_EFFECT_CHOSEN) {
            assert_int_equal(effects.of[i].slot, 1);
            found = (char)effects.of[i].value.data[0];
        }
    mb_effects_clear(&effects);
    return found;
}

/* A replica that lies about what was chosen is believed only where it was asked, and never against
 * what a majority has accepted. */
static void liar(void **state)
{
    struct mb_paxos_config c = {.from = 1, .version = 1, .members = {1, 2, 3, 4, 5}, .count = 5};
    struct mb_paxos_options options = {.self = 1,
                                       .election_floor_ms = 5000,
                                       .heartbeat_min_ms = 20,
                                       .round_trip_ms = 20,
                                       .flight_bytes = 1 << 20};
    struct mb_paxos_start s = {.incarnation = 1, .configs = &c, .config_count = 1};
    struct mb_ballot ballot = {.round = 1, .replica = 3, .incarnation = 1};
    struct mb_paxos_item lie = {.slot = 1, .value = mb_bytes_of("b")},
                         truth = {.slot = 1, .value = mb_bytes_of("a")};
    struct mb_paxos_message lies = {.kind = MB_PAXOS_CHOSEN, .items = &lie, .count = 1},
                            tells = {.kind = MB_PAXOS_CHOSEN, .items = &truth, .count = 1},
                            accepted = {.kind = MB_PAXOS_ACCEPTED,
                                        .ballot = ballot,
                                        .slot = 1,
                                        .hash = mb_sha256("a", 1)};
    (void)state;
    for (int counted = 0; counted < 2; counted++) {
        struct mb_effects effects = {0};
        struct mb_paxos *core = mb_paxos_new(&options);
        mb_paxos_step(core, &(struct mb_event){.kind = MB_EVENT_START, .start = &s}, &effects);
        assert_int_equal(taken(core, 2, &lies), 0); /* nobody asked */
        if (counted)
            for (uint32_t from = 3; from <= 5; from++)
                assert_int_equal(taken(core, from, &accepted), 0);
        ask(core, 1);
        assert_int_equal(taken(core, 3, &lies), 0); /* it was not asked */
        assert_int_equal(taken(core, 2, &lies), counted ? 0 : 'b');
        assert_int_equal(taken(core, 2, &tells), counted ? 'a' : 0);
        mb_effects_clear(&effects);
        mb_paxos_free(core);
    }
}

/* What a leader may make a replica keep: ahead_bytes, and the next slot's value always. */
static void bounded(void **state)
{
    enum { LEN = 100000 };
    struct mb_paxos_config c = {.from = 1, .version = 1, .members = {1, 2, 3}, .count = 3};
    struct mb_paxos_options options = {.self = 1,
                                       .election_floor_ms = 300,
                                       .heartbeat_min_ms = 20,
                                       .round_trip_ms = 20,
                                       .flight_bytes = 1 << 20,
                                       .ahead_bytes = 10 * LEN};
    struct mb_paxos_start s = {.incarnation = 1, .configs = &c, .config_count = 1};
    struct mb_paxos *core = mb_paxos_new(&options);
    struct mb_effects effects = {0};
    uint8_t *bytes = mb_calloc(1, LEN);
    (void)state;
    mb_paxos_step(core, &(struct mb_event){.kind = MB_EVENT_START, .start = &s}, &effects);
    for (int round = 1; round <= 2; round++) /* the second takes the places of the first */
        for (uint64_t slot = MB_PAXOS_AHEAD_MAX; slot > 0; slot--) {
            struct mb_ballot ballot = {.round = (uint64_t)round, .replica = 2, .incarnation = 1};
            struct mb_paxos_item item = {slot, ballot, mb_bytes(bytes, LEN)};
            struct mb_paxos_message m = {.kind = MB_PAXOS_ACCEPT,
                                         .ballot = ballot,
                                         .slot = slot,
                                         .items = &item,
                                         .count = 1};
            struct mb_event e = {.kind = MB_EVENT_RECEIVE, .from = 2, .message = &m};
            mb_paxos_step(core, &e, &effects);
            bool kept = false;
            for (size_t i = 0; i < effects.count; i++)
                kept |= effects.of[i].kind == MB_EFFECT_PERSIST && effects.of[i].slot == slot;
            assert_int_equal(kept, slot > MB_PAXOS_AHEAD_MAX - 10 || slot == 1);
        }
    assert_int_equal(mb_paxos_status(core).kept_bytes, 11 * LEN);
    assert_int_equal(mb_paxos_status(core).crowded, 2 * (MB_PAXOS_AHEAD_MAX - 11));
    /* What is said to be chosen has no more room, but for the next slot: which is applied. */
    ask(core, 2);
    struct mb_paxos_item items[2] = {{.slot = 1, .value = mb_bytes(bytes, LEN)},
                                     {.slot = 2, .value = mb_bytes(bytes, LEN)}};
    struct mb_paxos_message m = {.kind = MB_PAXOS_CHOSEN, .items = items, .count = 2};
    struct mb_event e = {.kind = MB_EVENT_RECEIVE, .from = 2, .message = &m};
    mb_paxos_step(core, &e, &effects);
    assert_int_equal(mb_paxos_status(core).kept_bytes, 12 * LEN);
    mb_paxos_step(core, &(struct mb_event){.kind = MB_EVENT_APPLIED, .slot = 1}, &effects);
    assert_int_equal(mb_paxos_status(core).kept_bytes, 10 * LEN);
    mb_effects_clear(&effects);
    mb_paxos_free(core);
    free(bytes);
}

static void catches_up(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    uint32_t late = leader_of(n) % 3 + 1;
    n->cut[late] = true;
    for (int i = 0; i < 1000; i++)
        submit(n, "x");
    n->cut[late] = false;
    run(n, 2000);
    assert_int_equal(n->replicas[late].applied, 1000);
    net_free(n);
}

static void reads(void **state)
{
    struct net *n = net_new(3);
    (void)state;
    uint32_t leader = leader_of(n), follower = leader % 3 + 1;
    submit(n, "a");
    step(n, leader, (struct mb_event){.kind = MB_EVENT_READ, .id = 1});
    step(n, follower, (struct mb_event){.kind = MB_EVENT_READ, .id = 2});
    assert_int_equal(n->replicas[leader].reads, 0); /* not before a majority has confirmed it */
    run(n, 200);
    assert_int_equal(n->replicas[leader].reads, 1);
    assert_int_equal(n->replicas[follower].reads, 1);
    n->cut[leader] = true;
    step(n, leader, (struct mb_event){.kind = MB_EVENT_READ, .id = 3});
    run(n, 2000);
    assert_int_equal(n->replicas[leader].reads, 1);
    assert_int_equal(n->replicas[leader].failed_reads, 1);
    net_free(n);
}

static void grows(void **state)
{
    struct net *n = net_new(1);
    (void)state;
    submit(n, "a");
    for (uint32_t count = 2; count <= 4; count++) {
        struct mb_paxos_config in_force = {.from = 1, .version = count - 1, .count = count - 1};
        n->next = (struct mb_paxos_config){.version = count, .count = count};
        for (uint32_t i = 0; i < count; i++)
            n->next.members[i] = i + 1;
        memcpy(in_force.members, n->next.members, sizeof in_force.members);
        submit(n, "c");
        run(n, 200);
        /* The newcomer has followed from outside, and begins where the others are. */
        uint64_t applied = n->replicas[1].applied;
        assert_true(applied >= n->next.from - 1);
        struct mb_paxos_options options = {.self = count,
                                           .election_floor_ms = 300,
                                           .heartbeat_min_ms = 20,
                                           .round_trip_ms = 20,
                                           .flight_bytes = 1 << 20};
        struct mb_paxos_start s = {
            .incarnation = 1, .configs = &n->next, .config_count = 1, .applied = applied};
        struct replica *r = &n->replicas[count];
        mb_buf_add(&r->history, n->replicas[1].history.data, applied);
        r->applied = applied;
        r->core = mb_paxos_new(&options);
        step(n, count, (struct mb_event){.kind = MB_EVENT_START, .start = &s});
        run(n, 2000);
        submit(n, "b");
        run(n, 200);
        assert_int_equal(n->replicas[count].applied, n->replicas[1].applied);
    }
    net_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alone),
        cmocka_unit_test(failover),
        cmocka_unit_test(handover),
        cmocka_unit_test(asked_again),
        cmocka_unit_test(refused_round),
        cmocka_unit_test(stalled),
        cmocka_unit_test(suspected),
        cmocka_unit_test(catches_up),
        cmocka_unit_test(reads),
        cmocka_unit_test(grows),
        cmocka_unit_test(timeouts_come_down),
        cmocka_unit_test(abstains),
        cmocka_unit_test(bounded),
        cmocka_unit_test(liar),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
