/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What whoever joins an organisation trusts: its id, and a header (magicbiz-protocol(7),
 * "Checkpoint", Clarification 14). Pure. */
#ifndef MB_HOST_PIN_H
#define MB_HOST_PIN_H

#include <jansson.h>

#include "ledger/block.h"

struct mb_pin {
    char *name; /* petname, where it has one */
    struct mb_hash org;
    char **onions;
    size_t onion_count;
    uint64_t slot; /* a header that is trusted */
    struct mb_hash header_hash;
};
void mb_pin_clear(struct mb_pin *pin);
/* "magicbiz:ORG@ONION[,ONION…]#SLOT.HASH". MB_EINVAL, pin.invalid. */
int mb_pin_parse(struct mb_pin *pin, const char *text, struct mb_error *error);
char *mb_pin_text(const struct mb_pin *pin); /* owned */

/* Whether an answer of GET /v1/consistency proves that the history below header `to` holds slot's
 * header, which is *out (may be NULL), and whose hash is *hash unless that is NULL. slot < to's. */
bool mb_history_holds(const json_t *answer, uint64_t slot, const struct mb_hash *hash,
                      const struct mb_header *to, struct mb_header *out);

#endif
