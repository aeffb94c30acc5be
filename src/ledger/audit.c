/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/audit.h"

#include <stdlib.h>
#include <string.h>

/* Replicas in force from a slot on. */
struct config {
    uint64_t from;
    struct mb_public_key *keys;
    size_t count;
};
struct slot {
    struct mb_hash header;
    bool checkpoint;
};
struct mb_audit {
    struct mb_ledger *ledger;
    bool begun; /* slot 0 has been compared */
    struct slot *slots;
    size_t slot_count, slot_cap;
    struct config *configs;
    size_t config_count;
    uint64_t *handovers;
    size_t handover_count;
    struct mb_audit_stats stats;
};

static void add_slot(struct mb_audit *a)
{
    const struct mb_tip *tip = mb_ledger_tip(a->ledger);
    bool checkpoint = tip->checkpoint_slot == tip->header.slot;
    if (a->slot_count == a->slot_cap) {
        a->slot_cap = a->slot_cap * 2 + 64;
        a->slots = mb_realloc(a->slots, a->slot_cap * sizeof *a->slots);
    }
    a->slots[a->slot_count++] = (struct slot){tip->header_hash, checkpoint};
    a->stats.checkpoint_slots += checkpoint;
}

static void add_config(struct mb_audit *a, uint64_t from)
{
    size_t count;
    const struct mb_replica *replicas = mb_ledger_replicas(a->ledger, &count);
    a->configs = mb_realloc(a->configs, (a->config_count + 1) * sizeof *a->configs);
    struct config *c = &a->configs[a->config_count++];
    *c = (struct config){from, mb_calloc(count + 1, sizeof *c->keys), count};
    for (size_t i = 0; i < count; i++)
        c->keys[i] = replicas[i].key;
}

static const struct config *config_for(const struct mb_audit *a, uint64_t slot)
{
    size_t i = a->config_count - 1;
    while (i > 0 && a->configs[i].from > slot)
        i--;
    return &a->configs[i];
}

int mb_audit_new(struct mb_audit **out, struct mb_backend backend,
                 const struct mb_logic *const *modules, size_t module_count,
                 const struct mb_hash *org, struct mb_bytes genesis, struct mb_error *error)
{
    struct mb_hash hash = mb_sha256(genesis.data, genesis.len);
    struct mb_ledger *ledger = NULL;
    *out = NULL;
    if (!mb_hash_equal(&hash, org))
        return mb_fail(error, MB_EPROOF, "audit.genesis",
                       "slot 0: the genesis does not hash to the organisation's id");
    int rc = mb_ledger_found(&ledger, backend, modules, module_count, genesis, error);
    if (rc != 0)
        return rc;
    struct mb_audit *a = mb_calloc(1, sizeof *a);
    a->ledger = ledger;
    add_slot(a);
    add_config(a, 0);
    *out = a;
    return 0;
}

void mb_audit_free(struct mb_audit *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->config_count; i++)
        free(a->configs[i].keys);
    free(a->configs);
    free(a->slots);
    free(a->handovers);
    mb_ledger_free(a->ledger);
    free(a);
}

/* --- Blocks. --- */

static int differs(struct mb_error *error, uint64_t slot, const char *what,
                   const struct mb_hash *says, const struct mb_hash *is)
{
    char said[MB_HASH_HEX_SIZE], found[MB_HASH_HEX_SIZE];
    mb_hash_hex(says, said);
    mb_hash_hex(is, found);
    return mb_fail(error, MB_EPROOF, "audit.header",
                   "slot %llu: %s differs: the ledger says %s, the replay gives %s",
                   (unsigned long long)slot, what, said, found);
}

