/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wal/segment.h"

#include <string.h>

#include "wal/crc32c.h"

#define SEGMENT_MAGIC  "MBWALSEG"
#define SEGMENT_HEADER 56u
#define BATCH_MAGIC    0x4d427762u /* MBwb */

static uint8_t *put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    return p + bytes;
}

void wal_segment_write(uint8_t *block, const struct wal_segment *s)
{
    memset(block, 0, WAL_BLOCK);
    memcpy(block, SEGMENT_MAGIC, 8);
    uint8_t *p = put(block + 12, s->salt, 8);
    p = put(p, s->sequence, 8);
    p = put(p, s->oldest, 8);
    p = put(p, s->first, 8);
    p = put(p, s->previous, 4);
    put(p, s->bytes, 8);
    put(block + 8, wal_crc32c(0, block + 12, SEGMENT_HEADER - 12), 4);
}

bool wal_segment_read(struct wal_segment *s, struct mb_bytes block)
{
    struct mb_cursor c = mb_cursor(block);
    bool magic = mb_bytes_equal(mb_cursor_take(&c, 8), mb_bytes_of(SEGMENT_MAGIC));
    uint32_t crc = mb_cursor_u32(&c);
    s->salt = mb_cursor_u64(&c);
    s->sequence = mb_cursor_u64(&c);
    s->oldest = mb_cursor_u64(&c);
    s->first = mb_cursor_u64(&c);
    s->previous = mb_cursor_u32(&c);
    s->bytes = mb_cursor_u64(&c);
    return !c.failed && magic && crc == wal_crc32c(0, block.data + 12, SEGMENT_HEADER - 12);
}

void wal_batch_write(uint8_t *block, struct wal_batch *b)
{
    uint8_t *p = put(block, BATCH_MAGIC, 4);
    p = put(p + 4, b->salt, 8);
    p = put(p, b->sequence, 8);
    p = put(p, b->previous, 4);
    p = put(p, b->body, 4);
    p = put(p, b->bytes, 4);
    p = put(p, b->count, 4);
    p = put(p, b->durable, 8);
    p = put(p, b->next, 8);
    memcpy(p, b->stamp, WAL_STAMP);
    b->crc = wal_crc32c(0, block + 8, WAL_BATCH_HEADER - 8);
    put(block + 4, b->crc, 4);
}

bool wal_batch_read(struct wal_batch *b, uint64_t salt, struct mb_bytes bytes)
{
    struct mb_cursor c = mb_cursor(bytes);
    uint32_t magic = mb_cursor_u32(&c);
    b->crc = mb_cursor_u32(&c);
    b->salt = mb_cursor_u64(&c);
    b->sequence = mb_cursor_u64(&c);
    b->previous = mb_cursor_u32(&c);
    b->body = mb_cursor_u32(&c);
    b->bytes = mb_cursor_u32(&c);
    b->count = mb_cursor_u32(&c);
    b->durable = mb_cursor_u64(&c);
    b->next = mb_cursor_u64(&c);
    struct mb_bytes stamp = mb_cursor_take(&c, WAL_STAMP);
    if (!c.failed)
        memcpy(b->stamp, stamp.data, WAL_STAMP);
    return !c.failed && magic == BATCH_MAGIC && b->salt == salt &&
           b->crc == wal_crc32c(0, bytes.data + 8, WAL_BATCH_HEADER - 8) &&
           b->bytes <= mb_cursor_left(&c);
}

uint64_t wal_batch_space(uint32_t record_bytes)
{
    return ((uint64_t)record_bytes + WAL_BATCH_HEADER + WAL_BLOCK - 1) / WAL_BLOCK * WAL_BLOCK;
}

uint32_t wal_record_write(uint8_t out[WAL_RECORD_HEADER], uint8_t kind, uint64_t slot,
                          struct mb_bytes payload)
{
    uint8_t *p = put(out + 4, payload.len, 4);
    *p++ = kind;
    put(p, slot, 8);
    uint32_t crc = wal_crc32c(0, out + 4, WAL_RECORD_HEADER - 4);
    crc = wal_crc32c(crc, payload.data, payload.len);
    put(out, crc, 4);
    return crc;
}

