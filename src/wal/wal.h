/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The consensus log: what this replica promised, accepted and learned, in preallocated segments.
 * Each record is checksummed; each batch names the batch before it and the slot that was durable
 * before it; a thread of the log's own writes what has been appended with one fdatasync a batch.
 *
 * A bad record is told from a torn tail (Alagappan et al., "Protocol-Aware Recovery for Consensus-
 * Based Storage", FAST '18): the tail is torn only if nothing valid follows, and neither a later
 * batch nor the file "tail" names it as durable. Nothing is ever cut off silently.
 *
 * Limits: "tail" is written at each batch and synced when the log has been idle for 0.1 s, so that
 * after a power cut in the middle of work it may name an older batch. Should the disk then also
 * lose what it had synced since, and nothing valid follows that, it is taken for a torn tail.
 */
#ifndef MB_WAL_WAL_H
#define MB_WAL_WAL_H

#include "base/hash.h"
#include "loop/loop.h"

#define MB_WAL_RECORD_MAX (2u << 20) /* bytes of one payload */

enum mb_wal_kind {
    MB_WAL_ACCEPTED = 2, /* payload: a value accepted for slot, and in which ballot */
};
struct mb_wal_record {
    uint8_t kind;
    uint64_t slot;
    struct mb_bytes payload;
};

/* What this replica has promised: the log does not look at it. Every batch carries the newest, so
 * none is lost with an old segment or with one bad batch. All zeros: none yet. */
struct mb_wal_stamp {
    uint8_t bytes[32];
};

struct mb_wal_damage {
    bool found;
    uint64_t faulty_to;           /* records of any slot up to it may be lost */
    char text[MB_ERROR_TEXT_MAX]; /* file, offset, and what */
};

struct mb_wal;
struct mb_wal_options {
    size_t segment_bytes; /* 0: 16 MiB; segments are preallocated and used again */
    /* There are peers to repair from: open in spite of damage, and say what may be lost. */
    bool tolerate;
    /* Called for each record found when opening, oldest first. Nonzero stops, and is returned. */
    int (*replay)(void *arg, const struct mb_wal_record *record);
    /* The disk failed (fsync errors are never retried): the replica must stop. On the loop, once;
     * what was appended and is not yet durable never will be. Codes: wal.full, wal.io. */
    void (*failed)(void *arg, const struct mb_error *error);
    void *arg;
};

/* Make an empty log in folder dir (made if missing), with a first segment of segment_bytes (0: 16
 * MiB): for a replica that has never promised anything under its key. MB_EREFUSED, code wal.exists,
 * if there are files of a log; MB_EIO: wal.full, wal.io, or wal.locked. */
int mb_wal_create(const char *dir, size_t segment_bytes, struct mb_error *error);
/*
 * Open the log in folder dir. A torn tail is dropped with a log line that says how many bytes.
 *
 * With damage, options->tolerate decides. Without it: MB_ECORRUPT, code wal.corrupt, text naming
 * file, offset, the slot before the damage, and what to do; nothing was changed. With it: the
 * records before and behind the damage are replayed, and mb_wal_damage says what may be missing; it
 * is found again on each start, until slots up to faulty_to have been released. Should the newest
 * stamp be unknown, because "tail" cannot be read, it is wal.corrupt all the same.
 *
 * MB_ENOENT, code wal.lost: there is no log, so what this replica promised is not known. MB_EIO:
 * wal.full, wal.io, or wal.locked if another process has it open.
 */
int mb_wal_open(struct mb_wal **out, struct mb_loop *loop, const char *dir,
                const struct mb_wal_options *options, struct mb_error *error);
/* What was found when opening: borrowed, and stays as it was. */
const struct mb_wal_damage *mb_wal_damage(const struct mb_wal *w);
/* The newest stamp: what was found when opening, or appended since; all zeros: none ever. */
struct mb_wal_stamp mb_wal_newest_stamp(const struct mb_wal *w);
/* Append a stamp (NULL: the newest stays) and records (copied; there may be none) as part of the
 * next batch; durable(arg) is called from the loop after the batch's fdatasync, in the order of
 * appends; NULL is fine. The stamp and the records of one append stay together: after a crash all
 * of them are there, or none. Slots need not be in order.
 *
 * meanwhile: not NULL where nothing else waits for the loop, which then may write and sync them
 * within this call, and call durable, if the disk has been quick of late: sooner than if they were
 * handed over to the log's thread. In that case alone meanwhile(arg) is called once, before the
 * call returns and while the disk is at work: what it does must not be seen by anybody unless
 * durable is called before the return; if it is not, the log has failed. mb_wal_wait does nothing:
 * the write need not be handed to the kernel and waited for then, one call does. */
void mb_wal_append(struct mb_wal *w, const struct mb_wal_stamp *stamp,
                   const struct mb_wal_record *records, size_t count, void (*meanwhile)(void *arg),
                   void (*durable)(void *arg), void *arg);
void mb_wal_wait(void *arg);
/* Everything about slots <= slot is durable elsewhere: segments below may be used again; damage
 * that concerned no others is forgotten. */
void mb_wal_release(struct mb_wal *w, uint64_t slot);
/* Waits for what was appended; durable callbacks that are due are called. May be called from one of
 * the callbacks. NULL is fine. */
void mb_wal_close(struct mb_wal *w);

struct mb_wal_stats {
    uint64_t batches, records, bytes, fsyncs, fsync_us_total, fsync_us_max;
    unsigned segments;
};
struct mb_wal_stats mb_wal_stats(const struct mb_wal *w);

#endif
