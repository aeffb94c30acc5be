/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <string.h>

#include "base/encode.h"
#include "http/path.h"

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte at *i, an escape being one; moves *i behind it. -1 if the escape is malformed. */
static int next_byte(const char *text, size_t len, size_t *i)
{
    if (text[*i] != '%')
        return (unsigned char)text[(*i)++];
    if (len - *i < 3)
        return -1;
    int high = digit(text[*i + 1]), low = digit(text[*i + 2]);
    *i += 3;
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static bool is_control(int byte)
{
    return byte < 0x20 || byte == 0x7f;
}

static bool segment_refused(const uint8_t *p, size_t len, bool last)
{
    return (len == 0 && !last) || (len == 1 && p[0] == '.') ||
           (len == 2 && p[0] == '.' && p[1] == '.');
}

static bool decode_path(struct mb_buf *out, const char *text, size_t len)
{
    size_t from = out->len, segment = from + 1;
    if (len == 0 || text[0] != '/')
        return false;
    for (size_t i = 0; i < len;) {
        bool escaped = text[i] == '%';
        int byte = next_byte(text, len, &i);
        if (byte < 0 || is_control(byte) || byte == '\\' || (byte == '/' && escaped))
            return false;
        if (byte == '/' && out->len > from) {
            if (segment_refused(out->data + segment, out->len - segment, false))
                return false;
            segment = out->len + 1;
        }
        mb_buf_add_u8(out, (uint8_t)byte);
    }
    return !segment_refused(out->data + segment, out->len - segment, true) &&
           mb_utf8_valid(out->data + from, out->len - from);
}

bool mb_path_decode(struct mb_buf *out, const char *text, size_t len)
{
    size_t from = out->len;
    if (decode_path(out, text, len))
        return true;
    out->len = from;
    if (out->data != NULL)
        out->data[from] = 0;
    return false;
}

static bool decode_word(struct mb_buf *out, const char *text, size_t len)
{
    size_t from = out->len;
    for (size_t i = 0; i < len;) {
        if (text[i] == '+') {
            mb_buf_add_u8(out, ' ');
            i++;
            continue;
        }
        int byte = next_byte(text, len, &i);
        if (byte < 0 || is_control(byte))
            return false;
        mb_buf_add_u8(out, (uint8_t)byte);
    }
    bool valid = mb_utf8_valid(len == 0 ? "" : (const char *)out->data + from, out->len - from);
    mb_buf_add_u8(out, 0);
    return valid;
}

bool mb_query_decode(struct mb_query *q, const char *text, size_t len)
{
    *q = (struct mb_query){0};
    mb_buf_reserve(&q->text, len + 2 * MB_QUERY_MAX); /* so that it never moves */
    const char *end = text + len;
    while (text < end) {
        const char *stop = memchr(text, '&', (size_t)(end - text));
        if (stop == NULL)
            stop = end;
        if (stop > text) {
            if (q->count == MB_QUERY_MAX)
                return false;
            const char *equal = memchr(text, '=', (size_t)(stop - text));
            const char *key_end = equal == NULL ? stop : equal;
            const char *value = equal == NULL ? stop : equal + 1;
            q->key[q->count] = (const char *)q->text.data + q->text.len;
            if (!decode_word(&q->text, text, (size_t)(key_end - text)))
                return false;
            q->value[q->count] = (const char *)q->text.data + q->text.len;
            if (!decode_word(&q->text, value, (size_t)(stop - value)))
                return false;
            q->count++;
        }
        text = stop < end ? stop + 1 : end;
    }
    return true;
}

const char *mb_query_get(const struct mb_query *q, const char *key)
{
    for (size_t i = 0; i < q->count; i++)
        if (strcmp(q->key[i], key) == 0)
            return q->value[i];
    return NULL;
}

void mb_query_clear(struct mb_query *q)
{
    mb_buf_clear(&q->text);
    *q = (struct mb_query){0};
}

/* One segment of the pattern (p..p_end) against one of the path. */
static bool match_segment(const char *p, const char *p_end, const char *s, const char *s_end,
                          struct mb_param *params, size_t *count)
{
    size_t p_len = (size_t)(p_end - p), s_len = (size_t)(s_end - s);
    const char *open = memchr(p, '{', p_len);
    if (open == NULL)
        return p_len == s_len && memcmp(p, s, p_len) == 0;
    const char *close = memchr(open, '}', (size_t)(p_end - open));
    if (close == NULL)
        return false;
    size_t before = (size_t)(open - p), after = (size_t)(p_end - close - 1);
    if (s_len <= before + after || memcmp(p, s, before) != 0 ||
        memcmp(close + 1, s_end - after, after) != 0 || *count == MB_PARAMS_MAX)
        return false;
    params[(*count)++] = (struct mb_param){mb_bytes(open + 1, (size_t)(close - open - 1)),
                                           mb_bytes(s + before, s_len - before - after)};
    return true;
}

static bool is_rest(const char *p, size_t len)
{
    return len > 5 && p[0] == '{' && memcmp(p + len - 4, "...}", 4) == 0;
}

bool mb_path_match(const char *pattern, const char *path, struct mb_param params[MB_PARAMS_MAX],
                   size_t *count)
{
    *count = 0;
    while (*pattern == '/' && *path == '/') {
        pattern++;
        path++;
        size_t p_len = strcspn(pattern, "/"), s_len = strcspn(path, "/");
        if (pattern[p_len] == 0 && is_rest(pattern, p_len)) {
            if (*count == MB_PARAMS_MAX)
                return false;
            params[(*count)++] =
                (struct mb_param){mb_bytes(pattern + 1, p_len - 5), mb_bytes(path, strlen(path))};
            return true;
        }
        if (!match_segment(pattern, pattern + p_len, path, path + s_len, params, count))
            return false;
        pattern += p_len;
        path += s_len;
    }
    return *pattern == 0 && *path == 0;
}
