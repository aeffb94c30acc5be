/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The store: state, Merkle pages, history nodes, ids taken in and indexes, in one SQLite file
 * (WAL mode, synchronous=NORMAL). The only user of SQLite. It is a cache of what the log and the
 * archive decide: one transaction per tick, no fsync of its own, rebuilt when missing or wrong. One
 * thread uses it, but for what says otherwise.
 */
#ifndef MB_STORE_STORE_H
#define MB_STORE_STORE_H

#include "ledger/backend.h"

struct mb_store;

/*
 * Open (or make) the file at path. A file that SQLite finds malformed or that has another format:
 * MB_ECORRUPT, code store.corrupt; its text names the file and says what to do.
 */
int mb_store_open(struct mb_store **out, const char *path, struct mb_error *error);
void mb_store_close(struct mb_store *s); /* rolls back what is not committed; NULL is fine */

/* commit fails, and nothing is committed, if an operation of the backend failed since begin; its
 * error is that operation's. A full disk is MB_EIO (store.io), and the text says so. */
int mb_store_begin(struct mb_store *s, struct mb_error *error);
int mb_store_commit(struct mb_store *s, struct mb_error *error);
/*
 * The same without waiting: a thread of the store's writes it, this one goes on, and reads see it
 * as if it were there; once much is waiting, it does wait. What fails there is the error of
 * whatever asks for it next, begin or a commit, and nothing is written any more.
 */
int mb_store_commit_later(struct mb_store *s, struct mb_error *error);
/* A block is over: what is read next is read anew, for SQLite's log begins again only while nobody
 * reads what is in it. True if so much was written since begin that it should be committed. */
bool mb_store_block_done(struct mb_store *s);
/* Until what was to be committed later by now is; any thread may call it. */
int mb_store_wait(struct mb_store *s, struct mb_error *error);
/* Undo what was written since begin. */
void mb_store_rollback(struct mb_store *s);
/* Remove everything (inside a transaction): before a rebuild. */
int mb_store_wipe(struct mb_store *s, struct mb_error *error);

/* The newest state; written only between begin and commit. */
struct mb_backend mb_store_backend(struct mb_store *s);

/*
 * Versions. The state and its pages at the last two checkpoints are kept besides the newest state:
 * mark says that the state as it is now is that of checkpoint slot; whatever was kept for the
 * checkpoint before the previous one is forgotten.
 */
int mb_store_mark_checkpoint(struct mb_store *s, uint64_t slot, struct mb_error *error);
/*
 * A read-only backend that shows state and pages as of a kept checkpoint (get, seek and page_load;
 * its other operations are NULL); fills *view; MB_ENOENT (state.pruned) if slot is not kept. Valid
 * until slot is forgotten: reads then give MB_ENOENT. Free with mb_store_view_free.
 */
struct mb_store_view;
int mb_store_view_new(struct mb_store_view **out, struct mb_store *s, uint64_t slot,
                      struct mb_error *error);
void mb_store_view_free(struct mb_store_view *v);
struct mb_backend mb_store_view_backend(struct mb_store_view *v);
/*
 * The next key of module after `after` ("" for the first) that changed in a block > since (0: every
 * key that is there), with its text at the view's checkpoint: 1, key appended, value appended and
 * *present set; 0 at the end. What changed is remembered until it is forgotten, see below; a key
 * that came and went in between is shown as deleted. Walked in order, a walk costs as much as is
 * remembered since `since` for each 1,000 keys.
 */
int mb_store_view_changed(struct mb_store_view *v, const char *module, uint64_t since,
                          const char *after, struct mb_buf *key, struct mb_buf *value,
                          bool *present);
/* Forget what changed in blocks <= slot, deletions with it; mb_store_forgotten() is the newest slot
 * so forgotten, before which `since` must not reach. */
int mb_store_forget_deletions(struct mb_store *s, uint64_t slot, struct mb_error *error);
uint64_t mb_store_forgotten(struct mb_store *s);

/* Index of commands and blocks: where an id was executed first, for ever. find: 1 or 0. */
int mb_store_command_add(struct mb_store *s, const struct mb_hash *id, uint64_t slot,
                         uint32_t index);
int mb_store_command_find(struct mb_store *s, const struct mb_hash *id, uint64_t *slot,
                          uint32_t *index);

/*
 * A read-only backend on a connection of its own that goes on showing what is committed at the
 * time of the call, whatever is written meanwhile: for snapshots. One thread at a time may use it,
 * and it need not be the one that opened it. SQLite's write-ahead log grows while one is open.
 */
struct mb_store_reader;
int mb_store_reader_open(struct mb_store_reader **out, const char *path, struct mb_error *error);
struct mb_backend mb_store_reader_backend(struct mb_store_reader *r);
void mb_store_reader_close(struct mb_store_reader *r); /* NULL is fine */

/*
 * Recompute every tree from the state's texts and compare with the pages and with state_root.
 * MB_ECORRUPT (store.root) and the name of the first module that differs.
 */
int mb_store_verify(struct mb_store *s, const struct mb_hash *state_root, struct mb_error *error);

/* Move what is committed from SQLite's write-ahead log into the file, and fsync both: called on a
 * worker thread with its own connection, never on the commit path. Commits do it themselves only
 * when the log has passed 64 MiB. */
int mb_store_settle(const char *path, struct mb_error *error);

#endif
