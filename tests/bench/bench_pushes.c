/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Pushes that create a ref, over a Unix socket: a real magicbizd (signed certificates) beside
 * `git http-backend` behind nginx and fcgiwrap (unsigned), in repositories with no refs but main
 * and with 20,000 more, by 1 and by 4 clients. bench_pushes [FOLDER].
 *
 * A push is what git does on a kept connection: read the advertisement of all refs, then post one
 * command, the objects being there. The clients are threads of this program and speak the protocol
 * themselves, for starting a git would hide the servers; of a long advertisement they keep the
 * beginning, and read the rest into one place. Turns of a few seconds each, some rounds; figures
 * are medians, and so are ratios, of those of each round.
 *
 * The advertisement of 20,000 refs is 1.3 MB that must cross the socket for each push: how often so
 * many bytes cross one between two threads is measured beside it, and what the rate without refs
 * would come down to by that alone. Processor time for a push is less at the mercy of what else the
 * machine does.
 *
 * Then 200 MB that do not compress are pushed to the daemon, whose memory is watched, and cloned
 * from both: everything that git clone asks for, over the socket, thrown away as it comes.
 */
#include "config.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../support/tools.h"
#include "daemon.h"
#include "sign/pushcert.h"

#define ROUNDS     5
#define TURN_S     1.5
#define WIRE_S     0.5
#define MANY       20000u
#define AT_ONCE    1000u      /* refs of one certificate, while a repository is filled */
#define KEPT       (1u << 18) /* bytes of an answer, and somewhat more */
#define NO_ID      "0000000000000000000000000000000000000000"
#define MORE_REFS  2
#define FILES      50
#define FILE_BYTES 4000000u

static const uint8_t empty_pack[32] = {
    'P',  'A',  'C',  'K',  0,    0,    0,    2,    0,    0,    0,    0,    0x02, 0x9d, 0x08, 0x82,
    0x3b, 0xd8, 0xa8, 0xea, 0xb5, 0x10, 0xad, 0x6a, 0xc7, 0x5c, 0x82, 0x3c, 0xfd, 0x3e, 0xd3, 0x1e};

enum server {
    OURS,
    HTTP_BACKEND,
    SERVERS,
};
static struct daemon d;
static char *nginx_socket, commit[41];
static double own_us, daemon_us; /* processor time for a push of the last turn of ours */

/* --- The wire. --- */

static void pkt(struct mb_buf *out, const char *text, size_t len)
{
    mb_buf_addf(out, "%04zx", len + 4);
    mb_buf_add(out, text, len);
}

struct client {
    enum server server;
    const char *repo;
    int fd;
    unsigned number, round, pushes;
    size_t answered; /* bytes of the last answer */
    double until;
    struct mb_buf in, request, body;
};

static void connect_client(struct client *c)
{
    c->fd = try_connect(c->server == OURS ? d.socket : nginx_socket);
    must(c->fd >= 0, "connect");
}

/* Whole, by its length or its last chunk; a body of git's never ends like one before its end. in is
 * what was kept of len bytes, last are the last of them. */
static bool is_whole(const struct mb_buf *in, size_t len, const char last[5])
{
    const char *text = (const char *)in->data, *end = in->len > 0 ? strstr(text, "\r\n\r\n") : NULL;
    if (end == NULL)
        return false;
    const char *length = strstr(text, "\r\nContent-Length: ");
    if (length != NULL && length < end)
        return len >= (size_t)(end + 4 - text) + strtoul(length + 18, NULL, 10);
    return memcmp(last, "0\r\n\r\n", 5) == 0;
}

/* Some bytes more of an answer: kept, while they are few. */
static size_t receive(struct client *c, char last[5])
{
    static _Thread_local uint8_t thrown_away[KEPT];
    bool keep = c->in.len < KEPT;
    if (keep)
        mb_buf_reserve(&c->in, KEPT);
    uint8_t *to = keep ? c->in.data + c->in.len : thrown_away;
    ssize_t n = recv(c->fd, to, KEPT, 0);
    must(n > 0, "an answer");
    if (keep) {
        c->in.len += (size_t)n;
        c->in.data[c->in.len] = 0;
    }
    for (ssize_t i = n > 5 ? n - 5 : 0; i < n; i++) {
        memmove(last, last + 1, 4);
        last[4] = (char)to[i];
    }
    return (size_t)n;
}

