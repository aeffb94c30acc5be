/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Votes in a second on one core, signatures counted out, over memory; and what a tally of 100,000
 * ballots takes: bench_gov [BALLOTS]. Every figure is a line "name value unit".
 *
 * There are 60 electors, who vote again and again: after each one's first, every ballot takes the
 * one before out of the tally, too, and the state stays as small as 60 ballots are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../modules/gov/gov.h"
#include "../support/org.h"

#define MEMBERS 60
#define BLOCK   600
#define OPTIONS 10

static const struct mb_logic *const modules[] = {&gov_logic};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct bench {
    struct org o;
    struct mb_memory *memory;
    struct mb_secret_key who[MEMBERS];
    int64_t time;
};

static void founded(struct bench *b)
{
    json_t *json, *founders = json_array();
    memset(b, 0, sizeof *b);
    b->memory = mb_memory_new();
    b->time = ORG_CREATED + 10;
    json = org_genesis_json(&b->o, 1, 1);
    for (int i = 0; i < MEMBERS; i++) {
        char text[MB_PUBLIC_TEXT_SIZE];
        b->who[i] = org_key((uint8_t)(100 + i));
        mb_public_key_text(&b->who[i].public_key, text);
        json_array_append_new(founders, json_string(text));
    }
    json_object_set_new(json, "founders", founders);
    json_object_del(json_object_get(json, "versions"), "toy");
    json_object_set_new(json_object_get(json, "versions"), "gov", json_integer(1));
    (void)mb_json_canonical(&b->o.genesis, json, NULL);
    json_decref(json);
    if (mb_ledger_found(&b->o.ledger, mb_memory_backend(b->memory), modules, 1,
                        mb_buf_bytes(&b->o.genesis), &b->o.error) != 0)
        abort();
}

static void run(struct bench *b, const char *type, const char *body)
{
    char *result = org_do(&b->o, b->time, &b->who[0], type, body);
    if (strstr(result, "\"ok\":true") == NULL) {
        fprintf(stderr, "bench_gov: %s: %s\n", type, result);
        exit(1);
    }
    free(result);
}

/* A vote that is open, by this ballot. */
static void open_vote(struct bench *b, const char *ballot)
{
    struct mb_buf body = {0};
    mb_buf_addf(&body,
                "{\"name\":\"b\",\"ballot\":\"%s\",\"sponsors\":0,\"review_s\":0,\"voting_s\":"
                "31000000}",
                ballot);
    run(b, "gov.procedure.set", mb_buf_text(&body));
    mb_buf_reset(&body);
    mb_buf_add_text(&body, "{\"procedure\":\"b\",\"title\":\"T\",\"options\":[");
    for (int i = 0; i < OPTIONS && strcmp(ballot, "yesno") != 0; i++)
        mb_buf_addf(&body, "%s{\"title\":\"%d\"}", i > 0 ? "," : "", i);
    mb_buf_add_text(&body, "]}");
    run(b, "gov.propose", mb_buf_text(&body));
    mb_buf_clear(&body);
    mb_outcome_free(org_block(&b->o, b->time, NULL, 0));
}

static void ballot_text(struct mb_buf *out, const char *ballot, unsigned n)
{
    mb_buf_reset(out);
    if (strcmp(ballot, "yesno") == 0) {
        mb_buf_addf(out, "{\"choice\":\"%s\",\"proposal\":\"1\"}", n % 3 != 0 ? "yes" : "no");
        return;
    }
    mb_buf_add_text(out, "{\"proposal\":\"1\",\"ranking\":[");
    for (unsigned i = 0; i < OPTIONS; i++) /* 3 and 7 have no divisor in common with 10 */
        mb_buf_addf(out, "%s%u", i > 0 ? "," : "", (n + i * (n % 2 != 0 ? 3 : 7)) % OPTIONS);
    mb_buf_add_text(out, "]}");
}

/* Each ballot is checked before the clock runs. */
static void votes(const char *ballot, long count)
{
    struct bench b;
    struct mb_checked *c[BLOCK];
    struct mb_buf text = {0}, bytes = {0};
    struct mb_error error = {0};
    double apply = 0;
    long done = 0;
    founded(&b);
    open_vote(&b, ballot);
    for (; done < count; done += BLOCK) {
        const struct mb_tip *tip = mb_ledger_tip(b.o.ledger);
        uint64_t slot = tip->header.slot + 1;
        struct mb_outcome *outcome = NULL;
        struct mb_value v = {0};
        for (unsigned i = 0; i < BLOCK; i++) {
            ballot_text(&text, ballot, (unsigned)done + i);
            c[i] = org_command(&b.o, &b.who[i % MEMBERS], "gov.vote", mb_buf_text(&text),
                               b.time + 3600);
        }
        mb_buf_reset(&bytes);
        mb_value_encode(&bytes, &b.o.replica, &tip->header.org, slot, b.time, c, BLOCK);
        double t = now();
        int rc = mb_value_decode(&v, mb_buf_bytes(&bytes), &error);
        if (rc == 0)
            rc = mb_ledger_apply(b.o.ledger, mb_buf_bytes(&bytes), &v, c, &outcome, &error);
        apply += now() - t;
        if (rc != 0 || strstr(mb_buf_text(&outcome->block.results[0]), "\"ok\":true") == NULL)
            exit(1);
        mb_value_clear(&v);
        mb_outcome_free(outcome);
        for (size_t i = 0; i < BLOCK; i++)
            mb_checked_free(c[i]);
    }
    printf("votes_%s %.0f votes/s\n", ballot, (double)done / apply);
    mb_buf_clear(&text);
    mb_buf_clear(&bytes);
    org_clear(&b.o);
    mb_memory_free(b.memory);
}

/* What the close of a vote costs: the tally has been kept, and Schulze's method runs over it. */
static void tally(long ballots)
{
    json_t *rule = json_pack("{s:s, s:[i,i], s:[i,i], s:s}", "ballot", "ranked", "quorum", 1, 10,
                             "threshold", 1, 2, "tie", "first");
    json_t *pairs = json_array(), *counts = json_array();
    struct gov_outcome out;
    unsigned seed = 1;
    for (int i = 0; i < OPTIONS * OPTIONS; i++) {
        seed = seed * 1103515245U + 12345U;
        json_array_append_new(pairs, json_integer((json_int_t)(seed >> 8) % (ballots + 1)));
    }
    for (int i = 0; i < OPTIONS; i++)
        json_array_append_new(counts, json_integer(ballots / OPTIONS));
    json_t *kept = json_pack("{s:I, s:o, s:o, s:I}", "ballots", (json_int_t)ballots, "counts",
                             counts, "pairs", pairs, "voted", (json_int_t)ballots);
    const int rounds = 1000;
    double t = now();
    for (int i = 0; i < rounds; i++)
        gov_count(rule, OPTIONS, ballots, kept, &out);
    printf("close_ranked_%d_options_%ld_ballots %.4f ms\n", OPTIONS, ballots,
           (now() - t) * 1000 / rounds);
    json_decref(rule);
    json_decref(kept);
}

int main(int argc, char **argv)
{
    long ballots = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
    votes("yesno", ballots / 5);
    votes("ranked", ballots / 5);
    tally(ballots);
    return 0;
}
