/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Ballots. The tally is kept with each vote, so that closing one costs the same for ten ballots and
 * for a hundred thousand. */
#include <stdlib.h>
#include <string.h>

#include "gov_state.h"

json_t *gov_tally_new(const json_t *rule, size_t options)
{
    bool ranked = strcmp(mb_json_get_text(rule, "ballot", ""), "ranked") == 0;
    json_t *counts = json_array(), *pairs = json_array();
    for (size_t i = 0; i < (options == 0 ? 3 : options); i++)
        json_array_append_new(counts, json_integer(0));
    for (size_t i = 0; ranked && i < options * options; i++)
        json_array_append_new(pairs, json_integer(0));
    return json_pack("{s:i, s:o, s:o, s:i}", "ballots", 0, "counts", counts, "pairs", pairs,
                     "voted", 0);
}

/* --- Reading a ballot --- */

/* What a ballot says: points for each option; rank (ranked only), smaller is better. */
struct marks {
    size_t options;
    bool ranked;
    int64_t points[GOV_OPTIONS_MAX];
    size_t rank[GOV_OPTIONS_MAX];
};

/* What a ballot of each kind says it with. */
static const char *const kinds[][2] = {
    {"approval", "approve"}, {"ranked", "ranking"}, {"weighted", "weights"}, {"yesno", "choice"}};

static json_t *ballot_of(const json_t *body)
{
    json_t *ballot = json_object();
    for (size_t i = 0; i < 4; i++)
        if (json_object_get(body, kinds[i][1]) != NULL)
            json_object_set(ballot, kinds[i][1], json_object_get(body, kinds[i][1]));
    return ballot;
}

/* figure (taken) is what is wrong, limit what it can be. */
static int bad_ballot(struct mb_error *error, const char *kind, json_t *figure_take,
                      const char *limit)
{
    char *figure = mb_json_figure(figure_take);
    int rc = mb_refuse(error, "gov.ballot", "sss", kind, figure, limit);
    free(figure);
    json_decref(figure_take);
    return rc;
}

/* It names an option that is not there, or one twice. */
static int bad_options(struct mb_error *error, const char *kind, json_t *figure_take,
                       size_t options)
{
    char limit[64];
    mb_snprintf(limit, sizeof limit, "options from 0 to %zu, each once", options - 1);
    return bad_ballot(error, kind, figure_take, limit);
}

static int read_yesno(struct marks *m, const json_t *body, struct mb_error *error)
{
    static const char *const choices[] = {"yes", "no", "abstain"};
    const char *choice = mb_json_get_text(body, "choice", "");
    for (size_t i = 0; i < 3; i++)
        m->points[i] = strcmp(choice, choices[i]) == 0;
    m->options = 3;
    return m->points[0] + m->points[1] + m->points[2] == 1
               ? 0
               : bad_ballot(error, "yesno", ballot_of(body), "choice yes, no or abstain");
}

/* Numbers of options, each once: approved, or from the best down. */
static int read_list(struct marks *m, const json_t *list, const char *kind, struct mb_error *error)
{
    const json_t *one;
    size_t i;
    for (i = 0; i < m->options; i++)
        m->rank[i] = m->options; /* those not named are last, side by side */
    json_array_foreach(list, i, one)
    {
        json_int_t n = json_integer_value(one);
        if (!json_is_integer(one) || n < 0 || (size_t)n >= m->options || m->points[n] != 0)
            return bad_options(error, kind, json_incref((json_t *)one), m->options);
        m->points[n] = 1;
        m->rank[n] = i;
    }
    return 0;
}