static void call(struct client *c)
{
    const struct mb_buf *q = &c->request;
    for (size_t done = 0; done < q->len;) {
        ssize_t n = send(c->fd, q->data + done, q->len - done, MSG_NOSIGNAL);
        must(n > 0, "send");
        done += (size_t)n;
    }
    char last[5] = {0};
    c->answered = 0;
    mb_buf_reset(&c->in);
    while (!is_whole(&c->in, c->answered, last))
        c->answered += receive(c, last);
    if (strncmp(mb_buf_text(&c->in), "HTTP/1.1 200 ", 13) != 0) {
        fprintf(stderr, "%.2000s\n", mb_buf_text(&c->in));
        must(false, "a call");
    }
}

/* The answer's text anywhere in it, whatever NULs are there. */
static const char *find(const struct mb_buf *in, const char *text)
{
    return memmem(in->data, in->len, text, strlen(text));
}

static void advertisement(struct client *c)
{
    mb_buf_reset(&c->request);
    mb_buf_addf(&c->request,
                "GET /%s.git/info/refs?service=git-receive-pack HTTP/1.1\r\nHost: %s\r\n\r\n",
                c->repo, d.onion);
    call(c);
    must(find(&c->in, c->server == OURS ? "push-cert=" : "report-status") != NULL,
         "an advertisement");
}

/* The body of a signed push of count refs called name-000 …, with the nonce that was advertised. */
static void signed_push(struct client *c, const char *name, unsigned count)
{
    struct mb_buf cert = {0}, binary = {0};
    const char *nonce = find(&c->in, "push-cert=") + strlen("push-cert=");
    mb_buf_addf(&cert,
                "certificate version 0.1\npusher %s %lld +0000\npushee http://%s/%s.git\n"
                "nonce %.*s\n\n",
                d.fingerprint, (long long)time(NULL), d.onion, c->repo, (int)strcspn(nonce, " \n"),
                nonce);
    for (unsigned i = 0; i < count; i++)
        mb_buf_addf(&cert, NO_ID " %s refs/heads/%s-%03u\n", commit, name, i);
    mb_sshsig_sign(&d.founder, "git", mb_buf_bytes(&cert), &binary);
    mb_sshsig_armor(&cert, mb_buf_bytes(&binary));
    static const char head[] = "push-cert\0report-status object-format=sha1 agent=git";
    pkt(&c->body, head, sizeof head - 1);
    for (const char *at = mb_buf_text(&cert); *at != 0;) {
        size_t n = strcspn(at, "\n") + 1;
        pkt(&c->body, at, n);
        at += n;
    }
    pkt(&c->body, "push-cert-end\n", 14);
    mb_buf_clear(&cert);
    mb_buf_clear(&binary);
}

static void unsigned_push(struct client *c, const char *name)
{
    char line[256];
    must(mb_snprintf(line, sizeof line, NO_ID " %s refs/heads/%s-000", commit, name) == 0, "name");
    size_t n = strlen(line) + 1;
    must(mb_snprintf(line + n, sizeof line - n, " report-status agent=git") == 0, "line");
    pkt(&c->body, line, n + strlen(line + n));
}

static void push(struct client *c, const char *name, unsigned count, struct mb_bytes pack)
{
    advertisement(c);
    mb_buf_reset(&c->body);
    if (c->server == OURS)
        signed_push(c, name, count);
    else
        unsigned_push(c, name);
    mb_buf_add_text(&c->body, "0000");
    mb_buf_add_bytes(&c->body, pack);
    mb_buf_reset(&c->request);
    mb_buf_addf(&c->request,
                "POST /%s.git/git-receive-pack HTTP/1.1\r\nHost: %s\r\n"
                "Content-Type: application/x-git-receive-pack-request\r\n"
                "Content-Length: %zu\r\n\r\n",
                c->repo, d.onion, c->body.len);
    mb_buf_add_bytes(&c->request, mb_buf_bytes(&c->body));
    call(c);
    if (find(&c->in, "unpack ok\n") == NULL || find(&c->in, "ok refs/heads/") == NULL ||
        find(&c->in, "ng refs/") != NULL) {
        fprintf(stderr, "%.2000s\n", mb_buf_text(&c->in));
        must(false, "a push");
    }
}

