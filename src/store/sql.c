/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/sql.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *const mb_store_tables[] = {"state", "page", "old",     "changed", "history",
                                       "seen",  "meta", "command", "mark",    NULL};

const char mb_store_schema[] =
    "CREATE TABLE state(key TEXT PRIMARY KEY, mark INTEGER NOT NULL, undo INTEGER NOT NULL,"
    " text TEXT) STRICT, WITHOUT ROWID;"
    "CREATE INDEX state_removed ON state(mark) WHERE text IS NULL;"
    /* With a rowid, for rows of 1 to 2 KiB do not fit the nodes of an index. */
    "CREATE TABLE page(tree TEXT, id BLOB, mark INTEGER NOT NULL, undo INTEGER NOT NULL, page BLOB,"
    " PRIMARY KEY(tree, id)) STRICT;"
    "CREATE INDEX page_removed ON page(mark) WHERE page IS NULL;"
    "CREATE TABLE old(n INTEGER PRIMARY KEY, mark INTEGER NOT NULL, undo INTEGER NOT NULL, data "
    "ANY)"
    " STRICT;"
    "CREATE TABLE changed(slot INTEGER, key TEXT, PRIMARY KEY(slot, key)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE history(level INTEGER, idx INTEGER, hash BLOB NOT NULL, PRIMARY KEY(level, idx))"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE seen(n INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, slot INTEGER NOT NULL,"
    " idx INTEGER NOT NULL, hour INTEGER NOT NULL) STRICT;"
    "CREATE INDEX seen_hour ON seen(hour);"
    "CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE command(id BLOB PRIMARY KEY, slot INTEGER NOT NULL, idx INTEGER NOT NULL)"
    " STRICT, WITHOUT ROWID;"
    "CREATE TABLE mark(name TEXT PRIMARY KEY, slot INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

const char *const mb_store_sql[SQL_COUNT] = {
    [SQL_READ] = "BEGIN",
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_STATE_GET] = "SELECT text FROM state WHERE key = ?1 AND text IS NOT NULL",
    [SQL_STATE_SEEK] = "SELECT key, text FROM state WHERE key >= ?1 AND text IS NOT NULL"
                       " ORDER BY key LIMIT 1",
    [SQL_STATE_SEEK_ROW] = "SELECT mark, undo, text, key FROM state WHERE key >= ?1"
                           " ORDER BY key LIMIT 1",
    [SQL_STATE_ALL] = "SELECT key, text FROM state WHERE text IS NOT NULL ORDER BY key",
    [SQL_STATE_ROW] = "SELECT mark, undo, text FROM state WHERE key = ?1",
    [SQL_STATE_KEEP] = "INSERT INTO old VALUES (?1, ?2, ?3, ?4)",
    [SQL_STATE_INSERT] = "INSERT INTO state VALUES (?1, ?2, ?3, ?4)",
    [SQL_STATE_UPDATE] = "UPDATE state SET mark = ?2, undo = ?3, text = ?4 WHERE key = ?1",
    [SQL_STATE_DROP] = "DELETE FROM state WHERE key = ?1",
    [SQL_STATE_PURGE] = "DELETE FROM state WHERE text IS NULL AND mark < ?1",
    [SQL_PAGE_GET] = "SELECT page FROM page WHERE tree = ?1 AND id = ?2 AND page IS NOT NULL",
    [SQL_PAGE_ROW] = "SELECT mark, undo, page FROM page WHERE tree = ?1 AND id = ?2",
    [SQL_PAGE_FIND] = "SELECT rowid, mark, undo, page FROM page WHERE tree = ?1 AND id = ?2",
    [SQL_PAGE_KEEP] = "INSERT INTO old SELECT ?2, mark, undo, page FROM page WHERE rowid = ?1",
    [SQL_PAGE_INSERT] = "INSERT INTO page VALUES (?1, ?2, ?3, ?4, ?5)",
    [SQL_PAGE_UPDATE] = "UPDATE page SET mark = ?2, undo = ?3, page = ?4 WHERE rowid = ?1",
    [SQL_PAGE_DROP] = "DELETE FROM page WHERE rowid = ?1",
    [SQL_PAGE_PURGE] = "DELETE FROM page WHERE page IS NULL AND mark < ?1",
    [SQL_OLD_ROW] = "SELECT mark, undo, data FROM old WHERE n = ?1",
    [SQL_OLD_LAST] = "SELECT max(n) FROM old",
    [SQL_OLD_FORGET] = "DELETE FROM old WHERE n < ?1",
    [SQL_CHANGED_ADD] = "INSERT OR IGNORE INTO changed VALUES (?1, ?2)",
    [SQL_CHANGED_LIST] = "SELECT key FROM changed WHERE slot > ?1 AND slot <= ?2 AND key > ?3"
                         " AND key < ?4 ORDER BY key LIMIT ?5",
    [SQL_CHANGED_FORGET] = "DELETE FROM changed WHERE slot <= ?1",
    [SQL_MARK_GET] = "SELECT slot FROM mark WHERE name = ?1",
    [SQL_MARK_PUT] = "INSERT OR REPLACE INTO mark VALUES (?1, ?2)",
    [SQL_HISTORY_GET] = "SELECT hash FROM history WHERE level = ?1 AND idx = ?2",
    [SQL_HISTORY_PUT] = "INSERT OR REPLACE INTO history VALUES (?1, ?2, ?3)",
    [SQL_SEEN_FIND] = "SELECT id, slot, idx, hour FROM seen WHERE id = ?1",
    [SQL_SEEN_ADD] = "INSERT INTO seen(id, slot, idx, hour) VALUES (?1, ?2, ?3, ?4)",
    [SQL_SEEN_DROP] = "DELETE FROM seen WHERE hour <= ?1",
    [SQL_SEEN_LIST] = "SELECT id, slot, idx, hour FROM seen WHERE hour = ?1 ORDER BY n",
    [SQL_SEEN_HOUR] = "SELECT hour FROM seen WHERE hour >= ?1 ORDER BY hour LIMIT 1",
    [SQL_META_GET] = "SELECT value FROM meta WHERE name = ?1",
    [SQL_META_PUT] = "INSERT OR REPLACE INTO meta VALUES (?1, ?2)",
    [SQL_META_DELETE] = "DELETE FROM meta WHERE name = ?1",
    [SQL_COMMAND_ADD] = "INSERT OR IGNORE INTO command VALUES (?1, ?2, ?3)",
    [SQL_COMMAND_FIND] = "SELECT slot, idx FROM command WHERE id = ?1",
};

