/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/peers.h"

#define WAIT_MS 60000

#if defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* What done() said. */
struct outcome {
    unsigned calls;
    enum mb_err err;
    char code[MB_ERROR_CODE_MAX];
    struct mb_buf answer;
    uint64_t body_len;
    struct mb_hash body;
};
static struct outcome outcomes[64];
static unsigned served, held_count, finished;
static struct mb_peer_reply *held[128];

static void hash_file(struct mb_hash *hash, int fd, uint64_t offset, uint64_t len)
{
    static uint8_t bytes[65536];
    struct mb_sha256 *s = mb_sha256_new();
    while (len > 0) {
        size_t n = len < sizeof bytes ? (size_t)len : sizeof bytes;
        assert_int_equal(pread(fd, bytes, n, (off_t)offset), (ssize_t)n);
        mb_sha256_update(s, bytes, n);
        offset += n;
        len -= n;
    }
    *hash = mb_sha256_final_free(s);
}

static int make_file(struct world *w, uint64_t len, struct mb_hash *hash)
{
    char path[128];
    mb_snprintf(path, sizeof path, "%s/file-XXXXXX", w->dir);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    static uint8_t bytes[65536];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 131 >> 3);
    for (uint64_t at = 0; at < len; at += sizeof bytes) {
        size_t n = len - at < sizeof bytes ? (size_t)(len - at) : sizeof bytes;
        memcpy(bytes, &at, sizeof at);
        assert_int_equal(write(fd, bytes, n), (ssize_t)n);
    }
    hash_file(hash, fd, 0, len);
    return fd;
}

static void on_done(void *arg, struct mb_bytes answer, int body_fd, uint64_t body_len,
                    enum mb_err err, const struct mb_error *error)
{
    struct outcome *o = arg;
    o->calls++;
    o->err = err;
    finished++;
    assert_true((err == MB_OK) == (error == NULL));
    if (error != NULL)
        memcpy(o->code, error->code, sizeof o->code);
    mb_buf_reset(&o->answer);
    mb_buf_add_bytes(&o->answer, answer);
    o->body_len = body_len;
    assert_true((body_fd >= 0) == (body_len > 0));
    if (body_fd < 0)
        return;
    hash_file(&o->body, body_fd, 0, body_len);
    close(body_fd);
}

/* kind 1: the request back, then the body's hash, and the body; 2: refuse; 3: hold. */
static void on_ask(void *arg, uint32_t from, uint32_t kind, struct mb_bytes request, int body_fd,
                   uint64_t body_len, struct mb_peer_reply *reply)
{
    (void)arg;
    (void)from;
    served++;
    struct mb_error error = {.code = "test.no", .text = "n\no"};
    if (kind == 2) {
        mb_peer_reply_refuse(reply, MB_EPROOF, &error);
        return;
    }
    if (kind == 3) {
        held[held_count++] = reply;
        return;
    }
    struct mb_buf answer = {0};
    mb_buf_add_bytes(&answer, request);
    if (body_fd >= 0) {
        struct mb_hash hash;
        hash_file(&hash, body_fd, 0, body_len);
        mb_buf_add(&answer, hash.b, sizeof hash.b);
    }
    mb_peer_reply_send(reply, mb_buf_bytes(&answer), body_fd, 0, body_len);
    mb_buf_clear(&answer);
}

static bool pair_up(struct world *w)
{
    return world_up(w, 1, 2);
}
static unsigned expected;
static bool all_finished(struct world *w)
{
    (void)w;
    return finished >= expected;
}
static bool all_held(struct world *w)
{
    (void)w;
    return held_count >= expected;
}

static void start(struct world *w)
{
    served = held_count = finished = 0;
    memset(outcomes, 0, sizeof outcomes);
    world_init(w);
    w->body_bytes = 200 << 20;
    for (unsigned n = 1; n <= 2; n++)
        w->ends[n].on_ask = on_ask;
}
static void begin(struct world *w)
{
    world_start(w, 1, 1, 2);
    world_start(w, 2, 1, 2);
    assert_true(world_until(w, pair_up, WAIT_MS));
}
static void finish(struct world *w)
{
    for (size_t i = 0; i < 64; i++)
        mb_buf_clear(&outcomes[i].answer);
    world_clear(w);
}
static uint64_t ask(struct world *w, unsigned n, uint32_t kind, const char *text, int fd,
                    uint64_t len, struct outcome *o)
{
    return mb_peers_ask(w->ends[n].peers, 3 - n, kind, mb_bytes_of(text), fd, len, 200 << 20, 0,
                        on_done, o, NULL);
}

