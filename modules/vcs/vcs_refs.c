/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The advertisement of git-receive-pack, kept as it goes over the wire, so that a push costs the
 * same with one ref and with 20,000: in blocks of some lines each, which answers under way share
 * with it. A block that somebody still sends is copied before it changes.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "vcs_pktline.h"
#include "vcs_world.h"

#define BLOCK_BYTES 8192

struct vcs_block {
    unsigned users;
    struct mb_buf lines; /* pkt-lines "ID REF\n" in the order of refs; never none */
};

struct vcs_refs {
    struct vcs_block **blocks;
    size_t count, room, id_len;
};

static void block_release(struct vcs_block *b)
{
    if (--b->users > 0)
        return;
    mb_buf_clear(&b->lines);
    free(b);
}

static bool is_hidden(const char *ref)
{
    return strncmp(ref, "refs/proposals/", 15) == 0;
}

static size_t line_len(const uint8_t *line)
{
    size_t len = 0;
    for (size_t i = 0; i < 4; i++)
        len = len * 16 + (size_t)(line[i] <= '9' ? line[i] - '0' : line[i] - 'a' + 10);
    return len;
}

static int compare(const struct vcs_refs *r, const uint8_t *line, const char *ref)
{
    size_t start = 4 + r->id_len + 1;
    return mb_bytes_compare(mb_bytes(line + start, line_len(line) - start - 1), mb_bytes_of(ref));
}

