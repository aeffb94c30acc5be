/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who votes for whom. Of depth 1: a delegate hands on their own vote, never the votes they carry;
 * so a ring of delegations is no more than each voting for the next. */
#include <stdlib.h>
#include <string.h>

#include "gov_state.h"

/* gov/delegator/TO/SCOPE/WHO: who delegates to somebody, for the cap. */
static char *delegator(const char *scope, const char *who)
{
    return mb_asprintf("%s/%s", scope, who);
}

static void revoke(struct mb_tx *tx, const char *who, const char *scope)
{
    json_t *old = gov_load(tx, "delegation", who, scope);
    if (old == NULL)
        return;
    char *rest = delegator(scope, who);
    gov_drop(tx, "delegator", mb_json_get_text(old, "to", ""), rest);
    gov_drop(tx, "delegation", who, scope);
    json_decref(old);
    free(rest);
}

struct expiring {
    struct mb_tx *tx;
    const char *scope;
    size_t skip; /* of the prefix */
    int64_t time, count, most;
};

/* Count one delegator, or forget one that has expired. */
static int on_delegator(void *arg, const char *key, const json_t *value)
{
    struct expiring *e = arg;
    if (json_integer_value(value) <= e->time)
        revoke(e->tx, key + e->skip, e->scope);
    else
        e->count++;
    return e->count > e->most;
}

static int64_t count_delegators(struct mb_tx *tx, const char *to, const char *scope, int64_t time,
                                int64_t most)
{
    char *prefix = mb_asprintf("gov/delegator/%s/%s/", to, scope);
    struct expiring e = {tx, scope, strlen(prefix), time, 0, most};
    (void)mb_tx_scan(tx, prefix, "", on_delegator, &e);
    free(prefix);
    return e.count;
}

static int check(struct mb_tx *tx, const struct mb_context *ctx, const char *to, const char *scope,
                 int64_t until, struct mb_error *error)
{
    int64_t most = GOV_DELEGATIONS;
    if (!mb_is_fingerprint(to) || !mb_tx_is_member(tx, to) || strcmp(to, ctx->signer) == 0)
        return mb_refuse(error, "gov.delegate", "s", to);
    if (until <= ctx->time || until > ctx->time + GOV_PERIOD_MAX)
        return mb_refuse(error, "gov.until", "dd", until, ctx->time + GOV_PERIOD_MAX);
    if (strcmp(scope, "*") != 0) {
        json_t *procedure = gov_procedure(tx, scope, error);
        if (procedure == NULL)
            return MB_EREFUSED;
        most = mb_json_get_int(procedure, "delegations", 0);
        json_decref(procedure);
    }
    int64_t have = count_delegators(tx, to, scope, ctx->time, most);
    return have >= most ? mb_refuse(error, "gov.delegations", "sdd", to, have, most) : 0;
}

int gov_delegate(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                 json_t **result, struct mb_error *error)
{
    const char *to = mb_json_get_text(body, "to", NULL);
    const char *scope = mb_json_get_text(body, "scope", "*");
    int64_t until = mb_json_get_int(body, "until", 0);
    int rc = gov_person(ctx, "gov.delegate", error);
    (void)result;
    if (rc != 0)
        return rc;
    if (to == NULL && !gov_has(tx, "delegation", ctx->signer, scope))
        return mb_refuse(error, "gov.no_delegation", "s", scope);
    revoke(tx, ctx->signer, scope);
    if (to == NULL)
        return 0;
    rc = check(tx, ctx, to, scope, until, error);
    if (rc != 0)
        return rc;
    char *rest = delegator(scope, ctx->signer);
    gov_store(tx, "delegation", ctx->signer, scope,
              json_pack("{s:s, s:I}", "to", to, "until", (json_int_t)until));
    gov_store(tx, "delegator", to, rest, json_integer(until));
    free(rest);
    return 0;
}

static bool delegated_in(struct mb_tx *tx, const struct mb_context *ctx, const char *identity,
                         const char *scope, char to[MB_FINGERPRINT_SIZE])
{
    json_t *d = gov_load(tx, "delegation", identity, scope);
    bool holds = mb_json_get_int(d, "until", 0) > ctx->time;
    if (holds)
        mb_snprintf(to, MB_FINGERPRINT_SIZE, "%s", mb_json_get_text(d, "to", ""));
    json_decref(d);
    return holds;
}

bool gov_delegated(struct mb_tx *tx, const struct mb_context *ctx, const char *identity,
                   const char *procedure, char to[MB_FINGERPRINT_SIZE])
{
    return delegated_in(tx, ctx, identity, procedure, to) ||
           delegated_in(tx, ctx, identity, "*", to);
}
