/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT_S 0.7

struct client {
    int fd;
    double sent;
    size_t len;
    char answer[8192];
};

static void send_next(struct client *c, const struct mb_buf *request)
{
    c->sent = seconds();
    c->len = 0;
    must(send(c->fd, request->data, request->len, MSG_NOSIGNAL) == (ssize_t)request->len, "send");
}

/* True once the answer is whole; it must be a good one. */
static bool answered(struct client *c, const char *fine)
{
    ssize_t n = recv(c->fd, c->answer + c->len, sizeof c->answer - 1 - c->len, 0);
    must(n > 0, "an answer");
    c->len += (size_t)n;
    c->answer[c->len] = 0;
    const char *end = strstr(c->answer, "\r\n\r\n"),
               *length = strstr(c->answer, "Content-Length: ");
    if (end == NULL)
        return false;
    must(length != NULL && length < end, "an answer with a length");
    if (c->len < (size_t)(end + 4 - c->answer) + strtoul(length + 16, NULL, 10))
        return false;
    if (strncmp(c->answer, "HTTP/1.1 200 ", 13) != 0 || strstr(end, fine) == NULL) {
        fprintf(stderr, "%s\n", c->answer);
        must(false, "a command");
    }
    return true;
}

double load_run(const struct load *load, unsigned outstanding, const struct mb_buf *requests,
                unsigned count, double *latency)
{
    struct client *clients = mb_calloc(outstanding, sizeof *clients);
    struct epoll_event events[64];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    unsigned next = 0, done = 0;
    for (unsigned i = 0; i < outstanding; i++) {
        clients[i].fd = load->connect(load->arg);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &clients[i]};
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &e) == 0, "epoll_ctl");
    }
    double start = seconds();
    for (unsigned i = 0; i < outstanding; i++)
        send_next(&clients[i], &requests[next++]);
    while (done < count) {
        int n = epoll_wait(epoll, events, 64, 10000);
        must(n > 0, "waiting for answers");
        for (int i = 0; i < n; i++) {
            struct client *c = events[i].data.ptr;
            if (!answered(c, load->fine))
                continue;
            latency[done++] = seconds() - c->sent;
            if (next < count)
                send_next(c, &requests[next++]);
        }
    }
    double took = seconds() - start;
    for (unsigned i = 0; i < outstanding; i++)
        close(clients[i].fd);
    close(epoll);
    free(clients);
    return took;
}

static void *verify(void *arg)
{
    static const uint8_t seed[32] = {1};
    struct mb_secret_key key;
    uint8_t message[400] = {0}, sig[64];
    double *rate = arg, start = seconds(), took;
    unsigned n = 0;
    mb_secret_key_from_seed(&key, seed);
    mb_ed25519_sign(&key, mb_bytes(message, sizeof message), sig);
    do {
        must(mb_ed25519_verify(&key.public_key, mb_bytes(message, sizeof message), sig), "verify");
        n++;
        took = seconds() - start;
    } while (took < LIMIT_S);
    *rate = n / took;
    return NULL;
}

double verifications(unsigned threads)
{
    pthread_t *thread = mb_calloc(threads, sizeof *thread);
    double *rate = mb_calloc(threads, sizeof *rate), sum = 0;
    for (unsigned i = 0; i < threads; i++)
        must(pthread_create(&thread[i], NULL, verify, &rate[i]) == 0, "pthread_create");
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(thread[i], NULL);
        sum += rate[i];
    }
    free(thread);
    free(rate);
    return sum;
}
