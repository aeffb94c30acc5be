/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "../support/peers.h"
#include "peer/tls.h"

#define WAIT_MS 20000

static bool pair_up(struct world *w)
{
    return world_up(w, 1, 2);
}
static bool all_up(struct world *w)
{
    return world_up(w, 1, 2) && world_up(w, 1, 3) && world_up(w, 2, 3);
}
static bool pair_silent(struct world *w)
{
    struct mb_peer_status s, t;
    return mb_peers_status(w->ends[1].peers, 2, &s) && mb_peers_status(w->ends[2].peers, 1, &t) &&
           s.queue_frames == 0 && t.queue_frames == 0;
}
static bool all_silent(struct world *w)
{
    struct mb_peer_status s;
    for (uint32_t a = 1; a <= 3; a++)
        for (uint32_t b = 1; b <= 3; b++)
            if (a != b && (!mb_peers_status(w->ends[a].peers, b, &s) || s.queue_frames != 0))
                return false;
    return true;
}
static struct mb_peer_status status_of(struct world *w, unsigned n, uint32_t of)
{
    struct mb_peer_status s;
    assert_true(mb_peers_status(w->ends[n].peers, of, &s));
    return s;
}
static void start_pair(struct world *w)
{
    world_start(w, 1, 1, 2);
    world_start(w, 2, 1, 2);
    assert_true(world_until(w, pair_up, WAIT_MS));
}

static void frames_arrive_in_order(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    for (unsigned n = 1; n <= 3; n++)
        world_start(&w, n, 1, 3);
    assert_true(world_until(&w, all_up, WAIT_MS));
    for (uint64_t i = 1; i <= 1000; i++)
        for (unsigned a = 1; a <= 3; a++)
            for (unsigned b = 1; b <= 3; b++)
                if (a != b)
                    end_send(&w.ends[a], b, i, 8 + i % 700);
    assert_true(world_until(&w, all_silent, WAIT_MS));
    for (unsigned a = 1; a <= 3; a++) {
        assert_int_equal(w.ends[a].wrong, 0);
        assert_int_equal(w.ends[a].epoch, 7);
        assert_true(w.ends[a].changes > 0);
        for (unsigned b = 1; b <= 3; b++)
            assert_int_equal(w.ends[a].count[b], a == b ? 0 : 1000);
    }
    struct mb_peer_status s = status_of(&w, 1, 2);
    assert_true(s.rtt_ms >= 0 && s.rtt_ms < 1000);
    assert_true(s.bytes_in > 300000 && s.bytes_out > 300000 && s.last_contact_ms > 0);
    assert_int_equal(s.reconnects + s.dropped, 0);
    world_clear(&w);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.queue_bytes = 32 << 20;
    start_pair(&w);
    uint8_t *large = mb_calloc(1, MB_PEER_FRAME_MAX + 1);
    struct mb_peers *p = w.ends[1].peers;
    assert_int_equal(mb_peers_send(p, 2, mb_bytes(large, MB_PEER_FRAME_MAX + 1)), MB_ELIMIT);
    assert_int_equal(mb_peers_send(p, 2, mb_bytes(large, 0)), MB_ELIMIT);
    assert_int_equal(mb_peers_send(p, 1, mb_bytes(large, 1)), MB_ENOENT);
    assert_int_equal(mb_peers_send(p, 9, mb_bytes(large, 1)), MB_ENOENT);
    free(large);
    end_send(&w.ends[1], 2, 1, 8);
    end_send(&w.ends[1], 2, 2, MB_PEER_FRAME_MAX);
    end_send(&w.ends[1], 2, 3, 8);
    assert_true(world_until(&w, pair_silent, WAIT_MS));
    assert_int_equal(w.ends[2].wrong, 0);
    assert_int_equal(w.ends[2].count[1], 3);
    world_clear(&w);
}

