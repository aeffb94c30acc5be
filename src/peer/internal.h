/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of src/peer share. */
#ifndef MB_PEER_INTERNAL_H
#define MB_PEER_INTERNAL_H

#include "peer/frame.h"
#include "peer/peer.h"
#include "peer/tls.h"

/* One connection, from its first byte on. */
struct stream {
    struct mb_peers *p;
    struct stream *next; /* of p->streams */
    struct peer *peer;   /* dialled: from the start; accepted: since the hello */
    enum mb_peer_channel channel;
    bool dialled;
    bool secure;        /* TLS is through: the other side has a key that we know */
    bool up;            /* and a hello that fits */
    bool dead;          /* closed; freed by the next flush */
    int64_t started_ms; /* the clock of its pings, and of its handshake */
    int64_t last_in_ms;
    int64_t rtt8_ms; /* eight smoothed round trips; a guess until one was measured */
    bool measured;

    int fd;
    struct mb_watch *watch;
    struct mb_timer *timer; /* the handshake's end, then heartbeats */
    struct peer_tls tls;

    uint8_t head_bytes[PEER_HEAD_LEN]; /* of the message being received */
    size_t head_len;
    struct peer_head head;
    struct mb_buf payload;

    struct mb_buf plain; /* messages being gathered for one TLS write */
    struct mb_buf out;   /* TLS records; the first out_at bytes are written */
    size_t out_at;

    bool ping_due, pong_due, ack_due;
    uint64_t pong_nonce;
    struct frame *sending; /* a frame of which sending_at bytes are out, or NULL */
    size_t sending_at;
    struct mb_buf control; /* small messages of bulk that are to go first */
};

/* A consensus frame that is kept until it is acknowledged. */
struct frame {
    struct frame *next;
    unsigned refs; /* the queue, and each stream that is sending it */
    uint64_t number, epoch;
    size_t len;
    uint8_t bytes[];
};

struct dial {
    struct peer *peer;
    enum mb_peer_channel channel;
    struct mb_timer *timer;
    struct mb_socks *socks;
    int64_t backoff_ms;
    unsigned circuit; /* part of the isolation text: another number is another circuit */
};

struct peer {
    struct mb_peers *p;
    struct peer *next;
    struct mb_peer_member member;
    bool removed;                            /* freed by the next flush */
    bool dirty;                              /* something may be there to send */
    struct stream *stream[MB_PEER_CHANNELS]; /* those that are up */
    struct dial dial[MB_PEER_CHANNELS];

    uint64_t session; /* ours */
    bool known;       /* the two below are */
    uint64_t their_incarnation, their_session;

    struct frame *first, *last; /* not acknowledged */
    struct frame *cursor;       /* the next to go out on carrier, NULL: all are out */
    struct stream *carrier;     /* of consensus frames */
    uint64_t last_number;       /* of the last frame queued */
    uint64_t sent_number;       /* the highest that went out, to any life of the peer */
    uint64_t received;          /* the last frame delivered from this life of the peer */
    size_t received_since_ack;  /* bytes */

    struct ask *asks; /* ours, oldest first: the first MB_PEER_ASKS_MAX are open */
    struct mb_peer_reply *served;
    struct stream *bulk;       /* the stream that our asks are attached to */
    struct stream *their_bulk; /* the one that theirs are */
    uint64_t attach, their_attach;
    unsigned turn; /* whose chunk is next */

    struct mb_peer_status status;
    uint64_t ups[MB_PEER_CHANNELS];
};

struct flush; /* see peers.c */
struct mb_peers {
    struct mb_peers_options o;
    char *listen, *temp_dir;
    SSL_CTX *tls;
    int listen_fd;
    struct mb_watch *accept;
    struct mb_timer *accept_again;
    uint64_t epoch;
    struct peer *peers, *gone;
    struct stream *streams;
    struct flush *flush;
    bool changed;
    bool stopping;
    uint64_t refused;
    uint64_t last_ask;
};

