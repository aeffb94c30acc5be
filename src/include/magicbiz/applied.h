/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a block did, as a module's effects and the API see it. Everything is borrowed. */
#ifndef MAGICBIZ_APPLIED_H
#define MAGICBIZ_APPLIED_H

#include <magicbiz/base.h>

struct mb_executed {
    const char *type;    /* the verb; "" for an envelope that does not parse */
    const char *id;      /* the command's id, or "" for an internal command */
    const char *cause;   /* internal: "due:KEY", "epoch:N", "applied:ID", "approved:ID"; else "" */
    const char *signer;  /* the identity's first fingerprint, or "" */
    const json_t *body;  /* NULL for an envelope that does not parse */
    bool ok;
    const json_t *outcome; /* the result object, or the error object {"args","code"} */
};
struct mb_applied {
    uint64_t slot;
    int64_t time; /* ledger time, seconds */
    const struct mb_executed *commands;
    size_t count;
    bool checkpoint; /* this slot is a checkpoint slot */
};

#endif
