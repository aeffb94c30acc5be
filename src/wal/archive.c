/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Appending to the archive, syncing and reading it. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "wal/archive_internal.h"

#define FILE_MAX  (64u << 20)
#define READ_MORE 4096u /* read with a record's header: most records are whole then */

/* The index, or what it points to, does not hold. */
#define UNSOUND 2

/* Appending */

static int start_file(struct mb_archive *a, uint64_t first, struct mb_error *error)
{
    uint8_t bytes[ARCHIVE_HEADER];
    struct archive_header h = {.first = first};
    char data[ARCHIVE_NAME_SIZE], index[ARCHIVE_NAME_SIZE];
    if (a->count > 0) {
        h.previous = a->files[a->count - 1];
        h.previous_bytes = a->bytes;
    }
    archive_header_write(bytes, &h);
    archive_data_name(data, first);
    archive_index_name(index, first);
    int fd = archive_open_at(a, data, O_RDWR | O_CREAT | O_TRUNC);
    int index_fd = archive_open_at(a, index, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0 || index_fd < 0 || !archive_write_at(fd, bytes, sizeof bytes, 0)) {
        int rc = archive_io_failed(a, "extended", error);
        archive_done_with(a, fd);
        archive_done_with(a, index_fd);
        unlinkat(a->dir_fd, data, 0);
        unlinkat(a->dir_fd, index, 0);
        return rc;
    }
    if (a->fd >= 0)
        close(a->fd);
    if (a->index_fd >= 0)
        close(a->index_fd);
    a->fd = fd;
    a->index_fd = index_fd;
    a->bytes = ARCHIVE_HEADER;
    archive_add_file(a, first);
    return 0;
}

/* A new file, if the record needs one. */
static int make_room(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot, size_t len,
                     struct mb_error *error)
{
    if (a->count == 0) {
        bool begins = kind == MB_ARCHIVE_GENESIS ? slot == 0 : slot > 0;
        begins = begins && kind != MB_ARCHIVE_CHECKPOINT;
        if (!begins)
            return 0; /* is_in_order says no */
        int rc = start_file(a, slot, error);
        if (rc == 0)
            a->tip = slot > 0 ? slot - 1 : 0;
        return rc;
    }
    if (kind == MB_ARCHIVE_BLOCK && slot == a->tip + 1 && a->bytes + len > FILE_MAX &&
        a->bytes > ARCHIVE_HEADER)
        return start_file(a, slot, error);
    return 0;
}

static int append(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                  struct mb_bytes payload, struct mb_error *error)
{
    uint8_t header[WAL_RECORD_HEADER];
    size_t len = sizeof header + payload.len;
    int rc = make_room(a, kind, slot, len, error);
    if (rc != 0)
        return rc;
    if (a->count == 0 || !archive_is_in_order(a, a->count - 1, a->bytes, (uint8_t)kind, slot))
        return mb_fail(error, MB_EINVAL, "archive.order", "slot %llu cannot follow slot %llu",
                       (unsigned long long)slot, (unsigned long long)a->tip);
    wal_record_write(header, (uint8_t)kind, slot, payload);
    struct iovec parts[2] = {{.iov_base = header, .iov_len = sizeof header},
                             {.iov_base = (void *)payload.data, .iov_len = payload.len}};
    ssize_t n = pwritev(a->fd, parts, 2, (off_t)a->bytes);
    if (n >= 0 && (size_t)n < len)
        errno = ENOSPC; /* a file takes less than asked for only when there is no room */
    if (n != (ssize_t)len ||
        !archive_note_record(a, a->count - 1, (uint32_t)a->bytes, (uint8_t)kind, slot)) {
        rc = archive_io_failed(a, "extended", error);
        if (ftruncate(a->fd, (off_t)a->bytes) != 0)
            a->failed = true;
        return rc;
    }
    a->bytes += len;
    if (kind == MB_ARCHIVE_BLOCK)
        a->tip = slot;
    return 0;
}

int mb_archive_append(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                      struct mb_bytes payload, struct mb_error *error)
{
    if (payload.len > MB_ARCHIVE_RECORD_MAX)
        return mb_fail(error, MB_ELIMIT, "archive.limit", "a record of %zu bytes is too long",
                       payload.len);
    pthread_mutex_lock(&a->lock);
    int rc = append(a, kind, slot, payload, error);
    pthread_mutex_unlock(&a->lock);
    return rc;
}

/* Syncing */

