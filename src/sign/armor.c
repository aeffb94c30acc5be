/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "sign/armor.h"

#include <sodium.h>
#include <string.h>

#include "base/encode.h"
#include "base/error.h"

#define LINE_MAX_READ 76
#define LINE_WRITTEN  70

void mb_buf_wipe(struct mb_buf *b)
{
    if (b->data != NULL)
        sodium_memzero(b->data, b->cap);
    mb_buf_clear(b);
}

/* Take the next line off *text; the last one may lack its LF. False at the end. */
static bool take_line(struct mb_bytes *text, struct mb_bytes *line)
{
    if (text->len == 0)
        return false;
    const uint8_t *end = memchr(text->data, '\n', text->len);
    line->data = text->data;
    line->len = end != NULL ? (size_t)(end - text->data) : text->len;
    size_t used = line->len + (end != NULL ? 1 : 0);
    text->data += used;
    text->len -= used;
    return true;
}

/* True if line is "-----WORD LABEL-----". */
static bool is_border(struct mb_bytes line, const char *word, const char *label)
{
    char border[64];
    return mb_snprintf(border, sizeof border, "-----%s %s-----", word, label) == 0 &&
           mb_bytes_equal(line, mb_bytes_of(border));
}

/* Append the block's base64 digits to digits. */
static int join_lines(struct mb_buf *digits, struct mb_bytes text, const char *label)
{
    struct mb_bytes line;
    if (!take_line(&text, &line) || !is_border(line, "BEGIN", label))
        return MB_EINVAL;
    while (take_line(&text, &line)) {
        if (is_border(line, "END", label))
            return text.len == 0 ? 0 : MB_EINVAL;
        if (line.len == 0 || line.len > LINE_MAX_READ)
            return MB_EINVAL;
        mb_buf_add_bytes(digits, line);
    }
    return MB_EINVAL;
}

int mb_armor_read(struct mb_buf *binary, struct mb_bytes text, const char *label, size_t max)
{
    if (text.len > 4 * max + 256) /* more than max bytes with one digit a line */
        return MB_EINVAL;
    size_t before = binary->len;
    struct mb_buf digits = {0};
    mb_buf_reserve(&digits, text.len);
    int err = join_lines(&digits, text, label);
    if (err == 0)
        err = mb_base64_decode(binary, (char *)digits.data, digits.len);
    if (err == 0 && binary->len - before > max) {
        binary->len = before;
        err = MB_EINVAL;
    }
    mb_buf_wipe(&digits);
    return err;
}

void mb_armor_write(struct mb_buf *text, struct mb_bytes binary, const char *label)
{
    struct mb_buf digits = {0};
    mb_buf_reserve(&digits, (binary.len + 2) / 3 * 4);
    mb_base64_encode(&digits, binary.data, binary.len);
    /* Reserved at once, so that no copy of a secret is left behind by growing. */
    mb_buf_reserve(text, digits.len + digits.len / LINE_WRITTEN + 2 * strlen(label) + 64);
    mb_buf_addf(text, "-----BEGIN %s-----\n", label);
    for (size_t at = 0; at < digits.len; at += LINE_WRITTEN) {
        size_t left = digits.len - at;
        mb_buf_add(text, digits.data + at, left < LINE_WRITTEN ? left : LINE_WRITTEN);
        mb_buf_add_u8(text, '\n');
    }
    mb_buf_addf(text, "-----END %s-----\n", label);
    mb_buf_wipe(&digits);
}
