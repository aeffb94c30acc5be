/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "wal/archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "loop/log.h"
#include "wal/archive_file.h"
#include "wal/folder.h"

#define FILE_MAX  (64u << 20)
#define READ_MORE 4096u /* read with a record's header: most records are whole then */
#define NAME_SIZE 48
#define MARK_NAME "archive-durable"

/* The index, or what it points to, does not hold. */
#define UNSOUND 2

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

/* Names, and ways to fail */

static void data_name(char name[NAME_SIZE], uint64_t first)
{
    mb_snprintf(name, NAME_SIZE, "archive-%020llu", (unsigned long long)first);
}

static void index_name(char name[NAME_SIZE], uint64_t first)
{
    mb_snprintf(name, NAME_SIZE, "archive-%020llu.index", (unsigned long long)first);
}

static int io_failed(const struct mb_archive *a, const char *what, struct mb_error *error)
{
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return mb_fail(error, MB_EIO, "archive.full",
                       "no room for the archive in %s: %s; make room there and start again", a->dir,
                       strerror(errno));
    return mb_fail(error, MB_EIO, "archive.io", "the archive in %s cannot be %s: %s", a->dir, what,
                   strerror(errno));
}

static int corrupt(const struct mb_archive *a, const char *name, uint64_t offset, const char *what,
                   struct mb_error *error)
{
    mb_log(MB_LOG_ERROR, "archive", "corrupt", "file=%s offset=%llu", name,
           (unsigned long long)offset);
    return mb_fail(error, MB_ECORRUPT, "archive.corrupt",
                   "%s/%s, offset %llu: %s. Put the file back from a copy, or fetch the history "
                   "from another replica or follower",
                   a->dir, name, (unsigned long long)offset, what);
}

static int corrupt_file(const struct mb_archive *a, uint64_t first, uint64_t offset,
                        const char *what, struct mb_error *error)
{
    char name[NAME_SIZE];
    data_name(name, first);
    return corrupt(a, name, offset, what, error);
}

/* Small things over files */

