/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gov's tables, and how its files reach the state. See magicbiz-gov(7). */
#include <stdlib.h>
#include <string.h>

#include "gov_state.h"

static void make_key(char key[MB_STATE_KEY_MAX + 1], const char *folder, const char *a,
                     const char *b)
{
    mb_snprintf(key, MB_STATE_KEY_MAX + 1, "gov/%s%s%s%s%s", folder, a != NULL ? "/" : "",
                a != NULL ? a : "", b != NULL ? "/" : "", b != NULL ? b : "");
}

json_t *gov_load(struct mb_tx *tx, const char *folder, const char *a, const char *b)
{
    char key[MB_STATE_KEY_MAX + 1];
    make_key(key, folder, a, b);
    return mb_tx_get(tx, key);
}

bool gov_has(struct mb_tx *tx, const char *folder, const char *a, const char *b)
{
    char key[MB_STATE_KEY_MAX + 1];
    make_key(key, folder, a, b);
    return mb_tx_has(tx, key);
}

void gov_store(struct mb_tx *tx, const char *folder, const char *a, const char *b,
               json_t *value_take)
{
    char key[MB_STATE_KEY_MAX + 1];
    make_key(key, folder, a, b);
    mb_tx_put(tx, key, value_take);
    json_decref(value_take);
}

void gov_drop(struct mb_tx *tx, const char *folder, const char *a, const char *b)
{
    char key[MB_STATE_KEY_MAX + 1];
    make_key(key, folder, a, b);
    mb_tx_delete(tx, key);
}

int64_t gov_param(struct mb_tx *tx, const char *name, int64_t fallback, int64_t min, int64_t max)
{
    char key[MB_STATE_KEY_MAX + 1];
    mb_snprintf(key, sizeof key, "org/params/gov.%s", name);
    json_t *value = mb_tx_get(tx, key);
    int64_t n = json_integer_value(value);
    if (!json_is_integer(value) || n < min || n > max)
        n = fallback;
    json_decref(value);
    return n;
}

int gov_person(const struct mb_context *ctx, const char *verb, struct mb_error *error)
{
    return ctx->as_org ? mb_refuse(error, "gov.person", "s", verb) : 0;
}

int gov_bad_field(struct mb_error *error, const char *field, const json_t *value, const char *limit)
{
    char *figure = mb_json_figure(value);
    int rc = mb_refuse(error, "gov.field", "sss", field, figure, limit);
    free(figure);
    return rc;
}

int64_t gov_bump(struct mb_tx *tx, const char *folder, const char *a, int64_t by)
{
    json_t *value = gov_load(tx, folder, a, NULL);
    int64_t n = json_integer_value(value) + by;
    json_decref(value);
    if (n > 0)
        gov_store(tx, folder, a, NULL, json_integer(n));
    else
        gov_drop(tx, folder, a, NULL);
    return n;
}

int64_t gov_work(struct mb_tx *tx, const struct mb_context *ctx, int64_t want)
{
    json_t *work = gov_load(tx, "work", NULL, NULL);
    int64_t used = (uint64_t)mb_json_get_int(work, "slot", -1) == ctx->slot
                       ? mb_json_get_int(work, "used", 0)
                       : 0;
    int64_t left = 4 * GOV_BLOCK_WORK - used;
    int64_t granted = want < left ? want : left;
    json_decref(work);
    gov_store(tx, "work", NULL, NULL,
              json_pack("{s:I, s:I}", "slot", (json_int_t)ctx->slot, "used",
                        (json_int_t)(used + granted)));
    return granted;
}

/* --- Tables --- */

#define PROPOSAL                                                                                   \
    {                                                                                              \
        .name = "proposal", .kind = MB_JSON_STRING, .min = 1, .max = GOV_ID_MAX                    \
    }

