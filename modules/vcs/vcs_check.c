/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The objects of a push, in quarantine: indexed strictly, connected, within limits, and telling no
 * more than a pseudonym; then durable. A chain of git's own programs, each reading and writing
 * files in the quarantine, with workers between them. Whatever goes wrong, the quarantine is
 * removed.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vcs_policy.h"
#include "vcs_world.h"

#define PROBLEMS_SHOWN 20
#define META_MAX       (8u << 20) /* bytes of one commit or tag */

struct vcs_check_work {
    struct mb_child *child;
    size_t ancestor; /* the next update to compare */
    const struct mb_ref_update *updates;
    size_t count;
    char org_name[33];
    struct mb_public_key signer;
    int rc;
    struct mb_error error;
    struct mb_buf details;
    size_t problems;
    bool has_meta;
    void (*next)(struct vcs_check *c);
};

static bool is_zero(const char *id)
{
    return strspn(id, "0") == strlen(id);
}

static int file_in(const struct vcs_check *c, const char *name, int flags)
{
    char *path = mb_asprintf("%s/%s", c->tmp, name);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    free(path);
    return fd;
}

static FILE *open_in(const struct vcs_check *c, const char *name, const char *mode)
{
    char *path = mb_asprintf("%s/%s", c->tmp, name);
    FILE *file = fopen(path, mode);
    free(path);
    return file;
}

static void free_work(struct vcs_check *c)
{
    mb_child_free(c->work->child);
    mb_buf_clear(&c->work->details);
    free(c->work);
    c->work = NULL;
    if (c->tmp != NULL)
        vcs_remove_tree(c->tmp);
}

static void finish(struct vcs_check *c)
{
    struct vcs_check_work *w = c->work;
    int rc = w->rc;
    struct mb_error error = w->error;
    struct mb_buf details = w->details;
    w->details = (struct mb_buf){0};
    free_work(c);
    c->done(c->arg, rc, &error, mb_buf_text(&details));
    mb_buf_clear(&details);
}

static void fail(struct vcs_check *c, int rc)
{
    c->work->rc = rc;
    finish(c);
}

/* --- Running a child, then a worker --- */

static void child_exited(void *arg, int status)
{
    struct vcs_check *c = arg;
    mb_child_free(c->work->child);
    c->work->child = NULL;
    c->work->rc = status;
    c->work->next(c);
}

/* git with standard input and output from and to files of the quarantine. */
static void run(struct vcs_check *c, const char *const *args, const char *in, const char *out,
                void (*next)(struct vcs_check *c))
{
    struct vcs_git git = {.args = args,
                          .repo = c->repo,
                          .quarantine = c->has_pack ? c->tmp : NULL,
                          .std = {MB_NULL, MB_NULL, MB_NULL},
                          .exited = child_exited,
                          .arg = c};
    int pipes[3], rc = 0;
    if (in != NULL)
        rc = git.std[0] = file_in(c, in, O_RDONLY);
    if (rc >= 0 && out != NULL)
        rc = git.std[1] = file_in(c, out, O_WRONLY | O_CREAT | O_TRUNC);
    if (rc >= 0 && c->has_pack)
        rc = git.std[2] = file_in(c, "errors", O_WRONLY | O_CREAT | O_TRUNC);
    c->work->next = next;
    if (rc >= 0)
        rc = vcs_git_spawn(c->v, &git, &c->work->child, pipes);
    for (size_t i = 0; i < 3; i++)
        if (git.std[i] >= 0)
            close(git.std[i]);
    if (rc < 0)
        fail(c, mb_fail(&c->work->error, MB_EIO, "vcs.quota", "the quarantine cannot be used"));
}

static void work_done(void *arg)
{
    struct vcs_check *c = arg;
    c->work->next(c);
}

static void work(struct vcs_check *c, void (*task)(void *arg), void (*next)(struct vcs_check *c))
{
    c->work->rc = 0;
    c->work->next = next;
    mb_work(c->v->loop, task, work_done, c);
}

/* --- The last step: durable, named by its SHA-256 --- */

static int hash_and_sync(const char *path, struct mb_hash *hash)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    uint8_t *block = mb_alloc(1 << 16);
    struct mb_sha256 *s = mb_sha256_new();
    ssize_t n = fd < 0 ? -1 : 0;
    while (fd >= 0 && (n = read(fd, block, 1 << 16)) > 0)
        mb_sha256_update(s, block, (size_t)n);
    int rc = n < 0 || fsync(fd) != 0 ? -1 : 0;
    *hash = mb_sha256_final_free(s);
    if (fd >= 0)
        close(fd);
    free(block);
    return rc;
}

