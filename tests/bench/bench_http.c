/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Requests a second over a Unix socket: POST of 700 bytes, 200 bytes of JSON back, keep-alive, one
 * outstanding on each connection. "at once" answers in the handler, "later" through mb_loop_post().
 * The server is a process of its own; its processor time is what one core would have to give.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "http/server.h"

#define CONNECTIONS 64
#define RUN_MS      2000
#define ASKED       700
#define ANSWERED    200

static char dir[] = "/tmp/mb-bench-XXXXXX";
static char path[sizeof dir + 8];
static struct mb_loop *loop;
static bool later;

static void reply(void *arg)
{
    static char text[ANSWERED];
    memset(text, ' ', sizeof text);
    text[0] = '{';
    text[sizeof text - 1] = '}';
    mb_reply(arg, 200, "application/json", mb_bytes(text, sizeof text), NULL);
}

static void on_body(struct mb_request *r, void *user, struct mb_bytes body)
{
    (void)user;
    if (body.len != ASKED)
        mb_reply_unknown(r);
    else if (later)
        mb_loop_post(loop, reply, r);
    else
        reply(r);
}

static void begin(void *self, struct mb_request *r)
{
    (void)self;
    mb_request_whole_body(r, 65536, on_body);
}

static void stop(void *arg)
{
    mb_loop_stop(arg);
}

static void serve(int ready)
{
    static const struct mb_route routes[] = {{"POST", "/v1/commands", false, begin}, {0}};
    struct mb_http_server *server;
    loop = mb_loop_new();
    struct mb_signal *term = mb_signal_new(loop, SIGTERM, stop, loop);
    if (mb_http_server_new(&server, loop, path, 0600, NULL, NULL) != 0 || write(ready, "", 1) != 1)
        exit(1);
    mb_http_server_routes(server, routes, NULL);
    mb_loop_run(loop);
    mb_http_server_free(server);
    mb_signal_free(term);
    mb_loop_free(loop);
    exit(0);
}

static struct mb_buf request;

static void ask(int fd)
{
    if (send(fd, request.data, request.len, MSG_NOSIGNAL) != (ssize_t)request.len) {
        perror("send");
        exit(1);
    }
}

/* Answers that were counted in RUN_MS; each is of the same size, found out by the first. */
static unsigned long run(int connections)
{
    struct pollfd fds[CONNECTIONS];
    size_t got[CONNECTIONS] = {0}, size = 0;
    char data[4096];
    unsigned long answers = 0;
    for (int i = 0; i < connections; i++) {
        fds[i] = (struct pollfd){.fd = mb_unix_connect(path, NULL), .events = POLLIN};
        ask(fds[i].fd);
    }
    while (size == 0) {
        ssize_t n = recv(fds[0].fd, data, sizeof data - 1, 0);
        got[0] += n > 0 ? (size_t)n : 0;
        if (n > 0 && data[n - 1] == '}')
            size = got[0];
    }
    ask(fds[0].fd);
    got[0] = 0;
    int64_t end = mb_now_ms() + RUN_MS;
    while (mb_now_ms() < end) {
        poll(fds, (nfds_t)connections, 1000);
        for (int i = 0; i < connections; i++) {
            if ((fds[i].revents & POLLIN) == 0)
                continue;
            ssize_t n = recv(fds[i].fd, data, sizeof data, MSG_DONTWAIT);
            if (n <= 0) {
                fprintf(stderr, "the server closed a connection\n");
                exit(1);
            }
            got[i] += (size_t)n;
            if (got[i] < size)
                continue;
            got[i] = 0;
            answers++;
            ask(fds[i].fd);
        }
    }
    for (int i = 0; i < connections; i++)
        close(fds[i].fd);
    return answers;
}

static void bench(int connections, bool answer_later)
{
    int ready[2];
    char byte;
    later = answer_later;
    if (pipe(ready) != 0)
        exit(1);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        serve(ready[1]);
    if (pid < 0 || read(ready[0], &byte, 1) != 1)
        exit(1);
    unsigned long answers = run(connections);
    struct rusage usage;
    int status;
    kill(pid, SIGTERM);
    wait4(pid, &status, 0, &usage);
    close(ready[0]);
    close(ready[1]);
    unsigned long cpu_us =
        (unsigned long)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000ul +
        (unsigned long)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    printf("http connections=%d answer=%s requests_s=%lu server_cpu_ns_each=%lu "
           "server_resident_kib=%ld\n",
           connections, later ? "later" : "at_once", answers * 1000 / RUN_MS,
           answers == 0 ? 0 : cpu_us * 1000 / answers, usage.ru_maxrss);
}

int main(void)
{
    if (mkdtemp(dir) == NULL || mb_snprintf(path, sizeof path, "%s/s", dir) != 0)
        return 1;
    mb_buf_addf(&request, "POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
                ASKED);
    for (int i = 0; i < ASKED; i++)
        mb_buf_add_u8(&request, 'x');
    for (int i = 0; i < 4; i++)
        bench(i < 2 ? 1 : CONNECTIONS, i % 2 == 1);
    mb_buf_clear(&request);
    rmdir(dir);
    return 0;
}
