/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A module: one shared object NAME.so in the module folder that exports
 * `const struct mb_module mb_module_NAME`. Its deterministic half is struct mb_logic (tx.h); this
 * is the world half, which is handed a host and runs on the loop's thread.
 *
 * The ledger decides, the module carries out: effects follow from the state, and are idempotent.
 */
#ifndef MAGICBIZ_MODULE_H
#define MAGICBIZ_MODULE_H

#include <magicbiz/applied.h>
#include <magicbiz/http.h>
#include <magicbiz/loop.h>
#include <magicbiz/tx.h>

#define MB_MODULE_ABI 1

struct mb_host;
struct mb_report;
struct mb_peer_reply;

/* One configuration option: parser, validation and manual come from it. */
enum mb_option_kind {
    MB_OPTION_TEXT,
    MB_OPTION_PATH,     /* relative to the configuration file's folder; empty: none */
    MB_OPTION_INT,
    MB_OPTION_SIZE,     /* bytes; suffixes k M G (1024) */
    MB_OPTION_DURATION, /* seconds; suffixes s m h d */
    MB_OPTION_FLAG,     /* yes or no */
    MB_OPTION_WORDS,    /* words between spaces or commas */
    MB_OPTION_CHOICE,   /* one of the words in `choices` */
};
struct mb_option {
    const char *name;
    enum mb_option_kind kind;
    const char *fallback; /* as it would be written in the file; NULL: must be given */
    int64_t min, max;     /* numbers; both 0: no limit */
    const char *choices;  /* "child running none" */
    bool reload;          /* takes effect on SIGHUP */
    const char *help;     /* one or two sentences for the manual */
};

struct mb_module {
    uint32_t abi; /* MB_MODULE_ABI */
    const char *summary;
    const struct mb_logic *logic;      /* name, version, verbs */
    const struct mb_option *options;   /* section [NAME]; ends with a NULL name; may be NULL */
    const struct mb_route *routes;     /* handlers get the module's self; may be NULL */
    /* Start: reconcile the world with the state (a crash may have left effects undone). */
    int (*start)(struct mb_host *host, void **self, struct mb_error *error);
    /* After each block is durable and applied, before commands are answered. */
    void (*on_block)(void *self, const struct mb_applied *applied);
    /* Another replica asks (mb_host_ask): answer with mb_host_answer() or mb_host_decline(), now or
     * later, once. body_fd is a file without a name, or -1, and stays open until then. May be NULL. */
    void (*on_ask)(void *self, const struct mb_replica *from, struct mb_bytes request, int body_fd,
                   uint64_t body_len, struct mb_peer_reply *reply);
    void (*health)(void *self, struct mb_report *report);
    /* Refuse new work; call done(arg) when what was under way has ended. May be NULL. */
    void (*drain)(void *self, void (*done)(void *arg), void *arg);
    void (*stop)(void *self);
};

/* --- What the host gives a module. --- */

struct mb_loop *mb_host_loop(struct mb_host *h);
const char *mb_host_dir(struct mb_host *h);  /* this module's own folder, mode 0700, absolute */
int64_t mb_host_option_int(struct mb_host *h, const char *name); /* ints, sizes, durations, flags */
const char *mb_host_option_text(struct mb_host *h, const char *name);

const char *mb_host_org(struct mb_host *h);  /* 64 hex digits */
const char *mb_host_name(struct mb_host *h);
uint64_t mb_host_slot(struct mb_host *h);
int64_t mb_host_time(struct mb_host *h);     /* ledger time */
/* The newest state, read-only; borrowed, valid until the callback returns. */
struct mb_tx *mb_host_state(struct mb_host *h);
/* The replicas in force, and which of them we are (NULL: none). */
const struct mb_replica *mb_host_replicas(struct mb_host *h, size_t *count);
const struct mb_replica *mb_host_self(struct mb_host *h);

void mb_host_random(struct mb_host *h, void *out, size_t len);
/* Append our replica's binary SSHSIG over message. */
void mb_host_sign(struct mb_host *h, const char *name_space, struct mb_bytes message,
                  struct mb_buf *signature);
/*
 * Sign a command as this replica and submit it; done gets what it came to, once it is applied
 * (after on_block), or refused at the door: slot 0 and error. body is taken.
 */
struct mb_submitted {
    uint64_t slot; /* 0: refused before it was proposed */
    uint32_t index;
    char id[MB_HASH_HEX_SIZE];
    bool ok;
    const json_t *outcome; /* borrowed; NULL at slot 0 */
    const struct mb_error *error; /* NULL if ok; its text is for people */
};
void mb_host_submit(struct mb_host *h, const char *type, json_t *body_take,
                    void (*done)(void *arg, const struct mb_submitted *result), void *arg);
/* A text for people for a refusal. */
void mb_host_message(struct mb_host *h, const char *code, const json_t *args, struct mb_buf *out);

/* --- Other replicas. --- */

#define MB_ASK_MAX 60000 /* bytes of a request, or of an answer */

/*
 * Ask the same module of replica number: a request (at most MB_ASK_MAX bytes), and the first
 * body_len bytes of a file (duplicated; -1: none). done is called once, from within
 * if it cannot be asked: with error NULL, the answer (borrowed) and its body, a file without a name that the callee closes, of
 * at most answer_limit bytes, or -1; or with an error: what the other said, or peer.* (peer.down: there
 * is no stream to it now).
 */
typedef void mb_asked(void *arg, struct mb_bytes answer, int body_fd, uint64_t body_len,
                      enum mb_err err, const struct mb_error *error);
void mb_host_ask(struct mb_host *h, int64_t number, struct mb_bytes request, int body_fd,
                 uint64_t body_len, uint64_t answer_limit, int64_t timeout_ms, mb_asked *done,
                 void *arg);
void mb_host_answer(struct mb_peer_reply *reply, struct mb_bytes answer, int body_fd,
                    uint64_t body_len);
void mb_host_decline(struct mb_peer_reply *reply, enum mb_err err, const struct mb_error *error);

/* --- Reports: health and metrics. --- */

/* Something that the operator ought to act on; text names the next step. */
void mb_report_alarm(struct mb_report *r, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A figure: name without the prefix "magicbiz_NAME_"; a counter's name ends with "_total". */
void mb_report_gauge(struct mb_report *r, const char *name, const char *help, int64_t value);
void mb_report_counter(struct mb_report *r, const char *name, const char *help, uint64_t value);

#endif
