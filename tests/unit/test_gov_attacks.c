/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ways to cheat a vote; each fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../support/gov.h"

#define P1 "gov/proposal/1"

static char *posting(const char *asset, const char *from, const char *to, int amount)
{
    return mb_asprintf("{\"entries\":[{\"account\":\"%s\",\"amount\":%d,\"asset\":\"%s\"},"
                       "{\"account\":\"%s\",\"amount\":%d,\"asset\":\"%s\"}]}",
                       from, -amount, asset, to, amount, asset);
}

static void move(struct gov_test *t, const char *asset, int from, int to, int amount)
{
    char *source = from < 0 ? mb_asprintf("issue/%s", asset) : mb_asprintf("key/%s", t->name[from]);
    char *target = to < 0 ? mb_asprintf("issue/%s", asset) : mb_asprintf("key/%s", t->name[to]);
    char *body = posting(asset, source, target, amount);
    gov_do(t, 0, "", "books.post", "%s", body);
    free(source);
    free(target);
    free(body);
}

static char *post_command(const char *body)
{
    return mb_asprintf("[{\"body\":%s,\"type\":\"books.post\"}]", body);
}

static void delegate(struct gov_test *t, int from, int to, int64_t until)
{
    gov_do(t, from, "", "gov.delegate", "{\"to\":\"%s\",\"until\":%lld}", t->name[to],
           (long long)until);
}

/* "rep" weighs: what is lent when the vote has opened votes for nobody a second time. */
static void test_weight_borrowed_and_returned_around_a_vote(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    move(t, "rep", -1, 1, 50);
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_is(t, P1, "eligible", "60");
    gov_votes(t, 1, 1, "1", "yes");
    move(t, "rep", 1, 2, 50); /* lent */
    gov_votes(t, 2, 2, "1", "yes");
    move(t, "rep", 2, 1, 50); /* returned */
    gov_votes(t, 1, 1, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "52"); /* 51 and 1, not 102 */
    gov_stop(t);
}

/* No asset that can be handed around is a weight: it could pass from one who is frozen to one who
 * is not yet. */
static void test_a_transferable_asset_is_no_weight(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"coin\",\"transferable\":1}");
    gov_do(t, 0, "gov.asset_transferable", "gov.procedure.set",
           "{\"name\":\"money\",\"weight\":\"asset:coin\"}");
    gov_stop(t);
}

static void test_transfer_or_redelegation_after_voting(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    delegate(t, 1, 2, t->now + 9000);
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_votes(t, 2, 2, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "2");
    delegate(t, 1, 3, t->now + 9000); /* to another who has not voted */
    gov_votes(t, 3, 3, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "3");
    gov_do(t, 1, "", "gov.delegate", "{}");
    gov_votes(t, 1, 1, "1", "yes"); /* one's own, taken out of what 2 carries */
    gov_is(t, "gov/tally/1", "counts.0", "3");
    gov_votes(t, 2, 3, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "3");
    gov_is(t, "gov/tally/1", "voted", "3");
    gov_stop(t);
}

static void test_a_ring_of_delegations_counts_nobody_twice(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    delegate(t, 1, 2, t->now + 9000);
    delegate(t, 2, 3, t->now + 9000);
    delegate(t, 3, 1, t->now + 9000);
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_votes(t, 1, 1, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "2"); /* and 3's */
    gov_votes(t, 2, 3, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "3");
    gov_is(t, "gov/tally/1", "voted", "3");
    gov_stop(t);
}

/* Delegations in the state by the hundred thousand, as no verb would let them come about: the
 * freezing asks each elector for theirs, the cap holds, and a block does its share only. */
