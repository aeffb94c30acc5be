/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The files of the archive, and the index of what is in them. */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/log.h"
#include "wal/archive_internal.h"

/* Names, and ways to fail */

void archive_data_name(char name[ARCHIVE_NAME_SIZE], uint64_t first)
{
    mb_snprintf(name, ARCHIVE_NAME_SIZE, "archive-%020llu", (unsigned long long)first);
}

void archive_index_name(char name[ARCHIVE_NAME_SIZE], uint64_t first)
{
    mb_snprintf(name, ARCHIVE_NAME_SIZE, "archive-%020llu.index", (unsigned long long)first);
}

int archive_io_failed(const struct mb_archive *a, const char *what, struct mb_error *error)
{
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return mb_fail(error, MB_EIO, "archive.full",
                       "no room for the archive in %s: %s; make room there and start again", a->dir,
                       strerror(errno));
    return mb_fail(error, MB_EIO, "archive.io", "the archive in %s cannot be %s: %s", a->dir, what,
                   strerror(errno));
}

int archive_corrupt(const struct mb_archive *a, const char *name, uint64_t offset, const char *what,
                    struct mb_error *error)
{
    mb_log(MB_LOG_ERROR, "archive", "corrupt", "file=%s offset=%llu", name,
           (unsigned long long)offset);
    return mb_fail(error, MB_ECORRUPT, "archive.corrupt",
                   "%s/%s, offset %llu: %s. Put the file back from a copy, or fetch the history "
                   "from another replica or follower",
                   a->dir, name, (unsigned long long)offset, what);
}

int archive_corrupt_file(const struct mb_archive *a, uint64_t first, uint64_t offset,
                         const char *what, struct mb_error *error)
{
    char name[ARCHIVE_NAME_SIZE];
    archive_data_name(name, first);
    return archive_corrupt(a, name, offset, what, error);
}

/* Small things over files */

