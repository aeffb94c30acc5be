/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A daemon that is no replica follows: a worker pulls blocks (pull.h), the loop applies them, and
 * meanwhile the next ones are pulled. A replica that is too far behind looks for a snapshot.
 */
#include "daemon/follow.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/consensus.h"
#include "daemon/plan.h"
#include "daemon/pull.h"

#define IDLE_MS    2000
#define RETRY_MS   3000
#define TIMEOUT_MS 30000
#define MEMBER_MS  10000
#define ALARM_MS   120000 /* without a checkpoint that holds */
#define SLICE_MS   20     /* of applying, before others have their turn */

struct follow {
    struct node *node;
    struct mb_timer *timer, *apply;
    struct mb_pin pin; /* the invite, if there is one */
    struct mb_http_client *client;
    struct fetch *fetch;
    uint64_t batch; /* blocks to ask for at once: fewer where they are large */
    size_t source;  /* the next to ask */
    size_t gone;    /* so many, one after another, have not the blocks that are needed */
    struct plan_stall stall;
    struct pull *pulling;  /* on a worker */
    struct pull *arrived;  /* waits until what is applied is */
    struct pull *applying; /* so many of its blocks are */
    size_t applied;
    atomic_bool stop;
    int64_t good_ms; /* when a checkpoint held last */
    uint64_t checkpoint, pulls, failures;
    struct mb_error error; /* of the last pull */
};

/* --- Applying what was pulled. --- */

static int take_signed(struct node *n, const struct pull *p, uint64_t slot, struct mb_error *error)
{
    int rc = 0;
    for (size_t i = 0; i < p->signed_count && rc == 0; i++) {
        struct mb_header h;
        if (mb_header_decode(&h, mb_buf_bytes(&p->signed_[i].header), NULL) == 0 && h.slot == slot)
            rc = checkpoints_take(n->checkpoints, &p->signed_[i], error);
    }
    return rc;
}

static int apply_one(struct node *n, const struct pull *p, size_t i, struct mb_error *error)
{
    const struct pulled *b = &p->blocks[i];
    struct mb_outcome *o = NULL;
    uint64_t slot = p->tip + 1 + i;
    int rc = node_apply(n, mb_buf_bytes(&b->block.value), b->checked, NULL, &o, error);
    if (rc == 0 && !mb_bytes_equal(mb_buf_bytes(&o->block.header), mb_buf_bytes(&b->block.header)))
        rc = mb_fail(error, MB_ECORRUPT, "ledger.outvoted",
                     "slot %" PRIu64 ": a majority of the replicas has another header than "
                     "follows here: are all modules of their version? Then join again in a "
                     "new folder",
                     slot);
    if (rc == 0)
        rc = take_signed(n, p, slot, error);
    if (rc == 0)
        sequence_applied(n->sequence, o);
    mb_outcome_free(o);
    return rc;
}

static bool is_member(struct node *n)
{
    struct mb_membership members[2];
    size_t count = node_configs(n, members, NULL);
    for (size_t i = 0; i < count; i++)
        if (mb_membership_find(&members[i], &n->key.public_key) != NULL)
            return true;
    return false;
}

static void next_source(struct follow *f)
{
    mb_http_client_free(f->client);
    f->client = NULL;
    f->source++;
}

static void take(struct follow *f, struct pull *p);

/* What has arrived meanwhile is next; or the timer asks again. */
static void go_on(struct follow *f, int64_t wait_ms)
{
    struct pull *p = f->arrived;
    f->arrived = NULL;
    if (p != NULL)
        take(f, p);
    else if (f->pulling == NULL)
        mb_timer_set(f->timer, wait_ms);
}

/* So long at once, for others wait for the loop too. */
static void on_apply(void *arg)
{
    struct follow *f = arg;
    struct node *n = f->node;
    struct pull *p = f->applying;
    struct mb_error error = {0};
    int64_t until = mb_now_ms() + SLICE_MS;
    int rc = 0;
    if (n->stopping)
        return;
    while (rc == 0 && f->applied < p->block_count && mb_now_ms() < until)
        rc = apply_one(n, p, f->applied++, &error);
    if (rc != 0) {
        node_fail(n, &error);
        return;
    }
    if (f->applied < p->block_count) {
        mb_timer_set(f->apply, 0);
        return;
    }
    bool further = p->further;
    f->applying = NULL;
    pull_free(p);
    if (is_member(n)) {
        mb_log(MB_LOG_INFO, "follow", "joins", "slot=%" PRIu64,
               mb_ledger_tip(n->ledger)->header.slot);
        node_restart(n);
        return;
    }
    go_on(f, further ? 0 : IDLE_MS);
}

