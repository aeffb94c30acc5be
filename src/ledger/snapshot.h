/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Snapshots (magicbiz-protocol(7), "Snapshot", Clarification 13): the frontier of the history, the
 * ids taken in, then the pairs in key order, as one stream cut into chunks of 1 MiB named by their
 * SHA-256. Writer and reader are pure: bytes come and go through callbacks.
 */
#ifndef MB_LEDGER_SNAPSHOT_H
#define MB_LEDGER_SNAPSHOT_H

#include "ledger/ledger.h"

#define MB_CHUNK_BYTES 1048576

/* What GET /v1/snapshot answers, and what lies beside the chunks. */
struct mb_snapshot {
    struct mb_checkpoint checkpoint;
    struct mb_frontier frontier; /* over headers 0 … slot − 1 */
    struct mb_hash *chunks;
    size_t chunk_count;
};
void mb_snapshot_clear(struct mb_snapshot *s);
json_t *mb_snapshot_to_json(const struct mb_snapshot *s);
int mb_snapshot_from_json(struct mb_snapshot *s, const json_t *json,
                          const struct mb_public_key *keys, size_t key_count,
                          struct mb_error *error);

/* Write the stream of the backend's state; emit is given each chunk, in order, and its name. */
int mb_snapshot_write(struct mb_backend backend,
                      int (*emit)(void *arg, struct mb_bytes chunk, const struct mb_hash *name),
                      void *arg, struct mb_error *error);

/*
 * Load into an empty backend: begin, feed each chunk in order, finish. finish builds the trees and
 * checks their root against header; then the ledger stands at that slot (mb_ledger_open). Ids
 * and pairs out of order, or a wrong root: MB_EPROOF (snapshot.false); form: snapshot.invalid.
 */
struct mb_snapshot_reader;
struct mb_snapshot_reader *mb_snapshot_reader_new(struct mb_backend backend);
int mb_snapshot_feed(struct mb_snapshot_reader *r, struct mb_bytes chunk, struct mb_error *error);
/* genesis: its text, for the ledger's own meta values. */
int mb_snapshot_finish(struct mb_snapshot_reader *r, const struct mb_snapshot *s,
                       struct mb_bytes genesis, struct mb_error *error);
void mb_snapshot_reader_free(struct mb_snapshot_reader *r);

#endif
