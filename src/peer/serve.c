/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a peer asks of us. */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peer/internal.h"

#define LATE_MAX                                                                                   \
    64 /* requests that the callee still holds, those that the asker gave up included */

struct mb_peer_reply {
    struct mb_peer_reply *next; /* of peer->served */
    struct peer *peer;          /* NULL: gone */
    uint64_t id, answer_limit;
    uint32_t kind;
    struct mb_buf request;
    int body_fd; /* or -1 */
    uint64_t body_len, have;
    bool given_up; /* by the asker: only the callee's word is waited for */
    bool handed;   /* to the callee */
    bool at_due;

    bool answered, answer_due;
    struct mb_buf answer; /* the payload of PEER_ANSWER */
    int fd;               /* of the answer's body, or -1 */
    uint64_t offset, len, sent;
};

static void reply_free(struct mb_peer_reply *r)
{
    mb_buf_clear(&r->request);
    mb_buf_clear(&r->answer);
    if (r->body_fd >= 0)
        close(r->body_fd);
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}

static void unlink_reply(struct mb_peer_reply *r)
{
    struct mb_peer_reply **at = &r->peer->served;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
}

/* The asker wants no more of it. */
static void give_up(struct mb_peer_reply *r)
{
    r->given_up = true;
    if (r->handed && !r->answered)
        return;
    unlink_reply(r);
    reply_free(r);
}

static struct mb_peer_reply *find(struct peer *peer, uint64_t id)
{
    struct mb_peer_reply *r = peer->served;
    while (r != NULL && (r->id != id || r->given_up))
        r = r->next;
    return r;
}

/* The payload of PEER_ANSWER; a body waits in r->fd. */
static void set_answer(struct mb_peer_reply *r, enum mb_err err, struct mb_bytes bytes)
{
    mb_buf_reset(&r->answer);
    mb_buf_add_u64(&r->answer, r->id);
    mb_buf_add_u8(&r->answer, (uint8_t) - (int)err);
    mb_buf_add_u64(&r->answer, r->len);
    mb_buf_add_bytes(&r->answer, bytes);
    r->answered = r->answer_due = true;
    mb_buf_clear(&r->request);
    if (r->body_fd >= 0)
        close(r->body_fd);
    r->body_fd = -1;
    peer_dirty(r->peer);
}

static struct mb_bytes printing(struct mb_buf *out, const char *text, size_t max)
{
    for (size_t i = 0; text[i] != 0 && i < max; i++)
        mb_buf_add_u8(out, (uint8_t)(text[i] >= 0x20 && text[i] <= 0x7e ? text[i] : '?'));
    return mb_buf_bytes(out);
}

static void refuse(struct mb_peer_reply *r, enum mb_err err, const char *code, const char *text)
{
    struct mb_buf bytes = {0}, c = {0}, t = {0};
    mb_buf_add_string(&bytes, printing(&c, code, MB_ERROR_CODE_MAX - 1));
    mb_buf_add_string(&bytes, printing(&t, text, PEER_REFUSE_MAX));
    if (r->fd >= 0)
        close(r->fd);
    r->fd = -1;
    r->len = r->sent = 0;
    set_answer(r, err, mb_buf_bytes(&bytes));
    mb_buf_clear(&bytes);
    mb_buf_clear(&c);
    mb_buf_clear(&t);
}

/* True if nobody waits for the answer any more; the reply is freed then. */
static bool nobody_waits(struct mb_peer_reply *r)
{
    if (r->peer != NULL && !r->given_up)
        return false;
    if (r->peer != NULL)
        unlink_reply(r);
    reply_free(r);
    return true;
}

void mb_peer_reply_send(struct mb_peer_reply *r, struct mb_bytes answer, int fd, uint64_t offset,
                        uint64_t len)
{
    if (nobody_waits(r))
        return;
    if (answer.len > MB_PEER_REQUEST_MAX || (fd >= 0 && len > r->answer_limit)) {
        refuse(r, MB_ELIMIT, "peer.answer", "the answer is longer than the limit");
        return;
    }
    if (fd >= 0 && len > 0) {
        r->fd = bulk_file_holds(fd, offset, len) ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
        if (r->fd < 0) {
            refuse(r, MB_EIO, "peer.file", "the answer's body cannot be read");
            return;
        }
        r->offset = offset;
        r->len = len;
    }
    set_answer(r, MB_OK, answer);
}

void mb_peer_reply_refuse(struct mb_peer_reply *r, enum mb_err err, const struct mb_error *error)
{
    if (!nobody_waits(r))
        refuse(r, err < MB_OK ? err : MB_EREFUSED, error != NULL ? error->code : "peer.refused",
               error != NULL ? error->text : "");
}

unsigned serve_count(const struct peer *peer)
{
    unsigned count = 0;
    for (const struct mb_peer_reply *r = peer->served; r != NULL; r = r->next)
        count += !r->given_up;
    return count;
}

