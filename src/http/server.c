/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "http/internal.h"
#include "loop/log.h"

#define IDLE_MS     120000
#define TICK_MS     1000
#define HEAD_MAX    16384
#define CONNECTIONS 256
#define POOL_BYTES  65536 /* MHD's memory for one connection: head, and buffers both ways */
#define ACCEPTS     32    /* in one turn of the loop */
#define SEND_BYTES  (512 << 10)

struct pump {
    struct mb_http_server *server; /* NULL once it was freed */
    bool posted;
};

static void conn_run(struct conn *c);

/* --- Connections: what MHD calls --- */

/* MHD logs this before it queues a page of its own (transmit_error_response_len() in its
 * connection.c); a test notices if another version does not. */
static void close_without_a_page(void *arg, const char *format, va_list args)
{
    static const char page[] = "Error processing request";
    struct conn *c = arg;
    (void)args;
    if (c->fd >= 0 && strncmp(format, page, sizeof page - 1) == 0)
        shutdown(c->fd, SHUT_RDWR);
}

static void *on_target(void *arg, const char *target, struct MHD_Connection *peer)
{
    struct conn *c = arg;
    c->request = request_new(c, peer, target);
    c->server->stats.requests++;
    return c->request;
}

static size_t keep_escapes(void *arg, struct MHD_Connection *peer, char *text)
{
    (void)arg;
    (void)peer;
    return strlen(text);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *peer, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *len, void **context)
{
    struct conn *c = arg;
    (void)peer;
    (void)url;
    (void)version;
    if (*context == NULL || c->dying)
        return MHD_NO;
    return request_step(*context, method, data, len);
}

static void on_completed(void *arg, struct MHD_Connection *peer, void **context,
                         enum MHD_RequestTerminationCode code)
{
    struct conn *c = arg;
    (void)peer;
    (void)code;
    struct mb_request *r = *context;
    *context = NULL;
    c->request = NULL;
    c->deadline = mb_now_ms() + c->server->options.idle_ms;
    if (c->server->draining)
        c->dying = true;
    if (r != NULL)
        request_free(r);
}

static void on_connection(void *arg, struct MHD_Connection *peer, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct conn *c = arg;
    (void)context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        c->peer = peer;
        return;
    }
    c->closed = true;
    c->fd = -1;
}

/* --- Connections --- */

static void listen_again(struct mb_http_server *s)
{
    bool room = s->stats.connections < s->options.connections_max;
    if (s->listen_watch != NULL)
        mb_watch_set(s->listen_watch, room ? MB_READ : 0);
}

static void drain_check(struct mb_http_server *s)
{
    if (!s->draining || s->stats.connections > 0 || s->drained == NULL)
        return;
    void (*drained)(void *) = s->drained;
    s->drained = NULL;
    mb_loop_post(s->loop, drained, s->drained_arg);
}

static void unqueue(struct conn *c)
{
    struct mb_http_server *s = c->server;
    struct conn *before = NULL;
    for (struct conn *i = s->queue_first; i != c; i = i->next_queued)
        before = i;
    if (before == NULL)
        s->queue_first = c->next_queued;
    else
        before->next_queued = c->next_queued;
    if (s->queue_last == c)
        s->queue_last = before;
    c->queued = false;
}

/* Never from within one of MHD's callbacks. */
static void conn_free(struct conn *c)
{
    struct mb_http_server *s = c->server;
    c->dying = true;
    if (c->watch != NULL)
        mb_watch_free(c->watch);
    if (c->suspended && !c->closed)
        MHD_resume_connection(c->peer);
    MHD_stop_daemon(c->mhd);
    if (c->queued)
        unqueue(c);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        s->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    s->stats.connections--;
    free(c);
    listen_again(s);
    drain_check(s);
}

static void post(struct pump *p);

static void run_queued(void *arg)
{
    struct pump *p = arg;
    p->posted = false;
    if (p->server == NULL) {
        free(p);
        return;
    }
    struct mb_http_server *s = p->server;
    for (struct conn *last = s->queue_last; s->queue_first != NULL;) {
        struct conn *c = s->queue_first;
        bool done = c == last; /* what is queued meanwhile waits for the loop's next turn */
        unqueue(c);
        conn_run(c);
        if (done)
            break;
    }
    if (s->queue_first != NULL)
        post(p);
}