static void *push_on(void *arg)
{
    struct client *c = arg;
    char name[64];
    connect_client(c);
    while (seconds() < c->until) {
        must(mb_snprintf(name, sizeof name, "r%u-c%u-%u", c->round, c->number, c->pushes++) == 0,
             "name");
        push(c, name, 1, mb_bytes(empty_pack, sizeof empty_pack));
    }
    close(c->fd);
    mb_buf_clear(&c->in);
    mb_buf_clear(&c->request);
    mb_buf_clear(&c->body);
    return NULL;
}

static double turn(enum server server, const char *repo, unsigned count, unsigned number)
{
    pthread_t threads[8];
    struct client clients[8];
    double start = seconds(), own = own_processor_s(), its = daemon_processor_s(&d);
    unsigned pushes = 0;
    for (unsigned i = 0; i < count; i++) {
        clients[i] = (struct client){
            .server = server, .repo = repo, .number = i, .round = number, .until = start + TURN_S};
        must(pthread_create(&threads[i], NULL, push_on, &clients[i]) == 0, "pthread_create");
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        pushes += clients[i].pushes;
    }
    double took = seconds() - start;
    if (server == OURS) {
        own_us = (own_processor_s() - own) * 1e6 / pushes;
        daemon_us = (daemon_processor_s(&d) - its) * 1e6 / pushes;
    }
    return pushes / took;
}

/* How often a second an advertisement's bytes go from one thread to another. */
struct wire {
    int ends[2];
    size_t bytes;
    unsigned times;
    double until;
};

static void *send_on(void *arg)
{
    struct wire *w = arg;
    uint8_t *bytes = mb_calloc(1, w->bytes), go;
    while (recv(w->ends[0], &go, 1, 0) == 1)
        for (size_t done = 0; done < w->bytes;) {
            ssize_t n = send(w->ends[0], bytes + done, w->bytes - done, MSG_NOSIGNAL);
            must(n > 0, "send");
            done += (size_t)n;
        }
    free(bytes);
    return NULL;
}

static void *receive_on(void *arg)
{
    struct wire *w = arg;
    uint8_t *to = mb_alloc(KEPT);
    for (; seconds() < w->until; w->times++) {
        must(send(w->ends[1], "", 1, MSG_NOSIGNAL) == 1, "send");
        for (size_t left = w->bytes; left > 0;) {
            ssize_t n = recv(w->ends[1], to, left < KEPT ? left : KEPT, 0);
            must(n > 0, "recv");
            left -= (size_t)n;
        }
    }
    shutdown(w->ends[1], SHUT_WR);
    free(to);
    return NULL;
}

static double wire_turn(size_t bytes, unsigned count)
{
    pthread_t threads[8][2];
    struct wire wires[8];
    double start = seconds();
    unsigned times = 0;
    for (unsigned i = 0; i < count; i++) {
        wires[i] = (struct wire){.bytes = bytes, .until = start + WIRE_S};
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, wires[i].ends) == 0 &&
                 pthread_create(&threads[i][0], NULL, send_on, &wires[i]) == 0 &&
                 pthread_create(&threads[i][1], NULL, receive_on, &wires[i]) == 0,
             "two threads");
    }
    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i][0], NULL);
        pthread_join(threads[i][1], NULL);
        close(wires[i].ends[0]);
        close(wires[i].ends[1]);
        times += wires[i].times;
    }
    return times / (seconds() - start);
}

static size_t advertised_bytes(const char *repo)
{
    struct client c = {.server = OURS, .repo = repo};
    connect_client(&c);
    advertisement(&c);
    close(c.fd);
    mb_buf_clear(&c.in);
    mb_buf_clear(&c.request);
    return c.answered;
}

/* --- The two servers, with the same repositories. --- */

static const char *const repos[MORE_REFS] = {"few", "many"};
static const unsigned refs_of[MORE_REFS] = {0, MANY};

/* A commit by a pseudonym of what is in the folder work, and the pack that holds it. */
static void make_commit(const char *work, struct mb_buf *pack)
{
    struct mb_buf out = {0};
    must(TOOLS_RUN(work, NULL, "git", "init", "-q", "-b", "main", ".") == 0 &&
             TOOLS_RUN(work, NULL, "git", "config", "core.bigFileThreshold", "1m") == 0 &&
             TOOLS_RUN(work, NULL, "git", "add", ".") == 0 &&
             TOOLS_RUN(work, NULL, "git", "-c", "user.name=a", "-c", "user.email=a@bench.invalid",
                       "commit", "-q", "-m", "one") == 0 &&
             TOOLS_RUN(work, &out, "git", "rev-parse", "HEAD") == 0 && out.len == 41,
         "git");
    memcpy(commit, out.data, 40);
    must(tools_run(
             work, mb_bytes_of("HEAD\n"), pack,
             (const char *const[]){"git", "pack-objects", "-q", "--revs", "--stdout", NULL}) == 0,
         "git pack-objects");
    mb_buf_clear(&out);
}

