/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Replicas that are far from each other. bench_links [FOLDER [REPLICAS [ROUND_TRIP_MS…]]]: below
 * FOLDER (.), real magicbizds, whose streams go through tests/integration/chaos-proxy:
 *
 * Commits: three replicas and five, with the settings as they are by default but for the number of
 * connections, at round trips of 0.3, 0.6 and 2 s, all streams dying every 20 s, for
 * MB_LINKS_SECONDS (60) each; one client at the leader and one at a follower, each with one command
 * outstanding. Their median in round trips, the errors they saw, and how often anybody stood for
 * election. Then MB_LINKS_OUTSTANDING (2048) at the leader, beside as many without any delay.
 *
 * Failovers: MB_LINKS_FAILOVERS (30) times the leader of three is killed, every other time soon
 * after streams were slow; how long until the next command is acknowledged, in election timeouts as
 * those that survive had measured them when it was killed.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"
#include "replicas.h"

#define BREAK_S    20.0
#define PATIENCE_S 60
#define AWAIT_S    120.0
#define SLOW_S     4
#define SETTLE_S   3
#define TRIPS_MAX  8
#define KILLS_MAX  1000

struct world {
    struct replicas replicas;
    pid_t proxy;
    int control; /* the proxy's FIFO */
};
struct client {
    pthread_t thread;
    struct daemon founder; /* with nonces of its own */
    const char *socket;
    double until, *latency; /* seconds */
    unsigned count, cap, errors;
};

static void tell(const struct world *w, const char *format, unsigned n)
{
    char line[64];
    must(mb_snprintf(line, sizeof line, format, n) == 0 &&
             write(w->control, line, strlen(line)) == (ssize_t)strlen(line),
         "chaos-proxy");
}

/* The lower number dials. */
static void start_proxy(struct world *w)
{
    const struct replicas *r = &w->replicas;
    const char *argv[2 + 4 * REPLICAS_MAX * REPLICAS_MAX + 1] = {"tests/integration/chaos-proxy"};
    char *owned[4 * REPLICAS_MAX * REPLICAS_MAX];
    size_t argc = 2, count = 0;
    char *fifo = path_in(r->of[0].folder, "control"), *log = path_in(r->of[0].folder, "proxy");
    must(mkfifo(fifo, 0600) == 0, fifo);
    argv[1] = fifo;
    for (size_t i = 0; i < r->count; i++)
        for (size_t k = i + 1; k < r->count; k++) {
            argv[argc++] = owned[count++] = mb_asprintf("%zu", i + 1);
            argv[argc++] = owned[count++] = mb_asprintf("%zu", k + 1);
            argv[argc++] = owned[count++] = path_in(r->meet[i], r->peer[k]);
            argv[argc++] = owned[count++] = path_in(r->meet[k], r->peer[k]);
        }
    w->proxy = spawn(log, argv);
    w->control = open(fifo, O_RDWR | O_CLOEXEC);
    must(w->control >= 0, fifo);
    while (count > 0)
        free(owned[--count]);
    free(fifo);
    free(log);
}

static void world_start(struct world *w, const char *below, size_t count, const char *lines)
{
    replicas_found(&w->replicas, count, below, "filler", lines, true);
    start_proxy(w);
    replicas_start(&w->replicas);
}

static void world_close(struct world *w)
{
    tell(w, "heal\n", 0);
    replicas_close(&w->replicas);
    end(w->proxy);
    close(w->control);
}

/* --- Commands, one connection each. --- */

static bool acknowledged(const char *socket_path, struct mb_bytes request)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    char answer[8192];
    size_t len = 0;
    const char *end = NULL, *length = NULL;
    int fd = try_connect(socket_path);
    if (fd < 0)
        return false;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ssize_t n = send(fd, request.data, request.len, MSG_NOSIGNAL);
    while (n > 0 && (end == NULL || length == NULL ||
                     len < (size_t)(end + 4 - answer) + strtoul(length + 16, NULL, 10))) {
        n = recv(fd, answer + len, sizeof answer - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
        answer[len] = 0;
        end = strstr(answer, "\r\n\r\n");
        length = strstr(answer, "Content-Length: ");
    }
    close(fd);
    return n > 0 && strncmp(answer, "HTTP/1.1 200 ", 13) == 0 && strstr(end, "\"ok\":true") != NULL;
}

