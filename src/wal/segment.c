/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wal/segment.h"

#include <string.h>

#include "wal/crc32c.h"

#define SEGMENT_MAGIC  "MBWALSEG"
#define SEGMENT_HEADER 96u
#define TAIL_MAGIC     "MBWALEND"
#define BATCH_MAGIC    0x4d427762u /* MBwb */

static uint8_t *put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    return p + bytes;
}

static void take_stamp(struct mb_cursor *c, uint8_t stamp[WAL_STAMP])
{
    struct mb_bytes b = mb_cursor_take(c, WAL_STAMP);
    if (!c->failed)
        memcpy(stamp, b.data, WAL_STAMP);
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
    p = put(p, s->bytes, 8);
    p = put(p, s->slot, 8);
    memcpy(p, s->stamp, WAL_STAMP);
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
    s->slot = mb_cursor_u64(&c);
    take_stamp(&c, s->stamp);
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
    p = put(p, b->slot, 8);
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
    b->slot = mb_cursor_u64(&c);
    b->next = mb_cursor_u64(&c);
    take_stamp(&c, b->stamp);
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

void wal_tail_write(uint8_t out[WAL_TAIL], const struct wal_tail *t)
{
    memcpy(out, TAIL_MAGIC, 8);
    uint8_t *p = put(out + 12, t->sequence, 8);
    p = put(p, t->segment, 8);
    p = put(p, t->slot, 8);
    memcpy(p, t->stamp, WAL_STAMP);
    put(out + 8, wal_crc32c(0, out + 12, WAL_TAIL - 12), 4);
}

bool wal_tail_read(struct wal_tail *t, struct mb_bytes bytes)
{
    struct mb_cursor c = mb_cursor(bytes);
    bool magic = mb_bytes_equal(mb_cursor_take(&c, 8), mb_bytes_of(TAIL_MAGIC));
    uint32_t crc = mb_cursor_u32(&c);
    t->sequence = mb_cursor_u64(&c);
    t->segment = mb_cursor_u64(&c);
    t->slot = mb_cursor_u64(&c);
    take_stamp(&c, t->stamp);
    return !c.failed && magic && crc == wal_crc32c(0, bytes.data + 12, WAL_TAIL - 12);
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

/* The first header of a batch of this segment at or behind *at. Batches begin on blocks. */
static bool find_batch(const struct wal_segment *s, struct mb_bytes bytes, uint64_t *at,
                       struct wal_batch *b)
{
    for (; *at < bytes.len; *at += WAL_BLOCK)
        if (wal_batch_read(b, s->salt, from(bytes, *at)))
            return true;
    return false;
}

static void raise_to(uint64_t *slot, uint64_t to)
{
    if (to > *slot)
        *slot = to;
}

void wal_scan_bound(struct wal_scan *scan, uint64_t slot)
{
    raise_to(&scan->slot, slot);
    if (scan->open)
        raise_to(&scan->faulty_to, slot);
    scan->open = false;
}

void wal_scan_stamp(struct wal_scan *scan, uint64_t sequence, const uint8_t stamp[WAL_STAMP])
{
    if (sequence < scan->stamped)
        return;
    scan->stamped = sequence;
    memcpy(scan->stamp, stamp, WAL_STAMP);
}

static void note(struct wal_scan *scan, uint64_t offset, const char *what)
{
    scan->open = true;
    if (scan->what != NULL)
        return;
    scan->what = what;
    scan->bad_offset = offset;
    scan->bad_slot = scan->slot;
}

/* A whole batch, in its place or found again: what it says, and its records. False to stop. */
static bool take(struct wal_scan *scan, const struct wal_batch *b, uint64_t at,
                 struct mb_bytes rest, int (*visit)(void *arg, const struct wal_record *r),
                 void *arg)
{
    wal_scan_bound(scan, b->durable);
    scan->stopped = visit_records(scan, b, rest, visit, arg);
    if (scan->stopped != 0)
        return false;
    scan->marked = b->count == 0 && memcmp(b->stamp, scan->stamp, WAL_STAMP) == 0;
    wal_scan_stamp(scan, b->sequence, b->stamp);
    scan->sequence = b->sequence + 1;
    scan->previous = b->crc;
    scan->offset = at + wal_batch_space(b->bytes);
    scan->next = b->next;
    return true;
}

/* A header that holds over records that do not: it still says how far they went. */
static void take_header(struct wal_scan *scan, const struct wal_batch *b)
{
    wal_scan_bound(scan, b->durable);
    raise_to(&scan->faulty_to, b->slot);
    wal_scan_stamp(scan, b->sequence, b->stamp);
    scan->open = true; /* and the batch itself */
}

enum wal_end wal_segment_scan(struct wal_scan *scan, const struct wal_segment *s,
                              struct mb_bytes bytes,
                              int (*visit)(void *arg, const struct wal_record *r), void *arg)
{
    struct wal_batch b;
    scan->offset = WAL_BLOCK;
    scan->what = NULL;
    scan->torn = 0;
    for (uint64_t at = WAL_BLOCK; find_batch(s, bytes, &at, &b);) {
        struct mb_bytes rest = from(bytes, at);
        size_t bad;
        bool whole = wal_batch_check(&b, rest, &bad);
        bool newer = b.sequence >= scan->sequence;
        if (at != scan->offset) {
            note(scan, scan->offset, "a batch is damaged, and others follow it");
        } else if (b.sequence != scan->sequence || b.previous != scan->previous) {
            note(scan, at, "a batch is not where it was written");
        } else if (!whole) {
            uint64_t behind = at + WAL_BLOCK;
            struct wal_batch other;
            raise_to(&scan->slot, b.durable);
            if (scan->what == NULL && !find_batch(s, bytes, &behind, &other)) {
                scan->torn = wal_batch_space(b.bytes);
                scan->torn_slot = b.slot;
                return WAL_END_TORN;
            }
            note(scan, at + bad, "a record is damaged, and others follow it");
        }
        if (scan->what != NULL && !scan->tolerate)
            return WAL_END_DAMAGED;
        if (whole && newer) {
            if (!take(scan, &b, at, rest, visit, arg))
                return WAL_END_STOPPED;
            if (b.next != 0)
                return WAL_END_NEXT;
            at = scan->offset;
        } else {
            if (newer)
                take_header(scan, &b);
            at += WAL_BLOCK;
        }
    }
    return WAL_END_CLEAN;
}
