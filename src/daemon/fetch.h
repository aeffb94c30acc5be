/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Catching up by a snapshot: it is fetched into DATA/incoming chunk by chunk, each kept under its
 * hash once it is right, so that a transfer goes on where it was cut off, also after a restart; the
 * state is built and compared with the signed root beside the one that serves; and only what is
 * whole is put in its place, when the daemon starts again.
 */
#ifndef MB_DAEMON_FETCH_H
#define MB_DAEMON_FETCH_H

#include <stdatomic.h>

#include "daemon/node.h"
#include "http/client.h"

/* GET path, which must be answered with status 200 and JSON. MB_EREACH with the answer's code. */
int fetch_json(struct mb_http_client *client, const char *path, json_t **out,
               struct mb_error *error);

/* Whether the caller agrees with the header of a snapshot that is signed as it should be. */
struct fetch_check {
    int (*agrees)(void *arg, const struct mb_header *header, struct mb_error *error);
    void *arg;
};
struct fetch *fetch_new(struct node *n); /* needs the ledger; on the loop's thread */
void fetch_free(struct fetch *f);
/* On a worker: go on with what client's replica has, if that is newer than slot tip. 1: all of it
 * is here, and is installed at the next start; 0: there is none so new; or an error, after which
 * it may be called again with this or another replica. */
int fetch_run(struct fetch *f, struct mb_http_client *client, uint64_t tip,
              const struct fetch_check *check, const atomic_bool *stop, struct mb_error *error);
uint64_t fetch_slot(const struct fetch *f); /* of what the last run was for */
void fetch_report(struct fetch *f, struct mb_report *r);

/* A file, or a folder with all that is in it. */
void fetch_remove(const char *path);
/* fetch_install.c. Before archive and store are opened: put a snapshot that is here whole in their
 * place. A history that was there stays in DATA/archive.before-<slot>. */
int fetch_install(struct node *n, struct mb_error *error);

#endif