static enum mb_err kind_of(int rc)
{
    return (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB ? MB_ECORRUPT : MB_EIO;
}

int mb_store_fail(struct mb_connection *c, int rc)
{
    enum mb_err err = kind_of(rc);
    if (c->error.code[0])
        return err;
    const char *said = c->db && (sqlite3_errcode(c->db) & 0xff) == (rc & 0xff)
                           ? sqlite3_errmsg(c->db)
                           : sqlite3_errstr(rc);
    if (err == MB_ECORRUPT)
        return mb_fail(&c->error, err, "store.corrupt",
                       "%s is damaged (%s): stop the daemon and move the file away (with -wal and "
                       "-shm beside it); it is rebuilt from snapshot and archive on the next start",
                       c->path, said);
    if ((rc & 0xff) == SQLITE_FULL)
        return mb_fail(&c->error, err, "store.io",
                       "no room for %s: the disk is full; free some space and start again",
                       c->path);
    return mb_fail(&c->error, err, "store.io", "%s: %s", c->path, said);
}

/* The page size was chosen by tests/bench/bench_state. */
#define PAGE_BYTES 4096

static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct mb_connection *c = arg;
    (void)db;
    (void)name;
    c->wal_pages = pages;
    return SQLITE_OK;
}

static int pragma(struct mb_connection *c, const char *sql, int64_t *value)
{
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(c->db, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

static int create(struct mb_connection *c)
{
    char *sql = mb_asprintf("BEGIN IMMEDIATE; %s PRAGMA application_id = %d;"
                            " PRAGMA user_version = %d; COMMIT",
                            mb_store_schema, MB_STORE_APPLICATION, MB_STORE_FORMAT);
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    free(sql);
    return rc;
}

/* SQLITE_NOTADB if the file is a database, but not one of ours. */
static int check_format(struct mb_connection *c)
{
    int64_t application = 0, format = 0, objects = 0;
    int rc = pragma(c, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = pragma(c, "PRAGMA user_version", &format);
    if (rc == SQLITE_OK)
        rc = pragma(c, "SELECT count(*) FROM sqlite_schema", &objects);
    if (rc == SQLITE_OK && application == 0 && format == 0 && objects == 0)
        return create(c);
    if (rc == SQLITE_OK && (application != MB_STORE_APPLICATION || format != MB_STORE_FORMAT))
        return SQLITE_NOTADB;
    return rc;
}

static int configure(struct mb_connection *c, unsigned cache_kib)
{
    char *sql = mb_asprintf("PRAGMA page_size = %d; PRAGMA journal_mode = WAL;"
                            " PRAGMA synchronous = NORMAL; PRAGMA cache_size = -%u;"
                            " PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;"
                            " PRAGMA trusted_schema = OFF",
                            PAGE_BYTES, cache_kib);
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    free(sql);
    return rc;
}

int mb_connection_open(struct mb_connection *c, const char *path, unsigned cache_kib)
{
    *c = (struct mb_connection){.path = path};
    int rc = sqlite3_open_v2(
        path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_extended_result_codes(c->db, 1);
    sqlite3_busy_timeout(c->db, MB_STORE_BUSY_MS);
    sqlite3_wal_hook(c->db, on_commit, c);
    rc = configure(c, cache_kib);
    if (rc == SQLITE_OK)
        rc = check_format(c);
    for (size_t i = 0; i < SQL_COUNT && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(c->db, mb_store_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &c->stmt[i],
                                NULL);
    /* A table that is missing in a file of our format. */
    return rc == SQLITE_ERROR ? SQLITE_CORRUPT : rc;
}

void mb_connection_close(struct mb_connection *c)
{
    for (size_t i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(c->stmt[i]);
    sqlite3_close(c->db);
    *c = (struct mb_connection){.path = NULL};
}

int mb_connection_end(struct mb_connection *c)
{
    if (sqlite3_get_autocommit(c->db))
        return 0;
    int rc = sqlite3_step(c->stmt[SQL_ROLLBACK]);
    sqlite3_reset(c->stmt[SQL_ROLLBACK]);
    return rc == SQLITE_DONE ? 0 : mb_store_fail(c, rc);
}

static int read_number(struct mb_connection *c, enum mb_sql which, const char *name, int64_t none,
                       int64_t *number)
{
    *number = none;
    int rc = mb_store_step(c, which, name ? "s" : "", name);
    if (rc == 1) {
        if (sqlite3_column_type(c->stmt[which], 0) != SQLITE_NULL)
            *number = sqlite3_column_int64(c->stmt[which], 0);
        mb_store_done(c, which);
    }
    return rc < 0 ? rc : 0;
}

int mb_connection_marks(struct mb_connection *c, struct mb_marks *m)
{
    int rc = read_number(c, SQL_MARK_GET, "newest", -1, &m->newest);
    if (rc == 0)
        rc = read_number(c, SQL_MARK_GET, "previous", -1, &m->previous);
    if (rc == 0)
        rc = read_number(c, SQL_MARK_GET, "forgotten", -1, &m->forgotten);
    if (rc == 0)
        rc = read_number(c, SQL_MARK_GET, "cut", 1, &m->cut);
    if (rc == 0)
        rc = read_number(c, SQL_OLD_LAST, NULL, 0, &m->next);
    m->next = m->next < m->cut ? m->cut : m->next + 1;
    return rc;
}

static int bind(sqlite3_stmt *stmt, const char *types, va_list args)
{
    int rc = SQLITE_OK;
    for (int i = 1; *types && rc == SQLITE_OK; i++, types++) {
        if (*types == 'i') {
            rc = sqlite3_bind_int64(stmt, i, va_arg(args, int64_t));
        } else if (*types == 's') {
            rc = sqlite3_bind_text(stmt, i, va_arg(args, const char *), -1, SQLITE_STATIC);
        } else {
            struct mb_bytes b = va_arg(args, struct mb_bytes);
            rc = *types == 't' ? sqlite3_bind_text64(stmt, i, (const char *)b.data, b.len,
                                                     SQLITE_STATIC, SQLITE_UTF8)
                               : sqlite3_bind_blob64(stmt, i, b.data, b.len, SQLITE_STATIC);
        }
    }
    return rc;
}

/* Reads share a transaction: taking and dropping the lock for each would cost more than the read.
 */
static int begin_reading(struct mb_connection *c)
{
    if (!sqlite3_get_autocommit(c->db))
        return SQLITE_OK;
    int rc = sqlite3_step(c->stmt[SQL_READ]);
    sqlite3_reset(c->stmt[SQL_READ]);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int mb_store_step(struct mb_connection *c, enum mb_sql which, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    int rc = which == SQL_BEGIN ? SQLITE_OK : begin_reading(c);
    if (rc == SQLITE_OK)
        rc = bind(c->stmt[which], types, args);
    va_end(args);
    return rc == SQLITE_OK ? mb_store_next(c, which) : mb_store_fail(c, rc);
}

int mb_store_next(struct mb_connection *c, enum mb_sql which)
{
    int rc = sqlite3_step(c->stmt[which]);
    if (rc == SQLITE_ROW)
        return 1;
    int err = rc == SQLITE_DONE ? 0 : mb_store_fail(c, rc);
    mb_store_done(c, which);
    return err;
}

void mb_store_done(struct mb_connection *c, enum mb_sql which)
{
    sqlite3_reset(c->stmt[which]);
}

void mb_store_column(struct mb_connection *c, enum mb_sql which, int column, struct mb_buf *out)
{
    const void *data = sqlite3_column_blob(c->stmt[which], column);
    if (data)
        mb_buf_add(out, data, (size_t)sqlite3_column_bytes(c->stmt[which], column));
}

int mb_store_got(struct mb_connection *c, enum mb_sql which, int rc, struct mb_buf *out)
{
    if (rc != 1)
        return rc;
    mb_store_column(c, which, 0, out);
    mb_store_done(c, which);
    return 1;
}

const char *mb_store_scan_from(const char *prefix, const char *from)
{
    return strcmp(from, prefix) > 0 ? from : prefix;
}
