/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Time, the network, what goes wrong, and the run of one seed. */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/command.h"
#include "sim.h"

const char *const fault_names[FAULTS] = {
    "loss", "double", "replay", "reorder", "delay", "burst",   "far",      "partition", "crash",
    "torn", "record", "clock",  "disk",    "pause", "members", "snapshot", "stop",      "suspect"};

/* --- Chance. --- */

/* SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
uint64_t chance(struct world *w, uint64_t n)
{
    uint64_t z = w->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % n;
}

bool once_in(struct world *w, uint64_t n)
{
    return chance(w, n) == 0;
}

bool faulty(const struct world *w, enum fault f)
{
    return !w->healed && (w->faults & (1u << f)) != 0;
}

void fail(struct world *w, const char *format, ...)
{
    char text[512];
    va_list args;
    if (w->failed != NULL)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    w->failed = mb_strdup(text);
    trace(w, "FAILED: %s", text);
}

void trace(struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->trace)
        return;
    printf("%6" PRIu64 " %9" PRId64 " ms  ", w->events, w->now);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

/* --- What was decided. --- */

struct chosen *chosen_at(struct world *w, uint64_t slot)
{
    if (slot >= w->chosen_cap) {
        uint64_t cap = 2 * slot + 256;
        w->chosen = mb_realloc(w->chosen, cap * sizeof *w->chosen);
        memset(w->chosen + w->chosen_cap, 0, (cap - w->chosen_cap) * sizeof *w->chosen);
        w->chosen_cap = cap;
    }
    return &w->chosen[slot];
}

void vote_at(struct world *w, uint32_t replica, const struct record *d)
{
    struct chosen *c = chosen_at(w, d->slot);
    if (c->vote_count % 8 == 0)
        c->votes = mb_realloc(c->votes, (c->vote_count + 8) * sizeof *c->votes);
    c->votes[c->vote_count++] = (struct durable_vote){replica, d->promised, d->hash};
}

void config_decided(struct world *w, const struct mb_paxos_config *config)
{
    trace(w, "configuration %" PRIu64 " of %zu from slot %" PRIu64, config->version, config->count,
          config->from);
    w->configs[w->config_count++] = *config;
}

const struct mb_paxos_config *config_of(struct world *w, uint64_t slot)
{
    size_t i = w->config_count;
    while (i > 1 && w->configs[i - 1].from > slot)
        i--;
    return &w->configs[i - 1];
}

const struct mb_paxos_config *newest_config(struct world *w)
{
    return &w->configs[w->config_count - 1];
}

/* --- The queue of what is going to happen. --- */

static bool before(const struct happening *a, const struct happening *b)
{
    return a->at != b->at ? a->at < b->at : a->number < b->number;
}

void queue(struct world *w, struct happening h)
{
    if (w->queue_count == w->queue_cap) {
        w->queue_cap = 2 * w->queue_cap + 256;
        w->queue = mb_realloc(w->queue, w->queue_cap * sizeof *w->queue);
    }
    size_t i = w->queue_count++;
    h.number = ++w->happenings;
    for (; i > 0 && before(&h, &w->queue[(i - 1) / 2]); i = (i - 1) / 2)
        w->queue[i] = w->queue[(i - 1) / 2];
    w->queue[i] = h;
}

static struct happening unqueue(struct world *w)
{
    struct happening first = w->queue[0], last = w->queue[--w->queue_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->queue_count; i = child) {
        if (child + 1 < w->queue_count && before(&w->queue[child + 1], &w->queue[child]))
            child++;
        if (!before(&w->queue[child], &last))
            break;
        w->queue[i] = w->queue[child];
    }
    w->queue[i] = last;
    return first;
}

/* --- The network. --- */

static void deliver_at(struct world *w, int64_t at, const struct happening *h,
                       struct mb_bytes bytes)
{
    struct happening copy = *h;
    copy.at = at;
    copy.bytes = (struct mb_buf){0};
    mb_buf_add_bytes(&copy.bytes, bytes);
    queue(w, copy);
}

