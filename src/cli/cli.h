/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * magicbiz: what its commands share. A command is one file cmd_NOUN_VERB.c that opens with its
 * table row; help, completion and the manual come from that row.
 */
#ifndef MB_CLI_CLI_H
#define MB_CLI_CLI_H

#include "config.h"
#include "host/config.h"
#include "host/modules.h"
#include "host/pin.h"
#include "http/client.h"
#include "ledger/audit.h"
#include "ledger/ledger.h"
#include "ledger/membership.h"

#define CLI_USAGE (-100) /* wrong usage: exit status 2 */

struct cli;

struct cli_option {
    const char *name; /* without "--" */
    const char *arg;  /* what its value is called; NULL: a flag */
    const char *help;
};
struct cli_command {
    const char *name;       /* "repo create" */
    const char *alias;      /* a short name, one word; NULL: none */
    const char *args;       /* "NAME [TITLE]"; "" for none */
    int min_args, max_args; /* max_args -1: any number */
    const char *summary;    /* one line */
    const char *help;       /* further lines; examples begin with four spaces; NULL: none */
    const struct cli_option *options; /* ends with a NULL name; NULL: none */
    /* 0, CLI_USAGE, or a negative enum mb_err with error filled: printed by main. */
    int (*run)(struct cli *c, struct mb_error *error);
};
extern const struct cli_command *const cli_commands[]; /* ends with NULL; commands.c */
extern const struct cli_option cli_global_options[];

struct cli {
    const struct cli_command *command;
    const char **args; /* positional, arg_count of them */
    size_t arg_count;
    const char **given; /* name, value pairs of options */
    size_t given_count;
    bool json;  /* --json */
    bool quiet; /* standard error is no terminal: no progress */
    int64_t timeout_ms;
    char *config_dir, *state_dir; /* $XDG_…/magicbiz */
    struct cli_org *org;          /* opened by cli_open_org() */
};

/* --- Options and output --- */

/* The value of an option (the last one given), or NULL; a flag's is "". */
const char *cli_option(const struct cli *c, const char *name);
/* The i-th value of a repeatable option, or NULL. */
const char *cli_option_at(const struct cli *c, const char *name, size_t i);
/* A number option: fallback where it is not given; CLI_USAGE and error where it is no number. */
int cli_option_int(const struct cli *c, const char *name, int64_t fallback, int64_t min,
                   int64_t max, int64_t *out, struct mb_error *error);
/* 0 where an option is given; CLI_USAGE and error otherwise. */
int cli_need(const struct cli *c, const char *name, struct mb_error *error);
/* Append what a file holds, - being standard input; bounded by what a command may be. */
int cli_read(const char *file, struct mb_buf *out, struct mb_error *error);
/* The same, as JSON (owned). */
int cli_read_json(const char *file, json_t **out, struct mb_error *error);
/* What went wrong, if anything, on standard error; what does not hold with its code. Returns the
 * exit status: 0, 1 (refused or failed), 2 (wrong usage), 3 (cannot be reached) or 4 (does not
 * hold).
 */
int cli_fail(int rc, const struct mb_error *error);
/* Print one JSON document (taken) and a newline on standard output. */
void cli_print_json(json_t *json_take);
/* Print for people: control characters of text that others wrote are shown escaped. */
void cli_print_text(const char *text);
/* A progress line on standard error, if that is a terminal and the work has gone on for two
 * seconds; total 0: unknown. done == total ends the line. */
void cli_progress(struct cli *c, const char *what, uint64_t done, uint64_t total);
/* Page what follows on a terminal, by $PAGER or less; ended by main. */
void cli_page(struct cli *c);

/* Fill config_dir and state_dir from the environment. */
void cli_find_dirs(struct cli *c);

/* --- Identities (identity.c): OpenSSH keys in CONFIG/ids --- */

struct cli_identity {
    char *name, *path; /* of the private key */
    struct mb_public_key key;
    char fingerprint[MB_FINGERPRINT_SIZE];
};
/* --id NAME, else "default". MB_ENOENT (id.unknown) says how to make one. */
int cli_identity(const struct cli *c, struct cli_identity *id, struct mb_error *error);
int cli_identity_named(const struct cli *c, const char *name, struct cli_identity *id,
                       struct mb_error *error);
