/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "tools.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(bool fine, const char *what)
{
    if (fine)
        return;
    perror(what);
    abort();
}

char *tools_open(void)
{
    const char *base = getenv("TMPDIR");
    char *folder = mb_asprintf("%s/mb-tools-XXXXXX", base != NULL ? base : "/tmp");
    must(mkdtemp(folder) != NULL, folder);
    setenv("HOME", folder, 1);
    setenv("XDG_CONFIG_HOME", folder, 1);
    setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
    setenv("TZ", "UTC", 1);
    setenv("LC_ALL", "C", 1);
    unsetenv("SSH_AUTH_SOCK");
    unsetenv("GIT_DIR");
    return folder;
}

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *where)
{
    (void)s, (void)kind, (void)where;
    return remove(path);
}

void tools_close(char *folder)
{
    must(nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0, folder);
    free(folder);
}

void tools_empty(const char *folder)
{
    DIR *d = opendir(folder);
    must(d != NULL, folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        must(e->d_name[0] == '.' || unlinkat(dirfd(d), e->d_name, 0) == 0, e->d_name);
    closedir(d);
}

static char *path_in(const char *folder, const char *name)
{
    return mb_asprintf("%s/%s", folder, name);
}

int tools_run(const char *folder, struct mb_bytes input, struct mb_buf *out,
              const char *const argv[])
{
    tools_write(folder, ".input", input, 0600);
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid == 0) {
        int in, to;
        if (chdir(folder) != 0 || (in = open(".input", O_RDONLY)) < 0 ||
            (to = open(".output", O_WRONLY | O_CREAT | O_TRUNC, 0600)) < 0 || dup2(in, 0) < 0 ||
            dup2(to, 1) < 0 || dup2(to, 2) < 0)
            _exit(126);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    int status;
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    if (out != NULL)
        tools_read(folder, ".output", out);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void tools_write(const char *folder, const char *name, struct mb_bytes content, unsigned mode)
{
    char *path = path_in(folder, name);
    FILE *f = fopen(path, "wb");
    must(f != NULL && fwrite(content.data, 1, content.len, f) == content.len && fclose(f) == 0 &&
             chmod(path, mode) == 0,
         path);
    free(path);
}

void tools_read(const char *folder, const char *name, struct mb_buf *content)
{
    char *path = path_in(folder, name), chunk[4096];
    FILE *f = fopen(path, "rb");
    must(f != NULL, path);
    mb_buf_reset(content);
    size_t n;
    while ((n = fread(chunk, 1, sizeof chunk, f)) > 0)
        mb_buf_add(content, chunk, n);
    fclose(f);
    free(path);
}
