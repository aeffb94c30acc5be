/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The set of peers: who they are, the listening socket, and what is done after each callback. */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "peer/internal.h"

#define BACKOFF_MS      10000
#define HEARTBEAT_MS    1000
#define QUEUE_BYTES     (8 * 1024 * 1024)
#define PENDING_MAX     32  /* accepted streams whose peer has not proved itself */
#define ACCEPT_AGAIN_MS 500 /* after accept() failed for want of descriptors */

/* The one call posted to the loop: it outlives the set if need be. */
struct flush {
    struct mb_peers *p; /* NULL: gone */
    bool posted;
};

static void reap(struct mb_peers *p)
{
    for (struct stream **at = &p->streams; *at != NULL;) {
        struct stream *s = *at;
        if (!s->dead) {
            at = &s->next;
            continue;
        }
        *at = s->next;
        stream_free(s);
    }
    while (p->gone != NULL) {
        struct peer *peer = p->gone;
        p->gone = peer->next;
        free(peer);
    }
}

static void flush(void *arg)
{
    struct flush *f = arg;
    struct mb_peers *p = f->p;
    f->posted = false;
    if (p == NULL) {
        free(f);
        return;
    }
    for (struct peer *peer = p->peers; peer != NULL; peer = peer->next) {
        if (!peer->dirty)
            continue;
        peer->dirty = false;
        for (int i = 0; i < MB_PEER_CHANNELS; i++)
            if (peer->stream[i] != NULL)
                stream_pump(peer->stream[i]);
    }
    reap(p);
    if (p->changed && p->o.changed != NULL) {
        p->changed = false;
        p->o.changed(p->o.arg);
    }
}

void peers_flush_soon(struct mb_peers *p)
{
    if (p->stopping || p->flush->posted)
        return;
    p->flush->posted = true;
    mb_loop_post(p->o.loop, flush, p->flush);
}

void peer_dirty(struct peer *peer)
{
    peer->dirty = true;
    peers_flush_soon(peer->p);
}

struct peer *peers_find(const struct mb_peers *p, uint32_t number)
{
    struct peer *peer = p->peers;
    while (peer != NULL && peer->member.number != number)
        peer = peer->next;
    return peer;
}

/* Those that stay longest without proof go first. */
static void bound_pending(struct mb_peers *p)
{
    struct stream *oldest = NULL;
    size_t count = 0;
    for (struct stream *s = p->streams; s != NULL; s = s->next)
        if (!s->dead && !s->dialled && !s->up) {
            oldest = s;
            count++;
        }
    if (count < PENDING_MAX)
        return;
    p->refused++;
    stream_close(oldest, "too_many");
}

static void accept_ready(void *arg, unsigned what)
{
    (void)what;
    struct mb_peers *p = arg;
    int fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        bound_pending(p);
        stream_new(p, fd, NULL);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        mb_watch_set(p->accept, 0);
        mb_timer_set(p->accept_again, ACCEPT_AGAIN_MS);
    }
}

static void accept_again(void *arg)
{
    struct mb_peers *p = arg;
    mb_watch_set(p->accept, MB_READ);
}

int mb_peers_new(struct mb_peers **out, const struct mb_peers_options *options,
                 struct mb_error *error)
{
    const struct mb_peers_options *o = options;
    if (o->loop == NULL || o->self == 0 || o->key == NULL || o->listen == NULL ||
        o->temp_dir == NULL || o->on_frame == NULL || (o->tor == NULL && o->resolve == NULL) ||
        o->heartbeat_ms < 0 || o->backoff_ms < 0)
        return mb_fail(error, MB_EINVAL, "peer.options", "an option of the peers is missing");
    SSL_CTX *tls;
    int rc = peer_tls_context(&tls, o->key, error);
    if (rc != 0)
        return rc;
    int fd = mb_unix_listen(o->listen, 0600, error);
    if (fd < 0) {
        SSL_CTX_free(tls);
        return fd;
    }
    struct mb_peers *p = mb_calloc(1, sizeof *p);
    p->o = *o;
    p->o.key = NULL;
    p->o.listen = p->listen = mb_strdup(o->listen);
    p->o.temp_dir = p->temp_dir = mb_strdup(o->temp_dir);
    if (p->o.backoff_ms == 0 || p->o.backoff_ms > BACKOFF_MS)
        p->o.backoff_ms = BACKOFF_MS;
    if (p->o.heartbeat_ms == 0)
        p->o.heartbeat_ms = HEARTBEAT_MS;
    if (p->o.queue_bytes == 0)
        p->o.queue_bytes = QUEUE_BYTES;
    p->tls = tls;
    p->listen_fd = fd;
    p->flush = mb_calloc(1, sizeof *p->flush);
    p->flush->p = p;
    p->accept_again = mb_timer_new(o->loop, accept_again, p);
    p->accept = mb_watch_new(o->loop, fd, accept_ready, p);
    mb_watch_set(p->accept, MB_READ);
    *out = p;
    return 0;
}

