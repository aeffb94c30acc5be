/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Any bytes as a genesis: what parses can be founded, and opened again. */
#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "ledger/ledger.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mb_error error = {0};
    struct mb_genesis g;
    if (mb_genesis_parse(&g, mb_bytes(data, size), &error) != 0) {
        if (strcmp(error.code, "genesis.invalid") != 0)
            abort();
        return 0;
    }
    mb_genesis_clear(&g);
    struct mb_memory *m = mb_memory_new();
    struct mb_ledger *l, *again;
    int rc = mb_ledger_found(&l, mb_memory_backend(m), NULL, 0, mb_bytes(data, size), &error);
    if (rc != 0 && strcmp(error.code, "ledger.versions") != 0)
        abort();
    if (rc == 0 && mb_ledger_open(&again, mb_memory_backend(m), NULL, 0, &error) != 0)
        abort();
    if (rc == 0)
        mb_ledger_free(again);
    mb_ledger_free(l);
    mb_memory_free(m);
    return 0;
}
