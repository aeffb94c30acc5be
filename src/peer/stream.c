/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One connection: descriptor, TLS, messages, heartbeats. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/log.h"
#include "peer/internal.h"

#define HANDSHAKE_MS 30000
#define GATHER_LEN   32768     /* of messages, before they become TLS records */
#define GATHERS      8         /* at one event, so that callbacks stay short */
#define READ_LEN     65536     /* bytes of one read */
#define READS        4         /* at one event */
#define OUT_MAX      (1 << 20) /* records that TLS made by itself while nothing could be written */

static void stream_ready(void *arg, unsigned what);
static void stream_timer(void *arg);

/* A dialler knows whom it dials. Who dials us has a lower number than we have. */
static bool key_known(void *arg, const struct mb_public_key *key)
{
    const struct stream *s = arg;
    if (s->dialled)
        return mb_public_key_equal(key, &s->peer->member.key);
    for (const struct peer *peer = s->p->peers; peer != NULL; peer = peer->next)
        if (mb_public_key_equal(key, &peer->member.key))
            return peer->member.number < s->p->o.self;
    return false;
}

void stream_new(struct mb_peers *p, int fd, struct dial *dial)
{
    struct stream *s = mb_calloc(1, sizeof *s);
    s->p = p;
    s->fd = fd;
    s->dialled = dial != NULL;
    if (dial != NULL) {
        s->peer = dial->peer;
        s->channel = dial->channel;
    }
    s->started_ms = s->last_in_ms = mb_now_ms();
    peer_tls_init(&s->tls, p->tls, s->dialled, key_known, s);
    s->watch = mb_watch_new(p->o.loop, fd, stream_ready, s);
    s->timer = mb_timer_new(p->o.loop, stream_timer, s);
    mb_timer_set(s->timer, HANDSHAKE_MS);
    s->next = p->streams;
    p->streams = s;
    stream_ready(s, 0); /* TLS's client speaks first */
}

void stream_free(struct stream *s)
{
    peer_tls_clear(&s->tls);
    mb_buf_clear(&s->payload);
    mb_buf_clear(&s->plain);
    mb_buf_clear(&s->out);
    mb_buf_clear(&s->control);
    frame_unref(s->sending);
    free(s);
}

/* The peer of a stream that has just gone: what it carried moves to the other one. */
static void leave(struct stream *s)
{
    struct peer *peer = s->peer;
    if (peer->stream[s->channel] == s)
        peer->stream[s->channel] = NULL;
    session_carrier(peer);
    bulk_carrier(peer);
    s->p->changed = true;
}

void stream_close(struct stream *s, const char *why)
{
    if (s->dead)
        return;
    s->dead = true;
    mb_watch_free(s->watch);
    mb_timer_free(s->timer);
    close(s->fd);
    if (!s->up)
        mb_log(MB_LOG_DEBUG, "peer", "closed", "channel=%d why=%s", s->channel, why);
    else
        mb_log(MB_LOG_INFO, "peer", "down", "replica=%u channel=%d why=%s", s->peer->member.number,
               s->channel, why);
    if (s->up)
        leave(s);
    s->up = false;
    if (s->dialled && !s->peer->removed && s->peer->stream[s->channel] == NULL)
        dial_soon(&s->peer->dial[s->channel]);
    peers_flush_soon(s->p);
}

static void refuse(struct stream *s, const char *why)
{
    s->p->refused++;
    stream_close(s, why);
}