static void cut_streams_lose_nothing(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.relayed = true;
    world_start(&w, 1, 1, 2);
    world_start(&w, 2, 1, 2);
    struct relay *r = w.relays[2];
    for (int c = 0; c < MB_PEER_CHANNELS; c++) {
        r[c].cut_min = 6000;
        r[c].cut_max = 60000;
        r[c].left = 20000;
    }
    uint64_t sent = 0;
    int64_t end_ms = mb_now_ms() + 60000;
    while (r[0].cuts + r[1].cuts < 100 && mb_now_ms() < end_ms) {
        struct mb_peer_status s = status_of(&w, 1, 2), t = status_of(&w, 2, 1);
        if (s.queue_bytes + t.queue_bytes < 300000) {
            sent++;
            end_send(&w.ends[1], 2, sent, 8 + sent * 131 % 9000);
            end_send(&w.ends[2], 1, sent, 8 + sent * 137 % 9000);
        }
        mb_loop_once(w.loop, s.queue_bytes + t.queue_bytes < 300000 ? 0 : 5);
    }
    assert_true(r[0].cuts + r[1].cuts >= 100);
    for (int c = 0; c < MB_PEER_CHANNELS; c++) {
        r[c].cut_max = 0;
        r[c].left = SIZE_MAX;
    }
    assert_true(world_until(&w, pair_silent, WAIT_MS));
    assert_int_equal(w.ends[1].wrong + w.ends[2].wrong, 0);
    assert_int_equal(w.ends[1].count[2], sent);
    assert_int_equal(w.ends[2].count[1], sent);
    assert_int_equal(status_of(&w, 1, 2).dropped, 0);
    assert_true(status_of(&w, 1, 2).reconnects > 50);
    world_clear(&w);
}

static bool got_hundred(struct world *w)
{
    return w->ends[2].count[1] == 100 && w->ends[1].count[2] == 100;
}
static bool either_up(struct world *w)
{
    struct mb_peer_status s, t;
    return mb_peers_status(w->ends[1].peers, 2, &s) && mb_peers_status(w->ends[2].peers, 1, &t) &&
           s.up[0] + s.up[1] == 1 && t.up[0] + t.up[1] == 1;
}

static void either_stream_carries_consensus(void **state)
{
    (void)state;
    for (int gone = 0; gone < MB_PEER_CHANNELS; gone++) {
        struct world w;
        world_init(&w);
        w.relayed = true;
        start_pair(&w);
        w.relays[2][gone].shut = true;
        relay_cut(&w.relays[2][gone]);
        assert_true(world_until(&w, either_up, WAIT_MS));
        assert_false(status_of(&w, 1, 2).up[gone]);
        for (uint64_t i = 1; i <= 100; i++) {
            end_send(&w.ends[1], 2, i, 1000);
            end_send(&w.ends[2], 1, i, 1000);
        }
        assert_true(world_until(&w, got_hundred, WAIT_MS));
        assert_int_equal(w.ends[1].wrong + w.ends[2].wrong, 0);
        world_clear(&w);
    }
}

static bool both_down(struct world *w)
{
    struct mb_peer_status s = status_of(w, 1, 2), t = status_of(w, 2, 1);
    return !s.up[0] && !t.up[0];
}

static void silence_is_found(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.relayed = true;
    w.heartbeat_ms = 100;
    start_pair(&w);
    world_run(&w, 500);
    assert_true(pair_up(&w)); /* idle is not silent */
    relay_freeze(&w.relays[2][0], true);
    int64_t from_ms = mb_now_ms();
    assert_true(world_until(&w, both_down, WAIT_MS));
    assert_true(mb_now_ms() - from_ms >= 300 && mb_now_ms() - from_ms < 5000);
    relay_freeze(&w.relays[2][0], false);
    assert_true(world_until(&w, pair_up, WAIT_MS));
    world_clear(&w);
}

static void a_full_queue_drops_the_oldest(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.queue_bytes = 100000;
    world_start(&w, 1, 1, 2);
    for (uint64_t i = 1; i <= 1000; i++)
        end_send(&w.ends[1], 2, i, 1000);
    struct mb_peer_status s = status_of(&w, 1, 2);
    assert_int_equal(s.queue_frames, 100);
    assert_int_equal(s.queue_bytes, 100000);
    assert_int_equal(s.dropped, 900);
    world_start(&w, 2, 1, 2);
    assert_true(world_until(&w, pair_silent, WAIT_MS));
    assert_int_equal(w.ends[2].count[1], 100);
    assert_int_equal(w.ends[2].last[1], 1000);
    assert_int_equal(w.ends[2].wrong, 1); /* the one gap */
    world_clear(&w);
}

static bool caught_up(struct world *w)
{
    return w->ends[2].last[1] == 30;
}

static bool down_at_first(struct world *w)
{
    struct mb_peer_status s = status_of(w, 1, 2);
    return !s.up[0] && !s.up[1];
}

