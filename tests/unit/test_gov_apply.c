/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gov's verbs, over a ledger in memory: the life of proposals, each ballot, delegation, vetoes,
 * audits, membership. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/gov.h"

#define P1 "gov/proposal/1"

/* Issue amount of an asset to a person, as a command of a proposal; and by the double, at once. */
#define ISSUE                                                                                      \
    "{\"entries\":[{\"account\":\"issue/%s\",\"amount\":%d,\"asset\":\"%s\"},{\"account\":"        \
    "\"key/%s\",\"amount\":%d,\"asset\":\"%s\"}]}"

static void issue(struct gov_test *t, const char *asset, int person, int amount)
{
    gov_do(t, 0, "", "books.post", ISSUE, asset, -amount, asset, t->name[person], amount, asset);
}

static char *issue_command(struct gov_test *t, const char *asset, int person, int amount)
{
    return mb_asprintf("[{\"body\":" ISSUE ",\"type\":\"books.post\"}]", asset, -amount, asset,
                       t->name[person], amount, asset);
}

static void test_genesis_writes_three_procedures(void **state)
{
    static const struct {
        const char *procedure, *field, *value;
    } want[] = {
        {"routine", "review_s", "86400"},
        {"routine", "voting_s", "604800"},
        {"routine", "grace_s", "172800"},
        {"routine", "quorum.0", "1"},
        {"routine", "threshold.1", "2"},
        {"routine", "over", "1"},
        {"treasury", "review_s", "172800"},
        {"treasury", "grace_s", "345600"},
        {"treasury", "quorum.0", "2"},
        {"treasury", "threshold.0", "6"},
        {"treasury", "over", "0"},
        {"constitution", "review_s", "604800"},
        {"constitution", "voting_s", "1209600"},
        {"constitution", "grace_s", "1209600"},
        {"constitution", "quorum.0", "4"},
        {"constitution", "threshold.0", "3"},
        {"constitution", "weight", "equal"},
        {"constitution", "version", "1"},
    };
    struct org o;
    static const struct mb_logic *const modules[] = {&gov_logic};
    struct mb_memory *memory = mb_memory_new();
    memset(&o, 0, sizeof o);
    json_t *json = org_genesis_json(&o, 1, 1);
    json_object_del(json_object_get(json, "versions"), "toy");
    json_object_set_new(json_object_get(json, "versions"), "gov", json_integer(1));
    assert_int_equal(mb_json_canonical(&o.genesis, json, NULL), 0);
    json_decref(json);
    assert_int_equal(mb_ledger_found(&o.ledger, mb_memory_backend(memory), modules, 1,
                                     mb_buf_bytes(&o.genesis), &o.error),
                     0);
    struct gov_test t = {.o = o};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char *key = mb_asprintf("gov/procedure/%s", want[i].procedure);
        gov_is(&t, key, want[i].field, want[i].value);
        free(key);
    }
    org_clear(&o);
    mb_memory_free(memory);
    (void)state;
}

static void test_params_shorten_the_procedures(void **state)
{
    struct gov_test *t = gov_start(4, "{\"gov.routine.quorum\":25,\"gov.treasury.voting_s\":5}");
    (void)state;
    gov_is(t, "gov/procedure/routine", "quorum.0", "25");
    gov_is(t, "gov/procedure/routine", "quorum.1", "100");
    gov_is(t, "gov/procedure/treasury", "voting_s", "5");
    gov_stop(t);
}

