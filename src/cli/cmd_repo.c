/* SPDX-License-Identifier: GPL-3.0-or-later */
/* repo create, set, list, show, clone: an organisation's repositories. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* --- repo create, repo set --- */

/* Those given; whoever makes a repository maintains it otherwise. */
static int set_maintainers(json_t *body, const struct cli *c, bool create, struct mb_error *error)
{
    const char *fingerprint;
    json_t *list = json_array();
    int rc = 0;
    for (size_t i = 0; (fingerprint = cli_option_at(c, "maintainer", i)) != NULL; i++)
        json_array_append_new(list, json_string(fingerprint));
    if (create && json_array_size(list) == 0) {
        struct cli_identity id = {0};
        if ((rc = cli_identity(c, &id, error)) == 0)
            json_array_append_new(list, json_string(id.fingerprint));
        cli_identity_clear(&id);
    }
    if (json_array_size(list) > 0)
        json_object_set(body, "maintainers", list);
    json_decref(list);
    return rc;
}

static void set_text(json_t *body, const struct cli *c, const char *option, const char *field)
{
    if (cli_option(c, option) != NULL)
        json_object_set_new(body, field, json_string(cli_option(c, option)));
}

/* yes and no, as 1 and 0. */
static int set_flag(json_t *body, const struct cli *c, const char *name, struct mb_error *error)
{
    const char *text = cli_option(c, name);
    if (text == NULL)
        return 0;
    if (strcmp(text, "yes") != 0 && strcmp(text, "no") != 0) {
        mb_fail(error, MB_EINVAL, "usage", "--%s takes yes or no", name);
        return CLI_USAGE;
    }
    json_object_set_new(body, name, json_integer(strcmp(text, "yes") == 0));
    return 0;
}

static int set_limits(json_t *body, const struct cli *c, struct mb_error *error)
{
    static const struct {
        const char *option, *field;
    } limits[] = {{"pack-bytes", "pack_bytes"},
                  {"object-bytes", "object_bytes"},
                  {"proposal-bytes", "proposal_bytes"},
                  {"proposals", "proposals"},
                  {"proposals-per-key", "proposals_per_key"}};
    json_t *object = json_object();
    int rc = 0;
    for (size_t i = 0; i < sizeof limits / sizeof *limits && rc == 0; i++) {
        int64_t value;
        rc = cli_option_int(c, limits[i].option, -1, 0, INT64_MAX, &value, error);
        if (rc == 0 && value >= 0)
            json_object_set_new(object, limits[i].field, json_integer(value));
    }
    if (rc == 0 && json_object_size(object) > 0)
        json_object_set(body, "limits", object);
    json_decref(object);
    return rc;
}

static int change(struct cli *c, const char *type, struct mb_error *error)
{
    json_t *body = json_pack("{s:s}", "name", c->args[0]), *result = NULL;
    int rc = set_maintainers(body, c, strcmp(type, "vcs.repo.create") == 0, error);
    set_text(body, c, "title", "title");
    set_text(body, c, "policy", "policy");
    set_text(body, c, "default-branch", "default_branch");
    set_text(body, c, "object-format", "object_format");
    if (rc == 0)
        rc = set_flag(body, c, "unsigned", error);
    if (rc == 0)
        rc = set_flag(body, c, "rewind", error);
    if (rc == 0)
        rc = set_limits(body, c, error);
    if (rc == 0)
        rc = cli_submit_own(c, type, body, &result, error);
    if (rc == 0 && c->json)
        cli_print_json(json_incref(result));
    else if (rc == 0)
        printf("%s: git clone magicbiz://%s/%s\n", c->args[0], c->org->pin.name, c->args[0]);
    json_decref(body);
    json_decref(result);
    return rc;
}

static int repo_create(struct cli *c, struct mb_error *error)
{
    return change(c, "vcs.repo.create", error);
}

static int repo_set(struct cli *c, struct mb_error *error)
{
    return change(c, "vcs.repo.set", error);
}

