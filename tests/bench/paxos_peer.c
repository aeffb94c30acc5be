/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * paxos_peer NUMBER FOLDER SECONDS: one of three replicas that have nothing but src/paxos, src/wal
 * and src/peer, as the daemon puts them together, and an apply that counts. They meet in FOLDER.
 * The one that leads puts a load on itself (peer_load.h), and prints what came of it.
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "host/host.h"
#include "loop/loop.h"
#include "paxos/paxos.h"
#include "peer/peer.h"
#include "peer_load.h"
#include "wal/wal.h"

#define REPLICAS     3
#define BATCH        1024      /* commands in a value, as the daemon has it */
#define FLIGHT_BYTES (1 << 20) /* as well */
#define KEEP_SLOTS   1024      /* of the log, behind what was applied */
#define BALLOT       20        /* bytes of a ballot in the log */

struct happening { /* an event, and what it borrows */
    struct mb_event event;
    struct mb_buf bytes;
    struct mb_paxos_message message;
    struct happening *next;
};
struct held { /* a message that waits for the disk */
    uint64_t ticket;
    uint32_t to;
    struct mb_buf frame;
    struct held *next;
};
static struct {
    uint32_t self;
    const char *folder;
    struct mb_loop *loop;
    struct mb_wal *wal;
    struct mb_peers *peers;
    struct mb_paxos *core;
    struct mb_effects effects;
    struct mb_timer *timer;
    struct happening *head, **tail;
    struct held *held, **held_tail;
    uint64_t durable, applied;
    bool running;
    struct mb_buf queue; /* when each waiting command was submitted: a double each */
    struct mb_buf sent;  /* the same of those that were proposed, in their order */
} me;
static struct peer_load load;

static void run(void);

static struct happening *happen(enum mb_event_kind kind)
{
    struct happening *h = mb_calloc(1, sizeof *h);
    h->event.kind = kind;
    *me.tail = h;
    me.tail = &h->next;
    return h;
}

static void on_timer(void *arg)
{
    (void)arg;
    happen(MB_EVENT_TICK);
    run();
}

static void transmit(uint32_t to, struct mb_bytes frame)
{
    for (uint32_t i = 1; i <= REPLICAS; i++)
        if (i != me.self && (to == 0 || to == i))
            (void)mb_peers_send(me.peers, i, frame);
}

/* --- Effects. --- */

static void on_durable(void *arg)
{
    me.durable = *(uint64_t *)arg;
    free(arg);
    while (me.held != NULL && me.held->ticket <= me.durable) {
        struct held *h = me.held;
        me.held = h->next;
        if (me.held == NULL)
            me.held_tail = &me.held;
        transmit(h->to, mb_buf_bytes(&h->frame));
        mb_buf_clear(&h->frame);
        free(h);
    }
    happen(MB_EVENT_PERSISTED)->event.ticket = me.durable;
    run();
}

static void do_persist(const struct mb_effect *e)
{
    struct mb_wal_stamp stamp = {{0}};
    struct mb_wal_record record = {.kind = MB_WAL_ACCEPTED, .slot = e->slot};
    struct mb_buf b = {0};
    uint64_t *ticket = mb_alloc(sizeof *ticket);
    *ticket = e->ticket;
    mb_buf_add_u64(&b, e->promised.round);
    mb_buf_add_u32(&b, e->promised.replica);
    mb_buf_add_u64(&b, e->promised.incarnation);
    memcpy(stamp.bytes, b.data, BALLOT);
    mb_buf_add_bytes(&b, e->value);
    record.payload = mb_buf_bytes(&b);
    bool alone = load.under_way <= 1 && e->promised.replica != me.self;
    mb_wal_append(me.wal, &stamp, &record, e->slot != 0, alone ? mb_wal_wait : NULL, on_durable,
                  ticket);
    mb_buf_clear(&b);
}

static void do_send(const struct mb_effect *e)
{
    struct mb_buf frame = {0};
    mb_paxos_encode(&e->message, &frame);
    if (e->ticket <= me.durable) {
        transmit(e->to, mb_buf_bytes(&frame));
        mb_buf_clear(&frame);
        return;
    }
    struct held *h = mb_calloc(1, sizeof *h);
    *h = (struct held){.ticket = e->ticket, .to = e->to, .frame = frame};
    *me.held_tail = h;
    me.held_tail = &h->next;
}

static void do_chosen(const struct mb_effect *e)
{
    size_t count = e->value.len / PEER_COMMAND;
    happen(MB_EVENT_APPLIED)->event.slot = me.applied = e->slot;
    if (e->slot % KEEP_SLOTS == 0)
        mb_wal_release(me.wal, e->slot - KEEP_SLOTS);
    for (size_t i = 0; i < count && me.sent.len > 0; i++) {
        double sent;
        memcpy(&sent, me.sent.data, sizeof sent);
        mb_buf_consume(&me.sent, sizeof sent);
        peer_load_done(&load, sent);
    }
}

static void carry_out(const struct mb_effect *e)
{
    switch (e->kind) {
    case MB_EFFECT_PERSIST:
        do_persist(e);
        break;
    case MB_EFFECT_SEND:
        do_send(e);
        break;
    case MB_EFFECT_CHOSEN:
        do_chosen(e);
        break;
    case MB_EFFECT_ROLE:
        must(me.sent.len == 0, "leading all along");
        break;
    case MB_EFFECT_SERVE: /* nobody falls behind, or the figures would be of another thing */
        must(false, "keeping up");
        break;
    case MB_EFFECT_READ:
    case MB_EFFECT_NO_READ:
        break;
    }
}

