/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "vcs_packed.h"

#include <stdlib.h>
#include <string.h>

static const char header[] = "# pack-refs with: peeled fully-peeled sorted \n";

/* --- Changes --- */

static void change_clear(struct vcs_change *c)
{
    free(c->ref);
    free(c->id);
    free(c->peeled);
}

static size_t change_seek(const struct vcs_changes *c, const char *ref)
{
    size_t low = 0, high = c->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(c->items[middle].ref, ref) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void vcs_changes_set(struct vcs_changes *c, const char *ref, const char *id, const char *peeled)
{
    size_t i = change_seek(c, ref);
    if (i < c->count && strcmp(c->items[i].ref, ref) == 0) {
        change_clear(&c->items[i]);
    } else {
        if (c->count == c->room) {
            c->room = c->room == 0 ? 16 : c->room * 2;
            c->items = mb_realloc(c->items, c->room * sizeof *c->items);
        }
        memmove(c->items + i + 1, c->items + i, (c->count - i) * sizeof *c->items);
        c->count++;
    }
    c->items[i] = (struct vcs_change){.ref = mb_strdup(ref),
                                      .id = id != NULL ? mb_strdup(id) : NULL,
                                      .peeled = peeled != NULL ? mb_strdup(peeled) : NULL};
}

void vcs_changes_clear(struct vcs_changes *c)
{
    for (size_t i = 0; i < c->count; i++)
        change_clear(&c->items[i]);
    free(c->items);
    *c = (struct vcs_changes){0};
}

/* --- The file --- */

struct entry {
    struct mb_bytes id, ref, peeled;
};

static size_t line_end(struct mb_bytes file, size_t at)
{
    const uint8_t *end = memchr(file.data + at, '\n', file.len - at);
    return end != NULL ? (size_t)(end - file.data) : file.len;
}

static size_t next_line(struct mb_bytes file, size_t at)
{
    size_t end = line_end(file, at);
    return end < file.len ? end + 1 : end;
}

static bool is_peeled_line(struct mb_bytes file, size_t at)
{
    return at < file.len && file.data[at] == '^';
}

static size_t next_entry(struct mb_bytes file, size_t at)
{
    at = next_line(file, at);
    return is_peeled_line(file, at) ? next_line(file, at) : at;
}

static struct entry entry_at(struct mb_bytes file, size_t at)
{
    size_t end = line_end(file, at), next = next_line(file, at);
    const uint8_t *space = memchr(file.data + at, ' ', end - at);
    size_t id_len = space != NULL ? (size_t)(space - file.data) - at : end - at;
    size_t ref = space != NULL ? at + id_len + 1 : end;
    struct entry e = {.id = mb_bytes(file.data + at, id_len),
                      .ref = mb_bytes(file.data + ref, end - ref)};
    if (is_peeled_line(file, next))
        e.peeled = mb_bytes(file.data + next + 1, line_end(file, next) - next - 1);
    return e;
}

static size_t first_entry(struct mb_bytes file)
{
    return file.len > 0 && file.data[0] == '#' ? next_line(file, 0) : 0;
}

/* Where the entry begins that holds the byte at, which is not before from. */
static size_t entry_around(struct mb_bytes file, size_t from, size_t at)
{
    while (at > from && (file.data[at - 1] != '\n' || file.data[at] == '^'))
        at--;
    return at;
}

/* The first entry, from the one at from on, that is not before ref. */
static size_t seek(struct mb_bytes file, size_t from, const char *ref)
{
    size_t low = from, high = file.len;
    while (low < high) {
        size_t middle = entry_around(file, low, low + (high - low) / 2);
        if (mb_bytes_compare(entry_at(file, middle).ref, mb_bytes_of(ref)) < 0)
            low = next_entry(file, middle);
        else
            high = middle;
    }
    return low;
}

static bool is_at(struct mb_bytes file, size_t at, const char *ref)
{
    return at < file.len && mb_bytes_equal(entry_at(file, at).ref, mb_bytes_of(ref));
}

bool vcs_packed_find(struct mb_bytes file, const char *ref, struct mb_bytes *id,
                     struct mb_bytes *peeled)
{
    size_t at = seek(file, first_entry(file), ref);
    if (!is_at(file, at, ref))
        return false;
    struct entry e = entry_at(file, at);
    *id = e.id;
    *peeled = e.peeled;
    return true;
}

void vcs_packed_merge(struct mb_bytes old, const struct vcs_changes *changes, struct mb_buf *out)
{
    if (old.len == 0)
        old = mb_bytes_of("");
    size_t at = first_entry(old);
    mb_buf_reserve(out, old.len + sizeof header + changes->count * 128);
    mb_buf_add_text(out, header);
    for (size_t i = 0; i < changes->count; i++) {
        const struct vcs_change *c = &changes->items[i];
        size_t place = seek(old, at, c->ref);
        mb_buf_add(out, old.data + at, place - at);
        at = is_at(old, place, c->ref) ? next_entry(old, place) : place;
        if (c->id != NULL)
            mb_buf_addf(out, "%s %s\n", c->id, c->ref);
        if (c->id != NULL && c->peeled != NULL)
            mb_buf_addf(out, "^%s\n", c->peeled);
    }
    mb_buf_add(out, old.data + at, old.len - at);
}