/* Which field of two headers differs. */
static int compare_headers(const struct mb_buf *says, const struct mb_header *is,
                           struct mb_error *error)
{
    struct mb_header h;
    uint8_t bytes[MB_HEADER_MAX];
    size_t len = mb_header_encode(is, bytes);
    if (mb_bytes_equal(mb_buf_bytes(says), mb_bytes(bytes, len)))
        return 0;
    unsigned long long slot = is->slot;
    if (mb_header_decode(&h, mb_buf_bytes(says), NULL) != 0 || h.slot != is->slot)
        return mb_fail(error, MB_EPROOF, "audit.header", "slot %llu: this is no header of it",
                       slot);
    if (h.time != is->time)
        return mb_fail(error, MB_EPROOF, "audit.header",
                       "slot %llu: time differs: the ledger says %lld, the replay gives %lld", slot,
                       (long long)h.time, (long long)is->time);
    const struct {
        const char *name;
        const struct mb_hash *says, *is;
    } fields[] = {
        {"org", &h.org, &is->org},
        {"proposer", &h.proposer, &is->proposer},
        {"commands_root", &h.commands_root, &is->commands_root},
        {"history_root", &h.history_root, &is->history_root},
        {"results_root", &h.results_root, &is->results_root},
        {"config_hash", &h.config_hash, &is->config_hash},
        {"state_root", &h.state_root, &is->state_root},
    };
    size_t i = 0;
    while (i + 1 < sizeof fields / sizeof fields[0] && mb_hash_equal(fields[i].says, fields[i].is))
        i++;
    return differs(error, slot, fields[i].name, fields[i].says, fields[i].is);
}

static int compare_results(const struct mb_block *says, const struct mb_block *is, uint64_t slot,
                           struct mb_error *error)
{
    unsigned long long s = slot;
    if (says->result_count != is->result_count)
        return mb_fail(error, MB_EPROOF, "audit.result",
                       "slot %llu: the ledger has %zu results, the replay gives %zu", s,
                       says->result_count, is->result_count);
    for (size_t i = 0; i < is->result_count; i++)
        if (!mb_bytes_equal(mb_buf_bytes(&says->results[i]), mb_buf_bytes(&is->results[i])))
            return mb_fail(error, MB_EPROOF, "audit.result",
                           "slot %llu: result %zu differs: the replay gives %.600s", s, i,
                           mb_buf_text(&is->results[i]));
    return 0;
}

static void count_results(struct mb_audit *a, const struct mb_applied *applied)
{
    for (size_t i = 0; i < applied->count; i++) {
        const struct mb_executed *e = &applied->commands[i];
        const char *code = e->ok ? "" : mb_json_get_text(e->outcome, "code", "");
        if (e->cause[0])
            a->stats.internal++;
        else
            a->stats.admissible += strcmp(code, "command.inadmissible") != 0;
    }
}

/* After a block: another configuration in force for the next slot is a handover. */
static void note_handover(struct mb_audit *a, const struct mb_hash *config_before)
{
    const struct mb_header *h = &mb_ledger_tip(a->ledger)->header;
    if (mb_hash_equal(config_before, &h->config_hash))
        return;
    a->handovers = mb_realloc(a->handovers, (a->handover_count + 1) * sizeof *a->handovers);
    a->handovers[a->handover_count++] = h->slot;
    add_config(a, h->slot + 1);
}

static int replay(struct mb_audit *a, const struct mb_block *b, const struct mb_value *v,
                  struct mb_error *error)
{
    struct mb_hash config_before = mb_ledger_tip(a->ledger)->header.config_hash;
    struct mb_checked **checked = mb_value_check(v);
    struct mb_outcome *outcome = NULL;
    int rc = mb_ledger_apply(a->ledger, mb_buf_bytes(&b->value), v, checked, &outcome, error);
    if (rc == 0 && (rc = compare_results(b, &outcome->block, v->slot, error)) == 0)
        rc = compare_headers(&b->header, &mb_ledger_tip(a->ledger)->header, error);
    if (rc == 0) {
        count_results(a, &outcome->applied);
        a->stats.blocks++;
        a->stats.envelopes += v->count;
        add_slot(a);
        note_handover(a, &config_before);
    }
    for (size_t i = 0; i < v->count; i++)
        mb_checked_free(checked[i]);
    free(checked);
    mb_outcome_free(outcome);
    return rc;
}

