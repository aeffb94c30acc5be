/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Commands accepted: signed, durable, applied and answered. bench_commands [FOLDER] runs a real
 * magicbizd in FOLDER (.), sends it commands signed beforehand over keep-alive connections, one
 * command outstanding on each, from one thread, and measures, in turns with that, what the machine
 * itself can do: Ed25519 verifications on all cores and on one, and writes of 4 KiB made durable
 * one by one in a file prepared as the log's are. A command sets a key of its own (filler.put).
 * Three rounds; each figure is a median of three.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "load.h"

#define ROUNDS     3
#define LIMIT_S    0.7
#define BLOCK      4096u
#define FILE_BYTES (32u << 20)

static const struct level {
    unsigned outstanding, commands;
} levels[] = {{1, 2000}, {16, 8000}, {64, 20000}, {256, 30000}};
#define LEVELS (sizeof levels / sizeof *levels)

/* --- The machine. --- */

/* Zeroed once, past the page cache where the file system can, like src/wal. */
static double fdatasyncs(const char *folder)
{
    char *path = mb_asprintf("%s/disk", folder);
    uint8_t *block = aligned_alloc(BLOCK, BLOCK);
    int fd = open(path, O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
    if (fd < 0)
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(fd >= 0 && block != NULL && fallocate(fd, 0, 0, FILE_BYTES) == 0, path);
    memset(block, 0, BLOCK);
    for (off_t at = 0; at < FILE_BYTES; at += BLOCK)
        must(pwrite(fd, block, BLOCK, at) == BLOCK, "pwrite");
    must(fsync(fd) == 0, "fsync");
    memset(block, 0xa5, BLOCK);
    unsigned n = 0;
    double start = seconds(), took = 0;
    for (off_t at = 0; took < LIMIT_S && at < FILE_BYTES; at += BLOCK, n++) {
        must(pwrite(fd, block, BLOCK, at) == BLOCK && fdatasync(fd) == 0, "fdatasync");
        took = seconds() - start;
    }
    close(fd);
    unlink(path);
    free(block);
    free(path);
    return n / took;
}

/* --- The figures. --- */

enum column {
    RATE, /* commands/s */
    P50,
    P99,
    GENERATOR, /* share of one core */
    DAEMON,    /* us of processor a command */
    VERIFY_ALL,
    VERIFY_ONE,
    SYNCS,
    OF_VERIFY,
    OF_SYNCS,
    OF_NEARER,
    OF_ONE_BY_ONE,
    LOAD,
    COLUMNS,
};

static int connect_to(const void *arg)
{
    return daemon_connect(arg);
}

static void measure(struct daemon *d, const struct level *l, double c[COLUMNS][ROUNDS], int round)
{
    struct mb_buf *requests = mb_calloc(l->commands, sizeof *requests);
    double *latency = mb_calloc(l->commands, sizeof *latency);
    char body[80];
    for (unsigned i = 0; i < l->commands; i++) {
        must(mb_snprintf(body, sizeof body, "{\"n\":%" PRIu64 "}", d->nonce) == 0, "body");
        daemon_command(d, &requests[i], "filler.put", body);
    }
    double all = verifications(processors()), one = verifications(1), syncs = fdatasyncs(d->folder);
    double own = own_processor_s(), daemon = daemon_processor_s(d);
    const struct load load = {.connect = connect_to, .arg = d, .fine = "\"ok\":true"};
    double took = load_run(&load, l->outstanding, requests, l->commands, latency);
    own = own_processor_s() - own;
    daemon = daemon_processor_s(d) - daemon;
    double rate = l->commands / took, nearer = all < syncs ? all : syncs;
    c[RATE][round] = rate;
    c[P50][round] = median(latency, l->commands) * 1e3;
    c[P99][round] = latency[l->commands * 99 / 100] * 1e3;
    c[GENERATOR][round] = own / took * 100 / processors();
    c[DAEMON][round] = daemon / l->commands * 1e6;
    c[VERIFY_ALL][round] = all;
    c[VERIFY_ONE][round] = one;
    c[SYNCS][round] = syncs;
    c[OF_VERIFY][round] = rate / all;
    c[OF_SYNCS][round] = rate / syncs;
    c[OF_NEARER][round] = rate / nearer;
    c[OF_ONE_BY_ONE][round] = rate * (1 / syncs + 1 / one);
    c[LOAD][round] = load_average();
    for (unsigned i = 0; i < l->commands; i++)
        mb_buf_clear(&requests[i]);
    free(requests);
    free(latency);
}

int main(int argc, char **argv)
{
    static double all[LEVELS][COLUMNS][ROUNDS];
    static const char *const names[COLUMNS][2] = {
        [RATE] = {"", "commands/s"},
        [P50] = {"_p50", "ms"},
        [P99] = {"_p99", "ms"},
        [GENERATOR] = {"_generator", "% of the processors"},
        [DAEMON] = {"_daemon", "us of processor/command"},
        [VERIFY_ALL] = {"_verifications_all_cores", "/s"},
        [VERIFY_ONE] = {"_verifications_one_core", "/s"},
        [SYNCS] = {"_fdatasyncs", "/s"},
        [OF_VERIFY] = {"_of_verifications", "ratio"},
        [OF_SYNCS] = {"_of_fdatasyncs", "ratio"},
        [OF_NEARER] = {"_of_the_nearer_limit", "ratio"},
        [OF_ONE_BY_ONE] = {"_of_one_fdatasync_and_one_verification", "ratio"},
        [LOAD] = {"_load", "processes"},
    };
    struct daemon d;
    unsigned only = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    setenv("MAGICBIZ_MODULE_DIR", "tests/bench/.libs", 1);
    daemon_found(&d, argc > 1 ? argv[1] : ".", "filler");
    daemon_start(&d);
    for (int round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < LEVELS; i++)
            if (only == 0 || levels[i].outstanding == only)
                measure(&d, &levels[i], all[i], round);
    for (size_t i = 0; i < LEVELS; i++)
        for (size_t c = 0; c < COLUMNS; c++)
            if (only == 0 || levels[i].outstanding == only)
                figure(names[c][1], median(all[i][c], ROUNDS), "commands_%u%s",
                       levels[i].outstanding, names[c][0]);
    figure("MB", daemon_resident_peak(&d), "commands_resident_most");
    daemon_close(&d);
    return 0;
}
