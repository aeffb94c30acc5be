/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The server in this process, and clients that speak raw bytes to it. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "http/server.h"

static struct mb_loop *loop;
static struct mb_http_server *server;
static char path[] = "/tmp/mb-http-XXXXXX/sock";

/* What the handlers saw. */
static struct {
    int begun, gone, ended;
    int64_t bytes;
    struct mb_request *held;
    bool hold_body;
    int64_t to_send;
    int waits;
} seen;

static void gone(struct mb_request *r, void *user)
{
    (void)user;
    if (seen.held == r)
        seen.held = NULL;
    seen.gone++;
}

static void begin(struct mb_request *r)
{
    seen.begun++;
    mb_request_set_user(r, &seen, gone);
}

static void reply_text(struct mb_request *r, const char *text)
{
    mb_reply(r, 200, "text/plain", mb_bytes_of(text), NULL);
}

static void handle_hello(void *self, struct mb_request *r)
{
    begin(r);
    assert_ptr_equal(self, &seen);
    reply_text(r, mb_request_method(r)[0] == 'H' ? "HEAD!" : "hello");
}

static void handle_query(void *self, struct mb_request *r)
{
    (void)self;
    begin(r);
    const char *k = mb_request_query(r, "k");
    struct mb_buf text = {0};
    mb_buf_addf(&text, "%s|%s", mb_request_param(r, "name"), k == NULL ? "-" : k);
    mb_reply_take(r, 200, "text/plain", &text);
}

static void echo_end(struct mb_request *r, void *user, struct mb_bytes body)
{
    assert_ptr_equal(user, &seen);
    seen.ended++;
    mb_reply(r, 200, "application/octet-stream", body, NULL);
}

static void handle_echo(void *self, struct mb_request *r)
{
    (void)self;
    begin(r);
    mb_request_whole_body(r, 65536, echo_end);
}

static size_t sink_chunk(struct mb_request *r, void *user, struct mb_bytes bytes)
{
    (void)user;
    if (seen.hold_body) {
        seen.held = r;
        seen.hold_body = false;
        return bytes.len / 2;
    }
    seen.bytes += (int64_t)bytes.len;
    return bytes.len;
}

static void sink_end(struct mb_request *r, void *user)
{
    (void)user;
    seen.ended++;
    reply_text(r, "taken");
}

static void handle_sink(void *self, struct mb_request *r)
{
    (void)self;
    begin(r);
    mb_request_body(r, INT64_MAX, sink_chunk, sink_end);
}

static size_t refuse_chunk(struct mb_request *r, void *user, struct mb_bytes bytes)
{
    (void)user;
    struct mb_error error;
    mb_fail(&error, MB_EREFUSED, "test.no", "not this");
    mb_reply_error(r, MB_EREFUSED, &error);
    return bytes.len;
}

static void handle_refuse(void *self, struct mb_request *r)
{
    (void)self;
    begin(r);
    mb_request_body(r, INT64_MAX, refuse_chunk, sink_end);
}

static void handle_hold(void *self, struct mb_request *r)
{
    (void)self;
    begin(r);
    seen.held = r;
}

static enum mb_stream more(struct mb_request *r, void *user, struct mb_buf *out, size_t max)
{
    static const uint8_t zeros[65536];
    (void)user;
    if (seen.waits > 0 && seen.waits-- > 0) {
        seen.held = r;
        return MB_STREAM_WAIT;
    }
    size_t n = max < sizeof zeros ? max : sizeof zeros;
    if ((int64_t)n > seen.to_send)
        n = (size_t)seen.to_send;
    mb_buf_add(out, zeros, n);
    seen.to_send -= (int64_t)n;
    return seen.to_send > 0 ? MB_STREAM_MORE : MB_STREAM_END;
}

static void handle_stream(void *self, struct mb_request *r)
{
    (void)self;
    begin(r);
    mb_reply_stream(r, 200, "application/octet-stream", NULL, more);
}

