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

#include "tor/internal.h"

#define ONION "cmdrvas2fvx3vaku5otjoo4oa3ypomeflhjbmdub75hkbjeci66bfkyd.onion"

static void messages_are_parsed(void **state)
{
    (void)state;
    static const struct {
        enum tor_socks_phase phase;
        bool authenticated;
        size_t len;
        const char *bytes;
        int result;
        const char *code;
    } cases[] = {
        {TOR_SOCKS_METHOD, false, 0, "", 2, ""},
        {TOR_SOCKS_METHOD, false, 1, "\5", 2, ""},
        {TOR_SOCKS_METHOD, false, 2, "\5\0", 2, ""},
        {TOR_SOCKS_METHOD, true, 2, "\5\2", 2, ""},
        {TOR_SOCKS_METHOD, true, 2, "\5\0", MB_EINVAL, "socks.protocol"},
        {TOR_SOCKS_METHOD, false, 2, "\5\377", MB_EINVAL, "socks.protocol"},
        {TOR_SOCKS_METHOD, false, 2, "HT", MB_EINVAL, "socks.protocol"},
        {TOR_SOCKS_AUTH, true, 2, "\1\0", 2, ""},
        {TOR_SOCKS_AUTH, true, 2, "\1\1", MB_EINVAL, "socks.protocol"},
        {TOR_SOCKS_AUTH, true, 2, "\5\0", MB_EINVAL, "socks.protocol"},
        {TOR_SOCKS_REPLY, true, 0, "", 5, ""},
        {TOR_SOCKS_REPLY, true, 5, "\5\0\0\1\0", 10, ""},
        {TOR_SOCKS_REPLY, true, 10, "\5\0\0\1\0\0\0\0\0\0", 10, ""},
        {TOR_SOCKS_REPLY, true, 5, "\5\0\0\3\377", 262, ""},
        {TOR_SOCKS_REPLY, true, 5, "\5\0\0\3\0", 7, ""},
        {TOR_SOCKS_REPLY, true, 5, "\5\0\0\4\0", 22, ""},
        {TOR_SOCKS_REPLY, true, 5, "\5\0\0\2\0", MB_EINVAL, "socks.protocol"},
        {TOR_SOCKS_REPLY, true, 5, "\4\0\0\1\0", MB_EINVAL, "socks.protocol"},
        {TOR_SOCKS_REPLY, true, 5, "\5\0\1\1\0", MB_EINVAL, "socks.protocol"},
        {TOR_SOCKS_REPLY, true, 5, "\5\1\0\1\0", MB_EREACH, "socks.unreachable"},
        {TOR_SOCKS_REPLY, true, 5, "\5\360\0\1\0", MB_EREACH, "socks.unreachable"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_error error = {0};
        assert_int_equal(tor_socks_parse(cases[i].phase, cases[i].authenticated,
                                         (const uint8_t *)cases[i].bytes, cases[i].len, &error),
                         cases[i].result);
        assert_string_equal(error.code, cases[i].code);
    }
}

/* A proxy in the test's hands */

static struct mb_loop *loop;
static char dir[] = "/tmp/mb-socks-XXXXXX", path[64];
static int listener;

static int setup(void **state)
{
    (void)state;
    loop = mb_loop_new();
    if (mkdtemp(dir) == NULL)
        return -1;
    mb_snprintf(path, sizeof path, "%s/socks", dir);
    listener = mb_unix_listen(path, 0600, NULL);
    return listener < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    close(listener);
    unlink(path);
    rmdir(dir);
    memcpy(dir + strlen(dir) - 6, "XXXXXX", 6);
    mb_loop_free(loop);
    return 0;
}

static int result_fd;
static struct mb_error result;
static int calls;
static void note(void *arg, int fd, const struct mb_error *error)
{
    (void)arg;
    calls++;
    result_fd = fd;
    result = error != NULL ? *error : (struct mb_error){0};
}

static struct mb_socks *start(const char *host, const char *isolation, int64_t timeout_ms)
{
    calls = 0;
    return mb_socks_connect(loop, path, host, 80, isolation, timeout_ms, note, NULL);
}

static void run_until_called(void)
{
    for (int64_t end = mb_now_ms() + 5000; calls == 0 && mb_now_ms() < end;)
        mb_loop_once(loop, 50);
    assert_int_equal(calls, 1);
}

/* Let the dialler run until the proxy has what is expected, and no byte more. */
static void expect_bytes(int fd, const char *expected, size_t len)
{
    uint8_t got[1024];
    size_t n = 0;
    for (int64_t end = mb_now_ms() + 5000; n < len && mb_now_ms() < end;) {
        mb_loop_once(loop, 10);
        ssize_t more = recv(fd, got + n, sizeof got - n, MSG_DONTWAIT);
        if (more > 0)
            n += (size_t)more;
    }
    mb_loop_once(loop, 0);
    assert_int_equal(n, len);
    assert_memory_equal(got, expected, len);
    assert_int_equal(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
}

static void say(int fd, const char *bytes, size_t len)
{
    assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL), len);
}

