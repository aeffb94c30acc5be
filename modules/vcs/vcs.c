/* SPDX-License-Identifier: GPL-3.0-or-later */
/* vcs: its table. */
#include <magicbiz/module.h>

#include "vcs.h"

extern const struct mb_module mb_module_vcs;
const struct mb_module mb_module_vcs = {
    .abi = MB_MODULE_ABI,
    .summary = "Anonymous version control.",
    .logic = &vcs_logic,
};
