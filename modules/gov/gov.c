/* SPDX-License-Identifier: GPL-3.0-or-later */
/* gov: all of it is in the ledger; nothing outside is touched. */
#include "config.h"

#include <magicbiz/module.h>

#include "gov.h"

extern const struct mb_module mb_module_gov;
const struct mb_module mb_module_gov = {
    .abi = MB_MODULE_ABI,
    .summary = "Procedures, proposals and votes.",
    .logic = &gov_logic,
};
