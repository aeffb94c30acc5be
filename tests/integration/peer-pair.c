/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Two endpoints of src/peer that reach each other through a tor of their own, for tor.sh:
 *
 *   peer-pair DIR TOR TORRC   frames and asks both ways, with a line each second; after SIGTERM no
 *                             more of them, and `done` once all have come
 */
#include "config.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "peer/peer.h"

#define BODY_LEN    1000000
#define SEND_MS     20
#define QUEUED_MAX  100 /* frames not acknowledged, before no more are sent */
#define ASK_WAIT_MS 60000

struct end {
    uint32_t number;
    struct mb_peers *peers;
    uint64_t sent, got, wrong;
    bool asking;
    unsigned answered;
};

static struct mb_loop *loop;
static struct mb_tor *tor;
static struct mb_timer *send_timer, *print_timer;
static struct end ends[2];
static char file[256];
static bool stopping;

static void die(const struct mb_error *error)
{
    printf("error=%s text=%s\n", error->code, error->text);
    exit(1);
}

static void on_frame(void *arg, uint32_t from, uint64_t epoch, struct mb_bytes bytes)
{
    (void)from, (void)epoch;
    struct end *e = arg;
    struct mb_cursor c = mb_cursor(bytes);
    e->wrong += mb_cursor_u64(&c) != ++e->got;
}

static void on_ask(void *arg, uint32_t from, uint32_t kind, struct mb_bytes request, int body_fd,
                   uint64_t body_len, struct mb_peer_reply *reply)
{
    (void)arg, (void)from, (void)kind;
    mb_peer_reply_send(reply, request, body_fd, 0, body_len);
}

static void on_done(void *arg, struct mb_bytes answer, int body_fd, uint64_t body_len,
                    enum mb_err err, const struct mb_error *error)
{
    (void)answer;
    struct end *e = arg;
    e->asking = false;
    if (err != MB_OK) {
        printf("ask=%s\n", error->code);
        return;
    }
    static char bytes[BODY_LEN];
    bool whole = body_len == BODY_LEN && pread(body_fd, bytes, BODY_LEN, 0) == BODY_LEN;
    for (size_t i = 0; whole && i < BODY_LEN; i++)
        whole = bytes[i] == (char)(i * 7);
    e->wrong += !whole;
    e->answered++;
    close(body_fd);
}

static void ask(struct end *e)
{
    int fd = mkstemp(file);
    static char bytes[BODY_LEN];
    for (size_t i = 0; i < BODY_LEN; i++)
        bytes[i] = (char)(i * 7);
    struct mb_error error;
    if (fd < 0 || unlink(file) != 0 || write(fd, bytes, BODY_LEN) != BODY_LEN)
        abort();
    memcpy(file + strlen(file) - 6, "XXXXXX", 6);
    if (mb_peers_ask(e->peers, 3 - e->number, 1, mb_bytes_of("x"), fd, BODY_LEN, BODY_LEN,
                     ASK_WAIT_MS, on_done, e, &error) == 0)
        die(&error);
    e->asking = true;
    close(fd);
}

static void on_send(void *arg)
{
    (void)arg;
    bool rest = true;
    for (int i = 0; i < 2; i++) {
        struct end *e = &ends[i];
        struct mb_peer_status s;
        mb_peers_status(e->peers, 3 - e->number, &s);
        rest = rest && s.queue_frames == 0 && !e->asking;
        if (stopping || s.queue_frames >= QUEUED_MAX)
            continue;
        uint8_t frame[256] = {0};
        uint64_t counter = ++e->sent;
        for (int k = 7; k >= 0; k--, counter >>= 8)
            frame[k] = (uint8_t)counter;
        mb_peers_send(e->peers, 3 - e->number, mb_bytes(frame, sizeof frame));
        if (!e->asking)
            ask(e);
    }
    if (stopping && rest)
        mb_loop_stop(loop);
    else
        mb_timer_set(send_timer, SEND_MS);
}

