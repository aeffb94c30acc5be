/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * submit → chosen → applied. A command that has passed the door waits here until a block has it,
 * whoever proposed that: the leader makes values of what waits, a follower forwards it to the
 * leader, and again to the next one, for a command counts once however often it comes.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/consensus.h"
#include "ledger/message.h"

#define QUEUE_BYTES_MAX (32u << 20)
#define TICK_MS         1000
#define EMPTY_AFTER_S   5   /* after a block that is no checkpoint slot (Clarification 5) */
#define LAG_S           600 /* ledger time behind our clock (Clarification 2) */
#define STALE_S         120 /* a leader whose ledger time lags so far with work due is suspected */
#define PATIENCE        3   /* with a leader, in election timeouts */
#define TABLE           4096

enum stage {
    QUEUED,    /* for us to propose, or to forward once there is a leader */
    FORWARDED, /* the leader has it, or it was lost on the way */
    PROPOSED,  /* in a value of ours; the batch owns checked */
    WAITING,   /* the same command came again: the first one is on its way */
};
struct submission {
    struct mb_hash id;
    enum stage stage;
    struct mb_checked *checked;
    sequence_done *done;
    void *arg;
    int64_t forwarded_ms, since_ms;
    struct submission *next;  /* in the queue */
    struct submission *chain; /* in the table */
};
struct checking {
    struct sequence *sequence;
    struct mb_envelope envelope;
    struct mb_checked *checked;
    sequence_done *done;
    void *arg;
};
struct sequence {
    struct node *node;
    struct submission *head, **tail; /* QUEUED */
    struct submission *table[TABLE];
    size_t queued, queued_bytes, pending, checking;
    uint64_t turn;              /* of the loop, in which an envelope came last, */
    unsigned came, came_before; /* how many did, and in the turn before that with any */
    uint32_t leader;
    bool empty_due; /* a block without commands */
    int64_t led_ms; /* since when leader is followed */
    int64_t lag,
        lag_ms; /* the least that ledger time is too late under this leader, and since when */
    struct mb_timer *tick;
    uint64_t blocks, commands, refused;
    void (*drained)(void *arg);
    void *drained_arg;
};

static void on_tick(void *arg);

struct sequence *sequence_new(struct node *n)
{
    struct sequence *s = mb_calloc(1, sizeof *s);
    s->node = n;
    s->tail = &s->head;
    s->tick = mb_timer_new(n->loop, on_tick, s);
    mb_timer_set(s->tick, TICK_MS);
    return s;
}

void sequence_free(struct sequence *s)
{
    if (s == NULL)
        return;
    mb_timer_free(s->tick);
    free(s);
}

static bool leads(const struct sequence *s)
{
    return s->leader != 0 && s->leader == s->node->number;
}

/* --- The table of what has no result yet. --- */

static struct submission **slot_of(struct sequence *s, const struct mb_hash *id)
{
    return &s->table[((size_t)id->b[0] << 8 | id->b[1]) % TABLE];
}

static struct submission *find(struct sequence *s, const struct mb_hash *id)
{
    struct submission *sub = *slot_of(s, id);
    while (sub != NULL && (sub->stage == WAITING || !mb_hash_equal(&sub->id, id)))
        sub = sub->chain;
    return sub;
}

static size_t size_of(const struct mb_checked *c)
{
    return c->envelope.text.len + c->envelope.signature.len;
}

static void enqueue(struct sequence *s, struct submission *sub)
{
    sub->stage = QUEUED;
    sub->next = NULL;
    *s->tail = sub;
    s->tail = &sub->next;
    s->queued++;
    s->queued_bytes += size_of(sub->checked);
}

static struct submission *dequeue(struct sequence *s)
{
    struct submission *sub = s->head;
    s->head = sub->next;
    if (s->head == NULL)
        s->tail = &s->head;
    s->queued--;
    s->queued_bytes -= size_of(sub->checked);
    return sub;
}

static void unqueue(struct sequence *s, struct submission *sub)
{
    struct submission **at = &s->head;
    while (*at != sub)
        at = &(*at)->next;
    *at = sub->next;
    if (*at == NULL)
        s->tail = at;
    s->queued--;
    s->queued_bytes -= size_of(sub->checked);
}

