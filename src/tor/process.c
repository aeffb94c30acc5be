/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tor/internal.h"

#define SOCKET_PATH_MAX 107 /* of sockaddr_un's 108 bytes, less the final zero */
#define STOP_MS         3000

/* What a torrc can carry without quoting, and a %include without meaning a pattern. */
static int check_path(const char *path, const char *what, struct mb_error *error)
{
    if (path == NULL || path[0] != '/')
        return mb_fail(error, MB_EINVAL, "tor.options", "%s must be an absolute path", what);
    for (const char *p = path; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || strchr("\"\\#*?[]\x7f", *p) != NULL)
            return mb_fail(error, MB_EINVAL, "tor.options",
                           "%s has a character that a torrc cannot carry", what);
    return 0;
}

static int make_private(const char *dir, struct mb_error *error)
{
    struct stat st;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return mb_fail(error, MB_EIO, "tor.dir", "cannot make %s: %s", dir, strerror(errno));
    if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return mb_fail(error, MB_EINVAL, "tor.dir",
                       "%s is not a folder of this user's: give tor one of its own", dir);
    if ((st.st_mode & 077) != 0 && chmod(dir, 0700) != 0)
        return mb_fail(error, MB_EIO, "tor.dir", "cannot make %s private: %s", dir,
                       strerror(errno));
    return 0;
}

/* A short folder for the sockets, since dir is too long for them. */
static int make_run_dir(struct tor_process *p, struct mb_error *error)
{
    static const char tail[] = "/magicbiz-XXXXXX";
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (base == NULL || base[0] != '/' ||
        strlen(base) + sizeof tail + sizeof "/control" > SOCKET_PATH_MAX ||
        check_path(base, "XDG_RUNTIME_DIR", NULL) != 0)
        base = "/tmp";
    p->run_dir = mb_asprintf("%s%s", base, tail);
    if (mkdtemp(p->run_dir) != NULL)
        return 0;
    int rc = mb_fail(error, MB_EIO, "tor.dir",
                     "%s is too long for sockets, and no folder could be made in %s: %s", p->dir,
                     base, strerror(errno));
    free(p->run_dir);
    p->run_dir = NULL;
    return rc;
}

/* tor takes both options only together; what is hidden in a further %include, GETCONF finds later.
 */
static int check_include(const char *path, struct mb_error *error)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return mb_fail(error, MB_EINVAL, "tor.options", "cannot read the torrc %s: %s", path,
                       strerror(errno));
    char *line = NULL;
    size_t cap = 0;
    bool bad = false;
    while (!bad && getline(&line, &cap, f) >= 0) {
        const char *p = line + strspn(line, " \t+/");
        bad = strncasecmp(p, "HiddenServiceSingleHopMode", 26) == 0 ||
              strncasecmp(p, "HiddenServiceNonAnonymousMode", 29) == 0;
    }
    free(line);
    fclose(f);
    return bad ? mb_fail(
                     error, MB_EINVAL, "tor.options",
                     "%s speaks of HiddenServiceSingleHopMode or "
                     "HiddenServiceNonAnonymousMode: remove it, the service would not be hidden",
                     path)
               : 0;
}

int tor_process_init(struct tor_process *p, const struct mb_tor_options *o, struct mb_error *error)
{
    int rc = check_path(o->dir, "the folder of tor", error);
    if (rc == 0 && (o->binary == NULL || o->binary[0] != '/'))
        rc = mb_fail(error, MB_EINVAL, "tor.options", "tor's program must be an absolute path");
    if (rc == 0 && o->include != NULL)
        rc = check_path(o->include, "the torrc to include", error);
    if (rc == 0 && o->include != NULL)
        rc = check_include(o->include, error);
    if (rc == 0)
        rc = make_private(o->dir, error);
    if (rc != 0)
        return rc;
    p->dir = mb_strdup(o->dir);
    p->binary = mb_strdup(o->binary);
    p->include = o->include != NULL ? mb_strdup(o->include) : NULL;
    if (strlen(p->dir) + strlen("/control") > SOCKET_PATH_MAX && (rc = make_run_dir(p, error)) != 0)
        return rc;
    const char *sockets = p->run_dir != NULL ? p->run_dir : p->dir;
    p->control = mb_asprintf("%s/control", sockets);
    p->socks = mb_asprintf("%s/socks", sockets);
    p->cookie = mb_asprintf("%s/cookie", p->dir);
    p->log = mb_asprintf("%s/tor.log", p->dir);
    return 0;
}