static void make(struct daemon *founder, struct mb_buf *request)
{
    char body[320], text[257];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    must(mb_snprintf(body, sizeof body, "{\"n\":%" PRIu64 ",\"text\":\"%s\"}",
                     founder->nonce % 100000, text) == 0,
         "a body");
    mb_buf_reset(request);
    daemon_command(founder, request, "filler.set", body);
}

static void *work(void *arg)
{
    struct client *c = arg;
    struct mb_buf request = {0};
    while (seconds() < c->until) {
        make(&c->founder, &request);
        double sent = seconds();
        if (!acknowledged(c->socket, mb_buf_bytes(&request))) {
            c->errors++;
            continue;
        }
        if (c->count == c->cap) {
            c->cap = 2 * c->cap + 1024;
            c->latency = mb_realloc(c->latency, c->cap * sizeof *c->latency);
        }
        c->latency[c->count++] = seconds() - sent;
    }
    mb_buf_clear(&request);
    return NULL;
}

/* --- Commits. --- */

static double sum(const struct replicas *r, const char *metric)
{
    double total = 0;
    for (size_t i = 0; i < r->count; i++)
        total += replica_metric(&r->of[i], metric);
    return total;
}

static void commits(struct world *w, unsigned trip_ms, double duration)
{
    static const char *const names[] = {"leader", "follower"};
    static uint64_t clients_made;
    struct replicas *r = &w->replicas;
    struct client clients[2] = {{0}};
    tell(w, "delay %u\n", trip_ms / 2);
    sleep(SETTLE_S + 4 * trip_ms / 1000);
    int leader = replicas_await(r, AWAIT_S);
    must(leader >= 0, "agreeing on a leader");
    double elections = sum(r, "consensus_elections_total"), start = seconds();
    double until = start + duration, next = start + BREAK_S;
    for (size_t i = 0; i < 2; i++) {
        struct client *c = &clients[i];
        c->founder = r->of[0];
        c->founder.nonce = ++clients_made << 32;
        c->socket = r->of[((size_t)leader + i) % r->count].socket;
        c->until = until;
        must(pthread_create(&c->thread, NULL, work, c) == 0, "pthread_create");
    }
    while (seconds() < until) {
        usleep(100000);
        if (seconds() >= next) {
            tell(w, "break\n", 0);
            next += BREAK_S;
        }
    }
    for (size_t i = 0; i < 2; i++) {
        struct client *c = &clients[i];
        pthread_join(c->thread, NULL);
        must(c->count > 0, "a commit");
        double trips = median(c->latency, c->count) * 1e3 / trip_ms;
        figure("round trips", trips, "links_%zu_%ums_%s_median", r->count, trip_ms, names[i]);
        figure("round trips", c->latency[c->count * 99 / 100] * 1e3 / trip_ms,
               "links_%zu_%ums_%s_p99", r->count, trip_ms, names[i]);
        figure("commands", c->count, "links_%zu_%ums_%s", r->count, trip_ms, names[i]);
        figure("errors", c->errors, "links_%zu_%ums_%s", r->count, trip_ms, names[i]);
        free(c->latency);
    }
    figure("elections", sum(r, "consensus_elections_total") - elections, "links_%zu_%ums", r->count,
           trip_ms);
    figure("", replicas_leader(r) == leader, "links_%zu_%ums_same_leader", r->count, trip_ms);
}

static int connect_to(const void *daemon)
{
    return daemon_connect(daemon);
}

/* Commands a second with so many outstanding at the leader. */
static double many(struct world *w, unsigned trip_ms, unsigned outstanding)
{
    struct replicas *r = &w->replicas;
    unsigned count = 4 * outstanding;
    struct mb_buf *requests = mb_calloc(count, sizeof *requests);
    double *latency = mb_calloc(count, sizeof *latency);
    tell(w, "delay %u\n", trip_ms / 2);
    sleep(SETTLE_S + 4 * trip_ms / 1000);
    int leader = replicas_await(r, AWAIT_S);
    must(leader >= 0, "agreeing on a leader");
    for (unsigned i = 0; i < count; i++)
        make(&r->of[0], &requests[i]);
    struct load load = {.connect = connect_to, .arg = &r->of[leader], .fine = "\"ok\":true"};
    double rate = count / load_run(&load, outstanding, requests, count, latency);
    figure("/s", rate, "links_%zu_%ums_%u_outstanding", r->count, trip_ms, outstanding);
    for (unsigned i = 0; i < count; i++)
        mb_buf_clear(&requests[i]);
    free(requests);
    free(latency);
    return rate;
}

