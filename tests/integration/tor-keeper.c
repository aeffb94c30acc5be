/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What tests/integration/tor.sh drives: src/tor alone, without a daemon around it.
 *
 *   tor-keeper keep KEY=VALUE…       keep one onion up; a line for each change of status
 *                                    (mode dir binary include control socks password cookie tcp
 *                                    target seed; client=SECRET: for that X25519 key alone;
 *                                    auth=SECRET onion=ADDRESS: find that onion with it)
 *   tor-keeper get SOCKS HOST PORT   GET / there; prints the first line of the answer, or the error
 *   tor-keeper fake SOCKET VERSION METHODS COOKIE   a control port that only introduces itself
 *   tor-keeper relay LISTEN CONNECT  between two Unix sockets; SIGUSR1 drops every connection
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <sodium.h>

#include "tor/tor.h"

static struct mb_loop *loop;
static int64_t started_ms;

static void on_stop(void *arg)
{
    (void)arg;
    mb_loop_stop(loop);
}

static void die(const struct mb_error *error)
{
    printf("error=%s text=%s\n", error->code, error->text);
    exit(1);
}

static void send_text(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
        perror("send");
}

/* A server that gives each connection to a handler of what it sends. */

struct server {
    int fd;
    struct mb_watch *watch;
    void (*accepted)(int fd);
};
struct peer {
    int fd;
    struct mb_watch *watch;
    struct peer *other, *next;
};
static struct peer *peers;

static struct peer *peer_new(int fd, void (*ready)(void *arg, unsigned what))
{
    struct peer *p = mb_calloc(1, sizeof *p);
    p->fd = fd;
    p->watch = mb_watch_new(loop, fd, ready, p);
    mb_watch_set(p->watch, MB_READ);
    p->next = peers;
    peers = p;
    return p;
}

static void peer_close(struct peer *p)
{
    struct peer **at = &peers;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    mb_watch_free(p->watch);
    close(p->fd);
    free(p);
}

static void on_accept(void *arg, unsigned what)
{
    (void)what;
    struct server *s = arg;
    int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0)
        s->accepted(fd);
}

static void serve(struct server *s, const char *path, void (*accepted)(int fd))
{
    struct mb_error error;
    s->fd = mb_unix_listen(path, 0600, &error);
    if (s->fd < 0)
        die(&error);
    s->accepted = accepted;
    s->watch = mb_watch_new(loop, s->fd, on_accept, s);
    mb_watch_set(s->watch, MB_READ);
}

static void stop_serving(struct server *s)
{
    while (peers != NULL)
        peer_close(peers);
    mb_watch_free(s->watch);
    close(s->fd);
}

/* keep */

static struct mb_tor *tor;