static void a_new_life_gets_what_is_new(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.relayed = true;
    start_pair(&w);
    relay_freeze(&w.relays[2][0], true);
    relay_freeze(&w.relays[2][1], true);
    for (uint64_t i = 1; i <= 20; i++) /* these go out, and never come back acknowledged */
        end_send(&w.ends[1], 2, i, 100);
    world_run(&w, 50);
    world_stop(&w, 2);
    for (int c = 0; c < MB_PEER_CHANNELS; c++) {
        relay_freeze(&w.relays[2][c], false);
        relay_cut(&w.relays[2][c]);
    }
    assert_true(world_until(&w, down_at_first, WAIT_MS));
    for (uint64_t i = 21; i <= 30; i++)
        end_send(&w.ends[1], 2, i, 100);
    assert_int_equal(status_of(&w, 1, 2).queue_frames, 30);
    w.ends[2].last[1] = 20;
    world_start(&w, 2, 2, 2);
    assert_true(world_until(&w, caught_up, WAIT_MS));
    assert_int_equal(w.ends[2].count[1], 10);
    assert_int_equal(w.ends[2].wrong, 0);
    /* An earlier life that wakes up again is refused. */
    world_stop(&w, 2);
    uint64_t refused = mb_peers_refused(w.ends[1].peers);
    world_start(&w, 2, 1, 2);
    world_run(&w, 700);
    assert_false(status_of(&w, 1, 2).up[0]);
    assert_true(mb_peers_refused(w.ends[1].peers) > refused);
    world_clear(&w);
}

static void nobody_up(struct world *w)
{
    world_run(w, 500);
    for (unsigned n = 1; n <= 2; n++) {
        struct mb_peer_status s;
        if (mb_peers_status(w->ends[n].peers, 3 - n, &s))
            assert_false(s.up[0] || s.up[1]);
    }
    assert_true(mb_peers_refused(w->ends[1].peers) + mb_peers_refused(w->ends[2].peers) > 0);
    assert_int_equal(w->ends[1].count[2] + w->ends[2].count[1], 0);
}

static void strangers_are_refused(void **state)
{
    (void)state;
    for (int what = 0; what < 4; what++) {
        struct world w;
        world_init(&w);
        uint8_t seed[32] = {77};
        if (what == 0) /* the dialler has another key */
            mb_secret_key_from_seed(&w.ends[1].key, seed);
        if (what == 1) /* the listener has */
            mb_secret_key_from_seed(&w.ends[2].key, seed);
        world_start(&w, 1, 1, 2);
        if (what == 2)
            w.org = mb_sha256("another", 7);
        if (what == 3) /* a member dials that is known by another number */
            w.members[0].number = 3;
        if (what == 3)
            w.members[2].number = 1;
        world_start(&w, 2, 1, what == 3 ? 3 : 2);
        end_send(&w.ends[1], 2, 1, 100);
        nobody_up(&w);
        world_clear(&w);
    }
}

static bool second_hears_first(struct world *w)
{
    return w->ends[2].count[1] > 0;
}

static void a_removed_member_is_cut_off(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_pair(&w);
    assert_int_equal(mb_peers_set_members(w.ends[2].peers, w.members + 1, 1, 8, NULL), 0);
    assert_int_equal(mb_peers_send(w.ends[2].peers, 1, mb_bytes("x", 1)), MB_ENOENT);
    end_send(&w.ends[1], 2, 1, 100);
    nobody_up(&w);
    assert_int_equal(mb_peers_set_members(w.ends[2].peers, w.members, 2, 9, NULL), 0);
    assert_true(world_until(&w, pair_up, WAIT_MS));
    end_send(&w.ends[1], 2, 2, 100);
    assert_true(world_until(&w, second_hears_first, WAIT_MS));
    world_clear(&w);
}

static void member_sets_are_checked(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_start(&w, 1, 1, 2);
    struct mb_error error = {0};
    struct mb_peer_member twice[2] = {w.members[1], w.members[2]};
    twice[1].number = 2;
    assert_int_equal(mb_peers_set_members(w.ends[1].peers, twice, 2, 1, &error), MB_EINVAL);
    assert_string_equal(error.code, "peer.members");
    twice[1] = w.members[1];
    twice[1].number = 3;
    assert_int_equal(mb_peers_set_members(w.ends[1].peers, twice, 2, 1, NULL), MB_EINVAL);
    twice[1] = w.members[2];
    twice[1].number = 0;
    assert_int_equal(mb_peers_set_members(w.ends[1].peers, twice, 2, 1, NULL), MB_EINVAL);
    struct mb_peer_status s;
    assert_true(mb_peers_status(w.ends[1].peers, 2, &s)); /* nothing was changed */
    world_clear(&w);
}

