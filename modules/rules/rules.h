/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The rulebook: what it says of the commands of others. See magicbiz-rules(7). */
#ifndef MB_RULES_RULES_H
#define MB_RULES_RULES_H

#include <magicbiz/rules.h>

#define RULES_VERSION    1
#define RULES_PARAMS_MAX 256

extern const struct mb_logic rules_logic;

#endif