void post(struct world *w, uint32_t from, uint32_t to, enum parcel kind, uint64_t slot,
          struct mb_bytes bytes)
{
    struct happening h = {.what = ARRIVE, .to = to, .from = from, .parcel = kind, .slot = slot};
    int64_t trip = w->trip_ms + (int64_t)chance(w, (uint64_t)w->trip_ms / 4 + 1);
    if (to > REPLICAS || !w->replicas[to].exists || w->now < w->cut_until[from][to] ||
        (faulty(w, FAULT_LOSS) && once_in(w, 12)))
        return;
    if (faulty(w, FAULT_DELAY) && w->now < w->slow_until[from][to])
        trip += w->slow_ms;
    if (faulty(w, FAULT_REORDER) && once_in(w, 5))
        trip += (int64_t)chance(w, 6 * (uint64_t)w->trip_ms + 2);
    else if (w->last_ms[from][to] > w->now + trip)
        trip = w->last_ms[from][to] - w->now; /* a stream keeps its order */
    if (!faulty(w, FAULT_REORDER))
        w->last_ms[from][to] = w->now + trip;
    deliver_at(w, w->now + trip, &h, bytes);
    if (faulty(w, FAULT_DOUBLE) && once_in(w, 10))
        deliver_at(w, w->now + trip + (int64_t)chance(w, 50), &h, bytes);
    if (faulty(w, FAULT_REPLAY) && once_in(w, 20))
        deliver_at(w, w->now + trip + (int64_t)chance(w, 180000), &h, bytes);
}

/* What was under way from one to another is lost. */
static void lose_stream(struct world *w, uint32_t from, uint32_t to)
{
    for (size_t i = 0; i < w->queue_count; i++)
        if (w->queue[i].what == ARRIVE && w->queue[i].from == from && w->queue[i].to == to)
            w->queue[i].life = UINT64_MAX; /* of nobody */
}

/* --- What goes wrong. --- */

static struct replica *any_replica(struct world *w)
{
    struct replica *found = NULL;
    uint64_t seen = 0;
    for (uint32_t n = 1; n <= REPLICAS; n++)
        if (w->replicas[n].up && once_in(w, ++seen))
            found = &w->replicas[n];
    return found;
}

static uint32_t any_number(struct world *w)
{
    return 1 + (uint32_t)chance(w, w->founders + (w->config_count > 1 ? 2 : 0));
}

static int64_t a_while(struct world *w)
{
    return (int64_t)chance(w, 40 * (uint64_t)w->trip_ms + 2000) + 1;
}

static void cut(struct world *w, uint32_t from, uint32_t to, int64_t until)
{
    w->cut_until[from][to] = until;
}

static void partition(struct world *w)
{
    uint64_t side = chance(w, 1u << REPLICAS), kind = chance(w, 4);
    uint32_t a = any_number(w), b = any_number(w);
    int64_t until = w->now + a_while(w);
    trace(w, "partition %" PRIu64 " (%" PRIx64 ", %u %u) until %" PRId64, kind, side, a, b, until);
    for (uint32_t n = 1; n <= REPLICAS; n++)
        for (uint32_t m = 1; m <= REPLICAS; m++)
            if ((kind == 0 && ((side >> (n - 1)) & 1) != ((side >> (m - 1)) & 1)) ||
                (kind == 1 && (n == a || m == a)) || (kind == 2 && n == a) ||
                (kind == 3 && n == a && m == b))
                cut(w, n, m, until);
}

static void stop_one(struct world *w, struct replica *r, bool crash)
{
    uint64_t back = once_in(w, 3) ? chance(w, 60000) : chance(w, 4 * (uint64_t)w->trip_ms);
    if (r == NULL)
        return;
    trace(w, "%s of %u", crash ? "crash" : "stop", r->number);
    if (!crash && r->core != NULL) {
        r->stopping = true;
        replica_step(w, r, (struct mb_event){.kind = MB_EVENT_STOP});
    }
    if (w->failed != NULL)
        return;
    replica_end(w, r, crash);
    queue(w, (struct happening){.at = w->now + 1 + (int64_t)back, .what = BOOT, .to = r->number});
}

