/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The client against a server on a thread that answers with fixed bytes and keeps what it got. */
#include "config.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/encode.h"
#include "http/client.h"
#include "loop/loop.h"

static char dir[] = "/tmp/mb-client-XXXXXX";
static char path[sizeof dir + 8], socks_target[sizeof dir + 16];

/* What the server does with its one connection. */
struct peer {
    pthread_t thread;
    int listen_fd;
    bool socks;
    const char *answer; /* NULL: none, until the client gives up */
    struct mb_buf got, socks_got;
};

static void read_exactly(int fd, struct mb_buf *out, size_t n)
{
    char byte;
    while (n > 0 && recv(fd, &byte, 1, 0) == 1) {
        mb_buf_add(out, &byte, 1);
        n--;
    }
}

/* RFC 1928 and 1929, as far as libcurl speaks them. */
static void speak_socks(struct peer *p, int fd)
{
    struct mb_buf *in = &p->socks_got;
    read_exactly(fd, in, 2);
    read_exactly(fd, in, in->data[1]);
    bool name = memchr(in->data + 2, 2, in->data[1]) != NULL;
    send(fd, name ? "\5\2" : "\5\0", 2, 0);
    mb_buf_reset(in);
    if (name) {
        read_exactly(fd, in, 2);
        read_exactly(fd, in, in->data[1]);
        read_exactly(fd, in, 1);
        read_exactly(fd, in, in->data[in->len - 1]);
        send(fd, "\1\0", 2, 0);
    }
    mb_buf_add_text(in, "|");
    size_t at = in->len;
    read_exactly(fd, in, 5);
    read_exactly(fd, in, in->data[at + 4] + 2u);
    send(fd, "\5\0\0\1\0\0\0\0\0\0", 10, 0);
}

static void *serve(void *arg)
{
    struct peer *p = arg;
    int fd = accept(p->listen_fd, NULL, NULL);
    char data[4096];
    ssize_t n;
    if (p->socks)
        speak_socks(p, fd);
    while (strstr(mb_buf_text(&p->got), "\r\n\r\n") == NULL &&
           (n = recv(fd, data, sizeof data, 0)) > 0)
        mb_buf_add(&p->got, data, (size_t)n);
    if (p->answer != NULL)
        send(fd, p->answer, strlen(p->answer), MSG_NOSIGNAL);
    else
        while (recv(fd, data, sizeof data, 0) > 0)
            ;
    close(fd);
    return NULL;
}