/* The last block that does not begin behind ref, or the first. */
static size_t seek_block(const struct vcs_refs *r, const char *ref)
{
    size_t low = 0, high = r->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (compare(r, r->blocks[middle]->lines.data, ref) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Where in a block the first line is whose ref is not before this one. */
static size_t seek_line(const struct vcs_refs *r, const struct vcs_block *b, const char *ref)
{
    size_t at = 0;
    while (at < b->lines.len && compare(r, b->lines.data + at, ref) < 0)
        at += line_len(b->lines.data + at);
    return at;
}

static void insert_block(struct vcs_refs *r, size_t i, struct mb_bytes lines)
{
    struct vcs_block *b = mb_calloc(1, sizeof *b);
    b->users = 1;
    mb_buf_add_bytes(&b->lines, lines);
    if (r->count == r->room) {
        r->room = r->room == 0 ? 16 : r->room * 2;
        r->blocks = mb_realloc(r->blocks, r->room * sizeof(struct vcs_block *));
    }
    memmove(r->blocks + i + 1, r->blocks + i, (r->count - i) * sizeof(struct vcs_block *));
    r->blocks[i] = b;
    r->count++;
}

static void remove_block(struct vcs_refs *r, size_t i)
{
    block_release(r->blocks[i]);
    r->count--;
    memmove(r->blocks + i, r->blocks + i + 1, (r->count - i) * sizeof(struct vcs_block *));
}

/* Take old_len bytes out of a block, and put a line in their place. */
static void splice(struct vcs_refs *r, size_t i, size_t at, size_t old_len, struct mb_bytes line)
{
    if (r->blocks[i]->users > 1) {
        insert_block(r, i, mb_buf_bytes(&r->blocks[i]->lines));
        remove_block(r, i + 1);
    }
    struct mb_buf *lines = &r->blocks[i]->lines;
    size_t rest = lines->len - at - old_len;
    mb_buf_reserve(lines, line.len + 1);
    memmove(lines->data + at + line.len, lines->data + at + old_len, rest);
    if (line.len > 0)
        memcpy(lines->data + at, line.data, line.len);
    lines->len = at + line.len + rest;
}

/* Blocks stay between no line and a few thousand bytes. */
static void divide(struct vcs_refs *r, size_t i)
{
    struct mb_buf *lines = &r->blocks[i]->lines;
    size_t at = 0;
    if (lines->len == 0) {
        remove_block(r, i);
    } else if (lines->len > BLOCK_BYTES) {
        while (at < lines->len / 2)
            at += line_len(lines->data + at);
        if (at == lines->len)
            return;
        insert_block(r, i + 1, mb_bytes(lines->data + at, lines->len - at));
        lines->len = at;
    }
}

void vcs_refs_set(struct vcs_refs *r, const char *ref, const char *id)
{
    struct mb_buf line = {0};
    if (is_hidden(ref))
        return;
    if (id != NULL) {
        r->id_len = strlen(id); /* the same for all refs of a repository */
        vcs_pkt_addf(&line, "%s %s\n", id, ref);
    }
    if (r->count == 0 && id != NULL) {
        insert_block(r, 0, mb_buf_bytes(&line));
    } else if (r->count > 0) {
        size_t i = seek_block(r, ref), at = seek_line(r, r->blocks[i], ref);
        const struct mb_buf *lines = &r->blocks[i]->lines;
        bool there = at < lines->len && compare(r, lines->data + at, ref) == 0;
        if (there || id != NULL) {
            splice(r, i, at, there ? line_len(lines->data + at) : 0, mb_buf_bytes(&line));
            divide(r, i);
        }
    }
    mb_buf_clear(&line);
}

struct building {
    struct vcs_refs *refs;
    size_t skip;
};

static int add(void *arg, const char *key, const json_t *value)
{
    struct building *b = arg;
    vcs_refs_set(b->refs, key + b->skip, json_string_value(value));
    return 0;
}

struct vcs_refs *vcs_refs_new(struct mb_tx *state, const char *repo)
{
    struct vcs_refs *r = mb_calloc(1, sizeof *r);
    char prefix[MB_STATE_KEY_MAX + 1];
    vcs_ref_key(prefix, repo, "");
    struct building b = {.refs = r, .skip = strlen(prefix) + 1};
    mb_snprintf(prefix, sizeof prefix, "vcs/ref/%s/", repo);
    r->id_len = 40;
    mb_tx_scan(state, prefix, "", add, &b);
    return r;
}

void vcs_refs_free(struct vcs_refs *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->count; i++)
        block_release(r->blocks[i]);
    free(r->blocks);
    free(r);
}

static void add_piece(struct vcs_advert *a, struct mb_bytes piece)
{
    if (piece.len > 0)
        a->pieces[a->count++] = piece;
}

/* The first line carries the capabilities; returns how long it is in its block. */
static size_t add_first(const struct vcs_refs *r, const char *capabilities, bool sha256,
                        struct mb_buf *out)
{
    struct mb_buf line = {0};
    const uint8_t *ref = r->count > 0 ? r->blocks[0]->lines.data : NULL;
    size_t len = ref != NULL ? line_len(ref) : 0;
    if (ref != NULL) /* without length and newline */
        mb_buf_add(&line, ref + 4, len - 5);
    else
        mb_buf_addf(&line, "%0*d capabilities^{}", sha256 ? 64 : 40, 0);
    mb_buf_add_u8(&line, 0);
    mb_buf_addf(&line, "%s\n", capabilities);
    vcs_pkt_add(out, mb_buf_bytes(&line));
    mb_buf_clear(&line);
    return len;
}

struct vcs_advert *vcs_refs_advertise(const struct vcs_refs *r, struct mb_bytes before,
                                      const char *capabilities, bool sha256)
{
    struct vcs_advert *a = mb_calloc(1, sizeof *a);
    a->pieces = mb_calloc(r->count + 2, sizeof *a->pieces);
    a->blocks = mb_calloc(r->count + 1, sizeof *a->blocks); /* ends with NULL */
    mb_buf_add_bytes(&a->first, before);
    size_t skip = add_first(r, capabilities, sha256, &a->first);
    add_piece(a, mb_buf_bytes(&a->first));
    for (size_t i = 0; i < r->count; i++, skip = 0) {
        struct vcs_block *b = a->blocks[i] = r->blocks[i];
        b->users++;
        add_piece(a, mb_bytes(b->lines.data + skip, b->lines.len - skip));
    }
    add_piece(a, mb_bytes_of("0000"));
    return a;
}

void vcs_advert_free(void *advert)
{
    struct vcs_advert *a = advert;
    for (size_t i = 0; a->blocks[i] != NULL; i++)
        block_release(a->blocks[i]);
    free(a->blocks);
    free(a->pieces);
    mb_buf_clear(&a->first);
    free(a);
}