/* {"0":70,"3":30}: at most GOV_POINTS together. */
static int read_weights(struct marks *m, const json_t *weights, struct mb_error *error)
{
    int64_t sum = 0;
    size_t named = 0;
    for (size_t i = 0; i < m->options; i++) {
        char name[8];
        mb_snprintf(name, sizeof name, "%zu", i);
        const json_t *points = json_object_get(weights, name);
        int64_t n = json_integer_value(points);
        if (points == NULL)
            continue;
        if (!json_is_integer(points) || n < 0 || n > GOV_POINTS)
            return bad_ballot(error, "weighted", json_incref((json_t *)points),
                              "0 to 100 points for each option");
        m->points[i] = n;
        sum += n;
        named++;
    }
    if (named != json_object_size(weights))
        return bad_options(error, "weighted", json_incref((json_t *)weights), m->options);
    return sum >= 1 && sum <= GOV_POINTS
               ? 0
               : bad_ballot(error, "weighted", json_integer(sum), "1 to 100 points together");
}

/* body: a ballot, or gov.vote's body. */
static int read_ballot(struct marks *m, const json_t *rule, size_t options, const json_t *body,
                       struct mb_error *error)
{
    const char *kind = mb_json_get_text(rule, "ballot", ""), *field = "";
    const json_t *said = NULL;
    size_t given = 0;
    memset(m, 0, sizeof *m);
    m->options = options;
    m->ranked = strcmp(kind, "ranked") == 0;
    for (size_t i = 0; i < 4; i++) {
        const json_t *one = json_object_get(body, kinds[i][1]);
        given += one != NULL;
        if (strcmp(kind, kinds[i][0]) != 0)
            continue;
        field = kinds[i][1];
        said = one;
    }
    if (said == NULL || given != 1) {
        char limit[32];
        mb_snprintf(limit, sizeof limit, "%s alone", field);
        return bad_ballot(error, kind, ballot_of(body), limit);
    }
    if (strcmp(kind, "yesno") == 0)
        return read_yesno(m, body, error);
    return strcmp(kind, "weighted") == 0 ? read_weights(m, said, error)
                                         : read_list(m, said, kind, error);
}

/* --- Adding it up --- */

static void add(json_t *list, size_t i, int64_t by)
{
    if (by != 0)
        json_array_set_new(list, i, json_integer(json_integer_value(json_array_get(list, i)) + by));
}

/* Weight more (or less) for what a ballot says. */
static void tally_add(json_t *tally, const struct marks *m, int64_t weight)
{
    json_t *counts = json_object_get(tally, "counts"), *pairs = json_object_get(tally, "pairs");
    json_object_set_new(tally, "voted", json_integer(mb_json_get_int(tally, "voted", 0) + weight));
    for (size_t i = 0; i < m->options && !m->ranked; i++)
        add(counts, i, m->points[i] * weight);
    for (size_t i = 0; i < m->options && m->ranked; i++) {
        add(counts, i, m->rank[i] == 0 ? weight : 0); /* first places, for people */
        for (size_t j = 0; j < m->options; j++)
            add(pairs, i * m->options + j, m->rank[i] < m->rank[j] ? weight : 0);
    }
}

/* --- gov.vote --- */

struct voting {
    struct mb_tx *tx;
    const struct mb_context *ctx;
    const char *id;
    json_t *p, *tally, *elector, *old;
    const json_t *rule;
    size_t options;
};

/* The weight of those who delegated to somebody and have not voted themselves. */
static int64_t carried(const struct voting *v, const char *identity)
{
    json_t *c = gov_load(v->tx, "carried", v->id, identity);
    int64_t weight = mb_json_get_int(c, "weight", 0);
    json_decref(c);
    return weight;
}

/* A ballot that was taken before. */
static void add_stored(const struct voting *v, const json_t *ballot, int64_t weight)
{
    struct marks m;
    if (ballot != NULL && read_ballot(&m, v->rule, v->options, ballot, NULL) == 0)
        tally_add(v->tally, &m, weight);
}

/* Their own vote overrides the delegate's: it is taken out of what that one carries. */
static void take_back(const struct voting *v, const char *to, int64_t weight)
{
    json_t *c = gov_load(v->tx, "carried", v->id, to),
           *ballot = gov_load(v->tx, "ballot", v->id, to);
    json_object_set_new(c, "weight", json_integer(mb_json_get_int(c, "weight", 0) - weight));
    gov_store(v->tx, "carried", v->id, to, c);
    add_stored(v, ballot, -weight);
    json_decref(ballot);
}

