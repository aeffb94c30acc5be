/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mb_tor against a control port that follows a script: what a real tor does rarely, or not at all
 * in the version at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tor/internal.h"

#define ID "cmdrvas2fvx3vaku5otjoo4oa3ypomeflhjbmdub75hkbjeci66bfkyd"

static struct mb_loop *loop;
static struct mb_tor *tor;
static char dir[] = "/tmp/mb-tor-XXXXXX", path[64], cookie[64];
static int listener, port;
static struct mb_buf in;

/* Run until the daemon has sent a line, which must begin with expected, and answer it; false if
 * none came. It is left in `line`. */
static char line[1024];
static bool answer(const char *expected, const char *reply)
{
    for (int64_t end = mb_now_ms() + 5000; mb_now_ms() < end;) {
        char *text = mb_buf_text(&in), *stop = strstr(text, "\r\n");
        if (stop != NULL) {
            size_t len = (size_t)(stop - text);
            mb_snprintf(line, sizeof line, "%.*s", (int)len, text);
            mb_buf_consume(&in, len + 2);
            if (strncmp(line, expected, strlen(expected)) != 0)
                fail_msg("got \"%s\" for \"%s\"", line, expected);
            assert_int_equal(send(port, reply, strlen(reply), MSG_NOSIGNAL), strlen(reply));
            return true;
        }
        uint8_t bytes[4096];
        mb_loop_once(loop, 10);
        ssize_t n = recv(port, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0)
            mb_buf_add(&in, bytes, (size_t)n);
    }
    return false;
}

