/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Proposals once they have their sponsors: electors are frozen, votes counted, vetoes and audits
 * taken, commands run. Each step is taken when its time has come, and does nothing otherwise. */
#include <stdlib.h>
#include <string.h>

#include "gov_state.h"

#define FORGOTTEN "forgotten"

static int64_t period(const json_t *p, const char *name)
{
    return mb_json_get_int(json_object_get(p, "rule"), name, 0);
}

/* --- The electors --- */

struct freezing {
    struct mb_tx *tx;
    const struct mb_context *ctx;
    const char *id, *procedure, *weight;
    int64_t left, eligible, electors, delegations;
    int64_t over; /* the weight that does not fit beside the others, or 0 */
    char last[MB_FINGERPRINT_SIZE];
};

/* How many votes one may carry; none of a weight that its asset says is not to be delegated. */
static int64_t delegations(struct mb_tx *tx, const json_t *rule)
{
    const char *weight = mb_json_get_text(rule, "weight", "");
    int64_t most = mb_json_get_int(rule, "delegations", 0);
    if (strncmp(weight, "asset:", 6) != 0)
        return most;
    char *key = mb_asprintf("books/asset/%s", weight + 6);
    json_t *asset = mb_tx_get(tx, key);
    if (!mb_json_get_flag(asset, "delegable", false))
        most = 0;
    json_decref(asset);
    free(key);
    return most;
}

static int64_t weigh(const struct freezing *f, const char *identity)
{
    int64_t weight = 1;
    if (strncmp(f->weight, "asset:", 6) == 0)
        weight = gov_balance(f->tx, f->weight + 6, identity);
    else if (strcmp(f->weight, "rules") == 0)
        weight = mb_tx_weight(f->tx, f->ctx, identity, f->procedure);
    return weight > 0 ? weight : 0;
}

/* True if the delegate may carry one more vote. */
static bool carry(struct freezing *f, const char *to, int64_t weight)
{
    json_t *carried = gov_load(f->tx, "carried", f->id, to);
    int64_t count = mb_json_get_int(carried, "count", 0);
    bool room = count < f->delegations;
    if (room)
        gov_store(f->tx, "carried", f->id, to,
                  json_pack("{s:I, s:I}", "count", (json_int_t)count + 1, "weight",
                            (json_int_t)(mb_json_get_int(carried, "weight", 0) + weight)));
    json_decref(carried);
    return room;
}

static int freeze_one(void *arg, const char *identity, int64_t amount)
{
    struct freezing *f = arg;
    char to[MB_FINGERPRINT_SIZE];
    (void)amount;
    /* A rulebook may take long to weigh. Steps come first in a block: the first of them gets on. */
    if (f->left-- == 0 || mb_tx_work(f->tx, 0) >= GOV_WEIGH_WORK)
        return 1;
    mb_snprintf(f->last, sizeof f->last, "%s", identity);
    int64_t weight = weigh(f, identity);
    if (weight == 0)
        return 0;
    if (weight > GOV_WEIGHT_MAX - f->eligible) {
        f->over = weight;
        return 1;
    }
    f->eligible += weight;
    f->electors++;
    json_t *elector = json_pack("{s:I}", "weight", (json_int_t)weight);
    if (f->delegations > 0 && gov_delegated(f->tx, f->ctx, identity, f->procedure, to) &&
        carry(f, to, weight))
        json_object_set_new(elector, "to", json_string(to));
    gov_store(f->tx, "elector", f->id, identity, elector);
    return 0;
}

static void open_vote(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    json_object_del(p, "cursor");
    gov_store(tx, "tally", id, NULL,
              gov_tally_new(json_object_get(p, "rule"), (size_t)mb_json_get_int(p, "options", 0)));
    gov_enter(tx, ctx, id, p, "voting", ctx->time + period(p, "voting_s"));
}