static int check_value(struct mb_audit *a, const struct mb_block *b, struct mb_error *error)
{
    const struct mb_tip *tip = mb_ledger_tip(a->ledger);
    const struct config *config = config_for(a, tip->header.slot + 1);
    struct mb_error why = {0};
    struct mb_value v;
    int rc = mb_value_decode(&v, mb_buf_bytes(&b->value), &why);
    if (rc == 0)
        rc = mb_value_verify(&v, &tip->header.org, tip->header.slot + 1, config->keys,
                             config->count, &why);
    if (rc == 0)
        rc = replay(a, b, &v, error);
    else
        rc = mb_fail(error, MB_EPROOF, "audit.value", "slot %llu: %s",
                     (unsigned long long)tip->header.slot + 1, why.text);
    mb_value_clear(&v);
    return rc;
}

int mb_audit_block(struct mb_audit *a, const json_t *line, struct mb_error *error)
{
    const struct mb_tip *tip = mb_ledger_tip(a->ledger);
    unsigned long long expected = a->begun ? tip->header.slot + 1 : 0;
    long long slot = mb_json_get_int(line, "slot", -1);
    struct mb_public_key proposer;
    struct mb_error why = {0};
    struct mb_block b;
    if (slot < 0 || (unsigned long long)slot != expected)
        return mb_fail(error, MB_EPROOF, "audit.slot",
                       "slot %llu: the ledger goes on with slot %lld instead", expected, slot);
    int rc = mb_block_from_json(&b, &proposer, line, &why);
    if (rc != 0)
        return mb_fail(error, MB_EPROOF, "audit.line", "slot %llu: %s", expected, why.text);
    rc = a->begun ? check_value(a, &b, error) : compare_headers(&b.header, &tip->header, error);
    if (rc == 0)
        a->begun = true;
    mb_block_clear(&b);
    return rc;
}

/* --- Checkpoints, pins, handovers. --- */

int mb_audit_checkpoint(struct mb_audit *a, const json_t *checkpoint, struct mb_error *error)
{
    long long slot = mb_json_get_int(checkpoint, "slot", -1);
    struct mb_checkpoint c;
    if (slot < 0 || (size_t)slot >= a->slot_count)
        return mb_fail(error, MB_EPROOF, "audit.checkpoint",
                       "slot %lld: a checkpoint of a slot that was not replayed", slot);
    if (!a->slots[slot].checkpoint)
        return mb_fail(error, MB_EPROOF, "audit.checkpoint",
                       "slot %lld: this is no checkpoint slot", slot);
    const struct config *config = config_for(a, (uint64_t)slot);
    struct mb_error why = {0};
    int rc = mb_checkpoint_from_json(&c, checkpoint, config->keys, config->count, &why);
    if (rc == 0) {
        struct mb_hash hash = mb_sha256(c.header.data, c.header.len);
        if (!mb_hash_equal(&hash, &a->slots[slot].header))
            rc = mb_fail(&why, MB_EPROOF, "", "the checkpoint's header is not the replayed one");
        else
            rc = mb_checkpoint_verify(&c, config->keys, config->count, &why);
        mb_checkpoint_clear(&c);
    }
    if (rc != 0)
        return mb_fail(error, MB_EPROOF, "audit.checkpoint", "slot %lld: %s", slot, why.text);
    a->stats.checkpoints++;
    return 0;
}

int mb_audit_pin(struct mb_audit *a, uint64_t slot, const struct mb_hash *header_hash,
                 struct mb_error *error)
{
    if (slot >= a->slot_count)
        return mb_fail(error, MB_EPROOF, "audit.pin",
                       "slot %llu: the pinned slot is beyond the end of the ledger",
                       (unsigned long long)slot);
    if (!mb_hash_equal(&a->slots[slot].header, header_hash))
        return mb_fail(error, MB_EPROOF, "audit.pin",
                       "slot %llu: the pinned header is not the replayed one",
                       (unsigned long long)slot);
    return 0;
}

const uint64_t *mb_audit_handovers(const struct mb_audit *a, size_t *count)
{
    *count = a->handover_count;
    return a->handovers;
}

struct mb_ledger *mb_audit_ledger(struct mb_audit *a)
{
    return a->ledger;
}

struct mb_audit_stats mb_audit_stats(const struct mb_audit *a)
{
    return a->stats;
}
