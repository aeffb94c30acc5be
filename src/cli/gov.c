/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cli/gov.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/show.h"

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

/* Columns of the terminal: $COLUMNS, or what it says, or 80. */
static int columns_of_terminal(void)
{
    const char *text = getenv("COLUMNS");
    long columns = text != NULL ? strtol(text, NULL, 10) : 0;
    struct winsize size = {0};
    if (columns <= 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    return columns > 0 && columns < 1000 ? (int)columns : 80;
}

static void print_bar(bool in_line, const char *name, int64_t part, int64_t total, int64_t mark,
                      const char *after)
{
    struct mb_buf bar = {0};
    int width = in_line ? 6 : show_bar_width(columns_of_terminal(), 14 + (int)strlen(after));
    show_bar(&bar, width, part, total, mark);
    printf(in_line ? "  %s %s %s" : "%-11.11s %s %s\n", name, mb_buf_text(&bar), after);
    mb_buf_clear(&bar);
}

int64_t gov_part(const json_t *rule, const char *name, size_t i)
{
    return json_integer_value(json_array_get(json_object_get(rule, name), i));
}

static void print_quorum(bool in_line, const json_t *rule, int64_t have, int64_t eligible)
{
    int64_t num = gov_part(rule, "quorum", 0), den = gov_part(rule, "quorum", 1);
    if (den <= 0)
        return;
    int64_t needed = eligible / den * num + (eligible % den * num + den - 1) / den;
    char *text = mb_asprintf("%" PRId64 " of %" PRId64 " needed", have, needed);
    print_bar(in_line, "quorum", have, eligible, needed, text);
    free(text);
}

void gov_print_bars(const json_t *p, const json_t *tally, bool in_line)
{
    static const char *const yesno[] = {"yes", "no", "abstain"};
    const json_t *rule = json_object_get(p, "rule");
    const json_t *counts = json_object_get(tally, "counts"), *one;
    int64_t voted = mb_json_get_int(tally, "voted", 0);
    bool multi = mb_json_get_int(p, "options", 0) > 0;
    bool points = strcmp(mb_json_get_text(rule, "ballot", ""), "weighted") == 0;
    size_t i;
    json_array_foreach(counts, i, one)
    {
        int64_t n = json_integer_value(one);
        char *text = mb_asprintf("%" PRId64, n), *number = mb_asprintf("%zu", i);
        print_bar(in_line,
                  multi   ? number
                  : i < 3 ? yesno[i]
                          : "",
                  n, points ? voted * 100 : voted, 0, text);
        free(text);
        free(number);
    }
    print_quorum(in_line, rule, multi ? voted : json_integer_value(json_array_get(counts, 0)),
                 mb_json_get_int(p, "eligible", 0));
}

static int set_text(struct cli *c, json_t *body, struct mb_error *error)
{
    const char *text = cli_option(c, "text"), *file = cli_option(c, "text-file");
    struct mb_buf bytes = {0};
    int rc = file != NULL ? cli_read(file, &bytes, error) : 0;
    json_t *value = file != NULL ? json_stringn((const char *)bytes.data, bytes.len)
                                 : json_string(text != NULL ? text : "");
    if (rc == 0 && value == NULL)
        rc = mb_fail(error, MB_EINVAL, "text.invalid", "the text is not UTF-8");
    if (rc == 0)
        json_object_set(body, "text", value);
    json_decref(value);
    mb_buf_clear(&bytes);
    return rc;
}

int cli_propose(struct cli *c, const char *procedure, const char *title, json_t *more_take,
                struct mb_error *error)
{
    json_t *body = more_take;
    json_object_set_new(body, "procedure", json_string(procedure));
    json_object_set_new(body, "title", json_string(title));
    if (cli_option(c, "draft") != NULL)
        json_object_set_new(body, "draft", json_integer(1));
    if (cli_option(c, "proposal") != NULL)
        json_object_set_new(body, "proposal", json_string(cli_option(c, "proposal")));
    int rc = set_text(c, body, error);
    if (rc == 0)
        return cli_act(c, "gov.propose", body, error);
    json_decref(body);
    return rc;
}