static const struct mb_json_field propose_fields[] = {
    {.name = "procedure", .kind = MB_JSON_STRING, .min = 1, .max = GOV_NAME_MAX},
    {.name = "title", .kind = MB_JSON_STRING, .min = 1, .max = 200},
    {.name = "text", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = GOV_TEXT_MAX},
    {.name = "commands",
     .kind = MB_JSON_ARRAY,
     .optional = true,
     .min = 0,
     .max = GOV_COMMANDS_MAX},
    {.name = "options", .kind = MB_JSON_ARRAY, .optional = true, .min = 0, .max = GOV_OPTIONS_MAX},
    {.name = "draft", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = 1},
    {.name = "proposal", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = GOV_ID_MAX},
    {.name = NULL},
};
static const struct mb_json_field proposal_fields[] = {PROPOSAL, {.name = NULL}};
static const struct mb_json_field vote_fields[] = {
    PROPOSAL,
    {.name = "choice", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 16},
    {.name = "approve", .kind = MB_JSON_ARRAY, .optional = true, .min = 0, .max = GOV_OPTIONS_MAX},
    {.name = "ranking", .kind = MB_JSON_ARRAY, .optional = true, .min = 1, .max = GOV_OPTIONS_MAX},
    {.name = "weights", .kind = MB_JSON_OBJECT, .optional = true, .min = 1, .max = GOV_OPTIONS_MAX},
    {.name = NULL},
};
static const struct mb_json_field delegate_fields[] = {
    {.name = "to", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = 64},
    {.name = "scope", .kind = MB_JSON_STRING, .optional = true, .min = 1, .max = GOV_NAME_MAX},
    {.name = "until", .kind = MB_JSON_INT, .optional = true, .min = 0, .max = INT64_MAX},
    {.name = NULL},
};
static const struct mb_json_field veto_fields[] = {
    PROPOSAL,
    {.name = "reason", .kind = MB_JSON_STRING, .min = 1, .max = 1000},
    {.name = NULL},
};
static const struct mb_json_field audit_fields[] = {
    PROPOSAL,
    {.name = "verdict", .kind = MB_JSON_STRING, .min = 1, .max = 8},
    {.name = "report", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 16384},
    {.name = NULL},
};
static const struct mb_json_field apply_fields[] = {
    {.name = "text", .kind = MB_JSON_STRING, .optional = true, .min = 0, .max = 4096},
    {.name = NULL},
};
static const struct mb_json_field no_fields[] = {{.name = NULL}};
static const struct mb_json_field lapse_fields[] = {
    {.name = "key", .kind = MB_JSON_STRING, .min = 1, .max = 64},
    {.name = NULL},
};

static const struct mb_verb verbs[] = {
    {.name = "gov.procedure.set",
     .access = MB_ORG,
     .body = gov_procedure_fields,
     .apply = gov_procedure_set},
    {.name = "gov.propose", .access = MB_MEMBER, .body = propose_fields, .apply = gov_propose},
    {.name = "gov.sponsor", .access = MB_MEMBER, .body = proposal_fields, .apply = gov_sponsor},
    {.name = "gov.withdraw", .access = MB_ANYONE, .body = proposal_fields, .apply = gov_withdraw},
    {.name = "gov.vote", .access = MB_ANYONE, .body = vote_fields, .apply = gov_vote},
    {.name = "gov.delegate", .access = MB_MEMBER, .body = delegate_fields, .apply = gov_delegate},
    {.name = "gov.veto", .access = MB_ANYONE, .body = veto_fields, .apply = gov_veto},
    {.name = "gov.audit", .access = MB_ANYONE, .body = audit_fields, .apply = gov_audit},
    {.name = "gov.apply", .access = MB_ANYONE, .body = apply_fields, .apply = gov_apply_verb},
    {.name = "gov.resign", .access = MB_MEMBER, .body = no_fields, .apply = gov_resign},
    {.name = "gov.step", .access = MB_ORG, .body = proposal_fields, .apply = gov_step},
    {.name = "gov.lapse", .access = MB_ORG, .body = lapse_fields, .apply = gov_lapse},
    {.name = NULL},
};

