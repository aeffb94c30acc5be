/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Running other programs: git, ssh-keygen. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

/* The child's standard input is a file, so that neither side can block the other. */
static int input_file(struct mb_bytes in)
{
    char path[] = "/tmp/magicbiz-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    unlink(path);
    for (size_t done = 0; done < in.len;) {
        ssize_t n = write(fd, in.data + done, in.len - done);
        if (n <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static int read_output(int fd, struct mb_buf *out)
{
    for (;;) {
        mb_buf_reserve(out, 65536);
        ssize_t n = read(fd, out->data + out->len, 65536);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        out->len += (size_t)n;
        if (out->len > (64u << 20))
            return -1;
    }
}

int cli_run(const char *const *argv, struct mb_bytes in, struct mb_buf *out, struct mb_error *error)
{
    int ends[2] = {-1, -1}, input = input_file(in), status = 0;
    if (input < 0 || (out != NULL && pipe(ends) != 0))
        return mb_fail(error, MB_EIO, "run", "%s: %s", argv[0], strerror(errno));
    pid_t child = fork();
    if (child == 0) {
        dup2(input, STDIN_FILENO);
        if (out != NULL)
            dup2(ends[1], STDOUT_FILENO);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    close(input);
    if (ends[1] >= 0)
        close(ends[1]);
    int rc = child < 0 ? -1 : out != NULL ? read_output(ends[0], out) : 0;
    if (ends[0] >= 0)
        close(ends[0]);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (out != NULL)
        mb_buf_text(out);
    if (rc < 0 || !WIFEXITED(status) || WEXITSTATUS(status) == 127)
        return mb_fail(error, MB_EIO, "run", "%s cannot be run: is it installed?", argv[0]);
    return WEXITSTATUS(status);
}

char *cli_git_line(const char *const *argv)
{
    struct mb_buf out = {0};
    char *line = NULL;
    if (cli_run(argv, mb_bytes(NULL, 0), &out, NULL) == 0) {
        mb_buf_text(&out)[strcspn(mb_buf_text(&out), "\n")] = 0;
        line = mb_strdup(mb_buf_text(&out));
    }
    mb_buf_clear(&out);
    return line;
}
