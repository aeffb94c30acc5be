/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Three durable replicas on this machine, at 1, 16, 64 and 256 outstanding commands of 256 bytes,
 * side by side in one run:
 *   paxos       src/paxos, src/wal and src/peer alone, with an empty apply; the leader puts the
 * load on itself (paxos_peer) raft        the same on Debian's libraft, which makes no snapshots
 * meanwhile (raft_peer) etcd        Debian's etcd-server: puts over its JSON gateway, to its leader
 *   unsigned    magicbizds: HTTP, Paxos, apply, Merkle tree, store; every signature is taken for a
 *               good one (no_verify); snapshots are being made
 *   signed      the same as they are: each of the three verifies every command
 * etcd and magicbizd get the same load over keep-alive connections, one outstanding on each, from
 * one process. libraft and etcd are left out, with a line that says so, where they are not
 * installed.
 *
 * bench_replicas [FOLDER [ROUNDS [SYSTEM…]]]: below FOLDER (.); each figure is a median of ROUNDS
 * (3).
 */
#include "config.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "load.h"
#include "peer_load.h"
#include "replicas.h"

#define ROUNDS_MAX   9
#define MEMBERS      3
#define PEER_SECONDS "2"
#define START_S      60.0
#define NO_VERIFY    "tests/bench/.libs/no_verify.so"

enum system { PAXOS, RAFT, ETCD, UNSIGNED, SIGNED, SYSTEMS };
static const char *const names[SYSTEMS] = {"paxos", "raft", "etcd", "unsigned", "signed"};
static const unsigned commands[PEER_LEVELS] = {1500, 6000, 12000, 20000};
static const char configuration[] =
    "election_ms = 2000\nrebuild_ms = 100\nheartbeat_ms = 100\nround_trip_ms = 20\n"
    "[daemon]\nsnapshot_blocks = 5000\n";

static struct point {
    double rate[ROUNDS_MAX], p50[ROUNDS_MAX], p99[ROUNDS_MAX]; /* /s, ms */
} all[SYSTEMS][PEER_LEVELS];
static double limits[ROUNDS_MAX], loads[ROUNDS_MAX]; /* verifications/s, all cores */
static bool left_out[SYSTEMS];
static const char *below = ".";

static void note(enum system system, size_t level, int round, double rate, double p50, double p99)
{
    struct point *p = &all[system][level];
    p->rate[round] = rate;
    p->p50[round] = p50;
    p->p99[round] = p99;
    printf("%s_%u %.0f /s %.2f %.2f ms, round %d\n", names[system], peer_outstanding[level], rate,
           p50, p99, round + 1);
    fflush(stdout);
}

static char *folder_new(void)
{
    char *folder = mb_asprintf("%s/bench-replicas-XXXXXX", below);
    must(mkdtemp(folder) != NULL, folder);
    return folder;
}

static void folder_remove(char *folder)
{
    int status;
    pid_t pid = spawn("/dev/null", (const char *const[]){"rm", "-rf", folder, NULL});
    must(waitpid(pid, &status, 0) == pid && status == 0, folder);
    free(folder);
}

static bool is_free(unsigned port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return is;
}

/* So many ports of the loopback are free behind the one returned. */
static unsigned free_ports(unsigned count)
{
    unsigned base = 20000 + (unsigned)getpid() % 1000 * 16, got = 0;
    for (; got < count; base += 16) {
        must(base < 60000, "free ports");
        for (got = 0; got < count && is_free(base + got + 1);)
            got++;
    }
    return base - 16;
}

/* --- paxos_peer and raft_peer: whichever leads writes its figures into its log. --- */

static bool read_points(const char *log, enum system system, int round)
{
    FILE *f = fopen(log, "r");
    char line[256];
    bool whole = false;
    while (f != NULL && !whole && fgets(line, sizeof line, f) != NULL)
        whole = strcmp(line, PEER_END "\n") == 0;
    if (whole)
        rewind(f);
    for (size_t level = 0; whole && fgets(line, sizeof line, f) != NULL;) {
        char *at;
        unsigned long outstanding = strtoul(line, &at, 10);
        if (level == PEER_LEVELS || outstanding != peer_outstanding[level] || at == line)
            continue;
        double rate = strtod(at, &at), p50 = strtod(at, &at), p99 = strtod(at, NULL);
        note(system, level++, round, rate, p50, p99);
    }
    if (f != NULL)
        fclose(f);
    return whole;
}

