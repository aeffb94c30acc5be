/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Our asks of a peer. The first MB_PEER_ASKS_MAX of its list are open, the others wait. */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer/internal.h"

struct ask {
    struct ask *next;
    struct peer *peer;
    uint64_t id;
    uint32_t kind;
    struct mb_buf request;
    int body_fd; /* or -1 */
    uint64_t body_len, body_sent, answer_limit;
    mb_peer_done *done;
    void *arg;
    struct mb_timer *timer;
    bool opened;   /* this life of the peer may know of it */
    bool attached; /* opened on the stream that carries it now */
    bool waiting;  /* for the peer to say where the body is to go on */
    bool unread;   /* the body's file failed */

    bool answered;
    struct mb_buf answer;
    int part_fd; /* or -1 */
    uint64_t part_len, have;
};

static void ask_free(struct ask *a)
{
    mb_timer_free(a->timer);
    mb_buf_clear(&a->request);
    mb_buf_clear(&a->answer);
    if (a->body_fd >= 0)
        close(a->body_fd);
    if (a->part_fd >= 0)
        close(a->part_fd);
    free(a);
}

static struct ask *find(struct peer *peer, uint64_t id)
{
    struct ask *a = peer->asks;
    while (a != NULL && a->id != id)
        a = a->next;
    return a;
}

/* Out of its peer's list; the peer hears of it. */
static void detach(struct ask *a)
{
    struct peer *peer = a->peer;
    struct ask **at = &peer->asks;
    while (*at != a)
        at = &(*at)->next;
    *at = a->next;
    peer->status.asks--;
    struct stream *s = peer->bulk;
    if (a->opened && s != NULL) {
        bulk_head(s, &s->control, PEER_CLOSE, 8);
        mb_buf_add_u64(&s->control, a->id);
    }
    peer_dirty(peer);
}

static void finish(struct ask *a, enum mb_err err, const struct mb_error *error)
{
    detach(a);
    int fd = a->part_fd;
    bool whole = err == MB_OK;
    if (whole)
        a->part_fd = -1;
    a->done(a->arg, whole ? mb_buf_bytes(&a->answer) : mb_bytes(NULL, 0), whole ? fd : -1,
            whole ? a->part_len : 0, err, error);
    ask_free(a);
}

static void fail(struct ask *a, enum mb_err err, const char *code, const char *text)
{
    struct mb_error error = {0};
    mb_fail(&error, err, code, "%s", text);
    finish(a, err, &error);
}

static void ask_timer(void *arg)
{
    struct ask *a = arg;
    if (a->unread)
        fail(a, MB_EIO, "peer.file", "the request's body cannot be read");
    else
        fail(a, MB_EREACH, "peer.timeout", "the peer has not answered in time");
}

uint64_t mb_peers_ask(struct mb_peers *p, uint32_t to, uint32_t kind, struct mb_bytes request,
                      int body_fd, uint64_t body_len, uint64_t answer_limit, int64_t timeout_ms,
                      mb_peer_done *done, void *arg, struct mb_error *error)
{
    struct peer *peer = peers_find(p, to);
    int fd = -1;
    if (peer == NULL)
        mb_fail(error, MB_ENOENT, "peer.unknown", "there is no peer %u", (unsigned)to);
    else if (request.len > MB_PEER_REQUEST_MAX)
        mb_fail(error, MB_ELIMIT, "peer.request", "a request has at most %d bytes",
                MB_PEER_REQUEST_MAX);
    else if (body_fd >= 0 && body_len > 0 &&
             (!bulk_file_holds(body_fd, 0, body_len) ||
              (fd = fcntl(body_fd, F_DUPFD_CLOEXEC, 3)) < 0))
        mb_fail(error, MB_EIO, "peer.file", "the body is no file of so many bytes");
    else
        goto ask;
    return 0;
ask:;
    struct ask *a = mb_calloc(1, sizeof *a);
    *a = (struct ask){
        .peer = peer,
        .id = ++p->last_ask,
        .kind = kind,
        .body_fd = fd,
        .body_len = fd >= 0 ? body_len : 0,
        .answer_limit = answer_limit,
        .done = done,
        .arg = arg,
        .part_fd = -1,
    };
    mb_buf_add_bytes(&a->request, request);
    a->timer = mb_timer_new(p->o.loop, ask_timer, a);
    if (timeout_ms > 0)
        mb_timer_set(a->timer, timeout_ms);
    struct ask **at = &peer->asks;
    while (*at != NULL)
        at = &(*at)->next;
    *at = a;
    peer->status.asks++;
    peer_dirty(peer);
    return a->id;
}

