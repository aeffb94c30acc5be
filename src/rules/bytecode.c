/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The format of Lua 5.4's ldump.c, stripped of what debuggers want. */
#include "config.h"

#include <string.h>

#include "rules/source.h"

#define DEPTH_MAX 250 /* functions in functions: Lua's parser stops at 200 */

enum { VNIL = 0, VFALSE = 1, VTRUE = 17, VINTEGER = 3, VSHORT_TEXT = 4, VLONG_TEXT = 20 };

/* Opcodes of Lua 5.4 that make or take floats: LOADF, POWK, DIVK, POW, DIV. */
static bool makes_float(uint8_t opcode)
{
    return opcode == 2 || opcode == 26 || opcode == 27 || opcode == 38 || opcode == 39;
}

/* Seven bits a byte, the greatest first; the last byte has the eighth. */
static size_t read_size(struct mb_cursor *c)
{
    size_t n = 0;
    uint8_t b;
    do {
        b = mb_cursor_u8(c);
        n = n << 7 | (b & 0x7f);
    } while (!c->failed && !(b & 0x80) && n <= (size_t)1 << 40);
    return n;
}

/* 0 stands for no text, else it is one more than the length. */
static void skip_text(struct mb_cursor *c)
{
    size_t n = read_size(c);
    if (n > 1)
        mb_cursor_take(c, n - 1);
}

static bool header_is_ours(struct mb_cursor *c)
{
    static const char begins[] = "\x1bLua\x54\0\x19\x93\r\n\x1a\n\x04\x08\x08";
    struct mb_bytes head = mb_cursor_take(c, sizeof begins - 1);
    mb_cursor_take(c, 16); /* an integer and a float that show their form: Lua itself wrote them */
    mb_cursor_u8(c);       /* upvalues of the main function */
    return !c->failed && memcmp(head.data, begins, sizeof begins - 1) == 0;
}

static bool constants_are_fine(struct mb_cursor *c)
{
    size_t n = read_size(c);
    for (size_t i = 0; i < n && !c->failed; i++) {
        uint8_t tag = mb_cursor_u8(c);
        if (tag == VINTEGER)
            mb_cursor_take(c, 8);
        else if (tag == VSHORT_TEXT || tag == VLONG_TEXT)
            skip_text(c);
        else if (tag != VNIL && tag != VFALSE && tag != VTRUE)
            return false;
    }
    return !c->failed;
}

static bool function_is_fine(struct mb_cursor *c, int depth)
{
    if (depth > DEPTH_MAX)
        return false;
    skip_text(c); /* source */
    read_size(c); /* first and last line */
    read_size(c);
    mb_cursor_take(c, 3); /* parameters, vararg, stack */
    struct mb_bytes code = mb_cursor_take(c, 4 * read_size(c));
    for (size_t i = 0; i < code.len; i += 4)
        if (makes_float(code.data[i] & 0x7f)) /* little-endian, as every host of ours */
            return false;
    if (!constants_are_fine(c))
        return false;
    mb_cursor_take(c, 3 * read_size(c)); /* upvalues */
    size_t protos = read_size(c);
    for (size_t i = 0; i < protos && !c->failed; i++)
        if (!function_is_fine(c, depth + 1))
            return false;
    for (int i = 0; i < 4; i++) /* lines, locals, names: stripped */
        if (read_size(c) != 0)
            return false;
    return !c->failed;
}

bool mb_rules_bytecode(struct mb_bytes dump)
{
    struct mb_cursor c = mb_cursor(dump);
    return header_is_ours(&c) && function_is_fine(&c, 0) && mb_cursor_done(&c);
}