static void run_peers(enum system system, const char *program, int round)
{
    static const char *const numbers[MEMBERS] = {"1", "2", "3"};
    char *folder = folder_new(), *logs[MEMBERS], *port = mb_asprintf("%u", free_ports(MEMBERS));
    pid_t pids[MEMBERS];
    double until = seconds() + START_S;
    bool done = false;
    for (int i = 0; i < MEMBERS; i++) {
        logs[i] = path_in(folder, numbers[i]);
        pids[i] = spawn(logs[i], (const char *const[]){program, numbers[i], folder, PEER_SECONDS,
                                                       system == RAFT ? port : NULL, NULL});
    }
    while (!done) {
        usleep(50000);
        for (int i = 0; i < MEMBERS; i++) {
            done = done || read_points(logs[i], system, round);
            must(waitpid(pids[i], NULL, WNOHANG) == 0 && seconds() < until, program);
        }
    }
    for (int i = 0; i < MEMBERS; i++) {
        end(pids[i]);
        free(logs[i]);
    }
    free(port);
    folder_remove(folder);
}

/* --- Load over HTTP. --- */

static double processor_s(const pid_t pids[MEMBERS])
{
    double total = 0;
    for (int i = 0; i < MEMBERS; i++)
        total += daemon_processor_s(&(struct daemon){.pid = pids[i]});
    return total;
}

static void run_load(const struct load *load, enum system system, int round,
                     const pid_t pids[MEMBERS], void (*make)(void *arg, struct mb_buf *request),
                     void *arg)
{
    for (size_t level = 0; level < PEER_LEVELS; level++) {
        unsigned count = commands[level];
        struct mb_buf *requests = mb_calloc(count, sizeof *requests);
        double *latency = mb_calloc(count, sizeof *latency);
        for (unsigned i = 0; i < count; i++)
            make(arg, &requests[i]);
        double processor = processor_s(pids);
        double took = load_run(load, peer_outstanding[level], requests, count, latency);
        double p50 = median(latency, count), p99 = latency[count * 99 / 100];
        note(system, level, round, count / took, p50 * 1e3, p99 * 1e3);
        figure("us of processor/command, all replicas",
               (processor_s(pids) - processor) / count * 1e6, "%s_%u_processor", names[system],
               peer_outstanding[level]);
        for (unsigned i = 0; i < count; i++)
            mb_buf_clear(&requests[i]);
        free(requests);
        free(latency);
    }
}

/* --- etcd. --- */

static int etcd_connect(const void *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t) * (const unsigned *)port),
                            .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0)
        return fd;
    close(fd);
    return -1;
}

static void etcd_put(void *arg, struct mb_buf *request)
{
    uint64_t *n = arg;
    uint8_t value[PEER_COMMAND];
    char key[32];
    struct mb_buf k = {0}, v = {0};
    memset(value, 'x', sizeof value);
    must(mb_snprintf(key, sizeof key, "filler/%010" PRIu64, ++*n) == 0, "a key");
    mb_base64_encode(&k, key, strlen(key));
    mb_base64_encode(&v, value, sizeof value);
    char *text = mb_asprintf("{\"key\":\"%s\",\"value\":\"%s\"}", mb_buf_text(&k), mb_buf_text(&v));
    mb_buf_addf(request,
                "POST /v3/kv/put HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                "Content-Length: %zu\r\n\r\n%s",
                strlen(text), text);
    free(text);
    mb_buf_clear(&k);
    mb_buf_clear(&v);
}

/* Whether the member at this port leads. */
static bool etcd_leads(unsigned port)
{
    static const char request[] = "POST /v3/maintenance/status HTTP/1.1\r\nHost: x\r\n"
                                  "Connection: close\r\nContent-Length: 2\r\n\r\n{}";
    char text[8192];
    size_t len = 0;
    int fd = etcd_connect(&port);
    if (fd < 0)
        return false;
    ssize_t n = send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
    while (n > 0 && len < sizeof text - 1 &&
           (n = recv(fd, text + len, sizeof text - 1 - len, 0)) > 0)
        len += (size_t)n;
    text[len] = 0;
    close(fd);
    const char *body = strstr(text, "\r\n\r\n{");
    json_t *json = NULL;
    if (body == NULL || mb_json_parse(&json, body + 4, strcspn(body + 4, "\r\n"), NULL) != 0)
        return false;
    const char *leader = mb_json_get_text(json, "leader", "0");
    bool leads =
        strcmp(leader, "0") != 0 &&
        strcmp(leader, mb_json_get_text(json_object_get(json, "header"), "member_id", "")) == 0;
    json_decref(json);
    return leads;
}

