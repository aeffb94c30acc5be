/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/relay.h"

static size_t parts_of(uint8_t kind)
{
    static const size_t parts[] = {0, 0, 2, 3, 2};
    return kind < sizeof parts / sizeof *parts ? parts[kind] : 0;
}

void mb_relay_encode(struct mb_buf *out, const struct mb_relay *relay)
{
    mb_buf_add_u8(out, (uint8_t)relay->kind);
    if (relay->kind == MB_RELAY_PAXOS)
        mb_buf_add_bytes(out, relay->part[0]);
    for (size_t i = 0; i < parts_of((uint8_t)relay->kind); i++)
        mb_buf_add_string(out, relay->part[i]);
}

int mb_relay_decode(struct mb_relay *relay, struct mb_bytes frame, struct mb_error *error)
{
    struct mb_cursor c = mb_cursor(frame);
    uint8_t kind = mb_cursor_u8(&c);
    *relay = (struct mb_relay){.kind = (enum mb_relay_kind)kind};
    if (kind == MB_RELAY_PAXOS)
        relay->part[0] = mb_cursor_take(&c, mb_cursor_left(&c));
    for (size_t i = 0; i < parts_of(kind); i++)
        relay->part[i] = mb_cursor_string(&c);
    if ((kind == MB_RELAY_PAXOS || parts_of(kind) > 0) && mb_cursor_done(&c))
        return 0;
    return mb_fail(error, MB_EINVAL, "peer.relay", "a frame between replicas is malformed");
}
