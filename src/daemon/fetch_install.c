/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A snapshot that was fetched comes into its place: each step may be done again after a crash. */
#include "daemon/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 && fsync(fd) == 0 ? 0 : -1;
    if (fd >= 0)
        close(fd);
    return rc;
}

static int move(struct node *n, const char *from, const char *to, struct mb_error *error)
{
    char *a = node_path(n, from), *b = node_path(n, to);
    int rc = 0;
    if (access(a, F_OK) == 0 && (rename(a, b) != 0 || sync_folder(n->data) != 0))
        rc = mb_fail(error, MB_EIO, "data.unusable", "%s: cannot be moved to %s: %s", a, b,
                     strerror(errno));
    free(a);
    free(b);
    return rc;
}

/* What the archive here ends with; no archive: a crash came between the two renames. */
static int own_tip(struct node *n, uint64_t *tip, struct mb_error *error)
{
    char *path = node_path(n, "archive");
    struct mb_archive *a = NULL;
    int rc = 0;
    *tip = 0;
    if (access(path, F_OK) == 0 && (rc = mb_archive_open(&a, path, error)) == 0) {
        *tip = mb_archive_tip(a);
        mb_archive_close(a);
    }
    free(path);
    return rc;
}

static bool is_there(struct node *n, const char *name)
{
    char *path = node_path(n, name);
    bool there = access(path, F_OK) == 0;
    free(path);
    return there;
}

static void drop(struct node *n, const char *name)
{
    char *path = node_path(n, name);
    fetch_remove(path);
    free(path);
}

static int put_archive(struct node *n, uint64_t slot, uint64_t tip, struct mb_error *error)
{
    char before[48];
    mb_snprintf(before, sizeof before, "archive.before-%" PRIu64, slot);
    if (tip == 0 && is_there(n, "archive")) /* it holds the genesis, and so does the new one */
        drop(n, "archive");
    int rc = move(n, "archive", before, error);
    return rc == 0 ? move(n, "incoming/archive", "archive", error) : rc;
}

static int put_store(struct node *n, struct mb_error *error)
{
    drop(n, "store.db");
    drop(n, "store.db-wal");
    drop(n, "store.db-shm");
    return move(n, "incoming/store.db", "store.db", error);
}

static int put_chunks(struct node *n, struct mb_error *error)
{
    drop(n, "snapshot");
    return move(n, "incoming/snapshot", "snapshot", error);
}

int fetch_install(struct node *n, struct mb_error *error)
{
    char *path = node_path(n, "incoming/ready");
    struct mb_buf text = {0};
    uint64_t tip;
    int rc = 0;
    if (access(path, F_OK) != 0 || (rc = mb_read_file(path, 20, &text, error)) != 0) {
        free(path);
        return rc;
    }
    uint64_t slot = strtoull(mb_buf_text(&text), NULL, 10);
    rc = own_tip(n, &tip, error);
    bool install = is_there(n, "incoming/archive") && tip < slot;
    bool go_on = !is_there(n, "incoming/archive"); /* the archive is in its place already */
    if (rc == 0 && install)
        rc = put_archive(n, slot, tip, error);
    if (rc == 0 && (install || go_on) && is_there(n, "incoming/store.db"))
        rc = put_store(n, error);
    if (rc == 0 && (install || go_on) && is_there(n, "incoming/snapshot"))
        rc = put_chunks(n, error);
    if (rc == 0) {
        mb_log(MB_LOG_INFO, "fetch", install || go_on ? "installed" : "too_old",
               "slot=%" PRIu64 " before=%" PRIu64, slot, tip);
        unlink(path);
        drop(n, "incoming");
    }
    mb_buf_clear(&text);
    free(path);
    return rc;
}
