/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the cage share. Functions that take a lua_State may leave by longjmp: whatever
 * they own at that time hangs on the cage. */
#ifndef MB_RULES_INTERNAL_H
#define MB_RULES_INTERNAL_H

#include <lauxlib.h>
#include <lua.h>

#include "rules/arena.h"
#include "rules/cage.h"

/* What is counted while Lua runs; a call begins with what the top level left. */
struct mb_cage_count {
    int64_t spent;  /* instructions */
    size_t longest; /* bytes of the longest text */
    size_t texts;   /* made so far */
    size_t nodes;   /* of the largest hash part */
    size_t stack;   /* slots */
    void *stack_at; /* its block */
    void *newest;   /* the block that was asked for last */
    size_t newest_bytes;
};

struct mb_cage {
    struct mb_arena arena;
    lua_State *L;
    /* As it was when the source had been run: the arena's used part, and its fixed part. */
    uint8_t *image, *image_fixed;
    size_t image_bytes, image_last;
    bool fixing; /* a compiled source is being loaded */
    struct mb_cage_count image_count;

    struct mb_cage_count count;
    size_t blocks;    /* allocations so far, up to the second, when the seed is set */
    const char *over; /* the budget that ran out, or NULL */
    int64_t over_limit;
    const char *stage; /* the code of a failure that is no budget's */

    /* Of the call at hand. */
    const struct mb_cage_view *view;
    const char *function;
    bool found; /* whether there is such a function */
    const json_t *args;
    struct mb_bytes source; /* while it is made, as is what it was compiled to */
    struct mb_buf compiled;
    json_t *held, *results; /* arrays */
};

struct mb_cage *mb_cage_of(lua_State *L);

/* Count instructions; out of them, an error that nothing in Lua can catch. */
void mb_cage_charge(lua_State *L, int64_t instructions);

/* Set functions in the table on top of the stack. Each is a closure, for Lua hashes plain functions
 * of C by their address in the program. */
void mb_cage_set_functions(lua_State *L, const luaL_Reg *functions);

void mb_cage_open_base(lua_State *L);   /* the globals */
void mb_cage_open_table(lua_State *L);  /* table */
void mb_cage_open_string(lua_State *L); /* string */
void mb_cage_open_mb(lua_State *L);     /* mb */
int mb_cage_int(lua_State *L);          /* __int */

/* An argument that must be an integer: no text counts as one. */
lua_Integer mb_cage_arg_int(lua_State *L, int arg);
lua_Integer mb_cage_opt_int(lua_State *L, int arg, lua_Integer fallback);

/* Push the text of a value as tostring does: integers, texts, booleans, nil. An error for others,
 * which have only their address to tell. */
void mb_cage_push_text(lua_State *L, int arg);

/* Push a JSON value; an error for reals and null. */
void mb_cage_push_json(lua_State *L, const json_t *value);
/* What converting costs: its values, and a sixteenth of its bytes. */
int64_t mb_json_cost(const json_t *value);
/* Append the value at index (absolute) to array. An error, code rules.value, for what is no JSON.
 */
void mb_cage_append_json(lua_State *L, json_t *array, int index);

#endif
