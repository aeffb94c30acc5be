/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tor/internal.h"

#define TIMEOUT_MS 60000
#define STATUS_LEN 7 /* "HTTP/1." */

struct tor_probe {
    struct mb_loop *loop;
    struct mb_socks *socks;
    struct mb_watch *watch;
    struct mb_timer *timer;
    int fd;
    struct mb_buf out;
    char answer[STATUS_LEN];
    size_t len;
    void (*done)(void *arg, unsigned tag, const struct mb_error *error);
    void *arg;
    unsigned tag;
};

void tor_probe_cancel(struct tor_probe *p)
{
    if (p == NULL)
        return;
    mb_socks_cancel(p->socks);
    mb_watch_free(p->watch);
    mb_timer_free(p->timer);
    if (p->fd >= 0)
        close(p->fd);
    mb_buf_clear(&p->out);
    free(p);
}

static void finish(struct tor_probe *p, const struct mb_error *error)
{
    void (*done)(void *, unsigned, const struct mb_error *) = p->done;
    void *arg = p->arg;
    unsigned tag = p->tag;
    tor_probe_cancel(p);
    done(arg, tag, error);
}

static void fail(struct tor_probe *p, const char *text)
{
    struct mb_error e;
    mb_fail(&e, MB_EREACH, "tor.probe", "our own onion service %s", text);
    finish(p, &e);
}

static void on_timeout(void *arg)
{
    fail(arg, "did not answer in time");
}

static void on_ready(void *arg, unsigned what)
{
    struct tor_probe *p = arg;
    if ((what & MB_WRITE) != 0) {
        ssize_t n = send(p->fd, p->out.data, p->out.len, MSG_NOSIGNAL);
        if (n > 0)
            mb_buf_consume(&p->out, (size_t)n);
        if (p->out.len == 0)
            mb_watch_set(p->watch, MB_READ);
    }
    if ((what & MB_READ) == 0)
        return;
    ssize_t n = recv(p->fd, p->answer + p->len, STATUS_LEN - p->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fail(p, "closed the connection: does its server run?");
        return;
    }
    p->len += (size_t)n;
    if (p->len < STATUS_LEN)
        return;
    if (memcmp(p->answer, "HTTP/1.", STATUS_LEN) == 0)
        finish(p, NULL);
    else
        fail(p, "does not answer in HTTP");
}

static void on_connected(void *arg, int fd, const struct mb_error *error)
{
    struct tor_probe *p = arg;
    p->socks = NULL;
    if (fd < 0) {
        struct mb_error e = *error;
        finish(p, &e);
        return;
    }
    p->fd = fd;
    p->watch = mb_watch_new(p->loop, fd, on_ready, p);
    mb_watch_set(p->watch, MB_READ | MB_WRITE);
}

struct tor_probe *tor_probe_start(struct mb_loop *loop, const char *socks, const char *onion,
                                  uint16_t port,
                                  void (*done)(void *arg, unsigned tag, const struct mb_error *e),
                                  void *arg, unsigned tag)
{
    struct tor_probe *p = mb_calloc(1, sizeof *p);
    *p = (struct tor_probe){.loop = loop, .fd = -1, .done = done, .arg = arg, .tag = tag};
    mb_buf_addf(&p->out, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", onion);
    p->timer = mb_timer_new(loop, on_timeout, p);
    mb_timer_set(p->timer, TIMEOUT_MS);
    /* Credentials that nobody used before: no circuit is shared with anything. */
    uint8_t fresh[16];
    if (getentropy(fresh, sizeof fresh) != 0)
        abort();
    struct mb_buf isolation = {0};
    mb_hex_encode(&isolation, fresh, sizeof fresh);
    p->socks = mb_socks_connect(loop, socks, onion, port, mb_buf_text(&isolation), TIMEOUT_MS,
                                on_connected, p);
    mb_buf_clear(&isolation);
    return p;
}