static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Sync every file of the pack folder; the pack's own hash is what names it. */
static int sync_pack(const char *folder, struct mb_hash *pack)
{
    DIR *dir = opendir(folder);
    int rc = dir == NULL ? -1 : 0, packs = 0;
    for (struct dirent *e; rc == 0 && (e = readdir(dir)) != NULL;) {
        size_t len = strlen(e->d_name);
        struct mb_hash hash;
        if (e->d_name[0] == '.')
            continue;
        char *path = mb_asprintf("%s/%s", folder, e->d_name);
        rc = hash_and_sync(path, &hash);
        if (len > 5 && strcmp(e->d_name + len - 5, ".pack") == 0) {
            *pack = hash;
            packs++;
        }
        free(path);
    }
    if (dir != NULL)
        closedir(dir);
    return rc != 0 || packs != 1 ? -1 : sync_folder(folder);
}

static void make_durable(void *arg)
{
    struct vcs_check *c = arg;
    char *folder = mb_asprintf("%s/objects/pack", c->tmp);
    struct mb_hash hash;
    int rc = sync_pack(folder, &hash);
    mb_hash_hex(&hash, c->pack);
    char *target = vcs_incoming_path(c->v, c->pack);
    MB_FAULT("push.synced");
    if (rc == 0 && rename(folder, target) != 0)
        rc = errno == EEXIST || errno == ENOTEMPTY ? 0 : -1; /* the same pack came before */
    if (rc == 0)
        rc = sync_folder(c->v->incoming);
    MB_FAULT("push.durable");
    if (rc != 0)
        c->work->rc =
            mb_fail(&c->work->error, MB_EIO, "vcs.quota", "the pack cannot be made durable");
    free(folder);
    free(target);
}

static void step_durable(struct vcs_check *c)
{
    if (c->has_pack)
        work(c, make_durable, finish);
    else
        finish(c);
}

/* --- Fast-forward, where required --- */

static void step_ancestors(struct vcs_check *c);

static void ancestor_known(struct vcs_check *c)
{
    struct vcs_check_work *w = c->work;
    const char *ref = w->updates[w->ancestor].ref;
    if (w->rc != 0) {
        mb_refuse(&w->error, "vcs.not_fast_forward", "s", ref);
        fail(c, MB_EREFUSED);
        return;
    }
    w->ancestor++;
    step_ancestors(c);
}

static void step_ancestors(struct vcs_check *c)
{
    struct vcs_check_work *w = c->work;
    for (; w->ancestor < w->count; w->ancestor++) {
        const struct mb_ref_update *u = &w->updates[w->ancestor];
        if (c->rewind || is_zero(u->old_id) || is_zero(u->new_id) ||
            strncmp(u->ref, "refs/heads/", 11) != 0)
            continue;
        const char *args[] = {"merge-base", "--is-ancestor", u->old_id, u->new_id, NULL};
        run(c, args, NULL, NULL, ancestor_known);
        return;
    }
    w->rc = 0;
    MB_FAULT("push.checked");
    step_durable(c);
}

/* --- Policy --- */

static void add_problem(struct vcs_check_work *w, const char *id, const char *what)
{
    if (w->problems++ < PROBLEMS_SHOWN)
        mb_buf_addf(&w->details, "  %.12s  %s\n", id, what);
}

/* "ID KIND SIZE\n" and as many bytes and a newline, from git cat-file --batch. */
static void check_contents(void *arg)
{
    struct vcs_check *c = arg;
    struct vcs_check_work *w = c->work;
    FILE *file = open_in(c, "contents", "re");
    char *line = NULL;
    size_t room = 0;
    struct mb_buf raw = {0};
    while (file != NULL && w->rc == 0 && getline(&line, &room, file) > 0) {
        char *kind = strchr(line, ' '), *size = kind != NULL ? strchr(kind + 1, ' ') : NULL;
        size_t len = size != NULL ? (size_t)strtoull(size + 1, NULL, 10) : SIZE_MAX;
        if (len > META_MAX) {
            mb_refuse(&w->error, "vcs.pack", "s", "a commit or tag is too large");
            w->rc = MB_EREFUSED;
            break;
        }
        *kind = *size = 0;
        mb_buf_reset(&raw);
        mb_buf_reserve(&raw, len + 1);
        raw.len = fread(raw.data, 1, len + 1, file);
        if (raw.len != len + 1) {
            w->rc = mb_fail(&w->error, MB_EIO, "vcs.quota", "the quarantine cannot be read");
            break;
        }
        const char *wrong = vcs_policy_check(kind + 1, mb_bytes(raw.data, len), w->org_name,
                                             c->signer != NULL ? &w->signer : NULL);
        if (wrong != NULL)
            add_problem(w, line, wrong);
    }
    if (w->rc == 0 && w->problems > 0) {
        mb_refuse(&w->error, "vcs.metadata", "d", (int64_t)w->problems);
        w->rc = MB_EREFUSED;
    }
    if (w->problems > PROBLEMS_SHOWN)
        mb_buf_addf(&w->details, "  and %zu more\n", w->problems - PROBLEMS_SHOWN);
    if (file != NULL)
        fclose(file);
    free(line);
    mb_buf_clear(&raw);
}