static void on_request(void *arg, unsigned what)
{
    (void)what;
    struct peer *p = arg;
    char request[4096];
    if (recv(p->fd, request, sizeof request, 0) > 0)
        send_text(p->fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    peer_close(p);
}

static void on_client(int fd)
{
    peer_new(fd, on_request);
}

static void print_status(void *arg)
{
    (void)arg;
    static const char *const states[] = {"down", "connecting", "bootstrap", "up", "refused"};
    struct mb_tor_status s = mb_tor_status(tor);
    const struct mb_onion_status *o = &s.onions[0];
    printf("ms=%lld state=%s percent=%d version=%s published=%d reachable=%d pow=%d restarts=%u "
           "onion=%s socks=%s code=%s warning=\"%s\" text=\"%s\"\n",
           (long long)(mb_now_ms() - started_ms), states[s.state], s.bootstrap_percent, s.version,
           o->published, o->reachable, o->proof_of_work, s.restarts, o->onion,
           mb_tor_socks(tor) != NULL ? mb_tor_socks(tor) : "-", s.error.code, s.warning,
           s.error.text);
    fflush(stdout);
}

static const char *option(char **args, const char *key)
{
    size_t len = strlen(key);
    for (; *args != NULL; args++)
        if (strncmp(*args, key, len) == 0 && (*args)[len] == '=')
            return *args + len + 1;
    return NULL;
}

static bool secret_option(char **args, const char *key, uint8_t secret[32])
{
    const char *text = option(args, key);
    return text != NULL && mb_hex_decode(secret, 32, text, strlen(text)) == 0;
}

static int keep(char **args)
{
    const char *mode = option(args, "mode");
    struct mb_tor_options o = {
        .mode = mode != NULL && strcmp(mode, "child") == 0 ? MB_TOR_CHILD : MB_TOR_RUNNING,
        .binary = option(args, "binary"),
        .dir = option(args, "dir"),
        .include = option(args, "include"),
        .control = option(args, "control"),
        .socks = option(args, "socks"),
        .password_file = option(args, "password"),
        .cookie_file = option(args, "cookie"),
        .allow_tcp_control = option(args, "tcp") != NULL,
        .changed = print_status,
    };
    struct mb_onion_service service = {
        .name = "public", .port = 80, .target = option(args, "target"), .proof_of_work = true};
    struct mb_error error;
    struct server server = {.fd = -1};
    uint8_t seed[32], secret[32], client[32];
    if (!secret_option(args, "seed", seed)) {
        fprintf(stderr, "tor-keeper: seed=64 hex digits\n");
        return 2;
    }
    mb_onion_key_from_seed(service.key, seed);
    if (secret_option(args, "client", secret)) {
        crypto_scalarmult_base(client, secret);
        service.clients = &client;
        service.client_count = 1;
    }
    serve(&server, service.target, on_client);
    if (mb_tor_start(&tor, loop, &o, &error) != 0 || mb_tor_publish(tor, &service, &error) != 0)
        die(&error);
    if (secret_option(args, "auth", secret) &&
        mb_tor_client_auth(tor, option(args, "onion"), secret, &error) != 0)
        die(&error);
    mb_loop_run(loop);
    mb_tor_stop(tor);
    stop_serving(&server);
    return 0;
}

/* get */

static int get_result = 1;

static void on_answer(void *arg, unsigned what)
{
    (void)what;
    struct peer *p = arg;
    char answer[1024];
    ssize_t n = recv(p->fd, answer, sizeof answer - 1, 0);
    answer[n > 0 ? n : 0] = '\0';
    answer[strcspn(answer, "\r\n")] = '\0';
    printf("%s\n", answer);
    get_result = n > 0 ? 0 : 1;
    mb_loop_stop(loop);
}

static void on_connected(void *arg, int fd, const struct mb_error *error)
{
    (void)arg;
    if (fd < 0) {
        printf("error=%s text=%s\n", error->code, error->text);
        mb_loop_stop(loop);
        return;
    }
    send_text(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_new(fd, on_answer);
}

static int get(char **args)
{
    mb_socks_connect(loop, args[0], args[1], (uint16_t)strtoul(args[2], NULL, 10), "tor-keeper",
                     60000, on_connected, NULL);
    mb_loop_run(loop);
    while (peers != NULL)
        peer_close(peers);
    return get_result;
}

/* fake */

static char **fake_args;

static void on_command(void *arg, unsigned what)
{
    (void)what;
    struct peer *p = arg;
    char command[4096];
    ssize_t n = recv(p->fd, command, sizeof command, 0);
    if (n <= 0) {
        peer_close(p);
        return;
    }
    if (n < 12 || memcmp(command, "PROTOCOLINFO", 12) != 0) {
        printf("got %.*s", (int)n, command);
        fflush(stdout);
        send_text(p->fd, "515 Authentication failed\r\n");
        return;
    }
    char *text = mb_asprintf("250-PROTOCOLINFO 1\r\n250-AUTH METHODS=%s COOKIEFILE=\"%s\"\r\n"
                             "250-VERSION Tor=\"%s\"\r\n250 OK\r\n",
                             fake_args[2], fake_args[3], fake_args[1]);
    send_text(p->fd, text);
    free(text);
}

static void on_controller(int fd)
{
    peer_new(fd, on_command);
}

static int fake(char **args)
{
    struct server server;
    fake_args = args;
    serve(&server, args[0], on_controller);
    mb_loop_run(loop);
    stop_serving(&server);
    return 0;
}

/* relay */

static const char *relay_to;

static void on_relayed(void *arg, unsigned what)
{
    (void)what;
    struct peer *p = arg;
    char bytes[16384];
    ssize_t n = recv(p->fd, bytes, sizeof bytes, 0);
    if (n > 0 && send(p->other->fd, bytes, (size_t)n, MSG_NOSIGNAL) == n)
        return;
    peer_close(p->other);
    peer_close(p);
}

static void on_relay(int fd)
{
    int other = mb_unix_connect(relay_to, NULL);
    if (other < 0) {
        close(fd);
        return;
    }
    struct peer *a = peer_new(fd, on_relayed), *b = peer_new(other, on_relayed);
    a->other = b;
    b->other = a;
}

static void on_drop(void *arg)
{
    (void)arg;
    while (peers != NULL)
        peer_close(peers);
}

static int relay(char **args)
{
    struct server server;
    relay_to = args[1];
    struct mb_signal *drop = mb_signal_new(loop, SIGUSR1, on_drop, NULL);
    serve(&server, args[0], on_relay);
    mb_loop_run(loop);
    stop_serving(&server);
    mb_signal_free(drop);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int args;
        int (*run)(char **args);
    } commands[] = {{"keep", 1, keep}, {"get", 3, get}, {"fake", 4, fake}, {"relay", 2, relay}};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (argc < 2 || strcmp(argv[1], commands[i].name) != 0 || argc - 2 < commands[i].args)
            continue;
        loop = mb_loop_new();
        started_ms = mb_now_ms();
        struct mb_signal *term = mb_signal_new(loop, SIGTERM, on_stop, NULL);
        int rc = commands[i].run(argv + 2);
        mb_signal_free(term);
        mb_loop_free(loop);
        return rc;
    }
    fprintf(stderr, "usage: tor-keeper keep|get|fake|relay ARGUMENTS\n");
    return 2;
}
