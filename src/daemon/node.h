/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * magicbizd's parts, and who owns what. A node is one daemon at work; its parts are started and
 * stopped in the order of the table in run.c. Data's way: api.c takes an envelope in, sequence.c
 * orders it (submit → chosen → applied), the modules carry out, api.c answers.
 */
#ifndef MB_DAEMON_NODE_H
#define MB_DAEMON_NODE_H

#include "config.h"
#include "host/host.h"
#include "http/server.h"
#include "ledger/ledger.h"
#include "ledger/snapshot.h"
#include "loop/fault.h"
#include "loop/log.h"
#include "loop/loop.h"
#include "store/store.h"
#include "tor/tor.h"
#include "wal/archive.h"
#include "wal/wal.h"

struct node {
    const char *config_file;
    struct mb_config *config;
    struct mb_section *sections;
    struct mb_modules modules;
    char *data; /* the data folder */
    struct mb_loop *loop;
    struct mb_secret_key key;
    struct mb_services services;

    struct mb_archive *archive;
    struct mb_wal *wal;
    struct mb_store *store;
    struct mb_ledger *ledger;
    struct recovery *recovery; /* while it starts */
    struct sequence *sequence;
    struct snapshots *snapshots;
    struct api *api;
    unsigned uncommitted; /* blocks applied since the store was committed */
    struct mb_http_server *public_http, *operator_http;
    struct onions *onions;
    struct {
        struct mb_host *host;
        void *self;
        bool started;
    } running[MB_MODULES_MAX];

    int64_t started_ms;
    bool stopping;
    int exit_status;
};

/* A path below the data folder; owned by the caller. */
char *node_path(const struct node *n, const char *name);
/* Stop with an error that the log names: the replica must not go on. */
void node_fail(struct node *n, const struct mb_error *error);

/* options.c */
const struct mb_section *node_base_sections(void);
struct mb_section *node_sections(const struct mb_modules *modules); /* free() */
int node_read_config(const char *file, struct mb_config **out, struct mb_modules *modules,
                     struct mb_section **sections, struct mb_error *error);

/* found.c: magicbizd init */
int found_main(int argc, char **argv);
/* The keys folder's onion keys: 64 bytes each. */
int node_onion_key(const char *data, const char *name, uint8_t key[64], struct mb_error *error);

/* recover.c: archive, log and store agree, and the ledger stands at the newest chosen slot. */
int node_recover(struct node *n, struct mb_error *error);
void node_close_storage(struct node *n);

/* sequence.c */
struct sequence *sequence_new(struct node *n);
void sequence_free(struct sequence *s);
/* Order a checked envelope (taken). done gets its result after it was applied, or why it was
 * refused at the door. */
typedef void sequence_done(void *arg, const struct mb_submitted *result);
void sequence_submit(struct sequence *s, struct mb_checked *checked_take, sequence_done *done,
                     void *arg);
/* Check the signature first, on a worker where others wait. */
void sequence_submit_envelope(struct sequence *s, struct mb_envelope *envelope_take,
                              sequence_done *done, void *arg);
/* No more submissions; done(arg) when nothing is under way. */
void sequence_drain(struct sequence *s, void (*done)(void *arg), void *arg);
/* Refuse what waits; where the log is closed, also what was on its way to the disk. While those who
 * asked are still there. */
void sequence_abandon(struct sequence *s, bool log_closed);
void sequence_report(struct sequence *s, struct mb_report *r);
/* Apply the value chosen for the next slot: state, archive, checkpoint; in recovery and in work
 * alike. checked: one for each envelope, or NULL to check them here. archived: the block record
 * that the archive has for this slot, which must be the same; or NULL to append it. */
int node_apply(struct node *n, struct mb_bytes value, struct mb_checked *const *checked,
               const struct mb_block *archived, struct mb_outcome **out, struct mb_error *error);
/* The store is committed every so many blocks, and soon after the last: a commit costs as much as
 * the rest of a small block, and whatever a killed daemon did not commit is applied again from log
 * and archive. Until then only the node's own connection sees the newest blocks: commit before
 * others look. */
int node_commit(struct node *n, struct mb_error *error);
/* The newest checkpoint slot that has signatures of a majority: 1 or 0. */
int node_checkpoint(struct node *n, uint64_t at_most, struct mb_checkpoint *out,
                    struct mb_error *error);

/* snapshots.c */
struct snapshots *snapshots_new(struct node *n);
void snapshots_free(struct snapshots *s);
/* After a block that is a checkpoint slot: make one if it is time. */
void snapshots_consider(struct snapshots *s);
/* The newest whole snapshot in the folder: 1, 0 if there is none. */
int snapshots_load(const char *data, json_t **index, struct mb_error *error);
char *snapshots_chunk_path(const char *data, const char *hex);

/* api.c */
struct api *api_new(struct node *n);
void api_free(struct api *a);
const struct mb_route *api_routes(void);
void api_report(struct api *a, struct mb_report *r);
/* api_read.c, api_stream.c, api_operator.c: more routes, with the node as self */
const struct mb_route *api_read_routes(void);
const struct mb_route *api_stream_routes(void);
const struct mb_route *api_operator_routes(void);

/* onions.c */
int onions_start(struct node *n, struct mb_error *error);
void onions_stop(struct node *n);
struct mb_tor_status onions_status(const struct node *n);
void onions_report(struct node *n, struct mb_report *r);

/* run.c */
int run_main(int argc, char **argv);
/* Health of everything: alarms, metrics, and whether it is ready to serve. */
void node_report(struct node *n, struct mb_report *r);

#endif
