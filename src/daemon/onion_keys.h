/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Onion keys below DATA/keys: a daemon's own, the organisation's, and those proposed for it. */
#ifndef MB_DAEMON_ONION_KEYS_H
#define MB_DAEMON_ONION_KEYS_H

#include "daemon/node.h"

#define ONION_KEY_LEN  64
#define ONION_NEXT_MAX 16 /* proposed, neither taken up nor given up; the oldest goes first */
#define ONION_OWN_FILE "organisation.onion"

struct onion_key {
    uint8_t secret[ONION_KEY_LEN]; /* as tor has it: expanded */
    char onion[MB_ONION_SIZE];
};
/* MB_EINVAL: these bytes are no key. */
int onion_key_set(struct onion_key *key, const uint8_t secret[ONION_KEY_LEN]);
int onion_key_make(struct onion_key *key);

/* The organisation's key, as this replica has it, and those that may come after it. */
struct onion_keys {
    const char *data; /* borrowed */
    struct onion_key own, next[ONION_NEXT_MAX];
    size_t next_count;
};
/* A file that is not there holds none. MB_ECORRUPT, key.invalid. */
int onion_keys_load(struct onion_keys *keys, const char *data, struct mb_error *error);
/* Both are durable on success; a key that cannot be written is not taken. */
int onion_keys_take_up(struct onion_keys *keys, const struct onion_key *key,
                       struct mb_error *error);
int onion_keys_add_next(struct onion_keys *keys, const struct onion_key *key,
                        struct mb_error *error);
/* Forget those proposed, wherever they are. */
int onion_keys_drop_next(struct onion_keys *keys, struct mb_error *error);
const struct onion_key *onion_keys_find(const struct onion_keys *keys, const char *onion);

#endif
