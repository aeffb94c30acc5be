/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "store/store.h"

#include <stdlib.h>
#include <string.h>

#include "loop/fault.h"
#include "store/cache.h"

/* The page size and the cache were chosen by tests/bench/bench_state. */
#define PAGE_BYTES      4096
#define CACHE_KIB       12288
#define WAL_PAGES_MAX   16384 /* 64 MiB: then a commit moves them itself, if nobody settled */
#define BUSY_TIMEOUT_MS 5000

static int give_up(struct mb_store *s, int rc, struct mb_error *error)
{
    int err = mb_store_fail(s, rc);
    if (error)
        *error = s->error;
    return err;
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct mb_store *s = arg;
    (void)db;
    (void)name;
    s->wal_pages = pages;
    return SQLITE_OK;
}

static int pragma(struct mb_store *s, const char *sql, int64_t *value)
{
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return rc;
    rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *value = sqlite3_column_int64(stmt, 0);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_CORRUPT : rc;
}

static int create(struct mb_store *s)
{
    char *sql = mb_asprintf("BEGIN IMMEDIATE; %s PRAGMA application_id = %d;"
                            " PRAGMA user_version = %d; COMMIT",
                            mb_store_schema, MB_STORE_APPLICATION, MB_STORE_FORMAT);
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    free(sql);
    return rc;
}

/* SQLITE_NOTADB if the file is a database, but not one of ours. */
static int check_format(struct mb_store *s)
{
    int64_t application = 0, format = 0, objects = 0;
    int rc = pragma(s, "PRAGMA application_id", &application);
    if (rc == SQLITE_OK)
        rc = pragma(s, "PRAGMA user_version", &format);
    if (rc == SQLITE_OK)
        rc = pragma(s, "SELECT count(*) FROM sqlite_schema", &objects);
    if (rc == SQLITE_OK && application == 0 && format == 0 && objects == 0)
        return create(s);
    if (rc == SQLITE_OK && (application != MB_STORE_APPLICATION || format != MB_STORE_FORMAT))
        return SQLITE_NOTADB;
    return rc;
}

static int configure(struct mb_store *s)
{
    char *sql = mb_asprintf("PRAGMA page_size = %d; PRAGMA journal_mode = WAL;"
                            " PRAGMA synchronous = NORMAL; PRAGMA cache_size = -%d;"
                            " PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;"
                            " PRAGMA trusted_schema = OFF",
                            PAGE_BYTES, CACHE_KIB);
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    free(sql);
    return rc;
}

static int read_number(struct mb_store *s, enum mb_sql which, const char *name, int64_t none,
                       int64_t *number)
{
    *number = none;
    int rc = mb_store_step(s, which, name ? "s" : "", name);
    if (rc == 1) {
        if (sqlite3_column_type(s->stmt[which], 0) != SQLITE_NULL)
            *number = sqlite3_column_int64(s->stmt[which], 0);
        mb_store_done(s, which);
    }
    return rc < 0 ? rc : 0;
}

static int read_marks(struct mb_store *s)
{
    int rc = read_number(s, SQL_MARK_GET, "newest", -1, &s->newest);
    if (rc == 0)
        rc = read_number(s, SQL_MARK_GET, "previous", -1, &s->previous);
    if (rc == 0)
        rc = read_number(s, SQL_MARK_GET, "forgotten", -1, &s->forgotten);
    if (rc == 0)
        rc = read_number(s, SQL_MARK_GET, "cut", 1, &s->cut);
    if (rc == 0)
        rc = read_number(s, SQL_OLD_LAST, NULL, 0, &s->next);
    s->next = s->next < s->cut ? s->cut : s->next + 1;
    return rc;
}