/* draft, support, review, voting, grace, executed: with what each allows. */
static void test_a_proposal_from_draft_to_executed(void **state)
{
    struct gov_test *t = gov_start(20, "{}");
    char *commands = issue_command(t, "member", 30, 1),
         *member = mb_asprintf("books/balance/member/key/%s", t->name[30]);
    (void)state;
    gov_do(t, 30, "", "gov.apply", "{\"text\":\"I bake\"}");
    gov_do(t, 30, "gov.applied", "gov.apply", "{}");
    gov_do(t, 30, "command.access", "gov.propose", "{\"procedure\":\"routine\",\"title\":\"T\"}");
    gov_do(t, 0, "", "gov.propose",
           "{\"draft\":1,\"procedure\":\"routine\",\"title\":\"Draft\",\"commands\":[]}");
    gov_state_is(t, "1", "draft");
    gov_do(t, 1, "gov.state", "gov.sponsor", "{\"proposal\":\"1\"}");
    gov_do(t, 1, "gov.author", "gov.propose",
           "{\"procedure\":\"routine\",\"proposal\":\"1\",\"title\":\"Mine\"}");
    gov_do(t, 0, "", "gov.propose",
           "{\"procedure\":\"routine\",\"proposal\":\"1\",\"title\":\"Admit\",\"commands\":%s}",
           commands);
    gov_state_is(t, "1", "support");
    gov_is(t, P1, "needed", "2");
    gov_do(t, 0, "gov.sponsored", "gov.sponsor", "{\"proposal\":\"1\"}");
    gov_do(t, 1, "", "gov.sponsor", "{\"proposal\":\"1\"}");
    gov_do(t, 1, "gov.sponsored", "gov.sponsor", "{\"proposal\":\"1\"}");
    gov_do(t, 2, "", "gov.sponsor", "{\"proposal\":\"1\"}");
    gov_state_is(t, "1", "review");
    gov_do(t, 2, "gov.state", "gov.vote", "{\"choice\":\"yes\",\"proposal\":\"1\"}");
    gov_pass(t, 99);
    gov_state_is(t, "1", "review");
    gov_pass(t, 1);
    gov_state_is(t, "1", "voting");
    gov_is(t, P1, "eligible", "20");
    gov_is(t, P1, "electors", "20");
    gov_do(t, 0, "gov.state", "gov.withdraw", "{\"proposal\":\"1\"}");
    gov_do(t, 30, "gov.elector", "gov.vote", "{\"choice\":\"yes\",\"proposal\":\"1\"}");
    gov_do(t, 3, "gov.ballot", "gov.vote", "{\"choice\":\"maybe\",\"proposal\":\"1\"}");
    gov_do(t, 3, "gov.ballot", "gov.vote", "{\"approve\":[0],\"proposal\":\"1\"}");
    gov_votes(t, 3, 3, "1", "no");
    gov_votes(t, 3, 3, "1", "yes"); /* a change of mind */
    gov_votes(t, 4, 5, "1", "yes");
    gov_votes(t, 6, 7, "1", "no");
    gov_votes(t, 8, 8, "1", "abstain");
    gov_is(t, "gov/tally/1", "counts.0", "3");
    gov_is(t, "gov/tally/1", "counts.1", "2");
    gov_is(t, "gov/tally/1", "ballots", "6");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "grace");
    gov_do(t, 9, "gov.state", "gov.vote", "{\"choice\":\"no\",\"proposal\":\"1\"}");
    gov_is(t, member, "", NULL);
    gov_pass(t, 100);
    gov_state_is(t, "1", "executed");
    char *held = org_state(&t->o, member);
    assert_string_equal(held, "1");
    char *application = mb_asprintf("gov/application/%s", t->name[30]);
    assert_null(org_state(&t->o, application));
    char *elector = mb_asprintf("gov/elector/1/%s", t->name[3]);
    assert_null(org_state(&t->o, elector)); /* what nobody needs any more is gone */
    gov_do(t, 30, "", "gov.resign", "{}");
    assert_null(org_state(&t->o, member));
    gov_do(t, 30, "command.access", "gov.resign", "{}");
    free(held);
    free(application);
    free(elector);
    free(member);
    free(commands);
    gov_stop(t);
}

static void test_ends_that_are_not_execution(void **state)
{
    struct gov_test *t = gov_start(20, "{\"gov.routine.execute_within_s\":50,\"gov.open_max\":20}");
    (void)state;
    gov_do(t, 0, "", "gov.propose", "{\"procedure\":\"routine\",\"title\":\"Lonely\"}");
    gov_do(t, 0, "", "gov.propose", "{\"draft\":1,\"procedure\":\"routine\",\"title\":\"Draft\"}");
    gov_make(t, 0, "3", "routine", "[]");
    gov_make(t, 0, "4", "routine", "[]");
    gov_make(t, 0, "5", "routine", "[]");
    gov_make(t, 0, "6", "routine", "[]");
    gov_make(t, 0, "7", "routine", "[]");
    gov_do(t, 1, "gov.author", "gov.withdraw", "{\"proposal\":\"3\"}");
    gov_do(t, 0, "", "gov.withdraw", "{\"proposal\":\"3\"}");
    gov_pass(t, 100);
    gov_votes(t, 1, 1, "4", "yes"); /* 1 of 20: 2 needed */
    gov_votes(t, 1, 3, "5", "yes");
    gov_votes(t, 4, 6, "5", "no"); /* as many */
    gov_votes(t, 1, 3, "6", "yes");
    gov_votes(t, 4, 7, "6", "no");
    gov_votes(t, 1, 3, "7", "yes");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "unsponsored");
    gov_is(t, P1, "reason.code", "gov.sponsors");
    gov_is(t, P1, "reason.args.0", "0");
    gov_is(t, P1, "reason.args.1", "2");
    gov_state_is(t, "2", "expired");
    gov_state_is(t, "3", "withdrawn");
    gov_state_is(t, "4", "defeated");
    gov_is(t, "gov/proposal/4", "reason.code", "gov.quorum");
    gov_is(t, "gov/proposal/4", "reason.args.0", "1");
    gov_is(t, "gov/proposal/4", "reason.args.1", "2");
    gov_state_is(t, "5", "tied");
    gov_is(t, "gov/proposal/5", "reason.code", "gov.threshold");
    gov_state_is(t, "6", "defeated");
    gov_is(t, "gov/proposal/6", "reason.args.0", "3");
    gov_is(t, "gov/proposal/6", "reason.args.1", "7");
    gov_state_is(t, "7", "grace");
    gov_pass(t, 151); /* 100 of grace, 50 to execute: too late */
    gov_state_is(t, "7", "expired");
    gov_is(t, "gov/proposal/7", "reason.code", "gov.late");
    gov_stop(t);
}

/* A procedure of its own, by the constitution's way. */
static void set_procedure(struct gov_test *t, const char *fields)
{
    json_t *body = json_loads(fields, 0, NULL);
    assert_non_null(body);
    json_decref(body);
    char *result = org_do(&t->o, t->now, &t->who[0], "gov.procedure.set", fields);
    if (strstr(result, "\"ok\":true") == NULL)
        fail_msg("%s for %s", result, fields);
    free(result);
}

