/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands about decisions share (cmd_proposal.c, cmd_proposal_show.c, cmd_inbox.c,
 * cmd_member.c, cmd_rules.c). */
#ifndef MB_CLI_GOV_H
#define MB_CLI_GOV_H

#include "cli/cli.h"

/* Proposals as a replica says they are now, [{"id",…its fields}…] by number; open ones alone unless
 * all. Owned by the caller, whatever is returned. */
int gov_proposals(struct cli_org *o, bool all, json_t **list, struct mb_error *error);
/* What the deadline of a state is: "closes", ... */
const char *gov_deadline_of(const char *state);
/* The value of one key as a replica says (new reference), or NULL. */
json_t *gov_now(struct cli_org *o, const char *key);
/* A number of a fraction in a procedure's rule: name is "quorum" or "threshold", i 0 or 1. */
int64_t gov_part(const json_t *rule, const char *name, size_t i);
/* Print bars of what each option got and of the quorum: each on a line that fits the terminal, or
 * short ones in one line, which is not ended. */
void gov_print_bars(const json_t *proposal, const json_t *tally, bool in_line);
/* Options of what proposes, and proposing as they say: more_take holds the "commands" or "options".
 * A whole command of this program, as cli_act(). */
#define GOV_PROPOSE_OPTIONS                                                                        \
    {"text", "TEXT", "why"}, {"text-file", "FILE", "the same, from a file"},                       \
        {"draft", NULL, "keep it a draft"},                                                        \
    {                                                                                              \
        "proposal", "ID", "put it in place of this draft"                                          \
    }
int cli_propose(struct cli *c, const char *procedure, const char *title, json_t *more_take,
                struct mb_error *error);

#endif