/* Give all submissions of this id their result, and forget them. */
static void finish(struct sequence *s, const struct mb_hash *id, const struct mb_submitted *result)
{
    struct submission **at = slot_of(s, id), *done = NULL, *next;
    while (*at != NULL) {
        struct submission *sub = *at;
        if (!mb_hash_equal(&sub->id, id)) {
            at = &sub->chain;
            continue;
        }
        *at = sub->chain;
        if (sub->stage == QUEUED)
            unqueue(s, sub);
        sub->chain = done;
        done = sub;
        s->pending--;
    }
    for (; done != NULL; done = next) {
        next = done->chain;
        if (done->stage != PROPOSED)
            mb_checked_free(done->checked);
        done->done(done->arg, result);
        free(done);
    }
}

static void refuse(struct sequence *s, const struct mb_hash *id, struct mb_error *error)
{
    struct mb_submitted result = {.slot = 0, .ok = false, .error = error};
    mb_message_fill(error, s->node->modules.logics, s->node->modules.count);
    mb_hash_hex(id, result.id);
    finish(s, id, &result);
}

void sequence_idle(struct sequence *s)
{
    if (s->drained == NULL || s->pending > 0 || s->checking > 0)
        return;
    void (*drained)(void *arg) = s->drained;
    s->drained = NULL;
    drained(s->drained_arg);
}

void sequence_abandon(struct sequence *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < TABLE; i++)
        while (s->table[i] != NULL) {
            /* It may be in the log, so it is not said to have failed. */
            struct mb_error error = {0};
            struct mb_hash id = s->table[i]->id;
            mb_fail(&error, MB_EREACH, "limit.stopping", "the replica is stopping: send it again");
            refuse(s, &id, &error);
        }
}

void sequence_drain(struct sequence *s, void (*done)(void *arg), void *arg)
{
    s->drained = done;
    s->drained_arg = arg;
    sequence_idle(s);
}

/* --- In. --- */

static int admit(struct sequence *s, const struct mb_checked *checked, struct mb_error *error)
{
    struct node *n = s->node;
    if (n->stopping || s->drained != NULL || n->exit_status != 0)
        return mb_fail(error, MB_EREACH, "limit.stopping",
                       "the replica is stopping: send it again");
    if (n->number == 0)
        return mb_fail(error, MB_EREACH, "limit.follower",
                       "this daemon only follows the organisation: ask a replica");
    if (s->queued_bytes + size_of(checked) > QUEUE_BYTES_MAX)
        return mb_fail(error, MB_EREACH, "limit.busy", "too much is waiting: send it again later");
    return mb_ledger_try(n->ledger, checked, mb_clock_s(), error);
}

static void forward_queue(struct sequence *s);

void sequence_submit(struct sequence *s, struct mb_checked *checked, sequence_done *done, void *arg)
{
    struct node *n = s->node;
    struct mb_error error = {0};
    if (admit(s, checked, &error) != 0) {
        struct mb_submitted result = {.slot = 0, .ok = false, .error = &error};
        s->refused++;
        mb_message_fill(&error, n->modules.logics, n->modules.count);
        mb_hash_hex(&checked->id, result.id);
        done(arg, &result);
        mb_checked_free(checked);
        return;
    }
    struct submission *sub = mb_calloc(1, sizeof *sub), **at = slot_of(s, &checked->id);
    bool again = find(s, &checked->id) != NULL;
    *sub = (struct submission){.id = checked->id,
                               .checked = checked,
                               .done = done,
                               .arg = arg,
                               .since_ms = mb_now_ms(),
                               .chain = *at};
    *at = sub;
    s->pending++;
    if (again) {
        sub->stage = WAITING;
        return;
    }
    enqueue(s, sub);
    if (leads(s))
        consensus_kick(n->consensus);
    else
        forward_queue(s);
}

static void check_work(void *arg)
{
    struct checking *c = arg;
    c->checked = mb_checked_new(&c->envelope);
}

static void check_done(void *arg)
{
    struct checking *c = arg;
    struct sequence *s = c->sequence;
    s->checking--;
    sequence_submit(s, c->checked, c->done, c->arg);
    sequence_idle(s);
    free(c);
}

/* Where several are ready at once, none is alone, though each be done before the next is read. */
static void note_turn(struct sequence *s)
{
    uint64_t turn = mb_loop_turn(s->node->loop);
    if (turn != s->turn) {
        s->came_before = s->came;
        s->came = 0;
        s->turn = turn;
    }
    s->came++;
}