#define QUICK "\"sponsors\":0,\"review_s\":0,\"voting_s\":1000,\"grace_s\":0"
#define THREE "\"options\":[{\"title\":\"A\"},{\"title\":\"B\"},{\"title\":\"C\"}]"

static void test_procedures_are_checked(void **state)
{
    static const char *const bad[][2] = {
        {"\"threshold\":[101,100]", "gov.field"},
        {"\"threshold\":[0,100]", "gov.field"},
        {"\"threshold\":[1,0]", "gov.field"},
        {"\"threshold\":[1,1],\"over\":1", "gov.field"},
        {"\"threshold\":[1,1001]", "gov.field"},
        {"\"threshold\":[1]", "body.invalid"},
        {"\"threshold\":[1,\"2\"]", "gov.field"},
        {"\"quorum\":[-1,2]", "gov.field"},
        {"\"quorum\":[2,1]", "gov.field"},
        {"\"quorum\":[0,0]", "gov.field"},
        {"\"ballot\":\"secret\"", "gov.field"},
        {"\"tie\":\"coin\"", "gov.field"},
        {"\"weight\":\"money\"", "gov.field"},
        {"\"weight\":\"asset:coin\"", "gov.asset_transferable"},
        {"\"weight\":\"asset:none\"", "gov.asset_unknown"},
        {"\"electorate\":\"coin\"", "gov.asset_transferable"},
        {"\"veto\":\"none\"", "gov.asset_unknown"},
        {"\"audits\":1", "gov.field"},
        {"\"voting_s\":0", "body.invalid"},
        {"\"review_s\":31622401", "body.invalid"},
        {"\"commands\":[1]", "gov.field"},
        {"\"commands\":[\"\"]", "gov.field"},
        {"\"figure\":1", "body.invalid"},
    };
    struct gov_test *t = gov_start(4, "{}");
    (void)state;
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"coin\",\"transferable\":1}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        gov_do(t, 0, bad[i][1], "gov.procedure.set", "{\"name\":\"odd\",%s}", bad[i][0]);
    gov_do(t, 0, "gov.field", "gov.procedure.set", "{\"name\":\"Odd\"}");
    gov_do(t, 1, "", "gov.procedure.set", "{\"name\":\"odd\"}"); /* a founder too */
    gov_do(t, 9, "command.access", "gov.procedure.set", "{\"name\":\"odd\"}");
    gov_do(t, 0, "", "gov.procedure.set", "{\"name\":\"odd\",\"quorum\":[1,3]}");
    gov_is(t, "gov/procedure/odd", "version", "2");
    gov_is(t, "gov/procedure/odd", "quorum.1", "3");
    gov_stop(t);
}

static void test_the_constitution_stays_open_to_all(void **state)
{
    static const char *const bad[] = {"\"weight\":\"rules\"",
                                      "\"electorate\":\"board\"",
                                      "\"veto\":\"board\"",
                                      "\"ballot\":\"approval\"",
                                      "\"commands\":[]",
                                      "\"commands\":[\"books.*\"]",
                                      "\"audits\":1,\"auditors\":\"board\""};
    struct gov_test *t = gov_start(4, "{}");
    (void)state;
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"board\"}");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        gov_do(t, 0, "gov.constitution", "gov.procedure.set", "{\"name\":\"constitution\",%s}",
               bad[i]);
    gov_stop(t);
}

static void ballots(struct gov_test *t, const char *kind, const char *more)
{
    char *fields = mb_asprintf("{\"name\":\"elect\",\"ballot\":\"%s\"%s," QUICK "}", kind, more);
    set_procedure(t, fields);
    gov_do(t, 0, "gov.options", "gov.propose",
           "{\"procedure\":\"elect\",\"title\":\"No options\"}");
    gov_do(t, 0, "", "gov.propose", "{\"procedure\":\"elect\",\"title\":\"Who?\"," THREE "}");
    gov_pass(t, 0);
    gov_state_is(t, "1", "voting");
    free(fields);
}

static void cast(struct gov_test *t, int person, const char *code, const char *ballot)
{
    gov_do(t, person, code, "gov.vote", "{\"proposal\":\"1\",%s}", ballot);
}

/* args: of the refusal, as JSON without the brackets. */
static void refused(struct gov_test *t, int person, const char *args, const char *code,
                    const char *type, const char *body)
{
    char *error = mb_asprintf("{\"args\":[%s],\"code\":\"%s\"}", args, code);
    gov_do(t, person, code, type, "%s", body);
    char *result = org_do(&t->o, t->now, &t->who[person], type, body);
    if (strstr(result, error) == NULL)
        fail_msg("%s instead of %s", result, error);
    free(result);
    free(error);
}

