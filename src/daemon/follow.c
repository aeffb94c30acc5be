/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A daemon that is no replica follows: a worker pulls blocks from a replica's public onion, and
 * proves them before any is applied: the newest checkpoint is signed by a majority of the replicas
 * to whom the handovers lead, and the headers of the blocks are its history. So no single replica
 * can show a follower blocks that were not chosen.
 */
#include "daemon/follow.h"
#include "daemon/consensus.h"
#include "daemon/fetch.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "host/pin.h"

#define IDLE_MS     2000
#define RETRY_MS    3000
#define TIMEOUT_MS  30000
#define MEMBER_MS   10000
#define STALLED_MS  60000  /* a replica that learns nothing while others are ahead */
#define ALARM_MS    120000 /* without a checkpoint that holds */
#define CHECKERS    2
#define BATCH       1024 /* blocks asked for at once, at most */
#define BATCH_BYTES (64u << 20)
#define LINE_MAX    (8u << 20)

struct pulled {
    struct mb_block block;
    struct mb_checked **checked;
    size_t count;
    int64_t time, header_time;
};
struct pull { /* a worker's, while it is under way */
    struct follow *follow;
    struct mb_http_client *client;
    struct mb_hash org;
    uint64_t tip;
    int64_t time;
    struct mb_frontier history;
    struct mb_membership *configs; /* known ones, by slot */
    size_t config_count;
    struct pulled *blocks;
    size_t block_count, bytes;
    struct mb_checkpoint *signed_; /* of these and later slots, by slot */
    size_t signed_count;
    uint64_t checkpoint; /* newest slot that is proven */
    uint64_t batch;      /* blocks to ask for */
    uint64_t behind;     /* this many blocks are too many to fetch; 0: never */
    bool member;         /* the replicas send it blocks: only a snapshot is asked for */
    bool gone;           /* the blocks that it needs are not there any more */
    bool ready;          /* a snapshot is */
    int rc;
    struct mb_error error;
};
struct follow {
    struct node *node;
    struct mb_timer *timer;
    struct mb_pin pin; /* the invite, if there is one */
    struct mb_http_client *client;
    struct fetch *fetch;
    uint64_t batch;      /* blocks to ask for at once: fewer where they are large */
    size_t source;       /* the next to ask */
    size_t gone;         /* so many, one after another, have not the blocks that are needed */
    uint64_t stalled_at; /* a replica's tip, and since when */
    int64_t stalled_ms;
    bool pulling;
    atomic_bool stop;
    int64_t good_ms; /* when a checkpoint held last */
    uint64_t checkpoint, pulls, failures;
    struct mb_error error; /* of the last pull */
};

/* --- The worker's part. --- */

static const struct mb_membership *config_for(const struct pull *p, uint64_t slot)
{
    size_t i = p->config_count - 1;
    while (i > 0 && p->configs[i].from > slot)
        i--;
    return &p->configs[i];
}

static void add_config(struct pull *p, const struct mb_membership *config)
{
    p->configs = mb_realloc(p->configs, (p->config_count + 1) * sizeof *p->configs);
    p->configs[p->config_count++] = *config;
}

/* A checkpoint that was verified, with those signatures that are of replicas. */
static int keep_signed(struct pull *p, const json_t *json, const struct mb_membership *config)
{
    struct mb_public_key keys[MB_REPLICAS_MAX];
    struct mb_checkpoint c = {0};
    size_t count = mb_membership_keys(config, keys);
    int rc = mb_checkpoint_from_json(&c, json, keys, count, &p->error);
    if (rc == 0)
        rc = mb_checkpoint_verify(&c, keys, count, &p->error);
    if (rc != 0) {
        mb_checkpoint_clear(&c);
        return rc;
    }
    p->signed_ = mb_realloc(p->signed_, (p->signed_count + 1) * sizeof *p->signed_);
    p->signed_[p->signed_count++] = c;
    return 0;
}

static int walk_page(struct pull *p, bool *more)
{
    struct mb_membership before = p->configs[p->config_count - 1], after;
    char *path = mb_asprintf("/v1/handovers?from=%" PRIu64, before.version + 1);
    json_t *answer = NULL, *item;
    size_t i;
    int rc = fetch_json(p->client, path, &answer, &p->error);
    const json_t *list = json_object_get(answer, "handovers");
    *more = json_array_size(list) > 0;
    json_array_foreach(list, i, item)
    {
        if (rc == 0)
            rc = mb_handover_verify(&before, item, &p->org, &after, &p->error);
        if (rc == 0 && after.from > p->tip + 1)
            rc = keep_signed(p, json_object_get(item, "checkpoint"), &before);
        if (rc != 0)
            break;
        add_config(p, &after);
        before = after;
    }
    json_decref(answer);
    free(path);
    return rc;
}