static void fill_ours(const char *repo, unsigned refs, struct mb_bytes pack)
{
    struct client c = {.server = OURS, .repo = repo};
    char body[200], name[32];
    must(mb_snprintf(body, sizeof body, "{\"name\":\"%s\",\"maintainers\":[\"%s\"]}", repo,
                     d.fingerprint) == 0,
         "body");
    daemon_do(&d, "vcs.repo.create", body);
    connect_client(&c);
    push(&c, "main", 1, pack);
    for (unsigned i = 0; i < refs / AT_ONCE; i++) {
        must(mb_snprintf(name, sizeof name, "filled-%02u", i) == 0, "name");
        push(&c, name, AT_ONCE, mb_bytes(empty_pack, sizeof empty_pack));
    }
    close(c.fd);
    mb_buf_clear(&c.in);
    mb_buf_clear(&c.request);
    mb_buf_clear(&c.body);
}

static void fill_theirs(const char *root, const char *work, const char *repo, unsigned refs)
{
    char *bare = mb_asprintf("%s/%s.git", root, repo);
    struct mb_buf lines = {0};
    must(TOOLS_RUN(root, NULL, "git", "clone", "-q", "--bare", work, bare) == 0 &&
             TOOLS_RUN(bare, NULL, "git", "config", "http.receivepack", "true") == 0,
         "git clone");
    /* As git pack-refs writes them; not by it, for ext4 makes files slowly for minutes after
     * thousands were removed, and both servers would be measured on such a disk. */
    mb_buf_add_text(&lines, "# pack-refs with: peeled fully-peeled sorted \n");
    for (unsigned i = 0; i < refs; i++)
        mb_buf_addf(&lines, "%s refs/heads/filled-%02u-%03u\n", commit, i / AT_ONCE, i % AT_ONCE);
    mb_buf_addf(&lines, "%s refs/heads/main\n", commit);
    tools_write(bare, "packed-refs", mb_buf_bytes(&lines), 0600);
    mb_buf_clear(&lines);
    free(bare);
}

/* Read an answer to its end without keeping it; returns its bytes. */
static size_t swallow(struct client *c)
{
    static uint8_t piece[1u << 18];
    uint8_t last[5] = {0};
    size_t bytes = 0;
    const struct mb_buf *q = &c->request;
    must(send(c->fd, q->data, q->len, MSG_NOSIGNAL) == (ssize_t)q->len, "send");
    while (memcmp(last, "0\r\n\r\n", 5) != 0) {
        ssize_t n = recv(c->fd, piece, sizeof piece, 0);
        must(n > 0, "an answer");
        must(bytes > 0 || (n > 13 && memcmp(piece, "HTTP/1.1 200 ", 13) == 0), "a clone");
        bytes += (size_t)n;
        for (ssize_t i = n > 5 ? n - 5 : 0; i < n; i++) {
            memmove(last, last + 1, 4);
            last[4] = piece[i];
        }
    }
    return bytes;
}

static double clone_large(enum server server)
{
    struct client c = {.server = server, .repo = "large"};
    char want[160];
    double start = seconds();
    connect_client(&c);
    mb_buf_addf(&c.request,
                "GET /large.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: %s\r\n\r\n",
                d.onion);
    call(&c);
    must(find(&c.in, commit) != NULL, "an advertisement");
    must(mb_snprintf(want, sizeof want, "want %s side-band-64k ofs-delta no-progress agent=git\n",
                     commit) == 0,
         "want");
    pkt(&c.body, want, strlen(want));
    mb_buf_add_text(&c.body, "0000");
    pkt(&c.body, "done\n", 5);
    mb_buf_reset(&c.request);
    mb_buf_addf(&c.request,
                "POST /large.git/git-upload-pack HTTP/1.1\r\nHost: %s\r\n"
                "Content-Type: application/x-git-upload-pack-request\r\n"
                "Content-Length: %zu\r\n\r\n",
                d.onion, c.body.len);
    mb_buf_add_bytes(&c.request, mb_buf_bytes(&c.body));
    must(swallow(&c) > (size_t)FILES * FILE_BYTES, "a whole clone");
    close(c.fd);
    mb_buf_clear(&c.in);
    mb_buf_clear(&c.request);
    mb_buf_clear(&c.body);
    return seconds() - start;
}

