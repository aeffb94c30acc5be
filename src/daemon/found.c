/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What magicbizd init and join write below DATA: keys, configuration, the first records. */
#include "config.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "daemon/found.h"
#include "daemon/onion_keys.h"

static int write_key(const char *data, const char *name, const void *bytes, size_t len,
                     struct mb_error *error)
{
    char *path = mb_asprintf("%s/keys/%s", data, name);
    int rc = mb_write_file(path, mb_bytes(bytes, len), 0600, error);
    free(path);
    return rc;
}

int found_onion(const char *data, const char *name, char address[MB_ONION_SIZE],
                struct mb_error *error)
{
    struct onion_key key;
    int rc = onion_key_make(&key);
    if (rc == 0)
        rc = write_key(data, name, key.secret, sizeof key.secret, error);
    memcpy(address, key.onion, sizeof key.onion);
    sodium_memzero(&key, sizeof key);
    return rc;
}

/* X25519, for the client authorisation of the peer onions. */
static int make_tor_auth(const char *data, struct mb_buf *text, struct mb_error *error)
{
    uint8_t secret[32], public_key[32];
    mb_random(secret, sizeof secret);
    crypto_scalarmult_base(public_key, secret);
    mb_base32_encode(text, public_key, sizeof public_key);
    int rc = write_key(data, "tor_auth", secret, sizeof secret, error);
    sodium_memzero(secret, sizeof secret);
    return rc;
}

static int make_replica_key(const char *data, struct mb_secret_key *key, struct mb_error *error)
{
    uint8_t seed[32];
    uint32_t check;
    struct mb_buf file = {0};
    mb_random(seed, sizeof seed);
    mb_random(&check, sizeof check);
    mb_secret_key_from_seed(key, seed);
    mb_secret_key_write(key, "", check, &file);
    int rc = write_key(data, "replica", file.data, file.len, error);
    sodium_memzero(seed, sizeof seed);
    sodium_memzero(file.data, file.len);
    mb_buf_clear(&file);
    return rc;
}

int found_make_keys(const char *data, struct found_keys *keys, struct mb_error *error)
{
    char *folder = mb_asprintf("%s/keys", data);
    int rc = mb_make_dir(data, 0700, error);
    if (rc == 0)
        rc = mb_make_dir(folder, 0700, error);
    if (rc == 0)
        rc = make_replica_key(data, &keys->replica, error);
    if (rc == 0)
        rc = found_onion(data, "replica.onion", keys->onion, error);
    if (rc == 0)
        rc = found_onion(data, "peer.onion", keys->peer_onion, error);
    if (rc == 0)
        rc = make_tor_auth(data, &keys->tor_auth, error);
    free(folder);
    return rc;
}

void found_keys_clear(struct found_keys *keys)
{
    mb_secret_key_clear(&keys->replica);
    mb_buf_clear(&keys->tor_auth);
}

int found_genesis(const char *data, struct mb_bytes text, struct mb_error *error)
{
    char *path = mb_asprintf("%s/genesis.json", data);
    int rc = mb_write_file(path, text, 0600, error);
    free(path);
    return rc;
}

int found_history(const char *data, const struct mb_modules *modules,
                  const struct mb_secret_key *key, struct mb_bytes genesis, struct mb_tip *tip,
                  struct mb_error *error)
{
    struct mb_memory *memory = mb_memory_new();
    struct mb_ledger *ledger = NULL;
    struct mb_archive *archive = NULL;
    char *archive_dir = mb_asprintf("%s/archive", data);
    char *log_dir = mb_asprintf("%s/log", data);
    struct mb_signature own = {0};
    struct mb_checkpoint checkpoint = {.signatures = &own, .count = key != NULL};
    struct mb_buf record = {0};
    uint8_t header[MB_HEADER_MAX];

