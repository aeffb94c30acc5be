/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What founding an organisation and joining one have in common: what they write below DATA. */
#ifndef MB_DAEMON_FOUND_H
#define MB_DAEMON_FOUND_H

#include "daemon/node.h"

/* Keys that are there already belong to somebody: they are never written over. MB_EREFUSED,
 * init.exists. */
int found_refuse_existing(const char *data, struct mb_error *error);
/* What a founding that failed has written. */
void found_remove(const char *data);

/* Make a key and write it to DATA/keys. */
int found_onion(const char *data, const char *name, char address[MB_ONION_SIZE],
                struct mb_error *error);
int found_tor_auth(const char *data, struct mb_buf *text, struct mb_error *error);
int found_replica_key(const char *data, struct mb_secret_key *key, struct mb_error *error);

/* Genesis and its header 0 open the archive, signed by key unless that is NULL; an empty log stands
 * beside it. */
int found_history(const char *data, const struct mb_modules *modules,
                  const struct mb_secret_key *key, struct mb_bytes genesis, struct mb_tip *tip,
                  struct mb_error *error);
/* more: further lines. */
int found_config(const char *data, const char *const *modules, size_t count, const char *tor_mode,
                 const char *include, const char *more, struct mb_error *error);

#endif