void mb_peers_ask_cancel(struct mb_peers *p, uint64_t id)
{
    for (struct peer *peer = p->peers; peer != NULL; peer = peer->next) {
        struct ask *a = find(peer, id);
        if (a == NULL)
            continue;
        detach(a);
        ask_free(a);
        return;
    }
}

unsigned ask_open_count(const struct peer *peer)
{
    return peer->status.asks < MB_PEER_ASKS_MAX ? peer->status.asks : MB_PEER_ASKS_MAX;
}

void ask_attach(struct peer *peer)
{
    struct mb_buf ids = {0};
    unsigned left = ask_open_count(peer);
    for (struct ask *a = peer->asks; left > 0; a = a->next, left--) {
        a->attached = false;
        if (a->opened)
            mb_buf_add_u64(&ids, a->id);
    }
    struct stream *s = peer->bulk;
    bulk_head(s, &s->control, PEER_RESUME, 8 + ids.len);
    mb_buf_add_u64(&s->control, ++peer->attach);
    mb_buf_add_bytes(&s->control, mb_buf_bytes(&ids));
    mb_buf_clear(&ids);
    peer_dirty(peer);
}

static void add_open(struct stream *s, struct ask *a)
{
    struct peer_open open = {
        .id = a->id,
        .kind = a->kind,
        .body_len = a->body_len,
        .answer_limit = a->answer_limit,
        .have = a->have,
        .answered = a->answered,
        .request = mb_buf_bytes(&a->request),
    };
    bulk_head(s, &s->plain, PEER_OPEN, PEER_OPEN_LEN + a->request.len);
    peer_open_write(&s->plain, &open);
    a->attached = true;
    a->waiting = a->opened;
    a->opened = true;
}

bool ask_next(struct stream *s, unsigned index)
{
    struct ask *a = s->peer->asks;
    while (index-- > 0)
        a = a->next;
    if (!a->attached) {
        add_open(s, a);
        return true;
    }
    if (a->answered || a->waiting || a->unread || a->body_sent >= a->body_len)
        return false;
    if (bulk_chunk(s, PEER_BODY, a->id, a->body_fd, 0, a->body_len, &a->body_sent))
        return true;
    a->unread = true;
    mb_timer_set(a->timer, 0); /* not from here: done() may change anything */
    return false;
}

int ask_at(struct peer *peer, uint64_t id, uint64_t offset)
{
    struct ask *a = find(peer, id);
    if (a == NULL || !a->waiting)
        return 0;
    if (offset > a->body_len)
        return MB_EINVAL;
    a->waiting = false;
    a->body_sent = offset;
    peer_dirty(peer);
    return 0;
}

static void refused(struct ask *a, const struct peer_answer *answer)
{
    struct mb_cursor c = mb_cursor(answer->bytes);
    struct mb_bytes code = mb_cursor_string(&c), text = mb_cursor_string(&c);
    struct mb_error error = {0};
    if (code.len > 0)
        memcpy(error.code, code.data, code.len);
    if (text.len > 0)
        memcpy(error.text, text.data, text.len);
    finish(a, (enum mb_err)answer->err, &error);
}

int ask_answer(struct peer *peer, const struct peer_answer *answer)
{
    struct ask *a = find(peer, answer->id);
    if (a == NULL || (a->answered && answer->err == 0))
        return 0;
    if (!a->opened)
        return MB_EINVAL;
    if (answer->err != 0) {
        refused(a, answer);
    } else if (answer->body_len > a->answer_limit) {
        fail(a, MB_ELIMIT, "peer.answer", "the answer is longer than the limit");
    } else {
        a->answered = true;
        mb_buf_add_bytes(&a->answer, answer->bytes);
        a->part_len = answer->body_len;
        if (a->part_len == 0)
            finish(a, MB_OK, NULL);
        else if ((a->part_fd = bulk_temp(peer->p)) < 0)
            fail(a, MB_EIO, "peer.file", "no temporary file for the answer's body");
    }
    return 0;
}

int ask_part(struct peer *peer, const struct peer_chunk *chunk)
{
    struct ask *a = find(peer, chunk->id);
    if (a == NULL)
        return 0;
    if (!a->answered)
        return MB_EINVAL;
    int rc = bulk_write(a->part_fd, chunk, &a->have, a->part_len);
    if (rc == MB_EIO)
        fail(a, MB_EIO, "peer.file", "the answer's body cannot be stored");
    else if (rc == 0 && a->have == a->part_len)
        finish(a, MB_OK, NULL);
    return rc == MB_EINVAL ? rc : 0;
}

void ask_fail_all(struct peer *peer, bool open_only, const char *code)
{
    for (;;) {
        struct ask *a = peer->asks;
        while (a != NULL && open_only && !a->opened)
            a = a->next;
        if (a == NULL)
            return;
        fail(a, MB_EREACH, code, "the peer is gone, or begins anew");
    }
}
