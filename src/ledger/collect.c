/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/collect.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

#define HEADERS_MAX 2 /* of one replica for one slot: what it said first, and that it lied */

struct vote {
    struct mb_buf header, signature; /* empty: none */
};
struct collected {
    uint64_t slot;
    struct mb_public_key keys[MB_REPLICAS_MAX];
    size_t count;
    struct vote votes[MB_REPLICAS_MAX][HEADERS_MAX]; /* by the place in keys */
    struct mb_buf own;                               /* empty: not applied yet */
    bool handover;
    enum mb_verdict verdict;
};
struct mb_collector {
    struct mb_hash org;
    struct collected **slots; /* in no order */
    size_t count;
    uint64_t lowest;
    struct mb_diverged *diverged;
    size_t diverged_count;
    struct mb_public_key *distrusted;
    size_t distrusted_count;
};

struct mb_collector *mb_collector_new(const struct mb_hash *org)
{
    struct mb_collector *c = mb_calloc(1, sizeof *c);
    c->org = *org;
    return c;
}

static void free_slot(struct collected *s)
{
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < HEADERS_MAX; k++) {
            mb_buf_clear(&s->votes[i][k].header);
            mb_buf_clear(&s->votes[i][k].signature);
        }
    mb_buf_clear(&s->own);
    free(s);
}

void mb_collector_free(struct mb_collector *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->count; i++)
        free_slot(c->slots[i]);
    for (size_t i = 0; i < c->diverged_count; i++) {
        mb_buf_clear(&c->diverged[i].header);
        mb_buf_clear(&c->diverged[i].signature);
    }
    free(c->slots);
    free(c->diverged);
    free(c->distrusted);
    free(c);
}

static struct collected *find_slot(const struct mb_collector *c, uint64_t slot)
{
    for (size_t i = 0; i < c->count; i++)
        if (c->slots[i]->slot == slot)
            return c->slots[i];
    return NULL;
}

/* The slot, begun if need be; NULL if it was forgotten. */
static struct collected *get_slot(struct mb_collector *c, uint64_t slot,
                                  const struct mb_membership *config)
{
    struct collected *s = find_slot(c, slot);
    if (s || slot < c->lowest)
        return s;
    s = mb_calloc(1, sizeof *s);
    s->slot = slot;
    s->count = mb_membership_keys(config, s->keys);
    c->slots = mb_realloc(c->slots, (c->count + 1) * sizeof(struct collected *));
    c->slots[c->count++] = s;
    return s;
}

static bool equal(const struct mb_buf *a, struct mb_bytes b)
{
    return mb_bytes_equal(mb_buf_bytes(a), b);
}

/* How many replicas signed header. */
static size_t count_votes(const struct collected *s, struct mb_bytes header)
{
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < HEADERS_MAX; k++)
            count += equal(&s->votes[i][k].header, header);
    return count;
}

static bool has_diverged(const struct mb_collector *c, const struct mb_public_key *key)
{
    for (size_t i = 0; i < c->diverged_count; i++)
        if (mb_public_key_equal(&c->diverged[i].key, key))
            return true;
    return false;
}

static bool is_distrusted(const struct mb_collector *c, const struct mb_public_key *key)
{
    for (size_t i = 0; i < c->distrusted_count; i++)
        if (mb_public_key_equal(&c->distrusted[i], key))
            return true;
    return false;
}

void mb_collector_distrust(struct mb_collector *c, const struct mb_public_key *key)
{
    if (is_distrusted(c, key))
        return;
    c->distrusted = mb_realloc(c->distrusted, (c->distrusted_count + 1) * sizeof *c->distrusted);
    c->distrusted[c->distrusted_count++] = *key;
}

/* Our header was agreed on: whoever signed another has diverged. */
static void note_diverged(struct mb_collector *c, const struct collected *s)
{
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < HEADERS_MAX; k++) {
            const struct vote *v = &s->votes[i][k];
            if (v->header.len == 0 || equal(&v->header, mb_buf_bytes(&s->own)) ||
                has_diverged(c, &s->keys[i]))
                continue;
            c->diverged = mb_realloc(c->diverged, (c->diverged_count + 1) * sizeof *c->diverged);
            struct mb_diverged *d = &c->diverged[c->diverged_count++];
            *d = (struct mb_diverged){.key = s->keys[i], .slot = s->slot};
            mb_buf_add_bytes(&d->header, mb_buf_bytes(&v->header));
            mb_buf_add_bytes(&d->signature, mb_buf_bytes(&v->signature));
        }
}

static void judge(struct mb_collector *c, struct collected *s)
{
    size_t majority = s->count / 2 + 1;
    if (s->own.len == 0)
        return;
    if (s->verdict == MB_VERDICT_OPEN && count_votes(s, mb_buf_bytes(&s->own)) >= majority)
        s->verdict = MB_VERDICT_AGREED;
    for (size_t i = 0; i < s->count && s->verdict == MB_VERDICT_OPEN; i++)
        for (size_t k = 0; k < HEADERS_MAX; k++)
            if (s->votes[i][k].header.len > 0 &&
                count_votes(s, mb_buf_bytes(&s->votes[i][k].header)) >= majority)
                s->verdict = MB_VERDICT_OUTVOTED;
    if (s->verdict == MB_VERDICT_AGREED)
        note_diverged(c, s);
}

