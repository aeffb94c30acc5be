/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Bytes: memory that does not fail, a growing buffer, and a read cursor whose error sticks.
 * All integers on the wire are unsigned and big-endian.
 */
#ifndef MB_BASE_BYTES_H
#define MB_BASE_BYTES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Allocate; abort when memory is out. Sizes from the network are bounded before they come here. */
void *mb_alloc(size_t size);
void *mb_calloc(size_t count, size_t size);
void *mb_realloc(void *p, size_t size);
char *mb_strdup(const char *s);
char *mb_strndup(const char *s, size_t n);
void *mb_memdup(const void *p, size_t n);
char *mb_asprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* snprintf that says when it cut: 0, or MB_ELIMIT. out is always terminated (size >= 1). */
int mb_snprintf(char *out, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Borrowed bytes. */
struct mb_bytes {
    const uint8_t *data;
    size_t len;
};
struct mb_bytes mb_bytes(const void *data, size_t len);
struct mb_bytes mb_bytes_of(const char *text); /* without the final NUL */
bool mb_bytes_equal(struct mb_bytes a, struct mb_bytes b);
int mb_bytes_compare(struct mb_bytes a, struct mb_bytes b); /* memcmp order, shorter first */

/* A growing buffer. All zero is empty. data is always followed by a NUL that len does not count. */
struct mb_buf {
    uint8_t *data;
    size_t len, cap;
};
void mb_buf_clear(struct mb_buf *b);                /* free, and make empty */
void mb_buf_reset(struct mb_buf *b);                /* make empty, keep the memory */
void mb_buf_reserve(struct mb_buf *b, size_t more); /* room for more bytes behind len */
void mb_buf_add(struct mb_buf *b, const void *p, size_t n);
void mb_buf_add_bytes(struct mb_buf *b, struct mb_bytes bytes);
void mb_buf_add_text(struct mb_buf *b, const char *text);
void mb_buf_addf(struct mb_buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void mb_buf_add_u8(struct mb_buf *b, uint8_t v);
void mb_buf_add_u16(struct mb_buf *b, uint16_t v);
void mb_buf_add_u32(struct mb_buf *b, uint32_t v);
void mb_buf_add_u64(struct mb_buf *b, uint64_t v);
void mb_buf_add_string(struct mb_buf *b, struct mb_bytes bytes); /* len:4 || bytes (RFC 4251) */
void mb_buf_consume(struct mb_buf *b, size_t n);                 /* drop n bytes from the front */
char *mb_buf_text(struct mb_buf *b);      /* borrowed, terminated; never NULL */
char *mb_buf_take_text(struct mb_buf *b); /* owned by the caller; b becomes empty */
struct mb_bytes mb_buf_bytes(const struct mb_buf *b);

/* A read cursor. After a short read everything returns zero or empty, and failed stays set. */
struct mb_cursor {
    const uint8_t *p, *end;
    bool failed;
};
struct mb_cursor mb_cursor(struct mb_bytes bytes);
uint8_t mb_cursor_u8(struct mb_cursor *c);
uint16_t mb_cursor_u16(struct mb_cursor *c);
uint32_t mb_cursor_u32(struct mb_cursor *c);
uint64_t mb_cursor_u64(struct mb_cursor *c);
struct mb_bytes mb_cursor_take(struct mb_cursor *c, size_t n); /* borrowed from the input */
struct mb_bytes mb_cursor_string(struct mb_cursor *c);         /* len:4 || bytes (RFC 4251) */
size_t mb_cursor_left(const struct mb_cursor *c);
bool mb_cursor_done(const struct mb_cursor *c); /* nothing failed, and nothing is left */

/* Equal, in time that depends on n alone. */
bool mb_equal_secret(const void *a, const void *b, size_t n);

#endif