    int rc = mb_ledger_found(&ledger, mb_memory_backend(memory), modules->logics, modules->count,
                             genesis, error);
    if (rc == 0) {
        *tip = *mb_ledger_tip(ledger);
        mb_buf_add(&checkpoint.header, header, mb_header_encode(&tip->header, header));
        if (key != NULL) {
            own.key = key->public_key;
            mb_sshsig_sign(key, MB_NAMESPACE_CHECKPOINT, mb_buf_bytes(&checkpoint.header),
                           &own.signature);
        }
        mb_checkpoint_encode(&checkpoint, &record);
    }
    if (rc == 0)
        rc = mb_archive_open(&archive, archive_dir, error);
    if (rc == 0)
        rc = mb_archive_append(archive, MB_ARCHIVE_GENESIS, 0, genesis, error);
    if (rc == 0)
        rc = mb_archive_append(archive, MB_ARCHIVE_CHECKPOINT, 0, mb_buf_bytes(&record), error);
    if (rc == 0)
        rc = mb_archive_sync(archive, error);
    if (rc == 0)
        rc = mb_wal_create(log_dir, 0, error);
    mb_archive_close(archive);
    mb_ledger_free(ledger);
    mb_memory_free(memory);
    mb_buf_clear(&checkpoint.header);
    mb_buf_clear(&own.signature);
    mb_buf_clear(&record);
    free(archive_dir);
    free(log_dir);
    return rc;
}

int found_config(const char *data, const char *const *modules, size_t count, const char *tor_mode,
                 const char *include, const char *more, struct mb_error *error)
{
    struct mb_buf text = {0};
    char *path = mb_asprintf("%s/magicbiz.conf", data);
    mb_buf_add_text(&text, "# Every option is in magicbiz.conf(5).\n[daemon]\ndata = .\nmodules =");
    for (size_t i = 0; i < count; i++)
        mb_buf_addf(&text, " %s", modules[i]);
    mb_buf_addf(&text, "\n\n[tor]\nmode = %s\n", tor_mode);
    if (include != NULL)
        mb_buf_addf(&text, "include = %s\n", include);
    mb_buf_add_text(&text, more);
    int rc = mb_write_file(path, mb_buf_bytes(&text), 0600, error);
    mb_buf_clear(&text);
    free(path);
    return rc;
}

static const char *const made[] = {"keys", "archive", "log", "genesis.json", "magicbiz.conf"};
#define MADE (sizeof made / sizeof *made)

/* Keys that are there already belong to somebody: they are never written over. */
static int refuse_existing(const char *data, struct mb_error *error)
{
    int rc = 0;
    for (size_t i = 0; i < MADE && rc == 0; i++) {
        char *path = mb_asprintf("%s/%s", data, made[i]);
        struct stat st;
        if (lstat(path, &st) == 0)
            rc = mb_fail(error, MB_EREFUSED, "init.exists",
                         "%s exists already: choose another --data folder", path);
        free(path);
    }
    return rc;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static void remove_made(const char *data, bool folder)
{
    for (size_t i = 0; i < MADE; i++) {
        char *path = mb_asprintf("%s/%s", data, made[i]);
        nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        free(path);
    }
    if (folder)
        rmdir(data);
}

bool found_tor_mode(const char *mode)
{
    if (strcmp(mode, "child") == 0 || strcmp(mode, "running") == 0 || strcmp(mode, "none") == 0)
        return true;
    fprintf(stderr, "magicbizd: --tor %s: child, running or none\n", mode);
    return false;
}

int found_run(const char *data, int (*make)(void *arg, struct mb_error *error), void *arg)
{
    struct mb_error error = {0};
    if (sodium_init() < 0)
        return 1;
    umask(077);
    bool folder = access(data, F_OK) != 0;
    int rc = refuse_existing(data, &error);
    if (rc == 0 && (rc = make(arg, &error)) != 0)
        remove_made(data, folder);
    if (rc != 0)
        fprintf(stderr, "magicbizd: %s\n", error.text[0] != 0 ? error.text : error.code);
    return rc == 0 ? 0 : 1;
}