static void count(const struct voting *v, struct gov_outcome *out)
{
    gov_count(v->rule, v->options, mb_json_get_int(v->p, "eligible", 0), v->tally, out);
}

/* The outcome flips in the last tenth: once, the vote goes on for another tenth. */
static void extend(const struct voting *v, const struct gov_outcome *before)
{
    int64_t closes = mb_json_get_int(v->p, "deadline", 0);
    int64_t voting_s = mb_json_get_int(v->rule, "voting_s", 0);
    struct gov_outcome after;
    if (mb_json_get_flag(v->p, "extended", false) || (closes - v->ctx->time) * 10 > voting_s)
        return;
    count(v, &after);
    if (before->end == after.end && before->winner == after.winner)
        return;
    closes += voting_s >= 10 ? voting_s / 10 : 1;
    json_object_set_new(v->p, "deadline", json_integer(closes));
    json_object_set_new(v->p, "extended", json_integer(1));
    gov_store(v->tx, "proposal", v->id, NULL, json_incref(v->p));
    gov_wake(v->tx, closes, v->id);
}

static int64_t cast(const struct voting *v, const struct marks *m, const json_t *body)
{
    const char *me = v->ctx->signer;
    int64_t own = mb_json_get_int(v->elector, "weight", 0), weight = own + carried(v, me);
    const char *to = mb_json_get_text(v->elector, "to", NULL);
    struct gov_outcome before;
    count(v, &before);
    if (v->old != NULL)
        add_stored(v, v->old, -weight);
    else
        json_object_set_new(v->tally, "ballots",
                            json_integer(mb_json_get_int(v->tally, "ballots", 0) + 1));
    if (v->old == NULL && to != NULL)
        take_back(v, to, own);
    tally_add(v->tally, m, weight);
    gov_store(v->tx, "ballot", v->id, me, ballot_of(body));
    gov_store(v->tx, "tally", v->id, NULL, json_incref(v->tally));
    extend(v, &before);
    return weight;
}

static int vote(struct voting *v, const json_t *body, json_t **result, struct mb_error *error)
{
    struct marks m;
    int rc = gov_expect_state(v->id, v->p, "voting", error);
    if (rc != 0)
        return rc;
    int64_t closes = mb_json_get_int(v->p, "deadline", 0);
    if (v->ctx->time >= closes)
        return mb_refuse(error, "gov.closed", "sd", v->id, closes);
    v->elector = gov_load(v->tx, "elector", v->id, v->ctx->signer);
    if (v->elector == NULL)
        return mb_refuse(error, "gov.elector", "s", v->id);
    v->rule = json_object_get(v->p, "rule");
    v->options = (size_t)mb_json_get_int(v->p, "options", 0);
    rc = read_ballot(&m, v->rule, v->options, body, error);
    if (rc != 0)
        return rc;
    v->old = gov_load(v->tx, "ballot", v->id, v->ctx->signer);
    v->tally = gov_load(v->tx, "tally", v->id, NULL);
    int64_t weight = cast(v, &m, body);
    *result = json_pack("{s:I, s:I}", "closes", (json_int_t)mb_json_get_int(v->p, "deadline", 0),
                        "weight", (json_int_t)weight);
    return 0;
}

int gov_vote(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
             struct mb_error *error)
{
    struct voting v = {.tx = tx, .ctx = ctx, .id = mb_json_get_text(body, "proposal", "")};
    int rc = gov_person(ctx, "gov.vote", error);
    v.p = rc == 0 ? gov_proposal(tx, v.id, error) : NULL;
    if (v.p == NULL)
        return MB_EREFUSED;
    rc = vote(&v, body, result, error);
    json_decref(v.p);
    json_decref(v.tally);
    json_decref(v.elector);
    json_decref(v.old);
    return rc;
}