static int open_file(struct mb_store *s, const char *path)
{
    int rc = sqlite3_open_v2(
        path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return rc;
    sqlite3_extended_result_codes(s->db, 1);
    sqlite3_busy_timeout(s->db, BUSY_TIMEOUT_MS);
    sqlite3_wal_hook(s->db, on_commit, s);
    rc = configure(s);
    if (rc == SQLITE_OK)
        rc = check_format(s);
    for (size_t i = 0; i < SQL_COUNT && rc == SQLITE_OK; i++)
        rc = sqlite3_prepare_v3(s->db, mb_store_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmt[i],
                                NULL);
    /* A table that is missing in a file of our format. */
    return rc == SQLITE_ERROR ? SQLITE_CORRUPT : rc;
}

int mb_store_open(struct mb_store **out, const char *path, struct mb_error *error)
{
    struct mb_store *s = mb_calloc(1, sizeof *s);
    s->path = mb_strdup(path);
    s->cache = mb_cache_new();
    int rc = open_file(s, path), err = 0;
    if (rc != SQLITE_OK)
        err = mb_store_fail(s, rc);
    else
        err = read_marks(s);
    if (err && error)
        *error = s->error;
    if (err) {
        mb_store_close(s);
        return err;
    }
    *out = s;
    return 0;
}

void mb_store_close(struct mb_store *s)
{
    if (!s)
        return;
    mb_cache_free(s);
    for (size_t i = 0; i < SQL_COUNT; i++)
        sqlite3_finalize(s->stmt[i]);
    sqlite3_close(s->db);
    free(s->path);
    free(s);
}

int mb_store_begin(struct mb_store *s, struct mb_error *error)
{
    s->error = (struct mb_error){0};
    /* Reading ends here. */
    int rc = sqlite3_get_autocommit(s->db) ? 0 : mb_store_step(s, SQL_ROLLBACK, "");
    if (rc == 0)
        rc = mb_store_step(s, SQL_BEGIN, "");
    s->writing = rc == 0;
    if (rc && error)
        *error = s->error;
    return rc;
}

int mb_store_commit(struct mb_store *s, struct mb_error *error)
{
    /* Something failed since begin, and what is written may be half of it. */
    int rc = s->error.code[0] ? MB_EIO : mb_cache_flush(s);
    if (rc == 0)
        rc = mb_store_step(s, SQL_COMMIT, "");
    if (rc) {
        if (strcmp(s->error.code, "store.corrupt") == 0)
            rc = MB_ECORRUPT;
        if (error)
            *error = s->error;
        return rc;
    }
    s->writing = false;
    MB_FAULT("store.committed");
    /* What is committed stays so if this fails; the next commit tries again. */
    if (s->wal_pages > WAL_PAGES_MAX)
        (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return 0;
}

void mb_store_rollback(struct mb_store *s)
{
    if (!sqlite3_get_autocommit(s->db))
        (void)mb_store_step(s, SQL_ROLLBACK, "");
    mb_cache_drop(s);
    s->writing = false;
    s->error = (struct mb_error){0};
    (void)read_marks(s);
}

int mb_store_wipe(struct mb_store *s, struct mb_error *error)
{
    mb_cache_drop(s);
    for (const char *const *table = mb_store_tables; *table; table++) {
        char *sql = mb_asprintf("DELETE FROM %s", *table);
        int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
        free(sql);
        if (rc != SQLITE_OK)
            return give_up(s, rc, error);
    }
    s->newest = s->previous = s->forgotten = -1;
    s->cut = s->next = 1;
    return 0;
}

static int set_mark(struct mb_store *s, const char *name, int64_t slot, int64_t *mark)
{
    int rc = mb_store_step(s, SQL_MARK_PUT, "si", name, slot);
    if (rc == 0)
        *mark = slot;
    return rc;
}

int mb_store_mark_checkpoint(struct mb_store *s, uint64_t slot, struct mb_error *error)
{
    int rc = 0;
    if ((int64_t)slot == s->newest)
        return 0;
    if ((int64_t)slot < s->newest)
        return mb_fail(error, MB_EINVAL, "store.order", "checkpoint %lld comes after %llu",
                       (long long)s->newest, (unsigned long long)slot);
    rc = mb_cache_flush(s); /* as of now, not of the checkpoint to come */
    if (rc == 0 && s->newest >= 0) {
        rc = mb_store_step(s, SQL_OLD_FORGET, "i", s->cut);
        if (rc == 0)
            rc = mb_store_step(s, SQL_STATE_PURGE, "i", s->newest);
        if (rc == 0)
            rc = mb_store_step(s, SQL_PAGE_PURGE, "i", s->newest);
        if (rc == 0)
            rc = set_mark(s, "previous", s->newest, &s->previous);
    }
    if (rc == 0)
        rc = set_mark(s, "newest", (int64_t)slot, &s->newest);
    if (rc == 0)
        rc = set_mark(s, "cut", s->next, &s->cut);
    if (rc && error)
        *error = s->error;
    return rc;
}

int mb_store_forget_deletions(struct mb_store *s, uint64_t slot, struct mb_error *error)
{
    if ((int64_t)slot <= s->forgotten)
        return 0;
    int rc = mb_cache_flush(s);
    if (rc == 0)
        rc = mb_store_step(s, SQL_CHANGED_FORGET, "i", (int64_t)slot);
    if (rc == 0)
        rc = set_mark(s, "forgotten", (int64_t)slot, &s->forgotten);
    if (rc && error)
        *error = s->error;
    return rc;
}

uint64_t mb_store_forgotten(struct mb_store *s)
{
    return s->forgotten < 0 ? 0 : (uint64_t)s->forgotten;
}

int mb_store_settle(const char *path, struct mb_error *error)
{
    struct mb_store s = {.path = mb_strdup(path)};
    int rc = sqlite3_open_v2(path, &s.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(s.db, BUSY_TIMEOUT_MS);
        rc = sqlite3_wal_checkpoint_v2(s.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    /* Busy: somebody else is moving it at this moment. */
    rc = rc == SQLITE_BUSY ? SQLITE_OK : rc;
    int err = rc == SQLITE_OK ? 0 : give_up(&s, rc, error);
    sqlite3_close(s.db);
    free(s.path);
    return err;
}

/* A reader is a store of its own, which has begun to read when it is open, and must not write. */
struct mb_store_reader {
    struct mb_store *store;
};

int mb_store_reader_open(struct mb_store_reader **out, const char *path, struct mb_error *error)
{
    struct mb_store *s;
    int rc = mb_store_open(&s, path, error);
    if (rc)
        return rc;
    rc = sqlite3_exec(s->db, "PRAGMA query_only = ON", NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        rc = give_up(s, rc, error);
        mb_store_close(s);
        return rc;
    }
    *out = mb_calloc(1, sizeof **out);
    (*out)->store = s;
    return 0;
}

struct mb_backend mb_store_reader_backend(struct mb_store_reader *r)
{
    return mb_store_backend(r->store);
}

void mb_store_reader_close(struct mb_store_reader *r)
{
    if (!r)
        return;
    mb_store_close(r->store);
    free(r);
}