static void test_a_hundred_thousand_dust_delegations(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    const char *value = "{\"to\":\"%s\",\"until\":%lld}";
    char *text = NULL;
    (void)state;
    text = mb_asprintf(value, t->name[1], (long long)(t->now + 90000));
    for (int i = 0; i < 100000; i++) {
        char fp[MB_FINGERPRINT_SIZE], *key;
        struct mb_public_key k = {{(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16), 9}};
        mb_public_key_fingerprint(&k, fp);
        key = mb_asprintf("gov/delegation/%s/*", fp);
        assert_int_equal(t->backend.ops->put(t->backend.self, 0, key, mb_bytes_of(text)), 0);
        free(key);
        key = mb_asprintf("gov/delegator/%s/*/%s", t->name[1], fp);
        assert_int_equal(
            t->backend.ops->put(t->backend.self, 0, key, mb_bytes_of("1")), /* expired */
            0);
        free(key);
    }
    delegate(t, 2, 1, t->now + 9000); /* room is made, by forgetting what has expired */
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_is(t, P1, "eligible", "10"); /* none of them is a member */
    gov_votes(t, 1, 1, "1", "yes");
    gov_is(t, "gov/tally/1", "counts.0", "2");
    free(text);
    gov_stop(t);
}

static void test_lowering_the_quorum_revives_nothing(void **state)
{
    struct gov_test *t = gov_start(20, "{}");
    (void)state;
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_votes(t, 1, 1, "1", "yes");
    gov_do(t, 0, "", "gov.procedure.set", "{\"name\":\"routine\",\"quorum\":[0,1]}");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "defeated"); /* by the quorum of its own day */
    gov_do(t, 0, "", "gov.procedure.set", "{\"name\":\"routine\",\"voting_s\":9000}");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "defeated");
    gov_do(t, 1, "gov.state", "gov.vote", "{\"choice\":\"yes\",\"proposal\":\"1\"}");
    gov_do(t, 1, "gov.state", "gov.sponsor", "{\"proposal\":\"1\"}");
    gov_stop(t);
}

static void test_a_rule_change_during_a_vote_changes_it_not(void **state)
{
    struct gov_test *t = gov_start(20, "{}");
    (void)state;
    gov_make(t, 0, "1", "routine", "[]");
    gov_do(t, 0, "", "gov.procedure.set",
           "{\"name\":\"routine\",\"threshold\":[1,1],\"over\":0,\"voting_s\":1,\"ballot\":"
           "\"approval\"}");
    gov_pass(t, 100);
    gov_votes(t, 1, 5, "1", "yes");
    gov_votes(t, 6, 7, "1", "no");
    gov_pass(t, 998);
    gov_state_is(t, "1", "voting");
    gov_pass(t, 2);
    gov_state_is(t, "1", "grace");
    gov_is(t, P1, "rule.version", "1");
    gov_stop(t);
}

static void test_expelled_opponents_still_vote(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    char *account = mb_asprintf("key/%s", t->name[5]);
    char *body = posting("member", account, "issue/member", 1), *commands = post_command(body);
    (void)state;
    /* Not by a routine vote at all. */
    gov_do(t, 0, "gov.command", "gov.propose",
           "{\"commands\":%s,\"procedure\":\"routine\",\"title\":\"Out\"}", commands);
    gov_do(t, 0, "gov.command", "gov.propose",
           "{\"commands\":%s,\"procedure\":\"treasury\",\"title\":\"Out\"}", commands);
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_votes(t, 6, 6, "1", "no");
    move(t, "member", 5, -1, 1);
    move(t, "member", 6, -1, 1);
    gov_votes(t, 5, 5, "1", "no");
    gov_votes(t, 1, 2, "1", "yes");
    gov_is(t, P1, "eligible", "10");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "tied");
    free(account);
    free(body);
    free(commands);
    gov_stop(t);
}

static void test_late_members_do_not_vote(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    move(t, "member", -1, 40, 1);
    gov_do(t, 40, "gov.elector", "gov.vote", "{\"choice\":\"yes\",\"proposal\":\"1\"}");
    gov_stop(t);
}

/* 2^53 and over together: the vote does not open. The ledger goes on. */
static void test_weights_overflow_is_a_failed_proposal(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    move(t, "vast", -1, 3, 1);
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_state_is(t, "1", "failed");
    gov_is(t, P1, "reason.code", "gov.weight");
    gov_is(t, P1, "reason.args.2", "9007199254740992");
    gov_make(t, 0, "2", "constitution", "[]"); /* one each there, whatever the rulebook says */
    gov_pass(t, 100);
    gov_state_is(t, "2", "voting");
    gov_is(t, "gov/proposal/2", "eligible", "10");
    gov_stop(t);
}

