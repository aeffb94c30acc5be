/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/onion_keys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#define NEXT_FILE "organisation.next"

int onion_key_set(struct onion_key *key, const uint8_t secret[ONION_KEY_LEN])
{
    memcpy(key->secret, secret, ONION_KEY_LEN);
    return mb_onion_address(key->onion, secret);
}

int onion_key_make(struct onion_key *key)
{
    uint8_t seed[32];
    mb_random(seed, sizeof seed);
    mb_onion_key_from_seed(key->secret, seed);
    sodium_memzero(seed, sizeof seed);
    return mb_onion_address(key->onion, key->secret);
}

int node_onion_key(const char *data, const char *name, uint8_t key[64], struct mb_error *error)
{
    char *path = mb_asprintf("%s/keys/%s", data, name);
    struct mb_buf bytes = {0};
    int rc = mb_read_file(path, 64, &bytes, error);
    if (rc == 0 && bytes.len != 64)
        rc =
            mb_fail(error, MB_ECORRUPT, "key.invalid", "%s is not an onion key: put it back", path);
    if (rc == 0)
        memcpy(key, bytes.data, 64);
    mb_buf_clear(&bytes);
    free(path);
    return rc;
}

/* Keys one after another; none if there is no such file. */
static int load(const char *data, const char *name, struct onion_key *keys, size_t most,
                size_t *count, struct mb_error *error)
{
    char *path = mb_asprintf("%s/keys/%s", data, name);
    struct mb_buf bytes = {0};
    int rc = 0;
    *count = 0;
    if (access(path, F_OK) == 0 || errno != ENOENT)
        rc = mb_read_file(path, most * ONION_KEY_LEN, &bytes, error);
    if (rc == 0 && bytes.len % ONION_KEY_LEN != 0)
        rc = MB_ECORRUPT;
    for (size_t at = 0; at < bytes.len && rc == 0; at += ONION_KEY_LEN)
        rc = onion_key_set(&keys[(*count)++], bytes.data + at);
    if (rc == MB_ECORRUPT || rc == MB_EINVAL)
        rc = mb_fail(error, MB_ECORRUPT, "key.invalid",
                     "%s is not an onion key: put it back, or "
                     "move it away if there are other replicas",
                     path);
    if (bytes.data != NULL)
        sodium_memzero(bytes.data, bytes.cap);
    mb_buf_clear(&bytes);
    free(path);
    return rc;
}

static int save(const char *data, const char *name, const struct onion_key *keys, size_t count,
                struct mb_error *error)
{
    char *path = mb_asprintf("%s/keys/%s", data, name);
    uint8_t bytes[ONION_NEXT_MAX * ONION_KEY_LEN];
    int rc = 0;
    for (size_t i = 0; i < count; i++)
        memcpy(bytes + i * ONION_KEY_LEN, keys[i].secret, ONION_KEY_LEN);
    if (count > 0)
        rc = mb_write_file(path, mb_bytes(bytes, count * ONION_KEY_LEN), 0600, error);
    else if (unlink(path) != 0 && errno != ENOENT)
        rc = mb_fail(error, MB_EIO, "file.unwritable", "%s: %s", path, strerror(errno));
    sodium_memzero(bytes, sizeof bytes);
    free(path);
    return rc;
}

int onion_keys_load(struct onion_keys *k, const char *data, struct mb_error *error)
{
    size_t count;
    k->data = data;
    int rc = load(data, ONION_OWN_FILE, &k->own, 1, &count, error);
    return rc == 0 ? load(data, NEXT_FILE, k->next, ONION_NEXT_MAX, &k->next_count, error) : rc;
}

int onion_keys_take_up(struct onion_keys *k, const struct onion_key *key, struct mb_error *error)
{
    int rc = save(k->data, ONION_OWN_FILE, key, 1, error);
    if (rc == 0)
        k->own = *key;
    return rc;
}

int onion_keys_add_next(struct onion_keys *k, const struct onion_key *key, struct mb_error *error)
{
    for (size_t i = 0; i < k->next_count; i++)
        if (strcmp(k->next[i].onion, key->onion) == 0)
            return 0;
    if (k->next_count == ONION_NEXT_MAX)
        memmove(k->next, k->next + 1, --k->next_count * sizeof *k->next);
    k->next[k->next_count++] = *key;
    int rc = save(k->data, NEXT_FILE, k->next, k->next_count, error);
    if (rc != 0)
        k->next_count--;
    return rc;
}

int onion_keys_drop_next(struct onion_keys *k, struct mb_error *error)
{
    if (k->next_count == 0)
        return 0;
    sodium_memzero(k->next, sizeof k->next);
    k->next_count = 0;
    return save(k->data, NEXT_FILE, NULL, 0, error);
}

const struct onion_key *onion_keys_find(const struct onion_keys *k, const char *onion)
{
    if (strcmp(k->own.onion, onion) == 0)
        return &k->own;
    for (size_t i = 0; i < k->next_count; i++)
        if (strcmp(k->next[i].onion, onion) == 0)
            return &k->next[i];
    return NULL;
}
