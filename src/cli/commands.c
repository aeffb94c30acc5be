/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The commands, in the order that help and manual show them. */
#include "cli/cli.h"

extern const struct cli_command cmd_id_new, cmd_id_list, cmd_id_show, cmd_id_export;
extern const struct cli_command cmd_org_join, cmd_org_list, cmd_org_show, cmd_org_leave;
extern const struct cli_command cmd_books_assets, cmd_books_accounts, cmd_books_balance;
extern const struct cli_command cmd_books_post, cmd_books_pay, cmd_books_export;
extern const struct cli_command cmd_status, cmd_send, cmd_get, cmd_list, cmd_log, cmd_audit;
extern const struct cli_command cmd_repo_create, cmd_repo_set, cmd_repo_list, cmd_repo_show;
extern const struct cli_command cmd_replica_list, cmd_replica_remove;
extern const struct cli_command cmd_replica_invite, cmd_replica_request, cmd_replica_add;
extern const struct cli_command cmd_repo_clone, cmd_repo_setup, cmd_repo_scrub;
extern const struct cli_command cmd_rules_show, cmd_rules_check, cmd_rules_adopt, cmd_rules_propose;
extern const struct cli_command cmd_proposal_create, cmd_proposal_list, cmd_proposal_show;
extern const struct cli_command cmd_proposal_sponsor, cmd_proposal_withdraw, cmd_proposal_vote;
extern const struct cli_command cmd_proposal_veto, cmd_proposal_audit, cmd_delegate;
extern const struct cli_command cmd_inbox, cmd_calendar;
extern const struct cli_command cmd_member_apply, cmd_member_list, cmd_member_admit;
extern const struct cli_command cmd_member_resign;
extern const struct cli_command cmd_access_extract, cmd_access_check;
extern const struct cli_command cmd_access_queue, cmd_access_submit;
extern const struct cli_command cmd_completion, cmd_manual;

const struct cli_command *const cli_commands[] = {
    &cmd_id_new,
    &cmd_id_list,
    &cmd_id_show,
    &cmd_id_export,
    &cmd_org_join,
    &cmd_org_list,
    &cmd_org_show,
    &cmd_org_leave,
    &cmd_replica_list,
    &cmd_replica_invite,
    &cmd_replica_request,
    &cmd_replica_add,
    &cmd_replica_remove,
    &cmd_status,
    &cmd_get,
    &cmd_list,
    &cmd_send,
    &cmd_log,
    &cmd_audit,
    &cmd_repo_create,
    &cmd_repo_list,
    &cmd_repo_show,
    &cmd_repo_set,
    &cmd_repo_clone,
    &cmd_repo_setup,
    &cmd_repo_scrub,
    &cmd_rules_show,
    &cmd_rules_check,
    &cmd_rules_adopt,
    &cmd_rules_propose,
    &cmd_proposal_create,
    &cmd_proposal_list,
    &cmd_proposal_show,
    &cmd_proposal_sponsor,
    &cmd_proposal_withdraw,
    &cmd_proposal_vote,
    &cmd_proposal_veto,
    &cmd_proposal_audit,
    &cmd_delegate,
    &cmd_inbox,
    &cmd_calendar,
    &cmd_member_apply,
    &cmd_member_list,
    &cmd_member_admit,
    &cmd_member_resign,
    &cmd_books_assets,
    &cmd_books_accounts,
    &cmd_books_balance,
    &cmd_books_pay,
    &cmd_books_post,
    &cmd_books_export,
    &cmd_access_extract,
    &cmd_access_check,
    &cmd_access_queue,
    &cmd_access_submit,
    &cmd_completion,
    &cmd_manual,
    NULL,
};