static void disturb_clock(struct world *w)
{
    struct replica *r = any_replica(w);
    if (r == NULL)
        return;
    r->rate = 900 + (int64_t)chance(w, 200);
    r->offset_ms += once_in(w, 4) ? (int64_t)chance(w, 3600000) : (int64_t)chance(w, 10000) - 5000;
    if (r->offset_ms < 1)
        r->offset_ms = 1;
    r->timer_ms = 0;
    replica_step(w, r, (struct mb_event){.kind = MB_EVENT_TICK});
}

static void disturb_net(struct world *w, enum fault f)
{
    uint32_t a = any_number(w), b = any_number(w);
    if (f == FAULT_BURST) {
        lose_stream(w, a, b);
        lose_stream(w, b, a);
        cut(w, a, b, w->now + 3 * w->trip_ms);
        cut(w, b, a, w->now + 3 * w->trip_ms);
    } else if (f == FAULT_DELAY) {
        w->slow_until[a][b] = w->now + a_while(w);
        w->slow_ms = (int64_t)chance(w, 10000);
    } else if (f == FAULT_FAR) {
        w->trip_ms = once_in(w, 2) ? 1 + (int64_t)chance(w, 1000) : (int64_t)chance(w, 20000) + 1;
    } else {
        partition(w);
    }
}

static uint32_t new_command(struct world *w, struct replica *r)
{
    uint32_t id = w->command_count++;
    if (w->real)
        command_make(w, id);
    replica_ask(w, r, id);
    return id;
}

static void change_members(struct world *w)
{
    struct replica *r = any_replica(w);
    const struct mb_paxos_config *c = newest_config(w);
    uint32_t next = 1;
    if (r == NULL || w->command_count == COMMANDS || w->config_count > 60 || w->real)
        return;
    while (next <= REPLICAS && w->replicas[next].exists)
        next++;
    bool add = next <= REPLICAS && (c->count < 3 || once_in(w, 2));
    if (!add && c->count < 2)
        return;
    uint32_t id = new_command(w, r);
    w->commands[id].kind = add ? COMMAND_ADD : COMMAND_REMOVE;
    w->commands[id].replica = add ? next : c->members[chance(w, c->count)];
    trace(w, "to %u: %s %u", r->number, add ? "add" : "remove", w->commands[id].replica);
    if (add) {
        replica_add(w, next);
        w->commands[id].ready = w->replicas[next].state.applied;
    }
}

static void one_trouble(struct world *w, enum fault f)
{
    struct replica *r = any_replica(w);
    switch (f) {
    case FAULT_CRASH:
        stop_one(w, r, true);
        break;
    case FAULT_STOP:
        stop_one(w, r, false);
        break;
    case FAULT_CLOCK:
        disturb_clock(w);
        break;
    case FAULT_PAUSE:
        if (r != NULL)
            r->paused_until = w->now + a_while(w);
        break;
    case FAULT_MEMBERS:
        change_members(w);
        break;
    case FAULT_SUSPECT:
        if (r != NULL)
            replica_step(w, r, (struct mb_event){.kind = MB_EVENT_SUSPECT});
        break;
    case FAULT_BURST:
    case FAULT_DELAY:
    case FAULT_FAR:
    case FAULT_PARTITION:
        disturb_net(w, f);
        break;
    default:
        break;
    }
}

static void trouble(struct world *w)
{
    enum fault f = (enum fault)chance(w, FAULTS);
    if (w->healed)
        return;
    if (faulty(w, f))
        one_trouble(w, f);
    queue(w, (struct happening){.at = w->now + 1 +
                                      (int64_t)chance(w, 2 * (uint64_t)w->next_trouble_ms),
                                .what = TROUBLE});
}

/* --- Clients. --- */

/* A client whose replica has died, or forgotten it, asks another one again. */
static void ask_again(struct world *w)
{
    for (uint32_t id = 0; id < w->command_count; id++) {
        if (w->commands[id].acked != 0 || !once_in(w, w->healed ? 2 : 8))
            continue;
        struct replica *r = any_replica(w);
        if (r != NULL)
            replica_ask(w, r, id);
    }
}

static void read_one(struct world *w, struct replica *r)
{
    if (w->read_count + 1 == sizeof w->reads / sizeof *w->reads)
        return;
    uint64_t id = ++w->read_count;
    w->reads[id] = w->applied_max;
    replica_step(w, r, (struct mb_event){.kind = MB_EVENT_READ, .id = id});
}

