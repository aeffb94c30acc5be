/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gov: what the files of its deterministic half share. */
#ifndef MB_GOV_STATE_H
#define MB_GOV_STATE_H

#include "gov.h"

/* gov/FOLDER[/A[/B]]. load: a new reference or NULL; store takes the value. */
json_t *gov_load(struct mb_tx *tx, const char *folder, const char *a, const char *b);
bool gov_has(struct mb_tx *tx, const char *folder, const char *a, const char *b);
void gov_store(struct mb_tx *tx, const char *folder, const char *a, const char *b,
               json_t *value_take);
void gov_drop(struct mb_tx *tx, const char *folder, const char *a, const char *b);
/* org/params/gov.NAME where it is an integer from min to max, else fallback. */
int64_t gov_param(struct mb_tx *tx, const char *name, int64_t fallback, int64_t min, int64_t max);
/* A verb that persons use: gov.person where the organisation runs it. */
int gov_person(const struct mb_context *ctx, const char *verb, struct mb_error *error);
/* gov.field [field, figure, limit]: value (borrowed) cannot stand there; limit says what can. */
int gov_bad_field(struct mb_error *error, const char *field, const json_t *value,
                  const char *limit);
int64_t gov_bump(struct mb_tx *tx, const char *folder, const char *a, int64_t by);
/* How much of want this block may still do. */
int64_t gov_work(struct mb_tx *tx, const struct mb_context *ctx, int64_t want);

/* --- Members (gov_members_apply.c) --- */

/* True if books keeps members; else the founders are. */
bool gov_has_books(struct mb_tx *tx);
/* What a person holds of an asset. */
int64_t gov_balance(struct mb_tx *tx, const char *asset, const char *identity);
/* Visit those who hold electorate ("member" or another asset), from after on, in their order. */
typedef int gov_visit(void *arg, const char *identity, int64_t amount);
int gov_holders(struct mb_tx *tx, const char *electorate, const char *after, gov_visit *visit,
                void *arg);
/* How many members there are, counted up to most. */
int64_t gov_members(struct mb_tx *tx, int64_t most);
/* Applications of those that these commands made members are done with. */
void gov_admitted(struct mb_tx *tx, const json_t *commands);

int gov_apply_verb(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                   json_t **result, struct mb_error *error);
int gov_resign(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
               struct mb_error *error);
int gov_lapse(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
              struct mb_error *error);

/* --- Procedures (gov_procedures_apply.c) --- */

extern const struct mb_json_field gov_procedure_fields[];
int gov_procedure_set(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                      json_t **result, struct mb_error *error);
int gov_genesis(struct mb_tx *tx, const struct mb_context *ctx, const json_t *genesis,
                struct mb_error *error);
bool gov_name_valid(const char *name);
/* gov/procedure/NAME as a new reference, or NULL with gov.procedure_unknown. */
json_t *gov_procedure(struct mb_tx *tx, const char *name, struct mb_error *error);
/* Whether a proposal by this procedure may hold such commands ([{"body","type"}…]). */
int gov_check_commands(struct mb_tx *tx, const json_t *procedure, const char *name,
                       const json_t *commands, struct mb_error *error);
/* How many sponsors a proposal needs now. */
int64_t gov_sponsors_needed(struct mb_tx *tx, const json_t *procedure);
bool gov_is_multi(const json_t *procedure); /* has options */
/* a/b compared with part [num, den]: a*den - b*num, as its sign. */
int gov_compare(int64_t a, int64_t b, const json_t *part);

/* --- Proposals (gov_proposals_apply.c) --- */

int gov_propose(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error);
int gov_sponsor(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
                struct mb_error *error);
int gov_withdraw(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                 json_t **result, struct mb_error *error);
/* gov/proposal/ID as a new reference, or NULL with gov.proposal_unknown. */
json_t *gov_proposal(struct mb_tx *tx, const char *id, struct mb_error *error);
/* In one of these states (words between spaces), or gov.state [id, state]. */
int gov_expect_state(const char *id, const json_t *p, const char *states, struct mb_error *error);
/* p goes to state; deadline >= 0: and gov.step comes then. Stores p. */
void gov_enter(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p,
               const char *state, int64_t deadline);
/* p ends in state; why may be NULL. Stores p, and sets about removing electors and ballots. */
void gov_finish(struct mb_tx *tx, const struct mb_context *ctx, const char *id, json_t *p,
                const char *state, const struct mb_error *why);
void gov_wake(struct mb_tx *tx, int64_t time, const char *id);

/* --- Life after support (gov_life_apply.c) --- */

int gov_step(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
             struct mb_error *error);
int gov_veto(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
             struct mb_error *error);
int gov_audit(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
              struct mb_error *error);
void gov_batch_done(struct mb_tx *tx, const struct mb_context *ctx, const char *id, bool ok,
                    size_t failing, const struct mb_error *error);

/* --- Ballots (gov_ballots_apply.c) --- */

int gov_vote(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body, json_t **result,
             struct mb_error *error);
json_t *gov_tally_new(const json_t *rule, size_t options);

/* --- Delegation (gov_delegation_apply.c) --- */

int gov_delegate(struct mb_tx *tx, const struct mb_context *ctx, const json_t *body,
                 json_t **result, struct mb_error *error);
/* To whom an elector's vote goes in a procedure at this time: true and to filled. */
bool gov_delegated(struct mb_tx *tx, const struct mb_context *ctx, const char *identity,
                   const char *procedure, char to[MB_FINGERPRINT_SIZE]);

#endif
