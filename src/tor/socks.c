/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tor/internal.h"

struct mb_socks {
    struct mb_loop *loop;
    int fd;
    struct mb_watch *watch;
    struct mb_timer *timer;
    enum tor_socks_phase phase;
    bool authenticated;
    struct mb_buf out; /* still to be sent */
    uint8_t message[TOR_SOCKS_MESSAGE_MAX];
    size_t len;
    char host[MB_ONION_SIZE], isolation[256];
    uint16_t port;
    struct mb_error error; /* known before anything was sent */
    void (*done)(void *arg, int fd, const struct mb_error *error);
    void *arg;
};

/* RFC 1928, 6, and tor's own (socks-extensions, "Extended error codes"). */
static const char *reason(uint8_t reply)
{
    switch (reply) {
    case 0x01:
        return "tor failed; is it connected to the network?";
    case 0x02:
        return "tor's rules forbid it";
    case 0x04:
        return "the onion service cannot be reached";
    case 0x05:
        return "the onion service refused the connection";
    case 0x06:
        return "tor gave up waiting";
    case 0xF0:
        return "its descriptor is not there: the service is not up, or came up a moment ago";
    case 0xF1:
        return "its descriptor is invalid";
    case 0xF2:
        return "its introduction points do not answer";
    case 0xF3:
        return "no rendezvous with it came about";
    case 0xF4:
    case 0xF5:
        return "it wants client authorization";
    case 0xF6:
        return "the address is malformed";
    case 0xF7:
        return "introduction to it timed out";
    default:
        return "tor refused";
    }
}

static int broken(struct mb_error *error)
{
    return mb_fail(error, MB_EINVAL, "socks.protocol",
                   "what answers is no SOCKS5 proxy of tor's: is this tor's SOCKS socket?");
}

static int parse_reply(const uint8_t *m, size_t len, struct mb_error *error)
{
    if (len < 5)
        return 5;
    if (m[0] != 5 || m[2] != 0)
        return broken(error);
    if (m[1] != 0)
        return mb_fail(error, MB_EREACH, "socks.unreachable", "cannot reach the onion service: %s",
                       reason(m[1]));
    switch (m[3]) {
    case 1:
        return 4 + 4 + 2;
    case 3:
        return 4 + 1 + m[4] + 2;
    case 4:
        return 4 + 16 + 2;
    default:
        return broken(error);
    }
}

int tor_socks_parse(enum tor_socks_phase phase, bool authenticated, const uint8_t *message,
                    size_t len, struct mb_error *error)
{
    if (phase == TOR_SOCKS_REPLY)
        return parse_reply(message, len, error);
    if (len < 2)
        return 2;
    uint8_t first = phase == TOR_SOCKS_METHOD ? 5 : 1;
    uint8_t second = phase == TOR_SOCKS_METHOD && authenticated ? 2 : 0;
    return message[0] == first && message[1] == second ? 2 : broken(error);
}

static void clear(struct mb_socks *s)
{
    mb_watch_free(s->watch);
    mb_timer_free(s->timer);
    if (s->fd >= 0)
        close(s->fd);
    mb_buf_clear(&s->out);
    free(s);
}

void mb_socks_cancel(struct mb_socks *s)
{
    if (s != NULL)
        clear(s);
}

static void finish(struct mb_socks *s, const struct mb_error *error)
{
    void (*done)(void *, int, const struct mb_error *) = s->done;
    void *arg = s->arg;
    struct mb_error e = error != NULL ? *error : (struct mb_error){0};
    int fd = error != NULL ? -1 : s->fd;
    if (error == NULL)
        s->fd = -1;
    clear(s);
    done(arg, fd, error != NULL ? &e : NULL);
}

static void fail(struct mb_socks *s, enum mb_err err, const char *code, const char *text)
{
    struct mb_error e;
    mb_fail(&e, err, code, "%s", text);
    finish(s, &e);
}

static void on_timer(void *arg)
{
    struct mb_socks *s = arg;
    if (s->error.code[0] != '\0')
        finish(s, &s->error);
    else
        fail(s, MB_EREACH, "socks.timeout", "the onion service did not answer in time");
}

