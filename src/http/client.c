/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "http/client.h"
#include "loop/loop.h"

#define TIMEOUT_MS 60000

struct mb_http_client {
    CURL *curl;
    char *base;  /* "http://host" */
    char *where; /* for people */
    bool onion;
    int64_t timeout_ms;
    const atomic_bool *stop;
};

/* One call. */
struct call {
    struct mb_http_client *client;
    struct mb_error *error;
    unsigned *status;
    struct mb_buf *body;
    size_t max, got; /* bytes of the body; of one line */
    int (*line)(void *arg, struct mb_bytes line, struct mb_error *error);
    void *arg;
    struct mb_buf rest; /* of a line */
    int rc;             /* why the transfer was broken off */
    int64_t moved_ms;   /* when bytes moved last */
    curl_off_t moved;
};

static int too_long(struct call *c)
{
    c->rc = mb_fail(c->error, MB_ELIMIT, "limit.answer",
                    "the answer is over %zu bytes: ask for less at once", c->max);
    return c->rc;
}

static int give_line(struct call *c, struct mb_bytes line)
{
    if (line.len > c->max)
        return too_long(c);
    c->rc = c->line(c->arg, line, c->error);
    return c->rc;
}

static int give_lines(struct call *c, const uint8_t *data, size_t len)
{
    const uint8_t *stop;
    while ((stop = memchr(data, '\n', len)) != NULL) {
        size_t n = (size_t)(stop - data);
        struct mb_bytes line = mb_bytes(data, n);
        if (c->rest.len > 0) {
            mb_buf_add(&c->rest, data, n);
            line = mb_buf_bytes(&c->rest);
        }
        if (give_line(c, line) != 0)
            return c->rc;
        mb_buf_reset(&c->rest);
        data = stop + 1;
        len -= n + 1;
    }
    if (len > c->max - c->rest.len)
        return too_long(c);
    mb_buf_add(&c->rest, data, len);
    return 0;
}

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
    struct call *c = arg;
    size_t len = size * count;
    long status = 0;
    curl_easy_getinfo(c->client->curl, CURLINFO_RESPONSE_CODE, &status);
    *c->status = (unsigned)status;
    if (c->line != NULL)
        return give_lines(c, (const uint8_t *)data, len) == 0 ? len : 0;
    if (len > c->max - c->got) {
        too_long(c);
        return 0;
    }
    c->got += len;
    mb_buf_add(c->body, data, len);
    return len;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct call *c = arg;
    int64_t now = mb_now_ms();
    (void)down_total;
    (void)up_total;
    if (c->client->stop != NULL && atomic_load(c->client->stop)) {
        c->rc = mb_fail(c->error, MB_EREACH, "http.stopped", "the call was broken off");
        return 1;
    }
    if (down + up != c->moved) {
        c->moved = down + up;
        c->moved_ms = now;
    }
    if (now - c->moved_ms < c->client->timeout_ms)
        return 0;
    c->rc = mb_fail(c->error, MB_EREACH, "http.timeout",
                    "%s did not answer in time: try again, it may be busy or restarting",
                    c->client->where);
    return 1;
}

/* --- Targets --- */

static bool is_loopback(const char *socks)
{
    const char *port = strncmp(socks, "127.0.0.1:", 10) == 0 ? socks + 10
                       : strncmp(socks, "[::1]:", 6) == 0    ? socks + 6
                                                             : "";
    size_t digits = strspn(port, "0123456789");
    return digits > 0 && digits <= 5 && port[digits] == 0;
}

static char *proxy_of(const char *socks)
{
    if (socks == NULL)
        return NULL;
    if (strncmp(socks, "unix:/", 6) != 0)
        return is_loopback(socks) ? mb_asprintf("socks5h://%s", socks) : NULL;
    struct mb_buf out = {0};
    mb_buf_add_text(&out, "socks5h://localhost");
    for (const char *p = socks + 5; *p != 0; p++)
        mb_buf_addf(&out, *p == '/' ? "/" : "%%%02X", (unsigned)(unsigned char)*p);
    return mb_buf_take_text(&out);
}

static int set_target(struct mb_http_client *c, const struct mb_http_client_options *o,
                      struct mb_error *error)
{
    if (o->unix_path != NULL && o->onion == NULL) {
        curl_easy_setopt(c->curl, CURLOPT_UNIX_SOCKET_PATH, o->unix_path);
        curl_easy_setopt(c->curl, CURLOPT_PROXY, "");
        c->base = mb_strdup("http://localhost");
        c->where = mb_strdup(o->unix_path);
        return 0;
    }
    if (o->unix_path != NULL || o->onion == NULL || !mb_onion_decode(NULL, o->onion))
        return mb_fail(error, MB_EINVAL, "http.clearnet",
                       "only onion addresses and Unix sockets are ever dialled");
    char *proxy = proxy_of(o->socks);
    if (proxy == NULL)
        return mb_fail(error, MB_EINVAL, "http.clearnet",
                       "the SOCKS proxy must be on this machine: unix:/PATH or 127.0.0.1:PORT");
    curl_easy_setopt(c->curl, CURLOPT_PROXY, proxy);
    free(proxy);
    if (o->isolation != NULL) {
        curl_easy_setopt(c->curl, CURLOPT_PROXYUSERNAME, o->isolation);
        curl_easy_setopt(c->curl, CURLOPT_PROXYPASSWORD, "-");
    }
    c->base = mb_asprintf("http://%s", o->onion);
    c->where = mb_strdup(o->socks);
    c->onion = true;
    return 0;
}