static void client(struct world *w)
{
    struct replica *r = any_replica(w);
    ask_again(w);
    if (r != NULL && w->now >= r->paused_until) {
        if (w->command_count < COMMANDS && !w->healed)
            new_command(w, r);
        replica_step(w, r, (struct mb_event){.kind = MB_EVENT_TICK});
        if (w->failed == NULL && once_in(w, 3) && r->up)
            read_one(w, r);
    }
    queue(w, (struct happening){.at = w->now + 1 + (int64_t)chance(w, 2 * (uint64_t)w->interval_ms),
                                .what = CLIENT});
}

/* --- The run. --- */

static void arrive(struct world *w, struct replica *r, const struct happening *h)
{
    struct mb_paxos_message m;
    if (h->parcel == PARCEL_FORWARD) {
        replica_forwarded(w, r, mb_buf_bytes(&h->bytes));
        return;
    }
    if (h->parcel == PARCEL_SNAPSHOT) {
        replica_snapshot(w, r, h->slot);
        return;
    }
    if (mb_paxos_decode(&m, mb_buf_bytes(&h->bytes), NULL) != 0)
        return;
    replica_step(w, r, (struct mb_event){.kind = MB_EVENT_RECEIVE, .from = h->from, .message = &m});
    mb_paxos_message_clear(&m);
}

static void happen(struct world *w, struct happening *h)
{
    struct replica *r = &w->replicas[h->to];
    if (h->what == CLIENT) {
        client(w);
        return;
    }
    if (h->what == TROUBLE) {
        trouble(w);
        return;
    }
    if (h->what == BOOT) {
        if (!r->up)
            replica_boot(w, r);
        return;
    }
    if (!r->up || (h->life != 0 && h->life != r->life) || (h->what == CRASH && w->healed))
        return;
    if (w->now < r->paused_until) {
        h->at = r->paused_until;
        queue(w, *h);
        h->bytes = (struct mb_buf){0};
        return;
    }
    if (h->what == CRASH)
        stop_one(w, r, true);
    else if (h->what == ARRIVE)
        arrive(w, r, h);
    else if (h->what == SYNCED)
        replica_synced(w, r);
    else if (h->what == APPLY)
        replica_apply(w, r);
    else
        replica_tick(w, r, h->slot);
}

static void next(struct world *w)
{
    struct happening h = unqueue(w);
    w->now = h.at > w->now ? h.at : w->now;
    happen(w, &h);
    mb_buf_clear(&h.bytes);
}

static void heal(struct world *w)
{
    trace(w, "healed");
    w->healed = true;
    memset(w->cut_until, 0, sizeof w->cut_until);
    memset(w->slow_until, 0, sizeof w->slow_until);
    w->trip_ms = w->trip_ms > 1000 ? 1000 : w->trip_ms;
    for (uint32_t n = 1; n <= REPLICAS && w->failed == NULL; n++) {
        struct replica *r = &w->replicas[n];
        r->paused_until = 0;
        if (r->exists && !r->up)
            replica_boot(w, r);
        r->sync_ms = 1;
    }
}

/* Everybody who votes has applied every command, and all that anybody has. */
static bool settled(struct world *w)
{
    const struct mb_paxos_config *c = newest_config(w);
    for (uint32_t id = 0; id < w->command_count; id++)
        if (w->commands[id].acked == 0)
            return false;
    for (size_t i = 0; i < c->count; i++) {
        const struct replica *r = &w->replicas[c->members[i]];
        if (!r->up || r->state.applied + 2 < w->applied_max)
            return false;
    }
    return true;
}

static int64_t patience(struct world *w)
{
    int64_t most = 0;
    for (uint32_t n = 1; n <= REPLICAS; n++) {
        int64_t t = w->replicas[n].up ? mb_paxos_status(w->replicas[n].core).election_ms : 0;
        most = t > most ? t : most;
    }
    most = most < 40 * w->trip_ms ? 40 * w->trip_ms : most;
    return 12 * most + 60000 + 100 * w->interval_ms; /* clients ask those that have left, too */
}

