/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Checkpoints: this replica signs the header of each checkpoint slot, tells the others, and keeps
 * in the archive what a majority has signed. Whoever signed another header is found out, and told
 * of on the record; where that is us, this replica stops.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node.h"
#include "ledger/collect.h"

#define TELL_AGAIN_MS 5000
#define OWN_KEPT      16

struct own { /* our signature of a slot that has no majority yet */
    uint64_t slot;
    struct mb_buf header, signature;
};
struct checkpoints {
    struct node *node;
    struct mb_collector *collector;
    struct mb_timer *timer;
    struct own own[OWN_KEPT];
    size_t own_count;
    size_t found;   /* of those that diverged */
    bool attesting; /* a command of ours is under way */
};

static void on_timer(void *arg);

struct checkpoints *checkpoints_new(struct node *n)
{
    struct checkpoints *c = mb_calloc(1, sizeof *c);
    c->node = n;
    c->timer = mb_timer_new(n->loop, on_timer, c);
    mb_timer_set(c->timer, TELL_AGAIN_MS);
    return c;
}

static void own_clear(struct own *o)
{
    mb_buf_clear(&o->header);
    mb_buf_clear(&o->signature);
}

void checkpoints_free(struct checkpoints *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->own_count; i++)
        own_clear(&c->own[i]);
    mb_collector_free(c->collector);
    mb_timer_free(c->timer);
    free(c);
}

static bool has_majority(struct node *n, uint64_t slot)
{
    struct mb_buf record = {0};
    if (slot > 0 && slot < n->base.slot)
        return true; /* or the snapshot that the archive began with would not have been believed */
    bool has = mb_archive_read(n->archive, MB_ARCHIVE_CHECKPOINT, slot, &record, NULL) == 1;
    mb_buf_clear(&record);
    return has;
}

static void tell(struct checkpoints *c, uint32_t to, struct mb_bytes header,
                 struct mb_bytes signature)
{
    struct mb_relay relay = {.kind = MB_RELAY_SIGNATURE, .part = {header, signature}};
    links_send(c->node->links, to, &relay);
}

static void attested(void *arg, const struct mb_submitted *result)
{
    struct checkpoints *c = arg;
    c->attesting = false;
    mb_log(MB_LOG_WARN, "ledger", "attested", "code=%s", result->ok ? "" : result->error->code);
}

/* --- What the record has of replicas that diverged. --- */

static json_t *evidence(const struct checkpoints *c, const struct mb_public_key *key)
{
    char fingerprint[MB_FINGERPRINT_SIZE];
    mb_public_key_fingerprint(key, fingerprint);
    char *path = mb_asprintf("org/attest/%s", fingerprint);
    json_t *value = mb_tx_get(mb_ledger_reader(c->node->ledger), path);
    free(path);
    return value;
}

static bool is_on_record(const struct checkpoints *c, const struct mb_public_key *key)
{
    json_t *value = evidence(c, key);
    json_decref(value);
    return value != NULL;
}

/* Whoever is on record is believed no longer, whatever this life of ours has seen. */
static void distrust(struct checkpoints *c, const struct mb_membership *config)
{
    for (size_t i = 0; i < config->count; i++)
        if (is_on_record(c, &config->replicas[i].key))
            mb_collector_distrust(c->collector, &config->replicas[i].key);
}

/* A replica that signed another history is named on the record, with its own signature. */
static void attest(struct checkpoints *c, const struct mb_diverged *d)
{
    struct node *n = c->node;
    struct mb_envelope e = {0};
    struct mb_buf hex = {0}, signature = {0};
    uint8_t nonce[16];
    mb_hex_encode(&hex, d->header.data, d->header.len);
    mb_base64_encode(&signature, d->signature.data, d->signature.len);
    json_t *body =
        json_pack("{s:s, s:s}", "header", mb_buf_text(&hex), "signature", mb_buf_text(&signature));
    mb_random(nonce, sizeof nonce);
    mb_command_make(&e, &n->key, mb_ledger_org(n->ledger), "org.attest", nonce,
                    mb_command_expiry(mb_ledger_tip(n->ledger)->time), body, 0);
    json_decref(body);
    mb_buf_clear(&hex);
    mb_buf_clear(&signature);
    c->attesting = true;
    sequence_submit_envelope(n->sequence, &e, attested, c);
}

/* One after another, until all are on record. */
static void attest_next(struct checkpoints *c)
{
    size_t count;
    const struct mb_diverged *d = mb_collector_diverged(c->collector, &count);
    for (size_t i = 0; i < count && !c->attesting && c->node->sequence != NULL; i++)
        if (!is_on_record(c, &d[i].key) &&
            d[i].slot + MB_HEADERS_KEPT > mb_ledger_tip(c->node->ledger)->header.slot)
            attest(c, &d[i]);
}