/* A dialler made by hand: true if its handshake with endpoint 2 goes through. */
static bool dial_by_hand(struct world *w, SSL_CTX *context, bool as_client)
{
    int fd = mb_unix_connect(w->ends[2].path, NULL);
    assert_true(fd >= 0);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    if (as_client)
        SSL_set_connect_state(ssl);
    else
        SSL_set_accept_state(ssl);
    int rc, why;
    do {
        mb_loop_once(w->loop, 1);
        ERR_clear_error();
        rc = SSL_do_handshake(ssl);
        why = SSL_get_error(ssl, rc);
    } while (rc != 1 && why == SSL_ERROR_WANT_READ);
    bool through = rc == 1;
    if (!through)
        assert_null(SSL_get0_peer_certificate(ssl)); /* it has not learnt whom it reached */
    SSL_free(ssl);
    close(fd);
    return through;
}

static int take_any(X509_STORE_CTX *store, void *arg)
{
    (void)store;
    (void)arg;
    return 1;
}

static void other_handshakes_are_refused(void **state)
{
    (void)state;
    static const struct {
        bool member, old, client;
    } cases[] = {
        {true, false, false}, /* as it should be: shows that the others could get through */
        {false, false, false}, {true, true, false}, {true, true, true}, {true, false, true},
    };
    struct world w;
    world_init(&w);
    world_start(&w, 2, 1, 2);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_secret_key stranger;
        uint8_t seed[32] = {78};
        mb_secret_key_from_seed(&stranger, seed);
        SSL_CTX *context;
        assert_int_equal(
            peer_tls_context(&context, cases[i].member ? &w.ends[1].key : &stranger, NULL), 0);
        SSL_CTX_set_cert_verify_callback(context, take_any, NULL);
        if (cases[i].old) {
            SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
            SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
        }
        uint64_t refused = mb_peers_refused(w.ends[2].peers);
        assert_int_equal(dial_by_hand(&w, context, cases[i].client), i == 0);
        world_run(&w, 20);
        if (i > 0)
            assert_int_equal(mb_peers_refused(w.ends[2].peers), refused + 1);
        SSL_CTX_free(context);
    }
    world_clear(&w);
}

static void replayed_bytes_are_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.relayed = true;
    w.relays[2][0].recording = true;
    start_pair(&w);
    for (uint64_t i = 1; i <= 50; i++)
        end_send(&w.ends[1], 2, i, 100);
    assert_true(world_until(&w, pair_silent, WAIT_MS));
    assert_int_equal(w.ends[2].count[1], 50);
    const struct mb_buf *record = &w.relays[2][0].record;
    assert_true(record->len > 5000);
    uint64_t refused = mb_peers_refused(w.ends[2].peers);
    int fd = mb_unix_connect(w.ends[2].path, NULL);
    assert_int_equal(write(fd, record->data, record->len), (ssize_t)record->len);
    world_run(&w, 100);
    close(fd);
    assert_int_equal(mb_peers_refused(w.ends[2].peers), refused + 1);
    assert_int_equal(w.ends[2].count[1], 50);
    assert_true(pair_up(&w));
    world_clear(&w);
}

static void idle_strangers_are_bounded(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    start_pair(&w);
    int fds[200];
    for (size_t i = 0; i < 200; i++) {
        fds[i] = mb_unix_connect(w.ends[2].path, NULL);
        assert_true(fds[i] >= 0);
        mb_loop_once(w.loop, 0);
    }
    world_run(&w, 50);
    assert_true(mb_peers_refused(w.ends[2].peers) >= 200 - 32);
    assert_true(pair_up(&w));
    for (size_t i = 0; i < 200; i++)
        close(fds[i]);
    world_clear(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_arrive_in_order),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(cut_streams_lose_nothing),
        cmocka_unit_test(either_stream_carries_consensus),
        cmocka_unit_test(silence_is_found),
        cmocka_unit_test(a_full_queue_drops_the_oldest),
        cmocka_unit_test(a_new_life_gets_what_is_new),
        cmocka_unit_test(strangers_are_refused),
        cmocka_unit_test(a_removed_member_is_cut_off),
        cmocka_unit_test(member_sets_are_checked),
        cmocka_unit_test(other_handshakes_are_refused),
        cmocka_unit_test(replayed_bytes_are_refused),
        cmocka_unit_test(idle_strangers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