static int write_file(const char *dir, const char *name, struct mb_buf *text,
                      struct mb_error *error)
{
    char *path = mb_asprintf("%s/%s", dir, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = fd >= 0 && write(fd, mb_buf_text(text), text->len) == (ssize_t)text->len;
    int rc =
        ok ? 0 : mb_fail(error, MB_EIO, "tor.dir", "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

/*
 * No AvoidDiskWrites: with it tor keeps a new choice of guards in memory for ten minutes, and one
 * that is killed meanwhile chooses again; whoever can crash it could try guard after guard.
 */
static int write_torrc(const struct tor_process *p, struct mb_error *error)
{
    struct mb_buf t = {0};
    mb_buf_add_text(&t, "# Written anew at each start.\n");
    if (p->include != NULL)
        mb_buf_addf(&t, "%%include %s\n", p->include);
    mb_buf_addf(&t,
                "DataDirectory %s/data\n"
                "ControlPort unix:\"%s\"\n"
                "CookieAuthentication 1\n"
                "CookieAuthFile %s\n"
                "SocksPort unix:\"%s\" ExtendedErrors\n"
                "Log notice file %s\n"
                "SafeLogging 1\n"
                "ClientOnly 1\n"
                "DormantCanceledByStartup 1\n"
                "__OwningControllerProcess %ld\n",
                p->dir, p->control, p->cookie, p->socks, p->log, (long)getpid());
    int rc = write_file(p->dir, "torrc", &t, error);
    mb_buf_reset(&t);
    if (rc == 0) /* instead of the system's */
        rc = write_file(p->dir, "torrc-defaults", &t, error);
    mb_buf_clear(&t);
    return rc;
}

int tor_process_spawn(struct tor_process *p, struct mb_loop *loop,
                      void (*exited)(void *arg, int status), void *arg, struct mb_error *error)
{
    char *data = mb_asprintf("%s/data", p->dir), *torrc = mb_asprintf("%s/torrc", p->dir);
    char *defaults = mb_asprintf("%s/torrc-defaults", p->dir), *home = mb_asprintf("HOME=%s", data);
    const char *argv[] = {p->binary, "-f", torrc, "--defaults-torrc", defaults, NULL};
    const char *env[] = {home, "PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", NULL};
    int rc = make_private(data, error);
    if (rc == 0)
        rc = write_torrc(p, error);
    unlink(p->control);
    int log = open(p->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (rc == 0 && log < 0)
        rc = mb_fail(error, MB_EIO, "tor.dir", "cannot write %s: %s", p->log, strerror(errno));
    if (rc == 0) {
        struct mb_child_spec spec = {
            .argv = argv, .env = env, .std = {MB_NULL, log, log}, .exited = exited, .arg = arg};
        rc = mb_child_spawn(&p->child, loop, &spec, NULL, error);
    }
    if (log >= 0)
        close(log);
    free(data);
    free(torrc);
    free(defaults);
    free(home);
    return rc;
}

void tor_process_stop(struct tor_process *p)
{
    if (p->child == NULL)
        return;
    siginfo_t info = {0};
    id_t pid = (id_t)mb_child_pid(p->child);
    mb_child_kill(p->child, SIGTERM);
    for (int i = 0; i < STOP_MS / 10 && pid != 0 && info.si_pid == 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        if (waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0)
            break;
    }
    mb_child_free(p->child);
    p->child = NULL;
}

void tor_process_clear(struct tor_process *p)
{
    tor_process_stop(p);
    if (p->run_dir != NULL) {
        unlink(p->control);
        unlink(p->socks);
        rmdir(p->run_dir);
    }
    char *owned[] = {p->dir,   p->include, p->binary, p->control,
                     p->socks, p->cookie,  p->log,    p->run_dir};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        free(owned[i]);
    *p = (struct tor_process){0};
}

void tor_process_complaint(const struct tor_process *p, char *out, size_t size)
{
    char tail[4096];
    const char *last = "";
    int fd = open(p->log, O_RDONLY | O_CLOEXEC);
    off_t end = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)sizeof tail - 1 ? end - (off_t)sizeof tail + 1 : 0;
    ssize_t n = fd < 0 ? 0 : pread(fd, tail, sizeof tail - 1, from);
    if (fd >= 0)
        close(fd);
    tail[n > 0 ? n : 0] = '\0';
    for (char *line = tail, *next; line != NULL; line = next) {
        if ((next = strchr(line, '\n')) != NULL)
            *next++ = '\0';
        char *level = strstr(line, "[warn] ");
        if (level == NULL)
            level = strstr(line, "[err] ");
        if (level != NULL && strstr(level, "see warnings above") == NULL)
            last = strchr(level, ' ') + 1;
    }
    mb_snprintf(out, size, "%s", last);
}
