/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Request targets (RFC 3986, section 3) and patterns of routes: pure functions over outside text.
 */
#ifndef MB_HTTP_PATH_H
#define MB_HTTP_PATH_H

#include "base/bytes.h"

/*
 * Append the decoded path (text begins with '/', holds no '?'). Escapes are decoded once. False,
 * and nothing appended, for what no route can mean: malformed escapes, control characters (NUL
 * too), invalid UTF-8, '\', an encoded '/', empty segments but the last, segments "." and "..".
 */
bool mb_path_decode(struct mb_buf *out, const char *text, size_t len);

#define MB_QUERY_MAX 16
struct mb_query {
    size_t count;
    const char *key[MB_QUERY_MAX], *value[MB_QUERY_MAX]; /* in text */
    struct mb_buf text;
};
/*
 * Decode "a=b&c=d" (application/x-www-form-urlencoded: '+' is a space; empty parts are skipped, a
 * missing '=' gives an empty value). False for malformed escapes, control characters, invalid
 * UTF-8, or more than MB_QUERY_MAX parts; q must be cleared in any case.
 */
bool mb_query_decode(struct mb_query *q, const char *text, size_t len);
const char *mb_query_get(const struct mb_query *q, const char *key); /* the first; or NULL */
void mb_query_clear(struct mb_query *q);

#define MB_PARAMS_MAX 6
struct mb_param {
    struct mb_bytes name, value; /* in the pattern and in the path */
};
/* Does path fit pattern (see struct mb_route)? Fills params; what "{x}" stands for is never empty,
 * what "{x...}" stands for may be. */
bool mb_path_match(const char *pattern, const char *path, struct mb_param params[MB_PARAMS_MAX],
                   size_t *count);

#endif
