/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/encode.h"

#define ARG_MAX_BYTES  200 /* of an argument as it stands */
#define ARG_MAX_QUOTED 250 /* of it between its quotes: four of them always fit */
#define ARGS_MAX       4

_Static_assert(ARGS_MAX *(ARG_MAX_QUOTED + 2) + (ARGS_MAX - 1) + 2 + 1 <= MB_ERROR_ARGS_MAX,
               "the longest args fit");

/* Drop the first bytes of a character whose others were cut off. */
static void end_at_character(char *text)
{
    size_t len = strlen(text), start = len;
    while (start > 0 && len - start < 4 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start > 0 && (unsigned char)text[start - 1] >= 0xc0 &&
        !mb_utf8_valid(text + start - 1, len - start + 1))
        text[start - 1] = '\0';
}

int mb_fail(struct mb_error *error, enum mb_err err, const char *code, const char *format, ...)
{
    if (error == NULL)
        return err;
    mb_snprintf(error->code, sizeof error->code, "%s", code);
    mb_snprintf(error->args, sizeof error->args, "[]");
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(error->text, sizeof error->text, format, ap);
    va_end(ap);
    if (n < 0)
        error->text[0] = '\0';
    else if ((size_t)n >= sizeof error->text)
        end_at_character(error->text);
    return err;
}

/* Append text as a JSON string, up to the last character that keeps within both limits. */
static void add_text_arg(struct mb_buf *args, const char *text)
{
    struct mb_buf quoted = {0};
    size_t total = strlen(text), used = 0;
    while (used < total) {
        size_t n = 1;
        while (n < 4 && ((unsigned char)text[used + n] & 0xc0) == 0x80)
            n++;
        size_t before = quoted.len;
        mb_json_escape(&quoted, text + used, n);
        if (used + n > ARG_MAX_BYTES || quoted.len > ARG_MAX_QUOTED ||
            !mb_utf8_valid(text + used, n)) {
            quoted.len = before;
            break;
        }
        used += n;
    }
    mb_buf_add_u8(args, '"');
    mb_buf_add_bytes(args, mb_buf_bytes(&quoted));
    mb_buf_add_u8(args, '"');
    mb_buf_clear(&quoted);
}

int mb_refuse(struct mb_error *error, const char *code, const char *types, ...)
{
    if (error == NULL)
        return MB_EREFUSED;
    if (strlen(types) > ARGS_MAX)
        abort();
    struct mb_buf args = {0};
    va_list ap;
    va_start(ap, types);
    for (const char *t = types; *t != '\0'; t++) {
        mb_buf_add_u8(&args, t == types ? '[' : ',');
        if (*t == 's')
            add_text_arg(&args, va_arg(ap, const char *));
        else if (*t == 'd')
            mb_buf_addf(&args, "%lld", (long long)va_arg(ap, int64_t));
        else
            abort();
    }
    va_end(ap);
    mb_buf_add_text(&args, *types == '\0' ? "[]" : "]");
    mb_snprintf(error->code, sizeof error->code, "%s", code);
    memcpy(error->args, mb_buf_text(&args), args.len + 1);
    error->text[0] = '\0';
    mb_buf_clear(&args);
    return MB_EREFUSED;
}