static void contents_checked(struct vcs_check *c)
{
    if (c->work->rc != 0)
        finish(c);
    else
        step_ancestors(c);
}

static void contents_there(struct vcs_check *c)
{
    if (c->work->rc != 0)
        fail(c, mb_refuse(&c->work->error, "vcs.missing", ""));
    else
        work(c, check_contents, contents_checked);
}

/* --- Kinds and sizes --- */

static int check_tip(struct vcs_check *c, const char *ref, const char *kind)
{
    bool branch = strncmp(ref, "refs/heads/", 11) == 0 || strncmp(ref, "refs/for/", 9) == 0;
    if (kind == NULL)
        return mb_refuse(&c->work->error, "vcs.missing", "");
    if (branch && strcmp(kind, "commit") != 0)
        return mb_refuse(&c->work->error, "vcs.not_commit", "s", ref);
    return 0;
}

static const char *next_tip_ref(const struct vcs_check_work *w, size_t *i)
{
    while (*i < w->count && is_zero(w->updates[*i].new_id))
        (*i)++;
    return *i < w->count ? w->updates[(*i)++].ref : NULL;
}

/* Lines "ID KIND SIZE" or "ID missing": the tips, in the order pushed, then every new object. */
static void check_sizes(void *arg)
{
    struct vcs_check *c = arg;
    struct vcs_check_work *w = c->work;
    FILE *file = open_in(c, "sizes", "re"), *meta = open_in(c, "meta", "we");
    char *line = NULL;
    size_t room = 0, tip = 0;
    if (file == NULL || meta == NULL)
        w->rc = mb_fail(&w->error, MB_EIO, "vcs.quota", "the quarantine cannot be used");
    while (w->rc == 0 && getline(&line, &room, file) > 0) {
        char *kind = strchr(line, ' '), *size = kind != NULL ? strchr(kind + 1, ' ') : NULL;
        const char *ref = next_tip_ref(w, &tip);
        if (kind != NULL)
            *kind++ = 0;
        if (size != NULL)
            *size++ = 0;
        if (ref != NULL) {
            w->rc = check_tip(c, ref, size != NULL ? kind : NULL);
            continue;
        }
        int64_t bytes = size != NULL ? strtoll(size, NULL, 10) : 0;
        if (size == NULL)
            w->rc = mb_refuse(&w->error, "vcs.missing", "");
        else if (bytes > c->object_bytes)
            w->rc = mb_refuse(&w->error, "vcs.object_large", "sdd", line, bytes, c->object_bytes);
        else if (c->strict && (strcmp(kind, "commit") == 0 || strcmp(kind, "tag") == 0)) {
            w->has_meta = true;
            fprintf(meta, "%s\n", line);
        }
    }
    if (file != NULL)
        fclose(file);
    if (meta != NULL && fclose(meta) != 0 && w->rc == 0)
        w->rc = mb_fail(&w->error, MB_EIO, "vcs.quota", "there is no room in the quarantine");
    free(line);
}

static void sizes_checked(struct vcs_check *c)
{
    static const char *const args[] = {"cat-file", "--batch", NULL};
    if (c->work->rc != 0)
        finish(c);
    else if (c->work->has_meta)
        run(c, args, "meta", "contents", contents_there);
    else
        step_ancestors(c);
}

static void sizes_there(struct vcs_check *c)
{
    if (c->work->rc != 0)
        fail(c, mb_refuse(&c->work->error, "vcs.missing", ""));
    else
        work(c, check_sizes, sizes_checked);
}

static int write_tips(const struct vcs_check *c, const char *name)
{
    FILE *file = open_in(c, name, "we");
    for (size_t i = 0; file != NULL && i < c->work->count; i++)
        if (!is_zero(c->work->updates[i].new_id))
            fprintf(file, "%s\n", c->work->updates[i].new_id);
    return file == NULL || fclose(file) != 0 ? -1 : 0;
}

