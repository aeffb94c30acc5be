/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gov: procedures, proposals, votes. See magicbiz-gov(7). */
#ifndef MB_GOV_H
#define MB_GOV_H

#include <magicbiz/tx.h>

#define GOV_NAME_MAX     32
#define GOV_ID_MAX       12
#define GOV_OPTIONS_MAX  16
#define GOV_COMMANDS_MAX 10                 /* of a proposal, or of one of its options */
#define GOV_TEXT_MAX     65536              /* bytes of a proposal's text */
#define GOV_PERIOD_MAX   31622400           /* 366 days */
#define GOV_DEN_MAX      1000               /* of quorum and threshold */
#define GOV_WEIGHT_MAX   (INT64_C(1) << 53) /* all weights of a vote together */
#define GOV_BLOCK_WORK   1000               /* electors frozen, or records removed, in one block */
#define GOV_WEIGH_WORK   10000000           /* mb_tx_work() at which a block weighs no further */
#define GOV_FORGET_WORK  50                 /* of it, for a proposal that is forgotten */
#define GOV_DELEGATIONS  100                /* to one member for all procedures (scope *) */
#define GOV_KEEP_MIN     86400              /* seconds that one is kept when it has ended */
#define GOV_KEEP         7776000            /* 90 days */
#define GOV_KEEP_MAX     316224000          /* 10 years */
#define GOV_POINTS       100                /* what a weighted ballot shares out, at most */
#define GOV_CONSTITUTION "constitution"

extern const struct mb_logic gov_logic;

/* What a vote comes to, if it were closed now. */
enum gov_end { GOV_PASSED, GOV_DEFEATED, GOV_TIED };
struct gov_outcome {
    enum gov_end end;
    int64_t winner;        /* an option, or -1: yesno, defeated, tied */
    struct mb_error error; /* why it did not pass: code and args */
};
/*
 * rule: a procedure; options: how many (0: yesno); eligible: the weight of all electors; tally:
 * {"ballots","counts":[…],"pairs":[…],"voted"}. Exact: compares cross products of 128 bits.
 */
void gov_count(const json_t *rule, size_t options, int64_t eligible, const json_t *tally,
               struct gov_outcome *out);
/*
 * The Schulze method (M. Schulze, "A new monotonic, clone-independent … method", 2011), paths
 * measured by winning votes. pairs[i * n + j] is the weight that prefers i to j. Sets winners[i]
 * for each of the potential winners, and returns how many there are, 1 at least. n at most
 * GOV_OPTIONS_MAX.
 */
size_t gov_schulze(const int64_t *pairs, size_t n, bool *winners);

#endif
