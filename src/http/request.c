/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/internal.h"

#define DRAIN_BYTES  (1 << 20)  /* of a refused body, before the answer is sent by hand */
#define LINGER_BYTES (64 << 20) /* after it, so that the client gets to read it */
#define LINGER_MS    30000

struct mb_request *request_new(struct conn *c, struct MHD_Connection *peer, const char *target)
{
    struct mb_request *r = mb_calloc(1, sizeof *r);
    r->conn = c;
    r->peer = peer;
    r->target = mb_strdup(target);
    return r;
}

void request_free(struct mb_request *r)
{
    if (r->gone != NULL)
        r->gone(r, r->user);
    body_clear(r);
    reply_clear(r);
    mb_buf_clear(&r->path);
    mb_query_clear(&r->query);
    for (size_t i = 0; i < r->param_count; i++)
        free(r->param_values[i]);
    free(r->method);
    free(r->target);
    free(r);
}

static void refuse(struct mb_request *r, const char *code, const char *text)
{
    struct mb_error error;
    mb_fail(&error, MB_EINVAL, code, "%s", text);
    mb_reply_error(r, MB_EINVAL, &error);
}

/* --- The head --- */

/* What the head says about the body; false if it contradicts itself. */
static bool read_framing(struct mb_request *r)
{
    const char *coding = mb_request_header(r, "Transfer-Encoding");
    const char *length = mb_request_header(r, "Content-Length");
    const char *expect = mb_request_header(r, "Expect");
    r->expects_continue = expect != NULL && strcasecmp(expect, "100-continue") == 0;
    if (coding != NULL) {
        r->has_body = true;
        r->body_length = -1;
        return length == NULL && strcasecmp(coding, "chunked") == 0;
    }
    /* MHD has closed the connection if this was no number. */
    r->body_length = length == NULL ? 0 : strtoll(length, NULL, 10);
    r->has_body = r->body_length != 0;
    return true;
}

static bool read_encoding(struct mb_request *r)
{
    const char *coding = mb_request_header(r, "Content-Encoding");
    if (coding == NULL || strcasecmp(coding, "identity") == 0)
        return true;
    r->gzip = strcasecmp(coding, "gzip") == 0 || strcasecmp(coding, "x-gzip") == 0;
    return r->gzip;
}