static bool knows(const struct pull *p, const struct mb_header *h)
{
    return mb_hash_equal(&config_for(p, h->slot + 1)->hash, &h->config_hash);
}

/* The newest checkpoint, signed by a majority of the replicas for its slot. */
static int prove_checkpoint(struct pull *p, struct mb_header *header)
{
    struct mb_checkpoint c = {0};
    json_t *json;
    bool more = true;
    int rc = fetch_json(p->client, "/v1/checkpoint", &json, &p->error);
    if (rc == 0)
        rc = mb_checkpoint_from_json(&c, json, NULL, 0, &p->error);
    if (rc == 0)
        rc = mb_header_decode(header, mb_buf_bytes(&c.header), &p->error);
    mb_checkpoint_clear(&c);
    if (rc == 0 && !mb_hash_equal(&header->org, &p->org))
        rc = mb_fail(&p->error, MB_EPROOF, "checkpoint.other", "this is another organisation");
    if (rc == 0 && header->slot > p->tip) {
        while (rc == 0 && more && !knows(p, header))
            rc = walk_page(p, &more);
        if (rc == 0 && !knows(p, header))
            rc = mb_fail(&p->error, MB_EPROOF, "handover.missing",
                         "no handover to the replicas of slot %" PRIu64 " is shown",
                         header->slot + 1);
        if (rc == 0)
            rc = keep_signed(p, json, config_for(p, header->slot));
    }
    json_decref(json);
    return rc;
}

/* The header of a slot below the checkpoint. */
static int prove_header(struct pull *p, uint64_t slot, const struct mb_hash *hash,
                        const struct mb_header *to, struct mb_header *out)
{
    char *path = mb_asprintf("/v1/consistency?from=%" PRIu64 "&to=%" PRIu64, slot, to->slot);
    json_t *answer = NULL;
    int rc = fetch_json(p->client, path, &answer, &p->error);
    if (rc == 0 && !mb_history_holds(answer, slot, hash, to, out))
        rc = mb_fail(&p->error, MB_EPROOF, "checkpoint.fork",
                     "the history does not hold the header of slot %" PRIu64, slot);
    json_decref(answer);
    free(path);
    return rc;
}

/* Before this daemon has come to the invite's slot itself. */
static int check_invite(struct pull *p, const struct mb_header *header)
{
    const struct mb_pin *pin = &p->follow->pin;
    struct mb_hash hash = mb_header_hash(header);
    if (pin->onions == NULL || p->tip >= pin->slot || pin->slot == 0)
        return 0;
    if (header->slot < pin->slot)
        return mb_fail(&p->error, MB_EPROOF, "checkpoint.older",
                       "its newest checkpoint is older than the invite");
    if (header->slot > pin->slot)
        return prove_header(p, pin->slot, &pin->header_hash, header, NULL);
    return mb_hash_equal(&hash, &pin->header_hash)
               ? 0
               : mb_fail(&p->error, MB_EPROOF, "checkpoint.fork",
                         "slot %" PRIu64 " has another header than the invite says", pin->slot);
}

static int on_line(void *arg, struct mb_bytes bytes, struct mb_error *error)
{
    struct pull *p = arg;
    struct mb_public_key proposer;
    json_t *json;
    p->bytes += bytes.len;
    if (p->block_count == p->batch || p->bytes > BATCH_BYTES)
        return mb_fail(error, MB_ELIMIT, "limit.answer", "more blocks than were asked for");
    int rc = mb_json_parse(&json, bytes.data, bytes.len, error);
    if (rc != 0)
        return rc;
    struct pulled *b = &p->blocks[p->block_count];
    rc = mb_block_from_json(&b->block, &proposer, json, error);
    p->block_count += rc == 0;
    json_decref(json);
    return rc;
}

