/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * HTTP/1.1 server on Unix sockets, over libmicrohttpd driven by the loop: bodies stream both ways,
 * memory is bounded, and no answer carries Date, Server, ETag, Last-Modified or anything else that
 * tells one machine from another. The only user of libmicrohttpd.
 *
 * Where the head or the framing of a body is malformed or too large, the connection is closed
 * without a byte. An HTTP/1.0 client cannot tell a stream that was broken off from a whole one.
 */
#ifndef MB_HTTP_SERVER_H
#define MB_HTTP_SERVER_H

#include "base/json.h"
#include "loop/loop.h"

struct mb_http_server;
struct mb_request;

/* Where a request came from. Nothing that arrives by an onion is ever local. */
enum mb_origin {
    MB_ORIGIN_ONION,    /* anybody, through Tor */
    MB_ORIGIN_OPERATOR, /* the operator's socket: peer credentials were checked */
};

/*
 * A route. pattern is a path with segments; "{x}" stands for one segment, a last "{x...}" for all
 * that follows; "{x}.git" style suffixes are allowed. begin is called when the head is complete and
 * a route fits. It must take the request up: call mb_request_body(), or answer, now or later.
 */
struct mb_route {
    const char *method; /* "GET", "POST"; a GET route also answers HEAD */
    const char *pattern;
    bool operator_only; /* elsewhere the same bytes as an unknown path */
    void (*begin)(void *self, struct mb_request *r);
};

struct mb_http_options {
    unsigned connections_max; /* 0: 256; each takes three descriptors */
    int64_t idle_ms;          /* a connection without progress is closed; 0: 120,000 */
    int64_t head_max;         /* bytes of a request's head; 0: 16,384 */
    bool operator_socket;     /* check peer credentials: uid of the daemon, or root */
};
int mb_http_server_new(struct mb_http_server **out, struct mb_loop *loop, const char *socket_path,
                       unsigned socket_mode, const struct mb_http_options *options,
                       struct mb_error *error);
/* Stop accepting, let requests in flight finish for at most grace_ms, then close; done(arg). */
void mb_http_server_drain(struct mb_http_server *s, int64_t grace_ms, void (*done)(void *arg),
                          void *arg);
/* From now on not a byte is answered, until it is freed. NULL is fine. */
void mb_http_server_mute(struct mb_http_server *s);
void mb_http_server_free(struct mb_http_server *s);
/* Routes (borrowed, ends with a NULL method) whose handlers get self. Earlier ones win. */
void mb_http_server_routes(struct mb_http_server *s, const struct mb_route *routes, void *self);

struct mb_http_stats {
    uint64_t requests, bytes_in, bytes_out;
    unsigned connections;
    uint64_t by_class[6]; /* answers by status / 100 */
};
struct mb_http_stats mb_http_stats(const struct mb_http_server *s);

/* --- A request, valid until gone() was called or the answer is complete. --- */

const char *mb_request_method(const struct mb_request *r);
const char *mb_request_path(const struct mb_request *r);
/* What "{name}" of the pattern stands for; NULL if there is no such name. */
const char *mb_request_param(const struct mb_request *r, const char *name);
/* A query parameter (decoded, first of its name), NULL if absent. Keys and values with malformed
 * escapes or control characters never come here: the request was answered with 400. */
const char *mb_request_query(const struct mb_request *r, const char *name);
const char *mb_request_header(const struct mb_request *r, const char *name);
enum mb_origin mb_request_origin(const struct mb_request *r);
/* A number that is the same for requests of one connection (one circuit, as far as we can tell). */
uint64_t mb_request_connection(const struct mb_request *r);

/* The handler's own pointer, and a call when the client goes away before the answer is complete, or
 * once the answer has been sent: gone is always called exactly once, last. */
void mb_request_set_user(struct mb_request *r, void *user,
                         void (*gone)(struct mb_request *r, void *user));
void *mb_request_user(const struct mb_request *r);

/*
 * Take the body. chunk is called with bytes as they come, at most max bytes in all (over that: 413
 * limit.body, and nothing more comes); it returns how many it took: fewer stops the flow until
 * mb_request_resume_body(). end is called after the last byte. A gzip Content-Encoding is undone
 * (git sends it) and max counts what comes out.
 */
void mb_request_body(struct mb_request *r, int64_t max,
                     size_t (*chunk)(struct mb_request *r, void *user, struct mb_bytes bytes),
                     void (*end)(struct mb_request *r, void *user));
void mb_request_resume_body(struct mb_request *r);
/* The whole body at once, for small ones: end gets all of it, borrowed. */
void mb_request_whole_body(struct mb_request *r, size_t max,
                           void (*end)(struct mb_request *r, void *user, struct mb_bytes body));

/* Answer. Each request is answered once. headers: pairs, ending with NULL, or NULL. The body is
 * copied; _take takes the buffer. What is left of the client's body is read and thrown away first,
 * up to 1 MiB; if there is more, the answer is sent at once with "Connection: close", and up to 64
 * MiB more are thrown away for at most 30 s, so that a client that only writes gets to read it. A
 * stream begins only when the body has ended. To an onion client, the errors MB_EIO and MB_ECORRUPT
 * show nothing but the code "internal". */
void mb_reply(struct mb_request *r, unsigned status, const char *type, struct mb_bytes body,
              const char *const *headers);
void mb_reply_take(struct mb_request *r, unsigned status, const char *type, struct mb_buf *body);
/* A body that stays where it is, for one that many are sent: none of the pieces is empty, and what
 * they point to is borrowed until release(arg), which comes once, in any case, and may come after
 * gone. */
void mb_reply_pieces(struct mb_request *r, unsigned status, const char *type,
                     const struct mb_bytes *pieces, size_t count, void (*release)(void *arg),
                     void *arg);
/* A JSON answer (canonical text and a newline); value is taken. */
void mb_reply_json(struct mb_request *r, unsigned status, json_t *value_take);
/* {"error":{"args":[…],"code":…,"message":…}} and the status that fits err. */
void mb_reply_error(struct mb_request *r, enum mb_err err, const struct mb_error *error);
/* The one answer for every unknown path, method and Host. */
void mb_reply_unknown(struct mb_request *r);

/*
 * Answer with a stream. more is called when there is room: it appends at most about max bytes to
 * out and returns MB_STREAM_MORE, MB_STREAM_WAIT (nothing now: mb_request_resume_reply() later),
 * MB_STREAM_END, or MB_STREAM_ABORT (the client sees a broken transfer, never a short whole one).
 */
enum mb_stream {
    MB_STREAM_MORE,
    MB_STREAM_WAIT,
    MB_STREAM_END,
    MB_STREAM_ABORT,
};
void mb_reply_stream(struct mb_request *r, unsigned status, const char *type,
                     const char *const *headers,
                     enum mb_stream (*more)(struct mb_request *r, void *user, struct mb_buf *out,
                                            size_t max));
void mb_request_resume_reply(struct mb_request *r);

/* The HTTP status for an error: 400, 403, 404, 409, 413, 429, 500, 503 … by err and code. */
unsigned mb_http_status(enum mb_err err, const struct mb_error *error);

#endif