void cli_identity_clear(struct cli_identity *id);
bool cli_name_valid(const char *name); /* of an identity or an organisation, as files are called */
/* Append the binary SSHSIG over message: in the process for keys without passphrase, else by
 * ssh-keygen -Y sign, which asks, or asks an ssh-agent. */
int cli_sign(const struct cli_identity *id, const char *name_space, struct mb_bytes message,
             struct mb_buf *signature, struct mb_error *error);

/* --- Organisations (host/pin.h, org.c): pins in CONFIG/orgs, what was seen in STATE --- */

int cli_pin_save(const struct cli *c, const struct mb_pin *pin, struct mb_error *error);
int cli_pin_load(const struct cli *c, const char *name, struct mb_pin *pin, struct mb_error *error);
/* Names of all that were joined, sorted; free each and the array. */
size_t cli_pin_names(const struct cli *c, char ***names);
/* The pin of --org NAME, $MAGICBIZ_ORG, or the only one joined; nobody is asked. */
int cli_choose_pin(struct cli *c, struct mb_pin *pin, struct mb_error *error);

/* --- Talking to an organisation (remote.c), every answer checked (verify.c) --- */

/* The newest header known to be an organisation's. */
struct cli_seen {
    uint64_t slot;
    struct mb_hash hash;
};
struct cli_org {
    struct cli *cli;
    struct mb_pin pin;
    struct mb_http_client **clients; /* one for each onion, or one Unix socket */
    size_t client_count, current;
    struct mb_buf genesis_text;
    struct mb_genesis genesis;
    struct mb_membership *configs; /* since genesis, by slot, as handovers prove them */
    size_t config_count;
    json_t *walked;          /* those after genesis */
    size_t kept_count;       /* how many of configs are on the disk */
    json_t *summary;         /* GET /v1/org */
    struct cli_seen seen;    /* before anything was asked: answers must not be older */
    struct mb_header newest; /* newest verified checkpoint's header */
    bool verified;
};
/*
 * Open the organisation: --org NAME, $MAGICBIZ_ORG, or the only one joined. --socket PATH (or
 * $MAGICBIZ_SOCKET) talks to a daemon's Unix socket instead of its onions; --socks ADDRESS (or
 * $MAGICBIZ_SOCKS) is the Tor to use, 127.0.0.1:9050 unless given. Reads /v1/org: its genesis must
 * hash to the pinned id, and its newest checkpoint must hold (see cli_verify_checkpoint). Then the
 * pin's addresses become the organisation's onion and its replicas' own, as they are proven.
 * Opened before, it is the same one.
 */
int cli_open_org(struct cli *c, struct cli_org **org, struct mb_error *error);
/* The same without talking yet, for a pin that is being made. */
int cli_connect(struct cli *c, struct mb_pin *pin_take, struct cli_org **org,
                struct mb_error *error);
/* The onion of a replica (borrowed) that answered last in place of the organisation's, or NULL. */
const char *cli_fallback(const struct cli_org *o);
void cli_org_free(struct cli_org *org);

/* One call, tried on each onion in turn while they cannot be reached. Answers other than 200 are
 * errors with the organisation's own code and message. The JSON is owned by the caller. */
int cli_get(struct cli_org *o, const char *path, json_t **out, struct mb_error *error);
int cli_post(struct cli_org *o, const char *path, json_t *body, unsigned *status, json_t **out,
             struct mb_error *error);
/* One call of a daemon's operator socket: --socket PATH or $MAGICBIZ_SOCKET, and no organisation is
 * opened. operator.socket where there is none. */
int cli_operator(struct cli *c, const char *path, json_t **out, struct mb_error *error);
int cli_get_lines(struct cli_org *o, const char *path,
                  int (*line)(void *arg, json_t *line, struct mb_error *error), void *arg,
                  struct mb_error *error);
/* Append text with everything but unreserved characters percent-escaped (RFC 3986). */
void cli_escape(struct mb_buf *out, const char *text);

/* The newest header that any process saw here, or the pinned one. */
void cli_load_seen(const struct cli_org *o, struct cli_seen *seen);
/*
 * Who the replicas were and are (handover.c). begin: those of genesis, and what was walked before;
 * for: the configuration in force for a slot, as far as it is known; walk: ask for more handovers
 * and check each. MB_EPROOF, codes handover.* and checkpoint.unsigned.
 */
