/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * relay [--record FILE] SOCKET: a SOCKS5 server on loopback that leads every name to one Unix
 * socket, so that stock git reaches a daemon without tor by its real URL. Prints its port, and
 * serves until it is killed. --record appends what clients send.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int record = -1;

static int read_all(int fd, unsigned char *to, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t got = read(fd, to + done, n - done);
        if (got <= 0)
            return -1;
        done += (size_t)got;
    }
    return 0;
}

static int write_all(int fd, const void *from, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t put = write(fd, (const char *)from + done, n - done);
        if (put <= 0)
            return -1;
        done += (size_t)put;
    }
    return 0;
}

/* RFC 1928 without authentication, or RFC 1929 with any: names only. */
static int greet(int fd)
{
    unsigned char b[600];
    if (read_all(fd, b, 2) != 0 || b[0] != 5 || read_all(fd, b + 2, b[1]) != 0)
        return -1;
    unsigned char method = memchr(b + 2, 2, b[1]) != NULL ? 2 : 0;
    if (write_all(fd, (unsigned char[]){5, method}, 2) != 0)
        return -1;
    if (method == 2) {
        if (read_all(fd, b, 2) != 0 || read_all(fd, b + 2, (size_t)b[1] + 1) != 0 ||
            read_all(fd, b + 300, b[2 + b[1]]) != 0 ||
            write_all(fd, (unsigned char[]){1, 0}, 2) != 0)
            return -1;
    }
    if (read_all(fd, b, 5) != 0 || b[1] != 1 || b[3] != 3 ||
        read_all(fd, b + 5, (size_t)b[4] + 2) != 0)
        return -1;
    return write_all(fd, (unsigned char[]){5, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 10);
}

static int pass(int from, int to, int copy)
{
    char block[65536];
    ssize_t n = read(from, block, sizeof block);
    if (n <= 0)
        return -1;
    if (copy >= 0)
        (void)write_all(copy, block, (size_t)n);
    return write_all(to, block, (size_t)n);
}

static void serve(int client, const char *path)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path);
    if (greet(client) != 0 || connect(server, (struct sockaddr *)&un, sizeof un) != 0)
        return;
    struct pollfd p[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    while (poll(p, 2, -1) > 0 || errno == EINTR) {
        if (p[0].revents != 0 && pass(client, server, record) != 0)
            return;
        if (p[1].revents != 0 && pass(server, client, -1) != 0)
            return;
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof in;
    if (argc == 4 && strcmp(argv[1], "--record") == 0)
        record = open(argv[2], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    else if (argc != 2)
        return 2;
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&in, sizeof in) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&in, &len) != 0)
        return 1;
    printf("%d\n", ntohs(in.sin_port));
    fflush(stdout);
    for (;;) {
        int client = accept(fd, NULL, NULL);
        if (client < 0)
            continue;
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            close(fd);
            serve(client, argv[argc - 1]);
            _exit(0);
        }
        close(client);
    }
}
