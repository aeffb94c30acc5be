/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the archive's code share. The functions need a->lock, but for those that open.
 */
#ifndef MB_WAL_ARCHIVE_INTERNAL_H
#define MB_WAL_ARCHIVE_INTERNAL_H

#include <pthread.h>
#include <sys/types.h>

#include "wal/archive.h"
#include "wal/archive_file.h"

#define ARCHIVE_NAME_SIZE 48

struct mb_archive {
    char *dir;
    int dir_fd;
    pthread_mutex_t syncing; /* one sync at a time; taken before lock */
    pthread_mutex_t lock;    /* guards the rest */
    uint64_t *files;         /* the first slot of each */
    size_t count;
    int fd, index_fd; /* of the newest file; -1 while there is none */
    uint64_t bytes;   /* of the newest file */
    uint64_t tip;     /* 0 also while there is no block */
    uint64_t durable;
    struct archive_mark mark; /* what archive-durable says */
    size_t dirty_index;       /* indexes of files from here on have unsynced entries */
    bool failed;              /* a sync failed: it is never tried again */

    /* While a file is scanned, its entries are gathered here. */
    struct mb_buf building;
    bool is_building;
    size_t file; /* which file that is */
};

void archive_data_name(char name[ARCHIVE_NAME_SIZE], uint64_t first);
void archive_index_name(char name[ARCHIVE_NAME_SIZE], uint64_t first);

/* Fill error: from errno, archive.full where no room is left and archive.io else ("cannot be
 * what"); or archive.corrupt. Each returns the code. */
int archive_io_failed(const struct mb_archive *a, const char *what, struct mb_error *error);
int archive_corrupt(const struct mb_archive *a, const char *name, uint64_t offset, const char *what,
                    struct mb_error *error);
int archive_corrupt_file(const struct mb_archive *a, uint64_t first, uint64_t offset,
                         const char *what, struct mb_error *error);

int archive_open_at(const struct mb_archive *a, const char *name, int flags);
int archive_open_data(const struct mb_archive *a, size_t file, int flags);
int archive_open_index(const struct mb_archive *a, size_t file, int flags);
/* The newest file's descriptor, or another's, to be given back to archive_done_with(). */
int archive_use_data(const struct mb_archive *a, size_t file);
void archive_done_with(const struct mb_archive *a, int fd);
/* How many bytes there were: at most len; or -1. */
ssize_t archive_read_at(int fd, void *out, size_t len, uint64_t offset);
bool archive_write_at(int fd, const void *data, size_t len, uint64_t offset);

/* Which file slot's block is in. */
size_t archive_file_of(const struct mb_archive *a, uint64_t slot);
/* The bytes of count entries from slot on, all of one file. False if they cannot be read. */
bool archive_read_entries(const struct mb_archive *a, uint64_t slot, size_t count, uint8_t *out);
bool archive_get_entry(const struct mb_archive *a, uint64_t slot, struct archive_entry *e);
/* May a record of that kind and slot stand next in that file? */
bool archive_is_in_order(const struct mb_archive *a, size_t file, size_t offset, uint8_t kind,
                         uint64_t slot);
/* Note in the index what stands at offset of the newest file (or of the one that is scanned). */
bool archive_note_record(struct mb_archive *a, size_t file, uint32_t offset, uint8_t kind,
                         uint64_t slot);
/*
 * Read a file whole, check it, and gather its index; a->tip is the slot before it, and becomes its
 * last. *end is where what holds ends, *size what there is.
 */
int archive_scan_file(struct mb_archive *a, size_t file, uint64_t *end, uint64_t *size,
                      struct mb_error *error);
/* Write what the last scan has gathered. */
int archive_save_index(struct mb_archive *a, size_t file, struct mb_error *error);
/* Something about slot does not hold: if that is the index alone, it is made anew. */
int archive_repair_index(struct mb_archive *a, uint64_t slot, struct mb_error *error);

void archive_add_file(struct mb_archive *a, uint64_t first);
/* Make it durable that what m says is. */
bool archive_write_mark(const struct mb_archive *a, const struct archive_mark *m);

#endif
