/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Strict JSON, in one pass into Jansson's values. What is taken is a rule of consensus: Jansson's
 * own parser lets pass what a ledger must not (reals, negative zero, deep nesting), may pass other
 * things in another version, and took six to eight times as long for commands and envelopes. The
 * fuzz target compares the two.
 */
#include "config.h"

#include "base/json.h"

#include <string.h>

#include "base/encode.h"

struct parser {
    const char *start, *at, *end;
    size_t depth;
    struct mb_buf text; /* of a string with escapes */
    const char *wrong;  /* what is, first */
};

static json_t *take_value(struct parser *p);

static void *refuse(struct parser *p, const char *why)
{
    if (p->wrong == NULL)
        p->wrong = why;
    return NULL;
}

static bool take(struct parser *p, char c)
{
    if (p->at == p->end || *p->at != c)
        return false;
    p->at++;
    return true;
}

static void skip_space(struct parser *p)
{
    while (take(p, ' ') || take(p, '\n') || take(p, '\t') || take(p, '\r'))
        continue;
}

static json_t *take_word(struct parser *p, const char *word, json_t *value)
{
    for (; *word != '\0'; word++)
        if (!take(p, *word))
            return refuse(p, "this is no value");
    return value;
}

static json_t *take_integer(struct parser *p)
{
    bool negative = take(p, '-');
    const char *first = p->at;
    uint64_t n = 0, most = negative ? UINT64_C(1) << 63 : INT64_MAX;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        unsigned digit = (unsigned)(*p->at - '0');
        if (n > (most - digit) / 10)
            return refuse(p, "a number is not within 64 bits");
        n = 10 * n + digit;
    }
    if (p->at == first || (*first == '0' && (negative || p->at - first > 1)))
        return refuse(p, "a number is not an integer in its shortest form");
    return json_integer((json_int_t)(negative ? -n : n));
}

/* --- Strings. --- */

/* Four hex digits; 0 if they are not there. */
static uint32_t take_unit(struct parser *p)
{
    uint32_t n = 0;
    for (int i = 0; i < 4; i++) {
        char c = p->at < p->end ? *p->at++ : '\0', letter = (char)(c | 0x20);
        if (c >= '0' && c <= '9')
            n = n << 4 | (uint32_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            n = n << 4 | (uint32_t)(letter - 'a' + 10);
        else
            return 0;
    }
    return n;
}

static void add_utf8(struct mb_buf *out, uint32_t point)
{
    static const struct {
        uint32_t below;
        uint8_t lead;
    } forms[] = {{0x80, 0}, {0x800, 0xc0}, {0x10000, 0xe0}, {0x110000, 0xf0}};
    unsigned more = 0;
    while (point >= forms[more].below)
        more++;
    mb_buf_add_u8(out, (uint8_t)(forms[more].lead | point >> 6 * more));
    while (more-- > 0)
        mb_buf_add_u8(out, (uint8_t)(0x80 | (point >> 6 * more & 0x3f)));
}

/* What follows a backslash. */
static bool take_escape(struct parser *p)
{
    static const char names[] = "\"\\/bfnrt", means[] = "\"\\/\b\f\n\r\t";
    const char *name = p->at < p->end ? memchr(names, *p->at, sizeof names - 1) : NULL;
    if (name != NULL) {
        p->at++;
        mb_buf_add_u8(&p->text, (uint8_t)means[name - names]);
        return true;
    }
    uint32_t point = take(p, 'u') ? take_unit(p) : 0;
    if (point >= 0xd800 && point < 0xdc00) {
        uint32_t low = take(p, '\\') && take(p, 'u') ? take_unit(p) : 0;
        bool pair = low >= 0xdc00 && low < 0xe000;
        point = pair ? 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00) : 0;
    } else if (point >= 0xdc00 && point < 0xe000) {
        point = 0;
    }
    if (point == 0)
        return refuse(p, "an escape stands for no character, or for NUL") != NULL;
    add_utf8(&p->text, point);
    return true;
}

