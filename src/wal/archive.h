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
    MB_ARCHIVE_BASE = 4,       /* of the first block: what came before (ledger/base.h) */
};

struct mb_archive;

#define MB_ARCHIVE_RECORD_MAX (16u << 20) /* bytes of one payload */

/*
 * Open the archive in folder dir (made if missing). Files are archive-<first slot, 20 digits>, of
 * about 64 MiB each (wal/archive_file.h), with an index each that is made anew when it is missing
 * or wrong. What was never synced and does not hold is cut, with a log line (the log still has
 * those slots). A bad record elsewhere: MB_ECORRUPT, code archive.corrupt, here if it is in the
 * newest file, else when it is read; a file that is missing or cut is found here. MB_EIO:
 * archive.io, archive.full, or archive.locked if another process has it open. Blocks: all in it is
 * synced.
 *
 * An archive begins with the genesis, or with any block; before that one a base may stand.
 * Functions may be called from any thread.
 */
int mb_archive_open(struct mb_archive **out, const char *dir, struct mb_error *error);
void mb_archive_close(struct mb_archive *a); /* syncs */

/* The newest slot that has a block record; 0 if none. */
uint64_t mb_archive_tip(const struct mb_archive *a);
/* The first slot that has a block record, or will: 1 unless the archive began later. */
uint64_t mb_archive_first(const struct mb_archive *a);
/* Append a record; blocks in the order of their slots without a gap, checkpoints for slots that are
 * there, else MB_EINVAL, archive.order. Not durable until synced, but read at once. MB_ELIMIT,
 * archive.limit; MB_EIO, archive.full or archive.io: nothing was appended. */
int mb_archive_append(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                      struct mb_bytes payload, struct mb_error *error);
/* fsync what was appended; blocking: call it on a worker (it is safe beside appends and reads).
 * Once it has failed it always fails: the replica must stop. */
int mb_archive_sync(struct mb_archive *a, struct mb_error *error);
/* The newest slot whose block record is durable. */
uint64_t mb_archive_durable(const struct mb_archive *a);
/* Append the newest record of kind for slot to payload: 1, or 0 if there is none, or an error
 * (archive.corrupt names file and offset). O(1) disk reads. */
int mb_archive_read(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                    struct mb_buf *payload, struct mb_error *error);
/* The checkpoint slots that have signatures: the newest one <= slot; 1, 0, or a negative enum
 * mb_err. */
int mb_archive_checkpoint_before(struct mb_archive *a, uint64_t slot, uint64_t *found);

#endif
