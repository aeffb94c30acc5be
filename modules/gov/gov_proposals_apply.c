/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Proposals until they have their sponsors; what all states share. */
#include <stdlib.h>
#include <string.h>

#include "gov_state.h"

json_t *gov_proposal(struct mb_tx *tx, const char *id, struct mb_error *error)
{
    bool valid = *id != 0 && strlen(id) <= GOV_ID_MAX && strspn(id, "0123456789") == strlen(id);
    json_t *p = valid ? gov_load(tx, "proposal", id, NULL) : NULL;
    if (p == NULL)
        (void)mb_refuse(error, "gov.proposal_unknown", "s", id);
    return p;
}

int gov_expect_state(const char *id, const json_t *p, const char *states, struct mb_error *error)
{
    const char *state = mb_json_get_text(p, "state", "");
    size_t len = strlen(state);
    for (const char *at = states; (at = strstr(at, state)) != NULL; at += len)
        if ((at == states || at[-1] == ' ') && (at[len] == 0 || at[len] == ' '))
            return 0;
    return mb_refuse(error, "gov.state", "sss", id, state, states);
}

void gov_wake(struct mb_tx *tx, int64_t time, const char *id)
{
    json_t *body = json_pack("{s:s}", "proposal", id);
    mb_tx_due(tx, time, "gov.step", body);
    json_decref(body);
}

void gov_enter(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p,
               const char *state, int64_t deadline)
{
    json_object_set_new(p, "state", json_string(state));
    json_object_set_new(json_object_get(p, "times"), state, json_integer(ctx->time));
    json_object_del(p, "deadline");
    if (deadline >= 0) {
        json_object_set_new(p, "deadline", json_integer(deadline));
        gov_wake(tx, deadline, id);
    }
    gov_store(tx, "proposal", id, NULL, json_incref(p));
}

void gov_finish(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p,
                const char *state, const struct mb_error *why)
{
    if (why != NULL && why->code[0] != 0) {
        json_t *args = json_loadb(why->args, strlen(why->args), 0, NULL);
        json_object_set_new(
            p, "reason",
            json_pack("{s:o, s:s}", "args", args != NULL ? args : json_array(), "code", why->code));
    }
    (void)gov_bump(tx, "open", mb_json_get_text(p, "author", ""), -1);
    json_object_del(p, "cursor");
    int64_t forget = ctx->time + gov_param(tx, "keep_s", GOV_KEEP, GOV_KEEP_MIN, GOV_KEEP_MAX);
    json_object_set_new(p, "forget", json_integer(forget));
    bool cleanup = json_object_get(p, "electors") != NULL;
    if (cleanup)
        json_object_set_new(p, "cleanup", json_integer(1));
    gov_wake(tx, cleanup ? ctx->time : forget, id);
    gov_enter(tx, ctx, id, p, state, -1);
}

/* --- gov.propose --- */

