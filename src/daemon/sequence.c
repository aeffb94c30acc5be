/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * submit → chosen → applied. With one replica a slot is chosen when its value is durable in the
 * log. One batch is at the disk at a time; what arrives meanwhile becomes the next one, so that a
 * batch grows with the load and nobody waits when there is none.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node.h"
#include "ledger/message.h"

#define QUEUE_BYTES_MAX (32u << 20)
#define TICK_MS         1000
#define EMPTY_AFTER_S   5   /* after a block that is no checkpoint slot (Clarification 5) */
#define LAG_S           600 /* ledger time behind our clock (Clarification 2) */
#define SETTLE_MS       5000
#define CHANGES_KEPT_S  604800 /* GET /v1/module?since= reaches back so far (Clarification 16) */
#define FORGET_MOST     1000   /* slots looked at in one turn */
#define COMMIT_BLOCKS   256
#define COMMIT_MS       200

struct submission {
    struct mb_checked *checked;
    sequence_done *done;
    void *arg;
    struct submission *next;
};
struct batch {
    struct sequence *sequence;
    struct mb_buf value;
    struct submission **submissions;
    size_t count;
};
struct checking {
    struct sequence *sequence;
    struct mb_envelope envelope;
    struct mb_checked *checked;
    sequence_done *done;
    void *arg;
};
struct settling {
    struct sequence *sequence;
    uint64_t slot;
    char *store_path;
    struct mb_error error;
    int rc;
};
struct sequence {
    struct node *node;
    struct submission *head, **tail;
    size_t queued, queued_bytes, checking;
    bool proposing; /* a batch is at the disk: */
    struct batch *at_disk;
    struct mb_timer *tick, *settle, *commit;
    struct settling *settling;
    uint64_t settled_slot;
    int64_t last_empty_ms;
    uint64_t blocks, commands, refused;
    void (*drained)(void *arg);
    void *drained_arg;
};

static void on_tick(void *arg);
static void on_settle(void *arg);
static void on_commit(void *arg);

struct sequence *sequence_new(struct node *n)
{
    struct sequence *s = mb_calloc(1, sizeof *s);
    s->node = n;
    s->tail = &s->head;
    s->tick = mb_timer_new(n->loop, on_tick, s);
    s->settle = mb_timer_new(n->loop, on_settle, s);
    s->commit = mb_timer_new(n->loop, on_commit, s);
    mb_timer_set(s->tick, TICK_MS);
    mb_timer_set(s->settle, SETTLE_MS);
    return s;
}

static void refuse(sequence_done *done, void *arg, const struct mb_checked *checked,
                   const struct mb_error *error)
{
    struct mb_submitted result = {.slot = 0, .ok = false, .error = error};
    mb_hash_hex(&checked->id, result.id);
    done(arg, &result);
}

static void check_drained(struct sequence *s)
{
    if (s->drained == NULL || s->queued > 0 || s->proposing || s->checking > 0)
        return;
    void (*drained)(void *arg) = s->drained;
    s->drained = NULL;
    drained(s->drained_arg);
}

int node_checkpoint(struct node *n, uint64_t at_most, struct mb_checkpoint *out,
                    struct mb_error *error)
{
    uint64_t slot;
    struct mb_buf record = {0};
    int rc = mb_archive_checkpoint_before(n->archive, at_most, &slot);
    if (rc == 1)
        rc = mb_archive_read(n->archive, MB_ARCHIVE_CHECKPOINT, slot, &record, error);
    if (rc == 1) {
        rc = mb_checkpoint_decode(out, mb_buf_bytes(&record), error);
        rc = rc == 0 ? 1 : rc;
    }
    mb_buf_clear(&record);
    return rc;
}

/* With one replica our own signature is the majority. */
static int sign_checkpoint(struct node *n, const struct mb_block *block, uint64_t slot,
                           struct mb_error *error)
{
    struct mb_signature own = {.key = n->key.public_key};
    struct mb_checkpoint checkpoint = {.header = block->header, .signatures = &own, .count = 1};
    struct mb_buf record = {0};
    mb_sshsig_sign(&n->key, MB_NAMESPACE_CHECKPOINT, mb_buf_bytes(&block->header), &own.signature);
    mb_checkpoint_encode(&checkpoint, &record);
    int rc =
        mb_archive_append(n->archive, MB_ARCHIVE_CHECKPOINT, slot, mb_buf_bytes(&record), error);
    mb_buf_clear(&own.signature);
    mb_buf_clear(&record);
    return rc;
}

