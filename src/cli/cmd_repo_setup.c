/* SPDX-License-Identifier: GPL-3.0-or-later */
/* repo setup: a working copy for anonymous, signed pushes. Everything is set in this copy's own
 * configuration, nothing globally. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

static const char hook_mark[] = "# magicbiz repo setup";

static int git_config(const char *name, const char *value, struct mb_error *error)
{
    const char *argv[] = {"git", "config", "--local", name, value, NULL};
    int rc = cli_run(argv, mb_bytes(NULL, 0), NULL, error);
    return rc == 0 ? 0
                   : mb_fail(error, MB_EIO, "git",
                             "git config %s failed: is this a working "
                             "copy? git init, or cd into one",
                             name);
}

/* A hook of ours calls one that was there before, which is kept as NAME.before-magicbiz. */
static int write_hook(const char *folder, const char *name, struct mb_error *error)
{
    char *path = mb_asprintf("%s/%s", folder, name);
    char *before = mb_asprintf("%s/%s.before-magicbiz", folder, name);
    struct mb_buf old = {0};
    int rc = 0;
    if (access(path, F_OK) == 0)
        rc = mb_read_file(path, 1 << 20, &old, error);
    if (rc == 0 && old.len > 0 && strstr(mb_buf_text(&old), hook_mark) == NULL &&
        rename(path, before) != 0)
        rc = mb_fail(error, MB_EIO, "file.unreadable", "%s cannot be kept aside", path);
    char *text = mb_asprintf(
        "#!/bin/sh\n%s\n# Scrubs the zone and the author of what was just committed.\n"
        "[ -z \"$MAGICBIZ_SCRUBBING\" ] && MAGICBIZ_SCRUBBING=1 magicbiz repo scrub --hook\n"
        "before=$(dirname \"$0\")/%s.before-magicbiz\n"
        "[ ! -x \"$before\" ] || exec \"$before\" \"$@\"\n",
        hook_mark, name);
    if (rc == 0)
        rc = mb_write_file(path, mb_bytes_of(text), 0755, error);
    if (rc == 0 && chmod(path, 0755) != 0)
        rc = mb_fail(error, MB_EIO, "file.unreadable", "%s cannot be made executable", path);
    mb_buf_clear(&old);
    free(text);
    free(path);
    free(before);
    return rc;
}

static int write_hooks(struct mb_error *error)
{
    static const char *const names[] = {"post-commit", "post-merge", "post-rewrite"};
    static const char *const argv[] = {"git", "rev-parse", "--git-path", "hooks", NULL};
    char *folder = cli_git_line(argv);
    int rc = folder != NULL ? mb_make_dir(folder, 0755, error)
                            : mb_fail(error, MB_EINVAL, "setup.copy", "this is no working copy");
    for (size_t i = 0; i < sizeof names / sizeof *names && rc == 0; i++)
        rc = write_hook(folder, names[i], error);
    free(folder);
    return rc;
}

static int set_remote(const struct cli *c, const char *org, struct mb_error *error)
{
    const char *repo = cli_option(c, "repo"), *remote = cli_option(c, "remote");
    remote = remote != NULL ? remote : "origin";
    if (repo == NULL)
        return 0;
    char *url = mb_asprintf("magicbiz://%s/%s", org, repo);
    char *name = mb_asprintf("remote.%s.url", remote);
    const char *get[] = {"git", "config", "--local", name, NULL};
    const char *add[] = {"git", "remote", "add", remote, url, NULL};
    char *have = cli_git_line(get);
    int rc = 0;
    if (have == NULL && cli_run(add, mb_bytes(NULL, 0), NULL, error) != 0)
        rc = mb_fail(error, MB_EIO, "git", "git remote add %s failed", remote);
    else if (have != NULL && strcmp(have, url) != 0)
        fprintf(stderr, "magicbiz: remote %s stays %s: give --remote NAME for another\n", remote,
                have);
    free(have);
    free(url);
    free(name);
    return rc;
}

static int configure(const char *pseudonym, const char *org_name, const struct cli_identity *id,
                     struct mb_error *error)
{
    char *email = mb_asprintf("%s@%s.invalid", pseudonym, org_name);
    char *key = mb_asprintf("%s.pub", id->path);
    const char *const values[][2] = {
        {"user.name", pseudonym},       {"user.email", email},
        {"user.useConfigOnly", "true"}, {"gpg.format", "ssh"},
        {"user.signingKey", key},       {"push.gpgSign", "true"},
        {"commit.gpgSign", "false"},    {"tag.gpgSign", "false"},
        {"magicbiz.orgName", org_name}, {"magicbiz.pseudonym", pseudonym},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof values / sizeof *values && rc == 0; i++)
        rc = git_config(values[i][0], values[i][1], error);
    free(email);
    free(key);
    return rc;
}

static int repo_setup(struct cli *c, struct mb_error *error)
{
    struct cli_identity id;
    struct cli_org *o;
    char own[24];
    struct mb_hash hash;
    int rc = cli_identity(c, &id, error);
    if (rc != 0)
        return rc;
    rc = cli_open_org(c, &o, error);
    char hex[MB_HASH_HEX_SIZE];
    hash = mb_public_key_hash(&id.key);
    mb_hash_hex(&hash, hex);
    mb_snprintf(own, sizeof own, "key-%.8s", hex);
    const char *pseudonym = cli_option(c, "name") != NULL ? cli_option(c, "name") : own;
    if (rc == 0 && !cli_name_valid(pseudonym))
        rc = mb_fail(error, MB_EINVAL, "id.name",
                     "%.40s: a pseudonym is 1 to 32 letters, digits, - and _", pseudonym);
    if (rc == 0)
        rc = configure(pseudonym, o->genesis.name, &id, error);
    if (rc == 0)
        rc = set_remote(c, o->pin.name, error);
    if (rc == 0)
        rc = write_hooks(error);
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:s, s:s, s:s}", "pseudonym", pseudonym, "org", o->pin.name,
                                 "key", id.fingerprint));
    else if (rc == 0)
        printf("you are %s@%s.invalid here, and sign pushes with %s\nwhat was committed before: "
               "magicbiz repo scrub\n",
               pseudonym, o->genesis.name, id.fingerprint);
    cli_identity_clear(&id);
    return rc;
}

const struct cli_command cmd_repo_setup = {
    .name = "repo setup",
    .args = "",
    .summary = "configure this working copy for anonymous, signed pushes",
    .help =
        "Sets, in this copy only: a pseudonym as author, your key for signed pushes, a remote,\n"
        "and hooks that scrub the zone and the author of each new commit. Hooks that are there\n"
        "already go on running. What still shows: the second at which you commit, and what\n"
        "you write.\n\n"
        "    git init -b main site && cd site && magicbiz repo setup --repo site",
    .options =
        (const struct cli_option[]){{"repo", "NAME", "add a remote magicbiz://ORG/NAME"},
                                    {"remote", "NAME", "what that remote is called (origin)"},
                                    {"name", "PSEUDONYM", "instead of one made from your key"},
                                    {NULL, NULL, NULL}},
    .run = repo_setup,
};
