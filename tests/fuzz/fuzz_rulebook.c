/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whatever the source: it is refused, or f() gives the same twice and nothing but JSON, within its
 * budget. */
#include "config.h"

#include <stdlib.h>

#include "rules/cage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *call(struct mb_cage *c)
{
    static const struct mb_cage_view view = {.time = 1, .slot = 2};
    struct mb_error error = {0};
    struct mb_buf out = {0};
    json_t *args = json_array(), *results = NULL;
    int rc = mb_cage_call(c, &view, "f", args, &results, &error);
    if (rc == 0 && mb_json_canonical(&out, results, NULL) != 0)
        abort();
    if (rc != 0)
        mb_buf_addf(&out, "%s %s", error.code, error.args);
    json_decref(args);
    json_decref(results);
    return mb_buf_take_text(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_error error = {0};
    struct mb_cage *c;
    int rc = mb_cage_new(&c, mb_bytes(data, size), &error);
    if (rc == MB_EIO)
        abort();
    if (rc != 0)
        return 0;
    char *first = call(c), *second = call(c);
    struct mb_cage_cost cost = mb_cage_cost(c);
    if (!mb_bytes_equal(mb_bytes_of(first), mb_bytes_of(second)) || cost.bytes > MB_RULES_MEMORY)
        abort();
    free(first);
    free(second);
    mb_cage_free(c);
    return 0;
}