/* As many electors as this block has room for; with the last one, the vote opens. */
static void freeze(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    const json_t *rule = json_object_get(p, "rule");
    struct freezing f = {.tx = tx,
                         .ctx = ctx,
                         .id = id,
                         .procedure = mb_json_get_text(p, "procedure", ""),
                         .weight = mb_json_get_text(rule, "weight", "equal"),
                         .left = gov_work(tx, ctx, GOV_BLOCK_WORK),
                         .eligible = mb_json_get_int(p, "eligible", 0),
                         .electors = mb_json_get_int(p, "electors", 0),
                         .delegations = delegations(tx, rule)};
    mb_snprintf(f.last, sizeof f.last, "%s", mb_json_get_text(p, "cursor", ""));
    char *after = mb_strdup(f.last);
    int more =
        gov_holders(tx, mb_json_get_text(rule, "electorate", "member"), after, freeze_one, &f);
    free(after);
    json_object_set_new(p, "electors", json_integer(f.electors));
    json_object_set_new(p, "eligible", json_integer(f.eligible));
    if (f.over != 0) {
        struct mb_error why = {0};
        (void)mb_refuse(&why, "gov.weight", "ddd", f.eligible, f.over, GOV_WEIGHT_MAX);
        gov_finish(tx, ctx, id, p, "failed", &why);
    } else if (more == 0) {
        open_vote(tx, ctx, id, p);
    } else {
        json_object_set_new(p, "cursor", json_string(f.last));
        gov_store(tx, "proposal", id, NULL, json_incref(p));
        gov_wake(tx, ctx->time, id);
    }
}

/* --- Close, grace, execution --- */

static void close_vote(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    struct gov_outcome outcome;
    json_t *tally = gov_load(tx, "tally", id, NULL);
    gov_count(json_object_get(p, "rule"), (size_t)mb_json_get_int(p, "options", 0),
              mb_json_get_int(p, "eligible", 0), tally, &outcome);
    json_decref(tally);
    if (outcome.end != GOV_PASSED) {
        gov_finish(tx, ctx, id, p, outcome.end == GOV_TIED ? "tied" : "defeated", &outcome.error);
        return;
    }
    if (outcome.winner >= 0)
        json_object_set_new(p, "winner", json_integer(outcome.winner));
    gov_enter(tx, ctx, id, p, "grace", ctx->time + period(p, "grace_s"));
}

/* The commands that were decided on (owned): the proposal's, or those of the option that won. */
static json_t *decided(struct mb_tx *tx, const char *id, const json_t *p)
{
    json_t *payload = gov_load(tx, "payload", id, NULL);
    const json_t *winner = json_object_get(p, "winner"), *from = payload;
    if (winner != NULL)
        from =
            json_array_get(json_object_get(payload, "options"), (size_t)json_integer_value(winner));
    json_t *commands = json_object_get(from, "commands");
    commands = commands != NULL ? json_incref(commands) : json_array();
    json_decref(payload);
    return commands;
}

static int64_t good_audits(const json_t *p)
{
    return mb_json_get_int(p, "audits", 0);
}

static void execute(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    struct mb_error why = {0};
    int64_t wanted = period(p, "audits");
    int64_t late = ctx->time - mb_json_get_int(p, "deadline", 0);
    if (late > period(p, "execute_within_s")) {
        (void)mb_refuse(&why, "gov.late", "dd", late, period(p, "execute_within_s"));
        gov_finish(tx, ctx, id, p, "expired", &why);
        return;
    }
    if (good_audits(p) < wanted) {
        (void)mb_refuse(&why, "gov.audits", "dd", good_audits(p), wanted);
        gov_finish(tx, ctx, id, p, "failed", &why);
        return;
    }
    json_t *commands = decided(tx, id, p);
    if (json_array_size(commands) == 0) {
        gov_finish(tx, ctx, id, p, "executed", NULL);
    } else {
        mb_tx_batch(tx, id, commands);
        gov_enter(tx, ctx, id, p, "executing", -1); /* until the batch is done, in this block */
    }
    json_decref(commands);
}

