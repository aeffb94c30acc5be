/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * HTTP client of the CLI, over libcurl: blocking calls to an onion service through a SOCKS proxy
 * (host names go to the proxy, never to a resolver), or to a Unix socket. The only user of libcurl.
 * No redirects, no cookies, no proxies from the environment, no user agent, no clear-net host.
 */
#ifndef MB_HTTP_CLIENT_H
#define MB_HTTP_CLIENT_H

#include <stdatomic.h>

#include "base/bytes.h"
#include "base/error.h"

struct mb_http_client;

struct mb_http_client_options {
    const char *unix_path;   /* talk to this socket; or NULL */
    const char *onion;       /* "….onion": through socks */
    const char *socks;       /* "unix:/path" or "127.0.0.1:9050"; loopback only */
    const char *isolation;   /* SOCKS user name: streams of different texts share no circuit */
    int64_t timeout_ms;      /* for one call to begin answering, and between bytes; 0: 60,000 */
    int64_t reach_ms;        /* until an onion service is reached; 0: timeout_ms */
    const atomic_bool *stop; /* calls are broken off once it is true (within a second); or NULL */
};
/* MB_EINVAL, http.clearnet for any target that is neither. */
int mb_http_client_new(struct mb_http_client **out, const struct mb_http_client_options *options,
                       struct mb_error *error);
/* The onion that it talks to (borrowed), or NULL. */
const char *mb_http_client_onion(const struct mb_http_client *c);
void mb_http_client_free(struct mb_http_client *c);

/*
 * One call. path begins with '/', is sent as it is. Answers of any status are returned in *status;
 * body is appended, at most max bytes (MB_ELIMIT beyond). MB_EREACH, http.unreachable (the text
 * says what to do: is Tor running, …) or http.timeout.
 */
int mb_http_get(struct mb_http_client *c, const char *path, size_t max, unsigned *status,
                struct mb_buf *body, struct mb_error *error);
int mb_http_post(struct mb_http_client *c, const char *path, const char *type, struct mb_bytes in,
                 size_t max, unsigned *status, struct mb_buf *body, struct mb_error *error);
/* The same, the answer given line by line (without '\n', each at most line_max bytes); line returns
 * other than 0 to stop, which is returned. */
int mb_http_get_lines(struct mb_http_client *c, const char *path, size_t line_max,
                      int (*line)(void *arg, struct mb_bytes line, struct mb_error *error),
                      void *arg, unsigned *status, struct mb_error *error);

#endif