static void clear_net_is_refused_before_a_byte_is_sent(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "example.com",
        "127.0.0.1",
        "::1",
        "localhost",
        "",
        ".onion",
        "example.onion",
        "expyuzz4wqqyqhjn.onion", /* version 2 */
        "CMDRVAS2FVX3VAKU5OTJOO4OA3YPOMEFLHJBMDUB75HKBJECI66BFKYD.onion",
        "dmdrvas2fvx3vaku5otjoo4oa3ypomeflhjbmdub75hkbjeci66bfkyd.onion", /* checksum */
        ONION ".",
        ONION ".example.com",
        "example.com." ONION,
        ONION "\r\n",
    };
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        start(hosts[i], "a", 1000);
        run_until_called();
        assert_int_equal(result_fd, -1);
        assert_string_equal(result.code, "socks.clearnet");
        assert_int_equal(accept(listener, NULL, NULL), -1); /* not even a connection */
    }
}

static void isolation_is_bounded(void **state)
{
    (void)state;
    char text[257];
    memset(text, 'x', 256);
    text[256] = '\0';
    const char *const bad[] = {"", text, "<torS0X>0"};
    for (size_t i = 0; i < 3; i++) {
        start(ONION, bad[i], 1000);
        run_until_called();
        assert_string_equal(result.code, "socks.isolation");
    }
    text[255] = '\0';
    struct mb_socks *s = start(ONION, text, 5000);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    expect_bytes(fd, "\5\1\2", 3);
    say(fd, "\5\2", 2);
    char expected[2 + 255 + 2] = "\1\377";
    memset(expected + 2, 'x', 255);
    memcpy(expected + 257, "\1x", 2);
    expect_bytes(fd, expected, sizeof expected);
    mb_socks_cancel(s);
    assert_int_equal(calls, 0);
    close(fd);
}

static void a_stream_is_handed_over_with_its_first_bytes(void **state)
{
    (void)state;
    start(ONION, "alice", 5000);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    expect_bytes(fd, "\5\1\2", 3);
    say(fd, "\5", 1); /* in pieces */
    mb_loop_once(loop, 10);
    say(fd, "\2", 1);
    expect_bytes(fd, "\1\5alice\1x", 9);
    say(fd, "\1\0", 2);
    expect_bytes(fd, "\5\1\0\3\76" ONION "\0\120", 5 + 62 + 2);
    say(fd, "\5\0\0\1\0\0\0\0\0\0hello", 15);
    run_until_called();
    assert_true(result_fd >= 0);
    char hello[16];
    assert_int_equal(recv(result_fd, hello, sizeof hello, 0), 5);
    assert_memory_equal(hello, "hello", 5);
    close(result_fd);
    close(fd);
}

static void without_isolation_no_credentials_are_sent(void **state)
{
    (void)state;
    struct mb_socks *s = start(ONION, NULL, 5000);
    int fd = accept(listener, NULL, NULL);
    expect_bytes(fd, "\5\1\0", 3);
    say(fd, "\5\0", 2);
    expect_bytes(fd, "\5\1\0\3\76" ONION "\0\120", 5 + 62 + 2);
    mb_socks_cancel(s);
    close(fd);
}

static void failures_have_codes(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        size_t len;
        bool hang_up;
        const char *code;
    } cases[] = {
        {"\5\0\5\4\0\1\0", 7, false, "socks.unreachable"},
        {"\5\0\5\0\0\1\0\0", 8, true, "socks.closed"},
        {"HTTP/1.1 400", 12, false, "socks.protocol"},
        {"", 0, true, "socks.closed"},
        {"\5\0", 2, false, "socks.timeout"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start(ONION, NULL, 200);
        int fd = accept(listener, NULL, NULL);
        assert_true(fd >= 0);
        if (cases[i].len > 0)
            say(fd, cases[i].answer, cases[i].len);
        if (cases[i].hang_up)
            shutdown(fd, SHUT_WR);
        run_until_called();
        assert_int_equal(result_fd, -1);
        assert_string_equal(result.code, cases[i].code);
        close(fd);
    }
}

static void without_tor_nothing_is_dialled(void **state)
{
    (void)state;
    unlink(path);
    start(ONION, NULL, 1000);
    run_until_called();
    assert_int_equal(result_fd, -1);
    assert_string_equal(result.code, "socks.proxy");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_parsed),
        cmocka_unit_test_setup_teardown(clear_net_is_refused_before_a_byte_is_sent, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(isolation_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stream_is_handed_over_with_its_first_bytes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_isolation_no_credentials_are_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_have_codes, setup, teardown),
        cmocka_unit_test_setup_teardown(without_tor_nothing_is_dialled, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