void sequence_submit_envelope(struct sequence *s, struct mb_envelope *envelope, sequence_done *done,
                              void *arg)
{
    struct checking *c = mb_calloc(1, sizeof *c);
    *c = (struct checking){.sequence = s, .envelope = *envelope, .done = done, .arg = arg};
    *envelope = (struct mb_envelope){0};
    note_turn(s);
    bool alone = s->pending == 0 && sequence_alone(s);
    s->checking++;
    if (alone) {
        check_work(c); /* nobody waits: two thread switches cost more than they save */
        check_done(c);
    } else {
        mb_work(s->node->loop, check_work, check_done, c);
    }
}

bool sequence_alone(const struct sequence *s)
{
    return s->pending <= 1 && s->checking == 0 && s->came <= 1 && s->came_before <= 1;
}

/* --- Among replicas. --- */

/* To one, or (0) to all. */
static void forward(struct sequence *s, struct submission *sub, uint32_t to)
{
    struct mb_relay relay = {.kind = MB_RELAY_FORWARD,
                             .part = {mb_buf_bytes(&sub->checked->envelope.text),
                                      mb_buf_bytes(&sub->checked->envelope.signature)}};
    if (sub->stage != PROPOSED) /* what is in a value of ours may be chosen there yet */
        sub->stage = FORWARDED;
    sub->forwarded_ms = mb_now_ms();
    links_send(s->node->links, to, &relay);
}

static void forward_queue(struct sequence *s)
{
    if (s->leader == 0 || leads(s))
        return;
    while (s->head != NULL)
        forward(s, dequeue(s), s->leader);
}

void sequence_role(struct sequence *s)
{
    uint32_t leader = consensus_status(s->node->consensus).leader;
    if (leader == s->leader)
        return;
    mb_log(MB_LOG_INFO, "consensus", "leader", "number=%u", leader);
    s->leader = leader;
    s->led_ms = mb_now_ms();
    s->lag = INT64_MAX;
    for (size_t i = 0; i < TABLE; i++)
        for (struct submission *sub = s->table[i]; sub != NULL; sub = sub->chain)
            if (sub->stage == FORWARDED)
                enqueue(s, sub);
            else if (sub->stage == PROPOSED && leader != 0 && !leads(s))
                forward(s, sub, leader);
    forward_queue(s);
}

struct relayed { /* a command that another replica forwarded to us */
    struct node *node;
    uint32_t from;
};

static void relayed_done(void *arg, const struct mb_submitted *result)
{
    struct relayed *r = arg;
    struct mb_hash id;
    if (result->slot == 0 && mb_hash_from_hex(&id, result->id) == 0) {
        struct mb_relay relay = {.kind = MB_RELAY_REFUSED,
                                 .part = {mb_bytes(id.b, sizeof id.b),
                                          mb_bytes_of(result->error->code),
                                          mb_bytes_of(result->error->args)}};
        links_send(r->node->links, r->from, &relay);
    }
    free(r);
}

void sequence_forwarded(struct sequence *s, uint32_t from, const struct mb_relay *relay)
{
    struct mb_envelope e = {0};
    struct mb_hash id = mb_sha256(relay->part[0].data, relay->part[0].len);
    if (relay->part[0].len > MB_COMMAND_MAX || find(s, &id) != NULL || MB_LIE("lie.censor"))
        return;
    if (MB_LIE("lie.refuse")) {
        struct mb_relay refusal = {.kind = MB_RELAY_REFUSED,
                                   .part = {mb_bytes(id.b, sizeof id.b),
                                            mb_bytes_of("command.access"), mb_bytes_of("[]")}};
        links_send(s->node->links, from, &refusal);
        return;
    }
    struct relayed *r = mb_calloc(1, sizeof *r);
    *r = (struct relayed){.node = s->node, .from = from};
    mb_buf_add_bytes(&e.text, relay->part[0]);
    mb_buf_add_bytes(&e.signature, relay->part[1]);
    sequence_submit_envelope(s, &e, relayed_done, r);
}

/* What the leader refuses is refused here too if our own state says so, now or once we have applied
 * what it has: it is asked again until then. It cannot refuse what the state allows. */
