/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "base/bytes.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define BUF_LEAST 128 /* most texts grow no further */

/* Zero bytes are one byte, so that what comes back is never NULL. */
static size_t at_least_one(size_t size)
{
    return size == 0 ? 1 : size;
}

static void *or_abort(void *p)
{
    if (p == NULL)
        abort();
    return p;
}

void *mb_alloc(size_t size)
{
    return or_abort(malloc(at_least_one(size)));
}

void *mb_calloc(size_t count, size_t size)
{
    return or_abort(calloc(at_least_one(count), at_least_one(size)));
}

void *mb_realloc(void *p, size_t size)
{
    return or_abort(realloc(p, at_least_one(size)));
}

void *mb_memdup(const void *p, size_t n)
{
    void *copy = mb_alloc(n);
    if (n > 0)
        memcpy(copy, p, n);
    return copy;
}

char *mb_strdup(const char *s)
{
    return mb_memdup(s, strlen(s) + 1);
}

char *mb_strndup(const char *s, size_t n)
{
    size_t len = strnlen(s, n);
    char *copy = mb_alloc(len + 1);
    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

static void add_vf(struct mb_buf *b, const char *format, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    mb_buf_reserve(b, 0);
    size_t room = b->cap - b->len;
    int n = vsnprintf((char *)b->data + b->len, room, format, ap);
    if (n < 0)
        abort();
    if ((size_t)n >= room) {
        mb_buf_reserve(b, (size_t)n);
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, again);
    }
    va_end(again);
    b->len += (size_t)n;
}

char *mb_asprintf(const char *format, ...)
{
    struct mb_buf b = {0};
    va_list ap;
    va_start(ap, format);
    add_vf(&b, format, ap);
    va_end(ap);
    return mb_buf_take_text(&b);
}

int mb_snprintf(char *out, size_t size, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(out, size, format, ap);
    va_end(ap);
    if (n < 0)
        out[0] = '\0';
    return n >= 0 && (size_t)n < size ? 0 : MB_ELIMIT;
}

struct mb_bytes mb_bytes(const void *data, size_t len)
{
    return (struct mb_bytes){data, len};
}

struct mb_bytes mb_bytes_of(const char *text)
{
    return mb_bytes(text, strlen(text));
}

bool mb_bytes_equal(struct mb_bytes a, struct mb_bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

int mb_bytes_compare(struct mb_bytes a, struct mb_bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n == 0 ? 0 : memcmp(a.data, b.data, n);
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

void mb_buf_clear(struct mb_buf *b)
{
    free(b->data);
    *b = (struct mb_buf){0};
}

void mb_buf_reset(struct mb_buf *b)
{
    b->len = 0;
    if (b->data != NULL)
        b->data[0] = 0;
}

void mb_buf_reserve(struct mb_buf *b, size_t more)
{
    if (more > SIZE_MAX / 2 - b->len - 1)
        abort();
    size_t need = b->len + more + 1;
    if (need <= b->cap)
        return;
    size_t cap = b->cap * 2 > need ? b->cap * 2 : need;
    if (cap < BUF_LEAST)
        cap = BUF_LEAST;
    b->data = mb_realloc(b->data, cap);
    b->cap = cap;
    b->data[b->len] = 0;
}

void mb_buf_add(struct mb_buf *b, const void *p, size_t n)
{
    mb_buf_reserve(b, n);
    if (n > 0)
        memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = 0;
}

void mb_buf_add_bytes(struct mb_buf *b, struct mb_bytes bytes)
{
    mb_buf_add(b, bytes.data, bytes.len);
}

void mb_buf_add_text(struct mb_buf *b, const char *text)
{
    mb_buf_add(b, text, strlen(text));
}

void mb_buf_addf(struct mb_buf *b, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    add_vf(b, format, ap);
    va_end(ap);
}

/* Append the low n bytes of v, the most significant first. */
static void add_integer(struct mb_buf *b, uint64_t v, unsigned n)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < n; i++)
        bytes[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    mb_buf_add(b, bytes, n);
}

void mb_buf_add_u8(struct mb_buf *b, uint8_t v)
{
    add_integer(b, v, 1);
}

void mb_buf_add_u16(struct mb_buf *b, uint16_t v)
{
    add_integer(b, v, 2);
}

void mb_buf_add_u32(struct mb_buf *b, uint32_t v)
{
    add_integer(b, v, 4);
}

void mb_buf_add_u64(struct mb_buf *b, uint64_t v)
{
    add_integer(b, v, 8);
}

void mb_buf_add_string(struct mb_buf *b, struct mb_bytes bytes)
{
    if (bytes.len > UINT32_MAX)
        abort();
    mb_buf_add_u32(b, (uint32_t)bytes.len);
    mb_buf_add_bytes(b, bytes);
}

void mb_buf_consume(struct mb_buf *b, size_t n)
{
    if (n > b->len)
        abort();
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n + 1);
    b->len -= n;
}

char *mb_buf_text(struct mb_buf *b)
{
    mb_buf_reserve(b, 0);
    return (char *)b->data;
}

char *mb_buf_take_text(struct mb_buf *b)
{
    char *text = mb_buf_text(b);
    *b = (struct mb_buf){0};
    return text;
}

struct mb_bytes mb_buf_bytes(const struct mb_buf *b)
{
    return mb_bytes(b->data, b->len);
}

struct mb_cursor mb_cursor(struct mb_bytes bytes)
{
    const uint8_t *end = bytes.len == 0 ? bytes.data : bytes.data + bytes.len;
    return (struct mb_cursor){bytes.data, end, false};
}

struct mb_bytes mb_cursor_take(struct mb_cursor *c, size_t n)
{
    if (c->failed || n > mb_cursor_left(c)) {
        c->failed = true;
        return mb_bytes(NULL, 0);
    }
    struct mb_bytes taken = mb_bytes(c->p, n);
    if (n > 0)
        c->p += n;
    return taken;
}

static uint64_t take_integer(struct mb_cursor *c, size_t n)
{
    struct mb_bytes bytes = mb_cursor_take(c, n);
    uint64_t v = 0;
    for (size_t i = 0; i < bytes.len; i++)
        v = v << 8 | bytes.data[i];
    return v;
}

uint8_t mb_cursor_u8(struct mb_cursor *c)
{
    return (uint8_t)take_integer(c, 1);
}

uint16_t mb_cursor_u16(struct mb_cursor *c)
{
    return (uint16_t)take_integer(c, 2);
}

uint32_t mb_cursor_u32(struct mb_cursor *c)
{
    return (uint32_t)take_integer(c, 4);
}

uint64_t mb_cursor_u64(struct mb_cursor *c)
{
    return take_integer(c, 8);
}

struct mb_bytes mb_cursor_string(struct mb_cursor *c)
{
    return mb_cursor_take(c, mb_cursor_u32(c));
}

size_t mb_cursor_left(const struct mb_cursor *c)
{
    return c->p == c->end ? 0 : (size_t)(c->end - c->p);
}

bool mb_cursor_done(const struct mb_cursor *c)
{
    return !c->failed && mb_cursor_left(c) == 0;
}

bool mb_equal_secret(const void *a, const void *b, size_t n)
{
    return CRYPTO_memcmp(a, b, n) == 0;
}
