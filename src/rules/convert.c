/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON and Lua's values, both ways (magicbiz-rules(7), "Values"). */
#include "config.h"

#include <string.h>

#include "base/encode.h"
#include "rules/internal.h"

#define DEPTH_MAX 16 /* of what a rulebook returns */

int64_t mb_json_cost(const json_t *value)
{
    int64_t cost = 1;
    const char *name;
    json_t *child;
    size_t i;
    if (json_is_string(value))
        return cost + (int64_t)json_string_length(value) / 16;
    json_array_foreach(value, i, child) cost += mb_json_cost(child);
    json_object_foreach((json_t *)value, name, child) cost +=
        1 + (int64_t)strlen(name) / 16 + mb_json_cost(child);
    return cost;
}

void mb_cage_push_json(lua_State *L, const json_t *value)
{
    const char *name;
    json_t *child;
    size_t i;
    luaL_checkstack(L, 3, "json");
    mb_cage_charge(L, 1);
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        lua_createtable(L, 0, (int)json_object_size(value));
        json_object_foreach((json_t *)value, name, child)
        {
            lua_pushstring(L, name);
            mb_cage_push_json(L, child);
            lua_rawset(L, -3);
        }
        break;
    case JSON_ARRAY:
        lua_createtable(L, (int)json_array_size(value), 0);
        json_array_foreach(value, i, child)
        {
            mb_cage_push_json(L, child);
            lua_rawseti(L, -2, (lua_Integer)i + 1);
        }
        break;
    case JSON_STRING:
        mb_cage_charge(L, (int64_t)json_string_length(value) / 16);
        lua_pushlstring(L, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
        lua_pushinteger(L, json_integer_value(value));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, json_is_true(value));
        break;
    default:
        luaL_error(L, "null and reals are no values");
    }
}

/* Containers hang on the results before they are filled: an error on the way loses nothing. */
static void add(json_t *parent, const char *name, json_t *child_take)
{
    if (name != NULL)
        json_object_set_new(parent, name, child_take);
    else
        json_array_append_new(parent, child_take);
}

static json_t *text_of(lua_State *L, int index)
{
    size_t len;
    const char *text = lua_tolstring(L, index, &len);
    if (memchr(text, 0, len) != NULL || !mb_utf8_valid(text, len))
        luaL_error(L, "a text that is not UTF-8");
    mb_cage_charge(L, (int64_t)len / 16);
    return json_stringn(text, len);
}

static void add_value(lua_State *L, json_t *parent, const char *name, int index, int depth);

/* Keys 1 to n and no others make an array; texts alone, or no key at all, an object. */
static void add_table(lua_State *L, json_t *parent, const char *name, int index, int depth)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, index), count = 0;
    if (depth >= DEPTH_MAX)
        luaL_error(L, "tables in tables, over %d deep", DEPTH_MAX);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        mb_cage_charge(L, 1);
        count++;
        if (n > 0 ? !lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1 || lua_tointeger(L, -2) > n
                  : lua_type(L, -2) != LUA_TSTRING)
            luaL_error(L, "a table that is neither a list nor has names alone");
    }
    if (n > 0 && count != n)
        luaL_error(L, "a list with holes");
    json_t *table = n > 0 ? json_array() : json_object();
    add(parent, name, table);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, index, i);
        add_value(L, table, NULL, lua_gettop(L), depth + 1);
        lua_pop(L, 1);
    }
    for (lua_pushnil(L); n == 0 && lua_next(L, index); lua_pop(L, 1)) {
        size_t len;
        const char *key = lua_tolstring(L, -2, &len);
        if (memchr(key, 0, len) != NULL || !mb_utf8_valid(key, len))
            luaL_error(L, "a name that is not UTF-8");
        add_value(L, table, key, lua_gettop(L), depth + 1);
    }
    if (n > 0)
        lua_pop(L, 1);
}

static void add_value(lua_State *L, json_t *parent, const char *name, int index, int depth)
{
    luaL_checkstack(L, 4, "json");
    mb_cage_charge(L, 1);
    int type = lua_type(L, index);
    if (type == LUA_TTABLE)
        add_table(L, parent, name, index, depth);
    else if (type == LUA_TSTRING)
        add(parent, name, text_of(L, index));
    else if (lua_isinteger(L, index))
        add(parent, name, json_integer(lua_tointeger(L, index)));
    else if (type == LUA_TBOOLEAN || type == LUA_TNIL)
        add(parent, name, json_boolean(lua_toboolean(L, index)));
    else
        luaL_error(L, "a %s", luaL_typename(L, index));
}

void mb_cage_append_json(lua_State *L, json_t *array, int index)
{
    add_value(L, array, NULL, index, 0);
}