/* clang-format off */
#define CHANGE_OPTIONS \
    {"title", "TEXT", "what it is"}, \
    {"maintainer", "FINGERPRINT", "a key that may push to branches and tags; repeatable"}, \
    {"policy", "strict|open", "strict refuses what tells who or where an author is (strict)"}, \
    {"unsigned", "yes|no", "take proposals that nobody signed (no)"}, \
    {"rewind", "yes|no", "let maintainers move branches back (no)"}, \
    {"default-branch", "NAME", "what a clone checks out (main)"}, \
    {"pack-bytes", "N", "the largest push of a maintainer"}, \
    {"proposal-bytes", "N", "the largest push of anybody else"}, \
    {"object-bytes", "N", "the largest object"}, \
    {"proposals", "N", "how many may be open"}, \
    {"proposals-per-key", "N", "how many of one key"}
/* clang-format on */

const struct cli_command cmd_repo_create = {
    .name = "repo create",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .summary = "make a repository",
    .help = "Without --maintainer you are its maintainer.\n\n"
            "    magicbiz repo create site --title \"Our site\" --maintainer SHA256:...",
    .options = (const struct cli_option[]){CHANGE_OPTIONS,
                                           {"object-format", "sha1",
                                            "of its objects; there is no other yet"},
                                           {NULL, NULL, NULL}},
    .run = repo_create,
};

const struct cli_command cmd_repo_set = {
    .name = "repo set",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .summary = "change a repository (its maintainers, or the organisation)",
    .help = "Only what is given changes; --maintainer, if given, is the whole new list.\n\n"
            "    magicbiz repo set site --default-branch trunk",
    .options = (const struct cli_option[]){CHANGE_OPTIONS, {NULL, NULL, NULL}},
    .run = repo_set,
};

/* --- repo list, repo show --- */

static int repo_list(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *items = NULL, *item;
    size_t i;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = cli_list(o, "vcs/repo/", &items, error);
    if (rc == 0 && c->json) {
        cli_print_json(json_pack("{s:O}", "repositories", items));
    } else if (rc == 0) {
        json_array_foreach(items, i, item)
        {
            const json_t *repo = json_object_get(item, "value");
            printf("%-24s ", mb_json_get_text(item, "key", "") + strlen("vcs/repo/"));
            cli_print_text(mb_json_get_text(repo, "title", ""));
            putchar('\n');
        }
        if (json_array_size(items) == 0)
            puts("none yet: magicbiz repo create NAME");
    }
    json_decref(items);
    return rc;
}

const struct cli_command cmd_repo_list = {
    .name = "repo list",
    .args = "",
    .summary = "list the organisation's repositories",
    .help = "The list is what a replica says; magicbiz list vcs/repo/ proves it complete.\n\n"
            "    magicbiz repo list",
    .run = repo_list,
};

static void print_repo(const char *name, const json_t *repo, const json_t *refs,
                       const json_t *proposals, const char *org)
{
    const json_t *item;
    size_t i, skip = strlen("vcs/ref/") + strlen(name) + 1;
    printf("%s: ", name);
    cli_print_text(mb_json_get_text(repo, "title", ""));
    printf("\nclone       git clone magicbiz://%s/%s\npolicy      %s%s%s\n", org, name,
           mb_json_get_text(repo, "policy", ""),
           mb_json_get_flag(repo, "unsigned", false) ? ", takes unsigned proposals" : "",
           mb_json_get_flag(repo, "rewind", false) ? ", branches may move back" : "");
    json_array_foreach(json_object_get(repo, "maintainers"), i, item)
        printf("maintainer  %s\n", json_string_value(item));
    json_array_foreach(refs, i, item)
    {
        const char *ref = mb_json_get_text(item, "key", "") + skip;
        if (strncmp(ref, "refs/proposals/", 15) != 0)
            printf("ref         %.12s %s\n", mb_json_get_text(item, "value", ""), ref);
    }
    json_array_foreach(proposals, i, item)
    {
        const json_t *p = json_object_get(item, "value");
        const char *id = strrchr(mb_json_get_text(item, "key", "/0"), '/') + 1;
        printf("proposal    %ld to %s: %.12s by %s\n", strtol(id, NULL, 10),
               mb_json_get_text(p, "branch", ""), mb_json_get_text(p, "commit", ""),
               mb_json_get_text(p, "author", ""));
    }
}

