/* SPDX-License-Identifier: GPL-3.0-or-later */
/* proposal show: one decision, with bars for its tally and quorum. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gov.h"
#include "cli/show.h"
#include "ledger/message.h"
#include "loop/loop.h"

struct shown {
    json_t *proposal, *payload, *tally, *audits;
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

/* What auditors found, [{"key","value"}...]: each proven unless now, but not that these are all. */
static int fetch_audits(struct cli_org *o, const char *id, bool now, struct shown *s,
                        struct mb_error *error)
{
    json_t *listed = NULL, *item;
    size_t i;
    s->audits = json_array();
    if (*mb_json_get_text(json_object_get(s->proposal, "rule"), "auditors", "") == 0)
        return 0;
    char *prefix = mb_asprintf("gov/audit/%s/", id);
    int rc = cli_list(o, prefix, &listed, error);
    json_array_foreach(listed, i, item)
    {
        const char *key = mb_json_get_text(item, "key", "");
        const char *auditor = strncmp(key, prefix, strlen(prefix)) == 0 ? key + strlen(prefix) : "";
        if (!mb_is_fingerprint(auditor))
            continue;
        json_t *value = now ? json_incref(json_object_get(item, "value")) : NULL;
        if (rc == 0 && !now && (rc = cli_state(o, key, &value, error)) > 0)
            rc = 0;
        if (rc == 0 && value != NULL)
            json_array_append_new(s->audits,
                                  json_pack("{s:s, s:O}", "key", auditor, "value", value));
        json_decref(value);
    }
    json_decref(listed);
    free(prefix);
    return rc;
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
    if (rc == 0)
        rc = fetch_one(o, "tally", id, now, &s->tally, error);
    return rc == 0 ? fetch_audits(o, id, now, s, error) : rc;
}

static void print_tally(const struct shown *s)
{
    const json_t *rule = json_object_get(s->proposal, "rule");
    gov_print_bars(s->proposal, s->tally, false);
    printf("threshold   %s%" PRId64 "/%" PRId64 "\nvoted       %" PRId64 " ballots, weight %" PRId64
           " of %" PRId64 "\n",
           mb_json_get_flag(rule, "over", false) ? "over " : "", gov_part(rule, "threshold", 0),
           gov_part(rule, "threshold", 1), mb_json_get_int(s->tally, "ballots", 0),
           mb_json_get_int(s->tally, "voted", 0), mb_json_get_int(s->proposal, "eligible", 0));
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

/* In words of the module that refused; its code and figures where that module is not installed. */
static void print_reason(const struct cli_org *o, const json_t *reason)
{
    struct mb_modules modules = {.count = 0};
    struct mb_buf text = {0};
    const char *code = mb_json_get_text(reason, "code", "");
    if (reason == NULL)
        return;
    (void)cli_load_modules(o, &modules, NULL);
    mb_message(&text, code, json_object_get(reason, "args"), modules.logics, modules.count);
    fputs("reason      ", stdout);
    if (strncmp(mb_buf_text(&text), code, strlen(code)) != 0) {
        cli_print_text(code);
        fputs(": ", stdout);
    }
    cli_print_text(mb_buf_text(&text));
    putchar('\n');
    mb_buf_clear(&text);
}

static void print_state(const struct cli_org *o, const json_t *p)
{
    const char *state = mb_json_get_text(p, "state", "");
    struct mb_buf when = {0};
    printf("state       %s", state);
    if (json_object_get(p, "deadline") != NULL) {
        int64_t deadline = mb_json_get_int(p, "deadline", 0);
        mb_buf_addf(&when, ", %s in ", gov_deadline_of(state));
        show_left(&when, deadline - mb_clock_s());
        mb_buf_add_text(&when, " (");
        show_time(&when, deadline);
        mb_buf_add_text(&when, mb_json_get_flag(p, "extended", false) ? ", extended)" : ")");
    }
    puts(mb_buf_text(&when));
    mb_buf_clear(&when);
    print_reason(o, json_object_get(p, "reason"));
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

static void print_shown(const struct cli_org *o, const char *id, const struct shown *s)
{
    const json_t *p = s->proposal, *veto, *audit;
    size_t i;
    printf("proposal %s: ", id);
    cli_print_text(mb_json_get_text(p, "title", ""));
    printf("\nauthor      %s\nprocedure   %s, version %" PRId64 "\n",
           mb_json_get_text(p, "author", ""), mb_json_get_text(p, "procedure", ""),
           mb_json_get_int(json_object_get(p, "rule"), "version", 0));
    print_state(o, p);
    printf("sponsors    %zu of %" PRId64 "\n", json_array_size(json_object_get(p, "sponsors")),
           mb_json_get_int(p, "needed", 0));
    json_array_foreach(json_object_get(p, "vetoes"), i, veto)
    {
        printf("veto        %s: ", mb_json_get_text(veto, "key", ""));
        cli_print_text(mb_json_get_text(veto, "reason", ""));
        putchar('\n');
    }
    json_array_foreach(s->audits, i, audit)
    {
        const json_t *value = json_object_get(audit, "value");
        printf("audit       %s: ", mb_json_get_text(audit, "key", ""));
        cli_print_text(mb_json_get_text(value, "verdict", ""));
        putchar(' ');
        cli_print_text(mb_json_get_text(value, "report", ""));
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
    struct shown s = {NULL, NULL, NULL, NULL};
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = fetch(o, c->args[0], cli_option(c, "now") != NULL, &s, error);
    if (rc == 0 && c->json) {
        json_t *json = json_pack("{s:s, s:O, s:O, s:O}", "id", c->args[0], "proposal", s.proposal,
                                 "payload", s.payload, "audits", s.audits);
        if (s.tally != NULL)
            json_object_set(json, "tally", s.tally);
        cli_print_json(json);
    } else if (rc == 0) {
        cli_page(c);
        print_shown(o, c->args[0], &s);
    }
    json_decref(s.proposal);
    json_decref(s.payload);
    json_decref(s.tally);
    json_decref(s.audits);
    return rc;
}

const struct cli_command cmd_proposal_show = {
    .name = "proposal show",
    .args = "ID",
    .min_args = 1,
    .max_args = 1,
    .summary = "one proposal: its text, commands, tally, quorum and time left",
    .help = "Proven by the newest checkpoint, which may be a minute old; but that no audit is left "
            "out\n"
            "is what a replica says.\n\n"
            "    magicbiz proposal show 12 --now",
    .options = (const struct cli_option[]){{"now", NULL, "as a replica says it is now, not proven"},
                                           {NULL, NULL, NULL}},
    .run = show,
};
