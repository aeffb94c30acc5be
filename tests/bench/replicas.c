/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "replicas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/config.h"
#include "ledger/membership.h"
#include "sign/sshsig.h"

#define AGREE_S 60.0

static char *text_of(const struct daemon *d, const char *name)
{
    char *path = path_in(d->folder, name);
    struct mb_buf text = {0};
    must(mb_read_file(path, 1 << 20, &text, NULL) == 0, path);
    char *copy = mb_strdup(mb_buf_text(&text));
    mb_buf_clear(&text);
    free(path);
    return copy;
}

/* What its genesis says of the replica that founded it. */
static json_t *founding(const struct daemon *d)
{
    char *text = text_of(d, "data/genesis.json");
    json_t *genesis;
    must(mb_json_parse(&genesis, text, strlen(text), NULL) == 0, text);
    json_t *replica = json_incref(json_array_get(json_object_get(genesis, "replicas"), 0));
    json_decref(genesis);
    free(text);
    return replica;
}

void replicas_found(struct replicas *r, size_t count, const char *below, const char *module,
                    const char *lines, bool apart)
{
    *r = (struct replicas){.count = count};
    for (size_t i = 0; i < count; i++) {
        struct daemon *d = &r->of[i];
        daemon_found(d, below, module);
        r->meet[i] = apart || i == 0 ? path_in(d->folder, "meet") : mb_strdup(r->meet[0]);
        must(mkdir(r->meet[i], 0700) == 0 || i > 0, r->meet[i]);
        char *config = path_in(d->folder, "data/magicbiz.conf"), *meet = realpath(r->meet[i], NULL);
        FILE *f = fopen(config, "a");
        must(meet != NULL && f != NULL &&
                 fprintf(f, "[consensus]\nfolder = %s\n%s", meet, lines) > 0 && fclose(f) == 0,
             config);
        json_t *own = founding(d);
        r->peer[i] = mb_strdup(mb_json_get_text(own, "peer_onion", ""));
        json_decref(own);
        free(meet);
        free(config);
    }
}