bool serve_next(struct stream *s, unsigned index)
{
    struct mb_peer_reply *r = s->peer->served;
    for (;; r = r->next)
        if (!r->given_up && index-- == 0)
            break;
    if (r->at_due) {
        r->at_due = false;
        bulk_head(s, &s->plain, PEER_AT, 16);
        mb_buf_add_u64(&s->plain, r->id);
        mb_buf_add_u64(&s->plain, r->have);
        return true;
    }
    if (r->answer_due) {
        r->answer_due = false;
        bulk_head(s, &s->plain, PEER_ANSWER, r->answer.len);
        mb_buf_add_bytes(&s->plain, mb_buf_bytes(&r->answer));
        return true;
    }
    if (!r->answered || r->sent >= r->len)
        return false;
    if (bulk_chunk(s, PEER_PART, r->id, r->fd, r->offset, r->len, &r->sent))
        return true;
    refuse(r, MB_EIO, "peer.file", "the answer's body cannot be read");
    return false;
}

void serve_resume(struct peer *peer, const struct peer_resume *resume)
{
    for (struct mb_peer_reply *r = peer->served, *next; r != NULL; r = next) {
        next = r->next;
        bool open = false;
        for (size_t i = 0; i < resume->count; i++)
            open = open || resume->ids[i] == r->id;
        if (!open && !r->given_up)
            give_up(r);
    }
}

/* After this r may be gone. */
static void hand_over(struct mb_peer_reply *r)
{
    const struct mb_peers *p = r->peer->p;
    r->handed = true;
    p->o.on_ask(p->o.arg, r->peer->member.number, r->kind, mb_buf_bytes(&r->request), r->body_fd,
                r->body_len, r);
}

static int open_again(struct mb_peer_reply *r, const struct peer_open *open)
{
    if (r->answered) {
        if (open->have > r->len)
            return MB_EINVAL;
        r->answer_due = !open->answered;
        r->sent = open->have;
    } else {
        r->at_due = !r->handed;
    }
    peer_dirty(r->peer);
    return 0;
}

static size_t held(const struct peer *peer)
{
    size_t count = 0;
    for (const struct mb_peer_reply *r = peer->served; r != NULL; r = r->next)
        count++;
    return count;
}

int serve_open(struct peer *peer, const struct peer_open *open)
{
    struct mb_peer_reply *r = find(peer, open->id);
    if (r != NULL)
        return open_again(r, open);
    if (serve_count(peer) >= MB_PEER_ASKS_MAX)
        return MB_EINVAL;
    const struct mb_peers *p = peer->p;
    bool busy = held(peer) >= LATE_MAX;
    r = mb_calloc(1, sizeof *r);
    *r = (struct mb_peer_reply){
        .next = peer->served,
        .peer = peer,
        .id = open->id,
        .kind = open->kind,
        .answer_limit = open->answer_limit,
        .body_fd = -1,
        .body_len = open->body_len,
        .fd = -1,
    };
    peer->served = r;
    if (open->answered)
        refuse(r, MB_EREACH, "peer.restarted", "the answer is not known here any more");
    else if (p->o.on_ask == NULL)
        refuse(r, MB_EREFUSED, "peer.refused", "this replica answers no requests");
    else if (busy)
        refuse(r, MB_ELIMIT, "peer.busy", "too many requests are being worked on");
    else if (r->body_len > p->o.body_bytes)
        refuse(r, MB_ELIMIT, "peer.body", "the request's body is longer than the limit");
    else if (r->body_len > 0 && (r->body_fd = bulk_temp(p)) < 0)
        refuse(r, MB_EIO, "peer.file", "no temporary file for the request's body");
    if (r->answered)
        return 0;
    mb_buf_add_bytes(&r->request, open->request);
    if (r->body_len == 0) {
        hand_over(r);
        return 0;
    }
    r->at_due = true;
    peer_dirty(peer);
    return 0;
}

int serve_body(struct peer *peer, const struct peer_chunk *chunk)
{
    struct mb_peer_reply *r = find(peer, chunk->id);
    if (r == NULL || r->handed || r->answered)
        return 0;
    int rc = bulk_write(r->body_fd, chunk, &r->have, r->body_len);
    if (rc == MB_EIO)
        refuse(r, MB_EIO, "peer.file", "the request's body cannot be stored");
    else if (rc == 0 && r->have == r->body_len)
        hand_over(r);
    return rc == MB_EINVAL ? rc : 0;
}

void serve_close(struct peer *peer, uint64_t id)
{
    struct mb_peer_reply *r = find(peer, id);
    if (r != NULL)
        give_up(r);
}

void serve_forget_all(struct peer *peer, bool peer_gone)
{
    for (struct mb_peer_reply *r = peer->served, *next; r != NULL; r = next) {
        next = r->next;
        if (!r->given_up)
            give_up(r);
    }
    if (!peer_gone)
        return;
    for (struct mb_peer_reply *r = peer->served; r != NULL; r = r->next)
        r->peer = NULL;
    peer->served = NULL;
}
