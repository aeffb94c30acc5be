/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The archive: the organisation's history in append-only, checksummed files, kept for ever: for
 * each slot one block record (value, header, results), and records of checkpoint signatures that
 * came after it. What an audit reads, and from what the store is rebuilt.
 */
#ifndef MB_WAL_ARCHIVE_H
#define MB_WAL_ARCHIVE_H

#include "base/hash.h"
#include "loop/loop.h"

enum mb_archive_kind {
    MB_ARCHIVE_BLOCK = 1,
    MB_ARCHIVE_CHECKPOINT = 2, /* payload: the signatures that became a majority */
    MB_ARCHIVE_GENESIS = 3,    /* slot 0: the genesis text */
};

struct mb_archive;

/*
 * Open the archive in folder dir (made if missing). Files are archive-<first slot, 20 digits>, at
 * most 64 MiB each, with an index (slot → offset) kept in memory sparsely or in side files that can
 * be rebuilt. A torn tail is cut (the log still has those slots); a bad record elsewhere:
 * MB_ECORRUPT, code archive.corrupt.
 */
int mb_archive_open(struct mb_archive **out, const char *dir, struct mb_error *error);
void mb_archive_close(struct mb_archive *a); /* syncs */

/* The newest slot that has a block record; 0 if none. */
uint64_t mb_archive_tip(const struct mb_archive *a);
/* Append a record; blocks in the order of their slots without a gap. Not durable until synced. */
int mb_archive_append(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                      struct mb_bytes payload, struct mb_error *error);
/* fsync what was appended; blocking: call it on a worker (it is safe beside appends and reads). */
int mb_archive_sync(struct mb_archive *a, struct mb_error *error);
/* The newest slot whose block record is durable. */
uint64_t mb_archive_durable(const struct mb_archive *a);
/* Append the newest record of kind for slot to payload: 1, or 0 if there is none, or an error
 * (archive.corrupt names file and offset). O(1) disk reads. */
int mb_archive_read(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                    struct mb_buf *payload, struct mb_error *error);
/* The checkpoint slots that have signatures: the newest one <= slot; 1 or 0. */
int mb_archive_checkpoint_before(struct mb_archive *a, uint64_t slot, uint64_t *found);

#endif