static bool sync_file(int fd)
{
    bool ok = fd >= 0 && fdatasync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

int mb_archive_sync(struct mb_archive *a, struct mb_error *error)
{
    pthread_mutex_lock(&a->syncing);
    pthread_mutex_lock(&a->lock);
    size_t count = a->count, dirty = a->dirty_index;
    struct archive_mark now = {.first = count > 0 ? a->files[count - 1] : 0, .bytes = a->bytes};
    uint64_t tip = a->tip;
    size_t from = count > 0 ? archive_file_of(a, a->mark.first) : 0;
    bool failed = a->failed;
    bool due = now.first != a->mark.first || now.bytes != a->mark.bytes;
    int *fds = mb_calloc(2 * count + 1, sizeof *fds);
    size_t open = 0;
    for (size_t i = from; due && i < count; i++)
        fds[open++] = archive_open_data(a, i, O_RDWR);
    for (size_t i = dirty; due && i + 1 < count; i++)
        fds[open++] = archive_open_index(a, i, O_RDWR);
    if (due)
        a->dirty_index = count > 0 ? count - 1 : 0;
    pthread_mutex_unlock(&a->lock);

    errno = EIO; /* if it has failed before */
    for (size_t i = 0; i < open; i++)
        failed = !sync_file(fds[i]) || failed;
    free(fds);
    failed = failed || (due && (fsync(a->dir_fd) != 0 || !archive_write_mark(a, &now)));

    pthread_mutex_lock(&a->lock);
    a->failed = failed;
    if (!failed) {
        a->mark = now;
        a->durable = tip;
    }
    int rc = failed ? archive_io_failed(a, "synced", error) : 0;
    pthread_mutex_unlock(&a->lock);
    pthread_mutex_unlock(&a->syncing);
    return rc;
}

/* Reading */

/* Append the payload of the record at offset to out if it is that one. 1, 0 if not, or an error. */
static int read_record(const struct mb_archive *a, size_t file, uint32_t offset, uint8_t kind,
                       uint64_t slot, struct mb_buf *out, struct mb_error *error)
{
    struct mb_buf b = {0};
    int fd = archive_use_data(a, file), rc = 0;
    mb_buf_reserve(&b, READ_MORE);
    ssize_t n = fd >= 0 ? archive_read_at(fd, b.data, READ_MORE, offset) : -1;
    if (n >= (ssize_t)WAL_RECORD_HEADER) {
        struct mb_cursor c = mb_cursor(mb_bytes(b.data + 4, 4));
        size_t len = (size_t)mb_cursor_u32(&c) + WAL_RECORD_HEADER;
        if (len > READ_MORE && len <= MB_ARCHIVE_RECORD_MAX + WAL_RECORD_HEADER) {
            mb_buf_reserve(&b, len);
            n = archive_read_at(fd, b.data, len, offset);
        }
    }
    if (n < 0) {
        rc = archive_io_failed(a, "read", error);
    } else {
        struct mb_cursor c = mb_cursor(mb_bytes(b.data, (size_t)n));
        struct wal_record r;
        if (wal_record_read(&r, &c) && r.kind == kind && r.slot == slot) {
            mb_buf_add_bytes(out, r.payload);
            rc = 1;
        }
    }
    archive_done_with(a, fd);
    mb_buf_clear(&b);
    return rc;
}

/* Look up and read: 1, 0 if the archive has none, UNSOUND, or an error. */
static int try_read(const struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                    struct mb_buf *out, struct mb_error *error)
{
    struct archive_entry e;
    if (!archive_get_entry(a, slot, &e))
        return UNSOUND;
    size_t file = archive_file_of(a, slot);
    uint32_t offset = e.block;
    if (kind == MB_ARCHIVE_CHECKPOINT) {
        if (e.checkpoint == 0)
            return 0;
        offset = e.checkpoint;
        file += e.later;
    }
    int rc = file < a->count ? read_record(a, file, offset, (uint8_t)kind, slot, out, error) : 0;
    return rc == 0 ? UNSOUND : rc;
}

int mb_archive_read(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                    struct mb_buf *payload, struct mb_error *error)
{
    int rc = 0;
    pthread_mutex_lock(&a->lock);
    bool possible = kind != MB_ARCHIVE_BASE && a->count > 0 && slot >= a->files[0] &&
                    slot <= a->tip &&
                    (kind == MB_ARCHIVE_CHECKPOINT || (slot == 0) == (kind == MB_ARCHIVE_GENESIS));
    if (possible)
        rc = try_read(a, kind, slot, payload, error);
    else if (kind == MB_ARCHIVE_BASE && a->count > 0 && slot == a->files[0])
        rc = read_record(a, 0, ARCHIVE_HEADER, (uint8_t)kind, slot, payload, error);
    if (rc == UNSOUND) {
        rc = archive_repair_index(a, slot, error);
        if (rc == 0)
            rc = try_read(a, kind, slot, payload, error);
        if (rc == UNSOUND)
            rc = archive_corrupt_file(a, a->files[archive_file_of(a, slot)], 0,
                                      "a record cannot be found", error);
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}

#define CHUNK 256u

/* Walk down through the index. 1, 0, or UNSOUND at slot *found. */
static int find_checkpoint(const struct mb_archive *a, uint64_t slot, uint64_t *found)
{
    uint8_t bytes[CHUNK * ARCHIVE_ENTRY];
    for (uint64_t above = slot + 1; above > a->files[0];) {
        uint64_t low = a->files[archive_file_of(a, above - 1)];
        if (above - low > CHUNK)
            low = above - CHUNK;
        *found = low;
        if (!archive_read_entries(a, low, (size_t)(above - low), bytes))
            return UNSOUND;
        for (; above > low; above--) {
            struct archive_entry e;
            *found = above - 1;
            if (!archive_entry_read(&e, *found, bytes + (*found - low) * ARCHIVE_ENTRY))
                return UNSOUND;
            if (e.checkpoint != 0)
                return 1;
        }
    }
    return 0;
}

int mb_archive_checkpoint_before(struct mb_archive *a, uint64_t slot, uint64_t *found)
{
    int rc = 0;
    pthread_mutex_lock(&a->lock);
    if (slot > a->tip)
        slot = a->tip;
    if (a->count > 0 && slot >= a->files[0]) {
        rc = find_checkpoint(a, slot, found);
        if (rc == UNSOUND && (rc = archive_repair_index(a, *found, NULL)) == 0)
            rc = find_checkpoint(a, slot, found);
        if (rc == UNSOUND)
            rc = MB_ECORRUPT;
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}