/* Put a signature that holds in its place. */
static enum mb_collected keep(struct collected *s, size_t replica, struct mb_bytes header,
                              struct mb_bytes signature)
{
    struct vote *votes = s->votes[replica];
    size_t k = votes[0].header.len == 0 ? 0 : 1;
    if (votes[k].header.len == 0) {
        mb_buf_add_bytes(&votes[k].header, header);
        mb_buf_add_bytes(&votes[k].signature, signature);
    }
    bool ours = s->own.len == 0 || equal(&s->own, header);
    return k == 0 && ours ? MB_COLLECTED_ADDED : MB_COLLECTED_CONFLICT;
}

enum mb_collected mb_collector_add(struct mb_collector *c, const struct mb_membership *config,
                                   struct mb_bytes header, struct mb_bytes signature,
                                   const struct mb_replica **signer)
{
    const struct mb_replica *ignored, **who = signer ? signer : &ignored;
    struct mb_sshsig sig;
    struct mb_header h;
    *who = NULL;
    if (mb_header_decode(&h, header, NULL) != 0 || !mb_hash_equal(&h.org, &c->org) ||
        signature.len > MB_SSHSIG_MAX || mb_sshsig_parse(&sig, signature, NULL) != 0)
        return MB_COLLECTED_FALSE;
    const struct mb_replica *replica = mb_membership_find(config, &sig.key);
    if (!replica)
        return MB_COLLECTED_STRANGER;
    size_t place = (size_t)(replica - config->replicas);
    struct collected *s = find_slot(c, h.slot);
    for (size_t k = 0; s && k < HEADERS_MAX; k++)
        if (equal(&s->votes[place][k].header, header)) {
            *who = replica;
            return MB_COLLECTED_KNOWN;
        }
    if (mb_sshsig_verify(signature, MB_NAMESPACE_CHECKPOINT, header, NULL, NULL) != 0)
        return MB_COLLECTED_FALSE;
    *who = replica;
    s = has_diverged(c, &sig.key) || is_distrusted(c, &sig.key) ? NULL
                                                                : get_slot(c, h.slot, config);
    if (!s)
        return MB_COLLECTED_IGNORED;
    enum mb_collected came = keep(s, place, header, signature);
    judge(c, s);
    return came;
}

void mb_collector_open(struct mb_collector *c, const struct mb_membership *config,
                       struct mb_bytes header)
{
    struct mb_header h;
    if (mb_header_decode(&h, header, NULL) != 0)
        abort(); /* our own */
    struct collected *s = get_slot(c, h.slot, config);
    if (!s || s->own.len > 0)
        return;
    mb_buf_add_bytes(&s->own, header);
    s->handover = !mb_hash_equal(&h.config_hash, &config->hash);
    judge(c, s);
}

enum mb_verdict mb_collector_verdict(const struct mb_collector *c, uint64_t slot)
{
    const struct collected *s = find_slot(c, slot);
    return s ? s->verdict : MB_VERDICT_OPEN;
}

void mb_collector_checkpoint(const struct mb_collector *c, uint64_t slot, struct mb_checkpoint *out)
{
    const struct collected *s = find_slot(c, slot);
    memset(out, 0, sizeof *out);
    if (!s || s->verdict != MB_VERDICT_AGREED)
        return;
    mb_buf_add_bytes(&out->header, mb_buf_bytes(&s->own));
    out->signatures = mb_calloc(s->count, sizeof *out->signatures);
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < HEADERS_MAX; k++)
            if (equal(&s->votes[i][k].header, mb_buf_bytes(&s->own))) {
                struct mb_signature *one = &out->signatures[out->count++];
                one->key = s->keys[i];
                mb_buf_add_bytes(&one->signature, mb_buf_bytes(&s->votes[i][k].signature));
            }
}

const struct mb_diverged *mb_collector_diverged(const struct mb_collector *c, size_t *count)
{
    *count = c->diverged_count;
    return c->diverged;
}

json_t *mb_attest_body(const struct mb_diverged *d)
{
    struct mb_buf header = {0}, signature = {0};
    json_t *body = json_object();
    mb_hex_encode(&header, d->header.data, d->header.len);
    mb_base64_encode(&signature, d->signature.data, d->signature.len);
    json_object_set_new(body, "header", json_string(mb_buf_text(&header)));
    json_object_set_new(body, "signature", json_string(mb_buf_text(&signature)));
    mb_buf_clear(&header);
    mb_buf_clear(&signature);
    return body;
}

void mb_collector_forget(struct mb_collector *c, uint64_t slot)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->count; i++) {
        struct collected *s = c->slots[i];
        if (s->slot >= slot || (s->handover && s->verdict == MB_VERDICT_OPEN))
            c->slots[kept++] = s;
        else
            free_slot(s);
    }
    c->count = kept;
    if (slot > c->lowest)
        c->lowest = slot;
}
