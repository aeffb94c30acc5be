/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Replica-to-replica streams: mutual TLS 1.3 with pinned replica keys over onion streams, one
 * stream for consensus and one for bulk to each peer (magicbiz design "Consensus", Transport).
 *
 * Of each pair the replica with the lower number dials. Sessions outlive streams: what a stream
 * took with it is sent again on the next one, and delivered once, in order. If one of the two
 * streams is down, the other carries both.
 *
 * Everything is called back on the loop's thread. Callbacks may call every function here but
 * mb_peers_free().
 */
#ifndef MB_PEER_PEER_H
#define MB_PEER_PEER_H

#include "base/encode.h"
#include "base/hash.h"
#include "loop/loop.h"
#include "sign/key.h"
#include "tor/tor.h"

#define MB_PEERS_MAX        32                 /* members of one set, ourselves included */
#define MB_PEER_FRAME_MAX   (16 * 1024 * 1024) /* bytes of a consensus frame */
#define MB_PEER_REQUEST_MAX 65536              /* bytes of a request, or of an answer */
#define MB_PEER_ASKS_MAX                                                                           \
    16 /* asks of one peer served at once; further ones wait with the asker                        \
        */

enum mb_peer_channel {
    MB_PEER_CONSENSUS,
    MB_PEER_BULK,
    MB_PEER_CHANNELS,
};

struct mb_peer_member {
    uint32_t number; /* from 1, never used again */
    struct mb_public_key key;
    char onion[MB_ONION_SIZE]; /* of its peer service, or "" if the caller resolves */
};

struct mb_peers;
struct mb_peer_reply;

struct mb_peers_options {
    struct mb_loop *loop;
    struct mb_hash org;
    uint32_t self;
    uint64_t incarnation;            /* of this life of the process; higher in each later life */
    const struct mb_secret_key *key; /* the replica key; copied */
    const char *listen;              /* path of the Unix socket that the peer onion leads to */
    const char *temp_dir; /* where bodies are received; nothing with a name stays there */

    /* How to reach the others: through this tor (borrowed) at `port` of their onions; or, if
     * resolve is set, by the Unix socket whose path it writes (0, or a negative enum mb_err). */
    struct mb_tor *tor;
    uint16_t port;
    int (*resolve)(void *arg, uint32_t number, enum mb_peer_channel channel, char *path,
                   size_t size);

    int64_t backoff_ms;   /* most between two attempts to dial a peer, at most 10,000; 0: that */
    int64_t heartbeat_ms; /* 0: 1,000. A stream silent for 4 of them + 4 round trips is closed. */
    size_t queue_bytes;   /* unacknowledged frames kept for each peer; 0: 8 MiB */
    uint64_t body_bytes;  /* longest body taken with a request, on disk, MB_PEER_ASKS_MAX at once
                           * of each peer; 0: none is taken */

    /* A consensus frame from a peer, with the epoch that its sender was in. bytes are borrowed. */
    void (*on_frame)(void *arg, uint32_t from, uint64_t epoch, struct mb_bytes bytes);
    /*
     * A request is here, with its body: body_fd is a file without a name, or -1. Both are borrowed
     * until reply is answered, with mb_peer_reply_send() or mb_peer_reply_refuse(), now or later;
     * each reply exactly once, also when the asker is gone by then. NULL: every request is refused.
     */
    void (*on_ask)(void *arg, uint32_t from, uint32_t kind, struct mb_bytes request, int body_fd,
                   uint64_t body_len, struct mb_peer_reply *reply);
    void (*changed)(void *arg); /* a stream came up or went down; may be NULL */
    void *arg;
};

/*
 * Listen; dial once there are members. Options are copied. MB_EINVAL (peer.options), MB_EIO
 * (peer.tls), or what mb_unix_listen() says.
 */
int mb_peers_new(struct mb_peers **out, const struct mb_peers_options *options,
                 struct mb_error *error);
/* Open asks end with MB_EREACH (peer.stopped). Replies not answered yet stay valid, and must still
 * be answered or refused. NULL is fine. */
void mb_peers_free(struct mb_peers *p);