/* peers.c */
struct peer *peers_find(const struct mb_peers *p, uint32_t number);
void peers_flush_soon(struct mb_peers *p);
void peer_dirty(struct peer *peer);

/* dial.c */
void dial_init(struct dial *d, struct peer *peer, enum mb_peer_channel channel);
void dial_clear(struct dial *d);
void dial_soon(struct dial *d);    /* after the back-off, which grows */
void dial_reached(struct dial *d); /* the stream is up: start over with the back-off */
void dial_other_circuit(struct dial *d);

/* stream.c */
void stream_new(struct mb_peers *p, int fd, struct dial *dial); /* takes fd; dial NULL: accepted */
/* Close at once and detach; the memory goes with the next flush. why: a word for the log. */
void stream_close(struct stream *s, const char *why);
void stream_free(struct stream *s);
void stream_pump(struct stream *s); /* send what there is to send */

/* session.c: consensus frames, acknowledgements, the lives of a peer. */
int session_hello(struct stream *s, const struct peer_hello *hello); /* MB_EREFUSED, or 0 */
/* Of any message; false: it acknowledges what was never sent. */
bool session_acknowledged(struct peer *peer, uint64_t ack);
int session_frame(struct stream *s, struct mb_bytes payload); /* delivers; 0 or MB_EINVAL */
void session_carrier(struct peer *peer);                      /* streams came or went */
bool session_next(struct stream *s);                          /* adds to s->plain, false: nothing */
void session_forget(struct peer *peer);
void frame_unref(struct frame *f);
/* Append a message's head, which acknowledges what was received up to now. */
void message_head(struct stream *s, struct mb_buf *out, enum peer_type type, size_t len,
                  uint64_t epoch, uint64_t number);

/* bulk.c: the streams of asks, and what both sides of them share. */
int bulk_message(struct stream *s, struct mb_bytes payload); /* 0 or MB_EINVAL */
void bulk_carrier(struct peer *peer);                        /* streams came or went */
bool bulk_next(struct stream *s);                            /* as session_next() */
void bulk_new_life(struct peer *peer);
void bulk_forget(struct peer *peer, const char *code); /* our asks fail with code */
void bulk_head(struct stream *s, struct mb_buf *out, enum peer_type type, size_t len);
int bulk_temp(const struct mb_peers *p); /* a file without a name, or -1 */
bool bulk_file_holds(int fd, uint64_t offset, uint64_t len);
/* Append a message with the next chunk of the len bytes from file_offset on of fd, of which *sent
 * are out; false: it cannot be read. */
bool bulk_chunk(struct stream *s, enum peer_type type, uint64_t id, int fd, uint64_t file_offset,
                uint64_t len, uint64_t *sent);
/* 0, MB_EINVAL if the chunk does not fit, MB_EIO if it cannot be written; *have grows. */
int bulk_write(int fd, const struct peer_chunk *chunk, uint64_t *have, uint64_t len);

/* ask.c: our side of an ask. */
bool ask_next(struct stream *s, unsigned index); /* of the index-th open ask */
unsigned ask_open_count(const struct peer *peer);
void ask_attach(struct peer *peer); /* to peer->bulk */
int ask_at(struct peer *peer, uint64_t id, uint64_t offset);
int ask_answer(struct peer *peer, const struct peer_answer *answer);
int ask_part(struct peer *peer, const struct peer_chunk *chunk);
void ask_fail_all(struct peer *peer, bool open_only, const char *code);

/* serve.c: the other side. */
bool serve_next(struct stream *s, unsigned index);
unsigned serve_count(const struct peer *peer);
void serve_resume(struct peer *peer, const struct peer_resume *resume);
int serve_open(struct peer *peer, const struct peer_open *open);
int serve_body(struct peer *peer, const struct peer_chunk *chunk);
void serve_close(struct peer *peer, uint64_t id);
void serve_forget_all(struct peer *peer, bool peer_gone);

#endif
