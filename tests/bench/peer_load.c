/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "peer_load.h"

#include <stdio.h>
#include <stdlib.h>

const unsigned peer_outstanding[PEER_LEVELS] = {1, 16, 64, 256};

static void begin_level(struct peer_load *l)
{
    l->count = 0;
    l->began = seconds();
    l->under_way = peer_outstanding[l->level];
    for (unsigned i = 0; i < peer_outstanding[l->level]; i++)
        l->submit(seconds());
}

static void end_level(struct peer_load *l)
{
    double took = seconds() - l->began;
    must(l->count > 0, "a command");
    double p50 = median(l->latency, l->count), p99 = l->latency[l->count * 99 / 100];
    printf("%u %.1f %.3f %.3f\n", peer_outstanding[l->level], (double)l->count / took, p50 * 1e3,
           p99 * 1e3);
    if (++l->level < PEER_LEVELS) {
        fflush(stdout);
        begin_level(l);
        return;
    }
    l->over = true;
    printf(PEER_END "\n");
    fflush(stdout);
}

void peer_load_begin(struct peer_load *l)
{
    if (l->level == 0 && l->began == 0)
        begin_level(l);
}

void peer_load_done(struct peer_load *l, double sent)
{
    double now = seconds();
    if (l->over)
        return;
    if (l->count == l->cap) {
        l->cap = 2 * l->cap + 65536;
        l->latency = mb_realloc(l->latency, l->cap * sizeof *l->latency);
    }
    l->latency[l->count++] = now - sent;
    if (now < l->began + l->seconds)
        l->submit(now);
    else if (--l->under_way == 0)
        end_level(l);
}
