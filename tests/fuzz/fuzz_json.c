/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What parses has one canonical text, and that text parses to the same value. Jansson's own parser
 * makes the same value of it; what that parses and ours does not is one of the things that strict
 * JSON leaves out.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Something that strict JSON has not: a NUL, a real, -0, deep nesting. */
static bool is_loose(const json_t *value, const uint8_t *data, size_t size, unsigned depth)
{
    json_t *inner = (json_t *)value; /* Jansson iterates over what is not const */
    const char *name;
    json_t *field;
    size_t i;
    bool loose = memchr(data, 0, size) != NULL || json_is_real(value) || depth > MB_JSON_DEPTH ||
                 (json_is_integer(value) && memmem(data, size, "-0", 2) != NULL);
    json_array_foreach(inner, i, field) loose |= is_loose(field, data, size, depth + 1);
    json_object_foreach(inner, name, field) loose |= is_loose(field, data, size, depth + 1);
    return loose;
}

static bool jansson_agrees(const json_t *value, const uint8_t *data, size_t size)
{
    json_error_t e;
    json_t *theirs =
        json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    unsigned outermost = json_is_array(theirs) || json_is_object(theirs) ? 1 : 0;
    bool agrees = value != NULL ? theirs != NULL && json_equal(theirs, value)
                                : theirs == NULL || is_loose(theirs, data, size, outermost);
    json_decref(theirs);
    return agrees;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value, *again;
    struct mb_error error = {0};
    if (mb_json_parse(&value, data, size, &error) != 0) {
        if (value != NULL || strcmp(error.code, "json.invalid") != 0 ||
            !mb_utf8_valid(error.text, strlen(error.text)) || !jansson_agrees(NULL, data, size))
            abort();
        return 0;
    }
    if (!jansson_agrees(value, data, size))
        abort();
    struct mb_buf text = {0}, text_again = {0};
    if (mb_json_canonical(&text, value, &error) == 0) {
        if (mb_json_parse(&again, text.data, text.len, NULL) != 0 || !json_equal(value, again) ||
            mb_json_canonical(&text_again, again, NULL) != 0 ||
            !mb_bytes_equal(mb_buf_bytes(&text), mb_buf_bytes(&text_again)))
            abort();
        json_decref(again);
    }
    mb_buf_clear(&text);
    mb_buf_clear(&text_again);
    json_decref(value);
    return 0;
}