static int settle(struct checkpoints *c, uint64_t slot, struct mb_error *error)
{
    struct node *n = c->node;
    enum mb_verdict verdict = mb_collector_verdict(c->collector, slot);
    int rc = 0;
    if (verdict == MB_VERDICT_OUTVOTED)
        return mb_fail(
            error, MB_ECORRUPT, "ledger.outvoted",
            "slot %" PRIu64 ": a majority of the replicas signed another header than "
            "this one has: its state is wrong. Stop it, move its store.db away and start "
            "it; if that does not help, remove it and join with a new one",
            slot);
    if (verdict == MB_VERDICT_AGREED && !has_majority(n, slot)) {
        struct mb_checkpoint checkpoint;
        struct mb_buf record = {0};
        mb_collector_checkpoint(c->collector, slot, &checkpoint);
        mb_checkpoint_encode(&checkpoint, &record);
        rc = mb_archive_append(n->archive, MB_ARCHIVE_CHECKPOINT, slot, mb_buf_bytes(&record),
                               error);
        mb_buf_clear(&record);
        mb_checkpoint_clear(&checkpoint);
        if (rc == 0 && n->snapshots != NULL)
            snapshots_signed(n->snapshots);
        for (size_t i = 0; i < c->own_count;) {
            if (c->own[i].slot != slot) {
                i++;
                continue;
            }
            own_clear(&c->own[i]);
            c->own[i] = c->own[--c->own_count];
        }
        if (slot > MB_WINDOW)
            mb_collector_forget(c->collector, slot - MB_WINDOW);
    }
    size_t count;
    const struct mb_diverged *d = mb_collector_diverged(c->collector, &count);
    for (; c->found < count; c->found++) {
        char fingerprint[MB_FINGERPRINT_SIZE];
        mb_public_key_fingerprint(&d[c->found].key, fingerprint);
        mb_log(MB_LOG_ERROR, "ledger", "diverged", "slot=%" PRIu64 " key=%s", d[c->found].slot,
               fingerprint);
    }
    attest_next(c);
    return rc;
}

static struct mb_collector *collector(struct checkpoints *c)
{
    if (c->collector == NULL)
        c->collector = mb_collector_new(&mb_ledger_genesis(c->node->ledger)->org);
    return c->collector;
}

static void keep_own(struct checkpoints *c, uint64_t slot, struct mb_bytes header,
                     struct mb_buf *signature)
{
    if (c->own_count == OWN_KEPT) { /* the oldest; the others tell us theirs when they hear newer */
        own_clear(&c->own[0]);
        memmove(c->own, c->own + 1, --c->own_count * sizeof *c->own);
    }
    struct own *o = &c->own[c->own_count++];
    *o = (struct own){.slot = slot, .signature = *signature};
    mb_buf_add_bytes(&o->header, header);
    *signature = (struct mb_buf){0};
}

int checkpoints_sign(struct checkpoints *c, uint64_t slot, struct mb_bytes header,
                     struct mb_error *error)
{
    struct node *n = c->node;
    struct mb_membership config;
    if (has_majority(n, slot) || mb_ledger_config_at(n->ledger, slot, &config) != 1)
        return 0;
    mb_collector_open(collector(c), &config, header);
    distrust(c, &config);
    if (mb_membership_find(&config, &n->key.public_key) != NULL) {
        struct mb_buf signature = {0};
#ifdef MB_FAULTS
        uint8_t lie[MB_HEADER_MAX];
        memcpy(lie, header.data, header.len);
        if (MB_LIE("lie.header")) {
            lie[header.len / 2] ^= 1;
            header = mb_bytes(lie, header.len);
        }
#endif
        mb_sshsig_sign(&n->key, MB_NAMESPACE_CHECKPOINT, header, &signature);
        if (!MB_LIE("lie.header"))
            mb_collector_add(c->collector, &config, header, mb_buf_bytes(&signature), NULL);
        tell(c, 0, header, mb_buf_bytes(&signature));
        if (config.count > 1)
            keep_own(c, slot, header, &signature);
        mb_buf_clear(&signature);
    }
    return settle(c, slot, error);
}

static int sign_again(struct checkpoints *c, uint64_t slot, struct mb_error *error)
{
    struct mb_block block;
    if (has_majority(c->node, slot))
        return 0;
    int rc = node_read_block(c->node, slot, &block, error);
    if (rc == 0)
        rc = checkpoints_sign(c, slot, mb_buf_bytes(&block.header), error);
    mb_block_clear(&block);
    return rc;
}

int checkpoints_resume(struct checkpoints *c, struct mb_error *error)
{
    struct node *n = c->node;
    struct mb_membership config;
    uint64_t slot = mb_ledger_tip(n->ledger)->checkpoint_slot;
    int rc = sign_again(c, slot, error);
    while (rc == 0 && mb_ledger_config_at(n->ledger, slot, &config) == 1 && config.from > 1 &&
           !has_majority(n, config.from - 1)) {
        slot = config.from - 1;
        rc = sign_again(c, slot, error);
        if (rc == 0 && !has_majority(n, slot) && c->own_count == OWN_KEPT)
            break; /* no more would be kept */
    }
    return rc;
}

