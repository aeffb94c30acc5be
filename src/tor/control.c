/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "tor/control.h"

struct mb_control_parser {
    struct mb_buf line;    /* of which the end has not come yet */
    struct mb_buf current; /* the reply's line being built, with its data block */
    size_t reply_bytes;
    int status; /* of the reply being built, 0 if none */
    bool in_data, failed;
    struct mb_control_reply reply;
    size_t cap;
};

struct mb_control_parser *mb_control_parser_new(void)
{
    return mb_calloc(1, sizeof(struct mb_control_parser));
}

static void reply_clear(struct mb_control_parser *p)
{
    for (size_t i = 0; i < p->reply.count; i++)
        free(p->reply.lines[i]);
    p->reply.count = 0;
    p->reply_bytes = 0;
    p->status = 0;
}

void mb_control_parser_free(struct mb_control_parser *p)
{
    if (p == NULL)
        return;
    reply_clear(p);
    free(p->reply.lines);
    mb_buf_clear(&p->line);
    mb_buf_clear(&p->current);
    free(p);
}

static int broken(struct mb_error *error, const char *what)
{
    return mb_fail(error, MB_EINVAL, "tor.protocol", "the control port sent %s", what);
}

static int too_much(struct mb_error *error, const char *what)
{
    return mb_fail(error, MB_ELIMIT, "tor.protocol", "the control port sent %s", what);
}

static int line_finished(struct mb_control_parser *p, struct mb_error *error)
{
    if (p->reply.count == MB_CONTROL_LINES_MAX)
        return too_much(error, "a reply of too many lines");
    if (p->reply.count == p->cap) {
        p->cap = p->cap == 0 ? 8 : 2 * p->cap;
        p->reply.lines = mb_realloc(p->reply.lines, p->cap * sizeof *p->reply.lines);
    }
    p->reply.lines[p->reply.count++] = mb_buf_take_text(&p->current);
    return 0;
}

/* "250-text", "250+text" or "250 text" (control-spec 2.3); all lines of a reply have one status. */
static int status_of(const char *text, size_t len)
{
    if (len < 4)
        return -1;
    for (int i = 0; i < 3; i++)
        if (text[i] < '0' || text[i] > '9')
            return -1;
    int status = (text[0] - '0') * 100 + (text[1] - '0') * 10 + (text[2] - '0');
    return status >= 100 && strchr("-+ ", text[3]) != NULL ? status : -1;
}

static int take_line(struct mb_control_parser *p, const char *text, size_t len,
                     void (*reply)(void *, const struct mb_control_reply *), void *arg,
                     struct mb_error *error)
{
    p->reply_bytes += len;
    if (p->reply_bytes > MB_CONTROL_REPLY_MAX)
        return too_much(error, "a reply that is too long");
    if (p->in_data) {
        if (len == 1 && text[0] == '.') {
            p->in_data = false;
            return line_finished(p, error);
        }
        size_t stuffed = len > 0 && text[0] == '.';
        mb_buf_add_u8(&p->current, '\n');
        mb_buf_add(&p->current, text + stuffed, len - stuffed);
        return 0;
    }
    int status = status_of(text, len);
    if (status < 0 || (p->status != 0 && p->status != status))
        return broken(error, "a line that is no reply");
    p->status = status;
    mb_buf_add(&p->current, text + 4, len - 4);
    if (text[3] == '+') {
        p->in_data = true;
        return 0;
    }
    int rc = line_finished(p, error);
    if (rc != 0 || text[3] == '-')
        return rc;
    p->reply.status = status;
    reply(arg, &p->reply);
    reply_clear(p);
    return 0;
}

static int feed(struct mb_control_parser *p, struct mb_bytes bytes,
                void (*reply)(void *, const struct mb_control_reply *), void *arg,
                struct mb_error *error)
{
    while (bytes.len > 0) {
        const uint8_t *end = memchr(bytes.data, '\n', bytes.len);
        size_t n = end != NULL ? (size_t)(end - bytes.data) + 1 : bytes.len;
        if (p->line.len + n > MB_CONTROL_LINE_MAX)
            return too_much(error, "a line that is too long");
        mb_buf_add(&p->line, bytes.data, n);
        bytes = mb_bytes(bytes.data + n, bytes.len - n);
        if (end == NULL)
            return 0;
        const char *text = (const char *)p->line.data;
        size_t len = p->line.len - 1;
        if (len == 0 || text[len - 1] != '\r')
            return broken(error, "a line without CR LF");
        if (memchr(text, '\0', len) != NULL)
            return broken(error, "a zero byte");
        int rc = take_line(p, text, len - 1, reply, arg, error);
        if (rc != 0)
            return rc;
        mb_buf_reset(&p->line);
    }
    return 0;
}

