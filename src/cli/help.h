/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Help, completion and the manual's part, all from the commands' rows; and what is printed. */
#ifndef MB_CLI_HELP_H
#define MB_CLI_HELP_H

#include <stdio.h>

#include "cli/cli.h"

void help_overview(FILE *to);
/* The commands of a noun; false: there is none, which standard error was told. */
bool help_noun(const char *noun, FILE *to);
void help_command(const struct cli_command *command, FILE *to);
void help_end_page(void);

#endif
