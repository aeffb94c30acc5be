/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes inside the TLS stream between two replicas: messages of one head each,
 *
 *   type:1 || len:4 || epoch:8 || number:8 || ack:8 || payload of len bytes
 *
 * epoch is the sender's configuration, number that of a consensus frame (0 in all other messages),
 * ack the number of the last consensus frame that the sender has received in this session. The
 * first message each way is a hello. Pure functions; every length is bounded by its type.
 */
#ifndef MB_PEER_FRAME_H
#define MB_PEER_FRAME_H

#include "peer/peer.h"

#define PEER_HEAD_LEN   29
#define PEER_HELLO_LEN  75
#define PEER_OPEN_LEN   37
#define PEER_CHUNK_MAX  65536
#define PEER_VERSION    1
#define PEER_REFUSE_MAX 200 /* bytes of a refusal's text */

enum peer_type {
    PEER_HELLO = 1, /* struct peer_hello */
    PEER_FRAME,     /* a consensus frame */
    PEER_PING,      /* nonce:8 */
    PEER_PONG,      /* the nonce of the last ping */
    PEER_ACK,       /* nothing: the head's ack is what it is for */
    PEER_RESUME,    /* struct peer_resume: the asks that are open, the others are forgotten */
    PEER_OPEN,      /* struct peer_open */
    PEER_BODY,      /* struct peer_chunk of a request's body */
    PEER_AT,        /* id:8 || offset:8, where the body is to go on */
    PEER_ANSWER,    /* struct peer_answer */
    PEER_PART,      /* struct peer_chunk of an answer's body */
    PEER_CLOSE,     /* id:8: the asker is done with it */
    PEER_TYPES,
};

struct peer_head {
    enum peer_type type;
    uint32_t len;
    uint64_t epoch, number, ack;
};
/* MB_EINVAL: no such type, or a length or number that its type does not have. */
int peer_head_parse(struct peer_head *head, const uint8_t bytes[PEER_HEAD_LEN]);
void peer_head_write(struct mb_buf *out, const struct peer_head *head);

/*
 * magic:8 || version:2 || channel:1 || org:32 || from:4 || to:4 || incarnation:8 || session:8 ||
 * peer_session:8. A session is one life of a pair's numbering on one side; peer_session is the
 * other side's as far as known (0: not), which the head's ack belongs to.
 */
struct peer_hello {
    uint8_t channel;
    struct mb_hash org;
    uint32_t from, to;
    uint64_t incarnation, session, peer_session;
};
/* MB_EINVAL: another magic, version, length, channel, or a session that is zero. */
int peer_hello_parse(struct peer_hello *hello, struct mb_bytes payload);
void peer_hello_write(struct mb_buf *out, const struct peer_hello *hello);

/* id:8 || kind:4 || body_len:8 || answer_limit:8 || have:8 || answered:1 || request. have: bytes of
 * the answer's body that the asker has; answered: it has the answer itself. */
struct peer_open {
    uint64_t id, body_len, answer_limit, have;
    uint32_t kind;
    bool answered;
    struct mb_bytes request; /* borrowed */
};
int peer_open_parse(struct peer_open *open, struct mb_bytes payload);
void peer_open_write(struct mb_buf *out, const struct peer_open *open);

/* id:8 || offset:8 || 1 to PEER_CHUNK_MAX bytes */
struct peer_chunk {
    uint64_t id, offset;
    struct mb_bytes data; /* borrowed */
};
int peer_chunk_parse(struct peer_chunk *chunk, struct mb_bytes payload);

/* id:8 || err:1 || body_len:8 || bytes. err 0: bytes are the answer; else the negative of an enum
 * mb_err, and bytes are string code || string text (RFC 4251), printing ASCII. */
struct peer_answer {
    uint64_t id, body_len;
    int err;
    struct mb_bytes bytes; /* borrowed */
};
int peer_answer_parse(struct peer_answer *answer, struct mb_bytes payload);

/* attach:8 || id:8 of each open ask. It is the first message of bulk on a stream that is to carry
 * the sender's asks from now on; a higher attach number overrules a lower one. */
struct peer_resume {
    uint64_t attach, ids[MB_PEER_ASKS_MAX];
    size_t count;
};
int peer_resume_parse(struct peer_resume *resume, struct mb_bytes payload);

/* id:8 || offset:8 */
int peer_at_parse(uint64_t *id, uint64_t *offset, struct mb_bytes payload);

/* For a body of which have bytes are here: what of a chunk is new (maybe nothing). MB_EINVAL if
 * it leaves a gap, or ends after len. */
int peer_chunk_fit(struct mb_bytes *fresh, const struct peer_chunk *chunk, uint64_t have,
                   uint64_t len);

#endif
