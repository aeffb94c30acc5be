/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "rules/internal.h"
#include "rules/source.h"

#define TICK          1000 /* VM instructions from one count to the next */
#define SEED_BEHIND   96 /* bytes from the allocator's pointer in Lua's global_State to its seed */
#define SEED          0u
#define NODE_BYTES    24
#define SLOT_BYTES    16
#define RESULTS_MAX   4
#define LUA_PROTOTYPE (LUA_NUMTYPES + 1) /* lobject.h: LUA_TPROTO */
#define ARENA_BYTES   (2 * (size_t)MB_RULES_MEMORY + 4096)

/* Builds with sanitizers look after each call whether what is fixed was left alone. */
#if defined(__SANITIZE_ADDRESS__)
#define CHECKS_FIXED true
#elif defined(__has_feature)
#define CHECKS_FIXED __has_feature(address_sanitizer)
#else
#define CHECKS_FIXED false
#endif

extern const char lua_ident[];

struct mb_cage *mb_cage_of(lua_State *L)
{
    return *(struct mb_cage **)lua_getextraspace(L);
}

/* --- Memory. --- */

static void *allocate(void *ud, void *block, size_t old_bytes, size_t bytes);

/* The state's own block has the allocator's address at the start of its global part, and behind it
 * the seed, drawn already, that no text was hashed with yet. */
static void set_seed(struct mb_cage *c)
{
    void *(*const mine)(void *, void *, size_t, size_t) = allocate;
    for (size_t at = 0; at + SEED_BEHIND + sizeof(unsigned) <= c->arena.used; at += 8)
        if (memcmp(c->arena.base + at, &mine, sizeof mine) == 0) {
            const unsigned seed = SEED;
            memcpy(c->arena.base + at + SEED_BEHIND, &seed, sizeof seed);
            return;
        }
}

/* Whether a block may be a table's hash part: 24 bytes times a power of two. Arrays of that size
 * count too: too much rather than too little. */
static bool may_be_nodes(size_t bytes)
{
    size_t nodes = bytes / NODE_BYTES;
    return bytes % NODE_BYTES == 0 && (nodes & (nodes - 1)) == 0;
}

static void count_block(struct mb_cage_count *n, int type, size_t bytes)
{
    if (type == LUA_TSTRING) {
        n->texts++;
        n->longest = bytes > n->longest ? bytes : n->longest;
    } else if (type == 0 && may_be_nodes(bytes) && bytes / NODE_BYTES > n->nodes) {
        n->nodes = bytes / NODE_BYTES;
    }
}

/* The newest block is the stack. */
static void count_stack(struct mb_cage_count *n)
{
    n->stack_at = n->newest;
    n->stack = n->newest_bytes / SLOT_BYTES;
}

/* While compiled code is loaded, what is no text and no closure belongs to functions' prototypes:
 * instructions, constants, lines, names. Lua writes there once more only as it collects. */
static bool is_code(int type)
{
    return type == 0 || type == LUA_PROTOTYPE;
}

static void *allocate(void *ud, void *block, size_t old_bytes, size_t bytes)
{
    struct mb_cage *c = ud;
    if (bytes == 0 && block == NULL)
        return NULL;
    if (bytes > 0 && c->over != NULL && strcmp(c->over, "memory") == 0)
        return NULL; /* what Lua's last collection gave back is no reason to go on */
    if (block == NULL && ++c->blocks == 2)
        set_seed(c);
    void *now = c->fixing && block == NULL && is_code((int)old_bytes)
                    ? mb_arena_fix(&c->arena, bytes)
                    : mb_arena_resize(&c->arena, block, block != NULL ? old_bytes : 0, bytes);
    if (bytes == 0) {
        if (block == c->count.stack_at) /* Lua has moved it to the block that it asked for last */
            count_stack(&c->count);
        return NULL;
    }
    if (now == NULL) {
        c->over = "memory";
        c->over_limit = MB_RULES_MEMORY;
        return NULL;
    }
    if (block == NULL) {
        count_block(&c->count, (int)old_bytes, bytes);
        c->count.newest = now;
        c->count.newest_bytes = bytes;
        if (c->blocks == 2)
            count_stack(&c->count);
    }
    return now;
}

