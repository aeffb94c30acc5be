/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The matcher is lstrlib.c's of Lua 5.4 (MIT, Lua.org, PUC-Rio), with every step counted and
 * without the locale's classes. */
#include "config.h"

#include "rules/pattern.h"

#include <string.h>

#define CAPTURES_MAX 32
#define DEPTH_MAX    100
#define UNFINISHED   (-1)
#define POSITION     (-2)

struct match {
    lua_State *L;
    const char *src, *src_end, *p_end;
    int level, depth;
    struct {
        const char *at;
        ptrdiff_t len;
    } capture[CAPTURES_MAX];
};

static const char *match_here(struct match *m, const char *s, const char *p);

static bool in(int c, int from, int to)
{
    return c >= from && c <= to;
}

static bool in_class(int c, int class)
{
    bool lower = in(c, 'a', 'z'), upper = in(c, 'A', 'Z'), digit = in(c, '0', '9'), is;
    switch (class | 0x20) {
    case 'a':
        is = lower || upper;
        break;
    case 'c':
        is = c < 32 || c == 127;
        break;
    case 'd':
        is = digit;
        break;
    case 'g':
        is = in(c, 33, 126);
        break;
    case 'l':
        is = lower;
        break;
    case 'p':
        is = in(c, 33, 126) && !lower && !upper && !digit;
        break;
    case 's':
        is = c == ' ' || in(c, 9, 13);
        break;
    case 'u':
        is = upper;
        break;
    case 'w':
        is = lower || upper || digit;
        break;
    case 'x':
        is = digit || in(c | 0x20, 'a', 'f');
        break;
    default:
        return class == c;
    }
    return in(class, 'A', 'Z') ? !is : is;
}

static const char *class_end(struct match *m, const char *p)
{
    if (*p++ == '%') {
        if (p == m->p_end)
            luaL_error(m->L, "malformed pattern (ends with '%%')");
        return p + 1;
    }
    if (p[-1] != '[')
        return p;
    if (p < m->p_end && *p == '^')
        p++;
    do { /* a ']' that comes first belongs to the set */
        if (p == m->p_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%') {
            if (p == m->p_end)
                luaL_error(m->L, "malformed pattern (missing ']')");
            p++;
        }
    } while (p == m->p_end || *p != ']');
    return p + 1;
}

/* p at '[', end at the ']'. */
static bool in_set(struct match *m, int c, const char *p, const char *end)
{
    bool found = true;
    mb_cage_charge(m->L, end - p);
    if (p[1] == '^') {
        found = false;
        p++;
    }
    while (++p < end) {
        if (*p == '%') {
            p++;
            if (in_class(c, (unsigned char)*p))
                return found;
        } else if (p[1] == '-' && p + 2 < end) {
            p += 2;
            if (in(c, (unsigned char)p[-2], (unsigned char)*p))
                return found;
        } else if ((unsigned char)*p == c) {
            return found;
        }
    }
    return !found;
}

static bool single(struct match *m, const char *s, const char *p, const char *end)
{
    mb_cage_charge(m->L, 1);
    if (s >= m->src_end)
        return false;
    int c = (unsigned char)*s;
    if (*p == '.')
        return true;
    if (*p == '%')
        return in_class(c, (unsigned char)p[1]);
    if (*p == '[')
        return in_set(m, c, p, end - 1);
    return (unsigned char)*p == c;
}

static const char *balanced(struct match *m, const char *s, const char *p)
{
    int depth = 1;
    if (p + 1 >= m->p_end)
        luaL_error(m->L, "malformed pattern (missing arguments to '%%b')");
    if (s >= m->src_end || *s != *p)
        return NULL;
    while (++s < m->src_end) {
        mb_cage_charge(m->L, 1);
        if (*s == p[1]) {
            if (--depth == 0)
                return s + 1;
        } else if (*s == *p) {
            depth++;
        }
    }
    return NULL;
}