static void test_refusals_name_figure_and_limit(void **state)
{
    static const struct {
        const char *kind, *ballot, *args;
    } ballot[] = {
        {"yesno", "\"choice\":\"maybe\"",
         "\"{\\\"choice\\\":\\\"maybe\\\"}\",\"choice yes, no or abstain\""},
        {"yesno", "\"approve\":[0]", "\"{\\\"approve\\\":[0]}\",\"choice alone\""},
        {"approval", "\"approve\":[3]", "\"3\",\"options from 0 to 2, each once\""},
        {"ranked", "\"ranking\":[1,1]", "\"1\",\"options from 0 to 2, each once\""},
        {"weighted", "\"weights\":{\"3\":10}",
         "\"{\\\"3\\\":10}\",\"options from 0 to 2, each once\""},
        {"weighted", "\"weights\":{\"0\":101}", "\"101\",\"0 to 100 points for each option\""},
        {"weighted", "\"weights\":{\"0\":60,\"1\":41}", "\"101\",\"1 to 100 points together\""},
    };
    static const struct {
        const char *field, *args;
    } procedure[] = {
        {"\"threshold\":[101,100]",
         "\"threshold\",\"[101,100]\",\"[NUM,DEN], 1 <= NUM <= DEN <= 1000; "
         "less than 1 with over\""},
        {"\"quorum\":[0,0]",
         "\"quorum\",\"[0,0]\",\"[NUM,DEN], 0 <= NUM <= DEN, 1 <= DEN <= 1000\""},
        {"\"audits\":3", "\"audits\",\"3\",\"0 without auditors\""},
        {"\"tie\":\"coin\"", "\"tie\",\"\\\"coin\\\"\",\"none or first\""},
        {"\"commands\":[\"*\",7]", "\"commands\",\"7\",\"patterns of 1 to 100 bytes\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof ballot / sizeof *ballot; i++) {
        struct gov_test *t = gov_start(10, "{}");
        bool yesno = strcmp(ballot[i].kind, "yesno") == 0;
        char *fields =
            mb_asprintf("{\"name\":\"elect\",\"ballot\":\"%s\"," QUICK "}", ballot[i].kind);
        char *args = mb_asprintf("\"%s\",%s", ballot[i].kind, ballot[i].args);
        char *body = mb_asprintf("{\"proposal\":\"1\",%s}", ballot[i].ballot);
        set_procedure(t, fields);
        gov_do(t, 0, "", "gov.propose", "{\"procedure\":\"elect\",\"title\":\"Who?\"%s}",
               yesno ? "" : "," THREE);
        gov_pass(t, 0);
        refused(t, 0, args, "gov.ballot", "gov.vote", body);
        gov_stop(t);
        free(fields);
        free(args);
        free(body);
    }
    struct gov_test *t = gov_start(4, "{}");
    for (size_t i = 0; i < sizeof procedure / sizeof *procedure; i++) {
        char *body = mb_asprintf("{\"name\":\"odd\",%s}", procedure[i].field);
        refused(t, 0, procedure[i].args, "gov.field", "gov.procedure.set", body);
        free(body);
    }
    refused(t, 0, "\"name\",\"\\\"Odd\\\"\",\"1 to 32 of a to z, 0 to 9 and _\"", "gov.field",
            "gov.procedure.set", "{\"name\":\"Odd\"}");
    gov_stop(t);
}

/* A body may hold null, which no client of ours writes: it is refused like any other figure. */
static void test_null_is_refused(void **state)
{
    static const char *const rows[][3] = {
        {"gov.vote", "{\"approve\":[null],\"proposal\":\"1\"}",
         "{\"args\":[\"approval\",\"null\",\"options from 0 to 2, each "
         "once\"],\"code\":\"gov.ballot\"}"},
        {"gov.vote", "{\"proposal\":\"1\",\"ranking\":[null]}",
         "{\"args\":[\"approval\",\"a value that holds null\",\"approve alone\"],"
         "\"code\":\"gov.ballot\"}"},
        {"gov.procedure.set", "{\"name\":\"odd\",\"quorum\":[null,1]}",
         "{\"args\":[\"quorum\",\"a value that holds null\","},
    };
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    ballots(t, "approval", "");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text =
            mb_asprintf("{\"org\":\"%s\",\"key\":\"%s\",\"type\":\"%s\",\"nonce\":\"%032zu\","
                        "\"expires\":%lld,\"body\":%s}",
                        mb_ledger_org(t->o.ledger), t->name[0], rows[i][0], i + 1,
                        (long long)t->now + 3600, rows[i][1]);
        struct mb_checked *c = org_envelope(&t->who[0], text);
        struct mb_outcome *o = org_block(&t->o, t->now, &c, 1);
        assert_non_null(o);
        const char *result = mb_buf_text(&o->block.results[mb_outcome_index(o, 0)]);
        if (strstr(result, rows[i][2]) == NULL)
            fail_msg("%s instead of %s", result, rows[i][2]);
        mb_outcome_free(o);
        free(text);
    }
    gov_stop(t);
}

static void test_approval(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    ballots(t, "approval", "");
    cast(t, 0, "gov.ballot", "\"approve\":[3]");
    cast(t, 0, "gov.ballot", "\"approve\":[-1]");
    cast(t, 0, "gov.ballot", "\"approve\":[0,0]");
    cast(t, 0, "gov.ballot", "\"ranking\":[0]");
    cast(t, 0, "", "\"approve\":[0,1]");
    cast(t, 1, "", "\"approve\":[1]");
    cast(t, 2, "", "\"approve\":[2,1]");
    cast(t, 3, "", "\"approve\":[]");
    gov_is(t, "gov/tally/1", "counts.1", "3");
    gov_is(t, "gov/tally/1", "voted", "4");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "executed");
    gov_is(t, P1, "winner", "1");
    gov_stop(t);
}

