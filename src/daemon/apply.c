/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One chosen value: state, archive, index, checkpoint; the same in recovery and in work. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/node.h"
#include "ledger/membership.h"

#define COMMIT_BLOCKS 256

int node_checkpoint(struct node *n, uint64_t at_most, struct mb_checkpoint *out,
                    struct mb_error *error)
{
    uint64_t slot;
    struct mb_buf record = {0};
    if (at_most == 0 && n->base.slot > 0) {
        mb_checkpoint_encode(&n->base.zero, &record);
        int zero = mb_checkpoint_decode(out, mb_buf_bytes(&record), error);
        mb_buf_clear(&record);
        return zero == 0 ? 1 : zero;
    }
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
    if (rc == 0 && o->applied.checkpoint)
        rc = checkpoints_sign(n->checkpoints, slot, mb_buf_bytes(&o->block.header), error);
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

int node_commit_later(struct node *n, struct mb_error *error)
{
    if (n->uncommitted == 0)
        return 0;
    n->uncommitted = 0;
    MB_FAULT("store.commit");
    return mb_store_commit_later(n->store, error);
}

int node_commit(struct node *n, struct mb_error *error)
{
    int rc = node_commit_later(n, error);
    return rc == 0 && n->store != NULL ? mb_store_wait(n->store, error) : rc;
}

int node_apply_begin(struct node *n, struct mb_bytes bytes, struct mb_checked *const *checked,
                     struct mb_outcome **out, struct mb_error *error)
{
    struct mb_value value;
    *out = NULL;
    int rc = mb_value_decode(&value, bytes, error);
    if (rc != 0)
        return rc;
    if (n->uncommitted == 0)
        rc = mb_store_begin(n->store, error);
    if (rc == 0) {
        n->uncommitted++;
        rc = mb_ledger_apply(n->ledger, bytes, &value, checked, out, error);
        MB_FAULT("ledger.applied");
    }
    if (rc == 0 && index_commands(n, *out) != 0)
        rc = mb_fail(error, MB_EIO, "store.io", "the store's index cannot be written");
    mb_value_clear(&value);
    if (rc != 0)
        node_apply_undo(n, out);
    return rc;
}

int node_apply_end(struct node *n, struct mb_outcome **out, const struct mb_block *archived,
                   struct mb_error *error)
{
    const struct mb_outcome *o = *out;
    int rc = archive_block(n, o, archived, error);
    MB_FAULT("archive.appended");
    if (rc == 0 && o->applied.checkpoint)
        rc = mb_store_mark_checkpoint(n->store, o->applied.slot, error);
    bool full = mb_store_block_done(n->store);
    if (rc == 0 && (full || n->uncommitted == COMMIT_BLOCKS))
        rc = node_commit_later(n, error);
    /* Now, for effects may be carried out when later blocks have been applied. */
    if (rc == 0 && o->applied.checkpoint && n->number != 0 && n->snapshots != NULL)
        snapshots_consider(n->snapshots);
    if (rc != 0)
        node_apply_undo(n, out);
    return rc;
}

void node_apply_undo(struct node *n, struct mb_outcome **out)
{
    mb_store_rollback(n->store);
    n->uncommitted = 0;
    mb_outcome_free(*out);
    *out = NULL;
}

/* Log first (the caller did), then state and archive, then commit: the archive is written before
 * the store commits, so that a killed daemon never has a store that is ahead of its archive. */
int node_apply(struct node *n, struct mb_bytes bytes, struct mb_checked *const *checked,
               const struct mb_block *archived, struct mb_outcome **out, struct mb_error *error)
{
    struct mb_value value;
    struct mb_checked **own = NULL;
    size_t count = 0;
    int rc = 0;
    *out = NULL;
    if (checked == NULL) {
        size_t replica_count;
        const struct mb_replica *replicas = mb_ledger_replicas(n->ledger, &replica_count);
        struct mb_public_key keys[MB_REPLICAS_MAX];
        for (size_t i = 0; i < replica_count; i++)
            keys[i] = replicas[i].key;
        rc = mb_value_decode(&value, bytes, error);
        if (rc != 0)
            return rc;
        rc = mb_value_verify(&value, &mb_ledger_genesis(n->ledger)->org,
                             mb_ledger_tip(n->ledger)->header.slot + 1, keys, replica_count, error);
        count = value.count;
        checked = own = mb_value_check(&value);
        mb_value_clear(&value);
    }
    if (rc == 0)
        rc = node_apply_begin(n, bytes, checked, out, error);
    if (rc == 0)
        rc = node_apply_end(n, out, archived, error);
    for (size_t i = 0; i < count; i++)
        mb_checked_free(own[i]);
    free(own);
    return rc;
}

int node_read_block(struct node *n, uint64_t slot, struct mb_block *block, struct mb_error *error)
{
    struct mb_buf record = {0};
    *block = (struct mb_block){0};
    int rc = mb_archive_read(n->archive, MB_ARCHIVE_BLOCK, slot, &record, error);
    if (rc == 1)
        rc = mb_block_decode(block, mb_buf_bytes(&record), error);
    else if (rc == 0)
        rc = mb_fail(error, MB_ECORRUPT, "archive.corrupt", "slot %" PRIu64 " is missing", slot);
    mb_buf_clear(&record);
    return rc;
}

static void core_config(struct mb_paxos_config *out, const struct mb_membership *m)
{
    *out = (struct mb_paxos_config){.from = m->from, .version = m->version, .count = m->count};
    for (size_t i = 0; i < m->count; i++)
        out->members[i] = (uint32_t)m->replicas[i].number;
}

size_t node_configs(struct node *n, struct mb_membership members[2],
                    struct mb_paxos_config configs[2])
{
    uint64_t next = mb_ledger_tip(n->ledger)->header.slot + 1;
    size_t count = 0;
    if (mb_ledger_config_at(n->ledger, next, &members[0]) == 1)
        count = 1;
    if (count == 1 && mb_ledger_config_at(n->ledger, next - 1 + MB_WINDOW, &members[1]) == 1 &&
        members[1].version != members[0].version)
        count = 2;
    for (size_t i = 0; i < count && configs != NULL; i++)
        core_config(&configs[i], &members[i]);
    return count;
}