void cli_configs_begin(struct cli_org *o);
const struct mb_membership *cli_config_for(const struct cli_org *o, uint64_t slot);
int cli_walk_handovers(struct cli_org *o, struct mb_error *error);
/* Once a checkpoint by them was found consistent with all that was seen: not before, or a forger's
 * would stay. */
int cli_keep_configs(struct cli_org *o, struct mb_error *error);
/*
 * Check a checkpoint as a client must: signed by a majority of the replicas in force for its slot,
 * to whom the handovers lead from genesis, consistent with the pinned header and with the newest
 * one ever seen here (which it then becomes), and no older than 48 hours. Fills *header. MB_EPROOF,
 * codes checkpoint.*.
 */
int cli_verify_checkpoint(struct cli_org *o, const json_t *checkpoint, struct mb_header *header,
                          struct mb_error *error);
/* The numbers of the replicas that signed the newest checkpoint, as cli_open_org() read it. */
json_t *cli_signers(const struct cli_org *o);
/* cmd_replica.c */
bool cli_is_among(const json_t *numbers, int64_t number);
/* The slot where there is evidence that this replica diverged, or -1; items are below org/attest.
 */
int64_t cli_diverged_at(const json_t *items, int64_t number);
/* A key's value, proven: 1 and *value (owned; may be NULL to ask for presence only), 0 if it is
 * proven that there is none. */
int cli_state(struct cli_org *o, const char *key, json_t **value, struct mb_error *error);

/* Keys that begin with prefix, [{"key","value"}…], as one replica says they are now: neither proven
 * nor known to be complete. *items is owned by the caller, whatever is returned. */
int cli_list(struct cli_org *o, const char *prefix, json_t **items, struct mb_error *error);
/* Keys below prefix, [{"key","value"}…], proven complete: the whole module is downloaded. *items is
 * owned by the caller, whatever is returned. */
int cli_list_proven(struct cli_org *o, const char *prefix, json_t **items, struct mb_error *error);
/* The module's root, as the state proves it at the checkpoint of slot, is root. */
int cli_verify_module(struct cli_org *o, const char *module, uint64_t slot,
                      const struct mb_hash *root, struct mb_error *error);

/* --- Replaying the ledger (replay.c) --- */

/* The modules that genesis names, and those in use: their deterministic halves are needed to
 * replay. */
int cli_load_modules(const struct cli_org *o, struct mb_modules *modules, struct mb_error *error);
/* Who looks on: before and after each line of GET /v1/blocks is applied. */
struct cli_onlooker {
    void (*before)(void *arg, const json_t *line);
    void (*after)(void *arg, const json_t *line);
    void *arg;
};
/* Fetch all blocks up to the newest checkpoint, and have the audit replay and check each. onlooker:
 * may be NULL. */
int cli_replay(struct cli_org *o, struct mb_audit *audit, const struct cli_onlooker *onlooker,
               struct mb_error *error);

/*
 * Sign a command with id and submit it; waits for its result unless --no-wait. *result is the
 * API's answer (owned). Brings work where the organisation asks for it. A refusal is an error
 * with the organisation's code and message.
 */
int cli_submit(struct cli_org *o, const struct cli_identity *id, const char *type,
               const json_t *body, json_t **result, struct mb_error *error);

/* Submit an envelope that was signed before; the same bytes count once, however often they come.
 * As cli_submit(), but the work that the organisation asks for is not brought. */
int cli_submit_envelope(struct cli_org *o, const json_t *envelope, json_t **result,
                        struct mb_error *error);

/* Open the organisation and submit as the identity that --id names. *result as of cli_submit(). */
int cli_submit_own(struct cli *c, const char *type, const json_t *body, json_t **result,
                   struct mb_error *error);
/* The same, and show the result: a whole command of this program. body is taken. */
int cli_act(struct cli *c, const char *type, json_t *body_take, struct mb_error *error);

/* Only the signed envelope (owned), for --dry-run; NULL and error where signing failed. */
json_t *cli_envelope(struct cli_org *o, const struct cli_identity *id, const char *type,
                     const json_t *body, struct mb_error *error);

/* Run a program and wait: argv[0] is looked up in PATH. out: its standard output is appended
 * (bounded); NULL: inherited. in: what it reads, or empty. Returns its exit status, or negative. */
int cli_run(const char *const *argv, struct mb_bytes in, struct mb_buf *out,
            struct mb_error *error);
/* One line of a program's output, without its end (owned); NULL where it fails. */
char *cli_git_line(const char *const *argv);

#endif
