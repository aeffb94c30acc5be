/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A rulebook's text, before Lua sees it. */
#ifndef MB_RULES_SOURCE_H
#define MB_RULES_SOURCE_H

#include "base/bytes.h"
#include "base/error.h"

/*
 * Lex source as Lua 5.4 does and refuse what the cage has not: literals of floats and of integers
 * over 64 bits, '/' and '^', goto and labels, names that begin with two underscores, bytes outside
 * texts and comments that no token begins with, binary chunks. out gets the source on the same
 * lines with each expression of a numeric `for` wrapped in a call of the local __int, which comes
 * first: Lua would make a float of a text there. MB_EREFUSED: rules.source [line, what].
 */
int mb_rules_source(struct mb_buf *out, struct mb_bytes source, struct mb_error *error);

/* Look through the dump of a compiled chunk: no constant and no instruction that makes a float.
 * False if there is one, or if this is not Lua 5.4.4's format. */
bool mb_rules_bytecode(struct mb_bytes dump);

#endif
