/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tor's control protocol (torspec control-spec): a parser that turns bytes into replies. Pure: the
 * unit tests, the fuzzer and the daemon call the same function.
 */
#ifndef MB_TOR_CONTROL_H
#define MB_TOR_CONTROL_H

#include "base/bytes.h"
#include "base/error.h"

#define MB_CONTROL_LINE_MAX  65536
#define MB_CONTROL_REPLY_MAX (1u << 20)
#define MB_CONTROL_LINES_MAX 4096

/* One whole reply: lines with their status removed; data blocks (250+) appended to their line
 * behind a '\n', dots unstuffed. status 650 is an asynchronous event. */
struct mb_control_reply {
    int status;
    char **lines;
    size_t count;
};
struct mb_control_parser;
struct mb_control_parser *mb_control_parser_new(void);
void mb_control_parser_free(struct mb_control_parser *p);
/* Feed bytes; each whole reply is given to reply(arg), borrowed. After an error (MB_EINVAL,
 * tor.protocol; MB_ELIMIT) the connection is of no use any more. */
int mb_control_feed(struct mb_control_parser *p, struct mb_bytes bytes,
                    void (*reply)(void *arg, const struct mb_control_reply *r), void *arg,
                    struct mb_error *error);

/* The value of KEY= in a reply's line: a bare word, or a quoted string unquoted (owned), or NULL.
 */
char *mb_control_value(const char *line, const char *key);
/* Append a quoted string. */
void mb_control_quote(struct mb_buf *out, struct mb_bytes text);
/* "0.4.9.11 (git-…)" or "Tor 0.4.8.16": the four numbers; MB_EINVAL. */
int mb_tor_version_parse(unsigned version[4], const char *text);

/* SAFECOOKIE (control-spec 3.24): the two HMAC-SHA256 values over cookie || nonces. */
void mb_safecookie_hashes(const uint8_t cookie[32], const uint8_t client_nonce[32],
                          const uint8_t server_nonce[32], uint8_t server_hash[32],
                          uint8_t client_hash[32]);

#endif
