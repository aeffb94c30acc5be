/* SPDX-License-Identifier: GPL-3.0-or-later */
/* repo scrub: rewrite what is not pushed yet, so that it tells no more than a pseudonym. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <git2.h>

#include "base/map.h"
#include "cli/cli.h"
#include "cli/scrub.h"

struct scrubbing {
    struct cli *cli;
    git_repository *repo;
    git_odb *odb;
    struct scrub scrub;
    struct mb_map *renamed; /* old id → new id */
    char *org_name, *name, *email;
    bool dry_run;
    size_t commits, changed, refs;
};

static int git_fail(struct mb_error *error, const char *what)
{
    const git_error *e = git_error_last();
    return mb_fail(error, MB_EIO, "git", "%s: %s", what, e != NULL ? e->message : "failed");
}

static const char *renamed(void *arg, const char *id)
{
    const struct mb_map_item *item = mb_map_get(((struct scrubbing *)arg)->renamed, id);
    return item != NULL ? (const char *)item->value.data : NULL;
}

/* Rewrite one object; what it has become is remembered if it differs. */
static int rewrite(struct scrubbing *s, const git_oid *id, git_object_t type,
                   struct mb_error *error)
{
    git_odb_object *object;
    struct mb_buf out = {0};
    char old_hex[GIT_OID_HEXSZ + 1], new_hex[GIT_OID_HEXSZ + 1];
    git_oid now;
    if (git_odb_read(&object, s->odb, id) != 0)
        return git_fail(error, "a commit cannot be read");
    struct mb_bytes raw = mb_bytes(git_odb_object_data(object), git_odb_object_size(object));
    git_oid_tostr(old_hex, sizeof old_hex, id);
    int rc = scrub_object(&s->scrub, raw, &out) ? 0
                                                : mb_fail(error, MB_EINVAL, "scrub.malformed",
                                                          "%s is malformed: git fsck", old_hex);
    if (rc == 0 && !mb_bytes_equal(raw, mb_buf_bytes(&out))) {
        if (git_odb_hash(&now, out.data, out.len, type) != 0 ||
            (!s->dry_run && git_odb_write(&now, s->odb, out.data, out.len, type) != 0))
            rc = git_fail(error, "a commit cannot be written");
        git_oid_tostr(new_hex, sizeof new_hex, &now);
        mb_map_put(s->renamed, old_hex, new_hex, sizeof new_hex);
        s->changed++;
    }
    git_odb_object_free(object);
    mb_buf_clear(&out);
    return rc;
}

static int move_ref(struct scrubbing *s, const char *ref, const git_oid *old, const char *now,
                    struct mb_error *error)
{
    char *backup =
        mb_asprintf("refs/magicbiz/before-scrub/%s", strncmp(ref, "refs/", 5) == 0 ? ref + 5 : ref);
    git_reference *made = NULL;
    git_oid id;
    int rc = 0;
    s->refs++;
    if (!s->dry_run) {
        rc = git_oid_fromstr(&id, now);
        if (rc == 0)
            rc = git_reference_create(&made, s->repo, backup, old, 1, "before scrub");
        git_reference_free(made);
        made = NULL;
        if (rc == 0 && strcmp(ref, "HEAD") == 0)
            rc = git_repository_set_head_detached(s->repo, &id);
        else if (rc == 0)
            rc = git_reference_create(&made, s->repo, ref, &id, 1, "scrub");
        git_reference_free(made);
    }
    free(backup);
    return rc == 0 ? 0 : git_fail(error, ref);
}

/* An annotated tag is an object of its own; a light one is its commit. */
static int scrub_tag(struct scrubbing *s, const git_oid *id, struct mb_error *error)
{
    git_object *object;
    if (git_object_lookup(&object, s->repo, id, GIT_OBJECT_ANY) != 0)
        return git_fail(error, "a tag cannot be read");
    bool annotated = git_object_type(object) == GIT_OBJECT_TAG;
    git_object_free(object);
    return annotated ? rewrite(s, id, GIT_OBJECT_TAG, error) : 0;
}

static int walk_commits(struct scrubbing *s, const git_strarray *refs, struct mb_error *error)
{
    git_revwalk *walk;
    git_oid id;
    int rc = 0;
    if (git_revwalk_new(&walk, s->repo) != 0)
        return git_fail(error, "the history cannot be walked");
    git_revwalk_sorting(walk, GIT_SORT_TOPOLOGICAL | GIT_SORT_REVERSE);
    for (size_t i = 0; i < refs->count; i++)
        git_revwalk_push_ref(walk, refs->strings[i]);
    git_revwalk_hide_glob(walk, "refs/remotes/*");
    while (rc == 0 && git_revwalk_next(&id, walk) == 0) {
        s->commits++;
        rc = rewrite(s, &id, GIT_OBJECT_COMMIT, error);
        cli_progress(s->cli, "scrubbing", s->commits, 0);
    }
    git_revwalk_free(walk);
    return rc;
}

static int move_refs(struct scrubbing *s, const git_strarray *refs, struct mb_error *error)
{
    int rc = 0;
    for (size_t i = 0; i < refs->count && rc == 0; i++) {
        char hex[GIT_OID_HEXSZ + 1];
        git_oid id;
        if (git_reference_name_to_id(&id, s->repo, refs->strings[i]) != 0)
            continue;
        if (strncmp(refs->strings[i], "refs/tags/", 10) == 0)
            rc = scrub_tag(s, &id, error);
        git_oid_tostr(hex, sizeof hex, &id);
        const char *now = renamed(s, hex);
        if (rc == 0 && now != NULL)
            rc = move_ref(s, refs->strings[i], &id, now, error);
    }
    return rc;
}

