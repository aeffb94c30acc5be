/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Repositories on disk: opened, made, packs put in place, refs written; idempotent. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vcs_world.h"

/* Writing packed-refs costs as much as there is; and ext4 is slow to make files for a while where
 * thousands were removed. */
#define SETTLE_MS    100
#define SETTLE_SHARE 100 /* of the time, at most one part in so many goes into it */

char *vcs_incoming_path(const struct vcs *v, const char *pack)
{
    return mb_asprintf("%s/%s", v->incoming, pack);
}

/* --- Opened repositories --- */

static int write_refs(struct vcs *v, struct vcs_open *o);

static void close_one(struct vcs *v, struct vcs_open *o)
{
    write_refs(v, o);
    git_repository_free(o->git);
    vcs_refs_free(o->refs);
    vcs_changes_clear(&o->changes);
    *o = (struct vcs_open){.name = ""};
}

void vcs_repos_close(struct vcs *v)
{
    for (size_t i = 0; i < VCS_OPEN_MAX; i++)
        close_one(v, &v->open[i]);
}

struct vcs_open *vcs_repos_open(struct vcs *v, const char *name)
{
    struct vcs_open *oldest = &v->open[0];
    for (size_t i = 0; i < VCS_OPEN_MAX; i++) {
        if (strcmp(v->open[i].name, name) == 0) {
            v->open[i].used = ++v->clock;
            return &v->open[i];
        }
        if (v->open[i].used < oldest->used)
            oldest = &v->open[i];
    }
    char *dir = vcs_repo_dir(v, name);
    git_repository *git = NULL;
    int rc = git_repository_open_bare(&git, dir);
    free(dir);
    if (rc != 0) {
        mb_log(MB_LOG_ERROR, "vcs", "cannot_open", "repo=%s", name);
        return NULL;
    }
    close_one(v, oldest);
    mb_snprintf(oldest->name, sizeof oldest->name, "%s", name);
    oldest->git = git;
    oldest->used = ++v->clock;
    return oldest;
}

/* --- Making one --- */

static bool holds_text(const char *path, const char *text)
{
    size_t len = strlen(text);
    char *have = mb_alloc(len + 1);
    FILE *file = fopen(path, "re");
    bool same =
        file != NULL && fread(have, 1, len + 1, file) == len && memcmp(have, text, len) == 0;
    if (file != NULL)
        fclose(file);
    free(have);
    return same;
}

static int write_text(const char *dir, const char *name, const char *text)
{
    char *path = mb_asprintf("%s/%s", dir, name), *fresh = mb_asprintf("%s.new", path);
    if (holds_text(path, text)) {
        free(path);
        free(fresh);
        return 0;
    }
    FILE *file = fopen(fresh, "we");
    int rc = file == NULL ? -1 : 0;
    if (file != NULL && (fputs(text, file) < 0 || fflush(file) != 0 || fsync(fileno(file)) != 0))
        rc = -1;
    if (file != NULL && fclose(file) != 0)
        rc = -1;
    if (rc == 0)
        rc = rename(fresh, path);
    free(path);
    free(fresh);
    return rc;
}

int vcs_repos_make(struct vcs *v, const char *name, const json_t *repo)
{
    static const char *const folders[] = {
        "",      "/objects",    "/objects/pack", "/objects/info",
        "/refs", "/refs/heads", "/refs/tags",    "/refs/proposals"};
    char *dir = vcs_repo_dir(v, name);
    bool sha256 = strcmp(mb_json_get_text(repo, "object_format", ""), "sha256") == 0;
    int rc = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders && rc == 0; i++) {
        char *path = mb_asprintf("%s%s", dir, folders[i]);
        rc = mkdir(path, 0700) != 0 && errno != EEXIST ? -1 : 0;
        free(path);
    }
    char *config = mb_asprintf(
        "[core]\n\trepositoryformatversion = %d\n\tbare = true\n\tfilemode = false\n"
        "\tlogAllRefUpdates = false\n%s[gc]\n\tauto = 0\n[transfer]\n\thideRefs = refs/proposals\n"
        "\tadvertiseSID = false\n[uploadpack]\n\tallowTipSHA1InWant = true\n\tallowFilter = true\n"
        "[pack]\n\tthreads = 1\n\twindowMemory = 64m\n[core]\n\tbigFileThreshold = 16m\n"
        "\tpackedGitLimit = 256m\n",
        sha256 ? 1 : 0, sha256 ? "[extensions]\n\tobjectFormat = sha256\n" : "");
    char *head =
        mb_asprintf("ref: refs/heads/%s\n", mb_json_get_text(repo, "default_branch", "main"));
    if (rc == 0)
        rc = write_text(dir, "config", config);
    if (rc == 0)
        rc = write_text(dir, "HEAD", head);
    if (rc != 0)
        mb_log(MB_LOG_ERROR, "vcs", "cannot_make", "repo=%s errno=%d", name, errno);
    free(config);
    free(head);
    free(dir);
    return rc;
}