static const struct mb_message messages[] = {
    {"gov.applications", "{0} applications wait, the most that are taken ({1}): apply later"},
    {"gov.applied", "{0} has applied already: wait for the members' decision"},
    {"gov.asset_transferable",
     "{0} can be handed around: whoever decides must hold an asset that cannot (the rulebook may "
     "weigh it instead)"},
    {"gov.asset_unknown", "there is no asset {0}: create it first"},
    {"gov.audited", "this key has audited proposal {0} already"},
    {"gov.audits", "{0} of {1} good audits needed"},
    {"gov.author", "proposal {0} is somebody else's: only its author may do that"},
    {"gov.ballot", "{1} is no ballot of the kind {0}: {2} (magicbiz proposal vote --help)"},
    {"gov.closed", "the vote on proposal {0} closed at {1}"},
    {"gov.command", "{0} is not for the procedure {1} to decide: magicbiz get gov/procedure/{1}"},
    {"gov.constitution",
     "the procedure constitution stays open to all members alike: {0} cannot be "
     "set otherwise"},
    {"gov.delegate", "{0} cannot be delegated to: name another member, by fingerprint"},
    {"gov.delegations", "{0} carries {1} delegations, the most is {2}: name somebody else"},
    {"gov.elector", "this key is no elector of proposal {0}: the electors were fixed when its vote "
                    "opened"},
    {"gov.field", "{0} is {1}, and can be: {2} (magicbiz-gov(7))"},
    {"gov.internal", "{0} is the ledger's own"},
    {"gov.late", "execution came {0} seconds after the grace, {1} are allowed"},
    {"gov.member", "{0} is a member already"},
    {"gov.no_auditor", "this key is no auditor of {0} (asset {1})"},
    {"gov.no_delegation", "there is nothing delegated for {0}"},
    {"gov.no_member", "{0} holds no membership that could be given back"},
    {"gov.no_veto", "this key has no veto in {0} (asset {1})"},
    {"gov.open", "{0} proposals of this key are open, the most is {1}: wait until one has ended"},
    {"gov.options", "a ballot of the kind {0} does not go with {1} options: yesno has none, the "
                    "others 2 to 16"},
    {"gov.person", "{0} is for persons, not for the organisation"},
    {"gov.procedure_unknown", "there is no procedure {0}: magicbiz list gov/procedure/"},
    {"gov.proposal_unknown", "there is no proposal {0}: magicbiz proposal list"},
    {"gov.quorum", "{0} of {1} needed"},
    {"gov.sponsored", "this key stands behind proposal {0} already"},
    {"gov.sponsors", "{0} of {1} sponsors needed"},
    {"gov.state", "proposal {0} is in {1}: that can be done in {2}"},
    {"gov.threshold", "{0} of {1} is not enough"},
    {"gov.tie", "{0} of {1} options are tied"},
    {"gov.until", "{0} is past, or further away than {1}"},
    {"gov.vetoed", "this key has vetoed proposal {0} already"},
    {"gov.weight", "{0}, the weight of some electors, and {1} of the next are over {2} together"},
    {.code = NULL},
};

/* Electors need no work for their vote, role holders none for what the role is for. */
static bool has_role(struct mb_tx *tx, const char *identity, const char *type, const json_t *body)
{
    const json_t *id = json_object_get(body, "proposal");
    json_t *p = json_is_string(id) ? gov_proposal(tx, json_string_value(id), NULL) : NULL;
    const json_t *rule = json_object_get(p, "rule");
    bool has = false;
    if (p != NULL && strcmp(type, "gov.vote") == 0)
        has = gov_has(tx, "elector", json_string_value(id), identity);
    else if (rule != NULL && strcmp(type, "gov.veto") == 0)
        has = gov_balance(tx, mb_json_get_text(rule, "veto", ""), identity) > 0;
    else if (rule != NULL && strcmp(type, "gov.audit") == 0)
        has = gov_balance(tx, mb_json_get_text(rule, "auditors", ""), identity) > 0;
    json_decref(p);
    return has;
}

const struct mb_logic gov_logic = {
    .name = "gov",
    .version = 1,
    .verbs = verbs,
    .messages = messages,
    .genesis = gov_genesis,
    .has_role = has_role,
    .batch_done = gov_batch_done,
};
