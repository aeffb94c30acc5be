/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A request's body on its way to the handler. */
#include "config.h"

#include "http/internal.h"

#define PLAIN_BYTES 16384

static void too_large(struct mb_request *r)
{
    struct mb_error error;
    mb_fail(&error, MB_ELIMIT, "limit.body", "the body is over %lld bytes: send less at once",
            (long long)r->body_max);
    mb_reply_error(r, MB_ELIMIT, &error);
}

static void bad_gzip(struct mb_request *r)
{
    struct mb_error error;
    mb_fail(&error, MB_EINVAL, "http.gzip", "the body is no whole gzip stream");
    mb_reply_error(r, MB_EINVAL, &error);
}

/* Offer bytes until the handler has all, answers, or wants to wait. How many it took. */
static size_t offer(struct mb_request *r, const uint8_t *data, size_t len)
{
    size_t used = 0;
    while (used < len && !r->answer.ready) {
        r->kicked = false;
        size_t took = r->chunk(r, r->user, mb_bytes(data + used, len - used));
        used += took;
        if (used < len && !r->kicked)
            break;
    }
    return used;
}

/* Count bytes that came out of the body; false if there are too many. */
static bool count(struct mb_request *r, size_t len)
{
    if ((int64_t)len > r->body_max - r->body_bytes) {
        too_large(r);
        return false;
    }
    r->body_bytes += (int64_t)len;
    return true;
}

/* Give what is inflated already; true if nothing is left. */
static bool give_plain(struct mb_request *r)
{
    if (r->plain.len == 0)
        return true;
    r->plain_at += offer(r, r->plain.data + r->plain_at, r->plain.len - r->plain_at);
    if (r->plain_at < r->plain.len)
        return false;
    mb_buf_reset(&r->plain);
    r->plain_at = 0;
    return true;
}

/* Inflate once into plain: false when zlib wants more input, or at the end. */
static bool inflate_some(struct mb_request *r)
{
    mb_buf_reserve(&r->plain, PLAIN_BYTES);
    r->z.next_out = r->plain.data;
    r->z.avail_out = PLAIN_BYTES;
    int rc = inflate(&r->z, Z_NO_FLUSH);
    r->plain.len = PLAIN_BYTES - r->z.avail_out;
    r->gzip_done = rc == Z_STREAM_END;
    if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR) {
        bad_gzip(r);
        return false;
    }
    return r->plain.len > 0 && count(r, r->plain.len);
}

static size_t feed_gzip(struct mb_request *r, const uint8_t *data, size_t len)
{
    static const uint8_t nothing;
    r->z.next_in = len == 0 ? &nothing : data;
    r->z.avail_in = (uInt)len;
    while (!r->answer.ready && give_plain(r) && !r->answer.ready) {
        if (r->gzip_done && r->z.avail_in > 0)
            bad_gzip(r);
        if (r->gzip_done || !inflate_some(r))
            break;
    }
    return len - r->z.avail_in;
}

size_t body_feed(struct mb_request *r, const uint8_t *data, size_t len)
{
    if (r->chunk == NULL)
        return 0;
    if (r->gzip) {
        size_t used = feed_gzip(r, data, len);
        r->conn->server->stats.bytes_in += used;
        return used;
    }
    if ((int64_t)len > r->body_max - r->body_bytes) {
        too_large(r);
        return 0;
    }
    size_t used = offer(r, data, len);
    r->body_bytes += (int64_t)used;
    r->conn->server->stats.bytes_in += used;
    return used;
}

bool body_finish(struct mb_request *r)
{
    if (!r->gzip || !r->has_body)
        return true;
    feed_gzip(r, NULL, 0);
    if (r->answer.ready || r->plain.len > 0)
        return false;
    if (!r->gzip_done)
        bad_gzip(r);
    return r->gzip_done;
}

void body_clear(struct mb_request *r)
{
    if (r->gzip)
        inflateEnd(&r->z);
    mb_buf_clear(&r->plain);
    mb_buf_clear(&r->whole);
}

void mb_request_body(struct mb_request *r, int64_t max,
                     size_t (*chunk)(struct mb_request *r, void *user, struct mb_bytes bytes),
                     void (*end)(struct mb_request *r, void *user))
{
    if (r->answer.ready)
        return;
    r->body_max = max;
    r->chunk = chunk;
    r->end = end;
    if (!r->gzip && r->body_length > max) {
        too_large(r);
        return;
    }
    if (r->gzip && inflateInit2(&r->z, 15 + 16) != Z_OK) {
        r->gzip = false;
        r->aborted = true;
    }
    conn_wake(r->conn);
}

void mb_request_resume_body(struct mb_request *r)
{
    r->kicked = true;
    conn_wake(r->conn);
}

static size_t collect(struct mb_request *r, void *user, struct mb_bytes bytes)
{
    (void)user;
    mb_buf_add_bytes(&r->whole, bytes);
    return bytes.len;
}

static void collected(struct mb_request *r, void *user)
{
    r->whole_end(r, user, mb_buf_bytes(&r->whole));
}

void mb_request_whole_body(struct mb_request *r, size_t max,
                           void (*end)(struct mb_request *r, void *user, struct mb_bytes body))
{
    r->whole_end = end;
    mb_request_body(r, (int64_t)max, collect, collected);
}