static void test_weighted(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    ballots(t, "weighted", ",\"threshold\":[2,5],\"over\":0");
    cast(t, 0, "gov.ballot", "\"weights\":{\"0\":60,\"1\":41}");
    cast(t, 0, "gov.ballot", "\"weights\":{\"0\":0}");
    cast(t, 0, "gov.ballot", "\"weights\":{\"3\":10}");
    cast(t, 0, "gov.ballot", "\"weights\":{\"00\":10}");
    cast(t, 0, "gov.ballot", "\"weights\":{\"0\":-5}");
    cast(t, 0, "", "\"weights\":{\"0\":60,\"1\":40}");
    cast(t, 1, "", "\"weights\":{\"2\":100}");
    cast(t, 1, "", "\"weights\":{\"0\":20,\"1\":80}");
    gov_is(t, "gov/tally/1", "counts.0", "80");
    gov_is(t, "gov/tally/1", "counts.1", "120");
    gov_pass(t, 1000);
    gov_is(t, P1, "winner", "1"); /* 120 of 200 */
    gov_stop(t);
}

static void test_ranked_and_its_ties(void **state)
{
    for (int first = 0; first < 2; first++) {
        struct gov_test *t = gov_start(10, "{}");
        ballots(t, "ranked", first ? ",\"tie\":\"first\"" : "");
        cast(t, 0, "gov.ballot", "\"ranking\":[0,3]");
        cast(t, 0, "gov.ballot", "\"ranking\":[1,1]");
        cast(t, 0, "", "\"ranking\":[1,0]");
        cast(t, 1, "", "\"ranking\":[0,1]");
        gov_is(t, "gov/tally/1", "pairs.1", "1");
        gov_is(t, "gov/tally/1", "pairs.2", "2");
        gov_pass(t, 1000);
        gov_state_is(t, "1", first ? "executed" : "tied");
        gov_is(t, P1, "winner", first ? "0" : NULL);
        gov_is(t, P1, "reason.code", first ? NULL : "gov.tie");
        gov_stop(t);
    }
    (void)state;
}

/* The example of Schulze's paper (2011), section 3.1's like: 45 voters, 5 options; E wins. */
static void test_schulze_against_the_paper(void **state)
{
    static const struct {
        int voters;
        const char *order;
    } ballot[] = {{5, "ACBED"}, {5, "ADECB"}, {8, "BEDAC"}, {3, "CABED"},
                  {7, "CAEBD"}, {2, "CBADE"}, {7, "DCEBA"}, {8, "EBADC"}};
    int64_t pairs[25] = {0};
    bool winners[GOV_OPTIONS_MAX];
    (void)state;
    for (size_t b = 0; b < sizeof ballot / sizeof *ballot; b++)
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++)
                pairs[(ballot[b].order[i] - 'A') * 5 + ballot[b].order[j] - 'A'] +=
                    ballot[b].voters;
    assert_int_equal(pairs[0 * 5 + 1], 20);
    assert_int_equal(pairs[4 * 5 + 3], 31);
    assert_int_equal(gov_schulze(pairs, 5, winners), 1);
    assert_true(winners[4]);
}

/* What the option that won says is done, and nothing else. */
static void test_an_election_runs_the_winners_commands(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    char *a = issue_command(t, "chair", 3, 1), *b = issue_command(t, "chair", 4, 1);
    char *chair[2] = {mb_asprintf("books/balance/chair/key/%s", t->name[3]),
                      mb_asprintf("books/balance/chair/key/%s", t->name[4])};
    (void)state;
    set_procedure(
        t,
        "{\"name\":\"elect\",\"ballot\":\"ranked\",\"commands\":[\"books.post:chair\"]," QUICK "}");
    gov_do(t, 0, "gov.command", "gov.propose",
           "{\"procedure\":\"elect\",\"title\":\"Chair\",\"options\":[{\"title\":\"A\"},{\"title\":"
           "\"B\",\"commands\":[{\"body\":{},\"type\":\"org.param.set\"}]}]}");
    gov_do(t, 0, "", "gov.propose",
           "{\"procedure\":\"elect\",\"title\":\"Chair\",\"options\":[{\"title\":\"A\","
           "\"commands\":%s},{\"title\":\"B\",\"commands\":%s}]}",
           a, b);
    gov_pass(t, 0);
    cast(t, 0, "", "\"ranking\":[1,0]");
    cast(t, 1, "", "\"ranking\":[1]");
    cast(t, 2, "", "\"ranking\":[0]");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "executed");
    assert_null(org_state(&t->o, chair[0]));
    char *held = org_state(&t->o, chair[1]);
    assert_string_equal(held, "1");
    free(held);
    free(chair[0]);
    free(chair[1]);
    free(a);
    free(b);
    gov_stop(t);
}

static void delegate(struct gov_test *t, int from, int to, const char *scope, int64_t until)
{
    gov_do(t, from, "", "gov.delegate", "{\"scope\":\"%s\",\"to\":\"%s\",\"until\":%lld}", scope,
           t->name[to], (long long)until);
}

