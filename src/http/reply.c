/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/encode.h"
#include "http/internal.h"

#define BLOCK_BYTES 32768

static void answer_ready(struct mb_request *r, unsigned status, const char *type,
                         const char *const *headers)
{
    struct answer *a = &r->answer;
    size_t count = 0;
    a->ready = true;
    a->status = status;
    a->type = type == NULL ? NULL : mb_strdup(type);
    while (headers != NULL && headers[count] != NULL)
        count++;
    if (count > 0) {
        a->headers = mb_calloc(count + 1, sizeof *a->headers);
        for (size_t i = 0; i < count; i++)
            a->headers[i] = mb_strdup(headers[i]);
    }
    if (status / 100 < 6)
        r->conn->server->stats.by_class[status / 100]++;
    conn_wake(r->conn);
}

void reply_clear(struct mb_request *r)
{
    for (size_t i = 0; r->answer.headers != NULL && r->answer.headers[i] != NULL; i++)
        free(r->answer.headers[i]);
    free(r->answer.headers);
    free(r->answer.type);
    free(r->answer.pieces);
    if (r->answer.release != NULL)
        r->answer.release(r->answer.release_arg);
    mb_buf_clear(&r->answer.body);
    mb_buf_clear(&r->out);
}

/* --- To MHD --- */

/* Fill out; false if the transfer is to be broken off. */
static bool stream_fill(struct mb_request *r, size_t max, bool *wait)
{
    mb_buf_reset(&r->out);
    r->out_at = 0;
    do {
        r->kicked = false;
        switch (r->answer.more(r, r->user, &r->out, max)) {
        case MB_STREAM_MORE:
            return r->out.len > 0;
        case MB_STREAM_END:
            r->stream_ended = true;
            return true;
        case MB_STREAM_WAIT:
            break;
        case MB_STREAM_ABORT:
        default:
            return false;
        }
    } while (r->out.len == 0 && r->kicked);
    *wait = r->out.len == 0;
    return true;
}

static ssize_t stream_read(void *arg, uint64_t at, char *to, size_t max)
{
    struct mb_request *r = arg;
    bool wait = false;
    (void)at;
    if (r->conn->dying)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (r->out_at == r->out.len && !r->stream_ended && !stream_fill(r, max, &wait))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (wait) {
        conn_suspend(r->conn);
        return 0;
    }
    if (r->out_at == r->out.len)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t n = r->out.len - r->out_at < max ? r->out.len - r->out_at : max;
    memcpy(to, r->out.data + r->out_at, n);
    r->out_at += n;
    r->conn->server->stats.bytes_out += n;
    return (ssize_t)n;
}

static struct MHD_Response *response_of_pieces(struct mb_request *r)
{
    struct answer *a = &r->answer;
    struct MHD_IoVec *parts = mb_calloc(a->piece_count, sizeof *parts);
    for (size_t i = 0; i < a->piece_count; i++) {
        parts[i] = (struct MHD_IoVec){.iov_base = a->pieces[i].data, .iov_len = a->pieces[i].len};
        r->conn->server->stats.bytes_out += a->pieces[i].len;
    }
    struct MHD_Response *response =
        MHD_create_response_from_iovec(parts, (unsigned)a->piece_count, a->release, a->release_arg);
    if (response != NULL)
        a->release = NULL;
    free(parts);
    return response;
}

static struct MHD_Response *response_of(struct mb_request *r)
{
    struct answer *a = &r->answer;
    if (a->pieces != NULL)
        return response_of_pieces(r);
    if (a->more != NULL)
        return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, stream_read, r,
                                                 NULL);
    r->conn->server->stats.bytes_out += a->body.len;
    struct MHD_Response *response =
        MHD_create_response_from_buffer(a->body.len, a->body.data, MHD_RESPMEM_MUST_FREE);
    if (response != NULL)
        a->body = (struct mb_buf){0};
    return response;
}

enum MHD_Result reply_queue(struct mb_request *r)
{
    struct answer *a = &r->answer;
    struct MHD_Response *response = response_of(r);
    if (response == NULL)
        return MHD_NO;
    if (a->type != NULL)
        MHD_add_response_header(response, "Content-Type", a->type);
    for (size_t i = 0; a->headers != NULL && a->headers[i] != NULL && a->headers[i + 1]; i += 2)
        MHD_add_response_header(response, a->headers[i], a->headers[i + 1]);
    if (r->conn->server->draining)
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result rc = MHD_queue_response(r->peer, a->status, response);
    MHD_destroy_response(response);
    r->answered = true;
    return rc;
}