static void test_zero_weights_pass_nothing(void **state)
{
    struct gov_test *t = gov_start(4, "{}");
    (void)state;
    for (int i = 0; i < 4; i++)
        move(t, "ban", -1, i, 1);
    gov_do(t, 0, "", "gov.procedure.set", "{\"name\":\"routine\",\"quorum\":[0,1]}");
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_is(t, P1, "eligible", "0");
    gov_do(t, 1, "gov.elector", "gov.vote", "{\"choice\":\"yes\",\"proposal\":\"1\"}");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "defeated"); /* nothing is not a half of nothing */
    gov_stop(t);
}

static void test_counting_the_greatest_weights_is_exact(void **state)
{
    /* yes, no, eligible, passes: threshold 501/1000, quorum 999/1000 */
    static const struct {
        int64_t yes, no, eligible;
        enum gov_end end;
    } cases[] = {
        {GOV_WEIGHT_MAX, 0, GOV_WEIGHT_MAX, GOV_PASSED},
        {GOV_WEIGHT_MAX - GOV_WEIGHT_MAX / 1000 - 1, 0, GOV_WEIGHT_MAX, GOV_DEFEATED},
        {GOV_WEIGHT_MAX - GOV_WEIGHT_MAX / 1000, 0, GOV_WEIGHT_MAX, GOV_PASSED},
        {0, 0, 0, GOV_DEFEATED},
        {0, GOV_WEIGHT_MAX, GOV_WEIGHT_MAX, GOV_DEFEATED},
    };
    json_t *rule = json_pack("{s:s, s:[i,i], s:i, s:[i,i]}", "ballot", "yesno", "quorum", 999, 1000,
                             "over", 0, "threshold", 501, 1000);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct gov_outcome out;
        json_t *tally = json_pack("{s:[I,I,i]}", "counts", (json_int_t)cases[i].yes,
                                  (json_int_t)cases[i].no, 0);
        gov_count(rule, 0, cases[i].eligible, tally, &out);
        assert_int_equal(out.end, cases[i].end);
        json_decref(tally);
    }
    json_decref(rule);
}

static void test_the_payload_cannot_change_after_sponsorship(void **state)
{
    struct gov_test *t = gov_start(20, "{}");
    (void)state;
    gov_do(t, 0, "", "gov.propose", "{\"procedure\":\"routine\",\"title\":\"Harmless\"}");
    gov_do(t, 1, "", "gov.sponsor", "{\"proposal\":\"1\"}");
    gov_do(t, 0, "gov.state", "gov.propose",
           "{\"procedure\":\"routine\",\"proposal\":\"1\",\"title\":\"Harmful\"}");
    gov_is(t, P1, "title", "Harmless");
    gov_stop(t);
}

static void test_last_minute_flips_extend_once(void **state)
{
    struct gov_test *t = gov_start(20, "{}");
    (void)state;
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_votes(t, 1, 3, "1", "yes");
    gov_pass(t, 899);
    gov_votes(t, 4, 6, "1", "no"); /* a flip, before the last tenth */
    gov_is(t, P1, "extended", NULL);
    gov_pass(t, 1);
    gov_votes(t, 7, 7, "1", "yes"); /* in it */
    gov_is(t, P1, "extended", "1");
    gov_pass(t, 100);
    gov_state_is(t, "1", "voting");
    gov_pass(t, 50);
    gov_votes(t, 8, 8, "1", "no"); /* flips again, and again: no more time is given */
    gov_votes(t, 9, 9, "1", "yes");
    gov_votes(t, 10, 10, "1", "no");
    gov_pass(t, 50);
    gov_state_is(t, "1", "tied");
    gov_stop(t);
}