/* Headers are one history up to last, which is proven. */
static int check_headers(struct pull *p, const struct mb_header *last)
{
    struct mb_frontier history = p->history;
    uint8_t bytes[MB_HEADER_MAX];
    size_t len = mb_header_encode(last, bytes);
    for (size_t i = 0; i + 1 < p->block_count; i++) {
        struct mb_hash leaf = mb_history_leaf(mb_buf_bytes(&p->blocks[i].block.header));
        mb_frontier_add(&history, &leaf, NULL, NULL);
    }
    struct mb_hash root = mb_frontier_root(&history);
    if (mb_hash_equal(&root, &last->history_root) &&
        mb_bytes_equal(mb_bytes(bytes, len),
                       mb_buf_bytes(&p->blocks[p->block_count - 1].block.header)))
        return 0;
    return mb_fail(&p->error, MB_EPROOF, "blocks.false",
                   "the blocks up to slot %" PRIu64 " are not those of the checkpoint", last->slot);
}

/* The value is the one of its header, whole. */
static int check_value(const struct pull *p, struct pulled *b, uint64_t slot,
                       struct mb_error *error)
{
    struct mb_public_key keys[MB_REPLICAS_MAX];
    size_t count = mb_membership_keys(config_for(p, slot), keys);
    struct mb_header h;
    struct mb_value v = {0};
    int rc = mb_header_decode(&h, mb_buf_bytes(&b->block.header), error);
    if (rc == 0)
        rc = mb_value_decode(&v, mb_buf_bytes(&b->block.value), error);
    if (rc != 0)
        return rc;
    rc = mb_value_verify(&v, &p->org, slot, keys, count, error);
    if (rc == 0 && (!mb_hash_equal(&v.commands_root, &h.commands_root) ||
                    !mb_hash_equal(&v.proposer, &h.proposer)))
        rc = mb_fail(error, MB_EPROOF, "blocks.false",
                     "slot %" PRIu64 " does not hold what its header says", slot);
    if (rc == 0) {
        b->time = v.time;
        b->header_time = h.time;
        b->checked = node_check_all(&v);
        b->count = v.count;
    }
    mb_value_clear(&v);
    return rc;
}

/* Each thread has every other block: signatures are most of the work, and there are several
 * processors. */
struct part {
    struct pull *pull;
    size_t first;
    int rc;
    struct mb_error error;
};
static void *check_part(void *arg)
{
    struct part *part = arg;
    struct pull *p = part->pull;
    for (size_t i = part->first; i < p->block_count && part->rc == 0; i += CHECKERS)
        part->rc = check_value(p, &p->blocks[i], p->tip + 1 + i, &part->error);
    return NULL;
}

static int check_values(struct pull *p)
{
    struct part parts[CHECKERS] = {{0}};
    pthread_t threads[CHECKERS];
    bool started[CHECKERS] = {false};
    int rc = 0;
    for (size_t i = 0; i < CHECKERS; i++) {
        parts[i] = (struct part){.pull = p, .first = i};
        started[i] =
            i + 1 < CHECKERS && pthread_create(&threads[i], NULL, check_part, &parts[i]) == 0;
        if (!started[i])
            check_part(&parts[i]);
    }
    for (size_t i = 0; i < CHECKERS; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        if (rc == 0 && parts[i].rc != 0) {
            rc = parts[i].rc;
            p->error = parts[i].error;
        }
    }
    int64_t time = p->time;
    for (size_t i = 0; i < p->block_count && rc == 0; i++) {
        const struct pulled *b = &p->blocks[i];
        time = b->time > time ? b->time : time;
        if (b->header_time != time)
            rc = mb_fail(&p->error, MB_EPROOF, "blocks.false",
                         "slot %" PRIu64 " does not have its header's time", p->tip + 1 + i);
    }
    return rc;
}

static int pull_blocks(struct pull *p, const struct mb_header *checkpoint)
{
    struct mb_header last = *checkpoint;
    uint64_t want = checkpoint->slot - p->tip;
    unsigned status = 0;
    int rc = 0;
    if (want > p->batch) {
        want = p->batch;
        rc = prove_header(p, p->tip + want, NULL, checkpoint, &last);
    }
    if (rc != 0)
        return rc;
    char *path = mb_asprintf("/v1/blocks?from=%" PRIu64 "&limit=%" PRIu64, p->tip + 1, want);
    p->blocks = mb_calloc(BATCH, sizeof *p->blocks);
    rc = mb_http_get_lines(p->client, path, LINE_MAX, on_line, p, &status, &p->error);
    free(path);
    if (status == 410)
        rc = mb_fail(&p->error, MB_ENOENT, "blocks.since",
                     "the blocks from slot %" PRIu64 " on are not there any more", p->tip + 1);
    if (rc == 0 && (status != 200 || p->block_count != want))
        rc = mb_fail(&p->error, MB_EREACH, "blocks.cut",
                     "%zu of %" PRIu64 " blocks came (status %u)", p->block_count, want, status);
    if (rc == 0)
        rc = check_headers(p, &last);
    if (rc == 0)
        rc = check_values(p);
    return rc;
}