static void print(const char *word)
{
    struct mb_peer_status s[2];
    for (int i = 0; i < 2; i++)
        mb_peers_status(ends[i].peers, 2 - (uint32_t)i, &s[i]);
    printf("%s up=%d%d%d%d sent=%llu,%llu got=%llu,%llu missing=%lld wrong=%llu asks=%u "
           "reconnects=%llu dropped=%llu refused=%llu rtt_ms=%lld\n",
           word, s[0].up[0], s[0].up[1], s[1].up[0], s[1].up[1], (unsigned long long)ends[0].sent,
           (unsigned long long)ends[1].sent, (unsigned long long)ends[0].got,
           (unsigned long long)ends[1].got,
           (long long)(ends[0].sent + ends[1].sent - ends[0].got - ends[1].got),
           (unsigned long long)(ends[0].wrong + ends[1].wrong), ends[0].answered + ends[1].answered,
           (unsigned long long)s[0].reconnects, (unsigned long long)(s[0].dropped + s[1].dropped),
           (unsigned long long)(mb_peers_refused(ends[0].peers) + mb_peers_refused(ends[1].peers)),
           (long long)s[0].rtt_ms);
    fflush(stdout);
}

static void on_print(void *arg)
{
    (void)arg;
    print("now");
    mb_timer_set(print_timer, 1000);
}

static void on_stop(void *arg)
{
    (void)arg;
    stopping = true;
}

static void start(char **args)
{
    struct mb_tor_options to = {
        .mode = MB_TOR_CHILD, .binary = args[1], .dir = args[0], .include = args[2]};
    struct mb_error error;
    if (mb_tor_start(&tor, loop, &to, &error) != 0)
        die(&error);
    struct mb_peer_member members[2];
    struct mb_secret_key keys[2];
    char path[2][256];
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t seed[32] = {(uint8_t)(i + 1), 'p'}, client[32];
        mb_secret_key_from_seed(&keys[i], seed);
        mb_snprintf(path[i], sizeof path[i], "%s/end%u", args[0], (unsigned)i + 1);
        crypto_scalarmult_base(client, seed);
        struct mb_onion_service service = {.name = i == 0 ? "first" : "second",
                                           .port = 1,
                                           .target = path[i],
                                           .clients = &client,
                                           .client_count = 1};
        mb_onion_key_from_seed(service.key, seed);
        members[i] = (struct mb_peer_member){.number = i + 1, .key = keys[i].public_key};
        mb_onion_address(members[i].onion, service.key);
        if (mb_tor_publish(tor, &service, &error) != 0 ||
            mb_tor_client_auth(tor, members[i].onion, seed, &error) != 0)
            die(&error);
    }
    for (uint32_t i = 0; i < 2; i++) {
        struct mb_peers_options po = {.loop = loop,
                                      .self = i + 1,
                                      .incarnation = 1,
                                      .key = &keys[i],
                                      .listen = path[i],
                                      .temp_dir = args[0],
                                      .tor = tor,
                                      .port = 1,
                                      .body_bytes = BODY_LEN,
                                      .on_frame = on_frame,
                                      .on_ask = on_ask,
                                      .arg = &ends[i]};
        ends[i].number = i + 1;
        if (mb_peers_new(&ends[i].peers, &po, &error) != 0 ||
            mb_peers_set_members(ends[i].peers, members, 2, 1, &error) != 0)
            die(&error);
    }
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: peer-pair DIR TOR TORRC\n");
        return 2;
    }
    mb_snprintf(file, sizeof file, "%s/body-XXXXXX", argv[1]);
    loop = mb_loop_new();
    struct mb_signal *term = mb_signal_new(loop, SIGTERM, on_stop, NULL);
    send_timer = mb_timer_new(loop, on_send, NULL);
    print_timer = mb_timer_new(loop, on_print, NULL);
    start(argv + 1);
    mb_timer_set(send_timer, SEND_MS);
    mb_timer_set(print_timer, 1000);
    mb_loop_run(loop);
    print("done");
    for (int i = 0; i < 2; i++)
        mb_peers_free(ends[i].peers);
    mb_tor_stop(tor);
    mb_timer_free(send_timer);
    mb_timer_free(print_timer);
    mb_signal_free(term);
    mb_loop_free(loop);
    return 0;
}
