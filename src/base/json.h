/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Strict JSON in, canonical JSON out (magicbiz-protocol(7), "Strict JSON"), over Jansson.
 */
#ifndef MB_BASE_JSON_H
#define MB_BASE_JSON_H

#include <jansson.h>

#include "base/bytes.h"
#include "base/error.h"

#define MB_JSON_DEPTH 32

/*
 * Parse one strict JSON text: UTF-8 without BOM, depth at most 32 (the outermost is 1), no
 * duplicate keys, no NUL character (escaped or not), no lone surrogates, numbers only 0 or
 * -?[1-9][0-9]* within 64 bits signed; white space around is allowed, nothing else is.
 * Fails with MB_EINVAL and the code json.invalid. *out is owned by the caller.
 */
int mb_json_parse(json_t **out, const void *text, size_t len, struct mb_error *error);

/*
 * Append the canonical text: keys sorted by their UTF-8 bytes, no spaces, in strings only '"', '\'
 * and U+0001 to U+001F escaped (\b \f \n \r \t, else \u00xx with lower-case hex).
 * MB_EINVAL (code json.not_canonical) if the value holds null, a real, a NUL character, or is
 * deeper than MB_JSON_DEPTH.
 */
int mb_json_canonical(struct mb_buf *out, const json_t *value, struct mb_error *error);
/* The same as an owned text, for values that the program made itself: aborts where that fails. */
char *mb_json_text(const json_t *value);
/* What somebody sent, as an owned text for a refusal: canonical, or where it holds null, which has
 * no canonical JSON, words that say so. */
char *mb_json_figure(const json_t *value);

/* One field of an object, for mb_json_check(). */
enum mb_json_kind {
    MB_JSON_STRING,
    MB_JSON_INT,
    MB_JSON_ARRAY,  /* min and max count its elements */
    MB_JSON_OBJECT, /* min and max count its fields */
    MB_JSON_FLAG,   /* the integers 0 or 1, or true or false */
    MB_JSON_ANY,
};
struct mb_json_field {
    const char *name;
    enum mb_json_kind kind;
    bool optional;
    int64_t min, max; /* MB_JSON_INT: the value; MB_JSON_STRING: its bytes; both 0: no limit */
};
/*
 * Check that object is an object with these fields, of these kinds and sizes, and no others
 * (fields ends with a NULL name). Refuses (deterministically) with code body.invalid and args
 * [field name, "missing" | "unknown" | "kind" | "size"]; MB_EREFUSED. Of several faults it names
 * the first in the order of fields, then the first unknown name by its bytes; a value that is no
 * object is ["", "kind"].
 */
int mb_json_check(const json_t *object, const struct mb_json_field *fields, struct mb_error *error);

/* Fields of objects that have been checked: borrowed text (or fallback), integers (or fallback). */
const char *mb_json_get_text(const json_t *object, const char *name, const char *fallback);
int64_t mb_json_get_int(const json_t *object, const char *name, int64_t fallback);
bool mb_json_get_flag(const json_t *object, const char *name, bool fallback);
/* Whether text stands in a list; NULL is an empty one. */
bool mb_json_has_text(const json_t *list, const char *text);

#endif
