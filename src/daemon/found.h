/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What founding an organisation and joining one have in common: what they write below DATA. */
#ifndef MB_DAEMON_FOUND_H
#define MB_DAEMON_FOUND_H

#include "daemon/node.h"

/* One of the modes that --tor takes; otherwise it is said on standard error. */
bool found_tor_mode(const char *mode);

/* Have make(arg) write below DATA. Keys that are there already belong to somebody: they are never
 * written over (init.exists). What fails is removed again and said. Returns an exit status. */
int found_run(const char *data, int (*make)(void *arg, struct mb_error *error), void *arg);

/* What each daemon has of its own. */
struct found_keys {
    struct mb_secret_key replica;
    char onion[MB_ONION_SIZE], peer_onion[MB_ONION_SIZE];
    struct mb_buf tor_auth; /* base32, as the state has it */
};
/* Make them and write them to DATA/keys; both folders are made, too. Clear keys in any case. */
int found_make_keys(const char *data, struct found_keys *keys, struct mb_error *error);
void found_keys_clear(struct found_keys *keys);
/* Make one more onion key: DATA/keys/NAME. */
int found_onion(const char *data, const char *name, char address[MB_ONION_SIZE],
                struct mb_error *error);

int found_genesis(const char *data, struct mb_bytes text, struct mb_error *error);
/* Genesis and its header 0 open the archive, signed by key unless that is NULL; an empty log stands
 * beside it. */
int found_history(const char *data, const struct mb_modules *modules,
                  const struct mb_secret_key *key, struct mb_bytes genesis, struct mb_tip *tip,
                  struct mb_error *error);
/* more: further lines. */
int found_config(const char *data, const char *const *modules, size_t count, const char *tor_mode,
                 const char *include, const char *more, struct mb_error *error);

#endif
