/* SPDX-License-Identifier: GPL-3.0-or-later */
/* rules: its table, and whether this program's Lua is the one that all replicas have. */
#include "config.h"

#include <magicbiz/module.h>

#include "rules.h"

static int start(struct mb_host *host, void **self, struct mb_error *error)
{
    struct mb_cage *probe;
    (void)host;
    int rc = mb_cage_new(&probe, mb_bytes_of(""), error);
    mb_cage_free(probe);
    *self = NULL;
    return rc;
}

static void stop(void *self)
{
    (void)self;
}

extern const struct mb_module mb_module_rules;
const struct mb_module mb_module_rules = {
    .abi = MB_MODULE_ABI,
    .summary = "The rulebook: who may do what, what a vote weighs, what happens at each epoch.",
    .logic = &rules_logic,
    .start = start,
    .stop = stop,
};