bool wal_record_read(struct wal_record *r, struct mb_cursor *c)
{
    struct mb_cursor try = *c;
    r->crc = mb_cursor_u32(&try);
    const uint8_t *covered = try.p;
    size_t len = mb_cursor_u32(&try);
    r->kind = mb_cursor_u8(&try);
    r->slot = mb_cursor_u64(&try);
    r->payload = mb_cursor_take(&try, len);
    if (try.failed || r->crc != wal_crc32c(0, covered, (size_t)(try.p - covered)))
        return false;
    *c = try;
    return true;
}

uint32_t wal_body_add(uint32_t body, uint32_t record_crc)
{
    uint8_t b[4];
    put(b, record_crc, 4);
    return wal_crc32c(body, b, sizeof b);
}

static struct mb_cursor records_of(const struct wal_batch *b, struct mb_bytes bytes)
{
    return mb_cursor(mb_bytes(bytes.data + WAL_BATCH_HEADER, b->bytes));
}

bool wal_batch_check(const struct wal_batch *b, struct mb_bytes bytes, size_t *bad)
{
    struct mb_cursor c = records_of(b, bytes);
    struct wal_record r;
    uint32_t body = 0, count = 0;
    for (; mb_cursor_left(&c) > 0; count++) {
        if (!wal_record_read(&r, &c)) {
            *bad = (size_t)(c.p - bytes.data);
            return false;
        }
        body = wal_body_add(body, r.crc);
    }
    *bad = 0;
    return body == b->body && count == b->count;
}

/* Give the records of a batch that has been checked to the visitor. */
static int visit_records(struct wal_scan *scan, const struct wal_batch *b, struct mb_bytes bytes,
                         int (*visit)(void *arg, const struct wal_record *r), void *arg)
{
    struct mb_cursor c = records_of(b, bytes);
    struct wal_record r;
    while (mb_cursor_left(&c) > 0 && wal_record_read(&r, &c)) {
        if (r.slot > scan->slot)
            scan->slot = r.slot;
        int rc = visit != NULL ? visit(arg, &r) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static struct mb_bytes from(struct mb_bytes bytes, uint64_t offset)
{
    if (offset > bytes.len)
        offset = bytes.len;
    return mb_bytes(bytes.data + offset, bytes.len - (size_t)offset);
}

/* Is there a batch of this segment behind offset? Batches begin on blocks. */
static bool anything_behind(const struct wal_segment *s, struct mb_bytes bytes, uint64_t offset)
{
    struct wal_batch b;
    for (offset += WAL_BLOCK; offset < bytes.len; offset += WAL_BLOCK)
        if (wal_batch_read(&b, s->salt, from(bytes, offset)))
            return true;
    return false;
}

static enum wal_end damaged(struct wal_scan *scan, uint64_t more, const char *what)
{
    scan->offset += more;
    scan->what = what;
    return WAL_END_DAMAGED;
}

enum wal_end wal_segment_scan(struct wal_scan *scan, const struct wal_segment *s,
                              struct mb_bytes bytes,
                              int (*visit)(void *arg, const struct wal_record *r), void *arg)
{
    for (scan->offset = WAL_BLOCK;;) {
        struct mb_bytes rest = from(bytes, scan->offset);
        struct wal_batch b;
        size_t bad;
        if (!wal_batch_read(&b, s->salt, rest)) {
            if (anything_behind(s, bytes, scan->offset))
                return damaged(scan, 0, "a batch is damaged, and others follow it");
            return WAL_END_CLEAN;
        }
        if (b.sequence != scan->sequence || b.previous != scan->previous)
            return damaged(scan, 0, "a batch is not where it was written");
        if (b.durable > scan->slot)
            scan->slot = b.durable;
        if (!wal_batch_check(&b, rest, &bad)) {
            if (anything_behind(s, bytes, scan->offset))
                return damaged(scan, bad, "a record is damaged, and others follow it");
            scan->torn = wal_batch_space(b.bytes);
            return WAL_END_TORN;
        }
        int rc = visit_records(scan, &b, rest, visit, arg);
        if (rc != 0) {
            scan->stopped = rc;
            return WAL_END_STOPPED;
        }
        scan->sequence++;
        scan->previous = b.crc;
        scan->offset += wal_batch_space(b.bytes);
        scan->marked = b.count == 0 && memcmp(scan->stamp, b.stamp, WAL_STAMP) == 0;
        memcpy(scan->stamp, b.stamp, WAL_STAMP);
        scan->next = b.next;
        if (b.next != 0)
            return WAL_END_NEXT;
    }
}