static int open_at(const struct mb_archive *a, const char *name, int flags)
{
    return openat(a->dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int open_data(const struct mb_archive *a, size_t file, int flags)
{
    char name[NAME_SIZE];
    data_name(name, a->files[file]);
    return open_at(a, name, flags);
}

static int open_index(const struct mb_archive *a, size_t file, int flags)
{
    char name[NAME_SIZE];
    index_name(name, a->files[file]);
    return open_at(a, name, flags);
}

/* The newest file's descriptor, or another's, to be given back to done_with(). */
static int use_data(const struct mb_archive *a, size_t file)
{
    return file + 1 == a->count && a->fd >= 0 ? a->fd : open_data(a, file, O_RDONLY);
}

static int use_index(const struct mb_archive *a, size_t file)
{
    return file + 1 == a->count && a->index_fd >= 0 ? a->index_fd
                                                    : open_index(a, file, O_RDWR | O_CREAT);
}

static void done_with(const struct mb_archive *a, int fd)
{
    if (fd >= 0 && fd != a->fd && fd != a->index_fd)
        close(fd);
}

/* How many bytes there were: at most len; or -1. */
static ssize_t read_at(int fd, void *out, size_t len, uint64_t offset)
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

static bool write_at(int fd, const void *data, size_t len, uint64_t offset)
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

/* Which file slot's block is in. */
static size_t file_of(const struct mb_archive *a, uint64_t slot)
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

/* The bytes of count entries from slot on, all of one file. False if they cannot be read. */
static bool read_entries(const struct mb_archive *a, uint64_t slot, size_t count, uint8_t *out)
{
    size_t file = file_of(a, slot);
    uint64_t offset = (slot - a->files[file]) * ARCHIVE_ENTRY;
    if (a->is_building && file == a->file) {
        if (offset + count * ARCHIVE_ENTRY > a->building.len)
            return false;
        memcpy(out, a->building.data + offset, count * ARCHIVE_ENTRY);
        return true;
    }
    int fd = use_index(a, file);
    bool ok = fd >= 0 &&
              read_at(fd, out, count * ARCHIVE_ENTRY, offset) == (ssize_t)(count * ARCHIVE_ENTRY);
    done_with(a, fd);
    return ok;
}

static bool get_entry(const struct mb_archive *a, uint64_t slot, struct archive_entry *e)
{
    uint8_t bytes[ARCHIVE_ENTRY];
    return read_entries(a, slot, 1, bytes) && archive_entry_read(e, slot, bytes);
}

static bool set_entry(struct mb_archive *a, uint64_t slot, const struct archive_entry *e)
{
    size_t file = file_of(a, slot);
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
    bool ok = fd >= 0 && write_at(fd, bytes, sizeof bytes, offset);
    done_with(a, fd);
    return ok;
}

/* May a record of that kind and slot stand next in that file? */
static bool is_in_order(const struct mb_archive *a, size_t file, size_t offset, uint8_t kind,
                        uint64_t slot)
{
    if (kind == MB_ARCHIVE_BLOCK)
        return slot == a->tip + 1;
    if (kind == MB_ARCHIVE_GENESIS)
        return slot == 0 && file == 0 && offset == ARCHIVE_HEADER && a->files[0] == 0;
    return kind == MB_ARCHIVE_CHECKPOINT && slot <= a->tip && slot >= a->files[0];
}

/* Note in the index what stands at offset of the newest file (or of the one that is scanned). */
static bool note_record(struct mb_archive *a, size_t file, uint32_t offset, uint8_t kind,
                        uint64_t slot)
{
    struct archive_entry e = {.block = offset};
    if (kind != MB_ARCHIVE_CHECKPOINT)
        return set_entry(a, slot, &e);
    if (!get_entry(a, slot, &e))
        return false;
    e.checkpoint = offset;
    e.later = (uint32_t)(file - file_of(a, slot));
    return set_entry(a, slot, &e);
}

static bool scan_record(void *arg, size_t offset, const struct wal_record *r)
{
    struct mb_archive *a = arg;
    if (!is_in_order(a, a->file, offset, r->kind, r->slot) ||
        !note_record(a, a->file, (uint32_t)offset, r->kind, r->slot))
        return false;
    if (r->kind == MB_ARCHIVE_BLOCK)
        a->tip = r->slot;
    return true;
}

/* Write what the last scan has gathered. */
static int save_index(struct mb_archive *a, size_t file, struct mb_error *error)
{
    if (file < a->dirty_index)
        a->dirty_index = file;
    int fd = use_index(a, file);
    bool ok = fd >= 0 && write_at(fd, a->building.data, a->building.len, 0) &&
              ftruncate(fd, (off_t)a->building.len) == 0;
    done_with(a, fd);
    return ok ? 0 : io_failed(a, "written", error);
}

/*
 * Read a file whole, check it, and gather its index; a->tip is the slot before it, and becomes its
 * last. *end is where what holds ends, *size what there is.
 */
static int scan_file(struct mb_archive *a, size_t file, uint64_t *end, uint64_t *size,
                     struct mb_error *error)
{
    struct stat st;
    struct mb_buf bytes = {0};
    int rc = 0, fd = use_data(a, file);
    if (fd < 0 || fstat(fd, &st) != 0) {
        rc = io_failed(a, "read", error);
        goto out;
    }
    mb_buf_reserve(&bytes, (size_t)st.st_size);
    ssize_t n = read_at(fd, bytes.data, (size_t)st.st_size, 0);
    if (n < 0) {
        rc = io_failed(a, "read", error);
        goto out;
    }
    *size = bytes.len = (size_t)n;
    a->is_building = true;
    a->file = file;
    mb_buf_reset(&a->building);
    *end = archive_scan(mb_buf_bytes(&bytes), scan_record, a);
    a->is_building = false;
out:
    done_with(a, fd);
    mb_buf_clear(&bytes);
    return rc;
}

/* Opening */

static int compare(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

static void add_file(struct mb_archive *a, uint64_t first)
{
    a->files = mb_realloc(a->files, (a->count + 1) * sizeof *a->files);
    a->files[a->count++] = first;
}

static int list_files(struct mb_archive *a, struct mb_error *error)
{
    int fd = open_at(a, ".", O_RDONLY | O_DIRECTORY);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL)
        return io_failed(a, "read", error);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char expected[NAME_SIZE];
        if (strncmp(e->d_name, "archive-", 8) != 0)
            continue;
        uint64_t first = strtoull(e->d_name + 8, NULL, 10);
        data_name(expected, first);
        if (strcmp(e->d_name, expected) == 0)
            add_file(a, first);
    }
    closedir(d);
    if (a->count > 0)
        qsort(a->files, a->count, sizeof *a->files, compare);
    return 0;
}

static bool write_mark(const struct mb_archive *a, const struct archive_mark *m)
{
    uint8_t bytes[ARCHIVE_MARK];
    archive_mark_write(bytes, m);
    int fd = open_at(a, MARK_NAME, O_WRONLY | O_CREAT);
    bool ok = fd >= 0 && write_at(fd, bytes, sizeof bytes, 0) && fdatasync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* It is there before the first file is. */
static int read_mark(struct mb_archive *a, struct mb_error *error)
{
    uint8_t bytes[ARCHIVE_MARK + 1];
    int fd = open_at(a, MARK_NAME, O_RDONLY);
    ssize_t n = fd >= 0 ? read_at(fd, bytes, sizeof bytes, 0) : 0;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return io_failed(a, "read", error);
    if (n == 0 && a->count == 0) {
        if (!write_mark(a, &a->mark) || fsync(a->dir_fd) != 0)
            return io_failed(a, "written", error);
        return 0;
    }
    if (!archive_mark_read(&a->mark, mb_bytes(bytes, (size_t)n)))
        return corrupt(a, MARK_NAME, 0, "the file is damaged or missing", error);
    return 0;
}

/* Is the header of a file right, and what the file before it is? */
static bool check_header(const struct mb_archive *a, size_t file)
{
    uint8_t bytes[ARCHIVE_HEADER];
    struct archive_header h;
    struct stat st = {0};
    int fd = open_data(a, file, O_RDONLY);
    bool ok = fd >= 0 && read_at(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes &&
              archive_header_read(&h, mb_bytes(bytes, sizeof bytes)) && h.first == a->files[file];
    done_with(a, fd);
    if (!ok || file == 0)
        return ok && h.previous_bytes == 0;
    char name[NAME_SIZE];
    data_name(name, a->files[file - 1]);
    return fstatat(a->dir_fd, name, &st, 0) == 0 && h.previous == a->files[file - 1] &&
           h.previous_bytes == (uint64_t)st.st_size;
}

/* Cheap: an index of a file that is not the newest has an entry for each of its slots. */
static bool index_is_whole(const struct mb_archive *a, size_t file)
{
    struct stat st;
    char name[NAME_SIZE];
    index_name(name, a->files[file]);
    return fstatat(a->dir_fd, name, &st, 0) == 0 &&
           (uint64_t)st.st_size == (a->files[file + 1] - a->files[file]) * ARCHIVE_ENTRY;
}

/* Cut a file, and drop those after it: none of it has ever been durable. */
static int cut(struct mb_archive *a, size_t file, uint64_t end, uint64_t size,
               struct mb_error *error)
{
    char name[NAME_SIZE];
    mb_log(MB_LOG_WARN, "archive", "torn_tail", "file=%llu offset=%llu bytes_dropped=%llu",
           (unsigned long long)a->files[file], (unsigned long long)end,
           (unsigned long long)(size > end ? size - end : 0));
    size_t keep = end > ARCHIVE_HEADER || (file > 0 && end == ARCHIVE_HEADER) ? file + 1 : file;
    while (a->count > keep) {
        data_name(name, a->files[--a->count]);
        unlinkat(a->dir_fd, name, 0);
        index_name(name, a->files[a->count]);
        unlinkat(a->dir_fd, name, 0);
    }
    if (keep == file)
        return 0;
    int fd = open_data(a, file, O_RDWR);
    bool ok = fd >= 0 && ftruncate(fd, (off_t)end) == 0;
    done_with(a, fd);
    return ok ? 0 : io_failed(a, "cut", error);
}

/* One file on opening. 0, or 1 if it was cut: the last one then. */
static int open_file(struct mb_archive *a, size_t file, bool *rebuild, struct mb_error *error)
{
    uint64_t first = a->files[file], end = 0, size = 0;
    uint64_t sure = first == a->mark.first ? a->mark.bytes : first < a->mark.first ? UINT64_MAX : 0;
    if (!check_header(a, file)) {
        if (sure > 0)
            return corrupt_file(a, first, 0,
                                "its header is damaged, or the file before it is missing or cut",
                                error);
        int rc = cut(a, file, 0, 0, error);
        return rc != 0 ? rc : 1;
    }
    if (first >= a->mark.first || !index_is_whole(a, file))
        *rebuild = true; /* of all from here on: their checkpoints may be for slots in here */
    if (!*rebuild) {
        a->tip = a->files[file + 1] - 1;
        return 0;
    }
    int rc = scan_file(a, file, &end, &size, error);
    if (rc != 0)
        return rc;
    bool goes_on = file + 1 == a->count || a->files[file + 1] == a->tip + 1;
    bool whole = end == size && goes_on && end > (file == 0 ? ARCHIVE_HEADER : 0);
    if (end < sure && !(whole && sure == UINT64_MAX))
        return corrupt_file(a, first, end, "a record is damaged or missing", error);
    rc = save_index(a, file, error);
    if (rc == 0 && !whole) {
        rc = cut(a, file, end, size, error);
        return rc != 0 ? rc : 1;
    }
    return rc;
}

static int open_newest(struct mb_archive *a, struct mb_error *error)
{
    struct stat st;
    if (a->count == 0)
        return 0;
    a->fd = open_data(a, a->count - 1, O_RDWR);
    a->index_fd = open_index(a, a->count - 1, O_RDWR | O_CREAT);
    if (a->fd < 0 || a->index_fd < 0 || fstat(a->fd, &st) != 0)
        return io_failed(a, "opened", error);
    a->bytes = (uint64_t)st.st_size;
    return 0;
}

static int open_all(struct mb_archive *a, struct mb_error *error)
{
    bool rebuild = false;
    int rc = list_files(a, error);
    if (rc == 0)
        rc = read_mark(a, error);
    if (rc == 0 && a->mark.bytes > 0 &&
        (a->count == 0 || a->files[file_of(a, a->mark.first)] != a->mark.first))
        return corrupt_file(a, a->mark.first, 0, "the file is missing", error);
    if (rc == 0 && a->count > 0)
        a->tip = a->files[0] > 0 ? a->files[0] - 1 : 0;
    a->dirty_index = a->count > 0 ? a->count - 1 : 0;
    for (size_t i = 0; rc == 0 && i < a->count; i++)
        rc = open_file(a, i, &rebuild, error);
    if (rc >= 0)
        rc = open_newest(a, error);
    if (a->count == 0)
        a->tip = 0;
    return rc;
}

static void release(struct mb_archive *a)
{
    if (a->fd >= 0)
        close(a->fd);
    if (a->index_fd >= 0)
        close(a->index_fd);
    if (a->dir_fd >= 0)
        close(a->dir_fd);
    pthread_mutex_destroy(&a->lock);
    pthread_mutex_destroy(&a->syncing);
    mb_buf_clear(&a->building);
    free(a->files);
    free(a->dir);
    free(a);
}

int mb_archive_open(struct mb_archive **out, const char *dir, struct mb_error *error)
{
    struct mb_archive *a = mb_calloc(1, sizeof *a);
    a->dir = mb_strdup(dir);
    a->fd = a->index_fd = -1;
    if (pthread_mutex_init(&a->lock, NULL) != 0 || pthread_mutex_init(&a->syncing, NULL) != 0)
        abort();
    a->dir_fd = wal_folder_open(dir, "archive", error);
    int rc = a->dir_fd < 0 ? a->dir_fd : open_all(a, error);
    if (rc == 0)
        rc = mb_archive_sync(a, error); /* what a killed process appended may be in memory only */
    if (rc != 0) {
        release(a);
        return rc;
    }
    *out = a;
    return 0;
}

void mb_archive_close(struct mb_archive *a)
{
    if (a == NULL)
        return;
    mb_archive_sync(a, NULL);
    release(a);
}

static uint64_t locked_get(const struct mb_archive *a, const uint64_t *value)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&a->lock;
    pthread_mutex_lock(lock);
    uint64_t v = *value;
    pthread_mutex_unlock(lock);
    return v;
}

uint64_t mb_archive_tip(const struct mb_archive *a)
{
    return locked_get(a, &a->tip);
}

uint64_t mb_archive_durable(const struct mb_archive *a)
{
    return locked_get(a, &a->durable);
}

/* Appending */

static int start_file(struct mb_archive *a, uint64_t first, struct mb_error *error)
{
    uint8_t bytes[ARCHIVE_HEADER];
    struct archive_header h = {.first = first};
    char data[NAME_SIZE], index[NAME_SIZE];
    if (a->count > 0) {
        h.previous = a->files[a->count - 1];
        h.previous_bytes = a->bytes;
    }
    archive_header_write(bytes, &h);
    data_name(data, first);
    index_name(index, first);
    int fd = open_at(a, data, O_RDWR | O_CREAT | O_TRUNC);
    int index_fd = open_at(a, index, O_RDWR | O_CREAT | O_TRUNC);
    if (fd < 0 || index_fd < 0 || !write_at(fd, bytes, sizeof bytes, 0)) {
        int rc = io_failed(a, "extended", error);
        done_with(a, fd);
        done_with(a, index_fd);
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
    add_file(a, first);
    return 0;
}

/* A new file, if the record needs one. */
static int make_room(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot, size_t len,
                     struct mb_error *error)
{
    if (a->count == 0) {
        bool begins = kind == MB_ARCHIVE_GENESIS ? slot == 0 : kind == MB_ARCHIVE_BLOCK && slot > 0;
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
    if (a->count == 0 || !is_in_order(a, a->count - 1, a->bytes, (uint8_t)kind, slot))
        return mb_fail(error, MB_EINVAL, "archive.order", "slot %llu cannot follow slot %llu",
                       (unsigned long long)slot, (unsigned long long)a->tip);
    wal_record_write(header, (uint8_t)kind, slot, payload);
    struct iovec parts[2] = {{.iov_base = header, .iov_len = sizeof header},
                             {.iov_base = (void *)payload.data, .iov_len = payload.len}};
    ssize_t n = pwritev(a->fd, parts, 2, (off_t)a->bytes);
    if (n >= 0 && (size_t)n < len)
        errno = ENOSPC; /* a file takes less than asked for only when there is no room */
    if (n != (ssize_t)len ||
        !note_record(a, a->count - 1, (uint32_t)a->bytes, (uint8_t)kind, slot)) {
        rc = io_failed(a, "extended", error);
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
    size_t from = count > 0 ? file_of(a, a->mark.first) : 0;
    bool failed = a->failed;
    bool due = now.first != a->mark.first || now.bytes != a->mark.bytes;
    int *fds = mb_calloc(2 * count + 1, sizeof *fds);
    size_t open = 0;
    for (size_t i = from; due && i < count; i++)
        fds[open++] = open_data(a, i, O_RDWR);
    for (size_t i = dirty; due && i + 1 < count; i++)
        fds[open++] = open_index(a, i, O_RDWR);
    if (due)
        a->dirty_index = count > 0 ? count - 1 : 0;
    pthread_mutex_unlock(&a->lock);

    errno = EIO; /* if it has failed before */
    for (size_t i = 0; i < open; i++)
        failed = !sync_file(fds[i]) || failed;
    free(fds);
    failed = failed || (due && (fsync(a->dir_fd) != 0 || !write_mark(a, &now)));

    pthread_mutex_lock(&a->lock);
    a->failed = failed;
    if (!failed) {
        a->mark = now;
        a->durable = tip;
    }
    int rc = failed ? io_failed(a, "synced", error) : 0;
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
    int fd = use_data(a, file), rc = 0;
    mb_buf_reserve(&b, READ_MORE);
    ssize_t n = fd >= 0 ? read_at(fd, b.data, READ_MORE, offset) : -1;
    if (n >= (ssize_t)WAL_RECORD_HEADER) {
        struct mb_cursor c = mb_cursor(mb_bytes(b.data + 4, 4));
        size_t len = (size_t)mb_cursor_u32(&c) + WAL_RECORD_HEADER;
        if (len > READ_MORE && len <= MB_ARCHIVE_RECORD_MAX + WAL_RECORD_HEADER) {
            mb_buf_reserve(&b, len);
            n = read_at(fd, b.data, len, offset);
        }
    }
    if (n < 0) {
        rc = io_failed(a, "read", error);
    } else {
        struct mb_cursor c = mb_cursor(mb_bytes(b.data, (size_t)n));
        struct wal_record r;
        if (wal_record_read(&r, &c) && r.kind == kind && r.slot == slot) {
            mb_buf_add_bytes(out, r.payload);
            rc = 1;
        }
    }
    done_with(a, fd);
    mb_buf_clear(&b);
    return rc;
}

/* Look up and read: 1, 0 if the archive has none, UNSOUND, or an error. */
static int try_read(const struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                    struct mb_buf *out, struct mb_error *error)
{
    struct archive_entry e;
    if (!get_entry(a, slot, &e))
        return UNSOUND;
    size_t file = file_of(a, slot);
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

/* Something about slot does not hold: if that is the index alone, it is made anew. */
static int repair_index(struct mb_archive *a, uint64_t slot, struct mb_error *error)
{
    uint64_t tip = a->tip, end, size;
    int rc = 0;
    size_t file = file_of(a, slot);
    mb_log(MB_LOG_WARN, "archive", "index_rebuilt", "slot=%llu", (unsigned long long)slot);
    for (; rc == 0 && file < a->count; file++) {
        a->tip = a->files[file] > 0 ? a->files[file] - 1 : 0;
        rc = scan_file(a, file, &end, &size, error);
        if (rc == 0)
            rc = end == size ? save_index(a, file, error)
                             : corrupt_file(a, a->files[file], end, "a record is damaged", error);
    }
    a->tip = tip;
    return rc;
}

int mb_archive_read(struct mb_archive *a, enum mb_archive_kind kind, uint64_t slot,
                    struct mb_buf *payload, struct mb_error *error)
{
    int rc = 0;
    pthread_mutex_lock(&a->lock);
    bool possible = a->count > 0 && slot >= a->files[0] && slot <= a->tip &&
                    (kind == MB_ARCHIVE_CHECKPOINT || (slot == 0) == (kind == MB_ARCHIVE_GENESIS));
    if (possible)
        rc = try_read(a, kind, slot, payload, error);
    if (rc == UNSOUND) {
        rc = repair_index(a, slot, error);
        if (rc == 0)
            rc = try_read(a, kind, slot, payload, error);
        if (rc == UNSOUND)
            rc = corrupt_file(a, a->files[file_of(a, slot)], 0, "a record cannot be found", error);
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
        uint64_t low = a->files[file_of(a, above - 1)];
        if (above - low > CHUNK)
            low = above - CHUNK;
        *found = low;
        if (!read_entries(a, low, (size_t)(above - low), bytes))
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
        if (rc == UNSOUND && (rc = repair_index(a, *found, NULL)) == 0)
            rc = find_checkpoint(a, slot, found);
        if (rc == UNSOUND)
            rc = MB_ECORRUPT;
    }
    pthread_mutex_unlock(&a->lock);
    return rc;
}
