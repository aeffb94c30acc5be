/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands about decisions share (cmd_proposal.c, cmd_proposal_show.c, cmd_inbox.c,
 * cmd_member.c). */
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

#endif
