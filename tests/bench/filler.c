/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A module without effects: filler.put {"n"} sets the n-th key to a value of 100 bytes, filler.fill
 * {"from"} 1,000 of them; filler.set {"n","text"} sets it to that. */
#include <magicbiz/module.h>

#include <inttypes.h>
#include <string.h>

#include "filler.h"

static int set(struct mb_tx *tx, int64_t n, const char *text, struct mb_error *error)
{
    char key[32];
    if (mb_snprintf(key, sizeof key, FILLER_KEY, (uint64_t)n) != 0)
        return mb_refuse(error, "filler.key", "d", n);
    json_t *value = json_string(text);
    mb_tx_put(tx, key, value);
    json_decref(value);
    return 0;
}

static int put(struct mb_tx *tx, int64_t n, struct mb_error *error)
{
    char text[99];
    memset(text, 'x', sizeof text);
    mb_snprintf(text, 21, "%020" PRId64, n);
    text[20] = '-';
    text[98] = 0;
    return set(tx, n, text, error);
}

static int put_one(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)result;
    return put(tx, mb_json_get_int(body, "n", 0), error);
}

static int set_one(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error)
{
    (void)ctx;
    (void)result;
    return set(tx, mb_json_get_int(body, "n", 0), mb_json_get_text(body, "text", ""), error);
}

static int fill(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error)
{
    int64_t from = mb_json_get_int(body, "from", 0);
    int rc = 0;
    (void)ctx;
    (void)result;
    for (int64_t n = from; n < from + FILLER_KEYS && rc == 0; n++)
        rc = put(tx, n, error);
    return rc;
}

static const struct mb_json_field fill_body[] = {
    {.name = "from", .kind = MB_JSON_INT, .min = 0, .max = INT64_C(1) << 40}, {.name = NULL}};
static const struct mb_json_field put_body[] = {
    {.name = "n", .kind = MB_JSON_INT, .min = 0, .max = INT64_C(1) << 40}, {.name = NULL}};
static const struct mb_json_field set_body[] = {
    {.name = "n", .kind = MB_JSON_INT, .min = 0, .max = INT64_C(1) << 40},
    {.name = "text", .kind = MB_JSON_STRING, .min = 0, .max = 4096},
    {.name = NULL}};
static const struct mb_verb verbs[] = {
    {.name = "filler.put", .access = MB_ORG, .body = put_body, .apply = put_one},
    {.name = "filler.set", .access = MB_ORG, .body = set_body, .apply = set_one},
    {.name = "filler.fill", .access = MB_ORG, .body = fill_body, .apply = fill},
    {.name = NULL}};
static const struct mb_logic logic = {.name = "filler", .version = 1, .verbs = verbs};

extern const struct mb_module mb_module_filler;
const struct mb_module mb_module_filler = {
    .abi = MB_MODULE_ABI, .summary = "Fills the state, for a benchmark.", .logic = &logic};