/* --- Instructions. --- */

void mb_cage_charge(lua_State *L, int64_t instructions)
{
    struct mb_cage *c = mb_cage_of(L);
    c->count.spent += instructions;
    if (instructions < 0 || c->count.spent > MB_RULES_INSTRUCTIONS) {
        if (c->over == NULL) {
            c->over = "instructions";
            c->over_limit = MB_RULES_INSTRUCTIONS;
        }
        luaL_error(L, "over budget");
    }
}

static void tick(lua_State *L, lua_Debug *where)
{
    const struct mb_cage_count *n = &mb_cage_of(L)->count;
    (void)where;
    size_t weight = 1 + n->longest / 4096 + n->stack / 256 + n->nodes / 256 + n->texts / 1024;
    mb_cage_charge(L, (int64_t)weight * TICK);
}

void mb_cage_set_functions(lua_State *L, const luaL_Reg *functions)
{
    lua_pushboolean(L, 0);
    luaL_setfuncs(L, functions, 1);
}

/* --- Failures. --- */

/* A message of Lua's or the rulebook's, made fit for a result. */
static void copy_message(lua_State *L, struct mb_buf *out)
{
    size_t len = 0;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    if (text == NULL)
        mb_buf_add_text(out, "an error that is no text");
    if (len > 200)
        len = 200;
    bool good = text == NULL || mb_utf8_valid(text, len);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i]; /* char has a sign on some hosts, and none on others */
        bool plain = c >= ' ' && c < 0x7f;
        mb_buf_add_u8(out, plain || (good && c > 0x7f) ? c : '?');
    }
}

static int failed(struct mb_cage *c, struct mb_error *error)
{
    struct mb_buf message = {0};
    if (c->over != NULL)
        return mb_refuse(error, "rules.budget", "sd", c->over, c->over_limit);
    copy_message(c->L, &message);
    int rc = strcmp(c->stage, "rules.compile") == 0
                 ? mb_refuse(error, "rules.compile", "s", mb_buf_text(&message))
             : strcmp(c->stage, "rules.value") == 0
                 ? mb_refuse(error, "rules.value", "s", mb_buf_text(&message))
                 : mb_refuse(error, "rules.error", "s", mb_buf_text(&message));
    mb_buf_clear(&message);
    return rc;
}

/* --- Is this the Lua that this was written for? --- */

static unsigned hash_of(const char *text, size_t len)
{
    unsigned h = SEED ^ (unsigned)len;
    for (; len > 0; len--)
        h ^= (h << 5) + (h >> 2) + (unsigned char)text[len - 1];
    return h;
}

/* Texts lie in a table in the order of their hashes by our seed, where none collide. A text that
 * would collide is left out. */
static int try_seed(lua_State *L)
{
    char text[3] = "k0";
    uint64_t taken = 0;
    unsigned before = 0;
    int found = 0, made = 0;
    lua_createtable(L, 0, 64);
    for (int i = 0; i < 60; i++) {
        text[1] = (char)('0' + i);
        uint64_t bit = (uint64_t)1 << (hash_of(text, 2) & 63);
        if (taken & bit)
            continue;
        taken |= bit;
        made++;
        lua_pushboolean(L, 1);
        lua_setfield(L, -2, text);
    }
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        size_t len;
        const char *key = lua_tolstring(L, -2, &len);
        unsigned place = hash_of(key, len) & 63;
        if (found > 0 && place <= before)
            return luaL_error(L, "order");
        before = place;
        found++;
    }
    if (found != made || made < 20)
        return luaL_error(L, "count");
    return 0;
}