static const char *longest(struct match *m, const char *s, const char *p, const char *end)
{
    ptrdiff_t i = 0;
    while (single(m, s + i, p, end))
        i++;
    for (; i >= 0; i--) {
        const char *found = match_here(m, s + i, end + 1);
        if (found != NULL)
            return found;
    }
    return NULL;
}

static const char *shortest(struct match *m, const char *s, const char *p, const char *end)
{
    for (;;) {
        const char *found = match_here(m, s, end + 1);
        if (found != NULL)
            return found;
        if (!single(m, s, p, end))
            return NULL;
        s++;
    }
}

static const char *open_capture(struct match *m, const char *s, const char *p, ptrdiff_t what)
{
    if (m->level >= CAPTURES_MAX)
        luaL_error(m->L, "too many captures");
    m->capture[m->level].at = s;
    m->capture[m->level].len = what;
    m->level++;
    const char *found = match_here(m, s, p);
    if (found == NULL)
        m->level--;
    return found;
}

static const char *close_capture(struct match *m, const char *s, const char *p)
{
    int l = m->level - 1;
    while (l >= 0 && m->capture[l].len != UNFINISHED)
        l--;
    if (l < 0)
        luaL_error(m->L, "invalid pattern capture");
    m->capture[l].len = s - m->capture[l].at;
    const char *found = match_here(m, s, p);
    if (found == NULL)
        m->capture[l].len = UNFINISHED;
    return found;
}

static const char *same_again(struct match *m, const char *s, int digit)
{
    int l = digit - '1';
    if (l < 0 || l >= m->level || m->capture[l].len == UNFINISHED)
        luaL_error(m->L, "invalid capture index");
    size_t len = m->capture[l].len == POSITION ? 0 : (size_t)m->capture[l].len;
    mb_cage_charge(m->L, (int64_t)len);
    if ((size_t)(m->src_end - s) < len || memcmp(m->capture[l].at, s, len) != 0)
        return NULL;
    return s + len;
}

/* %f[set]: between a byte outside the set and one in it; the ends of the text count as NUL. */
static bool frontier(struct match *m, const char *s, const char *p, const char *end)
{
    int before = s == m->src ? 0 : (unsigned char)s[-1];
    int here = s < m->src_end ? (unsigned char)*s : 0;
    return !in_set(m, before, p, end - 1) && in_set(m, here, p, end - 1);
}

/* One item and its suffix. NULL: no match; else where the match ends. */
static const char *match_item(struct match *m, const char *s, const char *p)
{
    const char *end = class_end(m, p);
    char suffix = end < m->p_end ? *end : 0;
    if (suffix == '*')
        return longest(m, s, p, end);
    if (suffix == '+')
        return single(m, s, p, end) ? longest(m, s + 1, p, end) : NULL;
    if (suffix == '-')
        return shortest(m, s, p, end);
    bool one = single(m, s, p, end);
    if (suffix == '?') {
        const char *found = one ? match_here(m, s + 1, end + 1) : NULL;
        return found != NULL ? found : match_here(m, s, end + 1);
    }
    return one ? match_here(m, s + 1, end) : NULL;
}

static const char *match_escape(struct match *m, const char *s, const char *p)
{
    int kind = p + 1 < m->p_end ? (unsigned char)p[1] : 0;
    if (kind == 'b') {
        s = balanced(m, s, p + 2);
        return s != NULL ? match_here(m, s, p + 4) : NULL;
    }
    if (kind == 'f') {
        p += 2;
        if (p >= m->p_end || *p != '[')
            luaL_error(m->L, "missing '[' after '%%f' in pattern");
        const char *end = class_end(m, p);
        return frontier(m, s, p, end) ? match_here(m, s, end) : NULL;
    }
    if (in(kind, '0', '9')) {
        s = same_again(m, s, kind);
        return s != NULL ? match_here(m, s, p + 2) : NULL;
    }
    return match_item(m, s, p);
}

