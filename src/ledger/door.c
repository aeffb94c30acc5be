/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config.h"

#include "ledger/internal.h"
#include "ledger/message.h"

/* The very code of a block, on the transaction's overlay, which is then thrown away. */
int mb_ledger_try(struct mb_ledger *l, const struct mb_checked *envelope, int64_t now,
                  struct mb_error *error)
{
    struct mb_error why = {0};
    struct mb_run run = {.l = l,
                         .slot = l->tip.header.slot + 1,
                         .time = now > l->tip.time ? now : l->tip.time,
                         .door = true};
    l->tx.writable = true;
    l->tx.work = 0;
    int rc = mb_run_envelope(&run, envelope, &why);
    l->tx.writable = false;
    mb_run_clear(&run);
    mb_tx_drop(&l->tx);
    if (l->tx.err != 0) {
        rc = l->tx.err;
        why = l->tx.error;
    }
    if (rc != 0 && error) {
        mb_message_fill(&why, l->modules, l->module_count);
        *error = why;
    }
    return rc;
}