static void start_phase(struct mb_socks *s, enum tor_socks_phase phase)
{
    s->phase = phase;
    s->len = 0;
    if (phase == TOR_SOCKS_METHOD) {
        mb_buf_add(&s->out, s->authenticated ? "\5\1\2" : "\5\1\0", 3);
    } else if (phase == TOR_SOCKS_AUTH) {
        /* tor only compares them; the password must not be empty */
        mb_buf_add_u8(&s->out, 1);
        mb_buf_add_u8(&s->out, (uint8_t)strlen(s->isolation));
        mb_buf_add_text(&s->out, s->isolation);
        mb_buf_add(&s->out, "\1x", 2);
    } else {
        mb_buf_add(&s->out, "\5\1\0\3", 4);
        mb_buf_add_u8(&s->out, MB_ONION_LEN);
        mb_buf_add_text(&s->out, s->host);
        mb_buf_add_u16(&s->out, s->port);
    }
    mb_watch_set(s->watch, MB_READ | MB_WRITE);
}

/* False if the connection broke. */
static bool flush(struct mb_socks *s)
{
    if (s->out.len == 0)
        return true;
    ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    mb_buf_consume(&s->out, (size_t)n);
    if (s->out.len == 0)
        mb_watch_set(s->watch, MB_READ);
    return true;
}

static void on_ready(void *arg, unsigned what)
{
    struct mb_socks *s = arg;
    struct mb_error e = {0};
    if ((what & MB_WRITE) != 0 && !flush(s)) {
        fail(s, MB_EREACH, "socks.closed", "tor closed its SOCKS connection");
        return;
    }
    while ((what & MB_READ) != 0) {
        int whole = tor_socks_parse(s->phase, s->authenticated, s->message, s->len, &e);
        if (whole < 0) {
            finish(s, &e);
            return;
        }
        if ((size_t)whole == s->len) {
            if (s->phase == TOR_SOCKS_REPLY) {
                finish(s, NULL);
                return;
            }
            start_phase(s, s->phase == TOR_SOCKS_METHOD && s->authenticated ? TOR_SOCKS_AUTH
                                                                            : TOR_SOCKS_REPLY);
            continue;
        }
        /* never more than the message: what follows belongs to the stream */
        ssize_t n = recv(s->fd, s->message + s->len, (size_t)whole - s->len, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            fail(s, MB_EREACH, "socks.closed", "tor closed its SOCKS connection");
            return;
        }
        s->len += (size_t)n;
    }
}

static int open_socket(struct mb_socks *s, const char *path, const char *host,
                       const char *isolation)
{
    if (!mb_onion_decode(NULL, host))
        return mb_fail(&s->error, MB_EINVAL, "socks.clearnet",
                       "only onion addresses of version 3 in lower case are connected to");
    /* "<torS0X>" begins tor's own extensions of these fields */
    if (isolation != NULL && (strlen(isolation) == 0 || strlen(isolation) > 255 ||
                              strncmp(isolation, "<torS0X>", 8) == 0))
        return mb_fail(&s->error, MB_EINVAL, "socks.isolation",
                       "the text that keeps streams apart has 1 to 255 bytes");
    memcpy(s->host, host, MB_ONION_SIZE);
    s->authenticated = isolation != NULL;
    if (isolation != NULL)
        memcpy(s->isolation, isolation, strlen(isolation));
    if (path == NULL)
        return mb_fail(&s->error, MB_EREACH, "socks.proxy", "there is no tor to connect through");
    struct mb_error e;
    s->fd = mb_unix_connect(path, &e);
    if (s->fd < 0)
        return mb_fail(&s->error, MB_EREACH, "socks.proxy", "tor is not there (%s): does it run?",
                       e.text);
    return 0;
}

struct mb_socks *mb_socks_connect(struct mb_loop *loop, const char *socks_path, const char *host,
                                  uint16_t port, const char *isolation, int64_t timeout_ms,
                                  void (*done)(void *arg, int fd, const struct mb_error *error),
                                  void *arg)
{
    struct mb_socks *s = mb_calloc(1, sizeof *s);
    *s = (struct mb_socks){.loop = loop, .fd = -1, .port = port, .done = done, .arg = arg};
    s->timer = mb_timer_new(loop, on_timer, s);
    if (open_socket(s, socks_path, host, isolation) != 0) {
        mb_timer_set(s->timer, 0);
        return s;
    }
    mb_timer_set(s->timer, timeout_ms);
    s->watch = mb_watch_new(loop, s->fd, on_ready, s);
    start_phase(s, TOR_SOCKS_METHOD);
    return s;
}