/* A header below the invite's slot is checked when the blocks come to that. */
static int agrees(void *arg, const struct mb_header *header, struct mb_error *error)
{
    struct pull *p = arg;
    int rc = p->follow->pin.onions != NULL && header->slot < p->follow->pin.slot
                 ? 0
                 : check_invite(p, header);
    if (rc != 0)
        *error = p->error;
    return rc;
}

/* 1: a snapshot is here; 0: go on by blocks. */
static int pull_snapshot(struct pull *p, const struct mb_header *newest)
{
    struct fetch_check check = {.agrees = agrees, .arg = p};
    bool far = p->behind > 0 && newest->slot - p->tip >= p->behind;
    if (p->follow->fetch == NULL || !(far || (p->behind > 0 && p->gone)))
        return 0;
    int rc = fetch_run(p->follow->fetch, p->client, p->tip, &check, &p->follow->stop, &p->error);
    return rc == MB_ENOENT && strcmp(p->error.code, "snapshot.none") == 0 ? 0 : rc;
}

/* Whether a replica that learns nothing from the others could be helped by this one. */
static void ask_whether_gone(struct pull *p)
{
    char *path = mb_asprintf("/v1/blocks?from=%" PRIu64 "&limit=1", p->tip + 1);
    struct mb_error error = {0};
    json_t *json = NULL;
    p->gone = fetch_json(p->client, path, &json, &error) == MB_ENOENT &&
              strcmp(error.code, "blocks.since") == 0;
    json_decref(json);
    free(path);
}

static void pull_work(void *arg)
{
    struct pull *p = arg;
    struct mb_header header;
    p->rc = prove_checkpoint(p, &header);
    if (p->rc == 0 && header.slot <= p->tip)
        return;
    if (p->member && p->rc == 0 && header.slot - p->tip < p->behind)
        ask_whether_gone(p);
    if (p->rc == 0)
        p->rc = pull_snapshot(p, &header);
    p->ready = p->rc == 1;
    if (p->member || p->rc != 0)
        return;
    p->rc = check_invite(p, &header);
    if (p->rc == 0)
        p->rc = pull_blocks(p, &header);
    p->checkpoint = p->rc == 0 ? header.slot : 0;
}

/* --- The loop's part. --- */

static void pull_free(struct pull *p)
{
    for (size_t i = 0; p->blocks != NULL && i < BATCH; i++) {
        for (size_t k = 0; k < p->blocks[i].count; k++)
            mb_checked_free(p->blocks[i].checked[k]);
        free(p->blocks[i].checked);
        mb_block_clear(&p->blocks[i].block);
    }
    for (size_t i = 0; i < p->signed_count; i++)
        mb_checkpoint_clear(&p->signed_[i]);
    free(p->signed_);
    free(p->blocks);
    free(p->configs);
    free(p);
}

static int take_signed(struct pull *p, uint64_t slot, struct mb_error *error)
{
    int rc = 0;
    for (size_t i = 0; i < p->signed_count && rc == 0; i++) {
        struct mb_header h;
        if (mb_header_decode(&h, mb_buf_bytes(&p->signed_[i].header), NULL) == 0 && h.slot == slot)
            rc = checkpoints_take(p->follow->node->checkpoints, &p->signed_[i], error);
    }
    return rc;
}

