/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes of a segment of the log, as they are, and once more with every checksum put right, so
 * that lengths and counts are reached.
 */
#include <stdlib.h>
#include <string.h>

#include "wal/crc32c.h"
#include "wal/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int visit(void *arg, const struct wal_record *r)
{
    uint64_t *sum = arg;
    for (size_t i = 0; i < r->payload.len; i++)
        *sum += r->payload.data[i];
    return 0;
}

static void scan(const uint8_t *data, size_t size)
{
    struct wal_segment s;
    struct wal_tail t;
    uint64_t sum = 0, more = 0;
    wal_tail_read(&t, mb_bytes(data, size));
    if (!wal_segment_read(&s, mb_bytes(data, size)))
        return;
    struct wal_scan at = {.sequence = s.first, .previous = s.previous}, behind = at;
    enum wal_end end = wal_segment_scan(&at, &s, mb_bytes(data, size), visit, &sum);
    if ((end == WAL_END_DAMAGED) != (at.what != NULL) || at.offset < WAL_BLOCK)
        abort();
    behind.tolerate = true;
    enum wal_end other = wal_segment_scan(&behind, &s, mb_bytes(data, size), visit, &more);
    if (other == WAL_END_DAMAGED || behind.what != at.what || more < sum ||
        (end != WAL_END_DAMAGED && end != other))
        abort();
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The records behind a batch's header, then the header. What the batch before it and its place ask
 * for is put right too. */
static void repair_batch(uint8_t *p, size_t room, const struct wal_segment *s, uint64_t sequence,
                         struct wal_batch *b)
{
    struct mb_cursor c = mb_cursor(mb_bytes(p + WAL_BATCH_HEADER, room - WAL_BATCH_HEADER));
    b->salt = s->salt;
    b->sequence = sequence;
    b->bytes = (uint32_t)p[34] << 8 | p[35];
    b->count = b->body = 0;
    b->durable = p[47];
    b->slot = p[55];
    b->next = p[63];
    while (mb_cursor_left(&c) >= WAL_RECORD_HEADER && c.p < p + WAL_BATCH_HEADER + b->bytes) {
        uint8_t *record = p + (c.p - p);
        mb_cursor_u32(&c);
        size_t len = mb_cursor_u32(&c);
        mb_cursor_take(&c, 9);
        mb_cursor_take(&c, len);
        if (c.failed)
            break;
        uint32_t crc = wal_crc32c(0, record + 4, WAL_RECORD_HEADER - 4 + len);
        put32(record, crc);
        b->body = wal_body_add(b->body, crc);
        b->count++;
    }
    wal_batch_write(p, b);
}

static void repair(uint8_t *data, size_t size)
{
    struct wal_segment s;
    wal_segment_read(&s, mb_bytes(data, size));
    wal_segment_write(data, &s);
    uint64_t sequence = s.first;
    struct wal_batch b = {.previous = s.previous};
    for (size_t at = WAL_BLOCK; at + WAL_BLOCK <= size; at += (size_t)wal_batch_space(b.bytes)) {
        repair_batch(data + at, size - at, &s, sequence++, &b);
        b.previous = b.crc;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scan(data, size);
    if (size < WAL_BLOCK)
        return 0;
    uint8_t *copy = mb_memdup(data, size);
    repair(copy, size);
    scan(copy, size);
    free(copy);
    return 0;
}