static void test_delegation(void **state)
{
    struct gov_test *t = gov_start(20, "{\"gov.routine.delegations\":2}");
    int64_t soon = t->now + 50, late = t->now + 5000;
    (void)state;
    gov_do(t, 1, "gov.delegate", "gov.delegate", "{\"to\":\"%s\",\"until\":%lld}", t->name[1],
           (long long)late);
    gov_do(t, 1, "gov.delegate", "gov.delegate", "{\"to\":\"%s\",\"until\":%lld}", t->name[40],
           (long long)late);
    gov_do(t, 1, "gov.until", "gov.delegate", "{\"to\":\"%s\",\"until\":%lld}", t->name[0],
           (long long)t->now);
    gov_do(t, 1, "gov.until", "gov.delegate", "{\"to\":\"%s\",\"until\":%lld}", t->name[0],
           (long long)(t->now + GOV_PERIOD_MAX + 1));
    gov_do(t, 1, "gov.no_delegation", "gov.delegate", "{}");
    gov_do(t, 1, "gov.procedure_unknown", "gov.delegate",
           "{\"scope\":\"none\",\"to\":\"%s\",\"until\":%lld}", t->name[0], (long long)late);
    delegate(t, 1, 0, "routine", late);
    delegate(t, 2, 0, "routine", late);
    gov_do(t, 3, "gov.delegations", "gov.delegate",
           "{\"scope\":\"routine\",\"to\":\"%s\",\"until\":%lld}", t->name[0], (long long)late);
    gov_do(t, 2, "", "gov.delegate", "{\"scope\":\"routine\"}"); /* revoked: there is room again */
    delegate(t, 3, 0, "routine", soon);                          /* expires before the vote */
    delegate(t, 4, 5, "*", late);
    delegate(t, 5, 6, "*", late); /* depth 1: 4's vote is 5's to cast, not 6's */
    gov_make(t, 7, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_votes(t, 0, 0, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "2"); /* with 1's */
    gov_votes(t, 6, 6, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "4"); /* with 5's, without 4's */
    gov_votes(t, 1, 1, "1", "no");             /* overrides */
    gov_is(t, "gov/tally/1", "counts.0", "3");
    gov_is(t, "gov/tally/1", "counts.1", "1");
    gov_votes(t, 0, 0, "1", "no");
    gov_is(t, "gov/tally/1", "counts.0", "2");
    gov_is(t, "gov/tally/1", "counts.1", "2");
    gov_votes(t, 5, 5, "1", "no"); /* own, and 4's */
    gov_is(t, "gov/tally/1", "counts.0", "1");
    gov_is(t, "gov/tally/1", "counts.1", "4");
    gov_is(t, "gov/tally/1", "voted", "5");
    delegate(t, 8, 0, "routine", late); /* 3's has expired: there is room */
    gov_stop(t);
}

/* Weight is what one holds of an asset; whether it can be delegated is the asset's to say. */
static void test_weight_of_an_asset(void **state)
{
    for (int delegable = 0; delegable < 2; delegable++) {
        struct gov_test *t = gov_start(10, "{}");
        gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"share\",\"delegable\":%d}", delegable);
        issue(t, "share", 1, 70);
        issue(t, "share", 2, 30);
        set_procedure(t, "{\"name\":\"shares\",\"weight\":\"asset:share\"," QUICK "}");
        delegate(t, 2, 1, "shares", t->now + 5000);
        gov_do(t, 0, "", "gov.propose", "{\"procedure\":\"shares\",\"title\":\"T\"}");
        gov_pass(t, 0);
        gov_is(t, P1, "eligible", "100");
        gov_is(t, P1, "electors", "2");
        gov_do(t, 3, "gov.elector", "gov.vote", "{\"choice\":\"yes\",\"proposal\":\"1\"}");
        gov_votes(t, 1, 1, "1", "yes");
        gov_is(t, "gov/tally/1", "counts.0", delegable ? "100" : "70");
        gov_stop(t);
    }
    (void)state;
}

static void test_veto_and_audit(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"guard\"}");
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"auditor\"}");
    issue(t, "guard", 1, 1);
    issue(t, "guard", 2, 1);
    issue(t, "auditor", 3, 1);
    set_procedure(t,
                  "{\"name\":\"spend\",\"auditors\":\"auditor\",\"audits\":1,\"veto\":\"guard\","
                  "\"vetoes\":2,\"sponsors\":0,\"review_s\":100,\"voting_s\":100,\"grace_s\":100}");
    gov_make(t, 0, "1", "spend", "[]");
    gov_make(t, 0, "2", "spend", "[]");
    gov_make(t, 0, "3", "spend", "[]");
    gov_do(t, 4, "gov.no_veto", "gov.veto", "{\"proposal\":\"1\",\"reason\":\"no\"}");
    gov_do(t, 1, "", "gov.veto", "{\"proposal\":\"1\",\"reason\":\"too much\"}");
    gov_do(t, 1, "gov.vetoed", "gov.veto", "{\"proposal\":\"1\",\"reason\":\"again\"}");
    gov_state_is(t, "1", "review");
    gov_do(t, 2, "", "gov.veto", "{\"proposal\":\"1\",\"reason\":\"too much\"}");
    gov_state_is(t, "1", "vetoed");
    gov_do(t, 4, "gov.no_auditor", "gov.audit", "{\"proposal\":\"2\",\"verdict\":\"good\"}");
    gov_do(t, 3, "gov.field", "gov.audit", "{\"proposal\":\"2\",\"verdict\":\"fine\"}");
    gov_do(t, 3, "", "gov.audit", "{\"proposal\":\"2\",\"report\":\"R\",\"verdict\":\"good\"}");
    gov_do(t, 3, "gov.audited", "gov.audit", "{\"proposal\":\"2\",\"verdict\":\"bad\"}");
    gov_do(t, 3, "", "gov.audit", "{\"proposal\":\"3\",\"verdict\":\"bad\"}");
    gov_pass(t, 100);
    gov_votes(t, 0, 5, "2", "yes");
    gov_votes(t, 0, 5, "3", "yes");
    gov_pass(t, 100);
    gov_pass(t, 100);
    gov_state_is(t, "2", "executed");
    gov_state_is(t, "3", "failed");
    gov_is(t, "gov/proposal/3", "reason.code", "gov.audits");
    gov_stop(t);
}

