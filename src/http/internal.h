/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the HTTP server share. */
#ifndef MB_HTTP_INTERNAL_H
#define MB_HTTP_INTERNAL_H

#include <microhttpd.h>
#define ZLIB_CONST
#include <zlib.h>

#include "http/path.h"
#include "http/server.h"

/* A connection. Each has an MHD daemon of its own: so its log callback knows whose error page MHD
 * is about to send, and closes the connection before a byte of it leaves. */
struct conn {
    struct mb_http_server *server;
    struct conn *prev, *next;
    struct MHD_Daemon *mhd;
    struct MHD_Connection *peer;
    struct mb_watch *watch;
    int fd; /* MHD's */
    uint64_t id;
    struct mb_request *request; /* in flight, or NULL */
    int64_t deadline;           /* for a head to be complete, or the rest to be drained; 0: none */
    bool suspended, queued, closed, dying;
    struct conn *next_queued;
};

enum stage {
    STAGE_HEAD, /* MHD has not begun to read the body */
    STAGE_BODY,
    STAGE_FULL, /* nothing more comes from the client */
};

struct answer {
    bool ready;
    unsigned status;
    char *type;
    char **headers; /* pairs, then NULL; NULL if there are none */
    struct mb_buf body;
    struct mb_bytes *pieces; /* the body, instead; borrowed until released */
    size_t piece_count;
    void (*release)(void *arg); /* NULL once it is done, or MHD's to call */
    void *release_arg;
    enum mb_stream (*more)(struct mb_request *r, void *user, struct mb_buf *out, size_t max);
};

struct mb_request {
    struct conn *conn;
    struct MHD_Connection *peer;
    char *target; /* as it came */
    char *method;
    struct mb_buf path;
    struct mb_query query;
    struct mb_param params[MB_PARAMS_MAX];
    char *param_values[MB_PARAMS_MAX];
    size_t param_count;
    enum stage stage;
    bool begun, ended, has_body, expects_continue, aborted;

    void *user;
    void (*gone)(struct mb_request *r, void *user);

    int64_t body_max, body_bytes; /* bytes that came out */
    int64_t body_length;          /* as declared; -1: chunked */
    size_t (*chunk)(struct mb_request *r, void *user, struct mb_bytes bytes);
    void (*end)(struct mb_request *r, void *user);
    void (*whole_end)(struct mb_request *r, void *user, struct mb_bytes body);
    struct mb_buf whole;
    bool kicked; /* resumed from within its own callback */
    int64_t drained;
    bool late; /* the answer has been sent by hand; what still comes is thrown away */

    bool gzip, gzip_done;
    z_stream z;
    struct mb_buf plain; /* inflated, not yet taken */
    size_t plain_at;

    struct answer answer;
    bool answered; /* handed to MHD, or sent by hand */
    struct mb_buf out;
    size_t out_at;
    bool stream_ended;
};

struct pump; /* outlives the server while it is posted */
struct mb_http_server {
    struct mb_loop *loop;
    struct mb_http_options options;
    char *path;
    int listen_fd;
    struct mb_watch *listen_watch;
    struct mb_timer *tick;
    struct conn *conns, *queue_first, *queue_last;
    struct pump *pump;
    struct {
        const struct mb_route *routes;
        void *self;
    } * tables;
    size_t table_count;
    uint64_t last_id;
    bool draining, mute;
    int64_t drain_until;
    void (*drained)(void *arg);
    void *drained_arg;
    struct mb_http_stats stats;
};

/* server.c */
void conn_wake(struct conn *c);    /* let MHD go on, soon */
void conn_suspend(struct conn *c); /* from MHD's callbacks */
void conn_kill(struct conn *c);    /* close it soon */

/* request.c */
struct mb_request *request_new(struct conn *c, struct MHD_Connection *peer, const char *target);
void request_free(struct mb_request *r); /* calls gone */
/* MHD's access handler for a request: takes some of data, moves on, or waits. */
enum MHD_Result request_step(struct mb_request *r, const char *method, const char *data,
                             size_t *len);

/* body.c: how much of data was used; with NULL only what is left over is offered again. */
size_t body_feed(struct mb_request *r, const uint8_t *data, size_t len);
/* All has come: false if the handler has not taken all yet. */
bool body_finish(struct mb_request *r);
void body_clear(struct mb_request *r);

/* reply.c */
enum MHD_Result reply_queue(struct mb_request *r);
void reply_late(struct mb_request *r); /* before the body's end, by hand, and no more */
void reply_clear(struct mb_request *r);

#endif
