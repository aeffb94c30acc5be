/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A snapshot's stream, fed in two pieces: taken or refused, and no half of it is believed. */
#include "config.h"

#include <stdlib.h>

#include "ledger/snapshot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_memory *m = mb_memory_new();
    struct mb_snapshot_reader *r = mb_snapshot_reader_new(mb_memory_backend(m));
    struct mb_hash names[2] = {mb_sha256(data, size / 3),
                               mb_sha256(data + size / 3, size - size / 3)};
    struct mb_snapshot s = {.chunks = names, .chunk_count = 2};
    struct mb_header h = {0};
    uint8_t header[MB_HEADER_MAX];
    mb_buf_add(&s.checkpoint.header, header, mb_header_encode(&h, header));
    if (mb_snapshot_feed(r, mb_bytes(data, size / 3), NULL) == 0 &&
        mb_snapshot_feed(r, mb_bytes(data + size / 3, size - size / 3), NULL) == 0 &&
        mb_snapshot_finish(r, &s, mb_bytes_of("{}"), NULL) == 0)
        abort();
    mb_buf_clear(&s.checkpoint.header);
    mb_snapshot_reader_free(r);
    mb_memory_free(m);
    return 0;
}
