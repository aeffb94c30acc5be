/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Lua's patterns, each step of a match counted: string.find, match, gmatch, gsub. */
#ifndef MB_RULES_PATTERN_H
#define MB_RULES_PATTERN_H

#include "rules/internal.h"

int mb_cage_find(lua_State *L);
int mb_cage_match(lua_State *L);
int mb_cage_gmatch(lua_State *L);
int mb_cage_gsub(lua_State *L);

/* The text argument (integers become one), counted. */
const char *mb_cage_text(lua_State *L, int arg, size_t *len);

#endif