/* False: closed. A record that is partly out stays in s->out. */
static bool write_out(struct stream *s)
{
    while (s->out_at < s->out.len) {
        ssize_t n = write(s->fd, s->out.data + s->out_at, s->out.len - s->out_at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return true;
        if (n < 0) {
            stream_close(s, "write");
            return false;
        }
        s->out_at += (size_t)n;
        if (s->peer != NULL)
            s->peer->status.bytes_out += (uint64_t)n;
    }
    mb_buf_reset(&s->out);
    s->out_at = 0;
    return true;
}

/* Consensus first; a chunk of bulk only where nothing else waits, or on the stream made for it. */
static void gather(struct stream *s)
{
    mb_buf_reset(&s->plain);
    while (s->plain.len < GATHER_LEN && session_next(s))
        continue;
    if (s->sending == NULL && (s->plain.len == 0 || s->channel == MB_PEER_BULK))
        while (s->plain.len < GATHER_LEN && bulk_next(s))
            continue;
}

void stream_pump(struct stream *s)
{
    bool more = false;
    for (int i = 0;; i++) {
        if (!write_out(s))
            return;
        more = s->out.len > 0 || i == GATHERS;
        if (more || !s->up)
            break;
        gather(s);
        if (s->plain.len == 0)
            break;
        if (peer_tls_write(&s->tls, s->plain.data, s->plain.len) != 0) {
            stream_close(s, "tls");
            return;
        }
        peer_tls_take(&s->tls, &s->out);
    }
    mb_watch_set(s->watch, more ? MB_READ | MB_WRITE : MB_READ);
}

static void send_hello(struct stream *s)
{
    const struct mb_peers *p = s->p;
    struct peer_head head = {
        .type = PEER_HELLO, .len = PEER_HELLO_LEN, .epoch = p->epoch, .ack = s->peer->received};
    struct peer_hello hello = {
        .channel = (uint8_t)s->channel,
        .org = p->o.org,
        .from = p->o.self,
        .to = s->peer->member.number,
        .incarnation = p->o.incarnation,
        .session = s->peer->session,
        .peer_session = s->peer->known ? s->peer->their_session : 0,
    };
    mb_buf_reset(&s->plain);
    peer_head_write(&s->plain, &head);
    peer_hello_write(&s->plain, &hello);
    if (peer_tls_write(&s->tls, s->plain.data, s->plain.len) != 0)
        refuse(s, "tls");
    else
        peer_tls_take(&s->tls, &s->out);
}

static void come_up(struct stream *s)
{
    struct peer *peer = s->peer;
    s->up = true;
    s->rtt8_ms = 8 * (mb_now_ms() - s->started_ms); /* two round trips and more: a first guess */
    struct stream *old = peer->stream[s->channel];
    peer->stream[s->channel] = s;
    if (old != NULL)
        stream_close(old, "replaced");
    if (peer->ups[s->channel]++ > 0)
        peer->status.reconnects++;
    if (s->dialled)
        dial_reached(&peer->dial[s->channel]);
    mb_log(MB_LOG_INFO, "peer", "up", "replica=%u channel=%d", peer->member.number, s->channel);
    session_carrier(peer);
    bulk_carrier(peer);
    s->ping_due = true;
    mb_timer_set(s->timer, s->p->o.heartbeat_ms);
    s->p->changed = true;
    peer_dirty(peer);
}

/* The first message. The dialler's names its channel; ours answers it. */
static int take_hello(struct stream *s, struct mb_bytes payload)
{
    struct peer_hello hello;
    if (s->head.type != PEER_HELLO || peer_hello_parse(&hello, payload) != 0)
        return MB_EREFUSED;
    struct peer *peer = peers_find(s->p, hello.from);
    if (peer == NULL || !mb_public_key_equal(&peer->member.key, &s->tls.key) ||
        hello.to != s->p->o.self || !mb_hash_equal(&hello.org, &s->p->o.org) ||
        (s->dialled && (peer != s->peer || hello.channel != s->channel)))
        return MB_EREFUSED;
    s->peer = peer;
    s->channel = (enum mb_peer_channel)hello.channel;
    if (session_hello(s, &hello) != 0)
        return MB_EREFUSED;
    if (!s->dialled)
        send_hello(s);
    if (!s->dead)
        come_up(s);
    return 0;
}

static void take_pong(struct stream *s, uint64_t nonce)
{
    int64_t rtt = mb_now_ms() - s->started_ms - (int64_t)nonce;
    if (nonce > INT64_MAX || rtt < 0)
        return;
    s->rtt8_ms = s->measured ? s->rtt8_ms + rtt - s->rtt8_ms / 8 : 8 * rtt; /* RFC 6298, 2 */
    s->measured = true;
}

static int take_message(struct stream *s, struct mb_bytes payload)
{
    if (!s->up) {
        if (take_hello(s, payload) != 0)
            refuse(s, "hello");
        return 0;
    }
    if (!session_acknowledged(s->peer, s->head.ack))
        return MB_EINVAL;
    struct mb_cursor c = mb_cursor(payload);
    switch (s->head.type) {
    case PEER_HELLO:
        return MB_EINVAL;
    case PEER_FRAME:
        return session_frame(s, payload);
    case PEER_PING:
        s->pong_nonce = mb_cursor_u64(&c);
        s->pong_due = true;
        peer_dirty(s->peer);
        return 0;
    case PEER_PONG:
        take_pong(s, mb_cursor_u64(&c));
        return 0;
    case PEER_ACK:
        return 0;
    default:
        return bulk_message(s, payload);
    }
}

/* Plain bytes become messages; false: closed. */
static bool feed(struct stream *s, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        bool in_head = s->head_len < PEER_HEAD_LEN;
        size_t want = in_head ? PEER_HEAD_LEN - s->head_len : s->head.len - s->payload.len;
        size_t n = want < len ? want : len;
        if (in_head) {
            for (size_t i = 0; i < n; i++)
                s->head_bytes[s->head_len++] = bytes[i];
        } else {
            mb_buf_add(&s->payload, bytes, n);
        }
        bytes += n;
        len -= n;
        if (n < want)
            continue;
        if (in_head && (peer_head_parse(&s->head, s->head_bytes) != 0 ||
                        (!s->up && s->head.type != PEER_HELLO))) {
            stream_close(s, "message");
            return false;
        }
        if (s->payload.len < s->head.len)
            continue;
        if (take_message(s, mb_buf_bytes(&s->payload)) != 0)
            stream_close(s, "message");
        if (s->dead)
            return false;
        s->head_len = 0;
        if (s->payload.cap > READ_LEN * 4)
            mb_buf_clear(&s->payload);
        mb_buf_reset(&s->payload);
    }
    return true;
}

