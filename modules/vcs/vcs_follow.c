/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Repositories follow the state: what each block did to them, and after a start all of it. */
#include "config.h"

#include <dirent.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vcs_world.h"

#define JOIN_PACKS_AFTER 100

/* --- Block by block --- */

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
    int here = pack == NULL ? 1 : vcs_repos_place(v, name, pack);
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
        vcs_repos_make(v, name, repo);
    json_decref(repo);
}

void vcs_follow_block(struct vcs *v, const struct mb_applied *applied)
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
    if (pack != NULL && vcs_repos_place(r->v, r->open->name, pack) < 0)
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
        vcs_repos_replace_refs(path, &text) != 0)
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
    if (vcs_repos_make(v, name, value) != 0 || (r.open = vcs_repos_open(v, name)) == NULL)
        return MB_EIO;
    char *dir = vcs_repo_dir(v, name), *path = mb_asprintf("%s/packed-refs", dir);
    mb_snprintf(prefix, sizeof prefix, "vcs/push/%s/", name);
    mb_tx_scan(state, prefix, "", place_push, &r);
    if (r.rc == 0)
        r.rc = vcs_repos_read_refs(path, &r.old) != 0 ? MB_EIO : 0;
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

int vcs_follow_all(struct vcs *v, struct mb_error *error)
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