int mb_control_feed(struct mb_control_parser *p, struct mb_bytes bytes,
                    void (*reply)(void *arg, const struct mb_control_reply *r), void *arg,
                    struct mb_error *error)
{
    if (p->failed)
        return broken(error, "more after an error");
    int rc = feed(p, bytes, reply, arg, error);
    p->failed = rc != 0;
    return rc;
}

/* The character after a backslash (control-spec 2.1.1, and C's escapes that tor writes); moves *at
 * behind it. -1: a zero byte, or nothing there. */
static int unescape(const char **at)
{
    const char *p = *at;
    int c = (unsigned char)*p;
    if (c == '\0')
        return -1;
    if (c >= '0' && c <= '7') {
        c = 0;
        for (int i = 0; i < 3 && *p >= '0' && *p <= '7'; i++)
            c = c * 8 + (*p++ - '0');
        *at = p;
        return c > 0 && c < 256 ? c : -1;
    }
    *at = p + 1;
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
}

/* Read the rest of a quoted string and move *at behind its end; append it to out unless NULL. False
 * if it has no end. */
static bool skip_quoted(const char **at, struct mb_buf *out)
{
    while (**at != '"') {
        int c = (unsigned char)*(*at)++;
        if (c == '\\')
            c = unescape(at);
        if (c <= 0)
            return false;
        if (out != NULL)
            mb_buf_add_u8(out, (uint8_t)c);
    }
    (*at)++;
    return true;
}

char *mb_control_value(const char *line, const char *key)
{
    size_t key_len = strlen(key);
    for (const char *p = line + strspn(line, " \n"); *p != '\0'; p += strspn(p, " \n")) {
        bool found = strncmp(p, key, key_len) == 0 && p[key_len] == '=';
        p += strcspn(p, " \n=\"");
        p += *p == '=';
        if (*p == '"') {
            struct mb_buf value = {0};
            p++;
            if (!skip_quoted(&p, &value)) {
                mb_buf_clear(&value);
                return NULL;
            }
            if (found)
                return mb_buf_take_text(&value);
            mb_buf_clear(&value);
            continue;
        }
        size_t len = strcspn(p, " \n");
        if (found)
            return mb_strndup(p, len);
        p += len;
    }
    return NULL;
}

void mb_control_quote(struct mb_buf *out, struct mb_bytes text)
{
    mb_buf_add_u8(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\')
            mb_buf_addf(out, "\\%c", c);
        else if (c < 0x20 || c >= 0x7f)
            mb_buf_addf(out, "\\%03o", c);
        else
            mb_buf_add_u8(out, c);
    }
    mb_buf_add_u8(out, '"');
}

int mb_tor_version_parse(unsigned version[4], const char *text)
{
    const char *p = strncmp(text, "Tor ", 4) == 0 ? text + 4 : text;
    for (int i = 0; i < 4; i++) {
        if (i > 0 && *p++ != '.')
            return MB_EINVAL;
        size_t digits = strspn(p, "0123456789");
        if (digits == 0 || digits > 6)
            return MB_EINVAL;
        version[i] = 0;
        for (; digits > 0; digits--)
            version[i] = version[i] * 10 + (unsigned)(*p++ - '0');
    }
    return *p == '\0' || *p == ' ' || *p == '-' ? 0 : MB_EINVAL;
}

static void keyed_hash(const char *key, const uint8_t message[96], uint8_t out[32])
{
    if (HMAC(EVP_sha256(), key, (int)strlen(key), message, 96, out, NULL) == NULL)
        abort();
}

void mb_safecookie_hashes(const uint8_t cookie[32], const uint8_t client_nonce[32],
                          const uint8_t server_nonce[32], uint8_t server_hash[32],
                          uint8_t client_hash[32])
{
    uint8_t message[96];
    memcpy(message, cookie, 32);
    memcpy(message + 32, client_nonce, 32);
    memcpy(message + 64, server_nonce, 32);
    keyed_hash("Tor safe cookie authentication server-to-controller hash", message, server_hash);
    keyed_hash("Tor safe cookie authentication controller-to-server hash", message, client_hash);
    OPENSSL_cleanse(message, sizeof message);
}
