/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes of messages between replicas. Integers are big-endian.
 *
 *   message = kind:1 || forced:1 || ballot || slot:8 || upto:8 || tip:8 || id:8 || sent:8 ||
 *             echo:8 || held:4 || hash:32 || count:4 || item*
 *   ballot  = round:8 || replica:4 || incarnation:8
 *   item    = slot:8 || ballot || len:4 || value
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "paxos/paxos.h"

#define ITEM_LEAST 32 /* bytes of an item with an empty value */

int mb_ballot_compare(const struct mb_ballot *a, const struct mb_ballot *b)
{
    if (a->round != b->round)
        return a->round < b->round ? -1 : 1;
    if (a->replica != b->replica)
        return a->replica < b->replica ? -1 : 1;
    if (a->incarnation != b->incarnation)
        return a->incarnation < b->incarnation ? -1 : 1;
    return 0;
}

static void add_ballot(struct mb_buf *out, const struct mb_ballot *b)
{
    mb_buf_add_u64(out, b->round);
    mb_buf_add_u32(out, b->replica);
    mb_buf_add_u64(out, b->incarnation);
}

static struct mb_ballot take_ballot(struct mb_cursor *c)
{
    struct mb_ballot b;
    b.round = mb_cursor_u64(c);
    b.replica = mb_cursor_u32(c);
    b.incarnation = mb_cursor_u64(c);
    return b;
}

void mb_paxos_encode(const struct mb_paxos_message *m, struct mb_buf *out)
{
    mb_buf_add_u8(out, (uint8_t)m->kind);
    mb_buf_add_u8(out, m->forced);
    add_ballot(out, &m->ballot);
    mb_buf_add_u64(out, m->slot);
    mb_buf_add_u64(out, m->upto);
    mb_buf_add_u64(out, m->tip);
    mb_buf_add_u64(out, m->id);
    mb_buf_add_u64(out, (uint64_t)m->sent_ms);
    mb_buf_add_u64(out, (uint64_t)m->echo_ms);
    mb_buf_add_u32(out, m->held_ms);
    mb_buf_add(out, m->hash.b, sizeof m->hash.b);
    mb_buf_add_u32(out, (uint32_t)m->count);
    for (size_t i = 0; i < m->count; i++) {
        mb_buf_add_u64(out, m->items[i].slot);
        add_ballot(out, &m->items[i].ballot);
        mb_buf_add_string(out, m->items[i].value);
    }
}

static bool items_fit(const struct mb_paxos_message *m)
{
    if (m->kind == MB_PAXOS_ACCEPT)
        return m->count == 1;
    if (m->kind == MB_PAXOS_CHOSEN || m->kind == MB_PAXOS_PROMISE)
        return m->count <= MB_PAXOS_AHEAD_MAX;
    return m->count == 0;
}

int mb_paxos_decode(struct mb_paxos_message *m, struct mb_bytes bytes, struct mb_error *error)
{
    struct mb_cursor c = mb_cursor(bytes);
    *m = (struct mb_paxos_message){0};
    uint8_t kind = mb_cursor_u8(&c), forced = mb_cursor_u8(&c);
    m->kind = (enum mb_paxos_kind)kind;
    m->forced = forced == 1;
    m->ballot = take_ballot(&c);
    m->slot = mb_cursor_u64(&c);
    m->upto = mb_cursor_u64(&c);
    m->tip = mb_cursor_u64(&c);
    m->id = mb_cursor_u64(&c);
    uint64_t sent = mb_cursor_u64(&c), echo = mb_cursor_u64(&c);
    m->held_ms = mb_cursor_u32(&c);
    struct mb_bytes hash = mb_cursor_take(&c, sizeof m->hash.b);
    size_t count = mb_cursor_u32(&c);
    m->count = count;
    bool good = kind >= MB_PAXOS_PREVOTE && kind < MB_PAXOS_KINDS && forced <= 1 &&
                sent <= INT64_MAX && echo <= INT64_MAX && hash.len == sizeof m->hash.b &&
                items_fit(m) && mb_cursor_left(&c) >= count * ITEM_LEAST;
    m->count = 0;
    if (good) {
        memcpy(m->hash.b, hash.data, hash.len);
        m->sent_ms = (int64_t)sent;
        m->echo_ms = (int64_t)echo;
        m->items = mb_calloc(count + 1, sizeof *m->items);
        for (; m->count < count; m->count++) {
            struct mb_paxos_item *item = &m->items[m->count];
            item->slot = mb_cursor_u64(&c);
            item->ballot = take_ballot(&c);
            item->value = mb_cursor_string(&c);
            good = good && item->value.len <= MB_PAXOS_VALUE_MAX;
        }
        good = good && mb_cursor_done(&c);
    }
    if (good)
        return 0;
    mb_paxos_message_clear(m);
    return mb_fail(error, MB_EINVAL, "peer.message", "a message between replicas is malformed");
}

void mb_paxos_message_clear(struct mb_paxos_message *m)
{
    free(m->items);
    *m = (struct mb_paxos_message){0};
}
