/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Rewriting raw commits and tags so that they tell no more than a pseudonym (the policy `strict` of
 * magicbiz-vcs(7)): zone +0000, author and committer a pseudonym, no signatures, no embedded tags.
 * Instants, messages and trees stay. Pure.
 */
#ifndef MB_CLI_SCRUB_H
#define MB_CLI_SCRUB_H

#include "base/bytes.h"

struct scrub {
    const char *org_name;     /* e-mails …@NAME.invalid are pseudonyms already, and stay */
    const char *name, *email; /* what others become */
    /* What an object id has become: a parent or a tag's target; NULL: it stays. */
    const char *(*renamed)(void *arg, const char *id);
    void *arg;
};
/* Append the rewritten object; false if it is malformed. It may be the same as raw. */
bool scrub_object(const struct scrub *s, struct mb_bytes raw, struct mb_buf *out);

#endif
