/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Mutual TLS 1.3 (RFC 8446) with Ed25519 (RFC 8410) and pinned keys, over memory. The side that
 * was dialled is TLS's client: the dialler shows its certificate first, and one whose key is not
 * known learns nothing of the replica it has reached.
 */
#ifndef MB_PEER_TLS_H
#define MB_PEER_TLS_H

#include <openssl/ssl.h>

#include "base/error.h"
#include "sign/key.h"

/* A context for both roles: TLS 1.3 alone, no tickets, no resumption, no early data; a certificate
 * of key that is the same bytes on every machine: no names, serial 1, the widest dates. MB_EIO
 * (peer.tls). */
int peer_tls_context(SSL_CTX **out, const struct mb_secret_key *key, struct mb_error *error);

/* known(arg, key) says whether the other side's key is one that may be there. */
struct peer_tls {
    SSL *ssl;
    struct mb_public_key key; /* of the other side, once known() took it */
    bool (*known)(void *arg, const struct mb_public_key *key);
    void *arg;
};
/* t stays where it is until peer_tls_clear(). */
void peer_tls_init(struct peer_tls *t, SSL_CTX *context, bool dialled,
                   bool (*known)(void *arg, const struct mb_public_key *key), void *arg);
void peer_tls_clear(struct peer_tls *t);

/* Bytes from the network. */
void peer_tls_put(struct peer_tls *t, const void *bytes, size_t len);
/* Go on with the handshake: 1 when it is done, 0 when it waits for bytes, MB_EPROOF or MB_EINVAL
 * when it failed; what TLS would say of the failure is not to be sent. */
int peer_tls_handshake(struct peer_tls *t);
/* Up to len bytes of what was received: their number, 0 when more is to come first, or MB_EINVAL.
 */
int peer_tls_read(struct peer_tls *t, void *out, int len);
int peer_tls_write(struct peer_tls *t, const void *bytes, size_t len); /* 0 or MB_EINVAL */
/* Append what is to go to the network. */
void peer_tls_take(struct peer_tls *t, struct mb_buf *out);

#endif