static struct peer *peer_new(struct mb_peers *p, const struct mb_peer_member *member)
{
    struct peer *peer = mb_calloc(1, sizeof *peer);
    peer->p = p;
    peer->member = *member;
    while (peer->session == 0)
        randombytes_buf(&peer->session, sizeof peer->session);
    for (int i = 0; i < MB_PEER_CHANNELS; i++)
        dial_init(&peer->dial[i], peer, (enum mb_peer_channel)i);
    return peer;
}

/* It is in no list by now. */
static void peer_remove(struct peer *peer, const char *code)
{
    struct mb_peers *p = peer->p;
    peer->removed = true;
    for (struct stream *s = p->streams; s != NULL; s = s->next)
        if (s->peer == peer)
            stream_close(s, "removed");
    for (int i = 0; i < MB_PEER_CHANNELS; i++)
        dial_clear(&peer->dial[i]);
    session_forget(peer);
    peer->next = p->gone;
    p->gone = peer;
    bulk_forget(peer, code);
    peers_flush_soon(p);
}

void mb_peers_free(struct mb_peers *p)
{
    if (p == NULL)
        return;
    p->stopping = true;
    while (p->peers != NULL) {
        struct peer *peer = p->peers;
        p->peers = peer->next;
        peer_remove(peer, "peer.stopped");
    }
    for (struct stream *s = p->streams; s != NULL; s = s->next)
        stream_close(s, "stopped");
    reap(p);
    mb_watch_free(p->accept);
    mb_timer_free(p->accept_again);
    close(p->listen_fd);
    unlink(p->listen);
    SSL_CTX_free(p->tls);
    p->flush->p = NULL;
    if (!p->flush->posted)
        free(p->flush);
    free(p->listen);
    free(p->temp_dir);
    free(p);
}

static bool members_valid(const struct mb_peer_member *members, size_t count)
{
    if (count > MB_PEERS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (members[i].number == 0)
            return false;
        for (size_t j = 0; j < i; j++)
            if (members[i].number == members[j].number ||
                mb_public_key_equal(&members[i].key, &members[j].key))
                return false;
    }
    return true;
}

static const struct mb_peer_member *member_of(const struct mb_peer_member *members, size_t count,
                                              uint32_t number)
{
    for (size_t i = 0; i < count; i++)
        if (members[i].number == number)
            return &members[i];
    return NULL;
}

int mb_peers_set_members(struct mb_peers *p, const struct mb_peer_member *members, size_t count,
                         uint64_t epoch, struct mb_error *error)
{
    if (!members_valid(members, count))
        return mb_fail(error, MB_EINVAL, "peer.members",
                       "members: at most %d, each with a number and a key of its own",
                       MB_PEERS_MAX);
    p->epoch = epoch;
    struct peer *removed = NULL;
    for (struct peer **at = &p->peers; *at != NULL;) {
        struct peer *peer = *at;
        const struct mb_peer_member *m = member_of(members, count, peer->member.number);
        if (m != NULL && mb_public_key_equal(&m->key, &peer->member.key)) {
            peer->member = *m;
            at = &peer->next;
            continue;
        }
        *at = peer->next;
        peer->next = removed;
        removed = peer;
    }
    for (size_t i = 0; i < count; i++) {
        if (members[i].number == p->o.self || peers_find(p, members[i].number) != NULL)
            continue;
        struct peer *peer = peer_new(p, &members[i]);
        peer->next = p->peers;
        p->peers = peer;
    }
    while (removed != NULL) { /* last: asks that fail may call us again */
        struct peer *peer = removed;
        removed = peer->next;
        peer_remove(peer, "peer.removed");
    }
    p->changed = true;
    peers_flush_soon(p);
    return 0;
}

bool mb_peers_status(const struct mb_peers *p, uint32_t number, struct mb_peer_status *status)
{
    const struct peer *peer = peers_find(p, number);
    if (peer == NULL)
        return false;
    *status = peer->status;
    status->number = number;
    status->rtt_ms = -1;
    for (int i = MB_PEER_CHANNELS - 1; i >= 0; i--) {
        const struct stream *s = peer->stream[i];
        status->up[i] = s != NULL;
        if (s != NULL && s->measured)
            status->rtt_ms = s->rtt8_ms / 8;
    }
    return true;
}

uint64_t mb_peers_refused(const struct mb_peers *p)
{
    return p->refused;
}
