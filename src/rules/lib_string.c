/* SPDX-License-Identifier: GPL-3.0-or-later */
/* string: without find, match, gmatch and gsub, which are in pattern.c. ASCII alone has classes and
 * cases. */
#include "config.h"

#include <string.h>

#include "rules/pattern.h"

const char *mb_cage_text(lua_State *L, int arg, size_t *len)
{
    if (lua_isinteger(L, arg)) {
        mb_cage_push_text(L, arg);
        lua_replace(L, arg);
    }
    luaL_checktype(L, arg, LUA_TSTRING);
    const char *text = lua_tolstring(L, arg, len);
    mb_cage_charge(L, 1 + (int64_t)*len / 64);
    return text;
}

/* A position counted from the end if it is negative; 0 is before the first. */
static lua_Integer position(lua_Integer at, size_t len)
{
    if (at >= 0)
        return at;
    return at < -(lua_Integer)len ? 0 : (lua_Integer)len + at + 1;
}

static int string_len(lua_State *L)
{
    size_t len;
    mb_cage_text(L, 1, &len);
    lua_pushinteger(L, (lua_Integer)len);
    return 1;
}

static int string_sub(lua_State *L)
{
    size_t len;
    const char *text = mb_cage_text(L, 1, &len);
    lua_Integer from = position(mb_cage_arg_int(L, 2), len);
    lua_Integer to = position(mb_cage_opt_int(L, 3, -1), len);
    from = from < 1 ? 1 : from;
    to = to > (lua_Integer)len ? (lua_Integer)len : to;
    if (from > to)
        lua_pushliteral(L, "");
    else
        lua_pushlstring(L, text + from - 1, (size_t)(to - from + 1));
    return 1;
}

static int string_byte(lua_State *L)
{
    size_t len;
    const char *text = mb_cage_text(L, 1, &len);
    lua_Integer at = position(mb_cage_opt_int(L, 2, 1), len);
    if (at < 1 || at > (lua_Integer)len)
        return 0;
    lua_pushinteger(L, (unsigned char)text[at - 1]);
    return 1;
}

static int string_char(lua_State *L)
{
    luaL_Buffer b;
    int n = lua_gettop(L);
    mb_cage_charge(L, n);
    char *out = luaL_buffinitsize(L, &b, (size_t)n);
    for (int i = 1; i <= n; i++) {
        lua_Integer c = mb_cage_arg_int(L, i);
        luaL_argcheck(L, c >= 0 && c <= 255, i, "no byte");
        out[i - 1] = (char)c;
    }
    luaL_pushresultsize(&b, (size_t)n);
    return 1;
}

static int string_rep(lua_State *L)
{
    size_t len;
    const char *text = mb_cage_text(L, 1, &len);
    lua_Integer n = mb_cage_arg_int(L, 2);
    if (n <= 0 || len == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    luaL_argcheck(L, (size_t)n <= MB_RULES_MEMORY / len, 2, "the result is too large");
    mb_cage_charge(L, n + n * (lua_Integer)len / 16);
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, (size_t)n * len);
    for (lua_Integer i = 0; i < n; i++)
        memcpy(out + (size_t)i * len, text, len);
    luaL_pushresultsize(&b, (size_t)n * len);
    return 1;
}

/* Change each byte. */
static int each_byte(lua_State *L, char from, char to, char by)
{
    size_t len;
    const char *text = mb_cage_text(L, 1, &len);
    luaL_Buffer b;
    mb_cage_charge(L, (int64_t)len / 4);
    char *out = luaL_buffinitsize(L, &b, len);
    for (size_t i = 0; i < len; i++)
        out[i] = text[i] >= from && text[i] <= to ? (char)(text[i] + by) : text[i];
    luaL_pushresultsize(&b, len);
    return 1;
}

static int string_lower(lua_State *L)
{
    return each_byte(L, 'A', 'Z', 'a' - 'A');
}

static int string_upper(lua_State *L)
{
    return each_byte(L, 'a', 'z', 'A' - 'a');
}

/* --- format: %d %x %s %%, with '-', '0' and a width up to 99. --- */

struct spec {
    bool left, zeros;
    int width;
    char kind;
};

static const char *read_spec(lua_State *L, const char *p, struct spec *s)
{
    *s = (struct spec){0};
    for (; *p == '-' || *p == '0'; p++) {
        s->left |= *p == '-';
        s->zeros |= *p == '0';
    }
    for (int digits = 0; digits < 2 && *p >= '0' && *p <= '9'; digits++)
        s->width = s->width * 10 + (*p++ - '0');
    s->kind = *p;
    if (*p == 0 || strchr("dxs", *p) == NULL)
        luaL_error(L, "string.format: only %%d, %%x, %%s and %%%%");
    return p + 1;
}

static void add_times(luaL_Buffer *b, char c, int n)
{
    for (int i = 0; i < n; i++)
        luaL_addchar(b, c);
}

static void add_padded(luaL_Buffer *b, const struct spec *s, const char *text, size_t len)
{
    int pad = (size_t)s->width > len ? s->width - (int)len : 0;
    bool zeros = s->zeros && !s->left && s->kind != 's';
    size_t sign = zeros && len > 0 && text[0] == '-';
    add_times(b, ' ', s->left || zeros ? 0 : pad);
    luaL_addlstring(b, text, sign);
    add_times(b, '0', zeros ? pad : 0);
    luaL_addlstring(b, text + sign, len - sign);
    add_times(b, ' ', s->left ? pad : 0);
}

static int string_format(lua_State *L)
{
    size_t len, text_len;
    const char *p = mb_cage_text(L, 1, &len), *end = p + len;
    int args = lua_gettop(L), arg = 1;
    char number[24];
    luaL_Buffer b;
    struct spec s;
    mb_cage_charge(L, (int64_t)len);
    for (int i = 2; i <= args; i++) { /* before the buffer has its place on the stack */
        mb_cage_push_text(L, i);
        text_len = lua_rawlen(L, -1);
        mb_cage_charge(L, 5 + (int64_t)text_len / 16);
        lua_pop(L, 1);
    }
    luaL_buffinit(L, &b);
    while (p < end) {
        if (*p != '%') {
            luaL_addchar(&b, *p++);
            continue;
        }
        if (*++p == '%') {
            luaL_addchar(&b, *p++);
            continue;
        }
        p = read_spec(L, p, &s);
        luaL_argcheck(L, ++arg <= args, arg, "no value");
        if (s.kind == 's') {
            mb_cage_push_text(L, arg);
            lua_replace(L, arg);
            const char *text = lua_tolstring(L, arg, &text_len);
            add_padded(&b, &s, text, text_len);
            continue;
        }
        luaL_argcheck(L, lua_isinteger(L, arg), arg, "an integer is needed");
        mb_snprintf(number, sizeof number, s.kind == 'd' ? "%lld" : "%llx",
                    (long long)lua_tointeger(L, arg));
        add_padded(&b, &s, number, strlen(number));
    }
    luaL_pushresult(&b);
    return 1;
}

void mb_cage_open_string(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"byte", string_byte},
        {"char", string_char},
        {"find", mb_cage_find},
        {"format", string_format},
        {"gmatch", mb_cage_gmatch},
        {"gsub", mb_cage_gsub},
        {"len", string_len},
        {"lower", string_lower},
        {"match", mb_cage_match},
        {"rep", string_rep},
        {"sub", string_sub},
        {"upper", string_upper},
        {NULL, NULL},
    };
    lua_newtable(L);
    mb_cage_set_functions(L, functions);
    lua_setglobal(L, "string");
}
