/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Consensus frames. The stream that carries them gets all that are not acknowledged, from the
 * first, in the order of their numbers; the receiver takes a number higher than the last and drops
 * the others. So whichever streams come and go, nothing is delivered twice or out of order.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "peer/internal.h"

#define PIECE_LEN 16384 /* of a frame, between looks at what else there is */
#define ACK_BYTES 65536 /* received, before we acknowledge without being asked */

void frame_unref(struct frame *f)
{
    if (f != NULL && --f->refs == 0)
        free(f);
}

static void drop_first(struct peer *peer)
{
    struct frame *f = peer->first;
    if (peer->cursor == f)
        peer->cursor = f->next;
    peer->first = f->next;
    if (peer->first == NULL)
        peer->last = NULL;
    peer->status.queue_bytes -= f->len;
    peer->status.queue_frames--;
    frame_unref(f);
}

void session_forget(struct peer *peer)
{
    while (peer->first != NULL)
        drop_first(peer);
}

int mb_peers_send(struct mb_peers *p, uint32_t to, struct mb_bytes bytes)
{
    struct peer *peer = peers_find(p, to);
    if (peer == NULL)
        return MB_ENOENT;
    if (bytes.len == 0 || bytes.len > MB_PEER_FRAME_MAX)
        return MB_ELIMIT;
    struct frame *f = mb_alloc(sizeof *f + bytes.len);
    *f = (struct frame){
        .refs = 1, .number = ++peer->last_number, .epoch = p->epoch, .len = bytes.len};
    memcpy(f->bytes, bytes.data, bytes.len);
    if (peer->last != NULL)
        peer->last->next = f;
    else
        peer->first = f;
    peer->last = f;
    if (peer->cursor == NULL)
        peer->cursor = f;
    peer->status.queue_bytes += f->len;
    peer->status.queue_frames++;
    while (peer->first != f && peer->status.queue_bytes > p->o.queue_bytes) {
        drop_first(peer);
        peer->status.dropped++;
    }
    peer_dirty(peer);
    return 0;
}

bool session_acknowledged(struct peer *peer, uint64_t ack)
{
    if (ack > peer->sent_number)
        return false;
    while (peer->first != NULL && peer->first->number <= ack)
        drop_first(peer);
    return true;
}

/* What went out to an earlier life may have been acted upon there: the new one gets what is new. */
static void new_life(struct peer *peer, const struct peer_hello *hello)
{
    for (int i = 0; i < MB_PEER_CHANNELS; i++)
        if (peer->stream[i] != NULL)
            stream_close(peer->stream[i], "restarted");
    peer->received = 0;
    peer->received_since_ack = 0;
    peer->known = true;
    peer->their_incarnation = hello->incarnation;
    peer->their_session = hello->session;
    while (peer->first != NULL && peer->first->number <= peer->sent_number)
        drop_first(peer);
    bulk_new_life(peer);
}

int session_hello(struct stream *s, const struct peer_hello *hello)
{
    struct peer *peer = s->peer;
    if (peer->known && hello->incarnation < peer->their_incarnation)
        return MB_EREFUSED;
    if (!peer->known || hello->incarnation != peer->their_incarnation ||
        hello->session != peer->their_session)
        new_life(peer, hello);
    if (hello->peer_session == peer->session && !session_acknowledged(peer, s->head.ack))
        return MB_EREFUSED;
    return 0;
}

int session_frame(struct stream *s, struct mb_bytes payload)
{
    struct peer *peer = s->peer;
    if (s->head.number <= peer->received)
        return 0;
    peer->received = s->head.number;
    peer->received_since_ack += payload.len + PEER_HEAD_LEN;
    if (peer->received_since_ack >= ACK_BYTES) {
        s->ack_due = true;
        peer_dirty(peer);
    }
    s->p->o.on_frame(s->p->o.arg, peer->member.number, s->head.epoch, payload);
    return 0;
}

void session_carrier(struct peer *peer)
{
    struct stream *carrier = peer->stream[MB_PEER_CONSENSUS];
    if (carrier == NULL)
        carrier = peer->stream[MB_PEER_BULK];
    if (carrier == peer->carrier)
        return;
    peer->carrier = carrier;
    peer->cursor = peer->first;
    peer_dirty(peer);
}

void message_head(struct stream *s, struct mb_buf *out, enum peer_type type, size_t len,
                  uint64_t epoch, uint64_t number)
{
    struct peer_head head = {.type = type,
                             .len = (uint32_t)len,
                             .epoch = epoch,
                             .number = number,
                             .ack = s->peer->received};
    peer_head_write(out, &head);
    s->ack_due = false;
    s->peer->received_since_ack = 0;
}

static void add_piece(struct stream *s)
{
    struct frame *f = s->sending;
    size_t n = f->len - s->sending_at < PIECE_LEN ? f->len - s->sending_at : PIECE_LEN;
    mb_buf_add(&s->plain, f->bytes + s->sending_at, n);
    s->sending_at += n;
    if (s->sending_at < f->len)
        return;
    s->sending = NULL;
    frame_unref(f);
}

static void begin_frame(struct stream *s)
{
    struct peer *peer = s->peer;
    struct frame *f = peer->cursor;
    peer->cursor = f->next;
    f->refs++;
    s->sending = f;
    s->sending_at = 0;
    if (peer->sent_number < f->number)
        peer->sent_number = f->number;
    message_head(s, &s->plain, PEER_FRAME, f->len, f->epoch, f->number);
    add_piece(s);
}

bool session_next(struct stream *s)
{
    struct peer *peer = s->peer;
    if (s->sending != NULL) {
        add_piece(s);
    } else if (s->pong_due) {
        s->pong_due = false;
        message_head(s, &s->plain, PEER_PONG, 8, s->p->epoch, 0);
        mb_buf_add_u64(&s->plain, s->pong_nonce);
    } else if (s->ping_due) {
        s->ping_due = false;
        message_head(s, &s->plain, PEER_PING, 8, s->p->epoch, 0);
        mb_buf_add_u64(&s->plain, (uint64_t)(mb_now_ms() - s->started_ms));
    } else if (peer->carrier == s && peer->cursor != NULL) {
        begin_frame(s);
    } else if (s->ack_due) {
        message_head(s, &s->plain, PEER_ACK, 0, s->p->epoch, 0);
    } else {
        return false;
    }
    return true;
}
