/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Repositories on disk follow the state: made, refs moved, packs put in place; idempotent. */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vcs_world.h"

#define JOIN_PACKS_AFTER 100
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

/* The layout of a bare repository (git: gitrepository-layout), without hooks. */
static int make_repo(struct vcs *v, const char *name, const json_t *repo)
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

/* 1: it is in place now; 0: it was not there: placed before, or never came here; negative: failed.
 */
static int place_pack(struct vcs *v, const char *repo, const char *pack)
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

/* The file, or nothing if there is none; negative: it cannot be read. */
static int read_packed(const char *path, struct mb_buf *out)
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

/* Whole or not at all, for a git that reads it meanwhile; not synced: after a crash it is compared
 * with the state. */
static int replace_packed(const char *path, const struct mb_buf *text)
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
    int rc = read_packed(path, &old);
    if (rc == 0) {
        vcs_packed_merge(mb_buf_bytes(&old), &o->changes, &text);
        rc = replace_packed(path, &text);
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

/* What an annotated tag stands for. Only refs/tags/ can hold one (vcs_check.c sees to it). */
static const char *peel(git_repository *git, const char *ref, const char *id, char out[65])
{
    git_object *tag = NULL, *object = NULL;
    git_oid oid;
    bool is_tag = strncmp(ref, "refs/tags/", 10) == 0 && git_oid_fromstr(&oid, id) == 0 &&
                  git_object_lookup(&tag, git, &oid, GIT_OBJECT_ANY) == 0 &&
                  git_object_type(tag) == GIT_OBJECT_TAG &&
                  git_object_peel(&object, tag, GIT_OBJECT_ANY) == 0;
    if (is_tag)
        git_oid_tostr(out, 65, git_object_id(object));
    git_object_free(object);
    git_object_free(tag);
    return is_tag ? out : NULL;
}

/* One ref as the state has it: in the advertisement, and soon on disk. */
static void follow_ref(struct vcs *v, struct vcs_open *o, const char *ref)
{
    char key[MB_STATE_KEY_MAX + 1], peeled[65];
    vcs_ref_key(key, o->name, ref);
    json_t *id = mb_tx_get(mb_host_state(v->host), key);
    const char *text = id != NULL ? json_string_value(id) : NULL;
    vcs_changes_set(&o->changes, ref, text, text != NULL ? peel(o->git, ref, text, peeled) : NULL);
    if (o->refs != NULL)
        vcs_refs_set(o->refs, ref, text);
    json_decref(id);
}

static void maintained(void *arg, int status)
{
    struct vcs *v = arg;
    mb_child_free(v->maintenance);
    v->maintenance = NULL;
    if (status != 0)
        mb_log(MB_LOG_WARN, "vcs", "maintenance_failed", "status=%d", status);
}

/* Many small pushes leave many packs: join them now and then, in the background. */
static void maintain(struct vcs *v, struct vcs_open *o)
{
    static const char *const args[] = {"repack", "-d", "-l", "-q", "--geometric=2", NULL};
    if (v->maintenance != NULL || o->packs < JOIN_PACKS_AFTER || vcs_is_behind(v, o->name))
        return;
    struct vcs_git git = {.args = args,
                          .repo = o->name,
                          .std = {MB_NULL, MB_NULL, MB_NULL},
                          .exited = maintained,
                          .arg = v};
    int pipes[3];
    o->packs = 0;
    vcs_git_spawn(v, &git, &v->maintenance, pipes);
}

static void follow_updates(struct vcs *v, struct vcs_open *o, const json_t *updates)
{
    const json_t *u;
    size_t i;
    json_array_foreach(updates, i, u)
    {
        const char *ref = mb_json_get_text(u, "ref", "");
        if (strncmp(ref, "refs/for/", 9) != 0)
            follow_ref(v, o, ref);
    }
}

static void follow_push(struct vcs *v, const json_t *outcome, const char *pack)
{
    const char *name = mb_json_get_text(outcome, "repo", "");
    char key[MB_STATE_KEY_MAX + 1];
    const json_t *p;
    size_t i;
    mb_snprintf(key, sizeof key, "vcs/push/%s/%010" PRId64, name,
                mb_json_get_int(outcome, "push", 0));
    json_t *push = mb_tx_get(mb_host_state(v->host), key);
    int here = pack == NULL ? 1 : place_pack(v, name, pack);
    MB_FAULT("pack.placed");
    struct vcs_open *o = vcs_repos_open(v, name);
    if (o != NULL) {
        if (pack != NULL) {
            git_odb *odb = NULL;
            if (git_repository_odb(&odb, o->git) == 0)
                git_odb_refresh(odb);
            git_odb_free(odb);
            o->packs++;
        }
        follow_updates(v, o, json_object_get(push, "updates"));
        json_array_foreach(json_object_get(outcome, "proposals"), i, p)
            follow_ref(v, o, mb_json_get_text(p, "ref", ""));
        maintain(v, o);
    }
    json_decref(push);
    if (here != 1)
        vcs_behind_look(v, name);
}

static void follow_close(struct vcs *v, const json_t *body)
{
    struct vcs_open *o = vcs_repos_open(v, mb_json_get_text(body, "repo", ""));
    char ref[64];
    mb_snprintf(ref, sizeof ref, "refs/proposals/%" PRId64, mb_json_get_int(body, "proposal", 0));
    if (o != NULL)
        follow_ref(v, o, ref);
}

static void follow_merge(struct vcs *v, const json_t *body, const json_t *outcome)
{
    struct vcs_open *o = vcs_repos_open(v, mb_json_get_text(body, "repo", ""));
    if (o != NULL)
        follow_ref(v, o, mb_json_get_text(outcome, "ref", ""));
    follow_close(v, body);
}

static void follow_repo(struct vcs *v, const char *name)
{
    json_t *repo = vcs_repo(mb_host_state(v->host), name);
    if (repo != NULL)
        make_repo(v, name, repo);
    json_decref(repo);
}

void vcs_repos_follow(struct vcs *v, const struct mb_applied *applied)
{
    for (size_t i = 0; i < applied->count; i++) {
        const struct mb_executed *e = &applied->commands[i];
        if (!e->ok || strncmp(e->type, "vcs.", 4) != 0)
            continue;
        if (strcmp(e->type, "vcs.push") == 0) {
            v->pushes++;
            follow_push(v, e->outcome, mb_json_get_text(e->body, "pack", NULL));
        } else if (strcmp(e->type, "vcs.proposal.close") == 0) {
            follow_close(v, e->body);
        } else if (strcmp(e->type, "vcs.merge") == 0) {
            follow_merge(v, e->body, e->outcome);
        } else {
            follow_repo(v, mb_json_get_text(e->body, "name", ""));
        }
    }
    vcs_repos_settle_due(v);
}

/* --- After a start: compare, and close the difference --- */

struct reconciling {
    struct vcs *v;
    struct vcs_open *open;
    size_t skip;
    struct mb_buf old; /* packed-refs as it is */
    struct vcs_changes wanted;
    unsigned changed;
    int rc;
};

static int want_ref(void *arg, const char *key, const json_t *value)
{
    struct reconciling *r = arg;
    const char *ref = key + r->skip, *id = json_string_value(value);
    struct mb_bytes had, had_peeled;
    char peeled[65];
    bool same = vcs_packed_find(mb_buf_bytes(&r->old), ref, &had, &had_peeled) &&
                mb_bytes_equal(had, mb_bytes_of(id));
    if (!same)
        r->changed++;
    if (same && had_peeled.len > 0 &&
        mb_snprintf(peeled, sizeof peeled, "%.*s", (int)had_peeled.len, had_peeled.data) == 0)
        vcs_changes_set(&r->wanted, ref, id, peeled);
    else
        vcs_changes_set(&r->wanted, ref, id, peel(r->open->git, ref, id, peeled));
    return 0;
}

static int place_push(void *arg, const char *key, const json_t *value)
{
    struct reconciling *r = arg;
    const char *pack = mb_json_get_text(value, "pack", NULL);
    (void)key;
    if (pack != NULL && place_pack(r->v, r->open->name, pack) < 0)
        r->rc = MB_EIO;
    return r->rc;
}

static int remove_loose(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st;
    (void)ftw;
    return kind == FTW_F ? remove(path) : 0;
}

/* packed-refs is written from the state; what a git of somebody's left beside it goes. */
static void correct_refs(struct reconciling *r)
{
    char *dir = vcs_repo_dir(r->v, r->open->name), *path = mb_asprintf("%s/packed-refs", dir);
    char *loose = mb_asprintf("%s/refs", dir);
    struct mb_buf text = {0};
    vcs_packed_merge(mb_bytes_of(""), &r->wanted, &text);
    if (!mb_bytes_equal(mb_buf_bytes(&text), mb_buf_bytes(&r->old)) &&
        replace_packed(path, &text) != 0)
        r->rc = MB_EIO;
    if (r->rc == 0 && nftw(loose, remove_loose, 16, FTW_PHYS) != 0)
        r->rc = MB_EIO;
    mb_buf_clear(&text);
    free(loose);
    free(path);
    free(dir);
}

static int reconcile_repo(void *arg, const char *key, const json_t *value)
{
    struct vcs *v = arg;
    const char *name = key + strlen("vcs/repo/");
    struct mb_tx *state = mb_host_state(v->host);
    struct reconciling r = {.v = v};
    char prefix[MB_STATE_KEY_MAX + 1];
    if (make_repo(v, name, value) != 0 || (r.open = vcs_repos_open(v, name)) == NULL)
        return MB_EIO;
    char *dir = vcs_repo_dir(v, name), *path = mb_asprintf("%s/packed-refs", dir);
    mb_snprintf(prefix, sizeof prefix, "vcs/push/%s/", name);
    mb_tx_scan(state, prefix, "", place_push, &r);
    if (r.rc == 0)
        r.rc = read_packed(path, &r.old) != 0 ? MB_EIO : 0;
    mb_snprintf(prefix, sizeof prefix, "vcs/ref/%s/", name);
    r.skip = strlen(prefix);
    mb_tx_scan(state, prefix, "", want_ref, &r);
    if (r.rc == 0)
        correct_refs(&r);
    if (r.changed > 0)
        mb_log(MB_LOG_INFO, "vcs", "reconciled", "repo=%s refs=%u", name, r.changed);
    vcs_changes_clear(&r.wanted);
    mb_buf_clear(&r.old);
    free(path);
    free(dir);
    if (r.rc == 0)
        vcs_behind_look(v, name);
    return r.rc;
}

/* Quarantines of pushes that a stop cut off, and packs that no command named in time. */
static void clean_incoming(struct vcs *v)
{
    int64_t keep_s = mb_host_option_int(v->host, "keep_packs");
    DIR *dir = opendir(v->incoming);
    for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
        char *path = vcs_incoming_path(v, e->d_name);
        struct stat st;
        bool old = stat(path, &st) == 0 && st.st_mtime + keep_s < mb_clock_s();
        if (strncmp(e->d_name, "tmp-", 4) == 0 || (mb_is_hex(e->d_name, 64) && old))
            vcs_remove_tree(path);
        free(path);
    }
    if (dir != NULL)
        closedir(dir);
}

int vcs_repos_reconcile(struct vcs *v, struct mb_error *error)
{
    int rc = mb_tx_scan(mb_host_state(v->host), "vcs/repo/", "", reconcile_repo, v);
    if (rc != 0)
        return mb_fail(error, MB_EIO, "vcs.repos",
                       "%s: a repository cannot be made to follow the state: is there room, and "
                       "does the folder belong to us?",
                       v->dir);
    clean_incoming(v);
    return 0;
}
