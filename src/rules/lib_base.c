/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The global functions. Not there: everything else of Lua's. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "rules/internal.h"

lua_Integer mb_cage_arg_int(lua_State *L, int arg)
{
    luaL_argcheck(L, lua_isinteger(L, arg), arg, "an integer is needed");
    return lua_tointeger(L, arg);
}

lua_Integer mb_cage_opt_int(lua_State *L, int arg, lua_Integer fallback)
{
    return lua_isnoneornil(L, arg) ? fallback : mb_cage_arg_int(L, arg);
}

void mb_cage_push_text(lua_State *L, int arg)
{
    switch (lua_type(L, arg)) {
    case LUA_TNIL:
        lua_pushliteral(L, "nil");
        break;
    case LUA_TBOOLEAN:
        lua_pushstring(L, lua_toboolean(L, arg) ? "true" : "false");
        break;
    case LUA_TSTRING:
        lua_pushvalue(L, arg);
        break;
    case LUA_TNUMBER:
        if (lua_isinteger(L, arg)) {
            lua_pushfstring(L, "%I", (LUAI_UACINT)lua_tointeger(L, arg));
            break;
        }
        /* fall through */
    default:
        luaL_error(L, "a %s has no text", luaL_typename(L, arg));
    }
}

static int base_assert(lua_State *L)
{
    luaL_checkany(L, 1);
    if (lua_toboolean(L, 1))
        return lua_gettop(L);
    if (lua_type(L, 2) == LUA_TSTRING) {
        lua_settop(L, 2);
        return lua_error(L);
    }
    return luaL_error(L, "assertion failed");
}

static int base_error(lua_State *L)
{
    luaL_checkany(L, 1);
    luaL_where(L, 1);
    mb_cage_push_text(L, 1);
    lua_concat(L, 2);
    return lua_error(L);
}

static int base_type(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushstring(L, luaL_typename(L, 1));
    return 1;
}

static int base_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    mb_cage_push_text(L, 1);
    return 1;
}

/* Digits with an optional sign and spaces around, in 64 bits. */
static bool parse_int(const char *text, size_t len, lua_Integer *out)
{
    const char *end = text + len;
    uint64_t n = 0;
    while (text < end && (*text == ' ' || *text == '\t' || *text == '\n'))
        text++;
    while (text < end && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\n'))
        end--;
    bool minus = text < end && *text == '-';
    text += minus;
    if (text == end)
        return false;
    uint64_t most = (uint64_t)INT64_MAX + minus;
    for (; text < end; text++) {
        if (*text < '0' || *text > '9')
            return false;
        uint64_t digit = (uint64_t)(*text - '0');
        if (n > (most - digit) / 10)
            return false;
        n = n * 10 + digit;
    }
    *out = minus ? (lua_Integer)(0 - n) : (lua_Integer)n;
    return true;
}

static int base_tonumber(lua_State *L)
{
    lua_Integer n;
    size_t len;
    luaL_checkany(L, 1);
    if (lua_isinteger(L, 1)) {
        lua_settop(L, 1);
        return 1;
    }
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;
    if (text != NULL && len <= 100 && parse_int(text, len, &n))
        lua_pushinteger(L, n);
    else
        lua_pushnil(L);
    return 1;
}

int mb_cage_int(lua_State *L)
{
    if (!lua_isinteger(L, 1))
        return luaL_error(L, "'for' bounds are integers");
    lua_settop(L, 1);
    return 1;
}

static int base_select(lua_State *L)
{
    int n = lua_gettop(L);
    mb_cage_charge(L, n);
    if (lua_type(L, 1) == LUA_TSTRING && strcmp(lua_tostring(L, 1), "#") == 0) {
        lua_pushinteger(L, n - 1);
        return 1;
    }
    lua_Integer i = mb_cage_arg_int(L, 1);
    luaL_argcheck(L, i >= 1, 1, "index out of range");
    return i >= n ? 0 : n - (int)i;
}

/* --- Walks. --- */

static int ipairs_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer i = mb_cage_arg_int(L, 2);
    if (i == LUA_MAXINTEGER)
        return 0;
    lua_pushinteger(L, i + 1);
    return lua_rawgeti(L, 1, i + 1) == LUA_TNIL ? 1 : 2;
}

static int base_ipairs(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_pushboolean(L, 0);
    lua_pushcclosure(L, ipairs_next, 1);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    return 3;
}

/* A key, to be sorted: integers, then texts by their bytes, then false and true. */
struct key {
    int type; /* 0 integer, 1 text, 2 boolean */
    lua_Integer n;
    const char *text;
    size_t len;
    lua_Integer at; /* among the unsorted */
};

static int compare_keys(const void *va, const void *vb)
{
    const struct key *a = va, *b = vb;
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    if (a->type != 1)
        return a->n < b->n ? -1 : a->n > b->n;
    return mb_bytes_compare(mb_bytes(a->text, a->len), mb_bytes(b->text, b->len));
}

static struct key key_at(lua_State *L, int index, lua_Integer at)
{
    struct key k = {.at = at};
    int type = lua_type(L, index);
    if (lua_isinteger(L, index)) {
        k.n = lua_tointeger(L, index);
    } else if (type == LUA_TSTRING) {
        k.type = 1;
        k.text = lua_tolstring(L, index, &k.len);
        mb_cage_charge(L, (int64_t)k.len / 64);
    } else if (type == LUA_TBOOLEAN) {
        k.type = 2;
        k.n = lua_toboolean(L, index);
    } else {
        luaL_error(L, "pairs: a %s as a key has no order", luaL_typename(L, index));
    }
    return k;
}

/* Behind the last key that was given out, those that are still there. */
static int pairs_next(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
    lua_settop(L, 0);
    for (;;) {
        i++;
        mb_cage_charge(L, 1);
        if (lua_rawgeti(L, lua_upvalueindex(2), i) == LUA_TNIL)
            return 1;
        lua_pushvalue(L, 1);
        if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
            break;
        lua_settop(L, 0);
    }
    lua_pushinteger(L, i);
    lua_replace(L, lua_upvalueindex(3));
    return 2;
}

static int log_of(lua_Integer n)
{
    int bits = 1;
    while (n >>= 1)
        bits++;
    return bits;
}

static int base_pairs(lua_State *L)
{
    lua_Integer n = 0;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_newtable(L); /* 2: the keys as they lie */
    for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
        mb_cage_charge(L, 2);
        lua_pushvalue(L, -2);
        lua_rawseti(L, 2, ++n);
    }
    mb_cage_charge(L, n * log_of(n));
    struct key *keys = lua_newuserdatauv(L, (size_t)(n + 1) * sizeof *keys, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, i);
        keys[i - 1] = key_at(L, -1, i); /* the text stays, for the table 2 has it */
        lua_pop(L, 1);
    }
    qsort(keys, (size_t)n, sizeof *keys, compare_keys);
    lua_pushvalue(L, 1);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, 2, keys[i - 1].at);
        lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, pairs_next, 3);
    return 1;
}

void mb_cage_open_base(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"assert", base_assert},     {"error", base_error},   {"ipairs", base_ipairs},
        {"pairs", base_pairs},       {"select", base_select}, {"tonumber", base_tonumber},
        {"tostring", base_tostring}, {"type", base_type},     {NULL, NULL},
    };
    mb_cage_set_functions(L, functions);
}
