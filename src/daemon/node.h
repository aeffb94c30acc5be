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
#include "ledger/base.h"
#include "ledger/membership.h"
#include "ledger/relay.h"
#include "ledger/snapshot.h"
#include "loop/fault.h"
#include "loop/log.h"
#include "loop/loop.h"
#include "paxos/paxos.h"
#include "peer/peer.h"
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
    uint32_t number; /* this replica's; 0: it is none */
    struct mb_services services;

    struct mb_archive *archive;
    struct mb_wal *wal;
    struct mb_store *store;
    struct mb_ledger *ledger;
    struct recovery *recovery; /* while it starts */
    uint64_t incarnation;      /* counts the lives of this replica's process */
    struct sequence *sequence;
    struct consensus *consensus;
    struct settle *settle;
    struct beacon *beacon; /* NULL: no replica */
    struct checkpoints *checkpoints;
    struct links *links;
    struct snapshots *snapshots;
    struct mb_base
        base; /* of an archive that began with a snapshot; slot 0: it began with genesis */
    struct follow *follow; /* a replica's is idle unless it is far behind */
    struct api *api;
    unsigned uncommitted; /* blocks applied since the store was committed */
    struct mb_http_server *public_http, *operator_http;
    struct onions *onions;
    struct lease *lease;
    struct {
        struct mb_host *host;
        void *self;
        bool started;
    } running[MB_MODULES_MAX];

    int64_t started_ms;
    bool stopping;
    bool again; /* once it has stopped, run anew */
    int exit_status;
};

/* A path below the data folder; owned by the caller. */
char *node_path(const struct node *n, const char *name);
/* Stop with an error that the log names: the replica must not go on. */
void node_fail(struct node *n, const struct mb_error *error);

/* Stop orderly and run anew, in the same process. */
void node_restart(struct node *n);

/* join.c: magicbizd join */
int join_main(int argc, char **argv);

/* options.c */
const struct mb_section *node_base_sections(void);
struct mb_section *node_sections(const struct mb_modules *modules); /* free() */
int node_read_config(const char *file, struct mb_config **out, struct mb_modules *modules,
                     struct mb_section **sections, struct mb_error *error);

/* init.c: magicbizd init */
int init_main(int argc, char **argv);
/* onion_keys.c: the keys folder's onion keys, 64 bytes each. */
int node_onion_key(const char *data, const char *name, uint8_t key[64], struct mb_error *error);

/* recover.c: archive, log and store agree, and the ledger stands at the newest chosen slot. */
int node_recover(struct node *n, struct mb_error *error);
/* Take part again, with what the log said; alone: until all of it is carried out. */
int node_start_consensus(struct node *n, struct mb_error *error);
void node_recovered(struct node *n); /* forget what recovery kept */
void node_close_storage(struct node *n);

/* apply.c */
/* Apply the value chosen for the next slot: state, archive, checkpoint; in recovery and in work
 * alike. checked: one for each envelope, or NULL to check them here. archived: the block record
 * that the archive has for this slot, which must be the same; or NULL to append it. */
int node_apply(struct node *n, struct mb_bytes value, struct mb_checked *const *checked,
               const struct mb_block *archived, struct mb_outcome **out, struct mb_error *error);
/* The same in two halves, of a value that will be the next one chosen: begin changes the state in
 * memory and in the store's open transaction; nobody may be shown anything before end, or undo,
 * after which the node has to stop. All fail with *out NULL. */
int node_apply_begin(struct node *n, struct mb_bytes value, struct mb_checked *const *checked,
                     struct mb_outcome **out, struct mb_error *error);
int node_apply_end(struct node *n, struct mb_outcome **out, const struct mb_block *archived,
                   struct mb_error *error);
void node_apply_undo(struct node *n, struct mb_outcome **out);
/* The store is committed every so many blocks, and soon after the last: a commit costs as much as
 * the rest of a small block, and whatever a killed daemon did not commit is applied again from log
 * and archive. The store's own thread writes it; node_commit() waits until others see it too. */
int node_commit_later(struct node *n, struct mb_error *error);
int node_commit(struct node *n, struct mb_error *error);
/* The newest checkpoint slot that has signatures of a majority: 1 or 0. */
int node_checkpoint(struct node *n, uint64_t at_most, struct mb_checkpoint *out,
                    struct mb_error *error);
/* One block of the archive; it must be there. */
int node_read_block(struct node *n, uint64_t slot, struct mb_block *block, struct mb_error *error);
/* Put the commands of a block into the store's index. */
int node_index_block(struct mb_store *store, uint64_t slot, const struct mb_block *block,
                     struct mb_error *error);
/* The configuration in force for the next slot, and the one that waits if any: how many. configs
 * may be NULL. */
size_t node_configs(struct node *n, struct mb_membership members[2],
                    struct mb_paxos_config configs[2]);

/* beacon.c: our commits and reveals, where the organisation has a beacon */
struct beacon *beacon_new(struct node *n);
void beacon_free(struct beacon *b);

/* settle.c */
struct settle *settle_new(struct node *n);
void settle_free(struct settle *s);
void settle_soon(struct settle *s); /* a block was applied */

/* checkpoints.c: signatures of checkpoint slots, ours and others' */
struct checkpoints *checkpoints_new(struct node *n);
void checkpoints_free(struct checkpoints *c);
/* We applied a checkpoint slot: sign it, and tell the others. */
int checkpoints_sign(struct checkpoints *c, uint64_t slot, struct mb_bytes header,
                     struct mb_error *error);