/* The list of new objects goes behind the tips. */
static int join_lists(const struct vcs_check *c)
{
    int rc = write_tips(c, "all"), from = file_in(c, "new", O_RDONLY);
    int to = file_in(c, "all", O_WRONLY | O_APPEND);
    char block[65536];
    ssize_t n = 0;
    while (rc == 0 && from >= 0 && to >= 0 && (n = read(from, block, sizeof block)) > 0)
        if (write(to, block, (size_t)n) != n)
            rc = -1;
    if (from >= 0)
        close(from);
    if (to >= 0)
        close(to);
    return rc != 0 || n < 0 || from < 0 || to < 0 ? -1 : 0;
}

static void listed(struct vcs_check *c)
{
    static const char *const args[] = {"cat-file", "--batch-check", "--buffer", NULL};
    MB_FAULT("push.connected");
    if (c->work->rc != 0)
        fail(c, mb_refuse(&c->work->error, "vcs.missing", ""));
    else if (join_lists(c) != 0)
        fail(c, mb_fail(&c->work->error, MB_EIO, "vcs.quota", "no room in the quarantine"));
    else
        run(c, args, "all", "sizes", sizes_there);
}

/* Everything that the new tips reach and the repository has not: fails if anything is missing. */
static void step_list(struct vcs_check *c)
{
    static const char *const args[] = {
        "rev-list", "--objects", "--no-object-names", "--stdin", "--not", "--all", NULL};
    if (write_tips(c, "tips") != 0)
        fail(c, mb_fail(&c->work->error, MB_EIO, "vcs.quota", "no room in the quarantine"));
    else
        run(c, args, "tips", "new", listed);
}

/* --- Indexing --- */

/* The first line of what index-pack said, if it tells nothing of this machine. */
static void say_why(struct vcs_check *c)
{
    FILE *file = open_in(c, "errors", "re");
    char line[160] = "";
    if (file == NULL || fgets(line, sizeof line, file) == NULL)
        line[0] = 0;
    if (file != NULL)
        fclose(file);
    line[strcspn(line, "\r\n")] = 0;
    const char *text = strncmp(line, "fatal: ", 7) == 0 ? line + 7 : line;
    bool large = strstr(text, "maximum allowed size") != NULL;
    if (large)
        mb_refuse(&c->work->error, "vcs.pack_large", "d", c->pack_bytes);
    else
        mb_refuse(&c->work->error, "vcs.pack", "s",
                  *text == 0 || strchr(text, '/') != NULL ? "git index-pack refused it" : text);
}

static void indexed(struct vcs_check *c)
{
    char *pack = mb_asprintf("%s/pack.in", c->tmp);
    unlink(pack);
    free(pack);
    MB_FAULT("push.indexed");
    if (c->work->rc != 0) {
        say_why(c);
        fail(c, MB_EREFUSED);
    } else {
        step_list(c);
    }
}

static void step_index(struct vcs_check *c)
{
    char most[48];
    mb_snprintf(most, sizeof most, "--max-input-size=%" PRId64, c->pack_bytes);
    const char *args[] = {"index-pack",  "--stdin", "--fix-thin", "--strict",
                          "--threads=1", most,      NULL};
    run(c, args, "pack.in", NULL, indexed);
}

/* --- No new objects: the tips are looked up in the process --- */

static int look_up_tips(struct vcs_check *c)
{
    struct vcs_open *o = vcs_repos_open(c->v, c->repo);
    struct vcs_check_work *w = c->work;
    for (size_t i = 0; i < w->count; i++) {
        git_object *object = NULL;
        git_oid id;
        if (is_zero(w->updates[i].new_id))
            continue;
        bool found = o != NULL && git_oid_fromstr(&id, w->updates[i].new_id) == 0 &&
                     git_object_lookup(&object, o->git, &id, GIT_OBJECT_ANY) == 0;
        const char *kind = found ? git_object_type2string(git_object_type(object)) : NULL;
        int rc = check_tip(c, w->updates[i].ref, kind);
        git_object_free(object);
        if (rc != 0)
            return rc;
    }
    return 0;
}

void vcs_check_start(struct vcs_check *c)
{
    struct vcs_check_work *w = c->work = mb_calloc(1, sizeof *w);
    w->updates = vcs_head_updates(c->head, &w->count);
    mb_snprintf(w->org_name, sizeof w->org_name, "%s", mb_host_name(c->v->host));
    if (c->signer != NULL)
        w->signer = *c->signer;
    if (c->has_pack) {
        step_index(c);
        return;
    }
    w->rc = look_up_tips(c);
    if (w->rc != 0)
        finish(c);
    else
        step_ancestors(c);
}

void vcs_check_kill(struct vcs_check *c)
{
    if (c->work != NULL && c->work->child != NULL)
        mb_child_kill(c->work->child, 9);
}