static void measure_large(const char *folder, const char *root)
{
    char *work = path_in(folder, "large"), name[32];
    uint8_t *content = mb_alloc(FILE_BYTES);
    struct mb_buf pack = {0};
    double times[SERVERS][ROUNDS];
    uint64_t random = 88172645463325252u;
    must(mkdir(work, 0700) == 0, work);
    for (unsigned i = 0; i < FILES; i++) {
        for (size_t k = 0; k < FILE_BYTES; k += sizeof random) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            memcpy(content + k, &random, sizeof random);
        }
        must(mb_snprintf(name, sizeof name, "file-%02u", i) == 0, "name");
        tools_write(work, name, mb_bytes(content, FILE_BYTES), 0600);
    }
    make_commit(work, &pack);
    daemon_forget_peak(&d);
    double start = seconds();
    fill_ours("large", 0, mb_buf_bytes(&pack));
    figure("s", seconds() - start, "push_of_200_MB");
    figure("MB", daemon_resident_peak(&d), "push_of_200_MB_resident_most");
    fill_theirs(root, work, "large", 0);
    daemon_forget_peak(&d);
    for (int round = 0; round < ROUNDS; round++)
        for (int s = 0; s < SERVERS; s++)
            times[s][round] = clone_large((enum server)s);
    double ours = median(times[OURS], ROUNDS), theirs = median(times[HTTP_BACKEND], ROUNDS);
    figure("s", ours, "clone_of_200_MB");
    figure("s", theirs, "clone_of_200_MB_http_backend");
    figure("ratio", ours / theirs, "clone_of_200_MB_time_beside_http_backend");
    figure("MB", daemon_resident_peak(&d), "clone_of_200_MB_resident_most");
    mb_buf_clear(&pack);
    free(content);
    free(work);
}

static void wait_for_socket(const char *path)
{
    double start = seconds();
    int fd;
    while ((fd = try_connect(path)) < 0) {
        must(seconds() - start < 10, path);
        usleep(10000);
    }
    close(fd);
}

static const char nginx_conf[] =
    "daemon off; master_process off; pid %1$s/nginx.pid; error_log %1$s/nginx.log;\n"
    "events { worker_connections 256; }\n"
    "http { access_log off; client_max_body_size 0; keepalive_requests 100000000;\n"
    " client_body_temp_path %1$s/body; fastcgi_temp_path %1$s/fcgi; proxy_temp_path %1$s/p;\n"
    " uwsgi_temp_path %1$s/u; scgi_temp_path %1$s/s;\n"
    " server { listen unix:%1$s/nginx.sock;\n"
    "  location / { fastcgi_pass unix:%1$s/fcgi.sock; fastcgi_request_buffering off;\n"
    "   fastcgi_buffering off; include /etc/nginx/fastcgi_params;\n"
    "   fastcgi_param SCRIPT_FILENAME %2$s; fastcgi_param GIT_HTTP_EXPORT_ALL \"\";\n"
    "   fastcgi_param GIT_PROJECT_ROOT %1$s/git; fastcgi_param PATH_INFO $uri; } } }\n";

static pid_t start_theirs(const char *folder, pid_t *fcgi)
{
    struct mb_buf out = {0};
    must(TOOLS_RUN(folder, &out, "git", "--exec-path") == 0 && out.len > 1, "git --exec-path");
    out.data[out.len - 1] = 0;
    char *program = mb_asprintf("%s/git-http-backend", mb_buf_text(&out));
    char *conf = mb_asprintf(nginx_conf, folder, program);
    char *conf_path = path_in(folder, "nginx.conf"), *log = path_in(folder, "servers.log");
    char *fcgi_path = path_in(folder, "fcgi.sock"), *address = mb_asprintf("unix:%s", fcgi_path);
    tools_write(folder, "nginx.conf", mb_bytes_of(conf), 0600);
    const char *const fcgi_argv[] = {"fcgiwrap", "-c", "4", "-s", address, NULL};
    const char *const nginx_argv[] = {"nginx", "-c", conf_path, "-e", log, NULL};
    *fcgi = spawn(log, fcgi_argv);
    wait_for_socket(fcgi_path);
    pid_t nginx = spawn(log, nginx_argv);
    nginx_socket = path_in(folder, "nginx.sock");
    wait_for_socket(nginx_socket);
    free(program);
    free(conf);
    free(conf_path);
    free(log);
    free(fcgi_path);
    free(address);
    mb_buf_clear(&out);
    return nginx;
}