static void post(struct pump *p)
{
    if (!p->posted)
        mb_loop_post(p->server->loop, run_queued, p);
    p->posted = true;
}

static void conn_queue(struct conn *c)
{
    struct mb_http_server *s = c->server;
    if (c->queued)
        return;
    c->queued = true;
    c->next_queued = NULL;
    if (s->queue_last == NULL)
        s->queue_first = c;
    else
        s->queue_last->next_queued = c;
    s->queue_last = c;
    post(s->pump);
}

void conn_suspend(struct conn *c)
{
    if (c->suspended)
        return;
    c->suspended = true;
    MHD_suspend_connection(c->peer);
}

void conn_wake(struct conn *c)
{
    if (!c->suspended || c->closed)
        return;
    c->suspended = false;
    MHD_resume_connection(c->peer);
    conn_queue(c);
}

void conn_kill(struct conn *c)
{
    c->dying = true;
    conn_queue(c);
}

static void conn_run(struct conn *c)
{
    if (c->server->mute)
        return;
    for (int turn = 0; turn < 16 && !c->closed && !c->dying && !c->server->mute; turn++) {
        MHD_UNSIGNED_LONG_LONG wait;
        MHD_run(c->mhd);
        if (MHD_get_timeout(c->mhd, &wait) != MHD_YES || wait > 0)
            break;
        if (turn == 15)
            conn_queue(c);
    }
    if (c->closed || c->dying)
        conn_free(c);
}

static void conn_ready(void *arg, unsigned what)
{
    (void)what;
    conn_run(arg);
}

static bool peer_allowed(const struct mb_http_server *s, int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;
    if (!s->options.operator_socket)
        return true;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 &&
           (who.uid == 0 || who.uid == geteuid());
}

static struct MHD_Daemon *mhd_new(struct conn *c)
{
    unsigned idle_s = (unsigned)((c->server->options.idle_ms + 999) / 1000);
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK |
            MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, c, MHD_OPTION_EXTERNAL_LOGGER, close_without_a_page, c,
        MHD_OPTION_URI_LOG_CALLBACK, on_target, c, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, c,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, c, MHD_OPTION_NOTIFY_CONNECTION, on_connection,
        c, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES, MHD_OPTION_CONNECTION_TIMEOUT,
        idle_s, MHD_OPTION_CONNECTION_LIMIT, 1u, MHD_OPTION_END);
}

static void conn_new(struct mb_http_server *s, int fd)
{
    struct conn *c = mb_calloc(1, sizeof *c);
    c->server = s;
    c->fd = -1;
    c->id = ++s->last_id;
    c->deadline = mb_now_ms() + s->options.idle_ms;
    c->mhd = mhd_new(c);
    if (c->mhd == NULL) {
        mb_log(MB_LOG_WARN, "http", "accept", "error=out_of_descriptors");
        close(fd);
        free(c);
        return;
    }
    struct sockaddr_un nobody = {.sun_family = AF_UNIX};
    c->fd = fd;
    c->next = s->conns;
    if (c->next != NULL)
        c->next->prev = c;
    s->conns = c;
    if (s->stats.connections++ == 0)
        mb_timer_set(s->tick, s->options.idle_ms < TICK_MS * 4 ? s->options.idle_ms / 4 : TICK_MS);
    if (MHD_add_connection(c->mhd, fd, (struct sockaddr *)&nobody, sizeof nobody) != MHD_YES) {
        c->closed = true;
        conn_free(c);
        return;
    }
    c->watch = mb_watch_new(
        s->loop, MHD_get_daemon_info(c->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd, conn_ready, c);
    mb_watch_set(c->watch, MB_READ);
    conn_run(c);
}

/* A long answer costs a switch to the client and back each time the buffer is full. The kernel
 * gives less where net.core.wmem_max says so: then with 212,992, as Debian has it, twice the
 * default. */
static void widen(int fd)
{
    int room = SEND_BYTES;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
}

static void on_listen(void *arg, unsigned what)
{
    struct mb_http_server *s = arg;
    (void)what;
    for (int i = 0; i < ACCEPTS && s->stats.connections < s->options.connections_max; i++) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            break;
        widen(fd);
        if (peer_allowed(s, fd))
            conn_new(s, fd);
        else
            close(fd);
    }
    listen_again(s);
}

