/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of vcs's world half share. */
#ifndef MB_VCS_WORLD_H
#define MB_VCS_WORLD_H

#include <git2.h>

#include <magicbiz/module.h>

#include "vcs.h"
#include "vcs_head.h"
#include "vcs_packed.h"

#define VCS_OPEN_MAX 32 /* repositories kept open, and advertisements kept made */

/* A repository on disk, kept open: the state's refs as the advertisement wants them. */
struct vcs_open {
    char name[VCS_REPO_MAX + 1];
    git_repository *git;
    struct vcs_refs *refs;      /* NULL until somebody asks */
    struct vcs_changes changes; /* of refs, that packed-refs has not followed yet */
    int64_t write_ms;           /* not before, unless somebody is about to read them */
    bool stuck;                 /* the last write failed */
    uint64_t used;              /* for taking out the oldest */
    unsigned packs;             /* placed since they were joined */
};

struct vcs {
    struct mb_host *host;
    struct mb_loop *loop;
    char *dir, *incoming;
    struct vcs_open open[VCS_OPEN_MAX];
    uint64_t clock;
    /* Requests under way and those that wait for their turn. */
    struct vcs_receive *receives;
    unsigned pushing, fetching;
    struct mb_child *maintenance;
    struct mb_timer *settle; /* for refs that wait */
    struct vcs_behind *behind;
    unsigned sharing; /* asks to other replicas, and theirs, under way */
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    uint64_t pushes, refused, fetches, packs, bytes_in;
    /* What other replicas sent and does not hold, and whose was the last. */
    uint64_t false_receipts, false_packs;
    int64_t false_receipt_by, false_pack_by;
    bool git_missing;
};

/* --- vcs_git.c: git as a child, in an environment made from nothing; it finds the refs as the
 * state has them --- */

struct vcs_git {
    const char *const *args; /* without "git" */
    const char *repo;
    const char *quarantine; /* objects go here, the repository's are alternates; or NULL */
    const char *protocol;   /* GIT_PROTOCOL, or NULL */
    int std[3];             /* as in mb_child_spec */
    void (*exited)(void *arg, int status);
    void *arg;
};
int vcs_git_spawn(struct vcs *v, const struct vcs_git *git, struct mb_child **child, int pipes[3]);
/* Owned path DIR/NAME.git of a repository. */
char *vcs_repo_dir(const struct vcs *v, const char *name);

/* --- vcs_follow.c: repositories follow the state --- */

/* Every repository of the state is there, with its refs; what crashed halfway is finished. */
int vcs_follow_all(struct vcs *v, struct mb_error *error);
/* What a block did to repositories, refs and packs. */
void vcs_follow_block(struct vcs *v, const struct mb_applied *applied);

/* --- vcs_repos.c: repositories on disk --- */

/* The layout of a bare repository (git: gitrepository-layout), without hooks. */
int vcs_repos_make(struct vcs *v, const char *name, const json_t *repo);
/* Put a pack that waits into its repository. 1: it is in place now; 0: it was not there: placed
 * before, or never came here; negative: failed. */
int vcs_repos_place(struct vcs *v, const char *repo, const char *pack);
/* packed-refs, or nothing if there is none; negative: it cannot be read. */
int vcs_repos_read_refs(const char *path, struct mb_buf *out);
/* Whole or not at all, for a git that reads it meanwhile; not synced: after a crash it is compared
 * with the state. */
int vcs_repos_replace_refs(const char *path, const struct mb_buf *text);
/* The refs that git finds on disk are the state's: they follow it at once where pushes are few, and
 * otherwise a few times a second, or before a git is started. */
void vcs_repos_settle(struct vcs *v, const char *name);
void vcs_repos_settle_due(void *v); /* those of all repositories whose time has come */
struct vcs_open *vcs_repos_open(struct vcs *v, const char *name);
void vcs_repos_close(struct vcs *v);
void vcs_remove_tree(const char *path);
/* The folder of a pack that waits for its command; owned. */
char *vcs_incoming_path(const struct vcs *v, const char *pack);

/* --- vcs_refs.c: refs in the order of their names, as pkt-lines ready to send --- */

struct vcs_refs;
struct vcs_refs *vcs_refs_new(struct mb_tx *state, const char *repo);
void vcs_refs_free(struct vcs_refs *r);
void vcs_refs_set(struct vcs_refs *r, const char *ref, const char *id); /* NULL id: remove */
/* The advertisement of git-receive-pack with these capabilities, as it is now, in pieces that are
 * mostly shared with those before and after it; before goes in front. */
struct vcs_advert {
    struct mb_bytes *pieces;
    size_t count;
    struct mb_buf first;
    struct vcs_block **blocks;
};
struct vcs_advert *vcs_refs_advertise(const struct vcs_refs *r, struct mb_bytes before,
                                      const char *capabilities, bool sha256);
void vcs_advert_free(void *advert);