int main(int argc, char **argv)
{
    static const unsigned clients[] = {1, 4};
    static double rates[MORE_REFS][2][SERVERS][ROUNDS], wires[2][ROUNDS], flat[2][2][ROUNDS];
    static double processor[MORE_REFS][2][2][ROUNDS];
    double load[ROUNDS];
    struct mb_buf pack = {0};
    unsigned number = 0;
    daemon_found(&d, argc > 1 ? argv[1] : ".", "vcs");
    daemon_start(&d);
    char *folder = realpath(d.folder, NULL), *work = path_in(folder, "work");
    char *root = path_in(folder, "git");
    setenv("TZ", "UTC", 1);
    must(mkdir(work, 0700) == 0 && mkdir(root, 0700) == 0, "mkdir");
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", 1);
    tools_write(work, "file", mb_bytes_of("text\n"), 0600);
    make_commit(work, &pack);
    pid_t fcgi, nginx = start_theirs(folder, &fcgi);
    for (size_t r = 0; r < MORE_REFS; r++) {
        fill_ours(repos[r], refs_of[r], mb_buf_bytes(&pack));
        fill_theirs(root, work, repos[r], refs_of[r]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t r = 0; r < MORE_REFS; r++)
            for (size_t c = 0; c < 2; c++)
                for (int s = 0; s < SERVERS; s++) {
                    rates[r][c][s][round] = turn((enum server)s, repos[r], clients[c], number++);
                    processor[r][c][0][round] = daemon_us;
                    processor[r][c][1][round] = own_us;
                }
        size_t bytes = advertised_bytes(repos[1]);
        for (size_t c = 0; c < 2; c++) {
            double few = rates[0][c][OURS][round], many = rates[1][c][OURS][round];
            wires[c][round] = wire_turn(bytes, clients[c]);
            flat[c][0][round] = many / few;
            flat[c][1][round] = many * (1 / few + 1 / wires[c][round]);
        }
        load[round] = load_average();
    }
    for (size_t c = 0; c < 2; c++) {
        for (size_t r = 0; r < MORE_REFS; r++) {
            double theirs = median(rates[r][c][HTTP_BACKEND], ROUNDS);
            double ours = median(rates[r][c][OURS], ROUNDS);
            figure("pushes/s", ours, "push_%u_refs_%u_clients", refs_of[r], clients[c]);
            figure("pushes/s", theirs, "push_%u_refs_%u_clients_http_backend", refs_of[r],
                   clients[c]);
            figure("us", median(processor[r][c][0], ROUNDS),
                   "push_%u_refs_%u_clients_processor_of_daemon", refs_of[r], clients[c]);
            figure("us", median(processor[r][c][1], ROUNDS),
                   "push_%u_refs_%u_clients_processor_of_clients", refs_of[r], clients[c]);
            figure("times", ours / theirs, "push_%u_refs_%u_clients_ratio", refs_of[r], clients[c]);
        }
        figure("ratio", median(flat[c][0], ROUNDS), "push_%u_refs_beside_0_%u_clients", MANY,
               clients[c]);
        figure("times/s", median(wires[c], ROUNDS), "push_%u_refs_wire_%u_clients", MANY,
               clients[c]);
        figure("ratio", median(flat[c][1], ROUNDS), "push_%u_refs_beside_0_and_the_wire_%u_clients",
               MANY, clients[c]);
    }
    figure("processes", median(load, ROUNDS), "push_load");
    figure("MB", daemon_resident_peak(&d), "push_resident_most");
    measure_large(folder, root);
    end(nginx);
    end(fcgi);
    daemon_close(&d);
    mb_buf_clear(&pack);
    free(nginx_socket);
    free(folder);
    free(work);
    free(root);
    return 0;
}
