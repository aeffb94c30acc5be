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

/* Joining costs as much as there is; and ext4 is slow to make files for a while where thousands
 * were removed. */
#define JOIN_REFS_AFTER  2000
#define JOIN_PACKS_AFTER 100

char *vcs_incoming_path(const struct vcs *v, const char *pack)
{
    return mb_asprintf("%s/%s", v->incoming, pack);
}

/* --- Opened repositories --- */

static void close_one(struct vcs_open *o)
{
    git_repository_free(o->git);
    vcs_refs_free(o->refs);
    *o = (struct vcs_open){.name = ""};
}

void vcs_repos_close(struct vcs *v)
{
    for (size_t i = 0; i < VCS_OPEN_MAX; i++)
        close_one(&v->open[i]);
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
    close_one(oldest);
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
    if (dir != NULL)
        closedir(dir);
    return rc;
}

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
        if (rc == 0)
            vcs_remove_tree(from_path);
        else
            mb_log(MB_LOG_ERROR, "vcs", "cannot_place", "repo=%s errno=%d", repo, errno);
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

static void set_ref(git_repository *git, const char *ref, const char *id)
{
    git_reference *made = NULL;
    git_oid oid;
    int rc;
    if (id == NULL) {
        rc = git_reference_remove(git, ref);
        rc = rc == GIT_ENOTFOUND ? 0 : rc;
    } else {
        rc = git_oid_fromstr(&oid, id);
        if (rc == 0)
            rc = git_reference_create(&made, git, ref, &oid, 1, NULL);
        git_reference_free(made);
    }
    if (rc != 0)
        mb_log(MB_LOG_ERROR, "vcs", "cannot_move_ref", "code=%d", rc);
}

/* One ref as the state has it, on disk and in the advertisement. */
static void follow_ref(struct vcs *v, struct vcs_open *o, const char *ref)
{
    char key[MB_STATE_KEY_MAX + 1];
    vcs_ref_key(key, o->name, ref);
    json_t *id = mb_tx_get(mb_host_state(v->host), key);
    const char *text = id != NULL ? json_string_value(id) : NULL;
    set_ref(o->git, ref, text);
    if (o->refs != NULL)
        vcs_refs_set(o->refs, ref, text);
    o->updates++;
    json_decref(id);
}

static void maintained(void *arg, int status)
{
    struct vcs *v = arg;
    v->maintenance = NULL;
    if (status != 0)
        mb_log(MB_LOG_WARN, "vcs", "maintenance_failed", "status=%d", status);
}

/* Many small pushes leave many packs and loose refs: join them now and then, in the background. */
static void maintain(struct vcs *v, struct vcs_open *o)
{
    static const char *const refs[] = {"pack-refs", "--all", NULL};
    static const char *const packs[] = {"repack", "-d", "-l", "-q", "--geometric=2", NULL};
    bool join_packs = o->packs >= JOIN_PACKS_AFTER;
    if (v->maintenance != NULL || (!join_packs && o->updates < JOIN_REFS_AFTER))
        return;
    char *dir = vcs_repo_dir(v, o->name);
    struct vcs_git git = {.args = join_packs ? packs : refs,
                          .repo_dir = dir,
                          .std = {MB_NULL, MB_NULL, MB_NULL},
                          .exited = maintained,
                          .arg = v};
    int pipes[3];
    *(join_packs ? &o->packs : &o->updates) = 0;
    vcs_git_spawn(v, &git, &v->maintenance, pipes);
    free(dir);
}

/* Deletions first: a name may become a folder. */
static void follow_updates(struct vcs *v, struct vcs_open *o, const json_t *updates)
{
    const json_t *u;
    size_t i;
    for (int deleting = 1; deleting >= 0; deleting--)
        json_array_foreach(updates, i, u)
        {
            const char *ref = mb_json_get_text(u, "ref", ""), *id = mb_json_get_text(u, "new", "");
            bool deletes = strspn(id, "0") == strlen(id);
            if (strncmp(ref, "refs/for/", 9) != 0 && deletes == (deleting == 1))
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
    if (pack != NULL)
        place_pack(v, name, pack);
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
}

static void follow_close(struct vcs *v, const json_t *body)
{
    struct vcs_open *o = vcs_repos_open(v, mb_json_get_text(body, "repo", ""));
    char ref[64];
    mb_snprintf(ref, sizeof ref, "refs/proposals/%" PRId64, mb_json_get_int(body, "proposal", 0));
    if (o != NULL)
        follow_ref(v, o, ref);
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
        } else {
            follow_repo(v, mb_json_get_text(e->body, "name", ""));
        }
    }
}

/* --- After a start: compare, and close the difference --- */

struct reconciling {
    struct vcs *v;
    struct vcs_open *open;
    size_t skip;
    json_t *wanted; /* ref → id */
    unsigned changed;
    int rc;
};

static int want_ref(void *arg, const char *key, const json_t *value)
{
    struct reconciling *r = arg;
    json_object_set_new(r->wanted, key + r->skip, json_string(json_string_value(value)));
    return 0;
}

static int place_push(void *arg, const char *key, const json_t *value)
{
    struct reconciling *r = arg;
    const char *pack = mb_json_get_text(value, "pack", NULL);
    (void)key;
    if (pack != NULL && place_pack(r->v, r->open->name, pack) != 0)
        r->rc = MB_EIO;
    return r->rc;
}

static void correct_refs(struct reconciling *r)
{
    git_strarray have = {0};
    const char *ref;
    json_t *id;
    if (git_reference_list(&have, r->open->git) != 0)
        return;
    for (size_t i = 0; i < have.count; i++)
        if (json_object_get(r->wanted, have.strings[i]) == NULL) {
            set_ref(r->open->git, have.strings[i], NULL);
            r->changed++;
        }
    git_strarray_dispose(&have);
    json_object_foreach(r->wanted, ref, id)
    {
        git_oid is, want;
        bool same = git_reference_name_to_id(&is, r->open->git, ref) == 0 &&
                    git_oid_fromstr(&want, json_string_value(id)) == 0 && git_oid_equal(&is, &want);
        if (!same) {
            set_ref(r->open->git, ref, json_string_value(id));
            r->changed++;
        }
    }
}

static int reconcile_repo(void *arg, const char *key, const json_t *value)
{
    struct vcs *v = arg;
    const char *name = key + strlen("vcs/repo/");
    struct mb_tx *state = mb_host_state(v->host);
    struct reconciling r = {.v = v, .wanted = json_object()};
    char prefix[MB_STATE_KEY_MAX + 1];
    if (make_repo(v, name, value) != 0 || (r.open = vcs_repos_open(v, name)) == NULL) {
        json_decref(r.wanted);
        return MB_EIO;
    }
    mb_snprintf(prefix, sizeof prefix, "vcs/push/%s/", name);
    mb_tx_scan(state, prefix, "", place_push, &r);
    mb_snprintf(prefix, sizeof prefix, "vcs/ref/%s/", name);
    r.skip = strlen(prefix);
    mb_tx_scan(state, prefix, "", want_ref, &r);
    correct_refs(&r);
    if (r.changed > 0)
        mb_log(MB_LOG_INFO, "vcs", "reconciled", "repo=%s refs=%u", name, r.changed);
    json_decref(r.wanted);
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