void reply_late(struct mb_request *r)
{
    struct answer *a = &r->answer;
    struct mb_buf text = {0};
    for (size_t i = 0; i < a->piece_count; i++)
        mb_buf_add_bytes(&a->body, a->pieces[i]);
    mb_buf_addf(&text, "HTTP/1.1 %u %s\r\nConnection: close\r\n", a->status,
                MHD_get_reason_phrase_for(a->status));
    if (a->type != NULL)
        mb_buf_addf(&text, "Content-Type: %s\r\n", a->type);
    for (size_t i = 0; a->headers != NULL && a->headers[i] != NULL && a->headers[i + 1]; i += 2)
        mb_buf_addf(&text, "%s: %s\r\n", a->headers[i], a->headers[i + 1]);
    mb_buf_addf(&text, "Content-Length: %zu\r\n\r\n", a->body.len);
    if (strcmp(r->method, "HEAD") != 0)
        mb_buf_add_bytes(&text, mb_buf_bytes(&a->body));
    send(r->conn->fd, text.data, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(r->conn->fd, SHUT_WR);
    r->conn->server->stats.bytes_out += a->body.len;
    mb_buf_clear(&text);
    r->answered = r->late = true;
}

/* --- What handlers call --- */

void mb_reply_take(struct mb_request *r, unsigned status, const char *type, struct mb_buf *body)
{
    if (r->answer.ready) {
        mb_buf_clear(body);
        return;
    }
    r->answer.body = *body;
    *body = (struct mb_buf){0};
    answer_ready(r, status, type, NULL);
}

void mb_reply(struct mb_request *r, unsigned status, const char *type, struct mb_bytes body,
              const char *const *headers)
{
    if (r->answer.ready)
        return;
    mb_buf_add_bytes(&r->answer.body, body);
    answer_ready(r, status, type, headers);
}

void mb_reply_pieces(struct mb_request *r, unsigned status, const char *type,
                     const struct mb_bytes *pieces, size_t count, void (*release)(void *arg),
                     void *arg)
{
    if (r->answer.ready) {
        release(arg);
        return;
    }
    r->answer.pieces = mb_memdup(pieces, count * sizeof *pieces);
    r->answer.piece_count = count;
    r->answer.release = release;
    r->answer.release_arg = arg;
    answer_ready(r, status, type, NULL);
}

void mb_reply_json(struct mb_request *r, unsigned status, json_t *value_take)
{
    struct mb_buf text = {0};
    struct mb_error error;
    int rc = mb_json_canonical(&text, value_take, &error);
    json_decref(value_take);
    mb_buf_add_u8(&text, '\n');
    if (rc == 0)
        mb_reply_take(r, status, "application/json", &text);
    else
        mb_reply_error(r, MB_EIO, &error);
    mb_buf_clear(&text);
}

static void add_string(struct mb_buf *out, const char *text)
{
    mb_buf_add_u8(out, '"');
    mb_json_escape(out, text, strlen(text));
    mb_buf_add_u8(out, '"');
}

void mb_reply_error(struct mb_request *r, enum mb_err err, const struct mb_error *error)
{
    struct mb_buf text = {0};
    bool ours = err == MB_EIO || err == MB_ECORRUPT;
    bool hide = ours && mb_request_origin(r) == MB_ORIGIN_ONION;
    mb_buf_add_text(&text, "{\"error\":{\"args\":");
    mb_buf_add_text(&text, hide || error->args[0] == 0 ? "[]" : error->args);
    mb_buf_add_text(&text, ",\"code\":");
    add_string(&text, hide ? "internal" : error->code);
    mb_buf_add_text(&text, ",\"message\":");
    add_string(&text, hide ? "something failed here: try again later" : error->text);
    mb_buf_add_text(&text, "}}\n");
    mb_reply_take(r, mb_http_status(err, error), "application/json", &text);
}

void mb_reply_unknown(struct mb_request *r)
{
    struct mb_error error;
    mb_fail(&error, MB_ENOENT, "http.unknown", "there is nothing here");
    mb_reply_error(r, MB_ENOENT, &error);
}

void mb_reply_stream(struct mb_request *r, unsigned status, const char *type,
                     const char *const *headers,
                     enum mb_stream (*more)(struct mb_request *r, void *user, struct mb_buf *out,
                                            size_t max))
{
    if (r->answer.ready)
        return;
    r->answer.more = more;
    answer_ready(r, status, type, headers);
}

void mb_request_resume_reply(struct mb_request *r)
{
    r->kicked = true;
    conn_wake(r->conn);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

unsigned mb_http_status(enum mb_err err, const struct mb_error *error)
{
    const char *code = error == NULL ? "" : error->code;
    switch (err) {
    case MB_OK:
        return 200;
    case MB_EINVAL:
        return 400;
    case MB_EREFUSED:
        if (strncmp(code, "limit.", 6) == 0)
            return 429;
        return ends_with(code, ".access") || ends_with(code, ".denied") ? 403 : 409;
    case MB_ENOENT:
        return ends_with(code, ".since") ? 410 : 404;
    case MB_ELIMIT:
        return strcmp(code, "limit.body") == 0 || ends_with(code, ".too_large") ? 413 : 429;
    case MB_EPROOF:
        return 403;
    case MB_EREACH:
        return 503;
    case MB_EIO:
    case MB_ECORRUPT:
    default:
        return 500;
    }
}