/* --- Packs --- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)kind;
    (void)ftw;
    return remove(path);
}

void vcs_remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static bool has_ending(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n > m && strcmp(name + n - m, ending) == 0;
}

/* Move the files of one kind from one folder to another; the index goes last: git looks for it. */
static int move_files(int from, const char *from_path, int to, const char *ending)
{
    DIR *dir = opendir(from_path);
    int rc = dir == NULL ? -1 : 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir)) != NULL;)
        if (has_ending(e->d_name, ending))
            rc = renameat(from, e->d_name, to, e->d_name);
    MB_FAULT("pack.moving");
    if (dir != NULL)
        closedir(dir);
    return rc;
}

int vcs_repos_place(struct vcs *v, const char *repo, const char *pack)
{
    char *from_path = vcs_incoming_path(v, pack), *dir = vcs_repo_dir(v, repo);
    char *to_path = mb_asprintf("%s/objects/pack", dir);
    int from = open(from_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to = open(to_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = 0;
    if (from >= 0) { /* else it was placed before */
        rc = to < 0 || move_files(from, from_path, to, ".pack") != 0 ||
                     move_files(from, from_path, to, ".rev") != 0 ||
                     move_files(from, from_path, to, ".idx") != 0 || fsync(to) != 0
                 ? -1
                 : 0;
        if (rc == 0) {
            vcs_remove_tree(from_path);
            rc = 1;
        } else {
            mb_log(MB_LOG_ERROR, "vcs", "cannot_place", "repo=%s errno=%d", repo, errno);
        }
    }
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    free(from_path);
    free(to_path);
    free(dir);
    return rc;
}

/* --- Refs --- */

int vcs_repos_read_refs(const char *path, struct mb_buf *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    int rc = fstat(fd, &st);
    ssize_t n = 1;
    if (rc == 0)
        mb_buf_reserve(out, (size_t)st.st_size + 1);
    while (rc == 0 && n > 0) {
        mb_buf_reserve(out, 65536);
        n = read(fd, out->data + out->len, 65536);
        rc = n < 0 ? -1 : 0;
        out->len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    return rc;
}

int vcs_repos_replace_refs(const char *path, const struct mb_buf *text)
{
    char *fresh = mb_asprintf("%s.new", path);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -1 : 0;
    for (size_t done = 0; rc == 0 && done < text->len;) {
        ssize_t n = write(fd, text->data + done, text->len - done);
        rc = n <= 0 ? -1 : 0;
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0 && close(fd) != 0)
        rc = -1;
    MB_FAULT("refs.written");
    if (rc == 0)
        rc = rename(fresh, path);
    free(fresh);
    return rc;
}

/* A ref in a file of its own, made by somebody's git, would hide the one in packed-refs. */
static void remove_file_of(const char *dir, const char *ref)
{
    char *path = mb_asprintf("%s/%s", dir, ref);
    unlink(path);
    free(path);
}

static int write_refs(struct vcs *v, struct vcs_open *o)
{
    if (o->changes.count == 0)
        return 0;
    int64_t began_ms = mb_now_ms();
    struct mb_buf old = {0}, text = {0};
    char *dir = vcs_repo_dir(v, o->name), *path = mb_asprintf("%s/packed-refs", dir);
    int rc = vcs_repos_read_refs(path, &old);
    if (rc == 0) {
        vcs_packed_merge(mb_buf_bytes(&old), &o->changes, &text);
        rc = vcs_repos_replace_refs(path, &text);
        MB_FAULT("refs.moved");
    }
    for (size_t i = 0; rc == 0 && i < o->changes.count; i++)
        remove_file_of(dir, o->changes.items[i].ref);
    if (rc == 0)
        vcs_changes_clear(&o->changes);
    else if (!o->stuck)
        mb_log(MB_LOG_ERROR, "vcs", "cannot_move_refs", "repo=%s errno=%d", o->name, errno);
    o->stuck = rc != 0;
    int64_t now_ms = mb_now_ms(), pause_ms = (now_ms - began_ms) * SETTLE_SHARE;
    o->write_ms = now_ms + (pause_ms > SETTLE_MS ? pause_ms : SETTLE_MS);
    mb_buf_clear(&old);
    mb_buf_clear(&text);
    free(path);
    free(dir);
    return rc;
}

void vcs_repos_settle(struct vcs *v, const char *name)
{
    for (size_t i = 0; i < VCS_OPEN_MAX; i++)
        if (strcmp(v->open[i].name, name) == 0)
            write_refs(v, &v->open[i]);
}

void vcs_repos_settle_due(void *arg)
{
    struct vcs *v = arg;
    int64_t next_ms = INT64_MAX, now_ms = mb_now_ms();
    for (size_t i = 0; i < VCS_OPEN_MAX; i++) {
        struct vcs_open *o = &v->open[i];
        if (o->changes.count > 0 && now_ms >= o->write_ms)
            write_refs(v, o);
        if (o->changes.count > 0 && o->write_ms < next_ms)
            next_ms = o->write_ms;
    }
    if (next_ms < INT64_MAX)
        mb_timer_set(v->settle, next_ms > now_ms ? next_ms - now_ms : 0);
}