/* --- Failovers. --- */

/* Election timeouts until a command is acknowledged again. */
static double failover(struct world *w, unsigned number)
{
    struct replicas *r = &w->replicas;
    struct mb_buf request = {0};
    bool slow = number % 2 != 0;
    if (slow) {
        tell(w, "delay %u\n", 300);
        sleep(SLOW_S);
        tell(w, "heal\n", 0);
        sleep(SETTLE_S);
    }
    int leader = replicas_await(r, AWAIT_S);
    must(leader >= 0, "agreeing on a leader");
    daemon_do(&r->of[0], "org.param.set", "{\"name\":\"bench\",\"value\":1}");
    struct daemon *killed = &r->of[leader];
    double timeout = 0;
    for (size_t i = 1; i < r->count; i++) {
        double t = replica_metric(&r->of[((size_t)leader + i) % r->count],
                                  "consensus_election_milliseconds");
        timeout = t > timeout ? t : timeout;
    }
    make(&r->of[0], &request);
    double start = seconds();
    kill(killed->pid, SIGKILL);
    waitpid(killed->pid, NULL, 0);
    killed->pid = 0;
    for (size_t i = 1;
         !acknowledged(r->of[((size_t)leader + i) % r->count].socket, mb_buf_bytes(&request));
         i = i % (r->count - 1) + 1)
        must(seconds() < start + AWAIT_S, "a failover");
    double took = (seconds() - start) * 1e3;
    figure("election timeouts", took / timeout, "failover_%u", number + 1);
    printf("failover_%u %.0f ms of %.0f ms%s\n", number + 1, took, timeout,
           slow ? ", after 0.6 s round trips" : "");
    fflush(stdout);
    mb_buf_clear(&request);
    daemon_start(killed);
    return took / timeout;
}

static unsigned from_environment(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : (unsigned)strtoul(text, NULL, 10);
}

static void failovers(const char *below, unsigned count)
{
    static double took[KILLS_MAX];
    struct world w;
    world_start(&w, below, 3,
                "election_ms = 1000\nrebuild_ms = 100\nheartbeat_ms = 100\n"
                "round_trip_ms = 20\n");
    for (unsigned i = 0; i < count; i++)
        took[i] = failover(&w, i);
    replicas_await(&w.replicas, AWAIT_S);
    world_close(&w);
    figure("election timeouts", median(took, count), "failover_median");
    figure("election timeouts", took[(count - 1) * 9 / 10], "failover_p90");
    figure("election timeouts", took[count - 1], "failover_max");
}

static void far(const char *below, size_t count, const unsigned *trips, size_t trip_count,
                unsigned duration)
{
    unsigned outstanding = from_environment("MB_LINKS_OUTSTANDING", 2048);
    struct world w;
    world_start(&w, below, count, "");
    for (size_t i = 0; i < trip_count; i++) {
        commits(&w, trips[i], duration);
        double rate = many(&w, 0, outstanding);
        figure("ratio", many(&w, trips[i], outstanding) / rate, "links_%zu_%ums_of_0ms", count,
               trips[i]);
    }
    world_close(&w);
}

int main(int argc, char **argv)
{
    unsigned trips[TRIPS_MAX] = {300, 600, 2000};
    size_t counts[] = {3, 5}, count_count = 2, trip_count = 3;
    const char *below = argc > 1 ? argv[1] : ".";
    unsigned duration = from_environment("MB_LINKS_SECONDS", 60),
             kills = from_environment("MB_LINKS_FAILOVERS", 30);
    must(kills <= KILLS_MAX && argc <= 3 + TRIPS_MAX, "arguments");
    if (argc > 2) {
        counts[0] = strtoul(argv[2], NULL, 10);
        count_count = 1;
    }
    if (argc > 3)
        trip_count = 0;
    for (int i = 3; i < argc; i++)
        trips[trip_count++] = (unsigned)strtoul(argv[i], NULL, 10);
    setenv("MAGICBIZ_MODULE_DIR", "tests/bench/.libs", 1);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < count_count && duration > 0; i++)
        far(below, counts[i], trips, trip_count, duration);
    if (kills > 0)
        failovers(below, kills);
    figure("processes", load_average(), "links_load");
    return 0;
}