/* Each item is one call deeper: patterns have DEPTH_MAX of them at most, which is plenty. */
static const char *match_here(struct match *m, const char *s, const char *p)
{
    const char *found;
    mb_cage_charge(m->L, 1);
    if (p == m->p_end)
        return s;
    if (++m->depth > DEPTH_MAX)
        luaL_error(m->L, "pattern too complex");
    if (*p == '(')
        found = p + 1 < m->p_end && p[1] == ')' ? open_capture(m, s, p + 2, POSITION)
                                                : open_capture(m, s, p + 1, UNFINISHED);
    else if (*p == ')')
        found = close_capture(m, s, p + 1);
    else if (*p == '$' && p + 1 == m->p_end)
        found = s == m->src_end ? s : NULL;
    else
        found = *p == '%' ? match_escape(m, s, p) : match_item(m, s, p);
    m->depth--;
    return found;
}

/* --- What was captured. --- */

/* Capture l, or the whole match if there are none and l is 0. */
static void push_capture(struct match *m, int l, const char *s, const char *e)
{
    if (l >= m->level) {
        if (l != 0)
            luaL_error(m->L, "invalid capture index");
        lua_pushlstring(m->L, s, (size_t)(e - s));
    } else if (m->capture[l].len == UNFINISHED) {
        luaL_error(m->L, "unfinished capture");
    } else if (m->capture[l].len == POSITION) {
        lua_pushinteger(m->L, m->capture[l].at - m->src + 1);
    } else {
        mb_cage_charge(m->L, (int64_t)m->capture[l].len / 16);
        lua_pushlstring(m->L, m->capture[l].at, (size_t)m->capture[l].len);
    }
}

static int push_captures(struct match *m, const char *s, const char *e)
{
    int n = m->level == 0 && s != NULL ? 1 : m->level;
    luaL_checkstack(m->L, n, "too many captures");
    for (int i = 0; i < n; i++)
        push_capture(m, i, s, e);
    return n;
}

static struct match begin(lua_State *L, const char *src, size_t len, const char *p, size_t p_len)
{
    return (struct match){.L = L, .src = src, .src_end = src + len, .p_end = p + p_len};
}

/* --- find, match --- */

static int find_plain(lua_State *L, const char *text, size_t len, size_t from, const char *p,
                      size_t p_len)
{
    for (size_t i = from; i + p_len <= len; i++) {
        mb_cage_charge(L, 1);
        size_t same = 0;
        while (same < p_len && text[i + same] == p[same])
            same++;
        mb_cage_charge(L, (int64_t)same / 4);
        if (same == p_len) {
            lua_pushinteger(L, (lua_Integer)i + 1);
            lua_pushinteger(L, (lua_Integer)(i + p_len));
            return 2;
        }
    }
    lua_pushnil(L);
    return 1;
}

static int find_or_match(lua_State *L, bool find)
{
    size_t len, p_len;
    const char *text = mb_cage_text(L, 1, &len), *p = mb_cage_text(L, 2, &p_len);
    lua_Integer from = mb_cage_opt_int(L, 3, 1);
    if (from < 0)
        from = from < -(lua_Integer)len ? 1 : (lua_Integer)len + from + 1;
    from = from < 1 ? 1 : from;
    if (from > (lua_Integer)len + 1) {
        lua_pushnil(L);
        return 1;
    }
    if (find && lua_toboolean(L, 4))
        return find_plain(L, text, len, (size_t)from - 1, p, p_len);
    struct match m = begin(L, text, len, p, p_len);
    bool anchor = p_len > 0 && *p == '^';
    for (const char *s = text + from - 1; s <= m.src_end; s++) {
        m.level = 0;
        const char *e = match_here(&m, s, p + anchor);
        if (e != NULL && find) {
            lua_pushinteger(L, s - text + 1);
            lua_pushinteger(L, e - text);
            return push_captures(&m, NULL, NULL) + 2;
        }
        if (e != NULL)
            return push_captures(&m, s, e);
        if (anchor)
            break;
    }
    lua_pushnil(L);
    return 1;
}

