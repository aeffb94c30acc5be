/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes of the archive's files. Integers are big-endian; crc is CRC-32C of what follows it.
 *
 *   archive-<first slot>        = "MBARCHIV" || crc:4 || first:8 || previous:8 || previous_bytes:8
 *                                 || record*                      (records as in wal/segment.h)
 *   archive-<first slot>.index  = entry*, one for each slot from first on
 *   archive-durable             = crc:4 || first:8 || bytes:8
 *
 * previous and previous_bytes are the first slot and the size of the file before (0 in the first):
 * a file that is missing or cut is seen without reading it. An entry says where the block of its
 * slot is, and its newest checkpoint (bytes from the start of the file; 0: none), which may be some
 * files later. archive-durable says which file, and how much of it, has been synced: damage before
 * that is damage, what does not hold behind it is a torn tail.
 */
#ifndef MB_WAL_ARCHIVE_FILE_H
#define MB_WAL_ARCHIVE_FILE_H

#include "wal/segment.h"

#define ARCHIVE_HEADER 36u
#define ARCHIVE_ENTRY  16u
#define ARCHIVE_MARK   20u

struct archive_header {
    uint64_t first, previous, previous_bytes;
};
void archive_header_write(uint8_t out[ARCHIVE_HEADER], const struct archive_header *h);
bool archive_header_read(struct archive_header *h, struct mb_bytes bytes);

struct archive_entry {
    uint32_t block, checkpoint; /* offsets */
    uint32_t later;             /* the checkpoint is that many files after the block */
};
/* slot is part of what the crc covers: no entry holds for another slot. */
void archive_entry_write(uint8_t out[ARCHIVE_ENTRY], uint64_t slot, const struct archive_entry *e);
bool archive_entry_read(struct archive_entry *e, uint64_t slot, const uint8_t in[ARCHIVE_ENTRY]);

struct archive_mark {
    uint64_t first, bytes;
};
void archive_mark_write(uint8_t out[ARCHIVE_MARK], const struct archive_mark *m);
bool archive_mark_read(struct archive_mark *m, struct mb_bytes bytes);

/*
 * Walk the records of one whole file, its header included, and return the offset behind the last
 * one that holds and that visit takes (visit returns false for a record that cannot be there).
 */
size_t archive_scan(struct mb_bytes file,
                    bool (*visit)(void *arg, size_t offset, const struct wal_record *r), void *arg);

#endif
