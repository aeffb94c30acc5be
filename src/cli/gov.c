/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/gov.h"

#include <stdlib.h>
#include <string.h>

static bool is_open(const json_t *p)
{
    static const char *const open[] = {"draft", "support", "review", "voting", "grace"};
    for (size_t i = 0; i < 5; i++)
        if (strcmp(mb_json_get_text(p, "state", ""), open[i]) == 0)
            return true;
    return false;
}

static int by_number(const void *a, const void *b)
{
    long long x = strtoll(mb_json_get_text(*(json_t *const *)a, "id", ""), NULL, 10);
    long long y = strtoll(mb_json_get_text(*(json_t *const *)b, "id", ""), NULL, 10);
    return (x > y) - (x < y);
}

int gov_proposals(struct cli_org *o, bool all, json_t **list, struct mb_error *error)
{
    json_t *items = NULL, *item;
    size_t i, count = 0;
    int rc = cli_list(o, "gov/proposal/", &items, error);
    json_t **sorted = mb_calloc(json_array_size(items) + 1, sizeof *sorted);
    json_array_foreach(items, i, item)
    {
        json_t *p = json_object_get(item, "value");
        const char *id = mb_json_get_text(item, "key", "") + strlen("gov/proposal/");
        json_object_set_new(p, "id", json_string(id));
        if (all || is_open(p))
            sorted[count++] = p;
    }
    qsort(sorted, count, sizeof(json_t *), by_number);
    *list = json_array();
    for (i = 0; i < count; i++)
        json_array_append(*list, sorted[i]);
    free(sorted);
    json_decref(items);
    return rc;
}

json_t *gov_now(struct cli_org *o, const char *key)
{
    struct mb_buf path = {0};
    json_t *answer = NULL, *value = NULL;
    mb_buf_add_text(&path, "/v1/state?key=");
    cli_escape(&path, key);
    if (cli_get(o, mb_buf_text(&path), &answer, NULL) == 0)
        value = json_incref(json_object_get(answer, "value"));
    json_decref(answer);
    mb_buf_clear(&path);
    return value;
}

const char *gov_deadline_of(const char *state)
{
    return strcmp(state, "voting") == 0    ? "closes"
           : strcmp(state, "review") == 0  ? "vote opens"
           : strcmp(state, "grace") == 0   ? "runs"
           : strcmp(state, "support") == 0 ? "needs sponsors"
                                           : "ends";
}