static bool method_fits(const char *route, const char *method)
{
    return strcmp(route, method) == 0 || (strcmp(route, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static const struct mb_route *find_route(struct mb_request *r, void **self)
{
    struct mb_http_server *s = r->conn->server;
    const char *path = mb_request_path(r);
    for (size_t t = 0; t < s->table_count; t++)
        for (const struct mb_route *i = s->tables[t].routes; i->method != NULL; i++)
            if (method_fits(i->method, r->method) &&
                (!i->operator_only || s->options.operator_socket) &&
                mb_path_match(i->pattern, path, r->params, &r->param_count)) {
                *self = s->tables[t].self;
                return i;
            }
    r->param_count = 0;
    return NULL;
}

static size_t head_size(const struct mb_request *r)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(r->peer, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    return info == NULL ? 0 : info->header_size;
}

static void begin(struct mb_request *r, const char *method)
{
    void *self = NULL;
    size_t path_len = strcspn(r->target, "?");
    const char *query = r->target[path_len] == 0 ? "" : r->target + path_len + 1;

    r->method = mb_strdup(method);
    r->conn->deadline = 0;
    bool framed = read_framing(r);
    bool decoded = mb_path_decode(&r->path, r->target, path_len);
    const struct mb_route *route = decoded ? find_route(r, &self) : NULL;
    if (!framed || (int64_t)head_size(r) > r->conn->server->options.head_max) {
        r->aborted = true; /* the same as where MHD finds the head malformed */
        return;
    }
    if (route == NULL) {
        mb_reply_unknown(r);
        return;
    }
    for (size_t i = 0; i < r->param_count; i++)
        r->param_values[i] =
            mb_strndup((const char *)r->params[i].value.data, r->params[i].value.len);
    if (!mb_query_decode(&r->query, query, strlen(query)))
        refuse(r, "http.query", "the query is malformed: escape it as %XX in UTF-8");
    else if (!read_encoding(r))
        refuse(r, "http.encoding", "send the body as it is, or with Content-Encoding: gzip");
    else
        route->begin(self, r);
}

/* --- MHD's calls, in order: one with the head, some with the body, one when all is there. Each may
 * come again after the connection was suspended. --- */

static enum MHD_Result step_head(struct mb_request *r, const char *method)
{
    if (!r->begun) {
        r->begun = true;
        begin(r, method);
    }
    if (r->aborted)
        return MHD_NO;
    /* MHD closes a connection whose answer comes that early: only where the body must not. */
    if (r->answer.ready && r->has_body && r->expects_continue) {
        r->stage = STAGE_FULL;
        return reply_queue(r);
    }
    if (r->has_body && r->chunk == NULL && !r->answer.ready)
        conn_suspend(r->conn);
    else
        r->stage = r->has_body ? STAGE_BODY : STAGE_FULL;
    return MHD_YES;
}

static enum MHD_Result drain(struct mb_request *r, size_t *len)
{
    r->drained += (int64_t)*len;
    *len = 0;
    if (!r->late && r->drained > DRAIN_BYTES && r->answer.more == NULL) {
        reply_late(r);
        r->conn->deadline = mb_now_ms() + LINGER_MS;
    }
    return r->late && r->drained > LINGER_BYTES ? MHD_NO : MHD_YES;
}

static enum MHD_Result step_body(struct mb_request *r, const char *data, size_t *len)
{
    if (!r->answer.ready) {
        size_t used = body_feed(r, (const uint8_t *)data, *len);
        if (r->aborted)
            return MHD_NO;
        *len -= used;
        if (!r->answer.ready) {
            if (*len > 0)
                conn_suspend(r->conn);
            return MHD_YES;
        }
    }
    return drain(r, len);
}

static enum MHD_Result step_full(struct mb_request *r)
{
    r->stage = STAGE_FULL;
    if (r->late || r->aborted)
        return MHD_NO;
    if (!r->answer.ready && !r->ended && r->chunk != NULL && body_finish(r) && !r->answer.ready) {
        r->ended = true;
        r->end(r, r->user);
    }
    if (r->answer.ready)
        return reply_queue(r);
    conn_suspend(r->conn);
    return MHD_YES;
}

enum MHD_Result request_step(struct mb_request *r, const char *method, const char *data,
                             size_t *len)
{
    if (r->answered && !r->late)
        return MHD_YES;
    if (r->stage == STAGE_HEAD)
        return step_head(r, method);
    return *len > 0 ? step_body(r, data, len) : step_full(r);
}

/* --- What handlers see --- */

const char *mb_request_method(const struct mb_request *r)
{
    return r->method;
}

const char *mb_request_path(const struct mb_request *r)
{
    return r->path.data == NULL ? "" : (const char *)r->path.data;
}

const char *mb_request_param(const struct mb_request *r, const char *name)
{
    for (size_t i = 0; i < r->param_count; i++)
        if (mb_bytes_equal(r->params[i].name, mb_bytes_of(name)))
            return r->param_values[i];
    return NULL;
}

const char *mb_request_query(const struct mb_request *r, const char *name)
{
    return mb_query_get(&r->query, name);
}

const char *mb_request_header(const struct mb_request *r, const char *name)
{
    return MHD_lookup_connection_value(r->peer, MHD_HEADER_KIND, name);
}

enum mb_origin mb_request_origin(const struct mb_request *r)
{
    return r->conn->server->options.operator_socket ? MB_ORIGIN_OPERATOR : MB_ORIGIN_ONION;
}

uint64_t mb_request_connection(const struct mb_request *r)
{
    return r->conn->id;
}

void mb_request_set_user(struct mb_request *r, void *user,
                         void (*gone)(struct mb_request *r, void *user))
{
    r->user = user;
    r->gone = gone;
}

void *mb_request_user(const struct mb_request *r)
{
    return r->user;
}
