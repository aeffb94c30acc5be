/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/loop.h"

static int fill_address(struct sockaddr_un *a, const char *path, struct mb_error *error)
{
    size_t len = strlen(path);
    *a = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len == 0 || len >= sizeof a->sun_path)
        return mb_fail(error, MB_EINVAL, "socket.path", "%s: a socket's path has 1 to %zu bytes",
                       path, sizeof a->sun_path - 1);
    memcpy(a->sun_path, path, len);
    return 0;
}

static int remove_old_socket(const char *path, struct mb_error *error)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return mb_fail(error, MB_EINVAL, "socket.path", "%s exists and is no socket: move it away",
                       path);
    if (unlink(path) != 0)
        return mb_fail(error, MB_EIO, "socket.listen", "cannot replace %s: %s", path,
                       strerror(errno));
    return 0;
}

int mb_unix_listen(const char *path, unsigned mode, struct mb_error *error)
{
    struct sockaddr_un a;
    int rc = fill_address(&a, path, error);
    if (rc == 0)
        rc = remove_old_socket(path, error);
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* unix(7): the file is made with the mode that fchmod gave, less the umask; chmod then gives
     * back what the umask took. At no time has it more than mode. */
    if (fd < 0 || fchmod(fd, (mode_t)mode) != 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        chmod(path, (mode_t)mode) != 0 || listen(fd, SOMAXCONN) != 0) {
        rc = mb_fail(error, MB_EIO, "socket.listen", "cannot listen on %s: %s", path,
                     strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    return fd;
}

int mb_unix_connect(const char *path, struct mb_error *error)
{
    struct sockaddr_un a;
    int rc = fill_address(&a, path, error);
    if (rc != 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return mb_fail(error, MB_EIO, "socket.connect", "no socket: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
        rc = mb_fail(error, MB_EREACH, "socket.connect", "cannot connect to %s: %s", path,
                     strerror(errno));
        close(fd);
        return rc;
    }
    return fd;
}
