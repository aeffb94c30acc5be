/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

static char *id_folder(const struct cli *c)
{
    return mb_asprintf("%s/ids", c->config_dir);
}

static json_t *id_json(const struct cli_identity *id)
{
    char text[MB_PUBLIC_TEXT_SIZE];
    mb_public_key_text(&id->key, text);
    return json_pack("{s:s, s:s, s:s, s:s}", "name", id->name, "fingerprint", id->fingerprint,
                     "public_key", text, "file", id->path);
}

/* --- id new --- */

static int id_new(struct cli *c, struct mb_error *error)
{
    const char *name = c->arg_count > 0 ? c->args[0] : "default";
    char *folder = id_folder(c), *path = mb_asprintf("%s/%s", folder, name);
    const char *argv[] = {"ssh-keygen", "-q", "-t", "ed25519", "-C", "",
                          "-f",         path, "-N", "",        NULL};
    struct cli_identity id = {0};
    int rc = 0;
    if (cli_option(c, "passphrase") != NULL)
        argv[8] = NULL; /* ssh-keygen asks for one */
    if (!cli_name_valid(name))
        rc = mb_fail(error, MB_EINVAL, "id.name",
                     "%.40s: a name is 1 to 32 letters, digits, - and _", name);
    else if (access(path, F_OK) == 0)
        rc = mb_fail(error, MB_EREFUSED, "id.exists",
                     "there is an identity %s already: choose another name", name);
    if (rc == 0)
        rc = mb_make_dir(folder, 0700, error);
    if (rc == 0 && cli_run(argv, mb_bytes(NULL, 0), NULL, error) != 0)
        rc = mb_fail(error, MB_EIO, "id.new", "ssh-keygen made no key: is it installed?");
    if (rc == 0)
        rc = cli_identity_named(c, name, &id, error);
    if (rc == 0 && c->json)
        cli_print_json(id_json(&id));
    else if (rc == 0)
        printf("%s  %s\nKeep a copy of %s: nobody can restore it.\n", id.name, id.fingerprint,
               id.path);
    cli_identity_clear(&id);
    free(folder);
    free(path);
    return rc;
}

const struct cli_command cmd_id_new = {
    .name = "id new",
    .args = "[NAME]",
    .max_args = 1,
    .summary = "make a pseudonym: an OpenSSH Ed25519 key",
    .help = "Without NAME it is called default. Use one for each organisation, unless you want\n"
            "them to know that you are the same.\n\n"
            "    magicbiz id new acme",
    .options = (const struct cli_option[]){{"passphrase", NULL, "protect it with a passphrase"},
                                           {NULL, NULL, NULL}},
    .run = id_new,
};

/* --- id list --- */

static int by_text(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_public(const struct dirent *e)
{
    size_t len = strlen(e->d_name);
    return len > 4 && strcmp(e->d_name + len - 4, ".pub") == 0;
}

static int id_list(struct cli *c, struct mb_error *error)
{
    char *folder = id_folder(c);
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_public, by_text);
    json_t *list = json_array();
    (void)error;
    for (int i = 0; i < count; i++) {
        struct cli_identity id;
        entries[i]->d_name[strlen(entries[i]->d_name) - 4] = 0;
        if (cli_identity_named(c, entries[i]->d_name, &id, NULL) == 0) {
            json_array_append_new(list, id_json(&id));
            if (!c->json)
                printf("%-16s %s\n", id.name, id.fingerprint);
            cli_identity_clear(&id);
        }
        free(entries[i]);
    }
    free(entries);
    free(folder);
    if (c->json)
        cli_print_json(json_pack("{s:O}", "identities", list));
    else if (json_array_size(list) == 0)
        puts("none yet: magicbiz id new");
    json_decref(list);
    return 0;
}

const struct cli_command cmd_id_list = {
    .name = "id list",
    .args = "",
    .summary = "list your pseudonyms",
    .help = "    magicbiz id list",
    .run = id_list,
};

/* --- id show, id export --- */

static int id_show(struct cli *c, struct mb_error *error)
{
    struct cli_identity id;
    char text[MB_PUBLIC_TEXT_SIZE];
    int rc = c->arg_count > 0 ? cli_identity_named(c, c->args[0], &id, error)
                              : cli_identity(c, &id, error);
    if (rc != 0)
        return rc;
    mb_public_key_text(&id.key, text);
    if (c->json)
        cli_print_json(id_json(&id));
    else if (cli_option(c, "public") != NULL)
        puts(text);
    else
        printf("name         %s\nfingerprint  %s\npublic key   %s\nfile         %s\n", id.name,
               id.fingerprint, text, id.path);
    cli_identity_clear(&id);
    return 0;
}

const struct cli_command cmd_id_show = {
    .name = "id show",
    .args = "[NAME]",
    .max_args = 1,
    .summary = "show a pseudonym's fingerprint and public key",
    .help = "    magicbiz id show --public",
    .options =
        (const struct cli_option[]){
            {"public", NULL, "print the public key alone, as init --founder takes it"},
            {NULL, NULL, NULL}},
    .run = id_show,
};

static int id_export(struct cli *c, struct mb_error *error)
{
    struct cli_identity id;
    struct mb_buf file = {0};
    int rc = cli_identity_named(c, c->args[0], &id, error);
    if (rc != 0)
        return rc;
    rc = mb_read_file(id.path, 16384, &file, error);
    if (rc == 0 && c->json)
        cli_print_json(json_pack("{s:s, s:s}", "name", id.name, "secret_key", mb_buf_text(&file)));
    else if (rc == 0)
        fputs(mb_buf_text(&file), stdout);
    mb_buf_clear(&file);
    cli_identity_clear(&id);
    return rc;
}

const struct cli_command cmd_id_export = {
    .name = "id export",
    .args = "NAME",
    .min_args = 1,
    .max_args = 1,
    .summary = "print a pseudonym's secret key file, to keep or to move it",
    .help = "Whoever has it is you. Put it back as a file in the folder that id show names,\n"
            "beside its public key.\n\n"
            "    magicbiz id export default > default.key",
    .run = id_export,
};