static void asks_are_answered(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    begin(&w);
    struct mb_hash hash[40];
    for (unsigned i = 0; i < 40; i++) { /* more than may be open at once, both ways */
        char text[32];
        mb_snprintf(text, sizeof text, "ask %u", i);
        int fd = make_file(&w, i * 30011, &hash[i]);
        assert_true(ask(&w, 1 + i % 2, 1, text, fd, i * 30011, &outcomes[i]) != 0);
        close(fd);
    }
    expected = 40;
    assert_true(world_until(&w, all_finished, WAIT_MS));
    assert_int_equal(served, 40);
    for (unsigned i = 0; i < 40; i++) {
        char text[32];
        mb_snprintf(text, sizeof text, "ask %u", i);
        const struct outcome *o = &outcomes[i];
        assert_int_equal(o->calls, 1);
        assert_int_equal(o->err, MB_OK);
        assert_memory_equal(o->answer.data, text, strlen(text));
        assert_int_equal(o->body_len, i * 30011);
        assert_int_equal(o->answer.len, strlen(text) + (i > 0 ? 32 : 0));
        if (i > 0)
            assert_true(mb_hash_equal(&o->body, &hash[i]));
    }
    finish(&w);
}

static void failures_have_names(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    w.body_bytes = 1000;
    begin(&w);
    struct mb_peers *p = w.ends[1].peers;
    struct mb_error error;
    struct mb_hash hash;
    int fd = make_file(&w, 2000, &hash);
    uint8_t *large = mb_calloc(1, MB_PEER_REQUEST_MAX + 1);
    assert_int_equal(mb_peers_ask(p, 2, 1, mb_bytes(large, MB_PEER_REQUEST_MAX + 1), -1, 0, 0, 0,
                                  on_done, NULL, &error),
                     0);
    assert_string_equal(error.code, "peer.request");
    assert_int_equal(mb_peers_ask(p, 3, 1, mb_bytes(large, 1), -1, 0, 0, 0, on_done, NULL, &error),
                     0);
    assert_string_equal(error.code, "peer.unknown");
    assert_int_equal(
        mb_peers_ask(p, 2, 1, mb_bytes(large, 1), fd, 2001, 0, 0, on_done, NULL, &error), 0);
    assert_string_equal(error.code, "peer.file");

    ask(&w, 1, 2, "refuse me", -1, 0, &outcomes[0]);
    ask(&w, 1, 1, "too long a body", fd, 2000, &outcomes[1]);
    mb_peers_ask(p, 2, 1, mb_bytes(large, 1), fd, 500, 499, 0, on_done, &outcomes[2], NULL);
    mb_peers_ask(p, 2, 3, mb_bytes(large, 1), -1, 0, 0, 100, on_done, &outcomes[3], NULL);
    /* The longest that goes; kind 1 answers it with as much. */
    mb_peers_ask(p, 2, 1, mb_bytes(large, MB_PEER_REQUEST_MAX), -1, 0, 0, 0, on_done, &outcomes[4],
                 NULL);
    /* … and with 32 bytes more than that, if there is a body. */
    mb_peers_ask(p, 2, 1, mb_bytes(large, MB_PEER_REQUEST_MAX), fd, 10, 10, 0, on_done,
                 &outcomes[5], NULL);
    uint64_t cancelled = ask(&w, 1, 3, "cancelled", -1, 0, &outcomes[6]);
    expected = 6;
    assert_true(world_until(&w, all_finished, WAIT_MS));
    static const struct {
        enum mb_err err;
        const char *code;
    } want[] = {
        {MB_EPROOF, "test.no"},
        {MB_ELIMIT, "peer.body"},
        {MB_ELIMIT, "peer.answer"},
        {MB_EREACH, "peer.timeout"},
        {MB_OK, ""},
        {MB_ELIMIT, "peer.answer"},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        assert_int_equal(outcomes[i].calls, 1);
        assert_int_equal(outcomes[i].err, want[i].err);
        assert_string_equal(outcomes[i].code, want[i].code);
    }
    assert_int_equal(outcomes[4].answer.len, MB_PEER_REQUEST_MAX);
    expected = 2;
    assert_true(world_until(&w, all_held, WAIT_MS));
    mb_peers_ask_cancel(p, cancelled);
    ask(&w, 1, 3, "never answered", -1, 0, &outcomes[7]);
    expected = 3;
    assert_true(world_until(&w, all_held, WAIT_MS));
    mb_peer_reply_send(held[0], mb_bytes_of("late"), -1, 0, 0);
    mb_peer_reply_refuse(held[1], MB_EREFUSED, NULL);
    world_run(&w, 50);
    assert_int_equal(outcomes[6].calls, 0);
    world_stop(&w, 1);
    assert_string_equal(outcomes[7].code, "peer.stopped");
    world_stop(&w, 2);
    mb_peer_reply_send(held[2], mb_bytes_of("too late"), -1, 0, 0);
    close(fd);
    free(large);
    finish(&w);
}

static void a_peer_that_restarts_fails_what_it_knew_of(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    begin(&w);
    ask(&w, 1, 3, "held", -1, 0, &outcomes[0]);
    expected = 1;
    assert_true(world_until(&w, all_held, WAIT_MS));
    world_stop(&w, 2);
    mb_peer_reply_refuse(held[0], MB_EREFUSED, NULL);
    world_run(&w, 50);
    ask(&w, 1, 1, "new", -1, 0, &outcomes[1]);
    world_start(&w, 2, 2, 2);
    expected = 2;
    assert_true(world_until(&w, all_finished, WAIT_MS));
    assert_string_equal(outcomes[0].code, "peer.restarted");
    assert_int_equal(outcomes[1].err, MB_OK);
    ask(&w, 1, 3, "removed", -1, 0, &outcomes[2]);
    assert_true(world_until(&w, all_held, WAIT_MS));
    assert_int_equal(mb_peers_set_members(w.ends[1].peers, w.members, 1, 9, NULL), 0);
    assert_string_equal(outcomes[2].code, "peer.removed");
    mb_peer_reply_refuse(held[1], MB_EREFUSED, NULL);
    finish(&w);
}

