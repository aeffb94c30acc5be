/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "peers.h"

#define PENDING_MAX 65536

void relay_cut(struct relay *r)
{
    for (int i = 0; i < 2; i++) {
        struct relay_side *s = &r->side[i];
        mb_buf_reset(&s->pending);
        if (s->fd < 0)
            continue;
        mb_watch_free(s->watch);
        close(s->fd);
        s->fd = -1;
    }
    if (r->cut_max != 0)
        r->left = r->cut_min + r->cuts * 7919u % (r->cut_max - r->cut_min + 1);
}

static void set_watch(struct relay_side *s)
{
    unsigned what = 0;
    if (!s->relay->frozen && s->other->pending.len < PENDING_MAX)
        what |= MB_READ;
    if (s->pending.len > 0)
        what |= MB_WRITE;
    mb_watch_set(s->watch, what);
}

void relay_freeze(struct relay *r, bool frozen)
{
    r->frozen = frozen;
    for (int i = 0; i < 2; i++)
        if (r->side[i].fd >= 0)
            set_watch(&r->side[i]);
}

static bool write_pending(struct relay_side *s)
{
    if (s->pending.len == 0)
        return true;
    ssize_t n = send(s->fd, s->pending.data, s->pending.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0)
        mb_buf_consume(&s->pending, (size_t)n);
    return n > 0 || errno == EAGAIN;
}

static bool read_side(struct relay_side *s)
{
    struct relay *r = s->relay;
    uint8_t bytes[16384];
    ssize_t n = read(s->fd, bytes, sizeof bytes);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0)
        return false;
    size_t len = (size_t)n < r->left ? (size_t)n : r->left;
    if (r->recording && s == &r->side[0])
        mb_buf_add(&r->record, bytes, len);
    mb_buf_add(&s->other->pending, bytes, len);
    if (r->left == SIZE_MAX)
        return true;
    r->left -= len;
    if (r->left > 0)
        return true;
    write_pending(s->other);
    r->cuts++;
    return false;
}

static void side_ready(void *arg, unsigned what)
{
    struct relay_side *s = arg;
    struct relay *r = s->relay;
    bool whole = true;
    if (what & MB_READ)
        whole = read_side(s) && write_pending(s->other);
    if (whole && (what & MB_WRITE))
        whole = write_pending(s);
    if (!whole) {
        relay_cut(r);
        return;
    }
    set_watch(&r->side[0]);
    set_watch(&r->side[1]);
}

static void relay_accept(void *arg, unsigned what)
{
    (void)what;
    struct relay *r = arg;
    int fds[2] = {accept4(r->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), -1};
    if (fds[0] >= 0 && !r->shut)
        fds[1] = mb_unix_connect(r->w->ends[r->to].path, NULL);
    if (fds[1] < 0) {
        if (fds[0] >= 0)
            close(fds[0]);
        return;
    }
    relay_cut(r);
    for (int i = 0; i < 2; i++) {
        struct relay_side *s = &r->side[i];
        s->fd = fds[i];
        s->watch = mb_watch_new(r->w->loop, s->fd, side_ready, s);
    }
    set_watch(&r->side[0]);
    set_watch(&r->side[1]);
}

static void relay_init(struct relay *r, struct world *w, unsigned to, int channel)
{
    *r = (struct relay){.w = w, .to = to, .left = SIZE_MAX};
    for (int i = 0; i < 2; i++)
        r->side[i] = (struct relay_side){.relay = r, .other = &r->side[!i], .fd = -1};
    mb_snprintf(r->path, sizeof r->path, "%s/relay%u.%d", w->dir, to, channel);
    r->listen_fd = mb_unix_listen(r->path, 0600, NULL);
    r->accept = mb_watch_new(w->loop, r->listen_fd, relay_accept, r);
    mb_watch_set(r->accept, MB_READ);
}

static void relay_clear(struct relay *r)
{
    relay_cut(r);
    mb_watch_free(r->accept);
    close(r->listen_fd);
    unlink(r->path);
    for (int i = 0; i < 2; i++)
        mb_buf_clear(&r->side[i].pending);
    mb_buf_clear(&r->record);
}

void world_init(struct world *w)
{
    *w = (struct world){.dir = "/tmp/mb-peer-XXXXXX", .heartbeat_ms = 500};
    if (mkdtemp(w->dir) == NULL)
        abort();
    w->loop = mb_loop_new();
    w->org = mb_sha256("org", 3);
    for (unsigned n = 1; n <= ENDS; n++) {
        struct end *e = &w->ends[n];
        uint8_t seed[32] = {(uint8_t)n};
        e->w = w;
        e->number = n;
        mb_secret_key_from_seed(&e->key, seed);
        mb_snprintf(e->path, sizeof e->path, "%s/end%u", w->dir, n);
        w->members[n - 1] =
            (struct mb_peer_member){.number = n, .key = e->key.public_key, .onion = ""};
        for (int c = 0; c < MB_PEER_CHANNELS; c++)
            relay_init(&w->relays[n][c], w, n, c);
    }
}