static int archive_block(struct node *n, const struct mb_outcome *o,
                         const struct mb_block *archived, struct mb_error *error)
{
    uint64_t slot = o->applied.slot;
    struct mb_buf record = {0};
    int rc = 0;
    if (archived == NULL) {
        mb_block_encode(&o->block, &record);
        rc = mb_archive_append(n->archive, MB_ARCHIVE_BLOCK, slot, mb_buf_bytes(&record), error);
    } else if (!mb_bytes_equal(mb_buf_bytes(&archived->header), mb_buf_bytes(&o->block.header))) {
        rc = mb_fail(error, MB_ECORRUPT, "archive.differs",
                     "slot %" PRIu64 ": replaying it gives another header than the archive has: "
                     "was a module changed without a new version? Put the old one back",
                     slot);
    }
    mb_buf_clear(&record);
    uint64_t newest = 0;
    if (rc == 0 && o->applied.checkpoint &&
        !(mb_archive_checkpoint_before(n->archive, slot, &newest) == 1 && newest == slot))
        rc = sign_checkpoint(n, &o->block, slot, error);
    return rc;
}

static int index_commands(struct node *n, const struct mb_outcome *o)
{
    for (size_t i = 0; i < o->applied.count; i++) {
        struct mb_hash id;
        if (mb_hash_from_hex(&id, o->applied.commands[i].id) != 0)
            continue; /* an internal command */
        int rc = mb_store_command_add(n->store, &id, o->applied.slot, (uint32_t)i);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static struct mb_checked **check_all(const struct mb_value *value)
{
    struct mb_checked **all = mb_calloc(value->count + 1, sizeof *all);
    for (size_t i = 0; i < value->count; i++) {
        struct mb_envelope e = {0};
        mb_buf_add_bytes(&e.text, value->texts[i]);
        mb_buf_add_bytes(&e.signature, value->signatures[i]);
        all[i] = mb_checked_new(&e);
    }
    return all;
}

int node_commit(struct node *n, struct mb_error *error)
{
    if (n->uncommitted == 0)
        return 0;
    n->uncommitted = 0;
    MB_FAULT("store.commit");
    return mb_store_commit(n->store, error);
}

/* Log first (the caller did), then state and archive, then commit: the archive is written before
 * the store commits, so that a killed daemon never has a store that is ahead of its archive. */
int node_apply(struct node *n, struct mb_bytes bytes, struct mb_checked *const *checked,
               const struct mb_block *archived, struct mb_outcome **out, struct mb_error *error)
{
    struct mb_value value;
    struct mb_checked **own = NULL;
    struct mb_outcome *o = NULL;
    size_t replica_count;
    const struct mb_replica *replicas = mb_ledger_replicas(n->ledger, &replica_count);
    struct mb_public_key keys[9];
    for (size_t i = 0; i < replica_count; i++)
        keys[i] = replicas[i].key;

    int rc = mb_value_decode(&value, bytes, error);
    if (rc != 0)
        return rc;
    if (checked == NULL) {
        rc = mb_value_verify(&value, &mb_ledger_genesis(n->ledger)->org,
                             mb_ledger_tip(n->ledger)->header.slot + 1, keys, replica_count, error);
        checked = own = check_all(&value);
    }
    if (rc == 0 && n->uncommitted == 0)
        rc = mb_store_begin(n->store, error);
    if (rc == 0) {
        rc = mb_ledger_apply(n->ledger, bytes, &value, checked, &o, error);
        MB_FAULT("ledger.applied");
        if (rc == 0)
            rc = archive_block(n, o, archived, error);
        MB_FAULT("archive.appended");
        if (rc == 0 && index_commands(n, o) != 0)
            rc = mb_fail(error, MB_EIO, "store.io", "the store's index cannot be written");
        if (rc == 0 && o->applied.checkpoint)
            rc = mb_store_mark_checkpoint(n->store, o->applied.slot, error);
        n->uncommitted++;
        if (rc != 0) {
            mb_store_rollback(n->store);
            n->uncommitted = 0;
        } else if (n->uncommitted == COMMIT_BLOCKS) {
            rc = node_commit(n, error);
        }
    }
    for (size_t i = 0; own != NULL && i < value.count; i++)
        mb_checked_free(own[i]);
    free(own);
    mb_value_clear(&value);
    if (rc != 0) {
        mb_outcome_free(o);
        o = NULL;
    }
    *out = o;
    return rc;
}

static void answer(struct sequence *s, const struct batch *b, const struct mb_outcome *o)
{
    for (size_t i = 0; i < b->count; i++) {
        struct submission *sub = b->submissions[i];
        uint32_t index = mb_outcome_index(o, i);
        const struct mb_executed *e = &o->applied.commands[index];
        struct mb_submitted result = {
            .slot = o->applied.slot, .index = index, .ok = e->ok, .outcome = e->outcome};
        struct mb_error error = {0};
        mb_hash_hex(&sub->checked->id, result.id);
        if (!e->ok) {
            struct mb_buf text = {0};
            const json_t *args = json_object_get(e->outcome, "args");
            mb_buf_reset(&text);
            mb_snprintf(error.code, sizeof error.code, "%s",
                        mb_json_get_text(e->outcome, "code", ""));
            mb_json_canonical(&text, args, NULL);
            mb_snprintf(error.args, sizeof error.args, "%s", mb_buf_text(&text));
            mb_message_fill(&error, s->node->modules.logics, s->node->modules.count);
            mb_buf_clear(&text);
            result.error = &error;
        }
        sub->done(sub->arg, &result);
    }
}

static void batch_free(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        mb_checked_free(b->submissions[i]->checked);
        free(b->submissions[i]);
    }
    free(b->submissions);
    mb_buf_clear(&b->value);
    free(b);
}

/* What was taken in and not carried out: it may be in the log, so it is not said to have failed. */
static void refuse_stopping(struct sequence *s, struct submission *sub)
{
    struct mb_error error = {0};
    mb_fail(&error, MB_EREACH, "limit.stopping", "the replica is stopping: send it again");
    mb_message_fill(&error, s->node->modules.logics, s->node->modules.count);
    refuse(sub->done, sub->arg, sub->checked, &error);
}

void sequence_abandon(struct sequence *s, bool log_closed)
{
    struct submission *next;
    if (s == NULL)
        return;
    for (; s->head != NULL; s->head = next) {
        next = s->head->next;
        refuse_stopping(s, s->head);
        mb_checked_free(s->head->checked);
        free(s->head);
    }
    s->tail = &s->head;
    s->queued = 0;
    s->queued_bytes = 0;
    if (log_closed && s->at_disk != NULL) {
        for (size_t i = 0; i < s->at_disk->count; i++)
            refuse_stopping(s, s->at_disk->submissions[i]);
        batch_free(s->at_disk);
        s->at_disk = NULL;
    }
}

void sequence_free(struct sequence *s)
{
    if (s == NULL)
        return;
    mb_timer_free(s->tick);
    mb_timer_free(s->settle);
    mb_timer_free(s->commit);
    free(s);
}

static void propose(struct sequence *s, bool even_empty);

static void chosen(void *arg)
{
    struct batch *b = arg;
    struct sequence *s = b->sequence;
    struct node *n = s->node;
    struct mb_outcome *o;
    struct mb_error error = {0};
    struct mb_checked **checked = mb_calloc(b->count + 1, sizeof *checked);
    for (size_t i = 0; i < b->count; i++)
        checked[i] = b->submissions[i]->checked;
    s->proposing = false;
    s->at_disk = NULL;
    MB_FAULT("ledger.chosen");
    if (node_apply(n, mb_buf_bytes(&b->value), checked, NULL, &o, &error) != 0) {
        node_fail(n, &error);
        for (size_t i = 0; i < b->count; i++)
            refuse_stopping(s, b->submissions[i]);
    } else {
        s->blocks++;
        s->commands += b->count;
        if (n->uncommitted == 1)
            mb_timer_set(s->commit, COMMIT_MS);
        /* The next batch goes to the disk while this one's effects are carried out. */
        propose(s, false);
        for (size_t i = 0; i < n->modules.count; i++)
            if (n->running[i].started && n->modules.modules[i]->on_block != NULL)
                n->modules.modules[i]->on_block(n->running[i].self, &o->applied);
        answer(s, b, o);
        if (o->applied.checkpoint)
            snapshots_consider(n->snapshots);
        mb_outcome_free(o);
    }
    free(checked);
    batch_free(b);
    check_drained(s);
}

static void propose(struct sequence *s, bool even_empty)
{
    struct node *n = s->node;
    if (s->proposing || (s->queued == 0 && !even_empty) || n->exit_status != 0)
        return;
    struct batch *b = mb_calloc(1, sizeof *b);
    struct mb_checked **checked = mb_calloc(MB_VALUE_ENVELOPES_MAX, sizeof *checked);
    size_t bytes = 0;
    b->sequence = s;
    b->submissions = mb_calloc(MB_VALUE_ENVELOPES_MAX, sizeof(struct submission *));
    while (s->head != NULL && b->count < MB_VALUE_ENVELOPES_MAX) {
        struct submission *sub = s->head;
        size_t size = sub->checked->envelope.text.len + sub->checked->envelope.signature.len;
        if (b->count > 0 && bytes + size + 6 > MB_VALUE_BODIES_MAX)
            break;
        bytes += size + 6;
        s->head = sub->next;
        if (s->head == NULL)
            s->tail = &s->head;
        s->queued--;
        s->queued_bytes -= size;
        checked[b->count] = sub->checked;
        b->submissions[b->count++] = sub;
    }
    const struct mb_tip *tip = mb_ledger_tip(n->ledger);
    struct mb_wal_record record = {.kind = MB_WAL_ACCEPTED, .slot = tip->header.slot + 1};
    mb_value_encode(&b->value, &n->key, &mb_ledger_genesis(n->ledger)->org, record.slot,
                    mb_clock_s(), checked, b->count);
    record.payload = mb_buf_bytes(&b->value);
    s->proposing = true;
    s->at_disk = b;
    MB_FAULT("ledger.proposed");
    bool alone = b->count == 1 && s->queued == 0 && s->checking == 0;
    mb_wal_append(n->wal, NULL, &record, 1, alone, chosen, b);
    free(checked);
}

void sequence_submit(struct sequence *s, struct mb_checked *checked, sequence_done *done, void *arg)
{
    struct node *n = s->node;
    struct mb_error error = {0};
    size_t size = checked->envelope.text.len + checked->envelope.signature.len;
    int rc = 0;
    if (n->stopping || s->drained != NULL || n->exit_status != 0)
        rc = mb_fail(&error, MB_EREACH, "limit.stopping", "the replica is stopping: send it again");
    else if (s->queued_bytes + size > QUEUE_BYTES_MAX)
        rc = mb_fail(&error, MB_EREACH, "limit.busy", "too much is waiting: send it again later");
    else
        rc = mb_ledger_try(n->ledger, checked, mb_clock_s(), &error);
    if (rc != 0) {
        s->refused++;
        mb_message_fill(&error, n->modules.logics, n->modules.count);
        refuse(done, arg, checked, &error);
        mb_checked_free(checked);
        return;
    }
    struct submission *sub = mb_calloc(1, sizeof *sub);
    *sub = (struct submission){.checked = checked, .done = done, .arg = arg};
    *s->tail = sub;
    s->tail = &sub->next;
    s->queued++;
    s->queued_bytes += size;
    propose(s, false);
}

static void check_work(void *arg)
{
    struct checking *c = arg;
    c->checked = mb_checked_new(&c->envelope);
}

static void check_done(void *arg)
{
    struct checking *c = arg;
    c->sequence->checking--;
    sequence_submit(c->sequence, c->checked, c->done, c->arg);
    check_drained(c->sequence);
    free(c);
}

void sequence_submit_envelope(struct sequence *s, struct mb_envelope *envelope, sequence_done *done,
                              void *arg)
{
    struct checking *c = mb_calloc(1, sizeof *c);
    *c = (struct checking){.sequence = s, .envelope = *envelope, .done = done, .arg = arg};
    *envelope = (struct mb_envelope){0};
    s->checking++;
    if (s->checking == 1 && !s->proposing && s->queued == 0) {
        check_work(c); /* nobody waits: two thread switches cost more than they save */
        check_done(c);
    } else {
        mb_work(s->node->loop, check_work, check_done, c);
    }
}

/* The leader's empty blocks: something is due, an epoch has passed, the newest block is no
 * checkpoint slot, or ledger time is too far behind. */
static void on_tick(void *arg)
{
    struct sequence *s = arg;
    const struct mb_tip *tip = mb_ledger_tip(s->node->ledger);
    int64_t now = mb_clock_s();
    bool uncovered = tip->checkpoint_slot != tip->header.slot && now >= tip->time + EMPTY_AFTER_S;
    mb_timer_set(s->tick, TICK_MS);
    if (s->node->stopping)
        return;
    if (now >= tip->next_due || uncovered || now >= tip->time + LAG_S)
        propose(s, true);
}

/* What is committed now has a slot that others may count on; false if the node had to stop. */
static bool commit(struct sequence *s)
{
    struct mb_error error = {0};
    if (node_commit(s->node, &error) == 0)
        return true;
    node_fail(s->node, &error);
    return false;
}

static void on_commit(void *arg)
{
    (void)commit(arg);
}

/* Forget which keys changed in blocks older than a week. */
static void forget_changes(struct sequence *s)
{
    struct node *n = s->node;
    struct mb_error error = {0};
    int64_t before = mb_ledger_tip(n->ledger)->time - CHANGES_KEPT_S;
    uint64_t slot = mb_store_forgotten(n->store), from = slot;
    while (slot - from < FORGET_MOST && slot < mb_ledger_tip(n->ledger)->header.slot) {
        struct mb_block block = {0};
        struct mb_buf record = {0};
        struct mb_header header = {0};
        bool old = mb_archive_read(n->archive, MB_ARCHIVE_BLOCK, slot + 1, &record, &error) == 1 &&
                   mb_block_decode(&block, mb_buf_bytes(&record), &error) == 0 &&
                   mb_header_decode(&header, mb_buf_bytes(&block.header), &error) == 0 &&
                   header.time < before;
        mb_block_clear(&block);
        mb_buf_clear(&record);
        if (!old)
            break;
        slot++;
    }
    if (slot == from || !commit(s))
        return;
    int rc = mb_store_begin(n->store, &error);
    if (rc == 0 && (rc = mb_store_forget_deletions(n->store, slot, &error)) == 0)
        rc = mb_store_commit(n->store, &error);
    if (rc != 0)
        node_fail(n, &error);
}

static void settle_work(void *arg)
{
    struct settling *w = arg;
    w->rc = mb_archive_sync(w->sequence->node->archive, &w->error);
    if (w->rc == 0)
        w->rc = mb_store_settle(w->store_path, &w->error);
}

static void settle_done(void *arg)
{
    struct settling *w = arg;
    struct sequence *s = w->sequence;
    s->settling = NULL;
    if (w->rc != 0) {
        node_fail(s->node, &w->error);
    } else {
        s->settled_slot = w->slot;
        mb_wal_release(s->node->wal, w->slot);
        forget_changes(s);
    }
    free(w->store_path);
    free(w);
    if (!s->node->stopping)
        mb_timer_set(s->settle, SETTLE_MS);
}

/* Make archive and store durable, off the commit path; then the log may reuse its segments. */
static void on_settle(void *arg)
{
    struct sequence *s = arg;
    uint64_t slot = mb_ledger_tip(s->node->ledger)->header.slot;
    if (slot == s->settled_slot || s->settling != NULL || s->node->stopping) {
        mb_timer_set(s->settle, SETTLE_MS);
        return;
    }
    if (!commit(s))
        return;
    struct settling *w = mb_calloc(1, sizeof *w);
    *w = (struct settling){
        .sequence = s, .slot = slot, .store_path = node_path(s->node, "store.db")};
    s->settling = w;
    mb_work(s->node->loop, settle_work, settle_done, w);
}

void sequence_drain(struct sequence *s, void (*done)(void *arg), void *arg)
{
    s->drained = done;
    s->drained_arg = arg;
    check_drained(s);
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
    mb_report_gauge(r, "queued", "Commands that wait for a block.", (int64_t)s->queued);
    r->subsystem = "wal";
    mb_report_counter(r, "batches_total", "Batches written to the log.", w.batches);
    mb_report_counter(r, "bytes_total", "Bytes written to the log.", w.bytes);
    mb_report_counter(r, "fsync_microseconds_total", "Time in fdatasync.", w.fsync_us_total);
    mb_report_gauge(r, "segments", "Segments of the log.", (int64_t)w.segments);
}
