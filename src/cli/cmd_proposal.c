/* SPDX-License-Identifier: GPL-3.0-or-later */
/* proposal create, list, show, sponsor, withdraw, vote, veto, audit: decisions; see
 * magicbiz-gov(7). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/gov.h"
#include "cli/show.h"
#include "host/host.h"
#include "loop/loop.h"

/* --- What the commands about decisions share --- */

bool gov_is_open(const json_t *p)
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
        if (all || gov_is_open(p))
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

int gov_columns(void)
{
    const char *text = getenv("COLUMNS");
    long columns = text != NULL ? strtol(text, NULL, 10) : 0;
    struct winsize size = {0};
    if (columns <= 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    return columns > 0 && columns < 1000 ? (int)columns : 80;
}

/* --- proposal create --- */

static int set_json(struct cli *c, json_t *body, const char *option, struct mb_error *error)
{
    json_t *value = NULL;
    const char *file = cli_option(c, option);
    int rc = file != NULL ? cli_read_json(file, &value, error) : 0;
    if (rc == 0 && value != NULL)
        json_object_set(body, option, value);
    json_decref(value);
    return rc;
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

static int create(struct cli *c, struct mb_error *error)
{
    json_t *body = json_pack("{s:s, s:s}", "procedure", c->args[0], "title", c->args[1]);
    int rc = set_text(c, body, error);
    if (rc == 0)
        rc = set_json(c, body, "commands", error);
    if (rc == 0)
        rc = set_json(c, body, "options", error);
    if (cli_option(c, "draft") != NULL)
        json_object_set_new(body, "draft", json_integer(1));
    if (cli_option(c, "proposal") != NULL)
        json_object_set_new(body, "proposal", json_string(cli_option(c, "proposal")));
    if (rc == 0)
        return cli_act(c, "gov.propose", body, error);
    json_decref(body);
    return rc;
}

const struct cli_command cmd_proposal_create = {
    .name = "proposal create",
    .args = "PROCEDURE TITLE",
    .min_args = 2,
    .max_args = 2,
    .summary = "propose a decision, with the commands that it runs",
    .help =
        "Without --draft it looks for sponsors at once, and nothing of it can be changed then.\n"
        "Files hold JSON, - is standard input:\n\n"
        "    echo '[{\"type\":\"org.param.set\",\"body\":{\"name\":\"work_bits\",\"value\":12}}]' "
        "|\n"
        "        magicbiz proposal create constitution \"More work\" --commands -",
    .options =
        (const struct cli_option[]){
            {"text", "TEXT", "why"},
            {"text-file", "FILE", "the same, from a file"},
            {"commands", "FILE", "[{\"type\",\"body\"}...], at most 10"},
            {"options", "FILE", "[{\"title\",\"commands\"}...]: what an election is between"},
            {"draft", NULL, "keep it a draft"},
            {"proposal", "ID", "put it in place of this draft"},
            {NULL, NULL, NULL}},
    .run = create,
};

/* --- proposal list --- */

/* What the deadline of a state is. */
static const char *deadline_of(const char *state)
{
    return strcmp(state, "voting") == 0    ? "closes"
           : strcmp(state, "review") == 0  ? "vote opens"
           : strcmp(state, "grace") == 0   ? "runs"
           : strcmp(state, "support") == 0 ? "needs sponsors"
                                           : "ends";
}

static void print_line(const json_t *p)
{
    struct mb_buf left = {0};
    const char *state = mb_json_get_text(p, "state", "");
    if (json_object_get(p, "deadline") != NULL) {
        mb_buf_addf(&left, "%s in ", deadline_of(state));
        show_left(&left, mb_json_get_int(p, "deadline", 0) - mb_clock_s());
    }
    printf("%-6s %-11s %-14s %-26s ", mb_json_get_text(p, "id", ""), state,
           mb_json_get_text(p, "procedure", ""), mb_buf_text(&left));
    cli_print_text(mb_json_get_text(p, "title", ""));
    putchar('\n');
    mb_buf_clear(&left);
}

static int list(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *proposals = NULL, *p;
    size_t i;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = gov_proposals(o, cli_option(c, "all") != NULL, &proposals, error);
    if (rc == 0 && c->json) {
        cli_print_json(json_pack("{s:O}", "proposals", proposals));
    } else if (rc == 0) {
        cli_page(c);
        json_array_foreach(proposals, i, p) print_line(p);
        if (json_array_size(proposals) == 0)
            puts("none are open: magicbiz proposal create PROCEDURE TITLE");
    }
    json_decref(proposals);
    return rc;
}

const struct cli_command cmd_proposal_list = {
    .name = "proposal list",
    .args = "",
    .summary = "proposals that are open, and how long they have",
    .help = "The list is what a replica says; magicbiz list gov/proposal/ proves it complete.",
    .options = (const struct cli_option[]){{"all", NULL, "ended ones, too"}, {NULL, NULL, NULL}},
    .run = list,
};

/* --- proposal show --- */

struct shown {
    json_t *proposal, *payload, *tally;
};

/* Proven, or as the replica says. */
static int fetch_one(struct cli_org *o, const char *folder, const char *id, bool now,
                     json_t **value, struct mb_error *error)
{
    char *key = mb_asprintf("gov/%s/%s", folder, id);
    int rc = 0;
    if (now)
        *value = gov_now(o, key);
    else
        rc = cli_state(o, key, value, error);
    free(key);
    return rc < 0 ? rc : 0;
}

static int fetch(struct cli_org *o, const char *id, bool now, struct shown *s,
                 struct mb_error *error)
{
    int rc = fetch_one(o, "proposal", id, now, &s->proposal, error);
    if (rc == 0 && s->proposal == NULL)
        rc =
            mb_fail(error, MB_ENOENT, "gov.proposal_unknown",
                    "there is no proposal %.20s: magicbiz proposal list, or --now if it is new; of "
                    "one that ended long ago the blocks tell: magicbiz log",
                    id);
    if (rc == 0)
        rc = fetch_one(o, "payload", id, now, &s->payload, error);
    return rc == 0 ? fetch_one(o, "tally", id, now, &s->tally, error) : rc;
}

static void print_bar(const char *name, int64_t part, int64_t total, int64_t mark,
                      const char *after)
{
    struct mb_buf bar = {0};
    show_bar(&bar, show_bar_width(gov_columns(), 14 + (int)strlen(after)), part, total, mark);
    printf("%-11.11s %s %s\n", name, mb_buf_text(&bar), after);
    mb_buf_clear(&bar);
}

static int64_t part(const json_t *rule, const char *name, int i)
{
    return json_integer_value(json_array_get(json_object_get(rule, name), (size_t)i));
}

static void print_quorum(const json_t *rule, int64_t have, int64_t eligible)
{
    int64_t num = part(rule, "quorum", 0), den = part(rule, "quorum", 1);
    if (den <= 0)
        return;
    int64_t needed = eligible / den * num + (eligible % den * num + den - 1) / den;
    char *text = mb_asprintf("%" PRId64 " of %" PRId64 " needed", have, needed);
    print_bar("quorum", have, eligible, needed, text);
    free(text);
}

static void print_tally(const struct shown *s)
{
    static const char *const yesno[] = {"yes", "no", "abstain"};
    const json_t *rule = json_object_get(s->proposal, "rule");
    const json_t *counts = json_object_get(s->tally, "counts"), *one;
    const json_t *options = json_object_get(s->payload, "options");
    int64_t voted = mb_json_get_int(s->tally, "voted", 0);
    int64_t eligible = mb_json_get_int(s->proposal, "eligible", 0);
    bool multi = json_array_size(options) > 0;
    bool points = strcmp(mb_json_get_text(rule, "ballot", ""), "weighted") == 0;
    size_t i;
    json_array_foreach(counts, i, one)
    {
        int64_t n = json_integer_value(one);
        char *text = mb_asprintf("%" PRId64, n), *number = mb_asprintf("%zu", i);
        print_bar(multi ? number : i < 3 ? yesno[i] : "", n, points ? voted * 100 : voted, 0, text);
        free(text);
        free(number);
    }
    print_quorum(rule, multi ? voted : json_integer_value(json_array_get(counts, 0)), eligible);
    printf("threshold   %s%" PRId64 "/%" PRId64 "\nvoted       %" PRId64 " ballots, weight %" PRId64
           " of %" PRId64 "\n",
           mb_json_get_flag(rule, "over", false) ? "over " : "", part(rule, "threshold", 0),
           part(rule, "threshold", 1), mb_json_get_int(s->tally, "ballots", 0), voted, eligible);
}

static void print_commands(const char *head, const json_t *commands)
{
    const json_t *command;
    size_t i;
    json_array_foreach(commands, i, command)
    {
        char *body = mb_json_text(json_object_get(command, "body"));
        printf("%-11s ", head);
        cli_print_text(mb_json_get_text(command, "type", ""));
        putchar(' ');
        cli_print_text(body);
        putchar('\n');
        free(body);
    }
}

static void print_reason(const json_t *reason)
{
    const json_t *arg;
    size_t i;
    if (reason == NULL)
        return;
    printf("reason      %s:", mb_json_get_text(reason, "code", ""));
    bool quorum = strcmp(mb_json_get_text(reason, "code", ""), "gov.quorum") == 0;
    json_array_foreach(json_object_get(reason, "args"), i, arg)
    {
        fputs(quorum && i > 0 ? " of " : " ", stdout);
        if (json_is_integer(arg))
            printf("%" PRId64, (int64_t)json_integer_value(arg));
        else
            cli_print_text(json_string_value(arg));
    }
    puts(quorum ? " needed" : "");
}

static void print_state(const json_t *p)
{
    const char *state = mb_json_get_text(p, "state", "");
    struct mb_buf when = {0};
    printf("state       %s", state);
    if (json_object_get(p, "deadline") != NULL) {
        int64_t deadline = mb_json_get_int(p, "deadline", 0);
        mb_buf_addf(&when, ", %s in ", deadline_of(state));
        show_left(&when, deadline - mb_clock_s());
        mb_buf_add_text(&when, " (");
        show_time(&when, deadline);
        mb_buf_add_text(&when, mb_json_get_flag(p, "extended", false) ? ", extended)" : ")");
    }
    puts(mb_buf_text(&when));
    mb_buf_clear(&when);
    print_reason(json_object_get(p, "reason"));
}

static void print_options(const struct shown *s)
{
    const json_t *option, *winner = json_object_get(s->proposal, "winner");
    size_t i;
    json_array_foreach(json_object_get(s->payload, "options"), i, option)
    {
        bool won = winner != NULL && (size_t)json_integer_value(winner) == i;
        printf("option %-4zu %s", i, won ? "(won) " : "");
        cli_print_text(mb_json_get_text(option, "title", ""));
        putchar('\n');
        print_commands("", json_object_get(option, "commands"));
    }
}

static void print_shown(const char *id, const struct shown *s)
{
    const json_t *p = s->proposal, *veto;
    size_t i;
    printf("proposal %s: ", id);
    cli_print_text(mb_json_get_text(p, "title", ""));
    printf("\nauthor      %s\nprocedure   %s, version %" PRId64 "\n",
           mb_json_get_text(p, "author", ""), mb_json_get_text(p, "procedure", ""),
           mb_json_get_int(json_object_get(p, "rule"), "version", 0));
    print_state(p);
    printf("sponsors    %zu of %" PRId64 "\n", json_array_size(json_object_get(p, "sponsors")),
           mb_json_get_int(p, "needed", 0));
    json_array_foreach(json_object_get(p, "vetoes"), i, veto)
    {
        printf("veto        %s: ", mb_json_get_text(veto, "key", ""));
        cli_print_text(mb_json_get_text(veto, "reason", ""));
        putchar('\n');
    }
    print_options(s);
    if (s->tally != NULL)
        print_tally(s);
    print_commands("command", json_object_get(s->payload, "commands"));
    if (*mb_json_get_text(s->payload, "text", "") != 0) {
        putchar('\n');
        cli_print_text(mb_json_get_text(s->payload, "text", ""));
        putchar('\n');
    }
}

static int show(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    struct shown s = {NULL, NULL, NULL};
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = fetch(o, c->args[0], cli_option(c, "now") != NULL, &s, error);
    if (rc == 0 && c->json) {
        json_t *json = json_pack("{s:s, s:O, s:O}", "id", c->args[0], "proposal", s.proposal,
                                 "payload", s.payload);
        if (s.tally != NULL)
            json_object_set(json, "tally", s.tally);
        cli_print_json(json);
    } else if (rc == 0) {
        cli_page(c);
        print_shown(c->args[0], &s);
    }
    json_decref(s.proposal);
    json_decref(s.payload);
    json_decref(s.tally);
    return rc;
}

const struct cli_command cmd_proposal_show = {
    .name = "proposal show",
    .args = "ID",
    .min_args = 1,
    .max_args = 1,
    .summary = "one proposal: its text, commands, tally, quorum and time left",
    .help = "Proven by the newest checkpoint, which may be a minute old.",
    .options = (const struct cli_option[]){{"now", NULL, "as a replica says it is now, not proven"},
                                           {NULL, NULL, NULL}},
    .run = show,
};

/* --- proposal sponsor, withdraw, veto, audit --- */

static json_t *about(const struct cli *c)
{
    return json_pack("{s:s}", "proposal", c->args[0]);
}

static int sponsor(struct cli *c, struct mb_error *error)
{
    return cli_act(c, "gov.sponsor", about(c), error);
}

static int withdraw(struct cli *c, struct mb_error *error)
{
    return cli_act(c, "gov.withdraw", about(c), error);
}

static int veto(struct cli *c, struct mb_error *error)
{
    json_t *body = about(c);
    json_object_set_new(body, "reason", json_string(c->args[1]));
    return cli_act(c, "gov.veto", body, error);
}

static int audit(struct cli *c, struct mb_error *error)
{
    json_t *body = about(c);
    json_object_set_new(body, "verdict", json_string(c->args[1]));
    if (cli_option(c, "report") != NULL)
        json_object_set_new(body, "report", json_string(cli_option(c, "report")));
    return cli_act(c, "gov.audit", body, error);
}

const struct cli_command cmd_proposal_sponsor = {
    .name = "proposal sponsor",
    .args = "ID",
    .min_args = 1,
    .max_args = 1,
    .summary = "stand behind a proposal, so that it comes to a vote",
    .run = sponsor,
};

const struct cli_command cmd_proposal_withdraw = {
    .name = "proposal withdraw",
    .args = "ID",
    .min_args = 1,
    .max_args = 1,
    .summary = "take a proposal of your own back, before its vote opens",
    .run = withdraw,
};

const struct cli_command cmd_proposal_veto = {
    .name = "proposal veto",
    .args = "ID REASON",
    .min_args = 2,
    .max_args = 2,
    .summary = "stop a proposal, if its procedure gives your role a veto",
    .run = veto,
};

const struct cli_command cmd_proposal_audit = {
    .name = "proposal audit",
    .args = "ID good|bad",
    .min_args = 2,
    .max_args = 2,
    .summary = "say as an auditor what you found",
    .options =
        (const struct cli_option[]){{"report", "TEXT", "what you found"}, {NULL, NULL, NULL}},
    .run = audit,
};

/* --- proposal vote --- */

static int bad_ballot(struct mb_error *error, const char *text)
{
    mb_fail(error, MB_EINVAL, "usage", "%.60s is no ballot: numbers of options, as 2,0,1", text);
    return CLI_USAGE;
}

/* "2,0,1" */
static int numbers(json_t *body, const char *field, const char *text, struct mb_error *error)
{
    json_t *list = json_array();
    json_object_set_new(body, field, list);
    while (*text != 0) {
        char *end;
        long n = strtol(text, &end, 10);
        if (end == text || n < 0 || (*end != ',' && *end != 0))
            return bad_ballot(error, text);
        json_array_append_new(list, json_integer(n));
        text = *end == ',' ? end + 1 : end;
    }
    return 0;
}

/* "0=70,3=30" */
static int points(json_t *body, const char *text, struct mb_error *error)
{
    json_t *weights = json_object();
    json_object_set_new(body, "weights", weights);
    while (*text != 0) {
        char *middle, *end, name[24];
        long option = strtol(text, &middle, 10);
        if (middle == text || option < 0 || *middle != '=')
            return bad_ballot(error, text);
        long n = strtol(middle + 1, &end, 10);
        if (end == middle + 1 || (*end != ',' && *end != 0))
            return bad_ballot(error, text);
        mb_snprintf(name, sizeof name, "%ld", option);
        json_object_set_new(weights, name, json_integer(n));
        text = *end == ',' ? end + 1 : end;
    }
    return 0;
}

static int vote(struct cli *c, struct mb_error *error)
{
    static const char *const lists[] = {"approve", "ranking"};
    json_t *body = about(c);
    const char *text;
    int rc = 0;
    if (c->arg_count == 2)
        json_object_set_new(body, "choice", json_string(c->args[1]));
    for (size_t i = 0; i < 2 && rc == 0; i++)
        if ((text = cli_option(c, lists[i])) != NULL)
            rc = numbers(body, lists[i], text, error);
    if (rc == 0 && (text = cli_option(c, "weights")) != NULL)
        rc = points(body, text, error);
    if (rc == 0 && json_object_size(body) != 2) {
        mb_fail(error, MB_EINVAL, "usage",
                "a vote is one of: yes, no, abstain, --approve, "
                "--ranking, --weights");
        rc = CLI_USAGE;
    }
    if (rc == 0)
        return cli_act(c, "gov.vote", body, error);
    json_decref(body);
    return rc;
}

const struct cli_command cmd_proposal_vote = {
    .name = "proposal vote",
    .args = "ID [yes|no|abstain]",
    .min_args = 1,
    .max_args = 2,
    .summary = "vote, or vote otherwise, until the close",
    .help = "Options are numbered from 0; magicbiz proposal show ID lists them.\n\n"
            "    magicbiz proposal vote 12 yes\n"
            "    magicbiz proposal vote 13 --ranking 2,0,1",
    .options =
        (const struct cli_option[]){
            {"approve", "N,N...", "options that you approve (ballot approval)"},
            {"ranking", "N,N...", "options from the best down (ballot ranked)"},
            {"weights", "N=POINTS,...", "points, 100 at most together (ballot weighted)"},
            {NULL, NULL, NULL}},
    .run = vote,
};