static int repo_show(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    const char *name = c->args[0];
    char *key = mb_asprintf("vcs/repo/%s", name), *refs_prefix = mb_asprintf("vcs/ref/%s/", name);
    char *proposals_prefix = mb_asprintf("vcs/proposal/%s/", name);
    json_t *repo = NULL, *refs = NULL, *proposals = NULL;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0) {
        rc = cli_state(o, key, &repo, error);
        if (rc == 0)
            rc = mb_fail(error, MB_ENOENT, "vcs.repo_unknown",
                         "there is no repository %.40s (proven at slot %" PRIu64
                         "): magicbiz repo list; one just made is proven within 10 seconds",
                         name, o->newest.slot);
        else if (rc == 1)
            rc = 0;
    }
    if (rc == 0)
        rc = cli_list(o, refs_prefix, &refs, error);
    if (rc == 0)
        rc = cli_list(o, proposals_prefix, &proposals, error);
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:s, s:O, s:O, s:O}", "name", name, "repository", repo, "refs",
                                 refs, "proposals", proposals));
    else if (rc == 0)
        print_repo(name, repo, refs, proposals, o->pin.name);
    json_decref(repo);
    json_decref(refs);
    json_decref(proposals);
    free(key);
    free(refs_prefix);
    free(proposals_prefix);
    return rc;
}

const struct cli_command cmd_repo_show = {
    .name = "repo show",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .summary = "show a repository: its policy (proven), refs and open proposals",
    .help = "git clone and fetch by magicbiz:// prove each ref; fetch a proposal by its commit:\n\n"
            "    git fetch magicbiz://acme/site COMMIT",
    .run = repo_show,
};

/* --- repo clone --- */

/* git starts git-remote-magicbiz, which has the environment alone. */
static void pass_on(const struct cli *c, const char *option, const char *variable)
{
    if (cli_option(c, option) != NULL)
        setenv(variable, cli_option(c, option), 1);
}

static int repo_clone(struct cli *c, struct mb_error *error)
{
    const char *slash = strchr(c->args[0], '/'), *name = slash != NULL ? slash + 1 : c->args[0];
    struct cli_org *o;
    char *org = slash != NULL ? mb_strndup(c->args[0], (size_t)(slash - c->args[0])) : NULL;
    if (org != NULL) {
        c->given[c->given_count++] = "org";
        c->given[c->given_count++] = org;
    }
    /* What git says of a failure does not tell one that cannot be reached from one that is false.
     */
    int rc = cli_open_org(c, &o, error);
    if (rc != 0) {
        free(org);
        return rc;
    }
    pass_on(c, "socks", "MAGICBIZ_SOCKS");
    pass_on(c, "socket", "MAGICBIZ_SOCKET");
    char *url = mb_asprintf("magicbiz://%s/%s", o->pin.name, name);
    /* Without an identity git asks the resolver for this machine's name, for its reflog's sake. */
    const char *argv[] = {"git",
                          "-c",
                          "user.name=anonymous",
                          "-c",
                          "user.email=anonymous@invalid",
                          "clone",
                          url,
                          c->arg_count > 1 ? c->args[1] : NULL,
                          NULL};
    rc = cli_run(argv, mb_bytes(NULL, 0), NULL, error);
    if (rc > 0)
        rc = mb_fail(error, MB_EIO, "git", "git clone %s failed", url);
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:s}", "url", url));
    free(url);
    free(org);
    return rc;
}

const struct cli_command cmd_repo_clone = {
    .name = "repo clone",
    .args = "[ORG/]NAME [DIR]",
    .min_args = 1,
    .max_args = 2,
    .summary = "git clone magicbiz://ORG/NAME",
    .help =
        "Where neither user.name and user.email nor the environment say who you are, git clone\n"
        "itself asks the resolver for this machine's name; this command keeps it from that.\n\n"
        "    magicbiz repo clone acme/site",
    .run = repo_clone,
};
