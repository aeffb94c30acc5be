/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the HTTP API share. */
#ifndef MB_DAEMON_API_H
#define MB_DAEMON_API_H

#include "daemon/node.h"

/* Answer with an error; the text comes from code and args where error has none. */
void api_fail(struct node *n, struct mb_request *r, enum mb_err err, struct mb_error *error);
void api_refuse(struct node *n, struct mb_request *r, enum mb_err err, const char *code,
                const char *text);
/* The archived block of slot: 1, 0 if there is none. */
int api_read_block(struct node *n, uint64_t slot, struct mb_block *block, struct mb_error *error);
json_t *api_hex_json(struct mb_bytes bytes);
json_t *api_path_json(const struct mb_hash *path, size_t count);
/* Header slot's path in the history of size headers. */
int api_history_path(struct node *n, uint64_t slot, uint64_t size,
                     struct mb_hash path[MB_HISTORY_PATH_MAX], size_t *count);
/* A query parameter as a number: fallback where absent; false (and answered) where it is none. */
bool api_number(struct node *n, struct mb_request *r, const char *name, uint64_t fallback,
                uint64_t *out);

#endif