/*
 * Who may speak to us, from now on; ourselves may be among them. A peer whose number or key is no
 * longer there is cut off at once, its queue forgotten and its asks failed (peer.removed); one
 * that stays keeps its streams. epoch is written into every frame sent from now on. MB_EINVAL
 * (peer.members): too many, a number or a key twice, or zero; nothing is changed then.
 */
int mb_peers_set_members(struct mb_peers *p, const struct mb_peer_member *members, size_t count,
                         uint64_t epoch, struct mb_error *error);

/*
 * Queue a consensus frame (copied). It is delivered at most once, in order, to one life of the
 * peer: frames sent to an earlier life are not sent again. Beyond queue_bytes the oldest are
 * dropped, and counted. MB_ENOENT (peer.unknown): no such peer; MB_ELIMIT (peer.frame): longer
 * than MB_PEER_FRAME_MAX, or empty.
 */
int mb_peers_send(struct mb_peers *p, uint32_t to, struct mb_bytes bytes);

/*
 * Ask a peer. body_fd: a file whose first body_len bytes go with the request (duplicated: the
 * caller may close its own; it must not change meanwhile), or -1. done is called once, never from
 * within mb_peers_ask(): with error NULL, the answer (borrowed) and its body, a file without a name
 * of body_len bytes that the callee closes, or -1; or with an error: MB_EREACH peer.timeout,
 * peer.stopped, peer.removed, peer.restarted (the peer's life that knew of it has ended; ask again
 * if that is right); MB_ELIMIT peer.answer (its body is longer than answer_limit bytes); MB_EIO
 * peer.file; or the peer's own refusal, as given there.
 *
 * At most MB_PEER_ASKS_MAX asks of a peer are under way, the others wait. timeout_ms counts from
 * here, the wait included; 0: none. Files are read and written on the loop's thread, a chunk of
 * 64 KiB at a time.
 *
 * The id of the ask (never 0), for mb_peers_ask_cancel(); or 0 with error filled: MB_ENOENT
 * peer.unknown, MB_ELIMIT peer.request, MB_EIO peer.file.
 */
typedef void mb_peer_done(void *arg, struct mb_bytes answer, int body_fd, uint64_t body_len,
                          enum mb_err err, const struct mb_error *error);
uint64_t mb_peers_ask(struct mb_peers *p, uint32_t to, uint32_t kind, struct mb_bytes request,
                      int body_fd, uint64_t body_len, uint64_t answer_limit, int64_t timeout_ms,
                      mb_peer_done *done, void *arg, struct mb_error *error);
void mb_peers_ask_cancel(struct mb_peers *p, uint64_t id); /* done is not called; 0 is fine */

/* Answer, and forget the reply. answer: at most MB_PEER_REQUEST_MAX bytes, else the asker gets
 * peer.answer; fd: a file of which len bytes from offset follow (duplicated), or -1. */
void mb_peer_reply_send(struct mb_peer_reply *reply, struct mb_bytes answer, int fd,
                        uint64_t offset, uint64_t len);
/* Refuse with err and error's code and text (cut at 200 bytes), and forget the reply. */
void mb_peer_reply_refuse(struct mb_peer_reply *reply, enum mb_err err,
                          const struct mb_error *error);

struct mb_peer_status {
    uint32_t number;
    bool up[MB_PEER_CHANNELS];
    int64_t rtt_ms;                   /* smoothed round trip, -1 if not known */
    int64_t last_contact_ms;          /* mb_now_ms() of the last bytes, 0 if there were none */
    uint64_t bytes_in, bytes_out;     /* of TLS records */
    uint64_t reconnects;              /* streams that came up, but the first of each channel */
    size_t queue_bytes, queue_frames; /* not acknowledged */
    uint64_t dropped;                 /* frames beyond queue_bytes */
    unsigned asks;                    /* ours, not done yet */
};
/* False if there is no such peer. */
bool mb_peers_status(const struct mb_peers *p, uint32_t number, struct mb_peer_status *status);
/* Streams closed before they were up, because a key, hello or handshake was not right. */
uint64_t mb_peers_refused(const struct mb_peers *p);

#endif