static void run_etcd(int round)
{
    char *folder = folder_new(), *log = path_in(folder, "log");
    unsigned base = free_ports(2 * MEMBERS), leader = 0;
    uint64_t n = 0;
    pid_t pids[MEMBERS];
    char *cluster = mb_asprintf("m1=http://127.0.0.1:%u,m2=http://127.0.0.1:%u,"
                                "m3=http://127.0.0.1:%u",
                                base + 4, base + 5, base + 6);
    for (unsigned i = 0; i < MEMBERS; i++) {
        char *name = mb_asprintf("m%u", i + 1), *data = path_in(folder, name),
             *clients = mb_asprintf("http://127.0.0.1:%u", base + i + 1),
             *peers = mb_asprintf("http://127.0.0.1:%u", base + i + 4);
        pids[i] = spawn(log, (const char *const[]){"etcd",  "--name",
                                                   name,    "--data-dir",
                                                   data,    "--listen-client-urls",
                                                   clients, "--advertise-client-urls",
                                                   clients, "--listen-peer-urls",
                                                   peers,   "--initial-advertise-peer-urls",
                                                   peers,   "--initial-cluster",
                                                   cluster, "--logger",
                                                   "zap",   "--log-level",
                                                   "error", NULL});
        free(name);
        free(data);
        free(clients);
        free(peers);
    }
    for (double until = seconds() + START_S; leader == 0;) {
        usleep(50000);
        must(seconds() < until, "starting etcd");
        for (unsigned i = 0; i < MEMBERS; i++)
            if (etcd_leads(base + i + 1))
                leader = base + i + 1;
    }
    struct load load = {.connect = etcd_connect, .arg = &leader, .fine = "\"revision\""};
    run_load(&load, ETCD, round, pids, etcd_put, &n);
    for (int i = 0; i < MEMBERS; i++)
        end(pids[i]);
    free(cluster);
    free(log);
    folder_remove(folder);
}

/* --- magicbizd. --- */

static int replica_connect(const void *daemon)
{
    return daemon_connect(daemon);
}

static void replica_put(void *arg, struct mb_buf *request)
{
    struct daemon *first = arg;
    char body[PEER_COMMAND + 64], text[PEER_COMMAND + 1];
    memset(text, 'x', PEER_COMMAND);
    text[PEER_COMMAND] = 0;
    must(mb_snprintf(body, sizeof body, "{\"n\":%" PRIu64 ",\"text\":\"%s\"}", first->nonce,
                     text) == 0,
         "a body");
    daemon_command(first, request, "filler.set", body);
}

static double sum(const struct replicas *r, const char *metric)
{
    double total = 0;
    for (size_t i = 0; i < r->count; i++)
        total += replica_metric(&r->of[i], metric);
    return total;
}

/* Of all the commands of a round, together. */
static void print_costs(const struct replicas *r, enum system system, double wire, double log,
                        double done)
{
    figure("bytes/command", (sum(r, "peer_sent_bytes_total") - wire) / done, "%s_wire_all_replicas",
           names[system]);
    figure("bytes/command", (sum(r, "wal_bytes_total") - log) / done / (double)r->count,
           "%s_log_one_replica", names[system]);
    for (size_t i = 0; i < r->count; i++)
        figure("MB", daemon_resident_peak(&r->of[i]), "%s_resident_most_%zu", names[system], i + 1);
}

static void run_replicas(enum system system, int round)
{
    struct replicas r;
    replicas_found(&r, MEMBERS, below, "filler", configuration, false);
    if (system == UNSIGNED)
        setenv("LD_PRELOAD", NO_VERIFY, 1);
    replicas_start(&r);
    unsetenv("LD_PRELOAD");
    int leader = replicas_leader(&r);
    pid_t pids[MEMBERS];
    for (int i = 0; i < MEMBERS; i++)
        pids[i] = r.of[i].pid;
    double wire = sum(&r, "peer_sent_bytes_total"), log = sum(&r, "wal_bytes_total"),
           done = sum(&r, "ledger_commands_total"),
           elections = sum(&r, "consensus_elections_total");
    struct load load = {.connect = replica_connect, .arg = &r.of[leader], .fine = "\"ok\":true"};
    run_load(&load, system, round, pids, replica_put, &r.of[0]);
    must(replicas_leader(&r) == leader && sum(&r, "consensus_elections_total") == elections,
         "leading all along");
    print_costs(&r, system, wire, log, (sum(&r, "ledger_commands_total") - done) / MEMBERS);
    replicas_close(&r);
}

