/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Identities: OpenSSH Ed25519 keys in CONFIG/ids, one file each, NAME and NAME.pub. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "cli/cli.h"

bool cli_name_valid(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= 32 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") ==
               len &&
           name[0] != '-';
}

int cli_identity_named(const struct cli *c, const char *name, struct cli_identity *id,
                       struct mb_error *error)
{
    struct mb_buf text = {0};
    *id = (struct cli_identity){0};
    if (!cli_name_valid(name))
        return mb_fail(error, MB_EINVAL, "id.name",
                       "%.40s: a name is 1 to 32 letters, digits, - and _", name);
    id->name = mb_strdup(name);
    id->path = mb_asprintf("%s/ids/%s", c->config_dir, name);
    char *public_path = mb_asprintf("%s.pub", id->path);
    int rc = 0;
    if (access(public_path, F_OK) != 0)
        rc = mb_fail(error, MB_ENOENT, "id.unknown",
                     "there is no identity %s: make it with magicbiz id new %s", name,
                     strcmp(name, "default") == 0 ? "" : name);
    if (rc == 0)
        rc = mb_read_file(public_path, 4096, &text, error);
    if (rc == 0)
        rc = mb_public_key_parse_line(&id->key, mb_buf_text(&text), error);
    if (rc == 0)
        mb_public_key_fingerprint(&id->key, id->fingerprint);
    else
        cli_identity_clear(id);
    mb_buf_clear(&text);
    free(public_path);
    return rc;
}

int cli_identity(const struct cli *c, struct cli_identity *id, struct mb_error *error)
{
    const char *name = cli_option(c, "id");
    return cli_identity_named(c, name != NULL ? name : "default", id, error);
}

void cli_identity_clear(struct cli_identity *id)
{
    free(id->name);
    free(id->path);
    *id = (struct cli_identity){0};
}

static int sign_by_ssh_keygen(const struct cli_identity *id, const char *name_space,
                              struct mb_bytes message, struct mb_buf *signature,
                              struct mb_error *error)
{
    const char *argv[] = {"ssh-keygen", "-q", "-Y", "sign", "-n", name_space, "-f", id->path, NULL};
    struct mb_buf armour = {0};
    int rc = cli_run(argv, message, &armour, error);
    if (rc > 0)
        rc = mb_fail(error, MB_EIO, "id.sign",
                     "ssh-keygen cannot sign with %s: is the passphrase right, or the key in the "
                     "agent?",
                     id->name);
    if (rc == 0)
        rc = mb_sshsig_dearmor(signature, mb_buf_bytes(&armour), error);
    mb_buf_clear(&armour);
    return rc;
}

int cli_sign(const struct cli_identity *id, const char *name_space, struct mb_bytes message,
             struct mb_buf *signature, struct mb_error *error)
{
    struct mb_secret_key key;
    struct mb_buf pem = {0};
    struct mb_error why = {0};
    int rc = access(id->path, F_OK) == 0 ? mb_read_file(id->path, 16384, &pem, error) : 0;
    if (rc != 0)
        return rc;
    rc = mb_secret_key_parse(&key, mb_buf_bytes(&pem), &why);
    if (rc == 0)
        mb_sshsig_sign(&key, name_space, message, signature);
    if (pem.data != NULL)
        sodium_memzero(pem.data, pem.cap);
    mb_buf_clear(&pem);
    if (rc != 0) /* a passphrase, or a public key whose secret is in an agent */
        return sign_by_ssh_keygen(id, name_space, message, signature, error);
    mb_secret_key_clear(&key);
    return 0;
}