static void test_execution_does_not_execute_again(void **state)
{
    static const char *const types[] = {"gov.step",    "gov.lapse",  "gov.propose", "gov.vote",
                                        "gov.sponsor", "gov.resign", "gov.delegate"};
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        gov_do(t, 0, "gov.command", "gov.propose",
               "{\"commands\":[{\"body\":{\"proposal\":\"1\"},\"type\":\"%s\"}],\"procedure\":"
               "\"constitution\",\"title\":\"Again\"}",
               types[i]);
    gov_do(t, 0, "gov.internal", "gov.step", "{\"proposal\":\"1\"}"); /* a founder's */
    char *target = mb_asprintf("key/%s", t->name[2]);
    char *body = posting("coin", "issue/coin", target, 7), *commands = post_command(body);
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"coin\",\"transferable\":1}");
    gov_make(t, 0, "1", "treasury", commands);
    gov_pass(t, 100);
    gov_votes(t, 1, 8, "1", "yes");
    gov_pass(t, 1000);
    gov_pass(t, 100);
    gov_state_is(t, "1", "executed");
    gov_pass(t, 1000);
    char *key = mb_asprintf("books/balance/coin/key/%s", t->name[2]), *held = org_state(&t->o, key);
    assert_string_equal(held, "7");
    free(key);
    free(held);
    free(target);
    free(body);
    free(commands);
    gov_stop(t);
}

static void test_a_procedure_grants_itself_no_powers(void **state)
{
    static const char *const types[] = {"gov.procedure.set",   "rules.adopt",     "org.upgrade",
                                        "org.founders.retire", "org.key.replace", "org.param.set"};
    static const char *const procedures[] = {"routine", "treasury", "wide"};
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    gov_do(t, 0, "", "gov.procedure.set", "{\"name\":\"wide\",\"commands\":[\"*\"]}");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (size_t j = 0; j < 3; j++)
            gov_do(t, 0, "gov.command", "gov.propose",
                   "{\"commands\":[{\"body\":{\"name\":\"%s\"},\"type\":\"%s\"}],\"procedure\":"
                   "\"%s\",\"title\":\"More\"}",
                   procedures[j], types[i], procedures[j]);
    /* The constitution may, and it takes effect for what comes after. */
    gov_make(t, 0, "1", "constitution",
             "[{\"body\":{\"name\":\"routine\",\"quorum\":[1,2]},\"type\":\"gov.procedure.set\"}]");
    gov_pass(t, 100);
    gov_votes(t, 1, 8, "1", "yes");
    gov_pass(t, 1000);
    gov_pass(t, 100);
    gov_state_is(t, "1", "executed");
    gov_is(t, "gov/procedure/routine", "quorum.1", "2");
    gov_stop(t);
}

/* Memberships and roles are given by procedures that name them, and by the constitution: not by
 * whoever may spend. */
static void test_spending_makes_no_members_and_no_roles(void **state)
{
    static const struct {
        const char *procedure, *asset, *code;
    } cases[] = {
        {"treasury", "member", "gov.command"},
        {"treasury", "guard", "gov.command"},
        {"treasury", "later", "gov.command"},
        {"treasury", "coin", ""},
        {"wide", "guard", "gov.command"},
        {"wide", "coin", ""},
        {"named", "guard", ""},
        {"named", "member", "gov.command"},
        {"routine", "member", ""},
        {"constitution", "guard", ""},
    };
    struct gov_test *t = gov_start(10, "{\"gov.open_max\":10}");
    (void)state;
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"coin\",\"transferable\":1}");
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"guard\"}");
    gov_do(t, 0, "", "gov.procedure.set", "{\"name\":\"wide\",\"commands\":[\"*\"]}");
    gov_do(t, 0, "", "gov.procedure.set",
           "{\"name\":\"named\",\"commands\":[\"books.post\",\"books.post:guard\"]}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *issue = mb_asprintf("issue/%s", cases[i].asset);
        char *target = mb_asprintf("key/%s", t->name[30]);
        char *body = posting(cases[i].asset, issue, target, 1), *commands = post_command(body);
        gov_do(t, 0, cases[i].code, "gov.propose",
               "{\"commands\":%s,\"procedure\":\"%s\",\"title\":\"Mine\"}", commands,
               cases[i].procedure);
        free(issue);
        free(target);
        free(body);
        free(commands);
    }
    gov_stop(t);
}