static bool check_lua(struct mb_cage *c)
{
    static bool good; /* the library does not change while the program runs */
    if (good)
        return true;
    if (strstr(lua_ident, "Lua " MB_RULES_LUA " ") == NULL)
        return false;
    lua_pushcfunction(c->L, try_seed);
    good = lua_pcall(c->L, 0, 0, 0) == LUA_OK;
    return good;
}

/* --- Making one. --- */

static int write_dump(lua_State *L, const void *bytes, size_t len, void *arg)
{
    (void)L;
    mb_buf_add(arg, bytes, len);
    return 0;
}

/* Lua's parser leaves much behind that nothing uses any more, and each call would copy it: so it
 * has a state of its own, and what it compiled is loaded into the one that stays. */
static int compile_source(lua_State *L)
{
    struct mb_cage *c = mb_cage_of(L);
    struct mb_buf bare = {0};
    if (luaL_loadbufferx(L, (const char *)c->source.data, c->source.len, "=rulebook", "t") !=
        LUA_OK)
        return lua_error(L);
    lua_dump(L, write_dump, &bare, 1);
    bool fine = mb_rules_bytecode(mb_buf_bytes(&bare));
    mb_buf_clear(&bare);
    if (!fine)
        return luaL_error(L, "rulebook: floats");
    lua_dump(L, write_dump, &c->compiled, 0);
    return 0;
}

static int load_compiled(lua_State *L)
{
    struct mb_cage *c = mb_cage_of(L);
    lua_settop(L, 0);
    lua_pushglobaltable(L);
    mb_cage_open_base(L);
    mb_cage_open_table(L);
    mb_cage_open_string(L);
    mb_cage_open_mb(L);
    lua_settop(L, 0);
    luaL_checkstack(L, LUA_MINSTACK, "rulebook"); /* so that loading makes no new one */
    c->fixing = true;
    int rc = luaL_loadbufferx(L, (const char *)c->compiled.data, c->compiled.len, "=rulebook", "b");
    c->fixing = false;
    if (rc != LUA_OK)
        return lua_error(L);
    c->stage = "rules.error";
    lua_sethook(L, tick, LUA_MASKCOUNT, TICK);
    lua_pushboolean(L, 0);
    lua_pushcclosure(L, mb_cage_int, 1);
    lua_call(L, 1, 0);
    return 0;
}

static uint8_t *fixed_part(const struct mb_cage *c)
{
    return c->arena.base + c->arena.size - c->arena.fixed;
}

static void keep_image(struct mb_cage *c)
{
    c->image_bytes = c->arena.used;
    c->image_last = c->arena.last;
    c->image = mb_memdup(c->arena.base, c->arena.used);
    c->image_fixed = mb_memdup(fixed_part(c), c->arena.fixed);
    c->image_count = c->count;
}

/* Begin a state at the start of the arena, and run this in it. */
static int run_first(struct mb_cage *c, lua_CFunction first, struct mb_error *error)
{
    const char *lua = "this program needs Lua " MB_RULES_LUA ", 64-bit, and has found another: "
                      "install Debian's liblua5.4-0 of that release";
    c->arena.used = c->arena.last = c->arena.fixed = c->blocks = 0;
    c->count = (struct mb_cage_count){0};
    c->L = lua_newstate(allocate, c);
    if (c->L == NULL)
        return mb_fail(error, MB_EIO, "rules.lua", "%s", lua);
    *(struct mb_cage **)lua_getextraspace(c->L) = c;
    lua_gc(c->L, LUA_GCSTOP);
    if (!check_lua(c))
        return mb_fail(error, MB_EIO, "rules.lua", "%s", lua);
    lua_pushcfunction(c->L, first);
    return lua_pcall(c->L, 0, 0, 0) == LUA_OK ? 0 : failed(c, error);
}

