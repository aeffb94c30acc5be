/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a head takes, its payload's parser takes or refuses within bounds; what is taken is written
 * back as the same bytes. */
#include "config.h"

#include <stdlib.h>

#include "peer/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(struct mb_buf *written, struct mb_bytes bytes)
{
    if (!mb_bytes_equal(mb_buf_bytes(written), bytes))
        abort();
    mb_buf_clear(written);
}

static void check_chunk(struct mb_bytes payload)
{
    struct peer_chunk c;
    struct mb_bytes fresh;
    if (peer_chunk_parse(&c, payload) != 0)
        return;
    uint64_t have = c.offset / 2 + c.data.data[0], len = c.offset + c.data.data[0];
    if (peer_chunk_fit(&fresh, &c, have, len) == 0 && fresh.len > 0 &&
        (have + fresh.len > len || fresh.data + fresh.len != c.data.data + c.data.len))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct peer_head head;
    struct mb_buf b = {0};
    if (size < PEER_HEAD_LEN || peer_head_parse(&head, data) != 0)
        return 0;
    peer_head_write(&b, &head);
    same(&b, mb_bytes(data, PEER_HEAD_LEN));
    struct mb_bytes payload = mb_bytes(data + PEER_HEAD_LEN, size - PEER_HEAD_LEN);
    struct peer_hello hello;
    struct peer_open open;
    struct peer_answer answer;
    struct peer_resume resume;
    uint64_t id, offset;
    switch (head.type) {
    case PEER_HELLO:
        if (peer_hello_parse(&hello, payload) == 0) {
            peer_hello_write(&b, &hello);
            same(&b, payload);
        }
        break;
    case PEER_OPEN:
        if (peer_open_parse(&open, payload) == 0) {
            peer_open_write(&b, &open);
            same(&b, payload);
        }
        break;
    case PEER_BODY:
    case PEER_PART:
        check_chunk(payload);
        break;
    case PEER_ANSWER:
        if (peer_answer_parse(&answer, payload) == 0 && answer.bytes.len > MB_PEER_REQUEST_MAX)
            abort();
        break;
    case PEER_RESUME:
        if (peer_resume_parse(&resume, payload) == 0 && resume.count > MB_PEER_ASKS_MAX)
            abort();
        break;
    case PEER_AT:
        (void)peer_at_parse(&id, &offset, payload);
        break;
    default:
        break;
    }
    return 0;
}