void world_stop(struct world *w, unsigned n)
{
    mb_peers_free(w->ends[n].peers);
    w->ends[n].peers = NULL;
}

void world_clear(struct world *w)
{
    for (unsigned n = 1; n <= ENDS; n++) {
        world_stop(w, n);
        for (int c = 0; c < MB_PEER_CHANNELS; c++)
            relay_clear(&w->relays[n][c]);
    }
    mb_loop_once(w->loop, 0);
    mb_loop_free(w->loop);
    if (rmdir(w->dir) != 0)
        abort(); /* something was left behind there */
}

static int resolve(void *arg, uint32_t number, enum mb_peer_channel channel, char *path,
                   size_t size)
{
    const struct end *e = arg;
    const struct world *w = e->w;
    return mb_snprintf(path, size, "%s",
                       w->relayed ? w->relays[number][channel].path : w->ends[number].path);
}

static void on_frame(void *arg, uint32_t from, uint64_t epoch, struct mb_bytes bytes)
{
    struct end *e = arg;
    e->epoch = epoch;
    e->bytes += bytes.len;
    if (e->on_frame != NULL) {
        e->on_frame(e, from, bytes);
        return;
    }
    struct mb_cursor c = mb_cursor(bytes);
    uint64_t counter = mb_cursor_u64(&c);
    uint8_t fill = (uint8_t)counter;
    bool whole = !c.failed;
    while (c.p < c.end)
        whole = whole && *c.p++ == fill;
    if (!whole || counter != e->last[from] + 1)
        e->wrong++;
    e->last[from] = counter;
    e->count[from]++;
}

static void on_changed(void *arg)
{
    struct end *e = arg;
    e->changes++;
}

static void on_ask(void *arg, uint32_t from, uint32_t kind, struct mb_bytes request, int body_fd,
                   uint64_t body_len, struct mb_peer_reply *reply)
{
    struct end *e = arg;
    e->on_ask(e, from, kind, request, body_fd, body_len, reply);
}

void world_start(struct world *w, unsigned n, uint64_t incarnation, size_t count)
{
    struct end *e = &w->ends[n];
    struct mb_peers_options o = {
        .loop = w->loop,
        .org = w->org,
        .self = n,
        .incarnation = incarnation,
        .key = &e->key,
        .listen = e->path,
        .temp_dir = w->dir,
        .resolve = resolve,
        .heartbeat_ms = w->heartbeat_ms,
        .queue_bytes = w->queue_bytes,
        .body_bytes = w->body_bytes,
        .on_frame = on_frame,
        .on_ask = e->on_ask != NULL ? on_ask : NULL,
        .changed = on_changed,
        .arg = e,
    };
    if (mb_peers_new(&e->peers, &o, NULL) != 0 ||
        mb_peers_set_members(e->peers, w->members, count, 7, NULL) != 0)
        abort();
}

bool world_until(struct world *w, bool (*done)(struct world *w), int64_t timeout_ms)
{
    int64_t end_ms = mb_now_ms() + timeout_ms;
    while (!done(w)) {
        if (mb_now_ms() >= end_ms)
            return false;
        mb_loop_once(w->loop, 20);
    }
    return true;
}

void world_run(struct world *w, int64_t for_ms)
{
    int64_t end_ms = mb_now_ms() + for_ms;
    for (int64_t now_ms; (now_ms = mb_now_ms()) < end_ms;)
        mb_loop_once(w->loop, (int)(end_ms - now_ms));
}

bool world_up(struct world *w, unsigned a, unsigned b)
{
    struct mb_peer_status s, t;
    return w->ends[a].peers != NULL && w->ends[b].peers != NULL &&
           mb_peers_status(w->ends[a].peers, b, &s) && mb_peers_status(w->ends[b].peers, a, &t) &&
           s.up[0] && s.up[1] && t.up[0] && t.up[1];
}

void end_send(struct end *e, uint32_t to, uint64_t counter, size_t len)
{
    struct mb_buf b = {0};
    mb_buf_add_u64(&b, counter);
    mb_buf_reserve(&b, len - 8);
    memset(b.data + 8, (int)(uint8_t)counter, len - 8);
    b.len = len;
    if (mb_peers_send(e->peers, to, mb_buf_bytes(&b)) != 0)
        abort();
    mb_buf_clear(&b);
}
