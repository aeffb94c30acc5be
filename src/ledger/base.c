/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/base.h"

#include <stdlib.h>
#include <string.h>

/* --- Whether an index is believed. --- */

static int is_false(struct mb_error *error, const char *code, const char *why)
{
    return mb_fail(error, MB_EPROOF, code, "the snapshot's index is refused: %s", why);
}

/* Walk from genesis to the configurations for slot and for the slot after it. */
static int walk(const json_t *handovers, const struct mb_genesis *genesis, uint64_t slot,
                struct mb_membership *config, struct mb_membership *after, size_t *used,
                struct mb_error *error)
{
    mb_membership_first(after, genesis);
    *config = *after;
    *used = 0;
    while (*used < json_array_size(handovers)) {
        struct mb_membership next;
        int rc = mb_handover_verify(after, json_array_get(handovers, *used), &genesis->org, &next,
                                    error);
        if (rc != 0)
            return rc;
        if (next.from > slot + 1)
            break;
        *after = next;
        if (next.from <= slot)
            *config = next;
        ++*used;
    }
    return 0;
}

static int read_header(struct mb_header *h, const json_t *index, struct mb_error *error)
{
    struct mb_checkpoint c = {0};
    int rc = mb_checkpoint_from_json(&c, json_object_get(index, "checkpoint"), NULL, 0, error);
    if (rc == 0)
        rc = mb_header_decode(h, mb_buf_bytes(&c.header), error);
    mb_checkpoint_clear(&c);
    return rc;
}

static int accept_index(struct mb_snapshot *s, const json_t *index, const json_t *handovers,
                        const struct mb_genesis *genesis, struct mb_header *header,
                        struct mb_membership *config, size_t *used, struct mb_error *error)
{
    struct mb_membership after;
    struct mb_public_key keys[MB_REPLICAS_MAX];
    int rc = walk(handovers, genesis, header->slot, config, &after, used, error);
    if (rc == 0 && !mb_hash_equal(&after.hash, &header->config_hash))
        rc = is_false(error, "handover.missing", "no handover to its replicas is shown");
    size_t count = mb_membership_keys(config, keys);
    if (rc == 0)
        rc = mb_snapshot_from_json(s, index, keys, count, error);
    if (rc == 0)
        rc = mb_checkpoint_verify(&s->checkpoint, keys, count, error);
    if (rc != 0)
        return rc;
    struct mb_hash history = mb_frontier_root(&s->frontier);
    if (s->frontier.size != header->slot || !mb_hash_equal(&history, &header->history_root))
        return is_false(error, "snapshot.false", "its frontier is not the checkpoint's history");
    return 0;
}

int mb_snapshot_accept(struct mb_snapshot *s, const json_t *index, const json_t *handovers,
                       const struct mb_genesis *genesis, struct mb_header *header,
                       struct mb_membership *config, size_t *used, struct mb_error *error)
{
    memset(s, 0, sizeof *s);
    if (json_array_size(handovers) > MB_HANDOVERS_MAX ||
        json_array_size(json_object_get(index, "chunks")) > MB_SNAPSHOT_CHUNKS)
        return mb_fail(error, MB_ELIMIT, "snapshot.limit",
                       "the snapshot has more than %d chunks or %d handovers", MB_SNAPSHOT_CHUNKS,
                       MB_HANDOVERS_MAX);
    int rc = read_header(header, index, error);
    if (rc == 0 && (header->slot == 0 || !mb_hash_equal(&header->org, &genesis->org)))
        rc = is_false(error, "snapshot.other", "it is of another organisation, or of genesis");
    if (rc == 0)
        rc = accept_index(s, index, handovers, genesis, header, config, used, error);
    if (rc != 0)
        mb_snapshot_clear(s);
    return rc;
}

static struct mb_hash results_root(const struct mb_block *b)
{
    struct mb_hash *leaves = mb_calloc(b->result_count + 1, sizeof *leaves);
    for (size_t i = 0; i < b->result_count; i++)
        leaves[i] = mb_history_leaf(mb_buf_bytes(&b->results[i]));
    struct mb_hash root = mb_history_root_of(leaves, b->result_count);
    free(leaves);
    return root;
}