static int count_key(void *arg, const char *key, const json_t *value)
{
    (void)key;
    (void)value;
    ++*(int *)arg;
    return 0;
}

static void make_voters(struct gov_test *t, int count)
{
    struct mb_buf entries = {0};
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"voter\"}");
    set_procedure(t, "{\"name\":\"wide\",\"electorate\":\"voter\",\"sponsors\":0,\"review_s\":10,"
                     "\"voting_s\":1000,\"grace_s\":0}");
    for (int i = 0; i < count; i++) { /* in postings of 100 */
        char fp[MB_FINGERPRINT_SIZE];
        struct mb_public_key key = {{(uint8_t)i, (uint8_t)(i >> 8), 7}};
        mb_public_key_fingerprint(&key, fp);
        mb_buf_addf(&entries, "%s{\"account\":\"key/%s\",\"amount\":1,\"asset\":\"voter\"}",
                    i % 100 == 0 ? "" : ",", fp);
        if (i % 100 == 99) {
            gov_do(t, 0, "", "books.post", "{\"entries\":[%s]}", mb_buf_text(&entries));
            mb_buf_reset(&entries);
        }
    }
    mb_buf_clear(&entries);
}

/* A rulebook that takes long to weigh holds no block up for long. */
static void test_electors_whom_a_rulebook_weighs_are_fewer_in_a_block(void **state)
{
    struct gov_test *t = gov_start(4, "{}");
    (void)state;
    make_voters(t, 100);
    issue(t, "voter", 1, 1);
    assert_int_equal(t->backend.ops->put(t->backend.self, 0, "books/slow", mb_bytes_of("200000")),
                     0); /* what weighing one counts */
    gov_make(t, 0, "1", "wide", "[]");
    t->now += 10;
    gov_block(t, NULL, 0);
    gov_is(t, P1, "electors", "50");
    gov_block(t, NULL, 0);
    gov_is(t, P1, "electors", "100");
    gov_block(t, NULL, 0);
    gov_state_is(t, "1", "voting");
    gov_is(t, P1, "eligible", "101");
    gov_stop(t);
}

/* More electors than one block takes: the vote opens when all are frozen. */
static void test_many_electors_are_frozen_over_blocks(void **state)
{
    struct gov_test *t = gov_start(4, "{}");
    (void)state;
    make_voters(t, 2500);
    issue(t, "voter", 1, 1);
    gov_make(t, 0, "1", "wide", "[]");
    t->now += 10;
    gov_block(t, NULL, 0);
    gov_state_is(t, "1", "review");
    gov_is(t, P1, "electors", "1000");
    gov_block(t, NULL, 0);
    gov_state_is(t, "1", "review"); /* nobody votes on half an electorate */
    gov_is(t, P1, "electors", "2000");
    gov_block(t, NULL, 0);
    gov_state_is(t, "1", "voting");
    gov_is(t, P1, "electors", "2501");
    gov_is(t, P1, "eligible", "2501");
    gov_votes(t, 1, 1, "1", "yes");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "defeated");
    gov_is(t, P1, "reason.args.1", "251"); /* a tenth, upwards */
    gov_stop(t);
}

/* How many keys of gov/ there are that name a proposal. */
static int left_of_proposals(struct gov_test *t)
{
    static const char *const folders[] = {"proposal", "payload", "tally",  "audit",
                                          "ballot",   "elector", "carried"};
    struct mb_tx *tx = mb_ledger_reader(t->o.ledger);
    int count = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *prefix = mb_asprintf("gov/%s/", folders[i]);
        (void)mb_tx_scan(tx, prefix, "", count_key, &count);
        free(prefix);
    }
    return count;
}

static void test_ended_proposals_are_forgotten(void **state)
{
    struct gov_test *t = gov_start(GOV_PEOPLE, "{\"gov.keep_s\":100000}");
    (void)state;
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"auditor\"}");
    for (int i = 0; i < GOV_PEOPLE; i++)
        issue(t, "auditor", i, 1);
    set_procedure(t, "{\"name\":\"spend\",\"auditors\":\"auditor\",\"sponsors\":0,\"review_s\":100,"
                     "\"voting_s\":100,\"grace_s\":100}");
    set_procedure(t, "{\"name\":\"slow\",\"sponsors\":0,\"review_s\":200000}");
    gov_make(t, 0, "1", "spend", "[]");
    gov_make(t, 0, "2", "slow", "[]");
    gov_do(t, 0, "", "gov.withdraw", "{\"proposal\":\"2\"}");
    gov_make(t, 0, "3", "spend", "[]");
    for (int i = 0; i < GOV_PEOPLE; i++) /* more than a block forgets */
        gov_do(t, i, "", "gov.audit", "{\"proposal\":\"1\",\"verdict\":\"good\"}");
    gov_pass(t, 100);
    gov_votes(t, 0, 9, "1", "yes");
    gov_pass(t, 100);
    gov_pass(t, 100);
    gov_state_is(t, "1", "executed");
    gov_state_is(t, "3", "defeated");
    gov_make(t, 1, "4", "slow", "[]");
    gov_pass(t, 99900); /* of 2, withdrawn over 200 s before the end of 1, nothing is left */
    gov_is(t, "gov/proposal/2", "state", NULL);
    gov_state_is(t, "1", "executed");
    gov_do(t, 0, "gov.state", "gov.withdraw", "{\"proposal\":\"1\"}");
    gov_pass(t, 200);
    assert_int_equal(left_of_proposals(t), 2); /* 4 and its payload */
    gov_state_is(t, "4", "review");
    static const char *const verbs[][2] = {{"gov.audit", ",\"verdict\":\"bad\""},
                                           {"gov.veto", ",\"reason\":\"late\""},
                                           {"gov.vote", ",\"choice\":\"yes\""},
                                           {"gov.sponsor", ""},
                                           {"gov.withdraw", ""}};
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        gov_do(t, 0, "gov.proposal_unknown", verbs[i][0], "{\"proposal\":\"1\"%s}", verbs[i][1]);
    /* Its number is not given again; and that its review would have ended now moves nothing. */
    gov_make(t, 0, "5", "spend", "[]");
    gov_pass(t, 100100);
    gov_is(t, "gov/proposal/2", "state", NULL);
    gov_state_is(t, "4", "voting");
    gov_stop(t);
}

