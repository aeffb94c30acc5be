/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A load over HTTP, and what the machine's processors can verify. */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include "daemon.h"

/* Whom the requests go to, and what the body of each good answer holds. */
struct load {
    int (*connect)(const void *arg); /* a descriptor */
    const void *arg;
    const char *fine;
};
/* All requests, over `outstanding` connections that are kept alive, one outstanding on each, from
 * one thread. latency has room for count: seconds each, in no order. Seconds in all. */
double load_run(const struct load *load, unsigned outstanding, const struct mb_buf *requests,
                unsigned count, double *latency);

/* Ed25519 verifications a second, on so many threads at once. */
double verifications(unsigned threads);

#endif
