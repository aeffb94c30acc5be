/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The server in this process, and clients that speak raw bytes to it. */
#include "config.h"

#include <errno.h>
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

static int released;
static void release(void *arg)
{
    assert_ptr_equal(arg, &released);
    released++;
}

static void handle_pieces(void *self, struct mb_request *r)
{
    const struct mb_bytes pieces[] = {mb_bytes_of("he"), mb_bytes_of("l"), mb_bytes_of("lo")};
    (void)self;
    begin(r);
    mb_reply_pieces(r, 200, "text/plain", pieces, 3, release, &released);
    mb_reply_pieces(r, 500, "text/plain", pieces, 1, release, &released); /* too late */
    assert_int_equal(released, 1);
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
    {"GET", "/hello", false, handle_hello},    {"GET", "/q/{name}.git", false, handle_query},
    {"POST", "/echo", false, handle_echo},     {"POST", "/sink", false, handle_sink},
    {"POST", "/refuse", false, handle_refuse}, {"GET", "/hold", false, handle_hold},
    {"GET", "/stream", false, handle_stream},  {"GET", "/abort", false, handle_abort},
    {"GET", "/broken", false, handle_broken},  {"GET", "/pieces", false, handle_pieces},
    {"GET", "/operator", true, handle_hello},  {0},
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

static char *ask_within(const char *request, bool *closed, int64_t quiet_ms)
{
    struct mb_buf out = {0};
    int fd = dial();
    bool eof = talk(fd, mb_bytes_of(request), &out, quiet_ms);
    if (closed != NULL)
        *closed = eof;
    close(fd);
    turn(3);
    return mb_buf_take_text(&out);
}

/* The whole answer to a request; *closed tells who ended. */
static char *ask(const char *request, bool *closed)
{
    return ask_within(request, closed, 60);
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

static void test_pieces(void **state)
{
    (void)state;
    released = 0;
    expect("GET /pieces HTTP/1.1\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(released, 2);
    released = 0;
    expect("HEAD /pieces HTTP/1.1\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
    assert_int_equal(released, 2);
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
        char *got = ask_within(bad[i], &closed, 5000);
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
            char *got = ask_within(mb_buf_text(&in), &closed, 5000);
            assert_string_equal(got, "");
            assert_true(closed);
            free(got);
            mb_buf_clear(&in);
        }
}

/* --- Streams --- */

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN
#endif

/* The most that was resident so far; the address sanitizer keeps what was freed, so no word then.
 */
static long resident_kib(void)
{
#ifdef WITH_ASAN
    return 0;
#else
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
#endif
}

/* Send count bytes of zeros after head, in pieces that are wrapped in chunks if asked. */
static void upload(int fd, int64_t count, bool chunked, struct mb_buf *out)
{
    static uint8_t zeros[65536];
    static const char size[] = "10000\r\n";
    while (count > 0) {
        struct mb_buf piece = {0};
        if (chunked)
            mb_buf_add_text(&piece, size);
        mb_buf_add(&piece, zeros, sizeof zeros);
        if (chunked)
            mb_buf_add_text(&piece, "\r\n");
        for (size_t at = 0; at < piece.len;) {
            ssize_t n = send(fd, piece.data + at, piece.len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (n < 0 && errno != EAGAIN) {
                mb_buf_clear(&piece);
                return;
            }
            at += n > 0 ? (size_t)n : 0;
            mb_loop_once(loop, 0);
        }
        mb_buf_clear(&piece);
        count -= (int64_t)sizeof zeros;
    }
    talk(fd, mb_bytes_of(chunked ? "0\r\n\r\n" : ""), out, 60);
}

#define UP (256ll << 20)

static void test_stream_up(void **state)
{
    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct mb_buf out = {0}, head = {0};
        seen.bytes = 0;
        int fd = dial();
        mb_buf_addf(&head,
                    chunked ? "POST /sink HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                            : "POST /sink HTTP/1.1\r\nContent-Length: %lld\r\n\r\n",
                    UP);
        talk(fd, mb_buf_bytes(&head), &out, 20);
        long before = resident_kib();
        upload(fd, UP, chunked == 1, &out);
        assert_true(resident_kib() - before < 4096);
        assert_true(seen.bytes == UP);
        assert_non_null(strstr(mb_buf_text(&out), "\r\n\r\ntaken"));
        mb_buf_clear(&out);
        mb_buf_clear(&head);
        close(fd);
    }
    turn(5);
    assert_int_equal(seen.ended, 2);
}

static void test_stream_down(void **state)
{
    (void)state;
    static char data[65536];
    const int64_t all = 256ll << 20;
    int64_t got = 0;
    seen.to_send = all;
    seen.waits = 3;
    int fd = dial();
    assert_true(send(fd, "GET /stream HTTP/1.1\r\n\r\n", 24, 0) == 24);
    for (int i = 0; i < 3; i++) {
        seen.held = NULL;
        turn(5);
        assert_non_null(seen.held);
        mb_request_resume_reply(seen.held);
    }
    long before = resident_kib();
    int64_t end = mb_now_ms() + 60000;
    while (seen.gone == 0 && mb_now_ms() < end) {
        mb_loop_once(loop, 0);
        ssize_t n = recv(fd, data, sizeof data, MSG_DONTWAIT);
        got += n > 0 ? n : 0;
    }
    for (ssize_t n; (n = recv(fd, data, sizeof data, MSG_DONTWAIT)) > 0;)
        got += n;
    assert_true(resident_kib() - before < 4096);
    assert_true(got > all && got < all + all / 100);
    assert_int_equal(seen.gone, 1);
    close(fd);
}

static void test_back_pressure(void **state)
{
    (void)state;
    static uint8_t zeros[65536];
    struct mb_buf out = {0};
    int fd = dial();
    seen.hold_body = true;
    talk(fd, mb_bytes_of("POST /sink HTTP/1.1\r\nContent-Length: 8000000\r\n\r\n"), &out, 20);
    int64_t sent = 0, last = mb_now_ms();
    while (mb_now_ms() - last < 50) {
        ssize_t n = send(fd, zeros, sizeof zeros, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            sent += n;
            last = mb_now_ms();
        }
        mb_loop_once(loop, 1);
    }
    assert_non_null(seen.held);
    assert_true(sent < 2000000); /* what the kernel holds */
    assert_int_equal(seen.bytes, 0);
    mb_request_resume_body(seen.held);
    while (sent < 8000000) {
        size_t n = 8000000 - sent < 65536 ? (size_t)(8000000 - sent) : 65536;
        ssize_t done = send(fd, zeros, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent += done > 0 ? done : 0;
        mb_loop_once(loop, 1);
    }
    talk(fd, mb_bytes_of(""), &out, 30);
    assert_int_equal(seen.ended, 1);
    assert_non_null(strstr(mb_buf_text(&out), "taken"));
    mb_buf_clear(&out);
    close(fd);
}

static void test_abort(void **state)
{
    (void)state;
    bool closed;
    char *got = ask("GET /abort HTTP/1.1\r\n\r\n", &closed);
    assert_true(closed);
    assert_non_null(strstr(got, "half"));
    assert_null(strstr(got, "\r\n0\r\n"));
    free(got);
    assert_int_equal(seen.gone, 1);
}

/* --- Refusals --- */

static void test_refused_in_the_middle(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        int64_t body;
        bool chunked, closes;
    } cases[] = {
        {"POST /refuse HTTP/1.1\r\nContent-Length: 131072\r\n\r\n", 131072, false, false},
        {"POST /refuse HTTP/1.1\r\nContent-Length: 33554432\r\n\r\n", 33554432, false, true},
        {"POST /refuse HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 33554432, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf out = {0};
        int fd = dial();
        talk(fd, mb_bytes_of(cases[i].head), &out, 20);
        upload(fd, cases[i].body, cases[i].chunked, &out);
        const char *text = mb_buf_text(&out);
        assert_non_null(strstr(text, "HTTP/1.1 409 Conflict\r\n"));
        assert_non_null(strstr(text, "\"code\":\"test.no\""));
        assert_int_equal(strstr(text, "Connection: close\r\n") != NULL, cases[i].closes);
        mb_buf_clear(&out);
        close(fd);
        turn(5);
    }
    assert_int_equal(seen.gone, 3);
    assert_int_equal(seen.ended, 0);
}

static void test_expect(void **state)
{
    (void)state;
    struct mb_buf out = {0};
    int fd = dial();
    talk(fd,
         mb_bytes_of("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
         &out, 20);
    assert_string_equal(mb_buf_text(&out), "HTTP/1.1 100 Continue\r\n\r\n");
    talk(fd, mb_bytes_of("ok"), &out, 20);
    assert_non_null(strstr(mb_buf_text(&out), "\r\n\r\nok"));
    mb_buf_clear(&out);
    close(fd);
    char *got =
        ask("POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n", NULL);
    assert_memory_equal(got, "HTTP/1.1 413 ", 13);
    assert_non_null(strstr(got, "limit.body"));
    free(got);
}

static void gzip_of(struct mb_buf *out, size_t zeros, size_t cut)
{
    static uint8_t block[65536];
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    mb_buf_reserve(out, zeros / 500 + 1000);
    z.next_out = out->data + out->len;
    z.avail_out = (uInt)(out->cap - out->len);
    for (size_t left = zeros; left > 0; left -= z.avail_in) {
        z.next_in = block;
        z.avail_in = left < sizeof block ? (uInt)left : (uInt)sizeof block;
        left -= z.avail_in;
        assert_int_equal(deflate(&z, left == 0 ? Z_FINISH : Z_NO_FLUSH),
                         left == 0 ? Z_STREAM_END : Z_OK);
    }
    out->len += z.total_out - cut;
    deflateEnd(&z);
}

static void test_gzip(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        size_t zeros, cut;
        const char *extra, *want;
    } cases[] = {
        {"/echo", 60000, 0, "", "200 OK"},     {"/echo", 65536, 0, "", "200 OK"},
        {"/echo", 65537, 0, "", "limit.body"}, {"/echo", 100 << 20, 0, "", "limit.body"},
        {"/echo", 1000, 3, "", "http.gzip"},   {"/echo", 1000, 0, "x", "http.gzip"},
        {"/sink", 32 << 20, 0, "", "taken"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_buf body = {0}, in = {0}, out = {0};
        seen.bytes = 0;
        seen.hold_body = true; /* once, in /sink */
        gzip_of(&body, cases[i].zeros, cases[i].cut);
        mb_buf_add_text(&body, cases[i].extra);
        mb_buf_addf(&in,
                    "POST %s HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
                    cases[i].path, body.len);
        mb_buf_add_bytes(&in, mb_buf_bytes(&body));
        int fd = dial();
        long before = resident_kib();
        talk(fd, mb_buf_bytes(&in), &out, 30);
        if (seen.held != NULL) {
            mb_request_resume_body(seen.held);
            talk(fd, mb_bytes_of(""), &out, 60);
            assert_true(seen.bytes > (32 << 20) - 16384);
        }
        assert_true(resident_kib() - before < 4096);
        if (strstr(mb_buf_text(&out), cases[i].want) == NULL)
            print_error("%zu: %.200s\n", i, mb_buf_text(&out));
        assert_non_null(strstr(mb_buf_text(&out), cases[i].want));
        mb_buf_clear(&body);
        mb_buf_clear(&in);
        mb_buf_clear(&out);
        close(fd);
        turn(3);
    }
    char *got =
        ask("POST /echo HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", NULL);
    assert_non_null(strstr(got, "http.encoding"));
    free(got);
    got = ask("GET /hello?a=%zz HTTP/1.1\r\n\r\n", NULL);
    assert_non_null(strstr(got, "HTTP/1.1 400 Bad Request"));
    assert_non_null(strstr(got, "http.query"));
    free(got);
}

/* --- Connections --- */

static void test_pipelined(void **state)
{
    (void)state;
    struct mb_buf out = {0};
    int fd = dial(), answers = 0;
    talk(fd,
         mb_bytes_of(
             "GET /hello HTTP/1.1\r\n\r\nPOST /echo HTTP/1.1\r\nContent-Length: 2\r\n\r\nab"
             "GET /nothing HTTP/1.1\r\n\r\nGET /hello HTTP/1.1\r\nConnection: close\r\n\r\n"),
         &out, 100);
    for (const char *p = mb_buf_text(&out); (p = strstr(p, "HTTP/1.1 ")) != NULL; p++)
        answers++;
    assert_int_equal(answers, 4);
    assert_int_equal(mb_http_stats(server).requests, 4);
    assert_int_equal(mb_http_stats(server).by_class[2], 3);
    assert_int_equal(mb_http_stats(server).by_class[4], 1);
    mb_buf_clear(&out);
    close(fd);
}

static void test_later(void **state)
{
    (void)state;
    struct mb_buf out = {0};
    int fd = dial();
    for (int i = 0; i < 3; i++) {
        mb_buf_reset(&out);
        talk(fd, mb_bytes_of("GET /hold HTTP/1.1\r\n\r\n"), &out, 10);
        assert_non_null(seen.held);
        assert_int_equal(out.len, 0);
        reply_text(seen.held, "later");
        talk(fd, mb_bytes_of(""), &out, 10);
        assert_non_null(strstr(mb_buf_text(&out), "\r\n\r\nlater"));
        assert_null(seen.held);
    }
    mb_buf_clear(&out);
    close(fd);
}

/* Wait until gone was called n times. */
static void wait_gone(int n)
{
    int64_t end = mb_now_ms() + 5000;
    while (seen.gone < n && mb_now_ms() < end)
        mb_loop_once(loop, 10);
    assert_int_equal(seen.gone, n);
}

static void test_client_leaves(void **state)
{
    (void)state;
    static const char *const left[] = {
        "GET /hold HTTP/1.1\r\n\r\n",
        "POST /sink HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "GET /stream HTTP/1.1\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        int fd = dial();
        seen.to_send = 1 << 30;
        assert_true(send(fd, left[i], strlen(left[i]), 0) > 0);
        turn(5);
        close(fd);
        wait_gone((int)i + 1);
    }
    assert_int_equal(seen.ended, 0);
    assert_int_equal(mb_http_stats(server).connections, 0);
}

static void test_idle(void **state)
{
    (void)state;
    mb_http_server_free(server);
    start(&(struct mb_http_options){.idle_ms = 200, .connections_max = 2});
    struct mb_buf out = {0};
    int silent = dial(), slow = dial(), third = dial();
    int64_t since = mb_now_ms();
    assert_true(send(third, "GET /hello HTTP/1.1\r\n\r\n", 23, 0) > 0);
    const char *drip = "GET /hello HTTP/1.1\r\nX: ";
    bool closed = false;
    while (!closed && mb_now_ms() - since < 3000) {
        closed = send(slow, *drip == 0 ? "a" : drip, 1, MSG_NOSIGNAL) < 0;
        drip += *drip != 0;
        talk(silent, mb_bytes_of(""), &out, 10);
    }
    assert_true(closed);
    assert_int_equal(out.len, 0);
    assert_true(mb_now_ms() - since < 1000);
    assert_false(talk(third, mb_bytes_of(""), &out, 50) && out.len == 0);
    assert_non_null(strstr(mb_buf_text(&out), "hello")); /* there was room again */
    assert_true(talk(third, mb_bytes_of(""), &out, 2000));
    mb_buf_clear(&out);
    close(silent);
    close(slow);
    close(third);
}

static void count_one(void *arg)
{
    ++*(int *)arg;
}

static void test_drain(void **state)
{
    (void)state;
    int drained = 0, idle = dial(), held = dial();
    struct mb_buf out = {0};
    talk(held, mb_bytes_of("GET /hold HTTP/1.1\r\n\r\n"), &out, 20);
    mb_http_server_drain(server, 5000, count_one, &drained);
    assert_true(talk(idle, mb_bytes_of(""), &out, 500));
    assert_int_equal(drained, 0);
    assert_true(mb_unix_connect(path, NULL) < 0);
    reply_text(seen.held, "last");
    assert_true(talk(held, mb_bytes_of(""), &out, 500));
    assert_non_null(strstr(mb_buf_text(&out), "Connection: close"));
    turn(3);
    assert_int_equal(drained, 1);
    close(idle);
    close(held);
    mb_buf_clear(&out);

    mb_http_server_free(server);
    start(NULL);
    held = dial();
    talk(held, mb_bytes_of("GET /hold HTTP/1.1\r\n\r\n"), &out, 20);
    mb_http_server_drain(server, 50, count_one, &drained);
    assert_true(talk(held, mb_bytes_of(""), &out, 1000));
    turn(3);
    assert_int_equal(drained, 2);
    assert_int_equal(seen.gone, 1);
    close(held);
    mb_buf_clear(&out);
}

static void test_operator(void **state)
{
    (void)state;
    mb_http_server_free(server);
    start(&(struct mb_http_options){.operator_socket = true});
    expect("GET /operator HTTP/1.1\r\n\r\n",
           "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
    char *got = ask("GET /broken HTTP/1.1\r\n\r\n", NULL);
    assert_non_null(strstr(got, "cannot read /home/alice/secret"));
    free(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream_up, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stream_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_back_pressure, setup, teardown),
        cmocka_unit_test_setup_teardown(test_abort, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expect, setup, teardown),
        cmocka_unit_test_setup_teardown(test_gzip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later, setup, teardown),
        cmocka_unit_test_setup_teardown(test_client_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_idle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_drain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_operator, setup, teardown),
    };
    *strrchr(path, '/') = 0;
    assert_non_null(mkdtemp(path));
    path[strlen(path)] = '/';
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    *strrchr(path, '/') = 0;
    rmdir(path);
    return failed;
}
