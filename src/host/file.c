/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/config.h"

static int io_error(struct mb_error *error, const char *what, const char *path)
{
    return mb_fail(error, MB_EIO, "file.unreadable", "%s: cannot %s: %s", path, what,
                   strerror(errno));
}

int mb_read_file(const char *path, size_t max, struct mb_buf *out, struct mb_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return io_error(error, "open", path);
    size_t start = out->len;
    int rc = 0;
    for (;;) {
        mb_buf_reserve(out, 65536);
        ssize_t n = read(fd, out->data + out->len, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = io_error(error, "read", path);
        if (n <= 0)
            break;
        out->len += (size_t)n;
        if (out->len - start > max) {
            rc =
                mb_fail(error, MB_ELIMIT, "file.too_large", "%s: larger than %zu bytes", path, max);
            break;
        }
    }
    close(fd);
    if (rc != 0)
        out->len = start;
    mb_buf_text(out);
    return rc;
}

static int write_all(int fd, struct mb_bytes data)
{
    for (size_t done = 0; done < data.len;) {
        ssize_t n = write(fd, data.data + done, data.len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

static int sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? mb_strdup(".")
                                 : mb_strndup(path, slash == path ? 1 : (size_t)(slash - path));
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    free(folder);
    return rc;
}

int mb_write_file(const char *path, struct mb_bytes data, unsigned mode, struct mb_error *error)
{
    /* Another process may write the same file; what one that died left behind is in the way. */
    char *temporary = mb_asprintf("%s.%ld.new", path, (long)getpid());
    unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
    int rc = 0;
    if (fd < 0)
        rc = io_error(error, "create", temporary);
    else if (fchmod(fd, (mode_t)mode) != 0 || write_all(fd, data) != 0 || fsync(fd) != 0)
        rc = io_error(error, "write", temporary);
    if (fd >= 0 && close(fd) != 0 && rc == 0)
        rc = io_error(error, "close", temporary);
    if (rc == 0 && (rename(temporary, path) != 0 || sync_folder_of(path) != 0))
        rc = io_error(error, "put in place", path);
    if (rc != 0 && fd >= 0)
        unlink(temporary);
    free(temporary);
    return rc;
}

int mb_make_dir(const char *path, unsigned mode, struct mb_error *error)
{
    char *copy = mb_strdup(path);
    for (char *at = copy + 1; *at != 0; at++) {
        if (*at != '/')
            continue;
        *at = 0;
        if (mkdir(copy, 0755) != 0 && errno != EEXIST) {
            int rc = io_error(error, "make folder", copy);
            free(copy);
            return rc;
        }
        *at = '/';
    }
    free(copy);
    struct stat st;
    if (mkdir(path, (mode_t)mode) != 0 && errno != EEXIST)
        return io_error(error, "make folder", path);
    if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode)) {
        errno = ENOTDIR;
        return io_error(error, "use folder", path);
    }
    return 0;
}