/* --- Events. --- */

static bool propose(void)
{
    static const uint8_t command[PEER_COMMAND];
    bool must_be;
    uint64_t slot = mb_paxos_wants(me.core, &must_be);
    size_t count = me.queue.len / sizeof(double);
    count = count < BATCH ? count : BATCH;
    if (slot == 0 || (count == 0 && !must_be))
        return false;
    struct happening *h = happen(MB_EVENT_SUBMIT);
    h->event.slot = slot;
    for (size_t i = 0; i < count; i++)
        mb_buf_add(&h->bytes, command, sizeof command);
    h->event.value = mb_buf_bytes(&h->bytes);
    mb_buf_add(&me.sent, me.queue.data, count * sizeof(double));
    mb_buf_consume(&me.queue, count * sizeof(double));
    return true;
}

static void run(void)
{
    if (me.running)
        return;
    me.running = true;
    while (me.head != NULL || propose()) {
        struct happening *h = me.head;
        me.head = h->next;
        if (me.head == NULL)
            me.tail = &me.head;
        h->event.now_ms = mb_now_ms();
        mb_random(&h->event.random, sizeof h->event.random);
        mb_paxos_step(me.core, &h->event, &me.effects);
        for (size_t i = 0; i < me.effects.count; i++)
            carry_out(&me.effects.of[i]);
        mb_paxos_message_clear(&h->message);
        mb_buf_clear(&h->bytes);
        free(h);
    }
    me.running = false;
    int64_t at = me.effects.timer_at_ms, now = mb_now_ms();
    if (at != INT64_MAX)
        mb_timer_set(me.timer, at > now ? at - now : 0);
    /* Commands of its own once it can propose. */
    if (mb_paxos_wants(me.core, NULL) != 0)
        peer_load_begin(&load);
}

static void submit(double sent)
{
    mb_buf_add(&me.queue, &sent, sizeof sent);
    run();
}

static void on_frame(void *arg, uint32_t from, uint64_t epoch, struct mb_bytes bytes)
{
    struct happening *h = mb_calloc(1, sizeof *h);
    (void)arg, (void)epoch;
    mb_buf_add_bytes(&h->bytes, bytes);
    must(mb_paxos_decode(&h->message, mb_buf_bytes(&h->bytes), NULL) == 0, "a message");
    h->event.kind = MB_EVENT_RECEIVE;
    h->event.from = from;
    h->event.message = &h->message;
    *me.tail = h;
    me.tail = &h->next;
    run();
}

/* --- Start. --- */

static void on_failed(void *arg, const struct mb_error *error)
{
    (void)arg;
    must(false, error->text);
}

static int resolve(void *arg, uint32_t number, enum mb_peer_channel channel, char *path,
                   size_t size)
{
    (void)arg, (void)channel;
    return mb_snprintf(path, size, "%s/%u.sock", me.folder, number);
}

static void key_of(uint32_t number, struct mb_secret_key *key)
{
    const uint8_t seed[32] = {(uint8_t)number};
    mb_secret_key_from_seed(key, seed);
}

static void meet(void)
{
    struct mb_secret_key keys[REPLICAS];
    struct mb_peer_member members[REPLICAS];
    char *listen = mb_asprintf("%s/%u.sock", me.folder, me.self);
    for (uint32_t i = 0; i < REPLICAS; i++) {
        key_of(i + 1, &keys[i]);
        members[i] = (struct mb_peer_member){.number = i + 1, .key = keys[i].public_key};
    }
    struct mb_peers_options options = {
        .loop = me.loop,
        .self = me.self,
        .incarnation = 1,
        .key = &keys[me.self - 1],
        .listen = listen,
        .temp_dir = me.folder,
        .resolve = resolve,
        .on_frame = on_frame,
    };
    must(mb_peers_new(&me.peers, &options, NULL) == 0 &&
             mb_peers_set_members(me.peers, members, REPLICAS, 1, NULL) == 0,
         "src/peer");
    free(listen);
}

static void open_log(void)
{
    struct mb_wal_options options = {.failed = on_failed};
    char *dir = mb_asprintf("%s/log%u", me.folder, me.self);
    must(mb_wal_create(dir, 0, NULL) == 0 &&
             mb_wal_open(&me.wal, me.loop, dir, &options, NULL) == 0,
         dir);
    free(dir);
}

int main(int argc, char **argv)
{
    struct mb_paxos_config config = {
        .from = 1, .version = 1, .members = {1, 2, 3}, .count = REPLICAS};
    struct mb_paxos_start start = {.incarnation = 1, .configs = &config, .config_count = 1};
    must(argc == 4, "paxos_peer NUMBER FOLDER SECONDS");
    me.self = (uint32_t)strtoul(argv[1], NULL, 10);
    me.folder = argv[2];
    load = (struct peer_load){.seconds = strtod(argv[3], NULL), .submit = submit};
    must(me.self >= 1 && me.self <= REPLICAS && load.seconds > 0, "an argument");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    me.loop = mb_loop_new();
    me.tail = &me.head;
    me.held_tail = &me.held;
    me.timer = mb_timer_new(me.loop, on_timer, NULL);
    open_log();
    meet();
    struct mb_paxos_options options = {.self = me.self,
                                       .election_floor_ms = 1000,
                                       .heartbeat_min_ms = 100,
                                       .round_trip_ms = 10,
                                       .flight_bytes = FLIGHT_BYTES};
    me.core = mb_paxos_new(&options);
    happen(MB_EVENT_START)->event.start = &start;
    run();
    mb_loop_run(me.loop); /* until it is killed */
    return 0;
}
