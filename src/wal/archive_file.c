/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wal/archive_file.h"

#include <string.h>

#include "wal/crc32c.h"

#define MAGIC "MBARCHIV"

static uint8_t *put(uint8_t *p, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> (8 * (bytes - 1 - i)));
    return p + bytes;
}

void archive_header_write(uint8_t out[ARCHIVE_HEADER], const struct archive_header *h)
{
    memcpy(out, MAGIC, 8);
    put(put(put(out + 12, h->first, 8), h->previous, 8), h->previous_bytes, 8);
    put(out + 8, wal_crc32c(0, out + 12, ARCHIVE_HEADER - 12), 4);
}

bool archive_header_read(struct archive_header *h, struct mb_bytes bytes)
{
    struct mb_cursor c = mb_cursor(bytes);
    bool magic = mb_bytes_equal(mb_cursor_take(&c, 8), mb_bytes_of(MAGIC));
    uint32_t crc = mb_cursor_u32(&c);
    h->first = mb_cursor_u64(&c);
    h->previous = mb_cursor_u64(&c);
    h->previous_bytes = mb_cursor_u64(&c);
    return !c.failed && magic && crc == wal_crc32c(0, bytes.data + 12, ARCHIVE_HEADER - 12);
}

static uint32_t entry_crc(uint64_t slot, const uint8_t in[ARCHIVE_ENTRY])
{
    uint8_t s[8];
    put(s, slot, 8);
    return wal_crc32c(wal_crc32c(0, s, sizeof s), in + 4, ARCHIVE_ENTRY - 4);
}

void archive_entry_write(uint8_t out[ARCHIVE_ENTRY], uint64_t slot, const struct archive_entry *e)
{
    put(put(put(out + 4, e->block, 4), e->checkpoint, 4), e->later, 4);
    put(out, entry_crc(slot, out), 4);
}

bool archive_entry_read(struct archive_entry *e, uint64_t slot, const uint8_t in[ARCHIVE_ENTRY])
{
    struct mb_cursor c = mb_cursor(mb_bytes(in, ARCHIVE_ENTRY));
    uint32_t crc = mb_cursor_u32(&c);
    e->block = mb_cursor_u32(&c);
    e->checkpoint = mb_cursor_u32(&c);
    e->later = mb_cursor_u32(&c);
    return crc == entry_crc(slot, in);
}

void archive_mark_write(uint8_t out[ARCHIVE_MARK], const struct archive_mark *m)
{
    put(put(out + 4, m->first, 8), m->bytes, 8);
    put(out, wal_crc32c(0, out + 4, ARCHIVE_MARK - 4), 4);
}

bool archive_mark_read(struct archive_mark *m, struct mb_bytes bytes)
{
    struct mb_cursor c = mb_cursor(bytes);
    uint32_t crc = mb_cursor_u32(&c);
    m->first = mb_cursor_u64(&c);
    m->bytes = mb_cursor_u64(&c);
    return mb_cursor_done(&c) && crc == wal_crc32c(0, bytes.data + 4, ARCHIVE_MARK - 4);
}

size_t archive_scan(struct mb_bytes file,
                    bool (*visit)(void *arg, size_t offset, const struct wal_record *r), void *arg)
{
    struct mb_cursor c = mb_cursor(file);
    mb_cursor_take(&c, ARCHIVE_HEADER);
    size_t offset = ARCHIVE_HEADER;
    struct wal_record r;
    while (mb_cursor_left(&c) > 0 && wal_record_read(&r, &c) && visit(arg, offset, &r))
        offset = (size_t)(c.p - file.data);
    return offset;
}