int mb_cage_find(lua_State *L)
{
    return find_or_match(L, true);
}

int mb_cage_match(lua_State *L)
{
    return find_or_match(L, false);
}

/* --- gmatch --- */

/* Upvalues: text, pattern, where to go on, where the last match ended (-1: none). */
static int gmatch_next(lua_State *L)
{
    size_t len, p_len;
    const char *text = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *p = lua_tolstring(L, lua_upvalueindex(2), &p_len);
    struct match m = begin(L, text, len, p, p_len);
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    for (const char *s = text + lua_tointeger(L, lua_upvalueindex(3)); s <= m.src_end; s++) {
        m.level = 0;
        const char *e = match_here(&m, s, p);
        if (e == NULL || e - text == last)
            continue;
        lua_pushinteger(L, e - text);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return push_captures(&m, s, e);
    }
    return 0;
}

int mb_cage_gmatch(lua_State *L)
{
    size_t len;
    mb_cage_text(L, 1, &len);
    mb_cage_text(L, 2, &len);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_next, 4);
    return 1;
}

/* --- gsub --- */

/* %0 to %9 in the replacement. */
static void add_replacement(struct match *m, luaL_Buffer *b, const char *s, const char *e)
{
    size_t len;
    const char *r = lua_tolstring(m->L, 3, &len), *end = r + len;
    mb_cage_charge(m->L, (int64_t)len);
    for (; r < end; r++) {
        if (*r != '%') {
            luaL_addchar(b, *r);
            continue;
        }
        r++;
        if (r < end && *r == '%') {
            luaL_addchar(b, '%');
        } else if (r < end && *r == '0') {
            mb_cage_charge(m->L, (e - s) / 16);
            luaL_addlstring(b, s, (size_t)(e - s));
        } else if (r < end && in(*r, '1', '9')) {
            push_capture(m, *r - '1', s, e);
            luaL_addvalue(b);
        } else {
            luaL_error(m->L, "invalid use of '%%' in replacement text");
        }
    }
}

/* Add what replaces [s,e): a text, what the table has for the first capture, what the function
 * returns for all; false and nil leave what is there. */
static void add_substitute(struct match *m, luaL_Buffer *b, const char *s, const char *e)
{
    lua_State *L = m->L;
    int type = lua_type(L, 3);
    if (type == LUA_TSTRING) {
        add_replacement(m, b, s, e);
        return;
    }
    if (type == LUA_TTABLE) {
        push_capture(m, 0, s, e);
        lua_rawget(L, 3);
    } else {
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, e), 1);
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(b, s, (size_t)(e - s));
        return;
    }
    if (lua_type(L, -1) != LUA_TSTRING && !lua_isinteger(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(b);
}

int mb_cage_gsub(lua_State *L)
{
    size_t len, p_len, r_len;
    const char *s = mb_cage_text(L, 1, &len), *p = mb_cage_text(L, 2, &p_len), *last = NULL;
    int type = lua_type(L, 3);
    if (type != LUA_TTABLE && type != LUA_TFUNCTION)
        mb_cage_text(L, 3, &r_len);
    lua_Integer most = mb_cage_opt_int(L, 4, (lua_Integer)len + 1), n = 0;
    bool anchor = p_len > 0 && *p == '^';
    struct match m = begin(L, s, len, p, p_len);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    while (n < most) {
        m.level = 0;
        const char *e = match_here(&m, s, p + anchor);
        if (e != NULL && e != last) {
            n++;
            add_substitute(&m, &b, s, e);
            s = last = e;
        } else if (s < m.src_end) {
            luaL_addchar(&b, *s++);
        } else {
            break;
        }
        if (anchor)
            break;
    }
    luaL_addlstring(&b, s, (size_t)(m.src_end - s));
    luaL_pushresult(&b);
    lua_pushinteger(L, n);
    return 2;
}