/* --- vcs_check.c: objects of a push, in quarantine --- */

struct vcs_check {
    struct vcs *v;
    const char *repo;
    const struct vcs_head *head;
    const struct mb_public_key *signer; /* NULL: unsigned */
    bool strict, rewind;
    int64_t object_bytes, pack_bytes;
    const char *tmp; /* the quarantine: pack.in lies there already if has_pack */
    bool has_pack;
    char pack[MB_HASH_HEX_SIZE]; /* out: SHA-256 of the completed pack, "" if none */
    /* 0 or an error with code and text; details are lines for people. */
    void (*done)(void *arg, int rc, const struct mb_error *error, const char *details);
    void *arg;
    struct vcs_check_work *work;
};
void vcs_check_start(struct vcs_check *c);
void vcs_check_kill(struct vcs_check *c); /* end it early: done says that it failed */

/* --- vcs_spool.c: the pack of a push, as it comes in --- */

#define VCS_EMPTY_PACK 12 /* bytes before the checksum: a pack of no objects ends there */

/* The first bytes are kept aside: a pack of no objects needs no quarantine. */
struct vcs_spool {
    struct vcs *v;
    uint8_t start[VCS_EMPTY_PACK];
    int64_t size, limit;
    int fd;
    bool has_pack;
    char *tmp; /* the quarantine, with pack.in; NULL until it has a pack */
};
void vcs_spool_init(struct vcs_spool *s, struct vcs *v);
void vcs_spool_clear(struct vcs_spool *s); /* the quarantine goes, too */
/* More bytes of the pack, in order: vcs.pack, vcs.pack_large, vcs.quota. */
int vcs_spool_take(struct vcs_spool *s, struct mb_bytes bytes, struct mb_error *error);
/* No more come: vcs.quota where they could not all be written. */
int vcs_spool_close(struct vcs_spool *s, struct mb_error *error);

/* --- vcs_receive.c: one push, from git or from the replica that took it --- */

struct vcs_receive;
/* A push that another replica took: the same checks, then done; the receipt is in *receipt. */
struct vcs_receive *vcs_receive_new(struct vcs *v, const char *repo);
void vcs_receive_free(struct vcs_receive *p);
/* The head, whole. 0, or why it is refused. */
int vcs_receive_head(struct vcs_receive *p, struct mb_bytes head, struct mb_error *error);
/* Bytes of the pack, in order; from any thread. */
int vcs_receive_pack_bytes(struct vcs_receive *p, struct mb_bytes bytes, struct mb_error *error);
/* All is here: check it. done may free p. */
void vcs_receive_check(struct vcs_receive *p,
                       void (*done)(void *arg, int rc, const struct mb_error *error), void *arg);
const char *vcs_receive_pack_hash(const struct vcs_receive *p); /* "" if it has none */
json_t *vcs_receive_receipt(struct vcs_receive *p);
/* Whether the replica's receipt is one for this push, and holds long enough. */
bool vcs_receive_holds(const struct vcs_receive *p, const json_t *receipt,
                       const struct mb_replica *by);

#ifdef MB_FAULTS
/* As if this pack had been checked and were kept. */
void vcs_receive_pretend(struct vcs_receive *p, const char *pack);
#endif

/* --- vcs_share.c: packs among replicas --- */

/* A push that was checked here: have the other replicas check and keep it too, until receipts (ours
 * are in it) are a majority's. head: its bytes as they came. done once; p stays until then. */
void vcs_share(struct vcs *v, const struct vcs_receive *p, const char *repo, struct mb_bytes head,
               const char *pack, json_t *receipts,
               void (*done)(void *arg, const struct mb_error *error), void *arg);
void vcs_on_ask(void *self, const struct mb_replica *from, struct mb_bytes request, int body_fd,
                uint64_t body_len, struct mb_peer_reply *reply);

/* --- vcs_behind.c: objects that this replica missed --- */

/* After refs moved without their pack being here, and at start. */
void vcs_behind_look(struct vcs *v, const char *repo);
bool vcs_is_behind(const struct vcs *v, const char *repo);
void vcs_behind_serve(struct vcs *v, const char *repo, int body_fd, uint64_t body_len,
                      struct mb_peer_reply *reply);
void vcs_behind_stop(struct vcs *v);

/* --- the routes' handlers --- */

void vcs_info_refs(void *self, struct mb_request *r);
void vcs_upload_pack(void *self, struct mb_request *r);
void vcs_receive_pack(void *self, struct mb_request *r);
void vcs_receive_kill(struct vcs *v); /* end all that is under way */
/* What a reader of the state says of a push now, for vcs_check_head(). */
void vcs_context(struct vcs *v, struct mb_context *ctx, char onion[MB_ONION_SIZE]);
const char *vcs_request_repo(struct vcs *v, struct mb_request *r); /* known, or NULL: answered */
void vcs_drain_check(struct vcs *v);

#endif