int archive_open_at(const struct mb_archive *a, const char *name, int flags)
{
    return openat(a->dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int archive_open_data(const struct mb_archive *a, size_t file, int flags)
{
    char name[ARCHIVE_NAME_SIZE];
    archive_data_name(name, a->files[file]);
    return archive_open_at(a, name, flags);
}

int archive_open_index(const struct mb_archive *a, size_t file, int flags)
{
    char name[ARCHIVE_NAME_SIZE];
    archive_index_name(name, a->files[file]);
    return archive_open_at(a, name, flags);
}

int archive_use_data(const struct mb_archive *a, size_t file)
{
    return file + 1 == a->count && a->fd >= 0 ? a->fd : archive_open_data(a, file, O_RDONLY);
}

static int use_index(const struct mb_archive *a, size_t file)
{
    return file + 1 == a->count && a->index_fd >= 0 ? a->index_fd
                                                    : archive_open_index(a, file, O_RDWR | O_CREAT);
}

void archive_done_with(const struct mb_archive *a, int fd)
{
    if (fd >= 0 && fd != a->fd && fd != a->index_fd)
        close(fd);
}

ssize_t archive_read_at(int fd, void *out, size_t len, uint64_t offset)
{
    size_t have = 0;
    while (have < len) {
        ssize_t n = pread(fd, (uint8_t *)out + have, len - have, (off_t)(offset + have));
        if (n < 0 && errno != EINTR)
            return -1;
        if (n == 0)
            break;
        have += n > 0 ? (size_t)n : 0;
    }
    return (ssize_t)have;
}

bool archive_write_at(int fd, const void *data, size_t len, uint64_t offset)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = pwrite(fd, (const uint8_t *)data + done, len - done, (off_t)(offset + done));
        if (n < 0 && errno != EINTR)
            return false;
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The index */

size_t archive_file_of(const struct mb_archive *a, uint64_t slot)
{
    size_t low = 0, high = a->count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (a->files[middle] <= slot)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool archive_read_entries(const struct mb_archive *a, uint64_t slot, size_t count, uint8_t *out)
{
    size_t file = archive_file_of(a, slot);
    uint64_t offset = (slot - a->files[file]) * ARCHIVE_ENTRY;
    if (a->is_building && file == a->file) {
        if (offset + count * ARCHIVE_ENTRY > a->building.len)
            return false;
        memcpy(out, a->building.data + offset, count * ARCHIVE_ENTRY);
        return true;
    }
    int fd = use_index(a, file);
    bool ok = fd >= 0 && archive_read_at(fd, out, count * ARCHIVE_ENTRY, offset) ==
                             (ssize_t)(count * ARCHIVE_ENTRY);
    archive_done_with(a, fd);
    return ok;
}

bool archive_get_entry(const struct mb_archive *a, uint64_t slot, struct archive_entry *e)
{
    uint8_t bytes[ARCHIVE_ENTRY];
    return archive_read_entries(a, slot, 1, bytes) && archive_entry_read(e, slot, bytes);
}

static bool set_entry(struct mb_archive *a, uint64_t slot, const struct archive_entry *e)
{
    size_t file = archive_file_of(a, slot);
    uint64_t offset = (slot - a->files[file]) * ARCHIVE_ENTRY;
    uint8_t bytes[ARCHIVE_ENTRY];
    archive_entry_write(bytes, slot, e);
    if (a->is_building && file == a->file) {
        if (offset == a->building.len)
            mb_buf_add(&a->building, bytes, sizeof bytes);
        else if (offset < a->building.len)
            memcpy(a->building.data + offset, bytes, sizeof bytes);
        return offset < a->building.len;
    }
    if (file < a->dirty_index)
        a->dirty_index = file;
    int fd = use_index(a, file);
    bool ok = fd >= 0 && archive_write_at(fd, bytes, sizeof bytes, offset);
    archive_done_with(a, fd);
    return ok;
}

bool archive_is_in_order(const struct mb_archive *a, size_t file, size_t offset, uint8_t kind,
                         uint64_t slot)
{
    if (kind == MB_ARCHIVE_BLOCK)
        return slot == a->tip + 1;
    if (kind == MB_ARCHIVE_GENESIS)
        return slot == 0 && file == 0 && offset == ARCHIVE_HEADER && a->files[0] == 0;
    if (kind == MB_ARCHIVE_BASE)
        return slot > 0 && file == 0 && offset == ARCHIVE_HEADER && a->files[0] == slot;
    return kind == MB_ARCHIVE_CHECKPOINT && slot <= a->tip && slot >= a->files[0];
}

bool archive_note_record(struct mb_archive *a, size_t file, uint32_t offset, uint8_t kind,
                         uint64_t slot)
{
    struct archive_entry e = {.block = offset};
    if (kind == MB_ARCHIVE_BASE)
        return true; /* it is always the first */
    if (kind != MB_ARCHIVE_CHECKPOINT)
        return set_entry(a, slot, &e);
    if (!archive_get_entry(a, slot, &e))
        return false;
    e.checkpoint = offset;
    e.later = (uint32_t)(file - archive_file_of(a, slot));
    return set_entry(a, slot, &e);
}

static bool scan_record(void *arg, size_t offset, const struct wal_record *r)
{
    struct mb_archive *a = arg;
    if (!archive_is_in_order(a, a->file, offset, r->kind, r->slot) ||
        !archive_note_record(a, a->file, (uint32_t)offset, r->kind, r->slot))
        return false;
    if (r->kind == MB_ARCHIVE_BLOCK)
        a->tip = r->slot;
    return true;
}

int archive_save_index(struct mb_archive *a, size_t file, struct mb_error *error)
{
    if (file < a->dirty_index)
        a->dirty_index = file;
    int fd = use_index(a, file);
    bool ok = fd >= 0 && archive_write_at(fd, a->building.data, a->building.len, 0) &&
              ftruncate(fd, (off_t)a->building.len) == 0;
    archive_done_with(a, fd);
    return ok ? 0 : archive_io_failed(a, "written", error);
}

int archive_scan_file(struct mb_archive *a, size_t file, uint64_t *end, uint64_t *size,
                      struct mb_error *error)
{
    struct stat st;
    struct mb_buf bytes = {0};
    int rc = 0, fd = archive_use_data(a, file);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = archive_io_failed(a, "read", error);
        goto out;
    }
    mb_buf_reserve(&bytes, (size_t)st.st_size);
    ssize_t n = archive_read_at(fd, bytes.data, (size_t)st.st_size, 0);
    if (n < 0) {
        rc = archive_io_failed(a, "read", error);
        goto out;
    }
    *size = bytes.len = (size_t)n;
    a->is_building = true;
    a->file = file;
    mb_buf_reset(&a->building);
    *end = archive_scan(mb_buf_bytes(&bytes), scan_record, a);
    a->is_building = false;
out:
    archive_done_with(a, fd);
    mb_buf_clear(&bytes);
    return rc;
}
int archive_repair_index(struct mb_archive *a, uint64_t slot, struct mb_error *error)
{
    uint64_t tip = a->tip, end, size;
    int rc = 0;
    size_t file = archive_file_of(a, slot);
    mb_log(MB_LOG_WARN, "archive", "index_rebuilt", "slot=%llu", (unsigned long long)slot);
    for (; rc == 0 && file < a->count; file++) {
        a->tip = a->files[file] > 0 ? a->files[file] - 1 : 0;
        rc = archive_scan_file(a, file, &end, &size, error);
        if (rc == 0)
            rc = end == size
                     ? archive_save_index(a, file, error)
                     : archive_corrupt_file(a, a->files[file], end, "a record is damaged", error);
    }
    a->tip = tip;
    return rc;
}