/* The current branch (or a detached HEAD), or with --all every branch and tag. */
static int list_refs(struct scrubbing *s, bool all, git_strarray *refs, struct mb_error *error)
{
    git_reference *head = NULL;
    git_strarray every = {0};
    if (git_reference_list(&every, s->repo) != 0)
        return git_fail(error, "refs cannot be listed");
    refs->strings = mb_calloc(every.count + 1, sizeof *refs->strings);
    if (!all && git_reference_lookup(&head, s->repo, "HEAD") == 0) {
        const char *target = git_reference_symbolic_target(head);
        refs->strings[refs->count++] = mb_strdup(target != NULL ? target : "HEAD");
    }
    for (size_t i = 0; i < every.count && all; i++)
        if (strncmp(every.strings[i], "refs/heads/", 11) == 0 ||
            strncmp(every.strings[i], "refs/tags/", 10) == 0)
            refs->strings[refs->count++] = mb_strdup(every.strings[i]);
    git_reference_free(head);
    git_strarray_dispose(&every);
    return 0;
}

static char *config_text(git_repository *repo, const char *name)
{
    git_config *config = NULL, *snapshot = NULL;
    const char *value = NULL;
    char *copy = NULL;
    if (git_repository_config(&config, repo) == 0 && git_config_snapshot(&snapshot, config) == 0 &&
        git_config_get_string(&value, snapshot, name) == 0)
        copy = mb_strdup(value);
    git_config_free(snapshot);
    git_config_free(config);
    return copy;
}

static int open_copy(struct scrubbing *s, struct mb_error *error)
{
    if (git_repository_open_ext(&s->repo, ".", 0, NULL) != 0 ||
        git_repository_odb(&s->odb, s->repo) != 0)
        return git_fail(error, "this is no working copy");
    s->org_name = config_text(s->repo, "magicbiz.orgname");
    s->name = config_text(s->repo, "magicbiz.pseudonym");
    if (s->org_name == NULL || s->name == NULL)
        return mb_fail(error, MB_EINVAL, "scrub.setup",
                       "this working copy has no pseudonym yet: magicbiz repo setup --repo NAME");
    s->email = mb_asprintf("%s@%s.invalid", s->name, s->org_name);
    s->scrub = (struct scrub){
        .org_name = s->org_name, .name = s->name, .email = s->email, .renamed = renamed, .arg = s};
    return 0;
}

static int repo_scrub(struct cli *c, struct mb_error *error)
{
    struct scrubbing s = {.cli = c, .dry_run = cli_option(c, "dry-run") != NULL};
    git_strarray refs = {0};
    bool hook = cli_option(c, "hook") != NULL;
    git_libgit2_init();
    s.renamed = mb_map_new();
    int rc = open_copy(&s, error);
    bool busy = rc == 0 && git_repository_state(s.repo) != GIT_REPOSITORY_STATE_NONE;
    if (busy && !hook)
        rc = mb_fail(error, MB_EREFUSED, "scrub.busy",
                     "a merge or rebase is under way: finish it, then scrub");
    if (rc == 0 && !busy) {
        rc = list_refs(&s, cli_option(c, "all") != NULL, &refs, error);
        if (rc == 0)
            rc = walk_commits(&s, &refs, error);
        if (rc == 0)
            rc = move_refs(&s, &refs, error);
    }
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:I, s:I, s:I, s:b}", "looked_at", (json_int_t)s.commits,
                                 "rewritten", (json_int_t)s.changed, "refs", (json_int_t)s.refs,
                                 "dry_run", s.dry_run));
    else if (rc == 0 && !hook)
        printf("%zu of %zu commits and tags not pushed yet %s; %zu refs %s%s\n", s.changed,
               s.commits, s.dry_run ? "would be rewritten" : "rewritten", s.refs,
               s.dry_run ? "would move" : "moved",
               s.refs > 0 && !s.dry_run ? " (the old ones: refs/magicbiz/before-scrub/)" : "");
    git_strarray_dispose(&refs);
    git_odb_free(s.odb);
    git_repository_free(s.repo);
    mb_map_free(s.renamed);
    free(s.org_name);
    free(s.name);
    free(s.email);
    git_libgit2_shutdown();
    return rc;
}

const struct cli_command cmd_repo_scrub = {
    .name = "repo scrub",
    .args = "",
    .summary = "rewrite commits that are not pushed yet and tell who you are",
    .help =
        "Time zones become +0000, authors and committers that are no pseudonyms become yours,\n"
        "signatures and embedded tags go. Trees, messages and instants stay: when you commit\n"
        "still shows. The old commits stay reachable below refs/magicbiz/before-scrub/ on this\n"
        "machine only.\n\n"
        "    magicbiz repo scrub --dry-run",
    .options =
        (const struct cli_option[]){
            {"all", NULL, "all branches and tags, not only the current branch"},
            {"dry-run", NULL, "only say what would change"},
            {"hook", NULL,
             "say nothing, and do nothing during a rebase: for the hooks of repo setup"},
            {NULL, NULL, NULL}},
    .run = repo_scrub,
};
