/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a tally comes to: quorum, threshold, ties, Schulze. */
#include "gov_state.h"

#include <string.h>

__extension__ typedef __int128 wide;

int gov_compare(int64_t a, int64_t b, const json_t *part)
{
    wide left = (wide)a * json_integer_value(json_array_get(part, 1));
    wide right = (wide)b * json_integer_value(json_array_get(part, 0));
    return left < right ? -1 : left > right;
}

/* The least weight that reaches part of total: for people. Both factors are bounded. */
static int64_t needed(int64_t total, const json_t *part)
{
    int64_t num = json_integer_value(json_array_get(part, 0));
    int64_t den = json_integer_value(json_array_get(part, 1));
    int64_t each = total / den, rest = total % den;
    return each * num + (rest * num + den - 1) / den;
}

static int64_t count_of(const json_t *tally, size_t i)
{
    return json_integer_value(json_array_get(json_object_get(tally, "counts"), i));
}

static void fail(struct gov_outcome *out, enum gov_end end, const char *code, int64_t a, int64_t b)
{
    out->end = end;
    out->winner = -1;
    (void)mb_refuse(&out->error, code, "dd", a, b);
}

/* a of b, against the procedure's threshold. */
static bool over_threshold(const json_t *rule, int64_t a, int64_t b)
{
    int order = gov_compare(a, b, json_object_get(rule, "threshold"));
    return order > 0 || (order == 0 && !mb_json_get_flag(rule, "over", false));
}

static void count_yesno(const json_t *rule, int64_t eligible, const json_t *tally,
                        struct gov_outcome *out)
{
    const json_t *quorum = json_object_get(rule, "quorum");
    int64_t yes = count_of(tally, 0), no = count_of(tally, 1);
    if (yes == 0 || gov_compare(yes, eligible, quorum) < 0)
        fail(out, GOV_DEFEATED, "gov.quorum", yes,
             yes == 0 && needed(eligible, quorum) == 0 ? 1 : needed(eligible, quorum));
    else if (!over_threshold(rule, yes, yes + no))
        fail(out, yes == no ? GOV_TIED : GOV_DEFEATED, "gov.threshold", yes, yes + no);
}

size_t gov_schulze(const int64_t *pairs, size_t n, bool *winners)
{
    int64_t path[GOV_OPTIONS_MAX][GOV_OPTIONS_MAX] = {{0}};
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            path[i][j] = i != j && pairs[i * n + j] > pairs[j * n + i] ? pairs[i * n + j] : 0;
    for (size_t via = 0; via < n; via++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++) {
                int64_t weaker = path[i][via] < path[via][j] ? path[i][via] : path[via][j];
                if (i != j && weaker > path[i][j])
                    path[i][j] = weaker;
            }
    for (size_t i = 0; i < n; i++) {
        winners[i] = true;
        for (size_t j = 0; j < n; j++)
            winners[i] &= path[i][j] >= path[j][i];
        count += winners[i];
    }
    return count;
}

/* Those with the greatest count. */
static size_t greatest(const json_t *tally, size_t n, bool *winners)
{
    int64_t most = 0;
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        most = count_of(tally, i) > most ? count_of(tally, i) : most;
    for (size_t i = 0; i < n; i++)
        found += winners[i] = count_of(tally, i) == most;
    return found;
}

static size_t find_winners(const char *ballot, size_t n, const json_t *tally, bool *winners)
{
    int64_t pairs[GOV_OPTIONS_MAX * GOV_OPTIONS_MAX];
    const json_t *list = json_object_get(tally, "pairs");
    if (strcmp(ballot, "ranked") != 0)
        return greatest(tally, n, winners);
    for (size_t i = 0; i < n * n; i++)
        pairs[i] = json_integer_value(json_array_get(list, i));
    return gov_schulze(pairs, n, winners);
}

static void count_multi(const json_t *rule, size_t n, int64_t eligible, const json_t *tally,
                        struct gov_outcome *out)
{
    const char *ballot = mb_json_get_text(rule, "ballot", "");
    const json_t *quorum = json_object_get(rule, "quorum");
    int64_t voted = mb_json_get_int(tally, "voted", 0);
    bool winners[GOV_OPTIONS_MAX];
    if (voted == 0 || gov_compare(voted, eligible, quorum) < 0) {
        fail(out, GOV_DEFEATED, "gov.quorum", voted, needed(eligible, quorum));
        return;
    }
    size_t tied = find_winners(ballot, n, tally, winners);
    if (tied > 1 && strcmp(mb_json_get_text(rule, "tie", ""), "first") != 0) {
        fail(out, GOV_TIED, "gov.tie", (int64_t)tied, (int64_t)n);
        return;
    }
    while (!winners[out->winner = out->winner < 0 ? 0 : out->winner + 1])
        continue;
    int64_t most = count_of(tally, (size_t)out->winner);
    int64_t of = strcmp(ballot, "weighted") == 0 ? voted * GOV_POINTS : voted;
    if (strcmp(ballot, "ranked") != 0 && !over_threshold(rule, most, of))
        fail(out, GOV_DEFEATED, "gov.threshold", most, of);
}

void gov_count(const json_t *rule, size_t options, int64_t eligible, const json_t *tally,
               struct gov_outcome *out)
{
    memset(out, 0, sizeof *out);
    out->winner = -1;
    if (options == 0)
        count_yesno(rule, eligible, tally, out);
    else
        count_multi(rule, options, eligible, tally, out);
}