static json_t *get(const struct daemon *d, const char *path)
{
    struct mb_buf answer = {0};
    char *request = mb_asprintf("GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    must(daemon_call(d, mb_bytes_of(request), &answer) == 200, path);
    const char *body = strstr(mb_buf_text(&answer), "\r\n\r\n") + 4;
    json_t *json;
    must(mb_json_parse(&json, body, strcspn(body, "\n"), NULL) == 0, body);
    mb_buf_clear(&answer);
    free(request);
    return json;
}

/* The newest checkpoint slot, and the hash of its header. */
static uint64_t newest(const struct daemon *d, char header[MB_HASH_HEX_SIZE])
{
    json_t *checkpoint = get(d, "/v1/checkpoint");
    const char *hex = mb_json_get_text(checkpoint, "header", "");
    size_t len = strlen(hex) / 2;
    uint8_t *bytes = mb_alloc(len + 1);
    must(len > 0 && mb_hex_decode(bytes, len, hex, 2 * len) == 0, "a header");
    struct mb_hash hash = mb_sha256(bytes, len);
    uint64_t slot = (uint64_t)mb_json_get_int(checkpoint, "slot", 0);
    mb_hash_hex(&hash, header);
    json_decref(checkpoint);
    free(bytes);
    return slot;
}

/* The body of org.replica.add, proof by the newcomer's own key included. */
static char *addition(const struct daemon *first, const struct daemon *d)
{
    char header[MB_HASH_HEX_SIZE];
    struct mb_secret_key key;
    struct mb_buf text = {0}, binary = {0}, base64 = {0};
    uint64_t slot = newest(first, header);
    json_t *own = founding(d);
    char *pem = text_of(d, "data/keys/replica");
    must(mb_secret_key_parse(&key, mb_bytes_of(pem), NULL) == 0, "a replica's key");
    mb_ready_text(&text, first->org, own, slot, header);
    mb_sshsig_sign(&key, MB_NAMESPACE_REPLICA, mb_buf_bytes(&text), &binary);
    mb_base64_encode(&base64, binary.data, binary.len);
    static const char *const kept[] = {"public_key", "onion", "peer_onion", "tor_auth"};
    json_t *json = json_pack("{s:{s:s, s:I, s:s}}", "ready", "header", header, "slot",
                             (json_int_t)slot, "signature", mb_buf_text(&base64));
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        json_object_set(json, kept[i], json_object_get(own, kept[i]));
    char *body = mb_json_text(json);
    json_decref(json);
    mb_secret_key_clear(&key);
    mb_buf_clear(&text);
    mb_buf_clear(&binary);
    mb_buf_clear(&base64);
    json_decref(own);
    free(pem);
    return body;
}

static void run(const struct daemon *d, const char *const argv[])
{
    char *log = path_in(d->folder, "log");
    int status;
    pid_t pid = spawn(log, argv);
    must(waitpid(pid, &status, 0) == pid && status == 0, argv[0]);
    free(log);
}

static void take_history(const struct daemon *first, struct daemon *d)
{
    char *data = path_in(d->folder, "data"), *archive = path_in(first->folder, "data/archive"),
         *genesis = path_in(first->folder, "data/genesis.json");
    char *old = path_in(data, "archive"), *store = path_in(data, "store.db");
    run(d, (const char *const[]){"rm", "-rf", old, store, NULL});
    run(d, (const char *const[]){"cp", "-a", archive, genesis, data, NULL});
    memcpy(d->org, first->org, sizeof d->org);
    free(store);
    free(old);
    free(genesis);
    free(archive);
    free(data);
}

void replicas_start(struct replicas *r)
{
    struct daemon *first = &r->of[0];
    daemon_start(first);
    for (size_t i = 1; i < r->count; i++) {
        daemon_do(first, "org.param.set", "{\"name\":\"bench\",\"value\":1}");
        char *body = addition(first, &r->of[i]);
        daemon_do(first, "org.replica.add", body);
        take_history(first, &r->of[i]);
        daemon_start(&r->of[i]);
        free(body);
    }
    must(replicas_await(r, AGREE_S) >= 0, "agreeing on a leader");
    daemon_do(first, "org.param.set", "{\"name\":\"bench\",\"value\":1}");
}

void replicas_close(struct replicas *r)
{
    for (size_t i = 0; i < r->count; i++) {
        daemon_close(&r->of[i]);
        free(r->meet[i]);
        free(r->peer[i]);
    }
}

double replica_metric(const struct daemon *d, const char *name)
{
    static const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct timeval patience = {.tv_sec = 2};
    struct mb_buf text = {0};
    char piece[16384], *path = path_in(d->folder, "data/run/operator.sock"),
                       *line = mb_asprintf("\nmagicbiz_%s ", name);
    int fd = try_connect(path);
    ssize_t n = -1;
    double value = -1;
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        n = send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
    }
    while (n > 0 && (n = recv(fd, piece, sizeof piece, 0)) > 0)
        mb_buf_add(&text, piece, (size_t)n);
    const char *at = strstr(mb_buf_text(&text), line);
    if (at != NULL)
        value = strtod(at + strlen(line), NULL);
    if (fd >= 0)
        close(fd);
    mb_buf_clear(&text);
    free(line);
    free(path);
    return value;
}

int replicas_leader(const struct replicas *r)
{
    double leader = 0;
    for (size_t i = 0; i < r->count; i++) {
        double l = r->of[i].pid == 0 ? -1 : replica_metric(&r->of[i], "consensus_leader");
        if (l < 0)
            continue;
        if (l == 0 || (leader != 0 && l != leader))
            return -1;
        leader = l;
    }
    return leader == 0 || r->of[(int)leader - 1].pid == 0 ? -1 : (int)leader - 1;
}

int replicas_await(const struct replicas *r, double most_s)
{
    int leader;
    for (double until = seconds() + most_s; (leader = replicas_leader(r)) < 0;) {
        if (seconds() >= until)
            return -1;
        usleep(5000);
    }
    return leader;
}
