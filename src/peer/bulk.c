/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Asks share a stream in turns, a chunk each. The asker attaches its asks to one stream at a time,
 * by a PEER_RESUME that names them; messages of asks on any other stream are late, and ignored.
 * After it, each ask is opened once more and says how much of the answer is there, and the server
 * says how much of the request is.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "peer/internal.h"

void bulk_head(struct stream *s, struct mb_buf *out, enum peer_type type, size_t len)
{
    message_head(s, out, type, len, s->p->epoch, 0);
}

int bulk_temp(const struct mb_peers *p)
{
    int fd = open(p->temp_dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    char *path = mb_asprintf("%s/body-XXXXXX", p->temp_dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

bool bulk_file_holds(int fd, uint64_t offset, uint64_t len)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && offset <= (uint64_t)st.st_size &&
           len <= (uint64_t)st.st_size - offset;
}

bool bulk_chunk(struct stream *s, enum peer_type type, uint64_t id, int fd, uint64_t file_offset,
                uint64_t len, uint64_t *sent)
{
    size_t n = len - *sent < PEER_CHUNK_MAX ? (size_t)(len - *sent) : PEER_CHUNK_MAX;
    size_t before = s->plain.len;
    bulk_head(s, &s->plain, type, 16 + n);
    mb_buf_add_u64(&s->plain, id);
    mb_buf_add_u64(&s->plain, *sent);
    mb_buf_reserve(&s->plain, n);
    ssize_t got = pread(fd, s->plain.data + s->plain.len, n, (off_t)(file_offset + *sent));
    if (got != (ssize_t)n) { /* a regular file: an error, or it has become shorter */
        s->plain.len = before;
        return false;
    }
    s->plain.len += n;
    *sent += n;
    return true;
}

int bulk_write(int fd, const struct peer_chunk *chunk, uint64_t *have, uint64_t len)
{
    struct mb_bytes fresh;
    if (peer_chunk_fit(&fresh, chunk, *have, len) != 0)
        return MB_EINVAL;
    while (fresh.len > 0) {
        ssize_t n = pwrite(fd, fresh.data, fresh.len, (off_t)*have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return MB_EIO;
        *have += (uint64_t)n;
        fresh = mb_bytes(fresh.data + n, fresh.len - (size_t)n);
    }
    return 0;
}

void bulk_carrier(struct peer *peer)
{
    if (peer->their_bulk != peer->stream[0] && peer->their_bulk != peer->stream[1])
        peer->their_bulk = NULL;
    struct stream *carrier = peer->stream[MB_PEER_BULK];
    if (carrier == NULL)
        carrier = peer->stream[MB_PEER_CONSENSUS];
    if (carrier == peer->bulk)
        return;
    peer->bulk = carrier;
    if (carrier != NULL)
        ask_attach(peer);
}

bool bulk_next(struct stream *s)
{
    struct peer *peer = s->peer;
    if (s->control.len > 0) {
        mb_buf_add_bytes(&s->plain, mb_buf_bytes(&s->control));
        mb_buf_reset(&s->control);
        return true;
    }
    unsigned asks = peer->bulk == s ? ask_open_count(peer) : 0;
    unsigned count = asks + (peer->their_bulk == s ? serve_count(peer) : 0);
    for (unsigned i = 0; i < count; i++) {
        unsigned at = (peer->turn + i) % count;
        if (at < asks ? ask_next(s, at) : serve_next(s, at - asks)) {
            peer->turn = at + 1;
            return true;
        }
    }
    return false;
}

static int from_asker(struct stream *s, struct mb_bytes payload)
{
    struct peer *peer = s->peer;
    struct peer_resume resume;
    struct peer_open open;
    struct peer_chunk chunk;
    struct mb_cursor c = mb_cursor(payload);
    if (s->head.type == PEER_RESUME) {
        if (peer_resume_parse(&resume, payload) != 0)
            return MB_EINVAL;
        if (resume.attach <= peer->their_attach)
            return 0;
        peer->their_attach = resume.attach;
        peer->their_bulk = s;
        serve_resume(peer, &resume);
        return 0;
    }
    if (s != peer->their_bulk)
        return 0;
    switch (s->head.type) {
    case PEER_OPEN:
        return peer_open_parse(&open, payload) == 0 ? serve_open(peer, &open) : MB_EINVAL;
    case PEER_BODY:
        return peer_chunk_parse(&chunk, payload) == 0 ? serve_body(peer, &chunk) : MB_EINVAL;
    default:
        serve_close(peer, mb_cursor_u64(&c));
        return 0;
    }
}

int bulk_message(struct stream *s, struct mb_bytes payload)
{
    struct peer *peer = s->peer;
    struct peer_answer answer;
    struct peer_chunk chunk;
    uint64_t id, offset;
    switch (s->head.type) {
    case PEER_AT:
        if (s != peer->bulk)
            return 0;
        return peer_at_parse(&id, &offset, payload) == 0 ? ask_at(peer, id, offset) : MB_EINVAL;
    case PEER_ANSWER:
        if (s != peer->bulk)
            return 0;
        return peer_answer_parse(&answer, payload) == 0 ? ask_answer(peer, &answer) : MB_EINVAL;
    case PEER_PART:
        if (s != peer->bulk)
            return 0;
        return peer_chunk_parse(&chunk, payload) == 0 ? ask_part(peer, &chunk) : MB_EINVAL;
    default:
        return from_asker(s, payload);
    }
}

void bulk_new_life(struct peer *peer)
{
    peer->their_attach = 0;
    serve_forget_all(peer, false);
    ask_fail_all(peer, true, "peer.restarted");
}

void bulk_forget(struct peer *peer, const char *code)
{
    serve_forget_all(peer, true);
    ask_fail_all(peer, false, code);
}