/* --- The table. --- */

static double of(double *values, int rounds)
{
    double copy[ROUNDS_MAX];
    memcpy(copy, values, sizeof copy);
    return median(copy, (size_t)rounds);
}

static double rate(enum system system, size_t level, int rounds)
{
    return left_out[system] ? 0 : of(all[system][level].rate, rounds);
}

static void print_table(int rounds)
{
    double limit = of(limits, rounds) / 3;
    printf("\n| commands/s (p50, p99 ms) at | 1 | 16 | 64 | 256 outstanding "
           "|\n|---|---|---|---|---|\n");
    for (int s = 0; s < SYSTEMS; s++) {
        if (left_out[s])
            continue;
        printf("| %s |", names[s]);
        for (size_t l = 0; l < PEER_LEVELS; l++)
            printf(" %.0f (%.2f, %.2f) |", rate((enum system)s, l, rounds),
                   of(all[s][l].p50, rounds), of(all[s][l].p99, rounds));
        printf("\n");
    }
    static const struct {
        enum system a, b;
    } ratios[] = {{PAXOS, RAFT}, {PAXOS, ETCD}, {UNSIGNED, ETCD}, {SIGNED, ETCD}};
    for (size_t i = 0; i < sizeof ratios / sizeof *ratios; i++) {
        if (left_out[ratios[i].a] || left_out[ratios[i].b])
            continue;
        printf("| %s / %s |", names[ratios[i].a], names[ratios[i].b]);
        for (size_t l = 0; l < PEER_LEVELS; l++)
            printf(" %.2f |", rate(ratios[i].a, l, rounds) / rate(ratios[i].b, l, rounds));
        printf("\n");
    }
    if (!left_out[UNSIGNED]) {
        printf("| unsigned p99 / p50 |");
        for (size_t l = 0; l < PEER_LEVELS; l++)
            printf(" %.2f |", of(all[UNSIGNED][l].p99, rounds) / of(all[UNSIGNED][l].p50, rounds));
        printf("\n");
    }
    if (!left_out[SIGNED]) {
        printf("| signed / (verifications / 3) |");
        for (size_t l = 0; l < PEER_LEVELS; l++)
            printf(" %.2f |", rate(SIGNED, l, rounds) / limit);
        printf("\n");
    }
    printf("verifications/s of all cores / 3: %.0f; load %.1f\n", limit, of(loads, rounds));
}

static bool is_there(const char *program)
{
    int status;
    pid_t pid = spawn("/dev/null", (const char *const[]){program, "--version", NULL});
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) != 127;
}

static void leave_out(int argc, char **argv)
{
    for (int s = 0; s < SYSTEMS && argc > 3; s++) {
        left_out[s] = true;
        for (int i = 3; i < argc; i++)
            left_out[s] = left_out[s] && strcmp(argv[i], names[s]) != 0;
    }
    if (!left_out[RAFT] && access("tests/bench/raft_peer", X_OK) != 0) {
        printf("raft is left out: libraft-dev and libuv1-dev were not there when this was built\n");
        left_out[RAFT] = true;
    }
    if (!left_out[ETCD] && !is_there("etcd")) {
        printf("etcd is left out: etcd-server is not installed\n");
        left_out[ETCD] = true;
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 2 ? (int)strtoul(argv[2], NULL, 10) : 3;
    must(rounds >= 1 && rounds <= ROUNDS_MAX, "at most 9 rounds");
    below = argc > 1 ? argv[1] : ".";
    setenv("MAGICBIZ_MODULE_DIR", "tests/bench/.libs", 1);
    leave_out(argc, argv);
    for (int round = 0; round < rounds; round++) {
        if (!left_out[PAXOS])
            run_peers(PAXOS, "tests/bench/paxos_peer", round);
        if (!left_out[RAFT])
            run_peers(RAFT, "tests/bench/raft_peer", round);
        if (!left_out[ETCD])
            run_etcd(round);
        if (!left_out[UNSIGNED])
            run_replicas(UNSIGNED, round);
        limits[round] = left_out[SIGNED] ? 0 : verifications(processors());
        if (!left_out[SIGNED])
            run_replicas(SIGNED, round);
        loads[round] = load_average();
    }
    print_table(rounds);
    return 0;
}