int mb_http_client_new(struct mb_http_client **out, const struct mb_http_client_options *options,
                       struct mb_error *error)
{
    struct mb_http_client *c = mb_calloc(1, sizeof *c);
    *out = NULL;
    c->stop = options->stop;
    c->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
    if (curl_global_init(CURL_GLOBAL_NOTHING) != 0 || (c->curl = curl_easy_init()) == NULL) {
        free(c);
        return mb_fail(error, MB_EIO, "http.curl", "libcurl does not start");
    }
    curl_easy_setopt(c->curl, CURLOPT_NOPROXY, "");
    curl_easy_setopt(c->curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(c->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(c->curl, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(options->reach_ms > 0 ? options->reach_ms : c->timeout_ms));
    curl_easy_setopt(c->curl, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c->curl, CURLOPT_NOPROGRESS, 0L);
    int rc = set_target(c, options, error);
    if (rc != 0) {
        mb_http_client_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

const char *mb_http_client_onion(const struct mb_http_client *c)
{
    return c->onion ? c->base + strlen("http://") : NULL;
}

void mb_http_client_free(struct mb_http_client *c)
{
    if (c == NULL)
        return;
    curl_easy_cleanup(c->curl);
    curl_global_cleanup();
    free(c->base);
    free(c->where);
    free(c);
}

/* --- Calls --- */

static int explain(const struct call *c, CURLcode code)
{
    const struct mb_http_client *client = c->client;
    bool no_connection = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_PROXY;
    if (c->rc != 0)
        return c->rc;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return mb_fail(c->error, MB_EREACH, "http.timeout",
                       "%s did not answer in time: try again, it may be busy or restarting",
                       client->where);
    if (no_connection && client->onion)
        return mb_fail(c->error, MB_EREACH, "http.unreachable",
                       "no SOCKS proxy at %s: is Tor running there?", client->where);
    if (no_connection)
        return mb_fail(c->error, MB_EREACH, "http.unreachable",
                       "nobody listens at %s: is magicbizd running?", client->where);
    if (code == CURLE_PROXY)
        return mb_fail(c->error, MB_EREACH, "http.unreachable",
                       "Tor did not reach the onion service: is it up, and is Tor connected? Try "
                       "again in a minute");
    if (code == CURLE_URL_MALFORMAT)
        return mb_fail(c->error, MB_EINVAL, "http.path", "this path cannot be asked for");
    return mb_fail(c->error, MB_EREACH, "http.unreachable",
                   "the connection broke before the answer was complete (%s): try again",
                   curl_easy_strerror(code));
}

static bool path_sound(const char *path)
{
    if (path[0] != '/')
        return false;
    for (const char *p = path; *p != 0; p++)
        if (*p <= ' ' || *p == 0x7f || *p == '#')
            return false;
    return true;
}

static int perform(struct call *c, const char *path, struct curl_slist *headers)
{
    CURL *curl = c->client->curl;
    long status = 0;
    *c->status = 0;
    if (!path_sound(path))
        return mb_fail(c->error, MB_EINVAL, "http.path", "the path is not escaped");
    char *url = mb_asprintf("%s%s", c->client->base, path);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, c);
    c->moved_ms = mb_now_ms();
    CURLcode code = curl_easy_perform(curl);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    free(url);
    if (code != CURLE_OK)
        return explain(c, code);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    *c->status = (unsigned)status;
    return 0;
}

static int get(struct call *c, const char *path)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Accept:");
    curl_easy_setopt(c->client->curl, CURLOPT_HTTPGET, 1L);
    int rc = perform(c, path, headers);
    curl_slist_free_all(headers);
    return rc;
}

int mb_http_get(struct mb_http_client *c, const char *path, size_t max, unsigned *status,
                struct mb_buf *body, struct mb_error *error)
{
    struct call call = {.client = c, .error = error, .status = status, .body = body, .max = max};
    return get(&call, path);
}

int mb_http_post(struct mb_http_client *c, const char *path, const char *type, struct mb_bytes in,
                 size_t max, unsigned *status, struct mb_buf *body, struct mb_error *error)
{
    struct call call = {.client = c, .error = error, .status = status, .body = body, .max = max};
    char *type_header = mb_asprintf("Content-Type: %s", type);
    struct curl_slist *headers = curl_slist_append(NULL, "Accept:");
    headers = curl_slist_append(headers, "Expect:");
    headers = curl_slist_append(headers, type_header);
    curl_easy_setopt(c->curl, CURLOPT_POST, 1L);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)in.len);
    curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, in.len == 0 ? "" : (const char *)in.data);
    int rc = perform(&call, path, headers);
    curl_slist_free_all(headers);
    free(type_header);
    return rc;
}

int mb_http_get_lines(struct mb_http_client *c, const char *path, size_t line_max,
                      int (*line)(void *arg, struct mb_bytes line, struct mb_error *error),
                      void *arg, unsigned *status, struct mb_error *error)
{
    struct call call = {
        .client = c, .error = error, .status = status, .max = line_max, .line = line, .arg = arg};
    int rc = get(&call, path);
    if (rc == 0 && call.rest.len > 0)
        rc = give_line(&call, mb_buf_bytes(&call.rest));
    mb_buf_clear(&call.rest);
    return rc;
}