/* Nobody, not even by decision, takes away the way to decide. */
static void test_no_limit_shuts_out_every_proposal(void **state)
{
    struct gov_test *t = gov_start(10, "{\"gov.open_max\":3}");
    (void)state;
    gov_do(t, 0, "", "org.param.set", "{\"name\":\"gov.open_max\",\"value\":0}");
    gov_make(t, 1, "1", "constitution",
             "[{\"body\":{\"name\":\"gov.open_max\",\"value\":3},\"type\":\"org.param.set\"}]");
    gov_stop(t);
}

static void test_withdrawing_a_copy_leaves_the_original(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    gov_make(t, 0, "1", "routine", "[]");
    gov_make(t, 3, "2", "routine", "[]"); /* the same, word for word, by somebody else */
    gov_do(t, 3, "gov.author", "gov.withdraw", "{\"proposal\":\"1\"}");
    gov_do(t, 3, "", "gov.withdraw", "{\"proposal\":\"2\"}");
    gov_state_is(t, "1", "review");
    gov_pass(t, 100);
    gov_state_is(t, "1", "voting");
    gov_stop(t);
}

static void test_spam_of_proposals_is_bounded(void **state)
{
    struct gov_test *t = gov_start(20, "{\"gov.open_max\":3,\"gov.applications_max\":2}");
    (void)state;
    for (int i = 0; i < 3; i++)
        gov_do(t, 0, "", "gov.propose", "{\"procedure\":\"routine\",\"title\":\"Spam\"}");
    gov_do(t, 0, "gov.open", "gov.propose", "{\"procedure\":\"routine\",\"title\":\"Spam\"}");
    gov_do(t, 1, "", "gov.propose", "{\"procedure\":\"routine\",\"title\":\"Not so\"}");
    gov_do(t, 0, "", "gov.withdraw", "{\"proposal\":\"2\"}");
    gov_do(t, 0, "", "gov.propose", "{\"procedure\":\"routine\",\"title\":\"Spam\"}");
    gov_do(t, 40, "", "gov.apply", "{}");
    gov_do(t, 41, "", "gov.apply", "{}");
    gov_do(t, 42, "gov.applications", "gov.apply", "{}");
    gov_pass(t, 2592000); /* they lapse */
    gov_do(t, 42, "", "gov.apply", "{}");
    gov_stop(t);
}

/* Of one that fails nothing stays, and what else is due in that block runs. */
static void test_a_failing_proposal_blocks_no_other(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    char *target = mb_asprintf("key/%s", t->name[2]);
    char *good = posting("coin", "issue/coin", target, 7), *first = post_command(good);
    char *both = mb_asprintf("[{\"body\":%s,\"type\":\"books.post\"},{\"body\":{\"entries\":[]},"
                             "\"type\":\"books.post\"}]",
                             good);
    (void)state;
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"coin\",\"transferable\":1}");
    gov_make(t, 0, "1", "treasury", both);
    gov_make(t, 0, "2", "treasury", first);
    gov_pass(t, 100);
    gov_votes(t, 1, 8, "1", "yes");
    gov_votes(t, 1, 8, "2", "yes");
    gov_pass(t, 1000);
    gov_pass(t, 100);
    gov_state_is(t, "1", "failed");
    gov_is(t, P1, "failing", "1");
    gov_is(t, P1, "reason.code", "body.invalid");
    gov_state_is(t, "2", "executed");
    char *key = mb_asprintf("books/balance/coin/key/%s", t->name[2]), *held = org_state(&t->o, key);
    assert_string_equal(held, "7");
    free(key);
    free(held);
    free(target);
    free(good);
    free(first);
    free(both);
    gov_stop(t);
}

static void test_a_ballot_counts_in_its_proposal_only(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    gov_make(t, 0, "1", "routine", "[]");
    gov_make(t, 0, "2", "routine", "[]");
    gov_pass(t, 100);
    struct mb_checked *c = org_command(&t->o, &t->who[1], "gov.vote",
                                       "{\"choice\":\"yes\",\"proposal\":\"1\"}", t->now + 3600);
    char *text = mb_strndup((const char *)c->envelope.text.data, c->envelope.text.len);
    gov_block(t, &c, 1);
    struct mb_checked *again = org_envelope(&t->who[1], text);
    gov_block(t, &again, 1);
    gov_is(t, "gov/tally/1", "counts.0", "1");
    gov_is(t, "gov/tally/2", "counts.0", "0");
    free(text);
    gov_stop(t);
}

