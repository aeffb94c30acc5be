/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <string.h>

#include "peer/frame.h"

static const char magic[8] = {'m', 'b', '-', 'p', 'e', 'e', 'r', '\n'};

/* The lengths that a payload of each type may have. */
static const struct {
    uint32_t min, max;
} lengths[PEER_TYPES] = {
    [PEER_HELLO] = {PEER_HELLO_LEN, PEER_HELLO_LEN},
    [PEER_FRAME] = {1, MB_PEER_FRAME_MAX},
    [PEER_PING] = {8, 8},
    [PEER_PONG] = {8, 8},
    [PEER_ACK] = {0, 0},
    [PEER_RESUME] = {8, 8 + 8 * MB_PEER_ASKS_MAX},
    [PEER_OPEN] = {PEER_OPEN_LEN, PEER_OPEN_LEN + MB_PEER_REQUEST_MAX},
    [PEER_BODY] = {17, 16 + PEER_CHUNK_MAX},
    [PEER_AT] = {16, 16},
    [PEER_ANSWER] = {17, 17 + MB_PEER_REQUEST_MAX},
    [PEER_PART] = {17, 16 + PEER_CHUNK_MAX},
    [PEER_CLOSE] = {8, 8},
};

int peer_head_parse(struct peer_head *head, const uint8_t bytes[PEER_HEAD_LEN])
{
    struct mb_cursor c = mb_cursor(mb_bytes(bytes, PEER_HEAD_LEN));
    uint8_t type = mb_cursor_u8(&c);
    *head = (struct peer_head){.type = (enum peer_type)type};
    head->len = mb_cursor_u32(&c);
    head->epoch = mb_cursor_u64(&c);
    head->number = mb_cursor_u64(&c);
    head->ack = mb_cursor_u64(&c);
    if (type == 0 || type >= PEER_TYPES || head->len < lengths[type].min ||
        head->len > lengths[type].max || (head->number != 0) != (type == PEER_FRAME))
        return MB_EINVAL;
    return 0;
}

void peer_head_write(struct mb_buf *out, const struct peer_head *head)
{
    mb_buf_add_u8(out, (uint8_t)head->type);
    mb_buf_add_u32(out, head->len);
    mb_buf_add_u64(out, head->epoch);
    mb_buf_add_u64(out, head->number);
    mb_buf_add_u64(out, head->ack);
}

int peer_hello_parse(struct peer_hello *hello, struct mb_bytes payload)
{
    struct mb_cursor c = mb_cursor(payload);
    struct mb_bytes m = mb_cursor_take(&c, sizeof magic);
    uint16_t version = mb_cursor_u16(&c);
    *hello = (struct peer_hello){.channel = mb_cursor_u8(&c)};
    struct mb_bytes org = mb_cursor_take(&c, sizeof hello->org.b);
    hello->from = mb_cursor_u32(&c);
    hello->to = mb_cursor_u32(&c);
    hello->incarnation = mb_cursor_u64(&c);
    hello->session = mb_cursor_u64(&c);
    hello->peer_session = mb_cursor_u64(&c);
    if (!mb_cursor_done(&c) || !mb_bytes_equal(m, mb_bytes(magic, sizeof magic)) ||
        version != PEER_VERSION || hello->channel >= MB_PEER_CHANNELS || hello->session == 0)
        return MB_EINVAL;
    memcpy(hello->org.b, org.data, sizeof hello->org.b);
    return 0;
}

void peer_hello_write(struct mb_buf *out, const struct peer_hello *hello)
{
    mb_buf_add(out, magic, sizeof magic);
    mb_buf_add_u16(out, PEER_VERSION);
    mb_buf_add_u8(out, hello->channel);
    mb_buf_add(out, hello->org.b, sizeof hello->org.b);
    mb_buf_add_u32(out, hello->from);
    mb_buf_add_u32(out, hello->to);
    mb_buf_add_u64(out, hello->incarnation);
    mb_buf_add_u64(out, hello->session);
    mb_buf_add_u64(out, hello->peer_session);
}