static bool handshake(struct stream *s)
{
    int rc = peer_tls_handshake(&s->tls);
    if (rc < 0) {
        refuse(s, rc == MB_EPROOF ? "key" : "handshake"); /* TLS's alert is thrown away */
        return false;
    }
    peer_tls_take(&s->tls, &s->out);
    if (rc == 0)
        return true;
    s->secure = true;
    if (s->dialled)
        send_hello(s);
    return !s->dead;
}

static bool read_plain(struct stream *s)
{
    uint8_t bytes[16384];
    int n;
    while ((n = peer_tls_read(&s->tls, bytes, sizeof bytes)) > 0)
        if (!feed(s, bytes, (size_t)n))
            return false;
    peer_tls_take(&s->tls, &s->out);
    if (n == 0 && s->out.len - s->out_at <= OUT_MAX)
        return true;
    stream_close(s, "tls");
    return false;
}

/* One read of the descriptor; 1: there may be more, 0: not now, -1: closed. */
static int read_in(struct stream *s)
{
    uint8_t bytes[READ_LEN];
    ssize_t n = read(s->fd, bytes, sizeof bytes);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    if (n <= 0) {
        stream_close(s, n == 0 ? "ended" : "read");
        return -1;
    }
    s->last_in_ms = mb_now_ms();
    peer_tls_put(&s->tls, bytes, (size_t)n);
    if (!s->secure && !handshake(s))
        return -1;
    if (s->secure && !read_plain(s))
        return -1;
    if (s->peer != NULL && s->up) {
        s->peer->status.bytes_in += (uint64_t)n;
        s->peer->status.last_contact_ms = s->last_in_ms;
    }
    return (size_t)n == sizeof bytes;
}

static void stream_ready(void *arg, unsigned what)
{
    struct stream *s = arg;
    if (what == 0 && !handshake(s))
        return;
    int more = (what & MB_READ) != 0;
    for (int i = 0; more > 0 && i < READS; i++)
        more = read_in(s);
    if (more >= 0)
        stream_pump(s);
}

static bool is_silent(const struct stream *s)
{
    return mb_now_ms() - s->last_in_ms > 4 * s->p->o.heartbeat_ms + s->rtt8_ms / 2;
}

static void stream_timer(void *arg)
{
    struct stream *s = arg;
    if (!s->up) {
        refuse(s, "handshake_timeout");
        return;
    }
    if (is_silent(s)) {
        stream_ready(s, MB_READ); /* it may be we who slept */
        if (s->dead)
            return;
    }
    if (is_silent(s)) {
        if (s->dialled)
            dial_other_circuit(&s->peer->dial[s->channel]);
        stream_close(s, "silent");
        return;
    }
    s->ping_due = true;
    mb_timer_set(s->timer, s->p->o.heartbeat_ms);
    stream_pump(s);
}
