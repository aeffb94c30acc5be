/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "wal/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

/* The entry of a folder that was just made has to be durable as well. */
static bool sync_parent(int fd)
{
    int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = parent >= 0 && fsync(parent) == 0;
    if (parent >= 0)
        close(parent);
    return ok;
}

int wal_folder_open(const char *dir, const char *what, struct mb_error *error)
{
    char code[MB_ERROR_CODE_MAX];
    bool made = mkdir(dir, 0700) == 0;
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (made && !sync_parent(fd))) {
        mb_snprintf(code, sizeof code, "%s.io", what);
        int rc =
            mb_fail(error, MB_EIO, code, "the folder %s cannot be used: %s", dir, strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        mb_snprintf(code, sizeof code, "%s.locked", what);
        return mb_fail(error, MB_EIO, code, "%s is in use: is another daemon running there?", dir);
    }
    return fd;
}
