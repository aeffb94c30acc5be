/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The store's tables, and its statements, kept prepared.
 *
 * Versions by undo: `mark` of a row is the newest checkpoint when the row was written, so that a
 * row is what it was at checkpoint C if mark < C. When a row changes for the first time since the
 * newest checkpoint, what it was goes to the end of `old`, and `undo` of the row says where (0: it
 * was nothing); copies point at older ones likewise. A row that is removed stays without its text
 * while somebody may ask what it was. Forgetting is a range delete.
 */
#ifndef MB_STORE_SQL_H
#define MB_STORE_SQL_H

#include <sqlite3.h>

#include "base/error.h"
#include "store/store.h"

#define MB_STORE_APPLICATION 0x6d625354 /* "mbST" */
#define MB_STORE_FORMAT      1
#define MB_STORE_BUSY_MS     5000

extern const char *const mb_store_tables[]; /* names; ends with NULL */
extern const char mb_store_schema[];

enum mb_sql {
    SQL_READ,
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_STATE_GET,
    SQL_STATE_SEEK,
    SQL_STATE_SEEK_ROW,
    SQL_STATE_ALL,
    SQL_STATE_ROW,
    SQL_STATE_KEEP,
    SQL_STATE_INSERT,
    SQL_STATE_UPDATE,
    SQL_STATE_DROP,
    SQL_STATE_PURGE,
    SQL_PAGE_GET,
    SQL_PAGE_FIND,
    SQL_PAGE_ROW,
    SQL_PAGE_KEEP,
    SQL_PAGE_INSERT,
    SQL_PAGE_UPDATE,
    SQL_PAGE_DROP,
    SQL_PAGE_PURGE,
    SQL_OLD_ROW,
    SQL_OLD_LAST,
    SQL_OLD_FORGET,
    SQL_CHANGED_ADD,
    SQL_CHANGED_LIST,
    SQL_CHANGED_FORGET,
    SQL_MARK_GET,
    SQL_MARK_PUT,
    SQL_HISTORY_GET,
    SQL_HISTORY_PUT,
    SQL_SEEN_FIND,
    SQL_SEEN_ADD,
    SQL_SEEN_DROP,
    SQL_SEEN_LIST,
    SQL_SEEN_HOUR,
    SQL_META_GET,
    SQL_META_PUT,
    SQL_META_DELETE,
    SQL_COMMAND_ADD,
    SQL_COMMAND_FIND,
    SQL_COUNT,
};
extern const char *const mb_store_sql[SQL_COUNT];

/* A connection to the file, used by one thread at a time. */
struct mb_connection {
    sqlite3 *db;
    const char *path; /* borrowed */
    sqlite3_stmt *stmt[SQL_COUNT];
    struct mb_error error; /* the first failure since begin; code "" if there is none */
    int wal_pages;         /* in the write-ahead log, after the last commit */
};

/* What the table of marks says, and the numbers that follow from it. */
struct mb_marks {
    int64_t newest, previous; /* checkpoints that are kept; -1: none */
    int64_t forgotten;
    int64_t cut;  /* copies before this one are for checkpoints before the newest */
    int64_t next; /* the number of the next copy */
};

/* Open and configure the file; a result code of SQLite's, SQLITE_NOTADB if it is not one of ours.
 * It is to be closed whatever that says. */
int mb_connection_open(struct mb_connection *c, const char *path, unsigned cache_kib);
void mb_connection_close(struct mb_connection *c);
int mb_connection_marks(struct mb_connection *c, struct mb_marks *m);
/* End the transaction that is open, if one is: what was written in it is undone, what is read next
 * is what is committed by then. */
int mb_connection_end(struct mb_connection *c);

/* Fail with what SQLite said last (rc), remember it in c, and return the error's number. */
int mb_store_fail(struct mb_connection *c, int rc);
/*
 * Bind args to a statement, and step it: 1 if there is a row, 0 if there is none, or an error.
 * types has a letter for each: 's' const char * (text), 't' struct mb_bytes (text), 'b' struct
 * mb_bytes (blob; data NULL: NULL), 'i' int64_t. After a row the statement stays open for
 * mb_store_next() and the columns, until mb_store_done(); otherwise it is reset.
 */
int mb_store_step(struct mb_connection *c, enum mb_sql which, const char *types, ...);
int mb_store_next(struct mb_connection *c, enum mb_sql which);
void mb_store_done(struct mb_connection *c, enum mb_sql which);
/* Append a column of the row. */
void mb_store_column(struct mb_connection *c, enum mb_sql which, int column, struct mb_buf *out);
/* Step, and append column 0 of the row, if there is one: 1, 0, or an error. */
#define mb_store_get(c, which, out, ...)                                                           \
    mb_store_got(c, which, mb_store_step(c, which, __VA_ARGS__), out)
int mb_store_got(struct mb_connection *c, enum mb_sql which, int rc, struct mb_buf *out);

/* from, or prefix if that is greater: where a scan of prefix begins. */
const char *mb_store_scan_from(const char *prefix, const char *from);

#endif