/* Whoever asks about a slot that has its majority gets our part of it. */
static void tell_from_archive(struct checkpoints *c, uint32_t to, uint64_t slot)
{
    struct mb_checkpoint checkpoint = {0};
    if (slot < c->node->base.slot || !has_majority(c->node, slot) ||
        node_checkpoint(c->node, slot, &checkpoint, NULL) != 1)
        return;
    for (size_t i = 0; i < checkpoint.count; i++)
        if (mb_public_key_equal(&checkpoint.signatures[i].key, &c->node->key.public_key))
            tell(c, to, mb_buf_bytes(&checkpoint.header),
                 mb_buf_bytes(&checkpoint.signatures[i].signature));
    mb_checkpoint_clear(&checkpoint);
}

void checkpoints_receive(struct checkpoints *c, uint32_t from, const struct mb_relay *relay)
{
    struct node *n = c->node;
    struct mb_header header;
    struct mb_membership config;
    struct mb_error error = {0};
    if (mb_header_decode(&header, relay->part[0], &error) != 0 ||
        mb_ledger_config_at(n->ledger, header.slot, &config) != 1)
        return;
    enum mb_collected what =
        mb_collector_add(collector(c), &config, relay->part[0], relay->part[1], NULL);
    if (what == MB_COLLECTED_KNOWN || what == MB_COLLECTED_IGNORED)
        tell_from_archive(c, from, header.slot);
    else if (what == MB_COLLECTED_CONFLICT || what == MB_COLLECTED_FALSE)
        mb_log(MB_LOG_WARN, "ledger", "other_header", "slot=%" PRIu64 " replica=%u", header.slot,
               from);
    if (settle(c, header.slot, &error) != 0)
        node_fail(n, &error);
}

int checkpoints_take(struct checkpoints *c, const struct mb_checkpoint *checkpoint,
                     struct mb_error *error)
{
    struct node *n = c->node;
    struct mb_header header;
    struct mb_membership config;
    int rc = mb_header_decode(&header, mb_buf_bytes(&checkpoint->header), error);
    if (rc != 0 || mb_ledger_config_at(n->ledger, header.slot, &config) != 1)
        return rc;
    for (size_t i = 0; i < checkpoint->count; i++)
        mb_collector_add(collector(c), &config, mb_buf_bytes(&checkpoint->header),
                         mb_buf_bytes(&checkpoint->signatures[i].signature), NULL);
    return settle(c, header.slot, error);
}

static void on_timer(void *arg)
{
    struct checkpoints *c = arg;
    for (size_t i = 0; i < c->own_count; i++)
        tell(c, 0, mb_buf_bytes(&c->own[i].header), mb_buf_bytes(&c->own[i].signature));
    if (c->collector != NULL)
        attest_next(c);
    mb_timer_set(c->timer, TELL_AGAIN_MS);
}

static void report_diverged(struct mb_report *r, const struct mb_public_key *key, uint64_t slot,
                            bool on_record)
{
    char fingerprint[MB_FINGERPRINT_SIZE];
    mb_public_key_fingerprint(key, fingerprint);
    mb_report_alarm(r, "replica.diverged",
                    "replica %s signed another header for slot %" PRIu64
                    " than the majority: its evidence is %s; remove it (magicbiz replica remove)",
                    fingerprint, slot, on_record ? "on the record" : "to be put on the record");
}

void checkpoints_report(struct checkpoints *c, struct mb_report *r)
{
    size_t count = 0, replica_count, diverged = 0;
    const struct mb_diverged *d =
        c->collector == NULL ? NULL : mb_collector_diverged(c->collector, &count);
    const struct mb_replica *replicas = mb_ledger_replicas(c->node->ledger, &replica_count);
    r->subsystem = "ledger";
    for (size_t i = 0; i < replica_count; i++) {
        json_t *value = evidence(c, &replicas[i].key);
        if (value != NULL) {
            diverged++;
            report_diverged(r, &replicas[i].key, (uint64_t)mb_json_get_int(value, "slot", 0), true);
        }
        json_decref(value);
    }
    for (size_t i = 0; i < count; i++)
        if (!is_on_record(c, &d[i].key)) {
            diverged++;
            report_diverged(r, &d[i].key, d[i].slot, false);
        }
    mb_report_gauge(r, "replicas_diverged",
                    "Replicas that signed another header than the majority.", (int64_t)diverged);
    mb_report_gauge(r, "checkpoints_unsigned", "Checkpoint slots that wait for a majority.",
                    (int64_t)c->own_count);
}
