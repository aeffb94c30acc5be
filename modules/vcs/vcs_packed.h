/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * git's file packed-refs, as text: a header, then "ID REF\n" in the order of refs, each followed by
 * "^ID\n" where the ref is an annotated tag (git: refs/packed-backend.c, "packed-refs file
 * format").
 */
#ifndef MB_VCS_PACKED_H
#define MB_VCS_PACKED_H

#include <magicbiz/base.h>

/* Refs that are to change in the file; in their order, each once. Zeroed: none. */
struct vcs_change {
    char *ref;
    char *id;     /* NULL: remove it */
    char *peeled; /* what the tag stands for; NULL: it is none */
};
struct vcs_changes {
    struct vcs_change *items;
    size_t count, room;
};
/* id NULL: remove the ref. A later change of a ref takes the place of an earlier one. */
void vcs_changes_set(struct vcs_changes *c, const char *ref, const char *id, const char *peeled);
void vcs_changes_clear(struct vcs_changes *c);

/* Append to out the file that old becomes. old is empty or a whole file. */
void vcs_packed_merge(struct mb_bytes old, const struct vcs_changes *changes, struct mb_buf *out);
/* The ref's id and what it is peeled to (empty: no tag), borrowed from file; false: not there. A
 * file of any other content is searched without harm. */
bool vcs_packed_find(struct mb_bytes file, const char *ref, struct mb_bytes *id,
                     struct mb_bytes *peeled);

#endif