/* --- Pulling. --- */

static void work(void *arg)
{
    pull_run(arg);
}

static void done(void *arg)
{
    struct pull *p = arg;
    struct follow *f = p->owner;
    f->pulling = NULL;
    if (f->node->stopping)
        pull_free(p);
    else if (f->applying != NULL)
        f->arrived = p;
    else
        take(f, p);
}

static void start(struct follow *f, struct pull *p)
{
    f->pulling = p;
    mb_work(f->node->loop, work, done, p);
}

static void failed(struct follow *f, const struct pull *p)
{
    if (strcmp(p->error.code, "limit.answer") == 0)
        f->batch = plan_smaller(f->batch);
    f->gone = strcmp(p->error.code, "blocks.since") == 0 ? f->gone + 1 : 0;
    f->failures++;
    f->error = p->error;
    mb_log(MB_LOG_WARN, "follow", "failed", "code=%s text=%s", p->error.code, p->error.text);
    next_source(f);
}

/* Blocks that are proven: while they are applied, the next are on their way. */
static void take_blocks(struct follow *f, struct pull *p)
{
    f->gone = 0;
    f->good_ms = mb_now_ms();
    if (p->block_count == 0) {
        pull_free(p);
        go_on(f, IDLE_MS);
        return;
    }
    if (p->checkpoint.slot > f->checkpoint)
        f->checkpoint = p->checkpoint.slot;
    f->batch = plan_batch(f->batch, p->block_count, p->bytes);
    struct pull *next = pull_next(p, f->batch);
    if (next != NULL)
        start(f, next);
    f->applying = p;
    f->applied = 0;
    mb_timer_set(f->apply, 0);
}

static void take(struct follow *f, struct pull *p)
{
    int64_t wait = MEMBER_MS;
    f->pulls++;
    if (p->rc == 0 && !p->ready && !p->member) {
        take_blocks(f, p);
        return;
    }
    if (p->rc != 0) {
        failed(f, p);
        wait = RETRY_MS;
    } else if (!p->ready) {
        next_source(f);
    } else if (fetch_slot(f->fetch) > mb_ledger_tip(f->node->ledger)->header.slot) {
        node_restart(f->node);
    }
    pull_free(p);
    go_on(f, wait);
}

/* A client for the source whose turn it is; NULL while there is no way to it. */
static struct mb_http_client *client_of(struct follow *f)
{
    struct node *n = f->node;
    struct mb_membership members[2];
    struct mb_error error = {0};
    const char *const *sockets, *path = n->onions == NULL ? NULL : mb_tor_socks(onions_tor(n));
    char *socks = path == NULL ? NULL : mb_asprintf("unix:%s", path);
    size_t socket_count = mb_config_words(n->config, "follow", "sockets", &sockets);
    size_t count = node_configs(n, members, NULL) > 0 ? members[0].count : 0;
    struct mb_http_client_options options = {.socks = socks,
                                             .isolation = mb_ledger_org(n->ledger),
                                             .timeout_ms = TIMEOUT_MS,
                                             .stop = &f->stop};
    if (f->client == NULL && socket_count > 0) {
        options.socks = NULL;
        options.unix_path = sockets[f->source % socket_count];
    } else if (f->client == NULL && socks != NULL && count + f->pin.onion_count > 0) {
        size_t self = 0;
        while (self < count && members[0].replicas[self].number != (int64_t)n->number)
            self++;
        size_t i =
            plan_source(&f->source, count + f->pin.onion_count, self < count ? self : SIZE_MAX);
        options.onion = i < count ? members[0].replicas[i].onion : f->pin.onions[i - count];
    }
    if ((options.unix_path != NULL || options.onion != NULL) &&
        mb_http_client_new(&f->client, &options, &error) != 0)
        f->error = error;
    free(socks);
    return f->client;
}