/* --- Deadlines, and clients that left while nobody read from them --- */

static bool has_left(const struct conn *c)
{
    struct pollfd p = {.fd = c->fd};
    return c->suspended && poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLERR)) != 0;
}

static void on_tick(void *arg)
{
    struct mb_http_server *s = arg;
    int64_t now = mb_now_ms();
    bool over = s->draining && now >= s->drain_until;
    for (struct conn *c = s->conns, *next; c != NULL; c = next) {
        MHD_UNSIGNED_LONG_LONG wait;
        next = c->next;
        if (over || (c->deadline != 0 && now >= c->deadline) || has_left(c))
            conn_free(c);
        else if (MHD_get_timeout(c->mhd, &wait) == MHD_YES && wait == 0)
            conn_run(c);
    }
    int64_t period = s->options.idle_ms < TICK_MS * 4 ? s->options.idle_ms / 4 : TICK_MS;
    if (s->draining && s->drain_until - now < period)
        period = s->drain_until - now;
    if (s->conns != NULL)
        mb_timer_set(s->tick, period > 0 ? period : 1);
}

/* --- The server --- */

int mb_http_server_new(struct mb_http_server **out, struct mb_loop *loop, const char *socket_path,
                       unsigned socket_mode, const struct mb_http_options *options,
                       struct mb_error *error)
{
    int fd = mb_unix_listen(socket_path, socket_mode, error);
    if (fd < 0)
        return fd;
    struct mb_http_server *s = mb_calloc(1, sizeof *s);
    s->loop = loop;
    s->path = mb_strdup(socket_path);
    if (options != NULL)
        s->options = *options;
    if (s->options.connections_max == 0)
        s->options.connections_max = CONNECTIONS;
    if (s->options.idle_ms == 0)
        s->options.idle_ms = IDLE_MS;
    if (s->options.head_max == 0)
        s->options.head_max = HEAD_MAX;
    s->pump = mb_calloc(1, sizeof *s->pump);
    s->pump->server = s;
    s->tick = mb_timer_new(loop, on_tick, s);
    s->listen_fd = fd;
    s->listen_watch = mb_watch_new(loop, fd, on_listen, s);
    mb_watch_set(s->listen_watch, MB_READ);
    *out = s;
    return 0;
}

static void stop_listening(struct mb_http_server *s)
{
    if (s->listen_watch == NULL)
        return;
    mb_watch_free(s->listen_watch);
    s->listen_watch = NULL;
    close(s->listen_fd);
    unlink(s->path);
}

void mb_http_server_drain(struct mb_http_server *s, int64_t grace_ms, void (*done)(void *arg),
                          void *arg)
{
    stop_listening(s);
    s->draining = true;
    s->drain_until = mb_now_ms() + grace_ms;
    s->drained = done;
    s->drained_arg = arg;
    for (struct conn *c = s->conns; c != NULL; c = c->next)
        if (c->request == NULL)
            conn_kill(c);
    if (s->conns != NULL)
        mb_timer_set(s->tick, grace_ms < TICK_MS ? grace_ms : TICK_MS);
    drain_check(s);
}

void mb_http_server_mute(struct mb_http_server *s)
{
    if (s != NULL)
        s->mute = true;
}

void mb_http_server_free(struct mb_http_server *s)
{
    if (s == NULL)
        return;
    stop_listening(s);
    s->drained = NULL;
    while (s->conns != NULL)
        conn_free(s->conns);
    mb_timer_free(s->tick);
    s->pump->server = NULL;
    if (!s->pump->posted)
        free(s->pump);
    free(s->tables);
    free(s->path);
    free(s);
}

void mb_http_server_routes(struct mb_http_server *s, const struct mb_route *routes, void *self)
{
    s->tables = mb_realloc(s->tables, (s->table_count + 1) * sizeof *s->tables);
    s->tables[s->table_count].routes = routes;
    s->tables[s->table_count++].self = self;
}

struct mb_http_stats mb_http_stats(const struct mb_http_server *s)
{
    return s->stats;
}
