/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opening an archive: what has been synced must hold, a torn tail behind it is cut. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/log.h"
#include "wal/archive_internal.h"
#include "wal/folder.h"

#define MARK_NAME "archive-durable"

/* Opening */

static int compare(const void *x, const void *y)
{
    uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return a < b ? -1 : a > b;
}

void archive_add_file(struct mb_archive *a, uint64_t first)
{
    a->files = mb_realloc(a->files, (a->count + 1) * sizeof *a->files);
    a->files[a->count++] = first;
}

static int list_files(struct mb_archive *a, struct mb_error *error)
{
    int fd = archive_open_at(a, ".", O_RDONLY | O_DIRECTORY);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (d == NULL)
        return archive_io_failed(a, "read", error);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char expected[ARCHIVE_NAME_SIZE];
        if (strncmp(e->d_name, "archive-", 8) != 0)
            continue;
        uint64_t first = strtoull(e->d_name + 8, NULL, 10);
        archive_data_name(expected, first);
        if (strcmp(e->d_name, expected) == 0)
            archive_add_file(a, first);
    }
    closedir(d);
    if (a->count > 0)
        qsort(a->files, a->count, sizeof *a->files, compare);
    return 0;
}

bool archive_write_mark(const struct mb_archive *a, const struct archive_mark *m)
{
    uint8_t bytes[ARCHIVE_MARK];
    archive_mark_write(bytes, m);
    int fd = archive_open_at(a, MARK_NAME, O_WRONLY | O_CREAT);
    bool ok = fd >= 0 && archive_write_at(fd, bytes, sizeof bytes, 0) && fdatasync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* It is there before the first file is. */
static int read_mark(struct mb_archive *a, struct mb_error *error)
{
    uint8_t bytes[ARCHIVE_MARK + 1];
    int fd = archive_open_at(a, MARK_NAME, O_RDONLY);
    ssize_t n = fd >= 0 ? archive_read_at(fd, bytes, sizeof bytes, 0) : 0;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return archive_io_failed(a, "read", error);
    if (n == 0 && a->count == 0) {
        if (!archive_write_mark(a, &a->mark) || fsync(a->dir_fd) != 0)
            return archive_io_failed(a, "written", error);
        return 0;
    }
    if (!archive_mark_read(&a->mark, mb_bytes(bytes, (size_t)n)))
        return archive_corrupt(a, MARK_NAME, 0, "the file is damaged or missing", error);
    return 0;
}

/* Is the header of a file right, and what the file before it is? */
static bool check_header(const struct mb_archive *a, size_t file)
{
    uint8_t bytes[ARCHIVE_HEADER];
    struct archive_header h;
    struct stat st = {0};
    int fd = archive_open_data(a, file, O_RDONLY);
    bool ok = fd >= 0 && archive_read_at(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes &&
              archive_header_read(&h, mb_bytes(bytes, sizeof bytes)) && h.first == a->files[file];
    archive_done_with(a, fd);
    if (!ok || file == 0)
        return ok && h.previous_bytes == 0;
    char name[ARCHIVE_NAME_SIZE];
    archive_data_name(name, a->files[file - 1]);
    return fstatat(a->dir_fd, name, &st, 0) == 0 && h.previous == a->files[file - 1] &&
           h.previous_bytes == (uint64_t)st.st_size;
}

/* Cheap: an index of a file that is not the newest has an entry for each of its slots. */
static bool index_is_whole(const struct mb_archive *a, size_t file)
{
    struct stat st;
    char name[ARCHIVE_NAME_SIZE];
    archive_index_name(name, a->files[file]);
    return fstatat(a->dir_fd, name, &st, 0) == 0 &&
           (uint64_t)st.st_size == (a->files[file + 1] - a->files[file]) * ARCHIVE_ENTRY;
}

/* Cut a file, and drop those after it: none of it has ever been durable. */
static int cut(struct mb_archive *a, size_t file, uint64_t end, uint64_t size,
               struct mb_error *error)
{
    char name[ARCHIVE_NAME_SIZE];
    mb_log(MB_LOG_WARN, "archive", "torn_tail", "file=%llu offset=%llu bytes_dropped=%llu",
           (unsigned long long)a->files[file], (unsigned long long)end,
           (unsigned long long)(size > end ? size - end : 0));
    size_t keep = end > ARCHIVE_HEADER || (file > 0 && end == ARCHIVE_HEADER) ? file + 1 : file;
    while (a->count > keep) {
        archive_data_name(name, a->files[--a->count]);
        unlinkat(a->dir_fd, name, 0);
        archive_index_name(name, a->files[a->count]);
        unlinkat(a->dir_fd, name, 0);
    }
    if (keep == file)
        return 0;
    int fd = archive_open_data(a, file, O_RDWR);
    bool ok = fd >= 0 && ftruncate(fd, (off_t)end) == 0;
    archive_done_with(a, fd);
    return ok ? 0 : archive_io_failed(a, "cut", error);
}

/* One file on opening. 0, or 1 if it was cut: the last one then. */
static int open_file(struct mb_archive *a, size_t file, bool *rebuild, struct mb_error *error)
{
    uint64_t first = a->files[file], end = 0, size = 0;
    uint64_t sure = first == a->mark.first ? a->mark.bytes : first < a->mark.first ? UINT64_MAX : 0;
    if (!check_header(a, file)) {
        if (sure > 0)
            return archive_corrupt_file(
                a, first, 0, "its header is damaged, or the file before it is missing or cut",
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
    int rc = archive_scan_file(a, file, &end, &size, error);
    if (rc != 0)
        return rc;
    bool goes_on = file + 1 == a->count || a->files[file + 1] == a->tip + 1;
    bool whole = end == size && goes_on && end > (file == 0 ? ARCHIVE_HEADER : 0);
    if (end < sure && !(whole && sure == UINT64_MAX))
        return archive_corrupt_file(a, first, end, "a record is damaged or missing", error);
    rc = archive_save_index(a, file, error);
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
    a->fd = archive_open_data(a, a->count - 1, O_RDWR);
    a->index_fd = archive_open_index(a, a->count - 1, O_RDWR | O_CREAT);
    if (a->fd < 0 || a->index_fd < 0 || fstat(a->fd, &st) != 0)
        return archive_io_failed(a, "opened", error);
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
        (a->count == 0 || a->files[archive_file_of(a, a->mark.first)] != a->mark.first))
        return archive_corrupt_file(a, a->mark.first, 0, "the file is missing", error);
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

uint64_t mb_archive_first(const struct mb_archive *a)
{
    pthread_mutex_t *lock = (pthread_mutex_t *)&a->lock;
    pthread_mutex_lock(lock);
    uint64_t first = a->count > 0 && a->files[0] > 0 ? a->files[0] : 1;
    pthread_mutex_unlock(lock);
    return first;
}

uint64_t mb_archive_durable(const struct mb_archive *a)
{
    return locked_get(a, &a->durable);
}
