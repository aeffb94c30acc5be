/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An organisation that decides, for tests of gov: many members, and a line for each thing done. */
#ifndef TESTS_SUPPORT_GOV_H
#define TESTS_SUPPORT_GOV_H

#include "../../modules/gov/gov.h"
#include "org.h"

#define GOV_PEOPLE 60

struct gov_test {
    struct org o;
    struct mb_memory *memory;
    struct mb_backend backend;
    struct mb_secret_key who[GOV_PEOPLE]; /* those before `members` are members */
    char *name[GOV_PEOPLE];               /* their fingerprints */
    int64_t now;
};
/* Periods of hundreds of seconds: review 100, voting 1000, grace 100, support 1000. */
struct gov_test *gov_start(int members, const char *more_params);
void gov_stop(struct gov_test *t);

/* person sends a command; code "" is success. A refusal changes nothing below gov/. */
void gov_do(struct gov_test *t, int person, const char *code, const char *type, const char *body,
            ...) __attribute__((format(printf, 5, 6)));
/* The same as several commands of one block. */
void gov_block(struct gov_test *t, struct mb_checked **commands, size_t count);
/* Time passes, and what is due is done. */
void gov_pass(struct gov_test *t, int64_t seconds);
/* A field of a key's value by a path ("state", "reason.code", "counts.0") is this text, or this
 * integer's digits; NULL: there is none. */
void gov_is(struct gov_test *t, const char *key, const char *path, const char *value);
/* Shorthand: the state of a proposal. */
void gov_state_is(struct gov_test *t, const char *id, const char *state);
/* person proposes by a procedure with these commands; sponsors from person + 1 on until it is in
 * review; the first proposal is 1. */
void gov_make(struct gov_test *t, int person, const char *id, const char *procedure,
              const char *commands);
/* persons from first to last vote so. */
void gov_votes(struct gov_test *t, int first, int last, const char *id, const char *choice);

#endif