static int check_options(struct mb_tx *tx, const json_t *procedure, const char *name,
                         const json_t *body, struct mb_error *error)
{
    static const struct mb_json_field fields[] = {
        {.name = "commands",
         .kind = MB_JSON_ARRAY,
         .optional = true,
         .min = 0,
         .max = GOV_COMMANDS_MAX},
        {.name = "title", .kind = MB_JSON_STRING, .min = 1, .max = 200},
        {.name = NULL}};
    const json_t *options = json_object_get(body, "options"), *option;
    size_t i, count = json_array_size(options);
    if (gov_is_multi(procedure) != (count > 0))
        return mb_refuse(error, "gov.options", "sd", mb_json_get_text(procedure, "ballot", ""),
                         (int64_t)count);
    if (count > 0 && json_array_size(json_object_get(body, "commands")) > 0)
        return gov_bad_field(error, "commands", json_object_get(body, "commands"),
                             "none beside options");
    json_array_foreach(options, i, option)
    {
        int rc = mb_json_check(option, fields, error);
        if (rc == 0)
            rc =
                gov_check_commands(tx, procedure, name, json_object_get(option, "commands"), error);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* The procedure, the sponsors needed and the payload are what they are from here on. */
static void support(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p,
                    json_t *procedure)
{
    int64_t needed = gov_sponsors_needed(tx, procedure);
    json_object_set(p, "rule", procedure);
    json_object_set_new(p, "needed", json_integer(needed));
    if (needed > 0) {
        gov_enter(tx, ctx, id, p, "support",
                  ctx->time + mb_json_get_int(procedure, "support_s", 0));
        return;
    }
    json_object_set_new(json_object_get(p, "times"), "support", json_integer(ctx->time));
    gov_enter(tx, ctx, id, p, "review", ctx->time + mb_json_get_int(procedure, "review_s", 0));
}

/* A new one, or the author's own draft. p is owned by the caller. */
static int open_draft(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                      char id[GOV_ID_MAX + 1], json_t **p, struct mb_error *error)
{
    const char *draft = mb_json_get_text(body, "proposal", NULL);
    if (draft != NULL) {
        *p = gov_proposal(tx, draft, error);
        if (*p == NULL)
            return MB_EREFUSED;
        mb_snprintf(id, GOV_ID_MAX + 1, "%s", draft);
        if (strcmp(mb_json_get_text(*p, "author", ""), ctx->signer) != 0)
            return mb_refuse(error, "gov.author", "s", draft);
        return gov_expect_state(draft, *p, "draft", error);
    }
    int64_t most = gov_param(tx, "open_max", 5, 1, 1000);
    int64_t open = gov_bump(tx, "open", ctx->signer, 1);
    if (open > most)
        return mb_refuse(error, "gov.open", "dd", open - 1, most);
    mb_snprintf(id, GOV_ID_MAX + 1, "%lld", (long long)gov_bump(tx, "last", NULL, 1));
    *p = json_pack("{s:s, s:[], s:{s:I}, s:s}", "author", ctx->signer, "sponsors", "times", "draft",
                   (json_int_t)ctx->time, "state", "draft");
    return 0;
}

static void fill(struct mb_tx *tx, const char *id, json_t *p, const json_t *body)
{
    json_t *payload = json_object(), *commands = json_object_get(body, "commands");
    json_t *options = json_object_get(body, "options");
    json_object_set_new(payload, "text", json_string(mb_json_get_text(body, "text", "")));
    json_object_set_new(payload, "commands",
                        commands != NULL ? json_incref(commands) : json_array());
    json_object_set_new(payload, "options", options != NULL ? json_incref(options) : json_array());
    gov_store(tx, "payload", id, NULL, payload);
    json_object_set(p, "procedure", json_object_get(body, "procedure"));
    json_object_set(p, "title", json_object_get(body, "title"));
    json_object_set_new(p, "options", json_integer((json_int_t)json_array_size(options)));
}

static int propose(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t *procedure, json_t **result, struct mb_error *error)
{
    const char *name = mb_json_get_text(body, "procedure", "");
    char id[GOV_ID_MAX + 1];
    json_t *p = NULL;
    int rc = check_options(tx, procedure, name, body, error);
    if (rc == 0)
        rc = gov_check_commands(tx, procedure, name, json_object_get(body, "commands"), error);
    if (rc == 0)
        rc = open_draft(tx, ctx, body, id, &p, error);
    if (rc != 0) {
        json_decref(p);
        return rc;
    }
    fill(tx, id, p, body);
    if (!mb_json_get_flag(body, "draft", false))
        support(tx, ctx, id, p, procedure);
    else if (json_object_get(p, "deadline") == NULL)
        gov_enter(tx, ctx, id, p, "draft", ctx->time + mb_json_get_int(procedure, "support_s", 0));
    else
        gov_store(tx, "proposal", id, NULL, json_incref(p));
    *result = json_pack("{s:s, s:s}", "proposal", id, "state", mb_json_get_text(p, "state", ""));
    json_decref(p);
    return 0;
}

int gov_propose(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error)
{
    int rc = gov_person(ctx, "gov.propose", error);
    if (rc != 0)
        return rc;
    json_t *procedure = gov_procedure(tx, mb_json_get_text(body, "procedure", ""), error);
    if (procedure == NULL)
        return MB_EREFUSED;
    rc = propose(tx, ctx, body, procedure, result, error);
    json_decref(procedure);
    return rc;
}

/* --- gov.sponsor, gov.withdraw --- */

static int sponsor(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p,
                   struct mb_error *error)
{
    json_t *sponsors = json_object_get(p, "sponsors");
    int rc = gov_expect_state(id, p, "support", error);
    if (rc != 0)
        return rc;
    if (strcmp(mb_json_get_text(p, "author", ""), ctx->signer) == 0 ||
        mb_json_has_text(sponsors, ctx->signer))
        return mb_refuse(error, "gov.sponsored", "s", id);
    json_array_append_new(sponsors, json_string(ctx->signer));
    if ((int64_t)json_array_size(sponsors) < mb_json_get_int(p, "needed", 0))
        gov_store(tx, "proposal", id, NULL, json_incref(p));
    else
        gov_enter(tx, ctx, id, p, "review",
                  ctx->time + mb_json_get_int(json_object_get(p, "rule"), "review_s", 0));
    return 0;
}

int gov_sponsor(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error)
{
    const char *id = mb_json_get_text(body, "proposal", "");
    int rc = gov_person(ctx, "gov.sponsor", error);
    json_t *p = rc == 0 ? gov_proposal(tx, id, error) : NULL;
    if (p == NULL)
        return MB_EREFUSED;
    rc = sponsor(tx, ctx, id, p, error);
    if (rc == 0)
        *result =
            json_pack("{s:I, s:s, s:I}", "needed", (json_int_t)mb_json_get_int(p, "needed", 0),
                      "state", mb_json_get_text(p, "state", ""), "sponsors",
                      (json_int_t)json_array_size(json_object_get(p, "sponsors")));
    json_decref(p);
    return rc;
}

int gov_withdraw(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                 json_t **result, struct mb_error *error)
{
    const char *id = mb_json_get_text(body, "proposal", "");
    int rc = gov_person(ctx, "gov.withdraw", error);
    json_t *p = rc == 0 ? gov_proposal(tx, id, error) : NULL;
    (void)result;
    if (p == NULL)
        return MB_EREFUSED;
    if (strcmp(mb_json_get_text(p, "author", ""), ctx->signer) != 0)
        rc = mb_refuse(error, "gov.author", "s", id);
    else
        rc = gov_expect_state(id, p, "draft support review", error);
    if (rc == 0)
        gov_finish(tx, ctx, id, p, "withdrawn", NULL);
    json_decref(p);
    return rc;
}
