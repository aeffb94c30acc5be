/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The advertisement of git-receive-pack, kept as it goes over the wire and changed in place, so
 * that a push costs the same with one ref and with 20,000.
 */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "vcs_pktline.h"
#include "vcs_world.h"

struct vcs_refs {
    struct mb_buf lines; /* pkt-lines "ID REF\n" in the order of refs */
    size_t *at;          /* where each begins */
    size_t count, room, id_len;
};

static bool is_hidden(const char *ref)
{
    return strncmp(ref, "refs/proposals/", 15) == 0;
}

static int compare(const struct vcs_refs *r, size_t i, const char *ref, size_t len)
{
    const uint8_t *line = r->lines.data + r->at[i];
    size_t end = i + 1 < r->count ? r->at[i + 1] : r->lines.len;
    size_t start = 4 + r->id_len + 1, have = end - r->at[i] - start - 1;
    int order = memcmp(line + start, ref, have < len ? have : len);
    return order != 0 ? order : (have > len) - (have < len);
}

/* The first ref that is not before this one. */
static size_t seek(const struct vcs_refs *r, const char *ref, size_t len)
{
    size_t low = 0, high = r->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(r, middle, ref, len) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void splice(struct vcs_refs *r, size_t i, size_t old_len, const struct mb_buf *line)
{
    size_t from = i < r->count ? r->at[i] : r->lines.len, rest = r->lines.len - from - old_len;
    mb_buf_reserve(&r->lines, line->len + 1);
    memmove(r->lines.data + from + line->len, r->lines.data + from + old_len, rest);
    if (line->len > 0)
        memcpy(r->lines.data + from, line->data, line->len);
    r->lines.len = from + line->len + rest;
}

static void insert(struct vcs_refs *r, size_t i, const struct mb_buf *line)
{
    size_t from = i < r->count ? r->at[i] : r->lines.len;
    splice(r, i, 0, line);
    if (r->count == r->room) {
        r->room = r->room == 0 ? 64 : r->room * 2;
        r->at = mb_realloc(r->at, r->room * sizeof *r->at);
    }
    memmove(r->at + i + 1, r->at + i, (r->count - i) * sizeof *r->at);
    r->at[i] = from;
    r->count++;
    for (size_t k = i + 1; k < r->count; k++)
        r->at[k] += line->len;
}

static void take_out(struct vcs_refs *r, size_t i)
{
    static const struct mb_buf nothing;
    size_t len = (i + 1 < r->count ? r->at[i + 1] : r->lines.len) - r->at[i];
    splice(r, i, len, &nothing);
    memmove(r->at + i, r->at + i + 1, (r->count - i - 1) * sizeof *r->at);
    r->count--;
    for (size_t k = i; k < r->count; k++)
        r->at[k] -= len;
}

void vcs_refs_set(struct vcs_refs *r, const char *ref, const char *id)
{
    if (is_hidden(ref))
        return;
    if (id != NULL)
        r->id_len = strlen(id); /* the same for all refs of a repository */
    size_t len = strlen(ref), i = seek(r, ref, len);
    bool there = i < r->count && compare(r, i, ref, len) == 0;
    if (there && id != NULL) {
        memcpy(r->lines.data + r->at[i] + 4, id, r->id_len);
    } else if (there) {
        take_out(r, i);
    } else if (id != NULL) {
        struct mb_buf line = {0};
        vcs_pkt_addf(&line, "%s %s\n", id, ref);
        insert(r, i, &line);
        mb_buf_clear(&line);
    }
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
    mb_buf_clear(&r->lines);
    free(r->at);
    free(r);
}

void vcs_refs_advertise(const struct vcs_refs *r, const char *capabilities, bool sha256,
                        struct mb_buf *out)
{
    struct mb_buf first = {0};
    size_t end = r->count > 1 ? r->at[1] : r->lines.len;
    if (r->count > 0) /* without length and newline */
        mb_buf_add(&first, r->lines.data + 4, end - 5);
    else
        mb_buf_addf(&first, "%0*d capabilities^{}", sha256 ? 64 : 40, 0);
    mb_buf_add_u8(&first, 0);
    mb_buf_addf(&first, "%s\n", capabilities);
    vcs_pkt_add(out, mb_buf_bytes(&first));
    if (r->count > 0)
        mb_buf_add(out, r->lines.data + end, r->lines.len - end);
    vcs_pkt_flush(out);
    mb_buf_clear(&first);
}