/* All signatures of a checkpoint slot that was applied. */
int checkpoints_take(struct checkpoints *c, const struct mb_checkpoint *checkpoint,
                     struct mb_error *error);
/* What we signed before we were stopped, and no majority had yet, as far as clients need it: the
 * newest checkpoint slot, and handovers. */
int checkpoints_resume(struct checkpoints *c, struct mb_error *error);
void checkpoints_receive(struct checkpoints *c, uint32_t from, const struct mb_relay *relay);
void checkpoints_report(struct checkpoints *c, struct mb_report *r);

/* links.c: streams to the other replicas */
#define LINKS_PORT   80              /* of the peer onions */
#define LINKS_SOCKET "run/peer.sock" /* that ours leads to */
/* What replicas ask each other (magicbiz-protocol(7), "Between replicas"). */
enum links_kind {
    LINKS_MODULE = 1,      /* a module's name, and what it asks */
    LINKS_ONION_KEY = 2,   /* an onion's address: the key of it */
    LINKS_ONION_AGREE = 3, /* a key: the replica has kept it, and signs for it */
};
struct links *links_new(struct node *n);
int links_start(struct links *l, uint64_t incarnation, struct mb_error *error);
void links_free(struct links *l);
/* These are the replicas now. */
void links_update(struct links *l, const struct mb_membership *members, size_t count);
size_t links_count(const struct links *l); /* others; NULL: 0 */
/* To one, or (0) to all others; lost if there is no such replica, or no links any more (NULL). */
void links_send(struct links *l, uint32_t to, const struct mb_relay *relay);
/* mb_services.ask, with the node as self. */
void links_ask_module(void *self, const char *module, int64_t number, struct mb_bytes request,
                      int body_fd, uint64_t body_len, uint64_t answer_limit, int64_t timeout_ms,
                      mb_asked *done, void *arg);
/* Ask one; done as mb_peers_ask() has it. False: it cannot be asked now. */
bool links_ask(struct links *l, uint32_t to, enum links_kind kind, struct mb_bytes request,
               int64_t timeout_ms, mb_peer_done *done, void *arg);
void links_report(struct links *l, struct mb_report *r);

/* The commands of a value, verified. Kept for a slot until it is applied. */
struct batch {
    uint64_t slot;
    struct mb_hash hash; /* of the value */
    struct mb_checked **checked;
    size_t count;
    bool own; /* they are submissions of ours */
};
void batch_free(struct batch *b); /* NULL is fine */

void consensus_report(struct consensus *c, struct mb_report *r); /* consensus.c */

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
/* Refuse all that has no result yet, while those who asked are still there. */
void sequence_abandon(struct sequence *s);
void sequence_report(struct sequence *s, struct mb_report *r);
/* For consensus.c. Make a value for slot of what waits, and *out the batch of its commands; false
 * if there is nothing to propose, unless it must be. */
bool sequence_fill(struct sequence *s, uint64_t slot, bool must, struct mb_buf *value,
                   struct batch **out);
void sequence_lost(struct sequence *s, struct batch *batch_take); /* its slot got another value */
void sequence_applied(struct sequence *s, struct mb_outcome *o);  /* carry out, and answer */
void sequence_role(struct sequence *s);                           /* the leader has changed */
void sequence_idle(struct sequence *s);        /* nothing is under way: drained, perhaps */
bool sequence_alone(const struct sequence *s); /* at most one command is under way */
/* For links.c: what other replicas say. */
void sequence_forwarded(struct sequence *s, uint32_t from, const struct mb_relay *relay);
void sequence_refused(struct sequence *s, uint32_t from, const struct mb_relay *relay);

/* snapshots.c */
struct snapshots *snapshots_new(struct node *n);
void snapshots_free(struct snapshots *s);
/* After a block that is a checkpoint slot: make one if it is time. */
void snapshots_consider(struct snapshots *s);
void snapshots_signed(struct snapshots *s); /* a checkpoint has got its majority */
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
const struct mb_route *api_replica_routes(void); /* api_replica.c */

/* onions.c */
int onions_start(struct node *n, struct mb_error *error);
void onions_stop(struct node *n);
struct mb_tor *onions_tor(const struct node *n); /* NULL: none */
/* An onion that leads to the public socket; one with this name there is replaced. */
int onions_publish(struct node *n, const char *name, const uint8_t key[64], struct mb_error *error);
void onions_withdraw(struct node *n, const char *name);
/* The replicas, as links_update() has them: they find our peer onion, and our tor theirs. */
int onions_members(struct node *n, const struct mb_membership *members, size_t count,
                   struct mb_error *error);
struct mb_tor_status onions_status(const struct node *n);
void onions_report(struct node *n, struct mb_report *r);

/* lease.c: the organisation's onion, and its key; started and stopped by onions.c */
int lease_start(struct node *n, struct mb_error *error);
void lease_stop(struct node *n);
void lease_check(struct lease *l); /* soon, for the role has changed; NULL is fine */
void lease_report(const struct lease *l, struct mb_report *r);
/* Other replicas' asks: LINKS_ONION_KEY and LINKS_ONION_AGREE. */
void lease_give_key(struct lease *l, uint32_t from, struct mb_bytes request,
                    struct mb_peer_reply *reply);
void lease_agree(struct lease *l, uint32_t from, struct mb_bytes request,
                 struct mb_peer_reply *reply);

/* run.c */
int run_main(int argc, char **argv);
/* Health of everything: alarms, metrics, and whether it is ready to serve. */
void node_report(struct node *n, struct mb_report *r);

#endif
