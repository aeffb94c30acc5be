/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of src/tor share. */
#ifndef MB_TOR_INTERNAL_H
#define MB_TOR_INTERNAL_H

#include "tor/control.h"
#include "tor/tor.h"

/* version.c: too old to be used at all; and what is wrong with a release, NULL if nothing is known
 * (fixed gets the first release without it). */
bool tor_version_too_old(const unsigned version[4]);
const char *tor_version_trouble(const unsigned version[4], char fixed[32]);

/* socks.c, pure: the message that is being waited for. */
enum tor_socks_phase {
    TOR_SOCKS_METHOD, /* RFC 1928, 3 */
    TOR_SOCKS_AUTH,   /* RFC 1929, 2 */
    TOR_SOCKS_REPLY,  /* RFC 1928, 6 */
};
#define TOR_SOCKS_MESSAGE_MAX 262
/* How many bytes the message has as far as can be told from its first len ones: more than len if
 * bytes are missing, len if it is whole. MB_EINVAL (socks.protocol), MB_EREACH (socks.unreachable)
 * if it says no. */
int tor_socks_parse(enum tor_socks_phase phase, bool authenticated, const uint8_t *message,
                    size_t len, struct mb_error *error);

/*
 * link.c: a control connection, fd owned. Requests are answered in order. gone(arg, error) is
 * called once, from the loop, when it breaks (also when no reply comes for 30 s); the link is then
 * only good for tor_link_free, which gone may call.
 */
struct tor_link;
typedef void tor_reply_fn(void *arg, unsigned tag, const struct mb_control_reply *r);
struct tor_link *tor_link_new(struct mb_loop *loop, int fd,
                              void (*event)(void *arg, const struct mb_control_reply *r),
                              void (*gone)(void *arg, const struct mb_error *error), void *arg);
/* Send a line (without its end); reply gets arg and tag. */
void tor_link_send(struct tor_link *l, tor_reply_fn *reply, void *arg, unsigned tag,
                   const char *format, ...) __attribute__((format(printf, 5, 6)));
/* From a reply or an event: give up. gone is called soon with this error, and nothing else. */
void tor_link_fail(struct tor_link *l, const struct mb_error *error);
void tor_link_free(struct tor_link *l);
/* A Unix socket's path, or "127.0.0.1:PORT" (port is filled unless NULL, 0 for a path). MB_EINVAL.
 */
int tor_control_parse(const char *control, uint16_t *port, struct mb_error *error);
/* A descriptor, or a negative enum mb_err. */
int tor_control_connect(const char *control, struct mb_error *error);

/*
 * auth.c: PROTOCOLINFO, version, authentication (control-spec 3.5, 3.24). done(arg, version) once
 * commands can be sent; what fails goes to tor_link_fail.
 */
struct tor_auth_options {
    const char *password_file, *cookie_file; /* or NULL */
    bool local;                              /* a Unix socket: a bare cookie may be sent */
};
struct tor_auth;
struct tor_auth *tor_auth_start(struct tor_link *l, const struct tor_auth_options *options,
                                void (*done)(void *arg, const char *version), void *arg);
void tor_auth_free(struct tor_auth *a);

/* process.c: the child's folder, torrc and process. */
struct tor_process {
    char *dir, *include, *binary; /* owned */
    char *control, *socks, *cookie, *log;
    char *run_dir; /* made by us for the sockets, or NULL */
    struct mb_child *child;
};
int tor_process_init(struct tor_process *p, const struct mb_tor_options *o, struct mb_error *error);
int tor_process_spawn(struct tor_process *p, struct mb_loop *loop,
                      void (*exited)(void *arg, int status), void *arg, struct mb_error *error);
/* Ask it to end, and wait at most 3 s; then kill. */
void tor_process_stop(struct tor_process *p);
void tor_process_clear(struct tor_process *p);
/* The last complaint in its log, or "" */
void tor_process_complaint(const struct tor_process *p, char *out, size_t size);

/* clients.c: the keys for restricted onions of others. */
struct tor_client {
    char onion[MB_ONION_SIZE];
    uint8_t key[32];
};
void tor_clients_send(struct mb_tor *t); /* all of them, to a tor that has just been reached */
/* Append " ClientAuthV3=…" for each of the service, in the keys' order. */
void tor_clients_text(struct mb_buf *out, const struct mb_onion_service *service);

/* probe.c: GET / at an onion through a fresh circuit; done(arg, tag, NULL) if it answers in HTTP.
 */
struct tor_probe;
struct tor_probe *tor_probe_start(struct mb_loop *loop, const char *socks, const char *onion,
                                  uint16_t port,
                                  void (*done)(void *arg, unsigned tag, const struct mb_error *e),
                                  void *arg, unsigned tag);
void tor_probe_cancel(struct tor_probe *p);

struct onion {
    unsigned tag;                  /* of no other onion, ever: replies find it by this */
    char *name, *target, *clients; /* as ADD_ONION takes them */
    uint8_t key[64];
    char address[MB_ONION_SIZE];
    uint16_t port;
    bool proof_of_work; /* wanted */
    bool adding, published, defended, uploaded, reachable;
    int64_t reachable_since_ms, probe_at_ms;
    unsigned failures; /* of probes, in a row */
    struct tor_probe *probe;
};

struct mb_tor {
    struct mb_loop *loop;
    enum mb_tor_mode mode;
    char *control, *socks, *password_file, *cookie_file; /* running */
    void (*changed)(void *arg);
    void *arg;

    struct tor_process process; /* child */
    int64_t spawned_ms;
    unsigned spawns, failures;
    bool ending; /* it has been told to */

    struct tor_link *link;
    struct tor_auth *auth;
    bool ready;    /* authenticated, and not refused */
    bool checking; /* GETINFO of the onions is on its way */
    char *found_socks;
    struct mb_timer *retry;   /* start or connect again */
    struct mb_timer *tick;    /* each second while ready */
    struct mb_timer *notify;  /* status changed */
    struct mb_timer *publish; /* nothing is held back any more */
    unsigned jitter_ms;
    bool held; /* nothing has been published yet, and is not to be */
    int64_t checked_ms;

    enum mb_tor_state state;
    int percent;
    char version[32], version_warning[200], clock_warning[160];
    int64_t skew_s, skew_until_ms;
    struct mb_error error;
    bool error_noted; /* since tor was up last */

    struct onion onions[16];
    struct tor_client clients[MB_TOR_CLIENTS_MAX];
    size_t client_count;
    size_t onion_count;
    unsigned next_tag;
};

/* tor.c */
void tor_changed(struct mb_tor *t);
void tor_note_error(struct mb_tor *t, const struct mb_error *error); /* logs it, once in a row */

/* onions.c: what ought to be there against what is. */
void tor_onions_check(struct mb_tor *t); /* ask, and add what is missing, unless it is held back */
void tor_onions_up(struct mb_tor *t);    /* tor can be used: a while later nothing is held back */
void tor_onions_release(struct mb_tor *t);
void tor_onions_lost(struct mb_tor *t); /* the connection is gone, and they with it */
void tor_onions_event(struct mb_tor *t, const char *line); /* HS_DESC … */
void tor_onions_probe(struct mb_tor *t);                   /* those that are due */
bool tor_onions_missing(const struct mb_tor *t);

/* advice.c: what tor says of the clock and of its version. */
void tor_advice_ask(struct mb_tor *t);
void tor_advice_skew(struct mb_tor *t, const char *line); /* STATUS_GENERAL … CLOCK_SKEW */
void tor_advice_version(struct mb_tor *t, const char *recommendation);

#endif
