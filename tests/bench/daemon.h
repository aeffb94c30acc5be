/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A real magicbizd without Tor in a folder of its own, for the benchmarks, and what they measure
 * by. */
#ifndef TESTS_BENCH_DAEMON_H
#define TESTS_BENCH_DAEMON_H

#include <sys/types.h>

#include "base/encode.h"
#include "ledger/command.h"

struct daemon {
    char *folder; /* removed by daemon_close */
    char *socket; /* the public one */
    pid_t pid;    /* 0: not running */
    struct mb_secret_key founder;
    char org[MB_HASH_HEX_SIZE], onion[MB_ONION_SIZE], fingerprint[MB_FINGERPRINT_SIZE];
    uint64_t nonce;
    int64_t expires;
};

/* Found an organisation with this module below `below` (which should be on the disk that is meant:
 * /tmp may be in memory). Programs and modules are those of the build folder, where the benchmark
 * is run. */
void daemon_found(struct daemon *d, const char *below, const char *module);
/* Start it and wait until its socket answers; returns the seconds that took. */
double daemon_start(struct daemon *d);
void daemon_stop(struct daemon *d);
void daemon_close(struct daemon *d);

/* A request that posts a command by the founder, body a JSON text; the nonce counts up. */
void daemon_command(struct daemon *d, struct mb_buf *request, const char *type, const char *body);
/* Send a request on a connection of its own; the answer replaces *answer. Returns the status. */
unsigned daemon_call(const struct daemon *d, struct mb_bytes request, struct mb_buf *answer);
/* The same for a command that must succeed. */
void daemon_do(struct daemon *d, const char *type, const char *body);
int daemon_connect(const struct daemon *d);
int try_connect(const char *path);                   /* to a Unix socket; -1 */
char *path_in(const char *folder, const char *name); /* owned */
/* Run argv, whose output goes to the file log; killed when the benchmark ends. */
pid_t spawn(const char *log, const char *const argv[]);
void end(pid_t pid); /* it, and what it forked */

/* Megabytes resident: now, and the most since daemon_forget_peak(). */
double daemon_resident(const struct daemon *d);
double daemon_resident_peak(const struct daemon *d);
void daemon_forget_peak(const struct daemon *d);
double daemon_processor_s(const struct daemon *d); /* user and system */

void must(bool fine, const char *what); /* else says what and exits */
double seconds(void);                   /* monotonic */
double own_processor_s(void);           /* user and system, all threads */
double load_average(void);              /* over one minute */
unsigned processors(void);
void figure(const char *value_unit, double value, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
double median(double *values, size_t count); /* sorts them */

#endif
