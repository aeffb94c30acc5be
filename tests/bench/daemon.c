/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_S 60.0

void must(bool fine, const char *what)
{
    if (fine)
        return;
    fprintf(stderr, "benchmark: %s failed (%s)\n", what, strerror(errno));
    exit(1);
}

double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double own_processor_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

double load_average(void)
{
    double load = 0;
    must(getloadavg(&load, 1) == 1, "getloadavg");
    return load;
}

unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}

void figure(const char *unit, double value, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf(" %.*f %s\n", value < 10 ? 3 : 1, value, unit);
    fflush(stdout);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}

/* --- The process. --- */

static pid_t spawned[16];

/* With what they forked: fcgiwrap's workers outlive it. */
static void kill_groups(void)
{
    for (size_t i = 0; i < sizeof spawned / sizeof *spawned; i++)
        if (spawned[i] > 0)
            kill(-spawned[i], SIGKILL);
}

void end(pid_t pid)
{
    kill(-pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

pid_t spawn(const char *log, const char *const argv[])
{
    pid_t pid = fork();
    must(pid >= 0, "fork");
    if (pid > 0) {
        static size_t next;
        if (next == 0)
            atexit(kill_groups);
        spawned[next++ % (sizeof spawned / sizeof *spawned)] = pid;
        setpgid(pid, pid);
        return pid;
    }
    setpgid(0, 0);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        _exit(126);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a benchmark that fails leaves nothing running */
    setenv("MAGICBIZ_MODULE_DIR", "modules/.libs", 0);
    execvp(argv[0], (char *const *)argv);
    _exit(127);
}

char *path_in(const char *folder, const char *name)
{
    return mb_asprintf("%s/%s", folder, name);
}

static void read_org(struct daemon *d)
{
    char *path = path_in(d->folder, "data/genesis.json"), text[65536];
    FILE *f = fopen(path, "rb");
    must(f != NULL, path);
    size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    struct mb_hash org = mb_sha256(text, n);
    mb_hash_hex(&org, d->org);
    json_t *genesis;
    must(mb_json_parse(&genesis, text, n, NULL) == 0 &&
             mb_snprintf(d->onion, sizeof d->onion, "%s", mb_json_get_text(genesis, "onion", "")) ==
                 0,
         path);
    json_decref(genesis);
    free(path);
}

void daemon_found(struct daemon *d, const char *below, const char *module)
{
    static const uint8_t seed[32] = {7};
    char public_key[MB_PUBLIC_TEXT_SIZE];
    *d = (struct daemon){.folder = mb_asprintf("%s/bench-daemon-XXXXXX", below)};
    must(mkdtemp(d->folder) != NULL, d->folder);
    d->socket = path_in(d->folder, "data/run/public.sock");
    mb_secret_key_from_seed(&d->founder, seed);
    mb_public_key_text(&d->founder.public_key, public_key);
    mb_public_key_fingerprint(&d->founder.public_key, d->fingerprint);
    char *data = path_in(d->folder, "data"), *log = path_in(d->folder, "log");
    const char *const argv[] = {"./magicbizd", "init",   "--name", "bench", "--founder",
                                public_key,    "--data", data,     "--tor", "none",
                                "--module",    module,   NULL};
    int status;
    pid_t pid = spawn(log, argv);
    must(waitpid(pid, &status, 0) == pid && status == 0, "magicbizd init");
    free(data);
    free(log);
    char *config = path_in(d->folder, "data/magicbiz.conf");
    FILE *f = fopen(config, "a");
    must(f != NULL && fputs("[http]\nconnections = 4096\n", f) >= 0 && fclose(f) == 0, config);
    free(config);
    read_org(d);
    d->expires = (int64_t)time(NULL) / 3600 * 3600 + 86400;
}

int try_connect(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    must(mb_snprintf(a.sun_path, sizeof a.sun_path, "%s", path) == 0,
         "a folder with a shorter name");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    close(fd);
    return -1;
}

int daemon_connect(const struct daemon *d)
{
    int fd = try_connect(d->socket);
    must(fd >= 0, "connect");
    return fd;
}

double daemon_start(struct daemon *d)
{
    char *config = path_in(d->folder, "data/magicbiz.conf"), *log = path_in(d->folder, "log");
    const char *const argv[] = {"./magicbizd", "run", "--config", config, NULL};
    struct mb_buf answer = {0};
    double start = seconds();
    int fd = -1;
    unlink(d->socket);
    d->pid = spawn(log, argv);
    while ((fd = try_connect(d->socket)) < 0) {
        int status;
        must(seconds() - start < START_S && waitpid(d->pid, &status, WNOHANG) == 0,
             "starting magicbizd");
        usleep(2000);
    }
    close(fd);
    must(daemon_call(d, mb_bytes_of("GET /v1/org HTTP/1.1\r\nHost: x\r\n\r\n"), &answer) == 200,
         "GET /v1/org");
    mb_buf_clear(&answer);
    free(config);
    free(log);
    return seconds() - start;
}

void daemon_stop(struct daemon *d)
{
    int status;
    if (d->pid == 0)
        return;
    kill(d->pid, SIGTERM);
    must(waitpid(d->pid, &status, 0) == d->pid && status == 0, "stopping magicbizd");
    d->pid = 0;
}

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *where)
{
    (void)s, (void)kind, (void)where;
    return remove(path);
}

void daemon_close(struct daemon *d)
{
    daemon_stop(d);
    must(nftw(d->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS) == 0, d->folder);
    free(d->folder);
    free(d->socket);
    mb_secret_key_clear(&d->founder);
}

/* --- Calls. --- */

void daemon_command(struct daemon *d, struct mb_buf *request, const char *type, const char *body)
{
    uint8_t nonce[16] = {0};
    struct mb_envelope e = {0};
    json_t *json;
    must(mb_json_parse(&json, body, strlen(body), NULL) == 0, body);
    d->nonce++;
    memcpy(nonce + 8, &d->nonce, sizeof d->nonce);
    mb_command_make(&e, &d->founder, d->org, type, nonce, d->expires, json, 0);
    json_t *envelope = mb_envelope_json(&e);
    char *text = mb_json_text(envelope);
    mb_buf_addf(request,
                "POST /v1/commands HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                "Content-Length: %zu\r\n\r\n%s",
                strlen(text), text);
    free(text);
    json_decref(envelope);
    json_decref(json);
    mb_envelope_clear(&e);
}

unsigned daemon_call(const struct daemon *d, struct mb_bytes request, struct mb_buf *answer)
{
    char piece[65536];
    int fd = daemon_connect(d);
    while (request.len > 0) {
        ssize_t n = send(fd, request.data, request.len, MSG_NOSIGNAL);
        must(n > 0, "send");
        request.data += n;
        request.len -= (size_t)n;
    }
    mb_buf_reset(answer);
    const char *end = NULL, *length = NULL;
    while (end == NULL ||
           answer->len < (size_t)(end - mb_buf_text(answer)) + 4 + strtoul(length + 16, NULL, 10)) {
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        must(n > 0, "an answer");
        mb_buf_add(answer, piece, (size_t)n);
        end = strstr(mb_buf_text(answer), "\r\n\r\n");
        length = end == NULL ? NULL : strstr(mb_buf_text(answer), "\r\nContent-Length: ");
        must(end == NULL || length != NULL, "an answer with a length");
        length = length == NULL ? NULL : length + 2;
    }
    close(fd);
    must(answer->len > 12, "an answer");
    return (unsigned)strtoul(mb_buf_text(answer) + 9, NULL, 10);
}

void daemon_do(struct daemon *d, const char *type, const char *body)
{
    struct mb_buf request = {0}, answer = {0};
    daemon_command(d, &request, type, body);
    if (daemon_call(d, mb_buf_bytes(&request), &answer) != 200) {
        fprintf(stderr, "%s\n", mb_buf_text(&answer));
        must(false, type);
    }
    mb_buf_clear(&request);
    mb_buf_clear(&answer);
}

/* --- What the kernel says of it. --- */

static double from_status(const struct daemon *d, const char *field)
{
    char path[64], line[256];
    double kib = -1;
    must(mb_snprintf(path, sizeof path, "/proc/%ld/status", (long)d->pid) == 0, "path");
    FILE *f = fopen(path, "r");
    must(f != NULL, path);
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, field, strlen(field)) == 0)
            kib = strtod(line + strlen(field), NULL);
    fclose(f);
    must(kib >= 0, field);
    return kib * 1024 / 1e6;
}

double daemon_resident(const struct daemon *d)
{
    return from_status(d, "VmRSS:");
}

double daemon_resident_peak(const struct daemon *d)
{
    return from_status(d, "VmHWM:");
}

void daemon_forget_peak(const struct daemon *d)
{
    char path[64];
    must(mb_snprintf(path, sizeof path, "/proc/%ld/clear_refs", (long)d->pid) == 0, "path");
    FILE *f = fopen(path, "w");
    must(f != NULL && fputs("5", f) >= 0 && fclose(f) == 0, path);
}

double daemon_processor_s(const struct daemon *d)
{
    char path[64], text[1024];
    must(mb_snprintf(path, sizeof path, "/proc/%ld/stat", (long)d->pid) == 0, "path");
    FILE *f = fopen(path, "r");
    must(f != NULL && fgets(text, sizeof text, f) != NULL, path);
    fclose(f);
    char *at = strrchr(text, ')'); /* behind it, field 3 */
    must(at != NULL, path);
    for (int field = 2; field < 14; field++) {
        at = strchr(at + 1, ' ');
        must(at != NULL, path);
    }
    double user = strtod(at, &at);
    return (user + strtod(at, NULL)) / (double)sysconf(_SC_CLK_TCK);
}