static size_t source_count(struct node *n, const struct follow *f)
{
    struct mb_membership members[2];
    const char *const *sockets;
    size_t count = mb_config_words(n->config, "follow", "sockets", &sockets);
    if (count == 0 && node_configs(n, members, NULL) > 0)
        count = members[0].count + f->pin.onion_count;
    return count;
}

/* A replica gets its blocks from the others, unless it is too far behind for that. */
static bool needs_snapshot(struct follow *f, uint64_t behind)
{
    struct mb_paxos_status s = consensus_status(f->node->consensus);
    uint64_t newest = 0;
    for (size_t i = 0; i < s.peer_count; i++)
        newest = s.peers[i].tip > newest ? s.peers[i].tip : newest;
    return plan_member_needs(&f->stall, s.applied, newest, MB_WINDOW, behind, mb_now_ms());
}

static void on_timer(void *arg)
{
    struct follow *f = arg;
    struct node *n = f->node;
    struct mb_membership members[2];
    uint64_t behind = (uint64_t)mb_config_int(n->config, "follow", "snapshot_behind");
    if (n->stopping || node_configs(n, members, NULL) == 0)
        return;
    if (n->number != 0 && !needs_snapshot(f, behind)) {
        mb_timer_set(f->timer, MEMBER_MS);
        return;
    }
    if (f->fetch == NULL)
        f->fetch = fetch_new(n);
    if (client_of(f) == NULL) {
        mb_timer_set(f->timer, RETRY_MS);
        return;
    }
    const struct mb_tip *tip = mb_ledger_tip(n->ledger);
    struct pull *p = mb_calloc(1, sizeof *p);
    *p = (struct pull){.owner = f,
                       .client = f->client,
                       .fetch = f->fetch,
                       .pin = &f->pin,
                       .stop = &f->stop,
                       .org = mb_ledger_genesis(n->ledger)->org,
                       .tip = tip->header.slot,
                       .time = tip->time,
                       .batch = f->batch,
                       .behind = behind,
                       .member = n->number != 0,
                       .gone = f->gone > 0 && f->gone >= source_count(n, f),
                       .history = tip->history};
    pull_add_config(p, &members[0]);
    start(f, p);
}

struct follow *follow_new(struct node *n, struct mb_error *error)
{
    struct follow *f = mb_calloc(1, sizeof *f);
    const char *invite = mb_config_text(n->config, "follow", "invite");
    f->node = n;
    f->batch = PLAN_BLOCKS_MAX / 16;
    f->good_ms = mb_now_ms();
    f->timer = mb_timer_new(n->loop, on_timer, f);
    f->apply = mb_timer_new(n->loop, on_apply, f);
    if (*invite != 0 && mb_pin_parse(&f->pin, invite, error) != 0) {
        follow_free(f);
        return NULL;
    }
    mb_timer_set(f->timer, 0);
    return f;
}

void follow_stop(struct follow *f)
{
    if (f == NULL)
        return;
    atomic_store(&f->stop, true);
    mb_timer_free(f->timer);
    mb_timer_free(f->apply);
    f->timer = f->apply = NULL;
}

void follow_free(struct follow *f)
{
    if (f == NULL)
        return;
    follow_stop(f);
    pull_free(f->arrived);
    pull_free(f->applying);
    mb_http_client_free(f->client);
    fetch_free(f->fetch);
    mb_pin_clear(&f->pin);
    free(f);
}

void follow_report(struct follow *f, struct mb_report *r)
{
    if (f == NULL)
        return;
    fetch_report(f->fetch, r);
    if (f->node->number != 0)
        return;
    r->subsystem = "follow";
    mb_report_counter(r, "pulls_total", "Times that blocks were asked for.", f->pulls);
    mb_report_counter(r, "failures_total", "Times that this failed.", f->failures);
    mb_report_gauge(r, "checkpoint", "Newest slot that a majority was seen to have signed.",
                    (int64_t)f->checkpoint);
    if (mb_now_ms() - f->good_ms > ALARM_MS)
        mb_report_alarm(r, "follow.stale",
                        "no replica has shown a checkpoint that holds for two minutes: %s",
                        f->error.text);
}
