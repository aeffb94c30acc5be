/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Real magicbizds that are one organisation's replicas, on Unix sockets. */
#ifndef TESTS_BENCH_REPLICAS_H
#define TESTS_BENCH_REPLICAS_H

#include "daemon.h"

#define REPLICAS_MAX 5

struct replicas {
    size_t count;
    struct daemon
        of[REPLICAS_MAX];     /* the i-th has the number i + 1; the first one's nonces count */
    char *meet[REPLICAS_MAX]; /* folder in which the i-th looks for the others, and listens */
    char *peer[REPLICAS_MAX]; /* its socket's name there */
};
/* Found them below `below`, each with these lines at the end of its configuration, in section
 * consensus. They meet in one folder; or each in one of its own (apart), to which the caller leads
 * the others' sockets. */
void replicas_found(struct replicas *r, size_t count, const char *below, const char *module,
                    const char *lines, bool apart);
/* Start them, and add all to the organisation of the first; returns once all follow one leader. */
void replicas_start(struct replicas *r);
void replicas_close(struct replicas *r);

/* A metric of one, by its name behind magicbiz_; -1: it does not answer. */
double replica_metric(const struct daemon *d, const char *name);
/* Index of the one that all that answer follow; -1: there is none now. */
int replicas_leader(const struct replicas *r);
/* Wait until there is one, at most so long. */
int replicas_await(const struct replicas *r, double most_s);

#endif