int peer_open_parse(struct peer_open *open, struct mb_bytes payload)
{
    struct mb_cursor c = mb_cursor(payload);
    *open = (struct peer_open){.id = mb_cursor_u64(&c)};
    open->kind = mb_cursor_u32(&c);
    open->body_len = mb_cursor_u64(&c);
    open->answer_limit = mb_cursor_u64(&c);
    open->have = mb_cursor_u64(&c);
    uint8_t answered = mb_cursor_u8(&c);
    open->answered = answered == 1;
    open->request = mb_cursor_take(&c, mb_cursor_left(&c));
    if (!mb_cursor_done(&c) || open->id == 0 || answered > 1 ||
        open->request.len > MB_PEER_REQUEST_MAX || open->body_len > INT64_MAX ||
        (open->have > 0 && !open->answered))
        return MB_EINVAL;
    return 0;
}

void peer_open_write(struct mb_buf *out, const struct peer_open *open)
{
    mb_buf_add_u64(out, open->id);
    mb_buf_add_u32(out, open->kind);
    mb_buf_add_u64(out, open->body_len);
    mb_buf_add_u64(out, open->answer_limit);
    mb_buf_add_u64(out, open->have);
    mb_buf_add_u8(out, open->answered);
    mb_buf_add_bytes(out, open->request);
}

int peer_chunk_parse(struct peer_chunk *chunk, struct mb_bytes payload)
{
    struct mb_cursor c = mb_cursor(payload);
    *chunk = (struct peer_chunk){.id = mb_cursor_u64(&c)};
    chunk->offset = mb_cursor_u64(&c);
    chunk->data = mb_cursor_take(&c, mb_cursor_left(&c));
    if (!mb_cursor_done(&c) || chunk->id == 0 || chunk->data.len == 0 ||
        chunk->data.len > PEER_CHUNK_MAX)
        return MB_EINVAL;
    return 0;
}

static bool is_printing(struct mb_bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x20 || text.data[i] > 0x7e)
            return false;
    return true;
}

int peer_answer_parse(struct peer_answer *answer, struct mb_bytes payload)
{
    struct mb_cursor c = mb_cursor(payload);
    *answer = (struct peer_answer){.id = mb_cursor_u64(&c)};
    answer->err = -mb_cursor_u8(&c);
    answer->body_len = mb_cursor_u64(&c);
    answer->bytes = mb_cursor_take(&c, mb_cursor_left(&c));
    if (!mb_cursor_done(&c) || answer->id == 0 || answer->err < MB_ECORRUPT ||
        answer->bytes.len > MB_PEER_REQUEST_MAX || answer->body_len > INT64_MAX)
        return MB_EINVAL;
    if (answer->err == 0)
        return 0;
    c = mb_cursor(answer->bytes);
    struct mb_bytes code = mb_cursor_string(&c), text = mb_cursor_string(&c);
    if (!mb_cursor_done(&c) || answer->body_len != 0 || code.len >= MB_ERROR_CODE_MAX ||
        text.len > PEER_REFUSE_MAX || !is_printing(code) || !is_printing(text))
        return MB_EINVAL;
    return 0;
}

int peer_resume_parse(struct peer_resume *resume, struct mb_bytes payload)
{
    struct mb_cursor c = mb_cursor(payload);
    *resume = (struct peer_resume){.attach = mb_cursor_u64(&c)};
    if (c.failed || mb_cursor_left(&c) % 8 != 0 || mb_cursor_left(&c) / 8 > MB_PEER_ASKS_MAX)
        return MB_EINVAL;
    while (mb_cursor_left(&c) > 0)
        resume->ids[resume->count++] = mb_cursor_u64(&c);
    return 0;
}

int peer_at_parse(uint64_t *id, uint64_t *offset, struct mb_bytes payload)
{
    struct mb_cursor c = mb_cursor(payload);
    *id = mb_cursor_u64(&c);
    *offset = mb_cursor_u64(&c);
    return mb_cursor_done(&c) ? 0 : MB_EINVAL;
}

int peer_chunk_fit(struct mb_bytes *fresh, const struct peer_chunk *chunk, uint64_t have,
                   uint64_t len)
{
    if (chunk->offset > have || chunk->offset > len || chunk->data.len > len - chunk->offset)
        return MB_EINVAL;
    uint64_t known = have - chunk->offset;
    size_t skip = known < chunk->data.len ? (size_t)known : chunk->data.len;
    *fresh = mb_bytes(chunk->data.data + skip, chunk->data.len - skip);
    return 0;
}