static int apply(struct pull *p, struct mb_error *error)
{
    struct node *n = p->follow->node;
    int rc = 0;
    for (size_t i = 0; i < p->block_count && rc == 0; i++) {
        struct pulled *b = &p->blocks[i];
        struct mb_outcome *o = NULL;
        uint64_t slot = p->tip + 1 + i;
        rc = node_apply(n, mb_buf_bytes(&b->block.value), b->checked, NULL, &o, error);
        if (rc == 0 &&
            !mb_bytes_equal(mb_buf_bytes(&o->block.header), mb_buf_bytes(&b->block.header)))
            rc = mb_fail(error, MB_ECORRUPT, "ledger.outvoted",
                         "slot %" PRIu64 ": a majority of the replicas has another header than "
                         "follows here: are all modules of their version? Then join again in a "
                         "new folder",
                         slot);
        if (rc == 0) {
            rc = take_signed(p, slot, error);
            sequence_applied(n->sequence, o);
        }
        mb_outcome_free(o);
    }
    if (rc == 0)
        rc = node_commit(n, error);
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

static void pull_done(void *arg)
{
    struct pull *p = arg;
    struct follow *f = p->follow;
    struct node *n = f->node;
    struct mb_error error = {0};
    int64_t wait = IDLE_MS;
    f->pulling = false;
    if (n->stopping) {
        pull_free(p);
        return;
    }
    f->pulls++;
    if (p->ready) {
        wait = MEMBER_MS;
        if (fetch_slot(f->fetch) > mb_ledger_tip(n->ledger)->header.slot)
            node_restart(n);
    } else if (p->rc != 0) {
        if (strcmp(p->error.code, "limit.answer") == 0 && f->batch > 4)
            f->batch /= 4;
        f->gone = strcmp(p->error.code, "blocks.since") == 0 ? f->gone + 1 : 0;
        f->failures++;
        f->error = p->error;
        mb_log(MB_LOG_WARN, "follow", "failed", "code=%s text=%s", p->error.code, p->error.text);
        next_source(f);
        wait = RETRY_MS;
    } else if (p->member) {
        wait = MEMBER_MS;
        next_source(f);
    } else {
        f->gone = 0;
        f->good_ms = mb_now_ms();
        f->checkpoint = p->checkpoint > f->checkpoint ? p->checkpoint : f->checkpoint;
        if (apply(p, &error) != 0) {
            node_fail(n, &error);
        } else if (p->block_count > 0 && is_member(n)) {
            mb_log(MB_LOG_INFO, "follow", "joins", "slot=%" PRIu64,
                   mb_ledger_tip(n->ledger)->header.slot);
            node_restart(n);
        } else if (p->block_count == p->batch) {
            f->batch = f->batch < BATCH / 2 ? 2 * f->batch : BATCH;
            wait = 0;
        }
    }
    pull_free(p);
    mb_timer_set(f->timer, wait);
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
        size_t i = f->source % (count + f->pin.onion_count);
        if (i < count && members[0].replicas[i].number == (int64_t)n->number) /* not ourselves */
            i = ++f->source % (count + f->pin.onion_count);
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

/* A replica gets its blocks from the others: is it too far behind for that, or do they come no
 * more? */
static bool needs_snapshot(struct follow *f, uint64_t behind)
{
    struct mb_paxos_status s = consensus_status(f->node->consensus);
    uint64_t newest = 0;
    for (size_t i = 0; i < s.peer_count; i++)
        newest = s.peers[i].tip > newest ? s.peers[i].tip : newest;
    if (f->stalled_at != s.applied || newest <= s.applied + MB_WINDOW) {
        f->stalled_at = s.applied;
        f->stalled_ms = mb_now_ms();
    }
    return behind > 0 && newest > s.applied &&
           (newest - s.applied >= behind || mb_now_ms() - f->stalled_ms > STALLED_MS);
}

static void on_timer(void *arg)
{
    struct follow *f = arg;
    struct node *n = f->node;
    struct mb_membership members[2];
    uint64_t behind = (uint64_t)mb_config_int(n->config, "follow", "snapshot_behind");
    if (f->pulling || n->stopping)
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
    *p = (struct pull){.follow = f,
                       .client = f->client,
                       .org = mb_ledger_genesis(n->ledger)->org,
                       .tip = tip->header.slot,
                       .time = tip->time,
                       .batch = f->batch,
                       .behind = behind,
                       .member = n->number != 0,
                       .gone = f->gone > 0 && f->gone >= source_count(n, f),
                       .history = tip->history};
    if (node_configs(n, members, NULL) == 0) {
        free(p);
        return;
    }
    add_config(p, &members[0]);
    f->pulling = true;
    mb_work(n->loop, pull_work, pull_done, p);
}

struct follow *follow_new(struct node *n, struct mb_error *error)
{
    struct follow *f = mb_calloc(1, sizeof *f);
    const char *invite = mb_config_text(n->config, "follow", "invite");
    f->node = n;
    f->batch = BATCH;
    f->good_ms = mb_now_ms();
    f->timer = mb_timer_new(n->loop, on_timer, f);
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
    f->timer = NULL;
}

void follow_free(struct follow *f)
{
    if (f == NULL)
        return;
    follow_stop(f);
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