static void say(const char *text)
{
    assert_int_equal(send(port, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Until the condition holds, for at most five seconds. */
#define RUN_UNTIL(condition)                                                                       \
    do {                                                                                           \
        for (int64_t until = mb_now_ms() + 5000; !(condition) && mb_now_ms() < until;)             \
            mb_loop_once(loop, 10);                                                                \
        assert_true(condition);                                                                    \
    } while (0)

static void accept_controller(void)
{
    mb_buf_reset(&in);
    port = -1;
    RUN_UNTIL(port >= 0 || (port = accept(listener, NULL, NULL)) >= 0);
}

/* Through authentication (with a bare cookie, which needs no computation here) to the list of
 * onions, which is left unanswered. */
static void log_in(const char *version)
{
    char *info = mb_asprintf("250-PROTOCOLINFO 1\r\n250-AUTH METHODS=COOKIE COOKIEFILE=\"%s\"\r\n"
                             "250-VERSION Tor=\"%s\"\r\n250 OK\r\n",
                             cookie, version);
    accept_controller();
    assert_true(answer("PROTOCOLINFO 1", info));
    free(info);
    assert_true(answer("AUTHENTICATE 0707", "250 OK\r\n"));
    assert_true(answer("GETCONF HiddenServiceSingleHopMode HiddenServiceNonAnonymousMode",
                       "250-HiddenServiceSingleHopMode=0\r\n"
                       "250 HiddenServiceNonAnonymousMode=0\r\n"));
    assert_true(answer("SETEVENTS ", "250 OK\r\n"));
    assert_true(answer("GETINFO status/bootstrap-phase",
                       "250-status/bootstrap-phase=NOTICE BOOTSTRAP PROGRESS=50 TAG=x SUMMARY=\"y\""
                       "\r\n250 OK\r\n"));
}

static int set_up(unsigned jitter_ms)
{
    loop = mb_loop_new();
    if (mkdtemp(dir) == NULL)
        return -1;
    mb_snprintf(path, sizeof path, "%s/control", dir);
    mb_snprintf(cookie, sizeof cookie, "%s/cookie", dir);
    uint8_t bytes[32];
    memset(bytes, 7, sizeof bytes);
    FILE *f = fopen(cookie, "w");
    if (f == NULL || fwrite(bytes, 1, 32, f) != 32 || fclose(f) != 0)
        return -1;
    listener = mb_unix_listen(path, 0600, NULL);
    struct mb_tor_options o = {
        .mode = MB_TOR_RUNNING, .control = path, .socks = path, .publish_jitter_ms = jitter_ms};
    struct mb_onion_service s = {
        .name = "public", .port = 80, .target = "/run/web", .proof_of_work = true};
    mb_hex_decode(s.key, 64,
                  "68d1d249f7089609358ced2f9f87e740174f8b6c065f918351e1056fb39ffd73"
                  "1fc3354361913dfa79e21f4145a7155b5f591b8585e8828c0ffb8362b686cd88",
                  128);
    return listener < 0 || mb_tor_start(&tor, loop, &o, NULL) != 0 ||
           mb_tor_publish(tor, &s, NULL) != 0;
}

static int setup(void **state)
{
    (void)state;
    return set_up(0);
}

static int teardown(void **state)
{
    (void)state;
    mb_tor_stop(tor);
    close(listener);
    close(port);
    unlink(path);
    unlink(cookie);
    rmdir(dir);
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    mb_buf_clear(&in);
    mb_loop_free(loop);
    return 0;
}

static const char none[] = "250-onions/current=\r\n250-onions/detached=\r\n250 OK\r\n";
static const char there[] = "250-onions/current=" ID "\r\n250-onions/detached=\r\n250 OK\r\n";

static bool published(void)
{
    return mb_tor_status(tor).onions[0].published;
}

static void without_proof_of_work_where_tor_lacks_it(void **state)
{
    (void)state;
    log_in("0.4.8.24");
    assert_true(answer("GETINFO onions/current onions/detached", none));
    assert_true(answer("ADD_ONION ED25519-V3:", "512 Unrecognized keyword argument\r\n"));
    assert_string_equal(strchr(line, ' ') + 1 + strcspn(strchr(line, ' ') + 1, " "),
                        " PoWDefensesEnabled=1 Port=80,unix:/run/web");
    assert_true(answer("ADD_ONION ED25519-V3:", "250 ServiceID=" ID "\r\n"));
    assert_null(strstr(line, "PoW"));
    RUN_UNTIL(published());
    assert_false(mb_tor_status(tor).onions[0].proof_of_work);
    assert_non_null(strstr(mb_tor_status(tor).warning, "TROVE-2026-020"));
}

static void a_detached_one_is_replaced(void **state)
{
    (void)state;
    log_in("0.4.9.14");
    assert_true(answer("GETINFO onions/current onions/detached",
                       "250-onions/current=\r\n250+onions/detached=\r\n" ID "\r\n" ID
                       "\r\n.\r\n250 OK\r\n"));
    assert_true(answer("DEL_ONION " ID, "250 OK\r\n"));
    assert_true(answer("ADD_ONION ED25519-V3:", "250 ServiceID=" ID "\r\n"));
    RUN_UNTIL(published());
    assert_true(mb_tor_status(tor).onions[0].proof_of_work);
    assert_string_equal(mb_tor_status(tor).warning, "");
}

static void a_collision_is_tried_again(void **state)
{
    (void)state;
    log_in("0.4.9.14");
    assert_true(answer("GETINFO onions", none));
    assert_true(answer("ADD_ONION", "550 Onion address collision\r\n"));
    RUN_UNTIL(strcmp(mb_tor_status(tor).error.code, "tor.onion") == 0);
    assert_false(published());
    assert_true(answer("GETINFO onions", none));
    assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
    RUN_UNTIL(published());
}

static void a_withdrawn_one_is_deleted(void **state)
{
    (void)state;
    log_in("0.4.9.14");
    assert_true(answer("GETINFO onions", none));
    assert_true(answer("ADD_ONION", "250-ServiceID=" ID "\r\n250 OK\r\n"));
    RUN_UNTIL(published());
    mb_tor_withdraw(tor, "public");
    assert_true(answer("DEL_ONION " ID, "250 OK\r\n"));
    assert_int_equal(mb_tor_status(tor).onion_count, 0);
}

static void what_was_lost_with_the_connection_is_put_back(void **state)
{
    (void)state;
    log_in("0.4.9.14");
    assert_true(answer("GETINFO onions", none));
    assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
    RUN_UNTIL(published());
    close(port);
    RUN_UNTIL(!published());
    assert_int_equal(mb_tor_status(tor).state, MB_TOR_DOWN);
    assert_string_equal(mb_tor_status(tor).error.code, "tor.closed");
    log_in("0.4.9.14");
    /* what is there without us having added it on this connection is somebody else's */
    assert_true(answer("GETINFO onions", there));
    assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
    RUN_UNTIL(published());
}

/* rend-spec-v3: 52 base32 characters, here of 32 bytes 0x11 and 0x22 */
#define CLIENT_1 "ceirceirceirceirceirceirceirceirceirceirceirceirceiq"
#define CLIENT_2 "eirceirceirceirceirceirceirceirceirceirceirceirceira"
static void a_restricted_one_names_its_clients(void **state)
{
    (void)state;
    log_in("0.4.9.14");
    assert_true(answer("GETINFO onions", none));
    assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
    RUN_UNTIL(published());
    uint8_t keys[MB_TOR_CLIENTS_MAX + 1][32];
    memset(keys, 0x22, sizeof keys);
    memset(keys[1], 0x11, sizeof keys[1]);
    struct mb_onion_service s = {
        .name = "public", .port = 80, .target = "/run/web", .clients = (const void *)keys};
    mb_onion_key_from_seed(s.key, keys[0]);
    s.client_count = MB_TOR_CLIENTS_MAX + 1;
    assert_int_equal(mb_tor_publish(tor, &s, NULL), MB_ELIMIT);
    s.client_count = 2;
    assert_int_equal(mb_tor_publish(tor, &s, NULL), 0);
    assert_true(answer("DEL_ONION " ID, "250 OK\r\n"));
    assert_true(answer("GETINFO onions", none));
    assert_true(answer("ADD_ONION", "250 ServiceID=x\r\n"));
    const char *behind = strchr(strchr(line, ' ') + 1, ' ');
    assert_string_equal(behind, " Flags=V3Auth Port=80,unix:/run/web"
                                " ClientAuthV3=" CLIENT_1 " ClientAuthV3=" CLIENT_2);
    RUN_UNTIL(published());
    memset(keys[0], 0x11, 32); /* the same in another order: nothing is said */
    memset(keys[1], 0x22, 32);
    assert_int_equal(mb_tor_publish(tor, &s, NULL), 0);
    assert_true(published());
    char *uploaded = mb_asprintf("650 HS_DESC UPLOADED %.56s UNKNOWN $x\r\n",
                                 mb_tor_status(tor).onions[0].onion);
    say(uploaded);
    free(uploaded);
    RUN_UNTIL(mb_tor_status(tor).onions[0].reachable);
}

static void keys_for_restricted_ones_are_put_back(void **state)
{
    (void)state;
    uint8_t key[32];
    memset(key, 7, sizeof key);
    assert_int_equal(mb_tor_client_auth(tor, "example.com", key, NULL), MB_EINVAL);
    assert_int_equal(mb_tor_client_auth(tor, ID ".onion", key, NULL), 0);
    for (int i = 0; i < 2; i++) {
        log_in("0.4.9.14");
        assert_true(answer("ONION_CLIENT_AUTH_ADD " ID
                           " x25519:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
                           "250 OK\r\n"));
        assert_true(answer("GETINFO onions", none));
        assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
        RUN_UNTIL(published());
        if (i == 0) {
            close(port);
            RUN_UNTIL(!published());
        }
    }
    key[0] = 8;
    assert_int_equal(mb_tor_client_auth(tor, ID ".onion", key, NULL), 0);
    assert_true(answer("ONION_CLIENT_AUTH_ADD " ID " x25519:CAcH", "251 replaced\r\n"));
    assert_int_equal(mb_tor_client_auth(tor, ID ".onion", NULL, NULL), 0);
    assert_true(answer("ONION_CLIENT_AUTH_REMOVE " ID, "250 OK\r\n"));
}

static void bootstrap_and_clock_are_followed(void **state)
{
    (void)state;
    log_in("0.4.9.14");
    RUN_UNTIL(mb_tor_status(tor).bootstrap_percent == 50);
    assert_int_equal(mb_tor_status(tor).state, MB_TOR_BOOTSTRAP);
    assert_true(answer("GETINFO onions", none));
    assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
    say("650 STATUS_GENERAL WARN CLOCK_SKEW SKEW=-7200 MIN_SKEW=-3600 SOURCE=\"CONSENSUS\"\r\n"
        "650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY=\"Done\"\r\n");
    RUN_UNTIL(mb_tor_status(tor).state == MB_TOR_UP);
    assert_int_equal(mb_tor_status(tor).clock_skew_s, -7200);
    assert_non_null(strstr(mb_tor_status(tor).warning, "7200 s behind"));
    assert_true(answer("GETINFO status/version/current",
                       "250-status/version/current=obsolete\r\n250 OK\r\n"));
    /* a consensus from 2001 while tor is up: our clock is years ahead */
    assert_true(answer("GETINFO consensus/valid-after consensus/valid-until",
                       "250-consensus/valid-after=2001-01-01 00:00:00\r\n"
                       "250-consensus/valid-until=2001-01-01 03:00:00\r\n250 OK\r\n"));
    RUN_UNTIL(mb_tor_status(tor).clock_skew_s > 0);
    assert_true(llabs(mb_tor_status(tor).clock_skew_s - (mb_clock_s() - 978318000)) <= 5);
    assert_non_null(strstr(mb_tor_status(tor).warning, "ahead"));
    assert_non_null(strstr(mb_tor_status(tor).warning, "call it obsolete"));
    say("650 STATUS_CLIENT WARN CIRCUIT_NOT_ESTABLISHED REASON=CLOCK_JUMPED\r\n");
    RUN_UNTIL(mb_tor_status(tor).state == MB_TOR_BOOTSTRAP);
    say("650 STATUS_CLIENT NOTICE CIRCUIT_ESTABLISHED\r\n");
    RUN_UNTIL(mb_tor_status(tor).state == MB_TOR_UP);
}

#define JITTER_MS 400

/* Milliseconds from tor's being up to the first word about onions. */
static int64_t first_publication_after(void)
{
    log_in("0.4.9.14");
    RUN_UNTIL(mb_tor_status(tor).bootstrap_percent == 50);
    for (int64_t until = mb_now_ms() + 20; mb_now_ms() < until;)
        mb_loop_once(loop, 10);
    assert_true(recv(port, line, 1, MSG_DONTWAIT) < 0);
    int64_t up_ms = mb_now_ms();
    say("650 STATUS_CLIENT NOTICE BOOTSTRAP PROGRESS=100 TAG=done SUMMARY=\"Done\"\r\n");
    assert_true(answer("GETINFO status/version/current",
                       "250-status/version/current=recommended\r\n250 OK\r\n"));
    assert_true(
        answer("GETINFO consensus/valid-after consensus/valid-until", "551 Internal error\r\n"));
    assert_true(answer("GETINFO onions", none));
    int64_t after_ms = mb_now_ms() - up_ms;
    assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
    RUN_UNTIL(published());
    return after_ms;
}

static void the_first_publication_alone_is_jittered(void **state)
{
    int64_t least = INT64_MAX, most = 0;
    for (int i = 0; i < 8; i++) {
        assert_int_equal(set_up(JITTER_MS), 0);
        int64_t ms = first_publication_after();
        least = ms < least ? ms : least;
        most = ms > most ? ms : most;
        if (i == 0) { /* what was there is put back before tor is up */
            close(port);
            RUN_UNTIL(!published());
            log_in("0.4.9.14");
            assert_true(answer("GETINFO onions", none));
            assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
            RUN_UNTIL(published());
        }
        teardown(state);
    }
    /* Eight times within a tenth of the range: once in a million runs, and a busy machine spreads
     * them further. */
    assert_true(most - least >= JITTER_MS / 10);
}

static void nonsense_ends_the_connection(void **state)
{
    (void)state;
    static const char *const bad[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "250 nobody asked\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        log_in("0.4.9.14");
        assert_true(answer("GETINFO onions", none));
        assert_true(answer("ADD_ONION", "250 ServiceID=" ID "\r\n"));
        RUN_UNTIL(published());
        say(bad[i]);
        RUN_UNTIL(mb_tor_status(tor).state == MB_TOR_DOWN);
        assert_string_equal(mb_tor_status(tor).error.code, "tor.protocol");
        close(port);
    }
    accept_controller();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_proof_of_work_where_tor_lacks_it, setup, teardown),
        cmocka_unit_test_setup_teardown(a_detached_one_is_replaced, setup, teardown),
        cmocka_unit_test_setup_teardown(a_collision_is_tried_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_withdrawn_one_is_deleted, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_lost_with_the_connection_is_put_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_restricted_one_names_its_clients, setup, teardown),
        cmocka_unit_test_setup_teardown(keys_for_restricted_ones_are_put_back, setup, teardown),
        cmocka_unit_test_setup_teardown(bootstrap_and_clock_are_followed, setup, teardown),
        cmocka_unit_test(the_first_publication_alone_is_jittered),
        cmocka_unit_test_setup_teardown(nonsense_ends_the_connection, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
