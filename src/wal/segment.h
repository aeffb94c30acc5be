/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes of a segment of the log. Integers are big-endian. A segment is a row of blocks of
 * 4,096 bytes; the first holds its header, and every batch begins on a block of its own (measured:
 * an fdatasync costs the same for 500 bytes as for 4,096, and what is durable is never written
 * again with the batch behind it).
 *
 *   segment = magic:8 || crc:4 || salt:8 || sequence:8 || oldest:8 || first:8 || previous:4 ||
 *             bytes:8 || slot:8 || stamp:32
 *   batch   = magic:4 || crc:4 || salt:8 || sequence:8 || previous:4 || body:4 || bytes:4 ||
 *             count:4 || durable:8 || slot:8 || next:8 || stamp:32 || record* || zeros to the end
 *             of the block
 *   record  = crc:4 || bytes:4 || kind:1 || slot:8 || payload
 *
 * crc is CRC-32C of what follows it in its own header (a record's: and of its payload); body is
 * CRC-32C of the records' crc fields one after another; previous is the crc field of the batch
 * before, in whatever segment; so each batch vouches for all before it. salt is random for each use
 * of a segment's file: it tells batches from what an earlier use left behind, and from look-alikes
 * inside of payloads. A batch without records is a mark: it makes known that the batch before it
 * was durable; with next, it also ends its segment, and names the one that goes on.
 *
 * Where damage was found when the log was opened, batches go on in a new segment without such an
 * end before it: its first batch's sequence leaves a gap.
 *
 * The file "tail" is two blocks, written in turns, that name the last durable batch:
 *
 *   tail    = magic:8 || crc:4 || sequence:8 || segment:8 || slot:8 || stamp:32
 */
#ifndef MB_WAL_SEGMENT_H
#define MB_WAL_SEGMENT_H

#include "base/bytes.h"

#define WAL_BLOCK         4096u
#define WAL_BATCH_HEADER  96u
#define WAL_RECORD_HEADER 17u
#define WAL_STAMP         32u
#define WAL_TAIL          68u

struct wal_segment {
    uint64_t salt;
    uint64_t sequence; /* 1, 2, …: also its file's name */
    uint64_t oldest;   /* segments before this one are not needed any more */
    uint64_t first;    /* sequence of its first batch */
    uint32_t previous; /* crc of the batch before that */
    uint64_t bytes;    /* of the whole file */
    uint64_t slot;     /* the newest that was durable, or may have been, when it was made */
    uint8_t stamp[WAL_STAMP];
};
/* Fill block (WAL_BLOCK bytes). */
void wal_segment_write(uint8_t *block, const struct wal_segment *s);
/* False if this is no header. */
bool wal_segment_read(struct wal_segment *s, struct mb_bytes block);

struct wal_batch {
    uint64_t salt, sequence;
    uint32_t previous, body, bytes, count;
    uint64_t durable; /* the newest slot that was durable before it */
    uint64_t slot;    /* the newest slot, with its own */
    uint64_t next;    /* the segment that goes on, or 0 */
    uint8_t stamp[WAL_STAMP];
    uint32_t crc; /* its own: computed by wal_batch_write, read by wal_batch_read */
};
/* Fill the first WAL_BATCH_HEADER bytes of block. */
void wal_batch_write(uint8_t *block, struct wal_batch *b);
/* Read the header at the start of bytes. False if there is none of the segment with that salt, or
 * if the batch would not fit into bytes. The body is not looked at. */
bool wal_batch_read(struct wal_batch *b, uint64_t salt, struct mb_bytes bytes);
/* What the batch takes in its segment: whole blocks. */
uint64_t wal_batch_space(uint32_t record_bytes);

struct wal_record {
    uint8_t kind;
    uint64_t slot;
    uint32_t crc;
    struct mb_bytes payload; /* borrowed */
};
/* Fill out with the header of a record, and return its crc. */
uint32_t wal_record_write(uint8_t out[WAL_RECORD_HEADER], uint8_t kind, uint64_t slot,
                          struct mb_bytes payload);
/* Take one record; false if it is cut short or its crc is wrong: c is where it was then. */
bool wal_record_read(struct wal_record *r, struct mb_cursor *c);

/* Add a record's crc to the body's (0 to begin). */
uint32_t wal_body_add(uint32_t body, uint32_t record_crc);
/* Check all records of a batch against its header; *bad is the offset in the batch of the first
 * that does not hold (the batch's header if the records hold but are not those meant). */
bool wal_batch_check(const struct wal_batch *b, struct mb_bytes bytes, size_t *bad);

struct wal_tail {
    uint64_t sequence; /* of a batch that is durable */
    uint64_t segment;  /* where it is */
    uint64_t slot;     /* its batch's */
    uint8_t stamp[WAL_STAMP];
};
void wal_tail_write(uint8_t out[WAL_TAIL], const struct wal_tail *t);
/* False if these bytes are none. */
bool wal_tail_read(struct wal_tail *t, struct mb_bytes bytes);

/* How the batches of a segment end. */
enum wal_end {
    WAL_END_CLEAN,   /* nothing was begun behind the last batch */
    WAL_END_TORN,    /* the last batch was not written whole */
    WAL_END_NEXT,    /* it goes on in segment next */
    WAL_END_DAMAGED, /* see what; only if damage is not tolerated */
    WAL_END_STOPPED, /* the visitor said so */
};
/* What is known, from one segment to the next. */
struct wal_scan {
    bool tolerate;     /* in: go on behind damage */
    uint64_t sequence; /* what the next batch has to be */
    uint32_t previous; /* and the crc of the batch before it */
    uint64_t slot;     /* the greatest so far */
    uint64_t stamped;  /* the greatest sequence with a stamp, and that stamp */
    uint8_t stamp[WAL_STAMP];
    /* Damage was found behind which nothing said yet which slots it may have been about. */
    bool open;
    uint64_t faulty_to; /* the slots that earlier damage may have been about */
    /* Of this segment. */
    uint64_t next;
    uint64_t offset;               /* where the batches end */
    uint64_t torn;                 /* bytes of the batch that was not written whole */
    uint64_t torn_slot;            /* and its greatest slot */
    bool marked;                   /* the last batch was a mark */
    const char *what;              /* the first damage, or NULL */
    uint64_t bad_offset, bad_slot; /* where, and the greatest slot before it */
    int stopped;                   /* what the visitor returned */
};
/* Something valid says that slots up to slot were all that was durable before it: so that is all
 * that the damage before it was about. */
void wal_scan_bound(struct wal_scan *scan, uint64_t slot);
/* Something valid carries this stamp. */
void wal_scan_stamp(struct wal_scan *scan, uint64_t sequence, const uint8_t stamp[WAL_STAMP]);
/*
 * Walk the batches of one whole segment. visit (may be NULL) is called for each record of whole
 * batches in order; nonzero stops. Behind damage the next whole batch is looked for, whose sequence
 * is greater than those before it. A pure function of its input.
 */
enum wal_end wal_segment_scan(struct wal_scan *scan, const struct wal_segment *s,
                              struct mb_bytes bytes,
                              int (*visit)(void *arg, const struct wal_record *r), void *arg);

#endif
