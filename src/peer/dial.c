/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Dialling the peers with a higher number, again and again. */
#include "config.h"

#include <unistd.h>

#include <sodium.h>

#include "peer/internal.h"

#define BACKOFF_FIRST_MS 100
#define CONNECT_MS       60000 /* Tor looks the service up and builds two circuits meanwhile */
#define PATH_SIZE        108   /* of struct sockaddr_un */

static void failed(struct dial *d)
{
    dial_other_circuit(d);
    dial_soon(d);
}

static void connected(void *arg, int fd, const struct mb_error *error)
{
    (void)error; /* Tor's word on a peer that is not there; the stream's absence is reported */
    struct dial *d = arg;
    d->socks = NULL;
    if (fd < 0)
        failed(d);
    else
        stream_new(d->peer->p, fd, d);
}

static void dial_tor(struct dial *d)
{
    const struct mb_peers *p = d->peer->p;
    const char *socks = p->o.tor != NULL ? mb_tor_socks(p->o.tor) : NULL;
    if (socks == NULL || d->peer->member.onion[0] == 0) {
        dial_soon(d);
        return;
    }
    char isolation[64];
    mb_snprintf(isolation, sizeof isolation, "peer-%u-%u-%d-%u", (unsigned)p->o.self,
                (unsigned)d->peer->member.number, d->channel, d->circuit);
    d->socks = mb_socks_connect(p->o.loop, socks, d->peer->member.onion, p->o.port, isolation,
                                CONNECT_MS, connected, d);
}

static void dial_now(void *arg)
{
    struct dial *d = arg;
    const struct mb_peers *p = d->peer->p;
    if (p->o.resolve == NULL) {
        dial_tor(d);
        return;
    }
    char path[PATH_SIZE];
    int fd = p->o.resolve(p->o.arg, d->peer->member.number, d->channel, path, sizeof path);
    if (fd == 0)
        fd = mb_unix_connect(path, NULL);
    if (fd < 0)
        dial_soon(d);
    else
        stream_new(d->peer->p, fd, d);
}

void dial_init(struct dial *d, struct peer *peer, enum mb_peer_channel channel)
{
    *d = (struct dial){.peer = peer, .channel = channel, .backoff_ms = BACKOFF_FIRST_MS};
    d->timer = mb_timer_new(peer->p->o.loop, dial_now, d);
    if (peer->p->o.self < peer->member.number)
        mb_timer_set(d->timer, 0);
}

void dial_clear(struct dial *d)
{
    mb_socks_cancel(d->socks);
    d->socks = NULL;
    mb_timer_free(d->timer);
    d->timer = NULL;
}

void dial_soon(struct dial *d)
{
    /* Half of it for certain, half by chance: replicas that lost their streams together do not
     * come back together. */
    int64_t half = d->backoff_ms / 2, most = d->peer->p->o.backoff_ms;
    mb_timer_set(d->timer, half + (int64_t)randombytes_uniform((uint32_t)half + 1));
    d->backoff_ms = d->backoff_ms * 2 < most ? d->backoff_ms * 2 : most;
}

void dial_reached(struct dial *d)
{
    d->backoff_ms = BACKOFF_FIRST_MS;
}

void dial_other_circuit(struct dial *d)
{
    d->circuit++;
}
