/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "peer/frame.h"

static void heads_are_bounded(void **state)
{
    (void)state;
    static const struct {
        int type;
        uint32_t len;
        uint64_t number;
        int rc;
    } cases[] = {
        {0, 0, 0, MB_EINVAL},
        {PEER_TYPES, 0, 0, MB_EINVAL},
        {255, 0, 0, MB_EINVAL},
        {PEER_HELLO, PEER_HELLO_LEN, 0, 0},
        {PEER_HELLO, PEER_HELLO_LEN - 1, 0, MB_EINVAL},
        {PEER_HELLO, PEER_HELLO_LEN + 1, 0, MB_EINVAL},
        {PEER_HELLO, PEER_HELLO_LEN, 1, MB_EINVAL},
        {PEER_FRAME, 1, 1, 0},
        {PEER_FRAME, 1, 0, MB_EINVAL},
        {PEER_FRAME, 0, 1, MB_EINVAL},
        {PEER_FRAME, MB_PEER_FRAME_MAX, UINT64_MAX, 0},
        {PEER_FRAME, MB_PEER_FRAME_MAX + 1, 1, MB_EINVAL},
        {PEER_FRAME, UINT32_MAX, 1, MB_EINVAL},
        {PEER_PING, 8, 0, 0},
        {PEER_PING, 9, 0, MB_EINVAL},
        {PEER_PONG, 8, 0, 0},
        {PEER_ACK, 0, 0, 0},
        {PEER_ACK, 1, 0, MB_EINVAL},
        {PEER_RESUME, 8, 0, 0},
        {PEER_RESUME, 8 + 8 * MB_PEER_ASKS_MAX, 0, 0},
        {PEER_RESUME, 9 + 8 * MB_PEER_ASKS_MAX, 0, MB_EINVAL},
        {PEER_OPEN, PEER_OPEN_LEN + MB_PEER_REQUEST_MAX, 0, 0},
        {PEER_OPEN, PEER_OPEN_LEN + MB_PEER_REQUEST_MAX + 1, 0, MB_EINVAL},
        {PEER_BODY, 16, 0, MB_EINVAL},
        {PEER_BODY, 16 + PEER_CHUNK_MAX, 0, 0},
        {PEER_BODY, 17 + PEER_CHUNK_MAX, 0, MB_EINVAL},
        {PEER_AT, 16, 0, 0},
        {PEER_ANSWER, 17 + MB_PEER_REQUEST_MAX, 0, 0},
        {PEER_ANSWER, 18 + MB_PEER_REQUEST_MAX, 0, MB_EINVAL},
        {PEER_PART, 17, 0, 0},
        {PEER_CLOSE, 8, 0, 0},
        {PEER_CLOSE, 7, 0, MB_EINVAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer_head in = {(enum peer_type)cases[i].type, cases[i].len, 5, cases[i].number, 9};
        struct peer_head out;
        struct mb_buf b = {0};
        peer_head_write(&b, &in);
        assert_int_equal(b.len, PEER_HEAD_LEN);
        assert_int_equal(peer_head_parse(&out, b.data), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_int_equal(out.type, in.type);
            assert_int_equal(out.len, in.len);
            assert_int_equal(out.epoch, 5);
            assert_int_equal(out.number, in.number);
            assert_int_equal(out.ack, 9);
        }
        mb_buf_clear(&b);
    }
}

static void hellos_are_exact(void **state)
{
    (void)state;
    struct peer_hello in = {
        .channel = 1,
        .org = mb_sha256("org", 3),
        .from = 2,
        .to = 3,
        .incarnation = 4,
        .session = 5,
        .peer_session = 6,
    };
    struct peer_hello out;
    struct mb_buf b = {0};
    peer_hello_write(&b, &in);
    assert_int_equal(b.len, PEER_HELLO_LEN);
    assert_int_equal(peer_hello_parse(&out, mb_buf_bytes(&b)), 0);
    assert_true(out.channel == 1 && out.from == 2 && out.to == 3 && out.incarnation == 4 &&
                out.session == 5 && out.peer_session == 6 && mb_hash_equal(&in.org, &out.org));
    assert_int_equal(peer_hello_parse(&out, mb_bytes(b.data, b.len - 1)), MB_EINVAL);
    for (size_t i = 0; i < 10; i++) { /* magic and version */
        b.data[i] ^= 1;
        assert_int_equal(peer_hello_parse(&out, mb_buf_bytes(&b)), MB_EINVAL);
        b.data[i] ^= 1;
    }
    b.data[10] = MB_PEER_CHANNELS;
    assert_int_equal(peer_hello_parse(&out, mb_buf_bytes(&b)), MB_EINVAL);
    b.data[10] = 0;
    memset(b.data + 59, 0, 8); /* session */
    assert_int_equal(peer_hello_parse(&out, mb_buf_bytes(&b)), MB_EINVAL);
    mb_buf_clear(&b);
}

static void opens_are_bounded(void **state)
{
    (void)state;
    struct peer_open in = {.id = 1,
                           .body_len = INT64_MAX,
                           .answer_limit = UINT64_MAX,
                           .have = 3,
                           .kind = 4,
                           .answered = true,
                           .request = mb_bytes_of("what?")};
    struct peer_open out;
    struct mb_buf b = {0};
    peer_open_write(&b, &in);
    assert_int_equal(b.len, PEER_OPEN_LEN + 5);
    assert_int_equal(peer_open_parse(&out, mb_buf_bytes(&b)), 0);
    assert_true(out.id == 1 && out.body_len == INT64_MAX && out.answer_limit == UINT64_MAX &&
                out.have == 3 && out.kind == 4 && out.answered &&
                mb_bytes_equal(out.request, in.request));
    assert_int_equal(peer_open_parse(&out, mb_bytes(b.data, PEER_OPEN_LEN - 1)), MB_EINVAL);
    b.data[36] = 2;
    assert_int_equal(peer_open_parse(&out, mb_buf_bytes(&b)), MB_EINVAL);
    b.data[36] = 0; /* bytes of a body without the answer */
    assert_int_equal(peer_open_parse(&out, mb_buf_bytes(&b)), MB_EINVAL);
    b.data[36] = 1;
    b.data[12] = 0x80; /* body_len */
    assert_int_equal(peer_open_parse(&out, mb_buf_bytes(&b)), MB_EINVAL);
    b.data[12] = 0;
    memset(b.data, 0, 8); /* id */
    assert_int_equal(peer_open_parse(&out, mb_buf_bytes(&b)), MB_EINVAL);
    mb_buf_clear(&b);
}

static int answer_of(struct peer_answer *out, uint8_t err, uint64_t body_len, const char *code,
                     const char *text)
{
    static struct mb_buf b;
    mb_buf_reset(&b);
    mb_buf_add_u64(&b, 7);
    mb_buf_add_u8(&b, err);
    mb_buf_add_u64(&b, body_len);
    mb_buf_add_string(&b, mb_bytes_of(code));
    mb_buf_add_string(&b, mb_bytes_of(text));
    int rc = peer_answer_parse(out, mb_buf_bytes(&b));
    if (text[0] == '-') /* the last call */
        mb_buf_clear(&b);
    return rc;
}

static void refusals_are_harmless_text(void **state)
{
    (void)state;
    struct peer_answer a;
    char code[MB_ERROR_CODE_MAX + 1], text[PEER_REFUSE_MAX + 2];
    memset(code, 'c', sizeof code);
    memset(text, 't', sizeof text);
    code[MB_ERROR_CODE_MAX - 1] = text[PEER_REFUSE_MAX] = '\0';
    assert_int_equal(answer_of(&a, 3, 0, code, text), 0);
    assert_int_equal(a.err, MB_ENOENT);
    assert_int_equal(a.id, 7);
    assert_int_equal(answer_of(&a, 0, 5, "any", "bytes"), 0);
    assert_int_equal(a.body_len, 5);
    assert_int_equal(answer_of(&a, 3, 1, "c", "t"), MB_EINVAL);
    assert_int_equal(answer_of(&a, 9, 0, "c", "t"), MB_EINVAL);
    assert_int_equal(answer_of(&a, 3, 0, "c\n", "t"), MB_EINVAL);
    assert_int_equal(answer_of(&a, 3, 0, "c", "\x7f"), MB_EINVAL);
    assert_int_equal(answer_of(&a, 0, UINT64_MAX, "c", "t"), MB_EINVAL);
    code[MB_ERROR_CODE_MAX - 1] = 'c';
    code[MB_ERROR_CODE_MAX] = '\0';
    assert_int_equal(answer_of(&a, 3, 0, code, text), MB_EINVAL);
    text[PEER_REFUSE_MAX] = 't';
    text[PEER_REFUSE_MAX + 1] = '\0';
    assert_int_equal(answer_of(&a, 3, 0, "c", text), MB_EINVAL);
    assert_int_equal(answer_of(&a, 3, 0, "c", "-"), 0);
}

static void chunks_fit(void **state)
{
    (void)state;
    static const struct {
        uint64_t offset, have, len;
        size_t size;
        int rc;
        size_t from, fresh;
    } cases[] = {
        {0, 0, 10, 10, 0, 0, 10},
        {5, 5, 10, 5, 0, 0, 5},
        {0, 5, 10, 10, 0, 5, 5},
        {0, 5, 10, 5, 0, 5, 0},
        {2, 9, 10, 3, 0, 3, 0},
        {6, 5, 10, 1, MB_EINVAL, 0, 0},
        {5, 5, 10, 6, MB_EINVAL, 0, 0},
        {11, 11, 10, 1, MB_EINVAL, 0, 0},
        {UINT64_MAX, 5, 10, 1, MB_EINVAL, 0, 0},
    };
    static const uint8_t bytes[16];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer_chunk c = {
            .id = 1, .offset = cases[i].offset, .data = mb_bytes(bytes, cases[i].size)};
        struct mb_bytes fresh = {0};
        assert_int_equal(peer_chunk_fit(&fresh, &c, cases[i].have, cases[i].len), cases[i].rc);
        if (cases[i].rc == 0) {
            assert_ptr_equal(fresh.data, bytes + cases[i].from);
            assert_int_equal(fresh.len, cases[i].fresh);
        }
    }
    struct peer_chunk c;
    uint8_t payload[18] = {0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 'x', 'y'};
    assert_int_equal(peer_chunk_parse(&c, mb_bytes(payload, 18)), 0);
    assert_true(c.id == 1 && c.offset == 2 && c.data.len == 2);
    assert_int_equal(peer_chunk_parse(&c, mb_bytes(payload, 16)), MB_EINVAL);
    assert_int_equal(peer_chunk_parse(&c, mb_bytes(payload, 15)), MB_EINVAL);
    struct peer_resume r;
    assert_int_equal(peer_resume_parse(&r, mb_bytes(payload, 16)), 0);
    assert_true(r.attach == 1 && r.count == 1 && r.ids[0] == 2);
    assert_int_equal(peer_resume_parse(&r, mb_bytes(payload, 17)), MB_EINVAL);
    assert_int_equal(peer_resume_parse(&r, mb_bytes(payload, 7)), MB_EINVAL);
    uint64_t id, offset;
    assert_int_equal(peer_at_parse(&id, &offset, mb_bytes(payload, 16)), 0);
    assert_true(id == 1 && offset == 2);
    assert_int_equal(peer_at_parse(&id, &offset, mb_bytes(payload, 17)), MB_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_bounded), cmocka_unit_test(hellos_are_exact),
        cmocka_unit_test(opens_are_bounded), cmocka_unit_test(refusals_are_harmless_text),
        cmocka_unit_test(chunks_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
