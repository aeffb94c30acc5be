/* SPDX-License-Identifier: GPL-3.0-or-later */
/* paxos-sim: runs seeds, and says which fail and why. */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

static const char usage[] =
    "paxos-sim [--seed N | --seeds A-B] [--events N] [--without FAULT,…] [--jobs N] [--trace]\n"
    "          [--minimise] [--expect TEXT]\n"
    "  --events N        so many steps with faults, then heal (5000)\n"
    "  --without F,…     leave faults out\n"
    "  --trace           print every step\n"
    "  --minimise        of a failing seed: the fewest faults and events that still fail\n"
    "  --expect TEXT     succeed at the first seed that fails with TEXT: for cores broken on "
    "purpose\n";

static void describe(const struct run *run)
{
    printf("seed %" PRIu64 " fails after %" PRIu64 " events: %s\n", run->seed, run->failed_at,
           run->failed);
    printf("  paxos-sim --seed %" PRIu64 " --events %" PRIu64, run->seed, run->events);
    const char *between = " --without ";
    for (unsigned f = 0; f < FAULTS; f++)
        if (run->without & (1u << f)) {
            printf("%s%s", between, fault_names[f]);
            between = ",";
        }
    printf("\n  faults:");
    for (unsigned f = 0; f < FAULTS; f++)
        if (run->faults & (1u << f))
            printf(" %s", fault_names[f]);
    putchar('\n');
}

/* Run it; the outcome replaces *best if it fails. */
static bool still_fails(struct run *best, uint64_t events, uint32_t without)
{
    struct run run = {.seed = best->seed, .events = events, .without = without};
    if (simulate(&run) == 0)
        return false;
    free(best->failed);
    *best = run;
    return true;
}

/* Without each fault in turn another history runs: fewer faults are easier to read, if it fails
 * too. */
static void minimise(struct run *run)
{
    for (bool again = true; again;) {
        again = false;
        for (unsigned f = 0; f < FAULTS; f++)
            if (run->faults & (1u << f))
                again |= still_fails(run, run->events, run->without | (1u << f));
    }
    /* As short as it can be: until the failure, or until what is healed stays stuck. */
    if (run->failed_at < run->events)
        still_fails(run, run->failed_at, run->without);
    for (uint64_t step = run->events / 2; step > 0; step /= 2)
        while (run->events > step && still_fails(run, run->events - step, run->without))
            continue;
}

static bool number(const char *text, uint64_t *out, const char **end)
{
    char *stop;
    errno = 0;
    *out = strtoull(text, &stop, 10);
    *end = stop;
    return stop != text && errno == 0;
}

static bool faults_of(const char *text, uint32_t *out)
{
    while (*text != '\0') {
        size_t len = strcspn(text, ",");
        unsigned f = 0;
        while (f < FAULTS && (strlen(fault_names[f]) != len || strncmp(fault_names[f], text, len)))
            f++;
        if (f == FAULTS)
            return false;
        *out |= 1u << f;
        text += len + (text[len] == ',');
    }
    return true;
}

struct options {
    uint64_t first, last, events, jobs;
    uint32_t without;
    bool trace, minimise;
    const char *expect;
};

static void count(struct counts *all, const struct counts *one)
{
    uint64_t *to = (uint64_t *)all;
    const uint64_t *from = (const uint64_t *)one;
    for (size_t i = 0; i < sizeof *all / sizeof *to; i++)
        to[i] += from[i];
}

/* Every jobs-th seed from the first on. How many failed. */
static unsigned run_seeds(const struct options *o, uint64_t first, struct counts *counts)
{
    unsigned failed = 0;
    for (uint64_t seed = first; seed <= o->last; seed += o->jobs) {
        struct run run = {
            .seed = seed, .events = o->events, .without = o->without, .trace = o->trace};
        int rc = simulate(&run);
        count(counts, &run.counts);
        if (rc == 0)
            continue;
        if (o->expect != NULL && strstr(run.failed, o->expect) == NULL) {
            free(run.failed);
            continue;
        }
        failed++;
        describe(&run);
        if (o->minimise) {
            minimise(&run);
            describe(&run);
        }
        free(run.failed);
        fflush(stdout);
        if (o->expect != NULL || failed == 5)
            break;
    }
    return failed;
}

static int run_jobs(const struct options *o, struct counts *counts)
{
    int failed = 0;
    int pipes[2];
    if (o->jobs == 1)
        return (int)run_seeds(o, o->first, counts);
    if (pipe(pipes) != 0)
        return 1;
    fflush(stdout);
    for (uint64_t job = 0; job < o->jobs; job++) {
        pid_t child = fork();
        if (child < 0)
            return 1;
        if (child == 0) {
            struct counts mine = {0};
            unsigned n = run_seeds(o, o->first + job, &mine);
            ssize_t written = write(pipes[1], &mine, sizeof mine);
            _exit(n > 0 || written != (ssize_t)sizeof mine);
        }
    }
    for (uint64_t job = 0; job < o->jobs; job++) {
        int status;
        if (wait(&status) < 0 || status != 0)
            failed++;
    }
    close(pipes[1]);
    struct counts one;
    while (read(pipes[0], &one, sizeof one) == (ssize_t)sizeof one)
        count(counts, &one);
    close(pipes[0]);
    return failed;
}

static bool parse(int argc, char **argv, struct options *o)
{
    static const struct option longs[] = {
        {"seed", 1, NULL, 's'},     {"seeds", 1, NULL, 'r'},  {"events", 1, NULL, 'e'},
        {"without", 1, NULL, 'w'},  {"jobs", 1, NULL, 'j'},   {"trace", 0, NULL, 't'},
        {"minimise", 0, NULL, 'm'}, {"expect", 1, NULL, 'x'}, {0}};
    const char *end;
    int c;
    bool good = true;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 's':
            good &= number(optarg, &o->first, &end) && *end == '\0';
            o->last = o->first;
            break;
        case 'r':
            good &= number(optarg, &o->first, &end) && *end == '-' &&
                    number(end + 1, &o->last, &end) && *end == '\0';
            break;
        case 'e':
            good &= number(optarg, &o->events, &end) && *end == '\0';
            break;
        case 'j':
            good &= number(optarg, &o->jobs, &end) && *end == '\0' && o->jobs > 0;
            break;
        case 'w':
            good &= faults_of(optarg, &o->without);
            break;
        case 't':
            o->trace = true;
            break;
        case 'm':
            o->minimise = true;
            break;
        case 'x':
            o->expect = optarg;
            break;
        default:
            good = false;
        }
    }
    return good && optind == argc;
}

int main(int argc, char **argv)
{
    struct options o = {.first = 1, .last = 2000, .events = 5000, .jobs = 1};
    struct counts n = {0};
    if (!parse(argc, argv, &o)) {
        fputs(usage, stderr);
        return 2;
    }
    int failed = run_jobs(&o, &n);
    printf("%" PRIu64 " seeds, %" PRIu64 " events: %" PRIu64 " slots chosen, %" PRIu64
           " commands acknowledged, %" PRIu64 " elections, %" PRIu64 " crashes, %" PRIu64
           " records lost, %" PRIu64 " snapshots, %" PRIu64 " changes of members, %" PRIu64
           " reads; of the modules %" PRIu64 " commands did well, %" PRIu64
           " were refused, %" PRIu64 " ran as the organisation\n",
           n.seeds, n.events, n.slots, n.acked, n.elections, n.crashes, n.faulty, n.snapshots,
           n.changes, n.reads, n.done, n.refused, n.internal);
    if (o.expect != NULL)
        return failed == 0;
    return failed != 0;
}