/* The text of a string, whose opening quote is taken: of the input, or p->text. */
static bool take_string(struct parser *p, struct mb_bytes *out)
{
    const char *start = p->at, *plain = start; /* what stands for itself since then */
    bool ascii = true;
    mb_buf_reset(&p->text);
    while (p->at < p->end && *p->at != '"') {
        unsigned char c = (unsigned char)*p->at;
        if (c < 0x20)
            return refuse(p, "a control character in a string") != NULL;
        if (c != '\\') {
            ascii &= c < 0x80;
            p->at++;
            continue;
        }
        mb_buf_add(&p->text, plain, (size_t)(p->at++ - plain));
        if (!take_escape(p))
            return false;
        plain = p->at;
    }
    size_t len = (size_t)(p->at - start), rest = (size_t)(p->at - plain);
    if (!take(p, '"'))
        return refuse(p, "a string has no end") != NULL;
    if (!ascii && !mb_utf8_valid(start, len)) /* escapes are ASCII */
        return refuse(p, "a string is not UTF-8") != NULL;
    if (plain != start)
        mb_buf_add(&p->text, plain, rest);
    *out = plain == start ? mb_bytes(start, len) : mb_buf_bytes(&p->text);
    return true;
}

/* --- Values. --- */

static bool take_elements(struct parser *p, json_t *array)
{
    skip_space(p);
    if (take(p, ']'))
        return true;
    do {
        if (json_array_append_new(array, take_value(p)) != 0)
            return false;
        skip_space(p);
    } while (take(p, ','));
    return take(p, ']') || refuse(p, "an array has no end") != NULL;
}

/* One field, if it is the first of its name. */
static bool take_field(struct parser *p, json_t *object)
{
    size_t count = json_object_size(object);
    struct mb_bytes key;
    skip_space(p);
    if (!take(p, '"'))
        return refuse(p, "a field has no name") != NULL;
    if (!take_string(p, &key))
        return false;
    struct mb_buf copy = {0};
    if (key.data == p->text.data) { /* where the value's strings come */
        copy = p->text;
        p->text = (struct mb_buf){0};
    }
    skip_space(p);
    json_t *value = take(p, ':') ? take_value(p) : refuse(p, "a field has no value");
    bool added = json_object_setn_new_nocheck(object, (const char *)key.data, key.len, value) == 0;
    mb_buf_clear(&copy);
    return added &&
           (json_object_size(object) > count || refuse(p, "an object has a field twice") != NULL);
}

static bool take_fields(struct parser *p, json_t *object)
{
    skip_space(p);
    if (take(p, '}'))
        return true;
    do {
        if (!take_field(p, object))
            return false;
        skip_space(p);
    } while (take(p, ','));
    return take(p, '}') || refuse(p, "an object has no end") != NULL;
}

static json_t *take_nested(struct parser *p, bool is_object)
{
    if (p->depth == MB_JSON_DEPTH)
        return refuse(p, "it is nested too deeply");
    p->depth++;
    json_t *value = is_object ? json_object() : json_array();
    if (!(is_object ? take_fields(p, value) : take_elements(p, value))) {
        json_decref(value);
        return NULL;
    }
    p->depth--;
    return value;
}

static json_t *take_value(struct parser *p)
{
    struct mb_bytes text;
    skip_space(p);
    if (take(p, '"'))
        return take_string(p, &text) ? json_stringn_nocheck((const char *)text.data, text.len)
                                     : NULL;
    if (take(p, '{'))
        return take_nested(p, true);
    if (take(p, '['))
        return take_nested(p, false);
    switch (p->at < p->end ? *p->at : '\0') {
    case 't':
        return take_word(p, "true", json_true());
    case 'f':
        return take_word(p, "false", json_false());
    case 'n':
        return take_word(p, "null", json_null());
    default:
        return take_integer(p);
    }
}

int mb_json_parse(json_t **out, const void *text, size_t len, struct mb_error *error)
{
    const char *start = len == 0 ? "" : text;
    struct parser p = {.start = start, .at = start, .end = start + len};
    *out = take_value(&p);
    skip_space(&p);
    if (*out != NULL && p.at < p.end) {
        json_decref(*out);
        *out = refuse(&p, "something follows the value");
    }
    mb_buf_clear(&p.text);
    if (*out != NULL)
        return 0;
    return mb_fail(error, MB_EINVAL, "json.invalid", "This is no strict JSON: byte %zu: %s.",
                   (size_t)(p.at - p.start) + 1, p.wrong);
}
