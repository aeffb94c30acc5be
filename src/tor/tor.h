/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tor: a child of our own or one that runs, driven through its control port; the onion services
 * that ought to be there, put back whenever they are not; and whether they can be reached.
 */
#ifndef MB_TOR_TOR_H
#define MB_TOR_TOR_H

#include "base/encode.h"
#include "loop/loop.h"

struct mb_tor;

enum mb_tor_mode {
    MB_TOR_CHILD,   /* spawn `binary` with a data folder below `dir` */
    MB_TOR_RUNNING, /* use the tor whose control socket is `control` */
    MB_TOR_NONE,    /* no tor: Unix sockets only, for tests and machines being set up */
};

struct mb_tor_options {
    enum mb_tor_mode mode;
    const char *binary;        /* child */
    const char *dir;           /* where its data, sockets and torrc are (mode 0700) */
    const char *include;       /* torrc to %include at the top level, or NULL */
    const char *control;       /* running: path of a Unix socket, or "127.0.0.1:PORT" */
    const char *socks;         /* running: path of its SOCKS Unix socket */
    const char *password_file; /* running, if its control port wants a password; or NULL */
    const char *cookie_file;   /* running, if it is not where PROTOCOLINFO says; or NULL */
    /* The first publication waits a random time up to this from tor's being up, so that it does not
     * tell when the daemon was started. What was published is put back without. */
    unsigned publish_jitter_ms;
    bool allow_tcp_control; /* a TCP control port is taken (the CLI on a person's machine, tests) */
    void (*changed)(void *arg); /* status changed; on the loop */
    void *arg;
};

/*
 * One onion service. key is the expanded secret key (64 bytes, tor's hs_ed25519_secret_key without
 * its header), port the virtual port, target the path of a Unix socket (nothing else is taken).
 */
struct mb_onion_service {
    const char *name; /* ours, for logs and status: "public" */
    uint8_t key[64];
    uint16_t port;
    const char *target;
    bool proof_of_work; /* asked for where tor has it */
    /* Restricted discovery (rend-spec-v3, "Client authorization"): X25519 public keys of those who
     * can find it at all; none: everybody. It is then not probed, and called reachable once its
     * descriptor was uploaded. */
    const uint8_t (*clients)[32];
    size_t client_count; /* at most MB_TOR_CLIENTS_MAX */
};
#define MB_TOR_CLIENTS_MAX 32

enum mb_tor_state {
    MB_TOR_DOWN,       /* not connected to a control port */
    MB_TOR_CONNECTING, /* authenticating, asking the version */
    MB_TOR_BOOTSTRAP,  /* connected; percent says how far */
    MB_TOR_UP,         /* circuits can be built */
    MB_TOR_REFUSED,    /* this tor cannot be used: error says why */
};
struct mb_onion_status {
    const char *name;
    char onion[MB_ONION_SIZE];
    bool published; /* ADD_ONION was answered with 250 on this control connection */
    bool reachable; /* the daemon reached itself through a fresh circuit */
    bool proof_of_work;
    int64_t reachable_since_ms;
};
struct mb_tor_status {
    enum mb_tor_state state;
    int bootstrap_percent;
    char version[32];
    char warning[256];    /* known-bad version, clock off; or "" */
    int64_t clock_skew_s; /* ours minus tor's consensus, 0 if not known */
    unsigned restarts;
    struct mb_error error; /* of the last failure */
    size_t onion_count;
    struct mb_onion_status onions[16];
};

/*
 * Start. Never fails for want of a tor: it goes on trying, and status says what is wrong. Options
 * are copied. Refuses (MB_EINVAL, tor.options) what could leak: single-hop or non-anonymous torrc,
 * control without authentication, a TCP control port unless allowed.
 */
int mb_tor_start(struct mb_tor **out, struct mb_loop *loop, const struct mb_tor_options *options,
                 struct mb_error *error);
/* The child ends with it, after at most 3 s: it has its guards to save. NULL is fine. */
void mb_tor_stop(struct mb_tor *t);

/* Publish (or replace, by name) a service, and keep it published. MB_EINVAL: target is no Unix
 * socket path. At most 16. */
int mb_tor_publish(struct mb_tor *t, const struct mb_onion_service *service,
                   struct mb_error *error);
void mb_tor_withdraw(struct mb_tor *t, const char *name);
struct mb_tor_status mb_tor_status(const struct mb_tor *t);
const char *mb_tor_socks(const struct mb_tor *t); /* path of the SOCKS Unix socket, or NULL */

/*
 * The X25519 secret key (crypto_box's, or any 32 random bytes) by which tor is to find a restricted
 * onion; given again whenever tor was started anew. A second one for an onion replaces the first.
 * NULL forgets it. A tor that runs without us remembers until it ends. MB_EINVAL (tor.onion): no
 * such address; MB_ELIMIT (tor.clients): at most MB_TOR_CLIENTS_MAX.
 */
int mb_tor_client_auth(struct mb_tor *t, const char *onion, const uint8_t key[32],
                       struct mb_error *error);

/* From 32 bytes of randomness: tor's expanded key, and the address that belongs to a key. */
void mb_onion_key_from_seed(uint8_t key[64], const uint8_t seed[32]);
int mb_onion_address(char out[MB_ONION_SIZE], const uint8_t key[64]);

/*
 * Connect to HOST:PORT through a SOCKS5 Unix socket (RFC 1928, user/password RFC 1929). Host names
 * only (address type 3), and only .onion: anything else is MB_EINVAL (socks.clearnet) before a byte
 * is sent. isolation (≤ 255 bytes, or NULL) keeps streams of different texts on different circuits.
 * done gets a connected non-blocking descriptor (owned by the callee), or -1 and an error
 * (MB_EREACH, socks.unreachable …).
 */
struct mb_socks;
struct mb_socks *mb_socks_connect(struct mb_loop *loop, const char *socks_path, const char *host,
                                  uint16_t port, const char *isolation, int64_t timeout_ms,
                                  void (*done)(void *arg, int fd, const struct mb_error *error),
                                  void *arg);
void mb_socks_cancel(struct mb_socks *s); /* done is not called; NULL is fine */

#endif