int mb_block_check(const struct mb_block *b, const struct mb_header *header,
                   const struct mb_membership *config, struct mb_error *error)
{
    uint8_t bytes[MB_HEADER_MAX];
    struct mb_public_key keys[MB_REPLICAS_MAX];
    struct mb_value v;
    size_t len = mb_header_encode(header, bytes);
    struct mb_hash results = results_root(b);
    int rc = mb_value_decode(&v, mb_buf_bytes(&b->value), error);
    if (rc != 0)
        return rc;
    rc = mb_value_verify(&v, &header->org, header->slot, keys, mb_membership_keys(config, keys),
                         error);
    if (rc == 0 && (!mb_bytes_equal(mb_buf_bytes(&b->header), mb_bytes(bytes, len)) ||
                    !mb_hash_equal(&v.commands_root, &header->commands_root) ||
                    !mb_hash_equal(&v.proposer, &header->proposer) ||
                    !mb_hash_equal(&results, &header->results_root)))
        rc = mb_fail(error, MB_EPROOF, "blocks.false",
                     "the block of slot %llu is not what its header says",
                     (unsigned long long)header->slot);
    mb_value_clear(&v);
    return rc;
}

/* --- What is kept: slot:8 || genesis || zero || peaks || handovers, each len:4 || bytes. --- */

void mb_base_clear(struct mb_base *b)
{
    mb_buf_clear(&b->genesis);
    mb_checkpoint_clear(&b->zero);
    json_decref(b->handovers);
    memset(b, 0, sizeof *b);
}

void mb_base_encode(const struct mb_base *b, struct mb_buf *out)
{
    struct mb_buf zero = {0};
    char *handovers = mb_json_text(b->handovers);
    mb_checkpoint_encode(&b->zero, &zero);
    mb_buf_add_u64(out, b->slot);
    mb_buf_add_string(out, mb_buf_bytes(&b->genesis));
    mb_buf_add_string(out, mb_buf_bytes(&zero));
    mb_buf_add_string(out, mb_bytes(b->history.peaks[0].b, 32 * (size_t)b->history.count));
    mb_buf_add_string(out, mb_bytes_of(handovers));
    mb_buf_clear(&zero);
    free(handovers);
}

static bool take_peaks(struct mb_frontier *f, uint64_t size, struct mb_bytes peaks)
{
    f->size = size;
    for (uint64_t bits = size; bits > 0; bits &= bits - 1)
        f->count++;
    if (peaks.len != 32 * (size_t)f->count)
        return false;
    memcpy(f->peaks, peaks.data, peaks.len);
    return true;
}

int mb_base_decode(struct mb_base *b, struct mb_bytes bytes, struct mb_error *error)
{
    struct mb_cursor c = mb_cursor(bytes);
    memset(b, 0, sizeof *b);
    b->slot = mb_cursor_u64(&c);
    mb_buf_add_bytes(&b->genesis, mb_cursor_string(&c));
    struct mb_bytes zero = mb_cursor_string(&c);
    struct mb_bytes peaks = mb_cursor_string(&c);
    struct mb_bytes handovers = mb_cursor_string(&c);
    if (mb_cursor_done(&c) && b->slot > 0 && b->slot <= MB_SLOT_MAX &&
        take_peaks(&b->history, b->slot, peaks) &&
        mb_checkpoint_decode(&b->zero, zero, NULL) == 0 &&
        mb_json_parse(&b->handovers, handovers.data, handovers.len, NULL) == 0 &&
        json_is_array(b->handovers))
        return 0;
    mb_base_clear(b);
    return mb_fail(error, MB_EINVAL, "base.invalid", "not the base of an archive");
}

json_t *mb_base_handover(const struct mb_base *b, uint64_t version)
{
    json_t *item = version < 2 ? NULL : json_array_get(b->handovers, (size_t)version - 2);
    return item;
}
