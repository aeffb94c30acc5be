/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "rules/arena.h"

#include <string.h>
#include <sys/mman.h>

_Static_assert(sizeof(void *) == 8, "rulebooks run on 64-bit hosts only");

/* Numbers of 4 GiB places to try: first high, where sanitizers leave room, then low, for kernels
 * with 39-bit addresses. */
static const struct {
    uint64_t from, to;
} places[] = {{0x2000, 0x3000}, {0x10, 0x80}};

static bool map_at(struct mb_arena *a, uint64_t place, size_t size)
{
    void *wanted = (void *)(uintptr_t)(place << 32);
    void *p = mmap(wanted, size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == wanted) {
        a->base = p;
        a->size = size;
        return true;
    }
    if (p != MAP_FAILED)
        munmap(p, size);
    return false;
}

bool mb_arena_init(struct mb_arena *a, size_t size)
{
    memset(a, 0, sizeof *a);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        for (uint64_t place = places[i].from; place < places[i].to; place++)
            if (map_at(a, place, size))
                return true;
    return false;
}

void mb_arena_clear(struct mb_arena *a)
{
    if (a->base != NULL)
        munmap(a->base, a->size);
    memset(a, 0, sizeof *a);
}

static size_t rounded(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

void *mb_arena_resize(struct mb_arena *a, void *block, size_t old_bytes, size_t bytes)
{
    size_t at = block != NULL ? (size_t)((uint8_t *)block - a->base) : a->used;
    bool newest = block != NULL && at == a->last;
    if (bytes == 0) {
        if (newest)
            a->used = at;
        return NULL;
    }
    if (block != NULL && bytes <= old_bytes && !newest)
        return block;
    if (!newest)
        at = a->used;
    if (bytes > a->size || at + rounded(bytes) + a->fixed > a->limit)
        return NULL;
    if (block != NULL && !newest)
        memcpy(a->base + at, block, old_bytes);
    a->used = at + rounded(bytes);
    a->last = at;
    return a->base + at;
}

void *mb_arena_fix(struct mb_arena *a, size_t bytes)
{
    if (bytes > a->size || a->used + a->fixed + rounded(bytes) > a->limit)
        return NULL;
    a->fixed += rounded(bytes);
    return a->base + a->size - a->fixed;
}