static long peak_kib(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_maxrss;
}

static void long_bodies_stay_out_of_memory(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    begin(&w);
    struct mb_hash hash;
    int fd = make_file(&w, 100000000, &hash);
    ask(&w, 1, 1, "warm", fd, 1000000, &outcomes[1]);
    expected = 1;
    assert_true(world_until(&w, all_finished, WAIT_MS));
    long before = peak_kib();
    ask(&w, 1, 1, "long", fd, 100000000, &outcomes[0]);
    close(fd);
    expected = 2;
    assert_true(world_until(&w, all_finished, WAIT_MS));
    assert_int_equal(outcomes[0].err, MB_OK);
    assert_true(mb_hash_equal(&outcomes[0].body, &hash));
    if (!SANITIZED) /* which keeps what was freed */
        assert_true(peak_kib() - before < 8 * 1024);
    finish(&w);
}

static void bodies_go_on_after_cuts(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    w.relayed = true;
    begin(&w);
    struct relay *r = w.relays[2];
    struct mb_hash hash[4];
    for (int c = 0; c < MB_PEER_CHANNELS; c++) {
        r[c].cut_min = 200000;
        r[c].cut_max = 900000;
        r[c].left = 500000;
    }
    for (unsigned i = 0; i < 4; i++) {
        int fd = make_file(&w, 3000000 + i, &hash[i]);
        ask(&w, 1 + i % 2, 1, "cut", fd, 3000000 + i, &outcomes[i]);
        close(fd);
    }
    expected = 4;
    assert_true(world_until(&w, all_finished, WAIT_MS));
    /* 24 MB both ways together: had bodies begun anew after each cut, none would have ended. */
    assert_true(r[0].cuts + r[1].cuts >= 20);
    assert_int_equal(served, 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(outcomes[i].err, MB_OK);
        assert_true(mb_hash_equal(&outcomes[i].body, &hash[i]));
    }
    finish(&w);
}

static void either_stream_carries_bulk(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    w.relayed = true;
    w.relays[2][MB_PEER_BULK].shut = true;
    world_start(&w, 1, 1, 2);
    world_start(&w, 2, 1, 2);
    struct mb_hash hash;
    int fd = make_file(&w, 2000000, &hash);
    ask(&w, 2, 1, "on the other stream", fd, 2000000, &outcomes[0]);
    close(fd);
    expected = 1;
    assert_true(world_until(&w, all_finished, WAIT_MS));
    assert_true(mb_hash_equal(&outcomes[0].body, &hash));
    finish(&w);
}

static int64_t slowest_ms;
static void echo_time(struct end *e, uint32_t from, struct mb_bytes bytes)
{
    struct mb_cursor c = mb_cursor(bytes);
    int64_t took_ms = mb_now_ms() - (int64_t)mb_cursor_u64(&c);
    if (took_ms > slowest_ms)
        slowest_ms = took_ms;
    e->count[from]++;
}

static void bulk_does_not_delay_consensus(void **state)
{
    (void)state;
    struct world w;
    start(&w);
    w.ends[2].on_frame = echo_time;
    begin(&w);
    struct mb_hash hash;
    int fd = make_file(&w, 30000000, &hash);
    for (unsigned i = 0; i < 4; i++)
        ask(&w, 1 + i % 2, 1, "bulk", fd, 30000000, &outcomes[i]);
    close(fd);
    slowest_ms = 0;
    unsigned sent = 0;
    for (int64_t next_ms = 0; finished < 4;) {
        if (mb_now_ms() >= next_ms) {
            end_send(&w.ends[1], 2, (uint64_t)mb_now_ms(), 256);
            sent++;
            next_ms = mb_now_ms() + 5;
        }
        mb_loop_once(w.loop, 1);
    }
    world_run(&w, 100);
    assert_true(sent > 10);
    assert_int_equal(w.ends[2].count[1], sent);
    /* 240 MB go by meanwhile, which takes seconds; on_ask() and done() here hash 30 MB at once. */
    print_message("slowest frame %d ms of %u\n", (int)slowest_ms, sent);
    assert_true(slowest_ms < 1000);
    finish(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_are_answered),
        cmocka_unit_test(failures_have_names),
        cmocka_unit_test(a_peer_that_restarts_fails_what_it_knew_of),
        cmocka_unit_test(long_bodies_stay_out_of_memory),
        cmocka_unit_test(bodies_go_on_after_cuts),
        cmocka_unit_test(either_stream_carries_bulk),
        cmocka_unit_test(bulk_does_not_delay_consensus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