static void test_vetoes_end_and_do_not_loop(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    gov_do(t, 0, "", "books.asset.create", "{\"asset\":\"guard\"}");
    move(t, "guard", -1, 1, 1);
    gov_do(t, 0, "", "gov.procedure.set", "{\"name\":\"routine\",\"veto\":\"guard\"}");
    gov_make(t, 0, "1", "routine", "[]");
    gov_do(t, 1, "", "gov.veto", "{\"proposal\":\"1\",\"reason\":\"no\"}");
    gov_state_is(t, "1", "vetoed");
    gov_do(t, 1, "gov.state", "gov.veto", "{\"proposal\":\"1\",\"reason\":\"no\"}");
    /* Nobody vetoes the vote that takes the veto away. */
    gov_make(t, 0, "2", "constitution",
             "[{\"body\":{\"name\":\"routine\",\"veto\":\"\"},\"type\":\"gov.procedure.set\"}]");
    gov_do(t, 1, "gov.no_veto", "gov.veto", "{\"proposal\":\"2\",\"reason\":\"no\"}");
    gov_pass(t, 100);
    gov_votes(t, 2, 9, "2", "yes");
    gov_pass(t, 1000);
    gov_pass(t, 100);
    gov_is(t, "gov/procedure/routine", "veto", "");
    gov_stop(t);
}

/* A leader whose clock runs backwards reopens nothing; one that is ahead closes for all alike. */
static void test_ledger_time_alone_counts(void **state)
{
    struct gov_test *t = gov_start(10, "{}");
    (void)state;
    gov_make(t, 0, "1", "routine", "[]");
    gov_pass(t, 100);
    gov_votes(t, 1, 5, "1", "yes");
    gov_pass(t, 1000);
    gov_state_is(t, "1", "grace");
    t->now -= 500;
    gov_do(t, 6, "gov.state", "gov.vote", "{\"choice\":\"no\",\"proposal\":\"1\"}");
    gov_stop(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weight_borrowed_and_returned_around_a_vote),
        cmocka_unit_test(test_a_transferable_asset_is_no_weight),
        cmocka_unit_test(test_transfer_or_redelegation_after_voting),
        cmocka_unit_test(test_a_ring_of_delegations_counts_nobody_twice),
        cmocka_unit_test(test_a_hundred_thousand_dust_delegations),
        cmocka_unit_test(test_lowering_the_quorum_revives_nothing),
        cmocka_unit_test(test_a_rule_change_during_a_vote_changes_it_not),
        cmocka_unit_test(test_expelled_opponents_still_vote),
        cmocka_unit_test(test_late_members_do_not_vote),
        cmocka_unit_test(test_weights_overflow_is_a_failed_proposal),
        cmocka_unit_test(test_zero_weights_pass_nothing),
        cmocka_unit_test(test_counting_the_greatest_weights_is_exact),
        cmocka_unit_test(test_the_payload_cannot_change_after_sponsorship),
        cmocka_unit_test(test_last_minute_flips_extend_once),
        cmocka_unit_test(test_execution_does_not_execute_again),
        cmocka_unit_test(test_a_procedure_grants_itself_no_powers),
        cmocka_unit_test(test_spending_makes_no_members_and_no_roles),
        cmocka_unit_test(test_no_limit_shuts_out_every_proposal),
        cmocka_unit_test(test_withdrawing_a_copy_leaves_the_original),
        cmocka_unit_test(test_spam_of_proposals_is_bounded),
        cmocka_unit_test(test_a_failing_proposal_blocks_no_other),
        cmocka_unit_test(test_a_ballot_counts_in_its_proposal_only),
        cmocka_unit_test(test_vetoes_end_and_do_not_loop),
        cmocka_unit_test(test_ledger_time_alone_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
