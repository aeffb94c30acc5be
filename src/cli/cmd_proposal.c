/* SPDX-License-Identifier: GPL-3.0-or-later */
/* proposal create, list, sponsor, withdraw, vote, veto, audit: decisions; see magicbiz-gov(7). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/gov.h"
#include "cli/show.h"
#include "loop/loop.h"

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

static int create(struct cli *c, struct mb_error *error)
{
    json_t *body = json_object();
    int rc = set_json(c, body, "commands", error);
    if (rc == 0)
        rc = set_json(c, body, "options", error);
    if (rc == 0)
        return cli_propose(c, c->args[0], c->args[1], body, error);
    json_decref(body);
    return rc;
}

const struct cli_command cmd_proposal_create = {
    .name = "proposal create",
    .alias = "propose",
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
            {"commands", "FILE", "[{\"type\",\"body\"}...], at most 10"},
            {"options", "FILE", "[{\"title\",\"commands\"}...]: what an election is between"},
            GOV_PROPOSE_OPTIONS,
            {NULL, NULL, NULL}},
    .run = create,
};

/* --- proposal list --- */

static void print_line(const json_t *p)
{
    struct mb_buf left = {0};
    const char *state = mb_json_get_text(p, "state", "");
    if (json_object_get(p, "deadline") != NULL) {
        mb_buf_addf(&left, "%s in ", gov_deadline_of(state));
        show_left(&left, mb_json_get_int(p, "deadline", 0) - mb_clock_s());
    }
    printf("%-6s %-11s %-14s %-26s ", mb_json_get_text(p, "id", ""), state,
           mb_json_get_text(p, "procedure", ""), mb_buf_text(&left));
    cli_print_text(mb_json_get_text(p, "title", ""));
    putchar('\n');
    if (json_object_get(p, "tally") != NULL) {
        printf("%5s", "");
        gov_print_bars(p, json_object_get(p, "tally"), true);
        putchar('\n');
    }
    mb_buf_clear(&left);
}

/* Each proposal whose vote is open gets its "tally". */
static void add_tallies(struct cli_org *o, const json_t *proposals)
{
    json_t *p;
    size_t i;
    json_array_foreach(proposals, i, p)
    {
        char *key = mb_asprintf("gov/tally/%s", mb_json_get_text(p, "id", ""));
        if (strcmp(mb_json_get_text(p, "state", ""), "voting") == 0)
            json_object_set_new(p, "tally", gov_now(o, key));
        free(key);
    }
}

static int list(struct cli *c, struct mb_error *error)
{
    struct cli_org *o;
    json_t *proposals = NULL, *p;
    size_t i;
    int rc = cli_open_org(c, &o, error);
    if (rc == 0)
        rc = gov_proposals(o, cli_option(c, "all") != NULL, &proposals, error);
    if (rc == 0)
        add_tallies(o, proposals);
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
    .summary = "proposals that are open: time left, and bars for tally and quorum",
    .help = "The list is what a replica says; magicbiz list gov/proposal/ proves it complete.\n\n"
            "    magicbiz proposal list --all",
    .options = (const struct cli_option[]){{"all", NULL, "ended ones, too"}, {NULL, NULL, NULL}},
    .run = list,
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
    .help = "    magicbiz proposal sponsor 12",
    .run = sponsor,
};

const struct cli_command cmd_proposal_withdraw = {
    .name = "proposal withdraw",
    .args = "ID",
    .min_args = 1,
    .max_args = 1,
    .summary = "take a proposal of your own back, before its vote opens",
    .help = "    magicbiz proposal withdraw 12",
    .run = withdraw,
};

const struct cli_command cmd_proposal_veto = {
    .name = "proposal veto",
    .args = "ID REASON",
    .min_args = 2,
    .max_args = 2,
    .summary = "stop a proposal, if its procedure gives your role a veto",
    .help = "    magicbiz proposal veto 12 \"It breaks the lease\"",
    .run = veto,
};

const struct cli_command cmd_proposal_audit = {
    .name = "proposal audit",
    .args = "ID good|bad",
    .min_args = 2,
    .max_args = 2,
    .summary = "say as an auditor what you found",
    .help = "    magicbiz proposal audit 12 bad --report \"20 coins are missing\"",
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
    .alias = "vote",
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