static int make(struct mb_cage *c, struct mb_bytes text, struct mb_error *error)
{
    if (!mb_arena_init(&c->arena, ARENA_BYTES))
        return mb_fail(error, MB_EIO, "rules.lua", "no address space for rulebooks is left");
    c->arena.limit = MB_RULES_MEMORY;
    c->stage = "rules.compile";
    c->source = text;
    int rc = run_first(c, compile_source, error);
    if (rc == 0)
        rc = run_first(c, load_compiled, error);
    if (rc == 0)
        keep_image(c);
    return rc;
}

int mb_cage_new(struct mb_cage **out, struct mb_bytes source, struct mb_error *error)
{
    struct mb_buf text = {0};
    struct mb_error ignored;
    struct mb_cage *c = mb_calloc(1, sizeof *c);
    *out = NULL;
    error = error != NULL ? error : &ignored;
    int rc = mb_rules_source(&text, source, error);
    if (rc == 0)
        rc = make(c, mb_buf_bytes(&text), error);
    mb_buf_clear(&text);
    mb_buf_clear(&c->compiled);
    c->source = mb_bytes(NULL, 0);
    if (rc == 0)
        *out = c;
    else
        mb_cage_free(c);
    return rc;
}

/* Without lua_close(): nothing of Lua's lies outside the arena. */
void mb_cage_free(struct mb_cage *c)
{
    if (c == NULL)
        return;
    mb_arena_clear(&c->arena);
    free(c->image);
    free(c->image_fixed);
    free(c);
}

/* --- Calling. --- */

/* Out of memory, and then alone, Lua collects, and writes into all there is. */
static void restore_image(struct mb_cage *c)
{
    memcpy(c->arena.base, c->image, c->image_bytes);
    if (c->over != NULL && strcmp(c->over, "memory") == 0)
        memcpy(fixed_part(c), c->image_fixed, c->arena.fixed);
    else if (CHECKS_FIXED && memcmp(fixed_part(c), c->image_fixed, c->arena.fixed) != 0)
        abort();
    c->arena.used = c->image_bytes;
    c->arena.last = c->image_last;
    c->arena.limit = c->image_bytes + c->arena.fixed + MB_RULES_MEMORY;
    c->count = c->image_count;
    c->count.spent = 0;
    c->over = NULL;
    c->stage = "rules.error";
}

static int call_function(lua_State *L)
{
    struct mb_cage *c = mb_cage_of(L);
    const json_t *value;
    size_t i;
    lua_settop(L, 0);
    mb_cage_open_mb(L);
    lua_settop(L, 0);
    c->found = lua_getglobal(L, c->function) == LUA_TFUNCTION;
    if (!c->found)
        return 0;
    json_array_foreach(c->args, i, value) mb_cage_push_json(L, value);
    lua_call(L, (int)json_array_size(c->args), LUA_MULTRET);
    c->stage = "rules.value";
    if (lua_gettop(L) > RESULTS_MAX)
        return luaL_error(L, "more than %d values", RESULTS_MAX);
    while (lua_gettop(L) > 0 && lua_isnil(L, -1))
        lua_pop(L, 1);
    for (int k = 1; k <= lua_gettop(L); k++)
        mb_cage_append_json(L, c->results, k);
    return 0;
}

int mb_cage_call(struct mb_cage *c, const struct mb_cage_view *view, const char *function,
                 const json_t *args, json_t **results, struct mb_error *error)
{
    restore_image(c);
    c->view = view;
    c->function = function;
    c->args = args;
    c->held = json_array();
    c->results = json_array();
    lua_pushcfunction(c->L, call_function);
    int rc = lua_pcall(c->L, 0, 0, 0) != LUA_OK ? failed(c, error) : c->found ? 0 : MB_ENOENT;
    json_decref(c->held);
    *results = rc == 0 ? c->results : NULL;
    if (rc != 0)
        json_decref(c->results);
    c->view = NULL;
    return rc;
}

struct mb_cage_cost mb_cage_cost(const struct mb_cage *c)
{
    return (struct mb_cage_cost){c->count.spent, (int64_t)(c->arena.used - c->image_bytes)};
}
