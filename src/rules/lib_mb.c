/* SPDX-License-Identifier: GPL-3.0-or-later */
/* mb: what a rulebook sees of the ledger, and products of 128 bits. */
#include "config.h"

#include <string.h>

#include "rules/internal.h"

static const struct mb_cage_view *view_of(lua_State *L)
{
    const struct mb_cage_view *view = mb_cage_of(L)->view;
    if (view == NULL)
        luaL_error(L, "the state can be read within functions only");
    return view;
}

/* Keys are texts without NUL; others name nothing. */
static const char *key_arg(lua_State *L, int arg)
{
    size_t len;
    luaL_checktype(L, arg, LUA_TSTRING);
    const char *key = lua_tolstring(L, arg, &len);
    luaL_argcheck(L, len <= MB_STATE_KEY_MAX && memchr(key, 0, len) == NULL, arg, "no key");
    return key;
}

static int mb_get(lua_State *L)
{
    const struct mb_cage_view *view = view_of(L);
    const char *key = key_arg(L, 1);
    mb_cage_charge(L, 100);
    json_t *value = view->tx != NULL ? mb_tx_get(view->tx, key) : NULL;
    if (value == NULL) {
        lua_pushnil(L);
        return 1;
    }
    json_array_append_new(mb_cage_of(L)->held, value);
    mb_cage_charge(L, mb_json_cost(value));
    mb_cage_push_json(L, value);
    return 1;
}

struct scan {
    json_t *found; /* key, value, key, value … */
    lua_Integer left;
    int64_t cost, most;
};

/* Beneath the ledger's functions nothing may leave by longjmp: what is too dear ends the scan, and
 * is counted behind it. */
static int visit(void *arg, const char *key, const json_t *value)
{
    struct scan *s = arg;
    s->cost += 20 + mb_json_cost(value);
    json_array_append_new(s->found, json_string(key));
    json_array_append(s->found, (json_t *)value);
    return --s->left == 0 || s->cost > s->most;
}

static int mb_scan(lua_State *L)
{
    const struct mb_cage_view *view = view_of(L);
    struct mb_cage *c = mb_cage_of(L);
    const char *prefix = key_arg(L, 1);
    const char *after = lua_isnoneornil(L, 2) ? "" : key_arg(L, 2);
    lua_Integer limit = MB_RULES_SCAN_MAX;
    if (!lua_isnoneornil(L, 3))
        limit = mb_cage_arg_int(L, 3);
    luaL_argcheck(L, limit >= 1 && limit <= MB_RULES_SCAN_MAX, 3, "1 to 1000 items");
    mb_cage_charge(L, 100);
    struct scan s = {json_array(), limit, 0, MB_RULES_INSTRUCTIONS - c->count.spent};
    json_array_append_new(c->held, s.found);
    if (view->tx != NULL)
        mb_tx_scan(view->tx, prefix, after, visit, &s);
    mb_cage_charge(L, s.cost);
    size_t n = json_array_size(s.found) / 2;
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 0, 2);
        mb_cage_push_json(L, json_array_get(s.found, 2 * i));
        lua_setfield(L, -2, "key");
        mb_cage_push_json(L, json_array_get(s.found, 2 * i + 1));
        lua_setfield(L, -2, "value");
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* a * b // c, rounded down as // is. */
static int mb_muldiv(lua_State *L)
{
    __extension__ typedef __int128 wide;
    wide product = (wide)mb_cage_arg_int(L, 1) * mb_cage_arg_int(L, 2);
    lua_Integer by = mb_cage_arg_int(L, 3);
    luaL_argcheck(L, by != 0, 3, "division by zero");
    wide quotient = product / by;
    if (product % by != 0 && (product < 0) != (by < 0))
        quotient--;
    luaL_argcheck(L, quotient >= INT64_MIN && quotient <= INT64_MAX, 1,
                  "the result is over 64 bits");
    lua_pushinteger(L, (lua_Integer)quotient);
    return 1;
}

void mb_cage_open_mb(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"get", mb_get}, {"muldiv", mb_muldiv}, {"scan", mb_scan}, {NULL, NULL}};
    const struct mb_cage_view *view = mb_cage_of(L)->view;
    if (view == NULL) {
        lua_newtable(L);
        mb_cage_set_functions(L, functions);
        lua_setglobal(L, "mb");
        return;
    }
    if (lua_getglobal(L, "mb") != LUA_TTABLE)
        return; /* the rulebook has done away with it */
    lua_pushinteger(L, view->time);
    lua_setfield(L, -2, "time");
    lua_pushinteger(L, view->slot);
    lua_setfield(L, -2, "slot");
    if (view->params != NULL)
        mb_cage_push_json(L, view->params);
    else
        lua_newtable(L);
    lua_setfield(L, -2, "params");
}
