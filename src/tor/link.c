/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tor/internal.h"

#define REPLY_TIMEOUT_MS 30000
#define EVENT_STATUS     650

struct request {
    tor_reply_fn *reply;
    void *arg;
    unsigned tag;
    struct request *next;
};

struct tor_link {
    int fd;
    struct mb_watch *watch;
    struct mb_timer *timer; /* no reply for too long; or, once broken, gone is to be called */
    struct mb_control_parser *parser;
    struct mb_buf out;
    struct request *first, **last; /* sent, not answered */
    bool broken;
    struct mb_error error;
    void (*event)(void *arg, const struct mb_control_reply *r);
    void (*gone)(void *arg, const struct mb_error *error);
    void *arg;
};

static struct request *pop(struct tor_link *l)
{
    struct request *r = l->first;
    l->first = r->next;
    if (l->first == NULL)
        l->last = &l->first;
    return r;
}

void tor_link_free(struct tor_link *l)
{
    if (l == NULL)
        return;
    mb_watch_free(l->watch);
    mb_timer_free(l->timer);
    mb_control_parser_free(l->parser);
    close(l->fd);
    mb_buf_clear(&l->out);
    while (l->first != NULL)
        free(pop(l));
    free(l);
}

void tor_link_fail(struct tor_link *l, const struct mb_error *error)
{
    if (l->broken)
        return;
    l->broken = true;
    l->error = *error;
    mb_watch_set(l->watch, 0);
    mb_timer_set(l->timer, 0);
}

static void fail(struct tor_link *l, const char *code, const char *text)
{
    struct mb_error e;
    mb_fail(&e, MB_EREACH, code, "%s", text);
    tor_link_fail(l, &e);
}

static void on_timer(void *arg)
{
    struct tor_link *l = arg;
    if (!l->broken) {
        fail(l, "tor.timeout", "tor does not answer on its control port: does it hang?");
        return;
    }
    struct mb_error e = l->error;
    l->gone(l->arg, &e);
}

static void on_reply(void *arg, const struct mb_control_reply *r)
{
    struct tor_link *l = arg;
    if (l->broken)
        return;
    if (r->status == EVENT_STATUS) {
        l->event(l->arg, r);
        return;
    }
    if (l->first == NULL) {
        fail(l, "tor.protocol", "the control port sent a reply to nothing");
        return;
    }
    struct request *q = pop(l);
    mb_timer_cancel(l->timer);
    if (l->first != NULL)
        mb_timer_set(l->timer, REPLY_TIMEOUT_MS);
    q->reply(q->arg, q->tag, r);
    free(q);
}

static void flush(struct tor_link *l)
{
    if (l->out.len > 0) {
        ssize_t n = send(l->fd, l->out.data, l->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            fail(l, "tor.closed", "the control connection was closed: did tor end?");
            return;
        }
        if (n > 0)
            mb_buf_consume(&l->out, (size_t)n);
    }
    mb_watch_set(l->watch, l->out.len > 0 ? MB_READ | MB_WRITE : MB_READ);
}

static void on_ready(void *arg, unsigned what)
{
    struct tor_link *l = arg;
    struct mb_error e;
    uint8_t bytes[16384];
    if ((what & MB_WRITE) != 0)
        flush(l);
    if ((what & MB_READ) == 0 || l->broken)
        return;
    ssize_t n = recv(l->fd, bytes, sizeof bytes, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        fail(l, "tor.closed", "the control connection was closed: did tor end?");
    else if (mb_control_feed(l->parser, mb_bytes(bytes, (size_t)n), on_reply, l, &e) != 0)
        tor_link_fail(l, &e);
}

void tor_link_send(struct tor_link *l, tor_reply_fn *reply, void *arg, unsigned tag,
                   const char *format, ...)
{
    if (l->broken)
        return;
    char *line;
    va_list ap;
    va_start(ap, format);
    if (vasprintf(&line, format, ap) < 0)
        abort();
    va_end(ap);
    mb_buf_add_text(&l->out, line);
    mb_buf_add_text(&l->out, "\r\n");
    free(line);
    struct request *q = mb_alloc(sizeof *q);
    *q = (struct request){.reply = reply, .arg = arg, .tag = tag};
    if (l->first == NULL)
        mb_timer_set(l->timer, REPLY_TIMEOUT_MS);
    *l->last = q;
    l->last = &q->next;
    flush(l);
}

struct tor_link *tor_link_new(struct mb_loop *loop, int fd,
                              void (*event)(void *arg, const struct mb_control_reply *r),
                              void (*gone)(void *arg, const struct mb_error *error), void *arg)
{
    struct tor_link *l = mb_calloc(1, sizeof *l);
    *l = (struct tor_link){
        .fd = fd, .parser = mb_control_parser_new(), .event = event, .gone = gone, .arg = arg};
    l->last = &l->first;
    l->timer = mb_timer_new(loop, on_timer, l);
    l->watch = mb_watch_new(loop, fd, on_ready, l);
    mb_watch_set(l->watch, MB_READ);
    return l;
}

int tor_control_parse(const char *control, uint16_t *port, struct mb_error *error)
{
    static const char host[] = "127.0.0.1:";
    unsigned long n = 0;
    if (control[0] != '/') {
        bool local = strncmp(control, host, sizeof host - 1) == 0;
        const char *digits = local ? control + sizeof host - 1 : "";
        char *end = NULL;
        n = digits[0] >= '1' && digits[0] <= '9' ? strtoul(digits, &end, 10) : 0;
        if (n == 0 || n > 65535 || *end != '\0')
            return mb_fail(error, MB_EINVAL, "tor.options",
                           "the control port is neither an absolute path nor 127.0.0.1:PORT");
    }
    if (port != NULL)
        *port = (uint16_t)n;
    return 0;
}

int tor_control_connect(const char *control, struct mb_error *error)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    uint16_t port;
    int rc = tor_control_parse(control, &port, error);
    if (rc != 0)
        return rc;
    if (port == 0)
        return mb_unix_connect(control, error);
    a.sin_port = htons(port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
        rc = mb_fail(error, MB_EREACH, "tor.connect", "cannot connect to %s: %s", control,
                     strerror(errno));
        if (fd >= 0)
            close(fd);
        return rc;
    }
    /* Nagle and delayed acknowledgements together cost 44 ms a command */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}