/* Its ballots go first, in pieces, however little it is kept; nobody is forgotten while it is open.
 */
static void test_a_great_vote_is_forgotten_in_the_end(void **state)
{
    struct gov_test *t = gov_start(4, "{\"gov.keep_s\":5}"); /* below the least: 90 days */
    (void)state;
    make_voters(t, 2500);
    gov_make(t, 0, "1", "wide", "[]");
    gov_pass(t, 10);
    gov_pass(t, 1000);
    gov_state_is(t, "1", "defeated");
    gov_pass(t, 7775990);
    gov_state_is(t, "1", "defeated");
    assert_int_equal(left_of_proposals(t), 3);
    gov_pass(t, 10);
    assert_int_equal(left_of_proposals(t), 0);
    gov_stop(t);
}

static void test_founders_are_the_members_without_books(void **state)
{
    static const struct mb_logic *const modules[] = {&gov_logic};
    struct gov_test t = {.now = ORG_CREATED + 10};
    struct mb_memory *memory = mb_memory_new();
    (void)state;
    t.backend = mb_memory_backend(memory);
    json_t *json = org_genesis_json(&t.o, 3, 2);
    json_object_del(json_object_get(json, "versions"), "toy");
    json_object_set_new(json_object_get(json, "versions"), "gov", json_integer(1));
    assert_int_equal(mb_json_canonical(&t.o.genesis, json, NULL), 0);
    json_decref(json);
    assert_int_equal(
        mb_ledger_found(&t.o.ledger, t.backend, modules, 1, mb_buf_bytes(&t.o.genesis), &t.o.error),
        0);
    for (int i = 0; i < 3; i++)
        t.who[i] = t.o.founders[i];
    gov_do(&t, 0, "", "gov.propose", "{\"procedure\":\"routine\",\"title\":\"T\"}");
    gov_is(&t, P1, "needed", "0"); /* root of 3, halved */
    gov_pass(&t, 86400);
    gov_is(&t, P1, "electors", "3");
    gov_votes(&t, 0, 1, "1", "yes");
    gov_pass(&t, 604800);
    gov_pass(&t, 172800);
    gov_state_is(&t, "1", "executed");
    gov_do(&t, 0, "gov.no_member", "gov.resign", "{}");
    org_clear(&t.o);
    mb_memory_free(memory);
}

static void test_messages_name_figure_and_limit(void **state)
{
    struct gov_test *t = gov_start(4, "{}");
    (void)state;
    bool found = false;
    for (const struct mb_message *m = gov_logic.messages; m->code != NULL; m++) {
        assert_int_equal(strncmp(m->code, "gov.", 4), 0);
        found |= strcmp(m->code, "gov.quorum") == 0 && strcmp(m->text, "{0} of {1} needed") == 0;
    }
    assert_true(found);
    gov_stop(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_genesis_writes_three_procedures),
        cmocka_unit_test(test_params_shorten_the_procedures),
        cmocka_unit_test(test_a_proposal_from_draft_to_executed),
        cmocka_unit_test(test_ends_that_are_not_execution),
        cmocka_unit_test(test_procedures_are_checked),
        cmocka_unit_test(test_the_constitution_stays_open_to_all),
        cmocka_unit_test(test_refusals_name_figure_and_limit),
        cmocka_unit_test(test_null_is_refused),
        cmocka_unit_test(test_approval),
        cmocka_unit_test(test_weighted),
        cmocka_unit_test(test_ranked_and_its_ties),
        cmocka_unit_test(test_schulze_against_the_paper),
        cmocka_unit_test(test_an_election_runs_the_winners_commands),
        cmocka_unit_test(test_delegation),
        cmocka_unit_test(test_weight_of_an_asset),
        cmocka_unit_test(test_veto_and_audit),
        cmocka_unit_test(test_electors_whom_a_rulebook_weighs_are_fewer_in_a_block),
        cmocka_unit_test(test_many_electors_are_frozen_over_blocks),
        cmocka_unit_test(test_ended_proposals_are_forgotten),
        cmocka_unit_test(test_a_great_vote_is_forgotten_in_the_end),
        cmocka_unit_test(test_founders_are_the_members_without_books),
        cmocka_unit_test(test_messages_name_figure_and_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
