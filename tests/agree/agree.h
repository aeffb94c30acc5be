/* SPDX-License-Identifier: GPL-3.0-or-later */
/* An organisation and random commands to it, all of which follow from a seed. */
#ifndef TESTS_AGREE_AGREE_H
#define TESTS_AGREE_AGREE_H

#include "../support/org.h"

#define PEOPLE  24 /* the first ORG_FOUNDERS are the founders */
#define EARLIER 16

struct agree {
    struct org o;
    uint64_t random;
    struct mb_secret_key people[PEOPLE];
    char *names[PEOPLE];    /* fingerprints */
    int64_t time;           /* of the newest block */
    char *const *rulebooks; /* sources (borrowed); the first is genesis's */
    size_t rulebook_count;

    /* What the command being made is to be. */
    const struct mb_secret_key *signer;
    size_t who;  /* signer's place among people */
    bool decree; /* waits for another founder */

    char waits[MB_HASH_HEX_SIZE]; /* id of the newest decree, or "" */
    bool approve;                 /* it is approved next */
    struct {
        struct mb_buf text;
        size_t who;
    } earlier[EARLIER];
    uint64_t sent, retire; /* commands so far; after so many the founders retire */
};

/* The next number, and one below n. Only one is drawn in an expression: C leaves open which of two
 * would come first, and compilers differ. */
uint64_t agree_draw(struct agree *a);
size_t agree_below(struct agree *a, size_t n);

/* What the commands to come rest on: assets, accounts, procedures, members. */
void agree_prepare(struct agree *a);
/* The next random command, for a block of this time. *type (borrowed) is its type, or "" where that
 * is left open. */
struct mb_checked *agree_command(struct agree *a, int64_t time, const char **type);

#endif
