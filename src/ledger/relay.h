/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What replicas tell each other beside consensus: one byte says what, the rest is in strings of
 * len:4 || bytes. Parsers are pure; what they give is borrowed from the frame. */
#ifndef MB_LEDGER_RELAY_H
#define MB_LEDGER_RELAY_H

#include "ledger/command.h"

enum mb_relay_kind {
    MB_RELAY_PAXOS = 1,     /* a message of the consensus core (paxos/paxos.h) */
    MB_RELAY_FORWARD = 2,   /* text, signature: an envelope for the leader to propose */
    MB_RELAY_REFUSED = 3,   /* id, code, args (canonical JSON): it was refused at the leader's door */
    MB_RELAY_SIGNATURE = 4, /* header, signature: a replica's signature of a checkpoint slot */
};
struct mb_relay {
    enum mb_relay_kind kind;
    struct mb_bytes part[3]; /* PAXOS: the message alone */
};
void mb_relay_encode(struct mb_buf *out, const struct mb_relay *relay);
/* MB_EINVAL, peer.relay. */
int mb_relay_decode(struct mb_relay *relay, struct mb_bytes frame, struct mb_error *error);

#endif
