/* SPDX-License-Identifier: GPL-3.0-or-later */
/* table.concat, insert, remove, sort, unpack: Lua's own loop in C without being counted, and its
 * sort picks pivots by the clock. */
#include "config.h"

#include "rules/internal.h"

#define UNPACK_MAX 200

static lua_Integer length_of(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    return (lua_Integer)lua_rawlen(L, 1);
}

static int table_concat(lua_State *L)
{
    lua_Integer n = length_of(L);
    size_t len;
    const char *between = luaL_optlstring(L, 2, "", &len);
    luaL_Buffer b;
    lua_settop(L, 2);
    luaL_buffinit(L, &b);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 1, i);
        int type = lua_type(L, -1);
        if (type != LUA_TSTRING && !lua_isinteger(L, -1))
            return luaL_error(L, "table.concat: element %I is a %s", (LUAI_UACINT)i,
                              lua_typename(L, type));
        mb_cage_charge(L, 2 + (int64_t)(lua_rawlen(L, -1) + len) / 16);
        luaL_addvalue(&b);
        if (i < n)
            luaL_addlstring(&b, between, len);
    }
    luaL_pushresult(&b);
    return 1;
}

static int table_insert(lua_State *L)
{
    lua_Integer n = length_of(L), at = n + 1;
    int args = lua_gettop(L);
    if (args == 3)
        at = mb_cage_arg_int(L, 2);
    else if (args != 2)
        return luaL_error(L, "table.insert: 2 or 3 arguments");
    luaL_argcheck(L, at >= 1 && at <= n + 1, 2, "position out of bounds");
    mb_cage_charge(L, 2 + n - at + 1);
    for (lua_Integer i = n; i >= at; i--) {
        lua_rawgeti(L, 1, i);
        lua_rawseti(L, 1, i + 1);
    }
    lua_pushvalue(L, args);
    lua_rawseti(L, 1, at);
    return 0;
}

static int table_remove(lua_State *L)
{
    lua_Integer n = length_of(L), at = mb_cage_opt_int(L, 2, n);
    if (n == 0)
        return 0;
    luaL_argcheck(L, at >= 1 && at <= n, 2, "position out of bounds");
    mb_cage_charge(L, 2 + n - at);
    lua_rawgeti(L, 1, at);
    for (lua_Integer i = at; i < n; i++) {
        lua_rawgeti(L, 1, i + 1);
        lua_rawseti(L, 1, i);
    }
    lua_pushnil(L);
    lua_rawseti(L, 1, n);
    return 1;
}

static int table_unpack(lua_State *L)
{
    lua_Integer n = length_of(L);
    lua_Integer from = mb_cage_opt_int(L, 2, 1), to = mb_cage_opt_int(L, 3, n);
    if (from > to)
        return 0;
    luaL_argcheck(L, from >= 1 && to <= n + UNPACK_MAX && to - from < UNPACK_MAX, 3,
                  "over 200 values");
    mb_cage_charge(L, to - from + 1);
    luaL_checkstack(L, UNPACK_MAX, "unpack");
    for (lua_Integer i = from; i <= to; i++)
        lua_rawgeti(L, 1, i);
    return (int)(to - from + 1);
}

/* --- sort: a merge sort, stable, and the same with whatever comparison. --- */

/* Whether element j of the table at 4 goes before element i. */
static bool goes_first(lua_State *L, lua_Integer j, lua_Integer i)
{
    bool first;
    mb_cage_charge(L, 4);
    if (lua_isnil(L, 2)) {
        lua_rawgeti(L, 4, j);
        lua_rawgeti(L, 4, i);
        first = lua_compare(L, -2, -1, LUA_OPLT);
        lua_pop(L, 2);
        return first;
    }
    lua_pushvalue(L, 2);
    lua_rawgeti(L, 4, j);
    lua_rawgeti(L, 4, i);
    lua_call(L, 2, 1);
    first = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return first;
}

/* Merge the runs [a,b) and [b,c) of the table at 4 into the one at 3. */
static void merge(lua_State *L, lua_Integer a, lua_Integer b, lua_Integer c)
{
    lua_Integer i = a, j = b;
    for (lua_Integer to = a; to < c; to++) {
        bool second = i == b || (j < c && goes_first(L, j, i));
        lua_rawgeti(L, 4, second ? j++ : i++);
        lua_rawseti(L, 3, to);
    }
}

static lua_Integer smaller(lua_Integer a, lua_Integer b)
{
    return a < b ? a : b;
}

static void copy(lua_State *L, int from, int to, lua_Integer n)
{
    mb_cage_charge(L, n);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, from, i);
        lua_rawseti(L, to, i);
    }
}

static int table_sort(lua_State *L)
{
    lua_Integer n = length_of(L);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TFUNCTION);
    if (n > MB_RULES_INSTRUCTIONS)
        mb_cage_charge(L, n);
    lua_settop(L, 2);
    lua_createtable(L, (int)n, 0); /* 3: merged into */
    lua_createtable(L, (int)n, 0); /* 4: merged from */
    copy(L, 1, 4, n);
    for (lua_Integer run = 1; run < n; run *= 2) {
        for (lua_Integer a = 1; a <= n; a += 2 * run)
            merge(L, a, smaller(a + run, n + 1), smaller(a + 2 * run, n + 1));
        mb_cage_charge(L, n);
        lua_pushvalue(L, 3);
        lua_copy(L, 4, 3);
        lua_replace(L, 4);
    }
    copy(L, 4, 1, n);
    return 0;
}

void mb_cage_open_table(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"concat", table_concat}, {"insert", table_insert}, {"remove", table_remove},
        {"sort", table_sort},     {"unpack", table_unpack}, {NULL, NULL},
    };
    lua_newtable(L);
    mb_cage_set_functions(L, functions);
    lua_setglobal(L, "table");
}