/* What was acknowledged is in the history of everybody who votes. */
static void check_histories(struct world *w)
{
    const struct mb_paxos_config *c = newest_config(w);
    for (size_t i = 0; i < c->count; i++)
        for (uint32_t id = 0; id < w->command_count; id++) {
            struct replica *r = &w->replicas[c->members[i]];
            if (w->commands[id].acked != 0 && r->state.applied >= w->commands[id].acked &&
                !state_has(w, &r->state, id))
                fail(w, "command %u was acknowledged, and %u does not have it", id, r->number);
        }
}

static void choose_faults(struct world *w)
{
    uint64_t level = chance(w, 4); /* none, few, half, most */
    for (unsigned f = 0; f < FAULTS; f++)
        if (chance(w, 4) < level)
            w->faults |= 1u << f;
    w->faults &= ~w->without;
    bool near = once_in(w, 3);
    w->trip_ms = near ? 1 + (int64_t)chance(w, 5) : 150 + (int64_t)chance(w, 850);
    w->options = (struct mb_paxos_options){.election_floor_ms = near ? 300 : 8000,
                                           .rebuild_ms = near ? 0 : 2000,
                                           .heartbeat_min_ms = near ? 10 : 50,
                                           .round_trip_ms = near ? 10 : 1000,
                                           .flight_bytes = 1u << 20,
                                           .ahead_bytes = w->seed % 4 == 3 ? 16384 : 0};
    w->next_trouble_ms = (near ? 20 : 1000) + (int64_t)chance(w, near ? 200 : 10000);
    w->interval_ms = (near ? 5 : 300) + (int64_t)chance(w, near ? 50 : 3000);
    w->founders = w->real ? 3 : (uint32_t[]){1, 2, 3, 3, 3, 3, 4, 5, 5, 5}[chance(w, 10)];
    w->value_bytes = w->seed % 500 == 7 ? 400000 : 0;
}

static void found(struct world *w)
{
    w->configs[w->config_count++] =
        (struct mb_paxos_config){.from = 1, .version = 1, .count = w->founders};
    for (uint32_t n = 1; n <= w->founders; n++)
        w->configs[0].members[n - 1] = n;
    for (uint32_t n = 1; n <= w->founders; n++)
        replica_add(w, n);
    for (uint32_t n = 1; n <= w->founders; n++)
        w->replicas[n].archive_from = 1;
    queue(w, (struct happening){.at = 1, .what = CLIENT});
    queue(w, (struct happening){.at = w->options.election_floor_ms, .what = TROUBLE});
}

static void world_clear(struct world *w)
{
    for (uint32_t n = 1; n <= REPLICAS; n++)
        replica_free(&w->replicas[n]);
    for (uint64_t i = 0; i < w->chosen_cap; i++) {
        mb_buf_clear(&w->chosen[i].value);
        free(w->chosen[i].votes);
    }
    for (size_t i = 0; i < w->queue_count; i++)
        mb_buf_clear(&w->queue[i].bytes);
    for (uint32_t i = 0; i < w->command_count; i++) {
        mb_checked_free(w->commands[i].envelope);
        free(w->commands[i].key);
    }
    if (w->genesis != NULL)
        mb_buf_clear(w->genesis);
    free(w->genesis);
    free(w->chosen);
    free(w->queue);
    free(w->proposals);
    free(w);
}

int simulate(struct run *run)
{
    struct world *w = mb_calloc(1, sizeof *w);
    w->seed = w->random = run->seed;
    w->without = run->without;
    w->trace = run->trace;
    w->most = run->events;
    w->real = run->seed % 20 == 0;
    choose_faults(w);
    found(w);
    while (w->failed == NULL && w->events < w->most)
        next(w);
    if (w->failed == NULL)
        heal(w);
    int64_t bound = patience(w), until = w->now + bound;
    while (w->failed == NULL && !settled(w)) {
        next(w);
        if (w->now > until)
            fail(w, "no progress within %" PRId64 " ms of healing", bound);
    }
    if (w->failed == NULL)
        check_histories(w);
    w->counts.seeds = 1;
    w->counts.events = w->events;
    run->counts = w->counts;
    run->faults = w->faults;
    run->failed = w->failed;
    run->failed_at = w->events;
    world_clear(w);
    return run->failed == NULL ? 0 : -1;
}