static enum mb_stream abort_soon(struct mb_request *r, void *user, struct mb_buf *out, size_t max)
{
    (void)r;
    (void)user;
    (void)max;
    if (seen.waits++ > 0)
        return MB_STREAM_ABORT;
    mb_buf_add_text(out, "half");
    return MB_STREAM_MORE;
}

static void handle_abort(void *self, struct mb_request *r)
{
    (void)self;
    begin(r);
    mb_reply_stream(r, 200, "text/plain", NULL, abort_soon);
}

static void handle_broken(void *self, struct mb_request *r)
{
    (void)self;
    begin(r);
    struct mb_error error;
    mb_fail(&error, MB_EIO, "disk.read", "cannot read /home/alice/secret");
    mb_reply_error(r, MB_EIO, &error);
}

static const struct mb_route routes[] = {
    {"GET", "/hello", false, handle_hello},
    {"GET", "/q/{name}.git", false, handle_query},
    {"POST", "/echo", false, handle_echo},
    {"POST", "/sink", false, handle_sink},
    {"POST", "/refuse", false, handle_refuse},
    {"GET", "/hold", false, handle_hold},
    {"GET", "/stream", false, handle_stream},
    {"GET", "/abort", false, handle_abort},
    {"GET", "/broken", false, handle_broken},
    {"GET", "/operator", true, handle_hello},
    {0},
};

static void start(const struct mb_http_options *options)
{
    memset(&seen, 0, sizeof seen);
    assert_int_equal(mb_http_server_new(&server, loop, path, 0600, options, NULL), 0);
    mb_http_server_routes(server, routes, &seen);
}