void gov_batch_done(struct mb_tx *tx, const struct mb_context *ctx, const char *id, bool ok,
                    size_t failing, const struct mb_error *error)
{
    json_t *p = gov_proposal(tx, id, NULL);
    if (p == NULL)
        return; /* a resignation's */
    if (ok) {
        json_t *commands = decided(tx, id, p);
        gov_admitted(tx, commands);
        json_decref(commands);
        gov_finish(tx, ctx, id, p, "executed", NULL);
    } else {
        json_object_set_new(p, "failing", json_integer((json_int_t)failing));
        gov_finish(tx, ctx, id, p, "failed", error);
    }
    json_decref(p);
}

/* --- What is left of a vote --- */

struct sweeping {
    struct mb_tx *tx;
    int64_t left;
};

static int sweep_one(void *arg, const char *key, const json_t *value)
{
    struct sweeping *s = arg;
    (void)value;
    if (s->left-- == 0)
        return 1;
    mb_tx_delete(s->tx, key);
    return 0;
}

static void clean_up(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    static const char *const folders[] = {"ballot", "carried", "elector"};
    struct sweeping s = {tx, gov_work(tx, ctx, GOV_BLOCK_WORK)};
    int more = 0;
    for (size_t i = 0; i < 3 && more == 0; i++) {
        char *prefix = mb_asprintf("gov/%s/%s/", folders[i], id);
        more = mb_tx_scan(tx, prefix, "", sweep_one, &s);
        free(prefix);
    }
    if (more != 0) {
        gov_wake(tx, ctx->time, id);
        return;
    }
    json_object_del(p, "cleanup");
    gov_store(tx, "proposal", id, NULL, json_incref(p));
    gov_wake(tx, mb_json_get_int(p, "forget", 0), id);
}

/* It has ended long ago: what is left of it goes. The ledger's blocks have it all. */
static void forget(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    struct sweeping s = {tx, gov_work(tx, ctx, GOV_FORGET_WORK)};
    char *prefix = mb_asprintf("gov/audit/%s/", id);
    bool room = s.left > 0 && mb_tx_scan(tx, prefix, "", sweep_one, &s) == 0;
    free(prefix);
    if (!room) {
        gov_wake(tx, ctx->time, id);
        return;
    }
    gov_drop(tx, "payload", id, NULL);
    gov_drop(tx, "proposal", id, NULL);
    gov_drop(tx, "tally", id, NULL);
    json_object_set_new(p, "state", json_string(FORGOTTEN));
}

/* --- gov.step --- */

static void drop_draft(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    gov_finish(tx, ctx, id, p, "expired", NULL);
}

static void end_support(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    struct mb_error why = {0};
    (void)mb_refuse(&why, "gov.sponsors", "dd",
                    (int64_t)json_array_size(json_object_get(p, "sponsors")),
                    mb_json_get_int(p, "needed", 0));
    gov_finish(tx, ctx, id, p, "unsponsored", &why);
}

static const struct {
    const char *state;
    void (*run)(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p);
} steps[] = {
    {"draft", drop_draft},  {"support", end_support}, {"review", freeze},
    {"voting", close_vote}, {"grace", execute},
};

static void step(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p)
{
    const char *state = mb_json_get_text(p, "state", "");
    if (mb_json_get_flag(p, "cleanup", false)) {
        clean_up(tx, ctx, id, p);
        return;
    }
    if (ctx->time >= mb_json_get_int(p, "forget", INT64_MAX)) {
        forget(tx, ctx, id, p);
        return;
    }
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        if (strcmp(steps[i].state, state) != 0 ||
            ctx->time < mb_json_get_int(p, "deadline", INT64_MAX))
            continue;
        steps[i].run(tx, ctx, id, p);
        return;
    }
}

int gov_step(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
             struct mb_error *error)
{
    const char *id = mb_json_get_text(body, "proposal", "");
    if (*ctx->id != 0 || !ctx->as_org)
        return mb_refuse(error, "gov.internal", "s", "gov.step");
    json_t *p = gov_proposal(tx, id, NULL);
    if (p == NULL) /* a deadline of one that ended before it */
        p = json_pack("{s:s}", "state", FORGOTTEN);
    else
        step(tx, ctx, id, p);
    *result = json_pack("{s:s, s:s}", "proposal", id, "state", mb_json_get_text(p, "state", ""));
    if (json_object_get(p, "reason") != NULL)
        json_object_set(*result, "reason", json_object_get(p, "reason"));
    json_decref(p);
    return 0;
}

