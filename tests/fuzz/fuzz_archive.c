/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bytes of a file of the archive, as they are, and once more with every checksum put right, so
 * that lengths are reached; and of its index and mark.
 */
#include <stdlib.h>
#include <string.h>

#include "wal/archive_file.h"
#include "wal/crc32c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    size_t end;
    uint64_t sum;
};

static bool visit(void *arg, size_t offset, const struct wal_record *r)
{
    struct seen *s = arg;
    if (offset != s->end)
        abort(); /* each begins where the one before it ended */
    s->end = offset + WAL_RECORD_HEADER + r->payload.len;
    for (size_t i = 0; i < r->payload.len; i++)
        s->sum += r->payload.data[i];
    return r->kind != 0xff;
}

static void read_all(const uint8_t *data, size_t size)
{
    struct archive_header h;
    struct archive_mark m;
    struct archive_entry e;
    struct mb_bytes bytes = mb_bytes(data, size);
    struct seen s = {.end = ARCHIVE_HEADER};
    archive_mark_read(&m, bytes);
    for (size_t i = 0; i + ARCHIVE_ENTRY <= size && i < 64 * ARCHIVE_ENTRY; i += ARCHIVE_ENTRY)
        archive_entry_read(&e, i, data + i);
    if (!archive_header_read(&h, bytes))
        return;
    size_t end = archive_scan(bytes, visit, &s);
    if (end > size || end > s.end)
        abort();
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

static void repair(uint8_t *data, size_t size)
{
    struct archive_header h;
    archive_header_read(&h, mb_bytes(data, size));
    archive_header_write(data, &h);
    for (size_t at = ARCHIVE_HEADER; size - at >= WAL_RECORD_HEADER;) {
        size_t len = ((size_t)data[at + 6] << 8 | data[at + 7]) % 1024;
        put32(data + at + 4, (uint32_t)len);
        len += WAL_RECORD_HEADER;
        if (len > size - at)
            break;
        put32(data + at, wal_crc32c(0, data + at + 4, len - 4));
        at += len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_all(data, size);
    if (size < ARCHIVE_HEADER)
        return 0;
    uint8_t *copy = mb_memdup(data, size);
    repair(copy, size);
    read_all(copy, size);
    free(copy);
    return 0;
}