static int setup(void **state)
{
    (void)state;
    loop = mb_loop_new();
    start(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mb_http_server_free(server);
    assert_int_equal(seen.gone, seen.begun);
    mb_loop_free(loop);
    return 0;
}

/* --- A client --- */

static int dial(void)
{
    int fd = mb_unix_connect(path, NULL);
    assert_true(fd >= 0);
    return fd;
}

static void turn(int times)
{
    while (times-- > 0)
        mb_loop_once(loop, 1);
}

/* Send all; take what comes until the server closes, or is silent for quiet_ms. */
static bool talk(int fd, struct mb_bytes in, struct mb_buf *out, int64_t quiet_ms)
{
    int64_t last = mb_now_ms();
    char data[65536];
    while (mb_now_ms() - last < quiet_ms) {
        mb_loop_once(loop, 1);
        ssize_t n = in.len > 0 ? send(fd, in.data, in.len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        if (n > 0) {
            in.data += n;
            in.len -= (size_t)n;
            last = mb_now_ms();
        }
        n = recv(fd, data, sizeof data, MSG_DONTWAIT);
        if (n == 0)
            return true;
        if (n > 0) {
            mb_buf_add(out, data, (size_t)n);
            last = mb_now_ms();
        }
    }
    return false;
}

/* The whole answer to a request; *closed tells who ended. */
static char *ask(const char *request, bool *closed)
{
    struct mb_buf out = {0};
    int fd = dial();
    bool eof = talk(fd, mb_bytes_of(request), &out, 60);
    if (closed != NULL)
        *closed = eof;
    close(fd);
    turn(3);
    return mb_buf_take_text(&out);
}

static void expect(const char *request, const char *answer)
{
    char *got = ask(request, NULL);
    assert_string_equal(got, answer);
    free(got);
}

#define UNKNOWN_BODY                                                                               \
    "{\"error\":{\"args\":[],\"code\":\"http.unknown\",\"message\":\"there is nothing here\"}}\n"
#define UNKNOWN_HEAD                                                                               \
    "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 78\r\n\r\n"

static void test_plain(void **state)
{
    (void)state;
    expect("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
    expect("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
    expect(
        "GET /q/a%20b.git?x=1&k=%C3%A4+z HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\na b|\xc3\xa4 z");
    expect("POST /echo HTTP/1.1\r\nContent-Length: 4\r\n\r\nabcd",
           "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n"
           "abcd");
    expect(
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 4\r\n\r\n"
        "abcd");
    expect("GET /hello HTTP/1.1\r\nRange: bytes=1-2\r\nIf-None-Match: *\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
    expect("GET /broken HTTP/1.1\r\n\r\n",
           "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
           "Content-Length: 91\r\n\r\n{\"error\":{\"args\":[],\"code\":\"internal\",\"message\":"
           "\"something failed here: try again later\"}}\n");
}

static void test_unknown(void **state)
{
    (void)state;
    static const char *const same[] = {
        "GET / HTTP/1.1\r\n\r\n",
        "GET /nothing HTTP/1.1\r\nHost: other.onion\r\n\r\n",
        "GET /nothing?a=%zz HTTP/1.1\r\n\r\n",
        "GET /operator HTTP/1.1\r\nX-Forwarded-For: 127.0.0.1\r\nForwarded: for=::1\r\n\r\n",
        "GET /operator HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /hello HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi",
        "POST /nothing HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "OPTIONS /hello HTTP/1.1\r\n\r\n",
        "TRACE /hello HTTP/1.1\r\n\r\n",
        "CONNECT a:1 HTTP/1.1\r\n\r\n",
        "FOO /hello HTTP/1.1\r\n\r\n",
        "get /hello HTTP/1.1\r\n\r\n",
        "GET http://x.onion/hello HTTP/1.1\r\n\r\n",
        "GET //hello HTTP/1.1\r\n\r\n",
        "GET /a/../hello HTTP/1.1\r\n\r\n",
        "GET /%2e%2e/hello HTTP/1.1\r\n\r\n",
        "GET /hello%00 HTTP/1.1\r\n\r\n",
        "GET /hello%0a HTTP/1.1\r\n\r\n",
        "GET /%68ello%2F HTTP/1.1\r\n\r\n",
        "GET /hello\\ HTTP/1.1\r\n\r\n",
        "GET /hello%ff HTTP/1.1\r\n\r\n",
        "GET /hello%zz HTTP/1.1\r\n\r\n",
        "GET /hello/ HTTP/1.1\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        char *got = ask(same[i], NULL);
        if (strcmp(got, UNKNOWN_HEAD UNKNOWN_BODY) != 0)
            print_error("%s: %s\n", same[i], got);
        assert_string_equal(got, UNKNOWN_HEAD UNKNOWN_BODY);
        free(got);
    }
    expect("HEAD /nothing HTTP/1.1\r\n\r\n", UNKNOWN_HEAD);
    assert_int_equal(seen.begun, 0);
}

/* What MHD has a page of its own for: the connection ends without a byte. */
static void test_malformed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x16\x03\x01\x02\r\n\r\n",
        "GET\r\n\r\n",
        "GET /hello\r\n\r\n",
        "GET /hello HTTP/9.9\r\n\r\n",
        "GET /hello FTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\nGET /hello HTTP/1.1\r\n\r\n",
        "GET /hello HTTP/1.1\r\nno colon\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST /echo HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        bool closed;
        char *got = ask(bad[i], &closed);
        if (got[0] != 0 || !closed)
            print_error("%zu: %s: %s\n", i, bad[i], got);
        assert_string_equal(got, "");
        assert_true(closed);
        free(got);
    }
    static const size_t sizes[] = {20000, 40000, 70000, 200000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int where = 0; where < 3; where++) {
            bool closed;
            struct mb_buf in = {0};
            mb_buf_add_text(&in, where == 0   ? "GET /"
                                 : where == 1 ? "GET /hello HTTP/1.1\r\nA: "
                                              : "");
            mb_buf_reserve(&in, sizes[i] + 1);
            memset(in.data + in.len, 'a', sizes[i]);
            in.len += sizes[i];
            mb_buf_add_text(&in, where == 0 ? " HTTP/1.1\r\n\r\n" : "\r\n\r\n");
            char *got = ask(mb_buf_text(&in), &closed);
            assert_string_equal(got, "");
            assert_true(closed);
            free(got);
            mb_buf_clear(&in);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
    };
    *strrchr(path, '/') = 0;
    assert_non_null(mkdtemp(path));
    path[strlen(path)] = '/';
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    *strrchr(path, '/') = 0;
    rmdir(path);
    return failed;
}