/* --- gov.veto, gov.audit --- */

static int check_role(struct mb_tx *tx, const struct mb_context *ctx, const json_t *p,
                      const char *role, const char *code, struct mb_error *error)
{
    const char *asset = mb_json_get_text(json_object_get(p, "rule"), role, "");
    const char *procedure = mb_json_get_text(p, "procedure", "");
    return *asset != 0 && gov_balance(tx, asset, ctx->signer) > 0
               ? 0
               : mb_refuse(error, code, "ss", procedure, asset);
}

static int veto(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p,
                const json_t *body, struct mb_error *error)
{
    json_t *vetoes = json_object_get(p, "vetoes"), *one;
    size_t i;
    int rc = gov_expect_state(id, p, "review voting grace", error);
    if (rc == 0)
        rc = check_role(tx, ctx, p, "veto", "gov.no_veto", error);
    json_array_foreach(vetoes, i, one)
    {
        if (rc == 0 && strcmp(mb_json_get_text(one, "key", ""), ctx->signer) == 0)
            rc = mb_refuse(error, "gov.vetoed", "s", id);
    }
    if (rc != 0)
        return rc;
    if (vetoes == NULL)
        json_object_set_new(p, "vetoes", vetoes = json_array());
    json_array_append_new(vetoes, json_pack("{s:s, s:s}", "key", ctx->signer, "reason",
                                            mb_json_get_text(body, "reason", "")));
    if ((int64_t)json_array_size(vetoes) >= period(p, "vetoes"))
        gov_finish(tx, ctx, id, p, "vetoed", NULL);
    else
        gov_store(tx, "proposal", id, NULL, json_incref(p));
    return 0;
}

int gov_veto(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
             struct mb_error *error)
{
    const char *id = mb_json_get_text(body, "proposal", "");
    int rc = gov_person(ctx, "gov.veto", error);
    json_t *p = rc == 0 ? gov_proposal(tx, id, error) : NULL;
    if (p == NULL)
        return MB_EREFUSED;
    rc = veto(tx, ctx, id, p, body, error);
    if (rc == 0)
        *result = json_pack("{s:s, s:I}", "state", mb_json_get_text(p, "state", ""), "vetoes",
                            (json_int_t)json_array_size(json_object_get(p, "vetoes")));
    json_decref(p);
    return rc;
}

static int audit(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p,
                 const json_t *body, struct mb_error *error)
{
    const char *verdict = mb_json_get_text(body, "verdict", "");
    int rc = gov_expect_state(id, p, "review voting grace executed failed", error);
    if (rc == 0)
        rc = check_role(tx, ctx, p, "auditors", "gov.no_auditor", error);
    if (rc != 0)
        return rc;
    if (strcmp(verdict, "good") != 0 && strcmp(verdict, "bad") != 0)
        return gov_bad_field(error, "verdict", json_object_get(body, "verdict"), "good or bad");
    if (gov_has(tx, "audit", id, ctx->signer))
        return mb_refuse(error, "gov.audited", "s", id);
    gov_store(tx, "audit", id, ctx->signer,
              json_pack("{s:s, s:I, s:s}", "report", mb_json_get_text(body, "report", ""), "time",
                        (json_int_t)ctx->time, "verdict", verdict));
    json_object_set_new(p, "audits", json_integer(good_audits(p) + (*verdict == 'g')));
    gov_store(tx, "proposal", id, NULL, json_incref(p));
    return 0;
}

int gov_audit(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
              struct mb_error *error)
{
    const char *id = mb_json_get_text(body, "proposal", "");
    int rc = gov_person(ctx, "gov.audit", error);
    json_t *p = rc == 0 ? gov_proposal(tx, id, error) : NULL;
    (void)result;
    if (p == NULL)
        return MB_EREFUSED;
    rc = audit(tx, ctx, id, p, body, error);
    json_decref(p);
    return rc;
}