void sequence_refused(struct sequence *s, uint32_t from, const struct mb_relay *relay)
{
    struct mb_hash id;
    struct mb_error error = {.code = ""};
    if (from != s->leader || relay->part[0].len != sizeof id.b ||
        relay->part[1].len >= sizeof error.code || relay->part[2].len >= sizeof error.args)
        return;
    memcpy(id.b, relay->part[0].data, sizeof id.b);
    struct submission *sub = find(s, &id);
    if (sub == NULL || sub->stage != FORWARDED)
        return;
    memcpy(error.code, relay->part[1].data, relay->part[1].len);
    memcpy(error.args, relay->part[2].data, relay->part[2].len);
    if (strcmp(error.code, "limit.busy") != 0 &&
        mb_ledger_try(s->node->ledger, sub->checked, mb_clock_s(), &error) == 0)
        sub->forwarded_ms = 0;
    else if (strcmp(error.code, "command.repeated") != 0) /* else a block has it */
        refuse(s, &id, &error);
}

/* --- Out. --- */

bool sequence_fill(struct sequence *s, uint64_t slot, bool must, struct mb_buf *value,
                   struct batch **out)
{
    struct node *n = s->node;
    size_t bytes = 0;
    if (s->queued == 0 && !must && !s->empty_due)
        return false;
    s->empty_due = false;
    struct batch *b = mb_calloc(1, sizeof *b);
    b->slot = slot;
    b->own = true;
    size_t most = s->queued < MB_VALUE_ENVELOPES_MAX ? s->queued : MB_VALUE_ENVELOPES_MAX;
    b->checked = mb_calloc(most + 1, sizeof(struct mb_checked *));
    while (s->head != NULL && b->count < most) {
        size_t size = size_of(s->head->checked) + 6;
        if (b->count > 0 && bytes + size > MB_VALUE_BODIES_MAX)
            break;
        bytes += size;
        struct submission *sub = dequeue(s);
        sub->stage = PROPOSED;
        b->checked[b->count++] = sub->checked;
    }
    int64_t time = MB_LIE("lie.freeze") ? mb_ledger_tip(n->ledger)->time
                                        : mb_clock_s() + (MB_LIE("lie.time") ? 3600 : 0);
    mb_value_encode(value, &n->key, &mb_ledger_genesis(n->ledger)->org, slot, time, b->checked,
                    b->count);
    *out = b;
    return true;
}

void sequence_lost(struct sequence *s, struct batch *b)
{
    for (size_t i = 0; i < b->count && b->own; i++) {
        struct submission *sub = find(s, &b->checked[i]->id);
        if (sub == NULL || sub->stage != PROPOSED || sub->checked != b->checked[i])
            continue;
        b->checked[i] = NULL; /* back to the submission */
        enqueue(s, sub);
    }
    batch_free(b);
    forward_queue(s);
}

static void answer(struct sequence *s, const struct mb_hash *id, const struct mb_outcome *o,
                   uint32_t index)
{
    const struct mb_executed *e = &o->applied.commands[index];
    struct mb_submitted result = {
        .slot = o->applied.slot, .index = index, .ok = e->ok, .outcome = e->outcome};
    struct mb_error error = {0};
    mb_hash_hex(id, result.id);
    if (!e->ok) {
        struct mb_buf text = {0};
        const json_t *args = json_object_get(e->outcome, "args");
        mb_buf_reset(&text);
        mb_snprintf(error.code, sizeof error.code, "%s", mb_json_get_text(e->outcome, "code", ""));
        mb_json_canonical(&text, args, NULL);
        mb_snprintf(error.args, sizeof error.args, "%s", mb_buf_text(&text));
        mb_message_fill(&error, s->node->modules.logics, s->node->modules.count);
        mb_buf_clear(&text);
        result.error = &error;
    }
    finish(s, id, &result);
}

void sequence_applied(struct sequence *s, struct mb_outcome *o)
{
    struct node *n = s->node;
    s->blocks++;
    settle_soon(n->settle);
    for (size_t i = 0; i < n->modules.count; i++)
        if (n->running[i].started && n->modules.modules[i]->on_block != NULL)
            n->modules.modules[i]->on_block(n->running[i].self, &o->applied);
    for (size_t i = 0; i < o->applied.count; i++) {
        struct mb_hash id;
        if (mb_hash_from_hex(&id, o->applied.commands[i].id) != 0)
            continue; /* an internal command */
        s->commands++;
        if (s->pending > 0)
            answer(s, &id, o, (uint32_t)i);
    }
    if (o->applied.checkpoint && n->number == 0) /* a replica's begin in node_apply() */
        snapshots_consider(n->snapshots);
}