static void peer_start(struct peer *p, const char *answer, bool socks)
{
    *p = (struct peer){.answer = answer, .socks = socks};
    p->listen_fd = mb_unix_listen(path, 0600, NULL);
    assert_true(p->listen_fd >= 0);
    assert_int_equal(fcntl(p->listen_fd, F_SETFL, 0), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void peer_end(struct peer *p)
{
    pthread_join(p->thread, NULL);
    close(p->listen_fd);
    unlink(path);
    mb_buf_clear(&p->got);
    mb_buf_clear(&p->socks_got);
}

static struct mb_http_client *client_new(const struct mb_http_client_options *options)
{
    struct mb_http_client *c;
    assert_int_equal(mb_http_client_new(&c, options, NULL), 0);
    return c;
}

static struct mb_http_client *client_unix(void)
{
    return client_new(&(struct mb_http_client_options){.unix_path = path, .timeout_ms = 3000});
}

#define HEAD(n) "HTTP/1.1 200 OK\r\nContent-Length: " #n "\r\n\r\n"

static void test_clearnet(void **state)
{
    (void)state;
    char onion[MB_ONION_SIZE];
    uint8_t key[32] = {1};
    mb_onion_encode(onion, key);
    const struct mb_http_client_options cases[] = {
        {0},
        {.onion = "example.com", .socks = "127.0.0.1:9050"},
        {.onion = "short.onion", .socks = "127.0.0.1:9050"},
        {.onion = onion},
        {.onion = onion, .socks = "10.0.0.1:9050"},
        {.onion = onion, .socks = "localhost:9050"},
        {.onion = onion, .socks = "127.0.0.1:"},
        {.onion = onion, .socks = "127.0.0.1:9050/x"},
        {.onion = onion, .socks = "127.0.0.1:9050@example.com"},
        {.onion = onion, .socks = "unix:relative"},
        {.onion = onion, .socks = "socks5://127.0.0.1:9050"},
        {.onion = onion, .socks = "127.0.0.1:9050", .unix_path = path},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct mb_http_client *c;
        struct mb_error error;
        assert_int_equal(mb_http_client_new(&c, &cases[i], &error), MB_EINVAL);
        assert_string_equal(error.code, "http.clearnet");
        assert_null(c);
    }
}

static void test_get(void **state)
{
    (void)state;
    struct peer p;
    struct mb_buf body = {0};
    unsigned status;
    peer_start(&p, HEAD(5) "hello", false);
    struct mb_http_client *c = client_unix();
    assert_int_equal(mb_http_get(c, "/v1/a%20b?c=../d", 5, &status, &body, NULL), 0);
    assert_int_equal(status, 200);
    assert_string_equal(mb_buf_text(&body), "hello");
    assert_string_equal(mb_buf_text(&p.got),
                        "GET /v1/a%20b?c=../d HTTP/1.1\r\nHost: localhost\r\n\r\n");
    mb_http_client_free(c);
    peer_end(&p);
    mb_buf_clear(&body);
}

static void test_post(void **state)
{
    (void)state;
    struct peer p;
    struct mb_buf body = {0};
    unsigned status;
    peer_start(&p, "HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno", false);
    struct mb_http_client *c = client_unix();
    assert_int_equal(mb_http_post(c, "/v1/commands", "application/json", mb_bytes_of("{}"), 100,
                                  &status, &body, NULL),
                     0);
    assert_int_equal(status, 409);
    assert_string_equal(mb_buf_text(&body), "no");
    static const char head[] = "POST /v1/commands HTTP/1.1\r\nHost: localhost\r\n"
                               "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n";
    assert_memory_equal(mb_buf_text(&p.got), head, sizeof head - 1);
    mb_http_client_free(c);
    peer_end(&p);
    mb_buf_clear(&body);
}

/* Answers and paths that fail. */
static void test_failures(void **state)
{
    (void)state;
    static const struct {
        const char *path, *answer;
        int rc;
        const char *code;
    } cases[] = {
        {"/", HEAD(6) "abcdef", MB_ELIMIT, "limit.answer"},
        {"/", HEAD(4) "abc", MB_EREACH, "http.unreachable"},
        {"/", "", MB_EREACH, "http.unreachable"},
        {"/", "SSH-2.0-x\r\n", MB_EREACH, "http.unreachable"},
        {"/", NULL, MB_EREACH, "http.timeout"},
        {"relative", NULL, MB_EINVAL, "http.path"},
        {"/a b", NULL, MB_EINVAL, "http.path"},
        {"/a\r\nX: y", NULL, MB_EINVAL, "http.path"},
        {"/a#b", NULL, MB_EINVAL, "http.path"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer p;
        struct mb_error error;
        struct mb_buf body = {0};
        unsigned status;
        bool dials = cases[i].rc != MB_EINVAL;
        struct mb_http_client *c = client_unix();
        if (dials)
            peer_start(&p, cases[i].answer, false);
        assert_int_equal(mb_http_get(c, cases[i].path, 5, &status, &body, &error), cases[i].rc);
        assert_string_equal(error.code, cases[i].code);
        mb_http_client_free(c);
        if (dials)
            peer_end(&p);
        mb_buf_clear(&body);
    }
    struct mb_error error;
    struct mb_buf body = {0};
    unsigned status;
    struct mb_http_client *c = client_unix();
    assert_int_equal(mb_http_get(c, "/", 5, &status, &body, &error), MB_EREACH);
    assert_non_null(strstr(error.text, "is magicbizd running?"));
    mb_http_client_free(c);
}

static void test_no_redirect(void **state)
{
    (void)state;
    struct peer p;
    struct mb_buf body = {0};
    unsigned status;
    peer_start(&p,
               "HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n",
               false);
    struct mb_http_client *c = client_unix();
    assert_int_equal(mb_http_get(c, "/", 5, &status, &body, NULL), 0);
    assert_int_equal(status, 302);
    mb_http_client_free(c);
    peer_end(&p);
}

static int on_line(void *arg, struct mb_bytes line, struct mb_error *error)
{
    struct mb_buf *all = arg;
    mb_buf_add_bytes(all, line);
    mb_buf_add_u8(all, ';');
    return line.len == 4 ? mb_fail(error, MB_EPROOF, "test.stop", "stop") : 0;
}

static void test_lines(void **state)
{
    (void)state;
    static const struct {
        const char *answer, *lines;
        int rc;
    } cases[] = {
        {HEAD(0), "", 0},
        {HEAD(6) "a\nbc\n\n", "a;bc;;", 0},
        {HEAD(4) "a\nbc", "a;bc;", 0},
        {HEAD(8) "abcde\nf\n", "abcde;f;", 0},
        {HEAD(9) "a\nabcdef\n", "a;", MB_ELIMIT},
        {HEAD(6) "abcdef", "", MB_ELIMIT},
        {HEAD(7) "abcd\ne\n", "abcd;", MB_EPROOF},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct peer p;
        struct mb_buf all = {0};
        struct mb_error error;
        unsigned status;
        peer_start(&p, cases[i].answer, false);
        struct mb_http_client *c = client_unix();
        assert_int_equal(mb_http_get_lines(c, "/", 5, on_line, &all, &status, &error), cases[i].rc);
        assert_int_equal(status, cases[i].rc == 0 ? 200 : status);
        assert_string_equal(mb_buf_text(&all), cases[i].lines);
        mb_http_client_free(c);
        peer_end(&p);
        mb_buf_clear(&all);
    }
}

/* The name goes to the proxy as a name; what isolates goes as the user; the environment is deaf. */
static void test_socks(void **state)
{
    (void)state;
    char onion[MB_ONION_SIZE];
    uint8_t key[32] = {7};
    struct peer p;
    struct mb_buf body = {0}, want = {0};
    unsigned status;
    mb_onion_encode(onion, key);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    setenv("no_proxy", "*", 1);
    peer_start(&p, HEAD(2) "ok", true);
    struct mb_http_client *c = client_new(&(struct mb_http_client_options){
        .onion = onion, .socks = socks_target, .isolation = "alice", .timeout_ms = 2000});
    assert_int_equal(mb_http_get(c, "/", 5, &status, &body, NULL), 0);
    mb_buf_add(&want, "\1\5alice\1-|\5\1\0\3\76", 15);
    mb_buf_add_text(&want, onion);
    mb_buf_add(&want, "\0\120", 2);
    assert_true(mb_bytes_equal(mb_buf_bytes(&want), mb_buf_bytes(&p.socks_got)));
    mb_http_client_free(c);
    peer_end(&p);
    mb_buf_clear(&body);
    mb_buf_clear(&want);

    struct mb_error error;
    c = client_new(&(struct mb_http_client_options){
        .onion = onion, .socks = socks_target, .timeout_ms = 2000});
    assert_int_equal(mb_http_get(c, "/", 5, &status, &body, &error), MB_EREACH);
    assert_non_null(strstr(error.text, "is Tor running there?"));
    mb_http_client_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clearnet),    cmocka_unit_test(test_get),
        cmocka_unit_test(test_post),        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_no_redirect), cmocka_unit_test(test_lines),
        cmocka_unit_test(test_socks),
    };
    if (mkdtemp(dir) == NULL || mb_snprintf(path, sizeof path, "%s/s", dir) != 0 ||
        mb_snprintf(socks_target, sizeof socks_target, "unix:%s", path) != 0)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
