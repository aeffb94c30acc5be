/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Catching up by blocks, and what making a snapshot costs those who write: bench_catchup [FOLDER
 * [BLOCKS [KEYS [OUTSTANDING]]]]. A real magicbizd in FOLDER (.) gets commands, OUTSTANDING (16) at
 * once, until it has BLOCKS (100,000); then another joins and follows it, on the same machine, so
 * that both share its processors. The rate counts from the daemon's start. Beside it stand, in
 * commands a second, what it would be if both daemons had the processors to themselves and kept
 * them busy (from the processor time that they used, for on a busy machine nothing else tells),
 * and the limits: what the processors would verify if they did nothing else (each command's
 * signature, and each block's: a follower takes nobody's word for them), and what the disk would
 * take of the archive's bytes. Then the state is filled to KEYS (300,000), and commands one after
 * another are measured while snapshots of it are made and while none is.
 */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filler.h"
#include "ledger/block.h"
#include "load.h"

#define LOT     10000 /* commands signed and sent together */
#define WRITE   (1u << 20)
#define VERIFY  5000
#define POLL_US 200000 /* a follower looks for its newest checkpoint when it is asked */

static int connect_to(const void *arg)
{
    return daemon_connect(arg);
}

/* A number or a text of the answer to path. */
static json_t *ask(const struct daemon *d, const char *path)
{
    struct mb_buf request = {0}, answer = {0};
    json_t *json = NULL;
    mb_buf_addf(&request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    unsigned status = daemon_call(d, mb_buf_bytes(&request), &answer);
    const char *body = strstr(mb_buf_text(&answer), "\r\n\r\n");
    body = body == NULL ? mb_buf_text(&answer) : body + 4;
    if (status == 200)
        (void)mb_json_parse(&json, body, strlen(body), NULL);
    mb_buf_clear(&request);
    mb_buf_clear(&answer);
    return json;
}

static int64_t slot_of(const struct daemon *d)
{
    json_t *json = ask(d, "/v1/org");
    int64_t slot = mb_json_get_int(json, "slot", -1);
    json_decref(json);
    return slot;
}

/* So many commands; seconds, and *worst the longest that one took. */
static double send_lot(struct daemon *d, unsigned outstanding, unsigned count, double *worst,
                       double *p50)
{
    struct mb_buf *requests = mb_calloc(count, sizeof *requests);
    double *latency = mb_calloc(count, sizeof *latency);
    char body[64];
    for (unsigned i = 0; i < count; i++) {
        must(mb_snprintf(body, sizeof body, "{\"n\":%" PRIu64 "}", d->nonce % 1000) == 0, "body");
        daemon_command(d, &requests[i], "filler.put", body);
    }
    const struct load load = {.connect = connect_to, .arg = d, .fine = "\"ok\":true"};
    double took = load_run(&load, outstanding, requests, count, latency);
    *p50 = median(latency, count) * 1e3;
    *worst = latency[count - 1] * 1e3;
    for (unsigned i = 0; i < count; i++)
        mb_buf_clear(&requests[i]);
    free(requests);
    free(latency);
    return took;
}

/* Bytes a second that reach the disk when they are written one MiB after another and synced. */
static double disk_rate(const char *folder)
{
    char *path = path_in(folder, "disk");
    uint8_t *bytes = mb_calloc(1, WRITE);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    memset(bytes, 0xa5, WRITE);
    double start = seconds();
    unsigned n = 0;
    for (; seconds() - start < 1; n++)
        must(write(fd, bytes, WRITE) == WRITE && fdatasync(fd) == 0, "write");
    double rate = n * (double)WRITE / (seconds() - start);
    close(fd);
    unlink(path);
    free(bytes);
    free(path);
    return rate;
}

/* All its files. */
static double archive_bytes(const char *folder)
{
    char *path = path_in(folder, "data/archive");
    DIR *dir = opendir(path);
    double bytes = 0;
    struct stat st;
    must(dir != NULL, path);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.' && fstatat(dirfd(dir), e->d_name, &st, 0) == 0)
            bytes += (double)st.st_size;
    closedir(dir);
    free(path);
    return bytes;
}

static void add_config(const struct daemon *d, const char *section, const char *line)
{
    char *path = path_in(d->folder, "data/magicbiz.conf");
    struct mb_buf text = {0};
    char chunk[4096];
    FILE *f = fopen(path, "r");
    must(f != NULL, path);
    while (fgets(chunk, sizeof chunk, f) != NULL) {
        mb_buf_add_text(&text, chunk);
        if (strncmp(chunk, section, strlen(section)) == 0)
            mb_buf_addf(&text, "%s\n", line);
    }
    fclose(f);
    f = fopen(path, "w");
    must(f != NULL && fputs(mb_buf_text(&text), f) >= 0 && fclose(f) == 0, path);
    mb_buf_clear(&text);
    free(path);
}

static void join(struct daemon *d, const struct daemon *to)
{
    json_t *zero = ask(to, "/v1/consistency?from=0&to=0");
    uint8_t header[MB_HEADER0_LEN];
    char hex[MB_HASH_HEX_SIZE];
    const char *text = mb_json_get_text(zero, "header", "");
    must(mb_hex_decode(header, sizeof header, text, strlen(text)) == 0, "header 0");
    struct mb_hash hash = mb_sha256(header, sizeof header);
    mb_hash_hex(&hash, hex);
    *d = (struct daemon){.folder = mb_asprintf("%s/follower", to->folder)};
    must(mkdir(d->folder, 0700) == 0, d->folder);
    d->socket = path_in(d->folder, "data/run/public.sock");
    char *data = path_in(d->folder, "data"), *log = path_in(d->folder, "log");
    char *invite = mb_asprintf("magicbiz:%s@%s#0.%s", to->org, to->onion, hex);
    const char *const argv[] = {"./magicbizd", "join",     "--invite", invite,   "--data",
                                data,          "--tor",    "none",     "--role", "follower",
                                "--socket",    to->socket, NULL};
    int status;
    pid_t pid = spawn(log, argv);
    must(waitpid(pid, &status, 0) == pid && status == 0, "magicbizd join");
    add_config(d, "[follow]", "snapshot_behind = 0");
    json_decref(zero);
    free(invite);
    free(data);
    free(log);
}

/* Processor seconds for one. */
static double verification_s(void)
{
    static const uint8_t seed[32] = {1};
    struct mb_secret_key key;
    uint8_t message[400] = {0}, sig[64];
    mb_secret_key_from_seed(&key, seed);
    mb_ed25519_sign(&key, mb_bytes(message, sizeof message), sig);
    double start = own_processor_s();
    for (unsigned i = 0; i < VERIFY; i++)
        must(mb_ed25519_verify(&key.public_key, mb_bytes(message, sizeof message), sig), "verify");
    return (own_processor_s() - start) / VERIFY;
}

static void measure_catchup(struct daemon *d, uint64_t commands)
{
    struct daemon follower;
    int64_t to = slot_of(d), at = 0;
    double verify = verification_s(), disk = disk_rate(d->folder), all = processors();
    join(&follower, d);
    double start = seconds(), took = 0, served = daemon_processor_s(d), n = (double)commands;
    daemon_start(&follower);
    while (at < to && took < 1200) {
        usleep(POLL_US);
        at = slot_of(&follower);
        took = seconds() - start;
    }
    must(at >= to, "the follower catches up");
    double processor = daemon_processor_s(&follower), serving = daemon_processor_s(d) - served;
    verify = (verify + verification_s()) / 2;
    figure("blocks", (double)to, "catchup_blocks");
    figure("commands", n, "catchup_commands");
    figure("s", took, "catchup_took");
    figure("blocks/s", (double)to / took, "catchup_rate_blocks");
    figure("commands/s", n / took, "catchup_rate");
    figure("us of processor/command", processor / n * 1e6, "catchup_follower");
    figure("us of processor/command", serving / n * 1e6, "catchup_source");
    figure("us of processor/verification", verify * 1e6, "catchup_verification");
    figure("of the processors", (processor + serving) / took / all, "catchup_used");
    figure("commands/s", all * n / (processor + serving), "catchup_alone");
    figure("commands/s", all * n / (n + (double)to) / verify, "catchup_limit_verifications");
    figure("commands/s", disk * n / archive_bytes(follower.folder), "catchup_limit_disk");
    figure("processes", load_average(), "catchup_load");
    daemon_stop(&follower);
    free(follower.socket);
    free(follower.folder);
}

static void measure_stalls(struct daemon *d, uint64_t keys)
{
    double worst, p50;
    char body[64];
    for (uint64_t n = 0; n < keys; n += FILLER_KEYS) {
        must(mb_snprintf(body, sizeof body, "{\"from\":%" PRIu64 "}", n) == 0, "body");
        daemon_do(d, "filler.fill", body);
    }
    send_lot(d, 1, 5000, &worst, &p50);
    figure("ms", p50, "snapshot_none_commit_p50");
    figure("ms", worst, "snapshot_none_commit_worst");
    daemon_stop(d);
    add_config(d, "[daemon]", "snapshot_blocks = 64");
    daemon_start(d);
    send_lot(d, 1, 5000, &worst, &p50);
    json_t *snapshot = ask(d, "/v1/snapshot");
    must(snapshot != NULL, "a snapshot was made");
    figure("MB", (double)json_array_size(json_object_get(snapshot, "chunks")), "snapshot_chunks");
    figure("ms", p50, "snapshot_making_commit_p50");
    figure("ms", worst, "snapshot_making_commit_worst");
    figure("processes", load_average(), "snapshot_load");
    json_decref(snapshot);
}

int main(int argc, char **argv)
{
    struct daemon d;
    uint64_t blocks = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
    uint64_t keys = argc > 3 ? strtoull(argv[3], NULL, 10) : 300000;
    unsigned outstanding = argc > 4 ? (unsigned)strtoul(argv[4], NULL, 10) : 16;
    double worst, p50;
    uint64_t commands = 0;
    setenv("MAGICBIZ_MODULE_DIR", "tests/bench/.libs", 1);
    daemon_found(&d, argc > 1 ? argv[1] : ".", "filler");
    daemon_start(&d);
    while (slot_of(&d) < (int64_t)blocks) {
        send_lot(&d, outstanding, LOT, &worst, &p50);
        commands += LOT;
    }
    sleep(6); /* the next checkpoint covers them */
    measure_catchup(&d, commands);
    daemon_stop(&d);
    daemon_start(&d);
    measure_stalls(&d, keys);
    daemon_close(&d);
    return 0;
}
