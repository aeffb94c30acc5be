/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "base/json.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"

static bool add_value(struct mb_buf *out, const json_t *value, int depth);

static bool add_string(struct mb_buf *out, const char *text, size_t len)
{
    if (memchr(text, '\0', len) != NULL)
        return false;
    mb_buf_add_u8(out, '"');
    mb_json_escape(out, text, len);
    mb_buf_add_u8(out, '"');
    return true;
}

static bool add_array(struct mb_buf *out, const json_t *value, int depth)
{
    mb_buf_add_u8(out, '[');
    for (size_t i = 0; i < json_array_size(value); i++) {
        if (i > 0)
            mb_buf_add_u8(out, ',');
        if (!add_value(out, json_array_get(value, i), depth + 1))
            return false;
    }
    mb_buf_add_u8(out, ']');
    return true;
}

struct field {
    struct mb_bytes key;
    const json_t *value;
};

static int by_key(const void *a, const void *b)
{
    return mb_bytes_compare(((const struct field *)a)->key, ((const struct field *)b)->key);
}

/* The fields of object, by their keys' bytes; owned by the caller. */
static struct field *sorted_fields(const json_t *object, size_t *count)
{
    /* Jansson iterates over objects that are not const, and does not change them. */
    json_t *o = (json_t *)(uintptr_t)object;
    struct field *fields = mb_calloc(json_object_size(object), sizeof *fields);
    *count = 0;
    for (void *i = json_object_iter(o); i != NULL; i = json_object_iter_next(o, i))
        fields[(*count)++] =
            (struct field){mb_bytes(json_object_iter_key(i), json_object_iter_key_len(i)),
                           json_object_iter_value(i)};
    qsort(fields, *count, sizeof *fields, by_key);
    return fields;
}

static bool add_object(struct mb_buf *out, const json_t *value, int depth)
{
    size_t count;
    struct field *fields = sorted_fields(value, &count);
    bool fine = true;
    mb_buf_add_u8(out, '{');
    for (size_t i = 0; fine && i < count; i++) {
        if (i > 0)
            mb_buf_add_u8(out, ',');
        fine = add_string(out, (const char *)fields[i].key.data, fields[i].key.len);
        mb_buf_add_u8(out, ':');
        fine = fine && add_value(out, fields[i].value, depth + 1);
    }
    mb_buf_add_u8(out, '}');
    free(fields);
    return fine;
}

static bool add_value(struct mb_buf *out, const json_t *value, int depth)
{
    bool nests = json_is_array(value) || json_is_object(value);
    if (value == NULL || (nests && depth > MB_JSON_DEPTH))
        return false;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return add_object(out, value, depth);
    case JSON_ARRAY:
        return add_array(out, value, depth);
    case JSON_STRING:
        return add_string(out, json_string_value(value), json_string_length(value));
    case JSON_INTEGER:
        mb_buf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        mb_buf_add_text(out, json_is_true(value) ? "true" : "false");
        return true;
    case JSON_REAL:
    case JSON_NULL:
        break;
    }
    return false;
}

int mb_json_canonical(struct mb_buf *out, const json_t *value, struct mb_error *error)
{
    size_t before = out->len;
    if (add_value(out, value, 1))
        return 0;
    mb_buf_reserve(out, 0);
    out->len = before;
    out->data[before] = 0;
    return mb_fail(error, MB_EINVAL, "json.not_canonical",
                   "This value has no canonical JSON: it holds null, a real or a NUL, or is "
                   "nested deeper than %d.",
                   MB_JSON_DEPTH);
}

char *mb_json_text(const json_t *value)
{
    struct mb_buf out = {0};
    if (mb_json_canonical(&out, value, NULL) != 0)
        abort();
    return mb_buf_take_text(&out);
}

char *mb_json_figure(const json_t *value)
{
    struct mb_buf out = {0};
    if (mb_json_canonical(&out, value, NULL) != 0)
        mb_buf_add_text(&out, json_is_null(value) ? "null" : "a value that holds null");
    return mb_buf_take_text(&out);
}

static bool is_kind(const json_t *value, enum mb_json_kind kind)
{
    switch (kind) {
    case MB_JSON_STRING:
        return json_is_string(value);
    case MB_JSON_INT:
        return json_is_integer(value);
    case MB_JSON_ARRAY:
        return json_is_array(value);
    case MB_JSON_OBJECT:
        return json_is_object(value);
    case MB_JSON_FLAG:
        return json_is_boolean(value) ||
               (json_is_integer(value) &&
                (json_integer_value(value) == 0 || json_integer_value(value) == 1));
    case MB_JSON_ANY:
        break;
    }
    return true;
}

/* What min and max of a field of this kind bound. */
static int64_t size_of(const json_t *value, enum mb_json_kind kind)
{
    switch (kind) {
    case MB_JSON_STRING:
        return (int64_t)json_string_length(value);
    case MB_JSON_INT:
        return json_integer_value(value);
    case MB_JSON_ARRAY:
        return (int64_t)json_array_size(value);
    case MB_JSON_OBJECT:
        return (int64_t)json_object_size(value);
    case MB_JSON_FLAG:
    case MB_JSON_ANY:
        break;
    }
    return 0;
}

/* NULL, or what is wrong with this field of object. */
static const char *fault_of(const json_t *object, const struct mb_json_field *f)
{
    const json_t *value = json_object_get(object, f->name);
    if (value == NULL)
        return f->optional ? NULL : "missing";
    if (!is_kind(value, f->kind))
        return "kind";
    if (f->kind == MB_JSON_FLAG || f->kind == MB_JSON_ANY || (f->min == 0 && f->max == 0))
        return NULL;
    int64_t size = size_of(value, f->kind);
    return size < f->min || size > f->max ? "size" : NULL;
}

static bool is_known(const struct mb_json_field *fields, const char *name)
{
    for (; fields->name != NULL; fields++)
        if (strcmp(fields->name, name) == 0)
            return true;
    return false;
}

int mb_json_check(const json_t *object, const struct mb_json_field *fields, struct mb_error *error)
{
    if (!json_is_object(object))
        return mb_refuse(error, "body.invalid", "ss", "", "kind");
    for (const struct mb_json_field *f = fields; f->name != NULL; f++) {
        const char *fault = fault_of(object, f);
        if (fault != NULL)
            return mb_refuse(error, "body.invalid", "ss", f->name, fault);
    }
    size_t count;
    struct field *sorted = sorted_fields(object, &count);
    int err = 0;
    for (size_t i = 0; err == 0 && i < count; i++) {
        const char *name = (const char *)sorted[i].key.data;
        if (!is_known(fields, name))
            err = mb_refuse(error, "body.invalid", "ss", name, "unknown");
    }
    free(sorted);
    return err;
}

const char *mb_json_get_text(const json_t *object, const char *name, const char *fallback)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : fallback;
}

int64_t mb_json_get_int(const json_t *object, const char *name, int64_t fallback)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

bool mb_json_get_flag(const json_t *object, const char *name, bool fallback)
{
    const json_t *value = json_object_get(object, name);
    if (json_is_integer(value))
        return json_integer_value(value) != 0;
    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

bool mb_json_has_text(const json_t *list, const char *text)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *one = json_string_value(json_array_get(list, i));
        if (one != NULL && strcmp(one, text) == 0)
            return true;
    }
    return false;
}
