/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The cage: Lua 5.4.4 cut down so far that a function of a rulebook gives the same answer, for the
 * same arguments and the same state, on every machine, and ends within its budget
 * (magicbiz-rules(7), "The cage").
 *
 * How:
 * - Numbers are integers. The source is lexed before Lua sees it (source.h), and the compiled
 *   functions are looked through again (bytecode.h).
 * - Lua hashes texts with a seed made of addresses and the clock, and tables and functions by their
 *   address. What follows from it could be felt (the border of a table with holes, the memory that
 *   a table takes), so both are fixed: all memory comes from an arena whose address is a multiple
 * of 4 GiB, so that the 32 bits of an address that Lua hashes are its offset in the arena, and the
 *   seed is set to 0 while the state is made. The first cage of a program tests that this took.
 * - A call starts from a copy of the memory as it was when the source had been run: a fresh state,
 *   for the price of copying it. The compiled functions are not copied, for Lua does not write into
 *   them, but as it collects: that is, when a call has run out of memory, and then they are, too.
 * - The collector is stopped. Bytes are counted as they are requested, and never given back, but
 * for the newest block.
 * - Each VM instruction counts 1, and 1 more for each 4 KiB of the longest text, each 256 slots of
 *   the stack, each 256 nodes of the largest hash part and each 1,024 texts made so far: the things
 *   that one instruction may have to walk through. The library's functions count what they loop.
 */
#ifndef MB_RULES_CAGE_H
#define MB_RULES_CAGE_H

#include <magicbiz/tx.h>

#define MB_RULES_LUA          "5.4.4"
#define MB_RULES_SOURCE_MAX   196608
#define MB_RULES_INSTRUCTIONS 1000000
#define MB_RULES_MEMORY       8388608
#define MB_RULES_BLOCK        20000000 /* instructions of a block, see magicbiz-rules(7) */
#define MB_RULES_LEAST        1000     /* of a call */
#define MB_RULES_SCAN_MAX     1000     /* items of one mb.scan */

struct mb_cage;

/*
 * Compile source and run its top level, within the budgets of one call (mb.* is not there yet).
 * MB_EREFUSED: rules.source [line, what], rules.compile [message], rules.error [message],
 * rules.budget [what, limit]. MB_EIO, rules.lua: this program was linked with another Lua than it
 * was written for, or address space is out; no replica can agree on that.
 */
int mb_cage_new(struct mb_cage **out, struct mb_bytes source, struct mb_error *error);
void mb_cage_free(struct mb_cage *c);

/* What a call may see besides its arguments. */
struct mb_cage_view {
    struct mb_tx *tx; /* mb.get, mb.scan; NULL: an empty state */
    int64_t time, slot;
    const json_t *params; /* an object: mb.params; may be NULL */
};
/* What the last call took. */
struct mb_cage_cost {
    int64_t instructions; /* in thousands rounded down, and what the library counted */
    int64_t bytes;
};

/*
 * Call function with args (an array; borrowed). *results is an array of what it returned, at most 4
 * values (owned; nil at the end is left out, another nil becomes false). MB_ENOENT: the source
 * defines no global function of this name. MB_EREFUSED as above, and rules.value [what] for results
 * that are no JSON. *results is NULL then.
 */
int mb_cage_call(struct mb_cage *c, const struct mb_cage_view *view, const char *function,
                 const json_t *args, json_t **results, struct mb_error *error);
struct mb_cage_cost mb_cage_cost(const struct mb_cage *c);

#endif