/* --- Time. --- */

/* The leader's empty blocks: something is due, an epoch has passed, the newest block is no
 * checkpoint slot, or ledger time is too far behind. */
static bool empty_due(const struct sequence *s, int64_t now)
{
    const struct mb_tip *tip = mb_ledger_tip(s->node->ledger);
    return now >= tip->next_due || now >= tip->time + LAG_S ||
           (tip->checkpoint_slot != tip->header.slot && now >= tip->time + EMPTY_AFTER_S);
}

/* What was forwarded and has not come back: once more, for it may have been lost; and a leader
 * that lets it lie while it has time for others is followed no longer. The other followers get it
 * too: they see for themselves that it lies, or one of them leads next. */
static void look_after_forwarded(struct sequence *s)
{
    struct mb_paxos_status status = consensus_status(s->node->consensus);
    int64_t now = mb_now_ms();
    bool suspect = false;
    for (size_t i = 0; i < TABLE; i++)
        for (struct submission *sub = s->table[i]; sub != NULL; sub = sub->chain) {
            if (sub->stage != FORWARDED && sub->stage != PROPOSED)
                continue;
            int64_t since = sub->since_ms > s->led_ms ? sub->since_ms : s->led_ms;
            bool late = now - since > PATIENCE * status.election_ms;
            suspect |= late;
            if (now - sub->forwarded_ms > status.election_ms / 2)
                forward(s, sub, late ? 0 : s->leader);
        }
    if (suspect)
        consensus_suspect(s->node->consensus, CONSENSUS_CENSORS);
}

/* Ledger time is too late, and does not catch up either: a leader cannot freeze it. */
static bool is_frozen(struct sequence *s, int64_t now)
{
    int64_t lag = now - mb_ledger_tip(s->node->ledger)->time;
    bool late = empty_due(s, now - STALE_S);
    if (!late || lag < s->lag) {
        s->lag = late ? lag : INT64_MAX;
        s->lag_ms = mb_now_ms();
    }
    return late &&
           mb_now_ms() - s->lag_ms > PATIENCE * consensus_status(s->node->consensus).election_ms;
}

static void on_tick(void *arg)
{
    struct sequence *s = arg;
    struct node *n = s->node;
    int64_t now = mb_clock_s();
    mb_timer_set(s->tick, TICK_MS);
    if (n->stopping || n->consensus == NULL)
        return;
    consensus_check_clock(n->consensus);
    if (leads(s)) {
        s->empty_due = empty_due(s, now) && !MB_LIE("lie.freeze");
        consensus_kick(n->consensus);
    } else if (s->leader != 0) {
        look_after_forwarded(s);
        if (is_frozen(s, now))
            consensus_suspect(n->consensus, CONSENSUS_FREEZES);
    }
}

void sequence_report(struct sequence *s, struct mb_report *r)
{
    struct mb_wal_stats w = mb_wal_stats(s->node->wal);
    r->subsystem = "ledger";
    mb_report_gauge(r, "slot", "The newest slot applied.",
                    (int64_t)mb_ledger_tip(s->node->ledger)->header.slot);
    mb_report_gauge(r, "checkpoint_slot", "The newest checkpoint slot.",
                    (int64_t)mb_ledger_tip(s->node->ledger)->checkpoint_slot);
    mb_report_counter(r, "blocks_total", "Blocks applied since start.", s->blocks);
    mb_report_counter(r, "commands_total", "Commands ordered since start.", s->commands);
    mb_report_counter(r, "refused_total", "Commands refused at the door since start.", s->refused);
    mb_report_gauge(r, "queued", "Commands that wait for a block.", (int64_t)s->pending);
    r->subsystem = "wal";
    mb_report_counter(r, "batches_total", "Batches written to the log.", w.batches);
    mb_report_counter(r, "bytes_total", "Bytes written to the log.", w.bytes);
    mb_report_counter(r, "fsync_microseconds_total", "Time in fdatasync.", w.fsync_us_total);
    mb_report_gauge(r, "segments", "Segments of the log.", (int64_t)w.segments);
}
